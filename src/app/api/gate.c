/* Approvals, audit, policies, tokens. */
#include "api_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

char *api_without_blanks(const char *list)
{
    char *plain = strdup(list), *to = plain;

    for (const char *from = list; *from; from++)
        if (*from != ' ')
            *to++ = *from;
    *to = '\0';
    return plain;
}

/* ---- approvals ---- */

static json_t *approval_to_json(struct tw_arena *a, struct tw_store_approval *p)
{
    tw_gate_approval_age(p);
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:s, s:s, s:o}", "id",
        p->id, "state", p->state, "simulation", p->simulation, "plan_sha256",
        p->plan_sha256, "environment", tw_json_text(p->environment), "target",
        tw_json_text(p->target), "type", tw_json_text(p->type), "requester", p->requester,
        "approver", tw_json_text(p->approver), "comment", tw_json_text(p->comment),
        "risk_score", tw_json_real(p->risk_score), "created_at",
        tw_iso_time(a, p->created_wall_ns), "expires_at",
        tw_iso_time(a, p->expires_wall_ns), "decided_at",
        tw_json_text(p->decided_wall_ns ? tw_iso_time(a, p->decided_wall_ns) : NULL));
}

int api_approval_list(struct api_call *c, struct tw_err *err)
{
    static const char *const states[] = {"pending", "approved", "rejected", "expired"};
    const char *state = tw_http_query(c->http, "state");
    /* Whether a pending one has expired is only known when it is looked at. */
    bool by_age = tw_streq(state, "pending") || tw_streq(state, "expired");
    struct tw_store_approvals rows = {0};
    const char *next = NULL;
    json_t *items;
    struct tw_store *s;
    int limit, r = api_page(c, &limit, err);

    if (r == 0 && state && tw_name_index(state, states, TW_COUNT_OF(states)) < 0)
        r = tw_fail(err, -EINVAL,
                    "state '%s': expected pending, approved, rejected or expired", state);
    if (r < 0)
        return r;
    s = tw_store_pool_take(c->api->pool, err);
    r = s ? tw_store_approval_list(s, c->arena, by_age ? "pending" : state,
                                   tw_http_query(c->http, "cursor"), limit + 1, &rows,
                                   err)
          : -EIO;
    tw_store_pool_give(c->api->pool, s);
    if (r < 0)
        return r;
    items = json_array();
    for (size_t i = 0; i < rows.list.count && i < (size_t)limit; i++) {
        struct tw_store_approval *p = &rows.list.items[i];

        tw_gate_approval_age(p);
        if ((!state || tw_streq(p->state, state)) &&
            tw_gate_check(&c->actor, TW_MAY_READ, p->environment, p->type, NULL) == 0)
            (void)json_array_append_new(items, approval_to_json(c->arena, p));
    }
    if (rows.list.count > (size_t)limit)
        next = rows.list.items[limit - 1].id;
    api_answer_json(c, 200, api_items(items, next));
    return 0;
}

int api_approval_get(struct api_call *c, struct tw_err *err)
{
    struct tw_store_approval p;
    struct tw_store *s = tw_store_pool_take(c->api->pool, err);
    int r = s ? tw_store_approval_get(s, c->arena, c->id, &p, err) : -EIO;

    tw_store_pool_give(c->api->pool, s);
    if (r == 0)
        r = api_may(c, p.environment, p.type, err);
    if (r == 0)
        api_answer_json(c, 200, approval_to_json(c->arena, &p));
    return r;
}

