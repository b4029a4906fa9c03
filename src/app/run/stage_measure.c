/* Stage: the load opened, the trial, what both arms said meanwhile. */
#include "run_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the load ---- */

static int open_load(struct run *r, struct tw_err *err)
{
    struct tw_load_spec spec = {.mix = &r->mix,
                                .connections = run_connections(r),
                                .program = RUN_CLIENT_PROGRAM,
                                .cpuset = r->generator_cpus};
    int rc = run_client_open(r, err);

    if (rc < 0)
        return tw_wrap(err, rc, "the clients' sandbox");
    spec.box = r->v.client;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        spec.conninfo[arm] = run_conninfo(r, r->v.sim->arena, (enum tw_arm)arm);
    return tw_load_open(&spec, &r->v.load, err);
}

/* Does the candidate take as many sessions as the baseline does, and the same statements?
 * If not, that is a finding in the server's words, not an error of ours. */
static bool candidate_refuses(struct run *r, const struct tw_err *why)
{
    struct tw_arena *a = r->v.sim->arena;
    int n = r->kind->conninfo ? run_connections(r) : 0;
    struct tw_pg **open = tw_alloc((size_t)n * sizeof(struct tw_pg *));
    struct tw_err err = {0};
    int opened = 0;
    int rc = 0;

    while (opened < n && rc == 0) {
        rc = tw_twin_connect(run_twin_of(r, TW_CANDIDATE), r->mix.database, &open[opened],
                             &err);
        opened += rc == 0;
    }
    for (int i = 0; i < opened; i++)
        tw_pg_close(open[i]);
    free(open);
    if (rc == 0 && !strstr(why->text, tw_arm_names[TW_CANDIDATE]))
        return false;
    tw_issue_add(
        a, &r->v.issues, TW_CRITICAL, TW_BLOCK, "load.refused",
        "the service with the change refuses what it serves today",
        rc < 0 ? tw_arena_printf(a, "session %d of %d: %s", opened + 1, n, err.text)
               : why->text,
        "see what the server says; the unchanged one takes the same sessions and "
        "statements");
    return true;
}

/* ---- the trial ---- */

static void on_progress(void *arg, const struct tw_trial_progress *p)
{
    run_tell(arg, p);
}

/* From here on the arms have their own cores, and the generator its own. Where a host has
 * no cpuset the noise floor shows it. */
static void pin_arms(struct run *r)
{
    if (run_scale_is_wide(r))
        return;
    for (int arm = 0; arm < TW_ARM_COUNT && r->twin_cpus; arm++)
        (void)tw_sandbox_pin(tw_twin_sandbox(run_twin_of(r, (enum tw_arm)arm)),
                             r->twin_cpus, NULL);
    if (r->twin_cpus)
        run_peers_pin(r, r->twin_cpus);
    if (r->twin_cpus)
        run_scale_pin(r, r->twin_cpus);
}

/* The page cache is filled while sessions open and buffers are read; then it is this simulation's turn,
 * and every arm gets its cores. What came before disturbs others no more than any preparing does: only
 * what is measured has the weight. */
static int64_t on_prewarmed(void *arg)
{
    struct run *r = arg;
    int64_t begun = tw_now_ns(), ready, turn;
    int judged;

    run_warm_end(r, true);
    /* The judge has its core until here; whatever it found stands beside what is
     * measured. */
    judged = run_judge_join(r, NULL);
    ready = tw_now_ns();
    run_stage_time(r, "page cache and judge", tw_seconds(ready - begun));
    /* The arms start with what the load enters by, which may be what the change breaks. */
    if (judged == 0 && !r->v.judged.restarted && !run_scale_is_own(r))
        return -1;
    /* cancelled meanwhile: the trial sees it too */
    (void)run_measuring_begin(r, NULL);
    pin_arms(r);
    (void)run_measuring_disk(r, TW_DISK_MEMORY);
    turn = tw_now_ns();
    run_stage_time(r, "turn", tw_seconds(turn - ready));
    return turn - begun;
}

