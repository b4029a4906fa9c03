/* Hidden: one simulation of the daemon, in a process of its own. */
#include "cmd_internal.h"

static int run(int argc, char **argv)
{
    cmd_catch_signals();
    return tw_worker_main(argc - 1, argv + 1, &cmd_cancelled);
}

extern const struct cmd cmd_worker;
const struct cmd cmd_worker = {
    .name = "_worker",
    .usage = "_worker VERB STATE_DIR [POLICY]",
    .summary = "runs the job that it reads from standard input",
    .options = " ",
    .hidden = true,
    .raw = true,
    .run_raw = run,
};
