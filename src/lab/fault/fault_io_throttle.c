/* Its disk reads and writes no faster than this. */
#include "fault_internal.h"

/* What a clone writes lands on the device of the pool: the clone itself is a view that has none. */
static int bound(struct tw_fault_run *f, int64_t bytes_per_s, struct tw_err *err)
{
    tw_auto_free char *pool = tw_strf("%s/pool", tw_priv_state_dir(f->place.priv));

    return tw_sandbox_io(tw_twin_sandbox(f->place.twin), pool, bytes_per_s, err);
}

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    f->how = "the device limits of its control group";
    return bound(f, (int64_t)f->strength, err);
}

static int end(struct tw_fault_run *f, struct tw_err *err)
{
    return bound(f, 0, err);
}

static int check(struct tw_fault_run *f, struct tw_err *err)
{
    (void)f, (void)err;
    return 0; /* as with the quota */
}

const struct tw_fault_kind fault_kind_io_throttle = {
    .name = "io_throttle",
    .summary = "the disk reads and writes so many bytes a second, each",
    .unit = TW_FAULT_BYTES,
    .low = 4096,
    .high = 1e11,
    .standard = "5MB",
    .duration_s = 1,
    .begin = begin,
    .end = end,
    .check = check,
};
