/* Mixes, plans and checks on a real PostgreSQL. */
#include "load_scratch.h"

#include <math.h>

static struct scratch scratch;
static struct tw_arena *arena;
static struct tw_pg *pg;

static void open_all(void)
{
    scratch_open(&scratch, "-c shared_preload_libraries=pg_stat_statements "
                           "-c pg_stat_statements.track=top");
    arena = tw_arena_new();
    pg = scratch_connect(&scratch);
}

static void close_all(void)
{
    tw_pg_close(pg);
    scratch_close(&scratch);
    tw_arena_free(arena);
}

TestSuite(load_mix, .init = open_all, .fini = close_all, .timeout = 40);

static void make_shop(void)
{
    scratch_exec(
        pg, "CREATE EXTENSION pg_stat_statements;"
            "CREATE TABLE customer (id int PRIMARY KEY, email text UNIQUE, name text,"
            " born date, active bool);"
            "INSERT INTO customer SELECT i, 'c' || i || '@x.org', md5(i::text),"
            " date '1950-01-01' + i % 20000, i % 3 = 0 FROM generate_series(1, 20000) i;"
            "CREATE TABLE item (customer int, line int, price numeric, sold timestamptz,"
            " note text, PRIMARY KEY (customer, line));"
            "INSERT INTO item SELECT i / 4 * 7, i % 4, i % 1000 + 0.5,"
            " timestamptz '2024-01-01' + i * interval '1 minute', repeat('x', 60)"
            " FROM generate_series(0, 79999) i;"
            "CREATE INDEX ON item (sold);"
            "CREATE TABLE log (id uuid PRIMARY KEY, text text);"
            "CREATE TABLE visit (at timestamptz, what text);"
            "INSERT INTO visit SELECT now() - i * interval '1 minute', 'page'"
            " FROM generate_series(1, 50000) i;"
            "CREATE INDEX ON visit (at);"
            "ANALYZE; SELECT pg_stat_statements_reset()");
}

/* What an application would have sent, with literals: A customer, B one that has items,
 * C, D times an hour apart. */
static void use_shop(void)
{
    static const struct {
        const char *sql;
        int most;
    } sent[] = {
        {"SELECT * FROM customer WHERE id = A", 200},
        {"SELECT name FROM customer c WHERE c.email = 'cA@x.org'", 200},
        {"UPDATE customer SET active = true WHERE id = A", 20},
        {"SELECT sum(price) FROM item WHERE customer = B AND line = 2", 200},
        {"SELECT i.price, c.name FROM item i JOIN customer c ON c.id = i.customer"
         " WHERE i.customer IN (7, 14, 21, B) AND c.name > ''",
         200},
        {"SELECT * FROM item WHERE sold BETWEEN 'C' AND 'D'", 200},
        {"SELECT * FROM item WHERE sold >= 'C' AND sold < 'D'", 200},
        {"SELECT customer, line FROM item WHERE (customer, line) = (B, 1)", 200},
        {"INSERT INTO log VALUES ('00000000-0000-0000-0000-0000001A', 'seen')", 100},
        {"SELECT * FROM customer ORDER BY id LIMIT 20 OFFSET 0", 200},
        {"SELECT count(*) FROM item WHERE price > 990.0", 20},
        {"SELECT count(*) FROM item WHERE sold > timestamptz '2024-02-01' + interval '1 "
         "day'",
         1},
        {"SELECT count(*), max(what) FROM visit WHERE at > now() - interval '2 days'",
         20},
        {"SELECT * FROM customer WHERE id = ANY ('{A, 1, 2, 3, 4}')", 200},
        {"DELETE FROM log WHERE id = '00000000-0000-0000-0000-0000001A'", 10},
    };

    for (int i = 1; i <= 200; i++)
        for (size_t k = 0; k < TW_COUNT_OF(sent); k++) {
            int customer = 10000 + i * 47 % 10000;
            tw_auto_buf b = {0};

            if (i > sent[k].most)
                continue;
            tw_buf_init(&b, 4096);
            for (const char *at = sent[k].sql; *at; at++) {
                bool word = (at[1] >= 'A' && at[1] <= 'Z') ||
                            (at > sent[k].sql && at[-1] >= 'A' && at[-1] <= 'Z');

                if (*at == 'A' && !word)
                    tw_buf_printf(&b, "%d", customer);
                else if (*at == 'B' && !word)
                    tw_buf_printf(&b, "%d", customer / 7 * 7);
                else if ((*at == 'C' || *at == 'D') && !word)
                    tw_buf_printf(&b, "2024-01-%02d %02d:00:00", 1 + i % 28,
                                  5 + i % 15 + (*at == 'D'));
                else
                    tw_buf_add(&b, at, 1);
            }
            scratch_exec(pg, tw_buf_text(&b));
        }
    scratch_exec(pg, "SELECT pg_sleep(0.001)");
    scratch_exec(pg, "VACUUM log");
}

