/* The init of a native sandbox: pid 1 inside, a copy of the supervisor that never becomes
 * another program. It builds its world, gives up everything it had, then starts, signals
 * and reaps.
 *
 * No allocation and no library that might: other threads of the supervisor may have held
 * its locks when this copy was made. What it says when it fails stands on the board. */
#include "native_internal.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OOM_SCORE "500" /* when the host runs out, twins go before what is real */

/* Requests are read into memory of its own, given back after each. */
struct inbox {
    char text[NATIVE_REQUEST_MAX];
    char *pointers[NATIVE_ARGS_MAX];
    int fds[NATIVE_FDS_MAX + 3];
    size_t fd_count;
};
struct init {
    int control, events, children;
    struct native_board *board;
    struct inbox *inbox;
};

static const char *const default_env[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME=/", NULL};

/* ---- becoming the init ---- */

/* Of what the supervisor had open, two stay. */
static int keep_two(int one, int other)
{
    unsigned low = (unsigned)(one < other ? one : other);
    unsigned high = (unsigned)(one < other ? other : one);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || low < 3)
        return -EBADF;
    for (int fd = 0; fd < 3; fd++)
        if (dup2(null, fd) < 0)
            return -errno;
    if ((low > 3 && close_range(3, low - 1, 0) < 0) ||
        (high > low + 1 && close_range(low + 1, high - 1, 0) < 0) ||
        close_range(high + 1, ~0u, 0) < 0)
        return -errno;
    return 0;
}

static void prefer_as_victim(void)
{
    tw_auto_close int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    /* a wish: without it the sandbox still works */
    if (fd >= 0)
        (void)!write(fd, OOM_SCORE, strlen(OOM_SCORE));
}

/* The link is made while the root is built; its address can be given only when it is
 * there. */
static int await_go(const struct native_plan *plan, struct tw_err *err)
{
    struct native_request go;
    ssize_t n;

    do
        n = recv(plan->control, &go, sizeof go, 0);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof go && go.op == NATIVE_GO
               ? 0
               : tw_fail(err, -ECHILD, "the supervisor has gone");
}

/* Low ports are everybody's in a network namespace of one's own. */
static void free_low_ports(void)
{
    tw_auto_close int fd =
        open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_WRONLY | O_CLOEXEC);

    /* a wish, as above: without it a service that wants one says so itself */
    if (fd >= 0)
        (void)!write(fd, "0", 1);
}

/* A service that begins as root gets a user namespace, whose maps only the supervisor may
 * write. It is the last of the namespaces, so that this root owns none of the others. */
static int confine(const struct native_plan *plan, struct tw_err *err)
{
    struct native_reply ask = {NATIVE_WANTS_MAPS};
    int r;

    if (!plan->as_root)
        return tw_priv_confine(plan->uid, plan->gid, plan->filter, err);
    r = tw_priv_own_users(err);
    if (r < 0)
        return r;
    if (send(plan->control, &ask, sizeof ask, MSG_NOSIGNAL) != (ssize_t)sizeof ask)
        return tw_fail(err, -ECHILD, "the supervisor has gone");
    r = await_go(plan, err);
    return r < 0 ? r : tw_priv_confine_root(plan->filter, err);
}

static int become_init(const struct native_plan *plan, struct tw_err *err)
{
    int r = plan->cgroup ? tw_priv_cgroup_join(plan->cgroup, err) : 0;

    if (r < 0)
        return r;
    prefer_as_victim();
    if (plan->netns >= 0)
        r = tw_priv_net_enter(plan->netns, err);
    if (r < 0)
        return r;
    free_low_ports();
    r = keep_two(plan->control, plan->events);
    if (r < 0)
        return tw_fail_errno(err, -r, "closing what the supervisor had open");
    if (sethostname(plan->hostname, strlen(plan->hostname)) < 0)
        return tw_fail_errno(err, errno, "setting the host name '%s'", plan->hostname);
    r = tw_priv_root_enter(plan->empty_dir, plan->trusted_dir, plan->rows,
                           plan->row_count, err);
    if (r == 0)
        r = await_go(plan, err);
    if (r == 0 && plan->netns < 0)
        r = tw_priv_net_configure(plan->links, plan->link_count, plan->lo, plan->lo_count,
                                  err);
    return r < 0 ? r : confine(plan, err);
}

