/* Child processes: run to the end, or to the deadline. */
#include "tw/io.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_DEADLINE_NS (60 * TW_SEC_NS)
#define DEFAULT_OUTPUT      ((size_t)1 << 20)
#define UNCHANGED           ((unsigned)-1)

/* Why a child did not come to its program: written by it into a pipe that exec closes. */
enum step { STEP_SETUP, STEP_GROUPS, STEP_GID, STEP_UID, STEP_CHDIR, STEP_EXEC };
static const char *const step_texts[] = {
    [STEP_SETUP] = "preparing",
    [STEP_GROUPS] = "dropping groups of",
    [STEP_GID] = "setting the group of",
    [STEP_UID] = "setting the user of",
    [STEP_CHDIR] = "changing directory for",
    [STEP_EXEC] = "running",
};
struct failure {
    int step, errnum;
};
struct pipes {
    int input, out[2], err[2], failed[2];
};

static void pipes_close(struct pipes *p)
{
    int *const all[] = {&p->input,  &p->out[0],    &p->out[1],   &p->err[0],
                        &p->err[1], &p->failed[0], &p->failed[1]};

    for (size_t i = 0; i < TW_COUNT_OF(all); i++) {
        tw_close_p(all[i]);
        *all[i] = -1;
    }
}

/* Input stands in memory rather than in a pipe: no dead-lock, and no SIGPIPE when it is not read. */
static int open_input(const char *text)
{
    size_t len, at = 0;
    int fd;

    if (!text)
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    fd = memfd_create("input", MFD_CLOEXEC);
    for (len = strlen(text); fd >= 0 && at < len;) {
        ssize_t n = write(fd, text + at, len - at);

        if (n < 0 && errno != EINTR) {
            (void)close(fd);
            return -1;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        (void)lseek(fd, 0, SEEK_SET);
    return fd;
}

static int pipes_open(struct pipes *p, const char *input)
{
    *p = (struct pipes){-1, {-1, -1}, {-1, -1}, {-1, -1}};
    p->input = open_input(input);
    if (p->input < 0 || pipe2(p->out, O_CLOEXEC) < 0 || pipe2(p->err, O_CLOEXEC) < 0 ||
        pipe2(p->failed, O_CLOEXEC) < 0) {
        int errnum = errno;

        pipes_close(p);
        return -errnum;
    }
    return 0;
}

static void give_up(const struct pipes *p, enum step step)
{
    struct failure failure = {(int)step, errno};

    (void)!write(p->failed[1], &failure, sizeof failure);
    _exit(127);
}

/* In the child: only async-signal-safe calls, other threads may have held locks. */
static void become(const struct tw_child *c, const struct pipes *p, pid_t parent)
{
    sigset_t none;

    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)setpgid(0, 0);
    if (dup2(p->input, 0) < 0 || dup2(p->out[1], 1) < 0 || dup2(p->err[1], 2) < 0)
        give_up(p, STEP_SETUP);
    if ((c->uid != UNCHANGED || c->gid != UNCHANGED) && geteuid() == 0 &&
        setgroups(0, NULL) < 0)
        give_up(p, STEP_GROUPS);
    if (c->gid != UNCHANGED && setresgid(c->gid, c->gid, c->gid) < 0)
        give_up(p, STEP_GID);
    if (c->uid != UNCHANGED && setresuid(c->uid, c->uid, c->uid) < 0)
        give_up(p, STEP_UID);
    /* after the ids: the kernel clears it when they change */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    if (c->cwd && chdir(c->cwd) < 0)
        give_up(p, STEP_CHDIR);
    if (c->env)
        execvpe(c->argv[0], (char *const *)(uintptr_t)c->argv,
                (char *const *)(uintptr_t)c->env);
    else
        execvp(c->argv[0], (char *const *)(uintptr_t)c->argv);
    give_up(p, STEP_EXEC);
}

/* Reads what is there; false at the end of the pipe. What passes the maximum is read and dropped,
 * so that the child does not hang on a full pipe. */
static bool drain(int fd, struct tw_buf *b)
{
    char block[16384];
    ssize_t n = read(fd, block, sizeof block);

    if (n > 0)
        tw_buf_add(b, block, (size_t)n);
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

static void drain_rest(int fd, struct tw_buf *b)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    while (fd >= 0 && poll(&p, 1, 0) > 0 && (p.revents & POLLIN) && drain(fd, b))
        ;
}

static int milliseconds_until(int64_t deadline_ns)
{
    int64_t left = deadline_ns - tw_now_ns();

    if (left <= 0)
        return 0;
    return left / TW_MSEC_NS >= INT_MAX ? INT_MAX : (int)(left / TW_MSEC_NS) + 1;
}

/* Until the child has ended: 0, or -ETIMEDOUT. A grandchild may keep the pipes open for longer. */
static int collect(struct pipes *p, int pidfd, int64_t deadline_ns,
                   struct tw_child_result *r)
{
    struct pollfd fds[] = {{.fd = p->out[0], .events = POLLIN},
                           {.fd = p->err[0], .events = POLLIN},
                           {.fd = pidfd, .events = POLLIN}};
    struct tw_buf *const bufs[] = {&r->out, &r->err};

    for (;;) {
        int wait_ms = milliseconds_until(deadline_ns);
        int n = poll(fds, TW_COUNT_OF(fds), wait_ms);

        if (n == 0 && wait_ms == 0)
            return -ETIMEDOUT;
        if (n <= 0)
            continue;
        for (size_t i = 0; i < TW_COUNT_OF(bufs); i++)
            if (fds[i].revents && !drain(fds[i].fd, bufs[i]))
                fds[i].fd = -1;
        if (fds[2].revents) {
            drain_rest(fds[0].fd, &r->out);
            drain_rest(fds[1].fd, &r->err);
            return 0;
        }
    }
}

static int wait_status(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int parent_side(const struct tw_child *c, struct pipes *p, pid_t pid,
                       struct tw_child_result *ret, struct tw_err *err)
{
    int64_t deadline_ns =
        c->deadline_ns ? c->deadline_ns : tw_now_ns() + DEFAULT_DEADLINE_NS;
    tw_auto_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct failure failure;
    ssize_t n;
    int r;

    (void)setpgid(pid, pid); /* both sides do it: whoever comes first */
    for (int *fd = (int[]){p->out[1], p->err[1], p->failed[1], -1}; *fd >= 0; fd++)
        (void)close(*fd);
    p->out[1] = p->err[1] = p->failed[1] = -1;

    do
        n = read(p->failed[0], &failure, sizeof failure);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof failure) {
        (void)wait_status(pid);
        return tw_fail_errno(err, failure.errnum, "%s '%s'", step_texts[failure.step],
                             c->argv[0]);
    }
    r = collect(p, pidfd, deadline_ns, ret);
    if (r < 0)
        (void)kill(-pid, SIGKILL);
    ret->status = wait_status(pid);
    if (r < 0)
        return tw_fail(err, r, "'%s' did not end in time and was killed", c->argv[0]);
    return 0;
}

static _Thread_local const struct tw_child_elsewhere *elsewhere;

void tw_child_elsewhere(const struct tw_child_elsewhere *who)
{
    elsewhere = who;
}

const struct tw_child_elsewhere *tw_child_where(void)
{
    return elsewhere;
}

const char *tw_child_tmp(void)
{
    return elsewhere ? elsewhere->tmp : "/tmp";
}

static int run_here(const struct tw_child *child, struct tw_child_result *ret,
                    struct tw_err *err)
{
    size_t max = child->max_output ? child->max_output : DEFAULT_OUTPUT;
    struct tw_child_result result = {0};
    pid_t pid, parent = getpid();
    struct pipes p;
    int r = pipes_open(&p, child->input);

    if (r < 0)
        return tw_fail_errno(err, -r, "starting '%s'", child->argv[0]);
    tw_buf_init(&result.out, max);
    tw_buf_init(&result.err, max);
    pid = fork();
    if (pid == 0)
        become(child, &p, parent);
    r = pid < 0 ? tw_fail_errno(err, errno, "starting '%s'", child->argv[0])
                : parent_side(child, &p, pid, &result, err);
    pipes_close(&p);
    if (r < 0) {
        tw_child_result_done(&result);
        return r;
    }
    *ret = result;
    return 0;
}

int tw_child_run(const struct tw_child *child, struct tw_child_result *ret,
                 struct tw_err *err)
{
    return elsewhere ? elsewhere->run(elsewhere->arg, child, ret, err)
                     : run_here(child, ret, err);
}

void tw_child_result_done(struct tw_child_result *r)
{
    tw_buf_done(&r->out);
    tw_buf_done(&r->err);
}
