/* The fast queue against closed forms. Fixed seeds; tolerances are four standard errors,
 * taken from independent replications. */
#include "tw/sim.h"

#include <criterion/criterion.h>
#include <math.h>

#define SAMPLES  4096
#define REPLICAS 16

/* ---- services: shape by quantiles, ascending, mean 1 or so ---- */

static double exponential(double u)
{
    return -log1p(-u);
}
static double constant(double u)
{
    (void)u;
    return 1;
}
static double uniform(double u)
{
    return 2 * u;
}
/* Nine in ten short, one in ten long: cv2 about 3.6 */
static double two_kinds(double u)
{
    return u < 0.9 ? 0.3 : 7.3;
}
static const struct shape {
    char name[16];
    double (*at)(double u);
} shapes[] = {
    {"exponential", exponential},
    {"constant", constant},
    {"uniform", uniform},
    {"two kinds", two_kinds},
};

static double sample_fill(const struct shape *shape, float *sample)
{
    double sum = 0, squares = 0;

    for (int i = 0; i < SAMPLES; i++) {
        sample[i] = (float)shape->at((i + 0.5) / SAMPLES);
        sum += (double)sample[i];
        squares += (double)sample[i] * (double)sample[i];
    }
    return squares * SAMPLES / (sum * sum) - 1;
}

struct run {
    struct tw_sim_queue_spec spec;
    double rate, service_s, requests;
    double q; /* also this quantile */
};

/* values: mean latency, quantile */
static void replica(void *arg, int index, uint64_t seed, double *ret)
{
    const struct run *r = arg;
    struct tw_sim_queue_spec spec = r->spec;
    tw_auto(tw_hist) *h = tw_hist_new();
    tw_auto(tw_sim_queue) *queue = NULL;
    struct tw_sim_tally t = {0};

    (void)index;
    spec.seed = seed;
    queue = tw_sim_queue_new(&spec);
    tw_sim_queue_load(queue, r->rate, r->service_s);
    tw_sim_queue_advance(queue, r->requests / 10 / r->rate, NULL, NULL);
    tw_sim_queue_advance(queue, r->requests / r->rate, h, &t);
    tw_sim_queue_drain(queue, NULL, NULL);
    ret[0] = tw_hist_mean(h);
    ret[1] = tw_hist_quantile(h, r->q);
}

static struct tw_estimate run(const struct run *r, struct tw_estimate *ret_quantile)
{
    struct tw_estimate e[2];
    struct run copy = *r;

    tw_sim_replicate(replica, &copy, 42, REPLICAS, 2, e);
    if (ret_quantile)
        *ret_quantile = e[1];
    return e[0];
}

static double four_errors(const struct tw_estimate *e)
{
    return 4 * (e->high - e->value) / tw_normal_quantile(0.95) + 1e-12;
}

Test(sim_theory, mm1_mean_and_p99)
{
    static const double loads[] = {0.2, 0.5, 0.8, 0.9};
    float sample[SAMPLES];

    sample_fill(&shapes[0], sample);
    for (size_t i = 0; i < TW_COUNT_OF(loads); i++) {
        struct run r = {.spec = {.servers = 1, .timeout_s = NAN},
                        .rate = 1000 * loads[i],
                        .service_s = 1e-3,
                        .requests = 2e5,
                        .q = 0.99};
        struct tw_estimate p99, mean;
        double want = 1e-3 / (1 - loads[i]);

        mean = run(&r, &p99);
        cr_assert_float_eq(mean.value, want, four_errors(&mean), "load %g: %g not %g",
                           loads[i], mean.value, want);
        want *= log(100);
        cr_assert_float_eq(p99.value, want, four_errors(&p99) + 0.002 * want,
                           "load %g: p99 %g not %g", loads[i], p99.value, want);
    }
}

/* The table of 4,096 quantiles ends at rank 1 - 1/8192, which takes 1.3 % off the mean
 * square. */
Test(sim_theory, pollaczek_khinchine_for_every_shape)
{
    static const double loads[] = {0.3, 0.7, 0.9};

    for (size_t s = 0; s < TW_COUNT_OF(shapes); s++) {
        float sample[SAMPLES];
        double cv2 = sample_fill(&shapes[s], sample);

        for (size_t i = 0; i < TW_COUNT_OF(loads); i++) {
            struct run r = {.spec = {.servers = 1,
                                     .timeout_s = NAN,
                                     .sample = sample,
                                     .sample_count = SAMPLES},
                            .rate = 1000 * loads[i],
                            .service_s = 1e-3,
                            .requests = 2e5,
                            .q = 0.5};
            struct tw_estimate mean = run(&r, NULL);
            double want = tw_sim_mean_mg1(r.rate, r.service_s, cv2);

            cr_assert_float_eq(mean.value, want, four_errors(&mean) + 1e-9,
                               "%s at %g: %g not %g", shapes[s].name, loads[i],
                               mean.value, want);
        }
    }
}

