#include "predict/predict_internal.h"

#include <math.h>

/* Transaction ids and multixacts. At freeze_max_age the server forces a vacuum, whether
 * autovacuum is on or off; it makes the oldest id young again, unless something holds it
 * (a slot, a prepared or an old transaction), or reading all pages takes it longer than the
 * ids that are left last. Writes stop 3 million ids before 2^31 are used (PostgreSQL
 * documentation, "Preventing Transaction ID Wraparound Failures"). */

/* How much older ids get while a forced vacuum reads everything: ids taken meanwhile. */
static double taken_by_vacuum(const struct predict_case *c, double per_s)
{
    double pages = c->limits->table_pages, speed = c->limits->vacuum_pages_per_s;

    return pages > 0 && speed > 0 ? per_s * pages / speed : 0;
}

static const char *why(const struct predict_case *c, double oldest, double per_s)
{
    struct tw_arena *a = c->arena;

    if (c->limits->xmin_holder)
        return tw_arena_printf(a, "%s holds back every vacuum at an age of %s",
                               c->limits->xmin_holder,
                               tw_show_count(a, c->limits->xmin_holder_age));
    return tw_arena_printf(
        a,
        "a forced vacuum reads %s pages at %.3g a second, in which %s ids are taken: the "
        "oldest gets %s old",
        tw_show_count(a, c->limits->table_pages), c->limits->vacuum_pages_per_s,
        tw_show_count(a, taken_by_vacuum(c, per_s)), tw_show_count(a, oldest));
}

static void judge_one(const struct predict_case *c, const struct tw_stock *s, double forced_at)
{
    struct tw_stock held = *s;
    struct tw_failure f = predict_failure(s->kind ? s->kind : "xid");
    struct predict_fill fill;
    double per_s, oldest;

    predict_fill(c, s, &fill);
    per_s = fill.within / (c->hours * 3600);
    oldest = fmax(s->used, forced_at) + taken_by_vacuum(c, per_s);
    f.at_hours = fill.at_h;
    f.low = fill.low_h;
    f.high = isfinite(fill.high_h) ? fill.high_h : (double)NAN;
    if (c->limits->xmin_holder || !(oldest < s->limit))
        f.probability = fill.probability;
    else
        f.at_hours = INFINITY; /* made young again in time */
    f.evidence = tw_arena_printf(
        c->arena,
        "'%s': the oldest id is %s old, writes stop at %s; %.3g are taken a second, so that is "
        "in %s; %s",
        held.name, tw_show_count(c->arena, s->used), tw_show_count(c->arena, s->limit), per_s,
        tw_show_seconds(c->arena, fill.at_h * 3600), why(c, oldest, per_s));
    predict_tell(c, &f, s->name, fmin(oldest, s->used + fill.within) / s->limit);
}

static void judge(const struct predict_case *c)
{
    for (size_t i = 0; i < c->limits->stocks.count; i++) {
        const struct tw_stock *s = &c->limits->stocks.items[i];

        if (tw_streq(s->law, "xid") && s->limit > 0 && s->used >= 0)
            judge_one(c, s, c->limits->freeze_max_age[tw_streq(s->kind, "mxid")]);
    }
}

const struct predict_law predict_law_xid = {
    .name = "xid", .words = "transaction ids", .judge = judge};
