#include "tw/smoke.h"

#include <criterion/criterion.h>
#include <jansson.h>

/* What a check says to a reply; NULL: it holds. */
static const char *words(struct tw_arena *a, const char *check,
                         const struct tw_reply *reply)
{
    json_auto_t *json = json_loads(check, 0, NULL);
    json_auto_t *list = json_pack("[O]", json);
    struct tw_smokes all = {0};
    struct tw_err err = {0};
    const char *text;

    cr_assert(tw_smokes_from_json(a, list, "", &all, &err) == 0, "%s", err.text);
    (void)tw_smoke_holds(a, &all.list.items[0], reply, &text);
    return text;
}

Test(smoke_check, each_expectation_holds_and_tells_when_not)
{
    static const struct tw_http_field headers[] = {
        {"Content-Type", "application/json; charset=utf-8"},
        {"rows", "2"},
        {"exit_code", "0"}};
    static const struct {
        const char *check;
        bool holds;
    } rows[] = {
        {"{\"http\":\"/\"}", true},
        {"{\"http\":\"/\",\"expect\":{\"status\":[204,200]}}", true},
        {"{\"http\":\"/\",\"expect\":{\"status\":503}}", false},
        {"{\"http\":\"/\",\"expect\":{\"headers\":{\"content-type\":\"application/"
         "json\"}}}",
         true},
        {"{\"http\":\"/\",\"expect\":{\"headers\":{\"content-type\":\"text/html\"}}}",
         false},
        {"{\"http\":\"/\",\"expect\":{\"headers\":{\"etag\":\"1\"}}}", false},
        {"{\"http\":\"/\",\"expect\":{\"contains\":\"lamp\",\"lacks\":\"desk\"}}", true},
        {"{\"http\":\"/\",\"expect\":{\"contains\":[\"lamp\",\"desk\"]}}", false},
        {"{\"http\":\"/\",\"expect\":{\"json\":{\"/items/0/price\":12.50,\"/"
         "a~1b\":true}}}",
         true},
        {"{\"http\":\"/\",\"expect\":{\"json\":{\"/items/1\":null}}}", false},
        {"{\"sql\":\"SELECT 1\",\"dsn\":\"\",\"expect\":{\"rows\":2}}", true},
        {"{\"sql\":\"SELECT 1\",\"dsn\":\"\",\"expect\":{\"rows\":1}}", false},
        {"{\"command\":[\"true\"]}", true},
        {"{\"command\":\"false\",\"expect\":{\"exit_code\":1}}", false},
    };
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_reply reply = {
        .status = 200,
        .body = "{\"items\":[{\"name\":\"lamp\",\"price\":12.5}],\"a/b\":true}"};

    reply.headers.items = headers;
    reply.headers.count = TW_COUNT_OF(headers);
    reply.len = __builtin_strlen(reply.body);
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        const char *text = words(a, rows[i].check, &reply);

        cr_expect(!text == rows[i].holds, "%s: %s", rows[i].check, text ? text : "holds");
    }
}

Test(smoke_check, no_answer_is_told_in_its_own_words)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_reply reply = {.why = "nobody listens"};

    cr_expect_str_eq(words(a, "{\"http\":\"/\"}", &reply), "nobody listens");
}
