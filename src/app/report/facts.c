/* What is told beside the figures: applying, bottleneck, confidence, how it was measured. */
#include "report_internal.h"
#include "tw/redact.h"

#include <math.h>
#include <string.h>

static void texts_from(struct report_view *v, struct report_texts *to,
                       const char *const *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (*report_clean(v->a, items[i]))
            TW_PUSH(v->a, &to->list, report_clean(v->a, items[i]));
}

static bool says(const struct tw_forecast *f, const char *text)
{
    for (size_t i = 0; i < f->notes.count; i++)
        if (tw_streq(f->notes.items[i], text))
            return true;
    return false;
}

/* What both arms' forecasts note is told once, the rest with the arm that it is of. */
static void add_notes(struct report_view *v)
{
    static const char *const words[TW_ARM_COUNT] = {"before", "after"};
    const struct tw_forecast *f = v->s->impact.forecast;

    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        for (size_t i = 0; i < f[arm].notes.count; i++) {
            const char *text = f[arm].notes.items[i];
            bool both = says(&f[TW_BASELINE], text) && says(&f[TW_CANDIDATE], text);

            if (both && arm == TW_CANDIDATE)
                continue;
            text = both ? text : tw_arena_printf(v->a, "%s: %s", words[arm], text);
            texts_from(v, &v->notes, &text, 1);
        }
    }
}

static void add_apply(struct report_view *v)
{
    const struct tw_apply *apply = &v->s->impact.apply;
    struct tw_arena *a = v->a;

    report_fact(a, &v->apply, "needs", report_clean(a, apply->how));
    if (!isnan(apply->outage_s))
        report_fact(a, &v->apply, "outage",
                    apply->outage_s > 0 ? tw_show_seconds(a, apply->outage_s) : "none");
    else if (tw_streq(apply->how, "restart"))
        report_fact(a, &v->apply, "outage", "unknown");
    if (apply->sessions_dropped >= 0)
        report_fact(a, &v->apply, "sessions dropped",
                    tw_arena_printf(a, "%d", apply->sessions_dropped));
    if (!isnan(apply->cold_s))
        report_fact(a, &v->apply, "cold for", tw_show_seconds(a, apply->cold_s));
    texts_from(v, &v->commands, apply->commands.items, apply->commands.count);
    texts_from(v, &v->undo, apply->undo.items, apply->undo.count);
}

static void add_bottleneck(struct report_view *v)
{
    const struct tw_bottleneck *b = &v->s->impact.bottleneck;
    struct tw_arena *a = v->a;
    const char *share =
        isnan(b->statement_share)
            ? ""
            : tw_arena_printf(a, " (%.0f %% of the time)", b->statement_share * 100);

    report_fact(a, &v->bottleneck, "saturates first", report_clean(a, b->resource));
    if (!isnan(b->saturates_at_per_s))
        report_fact(a, &v->bottleneck, "at",
                    isnan(b->headroom)
                        ? report_value(a, b->saturates_at_per_s, "per s")
                        : tw_arena_printf(a, "%s, %.2g times the peak of the day",
                                          report_value(a, b->saturates_at_per_s, "per s"),
                                          b->headroom));
    if (b->statement)
        report_fact(a, &v->bottleneck, "statement",
                    tw_arena_printf(a, "%s%s",
                                    report_clean(a, tw_redact_literals(a, b->statement)),
                                    share));
    report_fact(a, &v->bottleneck, "plan node", report_clean(a, b->plan_node));
    report_fact(a, &v->bottleneck, "waits for", report_clean(a, b->wait_event));
    report_fact(a, &v->bottleneck, "next", report_clean(a, b->next));
    report_fact(a, &v->bottleneck, "evidence", report_clean(a, b->evidence));
}

static const char *apdex(struct tw_arena *a, double value)
{
    return isnan(value) ? "unknown" : tw_arena_printf(a, "%.3g", value);
}

static void add_experience(struct report_view *v)
{
    const struct tw_impact *i = &v->s->impact;
    struct tw_arena *a = v->a;

    if (!isnan(i->apdex_before) || !isnan(i->apdex_after))
        report_fact(a, &v->experience, "Apdex",
                    tw_arena_printf(a, "%s before, %s after", apdex(a, i->apdex_before),
                                    apdex(a, i->apdex_after)));
    if (!isnan(i->failed_before) || !isnan(i->failed_after))
        report_fact(a, &v->experience, "failed requests",
                    tw_arena_printf(a, "%s before, %s after",
                                    report_value(a, i->failed_before, "share"),
                                    report_value(a, i->failed_after, "share")));
}

