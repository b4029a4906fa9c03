#include "trial/trial_internal.h"

#include <criterion/criterion.h>
#include <math.h>

static struct trial_schedule make(double baseline, double candidate, double target,
                                  double budget_s, int min_pairs)
{
    struct trial_schedule s;
    const struct trial_schedule_spec spec = {.capacity_per_s = {baseline, candidate},
                                             .target_rate_per_s = target,
                                             .budget_s = budget_s,
                                             .min_pairs = min_pairs,
                                             .next_pair = 3,
                                             .seed = 7};

    trial_schedule_init(&s, &spec);
    return s;
}

Test(trial_schedule, blocks_are_abba_at_one_level)
{
    struct trial_schedule s = make(8000, 9000, NAN, 6, 10);
    int began[TW_ARM_COUNT] = {0};

    for (int block = 0; block < 40; block++) {
        struct trial_order a, b;

        trial_schedule_next(&s, false, &a);
        trial_schedule_next(&s, false, &b);
        cr_assert_neq(a.first, b.first, "block %d is not ABBA", block);
        cr_assert_eq(a.level, b.level);
        cr_assert_neq(a.seed, b.seed);
        cr_assert_eq(b.pair, a.pair + 1);
        began[a.first]++;
    }
    cr_assert_gt(began[TW_BASELINE], 8);
    cr_assert_gt(began[TW_CANDIDATE], 8);
}

Test(trial_schedule, closed_blocks_between_open_ones_disturb_no_order)
{
    struct trial_schedule s = make(8000, 9000, NAN, 6, 10);
    struct trial_order a, b, c, d;

    trial_schedule_next(&s, false, &a);
    trial_schedule_next(&s, true, &c);
    trial_schedule_next(&s, true, &d);
    trial_schedule_next(&s, false, &b);
    cr_assert_neq(a.first, b.first);
    cr_assert_neq(c.first, d.first);
    cr_assert(isnan(c.rate_per_s) && isnan(c.level));
    cr_assert_eq(a.pair, 3);
    cr_assert_eq(b.pair, 6);
}

Test(trial_schedule, rates_are_shares_of_the_smaller_capacity)
{
    struct trial_schedule s = make(8000, 2000, NAN, 6, 10);
    double seen[TRIAL_LEVELS] = {0};

    for (int i = 0; i < 2 * TRIAL_LEVELS; i++) {
        struct trial_order o;

        trial_schedule_next(&s, false, &o);
        cr_assert_float_eq(o.rate_per_s, o.level * 2000, 1e-9);
        for (int k = 0; k < TRIAL_LEVELS; k++)
            seen[k] += o.level == s.level[k];
    }
    for (int k = 0; k < TRIAL_LEVELS; k++)
        cr_assert_eq(seen[k], 2, "level %g", s.level[k]);
}

Test(trial_schedule, the_targets_own_rate_replaces_the_level_nearest_to_it)
{
    cr_expect_float_eq(make(8000, 9000, 4000, 6, 10).level[1], 0.5, 1e-9);
    cr_expect_float_eq(make(8000, 9000, 1600, 6, 10).level[0], 0.2, 1e-9);
    cr_expect_float_eq(make(8000, 9000, 6000, 6, 10).level[2], 0.8, 1e-9, "over 60 %%");
    cr_expect_float_eq(make(8000, 9000, 2, 6, 10).level[0], 0.3, 1e-9,
                       "too little to measure");
}

Test(trial_schedule, fast_services_get_short_slots_and_ten_pairs_fit)
{
    struct trial_schedule s = make(15000, 15000, NAN, 6, 10);
    int64_t total = 0;

    for (int i = 0; i < s.open_min; i++) {
        struct trial_order o;

        trial_schedule_next(&s, false, &o);
        total += 2 * o.length_ns;
    }
    cr_expect_eq(s.open_min, 6);
    cr_expect_leq(tw_seconds(total), 1.0);
}

Test(trial_schedule, slow_services_get_longer_slots_within_the_budget)
{
    struct trial_schedule s = make(50, 60, NAN, 6, 10);

    for (int k = 0; k < TRIAL_LEVELS; k++) {
        cr_expect_gt(s.length_ns[k], 150 * TW_MSEC_NS);
        cr_expect_leq(tw_seconds(s.length_ns[k]) * 2 * s.open_min, 3.0 + 1e-6);
    }
    cr_expect(s.open_useful);
    cr_expect_not(make(2, 60, NAN, 6, 10).open_useful);
}

Test(trial_schedule, an_arm_that_answers_nothing_is_swamped_for_one_block)
{
    struct trial_schedule s = make(15000, 1, NAN, 6, 10);
    struct trial_order o;

    cr_expect(s.swamped);
    cr_expect(s.open_useful);
    cr_expect_eq(s.open_min, 2);
    trial_schedule_next(&s, false, &o);
    cr_expect_float_eq(o.rate_per_s, 4500, 1e-6);
    cr_expect_not(make(15000, 500, NAN, 6, 10).swamped);
}

Test(trial_schedule, missing_requests_lengthen_closed_slots_only_so_far)
{
    struct trial_schedule s = make(15000, 15000, NAN, 6, 10);
    int64_t before = s.closed_ns;

    trial_schedule_want(&s, 0);
    cr_expect_eq(s.closed_ns, before);
    trial_schedule_want(&s, 3000);
    cr_expect_eq(s.closed_ns, 100 * TW_MSEC_NS);
    trial_schedule_want(&s, 1000000);
    cr_expect_eq(s.closed_ns, 100 * TW_MSEC_NS);
    trial_schedule_want(&s, 0);
    cr_expect_eq(s.closed_ns, before);
}

Test(trial_schedule, the_same_seed_gives_the_same_pairs)
{
    struct trial_schedule one = make(8000, 9000, NAN, 6, 10),
                          two = make(8000, 9000, NAN, 6, 10);

    for (int i = 0; i < 20; i++) {
        struct trial_order a, b;

        trial_schedule_next(&one, i % 3 == 0, &a);
        trial_schedule_next(&two, i % 3 == 0, &b);
        cr_assert_eq(a.seed, b.seed);
        cr_assert_eq(a.first, b.first);
    }
}
