/* Real packets. The prober sends frames into the interfaces of the host; what the rules let in is heard by raw
 * sockets behind INPUT, what they let through or out by the prober on the other side. Every packet carries a
 * number. Established connections are written into the table of connection tracking by ourselves, so that no
 * rule on the way back is needed for them. Frames pass no queue, so that a link that the kernel has not quite
 * turned on yet loses none. */
#include "filter_internal.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECEIVE_ROOM  (8 << 20)
#define QUIET_NS      (8 * TW_MSEC_NS) /* nothing more came for so long: nothing more comes */
#define CONNECTION_S  600
#define HEARS         7 /* raw tcp, udp, icmp of v4 and v6; the prober's ear */
#define EAR           6

struct sending {
    struct tw_filter_box *b;
    struct tw_filter_probe *probes;
    size_t count;
    enum tw_arm arm;
    int hear[HEARS], into[2]; /* into: the prober's frames, the host's own on lo */
    int out4, out6;           /* the host's own packets */
    int *link;                /* of the prober, for each probe; 0: none */
    uint32_t first;
    bool *due;                /* to be sent this time */
    struct tw_err *err;
};

/* ---- addresses, routes, neighbours of the host ---- */

enum role { ROLE_LOCAL = 1, ROLE_REMOTE };
struct place {
    bool v6;
    tw_flow_num address, link;
    enum role role;
};
struct places {
    TW_ARRAY(struct place) list;
};

static const struct place *place_find(const struct places *all, bool v6, tw_flow_num address)
{
    for (size_t i = 0; i < all->list.count; i++)
        if (all->list.items[i].v6 == v6 && all->list.items[i].address == address)
            return &all->list.items[i];
    return NULL;
}

static bool place_take(struct tw_arena *a, struct places *all, bool v6, tw_flow_num address, tw_flow_num link,
                       enum role role)
{
    const struct place *had = place_find(all, v6, address);

    if (had)
        return had->role == role && (role == ROLE_LOCAL || had->link == link);
    TW_PUSH(a, &all->list, (struct place){v6, address, link, role});
    return true;
}

static const char *place_probe(struct tw_arena *a, struct places *all, const struct tw_filter_probe *p)
{
    const tw_flow_num *f = p->packet.field;
    bool v6 = f[TW_FLOW_FAMILY] != 0, fine = true;
    const struct place *from = place_find(all, v6, f[TW_FLOW_SADDR]);
    bool lo = f[TW_FLOW_IIF] == tw_flow_name("lo");

    if (lo) /* both ends are the host's own, and stand on lo already */
        return NULL;
    if (p->path != TW_FLOW_FROM_HOST && from && from->role == ROLE_LOCAL)
        return "its source is an address of the host";
    if (p->path == TW_FLOW_TO_HOST)
        fine = place_take(a, all, v6, f[TW_FLOW_DADDR], f[TW_FLOW_IIF], ROLE_LOCAL);
    else
        fine = place_take(a, all, v6, f[TW_FLOW_DADDR], f[TW_FLOW_OIF], ROLE_REMOTE);
    if (fine && p->path == TW_FLOW_FROM_HOST)
        fine = place_take(a, all, v6, f[TW_FLOW_SADDR], f[TW_FLOW_OIF], ROLE_LOCAL);
    return fine ? NULL : "another packet needs the same address elsewhere";
}

static const char *address_text(bool v6, tw_flow_num n, char *text)
{
    unsigned char bytes[16];

    for (int i = 0; i < 16; i++)
        bytes[i] = (unsigned char)(n >> (120 - 8 * i));
    (void)inet_ntop(v6 ? AF_INET6 : AF_INET, bytes, text, INET6_ADDRSTRLEN);
    return text;
}

static void name_text(tw_flow_num n, char ret[17])
{
    for (int i = 0; i < 16; i++)
        ret[i] = (char)(n >> (120 - 8 * i));
    ret[16] = '\0';
}

static void write_place(struct tw_buf *batch, const struct place *p)
{
    char address[INET6_ADDRSTRLEN], link[17];
    int bits = p->v6 ? 128 : 32;

    name_text(p->link, link);
    (void)address_text(p->v6, p->address, address);
    if (p->role == ROLE_LOCAL) {
        tw_buf_printf(batch, "addr add %s/%d dev %s%s\n", address, bits, link, p->v6 ? " nodad" : "");
        return;
    }
    tw_buf_printf(batch,
                  "route add %s/%d dev %s\n"
                  "neigh add %s lladdr 02:00:00:00:00:0a dev %s nud permanent\n",
                  address, bits, link, address, link);
}

