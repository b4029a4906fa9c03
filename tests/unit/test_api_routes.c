/* What is made from the table of routes agrees with it. */
#include "tw/api.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

Test(api_routes, the_page_is_the_one_that_the_table_makes)
{
    tw_auto_free char *page = NULL;
    tw_auto_buf made = {0};
    struct tw_err err = {0};

    tw_buf_init(&made, 1 << 20);
    tw_api_markdown(&made);
    cr_assert_eq(
        tw_read_file(AT_FDCWD, "docs/API_DOCUMENTATION.md", 1 << 20, &page, NULL, &err),
        0, "%s", err.text);
    cr_expect(
        tw_streq(page, tw_buf_text(&made)),
        "docs/API_DOCUMENTATION.md is old: twin _routes > docs/API_DOCUMENTATION.md");
}

/* Every $ref leads somewhere. */
static void check_refs(const json_t *json, const json_t *schemas)
{
    const char *key, *ref = json_string_value(json_object_get(json, "$ref"));
    json_t *value;
    size_t i;

    if (ref)
        cr_expect(json_object_get(schemas, ref + strlen("#/components/schemas/")), "%s",
                  ref);
    json_object_foreach ((json_t *)(uintptr_t)json, key, value)
        check_refs(value, schemas);
    json_array_foreach (json, i, value)
        check_refs(value, schemas);
}

Test(api_routes, the_description_is_whole)
{
    json_auto_t *doc = tw_api_openapi();
    const json_t *schemas =
        json_object_get(json_object_get(doc, "components"), "schemas");
    const char *path, *method;
    json_t *item, *op;

    cr_assert_str_eq(json_string_value(json_object_get(doc, "openapi")), "3.1.0");
    check_refs(doc, schemas);
    json_object_foreach (json_object_get(doc, "paths"), path, item)
        json_object_foreach (item, method, op) {
            cr_expect(json_object_get(op, "operationId"), "%s %s", method, path);
            cr_expect(json_object_get(op, "security") ||
                          json_object_get(op, "x-permission"),
                      "%s %s is for nobody", method, path);
        }
}

/* The body is kept by the description: what the specification names is there, under these names. */
Test(api_routes, the_body_of_a_simulation_has_every_field_described)
{
    json_auto_t *doc = tw_api_openapi();
    json_t *fields = json_object_get(
        json_object_get(json_object_get(json_object_get(doc, "components"), "schemas"),
                        "Simulation"),
        "properties");
    tw_auto(tw_simulation) *sim = tw_simulation_new();
    json_auto_t *body = tw_simulation_to_json(sim);
    const char *key;
    json_t *value;

    json_object_foreach (fields, key, value)
        cr_expect(json_object_get(body, key), "'%s' is described and not there", key);
}
