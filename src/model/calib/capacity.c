#include "calib/calib_internal.h"

#include <math.h>

/* ---- saturation: closed-loop slots ---- */

struct saturation {
    double capacity_per_s, demand_s;
    size_t n;
};

static double throughput(const struct tw_slot *slot)
{
    return (double)slot->done / tw_seconds(slot->length_ns);
}

/* Those run after the first paired slot are warm; before it, they are probes. */
static bool is_warm(const struct calib_set *set, const struct tw_slot *slot)
{
    for (size_t i = 0; i < set->all.count; i++)
        if (set->all.items[i]->pair >= 0 && isfinite(set->all.items[i]->level))
            return slot->start_ns > set->all.items[i]->start_ns;
    return false;
}

static double best_probe(const struct calib_set *set)
{
    double best = NAN;

    for (size_t i = 0; i < set->closed.count; i++)
        if (!is_warm(set, set->closed.items[i]))
            best = fmax(best, throughput(set->closed.items[i]));
    return best;
}

/* Neighbours and cold caches only ever slow a slot down. So a probe counts where it was
 * faster, and what was served at a level can be served. */
static struct saturation saturate(struct tw_arena *a, const struct calib_set *set)
{
    const struct calib_level *top = &set->level[set->level_count - 1];
    double *rate = tw_arena_alloc(a, (set->closed.count + 1) * sizeof *rate);
    double *demand = tw_arena_alloc(a, (set->closed.count + 1) * sizeof *demand);
    double probe = best_probe(set);
    struct saturation s = {NAN, NAN, 0};

    for (int warm = 1; warm >= 0 && s.n == 0; warm--) {
        for (size_t i = 0; i < set->closed.count; i++) {
            const struct tw_slot *slot = set->closed.items[i];

            if (warm && !is_warm(set, slot))
                continue;
            rate[s.n] = throughput(slot);
            demand[s.n++] = slot->cpu_s > 0 ? slot->cpu_s / (double)slot->done : NAN;
        }
    }
    if (s.n == 0)
        return s;
    s.capacity_per_s = calib_median_known(rate, s.n);
    s.demand_s = calib_median_known(demand, s.n);
    if (probe > s.capacity_per_s)
        s.capacity_per_s = sqrt(s.capacity_per_s * probe);
    s.capacity_per_s = fmax(s.capacity_per_s, top->throughput_per_s);
    return s;
}

/* ---- the model's law of demand ---- */

/* Cores in use do not fall with the rate: lambda * s(lambda) is made isotonic. */
static void demands_ascend(struct tw_model *m)
{
    double used[TW_MODEL_LEVELS];
    size_t n = (size_t)m->level_count;

    for (size_t i = 0; i < n; i++) {
        used[i] = m->rate_per_s[i] * m->demand_s[i];
        if (isnan(used[i]))
            return;
    }
    tw_pava(used, NULL, n);
    for (size_t i = 0; i < n; i++)
        m->demand_s[i] = used[i] / m->rate_per_s[i];
}

static void level_put(struct tw_model *m, double rate_per_s, double demand_s,
                      const double *q)
{
    int i = m->level_count++;

    m->rate_per_s[i] = rate_per_s;
    m->demand_s[i] = demand_s;
    for (size_t j = 0; j < CALIB_QUANTILES; j++) {
        m->q_measured[i][j] = q ? q[j] : NAN;
        m->residual[i][j] = NAN;
    }
}

/* Where some levels have no CPU figure, the nearest that has one speaks for them. */
static void demands_complete(struct tw_model *m)
{
    for (int i = 1; i < m->level_count; i++)
        if (isnan(m->demand_s[i]))
            m->demand_s[i] = m->demand_s[i - 1];
    for (int i = m->level_count - 2; i >= 0; i--)
        if (isnan(m->demand_s[i]))
            m->demand_s[i] = m->demand_s[i + 1];
}

double calib_service_s(const struct tw_model *m, size_t level)
{
    if (isfinite(m->demand_s[level]))
        return m->demand_s[level] * m->stall;
    return m->servers / m->capacity_per_s;
}

void calib_capacity(struct tw_arena *a, const struct calib_set *set, double factor,
                    struct tw_model *m)
{
    struct saturation s = saturate(a, set);
    double half, top_demand_s;

    m->level_count = 0;
    for (size_t l = 0; l < set->level_count; l++)
        level_put(m, set->level[l].rate_per_s, set->level[l].demand_s, set->level[l].q);
    demands_complete(m);
    top_demand_s = m->demand_s[m->level_count - 1];
    if (isnan(s.demand_s))
        s.demand_s = top_demand_s;

    /* Without a saturated slot the CPU's law is all there is: it is an upper bound. */
    m->capacity_per_s = (s.n ? s.capacity_per_s : m->servers / top_demand_s) * factor;
    m->stall = fmax(1, m->servers / (m->capacity_per_s * s.demand_s)); /* 1 when NaN */
    half = tw_normal_quantile(0.95) * set->noise / sqrt(fmax(1, (double)s.n));
    m->capacity_low = m->capacity_per_s * exp(-half);
    m->capacity_high = m->capacity_per_s * exp(half);
    if (m->capacity_per_s > m->rate_per_s[m->level_count - 1])
        level_put(m, m->capacity_per_s, s.demand_s, NULL);
    demands_ascend(m);
}