static int prepare_host(struct sending *s)
{
    static const char *const ip[] = {"ip", "-force", "-batch", "-", NULL};
    static const enum tw_flow_field ends[] = {TW_FLOW_IIF, TW_FLOW_OIF};
    tw_auto(tw_arena) *a = tw_arena_new();
    struct places places = {0};
    struct filter_names names = {0};
    tw_auto_buf batch = {0};
    struct tw_err why;
    int r;

    for (size_t i = 0; i < s->count; i++) {
        struct tw_filter_probe *p = &s->probes[i];

        for (size_t e = 0; e < TW_COUNT_OF(ends) && !p->unsent[s->arm]; e++) {
            char name[17];

            name_text(p->packet.field[ends[e]], name);
            if (!*name || tw_streq(name, "lo"))
                continue;
            if (!filter_name_is_fine(name))
                p->unsent[s->arm] = "no interface can have that name";
            else if (tw_name_index(name, names.list.items, names.list.count) < 0)
                TW_PUSH(a, &names.list, tw_arena_strdup(a, name));
        }
        if (!p->unsent[s->arm])
            p->unsent[s->arm] = place_probe(a, &places, p);
    }
    r = filter_links(s->b, &names, s->err);
    if (r < 0 || !places.list.count)
        return r;
    tw_buf_init(&batch, 1 << 20);
    for (size_t i = 0; i < places.list.count; i++)
        write_place(&batch, &places.list.items[i]);
    /* one that cannot be given shows as a packet that does not arrive, and is told */
    (void)filter_run(s->b, ip, tw_buf_text(&batch), NULL, NULL, &why);
    return 0;
}

/* ---- sockets ---- */

static int open_heard(int family, int type, int protocol)
{
    int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol), room = RECEIVE_ROOM;

    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    return fd;
}

static int open_frames(void)
{
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;

    if (fd >= 0)
        (void)setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    return fd;
}

static int open_prober(void *arg)
{
    struct sending *s = arg;

    s->into[0] = open_frames();
    s->hear[EAR] = open_heard(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));
    if (s->into[0] < 0 || s->hear[EAR] < 0)
        return tw_fail_errno(s->err, errno, "opening the prober's sockets");
    for (size_t i = 0; i < s->count; i++) {
        char name[17];
        int n;

        name_text(s->probes[i].packet.field[TW_FLOW_IIF], name);
        n = tw_name_index(name, s->b->links.items, s->b->links.count);
        if (n >= 0) {
            tw_auto_free char *far = tw_strf("twp%d", n);

            s->link[i] = (int)if_nametoindex(far);
        }
    }
    return 0;
}

static int open_host(struct sending *s)
{
    static const int protocols[2][3] = {{IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP},
                                        {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6}};
    int on = 1;

    for (int i = 0; i < EAR; i++)
        s->hear[i] = open_heard(i < 3 ? AF_INET : AF_INET6, SOCK_RAW, protocols[i / 3][i % 3]);
    s->into[1] = open_frames();
    s->out4 = open_heard(AF_INET, SOCK_RAW, IPPROTO_RAW);
    s->out6 = open_heard(AF_INET6, SOCK_RAW, IPPROTO_RAW);
    (void)setsockopt(s->out4, IPPROTO_IP, IP_HDRINCL, &on, sizeof on);
    for (int i = 0; i < EAR; i++)
        if (s->hear[i] < 0)
            return tw_fail_errno(s->err, errno, "opening the sockets behind the rules");
    return 0;
}

/* ---- packets as bytes ---- */

static uint32_t sum_of(const unsigned char *p, size_t n, uint32_t sum)
{
    for (size_t i = 0; i + 1 < n; i += 2)
        sum += (uint32_t)p[i] << 8 | p[i + 1];
    return n & 1 ? sum + ((uint32_t)p[n - 1] << 8) : sum;
}

static void put16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)(v >> 8);
    p[1] = (unsigned char)v;
}

static void put32(unsigned char *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

static void put_address(unsigned char *p, size_t len, tw_flow_num n)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (unsigned char)(n >> (120 - 8 * i));
}

/* The number stands where each protocol has room: TCP's sequence, the others' payload. */
static size_t build_transport(const tw_flow_num *f, uint32_t number, unsigned char *b)
{
    unsigned proto = (unsigned)f[TW_FLOW_PROTO];

    memset(b, 0, 32);
    put16(b, (unsigned)f[TW_FLOW_SPORT]);
    put16(b + 2, (unsigned)f[TW_FLOW_DPORT]);
    if (proto == 6) {
        put32(b + 4, number);
        put32(b + 8, f[TW_FLOW_FLAGS] & 16 ? 1 : 0);
        b[12] = 5 << 4;
        b[13] = (unsigned char)f[TW_FLOW_FLAGS];
        put16(b + 14, 1000);
        return 20;
    }
    if (proto == 17) {
        put16(b + 4, 12);
    } else {
        put16(b, (unsigned)(f[TW_FLOW_ICMP_TYPE] << 8 | f[TW_FLOW_ICMP_CODE]));
        put16(b + 2, 0);
        put32(b + 4, number);
    }
    put32(b + 8, number);
    return 12;
}

