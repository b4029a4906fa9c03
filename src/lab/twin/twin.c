/* One clone, entered: its sandbox, its log, its process. */
#include "tw/twin.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MAX    ((size_t)16 << 20)
#define POLL_NS    (2 * TW_MSEC_NS)
#define CONNECT_NS (5 * TW_SEC_NS)
#define KILL_NS    (2 * TW_SEC_NS)
#define STILLBORN  (127 << 8) /* as a shell tells it */

/* A file that the service logs to. */
struct source {
    const char *path; /* on this host */
    off_t read;
};
struct tw_twin {
    struct tw_arena *arena; /* owned: paths, launches */
    const struct tw_service_kind *kind;
    enum tw_arm arm;
    struct tw_sandbox *box;
    struct tw_layout layout;
    struct tw_access access;
    const char *runtime, *log_path, *ask_path; /* on this host */
    const char *entrance;
    int runtime_fd;    /* owned */
    struct tw_buf log; /* owned: of all sources, in the order read */
    TW_ARRAY(struct source) sources;
    char *asked;             /* owned */
    int handle;              /* of the running service; -1: none */
    bool stillborn;          /* its program could not even be started; its log says why */
    struct tw_launch launch; /* of what runs */
    int64_t started_ns;
    size_t log_from;
    int port;
    struct tw_twin_page *page; /* owned: a mapping; NULL: none */
    const char *preload_env[2];
};

/* ---- open and close ---- */

static int make_runtime(struct tw_twin *t, const struct tw_twin_spec *spec,
                        struct tw_err *err)
{
    struct tw_arena *a = t->arena;

