/* What the files of redact share. */
#ifndef REDACT_INTERNAL_H
#define REDACT_INTERNAL_H

#include "tw/redact.h"

/* tw_redact_is_secret_key for a name inside a text. */
bool redact_key(const char *name, size_t len);

struct redact_span {
    size_t at, len;
};
/* A value known to be secret at this place; len 0: none. */
struct redact_span redact_exact(const struct tw_redact *r, const char *text, size_t at);

#endif
