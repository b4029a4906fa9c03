#include "coverage.h"
#include "impact_internal.h"

#include <math.h>

/* What each class is worth before it has been counted. Only the measured one has a figure
 * of its own: its intervals are made to hold nine times in ten. The others are cautious
 * guesses, and the report marks them as such. */
static const struct {
    double fallback;
    const char *why;
} classes[IMPACT_EVIDENCE_COUNT] = {
    [IMPACT_REFUSED] = {0.99,
                        "the service itself refused the change, or did not survive it"},
    [IMPACT_PLAN_TURNED] = {0.97, "a plan turned bad, and its execution was timed"},
    [IMPACT_ARITHMETIC] = {0.97, "known by computation against limits"},
    [IMPACT_TRIED] =
        {0.93, "the statements were run on a clone of the data under load, and what "
               "they left does not change how the load is answered"},
    [IMPACT_ACCESS] = {0.93, "the change is about who comes in, and every known client was tried with and "
                             "without it"},
    [IMPACT_EXACT] = {0.97, "every packet was considered, and the kernel loads both rule sets"},
    [IMPACT_MODELLED] = {0.87,
                         "one and few instances were measured, more of them are computed from "
                         "the CPU that each request needs"},
    [IMPACT_DECIDED] = {0.90,
                        "measured in alternating pairs until it was certain enough"},
    [IMPACT_INCONCLUSIVE] = {0.60,
                             "measured, but the budget ended before it was certain"},
    [IMPACT_UNMEASURED] = {0.50, "no load could be measured"},
};
struct counted {
    int64_t n, held;
};
static const struct counted coverage[IMPACT_EVIDENCE_COUNT] = {
#define ROW(class, n, held) [class] = {n, held},
    IMPACT_COVERAGE(ROW)
#undef ROW
};

#define PLAN_WORSE_TIMES 1.5  /* timed, not only costed */
#define MIX_KNOWN        0.90 /* share of the source's time that has to be reproduced */
#define MIX_WEIGHT       0.30
#define DROPPED_TOO_MANY 0.30
#define DROPPED_MOST     0.50 /* where what was left was enough to decide */
#define DROPPED_FACTOR   0.85
#define NOISY            0.30 /* sd of log p50, baseline against baseline */
#define NOISY_FACTOR     0.95

static bool blocks(const struct tw_impact_facts *f,
                   bool (*match)(const struct tw_issue *))
{
    for (size_t i = 0; f->issues && i < f->issues->list.count; i++) {
        const struct tw_issue *issue = &f->issues->list.items[i];

        if (issue->at_least == TW_BLOCK && match(issue))
            return true;
    }
    return false;
}

static bool is_refusal(const struct tw_issue *issue)
{
    return tw_starts_with(issue->code, "start.") ||
           tw_starts_with(issue->code, "restart.") ||
           tw_starts_with(issue->code, "reload.");
}

static bool is_plan(const struct tw_issue *issue)
{
    return tw_starts_with(issue->code, "plan.");
}

static bool is_certain(const struct tw_issue *issue)
{
    return issue->probability >= 0.99;
}

static bool plan_turned(const struct tw_impact_facts *f)
{
    for (size_t i = 0; i < f->statements.count; i++) {
        const struct tw_statement_effect *s = &f->statements.items[i];

        if (s->plan_worse && s->after_ms >= PLAN_WORSE_TIMES * s->before_ms)
            return true;
    }
    return false;
}

enum impact_evidence impact_evidence(const struct tw_impact_facts *f)
{
    if (f->rules_judged)
        return IMPACT_EXACT;
    if (impact_refused(f) || f->candidate_stopped || blocks(f, is_refusal))
        return IMPACT_REFUSED;
    if (plan_turned(f) || blocks(f, is_plan))
        return IMPACT_PLAN_TURNED;
    if (blocks(f, is_certain))
        return IMPACT_ARITHMETIC;
    if (!impact_measured(f))
        return impact_ran_sql(f)   ? IMPACT_TRIED
               : f->access_tried > 0 ? IMPACT_ACCESS
               : f->computed         ? IMPACT_ARITHMETIC
                                     : IMPACT_UNMEASURED;
    if (f->modelled)
        return IMPACT_MODELLED;
    return f->decided ? IMPACT_DECIDED : IMPACT_INCONCLUSIVE;
}

double impact_coverage_share(int64_t n, int64_t held, double fallback)
{
    return n > 0 ? ((double)held + 1) / ((double)n + 2) : fallback;
}

struct lowered {
    struct tw_arena *arena;
    double confidence;
    const char *why;
};

static void lower(struct lowered *l, double factor, const char *why)
{
    l->confidence *= factor;
    l->why = tw_arena_printf(l->arena, "%s; %s", l->why, why);
}

/* What a measurement rests on: a mix that is like the source's, slots that were kept, a
 * host that repeats itself. */
static void lower_by_measuring(struct lowered *l, const struct tw_measured *m,
                               bool decided)
{
    double slots = m->pairs + m->pairs_dropped;

    if (m->mix_coverage < MIX_KNOWN)
        lower(l, 1 - MIX_WEIGHT * (MIX_KNOWN - m->mix_coverage),
              tw_arena_printf(l->arena,
                              "the load reproduces %.0f %% of the target's time",
                              m->mix_coverage * 100));
    if (m->pairs_dropped > (decided ? DROPPED_MOST : DROPPED_TOO_MANY) * slots)
        lower(l, DROPPED_FACTOR,
              tw_arena_printf(l->arena, "%d of %.0f slot pairs had to be dropped",
                              m->pairs_dropped, slots));
    /* what was decided was so in spite of the noise: its intervals have it in them */
    if (m->noise_floor > NOISY && !decided)
        lower(l, NOISY_FACTOR,
              tw_arena_printf(l->arena,
                              "the host is noisy: baseline against baseline differs by "
                              "%.0f %% in the median",
                              100 * (exp(m->noise_floor) - 1)));
}

void impact_confidence(struct impact *i)
{
    enum impact_evidence e = impact_evidence(i->facts);
    const struct counted *c = &coverage[e];
    struct lowered l = {i->arena,
                        impact_coverage_share(c->n, c->held, classes[e].fallback),
                        classes[e].why};

    if (e == IMPACT_DECIDED || e == IMPACT_INCONCLUSIVE)
        lower_by_measuring(&l, i->facts->measured, e == IMPACT_DECIDED);
    if (e == IMPACT_UNMEASURED && i->facts->measured->stopped_because)
        l.why = tw_arena_printf(i->arena, "%s: %s", l.why,
                                i->facts->measured->stopped_because);
    if (e == IMPACT_EXACT && i->facts->rules_packets)
        l.why = tw_arena_printf(i->arena, "%s; %d real packets fared as the model says", l.why,
                                i->facts->rules_packets);
    i->ret->confidence = l.confidence;
    i->ret->calibrated = c->n > 0;
    i->ret->calibrated_n = c->n;
    i->ret->confidence_why = l.why;
}
