#include "tw/num.h"

#include <criterion/criterion.h>
#include <math.h>

Test(num_fit, pava_leaves_ascending_values_alone)
{
    double y[] = {1, 2, 2, 5};

    tw_pava(y, NULL, 4);
    cr_assert(y[0] == 1 && y[1] == 2 && y[2] == 2 && y[3] == 5);
}

Test(num_fit, pava_pools_violators_by_weight)
{
    double y[] = {1, 4, 1, 6, 3}, w[] = {1, 2, 1, 1, 2};

    tw_pava(y, w, 5);
    cr_assert_float_eq(y[0], 1, 1e-12);
    cr_assert_float_eq(y[1], 3, 1e-12);
    cr_assert_float_eq(y[2], 3, 1e-12);
    cr_assert_float_eq(y[3], 4, 1e-12);
    cr_assert_float_eq(y[4], 4, 1e-12);
    tw_pava(y, w, 0);
}

Test(num_fit, theil_sen_ignores_a_wild_point)
{
    double x[] = {0, 1, 2, 3, 4, 5, 6, 7, 8}, y[9];
    struct tw_line line;

    for (int i = 0; i < 9; i++)
        y[i] = 3 + 0.5 * x[i];
    y[4] = 1000;
    line = tw_theil_sen(x, y, 9);
    cr_assert_float_eq(line.slope, 0.5, 1e-12);
    cr_assert_float_eq(line.intercept, 3, 1e-12);
    cr_assert(line.slope_low <= 0.5 && line.slope_high >= 0.5);
}

Test(num_fit, theil_sen_says_nothing_without_two_places)
{
    double x[] = {1, 1, 1}, y[] = {1, 2, 3};

    cr_assert(isnan(tw_theil_sen(x, y, 1).slope));
    cr_assert(isnan(tw_theil_sen(x, y, 3).slope));
}

/* 90 % intervals of the slope cover the truth about nine times in ten. */
Test(num_fit, theil_sen_interval_covers_the_truth)
{
    struct tw_rng rng;
    int covered = 0;

    tw_rng_seed(&rng, 4, 0);
    for (int round = 0; round < 400; round++) {
        double x[15], y[15];
        struct tw_line line;

        for (int i = 0; i < 15; i++) {
            x[i] = i;
            y[i] = 0.3 * i + tw_rng_normal(&rng);
        }
        line = tw_theil_sen(x, y, 15);
        covered += line.slope_low <= 0.3 && line.slope_high >= 0.3;
    }
    cr_assert(covered > 340 && covered < 385, "%d of 400", covered);
}

Test(num_fit, normal_quantile_inverts_the_distribution)
{
    static const double p[] = {1e-12, 1e-6, 0.01,  0.02425, 0.3,
                               0.5,   0.9,  0.975, 1 - 1e-9};

    for (size_t i = 0; i < TW_COUNT_OF(p); i++)
        cr_assert_float_eq(tw_normal_cdf(tw_normal_quantile(p[i])) / p[i], 1, 1e-9);
    cr_assert_float_eq(tw_normal_quantile(0.975), 1.959963984540054, 1e-12);
    cr_assert(isinf(tw_normal_quantile(0)) && isinf(tw_normal_quantile(1)));
    cr_assert(isnan(tw_normal_quantile(NAN)) && isnan(tw_normal_quantile(1.1)));
}
