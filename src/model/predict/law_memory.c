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

/* First hour in which the need, growth included, passes the limit; NaN within the horizon
 * never. */
static double reached_h(const struct predict_case *c, double fixed, double limit)
{
    double grows = growth_per_s(c) * 3600;

    for (size_t i = 0; i < c->f->bins.count; i++) {
        const struct tw_bin *bin = &c->f->bins.items[i];
        double load = known(bin->memory_bytes - c->m->memory_base_bytes);
        double over = limit - fixed - load - grows * bin->from_h;

        if (over <= 0)
            return bin->from_h;
        if (grows > 0 && over < grows * bin->hours)
            return bin->from_h + over / grows;
    }
    return NAN;
}

static bool judge(const struct predict_case *c, struct tw_failure *ret)
{
    const struct tw_estimate *m = &c->f->memory_bytes;
    double limit = c->limits->memory_limit_bytes, fixed = fixed_bytes(c), need, low, high;
    const struct tw_bin *peak = predict_peak(c->f, memory);
    double load = peak ? known(peak->memory_bytes - c->m->memory_base_bytes) : 0;

    if (!(limit > 0) || !(fixed > 0))
        return false;
    need = fixed + load + growth_per_s(c) * c->hours * 3600;
    low = need * (isfinite(m->low) ? m->low / m->value : NAN);
    high = need * (isfinite(m->high) ? m->high / m->value : NAN);
    ret->probability = predict_exceeds(need, low, high, limit);
    ret->at_hours = reached_h(c, fixed, limit);
    if (isnan(ret->at_hours) && peak)
        ret->at_hours = peak->from_h;
    ret->evidence = tw_arena_printf(
        c->arena,
        "%s needed (%s shared and base, %s beside it, %s for connections), the limit is "
        "%s",
        tw_show_bytes(c->arena, need),
        tw_show_bytes(c->arena, fixed - known(c->limits->memory_other_bytes)),
        tw_show_bytes(c->arena, known(c->limits->memory_other_bytes)),
        tw_show_bytes(c->arena, need - fixed), tw_show_bytes(c->arena, limit));
    return true;
}

const struct predict_law predict_law_memory = {.name = "oom", .judge = judge};
