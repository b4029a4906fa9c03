/* The database: opened durable, one file below the state directory. */
#include "store_internal.h"

#include <math.h>
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

static void bind_all(sqlite3_stmt *q, const char *kinds, va_list ap)
{
    double real;

    for (int i = 1; *kinds; kinds++, i++) {
        switch (*kinds) {
        case 't':
            store_bind_text(q, i, va_arg(ap, const char *));
            break;
        case 'i':
            (void)sqlite3_bind_int64(q, i, va_arg(ap, int64_t));
            break;
        case 'h':
            (void)sqlite3_bind_blob(q, i, va_arg(ap, const void *), 32, SQLITE_TRANSIENT);
            break;
        default:
            real = va_arg(ap, double);
            if (!isnan(real))
                (void)sqlite3_bind_double(q, i, real);
        }
    }
}

int store_next(struct tw_store *s, sqlite3_stmt *q, const char *what, struct tw_err *err)
{
    switch (sqlite3_step(q)) {
    case SQLITE_ROW:
        return 1;
    case SQLITE_DONE:
        return 0;
    default:
        return store_fail(s, err, what);
    }
}

int store_run(struct tw_store *s, struct tw_err *err, const char *what, const char *sql,
              const char *kinds, ...)
{
    store_auto_stmt *q = NULL;
    va_list ap;
    int r = store_prepare(s, sql, &q, err);

    if (r < 0)
        return r;
    va_start(ap, kinds);
    bind_all(q, kinds, ap);
    va_end(ap);
    r = store_next(s, q, what, err);
    return r < 0 ? r : 0;
}

int store_query(struct tw_store *s, struct tw_err *err, sqlite3_stmt **ret,
                const char *sql, const char *kinds, ...)
{
    va_list ap;
    int r = store_prepare(s, sql, ret, err);

    if (r < 0)
        return r;
    va_start(ap, kinds);
    bind_all(*ret, kinds, ap);
    va_end(ap);
    return 0;
}

double store_real(sqlite3_stmt *q, int column)
{
    return sqlite3_column_type(q, column) == SQLITE_NULL
               ? NAN
               : sqlite3_column_double(q, column);
}

int tw_store_begin(struct tw_store *s, struct tw_err *err)
{
    return store_exec(s, "BEGIN IMMEDIATE", "beginning a change", err);
}

int tw_store_commit(struct tw_store *s, struct tw_err *err)
{
    return store_exec(s, "COMMIT", "keeping a change", err);
}

void tw_store_rollback(struct tw_store *s)
{
    (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
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
    (void)sqlite3_finalize(s->find);
    (void)sqlite3_close(s->db);
    free(s->path);
    free(s);
}
