/* What iptables-save and ip6tables-save print: tables, chains with policies, rules as arguments.
 * An option is a row; one that is not known is a condition that may hold, with a note. */
#include "flow_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 256

struct reader {
    struct tw_arena *a;
    struct tw_flow_rules *rules;
    const char *family, *table;
    bool v6;
    int line;
    struct flow_chain *chain; /* of the rule before */
    struct flow_rule *rule;
    const char *word[WORDS_MAX];
    size_t words, at;
    bool negate;
    int proto; /* -p without "!"; -1 */
    struct flow_action target;
    bool has_target;
    bool doubt; /* inside the options of a match that is not known, and noted */
    struct tw_err *err;
};

static int fail(struct reader *r, const char *what, const char *detail)
{
    return tw_fail(r->err, -EINVAL, "line %d: %s '%s'", r->line, what, detail ? detail : "");
}

static const char *next(struct reader *r)
{
    return r->at < r->words ? r->word[r->at++] : "";
}

/* ---- conditions ---- */

static void cond(struct reader *r, enum tw_flow_field f, tw_flow_num mask,
                 const struct flow_range *ranges, size_t n, unsigned guard, int proto)
{
    flow_step_cond(r->a, r->rule,
                   (struct flow_cond){.guard = guard,
                                      .guard_proto = proto,
                                      .negate = r->negate,
                                      .table = flow_table_of(r->a, f, mask, ranges, n)});
}

static void cond_is(struct reader *r, enum tw_flow_field f, tw_flow_num mask, tw_flow_num v)
{
    struct flow_range one = {v, v};

    cond(r, f, mask, &one, 1, 0, 0);
}

static void unknown(struct reader *r, const char *what)
{
    flow_step_cond(r->a, r->rule, (struct flow_cond){.unknown = true});
    flow_note(r->a, r->rules, r->rule, tw_arena_printf(r->a, "may match: %s", what));
}

struct option;
typedef int option_fn(struct reader *r, const struct option *o);
struct option {
    const char *name, *module; /* module NULL: any */
    option_fn *read;
    enum tw_flow_field field;
    unsigned args; /* that an ignored or unknown option has */
};

/* "10.0.0.0/8" or "10.0.0.1/255.0.0.255". */
static int read_address(struct reader *r, const struct option *o)
{
    tw_auto_free char *text = strdup(next(r));
    char *slash = strchr(text, '/');
    struct flow_range one;
    tw_flow_num mask = FLOW_ALL;
    bool v6;
    int64_t len;

    if (slash)
        *slash++ = '\0';
    if (tw_flow_address(text, &v6, &one.lo, NULL) < 0 || v6 != r->v6)
        return fail(r, "expected an address, not", text);
    if (slash && tw_parse_int64(slash, &len, NULL) == 0) {
        if (len < 0 || len > (v6 ? 128 : 32))
            return fail(r, "no such prefix length", slash);
        one.lo = len == 0 ? 0 : one.lo & ~(len == 128 ? 0 : FLOW_ALL >> len);
        one.hi = len == 128 ? one.lo : one.lo | FLOW_ALL >> len;
        cond(r, o->field, FLOW_ALL, &one, 1, 0, 0);
        return 0;
    }
    if (slash && tw_flow_address(slash, &v6, &mask, NULL) < 0)
        return fail(r, "expected a mask, not", slash);
    if (!r->v6)
        mask &= ~(FLOW_ALL >> 32);
    cond_is(r, o->field, mask, one.lo & mask);
    return 0;
}

static int read_proto(struct reader *r, const struct option *o)
{
    const char *word = next(r);
    int proto = strcmp(word, "all") == 0 ? 0 : flow_proto(word);

    if (proto < 0)
        return fail(r, "no protocol is called", word);
    if (!r->negate)
        r->proto = proto;
    if (proto)
        cond_is(r, o->field, FLOW_ALL, (tw_flow_num)proto);
    return 0;
}

static int read_interface(struct reader *r, const struct option *o)
{
    const char *word = next(r);
    size_t len = strlen(word);
    bool any = len && word[len - 1] == '+';
    tw_auto_free char *name = strndup(word, len - any);
    struct flow_range one = {tw_flow_name(name), tw_flow_name(name)};

    if (len > 16)
        return fail(r, "no interface is named", word);
    if (any)
        one.hi = len > 1 ? one.lo | FLOW_ALL >> (8 * (len - 1)) : FLOW_ALL;
    cond(r, o->field, FLOW_ALL, &one, 1, 0, 0);
    return 0;
}

