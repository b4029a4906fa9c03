#include "tw/calib.h"
#include "tw/sim.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- slots of a service whose truth is known ---- */

struct truth {
    double capacity, demand_low,
        demand_high; /* CPU seconds per request at no and at full load */
    bool sharing;
    double delay_s;
    double slot_s;
    double wal_w0, wal_pages, wal_touches;
};
static const struct truth usual = {
    .capacity = 4000,
    .demand_low = 300e-6,
    .demand_high = 250e-6,
    .sharing = true,
    .delay_s = 100e-6,
    .slot_s = 0.1,
    .wal_w0 = 300,
    .wal_pages = 20000,
    .wal_touches = 1,
};

#define SLOTS_MAX 80
struct bench {
    struct tw_slot slots[SLOTS_MAX];
    int64_t *starts[SLOTS_MAX];
    size_t n;
    double requests; /* so far, for the WAL */
};

static double demand_at(const struct truth *t, double level)
{
    return t->demand_low + level * (t->demand_high - t->demand_low);
}

static struct tw_slot *slot_add(struct bench *b, const struct truth *t, enum tw_arm arm)
{
    struct tw_slot *s = &b->slots[b->n++];

    *s = (struct tw_slot){.arm = arm,
                          .pair = -1,
                          .level = NAN,
                          .clients = 16,
                          .start_ns = (int64_t)b->n * TW_SEC_NS,
                          .length_ns = (int64_t)(t->slot_s * 1e9),
                          .offered_per_s = NAN,
                          .read_bytes = NAN,
                          .write_bytes = 0,
                          .temp_bytes = NAN,
                          .wal_bytes = NAN,
                          .memory_bytes = NAN,
                          .cpu_s = NAN};
    return s;
}

static void wal_add(struct bench *b, const struct truth *t, struct tw_slot *s)
{
    double from = b->requests, to = from + (double)s->done,
           k = t->wal_touches / t->wal_pages;

    s->wal_bytes = t->wal_w0 * (double)s->done +
                   8192 * t->wal_pages * (exp(-k * from) - exp(-k * to));
    b->requests = to;
}

static void open_add(struct bench *b, const struct truth *t, double level, int pair,
                     uint64_t seed)
{
    static float sample[TW_MODEL_SAMPLES];
    struct tw_slot *s = slot_add(b, t, TW_BASELINE);
    struct tw_rng rng;
    size_t room = 4096;
    double *seconds = calloc(room, sizeof *seconds);
    struct tw_sim_queue *q;

    for (int i = 0; i < TW_MODEL_SAMPLES; i++)
        sample[i] = (float)-log1p(-(i + 0.5) / TW_MODEL_SAMPLES);
    s->pair = pair;
    s->level = level;
    s->offered_per_s = level * t->capacity;
    tw_rng_seed(&rng, seed, 9);
    b->starts[b->n - 1] = calloc(room, sizeof(int64_t));
    s->starts_ns = b->starts[b->n - 1];
    s->start_count = tw_poisson_starts(&rng, s->offered_per_s, s->length_ns,
                                       b->starts[b->n - 1], room);
    s->sent = s->done = (int64_t)s->start_count;
    s->cpu_s = (double)s->done * demand_at(t, level);
    wal_add(b, t, s);
    for (size_t i = 0; i < s->start_count; i++)
        seconds[i] = tw_seconds(s->starts_ns[i]);
    s->latency = tw_hist_new();
    q = tw_sim_queue_new(&(struct tw_sim_queue_spec){.servers = 1,
                                                     .pool = 16,
                                                     .sharing = t->sharing,
                                                     .delay_s = t->delay_s,
                                                     .timeout_s = NAN,
                                                     .sample = sample,
                                                     .sample_count = TW_MODEL_SAMPLES,
                                                     .seed = seed});
    tw_sim_queue_load(q, s->offered_per_s, demand_at(t, level));
    tw_sim_queue_replay(q, seconds, s->start_count, s->latency, NULL);
    tw_sim_queue_free(q);
    s->p50_s = tw_hist_quantile(s->latency, 0.5);
    s->p95_s = tw_hist_quantile(s->latency, 0.95);
    s->p99_s = tw_hist_quantile(s->latency, 0.99);
    s->mean_s = tw_hist_mean(s->latency);
    free(seconds);
}

static void closed_add(struct bench *b, const struct truth *t, double share)
{
    struct tw_slot *s = slot_add(b, t, TW_BASELINE);

    s->sent = s->done = (int64_t)(t->capacity * share * t->slot_s);
    s->cpu_s = (double)s->done * demand_at(t, 1);
    wal_add(b, t, s);
}

/* A cold probe, pairs in turn over three levels, one saturated slot. */
static void bench_fill(struct bench *b, const struct truth *t, int pairs, uint64_t seed)
{
    static const double levels[] = {0.3, 0.55, 0.8};

    memset(b, 0, sizeof *b);
    closed_add(b, t, 0.5);
    for (int i = 0; i < pairs; i++)
        open_add(b, t, levels[i % 3], i, seed * 1000 + (uint64_t)i);
    closed_add(b, t, 1);
}

