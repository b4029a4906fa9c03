/* What the files of the trial share: the pure parts (warm-up, schedule, analysis) and
 * prewarming.
 *
 * Shapes  a pair is two slots, one per arm, with the same load and the same seed; a block
 * is two pairs in the order A B B A Units   log ratios are natural logarithms of
 * candidate / baseline */
#ifndef TRIAL_INTERNAL_H
#define TRIAL_INTERNAL_H

#include "tw/num.h"
#include "tw/trial.h"

#include <pthread.h>

/* ---- warm-up: when has a closed loop become level? ---- */

#define WARMUP_WINDOW 3 /* steps that must show no trend */
#define WARMUP_STEPS  40

struct trial_warmup {
    double rate[TW_ARM_COUNT][WARMUP_STEPS]; /* (set) answered per second, step by step */
    int64_t spent_ns[TW_ARM_COUNT]
                    [WARMUP_STEPS]; /* (set) own time up to the end of the step */
    int steps;
    int from; /* (set) the first step that may belong to a level window: the cold one may
                 not */
};
/* A rate that still climbs by more than a few percent a step is a trend; one that falls
 * is noise. */
bool trial_warmup_level(const struct trial_warmup *w);
int trial_warmup_window(
    const struct trial_warmup *w); /* steps that the level is taken from */
bool trial_warmup_far_apart(const struct trial_warmup *w,
                            int step); /* ten times or more */
/* Own seconds until the first step as fast as the level; level: median of the last steps.
 */
double trial_warmup_cold_s(const struct trial_warmup *w, enum tw_arm arm);
double trial_warmup_capacity(const struct trial_warmup *w, enum tw_arm arm);
double trial_warmup_cold_ratio(const struct trial_warmup *w, enum tw_arm arm);

/* ---- schedule: which pair comes next ---- */

#define TRIAL_LEVELS 3

struct trial_schedule {
    double capacity_per_s;           /* of the slower arm */
    double level[TRIAL_LEVELS];      /* shares of it, ascending */
    int64_t length_ns[TRIAL_LEVELS]; /* of an open slot at that level */
    int64_t closed_ns;               /* of a closed slot */
    int64_t closed_least_ns;         /* the same when no requests are missing */
    bool open_useful; /* an open slot holds enough requests to say anything */
    bool swamped;     /* the slower arm can only be shown to be at least so slow */
    int open_min;     /* open pairs before anything is decided */
    int open_pairs, closed_pairs; /* handed out */
    enum tw_arm first[2];         /* that began the block, [closed] */
    int next_pair;
    struct tw_rng rng;
};
struct trial_schedule_spec {
    double capacity_per_s[TW_ARM_COUNT];
    double target_rate_per_s; /* NaN unknown */
    double budget_s;          /* left for slots */
    int min_pairs, next_pair;
    uint64_t seed;
};
struct trial_order {
    int pair;
    bool closed;
    double level, rate_per_s; /* NaN when closed */
    enum tw_arm first;
    int64_t length_ns;
    uint64_t seed;
};
void trial_schedule_init(struct trial_schedule *s,
                         const struct trial_schedule_spec *spec);
void trial_schedule_next(struct trial_schedule *s, bool closed, struct trial_order *ret);
/* Closed slots are as long as needed for one block to bring the requests that are still
 * missing. */
void trial_schedule_want(struct trial_schedule *s, int64_t missing_requests);

/* ---- analysis: slots in, pairs and their confidence sequences out ---- */

enum trial_metric {
    TRIAL_THROUGHPUT, /* closed pairs */
    TRIAL_P50,        /* open pairs, as the rest */
    TRIAL_P95,
    TRIAL_P99,
    TRIAL_MEAN,
    TRIAL_CPU,
    TRIAL_WAL,
    TRIAL_TEMP,
    TRIAL_METRIC_COUNT
};
#define TRIAL_ALPHA 0.10
/* Shares of the smaller capacity up to which open pairs are held against margins. */
#define TRIAL_JUDGED_LEVEL 0.70
/* How a metric stands against the margin of the policy. */
enum trial_standing {
    TRIAL_UNASKED, /* the policy has no margin for it */
    TRIAL_OPEN,    /* the interval's bad end crosses the margin */
    TRIAL_INSIDE,  /* the whole interval is inside */
    TRIAL_OUTSIDE  /* the whole interval is outside, the other metrics counted in */
};
struct trial_interval {
    int64_t n;
    double value;             /* median log ratio of the pairs */
    double low, high;         /* level 1 - TRIAL_ALPHA */
    double low_all, high_all; /* level 1 - TRIAL_ALPHA / metrics with a margin */
    bool clipped;             /* the effect is beyond what the sequence takes */
    int64_t censored;         /* pairs whose candidate is known only as "at least" */
    enum trial_standing standing;
};
struct trial_analysis {
    struct trial_interval metric[TRIAL_METRIC_COUNT];
    int pairs, open_pairs, closed_pairs, dropped; /* pairs: kept ones */
    int64_t requests[TW_ARM_COUNT];               /* answered in kept pairs */
    bool inside,
        outside; /* every metric with a margin is inside; at least one is outside */
};
/* Marks both slots of a pair as dropped where the generator itself was late. */
void trial_gate(struct tw_slot *slots, size_t n);
/* last: nothing follows this look, whose intervals may then be those of a fixed number of pairs. */
void trial_analyse(const struct tw_slot *slots, size_t n,
                   const struct tw_trial_margins *margins, bool last,
                   struct trial_analysis *ret);
/* Standard deviation of the log ratio of a metric, baseline against baseline of the same
 * block. */
double trial_noise_floor(const struct tw_slot *slots, size_t n, enum trial_metric metric);
/* Slots whose p99 is over five times the median of their arm and level. */
double trial_outliers(const struct tw_slot *slots, size_t n, enum tw_arm arm);
/* The effects as they travel; totals (may be NULL) stand in where slots have no figures.
 */
struct trial_totals {
    double wal_bytes[TW_ARM_COUNT], temp_bytes[TW_ARM_COUNT]; /* NaN unknown */
    int64_t answered[TW_ARM_COUNT];
};
void trial_effects(struct tw_arena *a, const struct tw_slot *slots, size_t n,
                   const struct tw_trial_margins *margins, bool last,
                   const struct trial_totals *totals, struct tw_trial_result *ret);

/* ---- writes: do the arms ask as much of the disk? ---- */

struct trial_writes {
    double writes[TW_ARM_COUNT], requests[TW_ARM_COUNT]; /* of loaded slots */
};
/* More than a tenth apart per request, beyond three standard deviations of two counts. */
bool trial_writes_differ(const struct trial_writes *w);

/* ---- prewarm: what the mix touches, into both twins at once ---- */

struct trial_prewarm {
    double seconds[TW_ARM_COUNT]; /* NaN: could not be done */
    double bytes[TW_ARM_COUNT];
};
void trial_prewarm(const struct tw_trial_spec *spec, int64_t deadline_ns,
                   struct trial_prewarm *ret);

/* ---- wait events of an arm, sampled by a thread while a closed slot runs ---- */

struct trial_watch {
    struct tw_sampler *sampler; /* borrowed, as the next two, until trial_watch_stop */
    struct tw_arena *arena;
    struct tw_waits *waits;
    pthread_t thread;
    int stop_fd;
    bool running;
};
void trial_watch_start(struct trial_watch *w, struct tw_sampler *sampler,
                       struct tw_arena *arena, struct tw_waits *waits);
void trial_watch_stop(struct trial_watch *w);

#endif
