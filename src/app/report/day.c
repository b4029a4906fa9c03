/* The simulated day as curves. */
#include "report_internal.h"

#include <math.h>
#include <string.h>

static const char *range_text(struct tw_arena *a, const double *values, size_t n,
                              const char *unit)
{
    double low = INFINITY, high = -INFINITY;

    for (size_t i = 0; i < n; i++) {
        if (isnan(values[i]))
            continue;
        low = fmin(low, values[i]);
        high = fmax(high, values[i]);
    }
    if (low > high)
        return "unknown";
    if (tw_streq(report_value(a, low, unit), report_value(a, high, unit)))
        return report_value(a, high, unit);
    return tw_arena_printf(a, "%s to %s", report_value(a, low, unit),
                           report_value(a, high, unit));
}

static double *reals(struct tw_arena *a, size_t n)
{
    double *values = tw_arena_alloc(a, (n ? n : 1) * sizeof *values);

    for (size_t i = 0; i < n; i++)
        values[i] = NAN;
    return values;
}

static void fill_arm(struct report_view *v, enum tw_arm arm)
{
    static const char *const when[TW_ARM_COUNT] = {"before", "after"};
    const struct tw_forecast *f = &v->s->impact.forecast[arm];
    struct report_day *day = &v->day;
    struct report_curve *p95 = &day->p95[arm], *busy = &day->busy[arm];

    *p95 = (struct report_curve){.label = tw_arena_printf(v->a, "p95 %s", when[arm]),
                                 .arm = arm,
                                 .values = reals(v->a, day->bins)};
    *busy = (struct report_curve){.label = tw_arena_printf(v->a, "busy %s", when[arm]),
                                  .arm = arm,
                                  .values = reals(v->a, day->bins)};
    day->overload[arm] = tw_arena_alloc(v->a, (day->bins + 1) * sizeof(double));
    for (size_t i = 0; i < f->bins.count && i < day->bins; i++) {
        p95->values[i] = f->bins.items[i].p95_s;
        busy->values[i] = f->bins.items[i].utilisation;
        day->overload[arm][i] = f->bins.items[i].utilisation >= 1;
    }
    p95->range = range_text(v->a, p95->values, day->bins, "s");
    busy->range = range_text(v->a, busy->values, day->bins, "share");
}

void report_view_day(struct report_view *v)
{
    const struct tw_forecast *f = v->s->impact.forecast;
    const struct tw_forecast *longest =
        f[TW_CANDIDATE].bins.count > f[TW_BASELINE].bins.count ? &f[TW_CANDIDATE]
                                                               : &f[TW_BASELINE];
    struct report_day *day = &v->day;

    day->bins = longest->bins.count;
    day->from_h = reals(v->a, day->bins);
    day->rate = reals(v->a, day->bins);
    for (size_t i = 0; i < day->bins; i++) {
        day->from_h[i] = longest->bins.items[i].from_h;
        day->rate[i] = longest->bins.items[i].rate_per_s;
        day->hours = longest->bins.items[i].from_h + longest->bins.items[i].hours;
    }
    day->rate_range = range_text(v->a, day->rate, day->bins, "per s");
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        fill_arm(v, (enum tw_arm)arm);
}
