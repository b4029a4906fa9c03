#include "trial_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define MAX_PAIRS 4096
/* Outliers beyond these log ratios count as just these: one stall must not decide. */
#define CLIP_NARROW 0.5
#define CLIP_WIDE   1.0
/* The generator was late in its own right: docs/internals/trial.md, gating. */
#define LAG_LEAST_S   1e-3
#define LAG_SHARE_P50 0.5
#define OUTLIER_TIMES 5.0
/* A median of n values scatters this much more than their mean. */
#define MEDIAN_SPREAD 1.2533
/* See calm(). */
#define CALM_LEAST    6
#define CALM_TIMES    3.0
#define CALM_FLOOR    0.01
#define MAD_TO_SD     1.4826
#define ERRORS_MATTER 0.001 /* share of requests */
#define Z_CLAIM       3.0   /* an error rate is called different from here on */
#define Z_LEVEL_90    1.6449
/* Of a slot's time: with less of it left it says nothing either way. */
#define OWN_LEAST 0.2

/* ---- one row per metric ---- */

/* The time in which the service could have worked: not that in which something of it was ready to and
 * others had its cores, on a host that is not ours alone. What it waited for itself (disk, locks,
 * clients, its own limit) stays in. */
static double own_seconds(const struct tw_slot *s)
{
    double length = tw_seconds(s->length_ns);

    return isnan(s->starved_s) ? length : fmax(length - s->starved_s, OWN_LEAST * length);
}

static double value_throughput(const struct tw_slot *s)
{
    /* Nothing answered: less than one, that is, half a request. */
    return fmax((double)s->done, 0.5) / own_seconds(s);
}

/* A slot in which nothing was answered shows at least its own length. */
static double at_least_slot(const struct tw_slot *s, double seconds)
{
    return isnan(seconds) && s->late > 0 ? tw_seconds(s->length_ns) : seconds;
}

static double value_p50(const struct tw_slot *s)
{
    return at_least_slot(s, s->p50_s);
}

static double value_p95(const struct tw_slot *s)
{
    return at_least_slot(s, s->p95_s);
}

static double value_p99(const struct tw_slot *s)
{
    return at_least_slot(s, s->p99_s);
}

static double value_mean(const struct tw_slot *s)
{
    return at_least_slot(s, s->mean_s);
}

static double per_request(const struct tw_slot *s, double total)
{
    return s->done > 0 ? total / (double)s->done : NAN;
}

static double value_cpu(const struct tw_slot *s)
{
    return per_request(s, s->cpu_s);
}

static double value_wal(const struct tw_slot *s)
{
    return per_request(s, s->wal_bytes);
}

static double value_temp(const struct tw_slot *s)
{
    return per_request(s, s->temp_bytes);
}

static const struct row {
    const char *name, *unit;
    double (*value)(const struct tw_slot *s);
    double scale; /* from the slot's unit to the row's */
    double clip;
    double
        censor_share; /* more late ones than this: only "at least" is known; NaN never */
    size_t margin;    /* offset in the margins, or NO_MARGIN */
    bool closed, higher_is_better, pooled;
} rows[TRIAL_METRIC_COUNT] = {
#define NO_MARGIN    ((size_t)-1)
#define MARGIN(name) offsetof(struct tw_trial_margins, name)
    [TRIAL_THROUGHPUT] = {"throughput_per_s", "per s", value_throughput, 1, CLIP_NARROW,
                          NAN, MARGIN(throughput), true, true, false},
    [TRIAL_P50] = {"p50_ms", "ms", value_p50, 1e3, CLIP_WIDE, 0.50, MARGIN(p50), false,
                   false, true},
    [TRIAL_P95] = {"p95_ms", "ms", value_p95, 1e3, CLIP_WIDE, 0.05, MARGIN(p95), false,
                   false, false},
    [TRIAL_P99] = {"p99_ms", "ms", value_p99, 1e3, CLIP_WIDE, 0.01, MARGIN(p99), false,
                   false, false},
    [TRIAL_MEAN] = {"mean_ms", "ms", value_mean, 1e3, CLIP_WIDE, 0.05, NO_MARGIN, false,
                    false, false},
    [TRIAL_CPU] = {"cpu_ms_per_request", "ms", value_cpu, 1e3, CLIP_NARROW, NAN,
                   NO_MARGIN, false, false, false},
    [TRIAL_WAL] = {"wal_bytes_per_request", "bytes", value_wal, 1, CLIP_WIDE, NAN,
                   NO_MARGIN, false, false, false},
    [TRIAL_TEMP] = {"temp_bytes_per_request", "bytes", value_temp, 1, CLIP_WIDE, NAN,
                    NO_MARGIN, false, false, false},
};
#define MARGIN_COUNT 4

