/* The one body of a simulation (docs/API_DOCUMENTATION.md), written and read by the same tables. Within schema 1
 * it only grows. */
#include "spec_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(type, member)                                                               \
    {                                                                                    \
        .key = #member, .kind = SPEC_TEXT, SPEC_AT(type, member)                         \
    }
#define REAL(type, member)                                                               \
    {                                                                                    \
        .key = #member, .kind = SPEC_REAL, SPEC_AT(type, member)                         \
    }
#define INT(type, member)                                                                \
    {                                                                                    \
        .key = #member, .kind = SPEC_INT, SPEC_AT(type, member)                          \
    }
#define INT64(type, member)                                                              \
    {                                                                                    \
        .key = #member, .kind = SPEC_INT64, SPEC_AT(type, member)                        \
    }
#define BOOL(type, member)                                                               \
    {                                                                                    \
        .key = #member, .kind = SPEC_BOOL, SPEC_AT(type, member)                         \
    }
#define TEXTS(type, member)                                                              \
    {                                                                                    \
        .key = #member, .kind = SPEC_TEXTS, SPEC_AT(type, member)                        \
    }
#define PART(key_, type, member, shape_)                                                 \
    {                                                                                    \
        .key = (key_), .kind = SPEC_OBJECT, SPEC_AT(type, member), .shape = &(shape_)    \
    }
#define LIST(key_, type, member, shape_)                                                 \
    {                                                                                    \
        .key = (key_), .kind = SPEC_LIST, SPEC_AT(type, member), .shape = &(shape_)      \
    }
#define MAP(key_, type, member, shape_)                                                  \
    {                                                                                    \
        .key = (key_), .kind = SPEC_MAP, SPEC_AT(type, member), .shape = &(shape_)       \
    }

/* ---- impact ---- */

static const struct spec_field risk_fields[] = {
    TEXT(tw_risk_part, name), REAL(tw_risk_part, points), TEXT(tw_risk_part, why)};
static const struct spec_shape risk_part = SPEC_SHAPE(tw_risk_part, risk_fields);

static const struct spec_field issue_fields[] = {
    {.key = "severity",
     .kind = SPEC_NAME,
     .names = tw_severity_names,
     .size = TW_SEVERITY_COUNT,
     SPEC_AT(tw_issue, severity)},
    TEXT(tw_issue, code),
    TEXT(tw_issue, title),
    TEXT(tw_issue, evidence),
    TEXT(tw_issue, remedy),
    TEXT(tw_issue, reproduce),
    {.key = "at_least",
     .kind = SPEC_NAME,
     .names = tw_verdict_names,
     .size = TW_VERDICT_COUNT,
     SPEC_AT(tw_issue, at_least)},
    REAL(tw_issue, probability),
};
static const struct spec_shape issue = SPEC_SHAPE(tw_issue, issue_fields);

static const struct spec_field effect_fields[] = {
    TEXT(tw_effect, metric), /* the key */
    REAL(tw_effect, before),
    REAL(tw_effect, after),
    {.key = "ratio", .kind = SPEC_REAL, SPEC_AT(tw_effect, ratio.value)},
    {.key = "low", .kind = SPEC_REAL, SPEC_AT(tw_effect, ratio.low)},
    {.key = "high", .kind = SPEC_REAL, SPEC_AT(tw_effect, ratio.high)},
    {.key = "level", .kind = SPEC_REAL, SPEC_AT(tw_effect, ratio.level)},
    {.key = "n", .kind = SPEC_INT64, SPEC_AT(tw_effect, ratio.n)},
    {.key = "method", .kind = SPEC_TEXT, SPEC_AT(tw_effect, ratio.method)},
    TEXT(tw_effect, unit),
    BOOL(tw_effect, higher_is_better),
    TEXT(tw_effect, verdict),
    REAL(tw_effect, noise_floor),
};
static const struct spec_shape effect = SPEC_SHAPE(tw_effect, effect_fields);

