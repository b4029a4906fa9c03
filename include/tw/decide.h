/* Policies over an impact give a decision with its reasons, and tie the risk score to it.
 *
 * Errors  -EINVAL with file, line and column of a policy that cannot be read
 * Owns    results live in the arena given
 * Source  SPEC.md §8 and §9 */
#ifndef TW_DECIDE_H
#define TW_DECIDE_H

#include "tw/spec.h"

struct tw_policy {
    const char *name, *summary, *origin; /* origin: path, or "built in" */
    double margin_throughput, margin_p50, margin_p95, margin_p99, margin_effect;
    double confidence_threshold;
    double budget_s;                     /* measuring, at most */
    int min_pairs;
    int64_t min_requests;
    TW_ARRAY(struct {
        const char *code;                /* of an issue; may end in '*' */
        enum tw_verdict at_least;
    }) rules;
};
/* The built-in default is policies/default.yaml compiled in; path NULL gives it. */
int tw_policy_load(struct tw_arena *a, const char *path, struct tw_policy *ret,
                   struct tw_err *err);
/* The default for a tier, change type and risk level. */
void tw_policy_narrow(struct tw_policy *p, enum tw_tier tier, const char *type,
                      const char *risk_level);
/* Decides, and raises impact->risk_score and risk_parts to agree with the verdict. */
int tw_decide(struct tw_arena *a, const struct tw_policy *policy, struct tw_impact *impact,
              const struct tw_measured *measured, struct tw_decision *ret, struct tw_err *err);
#endif
