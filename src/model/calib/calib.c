#include "calib/calib_internal.h"

#include <math.h>

/* Requests simulated per discipline: a fit happens once per arm, a resampling many times.
 */
#define FIT_BUDGET      30000
#define RESAMPLE_BUDGET 5000

static int pool_of(const struct calib_set *set, const struct tw_calib_facts *facts)
{
    int most = 0;

    for (size_t i = 0; i < set->open.count; i++)
        most = set->open.items[i]->clients > most ? set->open.items[i]->clients : most;
    return facts->pool > 0 ? facts->pool : most;
}

static int fit(struct tw_arena *a, struct calib_set *set,
               const struct tw_calib_facts *facts, uint64_t seed, size_t budget,
               double capacity_factor, struct tw_model *ret_model, struct tw_err *err)
{
    struct tw_model *m = tw_arena_alloc(a, sizeof *m);
    int r;

    m->servers = facts->servers > 0 ? facts->servers : 1;
    m->pool = pool_of(set, facts);
    m->timeout_s = NAN;
    calib_levels_fill(a, set);
    calib_capacity(a, set, capacity_factor, m);
    r = calib_shape(set, m, err);
    if (r < 0)
        return r;
    calib_replay(a, set, seed, budget, m);
    calib_resources(a, set, facts->wal_pages, m);
    m->memory_base_bytes = facts->memory_base_bytes;
    m->memory_per_connection_bytes = facts->memory_per_connection_bytes;
    m->drift = calib_drift(a, set);
    for (size_t l = 0; l < set->level_count; l++)
        m->requests += set->level[l].requests;
    *ret_model = *m;
    return 0;
}

int tw_calib_fit(const struct tw_slot *slots, size_t n, enum tw_arm arm,
                 const struct tw_calib_facts *facts, uint64_t seed,
                 struct tw_model *ret_model, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct calib_set set;
    int r = calib_set_make(a, slots, n, arm, &set, err);

    if (r < 0)
        return r;
    return fit(a, &set, facts, seed, FIT_BUDGET, 1, ret_model, err);
}

/* Within each level slots are drawn with replacement; as both slots of a pair stand at
 * the same place, the same state of rng draws the same pairs for either arm. There is but
 * one saturated slot or few of them: its error is taken to be that of one slot's demand
 * against another's. */
int tw_calib_resample(const struct tw_slot *slots, size_t n, enum tw_arm arm,
                      const struct tw_calib_facts *facts, struct tw_rng *rng,
                      struct tw_model *ret_model, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct calib_set set;
    double noise, luck = tw_rng_normal(rng);
    uint64_t seed = tw_rng_u64(rng);
    int r = calib_set_make(a, slots, n, arm, &set, err);

    if (r < 0)
        return r;
    calib_levels_fill(a, &set);
    noise = set.closed.count > 0 && isfinite(set.noise)
                ? set.noise / sqrt((double)set.closed.count)
                : 0;
    calib_set_redraw(a, &set, rng);
    return fit(a, &set, facts, seed, RESAMPLE_BUDGET, exp(noise * luck), ret_model, err);
}
