/* redis.conf: read as the server reads it, changed as CONFIG REWRITE would. */
#include "kind_redis_internal.h"

#include <ctype.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define INCLUDE_DEPTH 10

/* ---- arguments of a line ---- */

static int hex_of(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* Inside double quotes: \xHH, \n \r \t \b \a, else the character itself. */
static const char *take_escape(const char *p, struct tw_buf *word)
{
    static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
    const char *known;
    char c = p[1];

    if (c == 'x' && isxdigit((unsigned char)p[2]) && isxdigit((unsigned char)p[3])) {
        c = (char)(hex_of(p[2]) * 16 + hex_of(p[3]));
        tw_buf_add(word, &c, 1);
        return p + 4;
    }
    if (c && (known = strchr(from, c)))
        c = to[known - from];
    tw_buf_add(word, &c, 1);
    return c ? p + 2 : p + 1;
}

static const char *take_word(struct tw_arena *a, const char *p, const char **ret)
{
    tw_auto_buf word = {0};
    char quote = 0;

    tw_buf_init(&word, 1 << 20);
    for (; *p && (quote || !isspace((unsigned char)*p));) {
        if (quote == '"' && *p == '\\' && p[1]) {
            p = take_escape(p, &word);
        } else if (quote == '\'' && *p == '\\' && p[1] == '\'') {
            tw_buf_puts(&word, "'");
            p += 2;
        } else if (quote ? *p == quote : (*p == '"' || *p == '\'')) {
            quote = quote ? 0 : *p;
            p++;
        } else {
            tw_buf_add(&word, p++, 1);
        }
    }
    *ret = tw_arena_strdup(a, tw_buf_text(&word));
    return p;
}

static bool read_line(struct tw_arena *a, const char *text, struct redis_line *ret)
{
    const char *word;

    text += strspn(text, " \t\r\v\f");
    if (!*text || *text == '#')
        return false;
    text = take_word(a, text, &word);
    ret->name = word;
    for (char *c = (char *)word; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    text += strspn(text, " \t\r\v\f");
    ret->value = tw_arena_strdup(a, text);
    for (char *end = (char *)ret->value + strlen(ret->value);
         end > ret->value && isspace((unsigned char)end[-1]);)
        *--end = '\0';
    while (*text) {
        text = take_word(a, text, &word);
        TW_PUSH(a, &ret->args, word);
        text += strspn(text, " \t\r\v\f");
    }
    return true;
}

/* ---- files ---- */

struct reading {
    struct tw_arena *a;
    const char *root;
    struct redis_conf *conf;
};

static void read_file(const struct reading *r, const char *path, int depth);

/* Relative names are relative to where the server was started; in practice there are none. */
static void include(const struct reading *r, const char *pattern, const char *from,
                    int depth)
{
    const char *whole =
        *pattern == '/'
            ? pattern
            : tw_arena_printf(r->a, "%s/%s", host_parent(r->a, from), pattern);
    tw_auto_free char *host = tw_strf("%s%s", r->root, whole);
    glob_t found;

    if (host_glob(host, &found) != 0) {
        if (!strpbrk(whole, "*?["))
            read_file(r, whole, depth);
        return;
    }
    for (size_t i = 0; i < found.gl_pathc; i++)
        read_file(r, tw_arena_strdup(r->a, found.gl_pathv[i] + strlen(r->root)), depth);
    globfree(&found);
}

static void read_file(const struct reading *r, const char *path, int depth)
{
    tw_auto_free char *host = tw_strf("%s%s", r->root, path);
    tw_auto_free char *text = NULL;
    char *rest;
    int number = 0;

    if (tw_read_file(AT_FDCWD, host, 8 << 20, &text, NULL, NULL) < 0 ||
        depth > INCLUDE_DEPTH) {
        if (!r->conf->problem)
            r->conf->problem = tw_arena_printf(r->a, "'%s' cannot be read", path);
        return;
    }
    TW_PUSH(r->a, &r->conf->files, tw_arena_strdup(r->a, path));
    rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        struct redis_line one = {.file = path, .line = ++number};

        if (!read_line(r->a, line, &one))
            continue;
        if (tw_streq(one.name, "include"))
            for (size_t i = 0; i < one.args.count; i++)
                include(r, one.args.items[i], path, depth + 1);
        else
            TW_PUSH(r->a, &r->conf->lines, one);
    }
}

void redis_conf_read(struct tw_arena *a, const char *root, const char *path,
                     struct redis_conf *ret)
{
    struct reading r = {a, root, ret};

    *ret = (struct redis_conf){0};
    read_file(&r, tw_arena_strdup(a, path), 0);
}

/* ---- what holds ---- */

/* Names that were changed by Redis: a file may have either. */
static const char *const aliases[][2] = {
    {"slaveof", "replicaof"},
    {"slave-read-only", "replica-read-only"},
    {"slave-serve-stale-data", "replica-serve-stale-data"},
    {"min-slaves-to-write", "min-replicas-to-write"},
    {"min-slaves-max-lag", "min-replicas-max-lag"}};

static bool same_name(const char *a, const char *b)
{
    if (strcasecmp(a, b) == 0)
        return true;
    for (size_t i = 0; i < TW_COUNT_OF(aliases); i++)
        if ((strcasecmp(aliases[i][0], a) == 0 && strcasecmp(aliases[i][1], b) == 0) ||
            (strcasecmp(aliases[i][1], a) == 0 && strcasecmp(aliases[i][0], b) == 0))
            return true;
    return false;
}

const struct redis_line *redis_conf_last(const struct redis_conf *conf, const char *name)
{
    for (size_t i = conf->lines.count; i-- > 0;)
        if (same_name(conf->lines.items[i].name, name))
            return &conf->lines.items[i];
    return NULL;
}

static void add_words(const struct redis_line *line, struct tw_buf *out)
{
    for (size_t i = 0; i < line->args.count; i++)
        tw_buf_printf(out, "%s%s", out->len ? " " : "", line->args.items[i]);
}

const char *redis_conf_value(struct tw_arena *a, const struct redis_conf *conf,
                             const char *name, const char *fallback)
{
    const struct redis_line *last = redis_conf_last(conf, name);
    bool adds_up = strcasecmp(name, "save") == 0;
    tw_auto_buf out = {0};

    if (!last)
        return fallback;
    tw_buf_init(&out, 1 << 20);
    for (size_t i = 0; adds_up && i < conf->lines.count; i++) {
        const struct redis_line *l = &conf->lines.items[i];

        if (!same_name(l->name, name))
            continue;
        if (l->args.count == 1 && !*l->args.items[0])
            tw_buf_clear(&out); /* save "": none of those before */
        else
            add_words(l, &out);
    }
    if (!adds_up)
        add_words(last, &out);
    return tw_arena_strdup(a, tw_buf_text(&out));
}

const char *redis_conf_command(const struct redis_conf *conf, const char *command)
{
    for (size_t i = conf->lines.count; i-- > 0;) {
        const struct redis_line *l = &conf->lines.items[i];

        if (tw_streq(l->name, "rename-command") && l->args.count == 2 &&
            strcasecmp(l->args.items[0], command) == 0)
            return *l->args.items[1] ? l->args.items[1] : NULL;
    }
    return command;
}

/* ---- changing a text ---- */

bool redis_conf_is_list(const char *name)
{
    static const char *const lists[] = {"save",
                                        "bind",
                                        "bind-source-addr",
                                        "replicaof",
                                        "slaveof",
                                        "client-output-buffer-limit",
                                        "oom-score-adj-values",
                                        "latency-tracking-info-percentiles",
                                        "rename-command",
                                        "user",
                                        "include",
                                        "loadmodule"};

    for (size_t i = 0; i < TW_COUNT_OF(lists); i++)
        if (strcasecmp(lists[i], name) == 0)
            return true;
    return false;
}

bool redis_conf_is_file_only(const char *name)
{
    static const char *const names[] = {"rename-command", "user", "include",
                                        "loadmodule"};

    for (size_t i = 0; i < TW_COUNT_OF(names); i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}

static const char *shown(struct tw_arena *a, const char *name, const char *value)
{
    tw_auto_buf out = {0};

    if (*value && (redis_conf_is_list(name) || !strpbrk(value, " \t\"'\\#")))
        return value;
    if (*value == '"' && tw_ends_with(value, "\"") && strlen(value) > 1)
        return value;
    tw_buf_init(&out, 1 << 20);
    tw_buf_puts(&out, "\"");
    for (const char *p = value; *p; p++)
        tw_buf_printf(&out, "%s%c", strchr("\"\\", *p) ? "\\" : "", *p);
    tw_buf_puts(&out, "\"");
    return tw_arena_strdup(a, tw_buf_text(&out));
}

/* Of a name that there may be many of, the line about the same thing: user and command by their
 * first word. */
static bool same_line(struct tw_arena *a, const struct redis_line *l, const char *name,
                      const char *value)
{
    struct redis_line ours = {0};

    if (!same_name(l->name, name))
        return false;
    if (!redis_conf_is_file_only(name) || !value)
        return true;
    return read_line(a, tw_arena_printf(a, "%s %s", name, value), &ours) &&
           ours.args.count && l->args.count &&
           strcasecmp(ours.args.items[0], l->args.items[0]) == 0;
}

char *redis_conf_set(struct tw_arena *a, const char *text, const char *name,
                     const char *value)
{
    char *rest = tw_arena_strdup(a, text);
    const char *line =
        value ? tw_arena_printf(a, "%s %s\n", name, shown(a, name, value)) : "";
    tw_auto_buf out = {0};
    bool done = false;

    tw_buf_init(&out, 16 << 20);
    for (char *old; (old = strsep(&rest, "\n"));) {
        struct redis_line one = {0};

        if (read_line(a, old, &one) && same_line(a, &one, name, value)) {
            tw_buf_puts(&out, done ? "" : line);
            done = true;
        } else if (rest || *old) {
            tw_buf_printf(&out, "%s\n", old);
        }
    }
    if (!done)
        tw_buf_puts(&out, line);
    return tw_arena_strdup(a, tw_buf_text(&out));
}
