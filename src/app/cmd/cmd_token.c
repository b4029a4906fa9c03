#include "local.h"

#include <math.h>
#include <stdio.h>

static int token_create_local(struct cmd_args *args, struct cmd_local *l,
                              const char **ret_object, json_t **ret_detail,
                              struct tw_err *err)
{
    struct tw_token_wish w = {.person = args->person,
                              .roles = args->roles,
                              .environments = args->environments,
                              .types = args->types,
                              .note = args->note,
                              .automaton = args->automaton,
                              .days = isnan(args->days) ? 90 : args->days,
                              .created_by = l->actor.person};
    struct tw_store_token t;
    const char *secret;
    int r = tw_gate_token_make(l->store, args->arena, &w, &secret, &t, err);

    if (r < 0)
        return r;
    *ret_object = t.id;
    *ret_detail = json_pack("{s:s, s:s}", "person", t.person, "roles", t.roles);
    fprintf(stderr, "token '%s' of '%s' (%s), until %s; it is shown this once:\n", t.id,
            t.person, t.roles, tw_iso_time(args->arena, t.expires_wall_ns));
    puts(secret);
    return 0;
}

static int token_create_remote(struct cmd_args *args, struct tw_err *err)
{
    json_auto_t *json = NULL;
    int r = cmd_ask(args, "POST", "/api/v1/tokens",
                    json_pack("{s:s*, s:s*, s:s*, s:s*, s:s*, s:b, s:f}", "person",
                              args->person, "roles", args->roles, "environments",
                              args->environments, "types", args->types, "note",
                              args->note, "automaton", args->automaton, "days",
                              isnan(args->days) ? 90 : args->days),
                    &json, err);

    if (r == 0)
        puts(json_string_value(json_object_get(json, "token")));
    return r;
}

static void print_token(const struct tw_store_token *t, struct tw_arena *a)
{
    printf("%-11s %-16s %-24s %-9s %s\n", t->id, t->person, t->roles,
           t->revoked_wall_ns                   ? "revoked"
           : t->expires_wall_ns <= tw_wall_ns() ? "expired"
                                                : "valid",
           tw_iso_time(a, t->expires_wall_ns));
}

static int token_list(struct cmd_args *args, struct tw_err *err)
{
    struct tw_store_tokens all;
    struct cmd_local l = {0};
    int r = cmd_local_open(args, &l, err);

    if (r == 0)
        r = tw_store_token_list(l.store, args->arena, &all, err);
    cmd_local_close(&l);
    for (size_t i = 0; r == 0 && i < all.list.count; i++)
        print_token(&all.list.items[i], args->arena);
    if (r == 0 && !all.list.count)
        puts("no tokens yet; twin token create --person NAME --roles operator");
    return r;
}

static int token_revoke_local(struct cmd_args *args, struct cmd_local *l,
                              const char **ret_object, json_t **ret_detail,
                              struct tw_err *err)
{
    (void)ret_detail;
    *ret_object = args->rest.items[1];
    return tw_gate_token_revoke(l->store, args->arena, args->rest.items[1], err);
}

static int token_revoke(struct cmd_args *args, struct tw_err *err)
{
    json_auto_t *json = NULL;
    int r = cmd_need_word(
        args, 1, "twin token revoke needs an id; twin token list shows them", err);

    if (r == 0 && cmd_server(args))
        r = cmd_ask(
            args, "DELETE",
            tw_arena_printf(args->arena, "/api/v1/tokens/%s", args->rest.items[1]), NULL,
            &json, err);
    else if (r == 0)
        r = cmd_local_change(args, "token.revoke", token_revoke_local, err);
    if (r == 0)
        printf("token '%s' revoked\n", args->rest.items[1]);
    return r;
}

static int run_token(struct cmd_args *args, struct tw_err *err)
{
    const char *verb = args->rest.count ? args->rest.items[0] : "list";
    json_auto_t *json = NULL;
    int r;

    if (tw_streq(verb, "create"))
        return cmd_server(args)
                   ? token_create_remote(args, err)
                   : cmd_local_change(args, "token.create", token_create_local, err);
    if (tw_streq(verb, "revoke"))
        return token_revoke(args, err);
    if (!tw_streq(verb, "list"))
        return tw_fail(err, -EINVAL, "twin token '%s': expected create, list or revoke",
                       verb);
    if (!cmd_server(args))
        return token_list(args, err);
    r = cmd_ask(args, "GET", "/api/v1/tokens", NULL, &json, err);
    return r < 0 ? r : cmd_write_json(args, json, err);
}

extern const struct cmd cmd_token;
const struct cmd cmd_token = {
    .name = "token",
    .most_words = 2,
    .usage = "token create|list|revoke [ID] [options]",
    .summary = "bearer tokens of the daemon: make, show, take back",
    .options =
        " person roles environments types automaton days note server token-file output "
        "out ",
    .examples = "examples\n"
                "  twin token create --person anna --roles operator,approver --days 30\n"
                "  twin token create --person ci --roles operator --environments staging "
                "--automaton\n",
    .run = run_token,
};
