#include "predict/predict_internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Latency by load, simulated once on a grid of loads and kept without its units: log((T -
 * D) / s) at fixed ranks. A resampled model looks its own load up and puts its own s and
 * D back.
 *
 * In x = -log(1 - rho) log latency is nearly straight at high load (M/M/1: everywhere).
 * At low load it has corners where a quantile passes from one kind of request to another,
 * so the grid is even in the root of x. Points are post-stratified (see tw/sim.h). With
 * sharing, where less of the noise can be taken away so, those above SMOOTH_FROM, where
 * corners have worn off, are also smoothed. */

#define GRID_MAX    28
#define SMOOTH_FROM 0.45
#define SMOOTH_SIDE 3 /* points to either side */
#define LOAD_MAX    0.98
#define LOAD_MIN    0.02
#define GRID_STEP   0.065               /* of the root of x */
#define ROWS        (PREDICT_RANKS + 1) /* the last row is the mean */

/* Dense where reports look: .5 .95 .99 are among them. */
const double predict_ranks[PREDICT_RANKS] = {
    0,   .01,  .02, .04,   .06,  .08,   .1,    .15,   .2,   .25,   .3,    .35,
    .4,  .45,  .5,  .55,   .6,   .65,   .7,    .725,  .75,  .775,  .8,    .82,
    .84, .86,  .88, .9,    .91,  .92,   .93,   .94,   .95,  .96,   .97,   .975,
    .98, .985, .99, .9925, .995, .9965, .9975, .9985, .999, .9995, .9999, 1,
};

struct predict_map {
    int count;
    double x[GRID_MAX];
    double log_t[GRID_MAX][ROWS];
    double slope[GRID_MAX][ROWS]; /* d log_t / dx */
};

/* ---- one point ---- */

/* Requests that a map may cost, by what one costs: 60 ns sharing, 25 FCFS, 35 with
 * several servers. */
static double budget_of(const struct tw_model *m)
{
    if (m->processor_sharing)
        return 1.2e6;
    return m->servers == 1 ? 3e6 : 1.6e6;
}

/* Without strata the variance over n requests grows as 1 / (1 - rho)^2 (Whitt 1989); with
 * them the error is about the same everywhere with this. */
static double wanted_requests(double load)
{
    return 1e5 / sqrt(1 - load);
}

static void point_simulate(const struct tw_model *m, double load, double requests,
                           uint64_t seed, uint64_t stream, struct tw_hist *hist,
                           double ret_log_t[ROWS])
{
    tw_auto(tw_sim_strata) *strata = tw_sim_strata_new(m->sample, m->sample_count, load);
    tw_auto(tw_sim_queue) *queue = tw_sim_queue_new(&(struct tw_sim_queue_spec){
        .servers = m->servers,
        .pool = predict_pool(m),
        .sharing = m->processor_sharing,
        .delay_s = m->delay_s,
        .timeout_s = m->timeout_s,
        .sample = m->sample,
        .sample_count = m->sample_count,
        .seed = seed,
        .stream = stream,
    });
    double rate = predict_rate_at(m, load), service_s = load * m->servers / rate;
    double latency_s[PREDICT_RANKS];

    tw_hist_clear(hist);
    tw_sim_queue_load(queue, rate, service_s);
    tw_sim_queue_stratified(queue, strata, requests / rate, hist, NULL);
    tw_hist_quantiles(hist, predict_ranks, PREDICT_RANKS, latency_s);
    for (size_t k = 0; k < PREDICT_RANKS; k++)
        ret_log_t[k] = log(fmax(latency_s[k] - m->delay_s, 1e-3 * service_s) / service_s);
    ret_log_t[PREDICT_RANKS] = log((tw_hist_mean(hist) - m->delay_s) / service_s);
}

/* ---- the grid ---- */

/* Roots of x that the profile asks for, below capacity. */
static void x_range(const struct tw_model *m, const struct tw_profile *p, double *ret_low,
                    double *ret_high)
{
    double low = INFINITY, high = 0;

    for (size_t i = 0; i < p->bins.count; i++) {
        double load = predict_load(m, p->bins.items[i].rate_per_s);

        load = fmin(fmax(load, LOAD_MIN), LOAD_MAX);
        low = fmin(low, load);
        high = fmax(high, load);
    }
    *ret_low = fmax(sqrt(-log1p(-low)) - GRID_STEP, sqrt(-log1p(-LOAD_MIN)));
    *ret_high = fmin(sqrt(-log1p(-high)) + GRID_STEP, sqrt(-log1p(-LOAD_MAX)));
    if (*ret_high - *ret_low < GRID_STEP) /* a profile at either end */
        *ret_low = *ret_high - GRID_STEP;
}

/* Weights that put the parabola through points first … first + n - 1, which are evenly
 * spaced, at the place of point `at` (Savitzky & Golay 1964): w(t) = a + b t + c t^2 with
 * sum w = 1, sum w t = 0, sum w t^2 = 0. */
static void parabola_weights(int first, int n, int at, double *ret_w)
{
    double s[5] = {0}, det, a, b, c;

    for (int i = 0; i < n; i++) {
        double t = first + i - at, power = 1;

        for (int k = 0; k < 5; k++, power *= t)
            s[k] += power;
    }
    det = s[0] * (s[2] * s[4] - s[3] * s[3]) - s[1] * (s[1] * s[4] - s[3] * s[2]) +
          s[2] * (s[1] * s[3] - s[2] * s[2]);
    a = (s[2] * s[4] - s[3] * s[3]) / det;
    b = (s[2] * s[3] - s[1] * s[4]) / det;
    c = (s[1] * s[3] - s[2] * s[2]) / det;
    for (int i = 0; i < n; i++) {
        double t = first + i - at;

        ret_w[i] = a + b * t + c * t * t;
    }
}

