/* Sizes as people write them, and what is said of those that are none. */
#include "tw/change.h"

#include <criterion/criterion.h>
#include <math.h>

static struct tw_plan plan;
static struct tw_err err;
static struct tw_arena *arena;

static int plan_of(const char *name, const char *value)
{
    struct tw_request r;
    struct tw_snapshot s;
    struct tw_issues issues = {0};

    err = (struct tw_err){0};
    tw_arena_free(arena);
    arena = tw_arena_new();
    tw_request_init(&r);
    tw_snapshot_init(&s);
    s.type = "generic";
    s.target = r.target = "web";
    r.type = "scaling";
    TW_PUSH(arena, &s.settings, (struct tw_setting){.name = "env.POOL", .value = "4"});
    TW_PUSH(arena, &r.settings, (struct tw_setting_change){name, value, "/change/x"});
    return tw_change_plan(arena, &s, &r, &plan, &issues, &err);
}

Test(change_scaling, sizes_are_read_in_their_units)
{
    cr_expect_eq(plan_of("instances", "10"), 0, "%s", err.text);
    cr_expect_eq(plan.scaling.instances, 10);
    cr_expect(isnan(plan.scaling.cpus));
    cr_expect_eq(plan.scaling.pool, 4, "today's, from the environment");
    cr_expect_eq(plan_of("cpu", "500m"), 0);
    cr_expect_float_eq(plan.scaling.cpus, 0.5, 1e-9);
    cr_expect_eq(plan_of("cpu", "2 cores"), 0);
    cr_expect_float_eq(plan.twin_cpus, 2, 1e-9);
    cr_expect_eq(plan_of("memory", "4GB"), 0);
    cr_expect_eq(plan.scaling.memory_bytes, (int64_t)4 << 30);
}

Test(change_scaling, another_pool_is_a_setting_of_the_application)
{
    cr_expect_eq(plan_of("pool", "20"), 0);
    cr_assert_eq(plan.steps.count, 1);
    cr_expect_str_eq(plan.steps.items[0].name, "env.POOL");
    cr_expect_str_eq(plan.steps.items[0].value, "20");
}

Test(change_scaling, what_is_no_size_is_an_error_with_its_place)
{
    static const char *const bad[][2] = {{"instances", "0"},  {"instances", "ten"},
                                         {"instances", NULL}, {"cpu", "fast"},
                                         {"cpu", "1m"},       {"memory", "1kB"},
                                         {"pool", "-1"},      {"instance", "2"}};

    for (size_t i = 0; i < TW_COUNT_OF(bad); i++) {
        cr_expect_eq(plan_of(bad[i][0], bad[i][1]), -EINVAL, "%s %s", bad[i][0], bad[i][1]);
        cr_expect_str_eq(err.pointer, "/change/x");
    }
    cr_expect(strstr(err.text, "did you mean 'instances'"), "%s", err.text);
}

Test(change_scaling, objectives_are_times_or_shares)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    static const char *const bad[] = {"p99", "p99=50", "p98=1s", "errors=2", "errors=1ms", "p95=0ms"};
    struct tw_objective o;

    cr_expect_eq(tw_objective_parse(a, "p99=50ms", "--slo", &o, &err), 0);
    cr_expect_float_eq(o.limit, 0.05, 1e-12);
    cr_expect_eq(tw_objective_parse(a, "errors=0.1%", "--slo", &o, &err), 0);
    cr_expect_float_eq(o.limit, 0.001, 1e-12);
    for (size_t i = 0; i < TW_COUNT_OF(bad); i++)
        cr_expect_eq(tw_objective_parse(a, bad[i], "--slo", &o, &err), -EINVAL, "%s", bad[i]);
}
