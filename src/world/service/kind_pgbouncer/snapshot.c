/* A PgBouncer found by its file, and asked over its console where that lets us in. */
#include "kind_pgb_internal.h"

#include "../kind_postgresql/kind_pg_internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <netdb.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONSOLE_NS   (3 * TW_SEC_NS)
#define START_NS     (10 * TW_SEC_NS)
#define NEIGHBOUR_MS 300

static const struct tw_service_program pooler = {
    "pgbouncer", "/usr/sbin/pgbouncer:/usr/bin/pgbouncer:/usr/local/bin/pgbouncer",
    "pgbouncer"};

struct looking {
    struct tw_arena *a;
    const struct tw_target *t;
    struct tw_snapshot *s;
    struct pgb_ini ini;
    struct host_process process;
    struct host_unit unit;
    bool running, has_unit;
};

/* ---- the process ---- */

static bool names_file(struct tw_arena *a, const struct host_process *p,
                       const char *config)
{
    for (size_t i = 1; i < p->argv.count; i++) {
        const char *word = p->argv.items[i];
        const char *whole =
            *word == '/' || !p->cwd ? word : tw_arena_printf(a, "%s/%s", p->cwd, word);
        char real[PATH_MAX];

        if (realpath(whole, real) && tw_streq(real, config))
            return true;
    }
    return false;
}

static void find_process(struct looking *l)
{
    struct host_processes all;

    host_process_find(l->a, "pgbouncer", &all);
    for (size_t i = 0; i < all.list.count && !l->running; i++) {
        l->process = all.list.items[i];
        l->running = names_file(l->a, &l->process, l->s->config_file);
    }
    l->has_unit = l->running && l->process.unit
                      ? host_unit_read(l->a, "", l->process.unit, &l->unit)
                      : host_unit_running(l->a, "pgbouncer", l->s->config_file, &l->unit);
}

/* It must not be root; at rest its file's owner, or its unit's user, is who runs it. */
static void find_owner(struct looking *l)
{
    const char *user =
        l->has_unit && l->unit.user ? l->unit.user : pgb_ini_value(&l->ini, "user", NULL);
    struct passwd pw, *found = NULL;
    char text[4096];
    struct stat st;

    if (l->running)
        return;
    if (user)
        (void)getpwnam_r(user, &pw, text, sizeof(text), &found);
    else if (stat(l->s->config_file, &st) == 0)
        (void)getpwuid_r(st.st_uid, &pw, text, sizeof(text), &found);
    if (!found)
        return;
    l->s->owner_uid = found->pw_uid;
    l->s->owner_gid = found->pw_gid;
    l->s->owner_name = tw_arena_strdup(l->a, found->pw_name);
}

/* ---- settings, of itself or of one like it ---- */

#define CELL_OF(i, n) tw_pg_cell(&rows, i, n)

static int show(struct tw_pg *pg, struct tw_arena *a, const char *what,
                struct tw_pg_rows *ret, struct tw_err *err)
{
    return tw_pg_query(pg, a, tw_arena_printf(a, "SHOW %s", what), 0, NULL, ret, err);
}

static bool is_number(const char *text)
{
    return text && *text && strspn(text, "0123456789.-") == strlen(text);
}

/* key, value, default (since 1.16), changeable */
static int take_config(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                       struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r = show(pg, a, "CONFIG", &rows, err);

    for (int i = 0; r == 0 && i < rows.rows; i++) {
        bool has_default = rows.columns > 3;
        const char *name = CELL_OF(i, 0), *value = CELL_OF(i, 1);
        const char *boot = has_default ? CELL_OF(i, 2) : NULL;
        const char *changeable = CELL_OF(i, has_default ? 3 : 2);
        struct tw_setting one = {
            .name = name,
            .value = value && *value ? tw_redact_value(NULL, a, name, value) : "",
            .boot_value = boot ? boot : "",
            .type = is_number(boot ? boot : value) ? "integer" : "string",
            .context = tw_streq(changeable, "yes") ? "sighup" : "postmaster",
            .source = "default"};

        TW_PUSH(a, &s->settings, one);
    }
    return r;
}

/* A pooler without databases, reached by nobody but us. */
static const char *scratch_ini(struct tw_arena *a, const char *dir, const char *more)
{
    return tw_arena_printf(
        a,
        "[databases]\n[pgbouncer]\n%s\nlisten_addr =\nlisten_port = 6432\n"
        "unix_socket_dir = %s\nauth_type = any\nauth_file =\nlogfile =\n"
        "pidfile =\nadmin_users = twin\n",
        more, dir);
}