static const struct spec_field experience_fields[] = {
    REAL(tw_impact, apdex_before),
    REAL(tw_impact, apdex_after),
    REAL(tw_impact, failed_before),
    REAL(tw_impact, failed_after),
    {.key = "objective_ms", .kind = SPEC_REAL, SPEC_AT(tw_impact, deployment.objective_ms)},
    {.key = "over_objective_before",
     .kind = SPEC_REAL,
     SPEC_AT(tw_impact, deployment.over_before)},
    {.key = "over_objective_after",
     .kind = SPEC_REAL,
     SPEC_AT(tw_impact, deployment.over_after)},
    {.key = "broken_sessions_before",
     .kind = SPEC_REAL,
     SPEC_AT(tw_impact, deployment.broken_before)},
    {.key = "broken_sessions_after",
     .kind = SPEC_REAL,
     SPEC_AT(tw_impact, deployment.broken_after)},
    {.key = "endpoints",
     .kind = SPEC_LIST,
     SPEC_AT(tw_impact, deployment.endpoints),
     .shape = &spec_endpoint_experience},
};
static const struct spec_shape experience = SPEC_SHAPE(tw_impact, experience_fields);

static const struct spec_field failure_fields[] = {
    TEXT(tw_failure, kind),   REAL(tw_failure, at_hours),     REAL(tw_failure, low),
    REAL(tw_failure, high),   REAL(tw_failure, probability),  TEXT(tw_failure, evidence),
    REAL(tw_failure, before), BOOL(tw_failure, from_finding),
};
static const struct spec_shape failure = SPEC_SHAPE(tw_failure, failure_fields);

static const struct spec_field bottleneck_fields[] = {
    TEXT(tw_bottleneck, resource),        TEXT(tw_bottleneck, statement),
    REAL(tw_bottleneck, statement_share), TEXT(tw_bottleneck, plan_node),
    TEXT(tw_bottleneck, wait_event),      REAL(tw_bottleneck, saturates_at_per_s),
    REAL(tw_bottleneck, headroom),        TEXT(tw_bottleneck, next),
    TEXT(tw_bottleneck, evidence),
};
static const struct spec_shape bottleneck = SPEC_SHAPE(tw_bottleneck, bottleneck_fields);

static const struct spec_field cost_fields[] = {
    REAL(tw_cost, before_per_day),  REAL(tw_cost, after_per_day),
    REAL(tw_cost, benefit_per_day), TEXT(tw_cost, currency),
    TEXT(tw_cost, basis),
};
static const struct spec_shape cost = SPEC_SHAPE(tw_cost, cost_fields);

static const struct spec_field apply_fields[] = {
    TEXT(tw_apply, how),
    {.key = "outage_seconds", .kind = SPEC_REAL, SPEC_AT(tw_apply, outage_s)},
    {.key = "sessions_dropped",
     .kind = SPEC_INT,
     .flags = SPEC_MINUS_UNKNOWN,
     SPEC_AT(tw_apply, sessions_dropped)},
    {.key = "cold_seconds", .kind = SPEC_REAL, SPEC_AT(tw_apply, cold_s)},
    TEXTS(tw_apply, commands),
    TEXTS(tw_apply, undo),
};
static const struct spec_shape apply = SPEC_SHAPE(tw_apply, apply_fields);

static const struct spec_field forecast_fields[] = {
    REAL(tw_forecast, requests),
    INT64(tw_forecast, histogram_count),
    PART("p50_s", tw_forecast, p50_s, spec_estimate),
    PART("p95_s", tw_forecast, p95_s, spec_estimate),
    PART("p99_s", tw_forecast, p99_s, spec_estimate),
    PART("throughput_per_s", tw_forecast, throughput_per_s, spec_estimate),
    PART("cpu_cores", tw_forecast, cpu_cores, spec_estimate),
    PART("wal_bytes", tw_forecast, wal_bytes, spec_estimate),
    PART("memory_bytes", tw_forecast, memory_bytes, spec_estimate),
    PART("connections", tw_forecast, connections, spec_estimate),
    PART("errors", tw_forecast, errors, spec_estimate),
    REAL(tw_forecast, engine_seconds),
    REAL(tw_forecast, acceleration),
    TEXT(tw_forecast, engine),
    TEXTS(tw_forecast, notes),
};
static const struct spec_shape forecast = SPEC_SHAPE(tw_forecast, forecast_fields);
static const struct spec_field forecasts_fields[] = {
    {.key = "baseline", .kind = SPEC_OBJECT, .offset = 0, .shape = &forecast},
    {.key = "candidate",
     .kind = SPEC_OBJECT,
     .offset = sizeof(struct tw_forecast),
     .shape = &forecast},
};
static const struct spec_shape forecasts = {forecasts_fields, 2,
                                            2 * sizeof(struct tw_forecast)};

