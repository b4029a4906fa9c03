#include "trial/trial_internal.h"

#include <criterion/criterion.h>
#include <math.h>

#define MOST 256

/* A world with a known effect: every slot of a pair shares the weather of its moment, and
 * has some of its own. */
struct world {
    double effect[TRIAL_METRIC_COUNT]; /* planted log ratio */
    double weather, own;               /* sd of log */
    int open_pairs, closed_pairs;
    uint64_t seed;
};

static const struct tw_trial_margins margins = {0.10, 0.25, 0.50, 0.50, 0.05, 0};
static struct tw_slot slots[MOST];

static struct tw_slot open_slot(struct tw_rng *rng, const struct world *w, double weather,
                                enum tw_arm arm)
{
    double times = weather + w->own * tw_rng_normal(rng);
    const double *e = w->effect;
    double on = arm == TW_CANDIDATE;

    return (struct tw_slot){.arm = arm,
                            .level = 0.55,
                            .length_ns = 60 * TW_MSEC_NS,
                            .offered_per_s = 4000,
                            .done = 240,
                            .p50_s = 0.5e-3 * exp(times / 2 + on * e[TRIAL_P50]),
                            .p95_s = 2e-3 * exp(times + on * e[TRIAL_P95]),
                            .p99_s = 4e-3 * exp(1.5 * times + on * e[TRIAL_P99]),
                            .mean_s = 0.7e-3 * exp(times + on * e[TRIAL_MEAN]),
                            .lag99_s = 0.07e-3,
                            .cpu_s = 240 * 0.2e-3 * exp(times / 3 + on * e[TRIAL_CPU]),
                            .wal_bytes = NAN,
                            .temp_bytes = 0};
}

static struct tw_slot closed_slot(struct tw_rng *rng, const struct world *w,
                                  double weather, enum tw_arm arm)
{
    double log_rate = log(8000) - weather / 3 + w->own / 3 * tw_rng_normal(rng) +
                      (arm == TW_CANDIDATE ? w->effect[TRIAL_THROUGHPUT] : 0);

    return (struct tw_slot){.arm = arm,
                            .level = NAN,
                            .length_ns = 60 * TW_MSEC_NS,
                            .offered_per_s = NAN,
                            .done = (int64_t)(0.06 * exp(log_rate)),
                            .p50_s = NAN,
                            .p95_s = NAN,
                            .p99_s = NAN,
                            .mean_s = NAN,
                            .lag99_s = NAN,
                            .cpu_s = NAN,
                            .wal_bytes = NAN,
                            .temp_bytes = NAN};
}

static size_t make(const struct world *w)
{
    struct tw_rng rng;
    size_t n = 0;

    tw_rng_seed(&rng, w->seed, 0);
    for (int pair = 0; pair < w->open_pairs + w->closed_pairs; pair++) {
        double weather = w->weather * tw_rng_normal(&rng);

        for (int k = 0; k < TW_ARM_COUNT; k++) {
            enum tw_arm arm = (enum tw_arm)((k + pair) % TW_ARM_COUNT);

            slots[n] = pair < w->open_pairs ? open_slot(&rng, w, weather, arm)
                                            : closed_slot(&rng, w, weather, arm);
            slots[n++].pair = pair;
        }
    }
    return n;
}

static struct world no_op(uint64_t seed)
{
    return (struct world){
        .weather = 0.3, .own = 0.08, .open_pairs = 12, .closed_pairs = 8, .seed = seed};
}

static const struct tw_effect *find(const struct tw_trial_result *r, const char *metric)
{
    for (size_t i = 0; i < r->effects.count; i++)
        if (tw_streq(r->effects.items[i].metric, metric))
            return &r->effects.items[i];
    return NULL;
}

static bool claims(const struct tw_effect *e)
{
    return tw_streq(e->verdict, "worse") || tw_streq(e->verdict, "better");
}

Test(trial_analyse, no_ops_are_not_called_an_effect)
{
    int called = 0, outside = 0;

    for (uint64_t seed = 1; seed <= 200; seed++) {
        const struct world w = no_op(seed);
        size_t n = make(&w);
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_trial_result result = {0};
        struct trial_analysis an;
        bool any = false;

        trial_analyse(slots, n, &margins, false, &an);
        trial_effects(a, slots, n, &margins, false, NULL, &result);
        for (size_t i = 0; i < result.effects.count; i++)
            any = any || claims(&result.effects.items[i]);
        called += any;
        outside += an.outside;
    }
    cr_expect_leq(called, 2, "%d of 200 no-ops were called an effect", called);
    cr_expect_eq(outside, 0);
}

