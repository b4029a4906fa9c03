/* A rule as people ask for it ("add_rule"): made in the words of the rule set, put before the first
 * rule that would decide otherwise for any of its packets. */
#include "flow_internal.h"

#include <stdlib.h>
#include <string.h>

struct wanted {
    const char *source;
    bool has_source;
    struct tw_flow_prefix from;
    int proto, port;
    enum flow_action_kind act;
    const char *verdict;
};

static int understand(const struct tw_flow_rule *rule, struct wanted *w, struct tw_err *err)
{
    static const char *const verdicts[] = {"accept", "drop", "reject"};
    const char *verdict = rule->verdict ? rule->verdict : "accept";
    int v = tw_name_index(verdict, verdicts, TW_COUNT_OF(verdicts));

    *w = (struct wanted){.source = rule->source, .proto = -1, .port = rule->port};
    if (v < 0)
        return tw_fail(err, -EINVAL, "verdict '%s': expected accept, drop or reject", verdict);
    w->verdict = verdicts[v];
    w->act = v == 0 ? FLOW_ACCEPT : FLOW_DROP;
    if (rule->protocol) {
        w->proto = flow_proto(rule->protocol);
        if (w->proto < 0)
            return tw_fail(err, -EINVAL, "no protocol is called '%s'", rule->protocol);
    }
    if (w->port > 65535)
        return tw_fail(err, -EINVAL, "port %d: expected 0..65535", w->port);
    if (w->port >= 0 && w->proto >= 0 && !flow_has_ports((tw_flow_num)w->proto))
        return tw_fail(err, -EINVAL, "protocol '%s' has no ports", rule->protocol);
    if (w->port >= 0 && w->proto < 0)
        w->proto = 6;
    w->has_source = rule->source != NULL;
    return w->has_source ? tw_flow_prefix(rule->source, &w->from, err) : 0;
}

static unsigned families_of(const struct wanted *w)
{
    return !w->has_source ? FLOW_IS_V4 | FLOW_IS_V6 : w->from.v6 ? FLOW_IS_V6 : FLOW_IS_V4;
}

/* A source of everybody is none, but of its family. */
static bool everybody(const struct wanted *w)
{
    return w->has_source && w->from.first == 0 &&
           (w->from.v6 ? w->from.last == FLOW_ALL : w->from.last >> 96 == 0xffffffffU);
}

static int icmp_proto(const struct flow_chain *c, int proto)
{
    return (proto == 1 || proto == 58) && c->families == FLOW_IS_V6 ? 58 : proto;
}

static void make_steps(struct tw_arena *a, const struct flow_chain *c, const struct wanted *w,
                       struct flow_rule *rule)
{
    struct flow_range one;

    if (w->has_source) {
        one = (struct flow_range){w->from.first, w->from.last};
        flow_step_cond(a, rule,
                       (struct flow_cond){.guard = families_of(w),
                                          .table = flow_table_of(a, TW_FLOW_SADDR, FLOW_ALL, &one, 1)});
    }
    if (w->proto >= 0)
        flow_step_cond(a, rule, (struct flow_cond){.guard = FLOW_IS_PROTO,
                                                   .guard_proto = icmp_proto(c, w->proto)});
    if (w->port >= 0) {
        one = (struct flow_range){(tw_flow_num)w->port, (tw_flow_num)w->port};
        flow_step_cond(a, rule, (struct flow_cond){
                                    .table = flow_table_of(a, TW_FLOW_DPORT, FLOW_ALL, &one, 1)});
    }
    flow_step_act(a, rule, (struct flow_action){.kind = w->act, .word = w->verdict});
}

static char *nft_text(struct tw_arena *a, const struct flow_chain *c, const struct wanted *w)
{
    const char *proto = w->proto < 0 ? "" : flow_proto_name(a, icmp_proto(c, w->proto));
    char *text = tw_arena_strdup(a, "");

    if (everybody(w) && c->families == (FLOW_IS_V4 | FLOW_IS_V6))
        text = tw_arena_printf(a, "meta nfproto %s ", w->from.v6 ? "ipv6" : "ipv4");
    if (w->has_source && !everybody(w))
        text = tw_arena_printf(a, "%s saddr %s ", w->from.v6 ? "ip6" : "ip", w->source);
    if (w->proto >= 0 && w->port < 0)
        text = tw_arena_printf(a, "%smeta l4proto %s ", text, proto);
    if (w->port >= 0)
        text = tw_arena_printf(a, "%s%s dport %d ", text, proto, w->port);
    return tw_arena_printf(a, "%s%s", text, w->verdict);
}

static char *xtables_text(struct tw_arena *a, const struct flow_chain *c, const struct wanted *w)
{
    char *text = tw_arena_strdup(a, "");

    if (w->has_source && !everybody(w))
        text = tw_arena_printf(a, "-s %s ", w->source);
    if (w->proto >= 0)
        text = tw_arena_printf(a, "%s-p %s ", text, flow_proto_name(a, icmp_proto(c, w->proto)));
    if (w->port >= 0)
        text = tw_arena_printf(a, "%s--dport %d ", text, w->port);
    return tw_arena_printf(a, "%s-j %s", text,
                           w->act == FLOW_ACCEPT               ? "ACCEPT"
                           : strcmp(w->verdict, "reject") == 0 ? "REJECT"
                                                               : "DROP");
}

