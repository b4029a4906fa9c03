/* pgbench script files: statements, \set and \sleep. One script is one item. */
#include "load_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct script {
    struct tw_arena *a;
    const char *name;
    const char *at;
    int line;
    const struct load_constant *constants;
    size_t constant_count;
    struct tw_load_item *item;
    double think_ms; /* of \sleep since the last statement */
    struct tw_err *err;
};

static bool word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

void load_first_word(const char *sql, char *ret, size_t room)
{
    size_t n = 0;

    for (;;) {
        sql += strspn(sql, " \t\r\n;(");
        if (tw_starts_with(sql, "--"))
            sql += strcspn(sql, "\n");
        else if (tw_starts_with(sql, "/*") && strstr(sql, "*/"))
            sql = strstr(sql, "*/") + 2;
        else
            break;
    }
    while (n + 1 < room && word_char(sql[n])) {
        ret[n] = (char)tolower((unsigned char)sql[n]);
        n++;
    }
    ret[n] = '\0';
}

struct tw_load_variable *load_variable_add(struct tw_arena *a, struct tw_load_item *item,
                                           const char *name)
{
    TW_PUSH(a, &item->variables, (struct tw_load_variable){.name = name});
    return &item->variables.items[item->variables.count - 1];
}

struct tw_load_statement *load_statement_add(struct tw_arena *a,
                                             struct tw_load_item *item, const char *sql)
{
    TW_PUSH(a, &item->statements, (struct tw_load_statement){.sql = sql});
    return &item->statements.items[item->statements.count - 1];
}

/* Constants are written into the text, so that whoever compiles it needs to know none. */
static char *with_constants(struct script *s, const char *text)
{
    tw_auto_buf b = {0};
    const char *at = text;

    tw_buf_init(&b, (size_t)1 << 20);
    while (*at) {
        size_t n = 0, known = s->constant_count;

        while (*at == ':' && word_char(at[1 + n]))
            n++;
        for (size_t i = 0; n && i < s->constant_count; i++)
            if (strlen(s->constants[i].name) == n &&
                !strncmp(s->constants[i].name, at + 1, n))
                known = i;
        for (size_t i = 0; n && i < s->item->variables.count; i++)
            if (strlen(s->item->variables.items[i].name) == n &&
                !strncmp(s->item->variables.items[i].name, at + 1, n))
                known = s->constant_count; /* set by the script itself */
        if (known < s->constant_count)
            tw_buf_printf(&b, "%lld", (long long)s->constants[known].value);
        else
            tw_buf_add(&b, at, n + 1);
        at += n + 1;
    }
    return tw_arena_strdup(s->a, tw_buf_text(&b));
}

static const char **variable_names(struct script *s)
{
    const char **names =
        tw_arena_alloc(s->a, (s->item->variables.count + 1) * sizeof *names);

    for (size_t i = 0; i < s->item->variables.count; i++)
        names[i] = s->item->variables.items[i].name;
    return names;
}

static int command_set(struct script *s, char *rest)
{
    size_t n = 0;
    struct tw_load_variable *v;
    struct load_expression *e;
    const char *name, *text;
    int r;

    while (word_char(rest[n]))
        n++;
    if (n == 0 || !isspace((unsigned char)rest[n]))
        return tw_fail(s->err, -EINVAL, "%s:%d: expected '\\set NAME EXPRESSION'",
                       s->name, s->line);
    name = tw_arena_strndup(s->a, rest, n);
    text = with_constants(s, rest + n);
    text += strspn(text, " \t\r\n");
    r = load_expression_compile(s->a, text, variable_names(s), s->item->variables.count,
                                &e, s->err);
    if (r < 0)
        return tw_wrap(s->err, r, "%s:%d", s->name, s->line);
    v = load_variable_add(s->a, s->item, name);
    v->kind = TW_VAR_EXPRESSION;
    v->expression = text;
    (void)load_expression_simple(e, v);
    return 0;
}