static bool has_margin(const struct row *row)
{
    return row->margin != NO_MARGIN;
}

static double margin_of(const struct row *row, const struct tw_trial_margins *m)
{
    return *(const double *)((const char *)m + row->margin);
}

/* ---- pairs ---- */

struct pair {
    const struct tw_slot *slot[TW_ARM_COUNT];
    int number;
    bool closed, dropped;
};

static bool is_pair(const struct tw_slot *a, const struct tw_slot *b)
{
    return a->pair >= 0 && a->pair == b->pair && a->arm != b->arm;
}

/* The slots of a pair stand side by side, in either order. */
static size_t collect_pairs(const struct tw_slot *slots, size_t n, struct pair *pairs)
{
    size_t count = 0;

    for (size_t i = 0; i + 1 < n && count < MAX_PAIRS; i++) {
        struct pair *p = &pairs[count];

        if (!is_pair(&slots[i], &slots[i + 1]))
            continue;
        *p = (struct pair){.number = slots[i].pair,
                           .closed = isnan(slots[i].offered_per_s),
                           .dropped = slots[i].dropped || slots[i + 1].dropped};
        p->slot[slots[i].arm] = &slots[i];
        p->slot[slots[i + 1].arm] = &slots[i + 1];
        count++;
        i++;
    }
    return count;
}

struct pairs {
    struct pair *list; /* owned */
    size_t count;
};

static void pairs_done(struct pairs *p)
{
    tw_free_p(&p->list);
}
#define auto_pairs __attribute__((cleanup(pairs_done))) struct pairs

static struct pairs pairs_of(const struct tw_slot *slots, size_t n)
{
    struct pairs p = {tw_realloc_array(NULL, n / 2 + 1, sizeof *p.list), 0};

    p.count = collect_pairs(slots, n, p.list);
    return p;
}

/* NaN where the pair says nothing about the metric. */
static double log_ratio(double before, double after)
{
    return before > 0 && after > 0 && isfinite(before) && isfinite(after)
               ? log(after / before)
               : NAN;
}

/* Near saturation a few percent of speed are a multiple of latency, whoever's percent they are:
 * what margins are for is judged at the loads that the horizon has. Above them capacity tells. */
static bool is_beyond(const struct pair *p, const struct row *row)
{
    return !p->closed && row->margin != NO_MARGIN &&
           p->slot[TW_BASELINE]->level > TRIAL_JUDGED_LEVEL;
}

static double pair_log_ratio(const struct pair *p, const struct row *row)
{
    if (p->dropped || p->closed != row->closed || is_beyond(p, row))
        return NAN;
    return log_ratio(row->value(p->slot[TW_BASELINE]), row->value(p->slot[TW_CANDIDATE]));
}

static bool censored(const struct tw_slot *s, const struct row *row)
{
    return (double)s->late > row->censor_share * (double)(s->done + s->late);
}

/* ---- gating ---- */

static bool generator_was_late(const struct tw_slot *s)
{
    double allowed = fmax(LAG_LEAST_S, isnan(s->p50_s) ? 0 : s->p50_s * LAG_SHARE_P50);

    return s->lag99_s > allowed;
}

void trial_gate(struct tw_slot *slots, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        struct tw_slot *a = &slots[i], *b = &slots[i + 1];

        if (!is_pair(a, b) || isnan(a->offered_per_s))
            continue;
        if (!generator_was_late(a) && !generator_was_late(b))
            continue;
        a->dropped = b->dropped = true;
        a->why_dropped = b->why_dropped = "the generator sent late";
    }
}

/* ---- intervals ---- */

/* Rank k (from 1) of the order statistics that hold the median with probability 1 -
 * alpha; 0: too few values. */
