/* What the files of impact share: each fills one part of the impact from the facts.
 *
 * Order   performance before resources, experience, failures, bottleneck, cost; then
 * confidence; risk last, for it reads all of them */
#ifndef IMPACT_INTERNAL_H
#define IMPACT_INTERNAL_H

#include "tw/impact.h"

struct impact {
    struct tw_arena *arena;
    const struct tw_impact_facts *facts;
    struct tw_impact *ret;
};

void impact_performance(struct impact *i);
void impact_resources(struct impact *i);
void impact_experience(struct impact *i);
void impact_failures(struct impact *i);
void impact_bottleneck(struct impact *i);
void impact_cost(struct impact *i);
void impact_schema(struct impact *i); /* findings and failures of SQL; before the failures */
void impact_apply(struct impact *i);
void impact_confidence(struct impact *i);
void impact_risk(struct impact *i);

/* ---- shared looks at the facts ---- */

/* The effect the trial measured, or NULL. */
const struct tw_effect *impact_effect(const struct tw_impact_facts *f,
                                      const char *metric);
/* A row made so far, or NULL. */
const struct tw_effect *impact_row(const struct tw_impact *ret, const char *metric);
/* "better" "worse" "equivalent" "inconclusive" by the interval and the margin of an
 * effect. */
const char *impact_verdict(const struct tw_estimate *ratio, bool higher_is_better,
                           double margin);
bool impact_overloaded(const struct tw_forecast *f); /* NULL: no */
/* The throughput measured leaves no room for an arm as fast as today's, or was not measured. */
bool impact_slower(const struct tw_impact_facts *f);
/* Of the candidate alone, and the throughput measured does not speak against it. */
bool impact_overload_shown(const struct tw_impact_facts *f);
/* after / before, their errors taken as independent. */
struct tw_estimate impact_ratio(const struct tw_estimate *before,
                                const struct tw_estimate *after, const char *method);
/* How a performance row stands: the same words as the trial's, for any source of the
 * ratio. */
enum impact_standing { IMPACT_NO_MARGIN, IMPACT_INSIDE, IMPACT_CROSSING, IMPACT_OUTSIDE };
enum impact_standing impact_standing(const struct tw_impact_facts *f,
                                     const struct tw_effect *row, double *ret_margin_log);
/* Does the changed service run at all, and after a restart? */
bool impact_refused(const struct tw_impact_facts *f);
bool impact_measured(const struct tw_impact_facts *f);
bool impact_ran_sql(const struct tw_impact_facts *f);

/* ---- confidence ---- */

enum impact_evidence {
    IMPACT_REFUSED,      /* the service's own refusal */
    IMPACT_PLAN_TURNED,  /* a plan turned bad, and tried */
    IMPACT_ARITHMETIC,   /* a limit that a computation exceeds */
    IMPACT_TRIED,        /* SQL run on a clone under load, and no plan of the load turned bad */
    IMPACT_ACCESS,       /* who comes in, each known client tried; nothing else changes */
    IMPACT_EXACT,        /* rules as sets of packets: all of them considered */
    IMPACT_MODELLED,     /* sizes computed from one and few that were measured */
    IMPACT_DECIDED,      /* effects measured until certain */
    IMPACT_INCONCLUSIVE, /* measured, and the budget ended first */
    IMPACT_UNMEASURED,   /* nothing was measured */
    IMPACT_EVIDENCE_COUNT
};
enum impact_evidence impact_evidence(const struct tw_impact_facts *f);
/* Share that held, one success and one failure added to each count (Laplace); n = 0:
 * fallback. */
double impact_coverage_share(int64_t n, int64_t held, double fallback);

#endif
