#include "calib/calib_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const double calib_q[CALIB_QUANTILES] = {0.5, 0.95, 0.99};

/* Levels nearer than this are one: they are shares of a capacity that was itself
 * measured. */
#define LEVEL_TOLERANCE 0.02

double calib_median_known(double *x, size_t n)
{
    size_t known = 0;

    tw_sort(x, n);
    while (known < n && !isnan(x[known]))
        known++;
    return tw_median(x, known);
}

double calib_slot_quantile(const struct tw_slot *slot, size_t j)
{
    const double given[CALIB_QUANTILES] = {slot->p50_s, slot->p95_s, slot->p99_s};

    if (isfinite(given[j]) || !slot->latency)
        return given[j];
    return tw_hist_quantile(slot->latency, calib_q[j]);
}

/* ---- telling slots apart ---- */

static int by_start(const void *pa, const void *pb)
{
    const struct tw_slot *a = *(const struct tw_slot *const *)pa;
    const struct tw_slot *b = *(const struct tw_slot *const *)pb;

    return (a->start_ns > b->start_ns) - (a->start_ns < b->start_ns);
}

static int by_level(const void *pa, const void *pb)
{
    const struct tw_slot *a = *(const struct tw_slot *const *)pa;
    const struct tw_slot *b = *(const struct tw_slot *const *)pb;

    if (a->level > b->level || a->level < b->level)
        return a->level > b->level ? 1 : -1;
    return by_start(pa, pb);
}

static bool is_closed(const struct tw_slot *slot)
{
    return isnan(slot->level) && slot->done > 0 && slot->length_ns > 0;
}

static bool is_open(const struct tw_slot *slot)
{
    return slot->pair >= 0 && !slot->dropped && isfinite(slot->level) && slot->done > 0 &&
           slot->length_ns > 0;
}

static struct calib_slots pick(struct tw_arena *a, const struct calib_slots *from,
                               bool (*wanted)(const struct tw_slot *))
{
    struct calib_slots to = {
        .items = tw_arena_alloc(a, (from->count + 1) * sizeof(const struct tw_slot *))};

    for (size_t i = 0; i < from->count; i++)
        if (wanted(from->items[i]))
            to.items[to.count++] = from->items[i];
    return to;
}

/* Cuts the open slots, sorted by level, into runs. One row of the model is kept for
 * saturation. */
static void cut_levels(struct calib_set *set)
{
    set->level_count = 0;
    for (size_t i = 0; i < set->open.count; i++) {
        const struct tw_slot *slot = set->open.items[i];
        struct calib_level *last =
            set->level_count ? &set->level[set->level_count - 1] : NULL;

        if (last && (slot->level - last->slots.items[0]->level < LEVEL_TOLERANCE ||
                     set->level_count == TW_MODEL_LEVELS - 1)) {
            last->slots.count++;
            continue;
        }
        set->level[set->level_count++] =
            (struct calib_level){.slots = {&set->open.items[i], 1}};
    }
}

int calib_set_make(struct tw_arena *a, const struct tw_slot *slots, size_t n,
                   enum tw_arm arm, struct calib_set *ret, struct tw_err *err)
{
    *ret = (struct calib_set){.noise = NAN};
    ret->all.items = tw_arena_alloc(a, (n + 1) * sizeof(const struct tw_slot *));
    for (size_t i = 0; i < n; i++)
        if (slots[i].arm == arm)
            ret->all.items[ret->all.count++] = &slots[i];
    qsort(ret->all.items, ret->all.count, sizeof *ret->all.items, by_start);
    ret->closed = pick(a, &ret->all, is_closed);
    ret->open = pick(a, &ret->all, is_open);
    if (ret->open.count == 0)
        return tw_fail(
            err, -ENODATA,
            "the %s has no slot with answers under open load: %zu slots were run, "
            "at least one that was not dropped is needed",
            tw_arm_names[arm], ret->all.count);
    qsort(ret->open.items, ret->open.count, sizeof *ret->open.items, by_level);
    cut_levels(ret);
    return 0;
}

void calib_set_redraw(struct tw_arena *a, struct calib_set *set, struct tw_rng *rng)
{
    const struct tw_slot **drawn =
        tw_arena_alloc(a, set->open.count * sizeof(const struct tw_slot *));
    size_t at = 0;

    for (size_t l = 0; l < set->level_count; l++) {
        struct calib_slots *from = &set->level[l].slots;

        for (size_t i = 0; i < from->count; i++)
            drawn[at + i] = from->items[tw_rng_below(rng, from->count)];
        from->items = drawn + at;
        at += from->count;
    }
    set->open.items = drawn;
}

