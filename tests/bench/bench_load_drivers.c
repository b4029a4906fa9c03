/* Our drivers against the tools of their protocols, in turns on the same client core: HTTP/1.1
 * against wrk on nginx, Redis against redis-benchmark. Requests per CPU second of the client in
 * a closed loop, and the open loop at a rate beside it.
 *
 * usage: bench_load_drivers [ROUNDS [SECONDS [CONNECTIONS]]] */
#include "tw/load.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS_MAX 50
#define HTTP_PORT  7801
#define REDIS_PORT 7802
#define OPEN_RATE  2000

static char dir[] = "/tmp/twin-bench-drivers-XXXXXX";
static pid_t servers[2];
static int client_core;

struct result {
    double requests, cpu_s;
};

static void die(const char *what)
{
    (void)fprintf(stderr, "bench_load_drivers: %s\n", what);
    exit(1);
}

static void close_all(void)
{
    for (size_t i = 0; i < TW_COUNT_OF(servers); i++)
        if (servers[i] > 0) {
            (void)kill(servers[i], SIGTERM);
            (void)waitpid(servers[i], NULL, 0);
        }
    (void)tw_remove_tree(dir, NULL);
}

/* A shell line in our directory, its output in "out". */
static pid_t start(const char *command, const char *out)
{
    tw_auto_free char *line = tw_strf("cd %s; exec %s >%s 2>&1", dir, command, out);
    pid_t pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        (void)execl("/bin/sh", "sh", "-c", line, NULL);
        _exit(127);
    }
    return pid;
}

static void wait_for_port(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    for (int i = 0; i < 500; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        bool there = connect(fd, (void *)&to, sizeof to) == 0;

        (void)close(fd);
        if (there)
            return;
        tw_sleep_ns(20 * TW_MSEC_NS);
    }
    die("a server does not start");
}

static void open_servers(void)
{
    tw_auto_free char *conf = NULL, *nginx = NULL, *redis = NULL;
    tw_auto_free char *path = NULL;

    if (!mkdtemp(dir))
        die("needs /tmp");
    (void)atexit(close_all);
    path = tw_strf("%s/nginx.conf", dir);
    conf = tw_strf(
        "daemon off; master_process off; pid nginx.pid;\n"
        "events {}\nhttp { access_log off; keepalive_requests 1000000000;\n"
        "client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;\n"
        "uwsgi_temp_path t4; scgi_temp_path t5;\n"
        "server { listen 127.0.0.1:%d; location / { return 200 \"hello\\n\"; } } }",
        HTTP_PORT);
    if (tw_write_file(path, conf, strlen(conf), 0644, NULL) < 0)
        die("cannot write a configuration");
    nginx = tw_strf("taskset -c 0 /usr/sbin/nginx -p %s -c nginx.conf -e error.log", dir);
    redis = tw_strf("taskset -c 0 redis-server --port %d --bind 127.0.0.1 --save ''",
                    REDIS_PORT);
    servers[0] = start(nginx, "nginx.out");
    servers[1] = start(redis, "redis.out");
    wait_for_port(HTTP_PORT);
    wait_for_port(REDIS_PORT);
}

/* A tool to its end: what it printed, and its CPU. */
static char *run_tool(const char *command, double *ret_cpu_s)
{
    tw_auto_free char *path = tw_strf("%s/tool.out", dir);
    pid_t pid = start(command, "tool.out");
    struct rusage used = {0};
    int status = -1;
    char *text;

    while (wait4(pid, &status, 0, &used) < 0 && errno == EINTR)
        ;
    if (status != 0 || tw_read_file(AT_FDCWD, path, 1 << 20, &text, NULL, NULL) < 0)
        die(command);
    *ret_cpu_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    return text;
}

static struct result run_wrk(int seconds, int connections)
{
    tw_auto_free char *command =
        tw_strf("taskset -c %d wrk -t1 -c%d -d%ds http://127.0.0.1:%d/", client_core,
                connections, seconds, HTTP_PORT);
    struct result r;
    tw_auto_free char *text = run_tool(command, &r.cpu_s);
    const char *at = strstr(text, " requests in ");

    while (at && at > text && at[-1] != '\n' && at[-1] != ' ')
        at--;
    r.requests = at ? strtod(at, NULL) : NAN;
    return r;
}

/* It counts requests, not seconds. */
static struct result run_redis_benchmark(int seconds, int connections)
{
    int n = 40000 * seconds;
    tw_auto_free char *command =
        tw_strf("taskset -c %d redis-benchmark -p %d -c %d -n %d -q GET key", client_core,
                REDIS_PORT, connections, n);
    struct result r = {.requests = n};