static struct tw_snapshot take(void)
{
    struct tw_snapshot s = {0};
    struct tw_pg_rows rows;
    struct tw_err err = {0};

    cr_assert(
        tw_pg_query(pg, arena,
                    "SELECT d.datname, query, calls, total_exec_time, mean_exec_time,"
                    " rows::float8 / calls, (shared_blks_hit + shared_blks_read)::float8"
                    " / calls, queryid FROM pg_stat_statements s JOIN pg_database d"
                    " ON d.oid = s.dbid ORDER BY 4 DESC",
                    0, NULL, &rows, &err) == 0,
        "%s", err.text);
    for (int i = 0; i < rows.rows; i++)
        TW_PUSH(arena, &s.statements,
                (struct tw_statement){.database = tw_pg_cell(&rows, i, 0),
                                      .text = tw_pg_cell(&rows, i, 1),
                                      .calls = atol(tw_pg_cell(&rows, i, 2)),
                                      .total_ms = atof(tw_pg_cell(&rows, i, 3)),
                                      .mean_ms = atof(tw_pg_cell(&rows, i, 4)),
                                      .rows_per_call = atof(tw_pg_cell(&rows, i, 5)),
                                      .blocks_per_call = atof(tw_pg_cell(&rows, i, 6)),
                                      .query_id = atol(tw_pg_cell(&rows, i, 7))});
    cr_assert(tw_pg_query(pg, arena,
                          "SELECT current_database(), schemaname, relname,"
                          " pg_table_size(relid), n_live_tup, coalesce(seq_scan, 0),"
                          " coalesce(seq_tup_read, 0), coalesce(idx_scan, 0), n_tup_ins,"
                          " n_tup_upd, n_tup_del FROM pg_stat_user_tables",
                          0, NULL, &rows, &err) == 0,
              "%s", err.text);
    for (int i = 0; i < rows.rows; i++)
        TW_PUSH(arena, &s.tables,
                (struct tw_table){.database = tw_pg_cell(&rows, i, 0),
                                  .schema = tw_pg_cell(&rows, i, 1),
                                  .name = tw_pg_cell(&rows, i, 2),
                                  .bytes = atol(tw_pg_cell(&rows, i, 3)),
                                  .rows = atol(tw_pg_cell(&rows, i, 4)),
                                  .seq_scans = atol(tw_pg_cell(&rows, i, 5)),
                                  .seq_rows = atol(tw_pg_cell(&rows, i, 6)),
                                  .idx_scans = atol(tw_pg_cell(&rows, i, 7)),
                                  .inserts = atol(tw_pg_cell(&rows, i, 8)),
                                  .updates = atol(tw_pg_cell(&rows, i, 9)),
                                  .deletes = atol(tw_pg_cell(&rows, i, 10))});
    return s;
}

