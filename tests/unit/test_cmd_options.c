#include "app/cmd/cmd_internal.h"
#include "app/cmd/list.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define DECLARE(name) extern const struct cmd cmd_##name;
TW_CMD_LIST(DECLARE)
#define POINTER(name) &cmd_##name,
static const struct cmd *const commands[] = {TW_CMD_LIST(POINTER)};

static struct tw_arena *arena;
static void setup(void)
{
    arena = tw_arena_new();
}
static void teardown(void)
{
    tw_arena_free(arena);
}
TestSuite(cmd_options, .init = setup, .fini = teardown);

/* A line as a shell would split it, without quotes. */
static int parse(const struct cmd *cmd, const char *line, struct cmd_args *ret,
                 struct tw_err *err)
{
    char *words = tw_arena_strdup(arena, line), *save = NULL;
    char *argv[32] = {0};
    int argc = 0;

    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    *ret = (struct cmd_args){.arena = arena};
    *err = (struct tw_err){0};
    return cmd_parse(cmd, argc, argv, ret, err);
}

Test(cmd_options, every_option_that_a_command_names_has_a_row)
{
    for (size_t i = 0; i < TW_COUNT_OF(commands); i++) {
        char *names = tw_arena_strdup(arena, commands[i]->options), *save = NULL;

        for (char *n = strtok_r(names, " ", &save); n; n = strtok_r(NULL, " ", &save)) {
            struct cmd_args args;
            struct tw_err err;
            char *line = tw_arena_printf(arena, "%s --%s", commands[i]->name, n);

            (void)parse(commands[i], line, &args, &err);
            cr_expect(!strstr(err.text, "unknown option"), "twin %s: %s",
                      commands[i]->name, err.text);
        }
    }
}

Test(cmd_options, a_mistake_is_told_with_what_was_expected)
{
    static const struct {
        const struct cmd *cmd;
        char line[48], expected[120];
    } rows[] = {
        {&cmd_run, "run --targt x",
         "unknown option '--targt' of twin run; did you mean --target?"},
        {&cmd_run, "run --hours", "option '--hours' needs a value"},
        {&cmd_run, "run --hours abc", "--hours: 'abc' is not a number"},
        {&cmd_run, "run --seed 1.5", "--seed: '1.5' is not a whole number"},
        {&cmd_run, "run --rate 0", "--rate 0: expected more than 0"},
        {&cmd_run, "run --rate -2", "--rate -2: expected more than 0"},
        {&cmd_run, "run --budget 4000",
         "--budget 4000: expected more than 0, up to 3600"},
        {&cmd_run, "run --connections 100001",
         "--connections 100001: expected more than 0, up to 100000"},
        {&cmd_run, "run --engine ful",
         "--engine 'ful': expected one of map, full; did you mean 'full'?"},
        {&cmd_run, "run --color blue",
         "--color 'blue': expected one of auto, always, never"},
        {&cmd_env, "env add x --tier prod",
         "--tier 'prod': expected one of dev, staging, production"},
        {&cmd_run, "run a.json b.json",
         "twin run: 'b.json' is one word too many; as in: twin run"},
        {&cmd_doctor, "doctor now", "twin doctor: 'now' is one word too many"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct cmd_args args;
        struct tw_err err;

        cr_expect_eq(parse(rows[i].cmd, rows[i].line, &args, &err), -EINVAL, "%s",
                     rows[i].line);
        cr_expect(tw_starts_with(err.text, rows[i].expected), "%s: %s", rows[i].line,
                  err.text);
    }
}

Test(cmd_options, what_was_not_said_is_not_a_number)
{
    struct cmd_args args;
    struct tw_err err;

    cr_assert_eq(
        parse(&cmd_run, "run --target pg --set a=1 -s b=2 change.json", &args, &err), 0,
        "%s", err.text);
    cr_expect_str_eq(args.target, "pg");
    cr_expect_eq(args.sets.count, 2);
    cr_expect_eq(args.rest.count, 1);
    cr_expect(isnan(args.hours) && isnan(args.rate) && isnan(args.budget));
    cr_expect_eq(args.connections, 0);
}

Test(cmd_options, many_words_are_fine_where_a_command_takes_many)
{
    struct cmd_args args;
    struct tw_err err;

    cr_assert_eq(parse(&cmd_rm, "rm a b c d", &args, &err), 0, "%s", err.text);
    cr_expect_eq(args.rest.count, 4);
}

Test(cmd_options, help_is_given_whatever_else_was_said)
{
    struct cmd_args args;
    struct tw_err err;

    cr_assert_eq(parse(&cmd_doctor, "doctor now --help", &args, &err), 0, "%s", err.text);
    cr_expect(args.help);
}
