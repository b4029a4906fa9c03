#include "tw/predict.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct tw_model model(double capacity, bool sharing)
{
    struct tw_model m = {
        .level_count = 4,
        .capacity_per_s = capacity,
        .capacity_low = 0.95 * capacity,
        .capacity_high = 1.05 * capacity,
        .servers = 1,
        .pool = 16,
        .processor_sharing = sharing,
        .delay_s = 1e-4,
        .stall = 1,
        .timeout_s = NAN,
        .sample_count = 1000,
        .wal_per_request_bytes = 300,
        .wal_pages = 1e4,
        .wal_touches_per_request = 1,
        .memory_base_bytes = 1e7,
        .memory_per_connection_bytes = 1e6,
        .temp_bytes_per_request = NAN,
        .drift = 0.05,
        .requests = 5000,
    };
    static const double at[] = {0.3, 0.55, 0.8, 1};

    for (int i = 0; i < 4; i++) {
        m.rate_per_s[i] = at[i] * capacity;
        m.demand_s[i] = (1.4 - 0.4 * at[i]) / capacity;
        for (int j = 0; j < 3; j++) {
            m.residual[i][j] = i < 3 ? 0.1 * (j + 1) : NAN;
            m.q_measured[i][j] = NAN;
        }
    }
    for (int i = 0; i < 1000; i++)
        m.sample[i] = (float)-log1p(-(i + 0.5) / 1000);
    return m;
}

static struct tw_predict_spec spec(const struct tw_model *m, const struct tw_profile *p,
                                   const char *engine)
{
    return (struct tw_predict_spec){.model = m,
                                    .profile = p,
                                    .engine = engine,
                                    .seed = 4,
                                    .checkpoint_s = 300,
                                    .max_wal_bytes = NAN};
}

static struct tw_forecast forecast(struct tw_arena *a, const struct tw_model *m,
                                   const char *scenario, double peak, double hours,
                                   const char *engine)
{
    struct tw_profile p;
    struct tw_predict_spec s;
    struct tw_forecast f;
    struct tw_err err;

    cr_assert_eq(tw_profile_make(a, scenario, peak, hours, NULL, &p, NULL), 0);
    s = spec(m, &p, engine);
    cr_assert_eq(tw_predict_horizon(a, &s, &f, &err), 0, "%s", err.text);
    return f;
}

static bool says(const struct tw_forecast *f, const char *text)
{
    for (size_t i = 0; i < f->notes.count; i++)
        if (strstr(f->notes.items[i], text))
            return true;
    return false;
}

Test(predict_horizon, both_engines_count_every_request)
{
    static const char *const engines[] = {"map", "full"};
    static const double peaks[] = {50,
                                   140}; /* of a capacity of 100: half load, overload */

    for (size_t e = 0; e < 2; e++)
        for (size_t p = 0; p < 2; p++)
            for (int sharing = 0; sharing < 2; sharing++) {
                tw_auto(tw_arena) *a = tw_arena_new();
                struct tw_model m = model(100, sharing);
                struct tw_forecast f =
                    forecast(a, &m, "diurnal", peaks[p], 24, engines[e]);

                cr_assert_eq((double)f.histogram_count, f.requests, "%s peak %g",
                             engines[e], peaks[p]);
                cr_assert_float_eq(f.requests, peaks[p] * 0.5108 * 86400,
                                   6 * sqrt(f.requests) + 1);
                cr_assert_str_eq(f.engine, engines[e]);
                cr_assert(isnan(f.engine_seconds) && isnan(f.acceleration));
            }
}

Test(predict_horizon, same_seed_gives_the_same_bits)
{
    static const char *const engines[] = {"map", "full"};

    for (size_t e = 0; e < 2; e++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_model m = model(100, true);
        struct tw_forecast f = forecast(a, &m, "diurnal", 70, 24, engines[e]);
        struct tw_forecast g = forecast(a, &m, "diurnal", 70, 24, engines[e]);

        cr_assert_eq(
            memcmp(f.bins.items, g.bins.items, f.bins.count * sizeof *f.bins.items), 0);
        cr_assert_eq(memcmp(&f.p99_s.value, &g.p99_s.value, sizeof(double)), 0);
    }
}

