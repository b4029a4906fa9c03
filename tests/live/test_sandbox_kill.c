/* Killed at every named step, and at any moment: the next start removes what was left.
 *
 * A child goes through the whole of it: pool, seed, clone, sandbox, a process. First once
 * in peace, which tells the steps there are; then once for each of them, killed there;
 * then at random moments (TWIN_TEST_KILLS of them, 12 unless told). After each, reap and
 * a census of everything that carries the id. */
#include "tw/pool.h"
#include "tw/sandbox.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARK "31415.926" /* seconds that a process inside sleeps: found by it outside */

static char state[] = "/tmp/twin-kill-XXXXXX";
static struct tw_err err;

/* ---- the child ---- */

struct steps {
    size_t count;
    char names[256][48];
};

static void note(void *arg, const char *step, int64_t now_ns)
{
    struct steps *steps = arg;

    (void)now_ns;
    if (steps->count < TW_COUNT_OF(steps->names))
        (void)snprintf(steps->names[steps->count++], sizeof steps->names[0], "%s", step);
}

static int one_arm(struct tw_priv *priv, struct tw_pool *pool, const struct tw_seed *seed,
                   const char *id, const char *name, const char *address)
{
    static const char *const argv[] = {"/bin/sh", "-c",
                                       "sleep " MARK " & exec sleep " MARK, NULL};
    struct tw_process_spec process = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    struct tw_clone *clone;
    struct tw_sandbox *box;
    int handle, r = tw_pool_clone(pool, seed, name, &clone, &err);

    if (r < 0)
        return r;
    struct tw_sandbox_mount mount = {tw_clone_root(clone), "/data", true};
    struct tw_sandbox_link link = {.address = address};
    struct tw_sandbox_spec spec = {.id = id,
                                   .name = name,
                                   .uid = 23456,
                                   .gid = 23456,
                                   .memory_bytes = 64 << 20,
                                   .links = {&link, 1},
                                   .seccomp = true};

    spec.mounts.items = &mount;
    spec.mounts.count = 1;
    r = tw_sandbox_open(priv, &spec, &box, &err);
    if (r == 0)
        r = tw_sandbox_start(box, &process, &handle, &err);
    if (r == 0)
        r = tw_sandbox_freeze(box, true, &err);
    if (r == 0)
        tw_step("test.frozen");
    if (r == 0)
        tw_sandbox_close(box);
    return r == 0 ? tw_pool_clone_remove(clone, &err) : r;
}

static int whole(const char *id)
{
    struct tw_priv *priv;
    struct tw_pool *pool;
    struct tw_seed *seed;
    int r = tw_priv_open(state, id, &priv, &err);

    if (r == 0)
        r = tw_pool_open(priv, &pool, &err);
    for (int i = 0; r == 0 && i < 2; i++) { /* the second replaces the first */
        r = tw_pool_seed_begin(pool, "kill", 1000, &seed, &err);
        if (r == 0)
            r = tw_pool_seed_commit(seed, "{}", &err);
        if (r == 0)
            r = one_arm(priv, pool, seed, id, i ? "candidate" : "baseline",
                        i ? "10.213.0.3" : "10.213.0.2");
        if (r == 0)
            tw_seed_free(seed);
    }
    if (r == 0) {
        tw_pool_close(pool);
        tw_priv_close(priv);
    }
    return r;
}

static pid_t run_child(const char *id, const char *kill_at, struct steps *steps)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (kill_at)
            (void)setenv("TWIN_KILL_AT", kill_at, 1);
        if (steps)
            tw_step_observe(note, steps);
        if (whole(id) < 0)
            (void)fprintf(stderr, "child: %s\n", err.text);
        _exit(err.code ? 1 : 0);
    }
    return pid;
}

/* ---- the census ---- */

static bool group_left(const char *id)
{
    static const char *const roots[] = {"",        "/cpu",     "/cpuacct",
                                        "/cpuset", "/memory",  "/blkio",
                                        "/pids",   "/freezer", "/unified"};

    for (size_t i = 0; i < TW_COUNT_OF(roots); i++) {
        tw_auto_free char *path = tw_strf("/sys/fs/cgroup%s/twin/%s", roots[i], id);

        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}

static bool process_left(void)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    bool found = false;

    while (dir && !found && (entry = readdir(dir))) {
        tw_auto_free char *path = tw_strf("/proc/%s/cmdline", entry->d_name),
                          *text = NULL;
        size_t len;

        if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name) &&
            tw_read_file(AT_FDCWD, path, 65536, &text, &len, NULL) == 0)
            found = memmem(text, len, MARK, strlen(MARK)) != NULL;
    }
    if (dir)
        (void)closedir(dir);
    return found;
}

static size_t entries_of(const char *folder, const char *needle)
{
    tw_auto_free char *path = tw_strf("%s/%s", state, folder);
    DIR *dir = opendir(path);
    struct dirent *entry;
    size_t count = 0;

    while (dir && (entry = readdir(dir)))
        count += strstr(entry->d_name, needle) != NULL;
    if (dir)
        (void)closedir(dir);
    return count;
}

/* Mounted only to be looked at, before any pool is opened, which would sweep. */
static size_t pool_entries(const char *id)
{
    char looker[TW_ID_LEN + 1];
    struct tw_priv *priv;
    size_t count = 0;

    tw_id_make(looker);
    cr_assert_eq(tw_priv_open(state, looker, &priv, &err), 0, "%s", err.text);
    if (entries_of("", "pool.img") > 0 &&
        tw_priv_pool_mount(priv, INT64_C(1) << 30, &err) == 0) {
        count = entries_of("pool/clones", id) + entries_of("pool/building", id) +
                entries_of("pool/old", id);
        tw_priv_pool_unmount(priv);
    }
    tw_priv_close(priv);
    return count;
}

