/* Rule sets as exact sets of packets: what a packet filter lets through, what a change of its
 * rules opens and closes, which rules never decide anything. Pure: text in, answers out.
 *
 * Units   addresses are 128-bit numbers (v4 in the upper 32 bits), ports and types as on the wire
 * Shapes  a rule set is read once and never changes; a space answers questions about sets of them
 * Errors  -EINVAL text that does not parse, with line or JSON Pointer; -E2BIG a diagram grew
 *         over its limit; nothing that cannot be modelled is left out: it is noted with its place
 *         and both outcomes count as possible ("may")
 * Owns    a rule set and every answer live in the arena given, a space until tw_flow_space_free()
 * Source  reduced ordered decision diagrams: R. Bryant 1986; header space: Kazemian et al. 2012 */
#ifndef TW_FLOW_H
#define TW_FLOW_H

#include "tw/base.h"
#include "tw/spec.h"

/* ---- packets ---- */

typedef unsigned __int128 tw_flow_num;

/* In the order of the diagram's variables: what most rules ask first. */
enum tw_flow_field {
    TW_FLOW_FAMILY,    /* 0 v4, 1 v6 */
    TW_FLOW_PROTO,     /* IP protocol number */
    TW_FLOW_STATE,     /* enum tw_flow_state */
    TW_FLOW_DIRECTION, /* of the tracked connection: 0 original, 1 reply */
    TW_FLOW_DNAT,      /* 1: connection tracking has rewritten the destination */
    TW_FLOW_DTYPE,     /* enum tw_flow_dtype: what the destination is to this host */
    TW_FLOW_PKTTYPE,   /* 0 host, 1 broadcast, 2 multicast, 3 other: link layer */
    TW_FLOW_IIF,       /* interface names as tw_flow_name() numbers; 0: none at this hook */
    TW_FLOW_OIF,
    TW_FLOW_DPORT,
    TW_FLOW_ICMP_TYPE, /* ICMP or ICMPv6, as the protocol says */
    TW_FLOW_ICMP_CODE,
    TW_FLOW_FLAGS,     /* of TCP: fin 1, syn 2, rst 4, psh 8, ack 16, urg 32, ecn 64, cwr 128 */
    TW_FLOW_DADDR,
    TW_FLOW_SADDR,
    TW_FLOW_SPORT,
    TW_FLOW_MARK,
    TW_FLOW_CTMARK,
    TW_FLOW_TTL,       /* or hop limit */
    TW_FLOW_DSCP,
    TW_FLOW_FIELD_COUNT
};
enum tw_flow_state {
    TW_FLOW_INVALID,
    TW_FLOW_ESTABLISHED,
    TW_FLOW_RELATED,
    TW_FLOW_NEW,
    TW_FLOW_UNTRACKED,
    TW_FLOW_STATE_COUNT
};
enum tw_flow_dtype {
    TW_FLOW_UNICAST, /* somewhere else */
    TW_FLOW_LOCAL,   /* an address of this host */
    TW_FLOW_BROADCAST,
    TW_FLOW_MULTICAST,
    TW_FLOW_DTYPE_COUNT
};
extern const char *const tw_flow_state_names[TW_FLOW_STATE_COUNT];
struct tw_flow_packet {
    tw_flow_num field[TW_FLOW_FIELD_COUNT];
};
/* "eth0" as a number whose order is that of the text; at most 15 bytes. */
tw_flow_num tw_flow_name(const char *interface);
/* "10.0.0.1" or "::1" as a number; -EINVAL. */
int tw_flow_address(const char *text, bool *ret_v6, tw_flow_num *ret, struct tw_err *err);
/* "tcp 10.1.2.3:40000 to 10.0.0.1:443, state new, from eth0": one line that tells a packet. */
char *tw_flow_packet_text(struct tw_arena *a, const struct tw_flow_packet *p);

/* ---- rule sets ---- */

enum tw_flow_hook {
    TW_FLOW_PREROUTING,
    TW_FLOW_INPUT,
    TW_FLOW_FORWARD,
    TW_FLOW_OUTPUT,
    TW_FLOW_POSTROUTING,
    TW_FLOW_HOOK_COUNT
};
extern const char *const tw_flow_hook_names[TW_FLOW_HOOK_COUNT];
/* The hooks that a packet passes, in order. Addresses of a packet are those it has before the
 * first of them; what connection tracking rewrites on the way is followed. */
