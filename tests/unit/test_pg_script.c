/* Scripts as people write them: where statements end, what cannot be run, what stands alone. */
#include "tw/pg.h"

#include <criterion/criterion.h>
#include <string.h>

Test(pg_script, statements_end_where_the_grammar_says)
{
    static const char text[] =
        "-- first\nBEGIN;\nALTER TABLE t ADD c text DEFAULT 'a;b';\n"
        "/* ; */ CREATE FUNCTION f() RETURNS int LANGUAGE sql AS "
        "$x$ SELECT 1; $x$;\n\nCOMMIT;";
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_pg_script s;
    struct tw_err err;

    cr_assert_eq(tw_pg_split(a, text, &s, &err), 0, "%s", err.text);
    cr_assert_eq(s.list.count, 4);
    cr_expect_str_eq(s.list.items[0].text, "BEGIN");
    cr_expect_str_eq(s.list.items[1].text, "ALTER TABLE t ADD c text DEFAULT 'a;b'");
    cr_expect_eq(s.list.items[1].line, 3);
    cr_expect_str_eq(s.list.items[2].node, "CreateFunctionStmt");
    cr_expect_eq(s.list.items[2].line, 4);
    cr_expect_eq(s.list.items[3].line, 6);
}

Test(pg_script, what_cannot_be_run_is_refused_with_its_place)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"SELECT 1;\nALTER TABEL t ADD c int", "line 2 column 7: syntax error"},
        {"SELECT 'ä';\nSELEC 1", "line 2 column 1"},
        {"SELECT 1;\n\\copy t from 'x'",
         "line 2 column 1: '\\copy' is a command of psql"},
        {"SELECT '\\'; SELECT E'\\\\'; COPY t FROM STDIN", "COPY … FROM STDIN"},
    };
    tw_auto(tw_arena) *a = tw_arena_new();

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_pg_script s;
        struct tw_err err = {0};

        cr_expect_eq(tw_pg_split(a, rows[i].text, &s, &err), -EINVAL, "%s", rows[i].text);
        cr_expect(strstr(err.text, rows[i].says), "%s: %s", rows[i].text, err.text);
    }
}

Test(pg_script, what_refuses_a_transaction_stands_alone)
{
    static const struct {
        const char *text;
        bool alone;
    } rows[] = {
        {"CREATE INDEX i ON t (a)", false},
        {"CREATE INDEX CONCURRENTLY i ON t (a)", true},
        {"DROP INDEX CONCURRENTLY i", true},
        {"DROP TABLE t", false},
        {"REINDEX TABLE t", false},
        {"REINDEX TABLE CONCURRENTLY t", true},
        {"REINDEX DATABASE d", true},
        {"VACUUM FULL t", true},
        {"ANALYZE t", false},
        {"CLUSTER t USING i", false},
        {"ALTER TYPE e ADD VALUE 'x'", true},
        {"ALTER TYPE e RENAME VALUE 'x' TO 'y'", false},
        {"ALTER TABLE p DETACH PARTITION q CONCURRENTLY", true},
        {"ALTER TABLE p DETACH PARTITION q", false},
        {"DO 'BEGIN COMMIT; END'", true},
    };
    tw_auto(tw_arena) *a = tw_arena_new();

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_pg_script s;
        struct tw_err err = {0};

        cr_assert_eq(tw_pg_split(a, rows[i].text, &s, &err), 0, "%s", err.text);
        cr_expect_eq(s.list.items[0].alone, rows[i].alone, "%s", rows[i].text);
    }
}

Test(pg_script, tables_are_found_with_what_is_done_to_them)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_pg_relations r;

    tw_pg_relations(a, "UPDATE s.t SET a = (SELECT max(b) FROM u) WHERE a = $1", &r);
    cr_assert_eq(r.list.count, 2);
    cr_expect_str_eq(r.list.items[0].name, "t");
    cr_expect_str_eq(r.list.items[0].schema, "s");
    cr_expect(r.list.items[0].writes);
    cr_expect_str_eq(r.list.items[1].name, "u");
    cr_expect_not(r.list.items[1].writes);
    tw_pg_relations(a, "SELECT 1 FROM t JOIN u USING (a)", &r);
    cr_expect_eq(r.list.count, 2);
    tw_pg_relations(a, "no sql at all", &r);
    cr_expect_eq(r.list.count, 0);
}

Test(pg_script, words_are_told_from_literals)
{
    static const char sql[] =
        "CREATE /* INDEX */ INDEX \"a b\" ON t ((lower(x)), 'INDEX')";
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_pg_tokens t;
    int words = 0;

    tw_pg_tokens(a, sql, &t);
    for (size_t i = 0; i < t.list.count; i++)
        words +=
            t.list.items[i].kind == 'w' && tw_pg_token_is(sql, &t.list.items[i], "index");
    cr_expect_eq(words, 1);
    cr_expect_eq(t.list.items[2].kind, '"');
}
