/* Is a name the name of a secret? Judged by its words, so that "password_encryption" and
 * "ssl_key_file" are not. */
#include "redact_internal.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define MAX_WORDS 12

/* Secret wherever they stand in a name, also inside a longer word ("PGPASSWORD"). */
static const char *const secret_parts[] = {"password", "passwd",     "passphrase",
                                           "secret",   "credential", "apikey"};
static const char *const secret_words[] = {"pwd",    "pass", "token",
                                           "tokens", "auth", "dsn"};
/* "…_key" is a secret after these. */
static const char *const key_owners[] = {"api",     "access",  "private", "encryption",
                                         "signing", "session", "master",  "shared",
                                         "account", "secret",  "license", "deploy",
                                         "ssh",     "hmac",    "aes"};
/* A last word that says that the value describes the secret, or where it is. */
static const char *const harmless_ends[] = {
    "file",      "files",    "dir",    "directory", "path",     "encryption", "timeout",
    "length",    "policy",   "type",   "expiry",    "ttl",      "enabled",    "size",
    "name",      "age",      "format", "method",    "lifetime", "count",      "limit",
    "algorithm", "hash",     "level",  "required",  "min",      "max",        "id",
    "url",       "location", "user",   "rotation",
};

struct words {
    const char *start[MAX_WORDS];
    size_t len[MAX_WORDS];
    size_t count;
};

static void add_word(struct words *w, const char *start, const char *end)
{
    if (end > start && w->count < MAX_WORDS) {
        w->start[w->count] = start;
        w->len[w->count++] = (size_t)(end - start);
    }
}

/* "db_api-key" and "dbApiKey" are three words. */
static void split(const char *name, size_t len, struct words *w)
{
    const char *start = name, *end = name + len;

    w->count = 0;
    for (const char *p = name; p < end; p++) {
        bool hump =
            p > start && isupper((unsigned char)*p) && islower((unsigned char)p[-1]);

        if (hump || !isalnum((unsigned char)*p)) {
            add_word(w, start, p);
            start = hump ? p : p + 1;
        }
    }
    add_word(w, start, end);
}

static bool is_one_of(const char *word, size_t len, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(list[i]) == len && strncasecmp(list[i], word, len) == 0)
            return true;
    return false;
}

static bool has_part(const char *word, size_t len)
{
    for (size_t i = 0; i < TW_COUNT_OF(secret_parts); i++)
        for (size_t at = 0; at + strlen(secret_parts[i]) <= len; at++)
            if (strncasecmp(word + at, secret_parts[i], strlen(secret_parts[i])) == 0)
                return true;
    return false;
}

static bool word_is(const struct words *w, size_t i, const char *text)
{
    return is_one_of(w->start[i], w->len[i], &text, 1);
}

bool redact_key(const char *name, size_t len)
{
    struct words w;

    split(name, len, &w);
    if (w.count == 0 || is_one_of(w.start[w.count - 1], w.len[w.count - 1], harmless_ends,
                                  TW_COUNT_OF(harmless_ends)))
        return false;
    for (size_t i = 0; i < w.count; i++) {
        bool owned =
            i > 0 && (word_is(&w, i, "key") || word_is(&w, i, "keys")) &&
            is_one_of(w.start[i - 1], w.len[i - 1], key_owners, TW_COUNT_OF(key_owners));

        if (owned || has_part(w.start[i], w.len[i]))
            return true;
    }
    /* short words are secrets only as the whole name or its end: "db_pass", not "pass_through" */
    return is_one_of(w.start[w.count - 1], w.len[w.count - 1], secret_words,
                     TW_COUNT_OF(secret_words));
}

bool tw_redact_is_secret_key(const char *name)
{
    return redact_key(name, strlen(name));
}
