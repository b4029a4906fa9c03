/* The words of a statement: where literals, identifiers and comments begin and end. As much of
 * PostgreSQL's scan.l as is needed to cut a text at the right places. */
#include "pg_internal.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool begins_word(char c)
{
    return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool goes_on(char c)
{
    return begins_word(c) || isdigit((unsigned char)c) || c == '$';
}

static size_t after_comment(const char *s)
{
    int depth = 0;
    size_t i = 0;

    if (s[0] == '-')
        return strcspn(s, "\n");
    do {
        if (s[i] == '/' && s[i + 1] == '*') {
            depth++;
            i += 2;
        } else if (s[i] == '*' && s[i + 1] == '/') {
            depth--;
            i += 2;
        } else {
            i++;
        }
    } while (depth > 0 && s[i]);
    return i;
}

/* From one quote to the next that is not doubled (or, in E'…', not escaped). */
static size_t after_quote(const char *s, char q, bool escapes)
{
    size_t i = 1;

    for (; s[i]; i++) {
        if (escapes && s[i] == '\\' && s[i + 1])
            i++;
        else if (s[i] == q && s[i + 1] == q)
            i++;
        else if (s[i] == q)
            return i + 1;
    }
    return i;
}

/* $tag$ … $tag$, or 0 where no such string begins. */
static size_t after_dollar(const char *s)
{
    size_t tag = 1;
    const char *end;

    while (begins_word(s[tag]) || (tag > 1 && isdigit((unsigned char)s[tag])))
        tag++;
    if (s[tag] != '$')
        return 0;
    tag++;
    for (end = s + tag; *end; end++)
        if (strncmp(end, s, tag) == 0)
            return (size_t)(end - s) + tag;
    return (size_t)(end - s);
}

static bool is_comment(const char *s)
{
    return (s[0] == '-' && s[1] == '-') || (s[0] == '/' && s[1] == '*');
}

static bool prefixed(const char *s)
{
    return strchr("eEbBxXnN", *s) && s[1] == '\'';
}

static size_t token_length(const char *s, char *ret_kind)
{
    size_t n = 0;

    *ret_kind = *s;
    if (*s == '\'' || prefixed(s)) {
        bool bare = *s == '\'';

        *ret_kind = '\'';
        return bare ? after_quote(s, '\'', false)
                    : 1 + after_quote(s + 1, '\'', *s == 'e' || *s == 'E');
    }
    if (*s == '"')
        return after_quote(s, '"', false);
    if (*s == '$' && (n = after_dollar(s)) > 0) {
        *ret_kind = '\'';
        return n;
    }
    if (begins_word(*s)) {
        while (goes_on(s[n]))
            n++;
        *ret_kind = 'w';
        return n;
    }
    if (isdigit((unsigned char)*s)) {
        while (isalnum((unsigned char)s[n]) || s[n] == '.')
            n++;
        *ret_kind = '0';
        return n;
    }
    return 1;
}

void tw_pg_tokens(struct tw_arena *a, const char *sql, struct tw_pg_tokens *ret)
{
    int depth = 0;

    *ret = (struct tw_pg_tokens){0};
    for (size_t at = 0; sql[at];) {
        struct tw_pg_token t = {.from = at};

        if (isspace((unsigned char)sql[at])) {
            at++;
            continue;
        }
        if (is_comment(sql + at)) {
            at += after_comment(sql + at);
            continue;
        }
        t.len = token_length(sql + at, &t.kind);
        depth -= t.kind == ')' || t.kind == ']';
        t.depth = depth;
        depth += t.kind == '(' || t.kind == '[';
        at += t.len;
        TW_PUSH(a, &ret->list, t);
    }
}

bool tw_pg_token_is(const char *sql, const struct tw_pg_token *t, const char *word)
{
    return strlen(word) == t->len && strncasecmp(sql + t->from, word, t->len) == 0;
}
