/* Predictions from what is known already, with no sandbox: the answers of earlier simulations of the
 * target. The same change gives their answer; a setting tried with values around this one is
 * interpolated; settings tried one by one are put together. Where history has nothing, it says so. */
#include "api_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_BACK 24 /* answers that are read */

struct past {
    const struct tw_store_simulation *row;
    json_t *body; /* owned */
    const json_t *change, *impact;
    json_t *outcome; /* owned: what really happened; NULL: nobody told */
};
struct knowledge {
    struct past past[LOOK_BACK];
    size_t count;
    json_t *now; /* owned; settings of the newest snapshot by name; NULL: none */
    int64_t now_wall_ns;
    struct tw_store_snapshots drift; /* what changed since, newest first */
};
/* The target as it is: what a value that is not changed does to it. */
static const struct past as_it_is;

static void forget(struct knowledge *k)
{
    for (size_t i = 0; i < k->count; i++)
        json_decref(k->past[i].body), json_decref(k->past[i].outcome);
    json_decref(k->now);
}

/* ---- what the target is set to now ---- */

/* Snapshots are long too: of the newest of each target its settings are kept. */
#define TARGETS 64
static struct {
    char *environment, *target;
    int64_t taken_wall_ns;
    json_t *settings;
} current[TARGETS];
static size_t current_next;
static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER;

static json_t *current_get(const char *environment, const char *target, int64_t taken)
{
    json_t *settings = NULL;

    (void)pthread_mutex_lock(&current_lock);
    for (size_t i = 0; i < TARGETS && !settings; i++)
        if (current[i].taken_wall_ns == taken &&
            tw_streq(current[i].environment, environment) &&
            tw_streq(current[i].target, target))
            settings = json_incref(current[i].settings);
    (void)pthread_mutex_unlock(&current_lock);
    return settings;
}

static void current_put(const char *environment, const char *target, int64_t taken,
                        json_t *settings)
{
    (void)pthread_mutex_lock(&current_lock);
    free(current[current_next].environment);
    free(current[current_next].target);
    json_decref(current[current_next].settings);
    current[current_next].environment = strdup(environment);
    current[current_next].target = strdup(target);
    current[current_next].taken_wall_ns = taken;
    current[current_next].settings = json_incref(settings);
    current_next = (current_next + 1) % TARGETS;
    (void)pthread_mutex_unlock(&current_lock);
}

static json_t *settings_by_name(const char *body)
{
    json_auto_t *snapshot = json_loads(body, 0, NULL);
    json_t *all = json_object(), *item;
    size_t i;

    json_array_foreach (json_object_get(snapshot, "settings"), i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));

        if (name)
            (void)json_object_set(all, name, item);
    }
    return all;
}

static void recall_now(struct tw_store *s, struct tw_arena *a, const char *environment,
                       const char *target, struct knowledge *k)
{
    struct tw_store_snapshots last = {0};

    (void)tw_store_drift_list(s, a, environment, target, LOOK_BACK, &k->drift, NULL);
    (void)tw_store_snapshot_heads(s, a, environment, target, 1, &last, NULL);
    if (!last.list.count)
        return;
    k->now_wall_ns = last.list.items[0].taken_wall_ns;
    k->now = current_get(environment, target, k->now_wall_ns);
    if (k->now)
        return;
    (void)tw_store_snapshot_list(s, a, environment, target, 1, &last, NULL);
    if (!last.list.count)
        return;
    k->now_wall_ns = last.list.items[0].taken_wall_ns;
    k->now = settings_by_name(last.list.items[0].body);
    current_put(environment, target, k->now_wall_ns, k->now);
}

/* Was this setting another one when that simulation ran? */
static bool changed_since(const struct knowledge *k, const char *name,
                          const struct past *p)
{
    for (size_t i = 0; i < k->drift.list.count; i++) {
        const struct tw_store_snapshot *d = &k->drift.list.items[i];
        json_auto_t *rows = NULL;
        json_t *row;
        size_t n;

        if (d->taken_wall_ns < p->row->created_wall_ns)
            break;
        rows = json_loads(d->drift, 0, NULL);
        json_array_foreach (rows, n, row)
            if (tw_streq(json_string_value(json_object_get(row, "name")), name))
                return true;
    }
    return false;
}