static size_t build(const struct tw_flow_packet *p, uint32_t number, unsigned char *b)
{
    const tw_flow_num *f = p->field;
    bool v6 = f[TW_FLOW_FAMILY] != 0;
    unsigned proto = (unsigned)f[TW_FLOW_PROTO], dscp = (unsigned)f[TW_FLOW_DSCP];
    size_t head = v6 ? 40 : 20, alen = v6 ? 16 : 4, n;
    unsigned char *addresses = b + (v6 ? 8 : 12), *t = b + head;
    uint32_t sum;

    memset(b, 0, head);
    n = build_transport(f, number, t);
    put_address(addresses, alen, f[TW_FLOW_SADDR]);
    put_address(addresses + alen, alen, f[TW_FLOW_DADDR]);
    if (v6) {
        put16(b, 6U << 12 | dscp << 6);
        put16(b + 4, (unsigned)n);
        b[6] = (unsigned char)proto;
        b[7] = (unsigned char)f[TW_FLOW_TTL];
    } else {
        b[0] = 0x45;
        b[1] = (unsigned char)(dscp << 2);
        put16(b + 2, (unsigned)(head + n));
        put16(b + 4, number & 0xffff);
        b[8] = (unsigned char)f[TW_FLOW_TTL];
        b[9] = (unsigned char)proto;
        sum = sum_of(b, 20, 0);
        while (sum >> 16)
            sum = (sum & 0xffff) + (sum >> 16);
        put16(b + 10, ~sum & 0xffff);
    }
    sum = sum_of(t, n, proto == 1 ? 0 : sum_of(addresses, 2 * alen, (uint32_t)(proto + n)));
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    put16(t + (proto == 6 ? 16 : proto == 17 ? 6 : 2), ~sum & 0xffff);
    return head + n;
}

/* ---- established connections ---- */

#define HEAD sizeof(struct nlattr)

/* A netlink message that grows by attributes. */
struct message {
    unsigned char bytes[512];
    size_t len;
};

static void add_attribute(struct message *m, unsigned type, const void *data, size_t len)
{
    struct nlattr head = {(uint16_t)(HEAD + len), (uint16_t)type};

    memcpy(m->bytes + m->len, &head, sizeof head);
    memcpy(m->bytes + m->len + HEAD, data, len);
    m->len += (HEAD + len + NLA_ALIGNTO - 1) & ~(size_t)(NLA_ALIGNTO - 1);
}

static size_t begin_nest(struct message *m, unsigned type)
{
    size_t at = m->len;

    add_attribute(m, type | NLA_F_NESTED, "", 0);
    return at;
}

static void end_nest(struct message *m, size_t at)
{
    uint16_t len = (uint16_t)(m->len - at);

    memcpy(m->bytes + at, &len, sizeof len);
}

static void add_tuple(struct message *m, unsigned type, const tw_flow_num *f, bool reversed)
{
    bool v6 = f[TW_FLOW_FAMILY] != 0;
    unsigned char src[16], dst[16], proto = (unsigned char)f[TW_FLOW_PROTO], ports[2][2];
    size_t len = v6 ? 16 : 4, tuple = begin_nest(m, type), ip;

    put_address(src, len, f[reversed ? TW_FLOW_DADDR : TW_FLOW_SADDR]);
    put_address(dst, len, f[reversed ? TW_FLOW_SADDR : TW_FLOW_DADDR]);
    put16(ports[0], (unsigned)f[reversed ? TW_FLOW_DPORT : TW_FLOW_SPORT]);
    put16(ports[1], (unsigned)f[reversed ? TW_FLOW_SPORT : TW_FLOW_DPORT]);
    ip = begin_nest(m, CTA_TUPLE_IP);
    add_attribute(m, v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, src, len);
    add_attribute(m, v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, dst, len);
    end_nest(m, ip);
    ip = begin_nest(m, CTA_TUPLE_PROTO);
    add_attribute(m, CTA_PROTO_NUM, &proto, 1);
    add_attribute(m, CTA_PROTO_SRC_PORT, ports[0], 2);
    add_attribute(m, CTA_PROTO_DST_PORT, ports[1], 2);
    end_nest(m, ip);
    end_nest(m, tuple);
}

