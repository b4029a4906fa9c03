/* Targets: what an environment declares. */
#include "spec_internal.h"

static const struct spec_field target_fields[] = {
    {.key = "environment", .kind = SPEC_TEXT, SPEC_AT(tw_target, environment)},
    {.key = "name", .kind = SPEC_TEXT, .flags = SPEC_REQUIRED, SPEC_AT(tw_target, name)},
    {.key = "type", .kind = SPEC_TEXT, .flags = SPEC_REQUIRED, SPEC_AT(tw_target, type)},
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
    {.key = "data_dir", .kind = SPEC_TEXT, SPEC_AT(tw_target, data_dir)},
    {.key = "dsn", .kind = SPEC_TEXT, SPEC_AT(tw_target, dsn)},
    {.key = "file", .kind = SPEC_TEXT, SPEC_AT(tw_target, file)},
    {.key = "config", .kind = SPEC_TEXT, SPEC_AT(tw_target, config)},
    {.key = "project", .kind = SPEC_TEXT, SPEC_AT(tw_target, project)},
    {.key = "container", .kind = SPEC_TEXT, SPEC_AT(tw_target, container)},
    {.key = "memory",
     .kind = SPEC_BYTES,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_target, memory_bytes)},
    {.key = "cpus",
     .kind = SPEC_CORES,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_target, cpus)},
};
static const struct spec_shape target_shape = SPEC_SHAPE(tw_target, target_fields);

json_t *tw_target_to_json(const struct tw_target *t)
{
    return spec_write(&target_shape, t, true);
}

int tw_target_from_json(struct tw_arena *a, const json_t *json,
                        struct tw_target *ret_target, struct tw_err *err)
{
    struct tw_target target = {0};
    int r = spec_read_strict(&target_shape, a, json, "", NULL, 0, &target, err);

    if (r < 0)
        return r;
    *ret_target = target;
    return 0;
}
