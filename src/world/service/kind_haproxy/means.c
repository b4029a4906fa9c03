/* What a configuration of HAProxy names: files, directories, users, where it listens, its servers,
 * its certificates. */
#include "kind_haproxy_internal.h"

#include <stdlib.h>
#include <ctype.h>
#include <string.h>
#include <sys/stat.h>

/* ---- files ---- */

static const char *global_value(const struct haproxy_conf *c, const char *keyword)
{
    for (size_t i = 0; i < c->list.count; i++) {
        const struct haproxy_line *l = &c->list.items[i];

        if (haproxy_is(l, keyword, NULL) && l->section >= 0 &&
            haproxy_is(&c->list.items[l->section], "global", NULL))
            return haproxy_word(l, 1);
    }
    return NULL;
}

/* "crt site.pem" lies below crt-base, "ca-file x" below ca-base. */
static const char *with_base(struct tw_arena *a, const struct haproxy_conf *c,
                             const char *key, const char *path)
{
    const char *base = strstr(key, "ca") == key || tw_starts_with(key, "crl")
                           ? global_value(c, "ca-base")
                           : global_value(c, "crt-base");

    if (*path == '/' || !base)
        return service_path(a, "/", path);
    return service_path(a, base, path);
}

static bool is_tls_file(const char *word)
{
    static const char *const words[] = {
        "crt",      "ca-file",           "crl-file",       "ca-verify-file",
        "crt-list", "ssl-dh-param-file", "tls-ticket-keys"};

    return tw_name_index(word, words, TW_COUNT_OF(words)) >= 0;
}

static void add_named(struct tw_arena *a, const char *path, struct service_needs *n)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        SERVICE_ADD_ONCE(a, &n->trees, path);
    else
        SERVICE_ADD_ONCE(a, &n->named, path);
}

/* Any word that is a file of the target belongs along: error pages, maps, lists, scripts. */
static void take_files(struct tw_arena *a, const struct haproxy_conf *c,
                       const struct haproxy_line *l, struct service_needs *n)
{
    static const char *const not_files[] = {"bind",   "server",       "stats",      "log",
                                            "chroot", "http-request", "monitor-uri"};
    bool any = tw_name_index(haproxy_word(l, 0), not_files, TW_COUNT_OF(not_files)) < 0;

    for (size_t i = 1; i < l->words.count; i++) {
        const char *word = l->words.items[i], *file;

        if (is_tls_file(l->words.items[i - 1]))
            add_named(a, with_base(a, c, l->words.items[i - 1], word), n);
        else if (any && *word == '/' && service_exists_in("", word))
            add_named(a, service_path(a, "/", word), n);
        file = strstr(word, "-f/"); /* "acl bad src -f/etc/haproxy/list" */
        if (file)
            add_named(a, service_path(a, "/", file + 2), n);
        if (tw_streq(l->words.items[i - 1], "-f") && *word == '/')
            add_named(a, service_path(a, "/", word), n);
    }
}

static void take_places(struct tw_arena *a, const struct haproxy_line *l,
                        struct service_needs *n)
{
    static const struct {
        const char *first, *second;
        size_t word;
        bool parent;
    } rows[] = {{"chroot", NULL, 1, false},
                {"stats", "socket", 2, true},
                {"pidfile", NULL, 1, true},
                {"server-state-base", NULL, 1, false},
                {"server-state-file", NULL, 1, true}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        const char *path = haproxy_word(l, rows[i].word);

        if (!path || *path != '/' || !haproxy_is(l, rows[i].first, rows[i].second))
            continue;
        path = service_path(a, "/", path);
        SERVICE_ADD_ONCE(a, &n->dirs, rows[i].parent ? service_parent(a, path) : path);
    }
    if (haproxy_is(l, "user", NULL) && haproxy_word(l, 1))
        SERVICE_ADD_ONCE(a, &n->users, haproxy_word(l, 1));
    if (haproxy_is(l, "group", NULL) && haproxy_word(l, 1))
        SERVICE_ADD_ONCE(a, &n->groups, haproxy_word(l, 1));
}

/* ---- listens and servers ---- */

static const char *mode_of(const struct haproxy_conf *c, int section)
{
    const struct haproxy_line *l = haproxy_effective(c, section, "mode", NULL);
    const char *mode = haproxy_word(l, 1);

    return mode ? mode : "tcp";
}

static bool has_word(const struct haproxy_line *l, const char *word)
{
    for (size_t i = 1; i < l->words.count; i++)
        if (tw_streq(l->words.items[i], word))
            return true;
    return false;
}

