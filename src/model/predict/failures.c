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

void tw_predict_failures(struct tw_arena *a, const struct tw_forecast *f,
                         const struct tw_model *m, const struct tw_predict_limits *limits,
                         double hours, double threshold, struct tw_failures *failures)
{
    const struct predict_case c = {a, f, m, limits, hours};

    for (size_t i = 0; i < TW_COUNT_OF(laws); i++) {
        struct tw_failure found = {
            .kind = laws[i]->name, .at_hours = NAN, .low = NAN, .high = NAN};

        if (laws[i]->judge(&c, &found) && found.probability >= threshold)
            TW_PUSH(a, &failures->list, found);
    }
}
