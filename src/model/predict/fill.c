#include "predict/predict_internal.h"

#include <math.h>

/* A stock that fills: used + sum of inflows(t) >= limit.
 *
 * Inflows follow the forecast, so the load of the day and not a straight line; after the
 * horizon the same begins anew, which only matters for "when else". Each inflow is
 * lognormal about its value; errors of different inflows are independent, the error of the
 * number of requests is common to all that depend on it. */

#define FAR_TIMES    1000.0 /* horizons after which "never" is said */

static double known(double x)
{
    return isfinite(x) ? x : 0;
}

static double log_spread(const struct tw_estimate *e)
{
    double s = (log(e->high) - log(e->low)) / (2 * tw_normal_quantile(0.95));

    return isfinite(s) && s > 0 ? s : 0;
}

/* ---- one inflow over time ---- */

static double bin_flow(const struct tw_inflow *in, const struct tw_bin *bin)
{
    double per_s = known(in->per_s.value);

    return per_s + in->wal * known(bin->wal_bytes_per_s) +
           known(in->per_request.value) * known(bin->throughput_per_s);
}

/* Until hour t of the horizon. */
static double flow_until(const struct predict_case *c, const struct tw_inflow *in,
                         double t_h)
{
    double sum = 0;

    if (c->f->bins.count == 0)
        return known(in->per_s.value) * t_h * 3600;
    for (size_t i = 0; i < c->f->bins.count && c->f->bins.items[i].from_h < t_h; i++) {
        const struct tw_bin *bin = &c->f->bins.items[i];

        sum += bin_flow(in, bin) * fmin(bin->hours, t_h - bin->from_h) * 3600;
    }
    return sum;
}

struct flows {
    const struct predict_case *c;
    const struct tw_stock *s;
    double *whole; /* each inflow over one horizon */
};

static double inflow_at(const struct flows *f, size_t i, double t_h, double factor)
{
    const struct tw_inflow *in = &f->s->inflows.items[i];
    double rounds = floor(t_h / f->c->hours);
    double grown = factor * (rounds * f->whole[i] +
                             flow_until(f->c, in, t_h - rounds * f->c->hours));

    if (isfinite(in->ceiling))
        grown = fmin(grown, fmax(in->ceiling, 0));
    return grown + known(in->fixed);
}

static double filled_at(const struct flows *f, double t_h, double factor)
{
    double sum = 0;

    for (size_t i = 0; i < f->s->inflows.count; i++)
        sum += inflow_at(f, i, t_h, factor);
    return sum;
}

