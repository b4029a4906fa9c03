/* The database: opened durable, one file below the state directory. */
#include "store_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_NAME       "twin.db"
#define BUSY_TIMEOUT_MS 10000

int store_fail(const struct tw_store *s, struct tw_err *err, const char *what)
{
    static const struct {
        int sqlite, errnum;
    } rows[] = {{SQLITE_FULL, ENOSPC},     {SQLITE_BUSY, EBUSY},
                {SQLITE_LOCKED, EBUSY},    {SQLITE_READONLY, EROFS},
                {SQLITE_CANTOPEN, EACCES}, {SQLITE_PERM, EACCES},
                {SQLITE_NOTADB, EINVAL}};
    int code = s->db ? sqlite3_errcode(s->db) & 0xff : SQLITE_NOMEM, errnum = EIO;

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (rows[i].sqlite == code)
            errnum = rows[i].errnum;
    return tw_fail(err, -errnum, "%s in '%s': %s", what, s->path,
                   s->db ? sqlite3_errmsg(s->db) : "no memory");
}

int store_exec(const struct tw_store *s, const char *sql, const char *what,
               struct tw_err *err)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return store_fail(s, err, what);
    return 0;
}

int store_prepare(const struct tw_store *s, const char *sql, sqlite3_stmt **ret,
                  struct tw_err *err)
{
    if (sqlite3_prepare_v2(s->db, sql, -1, ret, NULL) != SQLITE_OK)
        return store_fail(s, err, "preparing a query");
    return 0;
}

void store_bind_text(sqlite3_stmt *q, int index, const char *text)
{
    (void)sqlite3_bind_text(q, index, text, -1, SQLITE_TRANSIENT);
}

const char *store_text(struct tw_arena *a, sqlite3_stmt *q, int column)
{
    return tw_arena_strdup(a, (const char *)sqlite3_column_text(q, column));
}

int tw_store_open(const char *state_dir, struct tw_store **ret, struct tw_err *err)
{
    static const char pragmas[] = "PRAGMA journal_mode = WAL;"
                                  "PRAGMA synchronous = FULL;"
                                  "PRAGMA foreign_keys = ON;"
                                  "PRAGMA trusted_schema = OFF;";
    struct tw_store *s;
    int r = tw_make_dirs(state_dir, 0700, err);

    if (r < 0)
        return r;
    s = tw_alloc(sizeof *s);
    s->path = tw_strf("%s/" FILE_NAME, state_dir);
    if (sqlite3_open_v2(s->path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                            SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_NOFOLLOW,
                        NULL) != SQLITE_OK)
        r = store_fail(s, err, "opening the history");
    if (r == 0) {
        (void)sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
        (void)chmod(s->path, 0600);
        r = store_exec(s, pragmas, "preparing the history", err);
    }
    if (r == 0)
        r = store_migrate(s, err);
    if (r < 0) {
        tw_store_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

void tw_store_close(struct tw_store *s)
{
    if (!s)
        return;
    (void)sqlite3_close(s->db);
    free(s->path);
    free(s);
}
