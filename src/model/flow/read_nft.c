/* What `nft -j list ruleset` prints. The objects of its one long array are read one at a time, rules
 * last, so that a file of 100,000 rules needs the memory of its largest one. What a rule asks and
 * this room does not know becomes a condition that may hold, with a note.
 * Source: libnftables-json(5); what an operator means: nft --debug=netlink */
#include "flow_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct named_set {
    const char *family, *table, *name;
    json_t *body;  /* owned by the reader */
    bool changing; /* packets or time change it */
};
struct piece { /* one object of the array */
    const char *text;
    size_t len, index;
};
struct reader {
    struct tw_arena *a;
    struct tw_flow_rules *rules;
    TW_ARRAY(struct named_set) sets;
    TW_ARRAY(struct piece) pieces; /* of rules */
    const struct flow_chain *chain;
    struct flow_rule *rule;
    char pointer[96];
    struct tw_err *err;
};

static int fail(struct reader *r, const char *what, const char *detail)
{
    return tw_fail_at(r->err, -EINVAL, r->pointer, "%s%s%s: %s '%s'", r->pointer,
                      r->rule && *r->rule->place ? ", " : "", r->rule ? r->rule->place : "", what,
                      detail ? detail : "");
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : "";
}

/* ---- what the left side of a condition looks at ---- */

enum rest { PLAIN, PORT_OF_ANY, LOOPBACK, STATUS };
static const struct left_row {
    const char *kind, *name; /* kind: protocol of a payload, meta, ct */
    enum tw_flow_field field;
    unsigned guard;
    int proto;
    enum rest rest;
} left_rows[] = {
    {"ip", "saddr", TW_FLOW_SADDR, FLOW_IS_V4, 0, PLAIN},
    {"ip", "daddr", TW_FLOW_DADDR, FLOW_IS_V4, 0, PLAIN},
    {"ip", "protocol", TW_FLOW_PROTO, FLOW_IS_V4, 0, PLAIN},
    {"ip", "ttl", TW_FLOW_TTL, FLOW_IS_V4, 0, PLAIN},
    {"ip", "dscp", TW_FLOW_DSCP, FLOW_IS_V4, 0, PLAIN},
    {"ip6", "saddr", TW_FLOW_SADDR, FLOW_IS_V6, 0, PLAIN},
    {"ip6", "daddr", TW_FLOW_DADDR, FLOW_IS_V6, 0, PLAIN},
    {"ip6", "nexthdr", TW_FLOW_PROTO, FLOW_IS_V6, 0, PLAIN},
    {"ip6", "hoplimit", TW_FLOW_TTL, FLOW_IS_V6, 0, PLAIN},
    {"ip6", "dscp", TW_FLOW_DSCP, FLOW_IS_V6, 0, PLAIN},
    {"tcp", "sport", TW_FLOW_SPORT, FLOW_IS_PROTO, 6, PLAIN},
    {"tcp", "dport", TW_FLOW_DPORT, FLOW_IS_PROTO, 6, PLAIN},
    {"tcp", "flags", TW_FLOW_FLAGS, FLOW_IS_PROTO, 6, PLAIN},
    {"udp", "sport", TW_FLOW_SPORT, FLOW_IS_PROTO, 17, PLAIN},
    {"udp", "dport", TW_FLOW_DPORT, FLOW_IS_PROTO, 17, PLAIN},
    {"udplite", "sport", TW_FLOW_SPORT, FLOW_IS_PROTO, 136, PLAIN},
    {"udplite", "dport", TW_FLOW_DPORT, FLOW_IS_PROTO, 136, PLAIN},
    {"sctp", "sport", TW_FLOW_SPORT, FLOW_IS_PROTO, 132, PLAIN},
    {"sctp", "dport", TW_FLOW_DPORT, FLOW_IS_PROTO, 132, PLAIN},
    {"dccp", "sport", TW_FLOW_SPORT, FLOW_IS_PROTO, 33, PLAIN},
    {"dccp", "dport", TW_FLOW_DPORT, FLOW_IS_PROTO, 33, PLAIN},
    {"th", "sport", TW_FLOW_SPORT, FLOW_HAS_PORTS, 0, PORT_OF_ANY},
    {"th", "dport", TW_FLOW_DPORT, FLOW_HAS_PORTS, 0, PORT_OF_ANY},
    {"icmp", "type", TW_FLOW_ICMP_TYPE, FLOW_IS_V4 | FLOW_IS_PROTO, 1, PLAIN},
    {"icmp", "code", TW_FLOW_ICMP_CODE, FLOW_IS_V4 | FLOW_IS_PROTO, 1, PLAIN},
    {"icmpv6", "type", TW_FLOW_ICMP_TYPE, FLOW_IS_V6 | FLOW_IS_PROTO, 58, PLAIN},
    {"icmpv6", "code", TW_FLOW_ICMP_CODE, FLOW_IS_V6 | FLOW_IS_PROTO, 58, PLAIN},
    {"meta", "l4proto", TW_FLOW_PROTO, 0, 0, PLAIN},
    {"meta", "nfproto", TW_FLOW_FAMILY, 0, 0, PLAIN},
    {"meta", "protocol", TW_FLOW_FAMILY, 0, 0, PLAIN},
    {"meta", "iifname", TW_FLOW_IIF, 0, 0, PLAIN},
    {"meta", "oifname", TW_FLOW_OIF, 0, 0, PLAIN},
    {"meta", "iif", TW_FLOW_IIF, 0, 0, PLAIN},
    {"meta", "oif", TW_FLOW_OIF, 0, 0, PLAIN},
    {"meta", "iiftype", TW_FLOW_IIF, 0, 0, LOOPBACK},
    {"meta", "oiftype", TW_FLOW_OIF, 0, 0, LOOPBACK},
    {"meta", "mark", TW_FLOW_MARK, 0, 0, PLAIN},
    {"meta", "pkttype", TW_FLOW_PKTTYPE, 0, 0, PLAIN},
    {"ct", "state", TW_FLOW_STATE, 0, 0, PLAIN},
    {"ct", "direction", TW_FLOW_DIRECTION, 0, 0, PLAIN},
    {"ct", "mark", TW_FLOW_CTMARK, 0, 0, PLAIN},
    {"ct", "status", TW_FLOW_DNAT, 0, 0, STATUS},
    {"fib", "daddr", TW_FLOW_DTYPE, 0, 0, PLAIN},
};

static const char *fib_word(const json_t *fib)
{
    const json_t *flags = json_object_get(fib, "flags");
    const char *flag = json_is_array(flags) && json_array_size(flags) == 1
                           ? json_string_value(json_array_get(flags, 0))
                           : json_string_value(flags);

    return strcmp(text_of(fib, "result"), "type") == 0 && flag ? flag : "";
}

