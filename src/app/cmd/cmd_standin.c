/* Hidden: answers in place of what a service calls and that is not cloned. */
#include "cmd_internal.h"

#include "tw/load.h"

extern const struct cmd cmd_standin;
const struct cmd cmd_standin = {
    .name = "_standin",
    .usage = "_standin [PLAN]",
    .summary = "answers as recorded, by the plan given or on descriptor 3",
    .options = " ",
    .hidden = true,
    .raw = true,
    .run_raw = tw_load_standin_main,
};