/* Of those who may approve at all, the policy may let only some approve this one. */
static int check_approver(struct api_call *c, const struct tw_store_approval *p,
                          const char *body, struct tw_err *err)
{
    struct tw_simulation *sim = NULL;
    struct tw_requirement need;
    tw_auto_free char *plain = NULL;
    unsigned roles = 0;
    int r = tw_simulation_from_json(body, &sim, err);

    if (r == 0) {
        need = tw_policy_require(&c->api->policy, sim->target.tier, &sim->request);
        plain = api_without_blanks(need.approvers);
        r = tw_gate_roles_parse(plain, &roles, err);
        if (r == 0 && !(roles & c->actor.roles))
            r = tw_fail(
                err, -EACCES,
                "the policy lets only the role %s approve a change of '%s' in '%s'",
                need.approvers, p->target, p->environment);
    }
    tw_simulation_free(sim);
    return r;
}

static int decide_work(struct api_call *c, struct tw_store *s, struct tw_err *err)
{
    struct tw_store_approval *p = c->data;
    bool approve = tw_streq(api_text(c, "decision"), "approve");
    struct tw_store_simulation row = {0};
    int r = tw_store_find(s, c->arena, p->simulation, &row, err);

    if (r == 0)
        r = check_approver(c, p, row.body, err);
    if (r < 0)
        return r;
    r = tw_gate_approval_decide(s, c->arena, c->id, approve, &c->actor,
                                api_text(c, "plan_sha256"), api_text(c, "comment"), p,
                                err);

    if (r < 0)
        return r;
    return api_audit(c, s, c->id, "ok",
                     json_pack("{s:s, s:s, s:s, s:s?}", "decision", p->state,
                               "simulation", p->simulation, "plan_sha256", p->plan_sha256,
                               "comment", p->comment),
                     err);
}

static void decide_done(struct api_call *c)
{
    api_answer_json(c, 200, approval_to_json(c->arena, c->data));
}

int api_approval_decide(struct api_call *c, struct tw_err *err)
{
    static const char *const keys[] = {"decision", "comment", "plan_sha256"};
    static const char *const words[] = {"approve", "reject"};
    struct tw_store_approval *p = tw_arena_alloc(c->arena, sizeof(*p));
    struct tw_store *s;
    int r = api_known(c, keys, TW_COUNT_OF(keys), err);

    if (r == 0 && tw_name_index(api_text(c, "decision"), words, TW_COUNT_OF(words)) < 0)
        r = tw_fail_at(err, -EINVAL, "/decision", "expected 'approve' or 'reject'");
    if (r < 0)
        return r;
    s = tw_store_pool_take(c->api->pool, err);
    r = s ? tw_store_approval_get(s, c->arena, c->id, p, err) : -EIO;
    tw_store_pool_give(c->api->pool, s);
    if (r == 0)
        r = api_may(c, p->environment, p->type, err);
    return r < 0 ? r : api_write(c, decide_work, decide_done, p);
}

/* ---- audit ---- */

int api_audit_list(struct api_call *c, struct tw_err *err)
{
    const char *cursor = tw_http_query(c->http, "cursor");
    struct tw_store_audits rows = {0};
    int64_t before = INT64_MAX;
    const char *next = NULL;
    json_t *items;
    struct tw_store *s;
    int limit, r = api_page(c, &limit, err);

    if (r == 0 && cursor && (tw_parse_int64(cursor, &before, NULL) < 0 || before < 1))
        r = tw_fail(err, -EINVAL,
                    "cursor '%s': expected the 'next_cursor' of the page before", cursor);
    if (r < 0)
        return r;
    s = tw_store_pool_take(c->api->pool, err);
    r = s ? tw_store_audit_list(s, c->arena, 0, before, limit, &rows, err) : -EIO;
    tw_store_pool_give(c->api->pool, s);
    if (r < 0)
        return r;
    items = json_array();
    for (size_t i = 0; i < rows.list.count; i++)
        (void)json_array_append_new(items,
                                    tw_audit_to_json(c->arena, &rows.list.items[i]));
    if (rows.list.count == (size_t)limit && rows.list.items[limit - 1].seq > 1)
        next =
            tw_arena_printf(c->arena, "%lld", (long long)rows.list.items[limit - 1].seq);
    api_answer_json(c, 200, api_items(items, next));
    return 0;
}