static bool port_range(const char *text, char between, struct flow_range *ret)
{
    tw_auto_free char *copy = strdup(text);
    char *sep = strchr(copy, between);
    int lo, hi;

    if (sep)
        *sep++ = '\0';
    lo = *copy ? flow_port(copy) : 0;
    hi = sep ? (*sep ? flow_port(sep) : 65535) : lo;
    if (lo < 0 || hi < lo)
        return false;
    *ret = (struct flow_range){(tw_flow_num)lo, (tw_flow_num)hi};
    return true;
}

static int read_port(struct reader *r, const struct option *o)
{
    const char *word = next(r);
    struct flow_range one;

    if (!port_range(word, ':', &one))
        return fail(r, "expected a port or first:last, not", word);
    cond(r, o->field, FLOW_ALL, &one, 1, r->proto > 0 ? 0 : FLOW_HAS_PORTS, 0);
    return 0;
}

static int port_list(struct reader *r, const char *list, struct flow_range *ranges, size_t room,
                     size_t *ret)
{
    tw_auto_free char *copy = strdup(list);
    char *save = NULL;

    *ret = 0;
    for (char *p = strtok_r(copy, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        if (*ret == room || !port_range(p, ':', &ranges[*ret]))
            return fail(r, "expected ports and first:last, not", list);
        ++*ret;
    }
    return 0;
}

static int read_ports(struct reader *r, const struct option *o)
{
    struct flow_range ranges[32];
    size_t n;
    int code = port_list(r, next(r), ranges, TW_COUNT_OF(ranges), &n);

    if (code == 0)
        cond(r, o->field, FLOW_ALL, ranges, n, 0, 0);
    return code;
}

/* --ports: the source or the destination; as two keys, each once free. */
static int read_both_ports(struct reader *r, const struct option *o)
{
    struct flow_range ranges[32];
    size_t n;
    struct flow_table *t = tw_arena_alloc(r->a, sizeof *t);
    int code = port_list(r, next(r), ranges, TW_COUNT_OF(ranges), &n);

    (void)o;
    if (code < 0)
        return code;
    t->keys[0] = (struct flow_key){TW_FLOW_SPORT, FLOW_ALL};
    t->keys[1] = (struct flow_key){TW_FLOW_DPORT, FLOW_ALL};
    t->key_count = 2;
    t->parts = tw_arena_alloc(r->a, 4 * n * sizeof *t->parts + 1);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 2; k++) {
            t->parts[2 * t->count + k] = ranges[i];
            t->parts[2 * t->count + 1 - k] = (struct flow_range){0, 65535};
            t->count++;
        }
    flow_step_cond(r->a, r->rule, (struct flow_cond){.negate = r->negate, .table = t});
    return 0;
}

static const struct flow_word states[] = {{"INVALID", TW_FLOW_INVALID},
                                          {"ESTABLISHED", TW_FLOW_ESTABLISHED},
                                          {"RELATED", TW_FLOW_RELATED},
                                          {"NEW", TW_FLOW_NEW},
                                          {"UNTRACKED", TW_FLOW_UNTRACKED},
                                          {NULL, 0}};

/* DNAT and SNAT are no states but what became of the connection. */
static int read_state(struct reader *r, const struct option *o)
{
    const char *word = next(r);
    tw_auto_free char *copy = strdup(word);
    char *save = NULL;
    struct flow_range in[8];
    size_t n = 0;

    for (char *p = strtok_r(copy, ",", &save); p && n < 8; p = strtok_r(NULL, ",", &save)) {
        int s = flow_word_find(states, p);

        if (strcmp(p, "DNAT") == 0 && !strchr(word, ',')) {
            cond_is(r, TW_FLOW_DNAT, FLOW_ALL, 1);
            return 0;
        }
        if (s < 0 && (strcmp(p, "DNAT") == 0 || strcmp(p, "SNAT") == 0)) {
            unknown(r, word);
            return 0;
        }
        if (s < 0)
            return fail(r, "no state is called", p);
        in[n++] = (struct flow_range){(tw_flow_num)s, (tw_flow_num)s};
    }
    cond(r, o->field, FLOW_ALL, in, n, 0, 0);
    return 0;
}

