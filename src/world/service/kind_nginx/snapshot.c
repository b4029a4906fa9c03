/* A running nginx, or the configuration of one at rest: what it is, what it serves, how busy. */
#include "kind_nginx_internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ASK_NS      (10 * TW_SEC_NS)
#define LOG_TAIL    ((size_t)1 << 20)
#define LOGS_MAX    4
#define STATUS_WAIT 1000 /* ms */

/* ---- the process: its title is one text ---- */

struct running {
    const struct host_process *process; /* NULL: at rest */
    const char *config, *prefix;
};

static const char *option_of(struct tw_arena *a, const char *title, const char *option)
{
    tw_auto_free char *mark = tw_strf(" %s ", option);
    const char *at = strstr(title, mark);

    if (!at)
        return NULL;
    at += strlen(mark);
    return tw_arena_strndup(a, at, strcspn(at, " "));
}

/* "nginx: master process /usr/sbin/nginx -c /x -g daemon on;" */
static struct running look_at(struct tw_arena *a, const struct host_process *p)
{
    struct running r = {.process = p};
    const char *title = "";

    for (size_t i = 0; i < p->argv.count; i++)
        title = tw_arena_printf(a, "%s%s%s", title, i ? " " : "", p->argv.items[i]);
    r.config = option_of(a, title, "-c");
    r.prefix = option_of(a, title, "-p");
    return r;
}

/* ---- what the program says of itself ---- */

static void take_build(struct tw_arena *a, const char *text, struct tw_snapshot *s)
{
    const char *version = strstr(text, "nginx version: ");
    const char *at = strstr(text, "configure arguments:");
    int part[3] = {0};

    if (version) {
        version += strlen("nginx version: ");
        s->version = tw_arena_strndup(a, version, strcspn(version, "\n"));
        if (sscanf(version + strcspn(version, "0123456789"), "%d.%d.%d", &part[0],
                   &part[1], &part[2]) == 3)
            s->version_num = part[0] * 10000 + part[1] * 100 + part[2];
    }
    while (at && (at = strstr(at, " --"))) {
        size_t name = strcspn(at + 3, "= \n"), value;
        const char *equals = at + 3 + name;

        at += 3;
        if (*equals != '=' || equals[1] == '\'')
            continue;
        value = strcspn(equals + 1, " \n");
        TW_PUSH(
            a, &s->settings,
            (struct tw_setting){.name = tw_arena_printf(a, "build.%.*s", (int)name, at),
                                .value = tw_arena_strndup(a, equals + 1, value),
                                .type = "string",
                                .context = "build",
                                .source = "nginx -V"});
    }
}

static int ask_version(struct tw_arena *a, struct tw_snapshot *s, struct tw_err *err)
{
    const char *argv[] = {s->program, "-V", NULL};
    const char *text;
    int r = service_ask_program(a, argv, ASK_NS, &text, NULL, err);

    if (r == 0)
        take_build(a, text, s);
    return r;
}

/* ---- files of the snapshot ---- */

static void take_files(struct tw_arena *a, const struct nginx_conf *c,
                       struct tw_snapshot *s)
{
    for (size_t i = 0; i < c->files.count; i++) {
        const char *path = c->files.items[i];
        tw_auto_free char *text = NULL;
        struct stat st;

        if (service_read_in("", path, 4 << 20, &text, NULL) < 0 || stat(path, &st) < 0)
            continue;
        TW_PUSH(
            a, &s->files,
            (struct tw_file){path, tw_redact_text(NULL, a, text), st.st_mode & 07777});
        s->data_bytes += st.st_size;
    }
}

/* ---- access logs ---- */

static const char *format_of(struct tw_arena *a, const struct nginx_conf *c,
                             const char *name)
{
    const char *text = NULL;

    for (size_t i = 0; name && i < c->list.count && !text; i++) {
        const struct nginx_directive *d = &c->list.items[i];

        if (!nginx_is(d, "log_format") || !tw_streq(nginx_arg(d, 0), name))
            continue;
        text = "";
        for (size_t k = 1; k < d->args.count; k++)
            if (!tw_starts_with(d->args.items[k], "escape="))
                text = tw_arena_printf(a, "%s%s", text, d->args.items[k]);
    }
    return text;
}

static void take_requests(struct tw_arena *a, const struct nginx_conf *c,
                          struct tw_snapshot *s)
{
    TW_ARRAY(struct service_access_log) logs = {0};
    struct service_texts seen = {0};

