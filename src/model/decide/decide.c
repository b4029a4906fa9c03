/* From an impact and a policy to a verdict with its reasons, and the risk score tied to it.
 * Source: policies/default.yaml (what the margins mean); non-inferiority: Schuirmann 1987, one of his two one-sided tests. */
#include "decide_internal.h"

#include <math.h>
#include <string.h>

/* Something that forces at least a verdict. */
struct force {
    enum tw_verdict verdict;
    const char *name, *why;
};
struct decision {
    struct tw_arena *a;
    const struct tw_policy *policy;
    const struct tw_impact *impact;
    TW_ARRAY(struct force) forces;
    TW_ARRAY(const char *) inside; /* what was shown to be harmless */
    enum tw_verdict verdict;
};

static void force(struct decision *d, enum tw_verdict verdict, const char *name,
                  const char *why)
{
    if (verdict > TW_PROCEED)
        TW_PUSH(d->a, &d->forces, (struct force){verdict, name, why});
}

/* ---- findings ---- */

static bool matches(const char *pattern, const char *code)
{
    size_t n = strlen(pattern);

    if (n > 0 && pattern[n - 1] == '*')
        return strncmp(pattern, code, n - 1) == 0;
    return tw_streq(pattern, code);
}

static enum tw_verdict verdict_of_issue(const struct tw_policy *p,
                                        const struct tw_issue *issue)
{
    enum tw_verdict verdict = issue->at_least;

    for (size_t i = 0; i < p->rules.count; i++)
        if (issue->code && matches(p->rules.items[i].code, issue->code) &&
            p->rules.items[i].at_least > verdict)
            verdict = p->rules.items[i].at_least;
    /* what is only probable is for a person to weigh */
    if (verdict == TW_BLOCK && issue->probability < p->confidence_threshold)
        verdict = TW_REVIEW;
    return verdict;
}

static void judge_issues(struct decision *d)
{
    const struct tw_issues *issues = &d->impact->issues;

    for (size_t i = 0; i < issues->list.count; i++) {
        const struct tw_issue *issue = &issues->list.items[i];

        force(d, verdict_of_issue(d->policy, issue), issue->code, issue->title);
    }
}

/* For plans that nobody has made a finding of. The statements themselves stand in the impact. */
static void judge_plans(struct decision *d)
{
    size_t worse = 0;

    for (size_t i = 0; i < d->impact->issues.list.count; i++)
        if (d->impact->issues.list.items[i].code &&
            tw_starts_with(d->impact->issues.list.items[i].code, "plan."))
            return;
    for (size_t i = 0; i < d->impact->statements.count; i++)
        worse += d->impact->statements.items[i].plan_worse;
    if (worse)
        force(d, TW_REVIEW, "plan.worse",
              tw_arena_printf(d->a, "the plan of %zu statement%s turned bad", worse,
                              worse == 1 ? "" : "s"));
}

/* ---- effects ---- */

static const struct margin {
    const char *metric, *word;
    size_t offset;
} margins[] = {
#define AT(member) offsetof(struct tw_policy, member)
    {"throughput_per_s", "throughput", AT(margin_throughput)},
    {"p50_ms", "p50", AT(margin_p50)},
    {"p95_ms", "p95", AT(margin_p95)},
    {"p99_ms", "p99", AT(margin_p99)},
};

/* How much worse, as a share of the baseline: 0.5 is half as much again, or half as much less. */
static double loss(const struct tw_effect *e, double ratio)
{
    return e->higher_is_better ? 1 - ratio : ratio - 1;
}

static const char *percent(struct tw_arena *a, double share)
{
    if (!isfinite(share))
        return "unknown";
    return tw_arena_printf(a, fabs(share) < 0.0995 ? "%.1f %%" : "%.0f %%", share * 100);
}

/* "higher by 41 %", "lower by 17 %"; what is many times as much is said as a factor. */
static const char *by(struct decision *d, const struct tw_effect *e, double loss_share)
{
    const char *less = e->higher_is_better ? "lower" : "higher";

    if (e->higher_is_better && loss_share >= 0.9 && loss_share < 1)
        return tw_arena_printf(d->a, "lower by a factor of %.0f", 1 / (1 - loss_share));
    if (!e->higher_is_better && loss_share >= 2)
        return tw_arena_printf(d->a, "higher by a factor of %.0f", loss_share + 1);
    return tw_arena_printf(d->a, "%s by %s", less, percent(d->a, loss_share));
}

static const char *uncertain_text(struct decision *d, const struct tw_effect *e,
                                  const struct margin *m, double good, double bad,
                                  double margin)
{
    if (isnan(bad) && isnan(good))
        return tw_arena_printf(d->a, "what happens to %s is unknown", m->word);
    if (!isfinite(bad))
        return tw_arena_printf(
            d->a,
            "inconclusive: %s may be %s without a bound that is known; the "
            "policy allows %s",
            m->word, e->higher_is_better ? "lower" : "higher", percent(d->a, margin));
    return tw_arena_printf(d->a, "inconclusive: %s may be %s; the policy allows %s",
                           m->word, by(d, e, bad), percent(d->a, margin));
}

