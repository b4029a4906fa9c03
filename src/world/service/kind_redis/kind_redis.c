/* The row "redis". */
#include "kind_redis_internal.h"

static const struct tw_service_program programs[] = {
    {"redis-server",
     "/usr/bin/redis-server:/usr/local/bin/redis-server:/opt/redis*/bin/redis-server",
     "redis-server"},
    {0}};

static int check_declaration(const struct tw_target *t, struct tw_err *err)
{
    return t->config || t->dsn
               ? 0
               : tw_fail(err, -EINVAL,
                         "target '%s' needs --config /etc/redis/redis.conf, or --dsn "
                         "redis://host:port for one that runs, or both",
                         t->name);
}

/* CONFIG SET is taken at once, and CONFIG REWRITE has it hold; the unit is systemd's. */
static const char *tell_setting(struct tw_arena *a, const struct tw_snapshot *s,
                                const char *name, const char *value)
{
    if (host_unit_is_setting(name))
        return host_tell_setting(a, s, name, value, "", "");
    return value ? tw_arena_printf(a, "redis-cli -p %d CONFIG SET %s '%s'", s->port, name, value)
                 : tw_arena_printf(a, "editor %s   # without the line of %s",
                                   s->config_file ? s->config_file : "redis.conf", name);
}

static const char *tell_effect(struct tw_arena *a, const struct tw_snapshot *s,
                               bool restart)
{
    return restart ? host_tell_effect(a, s, NULL, NULL, true)
                   : tw_arena_printf(a, "redis-cli -p %d CONFIG REWRITE", s->port);
}

extern const struct tw_service_kind kind_redis;
const struct tw_service_kind kind_redis = {
    .name = "redis",
    .summary = "a Redis server, versions 6 and 7",
    .driver = "redis",
    .protocol = "redis",
    .programs = programs,
    .holds_data = true,
    .check_declaration = check_declaration,
    .snapshot = kind_redis_snapshot,
    .pulse = kind_redis_pulse,
    .pulse_end = kind_redis_pulse_end,
    .validate = kind_redis_validate,
    .plan = kind_redis_plan,
    .seed_key = kind_redis_seed_key,
    .seed_fill = kind_redis_seed_fill,
    .refresh = kind_redis_refresh,
    .complete = kind_redis_complete,
    .limits = kind_redis_limits,
    .requests = kind_redis_requests,
    .layout = kind_redis_layout,
    .launch = kind_redis_launch,
    .ready = kind_redis_ready,
    .apply = kind_redis_apply,
    .reload = kind_redis_reload,
    .tell_setting = tell_setting,
    .tell_effect = tell_effect,
    .judge_start = kind_redis_judge_start,
    .judge_reload = kind_redis_judge_reload,
    .judge_files = kind_redis_judge_files,
    .judge_log = kind_redis_judge_log,
    .holdings = kind_redis_holdings,
};
