#include "trial_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A warm-up step, long enough for a rate, short enough for the same weather on both arms.
 */
#define STEP_NS       (50 * TW_MSEC_NS)
#define LONGEST_STEP  (250 * TW_MSEC_NS)
#define STEP_REQUESTS 20.0
/* The first step uses few connections: what memory the others take is then seen. */
#define COLD_CLIENTS   4
#define PREWARM_NS     (300 * TW_MSEC_NS)
#define WARMUP_SHARE   0.30 /* of the budget at most */
#define SETTLE_LEAST_S 0.02
#define SETTLE_MOST_S  0.30
/* Decided harm needs no more pairs than these: five are the fewest whose order statistics
 * hold a median at 90 %. */
#define HARM_OPEN_PAIRS   6
#define HARM_CLOSED_PAIRS 5
#define CLOSED_AT_END     2
/* Times the budget until which the least that a policy asks for is still waited for. */
#define OVERDUE 2.0

struct trial {
    struct tw_arena *arena;
    const struct tw_trial_spec *spec;
    struct tw_trial_result *ret;
    struct tw_sampler *sampler[TW_ARM_COUNT]; /* owned, as the rest is borrowed */
    bool can_freeze, frozen[TW_ARM_COUNT];
    bool full_reads; /* the mix writes: WAL is counted slot by slot */
    bool silent;     /* the candidate stopped serving */
    bool last;       /* undecided until the budget ended: the last look decides */
    int64_t begun_ns;
    double small_capacity; /* 0: not yet known */
    struct trial_writes writes;
    struct tw_rng rng;
};

static double elapsed_s(const struct trial *t)
{
    return tw_seconds(tw_now_ns() - t->begun_ns);
}

/* ---- freezing the arm whose turn it is not ---- */

static int set_frozen(struct trial *t, enum tw_arm arm, bool frozen, struct tw_err *err)
{
    int r;

    if (t->frozen[arm] == frozen)
        return 0;
    r = tw_sandbox_freeze(tw_twin_sandbox(t->spec->twins[arm]), frozen, err);
    for (size_t i = 0; i < t->spec->beside[arm].count && r == 0; i++)
        r = tw_sandbox_freeze(t->spec->beside[arm].items[i], frozen, err);
    if (r < 0)
        return tw_wrap(err, r, "%s the %s twin", frozen ? "freezing" : "thawing",
                       tw_arm_names[arm]);
    t->frozen[arm] = frozen;
    return 0;
}

static int thaw_all(struct trial *t, struct tw_err *err)
{
    int r = set_frozen(t, TW_BASELINE, false, err);

    return r < 0 ? r : set_frozen(t, TW_CANDIDATE, false, err);
}

/* The idle arm's checkpointer and autovacuum must not run in the other's slot. Where a
 * host has no freezer they do, and the noise floor shows it. */
static int focus(struct trial *t, enum tw_arm arm, struct tw_err *err)
{
    enum tw_arm other = arm == TW_BASELINE ? TW_CANDIDATE : TW_BASELINE;

    if (!t->can_freeze)
        return 0;
    if (set_frozen(t, other, true, NULL) < 0) {
        t->can_freeze = false;
        return thaw_all(t, err);
    }
    return set_frozen(t, arm, false, err);
}

/* ---- one slot ---- */

static struct tw_slot blank_slot(void)
{
    struct tw_slot s = {.pair = -1};
    double *const unknown[] = {&s.level,           &s.offered_per_s, &s.p50_s,
                               &s.p95_s,           &s.p99_s,         &s.mean_s,
                               &s.max_s,           &s.lag99_s,       &s.cpu_s,
                               &s.throttled_s,     &s.wal_bytes,     &s.read_bytes,
                               &s.generator_cpu_s, &s.write_bytes,   &s.temp_bytes,
                               &s.memory_bytes,    &s.anon_bytes,    &s.foreign_cpu_s,
                               &s.starved_s};

