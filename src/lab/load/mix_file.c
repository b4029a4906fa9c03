/* Files of requests, one per line:
 *
 *   # a comment
 *   \set id random(1, 1000)
 *   GET /product/$id@3
 *
 * A variable set above may stand in every line below as $name; a number after the last @ of a
 * line is its weight. */
#include "load_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct lines {
    struct tw_arena *a;
    const char *file;
    int line;
    struct tw_load_item set; /* holds the variables known so far */
    bool escapes;
};

static bool name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static int read_set(struct lines *l, const char *rest, struct tw_err *err)
{
    const char **names =
        tw_arena_alloc(l->a, (l->set.variables.count + 1) * sizeof *names);
    struct load_expression *e;
    struct tw_load_variable *v;
    size_t n = 0;
    int r;

    rest += strspn(rest, " \t");
    while (name_char(rest[n]))
        n++;
    if (n == 0 || !isspace((unsigned char)rest[n]))
        return tw_fail(err, -EINVAL, "%s:%d: expected '\\set NAME EXPRESSION'", l->file,
                       l->line);
    for (size_t i = 0; i < l->set.variables.count; i++)
        names[i] = l->set.variables.items[i].name;
    r = load_expression_compile(l->a, rest + n, names, l->set.variables.count, &e, err);
    if (r < 0)
        return tw_wrap(err, r, "%s:%d", l->file, l->line);
    v = load_variable_add(l->a, &l->set, tw_arena_strndup(l->a, rest, n));
    v->kind = TW_VAR_EXPRESSION;
    v->expression = tw_arena_strdup(l->a, rest + n + strspn(rest + n, " \t"));
    (void)load_expression_simple(e, v);
    return 0;
}

/* "GET /path@3": the line without its weight. */
static char *cut_weight(struct tw_arena *a, const char *line, double *ret_weight)
{
    const char *at = strrchr(line, '@');
    char *end, *text;
    size_t len = strlen(line);

    *ret_weight = 1;
    if (at && isdigit((unsigned char)at[1])) {
        double weight = strtod(at + 1, &end);

        if (*end == '\0' && isfinite(weight)) {
            *ret_weight = weight;
            len = (size_t)(at - line);
        }
    }
    text = tw_arena_strndup(a, line, len);
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        text[--len] = '\0';
    return text;
}

/* The last variable of that name; -1: none. */
static int find_variable(const struct lines *l, const char *name, size_t n)
{
    for (size_t i = l->set.variables.count; i-- > 0;)
        if (strlen(l->set.variables.items[i].name) == n &&
            !strncmp(l->set.variables.items[i].name, name, n))
            return (int)i;
    return -1;
}

/* $name becomes $1 …; what is no variable stays as it is, its dollar doubled. */
static char *number_variables(struct lines *l, const char *text,
                              struct tw_load_statement *s)
{
    tw_auto_buf b = {0};

    tw_buf_init(&b, (size_t)1 << 20);
    while (*text) {
        size_t n = 0;
        int v;

        if (*text != '$') {
            tw_buf_add(&b, text++, 1);
            continue;
        }
        while (name_char(text[1 + n]))
            n++;
        v = find_variable(l, text + 1, n);
        if (v >= 0) {
            TW_PUSH(l->a, &s->variables, v);
            tw_buf_printf(&b, "$%zu", s->variables.count);
            text += n + 1;
        } else {
            tw_buf_puts(&b, "$$");
            text += text[1] == '$' ? 2 : 1;
        }
    }
    return tw_arena_strdup(l->a, tw_buf_text(&b));
}

static void read_request(struct lines *l, const char *line, struct tw_load_mix *mix)
{
    struct tw_load_item item = load_item_new();
    struct tw_load_statement *s;
    char *text = cut_weight(l->a, line, &item.weight);
    size_t len = strlen(text);

    item.name = item.text = text;
    for (size_t i = 0; i < l->set.variables.count; i++)
        TW_PUSH(l->a, &item.variables, l->set.variables.items[i]);
    s = load_statement_add(l->a, &item, NULL);
    s->sql =
        number_variables(l, l->escapes ? load_unescape(l->a, text, len, &len) : text, s);
    TW_PUSH(l->a, &mix->items, item);
}

int load_mix_file(struct tw_arena *a, const char *name, const char *text, bool escapes,
                  struct tw_load_mix *mix, struct tw_err *err)
{
    struct lines l = {.a = a, .file = name, .escapes = escapes};
    size_t before = mix->items.count;
    int r;

    while (*text) {
        size_t len = strcspn(text, "\n"), blank = strspn(text, " \t\r");
        char *line;

        l.line++;
        line = tw_arena_strndup(a, text + (blank < len ? blank : len),
                                len - (blank < len ? blank : len));
        text += len + (text[len] == '\n');
        for (len = strlen(line); len > 0 && isspace((unsigned char)line[len - 1]);)
            line[--len] = '\0';
        if (*line == '\0' || *line == '#')
            continue;
        if (!tw_starts_with(line, "\\set ")) {
            read_request(&l, line, mix);
            continue;
        }
        r = read_set(&l, line + 5, err);
        if (r < 0)
            return r;
    }
    if (mix->items.count == before)
        return tw_fail(err, -EINVAL, "load '%s' has no request: one per line is expected",
                       name);
    return 0;
}
