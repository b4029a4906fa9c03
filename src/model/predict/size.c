/* What so many instances carry. A request visits a replicated station (any instance of it: a balancer
 * gives it to the one that has least to do) and shared ones. Capacities follow from CPU seconds per
 * request, which hardly depend on how much CPU there is, and not from rates, which do:
 * docs/internals/scaling.md. */
#include "tw/predict.h"
#include "tw/sim.h"

#include <assert.h>
#include <math.h>

#define MOST_STATIONS 24
#define MOST_JOBS     1024
#define ROUNDS        10 /* of demand against load: each halves what is left, at least */
#define DRAWS         40

/* A part of a core is one server that much slower; several cores are as many servers. */
static struct tw_sim_closed_station queue_of(const struct tw_size_station *s, double demand_s,
                                             int instances)
{
    int each = s->cores > 1 ? (int)fmin(ceil(s->cores), MOST_JOBS) : 1;

    if (isinf(s->cores))
        return (struct tw_sim_closed_station){demand_s, 0};
    return (struct tw_sim_closed_station){demand_s * each / s->cores,
                                          each * (s->replicated ? instances : 1)};
}

static double cores_of(const struct tw_size_station *s, int instances)
{
    return s->cores * (s->replicated ? instances : 1);
}

/* Between what was measured far below the limit and what was measured at it, by how near it is. */
static double demand_at(const struct tw_size_model *m, const struct tw_size_station *s,
                        int instances, double rate_per_s)
{
    double demand = s->demand_s, more, full = s->demand_full_s;

    if (s->replicated)
        demand *= 1 + m->contention * (instances - 1);
    if (isnan(full) || isinf(s->cores))
        return demand;
    /* d = demand + (full - demand) u with u = rate d / cores, solved for d */
    more = (full - demand) * rate_per_s / cores_of(s, instances);
    if (full >= demand)
        return more < 1 ? fmin(full, demand / (1 - more)) : full;
    return fmax(full, demand / (1 - more));
}

static double solve(const struct tw_size_model *m, int instances, double rate_per_s)
{
    struct tw_sim_closed_station all[MOST_STATIONS];
    size_t n = 0;
    double most = isnan(m->other_per_s) ? INFINITY : m->other_per_s;

    for (size_t i = 0; i < m->count; i++)
        all[n++] = queue_of(&m->stations[i],
                            demand_at(m, &m->stations[i], instances, rate_per_s), instances);
    if (m->delay_s > 0)
        all[n++] = (struct tw_sim_closed_station){m->delay_s, 0};
    if (isfinite(most))
        all[n++] = (struct tw_sim_closed_station){1 / most, 1};
    return tw_sim_closed_throughput(all, n, m->clients < MOST_JOBS ? m->clients : MOST_JOBS);
}

static size_t limit_of(const struct tw_size_model *m, int instances, double rate_per_s)
{
    size_t limit = m->count;
    double most = isnan(m->other_per_s) ? 0 : rate_per_s / m->other_per_s;

    for (size_t i = 0; i < m->count; i++) {
        double used = rate_per_s * demand_at(m, &m->stations[i], instances, rate_per_s) /
                      cores_of(&m->stations[i], instances);

        if (used > most) {
            most = used;
            limit = i;
        }
    }
    return limit;
}

double tw_size_capacity(const struct tw_size_model *m, int instances, size_t *ret_limit)
{
    double rate = 0;

    assert(instances > 0 && m->count + 2 <= MOST_STATIONS && m->clients > 0);
    for (int i = 0; i < ROUNDS; i++) {
        double next = solve(m, instances, rate);

        rate = i ? (rate + next) / 2 : next;
    }
    if (ret_limit)
        *ret_limit = limit_of(m, instances, rate);
    return rate;
}

struct tw_estimate tw_size_estimate(const struct tw_size_model *m, int instances, uint64_t seed)
{
    struct tw_size_station drawn[MOST_STATIONS];
    struct tw_size_model one = *m;
    struct tw_estimate e = {.value = tw_size_capacity(m, instances, NULL),
                            .level = 0.9,
                            .n = DRAWS,
                            .method = "demands as measured, drawn again"};
    double rates[DRAWS];
    struct tw_rng rng;

    tw_rng_seed(&rng, seed, 7);
    one.stations = drawn;
    for (int d = 0; d < DRAWS; d++) {
        for (size_t i = 0; i < m->count; i++) {
            double off = exp(m->stations[i].error * tw_rng_normal(&rng));

            drawn[i] = m->stations[i];
            drawn[i].demand_s *= off;
            drawn[i].demand_full_s *= off;
        }
        one.contention = fmax(0, m->contention + m->contention_error * tw_rng_normal(&rng));
        rates[d] = tw_size_capacity(&one, instances, NULL);
    }
    e.low = fmin(e.value, tw_quantile(rates, DRAWS, 0.05));
    e.high = fmax(e.value, tw_quantile(rates, DRAWS, 0.95));
    return e;
}

/* A difference within the errors is none: extrapolated to many instances it would decide alone. */
void tw_size_contention(double one_s, double one_error, double two_s, double two_error,
                        double *ret_share, double *ret_error)
{
    double share = two_s / one_s - 1, error = hypot(one_error, two_error);

    *ret_share = isfinite(share) ? fmax(0, share - tw_normal_quantile(0.95) * error) : 0;
    *ret_error = isfinite(share) && *ret_share > 0 ? error : 0;
}
