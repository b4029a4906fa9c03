/* The daemon's end of the connection. */
#include "helper_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define GONE_NS  (30 * TW_SEC_NS)
#define READY_MS 30000 /* it waits for one before it to be gone, and clears up after it */

struct tw_helper {
    int fd;
    pid_t pid; /* our own child; 0: not ours */
};

static int ask(struct tw_helper *h, const struct helper_request *rq, const int *fds,
               size_t count, struct tw_err *err)
{
    int r = helper_send(h->fd, rq, sizeof(*rq), fds, count);

    return r < 0 ? tw_fail(err, -ECONNRESET, "the privileged helper is gone: %s",
                           strerror(-r))
                 : 0;
}

/* A pong says that it is ours, and ready. */
static int wait_ready(struct tw_helper *h, struct tw_err *err)
{
    struct helper_request rq = {.magic = HELPER_MAGIC, .verb = HELPER_PING};
    struct pollfd p = {.fd = h->fd, .events = POLLIN};
    struct helper_answer a = {0};
    int fds[2], r = ask(h, &rq, NULL, 0, err);
    size_t count = 0;
    ssize_t n;

    if (r < 0)
        return r;
    if (poll(&p, 1, READY_MS) <= 0)
        return tw_fail(err, -ETIMEDOUT,
                       "the privileged helper did not answer within %d s",
                       READY_MS / 1000);
    n = helper_receive(h->fd, &a, sizeof(a), fds, &count, true);
    for (size_t i = 0; i < count; i++)
        (void)close(fds[i]);
    if (n <= 0)
        return tw_fail(
            err, -ECONNRESET,
            "the privileged helper ended before it was ready; it says why on its "
            "standard error");
    if (n != (ssize_t)sizeof(a) || a.magic != HELPER_MAGIC || a.kind != HELPER_PONG)
        return tw_fail(err, -EPROTO,
                       "who answers is no helper of this version; restart both");
    return 0;
}

int tw_helper_adopt(int connection, struct tw_helper **ret, struct tw_err *err)
{
    struct tw_helper *h = tw_alloc(sizeof *h);
    int r;

    h->fd = connection;
    r = wait_ready(h, err);
    if (r < 0) {
        tw_helper_free(h);
        return r;
    }
    *ret = h;
    return 0;
}

int tw_helper_connect(const char *socket_path, struct tw_helper **ret, struct tw_err *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    tw_auto_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (strlen(socket_path) >= sizeof(to.sun_path))
        return tw_fail(err, -ENAMETOOLONG, "'%s': a socket's path has at most %zu bytes",
                       socket_path, sizeof(to.sun_path) - 1);
    memcpy(to.sun_path, socket_path, strlen(socket_path));
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
        return tw_fail_errno(
            err, errno,
            "the privileged helper at '%s'; is twin sandboxd running, and may "
            "this user reach it?",
            socket_path);
    return tw_helper_adopt(tw_take_fd(&fd), ret, err);
}

