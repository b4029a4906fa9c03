/* Between two snapshots: one session that stays open, asked for next to nothing. */
#include "kind_pg_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct session {
    struct tw_pg *pg;
    double seconds;
    int counted; /* statements before the counters were asked last */
};

/* A reload moves the time at which the configuration was loaded, a restart that of the start; settings of
 * roles and databases take effect with neither. */
static const char stamp_sql[] =
    "SELECT " OURS "md5(concat_ws('/', pg_conf_load_time(), pg_postmaster_start_time(), "
    "(SELECT string_agg(concat_ws(':', setdatabase, setrole, setconfig), ',' ORDER BY "
    "setdatabase, setrole) FROM pg_db_role_setting)))";

static const char counters_sql[] =
    "SELECT " OURS
    "sum(xact_commit + xact_rollback), sum(xact_rollback), pg_wal_lsn_diff(CASE WHEN "
    "pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, "
    "'0/0'), sum(temp_bytes), sum(blks_read), sum(numbackends) - 1 FROM pg_stat_database";

static int ask(struct session *s, struct tw_arena *a, const char *sql,
               struct tw_pg_rows *ret, struct tw_err *err)
{
    int64_t begun = tw_now_ns();
    int r = tw_pg_query(s->pg, a, sql, 0, NULL, ret, err);

    s->seconds += tw_seconds(tw_now_ns() - begun);
    return r;
}

static double number(const struct tw_pg_rows *rows, int column)
{
    const char *cell = tw_pg_cell(rows, 0, column);

    return cell ? strtod(cell, NULL) : NAN;
}

static int ask_counters(struct session *s, struct tw_arena *a, struct tw_pulse *p,
                        struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r = ask(s, a, counters_sql, &rows, err);

    if (r < 0)
        return r;
    p->requests = number(&rows, 0);
    p->rollbacks = number(&rows, 1);
    p->wal_bytes = number(&rows, 2);
    p->temp_bytes = number(&rows, 3);
    p->read_blocks = number(&rows, 4);
    p->connections = number(&rows, 5);
    return 0;
}

static int beat(struct session *s, struct tw_arena *a, bool counters,
                struct tw_pulse *ret, struct tw_err *err)
{
    struct tw_pulse p = {.requests = NAN,
                         .rollbacks = NAN,
                         .wal_bytes = NAN,
                         .temp_bytes = NAN,
                         .read_blocks = NAN,
                         .connections = NAN};
    struct tw_pg_rows rows;
    int r = ask(s, a, stamp_sql, &rows, err);

    if (r == 0 && tw_pg_cell(&rows, 0, 0))
        (void)strncpy(p.stamp, tw_pg_cell(&rows, 0, 0), sizeof(p.stamp) - 1);
    if (r == 0 && counters)
        r = ask_counters(s, a, &p, err);
    if (r < 0)
        return r;
    tw_pg_cost(s->pg, &p.statements, &p.bytes);
    p.seconds = s->seconds;
    if (counters) {
        p.own_requests = p.statements - s->counted;
        s->counted = p.statements;
    }
    *ret = p;
    return 0;
}

int kind_pg_pulse(const struct tw_target *t, bool counters, void **session,
                  struct tw_pulse *ret, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct session *s = *session;
    struct tw_pg *pg = NULL;
    int r = 0;

    if (!s) {
        int64_t begun = tw_now_ns();

        r = kind_pg_reach(a, t, &pg, err);
        if (r < 0)
            return r;
        s = tw_alloc(sizeof *s);
        s->pg = pg;
        s->seconds = tw_seconds(tw_now_ns() - begun);
        *session = s;
    }
    r = beat(s, a, counters, ret, err);
    if (r < 0) {
        kind_pg_pulse_end(s);
        *session = NULL;
    }
    return r;
}

void kind_pg_pulse_end(void *session)
{
    struct session *s = session;

    if (s)
        tw_pg_close(s->pg);
    free(s);
}
