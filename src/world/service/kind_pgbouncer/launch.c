/* How a pooler stands in a sandbox, how it is started there, and how a change is made in it. */
#include "kind_pgb_internal.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the plan ---- */

int kind_pgb_plan(struct tw_arena *a, const struct tw_snapshot *s,
                  const struct tw_request *r, struct tw_plan *plan, struct tw_err *err)
{
    for (size_t i = 0; i < r->settings.count; i++) {
        const struct tw_setting_change *c = &r->settings.items[i];
        struct tw_plan_step step = {.kind = TW_STEP_SETTING,
                                    .name = c->name,
                                    .value = c->value,
                                    .origin = c->pointer};

        TW_PUSH(a, &plan->steps, step);
        plan->needs_restart |= host_unit_is_setting(c->name);
        for (size_t k = 0; k < s->settings.count; k++)
            if (strcasecmp(s->settings.items[k].name, c->name) == 0)
                plan->needs_restart |=
                    tw_streq(s->settings.items[k].context, "postmaster");
    }
    return host_plan_files(a, s, r, s->config_file, plan, err);
}

/* ---- trees ---- */

const char *kind_pgb_seed_key(struct tw_arena *a, const struct tw_snapshot *s)
{
    char *what =
        tw_arena_printf(a, "%s/%s/%s", s->environment, s->target, s->config_file);
    char hex[65];

    tw_sha256_hex(what, strlen(what), hex);
    return tw_arena_printf(a, "pgbouncer-%.20s", hex);
}

static const struct host_outside outside[] = {
    {"auth_file", HOST_FILE},
    {"auth_hba_file", HOST_FILE},
    {"client_tls_key_file", HOST_FILE},
    {"client_tls_cert_file", HOST_FILE},
    {"client_tls_ca_file", HOST_FILE},
    {"server_tls_key_file", HOST_FILE},
    {"server_tls_cert_file", HOST_FILE},
    {"server_tls_ca_file", HOST_FILE},
    {"resolv_conf", HOST_FILE},
    {"unix_socket_dir", HOST_DIRECTORY},
    {"logfile", HOST_PARENT},
    {"pidfile", HOST_PARENT},
};

int kind_pgb_refresh(struct tw_arena *a, const struct tw_target *t,
                     const struct tw_snapshot *s, const struct tw_plan *plan,
                     const char *root, unsigned uid, unsigned gid,
                     struct tw_issues *differences, struct tw_err *err)
{
    struct host_things things;
    int r;

    (void)t;
    host_things_find(a, outside, TW_COUNT_OF(outside), s, plan, &things);
    r = host_things_copy(&things, s, root, uid, gid, err);
    if (r == 0)
        tw_issue_add(a, differences, TW_INFO, TW_PROCEED, "twin.harmless",
                     "passwords of its users are others in the twin",
                     "those that the roles have in clones of the servers behind; secrets "
                     "for SCRAM "
                     "alone become passwords",
                     NULL);
    return r < 0 ? r : pgb_own_secrets(a, root, s, uid, gid, err);
}

int kind_pgb_seed_fill(struct tw_arena *a, const struct tw_target *t,
                       const struct tw_snapshot *s, const char *seed_root, unsigned uid,
                       unsigned gid, struct tw_issues *differences, struct tw_err *err)
{
    return kind_pgb_refresh(a, t, s, NULL, seed_root, uid, gid, differences, err);
}

/* Names of servers are those of the target's host; a twin has no resolver of its own. */
static void add_hosts(struct tw_arena *a, const struct tw_snapshot *s,
                      struct tw_layout *l)
{
    for (size_t i = 0; i < s->neighbours.count; i++) {
        const struct tw_neighbour *n = &s->neighbours.items[i];

        if (n->resolved && strcmp(n->address, "localhost") != 0)
            TW_PUSH(a, &l->hosts,
                    (struct tw_host_name){
                        n->address,
                        tw_arena_strndup(a, n->resolved, strcspn(n->resolved, ","))});
    }
}

int kind_pgb_layout(struct tw_arena *a, const struct tw_snapshot *s,
                    const struct tw_plan *plan, const char *root, struct tw_layout *ret,
                    struct tw_err *err)
{
    struct tw_layout l = {.runtime_dir = "/tw"};
    struct host_things things;

