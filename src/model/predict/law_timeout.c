#include "predict/predict_internal.h"

#include <math.h>

/* Who waits longer than the time limit gives up: in overload from the moment the backlog
 * is worth it. */

static double errors(const struct tw_bin *bin)
{
    return bin->errors_per_s;
}

static void judge(const struct predict_case *c)
{
    const struct tw_bin *peak = predict_peak(c->f, errors);
    struct tw_failure f = predict_failure("timeout");

    if (isnan(c->m->timeout_s) || !peak || peak->errors_per_s <= 0)
        return;
    for (size_t i = c->f->bins.count; i-- > 0;)
        if (c->f->bins.items[i].errors_per_s > 0)
            f.at_hours = c->f->bins.items[i].from_h;
    f.probability = 1 - predict_exceeds(predict_capacity(c->m), c->m->capacity_low,
                                           c->m->capacity_high, peak->rate_per_s);
    f.evidence = tw_arena_printf(
        c->arena,
        "the wait passes the limit of %s: up to %s requests/s fail at hour %.1f",
        tw_show_seconds(c->arena, c->m->timeout_s),
        tw_show_count(c->arena, peak->errors_per_s), peak->from_h);
    predict_tell(c, &f, "time limit", NAN);
}

const struct predict_law predict_law_timeout = {.name = "timeout", .words = "time limits", .judge = judge};
