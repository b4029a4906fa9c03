/* Locks of PostgreSQL against the requests of a mix (manual, 13.3.1: conflicting lock modes). */
#include "schema/schema_internal.h"

#include <criterion/criterion.h>

static struct tw_arena *arena;
static void setup(void)
{
    arena = tw_arena_new();
}
static void teardown(void)
{
    tw_arena_free(arena);
}
TestSuite(schema_modes, .init = setup, .fini = teardown);

static void add(struct tw_load_mix *mix, double weight, const char *sql)
{
    struct tw_load_item item = {.weight = weight};
    struct tw_load_statement statement = {.sql = sql};

    TW_PUSH(arena, &item.statements, statement);
    TW_PUSH(arena, &mix->items, item);
}

/* Six of ten read orders, three write it, one reads another table of that name. */
static struct schema_touches touches(void)
{
    struct tw_load_mix mix = {0};
    struct schema_touches ret;

    add(&mix, 6, "SELECT total FROM orders WHERE id = $1");
    add(&mix, 3, "UPDATE shop.orders SET total = $1 WHERE id = $2");
    add(&mix, 1, "SELECT 1 FROM archive.orders");
    schema_touches_of(arena, &mix, &ret);
    return ret;
}

Test(schema_modes, names_are_found_as_the_manual_and_as_pg_locks_write_them)
{
    for (int mode = TW_LOCK_ACCESS_SHARE; mode < TW_LOCK_MODE_COUNT; mode++)
        cr_expect_eq((int)tw_lock_mode_find(tw_lock_mode_names[mode]), mode, "%s",
                     tw_lock_mode_names[mode]);
    cr_expect_eq(tw_lock_mode_find("AccessExclusiveLock"), TW_LOCK_ACCESS_EXCLUSIVE);
    cr_expect_eq(tw_lock_mode_find("ShareLock"), TW_LOCK_SHARE);
    cr_expect_eq(tw_lock_mode_find("no such lock"), TW_LOCK_NONE);
}

Test(schema_modes, a_lock_stops_those_whose_own_lock_conflicts)
{
    static const struct {
        enum tw_lock_mode mode;
        double share;
    } rows[] = {{TW_LOCK_ACCESS_SHARE, 0},
                {TW_LOCK_SHARE_UPDATE_EXCLUSIVE, 0}, /* CREATE INDEX CONCURRENTLY */
                {TW_LOCK_SHARE, 0.3},                /* CREATE INDEX: writes wait */
                {TW_LOCK_SHARE_ROW_EXCLUSIVE, 0.3},
                {TW_LOCK_EXCLUSIVE, 0.3},
                {TW_LOCK_ACCESS_EXCLUSIVE, 0.9}}; /* ALTER TABLE: everybody */
    const struct schema_relation table = {.schema = "shop", .bare = "orders"};
    struct schema_touches t = touches();

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        cr_expect_float_eq(schema_share_stopped(&t, &table, rows[i].mode, 0),
                           rows[i].share, 1e-9, "%s", tw_lock_mode_names[rows[i].mode]);
}

Test(schema_modes, rows_of_an_update_are_locked_one_after_the_other)
{
    const struct schema_relation table = {.schema = "shop", .bare = "orders"};
    struct schema_touches t = touches();

    cr_expect_float_eq(schema_share_stopped(&t, &table, TW_LOCK_ROW_EXCLUSIVE, 0), 0,
                       1e-9);
    cr_expect_float_eq(schema_share_stopped(&t, &table, TW_LOCK_ROW_EXCLUSIVE, 0.5),
                       0.3 * 0.5 / 2, 1e-9,
                       "on average half of those it will lock are locked");
}

Test(schema_modes, only_tables_that_the_mix_writes_are_written)
{
    const struct schema_relation written = {.schema = "shop", .bare = "orders"},
                                 read = {.schema = "archive", .bare = "orders"},
                                 unknown = {.schema = "shop", .bare = "customers"};
    struct schema_touches t = touches();

    cr_expect(schema_is_written(&t, &written));
    cr_expect_not(schema_is_written(&t, &read));
    cr_expect_not(schema_is_written(&t, &unknown));
}
