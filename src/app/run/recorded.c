/* The scenario "recorded": the target's own load, as the daemon has seen it. Read before anything is cloned. */
#include "run_internal.h"

#include <math.h>

#define LOOK_BACK_NS (35 * 24 * 3600 * TW_SEC_NS)
#define STEP_NS      (300 * TW_SEC_NS)

static int read_points(const struct run *r, struct tw_arena *a,
                       struct tw_store_points *ret, struct tw_err *err)
{
    const struct tw_target *t = &r->v.sim->target;
    struct tw_store *s = NULL;
    int64_t now = tw_wall_ns();
    int rc = tw_store_open(r->state_dir, &s, err);

    if (rc == 0)
        rc = tw_store_point_list(s, a, t->environment, t->name, "load_per_s",
                                 now - LOOK_BACK_NS, now + 1, STEP_NS, ret, err);
    if (s)
        tw_store_close(s);
    return rc;
}

int run_recorded(struct run *r, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_plan *p = &r->v.sim->plan;
    struct tw_store_points points = {0};
    struct tw_recorded_profile profile;
    TW_ARRAY(struct tw_recorded) list = {0};
    int rc;

    if (!tw_streq(p->scenario, TW_SCENARIO_RECORDED) || p->profile)
        return 0;
    rc = read_points(r, a, &points, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < points.list.count; i++)
        TW_PUSH(a, &list,
                (struct tw_recorded){points.list.items[i].at_wall_ns,
                                     points.list.items[i].value});
    rc = tw_profile_recorded(r->arena, list.items, list.count, tw_wall_ns(), p->hours,
                             &profile, err);
    if (rc < 0)
        return rc;
    r->load_csv = profile.csv;
    if (isnan(p->rate_per_s))
        p->rate_per_s = profile.peak_per_s;
    return 0;
}