/* None of what it changed has another value now than when it ran. */
static bool still_holds(const struct knowledge *k, const struct past *p)
{
    const char *name;
    json_t *value;

    json_object_foreach ((json_t *)(uintptr_t)p->change, name, value)
        if (changed_since(k, name, p))
            return false;
    return true;
}

/* Bodies are long (a day's timeline) and never change once they have ended: what predictions need of
 * them is kept. */
#define CACHED 256
static struct {
    char id[TW_ID_LEN + 1];
    json_t *body;
} cache[CACHED];
static size_t cache_next;
static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;

static json_t *cache_get(const char *id)
{
    json_t *body = NULL;

    (void)pthread_mutex_lock(&cache_lock);
    for (size_t i = 0; i < CACHED && !body; i++)
        if (tw_streq(cache[i].id, id))
            body = json_incref(cache[i].body);
    (void)pthread_mutex_unlock(&cache_lock);
    return body;
}

static void cache_put(const char *id, json_t *body)
{
    (void)pthread_mutex_lock(&cache_lock);
    json_decref(cache[cache_next].body);
    cache[cache_next].body = json_incref(body);
    api_copy_id(cache[cache_next].id, id);
    cache_next = (cache_next + 1) % CACHED;
    (void)pthread_mutex_unlock(&cache_lock);
}

static json_t *load_body(struct tw_store *s, struct tw_arena *a, const char *id)
{
    static const char *const parts[] = {"snapshot", "plan", "measured"};
    struct tw_store_simulation row;
    json_t *body = cache_get(id);

    if (body || tw_store_find(s, a, id, &row, NULL) < 0)
        return body;
    body = json_loads(row.body, 0, NULL);
    for (size_t i = 0; i < TW_COUNT_OF(parts); i++)
        (void)json_object_del(body, parts[i]);
    (void)json_object_del(json_object_get(body, "predicted_impact"), "timeline");
    if (body)
        cache_put(id, body);
    return body;
}

static json_t *load_outcome(struct tw_store *s, struct tw_arena *a, const char *id)
{
    const char *text = NULL;

    return tw_store_outcome_get(s, a, id, &text, NULL) == 0 && text ? json_loads(text, 0, NULL)
                                                                    : NULL;
}

static int recall(struct api_call *c, const char *environment, const char *target,
                  struct knowledge *k, struct tw_err *err)
{
    struct tw_store_simulations *rows = tw_arena_alloc(c->arena, sizeof(*rows));
    struct tw_store *s = tw_store_pool_take(c->api->pool, err);
    int r = s ? tw_store_answers(s, c->arena, environment, target, LOOK_BACK, rows, err)
              : -EIO;

    for (size_t i = 0; i < rows->list.count && r == 0; i++) {
        struct past *p = &k->past[k->count];

        p->row = &rows->list.items[i];
        p->body = load_body(s, c->arena, p->row->id);
        p->change = json_object_get(json_object_get(p->body, "request"), "change");
        p->impact = json_object_get(p->body, "predicted_impact");
        if (json_is_object(p->change) && json_is_object(p->impact)) {
            p->outcome = load_outcome(s, c->arena, p->row->id);
            k->count++;
        }
        else
            json_decref(p->body);
    }
    if (s)
        recall_now(s, c->arena, environment, target, k);
    tw_store_pool_give(c->api->pool, s);
    return r;
}

/* ---- one setting ---- */

/* "8kB" as bytes, "min" as seconds; 1 where it is no unit of either. */
static double size_of_unit(const char *unit)
{
    static const struct {
        const char *unit;
        double s;
    } times[] = {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1},
                 {"min", 60},  {"h", 3600},  {"d", 86400}};
    tw_auto_free char *one = NULL;
    int64_t bytes;

    for (size_t i = 0; unit && i < TW_COUNT_OF(times); i++)
        if (tw_streq(times[i].unit, unit))
            return times[i].s;
    one = unit ? tw_strf("%s%s", *unit >= '0' && *unit <= '9' ? "" : "1", unit) : NULL;
    return one && tw_parse_bytes(one, &bytes, NULL) == 0 ? (double)bytes : 1;
}

static double plain_number(const json_t *value);