static const struct spec_field statement_fields[] = {
    {.key = "statement", .kind = SPEC_TEXT, SPEC_AT(tw_statement_effect, text)},
    REAL(tw_statement_effect, share),
    REAL(tw_statement_effect, before_ms),
    REAL(tw_statement_effect, after_ms),
    REAL(tw_statement_effect, rows),
    TEXT(tw_statement_effect, plan_before),
    TEXT(tw_statement_effect, plan_after),
    REAL(tw_statement_effect, cost_before),
    REAL(tw_statement_effect, cost_after),
    BOOL(tw_statement_effect, plan_changed),
    BOOL(tw_statement_effect, plan_worse),
};
static const struct spec_shape statement =
    SPEC_SHAPE(tw_statement_effect, statement_fields);

/* ---- schema change ---- */

static const struct spec_field ddl_lock_fields[] = {
    TEXT(tw_ddl_lock, relation),
    TEXT(tw_ddl_lock, mode),
    {.key = "waited_seconds", .kind = SPEC_REAL, SPEC_AT(tw_ddl_lock, waited_s)},
    {.key = "held_seconds", .kind = SPEC_REAL, SPEC_AT(tw_ddl_lock, held_s)},
};
static const struct spec_shape ddl_lock = SPEC_SHAPE(tw_ddl_lock, ddl_lock_fields);

static const struct spec_field beside_fields[] = {
    TEXT(tw_ddl_beside, transaction),
    TEXT(tw_ddl_beside, relation),
    {.key = "waited_seconds", .kind = SPEC_REAL, SPEC_AT(tw_ddl_beside, waited_s)},
    BOOL(tw_ddl_beside, got_through),
    TEXT(tw_ddl_beside, gave_up),
    INT(tw_ddl_beside, queued),
    {.key = "longest_wait_seconds",
     .kind = SPEC_REAL,
     SPEC_AT(tw_ddl_beside, longest_wait_s)},
};
static const struct spec_shape beside = SPEC_SHAPE(tw_ddl_beside, beside_fields);

static const struct spec_field ddl_fields[] = {
    {.key = "sql", .kind = SPEC_TEXT, SPEC_AT(tw_ddl, text)},
    INT(tw_ddl, line),
    TEXT(tw_ddl, relation),
    {.key = "lock", .kind = SPEC_TEXT, SPEC_AT(tw_ddl, mode)},
    TEXT(tw_ddl, blocks),
    {.key = "waited_seconds", .kind = SPEC_REAL, SPEC_AT(tw_ddl, waited_s)},
    {.key = "held_seconds", .kind = SPEC_REAL, SPEC_AT(tw_ddl, held_s)},
    {.key = "seconds", .kind = SPEC_REAL, SPEC_AT(tw_ddl, seconds)},
    INT(tw_ddl, queued),
    {.key = "longest_wait_seconds", .kind = SPEC_REAL, SPEC_AT(tw_ddl, longest_wait_s)},
    {.key = "queued_statement", .kind = SPEC_TEXT, SPEC_AT(tw_ddl, queued_text)},
    REAL(tw_ddl, p95_before_ms),
    REAL(tw_ddl, p95_during_ms),
    REAL(tw_ddl, blocked_per_s),
    REAL(tw_ddl, blocked_requests),
    REAL(tw_ddl, rewritten_bytes),
    REAL(tw_ddl, built_bytes),
    REAL(tw_ddl, wal_bytes),
    REAL(tw_ddl, temp_bytes),
    REAL(tw_ddl, rows),
    TEXT(tw_ddl, error),
    LIST("locks", tw_ddl, locks, ddl_lock),
    LIST("beside_open_transaction", tw_ddl, beside, beside),
};
static const struct spec_shape ddl = SPEC_SHAPE(tw_ddl, ddl_fields);

static const struct spec_field ddl_safer_fields[] = {
    INT(tw_ddl_safer, of),
    TEXT(tw_ddl_safer, what),
    TEXT(tw_ddl_safer, note),
    {.key = "stopped_seconds", .kind = SPEC_REAL, SPEC_AT(tw_ddl_safer, stopped_s)},
    {.key = "stopped_before_seconds",
     .kind = SPEC_REAL,
     SPEC_AT(tw_ddl_safer, stopped_before_s)},
    LIST("steps", tw_ddl_safer, steps, ddl),
};
static const struct spec_shape ddl_safer = SPEC_SHAPE(tw_ddl_safer, ddl_safer_fields);

