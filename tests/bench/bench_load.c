/* Our generator against pgbench: the same query, prepared, the same connections, one
 * client core, side by side in turns. Requests per CPU second of the client process.
 *
 * usage: bench_load [ROUNDS [SECONDS [CONNECTIONS]]] */
#include "tw/load.h"

#include <fcntl.h>
#include <math.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS_MAX 50

static char dir[] = "/tmp/twin-bench-load-XXXXXX", bin[64], conninfo[160];
static int cores;

struct run {
    double requests, cpu_s, seconds;
};

static void die(const char *what)
{
    (void)fprintf(stderr, "bench_load: %s\n", what);
    exit(1);
}

/* A shell line as the user postgres; its CPU into ret_cpu_s (may be NULL). */
static int run_shell(const char *command, double *ret_cpu_s)
{
    tw_auto_free char *line =
        tw_strf("exec >>%s/out 2>&1; cd %s; PATH=%s:$PATH; %s", dir, dir, bin, command);
    struct rusage used = {0};
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        if (geteuid() == 0)
            (void)execlp("setpriv", "setpriv", "--reuid", "postgres", "--regid",
                         "postgres", "--clear-groups", "sh", "-c", line, NULL);
        else
            (void)execlp("sh", "sh", "-c", line, NULL);
        _exit(127);
    }
    while (pid > 0 && wait4(pid, &status, 0, &used) < 0 && errno == EINTR)
        ;
    if (ret_cpu_s)
        *ret_cpu_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                     1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    return status;
}

static void close_server(void)
{
    (void)run_shell("pg_ctl -D data -m immediate -w stop", NULL);
    (void)tw_remove_tree(dir, NULL);
}

static void open_server(void)
{
    struct passwd *user = getpwnam("postgres");

    for (int version = 18; version >= 12 && !bin[0]; version--) {
        tw_auto_free char *path = tw_strf("/usr/lib/postgresql/%d/bin/postgres", version);

        if (access(path, X_OK) == 0)
            (void)snprintf(bin, sizeof bin, "/usr/lib/postgresql/%d/bin", version);
    }
    if (!bin[0] || !mkdtemp(dir))
        die("needs the server programs of PostgreSQL and /tmp");
    if (geteuid() == 0 && (!user || chown(dir, user->pw_uid, user->pw_gid) != 0))
        die("needs the user postgres");
    (void)atexit(close_server);
    (void)snprintf(conninfo, sizeof conninfo, "host=%s port=7777 user=postgres", dir);
    if (run_shell(
            "initdb -D data -U postgres -A trust -N --no-instructions && "
            "pg_ctl -D data -l log -w start -o \"-k $PWD -p 7777 -c listen_addresses= "
            "-c fsync=off -c shared_buffers=256MB -c autovacuum=off\" && "
            "pgbench -i -q -s 10 -h $PWD -p 7777 -U postgres postgres",
            NULL) != 0)
        die("the server does not start");
}

static double number_after(const char *text, const char *what)
{
    const char *at = strstr(text, what);

    return at ? strtod(at + strlen(what), NULL) : NAN;
}

static struct run run_pgbench(double rate, int seconds, int connections)
{
    tw_auto_free char *command = NULL, *text = NULL, *path = tw_strf("%s/out", dir);
    tw_auto_free char *limit = isnan(rate) ? tw_strf("%s", "") : tw_strf("-R %.0f", rate);
    struct run r = {.seconds = seconds};

    if (truncate(path, 0) != 0)
        die("cannot empty the output of pgbench");
    command = tw_strf(
        "exec taskset -c %d pgbench -n -S -M prepared -j 1 -c %d -T %d %s -h $PWD "
        "-p 7777 -U postgres postgres",
        cores - 1, connections, seconds, limit);
    if (run_shell(command, &r.cpu_s) != 0 ||
        tw_read_file(AT_FDCWD, path, 1 << 20, &text, NULL, NULL) < 0)
        die("pgbench failed");
    r.requests = number_after(text, "number of transactions actually processed: ");
    return r;
}

