/* Hidden: one simulation of the daemon, in a process of its own. */
#include "cmd_internal.h"

static int run(int argc, char **argv)
{
    (void)argc, (void)argv;
    cmd_catch_signals();
    return tw_worker_main(&cmd_cancelled);
}

extern const struct cmd cmd_worker;
const struct cmd cmd_worker = {
    .name = "_worker",
    .usage = "_worker",
    .summary = "runs the job that it reads from standard input",
    .options = " ",
    .hidden = true,
    .raw = true,
    .run_raw = run,
};
