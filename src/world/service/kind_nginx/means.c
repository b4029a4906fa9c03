/* What a configuration of nginx names: files, trees, directories, users, where it listens, whom it
 * calls, its certificates. */
#include "kind_nginx_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *nginx_build(const struct tw_snapshot *s, const char *name)
{
    tw_auto_free char *full = tw_strf("build.%s", name);
    const struct tw_setting *found = tw_snapshot_setting(s, full);

    return found ? found->value : NULL;
}

static struct nginx_paths paths_of(struct tw_arena *a, const struct tw_snapshot *s)
{
    const char *prefix = nginx_build(s, "prefix");

    return (struct nginx_paths){prefix ? prefix : "/usr/share/nginx",
                                service_parent(a, s->config_file)};
}

/* ---- paths ---- */

enum base { OF_CONF, OF_PREFIX };
enum what { A_FILE, A_TREE, A_STATE, A_LOG };
static const struct {
    const char *name;
    enum base base;
    enum what what;
} path_rows[] = {
    {"root", OF_PREFIX, A_TREE},
    {"alias", OF_PREFIX, A_TREE},
    {"access_log", OF_PREFIX, A_LOG},
    {"error_log", OF_PREFIX, A_LOG},
    {"pid", OF_PREFIX, A_LOG},
    {"lock_file", OF_PREFIX, A_LOG},
    {"client_body_temp_path", OF_PREFIX, A_STATE},
    {"proxy_temp_path", OF_PREFIX, A_STATE},
    {"fastcgi_temp_path", OF_PREFIX, A_STATE},
    {"uwsgi_temp_path", OF_PREFIX, A_STATE},
    {"scgi_temp_path", OF_PREFIX, A_STATE},
    {"proxy_cache_path", OF_PREFIX, A_STATE},
    {"fastcgi_cache_path", OF_PREFIX, A_STATE},
    {"uwsgi_cache_path", OF_PREFIX, A_STATE},
    {"scgi_cache_path", OF_PREFIX, A_STATE},
    {"state", OF_PREFIX, A_LOG},
};
/* Their first argument may be a file of the host in any directive but these, where it is part of
 * an address. */
static const char *const uri_rows[] = {"location",
                                       "rewrite",
                                       "try_files",
                                       "return",
                                       "error_page",
                                       "if",
                                       "set",
                                       "add_header",
                                       "sub_filter",
                                       "server_name",
                                       "proxy_redirect",
                                       "index",
                                       "proxy_pass",
                                       "include",
                                       "proxy_cookie_path",
                                       "proxy_set_header",
                                       "auth_request",
                                       "map"};

static bool is_no_file(const char *path)
{
    return !path || !*path || tw_streq(path, "off") || tw_streq(path, "stderr") ||
           tw_starts_with(path, "syslog:") || tw_starts_with(path, "memory:") ||
           tw_starts_with(path, "data:") || tw_starts_with(path, "engine:") ||
           tw_starts_with(path, "/dev/");
}

/* "/srv/$host/htdocs": what stands before the variable is a tree. */
static const char *before_variable(struct tw_arena *a, const char *path, bool *ret_cut)
{
    const char *dollar = strchr(path, '$');
    const char *slash;

    *ret_cut = dollar != NULL;
    if (!dollar)
        return path;
    slash = memrchr(path, '/', (size_t)(dollar - path));
    return slash && slash > path ? tw_arena_strndup(a, path, (size_t)(slash - path))
                                 : NULL;
}

static void add_path(struct tw_arena *a, const char *path, enum what what,
                     struct service_needs *n)
{
    bool cut;

    path = before_variable(a, path, &cut);
    if (!path || tw_streq(path, "/"))
        return;
    if (what == A_TREE)
        SERVICE_ADD_ONCE(a, &n->trees, path);
    else if (what == A_FILE)
        SERVICE_ADD_ONCE(a, &n->named, path);
    if (what == A_STATE)
        SERVICE_ADD_ONCE(a, &n->dirs, path);
    if (what == A_STATE || what == A_LOG)
        SERVICE_ADD_ONCE(a, &n->dirs, cut ? path : service_parent(a, path));
}

