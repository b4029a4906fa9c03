#include "trial/trial_internal.h"

#include <criterion/criterion.h>
#include <math.h>

static void step(struct trial_warmup *w, double baseline, double candidate)
{
    const double rate[TW_ARM_COUNT] = {baseline, candidate};

    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        w->rate[arm][w->steps] = rate[arm];
        w->spent_ns[arm][w->steps] = (w->steps + 1) * 100 * TW_MSEC_NS;
    }
    w->steps++;
}

Test(trial_warmup, climbing_rates_are_not_level)
{
    struct trial_warmup w = {.from = 1};

    /* As measured: 0.3 s steps after a restart. */
    step(&w, 1293, 1300);
    step(&w, 1893, 1850);
    step(&w, 2390, 2400);
    step(&w, 3973, 3800);
    cr_assert_not(trial_warmup_level(&w));
}

Test(trial_warmup, one_climbing_arm_is_enough_to_go_on)
{
    struct trial_warmup w = {.from = 0};

    step(&w, 5000, 3000);
    step(&w, 5050, 3600);
    step(&w, 4980, 4200);
    cr_assert_not(trial_warmup_level(&w));
}

Test(trial_warmup, noise_about_a_level_is_level)
{
    struct trial_warmup w = {.from = 1};

    step(&w, 2000, 2100);
    step(&w, 5000, 5200);
    step(&w, 5150, 4900);
    cr_assert_not(trial_warmup_level(&w), "two steps beside the cold one are too few");
    step(&w, 4950, 5100);
    cr_assert(trial_warmup_level(&w));
    cr_expect_float_eq(trial_warmup_capacity(&w, TW_BASELINE), 5000, 1e-9);
    cr_expect_float_eq(trial_warmup_cold_ratio(&w, TW_BASELINE), 0.4, 1e-9);
    cr_expect_float_eq(trial_warmup_cold_s(&w, TW_BASELINE), 0.1, 1e-9);
}

Test(trial_warmup, a_falling_rate_is_no_warm_up)
{
    struct trial_warmup w = {0};

    step(&w, 5000, 5000);
    step(&w, 4600, 5000);
    step(&w, 4200, 5000);
    cr_assert(trial_warmup_level(&w));
}

Test(trial_warmup, a_service_that_answers_nothing_is_level_at_nothing)
{
    struct trial_warmup w = {0};

    step(&w, 5000, 0);
    cr_assert_not(trial_warmup_level(&w));
    step(&w, 6000, 0);
    cr_assert(trial_warmup_level(&w));
    cr_expect_eq(trial_warmup_capacity(&w, TW_CANDIDATE), 0);
    cr_expect(isnan(trial_warmup_cold_ratio(&w, TW_CANDIDATE)));
}
