/* The general engine against closed forms, and against the fast queue. */
#include "tw/sim.h"

#include <criterion/criterion.h>
#include <math.h>

#define REPLICAS 8

static double four_errors(const struct tw_estimate *e)
{
    return 4 * (e->high - e->value) / tw_normal_quantile(0.95) + 1e-12;
}

static struct tw_sim_station station(enum tw_sim_discipline d, int servers,
                                     enum tw_sim_shape shape, double mean_s, double cv2)
{
    return (struct tw_sim_station){d, servers, {shape, mean_s, cv2, NULL, 0}};
}

static void warm_run(struct tw_sim *s, double seconds)
{
    tw_sim_until(s, seconds / 10);
    tw_sim_forget(s);
    tw_sim_until(s, seconds);
}

struct single {
    struct tw_sim_station station;
    double rate;
};

static void single_replica(void *arg, int index, uint64_t seed, double *ret)
{
    const struct single *one = arg;
    tw_auto(tw_sim) *s = tw_sim_new(seed, (uint64_t)index);
    int st = tw_sim_station_add(s, &one->station);

    tw_sim_source_add(s, &(struct tw_sim_source){one->rate, st, -1});
    warm_run(s, 5e4 / one->rate);
    ret[0] = tw_hist_mean(tw_sim_station_stats(s, st).sojourn);
    ret[1] = tw_sim_station_stats(s, st).busy;
    ret[2] = tw_sim_station_stats(s, st).jobs;
}

Test(sim_network_theory, single_stations_have_their_means_and_little_holds)
{
    struct {
        char name[24];
        struct single one;
        double mean_s;
    } rows[] = {
        {"M/M/1",
         {station(TW_SIM_FCFS, 1, TW_SIM_EXPONENTIAL, 1e-3, 0), 700},
         1e-3 / 0.3},
        {"M/D/1",
         {station(TW_SIM_FCFS, 1, TW_SIM_CONSTANT, 1e-3, 0), 700},
         tw_sim_mean_mg1(700, 1e-3, 0)},
        {"M/E4/1",
         {station(TW_SIM_FCFS, 1, TW_SIM_ERLANG, 1e-3, 0.25), 700},
         tw_sim_mean_mg1(700, 1e-3, 0.25)},
        {"M/H2/1",
         {station(TW_SIM_FCFS, 1, TW_SIM_HYPER, 1e-3, 4), 600},
         tw_sim_mean_mg1(600, 1e-3, 4)},
        {"M/M/3",
         {station(TW_SIM_FCFS, 3, TW_SIM_EXPONENTIAL, 1e-3, 0), 2400},
         tw_sim_mean_mmc(3, 2400, 1e-3)},
        {"M/H2/1-PS", {station(TW_SIM_PS, 1, TW_SIM_HYPER, 1e-3, 4), 700}, 1e-3 / 0.3},
        {"M/D/1-PS", {station(TW_SIM_PS, 1, TW_SIM_CONSTANT, 1e-3, 0), 700}, 1e-3 / 0.3},
        {"M/M/3-PS",
         {station(TW_SIM_PS, 3, TW_SIM_EXPONENTIAL, 1e-3, 0), 2400},
         tw_sim_mean_mmc(3, 2400, 1e-3)},
        {"M/M/inf", {station(TW_SIM_DELAY, 0, TW_SIM_EXPONENTIAL, 1e-3, 0), 2000}, 1e-3},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_estimate e[3];
        double load = rows[i].one.rate * 1e-3, jobs = rows[i].one.rate * rows[i].mean_s;

        tw_sim_replicate(single_replica, &rows[i].one, 7, REPLICAS, 3, e);
        cr_assert_float_eq(e[0].value, rows[i].mean_s, four_errors(&e[0]) + 1e-8,
                           "%s: mean %g not %g", rows[i].name, e[0].value,
                           rows[i].mean_s);
        cr_assert_float_eq(e[1].value, load, four_errors(&e[1]), "%s: busy",
                           rows[i].name);
        cr_assert_float_eq(e[2].value, jobs, four_errors(&e[2]), "%s: jobs %g not %g",
                           rows[i].name, e[2].value, jobs);
    }
}

/* Jackson 1957: each station of an open network behaves as M/M/c alone. 1 -> 2 -> (30
 * %) 1. */
static void jackson_replica(void *arg, int index, uint64_t seed, double *ret)
{
    tw_auto(tw_sim) *s = tw_sim_new(seed, (uint64_t)index);
    struct tw_sim_station one = station(TW_SIM_FCFS, 1, TW_SIM_EXPONENTIAL, 1e-3, 0);
    struct tw_sim_station two = station(TW_SIM_FCFS, 2, TW_SIM_EXPONENTIAL, 2.2e-3, 0);
    int a = tw_sim_station_add(s, &one), b = tw_sim_station_add(s, &two), src;

    (void)arg;
    tw_sim_route(s, a, b, 1);
    tw_sim_route(s, b, a, 0.3);
    src = tw_sim_source_add(s, &(struct tw_sim_source){490, a, -1});
    warm_run(s, 100);
    ret[0] = tw_sim_station_stats(s, a).jobs;
    ret[1] = tw_sim_station_stats(s, b).jobs;
    ret[2] = tw_hist_mean(tw_sim_source_stats(s, src).latency);
}

Test(sim_network_theory, jackson_network_is_a_product)
{
    struct tw_estimate e[3];
    double rate = 490 / 0.7, jobs_a = 0.7 / 0.3,
           jobs_b = rate * tw_sim_mean_mmc(2, rate, 2.2e-3);

    tw_sim_replicate(jackson_replica, NULL, 11, REPLICAS, 3, e);
    cr_assert_float_eq(e[0].value, jobs_a, four_errors(&e[0]), "%g not %g", e[0].value,
                       jobs_a);
    cr_assert_float_eq(e[1].value, jobs_b, four_errors(&e[1]), "%g not %g", e[1].value,
                       jobs_b);
    cr_assert_float_eq(e[2].value, (jobs_a + jobs_b) / 490, four_errors(&e[2]));
}