Test(predict_horizon, bins_are_consistent)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_model m = model(1000, true);
    struct tw_forecast f = forecast(a, &m, "diurnal", 800, 24, "map");

    cr_assert_eq(f.bins.count, 288);
    for (size_t i = 0; i < f.bins.count; i++) {
        const struct tw_bin *b = &f.bins.items[i];

        cr_assert(b->p50_s > 1e-4 && b->p50_s <= b->p95_s && b->p95_s <= b->p99_s);
        cr_assert_float_eq(b->throughput_per_s, b->rate_per_s, 1e-6);
        cr_assert(b->utilisation > 0 && b->utilisation < 0.9);
        cr_assert_float_eq(b->cpu_cores, b->utilisation, 1e-9); /* one server, stall 1 */
        cr_assert(b->connections > 0 && b->connections <= 16);
        cr_assert(b->memory_bytes >= 1e7 && b->memory_bytes <= 1e7 + 16e6);
        cr_assert(b->backlog == 0 && b->errors_per_s == 0);
    }
    cr_assert_float_eq(f.throughput_per_s.value, 800 * 0.5108, 0.2);
}

/* Twenty at 30 days: minutes become an hour, and the counts still add up. */
Test(predict_horizon, long_horizons_have_coarser_bins)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_model m = model(100, false);
    struct tw_forecast f = forecast(a, &m, "diurnal", 60, 720, "map");

    cr_assert_eq(f.bins.count, 720);
    cr_assert_eq((double)f.histogram_count, f.requests);
}

Test(predict_horizon, overload_is_told_and_gets_no_latency)
{
    static const char *const engines[] = {"map", "full"};

    for (size_t e = 0; e < 2; e++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_model m = model(100, true);
        struct tw_forecast f = forecast(a, &m, "diurnal", 106, 24, engines[e]);
        double worst = 0;
        int unknown = 0;

        for (size_t i = 0; i < f.bins.count; i++) {
            const struct tw_bin *b = &f.bins.items[i];

            worst = fmax(worst, b->backlog);
            unknown += isnan(b->p99_s);
            cr_assert(b->utilisation < 1 || isnan(b->p99_s));
            cr_assert_leq(b->throughput_per_s, 100.0001);
        }
        cr_assert_gt(worst, 1000);
        cr_assert(unknown > 20 && unknown < 200, "%d", unknown);
        cr_assert(isnan(f.p95_s.value) && isnan(f.p99_s.value) && f.p50_s.value > 0);
        cr_assert(says(&f, "overload from hour"));
        cr_assert_eq(f.bins.items[287].backlog, 0);
    }
}

/* Processor sharing keeps every waiting request, so hours of overload go to the fluid and
 * back. */
Test(predict_horizon, endless_overload_stays_within_memory)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_model m = model(2000, true);
    struct tw_forecast f = forecast(a, &m, "steady", 3000, 2, "full");

    cr_assert_eq((double)f.histogram_count, f.requests);
    cr_assert_float_eq(f.requests, 3000.0 * 7200, 6 * sqrt(3000.0 * 7200));
    cr_assert_float_eq(f.bins.items[f.bins.count - 1].backlog, 1000 * 7200, 1);
    cr_assert(says(&f, "still do"));
}

Test(predict_horizon, a_time_limit_makes_errors_of_the_excess)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_model m = model(100, true);
    struct tw_forecast f;

    m.timeout_s = 2;
    f = forecast(a, &m, "steady", 150, 2, "map");
    cr_assert_float_eq(f.errors.value, 50 * 7200 - 200, 1e-6);
    cr_assert_float_eq(f.bins.items[11].backlog, 200, 1e-6);
}