int api_audit_verify(struct api_call *c, struct tw_err *err)
{
    struct tw_audit_state state = {0};
    struct tw_err why = {0};
    struct tw_store *s = tw_store_pool_take(c->api->pool, err);
    int r = s ? tw_audit_verify(c->api->audit, s, c->arena, &state, &why) : -EIO;

    tw_store_pool_give(c->api->pool, s);
    if (r < 0 && r != -EBADMSG) {
        *err = why;
        return r;
    }
    api_answer_json(
        c, 200,
        json_pack("{s:b, s:I, s:o, s:o, s:s?}", "holds", r == 0, "entries",
                  (json_int_t)state.entries, "bad_entry",
                  state.bad_seq ? json_integer((json_int_t)state.bad_seq) : json_null(),
                  "note", tw_json_text(state.what), "error", r < 0 ? why.text : NULL));
    return 0;
}

/* ---- policies ---- */

static json_t *policy_to_json(const struct tw_policy *p)
{
    json_t *rules = json_array();

    for (size_t i = 0; i < p->rules.count; i++)
        (void)json_array_append_new(
            rules, json_pack("{s:s, s:s}", "code", p->rules.items[i].code, "at_least",
                             tw_verdict_names[p->rules.items[i].at_least]));
    return json_pack(
        "{s:s, s:o, s:s, s:{s:f, s:f, s:f, s:f, s:f, s:f, s:f}, s:f, s:f, s:f,"
        " s:{s:o, s:i, s:I}, s:o, s:i}",
        "name", p->name, "summary", tw_json_text(p->summary), "origin",
        p->origin ? p->origin : "built in", "margins", "throughput", p->margin_throughput,
        "p50", p->margin_p50, "p95", p->margin_p95, "p99", p->margin_p99, "effect",
        p->margin_effect, "errors", p->margin_errors, "block", p->margin_block,
        "confidence_threshold", p->confidence_threshold, "failure_review",
        p->failure_review, "failure_block", p->failure_block, "measure", "budget_seconds",
        tw_json_real(p->budget_s), "min_pairs", p->min_pairs, "min_requests",
        (json_int_t)p->min_requests, "rules", rules, "cases", (int)p->cases.count);
}

int api_policy_list(struct api_call *c, struct tw_err *err)
{
    (void)err;
    api_answer_json(c, 200,
                    api_items(json_pack("[o]", policy_to_json(&c->api->policy)), NULL));
    return 0;
}

/* "approver, admin" */
static json_t *words_of(const char *list)
{
    json_t *words = json_array();
    size_t n;

    for (; *list; list += n) {
        list += strspn(list, ", ");
        n = strcspn(list, ", ");
        if (n)
            (void)json_array_append_new(words, json_stringn(list, n));
    }
    return words;
}

/* Which simulation, how deep, and who approves: from the policy alone. */
int api_policy_check(struct api_call *c, struct tw_err *err)
{
    static const char *const levels[] = {"low", "medium", "high"};
    struct tw_policy p = c->api->policy;
    struct tw_request request;
    struct tw_target target;
    struct tw_requirement need;
    const char *level;
    int r = api_read_request(c, c->arena, &request, &target, err);

    if (r < 0)
        return r;
    need = tw_policy_require(&p, target.tier, &request);
    tw_policy_narrow(&p, target.tier, request.type, request.risk_level);
    level = request.risk_level ? request.risk_level : levels[target.tier];
    api_answer_json(
        c, 200,
        json_pack("{s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:{s:s, s:o, s:s, s:f}, s:n}",
                  "simulation_required", need.simulation, "why", need.because,
                  "environment", target.environment, "target", target.name, "tier",
                  tw_tier_names[target.tier], "type", request.type, "risk_level", level,
                  "policy", policy_to_json(&p), "approval", "needed_for", "review",
                  "roles", words_of(need.approvers), "not_by", c->actor.person,
                  "expires_hours", c->api->o->approval_hours, "error"));
    return 0;
}

