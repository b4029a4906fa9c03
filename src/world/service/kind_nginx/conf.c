/* nginx's configuration language: words, quotes, blocks, includes; lenient, because what is wrong in
 * it is nginx's to say. */
#include "kind_nginx_internal.h"

#include <ctype.h>
#include <glob.h>
#include <string.h>

#define FILE_MAX  ((size_t)4 << 20)
#define FILES_MAX 2000
#define DEPTH_MAX 24

struct reader {
    struct tw_arena *a;
    const char *root, *dir; /* dir: of the main file, where includes begin */
    struct nginx_conf *conf;
};
struct scanner {
    const char *text, *at, *file;
    int line;
};

/* ---- words ---- */

static void skip_space(struct scanner *s)
{
    for (; *s->at; s->at++) {
        if (*s->at == '#')
            s->at += strcspn(s->at, "\n");
        if (!isspace((unsigned char)*s->at))
            break;
        if (*s->at == '\n')
            s->line++;
    }
}

static const char *quoted_word(struct tw_arena *a, struct scanner *s)
{
    char quote = *s->at++;
    char *out =
        tw_arena_alloc(a, strcspn(s->at, (char[]){quote, '\0'}) + strlen(s->at) + 1);
    char *end = out;

    for (; *s->at && *s->at != quote; s->at++) {
        if (*s->at == '\\' && s->at[1])
            s->at++;
        if (*s->at == '\n')
            s->line++;
        *end++ = *s->at;
    }
    if (*s->at)
        s->at++;
    return tw_arena_strndup(a, out, (size_t)(end - out));
}

/* "${name}" is part of a word though it has braces. */
static const char *plain_word(struct tw_arena *a, struct scanner *s)
{
    const char *begin = s->at;

    while (*s->at && !isspace((unsigned char)*s->at) && !strchr(";{", *s->at)) {
        if (*s->at == '\\' && s->at[1])
            s->at++;
        else if (*s->at == '$' && s->at[1] == '{')
            s->at += strcspn(s->at, "};\n");
        if (*s->at)
            s->at++;
    }
    return tw_arena_strndup(a, begin, (size_t)(s->at - begin));
}

/* Lua between braces of its own is one word. */
static void skip_code(struct scanner *s)
{
    int depth = 1;

    for (; *s->at && depth; s->at++) {
        depth += (*s->at == '{') - (*s->at == '}');
        if (*s->at == '\n')
            s->line++;
    }
}

/* ---- files ---- */

static void read_file(struct reader *r, const char *path, int parent, int depth);
static void read_block(struct reader *r, struct scanner *s, int parent, int depth);

static void missing(struct reader *r, const char *path, const struct nginx_directive *d)
{
    TW_PUSH(r->a, &r->conf->missing, (struct nginx_missing){path, d->file, d->line});
}

static void include(struct reader *r, size_t index, int depth)
{
    const struct nginx_directive d = r->conf->list.items[index];
    const char *path = d.args.count ? service_path(r->a, r->dir, d.args.items[0]) : NULL;
    tw_auto_free char *pattern = path ? tw_strf("%s%s", r->root, path) : NULL;
    glob_t found;

    if (!path || depth > DEPTH_MAX)
        return;
    if (!strpbrk(path, "*?[")) {
        if (service_exists_in(r->root, path))
            read_file(r, path, d.parent, depth + 1);
        else
            missing(r, path, &d);
        return;
    }
    if (host_glob(pattern, &found) != 0)
        return; /* a pattern that matches nothing is fine to nginx */
    for (size_t i = 0; i < found.gl_pathc; i++)
        read_file(r, tw_arena_strdup(r->a, found.gl_pathv[i] + strlen(r->root)), d.parent,
                  depth + 1);
    globfree(&found);
}

static bool takes_code(const char *name)
{
    return tw_ends_with(name, "_by_lua_block");
}

/* One directive with all that belongs to it; false at the end of the block or file. */
static bool read_directive(struct reader *r, struct scanner *s, int parent, int depth)
{
    struct nginx_directive d = {.file = s->file, .parent = parent};
    size_t index = r->conf->list.count;

    skip_space(s);
    if (!*s->at || *s->at == '}')
        return false;
    d.from = (size_t)(s->at - s->text);
    d.line = s->line;
    while (*s->at && !strchr(";{}", *s->at)) {
        const char *word =
            strchr("\"'", *s->at) ? quoted_word(r->a, s) : plain_word(r->a, s);

        if (!d.name)
            d.name = word;
        else
            TW_PUSH(r->a, &d.args, word);
        skip_space(s);
    }
    if (!d.name)
        d.name = "";
    d.block = *s->at == '{';
    if (*s->at == ';' || *s->at == '{')
        s->at++;
    d.body = d.to = (size_t)(s->at - s->text);
    TW_PUSH(r->a, &r->conf->list, d);
    if (d.block && takes_code(d.name))
        skip_code(s);
    else if (d.block)
        read_block(r, s, (int)index, depth + 1);
    if (d.block)
        r->conf->list.items[index].to = (size_t)(s->at - s->text);
    if (tw_streq(d.name, "include"))
        include(r, index, depth);
    return true;
}

