/* postgresql.conf and what it includes, read as the server reads it. A mistake in a file
 * is not an error here: the server itself will judge it; this reader only has to know
 * what stands where. */
#include "kind_pg_internal.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEPTH_MAX 10 /* CONF_FILE_MAX_DEPTH of the server */
#define FILE_MAX  (1 << 20)

/* One line taken apart; name NULL: a comment, blank or not understood. */
struct line {
    char *name, *value;
    size_t value_at, value_len; /* of the value with its quotes, within the line */
};

static size_t skip_blank(const char *s, size_t i)
{
    while (s[i] == ' ' || s[i] == '\t' || s[i] == '\r')
        i++;
    return i;
}

static char *unquote(struct tw_arena *a, const char *s, size_t n)
{
    char *out = tw_arena_alloc(a, n + 1);
    size_t len = 0;

    for (size_t i = 1; i + 1 < n; i++) {
        if ((s[i] == '\'' || s[i] == '\\') && i + 2 < n)
            i++;
        out[len++] = s[i];
    }
    return out;
}

static size_t value_length(const char *s, size_t at, size_t end)
{
    size_t i = at;

    if (s[at] != '\'') {
        while (i < end && s[i] != '#' && !isspace((unsigned char)s[i]))
            i++;
        return i - at;
    }
    for (i = at + 1; i < end; i++) {
        if (s[i] == '\\')
            i++;
        else if (s[i] == '\'' && s[i + 1] == '\'')
            i++;
        else if (s[i] == '\'')
            return i + 1 - at;
    }
    return end - at;
}

static struct line take_apart(struct tw_arena *a, const char *s, size_t end)
{
    struct line l = {0};
    size_t i = skip_blank(s, 0), from = i;

    while (i < end && (isalnum((unsigned char)s[i]) || strchr("_.$", s[i])))
        i++;
    if (i == from || i >= end + 1)
        return l;
    l.name = tw_arena_strndup(a, s + from, i - from);
    for (char *c = l.name; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    i = skip_blank(s, i);
    if (i < end && s[i] == '=')
        i = skip_blank(s, i + 1);
    l.value_at = i;
    l.value_len = i < end ? value_length(s, i, end) : 0;
    if (l.value_len == 0)
        l.name = NULL;
    else if (s[i] == '\'')
        l.value = unquote(a, s + i, l.value_len);
    else
        l.value = tw_arena_strndup(a, s + i, l.value_len);
    return l;
}

struct reading {
    struct tw_arena *a;
    const char *root;
    struct kind_pg_conf *conf;
};

static void read_one(struct reading *r, const char *path, int depth, bool must);

static const char *beside(struct tw_arena *a, const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');

    if (*path == '/' || !slash)
        return path;
    return tw_arena_printf(a, "%.*s/%s", (int)(slash - file), file, path);
}

static int only_conf(const struct dirent *d)
{
    return d->d_name[0] != '.' && tw_ends_with(d->d_name, ".conf");
}

static void read_dir(struct reading *r, const char *path, int depth)
{
    const char *host = tw_arena_printf(r->a, "%s%s", r->root, path);
    struct dirent **names = NULL;
    int n = scandir(host, &names, only_conf, alphasort);

    for (int i = 0; i < n; i++) {
        read_one(r, tw_arena_printf(r->a, "%s/%s", path, names[i]->d_name), depth, true);
        free(names[i]);
    }
    free(names);
}

static void take_line(struct reading *r, const char *file, int depth,
                      const struct line *l, int number)
{
    const char *path;

    if (!tw_starts_with(l->name, "include")) {
        struct kind_pg_entry e = {l->name, l->value, file, number};

        TW_PUSH(r->a, &r->conf->entries, e);
        return;
    }
    path = beside(r->a, file, l->value);
    if (tw_streq(l->name, "include_dir"))
        read_dir(r, path, depth + 1);
    else if (tw_streq(l->name, "include") || tw_streq(l->name, "include_if_exists"))
        read_one(r, path, depth + 1, tw_streq(l->name, "include"));
}

static void read_one(struct reading *r, const char *path, int depth, bool must)
{
    const char *host = tw_arena_printf(r->a, "%s%s", r->root, path);
    tw_auto_free char *text = NULL;
    struct tw_err why;
    int number = 1;

    if (depth > DEPTH_MAX)
        return;
    if (tw_read_file(AT_FDCWD, host, FILE_MAX, &text, NULL, &why) < 0) {
        if (must && !r->conf->problem)
            r->conf->problem = tw_arena_strdup(r->a, why.text);
        return;
    }
    TW_PUSH(r->a, &r->conf->files, path);
    for (const char *s = text; *s; number++) {
        size_t end = strcspn(s, "\n");
        struct line l = take_apart(r->a, s, end);

        if (l.name)
            take_line(r, path, depth, &l, number);
        s += end + (s[end] == '\n');
    }
}

void kind_pg_conf_read(struct tw_arena *a, const char *root, const char *config_file,
                       const char *data_dir, struct kind_pg_conf *ret)
{
    struct reading r = {a, root, ret};

    *ret = (struct kind_pg_conf){0};
    read_one(&r, config_file, 0, true);
    if (data_dir)
        read_one(&r, tw_arena_printf(a, "%s/postgresql.auto.conf", data_dir), 0, false);
}

const struct kind_pg_entry *kind_pg_conf_last(const struct kind_pg_conf *conf,
                                              const char *name)
{
    for (size_t i = conf->entries.count; i-- > 0;)
        if (strcasecmp(conf->entries.items[i].name, name) == 0)
            return &conf->entries.items[i];
    return NULL;
}

static void add_quoted(struct tw_buf *out, const char *value)
{
    tw_buf_puts(out, "'");
    for (; *value; value++) {
        if (*value == '\'' || *value == '\\')
            tw_buf_add(out, value, 1);
        tw_buf_add(out, value, 1);
    }
    tw_buf_puts(out, "'");
}

char *kind_pg_conf_rewrite(struct tw_arena *a, const char *text,
                           kind_pg_rewrite_fn *value, void *arg)
{
    tw_auto_buf out = {0};

    tw_buf_init(&out, 2 * FILE_MAX);
    for (const char *s = text; *s;) {
        size_t end = strcspn(s, "\n");
        struct line l = take_apart(a, s, end);
        const char *now = l.name ? value(arg, l.name) : NULL;

        if (now) {
            tw_buf_add(&out, s, l.value_at);
            add_quoted(&out, now);
            tw_buf_add(&out, s + l.value_at + l.value_len,
                       end - l.value_at - l.value_len);
        } else {
            tw_buf_add(&out, s, end);
        }
        s += end;
        if (*s == '\n')
            tw_buf_add(&out, s++, 1);
    }
    return tw_arena_strdup(a, tw_buf_text(&out));
}

char *kind_pg_conf_set(struct tw_arena *a, const char *text, const char *name,
                       const char *value)
{
    tw_auto_buf out = {0};

    tw_buf_init(&out, 2 * FILE_MAX);
    for (const char *s = text; *s;) {
        size_t end = strcspn(s, "\n");
        struct line l = take_apart(a, s, end);

        if (!l.name || strcasecmp(l.name, name) != 0) {
            tw_buf_add(&out, s, end);
            tw_buf_puts(&out, "\n");
        }
        s += end + (s[end] == '\n');
    }
    if (value) {
        tw_buf_printf(&out, "%s = ", name);
        add_quoted(&out, value);
        tw_buf_puts(&out, "\n");
    }
    return tw_arena_strdup(a, tw_buf_text(&out));
}
