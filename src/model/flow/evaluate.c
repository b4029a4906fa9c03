/* One packet through a rule set, step by step as the kernel does it. Shares nothing with the
 * diagrams: each is the test of the other. Where nobody can say whether a rule matches, both ways
 * are gone, each once. */
#include "flow_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX  600
#define BRANCHES   16 /* of an address or port that the kernel chooses from a range */
#define VISITS_MAX ((size_t)1 << 20)

struct spot {
    const struct flow_chain *chain;
    size_t rule;
};
struct here { /* a packet on its way */
    struct tw_flow_packet p;
    tw_flow_num fuzzy[TW_FLOW_FIELD_COUNT]; /* bits that only the kernel knows */
    size_t hook, base; /* of the path; of the base chains of that hook */
    size_t step;
    bool translated; /* at this hook */
    int depth;
    struct spot *stack; /* owned: DEPTH_MAX */
};
struct evaluation {
    const struct tw_flow_rules *rules;
    enum tw_flow_path path;
    struct here *work; /* owned: ways not gone yet */
    size_t count, room;
    uint64_t *seen; /* owned: where somebody was */
    size_t seen_count, seen_mask;
    bool accept, drop, branched;
};
enum truth { NO, YES, MAYBE };

static const enum tw_flow_hook hooks_of[TW_FLOW_PATH_COUNT][4] = {
    [TW_FLOW_TO_HOST] = {TW_FLOW_PREROUTING, TW_FLOW_INPUT, TW_FLOW_HOOK_COUNT},
    [TW_FLOW_THROUGH] = {TW_FLOW_PREROUTING, TW_FLOW_FORWARD, TW_FLOW_POSTROUTING,
                         TW_FLOW_HOOK_COUNT},
    [TW_FLOW_FROM_HOST] = {TW_FLOW_OUTPUT, TW_FLOW_POSTROUTING, TW_FLOW_HOOK_COUNT},
};

/* ---- ways ---- */

static struct here copy_of(const struct here *h)
{
    struct here c = *h;

    c.stack = tw_realloc_array(NULL, DEPTH_MAX, sizeof *c.stack);
    memcpy(c.stack, h->stack, (size_t)h->depth * sizeof *c.stack);
    return c;
}

static void also(struct evaluation *e, struct here h)
{
    if (e->count == e->room) {
        e->room = e->room ? e->room * 2 : 8;
        e->work = tw_realloc_array(e->work, e->room, sizeof *e->work);
    }
    e->work[e->count++] = h;
    e->branched = true;
}

static uint64_t fingerprint(const struct here *h)
{
    uint64_t x = flow_mix(flow_mix(h->hook, h->base), h->translated);

    for (int f = 0; f < TW_FLOW_FIELD_COUNT; f++) {
        x = flow_mix(flow_mix(x, (uint64_t)h->p.field[f]), (uint64_t)(h->p.field[f] >> 64));
        x = flow_mix(flow_mix(x, (uint64_t)h->fuzzy[f]), (uint64_t)(h->fuzzy[f] >> 64));
    }
    for (int i = 0; i < h->depth; i++)
        x = flow_mix(flow_mix(x, (uint64_t)(uintptr_t)h->stack[i].chain), h->stack[i].rule);
    return x | 1;
}

/* True the first time somebody comes here. */
static bool first_here(struct evaluation *e, const struct here *h)
{
    uint64_t x;

    if (!e->branched)
        return true;
    x = fingerprint(h);
    if (e->seen_count * 2 >= e->seen_mask) {
        uint64_t *old = e->seen;
        size_t n = e->seen_mask ? e->seen_mask + 1 : 0;

        e->seen_mask = n ? n * 2 - 1 : 255;
        e->seen = tw_alloc((e->seen_mask + 1) * sizeof *e->seen);
        for (size_t i = 0; i < n; i++)
            if (old[i]) {
                size_t at = old[i] & e->seen_mask;

                while (e->seen[at])
                    at = (at + 1) & e->seen_mask;
                e->seen[at] = old[i];
            }
        free(old);
    }
    for (size_t at = x & e->seen_mask;; at = (at + 1) & e->seen_mask) {
        if (e->seen[at] == x)
            return false;
        if (!e->seen[at]) {
            e->seen[at] = x;
            e->seen_count++;
            return true;
        }
    }
}

/* ---- conditions ---- */

