#include "predict/predict_internal.h"

#include <assert.h>
#include <math.h>

const double predict_q[PREDICT_QUANTILES] = {0.5, 0.95, 0.99};

double predict_cores(const struct tw_model *m, double rate_per_s)
{
    int n = m->level_count, i = 0;
    double from, to, share;

    if (n == 0 || isnan(m->demand_s[0]))
        return NAN;
    if (isfinite(m->capacity_per_s))
        rate_per_s = fmin(rate_per_s, m->capacity_per_s); /* no more is served */
    if (rate_per_s <= m->rate_per_s[0])
        return rate_per_s * m->demand_s[0];
    if (rate_per_s >= m->rate_per_s[n - 1])
        return rate_per_s * m->demand_s[n - 1];
    while (m->rate_per_s[i + 1] < rate_per_s)
        i++;
    from = m->rate_per_s[i] * m->demand_s[i];
    to = m->rate_per_s[i + 1] * m->demand_s[i + 1];
    share = (rate_per_s - m->rate_per_s[i]) / (m->rate_per_s[i + 1] - m->rate_per_s[i]);
    return from + share * (to - from);
}

double predict_capacity(const struct tw_model *m)
{
    double demand_s = m->level_count ? m->demand_s[m->level_count - 1] : NAN;

    if (isfinite(m->capacity_per_s))
        return m->capacity_per_s;
    return m->servers / (demand_s * m->stall);
}

double predict_load(const struct tw_model *m, double rate_per_s)
{
    double capacity = predict_capacity(m), cores = predict_cores(m, rate_per_s), load;

    if (rate_per_s >= capacity)
        return rate_per_s / capacity;
    load = isnan(cores) ? rate_per_s / capacity : cores * m->stall / m->servers;
    /* The levels may say that the server is full before its capacity was reached:
     * capacity is what was seen, so the last stretch is squeezed below 1. */
    return fmin(load, fmax(rate_per_s / capacity, 0.99));
}

double predict_service_s(const struct tw_model *m, double rate_per_s)
{
    double capacity = predict_capacity(m);

    if (rate_per_s >= capacity)
        return m->servers / capacity;
    if (rate_per_s <= 0)
        rate_per_s = fmin(m->rate_per_s[0], 0.5 * capacity);
    return predict_load(m, rate_per_s) * m->servers / rate_per_s;
}

double predict_rate_at(const struct tw_model *m, double load)
{
    double low = 0, high = predict_capacity(m);

    assert(load < 1);
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;

        if (predict_load(m, middle) < load)
            low = middle;
        else
            high = middle;
    }
    return high;
}

int predict_pool(const struct tw_model *m)
{
    return m->pool > 0 ? m->pool : 4096; /* unknown: more than any server is given */
}

/* ---- residual ---- */

/* Of load beyond the measured range, until a tail's residual below the simulation is gone. */
#define TAPER 0.1

static int measured_levels(const struct tw_model *m)
{
    int n = 0;

    while (n < m->level_count && isfinite(m->residual[n][0]))
        n++;
    return n;
}

void predict_residual(const struct tw_model *m, double rate_per_s,
                      double ret_r[PREDICT_QUANTILES])
{
    int n = measured_levels(m), i = 0;
    double load = predict_load(m, rate_per_s), share = 0, beyond = 0;

    for (size_t j = 0; j < PREDICT_QUANTILES; j++)
        ret_r[j] = 0;
    if (n == 0)
        return;
    while (i + 1 < n && predict_load(m, m->rate_per_s[i + 1]) <= load)
        i++;
    if (i + 1 < n && rate_per_s > m->rate_per_s[i]) {
        double from = predict_load(m, m->rate_per_s[i]);
        double to = predict_load(m, m->rate_per_s[i + 1]);

        share = to > from ? (load - from) / (to - from) : 0;
    }
    if (i + 1 == n)
        beyond = fmin(fmax((load - predict_load(m, m->rate_per_s[i])) / TAPER, 0), 1);
    for (size_t j = 0; j < PREDICT_QUANTILES; j++) {
        double here = m->residual[i][j];
        double next = i + 1 < n ? m->residual[i + 1][j] : here;

        double r = here + share * (next - here);

        /* Latency does not fall as load rises: what was measured above the simulation stays above
         * it, what was below comes up to it. */
        ret_r[j] = j == 0 || r > 0 ? r : r * (1 - beyond);
    }
}

/* Knots 0, .5, .95, .99, 1. */
double predict_warp(const double r[PREDICT_QUANTILES], double rank)
{
    if (rank <= predict_q[0])
        return r[0];
    for (size_t j = 1; j < PREDICT_QUANTILES; j++)
        if (rank <= predict_q[j])
            return r[j - 1] + (r[j] - r[j - 1]) * (rank - predict_q[j - 1]) /
                                  (predict_q[j] - predict_q[j - 1]);
    return r[PREDICT_QUANTILES - 1];
}