static size_t median_rank(size_t n, double alpha)
{
    double tail = 0, term = exp2(-(double)n);

    for (size_t k = 0; k < n / 2; k++) {
        tail += term;
        if (2 * tail > alpha)
            return k;
        term *= (double)(n - k) / (double)(k + 1);
    }
    return n / 2;
}

/* An effect of the clip's own size: the mean of what is left by clipping is no estimate
 * any more, only a direction. Single stalls beyond the clip are what it is there for. */
static void widen_clipped(struct trial_interval *e, const double *sorted, size_t n,
                          double clip)
{
    size_t k = median_rank(n, TRIAL_ALPHA);

    e->clipped = fabs(e->value) > clip / 2;
    if (!e->clipped)
        return;
    e->low = k ? fmin(sorted[k - 1], e->value) : e->value < 0 ? -INFINITY : e->low;
    e->high = k ? fmax(sorted[n - k], e->value) : e->value > 0 ? INFINITY : e->high;
}

/* A pair that somebody else's work fell into says little, but says it loudly: on a busy host such
 * pairs would decide the width of the mean's interval. What lies beyond three standard deviations of
 * the middle of the pairs, as their median absolute deviation tells it, is brought back to there (J.
 * Tukey, winsorizing; P. Huber 1964). Effects themselves are not touched: the middle moves with
 * them. Returns how many were brought back. */
static double calm(double *x, size_t n)
{
    tw_auto_free double *sorted = tw_realloc_array(NULL, n + 1, sizeof *sorted);
    tw_auto_free double *far = tw_realloc_array(NULL, n + 1, sizeof *far);
    double middle, reach;
    size_t touched = 0;

    if (n < CALM_LEAST)
        return 0;
    memcpy(sorted, x, n * sizeof *x);
    middle = tw_median(sorted, n);
    for (size_t i = 0; i < n; i++)
        far[i] = fabs(x[i] - middle);
    reach = CALM_TIMES * fmax(MAD_TO_SD * tw_median(far, n), CALM_FLOOR);
    for (size_t i = 0; i < n; i++) {
        touched += fabs(x[i] - middle) > reach;
        x[i] = fmin(fmax(x[i], middle - reach), middle + reach);
    }
    return (double)touched;
}

/* Student's quantile, z that of the normal distribution (Abramowitz and Stegun 1964, 26.7.5, to the
 * second order). */
static double student(double z, double df)
{
    return z + (pow(z, 3) + z) / (4 * df) +
           (5 * pow(z, 5) + 16 * pow(z, 3) + 3 * z) / (96 * df * df);
}

/* The sequence pays for being looked at after every block. The one look that is known to be the last
 * has an error of its own, 5 % for each side beside the sequence's 5 %, and the interval of a mean of
 * winsorized values (J. Tukey, D. McLaughlin 1963). touched: how many of them were brought back. */
static void look_last(const double *x, size_t n, double touched, struct trial_interval *e)
{
    double mean = tw_mean(x, n), square = 0, se;

    if (n < CALM_LEAST)
        return;
    for (size_t i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean);
    se = sqrt(square / (double)(n - 1) / (double)n) * (double)n / ((double)n - touched);
    e->low = fmax(e->low, mean - student(Z_LEVEL_90, (double)n - 1) * se);
    e->high = fmin(e->high, mean + student(Z_LEVEL_90, (double)n - 1) * se);
}

static struct trial_interval interval_of(double *x, size_t n, double clip, bool last)
{
    struct trial_interval e = {.n = (int64_t)n, .value = NAN};
    struct tw_cseq one, all;
    double touched = calm(x, n);

    tw_cseq_init(&one, TRIAL_ALPHA, clip);
    tw_cseq_init(&all, TRIAL_ALPHA / MARGIN_COUNT, clip);
    for (size_t i = 0; i < n; i++) {
        tw_cseq_add(&one, x[i]);
        tw_cseq_add(&all, x[i]);
    }
    e.low_all = all.mean - tw_cseq_radius(&all);
    e.high_all = all.mean + tw_cseq_radius(&all);
    if (n == 0) {
        e.low = -INFINITY;
        e.high = INFINITY;
        return e;
    }

