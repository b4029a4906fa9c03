/* Finds and replaces secrets and literals in text, by key, by shape and by exact value. Pure.
 *
 * Owns    results live in the arena given; the input is borrowed
 * Source  tests/unit/test_redact_*.c: what has to go, by example */
#ifndef TW_REDACT_H
#define TW_REDACT_H

#include "tw/base.h"

#include <jansson.h>

#define TW_REDACTED "[redacted]"

struct tw_redact; /* exact values known to be secret */
struct tw_redact *tw_redact_new(void); /* owned: tw_redact_free */
void tw_redact_free(struct tw_redact *r);
TW_AUTO_DEFINE(tw_redact)
void tw_redact_learn(struct tw_redact *r, const char *secret); /* under 4 characters: ignored */

/* Is a setting of this name a secret (password, token, key …)? File paths of keys are not. */
bool tw_redact_is_secret_key(const char *name);
/* A value of a setting: whole when the key is a secret, else as tw_redact_text. */
char *tw_redact_value(const struct tw_redact *r, struct tw_arena *a, const char *name,
                      const char *value);
/* Log lines, configuration files, connection strings, URLs. r may be NULL. */
char *tw_redact_text(const struct tw_redact *r, struct tw_arena *a, const char *text);
/* Every text of a JSON value, in place, by its key where it has one: before it is stored or shown.
 * "statement", "plan_before" and "plan_after" lose their literals. */
void tw_redact_json(const struct tw_redact *r, json_t *json);
/* SQL literals in quoted plans and log lines: 'abc' -> '…', numbers after = < > -> ?. */
char *tw_redact_literals(struct tw_arena *a, const char *text);
#endif
