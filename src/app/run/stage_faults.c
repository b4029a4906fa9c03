/* Stage: the matrix change × fault. Each schedule of faults is done to both arms alike, in slots of their
 * own behind the trial: how many requests are answered meanwhile, how soon it is as before. What held
 * without the change and does not with it is tried a second time before it is called lost. */
#include "run_internal.h"

#include "tw/fault.h"
#include "tw/twin_page.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BEFORE_NS      (300 * TW_MSEC_NS)
#define AFTER_NS       (150 * TW_MSEC_NS)
#define AFTER_SLOTS    16
#define TAIL_S         0.1 /* the load goes on so long behind the last fault */
#define SETTLE_S       2.0 /* and late answers are waited for so long */
#define LEVEL          0.3 /* of the smaller capacity */
#define PER_CONNECTION 10  /* requests a second: a connection that takes 100 ms still keeps up */
#define RATE_UNKNOWN   50
#define AVAILABLE      0.99
#define SLOWER_TIMES   2   /* recovery: so many times and so much longer is slower */
#define SLOWER_S       0.5
#define CALM_TIMES     2   /* as before: p95 within this, or so much more */
#define CALM_S         0.005

/* One arm under one schedule. */
struct bout {
    struct run *r;
    struct tw_load *load;
    enum tw_arm arm;
    const struct tw_fault_schedule *schedule;
    struct tw_fault_run **runs; /* by index of the fault */
    int64_t start_ns, ended_ns; /* the schedule; its last end as it really was */
    double rate_per_s, capacity_per_s;
    const char *how;
    struct tw_err begin_err, end_err;
    int asked, refused;
    char words[256];
    struct tw_fault_arm seen;
};

/* ---- the faults, by a thread of their own ---- */

static struct tw_fault_place place_of(struct run *r, enum tw_arm arm)
{
    const struct tw_endpoint *e = run_endpoint(r);
    double most = r->v.limits[TW_BASELINE].max_connections;

    return (struct tw_fault_place){.priv = r->priv,
                                   .twin = run_twin_of(r, arm),
                                   .memory_bytes = r->memory_bytes,
                                   .cpus = r->cpus,
                                   .snapshot = &r->snapshot,
                                   .connections = most > 0 ? most : 1000,
                                   .address = RUN_TWIN_ADDRESS,
                                   .port = e ? e->port : 0};
}

static void note_refused(struct bout *b, const struct tw_fault_run *f)
{
    const char *words = NULL;
    int asked, refused;

    tw_fault_refused(f, &asked, &refused, &words);
    b->asked += asked;
    b->refused += refused;
    if (words && !b->words[0])
        memcpy(b->words, words, strnlen(words, sizeof b->words - 1));
}

static void carry_out(struct bout *b, const struct tw_fault_event *e)
{
    const struct tw_faults *faults = &b->r->v.sim->plan.faults;
    struct tw_fault_place place;
    struct tw_err why = {0};

    if (!e->begins) {
        if (tw_fault_end(tw_take_ptr(&b->runs[e->fault]), &why) < 0 && !b->end_err.code)
            b->end_err = why;
        return;
    }
    place = place_of(b->r, b->arm);
    if (tw_fault_begin(&place, &faults->list.items[e->fault], &b->runs[e->fault], &why) < 0) {
        if (!b->begin_err.code)
            b->begin_err = why;
        return;
    }
    b->how = tw_fault_how(b->runs[e->fault]);
    note_refused(b, b->runs[e->fault]);
}

static void *events_main(void *arg)
{
    struct bout *b = arg;

    for (size_t i = 0; i < b->schedule->events.count; i++) {
        const struct tw_fault_event *e = &b->schedule->events.items[i];
        int64_t at = b->start_ns + (int64_t)(e->at_s * 1e9), left = at - tw_now_ns();

        if (left > 0)
            tw_sleep_ns(left);
        b->ended_ns = tw_now_ns();
        carry_out(b, e);
    }
    return NULL;
}

/* ---- the load ---- */

static int slot(struct bout *b, int64_t length_ns, double rate_per_s, double settle_s,
                uint64_t seed, struct tw_slot *ret, struct tw_err *err)
{
    struct tw_load_order order = {.arm = b->arm,
                                  .rate_per_s = rate_per_s,
                                  .length_ns = length_ns,
                                  .seed = b->r->v.sim->plan.seed + seed,
                                  .settle_s = settle_s};
    int rc = tw_load_slot(b->load, &order, ret, err);

    if (rc == 0) {
        tw_hist_free(ret->latency);
        ret->latency = NULL;
    }
    return rc;
}

