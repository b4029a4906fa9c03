/* A calibrated model and a horizon become a forecast with intervals; laws give failures and when.
 * One file per predictor. Pure.
 *
 * Units   hours for the horizon, seconds for latencies, requests per second for rates
 * Errors  -EINVAL unknown scenario (nearest named), bad CSV line; -ENODATA model too thin
 * Owns    everything returned lives in the arena given
 * Source  docs/internals/laws.md; engines and load map: docs/internals/sim.md */
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

/* A further one is the load that was recorded of the target itself. Points of any step up to five minutes. */
#define TW_SCENARIO_RECORDED "recorded"
struct tw_recorded {
    int64_t at_wall_ns;
    double rate_per_s;
};
struct tw_recorded_profile {
    const char *csv;        /* lines of "hour,rate_per_s", as tw_profile_make() takes them */
    double peak_per_s;
    double recorded_hours;  /* it was made from */
    bool weekly;            /* weekdays are told apart: a whole week was recorded */
};
/* -EINVAL: too little is recorded; how much, and how much it takes. */
int tw_profile_recorded(struct tw_arena *a, const struct tw_recorded *points, size_t n,
                        int64_t begin_wall_ns, double hours, struct tw_recorded_profile *ret,
                        struct tw_err *err);

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

/* What flows into a stock. Estimates without an interval are taken as exact. */
struct tw_inflow {
    const char *what;                 /* "rows", "WAL that no archive takes": for the evidence */
    struct tw_estimate per_request, per_s; /* NaN: none known */
    double wal;                       /* times what the forecast says is written of WAL */
    double fixed;                     /* at once, whatever the load; below 0: room there already */
    double ceiling;                   /* it grows no further than this; NaN: without end */
    double grain;                     /* it comes in pieces of this size; 0: in small ones */
    double probability;               /* that it flows at all: 1 where that was seen */
};
/* What fills up until it fails: a file system, a sequence, transaction ids, descriptors. */
struct tw_stock {
    const char *law;                  /* row of predict/list.h that judges it: "sequence" */
    const char *kind;                 /* of the failure: "disk_full"; NULL: the law's name */
    const char *name, *unit;          /* unit "bytes" is shown as such; NULL: a plain number */
    double used, limit;
    TW_ARRAY(struct tw_inflow) inflows;
    const char *cycles;               /* what happens at the end, when that is no failure; NULL */
    const char *end;                  /* what happens at the end, for the evidence; NULL */
    const char *because;              /* what was seen, for the evidence; NULL */
};
/* Valid until, by the wall clock. */
struct tw_expiry {
    const char *what, *name;          /* "certificate", "password of role" */
    int64_t from_wall_ns, until_wall_ns; /* 0: has always been, for ever */
};
/* A table whose dead rows are reclaimed by a vacuum that may come or not, fast or slowly. */
struct tw_vacuumed {
    const char *name;
    double rows, dead_rows, heap_pages, index_pages;
    struct tw_estimate dead_per_request, dead_per_s; /* NaN: none seen */
    double threshold_rows;            /* dead rows at which a vacuum begins; infinite: never */
    double naptime_s, cost_per_s;     /* cost_per_s: of cost units; infinite: not throttled */
};
struct tw_predict_limits {
    double memory_limit_bytes, memory_other_bytes; /* computed need beside connections and buffers:
                                                      work_mem * nodes * active, maintenance … */
    double shared_memory_bytes;       /* as the service computes it itself */
    double max_connections, reserved_connections, connections_used, connection_growth_per_s;
    double disk_free_bytes, growth_bytes_per_s, wal_kept_bytes_per_s;
    double max_wal_bytes;
    /* From here on 0 is as good as unknown. */
    double connection_growth_low, connection_growth_high; /* 90 % of the leak */
    double connections_asked;         /* pools and instances together, as somebody said */
    struct tw_estimate memory_growth_per_request; /* n 0: no slope was found */
    double freeze_max_age[2];         /* transaction ids, multixacts: a vacuum is forced there */
    double vacuum_pages_per_s;        /* of a forced vacuum; 0 unknown */
    double table_pages;               /* that it has to read */
    double xmin_holder_age;           /* of what keeps it from freezing; 0: nothing does */
    const char *xmin_holder;
    int64_t now_wall_ns;
    TW_ARRAY(struct tw_stock) stocks;
    TW_ARRAY(struct tw_expiry) expiries;
    TW_ARRAY(struct tw_vacuumed) tables;
};
/* A law that was looked at and gives no failure within the horizon. */
struct tw_looked {
    const char *kind, *name;
    double at_hours;                  /* infinite: never */
    double used_share;                /* of the limit, at the end of the horizon; NaN unknown */
};
/* Appends to failures those whose probability is at least threshold, and to looked the rest. f and m
 * may be NULL: nothing was measured, and what depends on the load is not known. */
struct tw_failures {
    TW_ARRAY(struct tw_failure) list;
    TW_ARRAY(struct tw_looked) looked;
};
void tw_predict_failures(struct tw_arena *a, const struct tw_forecast *f,
                         const struct tw_model *m, const struct tw_predict_limits *limits,
                         double hours, double threshold, struct tw_failures *failures);
/* "never within 24 h: sequences (nearest 'public.t_id_seq', hour 812), …"; NULL: nothing was looked at. */
const char *tw_predict_looked(struct tw_arena *a, const struct tw_failures *failures, double hours);
/* per / requests with the 90 % interval of counted events (normal approximation of a Poisson
 * count); the spread of their sizes comes on top as a coefficient of variation. */
struct tw_estimate tw_predict_rate(double amount, double events, double requests, double size_cv);
/* Rate at which things that are never given back were taken: times ascending, seconds, the last not
 * after now_s. n 0 where they are too few or come in bursts (a pool that filled up). */
struct tw_estimate tw_predict_leak(const double *at_s, size_t n, double now_s);
/* Bytes per request of a memory that grows with the work, by slots in their order; n 0 where the
 * slope's interval contains 0, or growth is levelling off. */
struct tw_estimate tw_predict_memory_growth(const struct tw_slot *slots, size_t n, enum tw_arm arm);

/* ---- sizes: what so many instances carry, from one and few that were measured ---- */

struct tw_size_station {
    const char *name;
    bool replicated;       /* one for each instance; else shared by all of them */
    double cores;          /* that it may use (each of them); infinite: never the limit */
    double demand_s;       /* (set) CPU seconds of a request, as measured below its limit */
    double error;          /* sd of log demand */
    double demand_full_s;  /* the same where it is the limit; NaN: was not seen */
};
struct tw_size_model {
    const struct tw_size_station *stations; /* borrowed */
    size_t count;
    double contention;     /* each further instance makes the demand of a replicated one larger by this
                              share; of two instances against one */
    double contention_error;
    double delay_s;        /* of a request where nobody waits */
    double other_per_s;    /* all together were bound by this although no CPU was: locks, a pool; NaN */
    int clients;           /* of the closed loop */
};
/* Requests per second of a closed loop; ret_limit (may be NULL): the station that is used most, count
 * for what is no station. */
double tw_size_capacity(const struct tw_size_model *m, int instances, size_t *ret_limit);
/* With its 90 % interval, demands and contention drawn anew. */
struct tw_estimate tw_size_estimate(const struct tw_size_model *m, int instances, uint64_t seed);
/* Contention as two measured demands tell it: what is beyond their own errors. */
void tw_size_contention(double one_s, double one_error, double two_s, double two_error,
                        double *ret_share, double *ret_error);
#endif
