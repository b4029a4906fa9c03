/* A calibrated model and a horizon become a forecast with intervals; laws give failures and when.
 * One file per predictor. Pure.
 *
 * Units   hours for the horizon, seconds for latencies, requests per second for rates
 * Errors  -EINVAL unknown scenario (nearest named), bad CSV line; -ENODATA model too thin
 * Owns    everything returned lives in the arena given
 * Source  PREDICTION.md §7 (laws) and §8 (engines, load map) */
#ifndef TW_PREDICT_H
#define TW_PREDICT_H

#include "tw/num.h"
#include "tw/spec.h"

/* ---- scenarios: rows steady, diurnal, peak_traffic, flash_crowd; or a user's CSV ---- */
struct tw_profile {
    const char *name;
    TW_ARRAY(struct {
        double from_h, hours, rate_per_s;
    }) bins;
    double peak_per_s;
};
extern const char *const tw_scenario_names[];
extern const size_t tw_scenario_count;
/* csv: text of "hour,rate_per_s" lines, or NULL. peak_per_s scales the built-in shapes. */
int tw_profile_make(struct tw_arena *a, const char *scenario, double peak_per_s, double hours,
                    const char *csv, struct tw_profile *ret_profile, struct tw_err *err);

/* ---- the horizon ---- */
struct tw_predict_spec {
    const struct tw_model *model;
    const struct tw_model *resampled; /* for intervals; NULL: none */
    int resampled_count;
    const struct tw_profile *profile;
    const char *engine;               /* "map" or "full" */
    uint64_t seed;
    double checkpoint_s;              /* seconds between timed checkpoints */
    double max_wal_bytes;             /* max_wal_size: checkpoints come sooner; NaN */
};
int tw_predict_horizon(struct tw_arena *a, const struct tw_predict_spec *spec,
                       struct tw_forecast *ret_forecast, struct tw_err *err);

/* ---- laws: when does what run out? Everything NaN is unknown and gives no failure ---- */
struct tw_predict_limits {
    double memory_limit_bytes, memory_other_bytes; /* computed need beside connections and buffers:
                                                      work_mem * nodes * active, maintenance … */
    double shared_memory_bytes;       /* as the service computes it itself */
    double max_connections, reserved_connections, connections_used, connection_growth_per_s;
    double disk_free_bytes, growth_bytes_per_s, wal_kept_bytes_per_s;
    double max_wal_bytes;
};
/* Appends to failures those whose probability is at least threshold. */
struct tw_failures {
    TW_ARRAY(struct tw_failure) list;
};
void tw_predict_failures(struct tw_arena *a, const struct tw_forecast *f,
                         const struct tw_model *m, const struct tw_predict_limits *limits,
                         double hours, double threshold, struct tw_failures *failures);
#endif
