#include "calib/calib_internal.h"

#include <math.h>
#include <string.h>

#define SLOT_REQUESTS_MIN 200 /* fewer of a slot would not show its p95 */
#define REPETITIONS_MAX   8
#define REPETITION_COST                                                                  \
    2500 /* of budget: reading quantiles off costs too, however few they are */

/* Arrivals of every open slot, in seconds from its start; where they were not kept,
 * Poisson ones at the slot's rate. Both disciplines see the same. */
struct arrivals {
    double *starts_s;
    size_t count;
};

static size_t arrivals_room(const struct tw_slot *slot)
{
    double expected = slot->offered_per_s * tw_seconds(slot->length_ns);

    if (slot->starts_ns)
        return slot->start_count;
    return (size_t)(isfinite(expected) ? expected + 10 * sqrt(expected) + 10
                                       : (double)slot->sent + 1);
}

static struct arrivals arrivals_make(struct tw_arena *a, const struct tw_slot *slot,
                                     size_t most, struct tw_rng *rng)
{
    size_t room = arrivals_room(slot);
    int64_t *drawn = NULL;
    struct arrivals to;

    room = room < most ? room : most;
    to.starts_s = tw_arena_alloc(a, (room + 1) * sizeof *to.starts_s);
    to.count = room;
    if (!slot->starts_ns) {
        double rate = isfinite(slot->offered_per_s)
                          ? slot->offered_per_s
                          : (double)slot->sent / tw_seconds(slot->length_ns);

        drawn = tw_arena_alloc(a, (room + 1) * sizeof *drawn);
        to.count = tw_poisson_starts(rng, rate, slot->length_ns, drawn, room);
    }
    for (size_t i = 0; i < to.count; i++)
        to.starts_s[i] = tw_seconds(slot->starts_ns ? slot->starts_ns[i] : drawn[i]);
    return to;
}

struct replay {
    const struct calib_set *set;
    const struct arrivals *arrivals; /* by open slot */
    int repetitions;
    struct tw_hist *hist;
    double *work; /* per quantile, repetition and open slot */
};

/* Medians over slots and repetitions of the quantiles of one simulated slot, as they were
 * taken when measured. (Quantiles of all repetitions together would be those of the
 * busiest.) */
static void level_replay(const struct replay *r, const struct tw_model *m, size_t level,
                         size_t first, struct tw_sim_queue *queue, double *ret_q)
{
    size_t slots = r->set->level[level].slots.count, n = slots * (size_t)r->repetitions;

    tw_sim_queue_load(queue, m->rate_per_s[level], calib_service_s(m, level));
    for (size_t i = 0; i < n; i++) {
        const struct arrivals *a = &r->arrivals[first + i % slots];
        double q[CALIB_QUANTILES];

        tw_hist_clear(r->hist);
        tw_sim_queue_replay(queue, a->starts_s, a->count, r->hist, NULL);
        tw_hist_quantiles(r->hist, calib_q, CALIB_QUANTILES, q);
        for (size_t j = 0; j < CALIB_QUANTILES; j++)
            r->work[j * n + i] = q[j];
    }
    for (size_t j = 0; j < CALIB_QUANTILES; j++)
        ret_q[j] = calib_median_known(r->work + j * n, n);
}

static struct tw_sim_queue *queue_new(const struct tw_model *m, const float *sample,
                                      bool sharing, uint64_t seed)
{
    return tw_sim_queue_new(&(struct tw_sim_queue_spec){
        .servers = m->servers,
        .pool = m->pool,
        .sharing = sharing,
        .delay_s = m->delay_s,
        .timeout_s = NAN,
        .sample = sample,
        .sample_count = m->sample_count,
        .seed = seed,
    });
}

/* ---- the shape without its waiting ----
 * Requests waited a little at the lowest level too, and more of the slow ones if the
 * processor was shared. What the simulation of that level has too much of at a rank is
 * taken off there: a fixed point iteration, two steps of which leave less than the noise.
 * Knots are few, so that the noise of a few hundred requests is not put into the shape.
 */

#define SHAPE_STEPS 2
#define SHAPE_KNOTS 12
static const double shape_ranks[SHAPE_KNOTS] = {0.02, 0.1, 0.2, 0.3, 0.4,  0.5,
                                                0.6,  0.7, 0.8, 0.9, 0.95, 0.99};

static void level_simulate(const struct replay *r, const struct tw_model *m,
                           struct tw_sim_queue *queue, struct tw_hist *hist)
{
    tw_sim_queue_load(queue, m->rate_per_s[0], calib_service_s(m, 0));
    tw_hist_clear(hist);
    for (size_t i = 0; i < r->set->level[0].slots.count; i++)
        for (int k = 0; k < r->repetitions; k++)
            tw_sim_queue_replay(queue, r->arrivals[i].starts_s, r->arrivals[i].count,
                                hist, NULL);
}

/* log factor at a rank: straight between the knots, level beyond them. */
static double factor_at(const double *log_factor, double rank)
{
    int k = 0;

    if (rank <= shape_ranks[0])
        return log_factor[0];
    while (k + 1 < SHAPE_KNOTS && shape_ranks[k + 1] < rank)
        k++;
    if (k + 1 == SHAPE_KNOTS)
        return log_factor[k];
    return log_factor[k] + (log_factor[k + 1] - log_factor[k]) * (rank - shape_ranks[k]) /
                               (shape_ranks[k + 1] - shape_ranks[k]);
}

