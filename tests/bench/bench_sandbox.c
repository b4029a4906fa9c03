/* What a clone and a sandbox cost: the clone of a tree of about 1 GB, a sandbox until the
 * exec of its first process, the removal of both from the kill on, and the memory that a
 * sandbox takes beyond what runs in it. Prints median, minimum and maximum; exit code 1
 * when a bar is missed.
 *
 *   bench_sandbox [runs [megabytes]]     40 and 1000 by default; needs root */
#include "tw/pool.h"
#include "tw/sandbox.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUNS_MAX   1000
#define FILE_BYTES ((size_t)1 << 20)
#define UID        23456

struct figure {
    const char *name, *unit;
    double bar, values[RUNS_MAX];
    int n;
};
enum { CLONE, FIRST_WRITE, BOX, REMOVAL, KILL, GROUP, PRIVATE, SAMPLE, FIGURES };
static struct figure figures[FIGURES] = {
    [CLONE] = {"clone of the tree", "ms", 10, {0}, 0},
    [FIRST_WRITE] = {"first write to a file of the clone (1 MB)", "ms", 0, {0}, 0},
    [BOX] = {"sandbox until exec", "ms", 8, {0}, 0},
    [REMOVAL] = {"sandbox and clone removed, from the kill", "ms", 100, {0}, 0},
    [KILL] = {"of it: the sandbox alone", "ms", 0, {0}, 0},
    [GROUP] = {"memory charged to an empty sandbox", "MiB", 2, {0}, 0},
    [PRIVATE] = {"memory that is only its init's", "MiB", 2, {0}, 0},
    [SAMPLE] = {"one sample of its counters", "us", 0, {0}, 0},
};

static void add(int which, double value)
{
    struct figure *f = &figures[which];

    if (f->n < RUNS_MAX)
        f->values[f->n++] = value;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static bool print_figure(struct figure *f)
{
    double median;

    if (f->n == 0)
        return true;
    qsort(f->values, (size_t)f->n, sizeof *f->values, ascending);
    median = f->values[f->n / 2];
    printf("%-44s median %8.3f  min %8.3f  max %8.3f %s  n %d", f->name, median,
           f->values[0], f->values[f->n - 1], f->unit, f->n);
    if (f->bar > 0)
        printf("  bar %g %s", f->bar, median <= f->bar ? "met" : "MISSED");
    printf("\n");
    return f->bar <= 0 || median <= f->bar;
}

static double ms_since(int64_t start)
{
    return tw_seconds(tw_now_ns() - start) * 1e3;
}

/* Files of 1 MB, as many as a database of that size has. */
static int fill(const char *root, int megabytes, struct tw_err *err)
{
    char *block = tw_alloc(FILE_BYTES);
    int r = 0;

    for (size_t i = 0; i < FILE_BYTES; i++)
        block[i] = (char)(i * 2654435761u >> 13);
    for (int i = 0; r == 0 && i < megabytes; i++) {
        tw_auto_free char *path = tw_strf("%s/%d", root, i);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        if (fd < 0 || write(fd, block, FILE_BYTES) != (ssize_t)FILE_BYTES ||
            fchown(fd, UID, UID) < 0)
            r = tw_fail_errno(err, errno, "writing '%s'", path);
        if (fd >= 0)
            (void)close(fd);
    }
    free(block);
    return r;
}

static void write_once(const char *root, int run)
{
    tw_auto_free char *path = tw_strf("%s/%d", root, run % 1000);
    int64_t start = tw_now_ns();
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd >= 0 && pwrite(fd, "x", 1, 4096) == 1)
        add(FIRST_WRITE, ms_since(start));
    if (fd >= 0)
        (void)close(fd);
}

