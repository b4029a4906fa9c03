/* Hidden: the load generator, a process of its own in the client sandbox. */
#include "cmd_internal.h"

#include "tw/load.h"

extern const struct cmd cmd_generator;
const struct cmd cmd_generator = {
    .name = "_generator",
    .usage = "_generator",
    .summary = "sends load as told over descriptor 3",
    .options = " ",
    .hidden = true,
    .raw = true,
    .run_raw = tw_load_generator_main,
};