    free(run_tool(command, &r.cpu_s));
    return r;
}

static struct tw_load *open_load(struct tw_arena *a, const char *driver, const char *sent,
                                 int port, int connections)
{
    struct tw_load_mix *mix = tw_arena_alloc(a, sizeof *mix);
    struct tw_load_statement statement = {.sql = sent};
    struct tw_load_item item = {.name = "one", .weight = 1};
    struct tw_load_spec spec = {
        .mix = mix,
        .conninfo = {tw_arena_printf(a, "address=127.0.0.1 port=%d", port), NULL},
        .connections = connections,
        .program = "/proc/self/exe",
        .cpuset = tw_arena_printf(a, "%d", client_core)};
    struct tw_err err = {0};
    struct tw_load *load;

    mix->driver = driver;
    TW_PUSH(a, &item.statements, statement);
    TW_PUSH(a, &mix->items, item);
    if (tw_load_open(&spec, &load, &err) < 0)
        die(err.text);
    return load;
}

static struct result run_ours(struct tw_load *load, double rate, int seconds,
                              struct tw_slot *ret_slot)
{
    static uint64_t seed = 1;
    struct tw_load_order order = {.rate_per_s = rate,
                                  .length_ns = seconds * TW_SEC_NS,
                                  .seed = seed++,
                                  .settle_s = 0.5};
    struct tw_err err = {0};

    if (tw_load_slot(load, &order, ret_slot, &err) < 0)
        die(err.text);
    tw_hist_free(ret_slot->latency);
    return (struct result){(double)ret_slot->done, ret_slot->generator_cpu_s};
}

static void compare(const char *driver, const char *sent, int port, const char *tool,
                    struct result (*run)(int, int), int rounds, int seconds,
                    int connections)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_load *load = open_load(a, driver, sent, port, connections);
    double theirs[ROUNDS_MAX], ours[ROUNDS_MAX], ratios[ROUNDS_MAX];
    struct tw_slot slot;

    for (int i = 0; i < rounds; i++) {
        struct result them = run(seconds, connections);
        struct result us = run_ours(load, NAN, seconds, &slot);

        theirs[i] = them.requests / them.cpu_s;
        ours[i] = us.requests / us.cpu_s;
        ratios[i] = ours[i] / theirs[i];
    }
    tw_sort(ratios, (size_t)rounds);
    (void)printf(
        "%-6s closed loop, requests per CPU second of the client (%d rounds of %d s, "
        "%d connections)\n  %-16s median %8.0f\n  %-16s median %8.0f\n  %-16s "
        "median %8.2f (%.2f..%.2f)\n",
        driver, rounds, seconds, connections, tool, tw_median(theirs, (size_t)rounds),
        "ours", tw_median(ours, (size_t)rounds), "ours / theirs",
        tw_median(ratios, (size_t)rounds), ratios[0], ratios[rounds - 1]);
    (void)run_ours(load, OPEN_RATE, seconds, &slot);
    (void)printf(
        "  open loop at %d/s: %ld sent, %ld answered, lag p99 %.0f us, p50 %.0f us, "
        "p99 %.0f us, client CPU %.0f %%\n",
        OPEN_RATE, (long)slot.sent, (long)slot.done, slot.lag99_s * 1e6, slot.p50_s * 1e6,
        slot.p99_s * 1e6, 100 * slot.generator_cpu_s / tw_seconds(slot.length_ns));
    tw_load_close(load);
}

static int argument(int argc, char **argv, int index, int otherwise)
{
    int value = argc > index ? atoi(argv[index]) : otherwise;

    return value > 0 ? value : otherwise;
}

int main(int argc, char **argv)
{
    int rounds = argument(argc, argv, 1, 5), seconds = argument(argc, argv, 2, 2),
        connections = argument(argc, argv, 3, 8);

    if (argc > 1 && !strcmp(argv[1], "_generator"))
        return tw_load_generator_main(argc, argv);
    if (access("/usr/sbin/nginx", X_OK) != 0 || access("/usr/bin/wrk", X_OK) != 0 ||
        access("/usr/bin/redis-benchmark", X_OK) != 0)
        die("needs nginx, wrk, redis-server and redis-benchmark");
    rounds = rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    client_core = (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
    open_servers();
    compare("http", "GET /\n", HTTP_PORT, "wrk", run_wrk, rounds, seconds, connections);
    compare("redis", "GET key", REDIS_PORT, "redis-benchmark", run_redis_benchmark,
            rounds, seconds, connections);
    return 0;
}
