/* Times and memory of two versions. */
#include "tw/num.h"
#include "tw/version.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS     300
#define LEVEL      0.9
#define LEAST      20
#define BLOCKS     20 /* stretches of time that are drawn as a whole */
#define LEAK_LEAST 12

/* ---- times ---- */

static double quantile_of(const double *x, const size_t *pick, size_t n, double q,
                          double *scratch)
{
    for (size_t i = 0; i < n; i++)
        scratch[i] = x[pick ? pick[i] : i];
    return tw_quantile(scratch, n, q);
}

/* Of both runs of the old version together. */
static double quantile_of_both(const double *old, const double *again, const size_t *pick,
                               size_t n, double q, double *scratch)
{
    for (size_t i = 0; i < n; i++) {
        scratch[2 * i] = old[pick ? pick[i] : i];
        scratch[2 * i + 1] = again[pick ? pick[i] : i];
    }
    return tw_quantile(scratch, 2 * n, q);
}

/* Whole stretches of rounds, wrapped around the end: a busy moment lasts for many of them. */
static void draw(struct tw_rng *rng, size_t *pick, size_t n)
{
    size_t stretch = n / BLOCKS ? n / BLOCKS : 1, from = 0;

    for (size_t i = 0; i < n; i++) {
        if (i % stretch == 0)
            from = tw_rng_below(rng, n);
        pick[i] = (from + i % stretch) % n;
    }
}

/* Rounds are drawn with all their sides (circular block bootstrap; Politis, Romano 1992): what a busy
 * moment does to one side it does to the others. By as much as the old version differs from itself the
 * bounds are wider. */
struct tw_estimate tw_version_ratio(const double *old, const double *again,
                                    const double *now, size_t n, double q, uint64_t seed,
                                    double *ret_noise)
{
    tw_auto_free double *scratch = tw_alloc((2 * n + 1) * sizeof(double));
    tw_auto_free size_t *pick = tw_alloc((n + 1) * sizeof(size_t));
    double ratios[ROUNDS], before;
    struct tw_estimate e = tw_unknown;
    struct tw_rng rng;

    *ret_noise = NAN;
    if (n < LEAST)
        return e;
    before = quantile_of_both(old, again, NULL, n, q, scratch);
    *ret_noise = fabs(log(quantile_of(old, NULL, n, q, scratch) /
                          quantile_of(again, NULL, n, q, scratch)));
    e.value = quantile_of(now, NULL, n, q, scratch) / before;
    tw_rng_seed(&rng, seed, 17);
    for (size_t k = 0; k < ROUNDS; k++) {
        draw(&rng, pick, n);
        ratios[k] = quantile_of(now, pick, n, q, scratch) /
                    quantile_of_both(old, again, pick, n, q, scratch);
    }
    e.low = tw_quantile(ratios, ROUNDS, (1 - LEVEL) / 2) * exp(-*ret_noise);
    e.high = tw_quantile(ratios, ROUNDS, (1 + LEVEL) / 2) * exp(*ret_noise);
    e.level = LEVEL;
    e.n = (int64_t)n;
    e.method = "the same requests to both in turn, bootstrap of stretches, wider by the noise of old";
    return e;
}

double tw_apdex(const double *seconds, size_t n, double objective_s)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += seconds[i] <= objective_s ? 1 : seconds[i] <= 4 * objective_s ? 0.5 : 0;
    return n ? sum / (double)n : NAN;
}

/* ---- memory ---- */

static double middle_of(const double *x, size_t n)
{
    tw_auto_free double *copy = tw_alloc(n * sizeof(double));

    memcpy(copy, x, n * sizeof(double));
    return tw_median(copy, n);
}

struct tw_leak tw_version_leak(const double *requests, const double *bytes, size_t n)
{
    struct tw_leak leak = {tw_unknown, NAN, NAN};
    size_t tenth = n / 10 ? n / 10 : 1;
    struct tw_line whole, late;

    if (n < LEAK_LEAST)
        return leak;
    whole = tw_theil_sen(requests, bytes, n);
    late = tw_theil_sen(requests + n / 2, bytes + n / 2, n - n / 2);
    leak.per_request =
        (struct tw_estimate){.value = whole.slope,
                             .low = whole.slope_low,
                             .high = whole.slope_high,
                             .level = LEVEL,
                             .n = (int64_t)n,
                             .method = "slope of memory over requests (Sen)"};
    leak.late = late.slope_low;
    leak.grown_bytes = middle_of(bytes + n - tenth, tenth) - middle_of(bytes, tenth);
    return leak;
}

/* A cache that fills levels off: a leak goes on in the second half. What the old version grows by is
 * taken off; less than a few pages is the allocator's. */
bool tw_version_leaks(const struct tw_leak *old, const struct tw_leak *now)
{
    double before = isnan(old->per_request.high) ? 0 : fmax(0, old->per_request.high);
    double grown = isnan(old->grown_bytes) ? 0 : fmax(0, old->grown_bytes);

    if (isnan(now->per_request.low) || isnan(now->late))
        return false;
    return now->per_request.low > 2 * before && now->per_request.low >= 16 &&
           now->late > before && now->late > now->per_request.value / 4 &&
           now->grown_bytes > 256 << 10 && now->grown_bytes > 3 * grown;
}