/* ---- what a level knows ---- */

static double rate_of(const struct tw_slot *slot)
{
    if (isfinite(slot->offered_per_s))
        return slot->offered_per_s;
    return (double)slot->sent / tw_seconds(slot->length_ns);
}

static double throughput_of(const struct tw_slot *slot)
{
    return (double)slot->done / tw_seconds(slot->length_ns);
}

static double demand_of(const struct tw_slot *slot)
{
    return slot->cpu_s > 0 ? slot->cpu_s / (double)slot->done : NAN;
}

static double median_over(const struct calib_slots *slots, double *work,
                          double (*value)(const struct tw_slot *))
{
    for (size_t i = 0; i < slots->count; i++)
        work[i] = value(slots->items[i]);
    return calib_median_known(work, slots->count);
}

static void level_fill(struct calib_level *l, double *work)
{
    l->rate_per_s = median_over(&l->slots, work, rate_of);
    l->throughput_per_s = median_over(&l->slots, work, throughput_of);
    l->demand_s = median_over(&l->slots, work, demand_of);
    l->requests = 0;
    for (size_t i = 0; i < l->slots.count; i++)
        l->requests += l->slots.items[i]->done;
    for (size_t j = 0; j < CALIB_QUANTILES; j++) {
        for (size_t i = 0; i < l->slots.count; i++)
            work[i] = calib_slot_quantile(l->slots.items[i], j);
        l->q[j] = calib_median_known(work, l->slots.count);
    }
}

/* Latency does not fall with load: what says otherwise is noise. */
static void quantiles_ascend(struct calib_set *set, size_t j)
{
    double y[TW_MODEL_LEVELS], w[TW_MODEL_LEVELS];
    size_t at[TW_MODEL_LEVELS], known = 0;

    for (size_t l = 0; l < set->level_count; l++) {
        if (!(set->level[l].q[j] > 0))
            continue;
        at[known] = l;
        y[known] = log(set->level[l].q[j]);
        w[known++] = (double)set->level[l].requests;
    }
    tw_pava(y, w, known);
    for (size_t k = 0; k < known; k++)
        set->level[at[k]].q[j] = exp(y[k]);
}

/* How much one slot differs from another of its level: pooled, by demand where it is
 * known. */
static double slot_noise(const struct calib_set *set,
                         double (*value)(const struct tw_slot *))
{
    double squares = 0, freedom = 0;

    for (size_t l = 0; l < set->level_count; l++) {
        const struct calib_slots *slots = &set->level[l].slots;
        double sum = 0, sum2 = 0, n = 0;

        for (size_t i = 0; i < slots->count; i++) {
            double y = log(value(slots->items[i]));

            if (!isfinite(y))
                continue;
            sum += y;
            sum2 += y * y;
            n++;
        }
        if (n < 2)
            continue;
        squares += fmax(0, sum2 - sum * sum / n);
        freedom += n - 1;
    }
    return freedom > 0 ? sqrt(squares / freedom) : NAN;
}

void calib_levels_fill(struct tw_arena *a, struct calib_set *set)
{
    double *work = tw_arena_alloc(a, (set->open.count + 1) * sizeof *work);

    for (size_t l = 0; l < set->level_count; l++)
        level_fill(&set->level[l], work);
    for (size_t j = 0; j < CALIB_QUANTILES; j++)
        quantiles_ascend(set, j);
    set->noise = slot_noise(set, demand_of);
    if (isnan(set->noise))
        set->noise = slot_noise(set, throughput_of);
}

/* Mean log p50 of the first against the second half of each level's slots, by time. The
 * variance of a half's mean is half of that of the difference. */
double calib_drift(struct tw_arena *a, const struct calib_set *set)
{
    double *y = tw_arena_alloc(a, (set->open.count + 1) * sizeof *y), squares = 0, n = 0;

    for (size_t l = 0; l < set->level_count; l++) {
        const struct calib_slots *slots = &set->level[l].slots;
        size_t known = 0, half;
        double d;

        for (size_t i = 0; i < slots->count; i++) {
            double q = calib_slot_quantile(slots->items[i], 0);

            if (q > 0)
                y[known++] = log(q);
        }
        half = known / 2;
        if (half == 0)
            continue;
        d = tw_mean(y, half) - tw_mean(y + known - half, half);
        squares += d * d;
        n++;
    }
    return n > 0 ? sqrt(squares / n / 2) : NAN;
}
