/* What a request asks, against what this very server says; and the plan that follows. */
#include "kind_pg_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct tw_setting *find_setting(const struct tw_snapshot *s,
                                             const char *name)
{
    for (size_t i = 0; i < s->settings.count; i++)
        if (strcasecmp(s->settings.items[i].name, name) == 0)
            return &s->settings.items[i];
    return NULL;
}

static const char *nearest_setting(struct tw_arena *a, const struct tw_snapshot *s,
                                   const char *name)
{
    const char **names = tw_arena_alloc(a, (s->settings.count + 1) * sizeof(*names));

    for (size_t i = 0; i < s->settings.count; i++)
        names[i] = s->settings.items[i].name;
    return tw_nearest(name, names, s->settings.count);
}

/* "auto_explain.log_min_duration" of a library that is not loaded is taken by the server
 * as it is; of a loaded one it has to be known. */
static bool is_open_prefix(const struct tw_snapshot *s, const char *name)
{
    const char *dot = strchr(name, '.');

    if (!dot || dot == name || !dot[1])
        return false;
    for (size_t i = 0; i < s->settings.count; i++)
        if (strncasecmp(s->settings.items[i].name, name, (size_t)(dot - name) + 1) == 0)
            return false;
    return true;
}

static int unknown(struct tw_arena *a, const struct tw_snapshot *s,
                   const struct tw_setting_change *c, struct tw_err *err)
{
    const char *near = nearest_setting(a, s, c->name);

    return tw_fail_at(
        err, -EINVAL, c->pointer,
        "unrecognized configuration parameter \"%s\" for PostgreSQL %s%s%s%s", c->name,
        s->version, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static int check_change(struct tw_arena *a, const struct tw_snapshot *s,
                        const struct tw_setting_change *c, struct tw_err *err)
{
    const struct tw_setting *known = find_setting(s, c->name);
    struct tw_err why;

    if (!known)
        return is_open_prefix(s, c->name) ? 0 : unknown(a, s, c, err);
    if (tw_streq(known->context, "internal"))
        return tw_fail_at(
            err, -EINVAL, c->pointer,
            "parameter \"%s\" cannot be changed: it is fixed when the cluster or "
            "the server is built",
            c->name);
    if (tw_streq(known->name, "data_directory") || tw_streq(known->name, "config_file"))
        return tw_fail_at(
            err, -EINVAL, c->pointer,
            "parameter \"%s\" names where the cluster is; a twin stays where its "
            "clone is",
            c->name);
    if (c->value && kind_pg_check_value(known, c->value, &why) < 0)
        return tw_fail_at(err, -EINVAL, c->pointer, "%s", why.text);
    return 0;
}

static int check_duplicates(const struct tw_request *r, struct tw_err *err)
{
    for (size_t i = 0; i < r->settings.count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcasecmp(r->settings.items[i].name, r->settings.items[j].name) == 0)
                return tw_fail_at(
                    err, -EINVAL, r->settings.items[i].pointer,
                    "parameter \"%s\" is given twice: \"%s\" and \"%s\"",
                    r->settings.items[i].name,
                    r->settings.items[j].value ? r->settings.items[j].value : "RESET",
                    r->settings.items[i].value ? r->settings.items[i].value : "RESET");
    return 0;
}

static bool belongs_to_clone(const struct tw_snapshot *s, const char *path)
{
    tw_auto_free char *below = tw_strf("%s/", s->data_dir);

    if (tw_starts_with(path, below))
        return true;
    for (size_t i = 0; i < s->files.count; i++)
        if (tw_streq(s->files.items[i].path, path))
            return true;
    return false;
}

static int check_files(struct tw_arena *a, const struct tw_snapshot *s,
                       const struct tw_request *r, struct tw_err *err)
{
    for (size_t i = 0; i < r->files.count; i++) {
        const char *path = r->files.items[i].path;

        if (!path)
            continue;
        path = kind_pg_path_of(a, s, path);
        if (strstr(path, "/../"))
            return tw_fail(err, -EINVAL, "file '%s': a path without '..' was expected",
                           path);
        if (!belongs_to_clone(s, path))
            return tw_fail(
                err, -EINVAL,
                "file '%s' does not belong to the target; its configuration is '%s' "
                "and what that includes, '%s', and files below '%s'",
                path, s->config_file, s->hba_file, s->data_dir);
    }
    return 0;
}

int kind_pg_validate(struct tw_arena *a, const struct tw_snapshot *s,
                     const struct tw_request *r, struct tw_issues *issues,
                     struct tw_err *err)
{
    int rc = check_duplicates(r, err);

    for (size_t i = 0; i < r->settings.count && rc == 0; i++) {
        const struct tw_setting_change *c = &r->settings.items[i];

        rc = check_change(a, s, c, err);
        if (rc == 0 && !find_setting(s, c->name))
            tw_issue_add(
                a, issues, TW_LOW, TW_PROCEED, "setting.placeholder",
                tw_arena_printf(a, "%s belongs to a library that is not loaded", c->name),
                "the server keeps such a value as it is and checks nothing of it",
                "load the library (shared_preload_libraries), or check the spelling");
    }
    return rc < 0 ? rc : check_files(a, s, r, err);
}

/* ---- the plan ---- */

static const struct {
    const char *name;
    size_t offset; /* of the path in the snapshot */
} usual_names[] = {{"postgresql.conf", offsetof(struct tw_snapshot, config_file)},
                   {"pg_hba.conf", offsetof(struct tw_snapshot, hba_file)},
                   {"pg_ident.conf", offsetof(struct tw_snapshot, ident_file)}};

const char *kind_pg_path_of(struct tw_arena *a, const struct tw_snapshot *s,
                            const char *path)
{
    for (size_t i = 0; i < TW_COUNT_OF(usual_names); i++)
        if (tw_streq(path, usual_names[i].name))
            return *(const char *const *)((const char *)s + usual_names[i].offset);
    return *path == '/' ? path : tw_arena_printf(a, "%s/%s", s->data_dir, path);
}

const char *kind_pg_fragment_path(struct tw_arena *a, const struct tw_snapshot *s, int n)
{
    const char *slash = strrchr(s->config_file, '/');

    return tw_arena_printf(a, "%.*s/twin-change-%d.conf", (int)(slash - s->config_file),
                           s->config_file, n + 1);
}

static bool restarts_for(const struct tw_snapshot *s, const char *name)
{
    const struct tw_setting *known = find_setting(s, name);

    return known && tw_streq(known->context, "postmaster");
}

static void add_setting(struct tw_arena *a, const struct tw_snapshot *s,
                        const struct tw_setting_change *c, struct tw_plan *plan)
{
    const struct tw_setting *known = find_setting(s, c->name);
    struct tw_plan_step step = {.kind = TW_STEP_SETTING,
                                .name = known ? known->name : c->name,
                                .value = c->value,
                                .origin = c->pointer};

    TW_PUSH(a, &plan->steps, step);
    if (restarts_for(s, c->name))
        plan->needs_restart = true;
}

static void add_file(struct tw_arena *a, const struct tw_snapshot *s,
                     const struct tw_file_change *f, int *fragments, struct tw_plan *plan)
{
    struct tw_plan_step step = {.kind = !f->path    ? TW_STEP_FRAGMENT
                                        : f->append ? TW_STEP_APPEND
                                                    : TW_STEP_FILE,
                                .value = f->content,
                                .origin = f->origin};
    struct tw_pg_assignments lines;

    step.path = f->path ? kind_pg_path_of(a, s, f->path)
                        : kind_pg_fragment_path(a, s, (*fragments)++);
    TW_PUSH(a, &plan->steps, step);
    if (tw_streq(step.path, s->hba_file) || tw_streq(step.path, s->ident_file))
        return;
    /* Contexts of what the text sets; lines that cannot be read are the server's to
     * judge. */
    if (tw_pg_parse_assignments(a, f->content, &lines, NULL) < 0)
        return;
    for (size_t i = 0; i < lines.list.count; i++) {
        const struct tw_setting *known = find_setting(s, lines.list.items[i].name);

        if (known && tw_streq(known->context, "postmaster") &&
            !tw_streq(known->value, lines.list.items[i].value))
            plan->needs_restart = true;
    }
}

int kind_pg_plan(struct tw_arena *a, const struct tw_snapshot *s,
                 const struct tw_request *r, struct tw_plan *plan, struct tw_err *err)
{
    int fragments = 0;

    if (r->settings.count + r->files.count == 0)
        return tw_fail_at(
            err, -EINVAL, "/change",
            "nothing to change: give settings (--set NAME=VALUE) or a file");
    for (size_t i = 0; i < r->settings.count; i++)
        add_setting(a, s, &r->settings.items[i], plan);
    for (size_t i = 0; i < r->files.count; i++)
        add_file(a, s, &r->files.items[i], &fragments, plan);
    return 0;
}
