/* What users of a deployment notice, and how it starts, ends and is taken back: facts for every format. */
#include "report_internal.h"

#include <math.h>

#define ENDPOINTS_SHOWN 8

static const char *share(struct tw_arena *a, double value)
{
    return report_value(a, value, "share");
}

static void both(struct report_view *v, const char *label, const char *before,
                 const char *after)
{
    report_fact(v->a, &v->experience, label,
                tw_arena_printf(v->a, "%s before, %s after", before, after));
}

static void both_shares(struct report_view *v, const char *label, double before,
                        double after)
{
    if (!isnan(before) || !isnan(after))
        both(v, label, share(v->a, before), share(v->a, after));
}

static const char *time_of(struct tw_arena *a, double seconds, const char *otherwise)
{
    return isnan(seconds) ? otherwise : tw_show_seconds(a, seconds);
}

static void add_endpoint(struct report_view *v, const struct tw_endpoint_experience *e)
{
    struct tw_arena *a = v->a;

    report_fact(a, &v->experience, report_clean(a, e->endpoint),
                tw_arena_printf(
                    a, "p95 %s before, %s after; failed %s, %s; Apdex %.2f, %.2f",
                    report_value(a, e->p95_before_ms, "ms"),
                    report_value(a, e->p95_after_ms, "ms"), share(a, e->failed_before),
                    share(a, e->failed_after), e->apdex_before, e->apdex_after));
}

static void add_checks(struct report_view *v, const struct tw_deployment *d)
{
    size_t passed = 0;

    for (size_t i = 0; i < d->smoke.count; i++)
        passed += d->smoke.items[i].after;
    if (d->smoke.count)
        report_fact(v->a, &v->experience, "smoke checks",
                    tw_arena_printf(v->a, "%zu of %zu pass", passed, d->smoke.count));
}

static const char *stopped(struct tw_arena *a, double seconds, int status)
{
    return isnan(seconds)
               ? "not by itself"
               : tw_arena_printf(a, "%s, status %d", tw_show_seconds(a, seconds), status);
}

static void add_life(struct report_view *v, const struct tw_deployment *d)
{
    struct tw_arena *a = v->a;

    both(v, "start until it answers", time_of(a, d->start_before_s, "unknown"),
         time_of(a, d->start_after_s, "never"));
    if (d->stop_signal)
        both(v, tw_arena_printf(a, "ends on %s", d->stop_signal),
             stopped(a, d->stop_before_s, d->exit_before),
             stopped(a, d->stop_after_s, d->exit_after));
    if (!isnan(d->memory_after_bytes))
        both(v, "memory at the end", tw_show_bytes(a, d->memory_before_bytes),
             tw_show_bytes(a, d->memory_after_bytes));
    if (!isnan(d->log_after_bytes))
        both(v, "log for each request", tw_show_bytes(a, d->log_before_bytes),
             tw_show_bytes(a, d->log_after_bytes));
    if (d->rollback)
        report_fact(a, &v->experience, "taken back",
                    isnan(d->rollback_s)
                        ? d->rollback
                        : tw_arena_printf(a, "%s, answers after %s", d->rollback,
                                          tw_show_seconds(a, d->rollback_s)));
}

void report_view_deployment(struct report_view *v)
{
    const struct tw_deployment *d = &v->s->impact.deployment;

    if (!d->image_after)
        return;
    both_shares(v,
                isnan(d->objective_ms)
                    ? "over the objective"
                    : tw_arena_printf(v->a, "slower than %s",
                                      report_value(v->a, d->objective_ms, "ms")),
                d->over_before, d->over_after);
    both_shares(v, "broken sessions", d->broken_before, d->broken_after);
    for (size_t i = 0; i < d->endpoints.count && i < ENDPOINTS_SHOWN; i++)
        add_endpoint(v, &d->endpoints.items[i]);
    if (d->requests)
        report_fact(
            v->a, &v->experience, "answers compared",
            tw_arena_printf(v->a,
                            "%lld requests to each, %zu differences; an error in more "
                            "than %.2g %% of the requests would have shown",
                            (long long)d->requests, d->differences.count,
                            100 * d->unseen_share));
    add_checks(v, d);
    add_life(v, d);
}
