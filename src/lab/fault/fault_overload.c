/* More requests come than can be answered, then as many as before: does it come back by itself? The load
 * does it; nothing is done to the twin. */
#include "fault_internal.h"

static int nothing(struct tw_fault_run *f, struct tw_err *err)
{
    (void)err;
    f->how = "the load";
    return 0;
}

const struct tw_fault_kind fault_kind_overload = {
    .name = "overload",
    .summary = "so many times the requests that it can answer, then as before",
    .unit = TW_FAULT_TIMES,
    .low = 0.1,
    .high = 100,
    .standard = "2x",
    .duration_s = 1,
    .load = true,
    .begin = nothing,
    .end = nothing,
    .check = nothing,
};