static const struct spec_field schema_fields[] = {
    TEXT(tw_schema, database),
    REAL(tw_schema, rate_per_s),
    REAL(tw_schema, target_rate_per_s),
    BOOL(tw_schema, rate_assumed),
    LIST("statements", tw_schema, statements, ddl),
    LIST("safer", tw_schema, safer, ddl_safer),
    {.key = "columns_without_statistics", .kind = SPEC_TEXTS, SPEC_AT(tw_schema, unanalysed)},
    {.key = "indexes_unused", .kind = SPEC_TEXTS, SPEC_AT(tw_schema, unused)},
    {.key = "indexes_used", .kind = SPEC_TEXTS, SPEC_AT(tw_schema, used)},
    {.key = "indexes_invalid", .kind = SPEC_TEXTS, SPEC_AT(tw_schema, invalid)},
};
static const struct spec_shape schema = SPEC_SHAPE(tw_schema, schema_fields);

static const struct spec_field impact_fields[] = {
    REAL(tw_impact, risk_score),
    TEXT(tw_impact, risk_level),
    LIST("risk_parts", tw_impact, risk_parts, risk_part),
    LIST("issues", tw_impact, issues.list, issue),
    MAP("performance", tw_impact, performance, effect),
    MAP("resources", tw_impact, resources, effect),
    {.key = "user_experience", .kind = SPEC_OBJECT, .offset = 0, .shape = &experience},
    LIST("failures", tw_impact, failures, failure),
    PART("bottleneck", tw_impact, bottleneck, bottleneck),
    PART("cost", tw_impact, cost, cost),
    REAL(tw_impact, confidence),
    BOOL(tw_impact, calibrated),
    INT64(tw_impact, calibrated_n),
    TEXT(tw_impact, confidence_why),
    PART("apply", tw_impact, apply, apply),
    LIST("statements", tw_impact, statements, statement),
    TEXTS(tw_impact, twin_differences),
    {.key = "safer", .kind = SPEC_TEXT, SPEC_AT(tw_impact, safer)},
    PART("forecast", tw_impact, forecast, forecasts),
    PART("schema_change", tw_impact, schema, schema),
    PART("scaling", tw_impact, scale, spec_scale),
    PART("deployment", tw_impact, deployment, spec_deployment),
    LIST("faults", tw_impact, faults, spec_fault_effect),
};
static const struct spec_shape impact = SPEC_SHAPE(tw_impact, impact_fields);

/* ---- timeline: the bins of both arms side by side ---- */

#define SHORT(member)                                                                    \
    {                                                                                    \
        .key = #member, .kind = SPEC_REAL, .flags = SPEC_SHORT, SPEC_AT(tw_bin, member)  \
    }
#define SHORT_MILLI(key_, member)                                                        \
    {                                                                                    \
        .key = (key_), .kind = SPEC_REAL, .flags = SPEC_SHORT, .scale = 1000,            \
        SPEC_AT(tw_bin, member)                                                          \
    }
static const struct spec_field bin_fields[] = {
    SHORT(utilisation),
    SHORT_MILLI("p50_ms", p50_s),
    SHORT_MILLI("p95_ms", p95_s),
    SHORT_MILLI("p99_ms", p99_s),
    SHORT(throughput_per_s),
    SHORT(errors_per_s),
    SHORT(cpu_cores),
    SHORT(wal_bytes_per_s),
    SHORT(memory_bytes),
    SHORT(connections),
    SHORT(backlog),
};
static const struct spec_shape bin_shape = SPEC_SHAPE(tw_bin, bin_fields);
static const struct spec_field bin_when_fields[] = {
    {.key = "from_hours",
     .kind = SPEC_REAL,
     .flags = SPEC_SHORT,
     SPEC_AT(tw_bin, from_h)},
    SHORT(hours),
    SHORT(rate_per_s),
};
static const struct spec_shape bin_when = SPEC_SHAPE(tw_bin, bin_when_fields);

static json_t *timeline_to_json(const struct tw_impact *i)
{
    json_t *timeline = json_array();
    size_t n[TW_ARM_COUNT] = {i->forecast[0].bins.count, i->forecast[1].bins.count};

    for (size_t k = 0; k < n[0] || k < n[1]; k++) {
        json_t *bin =
            spec_write(&bin_when, &i->forecast[k < n[0] ? 0 : 1].bins.items[k], false);

        for (int arm = 0; arm < TW_ARM_COUNT; arm++)
            if (k < n[arm])
                json_object_set_new(
                    bin, tw_arm_names[arm],
                    spec_write(&bin_shape, &i->forecast[arm].bins.items[k], false));
        json_array_append_new(timeline, bin);
    }
    return timeline;
}

