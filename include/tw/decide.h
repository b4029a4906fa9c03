/* Policies over an impact give a decision with its reasons, and tie the risk score to it.
 *
 * Errors  -EINVAL with file, line and column of a policy that cannot be read
 * Owns    results live in the arena given
 * Source  policies/default.yaml; codes that force a verdict: docs/FINDINGS.md */
#ifndef TW_DECIDE_H
#define TW_DECIDE_H

#include "tw/spec.h"

struct tw_policy_rule {
    const char *code; /* of an issue; may end in '*' */
    enum tw_verdict at_least;
};
/* Overrides for one kind of request; NULL fits every one. */
struct tw_policy_case {
    const char *tier, *type, *risk_level;
    const char *settings;  /* every setting changed is among these: "log_*, cluster_name"; and nothing else */
    const char *simulation; /* "required" or "exempt"; NULL: says nothing of it */
    const char *because;
    const char *approvers; /* roles: "approver, admin" */
    TW_ARRAY(struct {
        int field; /* row of the table in policy.c */
        double value;
    }) set;
};
struct tw_policy {
    const char *name, *summary, *origin; /* origin: path, or "built in" */
    double margin_throughput, margin_p50, margin_p95, margin_p99, margin_effect;
    double margin_tail_ms;               /* p95 and p99 may move by this much, whatever share that is */
    double margin_errors;                /* share of the requests that fail more than before */
    double margin_block;                 /* certainly worse than this many margins: block */
    double confidence_threshold;
    double failure_review, failure_block; /* probability within the horizon */
    double hold_review_ms, hold_block_ms; /* SQL may shut a table of the load so long */
    double blocked_review;               /* when at least so many requests wait meanwhile */
    double budget_s, most_s;             /* measuring: what it aims at, and at most */
    int min_pairs;
    int64_t min_requests;
    TW_ARRAY(struct tw_policy_rule) rules;
    TW_ARRAY(struct tw_policy_case) cases;
};
/* The built-in default is policies/default.yaml compiled in; path NULL gives it. */
int tw_policy_load(struct tw_arena *a, const char *path, struct tw_policy *ret,
                   struct tw_err *err);
/* Applies the cases that fit. risk_level NULL: that of the tier (dev low, staging medium, production
 * high). */
void tw_policy_narrow(struct tw_policy *p, enum tw_tier tier, const char *type,
                      const char *risk_level);
/* Whether it has to be simulated at all, and who may approve it: the last case that fits and says so. */
struct tw_requirement {
    bool simulation;
    const char *because;   /* a sentence */
    const char *approvers; /* roles between commas */
};
struct tw_requirement tw_policy_require(const struct tw_policy *p, enum tw_tier tier,
                                        const struct tw_request *request);
/* Decides, and brings impact->risk_score, risk_level and risk_parts to agree with the verdict: below
 * 50 proceed, 50..79 review, 80..100 block. impact->performance, issues, failures, statements and
 * confidence are read; measured->pairs 0 means that nothing was measured. */
int tw_decide(struct tw_arena *a, const struct tw_policy *policy, struct tw_impact *impact,
              const struct tw_measured *measured, struct tw_decision *ret, struct tw_err *err);
/* What a decision is made of, and nothing is changed: every row that speaks for a verdict, what forces most
 * first, then what was shown to be harmless (TW_PROCEED). */
struct tw_decide_rows {
    TW_ARRAY(struct tw_decide_row {
        enum tw_verdict verdict;
        const char *name, *why; /* name: code of a finding, metric, "confidence" … */
    }) list;
    enum tw_verdict verdict;
};
void tw_decide_explain(struct tw_arena *a, const struct tw_policy *policy, const struct tw_impact *impact,
                       const struct tw_measured *measured, struct tw_decide_rows *ret);
#endif
