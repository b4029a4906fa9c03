/* Fields and the words people have for their values. */
#include "flow_internal.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

const char *const tw_flow_state_names[TW_FLOW_STATE_COUNT] = {"invalid", "established", "related",
                                                              "new", "untracked"};
const char *const tw_flow_hook_names[TW_FLOW_HOOK_COUNT] = {"prerouting", "input", "forward",
                                                            "output", "postrouting"};
const char *const tw_flow_path_names[TW_FLOW_PATH_COUNT] = {"to this host", "through this host",
                                                            "from this host"};
const char *const tw_flow_answer_names[TW_FLOW_ANSWER_COUNT] = {"drop", "accept", "may"};
const char *const tw_flow_useless_names[TW_FLOW_USELESS_COUNT] = {"shadowed", "redundant",
                                                                  "never matched"};
const char *const tw_flow_reach_names[TW_FLOW_REACH_COUNT] = {"no", "part", "yes", "may"};
const char *const flow_flag_names[8] = {"fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"};
static const char *const families[] = {"v4", "v6"}, *const directions[] = {"original", "reply"},
                         *const yes_no[] = {"no", "yes"},
                         *const dtypes[] = {"unicast", "local", "broadcast", "multicast"},
                         *const pkttypes[] = {"host", "broadcast", "multicast", "other"};

#define WORDS(w) w, TW_COUNT_OF(w)
const struct flow_field_row flow_fields[TW_FLOW_FIELD_COUNT] = {
    [TW_FLOW_FAMILY] = {"family", 1, WORDS(families)},
    [TW_FLOW_PROTO] = {"protocol", 8, NULL, 0},
    [TW_FLOW_STATE] = {"state", 3, WORDS(tw_flow_state_names)},
    [TW_FLOW_DIRECTION] = {"direction", 1, WORDS(directions)},
    [TW_FLOW_DNAT] = {"dnat", 1, WORDS(yes_no)},
    [TW_FLOW_DTYPE] = {"destination type", 2, WORDS(dtypes)},
    [TW_FLOW_PKTTYPE] = {"packet type", 2, WORDS(pkttypes)},
    [TW_FLOW_IIF] = {"in", 17, NULL, 0},
    [TW_FLOW_OIF] = {"out", 17, NULL, 0},
    [TW_FLOW_DPORT] = {"port", 16, NULL, 0},
    [TW_FLOW_ICMP_TYPE] = {"type", 8, NULL, 0},
    [TW_FLOW_ICMP_CODE] = {"code", 8, NULL, 0},
    [TW_FLOW_FLAGS] = {"flags", 8, NULL, 0},
    [TW_FLOW_DADDR] = {"to", 128, NULL, 0},
    [TW_FLOW_SADDR] = {"from", 128, NULL, 0},
    [TW_FLOW_SPORT] = {"source port", 16, NULL, 0},
    [TW_FLOW_MARK] = {"mark", 32, NULL, 0},
    [TW_FLOW_CTMARK] = {"connection mark", 32, NULL, 0},
    [TW_FLOW_TTL] = {"ttl", 8, NULL, 0},
    [TW_FLOW_DSCP] = {"dscp", 6, NULL, 0},
};

const struct flow_word flow_icmp_types[] = {{"echo-reply", 0},
                                            {"pong", 0},
                                            {"destination-unreachable", 3},
                                            {"source-quench", 4},
                                            {"redirect", 5},
                                            {"echo-request", 8},
                                            {"ping", 8},
                                            {"router-advertisement", 9},
                                            {"router-solicitation", 10},
                                            {"time-exceeded", 11},
                                            {"ttl-exceeded", 11},
                                            {"parameter-problem", 12},
                                            {"timestamp-request", 13},
                                            {"timestamp-reply", 14},
                                            {"info-request", 15},
                                            {"info-reply", 16},
                                            {"address-mask-request", 17},
                                            {"address-mask-reply", 18},
                                            {NULL, 0}};