    t->runtime = tw_arena_printf(a, "%s%s", spec->clone_root, t->layout.runtime_dir);
    t->log_path = tw_arena_printf(a, "%s/log", t->runtime);
    t->ask_path = tw_arena_printf(a, "%s/asked", t->runtime);
    if (mkdir(t->runtime, 0700) < 0 && errno != EEXIST)
        return tw_fail_errno(err, errno, "mkdir '%s'", t->runtime);
    if (geteuid() == 0 && chown(t->runtime, spec->uid, spec->gid) < 0)
        return tw_fail_errno(err, errno, "chown '%s'", t->runtime);
    t->runtime_fd = open(t->runtime, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (t->runtime_fd < 0)
        return tw_fail_errno(err, errno, "'%s'", t->runtime);
    /* The path of a socket has 107 characters at most, that of a clone may have more. */
    t->entrance = tw_arena_printf(a, "/proc/self/fd/%d", t->runtime_fd);
    return 0;
}

/* The library and the page that it shares with us stand in the runtime directory, as the service's own
 * user sees it. */
static int make_page(struct tw_twin *t, const struct tw_twin_spec *spec, struct tw_err *err)
{
    static const char library[] = "twin-faults.so", shared[] = "twin-faults";
    tw_auto_free char *code = tw_strf("%s/%s", t->runtime, library);
    tw_auto_free char *path = tw_strf("%s/%s", t->runtime, shared);
    tw_auto_close int fd = -1;
    int r;

    if (!spec->preload)
        return 0;
    r = tw_write_file(code, spec->preload, spec->preload_len, 0755, err);
    if (r < 0)
        return r;
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fchmod(fd, 0666) < 0 || ftruncate(fd, sizeof *t->page) < 0)
        return tw_fail_errno(err, errno, "making '%s'", path);
    t->page = mmap(NULL, sizeof *t->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (t->page == MAP_FAILED) {
        t->page = NULL;
        return tw_fail_errno(err, errno, "sharing '%s'", path);
    }
    t->preload_env[0] =
        tw_arena_printf(t->arena, "LD_PRELOAD=%s/%s", t->layout.runtime_dir, library);
    t->preload_env[1] =
        tw_arena_printf(t->arena, "TWIN_FAULT_PAGE=%s/%s", t->layout.runtime_dir, shared);
    return 0;
}

static void add_mounts(struct tw_twin *t, const char *root, struct tw_sandbox_spec *box)
{
    struct tw_sandbox_mount runtime = {t->runtime, t->layout.runtime_dir, true};

    for (size_t i = 0; i < t->layout.paths.count; i++) {
        const char *path = t->layout.paths.items[i];
        struct tw_sandbox_mount m = {tw_arena_printf(t->arena, "%s%s", root, path), path,
                                     true};

        TW_PUSH(t->arena, &box->mounts, m);
    }
    TW_PUSH(t->arena, &box->mounts, runtime);
    for (size_t i = 0; i < t->layout.addresses.count; i++)
        TW_PUSH(t->arena, &box->more_addresses, t->layout.addresses.items[i]);
}

/* A neighbour that stands in the twin's network comes before where it is at home. */
static void add_hosts(struct tw_twin *t, const struct tw_twin_spec *spec,
                      struct tw_sandbox_spec *box)
{
    for (size_t i = 0; i < spec->hosts.count; i++)
        TW_PUSH(t->arena, &box->hosts, spec->hosts.items[i]);
    for (size_t i = 0; i < t->layout.hosts.count; i++) {
        struct tw_sandbox_host h = {t->layout.hosts.items[i].name,
                                    t->layout.hosts.items[i].address};

        TW_PUSH(t->arena, &box->hosts, h);
    }
}

static int open_box(struct tw_twin *t, struct tw_priv *priv,
                    const struct tw_twin_spec *spec, struct tw_err *err)
{
    int64_t shm =
        t->layout.shm_bytes ? t->layout.shm_bytes : spec->snapshot->memory_bytes / 2;
    struct tw_sandbox_spec box = {.backend = spec->backend,
                                  .container = spec->container,
                                  .id = spec->id,
                                  .name = spec->name,
                                  .uid = spec->uid,
                                  .gid = spec->gid,
                                  .user_name = spec->snapshot->owner_name,
                                  .hostname = spec->name,
                                  .memory_bytes = spec->memory_bytes,
                                  .cpus = spec->cpus,
                                  .cpuset = spec->cpuset,
                                  .cpu_weight = 262144,
                                  .shm_bytes = shm,
                                  .tmp_bytes = spec->container ? 0 : 1 << 30,
                                  .as_root = t->layout.as_root ||
                                             (spec->container && spec->uid == 0),
                                  .beside = spec->beside,
                                  .seccomp = true};
    struct tw_sandbox_link link = {.network = spec->network, .address = spec->address};

    if (spec->address)
        TW_PUSH(t->arena, &box.links, link);
    add_hosts(t, spec, &box);
    add_mounts(t, spec->clone_root, &box);
    return tw_sandbox_open(priv, &box, &t->box, err);
}

/* A setting as it will be in this twin: the plan's own, else the target's. NULL unknown. */
static const char *effective(const struct tw_twin_spec *spec, const char *name)
{
    const struct tw_setting *s = tw_snapshot_setting(spec->snapshot, name);

    for (size_t i = 0; spec->plan && i < spec->plan->steps.count; i++)
        if (tw_streq(spec->plan->steps.items[i].name, name) &&
            spec->plan->steps.items[i].value)
            return spec->plan->steps.items[i].value;
    return s ? s->value : NULL;
}

static void add_source(struct tw_twin *t, const char *path)
{
    struct stat st;
    struct source s = {path, stat(path, &st) == 0 ? st.st_size : 0};

    TW_PUSH(t->arena, &t->sources, s);
}

/* What stood in a log before belongs to the target's past. */
static void add_sources(struct tw_twin *t, const char *root)
{
    add_source(t, t->log_path);
    for (size_t i = 0; i < t->layout.logs.count; i++)
        add_source(t, tw_arena_printf(t->arena, "%s%s", root, t->layout.logs.items[i]));
}

int tw_twin_open(struct tw_priv *priv, const struct tw_twin_spec *spec,
                 struct tw_twin **ret, struct tw_err *err)
{
    struct tw_twin *t = tw_alloc(sizeof(*t));
    int r;

