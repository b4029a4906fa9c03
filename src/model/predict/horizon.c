#include "predict/predict_internal.h"

#include <math.h>

static const struct predict_engine *const engines[] = {
#define TW_ROW(name) &predict_engine_##name,
    TW_PREDICT_ENGINE_LIST(TW_ROW)
#undef TW_ROW
};

static const struct predict_engine *engine_find(const char *name)
{
    for (size_t i = 0; i < TW_COUNT_OF(engines); i++)
        if (tw_streq(engines[i]->name, name))
            return engines[i];
    return NULL;
}

void predict_bin_quantiles(struct tw_bin *bin, const double q[PREDICT_QUANTILES])
{
    bin->p50_s = q[0];
    bin->p95_s = q[1] < q[0] ? q[0] : q[1];
    bin->p99_s = q[2] < bin->p95_s ? bin->p95_s : q[2];
}

/* ---- totals: one row each ---- */

enum total {
    TOTAL_P50,
    TOTAL_P95,
    TOTAL_P99,
    TOTAL_THROUGHPUT,
    TOTAL_CPU,
    TOTAL_WAL,
    TOTAL_MEMORY,
    TOTAL_CONNECTIONS,
    TOTAL_ERRORS,
    TOTAL_COUNT
};
static const struct {
    size_t at;   /* offset of the estimate in the forecast */
    bool drifts; /* the machine's drift between the halves of the run widens it */
} totals[TOTAL_COUNT] = {
    [TOTAL_P50] = {offsetof(struct tw_forecast, p50_s), true},
    [TOTAL_P95] = {offsetof(struct tw_forecast, p95_s), true},
    [TOTAL_P99] = {offsetof(struct tw_forecast, p99_s), true},
    [TOTAL_THROUGHPUT] = {offsetof(struct tw_forecast, throughput_per_s), false},
    [TOTAL_CPU] = {offsetof(struct tw_forecast, cpu_cores), false},
    [TOTAL_WAL] = {offsetof(struct tw_forecast, wal_bytes), false},
    [TOTAL_MEMORY] = {offsetof(struct tw_forecast, memory_bytes), false},
    [TOTAL_CONNECTIONS] = {offsetof(struct tw_forecast, connections), false},
    [TOTAL_ERRORS] = {offsetof(struct tw_forecast, errors), false},
};

/* 99 % of the time fewer are there at once: of a geometric number with this mean (M/M/1),
 * which a Poisson number (nobody waits) stays below. */
static double peak_of_mean(double mean)
{
    return mean > 0 ? fmax(1, log(0.01) / log(mean / (1 + mean))) : 0;
}

static double memory_of(const struct tw_model *m, double connections)
{
    return m->memory_base_bytes + m->memory_per_connection_bytes * connections;
}

/* A quantile of the day is unknown when it lies among the requests of overloaded bins,
 * whose latency two real days do not agree on either. */
static void day_quantiles(const struct predict_day *day, double ret_total[TOTAL_COUNT])
{
    double share = day->overloaded / fmax(1, day->requests);

    for (size_t j = 0; j < PREDICT_QUANTILES; j++)
        ret_total[TOTAL_P50 + j] =
            share >= 1 - predict_q[j] ? NAN : tw_hist_quantile(day->hist, predict_q[j]);
}

/* ---- one model over the horizon ---- */

struct pass {
    const struct tw_predict_spec *spec;
    const struct tw_model *model;
    struct predict_fluid *fluid;
    double *wal;
    struct tw_bin *bins;
    double wal_checkpoints; /* because of the volume */
    double total[TOTAL_COUNT];
};

static void bins_fill(struct pass *p, size_t stride)
{
    const struct tw_profile *profile = p->spec->profile;
    double pool = predict_pool(p->model);

    for (size_t i = 0; i < profile->bins.count; i++) {
        struct tw_bin *bin = &p->bins[i];
        double seconds = profile->bins.items[i].hours * 3600;
        double mean = p->bins[i - i % stride].connections;

        bin->from_h = profile->bins.items[i].from_h;
        bin->hours = profile->bins.items[i].hours;
        bin->rate_per_s = profile->bins.items[i].rate_per_s;
        bin->utilisation = predict_load(p->model, bin->rate_per_s);
        bin->throughput_per_s = p->fluid[i].done / seconds;
        bin->errors_per_s = p->fluid[i].errors / seconds;
        bin->cpu_cores = predict_cores(p->model, bin->throughput_per_s);
        bin->wal_bytes_per_s = p->wal[i] / seconds;
        bin->connections = fmin(pool, mean);
        bin->memory_bytes = memory_of(p->model, fmin(pool, peak_of_mean(mean)));
        bin->backlog = p->fluid[i].backlog_to;
    }
}

