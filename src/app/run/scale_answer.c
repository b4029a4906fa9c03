/* What follows from the model of sizes: capacities, latencies at the peak, the smallest size that holds
 * the objective, the load at which it breaks, what gives out next. */
#include "run_scale.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CURVE       24   /* points of latency against utilisation */
#define CURVE_TOP   0.97
#define MOST_SOUGHT 512  /* instances that are tried for the objective */
#define MOST_SHOWN  16
#define LITTLE      1.05 /* what so many more instances must bring to be worth a word */

/* ---- what run asks for ---- */

double run_scale_effective(const struct run *r, enum tw_arm arm)
{
    return r->v.scale ? r->v.scale->effective[arm] : 1;
}

/* One instance answers at a rate as many of them do at as many times the rate: the horizon is simulated
 * for what ran, and stretched. */
const struct tw_profile *run_scale_profile(struct run *r, struct tw_arena *a, enum tw_arm arm)
{
    double by = run_scale_effective(r, arm);
    struct tw_profile *p;

    if (fabs(by - 1) < 1e-9)
        return &r->v.profile;
    p = tw_arena_alloc(a, sizeof *p);
    *p = r->v.profile;
    p->bins.items = tw_arena_alloc(a, p->bins.count * sizeof *p->bins.items);
    p->peak_per_s /= by;
    for (size_t i = 0; i < p->bins.count; i++) {
        p->bins.items[i] = r->v.profile.bins.items[i];
        p->bins.items[i].rate_per_s /= by;
    }
    return p;
}

static void stretch(struct tw_estimate *e, double by)
{
    e->value *= by;
    e->low *= by;
    e->high *= by;
}

void run_scale_forecast(const struct run *r, enum tw_arm arm, struct tw_forecast *f)
{
    const struct run_scale *s = r->v.scale;
    double by = run_scale_effective(r, arm);
    double more = s ? (double)s->asked[arm] / s->running[arm] : 1;

    if (fabs(by - 1) < 1e-9 && fabs(more - 1) < 1e-9)
        return;
    for (size_t i = 0; i < f->bins.count; i++) {
        struct tw_bin *b = &f->bins.items[i];
        double *const rates[] = {&b->rate_per_s,      &b->throughput_per_s, &b->errors_per_s,
                                 &b->cpu_cores,       &b->wal_bytes_per_s,  &b->connections,
                                 &b->backlog};

        for (size_t k = 0; k < TW_COUNT_OF(rates); k++)
            *rates[k] *= by;
        b->memory_bytes *= more;
    }
    stretch(&f->throughput_per_s, by);
    stretch(&f->cpu_cores, by);
    stretch(&f->wal_bytes, by);
    stretch(&f->errors, by);
    stretch(&f->connections, by);
    stretch(&f->memory_bytes, more);
    f->requests *= by;
    TW_PUSH(r->v.sim->arena, &f->notes,
            (const char *)tw_arena_printf(
                r->v.sim->arena,
                "simulated for what ran (%d instance%s) and stretched %.3g times, to what %d "
                "of the size asked for carry by the model",
                s->running[arm], s->running[arm] == 1 ? "" : "s", by, s->asked[arm]));
}

/* The model of what ran gets its capacity from demands, not from rates under a quota. */
void run_scale_calibrate(struct run *r, enum tw_arm arm)
{
    struct tw_model *m = &r->v.model[arm];
    double capacity = r->v.scale ? scale_capacity_now(r, arm) : NAN, by;

    if (!(capacity > 0) || !r->v.scale->own)
        return;
    by = capacity / m->capacity_per_s;
    for (int i = -1; i < r->v.resampled_count[arm]; i++) {
        struct tw_model *one = i < 0 ? m : &r->v.resampled[arm][i];
        int last = one->level_count - 1;

        one->capacity_per_s *= by;
        one->capacity_low *= by;
        one->capacity_high *= by;
        one->stall = fmax(1, one->stall / by);
        if (isnan(one->q_measured[last][0]) && last > 0)
            one->rate_per_s[last] = fmax(one->capacity_per_s, 1.001 * one->rate_per_s[last - 1]);
    }
}

/* ---- what is read while the arms still stand ---- */