/* In bytes or seconds where the setting has such a unit: "300", "5min" and 300 are the same then. */
static double number_of(const json_t *value, const json_t *setting)
{
    const char *unit = json_string_value(json_object_get(setting, "unit"));
    const char *text = json_string_value(value);
    size_t digits = text ? strspn(text, "0123456789.") : 0;
    double number;

    if (!unit)
        return plain_number(value);
    if (json_is_number(value))
        return json_number_value(value) * size_of_unit(unit);
    if (!digits)
        return NAN;
    number = strtod(text, NULL);
    text += digits + strspn(text + digits, " ");
    return number * size_of_unit(*text ? text : unit);
}

/* As a number on which a setting's effect may be smooth: bytes or a plain number; NaN: neither. */
static double plain_number(const json_t *value)
{
    const char *text = json_string_value(value);
    int64_t bytes;
    double plain;

    if (json_is_number(value))
        return json_number_value(value);
    if (text && tw_parse_double(text, &plain, NULL) == 0)
        return plain;
    if (text && tw_parse_bytes(text, &bytes, NULL) == 0)
        return (double)bytes;
    return NAN;
}

/* The value that this run changed alone under this name, or NULL. */
static const json_t *alone(const struct past *p, const char *name)
{
    return json_object_size(p->change) == 1 ? json_object_get(p->change, name) : NULL;
}

struct source {
    const struct past *below, *above; /* the same one: it was tried itself */
    double weight;                    /* of above */
    double
        reach; /* beyond what was tried: how far, in steps from now to it; 0: between */
    const struct knowledge *known;
};

/* Where the target stands is known without a simulation: nothing changes there. It bounds an interpolation
 * beside a value that was tried, as long as the target stood there then. */
static void add_as_it_is(const struct knowledge *k, const char *name, double wanted,
                         double at, double *low, double *high, struct source *s)
{
    bool tried = false;

    for (size_t i = 0; i < k->count; i++)
        tried |= alone(&k->past[i], name) && !changed_since(k, name, &k->past[i]);
    if (!tried || !(at > 0))
        return;
    if (at < wanted && at > *low) {
        *low = at;
        s->below = &as_it_is;
    }
    if (at > wanted && at < *high) {
        *high = at;
        s->above = &as_it_is;
    }
}

/* Beyond what was tried the step from now to the nearest value tried is taken on, at half its slope, since effects
 * of settings wear off; the interval holds both the whole slope and none. No further than three such steps, and
 * that the service starts there is not said. */
#define REACH_MOST 3.0

static void reach_beyond(const struct knowledge *k, const char *name,
                         const json_t *setting, double wanted, double now,
                         struct source *s)
{
    const struct past *nearest = NULL;
    double step = NAN, reach;

    for (size_t i = 0; i < k->count; i++) {
        const json_t *tried = alone(&k->past[i], name);
        double at = tried ? number_of(tried, setting) : NAN;

        if (!(at > 0) || at == now || changed_since(k, name, &k->past[i]))
            continue;
        if (!nearest || fabs(log(at / wanted)) < fabs(step - log(wanted / now))) {
            nearest = &k->past[i];
            step = log(at / now);
        }
    }
    reach = nearest ? log(wanted / now) / step : NAN;
    if (!(fabs(reach) <= REACH_MOST))
        return;
    s->below = &as_it_is;
    s->above = nearest;
    s->reach = reach;
    s->weight = reach > 1 ? 1 + (reach - 1) / 2 : reach / 2;
}

static struct source find_source(const struct knowledge *k, const char *name,
                                 const json_t *value)
{
    const json_t *setting = json_object_get(k->now, name);
    const json_t *current_value = json_object_get(setting, "value");
    double wanted = number_of(value, setting), low = -INFINITY, high = INFINITY;
    double now = current_value ? number_of(current_value, setting) : NAN;
    struct source s = {.known = k};

    if (current_value && (json_equal(current_value, value) || now == wanted))
        return (struct source){&as_it_is, &as_it_is, 0, 0, k};
    for (size_t i = 0; i < k->count; i++) {
        const json_t *tried = alone(&k->past[i], name);
        double at = tried ? number_of(tried, setting) : NAN;

        /* its effect was measured from another value than the one that holds now */
        if (tried && changed_since(k, name, &k->past[i]))
            continue;

        if (tried && (json_equal(tried, value) || at == wanted))
            return (struct source){&k->past[i], &k->past[i], 0, 0, k};
        if (at > 0 && at < wanted && at > low) {
            low = at;
            s.below = &k->past[i];
        }
        if (at > 0 && at > wanted && at < high) {
            high = at;
            s.above = &k->past[i];
        }
    }
    add_as_it_is(k, name, wanted, now, &low, &high, &s);
    s.weight = s.below && s.above ? (log(wanted) - log(low)) / (log(high) - log(low)) : 0;
    if (!(s.below && s.above) && wanted > 0 && now > 0)
        reach_beyond(k, name, setting, wanted, now, &s);
    return s;
}