    for (size_t i = 0; i < TW_COUNT_OF(unknown); i++)
        *unknown[i] = NAN;
    return s;
}

static void slot_done(struct tw_slot *s)
{
    tw_hist_free(tw_take_ptr(&s->latency));
    free((void *)tw_take_ptr(&s->starts_ns));
    s->start_count = 0;
}

/* In a closed loop of n clients a request takes n / capacity. */
static double settle_s(const struct trial *t, int clients)
{
    double answer =
        t->small_capacity > 0 ? 2 * (clients ? clients : 16) / t->small_capacity : 0;

    return fmin(fmax(answer, SETTLE_LEAST_S), SETTLE_MOST_S);
}

static double writes_now(const struct trial *t)
{
    return t->spec->writes ? t->spec->writes(t->spec->arg) : NAN;
}

static void count_writes(struct trial *t, enum tw_arm arm, double before, int64_t done)
{
    double wrote = writes_now(t) - before;

    if (isnan(wrote))
        return;
    t->writes.writes[arm] += wrote;
    t->writes.requests[arm] += (double)done;
}

static int measure_slot(struct trial *t, enum tw_arm arm,
                        const struct tw_load_order *order, bool watch,
                        struct tw_slot *slot, struct tw_err *err)
{
    struct tw_counters before, after;
    struct trial_watch watcher;
    double writes;
    int r = tw_sampler_read(t->sampler[arm], t->full_reads, &before, err);

    if (r < 0)
        return r;
    writes = writes_now(t);
    if (watch)
        trial_watch_start(&watcher, t->sampler[arm], t->arena, &t->ret->waits[arm]);
    r = tw_load_slot(t->spec->load, order, slot, err);
    if (watch)
        trial_watch_stop(&watcher);
    if (r < 0)
        return r;
    if (order->clients == 0) /* all connections, warmed */
        count_writes(t, arm, writes, slot->done);
    r = tw_sampler_read(t->sampler[arm], t->full_reads, &after, err);
    if (r < 0) {
        slot_done(slot);
        return r;
    }
    tw_sample_slot(&before, &after, slot);
    return 0;
}

/* Runs a slot and appends it. A candidate that stops serving is a result, not an error.
 */
static int run_slot(struct trial *t, enum tw_arm arm, const struct trial_order *o,
                    int clients, struct tw_slot **ret_slot, struct tw_err *err)
{
    const struct tw_load_order order = {.arm = arm,
                                        .rate_per_s = o->rate_per_s,
                                        .clients = clients,
                                        .length_ns = o->length_ns,
                                        .seed = o->seed,
                                        .keep_starts = true,
                                        .settle_s = settle_s(t, clients)};
    struct tw_slot slot = blank_slot();
    int r;

    if (t->spec->cancel && *t->spec->cancel)
        return tw_fail(err, -ECANCELED, "measuring was cancelled");
    r = focus(t, arm, err);
    if (r == 0)
        r = measure_slot(t, arm, &order, o->closed && clients == 0, &slot, err);
    if (r < 0) {
        t->silent = r != -EPIPE && r != -ECANCELED && arm == TW_CANDIDATE &&
                    !tw_twin_running(t->spec->twins[arm]);
        return t->silent ? 0 : r;
    }
    slot.arm = arm;
    slot.pair = o->pair;
    slot.level = o->level;
    slot.offered_per_s = o->rate_per_s;
    if (slot.clients == 0)
        slot.clients = t->spec->connections;
    /* Errors may be those of a service that is no longer there. */
    if (arm == TW_CANDIDATE && slot.errors > 0)
        t->silent = !tw_twin_running(t->spec->twins[arm]);
    TW_PUSH(t->arena, &t->ret->slots, slot);
    if (ret_slot)
        *ret_slot = &t->ret->slots.items[t->ret->slots.count - 1];
    return 0;
}

/* ---- pairs ---- */

