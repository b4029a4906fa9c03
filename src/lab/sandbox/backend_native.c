/* Namespaces and control groups: the supervisor's side. */
#include "native_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REPLY_NS (15 * TW_SEC_NS)
#define DEATH_CHECK_NS                                                                   \
    (20 * TW_MSEC_NS) /* a waiter looks this often whether init is alive */
#define PIDS_MAX 4096

struct native {
    struct tw_sandbox box; /* first */
    struct tw_priv *priv;
    char *name;
    struct tw_priv_cgroup *cgroup;
    struct native_board *board;
    int control, events, poll_fd; /* poll_fd: events and pidfd in one */
    int pidfd;                    /* of init; -1: none */
    int netns;                    /* its network namespace; -1: none */
    int64_t token;                /* of init in the journal */
    bool frozen;
    uint32_t generation[NATIVE_SLOTS]; /* a handle is generation * slots + slot */
    bool used[NATIVE_SLOTS];
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
    n->control = pair[0];
    /* above the standard three, which init makes anew */
    *ret_init_end = fcntl(pair[1], F_DUPFD_CLOEXEC, 3);
    (void)close(pair[1]);
    /* one count per end that nobody has collected yet */
    n->events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    if (n->events >= 0 && n->events < 3) {
        int low = n->events;

        n->events = fcntl(low, F_DUPFD_CLOEXEC, 3);
        (void)close(low);
    }
    n->board = mmap(NULL, sizeof *n->board, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (n->board == MAP_FAILED)
        n->board = NULL;
    if (*ret_init_end < 0 || n->events < 0 || !n->board)
        return tw_fail_errno(err, errno, "making the channels to the sandbox");
    return 0;
}

static int watch(struct native *n, struct tw_err *err)
{
    struct epoll_event event = {.events = EPOLLIN};

    n->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (n->poll_fd < 0 || epoll_ctl(n->poll_fd, EPOLL_CTL_ADD, n->events, &event) < 0 ||
        epoll_ctl(n->poll_fd, EPOLL_CTL_ADD, n->pidfd, &event) < 0)
        return tw_fail_errno(err, errno, "watching the sandbox");
    return 0;
}

/* That it ends with its supervisor is what removes it; the record is for the rare rest.
 */
static int record_init(struct native *n, pid_t pid, struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("/proc/%d/stat", (int)pid), *stat = NULL,
                      *value = NULL;
    int64_t started = -1;
    char *field;

    if (tw_read_file(AT_FDCWD, path, 4096, &stat, NULL, NULL) < 0)
        return tw_fail(err, -ECHILD, "the init of the sandbox died at once");
    field = strrchr(stat, ')');
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    if (field)
        (void)sscanf(field, " %" SCNd64, &started);
    value = tw_strf("%d %" PRId64, (int)pid, started);
    return tw_priv_intend(n->priv, TW_INTENT_PROCESS, value, &n->token, err);
}

/* When init has given up, what it says is the cause, and what we met is the consequence.
 */
static int prefer_its_word(const struct native *n, int r, struct tw_err *err)
{
    return n->board->err.code < 0
               ? tw_fail(err, n->board->err.code, "%s", n->board->err.text)
               : r;
}

static int await_reply(struct native *n, int32_t *ret_result, struct tw_err *err)
{
    struct pollfd fd = {n->control, POLLIN, 0};
    struct native_reply reply;
    int64_t deadline = tw_now_ns() + REPLY_NS;
    ssize_t got;
    int r;

    do
        r = poll(&fd, 1, (int)((deadline - tw_now_ns()) / TW_MSEC_NS) + 1);
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return tw_fail(err, -ETIMEDOUT, "sandbox '%s' did not answer within %d s",
                       n->name, (int)(REPLY_NS / TW_SEC_NS));
    got = recv(n->control, &reply, sizeof reply, MSG_DONTWAIT);
    if (got != (ssize_t)sizeof reply)
        return prefer_its_word(
            n, tw_fail(err, -ECHILD, "the init of sandbox '%s' died", n->name), err);
    *ret_result = reply.result;
    return 0;
}

static int spawn_init(struct native *n, struct native_plan *plan, bool own_users,
                      pid_t *ret_pid, struct tw_err *err)
{
    struct tw_spawn spawn = {
        .namespaces = (uint64_t)(unsigned)(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC |
                                           CLONE_NEWUTS |
                                           (plan->netns < 0 ? CLONE_NEWNET : 0) |
                                           (own_users ? CLONE_NEWUSER : 0)),
        .cgroup_fd = tw_priv_cgroup_fd(n->cgroup),
        .uid = plan->uid,
        .gid = plan->gid,
        .main = native_init,
        .arg = plan};
    int r = tw_priv_spawn(n->priv, &spawn, ret_pid, &n->pidfd, err);

    if (r < 0)
        return r;
    r = record_init(n, *ret_pid, err);
    tw_step("sandbox.init.started");
    return r < 0 ? r : watch(n, err);
}

static int send_go(struct native *n, struct tw_err *err)
{
    struct native_request go = {.op = NATIVE_GO, .size = sizeof go};

    return send(n->control, &go, sizeof go, MSG_NOSIGNAL) < 0 && errno != EPIPE
               ? tw_fail_errno(err, errno, "telling the sandbox to go on")
               : 0;
}

/* The links are made while init builds its root; then both go on together. */
static int finish_init(struct native *n, pid_t pid, const struct native_plan *plan,
                       const struct tw_sandbox_spec *spec, struct tw_err *err)
{
    int32_t result = 0;
    int r = 0;

    for (size_t i = 0; i < plan->link_count && r == 0; i++)
        r = tw_priv_link_make(n->priv, pid, spec->links.items[i].network, (int)i, err);
    if (r < 0)
        return prefer_its_word(n, r, err);
    if (plan->link_count)
        tw_step("sandbox.link.made");
    r = send_go(n, err);
    if (r == 0)
        r = await_reply(n, &result, err);
    if (r == 0 && result == NATIVE_WANTS_MAPS) {
        r = tw_priv_map_users(pid, plan->uid, err);
        if (r == 0)
            r = send_go(n, err);
        if (r == 0)
            r = await_reply(n, &result, err);
    }
    if (r == 0)
        tw_step("sandbox.init.ready");
    return r;
}

/* Those that a service binds to and that are neither the link's nor there anyway. */
static bool is_own_address(const char *text)
{
    return native_is_address(text) && !tw_starts_with(text, "127.") &&
           !tw_streq(text, "::1") && !tw_streq(text, "0.0.0.0") &&
           !tw_streq(text, "::") && !tw_priv_net_contains(text);
}

struct addresses {
    TW_ARRAY(const char *) list;
};

static void own_addresses(struct tw_arena *a, const struct tw_sandbox_spec *spec,
                          struct addresses *ret)
{
    for (size_t i = 0; i < spec->more_addresses.count; i++)
        if (is_own_address(spec->more_addresses.items[i]))
            TW_PUSH(a, &ret->list, spec->more_addresses.items[i]);
}

/* What a service binds to stands where others can reach it: on the first link, if there is one. */
static void plan_network(struct tw_arena *a, const struct tw_sandbox_spec *spec,
                         bool linked, struct native_plan *plan)
{
    struct addresses own = {0};

    own_addresses(a, spec, &own);
    if (!linked) {
        plan->lo = own.list.items;
        plan->lo_count = own.list.count;
        return;
    }
    plan->link_count = spec->links.count;
    for (size_t i = 0; i < spec->links.count; i++) {
        const struct tw_sandbox_link *link = &spec->links.items[i];
        struct addresses more = {0};

        for (size_t k = 0; k < link->more.count; k++)
            TW_PUSH(a, &more.list, link->more.items[k]);
        for (size_t k = 0; i == 0 && k < own.list.count; k++)
            TW_PUSH(a, &more.list, own.list.items[k]);
        plan->links[i] = (struct tw_link){link->network, link->address, more.list.items,
                                          more.list.count};
    }
}

static void open_netns(struct native *n, pid_t pid)
{
    tw_auto_free char *path = tw_strf("/proc/%d/ns/net", (int)pid);

    n->netns = open(path, O_RDONLY | O_CLOEXEC);
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
                               .netns = spec->beside ? tw_sandbox_netns(spec->beside) : -1,
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
        note_missing(n, "one user only without root: the service cannot change to another");
    native_rows_make(a, spec, linked, &rows);
    plan.rows = rows.list.items;
    plan.row_count = rows.list.count;
    plan_network(a, spec, linked, &plan);
    plan.control = init_end;
    plan.events = n->events;
    plan.board = n->board;

    r = spawn_init(n, &plan, !root, &pid, err);
    /* from here on the only other end is init's, and its death is seen */
    (void)close(tw_take_fd(&init_end));
    if (r == 0) {
        open_netns(n, pid);
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
    n->name = tw_strf("%s", spec->name);
    n->control = n->events = n->poll_fd = n->pidfd = n->netns = -1;
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

    if (n->frozen)
        (void)tw_priv_cgroup_freeze(n->cgroup, false, NULL);
    if (n->pidfd >= 0)
        tw_priv_kill(n->priv, tw_take_fd(&n->pidfd));
    tw_step("sandbox.killed");
    tw_priv_settled(n->priv, n->token);
    tw_priv_cgroup_close(n->cgroup);
    tw_close_p(&n->control);
    tw_close_p(&n->events);
    tw_close_p(&n->poll_fd);
    tw_close_p(&n->netns);
    if (n->board)
        (void)munmap(n->board, sizeof *n->board);
    free(n->name);
    free(n);
    tw_step("sandbox.closed");
}

/* ---- requests ---- */

static struct native_slot *find_slot(struct native *n, int handle, uint32_t *ret_index,
                                     struct tw_err *err)
{
    uint32_t index = (uint32_t)handle % NATIVE_SLOTS;

    if (handle < 0 || !n->used[index] ||
        n->generation[index] != (uint32_t)handle / NATIVE_SLOTS) {
        (void)tw_fail(err, -ESRCH, "sandbox '%s' has no process %d", n->name, handle);
        return NULL;
    }
    *ret_index = index;
    return &n->board->slots[index];
}

static int check_awake(const struct native *n, struct tw_err *err)
{
    return n->frozen
               ? tw_fail(err, -EBUSY, "sandbox '%s' is frozen: thaw it first", n->name)
               : 0;
}

static int ask(struct native *n, struct native_request *q, const char *strings,
               size_t size, const int *fds, size_t fd_count, struct tw_err *err)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * (NATIVE_FDS_MAX + 3))];
    } control = {0};
    struct iovec parts[] = {{q, sizeof *q}, {(void *)(uintptr_t)strings, size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = size ? 2 : 1};
    int32_t result = 0;
    int r;

    q->size = (uint32_t)(sizeof *q + size);
    if (fd_count > 0) {
        struct cmsghdr *c;

        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
    }
    if (sendmsg(n->control, &message, MSG_NOSIGNAL) < 0)
        return errno == EPIPE || errno == ECONNRESET
                   ? tw_fail(err, -ECHILD, "the init of sandbox '%s' died", n->name)
                   : tw_fail_errno(err, errno, "asking sandbox '%s'", n->name);
    r = await_reply(n, &result, err);
    return r < 0 ? r : result;
}

