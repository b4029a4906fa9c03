/* The schema as the list of its changes: rows are only ever added. */
#include "store_internal.h"

static const char *const migrations[] = {
    /* 1 */
    "CREATE TABLE simulation ("
    " id TEXT PRIMARY KEY,"
    " created_ns INTEGER NOT NULL,"
    " status TEXT NOT NULL,"
    " decision TEXT,"
    " type TEXT,"
    " target TEXT,"
    " environment TEXT,"
    " risk_score REAL,"
    " summary TEXT,"
    " body TEXT NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX simulation_by_age ON simulation (created_ns DESC, id DESC);"
    "CREATE INDEX simulation_by_target ON simulation (target, created_ns DESC);",
};
#define KNOWN ((int)TW_COUNT_OF(migrations))

static int current_version(const struct tw_store *s, int *ret_version, struct tw_err *err)
{
    store_auto_stmt *q = NULL;
    int r = store_prepare(s, "SELECT coalesce(max(version), 0) FROM migration", &q, err);

    if (r < 0)
        return r;
    if (sqlite3_step(q) != SQLITE_ROW)
        return store_fail(s, err, "reading the schema version");
    *ret_version = sqlite3_column_int(q, 0);
    return 0;
}

static int apply(const struct tw_store *s, int version, struct tw_err *err)
{
    tw_auto_free char *note =
        tw_strf("INSERT INTO migration VALUES (%d, datetime('now'))", version);
    int r = store_exec(s, migrations[version - 1], "changing the schema", err);

    return r < 0 ? r : store_exec(s, note, "changing the schema", err);
}

static int apply_missing(const struct tw_store *s, struct tw_err *err)
{
    int version = 0, r;

    r = store_exec(s,
                   "CREATE TABLE IF NOT EXISTS migration"
                   " (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL) STRICT",
                   "making the schema", err);
    if (r == 0)
        r = current_version(s, &version, err);
    if (r == 0 && version > KNOWN)
        return tw_fail(
            err, -EPROTO,
            "'%s' has schema %d, made by a newer twin; this one knows up to %d", s->path,
            version, KNOWN);
    while (r == 0 && version < KNOWN)
        r = apply(s, ++version, err);
    return r;
}

int store_migrate(const struct tw_store *s, struct tw_err *err)
{
    /* immediate: two programs that start at once do it one after the other */
    int r = store_exec(s, "BEGIN IMMEDIATE", "opening the history", err);

    if (r < 0)
        return r;
    r = apply_missing(s, err);
    if (r == 0)
        r = store_exec(s, "COMMIT", "changing the schema", err);
    if (r < 0)
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return r;
}