static void tell(const struct tw_load_mix *mix)
{
    for (size_t i = 0; i < mix->items.count; i++)
        cr_log_info("%5.1f %% of requests, %5.1f %% of time: %s\n",
                    100 * mix->items.items[i].weight,
                    100 * mix->items.items[i].source_share,
                    mix->items.items[i].statements.items[0].sql);
    for (size_t i = 0; i < mix->missing.count; i++)
        cr_log_info("missing: %s\n", mix->missing.items[i]);
    cr_log_info("%s; coverage %.3f\n", mix->description, mix->coverage);
}

Test(load_mix, statements_of_the_target_are_reproduced)
{
    struct tw_snapshot s;
    struct tw_load_mix mix;
    struct tw_load_plans plans, again;
    struct tw_err err = {0};
    double *seconds;
    struct tw_load_spec spec = {.mix = &mix, .conninfo = {scratch.conninfo, NULL}};
    struct tw_load_order order = {
        .rate_per_s = 200, .length_ns = TW_SEC_NS, .seed = 1, .settle_s = 1};
    struct tw_load_failures failures;
    struct tw_load *load;
    struct tw_slot slot;

    make_shop();
    use_shop();
    s = take();
    cr_assert(tw_load_mix_make(arena, &s, NULL, 0, pg, &mix, &err) == 0, "%s", err.text);
    tell(&mix);
    cr_expect_str_eq(mix.source, "pg_stat_statements");
    cr_expect(mix.coverage >= 0.9, "coverage %.3f", mix.coverage);
    cr_assert(tw_load_mix_check(arena, &mix, pg, &err) == 0, "%s", err.text);
    tell(&mix);
    cr_expect(mix.coverage >= 0.9, "coverage after checking %.3f", mix.coverage);

    cr_assert(tw_load_explain(arena, &mix, pg, &plans, &err) == 0, "%s", err.text);
    cr_assert(tw_load_explain(arena, &mix, pg, &again, &err) == 0, "%s", err.text);
    cr_assert_eq(plans.list.count, mix.items.count);
    for (size_t i = 0; i < plans.list.count; i++) {
        cr_log_info("%s | %s | %.2f\n", plans.list.items[i].line,
                    plans.list.items[i].shape, plans.list.items[i].cost);
        cr_expect_str_eq(plans.list.items[i].shape, again.list.items[i].shape);
    }
    cr_assert(tw_load_try(arena, &mix, pg, 2, 1, &seconds, &err) == 0, "%s", err.text);
    for (size_t i = 0; i < mix.items.count; i++)
        cr_expect(seconds[i] > 0, "%s is not answered", mix.items.items[i].text);

    spec.connections = 4;
    cr_assert(tw_load_open(&spec, &load, &err) == 0, "%s", err.text);
    cr_assert(tw_load_slot(load, &order, &slot, &err) == 0, "%s", err.text);
    cr_assert(tw_load_failures(load, arena, &failures, &err) == 0);
    for (size_t i = 0; i < failures.list.count; i++)
        cr_log_info("%s %s x %ld\n", failures.list.items[i].code,
                    failures.list.items[i].text, (long)failures.list.items[i].count);
    cr_expect_eq(slot.errors, 0);
    cr_expect_eq(slot.done, slot.sent);
    tw_hist_free(slot.latency);
    tw_load_close(load);
}

Test(load_mix, what_pgbench_sent_is_reproduced)
{
    tw_auto_free char *command =
        tw_strf("pgbench -n -c 2 -t 500 -h %s -p 7777 -U postgres postgres", scratch.dir);
    struct tw_snapshot s;
    struct tw_load_mix mix;
    struct tw_err err = {0};

    scratch_pgbench(&scratch, 1);
    scratch_exec(
        pg, "CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()");
    cr_assert(scratch_run(&scratch, command) == 0);
    s = take();
    cr_assert(tw_load_mix_make(arena, &s, NULL, 0, pg, &mix, &err) == 0, "%s", err.text);
    cr_expect(mix.coverage >= 0.95, "coverage %.3f", mix.coverage);
    cr_assert(tw_load_mix_check(arena, &mix, pg, &err) == 0, "%s", err.text);
    tell(&mix);
    cr_expect(mix.coverage >= 0.5, "coverage after checking %.3f", mix.coverage);
    cr_expect_eq(mix.items.count, 5);
}

