/* The connections that the kernel tracks in the caller's network namespace, asked over nfnetlink: the file in
 * /proc that shows them is not built into every kernel (Debian's has none). Read only. */
#include "tw/filter.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM     65536
#define QUIET_MS 2000
#define HEAD     ((size_t)4)
#define ROUND(n) (((size_t)(n) + 3) & ~(size_t)3)

/* Attributes of a message or of a nest, by their type. */
struct attributes {
    const struct nlattr *of[32];
};

static void read_attributes(const char *at, size_t len, struct attributes *ret)
{
    *ret = (struct attributes){{NULL}};
    while (len >= HEAD) {
        const struct nlattr *a = (const struct nlattr *)(const void *)at;
        size_t whole = ROUND(a->nla_len);
        unsigned type = a->nla_type & 0x3fffu; /* without the signs of nesting and order */

        if (a->nla_len < HEAD || a->nla_len > len)
            return;
        if (type < TW_COUNT_OF(ret->of))
            ret->of[type] = a;
        at += whole;
        len -= whole < len ? whole : len;
    }
}

static bool nest(const struct attributes *from, unsigned type, struct attributes *ret)
{
    const struct nlattr *a = from->of[type];

    if (a)
        read_attributes((const char *)a + HEAD, a->nla_len - HEAD, ret);
    return a != NULL;
}

static const void *data_of(const struct attributes *from, unsigned type, size_t len)
{
    const struct nlattr *a = from->of[type];

    return a && a->nla_len >= HEAD + len ? (const char *)a + HEAD : NULL;
}

static const char *address(struct tw_arena *a, const struct attributes *ip, unsigned v4, unsigned v6)
{
    char text[INET6_ADDRSTRLEN];
    const void *four = data_of(ip, v4, 4), *six = data_of(ip, v6, 16);

    if (!four && !six)
        return NULL;
    return inet_ntop(four ? AF_INET : AF_INET6, four ? four : six, text, sizeof text) ? tw_arena_strdup(a, text)
                                                                                      : NULL;
}

static int port(const struct attributes *proto, unsigned type)
{
    const unsigned char *p = data_of(proto, type, 2);

    return p ? p[0] << 8 | p[1] : 0;
}

/* The first packet's own tuple: who began it, before anything was translated. */
static void take(struct tw_arena *a, const struct nlmsghdr *m, struct tw_filter_connections *ret)
{
    const char *body = (const char *)m + NLMSG_SPACE(sizeof(struct nfgenmsg));
    struct attributes all, tuple, ip, proto;
    struct tw_filter_connection c = {0};
    const unsigned char *number;

    read_attributes(body, m->nlmsg_len - NLMSG_SPACE(sizeof(struct nfgenmsg)), &all);
    if (!nest(&all, CTA_TUPLE_ORIG, &tuple) || !nest(&tuple, CTA_TUPLE_IP, &ip) ||
        !nest(&tuple, CTA_TUPLE_PROTO, &proto))
        return;
    number = data_of(&proto, CTA_PROTO_NUM, 1);
    c.proto = number ? *number : 0;
    c.from = address(a, &ip, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
    c.to = address(a, &ip, CTA_IP_V4_DST, CTA_IP_V6_DST);
    c.port = port(&proto, CTA_PROTO_DST_PORT);
    if (c.from && c.to)
        TW_PUSH(a, &ret->list, c);
}

static int ask(int sock)
{
    struct {
        struct nlmsghdr head;
        struct nfgenmsg body;
    } m = {.head = {.nlmsg_len = sizeof m,
                    .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
           .body = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0}};

    return send(sock, &m, sizeof m, 0) < 0 ? -errno : 0;
}

int tw_filter_tracked(struct tw_arena *a, size_t most, struct tw_filter_connections *ret, struct tw_err *err)
{
    tw_auto_close int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    const struct timeval patience = {.tv_sec = QUIET_MS / 1000};
    char *in = tw_arena_alloc(a, ROOM);
    int r;

    *ret = (struct tw_filter_connections){{0}};
    if (sock < 0)
        return tw_fail_errno(err, errno, "asking for tracked connections");
    (void)setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    r = ask(sock);
    while (r == 0 && ret->list.count < most) {
        ssize_t got = recv(sock, in, ROOM, 0);

        if (got <= 0)
            return tw_fail_errno(err, got < 0 ? errno : EIO, "asking for tracked connections");
        for (const struct nlmsghdr *m = (const struct nlmsghdr *)(const void *)in; NLMSG_OK(m, (size_t)got);
             m = NLMSG_NEXT(m, got)) {
            if (m->nlmsg_type == NLMSG_DONE)
                return 0;
            if (m->nlmsg_type == NLMSG_ERROR)
                return tw_fail_errno(err, -((const struct nlmsgerr *)NLMSG_DATA(m))->error,
                                     "asking for tracked connections");
            take(a, m, ret);
        }
    }
    return r < 0 ? tw_fail_errno(err, -r, "asking for tracked connections") : 0;
}
