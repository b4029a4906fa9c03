#include "impact_internal.h"

#include "tw/num.h"

#include <math.h>

/* Ratio anchoring (docs/internals/trial.md "Impact"): the level comes from the baseline's forecast
 * of the horizon, the change from the measured ratio, which is far steadier than either
 * arm's absolute figure. Only where the candidate is overloaded somewhere in the horizon
 * and the baseline is not, a ratio measured below saturation says too little: there the
 * candidate's own forecast stands. */

#define NONE       ((size_t)-1)
#define AT(member) offsetof(struct tw_forecast, member)

struct row {
    const char *metric, *unit;
    const char *effect; /* of the trial; NULL: forecasts alone */
    size_t forecast;    /* offset of the estimate, or NONE */
    double scale;       /* from the forecast's unit */
    bool higher_is_better;
};
static const struct row performance_rows[] = {
    {"throughput_per_s", "per s", "throughput_per_s", NONE, 1, true},
    {"p50_ms", "ms", "p50_ms", AT(p50_s), 1e3, false},
    {"p95_ms", "ms", "p95_ms", AT(p95_s), 1e3, false},
    {"p99_ms", "ms", "p99_ms", AT(p99_s), 1e3, false},
    {"mean_ms", "ms", "mean_ms", NONE, 1, false},
    {"errors_share", "share", "errors_share", NONE, 1, false},
    {"served_per_s", "per s", NULL, AT(throughput_per_s), 1, true},
};
static const struct row resource_rows[] = {
    {"cpu_cores", "cores", "cpu_ms_per_request", AT(cpu_cores), 1, false},
    {"memory_bytes", "bytes", NULL, AT(memory_bytes), 1, false},
    {"wal_bytes_per_day", "bytes", "wal_bytes_per_request", AT(wal_bytes), NAN, false},
    {"connections", "", NULL, AT(connections), 1, false},
};

static struct tw_estimate forecast_value(const struct tw_impact_facts *f, enum tw_arm arm,
                                         const struct row *row)
{
    if (row->forecast == NONE || !f->forecast[arm])
        return tw_unknown;
    return *(const struct tw_estimate *)((const char *)f->forecast[arm] + row->forecast);
}

/* NaN scale: bytes over the horizon become bytes a day. */
static double scale_of(const struct tw_impact_facts *f, const struct row *row)
{
    return isnan(row->scale) ? 24 / f->plan->hours : row->scale;
}

static void by_forecasts(const struct tw_impact_facts *f, const struct row *row,
                         struct tw_effect *e)
{
    struct tw_estimate before = forecast_value(f, TW_BASELINE, row),
                       after = forecast_value(f, TW_CANDIDATE, row);

    e->before = before.value * scale_of(f, row);
    e->after = after.value * scale_of(f, row);
    e->ratio = impact_ratio(&before, &after, "forecasts of both arms");
    /* What two models of a few slots know of each other is less than their own intervals say: how
     * slots of one arm differ is not in them. */
    if (row->effect && f->measured && f->measured->pairs < TW_PAIRS_TO_CLAIM) {
        e->ratio.low = 0;
        e->ratio.high = INFINITY;
    }
    e->verdict = impact_verdict(&e->ratio, row->higher_is_better, f->margins.effect);
}

/* An overloaded arm has no latency that a report could give, and that is worse. */
static void by_overload(const struct tw_impact_facts *f, const struct row *row,
                        struct tw_effect *e)
{
    by_forecasts(f, row, e);
    if (isnan(e->after) && !row->higher_is_better)
        e->verdict = "worse";
}

static void by_ratio(const struct tw_impact_facts *f, const struct row *row,
                     const struct tw_effect *measured, struct tw_effect *e)
{
    double before = forecast_value(f, TW_BASELINE, row).value * scale_of(f, row);
    /* The trial's figure has the row's unit only where no forecast would give another. */
    bool same_unit = tw_streq(row->metric, row->effect);

    e->before = isnan(before) && same_unit ? measured->before : before;
    e->after = e->before * measured->ratio.value;
    e->ratio = measured->ratio;
    e->verdict = measured->verdict;
    e->noise_floor = measured->noise_floor;
    e->tail_share = measured->tail_share;
}