    e.value = tw_median(x, n); /* sorts x */
    e.low = one.mean - tw_cseq_radius(&one);
    e.high = one.mean + tw_cseq_radius(&one);
    if (last)
        look_last(x, n, touched, &e);
    e.low = fmin(e.low, e.value);
    e.high = fmax(e.high, e.value);
    widen_clipped(&e, x, n, clip);
    return e;
}

/* A few pairs that agree by chance, or at the clip, look like certainty to a variance that is learned
 * from them: harm needs as many as an order statistic does, or requests that were not answered. */
static bool may_harm(const struct trial_interval *e)
{
    return e->n >= TW_PAIRS_TO_CLAIM || e->censored > 0;
}

/* Non-inferiority is shown metric by metric: all have to hold at once, which needs no
 * correction for their number (intersection-union, R. Berger 1982). A claim of harm needs
 * only one of them, and so it does. */
static enum trial_standing stand(const struct trial_interval *e, const struct row *row,
                                 double margin)
{
    if (!has_margin(row))
        return TRIAL_UNASKED;
    if (row->higher_is_better) {
        double worst = log(1 - fmin(margin, 0.99));

        return e->low >= worst                      ? TRIAL_INSIDE
               : e->high_all < worst && may_harm(e) ? TRIAL_OUTSIDE
                                                    : TRIAL_OPEN;
    }
    return e->high <= log(1 + margin)                    ? TRIAL_INSIDE
           : e->low_all > log(1 + margin) && may_harm(e) ? TRIAL_OUTSIDE
                                                         : TRIAL_OPEN;
}

static double median_of_arm(const struct pairs *p, const struct row *row, enum tw_arm arm)
{
    tw_auto_free double *x = tw_realloc_array(NULL, p->count + 1, sizeof *x);
    size_t n = 0;

    for (size_t i = 0; i < p->count; i++) {
        double v;

        if (p->list[i].dropped || p->list[i].closed != row->closed)
            continue;
        v = row->value(p->list[i].slot[arm]);
        if (!isnan(v))
            x[n++] = v;
    }
    return tw_median(x, n);
}

/* A tail may move by so many milliseconds, whatever share of it that is. */
static double margin_here(const struct pairs *p, const struct row *row,
                          const struct tw_trial_margins *margins)
{
    double share = margin_of(row, margins), before;

    if (row->margin != MARGIN(p95) && row->margin != MARGIN(p99))
        return share;
    before = median_of_arm(p, row, TW_BASELINE) * row->scale;
    return before > 0 ? fmax(share, margins->tail_ms / before) : share;
}

static double scatter_of(const struct pairs *p, const struct row *row, double clip, int *ret_n);

/* On a busy host a handful of pairs may agree by chance, and a variance that is learned from just them is
 * then nearly nothing. How far two slots of the unchanged baseline are apart, of the same load and
 * seconds from each other, is the scatter that a pair has without any effect, and it is known besides: no
 * certain effect is smaller than what it leaves. The two pairs of a block share their neighbours, and count
 * once. */
static void heed_scatter(const struct pairs *p, const struct row *row, struct trial_interval *e)
{
    int known;
    double scatter = scatter_of(p, row, INFINITY, &known);
    double reach = student(Z_LEVEL_90, known) * scatter / sqrt(fmax((double)e->n / 2, 1));

    if (e->n == 0 || isnan(reach) || e->censored * 2 > e->n)
        return;
    e->low_all = fmin(e->low_all, e->value - reach);
    e->high_all = fmax(e->high_all, e->value + reach);
}

static struct trial_interval metric_interval(const struct pairs *p, const struct row *row,
                                             const struct tw_trial_margins *margins,
                                             bool last)
{
    tw_auto_free double *x = tw_realloc_array(NULL, p->count + 1, sizeof *x);
    struct trial_interval e;
    int64_t at_least = 0;
    size_t n = 0;

    for (size_t i = 0; i < p->count; i++) {
        double ratio = pair_log_ratio(&p->list[i], row);

        if (isnan(ratio))
            continue;
        x[n++] = ratio;
        at_least += censored(p->list[i].slot[TW_CANDIDATE], row);
    }
    e = interval_of(x, n, row->clip, last);
    e.censored = at_least;
    heed_scatter(p, row, &e);
    if (!may_harm(&e)) {
        /* too few to exclude that nothing changed */
        e.low = fmin(e.low, 0);
        e.high = fmax(e.high, 0);
    }
    e.standing = stand(&e, row, has_margin(row) ? margin_here(p, row, margins) : 0);
    return e;
}

