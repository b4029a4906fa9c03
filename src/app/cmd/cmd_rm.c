#include "cmd_internal.h"

#include "tw/store.h"

#include <stdio.h>

static int run(struct cmd_args *args, struct tw_err *err)
{
    struct tw_store *store;
    int r;

    if (!args->rest.count)
        return tw_fail(err, -EINVAL, "twin rm needs an id; twin list shows them");
    r = tw_store_open(args->state_dir, &store, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < args->rest.count && r == 0; i++) {
        r = tw_store_remove(store, args->rest.items[i], err);
        if (r == 0)
            printf("simulation '%s' removed\n", args->rest.items[i]);
    }
    tw_store_close(store);
    return r;
}

extern const struct cmd cmd_rm;
const struct cmd cmd_rm = {
    .name = "rm",
    .most_words = SIZE_MAX,
    .usage = "rm ID …",
    .summary = "remove simulations from the history",
    .options = " ",
    .run = run,
};
