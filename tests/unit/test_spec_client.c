#include "tw/spec.h"

#include <criterion/criterion.h>

static int read(const char *text, struct tw_client *c, struct tw_err *err)
{
    return tw_client_from_text(tw_arena_new(), text, c, err);
}

Test(spec_client, words_become_a_client)
{
    struct tw_client c;
    struct tw_err err = {0};

    cr_assert_eq(read("user=app dbname='my shop' sslmode=verify-full tls_max=1.2 "
                      "source=10.0.3.7 port=6000 think_s=2.5 prepared=yes "
                      "send='select 1' send='select 2'",
                      &c, &err),
                 0, "%s", err.text);
    cr_assert_str_eq(c.user, "app");
    cr_assert_str_eq(c.database, "my shop");
    cr_assert_str_eq(c.sslmode, "verify-full");
    cr_assert_str_eq(c.tls_max, "1.2");
    cr_assert_str_eq(c.source, "10.0.3.7");
    cr_assert_str_eq(c.origin, "given");
    cr_assert_eq(c.port, 6000);
    cr_assert_float_eq(c.think_s, 2.5, 1e-9);
    cr_assert(c.prepared);
    cr_assert_eq(c.send.count, 2);
    cr_assert_str_eq(c.send.items[1], "select 2");
}

Test(spec_client, a_wrong_word_is_named_with_the_nearest)
{
    struct tw_client c;
    struct tw_err err = {0};

    cr_assert_eq(read("user=app datebase=shop", &c, &err), -EINVAL);
    cr_assert(strstr(err.text, "datebase"), "%s", err.text);
    cr_assert(strstr(err.text, "database"), "%s", err.text);
}

Test(spec_client, what_is_no_word_or_not_closed_is_refused)
{
    static const char *const bad[] = {"app", "=app", "user='app", "port=many"};
    struct tw_client c;

    for (size_t i = 0; i < TW_COUNT_OF(bad); i++) {
        struct tw_err err = {0};

        cr_assert_eq(read(bad[i], &c, &err), -EINVAL, "%s", bad[i]);
        cr_assert_neq(err.text[0], '\0', "%s", bad[i]);
    }
}

Test(spec_client, json_and_back_is_the_same)
{
    struct tw_client c, again;
    struct tw_err err = {0};

    cr_assert_eq(read("user=app source=10.0.3.7 header_bytes=8192 send='x y'", &c, &err),
                 0);
    json_t *json = tw_client_to_json(&c);

    tw_client_from_json(tw_arena_new(), json, &again);
    cr_assert_str_eq(again.user, "app");
    cr_assert_null(again.database);
    cr_assert_eq(again.header_bytes, 8192);
    cr_assert_eq(again.send.count, 1);
    json_decref(json);
}
