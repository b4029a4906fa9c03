#include "predict/predict_internal.h"

#include <math.h>

/* max_connections less the reserved ones: what is used now, what the load needs at its
 * peak, and a leak that uses up the rest (PREDICTION.md §7: l per second, (max - reserved
 * - used) / l). */

static double known(double x)
{
    return x > 0 ? x : 0;
}

static double needed(const struct tw_bin *bin)
{
    return bin->connections;
}

static bool judge(const struct predict_case *c, struct tw_failure *ret)
{
    const struct tw_predict_limits *l = c->limits;
    const struct tw_estimate *peak = &c->f->connections;
    double room = l->max_connections - known(l->reserved_connections), leak_h;
    const struct tw_bin *busiest = predict_peak(c->f, needed);

    if (isnan(room))
        return false;
    if (l->connections_used > room) {
        ret->at_hours = ret->low = ret->high = 0;
        ret->probability = 1;
        ret->evidence = tw_arena_printf(
            c->arena,
            "%.0f connections are in use, %.0f of %.0f are left after the reserved ones",
            l->connections_used, room, l->max_connections);
        return true;
    }
    leak_h = l->connection_growth_per_s > 0
                 ? (room - known(l->connections_used)) / l->connection_growth_per_s / 3600
                 : INFINITY;
    if (leak_h <= c->hours) {
        ret->at_hours = leak_h;
        ret->probability = 1;
        ret->evidence =
            tw_arena_printf(c->arena,
                            "connections grow by %.3g per hour; %.0f of %.0f are in use, "
                            "so the last of the %.0f "
                            "that are not reserved is taken at hour %.1f",
                            l->connection_growth_per_s * 3600, known(l->connections_used),
                            l->max_connections, room, leak_h);
        return true;
    }
    if (!busiest || !(peak->value > 0))
        return false;
    ret->at_hours = busiest->from_h;
    ret->probability = predict_exceeds(peak->value, peak->low, peak->high, room + 0.5);
    ret->evidence = tw_arena_printf(
        c->arena,
        "the load needs %.0f connections at once at hour %.1f, %.0f are not reserved",
        peak->value, busiest->from_h, room);
    return true;
}

const struct predict_law predict_law_connections = {.name = "connections",
                                                    .judge = judge};
