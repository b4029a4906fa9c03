/* What a user gets: every format, the history, the contract of the body. */
#include "live.h"

static int64_t by_arm(const struct live_answer *got, const char *key, const char *arm)
{
    return json_integer_value(json_object_get(
        json_object_get(json_object_get(got->json, "measured"), key), arm));
}

static void write_body(const struct live *l, const char *path)
{
    static const char body[] = "{\"change_request\": {\"type\": \"config_change\", "
                               "\"target\": \"pg\", \"change\": "
                               "{\"work_mem\": \"8MB\", \"random_page_cost\": null}, "
                               "\"metadata\": {\"ticket\": 7}}, "
                               "\"duration_hours\": 12, \"risk_level\": \"low\"}";

    (void)l;
    cr_assert_eq(tw_write_file(path, body, sizeof(body) - 1, 0644, NULL), 0);
}

static void expect_contract(const struct live_answer *got)
{
    static const char *const keys[] = {
        "id",       "schema",      "status",           "error",       "type",
        "target",   "environment", "horizon_hours",    "plan_sha256", "snapshot",
        "decision", "approval_id", "predicted_impact", "measured",    "metadata"};
    static const char *const parts[] = {
        "risk_score",  "risk_level", "risk_parts",      "issues",
        "performance", "resources",  "user_experience", "failures",
        "bottleneck",  "cost",       "confidence",      "timeline"};
    const json_t *impact = json_object_get(got->json, "predicted_impact");

    for (size_t i = 0; i < TW_COUNT_OF(keys); i++)
        cr_expect_not_null(json_object_get(got->json, keys[i]), "no key %s", keys[i]);
    for (size_t i = 0; i < TW_COUNT_OF(parts); i++)
        cr_expect_not_null(json_object_get(impact, parts[i]), "no key %s", parts[i]);
    cr_expect_eq(json_integer_value(json_object_get(got->json, "schema")), 1);
    cr_expect_eq(json_number_value(json_object_get(got->json, "horizon_hours")), 12);
    cr_expect_eq(json_integer_value(
                     json_object_get(json_object_get(got->json, "metadata"), "ticket")),
                 7);
}

/* What the load counted as answered is what the servers counted, but for the preparing and prewarming
 * of our own sessions. */
static void expect_counts(const struct live_answer *got)
{
    static const char *const arms[] = {"baseline", "candidate"};

    for (size_t i = 0; i < TW_COUNT_OF(arms); i++) {
        int64_t ours = by_arm(got, "answered_by_arm", arms[i]);
        int64_t theirs = by_arm(got, "transactions_by_arm", arms[i]);

        cr_expect_gt(ours, 1000, "%s: %lld", arms[i], (long long)ours);
        cr_expect(llabs(ours - theirs) <= 200 + ours / 50,
                  "%s: %lld answered, %lld counted", arms[i], (long long)ours,
                  (long long)theirs);
    }
}

Test(run_answers, a_body_is_answered_by_the_contract_and_kept, .timeout = 100)
{
    static const char *const formats[][2] = {
        {"text", "work_mem"},    {"markdown", "work_mem"}, {"html", "<svg"},
        {"junit", "<testsuite"}, {"sarif", "\"2.1.0\""},   {"json", "\"schema\""}};
    struct live l;
    struct live_answer got, again;
    tw_auto_free char *path = NULL, *id = NULL;

    live_open(&l, 24410, 2, NULL);
    live_add(&l);
    path = tw_strf("%s/change.json", l.top);
    write_body(&l, path);
    live_twin(&l, &got, "run", path, "-o", "json", "--mix", "select-only");
    cr_assert(got.exit_code == 0 || got.exit_code == 4, "exit %d: %s", got.exit_code,
              got.err);
    cr_assert_not_null(got.json);
    expect_contract(&got);
    expect_counts(&got);
    id = tw_strf("%.14s", live_text(got.json, "id"));
    for (size_t i = 0; i < TW_COUNT_OF(formats); i++) {
        live_twin(&l, &again, "show", id, "-o", formats[i][0]);
        cr_expect_eq(again.exit_code, 0, "%s: %s", formats[i][0], again.err);
        cr_expect(strstr(again.out, formats[i][1]), "%s: %.300s", formats[i][0],
                  again.out);
        live_answer_done(&again);
    }
    live_twin(&l, &again, "list");
    cr_expect(strstr(again.out, "work_mem"), "%s", again.out);
    live_answer_done(&again);
    live_twin(&l, &again, "rm", id);
    cr_expect_eq(again.exit_code, 0, "%s", again.err);
    live_answer_done(&again);
    live_twin(&l, &again, "show", id);
    cr_expect_eq(again.exit_code, 2, "%s", again.err);
    live_answer_done(&again);
    live_answer_done(&got);
    cr_expect_eq(live_leftovers(&l), 0);
    live_close(&l);
}

