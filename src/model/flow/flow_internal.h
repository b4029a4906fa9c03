/* What the files of this room share: rules as read, diagrams, and the way from one to the other. */
#ifndef FLOW_INTERNAL_H
#define FLOW_INTERNAL_H

#include "tw/flow.h"

/* ---- rules as read: the same for every language they were written in ---- */

#define FLOW_KEYS_MAX 5
#define FLOW_ALL      (~(tw_flow_num)0)
#define FLOW_BIT(f)   (1U << (f))
#define FLOW_V4(n)    ((tw_flow_num)(uint32_t)(n) << 96)

struct flow_key { /* one thing a condition looks at */
    enum tw_flow_field field;
    tw_flow_num mask; /* the value is looked at through it */
};
struct flow_range {
    tw_flow_num lo, hi;
};
/* A condition holds where the packet is what `guard` says (ip saddr: it is v4) and the keys'
 * values are inside one of the elements; with negate: inside none. */
enum flow_action_kind {
    FLOW_ACCEPT,
    FLOW_DROP,
    FLOW_EITHER,   /* ends the walk one way or the other: queue, targets not known */
    FLOW_JUMP,
    FLOW_GOTO,
    FLOW_RETURN,
    FLOW_CONTINUE, /* on to the next rule */
    FLOW_SET,      /* field = (field & ~mask) ^ value, and unknown in the bits of unknown */
    FLOW_DNAT,
    FLOW_SNAT,
    FLOW_UNSURE,   /* may accept, drop or go on */
    FLOW_ACTION_COUNT
};
struct flow_action {
    enum flow_action_kind kind;
    const char *word; /* "reject", "queue": as written */
    const char *to;   /* name of the chain; resolved: chain */
    int chain;
    enum tw_flow_field field; /* FLOW_SET */
    tw_flow_num mask, value, unknown;
    bool has_addr, has_port, any_addr; /* nat; any_addr: an address that only the kernel knows */
    int family;                        /* of the address: 0 v4, 1 v6, -1 both */
    struct flow_range addr, port;
};
struct flow_element {
    struct flow_range part[FLOW_KEYS_MAX]; /* (as many as there are keys) */
};
struct flow_table { /* elements with what they lead to */
    struct flow_key keys[FLOW_KEYS_MAX];
    int key_count;
    struct flow_range *parts;    /* count * key_count */
    struct flow_action *actions; /* NULL in a plain condition */
    size_t count;
    uint64_t hash;
};
enum flow_guard_bits {
    FLOW_IS_V4 = 1,
    FLOW_IS_V6 = 2,
    FLOW_IS_PROTO = 4,  /* guard_proto */
    FLOW_HAS_PORTS = 8, /* of the protocols with ports; for others the bytes mean something else */
};
struct flow_cond {
    unsigned guard;
    int guard_proto;
    bool negate, unknown; /* unknown: nobody can say (a limit); then there is no table */
    const struct flow_table *table; /* NULL: the guard is all */
};
enum flow_step_kind { FLOW_STEP_COND, FLOW_STEP_ACT, FLOW_STEP_MAP };
struct flow_step {
    enum flow_step_kind kind;
    struct flow_cond cond; /* MAP: its guard and its table with actions; no entry: rule ends */
    struct flow_action act;
};
struct flow_rule {
    TW_ARRAY(struct flow_step) steps;
    const char *place, *text;
    int64_t handle, packets; /* -1: none */
    uint64_t hash;           /* of what it does */
    int id;                  /* index over the whole rule set */
    bool logs;
    struct flow_range hull[TW_FLOW_FIELD_COUNT]; /* it matches nothing outside */
};
struct flow_chain {
    const char *family, *table, *name; /* family: ip ip6 inet */
    bool base, nat;
    enum tw_flow_hook hook;
    int prio, order; /* order: as made */
    enum flow_action_kind policy;
    unsigned families; /* FLOW_IS_V4, FLOW_IS_V6 */
    bool xtables;
    TW_ARRAY(struct flow_rule *) rules;
    uint64_t hash;
};
struct tw_flow_rules {
    TW_ARRAY(struct flow_chain *) chains;
    TW_ARRAY(struct flow_chain *) hooks[TW_FLOW_HOOK_COUNT]; /* base chains as they are passed */
    int rule_count;
    struct tw_flow_notes notes;
    unsigned written; /* FLOW_BIT of each field that a rule writes */
};

/* ---- fields, names, text: packet.c ---- */
struct flow_field_row {
    const char *name;
    unsigned bits;
    const char *const *words; /* NULL: a number */
    size_t word_count;
};
extern const struct flow_field_row flow_fields[TW_FLOW_FIELD_COUNT];
extern const char *const flow_flag_names[8];
tw_flow_num flow_field_max(enum tw_flow_field f);
char *flow_address_text(struct tw_arena *a, bool v6, tw_flow_num n);
char *flow_range_text(struct tw_arena *a, enum tw_flow_field f, bool v6, struct flow_range r);
char *flow_name_text(struct tw_arena *a, tw_flow_num n);
bool flow_has_ports(tw_flow_num proto);
/* "tcp" or "6"; -1. */
int flow_proto(const char *word);
const char *flow_proto_name(struct tw_arena *a, int proto);
/* "https" or "443"; -1. */
int flow_port(const char *word);
struct flow_word {
    const char *name;
    unsigned value;
};
int flow_word_find(const struct flow_word *words, const char *name); /* ends with NULL; -1 */
extern const struct flow_word flow_icmp_types[], flow_icmpv6_types[], flow_icmp_codes[],
    flow_icmpv6_codes[], flow_dscp_words[];

