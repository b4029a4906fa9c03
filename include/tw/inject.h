/* Applies a plan to a twin, one row per kind of step, and records each. The twin is stopped, or
 * running and reloaded afterwards by the caller.
 *
 * Errors  -EINVAL a step its kind cannot do; what the service refuses (SQL error) becomes an issue */
#ifndef TW_INJECT_H
#define TW_INJECT_H

#include "tw/twin.h"

int tw_inject(struct tw_arena *a, struct tw_twin *twin, const struct tw_plan *plan,
              struct tw_issues *issues, struct tw_err *err);
/* The service judges the change itself, on its own files: it starts unchanged, the change is
 * applied, it reloads, it is stopped as its supervisor would, and starts again. */
struct tw_judged {
    bool baseline_started; /* false: nothing else is set, issues quotes the service */
    bool reloaded;         /* the reload took the change without complaint */
    bool restarted;
    double start_s, stop_s, restart_s; /* NaN: did not happen */
    struct tw_issues issues;
};
/* Its first step alone, before there is a plan: the start of the unchanged service. */
struct tw_judge_begun {
    bool started;
    double start_s;          /* NaN: it does not start */
    struct tw_issues known;  /* what it says without the change */
};
int tw_inject_judge_begin(struct tw_arena *a, struct tw_twin *twin, int64_t deadline_ns,
                          struct tw_judge_begun *ret, struct tw_err *err);
/* begun NULL: the twin is stopped, and this begins. Afterwards it runs if it started again. Texts live
 * in a. */
int tw_inject_judge(struct tw_arena *a, struct tw_twin *twin, const struct tw_plan *plan,
                    const struct tw_judge_begun *begun, int64_t deadline_ns, struct tw_judged *ret,
                    struct tw_err *err);

#endif
