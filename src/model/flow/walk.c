/* Sets of packets on their way through a rule set. A set is kept as the packets were when they
 * began; what rules write into them is a rewriting that conditions are seen through (preimages), so
 * that every answer is about packets as they are sent. Where a rule may match or not, packets go
 * both ways: "may be accepted" and "may be dropped" are two sets, and what is in both is "may". */
#include "flow_internal.h"

#include <stdlib.h>
#include <string.h>

#define BRANCHES      16 /* as in evaluate.c */
#define SUMMARY_AFTER 12 /* calls of a chain, then it is worked out once for all packets */
#define COMPACT_MIN   ((size_t)1 << 20)

struct summary {
    uint32_t accept, drop, back;
    bool made;
};
struct walk {
    struct tw_flow_space *s;
    const struct tw_flow_rules *rules;
    const struct flow_record *record;
    enum tw_flow_hook hook;
    struct flow_states accepted;
    uint32_t dropped;
    bool raw;        /* before connection tracking */
    uint32_t *views; /* owned: rewriting -> as rules see it at this hook; 0: not made */
    size_t view_room;
    struct flow_range hull[TW_FLOW_FIELD_COUNT]; /* of all that started */
    unsigned hull_fields;
    uint32_t *calls; /* owned: per chain */
    uint8_t *pure;   /* owned: per chain: 0 not known, 1 writes, 2 does not */
    struct summary *summaries; /* owned: per chain; for packets not rewritten, at this hook */
    size_t compacted_at;
};

/* ---- lists of states ---- */

void flow_states_add(struct tw_flow_space *s, struct flow_states *l, struct flow_state one)
{
    if (one.set == 0)
        return;
    for (size_t i = 0; i < l->count; i++)
        if (l->items[i].rewrite == one.rewrite && l->items[i].translated == one.translated) {
            l->items[i].set = flow_dd_or(s->dd, l->items[i].set, one.set);
            return;
        }
    if (l->count == l->room) {
        l->room = l->room ? l->room * 2 : 4;
        l->items = tw_realloc_array(l->items, l->room, sizeof *l->items);
    }
    l->items[l->count++] = one;
}

static void states_move(struct tw_flow_space *s, struct flow_states *to, struct flow_states *from)
{
    for (size_t i = 0; i < from->count; i++)
        flow_states_add(s, to, from->items[i]);
    free(from->items);
    *from = (struct flow_states){0};
}

static void drop_empty(struct flow_states *l)
{
    size_t n = 0;

    for (size_t i = 0; i < l->count; i++)
        if (l->items[i].set)
            l->items[n++] = l->items[i];
    l->count = n;
}

/* ---- what rules see ---- */

/* Interfaces that do not exist yet or no more, connections not looked up yet. */
static uint32_t view_make(struct walk *w, uint32_t r)
{
    struct tw_flow_space *s = w->s;
    tw_flow_num all = FLOW_ALL;

    if (w->hook == TW_FLOW_PREROUTING || w->hook == TW_FLOW_INPUT)
        r = flow_rewrite_add(s, r, TW_FLOW_OIF, all, flow_atom(s, 0), 0);
    if (w->hook == TW_FLOW_OUTPUT)
        r = flow_rewrite_add(s, r, TW_FLOW_IIF, all, flow_atom(s, 0), 0);
    if (w->raw && flow_rewrite_keeps(s, r, TW_FLOW_STATE))
        r = flow_rewrite_add(s, r, TW_FLOW_STATE, all, TW_FLOW_INVALID, 0);
    return r;
}

static uint32_t view(struct walk *w, uint32_t r)
{
    if (r >= w->view_room) {
        size_t room = w->view_room ? w->view_room * 2 : 16;

        room = room > r ? room : r + 1;
        w->views = tw_realloc_array(w->views, room, sizeof *w->views);
        memset(w->views + w->view_room, 0, (room - w->view_room) * sizeof *w->views);
        w->view_room = room;
    }
    if (!w->views[r])
        w->views[r] = view_make(w, r) + 1;
    return w->views[r] - 1;
}

