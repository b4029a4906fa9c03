/* Whether two arms ask as much of the disk. */
#include "../../src/lab/trial/trial_internal.h"

#include <criterion/criterion.h>
#include <math.h>

static bool differ(double base, double cand, double requests)
{
    return trial_writes_differ(
        &(struct trial_writes){{base, cand}, {requests, requests}});
}

Test(trial_writes, arms_that_write_alike_do_not_differ)
{
    cr_expect_not(differ(1000, 1050, 5000));
    cr_expect_not(differ(1050, 1000, 5000));
    cr_expect_not(differ(0, 0, 5000));
    cr_expect_not(differ(20, 30, 5000), "a few writes may differ by chance");
}

Test(trial_writes, what_writes_for_every_request_is_told_from_what_writes_now_and_then)
{
    cr_expect(differ(3, 900, 1000));
    cr_expect(differ(900, 3, 1000), "an arm that waits less is asked of the disk too");
    cr_expect(differ(1000, 1500, 5000));
}

Test(trial_writes, an_arm_without_answers_tells_nothing)
{
    cr_expect_not(trial_writes_differ(&(struct trial_writes){{500, 10}, {1000, 0}}));
}

/* Baseline against baseline, counts as a Poisson process gives them: 3 standard deviations and the tenth
 * beside it leave less than one in a thousand. */
Test(trial_writes, counts_that_scatter_by_chance_are_not_called_different)
{
    struct tw_rng rng;
    int wrong = 0;

    tw_rng_seed(&rng, 7, 0);
    for (int i = 0; i < 4000; i++) {
        double n[2] = {0};

        for (int arm = 0; arm < 2; arm++)
            for (double at = tw_rng_exp(&rng, 1); at < 300; at += tw_rng_exp(&rng, 1))
                n[arm]++;
        wrong += differ(n[0], n[1], 1500);
    }
    cr_expect_leq(wrong, 4, "%d of 4000", wrong);
}
