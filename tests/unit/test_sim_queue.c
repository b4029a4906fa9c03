#include "tw/sim.h"

#include <criterion/criterion.h>
#include <math.h>

static const float ones[] = {1};

/* Every kernel, by what its specification looks like. */
static const struct row {
    char name[24];
    struct tw_sim_queue_spec spec;
} rows[] = {
    {"lindley", {.servers = 1, .timeout_s = NAN}},
    {"tokens", {.servers = 1, .pool = 3, .delay_s = 1e-3, .timeout_s = NAN}},
    {"four servers", {.servers = 4, .timeout_s = NAN}},
    {"sharing",
     {.servers = 1, .pool = 5, .sharing = true, .delay_s = 1e-3, .timeout_s = NAN}},
    {"sharing, no pool", {.servers = 2, .sharing = true, .timeout_s = NAN}},
    {"sharing, limit", {.servers = 1, .pool = 2, .sharing = true, .timeout_s = 3e-3}},
};

Test(sim_queue, the_histogram_adds_up_to_every_request)
{
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_sim_queue) *q = tw_sim_queue_new(&rows[i].spec);
        tw_auto(tw_hist) *h = tw_hist_new();
        struct tw_sim_tally t = {0};

        for (int bin = 0; bin < 50; bin++) {
            tw_sim_queue_load(q, 10 + bin * 30, 1e-3);
            tw_sim_queue_advance(q, 0.37, h, &t);
        }
        tw_sim_queue_load(q, 0, 1e-3);
        tw_sim_queue_advance(q, 1, h, &t);
        tw_sim_queue_drain(q, h, &t);
        cr_assert_gt(t.arrivals, 10000, "%s", rows[i].name);
        cr_assert_eq(t.arrivals, t.done, "%s", rows[i].name);
        cr_assert_eq(tw_hist_count(h), t.done, "%s", rows[i].name);
        cr_assert((t.errors > 0) == isfinite(rows[i].spec.timeout_s), "%s", rows[i].name);
    }
}

Test(sim_queue, same_seed_gives_the_same_bits)
{
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        double p99[2];

        for (int k = 0; k < 2; k++) {
            tw_auto(tw_sim_queue) *q = tw_sim_queue_new(&rows[i].spec);
            tw_auto(tw_hist) *h = tw_hist_new();

            tw_sim_queue_load(q, 800, 1e-3);
            tw_sim_queue_advance(q, 10, h, NULL);
            p99[k] = tw_hist_quantile(h, 0.99);
        }
        cr_assert(p99[0] > 0 && p99[0] <= p99[1] && p99[1] <= p99[0], "%s", rows[i].name);
    }
}

/* Three at once, constant service 1 s. */
Test(sim_queue, replay_of_known_arrivals_gives_known_latencies)
{
    static const double starts[] = {0, 0, 0};
    static const struct {
        struct tw_sim_queue_spec spec;
        double want[3]; /* in order of size */
    } cases[] = {
        {{.servers = 1, .timeout_s = NAN}, {1, 2, 3}},
        {{.servers = 2, .timeout_s = NAN}, {1, 1, 2}},
        {{.servers = 1, .sharing = true, .timeout_s = NAN}, {3, 3, 3}},
        {{.servers = 1, .pool = 2, .sharing = true, .timeout_s = NAN}, {2, 2, 3}},
        {{.servers = 1, .pool = 1, .delay_s = 1, .timeout_s = NAN}, {2, 4, 6}},
        {{.servers = 1, .pool = 1, .sharing = true, .delay_s = 1, .timeout_s = NAN},
         {2, 4, 6}},
        {{.servers = 1, .pool = 2, .delay_s = 1, .timeout_s = NAN}, {2, 3, 4}},
        {{.servers = 1, .pool = 1, .timeout_s = 0.5}, {0.5, 0.5, 1}},
        {{.servers = 1, .pool = 1, .sharing = true, .timeout_s = 0.5}, {0.5, 0.5, 1}},
    };

    for (size_t i = 0; i < TW_COUNT_OF(cases); i++) {
        struct tw_sim_queue_spec spec = cases[i].spec;
        tw_auto(tw_sim_queue) *q = NULL;
        tw_auto(tw_hist) *h = tw_hist_new();

        spec.sample = ones;
        spec.sample_count = 1;
        q = tw_sim_queue_new(&spec);
        for (int again = 0; again < 2; again++) {
            tw_hist_clear(h);
            tw_sim_queue_load(q, 1, 1);
            tw_sim_queue_replay(q, starts, 3, h, NULL);
            cr_assert_eq(tw_hist_count(h), 3);
            for (int k = 0; k < 3; k++)
                cr_assert_float_eq(tw_hist_quantile(h, (k + 1) / 3.0), cases[i].want[k],
                                   0.002, "case %d, %d of 3: %g", (int)i, k + 1,
                                   tw_hist_quantile(h, (k + 1) / 3.0));
        }
    }
}

Test(sim_queue, a_backlog_that_was_set_is_served)
{
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_sim_queue) *q = tw_sim_queue_new(&rows[i].spec);

        tw_sim_queue_load(q, 1, 1e-3);
        tw_sim_queue_advance(q, 1, NULL, NULL);
        tw_sim_queue_backlog_set(q, 1000);
        cr_assert_float_eq(tw_sim_queue_backlog(q), 1000, 1, "%s", rows[i].name);
        tw_sim_queue_advance(q, 30, NULL, NULL);
        cr_assert_lt(tw_sim_queue_backlog(q), 5, "%s", rows[i].name);
    }
}

Test(sim_queue, strata_shares_add_up_and_weights_keep_the_count)
{
    static float sample[512];
    tw_auto(tw_sim_strata) *s = NULL;
    tw_auto(tw_sim_queue) *q = NULL;
    tw_auto(tw_hist) *h = tw_hist_new();
    struct tw_sim_tally t = {0};

    for (int i = 0; i < 512; i++)
        sample[i] = (float)(i + 1);
    s = tw_sim_strata_new(sample, 512, 0.5);
    cr_assert_float_eq(tw_sim_strata_cdf(s, 1e9), 1, 0.005);
    q = tw_sim_queue_new(&(struct tw_sim_queue_spec){
        .servers = 1, .timeout_s = NAN, .sample = sample, .sample_count = 512});
    tw_sim_queue_load(q, 500, 1e-3);
    tw_sim_queue_stratified(q, s, 100, h, &t);
    cr_assert_float_eq((double)tw_hist_count(h) / (double)t.done / TW_SIM_WEIGHT, 1,
                       0.01);
}