/* The row of {"payload": …}, {"meta": …}, {"ct": …}, {"fib": …}; NULL: not known. */
static const struct left_row *left_find(const json_t *expr)
{
    const json_t *payload = json_object_get(expr, "payload"), *meta = json_object_get(expr, "meta"),
                 *ct = json_object_get(expr, "ct"), *fib = json_object_get(expr, "fib");
    const char *kind = payload ? text_of(payload, "protocol") : meta ? "meta" : ct ? "ct" : "fib";
    const char *name = payload ? text_of(payload, "field")
                       : fib   ? fib_word(fib)
                               : text_of(meta ? meta : ct, "key");

    for (size_t i = 0; i < TW_COUNT_OF(left_rows); i++)
        if (strcmp(left_rows[i].kind, kind) == 0 && strcmp(left_rows[i].name, name) == 0)
            return json_object_get(ct, "dir") ? NULL : &left_rows[i];
    return NULL;
}

/* ---- values ---- */

static const unsigned state_bits[TW_FLOW_STATE_COUNT] = {1, 2, 4, 8, 64};
static const struct flow_word state_words[] = {{"invalid", 1}, {"established", 2}, {"related", 4},
                                               {"new", 8},     {"untracked", 64},  {NULL, 0}};
static const struct flow_word flag_words[] = {{"fin", 1},  {"syn", 2},  {"rst", 4},
                                              {"psh", 8},  {"ack", 16}, {"urg", 32},
                                              {"ecn", 64}, {"cwr", 128}, {NULL, 0}};
static const struct flow_word family_words[] = {{"ipv4", 0}, {"ip", 0}, {"ipv6", 1}, {"ip6", 1},
                                                {NULL, 0}};
static const struct flow_word pkttype_words[] = {
    {"host", 0}, {"unicast", 0}, {"broadcast", 1}, {"multicast", 2}, {"other", 3}, {NULL, 0}};
static const struct flow_word dtype_words[] = {
    {"unicast", 0}, {"local", 1}, {"broadcast", 2}, {"multicast", 3}, {NULL, 0}};
static const struct flow_word direction_words[] = {{"original", 0}, {"reply", 1}, {NULL, 0}};
static const struct flow_word status_words[] = {
    {"expected", 1}, {"seen-reply", 2}, {"assured", 4}, {"confirmed", 8},
    {"snat", 16},    {"dnat", 32},      {"dying", 512}, {NULL, 0}};

static int64_t word_value(enum tw_flow_field f, const struct left_row *row, const char *s)
{
    switch (f) {
    case TW_FLOW_STATE:
        return flow_word_find(state_words, s);
    case TW_FLOW_FLAGS:
        return flow_word_find(flag_words, s);
    case TW_FLOW_FAMILY:
        return flow_word_find(family_words, s);
    case TW_FLOW_PKTTYPE:
        return flow_word_find(pkttype_words, s);
    case TW_FLOW_DTYPE:
        return flow_word_find(dtype_words, s);
    case TW_FLOW_DIRECTION:
        return flow_word_find(direction_words, s);
    case TW_FLOW_DNAT:
        return flow_word_find(status_words, s);
    case TW_FLOW_PROTO:
        return flow_proto(s);
    case TW_FLOW_DSCP:
        return flow_word_find(flow_dscp_words, s);
    case TW_FLOW_DPORT:
    case TW_FLOW_SPORT:
        return flow_port(s);
    case TW_FLOW_ICMP_TYPE:
        return flow_word_find(row->proto == 58 ? flow_icmpv6_types : flow_icmp_types, s);
    case TW_FLOW_ICMP_CODE:
        return flow_word_find(row->proto == 58 ? flow_icmpv6_codes : flow_icmp_codes, s);
    default:
        return -1;
    }
}

static int name_value(struct reader *r, const struct left_row *row, const char *s,
                      struct flow_range *ret)
{
    size_t len = strlen(s);
    bool any = len && s[len - 1] == '*' && (len < 2 || s[len - 2] != '\\');
    char name[17] = {0};

    if (row->rest == LOOPBACK)
        s = strcmp(s, "loopback") == 0 ? "lo" : "";
    len = strlen(s);
    if (len > 16 || (row->rest == LOOPBACK && !len))
        return fail(r, "no interface is named", s);
    memcpy(name, s, len - any);
    if (!any && len > 1 && s[len - 1] == '*') { /* "\*": a star that is meant */
        name[len - 2] = '*';
        name[len - 1] = '\0';
    }
    ret->lo = ret->hi = tw_flow_name(name);
    if (any)
        ret->hi = len > 1 ? ret->lo | FLOW_ALL >> (8 * (len - 1)) : FLOW_ALL;
    return 0;
}

static int string_value(struct reader *r, const struct left_row *row, const char *s,
                        struct flow_range *ret)
{
    int64_t n;
    bool v6;
    char *end;

    if (row->field == TW_FLOW_IIF || row->field == TW_FLOW_OIF)
        return name_value(r, row, s, ret);
    if (row->field == TW_FLOW_SADDR || row->field == TW_FLOW_DADDR) {
        if (tw_flow_address(s, &v6, &ret->lo, NULL) < 0 || v6 != ((row->guard & FLOW_IS_V6) != 0))
            return fail(r, "expected an address, not", s);
        ret->hi = ret->lo;
        return 0;
    }
    n = word_value(row->field, row, s);
    if (n < 0) {
        n = (int64_t)strtoull(s, &end, 0);
        if (end == s || *end || n < 0)
            return fail(r, "no value of that field is called", s);
    }
    ret->lo = ret->hi = (tw_flow_num)n;
    return 0;
}

static int value(struct reader *r, const struct left_row *row, const json_t *v,
                 struct flow_range *ret);

static int or_value(struct reader *r, const struct left_row *row, const json_t *list,
                    struct flow_range *ret)
{
    struct flow_range one, all = {0, 0};
    size_t i;
    json_t *item;

    json_array_foreach(list, i, item) {
        int code = value(r, row, item, &one);

        if (code < 0)
            return code;
        all.lo |= one.lo;
    }
    all.hi = all.lo;
    *ret = all;
    return 0;
}

static int prefix_value(struct reader *r, const struct left_row *row, const json_t *prefix,
                        struct flow_range *ret)
{
    json_int_t len = json_integer_value(json_object_get(prefix, "len"));
    int max = row->guard & FLOW_IS_V6 ? 128 : 32;
    int code = value(r, row, json_object_get(prefix, "addr"), ret);

