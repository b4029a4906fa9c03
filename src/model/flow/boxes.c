/* Sets as few lines that people read. Around one packet of the set a box is grown, field by field,
 * the least telling field first: each takes all values that it can take with the fields as they
 * stand, so that a box is as large as it can be and every line tells what matters. Packets that do
 * not exist may be inside: nobody will miss them. */
#include "flow_internal.h"

#include <stdlib.h>
#include <string.h>

#define RANGES_MAX 64 /* of one field of one line */
#define ALL_FIELDS (FLOW_BIT(TW_FLOW_FIELD_COUNT) - 1)

static const enum tw_flow_field growing[] = {
    TW_FLOW_CTMARK,    TW_FLOW_DSCP,  TW_FLOW_TTL,       TW_FLOW_PKTTYPE, TW_FLOW_DNAT,
    TW_FLOW_DIRECTION, TW_FLOW_DTYPE, TW_FLOW_FLAGS,     TW_FLOW_SPORT,   TW_FLOW_ICMP_CODE,
    TW_FLOW_MARK,      TW_FLOW_OIF,   TW_FLOW_IIF,       TW_FLOW_SADDR,   TW_FLOW_STATE,
    TW_FLOW_ICMP_TYPE, TW_FLOW_DPORT, TW_FLOW_DADDR,     TW_FLOW_PROTO,   TW_FLOW_FAMILY,
};
_Static_assert(TW_COUNT_OF(growing) == TW_FLOW_FIELD_COUNT, "every field grows");

struct growth {
    uint32_t part[TW_FLOW_FIELD_COUNT]; /* of the box, field by field */
};

static uint32_t box_of(struct tw_flow_space *s, const struct growth *g, int but)
{
    uint32_t all = 1;

    for (int f = TW_FLOW_FIELD_COUNT - 1; f >= 0; f--)
        if (f != but)
            all = flow_dd_and(s->dd, g->part[f], all);
    return all;
}

static void grow(struct tw_flow_space *s, struct growth *g, uint32_t outside, enum tw_flow_field f)
{
    uint32_t others = box_of(s, g, (int)f);
    uint32_t bad = flow_forget(s, flow_dd_and(s->dd, others, outside), ALL_FIELDS & ~FLOW_BIT(f));

    g->part[f] = flow_dd_minus(s->dd, 1, bad);
}

/* ---- text ---- */

static char *name_text(const struct tw_flow_space *s, struct tw_arena *a, size_t atom)
{
    const struct flow_range *r = &s->names[atom];
    char *name = flow_name_text(a, r->lo);

    if (atom == 0)
        return tw_arena_strdup(a, "any other");
    return r->lo == r->hi ? name : tw_arena_printf(a, "%s*", name);
}

static char *names_text(const struct tw_flow_space *s, struct tw_arena *a, struct flow_range r)
{
    char *text = tw_arena_strdup(a, "");

    for (tw_flow_num i = r.lo; i <= r.hi && i < s->name_count; i++) {
        const char *name = name_text(s, a, (size_t)i);

        if (*name) /* no interface at all has no name */
            text = tw_arena_printf(a, "%s%s%s", text, *text ? ", " : "", name);
    }
    return text;
}

static char *ranges_text(struct tw_flow_space *s, struct tw_arena *a, enum tw_flow_field f, bool v6,
                         const struct flow_range *r, size_t n)
{
    char *text = tw_arena_strdup(a, "");
    size_t shown = n < 12 ? n : 12;

    for (size_t i = 0; i < shown; i++) {
        struct flow_range one = r[i];
        char *word;

        if ((f == TW_FLOW_SADDR || f == TW_FLOW_DADDR) && !v6)
            one.hi |= FLOW_ALL >> 32;
        word = f == TW_FLOW_IIF || f == TW_FLOW_OIF ? names_text(s, a, one)
                                                    : flow_range_text(a, f, v6, one);
        if (*word)
            text = tw_arena_printf(a, "%s%s%s", text, *text ? ", " : "", word);
    }
    return n > shown ? tw_arena_printf(a, "%s, …", text) : text;
}

