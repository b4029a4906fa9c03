#include "recall.h"

#include "tw/decide.h"
#include "tw/env.h"

#include <stdio.h>

static int show(struct cmd_args *args, struct tw_err *err)
{
    json_auto_t *json = NULL;
    struct tw_policy p;
    int r;

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

/* ---- is a simulation required, and who approves ---- */

static int require_there(struct cmd_args *args, const struct tw_request *q, json_t **ret,
                         struct tw_err *err)
{
    return cmd_ask(args, "POST", "/api/v1/policy/check", tw_request_to_json(q), ret, err);
}

static int require_here(struct cmd_args *args, struct tw_request *q, json_t **ret,
                        struct tw_err *err)
{
    struct tw_requirement need;
    struct tw_env_list list;
    struct tw_target target;
    struct tw_policy p;
    int r = tw_env_load(args->arena, args->state_dir, &list, err);

    if (r == 0)
        r = tw_env_find(&list, q->environment, q->target, &target, err);
    if (r == 0)
        r = tw_policy_load(args->arena, args->policy, &p, err);
    if (r < 0)
        return r;
    need = tw_policy_require(&p, target.tier, q);
    *ret = json_pack("{s:b, s:s, s:s, s:s, s:s, s:s, s:{s:s}, s:{s:s}}", "simulation_required",
                     need.simulation, "why", need.because, "environment", target.environment,
                     "target", target.name, "tier", tw_tier_names[target.tier], "type", q->type,
                     "policy", "name", p.name, "approval", "roles", need.approvers);
    return 0;
}

static const char *roles_of(struct tw_arena *a, const json_t *json)
{
    const json_t *roles = json_object_get(json_object_get(json, "approval"), "roles"), *one;
    const char *all = json_string_value(roles);
    size_t i;

    json_array_foreach (roles, i, one)
        all = i ? tw_arena_printf(a, "%s, %s", all, json_string_value(one))
                : json_string_value(one);
    return all ? all : "nobody";
}

static void print_requirement(struct cmd_args *args, const json_t *json)
{
    bool required = json_is_true(json_object_get(json, "simulation_required"));

    printf("%s: %s\n", required ? "a simulation is required" : "no simulation is required",
           json_string_value(json_object_get(json, "why")));
    printf("  target      %s in %s (%s), %s\n",
           json_string_value(json_object_get(json, "target")),
           json_string_value(json_object_get(json, "environment")),
           json_string_value(json_object_get(json, "tier")),
           json_string_value(json_object_get(json, "type")));
    printf("  approves    after a review: %s, not the one who asks\n",
           roles_of(args->arena, json));
    printf("  policy      %s\n",
           json_string_value(json_object_get(json_object_get(json, "policy"), "name")));
}

static int check(struct cmd_args *args, struct tw_err *err)
{
    struct tw_request request;
    json_auto_t *json = NULL;
    int r;

    /* the word was the verb: what follows is a body */
    args->rest.items++;
    args->rest.count--;
    r = cmd_request(args, &request, err);
    if (r == 0)
        r = cmd_server(args) ? require_there(args, &request, &json, err)
                             : require_here(args, &request, &json, err);
    if (r < 0 || cmd_is_json(args))
        return r < 0 ? r : cmd_write_json(args, json, err);
    print_requirement(args, json);
    return 0;
}

/* ---- what a decision is made of ---- */

static json_t *rows_to_json(const struct tw_decide_rows *rows)
{
    json_t *list = json_array();

    for (size_t i = 0; i < rows->list.count; i++)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:o, s:o}", "asks_for",
                            tw_verdict_names[rows->list.items[i].verdict], "name",
                            tw_json_text(rows->list.items[i].name), "why",
                            tw_json_text(rows->list.items[i].why)));
    return list;
}

static void print_rows(const struct tw_simulation *sim, const struct tw_policy *p,
                       const struct tw_decide_rows *rows)
{
    printf("%s: decided %s by policy %s\n", sim->id, tw_verdict_names[sim->decision.verdict],
           sim->decision.policy ? sim->decision.policy : "unknown");
    for (size_t i = 0; i < rows->list.count; i++)
        printf("  %-8s  %-22s %s\n", tw_verdict_names[rows->list.items[i].verdict],
               rows->list.items[i].name, rows->list.items[i].why);
    if (rows->verdict != sim->decision.verdict)
        printf("policy %s as it is now makes it %s\n", p->name, tw_verdict_names[rows->verdict]);
}

static int explain(struct cmd_args *args, struct tw_err *err)
{
    tw_auto(tw_simulation) *sim = NULL;
    struct tw_decide_rows rows;
    struct tw_policy p;
    int r = cmd_need_word(args, 1, "the id of a simulation; twin list shows them", err);

    if (r == 0)
        r = cmd_recall(args, args->rest.items[1], &sim, err);
    if (r == 0 && sim->status != TW_SUCCESS)
        r = tw_fail(err, -EINVAL, "simulation '%s' is %s: nothing was decided", sim->id,
                    tw_status_names[sim->status]);
    if (r == 0)
        r = tw_policy_load(args->arena, args->policy, &p, err);
    if (r < 0)
        return r;
    tw_policy_narrow(&p, sim->target.tier, sim->request.type, sim->request.risk_level);
    tw_decide_explain(args->arena, &p, &sim->impact, &sim->measured, &rows);
    if (cmd_is_json(args))
        return cmd_write_json(
            args,
            json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", sim->id, "decision",
                      tw_verdict_names[sim->decision.verdict], "policy", p.name, "decides_now",
                      tw_verdict_names[rows.verdict], "rows", rows_to_json(&rows)),
            err);
    print_rows(sim, &p, &rows);
    return 0;
}

static int run_policy(struct cmd_args *args, struct tw_err *err)
{
    static const struct {
        const char *name;
        int (*run)(struct cmd_args *args, struct tw_err *err);
    } verbs[] = {{"show", show}, {"check", check}, {"explain", explain}};
    const char *names[TW_COUNT_OF(verbs)];
    const char *verb = args->rest.count ? args->rest.items[0] : "show";

    for (size_t i = 0; i < TW_COUNT_OF(verbs); i++) {
        names[i] = verbs[i].name;
        if (tw_streq(verb, verbs[i].name))
            return verbs[i].run(args, err);
    }
    return cmd_check_word("twin policy", verb, names, TW_COUNT_OF(names), err);
}

extern const struct cmd cmd_policy;
const struct cmd cmd_policy = {
    .name = "policy",
    .most_words = 2,
    .usage = "policy [show | check [change.json|-] [--target T --set NAME=VALUE …] | explain ID]",
    .summary = "by what is decided, whether a change needs a simulation, why one was decided so",
    .options = " policy server token-file target env type set file risk-level output out ",
    .examples = "examples\n"
                "  twin policy check --target pg-main --set work_mem=64MB\n"
                "  twin policy explain ID --policy stricter.yaml\n",
    .run = run_policy,
};
