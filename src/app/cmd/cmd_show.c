#include "remote.h"

#include "tw/store.h"

static int read_there(struct cmd_args *args, const char **ret_json, struct tw_err *err)
{
    json_auto_t *json = NULL;
    tw_auto_free char *text = NULL;
    int r = cmd_ask(
        args, "GET",
        tw_arena_printf(args->arena, "/api/v1/simulation/%s", args->rest.items[0]), NULL,
        &json, err);

    if (r < 0)
        return r;
    text = tw_json_dump(json, JSON_COMPACT);
    *ret_json = tw_arena_strdup(args->arena, text);
    return 0;
}

static int read_here(struct cmd_args *args, const char **ret_json, struct tw_err *err)
{
    struct tw_store *store;
    int r = tw_store_open(args->state_dir, &store, err);

    if (r < 0)
        return r;
    r = tw_store_get(store, args->arena, args->rest.items[0], ret_json, err);
    tw_store_close(store);
    return r;
}

static int run(struct cmd_args *args, struct tw_err *err)
{
    struct tw_simulation *sim = NULL;
    const char *json;
    int r;

    if (args->rest.count != 1)
        return tw_fail(err, -EINVAL, "twin show needs one id; twin list shows them");
    r = cmd_server(args) ? read_there(args, &json, err) : read_here(args, &json, err);
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
    .most_words = 1,
    .usage = "show ID [-o FORMAT]",
    .summary = "a finished simulation again, in any format",
    .options = " output out color server token-file ",
    .run = run,
};