/* ---- tokens ---- */

static json_t *token_to_json(struct tw_arena *a, const struct tw_store_token *t)
{
    return json_pack(
        "{s:s, s:o, s:s, s:o, s:o, s:o, s:b, s:s, s:s, s:s, s:o}", "id", t->id, "person",
        tw_json_text(t->person), "roles", t->roles, "environments",
        tw_json_text(t->environments), "types", tw_json_text(t->types), "note",
        tw_json_text(t->note), "automaton", t->automaton, "created_by", t->created_by,
        "created_at", tw_iso_time(a, t->created_wall_ns), "expires_at",
        tw_iso_time(a, t->expires_wall_ns), "revoked_at",
        tw_json_text(t->revoked_wall_ns ? tw_iso_time(a, t->revoked_wall_ns) : NULL));
}

int api_token_list(struct api_call *c, struct tw_err *err)
{
    struct tw_store_tokens rows = {0};
    json_t *items;
    struct tw_store *s = tw_store_pool_take(c->api->pool, err);
    int r = s ? tw_store_token_list(s, c->arena, &rows, err) : -EIO;

    tw_store_pool_give(c->api->pool, s);
    if (r < 0)
        return r;
    items = json_array();
    for (size_t i = 0; i < rows.list.count; i++)
        (void)json_array_append_new(items, token_to_json(c->arena, &rows.list.items[i]));
    api_answer_json(c, 200, api_items(items, NULL));
    return 0;
}

struct token_making {
    struct tw_token_wish wish;
    struct tw_store_token token;
    const char *secret;
};

static int token_work(struct api_call *c, struct tw_store *s, struct tw_err *err)
{
    struct token_making *m = c->data;
    int r = tw_gate_token_make(s, c->arena, &m->wish, &m->secret, &m->token, err);

    if (r < 0)
        return r;
    return api_audit(c, s, m->token.id, "ok",
                     json_pack("{s:o, s:s, s:o, s:b}", "person",
                               tw_json_text(m->token.person), "roles", m->token.roles,
                               "environments", tw_json_text(m->token.environments),
                               "automaton", m->token.automaton),
                     err);
}

static void token_done(struct api_call *c)
{
    struct token_making *m = c->data;
    json_t *json = token_to_json(c->arena, &m->token);

    (void)json_object_set_new(json, "token", json_string(m->secret));
    api_answer_json(c, 201, json);
}

int api_token_create(struct api_call *c, struct tw_err *err)
{
    static const char *const keys[] = {"person", "roles",     "environments", "types",
                                       "note",   "automaton", "days"};
    struct token_making *m = tw_arena_alloc(c->arena, sizeof(*m));
    const json_t *days = json_object_get(c->body, "days");
    int r = api_known(c, keys, TW_COUNT_OF(keys), err);

    if (r < 0)
        return r;
    m->wish = (struct tw_token_wish){
        .person = api_text(c, "person"),
        .roles = api_text(c, "roles"),
        .environments = api_text(c, "environments"),
        .types = api_text(c, "types"),
        .note = api_text(c, "note"),
        .automaton = json_is_true(json_object_get(c->body, "automaton")),
        .days = days ? json_number_value(days) : 90,
        .created_by = c->actor.person};
    return api_write(c, token_work, token_done, m);
}

static int revoke_work(struct api_call *c, struct tw_store *s, struct tw_err *err)
{
    int r = tw_gate_token_revoke(s, c->arena, c->id, err);

    return r < 0 ? r : api_audit(c, s, c->id, "ok", NULL, err);
}

static void revoke_done(struct api_call *c)
{
    api_answer_json(c, 200, json_pack("{s:s, s:b}", "id", c->id, "revoked", 1));
}

int api_token_revoke(struct api_call *c, struct tw_err *err)
{
    (void)err;
    return api_write(c, revoke_work, revoke_done, NULL);
}
