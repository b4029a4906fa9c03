#include "predict/predict_internal.h"

#include <math.h>

/* Overload is fluid: B' = lambda - mu; with a time limit T on waiting, B stays at mu T
 * and the rest are errors; the drain takes B / (mu - lambda). */

static void one_bin(const struct tw_model *m, double capacity, double rate,
                    double seconds, double backlog, struct predict_fluid *ret)
{
    double growth = rate - capacity, limit = m->timeout_s * capacity, end = backlog;

    *ret = (struct predict_fluid){.backlog_from = backlog};
    if (growth > 0) {
        double room = isfinite(limit) ? fmax(0, limit - backlog) : INFINITY;

        end = backlog + fmin(growth * seconds, room);
        ret->errors = fmax(0, growth * seconds - room);
        ret->drain_h = seconds / 3600;
    } else if (backlog > 0) {
        double drain_s = growth < 0 ? backlog / -growth : INFINITY;

        end = fmax(0, backlog + growth * seconds);
        ret->drain_h = fmin(drain_s, seconds) / 3600;
    }
    ret->overloaded = growth > 0 || backlog > 0;
    ret->backlog_to = end;
    ret->done = rate * seconds - ret->errors - (end - backlog);
}

void predict_fluid_make(const struct tw_model *m, const struct tw_profile *p,
                        struct predict_fluid *ret)
{
    double capacity = predict_capacity(m), backlog = 0;

    for (size_t i = 0; i < p->bins.count; i++) {
        one_bin(m, capacity, p->bins.items[i].rate_per_s, p->bins.items[i].hours * 3600,
                backlog, &ret[i]);
        backlog = ret[i].backlog_to;
    }
}

#define STEPS 64 /* of the straight line of the backlog over a bin */

/* Who arrives while B are ahead waits B / mu; n requests, evenly over the stretch. */
void predict_fluid_record(const struct predict_job *job, size_t bin, int64_t n,
                          struct predict_day *day)
{
    const struct predict_fluid *f = &job->fluid[bin];
    double capacity = predict_capacity(job->model);
    double least_s = predict_service_s(job->model, capacity) + job->model->delay_s;
    int64_t before = 0;

    for (int k = 0; k < STEPS; k++) {
        double at = (k + 0.5) / STEPS;
        double wait_s =
            (f->backlog_from + at * (f->backlog_to - f->backlog_from)) / capacity;
        int64_t upto = n * (k + 1) / STEPS;

        tw_hist_record_n(day->hist, (int64_t)((wait_s + least_s) * 1e9), upto - before);
        before = upto;
    }
}
