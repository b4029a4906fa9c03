#include "predict/predict_internal.h"

#include <math.h>

/* max_connections less the reserved ones: what is used or asked for, what the load needs at
 * its peak, and a leak that uses up the rest (docs/internals/laws.md: l per second, (max -
 * reserved - used) / l). */

static double known(double x)
{
    return x > 0 ? x : 0;
}

static double needed(const struct tw_bin *bin)
{
    return bin->connections;
}

static void tell(const struct predict_case *c, struct tw_failure *f, double share)
{
    predict_tell(c, f, "max_connections", share);
}

/* Taken and never given back: the rest lasts until they are all taken. */
static bool leaks(const struct predict_case *c, double room, struct tw_failure *f)
{
    const struct tw_predict_limits *l = c->limits;
    double left = room - known(l->connections_used), rate = l->connection_growth_per_s;
    double low = l->connection_growth_low > 0 ? l->connection_growth_low : rate;
    double high = l->connection_growth_high > 0 ? l->connection_growth_high : rate;
    double total = rate * c->hours * 3600;

    if (!(rate > 0))
        return false;
    f->at_hours = left / rate / 3600;
    f->low = left / high / 3600;
    f->high = left / low / 3600;
    f->probability = predict_exceeds(total, low * c->hours * 3600, high * c->hours * 3600, left);
    f->evidence = tw_arena_printf(
        c->arena,
        "connections grow by %.3g per hour (90 %%: %.3g to %.3g); %.0f of %.0f are in use, "
        "so the last of the %.0f that are not reserved is taken at hour %.3g",
        rate * 3600, low * 3600, high * 3600, known(l->connections_used), l->max_connections,
        room, f->at_hours);
    return true;
}

/* What somebody says is asked for at once: pool times instances, or the clients of the load. */
static bool asked_for(const struct predict_case *c, double room, struct tw_failure *f)
{
    double asked = fmax(known(c->limits->connections_asked), known(c->limits->connections_used));

    if (!(asked > room))
        return false;
    f->at_hours = f->low = f->high = 0;
    f->probability = 1;
    f->evidence = tw_arena_printf(
        c->arena,
        asked > known(c->limits->connections_used)
            ? "%.0f connections are asked for at once, %.0f of %.0f are left after the reserved ones"
            : "%.0f connections are in use, %.0f of %.0f are left after the reserved ones",
        asked, room, c->limits->max_connections);
    return true;
}

static void needed_by_load(const struct predict_case *c, double room, struct tw_failure *f)
{
    const struct tw_estimate *peak = &c->f->connections;
    const struct tw_bin *busiest = predict_peak(c->f, needed);

    if (!busiest || !(peak->value > 0))
        return;
    f->at_hours = busiest->from_h;
    f->probability = predict_exceeds(peak->value, peak->low, peak->high, room + 0.5);
    f->evidence = tw_arena_printf(
        c->arena,
        "the load needs %.0f connections at once at hour %.1f, %.0f are not reserved",
        peak->value, busiest->from_h, room);
    tell(c, f, peak->value / room);
}

static void judge(const struct predict_case *c)
{
    const struct tw_predict_limits *l = c->limits;
    double room = l->max_connections - known(l->reserved_connections);
    struct tw_failure f = predict_failure("connections");

    predict_fill_judge(c, "connections"); /* limits of roles and databases */
    if (isnan(room))
        return;
    if (asked_for(c, room, &f))
        tell(c, &f, 1);
    else if (leaks(c, room, &f) && f.probability >= c->threshold)
        tell(c, &f, 1);
    else
        needed_by_load(c, room, &f);
}

const struct predict_law predict_law_connections = {
    .name = "connections", .words = "connections", .judge = judge};
