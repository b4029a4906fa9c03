/* Plans: what an approval binds. */
#include "spec_internal.h"

static const struct spec_field step_fields[] = {
    {.key = "kind",
     .kind = SPEC_NAME,
     .names = tw_step_kind_names,
     .size = TW_STEP_KIND_COUNT,
     SPEC_AT(tw_plan_step, kind)},
    {.key = "name", .kind = SPEC_TEXT, SPEC_AT(tw_plan_step, name)},
    {.key = "path", .kind = SPEC_TEXT, SPEC_AT(tw_plan_step, path)},
    {.key = "value", .kind = SPEC_TEXT, SPEC_AT(tw_plan_step, value)},
    {.key = "origin", .kind = SPEC_TEXT, SPEC_AT(tw_plan_step, origin)},
};
static const struct spec_shape step_shape = SPEC_SHAPE(tw_plan_step, step_fields);

static const struct spec_field plan_fields[] = {
    {.key = "sha256", .kind = SPEC_CHARS, .size = 65, SPEC_AT(tw_plan, sha256)},
    {.key = "type", .kind = SPEC_TEXT, SPEC_AT(tw_plan, type)},
    {.key = "target", .kind = SPEC_TEXT, SPEC_AT(tw_plan, target)},
    {.key = "environment", .kind = SPEC_TEXT, SPEC_AT(tw_plan, environment)},
    {.key = "steps", .kind = SPEC_LIST, SPEC_AT(tw_plan, steps), .shape = &step_shape},
    {.key = "database", .kind = SPEC_TEXT, SPEC_AT(tw_plan, database)},
    {.key = "needs_restart", .kind = SPEC_BOOL, SPEC_AT(tw_plan, needs_restart)},
    {.key = "twin_memory_bytes",
     .kind = SPEC_INT64,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_plan, twin_memory_bytes)},
    {.key = "twin_cpus", .kind = SPEC_REAL, SPEC_AT(tw_plan, twin_cpus)},
    {.key = "hours", .kind = SPEC_REAL, SPEC_AT(tw_plan, hours)},
    {.key = "scenario", .kind = SPEC_TEXT, SPEC_AT(tw_plan, scenario)},
    {.key = "profile", .kind = SPEC_TEXT, SPEC_AT(tw_plan, profile)},
    {.key = "engine", .kind = SPEC_TEXT, SPEC_AT(tw_plan, engine)},
    {.key = "rate_per_s", .kind = SPEC_REAL, SPEC_AT(tw_plan, rate_per_s)},
    {.key = "seed", .kind = SPEC_UINT64, SPEC_AT(tw_plan, seed)},
    {.key = "budget_seconds", .kind = SPEC_REAL, SPEC_AT(tw_plan, budget_s)},
    {.key = "most_seconds", .kind = SPEC_REAL, SPEC_AT(tw_plan, most_s)},
    {.key = "min_pairs", .kind = SPEC_INT, SPEC_AT(tw_plan, min_pairs)},
    {.key = "min_requests", .kind = SPEC_INT64, SPEC_AT(tw_plan, min_requests)},
    {.key = "mixes", .kind = SPEC_TEXTS, SPEC_AT(tw_plan, mixes)},
    {.key = "clients",
     .kind = SPEC_LIST,
     SPEC_AT(tw_plan, clients),
     .shape = &spec_client},
    {.key = "connections",
     .kind = SPEC_INT,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_plan, connections)},
    {.key = "faults", .kind = SPEC_LIST, SPEC_AT(tw_plan, faults), .shape = &spec_fault},
    {.key = "risk_level", .kind = SPEC_TEXT, SPEC_AT(tw_plan, risk_level)},
    {.key = "security_scan", .kind = SPEC_BOOL, SPEC_AT(tw_plan, scan)},
    {.key = "rollback", .kind = SPEC_BOOL, SPEC_AT(tw_plan, rollback)},
    {.key = "scaling",
     .kind = SPEC_OBJECT,
     SPEC_AT(tw_plan, scaling),
     .shape = &spec_scaling},
};
const struct spec_shape spec_plan = SPEC_SHAPE(tw_plan, plan_fields);

json_t *tw_plan_to_json(const struct tw_plan *p)
{
    return spec_write(&spec_plan, p, false);
}
