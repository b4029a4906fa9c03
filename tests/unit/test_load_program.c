#include "load/load_internal.h"

#include <criterion/criterion.h>
#include <math.h>
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

TestSuite(load_program, .init = open_arena, .fini = free_arena);

static struct tw_load_item item_of(double weight)
{
    struct tw_load_item item = {.name = "i", .weight = weight};

    load_statement_add(arena, &item, "SELECT 1");
    return item;
}

static void add_pick(struct tw_load_item *item, const char *group, const char *first)
{
    struct tw_load_variable *v = load_variable_add(arena, item, "p");

    v->kind = TW_VAR_PICK;
    v->expression = group;
    for (int i = 0; i < 10; i++)
        TW_PUSH(arena, &v->values, tw_arena_printf(arena, "%s%d", first, i));
}

Test(load_program, items_come_by_their_weights)
{
    struct tw_load_mix mix = {0};
    struct load_program *p;
    struct tw_rng rng;
    int counts[3] = {0}, n = 60000;

    TW_PUSH(arena, &mix.items, item_of(1));
    TW_PUSH(arena, &mix.items, item_of(0));
    TW_PUSH(arena, &mix.items, item_of(3));
    cr_assert(load_program_new(arena, &mix, &p, NULL) == 0);
    tw_rng_seed(&rng, 1, 2);
    for (int i = 0; i < n; i++)
        counts[load_program_pick(p, &rng)]++;
    cr_expect_eq(counts[1], 0);
    cr_expect_float_eq((double)counts[2] / n, 0.75, 5 * sqrt(0.1875 / n));
}

Test(load_program, columns_of_one_row_are_drawn_together)
{
    struct tw_load_mix mix = {0};
    struct tw_load_item item = item_of(1);
    struct load_program *p;
    struct load_draw d;
    struct tw_rng rng;
    int apart = 0;

    add_pick(&item, "row", "a");
    add_pick(&item, "row", "b");
    add_pick(&item, NULL, "c");
    TW_PUSH(arena, &mix.items, item);
    cr_assert(load_program_new(arena, &mix, &p, NULL) == 0);
    load_draw_init(arena, p, &d);
    tw_rng_seed(&rng, 3, 2);
    for (int i = 0; i < 1000; i++) {
        cr_assert_null(load_draw_item(p, 0, &rng, &d));
        cr_assert_eq(d.texts[0][1], d.texts[1][1]);
        apart += d.texts[0][1] != d.texts[2][1];
    }
    cr_expect(apart > 800);
}

Test(load_program, numbers_are_written_as_they_are)
{
    static const struct {
        const char *expression, *text;
    } rows[] = {{"0", "0"},
                {"-9223372036854775807 - 1", "-9223372036854775808"},
                {"9223372036854775807", "9223372036854775807"},
                {"0.5", "0.5"}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_load_mix mix = {0};
        struct tw_load_item item = item_of(1);
        struct tw_load_variable *v = load_variable_add(arena, &item, "x");
        struct load_program *p;
        struct load_draw d;
        struct tw_rng rng = {0};

        v->kind = TW_VAR_EXPRESSION;
        v->expression = rows[i].expression;
        TW_PUSH(arena, &mix.items, item);
        cr_assert(load_program_new(arena, &mix, &p, NULL) == 0);
        load_draw_init(arena, p, &d);
        cr_assert_null(load_draw_item(p, 0, &rng, &d));
        cr_expect_str_eq(d.texts[0], rows[i].text);
    }
}

Test(load_program, a_sync_follows_each_statement_outside_of_a_transaction)
{
    static const bool expected[] = {true, false, false, true, true};
    struct tw_load_mix mix = {0};
    struct tw_load_item item = {.name = "i", .weight = 1};
    struct load_program *p;

    load_statement_add(arena, &item, "SELECT 1");
    load_statement_add(arena, &item, "begin");
    load_statement_add(arena, &item, "UPDATE t SET a = 1");
    load_statement_add(arena, &item, "COMMIT");
    load_statement_add(arena, &item, "SELECT 2");
    TW_PUSH(arena, &mix.items, item);
    cr_assert(load_program_new(arena, &mix, &p, NULL) == 0);
    cr_expect(p->pipeline);
    for (size_t i = 0; i < 5; i++)
        cr_expect_eq(p->items[0].statements[i].sync, expected[i], "statement %zu", i);
}

Test(load_program, a_mix_survives_the_wire)
{
    struct tw_load_mix mix = {.database = "it's"}, back;
    struct tw_load_item item = item_of(2.5);
    struct tw_load_variable *v;
    tw_auto_buf b = {0};
    struct load_reader r;

    add_pick(&item, "row", "a");
    TW_PUSH(arena, &item.variables.items[0].values, NULL);
    TW_PUSH(arena, &item.variables.items[0].weights, 0.25);
    v = load_variable_add(arena, &item, "n");
    v->low = -5;
    v->high = INT64_MAX;
    item.statements.items[0].think_ms = 1.5;
    TW_PUSH(arena, &item.statements.items[0].variables, 1);
    TW_PUSH(arena, &mix.items, item);
    tw_buf_init(&b, 1 << 20);
    load_put_mix(&b, &mix);
    r = (struct load_reader){b.data, b.data + b.len, false};
    cr_assert(load_get_mix(&r, arena, &back) == 0);
    cr_expect_str_eq(back.database, "it's");
    cr_assert_eq(back.items.count, 1);
    cr_expect_eq(back.items.items[0].weight, 2.5);
    cr_assert_eq(back.items.items[0].variables.count, 2);
    cr_assert_eq(back.items.items[0].variables.items[0].values.count, 11);
    cr_expect_str_eq(back.items.items[0].variables.items[0].values.items[9], "a9");
    cr_expect_null(back.items.items[0].variables.items[0].values.items[10]);
    cr_expect_eq(back.items.items[0].variables.items[0].weights.items[0], 0.25);
    cr_expect_eq(back.items.items[0].variables.items[1].high, INT64_MAX);
    cr_expect_eq(back.items.items[0].statements.items[0].variables.items[0], 1);
    for (size_t len = 0; len < b.len; len++) {
        r = (struct load_reader){b.data, b.data + len, false};
        cr_assert(load_get_mix(&r, arena, &back) < 0, "cut to %zu bytes it was taken",
                  len);
    }
}