static void count_pairs(const struct pairs *p, struct trial_analysis *ret)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct pair *pair = &p->list[i];

        if (pair->dropped) {
            ret->dropped++;
            continue;
        }
        ret->pairs++;
        *(pair->closed ? &ret->closed_pairs : &ret->open_pairs) += 1;
        for (int arm = 0; arm < TW_ARM_COUNT; arm++)
            ret->requests[arm] += pair->slot[arm]->done;
    }
}

void trial_analyse(const struct tw_slot *slots, size_t n,
                   const struct tw_trial_margins *margins, bool last,
                   struct trial_analysis *ret)
{
    auto_pairs pairs = pairs_of(slots, n);

    *ret = (struct trial_analysis){.inside = true};
    count_pairs(&pairs, ret);
    for (int m = 0; m < TRIAL_METRIC_COUNT; m++) {
        ret->metric[m] = metric_interval(&pairs, &rows[m], margins, last);
        ret->inside = ret->inside && (ret->metric[m].standing == TRIAL_INSIDE ||
                                      ret->metric[m].standing == TRIAL_UNASKED);
        ret->outside = ret->outside || ret->metric[m].standing == TRIAL_OUTSIDE;
    }
}

/* ---- noise floor: baseline against baseline ---- */

static bool alike(const struct pair *a, const struct pair *b)
{
    return !b->dropped && a->closed == b->closed &&
           (a->closed || a->slot[TW_BASELINE]->level == b->slot[TW_BASELINE]->level);
}

/* The next pair of the same load: that of the same block, unless it was dropped. */
static size_t partner(const struct pairs *p, size_t of)
{
    size_t i = of + 1;

    while (i < p->count && !alike(&p->list[of], &p->list[i]))
        i++;
    return i;
}

static double baseline_log_ratio(const struct pair *a, const struct pair *b,
                                 const struct row *row)
{
    return log_ratio(row->value(a->slot[TW_BASELINE]), row->value(b->slot[TW_BASELINE]));
}

static double scatter_of(const struct pairs *p, const struct row *row, double clip, int *ret_n)
{
    tw_auto_free bool *used = tw_alloc(p->count + 1);
    double sum = 0;
    int n = 0;

    for (size_t i = 0; i < p->count; i++) {
        size_t k = p->list[i].dropped || used[i] ? p->count : partner(p, i);
        double d;

        if (k == p->count || p->list[i].closed != row->closed)
            continue;
        used[k] = true; /* each slot once */
        d = baseline_log_ratio(&p->list[i], &p->list[k], row);
        if (isnan(d))
            continue;
        d = fmin(fabs(d), clip);
        sum += d * d;
        n++;
    }
    *ret_n = n;
    return n >= 2 ? sqrt(sum / n) : NAN;
}

static double floor_of(const struct pairs *p, const struct row *row)
{
    int n;

    return scatter_of(p, row, row->clip, &n);
}

double trial_noise_floor(const struct tw_slot *slots, size_t n, enum trial_metric metric)
{
    auto_pairs pairs = pairs_of(slots, n);

    return floor_of(&pairs, &rows[metric]);
}

double trial_outliers(const struct tw_slot *slots, size_t n, enum tw_arm arm)
{
    tw_auto_free double *x = tw_realloc_array(NULL, n + 1, sizeof *x);
    double outliers = 0;

    for (size_t i = 0; i < n; i++) {
        const struct tw_slot *s = &slots[i];
        size_t same = 0;

        if (s->arm != arm || s->pair < 0 || s->dropped || isnan(s->level) ||
            isnan(s->p99_s))
            continue;
        for (size_t k = 0; k < n; k++)
            if (slots[k].arm == arm && slots[k].level == s->level && !slots[k].dropped &&
                !isnan(slots[k].p99_s))
                x[same++] = slots[k].p99_s;
        outliers += s->p99_s > OUTLIER_TIMES * tw_median(x, same);
    }
    return outliers;
}

