#include "predict/predict_internal.h"

#include <math.h>

/* Growth of the data, WAL that a slot keeps, and WAL up to max_wal_size, which is kept
 * anyway: whichever way, the free space is arithmetic once the rates are known. */

static double known(double x)
{
    return x > 0 ? x : 0;
}

struct need {
    double fixed, per_s; /* bytes */
};

/* WAL first fills max_wal_size; how soon does not matter against the horizon unless it
 * alone is too much, which the rate of the forecast then decides. */
static double full_h(const struct predict_case *c, const struct need *n, double factor)
{
    double free_bytes = c->limits->disk_free_bytes, wal = known(c->f->wal_bytes.value);

    if (free_bytes <= n->fixed && wal > 0)
        return c->hours * free_bytes / wal;
    return n->per_s > 0 ? (free_bytes - n->fixed) / (n->per_s * factor) / 3600 : NAN;
}

static void judge_one(const struct predict_case *c)
{
    const struct tw_predict_limits *l = c->limits;
    const struct tw_estimate *wal = &c->f->wal_bytes;
    double relative_low = wal->value > 0 ? wal->low / wal->value : NAN;
    double relative_high = wal->value > 0 ? wal->high / wal->value : NAN;
    struct need n = {
        .fixed = wal->value > 0 ? fmin(known(l->max_wal_bytes), wal->value) : 0,
        .per_s = known(l->growth_bytes_per_s) + known(l->wal_kept_bytes_per_s),
    };
    double total = n.fixed + n.per_s * c->hours * 3600;
    struct tw_failure f = predict_failure("disk_full");

    if (!(l->disk_free_bytes >= 0) || !(total > 0))
        return;
    f.probability = predict_exceeds(total, total * relative_low, total * relative_high,
                                       l->disk_free_bytes);
    f.at_hours = full_h(c, &n, 1);
    f.low = full_h(c, &n, relative_high);
    f.high = full_h(c, &n, relative_low);
    f.evidence = tw_arena_printf(
        c->arena,
        "%s are free; the data grows by %s per hour, slots keep %s of WAL per hour, "
        "max_wal_size "
        "keeps %s: %s within %.0f h",
        tw_show_bytes(c->arena, l->disk_free_bytes),
        tw_show_bytes(c->arena, known(l->growth_bytes_per_s) * 3600),
        tw_show_bytes(c->arena, known(l->wal_kept_bytes_per_s) * 3600),
        tw_show_bytes(c->arena, n.fixed), tw_show_bytes(c->arena, total), c->hours);
    predict_tell(c, &f, "the disk", total / l->disk_free_bytes);
}

/* File systems one by one where they are known, each with what is written to it. */
static void judge(const struct predict_case *c)
{
    predict_fill_judge(c, "disk");
    judge_one(c);
}

const struct predict_law predict_law_disk = {
    .name = "disk", .words = "disks and inodes", .judge = judge};
