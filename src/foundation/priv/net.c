/* Links: bridges in a network namespace of its own, a veth pair per link of a sandbox. Nothing
 * ever stands in the host's namespace, where another program's packet filter would stop
 * the bridge's traffic (docs/internals/sandbox.md), and nothing has to be taken down: a pair dies
 * with the sandbox's namespace, some 30 ms later and waited for by nobody; the bridges
 * die with the socket that made them. */
#include "priv_internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/pkt_sched.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NETWORK      0x0ad50000u /* 10.213.0.0/24 */
#define NETWORK_MASK 0xffffff00u

struct job {
    int (*fn)(void *arg);
    void *arg;
    int result;
};

static void *in_thread(void *arg)
{
    struct job *job = arg;

    job->result = unshare(CLONE_NEWNET) < 0 ? -errno : job->fn(job->arg);
    return NULL;
}

int priv_in_new_netns(int (*fn)(void *arg), void *arg)
{
    struct job job = {.fn = fn, .arg = arg};
    pthread_t thread;
    int r = pthread_create(&thread, NULL, in_thread, &job);

    if (r != 0)
        return -r;
    (void)pthread_join(thread, NULL);
    return job.result;
}

int priv_route_socket(struct nl_sock **ret)
{
    struct nl_sock *sock = nl_socket_alloc();

    if (!sock || nl_connect(sock, NETLINK_ROUTE) < 0) {
        nl_socket_free(sock);
        return -EIO;
    }
    *ret = sock;
    return 0;
}

static int add_link(struct nl_sock *sock, struct rtnl_link *link)
{
    return rtnl_link_add(sock, link, NLM_F_CREATE | NLM_F_EXCL);
}

static int add_bridge(struct tw_priv *p, int network)
{
    tw_auto_free char *name = tw_strf("twbr%d", network);
    struct rtnl_link *link = rtnl_link_alloc();
    int r = -ENOMEM;

    if (link) {
        rtnl_link_set_name(link, name);
        (void)rtnl_link_set_type(link, "bridge");
        rtnl_link_set_flags(link, IFF_UP);
        r = add_link(p->net, link) < 0 ? -EOPNOTSUPP : 0;
    }
    rtnl_link_put(link);
    p->bridge_index[network] = (int)if_nametoindex(name);
    return r == 0 && p->bridge_index[network] == 0 ? -EIO : r;
}

/* In the new namespace: the socket and the descriptor keep it alive. */
static int make_bridges(void *arg)
{
    struct tw_priv *p = arg;
    int r = priv_route_socket(&p->net);

    for (int n = 0; n < TW_NETWORKS && r == 0; n++)
        r = add_bridge(p, n);
    p->bridge_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return r == 0 && p->bridge_fd < 0 ? -EIO : r;
}

void priv_net_close(struct tw_priv *p)
{
    nl_socket_free(p->net);
    tw_close_p(&p->bridge_fd);
    p->net = NULL;
    p->bridge_fd = -1;
}

static int need_bridges(struct tw_priv *p, struct tw_err *err)
{
    int r;

    if (p->net)
        return 0;
    if (!p->root)
        return tw_fail(err, -EPERM, "links between sandboxes need root");
    r = priv_in_new_netns(make_bridges, p);
    if (r < 0) {
        priv_net_close(p);
        return tw_fail_errno(err, -r, "making the bridges of the twin networks");
    }
    tw_step("priv.bridge.made");
    return 0;
}

/* Both ends in one request: the pair never stands anywhere but where it belongs. */
static int make_pair(struct tw_priv *p, const char *name, pid_t pid, int network,
                     int number)
{
    tw_auto_free char *inside = tw_strf("eth%d", number);
    struct rtnl_link *link = rtnl_link_veth_alloc(), *peer;
    int r;

    if (!link)
        return -NLE_NOMEM;
    rtnl_link_set_name(link, name);
    rtnl_link_set_master(link, p->bridge_index[network]);
    rtnl_link_set_flags(link, IFF_UP);
    peer = rtnl_link_veth_get_peer(link);
    rtnl_link_set_name(peer, inside);
    rtnl_link_set_ns_pid(peer, pid);
    r = add_link(p->net, link);
    rtnl_link_put(peer);
    rtnl_link_put(link);
    return r;
}