static const char *plain_socket(const char *text)
{
    static const char *const prefixes[] = {"unix@", "ipv4@", "ipv6@",
                                           "tcp@",  "tcp4@", "tcp6@"};

    for (size_t i = 0; i < TW_COUNT_OF(prefixes); i++)
        if (tw_starts_with(text, prefixes[i]))
            return text + strlen(prefixes[i]);
    return text;
}

static void take_bind(struct tw_arena *a, const struct haproxy_conf *c,
                      const struct haproxy_line *l, struct service_needs *n)
{
    bool http = tw_streq(mode_of(c, l->section), "http"), ssl = has_word(l, "ssl");
    char *list = tw_arena_strdup(a, l->words.items[1]);

    for (char *one; (one = strsep(&list, ","));) {
        struct tw_endpoint e = {.protocol = http  ? (ssl ? "https" : "http")
                                            : ssl ? "tls"
                                                  : "tcp",
                                .name = haproxy_word(&c->list.items[l->section], 1)};
        const char *text = plain_socket(one);

        if (strchr(text, '@') || strchr(text, '$'))
            continue;
        if (*text == '/') {
            e.address = text;
            SERVICE_ADD_ONCE(a, &n->dirs, service_parent(a, service_path(a, "/", text)));
        } else {
            const char *colon = strrchr(text, ':');

            /* ":::80" is any IPv6 address */
            e.port = colon ? atoi(colon + 1) : 0;
            e.address = colon ? tw_arena_strndup(a, text, (size_t)(colon - text)) : text;
            if (*e.address == '[')
                e.address =
                    tw_arena_strndup(a, e.address + 1, strcspn(e.address, "]") - 1);
            if (!*e.address || tw_streq(e.address, "*"))
                e.address = "0.0.0.0";
        }
        TW_PUSH(a, &n->endpoints, e);
    }
}

static const char *variable(const struct host_command *begun, const char *name, size_t n)
{
    for (size_t i = 0; i < begun->env.count; i++)
        if (strncmp(begun->env.items[i], name, n) == 0 && begun->env.items[i][n] == '=')
            return begun->env.items[i] + n + 1;
    return NULL;
}

/* "${BACKEND}:8080" as it was begun; with its '$' where the name is not known. */
static const char *expanded(struct tw_arena *a, const struct host_command *begun,
                            const char *text)
{
    const char *dollar = strchr(text, '$'), *name, *value;
    size_t n;

    if (!dollar)
        return text;
    name = dollar + 1 + (dollar[1] == '{');
    for (n = 0; isalnum((unsigned char)name[n]) || name[n] == '_';)
        n++;
    value = variable(begun, name, n);
    if (!value || strchr(value, '$'))
        return text;
    return expanded(a, begun,
                    tw_arena_printf(a, "%.*s%s%s", (int)(dollar - text), text, value,
                                    name + n + (dollar[1] == '{' && name[n] == '}')));
}

static void take_server(struct tw_arena *a, const struct haproxy_conf *c,
                        const struct haproxy_line *l, const struct host_command *begun,
                        struct service_needs *n)
{
    const char *section = haproxy_word(&c->list.items[l->section], 1);
    const char *text = expanded(a, begun, plain_socket(haproxy_word(l, 2)));
    bool http = tw_streq(mode_of(c, l->section), "http");
    struct tw_neighbour b = {
        .protocol = http ? has_word(l, "ssl") ? "https" : "http" : "tcp",
        .name = tw_arena_printf(a, "%s/%s", section ? section : "", l->words.items[1])};

    if (strchr(text, '@') || strchr(text, '$'))
        return;
    if (*text == '/') {
        b.address = text;
        SERVICE_ADD_ONCE(a, &n->dirs, service_parent(a, service_path(a, "/", text)));
    } else {
        service_split_port(a, text, &b.address, &b.port);
    }
    if (*b.address)
        TW_PUSH(a, &n->neighbours, b);
}

void haproxy_needs(struct tw_arena *a, const char *root, const struct haproxy_conf *c,
                   const struct tw_snapshot *s, struct service_needs *ret)
{
    struct host_command begun;

    (void)s;
    host_command_of(a, root, &begun);
    for (size_t i = 0; i < c->files.count; i++)
        SERVICE_ADD_ONCE(a, &ret->files, c->files.items[i]);
    for (size_t i = 0; i < c->list.count; i++) {
        const struct haproxy_line *l = &c->list.items[i];

        if (l->section < 0)
            continue;
        take_files(a, c, l, ret);
        take_places(a, l, ret);
        if (haproxy_is(l, "bind", NULL) && l->words.count > 1)
            take_bind(a, c, l, ret);
        if ((haproxy_is(l, "server", NULL) || haproxy_is(l, "server-template", NULL)) &&
            l->words.count > 2 && haproxy_is_proxy(&c->list.items[l->section]))
            take_server(a, c, l, &begun, ret);
    }
}