static enum tw_flow_hook hook_now(const struct evaluation *e, const struct here *h)
{
    return hooks_of[e->path][h->hook];
}

/* What a rule sees of the packet here: some things do not exist yet, or no more. */
static tw_flow_num seen_value(const struct evaluation *e, const struct here *h,
                              enum tw_flow_field f)
{
    enum tw_flow_hook hook = hook_now(e, h);
    bool early = hook == TW_FLOW_PREROUTING || hook == TW_FLOW_OUTPUT;

    if (f == TW_FLOW_OIF && (hook == TW_FLOW_PREROUTING || hook == TW_FLOW_INPUT))
        return 0;
    if (f == TW_FLOW_IIF && hook == TW_FLOW_OUTPUT)
        return 0;
    if (f == TW_FLOW_STATE && early && !e->rules->hooks[hook].items[h->base]->nat &&
        e->rules->hooks[hook].items[h->base]->prio < -200 &&
        h->p.field[f] != TW_FLOW_UNTRACKED)
        return TW_FLOW_INVALID;
    return h->p.field[f];
}

static enum truth part_holds(const struct evaluation *e, const struct here *h,
                             const struct flow_key *k, const struct flow_range *r)
{
    tw_flow_num v = seen_value(e, h, k->field) & k->mask, fuzzy = h->fuzzy[k->field] & k->mask;

    if (!fuzzy)
        return v >= r->lo && v <= r->hi ? YES : NO;
    if ((v & ~fuzzy) >= r->lo && (v | fuzzy) <= r->hi)
        return YES;
    return (v | fuzzy) < r->lo || (v & ~fuzzy) > r->hi ? NO : MAYBE;
}

static enum truth element_holds(const struct evaluation *e, const struct here *h,
                                const struct flow_table *t, size_t i)
{
    enum truth all = YES;

    for (int k = 0; k < t->key_count; k++) {
        enum truth one =
            part_holds(e, h, &t->keys[k], &t->parts[i * (size_t)t->key_count + (size_t)k]);

        if (one == NO)
            return NO;
        all = one == MAYBE ? MAYBE : all;
    }
    return all;
}

static enum truth guard_holds(const struct here *h, const struct flow_cond *c)
{
    if (c->guard & FLOW_IS_V4 && h->p.field[TW_FLOW_FAMILY] != 0)
        return NO;
    if (c->guard & FLOW_IS_V6 && h->p.field[TW_FLOW_FAMILY] != 1)
        return NO;
    if (c->guard & FLOW_IS_PROTO && h->p.field[TW_FLOW_PROTO] != (tw_flow_num)c->guard_proto)
        return NO;
    if (c->guard & FLOW_HAS_PORTS && !flow_has_ports(h->p.field[TW_FLOW_PROTO]))
        return MAYBE;
    return YES;
}

static enum truth cond_holds(const struct evaluation *e, const struct here *h,
                             const struct flow_cond *c)
{
    enum truth guard = guard_holds(h, c), in = NO;

    if (guard == NO)
        return NO;
    if (c->unknown || guard == MAYBE)
        return MAYBE;
    if (!c->table)
        return c->negate ? NO : YES;
    for (size_t i = 0; i < c->table->count && in != YES; i++) {
        enum truth one = element_holds(e, h, c->table, i);

        in = one != NO ? one : in;
    }
    return in == MAYBE ? MAYBE : (in == YES) != c->negate ? YES : NO;
}

/* ---- what actions do ---- */

static void write_field(struct here *h, const struct flow_action *act)
{
    enum tw_flow_field f = act->field;

    h->p.field[f] = ((h->p.field[f] & ~act->mask) ^ act->value) & ~act->unknown;
    h->fuzzy[f] = (h->fuzzy[f] & ~act->mask) | act->unknown;
}

static bool leave_base(struct evaluation *e, struct here *h);

/* The bits in which first and last of a range differ, and all below. */
static tw_flow_num spread(const struct flow_range *r)
{
    tw_flow_num fuzzy = 0;

    while ((r->lo | fuzzy) != (r->hi | fuzzy))
        fuzzy = fuzzy << 1 | 1;
    return fuzzy;
}

static void put_range(struct here *h, enum tw_flow_field f, const struct flow_range *r)
{
    h->fuzzy[f] = spread(r);
    h->p.field[f] = r->lo & ~h->fuzzy[f];
}

