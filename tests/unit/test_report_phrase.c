#include "report/report_internal.h"

#include <criterion/criterion.h>
#include <math.h>

Test(report_phrase, changes_are_percent_near_the_same_and_factors_far_from_it)
{
    static const struct {
        double ratio;
        const char *text;
    } rows[] = {
        {1, "0 %"},
        {1.004, "+0.4 %"},
        {0.83, "\xe2\x88\x92"
               "17 %"},
        {1.99, "+99 %"},
        {2, "2.0 times"},
        {1220, "1,220 times"},
        {0.5, "1/2.0"},
        {0.0007, "1/1,429"},
        {NAN, "unknown"},
        {INFINITY, "without bound"},
        {0, "to nothing"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();

        cr_expect_str_eq(report_change(a, rows[i].ratio), rows[i].text);
    }
}

Test(report_phrase, intervals_say_what_is_not_known)
{
    static const struct {
        double low, high;
        const char *text;
    } rows[] = {
        {0.98, 1.03,
         "\xe2\x88\x92"
         "2.0 to +3.0 %"},
        {2.1, 2.7, "2.1 to 2.7 times"},
        {0.1, 0.25, "1/10 to 1/4.0"},
        {0.9, 3,
         "\xe2\x88\x92"
         "10 % to 3.0 times"},
        {1.4, NAN, "at least +40 %"},
        {1200, INFINITY, "at least 1,200 times"},
        {NAN, 1.2, "at most +20 %"},
        {NAN, NAN, ""},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();

        cr_expect_str_eq(report_interval(a, rows[i].low, rows[i].high), rows[i].text);
    }
}

Test(report_phrase, values_carry_their_unit)
{
    static const struct {
        double value;
        const char *unit, *text;
    } rows[] = {
        {1.62, "ms", "1.62 ms"},
        {0.041, "ms", "41 \xc2\xb5s"},
        {4180, "per s", "4,180 /s"},
        {0.005, "share", "0.5 %"},
        {2147483648.0, "bytes", "2 GB"},
        {0.62, "cores", "0.62 cores"},
        {16, "", "16"},
        {NAN, "ms", "unknown"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();

        cr_expect_str_eq(report_value(a, rows[i].value, rows[i].unit), rows[i].text);
    }
}

Test(report_phrase, what_a_terminal_would_obey_is_gone)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    cr_expect_str_eq(report_clean(a, " \033[31mred\033[0m\a\n\xe2\x80\xaetrick\xc2\x9b "),
                     "[31mred [0m \n trick");
    cr_expect_str_eq(report_clean(a, NULL), "");
    cr_expect_str_eq(report_clean(a, "host=a password=geheim"),
                     "host=a password=[redacted]");
}

Test(report_phrase, markup_is_escaped_and_what_xml_forbids_is_dropped)
{
    tw_auto_buf b;

    tw_buf_init(&b, 1000);
    report_xml(&b, "<a href=\"x\">'&'\x01\x1b</a>");
    cr_expect_str_eq(tw_buf_text(&b),
                     "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
}
