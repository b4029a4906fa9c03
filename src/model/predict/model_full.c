#include "predict/predict_internal.h"

#include <math.h>

/* Every request on its own, the queue going on from bin to bin. Only where more requests
 * would wait than memory should be spent on (processor sharing, hours of overload) the
 * fluid takes over, and hands what is left back to the queue. */

struct warped {
    struct tw_hist *to;
    double r[PREDICT_QUANTILES];
    double before, total;
};

static void warp_bucket(void *arg, double seconds, int64_t count)
{
    struct warped *w = arg;
    double rank = (w->before + (double)count / 2) / w->total;

    w->before += (double)count;
    tw_hist_record_n(w->to, (int64_t)(seconds * exp(predict_warp(w->r, rank)) * 1e9),
                     count);
}

static bool residual_shows(const double r[PREDICT_QUANTILES])
{
    return fabs(r[0]) + fabs(r[1]) + fabs(r[2]) > 0;
}

static void bin_close(const struct predict_job *job, size_t i, const struct tw_hist *bin,
                      struct predict_day *day)
{
    double rate = job->profile->bins.items[i].rate_per_s, q[PREDICT_QUANTILES];
    struct warped w = {.to = day->hist, .total = (double)tw_hist_count(bin)};

    if (!job->fluid[i].overloaded)
        predict_residual(job->model, rate, w.r);
    if (residual_shows(w.r))
        tw_hist_each(bin, warp_bucket, &w);
    else
        tw_hist_merge(day->hist, bin);
    day->requests += w.total;
    if (job->fluid[i].overloaded) {
        day->overloaded += w.total;
        predict_bin_quantiles(&day->bins[i], (double[]){NAN, NAN, NAN});
        day->bins[i].connections = predict_pool(job->model);
        return;
    }
    tw_hist_quantiles(bin, predict_q, PREDICT_QUANTILES, q);
    for (size_t j = 0; j < PREDICT_QUANTILES; j++)
        q[j] *= exp(w.r[j]);
    predict_bin_quantiles(&day->bins[i], q);
    day->bins[i].connections = rate * tw_hist_mean(bin) * exp(w.r[0]);
}

/* The queue holds the bin's own arrivals too while it is overloaded. */
static bool too_many(const struct predict_job *job, size_t i, double waiting)
{
    double more = fmax(0, job->fluid[i].backlog_to - job->fluid[i].backlog_from);

    return job->model->processor_sharing && waiting + 1.1 * more > TW_SIM_BACKLOG_MAX / 2;
}

/* A bin by the fluid: what it finishes is recorded, what waits at its end goes on. */
static double fluid_bin(const struct predict_job *job, size_t i, double waiting,
                        struct predict_day *day)
{
    const struct predict_fluid *f = &job->fluid[i];
    double rate = job->profile->bins.items[i].rate_per_s;
    double arrived = rate * job->profile->bins.items[i].hours * 3600;
    double left = fmax(0, waiting + f->backlog_to - f->backlog_from);
    int64_t n = (int64_t)llround(waiting + arrived) - (int64_t)llround(left);

    n = n > 0 ? n : 0;
    predict_fluid_record(job, i, n, day);
    day->requests += (double)n;
    day->overloaded += (double)n;
    predict_bin_quantiles(&day->bins[i], (double[]){NAN, NAN, NAN});
    day->bins[i].connections = predict_pool(job->model);
    return round(left);
}

/* Who is still there when the horizon ends. */
static void rest_record(const struct predict_job *job, struct tw_sim_queue *queue,
                        double outside, struct predict_day *day)
{
    size_t end = job->profile->bins.count - 1;
    double before = (double)tw_hist_count(day->hist), rest;

    tw_sim_queue_drain(queue, day->hist, NULL);
    predict_fluid_record(job, end, (int64_t)outside, day);
    rest = (double)tw_hist_count(day->hist) - before;
    day->requests += rest;
    day->overloaded += job->fluid[end].overloaded ? rest : 0;
}

static void full_run(const struct predict_job *job, struct predict_day *day)
{
    const struct tw_model *m = job->model;
    tw_auto(tw_sim_queue) *queue = tw_sim_queue_new(&(struct tw_sim_queue_spec){
        .servers = m->servers,
        .pool = predict_pool(m),
        .sharing = m->processor_sharing,
        .delay_s = m->delay_s,
        .timeout_s = m->timeout_s,
        .sample = m->sample,
        .sample_count = m->sample_count,
        .seed = job->seed,
    });
    tw_auto(tw_hist) *bin = tw_hist_new();
    double outside = 0; /* waiting, kept by the fluid */

    for (size_t i = 0; i < job->profile->bins.count; i++) {
        double rate = job->profile->bins.items[i].rate_per_s;

        tw_sim_queue_load(queue, rate, predict_service_s(m, rate));
        if (outside > 0 || too_many(job, i, tw_sim_queue_backlog(queue))) {
            if (outside <= 0) {
                outside = round(tw_sim_queue_backlog(queue));
                tw_sim_queue_backlog_set(queue, 0);
            }
            outside = fluid_bin(job, i, outside, day);
            if (outside < TW_SIM_BACKLOG_MAX / 4) {
                tw_sim_queue_backlog_set(queue, outside);
                outside = 0;
            }
            continue;
        }
        tw_hist_clear(bin);
        tw_sim_queue_advance(queue, job->profile->bins.items[i].hours * 3600, bin, NULL);
        bin_close(job, i, bin, day);
    }
    rest_record(job, queue, outside, day);
}

const struct predict_engine predict_engine_full = {.name = "full", .run = full_run};