static void timeline_from_json(struct tw_arena *a, const json_t *timeline,
                               struct tw_impact *i)
{
    json_t *item;
    size_t k;

    json_array_foreach ((json_t *)(uintptr_t)timeline, k, item) {
        for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
            const json_t *values = json_object_get(item, tw_arm_names[arm]);
            struct tw_bin bin = {0};

            if (!json_is_object(values))
                continue;
            spec_read(&bin_when, a, item, &bin);
            spec_read(&bin_shape, a, values, &bin);
            TW_PUSH(a, &i->forecast[arm].bins, bin);
        }
    }
}

/* ---- measured ---- */

static const struct spec_field stage_fields[] = {TEXT(tw_stage_time, name),
                                                 REAL(tw_stage_time, seconds)};
static const struct spec_shape stage = SPEC_SHAPE(tw_stage_time, stage_fields);

static const struct spec_field arm_counts_fields[] = {
    {.key = "baseline", .kind = SPEC_INT64, .offset = 0},
    {.key = "candidate", .kind = SPEC_INT64, .offset = sizeof(int64_t)},
};
static const struct spec_shape arm_counts = {arm_counts_fields, 2, 2 * sizeof(int64_t)};
static const struct spec_field arm_reals_fields[] = {
    {.key = "baseline", .kind = SPEC_REAL, .offset = 0},
    {.key = "candidate", .kind = SPEC_REAL, .offset = sizeof(double)},
};
static const struct spec_shape arm_reals = {arm_reals_fields, 2, 2 * sizeof(double)};

static const struct spec_field measured_fields[] = {
    INT(tw_measured, pairs),
    INT(tw_measured, pairs_dropped),
    PART("requests_by_arm", tw_measured, requests, arm_counts),
    PART("answered_by_arm", tw_measured, answered, arm_counts),
    PART("transactions_by_arm", tw_measured, transactions, arm_counts),
    REAL(tw_measured, seconds),
    REAL(tw_measured, noise_floor),
    TEXT(tw_measured, stopped_because),
    PART("capacity_per_s", tw_measured, capacity_per_s, arm_reals),
    TEXT(tw_measured, mix),
    REAL(tw_measured, mix_coverage),
    REAL(tw_measured, generator_share),
    TEXT(tw_measured, host),
    LIST("stages", tw_measured, stages, stage),
};
static const struct spec_shape measured = SPEC_SHAPE(tw_measured, measured_fields);

/* ---- the simulation ---- */

static const struct spec_field id_fields[] = {
    {.key = "id", .kind = SPEC_CHARS, .size = TW_ID_LEN + 1, SPEC_AT(tw_simulation, id)}};
static const struct spec_shape id_shape = SPEC_SHAPE(tw_simulation, id_fields);

static const struct spec_field times_fields[] = {
    {.key = "created_at", .kind = SPEC_TIME, SPEC_AT(tw_simulation, created_wall_ns)},
    {.key = "started_at", .kind = SPEC_TIME, SPEC_AT(tw_simulation, started_wall_ns)},
    {.key = "ended_at", .kind = SPEC_TIME, SPEC_AT(tw_simulation, ended_wall_ns)},
    {.key = "elapsed_seconds", .kind = SPEC_REAL, SPEC_AT(tw_simulation, elapsed_s)},
};
static const struct spec_shape times = SPEC_SHAPE(tw_simulation, times_fields);

static const struct spec_field decision_fields[] = {TEXTS(tw_decision, reasons),
                                                    TEXT(tw_decision, policy)};
static const struct spec_shape decision = SPEC_SHAPE(tw_decision, decision_fields);

static const struct spec_field problem_fields[] = {
    INT(tw_err, code),
    {.key = "pointer",
     .kind = SPEC_CHARS,
     .size = sizeof(((struct tw_err *)NULL)->pointer),
     SPEC_AT(tw_err, pointer)},
    {.key = "text",
     .kind = SPEC_CHARS,
     .size = sizeof(((struct tw_err *)NULL)->text),
     SPEC_AT(tw_err, text)},
};
static const struct spec_shape problem = SPEC_SHAPE(tw_err, problem_fields);

