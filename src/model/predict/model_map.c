#include "predict/predict_internal.h"

#include <math.h>

/* The load map: every bin takes its latencies from the map at its load. Its requests are
 * spread over the pieces between ranks, so that the day's histogram adds up to every one
 * of them. */

#define PIECES                                                                           \
    8 /* of each stretch between two ranks: half a piece is what a quantile may be off   \
       */

static void spread(struct tw_hist *hist, const double *latency_s, const double *warp,
                   int64_t n)
{
    double done = 0;
    int64_t before = 0;

    for (size_t k = 0; k + 1 < PREDICT_RANKS; k++) {
        double step = (predict_ranks[k + 1] - predict_ranks[k]) / PIECES;
        double from = latency_s[k] * warp[k], to = latency_s[k + 1] * warp[k + 1];

        for (int i = 0; i < PIECES; i++) {
            double at = from + (to - from) * (i + 0.5) / PIECES;
            int64_t upto;

            done += step;
            upto = k + 2 == PREDICT_RANKS && i + 1 == PIECES
                       ? n
                       : (int64_t)llround(done * (double)n);
            tw_hist_record_n(hist, (int64_t)(at * 1e9), upto - before);
            before = upto;
        }
    }
}

static void bin_run(const struct predict_job *job, size_t i, int64_t n,
                    struct predict_day *day)
{
    double rate = job->profile->bins.items[i].rate_per_s, latency_s[PREDICT_RANKS],
           mean_s;
    double r[PREDICT_QUANTILES], warp[PREDICT_RANKS], q[PREDICT_QUANTILES];

    predict_map_latency(job->map, job->model, rate, latency_s, &mean_s);
    predict_residual(job->model, rate, r);
    for (size_t k = 0, j = 0; k < PREDICT_RANKS; k++) {
        warp[k] = exp(predict_warp(r, predict_ranks[k]));
        if (j < PREDICT_QUANTILES && predict_ranks[k] >= predict_q[j])
            q[j++] = latency_s[k] * warp[k];
    }
    spread(day->hist, latency_s, warp, n);
    predict_bin_quantiles(&day->bins[i], q);
    day->bins[i].connections = rate * mean_s * exp(r[0]);
}

static void map_run(const struct predict_job *job, struct predict_day *day)
{
    double expected = 0;
    int64_t before = 0;

    for (size_t i = 0; i < job->profile->bins.count; i += job->stride) {
        double hours = job->profile->bins.items[i].hours * (double)job->stride;
        int64_t upto, n;

        expected += job->profile->bins.items[i].rate_per_s * hours * 3600;
        upto = (int64_t)llround(expected);
        n = upto - before;
        before = upto;
        if (job->fluid[i].overloaded) {
            predict_fluid_record(job, i, n, day);
            day->overloaded += (double)n;
            predict_bin_quantiles(&day->bins[i], (double[]){NAN, NAN, NAN});
            day->bins[i].connections = predict_pool(job->model);
        } else {
            bin_run(job, i, n, day);
        }
        day->requests += (double)n;
    }
}

const struct predict_engine predict_engine_map = {.name = "map", .run = map_run};