const struct flow_word flow_icmpv6_types[] = {{"destination-unreachable", 1},
                                              {"packet-too-big", 2},
                                              {"time-exceeded", 3},
                                              {"ttl-exceeded", 3},
                                              {"parameter-problem", 4},
                                              {"echo-request", 128},
                                              {"echo-reply", 129},
                                              {"mld-listener-query", 130},
                                              {"mld-listener-report", 131},
                                              {"mld-listener-done", 132},
                                              {"mld-listener-reduction", 132},
                                              {"nd-router-solicit", 133},
                                              {"router-solicitation", 133},
                                              {"nd-router-advert", 134},
                                              {"router-advertisement", 134},
                                              {"nd-neighbor-solicit", 135},
                                              {"neighbor-solicitation", 135},
                                              {"neighbour-solicitation", 135},
                                              {"nd-neighbor-advert", 136},
                                              {"neighbor-advertisement", 136},
                                              {"neighbour-advertisement", 136},
                                              {"nd-redirect", 137},
                                              {"redirect", 137},
                                              {"router-renumbering", 138},
                                              {"ind-neighbor-solicit", 141},
                                              {"ind-neighbor-advert", 142},
                                              {"mld2-listener-report", 143},
                                              {NULL, 0}};
const struct flow_word flow_icmp_codes[] = {
    {"net-unreachable", 0},  {"host-unreachable", 1}, {"prot-unreachable", 2},
    {"port-unreachable", 3}, {"frag-needed", 4},      {"net-prohibited", 9},
    {"host-prohibited", 10}, {"admin-prohibited", 13}, {NULL, 0}};
const struct flow_word flow_icmpv6_codes[] = {{"no-route", 0},         {"admin-prohibited", 1},
                                              {"addr-unreachable", 3}, {"port-unreachable", 4},
                                              {"policy-fail", 5},      {"reject-route", 6},
                                              {NULL, 0}};
const struct flow_word flow_dscp_words[] = {
    {"cs0", 0},   {"cs1", 8},   {"cs2", 16},  {"cs3", 24},  {"cs4", 32},  {"cs5", 40},
    {"cs6", 48},  {"cs7", 56},  {"be", 0},    {"df", 0},    {"lephb", 1}, {"va", 44},
    {"af11", 10}, {"af12", 12}, {"af13", 14}, {"af21", 18}, {"af22", 20}, {"af23", 22},
    {"af31", 26}, {"af32", 28}, {"af33", 30}, {"af41", 34}, {"af42", 36}, {"af43", 38},
    {"ef", 46},   {NULL, 0}};
static const struct flow_word protocols[] = {
    {"icmp", 1},     {"igmp", 2},     {"ipencap", 4},    {"tcp", 6},        {"udp", 17},
    {"dccp", 33},    {"ipv6", 41},    {"ipv6-route", 43}, {"ipv6-frag", 44}, {"gre", 47},
    {"esp", 50},     {"ah", 51},      {"ipv6-icmp", 58}, {"icmpv6", 58},    {"ipv6-nonxt", 59},
    {"ospf", 89},    {"pim", 103},    {"comp", 108},     {"ipcomp", 108},   {"vrrp", 112},
    {"l2tp", 115},   {"sctp", 132},   {"udplite", 136},  {"mptcp", 262},    {NULL, 0}};
/* What iptables-save and nft print is numeric; these are for hand-written files and for readers. */
static const struct flow_word ports[] = {
    {"ftp-data", 20}, {"ftp", 21},     {"ssh", 22},      {"telnet", 23},       {"smtp", 25},
    {"domain", 53},   {"bootps", 67},  {"bootpc", 68},   {"http", 80},         {"kerberos", 88},
    {"pop3", 110},    {"ntp", 123},    {"imap2", 143},   {"snmp", 161},        {"ldap", 389},
    {"https", 443},   {"submission", 587}, {"ldaps", 636}, {"imaps", 993},     {"pop3s", 995},
    {"mysql", 3306},  {"postgresql", 5432}, {NULL, 0}};

int flow_word_find(const struct flow_word *words, const char *name)
{
    for (; words->name; words++)
        if (strcmp(words->name, name) == 0)
            return (int)words->value;
    return -1;
}

static int number_or_word(const struct flow_word *words, const char *text, unsigned max)
{
    char *end;
    unsigned long n = strtoul(text, &end, 0);

    if (end != text && *end == '\0')
        return n <= max ? (int)n : -1;
    return flow_word_find(words, text);
}

int flow_proto(const char *word)
{
    return number_or_word(protocols, word, 255);
}

int flow_port(const char *word)
{
    return number_or_word(ports, word, 65535);
}

const char *flow_proto_name(struct tw_arena *a, int proto)
{
    for (const struct flow_word *w = protocols; w->name; w++)
        if ((int)w->value == proto)
            return w->name;
    return tw_arena_printf(a, "protocol %d", proto);
}

