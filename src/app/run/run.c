/* The sequence from change to decision. */
#include "run_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *const run_role_names[RUN_ROLE_COUNT] = {"baseline", "candidate", "judge"};

struct stage {
    const char *name;
    int (*run)(struct run *r, struct tw_err *err);
    double
        done; /* how far the whole is when it begins, for a line of progress: the trial is most of it */
    enum {
        ALWAYS,
        INPUT,     /* its errors may be the user's: bad input, nothing was cloned */
        MEASURING, /* left out where there is nothing to measure */
    } kind;
};

/* Once for a command, however many variants it has … */
static const struct stage opening[] = {
    {"target", run_target, 0, INPUT},
    {"snapshot", run_snapshot, 0.01, INPUT},
};
/* … for each variant, all of them before anything is cloned … */
static const struct stage planning[] = {
    {"plan", run_plan, 0.02, INPUT},
};
/* … once again … */
static const struct stage taking[] = {
    {"pool", run_pool, 0.03, ALWAYS},
    {"seed", run_seed, 0.05, ALWAYS},
};
/* … and for each variant. */
static const struct stage trying[] = {
    {"clone", run_clone, 0.08, ALWAYS},
    {"sandbox", run_sandbox, 0.09, ALWAYS},
    {"peers", run_peers, 0.09, ALWAYS},
    {"start", run_start, 0.1, ALWAYS},
    {"ports", run_ports, 0.11, ALWAYS},
    {"instances", run_scale_instances, 0.12, MEASURING},
    {"fronts", run_fronts, 0.13, MEASURING},
    {"standing", run_standing, 0.14, ALWAYS},
    {"access", run_access, 0.14, ALWAYS},
    {"mix", run_mix, 0.15, MEASURING},
    {"schema", run_schema, 0.16, ALWAYS},
    {"path", run_network, 0.17, ALWAYS},
    {"clients", run_clients, 0.17, ALWAYS},
    {"scan", run_scan, 0.17, ALWAYS},
    {"plans", run_plans, 0.18, MEASURING},
    {"trial", run_trial, 0.25, MEASURING},
    {"faults", run_faults, 0.85, MEASURING},
    {"judge", run_judge, 0.88, ALWAYS},
    {"calibrate", run_calibrate, 0.9, MEASURING},
    {"predict", run_predict, 0.93, MEASURING},
    {"scale", run_scale_answer, 0.95, MEASURING},
    {"laws", run_laws, 0.96, ALWAYS},
    {"impact", run_impact, 0.97, ALWAYS},
    {"decide", run_decide, 0.99, ALWAYS},
};

/* For rules of a packet filter there is no service to clone or to load. */
static const struct stage ruling[] = {
    {"rules", run_rules, 0.1, ALWAYS},     {"flows", run_flows, 0.4, ALWAYS},
    {"packets", run_packets, 0.7, ALWAYS}, {"impact", run_impact, 0.97, ALWAYS},
    {"decide", run_decide, 0.99, ALWAYS},
};

/* A deployment is no setting of one service: the container as a whole, twice as it is and once as it would
 * be. */
static const struct stage deploying[] = {
    {"deploy", run_deploy, 0.1, ALWAYS},
    {"impact", run_impact, 0.97, ALWAYS},
    {"decide", run_decide, 0.99, ALWAYS},
};

/* The first that fits is how a variant is tried. */
static const struct course {
    bool (*fits)(const struct run *r); /* NULL: any */
    const struct stage *stages;
    size_t count;
    bool takes; /* of the target's data, before it */
} courses[] = {
    {run_is_rules, ruling, TW_COUNT_OF(ruling), false},
    {run_is_deployment, deploying, TW_COUNT_OF(deploying), false},
    {NULL, trying, TW_COUNT_OF(trying), true},
};

static const struct course *course_of(const struct run *r)
{
    const struct course *c = courses;

    while (c->fits && !c->fits(r))
        c++;
    return c;
}