    if (code < 0)
        return code;
    if (len < 0 || len > max || (row->field != TW_FLOW_SADDR && row->field != TW_FLOW_DADDR))
        return fail(r, "no such prefix of field", row->name);
    if (len < 128) {
        ret->lo &= ~(FLOW_ALL >> len);
        ret->hi = ret->lo | FLOW_ALL >> len;
    }
    return 0;
}

/* v4 addresses end in bits nobody looks at. */
static void to_end(const struct left_row *row, struct flow_range *ret)
{
    if ((row->field == TW_FLOW_SADDR || row->field == TW_FLOW_DADDR) && row->guard & FLOW_IS_V4)
        ret->hi |= FLOW_ALL >> 32;
}

static int value(struct reader *r, const struct left_row *row, const json_t *v,
                 struct flow_range *ret)
{
    json_t *inner;
    struct flow_range lo = {0, 0}, hi = {0, 0};
    int code = 0;

    if (json_is_integer(v)) {
        ret->lo = ret->hi = (tw_flow_num)json_integer_value(v);
        return 0;
    }
    if (json_is_string(v)) {
        code = string_value(r, row, json_string_value(v), ret);
    } else if (json_is_array(v)) {
        code = or_value(r, row, v, ret);
    } else if ((inner = json_object_get(v, "|"))) {
        code = or_value(r, row, inner, ret);
    } else if ((inner = json_object_get(v, "elem"))) {
        code = value(r, row, json_object_get(inner, "val"), ret);
    } else if ((inner = json_object_get(v, "prefix"))) {
        code = prefix_value(r, row, inner, ret);
    } else if ((inner = json_object_get(v, "range"))) {
        code = value(r, row, json_array_get(inner, 0), &lo);
        code = code < 0 ? code : value(r, row, json_array_get(inner, 1), &hi);
        *ret = (struct flow_range){lo.lo, hi.hi};
    } else {
        tw_auto_free char *dump = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

        return fail(r, "expected a value, not", dump);
    }
    if (code == 0)
        to_end(row, ret);
    return code;
}

/* ---- tables of elements ---- */

#define NOT_KNOWN 1 /* beside 0 and errors: what is asked is not known to this room */

struct keys {
    const struct left_row *row[FLOW_KEYS_MAX];
    tw_flow_num mask[FLOW_KEYS_MAX];
    int count;
    unsigned guard;
    int proto;
};

static int keys_add(struct reader *r, struct keys *k, const json_t *expr)
{
    json_t *both = json_object_get(expr, "&");
    const struct left_row *row = left_find(both ? json_array_get(both, 0) : expr);
    struct flow_range mask = {FLOW_ALL, FLOW_ALL};
    int code;

    if (!row || k->count == FLOW_KEYS_MAX)
        return NOT_KNOWN;
    if (both) {
        code = value(r, row, json_array_get(both, 1), &mask);
        if (code < 0)
            return code;
    }
    k->row[k->count] = row;
    k->mask[k->count++] = mask.lo;
    k->guard |= row->guard;
    if (row->guard & FLOW_IS_PROTO)
        k->proto = row->proto;
    return 0;
}

static int keys_read(struct reader *r, struct keys *k, const json_t *expr)
{
    json_t *concat = json_object_get(expr, "concat"), *item;
    size_t i;
    int code = 0;

    memset(k, 0, sizeof *k);
    if (!concat)
        return keys_add(r, k, expr);
    json_array_foreach(concat, i, item) {
        code = keys_add(r, k, item);
        if (code)
            break;
    }
    return code;
}

static struct flow_table *table_new(struct reader *r, const struct keys *k, size_t count)
{
    struct flow_table *t = tw_arena_alloc(r->a, sizeof *t);

    t->key_count = k->count;
    for (int i = 0; i < k->count; i++)
        t->keys[i] = (struct flow_key){k->row[i]->field, k->mask[i]};
    t->parts = tw_arena_alloc(r->a, (count * (size_t)k->count + 1) * sizeof *t->parts);
    return t;
}

static int table_put(struct reader *r, struct flow_table *t, const struct keys *k, const json_t *v)
{
    struct flow_range *part = &t->parts[t->count * (size_t)k->count];
    const json_t *elem = json_object_get(v, "elem");
    const json_t *concat;
    int code = 0;

    v = elem ? json_object_get(elem, "val") : v;
    concat = json_object_get(v, "concat");
    if (k->count == 1) {
        code = value(r, k->row[0], v, part);
    } else if (json_array_size(concat) != (size_t)k->count) {
        tw_auto_free char *dump = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

        return fail(r, "expected as many parts as are looked at, not", dump);
    }
    for (int i = 0; k->count > 1 && i < k->count && code == 0; i++)
        code = value(r, k->row[i], json_array_get(concat, (size_t)i), &part[i]);
    t->count++;
    return code;
}

static const struct named_set *set_find(const struct reader *r, const char *name)
{
    for (size_t i = 0; i < r->sets.count; i++) {
        const struct named_set *s = &r->sets.items[i];

        if (strcmp(s->name, name) == 0 && strcmp(s->table, r->chain->table) == 0 &&
            strcmp(s->family, r->chain->family) == 0)
            return s;
    }
    return NULL;
}

/* The elements that "@name" or {"set": […]} stands for; *ret_set NULL for the latter. */
static int elements_of(struct reader *r, const json_t *v, const json_t **ret,
                       const struct named_set **ret_set)
{
    const char *name = json_string_value(v);

    *ret_set = NULL;
    if (!name) {
        *ret = json_object_get(v, "set");
        return 0;
    }
    *ret_set = set_find(r, name + 1);
    if (!*ret_set)
        return fail(r, "there is no set", name);
    *ret = json_object_get((*ret_set)->body, "elem");
    return 0;
}

static void note(struct reader *r, const char *what)
{
    flow_note(r->a, r->rules, r->rule, what);
}

static void unknown(struct reader *r, const struct keys *k, const char *why)
{
    struct flow_cond c = {.unknown = true};

    if (k) {
        c.guard = k->guard;
        c.guard_proto = k->proto;
    }
    flow_step_cond(r->a, r->rule, c);
    note(r, why);
}

/* Fields whose values are bits of which a packet has one: the list of those for which it holds. */
static bool holds(const char *op, uint64_t mask, uint64_t bit, uint64_t right)
{
    bit &= mask;
    return strcmp(op, "in") == 0  ? (bit & right) != 0
           : strcmp(op, "!") == 0 ? (bit & right) == 0
           : strcmp(op, "!=") == 0 ? bit != right
                                   : bit == right;
}

