#include "tw/base.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

Test(base_quantity, bytes_are_binary_as_postgresql_and_docker_read_them)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } rows[] = {
        {"0", 0},
        {"100", 100},
        {"64kB", 64 << 10},
        {"64 kB", 64 << 10},
        {"1MB", 1 << 20},
        {"2GB", INT64_C(2) << 30},
        {"1.5G", INT64_C(3) << 29},
        {"3tb", INT64_C(3) << 40},
        {"1MiB", 1 << 20},
        {"12B", 12},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        int64_t bytes = -1;

        cr_expect(tw_parse_bytes(rows[i].text, &bytes, NULL) == 0, "%s", rows[i].text);
        cr_expect(bytes == rows[i].bytes, "%s: %lld", rows[i].text, (long long)bytes);
    }
}

Test(base_quantity, what_is_no_quantity_is_refused_with_what_was_expected)
{
    static const char *const rows[] = {"",    "GB",   "-1GB", "1XB",
                                       "1 2", "1e30", "nan",  "inf"};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_err err = {0};
        int64_t bytes = 7;

        cr_expect(tw_parse_bytes(rows[i], &bytes, &err) == -EINVAL, "%s", rows[i]);
        cr_expect(bytes == 7 && *err.text);
    }
}

Test(base_quantity, cores_are_whole_or_thousandths)
{
    static const struct {
        const char *text;
        double cores;
    } rows[] = {{"2 cores", 2}, {"2", 2}, {"500m", 0.5}, {"1.5", 1.5}, {"1 core", 1}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        double cores = 0;

        cr_expect(tw_parse_cores(rows[i].text, &cores, NULL) == 0 &&
                      fabs(cores - rows[i].cores) < 1e-12,
                  "%s", rows[i].text);
    }
    cr_expect(tw_parse_cores("0", &(double){0}, NULL) == -EINVAL);
    cr_expect(tw_parse_cores("2GB", &(double){0}, NULL) == -EINVAL);
}

Test(base_quantity, numbers_are_read_to_their_end)
{
    int64_t whole = 0;
    double real = 0;

    cr_expect(tw_parse_int64("-42", &whole, NULL) == 0 && whole == -42);
    cr_expect(tw_parse_int64("42x", &whole, NULL) == -EINVAL);
    cr_expect(tw_parse_int64("", &whole, NULL) == -EINVAL);
    cr_expect(tw_parse_int64("99999999999999999999", &whole, NULL) == -EINVAL);
    cr_expect(tw_parse_double("1e3", &real, NULL) == 0 && real == 1000.0);
    cr_expect(tw_parse_double("1,5", &real, NULL) == -EINVAL);
    cr_expect(tw_parse_double("nan", &real, NULL) == -EINVAL);
}

Test(base_quantity, values_are_shown_as_people_write_them)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    cr_expect_str_eq(tw_show_bytes(a, 0), "0 B");
    cr_expect_str_eq(tw_show_bytes(a, 1536), "1.5 kB");
    cr_expect_str_eq(tw_show_bytes(a, 0x1p30), "1 GB");
    cr_expect_str_eq(tw_show_bytes(a, 700.0 * 0x1p20), "700 MB");
    cr_expect_str_eq(tw_show_bytes(a, NAN), "unknown");
    cr_expect_str_eq(tw_show_seconds(a, 0.00085), "850 \xc2\xb5s");
    cr_expect_str_eq(tw_show_seconds(a, 0.0125), "12.5 ms");
    cr_expect_str_eq(tw_show_seconds(a, 90), "90 s");
    cr_expect_str_eq(tw_show_seconds(a, 86400), "24 h");
    cr_expect_str_eq(tw_show_seconds(a, NAN), "unknown");
    cr_expect_str_eq(tw_show_count(a, 12345), "12,345");
    cr_expect_str_eq(tw_show_count(a, -1234567), "-1,234,567");
    cr_expect_str_eq(tw_show_count(a, 999), "999");
    cr_expect_str_eq(tw_show_count(a, NAN), "unknown");
}