Test(trial_analyse, no_ops_are_shown_to_be_within_the_margins)
{
    int inside = 0;

    for (uint64_t seed = 1; seed <= 100; seed++) {
        const struct world w = no_op(seed);
        struct trial_analysis an;

        trial_analyse(slots, make(&w), &margins, false, &an);
        inside += an.inside;
    }
    cr_expect_geq(inside, 85, "%d of 100", inside);
}

Test(trial_analyse, intervals_hold_the_planted_effect)
{
    int held = 0, looks = 0;

    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct world w = no_op(seed);

        w.effect[TRIAL_P50] = log(1.3);
        w.effect[TRIAL_P95] = log(0.6);
        for (int pairs = 4; pairs <= 24; pairs += 4) { /* looked at after every block */
            struct trial_analysis an;

            w.open_pairs = pairs;
            trial_analyse(slots, make(&w), &margins, false, &an);
            for (int m = TRIAL_P50; m <= TRIAL_P95; m++) {
                held +=
                    an.metric[m].low <= w.effect[m] && w.effect[m] <= an.metric[m].high;
                looks++;
            }
        }
    }
    cr_expect_geq(held, looks * 95 / 100, "%d of %d", held, looks);
}

/* On a host so busy that slots of one arm differ by a factor, six pairs that agree by chance are no harm. */
Test(trial_analyse, noise_that_agrees_by_chance_is_rarely_called_harm)
{
    int claimed = 0, runs = 200;

    for (uint64_t seed = 1; seed <= (uint64_t)runs; seed++) {
        struct world w = no_op(seed);
        struct trial_analysis an;

        w.own = 0.5;
        w.open_pairs = w.closed_pairs = 6;
        trial_analyse(slots, make(&w), &margins, false, &an);
        claimed += an.outside;
    }
    cr_expect_leq(claimed, runs / 40, "%d of %d", claimed, runs);
}

Test(trial_analyse, a_planted_regression_is_outside_and_worse)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w = no_op(seed);
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_trial_result result = {0};
        struct trial_analysis an;
        size_t n;

        w.effect[TRIAL_P50] = log(2);
        w.effect[TRIAL_THROUGHPUT] = log(0.6);
        n = make(&w);
        trial_analyse(slots, n, &margins, false, &an);
        cr_expect(an.outside);
        cr_expect_not(an.inside);
        cr_expect_eq(an.metric[TRIAL_P50].standing, TRIAL_OUTSIDE);
        cr_expect_eq(an.metric[TRIAL_THROUGHPUT].standing, TRIAL_OUTSIDE);
        trial_effects(a, slots, n, &margins, false, NULL, &result);
        cr_expect_str_eq(find(&result, "p50_ms")->verdict, "worse");
        cr_expect_str_eq(find(&result, "throughput_per_s")->verdict, "worse");
        cr_expect_float_eq(find(&result, "p50_ms")->ratio.value, 2, 0.15);
        cr_expect_float_eq(find(&result, "throughput_per_s")->ratio.value, 0.6, 0.05);
    }
}

Test(trial_analyse, an_improvement_is_better_and_inside)
{
    struct world w = no_op(5);
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_trial_result result = {0};
    struct trial_analysis an;
    size_t n;

    w.effect[TRIAL_P50] = w.effect[TRIAL_P95] = w.effect[TRIAL_P99] = log(0.5);
    w.effect[TRIAL_THROUGHPUT] = log(1.5);
    n = make(&w);
    trial_analyse(slots, n, &margins, false, &an);
    cr_expect(an.inside);
    cr_expect_not(an.outside);
    trial_effects(a, slots, n, &margins, false, NULL, &result);
    cr_expect_str_eq(find(&result, "p50_ms")->verdict, "better");
    cr_expect_str_eq(find(&result, "throughput_per_s")->verdict, "better");
}

