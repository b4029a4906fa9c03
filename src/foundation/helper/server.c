/* The helper's loop: one thread, packets in, ends of workers out. */
#include "helper_internal.h"

#include "tw/priv.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_CONNECTIONS 4
#define LOCK_WAIT_NS     (20 * TW_SEC_NS)

struct server {
    const struct tw_helper_options *o;
    struct helper_workers workers;
    int listener, signals, lock;
    int connections[MOST_CONNECTIONS]; /* -1: free */
    bool ending;
    pid_t reaper;
    bool reap_again;
};

/* ---- answers ---- */

static void answer(int connection, enum helper_answer_kind kind, uint32_t number,
                   int value, const char *text)
{
    struct helper_answer a = {
        .magic = HELPER_MAGIC, .kind = kind, .number = number, .value = value};
    size_t len = text ? strlen(text) : 0;

    if (len)
        memcpy(a.text, text, len < sizeof(a.text) - 1 ? len : sizeof(a.text) - 1);
    /* who does not read his answers is told nothing; his workers end with him */
    (void)helper_send(connection, &a, sizeof(a), NULL, 0);
}

/* ---- clearing up: in a process of its own, since it may take its time ---- */

/* A killed worker is gone a moment after its signal, and only then its journal is free. */
static void reap_main(const char *state_dir)
{
    static const int64_t waits[] = {0, 200, 500, 1000, 2000};
    int removed;

    /* neither the lock nor the socket lives on in it, and the next helper clears up itself */
    (void)close_range(3, ~0U, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < TW_COUNT_OF(waits); i++) {
        tw_sleep_ns(waits[i] * TW_MSEC_NS);
        (void)tw_priv_reap(state_dir, &removed, NULL);
    }
    _exit(0);
}

static void reap(struct server *s)
{
    if (s->reaper > 0) {
        s->reap_again = true;
        return;
    }
    s->reap_again = false;
    s->reaper = fork();
    if (s->reaper == 0)
        reap_main(s->o->state_dir);
}

static void bury(struct server *s, struct helper_worker *one, int status)
{
    tw_step("helper.ended");
    if (one->connection >= 0)
        answer(one->connection, HELPER_ENDED, one->number, status, NULL);
    helper_worker_bury(&s->workers, one);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        reap(s);
    tw_step("helper.buried");
}

static void bury_all(struct server *s)
{
    struct helper_worker *one;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->reaper) {
            s->reaper = 0;
            if (s->reap_again)
                reap(s);
            continue;
        }
        one = helper_worker_of(&s->workers, pid);
        if (one)
            bury(s, one, status);
    }
}

/* ---- requests ---- */

static void do_work(struct server *s, int connection, const struct helper_request *rq,
                    const int fds[2])
{
    struct tw_err why = {0};
    int r = helper_worker_start(&s->workers, connection, rq, fds[0], fds[1], &why);

    if (r < 0) {
        tw_log(TW_LOG_WARNING, "sandboxd: %s of '%s' is refused: %s", rq->what, rq->id,
               why.text);
        answer(connection, HELPER_REFUSED, rq->number, r, why.text);
    }
}

static void do_signal(struct server *s, int connection, const struct helper_request *rq,
                      int signal)
{
    struct helper_worker *one = helper_worker_find(&s->workers, connection, rq->number);

    if (one) /* else it has ended meanwhile */
        (void)kill(one->pid, signal);
}

static void do_hand(struct server *s, int connection, const struct helper_request *rq,
                    int input)
{
    struct tw_err why = {0};
    struct helper_worker *one;

    if (helper_worker_hand(&s->workers, connection, rq->number, input, &why) == 0)
        return;
    tw_log(TW_LOG_WARNING, "sandboxd: %s", why.text);
    one = helper_worker_find(&s->workers, connection, rq->number);
    if (one) /* its client hears of its end, and gives the job to another */
        (void)kill(one->pid, SIGKILL);
}