static double writes_so_far(void *arg)
{
    struct run *r = arg;

    return run_measuring_writes(r);
}

static bool on_writes_differ(void *arg)
{
    return run_measuring_disk(arg, TW_DISK_OWN);
}

/* What the server said to failed requests of the candidate and did not say to the
 * baseline. */
static void judge_failures(struct run *r)
{
    struct tw_arena *a = r->v.sim->arena;
    const struct tw_load_failures *f = &r->v.trial.failures;

    for (size_t i = 0; i < f->list.count; i++) {
        const struct tw_load_failure *one = &f->list.items[i];
        int64_t before = 0;

        if (one->arm != TW_CANDIDATE)
            continue;
        for (size_t k = 0; k < f->list.count; k++)
            if (f->list.items[k].arm == TW_BASELINE &&
                tw_streq(f->list.items[k].code, one->code))
                before += f->list.items[k].count;
        if (one->count <= 2 * before)
            continue;
        tw_issue_add(
            a, &r->v.issues, TW_CRITICAL, TW_BLOCK, "load.errors",
            "requests fail that succeed today",
            tw_arena_printf(a,
                            "%lld requests of the candidate failed, %lld of the "
                            "baseline: %s (%s)",
                            (long long)one->count, (long long)before, one->text,
                            one->code),
            "see what the server says; the same requests succeed without the change");
    }
}

/* What the arms logged while they were loaded: said by the candidate alone, it is the change's. */
static void note_logs(struct run *r)
{
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        const char *log = tw_twin_access(run_twin_of(r, (enum tw_arm)arm))->log;

        r->v.log_from[arm] = log ? strlen(log) : 0;
    }
    run_peers_note(r);
}

static void judge_logs(struct run *r)
{
    struct tw_issues said[TW_ARM_COUNT] = {{{0}}};
    struct tw_arena *a = r->v.sim->arena;

    for (int arm = 0; arm < TW_ARM_COUNT && r->kind->judge_log; arm++)
        r->kind->judge_log(a, tw_twin_access(run_twin_of(r, (enum tw_arm)arm)),
                           r->v.log_from[arm], &said[arm]);
    for (size_t i = 0; i < said[TW_CANDIDATE].list.count; i++) {
        const struct tw_issue *one = &said[TW_CANDIDATE].list.items[i];
        bool before = false;

        for (size_t k = 0; k < said[TW_BASELINE].list.count; k++)
            before |= tw_streq(said[TW_BASELINE].list.items[k].code, one->code);
        if (!before)
            TW_PUSH(a, &r->v.issues.list, *one);
    }
    run_peers_judge(r);
}

static void keep_measured(struct run *r)
{
    struct tw_simulation *sim = r->v.sim;
    const struct tw_measured *m = &r->v.trial.measured;
    __typeof__(sim->measured.stages) stages = sim->measured.stages;

    sim->measured = *m;
    sim->measured.stages = stages;
    for (size_t i = 0; i < m->stages.count; i++)
        run_stage_time(r, m->stages.items[i].name, m->stages.items[i].seconds);
    sim->measured.mix = r->mix.description;
    sim->measured.mix_coverage = r->mix.coverage;
    sim->slots.items = r->v.trial.slots.items;
    sim->slots.count = r->v.trial.slots.count;
    run_network_done(r);
    if (!run_has_faults(r))
        run_clear_begin(r); /* else the faults are still to come */
}

#define FAR_LESS 5.0 /* more than a few short steps on a busy host can differ by */

/* An arm so slow that no pair of slots came to an end was still seen in the warm-up: what it serves at
 * most, against the other. */
static void judge_capacity(struct run *r)
{
    struct tw_arena *a = r->v.sim->arena;
    const struct tw_measured *m = &r->v.trial.measured;
    double before = m->capacity_per_s[TW_BASELINE], after = m->capacity_per_s[TW_CANDIDATE];

    if (m->pairs > 0 || !(after > 0) || !(before > FAR_LESS * after))
        return;
    tw_issue_add(a, &r->v.issues, TW_HIGH, TW_REVIEW, "performance.regression",
                 "far fewer requests are served at most",
                 tw_arena_printf(a,
                                 "%.4g per s before, %.4g after, in the warm-up with as many clients; it "
                                 "was too slow for one pair of slots to end within the budget",
                                 before, after),
                 "see what its requests wait for");
}

