/* Rules that drop packets or hand them to our process: tables of our own in nf_tables, written as
 * one transaction of nfnetlink, so that no tool is needed and no other table is touched. IPv4 and IPv6
 * have a table each, since the queue of xt that older and smaller kernels have exists only there. */
#include "shape_internal.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TABLE        "twin_shape"
#define ROOM         16384
#define MESSAGES_MAX 64
#define AFTER_NAT    300  /* out: behind everybody's rules */
#define BEFORE_ALL   -460 /* in: before connection tracking */

/* A batch of messages on its way. */
struct batch {
    char data[ROOM] __attribute__((aligned(8)));
    size_t len;
    size_t message; /* where the last one begins */
    uint32_t sequence;
    bool full;
};

/* ---- writing ---- */

static void *put(struct batch *b, size_t len)
{
    size_t at = b->len, whole = SHAPE_ALIGN(len);

    if (at + whole > sizeof b->data) {
        b->full = true;
        return b->data; /* of no use to anybody: the batch is not sent */
    }
    memset(b->data + at, 0, whole);
    b->len += whole;
    return b->data + at;
}

static struct nlmsghdr *head_of(struct batch *b, size_t at)
{
    return (struct nlmsghdr *)(void *)(b->data + at);
}

static void end_message(struct batch *b)
{
    if (b->sequence)
        head_of(b, b->message)->nlmsg_len = (uint32_t)(b->len - b->message);
}

static void begin(struct batch *b, unsigned short type, unsigned short flags,
                  unsigned char family, unsigned short resource)
{
    struct nfgenmsg *body;

    end_message(b);
    b->message = b->len;
    *(struct nlmsghdr *)put(b, sizeof(struct nlmsghdr)) =
        (struct nlmsghdr){.nlmsg_type = type,
                          .nlmsg_flags = (unsigned short)(NLM_F_REQUEST | flags),
                          .nlmsg_seq = ++b->sequence};
    body = put(b, sizeof *body);
    body->nfgen_family = family;
    body->version = NFNETLINK_V0;
    body->res_id = htons(resource);
}

static void begin_nft(struct batch *b, unsigned short kind, unsigned short flags,
                      unsigned char family)
{
    begin(b, (unsigned short)(NFNL_SUBSYS_NFTABLES << 8 | kind),
          (unsigned short)(flags | NLM_F_ACK), family, 0);
}

static void add(struct batch *b, unsigned short type, const void *data, size_t len)
{
    struct nlattr *at = put(b, SHAPE_HEAD + len);

    if (b->full)
        return;
    at->nla_type = type;
    at->nla_len = (unsigned short)(SHAPE_HEAD + len);
    memcpy((char *)at + SHAPE_HEAD, data, len);
}

static void add_text(struct batch *b, unsigned short type, const char *text)
{
    add(b, type, text, strlen(text) + 1);
}

static void add_u32(struct batch *b, unsigned short type, uint32_t value)
{
    uint32_t big = htonl(value);

    add(b, type, &big, sizeof big);
}

static size_t open_nest(struct batch *b, unsigned short type)
{
    size_t at = b->len;

    add(b, (unsigned short)(type | NLA_F_NESTED), "", 0);
    return at;
}

static void close_nest(struct batch *b, size_t at)
{
    if (!b->full)
        ((struct nlattr *)(void *)(b->data + at))->nla_len = (unsigned short)(b->len - at);
}

/* ---- expressions of a rule ---- */

struct expression {
    size_t element, data;
};

static struct expression open_expression(struct batch *b, const char *name)
{
    struct expression e = {.element = open_nest(b, NFTA_LIST_ELEM)};

    add_text(b, NFTA_EXPR_NAME, name);
    e.data = open_nest(b, NFTA_EXPR_DATA);
    return e;
}

static void close_expression(struct batch *b, struct expression e)
{
    close_nest(b, e.data);
    close_nest(b, e.element);
}

static void compare(struct batch *b, uint32_t op, const void *data, size_t len)
{
    struct expression e = open_expression(b, "cmp");
    size_t value;

    add_u32(b, NFTA_CMP_SREG, NFT_REG_1);
    add_u32(b, NFTA_CMP_OP, op);
    value = open_nest(b, NFTA_CMP_DATA);
    add(b, NFTA_DATA_VALUE, data, len);
    close_nest(b, value);
    close_expression(b, e);
}

