/* From what rules say to sets of packets. Interfaces are numbered by what the rules can tell apart:
 * every name and every pattern is an atom, a name belongs to the innermost that fits. */
#include "flow_internal.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT_BYTES ((size_t)160 << 20)

struct memo_entry {
    const void *key;
    uint32_t rewrite;
    struct flow_pair pair;
    uint32_t next_step;
};
struct flow_memo {
    struct memo_entry *items;
    size_t count, mask;
};

/* ---- memo ---- */

void flow_memo_clear(struct tw_flow_space *s)
{
    memset(s->memo->items, 0, (s->memo->mask + 1) * sizeof *s->memo->items);
    s->memo->count = 0;
}

static size_t memo_slot(const struct flow_memo *m, const void *key, uint32_t rewrite)
{
    size_t at = (size_t)flow_mix((uint64_t)(uintptr_t)key, rewrite) & m->mask;

    while (m->items[at].key && (m->items[at].key != key || m->items[at].rewrite != rewrite))
        at = (at + 1) & m->mask;
    return at;
}

static struct memo_entry *memo_find(const struct flow_memo *m, const void *key, uint32_t rewrite)
{
    size_t at = memo_slot(m, key, rewrite);

    return m->items[at].key ? &m->items[at] : NULL;
}

static void memo_put(struct flow_memo *m, struct memo_entry e)
{
    if (m->count * 2 > m->mask) {
        struct flow_memo old = *m;

        m->mask = old.mask * 2 + 1;
        m->items = tw_alloc((m->mask + 1) * sizeof *m->items);
        for (size_t i = 0; i <= old.mask; i++)
            if (old.items[i].key)
                m->items[memo_slot(m, old.items[i].key, old.items[i].rewrite)] = old.items[i];
        free(old.items);
    }
    m->items[memo_slot(m, e.key, e.rewrite)] = e;
    m->count++;
}

/* ---- interface names ---- */

struct gather {
    struct flow_range *items;
    size_t count, room;
};

static void gather_add(struct gather *g, struct flow_range r)
{
    if (g->count == g->room) {
        g->room = g->room ? g->room * 2 : 64;
        g->items = tw_realloc_array(g->items, g->room, sizeof *g->items);
    }
    g->items[g->count++] = r;
}

static void gather_table(struct gather *g, const struct flow_table *t)
{
    for (int k = 0; t && k < t->key_count; k++)
        if (t->keys[k].field == TW_FLOW_IIF || t->keys[k].field == TW_FLOW_OIF)
            for (size_t i = 0; i < t->count; i++)
                gather_add(g, t->parts[i * (size_t)t->key_count + (size_t)k]);
}

/* Outer before inner. */
static int compare_ranges(const void *x, const void *y)
{
    const struct flow_range *a = x, *b = y;

    if (a->lo != b->lo)
        return a->lo < b->lo ? -1 : 1;
    return a->hi == b->hi ? 0 : a->hi > b->hi ? -1 : 1;
}

static void gather_rules(struct gather *g, const struct tw_flow_rules *r)
{
    for (size_t i = 0; i < r->chains.count; i++)
        for (size_t k = 0; k < r->chains.items[i]->rules.count; k++) {
            const struct flow_rule *rule = r->chains.items[i]->rules.items[k];

            for (size_t n = 0; n < rule->steps.count; n++)
                gather_table(g, rule->steps.items[n].cond.table);
        }
}

static void number_names(struct tw_flow_space *s, const struct tw_flow_rules *const *sets,
                         size_t count)
{
    struct gather g = {0};
    size_t n = 0;

    gather_add(&g, (struct flow_range){0, FLOW_ALL});
    gather_add(&g, (struct flow_range){0, 0});
    gather_add(&g, (struct flow_range){tw_flow_name("lo"), tw_flow_name("lo")});
    for (size_t i = 0; i < count; i++)
        gather_rules(&g, sets[i]);
    qsort(g.items, g.count, sizeof *g.items, compare_ranges);
    for (size_t i = 0; i < g.count; i++)
        if (n == 0 || compare_ranges(&g.items[n - 1], &g.items[i]) != 0)
            g.items[n++] = g.items[i];
    s->names = g.items;
    s->name_count = n;
}