/* ---- small helpers of the stages ---- */

const char *tw_state_dir_default(struct tw_arena *a)
{
    const char *own = getenv("TWIN_STATE_DIR");
    const char *xdg = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");

    if (own && *own)
        return tw_arena_strdup(a, own);
    if (geteuid() == 0)
        return "/var/lib/twin";
    if (xdg && *xdg)
        return tw_arena_printf(a, "%s/twin", xdg);
    return tw_arena_printf(a, "%s/.local/state/twin", home && *home ? home : "/tmp");
}

double run_thread_cpu_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void run_stage_time(struct run *r, const char *name, double seconds)
{
    struct tw_simulation *sim = r->sims[r->current];
    struct tw_stage_time t = {name, seconds};

    TW_PUSH(sim->arena, &sim->measured.stages, t);
}

void run_add_issues(struct run *r, const struct tw_issues *from)
{
    for (size_t i = 0; i < from->list.count; i++)
        TW_PUSH(r->v.sim->arena, &r->v.issues.list, from->list.items[i]);
}

struct run_source run_main_source(struct run *r)
{
    return (struct run_source){.target = r->target,
                               .kind = r->kind,
                               .snapshot = &r->snapshot,
                               .seed = r->seed,
                               .uid = r->uid,
                               .gid = r->gid};
}

struct tw_twin *run_twin_of(const struct run *r, enum tw_arm arm)
{
    return r->members[arm == TW_BASELINE ? RUN_BASELINE : RUN_CANDIDATE].twin;
}

bool run_can_measure(const struct run *r)
{
    return r->members[RUN_CANDIDATE].started.ready && !r->v.not_measured;
}

void run_tell(struct run *r, const struct tw_trial_progress *p)
{
    double elapsed = tw_seconds(tw_now_ns() - r->begun_ns);
    struct tw_run_event e = {.id = r->sims[r->current]->id,
                             .stage = r->stage,
                             .done = r->stage_done,
                             .elapsed_s = elapsed,
                             .left_s = NAN};

    if (!r->options->event)
        return;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        e.p50_ms[arm] = p ? p->p50_ms[arm] : NAN;
        e.p95_ms[arm] = p ? p->p95_ms[arm] : NAN;
        e.throughput_per_s[arm] = p ? p->throughput_per_s[arm] : NAN;
    }
    if (p) {
        e.pairs = p->pairs;
        e.confidence = p->confidence;
        e.left_s = fmax(0, p->budget_s - p->elapsed_s);
        e.done += (0.9 - e.done) * fmin(1, p->elapsed_s / p->budget_s);
    }
    r->options->event(r->options->arg, &e);
}

/* ---- both arms at once ---- */

struct arm_thread {
    struct run *run;
    run_arm_fn *fn;
    enum tw_arm arm;
    struct tw_arena *arena;
    struct tw_err err;
    int result;
};

static void *arm_main(void *arg)
{
    struct arm_thread *t = arg;

    t->result = t->fn(t->run, t->arm, t->arena, &t->err);
    return NULL;
}

int run_each_arm(struct run *r, run_arm_fn *fn, struct tw_err *err)
{
    struct arm_thread arms[TW_ARM_COUNT] = {0};
    pthread_t thread;
    bool beside;
    int rc = 0;

    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        arms[arm] = (struct arm_thread){
            .run = r, .fn = fn, .arm = (enum tw_arm)arm, .arena = tw_arena_new()};
    beside = pthread_create(&thread, NULL, arm_main, &arms[TW_CANDIDATE]) == 0;
    (void)arm_main(&arms[TW_BASELINE]);
    if (beside)
        (void)pthread_join(thread, NULL);
    else
        (void)arm_main(&arms[TW_CANDIDATE]);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        tw_arena_adopt(r->v.sim->arena, arms[arm].arena);
        if (rc < 0 || arms[arm].result == 0)
            continue;
        rc = arms[arm].result;
        if (err)
            *err = arms[arm].err;
    }
    return rc;
}

