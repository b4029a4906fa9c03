/* History in SQLite (WAL, synchronous=FULL): schema, migrations, one file per noun.
 *
 * Errors  -ENOENT no such simulation (nearest id named), -EIO what SQLite says
 * Owns    texts live in the arena given */
#ifndef TW_STORE_H
#define TW_STORE_H

#include "tw/spec.h"

struct tw_store;
int tw_store_open(const char *state_dir, struct tw_store **ret, struct tw_err *err);
void tw_store_close(struct tw_store *s);
/* The whole body as JSON, replaced; durable when it returns. */
int tw_store_put(struct tw_store *s, const struct tw_simulation *sim, struct tw_err *err);
/* A prefix of the id is enough when it is unique. */
int tw_store_get(struct tw_store *s, struct tw_arena *a, const char *id, const char **ret_json,
                 struct tw_err *err);
int tw_store_remove(struct tw_store *s, const char *id, struct tw_err *err);
struct tw_store_row {
    const char *id, *status, *decision, *type, *target, *summary;
    double risk_score;
    int64_t created_wall_ns;
};
struct tw_store_rows {
    TW_ARRAY(struct tw_store_row) list;
};
int tw_store_list(struct tw_store *s, struct tw_arena *a, const char *target, int limit,
                  struct tw_store_rows *ret, struct tw_err *err);
#endif
