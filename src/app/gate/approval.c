/* Approvals: of one plan, by another person, for a time. */
#include "tw/gate.h"

#include <string.h>

#define HOUR_NS (3600 * (double)TW_SEC_NS)

int tw_gate_approval_open(struct tw_store *s, struct tw_arena *a,
                          const struct tw_simulation *sim, const char *requester,
                          double hours, struct tw_store_approval *ret, struct tw_err *err)
{
    int64_t now = tw_wall_ns();
    char *id = tw_arena_alloc(a, TW_ID_LEN + 1);
    struct tw_store_approval p = {.id = id,
                                  .simulation = sim->id,
                                  .plan_sha256 = sim->plan.sha256,
                                  .environment = sim->target.environment,
                                  .type = sim->request.type,
                                  .target = sim->request.target,
                                  .requester = requester,
                                  .state = "pending",
                                  .risk_score = sim->impact.risk_score,
                                  .created_wall_ns = now,
                                  .expires_wall_ns = now + (int64_t)(hours * HOUR_NS)};
    int r;

    tw_id_make(id);
    r = tw_store_approval_put(s, &p, err);
    if (r == 0)
        *ret = p;
    return r;
}

void tw_gate_approval_age(struct tw_store_approval *p)
{
    if (tw_streq(p->state, "pending") && tw_wall_ns() >= p->expires_wall_ns)
        p->state = "expired";
}

static int check(struct tw_arena *a, const struct tw_store_approval *p,
                 const struct tw_actor *actor, const char *plan_sha256,
                 struct tw_err *err)
{
    if (tw_streq(p->state, "expired"))
        return tw_fail(err, -ESTALE,
                       "the approval '%s' expired on %s; run the simulation again", p->id,
                       tw_iso_time(a, p->expires_wall_ns));
    if (!tw_streq(p->state, "pending"))
        return tw_fail(err, -EALREADY, "the approval '%s' was %s by '%s' on %s", p->id,
                       p->state, p->approver, tw_iso_time(a, p->decided_wall_ns));
    if (tw_streq(p->requester, actor->person))
        return tw_fail(err, -EACCES,
                       "'%s' asked for this change: another person has to decide on it",
                       actor->person);
    if (plan_sha256 && !tw_streq(plan_sha256, p->plan_sha256))
        return tw_fail_at(err, -ESTALE, "/plan_sha256",
                          "the approval '%s' is bound to the plan %s, not to %s", p->id,
                          p->plan_sha256, plan_sha256);
    return tw_gate_check(actor, TW_MAY_APPROVE, p->environment, p->type, err);
}

int tw_gate_approval_decide(struct tw_store *s, struct tw_arena *a, const char *id,
                            bool approve, const struct tw_actor *actor,
                            const char *plan_sha256, const char *comment,
                            struct tw_store_approval *ret, struct tw_err *err)
{
    struct tw_store_approval p;
    int r = tw_store_approval_get(s, a, id, &p, err);

    if (r < 0)
        return r;
    tw_gate_approval_age(&p);
    r = check(a, &p, actor, plan_sha256, err);
    if (r < 0)
        return r;
    p.state = approve ? "approved" : "rejected";
    p.approver = actor->person;
    p.comment = comment;
    p.decided_wall_ns = tw_wall_ns();
    r = tw_store_approval_put(s, &p, err);
    if (r == 0)
        *ret = p;
    return r;
}
