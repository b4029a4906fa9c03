/* Secrets known by their value. */
#include "redact_internal.h"

#include <stdlib.h>
#include <string.h>

#define MIN_LENGTH 4

struct tw_redact {
    struct tw_arena *arena;
    TW_ARRAY(const char *) secrets;
    bool first[256]; /* a secret begins with this byte */
};

struct tw_redact *tw_redact_new(void)
{
    struct tw_redact *r = tw_alloc(sizeof *r);

    r->arena = tw_arena_new();
    return r;
}

void tw_redact_free(struct tw_redact *r)
{
    if (!r)
        return;
    tw_arena_free(r->arena);
    free(r);
}

void tw_redact_learn(struct tw_redact *r, const char *secret)
{
    if (!secret || strlen(secret) < MIN_LENGTH ||
        tw_name_index(secret, r->secrets.items, r->secrets.count) >= 0)
        return;
    TW_PUSH(r->arena, &r->secrets, tw_arena_strdup(r->arena, secret));
    r->first[(unsigned char)secret[0]] = true;
}

struct redact_span redact_exact(const struct tw_redact *r, const char *text, size_t at)
{
    struct redact_span longest = {at, 0};

    if (!r || !r->first[(unsigned char)text[at]])
        return longest;
    for (size_t i = 0; i < r->secrets.count; i++) {
        size_t len = strlen(r->secrets.items[i]);

        if (len > longest.len && strncmp(text + at, r->secrets.items[i], len) == 0)
            longest.len = len;
    }
    return longest;
}
