#include "load/http_internal.h"

#include <criterion/criterion.h>
#include <string.h>

static struct tw_arena *arena;

static void open_arena(void)
{
    arena = tw_arena_new();
}

static void free_arena(void)
{
    tw_arena_free(arena);
}

TestSuite(load_template, .init = open_arena, .fini = free_arena);

Test(load_template, parameters_are_put_where_they_belong)
{
    static const char *const values[] = {"one", "", "three"};
    static const struct {
        const char *text;
        size_t parameters;
        const char *made;
    } rows[] = {
        {"", 0, ""},
        {"as it is", 3, "as it is"},
        {"$1", 3, "one"},
        {"a$1b$3c$2d", 3, "aonebthreecd"},
        {"$1$1", 1, "oneone"},
        {"$$1 costs $", 3, "$1 costs $"},
        {"$4 and $0", 3, "$4 and $0"},
        {"$12", 1, "$12"},
        {"$1", 0, "$1"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct load_template t;
        tw_auto_buf b = {0};

        tw_buf_init(&b, 1024);
        load_template_compile(arena, rows[i].text, strlen(rows[i].text),
                              rows[i].parameters, &t);
        load_template_render(&t, values, &b);
        cr_expect_str_eq(tw_buf_text(&b), rows[i].made, "%s", rows[i].text);
        cr_expect_eq(load_template_length(&t, values), b.len);
    }
}

Test(load_template, a_quoted_text_comes_out_as_it_was)
{
    static const char *const texts[] = {"$1", "a$$b", "plain", "$"};

    for (size_t i = 0; i < TW_COUNT_OF(texts); i++) {
        const char *quoted = load_template_quote(arena, texts[i]);
        const char *values[] = {"wrong"};
        struct load_template t;
        tw_auto_buf b = {0};

        tw_buf_init(&b, 1024);
        load_template_compile(arena, quoted, strlen(quoted), 1, &t);
        load_template_render(&t, values, &b);
        cr_expect_str_eq(tw_buf_text(&b), texts[i]);
    }
}

Test(load_template, escapes_are_bytes)
{
    const char text[] = "a\\r\\n\\x00\\x7f\\\\\\q\\x9";
    size_t len;
    char *bytes = load_unescape(arena, text, strlen(text), &len);

    cr_expect_eq(len, 9);
    cr_expect_arr_eq(bytes, "a\r\n\0\x7f\\qx9", 9);
}

Test(load_template, requests_for_http_are_read)
{
    struct tw_load_statement s = {
        .sql =
            "POST /order/$1?x=1\nHost: shop.example\nX-Key:  k$$\nConnection: close\n\n"
            "{\"id\": $1}\n\nmore",
        .expect = 201};
    struct http_request q;
    struct tw_err err = {0};

    TW_PUSH(arena, &s.variables, 0);
    cr_assert(http_request_read(arena, &s, &q, &err) == 0, "%s", err.text);
    cr_expect_str_eq(q.method, "POST");
    cr_expect_str_eq(q.host, "shop.example");
    cr_expect_eq(q.headers.count, 1, "the connection is not the request's affair");
    cr_expect_str_eq(q.headers.items[0].name, "x-key");
    cr_expect(q.has_body && !q.idempotent && !q.head);
    cr_expect_eq(q.expect, 201);
    cr_expect(q.path.parameters && q.body.parameters);
    cr_expect_eq(q.body.fixed, strlen("{\"id\": }\n\nmore"));
}

Test(load_template, requests_that_are_none_are_refused)
{
    static const char *const texts[] = {"",      "GET",          "/path",
                                        "GET x", " GET / extra", "GET /\nno colon"};

    for (size_t i = 0; i < TW_COUNT_OF(texts); i++) {
        struct tw_load_statement s = {.sql = texts[i]};
        struct http_request q;
        struct tw_err err = {0};

        cr_expect_eq(http_request_read(arena, &s, &q, &err), -EINVAL, "'%s'", texts[i]);
    }
}

Test(load_template, words_of_a_page_are_told_without_its_tags)
{
    struct http_words w = {0};
    struct load_fault f;
    const char *page = "<html><head><title>502 Bad\n Gateway</title></head>"
                       "<body bgcolor=\"white\"> nginx </body>";

    for (const char *at = page; *at; at++)
        http_words_add(&w, at, 1);
    http_fault(&f, 502, "", &w);
    cr_expect_str_eq(f.code, "502");
    cr_expect_str_eq(f.text, "Bad Gateway: 502 Bad Gateway nginx");
}