static int command_sleep(struct script *s, char *rest)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"us", 0.001}, {"ms", 1}, {"s", 1000}, {"", 1000}};
    const char *text = with_constants(s, rest);
    char *end;
    double amount = strtod(text, &end);

    if (end != text && amount >= 0) {
        end += strspn(end, " \t");
        for (size_t i = 0; i < TW_COUNT_OF(units); i++)
            if (!strcmp(units[i].name, end)) {
                s->think_ms += amount * units[i].ms;
                return 0;
            }
    }
    return tw_fail(s->err, -EINVAL,
                   "%s:%d: expected '\\sleep NUMBER [us|ms|s]' (a variable is not "
                   "supported), not '\\sleep %s'",
                   s->name, s->line, rest);
}

static const struct command {
    const char *name;
    int (*run)(struct script *s, char *rest);
} commands[] = {{"set", command_set}, {"sleep", command_sleep}};

/* A line that starts with a backslash; a backslash at its end continues it. */
static int parse_command(struct script *s)
{
    tw_auto_buf b = {0};
    char *text, *rest;
    size_t n = 0;
    int r = -ENOENT, first = s->line;

    tw_buf_init(&b, (size_t)1 << 16);
    for (s->at++; *s->at && *s->at != '\n'; s->at++) {
        if (s->at[0] == '\\' && (s->at[1] == '\n' || !strncmp(s->at + 1, "\r\n", 2))) {
            s->at += s->at[1] == '\r' ? 2 : 1;
            s->line++;
            tw_buf_add(&b, " ", 1);
        } else if (*s->at != '\r') {
            tw_buf_add(&b, s->at, 1);
        }
    }
    text = tw_arena_strdup(s->a, tw_buf_text(&b));
    for (rest = text + strlen(text); rest > text && isspace((unsigned char)rest[-1]);)
        *--rest = '\0';
    while (word_char(text[n]))
        n++;
    rest = text + n + strspn(text + n, " \t");
    for (size_t i = 0; i < TW_COUNT_OF(commands); i++)
        if (strlen(commands[i].name) == n && !strncmp(commands[i].name, text, n))
            r = commands[i].run(s, rest);
    if (r == -ENOENT)
        r = tw_fail(
            s->err, -EINVAL,
            "%s:%d: '\\%.*s' is not supported in a load script: use \\set and \\sleep",
            s->name, first, (int)n, text);
    return r;
}

/* Past a quoted string, identifier, dollar-quoted text or comment that starts at at; 0:
 * none. */
static size_t quoted_length(const char *at, bool after_word)
{
    const char *end;

    if (*at == '\'' || *at == '"') {
        bool escapes = *at == '\'' && after_word && (at[-1] == 'E' || at[-1] == 'e');

        for (end = at + 1; *end && *end != *at; end++)
            if (escapes && *end == '\\' && end[1])
                end++;
        return (size_t)(end - at) + (*end != '\0');
    }
    if (tw_starts_with(at, "--"))
        return strcspn(at, "\n");
    if (tw_starts_with(at, "/*")) {
        end = strstr(at, "*/");
        return end ? (size_t)(end - at) + 2 : strlen(at);
    }
    if (*at == '$' && !after_word && !isdigit((unsigned char)at[1])) {
        size_t n = 1;

        while (word_char(at[n]))
            n++;
        if (at[n] == '$')
            for (end = at + n + 1; *end; end++)
                if (!strncmp(end, at, n + 1))
                    return (size_t)(end - at) + n + 1;
    }
    return 0;
}

/* ":name" becomes $n. Returns the characters read, 0 when it is no variable. */
static int parse_use(struct script *s, struct tw_load_statement *st, struct tw_buf *sql,
                     size_t *ret_length)
{
    size_t n = 0;
    char *name;

    while (word_char(s->at[1 + n]))
        n++;
    *ret_length = 0;
    if (s->at[1] == ':' || n == 0 || isdigit((unsigned char)s->at[1])) {
        *ret_length = s->at[1] == ':' ? 2 : 1;
        tw_buf_add(sql, s->at, *ret_length);
        return 0;
    }
    *ret_length = n + 1;
    name = tw_arena_strndup(s->a, s->at + 1, n);
    for (size_t i = s->item->variables.count; i-- > 0;)
        if (!strcmp(s->item->variables.items[i].name, name)) {
            TW_PUSH(s->a, &st->variables, (int)i);
            tw_buf_printf(sql, "$%zu", st->variables.count);
            return 0;
        }
    for (size_t i = 0; i < s->constant_count; i++)
        if (!strcmp(s->constants[i].name, name)) {
            tw_buf_printf(sql, "%lld", (long long)s->constants[i].value);
            return 0;
        }
    return tw_fail(
        s->err, -EINVAL,
        "%s:%d: variable ':%s' is not set: put '\\set %s …' before the statement",
        s->name, s->line, name, name);
}

