/* What the files of store share. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "tw/store.h"

#include <sqlite3.h>

struct tw_store {
    sqlite3 *db;
    char *path; /* for messages */
    sqlite3_stmt *find; /* kept prepared: asked thousands of times a second; NULL until then */
};

/* -EIO (-ENOSPC, -EACCES, -EBUSY where SQLite says so) with its words. */
int store_fail(const struct tw_store *s, struct tw_err *err, const char *what);
int store_exec(const struct tw_store *s, const char *sql, const char *what,
               struct tw_err *err);
int store_prepare(const struct tw_store *s, const char *sql, sqlite3_stmt **ret,
                  struct tw_err *err);
void store_bind_text(sqlite3_stmt *q, int index,
                     const char *text); /* NULL is NULL; copied */
const char *store_text(struct tw_arena *a, sqlite3_stmt *q, int column);
/* A statement with its values: one letter each, t text (NULL is NULL), i int64_t, r double (NaN is NULL),
 * h 32 bytes. query leaves it before its first row. */
int store_run(struct tw_store *s, struct tw_err *err, const char *what, const char *sql,
              const char *kinds, ...);
int store_query(struct tw_store *s, struct tw_err *err, sqlite3_stmt **ret, const char *sql,
                const char *kinds, ...);
/* 1 a row, 0 no more, negative errno. */
int store_next(struct tw_store *s, sqlite3_stmt *q, const char *what, struct tw_err *err);
double store_real(sqlite3_stmt *q, int column); /* NULL is NaN */
/* Brings the schema to what this program knows. */
int store_migrate(const struct tw_store *s, struct tw_err *err);

static inline void store_finalize_p(sqlite3_stmt **q)
{
    (void)sqlite3_finalize(*q);
}
#define store_auto_stmt __attribute__((cleanup(store_finalize_p))) sqlite3_stmt

#endif