static bool is_calm(const struct bout *b, const struct tw_slot *s)
{
    double before = 1e-3 * b->seen.before_p95_ms;

    return s->errors == 0 && s->late == 0 && s->done > 0 &&
           (isnan(before) || s->p95_s <= fmax(CALM_TIMES * before, before + CALM_S));
}

/* Short slots until one is as it was before. */
static int recover(struct bout *b, struct tw_err *err)
{
    int rc = 0;

    b->seen.recovery_s = INFINITY;
    for (uint64_t i = 0; i < AFTER_SLOTS && rc == 0 && isinf(b->seen.recovery_s); i++) {
        int64_t begun = tw_now_ns();
        struct tw_slot s = {0};

        rc = slot(b, AFTER_NS, b->rate_per_s, 0.5, 100 + i, &s, err);
        b->seen.after_p95_ms = 1e3 * s.p95_s;
        b->seen.goodput = s.sent > 0 ? (double)s.done / (double)s.sent : NAN;
        if (rc == 0 && is_calm(b, &s))
            b->seen.recovery_s = fmax(0, tw_seconds(begun - b->ended_ns));
    }
    return rc;
}

static void count(struct bout *b, const struct tw_slot *s)
{
    double sent = (double)s->sent + b->asked, answered = (double)(s->done + b->asked - b->refused);

    b->seen.sent = sent;
    b->seen.answered = answered;
    b->seen.failed = (double)(s->errors + s->late + b->refused);
    b->seen.availability = sent > 0 ? answered / sent : NAN;
    b->seen.p50_ms = 1e3 * s->p50_s;
    b->seen.p95_ms = 1e3 * s->p95_s;
}

static void take_words(struct bout *b)
{
    struct tw_arena *a = b->r->v.sim->arena;
    struct tw_load_failures f = {0};

    if (tw_load_failures(b->load, a, &f, NULL) < 0)
        f.list.count = 0;
    for (size_t i = 0; i < f.list.count && !b->words[0]; i++)
        if (f.list.items[i].arm == b->arm)
            memcpy(b->words, f.list.items[i].text,
                   strnlen(f.list.items[i].text, sizeof b->words - 1));
    if (b->end_err.code)
        memcpy(b->words, b->end_err.text, strnlen(b->end_err.text, sizeof b->words - 1));
    b->seen.words = b->words[0] ? tw_arena_strdup(a, b->words) : NULL;
}

static int under_faults(struct bout *b, struct tw_err *err)
{
    const struct tw_fault_schedule *s = b->schedule;
    double rate = s->load_times > 0 ? s->load_times * b->capacity_per_s : b->rate_per_s;
    struct tw_slot seen = {0};
    pthread_t thread;
    int rc;

    b->start_ns = b->ended_ns = tw_now_ns();
    rc = pthread_create(&thread, NULL, events_main, b);
    if (rc)
        return tw_fail_errno(err, rc, "starting a thread");
    rc = slot(b, (int64_t)((s->end_s + TAIL_S) * 1e9), rate, SETTLE_S, 2, &seen, err);
    (void)pthread_join(thread, NULL);
    if (rc == 0)
        count(b, &seen);
    return rc;
}

/* The other arm stands still meanwhile, as in a trial. */
static int run_bout(struct bout *b, struct tw_err *err)
{
    struct tw_sandbox *own = tw_twin_sandbox(run_twin_of(b->r, b->arm)),
                      *other = tw_twin_sandbox(run_twin_of(
                          b->r, b->arm == TW_BASELINE ? TW_CANDIDATE : TW_BASELINE));
    struct tw_slot before = {0};
    int rc;

    (void)tw_sandbox_freeze(own, false, NULL);
    (void)tw_sandbox_freeze(other, true, NULL);
    rc = slot(b, BEFORE_NS, b->rate_per_s, 0.5, 1, &before, err);
    b->seen.before_p95_ms = 1e3 * before.p95_s;
    if (rc == 0)
        rc = under_faults(b, err);
    if (rc == 0 && !b->begin_err.code)
        rc = recover(b, err);
    (void)tw_sandbox_freeze(other, false, NULL);
    take_words(b);
    b->seen.survived = !b->end_err.code && isfinite(b->seen.recovery_s) &&
                       (b->schedule->outage || b->seen.availability >= AVAILABLE) &&
                       tw_twin_running(run_twin_of(b->r, b->arm));
    return rc;
}

/* ---- one row of the matrix ---- */

struct matrix {
    struct tw_load *load;
    double rate_per_s, capacity_per_s;
};

static const char *verdict_of(const struct tw_fault_arm *b, const struct tw_fault_arm *c)
{
    if (!b->survived)
        return c->survived ? "better" : "never held";
    if (!c->survived)
        return "lost";
    return c->recovery_s > SLOWER_TIMES * b->recovery_s + SLOWER_S ? "slower" : "holds";
}