static int state_table(struct reader *r, const struct keys *k, const char *op, const json_t *right,
                       struct flow_table *t)
{
    const json_t *set = json_object_get(right, "set"), *item = right;
    struct flow_range v;
    bool in[TW_FLOW_STATE_COUNT] = {false};
    size_t n = set ? json_array_size(set) : 1;

    for (size_t i = 0; i < n; i++) {
        int code = value(r, k->row[0], set ? json_array_get(set, i) : item, &v);

        if (code < 0)
            return code;
        for (int s = 0; s < TW_FLOW_STATE_COUNT; s++)
            in[s] |= holds(set ? "==" : op, (uint64_t)k->mask[0], state_bits[s], (uint64_t)v.lo);
    }
    t->keys[0].mask = FLOW_ALL;
    t->parts = tw_arena_alloc(r->a, TW_FLOW_STATE_COUNT * sizeof *t->parts);
    for (unsigned s = 0; s < TW_FLOW_STATE_COUNT; s++)
        if (in[s])
            t->parts[t->count++] = (struct flow_range){s, s};
    return 0;
}

static const struct {
    const char *op;
    bool below, with;
} orders[] = {{"<", true, false}, {"<=", true, true}, {">", false, false}, {">=", false, true}};

static bool order_range(const char *op, enum tw_flow_field f, struct flow_range *v)
{
    for (size_t i = 0; i < TW_COUNT_OF(orders); i++) {
        if (strcmp(op, orders[i].op) != 0)
            continue;
        if (orders[i].below) { /* nothing is below 0: lo > hi matches nothing */
            bool none = !orders[i].with && v->lo == 0;

            *v = none ? (struct flow_range){1, 0}
                      : (struct flow_range){0, orders[i].with ? v->hi : v->lo - 1};
        } else {
            bool none = !orders[i].with && v->hi >= flow_field_max(f);

            *v = none ? (struct flow_range){1, 0}
                      : (struct flow_range){orders[i].with ? v->lo : v->hi + 1, flow_field_max(f)};
        }
        return true;
    }
    return false;
}

/* op against one value or a list of them, into a table and whether it is meant negated. */
static int match_table(struct reader *r, const struct keys *k, const char *op, const json_t *right,
                       struct flow_cond *c)
{
    const json_t *elements = NULL, *item;
    const struct named_set *set = NULL;
    bool bits = strcmp(op, "in") == 0 || strcmp(op, "!") == 0, named = false;
    const char *name = json_string_value(right);
    struct flow_table *t;
    size_t i;
    int code;

    named = name && name[0] == '@';
    if (k->count == 1 && k->row[0]->field == TW_FLOW_STATE && !named) {
        t = table_new(r, k, 0);
        code = state_table(r, k, op, right, t);
        c->negate = strcmp(op, "!=") == 0 && json_object_get(right, "set");
        c->table = t;
        return code;
    }
    c->negate = strcmp(op, "!=") == 0;
    if (named || json_object_get(right, "set")) {
        code = elements_of(r, right, &elements, &set);
        if (code < 0)
            return code;
        if (set && set->changing)
            return NOT_KNOWN;
        t = table_new(r, k, json_array_size(elements));
        json_array_foreach(elements, i, item) {
            code = table_put(r, t, k, item);
            if (code < 0)
                return code;
        }
        c->table = t;
        return 0;
    }
    t = table_new(r, k, 1);
    code = table_put(r, t, k, right);
    if (code < 0)
        return code;
    if (bits) {
        if (k->row[0]->rest == STATUS) { /* one bit of those that connection tracking keeps */
            if (t->parts[0].lo != 32)
                return NOT_KNOWN;
            t->parts[0] = (struct flow_range){1, 1};
            c->negate = *op == '!';
        } else {
            t->keys[0].mask = t->parts[0].lo;
            t->parts[0] = (struct flow_range){0, 0};
            c->negate = *op == 'i';
        }
    } else if (k->row[0]->rest == STATUS) {
        return NOT_KNOWN;
    } else {
        (void)order_range(op, t->keys[0].field, &t->parts[0]);
    }
    c->table = t;
    return 0;
}

static int read_match(struct reader *r, const json_t *m)
{
    struct keys k;
    struct flow_cond c = {0};
    const char *op = text_of(m, "op");
    int code = keys_read(r, &k, json_object_get(m, "left"));

    if (code == 0)
        code = match_table(r, &k, op, json_object_get(m, "right"), &c);
    if (code == NOT_KNOWN) {
        tw_auto_free char *dump = json_dumps(json_object_get(m, "left"), JSON_COMPACT);

        unknown(r, &k, tw_arena_printf(r->a, "may match: %s", dump));
        return 0;
    }
    c.guard = k.guard;
    c.guard_proto = k.proto;
    flow_step_cond(r->a, r->rule, c);
    return code;
}

/* ---- verdicts ---- */

static const struct verdict_row {
    const char *name;
    enum flow_action_kind kind;
} verdict_rows[] = {
    {"accept", FLOW_ACCEPT}, {"drop", FLOW_DROP},         {"reject", FLOW_DROP},
    {"queue", FLOW_EITHER},  {"return", FLOW_RETURN},     {"continue", FLOW_CONTINUE},
    {"jump", FLOW_JUMP},     {"goto", FLOW_GOTO},         {"fwd", FLOW_EITHER},
    {"synproxy", FLOW_EITHER},
};

static bool read_verdict(struct reader *r, const char *name, const json_t *body,
                         struct flow_action *ret)
{
    for (size_t i = 0; i < TW_COUNT_OF(verdict_rows); i++) {
        if (strcmp(verdict_rows[i].name, name) != 0)
            continue;
        *ret = (struct flow_action){.kind = verdict_rows[i].kind, .word = verdict_rows[i].name};
        ret->to = tw_arena_strdup(r->a, text_of(body, "target"));
        return true;
    }
    return false;
}

/* Elements that lead to something: [[key, thing], …]. */
typedef int thing_fn(struct reader *r, const json_t *thing, struct flow_action *ret);

