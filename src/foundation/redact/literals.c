/* Literals in statements, plans and log lines: what identifies rows and people, not statements. */
#include "redact_internal.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* The scan: everything before at has been copied or replaced. */
struct scan {
    const char *text;
    size_t at;
    struct tw_buf out;
};

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Puts replacement for the len characters at the scan. */
static void replace(struct scan *s, size_t len, const char *replacement)
{
    tw_buf_puts(&s->out, replacement);
    s->at += len;
}

static bool quoted(struct scan *s)
{
    size_t len = 1;

    if (s->text[s->at] != '\'' ||
        (s->at > 0 && isalpha((unsigned char)s->text[s->at - 1]) &&
         !strchr("EeBbXxNn", s->text[s->at - 1])))
        return false;
    for (; s->text[s->at + len]; len++) {
        if (s->text[s->at + len] != '\'')
            continue;
        if (s->text[s->at + len + 1] != '\'')
            break;
        len++;
    }
    if (!s->text[s->at + len])
        return false; /* an apostrophe of prose */
    replace(s, len + 1, "'\xe2\x80\xa6'");
    return true;
}

/* $$…$$ and $tag$…$tag$ */
static bool dollar_quoted(struct scan *s)
{
    const char *start = s->text + s->at, *end;
    size_t tag = 1;

    if (*start != '$' || (s->at > 0 && is_word(start[-1])))
        return false;
    while (isalpha((unsigned char)start[tag]) || start[tag] == '_')
        tag++;
    if (start[tag] != '$')
        return false;
    tag++;
    end = memmem(start + tag, strlen(start + tag), start, tag);
    if (!end)
        return false;
    replace(s, (size_t)(end - start) + tag, "$$\xe2\x80\xa6$$");
    return true;
}

/* Key (email)=(a@b.example) already exists; Failing row contains (1, …) */
static bool row_values(struct scan *s)
{
    static const char *const heads[] = {")=(", "row contains ("};

    for (size_t i = 0; i < TW_COUNT_OF(heads); i++) {
        size_t len = strlen(heads[i]);
        const char *end;

        if (strncmp(s->text + s->at, heads[i], len) != 0)
            continue;
        end = strstr(s->text + s->at + len, ") ");
        end = end ? end : strchr(s->text + s->at + len, ')');
        if (!end)
            continue;
        tw_buf_puts(&s->out, heads[i]);
        s->at += len;
        replace(s, (size_t)(end - s->text) - s->at, "\xe2\x80\xa6");
        return true;
    }
    return false;
}

/* The word that ends just before at, spaces skipped. */
static size_t word_before(const char *text, size_t at, const char **ret_word)
{
    size_t end = at, start;

    while (end > 0 && text[end - 1] == ' ')
        end--;
    for (start = end; start > 0 && is_word(text[start - 1]);)
        start--;
    *ret_word = text + start;
    return end - start;
}

static bool is_among(const char *word, size_t len, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(list[i]) == len && strncasecmp(list[i], word, len) == 0)
            return true;
    return false;
}

/* Figures of a plan, "cost=0.43..8.45 rows=1", are not literals. */
static bool is_plan_figure(const char *text, size_t operator_at)
{
    static const char *const names[] = {"cost",    "rows",    "width",   "loops",
                                        "time",    "hit",     "read",    "dirtied",
                                        "written", "actual",  "memory",  "disk",
                                        "buffers", "batches", "query_id"};
    const char *word;
    size_t len = word_before(text, operator_at, &word);

    return text[operator_at] == '=' && word + len == text + operator_at &&
           is_among(word, len, names, TW_COUNT_OF(names));
}

static bool follows_operator(const char *text, size_t at)
{
    static const char *const words[] = {"between", "and", "limit",
                                        "offset",  "in",  "values"};
    size_t before = at;
    const char *word;
    size_t len;

    while (before > 0 && strchr(" (-+", text[before - 1]))
        before--;
    if (before == 0)
        return false;
    if (strchr("=<>", text[before - 1]))
        return !is_plan_figure(text, before - 1);
    len = word_before(text, before, &word);
    return is_among(word, len, words, TW_COUNT_OF(words));
}

/* Later elements of "IN (1, 2)": after a comma that follows a literal. */
static bool follows_literal(const struct scan *s)
{
    size_t n = s->out.len;
    const char *out = tw_buf_text(&s->out);

    while (n > 0 && strchr(" -,", out[n - 1]))
        n--;
    return n > 0 && n < s->out.len && memchr(out + n, ',', s->out.len - n) &&
           (out[n - 1] == '?' || out[n - 1] == '\'');
}

static bool number(struct scan *s)
{
    const char *start = s->text + s->at;
    size_t len = 0;

    if (!isdigit((unsigned char)*start) ||
        (s->at > 0 && (is_word(start[-1]) || start[-1] == '$' || start[-1] == '.')))
        return false;
    while (isalnum((unsigned char)start[len]) ||
           (start[len] == '.' && isdigit((unsigned char)start[len + 1])))
        len++;
    if (!follows_operator(s->text, s->at) && !follows_literal(s))
        return false;
    replace(s, len, "?");
    return true;
}

char *tw_redact_literals(struct tw_arena *a, const char *text)
{
    struct scan s = {.text = text};
    char *result;

    if (!text)
        return NULL;
    tw_buf_init(&s.out, strlen(text) * 8 + 16);
    while (text[s.at]) {
        if (quoted(&s) || dollar_quoted(&s) || row_values(&s) || number(&s))
            continue;
        tw_buf_add(&s.out, text + s.at, 1);
        s.at++;
    }
    result = tw_arena_strdup(a, tw_buf_text(&s.out));
    tw_buf_done(&s.out);
    return result;
}