/* ---- in the child that becomes a program ---- */

static int place_fds(const struct inbox *inbox, const struct native_request *q)
{
    const int base = 3 + (int)q->fd_count; /* first number that is not wanted inside */
    const int *next = inbox->fds;
    int high[NATIVE_FDS_MAX + 3], null, count = 0;

    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return -errno;
    /* first all out of the way, then each to its place */
    for (int i = 0; i < base; i++) {
        bool given = i >= 3 || q->has_stdio[i];

        high[count] = fcntl(given ? *next++ : null, F_DUPFD_CLOEXEC, base);
        if (high[count++] < 0)
            return -errno;
    }
    for (int i = 0; i < base; i++)
        if (dup2(high[i], i) < 0)
            return -errno;
    return close_range((unsigned)base, ~0u, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
}

/* One byte, not none: with a limit of one the kernel neither writes a core nor hands it
 * to a program of the host, to which a limit of none would not apply. */
static int set_limits(const struct native_request *q)
{
    struct rlimit core = {1, 1};
    rlim_t soft = (rlim_t)q->nofile,
           hard = q->nofile_hard > q->nofile ? (rlim_t)q->nofile_hard : soft;
    struct rlimit files = {soft, hard}, now;

    if (setrlimit(RLIMIT_CORE, &core) < 0)
        return -errno;
    if (q->nofile <= 0 || setrlimit(RLIMIT_NOFILE, &files) == 0)
        return 0;
    /* what this host does not allow at the top is asked for as far as it goes */
    if (getrlimit(RLIMIT_NOFILE, &now) < 0)
        return -errno;
    files.rlim_max = hard < now.rlim_max ? hard : now.rlim_max;
    files.rlim_cur = soft < files.rlim_max ? soft : files.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &files) < 0 ? -errno : 0;
}

static _Noreturn void become_program(const struct init *in,
                                     const struct native_request *q, char **argv,
                                     char **env, const char *cwd)
{
    struct native_slot *slot = &in->board->slots[q->slot];
    sigset_t none;
    int r;

    (void)setsid();
    r = set_limits(q);
    if (r == 0)
        r = place_fds(in->inbox, q);
    if (r == 0 && chdir(cwd) < 0)
        r = -errno;
    if (r == 0) {
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)execve(argv[0], argv, env);
        r = -errno;
    }
    slot->error = -r;
    _exit(127);
}

/* ---- requests ---- */

/* The strings behind the request become two lists and the working directory. */
static bool unpack(struct inbox *inbox, const struct native_request *q, char ***ret_argv,
                   char ***ret_env, const char **ret_cwd)
{
    char *at = inbox->text + sizeof *q, *end = inbox->text + q->size;
    size_t n = 0;

    if (q->argc == 0 || (size_t)q->argc + q->envc + 3 > NATIVE_ARGS_MAX)
        return false;
    *ret_argv = inbox->pointers;
    *ret_env = inbox->pointers + q->argc + 1;
    for (uint32_t i = 0; i < q->argc + q->envc + 1; i++) {
        char *stop = at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;

        if (!stop)
            return false;
        if (i == q->argc + q->envc)
            *ret_cwd = at;
        else
            inbox->pointers[n++] = at;
        if (i + 1 == q->argc || i + 1 == q->argc + q->envc)
            inbox->pointers[n++] = NULL;
        at = stop + 1;
    }
    return true;
}

/* The copy runs alone until it is the program or has failed, so the answer needs no pipe.
 */
static int start(struct init *in, const struct native_request *q)
{
    struct native_slot *slot = &in->board->slots[q->slot % NATIVE_SLOTS];
    const char *cwd = "/";
    char **argv, **env;
    long pid;

    if (!unpack(in->inbox, q, &argv, &env, &cwd))
        return -EINVAL;
    slot->error = 0;
    pid =
        syscall(SYS_clone, (unsigned long)(CLONE_VFORK | SIGCHLD), NULL, NULL, NULL, 0UL);
    if (pid == 0)
        become_program(in, q, argv, q->envc ? env : (char **)(uintptr_t)default_env, cwd);
    if (pid < 0)
        return -errno;
    if (slot->error) {
        (void)waitpid((pid_t)pid, NULL, 0);
        return -slot->error;
    }
    slot->pid = (int)pid;
    atomic_store(&slot->state, NATIVE_RUNNING);
    return 0;
}

