#include "tw/num.h"

#include <criterion/criterion.h>
#include <math.h>

Test(num_cseq, nothing_is_known_before_two_observations)
{
    struct tw_cseq c;

    tw_cseq_init(&c, 0.05, 1);
    cr_assert(isinf(tw_cseq_radius(&c)));
    tw_cseq_add(&c, 0.1);
    cr_assert(isinf(tw_cseq_radius(&c)));
    tw_cseq_add(&c, 0.1);
    cr_assert(isfinite(tw_cseq_radius(&c)));
}

Test(num_cseq, observations_are_clipped)
{
    struct tw_cseq c;

    tw_cseq_init(&c, 0.05, 1);
    tw_cseq_add(&c, 50);
    tw_cseq_add(&c, -1e300);
    cr_assert_float_eq(c.mean, 0, 1e-12);
    cr_assert_float_eq(c.v, 2, 1e-12);
}

/* Looked at after each of 60 observations, it errs at any time in at most alpha of the
 * runs. */
Test(num_cseq, holds_at_every_look)
{
    struct tw_rng rng;
    int wrong = 0, decided_effect = 0;

    tw_rng_seed(&rng, 6, 0);
    for (int run = 0; run < 500; run++) {
        struct tw_cseq null, effect;
        bool missed = false;

        tw_cseq_init(&null, 0.05, 1);
        tw_cseq_init(&effect, 0.05, 1);
        for (int i = 0; i < 60; i++) {
            tw_cseq_add(&null, 0.1 * tw_rng_normal(&rng));
            tw_cseq_add(&effect, 0.4 + 0.1 * tw_rng_normal(&rng));
            missed |= fabs(null.mean) > tw_cseq_radius(&null);
        }
        wrong += missed;
        decided_effect += effect.mean - tw_cseq_radius(&effect) > 0.05;
    }
    cr_assert_leq(wrong, 25 + 15, "%d of 500", wrong);
    cr_assert_eq(decided_effect, 500);
}