tw_flow_num flow_atom(const struct tw_flow_space *s, tw_flow_num name)
{
    size_t best = 0;

    for (size_t i = 0; i < s->name_count && s->names[i].lo <= name; i++)
        if (name <= s->names[i].hi)
            best = i;
    return best;
}

/* The atoms of a range of names lie side by side; a range nobody named also has a part of the atom
 * around it. */
static uint32_t set_names(struct tw_flow_space *s, enum tw_flow_field f, struct flow_range r)
{
    size_t first = 0, last, low = 0, high = s->name_count;
    unsigned level = s->level[f], width = s->width[f];
    uint32_t in = 0;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (compare_ranges(&s->names[mid], &r) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    first = last = low;
    while (last < s->name_count && s->names[last].lo <= r.hi && s->names[last].hi <= r.hi)
        last++;
    if (last > first)
        in = flow_dd_range(s->dd, level, width, FLOW_ALL, first, last - 1);
    if (first == s->name_count || compare_ranges(&s->names[first], &r) != 0) {
        tw_flow_num around = flow_atom(s, r.lo);

        in = flow_dd_or(s->dd, in, flow_dd_range(s->dd, level, width, FLOW_ALL, around, around));
    }
    return in;
}

/* ---- sets ---- */

uint32_t flow_set(struct tw_flow_space *s, enum tw_flow_field f, tw_flow_num mask, tw_flow_num lo,
                  tw_flow_num hi)
{
    tw_flow_num max = flow_field_max(f);

    if (f == TW_FLOW_IIF || f == TW_FLOW_OIF)
        return lo > hi ? 0 : set_names(s, f, (struct flow_range){lo, hi});
    if (lo > max)
        return 0;
    return flow_dd_range(s->dd, s->level[f], s->width[f], mask, lo, hi > max ? max : hi);
}

uint32_t flow_set_is(struct tw_flow_space *s, enum tw_flow_field f, tw_flow_num value)
{
    return flow_set(s, f, FLOW_ALL, value, value);
}

/* The parts of an element, the lowest levels first: each `and` then only hangs one on another. */
static uint32_t set_element(struct tw_flow_space *s, const struct flow_table *t, size_t i)
{
    uint32_t all = 1;

    for (int f = TW_FLOW_FIELD_COUNT - 1; f >= 0; f--)
        for (int k = 0; k < t->key_count; k++)
            if ((int)t->keys[k].field == f) {
                const struct flow_range *p = &t->parts[i * (size_t)t->key_count + (size_t)k];

                all = flow_dd_and(s->dd, all, flow_set(s, t->keys[k].field, t->keys[k].mask, p->lo,
                                                       p->hi));
            }
    return all;
}

static uint32_t set_elements(struct tw_flow_space *s, const struct flow_table *t, size_t from,
                             size_t to)
{
    size_t mid = from + (to - from) / 2;

    if (to == from)
        return 0;
    if (to - from == 1)
        return set_element(s, t, from);
    return flow_dd_or(s->dd, set_elements(s, t, from, mid), set_elements(s, t, mid, to));
}

uint32_t flow_set_table(struct tw_flow_space *s, const struct flow_table *t)
{
    struct memo_entry *known = memo_find(s->memo, t, UINT32_MAX);
    uint32_t set;

    if (known)
        return known->pair.lo;
    set = set_elements(s, t, 0, t->count);
    memo_put(s->memo, (struct memo_entry){t, UINT32_MAX, {set, set}, 0});
    return set;
}

static uint32_t set_ports(struct tw_flow_space *s)
{
    static const unsigned char with[] = {6, 17, 33, 132, 136};
    uint32_t set = 0;

    for (size_t i = 0; i < sizeof with; i++)
        set = flow_dd_or(s->dd, set, flow_set_is(s, TW_FLOW_PROTO, with[i]));
    return set;
}

static uint32_t set_guard(struct tw_flow_space *s, const struct flow_cond *c)
{
    uint32_t set = 1;

    if (c->guard & FLOW_IS_PROTO)
        set = flow_set_is(s, TW_FLOW_PROTO, (tw_flow_num)c->guard_proto);
    if (c->guard & FLOW_IS_V4)
        set = flow_dd_and(s->dd, set, flow_set_is(s, TW_FLOW_FAMILY, 0));
    if (c->guard & FLOW_IS_V6)
        set = flow_dd_and(s->dd, set, flow_set_is(s, TW_FLOW_FAMILY, 1));
    return set;
}

/* For protocols without ports the bytes there mean something else: it may match. */
static struct flow_pair within(struct tw_flow_space *s, const struct flow_cond *c, uint32_t in)
{
    uint32_t guard = set_guard(s, c), hi = flow_dd_and(s->dd, guard, in), lo = hi;

    if (c->guard & FLOW_HAS_PORTS) {
        uint32_t ports = set_ports(s);

        lo = flow_dd_and(s->dd, lo, ports);
        hi = flow_dd_or(s->dd, lo, flow_dd_minus(s->dd, guard, ports));
    }
    return (struct flow_pair){c->unknown ? 0 : lo, hi};
}

static struct flow_pair cond_plain(struct tw_flow_space *s, const struct flow_cond *c)
{
    uint32_t in = c->table ? flow_set_table(s, c->table) : 1;

    return within(s, c, c->negate ? flow_dd_minus(s->dd, 1, in) : in);
}

struct flow_pair flow_rewritten(struct tw_flow_space *s, struct flow_pair p, uint32_t r)
{
    uint8_t sure[FLOW_LEVELS_MAX];

    if (r == 0)
        return p;
    p.hi = flow_dd_rewrite(s->dd, p.hi, s->rewrites[r], r * 2);
    for (size_t i = 0; i < FLOW_LEVELS_MAX; i++)
        sure[i] = s->rewrites[r][i] == FLOW_ANY ? FLOW_EVERY : s->rewrites[r][i];
    p.lo = flow_dd_rewrite(s->dd, p.lo, sure, r * 2 + 1);
    return p;
}

struct flow_pair flow_cond_pair(struct tw_flow_space *s, const struct flow_cond *c, uint32_t r)
{
    struct memo_entry *known = memo_find(s->memo, c, r);
    struct flow_pair p;

    if (known)
        return known->pair;
    p = flow_rewritten(s, cond_plain(s, c), r);
    memo_put(s->memo, (struct memo_entry){c, r, p, 0});
    return p;
}

struct flow_pair flow_entry_pair(struct tw_flow_space *s, const struct flow_cond *one,
                                 const void *key, uint32_t r)
{
    struct memo_entry *known = memo_find(s->memo, key, r);
    struct flow_pair p;
    uint32_t ports;

    if (known)
        return known->pair;
    p = within(s, one, set_element(s, one->table, 0));
    if (one->guard & FLOW_HAS_PORTS) { /* with other protocols any entry may be meant */
        ports = set_ports(s);
        p.hi = flow_dd_or(s->dd, p.lo, flow_dd_minus(s->dd, set_guard(s, one), ports));
    }
    p = flow_rewritten(s, p, r);
    memo_put(s->memo, (struct memo_entry){key, r, p, 0});
    return p;
}

struct flow_pair flow_rule_pair(struct tw_flow_space *s, const struct flow_rule *rule, uint32_t r,
                                size_t *ret_next_step)
{
    struct memo_entry *known = memo_find(s->memo, rule, r);
    struct flow_pair p = {1, 1};
    size_t i = 0;

    if (known) {
        *ret_next_step = known->next_step;
        return known->pair;
    }
    while (i < rule->steps.count && rule->steps.items[i].kind == FLOW_STEP_COND)
        i++;
    for (size_t k = i; k-- > 0;) {
        struct flow_pair c = cond_plain(s, &rule->steps.items[k].cond);

        p.lo = flow_dd_and(s->dd, c.lo, p.lo);
        p.hi = flow_dd_and(s->dd, c.hi, p.hi);
    }
    p = flow_rewritten(s, p, r);
    memo_put(s->memo, (struct memo_entry){rule, r, p, (uint32_t)i});
    *ret_next_step = i;
    return p;
}

/* ---- rewriting ---- */

static uint32_t rewrite_id(struct tw_flow_space *s, const uint8_t *bits)
{
    for (size_t i = 0; i < s->rewrite_count; i++)
        if (memcmp(s->rewrites[i], bits, FLOW_LEVELS_MAX) == 0)
            return (uint32_t)i;
    if (s->rewrite_count == s->rewrite_room) {
        s->rewrite_room = s->rewrite_room ? s->rewrite_room * 2 : 16;
        s->rewrites = tw_realloc_array(s->rewrites, s->rewrite_room, sizeof *s->rewrites);
    }
    memcpy(s->rewrites[s->rewrite_count], bits, FLOW_LEVELS_MAX);
    return (uint32_t)s->rewrite_count++;
}

static uint8_t flipped(uint8_t bit)
{
    static const uint8_t flip[] = {[FLOW_KEEP] = FLOW_FLIP, [FLOW_ZERO] = FLOW_ONE,
                                   [FLOW_ONE] = FLOW_ZERO,  [FLOW_FLIP] = FLOW_KEEP,
                                   [FLOW_ANY] = FLOW_ANY};

    return flip[bit];
}

uint32_t flow_rewrite_add(struct tw_flow_space *s, uint32_t r, enum tw_flow_field f,
                          tw_flow_num mask, tw_flow_num value, tw_flow_num unknown)
{
    uint8_t bits[FLOW_LEVELS_MAX];

    memcpy(bits, s->rewrites[r], FLOW_LEVELS_MAX);
    for (unsigned i = 0; i < s->width[f]; i++) {
        uint8_t *bit = &bits[s->level[f] + s->width[f] - 1 - i];
        bool v = value >> i & 1;

        if (unknown >> i & 1)
            *bit = FLOW_ANY;
        else if (mask >> i & 1)
            *bit = v ? FLOW_ONE : FLOW_ZERO;
        else if (v)
            *bit = flipped(*bit);
    }
    return rewrite_id(s, bits);
}

bool flow_rewrite_keeps(const struct tw_flow_space *s, uint32_t r, enum tw_flow_field f)
{
    for (unsigned i = 0; i < s->width[f]; i++)
        if (s->rewrites[r][s->level[f] + i] != FLOW_KEEP)
            return false;
    return true;
}

uint32_t flow_forget(struct tw_flow_space *s, uint32_t set, unsigned fields)
{
    uint8_t bits[FLOW_LEVELS_MAX] = {FLOW_KEEP};

    for (int f = 0; f < TW_FLOW_FIELD_COUNT; f++)
        if (fields & FLOW_BIT(f))
            memset(&bits[s->level[f]], FLOW_ANY, s->width[f]);
    return flow_dd_rewrite(s->dd, set, bits, UINT32_C(0x80000000) | fields);
}

/* ---- packets that exist ---- */

static void never(struct tw_flow_space *s, uint32_t *world, uint32_t a, uint32_t b)
{
    *world = flow_dd_minus(s->dd, *world, flow_dd_and(s->dd, a, b));
}

static uint32_t is_not(struct tw_flow_space *s, enum tw_flow_field f, tw_flow_num value)
{
    return flow_dd_minus(s->dd, 1, flow_set_is(s, f, value));
}

/* Addresses whose meaning every host agrees about. */
static const struct {
    const char *prefix;
    enum tw_flow_dtype type;
    bool only; /* no other address has that type */
} meanings[] = {
    {"224.0.0.0/4", TW_FLOW_MULTICAST, true}, {"127.0.0.0/8", TW_FLOW_LOCAL, false},
    {"255.255.255.255", TW_FLOW_BROADCAST, false}, {"ff00::/8", TW_FLOW_MULTICAST, true},
    {"::1", TW_FLOW_LOCAL, false},
};

static void address_meanings(struct tw_flow_space *s, uint32_t *world)
{
    for (size_t i = 0; i < TW_COUNT_OF(meanings); i++) {
        struct tw_flow_prefix p;
        uint32_t family, in;

        (void)tw_flow_prefix(meanings[i].prefix, &p, NULL);
        family = flow_set_is(s, TW_FLOW_FAMILY, p.v6);
        in = flow_dd_and(s->dd, family, flow_set(s, TW_FLOW_DADDR, FLOW_ALL, p.first, p.last));
        never(s, world, in, is_not(s, TW_FLOW_DTYPE, meanings[i].type));
        if (meanings[i].only)
            never(s, world, flow_dd_minus(s->dd, family, in),
                  flow_set_is(s, TW_FLOW_DTYPE, meanings[i].type));
    }
    never(s, world, flow_set_is(s, TW_FLOW_FAMILY, 1), flow_set_is(s, TW_FLOW_DTYPE, TW_FLOW_BROADCAST));
}

static uint32_t world_any(struct tw_flow_space *s)
{
    uint32_t world = flow_set(s, TW_FLOW_STATE, FLOW_ALL, 0, TW_FLOW_STATE_COUNT - 1);
    uint32_t fresh = flow_set_is(s, TW_FLOW_STATE, TW_FLOW_NEW);

    world = flow_dd_and(s->dd, world, flow_dd_range(s->dd, s->level[TW_FLOW_IIF], s->width[TW_FLOW_IIF],
                                                    FLOW_ALL, 0, s->name_count - 1));
    world = flow_dd_and(s->dd, world, flow_dd_range(s->dd, s->level[TW_FLOW_OIF], s->width[TW_FLOW_OIF],
                                                    FLOW_ALL, 0, s->name_count - 1));
    never(s, &world, flow_set_is(s, TW_FLOW_FAMILY, 0), flow_set_is(s, TW_FLOW_PROTO, 58));
    never(s, &world, flow_set_is(s, TW_FLOW_FAMILY, 1), flow_set_is(s, TW_FLOW_PROTO, 1));
    never(s, &world, fresh, flow_set_is(s, TW_FLOW_DIRECTION, 1));
    never(s, &world, fresh, flow_set_is(s, TW_FLOW_DNAT, 1));
    address_meanings(s, &world);
    return world;
}

static uint32_t world_make(struct tw_flow_space *s, enum tw_flow_path path, bool rewritten)
{
    uint32_t world = world_any(s), no_in = flow_set_is(s, TW_FLOW_IIF, 0),
             no_out = flow_set_is(s, TW_FLOW_OIF, 0);

    world = path == TW_FLOW_FROM_HOST ? flow_dd_and(s->dd, world, no_in)
                                      : flow_dd_minus(s->dd, world, no_in);
    world = path == TW_FLOW_TO_HOST ? flow_dd_and(s->dd, world, no_out)
                                    : flow_dd_minus(s->dd, world, no_out);
    if (rewritten)
        return world;
    if (path == TW_FLOW_TO_HOST)
        never(s, &world, 1, flow_set_is(s, TW_FLOW_DTYPE, TW_FLOW_UNICAST));
    if (path == TW_FLOW_THROUGH)
        never(s, &world, 1, flow_set(s, TW_FLOW_DTYPE, FLOW_ALL, TW_FLOW_LOCAL, TW_FLOW_BROADCAST));
    return world;
}

uint32_t flow_world(struct tw_flow_space *s, enum tw_flow_path path, bool rewritten)
{
    if (!s->world[path][rewritten])
        s->world[path][rewritten] = world_make(s, path, rewritten);
    return s->world[path][rewritten];
}

/* ---- witnesses ---- */

static tw_flow_num bits_of(const struct tw_flow_space *s, const uint8_t *bits, enum tw_flow_field f)
{
    tw_flow_num n = 0;

    for (unsigned i = 0; i < s->width[f]; i++)
        n = n << 1 | (bits[s->level[f] + i] == 1);
    return n;
}

/* A name of the atom; of a pattern or of all others one that belongs to no inner atom. */
static tw_flow_num atom_name(const struct tw_flow_space *s, tw_flow_num atom)
{
    const struct flow_range *r = &s->names[atom];
    tw_flow_num name = r->lo;

    if (r->lo == r->hi)
        return r->lo;
    for (int shift = 120; shift >= 0; shift -= 8) { /* "eth" + "0", "1", …, else "x0", … */
        if ((r->lo >> shift & 0xff) != 0)
            continue;
        for (unsigned c = atom == 0 ? 'x' : '0'; c <= 'z'; c++)
            if (flow_atom(s, name | (tw_flow_num)c << shift) == atom)
                return name | (tw_flow_num)c << shift;
        name |= (tw_flow_num)'q' << shift;
    }
    return name;
}

struct tw_flow_packet flow_witness(struct tw_flow_space *s, uint32_t set)
{
    struct tw_flow_packet p = {{0}};
    uint8_t bits[FLOW_LEVELS_MAX];

    flow_dd_pick(s->dd, set, bits);
    for (int f = 0; f < TW_FLOW_FIELD_COUNT; f++)
        p.field[f] = bits_of(s, bits, (enum tw_flow_field)f);
    p.field[TW_FLOW_IIF] = atom_name(s, p.field[TW_FLOW_IIF]);
    p.field[TW_FLOW_OIF] = atom_name(s, p.field[TW_FLOW_OIF]);
    if (p.field[TW_FLOW_FAMILY] == 0) {
        p.field[TW_FLOW_SADDR] &= ~(FLOW_ALL >> 32);
        p.field[TW_FLOW_DADDR] &= ~(FLOW_ALL >> 32);
    }
    return p;
}

/* ---- the space ---- */

static void lay_out(struct tw_flow_space *s)
{
    unsigned level = 0, names = 1;

    while (((size_t)1 << names) < s->name_count)
        names++;
    for (int f = 0; f < TW_FLOW_FIELD_COUNT; f++) {
        bool name = f == TW_FLOW_IIF || f == TW_FLOW_OIF;

        s->level[f] = level;
        s->width[f] = name ? names : flow_fields[f].bits;
        level += s->width[f];
    }
}

struct tw_flow_space *tw_flow_space_new(const struct tw_flow_rules *const *sets, size_t count,
                                        size_t limit_bytes)
{
    static const uint8_t nothing[FLOW_LEVELS_MAX] = {FLOW_KEEP};
    struct tw_flow_space *s = tw_alloc(sizeof *s);

    s->arena = tw_arena_new();
    s->dd = flow_dd_new(limit_bytes ? limit_bytes : LIMIT_BYTES);
    s->memo = tw_alloc(sizeof *s->memo);
    s->memo->mask = 255;
    s->memo->items = tw_alloc(256 * sizeof *s->memo->items);
    number_names(s, sets, count);
    lay_out(s);
    (void)rewrite_id(s, nothing);
    return s;
}

void tw_flow_space_free(struct tw_flow_space *s)
{
    if (!s)
        return;
    flow_dd_free(s->dd);
    if (s->asked)
        free(s->asked->end.items);
    free(s->asked);
    free(s->memo->items);
    free(s->memo);
    free(s->names);
    free(s->rewrites);
    free(s->pins);
    tw_arena_free(s->arena);
    free(s);
}

size_t tw_flow_space_bytes(const struct tw_flow_space *s)
{
    return flow_dd_bytes(s->dd) + (s->memo->mask + 1) * sizeof *s->memo->items;
}

void flow_pin(struct tw_flow_space *s, uint32_t *set)
{
    if (s->pin_count == s->pin_room) {
        s->pin_room = s->pin_room ? s->pin_room * 2 : 16;
        s->pins = tw_realloc_array(s->pins, s->pin_room, sizeof *s->pins);
    }
    s->pins[s->pin_count++] = set;
}

void flow_unpin(struct tw_flow_space *s, size_t count)
{
    s->pin_count -= count;
}

int flow_full(const struct tw_flow_space *s, struct tw_err *err)
{
    if (!flow_dd_full(s->dd))
        return 0;
    return tw_fail(err, -E2BIG,
                   "the rule set's sets of packets need more than the memory allowed for them (%zu MiB "
                   "used): give a higher limit",
                   flow_dd_bytes(s->dd) >> 20);
}
