/* How it is started in a sandbox, how it is entered there, and how a change is made in it. */
#include "kind_redis_internal.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define ENTER_NS (3 * TW_SEC_NS)

/* ---- start ---- */

static void push(struct tw_arena *a, struct tw_launch *l, const char *name,
                 const char *value)
{
    TW_PUSH(a, &l->argv, name);
    TW_PUSH(a, &l->argv, value);
}

static void push_options(struct tw_arena *a, const char *const *argv, size_t n,
                         struct tw_launch *l)
{
    static const char *const ours[] = {"--daemonize", "--supervised", "--logfile",
                                       "--pidfile"};
    size_t i = 1;

    while (i < n && !tw_starts_with(argv[i], "--"))
        i++;
    while (i < n) {
        bool skip = tw_name_index(argv[i], ours, TW_COUNT_OF(ours)) >= 0;

        do {
            if (!skip)
                TW_PUSH(a, &l->argv, argv[i]);
            i++;
        } while (i < n && !tw_starts_with(argv[i], "--"));
    }
}

/* What its unit, or the Engine, says behind the configuration file, which wins over it. */
static void own_options(struct tw_arena *a, const struct tw_access *x,
                        struct tw_launch *l)
{
    struct host_command kept;
    struct host_unit u;

    host_command_kept(a, x->root, &kept);
    push_options(a, kept.argv.items, kept.argv.count, l);
    if (x->snapshot->unit && host_unit_read(a, x->root, x->snapshot->unit, &u))
        push_options(a, (const char *const *)u.argv.items, u.argv.count, l);
}

/* Its own socket where it has one: a second is not added, so that what is wrong with the first is
 * seen. */
static const char *own_socket(struct tw_arena *a, const struct redis_conf *conf)
{
    const char *path = host_path(a, redis_conf_value(a, conf, "unixsocket", ""));

    return *path == '/' ? path : NULL;
}

static bool names_acl_file(struct tw_arena *a, const struct redis_conf *conf)
{
    return *redis_conf_value(a, conf, "aclfile", "") != '\0';
}

static void forget_applied(const struct tw_access *x);

int kind_redis_launch(struct tw_arena *a, const struct tw_access *access,
                      enum tw_start_mode mode, struct tw_launch *ret, struct tw_err *err)
{
    const struct tw_snapshot *s = access->snapshot;
    struct tw_launch l = {.stop_signal = SIGTERM, .cwd = s->data_dir};
    struct redis_conf conf;

    if (mode == TW_START_ASK)
        return tw_fail(err, -ENODATA, "redis-server cannot check itself without a start");
    forget_applied(access);
    redis_conf_read(a, access->root, s->config_file, &conf);
    TW_PUSH(a, &l.argv, s->program);
    TW_PUSH(a, &l.argv, s->config_file);
    own_options(a, access, &l);
    /* It stays in front and writes to us; where its own log goes is judged from the files. */
    push(a, &l, "--daemonize", "no");
    push(a, &l, "--supervised", "no");
    push(a, &l, "--logfile", "");
    if (!own_socket(a, &conf))
        push(a, &l, "--unixsocket", "/tw/" KIND_REDIS_SOCKET);
    if (s->version_num >= KIND_REDIS_ACL && !names_acl_file(a, &conf)) {
        push(a, &l, "--user", KIND_REDIS_USER);
        push(a, &l, "on", "nopass");
        push(a, &l, "~*", "&*");
        TW_PUSH(a, &l.argv, "+@all");
    }
    TW_PUSH(a, &l.argv, NULL);
    TW_PUSH(a, &l.env, "PATH=/usr/bin:/bin");
    TW_PUSH(a, &l.env, "LC_ALL=C.UTF-8");
    TW_PUSH(a, &l.env, NULL);
    host_launch_limits(a, access, &l);
    *ret = l;
    return 0;
}

/* ---- entering ---- */

static int open_own(struct tw_arena *a, const struct tw_access *x, const char *own,
                    struct redis_where *w, int64_t deadline_ns, struct redis_link **ret,
                    struct tw_err *err)
{
    tw_auto_free char *host = tw_strf("%s%s", x->root, host_parent(a, own));
    tw_auto_close int dir = open(host, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return tw_fail_errno(err, errno, "'%s'", host_parent(a, own));
    w->socket = tw_arena_printf(a, "/proc/self/fd/%d/%s", dir, strrchr(own, '/') + 1);
    return redis_link_open(w, deadline_ns, ret, err);
}

/* By its own socket or by ours: the file may have been changed since it was started. */
static int open_link(struct tw_arena *a, const struct tw_access *x, int64_t deadline_ns,
                     struct redis_link **ret, struct tw_err *err)
{
    struct redis_where w = {0};
    struct redis_conf conf;
    const char *own;

