/* What a request asks, against what this very program says of its settings; and the plan. */
#include "kind_redis_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct tw_setting *find(const struct tw_snapshot *s, const char *name)
{
    for (size_t i = 0; i < s->settings.count; i++)
        if (strcasecmp(s->settings.items[i].name, name) == 0)
            return &s->settings.items[i];
    return NULL;
}

static int unknown(struct tw_arena *a, const struct tw_snapshot *s,
                   const struct tw_setting_change *c, struct tw_err *err)
{
    const char **names = tw_arena_alloc(a, (s->settings.count + 1) * sizeof(*names));
    const char *near;

    for (size_t i = 0; i < s->settings.count; i++)
        names[i] = s->settings.items[i].name;
    near = tw_nearest(c->name, names, s->settings.count);
    return tw_fail_at(err, -EINVAL, c->pointer, "Redis %s knows no setting '%s'%s%s%s",
                      s->version ? s->version : "", c->name,
                      near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* What no scratch can try is still a number within its range. */
static const char *outside_range(struct tw_arena *a, const struct tw_setting *known,
                                 const char *value)
{
    int64_t n, min, max;

    if (!tw_streq(known->type, "integer") || !known->min || !known->max)
        return NULL;
    if (tw_parse_int64(value, &n, NULL) < 0)
        return "argument couldn't be parsed into an integer";
    if (tw_parse_int64(known->min, &min, NULL) < 0 ||
        tw_parse_int64(known->max, &max, NULL) < 0 || (n >= min && n <= max))
        return NULL;
    return tw_arena_printf(a, "argument must be between %s and %s inclusive", known->min,
                           known->max);
}

static int check_one(struct tw_arena *a, const struct tw_snapshot *s,
                     struct redis_scratch *scratch, const struct tw_setting_change *c,
                     struct tw_err *err)
{
    const struct tw_setting *known = find(s, c->name);
    const char *said;
    int64_t files;

    if (host_unit_is_setting(c->name)) {
        if (strstr(c->name, "NOFILE") &&
            (!c->value || tw_parse_int64(c->value, &files, NULL) < 0 || files <= 0))
            return tw_fail_at(err, -EINVAL, c->pointer,
                              "setting '%s': a number of files was expected", c->name);
        return 0;
    }
    if (redis_conf_is_file_only(c->name))
        return 0;
    if (!known)
        return unknown(a, s, c, err);
    said = c->value ? redis_scratch_refuses(scratch, a, known, c->value, NULL) : NULL;
    if (c->value && !said && redis_is_of_host(known->name))
        said = outside_range(a, known, c->value);
    return said ? tw_fail_at(err, -EINVAL, c->pointer, "setting '%s' = '%s': %s",
                             known->name, tw_redact_value(NULL, a, known->name, c->value),
                             said)
                : 0;
}

int kind_redis_validate(struct tw_arena *a, const struct tw_snapshot *s,
                        const struct tw_request *r, struct tw_issues *issues,
                        struct tw_err *err)
{
    tw_auto(redis_scratch) *scratch = NULL;
    int rc = host_check_request(a, s, r, err);

    (void)issues;
    if (rc == 0 && r->settings.count)
        rc = redis_scratch_open(a, s->program, s->owner_uid, s->owner_gid, &scratch, err);
    for (size_t i = 0; i < r->settings.count && rc == 0; i++)
        rc = check_one(a, s, scratch, &r->settings.items[i], err);
    return rc;
}

static bool restarts_for(const struct tw_snapshot *s, const char *name)
{
    const struct tw_setting *known = find(s, name);

    return !known || tw_streq(known->context, "postmaster");
}

int kind_redis_plan(struct tw_arena *a, const struct tw_snapshot *s,
                    const struct tw_request *r, struct tw_plan *plan, struct tw_err *err)
{
    for (size_t i = 0; i < r->settings.count; i++) {
        const struct tw_setting_change *c = &r->settings.items[i];
        const struct tw_setting *known = find(s, c->name);
        struct tw_plan_step step = {.kind = TW_STEP_SETTING,
                                    .name = known ? known->name : c->name,
                                    .value = c->value,
                                    .origin = c->pointer};

        TW_PUSH(a, &plan->steps, step);
        plan->needs_restart |= restarts_for(s, step.name);
    }
    /* The file is read once, at start. */
    plan->needs_restart |= r->files.count > 0;
    return host_plan_files(a, s, r, s->config_file, plan, err);
}