static const enum tw_flow_field hull_of[] = {TW_FLOW_FAMILY, TW_FLOW_PROTO, TW_FLOW_DPORT,
                                             TW_FLOW_DADDR, TW_FLOW_SADDR};

/* Only fields that no rule writes say something about later. */
static void hull_make(struct walk *w, uint32_t start)
{
    struct tw_flow_space *s = w->s;

    for (size_t i = 0; i < TW_COUNT_OF(hull_of); i++) {
        enum tw_flow_field f = hull_of[i];
        unsigned others = (FLOW_BIT(TW_FLOW_FIELD_COUNT) - 1) & ~FLOW_BIT(f);
        struct flow_range *h = &w->hull[f];
        uint32_t set;

        if (w->rules->written & FLOW_BIT(f) || start == 0)
            continue;
        set = flow_forget(s, start, others);
        flow_dd_bounds(s->dd, set, s->level[f], s->width[f], &h->lo, &h->hi);
        if (h->lo != 0 || h->hi != flow_field_max(f))
            w->hull_fields |= FLOW_BIT(f);
    }
}

static bool outside(const struct walk *w, const struct flow_rule *rule)
{
    if (!w->hull_fields)
        return false;
    for (size_t i = 0; i < TW_COUNT_OF(hull_of); i++) {
        enum tw_flow_field f = hull_of[i];

        if (w->hull_fields & FLOW_BIT(f) &&
            (rule->hull[f].hi < w->hull[f].lo || rule->hull[f].lo > w->hull[f].hi))
            return true;
    }
    return false;
}

/* ---- what actions do ---- */

static void chain_walk(struct walk *w, const struct flow_chain *c, size_t from,
                       struct flow_states *in, struct flow_states *back, bool base);

/* The first of a range to the last differ in these bits, and all below. */
static tw_flow_num spread(const struct flow_range *r)
{
    tw_flow_num unknown = 0;

    while ((r->lo | unknown) != (r->hi | unknown))
        unknown = unknown << 1 | 1;
    return unknown;
}

static uint32_t put_range(struct walk *w, uint32_t r, enum tw_flow_field f,
                          const struct flow_range *v)
{
    return flow_rewrite_add(w->s, r, f, FLOW_ALL, v->lo, spread(v));
}

static uint32_t destination_written(struct walk *w, uint32_t r, const struct flow_action *act)
{
    r = flow_rewrite_add(w->s, r, TW_FLOW_DNAT, 1, 1, 0);
    if (act->has_addr || act->any_addr)
        r = flow_rewrite_add(w->s, r, TW_FLOW_DTYPE, 3, act->any_addr ? TW_FLOW_LOCAL : 0,
                             act->any_addr ? 0 : 3);
    return r;
}

static void translate(struct walk *w, struct flow_state st, const struct flow_action *act,
                      const struct flow_range *addr, const struct flow_range *port)
{
    bool to = act->kind == FLOW_DNAT;
    enum tw_flow_field a = to ? TW_FLOW_DADDR : TW_FLOW_SADDR,
                       p = to ? TW_FLOW_DPORT : TW_FLOW_SPORT;

    if (act->has_addr)
        st.rewrite = put_range(w, st.rewrite, a, addr);
    if (act->has_port)
        st.rewrite = put_range(w, st.rewrite, p, port);
    if (act->any_addr)
        st.rewrite = flow_rewrite_add(w->s, st.rewrite, a, FLOW_ALL, 0, FLOW_ALL);
    if (to)
        st.rewrite = destination_written(w, st.rewrite, act);
    st.translated = true;
    flow_states_add(w->s, &w->accepted, st);
}

