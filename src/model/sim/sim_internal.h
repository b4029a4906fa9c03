#ifndef SIM_INTERNAL_H
#define SIM_INTERNAL_H

#include "tw/sim.h"

/* ---- events.c ---- */
struct sim_event {
    double time_s;
    uint64_t order; /* priority in the high bits, insertion in the low ones */
    tw_sim_event_fn *fn;
    void *arg;
    int64_t number;
};
struct sim_heap {
    struct sim_event *items;
    size_t count, room;
};
void sim_heap_push(struct sim_heap *h, const struct sim_event *e);
struct sim_event sim_heap_pop(struct sim_heap *h);

/* ---- law.c ---- */
#define SIM_EXP_CELLS 1024
struct sim_exp_table { /* -log(1 - i/cells) */
    float at[SIM_EXP_CELLS + 1];
};
void sim_exp_table_make(struct sim_exp_table *t);

/* ---- network.c ---- */
struct sim_network;
struct sim_network *sim_network_new(void);
void sim_network_free(struct sim_network *n);

struct tw_sim {
    double now_s;
    uint64_t inserted;
    struct tw_rng rng;
    struct sim_heap heap;
    struct sim_network *network;
};

/* ---- queue.c, queue_fcfs.c, queue_ps.c ---- */
#define SIM_BATCH 1024

struct sim_kernel { /* one way of serving a batch */
    const char *name;
    void *(*make)(const struct tw_sim_queue_spec *spec);
    void (*destroy)(void *state);
    /* n arrivals with their service requirements, both in q; latencies of what finished
     * so far are put out with sim_queue_out(). */
    void (*serve)(struct tw_sim_queue *q, size_t n);
    void (*until)(struct tw_sim_queue *q, double time_s); /* no arrival before time_s */
    double (*backlog)(const struct tw_sim_queue *q);
    void (*backlog_set)(struct tw_sim_queue *q, double requests);
    void (*restart)(struct tw_sim_queue *q); /* empty, at time 0 */
};
/* ---- strata.c ---- */
struct sim_marking;
/* Marks the n arrivals of the batch; */
void sim_marking_mark(struct sim_marking *m, struct tw_sim_queue *q, size_t n);
void sim_marking_keep(struct sim_marking *m, const double *latency_s, const uint8_t *mark,
                      size_t n);

extern const struct sim_kernel sim_kernel_lindley, sim_kernel_tokens, sim_kernel_ps;

struct tw_sim_queue {
    struct tw_sim_queue_spec spec;
    const struct sim_kernel *kernel;
    void *state;
    struct tw_rng rng;
    double now_s, gap_s, service_s, shape_mean;
    struct tw_hist *hist; /* of the call under way; NULL: nobody wants it */
    struct tw_sim_tally tally;
    struct sim_marking *marking; /* of the call under way; NULL: marks are 0 */
    size_t out;
    double arrival_s[SIM_BATCH], need_s[SIM_BATCH], latency_s[SIM_BATCH];
    uint8_t mark[SIM_BATCH], out_mark[SIM_BATCH]; /* of arrivals and of what is put out */
    uint64_t draw[SIM_BATCH];
    struct sim_exp_table exp;
};
void sim_queue_flush(struct tw_sim_queue *q);
double sim_queue_need(struct tw_sim_queue *q); /* one service requirement */
static inline uint64_t sim_queue_index(const struct tw_sim_queue *q, uint64_t draw)
{
    return ((draw >> 32) * (uint64_t)q->spec.sample_count) >> 32;
}
void sim_queue_out_all(struct tw_sim_queue *q,
                       size_t n); /* latency_s is filled, in order */
static inline void sim_queue_out(struct tw_sim_queue *q, double latency_s, uint8_t mark)
{
    q->out_mark[q->out] = mark;
    q->latency_s[q->out++] = latency_s;
    if (q->out == SIM_BATCH)
        sim_queue_flush(q);
}

#endif
