#include "calib/calib_internal.h"

#include <math.h>

/* ---- bytes per request ---- */

/* Over the open slots; NaN where none was measured. */
#define PER_REQUEST(set, field)                                                          \
    ({                                                                                   \
        double bytes_ = 0, requests_ = 0;                                                \
        for (size_t i_ = 0; i_ < (set)->open.count; i_++) {                              \
            const struct tw_slot *slot_ = (set)->open.items[i_];                         \
            if (isnan(slot_->field))                                                     \
                continue;                                                                \
            bytes_ += slot_->field;                                                      \
            requests_ += (double)slot_->done;                                            \
        }                                                                                \
        requests_ > 0 ? bytes_ / requests_ : NAN;                                        \
    })

/* ---- WAL: W(n) = w0 n + 8192 P (1 - exp(-k n / P)) since the last checkpoint ----
 * PostgreSQL logs a whole page the first time it is touched after a checkpoint; twins
 * start with one. P is known from the tables, so w0 and k (pages touched per request) are
 * left: k by search, w0 by least squares for each k, both at least 0. */

#define PAGE 8192.0

struct wal_point {
    double from, to, bytes, weight; /* requests before and after it since the start */
};

static double images(const struct wal_point *p, double pages, double touches)
{
    return PAGE * pages *
           (exp(-touches * p->from / pages) - exp(-touches * p->to / pages));
}

static double wal_miss(const struct wal_point *p, size_t n, double pages, double touches,
                       double *ret_w0)
{
    double bytes = 0, requests = 0, miss = 0;

    for (size_t i = 0; i < n; i++) {
        bytes += p[i].weight * (p[i].bytes - images(&p[i], pages, touches));
        requests += p[i].weight * (p[i].to - p[i].from);
    }
    *ret_w0 = fmax(0, bytes / requests);
    for (size_t i = 0; i < n; i++) {
        double length = p[i].to - p[i].from;
        double off = p[i].bytes - images(&p[i], pages, touches) - *ret_w0 * length;

        miss += p[i].weight * off * off / length; /* variance grows with the requests */
    }
    return miss;
}

static double times_drawn(const struct calib_set *set, const struct tw_slot *slot)
{
    double n = 0;

    for (size_t i = 0; i < set->open.count; i++)
        n += set->open.items[i] == slot;
    return n;
}

/* In the order run; what was not drawn this time keeps its place but no weight. */
static size_t wal_points(const struct calib_set *set, struct wal_point *points)
{
    size_t n = 0;
    double at = 0;

    for (size_t i = 0; i < set->all.count; i++) {
        const struct tw_slot *slot = set->all.items[i];
        bool open = slot->pair >= 0 && !slot->dropped && isfinite(slot->level);
        double weight = open ? times_drawn(set, slot) : 1, from = at;

        at += (double)slot->done;
        if (slot->done > 0 && isfinite(slot->wal_bytes) && weight > 0)
            points[n++] = (struct wal_point){from, at, slot->wal_bytes, weight};
    }
    return n;
}

#define TOUCHES_STEPS 60 /* 0.001 … 16 in steps of 18 % */

static void wal_fit(struct tw_arena *a, const struct calib_set *set, double pages,
                    struct tw_model *m)
{
    struct wal_point *points = tw_arena_alloc(a, (set->all.count + 1) * sizeof *points);
    size_t n = wal_points(set, points);
    double best = INFINITY;

    m->wal_per_request_bytes = PER_REQUEST(set, wal_bytes);
    m->wal_pages = m->wal_touches_per_request = NAN;
    if (!(pages > 0) || n < 3)
        return;
    for (int step = -1; step < TOUCHES_STEPS; step++) {
        double touches = step < 0 ? 0 : 0.001 * pow(16000, step / (TOUCHES_STEPS - 1.0)),
               w0;
        double miss = wal_miss(points, n, pages, touches, &w0);

        if (miss >= best)
            continue;
        best = miss;
        m->wal_per_request_bytes = w0;
        m->wal_touches_per_request = touches;
    }
    m->wal_pages = pages;
}

void calib_resources(struct tw_arena *a, const struct calib_set *set, double wal_pages,
                     struct tw_model *m)
{
    m->temp_bytes_per_request = PER_REQUEST(set, temp_bytes);
    m->read_bytes_per_request = PER_REQUEST(set, read_bytes);
    m->write_bytes_per_request = PER_REQUEST(set, write_bytes);
    wal_fit(a, set, wal_pages, m);
}
