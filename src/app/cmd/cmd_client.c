/* Hidden: the clients, a process of its own in their sandbox. */
#include "cmd_internal.h"

#include "tw/client.h"

extern const struct cmd cmd_client;
const struct cmd cmd_client = {
    .name = "_client",
    .usage = "_client",
    .summary = "connects as told over descriptor 3",
    .options = " ",
    .hidden = true,
    .raw = true,
    .run_raw = tw_client_main,
};