static int64_t kills_of(struct run *r, enum tw_arm arm)
{
    struct tw_sandbox *boxes[SCALE_INSTANCES];
    size_t n = run_scale_boxes(r, arm, boxes, SCALE_INSTANCES - 1);
    int64_t all = 0;
    struct tw_usage u;

    boxes[n++] = tw_twin_sandbox(run_twin_of(r, arm));
    for (size_t i = 0; i < n; i++)
        if (tw_sandbox_usage(boxes[i], &u, NULL) == 0 && u.oom_kills > 0)
            all += u.oom_kills;
    return all;
}

/* Who takes the connections of the instances' pools: the first behind them that says how many. */
static void read_connections(struct run *r)
{
    struct run_scale *s = r->v.scale;

    for (size_t i = 0; i < r->peer_count && !s->connections_of; i++) {
        struct run_peer *p = &r->peers[i];
        struct tw_service_limits l = {.max_connections = NAN};
        int today = s->change->pool * s->asked[TW_BASELINE];
        int others = p->snapshot.connections_used - today;

        if (p->front || !p->of.kind->limits || !p->arms[TW_BASELINE].twin ||
            p->of.kind->limits(r->v.sim->arena, tw_twin_access(p->arms[TW_BASELINE].twin), &l,
                               NULL) < 0 ||
            !(l.max_connections > 0))
            continue;
        s->connections_of = p->of.target.name;
        s->connections_most = l.max_connections;
        s->connections_free = l.max_connections -
                              (isnan(l.reserved_connections) ? 0 : l.reserved_connections) -
                              (others > 0 ? others : 0);
    }
}

void run_scale_after(struct run *r)
{
    struct run_scale *s = r->v.scale;

    if (!s)
        return;
    if (!s->own && scale_measure(r, NULL) == 0)
        scale_model(r);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        s->oom_kills[arm] = kills_of(r, (enum tw_arm)arm);
        if (s->has_model)
            s->effective[arm] = scale_capacity(s, (enum tw_arm)arm, s->asked[arm]) /
                                scale_capacity_now(r, (enum tw_arm)arm);
        /* in pairs what was asked for is what ran: their ratio stands as it was measured */
        if (!s->own && !s->smaller[arm])
            s->effective[arm] = 1;
        if (!(s->effective[arm] > 0))
            s->effective[arm] = 1;
    }
    read_connections(r);
}

/* ---- latency against utilisation, of one arm's instances ---- */

struct curve {
    int n;
    double at[CURVE], q[CURVE][3];
};

static void make_curve(struct run *r, enum tw_arm arm, struct curve *c)
{
    struct tw_arena *a = r->v.sim->arena;
    struct tw_profile p = {.name = "steady"};
    const struct tw_model *m = &r->v.model[arm];
    struct tw_predict_spec spec = {.model = m,
                                   .profile = &p,
                                   .engine = "map",
                                   .seed = r->v.sim->plan.seed,
                                   .checkpoint_s = NAN,
                                   .max_wal_bytes = NAN};
    struct tw_forecast f = {0};

    c->n = 0;
    for (int i = 0; i < CURVE; i++) {
        __typeof__(*p.bins.items) bin = {
            i, 1, m->capacity_per_s * CURVE_TOP * (i + 1) / CURVE};

        TW_PUSH(a, &p.bins, bin);
    }
    p.peak_per_s = m->capacity_per_s * CURVE_TOP;
    if (!r->v.has_model[arm] || tw_predict_horizon(a, &spec, &f, NULL) < 0)
        return;
    for (size_t i = 0; i < f.bins.count && !isnan(f.bins.items[i].p99_s); i++) {
        const struct tw_bin *b = &f.bins.items[i];
        const double q[3] = {b->p50_s, b->p95_s, b->p99_s};

        c->at[c->n] = CURVE_TOP * (double)(i + 1) / CURVE;
        for (int k = 0; k < 3; k++) /* more load is not faster */
            c->q[c->n][k] = c->n ? fmax(q[k], c->q[c->n - 1][k]) : q[k];
        c->n++;
    }
}