static void add_tcp_state(struct message *m)
{
    static const unsigned char established = 3, liberal[2] = {8, 8}; /* any window */
    size_t info = begin_nest(m, CTA_PROTOINFO), tcp = begin_nest(m, CTA_PROTOINFO_TCP);

    add_attribute(m, CTA_PROTOINFO_TCP_STATE, &established, 1);
    add_attribute(m, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, liberal, 2);
    add_attribute(m, CTA_PROTOINFO_TCP_FLAGS_REPLY, liberal, 2);
    end_nest(m, tcp);
    end_nest(m, info);
}

static bool establish(int fd, const struct tw_flow_packet *p)
{
    const tw_flow_num *f = p->field;
    bool reversed = f[TW_FLOW_DIRECTION] != 0;
    uint32_t status = htonl(IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED), timeout = htonl(CONNECTION_S);
    struct nlmsghdr head = {.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW,
                            .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE};
    struct nfgenmsg body = {.nfgen_family = f[TW_FLOW_FAMILY] ? AF_INET6 : AF_INET};
    struct message m = {.len = NLMSG_HDRLEN + sizeof body};
    unsigned char answer[1024];
    struct nlmsgerr error = {.error = -EIO};
    ssize_t n;

    add_tuple(&m, CTA_TUPLE_ORIG, f, reversed);
    add_tuple(&m, CTA_TUPLE_REPLY, f, !reversed);
    add_attribute(&m, CTA_STATUS, &status, sizeof status);
    add_attribute(&m, CTA_TIMEOUT, &timeout, sizeof timeout);
    if (f[TW_FLOW_PROTO] == 6)
        add_tcp_state(&m);
    head.nlmsg_len = (uint32_t)m.len;
    memcpy(m.bytes, &head, sizeof head);
    memcpy(m.bytes + NLMSG_HDRLEN, &body, sizeof body);
    n = send(fd, m.bytes, m.len, 0) < 0 ? -1 : recv(fd, answer, sizeof answer, 0);
    if (n >= (ssize_t)(NLMSG_HDRLEN + sizeof error))
        memcpy(&error, answer + NLMSG_HDRLEN, sizeof error);
    return error.error == 0 || error.error == -EEXIST;
}

static void establish_all(struct sending *s)
{
    tw_auto_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

    for (size_t i = 0; i < s->count; i++) {
        struct tw_filter_probe *p = &s->probes[i];

        if (!p->unsent[s->arm] && p->packet.field[TW_FLOW_STATE] == TW_FLOW_ESTABLISHED && !establish(fd, &p->packet))
            p->unsent[s->arm] = "this kernel lets no connection be written into its table";
    }
}

/* ---- sending and hearing ---- */

static void send_one(struct sending *s, size_t i)
{
    const struct tw_filter_probe *p = &s->probes[i];
    bool v6 = p->packet.field[TW_FLOW_FAMILY] != 0, lo = p->packet.field[TW_FLOW_IIF] == tw_flow_name("lo");
    unsigned char b[128];
    size_t n = build(&p->packet, s->first + (uint32_t)i, b);
    struct sockaddr_ll frame = {.sll_family = AF_PACKET,
                                .sll_protocol = htons(v6 ? ETH_P_IPV6 : ETH_P_IP),
                                .sll_ifindex = lo ? (int)if_nametoindex("lo") : s->link[i],
                                .sll_halen = 6,
                                .sll_addr = {2, 0, 0, 0, 0, lo ? 0 : 0x0b}};
    struct sockaddr_in to4 = {.sin_family = AF_INET};
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6};

    if (lo)
        memset(frame.sll_addr, 0, 6);
    memcpy(&to4.sin_addr, b + 16, 4);
    memcpy(&to6.sin6_addr, b + 24, 16);
    if (p->path != TW_FLOW_FROM_HOST)
        (void)sendto(s->into[lo], b, n, 0, (const struct sockaddr *)&frame, sizeof frame);
    else if (v6)
        (void)sendto(s->out6, b, n, 0, (const struct sockaddr *)&to6, sizeof to6);
    else
        (void)sendto(s->out4, b, n, 0, (const struct sockaddr *)&to4, sizeof to4);
}

static uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The number in what came; 0: none. Raw sockets of IPv6 leave its header out. */
static uint32_t number_of(int ear, const unsigned char *b, size_t n)
{
    bool v6 = ear == EAR ? n && b[0] >> 4 == 6 : ear >= 3;
    size_t head = ear >= 3 && ear < EAR ? 0 : v6 ? 40 : 20;
    int proto = ear < EAR ? ear % 3 : n >= 20 ? (v6 ? b[6] : b[9]) : 0;

    if (n < head + 12)
        return 0;
    return get32(b + head + (proto == (ear < EAR ? 0 : 6) ? 4 : 8));
}

