/* HAProxy's configuration: lines of words in sections. */
#include "kind_haproxy_internal.h"

#include <ctype.h>
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)8 << 20)

static const char *const section_names[] = {
    "global",    "defaults", "frontend",    "backend",   "listen",      "peers",
    "resolvers", "mailers",  "userlist",    "program",   "http-errors", "cache",
    "ring",      "fcgi-app", "log-forward", "crt-store", "traces",      "acme"};

/* ---- words ---- */

/* Quotes, backslashes and comments as haproxy takes them; NULL at the end of the line. */
static const char *next_word(struct tw_arena *a, const char **at)
{
    const char *p = *at + strspn(*at, " \t\r\v\f");
    char *out = tw_arena_alloc(a, strlen(p) + 1), *end = out, quote = 0;

    if (!*p || *p == '#')
        return NULL;
    for (; *p && (quote || (!isspace((unsigned char)*p) && *p != '#')); p++) {
        if (!quote && (*p == '"' || *p == '\'')) {
            quote = *p;
        } else if (quote && *p == quote) {
            quote = 0;
        } else {
            if (*p == '\\' && quote != '\'' && p[1])
                p++;
            *end++ = *p;
        }
    }
    *at = p;
    *end = '\0';
    return out;
}

static void take_line(struct tw_arena *a, const char *file, const char *text, size_t from,
                      size_t n, int number, bool ended, struct haproxy_conf *ret)
{
    const char *at = tw_arena_strndup(a, text + from, n);
    struct haproxy_line l = {.file = file,
                             .line = number,
                             .section = -1,
                             .from = from,
                             .to = from + n,
                             .ended = ended};
    const char *word;

    while ((word = next_word(a, &at)))
        TW_PUSH(a, &l.words, word);
    if (!l.words.count)
        return;
    if (tw_name_index(l.words.items[0], section_names, TW_COUNT_OF(section_names)) < 0)
        for (size_t i = ret->list.count; i-- > 0 && l.section < 0;)
            if (ret->list.items[i].section < 0)
                l.section = (int)i;
    TW_PUSH(a, &ret->list, l);
}

static void read_text(struct tw_arena *a, const char *path, const char *text,
                      struct haproxy_conf *ret)
{
    size_t at = 0;
    int number = 0;

    while (text[at]) {
        size_t n = strcspn(text + at, "\n");

        take_line(a, path, text, at, n, ++number, text[at + n] == '\n', ret);
        at += n + (text[at + n] == '\n');
    }
}

static void read_file(struct tw_arena *a, const char *root, const char *path,
                      struct haproxy_conf *ret)
{
    tw_auto_free char *text = NULL;
    struct tw_err why = {0};

    if (service_read_in(root, path, FILE_MAX, &text, &why) < 0) {
        if (!ret->problem)
            ret->problem = tw_arena_strdup(a, why.text);
        return;
    }
    service_add_once(a, &ret->files, path);
    read_text(a, path, text, ret);
}

static void read_dir(struct tw_arena *a, const char *root, const char *path,
                     struct haproxy_conf *ret)
{
    tw_auto_free char *pattern = tw_strf("%s%s/*.cfg", root, path);
    glob_t found;

