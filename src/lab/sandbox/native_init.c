/* The init of a native sandbox: pid 1 inside, a copy of the supervisor that never becomes
 * another program. It builds its world, gives up everything it had, then starts, signals
 * and reaps.
 *
 * No allocation and no library that might: other threads of the supervisor may have held
 * its locks when this copy was made. What it says when it fails stands on the board. */
#include "native_internal.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OOM_SCORE "500" /* when the host runs out, twins go before what is real */

/* ---- becoming the init ---- */

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
    struct init_request go;
    ssize_t n;

    do
        n = recv(plan->control, &go, sizeof go, 0);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof go && go.op == INIT_GO
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
    struct init_reply ask = {INIT_WANTS_MAPS};
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
    r = init_keep_two(plan->control, plan->events);
    if (r < 0)
        return tw_fail_errno(err, -r, "closing what the supervisor had open");
    if (sethostname(plan->hostname, strlen(plan->hostname)) < 0)
        return tw_fail_errno(err, errno, "setting the host name '%s'", plan->hostname);
    r = tw_priv_root_enter(plan->empty_dir, plan->trusted_dir, plan->rows,
                           plan->row_count, err);
    if (r == 0)
        r = await_go(plan, err);
    if (r == 0 && plan->netns < 0)
        r = tw_priv_net_configure(plan->net.links, plan->net.link_count, plan->net.lo,
                                  plan->net.lo_count, err);
    return r < 0 ? r : confine(plan, err);
}

int native_init(void *arg)
{
    const struct native_plan *plan = arg;
    struct init_loop in = {
        .control = plan->control, .events = plan->events, .board = plan->board};
    struct init_reply ready = {0};
    struct tw_err err = {0};
    int r = become_init(plan, &err);

    if (r == 0) {
        /* the plan and all that it points to are gone after this */
        tw_priv_drop_memory();
        r = init_prepare(&in);
        if (r < 0)
            (void)tw_fail_errno(&err, -r, "preparing to wait for requests");
    }
    if (r < 0) {
        in.board->err = err;
        return 1;
    }
    if (send(in.control, &ready, sizeof ready, MSG_NOSIGNAL) == (ssize_t)sizeof ready)
        init_serve(&in);
    return 0; /* and with it ends everything inside */
}
