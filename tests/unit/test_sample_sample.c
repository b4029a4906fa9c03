#include "sample/sample_internal.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static const char stat_text[] = "cpu  100 0 100 900 0 0 0 0 0 0\n"
                                "cpu0 60 0 40 500 50 0 0 0 30 0\n"
                                "cpu1 40 10 60 400 0 5 5 10 0 0\n"
                                "cpu10 7 0 0 0 0 0 0 0 0 0\n"
                                "intr 1 2 3\n";

Test(sample_cgroup, busy_is_all_but_idle_and_waiting_of_the_cores_named)
{
    cr_expect_float_eq(sample_busy_s(stat_text, "0"), 1.0, 1e-9);
    cr_expect_float_eq(sample_busy_s(stat_text, "1"), 1.3, 1e-9);
    cr_expect_float_eq(sample_busy_s(stat_text, "0-1,10"), 2.37, 1e-9);
    cr_expect_float_eq(sample_busy_s(stat_text, NULL), 2.37, 1e-9);
    cr_expect(isnan(sample_busy_s(stat_text, "7")));
}

Test(sample_sample, a_slot_gets_the_difference_and_no_cost_of_asking)
{
    struct tw_counters before, after;
    struct tw_slot slot = {0};

    sample_blank(&before);
    sample_blank(&after);
    before.usage.cpu_s = 1.0; /* after the asking */
    before.cpu_unasked_s = 0.9;
    after.cpu_unasked_s = 1.5; /* before it */
    after.usage.cpu_s = 1.7;
    before.foreign_busy_s = 10;
    after.foreign_busy_s = 10.8;
    before.wal_bytes = 100;
    after.wal_bytes = 350;
    after.usage.anon_bytes = 42;
    tw_sample_slot(&before, &after, &slot);
    cr_expect_float_eq(slot.cpu_s, 0.5, 1e-9);
    cr_expect_float_eq(slot.foreign_cpu_s, 0.3, 1e-9);
    cr_expect_float_eq(slot.wal_bytes, 250, 1e-9);
    cr_expect_float_eq(slot.anon_bytes, 42, 1e-9);
    cr_expect(isnan(slot.read_bytes) && isnan(slot.temp_bytes));
}

Test(sample_postgresql, every_version_has_a_statement_of_its_own)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    cr_expect(strstr(sample_postgresql_sql(a, 130000), "pg_stat_wal") == NULL);
    cr_expect(strstr(sample_postgresql_sql(a, 150000), "w.wal_sync,"));
    cr_expect(strstr(sample_postgresql_sql(a, 160000), "pg_stat_bgwriter"));
    cr_expect(strstr(sample_postgresql_sql(a, 170000), "pg_stat_checkpointer"));
    cr_expect(strstr(sample_postgresql_sql(a, 170000), "pg_stat_bgwriter") == NULL);
    cr_expect(strstr(sample_postgresql_sql(a, 180000), "pg_stat_io"));
}

Test(sample_postgresql, a_row_goes_where_its_columns_belong)
{
    const char *cells[] = {"1000", "5",   "1",   "2",  "3",  "4",  "0",  "7",
                           "8",    "9.5", "0.5", "11", NULL, "13", NULL, "15"};
    struct tw_pg_rows row = {1, TW_COUNT_OF(cells), cells};
    struct tw_counters c;

    sample_blank(&c);
    sample_postgresql_row(&row, 150018, &c);
    cr_expect_eq(c.wal_bytes, 1000);
    cr_expect_eq(c.commits, 5);
    cr_expect_eq(c.checkpoint_write_s, 9.5);
    cr_expect(isnan(c.wal_fpi) && isnan(c.wal_sync_s));
    cr_expect_eq(c.wal_syncs, 13);
    cr_expect_eq(c.dead_rows, 15);
}
