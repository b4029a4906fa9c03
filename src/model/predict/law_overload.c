#include "predict/predict_internal.h"

#include <math.h>

/* More is offered than served. The rate is given; what is uncertain is the capacity. */

static double rate(const struct tw_bin *bin)
{
    return bin->rate_per_s;
}

/* First hour in which at least this rate is offered; NaN never. */
static double reached_h(const struct tw_forecast *f, double rate_per_s)
{
    for (size_t i = 0; i < f->bins.count; i++)
        if (f->bins.items[i].rate_per_s >= rate_per_s)
            return f->bins.items[i].from_h;
    return NAN;
}

/* Until the last bin with a backlog at its end is over. */
static double drained_h(const struct tw_forecast *f, double *ret_worst)
{
    double until_h = NAN;

    *ret_worst = 0;
    for (size_t i = 0; i < f->bins.count; i++) {
        *ret_worst = fmax(*ret_worst, f->bins.items[i].backlog);
        if (f->bins.items[i].backlog > 0)
            until_h = f->bins.items[i].from_h + 2 * f->bins.items[i].hours;
    }
    return until_h;
}

static const char *consequence(const struct predict_case *c, double worst, double until_h)
{
    const struct tw_bin *last = &c->f->bins.items[c->f->bins.count - 1];

    if (worst <= 0)
        return "";
    if (last->backlog > 0)
        return tw_arena_printf(c->arena, "; up to %s requests wait, still so at the end",
                               tw_show_count(c->arena, worst));
    return tw_arena_printf(c->arena, "; up to %s requests wait, gone by about hour %.1f",
                           tw_show_count(c->arena, worst), until_h);
}

static void judge(const struct predict_case *c)
{
    double capacity = predict_capacity(c->m), worst, until_h;
    double low = c->m->capacity_low, high = c->m->capacity_high;
    const struct tw_bin *peak = predict_peak(c->f, rate);
    struct tw_failure f = predict_failure("overload");

    if (!peak || !(capacity > 0))
        return;
    until_h = drained_h(c->f, &worst);
    f.probability = 1 - predict_exceeds(capacity, low, high, peak->rate_per_s);
    f.at_hours = reached_h(c->f, fmin(capacity, peak->rate_per_s));
    f.low = reached_h(c->f, low);
    f.high = reached_h(c->f, high);
    f.evidence = tw_arena_printf(
        c->arena,
        "%s requests/s are offered at hour %.1f, %s can be served (90 %%: %s to %s)%s",
        tw_show_count(c->arena, peak->rate_per_s), peak->from_h,
        tw_show_count(c->arena, capacity), tw_show_count(c->arena, low),
        tw_show_count(c->arena, high), consequence(c, worst, until_h));
    predict_tell(c, &f, "capacity", peak->rate_per_s / capacity);
}

const struct predict_law predict_law_overload = {.name = "overload", .words = "capacity", .judge = judge};