bool flow_has_ports(tw_flow_num proto)
{
    return proto == 6 || proto == 17 || proto == 33 || proto == 132 || proto == 136;
}

tw_flow_num flow_field_max(enum tw_flow_field f)
{
    if (f == TW_FLOW_IIF || f == TW_FLOW_OIF || flow_fields[f].bits == 128)
        return FLOW_ALL;
    return ((tw_flow_num)1 << flow_fields[f].bits) - 1;
}

/* ---- addresses and names ---- */

tw_flow_num tw_flow_name(const char *interface)
{
    tw_flow_num n = 0;
    size_t len = strlen(interface);

    for (size_t i = 0; i < 16; i++)
        n = n << 8 | (i < len ? (unsigned char)interface[i] : 0);
    return n;
}

char *flow_name_text(struct tw_arena *a, tw_flow_num n)
{
    char name[17] = {0};

    for (int i = 0; i < 16; i++)
        name[i] = (char)(n >> (120 - 8 * i));
    return tw_arena_strdup(a, name);
}

int tw_flow_address(const char *text, bool *ret_v6, tw_flow_num *ret, struct tw_err *err)
{
    unsigned char bytes[16] = {0};
    tw_flow_num n = 0;

    *ret_v6 = strchr(text, ':') != NULL;
    if (inet_pton(*ret_v6 ? AF_INET6 : AF_INET, text, bytes) != 1)
        return tw_fail(err, -EINVAL, "'%s' is no address", text);
    for (int i = 0; i < 16; i++)
        n = n << 8 | bytes[i];
    *ret = n;
    return 0;
}

char *flow_address_text(struct tw_arena *a, bool v6, tw_flow_num n)
{
    unsigned char bytes[16];
    char text[INET6_ADDRSTRLEN] = "";

    for (int i = 0; i < 16; i++)
        bytes[i] = (unsigned char)(n >> (120 - 8 * i));
    (void)inet_ntop(v6 ? AF_INET6 : AF_INET, bytes, text, sizeof text);
    return tw_arena_strdup(a, text);
}

int tw_flow_prefix(const char *text, struct tw_flow_prefix *ret, struct tw_err *err)
{
    tw_auto_free char *first = strdup(text);
    char *slash = strchr(first, '/'), *dash = strchr(first, '-');
    struct tw_flow_prefix p = {0};
    int64_t len;
    bool v6;
    int r;

    if (slash)
        *slash++ = '\0';
    if (dash)
        *dash++ = '\0';
    r = tw_flow_address(first, &p.v6, &p.first, err);
    if (r < 0)
        return r;
    len = p.v6 ? 128 : 32;
    if (slash && (tw_parse_int64(slash, &len, NULL) < 0 || len < 0 || len > (p.v6 ? 128 : 32)))
        return tw_fail(err, -EINVAL, "'%s' has no prefix length of 0..%d", text, p.v6 ? 128 : 32);
    p.last = p.first;
    if (dash && (tw_flow_address(dash, &v6, &p.last, err) < 0 || v6 != p.v6 || p.last < p.first))
        return tw_fail(err, -EINVAL, "'%s' is no range of addresses, the smaller first", text);
    if (!dash) {
        tw_flow_num host = len == 128 ? 0 : FLOW_ALL >> len;

        p.first &= ~host;
        p.last = p.first | host;
    } else if (!p.v6) {
        p.last |= FLOW_ALL >> 32;
    }
    *ret = p;
    return 0;
}

/* ---- text ---- */

static char *address_range(struct tw_arena *a, bool v6, struct flow_range r)
{
    tw_flow_num diff = r.lo ^ r.hi;
    int len = 128;

    while (diff) {
        diff >>= 1;
        len--;
    }
    if (len == 128 || (!v6 && len >= 32))
        return flow_address_text(a, v6, r.lo);
    if ((r.lo & (FLOW_ALL >> len)) == 0 && (~r.hi & (FLOW_ALL >> len)) == 0)
        return tw_arena_printf(a, "%s/%d", flow_address_text(a, v6, r.lo), len);
    return tw_arena_printf(a, "%s-%s", flow_address_text(a, v6, r.lo),
                           flow_address_text(a, v6, r.hi));
}

static char *flags_text(struct tw_arena *a, unsigned flags)
{
    char *text = tw_arena_strdup(a, flags ? "" : "none");

    for (int i = 0; i < 8; i++)
        if (flags >> i & 1)
            text = tw_arena_printf(a, "%s%s%s", text, *text ? "+" : "", flow_flag_names[i]);
    return text;
}

