/* A host in a network namespace of its own and a prober beside it: rule sets are loaded by nft or
 * iptables-restore, raw packets are sent, and what arrives at raw sockets behind INPUT is the
 * kernel's verdict. Everything ends with the process that unshared it; the network of the caller is
 * never touched. */
#ifndef TESTS_LIVE_FLOW_KERNEL_H
#define TESTS_LIVE_FLOW_KERNEL_H

#include "flow_gen.h"

#include "tw/io.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define KERNEL_BATCH    64
#define KERNEL_DEADLINE (20 * TW_SEC_NS)

struct kernel {
    int host_ns, prober_ns;  /* of the host: what is judged; of the prober */
    int send4, send6;        /* in the prober */
    int back4, back6;        /* in the host: begins connections, for established */
    int hear[6];             /* in the host: tcp udp icmp of v4 and v6 */
    char failure[1024];      /* of the last command */
};

GEN int kernel_run(struct kernel *k, const char *const *argv, const char *input, char **ret_out)
{
    struct tw_child child = {.argv = argv,
                             .uid = (unsigned)-1,
                             .gid = (unsigned)-1,
                             .input = input,
                             .deadline_ns = tw_now_ns() + KERNEL_DEADLINE,
                             .max_output = 256 << 20};
    struct tw_child_result res = {0};
    struct tw_err err = {0};
    int r = tw_child_run(&child, &res, &err);

    if (r == 0 && res.status != 0)
        r = -EINVAL;
    if (r < 0)
        (void)snprintf(k->failure, sizeof k->failure, "%s: %.200s %.700s", argv[0], err.text,
                       tw_buf_text(&res.err));
    if (ret_out)
        *ret_out = tw_buf_take(&res.out);
    tw_child_result_done(&res);
    return r;
}

GEN int kernel_sh(struct kernel *k, const char *line)
{
    return kernel_run(k, (const char *const[]){"/bin/sh", "-ec", line, NULL}, NULL, NULL);
}

GEN int kernel_open_raw(int family, int protocol, bool header)
{
    int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, protocol), on = 1, room = 8 << 20, mark = 77;

    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    if (header)
        (void)setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark);
    if (header && family == AF_INET)
        (void)setsockopt(fd, IPPROTO_IP, IP_HDRINCL, &on, sizeof on);
    return fd;
}

/* Quiet: answers of a stack must not make connections out of single packets. */
#define KERNEL_QUIET                                                                         \
    "nft -f - <<'X'\ntable inet quiet {\n chain out {\n type filter hook output priority -500;\n"    \
    "  meta mark 77 accept\n  tcp flags & rst == rst drop\n  icmp type { destination-unreachable, echo-reply, timestamp-reply } drop\n" \
    "  icmpv6 type { destination-unreachable, echo-reply, parameter-problem } drop\n }\n}\nX\n"

GEN int kernel_ready(struct kernel *k);

/* The kernel turns a link on in its own time; what is sent before is lost. */
#define KERNEL_UP(name) "until ip -o link show " name " | grep -q 'state UP'; do sleep 0.02; done\n"