Test(load_mix, a_mix_is_guessed_from_the_counters_of_the_tables)
{
    struct tw_snapshot s;
    struct tw_load_mix mix;
    struct tw_err err = {0};
    double *seconds;

    make_shop();
    use_shop();
    tw_pg_close(pg);
    pg = scratch_connect(&scratch);
    tw_sleep_ns(200 * TW_MSEC_NS);
    s = take();
    s.statements.count = 0;
    cr_assert(tw_load_mix_make(arena, &s, NULL, 0, pg, &mix, &err) == 0, "%s", err.text);
    tell(&mix);
    cr_expect_str_eq(mix.source, "table statistics");
    cr_expect(isnan(mix.coverage));
    cr_expect(mix.items.count >= 5, "%zu items", mix.items.count);
    cr_assert(tw_load_try(arena, &mix, pg, 2, 1, &seconds, &err) == 0, "%s", err.text);
    for (size_t i = 0; i < mix.items.count; i++)
        cr_expect(seconds[i] > 0, "%s is not answered", mix.items.items[i].text);
}

Test(load_mix, a_database_without_rows_is_refused_with_what_to_do)
{
    const struct tw_snapshot s = {0};
    struct tw_load_mix mix;
    struct tw_err err = {0};

    cr_expect_eq(tw_load_mix_make(arena, &s, NULL, 0, pg, &mix, &err), -ENODATA);
    cr_expect(strstr(err.text, "postgres") && strstr(err.text, "select-only"), "%s",
              err.text);
}

Test(load_mix, pgbench_mixes_need_its_tables_and_names_are_suggested)
{
    const struct tw_snapshot s = {0};
    const char *tpcb = "tpcb", *typo = "tpcd";
    struct tw_load_mix mix;
    struct tw_err err = {0};

    cr_expect_eq(tw_load_mix_make(arena, &s, &tpcb, 1, pg, &mix, &err), -EINVAL);
    cr_expect(strstr(err.text, "pgbench -i"), "%s", err.text);
    cr_expect_eq(tw_load_mix_make(arena, &s, &typo, 1, pg, &mix, &err), -EINVAL);
    cr_expect(strstr(err.text, "did you mean 'tpcb'"), "%s", err.text);
}

Test(load_mix, a_plan_turned_bad_shows_in_shape_and_cost)
{
    const struct tw_snapshot s = {0};
    const char *name = "select-only";
    struct tw_load_mix mix;
    struct tw_load_plans good, bad;
    struct tw_err err = {0};

    scratch_pgbench(&scratch, 1);
    cr_assert(tw_load_mix_make(arena, &s, &name, 1, pg, &mix, &err) == 0, "%s", err.text);
    cr_assert(tw_load_explain(arena, &mix, pg, &good, &err) == 0, "%s", err.text);
    scratch_exec(
        pg, "SET random_page_cost = 1000000; SET seq_page_cost = 0.0001; SET jit = off");
    cr_assert(tw_load_explain(arena, &mix, pg, &bad, &err) == 0, "%s", err.text);
    cr_assert_eq(good.list.count, 1);
    cr_expect_str_eq(good.list.items[0].line,
                     "Index Scan using pgbench_accounts_pkey on pgbench_accounts");
    cr_expect(strstr(bad.list.items[0].line, "Seq Scan on pgbench_accounts"), "%s",
              bad.list.items[0].line);
    cr_expect_str_neq(good.list.items[0].shape, bad.list.items[0].shape);
    cr_expect(strstr(good.list.items[0].full, "aid = ?"), "%s", good.list.items[0].full);
}
