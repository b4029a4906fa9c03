#include "tw/num.h"

#include <criterion/criterion.h>
#include <math.h>

Test(num_summary, nothing_gives_nan)
{
    double none[1] = {0};

    cr_assert(isnan(tw_mean(none, 0)) && isnan(tw_sd(none, 1)) &&
              isnan(tw_median(none, 0)));
}

Test(num_summary, mean_and_sd_of_known_numbers)
{
    double x[] = {2, 4, 4, 4, 5, 5, 7, 9};

    cr_assert_float_eq(tw_mean(x, 8), 5, 1e-12);
    cr_assert_float_eq(tw_sd(x, 8), sqrt(32.0 / 7), 1e-12);
}

Test(num_summary, sort_puts_nan_last_for_few_and_many)
{
    double x[100];

    for (size_t n = 5; n <= 100; n += 95) {
        for (size_t i = 0; i < n; i++)
            x[i] = i % 5 == 2 ? NAN : (double)((i * 37) % 101);
        tw_sort(x, n);
        for (size_t i = 1; i < n - n / 5; i++)
            cr_assert(x[i] >= x[i - 1]);
        for (size_t i = n - n / 5; i < n; i++)
            cr_assert(isnan(x[i]));
    }
}

Test(num_summary, quantile_interpolates_and_nan_spreads)
{
    double x[] = {30, 10, 20, 40}, y[] = {1, NAN, 3};

    cr_assert_float_eq(tw_quantile(x, 4, 0.5), 25, 1e-12);
    cr_assert_float_eq(tw_quantile(x, 4, 0), 10, 0);
    cr_assert_float_eq(tw_quantile(x, 4, 1), 40, 0);
    cr_assert(isnan(tw_median(y, 3)));
}

Test(num_summary, bootstrap_of_one_value_has_no_interval)
{
    struct tw_rng rng;
    double one[] = {5};
    struct tw_estimate e;

    tw_rng_seed(&rng, 1, 0);
    e = tw_bootstrap_median(one, 1, 0.9, 100, &rng);
    cr_assert(e.value == 5 && isnan(e.low) && isnan(e.high) && e.n == 1);
}

Test(num_summary, bootstrap_interval_covers_the_median)
{
    struct tw_rng rng;
    int covered = 0;

    tw_rng_seed(&rng, 9, 0);
    for (int round = 0; round < 200; round++) {
        double x[15];
        struct tw_estimate e;

        for (int i = 0; i < 15; i++)
            x[i] = tw_rng_normal(&rng);
        e = tw_bootstrap_median(x, 15, 0.9, 200, &rng);
        covered += e.low <= 0 && e.high >= 0;
    }
    cr_assert(covered > 160 && covered < 198, "%d of 200", covered);
}