/* ---- making rules: rules.c ---- */
uint64_t flow_mix(uint64_t h, uint64_t x);
uint64_t flow_mix_text(uint64_t h, const char *s);
struct flow_chain *flow_chain_add(struct tw_arena *a, struct tw_flow_rules *r,
                                  const struct flow_chain *like);
struct flow_chain *flow_chain_find(const struct tw_flow_rules *r, const char *family,
                                   const char *table, const char *name);
struct flow_rule *flow_rule_add(struct tw_arena *a, struct tw_flow_rules *r, struct flow_chain *c);
void flow_step_cond(struct tw_arena *a, struct flow_rule *rule, struct flow_cond cond);
void flow_step_act(struct tw_arena *a, struct flow_rule *rule, struct flow_action act);
/* One key with these ranges. */
struct flow_table *flow_table_of(struct tw_arena *a, enum tw_flow_field f, tw_flow_num mask,
                                 const struct flow_range *ranges, size_t n);
void flow_note(struct tw_arena *a, struct tw_flow_rules *r, const struct flow_rule *rule,
               const char *what);
/* Resolves jumps, sorts base chains, computes hashes and hulls. -EINVAL: a chain is missing or
 * chains jump in a circle. */
int flow_rules_finish(struct tw_arena *a, struct tw_flow_rules *r, struct tw_err *err);
/* A copy that may be changed: chains are new, rules are shared. */
struct tw_flow_rules *flow_rules_copy(struct tw_arena *a, const struct tw_flow_rules *r);
bool flow_action_ends(const struct flow_action *act);

/* ---- decision diagrams: dd.c. A set is a number; 0 is empty, 1 is everything ---- */
#define FLOW_LEVELS_MAX 512
struct flow_dd;
enum flow_bit { FLOW_KEEP, FLOW_ZERO, FLOW_ONE, FLOW_FLIP, FLOW_ANY, FLOW_EVERY };
struct flow_dd *flow_dd_new(size_t limit_bytes); /* owned: flow_dd_free */
void flow_dd_free(struct flow_dd *d);
bool flow_dd_full(const struct flow_dd *d); /* an operation did not fit: all answers are void */
size_t flow_dd_bytes(const struct flow_dd *d);
size_t flow_dd_nodes(const struct flow_dd *d);
/* x of width bits, its highest at level; those with lo <= (x & mask) <= hi. */
uint32_t flow_dd_range(struct flow_dd *d, unsigned level, unsigned width, tw_flow_num mask,
                       tw_flow_num lo, tw_flow_num hi);
uint32_t flow_dd_and(struct flow_dd *d, uint32_t a, uint32_t b);
uint32_t flow_dd_or(struct flow_dd *d, uint32_t a, uint32_t b);
uint32_t flow_dd_minus(struct flow_dd *d, uint32_t a, uint32_t b);
/* bits: an enum flow_bit for each level; id: the same number for the same bits. */
uint32_t flow_dd_rewrite(struct flow_dd *d, uint32_t a, const uint8_t *bits, uint32_t id);
/* The bits of one member of a (not empty): 0, 1, or 2 for either. */
void flow_dd_pick(const struct flow_dd *d, uint32_t a, uint8_t *ret_bits);
bool flow_dd_has(const struct flow_dd *d, uint32_t a, const uint8_t *bits);
/* The ranges of x that a, which looks at no other levels, has; at most room; returns how many. */
size_t flow_dd_ranges(const struct flow_dd *d, uint32_t a, unsigned level, unsigned width,
                      struct flow_range *ret, size_t room);
void flow_dd_bounds(const struct flow_dd *d, uint32_t a, unsigned level, unsigned width,
                    tw_flow_num *ret_lo, tw_flow_num *ret_hi);
/* The share of all combinations of bits that a has, 0..1. */
double flow_dd_share(const struct flow_dd *d, uint32_t a);
/* Forgets everything but these sets, whose numbers it changes. */
void flow_dd_compact(struct flow_dd *d, uint32_t **roots, size_t count);

/* ---- a space: rules as diagrams, space.c ---- */

