/* SQL on the live service: locks, an error, an index lost, what is harmless; on one cluster. */
#include "live.h"

static const json_t *schema_of(const struct live_answer *got)
{
    return json_object_get(json_object_get(got->json, "predicted_impact"),
                           "schema_change");
}

static const json_t *statement(const struct live_answer *got, size_t i)
{
    return json_array_get(json_object_get(schema_of(got), "statements"), i);
}

/* At so low a rate nothing but a stall of seconds would make many requests wait. */
static void ask(struct live *l, const char *sql, struct live_answer *got)
{
    live_twin(l, got, "run", "--target", "pg", "--sql", sql, "--mix", "select-only",
              "--rate", "5", "-o", "json");
    cr_assert_not_null(got->json, "%s: %s", sql, got->err);
    cr_expect_str_eq(live_text(got->json, "status"), "success", "%s: %s", sql, got->out);
}

static void expect_harmless(struct live *l)
{
    static const char *const locks[] = {"", "", "ACCESS EXCLUSIVE",
                                        "SHARE UPDATE EXCLUSIVE"};
    struct live_answer got;

    ask(l,
        "CREATE ROLE reader; GRANT pg_read_all_data TO reader; ALTER TABLE "
        "pgbench_accounts ADD COLUMN note text; CREATE INDEX CONCURRENTLY a_bal ON "
        "pgbench_accounts (abalance)",
        &got);
    cr_expect_eq(got.exit_code, 0, "exit %d\n%s", got.exit_code, got.out);
    for (size_t i = 0; i < TW_COUNT_OF(locks); i++)
        cr_expect_str_eq(live_text(statement(&got, i), "lock"), locks[i], "%zu\n%s", i,
                         got.out);
    cr_expect(live_issue(&got, "schema.index_unused"), "%s", got.out);
    live_answer_done(&got);
}

static void expect_block(struct live *l, const char *sql, const char *code,
                         const char *also)
{
    struct live_answer got;

    ask(l, sql, &got);
    cr_expect_eq(got.exit_code, 3, "%s: exit %d\n%s", sql, got.exit_code, got.out);
    cr_expect(live_issue(&got, code), "%s: no %s in\n%s", sql, code, got.out);
    cr_expect(!also || live_issue(&got, also), "%s: no %s in\n%s", sql, also, got.out);
    live_answer_done(&got);
}

static void expect_refusal(struct live *l, const char *sql, const char *says)
{
    struct live_answer got;

    live_twin(l, &got, "run", "--target", "pg", "--sql", sql);
    cr_expect_eq(got.exit_code, 2, "%s: exit %d", sql, got.exit_code);
    cr_expect(strstr(got.err, says), "%s: %s", sql, got.err);
    live_answer_done(&got);
}

/* A rewriting statement: bytes, WAL, the queue beside an open transaction, a safer form that ran. */
static void expect_rewrite(struct live *l)
{
    struct live_answer got;
    const json_t *d, *beside, *safer;

    ask(l, "ALTER TABLE pgbench_accounts ALTER COLUMN bid TYPE bigint", &got);
    d = statement(&got, 0);
    cr_expect_str_eq(live_text(d, "lock"), "ACCESS EXCLUSIVE");
    cr_expect_str_eq(live_text(d, "relation"), "public.pgbench_accounts");
    cr_expect_gt(json_number_value(json_object_get(d, "held_seconds")), 0);
    cr_expect_gt(json_number_value(json_object_get(d, "rewritten_bytes")), 5e6);
    cr_expect_gt(json_number_value(json_object_get(d, "wal_bytes")), 1e6);
    beside = json_array_get(json_object_get(d, "beside_open_transaction"), 0);
    cr_expect(json_is_false(json_object_get(beside, "got_through")), "%s", got.out);
    safer = json_array_get(json_object_get(schema_of(&got), "safer"), 0);
    cr_expect_gt(json_array_size(json_object_get(safer, "steps")), 3, "%s", got.out);
    cr_expect(live_issue(&got, "schema.rewrite"));
    cr_expect(live_issue(&got, "schema.statistics"));
    live_answer_done(&got);
}

Test(run_schema, locks_are_named_and_harm_is_told_from_harmless, .timeout = 118)
{
    struct live l;

    live_open(&l, 24417, 1, NULL);
    live_add(&l);
    expect_refusal(&l, "ALTER TABEL t ADD c int", "column 7");
    expect_refusal(&l, "SELECT 1;\n\\d", "psql");
    expect_harmless(&l);
    expect_rewrite(&l);
    expect_block(
        &l,
        "ALTER TABLE pgbench_accounts DROP CONSTRAINT pgbench_accounts_pkey; ALTER "
        "TABLE pgbench_accounts ADD CHECK (aid < 0)",
        "plan.worse", "schema.error");
    expect_block(&l, "ALTER TABLE pgbench_accounts RENAME COLUMN abalance TO balance",
                 "schema.breaks", NULL);
    cr_expect_eq(live_leftovers(&l), 0);
    live_close(&l);
}
