/* Stages: sandboxes around the clones, the services started in them, the judgement on the
 * target's own files, which runs in a thread of its own while the arms boot. */
#include "run_internal.h"

#include "tw/fault.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START_NS (60 * TW_SEC_NS)

/* The last core is the generator's, all others are the twins': they take turns, so each
 * has the whole of them in its slots. While they boot all cores are everybody's. */
static void share_cores(struct run *r)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    double target = r->snapshot.cpus > 0 ? r->snapshot.cpus : (double)cores;

    r->all_cpus = r->twin_cpus = r->generator_cpus = NULL;
    r->cpus = 1;
    if (cores < 2)
        return;
    r->all_cpus = tw_arena_printf(r->arena, "0-%ld", cores - 1);
    r->twin_cpus = cores == 2 ? "0" : tw_arena_printf(r->arena, "0-%ld", cores - 2);
    r->generator_cpus = tw_arena_printf(r->arena, "%ld", cores - 1);
    r->cpus = fmin(target, (double)(cores - 1));
}

/* A quota only where the target has less than whole cores of ours: it stops a twin in the
 * middle of a slot, which whole cores do not. */
static double quota(const struct run *r)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return r->twin_cpus && r->cpus >= (double)(cores - 1) ? 0 : r->cpus;
}

static int64_t host_memory(void)
{
    return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
}

/* Faults of the process itself and names need the library inside; so do flushes that are to wait for no
 * disk of a busy host. The judge's place is left as the service's own. */
static bool is_preloaded(const struct run *r, enum run_role role)
{
    if (run_is_names(r))
        return true;
    return role != RUN_JUDGE &&
           (run_has_faults(r) || (r->kind->holds_data && !tw_streq(r->inside.backend, "docker")));
}

/* Each twin in a network of its own, so that all may have the same addresses: production's. */
static int open_twin(struct run *r, enum run_role role, struct tw_err *err)
{
    struct run_member *m = &r->members[role];
    enum tw_arm arm = role == RUN_BASELINE ? TW_BASELINE : TW_CANDIDATE;
    struct tw_twin_spec spec = {.id = r->id,
                                .name = run_role_names[role],
                                .arm = arm,
                                .kind = r->kind,
                                .snapshot = &r->snapshot,
                                .clone_root = m->clone ? tw_clone_root(m->clone) : NULL,
                                .plan = role == RUN_BASELINE ? NULL : &r->v.sim->plan,
                                .uid = r->uid,
                                .gid = r->gid,
                                .memory_bytes = run_scale_memory(r, arm, r->memory_bytes),
                                .cpus = run_scale_quota(r, arm, quota(r)),
                                .cpuset = r->all_cpus,
                                .address =
                                    tw_priv_is_root(r->priv) ? RUN_TWIN_ADDRESS : NULL,
                                .network = (int)role};

    run_twin_made_of(r, &spec);
    if (is_preloaded(r, role))
        tw_fault_preload(&spec.preload, &spec.preload_len);
    if (run_has_faults(r) && role != RUN_JUDGE)
        spec.listens_too = spec.address;
    return m->twin ? 0 : tw_twin_open(r->priv, &spec, &m->twin, err);
}

/* ---- all of them ---- */

struct opening {
    struct run *run;
    enum run_role role;
    struct tw_err err;
    int result;
};

static void *open_main(void *arg)
{
    struct opening *o = arg;

    if (run_needs(o->run, o->role))
        o->result = open_twin(o->run, o->role, &o->err);
    return NULL;
}

/* An Engine takes its time for each, and takes it for several at once. */
static int open_at_once(struct run *r, struct tw_err *err)
{
    struct opening all[RUN_ROLE_COUNT] = {0};
    pthread_t threads[RUN_ROLE_COUNT];
    int rc = 0;

    for (int role = 0; role < RUN_ROLE_COUNT; role++) {
        all[role].run = r;
        all[role].role = (enum run_role)role;
        if (pthread_create(&threads[role], NULL, open_main, &all[role]) != 0) {
            (void)open_main(&all[role]);
            threads[role] = pthread_self();
        }
    }
    for (int role = 0; role < RUN_ROLE_COUNT; role++) {
        if (!pthread_equal(threads[role], pthread_self()))
            (void)pthread_join(threads[role], NULL);
        if (rc == 0 && all[role].result < 0) {
            rc = all[role].result;
            if (err)
                *err = all[role].err;
        }
    }
    return rc;
}

static void note_missing(struct run *r)
{
    const char *const *texts;
    size_t n = tw_sandbox_missing(tw_twin_sandbox(r->members[RUN_BASELINE].twin), &texts);

    r->missing.count = 0;
    for (size_t i = 0; i < n; i++)
        TW_PUSH(r->arena, &r->missing, tw_arena_strdup(r->arena, texts[i]));
}