static int read_map(struct reader *r, const json_t *map, thing_fn *fn)
{
    struct flow_step step = {.kind = FLOW_STEP_MAP};
    struct keys k;
    const json_t *elements = NULL;
    const struct named_set *set = NULL;
    struct flow_table *t;
    size_t i;
    json_t *item;
    int code = keys_read(r, &k, json_object_get(map, "key"));

    if (code < 0)
        return code;
    if (code == 0)
        code = elements_of(r, json_object_get(map, "data"), &elements, &set);
    if (code < 0)
        return code;
    if (code == NOT_KNOWN || (set && set->changing)) {
        unknown(r, &k, "may match: a map that changes or whose key is not known");
        flow_step_act(r->a, r->rule, (struct flow_action){.kind = FLOW_UNSURE, .word = "map"});
        return 0;
    }
    t = table_new(r, &k, json_array_size(elements) * 2);
    t->actions = tw_arena_alloc(r->a, (json_array_size(elements) + 1) * sizeof *t->actions);
    json_array_foreach(elements, i, item) {
        struct flow_range *part = &t->parts[t->count * (size_t)k.count];

        code = table_put(r, t, &k, json_array_get(item, 0));
        if (code == 0 && k.row[0]->field == TW_FLOW_STATE && k.count == 1) {
            int s = 0;

            while (s < TW_FLOW_STATE_COUNT && state_bits[s] != part->lo)
                s++;
            *part = (struct flow_range){(unsigned)s, (unsigned)s};
        }
        code = code < 0 ? code : fn(r, json_array_get(item, 1), &t->actions[t->count - 1]);
        if (code < 0)
            return code;
    }
    step.cond = (struct flow_cond){.guard = k.guard, .guard_proto = k.proto, .table = t};
    TW_PUSH(r->a, &r->rule->steps, step);
    return 0;
}

static int thing_verdict(struct reader *r, const json_t *thing, struct flow_action *ret)
{
    const char *name = json_object_iter_key(json_object_iter((json_t *)(uintptr_t)thing));

    if (!name || !read_verdict(r, name, json_object_get(thing, name), ret))
        return fail(r, "no verdict is called", name);
    return 0;
}

/* ---- writing fields ---- */

static const struct left_row *const no_row = NULL;

/* {"|": [the same field, number]} and its relatives: how old bits become new ones. */
static bool read_bits(const json_t *v, const json_t *same, struct flow_action *act)
{
    static const char *const ops[] = {"|", "&", "^"};

    for (size_t i = 0; i < TW_COUNT_OF(ops); i++) {
        const json_t *both = json_object_get(v, ops[i]);
        uint32_t n = (uint32_t)json_integer_value(json_array_get(both, 1));
        struct flow_action old = {.mask = 0};

        if (!both || !json_is_integer(json_array_get(both, 1)))
            continue;
        if (!json_equal(json_array_get(both, 0), same) &&
            !read_bits(json_array_get(both, 0), same, &old))
            return false;
        /* new = (old & ~mask) ^ value, after what the inner one did */
        act->mask = i == 0 ? old.mask | n : i == 1 ? old.mask | (uint32_t)~n : old.mask;
        act->value = i == 0   ? (old.value & ~(tw_flow_num)n) | n
                     : i == 1 ? old.value & n
                              : old.value ^ n;
        return true;
    }
    return false;
}

static struct flow_action set_all(enum tw_flow_field f, tw_flow_num v)
{
    return (struct flow_action){
        .kind = FLOW_SET, .word = "set", .field = f, .mask = flow_field_max(f), .value = v};
}

static struct flow_action set_unknown(enum tw_flow_field f)
{
    struct flow_action act = set_all(f, 0);

    act.unknown = act.mask;
    return act;
}

static int thing_mark(struct reader *r, const json_t *thing, struct flow_action *ret)
{
    (void)r;
    *ret = set_all(TW_FLOW_MARK, (tw_flow_num)json_integer_value(thing));
    return 0;
}

static int thing_ctmark(struct reader *r, const json_t *thing, struct flow_action *ret)
{
    (void)r;
    *ret = set_all(TW_FLOW_CTMARK, (tw_flow_num)json_integer_value(thing));
    return 0;
}

static int read_mangle(struct reader *r, const json_t *m)
{
    const json_t *key = json_object_get(m, "key"), *v = json_object_get(m, "value");
    const json_t *map = json_object_get(v, "map");
    const struct left_row *row = left_find(key);
    struct flow_action act = {.kind = FLOW_SET, .word = "set"};
    struct flow_range n;
    bool mark = row && (row->field == TW_FLOW_MARK || row->field == TW_FLOW_CTMARK);

    if (row == no_row) /* nothing that rules here look at */
        return 0;
    if (mark && map)
        return read_map(r, map, row->field == TW_FLOW_MARK ? thing_mark : thing_ctmark);
    act.field = row->field;
    if (mark && read_bits(v, key, &act)) {
        flow_step_act(r->a, r->rule, act);
        return 0;
    }
    if (json_is_integer(v) || (json_is_string(v) && !mark)) {
        int code = value(r, row, v, &n);

        if (code < 0)
            return code;
        flow_step_act(r->a, r->rule, set_all(row->field, n.lo));
        return 0;
    }
    flow_step_act(r->a, r->rule, set_unknown(row->field));
    note(r, tw_arena_printf(r->a, "%s is set to what only the kernel knows", row->name));
    return 0;
}

/* ---- address translation ---- */

static const struct left_row addr4 = {"ip", "addr", TW_FLOW_DADDR, FLOW_IS_V4, 0, PLAIN},
                             addr6 = {"ip6", "addr", TW_FLOW_DADDR, FLOW_IS_V6, 0, PLAIN},
                             port_row = {"th", "port", TW_FLOW_DPORT, 0, 0, PLAIN};

static const char *first_address(const json_t *v)
{
    const json_t *inner = json_object_get(v, "prefix");

    if (inner)
        v = json_object_get(inner, "addr");
    inner = json_object_get(v, "range");
    return json_string_value(inner ? json_array_get(inner, 0) : v);
}

static int nat_addr(struct reader *r, const json_t *v, struct flow_action *act)
{
    const char *text = first_address(v);
    bool v6 = text && strchr(text, ':');

    act->has_addr = true;
    act->family = v6;
    return value(r, v6 ? &addr6 : &addr4, v, &act->addr);
}

static int nat_thing(struct reader *r, const json_t *thing, struct flow_action *ret)
{
    const json_t *concat = json_object_get(thing, "concat");
    int code;

    *ret = (struct flow_action){.kind = FLOW_DNAT, .word = "dnat"};
    code = nat_addr(r, concat ? json_array_get(concat, 0) : thing, ret);
    if (code == 0 && concat) {
        ret->has_port = true;
        code = value(r, &port_row, json_array_get(concat, 1), &ret->port);
    }
    return code;
}

static int snat_thing(struct reader *r, const json_t *thing, struct flow_action *ret)
{
    int code = nat_thing(r, thing, ret);

    ret->kind = FLOW_SNAT;
    ret->word = "snat";
    return code;
}

static int port_thing(struct reader *r, const json_t *thing, struct flow_action *ret)
{
    *ret = (struct flow_action){.kind = FLOW_DNAT, .word = "redirect", .any_addr = true, .family = -1,
                                .has_port = true};
    return value(r, &port_row, thing, &ret->port);
}

