#include "calib/calib_internal.h"

#include <math.h>

#define SLOT_REQUESTS_MIN 200 /* fewer of a slot would not show its p95 */
#define REPETITIONS_MAX   8

/* Arrivals of every open slot, in seconds from its start; where they were not kept, Poisson ones at
 * the slot's rate. Both disciplines see the same. */
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

static struct arrivals arrivals_make(struct tw_arena *a, const struct tw_slot *slot, size_t most,
                                     struct tw_rng *rng)
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
    double *work; /* as many as open slots, per quantile */
};


/* Medians over the slots of the simulated slot's quantiles, as they were taken when measured. */
static void level_replay(const struct replay *r, const struct tw_model *m, size_t level,
                         size_t first, struct tw_sim_queue *queue, double *ret_q)
{
    size_t n = r->set->level[level].slots.count;

    tw_sim_queue_load(queue, m->rate_per_s[level], calib_service_s(m, level));
    for (size_t i = 0; i < n; i++) {
        const struct arrivals *a = &r->arrivals[first + i];
        double q[CALIB_QUANTILES];

        tw_hist_clear(r->hist);
        for (int k = 0; k < r->repetitions; k++)
            tw_sim_queue_replay(queue, a->starts_s, a->count, r->hist, NULL);
        tw_hist_quantiles(r->hist, calib_q, CALIB_QUANTILES, q);
        for (size_t j = 0; j < CALIB_QUANTILES; j++)
            r->work[j * n + i] = q[j];
    }
    for (size_t j = 0; j < CALIB_QUANTILES; j++)
        ret_q[j] = calib_median_known(r->work + j * n, n);
}

/* Sum of |log(measured/simulated)| at p50 and p95 over the levels. */
static double discipline_replay(const struct replay *r, const struct tw_model *m, bool sharing,
                                uint64_t seed, double ret_q[][CALIB_QUANTILES])
{
    tw_auto(tw_sim_queue) *queue = tw_sim_queue_new(&(struct tw_sim_queue_spec){
        .servers = m->servers,
        .pool = m->pool,
        .sharing = sharing,
        .delay_s = m->delay_s,
        .timeout_s = NAN,
        .sample = m->sample,
        .sample_count = m->sample_count,
        .seed = seed,
    });
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

/* A tail quantile of few requests is mostly luck: it is believed by n (1 - q) / 10, and for the
 * rest the next lower quantile speaks. */
static void residuals(const struct calib_set *set, double q[][CALIB_QUANTILES],
                      struct tw_model *m)
{
    for (size_t l = 0; l < set->level_count; l++) {
        double lower = 0;

        for (size_t j = 0; j < CALIB_QUANTILES; j++) {
            double trust = fmin(1, (double)set->level[l].requests * (1 - calib_q[j]) / 10);
            double r = log(m->q_measured[l][j] / q[l][j]);

            m->residual[l][j] = isfinite(r) ? trust * r + (1 - trust) * lower : lower;
            lower = m->residual[l][j];
        }
    }
}

void calib_replay(struct tw_arena *a, const struct calib_set *set, uint64_t seed, size_t budget,
                  struct tw_model *m)
{
    size_t slots = set->open.count, most = budget / slots, total = 0;
    struct arrivals *arrivals = tw_arena_alloc(a, slots * sizeof *arrivals);
    double q[2][TW_MODEL_LEVELS][CALIB_QUANTILES], miss[2];
    tw_auto(tw_hist) *hist = tw_hist_new();
    struct replay r = {.set = set, .arrivals = arrivals, .hist = hist};
    struct tw_rng rng;

    tw_rng_seed(&rng, seed, 1);
    most = most < SLOT_REQUESTS_MIN ? SLOT_REQUESTS_MIN : most;
    for (size_t i = 0; i < slots; i++) {
        arrivals[i] = arrivals_make(a, set->open.items[i], most, &rng);
        total += arrivals[i].count;
    }
    r.work = tw_arena_alloc(a, slots * CALIB_QUANTILES * sizeof *r.work);
    r.repetitions = total ? (int)(budget / total) : 1;
    r.repetitions = r.repetitions < 1 ? 1 : r.repetitions;
    r.repetitions = r.repetitions > REPETITIONS_MAX ? REPETITIONS_MAX : r.repetitions;

    for (int sharing = 0; sharing < 2; sharing++)
        miss[sharing] = discipline_replay(&r, m, sharing, seed, q[sharing]);
    m->processor_sharing = miss[1] < miss[0];
    residuals(set, q[m->processor_sharing], m);
}