static double log_of(const struct past *p, const char *metric, const char *which)
{
    const json_t *row =
        json_object_get(json_object_get(p->impact, "performance"), metric);
    const json_t *value = json_object_get(row, which);

    if (p == &as_it_is)
        return 0;
    return json_is_number(value) && json_number_value(value) > 0
               ? log(json_number_value(value))
               : NAN;
}

/* All simulations of the same change that still hold: what each says of the metric. */
static size_t runs_of(const struct knowledge *k, const struct past *p, const char *metric,
                      struct api_effect ret[LOOK_BACK])
{
    size_t n = 0;

    for (size_t i = 0; i < k->count; i++) {
        const struct past *one = &k->past[i];
        const struct api_effect e = {log_of(one, metric, "ratio"), log_of(one, metric, "low"),
                                     log_of(one, metric, "high")};

        if (json_equal(one->change, p->change) && still_holds(k, one) && isfinite(e.value))
            ret[n++] = e;
    }
    return n;
}

static struct api_effect effect_at(const struct knowledge *k, const struct past *p,
                                   const char *metric)
{
    struct api_effect runs[LOOK_BACK];
    size_t n;

    if (p == &as_it_is)
        return (struct api_effect){0};
    n = runs_of(k, p, metric, runs);
    return n ? api_effect_told(api_effect_pool(runs, n)) : (struct api_effect){NAN, NAN, NAN};
}

/* ---- what outcomes teach ---- */

/* Log ratio of a metric as it was measured after the change had been made; NaN: nobody told. */
static double real_of(const struct past *p, const char *metric)
{
    const json_t *row = json_object_get(json_object_get(p->outcome, "performance"), metric);
    const json_t *ratio = json_object_get(row, "ratio");

    return json_is_true(json_object_get(p->outcome, "applied")) && json_is_number(ratio) &&
                   json_number_value(ratio) > 0
               ? log(json_number_value(ratio))
               : NAN;
}

/* Of all changes of the target: how twins of it stand to the target itself. */
static double slope_of(const struct knowledge *k, const char *metric)
{
    double told[LOOK_BACK], real[LOOK_BACK];

    for (size_t i = 0; i < k->count; i++) {
        told[i] = log_of(&k->past[i], metric, "ratio");
        real[i] = real_of(&k->past[i], metric);
    }
    return api_effect_slope(told, real, k->count);
}

static int outcomes_of(const struct knowledge *k)
{
    int n = 0;

    for (size_t i = 0; i < k->count; i++) {
        const char *metric;
        json_t *row;
        bool told = false;

        json_object_foreach (json_object_get(k->past[i].outcome, "performance"), metric, row)
            told |= isfinite(real_of(&k->past[i], metric));
        n += told;
    }
    return n;
}

/* Simulations of one change that say different things of it tell that something else decides. */
static bool is_disputed(const struct knowledge *k, const struct past *p)
{
    struct api_effect runs[LOOK_BACK];
    const char *metric;
    json_t *row;

    if (p == &as_it_is)
        return false;
    json_object_foreach (json_object_get(p->impact, "performance"), metric, row)
        if (api_effects_disagree(runs, runs_of(k, p, metric, runs)))
            return true;
    return false;
}

static struct api_effect effect_beyond(const struct source *s, const char *metric)
{
    struct api_effect seen = effect_at(s->known, s->above, metric);
    double near = s->reach > 1 ? 1 : 0; /* no further than what was seen */

    return (struct api_effect){s->weight * seen.value,
                               fmin(fmin(near * seen.low, s->reach * seen.low),
                                    fmin(near * seen.high, s->reach * seen.high)),
                               fmax(fmax(near * seen.low, s->reach * seen.low),
                                    fmax(near * seen.high, s->reach * seen.high))};
}

