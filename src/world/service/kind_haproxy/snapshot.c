/* A running HAProxy, or the configuration of one at rest: what it is, whom it serves, how busy. */
#include "kind_haproxy_internal.h"

#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASK_NS   (10 * TW_SEC_NS)
#define LOG_TAIL ((size_t)1 << 20)
#define SYSLOG   "/var/log/haproxy.log"
/* "option httplog" behind what syslog writes before it. */
#define HTTPLOG                                                                          \
    "$_haproxy[$_]: $_ [$_] $_ $_ $_/$_/$_/$upstream_ms/$request_ms $status "            \
    "$bytes_sent $_ \"$request\""

static const struct tw_service_program program_row = {
    "haproxy", "/usr/sbin/haproxy:/usr/local/sbin/haproxy:/usr/bin/haproxy", "haproxy"};

/* ---- command line ---- */

/* "$CONFIG" of a unit is what its Environment says. */
static const char *expand(struct tw_arena *a, const char *word, const struct host_unit *u)
{
    const char *name = word + 1 + (word[1] == '{');
    size_t n = strcspn(name, "}");

    if (*word != '$')
        return word;
    for (size_t i = 0; u && i < u->env.count; i++)
        if (strncmp(u->env.items[i], name, n) == 0 && u->env.items[i][n] == '=')
            return tw_arena_strdup(a, u->env.items[i] + n + 1);
    return NULL;
}

static void take_command(struct tw_arena *a, const char *const *argv, size_t n,
                         const char *cwd, const struct host_unit *u,
                         struct tw_snapshot *s)
{
    for (size_t i = 1; i + 1 < n; i++) {
        const char *path = tw_streq(argv[i], "-f") ? expand(a, argv[i + 1], u) : NULL;

        if (path)
            TW_PUSH(a, &s->settings,
                    (struct tw_setting){.name = "command.-f",
                                        .value = service_path(a, cwd ? cwd : "/", path),
                                        .type = "string",
                                        .context = "command line",
                                        .source = "command line"});
    }
}

static bool names(const struct tw_snapshot *s, const char *path)
{
    struct stat want, have;

    for (size_t i = 0; i < s->settings.count; i++)
        if (tw_streq(s->settings.items[i].name, "command.-f") && stat(path, &want) == 0 &&
            stat(s->settings.items[i].value, &have) == 0 && want.st_dev == have.st_dev &&
            want.st_ino == have.st_ino)
            return true;
    return false;
}

static int find_running(struct tw_arena *a, const struct tw_target *t,
                        struct tw_snapshot *s, struct host_process *ret, bool *ret_found,
                        struct tw_err *err)
{
    struct host_processes all;
    int count = 0;

    host_process_find(a, "haproxy", &all);
    for (size_t i = 0; i < all.list.count; i++) {
        const struct host_process *p = &all.list.items[i];

        s->settings.count = 0;
        take_command(a, (const char *const *)p->argv.items, p->argv.count, p->cwd, NULL,
                     s);
        if (t->config && !names(s, t->config))
            continue;
        *ret = *p;
        count++;
    }
    s->settings.count = 0;
    if (count == 1)
        take_command(a, (const char *const *)ret->argv.items, ret->argv.count, ret->cwd,
                     NULL, s);
    *ret_found = count == 1;
    return count > 1
               ? tw_fail(err, -ENOTUNIQ,
                         "%d instances of haproxy run here; say which: --config FILE",
                         count)
               : 0;
}

/* ---- version, files ---- */

static int ask_version(struct tw_arena *a, struct tw_snapshot *s, struct tw_err *err)
{
    const char *argv[] = {s->program, "-v", NULL};
    const char *text;
    int part[3] = {0};
    int r = service_ask_program(a, argv, ASK_NS, &text, NULL, err);

    if (r < 0)
        return r;
    text += strcspn(text, "0123456789");
    s->version = tw_arena_strndup(a, text, strcspn(text, " \n"));
    if (sscanf(text, "%d.%d.%d", &part[0], &part[1], &part[2]) >= 2)
        s->version_num = part[0] * 10000 + part[1] * 100 + part[2];
    return 0;
}