/* The shorter of what is in and what is not. */
static char *part_text(struct tw_flow_space *s, struct tw_arena *a, uint32_t part,
                       enum tw_flow_field f, bool v6)
{
    struct flow_range in[RANGES_MAX], out[RANGES_MAX];
    uint32_t rest = flow_dd_minus(s->dd, 1, part);
    size_t n, m;

    if (f == TW_FLOW_IIF || f == TW_FLOW_OIF) /* numbers that name nothing */
        rest = flow_dd_and(s->dd, rest,
                           flow_dd_range(s->dd, s->level[f], s->width[f], FLOW_ALL, 0, s->name_count - 1));
    n = flow_dd_ranges(s->dd, part, s->level[f], s->width[f], in, RANGES_MAX);
    m = flow_dd_ranges(s->dd, rest, s->level[f], s->width[f], out, RANGES_MAX);
    if (m > 0 && m < n && f != TW_FLOW_PROTO && f != TW_FLOW_STATE)
        return tw_arena_printf(a, "any but %s", ranges_text(s, a, f, v6, out, m < RANGES_MAX ? m : RANGES_MAX));
    return ranges_text(s, a, f, v6, in, n < RANGES_MAX ? n : RANGES_MAX);
}

char *flow_values_text(struct tw_flow_space *s, struct tw_arena *a, uint32_t set,
                       enum tw_flow_field f, bool v6)
{
    return part_text(s, a, flow_forget(s, set, ALL_FIELDS & ~FLOW_BIT(f)), f, v6);
}

/* Values that a packet of this box can have at all. */
static uint32_t existing(struct tw_flow_space *s, const struct growth *g, uint32_t world,
                         enum tw_flow_field f)
{
    uint32_t others = flow_dd_and(s->dd, box_of(s, g, (int)f), world);

    return flow_forget(s, others, ALL_FIELDS & ~FLOW_BIT(f));
}

static const struct {
    enum tw_flow_field field;
    const char *before;
} words_of[] = {
    {TW_FLOW_STATE, ", state "},      {TW_FLOW_IIF, ", in "},          {TW_FLOW_OIF, ", out "},
    {TW_FLOW_FLAGS, ", flags "},      {TW_FLOW_SPORT, ", source port "}, {TW_FLOW_MARK, ", mark "},
    {TW_FLOW_DTYPE, ", destination type "}, {TW_FLOW_DIRECTION, ", direction "},
    {TW_FLOW_DNAT, ", destination translated: "}, {TW_FLOW_PKTTYPE, ", packet type "},
    {TW_FLOW_TTL, ", ttl "},          {TW_FLOW_DSCP, ", dscp "},       {TW_FLOW_CTMARK, ", connection mark "},
};

static char *box_text(struct tw_flow_space *s, struct tw_arena *a, const struct growth *g,
                      uint32_t world, bool v6)
{
    bool any[TW_FLOW_FIELD_COUNT];
    uint32_t part[TW_FLOW_FIELD_COUNT];
    char *text, *family;

    for (int f = 0; f < TW_FLOW_FIELD_COUNT; f++) {
        uint32_t exist = existing(s, g, world, (enum tw_flow_field)f);

        any[f] = flow_dd_minus(s->dd, exist, g->part[f]) == 0;
        part[f] = f == TW_FLOW_PROTO || f == TW_FLOW_STATE ? flow_dd_and(s->dd, g->part[f], exist)
                                                           : g->part[f];
    }
#define PART(f) (any[f] ? "any" : part_text(s, a, part[f], f, v6))
    family = any[TW_FLOW_FAMILY] || !any[TW_FLOW_SADDR] || !any[TW_FLOW_DADDR] ? "" : v6 ? "v6 " : "v4 ";
    text = tw_arena_printf(a, "%s%s from %s to %s", family,
                           any[TW_FLOW_PROTO] ? "any protocol" : PART(TW_FLOW_PROTO),
                           PART(TW_FLOW_SADDR), PART(TW_FLOW_DADDR));
    if (!any[TW_FLOW_DPORT])
        text = tw_arena_printf(a, "%s port %s", text, PART(TW_FLOW_DPORT));
    if (!any[TW_FLOW_ICMP_TYPE])
        text = tw_arena_printf(a, "%s, type %s", text, PART(TW_FLOW_ICMP_TYPE));
    if (!any[TW_FLOW_ICMP_CODE])
        text = tw_arena_printf(a, "%s, code %s", text, PART(TW_FLOW_ICMP_CODE));
    for (size_t i = 0; i < TW_COUNT_OF(words_of); i++)
        if (!any[words_of[i].field])
            text = tw_arena_printf(a, "%s%s%s", text, words_of[i].before, PART(words_of[i].field));
#undef PART
    return text;
}

