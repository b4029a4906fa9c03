/* The forecast against closed forms, and the load map against the full run. */
#include "tw/predict.h"
#include "tw/sim.h"

#include <criterion/criterion.h>
#include <math.h>

static struct tw_model model(double capacity, bool sharing, int servers)
{
    struct tw_model m = {
        .level_count = 1,
        .rate_per_s = {capacity},
        .demand_s = {servers / capacity},
        .capacity_per_s = capacity,
        .capacity_low = capacity,
        .capacity_high = capacity,
        .servers = servers,
        .pool = sharing ? 256 : 0,
        .processor_sharing = sharing,
        .stall = 1,
        .timeout_s = NAN,
        .sample_count = TW_MODEL_SAMPLES,
        .wal_per_request_bytes = 334,
        .wal_pages = 33460,
        .wal_touches_per_request = 1,
        .memory_base_bytes = 5e6,
        .memory_per_connection_bytes = 1.54e6,
        .drift = NAN,
        .requests = 10000,
    };

    for (int j = 0; j < 3; j++)
        m.q_measured[0][j] = m.residual[0][j] = NAN;
    for (int i = 0; i < TW_MODEL_SAMPLES; i++)
        m.sample[i] = (float)-log1p(-(i + 0.5) / TW_MODEL_SAMPLES);
    return m;
}

static struct tw_forecast run(struct tw_arena *a, const struct tw_model *m,
                              const char *scenario, double peak, double hours,
                              const char *engine, double checkpoint_s, double max_wal)
{
    struct tw_profile p;
    struct tw_forecast f;
    struct tw_predict_spec s = {.model = m,
                                .profile = &p,
                                .engine = engine,
                                .seed = 11,
                                .checkpoint_s = checkpoint_s,
                                .max_wal_bytes = max_wal};

    cr_assert_eq(tw_profile_make(a, scenario, peak, hours, NULL, &p, NULL), 0);
    cr_assert_eq(tw_predict_horizon(a, &s, &f, NULL), 0);
    return f;
}

/* M/M/1 FCFS: the q quantile of the time in the system is -log(1 - q) / (mu - lambda). */
Test(predict_theory, map_of_mm1_has_its_quantiles)
{
    struct tw_model m = model(1000, false, 1);

    for (double load = 0.05; load < 0.92; load += 0.1) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_forecast f = run(a, &m, "steady", 1000 * load, 1, "map", 300, NAN);
        double mean = 1e-3 / (1 - load);

        cr_assert_float_eq(f.p50_s.value / (mean * log(2)), 1, 0.02, "p50 at %g: %g",
                           load, f.p50_s.value / (mean * log(2)));
        cr_assert_float_eq(f.p95_s.value / (mean * log(20)), 1, 0.02, "p95 at %g: %g",
                           load, f.p95_s.value / (mean * log(20)));
        cr_assert_float_eq(f.p99_s.value / (mean * log(100)), 1, 0.025, "p99 at %g: %g",
                           load, f.p99_s.value / (mean * log(100)));
    }
}

/* Little's law and insensitivity: rho / (1 - rho) are there on average under sharing. */
Test(predict_theory, concurrency_under_sharing_is_that_of_mm1)
{
    struct tw_model m = model(1000, true, 1);

    for (double load = 0.2; load < 0.85; load += 0.2) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_forecast f = run(a, &m, "steady", 1000 * load, 1, "map", 300, NAN);

        cr_assert_float_eq(f.bins.items[0].connections / (load / (1 - load)), 1, 0.04,
                           "%g: %g", load, f.bins.items[0].connections);
    }
}

/* Shape, servers, discipline: p99 of every hour below 0.9 load within 3 %, and what luck
 * two full runs of that length have on top (twice their difference's standard deviation).
 */
