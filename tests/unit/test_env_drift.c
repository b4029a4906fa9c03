/* What counts as a change of a target, and how it is told. */
#include "tw/env.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static json_t *drift_of(const char *before, const char *after)
{
    json_auto_t *old = json_loads(before, 0, NULL), *new = json_loads(after, 0, NULL);

    cr_assert(old && new);
    return tw_env_drift(old, new);
}

static const char *text_at(const json_t *drift, size_t i, const char *key)
{
    return json_string_value(json_object_get(json_array_get(drift, i), key));
}

Test(env_drift, a_setting_is_named_with_its_values)
{
    json_auto_t *d =
        drift_of("{\"settings\": [{\"name\": \"work_mem\", \"value\": \"4096\"}]}",
                 "{\"settings\": [{\"name\": \"work_mem\", \"value\": \"8192\"}]}");
    tw_auto_free char *words = tw_env_drift_text(d, 8);

    cr_assert_eq(json_array_size(d), 1);
    cr_expect_str_eq(text_at(d, 0, "before"), "4096");
    cr_expect_str_eq(text_at(d, 0, "after"), "8192");
    cr_expect_str_eq(words, "work_mem: '4096' is now '8192'");
}

Test(env_drift, of_a_file_the_lines_that_differ_are_told)
{
    json_auto_t *d = drift_of(
        "{\"files\": [{\"path\": \"/a.conf\", \"text\": \"one\\ntwo\\nthree\\n\"}]}",
        "{\"files\": [{\"path\": \"/a.conf\", \"text\": \"one\\n2\\nthree\\n\"}]}");

    cr_assert_eq(json_array_size(d), 1);
    cr_expect_str_eq(text_at(d, 0, "before"), "two");
    cr_expect_str_eq(text_at(d, 0, "after"), "2");
    cr_expect_eq(json_integer_value(json_object_get(json_array_get(d, 0), "line")), 2);
}

Test(env_drift, what_moves_with_use_is_none)
{
    json_auto_t *roles =
        drift_of("{\"roles\": [{\"name\": \"a\", \"connections_used\": 1}]}",
                 "{\"roles\": [{\"name\": \"a\", \"connections_used\": 2}]}");
    json_auto_t *rules = drift_of("{\"files\": [{\"path\": \"nft list ruleset\", "
                                  "\"text\": \"accept counter packets "
                                  "1 bytes 60\\n\"}]}",
                                  "{\"files\": [{\"path\": \"nft list ruleset\", "
                                  "\"text\": \"accept counter packets "
                                  "2 bytes 90\\n\"}]}");
    json_auto_t *saved = drift_of("{\"files\": [{\"path\": \"iptables-save\", \"text\": "
                                  "\"# made at 1\\n:INPUT DROP "
                                  "[3:4]\\n\"}]}",
                                  "{\"files\": [{\"path\": \"iptables-save\", \"text\": "
                                  "\"# made at 2\\n:INPUT DROP "
                                  "[5:6]\\n\"}]}");
    json_auto_t *hba = drift_of("{\"hba\": [{\"line\": 1, \"type\": \"local\"}]}",
                                "{\"hba\": [{\"line\": 2, \"type\": \"local\"}]}");

    cr_expect_eq(json_array_size(roles), 0);
    cr_expect_eq(json_array_size(rules), 0);
    cr_expect_eq(json_array_size(saved), 0);
    cr_expect_eq(json_array_size(hba), 0);
}

Test(env_drift, an_access_rule_is_named)
{
    json_auto_t *d = drift_of(
        "{\"hba\": [{\"type\": \"local\", \"users\": \"all\", \"method\": \"peer\"}]}",
        "{\"hba\": [{\"type\": \"local\", \"users\": \"all\", \"method\": \"trust\"}]}");

    cr_assert_eq(json_array_size(d), 2);
    cr_expect_str_eq(text_at(d, 0, "before"), "local all peer");
    cr_expect_str_eq(text_at(d, 1, "after"), "local all trust");
}

Test(env_drift, long_lists_are_told_shortly)
{
    tw_auto_buf before = {0};
    json_auto_t *d = NULL;
    tw_auto_free char *words = NULL;

    tw_buf_init(&before, 65536);
    tw_buf_puts(&before, "{\"settings\": [");
    for (int i = 0; i < 100; i++)
        tw_buf_printf(&before, "%s{\"name\": \"s%d\", \"value\": \"1\"}", i ? "," : "",
                      i);
    tw_buf_puts(&before, "]}");
    d = drift_of(tw_buf_text(&before), "{}");
    words = tw_env_drift_text(d, 8);
    cr_assert_eq(json_array_size(d), 100);
    cr_expect(strstr(words, "and 92 more"), "%s", words);
}
