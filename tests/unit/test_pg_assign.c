#include "tw/pg.h"

#include <criterion/criterion.h>
#include <string.h>

Test(pg_assign, every_way_of_writing_a_setting)
{
    static const struct {
        const char *text, *name, *value;
    } rows[] = {
        {"work_mem=64MB", "work_mem", "64MB"},
        {"work_mem = '64MB' # why", "work_mem", "64MB"},
        {"log_line_prefix 'a''b'", "log_line_prefix", "a'b"},
        {"ALTER SYSTEM SET max_connections = 500", "max_connections", "500"},
        {"alter system set work_mem to '64MB';", "work_mem", "64MB"},
        {"ALTER SYSTEM SET shared_preload_libraries = 'a', 'b'",
         "shared_preload_libraries", "a, b"},
        {"ALTER SYSTEM SET autovacuum = off", "autovacuum", "off"},
        {"ALTER SYSTEM SET random_page_cost = 1.1", "random_page_cost", "1.1"},
        {"ALTER SYSTEM RESET work_mem", "work_mem", NULL},
        {"ALTER SYSTEM SET work_mem = DEFAULT", "work_mem", NULL},
        {"auto_explain.log_min_duration = 5", "auto_explain.log_min_duration", "5"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_pg_assignments got;
        struct tw_err err = {0};

        cr_assert_eq(tw_pg_parse_assignments(a, rows[i].text, &got, &err), 0, "%s: %s",
                     rows[i].text, err.text);
        cr_assert_eq(got.list.count, 1, "%s", rows[i].text);
        cr_expect_str_eq(got.list.items[0].name, rows[i].name);
        cr_expect(tw_streq(got.list.items[0].value, rows[i].value), "%s: %s",
                  rows[i].text, got.list.items[0].value);
    }
}

Test(pg_assign, a_fragment_keeps_its_line_numbers)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_pg_assignments got;

    cr_assert_eq(tw_pg_parse_assignments(a, "# one\n\na = 1\n  b = 'x'\n", &got, NULL),
                 0);
    cr_assert_eq(got.list.count, 2);
    cr_expect_eq(got.list.items[0].line, 3);
    cr_expect_eq(got.list.items[1].line, 4);
}

Test(pg_assign, mistakes_name_their_line)
{
    static const char *const texts[] = {"a = 1\n= 2\n", "a = 'open\n", "a =\n",
                                        "ALTER SYSTEM SET", "SET x FROM CURRENT"};

    for (size_t i = 0; i < TW_COUNT_OF(texts); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_pg_assignments got;
        struct tw_err err = {0};

        cr_expect_eq(tw_pg_parse_assignments(a, texts[i], &got, &err), -EINVAL, "%s",
                     texts[i]);
        cr_expect(err.text[0], "%s", texts[i]);
    }
}

Test(pg_assign, literals_leave_a_statement)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    cr_expect_str_eq(tw_pg_normalize(a, "SELECT * FROM t WHERE a = 5 AND b = 'secret'"),
                     "SELECT * FROM t WHERE a = $1 AND b = $2");
    cr_expect_null(strstr(tw_pg_normalize(a, "SELEC 'secret'"), "secret"));
}

Test(pg_assign, names_and_literals_are_quoted)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    cr_expect_str_eq(tw_pg_quote_ident(a, "accounts"), "accounts");
    cr_expect_str_eq(tw_pg_quote_ident(a, "Odd\"one"), "\"Odd\"\"one\"");
    cr_expect_str_eq(tw_pg_quote_literal(a, "it's"), "'it''s'");
    cr_expect_str_eq(tw_pg_quote_literal(a, "a\\b"), "E'a\\\\b'");
}
