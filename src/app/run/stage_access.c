/* Stage: a change of who comes in to a service. Statements about roles are run on the candidate; that the
 * clients are tried (stage_clients.c) is the whole experiment, so no load is run. */
#include "run_internal.h"

#include <string.h>

bool run_is_access(const struct run *r)
{
    const struct tw_change_type *type = tw_change_type_find(r->v.sim->plan.type, NULL);

    return type && type->rules && !run_is_rules(r) &&
           tw_change_is_access(&r->snapshot, &r->v.sim->plan);
}

static void tell_refused(struct run *r, const struct tw_plan_step *step, const struct tw_err *why)
{
    (void)tw_issue_add(r->v.sim->arena, &r->v.issues, TW_CRITICAL, TW_BLOCK, "access.statement",
                       "a statement about roles fails, and those after it are not run",
                       tw_arena_printf(r->v.sim->arena, "%s: %s (%s)", why->text,
                                       tw_pg_normalize(r->v.sim->arena, step->value), step->origin),
                       "correct it; what was run before it stays");
}

/* As a script runs that nobody wrapped in a transaction: the first error ends it. */
static int run_statements(struct run *r, struct tw_err *err)
{
    const struct tw_plan *plan = &r->v.sim->plan;
    const char *database = plan->database ? plan->database : run_main_database(r);
    struct tw_pg *pg = NULL;
    int rc = 0;

    for (size_t i = 0; i < plan->steps.count && rc == 0; i++) {
        const struct tw_plan_step *step = &plan->steps.items[i];
        struct tw_err why = {0};

        if (step->kind != TW_STEP_SQL)
            continue;
        if (!pg)
            rc = tw_twin_connect(run_twin_of(r, TW_CANDIDATE), database, &pg, err);
        if (rc == 0 && tw_pg_exec(pg, step->value, &why) < 0) {
            tell_refused(r, step, &why);
            break;
        }
    }
    tw_pg_close(pg);
    return rc < 0 ? tw_wrap(err, rc, "the statements about roles") : 0;
}

int run_access(struct run *r, struct tw_err *err)
{
    int rc;

    if (!run_is_access(r) || !r->members[RUN_CANDIDATE].started.ready)
        return 0;
    rc = run_statements(r, err);
    if (rc == 0 && !r->v.not_measured)
        r->v.not_measured = "the change is about who comes in, not about how they are served: the clients "
                            "were tried, and no load was run";
    return rc;
}