int tw_priv_link_make(struct tw_priv *p, pid_t pid, int network, int number,
                      struct tw_err *err)
{
    tw_auto_free char *name = NULL;
    int r;

    (void)pthread_mutex_lock(&p->net_lock);
    r = need_bridges(p, err);
    if (r == 0) {
        /* never the same name twice: the old link of that name may still be dying */
        name = tw_strf("tw%u", ++p->links);
        r = make_pair(p, name, pid, network, number);
        if (r < 0)
            r = tw_fail(err, -EIO, "making link '%s': %s", name, nl_geterror(r));
    }
    (void)pthread_mutex_unlock(&p->net_lock);
    if (r == 0)
        tw_step("priv.link.made");
    return r;
}

int tw_priv_bridge_fd(const struct tw_priv *p)
{
    return p->bridge_fd;
}

bool tw_priv_net_contains(const char *address)
{
    struct in_addr a;

    return inet_pton(AF_INET, address, &a) == 1 &&
           (ntohl(a.s_addr) & NETWORK_MASK) == NETWORK;
}

/* ---- namespaces for rule sets ---- */

static int open_own(void *arg)
{
    int *fd = arg;

    *fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? -errno : 0;
}

int tw_priv_netns_new(struct tw_priv *p, int *ret_netns, struct tw_err *err)
{
    int fd = -1, r;

    if (!p->root)
        return tw_fail(err, -EPERM, "network namespaces for rule sets need root: run it with sudo");
    r = priv_in_new_netns(open_own, &fd);
    if (r < 0)
        return tw_fail_errno(err, -r, "making a network namespace");
    *ret_netns = fd;
    tw_step("priv.netns.made");
    return 0;
}

struct visit {
    struct job job;
    int netns;
    struct tw_err err;
};

static void *in_that_netns(void *arg)
{
    struct visit *v = arg;

    v->job.result = tw_priv_net_enter(v->netns, &v->err);
    if (v->job.result == 0)
        v->job.result = v->job.fn(v->job.arg);
    return NULL;
}

int tw_priv_netns_run(struct tw_priv *p, int netns, int (*fn)(void *arg), void *arg,
                      struct tw_err *err)
{
    struct visit v = {.job = {.fn = fn, .arg = arg}, .netns = netns};
    pthread_t thread;
    int r = pthread_create(&thread, NULL, in_that_netns, &v);

    (void)p;
    if (r != 0)
        return tw_fail_errno(err, r, "starting a thread in a network namespace");
    (void)pthread_join(thread, NULL);
    if (v.err.code && err)
        *err = v.err;
    return v.job.result;
}

/* ---- for the probe ---- */

int priv_net_try_qdisc(const char *kind)
{
    struct nl_sock *sock = NULL;
    struct rtnl_qdisc *qdisc = NULL;
    int r = priv_route_socket(&sock);

    if (r == 0)
        qdisc = rtnl_qdisc_alloc();
    if (qdisc) {
        rtnl_tc_set_ifindex(TC_CAST(qdisc), 1); /* lo */
        rtnl_tc_set_parent(TC_CAST(qdisc), TC_H_ROOT);
        rtnl_tc_set_handle(TC_CAST(qdisc), TC_HANDLE(1, 0));
        r = rtnl_tc_set_kind(TC_CAST(qdisc), kind);
        if (r == 0)
            r = rtnl_qdisc_add(sock, qdisc, NLM_F_CREATE);
        rtnl_qdisc_put(qdisc);
    }
    nl_socket_free(sock);
    return r < 0 ? -EOPNOTSUPP : 0;
}
