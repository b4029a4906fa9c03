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

TestSuite(load_mix_file, .init = open_arena, .fini = free_arena);

static int read_mix(const char *text, bool escapes, struct tw_load_mix *mix,
                    struct tw_err *err)
{
    *mix = (struct tw_load_mix){0};
    return load_mix_file(arena, "f", text, escapes, mix, err);
}

Test(load_mix_file, lines_are_requests_with_weights)
{
    struct tw_load_mix mix;

    cr_assert(read_mix("# shop\n\nGET /@3\r\n  GET /a@b @0.5\nPOST /x\\n\\n$5 off", true,
                       &mix, NULL) == 0);
    cr_assert_eq(mix.items.count, 3);
    cr_expect_str_eq(mix.items.items[0].statements.items[0].sql, "GET /");
    cr_expect_eq(mix.items.items[0].weight, 3);
    cr_expect_str_eq(mix.items.items[1].statements.items[0].sql, "GET /a@b");
    cr_expect_eq(mix.items.items[1].weight, 0.5);
    cr_expect_str_eq(mix.items.items[2].statements.items[0].sql, "POST /x\n\n$$5 off");
    cr_expect_eq(mix.items.items[2].weight, 1);
}

Test(load_mix_file, variables_are_drawn_and_put_in)
{
    struct tw_load_mix mix;
    struct load_program *p;
    struct load_draw draw;
    struct tw_rng rng;
    struct tw_err err = {0};
    const struct tw_load_statement *s;
    const char *values[8];

    cr_assert(read_mix("\\set id random(5, 5)\n\\set next :id + 1\n"
                       "SET key:$id \"$next$nobody\" $id",
                       false, &mix, &err) == 0,
              "%s", err.text);
    s = &mix.items.items[0].statements.items[0];
    cr_expect_str_eq(s->sql, "SET key:$1 \"$2$$nobody\" $3");
    cr_assert(load_program_new(arena, &mix, &p, &err) == 0, "%s", err.text);
    tw_rng_seed(&rng, 1, 2);
    load_draw_init(arena, p, &draw);
    cr_assert_null(load_draw_item(p, 0, &rng, &draw));
    cr_assert_eq(load_draw_parameters(s, &draw, values), 3);
    cr_expect_str_eq(values[0], "5");
    cr_expect_str_eq(values[1], "6");
    cr_expect_str_eq(values[2], "5");
}

Test(load_mix_file, what_is_wrong_has_a_line)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "no request"},
        {"# nothing\n", "no request"},
        {"GET /\n\\set 1", "f:2"},
        {"\\set x random(\nGET /", "f:1"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_load_mix mix;
        struct tw_err err = {0};

        cr_expect_eq(read_mix(rows[i].text, true, &mix, &err), -EINVAL);
        cr_expect(strstr(err.text, rows[i].says), "'%s': %s", rows[i].text, err.text);
    }
}
