#include "tw/num.h"

#include <criterion/criterion.h>
#include <math.h>

#define DRAWS 200000

Test(num_rng, same_seed_and_stream_give_the_same_sequence)
{
    struct tw_rng a, b;

    tw_rng_seed(&a, 7, 3);
    tw_rng_seed(&b, 7, 3);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(tw_rng_u64(&a), tw_rng_u64(&b));
}

Test(num_rng, neighbouring_seeds_and_streams_differ)
{
    struct tw_rng base, other;
    uint64_t first;

    tw_rng_seed(&base, 1, 1);
    first = tw_rng_u64(&base);
    for (uint64_t i = 0; i < 4; i++) {
        tw_rng_seed(&other, 1 + (i & 1), 1 + (i >> 1));
        cr_assert((tw_rng_u64(&other) == first) == (i == 0), "variant %d", (int)i);
    }
}

Test(num_rng, fill_gives_what_single_draws_give)
{
    struct tw_rng a, b;
    uint64_t many[37];

    tw_rng_seed(&a, 5, 0);
    tw_rng_seed(&b, 5, 0);
    tw_rng_fill(&a, many, TW_COUNT_OF(many));
    for (size_t i = 0; i < TW_COUNT_OF(many); i++)
        cr_assert_eq(many[i], tw_rng_u64(&b));
    cr_assert_eq(a.state, b.state);
}

static double mean_of(double (*draw)(struct tw_rng *), double *ret_var)
{
    struct tw_rng rng;
    double sum = 0, squares = 0;

    tw_rng_seed(&rng, 11, 0);
    for (int i = 0; i < DRAWS; i++) {
        double x = draw(&rng);

        sum += x;
        squares += x * x;
    }
    *ret_var = squares / DRAWS - sum / DRAWS * (sum / DRAWS);
    return sum / DRAWS;
}

static double draw_exp(struct tw_rng *rng)
{
    return tw_rng_exp(rng, 2);
}

Test(num_rng, distributions_have_their_mean_and_variance)
{
    static const struct {
        const char *name;
        double (*draw)(struct tw_rng *);
        double mean, var;
    } rows[] = {
        {"uniform", tw_rng_uniform, 0.5, 1.0 / 12},
        {"exponential", draw_exp, 2, 4},
        {"normal", tw_rng_normal, 0, 1},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        double var, mean = mean_of(rows[i].draw, &var);

        cr_assert_float_eq(mean, rows[i].mean, 4 * sqrt(rows[i].var / DRAWS), "%s: %g",
                           rows[i].name, mean);
        cr_assert_float_eq(var / rows[i].var, 1, 0.03, "%s: %g", rows[i].name, var);
    }
}

/* The state whose output is all ones would be hard to find; the arithmetic is what
 * matters. */
Test(num_rng, largest_draw_stays_below_one)
{
    double largest = ((double)(UINT64_MAX >> 12) + 0.5) * 0x1p-52;

    cr_assert_lt(largest, 1);
    cr_assert_lt(log(largest), 0);
}

Test(num_rng, below_reaches_every_value_and_no_other)
{
    struct tw_rng rng;
    int seen[7] = {0};

    tw_rng_seed(&rng, 1, 0);
    for (int i = 0; i < 7000; i++)
        seen[tw_rng_below(&rng, 7)]++;
    for (int i = 0; i < 7; i++)
        cr_assert_float_eq(seen[i], 1000, 4 * sqrt(1000.0 * 6 / 7), "%d: %d", i, seen[i]);
}

Test(num_rng, poisson_starts_ascend_within_the_length_and_the_room)
{
    static int64_t starts[20000];
    struct tw_rng rng;
    size_t n;

    tw_rng_seed(&rng, 3, 0);
    n = tw_poisson_starts(&rng, 1000, 10 * TW_SEC_NS, starts, TW_COUNT_OF(starts));
    cr_assert_float_eq((double)n, 10000, 4 * sqrt(10000));
    for (size_t i = 0; i < n; i++)
        cr_assert(starts[i] >= (i ? starts[i - 1] : 0) && starts[i] < 10 * TW_SEC_NS);
    cr_assert_eq(tw_poisson_starts(&rng, 1000, TW_SEC_NS, starts, 5), 5);
    cr_assert_eq(tw_poisson_starts(&rng, NAN, TW_SEC_NS, starts, 5), 0);
    cr_assert_eq(tw_poisson_starts(&rng, 1000, 0, starts, 5), 0);
}