static void smooth(struct predict_map *map)
{
    double smoothed[GRID_MAX][ROWS] = {{0}}, w[2 * SMOOTH_SIDE + 1];
    int from = 0, n = map->count, span = 2 * SMOOTH_SIDE + 1;

    while (from < n && -expm1(-map->x[from]) < SMOOTH_FROM)
        from++;
    span = span < n - from ? span : n - from;
    if (span < 4) /* a parabola through three is those three */
        return;
    for (int g = from; g < n; g++) {
        int first = g - SMOOTH_SIDE;

        first = first > n - span ? n - span : first < from ? from : first;
        parabola_weights(first, span, g, w);
        for (int i = 0; i < span; i++)
            for (size_t k = 0; k < ROWS; k++)
                smoothed[g][k] += w[i] * map->log_t[first + i][k];
    }
    memcpy(map->log_t[from], smoothed[from], (size_t)(n - from) * sizeof *smoothed);
}

/* Harmonic means of the chords on both sides, which keep a rising curve rising (Fritsch &
 * Butland 1984); at the ends the chord. */
static void slopes(struct predict_map *map)
{
    int n = map->count;

    for (int g = 0; g < n; g++) {
        int b = g > 0 ? g : 1, a = g + 1 < n ? g : n - 2;
        double before = map->x[b] - map->x[b - 1], after = map->x[a + 1] - map->x[a];
        double share = (1 + after / (before + after)) / 3;

        for (size_t k = 0; k < ROWS; k++) {
            double left = (map->log_t[b][k] - map->log_t[b - 1][k]) / before;
            double right = (map->log_t[a + 1][k] - map->log_t[a][k]) / after;

            map->slope[g][k] = left * right > 0
                                   ? left * right / (share * right + (1 - share) * left)
                                   : 0;
        }
    }
}

struct predict_map *predict_map_new(const struct tw_model *m, const struct tw_profile *p,
                                    uint64_t seed)
{
    struct predict_map *map = tw_alloc(sizeof *map);
    tw_auto(tw_hist) *hist = tw_hist_new();
    double low, high, wanted = 0, share;

    x_range(m, p, &low, &high);
    map->count = (int)fmin(fmax(ceil((high - low) / GRID_STEP) + 1, 3), GRID_MAX);
    for (int g = 0; g < map->count; g++) {
        double root = low + (high - low) * g / (map->count - 1);

        map->x[g] = root * root;
        wanted += wanted_requests(-expm1(-map->x[g]));
    }
    share = fmin(1, budget_of(m) / wanted);
    for (int g = 0; g < map->count; g++) {
        double load = -expm1(-map->x[g]);

        point_simulate(m, load, wanted_requests(load) * share, seed, (uint64_t)g + 1,
                       hist, map->log_t[g]);
    }
    if (m->processor_sharing)
        smooth(map);
    slopes(map);
    return map;
}

void predict_map_free(struct predict_map *map)
{
    free(map);
}

/* ---- looking it up ---- */

/* Cubic Hermite within the grid, straight on beyond it. */
static void interpolate(const struct predict_map *map, double x, double ret_log_t[ROWS])
{
    int n = map->count, g = 0;
    double h, t, keep, next, here_slope, next_slope;

    if (x <= map->x[0] || x >= map->x[n - 1]) {
        g = x <= map->x[0] ? 0 : n - 1;
        for (size_t k = 0; k < ROWS; k++)
            ret_log_t[k] = map->log_t[g][k] + map->slope[g][k] * (x - map->x[g]);
        return;
    }
    while (map->x[g + 1] < x)
        g++;
    h = map->x[g + 1] - map->x[g];
    t = (x - map->x[g]) / h;
    keep = (1 + 2 * t) * (1 - t) * (1 - t);
    next = t * t * (3 - 2 * t);
    here_slope = t * (1 - t) * (1 - t) * h;
    next_slope = t * t * (t - 1) * h;
    for (size_t k = 0; k < ROWS; k++)
        ret_log_t[k] = keep * map->log_t[g][k] + next * map->log_t[g + 1][k] +
                       here_slope * map->slope[g][k] + next_slope * map->slope[g + 1][k];
}

void predict_map_latency(const struct predict_map *map, const struct tw_model *m,
                         double rate_per_s, double ret_latency_s[PREDICT_RANKS],
                         double *ret_mean_s)
{
    double load = fmin(fmax(predict_load(m, rate_per_s), 1e-3), 0.995);
    double service_s = predict_service_s(m, rate_per_s), log_t[ROWS];

    interpolate(map, -log1p(-load), log_t);
    for (size_t k = 0; k < PREDICT_RANKS; k++) {
        ret_latency_s[k] = exp(log_t[k]) * service_s + m->delay_s;
        if (k > 0 &&
            ret_latency_s[k] < ret_latency_s[k - 1]) /* noise between neighbours */
            ret_latency_s[k] = ret_latency_s[k - 1];
    }
    *ret_mean_s = exp(log_t[PREDICT_RANKS]) * service_s + m->delay_s;
}
