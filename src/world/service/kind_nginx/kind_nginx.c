/* The row "nginx". */
#include "kind_nginx_internal.h"

static const struct tw_service_program programs[] = {
    {"nginx",
     "/usr/sbin/nginx:/usr/local/sbin/nginx:/usr/local/nginx/sbin/nginx:/usr/bin/nginx",
     "nginx"},
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
    return host_tell_setting(a, s, name, value, " ", ";");
}

static const char *tell_effect(struct tw_arena *a, const struct tw_snapshot *s,
                               bool restart)
{
    return host_tell_effect(a, s, tw_arena_printf(a, "nginx -t -c %s", s->config_file), tw_arena_printf(a, "nginx -s reload -c %s", s->config_file), restart);
}

extern const struct tw_service_kind kind_nginx;
const struct tw_service_kind kind_nginx = {
    .name = "nginx",
    .summary = "an nginx web server or proxy, running or at rest",
    .driver = "http",
    .protocol = "http",
    .programs = programs,
    .check_declaration = check_declaration,
    .snapshot = nginx_snapshot,
    .validate = nginx_validate,
    .plan = nginx_plan,
    .seed_key = nginx_seed_key,
    .seed_fill = nginx_seed_fill,
    .refresh = nginx_refresh,
    .layout = nginx_layout,
    .launch = nginx_launch,
    .ready = nginx_ready,
    .apply = nginx_apply,
    .spread = nginx_spread,
    .tell_setting = tell_setting,
    .tell_effect = tell_effect,
    .judge_start = nginx_judge_start,
    .judge_reload = nginx_judge_reload,
    .reload_ended = nginx_reload_ended,
    .judge_files = nginx_judge_files,
    .judge_log = nginx_judge_log,
    .certificates = nginx_judge_certificates,
};
