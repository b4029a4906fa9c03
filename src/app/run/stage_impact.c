/* Stages: everything found put before impact, and its answer before the policy. */
#include "run_internal.h"
#include "run_rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PAGE_BYTES 8192.0

/* ---- what the twins are not ---- */

static void differs(struct run *r, struct tw_impact_facts *f, const char *text)
{
    for (size_t i = 0; i < f->twin_differences.count; i++)
        if (tw_streq(f->twin_differences.items[i], text))
            return;
    TW_PUSH(r->v.sim->arena, &f->twin_differences, text);
}

static void add_host(struct run *r, struct tw_impact_facts *f)
{
    struct tw_arena *a = r->v.sim->arena;
    double target = (double)r->snapshot.memory_bytes, twin = (double)r->memory_bytes;

    if (!(r->snapshot.cpus > 0) || r->snapshot.memory_bytes <= 0)
        differs(r, f,
                tw_arena_printf(
                    a,
                    "the target's host is not known: cores of the twin %g, memory %s; "
                    "declare its own with --cpus and --memory",
                    r->cpus, tw_show_bytes(a, twin)));
    if (r->snapshot.cpus > r->cpus)
        differs(r, f,
                tw_arena_printf(
                    a, "it has %g of the target's %g cores%s", r->cpus, r->snapshot.cpus,
                    r->cpus < 2 ? "; what needs several at once (parallel plans) is "
                                  "not judged"
                                : ""));
    if (target > twin)
        differs(r, f,
                tw_arena_printf(a, "it has %s of the target's %s of memory",
                                tw_show_bytes(a, twin), tw_show_bytes(a, target)));
}

static void add_differences(struct run *r, struct tw_impact_facts *f)
{
    struct tw_arena *a = r->v.sim->arena;

    for (size_t i = 0; i < r->differences.list.count; i++) {
        const struct tw_issue *d = &r->differences.list.items[i];

        differs(r, f,
                tw_arena_printf(a, "%s%s%s", d->title, d->evidence ? ": " : "",
                                d->evidence ? d->evidence : ""));
    }
    add_host(r, f);
    for (size_t i = 0; i < r->missing.count; i++)
        differs(r, f, r->missing.items[i]);
    differs(
        r, f,
        "its storage is this host's: absolute commit and read times are the twin's own");
    if (!r->v.measured)
        return;
    if (r->warm[RUN_BASELINE].cut_short || r->warm[RUN_CANDIDATE].cut_short)
        differs(r, f,
                tw_arena_printf(a,
                                "this host had %s of its data in the page cache when the load "
                                "began; the rest was read from disk while measuring",
                                tw_show_bytes(a, (double)r->warm[RUN_BASELINE].bytes)));
    if (r->v.without_disk)
        differs(r, f,
                "both arms ask as much of the disk, so flushes waited for none: commits take longer at "
                "the target, by about as much before and after");
    differs(r, f,
            "load enters by a private socket as a superuser of its own, without network, "
            "TLS or login");
    differs(r, f, "the arm whose turn it is not stands still, and so does its clock");
    for (size_t i = 0; i < r->mix.missing.count; i++)
        differs(r, f, tw_arena_printf(a, "not in the load: %s", r->mix.missing.items[i]));
}

/* ---- facts ---- */

/* Sessions show the statement as it was sent; the report knows it by its normalised text.
 */
static const char *known_as(struct run *r, const char *sent)
{
    for (size_t i = 0; sent && i < r->mix.items.count; i++)
        for (size_t k = 0; k < r->mix.items.items[i].statements.count; k++)
            if (tw_streq(sent, r->mix.items.items[i].statements.items[k].sql))
                return run_statement_text(r, i, k);
    return sent;
}

static void add_waits(struct run *r, struct tw_impact_facts *f, int arm)
{
    const struct tw_waits *w = &r->v.trial.waits[arm];
    double total = 0;

    for (size_t i = 0; i < w->list.count; i++)
        total += (double)w->list.items[i].count;
    for (size_t i = 0; i < w->list.count; i++) {
        struct tw_impact_wait one = {w->list.items[i].event,
                                     known_as(r, w->list.items[i].statement),
                                     (double)w->list.items[i].count / total};

        TW_PUSH(r->v.sim->arena, &f->waits[arm], one);
    }
}

/* Shares of the time at the highest load that was measured: closed loop, all connections.
 */
