/* What several simulations say of one effect. Pure. */
#include "api_internal.h"

#include <math.h>

#define Z90      1.645 /* the ends of an interval of 0.9, in standard deviations */
#define DISAGREE 3.0   /* standard deviations of the difference of two: chance is one in 370 */

double api_effect_sd(const struct api_effect *e)
{
    return (e->high - e->low) / (2 * Z90);
}

bool api_effects_disagree(const struct api_effect *runs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++) {
            double sd = hypot(api_effect_sd(&runs[i]), api_effect_sd(&runs[k]));

            if (fabs(runs[i].value - runs[k].value) > DISAGREE * sd)
                return true;
        }
    return false;
}

/* Weights are inverse variances; where an interval is not known, all count alike. */
struct api_effect api_effect_pool(const struct api_effect *runs, size_t n)
{
    double weights = 0, sum = 0, plain = 0;

    for (size_t i = 0; i < n; i++) {
        double sd = api_effect_sd(&runs[i]);
        double weight = 1 / (sd * sd);

        weights += isfinite(weight) ? weight : NAN;
        sum += weight * runs[i].value;
        plain += runs[i].value / (double)n;
    }
    if (n == 1 || !isfinite(weights))
        return (struct api_effect){plain, n == 1 ? runs[0].low : NAN, n == 1 ? runs[0].high : NAN};
    return (struct api_effect){sum / weights, sum / weights - Z90 / sqrt(weights),
                               sum / weights + Z90 / sqrt(weights)};
}

/* Ridge regression through no effect (Hoerl and Kennard 1970) towards 1: what was simulated is believed until
 * outcomes say otherwise, and an effect of 20 % weighs as much as that belief. */
#define BELIEF    0.04 /* log squared */
#define MOST_SLOPE 3.0

double api_effect_slope(const double *told, const double *real, size_t n)
{
    double xy = BELIEF, xx = BELIEF;

    for (size_t i = 0; i < n; i++)
        if (isfinite(told[i]) && isfinite(real[i])) {
            xy += told[i] * real[i];
            xx += told[i] * told[i];
        }
    return fmin(fmax(xy / xx, 0), MOST_SLOPE);
}

struct api_effect api_effect_scale(struct api_effect e, double slope)
{
    return (struct api_effect){slope * e.value, slope * e.low, slope * e.high};
}

/* Positive part of James and Stein (1961), of one effect: most settings change next to nothing, and what is
 * hardly told from noise is expected to be noise. The interval stays what was measured. */
struct api_effect api_effect_told(struct api_effect e)
{
    double sd = api_effect_sd(&e);

    if (e.value != 0 && isfinite(sd))
        e.value *= fmax(0, 1 - sd * sd / (e.value * e.value));
    return e;
}