static void obey(struct server *s, int connection, const struct helper_request *rq,
                 const int fds[2])
{
    tw_step("helper.asked");
    switch ((enum helper_verb)rq->verb) {
    case HELPER_PING:
        answer(connection, HELPER_PONG, 0, 0, NULL);
        break;
    case HELPER_WORK:
        do_work(s, connection, rq, fds);
        break;
    case HELPER_STOP:
        do_signal(s, connection, rq, SIGTERM);
        break;
    case HELPER_KILL:
        do_signal(s, connection, rq, SIGKILL);
        break;
    case HELPER_HAND:
        do_hand(s, connection, rq, fds[0]);
        break;
    case HELPER_VERB_COUNT:
        break;
    }
}

/* Workers of a client that is gone are nobody's: they are killed, and what they had made is removed. */
static void drop(struct server *s, size_t i)
{
    int connection = s->connections[i];

    s->connections[i] = -1;
    helper_workers_kill(&s->workers, connection);
    for (size_t k = 0; k < TW_COUNT_OF(s->workers.list); k++)
        if (s->workers.list[k].pid && s->workers.list[k].connection == connection)
            s->workers.list[k].connection = -1;
    (void)close(connection);
    if (s->o->connection >= 0)
        s->ending = true;
}

static void listen_to(struct server *s, size_t i)
{
    char packet[sizeof(struct helper_request) + 1];
    int fds[2], connection = s->connections[i];
    struct helper_request rq;
    struct tw_err why = {0};
    size_t count = 0;
    ssize_t n = helper_receive(connection, packet, sizeof(packet), fds, &count, false);
    bool gone = n == 0 || (n < 0 && n != -EAGAIN && n != -EWOULDBLOCK);

    if (n > 0) {
        gone = helper_check(packet, (size_t)n, count, s->o->verbs, &rq, &why) < 0;
        if (gone)
            tw_log(TW_LOG_ERROR, "sandboxd: a client is sent away: %s", why.text);
        else
            obey(s, connection, &rq, fds);
    }
    for (size_t k = 0; k < count; k++)
        (void)close(fds[k]);
    if (gone)
        drop(s, i);
}

/* ---- connections ---- */

static bool may_connect(const struct server *s, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == s->o->daemon.uid || peer.uid == geteuid());
}

static void take_connection(struct server *s)
{
    tw_auto_close int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (!may_connect(s, fd)) {
        tw_log(TW_LOG_ERROR, "sandboxd: a client of another user is sent away");
        return;
    }
    for (size_t i = 0; i < MOST_CONNECTIONS; i++)
        if (s->connections[i] < 0) {
            s->connections[i] = tw_take_fd(&fd);
            return;
        }
    tw_log(TW_LOG_WARNING, "sandboxd: %d clients are connected already",
           MOST_CONNECTIONS);
}

/* Born with nobody's rights, so that there is no moment in which others may. */
static int open_listener(struct server *s, struct tw_err *err)
{
    const char *path = s->o->socket_path;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    mode_t mask;
    int r;

    if (!path)
        return 0;
    if (strlen(path) >= sizeof(at.sun_path))
        return tw_fail(err, -ENAMETOOLONG, "'%s': a socket's path has at most %zu bytes",
                       path, sizeof(at.sun_path) - 1);
    memcpy(at.sun_path, path, strlen(path));
    s->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)unlink(path); /* of one before: the lock says that none lives */
    mask = umask(0777);
    r = s->listener < 0 || bind(s->listener, (const struct sockaddr *)&at, sizeof(at)) < 0
            ? -errno
            : 0;
    (void)umask(mask);
    if (r == 0 && geteuid() == 0 && lchown(path, 0, s->o->daemon.gid) < 0)
        r = -errno;
    if (r == 0 && (chmod(path, 0660) < 0 || listen(s->listener, MOST_CONNECTIONS) < 0))
        r = -errno;
    return r < 0 ? tw_fail_errno(err, -r, "listening at '%s'", path) : 0;
}

/* ---- opening ---- */

/* One helper for a state directory. One that was told to end, or killed, is gone in a moment. */
static int take_lock(struct server *s, struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("%s/sandboxd.lock", s->o->state_dir);
    int64_t until = tw_now_ns() + LOCK_WAIT_NS;

    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock < 0)
        return tw_fail_errno(err, errno, "'%s'", path);
    while (flock(s->lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return tw_fail_errno(err, errno, "locking '%s'", path);
        if (tw_now_ns() > until)
            return tw_fail(
                err, -EBUSY,
                "another helper works for the state directory '%s'; end its daemon, "
                "or give this one another --state-dir",
                s->o->state_dir);
        tw_sleep_ns(10 * TW_MSEC_NS);
    }
    return 0;
}

