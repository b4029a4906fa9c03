/* Stages: the model learned from the slots, the horizon simulated with it, what runs out
 * when. */
#include "run_internal.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PEAK_OF_CAPACITY 0.6 /* where nobody says the rate */
#define PROFILE_MAX      ((size_t)1 << 20)

static int connections_of(const struct run *r)
{
    int most = 1;

    for (size_t i = 0; i < r->v.trial.slots.count; i++)
        if (r->v.trial.slots.items[i].clients > most)
            most = r->v.trial.slots.items[i].clients;
    return most;
}

static double table_bytes(const struct tw_snapshot *s)
{
    double bytes = 0;

    for (size_t i = 0; i < s->tables.count; i++)
        bytes += (double)(s->tables.items[i].bytes + s->tables.items[i].index_bytes);
    return bytes > 0 ? bytes : (double)s->data_bytes;
}

/* Shared memory is taken as it is touched: over a day all of it, or as much as there is
 * data. B (1 - exp(-n/B)) pages after n reads of B, n far above B. */
static double memory_base(const struct run *r, int arm)
{
    double shared = r->v.limits[arm].shared_memory_bytes;
    double own = r->v.trial.memory_base_bytes[arm];

    return isnan(shared) ? own : own + fmin(shared, table_bytes(&r->snapshot));
}

static struct tw_calib_facts facts_of(const struct run *r, int arm)
{
    const struct tw_service_limits *l = &r->v.limits[arm];
    double cores = run_scale_cores(r, (enum tw_arm)arm);

    return (struct tw_calib_facts){.servers = cores >= 1 ? (int)cores : 1,
                                   .pool = connections_of(r),
                                   .checkpoint_s = l->checkpoint_s,
                                   .wal_pages = l->written_pages,
                                   .memory_base_bytes = memory_base(r, arm),
                                   .memory_per_connection_bytes =
                                       r->v.trial.memory_per_connection_bytes[arm]};
}

/* Models drawn again from the slots, for the intervals of what follows from them. */
static void resample(struct run *r, int arm, const struct tw_calib_facts *facts)
{
    struct tw_model *models = tw_alloc(RUN_RESAMPLES * sizeof(*models));
    struct tw_rng rng;
    int n = 0;

    tw_rng_seed(&rng, r->v.sim->plan.seed, 100 + (uint64_t)arm);
    for (int i = 0; i < RUN_RESAMPLES; i++)
        n += tw_calib_resample(r->v.trial.slots.items, r->v.trial.slots.count,
                               (enum tw_arm)arm, facts, &rng, &models[n], NULL) == 0;
    r->v.resampled[arm] = models;
    r->v.resampled_count[arm] = n;
}

/* Too little to learn from is an answer: nothing is predicted then. */
static int learn(struct run *r, enum tw_arm arm, struct tw_arena *a, struct tw_err *err)
{
    struct tw_calib_facts facts = facts_of(r, (int)arm);
    struct tw_err why = {0};

    (void)a;
    (void)err;
    r->v.has_model[arm] =
        tw_calib_fit(r->v.trial.slots.items, r->v.trial.slots.count, arm, &facts,
                     r->v.sim->plan.seed, &r->v.model[arm], &why) == 0;
    if (r->v.has_model[arm])
        resample(r, (int)arm, &facts);
    if (r->v.has_model[arm])
        run_scale_calibrate(r, arm);
    else
        tw_log(TW_LOG_DEBUG, "no model of the %s: %s", tw_arm_names[arm], why.text);
    return 0;
}

int run_calibrate(struct run *r, struct tw_err *err)
{
    return r->v.measured ? run_each_arm(r, learn, err) : 0;
}

/* ---- the rate ---- */

static double mean_of(const struct tw_profile *p)
{
    double sum = 0, hours = 0;

    for (size_t i = 0; i < p->bins.count; i++) {
        sum += p->bins.items[i].rate_per_s * p->bins.items[i].hours;
        hours += p->bins.items[i].hours;
    }
    return hours > 0 ? sum / hours : NAN;
}