/* Each choice the kernel has on a way of its own; of many only what they have in common is known. */
static void nat_act(struct walk *w, struct flow_state st, const struct flow_action *act)
{
    tw_flow_num each = act->family == 0 ? (tw_flow_num)1 << 96 : 1, addrs = 1, ports = 1;

    if (act->has_addr)
        addrs = act->family == 0 ? (act->addr.hi >> 96) - (act->addr.lo >> 96) + 1
                                 : act->addr.hi - act->addr.lo + 1;
    if (act->has_port)
        ports = act->port.hi - act->port.lo + 1;
    if (addrs > BRANCHES || ports > BRANCHES || addrs * ports > BRANCHES || addrs == 0) {
        translate(w, st, act, &act->addr, &act->port);
        return;
    }
    for (tw_flow_num i = 0; i < addrs; i++)
        for (tw_flow_num k = 0; k < ports; k++) {
            struct flow_range a = {act->addr.lo + i * each, act->addr.lo + i * each},
                              p = {act->port.lo + k, act->port.lo + k};

            translate(w, st, act, &a, &p);
        }
}

/* Of the family that the translation is for; the others go on as if nothing were written. */
static void nat_family(struct walk *w, struct flow_state st, const struct flow_action *act,
                       struct flow_states *next)
{
    struct flow_state other = st;

    if (act->family >= 0) {
        uint32_t fits = flow_set_is(w->s, TW_FLOW_FAMILY, (tw_flow_num)act->family);

        other.set = flow_dd_minus(w->s->dd, st.set, fits);
        st.set = flow_dd_and(w->s->dd, st.set, fits);
        flow_states_add(w->s, next, other);
    }
    if (st.set)
        nat_act(w, st, act);
}

static bool writes(const struct walk *w, int chain);

static bool action_writes(const struct walk *w, const struct flow_action *act)
{
    switch (act->kind) {
    case FLOW_SET:
    case FLOW_DNAT:
    case FLOW_SNAT:
        return true;
    case FLOW_JUMP:
    case FLOW_GOTO:
        return writes(w, act->chain);
    default:
        return false;
    }
}

static bool rule_writes(const struct walk *w, const struct flow_rule *rule)
{
    for (size_t i = 0; i < rule->steps.count; i++) {
        const struct flow_step *s = &rule->steps.items[i];

        if (s->kind == FLOW_STEP_ACT && action_writes(w, &s->act))
            return true;
        for (size_t k = 0; s->kind == FLOW_STEP_MAP && k < s->cond.table->count; k++)
            if (action_writes(w, &s->cond.table->actions[k]))
                return true;
    }
    return false;
}

static bool writes(const struct walk *w, int chain)
{
    const struct flow_chain *c = w->rules->chains.items[chain];

    if (w->pure[chain])
        return w->pure[chain] == 1;
    w->pure[chain] = 2;
    for (size_t i = 0; i < c->rules.count && w->pure[chain] == 2; i++)
        if (rule_writes(w, c->rules.items[i]))
            w->pure[chain] = 1;
    return w->pure[chain] == 1;
}

/* A chain that is called often is worked out for all packets once; what it does with some of them
 * is then a matter of intersections. */
static const struct summary *summary_of(struct walk *w, int chain)
{
    struct summary *sum = &w->summaries[chain];
    struct walk inner = *w;
    struct flow_states in = {0}, back = {0};

    if (sum->made)
        return sum;
    inner.accepted = (struct flow_states){0};
    inner.dropped = 0;
    inner.hull_fields = 0;
    flow_states_add(w->s, &in, (struct flow_state){.set = 1});
    chain_walk(&inner, w->rules->chains.items[chain], 0, &in, &back, false);
    w->views = inner.views;
    w->view_room = inner.view_room;
    sum->accept = inner.accepted.count ? inner.accepted.items[0].set : 0;
    sum->drop = inner.dropped;
    sum->back = back.count ? back.items[0].set : 0;
    sum->made = true;
    free(inner.accepted.items);
    free(back.items);
    return sum;
}

