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
    /* 2: what the daemon keeps */
    "ALTER TABLE simulation ADD COLUMN updated_ns INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE simulation ADD COLUMN requester TEXT;"
    "ALTER TABLE simulation ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE simulation ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX simulation_unfinished ON simulation (priority DESC, created_ns)"
    " WHERE status IN ('queued', 'running');"
    "CREATE TABLE outcome ("
    " simulation TEXT PRIMARY KEY, at_ns INTEGER NOT NULL, person TEXT NOT NULL,"
    " body TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE repeat ("
    " subject TEXT NOT NULL, key TEXT NOT NULL, request_sha256 TEXT NOT NULL,"
    " simulation TEXT, status INTEGER NOT NULL, answer TEXT, created_ns INTEGER NOT NULL,"
    " PRIMARY KEY (subject, key)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX repeat_by_age ON repeat (created_ns);"
    "CREATE TABLE token ("
    " id TEXT PRIMARY KEY, hash BLOB NOT NULL, person TEXT NOT NULL, roles TEXT NOT NULL,"
    " environments TEXT, types TEXT, note TEXT, automaton INTEGER NOT NULL,"
    " created_by TEXT NOT NULL, created_ns INTEGER NOT NULL, expires_ns INTEGER NOT NULL,"
    " revoked_ns INTEGER NOT NULL, used_ns INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE approval ("
    " id TEXT PRIMARY KEY, simulation TEXT NOT NULL, plan_sha256 TEXT NOT NULL,"
    " environment TEXT, type TEXT, target TEXT, requester TEXT NOT NULL, state TEXT NOT "
    "NULL,"
    " approver TEXT, comment TEXT, risk_score REAL, created_ns INTEGER NOT NULL,"
    " expires_ns INTEGER NOT NULL, decided_ns INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX approval_by_state ON approval (state, id DESC);"
    "CREATE TABLE audit ("
    " seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, actor TEXT NOT NULL,"
    " action TEXT NOT NULL, object TEXT NOT NULL, result TEXT NOT NULL, source TEXT NOT "
    "NULL,"
    " detail TEXT NOT NULL, mac BLOB NOT NULL) STRICT;"
    "CREATE TRIGGER audit_stays BEFORE UPDATE ON audit"
    " BEGIN SELECT raise(ABORT, 'an audit entry is never changed'); END;"
    "CREATE TABLE alert ("
    " id INTEGER PRIMARY KEY, created_ns INTEGER NOT NULL, next_ns INTEGER NOT NULL,"
    " hook TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL,"
    " error TEXT, attempts INTEGER NOT NULL) STRICT;"
    "CREATE INDEX alert_due ON alert (next_ns) WHERE state = 'pending';"
    "CREATE TABLE snapshot ("
    " environment TEXT NOT NULL, target TEXT NOT NULL, taken_ns INTEGER NOT NULL,"
    " sha256 TEXT NOT NULL, body TEXT NOT NULL, drift TEXT,"
    " PRIMARY KEY (environment, target, taken_ns)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE point ("
    " environment TEXT NOT NULL, target TEXT NOT NULL, metric TEXT NOT NULL,"
    " at_ns INTEGER NOT NULL, value REAL NOT NULL,"
    " PRIMARY KEY (environment, target, metric, at_ns)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX point_by_age ON point (at_ns);",
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