GEN int kernel_open(struct kernel *k)
{
    static const struct {
        int family, protocol;
    } hear[6] = {{AF_INET, 6}, {AF_INET, 17}, {AF_INET, 1}, {AF_INET6, 6}, {AF_INET6, 17}, {AF_INET6, 58}};
    tw_auto_free char *link = NULL;
    cpu_set_t one;
    int r;

    *k = (struct kernel){.host_ns = -1};
    CPU_ZERO(&one); /* one processor: packets stay in order */
    CPU_SET((size_t)sched_getcpu(), &one);
    (void)sched_setaffinity(0, sizeof one, &one);
    if (unshare(CLONE_NEWNET) < 0)
        return -errno;
    k->host_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 6; i++)
        k->hear[i] = kernel_open_raw(hear[i].family, hear[i].protocol, false);
    k->back4 = kernel_open_raw(AF_INET, IPPROTO_RAW, true);
    k->back6 = kernel_open_raw(AF_INET6, IPPROTO_RAW, true);
    if (unshare(CLONE_NEWNET) < 0)
        return -errno;
    k->prober_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    k->send4 = kernel_open_raw(AF_INET, IPPROTO_RAW, true);
    k->send6 = kernel_open_raw(AF_INET6, IPPROTO_RAW, true);
    link = tw_strf(KERNEL_QUIET
                   "ip link set lo up\nip link add va address 02:00:00:00:00:0a type veth peer name vb "
                   "address 02:00:00:00:00:0b netns /proc/%d/fd/%d\n"
                   "echo 0 >/proc/sys/net/ipv6/conf/va/accept_dad\n"
                   "ip addr add 10.9.1.100/24 dev va\nip -6 addr add fd09:1::100/64 dev va nodad\n"
                   "ip link set va up\n"
                   "for i in 1 2 3; do ip neigh add 10.9.1.$i lladdr 02:00:00:00:00:0b dev va; "
                   "ip -6 neigh add fd09:1::$i lladdr 02:00:00:00:00:0b dev va; done",
                   (int)getpid(), k->host_ns);
    r = kernel_sh(k, link);
    if (r < 0)
        return r;
    if (setns(k->host_ns, CLONE_NEWNET) < 0)
        return -errno;
    r = kernel_sh(
        k, KERNEL_QUIET
        "ip link set lo up\n"
        "for i in all vb; do echo 0 >/proc/sys/net/ipv4/conf/$i/rp_filter; done\n"
        "echo 0 >/proc/sys/net/ipv6/conf/vb/accept_dad\n"
        "for i in 1 2 3; do ip addr add 10.9.1.$i/24 dev vb; ip -6 addr add fd09:1::$i/64 dev vb nodad; "
        "done\nip link set vb up\n"
        "for i in 10 11 12 13 14 15 16 17; do ip neigh add 10.9.1.$i lladdr 02:00:00:00:00:0a dev vb; "
        "done\nfor i in a b c d e f 10 11; do ip -6 neigh add fd09:1::$i lladdr 02:00:00:00:00:0a dev vb; "
        "done\n" KERNEL_UP("vb"));
    if (r < 0)
        return r;
    if (setns(k->prober_ns, CLONE_NEWNET) < 0)
        return -errno;
    r = kernel_sh(k, KERNEL_UP("va"));
    if (setns(k->host_ns, CLONE_NEWNET) < 0)
        return -errno;
    return r < 0 ? r : kernel_ready(k);
}

/* ---- packets as bytes ---- */

GEN uint32_t kernel_sum(const unsigned char *p, size_t n, uint32_t sum)
{
    for (size_t i = 0; i + 1 < n; i += 2)
        sum += (uint32_t)p[i] << 8 | p[i + 1];
    if (n & 1)
        sum += (uint32_t)p[n - 1] << 8;
    return sum;
}

GEN void kernel_put16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)(v >> 8);
    p[1] = (unsigned char)v;
}

GEN void kernel_put32(unsigned char *p, uint32_t v)
{
    kernel_put16(p, v >> 16);
    kernel_put16(p + 2, v & 0xffff);
}

GEN void kernel_put_address(unsigned char *p, bool v6, tw_flow_num n)
{
    for (int i = 0; i < (v6 ? 16 : 4); i++)
        p[i] = (unsigned char)(n >> (120 - 8 * i));
}

/* Every packet carries its number where both families' raw sockets show it. */
GEN size_t kernel_transport(const struct tw_flow_packet *p, uint32_t number, unsigned char *b)
{
    unsigned proto = (unsigned)p->field[TW_FLOW_PROTO];

    memset(b, 0, 32);
    if (proto == 6 || proto == 17) {
        kernel_put16(b, (unsigned)p->field[TW_FLOW_SPORT]);
        kernel_put16(b + 2, (unsigned)p->field[TW_FLOW_DPORT]);
    }
    if (proto == 6) {
        kernel_put32(b + 4, number);
        b[12] = 5 << 4;
        b[13] = (unsigned char)p->field[TW_FLOW_FLAGS];
        kernel_put16(b + 14, 1000);
        if (b[13] & 16)
            kernel_put32(b + 8, 1);
        return 20;
    }
    if (proto == 17) {
        kernel_put16(b + 4, 12);
        kernel_put32(b + 8, number);
        return 12;
    }
    b[0] = (unsigned char)p->field[TW_FLOW_ICMP_TYPE];
    b[1] = (unsigned char)p->field[TW_FLOW_ICMP_CODE];
    kernel_put32(b + 4, number); /* id and sequence: a connection of its own */
    kernel_put32(b + 8, number);
    return b[0] == 13 ? 20 : 12;
}