/* What of the target a report needs; where its data and credentials are stays out. */
static const struct spec_field target_fields[] = {
    TEXT(tw_target, environment),
    TEXT(tw_target, name),
    TEXT(tw_target, type),
    {.key = "tier",
     .kind = SPEC_NAME,
     .names = tw_tier_names,
     .size = TW_TIER_COUNT,
     SPEC_AT(tw_target, tier)},
    {.key = "data",
     .kind = SPEC_NAME,
     .names = tw_data_mode_names,
     .size = TW_DATA_COUNT,
     SPEC_AT(tw_target, data)},
    {.key = "memory",
     .kind = SPEC_BYTES,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_target, memory_bytes)},
    {.key = "cpus",
     .kind = SPEC_CORES,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_target, cpus)},
};
static const struct spec_shape target = SPEC_SHAPE(tw_target, target_fields);

struct tw_simulation *tw_simulation_new(void)
{
    struct tw_simulation *s = tw_alloc(sizeof *s);

    s->arena = tw_arena_new();
    tw_request_init(&s->request);
    spec_blank(&spec_snapshot_summary, &s->snapshot);
    spec_blank(&spec_plan, &s->plan);
    spec_blank(&impact, &s->impact);
    spec_blank(&measured, &s->measured);
    s->elapsed_s = NAN;
    return s;
}

void tw_simulation_free(struct tw_simulation *s)
{
    if (!s)
        return;
    tw_arena_free(s->arena);
    free(s);
}

/* A body that is not success says why in one sentence, so that a caller needs no other rule. */
static const char *error_of(const struct tw_simulation *s)
{
    static const char *const texts[TW_STATUS_COUNT] = {
        [TW_CREATED] = "the simulation is created but has not been run yet",
        [TW_QUEUED] = "the simulation waits for its turn; ask again later",
        [TW_RUNNING] = "the simulation is still running; ask again later",
        [TW_FAILED] = "the simulation could not be done",
        [TW_CANCELLED] = "the simulation was cancelled before it had an answer",
    };

    return s->error ? s->error : texts[s->status];
}

static bool final_error(const struct tw_simulation *s)
{
    return s->status == TW_FAILED || s->status == TW_CANCELLED;
}

static json_t *impact_to_json(const struct tw_simulation *s)
{
    json_t *json;

    if (!s->has_impact)
        return json_null();
    json = spec_write(&impact, &s->impact, false);
    json_object_set_new(json, "timeline", timeline_to_json(&s->impact));
    return json;
}

static json_t *measured_to_json(const struct tw_measured *m)
{
    json_t *json = spec_write(&measured, m, false);

    json_object_set_new(
        json, "requests",
        json_integer(m->requests[TW_BASELINE] + m->requests[TW_CANDIDATE]));
    return json;
}

static json_t *snapshot_to_json(const struct tw_snapshot *s)
{
    return s->taken_wall_ns ? spec_write(&spec_snapshot_summary, s, false) : json_null();
}

/* What only a deployment tells is left out of every other body. */
static json_t *without_deployment(const struct tw_simulation *s, json_t *told)
{
    static const char *const own[] = {"objective_ms", "over_objective_before",
                                      "over_objective_after", "broken_sessions_before",
                                      "broken_sessions_after", "endpoints"};
    json_t *users = json_object_get(told, "user_experience");

    if (s->impact.deployment.image_after)
        return told;
    (void)json_object_del(told, "deployment");
    for (size_t i = 0; i < TW_COUNT_OF(own); i++)
        (void)json_object_del(users, own[i]);
    return told;
}

