/* Closed product-form networks by convolution: Buzen 1973; load-dependent stations as in Reiser and
 * Kobayashi 1975, eq. 3.6. Only sums and products of positive numbers, so nothing cancels near
 * saturation, where the recursion of mean value analysis does with several servers. */
#include "tw/sim.h"

#include <assert.h>
#include <math.h>

/* f(j) = D^j / prod min(i, servers): what j jobs at this station weigh, demands in units of scale. */
static long double next_weight(const struct tw_sim_closed_station *s, long double weight, int j,
                               double scale)
{
    double rate = s->servers > 0 && j > s->servers ? s->servers : j;

    return weight * (long double)(s->demand_s / scale / rate);
}

/* One more station into g[0..n], from the far end so that it can be done in place. */
static void convolve(const struct tw_sim_closed_station *s, long double *g, int n, double scale,
                     long double *weights)
{
    weights[0] = 1;
    for (int j = 1; j <= n; j++)
        weights[j] = next_weight(s, weights[j - 1], j, scale);
    for (int k = n; k > 0; k--) {
        long double sum = 0;

        for (int j = 0; j <= k; j++)
            sum += weights[j] * g[k - j];
        g[k] = sum;
    }
}

/* The fastest that each server lets it be, or the sum of all where nobody waits. */
static double largest(const struct tw_sim_closed_station *stations, size_t count)
{
    double most = 0;

    for (size_t i = 0; i < count; i++)
        most = fmax(most, stations[i].demand_s / (stations[i].servers > 0 ? stations[i].servers
                                                                          : 64));
    return most;
}

double tw_sim_closed_throughput(const struct tw_sim_closed_station *stations, size_t count,
                                int jobs)
{
    double scale = largest(stations, count), throughput = NAN;
    long double *g = tw_alloc(((size_t)jobs + 1) * sizeof *g);
    long double *weights = tw_alloc(((size_t)jobs + 1) * sizeof *weights);

    assert(jobs > 0);
    g[0] = 1;
    for (size_t i = 0; i < count && scale > 0; i++)
        if (stations[i].demand_s > 0)
            convolve(&stations[i], g, jobs, scale, weights);
    if (g[jobs] > 0 && isfinite(g[jobs]))
        throughput = (double)(g[jobs - 1] / g[jobs]) / scale;
    tw_free_p(&g);
    tw_free_p(&weights);
    return throughput;
}
