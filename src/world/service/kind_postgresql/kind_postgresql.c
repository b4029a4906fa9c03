/* The row "postgresql". */
#include "kind_pg_internal.h"

static const struct tw_service_program programs[] = {
    {"postgres",
     "/usr/lib/postgresql/*/bin/postgres:/usr/pgsql-*/bin/postgres:/usr/local/pgsql/bin/"
     "postgres:/usr/libexec/postgresql*/postgres:/usr/bin/postgres",
     "postgresql-15 (the target's major version)"},
    {0}};

static int check_declaration(const struct tw_target *t, struct tw_err *err)
{
    return t->data_dir || t->dsn
               ? 0
               : tw_fail(err, -EINVAL,
                         "target '%s' needs --data-dir DIR, or --dsn 'host=… dbname=…', "
                         "or both",
                         t->name);
}

extern const struct tw_service_kind kind_postgresql;
const struct tw_service_kind kind_postgresql = {
    .name = "postgresql",
    .summary = "a PostgreSQL cluster, versions 12 to 18",
    .driver = "postgresql",
    .protocol = "postgresql",
    .programs = programs,
    .holds_data = true,
    .superuser_entrance = true,
    .check_declaration = check_declaration,
    .snapshot = kind_pg_snapshot,
    .pulse = kind_pg_pulse,
    .pulse_end = kind_pg_pulse_end,
    .validate = kind_pg_validate,
    .plan = kind_pg_plan,
    .seed_key = kind_pg_seed_key,
    .seed_fill = kind_pg_seed_fill,
    .refresh = kind_pg_refresh,
    .settle = kind_pg_settle,
    .complete = kind_pg_complete,
    .limits = kind_pg_limits,
    .answers = kind_pg_answers,
    .standing = kind_pg_standing,
    .requests = kind_pg_requests,
    .certificates = kind_pg_certificates,
    .conninfo = kind_pg_conninfo,
    .season = kind_pg_season,
    .layout = kind_pg_layout,
    .launch = kind_pg_launch,
    .ready = kind_pg_ready,
    .apply = kind_pg_apply,
    .judge_start = kind_pg_judge_start,
    .judge_reload = kind_pg_judge_reload,
    .judge_files = kind_pg_judge_files,
    .judge_log = kind_pg_judge_log,
};
