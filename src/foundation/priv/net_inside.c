/* Addresses and routes of a sandbox, in its own init: one request of rtnetlink at a time, made
 * on the stack, since nothing here may allocate. */
#include "priv_internal.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINK_BITS  24 /* of an address of the twin network */
#define FAR_METRIC 1000

struct request {
    struct nlmsghdr head;
    union {
        struct ifaddrmsg address;
        struct ifinfomsg link;
        struct rtmsg route;
    } body;
    char attributes[128];
};

static void begin(struct request *q, unsigned short type, unsigned short flags,
                  size_t body)
{
    memset(q, 0, sizeof *q);
    q->head.nlmsg_type = type;
    q->head.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags);
    q->head.nlmsg_len = (unsigned)NLMSG_LENGTH(body);
}

static void attribute(struct request *q, unsigned short type, const void *data,
                      size_t len)
{
    struct rtattr *at =
        (struct rtattr *)(void *)((char *)q + NLMSG_ALIGN(q->head.nlmsg_len));

    at->rta_type = type;
    at->rta_len = (unsigned short)RTA_LENGTH(len);
    memcpy(RTA_DATA(at), data, len);
    q->head.nlmsg_len =
        (unsigned)(NLMSG_ALIGN(q->head.nlmsg_len) + RTA_ALIGN(at->rta_len));
}

static int talk(int sock, struct request *q)
{
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        char rest[512];
    } answer;

    if (send(sock, q, q->head.nlmsg_len, 0) < 0)
        return -errno;
    if (recv(sock, &answer, sizeof answer, 0) < (ssize_t)sizeof answer.head)
        return -EIO;
    return answer.head.nlmsg_type == NLMSG_ERROR ? answer.error.error : -EIO;
}

static int bring_up(int sock, int index)
{
    struct request q;

    begin(&q, RTM_NEWLINK, 0, sizeof q.body.link);
    q.body.link.ifi_index = index;
    q.body.link.ifi_flags = q.body.link.ifi_change = IFF_UP;
    return talk(sock, &q);
}

/* Without detection of duplicates: whoever stands in this network was put there by us. */
static int add_address(int sock, int index, const char *text, unsigned char bits)
{
    const uint32_t flags = IFA_F_NODAD | IFA_F_PERMANENT;
    unsigned char binary[16];
    struct request q;
    bool six = strchr(text, ':');
    size_t len = six ? 16 : 4;
    int r;

    if (inet_pton(six ? AF_INET6 : AF_INET, text, binary) != 1)
        return -EINVAL;
    begin(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof q.body.address);
    q.body.address = (struct ifaddrmsg){.ifa_family = six ? AF_INET6 : AF_INET,
                                        .ifa_prefixlen = bits ? bits : six ? 128 : 32,
                                        .ifa_index = (unsigned)index};
    attribute(&q, IFA_LOCAL, binary, len);
    attribute(&q, IFA_ADDRESS, binary, len);
    if (six)
        attribute(&q, IFA_FLAGS, &flags, sizeof flags);
    r = talk(sock, &q);
    return r == -EEXIST ? 0 : r;
}

/* Everything is looked for on this link; of several links the first is the nearest. */
static int add_route(int sock, int index, int number, unsigned char family)
{
    uint32_t metric = FAR_METRIC + (uint32_t)number;
    struct request q;

    begin(&q, RTM_NEWROUTE, NLM_F_CREATE, sizeof q.body.route);
    q.body.route = (struct rtmsg){.rtm_family = family,
                                  .rtm_table = RT_TABLE_MAIN,
                                  .rtm_protocol = RTPROT_STATIC,
                                  .rtm_scope = family == AF_INET6 ? RT_SCOPE_UNIVERSE
                                                                  : RT_SCOPE_LINK,
                                  .rtm_type = RTN_UNICAST};
    attribute(&q, RTA_OIF, &index, sizeof index);
    attribute(&q, RTA_PRIORITY, &metric, sizeof metric);
    return talk(sock, &q);
}

static int index_of(const char *name)
{
    tw_auto_close int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {0};

    memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
    if (sock < 0 || ioctl(sock, SIOCGIFINDEX, &request) < 0)
        return -errno;
    return request.ifr_ifindex;
}

static int set_up_link(int sock, const struct tw_link *link, int number,
                       struct tw_err *err)
{
    const char name[] = {'e', 't', 'h', (char)('0' + number), '\0'};
    int index = index_of(name);
    int r = index < 0 ? index : add_address(sock, index, link->address, LINK_BITS);

    if (r < 0)
        return tw_fail_errno(err, -r, "giving '%s' the address '%s'", name,
                             link->address);
    for (size_t i = 0; i < link->more_count; i++) {
        r = add_address(sock, index, link->more[i], 0);
        /* a host without IPv6 has no use for its addresses */
        if (r < 0 && !(strchr(link->more[i], ':') && (r == -EACCES || r == -EOPNOTSUPP)))
            return tw_fail_errno(err, -r, "giving '%s' the address '%s'", name,
                                 link->more[i]);
    }
    r = bring_up(sock, index);
    if (r == 0)
        r = add_route(sock, index, number, AF_INET);
    if (r == 0)
        (void)add_route(sock, index, number, AF_INET6); /* the same */
    return r < 0 ? tw_fail_errno(err, -r, "bringing '%s' up", name) : 0;
}

int tw_priv_net_enter(int netns, struct tw_err *err)
{
    return setns(netns, CLONE_NEWNET) < 0
               ? tw_fail_errno(err, errno, "entering the network of another sandbox")
               : 0;
}

int tw_priv_net_configure(const struct tw_link *links, size_t link_count,
                          const char *const *lo, size_t lo_count, struct tw_err *err)
{
    tw_auto_close int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    int index = index_of("lo");
    int r = sock < 0 ? -errno : index < 0 ? index : bring_up(sock, index);

    if (r < 0)
        return tw_fail_errno(err, -r, "bringing 'lo' up");
    for (size_t i = 0; i < lo_count; i++) {
        r = add_address(sock, index, lo[i], 0);
        if (r < 0)
            return tw_fail_errno(err, -r, "adding address '%s'", lo[i]);
    }
    for (size_t i = 0; i < link_count && r == 0; i++)
        r = set_up_link(sock, &links[i], (int)i, err);
    return r;
}