/* A load of which nothing succeeds even on the unchanged service measures nothing: rates and ratios of
 * failures are no figures of the service. The server's words say what is wrong with the load. */
static bool nothing_succeeds(struct run *r)
{
    const struct tw_load_failures *f = &r->v.trial.failures;
    struct tw_measured *m = &r->v.trial.measured;

    if (m->requests[TW_BASELINE] > 0)
        return false;
    for (size_t i = 0; i < f->list.count; i++) {
        if (f->list.items[i].arm != TW_BASELINE)
            continue;
        r->v.not_measured = tw_arena_printf(
            r->v.sim->arena,
            "no request of the load succeeds on the unchanged service: %s (%s)",
            f->list.items[i].text, f->list.items[i].code);
        m->pairs = 0;
        m->noise_floor = NAN;
        m->stopped_because = r->v.not_measured;
        return true;
    }
    return false;
}

int run_trial(struct run *r, struct tw_err *err)
{
    struct tw_simulation *sim = r->v.sim;
    const struct tw_policy *p = &r->policy;
    struct tw_trial_spec spec = {
        .plan = &sim->plan,
        .twins = {run_twin_of(r, TW_BASELINE), run_twin_of(r, TW_CANDIDATE)},
        .mix = &r->mix,
        .connections = run_connections(r),
        .margins = {p->margin_throughput, p->margin_p50, p->margin_p95, p->margin_p99,
                    p->margin_effect, p->margin_tail_ms},
        .target_rate_per_s =
            !isnan(sim->plan.rate_per_s) ? sim->plan.rate_per_s : r->snapshot.rate_per_s,
        .progress = on_progress,
        .prewarmed = on_prewarmed,
        .writes = writes_so_far,
        .own_disk = on_writes_differ,
        .arg = r,
        .cancel = r->options->cancel};
    struct tw_sandbox *beside[TW_ARM_COUNT][RUN_BOXES];
    struct tw_err why = {0};
    int64_t begun = tw_now_ns();
    int rc;

    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        spec.beside[arm].items = beside[arm];
        spec.beside[arm].count =
            run_peer_boxes(r, (enum tw_arm)arm, beside[arm], RUN_BOXES);
    }
    (void)run_each_arm(r, run_count, NULL);
    note_logs(r);
    rc = open_load(r, &why);

    if (rc < 0 && candidate_refuses(r, &why)) {
        r->v.not_measured = "the service with the change refuses what it serves today";
        judge_logs(r); /* why it does, a pooler tells there */
        run_network_done(r);
        return 0;
    }
    run_stage_time(r, "connect", tw_seconds(tw_now_ns() - begun));
    spec.load = r->v.load;
    begun = tw_now_ns();
    if (rc == 0 && run_scale_is_own(r)) {
        (void)on_prewarmed(r);
        rc = run_scale_trial(r, &why);
    } else if (rc == 0)
        rc = tw_trial_run(sim->arena, &spec, &r->v.trial, &why);
    run_stage_time(r, "slots", tw_seconds(tw_now_ns() - begun));
    if (rc == 0)
        run_network_search(r);
    if (rc == 0)
        run_scale_after(r);
    if (rc == 0)
        run_standing_after(r);
    if (rc == -ENODATA) {
        r->v.not_measured = r->v.judge_joined && !r->v.judged.restarted
                                ? RUN_NO_RESTART
                                : tw_arena_strdup(sim->arena, why.text);
        judge_failures(r);
        judge_logs(r);
        keep_measured(r);
        return 0;
    }
    if (rc < 0) {
        if (err)
            *err = why;
        return rc;
    }
    r->v.measured = !nothing_succeeds(r);
    judge_failures(r);
    judge_logs(r);
    judge_capacity(r);
    keep_measured(r);
    return 0;
}
