#include "tw/predict.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static double requests(const struct tw_profile *p)
{
    double sum = 0;

    for (size_t i = 0; i < p->bins.count; i++)
        sum += p->bins.items[i].rate_per_s * p->bins.items[i].hours * 3600;
    return sum;
}

Test(predict_scenario, every_row_peaks_where_asked_and_covers_the_horizon)
{
    static const double hours[] = {0.25, 1, 24, 48, 100, 720};

    for (size_t s = 0; s < tw_scenario_count; s++)
        for (size_t h = 0; h < TW_COUNT_OF(hours); h++) {
            tw_auto(tw_arena) *a = tw_arena_new();
            struct tw_profile p;
            double end = 0;

            cr_assert_eq(
                tw_profile_make(a, tw_scenario_names[s], 800, hours[h], NULL, &p, NULL),
                0);
            cr_assert_str_eq(p.name, tw_scenario_names[s]);
            cr_assert(p.peak_per_s <= 800 * 1.0001 && p.peak_per_s > 800 * 0.7,
                      "%s %g h: %g", p.name, hours[h], p.peak_per_s);
            for (size_t i = 0; i < p.bins.count; i++) {
                cr_assert_float_eq(p.bins.items[i].from_h, end, 1e-9);
                cr_assert_gt(p.bins.items[i].rate_per_s, 0);
                end = p.bins.items[i].from_h + p.bins.items[i].hours;
            }
            cr_assert_float_eq(end, hours[h], 1e-9);
            cr_assert_leq(p.bins.count, 720);
        }
}

Test(predict_scenario, a_diurnal_day_with_a_peak_of_1000_has_44_million_requests)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_profile p;

    cr_assert_eq(tw_profile_make(a, "diurnal", 1000, 24, NULL, &p, NULL), 0);
    cr_assert_eq(p.bins.count, 288);
    cr_assert_float_eq(requests(&p) / 1e6, 44.1, 0.1, "%g", requests(&p));
}

Test(predict_scenario, unknown_names_get_the_nearest)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_profile p;
    struct tw_err err = {0};

    cr_assert_eq(tw_profile_make(a, "diurnall", 1000, 24, NULL, &p, &err), -EINVAL);
    cr_assert(strstr(err.text, "did you mean 'diurnal'"), "%s", err.text);
    cr_assert_str_eq(err.pointer, "/load_scenario");
    cr_assert_eq(tw_profile_make(a, "steady", NAN, 24, NULL, &p, &err), -EINVAL);
    cr_assert_eq(tw_profile_make(a, "steady", 10, 0, NULL, &p, &err), -EINVAL);
    cr_assert_eq(tw_profile_make(a, "steady", 10, 721, NULL, &p, &err), -EINVAL);
}

Test(predict_scenario, a_csv_holds_each_rate_until_the_next_line)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_profile p;
    struct tw_err err = {0};
    const char *csv = "hour,rate_per_s\n# night\n0, 100\r\n\n6,500\n18 ,50";

    cr_assert_eq(tw_profile_make(a, NULL, NAN, 24, csv, &p, &err), 0, "%s", err.text);
    cr_assert_float_eq(p.peak_per_s, 500, 1e-9);
    cr_assert_float_eq(p.bins.items[0].rate_per_s, 100, 1e-9);
    cr_assert_float_eq(p.bins.items[71].rate_per_s, 100, 1e-9);
    cr_assert_float_eq(p.bins.items[72].rate_per_s, 500, 1e-9);
    cr_assert_float_eq(p.bins.items[287].rate_per_s, 50, 1e-9);
    cr_assert_float_eq(requests(&p), 3600 * (600 + 6000 + 300), 1e-3);
}

Test(predict_scenario, bad_lines_are_named)
{
    static const struct {
        const char *csv, *says;
    } rows[] = {
        {"", "no line"},         {"0,1\nx,2", "line 2"},      {"0,1\n1", "line 2"},
        {"0,1\n2,-3", "line 2"}, {"0,1\n2,3\n2,4", "line 3"}, {"1,5", "expected 0"},
        {"0,0", "rate is 0"},    {"0,nan", "line 1"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_profile p;
        struct tw_err err = {0};

        cr_assert_eq(tw_profile_make(a, NULL, NAN, 24, rows[i].csv, &p, &err), -EINVAL,
                     "%s", rows[i].csv);
        cr_assert(strstr(err.text, rows[i].says), "'%s': %s", rows[i].csv, err.text);
        cr_assert_str_eq(err.pointer, "/profile");
    }
}