static void judge_effect(struct decision *d, const struct tw_effect *e,
                         const struct margin *m)
{
    double share = *(const double *)(const void *)((const char *)d->policy + m->offset);
    double margin = fmax(share, e->tail_share); /* milliseconds that nobody notices */
    double bad = loss(e, e->higher_is_better ? e->ratio.low : e->ratio.high);
    double good = loss(e, e->higher_is_better ? e->ratio.high : e->ratio.low);
    double block = d->policy->margin_block * margin;

    /* throughput cannot fall by more than all of it: half of what is left is far beyond a margin */
    if (e->higher_is_better && block > (1 + margin) / 2)
        block = (1 + margin) / 2;
    if (good > margin)
        force(d, good > block ? TW_BLOCK : TW_REVIEW, m->word,
              tw_arena_printf(d->a, "%s is %s or more; the policy allows %s", m->word,
                              by(d, e, good), percent(d->a, margin)));
    else if (!(bad <= margin)) /* NaN: nobody knows how bad */
        force(d, TW_REVIEW, m->word, uncertain_text(d, e, m, good, bad, margin));
    else
        TW_PUSH(d->a, &d->inside,
                bad > 0 ? tw_arena_printf(d->a, "%s at most %s %s", m->word,
                                          percent(d->a, bad),
                                          e->higher_is_better ? "lower" : "higher")
                        : tw_arena_printf(d->a, "%s better", m->word));
}

static const struct tw_effect *effect_find(const struct tw_impact *impact,
                                           const char *metric)
{
    for (size_t i = 0; i < impact->performance.count; i++)
        if (tw_streq(impact->performance.items[i].metric, metric))
            return &impact->performance.items[i];
    return NULL;
}

static void judge_errors(struct decision *d)
{
    const struct tw_effect *e = effect_find(d->impact, "errors_share");
    double more = e ? e->after - e->before : NAN;

    if (!e || !tw_streq(e->verdict, "worse") || !(more > d->policy->margin_errors))
        return;
    force(d, more > 10 * d->policy->margin_errors ? TW_BLOCK : TW_REVIEW, "errors",
          tw_arena_printf(d->a,
                          "%s of the requests fail, %s before; the policy allows %s more",
                          percent(d->a, e->after), percent(d->a, e->before),
                          percent(d->a, d->policy->margin_errors)));
}

static void judge_effects(struct decision *d, const struct tw_measured *measured)
{
    if (!measured || measured->pairs == 0)
        return;
    for (size_t i = 0; i < TW_COUNT_OF(margins); i++) {
        const struct tw_effect *e = effect_find(d->impact, margins[i].metric);

        if (e)
            judge_effect(d, e, &margins[i]);
    }
    judge_errors(d);
}

/* ---- failures and confidence ---- */

/* What is to come without the change too is not its doing, but for what it adds; what a finding tells
 * is judged by the finding. */
static enum tw_verdict verdict_of_failure(const struct tw_policy *p,
                                          const struct tw_failure *f)
{
    double added = f->probability - (f->before > 0 ? f->before : 0);

    if (f->from_finding)
        return TW_PROCEED;
    return added >= p->failure_block    ? TW_BLOCK
           : added >= p->failure_review ? TW_REVIEW
                                        : TW_PROCEED;
}

static void judge_failures(struct decision *d)
{
    for (size_t i = 0; i < d->impact->failures.count; i++) {
        const struct tw_failure *f = &d->impact->failures.items[i];
        enum tw_verdict verdict = verdict_of_failure(d->policy, f);
        const char *when =
            isnan(f->at_hours) ? "within the horizon"
            : f->at_hours <= 0
                ? "at once"
                : tw_arena_printf(d->a, "after %s",
                                  tw_show_seconds(d->a, f->at_hours * 3600));

        force(d, verdict,
              tw_arena_printf(d->a, "failure.%s", f->kind ? f->kind : "unknown"),
              tw_arena_printf(d->a, "it fails %s (%s), with probability %.2g", when,
                              f->kind ? f->kind : "unknown", f->probability));
    }
}

static void judge_confidence(struct decision *d)
{
    double confidence = d->impact->confidence;

    if (confidence >= d->policy->confidence_threshold)
        return;
    force(d, TW_REVIEW, "confidence",
          isnan(confidence)
              ? "how sure the answer is, is unknown"
              : tw_arena_printf(d->a, "confidence is %.2f; the policy asks for %.2f",
                                confidence, d->policy->confidence_threshold));
}

/* ---- the score ---- */

static const struct band {
    double low, high;
} bands[TW_VERDICT_COUNT] = {{0, 49}, {50, 79}, {80, 100}};

static const char *level_of(double score)
{
    return score >= 80   ? "critical"
           : score >= 50 ? "high"
           : score >= 25 ? "medium"
                         : "low";
}

