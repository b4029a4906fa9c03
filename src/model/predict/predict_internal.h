#ifndef PREDICT_INTERNAL_H
#define PREDICT_INTERNAL_H

#include "predict/list.h"
#include "tw/predict.h"
#include "tw/sim.h"

#define PREDICT_QUANTILES 3
extern const double predict_q[PREDICT_QUANTILES]; /* 0.5 0.95 0.99 */

/* ---- demand.c: what the model says of a rate ---- */

/* CPU cores in use; linear between the levels, what the capacity uses beyond it; NaN
 * unknown. */
double predict_cores(const struct tw_model *m, double rate_per_s);
/* Mean service time on the wall, stalls included. */
double predict_service_s(const struct tw_model *m, double rate_per_s);
/* Offered load per server; 1 at capacity. */
double predict_load(const struct tw_model *m, double rate_per_s);
double predict_capacity(const struct tw_model *m);
/* Inverse of predict_load below 1. */
double predict_rate_at(const struct tw_model *m, double load);
/* log(measured/simulated) at the three quantiles. */
void predict_residual(const struct tw_model *m, double rate_per_s,
                      double ret_r[PREDICT_QUANTILES]);
/* The same at any rank. */
double predict_warp(const double r[PREDICT_QUANTILES], double rank);
int predict_pool(const struct tw_model *m);

/* ---- fluid.c: overload, the same for every engine ---- */
struct predict_fluid {
    double backlog_from, backlog_to; /* requests, at the ends of the bin */
    double done, errors;             /* requests, in this bin */
    double drain_h;  /* from the bin's start until the backlog is gone; 0: none */
    bool overloaded; /* some of the bin's requests meet a backlog */
};
/* One per bin of the profile. */
void predict_fluid_make(const struct tw_model *m, const struct tw_profile *p,
                        struct predict_fluid *ret);

/* ---- map.c: latency by load, simulated once ---- */
#define PREDICT_RANKS 48
extern const double predict_ranks[PREDICT_RANKS]; /* ascending, 0 … 1 */
struct predict_map;
struct predict_map *predict_map_new(const struct tw_model *m, const struct tw_profile *p,
                                    uint64_t seed);
void predict_map_free(struct predict_map *map);
TW_AUTO_DEFINE(predict_map)
/* Seconds at every rank and their mean, of model m (the map's own or a resampled one) at
 * a rate below capacity, before the residual. */
void predict_map_latency(const struct predict_map *map, const struct tw_model *m,
                         double rate_per_s, double ret_latency_s[PREDICT_RANKS],
                         double *ret_mean_s);

/* ---- engines ---- */
struct predict_job {
    const struct tw_model *model;
    const struct tw_profile *profile;
    const struct predict_fluid *fluid;
    const struct predict_map *map;
    uint64_t seed;
    size_t stride; /* every how many-th bin is looked at; more than 1 only for resampled
                      models */
};
struct predict_day { /* what an engine fills; residuals applied */
    struct tw_hist *hist;
    struct tw_bin *bins; /* p50_s p95_s p99_s, connections (mean concurrency) */
    double requests, overloaded;
};
struct predict_engine {
    const char *name;
    void (*run)(const struct predict_job *job, struct predict_day *day);
};
#define TW_DECLARE(name) extern const struct predict_engine predict_engine_##name;
TW_PREDICT_ENGINE_LIST(TW_DECLARE)
#undef TW_DECLARE
/* The requests of an overloaded stretch, by the fluid's latency, n of them. */
void predict_fluid_record(const struct predict_job *job, size_t bin, int64_t n,
                          struct predict_day *day);
void predict_bin_quantiles(struct tw_bin *bin, const double q[PREDICT_QUANTILES]);

/* ---- wal.c ---- */
struct predict_wal_spec {
    double checkpoint_s, max_wal_bytes; /* NaN: never for that reason */
};
/* Bytes written in each bin, given what each bin finished; NaN where the model does not
 * know. Returns checkpoints made because of the volume. */
double predict_wal(const struct tw_model *m, const struct predict_wal_spec *spec,
                   const struct tw_profile *p, const struct predict_fluid *fluid,
                   double *ret_bytes);

/* ---- failures.c ---- */
struct predict_case { /* what every law may look at */
    struct tw_arena *arena;
    const struct tw_forecast *f; /* never NULL; without bins nothing was measured */
    const struct tw_model *m;    /* never NULL */
    const struct tw_predict_limits *limits;
    double hours;
    double threshold;
    struct tw_failures *found;
};
struct predict_law {
    const char *name, *words; /* words: in the plural, for what was looked at */
    void (*judge)(const struct predict_case *c);
};
#define TW_DECLARE(name) extern const struct predict_law predict_law_##name;
TW_PREDICT_LAW_LIST(TW_DECLARE)
#undef TW_DECLARE
struct tw_failure predict_failure(const char *kind); /* no time known, probability 0 */
/* Into the list when it is probable enough; else it was looked at. used_share may be NaN. */
void predict_tell(const struct predict_case *c, const struct tw_failure *f, const char *name,
                  double used_share);
/* P(X >= limit) for a lognormal X with this median and 90 % interval; without one, 0
 * or 1. */
double predict_exceeds(double value, double low, double high, double limit);
const struct tw_bin *predict_peak(const struct tw_forecast *f,
                                  double (*of)(const struct tw_bin *));

/* ---- fill.c: a stock that fills ---- */
/* Of the logarithm: what no rate tells, the grain of extents, how a server spreads its work. */
#define PREDICT_LEAST_SPREAD 0.03
struct predict_fill {
    double within;               /* what flows in within the horizon */
    double spread;               /* standard deviation of its logarithm */
    double at_h, low_h, high_h;  /* when it is full; infinite: never */
    double probability;          /* that this is within the horizon */
    bool flows;                  /* anything is known to flow */
};
void predict_fill(const struct predict_case *c, const struct tw_stock *s,
                  struct predict_fill *ret);
/* The stocks of a law, the earliest of each kind told with its computation. */
void predict_fill_judge(const struct predict_case *c, const char *law);

#endif
