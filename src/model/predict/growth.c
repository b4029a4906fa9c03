#include "predict/predict_internal.h"

#include <math.h>
#include <stdlib.h>

/* Rates from what was counted: per request, of what is never given back, of memory. */

#define Z90 1.6449

/* sd of a sum of k things with coefficient of variation cv: sqrt(k (1 + cv^2)) of their
 * mean size (compound Poisson: var = k E[X^2]). Half a count is the least that k can be. */
struct tw_estimate tw_predict_rate(double amount, double events, double requests, double size_cv)
{
    double relative = sqrt((1 + size_cv * size_cv) / fmax(events, 0.5));
    double value = amount / requests;

    if (!(requests > 0) || !(amount > 0))
        return tw_unknown;
    return (struct tw_estimate){value,
                                value * exp(-Z90 * relative),
                                value * exp(Z90 * relative),
                                0.9,
                                (int64_t)events,
                                "counted while measured"};
}

/* ---- leaks ---- */

#define LEAK_LEAST 6
/* Kolmogorov's distance from a steady stream, at 1 %: 1.63 / sqrt(n) (Stephens 1974, with
 * his correction for small n). A pool that filled up, or sessions of one deployment, are
 * not steady. */
static bool is_steady(const double *at_s, size_t n, double from_s, double now_s)
{
    double most = 0, root = sqrt((double)n);

    for (size_t i = 0; i < n; i++) {
        double share = (at_s[i] - from_s) / (now_s - from_s);

        most = fmax(most, fmax(fabs(share - (double)i / (double)n),
                               fabs(share - (double)(i + 1) / (double)n)));
    }
    return most * (root + 0.12 + 0.11 / root) < 1.63;
}

/* The first one only says where the stream begins. */
struct tw_estimate tw_predict_leak(const double *at_s, size_t n, double now_s)
{
    double span, relative, rate;

    if (n < LEAK_LEAST)
        return tw_unknown;
    span = now_s - at_s[0];
    if (!(span > 0) || !is_steady(at_s + 1, n - 1, at_s[0], now_s))
        return tw_unknown;
    rate = (double)(n - 1) / span;
    relative = 1 / sqrt((double)(n - 1));
    return (struct tw_estimate){rate,
                                rate * exp(-Z90 * relative),
                                rate * exp(Z90 * relative),
                                0.9,
                                (int64_t)n,
                                "begin of what was never given back"};
}

/* ---- memory ---- */

#define MEMORY_LEAST 12   /* slots, so that each half has its own interval */
#define LEVELS_OFF   0.5  /* the second half grows at less than this share of the first */
#define GREW_LEAST   1e6  /* bytes in the second half: less is what caches do */

struct curve {
    double *x, *y; /* requests so far, bytes */
    size_t n;
};

/* From the first slot with all connections on: sessions that open are no leak. */
static void curve_fill(struct curve *k, const struct tw_slot *slots, size_t n, enum tw_arm arm)
{
    double done = 0;
    int most = 0;

    for (size_t i = 0; i < n; i++)
        if (slots[i].arm == arm && slots[i].clients > most)
            most = slots[i].clients;
    for (size_t i = 0; i < n; i++) {
        if (slots[i].arm != arm)
            continue;
        done += (double)slots[i].done;
        if (slots[i].clients < most || !(slots[i].anon_bytes > 0))
            continue;
        k->x[k->n] = done;
        k->y[k->n++] = slots[i].anon_bytes;
    }
}

struct tw_estimate tw_predict_memory_growth(const struct tw_slot *slots, size_t n, enum tw_arm arm)
{
    tw_auto_free double *x = tw_realloc_array(NULL, n + 1, sizeof *x);
    tw_auto_free double *y = tw_realloc_array(NULL, n + 1, sizeof *y);
    struct curve k = {x, y, 0};
    struct tw_line first, second, all;
    size_t half;

    curve_fill(&k, slots, n, arm);
    if (k.n < MEMORY_LEAST)
        return tw_unknown;
    half = k.n / 2;
    first = tw_theil_sen(x, y, half);
    second = tw_theil_sen(x + half, y + half, k.n - half);
    all = tw_theil_sen(x, y, k.n);
    if (!(all.slope_low > 0) || !(second.slope_low > 0) ||
        second.slope < LEVELS_OFF * first.slope ||
        second.slope * (x[k.n - 1] - x[half]) < GREW_LEAST)
        return tw_unknown;
    return (struct tw_estimate){second.slope, second.slope_low, second.slope_high, 0.9,
                                (int64_t)k.n, "Theil-Sen over the later slots"};
}