static void take_files(struct tw_arena *a, const struct haproxy_conf *c,
                       struct tw_snapshot *s)
{
    for (size_t i = 0; i < c->files.count; i++) {
        const char *path = c->files.items[i];
        tw_auto_free char *text = NULL;
        struct stat st;

        if (service_read_in("", path, 8 << 20, &text, NULL) < 0 || stat(path, &st) < 0)
            continue;
        TW_PUSH(
            a, &s->files,
            (struct tw_file){path, tw_redact_text(NULL, a, text), st.st_mode & 07777});
        s->data_bytes += st.st_size;
    }
}

/* ---- what the running one counts ---- */

static double info_number(const char *text, const char *key)
{
    tw_auto_free char *mark = tw_strf("\n%s: ", key);
    const char *at = strstr(text, mark);

    return at ? strtod(at + strlen(mark), NULL) : NAN;
}

static void take_info(const char *text, struct tw_snapshot *s)
{
    double requests = info_number(text, "CumReq"),
           uptime = info_number(text, "Uptime_sec");
    double now = info_number(text, "CurrConns"), files = info_number(text, "Ulimit-n");

    if (uptime > 60 && requests >= 0)
        s->rate_per_s = requests / uptime;
    if (now >= 0)
        s->connections_used = (int)now;
    if (files > 0)
        s->nofile = (int64_t)files;
}

static void take_stats(struct tw_arena *a, const char *csv, struct tw_snapshot *s)
{
    struct haproxy_stats stats;
    double peak = 0;

    haproxy_read_stats(a, csv, &stats);
    for (size_t i = 0; i < stats.list.count; i++)
        if (stats.list.items[i].is_frontend && stats.list.items[i].sessions_most > 0)
            peak += stats.list.items[i].sessions_most;
    if (peak > 0)
        s->peak_connections = (int)peak;
}

static void ask_running(struct tw_arena *a, const struct haproxy_conf *c,
                        struct tw_snapshot *s)
{
    for (size_t i = 0; i < c->list.count; i++) {
        const struct haproxy_line *l = &c->list.items[i];
        const char *path = haproxy_word(l, 2);
        tw_auto_free char *info = NULL;
        tw_auto_free char *csv = NULL;

        if (!haproxy_is(l, "stats", "socket") || !path || *path != '/')
            continue;
        if (haproxy_ask(path, "show info", 1 << 20, &info, NULL) == 0)
            take_info(info, s);
        if (haproxy_ask(path, "show stat", 4 << 20, &csv, NULL) == 0)
            take_stats(a, csv, s);
        s->cost.statements += 2;
        return;
    }
}

/* ---- all of it ---- */

static int find(struct tw_arena *a, const struct tw_target *t, struct tw_snapshot *s,
                struct host_process *process, bool *ret_running, struct host_unit *unit,
                bool *ret_supervised, struct tw_err *err)
{
    int r = find_running(a, t, s, process, ret_running, err);

    if (r < 0)
        return r;
    s->program = *ret_running ? process->exe : tw_service_program_find(a, &program_row);
    if (!s->program)
        return tw_fail(
            err, -ENOENT,
            "haproxy is not installed here; a twin needs the program of the target: "
            "apt-get install haproxy");
    if (!*ret_running && !t->config)
        return tw_fail(
            err, -ENOENT,
            "no haproxy runs here; name the configuration of one at rest: --config "
            "/etc/haproxy/haproxy.cfg");
    *ret_supervised = *ret_running
                          ? process->unit && host_unit_read(a, "", process->unit, unit)
                          : host_unit_running(a, "haproxy", NULL, unit);
    if (!*ret_running && *ret_supervised) {
        take_command(a, (const char *const *)unit->argv.items, unit->argv.count,
                     unit->cwd, unit, s);
        *ret_supervised = names(s, t->config);
        if (!*ret_supervised)
            s->settings.count = 0;
    }
    return ask_version(a, s, err);
}