static struct api_effect effect_of(const struct source *s, const char *metric)
{
    struct api_effect below, above;
    double w = s->weight;

    if (s->reach != 0)
        return effect_beyond(s, metric);
    below = effect_at(s->known, s->below, metric);
    above = effect_at(s->known, s->above, metric);
    return (struct api_effect){(1 - w) * below.value + w * above.value,
                               fmin(below.low, above.low), fmax(below.high, above.high)};
}

/* ---- several settings together ---- */

struct parts {
    TW_ARRAY(struct source) list;
    json_t *unknown; /* owned: names of settings nothing is known of */
    json_t *why;     /* owned: of each of them a sentence */
};

static json_t *why_unknown(const struct knowledge *k, const char *name,
                           const struct source *s)
{
    size_t tried = 0, moved = 0;

    if (s->below && s->above)
        return json_string("simulations of the same value disagree by more than their noise");

    for (size_t i = 0; i < k->count; i++)
        if (alone(&k->past[i], name)) {
            tried++;
            moved += changed_since(k, name, &k->past[i]);
        }
    return json_string(
        !tried ? "no simulation has tried it alone"
        : moved == tried
            ? "it was simulated from another value than the one that holds now"
            : "this value lies too far from those simulated");
}

static void find_parts(struct tw_arena *a, const struct knowledge *k,
                       const json_t *change, struct parts *ret)
{
    const char *name;
    json_t *value;

    ret->unknown = json_array();
    ret->why = json_object();
    json_object_foreach ((json_t *)(uintptr_t)change, name, value) {
        struct source s = find_source(k, name, value);

        if (s.below && s.above && !is_disputed(k, s.below) && !is_disputed(k, s.above))
            TW_PUSH(a, &ret->list, s);
        else {
            (void)json_array_append_new(ret->unknown, tw_json_text(name));
            (void)json_object_set_new(ret->why, name, why_unknown(k, name, &s));
        }
    }
}

/* One of the runs behind them: what is not told by ratios is taken from it. NULL: none changes anything. */
static const struct past *any_run(const struct parts *parts, const struct knowledge *k)
{
    for (size_t i = 0; i < parts->list.count; i++) {
        const struct source *s = &parts->list.items[i];

        if (s->below != &as_it_is)
            return s->below;
        if (s->above != &as_it_is)
            return s->above;
    }
    return k->count ? &k->past[0] : NULL;
}

static json_t *compose_metric(const struct parts *parts, const char *metric,
                              json_t *before)
{
    struct api_effect sum = {0};
    double base = json_number_value(before);

    for (size_t i = 0; i < parts->list.count; i++) {
        struct api_effect e = effect_of(&parts->list.items[i], metric);

        sum.value += e.value;
        sum.low += e.low;
        sum.high += e.high;
    }
    if (parts->list.count)
        sum = api_effect_scale(sum, slope_of(parts->list.items[0].known, metric));
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "before", tw_json_real(base), "after",
                     tw_json_real(base * exp(sum.value)), "ratio",
                     tw_json_real(exp(sum.value)), "low", tw_json_real(exp(sum.low)),
                     "high", tw_json_real(exp(sum.high)));
}

/* Only what was measured of each is put together; that the whole starts, and what fails, is not known
 * without trying it. */
static json_t *compose(const struct parts *parts, const struct past *newest)
{
    json_t *performance = json_object(), *row;
    const char *metric;

    json_object_foreach (json_object_get(newest->impact, "performance"), metric, row)
        (void)json_object_set_new(
            performance, metric,
            compose_metric(parts, metric, json_object_get(row, "before")));
    return json_pack("{s:n, s:n, s:[], s:o, s:n, s:[], s:n}", "risk_score", "risk_level",
                     "issues", "performance", performance, "resources", "failures",
                     "confidence");
}

/* ---- the answer ---- */

static const struct past *same_change(const struct knowledge *k, const json_t *change)
{
    for (size_t i = 0; i < k->count; i++)
        if (json_equal(k->past[i].change, change) && still_holds(k, &k->past[i]))
            return &k->past[i];
    return NULL;
}

static void note(json_t *ids, int64_t *newest, const struct past *p)
{
    json_t *item;
    size_t i;

    if (p == &as_it_is)
        return;
    json_array_foreach (ids, i, item)
        if (tw_streq(json_string_value(item), p->row->id))
            return;
    (void)json_array_append_new(ids, json_string(p->row->id));
    if (p->row->created_wall_ns > *newest)
        *newest = p->row->created_wall_ns;
}