Test(trial_analyse, effects_beyond_the_clip_keep_their_size)
{
    struct world w = no_op(9);
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_trial_result result = {0};
    const struct tw_effect *e;
    size_t n;

    w.effect[TRIAL_P50] = log(30);
    n = make(&w);
    trial_effects(a, slots, n, &margins, false, NULL, &result);
    e = find(&result, "p50_ms");
    cr_expect_float_eq(e->ratio.value, 30, 2);
    cr_expect_lt(e->ratio.low, 30);
    cr_expect_gt(e->ratio.low, 25);
    cr_expect_gt(e->ratio.high, 28);
    cr_expect_str_eq(e->ratio.method, "pair median, order statistics");
    cr_expect_str_eq(e->verdict, "worse");
}

Test(trial_analyse, a_candidate_that_answers_nothing_is_at_least_so_slow)
{
    struct world w = no_op(3);
    size_t n = make(&w);
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_trial_result result = {0};
    struct trial_analysis an;

    for (size_t i = 0; i < n; i++)
        if (slots[i].arm == TW_CANDIDATE) {
            slots[i].late = slots[i].done;
            slots[i].done = 0;
            slots[i].p50_s = slots[i].p95_s = slots[i].p99_s = slots[i].mean_s = NAN;
        }
    trial_analyse(slots, n, &margins, false, &an);
    cr_expect(an.outside);
    trial_effects(a, slots, n, &margins, false, NULL, &result);
    cr_expect(tw_starts_with(find(&result, "p50_ms")->verdict, "at least 1"), "%s",
              find(&result, "p50_ms")->verdict);
    cr_expect_lt(find(&result, "throughput_per_s")->ratio.value, 0.01);
}

Test(trial_analyse, pairs_of_a_late_generator_are_dropped_whole)
{
    struct world w = no_op(3);
    size_t n = make(&w);
    struct trial_analysis before, after;

    trial_analyse(slots, n, &margins, false, &before);
    slots[4].lag99_s = 14e-3;
    slots[4].p95_s *= 40;
    trial_gate(slots, n);
    trial_analyse(slots, n, &margins, false, &after);
    cr_expect(slots[4].dropped && slots[5].dropped);
    cr_expect_not_null(slots[4].why_dropped);
    cr_expect_eq(after.dropped, 1);
    cr_expect_eq(after.pairs, before.pairs - 1);
    cr_expect_eq(after.requests[TW_BASELINE], before.requests[TW_BASELINE] - 240);
}

Test(trial_analyse, lag_below_half_the_median_latency_is_harmless)
{
    struct world w = no_op(3);
    size_t n = make(&w);

    for (size_t i = 0; i < n; i++)
        if (!isnan(slots[i].p50_s)) {
            slots[i].p50_s = 40e-3;
            slots[i].lag99_s = 14e-3;
        }
    trial_gate(slots, n);
    for (size_t i = 0; i < n; i++)
        cr_expect_not(slots[i].dropped);
}

Test(trial_analyse, probes_are_no_pairs)
{
    struct world w = no_op(3);
    size_t n = make(&w);
    struct trial_analysis an;

    slots[0].pair = slots[1].pair = -1;
    trial_analyse(slots, n, &margins, false, &an);
    cr_expect_eq(an.pairs, w.open_pairs + w.closed_pairs - 1);
}

Test(trial_analyse, nothing_measured_is_unknown_and_undecided)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_trial_result result = {0};
    struct trial_analysis an;

    trial_analyse(slots, 0, &margins, false, &an);
    cr_expect_not(an.inside);
    cr_expect_not(an.outside);
    trial_effects(a, slots, 0, &margins, false, NULL, &result);
    cr_expect(isnan(find(&result, "p99_ms")->ratio.value));
    cr_expect(isnan(find(&result, "p99_ms")->before));
    cr_expect_str_eq(find(&result, "p99_ms")->verdict, "inconclusive");
}

Test(trial_analyse, noise_floor_is_the_scatter_of_baseline_against_baseline)
{
    struct world w = no_op(17);
    double floor;

    w.open_pairs = 100;
    w.weather =
        0; /* each slot on its own: sd of the log ratio of two is sqrt(2) * own / 2 */
    w.own = 0.2;
    floor = trial_noise_floor(slots, make(&w), TRIAL_P50);
    cr_expect_float_eq(floor, 0.1 * sqrt(2), 0.04, "%g", floor);
}