static void take_owner(struct tw_arena *a, const struct host_unit *u,
                       struct tw_snapshot *s)
{
    struct passwd *pw = u && u->user ? getpwnam(u->user) : getpwuid(0);

    s->owner_uid = pw ? pw->pw_uid : 0;
    s->owner_gid = pw ? pw->pw_gid : 0;
    s->owner_name = pw ? tw_arena_strdup(a, pw->pw_name) : "root";
}

static const char *first_file(const struct tw_snapshot *s)
{
    for (size_t i = 0; i < s->settings.count; i++)
        if (tw_streq(s->settings.items[i].name, "command.-f"))
            return s->settings.items[i].value;
    return "/etc/haproxy/haproxy.cfg";
}

static void take_meaning(struct tw_arena *a, const struct haproxy_conf *c, bool running,
                         struct tw_snapshot *s)
{
    struct service_needs n = {0};
    struct tw_certificates certificates = {0};
    struct service_access_log log = {SYSLOG, HTTPLOG, NULL};

    haproxy_needs(a, "", c, s, &n);
    service_neighbours_look(a, &n, running);
    SERVICE_ADD_ONCE(a, &s->trees, service_parent(a, s->config_file));
    for (size_t i = 0; i < n.trees.count; i++)
        SERVICE_ADD_ONCE(a, &s->trees, n.trees.items[i]);
    for (size_t i = 0; i < n.named.count; i++)
        SERVICE_ADD_ONCE(a, &s->trees, n.named.items[i]);
    haproxy_settings(a, c, s);
    haproxy_certificates(a, "", c, &certificates);
    for (size_t i = 0; i < certificates.list.count; i++)
        TW_PUSH(a, &s->certificates, certificates.list.items[i]);
    for (size_t i = 0; i < n.endpoints.count; i++)
        TW_PUSH(a, &s->endpoints, n.endpoints.items[i]);
    for (size_t i = 0; i < n.neighbours.count; i++)
        TW_PUSH(a, &s->neighbours, n.neighbours.items[i]);
    if (s->endpoints.count)
        s->port = s->endpoints.items[0].port;
    if (running)
        service_access_log_count(a, &log, 1, LOG_TAIL, s);
}

int haproxy_snapshot(struct tw_arena *a, const struct tw_target *t,
                     struct tw_snapshot *ret, struct tw_err *err)
{
    struct host_process process = {0};
    struct host_unit unit = {0};
    struct haproxy_conf c;
    struct stat st;
    bool running = false, supervised = false;
    int r = find(a, t, ret, &process, &running, &unit, &supervised, err);

    if (r < 0)
        return r;
    ret->config_file = t->config ? service_path(a, "/", t->config) : first_file(ret);
    if (stat(ret->config_file, &st) == 0 &&
        S_ISDIR(st.st_mode)) /* its first file stands for it */
        TW_PUSH(a, &ret->settings,
                (struct tw_setting){.name = "command.-f",
                                    .value = ret->config_file,
                                    .type = "string",
                                    .context = "command line"});
    haproxy_conf_of(a, "", ret, &c);
    if (!c.files.count)
        return tw_fail(err, -ENOENT, "the configuration of haproxy cannot be read: %s",
                       c.problem ? c.problem : ret->config_file);
    if (!tw_streq(ret->config_file, c.files.items[0]) && S_ISDIR(st.st_mode))
        ret->config_file = c.files.items[0];
    ret->data_dir = service_parent(a, ret->config_file);
    take_owner(a, supervised ? &unit : NULL, ret);
    r = host_describe(a, running ? &process : NULL, supervised ? &unit : NULL, ret, err);
    if (r < 0)
        return r;
    ret->endpoints.count = 0; /* its own words tell more than its sockets */
    ret->how = running ? "running" : "stopped";
    take_files(a, &c, ret);
    take_meaning(a, &c, running, ret);
    if (running)
        ask_running(a, &c, ret);
    return 0;
}
