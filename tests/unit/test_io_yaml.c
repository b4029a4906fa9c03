#include "tw/io.h"

#include <criterion/criterion.h>
#include <string.h>

Test(io_yaml, a_file_becomes_a_flat_list_in_its_order)
{
    static const struct {
        const char *pointer, *value;
        int line, column, children;
        bool quoted;
    } rows[] = {
        {"", NULL, 1, 1, 3, false},        {"/a", "1", 1, 4, 0, false},
        {"/b~1c", NULL, 3, 3, 2, false},   {"/b~1c/0", "x", 3, 6, 0, true},
        {"/b~1c/1", NULL, 4, 5, 1, false}, {"/b~1c/1/k", "v", 4, 8, 0, false},
        {"/e", "", 5, 3, 0, false},
    };
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_err err = {0};
    struct tw_yaml y;

    cr_assert(
        tw_yaml_read(a, "a: 1\nb/c:\n  - \"x\"\n  - k: v\ne:\n", "f.yaml", &y, &err) == 0,
        "%s", err.text);
    cr_assert(y.list.count == TW_COUNT_OF(rows), "%zu", y.list.count);
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        const struct tw_yaml_entry *e = &y.list.items[i];

        cr_expect_str_eq(e->pointer, rows[i].pointer);
        cr_expect(tw_streq(e->value, rows[i].value), "%s: %s", e->pointer, e->value);
        cr_expect(e->children == rows[i].children && e->quoted == rows[i].quoted, "%s",
                  e->pointer);
        cr_expect(i == 6 || (e->line == rows[i].line && e->column == rows[i].column),
                  "%s at %d:%d", e->pointer, e->line, e->column);
    }
}

Test(io_yaml, what_is_doubtful_is_an_error_with_its_place)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"a: 1\nb: 2\na: 3\n", "f.yaml, line 3, column 1: the key 'a' stands here twice"},
        {"a: &x 1\nb: *x\n",
         "f.yaml, line 2, column 5: aliases are not read; write the value out"},
        {"a:\n  <<: {b: 1}\n",
         "f.yaml, line 2, column 3: merge keys are not read; write the values out"},
        {"? [a]\n: 1\n",
         "f.yaml, line 1, column 3: a key is a text, not a mapping or a list"},
        {"a: 1\n---\nb: 2\n", "a second document; one is expected"},
        {"%[\xd2[\na: 1\n", "f.yaml, line 1: a byte that is not UTF-8 (0xd2)"},
        {"a: 1\nb: \xff\n", "f.yaml, line 2: a byte that is not UTF-8 (0xff)"},
        {"a: [1, 2\n", "flow sequence without a closing bracket"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_err err = {0};
        struct tw_yaml y;

        cr_expect(tw_yaml_read(a, rows[i].text, "f.yaml", &y, &err) == -EINVAL);
        cr_expect(strstr(err.text, rows[i].error), "%s", err.text);
    }
}

Test(io_yaml, bombs_are_refused)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_err err = {0};
    struct tw_yaml y;
    struct tw_buf b;

    tw_buf_init(&b, 1 << 21);
    for (int i = 0; i < 100; i++)
        tw_buf_puts(&b, "[");
    cr_expect(tw_yaml_read(a, tw_buf_text(&b), "f", &y, &err) == -EINVAL);
    cr_expect(strstr(err.text, "nested deeper"), "%s", err.text);
    while (!b.overflow)
        tw_buf_puts(&b, "- a\n");
    cr_expect(tw_yaml_read(a, tw_buf_text(&b), "f", &y, &err) == -EFBIG);
    tw_buf_done(&b);
}

Test(io_yaml, an_empty_file_is_an_empty_list)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_yaml y;

    cr_assert(tw_yaml_read(a, "# nothing\n", "f", &y, NULL) == 0);
    cr_expect(y.list.count == 0);
}

Test(io_yaml, empty_lines_without_end_are_refused_at_once)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto_buf text = {0};
    struct tw_yaml yaml;
    struct tw_err err = {0};

    tw_buf_init(&text, 1 << 20);
    tw_buf_puts(&text, "a: |\n  text\n");
    for (int i = 0; i < 100000; i++)
        tw_buf_puts(&text, " \n");
    cr_assert_eq(tw_yaml_read(a, tw_buf_text(&text), "x.yaml", &yaml, &err), -EINVAL);
    cr_expect(strstr(err.text, "empty lines"), "%s", err.text);
}
