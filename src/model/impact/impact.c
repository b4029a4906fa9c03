#include "impact_internal.h"

#include <math.h>
#include <string.h>

const struct tw_effect *impact_effect(const struct tw_impact_facts *f, const char *metric)
{
    for (size_t i = 0; i < f->effects.count; i++)
        if (tw_streq(f->effects.items[i].metric, metric))
            return &f->effects.items[i];
    return NULL;
}

static const struct tw_effect *find_row(const struct tw_effect *rows, size_t n,
                                        const char *metric)
{
    for (size_t i = 0; i < n; i++)
        if (tw_streq(rows[i].metric, metric))
            return &rows[i];
    return NULL;
}

const struct tw_effect *impact_row(const struct tw_impact *ret, const char *metric)
{
    const struct tw_effect *row =
        find_row(ret->performance.items, ret->performance.count, metric);

    return row ? row : find_row(ret->resources.items, ret->resources.count, metric);
}

const char *impact_verdict(const struct tw_estimate *ratio, bool higher_is_better,
                           double margin)
{
    double up = 1 + margin, down = 1 / (1 + margin);

    if (isnan(ratio->low) || isnan(ratio->high))
        return "inconclusive";
    if (ratio->low > up)
        return higher_is_better ? "better" : "worse";
    if (ratio->high < down)
        return higher_is_better ? "worse" : "better";
    return ratio->low >= down && ratio->high <= up ? "equivalent" : "inconclusive";
}

bool impact_overloaded(const struct tw_forecast *f)
{
    for (size_t i = 0; f && i < f->bins.count; i++)
        if (f->bins.items[i].utilisation >= 1)
            return true;
    return false;
}

static double log_half(double from, double to)
{
    double half = log(to / from);

    return half > 0 ? half : 0; /* NaN and the wrong order: no width is known */
}

struct tw_estimate impact_ratio(const struct tw_estimate *before,
                                const struct tw_estimate *after, const char *method)
{
    struct tw_estimate r = tw_unknown;
    bool known = isfinite(before->low) && isfinite(before->high) &&
                 isfinite(after->low) && isfinite(after->high);

    if (!(before->value > 0 && after->value > 0))
        return r;
    r.value = after->value / before->value;
    r.method = method;
    r.n = before->n < after->n ? before->n : after->n;
    if (!known)
        return r;
    r.level = fmin(before->level, after->level);
    r.low = r.value * exp(-hypot(log_half(before->value, before->high),
                                 log_half(after->low, after->value)));
    r.high = r.value * exp(hypot(log_half(before->low, before->value),
                                 log_half(after->value, after->high)));
    return r;
}

enum impact_standing impact_standing(const struct tw_impact_facts *f,
                                     const struct tw_effect *row, double *ret_margin_log)
{
    const double tail = row->tail_share;
    const struct {
        const char *metric;
        double margin;
    } margins[] = {{"throughput_per_s", f->margins.throughput},
                   {"p50_ms", fmax(f->margins.p50, tail)},
                   {"p95_ms", fmax(f->margins.p95, tail)},
                   {"p99_ms", fmax(f->margins.p99, tail)}};
    const struct tw_estimate *r = &row->ratio;

    for (size_t i = 0; i < TW_COUNT_OF(margins); i++) {
        double worst =
            row->higher_is_better ? 1 - margins[i].margin : 1 + margins[i].margin;
        bool inside = row->higher_is_better ? r->low >= worst : r->high <= worst;
        /* What is claimed has to be certain for all metrics together: the verdict is. */
        bool outside = (row->higher_is_better ? r->high < worst : r->low > worst) &&
                       !tw_streq(row->verdict, "inconclusive");

        if (!tw_streq(row->metric, margins[i].metric))
            continue;
        *ret_margin_log = fabs(log(fmax(worst, 0.01)));
        return inside ? IMPACT_INSIDE : outside ? IMPACT_OUTSIDE : IMPACT_CROSSING;
    }
    return IMPACT_NO_MARGIN;
}