Test(run_answers, a_sweep_answers_for_every_value, .timeout = 100)
{
    struct live l;
    struct live_answer got;

    live_open(&l, 24411, 1, NULL);
    live_add(&l);
    live_twin(&l, &got, "run", "--target", "pg", "--set", "work_mem=4MB..16MB", "-o",
              "json", "--mix", "select-only", "--budget", "0.6");
    cr_assert_not_null(got.json, "%s", got.err);
    cr_expect_eq(json_array_size(got.json), 3, "%s", got.out);
    for (size_t i = 0; i < json_array_size(got.json); i++)
        cr_expect_str_eq(live_text(json_array_get(got.json, i), "status"), "success");
    live_answer_done(&got);
    live_close(&l);
}

Test(run_answers, the_same_seed_and_samples_plan_the_same, .timeout = 60)
{
    struct live l;
    struct live_answer a, b;

    live_open(&l, 24412, 0, NULL);
    live_add(&l);
    live_twin(&l, &a, "run", "--target", "pg", "--set", "work_mem=8MB", "--dry-run");
    live_twin(&l, &b, "run", "--target", "pg", "--set", "work_mem=8MB", "--dry-run",
              "--seed", "9");
    cr_expect_eq(a.exit_code, 0, "%s", a.err);
    cr_expect(*live_text(a.json, "sha256"), "%s", a.out);
    cr_expect_str_eq(live_text(a.json, "sha256"), live_text(b.json, "sha256"));
    live_answer_done(&a);
    live_answer_done(&b);
    live_close(&l);
}

Test(run_answers, an_empty_cluster_is_judged_without_load, .timeout = 60)
{
    struct live l;
    struct live_answer got;

    live_open(&l, 24413, 0, NULL);
    live_add(&l);
    live_twin(&l, &got, "run", "--target", "pg", "--set", "work_mem=8MB", "-o", "json");
    cr_expect_eq(got.exit_code, 4, "exit %d: %s", got.exit_code, got.err);
    cr_expect(strstr(live_text(json_object_get(got.json, "measured"), "stopped_because"),
                     "empty"),
              "%s", got.out);
    live_answer_done(&got);
    live_close(&l);
}

Test(run_answers, doctor_says_that_this_host_will_do)
{
    struct live l = {.state = strdup("/tmp/twin-live-doctor")};
    struct live_answer got;

    live_twin(&l, &got, "doctor");
    cr_expect_eq(got.exit_code, 0, "%s%s", got.out, got.err);
    live_answer_done(&got);
    (void)tw_remove_tree(l.state, NULL);
}

Test(run_answers, two_at_once_wait_for_each_others_measuring, .timeout = 100)
{
    struct live l;
    struct live_answer got;
    tw_auto_free char *line = NULL;

    live_open(&l, 24415, 1, NULL);
    live_add(&l);
    live_twin(&l, &got, "env", "sync", "pg");
    cr_assert_eq(got.exit_code, 0, "%s", got.err);
    live_answer_done(&got);
    line = tw_strf(
        "export TWIN_STATE_DIR=%s; r='build/twin run --target pg --mix select-only "
        "--budget 1 -q -o json'; $r --set work_mem=5MB >%s/a & a=$!; $r --set "
        "work_mem=6MB >%s/b & b=$!; wait $a; echo a$?; wait $b; echo b$?",
        l.state, l.top, l.top);
    (void)live_child((const char *const[]){"/bin/bash", "-c", line, NULL}, NULL,
                     (unsigned)-1, (unsigned)-1, &got);
    cr_expect(strstr(got.out, "a0") || strstr(got.out, "a4"), "%s%s", got.out, got.err);
    cr_expect(strstr(got.out, "b0") || strstr(got.out, "b4"), "%s%s", got.out, got.err);
    live_answer_done(&got);
    cr_expect_eq(live_leftovers(&l), 0);
    live_close(&l);
}

Test(run_answers, a_load_of_which_nothing_succeeds_measures_nothing, .timeout = 60)
{
    static const char script[] = "INSERT INTO pgbench_branches VALUES (1, 0);\n";
    struct live l;
    struct live_answer got;
    tw_auto_free char *path = NULL;

    live_open(&l, 24416, 1, NULL);
    live_add(&l);
    path = tw_strf("%s/always_fails.sql", l.top);
    cr_assert_eq(tw_write_file(path, script, sizeof(script) - 1, 0644, NULL), 0);
    live_twin(&l, &got, "run", "--target", "pg", "--set", "work_mem=5MB", "--mix", path, "-o",
              "json");
    cr_expect_eq(got.exit_code, 4, "exit %d: %s", got.exit_code, got.err);
    cr_expect(strstr(live_text(json_object_get(got.json, "measured"), "stopped_because"),
                     "duplicate key"),
              "%s", got.out);
    cr_expect_null(json_object_get(
        json_object_get(json_object_get(got.json, "predicted_impact"), "performance"),
        "throughput_per_s"));
    live_answer_done(&got);
    live_close(&l);
}
