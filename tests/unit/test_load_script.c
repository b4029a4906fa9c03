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

TestSuite(load_script, .init = open_arena, .fini = free_arena);

static int parse(const char *text, struct tw_load_item *item, struct tw_err *err)
{
    const struct load_constant constants[] = {{"scale", 10}};

    return load_script_parse(arena, "s.sql", text, constants, 1, item, err);
}

Test(load_script, variables_become_parameters)
{
    struct tw_load_item item;

    cr_assert(
        parse("-- head\n\\set aid random(1, 100000 * :scale)\n\\set d :aid + 1\n"
              "SELECT ':aid', a::int, \"x:aid\" FROM t -- :none\n WHERE aid = :aid\n"
              " AND b IN (:d, :scale, $q$:aid;$q$);\n"
              "UPDATE t SET a = :aid;",
              &item, NULL) == 0);
    cr_assert_eq(item.variables.count, 2);
    cr_expect_eq(item.variables.items[0].kind, TW_VAR_UNIFORM);
    cr_expect_eq(item.variables.items[0].high, 1000000);
    cr_expect_eq(item.variables.items[1].kind, TW_VAR_EXPRESSION);
    cr_assert_eq(item.statements.count, 2);
    cr_expect_str_eq(item.statements.items[0].sql,
                     "SELECT ':aid', a::int, \"x:aid\" FROM t  \n WHERE aid = $1\n"
                     " AND b IN ($2, 10, $q$:aid;$q$)");
    cr_expect_eq(item.statements.items[0].variables.items[0], 0);
    cr_expect_eq(item.statements.items[0].variables.items[1], 1);
    cr_expect_str_eq(item.statements.items[1].sql, "UPDATE t SET a = $1");
    cr_expect(item.writes);
}

Test(load_script, a_name_set_twice_keeps_both_values)
{
    struct tw_load_item item;

    cr_assert(parse("\\set x 1\nSELECT :x;\n\\set x :x + 1\nSELECT :x;\n", &item, NULL) ==
              0);
    cr_assert_eq(item.variables.count, 2);
    cr_expect_eq(item.statements.items[0].variables.items[0], 0);
    cr_expect_eq(item.statements.items[1].variables.items[0], 1);
    cr_expect(!item.writes);
}

Test(load_script, sleep_stands_before_the_next_statement)
{
    struct tw_load_item item;

    cr_assert(parse("BEGIN;\n\\sleep 5 ms\n\\sleep 500 us\nSELECT 1;\nEND;\n\\sleep 2\n",
                    &item, NULL) == 0);
    cr_assert_eq(item.statements.count, 4);
    cr_expect_float_eq(item.statements.items[1].think_ms, 5.5, 1e-9);
    cr_expect_str_eq(item.statements.items[3].sql, "");
    cr_expect_float_eq(item.statements.items[3].think_ms, 2000, 1e-9);
}

Test(load_script, mistakes_name_file_and_line)
{
    static const struct {
        const char *text, *where, *what;
    } rows[] = {
        {"SELECT 1;\n\\if true\n", "s.sql:2", "\\if"},
        {"SELECT 1 \\gset\n", "", ""},
        {"\n\n\\set x\nSELECT 1;", "s.sql:3", "NAME EXPRESSION"},
        {"\\set x random(1,\nSELECT 1;", "s.sql:1", "unexpected end"},
        {"SELECT\n :y;", "s.sql:2", ":y"},
        {"\\sleep :x ms\nSELECT 1;", "s.sql:1", "sleep"},
        {"\\shell rm\nSELECT 1;", "s.sql:1", "\\shell"},
        {"-- nothing\n", "s.sql", "at least one"},
        {"COPY t FROM STDIN;\n", "s.sql:1", "COPY"},
        {"\\set x foo(1)\nSELECT 1;", "s.sql:1", "foo"},
    };
    struct tw_load_item item;

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_err err = {0};
        int r = parse(rows[i].text, &item, &err);

        if (!rows[i].where[0])
            continue; /* the server says what is wrong with it */
        cr_expect_eq(r, -EINVAL, "'%s' was taken", rows[i].text);
        cr_expect(strstr(err.text, rows[i].where) && strstr(err.text, rows[i].what),
                  "%s: %s", rows[i].text, err.text);
    }
}

Test(load_script, the_first_word_is_found_behind_comments)
{
    char word[16];

    load_first_word("  /* a */ -- b\n (SeLeCt 1)", word, sizeof word);
    cr_expect_str_eq(word, "select");
    load_first_word("", word, sizeof word);
    cr_expect_str_eq(word, "");
}