/* ---- stages one by one ---- */

static bool is_cancelled(const struct run *r)
{
    return r->options->cancel && *r->options->cancel;
}

static int run_stage(struct run *r, const struct stage *s, struct tw_err *err)
{
    int64_t begun = tw_now_ns();
    tw_auto_free char *begin = tw_strf("run.%s.begun", s->name);
    tw_auto_free char *end = tw_strf("run.%s.done", s->name);
    int rc;

    if (is_cancelled(r))
        return tw_fail(err, -ECANCELED, "cancelled before stage '%s'", s->name);
    r->stage = s->name;
    r->stage_done = s->done;
    tw_step(begin);
    run_tell(r, NULL);
    rc = s->run(r, err);
    run_stage_time(r, s->name, tw_seconds(tw_now_ns() - begun));
    if (rc == 0)
        tw_step(end);
    return rc;
}

static bool is_bad_input(int rc)
{
    static const int codes[] = {-EINVAL, -ENOENT, -ENOTUNIQ, -ERANGE, -EEXIST};

    for (size_t i = 0; i < TW_COUNT_OF(codes); i++)
        if (rc == codes[i])
            return true;
    return false;
}

/* ret_input: the error is the user's. */
static int run_stages(struct run *r, const struct stage *stages, size_t n,
                      bool *ret_input, struct tw_err *err)
{
    for (size_t i = 0; i < n; i++) {
        int rc;

        if (stages[i].kind == MEASURING && !run_can_measure(r))
            continue;
        rc = run_stage(r, &stages[i], err);
        if (rc < 0) {
            *ret_input = stages[i].kind == INPUT && is_bad_input(rc);
            return rc;
        }
    }
    return 0;
}

/* ---- one variant ---- */

static void begin_sim(struct tw_simulation *sim)
{
    sim->status = TW_RUNNING;
    if (!sim->created_wall_ns)
        sim->created_wall_ns = tw_wall_ns();
    sim->started_wall_ns = tw_wall_ns();
}

static void fail_sim(struct tw_simulation *sim, int rc, const struct tw_err *err)
{
    sim->status = rc == -ECANCELED ? TW_CANCELLED : TW_FAILED;
    sim->problem = *err;
    sim->problem.code = rc;
    sim->error = tw_arena_strdup(sim->arena, err->text);
}

static void end_sim(struct run *r, struct tw_simulation *sim, int64_t begun_ns)
{
    struct tw_store *store = NULL;
    struct tw_err why;

    sim->ended_wall_ns = tw_wall_ns();
    sim->elapsed_s = tw_seconds(tw_now_ns() - begun_ns);
    if (r->options->dry_run || r->options->no_history)
        return;
    if (tw_store_open(r->state_dir, &store, &why) < 0 ||
        tw_store_put(store, sim, &why) < 0)
        tw_log(TW_LOG_WARNING, "the simulation could not be kept in the history: %s",
               why.text);
    tw_store_close(store);
}

static void begin_variant(struct run *r, size_t i)
{
    r->current = i;
    r->v = (struct run_variant){.sim = r->sims[i], .peak_per_s = NAN};
    begin_sim(r->sims[i]);
}

/* How somebody else's psql reaches the twins: through this process's own descriptors. */
static void hold(struct run *r)
{
    static const enum run_role roles[] = {RUN_BASELINE, RUN_CANDIDATE};
    struct tw_arena *a = r->v.sim->arena;
    tw_auto_buf where = {0};

    tw_buf_init(&where, 16384);
    for (size_t i = 0; i < TW_COUNT_OF(roles); i++) {
        struct run_member *m = &r->members[roles[i]];
        const char *dir;

        if (!m->started.ready || !r->kind->conninfo)
            continue;
        (void)tw_sandbox_freeze(tw_twin_sandbox(m->twin), false, NULL);
        dir = tw_arena_printf(a, "/proc/%d/%s", (int)getpid(),
                              tw_twin_access(m->twin)->entrance + strlen("/proc/self/"));
        tw_buf_printf(&where, "%-10s psql \"%s dbname=postgres\"\n",
                      run_role_names[roles[i]], tw_twin_conninfo_at(m->twin, a, dir));
    }
    r->options->kept(r->options->arg, tw_buf_text(&where));
}