static char *seen_text(struct tw_arena *a, const struct tw_fault_arm *s)
{
    const char *recovery =
        isinf(s->recovery_s)   ? "does not come back"
        : isnan(s->recovery_s) ? "recovery unknown"
                               : tw_arena_printf(a, "as before %s after its end",
                                                 tw_show_seconds(a, s->recovery_s));

    return tw_arena_printf(a, "%.4g %% of %.0f requests answered, p95 %s, %s%s%s",
                           100 * s->availability, s->sent,
                           tw_show_seconds(a, 1e-3 * s->p95_ms), recovery,
                           s->words ? ": " : "", s->words ? s->words : "");
}

static int try_row(struct run *r, const struct matrix *m,
                   const struct tw_fault_schedule *schedule, struct tw_fault_effect *row,
                   struct tw_err *err)
{
    struct tw_arena *a = r->v.sim->arena;
    size_t n = r->v.sim->plan.faults.list.count;

    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        struct bout b = {.r = r,
                         .load = m->load,
                         .arm = (enum tw_arm)arm,
                         .schedule = schedule,
                         .runs = tw_arena_alloc(a, (n + 1) * sizeof(struct tw_fault_run *)),
                         .rate_per_s = m->rate_per_s,
                         .capacity_per_s = m->capacity_per_s,
                         .seen = {.recovery_s = NAN, .after_p95_ms = NAN, .goodput = NAN}};
        int rc = run_bout(&b, err);

        if (rc < 0)
            return rc;
        row->arms[arm] = b.seen;
        row->how = b.how;
        if (b.begin_err.code) {
            row->verdict = "not tried";
            row->why = tw_arena_strdup(a, b.begin_err.text);
            return 0;
        }
    }
    row->verdict = verdict_of(&row->arms[TW_BASELINE], &row->arms[TW_CANDIDATE]);
    row->why = tw_arena_printf(a, "before: %s; with the change: %s",
                               seen_text(a, &row->arms[TW_BASELINE]),
                               seen_text(a, &row->arms[TW_CANDIDATE]));
    return 0;
}

static bool is_bad(const struct tw_fault_effect *row)
{
    return tw_streq(row->verdict, "lost") || tw_streq(row->verdict, "slower");
}

/* How often services met what their pages told them to refuse. */
static int64_t refused_by_pages(const struct run *r)
{
    int64_t n = 0;

    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        struct tw_twin_page *page = tw_twin_page(run_twin_of(r, (enum tw_arm)arm));

        if (page)
            n += atomic_load(&page->writes_refused) + atomic_load(&page->names_refused);
    }
    return n;
}

static int fill_row(struct run *r, const struct matrix *m,
                    const struct tw_fault_schedule *schedule, struct tw_fault_effect *row,
                    struct tw_err *err)
{
    int64_t begun = tw_now_ns(), met = refused_by_pages(r);
    struct tw_fault_effect again = *row;
    int rc;

    if (schedule->link && (!tw_priv_is_root(r->priv) || !m->load)) {
        row->verdict = "not tried";
        row->why = "clients reach the twin over no link (needs root, and a service that listens)";
        return 0;
    }
    rc = try_row(r, m, schedule, row, err);
    if (rc == 0 && is_bad(row)) {
        rc = try_row(r, m, schedule, &again, err);
        if (rc == 0 && !is_bad(&again))
            *row = again;
    }
    if (rc == 0 && schedule->counted && !is_bad(row) && refused_by_pages(r) == met) {
        row->verdict = "not tried";
        row->why = "it was there, and the load gave the service no occasion to meet it: no file grew, no "
                   "name was looked up";
    }
    row->seconds = tw_seconds(tw_now_ns() - begun);
    return rc;
}

/* ---- findings ---- */

static const struct {
    const char *verdict, *code, *title, *remedy;
    enum tw_severity severity;
    enum tw_verdict at_least;
} findings[] = {
    {"lost", "fault.defence_lost", "what was survived before is not survived with the change",
     "see what the change takes away that stood against this fault; the same faults show it again",
     TW_HIGH, TW_REVIEW},
    {"slower", "fault.recovery_slower", "after the fault it takes longer to be as before",
     "see what has to be caught up after the fault; the same faults show it again", TW_MEDIUM,
     TW_REVIEW},
    {"never held", "fault.never_held", "this fault is not survived, with or without the change",
     "not the change's doing, yet worth knowing", TW_INFO, TW_PROCEED},
    {"not tried", "fault.not_tried", "a fault could not be tried", NULL, TW_INFO, TW_PROCEED},
};

