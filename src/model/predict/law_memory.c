#include "predict/predict_internal.h"

#include <math.h>

/* Base or the shared memory that the service computes itself, whichever is more (the base
 * has touched part of it), plus what every connection takes, plus what was computed
 * beside it. A leak of connections leaks their memory. */

static double known(double x)
{
    return x > 0 ? x : 0;
}

static double memory(const struct tw_bin *bin)
{
    return bin->memory_bytes;
}

static double fixed_bytes(const struct predict_case *c)
{
    return fmax(known(c->m->memory_base_bytes), known(c->limits->shared_memory_bytes)) +
           known(c->limits->memory_other_bytes);
}

static double growth_per_s(const struct predict_case *c)
{
    return known(c->limits->connection_growth_per_s) *
           known(c->m->memory_per_connection_bytes);
}

/* A leak of the work itself, at this factor of its slope: bytes in this bin. */
static double leaked(const struct tw_bin *bin, double per_request)
{
    return known(per_request) * known(bin->throughput_per_s) * bin->hours * 3600;
}

static double leaked_in_all(const struct predict_case *c, double per_request)
{
    double sum = 0;

    for (size_t i = 0; i < c->f->bins.count; i++)
        sum += leaked(&c->f->bins.items[i], per_request);
    return sum;
}

/* First hour in which the need, growth included, passes the limit; NaN within the horizon
 * never. */
static double reached_h(const struct predict_case *c, double fixed, double limit,
                        double per_request)
{
    double grows = growth_per_s(c) * 3600, before = 0;

    for (size_t i = 0; i < c->f->bins.count; i++) {
        const struct tw_bin *bin = &c->f->bins.items[i];
        double load = known(bin->memory_bytes - c->m->memory_base_bytes);
        double over = limit - fixed - load - grows * bin->from_h - before;
        double here = grows * bin->hours + leaked(bin, per_request);

        if (over <= 0)
            return bin->from_h;
        if (over < here)
            return bin->from_h + bin->hours * over / here;
        before += leaked(bin, per_request);
    }
    return NAN;
}

static double load_at_peak(const struct predict_case *c)
{
    const struct tw_bin *peak = predict_peak(c->f, memory);

    return peak ? known(peak->memory_bytes - c->m->memory_base_bytes) : 0;
}

static const char *evidence(const struct predict_case *c, double need, double fixed,
                            double limit)
{
    const struct tw_estimate *leak = &c->limits->memory_growth_per_request;
    const char *slope =
        leak->n > 0 ? tw_arena_printf(c->arena,
                                      "; it grows by %.3g bytes for a request (90 %%: %.3g to "
                                      "%.3g, %s)",
                                      leak->value, leak->low, leak->high, leak->method)
                    : "";

    return tw_arena_printf(
        c->arena,
        "%s needed (%s shared and base, %s beside it, %s for connections and growth), the limit "
        "is %s%s",
        tw_show_bytes(c->arena, need),
        tw_show_bytes(c->arena, fixed - known(c->limits->memory_other_bytes)),
        tw_show_bytes(c->arena, known(c->limits->memory_other_bytes)),
        tw_show_bytes(c->arena, need - fixed), tw_show_bytes(c->arena, limit), slope);
}

static void judge(const struct predict_case *c)
{
    const struct tw_estimate *m = &c->f->memory_bytes;
    struct tw_estimate leak = c->limits->memory_growth_per_request;
    double limit = c->limits->memory_limit_bytes, fixed = fixed_bytes(c), need, low, high;
    const struct tw_bin *peak = predict_peak(c->f, memory);
    double load = load_at_peak(c);
    struct tw_failure f = predict_failure("oom");

    if (leak.n == 0)
        leak.value = leak.low = leak.high = 0;
    leak.low *= exp(-tw_normal_quantile(0.95) * PREDICT_LEAST_SPREAD);
    leak.high *= exp(tw_normal_quantile(0.95) * PREDICT_LEAST_SPREAD);
    if (!(limit > 0) || !(fixed > 0))
        return;
    need = fixed + load + growth_per_s(c) * c->hours * 3600;
    low = need * (isfinite(m->low) ? m->low / m->value : (double)NAN);
    high = need * (isfinite(m->high) ? m->high / m->value : (double)NAN);
    if (leak.value > 0) {
        low = (isfinite(low) ? low : need) + leaked_in_all(c, leak.low);
        high = (isfinite(high) ? high : need) + leaked_in_all(c, leak.high);
    }
    need += leaked_in_all(c, leak.value);
    f.probability = predict_exceeds(need, low, high, limit);
    f.at_hours = reached_h(c, fixed, limit, leak.value);
    if (leak.value > 0) {
        f.low = reached_h(c, fixed, limit, leak.high);
        f.high = reached_h(c, fixed, limit, leak.low);
    }
    if (isnan(f.at_hours) && peak)
        f.at_hours = peak->from_h;
    f.evidence = evidence(c, need, fixed, limit);
    predict_tell(c, &f, "memory limit", need / limit);
}

const struct predict_law predict_law_memory = {.name = "oom", .words = "memory", .judge = judge};