json_t *tw_simulation_to_json(const struct tw_simulation *s)
{
    json_t *json = spec_write(&id_shape, s, false), *part;
    bool decided = s->has_impact && s->status == TW_SUCCESS;
    const char *environment =
        s->target.environment ? s->target.environment : s->request.environment;

    json_object_set_new(json, "schema", json_integer(TW_SCHEMA));
    json_object_set_new(json, "status", json_string(tw_status_names[s->status]));
    json_object_set_new(json, "error", tw_json_text(error_of(s)));
    json_object_set_new(json, "type", tw_json_text(s->request.type));
    json_object_set_new(json, "target", tw_json_text(s->request.target));
    json_object_set_new(json, "environment", tw_json_text(environment));
    json_object_set_new(json, "horizon_hours", tw_json_real(s->request.hours));
    json_object_set_new(json, "plan_sha256",
                        tw_json_text(*s->plan.sha256 ? s->plan.sha256 : NULL));
    json_object_set_new(json, "snapshot", snapshot_to_json(&s->snapshot));
    json_object_set_new(json, "decision",
                        decided ? json_string(tw_verdict_names[s->decision.verdict])
                                : json_null());
    json_object_set_new(json, "approval_id", tw_json_text(s->approval_id));
    json_object_set_new(json, "predicted_impact",
                        without_deployment(s, impact_to_json(s)));
    json_object_set_new(json, "measured", measured_to_json(&s->measured));
    part = s->request.metadata ? json_loads(s->request.metadata, 0, NULL) : NULL;
    json_object_set_new(json, "metadata", part ? part : json_null());

    part = spec_write(&decision, &s->decision, false);
    json_object_update(json, part);
    json_decref(part);
    part = spec_write(&times, s, false);
    json_object_update(json, part);
    json_decref(part);
    json_object_set_new(json, "target_info", spec_write(&target, &s->target, false));
    json_object_set_new(json, "request", tw_request_to_json(&s->request));
    json_object_set_new(json, "plan", spec_write(&spec_plan, &s->plan, false));
    json_object_set_new(json, "problem",
                        s->problem.code ? spec_write(&problem, &s->problem, false)
                                        : json_null());
    return json;
}

static int read_enum(const json_t *json, const char *key, const char *const *names,
                     size_t n)
{
    return tw_name_index(json_string_value(json_object_get(json, key)), names, n);
}

/* A request of ours is read leniently only in one respect: a body without one stays blank. */
static int read_request(struct tw_simulation *s, const json_t *json, struct tw_err *err)
{
    const json_t *request = json_object_get(json, "request");
    int r = 0;

    if (json_is_string(json_object_get(request, "type")))
        r = tw_request_from_json(s->arena, request, &s->request, err);
    if (r < 0)
        return tw_wrap(err, r, "reading the request of a stored simulation");
    return 0;
}

static int read_simulation(struct tw_simulation *s, const json_t *json,
                           struct tw_err *err)
{
    const json_t *part = json_object_get(json, "predicted_impact");
    int status = read_enum(json, "status", tw_status_names, TW_STATUS_COUNT);
    int verdict = read_enum(json, "decision", tw_verdict_names, TW_VERDICT_COUNT);
    int r;

    if (json_integer_value(json_object_get(json, "schema")) != TW_SCHEMA || status < 0)
        return tw_fail(err, -EINVAL, "not a simulation of schema %d", TW_SCHEMA);
    s->status = (enum tw_status)status;
    spec_read(&id_shape, s->arena, json, s);
    spec_read(&times, s->arena, json, s);
    spec_read(&decision, s->arena, json, &s->decision);
    spec_read(&target, s->arena, json_object_get(json, "target_info"), &s->target);
    spec_read(&spec_snapshot_summary, s->arena, json_object_get(json, "snapshot"),
              &s->snapshot);
    spec_read(&spec_plan, s->arena, json_object_get(json, "plan"), &s->plan);
    spec_read(&measured, s->arena, json_object_get(json, "measured"), &s->measured);
    spec_read(&problem, s->arena, json_object_get(json, "problem"), &s->problem);
    s->approval_id =
        tw_arena_strdup(s->arena, json_string_value(json_object_get(json, "approval_id")));
    s->decision.verdict = verdict < 0 ? TW_REVIEW : (enum tw_verdict)verdict;
    if (final_error(s))
        s->error =
            tw_arena_strdup(s->arena, json_string_value(json_object_get(json, "error")));
    s->has_impact = json_is_object(part);
    if (s->has_impact) {
        spec_read(&impact, s->arena, part, &s->impact);
        timeline_from_json(s->arena, json_object_get(part, "timeline"), &s->impact);
    }
    r = read_request(s, json, err);
    return r;
}

int tw_simulation_from_json(const char *json, struct tw_simulation **ret,
                            struct tw_err *err)
{
    tw_auto(tw_simulation) *s = tw_simulation_new();
    json_t *root = NULL;
    int r = tw_json_parse(json, strlen(json), &root, err);

    if (r < 0)
        return r;
    r = read_simulation(s, root, err);
    json_decref(root);
    if (r < 0)
        return r;
    *ret = tw_take_ptr(&s);
    return 0;
}
