/* Making rule sets: what the readers have in common, and what is worked out once all is read. */
#include "flow_internal.h"

#include <stdlib.h>
#include <string.h>

uint64_t flow_mix(uint64_t h, uint64_t x)
{
    h ^= x + UINT64_C(0x9e3779b97f4a7c15) + (h << 6) + (h >> 2);
    h *= UINT64_C(0xbf58476d1ce4e5b9);
    return h ^ h >> 31;
}

uint64_t flow_mix_text(uint64_t h, const char *s)
{
    for (; s && *s; s++)
        h = flow_mix(h, (unsigned char)*s);
    return flow_mix(h, 0x100);
}

static uint64_t mix_num(uint64_t h, tw_flow_num n)
{
    return flow_mix(flow_mix(h, (uint64_t)n), (uint64_t)(n >> 64));
}

struct flow_chain *flow_chain_add(struct tw_arena *a, struct tw_flow_rules *r,
                                  const struct flow_chain *like)
{
    struct flow_chain *c = tw_arena_alloc(a, sizeof *c);

    *c = *like;
    c->order = (int)r->chains.count;
    TW_PUSH(a, &r->chains, c);
    return c;
}

struct flow_chain *flow_chain_find(const struct tw_flow_rules *r, const char *family,
                                   const char *table, const char *name)
{
    for (size_t i = 0; i < r->chains.count; i++) {
        struct flow_chain *c = r->chains.items[i];

        if (strcmp(c->name, name) == 0 && strcmp(c->table, table) == 0 &&
            strcmp(c->family, family) == 0)
            return c;
    }
    return NULL;
}

struct flow_rule *flow_rule_add(struct tw_arena *a, struct tw_flow_rules *r, struct flow_chain *c)
{
    struct flow_rule *rule = tw_arena_alloc(a, sizeof *rule);

    rule->handle = rule->packets = -1;
    rule->place = rule->text = "";
    rule->id = r->rule_count++;
    TW_PUSH(a, &c->rules, rule);
    return rule;
}

void flow_step_cond(struct tw_arena *a, struct flow_rule *rule, struct flow_cond cond)
{
    TW_PUSH(a, &rule->steps, (struct flow_step){.kind = FLOW_STEP_COND, .cond = cond});
}

void flow_step_act(struct tw_arena *a, struct flow_rule *rule, struct flow_action act)
{
    TW_PUSH(a, &rule->steps, (struct flow_step){.kind = FLOW_STEP_ACT, .act = act});
}

struct flow_table *flow_table_of(struct tw_arena *a, enum tw_flow_field f, tw_flow_num mask,
                                 const struct flow_range *ranges, size_t n)
{
    struct flow_table *t = tw_arena_alloc(a, sizeof *t);

    t->keys[0] = (struct flow_key){f, mask};
    t->key_count = 1;
    t->count = n;
    t->parts = tw_arena_alloc(a, (n ? n : 1) * sizeof *t->parts);
    for (size_t i = 0; i < n; i++)
        t->parts[i] = ranges[i];
    return t;
}

void flow_note(struct tw_arena *a, struct tw_flow_rules *r, const struct flow_rule *rule,
               const char *what)
{
    TW_PUSH(a, &r->notes.list,
            (struct tw_flow_note){rule ? rule->place : "", tw_arena_strdup(a, what)});
}

size_t tw_flow_rule_count(const struct tw_flow_rules *r)
{
    return (size_t)r->rule_count;
}

const struct tw_flow_notes *tw_flow_notes(const struct tw_flow_rules *r)
{
    return &r->notes;
}

bool flow_action_ends(const struct flow_action *act)
{
    return act->kind != FLOW_SET && act->kind != FLOW_CONTINUE;
}

/* ---- what a rule does, as a number ---- */

