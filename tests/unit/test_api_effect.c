/* What several simulations say of one effect. */
#include "app/api/api_internal.h"

#include <criterion/criterion.h>
#include <math.h>

static struct api_effect of(double value, double sd)
{
    return (struct api_effect){value, value - 1.645 * sd, value + 1.645 * sd};
}

Test(api_effect, the_surer_run_weighs_more)
{
    const struct api_effect runs[] = {of(0.1, 0.1), of(0.4, 0.2)};
    struct api_effect e = api_effect_pool(runs, 2);

    cr_expect_float_eq(e.value, (100 * 0.1 + 25 * 0.4) / 125, 1e-9);
    cr_expect_float_eq(api_effect_sd(&e), sqrt(1 / 125.0), 1e-9);
}

Test(api_effect, one_run_is_taken_as_it_is)
{
    const struct api_effect one = {0.3, 0.1, 0.6};
    struct api_effect e = api_effect_pool(&one, 1);

    cr_expect(e.value == 0.3 && e.low == 0.1 && e.high == 0.6);
}

Test(api_effect, runs_without_an_interval_have_none_together)
{
    const struct api_effect runs[] = {{0.2, NAN, NAN}, of(0.4, 0.1)};
    struct api_effect e = api_effect_pool(runs, 2);

    cr_expect_float_eq(e.value, 0.3, 1e-9);
    cr_expect(isnan(e.low) && isnan(e.high));
}

Test(api_effect, what_is_within_its_noise_is_told_as_none)
{
    cr_expect_float_eq(api_effect_told(of(0.1, 0.2)).value, 0, 1e-12);
    cr_expect_float_eq(api_effect_told(of(-0.4, 0.2)).value, -0.3, 1e-9);
    cr_expect_float_eq(api_effect_told(of(2.0, 0.02)).value, 2.0, 1e-3);
    cr_expect_float_eq(api_effect_told((struct api_effect){0.2, NAN, NAN}).value, 0.2, 1e-12);
}

Test(api_effect, two_runs_disagree_beyond_their_noise_alone)
{
    const struct api_effect near[] = {of(0.1, 0.1), of(-0.2, 0.1)}, far[] = {of(0.1, 0.1), of(-0.5, 0.1)};

    cr_expect_not(api_effects_disagree(near, 2));
    cr_expect(api_effects_disagree(far, 2));
    cr_expect_not(api_effects_disagree(far, 1));
}

Test(api_effect, outcomes_move_what_is_told_as_far_as_they_weigh)
{
    const double told[] = {1.0, -0.5}, half[] = {0.5, -0.25}, tiny[] = {0.01, 0.01}, other[] = {-1, 5};

    cr_expect_float_eq(api_effect_slope(told, told, 0), 1, 1e-12, "nothing is known");
    cr_expect_float_eq(api_effect_slope(told, told, 2), 1, 1e-12, "it happened as told");
    cr_expect_float_eq(api_effect_slope(told, half, 2), (0.04 + 0.625) / (0.04 + 1.25), 1e-12);
    cr_expect(api_effect_slope(tiny, other, 2) < 2.1, "noise of small effects moves little");
    cr_expect(api_effect_slope(told, other, 2) >= 0, "an effect is not turned round");
}