/* ---- effects ---- */

/* Log ratio of the medians of all requests at one level, interleaved and pooled; weight:
 * pairs. */
static double pooled_level(const struct pairs *p, double level, int *ret_pairs)
{
    tw_auto(tw_hist) *before = tw_hist_new();
    tw_auto(tw_hist) *after = tw_hist_new();

    *ret_pairs = 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct tw_slot *const *slot = p->list[i].slot;

        if (p->list[i].dropped || p->list[i].closed ||
            slot[TW_BASELINE]->level != level || !slot[TW_BASELINE]->latency ||
            !slot[TW_CANDIDATE]->latency)
            continue;
        tw_hist_merge(before, slot[TW_BASELINE]->latency);
        tw_hist_merge(after, slot[TW_CANDIDATE]->latency);
        ++*ret_pairs;
    }
    return log_ratio(tw_hist_quantile(before, 0.5), tw_hist_quantile(after, 0.5));
}

/* The steadiest estimate of the p50 (docs/internals/trial.md): levels weighted by their pairs, of the loads at
 * which the pairs are judged. */
static double pooled_p50(const struct pairs *p)
{
    double sum = 0, seen[64];
    int weight = 0, levels = 0;

    for (size_t i = 0; i < p->count && levels < (int)TW_COUNT_OF(seen); i++) {
        double level = p->list[i].slot[TW_BASELINE]->level, ratio;
        bool known = isnan(level) || level > TRIAL_JUDGED_LEVEL;
        int n;

        for (int k = 0; k < levels; k++)
            known = known || seen[k] == level;
        if (known)
            continue;
        seen[levels++] = level;
        ratio = pooled_level(p, level, &n);
        if (isnan(ratio))
            continue;
        sum += n * ratio;
        weight += n;
    }
    return weight ? sum / weight : NAN;
}

static const char *verdict_of(struct tw_arena *a, const struct trial_interval *e,
                              const struct row *row, double effect)
{
    double edge = log(1 + effect);
    bool up = e->low_all > edge, down = e->high_all < -edge;

    if (e->censored * 2 > e->n && up && !row->higher_is_better)
        return tw_arena_printf(a, "at least %.3g times", exp(e->value));
    if (up || down)
        return up == row->higher_is_better ? "better" : "worse";
    return e->low >= -edge && e->high <= edge ? "equivalent" : "inconclusive";
}

static struct tw_estimate ratio_of(const struct trial_interval *e, const struct row *row)
{
    struct tw_estimate r = {exp(e->value), exp(e->low),
                            exp(e->high),  1 - TRIAL_ALPHA,
                            e->n,          "pair median, confidence sequence"};

    if (row->pooled)
        r.method = "pooled interleaved, confidence sequence of pairs";
    if (e->clipped)
        r.method = "pair median, order statistics";
    if (e->n == 0)
        return tw_unknown;
    return r;
}

static struct tw_effect effect_of(struct tw_arena *a, const struct pairs *p,
                                  enum trial_metric metric,
                                  const struct tw_trial_margins *margins, bool last)
{
    const struct row *row = &rows[metric];
    struct trial_interval e = metric_interval(p, row, margins, last);
    double pooled = row->pooled ? pooled_p50(p) : NAN;
    struct tw_effect effect = {.metric = row->name,
                               .unit = row->unit,
                               .higher_is_better = row->higher_is_better,
                               .noise_floor = MEDIAN_SPREAD * floor_of(p, row) /
                                              sqrt(fmax((double)e.n, 1))};

    /* a few long slots of another's work weigh by their requests here, and by one in the pairs */
    if (!isnan(pooled))
        e.value = fmin(fmax(pooled, e.low), e.high);
    if (row->margin == MARGIN(p95) || row->margin == MARGIN(p99))
        effect.tail_share = margin_here(p, row, margins);
    effect.ratio = ratio_of(&e, row);
    effect.before = median_of_arm(p, row, TW_BASELINE) * row->scale;
    effect.after = effect.before * effect.ratio.value;
    effect.verdict = verdict_of(a, &e, row, margins->effect);
    return effect;
}

/* Where slots carry no figure, the totals of the whole trial give a ratio without an
 * interval. */