    for (size_t i = 0; i < c->list.count && logs.count < LOGS_MAX; i++) {
        const struct nginx_directive *d = &c->list.items[i];
        const char *path = nginx_arg(d, 0);
        const struct nginx_directive *name;
        size_t before = seen.list.count;
        int server;

        if (!nginx_is(d, "access_log") || !path || *path != '/' || strchr(path, '$'))
            continue;
        service_add_once(a, &seen, path);
        if (seen.list.count == before)
            continue;
        server = nginx_around(c, d->parent, "server");
        name = server < 0 ? NULL : nginx_child(c, server, "server_name");
        TW_PUSH(a, &logs,
                (struct service_access_log){path, format_of(a, c, nginx_arg(d, 1)),
                                            nginx_arg(name, 0)});
    }
    if (!logs.count && nginx_build(s, "http-log-path") &&
        *nginx_build(s, "http-log-path") == '/')
        TW_PUSH(a, &logs,
                (struct service_access_log){nginx_build(s, "http-log-path"), NULL, NULL});
    service_access_log_count(a, logs.items, logs.count, LOG_TAIL, s);
}

/* ---- stub_status of the running one ---- */

static int open_status(const struct tw_endpoint *e)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)e->port)};
    const char *address = tw_streq(e->address, "0.0.0.0") ? "127.0.0.1" : e->address;
    struct timeval wait = {STATUS_WAIT / 1000, 0};
    int fd;

    if (!e->port || inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
        !service_reachable(address, e->port))
        return -1;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

/* "Active connections: 3 \nserver accepts handled requests\n 7 7 12 \n…" */
static void take_status(const char *text, double uptime_s, struct tw_snapshot *s)
{
    const char *active = strstr(text, "Active connections: ");
    const char *counts = strstr(text, "requests\n");
    double requests;

    if (!active || !counts)
        return;
    s->connections_used = atoi(active + strlen("Active connections: ")) - 1;
    if (sscanf(counts + strlen("requests\n"), " %*d %*d %lf", &requests) == 1 &&
        uptime_s > 60)
        s->rate_per_s = requests / uptime_s;
}

static void ask_status(struct tw_arena *a, const struct nginx_conf *c,
                       const struct running *running, struct tw_snapshot *s)
{
    tw_auto_free char *proc = tw_strf("/proc/%d", (int)running->process->pid);
    struct service_needs n = {0};
    struct stat st;

    for (size_t i = 0; i < c->list.count; i++) {
        const struct nginx_directive *d = &c->list.items[i];
        int location = d->parent, server = nginx_around(c, location, "server");
        const struct nginx_directive *name;
        char text[4096];
        tw_auto_close int fd = -1;
        tw_auto_free char *request = NULL;
        ssize_t got;

        if (!nginx_is(d, "stub_status") || location < 0 || server < 0 ||
            !nginx_is(&c->list.items[location], "location"))
            continue;
        nginx_endpoints(a, c, &n);
        name = nginx_child(c, server, "server_name");
        for (size_t k = 0; k < n.endpoints.count && fd < 0; k++)
            if (tw_streq(n.endpoints.items[k].protocol, "http") &&
                (!name || tw_streq(n.endpoints.items[k].name, nginx_arg(name, 0))))
                fd = open_status(&n.endpoints.items[k]);
        request = tw_strf("GET %s HTTP/1.0\r\nHost: %s\r\n\r\n",
                          c->list.items[location].args.count
                              ? c->list.items[location]
                                    .args.items[c->list.items[location].args.count - 1]
                              : "/",
                          name && nginx_arg(name, 0) ? nginx_arg(name, 0) : "localhost");
        if (fd < 0 || write(fd, request, strlen(request)) < 0)
            return;
        got = recv(fd, text, sizeof text - 1, MSG_WAITALL);
        text[got > 0 ? got : 0] = '\0';
        s->cost.statements++;
        take_status(text,
                    stat(proc, &st) == 0 ? difftime(time(NULL), st.st_ctim.tv_sec) : NAN,
                    s);
        return;
    }
}

/* ---- which one ---- */

static const struct tw_service_program programs[] = {
    {"nginx",
     "/usr/sbin/nginx:/usr/local/sbin/nginx:/usr/local/nginx/sbin/nginx:/usr/bin/nginx",
     "nginx"}};

static const char *config_of(struct tw_arena *a, const struct running *r,
                             const struct tw_snapshot *s)
{
    const char *built = nginx_build(s, "conf-path");
    const char *config = r->config ? r->config : built ? built : "/etc/nginx/nginx.conf";
    const char *prefix = r->prefix ? r->prefix : nginx_build(s, "prefix");

    return service_path(a, prefix ? prefix : "/", config);
}

