/* PostgreSQL's own counters, in one round trip of a prepared statement.
 *
 * Sessions tell their counts of transactions and blocks at most once a second and when
 * they end, so over a short slot these lag; the position in the WAL is exact. */
#include "sample_internal.h"

#include <libpq-fe.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Where a counter stands from one server version up to another (0: no end). */
static const struct row {
    size_t offset;
    int from, below;
    const char *sql;
} rows[] = {
#define ROW(field, from, below, sql)                                                     \
    {                                                                                    \
        offsetof(struct tw_counters, field), from, below, sql                            \
    }
    ROW(wal_bytes, 0, 0,
        "pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
        " ELSE pg_current_wal_insert_lsn() END, '0/0')"),
    ROW(commits, 0, 0, "d.commits"),
    ROW(rollbacks, 0, 0, "d.rollbacks"),
    ROW(blocks_read, 0, 0, "d.blocks_read"),
    ROW(blocks_hit, 0, 0, "d.blocks_hit"),
    ROW(temp_bytes, 0, 0, "d.temp_bytes"),
    ROW(deadlocks, 0, 0, "d.deadlocks"),
    ROW(checkpoints_timed, 0, 170000, "c.checkpoints_timed"),
    ROW(checkpoints_timed, 170000, 0, "c.num_timed"),
    ROW(checkpoints_requested, 0, 170000, "c.checkpoints_req"),
    ROW(checkpoints_requested, 170000, 0, "c.num_requested"),
    ROW(checkpoint_write_s, 0, 170000, "c.checkpoint_write_time / 1000"),
    ROW(checkpoint_write_s, 170000, 0, "c.write_time / 1000"),
    ROW(checkpoint_sync_s, 0, 170000, "c.checkpoint_sync_time / 1000"),
    ROW(checkpoint_sync_s, 170000, 0, "c.sync_time / 1000"),
    ROW(wal_records, 140000, 0, "w.wal_records"),
    ROW(wal_fpi, 140000, 0, "w.wal_fpi"),
    ROW(wal_syncs, 140000, 180000, "w.wal_sync"),
    ROW(wal_syncs, 180000, 0, "io.fsyncs"),
    ROW(wal_sync_s, 140000, 180000,
        "CASE WHEN current_setting('track_wal_io_timing')::bool THEN w.wal_sync_time / "
        "1000 END"),
    ROW(wal_sync_s, 180000, 0,
        "CASE WHEN current_setting('track_wal_io_timing')::bool THEN io.fsync_time / "
        "1000 END"),
    ROW(dead_rows, 0, 0, "t.dead"),
#undef ROW
};
static const struct table {
    int from, below;
    const char *sql;
} tables[] = {
    {0, 0,
     "(SELECT sum(xact_commit) AS commits, sum(xact_rollback) AS rollbacks,"
     " sum(blks_read) AS blocks_read, sum(blks_hit) AS blocks_hit, sum(temp_bytes) AS "
     "temp_bytes,"
     " sum(deadlocks) AS deadlocks FROM pg_stat_database) d"},
    {0, 0, "(SELECT sum(n_dead_tup) AS dead FROM pg_stat_user_tables) t"},
    {0, 170000, "pg_stat_bgwriter c"},
    {170000, 0, "pg_stat_checkpointer c"},
    {140000, 0, "pg_stat_wal w"},
    {180000, 0,
     "(SELECT sum(fsyncs) AS fsyncs, sum(fsync_time) AS fsync_time FROM pg_stat_io"
     " WHERE object = 'wal') io"},
};

static bool applies(int from, int below, int version)
{
    return version >= from && (below == 0 || version < below);
}

char *sample_postgresql_sql(struct tw_arena *a, int version)
{
    tw_auto_buf b = {0};
    const char *between = "SELECT ";

    tw_buf_init(&b, 65536);
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        if (!applies(rows[i].from, rows[i].below, version))
            continue;
        tw_buf_printf(&b, "%s%s", between, rows[i].sql);
        between = ", ";
    }
    between = " FROM ";
    for (size_t i = 0; i < TW_COUNT_OF(tables); i++) {
        if (!applies(tables[i].from, tables[i].below, version))
            continue;
        tw_buf_printf(&b, "%s%s", between, tables[i].sql);
        between = ", ";
    }
    return tw_arena_strdup(a, tw_buf_text(&b));
}

void sample_postgresql_row(const struct tw_pg_rows *row, int version,
                           struct tw_counters *ret)
{
    int column = 0;

    for (size_t i = 0; i < TW_COUNT_OF(rows) && row->rows == 1 && column < row->columns;
         i++) {
        const char *text;
        double value;

        if (!applies(rows[i].from, rows[i].below, version))
            continue;
        text = tw_pg_cell(row, 0, column++);
        value = text ? strtod(text, NULL) : NAN;
        memcpy((char *)ret + rows[i].offset, &value, sizeof value);
    }
}