static struct run run_ours(struct tw_load *load, double rate, int seconds)
{
    static uint64_t seed = 1;
    struct tw_load_order order = {.rate_per_s = rate,
                                  .length_ns = seconds * TW_SEC_NS,
                                  .seed = seed++,
                                  .settle_s = 0.5};
    struct tw_err err = {0};
    struct tw_slot slot;

    if (tw_load_slot(load, &order, &slot, &err) < 0)
        die(err.text);
    tw_hist_free(slot.latency);
    return (struct run){(double)slot.done, slot.generator_cpu_s,
                        tw_seconds(slot.length_ns)};
}

static struct tw_load *open_load(struct tw_arena *a, int connections)
{
    tw_auto_free char *info = tw_strf("%s dbname=postgres", conninfo);
    tw_auto_free char *cpuset = tw_strf("%d", cores - 1);
    const struct tw_snapshot snapshot = {0};
    const char *name = "select-only";
    struct tw_load_mix *mix = tw_arena_alloc(a, sizeof *mix);
    struct tw_load_spec spec = {.mix = mix,
                                .conninfo = {conninfo, NULL},
                                .connections = connections,
                                .program = "/proc/self/exe",
                                .cpuset = cpuset};
    struct tw_err err = {0};
    struct tw_load *load;
    struct tw_pg *pg;

    if (tw_pg_open(info, (unsigned)-1, tw_now_ns() + 5 * TW_SEC_NS, &pg, &err) < 0)
        die(err.text);
    if (tw_load_mix_make(a, &snapshot, &name, 1, pg, mix, &err) < 0)
        die(err.text);
    tw_pg_close(pg);
    if (tw_load_open(&spec, &load, &err) < 0)
        die(err.text);
    return load;
}

static void print_row(const char *what, double *x, int n)
{
    tw_sort(x, (size_t)n);
    (void)printf("  %-34s median %9.4g   min %9.4g   max %9.4g\n", what, x[n / 2], x[0],
                 x[n - 1]);
}

static void compare(struct tw_load *load, double rate, int rounds, int seconds,
                    int connections)
{
    double ours[ROUNDS_MAX], theirs[ROUNDS_MAX], ratio[ROUNDS_MAX], speed[2][ROUNDS_MAX];

    for (int i = 0; i < rounds; i++) {
        struct run a, b;

        if (i % 2 == 0)
            a = run_ours(load, rate, seconds);
        b = run_pgbench(rate, seconds, connections);
        if (i % 2 == 1)
            a = run_ours(load, rate, seconds);
        ours[i] = a.requests / a.cpu_s;
        theirs[i] = b.requests / b.cpu_s;
        ratio[i] = ours[i] / theirs[i];
        speed[0][i] = a.requests / a.seconds;
        speed[1][i] = b.requests / b.seconds;
    }
    print_row("twin, requests per CPU second", ours, rounds);
    print_row("pgbench, requests per CPU second", theirs, rounds);
    print_row("ratio, pair by pair", ratio, rounds);
    print_row("twin, requests per second", speed[0], rounds);
    print_row("pgbench, requests per second", speed[1], rounds);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 7, seconds = argc > 2 ? atoi(argv[2]) : 2;
    int connections = argc > 3 ? atoi(argv[3]) : 8;
    tw_auto(tw_arena) *a = NULL;
    struct tw_load *load;

    if (argc > 1 && !strcmp(argv[1], "_generator"))
        return tw_load_generator_main(argc, argv);
    if (rounds < 1 || rounds > ROUNDS_MAX || seconds < 1 || connections < 1)
        die("usage: bench_load [ROUNDS [SECONDS [CONNECTIONS]]]");
    a = tw_arena_new();
    cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    open_server();
    load = open_load(a, connections);
    (void)run_ours(load, NAN, seconds);
    (void)printf(
        "load generator, select by key, prepared, %d connections over a Unix socket, "
        "%d rounds of %d s, client on one of %d cores\n",
        connections, rounds, seconds, cores);
    (void)printf(" as fast as it goes (bar: ratio at least 1)\n");
    compare(load, NAN, rounds, seconds, connections);
    (void)printf(" 1,000 requests per second, Poisson\n");
    compare(load, 1000, rounds, seconds, connections);
    tw_load_close(load);
    return 0;
}