/* First hour at which room is used up, by halving: what flows in never flows out. */
static double full_h(const struct flows *f, double room, double factor)
{
    double low = 0, high = f->c->hours;

    if (filled_at(f, 0, factor) >= room)
        return 0;
    while (filled_at(f, high, factor) < room && high < FAR_TIMES * f->c->hours)
        high *= 2;
    if (filled_at(f, high, factor) < room)
        return INFINITY;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;

        if (filled_at(f, middle, factor) < room)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* ---- its uncertainty ---- */

static double spread_of(const struct flows *f, double total)
{
    const struct tw_forecast *forecast = f->c->f;
    double squares = 0, by_load = 0, grains = 0, own;
    double room = fmax(f->s->limit - f->s->used, 1);

    for (size_t i = 0; i < f->s->inflows.count; i++) {
        const struct tw_inflow *in = &f->s->inflows.items[i];
        double part_spread =
            in->wal > 0 ? log_spread(&forecast->wal_bytes)
                        : hypot(log_spread(&in->per_request), log_spread(&in->per_s));
        double part = inflow_at(f, i, f->c->hours, 1);

        squares += part * part_spread * part * part_spread;
        grains += in->grain * in->grain / 12; /* what does not fill a piece is uniform */
        by_load += in->per_request.value > 0 ? part : 0;
    }
    by_load *= log_spread(&forecast->throughput_per_s);
    own = hypot(PREDICT_LEAST_SPREAD, sqrt(grains) / room);
    return total > 0 ? hypot(sqrt(squares + by_load * by_load) / total, own) : own;
}

static double least_probability(const struct tw_stock *s)
{
    double p = 1;

    for (size_t i = 0; i < s->inflows.count; i++)
        if (isfinite(s->inflows.items[i].probability))
            p = fmin(p, s->inflows.items[i].probability);
    return p;
}

void predict_fill(const struct predict_case *c, const struct tw_stock *s,
                  struct predict_fill *ret)
{
    struct flows f = {c, s, tw_arena_alloc(c->arena, (s->inflows.count + 1) * sizeof(double))};
    double room = s->limit - s->used, wide;

    *ret = (struct predict_fill){.at_h = INFINITY, .low_h = INFINITY, .high_h = INFINITY};
    for (size_t i = 0; i < s->inflows.count; i++) {
        f.whole[i] = flow_until(c, &s->inflows.items[i], c->hours);
        ret->flows = ret->flows || f.whole[i] > 0 || known(s->inflows.items[i].fixed) > 0;
    }
    ret->within = filled_at(&f, c->hours, 1);
    ret->spread = spread_of(&f, ret->within);
    wide = exp(tw_normal_quantile(0.95) * ret->spread);
    if (room <= 0) {
        ret->at_h = ret->low_h = ret->high_h = 0;
        ret->probability = 1;
        return;
    }
    ret->at_h = full_h(&f, room, 1);
    ret->low_h = full_h(&f, room, wide);
    ret->high_h = full_h(&f, room, 1 / wide);
    ret->probability =
        least_probability(s) *
        predict_exceeds(ret->within, ret->within / wide, ret->within * wide, room);
}

/* ---- told ---- */

static const char *show(const struct predict_case *c, const struct tw_stock *s, double x)
{
    return tw_streq(s->unit, "bytes") ? tw_show_bytes(c->arena, x)
                                      : tw_show_count(c->arena, x);
}

static const char *inflow_words(const struct predict_case *c, const struct tw_stock *s,
                                const struct tw_inflow *in, double within)
{
    struct tw_arena *a = c->arena;
    const char *each = "";

    if (in->per_request.value > 0)
        each = in->per_request.low < in->per_request.value
                   ? tw_arena_printf(a, ", %.4g for a request (90 %%: %.4g to %.4g)",
                                     in->per_request.value, in->per_request.low,
                                     in->per_request.high)
                   : tw_arena_printf(a, ", %.4g for a request", in->per_request.value);
    else if (in->per_s.value > 0)
        each = tw_arena_printf(a, ", %.4g a second", in->per_s.value);
    return tw_arena_printf(a, "%s %s%s", in->what ? in->what : "growth", show(c, s, within),
                           each);
}

static const char *computation(const struct predict_case *c, const struct tw_stock *s)
{
    struct flows f = {c, s, tw_arena_alloc(c->arena, (s->inflows.count + 1) * sizeof(double))};
    const char *text = "";

    for (size_t i = 0; i < s->inflows.count; i++)
        f.whole[i] = flow_until(c, &s->inflows.items[i], c->hours);
    for (size_t i = 0; i < s->inflows.count; i++) {
        double within = inflow_at(&f, i, c->hours, 1);

        if (within > 0)
            text = tw_arena_printf(c->arena, "%s%s%s", text, *text ? "; " : "",
                                   inflow_words(c, s, &s->inflows.items[i], within));
    }
    return text;
}

static const char *evidence(const struct predict_case *c, const struct tw_stock *s,
                            const struct predict_fill *fill)
{
    struct tw_arena *a = c->arena;
    const char *when =
        !isfinite(fill->at_h)
            ? "never full at this rate"
            : tw_arena_printf(a, "full after %s (90 %%: %s to %s)",
                              tw_show_seconds(a, fill->at_h * 3600),
                              tw_show_seconds(a, fill->low_h * 3600),
                              isfinite(fill->high_h) ? tw_show_seconds(a, fill->high_h * 3600)
                                                     : "never");

    return tw_arena_printf(
        a, "'%s': %s of %s%s%s used; within %s come %s; %s%s%s%s%s", s->name,
        show(c, s, s->used), show(c, s, s->limit), s->unit && !tw_streq(s->unit, "bytes") ? " " : "",
        s->unit && !tw_streq(s->unit, "bytes") ? s->unit : "",
        tw_show_seconds(a, c->hours * 3600), fill->flows ? computation(c, s) : "nothing", when,
        s->end ? ": " : "", s->end ? s->end : "", s->because ? "; " : "",
        s->because ? s->because : "");
}

static bool more_urgent(const struct predict_fill *a, const struct predict_fill *b)
{
    return a->probability != b->probability ? a->probability > b->probability
                                            : a->at_h < b->at_h;
}

static const char *kind_of(const struct tw_stock *s)
{
    return s->kind ? s->kind : s->law;
}

/* The most urgent stock of the kind of number i, if that is the first of its kind. */
static const struct tw_stock *worst(const struct predict_case *c, size_t i,
                                    struct predict_fill *ret)
{
    const struct tw_stock *all = c->limits->stocks.items, *most = NULL;

    for (size_t k = 0; k < c->limits->stocks.count; k++) {
        struct predict_fill fill;

        if (!tw_streq(all[k].law, all[i].law) ||
            !tw_streq(kind_of(&all[k]), kind_of(&all[i])))
            continue;
        if (k < i)
            return NULL;
        if (all[k].cycles || !(all[k].limit > 0) || isnan(all[k].used))
            continue;
        predict_fill(c, &all[k], &fill);
        if (most && !more_urgent(&fill, ret))
            continue;
        most = &all[k];
        *ret = fill;
    }
    return most;
}

void predict_fill_judge(const struct predict_case *c, const char *law)
{
    for (size_t i = 0; i < c->limits->stocks.count; i++) {
        struct predict_fill fill = {0};
        const struct tw_stock *s = tw_streq(c->limits->stocks.items[i].law, law)
                                       ? worst(c, i, &fill)
                                       : NULL;
        struct tw_failure f;

        if (!s)
            continue;
        f = predict_failure(kind_of(s));
        f.at_hours = fill.at_h;
        f.low = fill.low_h;
        f.high = isfinite(fill.high_h) ? fill.high_h : (double)NAN;
        f.probability = fill.probability;
        f.evidence = evidence(c, s, &fill);
        predict_tell(c, &f, s->name, (s->used + fill.within) / s->limit);
    }
}