static int parse_statement(struct script *s)
{
    struct tw_load_statement st = {.think_ms = s->think_ms};
    tw_auto_buf sql = {0};
    size_t n;
    int depth = 0, r;
    char word[32];

    tw_buf_init(&sql, (size_t)1 << 20);
    while (*s->at && !(*s->at == ';' && depth <= 0)) {
        n = quoted_length(s->at, sql.len && word_char(sql.data[sql.len - 1]));
        if (n) {
            bool comment = tw_starts_with(s->at, "--") || tw_starts_with(s->at, "/*");

            for (size_t i = 0; i < n; i++)
                s->line += s->at[i] == '\n';
            tw_buf_add(&sql, comment ? " " : s->at, comment ? 1 : n);
        } else if (*s->at == ':') {
            r = parse_use(s, &st, &sql, &n);
            if (r < 0)
                return r;
        } else {
            depth += (*s->at == '(') - (*s->at == ')');
            s->line += *s->at == '\n';
            tw_buf_add(&sql, s->at, n = 1);
        }
        s->at += n;
    }
    if (*s->at == ';')
        s->at++;
    load_first_word(tw_buf_text(&sql), word, sizeof word);
    if (word[0] == '\0')
        return 0;
    if (!strcmp(word, "copy"))
        return tw_fail(s->err, -EINVAL, "%s:%d: COPY is not supported in a load script",
                       s->name, s->line);
    while (sql.len && isspace((unsigned char)sql.data[sql.len - 1]))
        sql.data[--sql.len] = '\0';
    st.sql = tw_arena_strdup(s->a, tw_buf_text(&sql));
    s->think_ms = 0;
    TW_PUSH(s->a, &s->item->statements, st);
    return 0;
}

static bool statement_writes(const char *sql)
{
    static const char *const readers[] = {"select", "values", "show",    "begin",
                                          "start",  "end",    "commit",  "table",
                                          "set",    "abort",  "rollback"};
    char word[32];

    load_first_word(sql, word, sizeof word);
    return tw_name_index(word, readers, TW_COUNT_OF(readers)) < 0;
}

int load_script_parse(struct tw_arena *a, const char *name, const char *text,
                      const struct load_constant *constants, size_t count,
                      struct tw_load_item *ret, struct tw_err *err)
{
    struct tw_load_item item = {.name = name,
                                .weight = 1,
                                .source_share = __builtin_nan(""),
                                .source_mean_ms = __builtin_nan(""),
                                .source_rows = __builtin_nan(""),
                                .source_blocks = __builtin_nan("")};
    struct script s = {.a = a,
                       .name = name,
                       .at = text,
                       .line = 1,
                       .constants = constants,
                       .constant_count = count,
                       .item = &item,
                       .err = err};
    tw_auto_buf all = {0};
    int r = 0;

    while (*s.at && r >= 0) {
        size_t n = strspn(s.at, " \t\r");

        s.at += n;
        if (*s.at == '\n') {
            s.at++;
            s.line++;
        } else if (*s.at == '\\') {
            r = parse_command(&s);
        } else if (tw_starts_with(s.at, "--")) {
            s.at += strcspn(s.at, "\n");
        } else if (*s.at) {
            r = parse_statement(&s);
        }
    }
    if (r < 0)
        return r;
    if (item.statements.count == 0)
        return tw_fail(err, -EINVAL, "%s: a load script needs at least one SQL statement",
                       name);
    if (s.think_ms > 0)
        load_statement_add(a, &item, "")->think_ms = s.think_ms;

    tw_buf_init(&all, (size_t)1 << 20);
    for (size_t i = 0; i < item.statements.count; i++) {
        tw_buf_printf(&all, "%s%s", i ? "; " : "", item.statements.items[i].sql);
        item.writes |= statement_writes(item.statements.items[i].sql);
    }
    item.text = tw_arena_strdup(a, tw_buf_text(&all));
    *ret = item;
    return 0;
}