    t->arena = tw_arena_new();
    t->kind = spec->kind;
    t->arm = spec->arm;
    t->handle = t->runtime_fd = -1;
    tw_buf_init(&t->log, LOG_MAX);
    r = t->kind->layout(t->arena, spec->snapshot, spec->plan, spec->clone_root,
                        &t->layout, err);
    if (r == 0)
        r = make_runtime(t, spec, err);
    if (r == 0)
        r = make_page(t, spec, err);
    if (r == 0)
        r = open_box(t, priv, spec, err);
    if (r < 0) {
        tw_twin_close(t);
        return tw_wrap(err, r, "twin '%s'", spec->name);
    }
    add_sources(t, spec->clone_root);
    t->access = (struct tw_access){.snapshot = spec->snapshot,
                                   .root = tw_arena_strdup(t->arena, spec->clone_root),
                                   .runtime = t->runtime,
                                   .entrance = t->entrance,
                                   .memory_limit_bytes = spec->memory_bytes,
                                   .netns = tw_sandbox_netns(t->box),
                                   .oom_kills = -1,
                                   .arm = spec->arm,
                                   .listens_too = spec->listens_too,
                                   .listens = effective(spec, "listen_addresses")};
    t->port = effective(spec, "port") ? atoi(effective(spec, "port")) : spec->snapshot->port;
    *ret = t;
    return 0;
}

static bool same_paths(const struct tw_layout *a, const struct tw_layout *b)
{
    if (a->paths.count != b->paths.count)
        return false;
    for (size_t i = 0; i < a->paths.count; i++)
        if (!tw_streq(a->paths.items[i], b->paths.items[i]))
            return false;
    return true;
}

bool tw_twin_serves(const struct tw_twin *t, const struct tw_plan *plan)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_twin_spec spec = {.snapshot = t->access.snapshot, .plan = plan};
    const char *port = effective(&spec, "port");
    struct tw_layout layout;

    return t->kind->layout(a, spec.snapshot, plan, t->access.root, &layout, NULL) == 0 &&
           same_paths(&layout, &t->layout) && layout.shm_bytes == t->layout.shm_bytes &&
           layout.as_root == t->layout.as_root &&
           tw_streq(effective(&spec, "listen_addresses"), t->access.listens) &&
           t->port == (port ? atoi(port) : spec.snapshot->port);
}

void tw_twin_close(struct tw_twin *t)
{
    if (!t)
        return;
    tw_sandbox_close(t->box);
    tw_close_p(&t->runtime_fd);
    tw_buf_done(&t->log);
    if (t->page)
        (void)munmap(t->page, sizeof *t->page);
    free(t->asked);
    tw_arena_free(t->arena);
    free(t);
}

/* ---- what others may know ---- */

/* A log that was made anew (shorter than what was read) is read from its begin. */
static void read_on(struct tw_twin *t, struct source *s)
{
    tw_auto_close int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char part[16384];
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    if (st.st_size < s->read)
        s->read = 0;
    while (!t->log.overflow && (n = pread(fd, part, sizeof part, s->read)) > 0) {
        tw_buf_add(&t->log, part, (size_t)n);
        s->read += n;
    }
}

const struct tw_access *tw_twin_access(struct tw_twin *t)
{
    struct tw_usage usage;

    for (size_t i = 0; i < t->sources.count; i++)
        read_on(t, &t->sources.items[i]);
    t->access.log = tw_buf_text(&t->log);
    t->access.oom_kills =
        tw_sandbox_usage(t->box, &usage, NULL) == 0 ? usage.oom_kills : -1;
    return &t->access;
}

struct tw_sandbox *tw_twin_sandbox(struct tw_twin *t)
{
    return t->box;
}

const char *tw_twin_runtime_dir(struct tw_twin *t)
{
    return t->runtime;
}

enum tw_arm tw_twin_arm(const struct tw_twin *t)
{
    return t->arm;
}

const struct tw_service_kind *tw_twin_kind(const struct tw_twin *t)
{
    return t->kind;
}

const char *tw_twin_conninfo_at(struct tw_twin *t, struct tw_arena *a, const char *dir)
{
    if (!t->kind->conninfo)
        return NULL;
    return t->kind->conninfo(a, t->access.snapshot, dir);
}

int tw_twin_connect(struct tw_twin *t, const char *database, struct tw_pg **ret,
                    struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const char *info;

    if (!t->kind->conninfo)
        return tw_fail(err, -EOPNOTSUPP, "a %s has no sessions of SQL", t->kind->name);
    info = tw_arena_printf(a, "%s dbname='%s'",
                           t->kind->conninfo(a, t->access.snapshot, t->entrance),
                           database ? database : "postgres");

    return tw_pg_open(info, (unsigned)-1, tw_now_ns() + CONNECT_NS, ret, err);
}