/* What is overloaded today and then no more can only get faster, by as much as nobody can tell. */
static void by_relief(const struct tw_impact_facts *f, const struct row *row,
                      struct tw_effect *e)
{
    by_forecasts(f, row, e);
    if (!isnan(e->before) || isnan(e->after) || row->higher_is_better)
        return;
    e->ratio = (struct tw_estimate){NAN, 0, 1, 0.9, 0, "today's peak is beyond what it serves"};
    e->verdict = "better";
}

static struct tw_effect make_row(const struct impact *i, const struct row *row)
{
    const struct tw_impact_facts *f = i->facts;
    const struct tw_effect *measured = row->effect ? impact_effect(f, row->effect) : NULL;
    struct tw_effect e = {.metric = row->metric,
                          .unit = row->unit,
                          .higher_is_better = row->higher_is_better,
                          .before = NAN,
                          .after = NAN,
                          .ratio = tw_unknown,
                          .verdict = "inconclusive",
                          .noise_floor = NAN};

    if (row->forecast == NONE && measured)
        return *measured;
    if (row->forecast != NONE && impact_overload_shown(f))
        by_overload(f, row, &e);
    else if (measured && measured->ratio.value > 0)
        by_ratio(f, row, measured, &e);
    else if (impact_overloaded(f->forecast[TW_BASELINE]))
        by_relief(f, row, &e);
    else
        by_forecasts(f, row, &e);
    return e;
}

void impact_performance(struct impact *i)
{
    for (size_t k = 0; k < TW_COUNT_OF(performance_rows); k++) {
        struct tw_effect e = make_row(i, &performance_rows[k]);

        if (!isnan(e.before) || !isnan(e.ratio.value))
            TW_PUSH(i->arena, &i->ret->performance, e);
    }
}

static double requests_per_day(const struct tw_impact_facts *f, enum tw_arm arm)
{
    return f->forecast[arm] ? f->forecast[arm]->requests / f->plan->hours * 24 : NAN;
}

/* Spilled bytes are counted, not modelled: no interval. */
static struct tw_effect temp_row(const struct tw_impact_facts *f)
{
    struct tw_effect e = {.metric = "temp_bytes_per_day",
                          .unit = "bytes",
                          .ratio = tw_unknown,
                          .noise_floor = NAN,
                          .verdict = "inconclusive"};

    e.before = f->temp_bytes_per_request[TW_BASELINE] * requests_per_day(f, TW_BASELINE);
    e.after = f->temp_bytes_per_request[TW_CANDIDATE] * requests_per_day(f, TW_CANDIDATE);
    if (e.before == 0 && e.after == 0)
        e.verdict = "equivalent";
    if (e.before == 0 && e.after > 0)
        e.verdict = "worse";
    if (e.before > 0 && e.after == 0)
        e.verdict = "better";
    if (e.before > 0 && e.after > 0) {
        e.ratio.value = e.after / e.before;
        e.ratio.n = 1;
        e.ratio.method = "bytes spilled per request, counted";
    }
    return e;
}

void impact_resources(struct impact *i)
{
    struct tw_effect temp = temp_row(i->facts);

    for (size_t k = 0; k < TW_COUNT_OF(resource_rows); k++) {
        struct tw_effect e = make_row(i, &resource_rows[k]);

        if (!isnan(e.before) || !isnan(e.after))
            TW_PUSH(i->arena, &i->ret->resources, e);
    }
    if (!isnan(temp.before) && !isnan(temp.after))
        TW_PUSH(i->arena, &i->ret->resources, temp);
}

/* ---- what users notice ---- */

/* Share of requests answered within limit, from three quantiles: log latency is taken as
 * linear in -log(1 - q) between them (exponential pieces) and beyond them. NaN where one
 * is unknown. */
