/* Closed networks and sizes against their closed forms. */
#include "tw/predict.h"
#include "tw/sim.h"

#include <criterion/criterion.h>
#include <math.h>

static void near(double got, double want, double share)
{
    cr_expect(fabs(got - want) <= share * fabs(want), "%.12g, expected %.12g", got, want);
}

/* Balanced fixed-rate stations: X = N / (N + K - 1) / D (Lazowska et al. 1984, ch. 6). */
Test(size_theory, balanced_stations_have_a_closed_form)
{
    for (int k = 1; k <= 6; k++)
        for (int n = 1; n <= 256; n *= 2) {
            struct tw_sim_closed_station all[6];

            for (int i = 0; i < k; i++)
                all[i] = (struct tw_sim_closed_station){0.004, 1};
            near(tw_sim_closed_throughput(all, (size_t)k, n), n / (n + k - 1.0) / 0.004, 1e-9);
        }
}

/* One repairman: X = U / D, U = 1 - 1 / sum N!/(N-j)! (D/Z)^j. */
Test(size_theory, the_machine_repairman_is_exact)
{
    const double demand = 0.01, think = 0.1;

    for (int n = 1; n <= 40; n++) {
        const struct tw_sim_closed_station all[] = {{demand, 1}, {think, 0}};
        double sum = 1, term = 1;

        for (int j = 1; j <= n; j++) {
            term *= (n - j + 1) * demand / think;
            sum += term;
        }
        near(tw_sim_closed_throughput(all, 2, n), (1 - 1 / sum) / demand, 1e-9);
    }
}

/* Several repairmen: probabilities of j broken machines, binomial below c and beyond it thinned. */
Test(size_theory, several_servers_are_exact)
{
    const int servers = 4, n = 30;
    const double demand = 0.02, think = 0.05;
    const struct tw_sim_closed_station all[] = {{demand, servers}, {think, 0}};
    double p[31] = {1}, sum = 1, busy = 0;

    for (int j = 1; j <= n; j++) {
        p[j] = p[j - 1] * (n - j + 1) * demand / think / (j < servers ? j : servers);
        sum += p[j];
    }
    for (int j = 1; j <= n; j++)
        busy += p[j] / sum * (j < servers ? j : servers);
    near(tw_sim_closed_throughput(all, 2, n), busy / demand, 1e-9);
}

Test(size_theory, many_jobs_meet_the_bound_of_the_slowest)
{
    const struct tw_sim_closed_station all[] = {{0.04, 8}, {0.003, 1}, {0.25, 0}};

    near(tw_sim_closed_throughput(all, 3, 900), 200, 1e-6); /* 8 / 0.04 */
}

static struct tw_size_station web = {"web", true, 0.2, 0.002, 0, NAN},
                              db = {"db", false, 0.5, 0.0006, 0, NAN};

static struct tw_size_model model_of(const struct tw_size_station *s, int clients)
{
    return (struct tw_size_model){
        .stations = s, .count = 2, .other_per_s = NAN, .clients = clients};
}

Test(size_theory, instances_add_up_until_what_they_share_is_the_limit)
{
    const struct tw_size_station all[] = {web, db};
    struct tw_size_model m = model_of(all, 512);
    size_t limit;

    near(tw_size_capacity(&m, 1, &limit), 100, 0.001);
    cr_expect_eq(limit, 0);
    near(tw_size_capacity(&m, 4, &limit), 400, 0.01);
    near(tw_size_capacity(&m, 20, &limit), 0.5 / 0.0006, 0.001);
    cr_expect_eq(limit, 1);
}

/* At its limit the shared one needs more for each: the demand measured there holds there. */
Test(size_theory, demand_at_the_limit_is_the_one_measured_at_it)
{
    const struct tw_size_station all[] = {web, {"db", false, 0.5, 0.0006, 0, 0.0009}};
    struct tw_size_model m = model_of(all, 512);

    near(tw_size_capacity(&m, 40, NULL), 0.5 / 0.0009, 0.002);
    near(tw_size_capacity(&m, 1, NULL), 100, 0.001);
}

/* Contention as of the universal scalability law without coherency: n / (1 + s (n - 1)) (Gunther 1993). */
Test(size_theory, contention_is_the_universal_scalability_law)
{
    const struct tw_size_station all[] = {web, {"db", false, INFINITY, 0.0001, 0, NAN}};
    struct tw_size_model m = model_of(all, 1000);

    m.contention = 0.05;
    for (int n = 1; n <= 16; n *= 2)
        near(tw_size_capacity(&m, n, NULL), 100.0 * n / (1 + 0.05 * (n - 1)), 0.002);
}

Test(size_theory, a_difference_within_its_errors_is_no_contention)
{
    double share, error;

    tw_size_contention(1.0, 0.02, 1.03, 0.02, &share, &error);
    cr_expect_eq(share, 0);
    cr_expect_eq(error, 0);
    tw_size_contention(1.0, 0.01, 1.2, 0.01, &share, &error);
    cr_expect(share > 0.15 && share < 0.2);
}

Test(size_theory, the_interval_holds_the_value_and_grows_with_the_errors)
{
    struct tw_size_station all[] = {web, db};
    struct tw_size_model m = model_of(all, 256);
    struct tw_estimate narrow, wide;

    all[0].error = 0.01;
    narrow = tw_size_estimate(&m, 4, 1);
    all[0].error = 0.1;
    wide = tw_size_estimate(&m, 4, 1);
    cr_expect(narrow.low <= narrow.value && narrow.value <= narrow.high);
    cr_expect(wide.high - wide.low > 3 * (narrow.high - narrow.low));
    near(narrow.high - narrow.low, 2 * 1.645 * 0.01 * narrow.value, 0.4);
}