static void read_block(struct reader *r, struct scanner *s, int parent, int depth)
{
    while (depth < DEPTH_MAX && read_directive(r, s, parent, depth))
        ;
    if (*s->at == '}')
        s->at++;
}

static void read_text(struct reader *r, const char *path, const char *text, int parent,
                      int depth)
{
    struct scanner s = {text, text, path, 1};

    while (*s.at) {
        while (read_directive(r, &s, parent, depth))
            ;
        skip_space(&s);
        if (*s.at == '}') /* one too many: nginx will say so */
            s.at++;
    }
}

static void read_file(struct reader *r, const char *path, int parent, int depth)
{
    tw_auto_free char *text = NULL;
    struct tw_err why = {0};

    if (r->conf->files.count >= FILES_MAX)
        return;
    if (service_read_in(r->root, path, FILE_MAX, &text, &why) < 0) {
        if (!r->conf->problem)
            r->conf->problem = tw_arena_strdup(r->a, why.text);
        return;
    }
    service_add_once(r->a, &r->conf->files, path);
    read_text(r, path, tw_arena_strdup(r->a, text), parent, depth);
}

void nginx_conf_read(struct tw_arena *a, const char *root, const char *path,
                     struct nginx_conf *ret)
{
    struct reader r = {a, root, service_parent(a, path), ret};

    *ret = (struct nginx_conf){0};
    read_file(&r, path, -1, 0);
}

void nginx_conf_text(struct tw_arena *a, const char *root, const char *path,
                     const char *text, struct nginx_conf *ret)
{
    struct reader r = {a, root, service_parent(a, path), ret};

    *ret = (struct nginx_conf){0};
    read_text(&r, path, tw_arena_strdup(a, text), -1, 0);
}

/* ---- looking around ---- */

bool nginx_is(const struct nginx_directive *d, const char *name)
{
    return tw_streq(d->name, name);
}

const char *nginx_arg(const struct nginx_directive *d, size_t i)
{
    return d && i < d->args.count ? d->args.items[i] : NULL;
}

bool nginx_has_arg(const struct nginx_directive *d, const char *arg)
{
    for (size_t i = 0; i < d->args.count; i++)
        if (tw_streq(d->args.items[i], arg))
            return true;
    return false;
}

const struct nginx_directive *nginx_child(const struct nginx_conf *c, int parent,
                                          const char *name)
{
    for (size_t i = 0; i < c->list.count; i++)
        if (c->list.items[i].parent == parent && nginx_is(&c->list.items[i], name))
            return &c->list.items[i];
    return NULL;
}

const struct nginx_directive *nginx_effective(const struct nginx_conf *c, int parent,
                                              const char *name)
{
    const struct nginx_directive *d = nginx_child(c, parent, name);

    while (!d && parent >= 0) {
        parent = c->list.items[parent].parent;
        d = nginx_child(c, parent, name);
    }
    return d;
}

int nginx_around(const struct nginx_conf *c, int index, const char *name)
{
    while (index >= 0 && !nginx_is(&c->list.items[index], name))
        index = c->list.items[index].parent;
    return index;
}

const char *nginx_parent_name(const struct nginx_conf *c, const struct nginx_directive *d)
{
    return d->parent < 0 ? "main" : c->list.items[d->parent].name;
}

static const char *block_label(struct tw_arena *a, const struct nginx_conf *c, int index)
{
    const struct nginx_directive *d = &c->list.items[index];
    const struct nginx_directive *name =
        nginx_is(d, "server") ? nginx_child(c, index, "server_name") : NULL;
    const char *label = name ? nginx_arg(name, 0) : NULL;

    if (nginx_is(d, "server") && !label)
        label = nginx_arg(nginx_child(c, index, "listen"), 0);
    if (!label && d->args.count)
        label = d->args.items[d->args.count - 1];
    return label ? tw_arena_printf(a, "%s:%s", d->name, label) : d->name;
}

const char *nginx_context(struct tw_arena *a, const struct nginx_conf *c, int index)
{
    const char *text = NULL;

    for (; index >= 0; index = c->list.items[index].parent)
        text = text ? tw_arena_printf(a, "%s.%s", block_label(a, c, index), text)
                    : block_label(a, c, index);
    return text ? text : "main";
}

const char *nginx_values(struct tw_arena *a, const struct nginx_directive *d)
{
    const char *text = "";

    for (size_t i = 0; i < d->args.count; i++)
        text = tw_arena_printf(a, "%s%s%s", text, i ? " " : "", d->args.items[i]);
    return text;
}
