/* so many of the packets over the link are lost. */
#include "fault_internal.h"

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    return fault_shape_both(f, &(struct tw_shape_values){.loss = f->strength}, err);
}

const struct tw_fault_kind fault_kind_loss = {
    .name = "loss",
    .summary = "so many of the packets over the link are lost",
    .unit = TW_FAULT_SHARE,
    .low = 1e-4,
    .high = 1,
    .standard = "1%",
    .duration_s = 1,
    .link = true,
    .begin = begin,
    .end = fault_shape_end,
    .check = fault_shape_check,
};
