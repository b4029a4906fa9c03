#include "remote.h"

#include <stdio.h>

static int run_cancel(struct cmd_args *args, struct tw_err *err)
{
    json_auto_t *json = NULL;
    int r = cmd_need_word(
        args, 0, "twin cancel needs a simulation's id; twin list shows them", err);

    if (r == 0)
        r = cmd_need_server(args, "twin cancel", err);
    if (r == 0)
        r = cmd_ask(
            args, "DELETE",
            tw_arena_printf(args->arena, "/api/v1/simulation/%s", args->rest.items[0]),
            NULL, &json, err);
    if (r == 0)
        puts(json_string_value(json_object_get(json, "status")));
    return r;
}

extern const struct cmd cmd_cancel;
const struct cmd cmd_cancel = {
    .name = "cancel",
    .most_words = 1,
    .usage = "cancel ID --server URL",
    .summary = "end a simulation of the daemon",
    .options = " server token-file ",
    .run = run_cancel,
};
