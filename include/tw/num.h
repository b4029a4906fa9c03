/* Numbers only: random streams, histograms, summaries, fits and tests. No files, clocks,
 * threads.
 *
 * Units   latencies in seconds (double); a histogram keeps integer nanoseconds inside
 * Shapes  arrays are borrowed; n is always a count of elements
 * Errors  misuse is an assert; "not enough data" gives NaN
 * Source  wyrand: W. Yi; histogram: HdrHistogram (log-linear); confidence sequence: S.
 * Howard et al. 2021, normal mixture; PAVA: Barlow et al. 1972; Theil-Sen: Sen 1968 */
#ifndef TW_NUM_H
#define TW_NUM_H

#include "tw/base.h"
#include "tw/spec.h"

/* ---- random streams: (seed, stream) is one reproducible sequence ---- */
struct tw_rng {
    uint64_t state;
};
void tw_rng_seed(struct tw_rng *rng, uint64_t seed, uint64_t stream);
uint64_t tw_rng_u64(struct tw_rng *rng);
/* n draws at once, the same that tw_rng_u64 would give one by one. */
void tw_rng_fill(struct tw_rng *rng, uint64_t *ret, size_t n);
double tw_rng_uniform(struct tw_rng *rng);             /* (0, 1) */
uint64_t tw_rng_below(struct tw_rng *rng, uint64_t n); /* 0 .. n-1 */
double tw_rng_exp(struct tw_rng *rng, double mean);
double tw_rng_normal(struct tw_rng *rng); /* mean 0, variance 1 */
/* Poisson arrivals in [0, length_ns): writes at most room starts, ascending; returns how
 * many. */
size_t tw_poisson_starts(struct tw_rng *rng, double rate_per_s, int64_t length_ns,
                         int64_t *starts_ns, size_t room);

/* ---- log-linear histogram: relative error <= 0.1 %, 1 us .. 137 s (clamped) ---- */
struct tw_hist *tw_hist_new(void); /* owned: tw_hist_free */
void tw_hist_free(struct tw_hist *h);
TW_AUTO_DEFINE(tw_hist)
void tw_hist_clear(struct tw_hist *h);
void tw_hist_record(struct tw_hist *h, int64_t ns);
void tw_hist_record_n(struct tw_hist *h, int64_t ns, int64_t n);
void tw_hist_record_batch(struct tw_hist *h, const double *seconds,
                          size_t n); /* the fast way */
void tw_hist_merge(struct tw_hist *into, const struct tw_hist *from);
int64_t tw_hist_count(const struct tw_hist *h);
double tw_hist_quantile(const struct tw_hist *h, double q); /* seconds; NaN when empty */
/* Many at once: q ascending, ret[i] as tw_hist_quantile(h, q[i]). */
void tw_hist_quantiles(const struct tw_hist *h, const double *q, size_t n, double *ret);
double tw_hist_mean(
    const struct tw_hist *h); /* seconds, exact; NaN when empty, as the next two */
double tw_hist_min(const struct tw_hist *h);
double tw_hist_max(const struct tw_hist *h);
double tw_hist_share_over(const struct tw_hist *h, double seconds); /* 0..1 */
/* Calls fn for every bucket in use, ascending, with its middle; returns how many there
 * were. */
typedef void tw_hist_each_fn(void *arg, double seconds, int64_t count);
size_t tw_hist_each(const struct tw_hist *h, tw_hist_each_fn *fn, void *arg);
/* Flat form for a pipe: pairs (bucket, count). tw_hist_encode returns bytes used, 0 if no
 * room (TW_HIST_FLAT_MAX always suffices). Byte order is this machine's. */
#define TW_HIST_FLAT_MAX ((size_t)40 + (size_t)27 * 1024 * 12)
size_t tw_hist_encode(const struct tw_hist *h, void *to, size_t room);
int tw_hist_decode(struct tw_hist *h, const void *from, size_t len); /* adds; -EINVAL */

/* ---- summaries ---- */
double tw_mean(const double *x, size_t n);
double tw_sd(const double *x, size_t n);           /* n-1 */
void tw_sort(double *x, size_t n);                 /* ascending, NaN last */
double tw_median(double *x, size_t n);             /* reorders x; NaN if any is NaN */
double tw_quantile(double *x, size_t n, double q); /* reorders x; linear interpolation */
/* Isotonic (non-decreasing) least squares fit in place; w may be NULL. */
void tw_pava(double *y, const double *w, size_t n);
struct tw_line {
    double slope, slope_low, slope_high, intercept; /* 90 % interval of the slope */
};
struct tw_line tw_theil_sen(const double *x, const double *y, size_t n);
double tw_normal_cdf(double z);
double tw_normal_quantile(double p);

/* ---- anytime-valid interval of a mean: may be looked at after every observation ----
 * |mean - mu| <= sqrt((v + rho) / n^2 * log((v + rho) / (rho * alpha^2))), v = sum of
 * squares about the running mean, rho tuned for n = 20 (docs/internals/trial.md). For several
 * metrics at once give alpha / metrics. Observations are clipped to +-clip. */
struct tw_cseq {
    double alpha, clip, rho; /* (set) by tw_cseq_init */
    int64_t n;               /* (computed) */
    double mean, v;
};
void tw_cseq_init(struct tw_cseq *c, double alpha, double clip);
void tw_cseq_add(struct tw_cseq *c, double x);
double tw_cseq_radius(const struct tw_cseq *c); /* infinity while n < 2 */

/* Percentile bootstrap interval of the median of x (n small): level e.g. 0.9. */
struct tw_estimate tw_bootstrap_median(const double *x, size_t n, double level,
                                       int rounds, struct tw_rng *rng);
/* The fewest pairs whose order statistics bound a median at 90 % (2 * 0.5^5 < 0.1): with less nothing is
 * claimed of an effect. */
#define TW_PAIRS_TO_CLAIM 5
#endif
