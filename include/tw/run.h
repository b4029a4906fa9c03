/* The sequence from change to decision: stages, progress, time-outs, cancelling, tearing down.
 *
 * Errors  negative errno is "no answer" or bad input: see the exit codes of cmd. A change that
 *         breaks the service is a success with bad news
 * Owns    the simulation is the caller's and carries everything found, also when it failed
 * Steps   run.<stage>.begun and run.<stage>.done for every stage of the table in run.c */
#ifndef TW_RUN_H
#define TW_RUN_H

#include "tw/spec.h"

/* What happens while it runs. */
struct tw_run_event {
    const char *id, *stage;  /* stage: a row of the table in run.c */
    double done;             /* 0..1 of the whole, by the budget */
    double elapsed_s, left_s;
    double p50_ms[TW_ARM_COUNT], p95_ms[TW_ARM_COUNT], throughput_per_s[TW_ARM_COUNT];
    double confidence;
    int pairs;
};
struct tw_run_options {
    const char *state_dir, *policy_path, *backend; /* NULL: default */
    const char *data;        /* "clone": permission for this run; NULL: as declared */
    const char *program;     /* this program's own path, for the load generator; NULL: found */
    void (*event)(void *arg, const struct tw_run_event *e);
    void *arg;
    const volatile bool *cancel;
    /* Called with the twins standing where the request says keep; they go when it returns. where: how
     * to enter them, a line each. */
    void (*kept)(void *arg, const char *where);
    bool dry_run;            /* validate and plan, nothing else */
};
/* Fills sim (status, error, impact, decision …) from sim->request; returns 0 also for a simulation
 * that failed (status and error tell); negative only for bad input (-EINVAL family, nothing was
 * cloned). */
int tw_run(const struct tw_run_options *options, struct tw_simulation *sim, struct tw_err *err);
/* Several variants of one target, sharing the seed and the baseline. The first owns what they
 * share: free them together. */
int tw_run_sweep(const struct tw_run_options *options, struct tw_simulation **sims, size_t n,
                 struct tw_err *err);
/* Takes a snapshot of sim->request.target and brings a seed of its data to rest, so that the next
 * run begins at once. Errors as tw_run; sim gets target, snapshot, stages. */
int tw_run_sync(const struct tw_run_options *options, struct tw_simulation *sim,
                struct tw_err *err);
const char *tw_state_dir_default(struct tw_arena *a); /* TWIN_STATE_DIR, /var/lib/twin, XDG */
#endif
