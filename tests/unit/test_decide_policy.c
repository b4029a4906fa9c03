#include "tw/decide.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int load_text(struct tw_arena *a, const char *text, struct tw_policy *p,
                     struct tw_err *err)
{
    char path[] = "/tmp/twin-policy-XXXXXX";
    int fd = mkstemp(path), r;

    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    r = tw_policy_load(a, path, p, err);
    unlink(path);
    return r;
}

Test(decide_policy, the_built_in_policy_is_that_of_the_specification)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_policy p;
    struct tw_err err = {0};

    cr_assert(tw_policy_load(a, NULL, &p, &err) == 0, "%s", err.text);
    cr_expect(p.margin_throughput == 0.10 && p.margin_p50 == 0.25 &&
              p.margin_p95 == 0.5 && p.margin_p99 == 0.5 && p.margin_effect == 0.05);
    cr_expect(p.confidence_threshold == 0.85);
    cr_expect(p.min_pairs == 10 && p.min_requests == 5000);
    cr_expect(p.rules.count > 5 && p.cases.count == 4);
    cr_expect_str_eq(p.name, "default");
    cr_expect_str_eq(p.origin, "built in");
}

Test(decide_policy, the_file_in_the_tree_reads_as_the_built_in_one)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_policy p;

    cr_assert(tw_policy_load(a, "policies/default.yaml", &p, NULL) == 0);
    cr_expect(p.rules.count > 5 && p.margin_p95 == 0.5);
}

Test(decide_policy, a_policy_says_only_what_is_different)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_policy p;
    struct tw_err err = {0};

    cr_assert(load_text(a,
                        "name: strict\nmargins: {p95: 20%}\nrules:\n"
                        "  - {code: x.*, at_least: block}\n",
                        &p, &err) == 0,
              "%s", err.text);
    cr_expect(p.margin_p95 == 0.2 && p.margin_p50 == 0.25);
    cr_expect(p.rules.count == 1 && p.cases.count == 4);
    cr_expect_str_eq(p.name, "strict");
}

Test(decide_policy, mistakes_are_errors_with_line_and_nearest_key)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"margins:\n  p59: 20 %\n",
         "line 2, column 8: unknown key 'margins/p59'; did you mean 'margins/p50'?"},
        {"margins: {p95: lots}\n", "expected a share, '10 %' or '0.1'"},
        {"margins: {throughput: 300 %}\n", "expected a number from 0 to 1"},
        {"rules:\n  - {code: a, at_least: maybe}\n",
         "expected 'proceed', 'review' or 'block'"},
        {"rules:\n  - {at_least: block}\n", "rule 1 has no code"},
        {"cases:\n  - {risk_level: huge}\n",
         "expected 'low', 'medium', 'high' or 'critical'"},
        {"confidence: 1\n", "unknown key 'confidence'"},
        {"confidence_threshold: 0.5\nconfidence_threshold: 0.6\n", "stands here twice"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_policy p;
        struct tw_err err = {0};

        cr_expect(load_text(a, rows[i].text, &p, &err) == -EINVAL, "%s", rows[i].text);
        cr_expect(strstr(err.text, rows[i].error), "%s", err.text);
    }
}

Test(decide_policy, a_missing_file_is_an_error)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_policy p;

    cr_expect(tw_policy_load(a, "/nonexistent/policy.yaml", &p, NULL) == -ENOENT);
}

Test(decide_policy, the_risk_level_sets_the_depth_and_the_tier_sets_the_risk_level)
{
    static const struct {
        enum tw_tier tier;
        const char *risk_level;
        double budget_s;
    } rows[] = {
        {TW_TIER_DEV, NULL, 1.5},         {TW_TIER_STAGING, NULL, 5},
        {TW_TIER_PRODUCTION, NULL, 8},    {TW_TIER_DEV, "critical", 12},
        {TW_TIER_PRODUCTION, "low", 1.5},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_policy p;

        cr_assert(tw_policy_load(a, NULL, &p, NULL) == 0);
        tw_policy_narrow(&p, rows[i].tier, "config_change", rows[i].risk_level);
        cr_expect(p.budget_s == rows[i].budget_s, "row %zu: %g", i, p.budget_s);
    }
}

static struct tw_requirement required(const char *text, enum tw_tier tier,
                                      const char *change)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    json_auto_t *json = json_loads(change, 0, NULL);
    static char because[256], approvers[64];
    struct tw_request request;
    struct tw_requirement got;
    struct tw_policy p;
    struct tw_err err = {0};

    cr_assert(load_text(a, text, &p, &err) == 0, "%s", err.text);
    cr_assert(tw_request_from_json(a, json, &request, &err) == 0, "%s", err.text);
    got = tw_policy_require(&p, tier, &request);
    (void)snprintf(because, sizeof(because), "%s", got.because);
    (void)snprintf(approvers, sizeof(approvers), "%s", got.approvers);
    got.because = because;
    got.approvers = approvers;
    return got;
}

static const char exempting[] =
    "cases:\n"
    "  - {type: config_change, settings: \"log_*, cluster_name\", simulation: exempt, "
    "because: logging}\n"
    "  - {tier: production, simulation: required, approvers: admin}\n";
#define CHANGE(settings)                                                                 \
    "{\"type\": \"config_change\", \"target\": \"pg\", \"change\": " settings "}"

Test(decide_policy, only_what_is_all_listed_is_exempt)
{
    struct tw_requirement got =
        required(exempting, TW_TIER_DEV, CHANGE("{\"log_duration\": \"on\"}"));

    cr_expect_not(got.simulation);
    cr_expect_str_eq(got.because, "logging");
    cr_expect(
        required(exempting, TW_TIER_DEV, CHANGE("{\"work_mem\": \"8MB\"}")).simulation);
    cr_expect(required(exempting, TW_TIER_DEV,
                       CHANGE("{\"log_duration\": \"on\", \"work_mem\": \"8MB\"}"))
                  .simulation);
    cr_expect(required(exempting, TW_TIER_DEV, CHANGE("{\"cluster_names\": \"x\"}"))
                  .simulation);
}

Test(decide_policy, the_last_case_that_says_so_holds_and_names_who_approves)
{
    struct tw_requirement got =
        required(exempting, TW_TIER_PRODUCTION, CHANGE("{\"log_duration\": \"on\"}"));

    cr_expect(got.simulation);
    cr_expect_str_eq(got.approvers, "admin");
    cr_expect_str_eq(
        required("name: x\n", TW_TIER_DEV, CHANGE("{\"a\": \"b\"}")).approvers,
        "approver, admin");
}

Test(decide_policy, an_exemption_says_why_and_is_no_override)
{
    static const char *const bad[] = {
        "cases:\n  - {tier: dev, simulation: exempt}\n",
        "cases:\n  - {tier: dev, simulation: never, because: x}\n",
        "cases:\n  - {settings: log_*, margins: {p95: 10 %}}\n"};

    for (size_t i = 0; i < TW_COUNT_OF(bad); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_policy p;

        cr_expect_eq(load_text(a, bad[i], &p, NULL), -EINVAL, "%s", bad[i]);
    }
}