static uint32_t add_strings(struct tw_buf *b, const char *const *list)
{
    uint32_t count = 0;

    for (; list && list[count]; count++)
        tw_buf_add(b, list[count], strlen(list[count]) + 1);
    return count;
}

static int take_slot(struct native *n, uint32_t *ret_index, struct tw_err *err)
{
    for (uint32_t i = 0; i < NATIVE_SLOTS; i++) {
        if (!n->used[i]) {
            n->used[i] = true;
            n->generation[i] = (n->generation[i] + 1) % (INT32_MAX / NATIVE_SLOTS);
            atomic_store(&n->board->slots[i].state, NATIVE_FREE);
            *ret_index = i;
            return 0;
        }
    }
    return tw_fail(err, -EAGAIN, "sandbox '%s' has %d processes already", n->name,
                   NATIVE_SLOTS);
}

static int native_start(struct tw_sandbox *box, const struct tw_process_spec *spec,
                        int *ret_handle, struct tw_err *err)
{
    struct native *n = native_of(box);
    const int stdio[3] = {spec->stdin_fd, spec->stdout_fd, spec->stderr_fd};
    struct native_request q = {.op = NATIVE_START,
                               .nofile = spec->nofile,
                               .nofile_hard = spec->nofile_hard};
    int fds[NATIVE_FDS_MAX + 3], r = check_awake(n, err);
    size_t fd_count = 0;
    tw_auto_buf strings = {0};

    tw_buf_init(&strings, NATIVE_REQUEST_MAX - sizeof q);
    if (r < 0)
        return r;
    if (spec->fd_count < 0 || spec->fd_count > NATIVE_FDS_MAX)
        return tw_fail(err, -EINVAL, "%d descriptors for one process: at most %d",
                       spec->fd_count, NATIVE_FDS_MAX);
    for (int i = 0; i < 3; i++) {
        q.has_stdio[i] = stdio[i] >= 0;
        if (q.has_stdio[i])
            fds[fd_count++] = stdio[i];
    }
    for (int i = 0; i < spec->fd_count; i++)
        fds[fd_count++] = spec->fds[i];
    q.fd_count = (uint32_t)spec->fd_count;
    q.argc = add_strings(&strings, spec->argv);
    q.envc = add_strings(&strings, spec->env);
    tw_buf_add(&strings, spec->cwd ? spec->cwd : "/",
               strlen(spec->cwd ? spec->cwd : "/") + 1);
    if (strings.overflow || q.argc + q.envc + 3 > NATIVE_ARGS_MAX)
        return tw_fail(err, -E2BIG, "the arguments of '%s' are too long", spec->argv[0]);

    r = take_slot(n, &q.slot, err);
    if (r < 0)
        return r;
    r = ask(n, &q, strings.data, strings.len, fds, fd_count, err);
    if (r < 0) {
        n->used[q.slot] = false;
        if (r == -ECHILD || r == -ETIMEDOUT)
            return r;
        return tw_fail_errno(err, -r, "starting '%s' in sandbox '%s'", spec->argv[0],
                             n->name);
    }
    tw_step("sandbox.process.started");
    *ret_handle = (int)(n->generation[q.slot] * NATIVE_SLOTS + q.slot);
    return 0;
}

