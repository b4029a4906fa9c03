#include "impact/impact_internal.h"

#include <criterion/criterion.h>
#include <math.h>

/* A harmless change, measured until certain; tests spoil one thing at a time. */
struct world {
    struct tw_arena *arena;
    struct tw_plan plan;
    struct tw_snapshot snapshot;
    struct tw_measured measured;
    struct tw_issues issues;
    struct tw_forecast forecast[TW_ARM_COUNT];
    struct tw_bin bins[TW_ARM_COUNT][2];
    struct tw_model model[TW_ARM_COUNT];
    struct tw_failures failures[TW_ARM_COUNT];
    struct tw_impact_facts facts;
    struct tw_impact impact;
};

static struct tw_estimate about(double value)
{
    return (struct tw_estimate){value, value * 0.95, value * 1.05, 0.9, 100, "test"};
}

static void add_effect(struct world *w, const char *metric, double before, double ratio,
                       double spread, bool higher, const char *verdict)
{
    const struct tw_effect e = {
        .metric = metric,
        .unit = "ms",
        .before = before,
        .after = before * ratio,
        .ratio = {ratio, ratio / spread, ratio * spread, 0.9, 12, "pairs"},
        .higher_is_better = higher,
        .verdict = verdict,
        .noise_floor = 0.02};

    TW_PUSH(w->arena, &w->facts.effects, e);
}

static void fill_forecast(struct world *w, enum tw_arm arm)
{
    struct tw_forecast *f = &w->forecast[arm];

    *f = (struct tw_forecast){.requests = 1e6,
                              .p50_s = about(1e-3),
                              .p95_s = about(4e-3),
                              .p99_s = about(8e-3),
                              .throughput_per_s = about(500),
                              .cpu_cores = about(0.4),
                              .wal_bytes = about(1e9),
                              .memory_bytes = about(4e8),
                              .connections = about(20),
                              .errors = about(0)};
    for (int k = 0; k < 2; k++) {
        w->bins[arm][k] = (struct tw_bin){.from_h = 12 * k,
                                          .hours = 12,
                                          .rate_per_s = 500,
                                          .utilisation = 0.5,
                                          .p50_s = 1e-3};
        TW_PUSH(w->arena, &f->bins, w->bins[arm][k]);
    }
    w->facts.forecast[arm] = f;
    w->facts.failures[arm] = &w->failures[arm];
    w->model[arm] =
        (struct tw_model){.level_count = 1, .capacity_per_s = 2000, .demand_s = {0.5e-3}};
    w->facts.model[arm] = &w->model[arm];
    w->facts.cpu_share[arm] = w->facts.throttled_share[arm] =
        w->facts.temp_bytes_per_request[arm] = w->facts.io_wait_share[arm] = NAN;
    w->facts.start_s[arm] = 0.2;
}

static struct world *make(void)
{
    struct tw_arena *a = tw_arena_new();
    struct world *w = tw_arena_alloc(a, sizeof *w);

    w->arena = a;
    w->plan = (struct tw_plan){.hours = 24, .needs_restart = true};
    w->snapshot =
        (struct tw_snapshot){.data_dir = "/srv/pg", .data_bytes = INT64_C(1) << 30};
    w->measured = (struct tw_measured){.pairs = 12,
                                       .noise_floor = 0.05,
                                       .mix_coverage = NAN,
                                       .capacity_per_s = {2000, 2000}};
    w->facts = (struct tw_impact_facts){.plan = &w->plan,
                                        .snapshot = &w->snapshot,
                                        .measured = &w->measured,
                                        .issues = &w->issues,
                                        .baseline_started = true,
                                        .candidate_started = true,
                                        .candidate_reloaded = true,
                                        .candidate_restarted = true,
                                        .stop_s = 0.3,
                                        .cold_s = 0.5,
                                        .sessions = 12,
                                        .decided = true,
                                        .peak_rate_per_s = 1000,
                                        .memory_limit_bytes = 2e9,
                                        .price_cpu_hour = NAN,
                                        .price_memory_gb_hour = NAN,
                                        .price_disk_gb_month = NAN,
                                        .margins = {0.1, 0.25, 0.5, 0.5, 0.05},
                                        .detection_sensitivity = 0.7};
    fill_forecast(w, TW_BASELINE);
    fill_forecast(w, TW_CANDIDATE);
    return w;
}

