#include "tw/num.h"

#include <assert.h>
#include <math.h>

/* ---- isotonic regression: pool adjacent violators (Barlow et al. 1972) ---- */

struct block {
    double mean, weight;
    size_t count;
};

void tw_pava(double *y, const double *w, size_t n)
{
    tw_auto_free struct block *blocks = tw_realloc_array(NULL, n, sizeof *blocks);
    size_t used = 0;

    for (size_t i = 0; i < n; i++) {
        blocks[used++] = (struct block){y[i], w ? w[i] : 1, 1};
        while (used > 1 && blocks[used - 2].mean > blocks[used - 1].mean) {
            struct block *a = &blocks[used - 2], *b = &blocks[used - 1];
            double weight = a->weight + b->weight;

            a->mean = weight > 0 ? (a->mean * a->weight + b->mean * b->weight) / weight
                                 : (a->mean + b->mean) / 2;
            a->weight = weight;
            a->count += b->count;
            used--;
        }
    }
    for (size_t i = 0, at = 0; i < used; i++)
        for (size_t k = 0; k < blocks[i].count; k++)
            y[at++] = blocks[i].mean;
}

/* ---- a line through the medians ---- */

static size_t pair_slopes(const double *x, const double *y, size_t n, double *slopes)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            if (x[j] > x[i] || x[j] < x[i])
                slopes[count++] = (y[j] - y[i]) / (x[j] - x[i]);
    return count;
}

/* Interval by ranks: Sen 1968, the variance of Kendall's statistic without ties. */
struct tw_line tw_theil_sen(const double *x, const double *y, size_t n)
{
    struct tw_line line = {NAN, NAN, NAN, NAN};
    tw_auto_free double *work = NULL;
    double real_n = (double)n, half;
    size_t count;

    if (n < 2)
        return line;
    work = tw_realloc_array(NULL, n * (n - 1) / 2 + n, sizeof *work);
    count = pair_slopes(x, y, n, work);
    if (count == 0)
        return line;
    line.slope = tw_median(work, count);
    half = 1.6449 * sqrt(real_n * (real_n - 1) * (2 * real_n + 5) / 18) / (double)count;
    if (n > 2) { /* two points leave the slope's error unknown */
        line.slope_low = tw_quantile(work, count, fmax(0, (1 - half) / 2));
        line.slope_high = tw_quantile(work, count, fmin(1, (1 + half) / 2));
    }
    for (size_t i = 0; i < n; i++)
        work[i] = y[i] - line.slope * x[i];
    line.intercept = tw_median(work, n);
    return line;
}

/* ---- the normal distribution ---- */

double tw_normal_cdf(double z)
{
    return 0.5 * erfc(-z * M_SQRT1_2);
}

/* Acklam's rational approximation, relative error 1.15e-9. */
static double acklam(double p)
{
    static const double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,
                               -2.759285104469687e+02, 1.383577518672690e+02,
                               -3.066479806614716e+01, 2.506628277459239e+00};
    static const double b[] = {-5.447609879822406e+01, 1.615858368580409e+02,
                               -1.556989798598866e+02, 6.680131188771972e+01,
                               -1.328068155288572e+01};
    static const double c[] = {-7.784894002430293e-03, -3.223964580411365e-01,
                               -2.400758277161838e+00, -2.549732539343734e+00,
                               4.374664141464968e+00,  2.938163982698783e+00};
    static const double d[] = {7.784695709041462e-03, 3.224671290700398e-01,
                               2.445134137142996e+00, 3.754408661907416e+00};
    double q, r;

    if (p < 0.02425) {
        q = sqrt(-2 * log(p));
        return (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
               ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
    }
    if (p > 1 - 0.02425)
        return -acklam(1 - p);
    q = p - 0.5;
    r = q * q;
    return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
           (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

/* One Halley step brings the approximation to full precision. */
double tw_normal_quantile(double p)
{
    double z, u;

    if (!(p >= 0 && p <= 1))
        return NAN;
    if (p <= 0 || p >= 1)
        return p <= 0 ? -INFINITY : INFINITY;
    z = acklam(p);
    u = (tw_normal_cdf(z) - p) * sqrt(2 * M_PI) * exp(z * z / 2);
    return isfinite(u) ? z - u / (1 + z * u / 2) : z;
}
