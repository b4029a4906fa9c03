/* The experiment: warm-up until level, capacity probes, ABBA slots at several load levels, gating,
 * anytime-valid stopping, noise floor. Both twins are running; the load is open.
 *
 * Units   seconds, requests per second; levels are shares of the smaller capacity
 * Errors  -ECANCELED, -ETIMEDOUT, -ENODATA nothing could be measured (why)
 * Owns    results live in the arena; histograms and starts of slots are freed by
 *         tw_trial_result_done
 * Source  docs/internals/trial.md; intervals: struct tw_cseq in num.h */
#ifndef TW_TRIAL_H
#define TW_TRIAL_H

#include "tw/load.h"
#include "tw/sample.h"
#include "tw/spec.h"
#include "tw/twin.h"

/* Figures while it runs: for progress lines and the stream. */
struct tw_trial_progress {
    int pairs;
    double elapsed_s, budget_s;
    double p50_ms[TW_ARM_COUNT], p95_ms[TW_ARM_COUNT], throughput_per_s[TW_ARM_COUNT];
    double confidence; /* 0 until known */
};
struct tw_trial_margins { /* of the policy: how much worse is still harmless */
    double throughput, p50, p95, p99; /* 0.10 0.25 0.50 0.50 */
    double effect;                    /* 0.05: an effect smaller than this is called none */
    double tail_ms;                   /* p95 and p99 may move by this much whatever share that is; 0 */
};
struct tw_trial_spec {
    const struct tw_plan *plan;
    struct tw_twin *twins[TW_ARM_COUNT];
    TW_ARRAY(struct tw_sandbox *) beside[TW_ARM_COUNT]; /* what else of an arm stands still with it */
    struct tw_load *load;
    const struct tw_load_mix *mix;
    struct tw_trial_margins margins;
    double target_rate_per_s;          /* the target's own rate, NaN: unknown */
    int connections;                   /* of the load, per arm; 0: unknown */
    void (*progress)(void *arg, const struct tw_trial_progress *p);
    /* Before the warm-up goes on: whatever else warms has ended when it returns, and nobody else
     * measures from then on. Gives the nanoseconds waited meanwhile, which count for no budget; below
     * 0: what was found meanwhile decides already, and the trial ends with -ENODATA. NULL: there is
     * nothing to wait for. */
    int64_t (*prewarmed)(void *arg);
    /* Write requests of the twins' disk so far, while a flush waits for no disk (NaN: it does). Where the
     * arms differ in them, own_disk makes it wait from then on. NULL: nothing of that is known. */
    double (*writes)(void *arg);
    bool (*own_disk)(void *arg);
    void *arg;
    const volatile bool *cancel;       /* looked at between slots; NULL: never */
};
struct tw_trial_result {
    TW_ARRAY(struct tw_slot) slots;    /* in the order run, probes included */
    struct tw_measured measured;       /* what the trial knows of it */
    TW_ARRAY(struct tw_effect) effects; /* throughput_per_s (closed loop), p50_ms, p95_ms, p99_ms,
                                           mean_ms, cpu_ms_per_request, wal_bytes_per_request,
                                           temp_bytes_per_request, errors_share */
    struct tw_counters before[TW_ARM_COUNT], after[TW_ARM_COUNT];
    struct tw_waits waits[TW_ARM_COUNT];
    struct tw_load_failures failures;
    double memory_base_bytes[TW_ARM_COUNT], memory_per_connection_bytes[TW_ARM_COUNT];
    double cold_s[TW_ARM_COUNT];       /* from ready until level */
    double cold_ratio[TW_ARM_COUNT];   /* throughput of the first step / level; NaN */
    double outlier_slots[TW_ARM_COUNT]; /* slots with p99 over 5 times the median: stalls */
    bool decided;
    bool candidate_stopped;            /* it stopped serving under load: slots end there */
};
int tw_trial_run(struct tw_arena *a, const struct tw_trial_spec *spec,
                 struct tw_trial_result *ret, struct tw_err *err);
void tw_trial_result_done(struct tw_trial_result *r);
#endif
