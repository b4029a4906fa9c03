/* What an init does once its world stands: starts, signals and reaps. Linked into the program, where it
 * serves native sandboxes, and into the static init of containers.
 *
 * No allocation and no library that might: in a native sandbox this is a copy of the supervisor, whose
 * other threads may have held its locks. */
#include "init_internal.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLICE_NS 100000 /* the least that the kernel gives */

/* Requests are read into memory of its own, given back after each. */
struct init_inbox {
    char text[INIT_REQUEST_MAX];
    char *pointers[INIT_ARGS_MAX];
    int fds[INIT_FDS_MAX + 3];
    size_t fd_count;
};

static const char *const default_env[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME=/", NULL};

/* Of what the supervisor had open, two stay. */
int init_keep_two(int one, int other)
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

/* ---- in the child that becomes a program ---- */

static int place_fds(const struct init_inbox *inbox, const struct init_request *q)
{
    const int base = 3 + (int)q->fd_count; /* first number that is not wanted inside */
    const int *next = inbox->fds;
    int high[INIT_FDS_MAX + 3], null, count = 0;

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
static int set_limits(const struct init_request *q)
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

/* As a shell finds it: the entrypoint of an image may be a name alone. */
static void run_program(char **argv, char **env)
{
    static char path[4096];
    const char *at = getenv("PATH");
    size_t name = strlen(argv[0]);

    if (strchr(argv[0], '/') || !at) {
        (void)execve(argv[0], argv, env);
        return;
    }
    for (; at; at = strchr(at, ':')) {
        size_t n;

        at += *at == ':';
        n = strcspn(at, ":");
        if (n + name + 2 > sizeof path)
            continue;
        memcpy(path, at, n);
        path[n] = '/';
        memcpy(path + n + 1, argv[0], name + 1);
        (void)execve(path, argv, env);
        if (errno != ENOENT && errno != EACCES && errno != ENOTDIR)
            return;
    }
}

/* A weight decides how much time a group gets on a busy core, not how soon: a task that wakes there waits
 * until the one that runs has used its slice up (1.4 ms and more), at each of the wake-ups of a request. One
 * that asks for shorter slices than the running one's takes over at once (EEVDF, Linux 6.12 and later; before,
 * the number is read and not used). Measured with four busy loops beside, 50 µs of work asked for over a
 * socket: p99 4 ms without, 0.4 ms with it. Everything started from here inherits it, both arms alike. */
static void ask_for_short_slices(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } normal = {.size = sizeof normal, .policy = SCHED_OTHER, .runtime = SLICE_NS};

    (void)syscall(SYS_sched_setattr, 0, &normal, 0U);
}

/* Does not come back when all went well. cwd "": stays where it is. */
static int become_program(const struct init_loop *in, const struct init_request *q,
                          char **argv, char **env, const char *cwd)
{
    sigset_t none;
    int r = set_limits(q);

    ask_for_short_slices();
    if (r == 0)
        r = place_fds(in->inbox, q);
    if (r == 0 && *cwd && chdir(cwd) < 0)
        r = -errno;
    if (r < 0)
        return r;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    run_program(argv, env);
    return -errno;
}

/* ---- requests ---- */

/* The strings behind the request become two lists and the working directory. */
static bool unpack(struct init_inbox *inbox, const struct init_request *q,
                   char ***ret_argv, char ***ret_env, const char **ret_cwd)
{
    char *at = inbox->text + sizeof *q, *end = inbox->text + q->size;
    size_t n = 0;

    if (q->argc == 0 || (size_t)q->argc + q->envc + 3 > INIT_ARGS_MAX)
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
static int start(struct init_loop *in, const struct init_request *q)
{
    struct init_slot *slot = &in->board->slots[q->slot % INIT_SLOTS];
    const char *cwd = "/";
    char **argv, **env;
    long pid;

    if (!unpack(in->inbox, q, &argv, &env, &cwd))
        return -EINVAL;
    slot->error = 0;
    pid =
        syscall(SYS_clone, (unsigned long)(CLONE_VFORK | SIGCHLD), NULL, NULL, NULL, 0UL);
    if (pid == 0) {
        (void)setsid();
        slot->error = -become_program(
            in, q, argv, q->envc ? env : (char **)(uintptr_t)default_env, cwd);
        _exit(127);
    }
    if (pid < 0)
        return -errno;
    if (slot->error) {
        (void)waitpid((pid_t)pid, NULL, 0);
        return -slot->error;
    }
    slot->pid = (int)pid;
    atomic_store(&slot->state, INIT_RUNNING);
    return 0;
}

/* This very process becomes the program, with the environment that it was given itself. When that fails
 * the descriptors of the standard three are gone already, which nobody misses. */
static int boot(struct init_loop *in, const struct init_request *q)
{
    const char *cwd = "";
    char **argv, **env;

    if (!unpack(in->inbox, q, &argv, &env, &cwd))
        return -EINVAL;
    return become_program(in, q, argv, q->envc ? env : environ, cwd);
}

static int send_signal(struct init_loop *in, const struct init_request *q)
{
    struct init_slot *slot = &in->board->slots[q->slot % INIT_SLOTS];

    if (atomic_load(&slot->state) != INIT_RUNNING)
        return -ESRCH;
    return kill(slot->pid, q->signal) < 0 ? -errno : 0;
}

static void receive_fds(struct msghdr *message, struct init_inbox *inbox)
{
    inbox->fd_count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        inbox->fd_count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(inbox->fds, CMSG_DATA(c), inbox->fd_count * sizeof(int));
    }
}

static bool fds_match(const struct init_inbox *inbox, const struct init_request *q)
{
    size_t want = q->fd_count;

    for (int i = 0; i < 3; i++)
        want += q->has_stdio[i];
    return q->fd_count <= INIT_FDS_MAX && want == inbox->fd_count;
}

/* False when the supervisor has gone. */
static bool serve_request(struct init_loop *in)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * (INIT_FDS_MAX + 3))];
    } control;
    struct iovec part = {in->inbox->text, sizeof in->inbox->text};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
    struct init_request q = {0};
    struct init_reply reply = {-EINVAL};
    ssize_t n = recvmsg(in->control, &message, MSG_CMSG_CLOEXEC);

    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        return false;
    if (n < (ssize_t)sizeof q)
        return true;
    memcpy(&q, in->inbox->text, sizeof q);
    receive_fds(&message, in->inbox);
    if (q.size == (size_t)n && q.slot < INIT_SLOTS && fds_match(in->inbox, &q)) {
        if (q.op == INIT_START)
            reply.result = start(in, &q);
        else if (q.op == INIT_BOOT)
            reply.result = boot(in, &q);
        else if (q.op == INIT_SIGNAL)
            reply.result = send_signal(in, &q);
    }
    for (size_t i = 0; i < in->inbox->fd_count; i++)
        (void)close(in->inbox->fds[i]);
    (void)madvise(in->inbox, sizeof *in->inbox, MADV_DONTNEED);
    return send(in->control, &reply, sizeof reply, MSG_NOSIGNAL) == (ssize_t)sizeof reply;
}

/* ---- reaping: our own and what they left behind ---- */

static void tell_end(struct init_loop *in, pid_t pid, int status)
{
    uint64_t one = 1;

    for (int i = 0; i < INIT_SLOTS; i++) {
        struct init_slot *slot = &in->board->slots[i];

        if (slot->pid != pid || atomic_load(&slot->state) != INIT_RUNNING)
            continue;
        slot->status = status;
        slot->pid = 0;
        atomic_store(&slot->state, INIT_ENDED);
        (void)!write(in->events, &one, sizeof one);
        (void)syscall(SYS_futex, &slot->state, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
        return;
    }
}

static void reap(struct init_loop *in)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;

    while (read(in->children, &info, sizeof info) > 0)
        ;
    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0)
        tell_end(in, pid, status);
}

int init_prepare(struct init_loop *in)
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

void init_serve(struct init_loop *in)
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