    redis_conf_read(a, x->root, x->snapshot->config_file, &conf);
    own = own_socket(a, &conf);
    w.password = redis_conf_value(a, &conf, "requirepass", NULL);
    if (x->snapshot->version_num >= KIND_REDIS_ACL) {
        w.user = KIND_REDIS_USER;
        w.password = "-";
    }
    if (own && open_own(a, x, own, &w, deadline_ns, ret, NULL) == 0)
        return 0;
    w.socket = tw_arena_printf(a, "%s/" KIND_REDIS_SOCKET, x->entrance);
    return redis_link_open(&w, deadline_ns, ret, err);
}

int kind_redis_enter(struct tw_arena *a, const struct tw_access *access,
                     struct redis_link **ret, struct tw_err *err)
{
    return open_link(a, access, tw_now_ns() + ENTER_NS, ret, err);
}

/* It serves when it answers at all; "-LOADING" is the one answer that says not yet. */
enum tw_ready kind_redis_ready(const struct tw_access *access)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto(redis_link) *link = NULL;
    struct redis_reply reply;

    if (open_link(a, access, tw_now_ns() + ENTER_NS, &link, NULL) < 0 ||
        REDIS_ASK(link, a, &reply, NULL, "PING") < 0 ||
        (reply.type == REDIS_ERROR && tw_starts_with(reply.text, "LOADING")))
        return TW_NOT_YET;
    return TW_READY;
}

/* ---- a change ---- */

/* Redis reads its file once. What "reload" is elsewhere is CONFIG SET here, name by name: what was
 * applied since the start stands in a list of ours, and what was refused of it in another. */
#define APPLIED "/applied"
#define REFUSED "/refused"

static bool takes_at_run_time(const struct tw_snapshot *s, const char *name)
{
    const struct tw_setting *known = tw_snapshot_setting(s, name);

    return known && tw_streq(known->context, "sighup");
}

static int note(struct tw_arena *a, const struct tw_access *x, const char *list,
                const char *line, unsigned uid, unsigned gid, struct tw_err *err)
{
    return host_put_file(
        x->runtime, list,
        tw_arena_printf(a, "%s%s\n", host_text(a, x->runtime, list), line), 0600, uid,
        gid, err);
}

static void forget_applied(const struct tw_access *x)
{
    tw_auto_free char *applied = tw_strf("%s" APPLIED, x->runtime);
    tw_auto_free char *said = tw_strf("%s" REFUSED, x->runtime);

    (void)unlink(applied);
    (void)unlink(said);
}

int kind_redis_apply(struct tw_arena *a, const struct tw_access *access,
                     const struct tw_plan_step *step, struct tw_err *err)
{
    const struct tw_snapshot *s = access->snapshot;
    const struct tw_setting *known;
    unsigned uid = 0, gid = 0;
    int r = host_owner(access, &uid, &gid, err);

    if (r < 0)
        return r;
    if (step->kind != TW_STEP_SETTING)
        return host_apply_file(a, access, step, err);
    if (host_unit_is_setting(step->name))
        return host_unit_set(a, access->root, s->unit, step->name, step->value, uid, gid,
                             err);
    r = host_put_file(access->root, s->config_file,
                      redis_conf_set(a, host_text(a, access->root, s->config_file),
                                     step->name, step->value),
                      0640, uid, gid, err);
    known = tw_snapshot_setting(s, step->name);
    if (r < 0 || !takes_at_run_time(s, step->name) ||
        (!step->value && !known->boot_value))
        return r;
    return note(a, access, APPLIED,
                tw_arena_printf(a, "%s %s", step->name,
                                step->value ? step->value : known->boot_value),
                uid, gid, err);
}

int kind_redis_reload(struct tw_arena *a, const struct tw_access *access,
                      struct tw_err *err)
{
    tw_auto(redis_link) *link = NULL;
    char *rest = tw_arena_strdup(a, host_text(a, access->runtime, APPLIED));
    struct redis_conf conf;
    const char *config;
    unsigned uid = 0, gid = 0;
    int r = host_owner(access, &uid, &gid, err);

    redis_conf_read(a, access->root, access->snapshot->config_file, &conf);
    config = redis_conf_command(&conf, "CONFIG");
    if (!*rest || !config)
        return r;
    if (r == 0)
        r = kind_redis_enter(a, access, &link, err);
    for (char *value, *name; r == 0 && (value = strsep(&rest, "\n")) && *value;) {
        struct redis_reply reply;

        name = strsep(&value, " ");
        r = REDIS_ASK(link, a, &reply, err, config, "SET", name, value ? value : "");
        if (r == 0 && reply.type == REDIS_ERROR)
            r = note(a, access, REFUSED, reply.text, uid, gid, err);
    }
    return r;
}

