/* Secrets in running text, found by what stands before them and by their shape. */
#include "redact_internal.h"

#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>

typedef struct redact_span finder_fn(const char *text, size_t at);

static const struct redact_span nothing = {0, 0};

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static bool starts_word(const char *text, size_t at)
{
    return at == 0 || !is_word(text[at - 1]);
}

/* What is left of a value at v: quoted ('…' with '' and \', "…"), or up to the next separator. */
static struct redact_span value_at(const char *text, size_t v)
{
    char quote = text[v] == '\'' || text[v] == '"' ? text[v] : '\0';
    size_t end = v + (quote ? 1 : 0);

    if (!quote) {
        end += strcspn(text + end, " \t\r\n,;&|)}]\"'<>");
        return (struct redact_span){v, end - v};
    }
    for (; text[end] && text[end] != '\n'; end++) {
        if (text[end] == '\\' && text[end + 1] && text[end + 1] != '\n')
            end++;
        else if (text[end] == quote && text[end + 1] == quote)
            end++;
        else if (text[end] == quote)
            break;
    }
    return (struct redact_span){v + 1, end - v - 1};
}

/* password = 'x', "api_key": "x", PGPASSWORD=x, ?token=x& */
static struct redact_span find_assignment(const char *text, size_t at)
{
    size_t len = 0, v;

    if (!starts_word(text, at) || !is_word(text[at]))
        return nothing;
    while (is_word(text[at + len]) || ((text[at + len] == '-' || text[at + len] == '.') &&
                                       is_word(text[at + len + 1])))
        len++;
    if (!redact_key(text + at, len))
        return nothing;
    v = at + len;
    v += text[v] == '"' || text[v] == '\'';
    v += strspn(text + v, " \t");
    if (text[v] != '=' && text[v] != ':')
        return nothing;
    v += text[v + 1] == '>' ? 2 : 1;
    v += strspn(text + v, " \t");
    return value_at(text, v);
}

/* CREATE ROLE … PASSWORD 'x', IDENTIFIED BY 'x', Authorization: Bearer x */
static struct redact_span find_after_word(const char *text, size_t at)
{
    static const struct {
        const char *word;
        bool quoted;
    } rows[] = {
        {"password", true}, {"identified by", true}, {"bearer", false}, {"basic", false}};

    if (!starts_word(text, at))
        return nothing;
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        size_t len = strlen(rows[i].word), v = at + len;
        struct redact_span value;

        if (strncasecmp(text + at, rows[i].word, len) != 0 ||
            !isblank((unsigned char)text[v]))
            continue;
        v += strspn(text + v, " \t");
        if (rows[i].quoted && (text[v] == 'E' || text[v] == 'e') && text[v + 1] == '\'')
            v++;
        if (rows[i].quoted && text[v] != '\'')
            continue;
        value = value_at(text, v);
        if (rows[i].quoted || value.len >= 8)
            return value;
    }
    return nothing;
}

/* scheme://user:x@host */
static struct redact_span find_url(const char *text, size_t at)
{
    size_t start = at + 3, colon, end;

    if (strncmp(text + at, "://", 3) != 0)
        return nothing;
    colon = start + strcspn(text + start, ":/@ \t\r\n\"'");
    if (text[colon] != ':')
        return nothing;
    end = colon + 1 + strcspn(text + colon + 1, "@/ \t\r\n\"'");
    return text[end] == '@' ? (struct redact_span){colon + 1, end - colon - 1} : nothing;
}

static struct redact_span find_pem(const char *text, size_t at)
{
    static const char begin[] = "-----BEGIN ";
    const char *line_end, *end;

    if (strncmp(text + at, begin, sizeof begin - 1) != 0)
        return nothing;
    line_end = strchrnul(text + at, '\n');
    if (!memmem(text + at, (size_t)(line_end - text) - at, "PRIVATE KEY", 11))
        return nothing;
    end = strstr(line_end, "-----END ");
    end = end ? end : text + strlen(text);
    return (struct redact_span){(size_t)(line_end - text), (size_t)(end - line_end)};
}

/* Secrets that say what they are: prefix, then at least so many of these characters. */
static struct redact_span find_shape(const char *text, size_t at)
{
#define BASE64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-"
#define HEX    "0123456789abcdefABCDEF"
    static const struct {
        const char *prefix, *characters;
        size_t least;
    } rows[] = {
        {"AKIA", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 16},
        {"ASIA", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 16},
        {"SCRAM-SHA-256$", BASE64 ":$", 20},
        {"eyJ", BASE64 ".", 20}, /* JSON web token */
        {"ghp_", BASE64, 20},
        {"gho_", BASE64, 20},
        {"ghs_", BASE64, 20},
        {"github_pat_", BASE64, 20},
        {"glpat-", BASE64, 16},
        {"md5", HEX, 32},
        {"npm_", BASE64, 30},
        {"sk_live_", BASE64, 16},
        {"twn_", BASE64, 20},
        {"xoxb-", BASE64, 16},
        {"xoxp-", BASE64, 16},
    };

