/* deployment: another image, command or environment for a container. */
#include "tw/change.h"

#include <ctype.h>
#include <string.h>

/* What may change of a container. Words are split by nobody: a list is given as a list. */
static const struct part {
    const char *name, *what;
    bool object; /* {"NAME": "VALUE"}, or one of them as NAME.KEY */
} parts[] = {
    {"image", "name of an image, \"web:2\"", false},
    {"tag", "another tag of today's image", false},
    {"command", "words after the entrypoint", false},
    {"entrypoint", "the program that is started", false},
    {"user", "as whom it runs", false},
    {"cwd", "where it runs", false},
    {"stop_signal", "what ends it, \"SIGTERM\"", false},
    {"env", "variables; null takes one away", true},
};

static const struct part *part_of(const char *name, const char **ret_key)
{
    for (size_t i = 0; i < TW_COUNT_OF(parts); i++) {
        size_t len = strlen(parts[i].name);

        *ret_key = NULL;
        if (tw_streq(parts[i].name, name))
            return &parts[i];
        if (parts[i].object && strncmp(parts[i].name, name, len) == 0 &&
            name[len] == '.') {
            *ret_key = name + len + 1;
            return &parts[i];
        }
    }
    return NULL;
}

static int unknown_part(const struct tw_setting_change *c, struct tw_err *err)
{
    const char *names[TW_COUNT_OF(parts)], *near;

    for (size_t i = 0; i < TW_COUNT_OF(parts); i++)
        names[i] = parts[i].name;
    near = tw_nearest(c->name, names, TW_COUNT_OF(names));
    return tw_fail_at(err, -EINVAL, c->pointer,
                      "a deployment has no '%s'%s%s%s; it takes image, tag, command, "
                      "entrypoint, user, cwd, stop_signal and env",
                      c->name, near ? "; did you mean '" : "", near ? near : "",
                      near ? "'?" : "");
}

static bool is_variable(const char *name)
{
    return *name && !strchr(name, '=') && !isspace((unsigned char)*name);
}

/* ---- an object of variables, one step for each ---- */

static int add_variables(struct tw_arena *a, const struct tw_setting_change *c,
                         struct tw_plan *ret, struct tw_err *err)
{
    json_auto_t *json = c->value ? json_loads(c->value, 0, NULL) : NULL;
    const char *key;
    json_t *value;

    if (!json_is_object(json))
        return tw_fail_at(err, -EINVAL, c->pointer,
                          "'env' is no object; expected {\"NAME\": \"VALUE\"}, or "
                          "env.NAME=VALUE on a command line");
    json_object_foreach (json, key, value) {
        tw_auto_free char *text = json_is_string(value) || json_is_null(value)
                                      ? NULL
                                      : tw_json_dump(value, JSON_ENCODE_ANY);

        if (!is_variable(key) || json_is_object(value) || json_is_array(value))
            return tw_fail_at(err, -EINVAL, tw_json_pointer(a, c->pointer, key),
                              "variable '%s': expected a name without '=' and a text, a "
                              "number, or null to take it away",
                              key);
        TW_PUSH(a, &ret->steps,
                (struct tw_plan_step){
                    .kind = TW_STEP_VERSION,
                    .name = tw_arena_printf(a, "env.%s", key),
                    .value = json_is_null(value) ? NULL
                             : text              ? tw_arena_strdup(a, text)
                                    : tw_arena_strdup(a, json_string_value(value)),
                    .origin = c->pointer});
    }
    return 0;
}

static int add_part(struct tw_arena *a, const struct tw_setting_change *c,
                    struct tw_plan *ret, struct tw_err *err)
{
    const char *key;
    const struct part *part = part_of(c->name, &key);

