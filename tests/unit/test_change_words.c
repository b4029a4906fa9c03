#include "tw/change.h"

#include <criterion/criterion.h>
#include <string.h>

static struct tw_request *request(struct tw_arena *a)
{
    struct tw_request *r = tw_arena_alloc(a, sizeof(*r));

    tw_request_init(r);
    return r;
}

Test(change_words, a_pair_keeps_everything_after_the_first_equal_sign)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_request *r = request(a);

    cr_assert_eq(tw_change_parse_set(a, "log_line_prefix='a=%m '", r, NULL), 0);
    cr_assert_eq(tw_change_parse_set(a, "ALTER SYSTEM SET work_mem = '64MB'", r, NULL),
                 0);
    cr_assert_eq(tw_change_parse_set(a, "archive_command=", r, NULL), 0);
    cr_expect_str_eq(r->settings.items[0].value, "a=%m ");
    cr_expect_str_eq(r->settings.items[1].name, "work_mem");
    cr_expect_str_eq(r->settings.items[2].value, "");
}

Test(change_words, what_is_no_pair_says_what_was_expected)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_err err = {0};

    cr_expect_eq(tw_change_parse_set(a, "work_mem", request(a), &err), -EINVAL);
    cr_expect(strstr(err.text, "NAME=VALUE"), "%s", err.text);
}

Test(change_words, sweeps_double_or_step)
{
    static const struct {
        const char *text;
        size_t count;
        const char *last;
    } rows[] = {{"work_mem=4MB..64MB", 5, "64MB"},
                {"max_connections=100..300..+100", 3, "300"},
                {"random_page_cost=1.1", 1, "1.1"},
                {"work_mem=4..4MB", 1, "4MB"}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_request *r = request(a);
        struct tw_requests all;

        cr_assert_eq(tw_change_parse_set(a, rows[i].text, r, NULL), 0);
        cr_assert_eq(tw_change_sweep(a, r, &all, NULL), 0, "%s", rows[i].text);
        cr_assert_eq(all.list.count, rows[i].count, "%s: %zu", rows[i].text,
                     all.list.count);
        cr_expect_str_eq(all.list.items[all.list.count - 1].settings.items[0].value,
                         rows[i].last);
    }
}

Test(change_words, two_sweeps_or_a_backward_one_are_refused)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_request *r = request(a);
    struct tw_requests all;

    cr_assert_eq(tw_change_parse_set(a, "work_mem=64MB..4MB", r, NULL), 0);
    cr_expect_eq(tw_change_sweep(a, r, &all, NULL), -EINVAL);
    r = request(a);
    cr_assert_eq(tw_change_parse_set(a, "work_mem=4MB..64MB", r, NULL), 0);
    cr_assert_eq(tw_change_parse_set(a, "max_connections=1..4", r, NULL), 0);
    cr_expect_eq(tw_change_sweep(a, r, &all, NULL), -EINVAL);
}