static uint64_t hash_action(uint64_t h, const struct flow_action *act)
{
    h = flow_mix(h, (uint64_t)act->kind);
    h = flow_mix_text(h, act->to);
    h = flow_mix(h, (uint64_t)act->field);
    h = mix_num(mix_num(mix_num(h, act->mask), act->value), act->unknown);
    h = flow_mix(h, (uint64_t)act->has_addr << 2 | (uint64_t)act->has_port << 1 | act->any_addr);
    h = mix_num(mix_num(h, act->addr.lo), act->addr.hi);
    return mix_num(mix_num(h, act->port.lo), act->port.hi);
}

static uint64_t hash_table(const struct flow_table *t)
{
    uint64_t h = t->count;

    for (int k = 0; k < t->key_count; k++)
        h = mix_num(flow_mix(h, (uint64_t)t->keys[k].field), t->keys[k].mask);
    for (size_t i = 0; i < t->count * (size_t)t->key_count; i++)
        h = mix_num(mix_num(h, t->parts[i].lo), t->parts[i].hi);
    for (size_t i = 0; t->actions && i < t->count; i++)
        h = hash_action(h, &t->actions[i]);
    return h | 1;
}

static uint64_t hash_rule(struct flow_rule *rule)
{
    uint64_t h = 7;

    for (size_t i = 0; i < rule->steps.count; i++) {
        const struct flow_step *s = &rule->steps.items[i];
        const struct flow_cond *c = &s->cond;

        h = flow_mix(h, (uint64_t)s->kind << 16 | (uint64_t)c->guard << 8 |
                            (uint64_t)c->negate << 1 | c->unknown);
        h = flow_mix(h, (uint64_t)c->guard_proto);
        h = flow_mix(h, c->table ? hash_table(c->table) : 0);
        h = hash_action(h, &s->act);
        if (c->unknown) /* two limits are the same only where they are written the same */
            h = flow_mix_text(h, rule->text);
    }
    return h;
}

/* ---- hulls: outside of them a rule needs no look ---- */

static void hull_narrow(struct flow_rule *rule, enum tw_flow_field f, tw_flow_num lo, tw_flow_num hi)
{
    struct flow_range *h = &rule->hull[f];

    h->lo = lo > h->lo ? lo : h->lo;
    h->hi = hi < h->hi ? hi : h->hi;
}

static void hull_guard(struct flow_rule *rule, const struct flow_cond *c)
{
    if (c->guard & FLOW_IS_V4)
        hull_narrow(rule, TW_FLOW_FAMILY, 0, 0);
    if (c->guard & FLOW_IS_V6)
        hull_narrow(rule, TW_FLOW_FAMILY, 1, 1);
    if (c->guard & FLOW_IS_PROTO)
        hull_narrow(rule, TW_FLOW_PROTO, (tw_flow_num)c->guard_proto, (tw_flow_num)c->guard_proto);
}

static void hull_table(struct flow_rule *rule, const struct flow_table *t)
{
    for (int k = 0; k < t->key_count; k++) {
        tw_flow_num lo = FLOW_ALL, hi = 0, max = flow_field_max(t->keys[k].field);

        if ((t->keys[k].mask & max) != max)
            continue;
        for (size_t i = 0; i < t->count; i++) {
            const struct flow_range *p = &t->parts[i * (size_t)t->key_count + (size_t)k];

            lo = p->lo < lo ? p->lo : lo;
            hi = p->hi > hi ? p->hi : hi;
        }
        hull_narrow(rule, t->keys[k].field, lo, hi);
    }
}

/* Only what is looked at before the rule rewrites anything. */
static void hull_rule(struct flow_rule *rule)
{
    for (int f = 0; f < TW_FLOW_FIELD_COUNT; f++)
        rule->hull[f] = (struct flow_range){0, flow_field_max((enum tw_flow_field)f)};
    for (size_t i = 0; i < rule->steps.count; i++) {
        const struct flow_step *s = &rule->steps.items[i];

        if (s->kind == FLOW_STEP_ACT && s->act.kind == FLOW_SET)
            return;
        hull_guard(rule, &s->cond);
        if (s->cond.table && !s->cond.negate && !s->cond.unknown && !(s->cond.guard & FLOW_HAS_PORTS))
            hull_table(rule, s->cond.table);
    }
}