Test(trial_analyse, noise_floor_ignores_the_candidate)
{
    struct world w = no_op(17), other = no_op(17);

    other.effect[TRIAL_P50] = log(5);
    double quiet = trial_noise_floor(slots, make(&w), TRIAL_P50);
    double loud = trial_noise_floor(slots, make(&other), TRIAL_P50);

    cr_expect_eq(quiet, loud);
}

Test(trial_analyse, errors_are_compared_as_counts)
{
    static const struct {
        int64_t baseline, candidate;
        const char *verdict;
    } cases[] = {{0, 0, "equivalent"},
                 {0, 60, "worse"},
                 {60, 0, "better"},
                 {1, 0, "equivalent"},
                 {20, 24, "inconclusive"}};

    for (size_t c = 0; c < TW_COUNT_OF(cases); c++) {
        struct world w = no_op(2);
        size_t n = make(&w);
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_trial_result result = {0};

        slots[0].errors =
            cases[c].baseline; /* slot 0 is a baseline slot, slot 1 its partner */
        slots[1].errors = cases[c].candidate;
        trial_effects(a, slots, n, &margins, false, NULL, &result);
        cr_expect_str_eq(find(&result, "errors_share")->verdict, cases[c].verdict,
                         "%d against %d", (int)cases[c].baseline,
                         (int)cases[c].candidate);
    }
}

Test(trial_analyse, totals_stand_in_for_wal_without_an_interval)
{
    struct world w = no_op(2);
    const struct trial_totals totals = {.wal_bytes = {4000000, 8000000},
                                        .temp_bytes = {0, 0},
                                        .answered = {10000, 10000}};
    size_t n = make(&w);
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_trial_result result = {0};
    const struct tw_effect *wal, *temp;

    trial_effects(a, slots, n, &margins, false, &totals, &result);
    wal = find(&result, "wal_bytes_per_request");
    temp = find(&result, "temp_bytes_per_request");
    cr_expect_float_eq(wal->before, 400, 1e-9);
    cr_expect_float_eq(wal->ratio.value, 2, 1e-9);
    cr_expect(isnan(wal->ratio.low));
    cr_expect_str_eq(wal->verdict, "inconclusive");
    cr_expect_str_eq(temp->verdict, "equivalent");
    cr_expect(isnan(temp->ratio.value));
}

Test(trial_analyse, pooled_median_is_that_of_all_requests)
{
    struct tw_rng rng;
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_trial_result result = {0};
    size_t n = 0;

    tw_rng_seed(&rng, 4, 0);
    for (int pair = 0; pair < 10; pair++)
        for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
            struct tw_slot s = {.arm = (enum tw_arm)arm,
                                .pair = pair,
                                .level = 0.3,
                                .length_ns = 60 * TW_MSEC_NS,
                                .offered_per_s = 2000,
                                .done = 500,
                                .latency = tw_hist_new()};

            for (int i = 0; i < 500; i++)
                tw_hist_record(s.latency,
                               (int64_t)tw_rng_exp(&rng, (arm ? 1.2 : 1.0) * 1e6));
            s.p50_s = tw_hist_quantile(s.latency, 0.5);
            s.p95_s = tw_hist_quantile(s.latency, 0.95);
            s.p99_s = tw_hist_quantile(s.latency, 0.99);
            s.mean_s = tw_hist_mean(s.latency);
            slots[n++] = s;
        }
    trial_effects(a, slots, n, &margins, false, NULL, &result);
    cr_expect_float_eq(find(&result, "p50_ms")->ratio.value, 1.2, 0.10);
    cr_expect_eq(find(&result, "p50_ms")->ratio.n, 10);
    for (size_t i = 0; i < n; i++)
        tw_hist_free(slots[i].latency);
}

Test(trial_analyse, a_stalled_slot_counts_as_an_outlier)
{
    struct world w = no_op(2);
    size_t n = make(&w);

    cr_expect_eq(trial_outliers(slots, n, TW_BASELINE), 0);
    slots[0].p99_s *= 50;
    cr_expect_eq(trial_outliers(slots, n, TW_BASELINE), 1);
    cr_expect_eq(trial_outliers(slots, n, TW_CANDIDATE), 0);
}