static json_t *basis(struct tw_arena *a, const char *method, json_t *ids, int64_t newest,
                     json_t *unknown, size_t looked)
{
    double age = newest ? tw_seconds(tw_wall_ns() - newest) : NAN;

    return json_pack("{s:b, s:s?, s:i, s:o, s:o, s:o, s:o, s:i}", "known", method != NULL,
                     "method", method, "runs", (int)json_array_size(ids), "simulations",
                     ids, "newest_at",
                     tw_json_text(newest ? tw_iso_time(a, newest) : NULL), "age_seconds",
                     tw_json_real(age), "unknown", unknown ? unknown : json_array(),
                     "looked_at", (int)looked);
}

static bool reaches(const struct parts *parts)
{
    for (size_t i = 0; i < parts->list.count; i++)
        if (parts->list.items[i].reach != 0)
            return true;
    return false;
}

static void note_all(json_t *ids, int64_t *newest, const struct knowledge *k,
                     const struct past *p)
{
    for (size_t i = 0; i < k->count; i++)
        if (json_equal(k->past[i].change, p->change) && still_holds(k, &k->past[i]))
            note(ids, newest, &k->past[i]);
}

/* Several simulations of it are surer together than the newest alone. */
static void pool_performance(const struct knowledge *k, const struct past *same, json_t *impact)
{
    struct api_effect runs[LOOK_BACK], e;
    const char *metric;
    json_t *row;

    json_object_foreach (json_object_get(impact, "performance"), metric, row) {
        size_t n = runs_of(k, same, metric, runs);

        if (!n)
            continue;
        if (n < 2 && !outcomes_of(k))
            continue;
        e = api_effect_scale(api_effect_pool(runs, n), slope_of(k, metric));
        (void)json_object_set_new(row, "ratio", tw_json_real(exp(e.value)));
        (void)json_object_set_new(row, "low", tw_json_real(exp(e.low)));
        (void)json_object_set_new(row, "high", tw_json_real(exp(e.high)));
        (void)json_object_set_new(
            row, "after",
            tw_json_real(json_number_value(json_object_get(row, "before")) * exp(e.value)));
    }
}

static json_t *foretell(struct api_call *c, const struct knowledge *k,
                        const json_t *change)
{
    const struct past *same = same_change(k, change);
    struct parts parts = {0};
    json_t *ids = json_array(), *impact = NULL, *unknown = NULL, *json;
    const char *method = NULL, *error = NULL;
    int64_t newest = 0;

    if (same && !is_disputed(k, same)) {
        method = "the same change was simulated";
        impact = json_deep_copy(same->impact);
        pool_performance(k, same, impact);
        note_all(ids, &newest, k, same);
    } else if (same) {
        unknown = json_array();
        parts.why = json_pack("{s:s}", "change", "simulations of it disagree by more than their noise");
    } else {
        find_parts(c->arena, k, change, &parts);
        unknown = parts.unknown;
        if (parts.list.count && !json_array_size(unknown) && any_run(&parts, k)) {
            method = reaches(&parts) ? "taken on beyond the values that were simulated"
                     : parts.list.count == 1
                         ? "interpolated between values that were simulated, and the one "
                           "that holds now"
                         : "put together from settings simulated one by one";
            impact = compose(&parts, any_run(&parts, k));
        }
        for (size_t i = 0; i < parts.list.count && method; i++) {
            note(ids, &newest, parts.list.items[i].below);
            note(ids, &newest, parts.list.items[i].above);
        }
    }
    if (!method)
        error = k->count
                    ? "not known: no simulation of this target has tried this change or "
                      "its settings; run one"
                    : "not known: nothing of this target has been simulated yet; run one";
    json = json_pack(
        "{s:o, s:o, s:s?}", "predicted_impact", impact ? impact : json_null(), "basis",
        basis(c->arena, method, ids, newest, unknown, k->count), "error", error);
    (void)json_object_set_new(json_object_get(json, "basis"), "outcomes",
                              json_integer(outcomes_of(k)));
    if (parts.why)
        (void)json_object_set_new(json_object_get(json, "basis"), "why", parts.why);
    return json;
}