static void add_harmless(struct world *w)
{
    add_effect(w, "throughput_per_s", 2000, 1.01, 1.04, true, "equivalent");
    add_effect(w, "p50_ms", 0.8, 0.99, 1.04, false, "equivalent");
    add_effect(w, "p95_ms", 3, 1.02, 1.2, false, "inconclusive");
    add_effect(w, "p99_ms", 6, 0.98, 1.3, false, "inconclusive");
}

static struct tw_impact *judge(struct world *w)
{
    cr_assert_eq(tw_impact_make(w->arena, &w->facts, &w->impact, NULL), 0);
    return &w->impact;
}

static const struct tw_risk_part *part(const struct tw_impact *impact, const char *name)
{
    for (size_t i = 0; i < impact->risk_parts.count; i++)
        if (tw_streq(impact->risk_parts.items[i].name, name))
            return &impact->risk_parts.items[i];
    return NULL;
}

Test(impact_impact, a_harmless_change_scores_low_and_names_no_findings)
{
    struct world *w = make();
    struct tw_impact *impact;

    add_harmless(w);
    impact = judge(w);
    cr_expect_lt(impact->risk_score, 25);
    cr_expect_str_eq(impact->risk_level, "low");
    cr_expect_eq(impact->issues.list.count, 0);
    cr_expect_eq(impact->failures.count, 0);
    cr_expect_geq(impact->confidence, 0.85);
    cr_expect_not(impact->calibrated, "the coverage table has no rows yet");
    tw_arena_free(w->arena);
}

Test(impact_impact, levels_come_from_the_forecast_and_changes_from_the_pairs)
{
    struct world *w = make();
    const struct tw_effect *p50;

    add_effect(w, "p50_ms", 0.8, 1.5, 1.05, false, "worse");
    p50 = impact_row(judge(w), "p50_ms");
    cr_expect_float_eq(p50->before, 1, 1e-9);
    cr_expect_float_eq(p50->after, 1.5, 1e-9);
    cr_expect_eq(p50->ratio.n, 12);
    tw_arena_free(w->arena);
}

Test(impact_impact, without_a_forecast_the_measured_level_stands)
{
    struct world *w = make();

    w->facts.forecast[TW_BASELINE] = w->facts.forecast[TW_CANDIDATE] = NULL;
    add_harmless(w);
    judge(w);
    cr_expect_float_eq(impact_row(&w->impact, "p50_ms")->before, 0.8, 1e-9);
    cr_expect_null(impact_row(&w->impact, "memory_bytes"));
    cr_expect_float_eq(impact_row(&w->impact, "throughput_per_s")->before, 2000, 1e-9);
    tw_arena_free(w->arena);
}

/* A forecast of noisy slots may find a peak that is too much for an arm that is no slower. */
Test(impact_impact, an_overload_that_the_throughput_speaks_against_is_none)
{
    struct world *w = make();

    add_harmless(w);
    w->forecast[TW_CANDIDATE].bins.items[1].utilisation = 1.2;
    judge(w);
    cr_expect_null(part(&w->impact, "overload"));
    cr_expect_str_neq(impact_row(&w->impact, "p99_ms")->verdict, "worse");
    tw_arena_free(w->arena);
}

Test(impact_impact, an_overloaded_candidate_is_told_by_its_own_forecast)
{
    struct world *w = make();

    add_effect(w, "throughput_per_s", 2000, 0.7, 1.1, true, "worse");
    w->forecast[TW_CANDIDATE].bins.items[1].utilisation = 1.2;
    w->forecast[TW_CANDIDATE].p99_s = tw_unknown;
    judge(w);
    cr_expect(isnan(impact_row(&w->impact, "p99_ms")->after));
    cr_expect_str_eq(impact_row(&w->impact, "p99_ms")->verdict, "worse");
    cr_expect_geq(w->impact.risk_score, 80);
    cr_expect_not_null(part(&w->impact, "overload"));
    tw_arena_free(w->arena);
}