struct flow_pair {
    uint32_t lo, hi; /* surely, possibly; lo is inside hi */
};
struct flow_memo;  /* pointer (and a rewriting) -> pair */
struct flow_outcome;
struct tw_flow_space {
    struct tw_arena *arena;
    struct flow_dd *dd;
    unsigned level[TW_FLOW_FIELD_COUNT], width[TW_FLOW_FIELD_COUNT];
    struct flow_range *names; /* atoms: a name belongs to the innermost */
    size_t name_count;
    struct flow_memo *memo;
    uint8_t (*rewrites)[FLOW_LEVELS_MAX]; /* what has been written into the packet; [0]: nothing */
    size_t rewrite_count, rewrite_room;
    uint32_t world[TW_FLOW_PATH_COUNT][2]; /* packets that exist; [1]: where addresses are rewritten */
    struct flow_outcome *asked; /* owned: of tw_flow_ask() */
    const struct tw_flow_rules *asked_rules;
    enum tw_flow_path asked_path;
    uint32_t **pins; /* sets that somebody holds while others walk */
    size_t pin_count, pin_room;
};
/* Around a walk: *set stays what it is, whatever its number becomes. */
void flow_pin(struct tw_flow_space *s, uint32_t *set);
void flow_unpin(struct tw_flow_space *s, size_t count);
/* Field f between lo and hi (through mask) as a set. */
uint32_t flow_set(struct tw_flow_space *s, enum tw_flow_field f, tw_flow_num mask, tw_flow_num lo,
                  tw_flow_num hi);
uint32_t flow_set_table(struct tw_flow_space *s, const struct flow_table *t);
uint32_t flow_set_is(struct tw_flow_space *s, enum tw_flow_field f, tw_flow_num value);
/* Every packet that can be on this path. */
uint32_t flow_world(struct tw_flow_space *s, enum tw_flow_path path, bool rewritten);
/* What a condition, the leading conditions of a rule, a map hold for, after rewriting r. */
struct flow_pair flow_cond_pair(struct tw_flow_space *s, const struct flow_cond *c, uint32_t r);
struct flow_pair flow_rule_pair(struct tw_flow_space *s, const struct flow_rule *rule, uint32_t r,
                                size_t *ret_next_step);
/* One entry of a map; key: where it is remembered. */
struct flow_pair flow_entry_pair(struct tw_flow_space *s, const struct flow_cond *one,
                                 const void *key, uint32_t r);
struct flow_pair flow_rewritten(struct tw_flow_space *s, struct flow_pair p, uint32_t r);
/* The rewriting r and then: field = (field & ~mask) ^ value, unknown bits. */
uint32_t flow_rewrite_add(struct tw_flow_space *s, uint32_t r, enum tw_flow_field f,
                          tw_flow_num mask, tw_flow_num value, tw_flow_num unknown);
bool flow_rewrite_keeps(const struct tw_flow_space *s, uint32_t r, enum tw_flow_field f);
/* Only the other fields are kept apart; those in the bits of fields are any. */
uint32_t flow_forget(struct tw_flow_space *s, uint32_t set, unsigned fields);
struct tw_flow_packet flow_witness(struct tw_flow_space *s, uint32_t set);
tw_flow_num flow_atom(const struct tw_flow_space *s, tw_flow_num name);
void flow_memo_clear(struct tw_flow_space *s);
int flow_full(const struct tw_flow_space *s, struct tw_err *err); /* -E2BIG or 0 */

/* ---- the way of sets through a rule set: walk.c ---- */

struct flow_state { /* packets as they began, and what was written into them */
    uint32_t set, rewrite;
    bool translated;
};
struct flow_states {
    struct flow_state *items;
    size_t count, room;
};
void flow_states_add(struct tw_flow_space *s, struct flow_states *l, struct flow_state one);
struct flow_outcome {
    uint32_t accept, drop; /* may be accepted, may be dropped */
    struct flow_states end; /* how they arrive */
};
struct flow_record { /* (set) arrays of rule_count and chain_count, NULL: not asked */
    uint32_t *matched; /* what a rule was given that it may match */
    uint32_t *entered; /* what came to a chain */
};
/* Every packet, as it begins, that may fare otherwise by the two. */
uint32_t flow_concerned(struct tw_flow_space *s, const struct tw_flow_rules *x,
                        const struct tw_flow_rules *y);
/* start: packets at the first hook. The caller frees outcome->end.items. */
void flow_walk(struct tw_flow_space *s, const struct tw_flow_rules *r, enum tw_flow_path path,
               uint32_t start, const struct flow_record *record, struct flow_outcome *ret);
/* One chain only, as it stands. ret->end: what falls out of it or returns. */
void flow_walk_chain(struct tw_flow_space *s, const struct tw_flow_rules *r,
                     const struct flow_chain *chain, size_t from_rule, uint32_t start,
                     struct flow_outcome *ret);

/* ---- boxes: boxes.c ---- */

/* One readable box inside of set (or outside of world), around a member of set; what it covers. */
uint32_t flow_box(struct tw_flow_space *s, struct tw_arena *a, uint32_t set, uint32_t world,
                  const char **ret_text, struct tw_flow_packet *ret_witness);
/* "22, 80-90": the values of one field that a set has, the others anything. */
char *flow_values_text(struct tw_flow_space *s, struct tw_arena *a, uint32_t set,
                       enum tw_flow_field f, bool v6);
#endif
