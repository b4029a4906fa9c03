/* the link carries no more than this, either way. */
#include "fault_internal.h"

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    return fault_shape_both(f, &(struct tw_shape_values){.rate_bps = f->strength}, err);
}

const struct tw_fault_kind fault_kind_bandwidth = {
    .name = "bandwidth",
    .summary = "the link carries no more than this, either way",
    .unit = TW_FAULT_BITS,
    .low = 8e3,
    .high = 1e11,
    .standard = "10mbit",
    .duration_s = 1,
    .link = true,
    .begin = begin,
    .end = fault_shape_end,
    .check = fault_shape_check,
};