static void match_link(struct batch *b, enum tw_shape_way way, const char *link)
{
    struct expression e = open_expression(b, "meta");
    char name[IFNAMSIZ] = {0};

    add_u32(b, NFTA_META_DREG, NFT_REG_1);
    add_u32(b, NFTA_META_KEY, way == TW_SHAPE_OUT ? NFT_META_OIFNAME : NFT_META_IIFNAME);
    close_expression(b, e);
    memcpy(name, link, strnlen(link, IFNAMSIZ - 1));
    compare(b, NFT_CMP_EQ, name, sizeof name);
}

/* Of IPv4 and IPv6: where the two addresses stand in a header, and how long they are. */
static const struct family {
    unsigned char number;
    uint32_t source, destination, len;
} families[] = {{NFPROTO_IPV4, 12, 16, 4}, {NFPROTO_IPV6, 8, 24, 16}};

static void match_bytes(struct batch *b, uint32_t base, uint32_t offset, const void *data, size_t len)
{
    struct expression e = open_expression(b, "payload");

    add_u32(b, NFTA_PAYLOAD_DREG, NFT_REG_1);
    add_u32(b, NFTA_PAYLOAD_BASE, base);
    add_u32(b, NFTA_PAYLOAD_OFFSET, offset);
    add_u32(b, NFTA_PAYLOAD_LEN, (uint32_t)len);
    close_expression(b, e);
    compare(b, NFT_CMP_EQ, data, len);
}

static void match_peer(struct batch *b, enum tw_shape_way way, const struct family *f,
                       const unsigned char *address)
{
    match_bytes(b, NFT_PAYLOAD_NETWORK_HEADER, way == TW_SHAPE_OUT ? f->destination : f->source, address,
                f->len);
}

/* The port of the other side is the destination of what goes out; of this side its source. */
static void match_port(struct batch *b, enum tw_shape_way way, int port, bool here)
{
    const unsigned char tcp = IPPROTO_TCP;
    uint16_t number = htons((uint16_t)port);
    struct expression e = open_expression(b, "meta");

    add_u32(b, NFTA_META_DREG, NFT_REG_1);
    add_u32(b, NFTA_META_KEY, NFT_META_L4PROTO);
    close_expression(b, e);
    compare(b, NFT_CMP_EQ, &tcp, sizeof tcp);
    match_bytes(b, NFT_PAYLOAD_TRANSPORT_HEADER, (way == TW_SHAPE_OUT) == here ? 0 : 2, &number,
                sizeof number);
}

/* A random number below 2^32 - 1, in the order of the network, below the share. */
static void match_share(struct batch *b, double share)
{
    uint32_t bound = htonl((uint32_t)(share * (double)UINT32_MAX));
    struct expression e = open_expression(b, "numgen");

    add_u32(b, NFTA_NG_DREG, NFT_REG_1);
    add_u32(b, NFTA_NG_MODULUS, UINT32_MAX);
    add_u32(b, NFTA_NG_TYPE, NFT_NG_RANDOM);
    close_expression(b, e);
    e = open_expression(b, "byteorder");
    add_u32(b, NFTA_BYTEORDER_SREG, NFT_REG_1);
    add_u32(b, NFTA_BYTEORDER_DREG, NFT_REG_1);
    add_u32(b, NFTA_BYTEORDER_OP, NFT_BYTEORDER_HTON);
    add_u32(b, NFTA_BYTEORDER_LEN, 4);
    add_u32(b, NFTA_BYTEORDER_SIZE, 4);
    close_expression(b, e);
    compare(b, NFT_CMP_LT, &bound, sizeof bound);
}

static void drop(struct batch *b)
{
    struct expression e = open_expression(b, "immediate");
    size_t data, verdict;

    add_u32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    data = open_nest(b, NFTA_IMMEDIATE_DATA);
    verdict = open_nest(b, NFTA_DATA_VERDICT);
    add_u32(b, NFTA_VERDICT_CODE, NF_DROP);
    close_nest(b, verdict);
    close_nest(b, data);
    close_expression(b, e);
}