GEN size_t kernel_build(const struct tw_flow_packet *p, uint32_t number, unsigned char *b)
{
    bool v6 = p->field[TW_FLOW_FAMILY] != 0;
    unsigned proto = (unsigned)p->field[TW_FLOW_PROTO], dscp = (unsigned)p->field[TW_FLOW_DSCP];
    size_t head = v6 ? 40 : 20, alen = v6 ? 16 : 4, n;
    unsigned char *addr = b + (v6 ? 8 : 12), *t = b + head;
    uint32_t sum;
    size_t at = proto == 6 ? 16 : proto == 17 ? 6 : 2;

    memset(b, 0, head);
    n = kernel_transport(p, number, t);
    kernel_put_address(addr, v6, p->field[TW_FLOW_SADDR]);
    kernel_put_address(addr + alen, v6, p->field[TW_FLOW_DADDR]);
    if (v6) {
        kernel_put16(b, 6U << 12 | dscp << 6);
        kernel_put16(b + 4, (unsigned)n);
        b[6] = (unsigned char)proto;
        b[7] = (unsigned char)p->field[TW_FLOW_TTL];
    } else {
        b[0] = 0x45;
        b[1] = (unsigned char)(dscp << 2);
        kernel_put16(b + 2, (unsigned)(head + n));
        kernel_put16(b + 4, number & 0xffff);
        b[8] = (unsigned char)p->field[TW_FLOW_TTL];
        b[9] = (unsigned char)proto;
    }
    sum = proto == 1 ? 0 : kernel_sum(addr, 2 * alen, (uint32_t)(proto + n));
    sum = kernel_sum(t, n, sum);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    kernel_put16(t + at, ~sum & 0xffff);
    return head + n;
}

GEN int kernel_emit(int fd4, int fd6, const struct tw_flow_packet *p, uint32_t number)
{
    unsigned char b[128];
    size_t n = kernel_build(p, number, b);
    bool v6 = p->field[TW_FLOW_FAMILY] != 0;
    struct sockaddr_in to4 = {.sin_family = AF_INET};
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6};
    ssize_t sent;

    memcpy(&to4.sin_addr, b + 16, 4);
    memcpy(&to6.sin6_addr, b + 24, 16);
    sent = v6 ? sendto(fd6, b, n, 0, (struct sockaddr *)&to6, sizeof to6)
              : sendto(fd4, b, n, 0, (struct sockaddr *)&to4, sizeof to4);
    return sent < 0 ? -errno : 0;
}

/* ---- arrivals ---- */

GEN uint32_t kernel_get32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The number of what arrived at socket i, and its destination port. */
GEN uint32_t kernel_number(int i, const unsigned char *b, size_t n)
{
    const unsigned char *t = i < 3 ? b + 20 : b;
    size_t left = i < 3 ? (n > 20 ? n - 20 : 0) : n;

    if (left < 12)
        return 0;
    return kernel_get32(i % 3 == 0 ? t + 4 : t + 8);
}

/* All that arrives until the last one, whose number is stop, does. */
GEN int kernel_hear(struct kernel *k, uint32_t first, uint32_t count, uint32_t stop, bool *arrived)
{
    int64_t deadline = tw_now_ns() + KERNEL_DEADLINE;
    bool stopped = false, quiet = false;

    while (!quiet) { /* once more after the last: other sockets were filled before it */
        struct pollfd fds[6];

        if (tw_now_ns() > deadline)
            return -ETIMEDOUT;
        for (int i = 0; i < 6; i++)
            fds[i] = (struct pollfd){.fd = k->hear[i], .events = POLLIN};
        quiet = poll(fds, 6, stopped ? 0 : 100) == 0 && stopped;
        for (int i = 0; i < 6; i++) {
            unsigned char b[512];
            ssize_t n;

            while ((n = recv(k->hear[i], b, sizeof b, MSG_DONTWAIT)) > 0) {
                uint32_t number = kernel_number(i, b, (size_t)n);

                stopped |= number == stop;
                if (number >= first && number < first + count)
                    arrived[number - first] = true;
            }
        }
    }
    return 0;
}

