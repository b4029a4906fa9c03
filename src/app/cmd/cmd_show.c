#include "cmd_internal.h"

#include "tw/store.h"

static int run(struct cmd_args *args, struct tw_err *err)
{
    struct tw_store *store;
    struct tw_simulation *sim = NULL;
    const char *json;
    int r;

    if (args->rest.count != 1)
        return tw_fail(err, -EINVAL, "twin show needs one id; twin list shows them");
    r = tw_store_open(args->state_dir, &store, err);
    if (r < 0)
        return r;
    r = tw_store_get(store, args->arena, args->rest.items[0], &json, err);
    tw_store_close(store);
    if (r == 0)
        r = tw_simulation_from_json(json, &sim, err);
    if (r == 0)
        r = cmd_write_reports(args, &sim, 1, err);
    tw_simulation_free(sim);
    return r;
}

extern const struct cmd cmd_show;
const struct cmd cmd_show = {
    .name = "show",
    .usage = "show ID [-o FORMAT]",
    .summary = "a finished simulation again, in any format",
    .options = " output out color ",
    .run = run,
};