    if (!part)
        return unknown_part(c, err);
    if (part->object && !key)
        return add_variables(a, c, ret, err);
    if (key && !is_variable(key))
        return tw_fail_at(err, -EINVAL, c->pointer, "'%s' names no variable", c->name);
    if (!key && (!c->value || !*c->value))
        return tw_fail_at(err, -EINVAL, c->pointer, "'%s' is empty; expected the %s",
                          c->name, part->what);
    if (tw_streq(c->name, "tag") && strpbrk(c->value, ":/@ "))
        return tw_fail_at(err, -EINVAL, c->pointer,
                          "'%s' is no tag; a whole name is an \"image\"", c->value);
    TW_PUSH(a, &ret->steps,
            (struct tw_plan_step){.kind = TW_STEP_VERSION,
                                  .name = c->name,
                                  .value = c->value,
                                  .origin = c->pointer});
    return 0;
}

/* ---- the two callbacks ---- */

static const struct tw_setting_change *find(const struct tw_request *r, const char *name)
{
    for (size_t i = 0; i < r->settings.count; i++)
        if (tw_streq(r->settings.items[i].name, name))
            return &r->settings.items[i];
    return NULL;
}

static int check_target(const struct tw_snapshot *s, const struct tw_request *r,
                        struct tw_err *err)
{
    const struct tw_setting_change *image = find(r, "image"), *tag = find(r, "tag");

    if (!s->containers.count)
        return tw_fail_at(
            err, -EINVAL, "/target",
            "target '%s' is of type '%s' and runs in no container; a "
            "deployment wants a container or a service of a Compose project "
            "(twin env add NAME --type docker)",
            s->target, s->type);
    for (size_t i = 1; i < s->containers.count; i++)
        if (!tw_streq(s->containers.items[i].service, s->containers.items[0].service))
            return tw_fail_at(err, -EINVAL, "/target",
                              "target '%s' is a whole project; name one of its services, "
                              "'%s/%s'",
                              s->target, s->target, s->containers.items[0].service);
    if (r->files.count + r->sql.count)
        return tw_fail_at(err, -EINVAL, "/change",
                          "a deployment takes no files and no SQL: they are a "
                          "config_change or a schema_change of their own");
    if (image && tag)
        return tw_fail_at(err, -EINVAL, tag->pointer,
                          "either 'image' or 'tag', not both: a tag is of today's image");
    return 0;
}

static int check_smoke(const struct tw_request *r, struct tw_err *err)
{
    for (size_t i = 0; i < r->deployment.smoke.list.count; i++) {
        const struct tw_smoke *c = &r->deployment.smoke.list.items[i];

        if (tw_streq(c->kind, "sql") && !c->dsn)
            return tw_fail_at(err, -EINVAL, c->pointer,
                              "check '%s' needs 'dsn', how the service itself connects: "
                              "\"host=db dbname=shop user=app\"",
                              c->name);
    }
    return 0;
}

static int validate(struct tw_arena *a, const struct tw_snapshot *s,
                    const struct tw_request *r, struct tw_issues *issues,
                    struct tw_err *err)
{
    struct tw_plan tried = {0};
    int rc = check_target(s, r, err);

    (void)issues;
    for (size_t i = 0; i < r->settings.count && rc == 0; i++)
        rc = add_part(a, &r->settings.items[i], &tried, err);
    return rc < 0 ? rc : check_smoke(r, err);
}

static int plan(struct tw_arena *a, const struct tw_snapshot *s,
                const struct tw_request *r, struct tw_plan *ret, struct tw_err *err)
{
    int rc = 0;

    (void)s;
    for (size_t i = 0; i < r->settings.count && rc == 0; i++)
        rc = add_part(a, &r->settings.items[i], ret, err);
    for (size_t i = 0; i < r->deployment.smoke.list.count && rc == 0; i++)
        TW_PUSH(
            a, &ret->steps,
            (struct tw_plan_step){.kind = TW_STEP_SMOKE,
                                  .value = r->deployment.smoke.list.items[i].json,
                                  .origin = r->deployment.smoke.list.items[i].pointer});
    ret->rollback = !r->deployment.no_rollback;
    return rc;
}

extern const struct tw_change_type change_type_deployment;
const struct tw_change_type change_type_deployment = {
    .name = "deployment",
    .summary = "another image, tag, command or environment of a container",
    .validate = validate,
    .plan = plan,
};
