/* So much of its memory is taken from the twin: page cache goes first, then the kernel kills. */
#include "fault_internal.h"

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    struct tw_sandbox *box = tw_twin_sandbox(f->place.twin);
    int64_t wanted = (int64_t)((double)f->place.memory_bytes * (1 - f->strength));
    int r = -EBUSY;

    if (f->place.memory_bytes <= 0)
        return tw_fail(err, -ENOTSUP, "the target has no bound of memory that could shrink");
    /* v1 refuses a limit below what cannot be reclaimed: as near to it as it goes */
    for (; r == -EBUSY && wanted < f->place.memory_bytes; wanted += wanted / 8 + (1 << 20))
        r = tw_sandbox_limit(box, wanted, 0, err);
    f->how = "the memory limit of its control group";
    return r;
}

static int end(struct tw_fault_run *f, struct tw_err *err)
{
    return f->place.memory_bytes > 0
               ? tw_sandbox_limit(tw_twin_sandbox(f->place.twin), f->place.memory_bytes, 0, err)
               : 0;
}

static int check(struct tw_fault_run *f, struct tw_err *err)
{
    (void)f, (void)err;
    return 0; /* as with the quota */
}

const struct tw_fault_kind fault_kind_memory_pressure = {
    .name = "memory_pressure",
    .summary = "so much of its memory is taken away",
    .unit = TW_FAULT_SHARE,
    .low = 0.01,
    .high = 0.99,
    .standard = "50%",
    .duration_s = 1,
    .begin = begin,
    .end = end,
    .check = check,
};
