/* The row "pgbouncer". */
#include "kind_pgb_internal.h"

static const struct tw_service_program programs[] = {
    {"pgbouncer", "/usr/sbin/pgbouncer:/usr/bin/pgbouncer:/usr/local/bin/pgbouncer",
     "pgbouncer"},
    {0}};

static int check_declaration(const struct tw_target *t, struct tw_err *err)
{
    return t->config ? 0
                     : tw_fail(err, -EINVAL,
                               "target '%s' needs --config /etc/pgbouncer/pgbouncer.ini",
                               t->name);
}

static const char *tell_setting(struct tw_arena *a, const struct tw_snapshot *s,
                                const char *name, const char *value)
{
    return host_tell_setting(a, s, name, value, " = ", "");
}

static const char *tell_effect(struct tw_arena *a, const struct tw_snapshot *s,
                               bool restart)
{
    return host_tell_effect(a, s, NULL, tw_arena_printf(a, "psql -p %d -U pgbouncer -c RELOAD pgbouncer", s->port), restart);
}

extern const struct tw_service_kind kind_pgbouncer;
const struct tw_service_kind kind_pgbouncer = {
    .name = "pgbouncer",
    .summary = "a PgBouncer before PostgreSQL",
    .driver = "postgresql",
    .protocol = "postgresql",
    .programs = programs,
    .check_declaration = check_declaration,
    .snapshot = kind_pgb_snapshot,
    .validate = kind_pgb_validate,
    .plan = kind_pgb_plan,
    .seed_key = kind_pgb_seed_key,
    .seed_fill = kind_pgb_seed_fill,
    .refresh = kind_pgb_refresh,
    .limits = kind_pgb_limits,
    .layout = kind_pgb_layout,
    .launch = kind_pgb_launch,
    .ready = kind_pgb_ready,
    .apply = kind_pgb_apply,
    .tell_setting = tell_setting,
    .tell_effect = tell_effect,
    .judge_start = kind_pgb_judge_start,
    .judge_reload = kind_pgb_judge_reload,
    .judge_files = kind_pgb_judge_files,
    .judge_log = kind_pgb_judge_log,
};
