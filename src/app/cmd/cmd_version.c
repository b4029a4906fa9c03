#include "cmd_internal.h"

#include <stdio.h>

static int run(struct cmd_args *args, struct tw_err *err)
{
    (void)args;
    (void)err;
    puts("twin " CMD_VERSION ", schema 1");
    return 0;
}

extern const struct cmd cmd_version;
const struct cmd cmd_version = {
    .name = "version",
    .usage = "version",
    .summary = "version of the program and of its reports",
    .options = " ",
    .run = run,
};