const char *kind_redis_refused(struct tw_arena *a, const struct tw_access *access)
{
    const char *said = host_text(a, access->runtime, REFUSED);

    return *said ? tw_redact_text(NULL, a, said) : NULL;
}

/* ---- counted ---- */

static int ask_info(struct tw_arena *a, const struct tw_access *x, const char *section,
                    const char **ret, struct tw_err *err)
{
    tw_auto(redis_link) *link = NULL;
    struct redis_reply reply;
    struct redis_conf conf;
    const char *info;
    int r = kind_redis_enter(a, x, &link, err);

    redis_conf_read(a, x->root, x->snapshot->config_file, &conf);
    info = redis_conf_command(&conf, "INFO");
    if (r == 0 && !info)
        return tw_fail(err, -ENODATA,
                       "INFO is renamed away: the server tells nothing of itself");
    if (r == 0)
        r = REDIS_ASK(link, a, &reply, err, info, section);
    if (r == 0 && reply.type == REDIS_ERROR)
        r = tw_fail(err, -EACCES, "%s", reply.text);
    if (r == 0)
        *ret = reply.text;
    return r;
}

int kind_redis_complete(struct tw_arena *a, const struct tw_access *access,
                        struct tw_snapshot *s, struct tw_err *err)
{
    const char *info;
    int r;

    if (tw_streq(s->how, "running"))
        return 0;
    r = ask_info(a, access, "all", &info, err);
    if (r < 0)
        return r;
    kind_redis_take_info(a, info, s);
    s->requests.count = 0; /* they were ours */
    if (!s->version)
        s->version = redis_info(a, info, "redis_version");
    return 0;
}

int kind_redis_limits(struct tw_arena *a, const struct tw_access *access,
                      struct tw_service_limits *ret, struct tw_err *err)
{
    const char *info;
    int r = ask_info(a, access, "clients", &info, err);

    if (r < 0)
        return r;
    *ret = (struct tw_service_limits){NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    ret->max_connections = redis_info_number(info, "maxclients");
    ret->reserved_connections = 0;
    return 0;
}

/* All but what we ask ourselves. */
static bool is_ours(const char *command)
{
    static const char *const ours[] = {"info",    "ping",   "auth",  "config", "acl",
                                       "command", "client", "hello", "select"};
    size_t n = strcspn(command, "|");

    for (size_t i = 0; i < TW_COUNT_OF(ours); i++)
        if (strlen(ours[i]) == n && strncasecmp(ours[i], command, n) == 0)
            return true;
    return false;
}

int kind_redis_requests(struct tw_arena *a, const struct tw_access *access,
                        const char *database, int64_t deadline_ns, int64_t *ret,
                        struct tw_err *err)
{
    struct tw_snapshot counted;
    const char *info;
    int64_t sum = 0;
    int r = ask_info(a, access, "commandstats", &info, err);

    (void)database;
    (void)deadline_ns;
    if (r < 0)
        return r;
    tw_snapshot_init(&counted);
    kind_redis_take_info(a, info, &counted);
    for (size_t i = 0; i < counted.requests.count; i++)
        if (!is_ours(counted.requests.items[i].method))
            sum += counted.requests.items[i].count;
    *ret = sum;
    return 0;
}

/* Keys that expire go by themselves: of these only whether there are any is kept. */
int kind_redis_holdings(struct tw_arena *a, const struct tw_access *access,
                        struct tw_holdings *ret, struct tw_err *err)
{
    struct tw_snapshot counted;
    struct tw_holdings h = {0};
    const char *info;
    int r = ask_info(a, access, "keyspace", &info, err);

    if (r < 0)
        return r;
    tw_snapshot_init(&counted);
    kind_redis_take_info(a, info, &counted);
    for (size_t i = 0; i + 1 < counted.counters.count; i++) {
        const struct tw_counter *keys = &counted.counters.items[i], *expiring = keys + 1;
        double lasting = keys->used - expiring->used;

        if (!tw_streq(keys->kind, "keys"))
            continue;
        if (lasting > 0)
            TW_PUSH(a, &h.list,
                    (struct tw_holding){tw_arena_printf(a, "keys in %s", keys->name),
                                        lasting});
        if (expiring->used > 0)
            TW_PUSH(a, &h.list,
                    (struct tw_holding){
                        tw_arena_printf(a, "%s has keys that expire", keys->name), 1});
    }
    *ret = h;
    return 0;
}
