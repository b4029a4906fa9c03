#include "local.h"

#include <stdio.h>

static json_t *outcome_json(const struct cmd_args *args)
{
    return json_pack("{s:b, s:s*}", "applied", args->applied, "note", args->note);
}

static int outcome_local(struct cmd_args *args, struct cmd_local *l,
                         const char **ret_object, json_t **ret_detail, struct tw_err *err)
{
    json_auto_t *json = outcome_json(args);
    tw_auto_free char *text = tw_json_dump(json, JSON_COMPACT);
    struct tw_simulation *sim = NULL;
    const char *body;
    int r = tw_store_get(l->store, args->arena, args->rest.items[0], &body, err);

    if (r == 0)
        r = tw_simulation_from_json(body, &sim, err);
    if (r == 0 && sim->status != TW_SUCCESS)
        r = tw_fail(err, -EINVAL, "the simulation '%s' is %s: it predicted nothing",
                    sim->id, tw_status_names[sim->status]);
    if (r == 0)
        r = tw_store_outcome_put(l->store, sim->id, l->actor.person, text, err);
    if (r == 0) {
        *ret_object = tw_arena_strdup(args->arena, sim->id);
        *ret_detail = json_incref(json);
        printf("noted for simulation %s\n", sim->id);
    }
    tw_simulation_free(sim);
    return r;
}

static int run_outcome(struct cmd_args *args, struct tw_err *err)
{
    json_auto_t *json = NULL;
    int r = cmd_need_word(
        args, 0, "twin outcome needs a simulation's id; twin list shows them", err);

    if (r == 0 && args->applied == args->not_applied)
        r = tw_fail(err, -EINVAL, "was the change made? --applied or --not-applied");
    if (r < 0)
        return r;
    if (!cmd_server(args))
        return cmd_local_change(args, "outcome.put", outcome_local, err);
    r = cmd_ask(args, "POST",
                tw_arena_printf(args->arena, "/api/v1/simulation/%s/outcome",
                                args->rest.items[0]),
                outcome_json(args), &json, err);
    return r < 0 ? r : cmd_write_json(args, json, err);
}

extern const struct cmd cmd_outcome;
const struct cmd cmd_outcome = {
    .name = "outcome",
    .most_words = 1,
    .usage = "outcome ID --applied|--not-applied [--note TEXT]",
    .summary = "what really happened after a change, to learn from",
    .options = " applied not-applied note server token-file output out ",
    .run = run_outcome,
};