static void call(struct walk *w, int chain, struct flow_state st, struct flow_states *back)
{
    struct flow_dd *d = w->s->dd;
    struct flow_states in = {0};

    if (!w->record && st.rewrite == 0 && ++w->calls[chain] > SUMMARY_AFTER && !writes(w, chain)) {
        const struct summary *sum = summary_of(w, chain);

        w->dropped = flow_dd_or(d, w->dropped, flow_dd_and(d, st.set, sum->drop));
        flow_states_add(w->s, back, (struct flow_state){flow_dd_and(d, st.set, sum->back), 0,
                                                        st.translated});
        st.set = flow_dd_and(d, st.set, sum->accept);
        flow_states_add(w->s, &w->accepted, st);
        return;
    }
    flow_states_add(w->s, &in, st);
    chain_walk(w, w->rules->chains.items[chain], 0, &in, back, false);
}

/* True: the packets go on with the next step of the rule, as *st. */
static bool act_on(struct walk *w, struct flow_state *st, const struct flow_action *act,
                   struct flow_states *next, struct flow_states *back)
{
    struct flow_dd *d = w->s->dd;

    switch (act->kind) {
    case FLOW_SET:
        st->rewrite = flow_rewrite_add(w->s, st->rewrite, act->field, act->mask, act->value,
                                       act->unknown);
        return true;
    case FLOW_ACCEPT:
        flow_states_add(w->s, &w->accepted, *st);
        return false;
    case FLOW_DROP:
        w->dropped = flow_dd_or(d, w->dropped, st->set);
        return false;
    case FLOW_UNSURE:
        flow_states_add(w->s, next, *st);
        /* fall through */
    case FLOW_EITHER:
        w->dropped = flow_dd_or(d, w->dropped, st->set);
        flow_states_add(w->s, &w->accepted, *st);
        return false;
    case FLOW_JUMP:
        call(w, act->chain, *st, next);
        return false;
    case FLOW_GOTO:
        call(w, act->chain, *st, back);
        return false;
    case FLOW_RETURN:
        flow_states_add(w->s, back, *st);
        return false;
    case FLOW_DNAT:
    case FLOW_SNAT:
        nat_family(w, *st, act, next);
        return false;
    default:
        flow_states_add(w->s, next, *st);
        return false;
    }
}

static bool cond_on(struct walk *w, struct flow_state *st, const struct flow_cond *c,
                    struct flow_states *next)
{
    struct flow_pair p = flow_cond_pair(w->s, c, view(w, st->rewrite));
    struct flow_state other = *st;

    other.set = flow_dd_minus(w->s->dd, st->set, p.lo);
    flow_states_add(w->s, next, other);
    st->set = flow_dd_and(w->s->dd, st->set, p.hi);
    return st->set != 0;
}

static void steps_on(struct walk *w, const struct flow_rule *rule, size_t step,
                     struct flow_state st, struct flow_states *next, struct flow_states *back);

/* Entries one after the other: each has packets of its own. */
static void map_on(struct walk *w, const struct flow_rule *rule, size_t step, struct flow_state st,
                   struct flow_states *next, struct flow_states *back)
{
    const struct flow_cond *c = &rule->steps.items[step].cond;
    const struct flow_table *t = c->table;
    struct flow_dd *d = w->s->dd;

    for (size_t i = 0; i < t->count && st.set; i++) {
        struct flow_state some = st;
        struct flow_pair p;
        struct flow_table one = *t;
        struct flow_cond part = *c;
        const struct flow_action *act = &t->actions[i];

        one.parts = t->parts + i * (size_t)t->key_count;
        one.count = 1;
        part.table = &one;
        p = flow_entry_pair(w->s, &part, &t->parts[i * (size_t)t->key_count],
                            view(w, st.rewrite));
        some.set = flow_dd_and(d, st.set, p.hi);
        if (!some.set)
            continue;
        st.set = flow_dd_minus(d, st.set, p.lo);
        if (act_on(w, &some, act, next, back))
            steps_on(w, rule, step + 1, some, next, back);
    }
    flow_states_add(w->s, next, st);
}

static void steps_on(struct walk *w, const struct flow_rule *rule, size_t step,
                     struct flow_state st, struct flow_states *next, struct flow_states *back)
{
    for (; step < rule->steps.count; step++) {
        const struct flow_step *s = &rule->steps.items[step];

        if (s->kind == FLOW_STEP_MAP) {
            map_on(w, rule, step, st, next, back);
            return;
        }
        if (s->kind == FLOW_STEP_COND ? !cond_on(w, &st, &s->cond, next)
                                      : !act_on(w, &st, &s->act, next, back))
            return;
    }
    flow_states_add(w->s, next, st);
}