/* ---- jumps ---- */

/* Names of chains to their index: rule sets of thousands of chains are read in one go. */
struct names {
    uint32_t *slot; /* chain + 1 */
    size_t mask;
    struct tw_arena *a;
    struct tw_flow_rules *rules;
};

static uint64_t chain_hash(const char *family, const char *table, const char *name)
{
    return flow_mix_text(flow_mix_text(flow_mix_text(1, family), table), name);
}

static void names_build(struct tw_arena *a, const struct tw_flow_rules *r, struct names *n)
{
    n->mask = 15;
    while (n->mask < r->chains.count * 2)
        n->mask = n->mask * 2 + 1;
    n->slot = tw_arena_alloc(a, (n->mask + 1) * sizeof *n->slot);
    for (size_t i = 0; i < r->chains.count; i++) {
        const struct flow_chain *c = r->chains.items[i];
        uint64_t h = chain_hash(c->family, c->table, c->name);

        while (n->slot[h & n->mask])
            h++;
        n->slot[h & n->mask] = (uint32_t)i + 1;
    }
}

static int names_find(const struct tw_flow_rules *r, const struct names *n,
                      const struct flow_chain *from, const char *name)
{
    uint64_t h = chain_hash(from->family, from->table, name);

    for (; n->slot[h & n->mask]; h++) {
        int i = (int)n->slot[h & n->mask] - 1;
        const struct flow_chain *c = r->chains.items[i];

        if (strcmp(c->name, name) == 0 && strcmp(c->table, from->table) == 0 &&
            strcmp(c->family, from->family) == 0)
            return i;
    }
    return -1;
}

static int resolve(const struct tw_flow_rules *r, const struct names *n, const struct flow_chain *c,
                   const struct flow_rule *rule, struct flow_action *act, struct tw_err *err)
{
    if (act->kind != FLOW_JUMP && act->kind != FLOW_GOTO)
        return 0;
    act->chain = names_find(r, n, c, act->to);
    if (act->chain < 0 && c->xtables && act->to[0] >= 'A' && act->to[0] <= 'Z') {
        act->kind = FLOW_UNSURE; /* a target of an extension */
        flow_note(n->a, n->rules, rule, tw_arena_printf(n->a, "may decide: target %s", act->to));
        return 0;
    }
    if (act->chain < 0 || r->chains.items[act->chain]->base)
        return tw_fail(err, -EINVAL, "%s: there is no chain '%s' to jump to in table '%s'",
                       rule->place, act->to, c->table);
    return 0;
}

typedef int action_fn(const struct tw_flow_rules *r, const struct names *n,
                      const struct flow_chain *c, const struct flow_rule *rule,
                      struct flow_action *act, struct tw_err *err);

static int each_action(const struct tw_flow_rules *r, const struct names *n,
                       const struct flow_chain *c, struct flow_rule *rule, action_fn *fn,
                       struct tw_err *err)
{
    for (size_t i = 0; i < rule->steps.count; i++) {
        struct flow_step *s = &rule->steps.items[i];
        const struct flow_table *t = s->kind == FLOW_STEP_MAP ? s->cond.table : NULL;
        int code = s->kind == FLOW_STEP_ACT ? fn(r, n, c, rule, &s->act, err) : 0;

        for (size_t k = 0; t && k < t->count && code == 0; k++)
            code = fn(r, n, c, rule, &t->actions[k], err);
        if (code < 0)
            return code;
    }
    return 0;
}

struct circle {
    const struct tw_flow_rules *rules;
    uint8_t *seen; /* 1 on the way, 2 done */
};

