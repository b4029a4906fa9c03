/* Sizes: what each carries, the smallest that does, what gives out next. */
#include "report_internal.h"

#include <math.h>

static const char *rate(struct tw_arena *a, double per_s)
{
    return tw_arena_printf(a, "%s/s", tw_show_count(a, per_s));
}

static const char *point_text(struct report_view *v, const struct tw_scale_point *p)
{
    struct tw_arena *a = v->a;
    const struct tw_scale *s = &v->s->impact.scale;
    const char *latency =
        isnan(p->p99_s) ? p->utilisation < 1 ? "" : "; overloaded at the peak"
                        : tw_arena_printf(a, "; p99 %s at the peak", tw_show_seconds(a, p->p99_s));
    const char *holds = !s->objectives.count ? ""
                        : p->holds
                            ? "; the objective holds"
                            : tw_arena_printf(a, "; the objective holds up to %s", rate(a, p->holds_per_s));

    return tw_arena_printf(a, "%s%s (%s to %s), limit %s%s%s", p->measured ? "measured " : "",
                           rate(a, p->capacity_per_s.value), tw_show_count(a, p->capacity_per_s.low),
                           tw_show_count(a, p->capacity_per_s.high), report_clean(a, p->limit),
                           latency, holds);
}

static const char *next_text(struct report_view *v, const struct tw_scale_next *n)
{
    const char *at = !isnan(n->at_per_s) ? tw_arena_printf(v->a, "at %s; ", rate(v->a, n->at_per_s))
                     : !isnan(n->at_instances)
                         ? tw_arena_printf(v->a, "from %.0f instances on; ", n->at_instances)
                         : "";

    return tw_arena_printf(v->a, "%s%s", at, report_clean(v->a, n->evidence));
}

static const char *size_text(struct report_view *v, const struct tw_scale *s, int arm)
{
    struct tw_arena *a = v->a;
    const char *cores = isnan(s->cpus[arm]) ? "" : tw_arena_printf(a, ", %.3g cores each", s->cpus[arm]);
    const char *memory =
        s->memory_bytes[arm] > 0
            ? tw_arena_printf(a, ", %s of memory", tw_show_bytes(a, (double)s->memory_bytes[arm]))
            : "";

    return tw_arena_printf(a, "%d instance%s%s%s (%d ran)", s->instances[arm],
                           s->instances[arm] == 1 ? "" : "s", cores, memory, s->measured[arm]);
}

void report_view_scale(struct report_view *v)
{
    const struct tw_scale *s = &v->s->impact.scale;
    struct tw_arena *a = v->a;

    if (!v->s->has_impact || !s->instances[TW_CANDIDATE])
        return;
    report_fact(a, &v->scale, "today", size_text(v, s, TW_BASELINE));
    report_fact(a, &v->scale, "with the change", size_text(v, s, TW_CANDIDATE));
    report_fact(a, &v->scale, "behind", report_clean(a, s->balancer));
    if (s->peak_per_s > 0)
        report_fact(a, &v->scale, "peak of the load", rate(a, s->peak_per_s));
    for (size_t i = 0; i < s->points.count; i++)
        report_fact(a, &v->scale,
                    tw_arena_printf(a, "%d instance%s", s->points.items[i].instances,
                                    s->points.items[i].instances == 1 ? "" : "s"),
                    point_text(v, &s->points.items[i]));
    report_fact(a, &v->scale, "smallest that does", report_clean(a, s->smallest_why));
    if (s->breaks_at_per_s > 0)
        report_fact(a, &v->scale, s->objectives.count ? "objective breaks" : "overloaded",
                    tw_arena_printf(a, "beyond %s%s", rate(a, s->breaks_at_per_s),
                                    isnan(s->breaks_at_hours)
                                        ? ", which this load does not reach"
                                        : tw_arena_printf(a, ", first in hour %.1f", s->breaks_at_hours)));
    for (size_t i = 0; i < s->next.count; i++)
        report_fact(a, &v->scale, report_clean(a, s->next.items[i].what),
                    next_text(v, &s->next.items[i]));
}