static tw_flow_num step_of(const struct flow_action *act)
{
    return act->family == 0 ? (tw_flow_num)1 << 96 : 1;
}

/* One choice of the kernel's: address number i, port number k; as wide ranges all at once. */
static void translate(struct here *h, const struct flow_action *act, tw_flow_num i, tw_flow_num k,
                      bool all)
{
    bool to = act->kind == FLOW_DNAT;
    enum tw_flow_field addr = to ? TW_FLOW_DADDR : TW_FLOW_SADDR,
                       port = to ? TW_FLOW_DPORT : TW_FLOW_SPORT;
    struct flow_range a = {act->addr.lo + i * step_of(act), act->addr.lo + i * step_of(act)},
                      p = {act->port.lo + k, act->port.lo + k};

    if (act->has_addr)
        put_range(h, addr, all ? &act->addr : &a);
    if (act->has_port)
        put_range(h, port, all ? &act->port : &p);
    if (act->any_addr) {
        h->p.field[addr] = 0;
        h->fuzzy[addr] = FLOW_ALL;
    }
    if (!to)
        return;
    h->p.field[TW_FLOW_DNAT] = 1;
    if (act->has_addr || act->any_addr) {
        h->p.field[TW_FLOW_DTYPE] = act->any_addr ? TW_FLOW_LOCAL : 0;
        h->fuzzy[TW_FLOW_DTYPE] = act->any_addr ? 0 : 3;
    }
}

static bool nat_action(struct evaluation *e, struct here *h, const struct flow_action *act)
{
    tw_flow_num addrs = 1, ports = 1;
    bool all;

    if (act->has_addr)
        addrs = act->family == 0 ? (act->addr.hi >> 96) - (act->addr.lo >> 96) + 1
                                 : act->addr.hi - act->addr.lo + 1;
    if (act->has_port)
        ports = act->port.hi - act->port.lo + 1;
    all = addrs > BRANCHES || ports > BRANCHES || addrs * ports > BRANCHES || addrs == 0;
    h->translated = true;
    for (tw_flow_num i = 0; !all && i < addrs; i++)
        for (tw_flow_num k = i == 0; k < ports; k++) {
            struct here other = copy_of(h);

            translate(&other, act, i, k, false);
            if (leave_base(e, &other))
                also(e, other);
            else
                free(other.stack);
        }
    translate(h, act, 0, 0, all);
    return leave_base(e, h);
}

/* ---- the way ---- */

static bool base_applies(const struct flow_chain *c, const struct here *h)
{
    if (!(c->families & (h->p.field[TW_FLOW_FAMILY] ? FLOW_IS_V6 : FLOW_IS_V4)))
        return false;
    return !c->nat || (!h->translated && (h->p.field[TW_FLOW_STATE] == TW_FLOW_NEW ||
                                          h->p.field[TW_FLOW_STATE] == TW_FLOW_ESTABLISHED ||
                                          h->p.field[TW_FLOW_STATE] == TW_FLOW_RELATED));
}

/* To the base chain at (hook, base) or the next that applies; false: arrived. */
static bool enter(struct evaluation *e, struct here *h)
{
    for (; hook_now(e, h) != TW_FLOW_HOOK_COUNT; h->hook++, h->base = 0, h->translated = false)
        for (; h->base < e->rules->hooks[hook_now(e, h)].count; h->base++) {
            const struct flow_chain *c = e->rules->hooks[hook_now(e, h)].items[h->base];

            if (!base_applies(c, h))
                continue;
            if (c->nat && h->p.field[TW_FLOW_STATE] != TW_FLOW_NEW) { /* or as it was long ago */
                struct here past = copy_of(h);

                past.base++;
                past.translated = true;
                if (enter(e, &past))
                    also(e, past);
                else
                    free(past.stack);
            }
            h->depth = 1;
            h->step = 0;
            h->stack[0] = (struct spot){c, 0};
            return true;
        }
    e->accept = true;
    return false;
}

static bool leave_base(struct evaluation *e, struct here *h)
{
    h->base++;
    return enter(e, h);
}

/* The end of a chain: on behind the jump, or by the policy. */
static bool leave_chain(struct evaluation *e, struct here *h)
{
    const struct flow_chain *c = e->rules->hooks[hook_now(e, h)].items[h->base];

    h->step = 0;
    if (--h->depth > 0)
        return true;
    if (c->policy == FLOW_DROP) {
        e->drop = true;
        return false;
    }
    return leave_base(e, h);
}

