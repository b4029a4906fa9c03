#include "tw/spec.h"

#include <criterion/criterion.h>
#include <string.h>

static int target_of(struct tw_arena *a, const char *text, struct tw_target *t,
                     struct tw_err *err)
{
    json_t *json = NULL;
    int r = tw_json_parse(text, strlen(text), &json, err);

    if (r == 0)
        r = tw_target_from_json(a, json, t, err);
    json_decref(json);
    return r;
}

Test(spec_target, quantities_are_read_as_people_write_them)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_target t;

    cr_assert(
        target_of(a,
                  "{\"name\": \"pg\", \"type\": \"postgresql\", \"tier\": \"production\","
                  "\"data\": \"clone\", \"memory\": \"16GB\", \"cpus\": \"2 cores\"}",
                  &t, NULL) == 0);
    cr_expect(t.tier == TW_TIER_PRODUCTION && t.data == TW_DATA_CLONE);
    cr_expect(t.memory_bytes == INT64_C(16) << 30 && t.cpus == 2.0);
    cr_expect(t.dsn == NULL);
}

Test(spec_target, what_is_written_is_read_back_as_the_same)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_target t = {.environment = "e",
                          .name = "n",
                          .type = "postgresql",
                          .tier = TW_TIER_STAGING,
                          .data = TW_DATA_EMPTY,
                          .data_dir = "/d",
                          .dsn = "host=x",
                          .memory_bytes = 5,
                          .cpus = 1.5},
                     back = {0};
    json_t *json = tw_target_to_json(&t);

    cr_assert(tw_target_from_json(a, json, &back, NULL) == 0);
    json_decref(json);
    cr_expect_str_eq(back.environment, "e");
    cr_expect_str_eq(back.dsn, "host=x");
    cr_expect_str_eq(back.data_dir, "/d");
    cr_expect(back.tier == t.tier && back.data == t.data && back.memory_bytes == 5 &&
              back.cpus == 1.5 && !back.project);
}

Test(spec_target, mistakes_name_the_field_and_what_was_expected)
{
    static const struct {
        const char *text, *pointer, *error;
    } rows[] = {
        {"{\"type\": \"postgresql\"}", "/name", "'name' is missing"},
        {"{\"name\": 1, \"type\": \"x\"}", "/name",
         "'name' is a number; expected a text"},
        {"{\"name\": \"a\", \"type\": \"x\", \"tier\": \"prod\"}", "/tier",
         "'tier' is 'prod'; expected one of 'dev', 'staging', 'production'"},
        {"{\"name\": \"a\", \"type\": \"x\", \"memory\": \"lots\"}", "/memory",
         "'memory' is 'lots'; expected bytes, or a text like '16GB'"},
        {"{\"name\": \"a\", \"type\": \"x\", \"datadir\": \"/\"}", "/datadir",
         "unknown key 'datadir'; did you mean 'data_dir'?"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_err err = {0};
        struct tw_target t;

        cr_expect(target_of(a, rows[i].text, &t, &err) == -EINVAL, "%s", rows[i].text);
        cr_expect_str_eq(err.pointer, rows[i].pointer);
        cr_expect_str_eq(err.text, rows[i].error);
    }
}
