#include "predict/predict_internal.h"

#include <math.h>

static const struct predict_law *const laws[] = {
#define TW_ROW(name) &predict_law_##name,
    TW_PREDICT_LAW_LIST(TW_ROW)
#undef TW_ROW
};

double predict_exceeds(double value, double low, double high, double limit)
{
    double sd = (log(high) - log(low)) / (2 * tw_normal_quantile(0.95));

    if (!(value > 0) || !(limit > 0))
        return value >= limit ? 1 : 0; /* 0 for NaN */
    if (!(sd > 0) || !isfinite(sd))
        return value >= limit ? 1 : 0;
    return tw_normal_cdf(log(value / limit) / sd);
}

const struct tw_bin *predict_peak(const struct tw_forecast *f,
                                  double (*of)(const struct tw_bin *))
{
    const struct tw_bin *peak = NULL;

    for (size_t i = 0; i < f->bins.count; i++)
        if (isfinite(of(&f->bins.items[i])) &&
            (!peak || of(&f->bins.items[i]) > of(peak)))
            peak = &f->bins.items[i];
    return peak;
}

struct tw_failure predict_failure(const char *kind)
{
    return (struct tw_failure){.kind = kind, .at_hours = NAN, .low = NAN, .high = NAN};
}

void predict_tell(const struct predict_case *c, const struct tw_failure *f, const char *name,
                  double used_share)
{
    struct tw_looked looked = {.kind = f->kind,
                               .name = name,
                               .at_hours = f->at_hours,
                               .used_share = used_share};

    if (f->probability >= c->threshold)
        TW_PUSH(c->arena, &c->found->list, *f);
    else
        TW_PUSH(c->arena, &c->found->looked, looked);
}

void tw_predict_failures(struct tw_arena *a, const struct tw_forecast *f,
                         const struct tw_model *m, const struct tw_predict_limits *limits,
                         double hours, double threshold, struct tw_failures *failures)
{
    static const struct tw_forecast no_forecast;
    static const struct tw_model no_model = {.timeout_s = NAN};
    const struct predict_case c = {.arena = a,
                                   .f = f ? f : &no_forecast,
                                   .m = m ? m : &no_model,
                                   .limits = limits,
                                   .hours = hours,
                                   .threshold = threshold,
                                   .found = failures};

    for (size_t i = 0; i < TW_COUNT_OF(laws); i++)
        laws[i]->judge(&c);
}

/* One entry for each: what of it is nearest to its end. */
static const char *margin(struct tw_arena *a, const struct tw_looked *l, double hours)
{
    if (isfinite(l->at_hours) && l->at_hours > hours)
        return tw_arena_printf(a, "%s ('%s': in %s)", l->kind, l->name,
                               tw_show_seconds(a, l->at_hours * 3600));
    if (isfinite(l->used_share))
        return tw_arena_printf(a, "%s ('%s': at most %.2g %% used)", l->kind, l->name,
                               100 * l->used_share);
    return tw_arena_printf(a, "%s ('%s')", l->kind, l->name);
}

const char *tw_predict_looked(struct tw_arena *a, const struct tw_failures *failures, double hours)
{
    const char *text = "";

    for (size_t i = 0; i < failures->looked.count; i++)
        text = tw_arena_printf(a, "%s%s%s", text, *text ? ", " : "",
                               margin(a, &failures->looked.items[i], hours));
    return *text ? tw_arena_printf(a, "looked at, and not to be expected within %s: %s",
                                   tw_show_seconds(a, hours * 3600), text)
                 : NULL;
}
