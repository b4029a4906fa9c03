/* Twins that stand ready before there is a change: the unchanged service cloned three times, started where
 * every change of settings begins with that, its files in the page cache, all of it frozen. What it is worth
 * is the time; so whatever is not exactly what a run would make for itself now is made anew. */
#include "run_internal.h"

#include <string.h>

int run_standby_make(struct run *r, struct tw_standby *ret, struct tw_err *err)
{
    int rc;

    if (!r->kind || !r->kind->holds_data || r->inside.is || r->snapshot.neighbours.count)
        return tw_fail(err, -EOPNOTSUPP, "the twins of '%s' are made for each change",
                       r->target.name);
    rc = run_clone(r, err);
    if (rc == 0)
        rc = run_sandbox(r, err);
    if (rc == 0)
        rc = run_standby_start(r, ret, err);
    if (rc == 0) {
        ret->target = tw_target_to_json(&r->target);
        ret->snapshot = tw_snapshot_to_json(&r->snapshot);
    }
    return rc;
}

/* Of the request: what wants other twins than those of a plain change of settings. */
static bool is_plain(const struct run *r)
{
    const struct tw_request *q = &r->v.sim->request;

    return tw_streq(q->type, "config_change") && !q->files.count && !q->sql.count &&
           !q->keep && !q->refresh_data && !run_has_faults(r) && !run_is_scaling(r) &&
           !run_is_path(r) && !r->snapshot.neighbours.count;
}

static bool is_same_target(struct run *r, const struct tw_standby *s)
{
    json_auto_t *target = tw_target_to_json(&r->target);
    json_auto_t *snapshot = tw_snapshot_to_json(&r->snapshot);
    json_auto_t *drift = tw_env_drift(s->snapshot, snapshot);

    return json_equal(target, s->target) && json_array_size(drift) == 0;
}

bool run_standby_fits(struct run *r, const struct tw_standby *s)
{
    return is_plain(r) && is_same_target(r, s) && run_seed_holds(r) &&
           tw_twin_running(r->members[RUN_BASELINE].twin) &&
           tw_twin_serves(r->members[RUN_CANDIDATE].twin, &r->v.sim->plan);
}

int run_standby_take(struct run *r, const struct tw_standby *s, struct tw_err *err)
{
    int rc = run_standby_freeze(r, false, err);

    if (rc == 0)
        rc = run_clone_again(r, RUN_CANDIDATE, err);
    if (rc == 0)
        rc = run_clone_again(r, RUN_JUDGE, err);
    r->standby = s;
    return rc;
}

void run_standby_done(struct tw_standby *s)
{
    json_decref(s->target);
    json_decref(s->snapshot);
    memset(s, 0, sizeof(*s));
}
