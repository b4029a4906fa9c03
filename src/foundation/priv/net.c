/* Links: one bridge in a network namespace of its own, a veth pair per sandbox. Nothing
 * ever stands in the host's namespace, where another program's packet filter would stop
 * the bridge's traffic (SANDBOX.md §9), and nothing has to be taken down: a pair dies
 * with the sandbox's namespace, some 30 ms later and waited for by nobody; the bridge
 * dies with the socket that made it. */
#include "priv_internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/ipv6.h>
#include <linux/pkt_sched.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BRIDGE       "twbr"
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

static int open_socket(struct nl_sock **ret)
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

/* In the new namespace: the socket and the descriptor keep it alive. */
static int make_bridge(void *arg)
{
    struct tw_priv *p = arg;
    struct rtnl_link *link = rtnl_link_alloc();
    int r = open_socket(&p->net);

    if (r == 0 && link) {
        rtnl_link_set_name(link, BRIDGE);
        (void)rtnl_link_set_type(link, "bridge");
        rtnl_link_set_flags(link, IFF_UP);
        r = add_link(p->net, link) < 0 ? -EOPNOTSUPP : 0;
    }
    rtnl_link_put(link);
    p->bridge_index = (int)if_nametoindex(BRIDGE);
    p->bridge_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return r == 0 && (p->bridge_index == 0 || p->bridge_fd < 0) ? -EIO : r;
}

void priv_net_close(struct tw_priv *p)
{
    nl_socket_free(p->net);
    tw_close_p(&p->bridge_fd);
    p->net = NULL;
    p->bridge_fd = -1;
}

static int need_bridge(struct tw_priv *p, struct tw_err *err)
{
    int r;

    if (p->net)
        return 0;
    if (!p->root)
        return tw_fail(err, -EPERM, "links between sandboxes need root");
    r = priv_in_new_netns(make_bridge, p);
    if (r < 0) {
        priv_net_close(p);
        return tw_fail_errno(err, -r, "making the bridge of the twin network");
    }
    tw_step("priv.bridge.made");
    return 0;
}

/* Both ends in one request: the pair never stands anywhere but where it belongs. */
static int make_pair(struct tw_priv *p, const char *name, pid_t pid)
{
    struct rtnl_link *link = rtnl_link_veth_alloc(), *peer;
    int r;

    if (!link)
        return -NLE_NOMEM;
    rtnl_link_set_name(link, name);
    rtnl_link_set_master(link, p->bridge_index);
    rtnl_link_set_flags(link, IFF_UP);
    peer = rtnl_link_veth_get_peer(link);
    rtnl_link_set_name(peer, "eth0");
    rtnl_link_set_ns_pid(peer, pid);
    r = add_link(p->net, link);
    rtnl_link_put(peer);
    rtnl_link_put(link);
    return r;
}

int tw_priv_link_make(struct tw_priv *p, pid_t pid, struct tw_err *err)
{
    tw_auto_free char *name = NULL;
    int r;

    (void)pthread_mutex_lock(&p->net_lock);
    r = need_bridge(p, err);
    if (r == 0) {
        /* never the same name twice: the old link of that name may still be dying */
        name = tw_strf("tw%u", ++p->links);
        r = make_pair(p, name, pid);
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

/* ---- in the child: plain ioctls, which need no memory ---- */

static void set_name(struct ifreq *request, const char *name, unsigned alias)
{
    *request = (struct ifreq){0};
    (void)snprintf(request->ifr_name, IFNAMSIZ, alias ? "%s:%u" : "%s", name, alias);
}

static int set_in(int sock, const char *name, unsigned alias, unsigned long what,
                  struct in_addr address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = address};
    struct ifreq request;

    set_name(&request, name, alias);
    memcpy(&request.ifr_addr, &in, sizeof in);
    return ioctl(sock, what, &request) < 0 ? -errno : 0;
}

static int bring_up(int sock, const char *name)
{
    struct ifreq request;

    set_name(&request, name, 0);
    if (ioctl(sock, SIOCGIFFLAGS, &request) < 0)
        return -errno;
    request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
    return ioctl(sock, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

static int add_in(int sock, const char *name, unsigned alias, const char *text,
                  uint32_t mask)
{
    struct in_addr address, netmask = {.s_addr = htonl(mask)};
    int r;

    if (inet_pton(AF_INET, text, &address) != 1)
        return -EINVAL;
    r = set_in(sock, name, alias, SIOCSIFADDR, address);
    return r < 0 ? r : set_in(sock, name, alias, SIOCSIFNETMASK, netmask);
}

static int add_in6(const char *text)
{
    tw_auto_close int sock = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct in6_ifreq request = {.ifr6_prefixlen = 128, .ifr6_ifindex = 1};

    if (sock < 0)
        return -errno;
    if (inet_pton(AF_INET6, text, &request.ifr6_addr) != 1)
        return -EINVAL;
    return ioctl(sock, SIOCSIFADDR, &request) < 0 && errno != EEXIST ? -errno : 0;
}

int tw_priv_net_configure(const char *address, const char *const *more, size_t more_count,
                          struct tw_err *err)
{
    tw_auto_close int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r = sock < 0 ? -errno : bring_up(sock, "lo");

    if (r < 0)
        return tw_fail_errno(err, -r, "bringing 'lo' up");
    for (size_t i = 0; i < more_count; i++) {
        r = strchr(more[i], ':') ? add_in6(more[i])
                                 : add_in(sock, "lo", (unsigned)i + 1, more[i], ~0u);
        if (r < 0)
            return tw_fail_errno(err, -r, "adding address '%s'", more[i]);
    }
    if (!address)
        return 0;
    r = add_in(sock, "eth0", 0, address, NETWORK_MASK);
    if (r == 0)
        r = bring_up(sock, "eth0");
    return r < 0 ? tw_fail_errno(err, -r, "giving 'eth0' the address '%s'", address) : 0;
}

/* ---- for the probe ---- */

int priv_net_try_qdisc(const char *kind)
{
    struct nl_sock *sock = NULL;
    struct rtnl_qdisc *qdisc = NULL;
    int r = open_socket(&sock);

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