static double share_within(double limit, double p50, double p95, double p99)
{
    const double at[] = {-log(0.50), -log(0.05), -log(0.01)};
    const double x[] = {log(p50), log(p95), log(p99)};
    int piece = log(limit) > x[1] ? 1 : 0;
    double width = x[piece + 1] - x[piece], y;

    if (isnan(limit + x[0] + x[1] + x[2]))
        return NAN;
    if (width < 1e-9) /* no tail in this piece */
        y = log(limit) < x[piece] ? 0 : at[piece + 1];
    else
        y = at[piece] + (log(limit) - x[piece]) / width * (at[piece + 1] - at[piece]);
    return 1 - exp(-fmax(y, 0));
}

/* Apdex = satisfied + tolerating / 2, with satisfied: as fast as 95 of 100 requests are
 * today; tolerating: within four times that (Apdex Alliance, 2007). */
static double apdex(double limit, double p50, double p95, double p99, double failed)
{
    double satisfied = share_within(limit, p50, p95, p99),
           within = share_within(4 * limit, p50, p95, p99);

    return (satisfied + (within - satisfied) / 2) * (1 - (isnan(failed) ? 0 : failed));
}

static double forecast_failed(const struct tw_forecast *f)
{
    double errors = 0, requests = 0;

    for (size_t i = 0; f && i < f->bins.count; i++) {
        const struct tw_bin *b = &f->bins.items[i];

        errors += b->errors_per_s * b->hours;
        requests += b->rate_per_s * b->hours;
    }
    return requests > 0 ? errors / requests : NAN;
}

/* Failures by overload come from the forecast, failures of requests themselves from the
 * trial. */
static double failed_share(const struct tw_impact_facts *f, enum tw_arm arm)
{
    const struct tw_effect *e = impact_effect(f, "errors_share");
    double forecast = forecast_failed(f->forecast[arm]);
    double measured = e ? arm == TW_BASELINE ? e->before : e->after : NAN;

    if (isnan(forecast))
        return measured;
    return fmin(1, forecast + (isnan(measured) ? 0 : measured));
}

void impact_experience(struct impact *i)
{
    const struct tw_effect *p50 = impact_row(i->ret, "p50_ms"),
                           *p95 = impact_row(i->ret, "p95_ms"),
                           *p99 = impact_row(i->ret, "p99_ms");

    i->ret->failed_before = failed_share(i->facts, TW_BASELINE);
    i->ret->failed_after = failed_share(i->facts, TW_CANDIDATE);
    i->ret->apdex_before = i->ret->apdex_after = NAN;
    if (!p50 || !p95 || !p99)
        return;
    i->ret->apdex_before =
        apdex(p95->before, p50->before, p95->before, p99->before, i->ret->failed_before);
    i->ret->apdex_after =
        apdex(p95->before, p50->after, p95->after, p99->after, i->ret->failed_after);
}

/* ---- cost ---- */

static double priced(double amount, double price)
{
    return isnan(price) ? 0 : amount * price;
}

static double per_day(const struct tw_impact_facts *f, double cores, double memory_bytes)
{
    const double gb = 1024.0 * 1024 * 1024;
    double disk = (double)f->snapshot->data_bytes / gb;

    return priced(cores * 24, f->price_cpu_hour) +
           priced(memory_bytes / gb * 24, f->price_memory_gb_hour) +
           priced(disk * 12 / 365.25, f->price_disk_gb_month);
}

void impact_cost(struct impact *i)
{
    const struct tw_impact_facts *f = i->facts;
    const struct tw_effect *cpu = impact_row(i->ret, "cpu_cores"),
                           *memory = impact_row(i->ret, "memory_bytes");
    struct tw_cost *c = &i->ret->cost;

    *c = (struct tw_cost){NAN, NAN, NAN, f->currency, NULL};
    if (isnan(f->price_cpu_hour) && isnan(f->price_memory_gb_hour) &&
        isnan(f->price_disk_gb_month)) {
        c->basis = "no prices are configured";
        return;
    }
    c->before_per_day =
        per_day(f, cpu ? cpu->before : NAN, memory ? memory->before : NAN);
    c->after_per_day = per_day(f, cpu ? cpu->after : NAN, memory ? memory->after : NAN);
    c->benefit_per_day = c->before_per_day - c->after_per_day;
    c->basis =
        "CPU and memory used over the horizon and data size, at the configured prices";
}
