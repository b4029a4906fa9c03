/* token, approve, reject, audit, outcome, policy, cancel, predict: on this machine's own state, or by a
 * daemon where one is named. */
#include "remote.h"

#include "tw/decide.h"
#include "tw/gate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the state of this machine ---- */

struct local {
    struct tw_store *store;
    struct tw_audit *audit;
    struct tw_actor actor;
};

static int local_open(struct cmd_args *args, struct local *l, struct tw_err *err)
{
    int r = tw_store_open(args->state_dir, &l->store, err);

    l->actor = tw_gate_local_actor(args->arena);
    return r < 0 ? r : tw_audit_open(args->state_dir, NULL, &l->audit, err);
}

static void local_close(struct local *l)
{
    tw_audit_close(l->audit);
    tw_store_close(l->store);
}

/* What is done and its entry in the audit chain, both or neither. */
typedef int local_fn(struct cmd_args *args, struct local *l, const char **ret_object,
                     json_t **ret_detail, struct tw_err *err);

static int local_change(struct cmd_args *args, const char *action, local_fn *fn,
                        struct tw_err *err)
{
    struct local l = {0};
    const char *object = "";
    json_auto_t *detail = NULL;
    tw_auto_free char *text = NULL;
    int r = local_open(args, &l, err);

    if (r == 0)
        r = tw_store_begin(l.store, err);
    if (r == 0) {
        r = fn(args, &l, &object, &detail, err);
        text = detail ? tw_json_dump(detail, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
        if (r == 0)
            r = tw_audit_add(l.audit, l.store, &l.actor,
                             &(struct tw_audit_entry){action, object, "ok", text}, err);
        if (r == 0)
            r = tw_store_commit(l.store, err);
        else
            tw_store_rollback(l.store);
    }
    if (r == 0)
        r = tw_audit_mark(l.audit, err);
    local_close(&l);
    return r;
}

static int need_one(const struct cmd_args *args, size_t at, const char *what,
                    struct tw_err *err)
{
    return args->rest.count == at + 1 ? 0 : tw_fail(err, -EINVAL, "%s", what);
}

/* ---- token ---- */

static int token_create_local(struct cmd_args *args, struct local *l,
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
    struct local l = {0};
    int r = local_open(args, &l, err);

    if (r == 0)
        r = tw_store_token_list(l.store, args->arena, &all, err);
    local_close(&l);
    for (size_t i = 0; r == 0 && i < all.list.count; i++)
        print_token(&all.list.items[i], args->arena);
    if (r == 0 && !all.list.count)
        puts("no tokens yet; twin token create --person NAME --roles operator");
    return r;
}

static int token_revoke_local(struct cmd_args *args, struct local *l,
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
    int r = need_one(args, 1, "twin token revoke needs an id; twin token list shows them",
                     err);

    if (r == 0 && cmd_server(args))
        r = cmd_ask(
            args, "DELETE",
            tw_arena_printf(args->arena, "/api/v1/tokens/%s", args->rest.items[1]), NULL,
            &json, err);
    else if (r == 0)
        r = local_change(args, "token.revoke", token_revoke_local, err);
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
                   : local_change(args, "token.create", token_create_local, err);
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

/* ---- approve and reject ---- */

static bool approving;

static int decide_local(struct cmd_args *args, struct local *l, const char **ret_object,
                        json_t **ret_detail, struct tw_err *err)
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
    int r =
        need_one(args, 0, "one approval's id is needed; it stands in the report", err);

    if (r < 0)
        return r;
    if (!cmd_server(args))
        return local_change(args, "approval.decide", decide_local, err);
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
    .usage = "approve APPROVAL [--comment TEXT] [--plan SHA256]",
    .summary = "approve a change under review, as another person than asked for it",
    .options = " comment plan server token-file ",
    .run = run_approve,
};
const struct cmd cmd_reject = {
    .name = "reject",
    .usage = "reject APPROVAL [--comment TEXT]",
    .summary = "reject a change under review",
    .options = " comment plan server token-file ",
    .run = run_reject,
};

/* ---- audit ---- */

static int audit_export(struct cmd_args *args, const struct local *l, struct tw_err *err)
{
    struct tw_store_audits page = {0};
    int64_t after = 0;
    int r = 0;

    do {
        tw_auto(tw_arena) *a = tw_arena_new();

        r = tw_store_audit_list(l->store, a, after, 0, 1000, &page, err);
        for (size_t i = 0; r == 0 && i < page.list.count; i++) {
            json_auto_t *json = tw_audit_to_json(a, &page.list.items[i]);
            tw_auto_free char *line = tw_json_dump(json, JSON_COMPACT);

            if (puts(line) < 0)
                r = tw_fail_errno(err, errno, "writing to standard output");
            after = page.list.items[i].seq;
        }
    } while (r == 0 && page.list.count);
    (void)args;
    return r;
}

static int audit_verify(struct cmd_args *args, const struct local *l, struct tw_err *err)
{
    struct tw_audit_state state;
    int r = tw_audit_verify(l->audit, l->store, args->arena, &state, err);

    if (r == 0)
        printf("the chain holds: %lld entries%s%s\n", (long long)state.entries,
               state.what ? "; but " : "", state.what ? state.what : "");
    return r;
}

static int audit_list(struct cmd_args *args, const struct local *l, struct tw_err *err)
{
    struct tw_store_audits page = {0};
    int r = tw_store_audit_list(l->store, args->arena, 0, INT64_MAX,
                                args->limit ? (int)args->limit : 20, &page, err);

    for (size_t i = 0; r == 0 && i < page.list.count; i++) {
        const struct tw_store_audit *e = &page.list.items[i];

        printf("%-6lld %s %-12s %-18s %-8s %s\n", (long long)e->seq,
               tw_iso_time(args->arena, e->at_wall_ns), e->actor, e->action, e->result,
               e->object);
    }
    return r;
}

static int run_audit(struct cmd_args *args, struct tw_err *err)
{
    static const struct {
        const char *name, *path;
        int (*run)(struct cmd_args *args, const struct local *l, struct tw_err *err);
    } verbs[] = {{"list", "/api/v1/audit", audit_list},
                 {"verify", "/api/v1/audit/verify", audit_verify},
                 {"export", NULL, audit_export}};
    const char *verb = args->rest.count ? args->rest.items[0] : "list";
    struct local l = {0};
    int r = -EINVAL;

    for (size_t i = 0; i < TW_COUNT_OF(verbs); i++) {
        json_auto_t *json = NULL;

        if (!tw_streq(verbs[i].name, verb))
            continue;
        if (cmd_server(args) && verbs[i].path) {
            r = cmd_ask(args, "GET", verbs[i].path, NULL, &json, err);
            return r < 0 ? r : cmd_write_json(args, json, err);
        }
        r = local_open(args, &l, err);
        if (r == 0)
            r = verbs[i].run(args, &l, err);
        local_close(&l);
        return r;
    }
    return tw_fail(err, r, "twin audit '%s': expected list, verify or export", verb);
}

extern const struct cmd cmd_audit;
const struct cmd cmd_audit = {
    .name = "audit",
    .usage = "audit list|verify|export [--limit N]",
    .summary = "what was done, by whom; does the chain hold; all of it as lines of JSON",
    .options = " limit server token-file output out ",
    .run = run_audit,
};

/* ---- outcome ---- */

static json_t *outcome_json(const struct cmd_args *args)
{
    return json_pack("{s:b, s:s*}", "applied", args->applied, "note", args->note);
}

static int outcome_local(struct cmd_args *args, struct local *l, const char **ret_object,
                         json_t **ret_detail, struct tw_err *err)
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
    int r = need_one(args, 0,
                     "twin outcome needs a simulation's id; twin list shows them", err);

