#include "tw/spec.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

Test(spec_json, unknown_numbers_are_null)
{
    const double values[] = {NAN, INFINITY, -INFINITY};

    for (size_t i = 0; i < TW_COUNT_OF(values); i++) {
        json_t *json = tw_json_real(values[i]);

        cr_expect(json_is_null(json));
        json_decref(json);
    }
}

Test(spec_json, reals_have_fifteen_digits)
{
    json_t *json = json_pack("[f,f]", 0.1, 1e300);
    tw_auto_free char *text = tw_json_dump(json, JSON_COMPACT);

    cr_expect_str_eq(text, "[0.1,1e300]");
    json_decref(json);
}

Test(spec_json, bytes_that_are_no_utf8_are_replaced)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"plain", "plain"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* surrogate */
        {"cut\xe2\x82", "cut\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        json_t *json = tw_json_text(rows[i].in);

        cr_assert(json_is_string(json));
        cr_expect_str_eq(json_string_value(json), rows[i].out);
        json_decref(json);
    }
}

Test(spec_json, no_text_is_null)
{
    json_t *json = tw_json_text(NULL);

    cr_expect(json_is_null(json));
    json_decref(json);
}

Test(spec_json, brackets_inside_texts_do_not_count_as_depth)
{
    struct tw_buf b;
    json_t *json = NULL;

    tw_buf_init(&b, 4096);
    tw_buf_puts(&b, "[\"\\\"");
    for (int i = 0; i < 200; i++)
        tw_buf_puts(&b, "[");
    tw_buf_puts(&b, "\"]");
    cr_expect(tw_json_parse(tw_buf_text(&b), b.len, &json, NULL) == 0);
    json_decref(json);
    tw_buf_done(&b);
}

Test(spec_json, a_body_over_the_limit_is_refused_before_it_is_parsed)
{
    struct tw_err err = {0};
    json_t *json = NULL;

    cr_expect(tw_json_parse("{}", TW_JSON_MAX_BYTES + 1, &json, &err) == -EFBIG);
    cr_expect(json == NULL);
}

Test(spec_json, the_hash_does_not_depend_on_the_order_of_keys)
{
    json_t *one = json_pack("{s:i,s:i}", "a", 1, "b", 2);
    json_t *two = json_pack("{s:i,s:i}", "b", 2, "a", 1);
    char first[65], second[65];

    tw_json_sha256(one, first);
    tw_json_sha256(two, second);
    cr_expect_str_eq(first, second);
    json_decref(one);
    json_decref(two);
}

Test(spec_json, an_estimate_tells_everything_or_null)
{
    struct tw_estimate e = {1.5, 1.25, 2, 0.9, 10, "pair median"};
    json_t *known = tw_estimate_to_json(&e), *unknown = tw_estimate_to_json(&tw_unknown);
    tw_auto_free char *first = tw_json_dump(known, JSON_COMPACT);
    tw_auto_free char *second = tw_json_dump(unknown, JSON_COMPACT);

    cr_expect_str_eq(first,
                     "{\"value\":1.5,\"low\":1.25,\"high\":2.0,\"level\":0.9,\"n\":10,"
                     "\"method\":\"pair median\"}");
    cr_expect_str_eq(second,
                     "{\"value\":null,\"low\":null,\"high\":null,\"level\":null,\"n\":0,"
                     "\"method\":null}");
    json_decref(known);
    json_decref(unknown);
}