/* Words alone, as they would stand in a section. */
static void add_step(struct tw_arena *a, const char *root, const struct tw_snapshot *s,
                     const struct tw_plan_step *step, struct service_needs *ret)
{
    struct haproxy_conf c;
    const char *text = step->value;
    const char *dot = step->name ? strrchr(step->name, '.') : NULL;
    size_t before = ret->endpoints.count;

    if (!text)
        return;
    if (step->kind == TW_STEP_SETTING)
        text =
            tw_arena_printf(a, "backend x\n %s %s\n", dot ? dot + 1 : step->name, text);
    haproxy_conf_text(a, s->config_file, text, &c);
    haproxy_needs(a, root, &c, s, ret);
    service_endpoints_keep_own(ret, before);
    if (step->path)
        SERVICE_ADD_ONCE(a, &ret->dirs, service_parent(a, step->path));
}

void haproxy_needs_of(struct tw_arena *a, const char *root, const struct tw_snapshot *s,
                      const struct tw_plan *plan, struct service_needs *ret)
{
    struct haproxy_conf c;

    *ret = (struct service_needs){0};
    haproxy_conf_of(a, root, s, &c);
    haproxy_needs(a, root, &c, s, ret);
    SERVICE_ADD_ONCE(a, &ret->trees, service_parent(a, s->config_file));
    for (size_t i = 0; plan && i < plan->steps.count; i++)
        add_step(a, root, s, &plan->steps.items[i], ret);
}

/* ---- certificates ---- */

static void add_certificate(struct tw_arena *a, const char *root, const char *path,
                            const char *used_by, struct tw_certificates *ret)
{
    struct tw_certificate one;
    const char *beside = tw_arena_printf(a, "%s.key", path);

    service_certificate_read(
        a, root, path, service_exists_in(root, beside) ? beside : NULL, used_by, &one);
    TW_PUSH(a, &ret->list, one);
}

void haproxy_certificates(struct tw_arena *a, const char *root,
                          const struct haproxy_conf *c, struct tw_certificates *ret)
{
    for (size_t i = 0; i < c->list.count; i++) {
        const struct haproxy_line *l = &c->list.items[i];
        const char *path = l->section < 0 ? NULL : haproxy_after(l, "crt");

        if (!path || (!haproxy_is(l, "bind", NULL) && !haproxy_is(l, "server", NULL)))
            continue;
        path = with_base(a, c, "crt", path);
        add_certificate(a, root, path,
                        tw_arena_printf(a, "%s %s %s", haproxy_section(a, c, l->section),
                                        l->words.items[0],
                                        haproxy_word(l, 1) ? haproxy_word(l, 1) : ""),
                        ret);
    }
}

void haproxy_judge_certificates(struct tw_arena *a, const struct tw_access *access,
                                struct tw_certificates *ret)
{
    struct haproxy_conf c;

    haproxy_conf_of(a, access->root, access->snapshot, &c);
    haproxy_certificates(a, access->root, &c, ret);
}

/* ---- settings ---- */

static bool has_two_words(const struct haproxy_line *l)
{
    static const char *const firsts[] = {"timeout",    "option",    "stats",  "no",
                                         "http-check", "tcp-check", "server", "stick",
                                         "bind",       "errorfile"};

    return l->words.count > 1 &&
           tw_name_index(l->words.items[0], firsts, TW_COUNT_OF(firsts)) >= 0;
}

void haproxy_settings(struct tw_arena *a, const struct haproxy_conf *c,
                      struct tw_snapshot *s)
{
    for (size_t i = 0; i < c->list.count; i++) {
        const struct haproxy_line *l = &c->list.items[i];
        const char *section, *name;

        if (l->section < 0)
            continue;
        section = haproxy_section(a, c, l->section);
        name = has_two_words(l)
                   ? tw_arena_printf(a, "%s %s", l->words.items[0], l->words.items[1])
                   : l->words.items[0];
        TW_PUSH(a, &s->settings,
                (struct tw_setting){
                    .name = tw_arena_printf(a, "%s.%s", section, name),
                    .value = tw_redact_value(
                        NULL, a, name, haproxy_text(a, l, has_two_words(l) ? 2 : 1)),
                    .type = "string",
                    .context = section,
                    .source = "configuration file",
                    .file = l->file,
                    .line = l->line});
    }
}