static void next_rule(struct here *h)
{
    h->stack[h->depth - 1].rule++;
    h->step = 0;
}

/* False: the way ends here. */
static bool act_on(struct evaluation *e, struct here *h, const struct flow_action *act)
{
    switch (act->kind) {
    case FLOW_ACCEPT:
        return leave_base(e, h);
    case FLOW_DROP:
        e->drop = true;
        return false;
    case FLOW_EITHER:
        e->drop = true;
        return leave_base(e, h);
    case FLOW_JUMP:
    case FLOW_GOTO:
        next_rule(h);
        if (act->kind == FLOW_GOTO)
            h->depth--;
        assert(h->depth < DEPTH_MAX);
        h->stack[h->depth++] = (struct spot){e->rules->chains.items[act->chain], 0};
        return true;
    case FLOW_RETURN:
        return leave_chain(e, h);
    case FLOW_SET:
        write_field(h, act);
        h->step++;
        return true;
    case FLOW_DNAT:
    case FLOW_SNAT:
        if (act->family >= 0 && h->p.field[TW_FLOW_FAMILY] != (tw_flow_num)act->family) {
            next_rule(h);
            return true;
        }
        return nat_action(e, h, act);
    case FLOW_UNSURE: {
        struct here on = copy_of(h);

        next_rule(&on);
        also(e, on);
        e->drop = true;
        return leave_base(e, h);
    }
    default:
        next_rule(h);
        return true;
    }
}

static void otherwise(struct evaluation *e, const struct here *h)
{
    struct here other = copy_of(h);

    next_rule(&other);
    also(e, other);
}

static bool map_step(struct evaluation *e, struct here *h, const struct flow_step *s)
{
    const struct flow_table *t = s->cond.table;
    enum truth guard = guard_holds(h, &s->cond);

    for (size_t i = 0; guard != NO && i < t->count; i++) {
        enum truth in = guard == MAYBE ? MAYBE : element_holds(e, h, t, i);

        if (in == NO)
            continue;
        if (in == YES)
            return act_on(e, h, &t->actions[i]);
        struct here other = copy_of(h);

        if (act_on(e, &other, &t->actions[i]))
            also(e, other);
        else
            free(other.stack);
    }
    next_rule(h);
    return true;
}

/* One step on; false: the way ends here. */
static bool step(struct evaluation *e, struct here *h)
{
    struct spot *at = &h->stack[h->depth - 1];
    const struct flow_rule *rule;
    const struct flow_step *s;
    enum truth holds;

    if (h->step == 0 && !first_here(e, h))
        return false;
    if (at->rule >= at->chain->rules.count)
        return leave_chain(e, h);
    rule = at->chain->rules.items[at->rule];
    if (h->step >= rule->steps.count) {
        next_rule(h);
        return true;
    }
    s = &rule->steps.items[h->step];
    if (s->kind == FLOW_STEP_ACT)
        return act_on(e, h, &s->act);
    if (s->kind == FLOW_STEP_MAP)
        return map_step(e, h, s);
    holds = cond_holds(e, h, &s->cond);
    if (holds == MAYBE)
        otherwise(e, h);
    if (holds == NO)
        next_rule(h);
    else
        h->step++;
    return true;
}

enum tw_flow_answer tw_flow_evaluate(const struct tw_flow_rules *r, enum tw_flow_path path,
                                     const struct tw_flow_packet *p)
{
    struct evaluation e = {.rules = r, .path = path};
    struct here first = {.p = *p};

    first.stack = tw_realloc_array(NULL, DEPTH_MAX, sizeof *first.stack);
    if (enter(&e, &first))
        also(&e, first);
    else
        free(first.stack);
    e.branched = e.count > 1;
    while (e.count && !(e.accept && e.drop) && e.seen_count < VISITS_MAX) {
        struct here h = e.work[--e.count];

        while (step(&e, &h))
            ;
        free(h.stack);
    }
    if (e.seen_count >= VISITS_MAX)
        e.accept = e.drop = true;
    while (e.count)
        free(e.work[--e.count].stack);
    free(e.work);
    free(e.seen);
    return e.accept && e.drop ? TW_FLOW_MAY : e.accept ? TW_FLOW_ACCEPT : TW_FLOW_DROP;
}
