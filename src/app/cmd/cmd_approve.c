/* approve and reject: the same, but for the word. */
#include "local.h"

#include <stdio.h>

static bool approving;

static int decide_local(struct cmd_args *args, struct cmd_local *l,
                        const char **ret_object, json_t **ret_detail, struct tw_err *err)
{
    struct tw_store_approval p;
    int r = tw_gate_approval_decide(l->store, args->arena, args->rest.items[0], approving,
                                    &l->actor, args->plan, args->comment, &p, err);

    if (r < 0)
        return r;
    *ret_object = p.id;
    *ret_detail =
        json_pack("{s:s, s:s, s:s, s:s?}", "decision", p.state, "simulation",
                  p.simulation, "plan_sha256", p.plan_sha256, "comment", p.comment);
    printf("%s: the plan %.12s… of simulation %s\n", p.state, p.plan_sha256,
           p.simulation);
    return 0;
}

static int decide(struct cmd_args *args, struct tw_err *err)
{
    json_auto_t *json = NULL;
    int r = cmd_need_word(args, 0, "one approval's id is needed; it stands in the report",
                          err);

    if (r < 0)
        return r;
    if (!cmd_server(args))
        return cmd_local_change(args, "approval.decide", decide_local, err);
    r = cmd_ask(args, "POST",
                tw_arena_printf(args->arena, "/api/v1/approvals/%s", args->rest.items[0]),
                json_pack("{s:s, s:s*, s:s*}", "decision",
                          approving ? "approve" : "reject", "comment", args->comment,
                          "plan_sha256", args->plan),
                &json, err);
    if (r == 0)
        puts(json_string_value(json_object_get(json, "state")));
    return r;
}

static int run_approve(struct cmd_args *args, struct tw_err *err)
{
    approving = true;
    return decide(args, err);
}

static int run_reject(struct cmd_args *args, struct tw_err *err)
{
    approving = false;
    return decide(args, err);
}

extern const struct cmd cmd_approve, cmd_reject;
const struct cmd cmd_approve = {
    .name = "approve",
    .most_words = 1,
    .usage = "approve APPROVAL [--comment TEXT] [--plan SHA256]",
    .summary = "approve a change under review, as another person than asked for it",
    .options = " comment plan server token-file ",
    .run = run_approve,
};
const struct cmd cmd_reject = {
    .name = "reject",
    .most_words = 1,
    .usage = "reject APPROVAL [--comment TEXT]",
    .summary = "reject a change under review",
    .options = " comment plan server token-file ",
    .run = run_reject,
};