/* One with these lines of [pgbouncer] too: -EINVAL and its words when it does not take them. */
static int ask_scratch(struct tw_arena *a, const struct tw_snapshot *s, const char *more,
                       struct tw_snapshot *ret, struct tw_err *err)
{
    struct host_scratch box;
    struct tw_pg *pg = NULL;
    int64_t deadline = tw_now_ns() + START_NS;
    int r = host_scratch_open(a, s->owner_uid, s->owner_gid, &box, err);
    const char *ini = r == 0 ? tw_arena_printf(a, "%s/p.ini", box.dir) : "";
    const char *argv[] = {s->program, ini, NULL};

    if (r == 0)
        r = host_put_file(box.dir, "/p.ini", scratch_ini(a, box.dir, more), 0600, box.uid,
                          box.gid, err);
    if (r == 0)
        r = host_scratch_start(&box, argv, err);
    while (r == 0 && !pg) {
        const char *info = tw_arena_printf(
            a, "host='%s' port=6432 user=twin dbname=pgbouncer connect_timeout=3",
            box.dir);

        if (tw_pg_open(info, (unsigned)-1, deadline, &pg, NULL) == 0)
            break;
        if (!host_scratch_runs(&box))
            r = tw_fail(err, -EINVAL, "%s", host_scratch_log(a, &box));
        else if (tw_now_ns() > deadline)
            r = tw_fail(err, -ETIMEDOUT, "'%s' does not start", s->program);
        tw_sleep_ns(2 * TW_MSEC_NS);
    }
    if (r == 0 && ret)
        r = take_config(pg, a, ret, err);
    if (pg)
        tw_pg_close(pg);
    host_scratch_close(&box);
    return r;
}

/* Its words about the first line that it does not take: "invalid value "x" for parameter y". */
static const char *complaint(struct tw_arena *a, const char *log)
{
    const char *at = strstr(log, "ERROR ");
    const char *end;

    at = at ? at + 6 : log;
    end = strstr(at, " in configuration");
    return tw_arena_strndup(a, at,
                            end && end < at + strcspn(at, "\n") ? (size_t)(end - at)
                                                                : strcspn(at, "\n"));
}

