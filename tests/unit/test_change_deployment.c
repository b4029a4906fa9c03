#include "tw/change.h"

#include <criterion/criterion.h>

static struct tw_container containers[] = {
    {.name = "shop-web-1", .service = "web", .image = "web:1"},
    {.name = "shop-db-1", .service = "db"}};

static int plan_of(struct tw_arena *a, const char *body, size_t count,
                   struct tw_plan *ret, struct tw_err *err)
{
    json_auto_t *json = json_loads(body, 0, NULL);
    struct tw_snapshot s;
    struct tw_request r;
    struct tw_issues issues = {0};

    tw_snapshot_init(&s);
    s.target = "shop/web";
    s.type = "docker";
    s.containers.items = containers;
    s.containers.count = count;
    cr_assert(tw_request_from_json(a, json, &r, err) == 0, "%s", err->text);
    return tw_change_plan(a, &s, &r, ret, &issues, err);
}

#define BODY(change)                                                                     \
    "{\"type\":\"deployment\",\"target\":\"shop/web\",\"change\":" change "}"

Test(change_deployment, each_variable_and_each_check_is_a_step)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_plan plan;
    struct tw_err err = {0};

    cr_assert(
        plan_of(
            a,
            "{\"type\":\"deployment\",\"target\":\"shop/web\",\"change\":{\"tag\":\"2\","
            "\"env\":{\"A\":\"x\",\"B\":null,\"C\":7}},\"smoke\":[{\"tcp\":80}],"
            "\"rollback\":false}",
            1, &plan, &err) == 0,
        "%s", err.text);
    cr_assert(plan.steps.count == 5);
    cr_expect_str_eq(plan.steps.items[1].name, "env.A");
    cr_expect(plan.steps.items[2].value == NULL);
    cr_expect_str_eq(plan.steps.items[3].value, "7");
    cr_expect(plan.steps.items[4].kind == TW_STEP_SMOKE && !plan.rollback);
}

Test(change_deployment, what_it_cannot_take_is_refused_with_its_place)
{
    static const struct {
        const char *body;
        size_t containers;
        const char *pointer;
    } rows[] = {
        {BODY("{\"imag\":\"web:2\"}"), 1, "/change/imag"},
        {BODY("{\"image\":\"web:2\",\"tag\":\"2\"}"), 1, "/change/tag"},
        {BODY("{\"tag\":\"web:2\"}"), 1, "/change/tag"},
        {BODY("{\"env\":[1]}"), 1, "/change/env"},
        {BODY("{\"env\":{\"A=B\":\"1\"}}"), 1, "/change/env/A=B"},
        {BODY("{\"image\":\"web:2\"}"), 0, "/target"},
        {BODY("{\"image\":\"web:2\"}"), 2, "/target"},
    };
    tw_auto(tw_arena) *a = tw_arena_new();

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_plan plan;
        struct tw_err err = {0};

        cr_expect(plan_of(a, rows[i].body, rows[i].containers, &plan, &err) == -EINVAL,
                  "%s", rows[i].body);
        cr_expect(tw_streq(err.pointer, rows[i].pointer), "%s: at '%s': %s", rows[i].body,
                  err.pointer, err.text);
    }
}
