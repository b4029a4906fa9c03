#ifndef CALIB_INTERNAL_H
#define CALIB_INTERNAL_H

#include "tw/calib.h"
#include "tw/sim.h"

/* The quantiles a level is known by. */
#define CALIB_QUANTILES 3
extern const double calib_q[CALIB_QUANTILES]; /* 0.5 0.95 0.99 */

/* Slots of one arm, borrowed; a resampled set names some more than once. */
struct calib_slots {
    const struct tw_slot **items;
    size_t count;
};

/* One load level: a run of slots in the set of open ones. */
struct calib_level {
    struct calib_slots slots;
    double rate_per_s, demand_s, throughput_per_s; /* medians over its slots; NaN */
    double q[CALIB_QUANTILES]; /* medians of the slots' quantiles, isotonic */
    int64_t requests;
};

struct calib_set {
    struct calib_slots all; /* of this arm, by start, as measured */
    struct calib_slots
        open; /* paired, not dropped, by level and start; perhaps resampled */
    struct calib_slots closed; /* closed loop, by start */
    size_t level_count;
    struct calib_level level[TW_MODEL_LEVELS];
    double noise; /* sd of log CPU per request (else rate) within a level; NaN */
};

/* ---- levels.c ---- */
int calib_set_make(struct tw_arena *a, const struct tw_slot *slots, size_t n,
                   enum tw_arm arm, struct calib_set *ret, struct tw_err *err);
/* Draws the open slots anew, within their levels. */
void calib_set_redraw(struct tw_arena *a, struct calib_set *set, struct tw_rng *rng);
/* Fills what the levels know from their slots. */
void calib_levels_fill(struct tw_arena *a, struct calib_set *set);
double calib_drift(struct tw_arena *a, const struct calib_set *set);

/* ---- capacity.c ---- */
/* capacity (times factor) and its interval, stall, rates and demands of the model. */
void calib_capacity(struct tw_arena *a, const struct calib_set *set, double factor,
                    struct tw_model *m);

/* ---- shape.c ---- */
int calib_shape(const struct calib_set *set, struct tw_model *m, struct tw_err *err);

/* ---- replay.c ---- */
/* Simulates the slots with their own arrivals under both disciplines: processor_sharing,
 * sample (freed of its waiting), residual. budget: requests to simulate in all, per
 * discipline. */
void calib_replay(struct tw_arena *a, const struct calib_set *set, uint64_t seed,
                  size_t budget, struct tw_model *m);

/* ---- resources.c ---- */
void calib_resources(struct tw_arena *a, const struct calib_set *set, double wal_pages,
                     struct tw_model *m);

/* ---- small ---- */
/* Mean service time on the wall at a rate: demand * stall, or what the capacity leaves;
 * NaN. */
double calib_service_s(const struct tw_model *m, size_t level);
double calib_slot_quantile(const struct tw_slot *slot, size_t j);
/* Median of those that are not NaN; NaN when there are none. Reorders x. */
double calib_median_known(double *x, size_t n);

#endif
