/* Children in fresh namespaces.
 *
 * The signal that a child wants at its parent's death follows the thread that made it,
 * and a child made by a worker would die when that worker's job is done. So one thread
 * makes all of them, and lives as long as the handle.
 *
 * clone3 is called as it is, without the libraries' fork handlers: in the child any lock
 * of the allocator may be held for ever by a thread that is not there. Therefore nothing
 * that runs in it may allocate. */
#include "priv_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_SIZE ((size_t)512 * 1024)

struct order {
    const struct tw_spawn *spawn;
    pid_t pid;
    int pidfd, error;
    bool done;
};
struct priv_spawner {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct order *order; /* one at a time */
    bool busy, end;
};

/* ---- in the child ---- */

static void default_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    for (int n = 1; n < NSIG; n++)
        (void)sigaction(n, &action, NULL);
}

/* gate: readable when the maps of the user namespace are written; its end means death. */
static _Noreturn void child(const struct tw_spawn *spawn, int gate)
{
    char go;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    default_signals();
    if (read(gate, &go, 1) != 1)
        _exit(127);
    (void)close(gate);
    _exit(spawn->main(spawn->arg));
}

/* ---- in the thread ---- */

static pid_t clone_child(const struct tw_spawn *spawn, int *ret_pidfd)
{
    struct clone_args args = {.flags = spawn->namespaces | (uint64_t)CLONE_PIDFD,
                              .pidfd = (uint64_t)(uintptr_t)ret_pidfd};
    pid_t pid;

    /* no exit signal: nobody else's waitpid(-1) gets to see it */
    if (spawn->cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (unsigned)spawn->cgroup_fd;
    }
    pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid >= 0 || errno != ENOSYS)
        return pid;
    /* a container's filter hides clone3; the group is then entered by the child itself */
    return (pid_t)syscall(SYS_clone,
                          (unsigned long)(spawn->namespaces | (uint64_t)CLONE_PIDFD),
                          NULL, ret_pidfd, NULL, 0UL);
}

static int write_proc(pid_t pid, const char *name, const char *text)
{
    tw_auto_free char *path = tw_strf("/proc/%d/%s", (int)pid, name);
    tw_auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(text);

    return fd >= 0 && write(fd, text, len) == (ssize_t)len ? 0 : -errno;
}

static int write_maps(const struct tw_spawn *spawn, pid_t pid)
{
    tw_auto_free char *uids = tw_strf("%u %u 1\n", spawn->uid, (unsigned)geteuid());
    tw_auto_free char *gids = tw_strf("%u %u 1\n", spawn->gid, (unsigned)getegid());
    int r;

    if (!(spawn->namespaces & CLONE_NEWUSER))
        return 0;
    r = write_proc(pid, "setgroups", "deny");
    if (r == 0)
        r = write_proc(pid, "gid_map", gids);
    return r == 0 ? write_proc(pid, "uid_map", uids) : r;
}

int tw_priv_map_users(pid_t pid, unsigned base, struct tw_err *err)
{
    tw_auto_free char *map = tw_strf("0 %u %d\n", base, TW_USER_RANGE);
    int r = write_proc(pid, "gid_map", map);

    if (r == 0)
        r = write_proc(pid, "uid_map", map);
    return r < 0 ? tw_fail_errno(err, -r, "mapping the users of process %d", (int)pid) : 0;
}

static void reap_child(int pidfd)
{
    siginfo_t info;

    (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL) < 0 && errno == EINTR)
        ;
}

static void carry_out(struct order *order)
{
    sigset_t all, before;
    int gate[2];

    if (pipe2(gate, O_CLOEXEC) < 0) {
        order->error = errno;
        return;
    }
    /* no handler of ours may run in the child before it has taken them away */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    order->pid = clone_child(order->spawn, &order->pidfd);
    if (order->pid == 0) {
        (void)close(gate[1]);
        child(order->spawn, gate[0]);
    }
    order->error = order->pid < 0 ? errno : 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (order->pid > 0) {
        order->error = -write_maps(order->spawn, order->pid);
        if (order->error == 0 && write(gate[1], "", 1) != 1)
            order->error = errno;
        if (order->error != 0) {
            reap_child(order->pidfd);
            (void)close(order->pidfd);
        }
    }
    (void)close(gate[0]);
    (void)close(gate[1]);
}

static void *serve(void *arg)
{
    struct priv_spawner *s = arg;

    (void)pthread_mutex_lock(&s->lock);
    while (!s->end) {
        if (s->order && !s->order->done) {
            carry_out(s->order);
            s->order->done = true;
            (void)pthread_cond_broadcast(&s->changed);
        }
        (void)pthread_cond_wait(&s->changed, &s->lock);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- for the rest of the room ---- */

int priv_spawner_open(struct tw_priv *p, struct tw_err *err)
{
    struct priv_spawner *s = tw_alloc(sizeof *s);
    pthread_attr_t attributes;
    sigset_t all, before;
    int r;

    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&s->thread, &attributes, serve, s);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    if (r != 0) {
        free(s);
        return tw_fail_errno(err, r, "starting the thread that makes children");
    }
    p->spawner = s;
    return 0;
}

void priv_spawner_close(struct tw_priv *p)
{
    struct priv_spawner *s = p->spawner;

    if (!s)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->end = true;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_join(s->thread, NULL);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
    p->spawner = NULL;
}

static const char *spawn_hint(int error, bool root)
{
    switch (error) {
    case EPERM:
        return root ? "CAP_SYS_ADMIN is needed"
                    : "run as root, or allow user namespaces: sysctl "
                      "kernel.apparmor_restrict_unprivileged_userns=0 "
                      "kernel.unprivileged_userns_clone=1";
    case ENOSPC:
        return "raise the limits below /proc/sys/user";
    case EAGAIN:
        return "too many processes";
    default:
        return "see twin doctor";
    }
}

int tw_priv_spawn(struct tw_priv *p, const struct tw_spawn *spawn, pid_t *ret_pid,
                  int *ret_pidfd, struct tw_err *err)
{
    struct order order = {.spawn = spawn, .pidfd = -1};
    struct priv_spawner *s = p->spawner;

    (void)pthread_mutex_lock(&s->lock);
    while (s->busy)
        (void)pthread_cond_wait(&s->changed, &s->lock);
    s->busy = true;
    s->order = &order;
    (void)pthread_cond_broadcast(&s->changed);
    while (!order.done)
        (void)pthread_cond_wait(&s->changed, &s->lock);
    s->order = NULL;
    s->busy = false;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);

    if (order.error != 0)
        return tw_fail(err, -order.error, "making a child in fresh namespaces: %s (%s)",
                       strerror(order.error), spawn_hint(order.error, p->root));
    *ret_pid = order.pid;
    *ret_pidfd = order.pidfd;
    return 0;
}

void tw_priv_kill(struct tw_priv *p, int pidfd)
{
    (void)p;
    reap_child(pidfd);
    (void)close(pidfd);
}

int64_t priv_start_time(pid_t pid)
{
    tw_auto_free char *path = tw_strf("/proc/%d/stat", (int)pid), *text = NULL;
    int64_t started = -1;
    char *field;

    if (tw_read_file(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0)
        return -1;
    /* the name in field 2 may contain anything: fields are counted from its last
     * parenthesis */
    field = strrchr(text, ')');
    for (int n = 2; field && n < 22; n++)
        field = strchr(field + 1, ' ');
    if (!field || sscanf(field, " %" SCNd64, &started) != 1)
        return -1;
    return started;
}