static void add_cost(struct report_view *v)
{
    const struct tw_cost *c = &v->s->impact.cost;
    const char *currency = c->currency ? report_clean(v->a, c->currency) : "";
    struct tw_arena *a = v->a;

    if (isnan(c->before_per_day) && isnan(c->after_per_day)) {
        report_fact(a, &v->cost, "cost",
                    c->basis ? report_clean(a, c->basis) : "unknown, no rates are given");
        return;
    }
    report_fact(a, &v->cost, "cost",
                tw_arena_printf(a, "%.2f %s a day before, %.2f %s after",
                                c->before_per_day, currency, c->after_per_day, currency));
    if (!isnan(c->benefit_per_day))
        report_fact(a, &v->cost, "benefit",
                    tw_arena_printf(a, "%.2f %s a day", c->benefit_per_day, currency));
    report_fact(a, &v->cost, "basis", report_clean(a, c->basis));
}

static void add_confidence(struct report_view *v)
{
    const struct tw_impact *i = &v->s->impact;
    struct tw_arena *a = v->a;
    const char *how = i->calibrated
                          ? tw_arena_printf(a, "calibrated on %s cases",
                                            tw_show_count(a, (double)i->calibrated_n))
                          : "not calibrated by a table of real runs";

    report_fact(a, &v->confidence, "confidence",
                isnan(i->confidence)
                    ? "unknown"
                    : tw_arena_printf(a, "%.2f that this decision is right, %s",
                                      i->confidence, how));
    report_fact(a, &v->confidence, "because", report_clean(a, i->confidence_why));
}

/* "clone 8 ms, boot 210 ms"; what took under a millisecond is not worth the room. */
static const char *stages_text(struct report_view *v)
{
    const struct tw_measured *m = &v->s->measured;
    struct tw_buf b;
    const char *text;

    tw_buf_init(&b, 4000);
    for (size_t i = 0; i < m->stages.count; i++)
        if (m->stages.items[i].seconds >= 0.001)
            tw_buf_printf(&b, "%s%s %s", b.len ? ", " : "",
                          report_clean(v->a, m->stages.items[i].name),
                          tw_show_seconds(v->a, m->stages.items[i].seconds));
    text = tw_arena_strdup(v->a, tw_buf_text(&b));
    tw_buf_done(&b);
    return text;
}

static void add_slots(struct report_view *v)
{
    const struct tw_measured *m = &v->s->measured;
    struct tw_arena *a = v->a;

    if (m->pairs == 0 && m->requests[TW_BASELINE] == 0) {
        report_fact(a, &v->measured, "load", "none was measured");
        return;
    }
    report_fact(a, &v->measured, "slots",
                tw_arena_printf(
                    a, "%d pairs, baseline and candidate in turn%s%s", m->pairs,
                    m->pairs_dropped
                        ? tw_arena_printf(a, ", %d more dropped", m->pairs_dropped)
                        : "",
                    isnan(m->seconds)
                        ? ""
                        : tw_arena_printf(a, ", in %s", tw_show_seconds(a, m->seconds))));
    report_fact(a, &v->measured, "requests",
                tw_arena_printf(a, "%s before, %s after",
                                tw_show_count(a, (double)m->requests[TW_BASELINE]),
                                tw_show_count(a, (double)m->requests[TW_CANDIDATE])));
    if (m->transactions[TW_BASELINE] || m->transactions[TW_CANDIDATE])
        report_fact(
            a, &v->measured, "as the servers count",
            tw_arena_printf(a, "%s and %s transactions",
                            tw_show_count(a, (double)m->transactions[TW_BASELINE]),
                            tw_show_count(a, (double)m->transactions[TW_CANDIDATE])));
}

static void add_measured(struct report_view *v)
{
    const struct tw_measured *m = &v->s->measured;
    struct tw_arena *a = v->a;

    add_slots(v);
    if (!isnan(m->noise_floor))
        report_fact(a, &v->measured, "noise floor",
                    tw_arena_printf(a,
                                    "\xc2\xb1%.1f %% of p50, baseline against baseline",
                                    (exp(m->noise_floor) - 1) * 100));
    report_fact(a, &v->measured, "ended", report_clean(a, m->stopped_because));
    if (m->capacity_per_s[TW_BASELINE] > 0 && m->capacity_per_s[TW_CANDIDATE] > 0)
        report_fact(
            a, &v->measured, "capacity of the twin",
            tw_arena_printf(a, "%s before, %s after",
                            report_value(a, m->capacity_per_s[TW_BASELINE], "per s"),
                            report_value(a, m->capacity_per_s[TW_CANDIDATE], "per s")));
    report_fact(a, &v->measured, "mix", report_clean(a, tw_redact_literals(a, m->mix)));
    if (!isnan(m->mix_coverage))
        report_fact(a, &v->measured, "mix covers",
                    tw_arena_printf(a, "%.0f %% of the target's total time",
                                    m->mix_coverage * 100));
    if (!isnan(m->generator_share))
        report_fact(a, &v->measured, "load generator",
                    tw_arena_printf(a, "%.0f %% of a core", m->generator_share * 100));
}