static void totals_fill(struct pass *p, const struct predict_day *day)
{
    const struct tw_profile *profile = p->spec->profile;
    double pool = predict_pool(p->model), hours = 0, peak = 0;
    double sum[TOTAL_COUNT] = {0};

    for (size_t i = 0; i < profile->bins.count; i++) {
        const struct tw_bin *bin = &p->bins[i];

        hours += bin->hours;
        sum[TOTAL_THROUGHPUT] += bin->throughput_per_s * bin->hours;
        sum[TOTAL_CPU] += bin->cpu_cores * bin->hours;
        sum[TOTAL_WAL] += p->wal[i];
        sum[TOTAL_ERRORS] += p->fluid[i].errors;
        peak = fmax(peak, bin->connections);
    }
    day_quantiles(day, p->total);
    p->total[TOTAL_THROUGHPUT] = sum[TOTAL_THROUGHPUT] / hours;
    p->total[TOTAL_CPU] = sum[TOTAL_CPU] / hours;
    p->total[TOTAL_WAL] = sum[TOTAL_WAL];
    p->total[TOTAL_ERRORS] = sum[TOTAL_ERRORS];
    p->total[TOTAL_CONNECTIONS] = fmin(pool, ceil(peak_of_mean(peak)));
    p->total[TOTAL_MEMORY] = memory_of(p->model, p->total[TOTAL_CONNECTIONS]);
}

static void pass_run(struct pass *p, const struct predict_engine *engine,
                     const struct predict_map *map, size_t stride,
                     struct predict_day *day)
{
    const struct predict_wal_spec wal = {p->spec->checkpoint_s, p->spec->max_wal_bytes};
    const struct predict_job job = {
        .model = p->model,
        .profile = p->spec->profile,
        .fluid = p->fluid,
        .map = map,
        .seed = p->spec->seed,
        .stride = stride,
    };

    predict_fluid_make(p->model, p->spec->profile, p->fluid);
    p->wal_checkpoints = predict_wal(p->model, &wal, p->spec->profile, p->fluid, p->wal);
    tw_hist_clear(day->hist);
    day->bins = p->bins;
    day->requests = day->overloaded = 0;
    engine->run(&job, day);
    bins_fill(p, stride);
    totals_fill(p, day);
}

/* ---- intervals: resampled models through the stored map ---- */

#define LOOKED_AT 96 /* bins of a resampled model's horizon that are evaluated */

/* The map is the same for all, so what its own noise does to one it does to the other,
 * and only the ratio counts. An overloaded resample has no latency: the upper end is then
 * open. */
static void interval(const struct tw_model *m, enum total t, double value, double own,
                     const double *resampled, size_t n, struct tw_estimate *ret)
{
    double sum = 0, squares = 0, known = 0, sd;

    *ret = (struct tw_estimate){value, NAN, NAN, NAN, m->requests, NULL};
    for (size_t i = 0; i < n; i++) {
        double y = log(resampled[i * TOTAL_COUNT + t] / own);

        if (!isfinite(y))
            continue;
        sum += y;
        squares += y * y;
        known++;
    }
    if (!isfinite(value) || known < 2)
        return;
    sd = sqrt(fmax(0, (squares - sum * sum / known) / (known - 1)));
    if (totals[t].drifts && isfinite(m->drift))
        sd = hypot(sd, m->drift);
    ret->level = 0.9;
    ret->low = value * exp(-tw_normal_quantile(0.95) * sd);
    ret->high = value * exp(tw_normal_quantile(0.95) * sd);
    if (totals[t].drifts && (double)n - known > 0.05 * (double)n)
        ret->high = INFINITY;
    ret->method = "slot pairs resampled, drift between the halves";
}

static void intervals(struct tw_arena *a, const struct pass *main_pass,
                      const struct predict_map *map, struct predict_day *day,
                      struct tw_forecast *f)
{
    const struct tw_predict_spec *spec = main_pass->spec;
    size_t n = (size_t)spec->resampled_count, bins = spec->profile->bins.count;
    size_t stride = bins / LOOKED_AT ? bins / LOOKED_AT : 1;
    double *all = tw_arena_alloc(a, (n + 1) * TOTAL_COUNT * sizeof *all);
    struct pass p = {
        .spec = spec,
        .model = main_pass->model,
        .fluid = tw_arena_alloc(a, bins * sizeof *p.fluid),
        .wal = tw_arena_alloc(a, bins * sizeof *p.wal),
        .bins = tw_arena_alloc(a, bins * sizeof *p.bins),
    };

    for (size_t i = 0; n > 0 && i <= n;
         i++) { /* the last is the model itself, for the ratio */
        p.model = i < n ? &spec->resampled[i] : main_pass->model;
        pass_run(&p, &predict_engine_map, map, stride, day);
        for (size_t t = 0; t < TOTAL_COUNT; t++)
            all[i * TOTAL_COUNT + t] = p.total[t];
    }
    for (enum total t = 0; t < TOTAL_COUNT; t++)
        interval(main_pass->model, t, main_pass->total[t], all[n * TOTAL_COUNT + t], all,
                 n, (struct tw_estimate *)((char *)f + totals[t].at));
}

/* ---- notes ---- */