static void take_path(struct tw_arena *a, const struct nginx_directive *d,
                      const struct nginx_paths *p, struct service_needs *n)
{
    const char *first = nginx_arg(d, 0), *path;

    for (size_t i = 0; i < TW_COUNT_OF(path_rows); i++) {
        if (!nginx_is(d, path_rows[i].name) || is_no_file(first))
            continue;
        path = service_path(a, path_rows[i].base == OF_CONF ? p->conf_dir : p->prefix,
                            first);
        add_path(a, path, path_rows[i].what, n);
        if (nginx_is(d, "error_log"))
            SERVICE_ADD_ONCE(a, &n->logs, path);
        return;
    }
    if (tw_name_index(d->name, uri_rows, TW_COUNT_OF(uri_rows)) >= 0)
        return;
    for (size_t i = 0; i < d->args.count; i++) {
        const char *arg = d->args.items[i];
        bool names_file = tw_ends_with(d->name, "_file") ||
                          strstr(d->name, "certificate") || strstr(d->name, "_crl") ||
                          strstr(d->name, "dhparam");

        if (!is_no_file(arg) && !strchr(arg, '$') &&
            (names_file || (*arg == '/' && service_exists_in("", arg))))
            add_path(a, service_path(a, p->conf_dir, arg), A_FILE, n);
    }
}

/* What it uses where its configuration says nothing. */
static void take_built_in(struct tw_arena *a, const struct nginx_conf *c,
                          const struct tw_snapshot *s, struct service_needs *n)
{
    static const struct {
        const char *build, *directive;
        enum what what;
    } rows[] = {
        {"pid-path", "pid", A_LOG},
        {"lock-path", "lock_file", A_LOG},
        {"error-log-path", "error_log", A_LOG},
        {"http-log-path", "access_log", A_LOG},
        {"http-client-body-temp-path", "client_body_temp_path", A_STATE},
        {"http-proxy-temp-path", "proxy_temp_path", A_STATE},
        {"http-fastcgi-temp-path", "fastcgi_temp_path", A_STATE},
        {"http-uwsgi-temp-path", "uwsgi_temp_path", A_STATE},
        {"http-scgi-temp-path", "scgi_temp_path", A_STATE},
    };
    const struct nginx_directive *user = nginx_child(c, -1, "user");
    const char *name = nginx_arg(user, 0), *group = nginx_arg(user, 1);

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        const char *path = nginx_build(s, rows[i].build);

        if (!is_no_file(path) && *path == '/')
            add_path(a, service_path(a, "/", path), rows[i].what, n);
        if (!is_no_file(path) && *path == '/' && tw_streq(rows[i].directive, "error_log"))
            SERVICE_ADD_ONCE(a, &n->logs, path);
    }
    if (!name)
        name = nginx_build(s, "user") ? nginx_build(s, "user") : "nobody";
    SERVICE_ADD_ONCE(a, &n->users, name);
    SERVICE_ADD_ONCE(a, &n->groups,
                     group                      ? group
                     : tw_streq(name, "nobody") ? "nogroup"
                                                : name);
}

/* ---- listens ---- */

static const char *listen_address(struct tw_arena *a, const char *text, int *ret_port)
{
    const char *host;

    if (tw_starts_with(text, "unix:")) {
        *ret_port = 0;
        return text + strlen("unix:");
    }
    if (strspn(text, "0123456789") == strlen(text)) {
        *ret_port = atoi(text);
        return "0.0.0.0";
    }
    service_split_port(a, text, &host, ret_port);
    if (!*ret_port)
        *ret_port = 80;
    return tw_streq(host, "*") ? "0.0.0.0" : host;
}

static void take_listen(struct tw_arena *a, const struct nginx_conf *c,
                        const struct nginx_directive *d, int server,
                        struct service_needs *n)
{
    const struct nginx_directive *name = nginx_child(c, server, "server_name");
    bool stream = nginx_around(c, server, "stream") >= 0;
    bool mail = nginx_around(c, server, "mail") >= 0;
    bool ssl = d && nginx_has_arg(d, "ssl");
    struct tw_endpoint e = {.protocol = stream || mail ? (ssl ? "tls" : "tcp")
                                        : ssl          ? "https"
                                                       : "http",
                            .address = "0.0.0.0",
                            .port = 80};

    if (d && (nginx_has_arg(d, "udp") || nginx_has_arg(d, "quic")))
        return;
    if (d && d->args.count)
        e.address = listen_address(a, d->args.items[0], &e.port);
    e.name = name && name->args.count &&
                     strcspn(name->args.items[0], "*~_") == strlen(name->args.items[0])
                 ? name->args.items[0]
                 : NULL;
    if (*e.address == '/')
        SERVICE_ADD_ONCE(a, &n->dirs, service_parent(a, e.address));
    TW_PUSH(a, &n->endpoints, e);
}