static void shape_scale(const double *log_factor, int count, float *sample)
{
    double mean = 0, least = 0;

    for (int i = 0; i < count; i++) {
        double s = (double)sample[i] * exp(factor_at(log_factor, (i + 0.5) / count));

        least = fmax(least, s); /* ascending it stays */
        sample[i] = (float)least;
        mean += least / count;
    }
    for (int i = 0; i < count; i++)
        sample[i] = (float)((double)sample[i] / mean);
}

static void shape_refine(const struct replay *r, const struct tw_model *m, bool sharing,
                         uint64_t seed, const double *measured_s, float *sample)
{
    for (int step = 0; step < SHAPE_STEPS; step++) {
        tw_auto(tw_sim_queue) *queue = queue_new(m, sample, sharing, seed);
        double simulated_s[SHAPE_KNOTS], log_factor[SHAPE_KNOTS];

        level_simulate(r, m, queue, r->hist);
        tw_hist_quantiles(r->hist, shape_ranks, SHAPE_KNOTS, simulated_s);
        for (int k = 0; k < SHAPE_KNOTS; k++) {
            double have = simulated_s[k] - m->delay_s, want = measured_s[k] - m->delay_s;
            double y = log(want / have);

            log_factor[k] = isfinite(y) ? fmin(fmax(y, -1), 1) : 0;
        }
        shape_scale(log_factor, m->sample_count, sample);
    }
}

static void measured_fill(const struct replay *r, double *ret_s)
{
    const struct calib_slots *low = &r->set->level[0].slots;

    tw_hist_clear(r->hist);
    for (size_t i = 0; i < low->count; i++)
        if (low->items[i]->latency)
            tw_hist_merge(r->hist, low->items[i]->latency);
    tw_hist_quantiles(r->hist, shape_ranks, SHAPE_KNOTS, ret_s);
}

/* ---- which discipline ---- */

/* Sum of |log(measured/simulated)| at p50 and p95 over the levels. */
static double discipline_replay(const struct replay *r, const struct tw_model *m,
                                const float *sample, bool sharing, uint64_t seed,
                                double ret_q[][CALIB_QUANTILES])
{
    tw_auto(tw_sim_queue) *queue = queue_new(m, sample, sharing, seed);
    double miss = 0;
    size_t first = 0;

    for (size_t l = 0; l < r->set->level_count; l++) {
        level_replay(r, m, l, first, queue, ret_q[l]);
        first += r->set->level[l].slots.count;
        for (size_t j = 0; j < 2; j++) {
            double off = fabs(log(m->q_measured[l][j] / ret_q[l][j]));

            miss += isfinite(off) ? off : 0;
        }
    }
    return miss;
}

/* A tail quantile of few requests is mostly luck: it is believed by n (1 - q) / 10, and
 * for the rest the next lower quantile speaks. */
static void residuals(const struct calib_set *set, double q[][CALIB_QUANTILES],
                      struct tw_model *m)
{
    for (size_t l = 0; l < set->level_count; l++) {
        double lower = 0;

        for (size_t j = 0; j < CALIB_QUANTILES; j++) {
            double trust =
                fmin(1, (double)set->level[l].requests * (1 - calib_q[j]) / 10);
            double r = log(m->q_measured[l][j] / q[l][j]);

            m->residual[l][j] = isfinite(r) ? trust * r + (1 - trust) * lower : lower;
            lower = m->residual[l][j];
        }
    }
}

void calib_replay(struct tw_arena *a, const struct calib_set *set, uint64_t seed,
                  size_t budget, struct tw_model *m)
{
    size_t slots = set->open.count, most = budget / slots, total = 0;
    struct arrivals *arrivals = tw_arena_alloc(a, slots * sizeof *arrivals);
    int repetitions_max;
    double q[2][TW_MODEL_LEVELS][CALIB_QUANTILES], miss[2], measured_s[SHAPE_KNOTS];
    float *sample[2];
    tw_auto(tw_hist) *hist = tw_hist_new();
    struct replay r = {.set = set, .arrivals = arrivals, .hist = hist};
    struct tw_rng rng;

    tw_rng_seed(&rng, seed, 1);
    most = most < SLOT_REQUESTS_MIN ? SLOT_REQUESTS_MIN : most;
    for (size_t i = 0; i < slots; i++) {
        arrivals[i] = arrivals_make(a, set->open.items[i], most, &rng);
        total += arrivals[i].count;
    }
    r.repetitions = total ? (int)(budget / total) : 1;
    r.repetitions = r.repetitions < 1 ? 1 : r.repetitions;
    repetitions_max = (int)(budget / REPETITION_COST);
    repetitions_max =
        repetitions_max > REPETITIONS_MAX ? REPETITIONS_MAX : repetitions_max;
    r.repetitions = r.repetitions > repetitions_max ? repetitions_max : r.repetitions;
    r.work =
        tw_arena_alloc(a, slots * CALIB_QUANTILES * REPETITIONS_MAX * sizeof *r.work);

    measured_fill(&r, measured_s);
    for (int sharing = 0; sharing < 2; sharing++) {
        sample[sharing] = tw_arena_alloc(a, sizeof m->sample);
        memcpy(sample[sharing], m->sample, sizeof m->sample);
        shape_refine(&r, m, sharing, seed, measured_s, sample[sharing]);
        miss[sharing] =
            discipline_replay(&r, m, sample[sharing], sharing, seed, q[sharing]);
    }
    m->processor_sharing = miss[1] < miss[0];
    memcpy(m->sample, sample[m->processor_sharing], sizeof m->sample);
    residuals(set, q[m->processor_sharing], m);
}