static void bench_done(struct bench *b)
{
    for (size_t i = 0; i < b->n; i++) {
        tw_hist_free(b->slots[i].latency);
        free(b->starts[i]);
    }
}

static const struct tw_calib_facts facts = {
    .servers = 1,
    .pool = 16,
    .checkpoint_s = 300,
    .wal_pages = 20000,
    .memory_base_bytes = 5e6,
    .memory_per_connection_bytes = 1.5e6,
};

/* ---- what the model has to know ---- */

Test(calib_calib, levels_demand_and_capacity_come_back)
{
    struct bench b;
    struct tw_model m;
    struct tw_err err;

    bench_fill(&b, &usual, 15, 1);
    cr_assert_eq(tw_calib_fit(b.slots, b.n, TW_BASELINE, &facts, 1, &m, &err), 0, "%s",
                 err.text);
    cr_assert_eq(m.level_count, 4);
    cr_assert_float_eq(m.rate_per_s[0], 1200, 1e-9);
    cr_assert_float_eq(m.rate_per_s[2], 3200, 1e-9);
    cr_assert_float_eq(m.demand_s[0], 285e-6, 1e-9);
    cr_assert_float_eq(m.demand_s[2], 260e-6, 1e-9);
    cr_assert_float_eq(m.capacity_per_s, 4000, 1);
    cr_assert_float_eq(m.stall, 1, 1e-6);
    cr_assert(m.sample_count == TW_MODEL_SAMPLES && m.requests > 2000);
    for (int i = 1; i < m.sample_count; i++)
        cr_assert_geq(m.sample[i], m.sample[i - 1]);
    for (int l = 1; l < 3; l++)
        for (int j = 0; j < 3; j++)
            cr_assert_geq(m.q_measured[l][j], m.q_measured[l - 1][j]);
    cr_assert(isnan(m.q_measured[3][0]) && isnan(m.residual[3][0]));
    cr_assert(isnan(m.read_bytes_per_request) && m.write_bytes_per_request == 0);
    cr_assert_float_eq(m.memory_base_bytes, 5e6, 0);
    bench_done(&b);
}

Test(calib_calib, the_discipline_that_made_the_data_is_found)
{
    int right = 0;

    for (int i = 0; i < 20; i++) {
        struct truth t = usual;
        struct bench b;
        struct tw_model m;

        t.sharing = i % 2;
        bench_fill(&b, &t, 12, (uint64_t)i + 10);
        cr_assert_eq(tw_calib_fit(b.slots, b.n, TW_BASELINE, &facts, 1, &m, NULL), 0);
        right += m.processor_sharing == t.sharing;
        bench_done(&b);
    }
    cr_assert_geq(right, 17, "%d of 20", right);
}

/* Simulated with the model, its own slots come out as measured. */
Test(calib_calib, residuals_of_a_true_model_are_small)
{
    double p50 = 0, p95 = 0;

    for (int i = 0; i < 10; i++) {
        struct bench b;
        struct tw_model m;

        bench_fill(&b, &usual, 15, (uint64_t)i + 50);
        cr_assert_eq(tw_calib_fit(b.slots, b.n, TW_BASELINE, &facts, 1, &m, NULL), 0);
        for (int l = 0; l < 3; l++) {
            p50 += fabs(m.residual[l][0]) / 30;
            p95 += fabs(m.residual[l][1]) / 30;
        }
        bench_done(&b);
    }
    cr_assert_lt(p50, 0.12, "%g", p50);
    cr_assert_lt(p95, 0.25, "%g", p95);
}

Test(calib_calib, wal_law_is_found_from_its_bend)
{
    static const double touches[] = {0, 0.3, 1, 2.5};

    for (size_t i = 0; i < TW_COUNT_OF(touches); i++) {
        struct truth t = usual;
        struct tw_calib_facts f = facts;
        struct bench b;
        struct tw_model m;

        t.wal_touches = touches[i];
        t.wal_pages = f.wal_pages = 3000;
        bench_fill(&b, &t, 15, 5);
        cr_assert_eq(tw_calib_fit(b.slots, b.n, TW_BASELINE, &f, 1, &m, NULL), 0);
        cr_assert_float_eq(m.wal_touches_per_request, touches[i], 0.2 * touches[i] + 0.01,
                           "%g not %g", m.wal_touches_per_request, touches[i]);
        cr_assert_float_eq(m.wal_per_request_bytes, 300, 200, "%g",
                           m.wal_per_request_bytes);
        bench_done(&b);
    }
}

Test(calib_calib, without_pages_wal_is_a_plain_mean)
{
    struct tw_calib_facts f = facts;
    struct bench b;
    struct tw_model m;

    f.wal_pages = NAN;
    bench_fill(&b, &usual, 12, 5);
    cr_assert_eq(tw_calib_fit(b.slots, b.n, TW_BASELINE, &f, 1, &m, NULL), 0);
    cr_assert(isnan(m.wal_pages) && isnan(m.wal_touches_per_request));
    cr_assert(m.wal_per_request_bytes > 300 && m.wal_per_request_bytes < 8600);
    bench_done(&b);
}

/* ---- what is missing stays missing ---- */

