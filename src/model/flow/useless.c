/* Rules that decide nothing. A rule that is given no packet it may match is never matched, or what
 * it matches was decided before it; a rule whose packets would fare the same without it is
 * redundant. */
#include "flow_internal.h"

#include <stdlib.h>
#include <string.h>

#define COVERS_MAX 6                  /* named per rule */
#define LOOKS_MAX  (INT64_C(30) << 20) /* pairs of rules looked at for those that decide instead */

struct search {
    struct tw_flow_space *s;
    struct tw_arena *a;
    const struct tw_flow_rules *r;
    uint32_t *matched, *entered; /* owned: by rule id, by chain */
    struct tw_flow_rule_findings *ret;
    int64_t looks; /* left */
    uint32_t region; /* 1: all packets; else only these, and only rules that match nothing else */
};

/* The one action of a rule that only asks and then acts; NULL for all others. */
static const struct flow_action *plain_action(const struct flow_rule *rule)
{
    const struct flow_step *last;

    if (rule->steps.count == 0)
        return NULL;
    for (size_t i = 0; i + 1 < rule->steps.count; i++)
        if (rule->steps.items[i].kind != FLOW_STEP_COND)
            return NULL;
    last = &rule->steps.items[rule->steps.count - 1];
    return last->kind == FLOW_STEP_ACT ? &last->act : NULL;
}

static bool decides(const struct flow_rule *rule)
{
    const struct flow_action *act = plain_action(rule);

    return act && (act->kind == FLOW_ACCEPT || act->kind == FLOW_DROP);
}

/* A rule whose only effect is a verdict or a way to one. */
static bool worth_saying(const struct flow_rule *rule)
{
    const struct flow_action *act = plain_action(rule);

    return act && act->kind != FLOW_CONTINUE && act->kind != FLOW_SET;
}

static bool hulls_meet(const struct flow_rule *x, const struct flow_rule *y)
{
    static const enum tw_flow_field f[] = {TW_FLOW_SADDR, TW_FLOW_DPORT, TW_FLOW_DADDR,
                                           TW_FLOW_PROTO, TW_FLOW_FAMILY};

    for (size_t i = 0; i < TW_COUNT_OF(f); i++)
        if (x->hull[f[i]].hi < y->hull[f[i]].lo || y->hull[f[i]].hi < x->hull[f[i]].lo)
            return false;
    return true;
}

/* What of rest a rule surely decides, and how. */
static uint32_t decided_by(struct search *q, const struct flow_rule *rule, uint32_t rest,
                           bool *accepts, bool *drops)
{
    const struct flow_action *act = plain_action(rule);
    struct flow_dd *d = q->s->dd;
    struct flow_outcome o;
    size_t step;
    uint32_t some;

    if (!act)
        return 0;
    some = flow_dd_and(d, rest, flow_rule_pair(q->s, rule, 0, &step).lo);
    if (!some)
        return 0;
    if (act->kind == FLOW_ACCEPT || act->kind == FLOW_DROP) {
        *accepts |= act->kind == FLOW_ACCEPT;
        *drops |= act->kind == FLOW_DROP;
        return some;
    }
    if (act->kind != FLOW_JUMP)
        return act->kind == FLOW_CONTINUE || act->kind == FLOW_SET ? 0 : (*accepts = *drops = true, some);
    flow_walk_chain(q->s, q->r, q->r->chains.items[act->chain], 0, some, &o);
    for (size_t i = 0; i < o.end.count; i++)
        some = flow_dd_minus(d, some, o.end.items[i].set);
    free(o.end.items);
    *accepts |= some && o.accept;
    *drops |= some && o.drop;
    return some;
}

static struct tw_flow_rule_finding *add(struct search *q, const struct flow_rule *rule,
                                        enum tw_flow_useless kind)
{
    TW_PUSH(q->a, &q->ret->list,
            (struct tw_flow_rule_finding){.kind = kind,
                                          .place = rule->place,
                                          .text = rule->text,
                                          .packets = rule->packets});
    return &q->ret->list.items[q->ret->list.count - 1];
}

static void by(struct search *q, struct tw_flow_rule_finding *f, const char *place)
{
    if (f->by.count < COVERS_MAX)
        TW_PUSH(q->a, &f->by, place);
}

/* All that it matches has been looked at. */
static bool is_inside(struct search *q, const struct flow_rule *rule)
{
    size_t step;

    return q->region == 1 ||
           flow_dd_minus(q->s->dd, flow_rule_pair(q->s, rule, 0, &step).hi, q->region) == 0;
}

static void never_given(struct search *q, const struct flow_chain *c, size_t at)
{
    const struct flow_rule *rule = c->rules.items[at];
    const struct flow_action *act = plain_action(rule);
    struct tw_flow_rule_finding *f = add(q, rule, TW_FLOW_NEVER);
    bool accepts = false, drops = false;
    size_t step;
    uint32_t rest = flow_rule_pair(q->s, rule, 0, &step).hi;

    if (!q->r->written)
        rest = flow_dd_and(q->s->dd, rest, q->entered[c->order]);
    if (!rest)
        return;
    for (size_t i = 0; i < at && rest && q->looks-- > 0; i++) {
        uint32_t some = hulls_meet(c->rules.items[i], rule)
                            ? decided_by(q, c->rules.items[i], rest, &accepts, &drops)
                            : 0;

        if (some)
            by(q, f, c->rules.items[i]->place);
        rest = flow_dd_minus(q->s->dd, rest, some);
    }
    if (f->by.count == 0 && q->looks > 0)
        return;
    f->kind = act && f->by.count && ((act->kind == FLOW_ACCEPT && !drops) || (act->kind == FLOW_DROP && !accepts))
                  ? TW_FLOW_REDUNDANT
                  : TW_FLOW_SHADOWED;
}