static int read_nat(struct reader *r, const char *name, const json_t *body)
{
    bool destination = strcmp(name, "dnat") == 0 || strcmp(name, "redirect") == 0;
    const json_t *addr = json_object_get(body, "addr"), *port = json_object_get(body, "port");
    const json_t *map = json_object_get(addr, "map");
    struct flow_action act = {.kind = destination ? FLOW_DNAT : FLOW_SNAT,
                              .word = tw_arena_strdup(r->a, name),
                              .family = -1};
    int code = 0;

    if (map)
        return read_map(r, map, destination ? nat_thing : snat_thing);
    if (json_object_get(port, "map") && !addr)
        return read_map(r, json_object_get(port, "map"), port_thing);
    act.any_addr = !addr && strcmp(name, "snat") != 0 && strcmp(name, "dnat") != 0;
    if (addr)
        code = nat_addr(r, addr, &act);
    if (port && code == 0) {
        act.has_port = true;
        code = value(r, &port_row, port, &act.port);
    }
    flow_step_act(r->a, r->rule, act);
    return code;
}

/* ---- statements ---- */

enum statement { NO_MATTER, MAYBE, NAT_OF, MAP_OF };
static const struct statement_row {
    const char *name;
    enum statement what;
} statement_rows[] = {
    {"counter", NO_MATTER},   {"log", NO_MATTER},    {"comment", NO_MATTER}, {"set", NO_MATTER},
    {"ct helper", NO_MATTER}, {"ct timeout", NO_MATTER}, {"ct expectation", NO_MATTER},
    {"dup", NO_MATTER},       {"flow", NO_MATTER},   {"map", NO_MATTER},     {"secmark", NO_MATTER},
    {"tproxy", NO_MATTER},    {"limit", MAYBE},      {"quota", MAYBE},       {"ct count", MAYBE},
    {"meter", MAYBE},         {"last", NO_MATTER},   {"dnat", NAT_OF},       {"snat", NAT_OF},
    {"masquerade", NAT_OF},   {"redirect", NAT_OF},  {"vmap", MAP_OF},
};

static int read_known(struct reader *r, const struct statement_row *row, const json_t *body)
{
    const json_t *packets = json_object_get(body, "packets");

    switch (row->what) {
    case MAYBE:
        unknown(r, NULL, tw_arena_printf(r->a, "may match: %s", row->name));
        return 0;
    case NAT_OF:
        return read_nat(r, row->name, body);
    case MAP_OF:
        return read_map(r, body, thing_verdict);
    default:
        if (strcmp(row->name, "counter") == 0 && packets)
            r->rule->packets = json_integer_value(packets);
        if (strcmp(row->name, "log") == 0)
            r->rule->logs = true;
        return 0;
    }
}

/* What kind of refusal it is tells for which packets: "meta nfproto ipv6 reject" is printed as a
 * reject of type icmpv6 and nothing else. */
static void reject_guard(struct reader *r, const char *type)
{
    struct flow_cond c = {.guard = strcmp(type, "icmp") == 0        ? FLOW_IS_V4
                                   : strcmp(type, "icmpv6") == 0    ? FLOW_IS_V6
                                   : strcmp(type, "tcp reset") == 0 ? FLOW_IS_PROTO
                                                                    : 0,
                          .guard_proto = 6};

    if (c.guard)
        flow_step_cond(r->a, r->rule, c);
}

static int read_statement(struct reader *r, const json_t *statement)
{
    const char *name = json_object_iter_key(json_object_iter((json_t *)(uintptr_t)statement));
    const json_t *body = name ? json_object_get(statement, name) : NULL;
    struct flow_action act;

    if (!name)
        return fail(r, "expected a statement", "");
    if (strcmp(name, "match") == 0)
        return read_match(r, body);
    if (strcmp(name, "mangle") == 0)
        return read_mangle(r, body);
    if (strcmp(name, "notrack") == 0) {
        flow_step_act(r->a, r->rule, set_all(TW_FLOW_STATE, TW_FLOW_UNTRACKED));
        return 0;
    }
    if (read_verdict(r, name, body, &act)) {
        if (strcmp(name, "reject") == 0)
            reject_guard(r, text_of(body, "type"));
        flow_step_act(r->a, r->rule, act);
        return 0;
    }
    for (size_t i = 0; i < TW_COUNT_OF(statement_rows); i++)
        if (strcmp(statement_rows[i].name, name) == 0)
            return read_known(r, &statement_rows[i], body);
    unknown(r, NULL, tw_arena_printf(r->a, "may match and may decide: %s", name));
    flow_step_act(r->a, r->rule, (struct flow_action){.kind = FLOW_UNSURE, .word = "?"});
    return 0;
}

/* ---- rules as text, the way they are written ---- */

static void say(struct tw_buf *b, const json_t *v);

static void say_list(struct tw_buf *b, const json_t *list, const char *between)
{
    size_t i;
    json_t *item;

    json_array_foreach(list, i, item) {
        if (i)
            tw_buf_puts(b, between);
        if (i == 8 && json_array_size(list) > 9) {
            tw_buf_printf(b, "… %zu more", json_array_size(list) - 8);
            return;
        }
        if (json_is_array(item) && json_array_size(item) == 2) {
            say(b, json_array_get(item, 0));
            tw_buf_puts(b, " : ");
            say(b, json_array_get(item, 1));
        } else {
            say(b, item);
        }
    }
}

