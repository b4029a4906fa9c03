#include "tw/spec.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A simulation with something in every corner of the body. */
static struct tw_simulation *full(void)
{
    struct tw_simulation *s = tw_simulation_new();
    struct tw_arena *a = s->arena;

    tw_id_make(s->id);
    s->status = TW_SUCCESS;
    s->request.type = "config_change";
    s->request.target = "pg";
    s->request.metadata = "{\"ticket\":1}";
    TW_PUSH(a, &s->request.settings,
            (struct tw_setting_change){.name = "jit", .value = "on"});
    s->target = (struct tw_target){.environment = "e",
                                   .name = "pg",
                                   .type = "postgresql",
                                   .tier = TW_TIER_PRODUCTION,
                                   .dsn = "host=h password=geheim",
                                   .data_dir = "/secret/place"};
    s->snapshot.taken_wall_ns = INT64_C(1767225600) * TW_SEC_NS;
    s->snapshot.version = "15.18";
    memset(s->plan.sha256, 'a', 64);
    s->plan.seed = UINT64_MAX;
    s->plan.hours = 24;
    TW_PUSH(a, &s->plan.steps,
            (struct tw_plan_step){.kind = TW_STEP_SETTING, .name = "jit", .value = "on"});
    s->has_impact = true;
    s->decision = (struct tw_decision){.verdict = TW_BLOCK, .policy = "default"};
    TW_PUSH(a, &s->decision.reasons, "p95 is worse");
    s->impact.risk_score = 85;
    s->impact.risk_level = "critical";
    TW_PUSH(a, &s->impact.risk_parts,
            (struct tw_risk_part){"plans", 40, "one turned bad"});
    tw_issue_add(a, &s->impact.issues, TW_HIGH, TW_BLOCK, "plan.flip", "t", "e", "r");
    TW_PUSH(a, &s->impact.performance,
            (struct tw_effect){.metric = "p95_ms",
                               .unit = "ms",
                               .before = 2,
                               .after = 3,
                               .ratio = {1.5, 1.4, 1.6, 0.95, 12, "pairs"},
                               .verdict = "worse",
                               .noise_floor = 0.02});
    TW_PUSH(a, &s->impact.failures,
            (struct tw_failure){"oom", 3.5, 3, NAN, 0.75, "memory grows", 0.5, true});
    s->impact.bottleneck.resource = "cpu";
    s->impact.bottleneck.headroom = 1.25;
    s->impact.apply.how = "reload";
    s->impact.apply.sessions_dropped = 0;
    TW_PUSH(a, &s->impact.apply.commands, "ALTER SYSTEM SET jit = on");
    TW_PUSH(a, &s->impact.statements,
            (struct tw_statement_effect){
                .text = "SELECT", .share = 0.5, .after_ms = NAN, .plan_worse = true});
    s->impact.confidence = 0.9;
    s->impact.calibrated = true;
    s->impact.calibrated_n = 40;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        struct tw_forecast *f = &s->impact.forecast[arm];

        f->requests = 4.4e7;
        f->engine = "map";
        f->p95_s.value = 0.0025;
        for (int k = 0; k < 3 + arm; k++)
            TW_PUSH(a, &f->bins,
                    (struct tw_bin){.from_h = k / 3.0,
                                    .hours = 1 / 3.0,
                                    .rate_per_s = 1e7 / 3.0,
                                    .p95_s = 0.0025 / 3.0});
    }
    s->measured.pairs = 12;
    s->measured.requests[TW_BASELINE] = 5001;
    s->measured.requests[TW_CANDIDATE] = 5002;
    s->measured.capacity_per_s[TW_CANDIDATE] = 1234.5;
    TW_PUSH(a, &s->measured.stages, (struct tw_stage_time){"clone", 0.01});
    s->created_wall_ns = INT64_C(1767225700) * TW_SEC_NS;
    s->elapsed_s = 2.5;
    return s;
}

static char *body_of(const struct tw_simulation *s)
{
    json_t *json = tw_simulation_to_json(s);
    char *text = tw_json_dump(json, JSON_COMPACT);

    json_decref(json);
    return text;
}

Test(spec_simulation, a_body_read_back_writes_the_same_body)
{
    tw_auto(tw_simulation) *s = full();
    tw_auto_free char *text = body_of(s);
    tw_auto(tw_simulation) *back = NULL;
    struct tw_err err = {0};

    cr_assert(tw_simulation_from_json(text, &back, &err) == 0, "%s", err.text);
    tw_auto_free char *again = body_of(back);

    cr_expect_str_eq(again, text);
    cr_expect(back->impact.failures.items[0].low == 3);
    cr_expect(isnan(back->impact.failures.items[0].high));
    cr_expect(back->impact.forecast[TW_CANDIDATE].bins.count == 4);
    cr_expect(back->plan.seed == UINT64_MAX);
}