/* The score that impact gave, moved into the band of the verdict in the order it had; one that is in
 * it already stays as it is. */
static double score_in_band(double score, const struct band *band)
{
    if (isnan(score))
        return band->low;
    if (score >= band->low && score <= band->high)
        return score;
    if (score > band->high)
        return band->high;
    return round(band->low + score / 100 * (band->high - band->low));
}

static bool has_part(const struct tw_impact *impact, const char *name)
{
    for (size_t i = 0; i < impact->risk_parts.count; i++)
        if (tw_streq(impact->risk_parts.items[i].name, name))
            return true;
    return false;
}

/* What forces the verdict raises the score, each in equal parts, so that the parts add up to it.
 * What forces something less, or a score that was high enough, stands there with no points. */
static void tie_score(struct decision *d, struct tw_impact *impact, enum tw_verdict verdict)
{
    double before =
        isnan(impact->risk_score) ? 0 : fmin(fmax(impact->risk_score, 0), 100);
    double score = score_in_band(before, &bands[verdict]), raise = score - before;
    size_t forcing = 0;

    for (size_t i = 0; i < d->forces.count; i++)
        forcing += d->forces.items[i].verdict == verdict;
    for (size_t i = 0; i < d->forces.count; i++) {
        const struct force *f = &d->forces.items[i];
        double points = raise > 0 && f->verdict == verdict ? raise / (double)forcing : 0;

        if (points > 0 || !has_part(impact, f->name))
            TW_PUSH(d->a, &impact->risk_parts,
                    (struct tw_risk_part){f->name, points, f->why});
    }
    if (raise < 0)
        TW_PUSH(
            d->a, &impact->risk_parts,
            (struct tw_risk_part){"policy", raise,
                                  verdict == TW_PROCEED
                                      ? "nothing passes a margin of the policy"
                                      : "nothing found forbids it; a person decides"});
    impact->risk_score = score;
    impact->risk_level = level_of(score);
}

static const char *joined(struct decision *d)
{
    struct tw_buf b;
    const char *text;

    tw_buf_init(&b, 1000);
    for (size_t i = 0; i < d->inside.count; i++)
        tw_buf_printf(&b, "%s%s", i ? ", " : "", d->inside.items[i]);
    text = tw_arena_strdup(d->a, tw_buf_text(&b));
    tw_buf_done(&b);
    return text;
}

static void give_reasons(struct decision *d, struct tw_decision *ret)
{
    for (int verdict = TW_BLOCK; verdict > TW_PROCEED; verdict--)
        for (size_t i = 0; i < d->forces.count; i++)
            if ((int)d->forces.items[i].verdict == verdict)
                TW_PUSH(d->a, &ret->reasons, d->forces.items[i].why);
    if (ret->verdict != TW_PROCEED)
        return;
    if (d->inside.count)
        TW_PUSH(d->a, &ret->reasons,
                tw_arena_printf(d->a,
                                "every effect stays inside the policy's margins: %s",
                                joined(d)));
    TW_PUSH(d->a, &ret->reasons, "no finding forbids it and no plan turned bad");
}

static void judge(struct decision *d, const struct tw_measured *measured)
{
    judge_issues(d);
    judge_plans(d);
    judge_effects(d, measured);
    judge_failures(d);
    judge_confidence(d);
    for (size_t i = 0; i < d->forces.count; i++)
        if (d->forces.items[i].verdict > d->verdict)
            d->verdict = d->forces.items[i].verdict;
}

int tw_decide(struct tw_arena *a, const struct tw_policy *policy,
              struct tw_impact *impact, const struct tw_measured *measured,
              struct tw_decision *ret, struct tw_err *err)
{
    struct decision d = {.a = a, .policy = policy, .impact = impact};
    struct tw_decision decision = {.policy = policy->name};

    (void)err;
    judge(&d, measured);
    decision.verdict = d.verdict;
    give_reasons(&d, &decision);
    tie_score(&d, impact, decision.verdict);
    *ret = decision;
    return 0;
}

void tw_decide_explain(struct tw_arena *a, const struct tw_policy *policy,
                       const struct tw_impact *impact, const struct tw_measured *measured,
                       struct tw_decide_rows *ret)
{
    struct decision d = {.a = a, .policy = policy, .impact = impact};

    judge(&d, measured);
    *ret = (struct tw_decide_rows){.verdict = d.verdict};
    for (int verdict = TW_BLOCK; verdict > TW_PROCEED; verdict--)
        for (size_t i = 0; i < d.forces.count; i++) {
            const struct force *f = &d.forces.items[i];

            if ((int)f->verdict == verdict)
                TW_PUSH(a, &ret->list, (struct tw_decide_row){f->verdict, f->name, f->why});
        }
    for (size_t i = 0; i < d.inside.count; i++)
        TW_PUSH(a, &ret->list, (struct tw_decide_row){TW_PROCEED, "effect", d.inside.items[i]});
}
