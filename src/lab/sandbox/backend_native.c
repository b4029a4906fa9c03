/* Namespaces and control groups: the supervisor's side. */
#include "native_internal.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIDS_MAX 4096

struct native {
    struct tw_sandbox box; /* first */
    struct channel channel;
    struct tw_priv *priv;
    struct tw_priv_cgroup *cgroup;
    int netns;     /* its network namespace; -1: none */
    int64_t token; /* of init in the journal */
    const char *missing[12];
    size_t missing_count;
};

static struct native *native_of(struct tw_sandbox *box)
{
    return (struct native *)(void *)box;
}

/* ---- opening ---- */

static void note_missing(struct native *n, const char *text)
{
    if (n->missing_count < TW_COUNT_OF(n->missing))
        n->missing[n->missing_count++] = text;
}

static int open_cgroup(struct native *n, const struct tw_sandbox_spec *spec,
                       struct tw_err *err)
{
    struct tw_limits limits = {.memory_bytes = spec->memory_bytes,
                               .cpus = spec->cpus,
                               .cpuset = spec->cpuset,
                               .cpu_weight = spec->cpu_weight,
                               .pids_max = spec->pids_max ? spec->pids_max : PIDS_MAX};
    const char *const *texts;
    size_t count;
    int r = tw_priv_cgroup_open(n->priv, spec->name, &limits, &n->cgroup, err);

    if (r < 0)
        return r;
    count = tw_priv_cgroup_missing(n->cgroup, &texts);
    for (size_t i = 0; i < count; i++)
        note_missing(n, texts[i]);
    tw_step("sandbox.cgroup.made");
    return 0;
}

static int open_channels(struct native *n, int *ret_init_end, struct tw_err *err)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return tw_fail_errno(err, errno, "making a socket pair");
    n->channel.control = pair[0];
    /* above the standard three, which init makes anew */
    *ret_init_end = fcntl(pair[1], F_DUPFD_CLOEXEC, 3);
    (void)close(pair[1]);
    if (*ret_init_end < 0)
        return tw_fail_errno(err, errno, "making the channels to the sandbox");
    return channel_make(&n->channel, false, err);
}

static int spawn_init(struct native *n, struct native_plan *plan, bool own_users,
                      pid_t *ret_pid, struct tw_err *err)
{
    struct tw_spawn spawn = {
        .namespaces =
            (uint64_t)(unsigned)(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC |
                                 CLONE_NEWUTS | (plan->netns < 0 ? CLONE_NEWNET : 0) |
                                 (own_users ? CLONE_NEWUSER : 0)),
        .cgroup_fd = tw_priv_cgroup_fd(n->cgroup),
        .uid = plan->uid,
        .gid = plan->gid,
        .main = native_init,
        .arg = plan};
    int r = tw_priv_spawn(n->priv, &spawn, ret_pid, &n->channel.pidfd, err);

    if (r < 0)
        return r;
    r = channel_record(n->priv, *ret_pid, &n->token, err);
    tw_step("sandbox.init.started");
    return r < 0 ? r : channel_watch(&n->channel, err);
}

/* The links are made while init builds its root; then both go on together. */
static int finish_init(struct native *n, pid_t pid, const struct native_plan *plan,
                       const struct tw_sandbox_spec *spec, struct tw_err *err)
{
    int32_t result = 0;
    int r = 0;

    for (size_t i = 0; i < plan->net.link_count && r == 0; i++)
        r = tw_priv_link_make(n->priv, pid, spec->links.items[i].network, (int)i, err);
    if (r < 0) /* when init has given up, what it says is the cause */
        return n->channel.board->err.code < 0 ? tw_fail(err, n->channel.board->err.code,
                                                        "%s", n->channel.board->err.text)
                                              : r;
    if (plan->net.link_count)
        tw_step("sandbox.link.made");
    r = channel_go(&n->channel, err);
    if (r == 0)
        r = channel_await(&n->channel, &result, err);
    if (r == 0 && result == INIT_WANTS_MAPS) {
        r = tw_priv_map_users(pid, plan->uid, err);
        if (r == 0)
            r = channel_go(&n->channel, err);
        if (r == 0)
            r = channel_await(&n->channel, &result, err);
    }
    if (r == 0)
        tw_step("sandbox.init.ready");
    return r;
}

/* Beside another it enters that one's in its own time: until then it shows that of its parent. */
static void open_netns(struct native *n, pid_t pid, int beside)
{
    tw_auto_free char *path = tw_strf("/proc/%d/ns/net", (int)pid);

    n->netns = beside >= 0 ? fcntl(beside, F_DUPFD_CLOEXEC, 3)
                           : open(path, O_RDONLY | O_CLOEXEC);
}