/* In the child: only async-signal-safe calls. */
static void become(const char *program, char *const *argv, int connection)
{
    static const int back[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD};
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    for (size_t i = 0; i < TW_COUNT_OF(back); i++)
        (void)signal(back[i], SIG_DFL);
    /* a group of its own: a terminal's Ctrl-C is for the daemon, which then takes its leave */
    if (setpgid(0, 0) < 0 || dup2(connection, 3) < 0 || fcntl(3, F_SETFD, 0) < 0 ||
        dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        _exit(127);
    (void)close_range(4, ~0U, 0);
    (void)execv(program, argv);
    _exit(127);
}

int tw_helper_start(const char *program, const char *const *argv, struct tw_helper **ret,
                    struct tw_err *err)
{
    int pair[2], r;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return tw_fail_errno(err, errno, "a connection to the helper");
    pid = fork();
    if (pid == 0)
        become(program, (char *const *)(uintptr_t)argv, pair[1]);
    (void)close(pair[1]);
    if (pid < 0) {
        int errnum = errno;

        (void)close(pair[0]);
        return tw_fail_errno(err, errnum, "starting the helper");
    }
    r = tw_helper_adopt(pair[0], ret, err);
    if (r == 0)
        (*ret)->pid = pid;
    else
        (void)waitpid(pid, NULL, 0);
    return r;
}

/* It clears up before it ends: whoever starts next finds nothing of us. */
static void wait_gone(pid_t pid)
{
    int64_t until = tw_now_ns() + GONE_NS;

    while (waitpid(pid, NULL, WNOHANG) == 0 && tw_now_ns() < until)
        tw_sleep_ns(2 * TW_MSEC_NS);
}

void tw_helper_free(struct tw_helper *h)
{
    if (!h)
        return;
    tw_close_p(&h->fd);
    if (h->pid)
        wait_gone(h->pid);
    free(h);
}

int tw_helper_fd(const struct tw_helper *h)
{
    return h->fd;
}

/* Too long a text is not cut but refused by who gets it. */
static void fill(char *field, size_t size, const char *text)
{
    size_t len = strlen(text);

    memcpy(field, text, len < size ? len : size);
}

int tw_helper_work(struct tw_helper *h, const struct tw_helper_job *job,
                   struct tw_err *err)
{
    struct helper_request rq = {
        .magic = HELPER_MAGIC, .verb = HELPER_WORK, .number = job->number};
    int fds[2] = {job->input, job->output};

    fill(rq.what, sizeof(rq.what), job->verb);
    fill(rq.id, sizeof(rq.id), job->id);
    return ask(h, &rq, fds, 2, err);
}

int tw_helper_hand(struct tw_helper *h, uint32_t number, int input, struct tw_err *err)
{
    struct helper_request rq = {
        .magic = HELPER_MAGIC, .verb = HELPER_HAND, .number = number};

    return ask(h, &rq, &input, 1, err);
}

int tw_helper_stop(struct tw_helper *h, uint32_t number, bool kill, struct tw_err *err)
{
    struct helper_request rq = {.magic = HELPER_MAGIC,
                                .verb = kill ? HELPER_KILL : HELPER_STOP,
                                .number = number};

    return ask(h, &rq, NULL, 0, err);
}

int tw_helper_next(struct tw_helper *h, struct tw_helper_end *ret)
{
    struct helper_answer a;
    int fds[2];
    size_t count = 0;
    ssize_t n = helper_receive(h->fd, &a, sizeof(a), fds, &count, false);

    for (size_t i = 0; i < count; i++)
        (void)close(fds[i]);
    if (n == -EAGAIN || n == -EWOULDBLOCK)
        return 0;
    if (n != (ssize_t)sizeof(a) || a.magic != HELPER_MAGIC)
        return -ECONNRESET;
    *ret = (struct tw_helper_end){.number = a.number,
                                  .status = a.kind == HELPER_ENDED ? a.value : 0,
                                  .code = a.kind == HELPER_REFUSED ? a.value : 0};
    memcpy(ret->text, a.text, sizeof(ret->text) - 1);
    return 1;
}

int tw_helper_taken(void)
{
    char packet;
    int fds[2] = {-1, -1};
    size_t count = 0;
    ssize_t n = helper_receive(TW_HELPER_HAND_FD, &packet, sizeof(packet), fds, &count, false);

    for (size_t i = 1; i < count; i++)
        (void)close(fds[i]);
    if (count)
        return fds[0];
    return n == -EWOULDBLOCK ? -EAGAIN : n < 0 ? (int)n : -ECONNRESET;
}

int tw_helper_input(const void *data, size_t len)
{
    const char *from = data;
    int fd = memfd_create("job", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size_t at = 0;

    while (fd >= 0 && at < len) {
        ssize_t n = write(fd, from + at, len - at);

        if (n < 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    if (fd < 0 || at < len || lseek(fd, 0, SEEK_SET) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) <
            0) {
        int errnum = errno;

        tw_close_p(&fd);
        return -errnum;
    }
    return fd;
}
