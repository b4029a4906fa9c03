#include "impact_internal.h"

#include <math.h>

/* What is known to be risky, in points out of 100 that a single reason would give; the
 * score puts them together as independent reasons: 100 (1 - prod(1 - points/100)). Tying
 * the score to the decision is the policy's business. */

#define NOT_STARTING   97
#define NOT_RESTARTING 90
#define STOPPED        95
#define OUTSIDE_LEAST  60
#define OUTSIDE_MOST   92
#define CROSSING       50
#define WORSE_MOST     30 /* worse, yet inside the margin */
#define PLAN_LEAST     40
#define PLAN_MOST      90
#define RESOURCE_FULL  0.95
#define RESOURCE_TIGHT 0.80
#define UNCERTAIN      25.0
#define RESTART_POINTS 3.0
#define OUTAGE_MOST    15.0

static const double by_severity[TW_SEVERITY_COUNT] = {0, 3, 12, 30, 60};
static const double by_verdict[TW_VERDICT_COUNT] = {0, 55, 85};

/* Findings count once for each subject: the beginning of their codes. */
static const struct {
    const char *prefix, *part;
} parts[] = {
    {"start.", "start"},
    {"reload.", "start"},
    {"restart.", "restart"},
    {"performance.", ""},
    {"plan.", "plans"},
    {"memory.", "resources"},
    {"disk.", "resources"},
    {"connections.", "resources"},
    {"durability.", "durability"},
    {"exposure.", "exposure"},
    {"security.", "exposure"},
    {"firewall.", "rules"},
};

static void add(struct impact *i, const char *name, double points, const char *why)
{
    if (!(points >= 1))
        return;
    for (size_t k = 0; k < i->ret->risk_parts.count; k++) {
        struct tw_risk_part *same = &i->ret->risk_parts.items[k];

        if (!tw_streq(same->name, name))
            continue;
        if (points > same->points)
            *same = (struct tw_risk_part){name, points, why};
        return;
    }
    TW_PUSH(i->arena, &i->ret->risk_parts, (struct tw_risk_part){name, points, why});
}

static void start_parts(struct impact *i)
{
    const struct tw_impact_facts *f = i->facts;

    if (!f->candidate_started)
        add(i, "start", NOT_STARTING, "the changed service does not start");
    else if (!f->candidate_restarted)
        add(i, "restart", NOT_RESTARTING,
            "the change is taken now and the service fails at its next restart");
    if (f->candidate_stopped)
        add(i, "crash", STOPPED, "the changed service stopped serving under load");
}

static const char *part_of(const char *code)
{
    for (size_t k = 0; k < TW_COUNT_OF(parts); k++)
        if (tw_starts_with(code, parts[k].prefix))
            return parts[k].part;
    return "findings";
}

static void finding_parts(struct impact *i)
{
    for (size_t k = 0; k < i->ret->issues.list.count; k++) {
        const struct tw_issue *issue = &i->ret->issues.list.items[k];
        const char *part = part_of(issue->code ? issue->code : "");
        double p = isnan(issue->probability) ? 1 : issue->probability;

        if (*part) /* performance is scored by its figures */
            add(i, part,
                p * fmax(by_severity[issue->severity], by_verdict[issue->at_least]),
                issue->title);
    }
}

/* How far beyond its margin, on a log scale: at four margins it is as bad as it gets. */
static double performance_points(const struct impact *i, const struct tw_effect *row)
{
    double margin = NAN, harm = log(row->ratio.value) * (row->higher_is_better ? -1 : 1);

    switch (impact_standing(i->facts, row, &margin)) {
    case IMPACT_NO_MARGIN:
        return 0;
    case IMPACT_OUTSIDE:
        return OUTSIDE_LEAST +
               (OUTSIDE_MOST - OUTSIDE_LEAST) * fmin(1, fmax(0, harm / margin - 1) / 3);
    case IMPACT_CROSSING:
        return isnan(row->ratio.value) ? 0 : CROSSING;
    case IMPACT_INSIDE:
        break;
    }
    return tw_streq(row->verdict, "worse") ? WORSE_MOST * fmin(1, fmax(0, harm / margin))
                                           : 0;
}