Test(impact_impact, a_regression_beyond_the_margin_is_a_finding)
{
    struct world *w = make();

    add_effect(w, "throughput_per_s", 2000, 0.7, 1.05, true, "worse");
    judge(w);
    cr_expect_eq(w->impact.issues.list.count, 1);
    cr_expect_str_eq(w->impact.issues.list.items[0].code, "performance.regression");
    cr_expect_geq(w->impact.risk_score, 50);
    tw_arena_free(w->arena);
}

Test(impact_impact, an_interval_across_the_margin_is_risk_without_a_finding)
{
    struct world *w = make();

    w->facts.decided = false;
    add_effect(w, "p95_ms", 3, 1.3, 1.4, false, "inconclusive");
    judge(w);
    cr_expect_eq(w->impact.issues.list.count, 0);
    cr_expect_geq(part(&w->impact, "performance")->points, 50);
    cr_expect_lt(w->impact.confidence, 0.85);
    tw_arena_free(w->arena);
}

Test(impact_impact, models_of_one_slot_pair_claim_no_effect)
{
    struct world *w = make();

    w->facts.decided = false;
    w->measured.pairs = 1;
    w->forecast[TW_CANDIDATE].p50_s.value *= 20;
    w->forecast[TW_CANDIDATE].p50_s.low *= 20;
    w->forecast[TW_CANDIDATE].p50_s.high *= 20;
    judge(w);
    cr_expect_eq(w->impact.issues.list.count, 0);
    cr_expect_str_eq(impact_row(&w->impact, "p50_ms")->verdict, "inconclusive");
    cr_expect_lt(w->impact.risk_score, 80);
    tw_arena_free(w->arena);
}

Test(impact_impact, a_refused_start_is_certain_and_critical)
{
    struct world *w = make();

    w->facts.candidate_started = false;
    w->measured.pairs = 0;
    tw_issue_add(w->arena, &w->issues, TW_CRITICAL, TW_BLOCK, "start.failed",
                 "does not start", "FATAL: could not access file \"nosuchlib\"",
                 "remove it");
    judge(w);
    cr_expect_geq(w->impact.risk_score, 95);
    cr_expect_geq(w->impact.confidence, 0.95);
    cr_expect_eq(w->impact.failures.count, 1);
    cr_expect_str_eq(w->impact.failures.items[0].kind, "start");
    cr_expect_eq(w->impact.failures.items[0].at_hours, 0);
    tw_arena_free(w->arena);
}

Test(impact_impact, a_mistake_that_the_next_restart_dies_of_is_a_failure_without_an_hour)
{
    struct world *w = make();

    add_harmless(w);
    w->facts.candidate_restarted = false;
    judge(w);
    cr_expect_geq(w->impact.risk_score, 80);
    cr_expect_eq(w->impact.failures.count, 1);
    cr_expect(isnan(w->impact.failures.items[0].at_hours));
    cr_expect_not_null(part(&w->impact, "restart"));
    tw_arena_free(w->arena);
}

Test(impact_impact, a_candidate_that_dies_under_load_is_blocked_whatever_was_measured)
{
    struct world *w = make();

    add_harmless(w);
    w->facts.decided = false;
    w->facts.candidate_stopped = true;
    judge(w);
    cr_expect_geq(w->impact.risk_score, 90);
    cr_expect_geq(w->impact.confidence, 0.95);
    cr_expect_str_eq(w->impact.failures.items[0].kind, "crash");
    cr_expect_eq(w->impact.issues.list.items[0].at_least, TW_BLOCK);
    tw_arena_free(w->arena);
}

Test(impact_impact, failures_below_the_threshold_are_not_told)
{
    struct world *w = make();
    const struct tw_failure oom = {.kind = "oom",
                                   .at_hours = 5,
                                   .low = 3,
                                   .high = 9,
                                   .probability = 0.8,
                                   .evidence = "memory grows"},
                            full = {.kind = "disk_full",
                                    .at_hours = 20,
                                    .low = 10,
                                    .high = 30,
                                    .probability = 0.2,
                                    .evidence = "disk grows"};

    add_harmless(w);
    TW_PUSH(w->arena, &w->failures[TW_CANDIDATE].list, oom);
    TW_PUSH(w->arena, &w->failures[TW_CANDIDATE].list, full);
    judge(w);
    cr_expect_eq(w->impact.failures.count, 1);
    cr_expect_str_eq(w->impact.failures.items[0].kind, "oom");
    cr_expect_geq(w->impact.risk_score, 50);
    tw_arena_free(w->arena);
}

