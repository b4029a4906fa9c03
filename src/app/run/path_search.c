/* From which value on does the path break what it carries? With the load still open, short closed slots of the
 * candidate alone: what it can serve at a value is compared with what it has to. One property at a time, the
 * others as asked; by factors until it is bracketed, then halved on a log scale. */
#include "run_path.h"

#include <math.h>
#include <string.h>

#define SLOT_S      0.12
#define TRIPS       4.0   /* that a slot has room for at least */
#define SLOT_MOST_S 0.4
#define WIDTH       1.25  /* of the bracket, when it is narrow enough */
#define BUDGET_S    0.7   /* of all properties together */
#define RATE_SHARE  0.6   /* of the capacity, where nobody says what is asked for */
#define ERRORS_MOST 0.01

enum property { LATENCY, LOSS, BANDWIDTH, PROPERTIES };
static const struct row {
    const char *name;
    size_t offset;
    bool falls;         /* it gets worse as it gets smaller */
    double least, most; /* that are tried */
} rows[PROPERTIES] = {
    [LATENCY] = {"latency", offsetof(struct tw_network_request, latency_s), false, 5e-5, 2},
    [LOSS] = {"loss", offsetof(struct tw_network_request, loss), false, 5e-4, 0.5},
    [BANDWIDTH] = {"bandwidth", offsetof(struct tw_network_request, bandwidth_bps), true, 64e3, 10e9},
};

struct search {
    struct run *r;
    struct run_path *p;
    const struct row *row;
    double rate_per_s; /* that has to be served */
    bool assumed;
    int64_t until_ns;
    double round_trips; /* of a request; NaN unknown */
    int slots;
};

static double *field(struct tw_network_request *n, const struct row *row)
{
    return (double *)(void *)((char *)n + row->offset);
}

static const char *show(struct tw_arena *a, const struct row *row, double v)
{
    if (row == &rows[LATENCY])
        return tw_show_seconds(a, v);
    return row == &rows[LOSS] ? tw_arena_printf(a, "%.2g %%", 100 * v)
                              : tw_arena_printf(a, "%.3g Mbit/s", 1e-6 * v);
}

/* ---- one value ---- */

static double served(const struct tw_slot *s)
{
    return (double)s->done / tw_seconds(s->length_ns);
}

/* 1 it breaks, 0 it holds, or an error of ours. */
static int breaks(struct search *k, double value, struct tw_err *err)
{
    struct tw_network_request n = k->p->asked;
    double trip = 0, length;
    struct tw_load_order order = {.arm = TW_CANDIDATE, .rate_per_s = NAN, .seed = 1 + (uint64_t)k->slots};
    struct tw_slot slot = {0};
    bool broken;
    int rc;

    *field(&n, k->row) = value;
    n.jitter_s = fmin(n.jitter_s, n.latency_s);
    trip = n.latency_s * fmax(1, isnan(k->round_trips) ? 1 : k->round_trips);
    length = fmin(fmax(SLOT_S, TRIPS * trip), SLOT_MOST_S);
    order.length_ns = (int64_t)(length * (double)TW_SEC_NS);
    order.settle_s = fmin(2 * trip + 0.05, SLOT_MOST_S);
    rc = path_shape(k->p, &n, err);
    if (rc == 0)
        rc = tw_load_slot(k->r->v.load, &order, &slot, err);
    if (rc < 0)
        return rc;
    k->slots++;
    broken = served(&slot) < k->rate_per_s ||
             (double)slot.errors > ERRORS_MOST * (double)(slot.done + slot.errors);
    tw_log(TW_LOG_DEBUG, "path: %s %g: %.0f per s of %.0f, %lld errors: %s", k->row->name, value, served(&slot),
           k->rate_per_s, (long long)slot.errors, broken ? "breaks" : "holds");
    tw_hist_free(slot.latency);
    return broken;
}

/* ---- the bracket ---- */

struct bracket {
    double holds, breaks; /* NaN: none was found */
};

static bool in_time(const struct search *k)
{
    return tw_now_ns() < k->until_ns;
}

static int search_one(struct search *k, struct bracket *b, struct tw_err *err)
{
    const struct row *row = k->row;
    double v = fmin(fmax(*field(&k->p->asked, row), row->least), row->most), step = 4;
    int rc = breaks(k, v, err);

    *b = (struct bracket){NAN, NAN};
    /* out from the value asked for, to the other side of the edge */
    for (bool first = rc > 0; rc >= 0;) {
        bool worse;

        *(rc > 0 ? &b->breaks : &b->holds) = v;
        if ((rc > 0) != first || !in_time(k))
            break;
        worse = rc == 0;
        v *= worse == row->falls ? 1 / step : step;
        if (v < row->least || v > row->most)
            break;
        step *= 2;
        rc = breaks(k, v, err);
    }
    while (rc >= 0 && b->holds > 0 && b->breaks > 0 && in_time(k) &&
           fmax(b->holds, b->breaks) / fmin(b->holds, b->breaks) > WIDTH) {
        v = sqrt(b->holds * b->breaks);
        rc = breaks(k, v, err);
        if (rc >= 0)
            *(rc > 0 ? &b->breaks : &b->holds) = v;
    }
    return rc < 0 ? rc : 0;
}

