/* What a deployment showed, as it stands in the impact. */
#include "spec_internal.h"

#define TEXT(type, member)                                                               \
    {                                                                                    \
        .key = #member, .kind = SPEC_TEXT, SPEC_AT(type, member)                         \
    }
#define REAL(type, member)                                                               \
    {                                                                                    \
        .key = #member, .kind = SPEC_REAL, SPEC_AT(type, member)                         \
    }
#define COUNT(type, member)                                                              \
    {                                                                                    \
        .key = #member, .kind = SPEC_INT64, SPEC_AT(type, member)                        \
    }
#define LIST(type, member, shape_)                                                       \
    {                                                                                    \
        .key = #member, .kind = SPEC_LIST, SPEC_AT(type, member), .shape = &(shape_)     \
    }

static const struct spec_field endpoint_fields[] = {
    TEXT(tw_endpoint_experience, endpoint),
    COUNT(tw_endpoint_experience, requests),
    REAL(tw_endpoint_experience, p50_before_ms),
    REAL(tw_endpoint_experience, p50_after_ms),
    REAL(tw_endpoint_experience, p95_before_ms),
    REAL(tw_endpoint_experience, p95_after_ms),
    REAL(tw_endpoint_experience, apdex_before),
    REAL(tw_endpoint_experience, apdex_after),
    {.key = "over_objective_before",
     .kind = SPEC_REAL,
     SPEC_AT(tw_endpoint_experience, over_before)},
    {.key = "over_objective_after",
     .kind = SPEC_REAL,
     SPEC_AT(tw_endpoint_experience, over_after)},
    REAL(tw_endpoint_experience, failed_before),
    REAL(tw_endpoint_experience, failed_after),
};
const struct spec_shape spec_endpoint_experience =
    SPEC_SHAPE(tw_endpoint_experience, endpoint_fields);

static const struct spec_field smoke_fields[] = {
    TEXT(tw_smoke_outcome, name),
    TEXT(tw_smoke_outcome, kind),
    {.key = "passed_before", .kind = SPEC_BOOL, SPEC_AT(tw_smoke_outcome, before)},
    {.key = "passed_after", .kind = SPEC_BOOL, SPEC_AT(tw_smoke_outcome, after)},
    TEXT(tw_smoke_outcome, words_before),
    TEXT(tw_smoke_outcome, words_after),
    {.key = "seconds_before", .kind = SPEC_REAL, SPEC_AT(tw_smoke_outcome, before_s)},
    {.key = "seconds_after", .kind = SPEC_REAL, SPEC_AT(tw_smoke_outcome, after_s)},
};
static const struct spec_shape smoke = SPEC_SHAPE(tw_smoke_outcome, smoke_fields);

static const struct spec_field difference_fields[] = {
    TEXT(tw_answer_difference, kind),       TEXT(tw_answer_difference, endpoint),
    TEXT(tw_answer_difference, where),      TEXT(tw_answer_difference, before),
    TEXT(tw_answer_difference, after),      COUNT(tw_answer_difference, had_before),
    COUNT(tw_answer_difference, of_before), COUNT(tw_answer_difference, had_after),
    COUNT(tw_answer_difference, of_after),
};
static const struct spec_shape difference =
    SPEC_SHAPE(tw_answer_difference, difference_fields);

static const struct spec_field deployment_fields[] = {
    TEXT(tw_deployment, image_before),
    TEXT(tw_deployment, image_after),
    {.key = "start_before_seconds",
     .kind = SPEC_REAL,
     SPEC_AT(tw_deployment, start_before_s)},
    {.key = "start_after_seconds",
     .kind = SPEC_REAL,
     SPEC_AT(tw_deployment, start_after_s)},
    TEXT(tw_deployment, stop_signal),
    {.key = "stop_before_seconds",
     .kind = SPEC_REAL,
     SPEC_AT(tw_deployment, stop_before_s)},
    {.key = "stop_after_seconds",
     .kind = SPEC_REAL,
     SPEC_AT(tw_deployment, stop_after_s)},
    {.key = "exit_before",
     .kind = SPEC_INT,
     .flags = SPEC_MINUS_UNKNOWN,
     SPEC_AT(tw_deployment, exit_before)},
    {.key = "exit_after",
     .kind = SPEC_INT,
     .flags = SPEC_MINUS_UNKNOWN,
     SPEC_AT(tw_deployment, exit_after)},
    REAL(tw_deployment, memory_before_bytes),
    REAL(tw_deployment, memory_after_bytes),
    {.key = "leak_before_bytes_per_request",
     .kind = SPEC_OBJECT,
     SPEC_AT(tw_deployment, leak_before),
     .shape = &spec_estimate},
    {.key = "leak_after_bytes_per_request",
     .kind = SPEC_OBJECT,
     SPEC_AT(tw_deployment, leak_after),
     .shape = &spec_estimate},
    {.key = "log_before_bytes_per_request",
     .kind = SPEC_REAL,
     SPEC_AT(tw_deployment, log_before_bytes)},
    {.key = "log_after_bytes_per_request",
     .kind = SPEC_REAL,
     SPEC_AT(tw_deployment, log_after_bytes)},
    COUNT(tw_deployment, requests),
    REAL(tw_deployment, unseen_share),
    {.key = "volatile_parts", .kind = SPEC_INT, SPEC_AT(tw_deployment, volatile_parts)},
    LIST(tw_deployment, smoke, smoke),
    LIST(tw_deployment, differences, difference),
    TEXT(tw_deployment, rollback),
    {.key = "rollback_seconds", .kind = SPEC_REAL, SPEC_AT(tw_deployment, rollback_s)},
};
const struct spec_shape spec_deployment = SPEC_SHAPE(tw_deployment, deployment_fields);
