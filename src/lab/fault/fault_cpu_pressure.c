/* So much of its CPU is taken from the twin. */
#include "fault_internal.h"

#include <unistd.h>

/* A quota at all cores does not bind: what a twin without one comes back to. */
static double all_of(const struct tw_fault_run *f)
{
    return f->place.cpus > 0 ? f->place.cpus : (double)sysconf(_SC_NPROCESSORS_ONLN);
}

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    f->how = "a quota of its control group";
    return tw_sandbox_limit(tw_twin_sandbox(f->place.twin), 0, all_of(f) * (1 - f->strength),
                            err);
}

static int end(struct tw_fault_run *f, struct tw_err *err)
{
    return tw_sandbox_limit(tw_twin_sandbox(f->place.twin), 0, all_of(f), err);
}

static int check(struct tw_fault_run *f, struct tw_err *err)
{
    (void)f, (void)err;
    return 0; /* the write of the quota is its own proof: it answers an error or holds */
}

const struct tw_fault_kind fault_kind_cpu_pressure = {
    .name = "cpu_pressure",
    .summary = "so much of its CPU is taken away",
    .unit = TW_FAULT_SHARE,
    .low = 0.01,
    .high = 0.99,
    .standard = "50%",
    .duration_s = 1,
    .begin = begin,
    .end = end,
    .check = check,
};