/* ---- starting ---- */

static int open_log(const char *path, int flags, struct tw_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);

    return fd < 0 ? tw_fail_errno(err, errno, "'%s'", path) : fd;
}

static int run_launch(struct tw_twin *t, const struct tw_launch *launch, int out, int log,
                      int *ret_handle, struct tw_err *err)
{
    static const char *const least[] = {"PATH=/usr/bin:/bin", NULL};
    TW_ARRAY(const char *) env = {NULL, 0};
    const char *const *own = launch->env.items ? launch->env.items : least;
    struct tw_process_spec p = {.argv = launch->argv.items,
                                .env = launch->env.items,
                                .cwd = launch->cwd,
                                .stdin_fd = -1,
                                .stdout_fd = out,
                                .stderr_fd = log,
                                .nofile = launch->nofile,
                                .nofile_hard = launch->nofile_hard};

    if (t->page) {
        for (; *own; own++)
            TW_PUSH(t->arena, &env, *own);
        for (size_t i = 0; i < TW_COUNT_OF(t->preload_env); i++)
            TW_PUSH(t->arena, &env, t->preload_env[i]);
        TW_PUSH(t->arena, &env, NULL);
        p.env = env.items;
    }
    return tw_sandbox_start(t->box, &p, ret_handle, err);
}

int tw_twin_start_begin(struct tw_twin *t, enum tw_start_mode mode, struct tw_err *err)
{
    tw_auto_close int log = open_log(t->log_path, O_APPEND, err);
    struct tw_err why = {0};
    int r;

    if (log < 0)
        return log;
    t->log_from = strlen(tw_twin_access(t)->log);
    r = t->kind->launch(t->arena, &t->access, mode, &t->launch, err);
    if (r < 0)
        return r;
    t->started_ns = tw_now_ns();
    t->stillborn = false;
    r = run_launch(t, &t->launch, log, log, &t->handle, &why);
    if (r < 0)
        t->handle = -1;
    /* a program that is not there is the service's fault, not ours: it is told as its death would be */
    if (r == -ENOENT || r == -EACCES || r == -ENOEXEC) {
        t->stillborn = true;
        (void)!dprintf(log, "%s\n", why.text);
        return 0;
    }
    if (r < 0) {
        if (err)
            *err = why;
        return tw_wrap(err, r, "starting the service");
    }
    tw_step("twin.service.started");
    return 0;
}

static bool has_ended(struct tw_twin *t, int *ret_status)
{
    if (tw_sandbox_wait(t->box, t->handle, 0, ret_status, NULL) < 0)
        return false;
    t->handle = -1;
    return true;
}

int tw_twin_start_finish(struct tw_twin *t, int64_t deadline_ns, struct tw_started *ret,
                         struct tw_err *err)
{
    struct tw_started s = {.log_from = t->log_from};

    if (t->stillborn) {
        s.wait_status = STILLBORN;
        *ret = s;
        return 0;
    }
    if (t->handle < 0)
        return tw_fail(err, -ECHILD, "the service was not started");
    while (!s.ready && !s.timed_out) {
        if (has_ended(t, &s.wait_status))
            break;
        s.ready = t->kind->ready(&t->access) == TW_READY;
        s.timed_out = !s.ready && tw_now_ns() > deadline_ns;
        if (!s.ready)
            tw_sleep_ns(POLL_NS);
    }
    s.seconds = tw_seconds(tw_now_ns() - t->started_ns);
    *ret = s;
    tw_step(s.ready ? "twin.service.ready" : "twin.service.gone");
    return 0;
}

int tw_twin_start(struct tw_twin *t, enum tw_start_mode mode, int64_t deadline_ns,
                  struct tw_started *ret, struct tw_err *err)
{
    int r = tw_twin_start_begin(t, mode, err);

    return r < 0 ? r : tw_twin_start_finish(t, deadline_ns, ret, err);
}

