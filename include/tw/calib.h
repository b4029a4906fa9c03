/* From series to model parameters with their uncertainty. Pure: no files, clocks, threads.
 *
 * Units   seconds, bytes, requests per second; see struct tw_model
 * Errors  -ENODATA not enough slots to say anything (err says what is missing)
 * Source  docs/internals/calib.md; bootstrap within levels: Efron and Tibshirani 1993 */
#ifndef TW_CALIB_H
#define TW_CALIB_H

#include "tw/num.h"
#include "tw/spec.h"

struct tw_calib_facts {
    int servers;              /* cores the twin may use */
    int pool;                 /* connections of the load */
    double checkpoint_s;      /* seconds between checkpoints at the target */
    double wal_pages;         /* pages of the updated set, from table statistics; NaN unknown */
    double memory_base_bytes, memory_per_connection_bytes; /* measured; NaN unknown */
};
/* Slots of the other arm, dropped ones and probes are told apart here. */
int tw_calib_fit(const struct tw_slot *slots, size_t n, enum tw_arm arm,
                 const struct tw_calib_facts *facts, uint64_t seed, struct tw_model *ret_model,
                 struct tw_err *err);
/* A model drawn by block bootstrap over slot pairs: for intervals of what follows from it. */
int tw_calib_resample(const struct tw_slot *slots, size_t n, enum tw_arm arm,
                      const struct tw_calib_facts *facts, struct tw_rng *rng,
                      struct tw_model *ret_model, struct tw_err *err);
#endif
