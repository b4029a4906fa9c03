#include "tw/decide.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* One decision: what impact says, and what must come of it. */
struct scene {
    struct tw_arena *a;
    struct tw_policy policy;
    struct tw_impact impact;
    struct tw_measured measured;
    struct tw_decision decision;
};

static struct scene scene_new(void)
{
    struct scene s = {.a = tw_arena_new(),
                      .impact.confidence = 0.95,
                      .impact.risk_score = 20,
                      .measured.pairs = 12};

    cr_assert(tw_policy_load(s.a, NULL, &s.policy, NULL) == 0);
    return s;
}

static void effect(struct scene *s, const char *metric, double low, double high)
{
    TW_PUSH(s->a, &s->impact.performance,
            (struct tw_effect){.metric = metric,
                               .higher_is_better = tw_starts_with(metric, "throughput"),
                               .ratio = {sqrt(low * high), low, high, 0.95, 12, NULL}});
}

static enum tw_verdict decide(struct scene *s)
{
    cr_assert(tw_decide(s->a, &s->policy, &s->impact, &s->measured, &s->decision, NULL) ==
              0);
    return s->decision.verdict;
}

Test(decide_decide, intervals_against_margins)
{
    static const struct {
        const char *metric;
        double low, high;
        enum tw_verdict verdict;
    } rows[] = {
        {"throughput_per_s", 0.95, 1.05, TW_PROCEED},
        {"throughput_per_s", 0.91, 0.93,
         TW_PROCEED}, /* worse, yet inside what is allowed */
        {"throughput_per_s", 0.85, 1.05, TW_REVIEW}, /* inconclusive */
        {"throughput_per_s", 0.82, 0.88, TW_REVIEW}, /* certainly past the margin */
        {"throughput_per_s", 0.50, 0.70, TW_BLOCK},
        {"throughput_per_s", 1.20, 3.00, TW_PROCEED},
        {"p50_ms", 0.90, 1.24, TW_PROCEED},
        {"p50_ms", 0.90, 1.26, TW_REVIEW},
        {"p95_ms", 0.40, 0.60, TW_PROCEED},
        {"p95_ms", 1.60, 1.90, TW_REVIEW},
        {"p95_ms", 2.10, 4.00, TW_BLOCK},
        {"p99_ms", 20.0, INFINITY, TW_BLOCK},
        {"p99_ms", NAN, NAN, TW_REVIEW},
        {"mean_ms", 9, 10, TW_PROCEED}, /* no margin of its own */
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct scene s = scene_new();

        effect(&s, rows[i].metric, rows[i].low, rows[i].high);
        cr_expect(decide(&s) == rows[i].verdict, "row %zu: %s", i,
                  tw_verdict_names[s.decision.verdict]);
        cr_expect(s.decision.reasons.count >= 1);
        tw_arena_free(s.a);
    }
}

Test(decide_decide, the_score_is_under_fifty_if_and_only_if_it_may_proceed)
{
    for (double score = 0; score <= 100; score += 12.5) {
        for (int verdict = 0; verdict < TW_VERDICT_COUNT; verdict++) {
            struct scene s = scene_new();
            double sum = 0;

            s.impact.risk_score = score;
            TW_PUSH(s.a, &s.impact.risk_parts,
                    (struct tw_risk_part){"all", score, "why"});
            tw_issue_add(s.a, &s.impact.issues, TW_HIGH, (enum tw_verdict)verdict, "x.y",
                         "found", NULL, NULL);
            tw_issue_add(s.a, &s.impact.issues, TW_HIGH, (enum tw_verdict)verdict, "x.z",
                         "found too", NULL, NULL);
            cr_assert((int)decide(&s) == verdict);
            cr_expect((s.impact.risk_score < 50) == (verdict == TW_PROCEED));
            cr_expect((s.impact.risk_score >= 80) == (verdict == TW_BLOCK));
            for (size_t i = 0; i < s.impact.risk_parts.count; i++)
                sum += s.impact.risk_parts.items[i].points;
            cr_expect(fabs(sum - s.impact.risk_score) < 1e-9, "%g %g", sum,
                      s.impact.risk_score);
            tw_arena_free(s.a);
        }
    }
}

Test(decide_decide, the_level_follows_the_score)
{
    struct scene s = scene_new();

    tw_issue_add(s.a, &s.impact.issues, TW_CRITICAL, TW_BLOCK, "start.failed", "t", "e",
                 "r");
    cr_assert(decide(&s) == TW_BLOCK);
    cr_expect_str_eq(s.impact.risk_level, "critical");
    cr_expect_str_eq(s.decision.reasons.items[0], "t");
    cr_expect_str_eq(s.decision.policy, "default");
    tw_arena_free(s.a);
}

