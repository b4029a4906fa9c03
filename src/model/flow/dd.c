/* Reduced ordered binary decision diagrams with hash-consing: equal sets are equal numbers, so that
 * emptiness and equality cost nothing. Nodes are 16 bytes in one growing array; what a long walk
 * leaves behind goes when the walk says what it still needs (compact).
 * Source: R. Bryant, Graph-based algorithms for Boolean function manipulation, 1986 */
#include "flow_internal.h"

#include <stdlib.h>
#include <string.h>

struct node {
    uint32_t lo, hi; /* where the bit of this level is 0, 1 */
    uint32_t next;   /* in its bucket */
    uint32_t level;
};
struct memo {
    uint32_t op, a, b, result;
};
struct flow_dd {
    struct node *nodes;
    uint32_t *buckets;
    struct memo *memo;
    size_t count, room, buckets_mask, memo_mask;
    size_t limit, peak_bytes; /* limit: nodes */
    bool full;
};
enum op { OP_NONE, OP_AND, OP_OR, OP_MINUS, OP_REWRITE };
#define TERMINAL  UINT32_C(0xffff)
#define ROOM_MIN  ((size_t)1 << 12)
#define MEMO_MAX  ((size_t)1 << 20)
#define NODE_COST (sizeof(struct node) + sizeof(uint32_t) + sizeof(struct memo) / 2)

static size_t bytes_now(const struct flow_dd *d)
{
    return d->room * sizeof *d->nodes + (d->buckets_mask + 1) * sizeof *d->buckets +
           (d->memo_mask + 1) * sizeof *d->memo;
}

static uint32_t hash3(uint32_t a, uint32_t b, uint32_t c)
{
    uint64_t h = (uint64_t)a * UINT64_C(0x9e3779b97f4a7c15) ^
                 (uint64_t)b * UINT64_C(0xc2b2ae3d27d4eb4f) ^ (uint64_t)c * UINT64_C(0x165667b19e3779f9);

    h ^= h >> 29;
    h *= UINT64_C(0xbf58476d1ce4e5b9);
    return (uint32_t)(h >> 32);
}

/* Buckets and memo follow the room for nodes; the memo is forgotten. */
static void size_tables(struct flow_dd *d)
{
    size_t memo = d->room / 2 < MEMO_MAX ? d->room / 2 : MEMO_MAX;

    free(d->buckets);
    d->buckets = tw_alloc(d->room * sizeof *d->buckets);
    d->buckets_mask = d->room - 1;
    if (memo != d->memo_mask + 1 || !d->memo) {
        free(d->memo);
        d->memo = tw_alloc(memo * sizeof *d->memo);
        d->memo_mask = memo - 1;
    }
    for (size_t i = 2; i < d->count; i++) {
        struct node *n = &d->nodes[i];
        uint32_t *bucket = &d->buckets[hash3(n->level, n->lo, n->hi) & d->buckets_mask];

        n->next = *bucket;
        *bucket = (uint32_t)i;
    }
    if (bytes_now(d) > d->peak_bytes)
        d->peak_bytes = bytes_now(d);
}

struct flow_dd *flow_dd_new(size_t limit_bytes)
{
    struct flow_dd *d = tw_alloc(sizeof *d);

    d->limit = limit_bytes / NODE_COST;
    d->room = ROOM_MIN;
    d->nodes = tw_alloc(d->room * sizeof *d->nodes);
    d->nodes[0].level = d->nodes[1].level = TERMINAL;
    d->count = 2;
    size_tables(d);
    return d;
}

void flow_dd_free(struct flow_dd *d)
{
    if (!d)
        return;
    free(d->nodes);
    free(d->buckets);
    free(d->memo);
    free(d);
}

bool flow_dd_full(const struct flow_dd *d)
{
    return d->full;
}

size_t flow_dd_bytes(const struct flow_dd *d)
{
    return d->peak_bytes;
}

size_t flow_dd_nodes(const struct flow_dd *d)
{
    return d->count;
}

static uint32_t make(struct flow_dd *d, uint32_t level, uint32_t lo, uint32_t hi)
{
    uint32_t *bucket;

    if (lo == hi)
        return lo;
    bucket = &d->buckets[hash3(level, lo, hi) & d->buckets_mask];
    for (uint32_t i = *bucket; i; i = d->nodes[i].next)
        if (d->nodes[i].lo == lo && d->nodes[i].hi == hi && d->nodes[i].level == level)
            return i;
    if (d->count == d->room) {
        if (d->room * 2 > d->limit) {
            d->full = true;
            return 0;
        }
        d->room *= 2;
        d->nodes = tw_realloc_array(d->nodes, d->room, sizeof *d->nodes);
        size_tables(d);
        bucket = &d->buckets[hash3(level, lo, hi) & d->buckets_mask];
    }
    d->nodes[d->count] = (struct node){lo, hi, *bucket, level};
    *bucket = (uint32_t)d->count;
    return (uint32_t)d->count++;
}