/* Private pages of a process in bytes, from its smaps_rollup. */
static double private_bytes(pid_t pid)
{
    tw_auto_free char *path = tw_strf("/proc/%d/smaps_rollup", (int)pid), *text = NULL;
    double sum = 0;

    if (tw_read_file(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0)
        return -1;
    for (const char *at = text; (at = strstr(at, "\nPrivate_")); at++)
        sum += strtod(strchr(at, ':') + 1, NULL) * 1024;
    return sum;
}

/* The init is the one process in the group while nothing was started. */
static void weigh(struct tw_sandbox *box, const char *id)
{
    tw_auto_free char *v1 = tw_strf("/sys/fs/cgroup/pids/twin/%s/bench/cgroup.procs", id);
    tw_auto_free char *v2 = tw_strf("/sys/fs/cgroup/twin/%s/bench/cgroup.procs", id);
    tw_auto_free char *text = NULL;
    struct tw_usage usage;
    int64_t start;

    (void)tw_sandbox_usage(box, &usage, NULL);
    start = tw_now_ns();
    (void)tw_sandbox_usage(box, &usage, NULL);
    add(SAMPLE, ms_since(start) * 1e3);
    add(GROUP, usage.memory_bytes / (1 << 20));
    if (tw_read_file(AT_FDCWD, v1, 4096, &text, NULL, NULL) == 0 ||
        tw_read_file(AT_FDCWD, v2, 4096, &text, NULL, NULL) == 0)
        add(PRIVATE, private_bytes((pid_t)atoi(text)) / (1 << 20));
}

static int one_run(struct tw_priv *priv, struct tw_pool *pool, const struct tw_seed *seed,
                   const char *id, int run, struct tw_err *err)
{
    static const char *const argv[] = {"/bin/sleep", "1000", NULL};
    struct tw_process_spec process = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    struct tw_clone *clone;
    struct tw_sandbox *box;
    int64_t start = tw_now_ns(), opened;
    int handle, r = tw_pool_clone(pool, seed, "bench", &clone, err);

    if (r < 0)
        return r;
    add(CLONE, ms_since(start));
    write_once(tw_clone_root(clone), run);

    struct tw_sandbox_mount mount = {tw_clone_root(clone), "/data", true};
    struct tw_sandbox_link link = {.address = "10.213.0.2"};
    struct tw_sandbox_spec spec = {.id = id,
                                   .name = "bench",
                                   .uid = UID,
                                   .gid = UID,
                                   .memory_bytes = 1 << 30,
                                   .cpus = 2,
                                   .links = {&link, 1},
                                   .seccomp = true};

    spec.mounts.items = &mount;
    spec.mounts.count = 1;
    start = tw_now_ns();
    r = tw_sandbox_open(priv, &spec, &box, err);
    if (r < 0)
        return r;
    opened = tw_now_ns() - start;
    weigh(box, id);
    start = tw_now_ns();
    r = tw_sandbox_start(box, &process, &handle, err);
    if (r < 0)
        return r;
    add(BOX, tw_seconds(opened) * 1e3 + ms_since(start));

    start = tw_now_ns();
    tw_sandbox_close(box);
    add(KILL, ms_since(start));
    r = tw_pool_clone_remove(clone, err);
    add(REMOVAL, ms_since(start));
    return r;
}

static int bench(const char *state, int runs, int megabytes, struct tw_err *err)
{
    char id[TW_ID_LEN + 1];
    struct tw_priv *priv;
    struct tw_pool *pool;
    struct tw_seed *seed;
    int r;

    tw_id_make(id);
    r = tw_priv_open(state, id, &priv, err);
    if (r == 0)
        r = tw_pool_open(priv, &pool, err);
    if (r == 0)
        r = tw_pool_seed_begin(pool, "bench", (int64_t)megabytes << 20, &seed, err);
    if (r == 0)
        r = fill(tw_seed_root(seed), megabytes, err);
    if (r == 0)
        r = tw_pool_seed_commit(seed, "{}", err);
    if (r < 0)
        return r;
    printf("%s, %d files of 1 MB, %d runs\n", tw_pool_method(pool), megabytes, runs);
    for (int i = -2; r == 0 && i < runs; i++) {
        /* two to warm up: the bridge, the library's tables, the filter */
        if (i == 0)
            for (int k = 0; k < FIGURES; k++)
                figures[k].n = 0;
        r = one_run(priv, pool, seed, id, i + 2, err);
        /* the kernel takes the link of this run down under its lock of all links, some 30
         * ms long, and no two sandboxes of a simulation follow each other that closely */
        tw_sleep_ns(60 * TW_MSEC_NS);
    }
    tw_seed_free(seed);
    tw_pool_close(pool);
    tw_priv_close(priv);
    return r;
}

int main(int argc, char **argv)
{
    char state[] = "/tmp/twin-bench-XXXXXX";
    int runs = argc > 1 ? atoi(argv[1]) : 40, megabytes = argc > 2 ? atoi(argv[2]) : 1000;
    struct tw_err err = {0};
    bool met = true;
    int r;

    if (geteuid() != 0) {
        fprintf(stderr, "bench_sandbox: needs root\n");
        return 2;
    }
    if (!mkdtemp(state))
        return 2;
    r = bench(state, runs, megabytes, &err);
    (void)tw_remove_tree(state, NULL);
    if (r < 0) {
        fprintf(stderr, "bench_sandbox: %s\n", err.text);
        return 2;
    }
    for (int i = 0; i < FIGURES; i++)
        met = print_figure(&figures[i]) && met;
    return met ? 0 : 1;
}