/* Groups are a bound more; without them workers run as they always did. */
static void open_groups(struct server *s)
{
    char id[TW_ID_LEN + 1];
    struct tw_err why = {0};

    tw_id_make(id);
    if (tw_priv_open(s->o->state_dir, id, &s->workers.priv, &why) < 0)
        tw_log(TW_LOG_WARNING, "sandboxd: workers have no group of their own: %s",
               why.text);
}

static int open_signals(struct server *s, struct tw_err *err)
{
    static const int ours[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};
    sigset_t set;

    (void)sigemptyset(&set);
    for (size_t i = 0; i < TW_COUNT_OF(ours); i++)
        (void)sigaddset(&set, ours[i]);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals < 0 ? tw_fail_errno(err, errno, "waiting for signals") : 0;
}

static void read_signals(struct server *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
        s->ending |= info.ssi_signo != SIGCHLD;
    bury_all(s);
}

static void round_of(struct server *s)
{
    struct pollfd fds[2 + MOST_CONNECTIONS] = {{.fd = s->signals, .events = POLLIN},
                                               {.fd = s->listener, .events = POLLIN}};

    for (size_t i = 0; i < MOST_CONNECTIONS; i++)
        fds[2 + i] = (struct pollfd){.fd = s->connections[i], .events = POLLIN};
    if (poll(fds, TW_COUNT_OF(fds), s->o->tick_ms > 0 ? s->o->tick_ms : -1) < 0)
        return;
    if (s->o->tick)
        s->o->tick(s->o->arg);
    if (fds[0].revents)
        read_signals(s);
    for (size_t i = 0; i < MOST_CONNECTIONS; i++)
        if (fds[2 + i].revents)
            listen_to(s, i);
    if (fds[1].revents)
        take_connection(s);
}

/* Nothing stays: workers are killed, what they had made is removed, and only then the lock is given
 * back and another helper may begin. */
static void end(struct server *s)
{
    int status, removed;
    pid_t pid;

    helper_workers_kill(&s->workers, -1);
    if (s->reaper > 0)
        (void)kill(s->reaper, SIGKILL);
    while (s->workers.count > 0 &&
           ((pid = waitpid(-1, &status, 0)) > 0 || errno == EINTR)) {
        struct helper_worker *one = pid > 0 ? helper_worker_of(&s->workers, pid) : NULL;

        if (one)
            helper_worker_bury(&s->workers, one);
    }
    (void)tw_priv_reap(s->o->state_dir, &removed, NULL);
    tw_priv_close(s->workers.priv);
    if (s->o->socket_path && s->listener >= 0)
        (void)unlink(s->o->socket_path);
    tw_close_p(&s->listener);
    tw_close_p(&s->signals);
    tw_close_p(&s->lock);
    free(s->workers.program);
}

static char *own_program(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

    return n > 0 ? strndup(path, (size_t)n) : strdup("/usr/bin/twin");
}

int tw_helper_serve(const struct tw_helper_options *options, struct tw_err *err)
{
    struct server *s = tw_alloc(sizeof *s);
    int r;

    s->o = options;
    s->listener = s->signals = s->lock = -1;
    s->workers.o = options;
    s->workers.program = options->program ? strdup(options->program) : own_program();
    for (size_t i = 0; i < MOST_CONNECTIONS; i++)
        s->connections[i] = -1;
    if (options->connection >= 0)
        s->connections[0] = options->connection;
    r = take_lock(s, err);
    if (r == 0)
        r = open_signals(s, err);
    if (r == 0)
        r = tw_priv_bound(err);
    if (r == 0) {
        open_groups(s); /* clears up first what dead ones left */
        r = open_listener(s, err);
    }
    if (r == 0) {
        reap(s); /* and once more what was still dying */
        tw_step("helper.ready");
        if (options->ready)
            options->ready(options->arg);
        while (!s->ending)
            round_of(s);
    }
    end(s);
    free(s);
    return r;
}
