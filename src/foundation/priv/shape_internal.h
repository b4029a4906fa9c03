/* What the files of shaping share. */
#ifndef SHAPE_INTERNAL_H
#define SHAPE_INTERNAL_H

#include "priv_internal.h"

#include <stdatomic.h>

/* NLA_HDRLEN and NLA_ALIGN of the kernel's header, without its signs. */
#define SHAPE_HEAD     ((size_t)4)
#define SHAPE_ALIGN(n) (((size_t)(n) + 3) & ~(size_t)3)

/* What this kernel has, tried once in a namespace that is thrown away. */
struct shape_host {
    bool rules, random;         /* tables of nf_tables; a rule for a share of packets */
    bool queue_nft, queue_xt;   /* which rule hands packets to a process of ours */
    bool netem, bucket, mirror; /* queueing disciplines; a mirror for what comes in */
};
const struct shape_host *shape_host(void);

/* Which of them do what was asked of one direction. A set of bits. */
enum shape_tool {
    SHAPE_DROP = 1,   /* a rule that drops all */
    SHAPE_LOSS = 2,   /* a rule that drops a share */
    SHAPE_QUEUE = 4,  /* our process holds the packets */
    SHAPE_NETEM = 8,  /* the kernel does */
    SHAPE_BUCKET = 16 /* a token bucket */
};
int shape_plan(const struct shape_host *host, const struct tw_shape_values *v,
               enum tw_shape_way way, bool only_some, unsigned *ret_tools, struct tw_err *err);
const char *shape_tools_text(const struct shape_host *host, unsigned tools);

/* ---- shape_rules.c: in the caller's network namespace; 0 or a negative errno ---- */

struct shape_rule {
    unsigned tools;        /* SHAPE_DROP, SHAPE_LOSS, SHAPE_QUEUE */
    double loss;
    unsigned short queue;
};
struct shape_match { /* which packets */
    const char *link, *peer; /* peer NULL: of everybody */
    int port;                /* 0: any */
    bool port_here;
};
/* Table "twin_shape<number>" stands for these rules from now on, in one step. */
int shape_rules_set(unsigned number, const struct shape_match *match,
                    const struct shape_rule rules[TW_SHAPE_WAYS], bool queue_nft);
int shape_rules_delete(unsigned number);
int shape_rules_count(void); /* tables of ours that stand here */
int shape_rules_try(bool random, bool queue, bool queue_nft);

/* ---- shape_route.c: the same for rules of routing ---- */

int shape_route_set(unsigned number, const struct shape_match *match, enum tw_shape_route route);
int shape_route_delete(unsigned number);
int shape_route_count(void);

/* ---- shape_disc.c: the same for queueing disciplines ---- */

int shape_disc_set(unsigned number, const char *link, enum tw_shape_way way,
                   unsigned tools, const struct tw_shape_values *v);
int shape_disc_clear(unsigned number, const char *link, enum tw_shape_way way);
int shape_disc_count(const char *link); /* disciplines and mirrors of ours */
int shape_disc_try(const char *kind);   /* "netem", "tbf" */
int shape_disc_try_mirror(void);
int shape_link_mtu(const char *link, int mtu, int *ret_before); /* mtu 0: only read */

/* ---- shape_queue.c: the process that holds packets ---- */

struct shape_asked { /* (set) by the supervisor, read for each packet */
    _Atomic int64_t delay_ns, jitter_ns, rate_bps, longest;
    _Atomic uint32_t loss, reorder; /* shares of 2^32 - 1 */
};
struct shape_done { /* (set) by the process */
    _Atomic int64_t packets, bytes, lost, full, too_long, longest, released, held_ns, late_ns, latest_ns;
};
struct shape_board { /* shared */
    struct shape_asked asked[TW_SHAPE_WAYS];
    struct shape_done done[TW_SHAPE_WAYS];
    _Atomic int held;
    _Atomic int ready; /* 1, or a negative errno */
};
struct shape_holder {
    struct shape_board *board;
    int pidfd;
    int64_t token;
};
/* Queues first and first + 1 of that namespace, the directions. */
int shape_holder_open(struct tw_priv *p, int netns, unsigned short first,
                      struct shape_holder *ret, struct tw_err *err);
/* What is held is let go first, for so long at most. */
void shape_holder_close(struct tw_priv *p, struct shape_holder *h, double wait_s);
#endif