int run_sandbox(struct run *r, struct tw_err *err)
{
    int rc = 0;

    share_cores(r);
    run_scale_begin(r);
    r->memory_bytes = r->snapshot.memory_bytes;
    if (r->memory_bytes <= 0 || r->memory_bytes > host_memory())
        r->memory_bytes = host_memory();
    if (r->inside.is)
        rc = open_at_once(r, err);
    for (int role = 0; role < RUN_ROLE_COUNT && rc == 0; role++)
        if (run_needs(r, (enum run_role)role))
            rc = open_twin(r, (enum run_role)role, err);
    if (rc == 0)
        note_missing(r);
    if (rc == 0)
        run_warm_begin(r);
    r->v.sim->plan.twin_memory_bytes = run_scale_memory(r, TW_CANDIDATE, r->memory_bytes);
    r->v.sim->plan.twin_cpus = run_scale_cores(r, TW_CANDIDATE);
    return rc;
}

/* ---- the judge's thread ---- */

static void *judge_main(void *arg)
{
    struct run *r = arg;

    r->judge_result =
        tw_inject_judge(r->judge_arena, r->members[RUN_JUDGE].twin, &r->v.sim->plan,
                        r->standby ? &r->standby->judge : NULL, tw_now_ns() + 2 * START_NS, &r->v.judged, &r->judge_err);
    return NULL;
}

static int judge_begin(struct run *r, struct tw_err *err)
{
    int e;

    if (!r->judge_arena)
        r->judge_arena = tw_arena_new();
    e = pthread_create(&r->judge_thread, NULL, judge_main, r);
    if (e)
        return tw_fail_errno(err, e, "starting a thread");
    r->judge_running = true;
    return 0;
}

int run_judge_join(struct run *r, struct tw_err *err)
{
    if (r->judge_running) {
        (void)pthread_join(r->judge_thread, NULL);
        r->judge_running = false;
        /* What it found is of the simulation now, and lives as long. */
        tw_arena_adopt(r->v.sim->arena, tw_take_ptr(&r->judge_arena));
        r->v.judge_joined = true;
        /* It has said what it had to say: it goes at the end, and stands still until
         * then. */
        (void)tw_sandbox_freeze(tw_twin_sandbox(r->members[RUN_JUDGE].twin), true, NULL);
    }
    if (r->v.judge_joined && r->judge_result < 0 && err)
        *err = r->judge_err;
    return r->v.judge_joined ? r->judge_result : 0;
}

/* ---- starting the arms ---- */

/* Before there is a change: what every change of settings begins with. The page cache of all is filled
 * then, and all stand still until one comes. */
int run_standby_start(struct run *r, struct tw_standby *ret, struct tw_err *err)
{
    struct run_member *base = &r->members[RUN_BASELINE];
    int64_t deadline = tw_now_ns() + 2 * START_NS;
    int rc = tw_twin_start_begin(base->twin, TW_START_LOAD, err);

    if (rc == 0)
        rc = tw_inject_judge_begin(r->arena, r->members[RUN_JUDGE].twin, deadline, &ret->judge, err);
    if (rc == 0)
        rc = tw_twin_start_finish(base->twin, deadline, &base->started, err);
    if (rc == 0 && !(base->started.ready && ret->judge.started))
        rc = tw_fail(err, -EIO, "the unchanged service does not start in a twin on this host");
    if (rc == 0)
        run_warm_finish(r, ret->next);
    return rc == 0 ? run_standby_freeze(r, true, err) : rc;
}

int run_standby_freeze(struct run *r, bool frozen, struct tw_err *err)
{
    int rc = 0;

    for (int role = 0; role < RUN_ROLE_COUNT && rc == 0; role++)
        rc = tw_sandbox_freeze(tw_twin_sandbox(r->members[role].twin), frozen, err);
    return rc;
}

static const char *words_of(struct run *r, enum run_role role)
{
    struct run_member *m = &r->members[role];
    struct tw_issues said = {0};

    r->kind->judge_start(r->v.sim->arena, tw_twin_access(m->twin), m->started.log_from,
                         &r->v.sim->plan, false, m->started.wait_status, &said);
    return said.list.count ? said.list.items[0].evidence : "it says nothing";
}

static int finish(struct run *r, enum run_role role, struct tw_err *err)
{
    struct run_member *m = &r->members[role];

    if (m->started.ready)
        return 0;
    return tw_twin_start_finish(m->twin, tw_now_ns() + START_NS, &m->started, err);
}

/* What is made while the service runs has no files to be judged: the third twin is one more to try
 * it on. */