/* A packet as it might be sent: values that nothing asks about are ordinary ones. */
static void make_ordinary(struct tw_flow_space *s, uint32_t *set)
{
    static const struct {
        const char *prefix;
        enum tw_flow_field field;
    } addresses[] = {
        {"198.51.100.7", TW_FLOW_SADDR}, {"2001:db8::7", TW_FLOW_SADDR},
        {"192.0.2.1", TW_FLOW_DADDR},    {"2001:db8::1", TW_FLOW_DADDR},
    };
    static const struct {
        enum tw_flow_field field;
        unsigned value;
    } values[] = {
        {TW_FLOW_STATE, TW_FLOW_NEW}, {TW_FLOW_PROTO, 6}, {TW_FLOW_PROTO, 17}, {TW_FLOW_FLAGS, 2},
        {TW_FLOW_SPORT, 40000},       {TW_FLOW_TTL, 64},  {TW_FLOW_DTYPE, TW_FLOW_LOCAL},
    };

    for (size_t i = 0; i < TW_COUNT_OF(values); i++) {
        uint32_t in = flow_dd_and(s->dd, *set, flow_set_is(s, values[i].field, values[i].value));

        *set = in ? in : *set;
    }
    for (size_t i = 0; i < TW_COUNT_OF(addresses); i++) {
        struct tw_flow_prefix p;
        uint32_t in;

        (void)tw_flow_prefix(addresses[i].prefix, &p, NULL);
        in = flow_dd_and(s->dd, flow_set_is(s, TW_FLOW_FAMILY, p.v6),
                         flow_set(s, addresses[i].field, FLOW_ALL, p.first, p.last));
        in = flow_dd_and(s->dd, *set, in);
        *set = in ? in : *set;
    }
}

uint32_t flow_box(struct tw_flow_space *s, struct tw_arena *a, uint32_t set, uint32_t world,
                  const char **ret_text, struct tw_flow_packet *ret_witness)
{
    uint32_t outside = flow_dd_minus(s->dd, world, set), around = set;
    struct growth g;
    uint8_t bits[FLOW_LEVELS_MAX];

    make_ordinary(s, &around);
    flow_dd_pick(s->dd, around, bits);
    *ret_witness = flow_witness(s, around);
    for (int f = 0; f < TW_FLOW_FIELD_COUNT; f++) {
        tw_flow_num v = 0;

        for (unsigned i = 0; i < s->width[f]; i++)
            v = v << 1 | (bits[s->level[f] + i] == 1);
        g.part[f] = flow_dd_range(s->dd, s->level[f], s->width[f], FLOW_ALL, v, v);
    }
    for (size_t i = 0; i < TW_COUNT_OF(growing); i++)
        grow(s, &g, outside, growing[i]);
    *ret_text = box_text(s, a, &g, world, ret_witness->field[TW_FLOW_FAMILY] != 0);
    return box_of(s, &g, -1);
}