/* The user's word, else the target's own statistics (a mean: the shape's peak follows),
 * else a share of what the baseline was measured to carry. */
static int choose_peak(struct run *r, const char *csv, struct tw_err *err)
{
    const struct tw_plan *p = &r->v.sim->plan;
    struct tw_profile shape;
    int rc;

    r->v.peak_assumed = false;
    r->v.peak_per_s = p->rate_per_s;
    if (!isnan(r->v.peak_per_s))
        return 0;
    if (!isnan(r->snapshot.rate_per_s)) {
        rc = tw_profile_make(r->v.sim->arena, p->scenario, 1, p->hours, csv, &shape, err);
        r->v.peak_per_s = r->snapshot.rate_per_s / (rc == 0 ? mean_of(&shape) : 1);
        return rc;
    }
    r->v.peak_assumed = true;
    r->v.peak_per_s = PEAK_OF_CAPACITY * r->v.model[TW_BASELINE].capacity_per_s *
                      run_scale_effective(r, TW_BASELINE);
    return 0;
}

static int read_profile(struct run *r, const char **ret_csv, struct tw_err *err)
{
    const char *path = r->v.sim->plan.profile;
    tw_auto_free char *text = NULL;
    int rc;

    *ret_csv = path ? NULL : r->load_csv;
    if (!path)
        return 0;
    rc = tw_read_file(AT_FDCWD, path, PROFILE_MAX, &text, NULL, err);
    if (rc < 0)
        return tw_wrap(err, rc, "the profile of the load");
    *ret_csv = tw_arena_strdup(r->v.sim->arena, text);
    return 0;
}

int run_check_profile(struct run *r, struct tw_err *err)
{
    const struct tw_plan *p = &r->v.sim->plan;
    struct tw_profile unused;
    const char *csv;
    int rc;

    if (!p->profile)
        return 0;
    rc = read_profile(r, &csv, err);
    return rc < 0 ? rc
                  : tw_profile_make(r->v.sim->arena, p->scenario, 1, p->hours, csv,
                                    &unused, err);
}

/* ---- the horizon ---- */

static int simulate(struct run *r, enum tw_arm arm, struct tw_arena *a,
                    struct tw_err *err)
{
    struct tw_simulation *sim = r->v.sim;
    struct tw_predict_spec spec = {.model = &r->v.model[arm],
                                   .resampled = r->v.resampled[arm],
                                   .resampled_count = r->v.resampled_count[arm],
                                   .profile = run_scale_profile(r, a, arm),
                                   .engine = sim->plan.engine,
                                   .seed = sim->plan.seed,
                                   .checkpoint_s = r->v.limits[arm].checkpoint_s,
                                   .max_wal_bytes = r->v.limits[arm].max_wal_bytes};
    struct tw_forecast *f = &sim->impact.forecast[arm];
    double begun = run_thread_cpu_s();
    int rc;

    if (!r->v.has_model[arm])
        return 0;
    rc = tw_predict_horizon(a, &spec, f, err);
    if (rc == -ENODATA) /* the model is too thin: said by the absence of a forecast */
        return 0;
    if (rc < 0)
        return rc;
    run_scale_forecast(r, arm, f);
    f->engine_seconds = run_thread_cpu_s() - begun;
    f->acceleration = sim->plan.hours * 3600 / f->engine_seconds;
    r->v.has_forecast[arm] = true;
    return 0;
}

int run_predict(struct run *r, struct tw_err *err)
{
    struct tw_simulation *sim = r->v.sim;
    const char *csv;
    int rc;

    if (!r->v.has_model[TW_BASELINE])
        return 0;
    rc = read_profile(r, &csv, err);
    if (rc == 0)
        rc = choose_peak(r, csv, err);
    if (rc == 0)
        rc = tw_profile_make(sim->arena, sim->plan.scenario, r->v.peak_per_s,
                             sim->plan.hours, csv, &r->v.profile, err);
    return rc < 0 ? rc : run_each_arm(r, simulate, err);
}
