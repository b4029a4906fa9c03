#include "tw/spec.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CASES "tests/data/request"

static char *read_case(const char *name, const char *file)
{
    tw_auto_free char *path = tw_strf(CASES "/%s/%s", name, file);
    char *text = NULL;

    cr_assert(tw_read_file(AT_FDCWD, path, 1 << 20, &text, NULL, NULL) == 0, "%s", path);
    return text;
}

/* The request as canonical JSON, or "error POINTER: text". owned */
static char *outcome(const char *input, size_t flags)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_err err = {0};
    struct tw_request request;
    json_t *json = NULL, *again;
    char *text;
    int r = tw_json_parse(input, strlen(input), &json, &err);

    if (r == 0)
        r = tw_request_from_json(a, json, &request, &err);
    json_decref(json);
    if (r < 0) {
        cr_expect(r == -EINVAL && err.code == r);
        return tw_strf("error %s: %s\n", err.pointer, err.text);
    }
    again = tw_request_to_json(&request);
    text = tw_json_dump(again, JSON_COMPACT | flags);
    json_decref(again);
    char *line = tw_strf("%s\n", text);

    free(text);
    return line;
}

Test(spec_request, every_case_of_the_data_folder_comes_out_as_expected)
{
    struct dirent *entry;
    DIR *dir = opendir(CASES);
    int count = 0;

    cr_assert(dir != NULL, "run the tests from the top of the tree");
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        tw_auto_free char *input = read_case(entry->d_name, "input");
        tw_auto_free char *expect = read_case(entry->d_name, "expect");
        tw_auto_free char *found = outcome(input, JSON_SORT_KEYS);

        cr_expect(tw_streq(found, expect), "%s\n  found  %s  expect %s", entry->d_name,
                  found, expect);
        count++;
    }
    closedir(dir);
    cr_expect(count > 30);
}

Test(spec_request, what_is_written_is_read_back_as_the_same)
{
    struct dirent *entry;
    DIR *dir = opendir(CASES);

    cr_assert(dir != NULL);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        tw_auto_free char *expect = read_case(entry->d_name, "expect");

        if (tw_starts_with(expect, "error"))
            continue;
        tw_auto_free char *once = outcome(expect, 0);
        tw_auto_free char *again = outcome(once, 0);

        cr_expect(tw_streq(again, once), "%s: %s", entry->d_name, again);
    }
    closedir(dir);
}

Test(spec_request, defaults_are_a_diurnal_day_on_the_load_map)
{
    struct tw_request r;

    tw_request_init(&r);
    cr_expect(r.hours == 24 && isnan(r.rate_per_s) && isnan(r.budget_s));
    cr_expect(tw_streq(r.scenario, "diurnal") && tw_streq(r.engine, "map"));
    cr_expect(r.seed == 0 && !r.environment);
}

Test(spec_request, a_setting_remembers_where_it_stood)
{
    const char *input =
        "{\"change_request\": {\"type\": \"config_change\", \"target\": \"pg\","
        "\"change\": {\"a~b\": 1}}}";
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_request r;
    json_t *json = NULL;

    cr_assert(tw_json_parse(input, strlen(input), &json, NULL) == 0);
    cr_assert(tw_request_from_json(a, json, &r, NULL) == 0);
    json_decref(json);
    cr_assert(r.settings.count == 1);
    cr_expect_str_eq(r.settings.items[0].pointer, "/change_request/change/a~0b");
}

Test(spec_request, a_seed_over_what_a_double_holds_survives)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_request r, back;
    json_t *json;

    tw_request_init(&r);
    r.type = "config_change";
    r.target = "pg";
    r.seed = UINT64_MAX - 1;
    TW_PUSH(a, &r.settings, (struct tw_setting_change){.name = "jit", .value = "on"});
    json = tw_request_to_json(&r);
    cr_assert(tw_request_from_json(a, json, &back, NULL) == 0);
    json_decref(json);
    cr_expect(back.seed == r.seed);
}
