#include "tw/num.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

Test(num_hist, empty_histogram_knows_nothing)
{
    tw_auto(tw_hist) *h = tw_hist_new();

    cr_assert_eq(tw_hist_count(h), 0);
    cr_assert(isnan(tw_hist_quantile(h, 0.5)) && isnan(tw_hist_mean(h)));
    cr_assert(isnan(tw_hist_min(h)) && isnan(tw_hist_max(h)));
    cr_assert(isnan(tw_hist_share_over(h, 1)));
    tw_hist_free(NULL);
}

Test(num_hist, one_value_is_all_its_quantiles)
{
    static const int64_t values[] = {0, 1, 1023, 1024, 1025, 999999, 137 * TW_SEC_NS};

    for (size_t i = 0; i < TW_COUNT_OF(values); i++) {
        tw_auto(tw_hist) *h = tw_hist_new();

        tw_hist_record(h, values[i]);
        for (double q = 0; q <= 1; q += 0.25)
            cr_assert_float_eq(tw_hist_quantile(h, q), (double)values[i] * 1e-9, 1e-15);
        cr_assert_float_eq(tw_hist_mean(h), (double)values[i] * 1e-9, 1e-15);
    }
}

Test(num_hist, quantiles_are_within_a_thousandth)
{
    tw_auto(tw_hist) *h = tw_hist_new();
    double exact[20000];
    struct tw_rng rng;

    tw_rng_seed(&rng, 2, 0);
    for (size_t i = 0; i < TW_COUNT_OF(exact); i++) {
        exact[i] = tw_rng_exp(&rng, 0.003) + 2e-6;
        tw_hist_record(h, (int64_t)(exact[i] * 1e9));
    }
    tw_sort(exact, TW_COUNT_OF(exact));
    for (double q = 0.01; q < 0.995; q += 0.01) {
        double want = exact[(size_t)(q * (double)TW_COUNT_OF(exact))];

        cr_assert_float_eq(tw_hist_quantile(h, q) / want, 1, 2e-3, "q %g", q);
    }
    cr_assert_float_eq(tw_hist_quantile(h, 1), exact[TW_COUNT_OF(exact) - 1], 2e-9);
}

static void count_one(void *arg, double seconds, int64_t count)
{
    (void)seconds;
    *(int64_t *)arg += count;
}

/* Values over every octave, at the edges of the buckets, outside both ends. */
Test(num_hist, batch_and_single_recording_agree)
{
    tw_auto(tw_hist) *one = tw_hist_new();
    tw_auto(tw_hist) *batch = tw_hist_new();
    char *a = malloc(TW_HIST_FLAT_MAX), *b = malloc(TW_HIST_FLAT_MAX);
    double seconds[3000];
    size_t n = 0, la, lb;
    int64_t counted = 0;

    for (int64_t ns = 1; n + 3 < TW_COUNT_OF(seconds) && ns < INT64_C(1) << 39;
         ns += ns / 7 + 1)
        for (int64_t d = -1; d <= 1; d++)
            seconds[n++] = (double)(ns + d) / 1e9;
    tw_hist_record_batch(batch, seconds, n);
    for (size_t i = 0; i < n; i++)
        tw_hist_record(one, (int64_t)(seconds[i] * 1e9));
    la = tw_hist_encode(one, a, TW_HIST_FLAT_MAX);
    lb = tw_hist_encode(batch, b, TW_HIST_FLAT_MAX);
    cr_assert_eq(la, lb);
    cr_assert_arr_eq(a + 40, b + 40, la - 40);
    tw_hist_each(batch, count_one, &counted);
    cr_assert_eq(counted, (int64_t)n);
    cr_assert_eq(tw_hist_count(batch), (int64_t)n);
    cr_assert_float_eq(tw_hist_max(batch), tw_hist_max(one), 1e-9);
    free(a);
    free(b);
}

Test(num_hist, batch_copes_with_values_out_of_any_range)
{
    static const double odd[] = {-1, 0, 1e-12, 1e30};
    tw_auto(tw_hist) *h = tw_hist_new();

    tw_hist_record_batch(h, odd, TW_COUNT_OF(odd));
    cr_assert_eq(tw_hist_count(h), 4);
    cr_assert_gt(tw_hist_max(h), 137);
    tw_hist_record_batch(h, odd, 0);
    cr_assert_eq(tw_hist_count(h), 4);
}

Test(num_hist, merge_adds_and_clear_empties)
{
    tw_auto(tw_hist) *a = tw_hist_new();
    tw_auto(tw_hist) *b = tw_hist_new();

    tw_hist_record_n(a, 5000, 3);
    tw_hist_record_n(b, 9000000, 7);
    tw_hist_record_n(b, 1, 0);
    tw_hist_merge(a, b);
    cr_assert_eq(tw_hist_count(a), 10);
    cr_assert_float_eq(tw_hist_mean(a), (3 * 5e-6 + 7 * 9e-3) / 10, 1e-12);
    cr_assert_float_eq(tw_hist_min(a), 5e-6, 1e-15);
    cr_assert_float_eq(tw_hist_quantile(a, 0.2), 5e-6, 1e-8);
    tw_hist_clear(a);
    cr_assert_eq(tw_hist_count(a), 0);
    tw_hist_merge(a, b);
    cr_assert_eq(tw_hist_count(a), 7);
    cr_assert_float_eq(tw_hist_min(a), 9e-3, 1e-15);
}

Test(num_hist, share_over_counts_what_lies_above)
{
    tw_auto(tw_hist) *h = tw_hist_new();

    tw_hist_record_n(h, 1000000, 90);
    tw_hist_record_n(h, 9000000, 10);
    cr_assert_float_eq(tw_hist_share_over(h, 5e-3), 0.1, 1e-12);
    cr_assert_float_eq(tw_hist_share_over(h, 1e-9), 1, 0);
    cr_assert_float_eq(tw_hist_share_over(h, 9e-3), 0, 0);
}

Test(num_hist, flat_form_comes_back_and_bad_ones_are_refused)
{
    tw_auto(tw_hist) *h = tw_hist_new();
    tw_auto(tw_hist) *back = tw_hist_new();
    char *flat = malloc(TW_HIST_FLAT_MAX);
    size_t len;

    tw_hist_record_n(h, 123456, (INT64_C(1) << 33) + 5);
    tw_hist_record(h, 77);
    len = tw_hist_encode(h, flat, TW_HIST_FLAT_MAX);
    cr_assert_eq(tw_hist_encode(h, flat, len - 1), 0);
    cr_assert_eq(tw_hist_decode(back, flat, len), 0);
    cr_assert_eq(tw_hist_count(back), tw_hist_count(h));
    cr_assert_float_eq(tw_hist_min(back), 77e-9, 0);
    cr_assert_eq(tw_hist_decode(back, flat, len - 1), -EINVAL);
    flat[0] ^= 1;
    cr_assert_eq(tw_hist_decode(back, flat, len), -EINVAL);
    cr_assert_eq(tw_hist_count(back), tw_hist_count(h));
    free(flat);
}
