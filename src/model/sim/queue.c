#include "sim/sim_internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- random numbers ---- */

/* Of one draw: 10 bits choose the cell of the exponential, 22 the place in it, 32 the
 * service. */
#define CELL_BITS  10
#define PLACE_BITS 22
/* From this cell on the straight line within a cell would show; the exponential has no
 * memory, so its tail is log(cells/left) and a fresh one. One draw in 256 goes this way.
 */
#define TAIL_CELL (SIM_EXP_CELLS - SIM_EXP_CELLS / 256)

static inline double exp_of_draw(struct tw_sim_queue *q, uint64_t draw)
{
    double tail = 0;

    for (;;) {
        uint32_t cell = (uint32_t)(draw & (SIM_EXP_CELLS - 1));
        uint32_t place = (uint32_t)(draw >> CELL_BITS) & ((1 << PLACE_BITS) - 1);

        if (__builtin_expect(cell < TAIL_CELL, 1)) {
            double from = (double)q->exp.at[cell], to = (double)q->exp.at[cell + 1];

            return tail + from + (to - from) * ((double)place + 0.5) * 0x1p-22;
        }
        tail += (double)q->exp.at[TAIL_CELL];
        draw = tw_rng_u64(&q->rng);
    }
}

static inline double shape_of_draw(const struct tw_sim_queue *q, uint64_t draw)
{
    return (double)q->spec.sample[sim_queue_index(q, draw)];
}

static void needs_fill(struct tw_sim_queue *q, size_t n)
{
    double scale = q->service_s / q->shape_mean;

    if (q->spec.sample) {
        for (size_t i = 0; i < n; i++)
            q->need_s[i] = shape_of_draw(q, q->draw[i]) * scale;
    } else {
        for (size_t i = 0; i < n; i++)
            q->need_s[i] = tw_rng_exp(&q->rng, q->service_s);
    }
    for (size_t i = 0; i < n; i++)
        q->tally.work_s += q->need_s[i];
}

double sim_queue_need(struct tw_sim_queue *q)
{
    if (!q->spec.sample)
        return tw_rng_exp(&q->rng, q->service_s);
    return shape_of_draw(q, tw_rng_u64(&q->rng)) * q->service_s / q->shape_mean;
}

/* Arrivals until end_s, at most a batch; those drawn beyond it are thrown away, which a
 * process without memory does not notice. */
static size_t arrivals_fill(struct tw_sim_queue *q, double end_s, bool *ret_end)
{
    double at = q->now_s, expected = (end_s - at) / q->gap_s;
    size_t want = expected > SIM_BATCH ? SIM_BATCH : (size_t)expected + 8, n = 0;

    want = want > SIM_BATCH ? SIM_BATCH : want;
    tw_rng_fill(&q->rng, q->draw, want);
    for (size_t i = 0; i < want; i++) {
        at += exp_of_draw(q, q->draw[i]) * q->gap_s;
        q->arrival_s[i] = at;
    }
    *ret_end = q->arrival_s[want - 1] >= end_s;
    if (!*ret_end) {
        q->now_s = at;
        return want;
    }
    while (q->arrival_s[n] < end_s)
        n++;
    q->now_s = end_s;
    return n;
}

/* ---- life ---- */

static double mean_of_sample(const float *sample, int count)
{
    double sum = 0;

    for (int i = 0; i < count; i++)
        sum += (double)sample[i];
    return sum / count;
}

/* With one server and no delay a token comes back exactly when the server is free again,
 * so the pool changes nothing but who waits where. */
static const struct sim_kernel *kernel_of(const struct tw_sim_queue_spec *spec)
{
    bool pool_shows = spec->pool > 0 && (spec->delay_s > 0 || isfinite(spec->timeout_s) ||
                                         spec->pool < spec->servers);

    if (spec->sharing)
        return &sim_kernel_ps;
    return spec->servers == 1 && !pool_shows ? &sim_kernel_lindley : &sim_kernel_tokens;
}

struct tw_sim_queue *tw_sim_queue_new(const struct tw_sim_queue_spec *spec)
{
    struct tw_sim_queue *q = tw_alloc(sizeof *q);