Test(spec_simulation, the_contract_has_all_its_keys_in_every_status)
{
    static const char *const keys[] = {
        "id",       "schema",      "status",           "error",       "type",
        "target",   "environment", "horizon_hours",    "plan_sha256", "snapshot",
        "decision", "approval_id", "predicted_impact", "measured",    "metadata",
    };

    for (int status = 0; status < TW_STATUS_COUNT; status++) {
        tw_auto(tw_simulation) *s = tw_simulation_new();
        json_t *json;

        s->status = (enum tw_status)status;
        json = tw_simulation_to_json(s);
        for (size_t i = 0; i < TW_COUNT_OF(keys); i++)
            cr_expect(json_object_get(json, keys[i]) != NULL, "%s", keys[i]);
        cr_expect(json_is_string(json_object_get(json, "error")) ==
                  (status != TW_SUCCESS));
        json_decref(json);
    }
}

Test(spec_simulation, the_impact_has_all_its_keys)
{
    static const char *const keys[] = {
        "risk_score", "risk_level", "risk_parts",      "issues",           "performance",
        "resources",  "failures",   "user_experience", "bottleneck",       "cost",
        "confidence", "timeline",   "apply",           "twin_differences", "statements",
        "forecast",
    };
    static const char *const effect_keys[] = {"before", "after", "ratio", "low",
                                              "high",   "level", "n",     "method"};
    tw_auto(tw_simulation) *s = full();
    json_t *json = tw_simulation_to_json(s),
           *impact = json_object_get(json, "predicted_impact");
    json_t *p95 = json_object_get(json_object_get(impact, "performance"), "p95_ms");

    for (size_t i = 0; i < TW_COUNT_OF(keys); i++)
        cr_expect(json_object_get(impact, keys[i]) != NULL, "%s", keys[i]);
    for (size_t i = 0; i < TW_COUNT_OF(effect_keys); i++)
        cr_expect(json_object_get(p95, effect_keys[i]) != NULL, "%s", effect_keys[i]);
    cr_expect(json_array_size(json_object_get(impact, "timeline")) == 4);
    cr_expect(json_integer_value(json_object_get(json_object_get(json, "measured"),
                                                 "requests")) == 10003);
    json_decref(json);
}

Test(spec_simulation, where_the_data_is_and_how_to_log_in_stay_out_of_the_body)
{
    tw_auto(tw_simulation) *s = full();
    tw_auto_free char *text = body_of(s);

    cr_expect(!strstr(text, "geheim") && !strstr(text, "/secret/place"));
}

Test(spec_simulation, a_failed_one_keeps_its_sentence_and_its_problem)
{
    tw_auto(tw_simulation) *s = tw_simulation_new(), *back = NULL;

    s->status = TW_FAILED;
    s->error = "the baseline did not start; look at its log";
    (void)tw_fail_at(&s->problem, -EINVAL, "/change", "wrong");
    tw_auto_free char *text = body_of(s);

    cr_assert(tw_simulation_from_json(text, &back, NULL) == 0);
    cr_expect_str_eq(back->error, s->error);
    cr_expect(back->problem.code == -EINVAL &&
              tw_streq(back->problem.pointer, "/change"));
    cr_expect(!back->has_impact);
}

Test(spec_simulation, text_that_is_no_simulation_is_refused)
{
    static const char *const rows[] = {"", "[]", "{}",
                                       "{\"schema\": 2, \"status\": \"success\"}",
                                       "{\"schema\": 1, \"status\": \"done\"}"};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_simulation *s = NULL;

        cr_expect(tw_simulation_from_json(rows[i], &s, NULL) == -EINVAL);
        cr_expect(s == NULL);
    }
}

Test(spec_simulation, wrong_types_in_a_stored_body_are_unknown_not_a_crash)
{
    static const char text[] =
        "{\"schema\": 1, \"status\": \"success\", \"id\": 5, \"predicted_impact\": "
        "{\"issues\": 7,"
        "\"performance\": [1], \"failures\": [null, 3, {\"kind\": 1}], \"timeline\": "
        "{\"a\": 1},"
        "\"risk_score\": \"high\", \"apply\": {\"commands\": [1]}}, \"measured\": null,"
        "\"plan\": {\"sha256\": "
        "\"0123456789012345678901234567890123456789012345678901234567890123"
        "45678901234567890\"}}";
    tw_auto(tw_simulation) *s = NULL;

    cr_assert(tw_simulation_from_json(text, &s, NULL) == 0);
    cr_expect(isnan(s->impact.risk_score));
    cr_expect(s->impact.failures.count == 3 && !s->impact.failures.items[2].kind);
    cr_expect(!*s->plan.sha256);
}