/* Where nobody holds the queue, packets pass: a link must not stay dead behind a killed process. */
static void hand_over(struct batch *b, unsigned short queue, bool nft)
{
    const struct {
        struct xt_NFQ_info_v3 info;
        char align[2];
    } target = {{queue, 1, NFQ_FLAG_BYPASS}, {0}};
    uint16_t number = htons(queue), one = htons(1), flags = htons(NFT_QUEUE_FLAG_BYPASS);
    struct expression e = open_expression(b, nft ? "queue" : "target");

    if (nft) {
        add(b, NFTA_QUEUE_NUM, &number, sizeof number);
        add(b, NFTA_QUEUE_TOTAL, &one, sizeof one);
        add(b, NFTA_QUEUE_FLAGS, &flags, sizeof flags);
    } else {
        add_text(b, NFTA_TARGET_NAME, "NFQUEUE");
        add_u32(b, NFTA_TARGET_REV, 3);
        add(b, NFTA_TARGET_INFO, &target, sizeof target);
    }
    close_expression(b, e);
}

/* ---- tables ---- */

struct place {
    const char *table;
    const struct shape_match *match;
    const struct family *family;
    const unsigned char *peer; /* NULL: everybody */
    bool queue_nft;
};

static const char *const chain_names[TW_SHAPE_WAYS] = {"out", "in"};

static void add_chain(struct batch *b, const struct place *p, enum tw_shape_way way)
{
    size_t hook;

    begin_nft(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE, p->family->number);
    add_text(b, NFTA_CHAIN_TABLE, p->table);
    add_text(b, NFTA_CHAIN_NAME, chain_names[way]);
    hook = open_nest(b, NFTA_CHAIN_HOOK);
    add_u32(b, NFTA_HOOK_HOOKNUM,
            way == TW_SHAPE_OUT ? NF_INET_POST_ROUTING : NF_INET_PRE_ROUTING);
    add_u32(b, NFTA_HOOK_PRIORITY,
            (uint32_t)(way == TW_SHAPE_OUT ? AFTER_NAT : BEFORE_ALL));
    close_nest(b, hook);
    add_text(b, NFTA_CHAIN_TYPE, "filter");
}

static void add_rule(struct batch *b, const struct place *p, enum tw_shape_way way,
                     enum shape_tool tool, const struct shape_rule *rule)
{
    size_t list;

    begin_nft(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, p->family->number);
    add_text(b, NFTA_RULE_TABLE, p->table);
    add_text(b, NFTA_RULE_CHAIN, chain_names[way]);
    list = open_nest(b, NFTA_RULE_EXPRESSIONS);
    match_link(b, way, p->match->link);
    if (p->peer)
        match_peer(b, way, p->family, p->peer);
    if (p->match->port)
        match_port(b, way, p->match->port, p->match->port_here);
    if (tool == SHAPE_LOSS)
        match_share(b, rule->loss);
    if (tool == SHAPE_QUEUE)
        hand_over(b, rule->queue, p->queue_nft);
    else
        drop(b);
    close_nest(b, list);
}

static void add_table(struct batch *b, const struct place *p,
                      const struct shape_rule rules[TW_SHAPE_WAYS])
{
    static const enum shape_tool tools[] = {SHAPE_DROP, SHAPE_LOSS, SHAPE_QUEUE};

    begin_nft(b, NFT_MSG_NEWTABLE, NLM_F_CREATE, p->family->number);
    add_text(b, NFTA_TABLE_NAME, p->table);
    for (int way = 0; way < TW_SHAPE_WAYS; way++) {
        if (!rules[way].tools)
            continue;
        add_chain(b, p, (enum tw_shape_way)way);
        for (size_t i = 0; i < TW_COUNT_OF(tools); i++)
            if (rules[way].tools & tools[i])
                add_rule(b, p, (enum tw_shape_way)way, tools[i], &rules[way]);
    }
}

/* Made first, so that there is something to be deleted. */
static void remove_table(struct batch *b, const char *table, unsigned char family)
{
    static const unsigned short kinds[] = {NFT_MSG_NEWTABLE, NFT_MSG_DELTABLE};

    for (size_t i = 0; i < TW_COUNT_OF(kinds); i++) {
        begin_nft(b, kinds[i], i == 0 ? NLM_F_CREATE : 0, family);
        add_text(b, NFTA_TABLE_NAME, table);
    }
}

