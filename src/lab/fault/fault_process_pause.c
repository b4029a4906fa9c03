/* All its processes stand still: a host that stalls, a debugger, a long collection. */
#include "fault_internal.h"

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    f->how = "the freezer of its control group";
    return tw_sandbox_freeze(tw_twin_sandbox(f->place.twin), true, err);
}

static int end(struct tw_fault_run *f, struct tw_err *err)
{
    return tw_sandbox_freeze(tw_twin_sandbox(f->place.twin), false, err);
}

static int check(struct tw_fault_run *f, struct tw_err *err)
{
    return tw_twin_running(f->place.twin)
               ? 0
               : tw_fail(err, -EBUSY, "the service does not run after it stood still");
}

const struct tw_fault_kind fault_kind_process_pause = {
    .name = "process_pause",
    .summary = "all its processes stand still",
    .unit = TW_FAULT_NONE,
    .duration_s = 0.5,
    .outage = true,
    .begin = begin,
    .end = end,
    .check = check,
};