#define JUMPS_MAX 512 /* the kernel gives up long before */
static int circle_from(struct circle *s, int chain, int depth, struct tw_err *err);

static int circle_action(struct circle *s, const struct flow_action *act, int depth,
                         struct tw_err *err)
{
    if (act->kind != FLOW_JUMP && act->kind != FLOW_GOTO)
        return 0;
    return circle_from(s, act->chain, depth + 1, err);
}

static int circle_rule(struct circle *s, const struct flow_rule *rule, int depth, struct tw_err *err)
{
    for (size_t k = 0; k < rule->steps.count; k++) {
        const struct flow_step *step = &rule->steps.items[k];
        const struct flow_table *t = step->kind == FLOW_STEP_MAP ? step->cond.table : NULL;
        int code = step->kind == FLOW_STEP_ACT ? circle_action(s, &step->act, depth, err) : 0;

        for (size_t i = 0; t && i < t->count && code == 0; i++)
            code = circle_action(s, &t->actions[i], depth, err);
        if (code < 0)
            return code;
    }
    return 0;
}

static int circle_from(struct circle *s, int chain, int depth, struct tw_err *err)
{
    const struct flow_chain *c = s->rules->chains.items[chain];

    if (s->seen[chain] == 2)
        return 0;
    if (s->seen[chain] == 1 || depth > JUMPS_MAX)
        return tw_fail(err, -EINVAL, "chain '%s' of table '%s' %s", c->name, c->table,
                       s->seen[chain] ? "jumps in a circle" : "is reached by too many jumps");
    s->seen[chain] = 1;
    for (size_t i = 0; i < c->rules.count; i++) {
        int r = circle_rule(s, c->rules.items[i], depth, err);

        if (r < 0)
            return r;
    }
    s->seen[chain] = 2;
    return 0;
}

/* ---- base chains as a packet passes them ---- */

/* Address translation has its own place whatever priority its chains ask for. */
static int place_of(const struct flow_chain *c)
{
    bool early = c->hook == TW_FLOW_PREROUTING || c->hook == TW_FLOW_OUTPUT;

    return c->nat ? (early ? -100 : 100) : c->prio;
}

/* Of equal ones the kernel asks the one made last first; iptables' tables have fixed places. */
static int compare_chains(const void *x, const void *y)
{
    const struct flow_chain *p = *(struct flow_chain *const *)x, *q = *(struct flow_chain *const *)y;

    if (place_of(p) != place_of(q))
        return place_of(p) < place_of(q) ? -1 : 1;
    if (p->nat != q->nat)
        return p->nat ? -1 : 1;
    if (p->prio != q->prio)
        return p->prio < q->prio ? -1 : 1;
    return q->order - p->order;
}

static void sort_hooks(struct tw_arena *a, struct tw_flow_rules *r)
{
    for (int h = 0; h < TW_FLOW_HOOK_COUNT; h++) {
        r->hooks[h].count = 0;
        r->hooks[h].items = NULL;
        for (size_t i = 0; i < r->chains.count; i++)
            if (r->chains.items[i]->base && (int)r->chains.items[i]->hook == h)
                TW_PUSH(a, &r->hooks[h], r->chains.items[i]);
        if (r->hooks[h].count)
            qsort(r->hooks[h].items, r->hooks[h].count, sizeof *r->hooks[h].items, compare_chains);
    }
}

static int note_written(const struct tw_flow_rules *r, const struct names *n,
                        const struct flow_chain *c, const struct flow_rule *rule,
                        struct flow_action *act, struct tw_err *err)
{
    unsigned *written = &n->rules->written;

