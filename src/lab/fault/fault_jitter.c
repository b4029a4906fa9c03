/* the way out over the link takes up to twice as much longer, at random. */
#include "fault_internal.h"

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    const struct tw_shape_values varying = {.delay_s = f->strength, .jitter_s = f->strength};
    struct tw_shape_values v[TW_SHAPE_WAYS] = {{0}};

    v[tw_streq(f->fault.on, "in") ? TW_SHAPE_IN : TW_SHAPE_OUT] = varying;
    return fault_shape_begin(f, v, err);
}

const struct tw_fault_kind fault_kind_jitter = {
    .name = "jitter",
    .summary = "the way out over the link takes up to twice as much longer, at random",
    .unit = TW_FAULT_TIME,
    .low = 1e-4,
    .high = 5,
    .standard = "5ms",
    .duration_s = 1,
    .link = true,
    .begin = begin,
    .end = fault_shape_end,
    .check = fault_shape_check,
};
