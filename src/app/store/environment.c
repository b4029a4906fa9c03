/* What is kept of environments: snapshots as they were taken, and their metrics over time. */
#include "store_internal.h"

int tw_store_snapshot_add(struct tw_store *s, const struct tw_store_snapshot *n,
                          struct tw_err *err)
{
    return store_run(
        s, err, "storing a snapshot",
        "INSERT OR REPLACE INTO snapshot (environment, target, taken_ns, sha256,"
        " body, drift) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        "ttittt", n->environment, n->target, n->taken_wall_ns, n->sha256, n->body,
        n->drift);
}

static int list(struct tw_store *s, struct tw_arena *a, const char *sql,
                const char *environment, const char *target, int limit,
                struct tw_store_snapshots *ret, struct tw_err *err)
{
    struct tw_store_snapshots all = {0};
    store_auto_stmt *q = NULL;
    int r = store_query(s, err, &q, sql, "tti", environment, target, (int64_t)limit);

    while (r >= 0 && (r = store_next(s, q, "reading snapshots", err)) == 1)
        TW_PUSH(a, &all.list,
                (struct tw_store_snapshot){.environment = store_text(a, q, 0),
                                           .target = store_text(a, q, 1),
                                           .taken_wall_ns = sqlite3_column_int64(q, 2),
                                           .sha256 = store_text(a, q, 3),
                                           .body = store_text(a, q, 4),
                                           .drift = store_text(a, q, 5)});
    if (r == 0)
        *ret = all;
    return r;
}

int tw_store_snapshot_list(struct tw_store *s, struct tw_arena *a,
                           const char *environment, const char *target, int limit,
                           struct tw_store_snapshots *ret, struct tw_err *err)
{
    return list(s, a,
                "SELECT environment, target, taken_ns, sha256, body, drift FROM snapshot"
                " WHERE environment = ?1 AND (?2 IS NULL OR target = ?2)"
                " ORDER BY taken_ns DESC LIMIT ?3",
                environment, target, limit, ret, err);
}

int tw_store_snapshot_heads(struct tw_store *s, struct tw_arena *a,
                            const char *environment, const char *target, int limit,
                            struct tw_store_snapshots *ret, struct tw_err *err)
{
    return list(s, a,
                "SELECT environment, target, taken_ns, sha256, '', drift FROM snapshot"
                " WHERE environment = ?1 AND (?2 IS NULL OR target = ?2)"
                " ORDER BY taken_ns DESC LIMIT ?3",
                environment, target, limit, ret, err);
}

int tw_store_drift_list(struct tw_store *s, struct tw_arena *a, const char *environment,
                        const char *target, int limit, struct tw_store_snapshots *ret,
                        struct tw_err *err)
{
    return list(s, a,
                "SELECT environment, target, taken_ns, sha256, '', drift FROM snapshot"
                " WHERE environment = ?1 AND (?2 IS NULL OR target = ?2)"
                " AND drift IS NOT NULL AND drift <> '[]'"
                " ORDER BY taken_ns DESC LIMIT ?3",
                environment, target, limit, ret, err);
}

int tw_store_snapshot_remove(struct tw_store *s, const char *environment,
                             const char *target, int64_t taken_wall_ns,
                             struct tw_err *err)
{
    return store_run(s, err, "removing a snapshot",
                     "DELETE FROM snapshot WHERE environment = ?1 AND target = ?2"
                     " AND taken_ns = ?3",
                     "tti", environment, target, taken_wall_ns);
}

int tw_store_point_add(struct tw_store *s, const struct tw_store_point *p,
                       struct tw_err *err)
{
    return store_run(
        s, err, "storing a metric",
        "INSERT OR REPLACE INTO point (environment, target, metric, at_ns, value)"
        " VALUES (?1, ?2, ?3, ?4, ?5)",
        "tttir", p->environment, p->target, p->metric, p->at_wall_ns, p->value);
}

int tw_store_point_list(struct tw_store *s, struct tw_arena *a, const char *environment,
                        const char *target, const char *metric, int64_t from, int64_t to,
                        int64_t step, struct tw_store_points *ret, struct tw_err *err)
{
    struct tw_store_points all = {0};
    store_auto_stmt *q = NULL;
    int r = store_query(
        s, err, &q,
        "SELECT target, metric, (at_ns / ?6) * ?6 AS at, avg(value), count(*)"
        " FROM point WHERE environment = ?1 AND (?2 IS NULL OR target = ?2)"
        " AND (?3 IS NULL OR metric = ?3) AND at_ns >= ?4 AND at_ns < ?5"
        " GROUP BY target, metric, at ORDER BY target, metric, at LIMIT 20000",
        "tttiii", environment, target, metric, from, to, step);

    while (r >= 0 && (r = store_next(s, q, "reading metrics", err)) == 1)
        TW_PUSH(a, &all.list,
                (struct tw_store_point){.environment = environment,
                                        .target = store_text(a, q, 0),
                                        .metric = store_text(a, q, 1),
                                        .at_wall_ns = sqlite3_column_int64(q, 2),
                                        .value = sqlite3_column_double(q, 3),
                                        .n = sqlite3_column_int64(q, 4)});
    if (r == 0)
        *ret = all;
    return r;
}

int tw_store_forget(struct tw_store *s, int64_t before, struct tw_err *err)
{
    static const char *const rows[] = {
        "DELETE FROM point WHERE at_ns < ?1",
        "DELETE FROM repeat WHERE created_ns < ?1",
        "DELETE FROM alert WHERE created_ns < ?1 AND state <> 'pending'",
        /* the newest snapshot of a target stays, however old it is */
        "DELETE FROM snapshot WHERE taken_ns < ?1 AND EXISTS (SELECT 1 FROM snapshot AS "
        "newer"
        " WHERE newer.environment = snapshot.environment AND newer.target = "
        "snapshot.target"
        " AND newer.taken_ns > snapshot.taken_ns)",
    };
    int r = 0;

    for (size_t i = 0; i < TW_COUNT_OF(rows) && r == 0; i++)
        r = store_run(s, err, "forgetting what is old", rows[i], "i", before);
    return r;
}