static void tell(struct trial *t, int pairs)
{
    struct tw_trial_progress p = {
        .pairs = pairs, .elapsed_s = elapsed_s(t), .budget_s = t->spec->plan->budget_s};

    if (!t->spec->progress)
        return;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        p.p50_ms[arm] = p.p95_ms[arm] = p.throughput_per_s[arm] = NAN;
    for (size_t i = t->ret->slots.count; i-- > 0 && i + 2 >= t->ret->slots.count;) {
        const struct tw_slot *s = &t->ret->slots.items[i];

        p.p50_ms[s->arm] = s->p50_s * 1e3;
        p.p95_ms[s->arm] = s->p95_s * 1e3;
        p.throughput_per_s[s->arm] = (double)s->done / tw_seconds(s->length_ns);
    }
    t->spec->progress(t->spec->arg, &p);
}

static int run_pair(struct trial *t, const struct trial_order *o, int clients,
                    struct tw_err *err)
{
    enum tw_arm second = o->first == TW_BASELINE ? TW_CANDIDATE : TW_BASELINE;
    int r = run_slot(t, o->first, o, clients, NULL, err);

    if (r == 0 && !t->silent)
        r = run_slot(t, second, o, clients, NULL, err);
    if (r == 0)
        tell(t, o->pair + 1);
    return r;
}

/* ---- warm-up ---- */

static double slot_rate(const struct tw_slot *s)
{
    return (double)s->done / tw_seconds(s->length_ns);
}

static void note_step(struct trial *t, struct trial_warmup *w)
{
    const struct tw_slot *last = t->ret->slots.items + t->ret->slots.count;

    for (int k = 1; k <= TW_ARM_COUNT; k++) {
        const struct tw_slot *s = last - k;
        int64_t before = w->steps ? w->spent_ns[s->arm][w->steps - 1] : 0;

        w->rate[s->arm][w->steps] = slot_rate(s);
        w->spent_ns[s->arm][w->steps] += before + s->length_ns;
    }
    w->steps++;
}

/* A slow service gets longer steps, so that a step's rate means something. Where one arm
 * is slower by far, that is known already, and the other one sets the pace. */
static int64_t step_length(const struct trial_warmup *w)
{
    const int last = w->steps - 1;
    double a, b, rate, ns;

    if (last < 0)
        return STEP_NS;
    a = w->rate[TW_BASELINE][last];
    b = w->rate[TW_CANDIDATE][last];
    rate = trial_warmup_far_apart(w, last) ? fmax(a, b) : fmin(a, b);
    ns = STEP_REQUESTS / rate * (double)TW_SEC_NS;
    return ns < (double)STEP_NS        ? STEP_NS
           : ns < (double)LONGEST_STEP ? (int64_t)ns
                                       : LONGEST_STEP;
}

static int warm_step(struct trial *t, struct trial_warmup *w, int clients,
                     struct tw_err *err)
{
    const struct trial_order o = {.pair = -1,
                                  .closed = true,
                                  .level = NAN,
                                  .rate_per_s = NAN,
                                  .first = (enum tw_arm)(w->steps % TW_ARM_COUNT),
                                  .length_ns = step_length(w),
                                  .seed = tw_rng_u64(&t->rng)};
    int r = run_pair(t, &o, clients, err);

    if (r == 0 && !t->silent)
        note_step(t, w);
    return r;
}

static void add_stage(struct trial *t, const char *name, double seconds)
{
    TW_PUSH(t->arena, &t->ret->measured.stages, (struct tw_stage_time){name, seconds});
}

/* The first step is cold; what the mix touches is then read in, so that both arms reach
 * in a moment the state in which production has been for days. */
static int prewarm(struct trial *t, struct trial_warmup *w, double *ret_seconds,
                   struct tw_err *err)
{
    struct trial_prewarm p;
    int64_t begun = tw_now_ns();
    int r = thaw_all(t, err);