static void judge(struct run *r, const struct tw_fault_effect *row)
{
    struct tw_arena *a = r->v.sim->arena;

    for (size_t i = 0; i < TW_COUNT_OF(findings); i++)
        if (tw_streq(findings[i].verdict, row->verdict))
            tw_issue_add(a, &r->v.issues, findings[i].severity, findings[i].at_least,
                         findings[i].code, findings[i].title,
                         tw_arena_printf(a, "%s: %s", row->fault, row->why),
                         findings[i].remedy);
}

/* ---- the stage ---- */

static double capacity_of(const struct run *r)
{
    for (size_t i = 0; i < r->v.trial.effects.count; i++) {
        const struct tw_effect *e = &r->v.trial.effects.items[i];

        if (tw_streq(e->metric, "throughput_per_s"))
            return fmin(e->before, e->after);
    }
    return NAN;
}

/* Over the link, where faults can meet it; the private socket is out of their reach. */
static const char *conninfo_of(struct run *r, enum tw_arm arm)
{
    struct tw_arena *a = r->v.sim->arena;

    if (!run_entry(r).kind->conninfo || !tw_priv_is_root(r->priv))
        return run_conninfo(r, a, arm);
    return tw_arena_printf(a, "%s port=%d dbname='%s' device=eth%d sslmode=disable "
                              "gssencmode=disable",
                           tw_twin_conninfo_at(run_twin_of(r, arm), a, RUN_TWIN_ADDRESS),
                           tw_twin_port(run_twin_of(r, arm)), r->mix.database, (int)arm);
}

static int open_fault_load(struct run *r, struct tw_load **ret, struct tw_err *err)
{
    struct tw_load_spec spec = {.mix = &r->mix,
                                .connections = run_connections(r),
                                .box = r->v.client,
                                .program = RUN_CLIENT_PROGRAM,
                                .cpuset = r->generator_cpus};

    /* it holds the sessions that this one needs */
    tw_load_close(r->v.load);
    r->v.load = NULL;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        (void)tw_sandbox_freeze(tw_twin_sandbox(run_twin_of(r, (enum tw_arm)arm)), false, NULL);
        spec.conninfo[arm] = conninfo_of(r, (enum tw_arm)arm);
    }
    return tw_load_open(&spec, ret, err);
}

static int fill_matrix(struct run *r, const struct matrix *m, struct tw_err *err)
{
    struct tw_simulation *sim = r->v.sim;
    const struct tw_faults *faults = &sim->plan.faults;
    size_t at = 0;
    int rc = 0;

    while (at < faults->list.count && rc == 0) {
        struct tw_fault_effect row = {.how = NULL};
        struct tw_fault_schedule schedule;
        size_t words = at;

        if (r->options->cancel && *r->options->cancel)
            return tw_fail(err, -ECANCELED, "cancelled between faults");
        row.fault = tw_faults_text(sim->arena, faults, &words);
        tw_fault_schedule(sim->arena, faults, at, &schedule, &at);
        if (tw_twin_running(run_twin_of(r, TW_BASELINE))) {
            rc = fill_row(r, m, &schedule, &row, err);
        } else {
            row.verdict = "not tried";
            row.why = "the unchanged service does not run any more after the faults before";
        }
        if (rc < 0)
            break;
        TW_PUSH(sim->arena, &r->v.faults, row);
        judge(r, &row);
        run_stage_time(r, row.fault, row.seconds);
    }
    return rc;
}

bool run_has_faults(const struct run *r)
{
    return r->v.sim->plan.faults.list.count > 0;
}

int run_faults(struct run *r, struct tw_err *err)
{
    double capacity = capacity_of(r);
    struct matrix m = {.capacity_per_s = isnan(capacity) ? 1000 : capacity};
    struct tw_err why = {0};
    int rc;

    if (!run_has_faults(r) || !r->v.client)
        return 0;
    m.rate_per_s = fmin(isnan(capacity) ? RATE_UNKNOWN : LEVEL * capacity,
                        PER_CONNECTION * (double)run_connections(r));
    rc = open_fault_load(r, &m.load, &why);
    if (rc == 0)
        rc = fill_matrix(r, &m, &why);
    else
        tw_issue_add(r->v.sim->arena, &r->v.issues, TW_INFO, TW_PROCEED, "fault.not_tried",
                     "no fault could be tried",
                     tw_arena_printf(r->v.sim->arena, "over the link: %s", why.text), NULL);
    tw_load_close(m.load);
    run_clear_begin(r);
    if (rc == -ECANCELED && err)
        *err = why;
    if (rc < 0)
        tw_log(TW_LOG_DEBUG, "faults: %s", why.text);
    return rc == -ECANCELED ? rc : 0;
}
