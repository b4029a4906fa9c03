/* schema_change: SQL run on the live service: DDL, indexes, migration scripts. */
#include "tw/change.h"
#include "tw/pg.h"

static int check_target(const struct tw_snapshot *s, const struct tw_request *r,
                        struct tw_err *err)
{
    const struct tw_service_kind *kind = tw_service_kind_find(s->type, NULL);

    if (!kind || !tw_streq(kind->protocol, "postgresql") || !kind->holds_data)
        return tw_fail_at(err, -EINVAL, "/target",
                          "target '%s' is of type '%s', which has no schema to change; a "
                          "schema_change wants a PostgreSQL cluster",
                          s->target, s->type);
    if (r->settings.count + r->files.count > 0)
        return tw_fail_at(err, -EINVAL, "/change",
                          "a schema_change takes SQL only; settings and files are a "
                          "config_change of their own");
    if (r->sql.count == 0)
        return tw_fail_at(err, -EINVAL, "/change/sql",
                          "nothing to run: give statements (--sql STATEMENT) or a script "
                          "(--sql-file FILE)");
    return 0;
}

/* A server at rest does not tell its databases: then connecting to the clone does. */
static int check_database(const struct tw_snapshot *s, const struct tw_request *r,
                          struct tw_err *err)
{
    const char *near;

    if (!r->database || s->databases.count == 0 ||
        tw_name_index(r->database, s->databases.items, s->databases.count) >= 0)
        return 0;
    near = tw_nearest(r->database, s->databases.items, s->databases.count);
    return tw_fail_at(err, -EINVAL, "/database", "there is no database '%s'%s%s%s",
                      r->database, near ? "; did you mean '" : "", near ? near : "",
                      near ? "'?" : "");
}

static bool is_settings(const struct tw_pg_script *script)
{
    for (size_t i = 0; i < script->list.count; i++)
        if (!tw_streq(script->list.items[i].node, "AlterSystemStmt"))
            return false;
    return script->list.count > 0;
}

static int split(struct tw_arena *a, const struct tw_request *r, size_t i,
                 struct tw_pg_script *ret, struct tw_err *err)
{
    const char *pointer = tw_arena_printf(a, "/change/sql/%zu", i);
    struct tw_err why = {0};
    int rc = tw_pg_split(a, r->sql.items[i], ret, &why);

    if (rc < 0)
        return tw_fail_at(err, rc, pointer, "%s", why.text);
    if (ret->list.count == 0)
        return tw_fail_at(err, -EINVAL, pointer, "there is no statement in '%.60s'",
                          r->sql.items[i]);
    if (is_settings(ret))
        return tw_fail_at(err, -EINVAL, pointer,
                          "ALTER SYSTEM changes settings: that is a config_change "
                          "(--set \"ALTER SYSTEM …\")");
    return 0;
}

static int validate(struct tw_arena *a, const struct tw_snapshot *s,
                    const struct tw_request *r, struct tw_issues *issues,
                    struct tw_err *err)
{
    int rc = check_target(s, r, err);

    (void)issues;
    if (rc == 0)
        rc = check_database(s, r, err);
    for (size_t i = 0; i < r->sql.count && rc == 0; i++) {
        struct tw_pg_script script;

        rc = split(a, r, i, &script, err);
    }
    return rc;
}

static int plan(struct tw_arena *a, const struct tw_snapshot *s,
                const struct tw_request *r, struct tw_plan *ret, struct tw_err *err)
{
    int rc = 0;

    (void)s;
    ret->database = r->database;
    for (size_t i = 0; i < r->sql.count && rc == 0; i++) {
        struct tw_pg_script script;

        rc = split(a, r, i, &script, err);
        for (size_t k = 0; k < script.list.count && rc == 0; k++) {
            struct tw_plan_step step = {
                .kind = TW_STEP_SQL,
                .value = script.list.items[k].text,
                .origin = tw_arena_printf(a, "/change/sql/%zu line %d", i,
                                          script.list.items[k].line)};

            TW_PUSH(a, &ret->steps, step);
        }
    }
    return rc;
}

extern const struct tw_change_type change_type_schema_change;
const struct tw_change_type change_type_schema_change = {
    .name = "schema_change",
    .summary = "SQL on the live service: DDL, indexes, migration scripts",
    .live = true,
    .validate = validate,
    .plan = plan,
};