static void try_variant(struct run *r, size_t i)
{
    int64_t begun = i == 0 ? r->begun_ns : tw_now_ns();
    struct tw_err err = {0};
    bool unused;
    struct tw_issues planned = r->sims[i]->impact.issues;
    const struct course *course;
    int rc;

    begin_variant(r, i);
    run_add_issues(r, &planned);
    course = course_of(r);
    rc = run_stages(r, course->stages, course->count, &unused, &err);
    run_rules_done(r);
    if (rc < 0)
        fail_sim(r->sims[i], rc, &err);
    else
        r->sims[i]->status = TW_SUCCESS;
    if (rc == 0 && r->sims[i]->request.keep && r->options->kept)
        hold(r);
    run_variant_done(r);
    end_sim(r, r->sims[i], begun);
}

/* ---- the whole ---- */

static void close_run(struct run *r)
{
    int64_t begun = tw_now_ns();

    run_variant_done(r);
    tw_twin_close(r->members[RUN_BASELINE].twin);
    if (r->members[RUN_BASELINE].clone)
        (void)tw_pool_clone_remove(r->members[RUN_BASELINE].clone, NULL);
    tw_seed_free(r->seed);
    run_inside_done(r);
    for (size_t i = 0; i < r->peer_count; i++)
        tw_seed_free(r->peers[i].of.seed);
    tw_pool_close(r->pool);
    tw_priv_close(r->priv);
    tw_arena_free(r->judge_arena);
    tw_log(TW_LOG_DEBUG, "torn down in %.3f s", tw_seconds(tw_now_ns() - begun));
}

static int prepare(struct run *r, bool *ret_input, struct tw_err *err)
{
    int rc = run_stages(r, opening, TW_COUNT_OF(opening), ret_input, err);

    for (size_t i = 0; i < r->sim_count && rc == 0; i++) {
        begin_variant(r, i);
        rc = run_stages(r, planning, TW_COUNT_OF(planning), ret_input, err);
    }
    r->current = 0;
    if (rc == 0 && !r->options->dry_run && course_of(r)->takes)
        rc = run_stages(r, taking, TW_COUNT_OF(taking), ret_input, err);
    return rc;
}

int tw_run_sweep(const struct tw_run_options *options, struct tw_simulation **sims,
                 size_t n, struct tw_err *err)
{
    struct run r = {.options = options,
                    .sims = sims,
                    .sim_count = n,
                    .arena = sims[0]->arena,
                    .begun_ns = tw_now_ns()};
    struct tw_err why = {0};
    bool input = false;
    int rc;

    memcpy(r.id, sims[0]->id, sizeof(r.id));
    r.state_dir = options->state_dir ? options->state_dir : tw_state_dir_default(r.arena);
    begin_variant(&r, 0);
    rc = prepare(&r, &input, &why);
    if (rc < 0) {
        for (size_t i = 0; i < n; i++) {
            fail_sim(sims[i], rc, &why);
            if (!input)
                end_sim(&r, sims[i], r.begun_ns);
        }
        if (err)
            *err = why;
    }
    for (size_t i = 0; i < n && rc == 0 && !options->dry_run; i++)
        try_variant(&r, i);
    close_run(&r);
    return input ? rc : 0;
}