/* Until packets of both families pass: called before there are rules. */
GEN int kernel_ready(struct kernel *k)
{
    int64_t deadline = tw_now_ns() + KERNEL_DEADLINE;

    for (int v6 = 0; v6 < 2; v6++) {
        struct tw_flow_packet p = {{0}};
        bool is6, passed = false;
        uint32_t number = 1;

        (void)tw_flow_address(v6 ? "fd09:1::a" : "10.9.1.10", &is6, &p.field[TW_FLOW_SADDR], NULL);
        (void)tw_flow_address(v6 ? "fd09:1::1" : "10.9.1.1", &is6, &p.field[TW_FLOW_DADDR], NULL);
        p.field[TW_FLOW_FAMILY] = (unsigned)v6;
        p.field[TW_FLOW_PROTO] = 17;
        p.field[TW_FLOW_DPORT] = 65000;
        p.field[TW_FLOW_TTL] = 64;
        while (!passed) {
            struct pollfd heard = {.fd = k->hear[v6 ? 4 : 1], .events = POLLIN};

            if (tw_now_ns() > deadline)
                return -ETIMEDOUT;
            (void)kernel_emit(k->send4, k->send6, &p, number++);
            passed = poll(&heard, 1, 50) > 0;
        }
    }
    return 0;
}

/* A connection begun by the host, so that the packet is a later one of it: a reply. */
GEN int kernel_establish(struct kernel *k, const struct tw_flow_packet *p)
{
    struct tw_flow_packet first = *p;

    first.field[TW_FLOW_SADDR] = p->field[TW_FLOW_DADDR];
    first.field[TW_FLOW_DADDR] = p->field[TW_FLOW_SADDR];
    first.field[TW_FLOW_SPORT] = p->field[TW_FLOW_DPORT];
    first.field[TW_FLOW_DPORT] = p->field[TW_FLOW_SPORT];
    first.field[TW_FLOW_TTL] = 64;
    return kernel_emit(k->back4, k->back6, &first, 0);
}

/* Sends the packets in order and tells which arrived. Numbers are unique over the life of k. */
GEN int kernel_probe(struct kernel *k, const struct tw_flow_packet *p, uint32_t count, bool *ret_arrived)
{
    static uint32_t next = 0x10000;
    uint32_t first = next;
    struct tw_flow_packet last = p[0];
    int r = 0;

    next += count + 1;
    memset(ret_arrived, 0, count * sizeof *ret_arrived);
    for (uint32_t i = 0; i < count && r == 0; i++) {
        if (p[i].field[TW_FLOW_STATE] == TW_FLOW_ESTABLISHED)
            r = kernel_establish(k, &p[i]);
        r = r < 0 ? r : kernel_emit(k->send4, k->send6, &p[i], first + i);
    }
    last.field[TW_FLOW_PROTO] = 17;
    last.field[TW_FLOW_SPORT] = 1;
    last.field[TW_FLOW_DPORT] = 65000;
    last.field[TW_FLOW_TTL] = 64;
    r = r < 0 ? r : kernel_emit(k->send4, k->send6, &last, first + count);
    return r < 0 ? r : kernel_hear(k, first, count, first + count, ret_arrived);
}