Test(sim_theory, mmc_mean_by_erlang_c)
{
    static const int servers[] = {2, 4, 16};

    for (size_t i = 0; i < TW_COUNT_OF(servers); i++)
        for (double load = 0.5; load < 0.95; load += 0.2) {
            struct run r = {.spec = {.servers = servers[i], .timeout_s = NAN},
                            .rate = 1000 * load * servers[i],
                            .service_s = 1e-3,
                            .requests = 1e5,
                            .q = 0.5};
            struct tw_estimate mean = run(&r, NULL);
            double want = tw_sim_mean_mmc(servers[i], r.rate, r.service_s);

            cr_assert_float_eq(mean.value, want, four_errors(&mean),
                               "%d servers at %g: %g not %g", servers[i], load,
                               mean.value, want);
        }
}

Test(sim_theory, processor_sharing_does_not_see_the_shape)
{
    static const int servers[] = {1, 3};

    for (size_t s = 0; s < TW_COUNT_OF(shapes); s++)
        for (size_t i = 0; i < TW_COUNT_OF(servers); i++) {
            float sample[SAMPLES];
            struct run r = {.spec = {.servers = servers[i],
                                     .sharing = true,
                                     .timeout_s = NAN,
                                     .sample = sample,
                                     .sample_count = SAMPLES},
                            .rate = 700.0 * servers[i],
                            .service_s = 1e-3,
                            .requests = 1e5,
                            .q = 0.5};
            struct tw_estimate mean;
            double want = tw_sim_mean_mmc(servers[i], r.rate, r.service_s);

            sample_fill(&shapes[s], sample);
            mean = run(&r, NULL);
            cr_assert_float_eq(mean.value, want, four_errors(&mean),
                               "%s, %d servers: %g not %g", shapes[s].name, servers[i],
                               mean.value, want);
        }
}

/* Exponential service makes M/M/c of it whoever is served, so tokens without a delay only
 * move the waiting from one line to the other. */
Test(sim_theory, a_pool_does_not_change_the_mean_of_mm1)
{
    for (int sharing = 0; sharing < 2; sharing++)
        for (int pool = 1; pool <= 8; pool *= 2) {
            struct run r = {.spec = {.servers = 1,
                                     .pool = pool,
                                     .sharing = sharing,
                                     .timeout_s = 1e9},
                            .rate = 800,
                            .service_s = 1e-3,
                            .requests = 2e5,
                            .q = 0.5};
            struct tw_estimate mean = run(&r, NULL);

            cr_assert_float_eq(mean.value, 5e-3, four_errors(&mean),
                               "sharing %d pool %d: %g", sharing, pool, mean.value);
        }
}

/* With one token a request holds it for its service and the delay: M/G/1 with that
 * service. */
Test(sim_theory, one_token_with_a_delay_is_mg1)
{
    for (int sharing = 0; sharing < 2; sharing++) {
        struct run r = {.spec = {.servers = 1,
                                 .pool = 1,
                                 .sharing = sharing,
                                 .delay_s = 1e-3,
                                 .timeout_s = NAN},
                        .rate = 400,
                        .service_s = 1e-3,
                        .requests = 2e5,
                        .q = 0.5};
        struct tw_estimate mean = run(&r, NULL);
        double want = tw_sim_mean_mg1(400, 2e-3, 0.25); /* sd 1 ms, mean 2 ms */

        cr_assert_float_eq(mean.value, want, four_errors(&mean), "sharing %d: %g not %g",
                           sharing, mean.value, want);
    }
}

/* B' = lambda - mu: after T seconds the backlog is (lambda - mu) T, and drains at mu -
 * lambda. */
Test(sim_theory, overload_is_fluid)
{
    for (int sharing = 0; sharing < 2; sharing++) {
        tw_auto(tw_sim_queue) *q = tw_sim_queue_new(&(struct tw_sim_queue_spec){
            .servers = 1, .pool = 16, .sharing = sharing, .timeout_s = NAN, .seed = 3});
        double sd = sqrt(1250.0 * 100 + 1000 * 100);

        tw_sim_queue_load(q, 1250, 1e-3);
        tw_sim_queue_advance(q, 100, NULL, NULL);
        cr_assert_float_eq(tw_sim_queue_backlog(q), 25000, 4 * sd, "sharing %d: %g",
                           sharing, tw_sim_queue_backlog(q));
        tw_sim_queue_load(q, 500, 1e-3);
        tw_sim_queue_advance(q, 40, NULL, NULL);
        cr_assert_float_eq(tw_sim_queue_backlog(q), 5000, 5 * sd);
        tw_sim_queue_advance(q, 20, NULL, NULL);
        cr_assert_lt(tw_sim_queue_backlog(q), 50);
    }
}