int tw_twin_ask(struct tw_twin *t, int64_t deadline_ns, struct tw_err *err)
{
    tw_auto_close int out = -1;
    struct tw_launch launch;
    int handle, status;
    int r = t->kind->launch(t->arena, &t->access, TW_START_ASK, &launch, err);

    free(t->asked);
    t->access.asked = t->asked = NULL;
    if (r < 0)
        return r;
    if ((out = open_log(t->ask_path, O_TRUNC, err)) < 0)
        return out;
    /* What it complains of is said again, and judged, by the start itself, unless complaining is
     * what it was asked for. */
    r = run_launch(t, &launch, out, launch.asks_stderr ? out : -1, &handle, err);
    if (r == 0)
        r = tw_sandbox_wait(t->box, handle, deadline_ns, &status, err);
    if (r == 0)
        r = tw_read_file(AT_FDCWD, t->ask_path, LOG_MAX, &t->asked, NULL, err);
    t->access.asked = t->asked;
    return r;
}

/* ---- running ---- */

bool tw_twin_running(struct tw_twin *t)
{
    int status;

    return t->handle >= 0 && !has_ended(t, &status);
}

int tw_twin_reload(struct tw_twin *t, struct tw_err *err)
{
    if (t->handle < 0)
        return tw_fail(err, -ESRCH, "the service does not run");
    if (t->kind->reload)
        return t->kind->reload(t->arena, tw_twin_access(t), err);
    if (t->launch.reload_signal == 0)
        return 0; /* it cannot: only a restart brings the change */
    return tw_sandbox_signal(t->box, t->handle, t->launch.reload_signal, err);
}

int tw_twin_kill(struct tw_twin *t, struct tw_err *err)
{
    int status, r;

    if (t->handle < 0)
        return tw_fail(err, -ESRCH, "the service does not run");
    r = tw_sandbox_signal(t->box, t->handle, SIGKILL, err);
    if (r == 0)
        r = tw_sandbox_wait(t->box, t->handle, tw_now_ns() + KILL_NS, &status, err);
    if (r == 0)
        t->handle = -1;
    return r;
}

int tw_twin_port(const struct tw_twin *t)
{
    return t->port;
}

struct tw_twin_page *tw_twin_page(struct tw_twin *t)
{
    return t->page;
}

int tw_twin_stop(struct tw_twin *t, int64_t deadline_ns, double *ret_seconds,
                 struct tw_err *err)
{
    int64_t begun = tw_now_ns();
    int status;
    int r;

    if (t->handle < 0)
        return 0;
    r = tw_sandbox_signal(t->box, t->handle, t->launch.stop_signal, err);
    if (r == 0)
        r = tw_sandbox_wait(t->box, t->handle, deadline_ns, &status, err);
    if (r == -ETIMEDOUT) {
        (void)tw_sandbox_signal(t->box, t->handle, SIGKILL, NULL);
        r = tw_sandbox_wait(t->box, t->handle, tw_now_ns() + KILL_NS, &status, err);
        if (ret_seconds)
            *ret_seconds = INFINITY;
    } else if (ret_seconds) {
        *ret_seconds = tw_seconds(tw_now_ns() - begun);
    }
    if (r == 0)
        t->handle = -1;
    tw_step("twin.service.stopped");
    return r;
}

/* ---- settling ---- */

int tw_twin_settle(struct tw_priv *priv, const struct tw_twin_spec *spec,
                   struct tw_arena *a, struct tw_issues *differences, struct tw_err *err)
{
    struct tw_twin *t = NULL;
    struct tw_started started;
    struct tw_issues said = {0};
    int64_t deadline = tw_now_ns() + 600 * TW_SEC_NS;
    int r = tw_twin_open(priv, spec, &t, err);

    if (r == 0 && !t->kind->settle) {
        tw_twin_close(t);
        return 0;
    }
    if (r == 0)
        r = tw_twin_start(t, TW_START_SETTLE, deadline, &started, err);
    if (r == 0 && !started.ready) {
        t->kind->judge_start(a, tw_twin_access(t), started.log_from, NULL, false,
                             started.wait_status, &said);
        r = tw_fail(err, -EIO,
                    "the unchanged service does not start in a twin on this host: %s",
                    said.list.count ? said.list.items[0].evidence : "it says nothing");
    }
    if (r == 0)
        r = t->kind->settle(a, tw_twin_access(t), differences, err);
    if (r == 0)
        r = tw_twin_stop(t, deadline, NULL, err);
    if (r == 0) {
        (void)tw_remove_tree(t->runtime, NULL);
        tw_step("twin.seed.settled");
    }
    tw_twin_close(t);
    return r;
}