/* ---- sending ---- */

/* Netlink works in our own time: all answers are there when send() is back. The first that is an
 * error is the cause, the others are its consequence. */
static int first_error(int sock)
{
    char answer[8192] __attribute__((aligned(8)));
    int result = 0;
    ssize_t got;

    while ((got = recv(sock, answer, sizeof answer, MSG_DONTWAIT)) > 0)
        for (struct nlmsghdr *h = (struct nlmsghdr *)(void *)answer;
             NLMSG_OK(h, (size_t)got); h = NLMSG_NEXT(h, got))
            if (h->nlmsg_type == NLMSG_ERROR && result == 0)
                result = ((struct nlmsgerr *)NLMSG_DATA(h))->error;
    return result;
}

static void begin_batch(struct batch *b)
{
    memset(b, 0, sizeof *b);
    begin(b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
}

static int send_batch(struct batch *b)
{
    tw_auto_close int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

    begin(b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    end_message(b);
    if (b->full)
        return -EMSGSIZE;
    if (sock < 0 || send(sock, b->data, b->len, 0) < 0)
        return -errno;
    return first_error(sock);
}

/* ---- for the rest of the room ---- */

int shape_rules_set(unsigned number, const struct shape_match *match,
                    const struct shape_rule rules[TW_SHAPE_WAYS], bool queue_nft)
{
    tw_auto_free char *table = tw_strf(TABLE "%u", number);
    const char *peer = match->peer;
    unsigned char address[16];
    bool six = peer && strchr(peer, ':');
    struct batch b;

    if (peer && inet_pton(six ? AF_INET6 : AF_INET, peer, address) != 1)
        return -EINVAL;
    begin_batch(&b);
    for (size_t i = 0; i < TW_COUNT_OF(families); i++) {
        struct place p = {table, match, &families[i], peer ? address : NULL, queue_nft};

        remove_table(&b, table, families[i].number);
        if (!peer || six == (i == 1))
            add_table(&b, &p, rules);
    }
    return send_batch(&b);
}

int shape_rules_delete(unsigned number)
{
    tw_auto_free char *table = tw_strf(TABLE "%u", number);
    struct batch b;

    begin_batch(&b);
    for (size_t i = 0; i < TW_COUNT_OF(families); i++)
        remove_table(&b, table, families[i].number);
    return send_batch(&b);
}

int shape_rules_try(bool random, bool queue, bool queue_nft)
{
    const struct shape_rule rules[TW_SHAPE_WAYS] = {
        {(random ? SHAPE_LOSS : SHAPE_DROP) | (queue ? SHAPE_QUEUE : 0), 0.5, 0}, {0}};
    const struct shape_match match = {.link = "lo"};
    int r = shape_rules_set(0, &match, rules, queue_nft);

    (void)shape_rules_delete(0);
    return r;
}

static bool is_ours(const struct nlmsghdr *h)
{
    const char *at = (const char *)h + NLMSG_SPACE(sizeof(struct nfgenmsg)),
               *end = (const char *)h + h->nlmsg_len;

    while (at + SHAPE_HEAD <= end) {
        const struct nlattr *a = (const struct nlattr *)(const void *)at;

        if (a->nla_len < SHAPE_HEAD)
            return false;
        if (a->nla_type == NFTA_TABLE_NAME && tw_starts_with(at + SHAPE_HEAD, TABLE))
            return true;
        at += SHAPE_ALIGN(a->nla_len);
    }
    return false;
}

int shape_rules_count(void)
{
    tw_auto_close int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    char answer[16384] __attribute__((aligned(8)));
    struct batch b = {.len = 0};
    int count = 0;

    begin(&b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, NLM_F_DUMP, NFPROTO_UNSPEC, 0);
    end_message(&b);
    if (sock < 0 || send(sock, b.data, b.len, 0) < 0)
        return -errno;
    for (;;) {
        ssize_t got = recv(sock, answer, sizeof answer, 0);

        if (got <= 0)
            return -errno;
        for (struct nlmsghdr *h = (struct nlmsghdr *)(void *)answer;
             NLMSG_OK(h, (size_t)got); h = NLMSG_NEXT(h, got)) {
            if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
                return count;
            count += is_ours(h);
        }
    }
}