Test(predict_theory, map_and_full_agree)
{
    static const struct {
        bool sharing;
        int servers;
    } rows[] = {{false, 1}, {true, 1}, {false, 3}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_model m = model(300, rows[i].sharing, rows[i].servers);
        struct tw_forecast full = run(a, &m, "diurnal", 250, 24, "full", 300, NAN);
        struct tw_forecast map = run(a, &m, "diurnal", 250, 24, "map", 300, NAN);

        cr_assert_float_eq(map.p50_s.value / full.p50_s.value, 1, 0.02, "row %d", (int)i);
        cr_assert_float_eq(map.p95_s.value / full.p95_s.value, 1, 0.03, "row %d", (int)i);
        cr_assert_float_eq(map.p99_s.value / full.p99_s.value, 1, 0.05, "row %d: %g",
                           (int)i, map.p99_s.value / full.p99_s.value);
        for (int h = 0; h < 8; h++) { /* far below: little luck in an hour */
            double of_map = 0, of_full = 0;

            for (int k = 0; k < 12; k++) {
                of_map += map.bins.items[h * 12 + k].p99_s;
                of_full += full.bins.items[h * 12 + k].p99_s;
            }
            cr_assert_float_eq(of_map / of_full, 1, 0.03 + 0.01, "row %d hour %d: %g",
                               (int)i, h, of_map / of_full);
        }
    }
}

/* W = w0 n + 8192 P (1 - exp(-n/P)) in every interval between checkpoints. */
Test(predict_theory, wal_of_a_steady_day_is_a_sum_of_intervals)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_model m = model(1000, false, 1);
    double n = 500 * 300, want = 288 * (334 * n + 8192 * 33460 * -expm1(-n / 33460));
    struct tw_forecast f = run(a, &m, "steady", 500, 24, "map", 300, NAN);

    cr_assert_float_eq(f.wal_bytes.value / want, 1, 1e-9, "%g not %g", f.wal_bytes.value,
                       want);
}

/* 14 s of a real run: 334 B and 33,460 pages gave 134.8 MB where 135.1 MB were
 * real. At the throughput that makes 14 s of it. */
Test(predict_theory, wal_slope_of_the_first_second_is_nine_times_too_much_for_a_day)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_model m = model(5000, false, 1);
    struct tw_forecast f = run(a, &m, "steady", 1500, 24, "map", 300, NAN);
    double n = 1500, first = 334 * n + 8192 * 33460 * -expm1(-n / 33460);

    cr_assert_gt(first * 86400 / f.wal_bytes.value, 7);
}

/* Checkpoints by volume: every one after max_wal_size / 1.9; what each costs is the
 * images again. */
Test(predict_theory, small_max_wal_size_writes_more)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_model m = model(1000, false, 1);
    double limit = 64e6, low = 0, high = 1e9, want;
    struct tw_forecast f = run(a, &m, "steady", 500, 24, "map", 300, limit);

    for (int i = 0; i < 200; i++) {
        double n = (low + high) / 2;

        if (334 * n + 8192 * 33460 * -expm1(-n / 33460) < limit / 1.9)
            low = n;
        else
            high = n;
    }
    want = limit / 1.9 * 500 * 86400 / low; /* whole intervals, and a part of the last */
    cr_assert_float_eq(f.wal_bytes.value / want, 1, 1e-3, "%g not %g", f.wal_bytes.value,
                       want);
    cr_assert_gt(f.notes.count, 0);
}

/* B' = lambda - mu, drained at mu - lambda. */
Test(predict_theory, overload_of_an_hour_is_a_triangle)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_model m = model(100, true, 1);
    struct tw_profile p;
    struct tw_forecast f;
    struct tw_predict_spec s = {.model = &m,
                                .profile = &p,
                                .engine = "map",
                                .seed = 1,
                                .checkpoint_s = 300,
                                .max_wal_bytes = NAN};

    cr_assert_eq(tw_profile_make(a, NULL, NAN, 4, "0,50\n1,150\n2,60", &p, NULL), 0);
    cr_assert_eq(tw_predict_horizon(a, &s, &f, NULL), 0);
    for (size_t i = 0; i < f.bins.count; i++) {
        double end = f.bins.items[i].from_h + f.bins.items[i].hours;
        double want = end <= 1   ? 0
                      : end <= 2 ? 50 * 3600 * (end - 1)
                                 : fmax(0, 180000 - 40 * 3600 * (end - 2));

        cr_assert_float_eq(f.bins.items[i].backlog, want, 1e-4, "until %g: %g not %g",
                           end, f.bins.items[i].backlog, want);
    }
}
