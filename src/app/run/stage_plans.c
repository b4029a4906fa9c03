/* Stage: the plans of the mix's statements on both arms, and what those that changed cost. */
#include "run_internal.h"

#include <errno.h>
#include <math.h>

#define TRIES         5
#define TRY_TIMEOUT_S 0.25
/* A statement this many times slower, one by one and unloaded, needs no trial to be
 * called worse. */
#define CLEARLY_WORSE 3.0
#define CLEAR_SHARE   0.05 /* of the requests, at least */

static int ask_limits(struct run *r, enum tw_arm arm, struct tw_arena *a,
                      struct tw_err *err)
{
    struct tw_service_limits *l = &r->v.limits[arm];

    *l = (struct tw_service_limits){NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    return r->kind->limits
               ? r->kind->limits(a, tw_twin_access(run_twin_of(r, arm)), l, err)
               : 0;
}

static int explain(struct run *r, enum tw_arm arm, struct tw_arena *a, struct tw_err *err)
{
    struct tw_err why = {0};
    struct tw_pg *pg;
    int rc = tw_twin_connect(run_twin_of(r, arm), r->mix.database, &pg, &why);

    if (rc < 0 && rc != -ETIMEDOUT && arm == TW_CANDIDATE) {
        /* The baseline lets the same session in, else it fails beside this one. */
        r->v.entry_refused = tw_arena_strdup(a, why.text);
        return 0;
    }
    if (rc < 0) {
        if (err)
            *err = why;
        return tw_wrap(err, rc, "entering the %s", tw_arm_names[arm]);
    }
    rc = tw_load_explain(a, &r->mix, pg, &r->v.plans[arm], &why);
    run_answers_ask(r, arm, a, pg);
    tw_pg_close(pg);
    if (rc < 0 && arm == TW_CANDIDATE) {
        /* the server's answer to a statement, not an error of ours */
        r->v.plans_fail = tw_arena_strdup(a, why.text);
        return 0;
    }
    if (rc < 0 && err)
        *err = why;
    return rc < 0 ? rc : ask_limits(r, arm, a, err);
}

static int try_items(struct run *r, enum tw_arm arm, struct tw_arena *a,
                     struct tw_err *err)
{
    struct tw_pg *pg;
    int rc = tw_twin_connect(run_twin_of(r, arm), r->mix.database, &pg, err);