    assert(spec->servers > 0 && spec->pool >= 0 && spec->delay_s >= 0);
    assert(!spec->sample || spec->sample_count > 0);
    q->spec = *spec;
    q->kernel = kernel_of(spec);
    q->state = q->kernel->make(spec);
    q->shape_mean = spec->sample ? mean_of_sample(spec->sample, spec->sample_count) : 1;
    assert(q->shape_mean > 0);
    tw_rng_seed(&q->rng, spec->seed, spec->stream);
    sim_exp_table_make(&q->exp);
    return q;
}

void tw_sim_queue_free(struct tw_sim_queue *q)
{
    if (!q)
        return;
    q->kernel->destroy(q->state);
    free(q);
}

void tw_sim_queue_load(struct tw_sim_queue *q, double rate_per_s, double service_s)
{
    assert(rate_per_s >= 0 && service_s > 0);
    q->gap_s = 1 / rate_per_s; /* infinite at 0 */
    q->service_s = service_s;
}

/* ---- running ---- */

void sim_queue_flush(struct tw_sim_queue *q)
{
    if (q->hist)
        tw_hist_record_batch(q->hist, q->latency_s, q->out);
    if (q->marking)
        sim_marking_keep(q->marking, q->latency_s, q->out_mark, q->out);
    q->tally.done += (int64_t)q->out;
    q->out = 0;
}

void sim_queue_out_all(struct tw_sim_queue *q, size_t n)
{
    memcpy(q->out_mark, q->mark, n);
    q->out = n;
    sim_queue_flush(q);
}

static void begin(struct tw_sim_queue *q, struct tw_hist *latency)
{
    q->hist = latency;
    q->out = 0;
    q->tally = (struct tw_sim_tally){0};
}

static void end(struct tw_sim_queue *q, struct tw_sim_tally *tally)
{
    sim_queue_flush(q);
    q->hist = NULL;
    if (!tally)
        return;
    tally->arrivals += q->tally.arrivals;
    tally->done += q->tally.done;
    tally->errors += q->tally.errors;
    tally->queued += q->tally.queued;
    tally->work_s += q->tally.work_s;
}

static void serve(struct tw_sim_queue *q, size_t n)
{
    q->tally.arrivals += (int64_t)n;
    if (q->marking)
        sim_marking_mark(q->marking, q, n);
    q->kernel->serve(q, n);
}

void tw_sim_queue_advance(struct tw_sim_queue *q, double seconds, struct tw_hist *latency,
                          struct tw_sim_tally *tally)
{
    double end_s = q->now_s + seconds;
    bool at_end = !isfinite(q->gap_s);

    assert(seconds >= 0 && q->service_s > 0);
    begin(q, latency);
    while (!at_end) {
        size_t n = arrivals_fill(q, end_s, &at_end);

        needs_fill(q, n);
        serve(q, n);
    }
    q->now_s = end_s;
    q->kernel->until(q, end_s);
    end(q, tally);
}

void tw_sim_queue_drain(struct tw_sim_queue *q, struct tw_hist *latency,
                        struct tw_sim_tally *tally)
{
    begin(q, latency);
    q->kernel->until(q, INFINITY);
    end(q, tally);
}

void tw_sim_queue_replay(struct tw_sim_queue *q, const double *starts_s, size_t n,
                         struct tw_hist *latency, struct tw_sim_tally *tally)
{
    begin(q, latency);
    q->kernel->restart(q);
    q->now_s = 0;
    for (size_t done = 0; done < n;) {
        size_t some = n - done < SIM_BATCH ? n - done : SIM_BATCH;

        tw_rng_fill(&q->rng, q->draw, some);
        needs_fill(q, some);
        for (size_t i = 0; i < some; i++)
            q->arrival_s[i] = starts_s[done + i];
        serve(q, some);
        done += some;
    }
    q->now_s = n ? starts_s[n - 1] : 0;
    q->kernel->until(q, INFINITY);
    end(q, tally);
}

double tw_sim_queue_backlog(const struct tw_sim_queue *q)
{
    return q->kernel->backlog(q);
}

void tw_sim_queue_backlog_set(struct tw_sim_queue *q, double requests)
{
    assert(requests >= 0 && requests <= TW_SIM_BACKLOG_MAX);
    q->kernel->backlog_set(q, requests);
}