int tw_run_sync(const struct tw_run_options *options, struct tw_simulation *sim,
                struct tw_err *err)
{
    struct run r = {.options = options,
                    .sims = &sim,
                    .sim_count = 1,
                    .arena = sim->arena,
                    .begun_ns = tw_now_ns()};
    bool input;
    int rc;

    memcpy(r.id, sim->id, sizeof(r.id));
    r.state_dir = options->state_dir ? options->state_dir : tw_state_dir_default(r.arena);
    begin_variant(&r, 0);
    rc = run_stages(&r, opening, TW_COUNT_OF(opening), &input, err);
    if (rc == 0 && r.kind->seed_fill)
        rc = run_stages(&r, taking, TW_COUNT_OF(taking), &input, err);
    sim->target = r.target;
    sim->snapshot = r.snapshot;
    sim->elapsed_s = tw_seconds(tw_now_ns() - r.begun_ns);
    close_run(&r);
    return rc;
}

int tw_run(const struct tw_run_options *options, struct tw_simulation *sim,
           struct tw_err *err)
{
    return tw_run_sweep(options, &sim, 1, err);
}

/* ---- what is ready before the change is known ---- */

static int make_standby(struct run *r, struct tw_standby *ret, struct tw_err *err)
{
    bool input;
    int rc = run_stages(r, opening, TW_COUNT_OF(opening), &input, err);

    if (rc == 0)
        rc = run_stages(r, taking, TW_COUNT_OF(taking), &input, err);
    r->differences.list.count = 0; /* of pool and seed: told when they are used */
    return rc == 0 ? run_standby_make(r, ret, err) : rc;
}

/* The sequence of any run up to its plan; then it is known whether what stands ready is what would be made
 * now. false: nothing of it is used, and sim is as it came. */
static bool take_standby(struct run *r, struct tw_standby *s)
{
    struct tw_err why = {0};
    bool input;
    int rc = run_stages(r, opening, TW_COUNT_OF(opening), &input, &why);

    begin_variant(r, 0);
    if (rc == 0)
        rc = run_stages(r, planning, TW_COUNT_OF(planning), &input, &why);
    if (rc == 0 && !run_standby_fits(r, s))
        rc = tw_fail(&why, -ESTALE, "the target or the change wants other twins");
    if (rc == 0)
        rc = run_stages(r, taking, TW_COUNT_OF(taking), &input, &why);
    if (rc == 0)
        rc = run_standby_take(r, s, &why);
    if (rc < 0)
        tw_log(TW_LOG_INFO, "what stood ready is not used: %s", why.text);
    return rc == 0;
}

int tw_run_standby(const struct tw_run_options *options, struct tw_simulation *place,
                   const struct tw_run_next *next, struct tw_simulation **ret, struct tw_err *err)
{
    struct tw_simulation *sim = NULL;
    struct tw_standby standby = {.next = next};
    struct run r = {.options = options,
                    .sims = &place,
                    .sim_count = 1,
                    .arena = place->arena,
                    .begun_ns = tw_now_ns()};
    int rc;

    memcpy(r.id, place->id, sizeof(r.id));
    r.state_dir = options->state_dir ? options->state_dir : tw_state_dir_default(r.arena);
    begin_variant(&r, 0);
    rc = make_standby(&r, &standby, err);
    if (rc == 0)
        rc = next->wait(next->arg, err);
    if (rc == 0)
        rc = next->read(next->arg, &sim, err);
    if (rc == 0) {
        r.sims = &sim;
        r.begun_ns = tw_now_ns();
        begin_variant(&r, 0);
        if (take_standby(&r, &standby)) {
            try_variant(&r, 0);
            close_run(&r);
        } else {
            close_run(&r);
            tw_simulation_free(tw_take_ptr(&sim));
            rc = next->read(next->arg, &sim, err);
            rc = rc < 0 ? rc : tw_run(options, sim, err);
        }
    } else {
        close_run(&r);
    }
    run_standby_done(&standby);
    *ret = sim;
    return rc;
}