static int send_signal(struct init *in, const struct native_request *q)
{
    struct native_slot *slot = &in->board->slots[q->slot % NATIVE_SLOTS];

    if (atomic_load(&slot->state) != NATIVE_RUNNING)
        return -ESRCH;
    return kill(slot->pid, q->signal) < 0 ? -errno : 0;
}

static void receive_fds(struct msghdr *message, struct inbox *inbox)
{
    inbox->fd_count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        inbox->fd_count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(inbox->fds, CMSG_DATA(c), inbox->fd_count * sizeof(int));
    }
}

static bool fds_match(const struct inbox *inbox, const struct native_request *q)
{
    size_t want = q->fd_count;

    for (int i = 0; i < 3; i++)
        want += q->has_stdio[i];
    return q->fd_count <= NATIVE_FDS_MAX && want == inbox->fd_count;
}

/* False when the supervisor has gone. */
static bool serve_request(struct init *in)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * (NATIVE_FDS_MAX + 3))];
    } control;
    struct iovec part = {in->inbox->text, sizeof in->inbox->text};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
    struct native_request q = {0};
    struct native_reply reply = {-EINVAL};
    ssize_t n = recvmsg(in->control, &message, MSG_CMSG_CLOEXEC);

    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        return false;
    if (n < (ssize_t)sizeof q)
        return true;
    memcpy(&q, in->inbox->text, sizeof q);
    receive_fds(&message, in->inbox);
    if (q.size == (size_t)n && q.slot < NATIVE_SLOTS && fds_match(in->inbox, &q)) {
        if (q.op == NATIVE_START)
            reply.result = start(in, &q);
        else if (q.op == NATIVE_SIGNAL)
            reply.result = send_signal(in, &q);
    }
    for (size_t i = 0; i < in->inbox->fd_count; i++)
        (void)close(in->inbox->fds[i]);
    (void)madvise(in->inbox, sizeof *in->inbox, MADV_DONTNEED);
    return send(in->control, &reply, sizeof reply, MSG_NOSIGNAL) == (ssize_t)sizeof reply;
}

/* ---- reaping: our own and what they left behind ---- */

static void tell_end(struct init *in, pid_t pid, int status)
{
    uint64_t one = 1;

    for (int i = 0; i < NATIVE_SLOTS; i++) {
        struct native_slot *slot = &in->board->slots[i];

        if (slot->pid != pid || atomic_load(&slot->state) != NATIVE_RUNNING)
            continue;
        slot->status = status;
        slot->pid = 0;
        atomic_store(&slot->state, NATIVE_ENDED);
        (void)!write(in->events, &one, sizeof one);
        (void)syscall(SYS_futex, &slot->state, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
        return;
    }
}

static void reap(struct init *in)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;

    while (read(in->children, &info, sizeof info) > 0)
        ;
    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0)
        tell_end(in, pid, status);
}

static int prepare_loop(struct init *in)
{
    sigset_t all, child;

    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    in->children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    in->inbox = mmap(NULL, sizeof *in->inbox, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return in->children < 0 || in->inbox == MAP_FAILED ? -errno : 0;
}

static void loop(struct init *in)
{
    struct pollfd fds[] = {{in->control, POLLIN, 0}, {in->children, POLLIN, 0}};

    for (;;) {
        if (poll(fds, TW_COUNT_OF(fds), -1) < 0 && errno != EINTR)
            return;
        if (fds[1].revents)
            reap(in);
        if (fds[0].revents && !serve_request(in))
            return;
    }
}

int native_init(void *arg)
{
    const struct native_plan *plan = arg;
    struct init in = {
        .control = plan->control, .events = plan->events, .board = plan->board};
    struct native_reply ready = {0};
    struct tw_err err = {0};
    int r = become_init(plan, &err);

    if (r == 0) {
        /* the plan and all that it points to are gone after this */
        tw_priv_drop_memory();
        r = prepare_loop(&in);
        if (r < 0)
            (void)tw_fail_errno(&err, -r, "preparing to wait for requests");
    }
    if (r < 0) {
        in.board->err = err;
        return 1;
    }
    if (send(in.control, &ready, sizeof ready, MSG_NOSIGNAL) == (ssize_t)sizeof ready)
        loop(&in);
    return 0; /* and with it ends everything inside */
}