static double latency_at(const struct curve *c, double utilisation, int k)
{
    int i = 0;
    double from, share;

    if (!c->n || !(utilisation <= c->at[c->n - 1]))
        return NAN;
    while (c->at[i] < utilisation)
        i++;
    if (i == 0)
        return c->q[0][k];
    from = c->at[i - 1];
    share = (utilisation - from) / (c->at[i] - from);
    return exp(log(c->q[i - 1][k]) * (1 - share) + log(c->q[i][k]) * share);
}

static bool holds_at(const struct run_scale *s, const struct curve *c, double utilisation)
{
    static const char *const names[] = {"p50", "p95", "p99"};

    for (size_t i = 0; i < s->change->objectives.count; i++) {
        const struct tw_objective *o = &s->change->objectives.items[i];
        int k = tw_name_index(o->metric, names, TW_COUNT_OF(names));

        /* beyond what it serves requests fail; below it they do not for want of capacity */
        if (k < 0 ? utilisation > 1 : !(latency_at(c, utilisation, k) <= o->limit))
            return false;
    }
    return true;
}

/* The largest share of the capacity at which every objective holds. */
static double largest_share(const struct run_scale *s, const struct curve *c)
{
    double low = 0, high = 1;

    if (!s->change->objectives.count)
        return NAN;
    if (holds_at(s, c, 1))
        return 1;
    for (int i = 0; i < 40; i++) {
        double middle = (low + high) / 2;

        if (holds_at(s, c, middle))
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* ---- points ---- */

struct answer {
    struct run *r;
    struct run_scale *s;
    struct tw_scale *to;
    struct curve curve;
    double share; /* of the capacity that may be used; NaN: no objective */
};

static const char *limit_name(const struct answer *w, int instances)
{
    struct tw_size_model m = w->s->model[TW_CANDIDATE];
    size_t limit;

    m.clients = scale_clients(instances);
    (void)tw_size_capacity(&m, instances, &limit);
    return limit < m.count ? m.stations[limit].name : "something that is no CPU";
}

static struct tw_scale_point point_of(const struct answer *w, int instances)
{
    struct tw_size_model m = w->s->model[TW_CANDIDATE];
    double peak = w->r->v.peak_per_s;
    struct tw_scale_point p = {.instances = instances, .limit = limit_name(w, instances)};

    m.clients = scale_clients(instances);
    p.capacity_per_s = tw_size_estimate(&m, instances, w->r->v.sim->plan.seed);
    p.utilisation = peak / p.capacity_per_s.value;
    p.p50_s = latency_at(&w->curve, p.utilisation, 0);
    p.p95_s = latency_at(&w->curve, p.utilisation, 1);
    p.p99_s = latency_at(&w->curve, p.utilisation, 2);
    p.holds_per_s = w->share * p.capacity_per_s.value;
    p.holds = isnan(w->share) ? peak <= p.capacity_per_s.low
                              : peak <= w->share * p.capacity_per_s.low;
    p.measured = w->s->own && !isnan(scale_rate(w->s)) && instances == w->s->running[TW_CANDIDATE] && !w->s->smaller[TW_CANDIDATE];
    if (p.measured) {
        p.capacity_per_s.value = scale_rate(w->s);
        p.capacity_per_s.low = fmin(p.capacity_per_s.low, p.capacity_per_s.value);
        p.capacity_per_s.high = fmax(p.capacity_per_s.high, p.capacity_per_s.value);
        p.capacity_per_s.method = "measured in a closed loop";
    }
    return p;
}

/* Every size up to a few more than asked for; of many, ever larger steps. */
static void add_points(const struct answer *w)
{
    int last = w->s->asked[TW_CANDIDATE] > w->s->asked[TW_BASELINE] ? w->s->asked[TW_CANDIDATE]
                                                                     : w->s->asked[TW_BASELINE];
    int until = last + 2, step = 1 + until / MOST_SHOWN;

    if (last == 1)
        until = 1;
    for (int n = 1; n <= until; n += n % step && step > 1 ? 1 : step)
        TW_PUSH(w->r->v.sim->arena, &w->to->points, point_of(w, n));
}

static bool carries(const struct answer *w, int instances)
{
    double share = isnan(w->share) ? 1 : w->share;

    return scale_capacity(w->s, TW_CANDIDATE, instances) * share >= w->r->v.peak_per_s;
}

/* Capacity does not fall with instances but by contention, so the first that carries it is sought
 * upwards; where the interval's bad end does not, one more is looked at. */
static void find_smallest(const struct answer *w)
{
    struct tw_arena *a = w->r->v.sim->arena;
    int n = 1;

    while (n <= MOST_SOUGHT && !carries(w, n))
        n = n < 32 ? n + 1 : n + n / 8;
    while (n <= MOST_SOUGHT && !point_of(w, n).holds && carries(w, n) && n < 32)
        n++;
    w->to->smallest = n <= MOST_SOUGHT && point_of(w, n).holds ? n : 0;
    if (w->to->smallest)
        w->to->smallest_why = tw_arena_printf(
            a, "%d instance%s carr%s the peak of %s requests/s%s, by the bad end of the interval "
               "too",
            n, n == 1 ? "" : "s", n == 1 ? "ies" : "y",
            tw_show_count(a, w->r->v.peak_per_s),
            isnan(w->share) ? "" : " within the objective");
    else
        w->to->smallest_why = tw_arena_printf(
            a, "no number of instances of this size carries the peak of %s requests/s%s: %s is the "
               "limit at %s",
            tw_show_count(a, w->r->v.peak_per_s), isnan(w->share) ? "" : " within the objective",
            limit_name(w, MOST_SOUGHT),
            tw_show_count(a, scale_capacity(w->s, TW_CANDIDATE, MOST_SOUGHT)));
}

static void find_break(const struct answer *w)
{
    double most = scale_capacity(w->s, TW_CANDIDATE, w->s->asked[TW_CANDIDATE]) *
                  (isnan(w->share) ? 1 : w->share);
    const struct tw_profile *p = &w->r->v.profile;

    w->to->breaks_at_per_s = most;
    w->to->breaks_at_hours = NAN;
    for (size_t i = 0; i < p->bins.count && isnan(w->to->breaks_at_hours); i++)
        if (p->bins.items[i].rate_per_s > most)
            w->to->breaks_at_hours = p->bins.items[i].from_h;
}

/* ---- what gives out next ---- */

static void add_next(const struct answer *w, const char *what, double instances, double rate,
                     const char *evidence)
{
    struct tw_scale_next one = {what, instances, rate, evidence};

    TW_PUSH(w->r->v.sim->arena, &w->to->next, one);
}

static void next_connections(const struct answer *w)
{
    struct tw_arena *a = w->r->v.sim->arena;
    const struct run_scale *s = w->s;
    int pool = s->change->pool, asked = s->asked[TW_CANDIDATE];
    double most = pool > 0 ? floor(s->connections_free / pool) : NAN;
    const char *evidence;

    if (!s->connections_of || isnan(most))
        return;
    evidence = tw_arena_printf(
        a, "%d instances x a pool of %d = %d connections; '%s' has room for %.0f of %.0f "
           "(max_connections, less reserved and others')",
        asked, pool, asked * pool, s->connections_of, s->connections_free, s->connections_most);
    add_next(w, tw_arena_printf(a, "connections of '%s'", s->connections_of), most + 1, NAN,
             evidence);
    if (asked > most)
        tw_issue_add(a, &w->r->v.issues, TW_CRITICAL, TW_BLOCK, "scaling.connections",
                     "the instances' pools ask for more connections than there are", evidence,
                     tw_arena_printf(a, "a pool of %.0f for each instance, a pooler between them, "
                                        "or a larger max_connections with its memory",
                                     floor(s->connections_free / asked)));
}

static void next_stations(const struct answer *w)
{
    struct tw_arena *a = w->r->v.sim->arena;
    const struct run_scale *s = w->s;

    for (size_t i = 0; i < s->station_count; i++) {
        const struct tw_size_station *one = &s->stations[TW_CANDIDATE][i];
        double demand = isnan(one->demand_full_s) ? one->demand_s : one->demand_full_s;
        int n = one->replicated ? s->asked[TW_CANDIDATE] : 1;

        if (!(demand > 0) || isinf(one->cores))
            continue;
        add_next(w, tw_arena_printf(a, "CPU of '%s'", one->name),
                 one->replicated ? NAN
                                 : ceil(one->cores / demand * s->stations[TW_CANDIDATE][0].demand_s /
                                        s->stations[TW_CANDIDATE][0].cores),
                 n * one->cores / demand,
                 tw_arena_printf(a, "%s of CPU for a request%s, %s%.3g cores",
                                 tw_show_seconds(a, demand),
                                 isnan(one->demand_full_s) ? "" : " where it is the limit",
                                 n > 1 ? tw_arena_printf(a, "%d times ", n) : "", one->cores));
    }
}

static int by_rate(const void *pa, const void *pb)
{
    const struct tw_scale_next *x = pa, *y = pb;
    double a = isnan(x->at_per_s) ? -1 : x->at_per_s, b = isnan(y->at_per_s) ? -1 : y->at_per_s;

    return (a > b) - (a < b);
}

/* ---- findings ---- */

static void judge_objective(const struct answer *w)
{
    struct tw_arena *a = w->r->v.sim->arena;
    struct tw_scale_point p = point_of(w, w->s->asked[TW_CANDIDATE]);
    double share = isnan(w->share) ? 1 : w->share;
    bool surely = w->r->v.peak_per_s > share * p.capacity_per_s.high;

    if (p.holds)
        return;
    tw_issue_add(
        a, &w->r->v.issues, surely ? TW_CRITICAL : TW_HIGH, surely ? TW_BLOCK : TW_REVIEW,
        "scaling.objective",
        isnan(w->share) ? "this size does not carry the peak of the load"
                        : "the objective does not hold at the peak of the load",
        tw_arena_printf(a, "%s requests/s at the peak; this size %s up to %s (90 %%: %s to %s); %s "
                           "is the limit",
                        tw_show_count(a, w->r->v.peak_per_s),
                        isnan(w->share) ? "serves" : "holds it",
                        tw_show_count(a, share * p.capacity_per_s.value),
                        tw_show_count(a, share * p.capacity_per_s.low),
                        tw_show_count(a, share * p.capacity_per_s.high), p.limit),
        w->to->smallest_why);
}

static void judge_sizes(const struct answer *w)
{
    struct tw_arena *a = w->r->v.sim->arena;
    const struct run_scale *s = w->s;
    int asked = s->asked[TW_CANDIDATE], least = w->to->smallest;
    double here = scale_capacity(s, TW_CANDIDATE, asked);
    double fewer = scale_capacity(s, TW_CANDIDATE, asked - asked / 4);

    if (asked >= 4 && here < LITTLE * fewer)
        tw_issue_add(a, &w->r->v.issues, TW_MEDIUM, TW_PROCEED, "scaling.shared_limit",
                     "the last instances add next to nothing",
                     tw_arena_printf(a, "%d carry %s requests/s, %d carry %s: %s is the limit",
                                     asked - asked / 4, tw_show_count(a, fewer), asked,
                                     tw_show_count(a, here), limit_name(w, asked)),
                     "make what they share larger first");
    if (least && asked > least + least / 2 && !w->r->v.peak_assumed)
        tw_issue_add(a, &w->r->v.issues, TW_INFO, TW_PROCEED, "scaling.oversized",
                     "fewer instances would do", w->to->smallest_why, NULL);
}

static void judge_doubts(const struct answer *w)
{
    struct tw_arena *a = w->r->v.sim->arena;
    const struct run_scale *s = w->s;

    if (s->alone_because)
        tw_issue_add(a, &w->r->v.issues, TW_MEDIUM, TW_REVIEW, "scaling.one_instance",
                     "further instances are computed from one, as a perfect balancer would share",
                     s->alone_because, NULL);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        if (s->smaller[arm])
            tw_issue_add(
                a, &w->r->v.issues, TW_MEDIUM, arm == TW_CANDIDATE ? TW_REVIEW : TW_PROCEED,
                "scaling.not_verifiable_here",
                tw_arena_printf(a, "the size %s is more than this host can give",
                                arm == TW_CANDIDATE ? "asked for" : "of today"),
                tw_arena_printf(a, "%.3g cores and %s were given of %.3g cores; what more of them "
                                   "carry is computed from CPU per request",
                                s->given[arm], tw_show_bytes(a, (double)s->memory[arm]),
                                s->cores[arm]),
                "run the twin on a host of that size");
}

static void judge_memory(struct run *r)
{
    const struct run_scale *s = r->v.scale;

    if (s->oom_kills[TW_CANDIDATE] > s->oom_kills[TW_BASELINE])
        tw_issue_add(r->v.sim->arena, &r->v.issues, TW_CRITICAL, TW_BLOCK, "scaling.memory",
                     "an instance runs out of its memory under load",
                     tw_arena_printf(r->v.sim->arena,
                                     "the kernel killed %lld of its processes within a limit of %s",
                                     (long long)s->oom_kills[TW_CANDIDATE],
                                     tw_show_bytes(r->v.sim->arena, (double)s->memory[TW_CANDIDATE])),
                     "a larger memory limit");
}

/* ---- the whole ---- */

static void fill_sizes(const struct answer *w)
{
    struct tw_scale *to = w->to;
    const struct run_scale *s = w->s;

    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        to->instances[arm] = s->asked[arm];
        to->measured[arm] = s->running[arm];
        to->cpus[arm] = s->cores[arm];
        to->memory_bytes[arm] = s->memory[arm];
        to->modelled[arm] = s->asked[arm] != s->running[arm] || s->smaller[arm];
    }
    to->balancer = s->balancer ? s->balancer->of.target.name : NULL;
    to->peak_per_s = w->r->v.peak_per_s;
    to->clients = SCALE_EACH;
    to->contention = s->model[TW_CANDIDATE].contention;
    to->breaks_at_per_s = to->breaks_at_hours = NAN;
    for (size_t i = 0; i < s->change->objectives.count; i++)
        TW_PUSH(w->r->v.sim->arena, &to->objectives, s->change->objectives.items[i]);
}

static void fill_stations(const struct answer *w)
{
    double z = tw_normal_quantile(0.95);

    for (size_t i = 0; i < w->s->station_count; i++) {
        const struct tw_size_station *one = &w->s->stations[TW_CANDIDATE][i];
        struct tw_scale_station to = {
            .name = one->name,
            .replicated = one->replicated,
            .demand_s = {one->demand_s, one->demand_s * exp(-z * one->error),
                         one->demand_s * exp(z * one->error), 0.9, w->s->seen[SCALE_FEW].slots,
                         "CPU of its cgroup over requests answered, closed loop"},
            .demand_full_s = one->demand_full_s,
            .cores = isinf(one->cores) ? NAN : one->cores};

        to.capacity_per_s =
            one->demand_s > 0
                ? to.cores / (isnan(one->demand_full_s) ? one->demand_s : one->demand_full_s)
                : NAN;
        TW_PUSH(w->r->v.sim->arena, &w->to->stations, to);
    }
}

int run_scale_answer(struct run *r, struct tw_err *err)
{
    struct answer w = {r, r->v.scale, &r->v.sim->impact.scale, {0}, NAN};

    (void)err;
    if (!w.s)
        return 0;
    fill_sizes(&w);
    judge_memory(r);
    judge_doubts(&w);
    if (!w.s->has_model || !(r->v.peak_per_s > 0))
        return 0;
    make_curve(r, TW_CANDIDATE, &w.curve);
    w.share = largest_share(w.s, &w.curve);
    fill_stations(&w);
    add_points(&w);
    find_smallest(&w);
    find_break(&w);
    next_connections(&w);
    next_stations(&w);
    if (w.to->next.count)
        qsort(w.to->next.items, w.to->next.count, sizeof *w.to->next.items, by_rate);
    judge_objective(&w);
    judge_sizes(&w);
    r->v.scale_answer = *w.to;
    return 0;
}

/* For laws and causes, which ask how much is served: as much as all that is asked for does. */
static void stretch_model(struct tw_model *m, double by)
{
    m->capacity_per_s *= by;
    m->capacity_low *= by;
    m->capacity_high *= by;
    for (int i = 0; i < m->level_count; i++)
        m->rate_per_s[i] *= by;
}

void run_scale_facts(struct run *r, struct tw_impact_facts *f)
{
    const struct run_scale *s = r->v.scale;

    if (!s)
        return;
    f->modelled = s->own || s->smaller[TW_CANDIDATE];
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        if (f->modelled && r->v.has_model[arm])
            stretch_model(&r->v.model[arm], s->effective[arm]);
}