enum tw_flow_path {
    TW_FLOW_TO_HOST,   /* prerouting, input */
    TW_FLOW_THROUGH,   /* prerouting, forward, postrouting */
    TW_FLOW_FROM_HOST, /* output, postrouting */
    TW_FLOW_PATH_COUNT
};
extern const char *const tw_flow_path_names[TW_FLOW_PATH_COUNT];

struct tw_flow_note {
    const char *place; /* "handle 12 in inet filter input", "line 7" */
    const char *what;  /* "limit: depends on the rate" */
};
struct tw_flow_notes {
    TW_ARRAY(struct tw_flow_note) list;
};
struct tw_flow_rules;
/* What `nft -j list ruleset` prints. */
int tw_flow_read_nft(struct tw_arena *a, const char *json, size_t len,
                     const struct tw_flow_rules **ret, struct tw_err *err);
/* What iptables-save (v6 false) or ip6tables-save prints. */
int tw_flow_read_iptables(struct tw_arena *a, const char *text, size_t len, bool v6,
                          const struct tw_flow_rules **ret, struct tw_err *err);
/* Both of one host, say iptables-save and ip6tables-save: every packet passes both. */
const struct tw_flow_rules *tw_flow_join(struct tw_arena *a, const struct tw_flow_rules *x,
                                         const struct tw_flow_rules *y);
size_t tw_flow_rule_count(const struct tw_flow_rules *r);
/* What is not modelled, each with its place. */
const struct tw_flow_notes *tw_flow_notes(const struct tw_flow_rules *r);

/* ---- one packet: an evaluator that shares nothing with the diagrams ---- */

enum tw_flow_answer { TW_FLOW_DROP, TW_FLOW_ACCEPT, TW_FLOW_MAY, TW_FLOW_ANSWER_COUNT };
extern const char *const tw_flow_answer_names[TW_FLOW_ANSWER_COUNT];
enum tw_flow_answer tw_flow_evaluate(const struct tw_flow_rules *r, enum tw_flow_path path,
                                     const struct tw_flow_packet *p);

/* ---- all packets ---- */

struct tw_flow_space;
/* For questions about these rule sets (borrowed). limit_bytes: of the diagrams; 0: 160 MiB. */
struct tw_flow_space *tw_flow_space_new(const struct tw_flow_rules *const *sets, size_t count,
                                        size_t limit_bytes); /* owned: tw_flow_space_free */
void tw_flow_space_free(struct tw_flow_space *s);
TW_AUTO_DEFINE(tw_flow_space)
size_t tw_flow_space_bytes(const struct tw_flow_space *s); /* at its largest */
/* The answer of the diagrams for one packet: must be that of tw_flow_evaluate(). */
int tw_flow_ask(struct tw_flow_space *s, const struct tw_flow_rules *r, enum tw_flow_path path,
                const struct tw_flow_packet *p, enum tw_flow_answer *ret, struct tw_err *err);

/* One flow that a change touches: a box of packets all of which change in the same way. */
struct tw_flow_change {
    enum tw_flow_path path;
    enum tw_flow_answer before, after;
    bool redirected; /* accepted before and after, but translated to another address or port */
    const char *text; /* "tcp from 10.0.0.0/8 to any port 443, 8443" */
    struct tw_flow_packet witness;
    const char *witness_text;
};
struct tw_flow_difference {
    TW_ARRAY(struct tw_flow_change) list;
    bool more; /* there are flows beyond the boxes listed */
};
/* Gained, lost and redirected flows on one path; at most boxes of each kind (0: 12). */
int tw_flow_compare(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_rules *before,
                    const struct tw_flow_rules *after, enum tw_flow_path path, size_t boxes,
                    struct tw_flow_difference *ret, struct tw_err *err);