static bool same_file(const char *x, const char *y)
{
    struct stat a, b;

    return stat(x, &a) == 0 && stat(y, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* Of those that run, the one with that configuration; without one declared, the only one. */
static int choose(struct tw_arena *a, const struct tw_target *t,
                  const struct host_processes *all, struct tw_snapshot *s,
                  struct running *ret, struct tw_err *err)
{
    struct running found = {0};
    int count = 0, r;

    for (size_t i = 0; i < all->list.count; i++) {
        struct running one = look_at(a, &all->list.items[i]);

        s->program = one.process->exe;
        s->settings.count = 0;
        if (t->config && (r = ask_version(a, s, err)) < 0)
            return r;
        if (t->config && !same_file(t->config, config_of(a, &one, s)))
            continue;
        found = one;
        count++;
    }
    if (count > 1)
        return tw_fail(err, -ENOTUNIQ,
                       "%d instances of nginx run here; say which: --config FILE", count);
    *ret = found;
    return 0;
}

static int find(struct tw_arena *a, const struct tw_target *t, struct tw_snapshot *s,
                struct host_process *process, struct running *ret, struct tw_err *err)
{
    struct host_processes all;
    int r;

    host_process_find(a, "nginx", &all);
    r = choose(a, t, &all, s, ret, err);
    if (r < 0)
        return r;
    if (ret->process) {
        *process = *ret->process;
        ret->process = process;
        s->program = process->exe;
    } else {
        s->program = tw_service_program_find(a, &programs[0]);
    }
    if (!s->program)
        return tw_fail(
            err, -ENOENT,
            "nginx is not installed here; a twin needs the program of the target: "
            "apt-get install nginx");
    if (!ret->process && !t->config)
        return tw_fail(
            err, -ENOENT,
            "no nginx runs here; name the configuration of one at rest: --config "
            "/etc/nginx/nginx.conf");
    s->settings.count = 0;
    r = ask_version(a, s, err);
    for (size_t i = 0; i < s->settings.count && ret->prefix; i++)
        if (tw_streq(s->settings.items[i].name, "build.prefix"))
            s->settings.items[i].value = ret->prefix;
    return r;
}

static void take_owner(struct tw_arena *a, const struct host_unit *unit,
                       struct tw_snapshot *s)
{
    struct passwd *pw = unit && unit->user ? getpwnam(unit->user) : getpwuid(0);

    s->owner_uid = pw ? pw->pw_uid : 0;
    s->owner_gid = pw ? pw->pw_gid : 0;
    s->owner_name = pw ? tw_arena_strdup(a, pw->pw_name) : "root";
}

/* Where sockets, logs and pages lie beside the configuration: what a file of a change may replace,
 * and what the copy takes along. */
static void take_trees(struct tw_arena *a, const struct service_needs *n,
                       struct tw_snapshot *s)
{
    SERVICE_ADD_ONCE(a, &s->trees, service_parent(a, s->config_file));
    for (size_t i = 0; i < n->trees.count; i++)
        SERVICE_ADD_ONCE(a, &s->trees, n->trees.items[i]);
    for (size_t i = 0; i < n->named.count; i++)
        SERVICE_ADD_ONCE(a, &s->trees, n->named.items[i]);
}

int nginx_snapshot(struct tw_arena *a, const struct tw_target *t, struct tw_snapshot *ret,
                   struct tw_err *err)
{
    struct host_process process;
    struct host_unit unit;
    struct running running = {0};
    struct nginx_conf c;
    struct service_needs n = {0};
    struct tw_certificates certificates = {0};
    bool supervised;
    int r = find(a, t, ret, &process, &running, err);

    if (r < 0)
        return r;
    ret->config_file =
        t->config ? service_path(a, "/", t->config) : config_of(a, &running, ret);
    ret->data_dir = service_parent(a, ret->config_file);
    nginx_conf_read(a, "", ret->config_file, &c);
    if (!c.files.count)
        return tw_fail(err, -ENOENT, "the configuration of nginx cannot be read: %s",
                       c.problem);
    supervised =
        running.process
            ? running.process->unit && host_unit_read(a, "", running.process->unit, &unit)
            : same_file(ret->config_file, config_of(a, &running, ret)) &&
                  host_unit_running(a, "nginx", NULL, &unit);
    take_owner(a, supervised ? &unit : NULL, ret);
    r = host_describe(a, running.process, supervised ? &unit : NULL, ret, err);
    if (r < 0)
        return r;
    ret->endpoints.count = 0; /* its own words tell more than its sockets */
    ret->how = running.process ? "running" : "stopped";
    take_files(a, &c, ret);
    nginx_needs(a, &c, ret, &n);
    service_neighbours_look(a, &n, running.process != NULL);
    take_trees(a, &n, ret);
    nginx_settings(a, &c, ret);
    nginx_certificates(a, "", &c, ret, &certificates);
    for (size_t i = 0; i < certificates.list.count; i++)
        TW_PUSH(a, &ret->certificates, certificates.list.items[i]);
    for (size_t i = 0; i < n.endpoints.count; i++)
        TW_PUSH(a, &ret->endpoints, n.endpoints.items[i]);
    for (size_t i = 0; i < n.neighbours.count; i++)
        TW_PUSH(a, &ret->neighbours, n.neighbours.items[i]);
    if (ret->endpoints.count)
        ret->port = ret->endpoints.items[0].port;
    take_requests(a, &c, ret);
    if (running.process)
        ask_status(a, &c, &running, ret);
    return 0;
}
