/* the round trip over the link takes so much longer. */
#include "fault_internal.h"

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    /* half of it on either way; all of it where only one is asked for */
    double delay = f->fault.on ? f->strength : f->strength / 2;

    return fault_shape_both(f, &(struct tw_shape_values){.delay_s = delay}, err);
}

const struct tw_fault_kind fault_kind_latency = {
    .name = "latency",
    .summary = "the round trip over the link takes so much longer",
    .unit = TW_FAULT_TIME,
    .low = 1e-4,
    .high = 10,
    .standard = "20ms",
    .duration_s = 1,
    .link = true,
    .begin = begin,
    .end = fault_shape_end,
    .check = fault_shape_check,
};