/* Forgets every connection of the host. */
GEN int kernel_forget(void)
{
    struct {
        struct nlmsghdr head;
        struct nfgenmsg body;
    } ask = {.head = {.nlmsg_len = sizeof ask,
                      .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
                      .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
             .body = {.nfgen_family = AF_UNSPEC}};
    struct {
        struct nlmsghdr head;
        struct nlmsgerr body;
    } answer = {.body = {.error = -EIO}};
    tw_auto_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

    if (fd < 0 || send(fd, &ask, sizeof ask, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < 0)
        return -errno;
    return answer.body.error;
}

/* ---- one rule set ---- */

struct kernel_count {
    uint64_t pairs, mismatches, may, accepted, sets, with[GEN_CONSTRUCT_COUNT], rules;
    char *first_mismatch; /* owned */
};

GEN const char *const *kernel_tool(const struct gen *g, bool save)
{
    static const char *const tools[2][3][4] = {
        {{"nft", "-f", "-", NULL}, {"iptables-nft-restore", NULL}, {"ip6tables-nft-restore", NULL}},
        {{"nft", "-j", "list", NULL}, {"iptables-nft-save", NULL}, {"ip6tables-nft-save", NULL}}};

    return tools[save][g->xtables ? 1 + g->v6 : 0];
}

/* Loads it, reads back what the kernel has, makes the model's rules of that. */
GEN int kernel_load(struct kernel *k, struct tw_arena *a, const struct gen *g,
                    const struct tw_flow_rules **ret, char **ret_text, struct tw_err *err)
{
    static const char *const nft_list[] = {"nft", "-j", "list", "ruleset", NULL};
    int r;

    *ret_text = NULL;
    r = kernel_sh(k, "nft flush ruleset; " KERNEL_QUIET);
    r = r < 0 ? r : kernel_run(k, kernel_tool(g, false), g->out.data, NULL);
    r = r < 0 ? r : kernel_run(k, g->xtables ? kernel_tool(g, true) : nft_list, NULL, ret_text);
    if (r < 0)
        return tw_fail(err, r, "%s", k->failure);
    return g->xtables ? tw_flow_read_iptables(a, *ret_text, strlen(*ret_text), g->v6, ret, err)
                      : tw_flow_read_nft(a, *ret_text, strlen(*ret_text), ret, err);
}

/* No two packets of one rule set belong to one connection, nor do after their destinations were
 * translated: the kernel would then choose another port. */
GEN bool kernel_known(const struct tw_flow_packet *p, uint32_t n)
{
    static const enum tw_flow_field tuple[] = {TW_FLOW_FAMILY, TW_FLOW_PROTO, TW_FLOW_SADDR,
                                               TW_FLOW_SPORT};

    for (uint32_t i = 0; i < n; i++) {
        size_t same = 0;

        for (size_t f = 0; f < TW_COUNT_OF(tuple); f++)
            same += p[i].field[tuple[f]] == p[n].field[tuple[f]];
        if (same == TW_COUNT_OF(tuple) && (p[n].field[TW_FLOW_PROTO] == 6 || p[n].field[TW_FLOW_PROTO] == 17))
            return true;
    }
    return false;
}

GEN void kernel_packets(struct gen *g, struct tw_flow_packet *p, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        do
            gen_packet(g, g->xtables ? g->v6 : gen_one_in(g, 3), &p[i]);
        while (kernel_known(p, i));
        if (!g->used[GEN_NAT] && !g->used[GEN_NOTRACK] && gen_one_in(g, 6) &&
            p[i].field[TW_FLOW_PROTO] == 17) {
            p[i].field[TW_FLOW_STATE] = TW_FLOW_ESTABLISHED;
            p[i].field[TW_FLOW_DIRECTION] = 1;
        }
    }
}

GEN int kernel_pairs(struct kernel *k, struct gen *g, uint32_t count, struct kernel_count *c,
                     struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto_free char *text = NULL;
    const struct tw_flow_rules *rules;
    struct tw_flow_packet p[KERNEL_BATCH];
    bool arrived[KERNEL_BATCH];
    int r = kernel_load(k, a, g, &rules, &text, err);

    if (r < 0)
        return r;
    tw_auto(tw_flow_space) *s = tw_flow_space_new(&rules, 1, 0);

    kernel_packets(g, p, count);
    r = kernel_forget();
    r = r < 0 ? r : kernel_probe(k, p, count, arrived);
    if (r < 0)
        return tw_fail_errno(err, -r, "sending and hearing packets");
    for (uint32_t i = 0; i < count && r == 0; i++) {
        enum tw_flow_answer x = tw_flow_evaluate(rules, TW_FLOW_TO_HOST, &p[i]), y = x;

        r = tw_flow_ask(s, rules, TW_FLOW_TO_HOST, &p[i], &y, err);
        c->pairs++;
        c->may += y == TW_FLOW_MAY;
        c->accepted += arrived[i];
        if (x == y && (y == TW_FLOW_MAY || (y == TW_FLOW_ACCEPT) == arrived[i]))
            continue;
        c->mismatches++;
        if (!c->first_mismatch)
            c->first_mismatch =
                tw_strf("%s: kernel %s, diagrams %s, evaluator %s\n%s\n", tw_flow_packet_text(a, &p[i]),
                        arrived[i] ? "accept" : "drop", tw_flow_answer_names[y],
                        tw_flow_answer_names[x], g->out.data);
    }
    c->sets++;
    c->rules += (uint64_t)g->rules;
    for (int i = 0; i < GEN_CONSTRUCT_COUNT; i++)
        c->with[i] += g->used[i];
    return r;
}
#endif
