/* Two rule sets: only packets that a changed rule may match can fare otherwise, so only they are
 * sent through both. With one rule of thousands changed, nearly all others are never looked at. */
#include "flow_internal.h"

#include <stdlib.h>
#include <string.h>

#define BOXES 12

/* ---- which rules changed ---- */


static size_t shared_start(const struct flow_chain *x, const struct flow_chain *y)
{
    size_t n = 0;

    while (n < x->rules.count && n < y->rules.count &&
           x->rules.items[n]->hash == y->rules.items[n]->hash)
        n++;
    return n;
}

static size_t shared_end(const struct flow_chain *x, const struct flow_chain *y, size_t start)
{
    size_t n = 0;

    while (n + start < x->rules.count && n + start < y->rules.count &&
           x->rules.items[x->rules.count - 1 - n]->hash ==
               y->rules.items[y->rules.count - 1 - n]->hash)
        n++;
    return n;
}

struct by_hash {
    uint64_t hash;
    size_t at;
};

static int compare_hash(const void *x, const void *y)
{
    const struct by_hash *a = x, *b = y;

    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

static struct by_hash *sorted(const struct flow_chain *c, size_t from, size_t to)
{
    struct by_hash *list = tw_alloc((to - from + 1) * sizeof *list);

    for (size_t i = from; i < to; i++)
        list[i - from] = (struct by_hash){c->rules.items[i]->hash, i};
    qsort(list, to - from, sizeof *list, compare_hash);
    return list;
}

/* Rules that are in both once, as pairs in the order of `before`. */
static size_t once_in_both(const struct by_hash *x, size_t n, const struct by_hash *y, size_t m,
                           size_t *partner, size_t from)
{
    size_t found = 0;

    for (size_t i = 0, k = 0; i < n; i++) {
        bool twice = (i && x[i - 1].hash == x[i].hash) || (i + 1 < n && x[i + 1].hash == x[i].hash);

        while (k < m && y[k].hash < x[i].hash)
            k++;
        if (twice || k == m || y[k].hash != x[i].hash || (k + 1 < m && y[k + 1].hash == x[i].hash))
            continue;
        partner[x[i].at - from] = y[k].at + 1;
        found++;
    }
    return found;
}

/* The longest run of pairs that stand in the same order in both; the others lose their partner. */
static void keep_ordered(size_t *partner, size_t n)
{
    size_t *tail = tw_alloc((n + 1) * sizeof *tail), *back = tw_alloc((n + 1) * sizeof *back), len = 0;

    for (size_t i = 0; i < n; i++) {
        size_t lo = 0, hi = len;

        if (!partner[i])
            continue;
        while (lo < hi) {
            size_t mid = (lo + hi) / 2;

            if (partner[tail[mid]] < partner[i])
                lo = mid + 1;
            else
                hi = mid;
        }
        back[i] = lo ? tail[lo - 1] + 1 : 0;
        tail[lo] = i;
        len = lo == len ? len + 1 : len;
    }
    size_t keep = len ? tail[len - 1] + 1 : 0;

    for (size_t i = n; i-- > 0;) {
        if (keep == i + 1)
            keep = back[i];
        else
            partner[i] = 0;
    }
    free(tail);
    free(back);
}

static uint32_t matched_by(struct tw_flow_space *s, const struct flow_rule *rule)
{
    size_t step;

    return flow_rule_pair(s, rule, 0, &step).hi;
}

/* What rules of c between from and to may match, those with a mark in `same` left out. */
static uint32_t matched_between(struct tw_flow_space *s, const struct flow_chain *c, size_t from,
                                size_t to, const uint8_t *same)
{
    uint32_t set = 0;

    for (size_t i = from; i < to; i++)
        if (!same || !same[i - from])
            set = flow_dd_or(s->dd, set, matched_by(s, c->rules.items[i]));
    return set;
}

static uint32_t chain_changes(struct tw_flow_space *s, const struct flow_chain *x,
                              const struct flow_chain *y)
{
    size_t start = shared_start(x, y), end = shared_end(x, y, start);
    size_t n = x->rules.count - end - start, m = y->rules.count - end - start;
    struct by_hash *a = sorted(x, start, start + n), *b = sorted(y, start, start + m);
    size_t *partner = tw_alloc((n + 1) * sizeof *partner);
    uint8_t *kept_x = tw_alloc(n + 1), *kept_y = tw_alloc(m + 1);
    uint32_t set;

    (void)once_in_both(a, n, b, m, partner, start);
    keep_ordered(partner, n);
    for (size_t i = 0; i < n; i++)
        if (partner[i])
            kept_x[i] = kept_y[partner[i] - 1 - start] = 1;
    set = matched_between(s, x, start, start + n, kept_x);
    set = flow_dd_or(s->dd, set, matched_between(s, y, start, start + m, kept_y));
    free(a);
    free(b);
    free(partner);
    free(kept_x);
    free(kept_y);
    return set;
}

static const struct flow_chain *same_chain(const struct tw_flow_rules *r, const struct flow_chain *c,
                                           size_t at)
{
    if (at < r->chains.count) { /* most often at the same place */
        const struct flow_chain *o = r->chains.items[at];

        if (strcmp(o->name, c->name) == 0 && strcmp(o->table, c->table) == 0 &&
            strcmp(o->family, c->family) == 0)
            return o;
    }
    return flow_chain_find(r, c->family, c->table, c->name);
}

static bool same_base(const struct flow_chain *x, const struct flow_chain *y)
{
    return x->base == y->base && x->nat == y->nat &&
           (!x->base || (x->hook == y->hook && x->prio == y->prio && x->policy == y->policy));
}

static uint32_t one_side(struct tw_flow_space *s, const struct tw_flow_rules *r,
                         const struct tw_flow_rules *other, bool pairs)
{
    uint32_t set = 0;

    for (size_t i = 0; i < r->chains.count && set != 1; i++) {
        const struct flow_chain *c = r->chains.items[i], *o = same_chain(other, c, i);

        if (!o && c->base && (c->policy == FLOW_DROP || r->hooks[c->hook].count > 1))
            return 1;
        if (!o)
            set = flow_dd_or(s->dd, set, matched_between(s, c, 0, c->rules.count, NULL));
        else if (!same_base(c, o))
            return 1;
        else if (pairs && c->hash != o->hash)
            set = flow_dd_or(s->dd, set, chain_changes(s, c, o));
    }
    return set;
}

/* Base chains in another order: with equal priorities, or with writing rules, that matters. */
static bool same_order(const struct tw_flow_rules *x, const struct tw_flow_rules *y)
{
    for (int h = 0; h < TW_FLOW_HOOK_COUNT; h++) {
        if (x->hooks[h].count != y->hooks[h].count)
            continue; /* one_side() sees it */
        for (size_t i = 0; i < x->hooks[h].count; i++)
            if (strcmp(x->hooks[h].items[i]->name, y->hooks[h].items[i]->name) != 0 ||
                strcmp(x->hooks[h].items[i]->table, y->hooks[h].items[i]->table) != 0)
                return false;
    }
    return true;
}

/* Every packet, as it begins, that may fare otherwise. Fields that rules write are forgotten: at
 * the beginning they can have been anything. Interfaces and states as rules see them differ from
 * what packets have only where every packet has the same. */
uint32_t flow_concerned(struct tw_flow_space *s, const struct tw_flow_rules *x,
                        const struct tw_flow_rules *y)
{
    uint32_t set = same_order(x, y) ? one_side(s, x, y, true) : 1;
    unsigned fields = x->written | y->written | FLOW_BIT(TW_FLOW_IIF) | FLOW_BIT(TW_FLOW_OIF) |
                      FLOW_BIT(TW_FLOW_STATE);

    if (set != 1)
        set = flow_dd_or(s->dd, set, one_side(s, y, x, false));
    return flow_forget(s, set, fields);
}

/* ---- what became of them ---- */


static void list_boxes(struct tw_flow_space *s, struct tw_arena *a, uint32_t set, uint32_t world,
                       struct tw_flow_change like, size_t boxes, struct tw_flow_difference *ret)
{
    for (size_t i = 0; set && i < boxes && !flow_dd_full(s->dd); i++) {
        struct tw_flow_change c = like;
        uint32_t box = flow_box(s, a, set, world, &c.text, &c.witness);

        c.witness_text = tw_flow_packet_text(a, &c.witness);
        set = flow_dd_minus(s->dd, set, box);
        TW_PUSH(a, &ret->list, c);
    }
    ret->more |= set != 0;
}

static uint32_t class_of(struct tw_flow_space *s, const struct flow_outcome *o, int answer)
{
    return answer == TW_FLOW_DROP     ? flow_dd_minus(s->dd, o->drop, o->accept)
           : answer == TW_FLOW_ACCEPT ? flow_dd_minus(s->dd, o->accept, o->drop)
                                      : flow_dd_and(s->dd, o->accept, o->drop);
}

/* The fields in which a packet that arrives can be another than the one that was sent. */
static const enum tw_flow_field delivered[] = {TW_FLOW_DADDR, TW_FLOW_DPORT};

static bool delivered_alike(const struct tw_flow_space *s, uint32_t x, uint32_t y)
{
    for (size_t i = 0; i < TW_COUNT_OF(delivered); i++) {
        enum tw_flow_field f = delivered[i];

        if (memcmp(&s->rewrites[x][s->level[f]], &s->rewrites[y][s->level[f]], s->width[f]) != 0)
            return false;
    }
    return true;
}

static uint32_t redirected(struct tw_flow_space *s, const struct flow_outcome *x,
                           const struct flow_outcome *y)
{
    uint32_t alike = 0, both;

    for (size_t i = 0; i < x->end.count; i++)
        for (size_t k = 0; k < y->end.count; k++)
            if (delivered_alike(s, x->end.items[i].rewrite, y->end.items[k].rewrite))
                alike = flow_dd_or(
                    s->dd, alike, flow_dd_and(s->dd, x->end.items[i].set, y->end.items[k].set));
    both = flow_dd_and(s->dd, class_of(s, x, TW_FLOW_ACCEPT), class_of(s, y, TW_FLOW_ACCEPT));
    return flow_dd_minus(s->dd, both, alike);
}

int tw_flow_compare(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_rules *before,
                    const struct tw_flow_rules *after, enum tw_flow_path path, size_t boxes,
                    struct tw_flow_difference *ret, struct tw_err *err)
{
    bool rewritten = ((before->written | after->written) & FLOW_BIT(TW_FLOW_DADDR)) != 0;
    uint32_t world = flow_world(s, path, rewritten);
    uint32_t start = flow_dd_and(s->dd, world, flow_concerned(s, before, after));
    struct flow_outcome x, y;

    *ret = (struct tw_flow_difference){0};
    boxes = boxes ? boxes : BOXES;
    if (start == 0)
        return flow_full(s, err);
    flow_pin(s, &start);
    flow_walk(s, before, path, start, NULL, &x);
    flow_pin(s, &x.accept);
    flow_pin(s, &x.drop);
    for (size_t i = 0; i < x.end.count; i++)
        flow_pin(s, &x.end.items[i].set);
    flow_walk(s, after, path, start, NULL, &y);
    flow_unpin(s, 3 + x.end.count);
    world = flow_world(s, path, rewritten);
    for (int i = 0; i < 3 && !flow_dd_full(s->dd); i++)
        for (int k = 0; k < 3; k++)
            if (i != k)
                list_boxes(s, a, flow_dd_and(s->dd, class_of(s, &x, i), class_of(s, &y, k)), world,
                           (struct tw_flow_change){.path = path,
                                                   .before = (enum tw_flow_answer)i,
                                                   .after = (enum tw_flow_answer)k},
                           boxes, ret);
    list_boxes(s, a, redirected(s, &x, &y), world,
               (struct tw_flow_change){.path = path,
                                       .before = TW_FLOW_ACCEPT,
                                       .after = TW_FLOW_ACCEPT,
                                       .redirected = true},
               boxes, ret);
    free(x.end.items);
    free(y.end.items);
    return flow_full(s, err);
}
