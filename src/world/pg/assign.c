/* The ways in which people write settings: NAME=VALUE, ALTER SYSTEM SET …, lines of
 * postgresql.conf; and statements without their literals. PostgreSQL's own grammar,
 * through libpg_query. */
#include "pg_internal.h"

#include <ctype.h>
#include <jansson.h>
#include <pg_query.h>
#include <string.h>

static const json_t *inside(const json_t *j, const char *key)
{
    return j ? json_object_get(j, key) : NULL;
}

static char *constant(struct tw_arena *a, const json_t *arg)
{
    const json_t *c = inside(arg, "A_Const");
    const json_t *cast = inside(arg, "TypeCast");
    const json_t *v;

    if (cast) /* SET TIME ZONE INTERVAL … and the like: the text inside */
        return constant(a, inside(cast, "arg"));
    if ((v = inside(inside(c, "sval"), "sval")) ||
        (v = inside(inside(c, "fval"), "fval")))
        return tw_arena_strdup(a, json_string_value(v));
    if (inside(c, "ival")) {
        v = inside(inside(c, "ival"), "ival");
        return tw_arena_printf(a, "%lld", v ? (long long)json_integer_value(v) : 0LL);
    }
    if (inside(c, "boolval"))
        return tw_arena_strdup(
            a, json_is_true(inside(inside(c, "boolval"), "boolval")) ? "on" : "off");
    return NULL;
}

/* SET name = a, b: the elements as ALTER SYSTEM writes them to its file, joined by
 * commas. */
static char *joined(struct tw_arena *a, const json_t *args)
{
    tw_auto_buf out = {0};
    size_t i;
    json_t *arg;

    tw_buf_init(&out, 64 * 1024);
    json_array_foreach (args, i, arg) {
        char *text = constant(a, arg);

        if (!text)
            return NULL;
        tw_buf_printf(&out, "%s%s", i ? ", " : "", text);
    }
    return tw_arena_strdup(a, tw_buf_text(&out));
}

static int from_stmt(struct tw_arena *a, const json_t *stmt, struct tw_pg_assignment *ret,
                     struct tw_err *err)
{
    const json_t *set = inside(inside(stmt, "AlterSystemStmt"), "setstmt");
    const char *kind;

    if (set && inside(set, "VariableSetStmt"))
        set = inside(set, "VariableSetStmt");
    if (!set)
        set = inside(stmt, "VariableSetStmt");
    if (!set)
        return tw_fail(err, -EINVAL, "expected ALTER SYSTEM SET name = value, or RESET");
    kind = json_string_value(inside(set, "kind"));
    ret->name = tw_arena_strdup(a, json_string_value(inside(set, "name")));
    ret->value = NULL;
    if (tw_streq(kind, "VAR_RESET") || tw_streq(kind, "VAR_SET_DEFAULT"))
        return ret->name ? 0 : tw_fail(err, -EINVAL, "RESET of what?");
    if (!tw_streq(kind, "VAR_SET_VALUE") || !ret->name)
        return tw_fail(err, -EINVAL,
                       "expected ALTER SYSTEM SET name = value, or RESET name");
    ret->value = joined(a, inside(set, "args"));
    return ret->value
               ? 0
               : tw_fail(err, -EINVAL, "'%s': the value is not a constant", ret->name);
}

static int parse_sql(struct tw_arena *a, const char *text, int line,
                     struct tw_pg_assignments *ret, struct tw_err *err)
{
    PgQueryParseResult parsed = pg_query_parse(text);
    json_t *tree = NULL;
    json_t *entry;
    size_t i;
    int r = 0;

    if (parsed.error) {
        r = tw_fail(err, -EINVAL, "line %d column %d: %s", line, parsed.error->cursorpos,
                    parsed.error->message);
        pg_query_free_parse_result(parsed);
        return r;
    }
    tree = json_loads(parsed.parse_tree, 0, NULL);
    pg_query_free_parse_result(parsed);
    json_array_foreach (inside(tree, "stmts"), i, entry) {
        struct tw_pg_assignment one = {.line = line};

        r = from_stmt(a, inside(entry, "stmt"), &one, err);
        if (r < 0)
            break;
        TW_PUSH(a, &ret->list, one);
    }
    json_decref(tree);
    return r;
}

static const char *blank(const char *s)
{
    while (*s == ' ' || *s == '\t' || *s == '\r')
        s++;
    return s;
}

static bool is_sql(const char *s)
{
    static const char *const words[] = {"alter ", "set ", "reset "};

    for (size_t i = 0; i < TW_COUNT_OF(words); i++)
        if (strncasecmp(s, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

/* 'it''s' or 'it\'s' -> it's; as the server's own lexer reads its file. s is after the
 * quote. */
static const char *quoted(struct tw_arena *a, const char *s, char **ret)
{
    tw_auto_buf out = {0};

    tw_buf_init(&out, 64 * 1024);
    for (; *s && *s != '\n'; s++) {
        if (*s == '\'' && s[1] != '\'')
            break;
        if ((*s == '\'' || *s == '\\') && s[1])
            s++;
        tw_buf_add(&out, s, 1);
    }
    *ret = tw_arena_strdup(a, tw_buf_text(&out));
    return *s == '\'' ? s + 1 : NULL;
}

static int parse_line(struct tw_arena *a, const char *s, int line,
                      struct tw_pg_assignment *ret, struct tw_err *err)
{
    const char *name = s;
    char *value;
    size_t n;

    while (isalnum((unsigned char)*s) || *s == '_' || *s == '.' || *s == '$')
        s++;
    if (s == name)
        return tw_fail(err, -EINVAL, "line %d: expected NAME = VALUE", line);
    ret->name = tw_arena_strndup(a, name, (size_t)(s - name));
    s = blank(s);
    if (*s == '=')
        s = blank(s + 1);
    if (*s == '\'') {
        s = quoted(a, s + 1, &value);
        if (!s)
            return tw_fail(err, -EINVAL, "line %d: '%s': the quote is not closed", line,
                           ret->name);
        ret->value = value;
        return 0;
    }
    n = strcspn(s, "#\n");
    while (n && isspace((unsigned char)s[n - 1]))
        n--;
    if (n == 0)
        return tw_fail(err, -EINVAL, "line %d: '%s' has no value", line, ret->name);
    ret->value = tw_arena_strndup(a, s, n);
    return 0;
}

int tw_pg_parse_assignments(struct tw_arena *a, const char *text,
                            struct tw_pg_assignments *ret, struct tw_err *err)
{
    int line = 1;
    int r;

    *ret = (struct tw_pg_assignments){0};
    for (const char *s = text; *s; line++) {
        const char *start = blank(s);
        size_t n = strcspn(start, "\n");
        struct tw_pg_assignment one = {.line = line};

        if (is_sql(start)) /* statements may span lines: the rest is SQL */
            return parse_sql(a, start, line, ret, err);
        if (n && *start != '#' && *start != '\n') {
            r = parse_line(a, start, line, &one, err);
            if (r < 0)
                return r;
            TW_PUSH(a, &ret->list, one);
        }
        s = start + n + (start[n] == '\n');
    }
    return 0;
}

char *tw_pg_normalize(struct tw_arena *a, const char *sql)
{
    PgQueryNormalizeResult res = pg_query_normalize(sql);
    char *out;

    if (res.error) /* without a parse nobody knows where literals are: only the first word
                    */
        out = tw_arena_printf(a, "%.*s …", (int)strcspn(sql, " \t\n(;"), sql);
    else
        out = tw_arena_strdup(a, res.normalized_query);
    pg_query_free_normalize_result(res);
    return out;
}