/* Whether a rule may decide otherwise for some of the packets; takes those it decides alike. */
static bool decides_otherwise(struct tw_flow_space *s, const struct tw_flow_rules *r,
                              const struct flow_chain *c, size_t at, enum flow_action_kind act,
                              uint32_t *packets)
{
    struct flow_outcome o;
    struct flow_chain one = *c;
    uint32_t left = 0;
    bool other;

    one.rules.items = &c->rules.items[at];
    one.rules.count = 1;
    flow_walk_chain(s, r, &one, 0, *packets, &o);
    other = act == FLOW_ACCEPT ? o.drop != 0 : o.accept != 0;
    for (size_t i = 0; i < o.end.count; i++)
        left = flow_dd_or(s->dd, left, o.end.items[i].set);
    free(o.end.items);
    *packets = left;
    return other;
}

/* The place of the new rule: an index, the number of rules for the end. */
static size_t find_place(struct tw_flow_space *s, const struct tw_flow_rules *r,
                         const struct flow_chain *c, const struct flow_rule *rule,
                         enum flow_action_kind act)
{
    size_t step;
    uint32_t packets = flow_dd_and(s->dd, flow_rule_pair(s, rule, 0, &step).hi,
                                   flow_world(s, TW_FLOW_TO_HOST, true));

    for (size_t i = 0; i < c->rules.count && packets; i++)
        if (decides_otherwise(s, r, c, i, act, &packets))
            return i;
    return c->rules.count;
}

static void put(struct tw_arena *a, struct flow_chain *c, size_t at, struct flow_rule *rule)
{
    struct flow_rule **items = tw_arena_alloc(a, (c->rules.count + 2) * sizeof *items);

    memcpy(items, c->rules.items, at * sizeof *items);
    items[at] = rule;
    memcpy(items + at + 1, c->rules.items + at, (c->rules.count - at) * sizeof *items);
    c->rules.items = items;
    c->rules.count++;
}

static struct tw_flow_made tell(struct tw_arena *a, const struct flow_chain *c,
                                const struct flow_rule *before, size_t at, const char *text)
{
    struct tw_flow_made made = {.rule = text};

    made.place = before ? tw_arena_printf(a, "%s %s %s, before %s (%s)", c->family, c->table, c->name,
                                          before->place, before->text)
                        : tw_arena_printf(a, "%s %s %s, at the end", c->family, c->table, c->name);
    if (c->xtables)
        made.command = before ? tw_arena_printf(a, "%stables -I %s %zu %s", c->families & FLOW_IS_V6 ? "ip6" : "ip",
                                                c->name, at + 1, text)
                              : tw_arena_printf(a, "%stables -A %s %s", c->families & FLOW_IS_V6 ? "ip6" : "ip",
                                                c->name, text);
    else if (before && before->handle >= 0)
        made.command = tw_arena_printf(a, "nft insert rule %s %s %s handle %lld %s", c->family, c->table,
                                       c->name, (long long)before->handle, text);
    else if (before)
        made.command = tw_arena_printf(a, "nft insert rule %s %s %s index %zu %s", c->family, c->table,
                                       c->name, at, text);
    else
        made.command = tw_arena_printf(a, "nft add rule %s %s %s %s", c->family, c->table, c->name, text);
    return made;
}

static bool fits(const struct flow_chain *c, const struct tw_flow_rule *rule, unsigned missing)
{
    if (!(c->families & missing))
        return false;
    if (rule->chain)
        return strcmp(c->name, rule->chain) == 0 && strcmp(c->table, "nat") != 0;
    if (!c->base || c->nat || c->hook != TW_FLOW_INPUT)
        return false;
    return !c->xtables || strcmp(c->table, "filter") == 0;
}

/* Of several the one that decides last is no better than the first: a drop anywhere is a drop. The
 * one with rules or a dropping policy is where people keep them. */
static struct flow_chain *chain_for(const struct tw_flow_rules *r, const struct tw_flow_rule *rule,
                                    unsigned missing)
{
    struct flow_chain *best = NULL;

    for (size_t i = 0; i < r->chains.count; i++) {
        struct flow_chain *c = r->chains.items[i];

        if (fits(c, rule, missing) &&
            (!best || (best->policy != FLOW_DROP && c->policy == FLOW_DROP) ||
             (best->policy == c->policy && best->rules.count < c->rules.count)))
            best = c;
    }
    return best;
}

int tw_flow_add(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_rules *r,
                const struct tw_flow_rule *rule, struct tw_flow_mades *ret_made,
                const struct tw_flow_rules **ret_rules, struct tw_err *err)
{
    struct tw_flow_rules *copy = flow_rules_copy(a, r);
    struct flow_chain *c;
    struct wanted w;
    unsigned missing;
    int code = understand(rule, &w, err);

    *ret_made = (struct tw_flow_mades){0};
    if (code < 0)
        return code;
    code = flow_rules_finish(a, copy, err);
    for (missing = families_of(&w); code == 0 && missing && (c = chain_for(copy, rule, missing));
         missing &= ~c->families) {
        struct flow_rule *made = tw_arena_alloc(a, sizeof *made);
        struct flow_rule *before;
        size_t at;

        made->handle = made->packets = -1;
        make_steps(a, c, &w, made);
        made->text = c->xtables ? xtables_text(a, c, &w) : nft_text(a, c, &w);
        made->place = tw_arena_printf(a, "%s %s %s, the new rule", c->family, c->table, c->name);
        at = find_place(s, copy, c, made, w.act);
        before = at < c->rules.count ? c->rules.items[at] : NULL;
        TW_PUSH(a, &ret_made->list, tell(a, c, before, at, made->text));
        put(a, c, at, made);
    }
    if (code == 0 && ret_made->list.count == 0)
        return tw_fail(err, -EINVAL, rule->chain ? "there is no chain '%s' for this rule"
                                                 : "no base chain on input filters this family%s: name a chain",
                       rule->chain ? rule->chain : "");
    code = code < 0 ? code : flow_rules_finish(a, copy, err);
    if (code == 0)
        *ret_rules = copy;
    return code < 0 ? code : flow_full(s, err);
}