    if (r < 0)
        return r;
    trial_prewarm(t->spec, begun + PREWARM_NS, &p);
    if (t->spec->prewarmed) {
        int64_t waited = t->spec->prewarmed(t->spec->arg);

        if (waited < 0)
            return tw_fail(err, -ENODATA, "what was found meanwhile leaves nothing to measure");
        t->begun_ns += waited;
        begun += waited;
    }
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        if (!isnan(p.seconds[arm]))
            w->spent_ns[arm][w->steps - 1] +=
                (int64_t)(p.seconds[arm] * (double)TW_SEC_NS);
    *ret_seconds = tw_seconds(tw_now_ns() - begun);
    add_stage(t, "prewarm", *ret_seconds);
    tw_step("trial.prewarm.done");
    return 0;
}

static int warm_up(struct trial *t, struct trial_warmup *w, struct tw_err *err)
{
    double most = t->spec->plan->budget_s * WARMUP_SHARE;
    double from_s = elapsed_s(t), prewarmed_s = 0;
    int r = warm_step(t, w, COLD_CLIENTS, err);

    w->from = 1;
    if (r == 0 && !t->silent)
        r = prewarm(t, w, &prewarmed_s, err);
    while (r == 0 && !t->silent && !trial_warmup_level(w) && w->steps < WARMUP_STEPS &&
           (w->steps < w->from + WARMUP_WINDOW || elapsed_s(t) < most))
        r = warm_step(t, w, 0, err);
    add_stage(t, "warm-up", elapsed_s(t) - from_s - prewarmed_s);
    if (r == 0)
        tw_step("trial.warmup.done");
    return r;
}

/* Level steps are closed slots in alternating order like any other: they become pairs. */
static int promote_steps(struct trial *t, const struct trial_warmup *w)
{
    int pairs = trial_warmup_window(w);
    size_t from = t->ret->slots.count - (size_t)pairs * TW_ARM_COUNT;

    if (!trial_warmup_level(w))
        return 0;
    for (size_t i = from; i < t->ret->slots.count; i++)
        t->ret->slots.items[i].pair = (int)((i - from) / TW_ARM_COUNT);
    return pairs;
}

/* Memory of one connection from a step with few and one with all; the rest is the base.
 */
static void note_memory(struct trial *t, enum tw_arm arm)
{
    const struct tw_slot *few = NULL, *all = NULL;
    double each;

    for (size_t i = 0; i < t->ret->slots.count && !all; i++) {
        const struct tw_slot *s = &t->ret->slots.items[i];

        if (s->arm != arm)
            continue;
        all = few && s->clients > few->clients ? s : NULL;
        few = few ? few : s;
    }
    t->ret->memory_base_bytes[arm] = t->ret->memory_per_connection_bytes[arm] = NAN;
    if (!all)
        return;
    each = (all->anon_bytes - few->anon_bytes) / (all->clients - few->clients);
    if (!(each > 0))
        return;
    t->ret->memory_per_connection_bytes[arm] = each;
    t->ret->memory_base_bytes[arm] = all->anon_bytes - each * all->clients;
}

static void note_warmup(struct trial *t, const struct trial_warmup *w)
{
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        t->ret->cold_s[arm] = trial_warmup_cold_s(w, (enum tw_arm)arm);
        t->ret->cold_ratio[arm] = trial_warmup_cold_ratio(w, (enum tw_arm)arm);
        note_memory(t, (enum tw_arm)arm);
    }
}

/* ---- the pairs ---- */

static int64_t missing_requests(const struct trial *t, const struct trial_analysis *an)
{
    int64_t least = an->requests[TW_BASELINE] < an->requests[TW_CANDIDATE]
                        ? an->requests[TW_BASELINE]
                        : an->requests[TW_CANDIDATE];

    return t->spec->plan->min_requests > least ? t->spec->plan->min_requests - least : 0;
}

static bool open_undecided(const struct trial_analysis *an)
{
    for (int m = TRIAL_P50; m < TRIAL_METRIC_COUNT; m++)
        if (an->metric[m].standing == TRIAL_OPEN)
            return true;
    return false;
}