static int native_signal(struct tw_sandbox *box, int handle, int signal,
                         struct tw_err *err)
{
    struct native *n = native_of(box);
    struct native_request q = {.op = NATIVE_SIGNAL, .signal = signal};
    int r = check_awake(n, err);

    if (r < 0)
        return r;
    if (!find_slot(n, handle, &q.slot, err))
        return -ESRCH;
    r = ask(n, &q, NULL, 0, NULL, 0, err);
    if (r == -ESRCH || r == -EPERM || r == -EINVAL)
        return tw_fail_errno(err, -r, "sending signal %d in sandbox '%s'", signal,
                             n->name);
    return r;
}

static bool init_is_dead(const struct native *n)
{
    struct pollfd fd = {n->pidfd, POLLIN, 0};

    return poll(&fd, 1, 0) > 0;
}

static int native_wait(struct tw_sandbox *box, int handle, int64_t deadline_ns,
                       int *ret_status, struct tw_err *err)
{
    struct native *n = native_of(box);
    struct native_slot *slot;
    uint32_t index;
    uint64_t one;

    slot = find_slot(n, handle, &index, err);
    if (!slot)
        return -ESRCH;
    while (atomic_load(&slot->state) != NATIVE_ENDED) {
        int64_t left = deadline_ns - tw_now_ns();
        int64_t slice = left < DEATH_CHECK_NS ? left : DEATH_CHECK_NS;
        struct timespec t = {.tv_nsec = slice > 0 ? slice : 0};

        if (init_is_dead(n) && atomic_load(&slot->state) != NATIVE_ENDED)
            return tw_fail(err, -ECHILD, "the init of sandbox '%s' died", n->name);
        if (left <= 0)
            return tw_fail(err, -ETIMEDOUT, "a process in sandbox '%s' is still running",
                           n->name);
        (void)syscall(SYS_futex, &slot->state, FUTEX_WAIT, NATIVE_RUNNING, &t, NULL, 0);
    }
    (void)!read(n->events, &one, sizeof one);
    *ret_status = slot->status;
    n->used[index] = false;
    return 0;
}

static int native_event_fd(const struct tw_sandbox *box)
{
    return ((const struct native *)(const void *)box)->poll_fd;
}

static int native_freeze(struct tw_sandbox *box, bool frozen, struct tw_err *err)
{
    struct native *n = native_of(box);
    int r = tw_priv_cgroup_freeze(n->cgroup, frozen, err);

    if (r == 0)
        n->frozen = frozen;
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
    .netns = native_netns,
    .missing = native_missing,
};