static bool is_of_host(const char *name)
{
    static const char *const names[] = {
        "listen_addr",   "listen_port",  "unix_socket_dir", "auth_file",
        "auth_hba_file", "logfile",      "pidfile",         "user",
        "resolv_conf",   "so_reuseport", "syslog",          "job_name",
        "admin_users",   "auth_type",    "service_name",    "peer_id",
        "conffile"};

    for (size_t i = 0; i < TW_COUNT_OF(names); i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return strstr(name, "tls") != NULL;
}

static const struct tw_setting *find(const struct tw_snapshot *s, const char *name)
{
    for (size_t i = 0; i < s->settings.count; i++)
        if (strcasecmp(s->settings.items[i].name, name) == 0)
            return &s->settings.items[i];
    return NULL;
}

static int check_name(struct tw_arena *a, const struct tw_snapshot *s,
                      const struct tw_setting_change *c, struct tw_err *err)
{
    const char **names = tw_arena_alloc(a, (s->settings.count + 1) * sizeof(*names));
    const char *near;

    if (host_unit_is_setting(c->name) || pgb_is_entry(c->name) || find(s, c->name))
        return 0;
    for (size_t i = 0; i < s->settings.count; i++)
        names[i] = s->settings.items[i].name;
    near = tw_nearest(c->name, names, s->settings.count);
    return tw_fail_at(err, -EINVAL, c->pointer,
                      "PgBouncer %s knows no setting '%s'%s%s%s",
                      s->version ? s->version : "", c->name,
                      near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

int kind_pgb_validate(struct tw_arena *a, const struct tw_snapshot *s,
                      const struct tw_request *r, struct tw_issues *issues,
                      struct tw_err *err)
{
    const char *lines = "";
    struct tw_err why = {0};
    int rc = host_check_request(a, s, r, err);

    (void)issues;
    for (size_t i = 0; i < r->settings.count && rc == 0; i++) {
        const struct tw_setting_change *c = &r->settings.items[i];

        rc = check_name(a, s, c, err);
        if (c->value && !host_unit_is_setting(c->name) && !pgb_is_entry(c->name) &&
            !is_of_host(c->name))
            lines = tw_arena_printf(a, "%s%s = %s\n", lines, c->name, c->value);
    }
    if (rc < 0 || !*lines)
        return rc;
    rc = ask_scratch(a, s, lines, NULL, &why);
    return rc < 0 ? tw_fail_at(err, rc, r->settings.items[0].pointer, "%s",
                               complaint(a, why.text))
                  : 0;
}

static const char *stored(struct tw_arena *a, const char *name, const char *value)
{
    return *value ? tw_redact_value(NULL, a, name, value) : value;
}

/* What the file says, into what there is; databases and users are settings of their own. */
static void take_ini(struct looking *l)
{
    for (size_t i = 0; i < l->ini.entries.count; i++) {
        const struct pgb_entry *e = &l->ini.entries.items[i];
        struct tw_setting *one = (struct tw_setting *)find(l->s, e->name);

        if (!one) {
            TW_PUSH(l->a, &l->s->settings,
                    (struct tw_setting){
                        .name = e->name, .type = "string", .context = "sighup"});
            one = &l->s->settings.items[l->s->settings.count - 1];
        }
        if (l->running && one->value)
            one->pending_restart = tw_streq(one->context, "postmaster") &&
                                   !tw_redact_is_secret_key(one->name) &&
                                   strcasecmp(one->value, e->value) != 0;
        else
            one->value = stored(l->a, e->name, e->value);
        one->file = e->file;
        one->line = e->line;
        one->source = "configuration file";
    }
}

/* ---- who is behind it ---- */

static bool takes_connection(int family, const struct sockaddr *to, socklen_t len)
{
    tw_auto_close int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd p = {fd, POLLOUT, 0};
    int wrong = 0;
    socklen_t size = sizeof(wrong);

    if (fd < 0 || (connect(fd, to, len) < 0 && errno != EINPROGRESS))
        return false;
    return poll(&p, 1, NEIGHBOUR_MS) == 1 &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &wrong, &size) == 0 && wrong == 0;
}

static void look_up(struct tw_arena *a, struct tw_neighbour *n)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    tw_auto_free char *port = tw_strf("%d", n->port);
    char text[INET6_ADDRSTRLEN];

    if (*n->address == '/' || getaddrinfo(n->address, port, &hints, &found) != 0)
        return;
    for (struct addrinfo *i = found; i; i = i->ai_next) {
        if (getnameinfo(i->ai_addr, i->ai_addrlen, text, sizeof(text), NULL, 0,
                        NI_NUMERICHOST))
            continue;
        n->resolved = n->resolved ? tw_arena_printf(a, "%s,%s", n->resolved, text)
                                  : tw_arena_strdup(a, text);
        n->reachable |= takes_connection(i->ai_family, i->ai_addr, i->ai_addrlen);
    }
    freeaddrinfo(found);
}

static void add_neighbour(struct looking *l, const char *name, const char *connstr)
{
    const char *host = pgb_word(l->a, connstr, "host"),
               *port = pgb_word(l->a, connstr, "port");
    struct tw_neighbour n = {.protocol = "postgresql",
                             .name = name,
                             .address = host ? host : "/var/run/postgresql",
                             .port = port ? atoi(port) : 5432};

    look_up(l->a, &n);
    TW_PUSH(l->a, &l->s->neighbours, n);
}

static void add_databases(struct looking *l)
{
    for (size_t i = 0; i < l->ini.entries.count; i++) {
        const struct pgb_entry *e = &l->ini.entries.items[i];

        if (strncasecmp(e->name, "databases.", 10) != 0)
            continue;
        TW_PUSH(l->a, &l->s->databases, e->name + 10);
        add_neighbour(l, e->name + 10, e->value);
    }
}

/* ---- the console ---- */

static const char *setting(const struct tw_snapshot *s, const char *name,
                           const char *fallback)
{
    const struct tw_setting *one = find(s, name);

    return one && one->value && *one->value ? one->value : fallback;
}

/* Its own user is let in over its socket as "pgbouncer", without a password. */
static int open_console(struct looking *l, struct tw_pg **ret, struct tw_err *err)
{
    const char *dir = pgb_ini_value(&l->ini, "unix_socket_dir", "/tmp");
    const char *port = pgb_ini_value(&l->ini, "listen_port", "6432");
    const char *own = tw_arena_printf(l->a,
                                      "host='%s' port=%s user=pgbouncer dbname=pgbouncer "
                                      "connect_timeout=3",
                                      dir, port);

    if (l->t->dsn)
        return tw_pg_open(tw_arena_printf(l->a, "%s dbname=pgbouncer", l->t->dsn),
                          (unsigned)-1, tw_now_ns() + CONSOLE_NS, ret, err);
    return tw_pg_open(own, geteuid() == 0 ? l->s->owner_uid : (unsigned)-1,
                      tw_now_ns() + CONSOLE_NS, ret, err);
}

static void take_clients(struct looking *l, struct tw_pg *pg)
{
    struct tw_pg_rows rows;

    if (show(pg, l->a, "CLIENTS", &rows, NULL) < 0)
        return;
    l->s->connections_used = 0;
    for (int i = 0; i < rows.rows; i++) {
        /* type, user, database, state, addr, port … in all versions */
        const char *user = CELL_OF(i, 1), *database = CELL_OF(i, 2),
                   *from = CELL_OF(i, 4);
        struct tw_client c = {.protocol = "postgresql",
                              .user = user,
                              .database = database,
                              .source = from && strcmp(from, "unix") != 0 ? from : NULL,
                              .count = 1,
                              .origin = "statistics"};
        size_t k = 0;

        if (tw_streq(database, "pgbouncer"))
            continue;
        l->s->connections_used++;
        while (k < l->s->clients.count &&
               !(tw_streq(l->s->clients.items[k].user, user) &&
                 tw_streq(l->s->clients.items[k].database, database) &&
                 tw_streq(l->s->clients.items[k].source, c.source)))
            k++;
        if (k < l->s->clients.count)
            l->s->clients.items[k].count++;
        else
            TW_PUSH(l->a, &l->s->clients, c);
    }
}

static void add_counter(struct looking *l, const char *kind, const char *name,
                        double used, double limit, const char *source)
{
    TW_PUSH(l->a, &l->s->counters,
            (struct tw_counter){.kind = kind,
                                .name = name,
                                .used = used,
                                .limit = limit,
                                .per_s = NAN,
                                .per_request = NAN,
                                .source = source});
}

/* Averages of the last minute: database, total_…×7, avg_xact_count, avg_query_count, avg_recv,
 * avg_sent, avg_xact_time (µs) … */
#define STATS_RATE 8
#define STATS_TIME 12

static void take_stats(struct looking *l, struct tw_pg *pg)
{
    struct tw_pg_rows rows;
    double rate = 0;

    if (show(pg, l->a, "STATS", &rows, NULL) < 0 || rows.columns <= STATS_TIME)
        return;
    for (int i = 0; i < rows.rows; i++) {
        double per_s = atof(CELL_OF(i, STATS_RATE));

        if (tw_streq(CELL_OF(i, 0), "pgbouncer"))
            continue;
        rate += per_s;
        add_counter(l, "busy servers", CELL_OF(i, 0),
                    pgb_busy_servers(per_s, atof(CELL_OF(i, STATS_TIME)) / 1e6), NAN,
                    "SHOW STATS");
    }
    l->s->rate_per_s = rate > 0 ? rate : NAN;
}

static int ask_console(struct looking *l, struct tw_err *err)
{
    struct tw_pg *pg = NULL;
    struct tw_pg_rows rows;
    int r = open_console(l, &pg, err);

    if (r < 0)
        return r;
    r = take_config(pg, l->a, l->s, err);
    if (r == 0) {
        take_clients(l, pg);
        take_stats(l, pg);
    }
    if (r == 0 && show(pg, l->a, "VERSION", &rows, NULL) == 0 && rows.rows)
        l->s->version =
            tw_arena_strdup(l->a, CELL_OF(0, 0) + strcspn(CELL_OF(0, 0), "0123456789"));
    tw_pg_cost(pg, &l->s->cost.statements, &l->s->cost.bytes);
    tw_pg_close(pg);
    return r;
}

/* ---- the whole ---- */

static int find_program(struct looking *l, struct tw_err *err)
{
    l->s->program = l->running ? l->process.exe
                    : l->has_unit && l->unit.argv.count
                        ? l->unit.argv.items[0]
                        : tw_service_program_find(l->a, &pooler);
    return l->s->program
               ? 0
               : tw_fail(err, -ENOENT,
                         "no pgbouncer on this host: install the version of the target "
                         "(apt-get install pgbouncer)");
}

static void version_of_program(struct looking *l)
{
    int major = 0, minor = 0, patch = 0;

    if (l->s->version && sscanf(l->s->version, "%d.%d.%d", &major, &minor, &patch) >= 2)
        l->s->version_num = major * 10000 + minor * 100 + patch;
}

static int add_files(struct looking *l, struct tw_err *err)
{
    static const char *const named[] = {"auth_file", "auth_hba_file"};
    int r = 0;

    for (size_t i = 0; i < l->ini.files.count && r == 0; i++)
        r = host_add_file(l->a, l->ini.files.items[i], l->s, err);
    for (size_t i = 0; i < TW_COUNT_OF(named) && r == 0; i++) {
        const char *path = pgb_ini_value(&l->ini, named[i], "");
        size_t before = l->s->files.count;

        if (*path != '/' || access(path, R_OK) < 0)
            continue;
        r = host_add_file(l->a, path, l->s, err);
        /* "user" "password": each line is a secret of one user. */
        if (r == 0 && i == 0 && l->s->files.count > before) {
            const char *text = l->s->files.items[before].text;
            char hex[65];

            tw_sha256_hex(text, strlen(text), hex);
            l->s->files.items[before].text = tw_arena_printf(
                l->a, "%s (sha256 of what the redactor left: %s)\n", TW_REDACTED, hex);
        }
    }
    return r;
}

static void add_endpoints(struct looking *l)
{
    char *rest = tw_arena_strdup(l->a, setting(l->s, "listen_addr", ""));

    l->s->port = atoi(setting(l->s, "listen_port", "6432"));
    l->s->socket_dir = setting(l->s, "unix_socket_dir", NULL);
    l->s->endpoints.count = 0;
    for (char *word; (word = strsep(&rest, ", "));)
        if (*word)
            TW_PUSH(l->a, &l->s->endpoints,
                    (struct tw_endpoint){
                        .protocol = "postgresql", .address = word, .port = l->s->port});
    if (l->s->socket_dir)
        TW_PUSH(
            l->a, &l->s->endpoints,
            (struct tw_endpoint){.protocol = "postgresql", .address = l->s->socket_dir});
}

/* A server on this host tells its max_connections by its files. */
static void add_server_limit(struct looking *l, const struct tw_neighbour *n)
{
    struct host_process p;
    struct kind_pg_place place;
    struct kind_pg_conf conf;
    const struct kind_pg_entry *limit;
    const char *dir = NULL;
    bool here = *n->address == '/' || host_is_loopback(n->address);

    if (!here || !host_process_listening(l->a, n->port, &p) || !strstr(p.exe, "postgres"))
        return;
    for (size_t i = 1; i + 1 < p.argv.count; i++)
        if (tw_streq(p.argv.items[i], "-D"))
            dir = p.argv.items[i + 1];
    if (kind_pg_find(l->a, dir ? dir : p.cwd, &place, NULL) < 0)
        return;
    kind_pg_conf_read(l->a, "", place.config_file, place.data_dir, &conf);
    limit = kind_pg_conf_last(&conf, "max_connections");
    add_counter(l, "server connections", n->name, NAN, limit ? atof(limit->value) : 100,
                "postgresql.conf of the server");
}

int kind_pgb_snapshot(struct tw_arena *a, const struct tw_target *t,
                      struct tw_snapshot *ret, struct tw_err *err)
{
    struct looking l = {.a = a, .t = t, .s = ret};
    struct tw_err console = {0};
    char real[PATH_MAX];
    int r;

    tw_snapshot_init(ret);
    ret->config_file = tw_arena_strdup(a, realpath(t->config, real) ? real : t->config);
    pgb_ini_read(a, "", ret->config_file, &l.ini);
    if (l.ini.problem)
        return tw_fail(err, -ENOENT, "configuration of target '%s': %s", t->name,
                       l.ini.problem);
    find_process(&l);
    find_owner(&l);
    r = host_describe(a, l.running ? &l.process : NULL, l.has_unit ? &l.unit : NULL, ret,
                      err);
    if (r == 0)
        r = find_program(&l, err);
    if (r == 0 && l.running && ask_console(&l, &console) < 0)
        ret->settings.count = 0;
    if (r == 0 && ret->settings.count == 0)
        r = ask_scratch(a, ret, "", ret, err);
    if (r == 0)
        r = add_files(&l, err);
    if (r < 0)
        return tw_wrap(err, r, "target '%s'", t->name);
    /* One that did not let us in runs with its file as far as we know. */
    l.running = l.running && !console.code;
    take_ini(&l);
    add_databases(&l);
    for (size_t i = 0; i < ret->neighbours.count; i++)
        add_server_limit(&l, &ret->neighbours.items[i]);
    add_endpoints(&l);
    version_of_program(&l);
    ret->how = l.process.pid && (l.running || console.code) ? "running" : "stopped";
    return 0;
}
