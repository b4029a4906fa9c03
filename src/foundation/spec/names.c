/* The words of the enums, and the nouns that are made by hand. */
#include "tw/spec.h"

#include <math.h>

const char *const tw_tier_names[] = {"dev", "staging", "production"};
const char *const tw_data_mode_names[] = {"likeness", "clone", "empty"};
const char *const tw_status_names[] = {"created", "queued", "running",
                                       "success", "failed", "cancelled"};
const char *const tw_severity_names[] = {"info", "low", "medium", "high", "critical"};
const char *const tw_verdict_names[] = {"proceed", "review", "block"};
const char *const tw_arm_names[] = {"baseline", "candidate"};
const char *const tw_step_kind_names[] = {"setting",  "file", "append",
                                          "fragment", "sql",  "rule",
                                          "version",  "smoke", "path"};

const struct tw_estimate tw_unknown = {
    .value = NAN, .low = NAN, .high = NAN, .level = NAN, .n = 0, .method = NULL};

struct tw_issue *tw_issue_add(struct tw_arena *a, struct tw_issues *issues,
                              enum tw_severity severity, enum tw_verdict at_least,
                              const char *code, const char *title, const char *evidence,
                              const char *remedy)
{
    TW_PUSH(a, &issues->list,
            (struct tw_issue){.severity = severity,
                              .at_least = at_least,
                              .probability = 1,
                              .code = tw_arena_strdup(a, code),
                              .title = tw_arena_strdup(a, title),
                              .evidence = tw_arena_strdup(a, evidence),
                              .remedy = tw_arena_strdup(a, remedy)});
    return &issues->list.items[issues->list.count - 1];
}

bool tw_endpoint_is_any(const char *address)
{
    return !address || tw_streq(address, "0.0.0.0") || tw_streq(address, "::") ||
           tw_streq(address, "*");
}

const struct tw_setting *tw_snapshot_setting(const struct tw_snapshot *s,
                                             const char *name)
{
    for (size_t i = 0; i < s->settings.count; i++)
        if (tw_streq(s->settings.items[i].name, name))
            return &s->settings.items[i];
    return NULL;
}