/* What the next block has to be: first the open pairs that are due, then closed ones,
 * then whatever is still undecided, by turns. */
static bool wants_closed(const struct trial *t, const struct trial_schedule *s,
                         const struct trial_analysis *an, bool last_closed)
{
    bool closed_open = an->metric[TRIAL_THROUGHPUT].standing == TRIAL_OPEN ||
                       missing_requests(t, an) > 0;

    if (!s->open_useful || (an->outside && an->open_pairs >= HARM_OPEN_PAIRS))
        return true;
    if (s->open_pairs < s->open_min)
        return false;
    if (s->closed_pairs < CLOSED_AT_END)
        return true;
    return closed_open && (!last_closed || !open_undecided(an));
}

static bool enough_for_harm(const struct trial_schedule *s,
                            const struct trial_analysis *an)
{
    if (s->swamped)
        return an->open_pairs >= s->open_min && an->closed_pairs >= s->open_min;
    return (!s->open_useful || an->open_pairs >= HARM_OPEN_PAIRS) &&
           an->closed_pairs >= HARM_CLOSED_PAIRS;
}

/* The least that a policy asks for is measured also when the budget has ended, within
 * limits. */
static bool is_enough(const struct trial *t, const struct trial_analysis *an)
{
    return an->pairs >= t->spec->plan->min_pairs && missing_requests(t, an) == 0;
}

/* While nothing is certain it goes on as long as the policy allows. */
static double most_s(const struct trial *t)
{
    double most = t->spec->plan->most_s;

    return isnan(most) ? t->spec->plan->budget_s : most;
}

static bool is_overdue(const struct trial *t)
{
    return elapsed_s(t) > OVERDUE * t->spec->plan->budget_s;
}

static const char *why_stop(const struct trial *t, const struct trial_schedule *s,
                            const struct trial_analysis *an)
{
    int64_t next_ns =
        4 * (s->closed_ns > s->length_ns[1] ? s->closed_ns : s->length_ns[1]);

    if (t->silent)
        return "the candidate stopped serving";
    if (an->outside && enough_for_harm(s, an))
        return "decided: an effect beyond the margins";
    if (an->inside && an->pairs >= t->spec->plan->min_pairs &&
        missing_requests(t, an) == 0 && s->open_pairs >= s->open_min &&
        s->closed_pairs >= CLOSED_AT_END)
        return "decided: every effect within the margins";
    if (elapsed_s(t) + tw_seconds(next_ns) > fmax(most_s(t), t->spec->plan->budget_s) &&
        s->open_pairs + s->closed_pairs > 0 && (is_enough(t, an) || is_overdue(t)))
        return "budget";
    return NULL;
}

static int run_block(struct trial *t, struct trial_schedule *s, bool closed,
                     struct tw_err *err)
{
    int r = 0;

    for (int i = 0; i < 2 && r == 0 && !t->silent; i++) {
        struct trial_order o;

        trial_schedule_next(s, closed, &o);
        r = run_pair(t, &o, 0, err);
    }
    return r;
}

/* The budget has ended: one more look, which nothing follows. */
static void last_look(struct trial *t, struct trial_analysis *an)
{
    trial_analyse(t->ret->slots.items, t->ret->slots.count, &t->spec->margins, true, an);
    t->last = true;
    if (an->inside)
        t->ret->measured.stopped_because =
            "decided at the end of the budget: every effect within the margins";
}

/* Flushes wait for no disk while both arms ask as much of it: what they would wait for is then the same
 * in both, and somebody else's writing does not disturb. Where they do not, the wait is part of the
 * effect: what was measured without it counts no more, its time neither. */
static void ask_the_disk(struct trial *t, struct trial_schedule *s)
{
    if (!trial_writes_differ(&t->writes) || !t->spec->own_disk ||
        !t->spec->own_disk(t->spec->arg))
        return;
    t->writes = (struct trial_writes){0};
    for (size_t i = 0; i < t->ret->slots.count; i++)
        t->ret->slots.items[i].pair = -1;
    s->open_pairs = s->closed_pairs = 0;
    t->begun_ns = tw_now_ns();
}