static unsigned flag_list(const char *list)
{
    static const struct flow_word words[] = {{"FIN", 1},  {"SYN", 2},  {"RST", 4},  {"PSH", 8},
                                             {"ACK", 16}, {"URG", 32}, {"ALL", 63}, {"NONE", 0},
                                             {NULL, 0}};
    tw_auto_free char *copy = strdup(list);
    char *save = NULL;
    unsigned all = 0;

    for (char *p = strtok_r(copy, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        int v = flow_word_find(words, p);

        all |= v < 0 ? 0x100U : (unsigned)v;
    }
    return all;
}

static int read_flags(struct reader *r, const struct option *o)
{
    const char *mask = next(r), *set = next(r);
    unsigned m = flag_list(mask), s = flag_list(set);

    if ((m | s) > 0xff)
        return fail(r, "expected flags of TCP, not", mask);
    cond_is(r, o->field, m, s);
    return 0;
}

static int read_syn(struct reader *r, const struct option *o)
{
    cond_is(r, o->field, 0x17, 2);
    return 0;
}

/* iptables' own words for pairs of type and code. */
static const struct {
    const char *name;
    unsigned type, code;
} icmp_pairs[] = {
    {"network-unreachable", 3, 0}, {"host-unreachable", 3, 1},     {"protocol-unreachable", 3, 2},
    {"port-unreachable", 3, 3},    {"fragmentation-needed", 3, 4}, {"ttl-zero-during-transit", 11, 0},
};

static int icmp_numbers(struct reader *r, const char *word, int64_t *type, int64_t *code)
{
    tw_auto_free char *copy = strdup(word);
    char *slash = strchr(copy, '/');

    *code = -1;
    for (size_t i = 0; i < TW_COUNT_OF(icmp_pairs) && !r->v6; i++)
        if (strcmp(word, icmp_pairs[i].name) == 0) {
            *type = icmp_pairs[i].type;
            *code = icmp_pairs[i].code;
            return 0;
        }
    if (slash)
        *slash++ = '\0';
    if (tw_parse_int64(copy, type, NULL) < 0)
        *type = flow_word_find(r->v6 ? flow_icmpv6_types : flow_icmp_types, copy);
    if (*type < 0 || *type > 255 || (slash && tw_parse_int64(slash, code, NULL) < 0))
        return fail(r, "no type of ICMP is called", word);
    return 0;
}

static int read_icmp(struct reader *r, const struct option *o)
{
    const char *word = next(r);
    int64_t type, code;
    struct flow_table *t;
    int bad;

    if (strcmp(word, "any") == 0 || (!r->v6 && strcmp(word, "255") == 0))
        return 0;
    bad = icmp_numbers(r, word, &type, &code);
    if (bad < 0)
        return bad;
    if (code < 0) {
        cond_is(r, o->field, FLOW_ALL, (tw_flow_num)type);
        return 0;
    }
    t = tw_arena_alloc(r->a, sizeof *t);
    t->keys[0] = (struct flow_key){TW_FLOW_ICMP_TYPE, FLOW_ALL};
    t->keys[1] = (struct flow_key){TW_FLOW_ICMP_CODE, FLOW_ALL};
    t->key_count = 2;
    t->count = 1;
    t->parts = tw_arena_alloc(r->a, 2 * sizeof *t->parts);
    t->parts[0] = (struct flow_range){(tw_flow_num)type, (tw_flow_num)type};
    t->parts[1] = (struct flow_range){(tw_flow_num)code, (tw_flow_num)code};
    flow_step_cond(r->a, r->rule, (struct flow_cond){.negate = r->negate, .table = t});
    return 0;
}

static int read_iprange(struct reader *r, const struct option *o)
{
    const char *word = next(r);
    struct tw_flow_prefix p;
    struct flow_range one;

    if (tw_flow_prefix(word, &p, NULL) < 0 || p.v6 != r->v6)
        return fail(r, "expected first-last of addresses, not", word);
    one = (struct flow_range){p.first, p.last};
    cond(r, o->field, FLOW_ALL, &one, 1, 0, 0);
    return 0;
}

static bool value_mask(const char *word, tw_flow_num *v, tw_flow_num *mask)
{
    char *end;

    *v = strtoul(word, &end, 0) & 0xffffffffU;
    *mask = *end == '/' ? strtoul(end + 1, &end, 0) & 0xffffffffU : 0xffffffffU;
    return end != word && *end == '\0';
}

static int read_mark(struct reader *r, const struct option *o)
{
    const char *word = next(r);
    tw_flow_num v, mask;

    if (!value_mask(word, &v, &mask))
        return fail(r, "expected a mark, not", word);
    cond_is(r, o->module && strcmp(o->module, "connmark") == 0 ? TW_FLOW_CTMARK : o->field, mask, v);
    return 0;
}

static const struct flow_word dtypes[] = {{"UNICAST", TW_FLOW_UNICAST},
                                          {"LOCAL", TW_FLOW_LOCAL},
                                          {"BROADCAST", TW_FLOW_BROADCAST},
                                          {"MULTICAST", TW_FLOW_MULTICAST},
                                          {NULL, 0}},
                              pkttypes[] = {{"unicast", 0}, {"host", 0}, {"broadcast", 1},
                                            {"multicast", 2}, {NULL, 0}},
                              directions[] = {{"ORIGINAL", 0}, {"REPLY", 1}, {NULL, 0}};

static int read_word(struct reader *r, const struct option *o)
{
    const struct flow_word *words = o->field == TW_FLOW_DTYPE     ? dtypes
                                    : o->field == TW_FLOW_PKTTYPE ? pkttypes
                                                                  : directions;
    const char *word = next(r);
    int v = flow_word_find(words, word);

    if (v < 0)
        unknown(r, tw_arena_printf(r->a, "%s %s", o->name, word));
    else
        cond_is(r, o->field, FLOW_ALL, (tw_flow_num)v);
    return 0;
}

static int read_ttl(struct reader *r, const struct option *o)
{
    const char *word = next(r), *how = o->name + strlen(o->name) - 2;
    int64_t n;
    struct flow_range one;

    if (tw_parse_int64(word, &n, NULL) < 0 || n < 0 || n > 255)
        return fail(r, "expected 0..255, not", word);
    one = (struct flow_range){(tw_flow_num)n, (tw_flow_num)n};
    if (strcmp(how, "lt") == 0)
        one = n ? (struct flow_range){0, (tw_flow_num)n - 1} : (struct flow_range){1, 0};
    if (strcmp(how, "gt") == 0)
        one = (struct flow_range){(tw_flow_num)n + 1, 255};
    cond(r, o->field, FLOW_ALL, &one, 1, 0, 0);
    return 0;
}

static int read_dscp(struct reader *r, const struct option *o)
{
    const char *word = next(r);
    char *end;
    unsigned long v = strtoul(word, &end, 0);

    if (end == word || *end || v > 63)
        return fail(r, "expected a DSCP value, not", word);
    cond_is(r, o->field, FLOW_ALL, v);
    return 0;
}

static int read_module(struct reader *r, const struct option *o)
{
    static const char *const known[] = {"tcp",     "udp",      "icmp",    "icmp6",   "icmpv6",
                                        "udplite", "multiport", "conntrack", "state", "comment",
                                        "iprange", "mark",     "connmark", "addrtype", "pkttype",
                                        "ttl",     "hl",       "dscp",     "dccp",     "sctp"};
    const char *word = next(r);

    (void)o;
    r->doubt = tw_name_index(word, known, TW_COUNT_OF(known)) < 0;
    if (r->doubt)
        unknown(r, word);
    return 0;
}

static int skip_args(struct reader *r, const struct option *o)
{
    for (unsigned i = 0; i < o->args; i++)
        (void)next(r);
    return 0;
}

static int may_match(struct reader *r, const struct option *o)
{
    unknown(r, tw_arena_printf(r->a, "%s %s", o->name, r->at < r->words ? r->word[r->at] : ""));
    return skip_args(r, o);
}

/* ---- targets ---- */

static const struct {
    const char *name;
    enum flow_action_kind kind;
} targets[] = {
    {"ACCEPT", FLOW_ACCEPT}, {"DROP", FLOW_DROP},     {"REJECT", FLOW_DROP},
    {"RETURN", FLOW_RETURN}, {"QUEUE", FLOW_EITHER},  {"NFQUEUE", FLOW_EITHER},
    {"DNAT", FLOW_DNAT},     {"REDIRECT", FLOW_DNAT}, {"SNAT", FLOW_SNAT},
    {"MASQUERADE", FLOW_SNAT}, {"MARK", FLOW_SET},    {"CONNMARK", FLOW_SET},
    {"SYNPROXY", FLOW_EITHER}, {"NOTRACK", FLOW_SET}, {"CT", FLOW_CONTINUE},
    {"TPROXY", FLOW_EITHER}, {"NETMAP", FLOW_DNAT},
};
/* They leave the packet to the next rule. */
static const char *const passing[] = {
    "LOG",   "NFLOG", "ULOG",  "AUDIT",  "TCPMSS", "CHECKSUM", "CLASSIFY", "DSCP",   "TOS",
    "TTL",   "HL",    "TRACE", "SET",    "TEE",    "ECN",      "SECMARK",  "CONNSECMARK",
    "RATEEST", "IDLETIMER", "LED", "HMARK", "TCPOPTSTRIP", "ACCOUNT"};

static int read_target(struct reader *r, const struct option *o)
{
    const char *word = next(r);
    struct flow_action *t = &r->target;

    r->has_target = true;
    *t = (struct flow_action){.kind = o->name[1] == 'g' || strcmp(o->name, "--goto") == 0 ? FLOW_GOTO
                                                                                          : FLOW_JUMP,
                              .word = word,
                              .to = word,
                              .family = -1};
    if (tw_name_index(word, passing, TW_COUNT_OF(passing)) >= 0)
        t->kind = FLOW_CONTINUE;
    r->rule->logs |= strstr(word, "LOG") != NULL;
    for (size_t i = 0; i < TW_COUNT_OF(targets); i++)
        if (strcmp(word, targets[i].name) == 0)
            t->kind = targets[i].kind;
    if (strcmp(word, "REDIRECT") == 0 || strcmp(word, "MASQUERADE") == 0 ||
        strcmp(word, "NETMAP") == 0)
        t->any_addr = true;
    if (strcmp(word, "MARK") == 0 || strcmp(word, "CONNMARK") == 0)
        t->field = word[0] == 'M' ? TW_FLOW_MARK : TW_FLOW_CTMARK;
    if (strcmp(word, "NOTRACK") == 0)
        *t = (struct flow_action){.kind = FLOW_SET,
                                  .word = word,
                                  .field = TW_FLOW_STATE,
                                  .mask = 7,
                                  .value = TW_FLOW_UNTRACKED};
    if (strcmp(word, "TPROXY") == 0 || strcmp(word, "SYNPROXY") == 0 || strcmp(word, "NETMAP") == 0)
        flow_note(r->a, r->rules, r->rule, tw_arena_printf(r->a, "may decide: %s", word));
    return 0;
}

static int read_notrack(struct reader *r, const struct option *o)
{
    (void)o;
    r->target = (struct flow_action){.kind = FLOW_SET,
                                     .word = "notrack",
                                     .field = TW_FLOW_STATE,
                                     .mask = 7,
                                     .value = TW_FLOW_UNTRACKED};
    return 0;
}

/* "10.0.0.5", "10.0.0.5-10.0.0.9:80-90", ":8080", "[fd00::1]:80". */
static int read_destination(struct reader *r, const struct option *o)
{
    const char *word = next(r);
    tw_auto_free char *copy = strdup(word);
    char *addr = copy, *port = NULL, *end;
    struct tw_flow_prefix p;

    (void)o;
    if (*addr == '[') {
        addr++;
        end = strchr(addr, ']');
        if (!end)
            return fail(r, "expected an address, not", word);
        port = end[1] == ':' ? end + 2 : NULL;
        *end = '\0';
    } else if (!r->v6 && (end = strchr(addr, ':'))) {
        *end = '\0';
        port = end + 1;
    }
    if (*addr) {
        if (tw_flow_prefix(addr, &p, NULL) < 0 || p.v6 != r->v6)
            return fail(r, "expected an address, not", word);
        r->target.has_addr = true;
        r->target.family = r->v6;
        r->target.addr = (struct flow_range){p.first, p.last};
        if (!r->v6)
            r->target.addr.hi |= FLOW_ALL >> 32;
    }
    if (port) {
        end = strchr(port, '/'); /* "80-90/8080": a shifted range */
        if (end)
            *end = '\0';
        if (!port_range(port, '-', &r->target.port))
            return fail(r, "expected ports, not", word);
        r->target.has_port = true;
    }
    return 0;
}

static int read_to_ports(struct reader *r, const struct option *o)
{
    const char *word = next(r);

    (void)o;
    if (!port_range(word, '-', &r->target.port))
        return fail(r, "expected ports, not", word);
    r->target.has_port = true;
    return 0;
}

/* new = (old & ~mask) ^ value */
static int read_set_mark(struct reader *r, const struct option *o)
{
    const char *word = next(r), *how = o->name + 2;
    tw_flow_num v, mask;

    if (!value_mask(word, &v, &mask))
        return fail(r, "expected a mark, not", word);
    r->target.value = v;
    r->target.mask = mask;
    if (strcmp(how, "set-mark") == 0)
        r->target.mask = v | mask;
    if (strcmp(how, "or-mark") == 0)
        r->target.mask = v;
    if (strcmp(how, "and-mark") == 0) {
        r->target.mask = ~v & 0xffffffffU;
        r->target.value = 0;
    }
    if (strcmp(how, "xor-mark") == 0)
        r->target.mask = 0;
    return 0;
}

/* The mark of the connection and that of the packet: which it is, only the kernel knows. */
static int read_copy_mark(struct reader *r, const struct option *o)
{
    bool restore = strcmp(o->name, "--restore-mark") == 0;

    r->target.field = restore ? TW_FLOW_MARK : TW_FLOW_CTMARK;
    r->target.mask = r->target.unknown = 0xffffffffU;
    flow_note(r->a, r->rules, r->rule, "a mark is copied: its value is not followed");
    return 0;
}

static const struct option options[] = {
    {"-s", NULL, read_address, TW_FLOW_SADDR, 1},
    {"--source", NULL, read_address, TW_FLOW_SADDR, 1},
    {"-d", NULL, read_address, TW_FLOW_DADDR, 1},
    {"--destination", NULL, read_address, TW_FLOW_DADDR, 1},
    {"-p", NULL, read_proto, TW_FLOW_PROTO, 1},
    {"--protocol", NULL, read_proto, TW_FLOW_PROTO, 1},
    {"-i", NULL, read_interface, TW_FLOW_IIF, 1},
    {"--in-interface", NULL, read_interface, TW_FLOW_IIF, 1},
    {"-o", NULL, read_interface, TW_FLOW_OIF, 1},
    {"--out-interface", NULL, read_interface, TW_FLOW_OIF, 1},
    {"-f", NULL, may_match, 0, 0},
    {"-m", NULL, read_module, 0, 1},
    {"--match", NULL, read_module, 0, 1},
    {"-j", NULL, read_target, 0, 1},
    {"--jump", NULL, read_target, 0, 1},
    {"-g", NULL, read_target, 0, 1},
    {"--goto", NULL, read_target, 0, 1},
    {"--sport", NULL, read_port, TW_FLOW_SPORT, 1},
    {"--source-port", NULL, read_port, TW_FLOW_SPORT, 1},
    {"--dport", NULL, read_port, TW_FLOW_DPORT, 1},
    {"--destination-port", NULL, read_port, TW_FLOW_DPORT, 1},
    {"--sports", NULL, read_ports, TW_FLOW_SPORT, 1},
    {"--source-ports", NULL, read_ports, TW_FLOW_SPORT, 1},
    {"--dports", NULL, read_ports, TW_FLOW_DPORT, 1},
    {"--destination-ports", NULL, read_ports, TW_FLOW_DPORT, 1},
    {"--ports", NULL, read_both_ports, 0, 1},
    {"--ctstate", NULL, read_state, TW_FLOW_STATE, 1},
    {"--state", NULL, read_state, TW_FLOW_STATE, 1},
    {"--ctdir", NULL, read_word, TW_FLOW_DIRECTION, 1},
    {"--tcp-flags", NULL, read_flags, TW_FLOW_FLAGS, 2},
    {"--syn", NULL, read_syn, TW_FLOW_FLAGS, 0},
    {"--icmp-type", NULL, read_icmp, TW_FLOW_ICMP_TYPE, 1},
    {"--icmpv6-type", NULL, read_icmp, TW_FLOW_ICMP_TYPE, 1},
    {"--src-range", NULL, read_iprange, TW_FLOW_SADDR, 1},
    {"--dst-range", NULL, read_iprange, TW_FLOW_DADDR, 1},
    {"--mark", "connmark", read_mark, TW_FLOW_CTMARK, 1},
    {"--mark", NULL, read_mark, TW_FLOW_MARK, 1},
    {"--dst-type", NULL, read_word, TW_FLOW_DTYPE, 1},
    {"--pkt-type", NULL, read_word, TW_FLOW_PKTTYPE, 1},
    {"--ttl-eq", NULL, read_ttl, TW_FLOW_TTL, 1},
    {"--ttl-lt", NULL, read_ttl, TW_FLOW_TTL, 1},
    {"--ttl-gt", NULL, read_ttl, TW_FLOW_TTL, 1},
    {"--hl-eq", NULL, read_ttl, TW_FLOW_TTL, 1},
    {"--hl-lt", NULL, read_ttl, TW_FLOW_TTL, 1},
    {"--hl-gt", NULL, read_ttl, TW_FLOW_TTL, 1},
    {"--dscp", NULL, read_dscp, TW_FLOW_DSCP, 1},
    {"--to-destination", NULL, read_destination, 0, 1},
    {"--to-source", NULL, read_destination, 0, 1},
    {"--to-ports", NULL, read_to_ports, 0, 1},
    {"--to", NULL, skip_args, 0, 1},
    {"--set-xmark", NULL, read_set_mark, 0, 1},
    {"--set-mark", NULL, read_set_mark, 0, 1},
    {"--or-mark", NULL, read_set_mark, 0, 1},
    {"--and-mark", NULL, read_set_mark, 0, 1},
    {"--xor-mark", NULL, read_set_mark, 0, 1},
    {"--save-mark", NULL, read_copy_mark, 0, 0},
    {"--restore-mark", NULL, read_copy_mark, 0, 0},
    {"--notrack", NULL, read_notrack, 0, 0},
    {"--comment", NULL, skip_args, 0, 1},
};

/* Options that nobody here knows: with all that follows up to the next option. Those of a match
 * that is not known were noted with it (-m limit --limit 5/min); those of a target change nothing of
 * its verdict. */
static int read_other(struct reader *r, const char *name)
{
    if (name[0] != '-')
        return fail(r, "expected an option, not", name);
    while (r->at < r->words && (r->word[r->at][0] != '-' || isdigit((unsigned char)r->word[r->at][1])) &&
           strcmp(r->word[r->at], "!") != 0)
        r->at++;
    if (!r->has_target && !r->doubt)
        unknown(r, name);
    return 0;
}

static int read_option(struct reader *r)
{
    const char *name = next(r), *module = "";

    r->negate = strcmp(name, "!") == 0;
    if (r->negate)
        name = next(r);
    for (size_t i = 0; i + 1 < r->at; i++)
        if (strcmp(r->word[i], "-m") == 0)
            module = r->word[i + 1];
    for (size_t i = 0; i < TW_COUNT_OF(options); i++)
        if (strcmp(options[i].name, name) == 0 &&
            (!options[i].module || strcmp(options[i].module, module) == 0)) {
            if (r->at + options[i].args > r->words)
                return fail(r, "an option has nothing behind it:", name);
            return options[i].read(r, &options[i]);
        }
    return read_other(r, name);
}

/* ---- lines ---- */

/* In place: words, "…" with \" inside. */
static int split(struct reader *r, char *line)
{
    char *to = line;

    for (r->words = 0; *line;) {
        bool quoted = false;

        while (isspace((unsigned char)*line))
            line++;
        if (!*line)
            break;
        if (r->words == WORDS_MAX)
            return fail(r, "too many words after", r->word[WORDS_MAX - 1]);
        to = line;
        r->word[r->words++] = to;
        for (; *line && (quoted || !isspace((unsigned char)*line)); line++) {
            if (*line == '"') {
                quoted = !quoted;
                continue;
            }
            if (quoted && *line == '\\' && line[1])
                line++;
            *to++ = *line;
        }
        if (quoted)
            return fail(r, "a text has no end:", r->word[r->words - 1]);
        if (*line)
            line++;
        *to = '\0';
    }
    return 0;
}

static const struct base_row {
    const char *table, *chain;
    enum tw_flow_hook hook;
    int prio;
} bases[] = {
    {"raw", "PREROUTING", TW_FLOW_PREROUTING, -300},    {"raw", "OUTPUT", TW_FLOW_OUTPUT, -300},
    {"mangle", "PREROUTING", TW_FLOW_PREROUTING, -150}, {"mangle", "INPUT", TW_FLOW_INPUT, -150},
    {"mangle", "FORWARD", TW_FLOW_FORWARD, -150},       {"mangle", "OUTPUT", TW_FLOW_OUTPUT, -150},
    {"mangle", "POSTROUTING", TW_FLOW_POSTROUTING, -150},
    {"nat", "PREROUTING", TW_FLOW_PREROUTING, -100},    {"nat", "INPUT", TW_FLOW_INPUT, 100},
    {"nat", "OUTPUT", TW_FLOW_OUTPUT, -100},            {"nat", "POSTROUTING", TW_FLOW_POSTROUTING, 100},
    {"filter", "INPUT", TW_FLOW_INPUT, 0},              {"filter", "FORWARD", TW_FLOW_FORWARD, 0},
    {"filter", "OUTPUT", TW_FLOW_OUTPUT, 0},            {"security", "INPUT", TW_FLOW_INPUT, 50},
    {"security", "FORWARD", TW_FLOW_FORWARD, 50},       {"security", "OUTPUT", TW_FLOW_OUTPUT, 50},
};

static int read_chain(struct reader *r)
{
    const char *name = r->word[0] + 1, *policy = r->words > 1 ? r->word[1] : "-";
    struct flow_chain c = {.family = r->family,
                           .table = r->table,
                           .name = tw_arena_strdup(r->a, name),
                           .policy = strcmp(policy, "DROP") == 0 ? FLOW_DROP : FLOW_ACCEPT,
                           .families = r->v6 ? FLOW_IS_V6 : FLOW_IS_V4,
                           .xtables = true};

    if (!r->table)
        return fail(r, "a chain before any table:", name);
    if (flow_chain_find(r->rules, r->family, r->table, name))
        return fail(r, "there are two chains", name);
    for (size_t i = 0; i < TW_COUNT_OF(bases); i++)
        if (strcmp(bases[i].table, r->table) == 0 && strcmp(bases[i].chain, name) == 0) {
            c.base = true;
            c.hook = bases[i].hook;
            c.prio = bases[i].prio;
            c.nat = strcmp(r->table, "nat") == 0;
        }
    if (!c.base && strcmp(policy, "-") != 0)
        return fail(r, "no chain of that table has a policy:", name);
    (void)flow_chain_add(r->a, r->rules, &c);
    return 0;
}

/* "[12:3400]" before a rule: packets and bytes. */
static void read_counters(struct reader *r, int64_t *ret)
{
    if (r->words && r->word[0][0] == '[') {
        *ret = strtoll(r->word[0] + 1, NULL, 10);
        memmove(r->word, r->word + 1, --r->words * sizeof *r->word);
    }
}

static int read_rule(struct reader *r, const char *text, int64_t packets)
{
    const char *name = r->words > 1 ? r->word[1] : "";
    int code = 0;

    if (!r->chain || strcmp(r->chain->name, name) || strcmp(r->chain->table, r->table))
        r->chain = flow_chain_find(r->rules, r->family, r->table ? r->table : "", name);
    if (!r->chain)
        return fail(r, "there is no chain", name);
    r->rule = flow_rule_add(r->a, r->rules, r->chain);
    r->rule->packets = packets;
    r->rule->place = tw_arena_printf(r->a, "%s %s, rule %zu (line %d)", r->table, name,
                                     r->chain->rules.count, r->line);
    r->rule->text = text;
    r->has_target = false;
    r->doubt = false;
    r->proto = -1;
    for (r->at = 2; r->at < r->words && code == 0;)
        code = read_option(r);
    for (size_t i = 0; i < r->words; i++) /* borrowed from the line: they stay */
        if (r->has_target && r->target.to == r->word[i])
            r->target.to = r->target.word = tw_arena_strdup(r->a, r->word[i]);
    if (code == 0 && r->has_target)
        flow_step_act(r->a, r->rule, r->target);
    return code;
}

static int read_line(struct reader *r, char *line)
{
    int64_t packets = -1;
    const char *text;
    int code;

    while (isspace((unsigned char)*line))
        line++;
    if (!*line || *line == '#')
        return 0;
    text = *line == '-' || *line == '[' ? tw_arena_strdup(r->a, line) : "";
    code = split(r, line);
    if (code < 0)
        return code;
    read_counters(r, &packets);
    if (r->words == 0)
        return 0;
    if (r->word[0][0] == '*') {
        r->table = tw_arena_strdup(r->a, r->word[0] + 1);
        return 0;
    }
    if (r->word[0][0] == ':')
        return read_chain(r);
    if (strcmp(r->word[0], "-A") == 0 || strcmp(r->word[0], "--append") == 0)
        return read_rule(r, text, packets);
    if (strcmp(r->word[0], "COMMIT") == 0) {
        r->table = NULL;
        r->chain = NULL;
        return 0;
    }
    return fail(r, "expected *table, :chain, -A or COMMIT, not", r->word[0]);
}

int tw_flow_read_iptables(struct tw_arena *a, const char *text, size_t len, bool v6,
                          const struct tw_flow_rules **ret, struct tw_err *err)
{
    struct reader r = {.a = a,
                       .rules = tw_arena_alloc(a, sizeof *r.rules),
                       .family = v6 ? "ip6" : "ip",
                       .v6 = v6,
                       .err = err};
    tw_auto_free char *copy = strndup(text, len);
    int code = 0;

    for (char *line = copy, *end; line && code >= 0; line = end) {
        end = strchr(line, '\n');
        if (end)
            *end++ = '\0';
        r.line++;
        code = read_line(&r, line);
    }
    if (code >= 0 && r.table)
        return tw_fail(err, -EINVAL, "line %d: table '%s' has no COMMIT: is the text whole?", r.line,
                       r.table);
    if (code >= 0 && !r.rules->chains.count)
        return tw_fail(err, -EINVAL, "no table in this text: expected what %s-save prints",
                       v6 ? "ip6tables" : "iptables");
    code = code < 0 ? code : flow_rules_finish(a, r.rules, err);
    if (code >= 0)
        *ret = r.rules;
    return code < 0 ? code : 0;
}