/* ---- chains ---- */

static void roots_of(uint32_t ***roots, size_t *count, size_t *room, uint32_t *one)
{
    if (*count == *room) {
        *room = *room ? *room * 2 : 64;
        *roots = tw_realloc_array(*roots, *room, sizeof **roots);
    }
    (*roots)[(*count)++] = one;
}

/* Between two rules of a base chain everything that is still needed is known. */
static void compact(struct walk *w, struct flow_states *now, struct flow_states *back)
{
    struct flow_states *const lists[] = {now, back, &w->accepted};
    uint32_t **roots = NULL;
    size_t count = 0, room = 0;

    for (size_t i = 0; i < TW_COUNT_OF(lists); i++)
        for (size_t k = 0; k < lists[i]->count; k++)
            roots_of(&roots, &count, &room, &lists[i]->items[k].set);
    for (size_t i = 0; i < w->s->pin_count; i++)
        roots_of(&roots, &count, &room, w->s->pins[i]);
    for (int p = 0; p < TW_FLOW_PATH_COUNT; p++)
        for (int k = 0; k < 2; k++)
            roots_of(&roots, &count, &room, &w->s->world[p][k]);
    for (int i = 0; w->record && i < w->rules->rule_count; i++)
        roots_of(&roots, &count, &room, &w->record->matched[i]);
    for (size_t i = 0; w->record && i < w->rules->chains.count; i++)
        roots_of(&roots, &count, &room, &w->record->entered[i]);
    for (size_t i = 0; i < w->rules->chains.count; i++) {
        roots_of(&roots, &count, &room, &w->summaries[i].accept);
        roots_of(&roots, &count, &room, &w->summaries[i].drop);
        roots_of(&roots, &count, &room, &w->summaries[i].back);
    }
    roots_of(&roots, &count, &room, &w->dropped);
    if (w->s->asked) {
        roots_of(&roots, &count, &room, &w->s->asked->accept);
        roots_of(&roots, &count, &room, &w->s->asked->drop);
    }
    flow_memo_clear(w->s);
    flow_dd_compact(w->s->dd, roots, count);
    w->compacted_at = flow_dd_nodes(w->s->dd);
    free(roots);
}

static void rule_on(struct walk *w, const struct flow_rule *rule, struct flow_states *now,
                    struct flow_states *back)
{
    struct flow_dd *d = w->s->dd;
    struct flow_states next = {0};
    bool emptied = false;

    for (size_t i = 0; i < now->count; i++) {
        struct flow_state st = now->items[i];
        size_t step;
        struct flow_pair p = flow_rule_pair(w->s, rule, view(w, st.rewrite), &step);

        st.set = flow_dd_and(d, st.set, p.hi);
        if (!st.set)
            continue;
        if (w->record)
            w->record->matched[rule->id] = flow_dd_or(d, w->record->matched[rule->id], st.set);
        now->items[i].set = flow_dd_minus(d, now->items[i].set, p.lo);
        emptied |= now->items[i].set == 0;
        steps_on(w, rule, step, st, &next, back);
    }
    if (emptied)
        drop_empty(now);
    if (next.count)
        states_move(w->s, now, &next);
    free(next.items);
}

static void chain_walk(struct walk *w, const struct flow_chain *c, size_t from,
                       struct flow_states *in, struct flow_states *back, bool base)
{
    for (size_t i = 0; w->record && i < in->count; i++)
        w->record->entered[c->order] =
            flow_dd_or(w->s->dd, w->record->entered[c->order], in->items[i].set);
    for (size_t i = from; i < c->rules.count && in->count && !flow_dd_full(w->s->dd); i++) {
        if (outside(w, c->rules.items[i]))
            continue;
        rule_on(w, c->rules.items[i], in, back);
        if (base && flow_dd_nodes(w->s->dd) > COMPACT_MIN + 2 * w->compacted_at)
            compact(w, in, back);
    }
    states_move(w->s, back, in);
}