    if (rc < 0)
        return rc;
    rc = tw_load_try(a, &r->mix, pg, TRIES, TRY_TIMEOUT_S, &r->v.tries[arm], err);
    tw_pg_close(pg);
    return rc;
}

static const struct tw_load_plan *plan_of(const struct tw_load_plans *plans, size_t item,
                                          size_t statement)
{
    for (size_t i = 0; i < plans->list.count; i++)
        if (plans->list.items[i].item == item &&
            plans->list.items[i].statement == statement)
            return &plans->list.items[i];
    return NULL;
}

static bool differ(const struct tw_load_plan *b, const struct tw_load_plan *c)
{
    return !tw_streq(b->shape, c->shape) || b->jit != c->jit ||
           b->parallel != c->parallel;
}

static bool any_plan_changed(const struct run *r)
{
    const struct tw_load_plans *b = &r->v.plans[TW_BASELINE],
                               *c = &r->v.plans[TW_CANDIDATE];

    for (size_t i = 0; i < b->list.count; i++) {
        const struct tw_load_plan *other =
            plan_of(c, b->list.items[i].item, b->list.items[i].statement);

        if (other && differ(&b->list.items[i], other))
            return true;
    }
    return false;
}

/* Milliseconds per execution where it was tried; a statement that did not end in time
 * took at least the time-out. */
static double tried_ms(const struct run *r, enum tw_arm arm, size_t item)
{
    double seconds = r->v.tries[arm] ? r->v.tries[arm][item] : NAN;

    if (!r->v.tries[arm])
        return NAN;
    return 1e3 * (isnan(seconds) ? TRY_TIMEOUT_S : seconds);
}

static void tell_flip(struct run *r, const struct tw_statement_effect *e, bool at_least)
{
    struct tw_arena *a = r->v.sim->arena;
    bool tried = !isnan(e->after_ms);
    double ratio = e->after_ms / e->before_ms;

    tw_issue_add(
        a, &r->v.issues, e->plan_worse ? TW_CRITICAL : TW_LOW,
        e->plan_worse ? TW_BLOCK : TW_PROCEED,
        e->plan_worse ? "plan.worse" : "plan.changed",
        e->plan_worse
            ? tw_arena_printf(a, "a statement gets a plan that is %s%.3g times slower",
                              at_least ? "at least " : "", ratio)
            : "a statement gets another plan",
        tw_arena_printf(a, "%s\nbefore: %s%s\nafter:  %s%s", e->text, e->plan_before,
                        tried ? tw_arena_printf(a, ", %.3g ms", e->before_ms) : "",
                        e->plan_after,
                        tried ? tw_arena_printf(a, ", %s%.3g ms",
                                                at_least ? "at least " : "", e->after_ms)
                              : ""),
        e->plan_worse
            ? "keep the setting that steers the planner, or change it for one session "
              "and look at EXPLAIN first"
            : NULL);
}

/* An item of one statement is named by it; of a transaction each statement stands for
 * itself. */
const char *run_statement_text(struct run *r, size_t item, size_t statement)
{
    const struct tw_load_item *i = &r->mix.items.items[item];

    return i->statements.count == 1
               ? i->text
               : tw_pg_normalize(r->v.sim->arena, i->statements.items[statement].sql);
}

static void compare_statement(struct run *r, const struct tw_load_plan *b,
                              const struct tw_load_plan *c, double total_weight)
{
    const struct tw_load_item *item = &r->mix.items.items[b->item];
    struct tw_statement_effect e = {.text = run_statement_text(r, b->item, b->statement),
                                    .share = !isnan(item->source_share)
                                                 ? item->source_share
                                                 : item->weight / total_weight,
                                    .before_ms = tried_ms(r, TW_BASELINE, b->item),
                                    .after_ms = tried_ms(r, TW_CANDIDATE, b->item),
                                    .rows = b->rows,
                                    .plan_before = b->line,
                                    .plan_after = c->line,
                                    .cost_before = b->cost,
                                    .cost_after = c->cost,
                                    .plan_changed = differ(b, c)};
    bool unfinished =
        r->v.tries[TW_CANDIDATE] && isnan(r->v.tries[TW_CANDIDATE][b->item]);

    e.plan_worse = e.plan_changed && e.after_ms > CLEARLY_WORSE * e.before_ms;
    TW_PUSH(r->v.sim->arena, &r->v.statements, e);
    if (!e.plan_changed)
        return;
    tell_flip(r, &e, unfinished);
    if (e.plan_worse && item->weight / total_weight >= CLEAR_SHARE)
        r->v.plans_worse = true;
}

static void tell_failing(struct run *r)
{
    tw_issue_add(r->v.sim->arena, &r->v.issues, TW_CRITICAL, TW_BLOCK, "plan.fails",
                 "a statement of today's load fails with the change", r->v.plans_fail,
                 "see what the server says; the same statement has a plan without the "
                 "change");
    r->v.not_measured = "a statement of the load fails with the change";
}

static void tell_refused(struct run *r)
{
    tw_issue_add(r->v.sim->arena, &r->v.issues, TW_CRITICAL, TW_BLOCK, "load.refused",
                 "no session is begun with the change", r->v.entry_refused,
                 "see what the server says; the unchanged one takes the same session");
    r->v.not_measured = "the service with the change begins no session";
}

int run_plans(struct run *r, struct tw_err *err)
{
    const struct tw_load_plans *b = &r->v.plans[TW_BASELINE];
    double weight = 0;
    int rc = run_each_arm(r, r->kind->conninfo ? explain : ask_limits, err);

    if (rc == 0)
        run_answers_tell(r);
    if (rc == 0 && r->v.entry_refused) {
        tell_refused(r);
        return 0;
    }
    if (rc == 0 && r->v.plans_fail) {
        tell_failing(r);
        return 0;
    }
    if (rc == 0 && any_plan_changed(r))
        rc = run_each_arm(r, try_items, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < r->mix.items.count; i++)
        weight += r->mix.items.items[i].weight;
    for (size_t i = 0; i < b->list.count; i++) {
        const struct tw_load_plan *c = plan_of(
            &r->v.plans[TW_CANDIDATE], b->list.items[i].item, b->list.items[i].statement);

        if (c)
            compare_statement(r, &b->list.items[i], c, weight);
    }
    if (r->v.plans_worse)
        r->v.not_measured =
            "a plan turned bad, which a few executions show better than load";
    run_schema_plans(r);
    return 0;
}
