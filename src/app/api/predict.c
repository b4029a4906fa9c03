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
};
struct knowledge {
    struct past past[LOOK_BACK];
    size_t count;
};

static void forget(struct knowledge *k)
{
    for (size_t i = 0; i < k->count; i++)
        json_decref(k->past[i].body);
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
        if (json_is_object(p->change) && json_is_object(p->impact))
            k->count++;
        else
            json_decref(p->body);
    }
    tw_store_pool_give(c->api->pool, s);
    return r;
}

/* ---- one setting ---- */

/* As a number on which a setting's effect may be smooth: bytes or a plain number; NaN: neither. */
static double number_of(const json_t *value)
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

/* Log ratio of a metric with its interval, from one run or between two. */
struct effect {
    double value, low, high;
};
struct source {
    const struct past *below, *above; /* the same one: it was tried itself */
    double weight;                    /* of above */
};

static struct source find_source(const struct knowledge *k, const char *name,
                                 const json_t *value)
{
    double wanted = number_of(value), low = -INFINITY, high = INFINITY;
    struct source s = {0};

    for (size_t i = 0; i < k->count; i++) {
        const json_t *tried = alone(&k->past[i], name);
        double at = tried ? number_of(tried) : NAN;

        if (tried && (json_equal(tried, value) || at == wanted))
            return (struct source){&k->past[i], &k->past[i], 0};
        if (at > 0 && at < wanted && at > low) {
            low = at;
            s.below = &k->past[i];
        }
        if (at > 0 && at > wanted && at < high) {
            high = at;
            s.above = &k->past[i];
        }
    }
    s.weight = s.below && s.above ? (log(wanted) - log(low)) / (log(high) - log(low)) : 0;
    return s;
}

static double log_of(const struct past *p, const char *metric, const char *which)
{
    const json_t *row =
        json_object_get(json_object_get(p->impact, "performance"), metric);
    const json_t *value = json_object_get(row, which);

    return json_is_number(value) && json_number_value(value) > 0
               ? log(json_number_value(value))
               : NAN;
}

static struct effect effect_of(const struct source *s, const char *metric)
{
    double w = s->weight;

    return (struct effect){
        (1 - w) * log_of(s->below, metric, "ratio") +
            w * log_of(s->above, metric, "ratio"),
        fmin(log_of(s->below, metric, "low"), log_of(s->above, metric, "low")),
        fmax(log_of(s->below, metric, "high"), log_of(s->above, metric, "high"))};
}

/* ---- several settings together ---- */

struct parts {
    TW_ARRAY(struct source) list;
    json_t *unknown; /* owned: names of settings nothing is known of */
};

static void find_parts(struct tw_arena *a, const struct knowledge *k,
                       const json_t *change, struct parts *ret)
{
    const char *name;
    json_t *value;

    ret->unknown = json_array();
    json_object_foreach ((json_t *)(uintptr_t)change, name, value) {
        struct source s = find_source(k, name, value);

        if (s.below && s.above)
            TW_PUSH(a, &ret->list, s);
        else
            (void)json_array_append_new(ret->unknown, tw_json_text(name));
    }
}

static json_t *compose_metric(const struct parts *parts, const char *metric,
                              json_t *before)
{
    struct effect sum = {0};
    double base = json_number_value(before);

    for (size_t i = 0; i < parts->list.count; i++) {
        struct effect e = effect_of(&parts->list.items[i], metric);

        sum.value += e.value;
        sum.low += e.low;
        sum.high += e.high;
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "before", tw_json_real(base), "after",
                     tw_json_real(base * exp(sum.value)), "ratio",
                     tw_json_real(exp(sum.value)), "low", tw_json_real(exp(sum.low)),
                     "high", tw_json_real(exp(sum.high)));
}

/* Only what was measured of each is put together; that the whole starts, and what fails, is not known
 * without trying it. */
static json_t *compose(const struct parts *parts)
{
    const struct past *newest = parts->list.items[0].below;
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
        if (json_equal(k->past[i].change, change))
            return &k->past[i];
    return NULL;
}

static void note(json_t *ids, int64_t *newest, const struct past *p)
{
    json_t *item;
    size_t i;

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

static json_t *foretell(struct api_call *c, const struct knowledge *k,
                        const json_t *change)
{
    const struct past *same = same_change(k, change);
    struct parts parts = {0};
    json_t *ids = json_array(), *impact = NULL, *unknown = NULL;
    const char *method = NULL, *error = NULL;
    int64_t newest = 0;

    if (same) {
        method = "the same change was simulated";
        impact = json_deep_copy(same->impact);
        note(ids, &newest, same);
    } else {
        find_parts(c->arena, k, change, &parts);
        unknown = parts.unknown;
        if (parts.list.count && !json_array_size(unknown)) {
            method = parts.list.count == 1
                         ? "interpolated between values that were simulated"
                         : "put together from settings simulated one by one";
            impact = compose(&parts);
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
    return json_pack(
        "{s:o, s:o, s:s?}", "predicted_impact", impact ? impact : json_null(), "basis",
        basis(c->arena, method, ids, newest, unknown, k->count), "error", error);
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