char *flow_range_text(struct tw_arena *a, enum tw_flow_field f, bool v6, struct flow_range r)
{
    const struct flow_field_row *row = &flow_fields[f];

    if (f == TW_FLOW_SADDR || f == TW_FLOW_DADDR)
        return address_range(a, v6, r);
    if (f == TW_FLOW_PROTO && r.lo == r.hi)
        return tw_arena_strdup(a, flow_proto_name(a, (int)r.lo));
    if (f == TW_FLOW_FLAGS && r.lo == r.hi)
        return flags_text(a, (unsigned)r.lo);
    if (row->words && r.lo < row->word_count) {
        char *text = tw_arena_strdup(a, row->words[r.lo]);

        for (tw_flow_num i = r.lo + 1; i <= r.hi && i < row->word_count; i++)
            text = tw_arena_printf(a, "%s, %s", text, row->words[i]);
        return text;
    }
    if (r.lo == r.hi)
        return tw_arena_printf(a, f == TW_FLOW_MARK || f == TW_FLOW_CTMARK ? "%#llx" : "%llu",
                               (unsigned long long)r.lo);
    return tw_arena_printf(a, f == TW_FLOW_MARK || f == TW_FLOW_CTMARK ? "%#llx-%#llx" : "%llu-%llu",
                           (unsigned long long)r.lo, (unsigned long long)r.hi);
}

static char *endpoint(struct tw_arena *a, const struct tw_flow_packet *p, enum tw_flow_field addr,
                      enum tw_flow_field port)
{
    bool v6 = p->field[TW_FLOW_FAMILY] != 0;
    char *text = flow_address_text(a, v6, p->field[addr]);

    if (!flow_has_ports(p->field[TW_FLOW_PROTO]))
        return text;
    return tw_arena_printf(a, v6 ? "[%s]:%u" : "%s:%u", text, (unsigned)p->field[port]);
}

/* What a reader takes for granted is not said. */
static const struct {
    enum tw_flow_field field;
    const char *before;
} rest[] = {
    {TW_FLOW_DIRECTION, ", direction "}, {TW_FLOW_DNAT, ", destination translated: "},
    {TW_FLOW_PKTTYPE, ", packet type "}, {TW_FLOW_MARK, ", mark "},
    {TW_FLOW_CTMARK, ", connection mark "}, {TW_FLOW_DSCP, ", dscp "},
};

static char *field_text(struct tw_arena *a, const struct tw_flow_packet *p, enum tw_flow_field f)
{
    struct flow_range r = {p->field[f], p->field[f]};

    return flow_range_text(a, f, p->field[TW_FLOW_FAMILY] != 0, r);
}

char *tw_flow_packet_text(struct tw_arena *a, const struct tw_flow_packet *p)
{
    tw_flow_num proto = p->field[TW_FLOW_PROTO];
    char *text = tw_arena_printf(a, "%s %s to %s", field_text(a, p, TW_FLOW_PROTO),
                                 endpoint(a, p, TW_FLOW_SADDR, TW_FLOW_SPORT),
                                 endpoint(a, p, TW_FLOW_DADDR, TW_FLOW_DPORT));

    if (proto == 1 || proto == 58)
        text = tw_arena_printf(a, "%s, type %u code %u", text, (unsigned)p->field[TW_FLOW_ICMP_TYPE],
                               (unsigned)p->field[TW_FLOW_ICMP_CODE]);
    if (proto == 6)
        text = tw_arena_printf(a, "%s, flags %s", text, field_text(a, p, TW_FLOW_FLAGS));
    text = tw_arena_printf(a, "%s, state %s", text, field_text(a, p, TW_FLOW_STATE));
    if (p->field[TW_FLOW_IIF])
        text = tw_arena_printf(a, "%s, in %s", text, flow_name_text(a, p->field[TW_FLOW_IIF]));
    if (p->field[TW_FLOW_OIF])
        text = tw_arena_printf(a, "%s, out %s", text, flow_name_text(a, p->field[TW_FLOW_OIF]));
    for (size_t i = 0; i < TW_COUNT_OF(rest); i++)
        if (p->field[rest[i].field])
            text = tw_arena_printf(a, "%s%s%s", text, rest[i].before,
                                   field_text(a, p, rest[i].field));
    return text;
}