/* From the lowest bit up, one node for each of: still at both limits, at the lower, at the upper. */
uint32_t flow_dd_range(struct flow_dd *d, unsigned level, unsigned width, tw_flow_num mask,
                       tw_flow_num lo, tw_flow_num hi)
{
    uint32_t both = 1, low = 1, high = 1;

    if (lo > hi)
        return 0;
    for (unsigned i = 0; i < width; i++) {
        bool l = lo >> i & 1, h = hi >> i & 1;
        uint32_t at = level + width - 1 - i, b, s, t;

        if (!(mask >> i & 1)) { /* looked at as 0 */
            b = l ? 0 : h ? low : both;
            s = l ? 0 : low;
            t = h ? 1 : high;
        } else {
            b = l && h ? make(d, at, 0, both)
                : l    ? 0
                : h    ? make(d, at, low, high)
                       : make(d, at, both, 0);
            s = l ? make(d, at, 0, low) : make(d, at, low, 1);
            t = h ? make(d, at, 1, high) : make(d, at, high, 0);
        }
        both = b, low = s, high = t;
    }
    return both;
}

/* What needs no look: the result, or -1. */
static int64_t shortcut(enum op op, int64_t a, int64_t b)
{
    switch (op) {
    case OP_AND:
        return a == 0 || b == 0 ? 0 : a == 1 || a == b ? b : b == 1 ? a : -1;
    case OP_OR:
        return a == 1 || b == 1 ? 1 : a == 0 || a == b ? b : b == 0 ? a : -1;
    case OP_MINUS:
        return a == 0 || b == 1 || a == b ? 0 : b == 0 ? a : -1;
    default:
        return -1;
    }
}

static uint32_t apply(struct flow_dd *d, enum op op, uint32_t a, uint32_t b)
{
    int64_t known = shortcut(op, a, b);
    uint32_t key, level, lo, hi, result, a0, a1, b0, b1;
    struct memo *m;

    if (known >= 0)
        return (uint32_t)known;
    if (d->full)
        return 0;
    if (op != OP_MINUS && a > b) {
        uint32_t swap = a;

        a = b;
        b = swap;
    }
    key = hash3(op, a, b);
    m = &d->memo[key & d->memo_mask];
    if (m->op == op && m->a == a && m->b == b)
        return m->result;
    level = d->nodes[a].level < d->nodes[b].level ? d->nodes[a].level : d->nodes[b].level;
    a0 = d->nodes[a].level == level ? d->nodes[a].lo : a;
    a1 = d->nodes[a].level == level ? d->nodes[a].hi : a;
    b0 = d->nodes[b].level == level ? d->nodes[b].lo : b;
    b1 = d->nodes[b].level == level ? d->nodes[b].hi : b;
    lo = apply(d, op, a0, b0);
    hi = apply(d, op, a1, b1);
    result = make(d, level, lo, hi);
    d->memo[key & d->memo_mask] = (struct memo){op, a, b, result};
    return result;
}

uint32_t flow_dd_and(struct flow_dd *d, uint32_t a, uint32_t b)
{
    return apply(d, OP_AND, a, b);
}

uint32_t flow_dd_or(struct flow_dd *d, uint32_t a, uint32_t b)
{
    return apply(d, OP_OR, a, b);
}

uint32_t flow_dd_minus(struct flow_dd *d, uint32_t a, uint32_t b)
{
    return apply(d, OP_MINUS, a, b);
}

uint32_t flow_dd_rewrite(struct flow_dd *d, uint32_t a, const uint8_t *bits, uint32_t id)
{
    uint32_t key, lo, hi, result, level;
    struct memo *m;

    if (a < 2 || d->full)
        return a;
    key = hash3(OP_REWRITE, a, id);
    m = &d->memo[key & d->memo_mask];
    if (m->op == OP_REWRITE && m->a == a && m->b == id)
        return m->result;
    level = d->nodes[a].level;
    lo = bits[level] == FLOW_ONE ? 0 : flow_dd_rewrite(d, d->nodes[a].lo, bits, id);
    hi = bits[level] == FLOW_ZERO ? 0 : flow_dd_rewrite(d, d->nodes[a].hi, bits, id);
    switch ((enum flow_bit)bits[level]) {
    case FLOW_ZERO:
        result = lo;
        break;
    case FLOW_ONE:
        result = hi;
        break;
    case FLOW_FLIP:
        result = make(d, level, hi, lo);
        break;
    case FLOW_ANY:
        result = apply(d, OP_OR, lo, hi);
        break;
    case FLOW_EVERY:
        result = apply(d, OP_AND, lo, hi);
        break;
    default:
        result = make(d, level, lo, hi);
    }
    d->memo[key & d->memo_mask] = (struct memo){OP_REWRITE, a, id, result};
    return result;
}

