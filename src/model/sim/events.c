#include "sim/sim_internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* ---- binary heap, earliest first ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    if (a->time_s < b->time_s || a->time_s > b->time_s)
        return a->time_s < b->time_s;
    return a->order < b->order;
}

void sim_heap_push(struct sim_heap *h, const struct sim_event *e)
{
    size_t i = h->count;

    if (h->count == h->room) {
        h->room = h->room ? 2 * h->room : 64;
        h->items = tw_realloc_array(h->items, h->room, sizeof *h->items);
    }
    h->count++;
    for (; i > 0 && before(e, &h->items[(i - 1) / 2]); i = (i - 1) / 2)
        h->items[i] = h->items[(i - 1) / 2];
    h->items[i] = *e;
}

struct sim_event sim_heap_pop(struct sim_heap *h)
{
    struct sim_event first, last;
    size_t i = 0;

    assert(h->count > 0);
    first = h->items[0];
    last = h->items[--h->count];
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= h->count)
            break;
        if (child + 1 < h->count && before(&h->items[child + 1], &h->items[child]))
            child++;
        if (!before(&h->items[child], &last))
            break;
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = last;
    return first;
}

/* ---- the clock ---- */

struct tw_sim *tw_sim_new(uint64_t seed, uint64_t stream)
{
    struct tw_sim *s = tw_alloc(sizeof *s);

    tw_rng_seed(&s->rng, seed, stream);
    s->network = sim_network_new();
    return s;
}

void tw_sim_free(struct tw_sim *s)
{
    if (!s)
        return;
    sim_network_free(s->network);
    free(s->heap.items);
    free(s);
}

double tw_sim_now(const struct tw_sim *s)
{
    return s->now_s;
}

#define INSERTION_BITS 52 /* 4.5e15 events: years of running */

void tw_sim_at(struct tw_sim *s, double time_s, int priority, tw_sim_event_fn *fn,
               void *arg, int64_t number)
{
    struct sim_event e = {.time_s = time_s, .fn = fn, .arg = arg, .number = number};

    assert(time_s >= s->now_s && priority >= 0 &&
           priority < 1 << (64 - INSERTION_BITS - 1));
    e.order = (uint64_t)priority << INSERTION_BITS | s->inserted++;
    sim_heap_push(&s->heap, &e);
}

void tw_sim_until(struct tw_sim *s, double time_s)
{
    assert(time_s >= s->now_s);
    while (s->heap.count > 0 && s->heap.items[0].time_s <= time_s) {
        struct sim_event e = sim_heap_pop(&s->heap);

        s->now_s = e.time_s;
        e.fn(s, e.arg, e.number);
    }
    s->now_s = time_s;
}

/* ---- replications ---- */

void tw_sim_replicate(tw_sim_replica_fn *fn, void *arg, uint64_t seed, int replicas,
                      int values, struct tw_estimate *ret)
{
    size_t n = (size_t)replicas, m = (size_t)values;
    tw_auto_free double *all = tw_realloc_array(NULL, n * m, sizeof *all);
    tw_auto_free double *column = tw_realloc_array(NULL, n, sizeof *column);
    struct tw_rng rng;

    assert(replicas > 0 && values > 0);
    for (size_t r = 0; r < n; r++) {
        tw_rng_seed(&rng, seed, r);
        fn(arg, (int)r, tw_rng_u64(&rng), all + r * m);
    }
    for (size_t v = 0; v < m; v++) {
        double half;

        for (size_t r = 0; r < n; r++)
            column[r] = all[r * m + v];
        half = tw_normal_quantile(0.95) * tw_sd(column, n) / sqrt((double)n);
        ret[v] = (struct tw_estimate){.value = tw_mean(column, n),
                                      .level = 0.9,
                                      .n = replicas,
                                      .method = "mean of replications"};
        ret[v].low = ret[v].value - half;
        ret[v].high = ret[v].value + half;
    }
}