Test(calib_calib, unknown_cpu_leaves_demand_unknown)
{
    struct bench b;
    struct tw_model m;

    bench_fill(&b, &usual, 12, 2);
    for (size_t i = 0; i < b.n; i++)
        b.slots[i].cpu_s = NAN;
    cr_assert_eq(tw_calib_fit(b.slots, b.n, TW_BASELINE, &facts, 1, &m, NULL), 0);
    cr_assert(isnan(m.demand_s[0]) && isnan(m.demand_s[m.level_count - 1]));
    cr_assert_float_eq(m.capacity_per_s, 4000, 1);
    cr_assert(isfinite(m.residual[0][0]));
    bench_done(&b);
}

Test(calib_calib, without_a_saturated_slot_cpu_bounds_the_capacity)
{
    struct bench b;
    struct tw_model m;

    bench_fill(&b, &usual, 12, 2);
    cr_assert_eq(tw_calib_fit(b.slots + 1, b.n - 2, TW_BASELINE, &facts, 1, &m, NULL), 0);
    cr_assert_float_eq(m.capacity_per_s, 1 / 260e-6, 1);
    bench_done(&b);
}

Test(calib_calib, starts_that_were_not_kept_are_drawn)
{
    struct bench b;
    struct tw_model m;

    bench_fill(&b, &usual, 12, 2);
    for (size_t i = 0; i < b.n; i++)
        b.slots[i].starts_ns = NULL;
    cr_assert_eq(tw_calib_fit(b.slots, b.n, TW_BASELINE, &facts, 1, &m, NULL), 0);
    cr_assert(isfinite(m.residual[2][2]));
    bench_done(&b);
}

Test(calib_calib, too_little_is_refused_and_said)
{
    struct bench b;
    struct tw_model m = {.pool = 77};
    struct tw_err err = {0};

    bench_fill(&b, &usual, 6, 2);
    cr_assert_eq(tw_calib_fit(b.slots, b.n, TW_CANDIDATE, &facts, 1, &m, &err), -ENODATA);
    cr_assert(strstr(err.text, "candidate"), "%s", err.text);
    cr_assert_eq(tw_calib_fit(b.slots, 0, TW_BASELINE, &facts, 1, &m, &err), -ENODATA);
    for (size_t i = 0; i < b.n; i++)
        b.slots[i].dropped = true;
    cr_assert_eq(tw_calib_fit(b.slots, b.n, TW_BASELINE, &facts, 1, &m, &err), -ENODATA);
    cr_assert_eq(m.pool, 77);
    bench_done(&b);
}

Test(calib_calib, one_pair_is_enough_for_a_model_but_not_for_its_error)
{
    struct bench b;
    struct tw_model m;

    bench_fill(&b, &usual, 1, 2);
    cr_assert_eq(tw_calib_fit(b.slots, b.n, TW_BASELINE, &facts, 1, &m, NULL), 0);
    cr_assert(isnan(m.capacity_low) && isnan(m.drift));
    bench_done(&b);
}

/* ---- reproducible, spread, fast ---- */

Test(calib_calib, same_slots_and_seed_give_the_same_bits)
{
    struct bench b;
    static struct tw_model m[4];
    struct tw_rng one, two;

    bench_fill(&b, &usual, 12, 2);
    memset(m, 0, sizeof m);
    tw_rng_seed(&one, 3, 0);
    tw_rng_seed(&two, 3, 0);
    tw_calib_fit(b.slots, b.n, TW_BASELINE, &facts, 9, &m[0], NULL);
    tw_calib_fit(b.slots, b.n, TW_BASELINE, &facts, 9, &m[1], NULL);
    tw_calib_resample(b.slots, b.n, TW_BASELINE, &facts, &one, &m[2], NULL);
    tw_calib_resample(b.slots, b.n, TW_BASELINE, &facts, &two, &m[3], NULL);
    cr_assert_eq(memcmp(&m[0], &m[1], sizeof m[0]), 0);
    cr_assert_eq(memcmp(&m[2], &m[3], sizeof m[0]), 0);
    bench_done(&b);
}

Test(calib_calib, resampled_models_lie_around_the_fitted_one)
{
    struct bench b;
    static struct tw_model m, r[40];
    double p50[40];
    struct tw_rng rng;

    bench_fill(&b, &usual, 15, 4);
    tw_rng_seed(&rng, 3, 0);
    tw_calib_fit(b.slots, b.n, TW_BASELINE, &facts, 9, &m, NULL);
    for (int i = 0; i < 40; i++) {
        cr_assert_eq(
            tw_calib_resample(b.slots, b.n, TW_BASELINE, &facts, &rng, &r[i], NULL), 0);
        p50[i] = log(r[i].q_measured[1][0] / m.q_measured[1][0]);
    }
    cr_assert_lt(fabs(tw_mean(p50, 40)), tw_sd(p50, 40), "%g, sd %g", tw_mean(p50, 40),
                 tw_sd(p50, 40));
    cr_assert(tw_sd(p50, 40) > 0.002 && tw_sd(p50, 40) < 0.2, "%g", tw_sd(p50, 40));
    bench_done(&b);
}