static bool is_server(const struct nginx_conf *c, const struct nginx_directive *d)
{
    return nginx_is(d, "server") && d->block &&
           !tw_streq(nginx_parent_name(c, d), "upstream");
}

void nginx_endpoints(struct tw_arena *a, const struct nginx_conf *c,
                     struct service_needs *ret)
{
    for (size_t i = 0; i < c->list.count; i++) {
        bool listens = false;

        if (!is_server(c, &c->list.items[i]))
            continue;
        for (size_t k = 0; k < c->list.count; k++) {
            const struct nginx_directive *d = &c->list.items[k];

            if (d->parent != (int)i || !nginx_is(d, "listen"))
                continue;
            listens = true;
            take_listen(a, c, d, (int)i, ret);
        }
        if (!listens)
            take_listen(a, c, NULL, (int)i, ret);
    }
}

/* ---- whom it calls ---- */

static bool is_upstream(const struct nginx_conf *c, const char *name)
{
    for (size_t i = 0; i < c->list.count; i++)
        if (nginx_is(&c->list.items[i], "upstream") &&
            tw_streq(nginx_arg(&c->list.items[i], 0), name))
            return true;
    return false;
}

static void add_neighbour(struct tw_arena *a, const struct nginx_conf *c,
                          const char *protocol, const char *name, const char *where,
                          int port, bool explicit_server, struct service_needs *n)
{
    struct tw_neighbour b = {.protocol = protocol, .name = name};
    char *text = tw_arena_strdup(a, where);

    if (strchr(text, '$'))
        return;
    if (tw_starts_with(text, "unix:")) {
        text += strlen("unix:");
        text[strcspn(text, ":")] = '\0';
        b.address = text;
        if (*text == '/')
            SERVICE_ADD_ONCE(a, &n->dirs, service_parent(a, text));
    } else {
        text[strcspn(text, "/?")] = '\0';
        service_split_port(a, text, &b.address, &b.port);
        if (!b.port)
            b.port = port;
        if (!explicit_server && is_upstream(c, text))
            return;
    }
    if (*b.address)
        TW_PUSH(a, &n->neighbours, b);
}

static void take_neighbour(struct tw_arena *a, const struct nginx_conf *c,
                           const struct nginx_directive *d, struct service_needs *n)
{
    static const struct {
        const char *name, *protocol;
        int port;
    } passes[] = {
        {"fastcgi_pass", "fastcgi", 9000}, {"uwsgi_pass", "uwsgi", 80},
        {"scgi_pass", "scgi", 80},         {"memcached_pass", "memcached", 11211},
        {"proxy_pass", "http", 80},        {"grpc_pass", "http", 80}};
    const char *first = nginx_arg(d, 0);
    bool upstream = nginx_is(d, "server") && !d->block;

    if (!first)
        return;
    if (upstream && d->parent >= 0 && nginx_is(&c->list.items[d->parent], "upstream")) {
        const struct nginx_directive *u = &c->list.items[d->parent];

        add_neighbour(a, c, nginx_around(c, d->parent, "stream") >= 0 ? "tcp" : "http",
                      nginx_arg(u, 0), first, 80, true, n);
        return;
    }
    for (size_t i = 0; i < TW_COUNT_OF(passes); i++) {
        const char *scheme = strstr(first, "://");
        bool tls = tw_starts_with(first, "https:") || tw_starts_with(first, "grpcs:");

        if (!nginx_is(d, passes[i].name))
            continue;
        add_neighbour(a, c,
                      scheme ? (tls ? "https" : "http")
                      : nginx_around(c, d->parent, "stream") >= 0 ? "tcp"
                                                                  : passes[i].protocol,
                      nginx_is(d, "proxy_pass") ? nginx_context(a, c, d->parent)
                                                : d->name,
                      scheme ? scheme + 3 : first, tls ? 443 : passes[i].port, false, n);
    }
}

/* ---- all of it ---- */

void nginx_needs(struct tw_arena *a, const struct nginx_conf *c,
                 const struct tw_snapshot *s, struct service_needs *ret)
{
    struct nginx_paths p = paths_of(a, s);

    for (size_t i = 0; i < c->files.count; i++)
        SERVICE_ADD_ONCE(a, &ret->files, c->files.items[i]);
    for (size_t i = 0; i < c->list.count; i++) {
        take_path(a, &c->list.items[i], &p, ret);
        take_neighbour(a, c, &c->list.items[i], ret);
    }
    nginx_endpoints(a, c, ret);
    take_built_in(a, c, s, ret);
}

