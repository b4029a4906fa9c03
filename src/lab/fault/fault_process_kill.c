/* The service is killed and started again as its supervisor would: what does recovery cost? */
#include "fault_internal.h"

#define START_NS (20 * TW_SEC_NS)
#define AGAIN_NS (100 * TW_MSEC_NS) /* as systemd's RestartSec */

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    f->how = "SIGKILL";
    return tw_twin_kill(f->place.twin, err);
}

/* What its children still hold makes a first start fail; so does its supervisor try again. */
static int end(struct tw_fault_run *f, struct tw_err *err)
{
    int64_t deadline = tw_now_ns() + START_NS;
    struct tw_started started = {0};
    int r = 0;

    while (r == 0 && !tw_twin_running(f->place.twin) && tw_now_ns() < deadline) {
        r = tw_twin_start(f->place.twin, TW_START_LOAD, deadline, &started, err);
        if (r == 0 && !started.ready)
            tw_sleep_ns(AGAIN_NS);
    }
    return r;
}

static int check(struct tw_fault_run *f, struct tw_err *err)
{
    return tw_twin_running(f->place.twin)
               ? 0
               : tw_fail(err, -EBUSY, "the service does not start again after it was killed");
}

const struct tw_fault_kind fault_kind_process_kill = {
    .name = "process_kill",
    .summary = "the service is killed, and started again at the end",
    .unit = TW_FAULT_NONE,
    .duration_s = 0.1,
    .outage = true,
    .begin = begin,
    .end = end,
    .check = check,
};