static void say_object(struct tw_buf *b, const char *key, const json_t *v)
{
    const json_t *right = json_object_get(v, "right");
    const char *op = text_of(v, "op");

    if (strcmp(key, "match") == 0) {
        say(b, json_object_get(v, "left"));
        if (strcmp(op, "==") && strcmp(op, "in"))
            tw_buf_printf(b, " %s", op);
        tw_buf_puts(b, " ");
        say(b, right);
    } else if (strcmp(key, "payload") == 0) {
        tw_buf_printf(b, "%s %s", text_of(v, "protocol"), text_of(v, "field"));
    } else if (strcmp(key, "meta") == 0) {
        tw_buf_printf(b, "%s", text_of(v, "key"));
    } else if (strcmp(key, "ct") == 0) {
        tw_buf_printf(b, "ct %s", text_of(v, "key"));
    } else if (strcmp(key, "prefix") == 0) {
        tw_buf_printf(b, "%s/%d", text_of(v, "addr"), (int)json_integer_value(json_object_get(v, "len")));
    } else if (strcmp(key, "range") == 0) {
        say_list(b, v, "-");
    } else if (strcmp(key, "concat") == 0) {
        say_list(b, v, " . ");
    } else if (strcmp(key, "set") == 0 && json_is_array(v)) {
        tw_buf_puts(b, "{ ");
        say_list(b, v, ", ");
        tw_buf_puts(b, " }");
    } else if (strcmp(key, "&") == 0 || strcmp(key, "|") == 0 || strcmp(key, "^") == 0) {
        tw_buf_puts(b, "");
        say_list(b, v, key[0] == '&' ? " & " : key[0] == '|' ? " | " : " ^ ");
    } else if (strcmp(key, "vmap") == 0 || strcmp(key, "map") == 0) {
        say(b, json_object_get(v, "key"));
        tw_buf_printf(b, " %s ", key);
        say(b, json_object_get(v, "data"));
    } else if (strcmp(key, "mangle") == 0) {
        say(b, json_object_get(v, "key"));
        tw_buf_puts(b, " set ");
        say(b, json_object_get(v, "value"));
    } else if (strcmp(key, "jump") == 0 || strcmp(key, "goto") == 0) {
        tw_buf_printf(b, "%s %s", key, text_of(v, "target"));
    } else {
        tw_buf_puts(b, key);
        if (json_object_get(v, "addr") || json_object_get(v, "port")) {
            tw_buf_puts(b, " to ");
            say(b, json_object_get(v, "addr"));
            if (json_object_get(v, "port"))
                tw_buf_puts(b, ":");
            say(b, json_object_get(v, "port"));
        }
    }
}

static void say(struct tw_buf *b, const json_t *v)
{
    const char *key;
    json_t *inner;

    if (json_is_string(v))
        tw_buf_puts(b, json_string_value(v));
    else if (json_is_integer(v))
        tw_buf_printf(b, "%lld", (long long)json_integer_value(v));
    else if (json_is_array(v))
        say_list(b, v, ",");
    json_object_foreach((json_t *)(uintptr_t)v, key, inner) {
        say_object(b, key, inner);
    }
}

static const char *rule_text(struct reader *r, const json_t *expr)
{
    tw_auto_buf b = {0};
    size_t i;
    json_t *item;

    tw_buf_init(&b, 4096);
    json_array_foreach(expr, i, item) {
        if (json_object_get(item, "counter"))
            continue;
        if (b.len)
            tw_buf_puts(&b, " ");
        say(&b, item);
    }
    return tw_arena_strdup(r->a, tw_buf_text(&b));
}

/* ---- objects ---- */

static bool family_known(const char *family)
{
    static const char *const families[] = {"ip", "ip6", "inet", "netdev"};

    return tw_name_index(family, families, TW_COUNT_OF(families)) >= 0;
}

static int chain_hook(struct reader *r, const json_t *body, struct flow_chain *c)
{
    const char *hook = text_of(body, "hook"), *policy = text_of(body, "policy");
    int h = tw_name_index(hook, tw_flow_hook_names, TW_FLOW_HOOK_COUNT);
    const json_t *prio = json_object_get(body, "prio");

    c->base = *hook != '\0';
    if (!c->base)
        return 0;
    c->prio = (int)json_integer_value(prio);
    c->nat = strcmp(text_of(body, "type"), "nat") == 0;
    c->policy = strcmp(policy, "drop") == 0 ? FLOW_DROP : FLOW_ACCEPT;
    if (strcmp(hook, "ingress") == 0) { /* before everything else */
        h = TW_FLOW_PREROUTING;
        c->prio = -100000 + c->prio % 1000;
    }
    if (strcmp(hook, "egress") == 0) {
        h = TW_FLOW_POSTROUTING;
        c->prio = 100000 + c->prio % 1000;
    }
    if (h < 0)
        return fail(r, "there is no hook", hook);
    c->hook = (enum tw_flow_hook)h;
    return 0;
}

static int read_chain(struct reader *r, const json_t *body)
{
    struct flow_chain c = {.family = tw_arena_strdup(r->a, text_of(body, "family")),
                           .table = tw_arena_strdup(r->a, text_of(body, "table")),
                           .name = tw_arena_strdup(r->a, text_of(body, "name")),
                           .policy = FLOW_ACCEPT};
    int code = chain_hook(r, body, &c);

    c.families = strcmp(c.family, "ip") == 0    ? FLOW_IS_V4
                 : strcmp(c.family, "ip6") == 0 ? FLOW_IS_V6
                                                : FLOW_IS_V4 | FLOW_IS_V6;
    if (code < 0)
        return code;
    if (!*c.name || !*c.table)
        return fail(r, "a chain has no", *c.name ? "table" : "name");
    if (flow_chain_find(r->rules, c.family, c.table, c.name))
        return fail(r, "there are two chains", c.name);
    (void)flow_chain_add(r->a, r->rules, &c);
    return 0;
}

static int read_set(struct reader *r, const json_t *body)
{
    struct named_set s = {tw_arena_strdup(r->a, text_of(body, "family")),
                          tw_arena_strdup(r->a, text_of(body, "table")),
                          tw_arena_strdup(r->a, text_of(body, "name")),
                          json_incref((json_t *)(uintptr_t)body), false};
    const json_t *flags = json_object_get(body, "flags");
    size_t i;
    json_t *flag;

    json_array_foreach(flags, i, flag) {
        const char *f = json_string_value(flag);

        s.changing |= f && (strcmp(f, "timeout") == 0 || strcmp(f, "dynamic") == 0);
    }
    TW_PUSH(r->a, &r->sets, s);
    return 0;
}

/* Chains of one table come together: the last one found is most often the next one asked for. */
static struct flow_chain *chain_of_rule(struct reader *r, const json_t *body)
{
    const char *family = text_of(body, "family"), *table = text_of(body, "table"),
               *name = text_of(body, "chain");

    if (!r->chain || strcmp(r->chain->name, name) || strcmp(r->chain->table, table) ||
        strcmp(r->chain->family, family))
        r->chain = flow_chain_find(r->rules, family, table, name);
    return (struct flow_chain *)(uintptr_t)r->chain;
}

static int read_rule(struct reader *r, const json_t *body)
{
    const json_t *expr = json_object_get(body, "expr"), *handle = json_object_get(body, "handle");
    struct flow_chain *c = chain_of_rule(r, body);
    size_t i, len = strlen(r->pointer);
    json_t *statement;

    if (!c)
        return fail(r, "there is no chain", text_of(body, "chain"));
    r->rule = flow_rule_add(r->a, r->rules, c);
    r->rule->handle = handle ? json_integer_value(handle) : -1;
    r->rule->place =
        handle ? tw_arena_printf(r->a, "%s %s %s, handle %lld", c->family, c->table, c->name,
                                 (long long)r->rule->handle)
               : tw_arena_printf(r->a, "%s %s %s, rule %zu", c->family, c->table, c->name,
                                 c->rules.count);
    r->rule->text = rule_text(r, expr);
    json_array_foreach(expr, i, statement) {
        int code;

        (void)snprintf(r->pointer + len, sizeof r->pointer - len, "/expr/%zu", i);
        code = read_statement(r, statement);
        if (code < 0)
            return code;
    }
    r->pointer[len] = '\0';
    r->rule = NULL;
    return 0;
}

