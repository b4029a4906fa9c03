/* nothing passes the link. */
#include "fault_internal.h"

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    return fault_shape_both(f, &(struct tw_shape_values){.cut = true}, err);
}

const struct tw_fault_kind fault_kind_partition = {
    .name = "partition",
    .summary = "nothing passes the link",
    .unit = TW_FAULT_NONE,
    .low = 0,
    .high = 0,
    .standard = NULL,
    .duration_s = 0.5,
    .link = true,
    .outage = true,
    .begin = begin,
    .end = fault_shape_end,
    .check = fault_shape_check,
};