static void walk_begin(struct walk *w, struct tw_flow_space *s, const struct tw_flow_rules *r,
                       const struct flow_record *record)
{
    *w = (struct walk){.s = s, .rules = r, .record = record};
    w->calls = tw_alloc((r->chains.count + 1) * sizeof *w->calls);
    w->pure = tw_alloc(r->chains.count + 1);
    w->summaries = tw_alloc((r->chains.count + 1) * sizeof *w->summaries);
    w->compacted_at = flow_dd_nodes(s->dd);
}

static void walk_end(struct walk *w)
{
    free(w->views);
    free(w->calls);
    free(w->pure);
    free(w->summaries);
    free(w->accepted.items);
}

static void walk_at(struct walk *w, enum tw_flow_hook hook, bool raw)
{
    if (w->views)
        memset(w->views, 0, w->view_room * sizeof *w->views);
    memset(w->summaries, 0, w->rules->chains.count * sizeof *w->summaries);
    w->hook = hook;
    w->raw = raw;
}

/* Packets in the family of a chain, for translation the first ones of a connection; the others
 * pass by. Later ones of a connection are treated as its first was, long ago: either way. */
static void split_for(struct walk *w, const struct flow_chain *c, struct flow_states *now,
                      struct flow_states *in, struct flow_states *by)
{
    struct tw_flow_space *s = w->s;
    struct flow_dd *d = s->dd;
    uint32_t family = c->families == FLOW_IS_V4   ? flow_set_is(s, TW_FLOW_FAMILY, 0)
                      : c->families == FLOW_IS_V6 ? flow_set_is(s, TW_FLOW_FAMILY, 1)
                                                  : 1;

    for (size_t i = 0; i < now->count; i++) {
        struct flow_state st = now->items[i], other = st;
        struct flow_pair some = {family, family}, also = {0, 0};

        if (c->nat) {
            uint32_t fresh = flow_set_is(s, TW_FLOW_STATE, TW_FLOW_NEW),
                     later = flow_set(s, TW_FLOW_STATE, FLOW_ALL, TW_FLOW_ESTABLISHED, TW_FLOW_RELATED);

            also.hi = flow_dd_and(d, later, family);
            some.hi = flow_dd_or(d, also.hi, flow_dd_and(d, fresh, family));
            also = flow_rewritten(s, also, st.rewrite);
            some = flow_rewritten(s, some, st.rewrite);
            if (st.translated)
                some.hi = also.hi = 0;
        }
        st.set = flow_dd_and(d, st.set, some.hi);
        flow_states_add(s, in, st);
        if (c->nat) {
            st.set = flow_dd_and(d, st.set, also.hi);
            st.translated = true;
            flow_states_add(s, by, st);
        }
        other.set = flow_dd_minus(d, other.set, some.hi);
        flow_states_add(s, by, other);
    }
}

static void base_walk(struct walk *w, const struct flow_chain *c, struct flow_states *now)
{
    bool early = w->hook == TW_FLOW_PREROUTING || w->hook == TW_FLOW_OUTPUT;
    struct flow_states in = {0}, by = {0}, back = {0};

    walk_at(w, w->hook, early && !c->nat && c->prio < -200);
    split_for(w, c, now, &in, &by);
    now->count = 0;
    states_move(w->s, &w->accepted, &by); /* they pass */
    chain_walk(w, c, 0, &in, &back, true);
    for (size_t i = 0; i < back.count; i++) {
        if (c->policy == FLOW_DROP)
            w->dropped = flow_dd_or(w->s->dd, w->dropped, back.items[i].set);
        else
            flow_states_add(w->s, &w->accepted, back.items[i]);
    }
    free(back.items);
    states_move(w->s, now, &w->accepted);
}