/* A directive alone names its files as it would in its place. */
static void add_step(struct tw_arena *a, const char *root, const struct tw_snapshot *s,
                     const struct tw_plan_step *step, struct service_needs *ret)
{
    struct nginx_conf c;
    const char *dot = step->name ? strrchr(step->name, '.') : NULL;
    const char *text = step->value, *name = step->name;
    size_t before = ret->endpoints.count;

    if (!text)
        return;
    if (step->kind == TW_STEP_SETTING) {
        name = dot ? dot + 1 : name;
        text = tw_arena_printf(
            a, tw_streq(name, "listen") ? "server { %s %s; }" : "%s %s;", name, text);
    }
    nginx_conf_text(a, root, step->path ? step->path : s->config_file, text, &c);
    c.files.count = 0;
    nginx_needs(a, &c, s, ret);
    service_endpoints_keep_own(ret, before);
    if (step->path) /* where it is written has to be seen */
        SERVICE_ADD_ONCE(a, &ret->dirs, service_parent(a, step->path));
}

void nginx_needs_of(struct tw_arena *a, const char *root, const struct tw_snapshot *s,
                    const struct tw_plan *plan, struct service_needs *ret)
{
    struct nginx_conf c;

    *ret = (struct service_needs){0};
    nginx_conf_read(a, root, s->config_file, &c);
    nginx_needs(a, &c, s, ret);
    SERVICE_ADD_ONCE(a, &ret->trees, service_parent(a, s->config_file));
    for (size_t i = 0; plan && i < plan->steps.count; i++)
        add_step(a, root, s, &plan->steps.items[i], ret);
}

/* ---- certificates ---- */

void nginx_certificates(struct tw_arena *a, const char *root, const struct nginx_conf *c,
                        const struct tw_snapshot *s, struct tw_certificates *ret)
{
    struct nginx_paths p = paths_of(a, s);
    static const char *const names[] = {"ssl_certificate", "proxy_ssl_certificate",
                                        "grpc_ssl_certificate", "uwsgi_ssl_certificate"};

    for (size_t i = 0; i < c->list.count; i++) {
        const struct nginx_directive *d = &c->list.items[i], *key = NULL;
        const char *path = nginx_arg(d, 0), *key_path;
        struct tw_certificate one;
        int nth = 0;

        if (tw_name_index(d->name, names, TW_COUNT_OF(names)) < 0 || is_no_file(path) ||
            strchr(path, '$'))
            continue;
        for (size_t k = 0; k < i; k++) /* the n-th certificate goes with the n-th key */
            nth += c->list.items[k].parent == d->parent &&
                   tw_streq(c->list.items[k].name, d->name);
        for (size_t k = 0; k < c->list.count && !key; k++) {
            const struct nginx_directive *other = &c->list.items[k];
            size_t n = strlen(d->name);

            if (other->parent == d->parent && strncmp(other->name, d->name, n) == 0 &&
                tw_streq(other->name + n, "_key") && nth-- == 0)
                key = other;
        }
        key_path = nginx_arg(key, 0);
        service_certificate_read(
            a, root, service_path(a, p.conf_dir, path),
            is_no_file(key_path) ? NULL : service_path(a, p.conf_dir, key_path),
            nginx_context(a, c, d->parent), &one);
        TW_PUSH(a, &ret->list, one);
    }
}

void nginx_judge_certificates(struct tw_arena *a, const struct tw_access *access,
                              struct tw_certificates *ret)
{
    struct nginx_conf c;

    nginx_conf_read(a, access->root, access->snapshot->config_file, &c);
    nginx_certificates(a, access->root, &c, access->snapshot, ret);
}

/* ---- settings ---- */

void nginx_settings(struct tw_arena *a, const struct nginx_conf *c, struct tw_snapshot *s)
{
    for (size_t i = 0; i < c->list.count; i++) {
        const struct nginx_directive *d = &c->list.items[i];
        const char *context = nginx_context(a, c, d->parent);
        struct tw_setting one = {
            .name =
                d->parent < 0 ? d->name : tw_arena_printf(a, "%s.%s", context, d->name),
            .type = "string",
            .context = context,
            .source = "configuration file",
            .file = d->file,
            .line = d->line};

        if (d->block)
            continue;
        one.value = tw_redact_value(NULL, a, d->name, nginx_values(a, d));
        TW_PUSH(a, &s->settings, one);
    }
}