static void add_shares(struct run *r, struct tw_impact_facts *f, int arm)
{
    double cpu = 0, throttled = 0, seconds = 0, temp = 0, done = 0;

    for (size_t i = 0; i < r->v.trial.slots.count; i++) {
        const struct tw_slot *s = &r->v.trial.slots.items[i];

        if ((int)s->arm != arm || s->pair < 0 || s->dropped)
            continue;
        if (!isnan(s->temp_bytes)) {
            temp += s->temp_bytes;
            done += (double)s->done;
        }
        if (!isnan(s->offered_per_s) || isnan(s->cpu_s))
            continue;
        cpu += s->cpu_s;
        throttled += isnan(s->throttled_s) ? 0 : s->throttled_s;
        seconds += tw_seconds(s->length_ns);
    }
    f->cpu_share[arm] =
        seconds > 0 ? cpu / seconds / run_scale_cores(r, (enum tw_arm)arm) : NAN;
    f->throttled_share[arm] = seconds > 0 ? throttled / seconds : NAN;
    f->temp_bytes_per_request[arm] = done > 0 ? temp / done : NAN;
    if (isnan(f->temp_bytes_per_request[arm])) {
        /* The server counts what was answered outside of pairs, too. */
        double n = (double)r->v.sim->measured.answered[arm];
        double all = r->v.trial.after[arm].temp_bytes - r->v.trial.before[arm].temp_bytes;

        f->temp_bytes_per_request[arm] = n > 0 ? all / n : NAN;
    }
}

/* What checkpoints did while it was measured: those that WAL forced, and the pages
 * written whole because of them. */
static void add_checkpoints(struct run *r, struct tw_impact_facts *f, int arm)
{
    const struct tw_counters *from = &r->v.trial.before[arm],
                             *to = &r->v.trial.after[arm];
    double pages = to->wal_fpi - from->wal_fpi, wal = to->wal_bytes - from->wal_bytes;

    f->forced_checkpoints[arm] = to->checkpoints_requested - from->checkpoints_requested;
    f->full_page_share[arm] = wal > 0 ? fmin(1, pages * PAGE_BYTES / wal) : NAN;
}

static void add_measured(struct run *r, struct tw_impact_facts *f)
{
    struct tw_arena *a = r->v.sim->arena;

    for (size_t i = 0; i < r->v.trial.effects.count; i++)
        TW_PUSH(a, &f->effects, r->v.trial.effects.items[i]);
    f->decided = r->v.trial.decided;
    f->candidate_stopped = r->v.trial.candidate_stopped;
    f->cold_s = r->v.trial.cold_s[TW_CANDIDATE];
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        add_waits(r, f, arm);
        add_shares(r, f, arm);
        add_checkpoints(r, f, arm);
        f->io_wait_share[arm] = NAN;
    }
}

/* A few executions one by one say how much slower a request is when a plan turned bad. */
static void add_tried(struct run *r, struct tw_impact_facts *f)
{
    double before = 0, after = 0, weight = 0;
    struct tw_effect e = {.metric = "mean_ms", .unit = "ms", .noise_floor = NAN};

    if (r->v.measured || !r->v.tries[TW_CANDIDATE])
        return;
    for (size_t i = 0; i < r->v.statements.count; i++) {
        const struct tw_statement_effect *s = &r->v.statements.items[i];

        if (isnan(s->before_ms) || isnan(s->after_ms))
            continue;
        before += s->share * s->before_ms;
        after += s->share * s->after_ms;
        weight += s->share;
    }
    if (!(weight > 0) || !(before > 0))
        return;
    e.before = before / weight;
    e.after = after / weight;
    e.ratio = (struct tw_estimate){e.after / e.before,
                                   NAN,
                                   NAN,
                                   NAN,
                                   (int64_t)r->v.statements.count,
                                   "a few executions of each statement, one by one"};
    e.verdict = e.after > e.before ? "worse" : "better";
    TW_PUSH(r->v.sim->arena, &f->effects, e);
}

static int sessions_dropped(const struct run *r)
{
    return r->v.sim->plan.needs_restart ? r->snapshot.connections_used : 0;
}

static const char *describe_host(struct run *r)
{
    struct tw_arena *a = r->v.sim->arena;
    struct utsname u;

    (void)uname(&u);
    return tw_arena_printf(
        a, "%ld cores, %s, Linux %s, %s", sysconf(_SC_NPROCESSORS_ONLN),
        tw_show_bytes(a, (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE)),
        u.release, r->pool ? tw_pool_method(r->pool) : "network namespaces");
}

/* How many more clients the server takes than it has. */
static double connections_free(const struct run *r)
{
    const struct tw_service_limits *l = &r->v.limits[TW_BASELINE];

    return l->max_connections - l->reserved_connections -
           fmax(0, r->snapshot.connections_used);
}

/* Faults need a service under load: where nothing was measured that is said, not passed over. */
static void tell_untried_faults(struct run *r)
{
    if (!r->v.sim->request.faults.list.count || r->v.faults.count)
        return;
    for (size_t i = 0; i < r->v.issues.list.count; i++)
        if (tw_streq(r->v.issues.list.items[i].code, "fault.not_tried"))
            return;
    tw_issue_add(r->v.sim->arena, &r->v.issues, TW_INFO, TW_PROCEED, "fault.not_tried",
                 "no fault was tried",
                 r->v.not_measured ? r->v.not_measured
                                   : "faults are done to services under load, and this change has none",
                 NULL);
}

