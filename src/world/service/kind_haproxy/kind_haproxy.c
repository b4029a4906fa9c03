/* The row "haproxy". */
#include "kind_haproxy_internal.h"

static const struct tw_service_program programs[] = {
    {"haproxy", "/usr/sbin/haproxy:/usr/local/sbin/haproxy:/usr/bin/haproxy", "haproxy"},
    {0}};

/* Without --config it is the one that runs. */
static int check_declaration(const struct tw_target *t, struct tw_err *err)
{
    (void)t;
    (void)err;
    return 0;
}

static const char *tell_setting(struct tw_arena *a, const struct tw_snapshot *s,
                                const char *name, const char *value)
{
    return host_tell_setting(a, s, name, value, " ", "");
}

static const char *tell_effect(struct tw_arena *a, const struct tw_snapshot *s,
                               bool restart)
{
    return host_tell_effect(a, s, tw_arena_printf(a, "haproxy -c -f %s", s->config_file), "kill -USR2 $(pidof -s haproxy)", restart);
}

extern const struct tw_service_kind kind_haproxy;
const struct tw_service_kind kind_haproxy = {
    .name = "haproxy",
    .summary = "an HAProxy load balancer, running or at rest",
    .driver = "http",
    .protocol = "http",
    .programs = programs,
    .check_declaration = check_declaration,
    .snapshot = haproxy_snapshot,
    .validate = haproxy_validate,
    .plan = haproxy_plan,
    .seed_key = haproxy_seed_key,
    .seed_fill = haproxy_seed_fill,
    .refresh = haproxy_refresh,
    .layout = haproxy_layout,
    .launch = haproxy_launch,
    .ready = haproxy_ready,
    .apply = haproxy_apply,
    .spread = haproxy_spread,
    .tell_setting = tell_setting,
    .tell_effect = tell_effect,
    .judge_start = haproxy_judge_start,
    .judge_reload = haproxy_judge_reload,
    .reload_ended = haproxy_reload_ended,
    .judge_files = haproxy_judge_files,
    .judge_log = haproxy_judge_log,
    .certificates = haproxy_judge_certificates,
};