/* In overload with a time limit T the backlog stays near mu T and the excess are errors.
 */
Test(sim_theory, a_time_limit_bounds_the_backlog)
{
    for (int sharing = 0; sharing < 2; sharing++) {
        tw_auto(tw_sim_queue) *q = tw_sim_queue_new(&(struct tw_sim_queue_spec){
            .servers = 1, .pool = 4, .sharing = sharing, .timeout_s = 0.5, .seed = 3});
        struct tw_sim_tally t = {0};

        tw_sim_queue_load(q, 1500, 1e-3);
        tw_sim_queue_advance(q, 50, NULL, NULL);
        tw_sim_queue_advance(q, 200, NULL, &t);
        tw_sim_queue_drain(q, NULL, &t);
        cr_assert_float_eq((double)t.errors / (double)t.arrivals, 1.0 / 3, 0.01,
                           "sharing %d: %g of %g", sharing, (double)t.errors,
                           (double)t.arrivals);
    }
}

/* M/D/1: P(W <= t) = (1 - rho) sum_k (-1)^k exp(rho (t - k)) (rho (t - k))^k / k! (Erlang
 * 1909) */
static double md1_cdf(double load, double t)
{
    double sum = 0;

    for (int k = 0; k <= (int)t; k++) {
        double x = load * (k - t), term = exp(-x);

        for (int i = 1; i <= k; i++)
            term *= x / i;
        sum += term;
    }
    return (1 - load) * sum;
}

Test(sim_theory, work_found_is_exact_for_mm1_and_md1)
{
    float sample[SAMPLES];

    for (double load = 0.1; load < 0.95; load += 0.2) {
        tw_auto(tw_sim_strata) *mm1 = NULL;
        tw_auto(tw_sim_strata) *md1 = NULL;

        sample_fill(&shapes[0], sample);
        mm1 = tw_sim_strata_new(sample, SAMPLES, load);
        sample_fill(&shapes[1], sample);
        md1 = tw_sim_strata_new(sample, SAMPLES, load);
        for (double x = 0.5; x < 4; x += 0.4) {
            double want = 1 - load * exp(-x * (1 - load));

            cr_assert_float_eq(tw_sim_strata_cdf(mm1, x), want, 0.003, "M/M/1 %g at %g",
                               load, x);
            cr_assert_float_eq(tw_sim_strata_cdf(md1, x), md1_cdf(load, x), 0.003,
                               "M/D/1 %g at %g: %g not %g", load, x,
                               tw_sim_strata_cdf(md1, x), md1_cdf(load, x));
        }
    }
}

static double stratified_p99(const struct tw_sim_queue_spec *spec, double load,
                             double requests)
{
    tw_auto(tw_sim_strata) *s = tw_sim_strata_new(spec->sample, spec->sample_count, load);
    tw_auto(tw_sim_queue) *q = tw_sim_queue_new(spec);
    tw_auto(tw_hist) *h = tw_hist_new();

    tw_sim_queue_load(q, 1000 * load, 1e-3 * spec->servers);
    tw_sim_queue_stratified(q, s, requests / (1000 * load), h, NULL);
    cr_assert_float_eq((double)tw_hist_count(h) / (requests * TW_SIM_WEIGHT), 1, 0.03);
    return tw_hist_quantile(h, 0.99);
}

/* The same quantile with less luck in it, and no other. */
Test(sim_theory, stratified_runs_agree_and_vary_less)
{
    float sample[SAMPLES];
    double plain[REPLICAS], strata[REPLICAS], load = 0.85;

    sample_fill(&shapes[0], sample);
    for (int i = 0; i < REPLICAS; i++) {
        struct tw_sim_queue_spec spec = {.servers = 1,
                                         .timeout_s = NAN,
                                         .sample = sample,
                                         .sample_count = SAMPLES,
                                         .seed = (uint64_t)i};
        struct run r = {spec, 1000 * load, 1e-3, 1e5, 0.99};
        double both[2];

        replica(&r, i, (uint64_t)i, both);
        plain[i] = both[1];
        strata[i] = stratified_p99(&spec, load, 1e5);
    }
    cr_assert_float_eq(tw_mean(strata, REPLICAS) / (1e-3 * log(100) / (1 - load)), 1,
                       0.01, "%g", tw_mean(strata, REPLICAS));
    cr_assert_lt(tw_sd(strata, REPLICAS), 0.3 * tw_sd(plain, REPLICAS), "%g against %g",
                 tw_sd(strata, REPLICAS), tw_sd(plain, REPLICAS));
}
