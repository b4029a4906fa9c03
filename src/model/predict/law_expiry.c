#include "predict/predict_internal.h"

#include <math.h>

/* Valid until a date: nothing is estimated, the clock does it. */

static double hours_until(const struct predict_case *c, int64_t wall_ns)
{
    return (double)(wall_ns - c->limits->now_wall_ns) / (3600.0 * (double)TW_SEC_NS);
}

static void judge_one(const struct predict_case *c, const struct tw_expiry *e)
{
    struct tw_failure f = predict_failure("expiry");
    double at = hours_until(c, e->until_wall_ns);
    bool early = e->from_wall_ns > 0 && hours_until(c, e->from_wall_ns) > 0;

    if (early)
        at = 0;
    else if (e->until_wall_ns == 0)
        return;
    f.at_hours = f.low = f.high = fmax(at, 0);
    f.probability = at <= c->hours ? 1 : 0;
    f.evidence = early ? tw_arena_printf(c->arena, "%s '%s' is valid from %s on, not before",
                                         e->what, e->name,
                                         tw_iso_time(c->arena, e->from_wall_ns))
                       : tw_arena_printf(c->arena, "%s '%s' %s at %s", e->what, e->name,
                                         at < 0 ? "expired" : "expires",
                                         tw_iso_time(c->arena, e->until_wall_ns));
    predict_tell(c, &f, e->name, NAN);
}

/* Every one that expires is told, the others by the next of them. */
static void judge(const struct predict_case *c)
{
    const struct tw_expiry *next = NULL;

    for (size_t i = 0; i < c->limits->expiries.count; i++) {
        const struct tw_expiry *e = &c->limits->expiries.items[i];
        bool later = e->from_wall_ns <= c->limits->now_wall_ns &&
                     (e->until_wall_ns == 0 || hours_until(c, e->until_wall_ns) > c->hours);

        if (!later)
            judge_one(c, e);
        else if (e->until_wall_ns > 0 && (!next || e->until_wall_ns < next->until_wall_ns))
            next = e;
    }
    if (next)
        judge_one(c, next);
}

const struct predict_law predict_law_expiry = {
    .name = "expiry", .words = "certificates and passwords", .judge = judge};