/* Machine repair, M/M/1//N: throughput mu (1 - p0), 1/p0 = sum N!/(N-k)! (think rate /
 * mu)^k. */
static void closed_replica(void *arg, int index, uint64_t seed, double *ret)
{
    tw_auto(tw_sim) *s = tw_sim_new(seed, (uint64_t)index);
    struct tw_sim_station think = station(TW_SIM_DELAY, 0, TW_SIM_EXPONENTIAL, 10e-3, 0);
    struct tw_sim_station serve = station(TW_SIM_FCFS, 1, TW_SIM_EXPONENTIAL, 1e-3, 0);
    int t = tw_sim_station_add(s, &think), q = tw_sim_station_add(s, &serve);

    (void)arg;
    tw_sim_route(s, t, q, 1);
    tw_sim_route(s, q, t, 1);
    tw_sim_jobs_put(s, t, 8);
    warm_run(s, 100);
    ret[0] = (double)tw_sim_station_stats(s, q).done / 90;
}

Test(sim_network_theory, closed_loop_has_the_throughput_of_machine_repair)
{
    struct tw_estimate e;
    double sum = 1, term = 1;

    for (int k = 1; k <= 8; k++)
        sum += term *= (8 - k + 1) * 0.1;
    tw_sim_replicate(closed_replica, NULL, 13, REPLICAS, 1, &e);
    cr_assert_float_eq(e.value, 1000 * (1 - 1 / sum), four_errors(&e), "%g not %g",
                       e.value, 1000 * (1 - 1 / sum));
}

/* One model, two programs: sharing, a pool, a delay under tokens, a time limit. */
struct both {
    int servers, pool;
    bool sharing;
    double delay_s, timeout_s, rate;
};

static void network_side(void *arg, int index, uint64_t seed, double *ret)
{
    const struct both *b = arg;
    tw_auto(tw_sim) *s = tw_sim_new(seed, (uint64_t)index);
    struct tw_sim_station serve = station(b->sharing ? TW_SIM_PS : TW_SIM_FCFS,
                                          b->servers, TW_SIM_EXPONENTIAL, 1e-3, 0);
    struct tw_sim_station wait = station(TW_SIM_DELAY, 0, TW_SIM_CONSTANT, b->delay_s, 0);
    int q = tw_sim_station_add(s, &serve), d = tw_sim_station_add(s, &wait), pool, src;

    tw_sim_route(s, q, d, 1);
    pool = tw_sim_pool_add(s, b->pool, b->timeout_s);
    src = tw_sim_source_add(s, &(struct tw_sim_source){b->rate, q, pool});
    warm_run(s, 1e5 / b->rate);
    ret[0] = tw_hist_mean(tw_sim_source_stats(s, src).latency);
    ret[1] = tw_hist_quantile(tw_sim_source_stats(s, src).latency, 0.95);
    ret[2] = (double)tw_sim_source_stats(s, src).errors / (1e5 * 0.9);
}

static void queue_side(void *arg, int index, uint64_t seed, double *ret)
{
    const struct both *b = arg;
    tw_auto(tw_hist) *h = tw_hist_new();
    struct tw_sim_tally t = {0};
    tw_auto(tw_sim_queue) *q =
        tw_sim_queue_new(&(struct tw_sim_queue_spec){.servers = b->servers,
                                                     .pool = b->pool,
                                                     .sharing = b->sharing,
                                                     .delay_s = b->delay_s,
                                                     .timeout_s = b->timeout_s,
                                                     .seed = seed,
                                                     .stream = (uint64_t)index});

    tw_sim_queue_load(q, b->rate, 1e-3);
    tw_sim_queue_advance(q, 1e4 / b->rate, NULL, NULL);
    tw_sim_queue_advance(q, 9e4 / b->rate, h, &t);
    ret[2] = (double)t.errors / 9e4;
    /* Errors stand in the histogram at the limit; of those served the mean leaves them
     * out. */
    ret[0] = t.errors
                 ? (tw_hist_mean(h) * (double)t.done - (double)t.errors * b->timeout_s) /
                       (double)(t.done - t.errors)
                 : tw_hist_mean(h);
    ret[1] = t.errors ? NAN : tw_hist_quantile(h, 0.95);
}

Test(sim_network_theory, fast_queue_and_network_agree)
{
    static const struct both rows[] = {
        {1, 16, false, 0.2e-3, NAN, 800}, {1, 4, false, 1.5e-3, NAN, 800},
        {1, 6, true, 1e-3, NAN, 800},     {3, 8, true, 0.5e-3, NAN, 2400},
        {2, 5, false, 1e-3, NAN, 1500},   {2, 5, true, 1e-3, NAN, 1500},
        {1, 3, true, 0.5e-3, 5e-3, 900},  {1, 3, false, 0.5e-3, 5e-3, 900},
        {2, 5, false, 1e-3, 4e-3, 1900},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_estimate a[3], b[3];
        struct both row = rows[i];

        tw_sim_replicate(network_side, &row, 17, REPLICAS, 3, a);
        tw_sim_replicate(queue_side, &row, 19, REPLICAS, 3, b);
        for (int v = 0; v < 3; v++)
            if (isfinite(b[v].value))
                cr_assert_float_eq(a[v].value, b[v].value,
                                   hypot(four_errors(&a[v]), four_errors(&b[v])) + 1e-9,
                                   "row %d value %d: network %g, queue %g", (int)i, v,
                                   a[v].value, b[v].value);
    }
}
