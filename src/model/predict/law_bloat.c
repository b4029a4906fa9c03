#include "predict/predict_internal.h"

#include <math.h>

/* Dead rows. They come at u a second; a vacuum begins at its threshold (looked for every
 * naptime), and reads and dirties pages at no more than its cost limit allows:
 *
 *   T = k (B + u T / r)  =>  T = k B / (1 - k u / r)
 *
 * T seconds of one round, k seconds for a page, B pages today, r rows in a page. With
 * k u / r >= 1 the table grows faster than a vacuum gets through it, and no round ever
 * ends. A table is told when dead rows outnumber live ones for good: twice the pages for
 * the same rows, and no end of it. */

#define PAGE_COST  22.0   /* vacuum_cost_page_miss + vacuum_cost_page_dirty, as they are set by default */
#define FEWEST     1000.0 /* dead rows in less than that disturb nobody */

static double known(double x)
{
    return isfinite(x) ? x : 0;
}

static double dead_per_s(const struct predict_case *c, const struct tw_vacuumed *t,
                         double per_request)
{
    double rate = c->f->throughput_per_s.value;

    return known(t->dead_per_s.value) + known(per_request) * known(rate);
}

/* Seconds of one round; infinite: never ends. */
static double round_s(const struct tw_vacuumed *t, double u)
{
    double rows_in_page = t->heap_pages > 0 ? fmax(t->rows / t->heap_pages, 1) : 100;
    double k = PAGE_COST / t->cost_per_s * (1 + t->index_pages / fmax(t->heap_pages, 1));

    if (!(t->cost_per_s > 0))
        return INFINITY;
    if (isinf(t->cost_per_s))
        return 0;
    return k * u / rows_in_page < 1 ? k * t->heap_pages / (1 - k * u / rows_in_page) : INFINITY;
}

/* Dead at once, at most: until a vacuum begins, and while it works. */
static double most_dead(const struct tw_vacuumed *t, double u)
{
    return isinf(t->threshold_rows)
               ? INFINITY
               : t->threshold_rows + u * (known(t->naptime_s) + round_s(t, u));
}

struct finding {
    double u, most, at_h;
};

/* Waiting for the threshold or the next look is how autovacuum works; a round in which more
 * dies than lives is one that does not keep up. */
static struct finding look(const struct predict_case *c, const struct tw_vacuumed *t,
                           double per_request)
{
    double bad = fmax(t->rows, FEWEST);
    struct finding x = {.u = dead_per_s(c, t, per_request), .at_h = INFINITY};

    x.most = most_dead(t, x.u);
    if (x.u > 0 && (isinf(t->threshold_rows) || x.u * round_s(t, x.u) > bad))
        x.at_h = fmax(0, bad - t->dead_rows) / x.u / 3600;
    return x;
}

static const char *evidence(const struct predict_case *c, const struct tw_vacuumed *t,
                            const struct finding *x)
{
    struct tw_arena *a = c->arena;
    double seconds = round_s(t, x->u);
    const char *vacuum =
        isinf(t->threshold_rows) ? "no vacuum ever begins"
        : isinf(seconds)
            ? tw_arena_printf(a,
                              "a vacuum may spend %.3g cost units a second, %.3g pages: less "
                              "than the table grows by",
                              t->cost_per_s, t->cost_per_s / PAGE_COST)
            : tw_arena_printf(a,
                              "a vacuum begins at %s and takes %s at %.3g cost units a second",
                              tw_show_count(a, t->threshold_rows), tw_show_seconds(a, seconds),
                              t->cost_per_s);

    return tw_arena_printf(
        a, "'%s': %s live rows, %s dead ones, %.3g more a second; %s%s", t->name,
        tw_show_count(a, t->rows), tw_show_count(a, t->dead_rows), x->u, vacuum,
        isinf(x->most) ? "" : tw_arena_printf(a, ", so up to %s are dead at once",
                                              tw_show_count(a, x->most)));
}

static void judge(const struct predict_case *c)
{
    const struct tw_vacuumed *worst = NULL;
    struct finding found = {.at_h = INFINITY};
    struct tw_failure f = predict_failure("bloat");

    for (size_t i = 0; i < c->limits->tables.count; i++) {
        const struct tw_vacuumed *t = &c->limits->tables.items[i];
        struct finding x = look(c, t, t->dead_per_request.value);

        if (x.u > 0 && (!worst || x.at_h < found.at_h)) {
            worst = t;
            found = x;
        }
    }
    if (!worst)
        return;
    f.at_hours = found.at_h;
    f.low = look(c, worst, worst->dead_per_request.high).at_h;
    f.high = look(c, worst, worst->dead_per_request.low).at_h;
    f.low = isfinite(f.low) ? f.low : f.at_hours;
    f.high = isfinite(f.high) ? f.high : (double)NAN;
    f.probability = found.at_h <= c->hours ? 1 : 0;
    f.evidence = evidence(c, worst, &found);
    predict_tell(c, &f, worst->name, fmin(found.most, 1e15) / fmax(worst->rows, FEWEST));
}

const struct predict_law predict_law_bloat = {
    .name = "bloat", .words = "dead rows", .judge = judge};