bool impact_refused(const struct tw_impact_facts *f)
{
    return !f->candidate_started || !f->candidate_restarted;
}

bool impact_measured(const struct tw_impact_facts *f)
{
    return f->measured && f->measured->pairs > 0;
}

/* A forecast of few noisy slots may find the peak beyond an arm that is no slower: what the pairs say of
 * the throughput has to leave no room for that. */
bool impact_slower(const struct tw_impact_facts *f)
{
    const struct tw_effect *e = impact_effect(f, "throughput_per_s");

    return !e || e->ratio.n == 0 || isnan(e->ratio.high) || e->ratio.high < 1;
}

bool impact_overload_shown(const struct tw_impact_facts *f)
{
    return impact_overloaded(f->forecast[TW_CANDIDATE]) &&
           !impact_overloaded(f->forecast[TW_BASELINE]) && impact_slower(f);
}

/* A regression is a finding too, with its figures as the evidence. */
static void performance_findings(struct impact *i)
{
    for (size_t k = 0; k < i->ret->performance.count; k++) {
        const struct tw_effect *row = &i->ret->performance.items[k];
        double margin;

        if (impact_standing(i->facts, row, &margin) != IMPACT_OUTSIDE)
            continue;
        tw_issue_add(
            i->arena, &i->ret->issues, TW_HIGH, TW_REVIEW, "performance.regression",
            tw_arena_printf(i->arena, "%s changes by more than the policy allows",
                            row->metric),
            tw_arena_printf(
                i->arena,
                "%.4g %s before, %.4g after: %.3g times (%.3g to %.3g, n %lld, %s)",
                row->before, row->unit, row->after, row->ratio.value, row->ratio.low,
                row->ratio.high, (long long)row->ratio.n,
                row->ratio.method ? row->ratio.method : "no method"),
            "keep the value of today, or try one between the two");
    }
}

static void copy_facts(struct impact *i)
{
    const struct tw_impact_facts *f = i->facts;

    for (size_t k = 0; f->issues && k < f->issues->list.count; k++)
        TW_PUSH(i->arena, &i->ret->issues.list, f->issues->list.items[k]);
    for (size_t k = 0; k < f->statements.count; k++)
        TW_PUSH(i->arena, &i->ret->statements, f->statements.items[k]);
    for (size_t k = 0; k < f->twin_differences.count; k++)
        TW_PUSH(i->arena, &i->ret->twin_differences, f->twin_differences.items[k]);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        if (f->forecast[arm])
            i->ret->forecast[arm] = *f->forecast[arm];
}

static void blank_forecast(struct tw_forecast *f)
{
    f->p50_s = f->p95_s = f->p99_s = f->throughput_per_s = f->cpu_cores = f->wal_bytes =
        f->memory_bytes = f->connections = f->errors = tw_unknown;
    f->requests = f->engine_seconds = f->acceleration = NAN;
}

int tw_impact_make(struct tw_arena *a, const struct tw_impact_facts *facts,
                   struct tw_impact *ret, struct tw_err *err)
{
    struct impact i = {a, facts, ret};

    if (!facts->baseline_started)
        return tw_fail(
            err, -EINVAL,
            "the unchanged baseline did not start, so nothing can be compared with it");

    memset(ret, 0, sizeof *ret);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        blank_forecast(&ret->forecast[arm]);
    copy_facts(&i);
    impact_performance(&i);
    performance_findings(&i);
    if (facts->candidate_stopped)
        tw_issue_add(a, &ret->issues, TW_CRITICAL, TW_BLOCK, "crash.under_load",
                     "The changed service stopped serving under load",
                     "it answered during warm-up or earlier slots and was gone at the "
                     "next one; the "
                     "unchanged service, on the same host and load, was not",
                     "look at its log and at the memory it needs");
    impact_resources(&i);
    impact_experience(&i);
    impact_schema(&i);
    impact_failures(&i);
    impact_bottleneck(&i);
    impact_cost(&i);
    impact_apply(&i);
    impact_confidence(&i);
    impact_risk(&i);
    return 0;
}
