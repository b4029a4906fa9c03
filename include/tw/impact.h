/* Baseline against candidate: performance, resources, failures, bottleneck, risk, confidence. Pure.
 *
 * Units   as in struct tw_impact
 * Owns    everything lives in the arena given; inputs are borrowed while it lives
 * Source  docs/internals/trial.md "Impact"; coverage table: tests of `make accuracy` */
#ifndef TW_IMPACT_H
#define TW_IMPACT_H

#include "tw/predict.h"
#include "tw/spec.h"

/* Wait events of an arm: event, share of active samples. */
struct tw_impact_wait {
    const char *event, *statement;
    double share;
};
/* What is known of the two arms, gathered by run from trial, calib and predict. */
struct tw_impact_facts {
    const struct tw_plan *plan;
    const struct tw_snapshot *snapshot;
    const struct tw_schema *schema;       /* NULL or no statements: no SQL was run */
    double schema_hold_review_s, schema_hold_block_s; /* of the policy: a table may be shut so long … */
    double schema_blocked_review;         /* … when at least so many requests wait meanwhile */
    double connections_free;              /* the server takes so many more clients; NaN unknown */
    const struct tw_measured *measured;   /* pairs 0: nothing was measured */
    const struct tw_issues *issues;       /* found so far: start, reload, files, plans */
    bool baseline_started, candidate_started, candidate_reloaded, candidate_restarted;
    double start_s[TW_ARM_COUNT], stop_s; /* NaN unknown */
    double cold_s;
    int sessions;                         /* dropped by a restart; -1 unknown */
    TW_ARRAY(struct tw_effect) effects;   /* of the trial */
    bool decided;                         /* the trial stopped because it was certain */
    bool candidate_stopped;               /* it stopped serving under load */
    TW_ARRAY(struct tw_statement_effect) statements;
    TW_ARRAY(struct tw_impact_wait) waits[TW_ARM_COUNT];
    const struct tw_model *model[TW_ARM_COUNT];       /* NULL: none */
    const struct tw_forecast *forecast[TW_ARM_COUNT];
    const struct tw_failures *failures[TW_ARM_COUNT]; /* of the laws, both arms */
    double peak_rate_per_s;
    bool peak_assumed;                    /* nobody said it: 60 % of the measured capacity */
    double cpu_share[TW_ARM_COUNT], throttled_share[TW_ARM_COUNT]; /* at the highest level */
    double temp_bytes_per_request[TW_ARM_COUNT], io_wait_share[TW_ARM_COUNT];
    double forced_checkpoints[TW_ARM_COUNT]; /* begun while measuring because WAL ran full; NaN */
    double full_page_share[TW_ARM_COUNT];    /* of the WAL: pages as a whole, after a checkpoint */
    double reserved_connections[TW_ARM_COUNT]; /* of max_connections, not for clients; NaN */
    double memory_limit_bytes;
    double price_cpu_hour, price_memory_gb_hour, price_disk_gb_month; /* NaN: none given */
    const char *currency;
    TW_ARRAY(const char *) twin_differences;
    struct tw_trial_margins_view {
        double throughput, p50, p95, p99, effect;
    } margins;
    bool modelled;                        /* sizes computed from one and few that were measured */
    bool rules_judged;                    /* rules of a packet filter, for every packet */
    int rules_packets;                    /* real ones that agree with that */
    int access_tried;                     /* clients, where all of the change is who comes in; 0: it is not */
    bool computed;                        /* no load would show it: what is said of it is arithmetic */
    double detection_sensitivity;         /* 0.7: a failure is told from p >= 1 - this on */
};
int tw_impact_make(struct tw_arena *a, const struct tw_impact_facts *facts,
                   struct tw_impact *ret, struct tw_err *err);
#endif