    (void)r, (void)c, (void)rule, (void)err;
    if (act->kind == FLOW_SET)
        *written |= FLOW_BIT(act->field);
    if (act->kind == FLOW_DNAT)
        *written |= FLOW_BIT(TW_FLOW_DADDR) | FLOW_BIT(TW_FLOW_DPORT) | FLOW_BIT(TW_FLOW_DNAT) |
                    FLOW_BIT(TW_FLOW_DTYPE);
    if (act->kind == FLOW_SNAT)
        *written |= FLOW_BIT(TW_FLOW_SADDR) | FLOW_BIT(TW_FLOW_SPORT);
    return 0;
}

int flow_rules_finish(struct tw_arena *a, struct tw_flow_rules *r, struct tw_err *err)
{
    struct circle s = {r, tw_arena_alloc(a, r->chains.count + 1)};
    struct names names;
    int code = 0, id = 0;

    names_build(a, r, &names);
    names.a = a;
    names.rules = r;
    for (size_t i = 0; i < r->chains.count; i++) {
        struct flow_chain *c = r->chains.items[i];

        c->hash = flow_mix(c->rules.count, (uint64_t)c->policy);
        for (size_t k = 0; k < c->rules.count && code == 0; k++) {
            struct flow_rule *rule = c->rules.items[k];

            code = each_action(r, &names, c, rule, resolve, err);
            (void)each_action(r, &names, c, rule, note_written, err);
            rule->id = id++;
            rule->hash = hash_rule(rule);
            c->hash = flow_mix(c->hash, rule->hash);
            hull_rule(rule);
        }
    }
    r->rule_count = id;
    for (size_t i = 0; i < r->chains.count && code == 0; i++)
        code = circle_from(&s, (int)i, 0, err);
    sort_hooks(a, r);
    return code;
}

static struct flow_rule *rule_copy(struct tw_arena *a, const struct flow_rule *rule)
{
    struct flow_rule *copy = tw_arena_alloc(a, sizeof *copy);

    *copy = *rule;
    copy->steps.items = tw_arena_alloc(a, (rule->steps.count + 1) * sizeof *copy->steps.items);
    copy->steps.count = 0;
    for (size_t i = 0; i < rule->steps.count; i++) {
        struct flow_step s = rule->steps.items[i];

        if (s.kind == FLOW_STEP_MAP) {
            struct flow_table *t = tw_arena_alloc(a, sizeof *t);

            *t = *s.cond.table;
            t->actions = tw_arena_alloc(a, t->count * sizeof *t->actions + 1);
            memcpy(t->actions, s.cond.table->actions, t->count * sizeof *t->actions);
            s.cond.table = t;
        }
        copy->steps.items[copy->steps.count++] = s;
    }
    return copy;
}

struct tw_flow_rules *flow_rules_copy(struct tw_arena *a, const struct tw_flow_rules *r)
{
    struct tw_flow_rules *copy = tw_arena_alloc(a, sizeof *copy);

    copy->notes = r->notes;
    for (size_t i = 0; i < r->chains.count; i++) {
        const struct flow_chain *from = r->chains.items[i];
        struct flow_chain *c = flow_chain_add(a, copy, from);

        c->rules.items = NULL;
        c->rules.count = 0;
        for (size_t k = 0; k < from->rules.count; k++)
            TW_PUSH(a, &c->rules, rule_copy(a, from->rules.items[k]));
    }
    return copy;
}

const struct tw_flow_rules *tw_flow_join(struct tw_arena *a, const struct tw_flow_rules *x,
                                         const struct tw_flow_rules *y)
{
    struct tw_flow_rules *both = flow_rules_copy(a, x);
    struct tw_flow_rules *other = flow_rules_copy(a, y);

    for (size_t i = 0; i < other->chains.count; i++) {
        other->chains.items[i]->order += (int)x->chains.count;
        TW_PUSH(a, &both->chains, other->chains.items[i]);
    }
    for (size_t i = 0; i < other->notes.list.count; i++)
        TW_PUSH(a, &both->notes.list, other->notes.list.items[i]);
    (void)flow_rules_finish(a, both, NULL); /* both were finished before */
    return both;
}