static void performance_part(struct impact *i)
{
    for (size_t k = 0; k < i->ret->performance.count; k++) {
        const struct tw_effect *row = &i->ret->performance.items[k];

        add(i, "performance", performance_points(i, row),
            tw_arena_printf(i->arena, "%s %.3g times what it was (%.3g to %.3g)",
                            row->metric, row->ratio.value, row->ratio.low,
                            row->ratio.high));
    }
    if (impact_overload_shown(i->facts))
        add(i, "overload", 85, "the peak is beyond what the changed service can serve");
}

static void plan_part(struct impact *i)
{
    double share = 0, times = 1;

    for (size_t k = 0; k < i->facts->statements.count; k++) {
        const struct tw_statement_effect *s = &i->facts->statements.items[k];

        if (!s->plan_worse)
            continue;
        share += isnan(s->share) ? 0 : s->share;
        times = fmax(times, s->after_ms / s->before_ms);
    }
    if (share > 0 || times > 1)
        add(i, "plans",
            PLAN_LEAST + (PLAN_MOST - PLAN_LEAST) * fmin(1, log(times) / log(10)),
            tw_arena_printf(i->arena,
                            "plans turned worse for %.0f %% of the time today, up to "
                            "%.3g times slower",
                            share * 100, times));
}

static void resource_part(struct impact *i)
{
    const struct tw_effect *memory = impact_row(i->ret, "memory_bytes");
    double share = memory ? memory->after / i->facts->memory_limit_bytes : NAN;
    const char *why;

    if (!(i->facts->memory_limit_bytes > 0) || !(share >= RESOURCE_TIGHT))
        return;
    why = tw_arena_printf(i->arena, "memory reaches %.0f %% of its limit", share * 100);
    add(i, "resources", share >= RESOURCE_FULL ? 60 : 25, why);
}

/* A failure that is to come without the change too is no risk of the change. */
static bool only_after(const struct tw_impact_facts *f, const struct tw_failure *failure)
{
    const struct tw_failures *today = f->failures[TW_BASELINE];

    for (size_t k = 0; today && k < today->list.count; k++)
        if (tw_streq(today->list.items[k].kind, failure->kind) &&
            today->list.items[k].probability >= 0.5 * failure->probability)
            return false;
    return true;
}

static void failure_part(struct impact *i)
{
    for (size_t k = 0; k < i->ret->failures.count; k++) {
        const struct tw_failure *failure = &i->ret->failures.items[k];
        double most = tw_streq(failure->kind, "reload") ? 60 : 90;

        if (tw_streq(failure->kind, "start") || tw_streq(failure->kind, "crash"))
            /* have parts of their own */
            continue;
        add(i, "failures",
            failure->probability * (only_after(i->facts, failure) ? most : 20),
            tw_arena_printf(i->arena, "%s: %s", failure->kind,
                            failure->evidence ? failure->evidence : "by its law"));
    }
}

static void apply_part(struct impact *i)
{
    const struct tw_apply *a = &i->ret->apply;
    double outage = isnan(a->outage_s) ? 0 : a->outage_s;

    if (!tw_streq(a->how, "restart"))
        return;
    add(i, "applying", fmin(OUTAGE_MOST, RESTART_POINTS + outage),
        isnan(a->outage_s)
            ? "takes a restart, and how long it is without service is not known"
            : tw_arena_printf(i->arena, "takes a restart, %.2g s without service",
                              outage));
}

/* Each part then stands with what it adds to those before it, so that the parts add up. */
static double combined(struct tw_impact *ret)
{
    double safe = 1;

    for (size_t k = 0; k < ret->risk_parts.count; k++) {
        double alone = fmin(fmax(ret->risk_parts.items[k].points, 0), 100) / 100;

        ret->risk_parts.items[k].points = 100 * safe * alone;
        safe *= 1 - alone;
    }
    return 100 * (1 - safe);
}

static const char *level_of(double score)
{
    return score >= 80   ? "critical"
           : score >= 50 ? "high"
           : score >= 25 ? "medium"
                         : "low";
}

void impact_risk(struct impact *i)
{
    start_parts(i);
    finding_parts(i);
    performance_part(i);
    plan_part(i);
    resource_part(i);
    failure_part(i);
    apply_part(i);
    add(i, "uncertainty", UNCERTAIN * (1 - i->ret->confidence), i->ret->confidence_why);
    i->ret->risk_score = combined(i->ret);
    i->ret->risk_level = level_of(i->ret->risk_score);
}
