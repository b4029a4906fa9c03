/* The statement that reads all counters, on a real server. */
#include "load_scratch.h"

#include "sample/sample_internal.h"

#include <math.h>

static struct scratch scratch;

static void open_all(void)
{
    scratch_open(&scratch, NULL);
}

static void close_all(void)
{
    scratch_close(&scratch);
}

Test(sample_postgresql, all_counters_come_in_one_row_and_grow, .init = open_all,
     .fini = close_all, .timeout = 30)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_pg *pg = scratch_connect(&scratch);
    const char *sql = sample_postgresql_sql(a, tw_pg_version(pg));
    struct tw_counters before, after;
    struct tw_pg_rows rows;
    struct tw_err err = {0};

    sample_blank(&before);
    sample_blank(&after);
    cr_assert(tw_pg_query(pg, a, sql, 0, NULL, &rows, &err) == 0, "%s", err.text);
    sample_postgresql_row(&rows, tw_pg_version(pg), &before);
    scratch_exec(pg,
                 "CREATE TABLE t AS SELECT generate_series(1, 10000) a; DELETE FROM t");
    scratch_exec(pg, "CHECKPOINT");
    tw_pg_close(pg); /* tells its counts */
    tw_sleep_ns(100 * TW_MSEC_NS);
    pg = scratch_connect(&scratch);
    cr_assert(tw_pg_query(pg, a, sql, 0, NULL, &rows, &err) == 0, "%s", err.text);
    sample_postgresql_row(&rows, tw_pg_version(pg), &after);
    cr_expect(after.wal_bytes - before.wal_bytes > 100000, "%.0f bytes of WAL",
              after.wal_bytes - before.wal_bytes);
    cr_expect(after.commits >= before.commits + 1);
    cr_expect_eq(after.checkpoints_requested, before.checkpoints_requested + 1);
    cr_expect_eq(after.dead_rows, 10000);
    cr_expect_eq(after.deadlocks, 0);
    if (tw_pg_version(pg) >= 140000)
        cr_expect(after.wal_records - before.wal_records >= 20000);
    tw_pg_close(pg);
}
