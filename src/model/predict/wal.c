#include "predict/predict_internal.h"

#include <math.h>

/* W(n) = w0 n + 8192 P (1 - exp(-k n / P)) since the last checkpoint (docs/internals/laws.md).
 * A checkpoint comes after checkpoint_s, or when that much WAL was written that
 * max_wal_size would not hold: max_wal_size / (1 + checkpoint_completion_target), whose
 * default is 0.9 since version 14. */

#define PAGE   8192.0
#define TARGET 0.9

static double written(const struct tw_model *m, double n)
{
    double plain = m->wal_per_request_bytes * n;

    if (!(m->wal_pages > 0) || isnan(m->wal_touches_per_request))
        return plain;
    return plain +
           PAGE * m->wal_pages * -expm1(-m->wal_touches_per_request * n / m->wal_pages);
}

/* Requests until that many bytes: W is increasing and concave, so Newton from the left
 * converges without overshooting by much; 60 halvings are plenty and always safe. */
static double requests_until(const struct tw_model *m, double bytes)
{
    double low = 0, high = 1;

    if (isnan(bytes))
        return INFINITY;
    while (written(m, high) < bytes) {
        high *= 2;
        if (high > 1e15)
            return INFINITY;
    }
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;

        if (written(m, middle) < bytes)
            low = middle;
        else
            high = middle;
    }
    return high;
}

struct cycle {
    double requests, seconds; /* since the last checkpoint */
};

/* One bin at a steady pace. Whole cycles within it are alike, so they are counted, not
 * walked. */
static double bin_bytes(const struct tw_model *m, double timed_s, double volume,
                        double rate, double seconds, struct cycle *c,
                        double *checkpoints_by_volume)
{
    double bytes = 0, volume_s = volume / rate, cycle_s = fmin(timed_s, volume_s);

    while (seconds > 0) {
        double left_s = fmin(timed_s - c->seconds, (volume - c->requests) / rate);
        double step_s = fmin(seconds, fmax(left_s, 0));

        bytes += written(m, c->requests + rate * step_s) - written(m, c->requests);
        c->requests += rate * step_s;
        c->seconds += step_s;
        seconds -= step_s;
        if (seconds > 0 || step_s >= left_s) {
            double whole = floor(seconds / cycle_s);

            *checkpoints_by_volume += volume_s < timed_s ? 1 + whole : 0;
            bytes += whole * written(m, rate * cycle_s);
            seconds -= whole * cycle_s;
            *c = (struct cycle){0};
        }
    }
    return bytes;
}

double predict_wal(const struct tw_model *m, const struct predict_wal_spec *spec,
                   const struct tw_profile *p, const struct predict_fluid *fluid,
                   double *ret_bytes)
{
    double timed_s = spec->checkpoint_s > 0 ? spec->checkpoint_s : INFINITY;
    double volume = requests_until(m, spec->max_wal_bytes / (1 + TARGET)), by_volume = 0;
    struct cycle c = {0};

    for (size_t i = 0; i < p->bins.count; i++) {
        double seconds = p->bins.items[i].hours * 3600, rate = fluid[i].done / seconds;

        if (isnan(m->wal_per_request_bytes))
            ret_bytes[i] = NAN;
        else
            ret_bytes[i] = bin_bytes(m, timed_s, volume, rate, seconds, &c, &by_volume);
    }
    return by_volume;
}