static int predict(struct api_call *c, bool performance_only, struct tw_err *err)
{
    struct knowledge *k = tw_arena_alloc(c->arena, sizeof(*k));
    struct tw_request request;
    struct tw_target target;
    json_auto_t *asked = NULL;
    json_t *json, *impact;
    int r = api_read_request(c, c->arena, &request, &target, err);

    if (r == 0)
        r = recall(c, target.environment, target.name, k, err);
    if (r < 0)
        return r;
    asked = tw_request_to_json(&request);
    json = foretell(c, k, json_object_get(asked, "change"));
    impact = json_object_get(json, "predicted_impact");
    if (performance_only && json_is_object(impact))
        (void)json_object_set_new(
            json, "predicted_impact",
            json_pack("{s:O?, s:O?, s:O?}", "performance",
                      json_object_get(impact, "performance"), "resources",
                      json_object_get(impact, "resources"), "confidence",
                      json_object_get(impact, "confidence")));
    forget(k);
    (void)json_object_set_new(json, "target", tw_json_text(target.name));
    (void)json_object_set_new(json, "environment", tw_json_text(target.environment));
    api_answer_json(c, 200, json);
    return 0;
}

int api_predict_impact(struct api_call *c, struct tw_err *err)
{
    return predict(c, false, err);
}

int api_predict_performance(struct api_call *c, struct tw_err *err)
{
    return predict(c, true, err);
}

/* ---- what fails as things are ---- */

/* Failures that were foreseen without the change, from the newest simulation that covers the hours. */
static json_t *failures_of(const struct past *p, double hours)
{
    json_t *list = json_array(), *item;
    size_t i;

    json_array_foreach (json_object_get(p->impact, "failures"), i, item) {
        const json_t *before = json_object_get(item, "before");
        const json_t *at = json_object_get(item, "at_hours");

        if (!(json_number_value(before) > 0) ||
            (json_is_number(at) && json_number_value(at) > hours))
            continue;
        (void)json_array_append_new(list, json_pack("{s:O?, s:O?, s:O?, s:O?}", "kind",
                                                    json_object_get(item, "kind"),
                                                    "probability", before, "at_hours", at,
                                                    "evidence",
                                                    json_object_get(item, "evidence")));
    }
    return list;
}

int api_predict_failures(struct api_call *c, struct tw_err *err)
{
    struct knowledge *k = tw_arena_alloc(c->arena, sizeof(*k));
    const char *name = tw_http_query(c->http, "target"),
               *hours_text = tw_http_query(c->http, "hours");
    double hours = c->api->o->default_hours;
    const struct past *found = NULL;
    json_t *ids = json_array(), *list = NULL;
    struct tw_target target;
    int64_t newest = 0;
    int r = name ? 0
                 : tw_fail(err, -EINVAL,
                           "which target? /api/v1/predict/failures?target=NAME");

    if (r == 0 && hours_text &&
        (tw_parse_double(hours_text, &hours, NULL) < 0 || !(hours > 0 && hours <= 720)))
        r = tw_fail(err, -EINVAL, "hours '%s': expected more than 0, up to 720",
                    hours_text);
    if (r == 0)
        r = api_env_find(c->api, c->arena, tw_http_query(c->http, "environment"), name,
                         &target, err);
    if (r == 0)
        r = api_may(c, target.environment, NULL, err);
    if (r == 0)
        r = recall(c, target.environment, target.name, k, err);
    for (size_t i = 0; i < k->count && r == 0 && !found; i++)
        if (json_number_value(json_object_get(k->past[i].body, "horizon_hours")) >= hours)
            found = &k->past[i];
    if (found) {
        list = failures_of(found, hours);
        note(ids, &newest, found);
    }
    if (r == 0)
        api_answer_json(
            c, 200,
            json_pack(
                "{s:s, s:s, s:f, s:o, s:o, s:s?}", "target", target.name, "environment",
                target.environment, "hours", hours, "failures", list ? list : json_null(),
                "basis",
                basis(c->arena, found ? "the baseline of an earlier simulation" : NULL,
                      ids, newest, NULL, k->count),
                "error",
                found ? NULL
                      : "not known: no simulation of this target has covered that many "
                        "hours; run one"));
    else
        json_decref(ids);
    forget(k);
    return r;
}