    if (!starts_word(text, at))
        return nothing;
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        size_t len = strlen(rows[i].prefix), n;

        if (strncmp(text + at, rows[i].prefix, len) != 0)
            continue;
        n = strspn(text + at + len, rows[i].characters);
        if (n >= rows[i].least)
            return (struct redact_span){at, len + n};
    }
    return nothing;
}

static double entropy_bits(const char *s, size_t n)
{
    size_t counts[256] = {0};
    double bits = 0;

    for (size_t i = 0; i < n; i++)
        counts[(unsigned char)s[i]]++;
    for (size_t i = 0; i < TW_COUNT_OF(counts); i++)
        if (counts[i])
            bits -= (double)counts[i] / (double)n * log2((double)counts[i] / (double)n);
    return bits;
}

/* A long run of upper and lower case and digits, too mixed to be a name. Hashes and our own ids
 * have one case only and stay. */
static struct redact_span find_random(const char *text, size_t at)
{
    bool upper = false, lower = false, digit = false;
    size_t n;

    if (at > 0 && strchr(BASE64, text[at - 1]))
        return nothing;
    n = strspn(text + at, BASE64);
    if (n < 32 || memchr(text + at, '/', n > 64 ? 64 : n))
        return nothing;
    for (size_t i = 0; i < n; i++) {
        upper |= isupper((unsigned char)text[at + i]) != 0;
        lower |= islower((unsigned char)text[at + i]) != 0;
        digit |= isdigit((unsigned char)text[at + i]) != 0;
    }
    return upper && lower && digit && entropy_bits(text + at, n) >= 4.3
               ? (struct redact_span){at, n}
               : nothing;
}

static struct redact_span find_any(const struct tw_redact *r, const char *text, size_t at)
{
    static finder_fn *const finders[] = {find_pem,        find_url,   find_assignment,
                                         find_after_word, find_shape, find_random};
    struct redact_span span = redact_exact(r, text, at);

    for (size_t i = 0; span.len == 0 && i < TW_COUNT_OF(finders); i++)
        span = finders[i](text, at);
    return span;
}

static bool already(const char *text, struct redact_span span)
{
    return strncmp(text + span.at, TW_REDACTED, strlen(TW_REDACTED) - 1) == 0;
}

char *tw_redact_text(const struct tw_redact *r, struct tw_arena *a, const char *text)
{
    struct tw_buf b;
    size_t at = 0, len;
    char *result;

    if (!text)
        return NULL;
    len = strlen(text);
    tw_buf_init(&b, len * (sizeof TW_REDACTED + 1) + 1);
    while (at < len) {
        struct redact_span span = find_any(r, text, at);

        if (span.len == 0 || already(text, span)) {
            tw_buf_add(&b, text + at, 1);
            at++;
            continue;
        }
        tw_buf_add(&b, text + at, span.at - at);
        tw_buf_puts(&b, TW_REDACTED);
        at = span.at + span.len;
    }
    result = tw_arena_strndup(a, tw_buf_text(&b), b.len);
    tw_buf_done(&b);
    return result;
}

char *tw_redact_value(const struct tw_redact *r, struct tw_arena *a, const char *name,
                      const char *value)
{
    if (value && *value && name && tw_redact_is_secret_key(name))
        return tw_arena_strdup(a, TW_REDACTED);
    return tw_redact_text(r, a, value);
}

/* What quotes statements and plans: their literals go too. */
static bool quotes_sql(const char *key)
{
    static const char *const keys[] = {"statement", "plan_before", "plan_after"};

    return tw_name_index(key, keys, TW_COUNT_OF(keys)) >= 0;
}

static json_t *redacted_member(const struct tw_redact *r, struct tw_arena *a,
                               const char *key, const char *text)
{
    if (quotes_sql(key))
        text = tw_redact_literals(a, text);
    return json_string(tw_redact_value(r, a, key, text));
}

void tw_redact_json(const struct tw_redact *r, json_t *json)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const char *key;
    json_t *value;
    size_t i;
    void *next;

    json_object_foreach_safe(json, next, key, value)
    {
        if (json_is_string(value))
            json_object_set_new(json, key,
                                redacted_member(r, a, key, json_string_value(value)));
        else
            tw_redact_json(r, value);
    }
    json_array_foreach (json, i, value) {
        if (json_is_string(value))
            json_array_set_new(
                json, i, json_string(tw_redact_text(r, a, json_string_value(value))));
        else
            tw_redact_json(r, value);
    }
}