static int make_init(struct native *n, const struct tw_sandbox_spec *spec,
                     struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto_close int init_end = -1;
    bool root = tw_priv_is_root(n->priv), linked = spec->links.count && root;
    const char *state = tw_priv_state_dir(n->priv);
    struct native_plan plan = {.cgroup = n->cgroup,
                               .hostname = spec->hostname ? spec->hostname : spec->name,
                               .empty_dir = tw_arena_printf(a, "%s/empty", state),
                               .trusted_dir = state,
                               .netns =
                                   spec->beside ? tw_sandbox_netns(spec->beside) : -1,
                               .as_root = spec->as_root && root,
                               .uid = spec->uid,
                               .gid = spec->gid};
    struct native_rows rows;
    pid_t pid;
    int r = spec->seccomp ? tw_priv_filter(plan.as_root, &plan.filter, err) : 0;

    if (r == 0)
        r = open_channels(n, &init_end, err);
    if (r < 0)
        return r;
    if (spec->links.count && !root)
        note_missing(n, "no link to other sandboxes without root: only its own loopback");
    if (spec->as_root && !root)
        note_missing(n,
                     "one user only without root: the service cannot change to another");
    native_rows_make(a, spec, linked, &rows);
    plan.rows = rows.list.items;
    plan.row_count = rows.list.count;
    sandbox_plan_net(a, spec, linked, &plan.net);
    plan.control = init_end;
    plan.events = n->channel.events;
    plan.board = n->channel.board;

    r = spawn_init(n, &plan, !root, &pid, err);
    /* from here on the only other end is init's, and its death is seen */
    (void)close(tw_take_fd(&init_end));
    if (r == 0) {
        open_netns(n, pid, plan.netns);
        r = finish_init(n, pid, &plan, spec, err);
    }
    return r;
}

static int native_open(struct tw_priv *priv, const struct tw_sandbox_spec *spec,
                       struct tw_sandbox **ret_box, struct tw_err *err)
{
    struct native *n = tw_alloc(sizeof *n);
    int r;

    n->box.backend = &sandbox_backend_native;
    n->priv = priv;
    channel_init(&n->channel, spec->name);
    n->netns = -1;
    r = open_cgroup(n, spec, err);
    if (r == 0)
        r = make_init(n, spec, err);
    if (r < 0) {
        tw_sandbox_close(&n->box);
        return r;
    }
    tw_step("sandbox.opened");
    *ret_box = &n->box;
    return 0;
}

/* The death of init is the death of its pid namespace, and comes back when all are gone.
 * Its network namespace ends later, by itself. */
static void native_close(struct tw_sandbox *box)
{
    struct native *n = native_of(box);

    if (n->channel.frozen)
        (void)tw_priv_cgroup_freeze(n->cgroup, false, NULL);
    if (n->channel.pidfd >= 0)
        tw_priv_kill(n->priv, tw_take_fd(&n->channel.pidfd));
    tw_step("sandbox.killed");
    tw_priv_settled(n->priv, n->token);
    tw_priv_cgroup_close(n->cgroup);
    tw_close_p(&n->netns);
    channel_done(&n->channel);
    free(n);
    tw_step("sandbox.closed");
}

/* ---- requests ---- */

static int native_start(struct tw_sandbox *box, const struct tw_process_spec *spec,
                        int *ret_handle, struct tw_err *err)
{
    return channel_start(&native_of(box)->channel, spec, ret_handle, err);
}

static int native_signal(struct tw_sandbox *box, int handle, int signal,
                         struct tw_err *err)
{
    return channel_signal(&native_of(box)->channel, handle, signal, err);
}

static int native_wait(struct tw_sandbox *box, int handle, int64_t deadline_ns,
                       int *ret_status, struct tw_err *err)
{
    return channel_wait(&native_of(box)->channel, handle, deadline_ns, ret_status, err);
}

static int native_event_fd(const struct tw_sandbox *box)
{
    return ((const struct native *)(const void *)box)->channel.poll_fd;
}

static int native_freeze(struct tw_sandbox *box, bool frozen, struct tw_err *err)
{
    struct native *n = native_of(box);
    int r = tw_priv_cgroup_freeze(n->cgroup, frozen, err);

    if (r == 0)
        n->channel.frozen = frozen;
    return r;
}

static void native_usage(struct tw_sandbox *box, struct tw_usage *ret_usage)
{
    tw_priv_cgroup_usage(native_of(box)->cgroup, ret_usage);
}

static int native_limit(struct tw_sandbox *box, int64_t memory_bytes, double cpus,
                        struct tw_err *err)
{
    return tw_priv_cgroup_limit(native_of(box)->cgroup, memory_bytes, cpus, err);
}

static int native_pin(struct tw_sandbox *box, const char *cpuset, struct tw_err *err)
{
    return tw_priv_cgroup_pin(native_of(box)->cgroup, cpuset, err);
}

static int native_io(struct tw_sandbox *box, const char *path, int64_t bytes_per_s,
                     struct tw_err *err)
{
    return tw_priv_cgroup_io(native_of(box)->cgroup, path, bytes_per_s, err);
}

static int native_netns(const struct tw_sandbox *box)
{
    return ((const struct native *)(const void *)box)->netns;
}

static size_t native_missing(const struct tw_sandbox *box, const char *const **ret_texts)
{
    const struct native *n = (const struct native *)(const void *)box;

    *ret_texts = n->missing;
    return n->missing_count;
}

const struct sandbox_backend sandbox_backend_native = {
    .name = "native",
    .summary = "namespaces, control groups, seccomp, links of our own",
    .open = native_open,
    .close = native_close,
    .start = native_start,
    .signal = native_signal,
    .wait = native_wait,
    .event_fd = native_event_fd,
    .freeze = native_freeze,
    .usage = native_usage,
    .limit = native_limit,
    .pin = native_pin,
    .io = native_io,
    .netns = native_netns,
    .missing = native_missing,
};