static int run_pairs(struct trial *t, struct trial_schedule *s, struct tw_err *err)
{
    struct trial_analysis an;
    bool closed = false;
    int64_t begun = tw_now_ns();
    int r = 0;

    for (;;) {
        ask_the_disk(t, s);
        trial_gate(t->ret->slots.items, t->ret->slots.count);
        trial_analyse(t->ret->slots.items, t->ret->slots.count, &t->spec->margins, false,
                      &an);
        t->ret->measured.stopped_because = why_stop(t, s, &an);
        if (t->ret->measured.stopped_because)
            break;
        closed = wants_closed(t, s, &an, closed);
        if (closed)
            trial_schedule_want(s, missing_requests(t, &an));
        r = run_block(t, s, closed, err);
        if (r < 0)
            return r;
        tw_step("trial.block.done");
    }
    if (!t->silent && !an.inside && !an.outside)
        last_look(t, &an);
    t->ret->decided = !t->silent && (an.inside || an.outside);
    t->ret->measured.pairs = an.pairs;
    t->ret->measured.pairs_dropped = an.dropped;
    memcpy(t->ret->measured.requests, an.requests, sizeof an.requests);
    add_stage(t, "pairs", tw_seconds(tw_now_ns() - begun));
    return 0;
}

static int measure(struct trial *t, const struct trial_warmup *w, struct tw_err *err)
{
    struct trial_schedule schedule;
    struct trial_schedule_spec spec = {
        .target_rate_per_s = t->spec->target_rate_per_s,
        .budget_s = fmax(t->spec->plan->budget_s - elapsed_s(t), 0),
        .min_pairs = t->spec->plan->min_pairs,
        .next_pair = promote_steps(t, w),
        .seed = t->spec->plan->seed,
    };

    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        double own_s = tw_seconds(w->spent_ns[arm][w->steps - 1]);

        /* Nothing answered in the whole warm-up: less than half a request in that time.
         */
        spec.capacity_per_s[arm] =
            fmax(trial_warmup_capacity(w, (enum tw_arm)arm), 0.5 / own_s);
    }
    trial_schedule_init(&schedule, &spec);
    t->small_capacity = schedule.capacity_per_s;
    return run_pairs(t, &schedule, err);
}

/* ---- before and after ---- */

static int read_counters(struct trial *t, struct tw_counters counters[TW_ARM_COUNT],
                         struct tw_err *err)
{
    int r = thaw_all(t, err);

    for (int arm = 0; arm < TW_ARM_COUNT && r == 0; arm++)
        if (!t->silent || arm == TW_BASELINE) {
            (void)tw_load_flush(t->spec->load, (enum tw_arm)arm, NULL, NULL);
            r = tw_sampler_read(t->sampler[arm], true, &counters[arm], err);
        }
    return r;
}

static double closed_median(const struct trial *t, enum tw_arm arm)
{
    tw_auto_free double *x = tw_realloc_array(NULL, t->ret->slots.count + 1, sizeof *x);
    size_t n = 0;

    for (size_t i = 0; i < t->ret->slots.count; i++) {
        const struct tw_slot *s = &t->ret->slots.items[i];

        if (s->arm == arm && s->pair >= 0 && isnan(s->offered_per_s))
            x[n++] = slot_rate(s);
    }
    return tw_median(x, n);
}

static void sum_slots(struct trial *t)
{
    struct tw_measured *m = &t->ret->measured;
    double cpu = 0, length = 0;

    for (size_t i = 0; i < t->ret->slots.count; i++) {
        const struct tw_slot *s = &t->ret->slots.items[i];

        m->answered[s->arm] += s->done + s->errors;
        cpu += s->generator_cpu_s;
        length += tw_seconds(s->length_ns);
    }
    m->generator_share = length > 0 ? cpu / length : NAN;
}