static size_t hear_all(struct sending *s)
{
    size_t heard = 0;

    for (int ear = 0; ear < HEARS; ear++)
        for (;;) {
            unsigned char b[256];
            struct sockaddr_ll from = {0};
            socklen_t len = sizeof from;
            ssize_t n = recvfrom(s->hear[ear], b, sizeof b, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
            uint32_t i;

            if (n < 0)
                break;
            if (ear == EAR && from.sll_pkttype == PACKET_OUTGOING)
                continue;
            i = number_of(ear, b, (size_t)n) - s->first;
            /* behind INPUT only what was for the host, at the prober only what left it */
            if (i < s->count && s->due[i] && (s->probes[i].path == TW_FLOW_TO_HOST) == (ear != EAR)) {
                s->probes[i].arrived[s->arm] = true;
                heard++;
            }
        }
    return heard;
}

static bool all_expected(const struct sending *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->due[i] && s->probes[i].expected[s->arm] && !s->probes[i].arrived[s->arm])
            return false;
    return true;
}

/* Until what is expected has come and it is quiet, or nothing came for patience_ns. */
static void listen_for(struct sending *s, int64_t patience_ns)
{
    int64_t last = tw_now_ns();

    for (;;) {
        struct pollfd fds[HEARS];
        int64_t now;

        for (int i = 0; i < HEARS; i++)
            fds[i] = (struct pollfd){.fd = s->hear[i], .events = POLLIN};
        (void)poll(fds, HEARS, 2);
        now = tw_now_ns();
        if (hear_all(s) > 0)
            last = now;
        if (now - last > (all_expected(s) ? QUIET_NS : patience_ns))
            return;
    }
}

#define BATCH 64

static void send_due(struct sending *s, int64_t patience_ns)
{
    size_t sent = 0;

    s->first = s->b->next;
    s->b->next += (uint32_t)s->count + 1;
    for (size_t i = 0; i < s->count; i++) {
        if (!s->due[i])
            continue;
        send_one(s, i);
        if (++sent % BATCH == 0)
            (void)hear_all(s);
    }
    listen_for(s, patience_ns);
}

static size_t missing(const struct sending *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->count; i++) {
        const struct tw_filter_probe *p = &s->probes[i];

        s->due[i] = !p->unsent[s->arm] && p->expected[s->arm] && !p->arrived[s->arm];
        n += s->due[i];
    }
    return n;
}

/* A packet that does not arrive is sent again, with more patience, before that is believed. */
static int send_all(void *arg)
{
    static const int64_t patience[] = {60 * TW_MSEC_NS, 250 * TW_MSEC_NS, TW_SEC_NS,
                                       3 * TW_SEC_NS};
    struct sending *s = arg;
    int r = open_host(s);

    if (r < 0)
        return r;
    establish_all(s);
    for (size_t i = 0; i < s->count; i++)
        s->due[i] = !s->probes[i].unsent[s->arm];
    send_due(s, patience[0]);
    for (size_t i = 1; i < TW_COUNT_OF(patience) && missing(s); i++)
        send_due(s, patience[i]);
    return 0;
}

int tw_filter_send(struct tw_filter_box *b, enum tw_arm arm, struct tw_filter_probes *list, struct tw_err *err)
{
    struct sending s = {.b = b, .probes = list->list.items, .count = list->list.count, .arm = arm, .err = err};
    int *const fds[] = {&s.into[0], &s.into[1], &s.out4, &s.out6};
    int r;

    for (size_t i = 0; i < TW_COUNT_OF(fds); i++)
        *fds[i] = -1;
    for (int i = 0; i < HEARS; i++)
        s.hear[i] = -1;
    s.link = tw_alloc((s.count + 1) * sizeof *s.link);
    s.due = tw_alloc((s.count + 1) * sizeof *s.due);
    r = prepare_host(&s);
    if (r == 0)
        r = tw_priv_netns_run(b->priv, b->prober, open_prober, &s, err);
    if (r == 0)
        r = tw_priv_netns_run(b->priv, b->host, send_all, &s, err);
    for (int i = 0; i < HEARS; i++)
        tw_close_p(&s.hear[i]);
    for (size_t i = 0; i < TW_COUNT_OF(fds); i++)
        tw_close_p(fds[i]);
    free(s.link);
    free(s.due);
    return r;
}