/* ---- the source ---- */

struct state {
    struct tw_twin *twin; /* borrowed */
    struct tw_pg *pg;     /* owned; NULL: the server is away */
    char *database;       /* owned; where the user's tables are, NULL: "postgres" */
};

/* The database with the most data: dead rows are counted there. */
static char *main_database(struct tw_twin *twin)
{
    const struct tw_access *access = tw_twin_access(twin);
    const struct tw_snapshot *s = access ? access->snapshot : NULL;
    const struct tw_table *best = NULL;

    for (size_t i = 0; s && i < s->tables.count; i++)
        if (!best || s->tables.items[i].bytes > best->bytes)
            best = &s->tables.items[i];
    return best && best->database ? strdup(best->database) : NULL;
}

static void connect_again(struct state *s)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const char *prepare;

    if (tw_twin_connect(s->twin, s->database, &s->pg, NULL) < 0) {
        s->pg = NULL;
        return;
    }
    prepare = tw_arena_printf(a, "PREPARE twin_sample AS %s",
                              sample_postgresql_sql(a, tw_pg_version(s->pg)));
    if (tw_pg_exec(s->pg, "SET application_name = 'twin sampler'", NULL) < 0 ||
        tw_pg_exec(s->pg, prepare, NULL) < 0) {
        tw_pg_close(s->pg);
        s->pg = NULL;
    }
}

static void pg_open(struct tw_twin *twin, void **ret_state)
{
    struct state *s;

    if (!tw_streq(tw_twin_kind(twin)->name, "postgresql"))
        return;
    s = tw_alloc(sizeof *s);
    s->twin = twin;
    s->database = main_database(twin);
    connect_again(s);
    *ret_state = s;
}

/* A server that restarted is found again; one that is away leaves what it would tell
 * unknown. */
static int ask(struct state *s, struct tw_arena *a, const char *sql,
               struct tw_pg_rows *ret, struct tw_err *err)
{
    int r = s->pg ? tw_pg_query(s->pg, a, sql, 0, NULL, ret, err) : -ENOTCONN;

    if (r >= 0 || (s->pg && PQstatus(tw_pg_raw(s->pg)) != CONNECTION_BAD))
        return r;
    tw_pg_close(s->pg);
    s->pg = NULL;
    connect_again(s);
    return s->pg ? tw_pg_query(s->pg, a, sql, 0, NULL, ret, err)
                 : tw_fail(err, -ECONNREFUSED, "the twin's server does not answer");
}

static void pg_read(void *state, struct tw_counters *ret)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct state *s = state;
    struct tw_pg_rows row;

    if (ask(s, a, "EXECUTE twin_sample", &row, NULL) >= 0)
        sample_postgresql_row(&row, tw_pg_version(s->pg), ret);
}

static void count_wait(struct tw_arena *a, struct tw_waits *waits, const char *event,
                       const char *statement, int64_t n)
{
    for (size_t i = 0; i < waits->list.count; i++) {
        struct tw_wait *w = &waits->list.items[i];

        if (tw_streq(w->event, event) && tw_streq(w->statement, statement)) {
            w->count += n;
            return;
        }
    }
    TW_PUSH(a, &waits->list,
            (struct tw_wait){.event = tw_arena_strdup(a, event),
                             .statement = tw_arena_strdup(a, statement),
                             .count = n});
}

/* The statements are those of the load, which sends its values apart from them. A session
 * that waits for its client is idle in all but name. */
static int pg_waits(void *state, struct tw_arena *a, struct tw_waits *waits,
                    struct tw_err *err)
{
    static const char sql[] =
        "SELECT coalesce(wait_event_type || ':' || wait_event, 'CPU'), query, count(*)"
        " FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client "
        "backend'"
        " AND pid <> pg_backend_pid() AND wait_event_type IS DISTINCT FROM 'Client'"
        " GROUP BY 1, 2";
    tw_auto(tw_arena) *own = tw_arena_new();
    struct tw_pg_rows got;
    int r = ask(state, own, sql, &got, err);

    for (int i = 0; r >= 0 && i < got.rows; i++)
        count_wait(a, waits, tw_pg_cell(&got, i, 0), tw_pg_cell(&got, i, 1),
                   strtoll(tw_pg_cell(&got, i, 2), NULL, 10));
    return r < 0 ? r : 0;
}

static void pg_close(void *state)
{
    struct state *s = state;

    tw_pg_close(s->pg);
    free(s->database);
    free(s);
}

const struct sample_source sample_source_postgresql = {
    .name = "postgresql",
    .asks = true,
    .open = pg_open,
    .read = pg_read,
    .waits = pg_waits,
    .close = pg_close,
};
