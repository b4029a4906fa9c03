#include "recall.h"

#include "tw/store.h"

static int read_there(struct cmd_args *args, const char *id, const char **ret_json,
                      struct tw_err *err)
{
    json_auto_t *json = NULL;
    tw_auto_free char *text = NULL;
    int r = cmd_ask(
        args, "GET",
        tw_arena_printf(args->arena, "/api/v1/simulation/%s", id), NULL,
        &json, err);

    if (r < 0)
        return r;
    text = tw_json_dump(json, JSON_COMPACT);
    *ret_json = tw_arena_strdup(args->arena, text);
    return 0;
}

static int read_here(struct cmd_args *args, const char *id, const char **ret_json,
                     struct tw_err *err)
{
    struct tw_store *store;
    int r = tw_store_open(args->state_dir, &store, err);

    if (r < 0)
        return r;
    r = tw_store_get(store, args->arena, id, ret_json, err);
    tw_store_close(store);
    return r;
}

int cmd_recall(struct cmd_args *args, const char *id, struct tw_simulation **ret,
               struct tw_err *err)
{
    const char *json;
    int r = cmd_server(args) ? read_there(args, id, &json, err)
                             : read_here(args, id, &json, err);

    return r < 0 ? r : tw_simulation_from_json(json, ret, err);
}