Test(decide_decide, rules_raise_what_a_finding_means)
{
    struct scene s = scene_new();

    tw_issue_add(s.a, &s.impact.issues, TW_LOW, TW_PROCEED, "exposure.listen", "open",
                 NULL, NULL);
    cr_expect(decide(&s) == TW_REVIEW);
    tw_arena_free(s.a);
}

Test(decide_decide, what_is_only_probable_is_for_a_person)
{
    struct scene s = scene_new();

    tw_issue_add(s.a, &s.impact.issues, TW_HIGH, TW_BLOCK, "x.y", "t", NULL, NULL)
        ->probability = 0.6;
    cr_expect(decide(&s) == TW_REVIEW);
    tw_arena_free(s.a);
}

Test(decide_decide, low_or_unknown_confidence_is_never_proceed)
{
    const double values[] = {0.84, 0, NAN};

    for (size_t i = 0; i < TW_COUNT_OF(values); i++) {
        struct scene s = scene_new();

        s.impact.confidence = values[i];
        cr_expect(decide(&s) == TW_REVIEW);
        tw_arena_free(s.a);
    }
}

Test(decide_decide, predicted_failures_weigh_by_their_probability)
{
    static const struct {
        double probability, before;
        bool from_finding;
        enum tw_verdict verdict;
    } rows[] = {{0.2, 0, false, TW_PROCEED},  {0.5, 0, false, TW_REVIEW},
                {0.9, 0, false, TW_BLOCK},    {0.9, 0.85, false, TW_PROCEED},
                {0.9, 0.3, false, TW_REVIEW}, {1, 0, true, TW_PROCEED}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct scene s = scene_new();

        TW_PUSH(s.a, &s.impact.failures,
                (struct tw_failure){"oom", 3, 2, 4, rows[i].probability, "e",
                                    rows[i].before, rows[i].from_finding});
        cr_expect(decide(&s) == rows[i].verdict);
        tw_arena_free(s.a);
    }
}

Test(decide_decide, errors_that_rise_are_never_let_through)
{
    static const struct {
        double after;
        const char *word;
        enum tw_verdict verdict;
    } rows[] = {{0.0005, "worse", TW_PROCEED},
                {0.005, "worse", TW_REVIEW},
                {0.05, "worse", TW_BLOCK},
                {0.05, "inconclusive", TW_PROCEED}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct scene s = scene_new();

        TW_PUSH(s.a, &s.impact.performance,
                (struct tw_effect){.metric = "errors_share",
                                   .before = 0,
                                   .after = rows[i].after,
                                   .verdict = rows[i].word});
        cr_expect(decide(&s) == rows[i].verdict, "row %zu", i);
        tw_arena_free(s.a);
    }
}

Test(decide_decide, a_plan_turned_bad_wants_a_person)
{
    struct scene s = scene_new();

    TW_PUSH(s.a, &s.impact.statements,
            (struct tw_statement_effect){.text = "SELECT 1", .plan_worse = true});
    cr_expect(decide(&s) == TW_REVIEW);
    cr_expect_str_eq(s.decision.reasons.items[0], "the plan of 1 statement turned bad");
    tw_arena_free(s.a);
}

Test(decide_decide, reasons_are_said_as_people_say_them)
{
    static const struct {
        const char *metric;
        double low, high;
        const char *reason;
    } rows[] = {
        {"throughput_per_s", 0.0005, 0.001,
         "throughput is lower by a factor of 1000 or more; the policy allows 10 %"},
        {"throughput_per_s", 0.79, 0.87,
         "throughput is lower by 13 % or more; the policy allows 10 %"},
        {"p95_ms", 1200, INFINITY,
         "p95 is higher by a factor of 1200 or more; the policy allows 50 %"},
        {"p95_ms", 0.9, 1.63,
         "inconclusive: p95 may be higher by 63 %; the policy allows 50 %"},
        {"p99_ms", 1.4, NAN,
         "inconclusive: p99 may be higher without a bound that is known; the policy "
         "allows 50 %"},
        {"p99_ms", NAN, NAN, "what happens to p99 is unknown"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct scene s = scene_new();

        effect(&s, rows[i].metric, rows[i].low, rows[i].high);
        (void)decide(&s);
        cr_expect_str_eq(s.decision.reasons.items[0], rows[i].reason);
        tw_arena_free(s.a);
    }
}

Test(decide_decide, a_proceed_says_what_was_shown)
{
    struct scene s = scene_new();

    effect(&s, "throughput_per_s", 0.97, 1.1);
    effect(&s, "p95_ms", 0.5, 0.8);
    cr_assert(decide(&s) == TW_PROCEED);
    cr_expect_str_eq(
        s.decision.reasons.items[0],
        "every effect stays inside the policy's margins: throughput at most 3.0 % "
        "lower, p95 better");
    tw_arena_free(s.a);
}