static void note_overload(struct tw_arena *a, const struct pass *p, struct tw_forecast *f)
{
    size_t n = p->spec->profile->bins.count, first = n;
    double worst = 0, until_h = NAN;

    for (size_t i = 0; i < n; i++) {
        if (!p->fluid[i].overloaded)
            continue;
        first = i < first ? i : first;
        worst = fmax(worst, p->fluid[i].backlog_to);
        until_h = p->bins[i].from_h + p->fluid[i].drain_h;
    }
    if (first == n)
        return;
    TW_PUSH(
        a, &f->notes,
        (const char *)tw_arena_printf(
            a,
            "overload from hour %.2f: more is offered than the %s requests/s that can be "
            "served; up to %s requests wait, %s hour %.2f; no latency is given for it",
            p->bins[first].from_h, tw_show_count(a, predict_capacity(p->model)),
            tw_show_count(a, worst),
            p->fluid[n - 1].backlog_to > 0 ? "and still do at" : "gone by", until_h));
}

static void note_high_load(struct tw_arena *a, const struct pass *p,
                           struct tw_forecast *f)
{
    double highest = 0, hours = 0;

    for (size_t i = 0; i < p->spec->profile->bins.count; i++) {
        if (p->fluid[i].overloaded || p->bins[i].utilisation < 0.85)
            continue;
        highest = fmax(highest, p->bins[i].utilisation);
        hours += p->bins[i].hours;
    }
    if (hours > 0)
        TW_PUSH(a, &f->notes,
                (const char *)tw_arena_printf(a,
                                              "%.1f hours above 85 %% load (up to %.0f "
                                              "%%): there 5 %% more demand is 20 %% "
                                              "more latency and up, so p95 and p99 are "
                                              "orders of magnitude, not figures",
                                              hours, 100 * highest));
}

static void note_wal(struct tw_arena *a, const struct pass *p, struct tw_forecast *f)
{
    const struct tw_model *m = p->model;

    if (isnan(m->wal_per_request_bytes))
        return;
    if (isnan(m->wal_pages))
        TW_PUSH(
            a, &f->notes,
            (const char
                 *)"WAL per request is taken as constant: the size of the updated set "
                   "is not known, so page images are counted as if none were saved");
    if (p->wal_checkpoints >= 1)
        TW_PUSH(a, &f->notes,
                (const char *)tw_arena_printf(
                    a, "%s checkpoints come because max_wal_size is reached, not by time",
                    tw_show_count(a, p->wal_checkpoints)));
}

static void note_unknown(struct tw_arena *a, const struct pass *p, struct tw_forecast *f)
{
    static const struct {
        enum total total;
        const char *text;
    } rows[] = {
        {TOTAL_CPU, "CPU per request was not measured: service times are taken from the "
                    "capacity, and no CPU is predicted"},
        {TOTAL_WAL, "WAL per request was not measured: no WAL is predicted"},
        {TOTAL_MEMORY, "memory per connection was not measured: no memory is predicted"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (isnan(p->total[rows[i].total]))
            TW_PUSH(a, &f->notes, rows[i].text);
}

/* ---- the door ---- */

static int spec_check(const struct tw_predict_spec *spec, struct tw_err *err)
{
    const struct tw_model *m = spec->model;

    if (!engine_find(spec->engine))
        return tw_fail_at(err, -EINVAL, "/engine",
                          "unknown engine '%s', expected map or full",
                          spec->engine ? spec->engine : "");
    if (spec->profile->bins.count == 0)
        return tw_fail(err, -EINVAL, "the profile has no bins");
    if (m->sample_count <= 0 || m->level_count <= 0 || m->servers <= 0)
        return tw_fail(err, -ENODATA,
                       "the model has no service times: nothing was calibrated");
    if (!(predict_capacity(m) > 0 && isfinite(predict_capacity(m))))
        return tw_fail(err, -ENODATA,
                       "the model knows neither capacity nor CPU per request");
    return 0;
}

int tw_predict_horizon(struct tw_arena *a, const struct tw_predict_spec *spec,
                       struct tw_forecast *ret_forecast, struct tw_err *err)
{
    struct tw_forecast f = {.engine_seconds = NAN, .acceleration = NAN};
    tw_auto(predict_map) *map = NULL;
    const struct predict_engine *engine;
    struct predict_day day = {0};
    tw_auto(tw_hist) *hist = NULL;
    struct pass p = {.spec = spec, .model = spec->model};
    int r = spec_check(spec, err);

    if (r < 0)
        return r;
    engine = engine_find(spec->engine);
    f.engine = engine->name;
    f.bins.count = spec->profile->bins.count;
    p.fluid = tw_arena_alloc(a, f.bins.count * sizeof *p.fluid);
    p.wal = tw_arena_alloc(a, f.bins.count * sizeof *p.wal);
    p.bins = f.bins.items = tw_arena_alloc(a, f.bins.count * sizeof *f.bins.items);
    day.hist = hist = tw_hist_new();
    if (engine == &predict_engine_map || spec->resampled_count > 0)
        map = predict_map_new(spec->model, spec->profile, spec->seed);

    pass_run(&p, engine, map, 1, &day);
    f.requests = day.requests;
    f.histogram_count = tw_hist_count(day.hist);
    intervals(a, &p, map, &day, &f);
    note_overload(a, &p, &f);
    note_high_load(a, &p, &f);
    note_wal(a, &p, &f);
    note_unknown(a, &p, &f);
    *ret_forecast = f;
    return 0;
}