static void hook_walk(struct walk *w, enum tw_flow_hook hook, struct flow_states *now)
{
    walk_at(w, hook, false);
    for (size_t i = 0; i < w->rules->hooks[hook].count; i++)
        base_walk(w, w->rules->hooks[hook].items[i], now);
    struct flow_states fresh = {0};

    for (size_t i = 0; i < now->count; i++) {
        now->items[i].translated = false;
        flow_states_add(w->s, &fresh, now->items[i]);
    }
    free(now->items);
    *now = fresh;
}

static const enum tw_flow_hook hooks[TW_FLOW_PATH_COUNT][4] = {
    [TW_FLOW_TO_HOST] = {TW_FLOW_PREROUTING, TW_FLOW_INPUT, TW_FLOW_HOOK_COUNT},
    [TW_FLOW_THROUGH] = {TW_FLOW_PREROUTING, TW_FLOW_FORWARD, TW_FLOW_POSTROUTING,
                         TW_FLOW_HOOK_COUNT},
    [TW_FLOW_FROM_HOST] = {TW_FLOW_OUTPUT, TW_FLOW_POSTROUTING, TW_FLOW_HOOK_COUNT},
};

void flow_walk(struct tw_flow_space *s, const struct tw_flow_rules *r, enum tw_flow_path path,
               uint32_t start, const struct flow_record *record, struct flow_outcome *ret)
{
    struct walk w;
    struct flow_states now = {0};

    walk_begin(&w, s, r, record);
    hull_make(&w, start);
    flow_states_add(s, &now, (struct flow_state){.set = start});
    for (size_t i = 0; hooks[path][i] != TW_FLOW_HOOK_COUNT; i++)
        hook_walk(&w, hooks[path][i], &now);
    *ret = (struct flow_outcome){.drop = w.dropped, .end = now};
    for (size_t i = 0; i < now.count; i++)
        ret->accept = flow_dd_or(s->dd, ret->accept, now.items[i].set);
    walk_end(&w);
}

void flow_walk_chain(struct tw_flow_space *s, const struct tw_flow_rules *r,
                     const struct flow_chain *chain, size_t from_rule, uint32_t start,
                     struct flow_outcome *ret)
{
    struct walk w;
    struct flow_states in = {0};

    *ret = (struct flow_outcome){0};
    walk_begin(&w, s, r, NULL);
    walk_at(&w, chain->base ? chain->hook : TW_FLOW_INPUT, false);
    hull_make(&w, start);
    flow_states_add(s, &in, (struct flow_state){.set = start});
    chain_walk(&w, chain, from_rule, &in, &ret->end, false);
    for (size_t i = 0; i < w.accepted.count; i++)
        ret->accept = flow_dd_or(s->dd, ret->accept, w.accepted.items[i].set);
    ret->drop = w.dropped;
    walk_end(&w);
}

int tw_flow_ask(struct tw_flow_space *s, const struct tw_flow_rules *r, enum tw_flow_path path,
                const struct tw_flow_packet *p, enum tw_flow_answer *ret, struct tw_err *err)
{
    uint8_t bits[FLOW_LEVELS_MAX] = {0};
    bool accept, drop;

    if (!s->asked || s->asked_rules != r || s->asked_path != path) {
        if (s->asked)
            free(s->asked->end.items);
        else
            s->asked = tw_alloc(sizeof *s->asked);
        flow_walk(s, r, path, 1, NULL, s->asked);
        s->asked_rules = r;
        s->asked_path = path;
    }
    for (int f = 0; f < TW_FLOW_FIELD_COUNT; f++) {
        bool name = f == TW_FLOW_IIF || f == TW_FLOW_OIF;
        tw_flow_num v = name ? flow_atom(s, p->field[f]) : p->field[f];

        for (unsigned i = 0; i < s->width[f]; i++)
            bits[s->level[f] + i] = v >> (s->width[f] - 1 - i) & 1;
    }
    accept = flow_dd_has(s->dd, s->asked->accept, bits);
    drop = flow_dd_has(s->dd, s->asked->drop, bits);
    *ret = accept && drop ? TW_FLOW_MAY : accept ? TW_FLOW_ACCEPT : TW_FLOW_DROP;
    return flow_full(s, err);
}
