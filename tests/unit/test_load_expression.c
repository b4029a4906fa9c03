#include "load/load_internal.h"

#include <criterion/criterion.h>
#include <math.h>

static double eval(const char *text)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const char *names[] = {"x", "y", "x"};
    const struct load_value values[] = {{.i = 1}, {.i = 7}, {.real = true, .d = 2.5}};
    struct load_expression *e;
    struct load_value out;
    struct tw_rng rng;
    struct tw_err err = {0};

    tw_rng_seed(&rng, 1, 1);
    if (load_expression_compile(a, text, names, 3, &e, &err) < 0)
        return -1e9;
    return load_expression_eval(e, values, &rng, &out) ? NAN : load_value_real(&out);
}

Test(load_expression, arithmetic_follows_precedence_and_types)
{
    static const struct {
        const char *text;
        double value;
    } rows[] = {
        {"1 + 2 * 3", 7},       {"(1 + 2) * 3", 9},
        {"7 / 2", 3},           {"7 / 2.0", 3.5},
        {"-7 % 3", -1},         {"10 - 2 - 3", 5},
        {":y * 2", 14},         {":x", 2.5},
        {"abs(-3)", 3},         {"greatest(1, 5, 3)", 5},
        {"least(4, 2.5)", 2.5}, {"int(5.9)", 5},
        {"double(3) / 2", 1.5}, {"mod(17, 5)", 2},
        {"pow(2, 10)", 1024},   {"sqrt(16) + ln(exp(2))", 6},
        {"- - 3", 3},           {"1e3 + 1", 1001},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        cr_expect_float_eq(eval(rows[i].text), rows[i].value, 1e-9, "%s gave %g",
                           rows[i].text, eval(rows[i].text));
}

Test(load_expression, mistakes_are_errors)
{
    static const char *const bad[] = {"1 +",
                                      "foo(1)",
                                      ":z",
                                      "random(1)",
                                      "(1",
                                      "1 2",
                                      "9223372036854775807 + 1",
                                      "1 / 0",
                                      "",
                                      "\"a\"",
                                      "random(1, 2",
                                      "* 3",
                                      "1 = 2"};

    for (size_t i = 0; i < TW_COUNT_OF(bad); i++)
        cr_expect_float_eq(eval(bad[i]), -1e9, 0.1, "'%s' was taken", bad[i]);
    cr_expect(isnan(eval("1 / (:y - 7)")), "divided by zero");
    cr_expect(isnan(eval("random(:y, 1)")), "drew from an empty range");
}

Test(load_expression, a_single_draw_needs_no_interpreter)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct load_expression *e;
    struct tw_load_variable v = {0};

    cr_assert(load_expression_compile(a, "random(1, 100000 * 10)", NULL, 0, &e, NULL) ==
              0);
    cr_assert(load_expression_simple(e, &v));
    cr_expect(v.kind == TW_VAR_UNIFORM && v.low == 1 && v.high == 1000000);
    cr_assert(
        load_expression_compile(a, "random_zipfian(1, 10, 1.5)", NULL, 0, &e, NULL) == 0);
    cr_assert(load_expression_simple(e, &v));
    cr_expect(v.kind == TW_VAR_ZIPF && v.shape == 1.5);
    cr_assert(load_expression_compile(a, "random(1, 10) + 1", NULL, 0, &e, NULL) == 0);
    cr_expect(!load_expression_simple(e, &v));
}

Test(load_expression, draws_stay_in_range_and_follow_their_law)
{
    struct tw_rng rng;
    double uniform = 0, gauss = 0, exponential = 0;
    int n = 200000, ones = 0, twos = 0;

    tw_rng_seed(&rng, 5, 5);
    for (int i = 0; i < n; i++) {
        int64_t u = load_draw_uniform(&rng, -10, 10),
                g = load_draw_gauss(&rng, 1, 100, 4);
        int64_t x = load_draw_exponential(&rng, 1, 100, 5),
                z = load_draw_zipf(&rng, 1, 1000, 1.5);

        cr_assert(u >= -10 && u <= 10 && g >= 1 && g <= 100 && x >= 1 && x <= 100);
        cr_assert(z >= 1 && z <= 1000);
        uniform += (double)u / n;
        gauss += (double)g / n;
        exponential += (double)x / n;
        ones += z == 1;
        twos += z == 2;
    }
    cr_expect_float_eq(uniform, 0, 5 * 6.06 / sqrt(n));
    cr_expect_float_eq(gauss, 50.5, 5 * 12.5 / sqrt(n));
    /* The mean of the cut exponential: 1/c - 1/(exp(c) - 1) of the range, plus half a
     * step. */
    cr_expect_float_eq(exponential, 0.5 + 100 * (1 / 5.0 - 1 / (exp(5) - 1)), 0.3);
    cr_expect_float_eq((double)ones / twos, pow(2, 1.5), 0.1,
                       "1 and 2 stand as 2^s to 1");
}