enum tw_flow_useless {
    TW_FLOW_SHADOWED,  /* all it matches is decided by earlier rules, otherwise */
    TW_FLOW_REDUNDANT, /* earlier or later rules decide the same for all it matches */
    TW_FLOW_NEVER,     /* matches no packet that can come here */
    TW_FLOW_USELESS_COUNT
};
extern const char *const tw_flow_useless_names[TW_FLOW_USELESS_COUNT];
struct tw_flow_rule_finding {
    enum tw_flow_useless kind;
    const char *place, *text;    /* of the rule */
    TW_ARRAY(const char *) by;   /* places of the rules that decide instead */
    int64_t packets;             /* its counter; -1: it has none */
};
struct tw_flow_rule_findings {
    TW_ARRAY(struct tw_flow_rule_finding) list;
};
/* Rules that decide nothing, over all paths. */
int tw_flow_useless(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_rules *r,
                    struct tw_flow_rule_findings *ret, struct tw_err *err);
/* The same for large sets: only rules all of whose packets are among those that a change from or to the other
 * set touches. The space is for both. */
int tw_flow_useless_touched(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_rules *other,
                            const struct tw_flow_rules *r, struct tw_flow_rule_findings *ret,
                            struct tw_err *err);

/* ---- what a change means to people ---- */

struct tw_flow_prefix {
    bool v6;
    tw_flow_num first, last;
};
/* "10.0.0.0/8", "10.0.0.5", "10.0.0.1-10.0.0.9", "fe80::/10". */
int tw_flow_prefix(const char *text, struct tw_flow_prefix *ret, struct tw_err *err);
struct tw_flow_zone { /* sources: any of the prefixes (none: all), at any of the interfaces */
    const char *name;
    TW_ARRAY(struct tw_flow_prefix) prefixes;
    TW_ARRAY(const char *) interfaces; /* "eth0", "br-*"; none: all but lo */
};
struct tw_flow_service {
    const char *name; /* "ssh" */
    int proto;        /* 6, 17 */
    int port;
};
struct tw_flow_keep { /* who must not be locked out: management, health checks */
    const char *name;
    struct tw_flow_zone from;
    struct tw_flow_service to;
};
/* Lock-outs and exposures of the change as issues (firewall.*); keep may be empty: then ssh from
 * where it was reachable before is the management path. */
int tw_flow_judge(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_rules *before,
                  const struct tw_flow_rules *after, const struct tw_flow_keep *keep,
                  size_t keep_count, struct tw_issues *issues, struct tw_err *err);
enum tw_flow_reach { TW_FLOW_NONE, TW_FLOW_PART, TW_FLOW_ALL, TW_FLOW_PERHAPS, TW_FLOW_REACH_COUNT };
extern const char *const tw_flow_reach_names[TW_FLOW_REACH_COUNT]; /* no part yes may */
struct tw_flow_cell {
    const char *zone, *service;
    enum tw_flow_reach before, after;
};
struct tw_flow_matrix {
    TW_ARRAY(struct tw_flow_cell) list; /* zone by zone, in the order given */
};
/* New connections from each zone to each service of this host. */
int tw_flow_zones(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_rules *before,
                  const struct tw_flow_rules *after, enum tw_flow_path path,
                  const struct tw_flow_zone *zones, size_t zone_count,
                  const struct tw_flow_service *services, size_t service_count,
                  struct tw_flow_matrix *ret, struct tw_err *err);

/* ---- add_rule ---- */

struct tw_flow_rule {
    const char *source;   /* prefix; NULL: both families */
    const char *protocol; /* "tcp", "udp", "icmp", …; NULL: all */
    int port;             /* destination; -1: all */
    const char *verdict;  /* "accept", "drop", "reject"; NULL: accept */
    const char *chain;    /* NULL: the base chain on input */
};
struct tw_flow_made {
    const char *rule;    /* "tcp dport 443 accept" in the words of the rule set */
    const char *place;   /* "inet filter input, before handle 12 (drop)" */
    const char *command; /* that does it: "nft insert rule …", "iptables -I INPUT 4 …" */
};
struct tw_flow_mades {
    TW_ARRAY(struct tw_flow_made) list; /* one for each family's rule set */
};
/* Makes the rule, before the first rule that would decide otherwise, and the rule set with it. */
int tw_flow_add(struct tw_flow_space *s, struct tw_arena *a, const struct tw_flow_rules *r,
                const struct tw_flow_rule *rule, struct tw_flow_mades *ret_made,
                const struct tw_flow_rules **ret_rules, struct tw_err *err);
#endif
