/* The load of a target's own days. */
#include "tw/predict.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define HOUR_NS (3600 * TW_SEC_NS)

/* Twice as much on the seventh day of each week, twice as much from noon on. */
static double rate_at(int64_t at_ns)
{
    int64_t hour = at_ns / HOUR_NS;

    return 100.0 * (hour % 24 >= 12 ? 2 : 1) * (hour / 24 % 7 == 6 ? 2 : 1);
}

static size_t record(struct tw_recorded *points, int64_t from, int64_t hours)
{
    size_t n = 0;

    for (int64_t at = from; at < from + hours * HOUR_NS; at += 300 * TW_SEC_NS)
        points[n++] = (struct tw_recorded){at, rate_at(at)};
    return n;
}

static struct tw_recorded points[12 * 24 * 30];

Test(predict_recorded, a_day_is_played_as_it_was)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    size_t n = record(points, 1000 * 24 * HOUR_NS, 24);
    struct tw_recorded_profile got;
    struct tw_profile p;
    struct tw_err err = {0};

    cr_assert_eq(tw_profile_recorded(a, points, n, 1001 * 24 * HOUR_NS + 5 * HOUR_NS, 24,
                                     &got, &err),
                 0, "%s", err.text);
    cr_expect_float_eq(got.recorded_hours, 24, 1e-9);
    cr_expect(!got.weekly);
    cr_expect_float_eq(got.peak_per_s, rate_at(1000 * 24 * HOUR_NS + 13 * HOUR_NS), 1e-9);
    cr_assert_eq(tw_profile_make(a, TW_SCENARIO_RECORDED, NAN, 24, got.csv, &p, &err), 0,
                 "%s", err.text);
    cr_expect_float_eq(p.bins.items[0].rate_per_s * 2,
                       p.bins.items[p.bins.count - 1].rate_per_s, 1e-6);
}

Test(predict_recorded, too_little_says_how_much_there_is_and_how_much_it_takes)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    size_t n = record(points, 1000 * 24 * HOUR_NS, 7);
    struct tw_recorded_profile got;
    struct tw_err err = {0};

    cr_assert_eq(tw_profile_recorded(a, points, n, 1001 * 24 * HOUR_NS, 24, &got, &err),
                 -EINVAL);
    cr_expect(strstr(err.text, "7.0 h") && strstr(err.text, "24 h") &&
                  strstr(err.text, "17"),
              "%s", err.text);
    cr_expect_str_eq(err.pointer, "/load_scenario");
    cr_expect_eq(tw_profile_recorded(a, points, 0, 0, 1, &got, &err), -EINVAL);
}

Test(predict_recorded, weekdays_are_told_apart_once_there_is_a_week)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    size_t n = record(points, 1001 * 24 * HOUR_NS, 14 * 24); /* 1001 days: 143 weeks */
    struct tw_recorded_profile got;
    struct tw_profile p;
    struct tw_err err = {0};

    cr_assert_eq(
        tw_profile_recorded(a, points, n, 1015 * 24 * HOUR_NS, 7 * 24, &got, &err), 0,
        "%s", err.text);
    cr_expect(got.weekly);
    cr_expect_float_eq(got.peak_per_s, 400, 1e-9);
    cr_assert_eq(tw_profile_make(a, TW_SCENARIO_RECORDED, NAN, 7 * 24, got.csv, &p, &err),
                 0);
    cr_expect_float_eq(p.bins.items[p.bins.count - 1].rate_per_s, 400, 1e-6);
    cr_expect_float_eq(p.bins.items[0].rate_per_s, 100, 1e-6);
}

Test(predict_recorded, a_short_horizon_stands_around_the_busiest_hour)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_recorded_profile got;
    struct tw_err err = {0};
    size_t n = record(points, 1000 * 24 * HOUR_NS, 24);

    for (size_t i = 0; i < n; i++)
        if (points[i].at_wall_ns / HOUR_NS % 24 == 15)
            points[i].rate_per_s = 1000;
    cr_assert_eq(tw_profile_recorded(a, points, n, 1001 * 24 * HOUR_NS, 1, &got, &err), 0,
                 "%s", err.text);
    cr_expect_float_eq(got.peak_per_s, 1000, 1e-9);
}
