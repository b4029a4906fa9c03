/* The server's own statistics, in one round trip; and what its sessions wait for. */
#include "sample_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Columns of the query, in order, with the versions that have them. */
static const struct column {
    const char *sql;
    int since, until; /* server_version_num: [since, until) */
    size_t offset;
    double scale; /* to the unit of the field */
} columns[] = {
#define FIELD(name) offsetof(struct tw_counters, name)
    {"pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')", 0, 990000, FIELD(wal_bytes), 1},
    {"(SELECT sum(xact_commit) FROM d)", 0, 990000, FIELD(commits), 1},
    {"(SELECT sum(xact_rollback) FROM d)", 0, 990000, FIELD(rollbacks), 1},
    {"(SELECT sum(blks_read) FROM d)", 0, 990000, FIELD(blocks_read), 1},
    {"(SELECT sum(blks_hit) FROM d)", 0, 990000, FIELD(blocks_hit), 1},
    {"(SELECT sum(temp_bytes) FROM d)", 0, 990000, FIELD(temp_bytes), 1},
    {"(SELECT sum(deadlocks) FROM d)", 0, 990000, FIELD(deadlocks), 1},
    {"(SELECT checkpoints_timed FROM pg_stat_bgwriter)", 0, 170000, FIELD(checkpoints_timed), 1},
    {"(SELECT checkpoints_req FROM pg_stat_bgwriter)", 0, 170000, FIELD(checkpoints_requested),
     1},
    {"(SELECT checkpoint_write_time FROM pg_stat_bgwriter)", 0, 170000,
     FIELD(checkpoint_write_s), 1e-3},
    {"(SELECT checkpoint_sync_time FROM pg_stat_bgwriter)", 0, 170000, FIELD(checkpoint_sync_s),
     1e-3},
    {"(SELECT num_timed FROM pg_stat_checkpointer)", 170000, 990000, FIELD(checkpoints_timed), 1},
    {"(SELECT num_requested FROM pg_stat_checkpointer)", 170000, 990000,
     FIELD(checkpoints_requested), 1},
    {"(SELECT write_time FROM pg_stat_checkpointer)", 170000, 990000, FIELD(checkpoint_write_s),
     1e-3},
    {"(SELECT sync_time FROM pg_stat_checkpointer)", 170000, 990000, FIELD(checkpoint_sync_s),
     1e-3},
    {"(SELECT wal_records FROM pg_stat_wal)", 140000, 990000, FIELD(wal_records), 1},
    {"(SELECT wal_fpi FROM pg_stat_wal)", 140000, 990000, FIELD(wal_fpi), 1},
    {"(SELECT wal_sync FROM pg_stat_wal)", 140000, 180000, FIELD(wal_syncs), 1},
    {"(SELECT wal_sync_time FROM pg_stat_wal)", 140000, 180000, FIELD(wal_sync_s), 1e-3},
    {"(SELECT sum(n_dead_tup) FROM pg_stat_all_tables)", 0, 990000, FIELD(dead_rows), 1},
};

static bool exists(const struct column *c, int version)
{
    return version >= c->since && version < c->until;
}

struct tw_pg *sample_session(struct tw_sampler *s, struct tw_err *err)
{
    if (!s->pg && !s->no_pg)
        s->no_pg = tw_twin_connect(s->twin, NULL, &s->pg, err) < 0;
    return s->pg;
}

static char *make_query(struct tw_arena *a, int version)
{
    tw_auto_buf sql = {0};
    const char *comma = "";

    tw_buf_init(&sql, 16384);
    tw_buf_puts(&sql, "WITH d AS MATERIALIZED (SELECT * FROM pg_stat_database) SELECT ");
    for (size_t i = 0; i < TW_COUNT_OF(columns); i++) {
        if (!exists(&columns[i], version))
            continue;
        tw_buf_printf(&sql, "%s%s", comma, columns[i].sql);
        comma = ", ";
    }
    return tw_arena_strdup(a, tw_buf_text(&sql));
}

static int read_server(struct tw_sampler *s, struct tw_counters *c, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_pg *pg = sample_session(s, err);
    struct tw_pg_rows rows;
    int column = 0;
    int r;

    if (!pg)
        return 0;
    r = tw_pg_query(pg, a, make_query(a, tw_pg_version(pg)), 0, NULL, &rows, err);
    if (r < 0 || rows.rows != 1)
        return r;
    for (size_t i = 0; i < TW_COUNT_OF(columns); i++) {
        const char *text;

        if (!exists(&columns[i], tw_pg_version(pg)))
            continue;
        text = tw_pg_cell(&rows, 0, column++);
        *(double *)((char *)c + columns[i].offset) =
            text ? strtod(text, NULL) * columns[i].scale : NAN;
    }
    return 0;
}

extern const struct sample_source source_postgresql;
const struct sample_source source_postgresql = {
    .name = "postgresql", .full = true, .read = read_server};

/* ---- waits ---- */

static void count_wait(struct tw_arena *a, struct tw_waits *waits, const char *event,
                       const char *statement)
{
    struct tw_wait one = {NULL, NULL, 1};

    for (size_t i = 0; i < waits->list.count; i++) {
        struct tw_wait *w = &waits->list.items[i];

        if (!tw_streq(w->event, event) || !tw_streq(w->statement, statement))
            continue;
        w->count++;
        return;
    }
    one.event = tw_arena_strdup(a, event);
    one.statement = tw_arena_strdup(a, statement);
    TW_PUSH(a, &waits->list, one);
}

int tw_sampler_waits(struct tw_sampler *s, struct tw_arena *a, struct tw_waits *waits,
                     struct tw_err *err)
{
    tw_auto(tw_arena) *scratch = tw_arena_new();
    struct tw_pg *pg = sample_session(s, err);
    struct tw_pg_rows rows;
    int r;

    if (!pg)
        return -ECONNREFUSED;
    /* A session that waits for its client is idle in all but name. */
    r = tw_pg_query(pg, scratch,
                    "SELECT coalesce(wait_event_type || ':' || wait_event, 'CPU'), query FROM "
                    "pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND "
                    "backend_type = 'client backend' AND wait_event_type IS DISTINCT FROM "
                    "'Client'",
                    0, NULL, &rows, err);
    for (int i = 0; r == 0 && i < rows.rows; i++) {
        const char *query = tw_pg_cell(&rows, i, 1);

        count_wait(a, waits, tw_pg_cell(&rows, i, 0),
                   query ? tw_pg_normalize(scratch, query) : NULL);
    }
    return r;
}
