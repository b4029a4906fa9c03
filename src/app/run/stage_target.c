/* Stages: the target found, its snapshot taken, the plan made. */
#include "run_internal.h"

#include "tw/fault.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

/* A file or settings for a rule set, said without a type, are a change of rules. */
static void take_type(struct run *r)
{
    for (size_t i = 0; i < r->sim_count && tw_streq(r->target.type, "firewall"); i++)
        if (tw_streq(r->sims[i]->request.type, "config_change"))
            r->sims[i]->request.type = "security";
}

int run_target(struct run *r, struct tw_err *err)
{
    const struct tw_request *q = &r->sims[0]->request;
    int rc = tw_env_load(r->arena, r->state_dir, &r->targets, err);

    if (rc == 0)
        rc = tw_env_find(&r->targets, q->environment, q->target, &r->target, err);
    if (rc == 0)
        rc = tw_policy_load(r->arena, r->options->policy_path, &r->policy, err);
    if (rc < 0)
        return rc;
    r->kind = tw_service_kind_find(r->target.type, NULL);
    /* Whatever a container runs, another image of it is started as the Engine would. */
    if (!r->kind && tw_streq(r->target.type, "docker") && !run_is_deployment(r)) {
        rc = run_enter(r, err);
        if (rc < 0)
            return rc;
        r->kind = tw_service_kind_find(r->target.type, NULL);
    }
    if (!r->kind && !tw_streq(r->target.type, "docker"))
        return tw_fail(err, -EOPNOTSUPP, "target '%s' is of the unknown type '%s'", r->target.name,
                       r->target.type);
    if (r->kind && !r->inside.is && r->options->backend && !tw_streq(r->options->backend, "native"))
        return tw_fail(err, -EINVAL,
                       "--backend %s: target '%s' serves in no container, and so has no image to make its "
                       "twins of",
                       r->options->backend, r->target.name);
    take_type(r);
    q = &r->sims[0]->request;
    tw_policy_narrow(&r->policy, r->target.tier, q->type, q->risk_level);
    if (r->options->data)
        r->target.data = (enum tw_data_mode)tw_name_index(
            r->options->data, tw_data_mode_names, TW_DATA_COUNT);
    return r->kind && r->kind->holds_data ? tw_env_check_clone(&r->target, err) : 0;
}

struct looking {
    struct run *run;
    struct tw_err *err;
};

static int look(void *arg)
{
    struct looking *l = arg;

    return tw_env_snapshot(l->run->arena, &l->run->target, &l->run->snapshot, l->err);
}

int run_snapshot(struct run *r, struct tw_err *err)
{
    struct looking l = {r, err};
    int rc = run_at_target(r, look, &l, err);

    /* in its own image, as its own user; elsewhere by what this host has */
    if (rc == 0 && r->inside.is && tw_streq(r->inside.backend, "docker")) {
        if (!r->inside.way.by_files || !r->snapshot.program)
            r->snapshot.program = r->inside.way.program;
        r->snapshot.owner_uid = r->inside.way.uid;
        r->snapshot.owner_gid = r->inside.way.gid;
    }
    return rc;
}

static int make_plan(void *arg)
{
    struct looking *l = arg;
    struct tw_simulation *sim = l->run->v.sim;

    int rc = tw_fault_check(&sim->request.faults, l->err);

    if (rc < 0)
        return rc;
    return tw_change_plan(sim->arena, &l->run->snapshot, &sim->request, &sim->plan,
                          &sim->impact.issues, l->err);
}

int run_plan(struct run *r, struct tw_err *err)
{
    struct tw_simulation *sim = r->v.sim;
    struct looking l = {r, err};
    int rc;

    sim->target = r->inside.is ? r->inside.declared : r->target;
    sim->snapshot = r->snapshot;
    if (!sim->request.environment)
        sim->request.environment = r->target.environment;
    if (sim->request.seed == 0)
        sim->request.seed = (uint64_t)tw_wall_ns() * UINT64_C(0x9E3779B97F4A7C15) | 1;
    /* A request may have been read before its target was known: its scenario and profile
     * are checked here, before anything is cloned. */
    rc = run_at_target(r, make_plan, &l, err);
    if (rc == 0)
        rc = run_check_profile(r, err);
    for (size_t i = 0; i < sim->plan.mixes.count && rc == 0; i++)
        rc = tw_load_mix_there(sim->arena, sim->plan.mixes.items[i], err);
    if (rc < 0)
        return rc;
    if (isnan(sim->plan.budget_s))
        sim->plan.budget_s = r->policy.budget_s;
    if (isnan(sim->plan.most_s)) /* a budget that somebody gives is meant */
        sim->plan.most_s = fmax(r->policy.budget_s, r->policy.most_s);
    if (r->policy.min_pairs > 0)
        sim->plan.min_pairs = r->policy.min_pairs;
    if (r->policy.min_requests > 0)
        sim->plan.min_requests = r->policy.min_requests;
    return run_recorded(r, err);
}
