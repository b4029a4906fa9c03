/* Applies a plan to a twin, one row per kind of step, and records each. The twin is stopped, or
 * running and reloaded afterwards by the caller.
 *
 * Errors  -EINVAL a step its kind cannot do; what the service refuses (SQL error) becomes an issue */
#ifndef TW_INJECT_H
#define TW_INJECT_H

#include "tw/twin.h"

int tw_inject(struct tw_arena *a, struct tw_twin *twin, const struct tw_plan *plan,
              struct tw_issues *issues, struct tw_err *err);
#endif