    (void)err;
    host_things_find(a, outside, TW_COUNT_OF(outside), s, plan, &things);
    host_things_layout(a, &things, s, root, &l);
    for (size_t i = 0; i < s->endpoints.count; i++)
        if (*s->endpoints.items[i].address != '/')
            host_layout_address(a, &l, s->endpoints.items[i].address);
    for (size_t i = 0; plan && i < plan->steps.count; i++)
        if (plan->steps.items[i].name &&
            strcasecmp(plan->steps.items[i].name, "listen_addr") == 0)
            host_layout_found(a, &l, plan->steps.items[i].value);
    add_hosts(a, s, &l);
    *ret = l;
    return 0;
}

/* ---- start ---- */

#define BEGAN "/began" /* how long the log was when it was started */

static int note_begin(struct tw_arena *a, const struct tw_access *x, struct tw_err *err)
{
    tw_auto_free char *log = tw_strf("%s/log", x->runtime);
    unsigned uid = 0, gid = 0;
    struct stat st;
    int r = host_owner(x, &uid, &gid, err);

    if (r < 0)
        return r;
    return host_put_file(
        x->runtime, BEGAN,
        tw_arena_printf(a, "%lld\n", stat(log, &st) == 0 ? (long long)st.st_size : 0LL),
        0600, uid, gid, err);
}

int kind_pgb_launch(struct tw_arena *a, const struct tw_access *access,
                    enum tw_start_mode mode, struct tw_launch *ret, struct tw_err *err)
{
    const struct tw_snapshot *s = access->snapshot;
    struct tw_launch l = {.stop_signal = SIGTERM, .reload_signal = SIGHUP, .cwd = "/"};

    if (mode == TW_START_ASK)
        return tw_fail(err, -ENODATA, "pgbouncer cannot check itself without a start");
    TW_PUSH(a, &l.argv, s->program);
    TW_PUSH(a, &l.argv, s->config_file);
    TW_PUSH(a, &l.argv, NULL);
    TW_PUSH(a, &l.env, "PATH=/usr/bin:/bin");
    TW_PUSH(a, &l.env, "LC_ALL=C.UTF-8");
    TW_PUSH(a, &l.env, NULL);
    host_launch_limits(a, access, &l);
    *ret = l;
    return note_begin(a, access, err);
}

/* In front it writes to us beside its own log: "process up" once all sockets are there, and only what
 * it says since this start counts. */
enum tw_ready kind_pgb_ready(const struct tw_access *access)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const char *log = host_text(a, access->runtime, "/log");
    size_t from = (size_t)strtoull(host_text(a, access->runtime, BEGAN), NULL, 10);

    return strlen(log) > from && strstr(log + from, "process up: PgBouncer") ? TW_READY
                                                                             : TW_NOT_YET;
}

/* ---- a change ---- */

/* The file in which the last line of that name stands; else the main one. */
static const char *file_of(struct tw_arena *a, const struct tw_access *x,
                           const char *name)
{
    const struct pgb_entry *e;
    struct pgb_ini ini;

    pgb_ini_read(a, x->root, x->snapshot->config_file, &ini);
    e = pgb_ini_last(&ini, name);
    return e ? e->file : x->snapshot->config_file;
}

static int apply(struct tw_arena *a, const struct tw_access *access,
                 const struct tw_plan_step *step, unsigned uid, unsigned gid,
                 struct tw_err *err)
{
    const struct tw_snapshot *s = access->snapshot;
    const char *path;

    if (step->kind != TW_STEP_SETTING)
        return host_apply_file(a, access, step, err);
    if (host_unit_is_setting(step->name))
        return host_unit_set(a, access->root, s->unit, step->name, step->value, uid, gid,
                             err);
    path = file_of(a, access, step->name);
    return host_put_file(
        access->root, path,
        pgb_ini_set(a, host_text(a, access->root, path), step->name, step->value), 0640,
        uid, gid, err);
}

int kind_pgb_apply(struct tw_arena *a, const struct tw_access *access,
                   const struct tw_plan_step *step, struct tw_err *err)
{
    unsigned uid = 0, gid = 0;
    int r = host_owner(access, &uid, &gid, err);

    if (r == 0)
        r = apply(a, access, step, uid, gid, err);
    /* what the change brings of passwords is the target's too */
    return r < 0 ? r : pgb_own_secrets(a, access->root, access->snapshot, uid, gid, err);
}

int kind_pgb_limits(struct tw_arena *a, const struct tw_access *access,
                    struct tw_service_limits *ret, struct tw_err *err)
{
    struct pgb_ini ini;

    (void)err;
    pgb_ini_read(a, access->root, access->snapshot->config_file, &ini);
    *ret = (struct tw_service_limits){NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    ret->max_connections = atof(pgb_ini_value(&ini, "max_client_conn", "100"));
    ret->reserved_connections = 0;
    return 0;
}