/* ---- told ---- */

static const char *load_text(struct tw_arena *a, const struct search *k)
{
    return tw_arena_printf(a, "%.3g requests per second%s, over %d connections, tried in %d short slots",
                           k->rate_per_s, k->assumed ? " (60 % of what it serves today: nobody said it)" : "",
                           run_connections(k->r), k->slots);
}

static void tell(struct search *k, const struct bracket *b)
{
    struct tw_arena *a = k->r->v.sim->arena;
    double asked = *field(&k->p->asked, k->row);
    const char *name = k->row->name;
    bool beyond = !isnan(b->breaks) && (k->row->falls ? asked <= b->breaks : asked >= b->breaks);
    bool near = !isnan(b->breaks) && !beyond && fmax(asked / b->breaks, b->breaks / asked) < 2;
    enum tw_verdict verdict = beyond && !k->assumed ? TW_BLOCK : beyond || near ? TW_REVIEW : TW_PROCEED;

    if (isnan(b->breaks)) {
        (void)tw_issue_add(a, &k->r->v.issues, TW_INFO, TW_PROCEED, "path.holds",
                           tw_arena_printf(a, "%s holds up to %s, the worst that was tried", name,
                                           show(a, k->row, b->holds)),
                           load_text(a, k), NULL);
        return;
    }
    (void)tw_issue_add(
        a, &k->r->v.issues, beyond ? TW_CRITICAL : near ? TW_HIGH : TW_LOW, verdict, "path.breaks",
        isnan(b->holds)
            ? tw_arena_printf(a, "no longer serves what is asked of it at a %s of %s, the best that was tried", name,
                              show(a, k->row, b->breaks))
            : tw_arena_printf(a, "it breaks from a %s of %s on (between %s and %s)", name,
                              show(a, k->row, sqrt(b->holds * b->breaks)), show(a, k->row, b->holds),
                              show(a, k->row, b->breaks)),
        load_text(a, k),
        isnan(k->round_trips)
            ? NULL
            : tw_arena_printf(a,
                              "each request waits for %.1f round trips on this path: fewer of them (batches, "
                              "pipelining, a cache), or more connections",
                              k->round_trips));
}

/* ---- how often a request crosses it ---- */

static double effect_of(const struct run *r, const char *metric)
{
    for (size_t i = 0; i < r->v.trial.effects.count; i++)
        if (tw_streq(r->v.trial.effects.items[i].metric, metric))
            return r->v.trial.effects.items[i].after - r->v.trial.effects.items[i].before;
    return NAN;
}

static double round_trips(const struct run *r, const struct run_path *p)
{
    double more_ms = effect_of(r, "p50_ms"), trips;

    if (!(p->asked.latency_s > 0) || isnan(more_ms))
        return NAN;
    trips = 1e-3 * more_ms / p->asked.latency_s;
    return trips >= 0.3 ? trips : NAN;
}

static double rate_of(const struct run *r, bool *ret_assumed)
{
    const double known[] = {r->v.sim->plan.rate_per_s, r->snapshot.rate_per_s, run_entry(r).snapshot->rate_per_s};

    for (size_t i = 0; i < TW_COUNT_OF(known); i++)
        if (known[i] > 0)
            return known[i];
    *ret_assumed = true;
    return RATE_SHARE * r->v.trial.measured.capacity_per_s[TW_BASELINE];
}

void run_network_search(struct run *r)
{
    struct run_path *p = r->v.path;
    struct search k = {.r = r, .p = p};
    int64_t begun;
    int left = 0, rc = 0;

    if (!p || !p->shape[TW_CANDIDATE] || path_is_cut(&p->asked) || r->v.trial.candidate_stopped)
        return;
    k.rate_per_s = rate_of(r, &k.assumed);
    path_measure(r, fmin(k.rate_per_s, RATE_SHARE * r->v.trial.measured.capacity_per_s[TW_CANDIDATE]));
    k.round_trips = round_trips(r, p);
    begun = tw_now_ns();
    for (int i = 0; i < PROPERTIES; i++)
        left += *field(&p->asked, &rows[i]) > 0;
    for (int i = 0; i < PROPERTIES && rc == 0 && k.rate_per_s > 0; i++) {
        struct bracket b;
        struct tw_err why = {0};
        double rest = BUDGET_S - tw_seconds(tw_now_ns() - begun);

        if (!(*field(&p->asked, &rows[i]) > 0))
            continue;
        k.row = &rows[i];
        k.slots = 0;
        k.until_ns = tw_now_ns() + (int64_t)(rest / left-- * (double)TW_SEC_NS);
        rc = search_one(&k, &b, &why);
        if (rc == 0)
            tell(&k, &b);
        else
            tw_log(TW_LOG_WARNING, "where the path breaks was not found: %s", why.text);
    }
    run_stage_time(r, "path search", tw_seconds(tw_now_ns() - begun));
}