static int begin_third(struct run *r, struct tw_err *err)
{
    if (!run_is_live(r) && !run_is_scaling(r))
        return judge_begin(r, err);
    r->v.judged = (struct tw_judged){.baseline_started = true,
                                     .reloaded = true,
                                     .restarted = true,
                                     .start_s = NAN,
                                     .stop_s = NAN,
                                     .restart_s = NAN};
    run_names_begin(r, RUN_JUDGE);
    return run_needs(r, RUN_JUDGE)
               ? tw_twin_start_begin(r->members[RUN_JUDGE].twin, TW_START_LOAD, err)
               : 0;
}

int run_start(struct run *r, struct tw_err *err)
{
    struct run_member *base = &r->members[RUN_BASELINE],
                      *cand = &r->members[RUN_CANDIDATE];
    int rc = begin_third(r, err);

    if (rc == 0 && !run_is_live(r))
        rc = tw_inject(r->v.sim->arena, cand->twin, &r->v.sim->plan, &r->v.issues, err);
    if (rc == 0 && !base->started.ready)
        rc = tw_twin_start_begin(base->twin, TW_START_LOAD, err);
    if (rc == 0)
        rc = tw_twin_start_begin(cand->twin, TW_START_LOAD, err);
    if (rc == 0)
        rc = finish(r, RUN_BASELINE, err);
    if (rc == 0)
        rc = finish(r, RUN_CANDIDATE, err);
    if (rc == 0 && run_is_live(r) && run_needs(r, RUN_JUDGE))
        rc = finish(r, RUN_JUDGE, err);
    if (rc < 0)
        return rc;
    if (!base->started.ready)
        return tw_fail(err, -EIO,
                       "the unchanged service does not start in a twin on this host: %s",
                       words_of(r, RUN_BASELINE));
    if (run_is_scaling(r))
        run_scale_judge(r);
    if (!cand->started.ready)
        r->v.not_measured = "the service does not start with the change";
    if (r->kind->complete)
        rc = r->kind->complete(r->arena, tw_twin_access(base->twin), &r->snapshot, err);
    return rc < 0 ? rc : run_clients_begin(r, err);
}

/* ---- what the judge found ---- */

int run_judge(struct run *r, struct tw_err *err)
{
    int rc = run_judge_join(r, err);

    if (rc < 0)
        return rc;
    if (!r->v.judged.baseline_started)
        return tw_fail(
            err, -EIO, "the unchanged service does not start in a twin on this host: %s",
            r->v.judged.issues.list.count ? r->v.judged.issues.list.items[0].evidence
                                          : "it says nothing");
    run_add_issues(r, &r->v.judged.issues);
    if (!r->members[RUN_CANDIDATE].started.ready && r->v.judged.restarted && !run_is_scaling(r))
        return tw_fail(
            err, -EIO,
            "the service starts with the change on its own files, but not with the "
            "entrance for the load: %s",
            words_of(r, RUN_CANDIDATE));
    if (!r->v.judged.restarted && !r->v.not_measured)
        r->v.not_measured = RUN_NO_RESTART;
    return 0;
}

/* ---- the end of a variant ---- */

static void close_member(struct run *r, enum run_role role)
{
    struct run_member *m = &r->members[role];

    tw_twin_close(m->twin);
    if (m->clone)
        (void)tw_pool_clone_remove(m->clone, NULL);
    *m = (struct run_member){0};
    r->warm[role] = (struct run_warm){0};
}

int run_renew(struct run *r, enum run_role role, struct tw_err *err)
{
    int rc;

    close_member(r, role);
    rc = run_clone(r, err);
    if (rc == 0)
        rc = open_twin(r, role, err);
    if (rc == 0)
        rc = tw_twin_start_begin(r->members[role].twin, TW_START_LOAD, err);
    if (rc == 0)
        rc = finish(r, role, err);
    if (rc == 0 && !r->members[role].started.ready)
        rc = tw_fail(err, -EIO, "a further clone does not start: %s", words_of(r, role));
    return rc;
}

void run_variant_done(struct run *r)
{
    run_measuring_end(r);
    run_clear_end(r);
    run_scale_done(r);
    run_peers_done(r);
    run_warm_end(r, false);
    (void)run_judge_join(r, NULL);
    run_clients_end(r);
    tw_load_close(r->v.load);
    r->v.load = NULL;
    run_network_done(r);
    tw_sandbox_close(r->v.client);
    r->v.client = NULL;
    tw_trial_result_done(&r->v.trial);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        free(r->v.resampled[arm]);
        r->v.resampled[arm] = NULL;
    }
    close_member(r, RUN_CANDIDATE);
    close_member(r, RUN_JUDGE);
}
