#include "cmd_internal.h"

#include "tw/priv.h"
#include "tw/sandbox.h"

#include <stdio.h>

static int run(struct cmd_args *args, struct tw_err *err)
{
    int removed = 0;
    int r = tw_priv_reap(args->state_dir, &removed, err);

    if (r == 0)
        r = tw_sandbox_reap(args->state_dir, &removed, err);
    if (r == 0 && removed)
        printf("%d %s of dead runs removed\n", removed,
               removed == 1 ? "thing" : "things");
    else if (r == 0)
        puts("nothing is left of dead runs");
    return r;
}

extern const struct cmd cmd_reap;
const struct cmd cmd_reap = {
    .name = "reap",
    .usage = "reap",
    .summary = "remove what a killed run left; every start does it too",
    .options = " ",
    .run = run,
};