/* What the change itself and its twins tell, before anything that was measured. */
static struct tw_impact_facts first_facts(struct run *r)
{
    const struct tw_policy *p = &r->policy;
    bool tried = run_is_rules(r) || run_deploy_serves(r);

    return (struct tw_impact_facts){
        .plan = &r->v.sim->plan,
        .snapshot = &r->snapshot,
        .schema = &r->v.schema,
        .schema_hold_review_s = 1e-3 * p->hold_review_ms,
        .schema_hold_block_s = 1e-3 * p->hold_block_ms,
        .schema_blocked_review = p->blocked_review,
        .connections_free = connections_free(r),
        .measured = &r->v.sim->measured,
        .issues = &r->v.issues,
        .baseline_started = true,
        .candidate_started = tried || r->members[RUN_CANDIDATE].started.ready,
        .candidate_reloaded = tried || r->v.judged.reloaded,
        .candidate_restarted = tried || r->v.judged.restarted,
        .computed = run_is_path_computed(r),
        .access_tried =
            run_is_access(r) && r->v.clients_worked > 0 ? r->v.clients_tried : 0,
        .start_s = {r->v.judged.start_s, r->v.judged.restart_s},
        .stop_s = r->v.judged.stop_s,
        .cold_s = NAN,
        .sessions = sessions_dropped(r),
        .peak_rate_per_s = r->v.peak_per_s,
        .peak_assumed = r->v.peak_assumed,
        .memory_limit_bytes =
            r->snapshot.memory_bytes > 0 ? (double)r->snapshot.memory_bytes : NAN,
        .price_cpu_hour = NAN,
        .price_memory_gb_hour = NAN,
        .price_disk_gb_month = NAN,
        .margins = {p->margin_throughput, p->margin_p50, p->margin_p95, p->margin_p99,
                    p->margin_effect},
        .detection_sensitivity = RUN_FAILURE_SENSITIVITY};
}

/* forecast: of both arms, borrowed by the facts. */
static void add_arms(struct run *r, struct tw_forecast *forecast,
                     struct tw_impact_facts *f)
{
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        f->cpu_share[arm] = f->throttled_share[arm] = f->temp_bytes_per_request[arm] =
            f->io_wait_share[arm] = f->forced_checkpoints[arm] = f->full_page_share[arm] =
                NAN;
        f->reserved_connections[arm] = r->v.limits[arm].reserved_connections;
        f->model[arm] = r->v.has_model[arm] ? &r->v.model[arm] : NULL;
        f->forecast[arm] = r->v.has_forecast[arm] ? &forecast[arm] : NULL;
        f->failures[arm] = &r->v.failures[arm];
    }
    for (size_t i = 0; i < r->v.statements.count; i++)
        TW_PUSH(r->v.sim->arena, &f->statements, r->v.statements.items[i]);
}

/* Each course of stages has facts of its own, … */
static void add_course(struct run *r, struct tw_impact_facts *f)
{
    if (run_is_rules(r))
        run_rules_facts(r, f);
    else if (r->v.deployed)
        run_deploy_facts(r, f);
    else
        add_differences(r, f);
}

/* … and its own way to apply a change. */
static void tell_how(struct run *r)
{
    if (run_is_rules(r))
        run_rules_apply(r);
    else if (r->v.deployed)
        run_deploy_told(r);
    else
        run_told(r);
}

int run_impact(struct run *r, struct tw_err *err)
{
    struct tw_simulation *sim = r->v.sim;
    struct tw_forecast forecast[TW_ARM_COUNT];
    struct tw_impact_facts f;
    int rc;

    tell_untried_faults(r);
    f = first_facts(r);
    run_clear_end(r);
    memcpy(forecast, sim->impact.forecast, sizeof(forecast));
    add_arms(r, forecast, &f);
    if (r->v.measured)
        add_measured(r, &f);
    add_tried(r, &f);
    add_course(r, &f);
    run_scale_facts(r, &f);
    sim->measured.host = describe_host(r);
    if (!sim->measured.stopped_because)
        sim->measured.stopped_because = r->v.not_measured;
    rc = tw_impact_make(sim->arena, &f, &sim->impact, err);
    sim->impact.scale = r->v.scale_answer;
    sim->impact.faults.items = r->v.faults.items;
    sim->impact.faults.count = r->v.faults.count;
    sim->impact.safer = r->v.safer ? r->v.safer : sim->impact.safer;
    if (rc == 0)
        tell_how(r);
    sim->has_impact = rc == 0;
    sim->snapshot = r->snapshot;
    return rc;
}

int run_decide(struct run *r, struct tw_err *err)
{
    struct tw_simulation *sim = r->v.sim;

    return tw_decide(sim->arena, &r->policy, &sim->impact, &sim->measured, &sim->decision,
                     err);
}
