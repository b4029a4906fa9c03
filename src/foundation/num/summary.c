#include "tw/num.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

double tw_mean(const double *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return n ? sum / (double)n : NAN;
}

double tw_sd(const double *x, size_t n)
{
    double mean = tw_mean(x, n), sum = 0;

    if (n < 2)
        return NAN;
    for (size_t i = 0; i < n; i++)
        sum += (x[i] - mean) * (x[i] - mean);
    return sqrt(sum / (double)(n - 1));
}

/* NaN sorts last, so that the order is a total one. */
static int by_value(const void *pa, const void *pb)
{
    double a = *(const double *)pa, b = *(const double *)pb;

    if (isnan(a) || isnan(b))
        return !!isnan(a) - !!isnan(b);
    return (a > b) - (a < b);
}

void tw_sort(double *x, size_t n)
{
    if (n > 32) {
        qsort(x, n, sizeof *x, by_value);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        double v = x[i];
        size_t j = i;

        for (; j > 0 && by_value(&x[j - 1], &v) > 0; j--)
            x[j] = x[j - 1];
        x[j] = v;
    }
}

static double sorted_quantile(const double *x, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;

    if (i + 1 >= n)
        return x[n - 1];
    return x[i] + (at - (double)i) * (x[i + 1] - x[i]);
}

double tw_quantile(double *x, size_t n, double q)
{
    assert(q >= 0 && q <= 1);
    if (n == 0)
        return NAN;
    tw_sort(x, n);
    if (isnan(x[n - 1]))
        return NAN;
    return sorted_quantile(x, n, q);
}

double tw_median(double *x, size_t n)
{
    return tw_quantile(x, n, 0.5);
}

struct tw_estimate tw_bootstrap_median(const double *x, size_t n, double level,
                                       int rounds, struct tw_rng *rng)
{
    struct tw_estimate e = {NAN, NAN, NAN, NAN, 0, NULL};
    tw_auto_free double *draw = NULL, *medians = NULL;

    assert(level > 0 && level < 1 && rounds > 0);
    if (n == 0)
        return e;
    draw = tw_realloc_array(NULL, n, sizeof *draw);
    medians = tw_realloc_array(NULL, (size_t)rounds, sizeof *medians);
    memcpy(draw, x, n * sizeof *draw);
    e.value = tw_median(draw, n);
    e.level = level;
    e.n = (int64_t)n;
    e.method = "median, percentile bootstrap";
    if (n < 2) /* one value says nothing about its spread: low and high stay unknown */
        return e;
    for (int r = 0; r < rounds; r++) {
        for (size_t i = 0; i < n; i++)
            draw[i] = x[tw_rng_below(rng, n)];
        medians[r] = tw_median(draw, n);
    }
    e.low = tw_quantile(medians, (size_t)rounds, (1 - level) / 2);
    e.high = sorted_quantile(medians, (size_t)rounds, (1 + level) / 2);
    return e;
}