static void add_engine(struct report_view *v)
{
    const struct tw_forecast *f = &v->s->impact.forecast[TW_CANDIDATE];
    struct tw_arena *a = v->a;

    if (f->bins.count == 0 || !(f->engine_seconds > 0))
        return;
    report_fact(
        a, &v->measured, "day simulated",
        tw_arena_printf(a, "%s requests by the %s engine in %s, %s times real time",
                        tw_show_count(a, f->requests), f->engine ? f->engine : "unknown",
                        tw_show_seconds(a, f->engine_seconds),
                        tw_show_count(a, f->acceleration)));
}

/* What would be done: for a dry run. */
static void add_plan(struct report_view *v)
{
    const struct tw_plan *p = &v->s->plan;
    struct tw_arena *a = v->a;

    for (size_t i = 0; i < p->steps.count; i++) {
        const struct tw_plan_step *step = &p->steps.items[i];
        const char *what = step->name   ? step->name
                           : step->path ? step->path
                                        : step->origin;
        const char *value = step->kind == TW_STEP_SETTING
                                ? step->value ? tw_arena_printf(a, " = %s", step->value)
                                              : " to its default"
                                : "";

        report_fact(
            a, &v->plan, i ? "then" : "step",
            report_clean(a, tw_arena_printf(a, "%s %s%s", tw_step_kind_names[step->kind],
                                            what ? what : "", value)));
    }
    if (p->steps.count == 0)
        return;
    report_fact(a, &v->plan, "needs", p->needs_restart ? "a restart" : "a reload");
    if (p->twin_memory_bytes)
        report_fact(a, &v->plan, "each twin has",
                    tw_arena_printf(a, "%s and %g cores",
                                    tw_show_bytes(a, (double)p->twin_memory_bytes),
                                    p->twin_cpus));
    report_fact(a, &v->plan, "measuring",
                tw_arena_printf(a,
                                "at most %s, at least %d pairs and %s requests per arm",
                                tw_show_seconds(a, p->budget_s), p->min_pairs,
                                tw_show_count(a, (double)p->min_requests)));
}

static void add_as_of(struct report_view *v)
{
    const struct tw_snapshot *s = &v->s->snapshot;
    struct tw_arena *a = v->a;
    struct tw_buf b;

    v->as_of = "";
    if (!s->taken_wall_ns)
        return;
    tw_buf_init(&b, 1000);
    tw_buf_printf(&b, "%s", tw_iso_time(a, s->taken_wall_ns));
    if (s->version)
        tw_buf_printf(&b, ", %s %s", s->type ? s->type : "version",
                      report_clean(a, s->version));
    if (s->data_bytes > 0)
        tw_buf_printf(&b, ", %s of data", tw_show_bytes(a, (double)s->data_bytes));
    if (s->how)
        tw_buf_printf(&b, ", source %s", report_clean(a, s->how));
    v->as_of = tw_arena_strdup(a, tw_buf_text(&b));
    tw_buf_done(&b);
}

void report_view_facts(struct report_view *v)
{
    const struct tw_impact *i = &v->s->impact;
    struct tw_arena *a = v->a;

    if (v->s->has_impact) {
        add_apply(v);
        add_bottleneck(v);
        add_experience(v);
        add_cost(v);
        add_confidence(v);
        add_measured(v);
        add_engine(v);
        texts_from(v, &v->differences, i->twin_differences.items,
                   i->twin_differences.count);
        add_notes(v);
        v->safer = i->safer ? report_clean(a, i->safer) : NULL;
    }
    if (!v->s->has_impact)
        add_plan(v);
    report_fact(a, &v->measured, "host", report_clean(a, v->s->measured.host));
    report_fact(a, &v->measured, "stages", stages_text(v));
    if (v->s->elapsed_s > 0)
        report_fact(a, &v->measured, "altogether", tw_show_seconds(a, v->s->elapsed_s));
    if (v->s->plan.seed)
        report_fact(a, &v->measured, "seed",
                    tw_arena_printf(a, "%llu", (unsigned long long)v->s->plan.seed));
    if (*v->s->plan.sha256) /* enough to tell plans apart; all of it stands in the JSON */
        report_fact(a, &v->measured, "plan",
                    tw_arena_printf(a, "%.16s", v->s->plan.sha256));
    add_as_of(v);
}
