#include "load/load_internal.h"

#include <criterion/criterion.h>
#include <string.h>

static struct tw_arena *arena;

static void open_arena(void)
{
    arena = tw_arena_new();
}

static void free_arena(void)
{
    tw_arena_free(arena);
}

TestSuite(load_query, .init = open_arena, .fini = free_arena);

static const struct load_use *use_of(const struct load_query *q, int parameter)
{
    for (size_t i = 0; i < q->uses.count; i++)
        if (q->uses.items[i].parameter == parameter)
            return &q->uses.items[i];
    return NULL;
}

Test(load_query, parameters_are_traced_to_columns_and_operators)
{
    static const struct {
        const char *sql;
        int parameter;
        enum load_role role;
        const char *qualifier, *column;
    } rows[] = {
        {"SELECT * FROM t WHERE a = $1", 1, LOAD_ROLE_EQUAL, NULL, "a"},
        {"SELECT * FROM t x WHERE $1 < x.a", 1, LOAD_ROLE_GREATER, "x", "a"},
        {"SELECT * FROM t WHERE a IN ($1, $2)", 2, LOAD_ROLE_IN, NULL, "a"},
        {"SELECT * FROM t WHERE a = ANY ($1::int[])", 1, LOAD_ROLE_ANY, NULL, "a"},
        {"SELECT * FROM t WHERE a BETWEEN $1 AND $2", 1, LOAD_ROLE_LOW, NULL, "a"},
        {"SELECT * FROM t WHERE a BETWEEN $1 AND $2", 2, LOAD_ROLE_HIGH, NULL, "a"},
        {"SELECT * FROM t WHERE (a, b) = ($1, $2)", 2, LOAD_ROLE_EQUAL, NULL, "b"},
        {"SELECT * FROM t WHERE lower(a) = lower($1)", 1, LOAD_ROLE_EQUAL, NULL, "a"},
        {"SELECT * FROM t WHERE a LIKE $1", 1, LOAD_ROLE_LIKE, NULL, "a"},
        {"SELECT * FROM t WHERE a > now() - $1::interval", 1, LOAD_ROLE_AGE, NULL, "a"},
        {"SELECT * FROM t ORDER BY a LIMIT $1 OFFSET $2", 1, LOAD_ROLE_LIMIT, NULL, NULL},
        {"SELECT * FROM t ORDER BY a LIMIT $1 OFFSET $2", 2, LOAD_ROLE_OFFSET, NULL,
         NULL},
        {"INSERT INTO t (a, b) VALUES ($1, $2)", 2, LOAD_ROLE_INSERT, NULL, "b"},
        {"INSERT INTO t VALUES (1, $1)", 1, LOAD_ROLE_INSERT, NULL, NULL},
        {"UPDATE t SET a = $1, b = b + $2 WHERE c = $3", 1, LOAD_ROLE_ASSIGN, NULL, "a"},
        {"UPDATE t SET a = $1, b = b + $2 WHERE c = $3", 2, LOAD_ROLE_ADD, NULL, "b"},
        {"UPDATE t SET a = $1, b = b + $2 WHERE c = $3", 3, LOAD_ROLE_EQUAL, NULL, "c"},
        {"DELETE FROM t WHERE a IN (SELECT b FROM u WHERE u.c = $1)", 1, LOAD_ROLE_EQUAL,
         "u", "c"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct load_query q;
        const struct load_use *use;
        struct tw_err err = {0};

        cr_assert(load_query_read(arena, rows[i].sql, &q, &err) == 0, "%s", err.text);
        use = use_of(&q, rows[i].parameter);
        cr_assert(use, "%s: $%d is not noted", rows[i].sql, rows[i].parameter);
        cr_expect_eq(use->role, rows[i].role, "%s: $%d has role %d", rows[i].sql,
                     rows[i].parameter, use->role);
        cr_expect(tw_streq(use->column, rows[i].column) &&
                      tw_streq(use->qualifier, rows[i].qualifier),
                  "%s: $%d is of %s.%s", rows[i].sql, rows[i].parameter,
                  use->qualifier ? use->qualifier : "", use->column ? use->column : "");
    }
}

Test(load_query, what_a_statement_is_and_touches)
{
    struct load_query q;
    struct tw_err err = {0};

    cr_assert(load_query_read(arena,
                              "WITH gone AS (DELETE FROM s.old WHERE i < $1 RETURNING *) "
                              "SELECT count(*) FROM gone JOIN new n USING (k) LIMIT 3",
                              &q, &err) == 0);
    cr_expect_str_eq(q.kind, "SelectStmt");
    cr_expect(q.writes && q.aggregates && q.limited && !q.into);
    cr_assert_eq(q.relations.count, 3);
    cr_assert(load_query_read(arena, "SELECT pg_sleep($1)", &q, &err) == 0);
    cr_assert_eq(q.functions.count, 1);
    cr_expect_str_eq(q.functions.items[0], "pg_sleep");
    cr_assert(load_query_read(arena, "SELECT 1 INTO t", &q, &err) == 0);
    cr_expect(q.into);
    cr_assert(load_query_read(arena, "COMMIT", &q, &err) == 0);
    cr_expect_str_eq(q.kind, "TransactionStmt");
    cr_expect_eq(load_query_read(arena, "SELEC 1", &q, &err), -EINVAL);
    cr_expect(strstr(err.text, "syntax error"), "%s", err.text);
}