static void from_totals(struct tw_effect *effect, const double bytes[TW_ARM_COUNT],
                        const int64_t answered[TW_ARM_COUNT])
{
    double per[TW_ARM_COUNT];

    if (effect->ratio.n > 0)
        return;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        per[arm] = answered[arm] > 0 ? bytes[arm] / (double)answered[arm] : NAN;
    effect->before = per[TW_BASELINE];
    effect->after = per[TW_CANDIDATE];
    effect->verdict =
        per[TW_BASELINE] == 0 && per[TW_CANDIDATE] == 0 ? "equivalent" : "inconclusive";
    if (per[TW_BASELINE] > 0 && per[TW_CANDIDATE] > 0)
        effect->ratio = (struct tw_estimate){per[TW_CANDIDATE] / per[TW_BASELINE],
                                             NAN,
                                             NAN,
                                             NAN,
                                             1,
                                             "totals of the trial"};
}

static const char *errors_verdict(double log_value, double se,
                                  const double share[TW_ARM_COUNT])
{
    double difference = share[TW_CANDIDATE] - share[TW_BASELINE];

    if (fmax(share[TW_BASELINE], share[TW_CANDIDATE]) < ERRORS_MATTER)
        return "equivalent";
    if (fabs(log_value) > Z_CLAIM * se && fabs(difference) >= ERRORS_MATTER)
        return difference > 0 ? "worse" : "better";
    return "inconclusive";
}

/* Counts of failed requests; the ratio is that of two Poisson rates, half a count added
 * to each. */
static struct tw_effect errors_effect(const struct pairs *p)
{
    struct tw_effect effect = {.metric = "errors_share",
                               .unit = "share",
                               .ratio = tw_unknown,
                               .noise_floor = NAN};
    double errors[TW_ARM_COUNT] = {0}, sent[TW_ARM_COUNT] = {0}, share[TW_ARM_COUNT];
    double value, se;

    for (size_t i = 0; i < p->count; i++)
        for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
            const struct tw_slot *s = p->list[i].slot[arm];

            errors[arm] += (double)s->errors;
            sent[arm] += (double)(s->done + s->errors);
        }
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        share[arm] = sent[arm] > 0 ? errors[arm] / sent[arm] : NAN;
    effect.before = share[TW_BASELINE];
    effect.after = share[TW_CANDIDATE];
    if (!(errors[TW_BASELINE] + errors[TW_CANDIDATE] > 0)) {
        effect.verdict = isnan(share[TW_BASELINE] + share[TW_CANDIDATE]) ? "inconclusive"
                                                                         : "equivalent";
        return effect;
    }
    value = log((errors[TW_CANDIDATE] + 0.5) / (sent[TW_CANDIDATE] + 1)) -
            log((errors[TW_BASELINE] + 0.5) / (sent[TW_BASELINE] + 1));
    se = sqrt(1 / (errors[TW_CANDIDATE] + 0.5) + 1 / (errors[TW_BASELINE] + 0.5));
    effect.ratio = (struct tw_estimate){exp(value),
                                        exp(value - Z_LEVEL_90 * se),
                                        exp(value + Z_LEVEL_90 * se),
                                        0.9,
                                        (int64_t)(sent[TW_BASELINE] + sent[TW_CANDIDATE]),
                                        "ratio of error rates, Poisson"};
    effect.verdict = errors_verdict(value, se, share);
    return effect;
}

void trial_effects(struct tw_arena *a, const struct tw_slot *slots, size_t n,
                   const struct tw_trial_margins *margins, bool last,
                   const struct trial_totals *totals, struct tw_trial_result *ret)
{
    auto_pairs pairs = pairs_of(slots, n);

    for (int m = 0; m < TRIAL_METRIC_COUNT; m++) {
        struct tw_effect effect =
            effect_of(a, &pairs, (enum trial_metric)m, margins, last);

        if (totals && m == TRIAL_WAL)
            from_totals(&effect, totals->wal_bytes, totals->answered);
        if (totals && m == TRIAL_TEMP)
            from_totals(&effect, totals->temp_bytes, totals->answered);
        TW_PUSH(a, &ret->effects, effect);
    }
    TW_PUSH(a, &ret->effects, errors_effect(&pairs));
}
