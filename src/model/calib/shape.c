#include "calib/calib_internal.h"

#include <math.h>

/* The shape of the service is read off the lowest level, where nearly nobody waits. Its
 * tail beyond this rank is stalls of the machine more often than work. */
#define CUT 0.999

/* What a mean request would take without the offset: its service and a little waiting, as
 * of constant service (for one server s (1 + rho / (2 (1 - rho)))). */
static double expected_s(const struct tw_model *m, double service_s)
{
    double load = m->rate_per_s[0] * service_s;
    double wait = load < m->servers
                      ? tw_sim_erlang_c(m->servers, load) / (2 * (m->servers - load))
                      : 1;

    return service_s * (1 + wait);
}

static void sample_fill(const struct tw_hist *low, double delay_s, struct tw_model *m)
{
    double rank[TW_MODEL_SAMPLES], value[TW_MODEL_SAMPLES], mean = 0, least;

    for (int i = 0; i < TW_MODEL_SAMPLES; i++)
        rank[i] = CUT * (i + 0.5) / TW_MODEL_SAMPLES;
    tw_hist_quantiles(low, rank, TW_MODEL_SAMPLES, value);
    for (int i = 0; i < TW_MODEL_SAMPLES; i++)
        mean += (value[i] - delay_s) / TW_MODEL_SAMPLES;
    least = 0.01 * mean; /* the clip of the offset keeps nearly all above it */
    for (int i = 0; i < TW_MODEL_SAMPLES; i++)
        m->sample[i] = (float)(fmax(value[i] - delay_s, least) / mean);
    m->sample_count = TW_MODEL_SAMPLES;
}

int calib_shape(const struct calib_set *set, struct tw_model *m, struct tw_err *err)
{
    tw_auto(tw_hist) *low = tw_hist_new();
    double service_s = calib_service_s(m, 0), p2_s;

    for (size_t i = 0; i < set->level[0].slots.count; i++)
        if (set->level[0].slots.items[i]->latency)
            tw_hist_merge(low, set->level[0].slots.items[i]->latency);
    if (tw_hist_count(low) == 0)
        return tw_fail(
            err, -ENODATA,
            "the lowest level has no latency histogram: the service time's shape is "
            "read off it");
    if (!isfinite(service_s))
        return tw_fail(
            err, -ENODATA,
            "neither CPU per request nor a saturated throughput was measured: one of "
            "them is needed for the time of service");
    p2_s = tw_hist_quantile(low, 0.02);
    m->delay_s =
        fmin(fmax(0, tw_hist_mean(low) - expected_s(m, service_s)), fmax(0, 0.9 * p2_s));
    sample_fill(low, m->delay_s, m);
    return 0;
}