Test(predict_horizon, residuals_shift_every_quantile)
{
    static const char *const engines[] = {"map", "full"};

    for (size_t e = 0; e < 2; e++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_model with = model(1000, true), without = with;
        struct tw_forecast f, g;

        for (int l = 0; l < 3; l++)
            for (int j = 0; j < 3; j++)
                without.residual[l][j] = 0;
        f = forecast(a, &with, "steady", 550, 1, engines[e]);
        g = forecast(a, &without, "steady", 550, 1, engines[e]);
        cr_assert_float_eq(log(f.p50_s.value / g.p50_s.value), 0.1, 0.01);
        cr_assert_float_eq(log(f.p95_s.value / g.p95_s.value), 0.2, 0.015);
        cr_assert_float_eq(log(f.p99_s.value / g.p99_s.value), 0.3, 0.02);
        cr_assert_float_eq(log(f.bins.items[3].p95_s / g.bins.items[3].p95_s), 0.2, 0.01);
    }
}

Test(predict_horizon, intervals_come_from_resampled_models)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    static struct tw_model m, r[20];
    struct tw_profile p;
    struct tw_predict_spec s;
    struct tw_forecast f;
    struct tw_rng rng;

    m = model(1000, true);
    tw_rng_seed(&rng, 1, 0);
    for (int i = 0; i < 20; i++) {
        double off = 1 + 0.03 * tw_rng_normal(&rng);

        r[i] = m;
        for (int l = 0; l < 4; l++)
            r[i].demand_s[l] *= off;
    }
    cr_assert_eq(tw_profile_make(a, "steady", 600, 24, NULL, &p, NULL), 0);
    s = spec(&m, &p, "map");
    s.resampled = r;
    s.resampled_count = 20;
    cr_assert_eq(tw_predict_horizon(a, &s, &f, NULL), 0);
    cr_assert(f.cpu_cores.low < f.cpu_cores.value &&
              f.cpu_cores.high > f.cpu_cores.value);
    cr_assert_float_eq(log(f.cpu_cores.high / f.cpu_cores.low) / 2 / 1.645, 0.03, 0.012);
    cr_assert_gt(log(f.p95_s.high / f.p95_s.low) / 2 / 1.645, 0.05);
    cr_assert_float_eq(f.throughput_per_s.low, f.throughput_per_s.high, 1e-9);
    cr_assert_eq(f.p95_s.level, 0.9);
}

Test(predict_horizon, unknown_stays_unknown)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_model m = model(1000, true);
    struct tw_forecast f;

    for (int l = 0; l < 4; l++)
        m.demand_s[l] = NAN;
    m.wal_per_request_bytes = m.memory_base_bytes = NAN;
    f = forecast(a, &m, "diurnal", 600, 24, "map");
    cr_assert(isnan(f.cpu_cores.value) && isnan(f.wal_bytes.value));
    cr_assert(isnan(f.memory_bytes.value) && isnan(f.bins.items[5].memory_bytes));
    cr_assert(f.p95_s.value > 0 && isnan(f.p95_s.low));
    cr_assert(says(&f, "CPU per request was not measured"));
}

Test(predict_horizon, thin_models_and_unknown_engines_are_refused)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_model m = {0}, good = model(100, true);
    struct tw_profile p;
    struct tw_predict_spec s;
    struct tw_forecast f;
    struct tw_err err = {0};

    cr_assert_eq(tw_profile_make(a, "steady", 50, 1, NULL, &p, NULL), 0);
    s = spec(&m, &p, "map");
    cr_assert_eq(tw_predict_horizon(a, &s, &f, &err), -ENODATA);
    s = spec(&good, &p, "warp");
    cr_assert_eq(tw_predict_horizon(a, &s, &f, &err), -EINVAL);
    cr_assert(strstr(err.text, "warp"), "%s", err.text);
}