    if (r == 0 && args->applied == args->not_applied)
        r = tw_fail(err, -EINVAL, "was the change made? --applied or --not-applied");
    if (r < 0)
        return r;
    if (!cmd_server(args))
        return local_change(args, "outcome.put", outcome_local, err);
    r = cmd_ask(args, "POST",
                tw_arena_printf(args->arena, "/api/v1/simulation/%s/outcome",
                                args->rest.items[0]),
                outcome_json(args), &json, err);
    return r < 0 ? r : cmd_write_json(args, json, err);
}

extern const struct cmd cmd_outcome;
const struct cmd cmd_outcome = {
    .name = "outcome",
    .usage = "outcome ID --applied|--not-applied [--note TEXT]",
    .summary = "what really happened after a change, to learn from",
    .options = " applied not-applied note server token-file output out ",
    .run = run_outcome,
};

/* ---- cancel ---- */

static int run_cancel(struct cmd_args *args, struct tw_err *err)
{
    json_auto_t *json = NULL;
    int r = need_one(args, 0, "twin cancel needs a simulation's id; twin list shows them",
                     err);

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
    .usage = "cancel ID --server URL",
    .summary = "end a simulation of the daemon",
    .options = " server token-file ",
    .run = run_cancel,
};

/* ---- policy ---- */

static int run_policy(struct cmd_args *args, struct tw_err *err)
{
    json_auto_t *json = NULL;
    struct tw_policy p;
    int r;

    if (args->rest.count && !tw_streq(args->rest.items[0], "show"))
        return tw_fail(err, -EINVAL, "twin policy '%s': expected show",
                       args->rest.items[0]);
    if (cmd_server(args)) {
        r = cmd_ask(args, "GET", "/api/v1/policies", NULL, &json, err);
        return r < 0 ? r : cmd_write_json(args, json, err);
    }
    r = tw_policy_load(args->arena, args->policy, &p, err);
    if (r < 0)
        return r;
    printf("%s (%s)\n%s\n", p.name, p.origin ? p.origin : "built in",
           p.summary ? p.summary : "");
    printf("  margins     throughput %g %%, p50 %g %%, p95 %g %%, p99 %g %%\n",
           100 * p.margin_throughput, 100 * p.margin_p50, 100 * p.margin_p95,
           100 * p.margin_p99);
    printf("  proceed     from confidence %g on\n", p.confidence_threshold);
    printf("  failures    review from probability %g, block from %g\n", p.failure_review,
           p.failure_block);
    printf("  findings    %zu rules, %zu cases\n", p.rules.count, p.cases.count);
    return 0;
}

extern const struct cmd cmd_policy;
const struct cmd cmd_policy = {
    .name = "policy",
    .usage = "policy [show] [--policy FILE]",
    .summary = "by what is decided",
    .options = " policy server token-file output out ",
    .run = run_policy,
};
