/* The program twin: finds the command, parses its options, turns its answer into an exit
 * code. */
#include "cmd_internal.h"
#include "list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DECLARE(name) extern const struct cmd cmd_##name;
TW_CMD_LIST(DECLARE)
#define POINTER(name) &cmd_##name,
const struct cmd *const cmd_table[] = {TW_CMD_LIST(POINTER)};
const size_t cmd_count = TW_COUNT_OF(cmd_table);

static void print_help(FILE *to)
{
    fputs(
        "twin: what will this change do to production? Ask its twin first.\n\n"
        "  twin env add NAME --type postgresql --data clone --data-dir DIR\n"
        "  twin run --target NAME --set max_connections=500 --set shared_buffers=2GB\n\n"
        "commands\n",
        to);
    for (size_t i = 0; i < cmd_count; i++)
        if (!cmd_table[i]->hidden)
            fprintf(to, "  %-9s %s\n", cmd_table[i]->name, cmd_table[i]->summary);
    fputs("\ntwin COMMAND --help shows the options of a command\n"
          "exit codes: 0 proceed, 3 block, 4 review, 1 no answer, 2 bad input, 130/143 "
          "interrupted\n",
          to);
}

static void print_command_help(const struct cmd *cmd)
{
    printf("twin %s\n\n%s\n\n", cmd->usage, cmd->summary);
    cmd_print_options(cmd);
    if (cmd->examples)
        printf("\n%s", cmd->examples);
}

static const struct cmd *find(const char *name)
{
    for (size_t i = 0; i < cmd_count; i++)
        if (tw_streq(cmd_table[i]->name, name))
            return cmd_table[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    const char **names = tw_alloc(cmd_count * sizeof(*names));
    const char *near;

    for (size_t i = 0; i < cmd_count; i++)
        names[i] = cmd_table[i]->name;
    near = tw_nearest(name, names, cmd_count);
    fprintf(stderr, "twin: unknown command '%s'%s%s%s\n", name,
            near ? "; did you mean '" : "", near ? near : "",
            near ? "'?" : "; twin help shows what there is");
    free(names);
    return CMD_BAD_INPUT;
}

static int run_command(const struct cmd *cmd, int argc, char **argv)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct cmd_args args = {.arena = a};
    struct tw_err err = {0};
    int r = cmd_parse(cmd, argc, argv, &args, &err);

    if (r < 0)
        return cmd_tell_error(&args, r, &err);
    if (args.help) {
        print_command_help(cmd);
        return 0;
    }
    if (!args.state_dir)
        args.state_dir = tw_state_dir_default(a);
    r = cmd->run(&args, &err);
    if (cmd_signal)
        return 128 + cmd_signal;
    return r < 0 ? cmd_tell_error(&args, r, &err) : r;
}

int main(int argc, char **argv)
{
    const struct cmd *cmd;
    bool help = argc >= 2 && (tw_streq(argv[1], "help") || tw_streq(argv[1], "--help") ||
                              tw_streq(argv[1], "-h"));

    if (argc < 2 || help) {
        cmd = argc >= 3 ? find(argv[2]) : NULL;
        if (cmd)
            print_command_help(cmd);
        else
            print_help(help ? stdout : stderr);
        return help ? 0 : CMD_BAD_INPUT;
    }
    cmd = find(tw_streq(argv[1], "--version") ? "version" : argv[1]);
    if (!cmd)
        return unknown_command(argv[1]);
    return cmd->raw ? cmd->run_raw(argc - 1, argv + 1)
                    : run_command(cmd, argc - 1, argv + 1);
}
