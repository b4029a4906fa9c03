/* The generator from inside: what its orders share. */
#ifndef LOAD_GENERATOR_INTERNAL_H
#define LOAD_GENERATOR_INTERNAL_H

#include "load_internal.h"

#define FAILURES 64

struct load_failed {
    enum tw_arm arm;
    struct load_fault fault;
    int64_t count;
};
struct load_arm {
    const char *conninfo; /* NULL: this arm is not used */
    void *target;         /* what the driver made of it */
    struct load_conn *conns;
    int epoll;
    double *item_seconds; /* since the start, from the sending on */
    int64_t *item_counts;
};
struct load_generator {
    int wire;
    struct tw_arena *arena;
    struct tw_load_mix mix;
    struct load_program *program;
    const struct load_driver *driver;
    size_t connections;
    struct load_arm arms[TW_ARM_COUNT];
    struct load_failed failures[FAILURES];
    size_t failure_count;
    struct tw_hist *latency, *lag;
    int64_t *starts;
    size_t starts_room;
    struct load_conn *
        *idle; /* ring: the one idle longest is used next, so none goes cold */
    size_t idle_head, idle_count;
    int64_t opened_ns; /* when the last connection came up */
    int64_t margin_ns; /* learned: how late it is woken in most cases */
    bool coarse_waits; /* no epoll_pwait2 here */
};
struct load_slot {
    struct tw_load_order order;
    struct load_arm *arm;
    size_t clients;
    bool closed_loop;
    int64_t begin_ns, end_ns, settle_end_ns, last_answer_ns;
    size_t start_count, next; /* of the starts: how many, which is due next */
    size_t outstanding;       /* requests under way */
    size_t resting;           /* connections asleep or closed: to look after */
    struct tw_rng rng;
    struct load_result result;
};

/* Looks at the sockets of the slot's arm until until_ns at most; precise: back before it rather
 * than after. */
void load_generator_wait(struct load_generator *g, struct load_slot *s, int64_t until_ns,
                         bool precise);
/* Opens what is closed among the first n connections, all at once. */
void load_generator_open(struct load_generator *g, struct load_arm *arm, size_t n,
                         int64_t deadline_ns);
size_t load_generator_count(const struct load_arm *arm, size_t n, enum load_state state);
/* One request on a connection that is idle; c->last tells what became of it. */
void load_generator_use(struct load_generator *g, struct load_slot *s,
                        struct load_conn *c, size_t item, int64_t now_ns);
/* Goes on with connections that paused within a request; returns when to come again, next_ns at
 * the latest. */
int64_t load_generator_wake(struct load_generator *g, struct load_slot *s, size_t first,
                            size_t n, int64_t next_ns);
int load_generator_slot(struct load_generator *g, struct load_slot *s);
void load_generator_put_failures(struct load_generator *g, struct tw_buf *b);
/* Orders of their own kind: probe.c, connections.c. */
int load_generator_probe(struct load_generator *g);
int load_generator_connections(struct load_generator *g, struct tw_buf *payload);

#endif