/* Sets that rules add to: what is in them tells nothing of later. */
static void mark_changing(struct reader *r, const char *text, size_t len)
{
    static const char *const marks[] = {"\"set\": \"@", "\"set\":\"@", "\"map\": \"@",
                                        "\"map\":\"@"};

    for (size_t m = 0; m < TW_COUNT_OF(marks); m++) {
        const char *at = text, *end = text + len;
        size_t n = strlen(marks[m]);

        while ((at = memmem(at, (size_t)(end - at), marks[m], n))) {
            at += n;
            for (size_t i = 0; i < r->sets.count; i++) {
                size_t k = strlen(r->sets.items[i].name);

                if ((size_t)(end - at) > k && at[k] == '"' &&
                    memcmp(at, r->sets.items[i].name, k) == 0)
                    r->sets.items[i].changing = true;
            }
        }
    }
}

static int read_object(struct reader *r, json_t *object, const struct piece *piece, bool rules)
{
    const char *kind = json_object_iter_key(json_object_iter(object));
    json_t *body = kind ? json_object_get(object, kind) : NULL;

    if (kind && strcmp(kind, "add") == 0 && json_is_object(body)) {
        kind = json_object_iter_key(json_object_iter(body));
        body = kind ? json_object_get(body, kind) : NULL;
    }
    if (!kind)
        return fail(r, "expected an object", "");
    (void)snprintf(r->pointer, sizeof r->pointer, "/nftables/%zu/%s", piece->index, kind);
    if (!rules && strcmp(kind, "table") == 0 && strcmp(text_of(body, "family"), "bridge") == 0)
        flow_note(r->a, r->rules, NULL, "bridge tables: frames that are only bridged are not seen");
    if (*text_of(body, "family") && !family_known(text_of(body, "family")))
        return 0;
    if (rules)
        return strcmp(kind, "rule") == 0 ? read_rule(r, body) : 0;
    if (strcmp(kind, "rule") == 0) {
        mark_changing(r, piece->text, piece->len);
        return 0;
    }
    if (strcmp(kind, "chain") == 0)
        return read_chain(r, body);
    if (strcmp(kind, "set") == 0 || strcmp(kind, "map") == 0)
        return read_set(r, body);
    return 0;
}

static int line_of(const char *text, const char *at)
{
    int line = 1;

    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

static int read_piece(struct reader *r, const char *all, const struct piece *p, bool rules)
{
    json_error_t bad;
    json_t *object = json_loadb(p->text, p->len, JSON_REJECT_DUPLICATES, &bad);
    int code;

    (void)snprintf(r->pointer, sizeof r->pointer, "/nftables/%zu", p->index);
    if (!object)
        return tw_fail_at(r->err, -EINVAL, r->pointer, "line %d: %s",
                          line_of(all, p->text) + bad.line - 1, bad.text);
    code = read_object(r, object, p, rules);
    json_decref(object);
    return code;
}

/* The end of the object or text that begins at `at`; NULL: it has none. */
static const char *end_of(const char *at, const char *end)
{
    int depth = 0;
    bool quoted = false;

    for (; at < end; at++) {
        if (quoted) {
            if (*at == '\\')
                at++;
            else if (*at == '"')
                quoted = false;
        } else if (*at == '"') {
            quoted = true;
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if ((*at == '}' || *at == ']') && --depth <= 0) {
            return at + 1;
        }
    }
    return NULL;
}

static const char *skip(const char *at, const char *end, const char *also)
{
    while (at < end && (isspace((unsigned char)*at) || strchr(also, *at)))
        at++;
    return at;
}

static int split(struct reader *r, const char *text, size_t len)
{
    static const char key[] = "\"nftables\"";
    const char *end = text + len, *at = memmem(text, len, key, sizeof key - 1);
    size_t index = 0;

    at = at ? skip(at + sizeof key - 1, end, ":") : NULL;
    if (!at || at >= end || *at != '[')
        return tw_fail(r->err, -EINVAL,
                       "no rule set of nftables: expected {\"nftables\": […]}, as nft -j list ruleset "
                       "prints it");
    for (at = skip(at + 1, end, ""); at < end && *at != ']'; at = skip(at, end, ",")) {
        const char *stop = *at == '{' ? end_of(at, end) : NULL;

        if (!stop)
            return tw_fail(r->err, -EINVAL, "line %d: %s", line_of(text, at),
                           *at == '{' ? "the object that begins here has no end"
                                      : "expected an object");
        TW_PUSH(r->a, &r->pieces, (struct piece){at, (size_t)(stop - at), index++});
        at = stop;
    }
    if (at >= end)
        return tw_fail(r->err, -EINVAL, "line %d: the list of nftables has no end",
                       line_of(text, end));
    return 0;
}

/* The first word in a rule's text says that it is one, without reading it. */
static bool is_rule(const struct piece *p)
{
    const char *at = skip(p->text + 1, p->text + p->len, "");

    return (size_t)(p->text + p->len - at) > 6 && memcmp(at, "\"rule\"", 6) == 0;
}

int tw_flow_read_nft(struct tw_arena *a, const char *json, size_t len,
                     const struct tw_flow_rules **ret, struct tw_err *err)
{
    struct reader r = {.a = a, .rules = tw_arena_alloc(a, sizeof *r.rules), .err = err};
    int code = split(&r, json, len);

    for (size_t i = 0; i < r.pieces.count && code >= 0; i++)
        if (!is_rule(&r.pieces.items[i]))
            code = read_piece(&r, json, &r.pieces.items[i], false);
    for (size_t i = 0; i < r.pieces.count && code >= 0; i++)
        if (is_rule(&r.pieces.items[i]))
            mark_changing(&r, r.pieces.items[i].text, r.pieces.items[i].len);
    for (size_t i = 0; i < r.pieces.count && code >= 0; i++)
        code = read_piece(&r, json, &r.pieces.items[i], true);
    for (size_t i = 0; i < r.sets.count; i++)
        json_decref(r.sets.items[i].body);
    code = code < 0 ? code : flow_rules_finish(a, r.rules, err);
    if (code >= 0)
        *ret = r.rules;
    return code < 0 ? code : 0;
}
