/* Routes taken away from some packets: a rule of routing in front of the local table, for both families, so that
 * even what would stay on one host loses its way. A gateway that does not answer is an address of a network for
 * documentation on a link where nobody has it: the kernel asks for it, in vain, and tells what it always tells. */
#include "shape_internal.h"

#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <string.h>

#define TABLE       7700 /* and the number of the shape */
#define OURS        50   /* before the local table, which has to make room */
#define LOCAL_LATER 100
#define LINK        "eth0"

static const struct family {
    unsigned char number, bits;
    const char *gateway; /* TEST-NET-1, RFC 5737; a link-local address that nobody has */
} families[] = {{AF_INET, 32, "192.0.2.254"}, {AF_INET6, 128, "fe80::dead:1"}};

static int ask(struct nl_sock *sock, struct nl_msg *m)
{
    int r = nl_send_sync(sock, m); /* takes the message */

    return r >= 0 || r == -NLE_OBJ_NOTFOUND || r == -NLE_EXIST || r == -NLE_AF_NOSUPPORT ? 0 : r == -NLE_PERM ? -EPERM : -EOPNOTSUPP;
}

static struct nl_msg *rule(int type, const struct family *f, unsigned priority, unsigned char action, unsigned table)
{
    struct fib_rule_hdr head = {.family = f->number, .action = action, .table = (unsigned char)(table < 256 ? table : 0)};
    struct nl_msg *m = nlmsg_alloc_simple(type, type == RTM_NEWRULE ? NLM_F_CREATE | NLM_F_EXCL : 0);

    (void)nlmsg_append(m, &head, sizeof head, NLMSG_ALIGNTO);
    (void)nla_put_u32(m, FRA_PRIORITY, priority);
    if (table)
        (void)nla_put_u32(m, FRA_TABLE, table);
    return m;
}

/* The local table is asked first unless it is told to wait. */
static int local_table(struct nl_sock *sock, const struct family *f, bool later)
{
    int r = ask(sock, rule(RTM_NEWRULE, f, later ? LOCAL_LATER : 0, FR_ACT_TO_TBL, RT_TABLE_LOCAL));

    return r < 0 ? r : ask(sock, rule(RTM_DELRULE, f, later ? 0 : LOCAL_LATER, FR_ACT_TO_TBL, RT_TABLE_LOCAL));
}

static struct nl_msg *own_rule(const struct family *f, const struct shape_match *match, unsigned table)
{
    const struct fib_rule_port_range ports = {(unsigned short)match->port, (unsigned short)match->port};
    struct nl_msg *m = rule(RTM_NEWRULE, f, OURS, table ? FR_ACT_TO_TBL : FR_ACT_UNREACHABLE, table);
    unsigned char address[16];

    if (match->port) {
        (void)nla_put_u8(m, FRA_IP_PROTO, IPPROTO_TCP);
        (void)nla_put(m, match->port_here ? FRA_SPORT_RANGE : FRA_DPORT_RANGE, sizeof ports, &ports);
    }
    if (match->peer && inet_pton(f->number, match->peer, address) == 1) {
        (void)nla_put(m, FRA_DST, f->bits / 8, address);
        ((struct fib_rule_hdr *)nlmsg_data(nlmsg_hdr(m)))->dst_len = f->bits;
    }
    return m;
}

static int dead_gateway(struct nl_sock *sock, const struct family *f, unsigned table, bool there)
{
    const struct rtmsg head = {.rtm_family = f->number,
                               .rtm_protocol = RTPROT_STATIC,
                               .rtm_scope = there ? RT_SCOPE_UNIVERSE : RT_SCOPE_NOWHERE,
                               .rtm_type = there ? RTN_UNICAST : RTN_UNSPEC,
                               .rtm_flags = there ? RTNH_F_ONLINK : 0};
    struct nl_msg *m = nlmsg_alloc_simple(there ? RTM_NEWROUTE : RTM_DELROUTE, there ? NLM_F_CREATE : 0);
    unsigned char gateway[16];

    (void)nlmsg_append(m, (void *)(uintptr_t)&head, sizeof head, NLMSG_ALIGNTO);
    (void)nla_put_u32(m, RTA_TABLE, table);
    if (there) {
        (void)inet_pton(f->number, f->gateway, gateway);
        (void)nla_put(m, RTA_GATEWAY, f->bits / 8, gateway);
        (void)nla_put_u32(m, RTA_OIF, if_nametoindex(LINK));
    }
    return ask(sock, m);
}

static bool concerns(const struct family *f, const struct shape_match *match)
{
    return !match->peer || (strchr(match->peer, ':') != NULL) == (f->number == AF_INET6);
}

int shape_route_set(unsigned number, const struct shape_match *match, enum tw_shape_route route)
{
    unsigned table = route == TW_SHAPE_ROUTE_DEAD ? TABLE + number : 0;
    struct nl_sock *sock = NULL;
    int r = shape_route_delete(number);

    if (r == 0)
        r = priv_route_socket(&sock);
    for (size_t i = 0; i < TW_COUNT_OF(families) && r == 0; i++) {
        const struct family *f = &families[i];

        if (!concerns(f, match))
            continue;
        if (table && dead_gateway(sock, f, table, true) < 0)
            r = f->number == AF_INET ? -EOPNOTSUPP : 0; /* a link without IPv6 carries none */
        if (r == 0)
            r = local_table(sock, f, true);
        if (r == 0)
            r = ask(sock, own_rule(f, match, table));
    }
    nl_socket_free(sock);
    return r;
}

int shape_route_delete(unsigned number)
{
    struct nl_sock *sock = NULL;
    int r = priv_route_socket(&sock);

    for (size_t i = 0; i < TW_COUNT_OF(families) && r == 0; i++) {
        r = local_table(sock, &families[i], false);
        (void)ask(sock, rule(RTM_DELRULE, &families[i], OURS, 0, 0));
        (void)dead_gateway(sock, &families[i], TABLE + number, false);
    }
    nl_socket_free(sock);
    return r;
}

static int count_one(struct nl_msg *m, void *arg)
{
    const struct nlattr *priority =
        nlmsg_find_attr(nlmsg_hdr(m), sizeof(struct fib_rule_hdr), FRA_PRIORITY);

    *(int *)arg += priority && nla_get_u32(priority) == OURS;
    return NL_OK;
}

int shape_route_count(void)
{
    const struct fib_rule_hdr head = {.family = AF_UNSPEC};
    struct nl_sock *sock = NULL;
    struct nl_msg *m;
    int count = 0, r = priv_route_socket(&sock);

    if (r < 0)
        return 0;
    m = nlmsg_alloc_simple(RTM_GETRULE, NLM_F_DUMP);
    (void)nlmsg_append(m, (void *)(uintptr_t)&head, sizeof head, NLMSG_ALIGNTO);
    (void)nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, count_one, &count);
    if (nl_send_auto(sock, m) >= 0)
        (void)nl_recvmsgs_default(sock);
    nlmsg_free(m);
    nl_socket_free(sock);
    return count;
}