static void sum_up(struct trial *t, const struct trial_warmup *w)
{
    struct tw_trial_result *ret = t->ret;
    struct tw_measured *m = &ret->measured;
    struct trial_totals totals;

    sum_slots(t);
    ret->candidate_stopped = t->silent;
    m->mix = t->spec->mix->description;
    m->mix_coverage = t->spec->mix->coverage;
    m->noise_floor = trial_noise_floor(ret->slots.items, ret->slots.count, TRIAL_P50);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        const struct tw_counters *from = &ret->before[arm], *to = &ret->after[arm];
        double counted = to->commits + to->rollbacks - from->commits - from->rollbacks;
        double closed = closed_median(t, (enum tw_arm)arm);

        m->transactions[arm] = counted > 0 ? (int64_t)counted : 0;
        m->capacity_per_s[arm] =
            isnan(closed) ? trial_warmup_capacity(w, (enum tw_arm)arm) : closed;
        totals.wal_bytes[arm] = to->wal_bytes - from->wal_bytes;
        totals.temp_bytes[arm] = to->temp_bytes - from->temp_bytes;
        totals.answered[arm] = m->answered[arm];
        ret->outlier_slots[arm] =
            trial_outliers(ret->slots.items, ret->slots.count, (enum tw_arm)arm);
    }
    trial_effects(t->arena, ret->slots.items, ret->slots.count, &t->spec->margins,
                  t->last, &totals, ret);
    m->seconds = elapsed_s(t);
}

static bool mix_writes(const struct tw_load_mix *mix)
{
    for (size_t i = 0; i < mix->items.count; i++)
        if (mix->items.items[i].writes)
            return true;
    return false;
}

static int run_trial(struct trial *t, struct tw_err *err)
{
    struct trial_warmup warmup = {0};
    int r = read_counters(t, t->ret->before, err);

    if (r == 0)
        r = warm_up(t, &warmup, err);
    if (r < 0)
        return r;
    if (warmup.steps == 0 && !t->silent)
        return tw_fail(err, -ENODATA,
                       "no warm-up step ended within the measuring budget");

    note_warmup(t, &warmup);
    if (t->silent)
        t->ret->measured.stopped_because = "the candidate stopped serving";
    else
        r = measure(t, &warmup, err);
    if (r < 0)
        return r;
    r = read_counters(t, t->ret->after, err);
    if (r == 0)
        r = tw_load_failures(t->spec->load, t->arena, &t->ret->failures, err);
    if (r == 0)
        sum_up(t, &warmup);
    return r;
}

static struct tw_counters blank_counters(void)
{
    /* Only the totals that are looked at here; a reading fills the rest. */
    return (struct tw_counters){
        .wal_bytes = NAN, .commits = NAN, .rollbacks = NAN, .temp_bytes = NAN};
}

int tw_trial_run(struct tw_arena *a, const struct tw_trial_spec *spec,
                 struct tw_trial_result *ret, struct tw_err *err)
{
    struct trial t = {.arena = a,
                      .spec = spec,
                      .ret = ret,
                      .can_freeze = true,
                      .full_reads = mix_writes(spec->mix),
                      .begun_ns = tw_now_ns()};
    int r = 0;

    *ret = (struct tw_trial_result){0};
    tw_rng_seed(&t.rng, spec->plan->seed, 0);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        ret->before[arm] = ret->after[arm] = blank_counters();
    for (int arm = 0; arm < TW_ARM_COUNT && r == 0; arm++)
        r = tw_sampler_open(spec->twins[arm], &t.sampler[arm], err);
    if (r == 0)
        r = run_trial(&t, err);
    (void)thaw_all(&t, NULL);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        if (t.sampler[arm])
            tw_sampler_close(t.sampler[arm]);
    if (r < 0)
        tw_trial_result_done(ret);
    return r;
}

void tw_trial_result_done(struct tw_trial_result *r)
{
    for (size_t i = 0; i < r->slots.count; i++)
        slot_done(&r->slots.items[i]);
}