static void check_clean(const char *id, const char *when)
{
    int removed;

    cr_expect_eq(tw_priv_reap(state, &removed, &err), 0, "%s: %s", when, err.text);
    cr_expect_not(group_left(id), "%s: a cgroup is left", when);
    cr_expect_not(process_left(), "%s: a process is left", when);
    cr_expect_eq(entries_of("run", id), 0, "%s: a journal is left", when);
    cr_expect_eq(entries_of("", id), 0, "%s: a file is left", when);
    cr_expect_eq(pool_entries(id), 0, "%s: the pool has something left", when);
}

/* The loop device clears itself some time after its last mount has gone. */
static bool loop_left(void)
{
    int64_t deadline = tw_now_ns() + 5 * TW_SEC_NS;
    bool found = true;

    while (found && tw_now_ns() < deadline) {
        found = false;
        for (int i = 0; i < 64; i++) {
            tw_auto_free char *path = tw_strf("/sys/block/loop%d/loop/backing_file", i);
            tw_auto_free char *text = NULL;

            if (tw_read_file(AT_FDCWD, path, 4096, &text, NULL, NULL) == 0)
                found = found || strstr(text, state);
        }
        if (found)
            tw_sleep_ns(20 * TW_MSEC_NS);
    }
    return found;
}

static void set_up(void)
{
    if (geteuid() != 0)
        cr_skip_test("needs root");
    cr_assert(mkdtemp(state));
}

static void tear_down(void)
{
    cr_expect_not(loop_left(), "a loop device is left");
    cr_expect_eq(tw_remove_tree(state, &err), 0, "%s", err.text);
}
TestSuite(sandbox_kill, .init = set_up, .fini = tear_down, .timeout = 110);

/* ---- the tests ---- */

static void kill_at(const char *step, size_t nth)
{
    tw_auto_free char *wish = tw_strf("%s:%zu", step, nth);
    char id[TW_ID_LEN + 1];
    int status;
    pid_t pid;

    tw_id_make(id);
    pid = run_child(id, wish, NULL);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s: status %x", wish,
              (unsigned)status);
    check_clean(id, wish);
}

Test(sandbox_kill, at_each_named_step_nothing_stays)
{
    struct steps *steps = mmap(NULL, sizeof *steps, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char id[TW_ID_LEN + 1];
    int status;
    pid_t pid;

    cr_assert_neq(steps, MAP_FAILED);
    tw_id_make(id);
    pid = run_child(id, NULL, steps);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    cr_assert_gt(steps->count, 30);
    check_clean(id, "after a whole run");

    /* of the second arm's steps only those that the first did not have */
    for (size_t i = 0; i < steps->count; i++) {
        tw_auto_free char *image = tw_strf("%s/pool.img", state);
        size_t nth = 1;

        for (size_t k = 0; k < i; k++)
            nth += tw_streq(steps->names[k], steps->names[i]);
        if (nth > 1)
            continue;
        if (tw_streq(steps->names[i], "priv.image.made"))
            (void)unlink(image);
        kill_at(steps->names[i], 1);
    }
    (void)munmap(steps, sizeof *steps);
}

/* The reaper too may be killed while it reaps. */
Test(sandbox_kill, a_killed_reaper_is_followed_by_another)
{
    static const char *const wishes[] = {"priv.reap.undone:1", "priv.reap.undone:2",
                                         "priv.journal.reaped:1"};

    for (size_t i = 0; i < TW_COUNT_OF(wishes); i++) {
        char id[TW_ID_LEN + 1], other[TW_ID_LEN + 1];
        int status;
        pid_t pid;

        tw_id_make(id);
        tw_id_make(other);
        pid = run_child(id, "test.frozen", NULL);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        pid = run_child(other, wishes[i], NULL);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_expect(WIFSIGNALED(status), "%s: status %x", wishes[i], (unsigned)status);
        check_clean(id, wishes[i]);
        check_clean(other, wishes[i]);
    }
}

/* How long a whole run takes here, and that nothing of it stays. */
static int64_t whole_run_ns(void)
{
    int64_t started = tw_now_ns(), took;
    char id[TW_ID_LEN + 1];
    int status;
    pid_t pid;

    tw_id_make(id);
    pid = run_child(id, NULL, NULL);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    took = tw_now_ns() - started;
    cr_assert_eq(status, 0);
    check_clean(id, "after a whole run");
    return took;
}

Test(sandbox_kill, at_any_moment_nothing_stays)
{
    const char *wish = getenv("TWIN_TEST_KILLS");
    int kills = wish ? atoi(wish) : 12, killed = 0, status;
    int64_t whole_ns = whole_run_ns();
    unsigned seed = 20;

    for (int i = 0; i < kills; i++) {
        int64_t after = whole_ns * (rand_r(&seed) % 1000) / 1000;
        tw_auto_free char *when =
            tw_strf("kill %d after %.1f ms", i, tw_seconds(after) * 1e3);
        char id[TW_ID_LEN + 1];
        pid_t pid;

        tw_id_make(id);
        pid = run_child(id, NULL, NULL);
        tw_sleep_ns(after);
        (void)kill(pid, SIGKILL);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        killed += WIFSIGNALED(status);
        check_clean(id, when);
    }
    cr_expect_gt(killed, kills / 2, "only %d of %d were killed in time", killed, kills);
}