/* Prefers 0, so that a member is the smallest in the order of the levels. */
void flow_dd_pick(const struct flow_dd *d, uint32_t a, uint8_t *ret_bits)
{
    memset(ret_bits, 2, FLOW_LEVELS_MAX);
    while (a > 1) {
        const struct node *n = &d->nodes[a];

        ret_bits[n->level] = n->lo == 0;
        a = n->lo ? n->lo : n->hi;
    }
}

bool flow_dd_has(const struct flow_dd *d, uint32_t a, const uint8_t *bits)
{
    while (a > 1)
        a = bits[d->nodes[a].level] ? d->nodes[a].hi : d->nodes[a].lo;
    return a == 1;
}

/* The smallest and largest x of a, which is not empty and looks at no other levels. */
void flow_dd_bounds(const struct flow_dd *d, uint32_t a, unsigned level, unsigned width,
                    tw_flow_num *ret_lo, tw_flow_num *ret_hi)
{
    uint32_t low = a, high = a;
    tw_flow_num lo = 0, hi = 0;

    for (unsigned i = 0; i < width; i++) {
        bool l = d->nodes[low].level == level + i && d->nodes[low].lo == 0;
        bool h = d->nodes[high].level != level + i || d->nodes[high].hi != 0;

        if (d->nodes[low].level == level + i)
            low = l ? d->nodes[low].hi : d->nodes[low].lo;
        if (d->nodes[high].level == level + i)
            high = h ? d->nodes[high].hi : d->nodes[high].lo;
        lo = lo << 1 | l;
        hi = hi << 1 | h;
    }
    *ret_lo = lo;
    *ret_hi = hi;
}

static double share_from(const struct flow_dd *d, double *known, uint32_t a)
{
    if (a < 2)
        return a;
    if (known[a] == 0) /* a set that is not empty has a share */
        known[a] = (share_from(d, known, d->nodes[a].lo) + share_from(d, known, d->nodes[a].hi)) / 2;
    return known[a];
}

double flow_dd_share(const struct flow_dd *d, uint32_t a)
{
    tw_auto_free double *known = a > 1 ? tw_alloc((a + (size_t)1) * sizeof *known) : NULL;

    return share_from(d, known, a);
}

struct listing {
    const struct flow_dd *d;
    unsigned level, width;
    struct flow_range *ranges;
    size_t count, room;
};

static void list_range(struct listing *l, tw_flow_num lo, tw_flow_num hi)
{
    if (l->count && l->count <= l->room && l->ranges[l->count - 1].hi + 1 == lo) {
        l->ranges[l->count - 1].hi = hi;
        return;
    }
    if (l->count < l->room)
        l->ranges[l->count] = (struct flow_range){lo, hi};
    l->count++;
}

static void list_from(struct listing *l, uint32_t a, unsigned bit, tw_flow_num base)
{
    unsigned left = l->width - bit;
    const struct node *n = &l->d->nodes[a];

    if (a == 0 || l->count > l->room)
        return;
    if (a == 1) {
        list_range(l, base, left >= 128 ? FLOW_ALL : base + (((tw_flow_num)1 << left) - 1));
        return;
    }
    if (n->level == l->level + bit) {
        list_from(l, n->lo, bit + 1, base);
        list_from(l, n->hi, bit + 1, base + ((tw_flow_num)1 << (left - 1)));
    } else {
        list_from(l, a, bit + 1, base);
        list_from(l, a, bit + 1, base + ((tw_flow_num)1 << (left - 1)));
    }
}

size_t flow_dd_ranges(const struct flow_dd *d, uint32_t a, unsigned level, unsigned width,
                      struct flow_range *ret, size_t room)
{
    struct listing l = {d, level, width, ret, 0, room};

    list_from(&l, a, 0, 0);
    return l.count;
}

static uint32_t copy_from(struct flow_dd *d, const struct node *old, uint32_t *moved, uint32_t a)
{
    if (a < 2 || moved[a])
        return a < 2 ? a : moved[a];
    uint32_t lo = copy_from(d, old, moved, old[a].lo);
    uint32_t hi = copy_from(d, old, moved, old[a].hi);

    moved[a] = make(d, old[a].level, lo, hi);
    return moved[a];
}

void flow_dd_compact(struct flow_dd *d, uint32_t **roots, size_t count)
{
    struct node *old = d->nodes;
    uint32_t *moved = tw_alloc(d->count * sizeof *moved);

    d->room = ROOM_MIN;
    d->nodes = tw_alloc(d->room * sizeof *d->nodes);
    d->nodes[0].level = d->nodes[1].level = TERMINAL;
    d->count = 2;
    memset(d->memo, 0, (d->memo_mask + 1) * sizeof *d->memo);
    size_tables(d);
    for (size_t i = 0; i < count; i++)
        *roots[i] = copy_from(d, old, moved, *roots[i]);
    free(moved);
    free(old);
}