static void name_later(struct search *q, const struct flow_chain *c, size_t at, uint32_t rest)
{
    struct tw_flow_rule_finding *f = add(q, c->rules.items[at], TW_FLOW_REDUNDANT);
    bool accepts = false, drops = false;

    for (size_t i = at + 1; i < c->rules.count && rest && f->by.count < COVERS_MAX && q->looks-- > 0;
         i++) {
        uint32_t some = hulls_meet(c->rules.items[i], c->rules.items[at])
                            ? decided_by(q, c->rules.items[i], rest, &accepts, &drops)
                            : 0;

        if (some)
            by(q, f, c->rules.items[i]->place);
        rest = flow_dd_minus(q->s->dd, rest, some);
    }
    if (rest && c->base && f->by.count < COVERS_MAX && q->looks > 0)
        by(q, f, tw_arena_printf(q->a, "policy of %s %s", c->table, c->name));
}

/* From the end to the start: what the rules behind surely accept and surely drop. */
static void same_without(struct search *q, const struct flow_chain *c)
{
    struct flow_dd *d = q->s->dd;
    uint32_t will[2] = {c->base && c->policy == FLOW_DROP ? q->region : 0,
                        c->base && c->policy == FLOW_ACCEPT ? q->region : 0};

    for (size_t i = c->rules.count; i-- > 0 && !flow_dd_full(d);) {
        const struct flow_rule *rule = c->rules.items[i];
        const struct flow_action *act = plain_action(rule);
        uint32_t given = q->matched[rule->id];
        size_t step;
        struct flow_pair p = flow_rule_pair(q->s, rule, 0, &step);
        bool inside = q->region == 1 || flow_dd_minus(d, p.hi, q->region) == 0;

        p.lo = flow_dd_and(d, p.lo, q->region);
        p.hi = flow_dd_and(d, p.hi, q->region);
        if ((act && act->kind == FLOW_CONTINUE) || !p.hi)
            continue;
        if (decides(rule)) {
            int kind = act->kind == FLOW_ACCEPT;

            if (given && inside && !rule->logs && flow_dd_minus(d, given, will[kind]) == 0)
                name_later(q, c, i, given);
            will[kind] = flow_dd_or(d, will[kind], p.lo);
            will[!kind] = flow_dd_minus(d, will[!kind], p.hi);
            continue;
        }
        will[0] = flow_dd_minus(d, will[0], p.hi);
        will[1] = flow_dd_minus(d, will[1], p.hi);
    }
}

static void take(struct tw_flow_space *s, uint32_t *into, const uint32_t *from, size_t n,
                 uint32_t world)
{
    for (size_t i = 0; i < n; i++)
        if (from[i])
            into[i] = flow_dd_or(s->dd, into[i], flow_dd_and(s->dd, from[i], world));
}

/* Started with packets of every kind, those that cannot exist included: the sets stay a tenth as
 * large, and what does not exist is taken off at the end. */
static void walk_path(struct search *q, enum tw_flow_path path)
{
    size_t rules = (size_t)q->r->rule_count, chains = q->r->chains.count;
    struct flow_record record = {tw_alloc((rules + 1) * sizeof(uint32_t)),
                                 tw_alloc((chains + 1) * sizeof(uint32_t))};
    bool rewritten = (q->r->written & FLOW_BIT(TW_FLOW_DADDR)) != 0;
    struct flow_outcome o;

    for (size_t i = 0; i < rules; i++)
        flow_pin(q->s, &q->matched[i]);
    for (size_t i = 0; i < chains; i++)
        flow_pin(q->s, &q->entered[i]);
    flow_walk(q->s, q->r, path, q->region, &record, &o);
    flow_unpin(q->s, rules + chains);
    take(q->s, q->matched, record.matched, rules, flow_world(q->s, path, rewritten));
    take(q->s, q->entered, record.entered, chains, flow_world(q->s, path, rewritten));
    free(o.end.items);
    free(record.matched);
    free(record.entered);
}

static int look(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_rules *r, uint32_t region,
                struct tw_flow_rule_findings *ret, struct tw_err *err)
{
    struct search q = {s, a, r, NULL, NULL, ret, LOOKS_MAX, region};

    *ret = (struct tw_flow_rule_findings){0};
    if (!region)
        return 0;
    q.matched = tw_alloc(((size_t)r->rule_count + 1) * sizeof *q.matched);
    q.entered = tw_alloc((r->chains.count + 1) * sizeof *q.entered);
    flow_pin(s, &q.region);
    for (int path = 0; path < TW_FLOW_PATH_COUNT; path++)
        walk_path(&q, (enum tw_flow_path)path);
    for (size_t i = 0; i < r->chains.count && !flow_dd_full(s->dd); i++) {
        const struct flow_chain *c = r->chains.items[i];

        for (size_t k = 0; k < c->rules.count; k++)
            if (!q.matched[c->rules.items[k]->id] && worth_saying(c->rules.items[k]) &&
                is_inside(&q, c->rules.items[k]))
                never_given(&q, c, k);
        if (!r->written && q.entered[c->order])
            same_without(&q, c);
    }
    flow_unpin(s, 1);
    free(q.matched);
    free(q.entered);
    return flow_full(s, err);
}

int tw_flow_useless(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_rules *r,
                    struct tw_flow_rule_findings *ret, struct tw_err *err)
{
    return look(s, a, r, 1, ret, err);
}

int tw_flow_useless_touched(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_rules *other,
                            const struct tw_flow_rules *r, struct tw_flow_rule_findings *ret,
                            struct tw_err *err)
{
    return look(s, a, r, flow_concerned(s, other, r), ret, err);
}
