/* Workers: started as the program that was named at the start, with arguments of ours, in a group of
 * their own; killed with all that is in it. */
#include "helper_internal.h"

#include "tw/priv.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_PROCESSES                                                                   \
    4096 /* of a worker itself; those of its twins have groups of their own */

/* In the child: only async-signal-safe calls. */
static void become(const char *program, char *const *argv, int input, int output, int hand,
                   const struct tw_priv_cgroup *group, pid_t parent)
{
    static const int back[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD};
    struct rlimit core;
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    for (size_t i = 0; i < TW_COUNT_OF(back); i++)
        (void)signal(back[i], SIG_DFL);
    /* the soft one alone: a twin's service has its target's */
    if (getrlimit(RLIMIT_CORE, &core) == 0) {
        core.rlim_cur = 0;
        (void)setrlimit(RLIMIT_CORE, &core);
    }
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
        setpgid(0, 0) < 0 || (group && tw_priv_cgroup_enter(group, NULL) < 0) ||
        dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
        (hand >= 0 && (dup2(hand, TW_HELPER_HAND_FD) < 0 ||
                       fcntl(TW_HELPER_HAND_FD, F_SETFD, 0) < 0)))
        _exit(127);
    (void)close_range(hand < 0 ? TW_HELPER_HAND_FD : TW_HELPER_HAND_FD + 1, ~0U, 0);
    (void)execv(program, argv);
    _exit(127);
}

static struct helper_worker *free_place(struct helper_workers *w)
{
    for (size_t i = 0; i < TW_COUNT_OF(w->list); i++)
        if (!w->list[i].pid)
            return &w->list[i];
    return NULL;
}

/* A group of its own where this host gives us one: it bounds the worker, and whoever it leaves behind
 * is found in it. */
static struct tw_priv_cgroup *open_group(struct helper_workers *w, const char *id)
{
    struct tw_limits limits = {.memory_bytes = w->o->memory_bytes,
                               .pids_max = MOST_PROCESSES};
    tw_auto_free char *name = tw_strf("worker-%s", id);
    struct tw_priv_cgroup *group = NULL;

    if (w->priv && tw_priv_cgroup_open(w->priv, name, &limits, &group, NULL) < 0)
        return NULL;
    return group;
}

/* Of a worker that waits for a further job: its end and ours; else -1 both. */
static int open_hand(const struct helper_workers *w, const char *verb, int pair[2],
                     struct tw_err *err)
{
    pair[0] = pair[1] = -1;
    for (const char *const *one = w->o->waiting; one && *one; one++)
        if (tw_streq(*one, verb) &&
            socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
            return tw_fail_errno(err, errno, "a way to hand a worker its job");
    return 0;
}

int helper_worker_start(struct helper_workers *w, int connection,
                        const struct helper_request *rq, int input, int output,
                        struct tw_err *err)
{
    const char *argv[] = {w->program,      "_worker",         rq->what,
                          w->o->state_dir, w->o->policy_path, NULL};
    struct helper_worker *one = free_place(w);
    pid_t parent = getpid();
    tw_auto_close int theirs = -1;
    int pair[2];
    int r = helper_check_input(input, err);

    if (r == 0)
        r = helper_check_output(output, err);
    if (r < 0)
        return r;
    if (!one || w->count >= w->o->max_workers)
        return tw_fail(err, -EBUSY, "%d workers run already, no more may", w->count);
    if (helper_worker_find(w, connection, rq->number))
        return tw_fail(err, -EEXIST, "a worker of that number runs already");
    r = open_hand(w, rq->what, pair, err);
    if (r < 0)
        return r;
    theirs = pair[1];
    one->hand = pair[0];
    one->group = open_group(w, rq->id);
    one->pid = fork();
    if (one->pid == 0)
        become(w->program, (char *const *)(uintptr_t)argv, input, output, theirs,
               one->group, parent);
    if (one->pid < 0) {
        r = tw_fail_errno(err, errno, "starting a worker process");
        tw_close_p(&one->hand);
        tw_priv_cgroup_close(one->group);
        *one = (struct helper_worker){0};
        return r;
    }
    one->number = rq->number;
    one->connection = connection;
    w->count++;
    tw_step("helper.started");
    return 0;
}

int helper_worker_hand(struct helper_workers *w, int connection, uint32_t number, int input,
                       struct tw_err *err)
{
    struct helper_worker *one = helper_worker_find(w, connection, number);
    int r = helper_check_input(input, err);

    if (r == 0 && one && one->hand < 0)
        r = tw_fail(err, -EINVAL, "worker %u takes no further job", number);
    if (r < 0 || !one) /* it has ended meanwhile, which its client hears of */
        return r;
    r = helper_send(one->hand, "", 1, &input, 1);
    tw_step("helper.handed");
    return r < 0 ? tw_fail_errno(err, -r, "handing a job to worker %u", number) : 0;
}

struct helper_worker *helper_worker_find(struct helper_workers *w, int connection,
                                         uint32_t number)
{
    for (size_t i = 0; i < TW_COUNT_OF(w->list); i++)
        if (w->list[i].pid && w->list[i].connection == connection &&
            w->list[i].number == number)
            return &w->list[i];
    return NULL;
}

struct helper_worker *helper_worker_of(struct helper_workers *w, pid_t pid)
{
    for (size_t i = 0; i < TW_COUNT_OF(w->list); i++)
        if (w->list[i].pid == pid)
            return &w->list[i];
    return NULL;
}

void helper_worker_bury(struct helper_workers *w, struct helper_worker *one)
{
    if (one->hand >= 0)
        (void)close(one->hand);
    tw_priv_cgroup_close(one->group); /* and whoever is in it still */
    *one = (struct helper_worker){0};
    w->count--;
}

void helper_workers_kill(struct helper_workers *w, int connection)
{
    for (size_t i = 0; i < TW_COUNT_OF(w->list); i++)
        if (w->list[i].pid && (connection < 0 || w->list[i].connection == connection))
            (void)kill(w->list[i].pid, SIGKILL);
}