    if (host_glob(pattern, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        read_file(a, root, tw_arena_strdup(a, found.gl_pathv[i] + strlen(root)), ret);
    globfree(&found);
}

void haproxy_conf_read(struct tw_arena *a, const char *root, const char *const *paths,
                       size_t n, struct haproxy_conf *ret)
{
    *ret = (struct haproxy_conf){0};
    for (size_t i = 0; i < n; i++) {
        size_t before = ret->files.count;
        const char *problem = ret->problem;

        read_dir(a, root, paths[i], ret);
        if (ret->files.count == before)
            read_file(a, root, paths[i], ret);
        else
            ret->problem = problem;
    }
}

void haproxy_conf_text(struct tw_arena *a, const char *path, const char *text,
                       struct haproxy_conf *ret)
{
    *ret = (struct haproxy_conf){0};
    read_text(a, path, text, ret);
}

void haproxy_conf_of(struct tw_arena *a, const char *root, const struct tw_snapshot *s,
                     struct haproxy_conf *ret)
{
    struct service_texts paths = {0};

    for (size_t i = 0; i < s->settings.count; i++)
        if (tw_streq(s->settings.items[i].name, "command.-f"))
            service_add_once(a, &paths, s->settings.items[i].value);
    if (!paths.list.count)
        service_add_once(a, &paths, s->config_file);
    haproxy_conf_read(a, root, paths.list.items, paths.list.count, ret);
}

/* ---- looking around ---- */

const char *haproxy_word(const struct haproxy_line *l, size_t i)
{
    return l && i < l->words.count ? l->words.items[i] : NULL;
}

bool haproxy_is(const struct haproxy_line *l, const char *first, const char *second)
{
    return tw_streq(haproxy_word(l, 0), first) &&
           (!second || tw_streq(haproxy_word(l, 1), second));
}

const char *haproxy_after(const struct haproxy_line *l, const char *word)
{
    for (size_t i = 1; i + 1 < l->words.count; i++)
        if (tw_streq(l->words.items[i], word))
            return l->words.items[i + 1];
    return NULL;
}

const char *haproxy_section(struct tw_arena *a, const struct haproxy_conf *c, int section)
{
    const struct haproxy_line *l = section < 0 ? NULL : &c->list.items[section];

    if (!l)
        return "none";
    return haproxy_word(l, 1)
               ? tw_arena_printf(a, "%s:%s", l->words.items[0], l->words.items[1])
               : l->words.items[0];
}

bool haproxy_is_proxy(const struct haproxy_line *l)
{
    static const char *const proxies[] = {"frontend", "backend", "listen"};

    return l->section < 0 &&
           tw_name_index(haproxy_word(l, 0), proxies, TW_COUNT_OF(proxies)) >= 0;
}

static const struct haproxy_line *own(const struct haproxy_conf *c, int section,
                                      const char *first, const char *second)
{
    const struct haproxy_line *found = NULL;

    for (size_t i = 0; i < c->list.count; i++)
        if (c->list.items[i].section == section &&
            haproxy_is(&c->list.items[i], first, second))
            found = &c->list.items[i];
    return found;
}

/* "frontend x from name" takes the defaults of that name, others the last before them. */
static int defaults_of(const struct haproxy_conf *c, int section)
{
    const char *name = haproxy_after(&c->list.items[section], "from");

    for (int i = section; i-- > 0;)
        if (haproxy_is(&c->list.items[i], "defaults", NULL) &&
            c->list.items[i].section < 0 &&
            (!name || tw_streq(haproxy_word(&c->list.items[i], 1), name)))
            return i;
    return -1;
}

const struct haproxy_line *haproxy_effective(const struct haproxy_conf *c, int section,
                                             const char *first, const char *second)
{
    const struct haproxy_line *l = own(c, section, first, second);
    int defaults = l ? -1 : defaults_of(c, section);

    return l ? l : defaults >= 0 ? own(c, defaults, first, second) : NULL;
}

const char *haproxy_text(struct tw_arena *a, const struct haproxy_line *l, size_t from)
{
    const char *text = "";

    for (size_t i = from; i < l->words.count; i++)
        text = tw_arena_printf(a, "%s%s%s", text, i > from ? " " : "", l->words.items[i]);
    return text;
}

double haproxy_seconds(const char *text)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1},  {"m", 60},
                 {"h", 3600},  {"d", 86400}, {"", 1e-3}};
    char *end;
    double value = text ? strtod(text, &end) : NAN;

    for (size_t i = 0; text && end != text && i < TW_COUNT_OF(units); i++)
        if (tw_streq(end, units[i].unit))
            return value * units[i].seconds;
    return NAN;
}