Test(impact_impact, a_failure_of_today_is_not_the_changes_risk)
{
    struct world *w = make();
    const struct tw_failure oom = {.kind = "oom",
                                   .at_hours = 5,
                                   .low = 3,
                                   .high = 9,
                                   .probability = 0.8,
                                   .evidence = "memory grows"};

    add_harmless(w);
    TW_PUSH(w->arena, &w->failures[TW_CANDIDATE].list, oom);
    TW_PUSH(w->arena, &w->failures[TW_BASELINE].list, oom);
    judge(w);
    cr_expect_eq(w->impact.failures.count, 1);
    cr_expect_lt(w->impact.risk_score, 50);
    tw_arena_free(w->arena);
}

Test(impact_impact, a_plan_turned_bad_is_stronger_evidence_than_pairs)
{
    struct world *w = make();
    const struct tw_statement_effect s = {.text = "SELECT",
                                          .share = 0.9,
                                          .before_ms = 0.1,
                                          .after_ms = 5,
                                          .plan_changed = true,
                                          .plan_worse = true};

    w->facts.decided = false;
    add_harmless(w);
    TW_PUSH(w->arena, &w->facts.statements, s);
    judge(w);
    cr_expect_geq(w->impact.confidence, 0.9);
    cr_expect_geq(w->impact.risk_score, 80);
    cr_expect_not_null(part(&w->impact, "plans"));
    tw_arena_free(w->arena);
}

Test(impact_impact, a_mix_that_reproduces_little_lowers_confidence)
{
    struct world *w = make();

    add_harmless(w);
    w->measured.mix_coverage = 0.6;
    judge(w);
    cr_expect_lt(w->impact.confidence, 0.85);
    cr_expect(strstr(w->impact.confidence_why, "60 %") != NULL);
    tw_arena_free(w->arena);
}

Test(impact_impact, nothing_is_compared_with_a_baseline_that_does_not_start)
{
    struct world *w = make();
    struct tw_err err;

    w->facts.baseline_started = false;
    cr_expect_eq(tw_impact_make(w->arena, &w->facts, &w->impact, &err), -EINVAL);
    tw_arena_free(w->arena);
}

Test(impact_impact, apdex_is_that_of_todays_p95)
{
    struct world *w = make();

    add_effect(w, "p50_ms", 1, 1, 1.02, false, "equivalent");
    add_effect(w, "p95_ms", 4, 3, 1.1, false, "worse");
    add_effect(w, "p99_ms", 8, 3, 1.1, false, "worse");
    judge(w);
    cr_expect_float_eq(w->impact.apdex_before, 0.975, 0.005);
    cr_expect_lt(w->impact.apdex_after, w->impact.apdex_before);
    cr_expect_gt(w->impact.apdex_after, 0.6);
    tw_arena_free(w->arena);
}

Test(impact_impact, cost_is_unknown_without_prices_and_follows_use_with_them)
{
    struct world *w = make();

    add_harmless(w);
    add_effect(w, "cpu_ms_per_request", 0.2, 0.5, 1.02, false, "better");
    cr_expect(isnan(judge(w)->cost.before_per_day));
    w->facts.price_cpu_hour = 0.1;
    judge(w);
    cr_expect_float_eq(w->impact.cost.before_per_day, 0.4 * 24 * 0.1, 1e-9);
    cr_expect_float_eq(w->impact.cost.after_per_day, 0.2 * 24 * 0.1, 1e-9);
    cr_expect_float_eq(w->impact.cost.benefit_per_day, 0.2 * 24 * 0.1, 1e-9);
    tw_arena_free(w->arena);
}

Test(impact_impact, coverage_counts_replace_the_default)
{
    cr_expect_eq(impact_coverage_share(0, 0, 0.9), 0.9);
    cr_expect_float_eq(impact_coverage_share(98, 93, 0.9), 0.94, 1e-9);
}
