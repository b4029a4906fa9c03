/* The live stream: messages of all simulations with one counter, kept in a ring for those who come back. */
#include "api_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct subscription {
    struct tw_api *api;
    char id[TW_ID_LEN + 1]; /* "": all */
    bool resume;
    int64_t after, sent; /* the last that was handed to the client */
    char *environments;  /* that its token is for; NULL: all */
};

/* ---- messages ---- */

static json_t *number_or_null(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);

    return json_is_number(value) ? json_incref(value) : json_null();
}

static json_t *message_of(const char *id, const char *status, const char *stage,
                          int64_t seq)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:s}", "id", id, "status", status, "stage",
                     stage, "seq", (json_int_t)seq, "event",
                     tw_streq(stage, status) ? "state" : "progress");
}

static void set_parts(json_t *message, json_t *metrics, json_t *prediction,
                      double confidence)
{
    (void)json_object_set_new(message, "metrics", metrics);
    (void)json_object_set_new(message, "prediction", prediction);
    (void)json_object_set_new(
        message, "confidence",
        json_real(confidence >= 0 && confidence <= 1 ? confidence : 0));
}

/* p50_ms and its like: {"baseline", "candidate"}, as while it runs. */
static json_t *final_metrics(const json_t *impact)
{
    json_t *metrics = json_object(), *row;
    const char *name;

    json_object_foreach (json_object_get(impact, "performance"), name, row)
        (void)json_object_set_new(metrics, name,
                                  json_pack("{s:o, s:o}", "baseline",
                                            number_or_null(row, "before"), "candidate",
                                            number_or_null(row, "after")));
    return metrics;
}

static json_t *final_prediction(const json_t *body, const json_t *impact)
{
    json_t *p = json_object();

    if (!json_is_object(impact))
        return p;
    (void)json_object_set(p, "risk_score", json_object_get(impact, "risk_score"));
    (void)json_object_set(p, "risk_level", json_object_get(impact, "risk_level"));
    (void)json_object_set(p, "decision", json_object_get(body, "decision"));
    (void)json_object_set_new(
        p, "issues",
        json_integer((json_int_t)json_array_size(json_object_get(impact, "issues"))));
    (void)json_object_set(p, "failures", json_object_get(impact, "failures"));
    return p;
}

static json_t *state_message(const json_t *body, int64_t seq)
{
    const char *id = json_string_value(json_object_get(body, "id"));
    const char *status = json_string_value(json_object_get(body, "status"));
    const json_t *impact = json_object_get(body, "predicted_impact");
    json_t *m = message_of(id ? id : "", status ? status : "created",
                           status ? status : "created", seq);

    set_parts(m, final_metrics(impact), final_prediction(body, impact),
              json_number_value(json_object_get(impact, "confidence")));
    (void)json_object_set(m, "error", json_object_get(body, "error"));
    return m;
}

static json_t *event_message(const struct tw_job *job, const json_t *event, int64_t seq)
{
    static const char *const keys[] = {"done",   "elapsed_s",        "left_s", "p50_ms",
                                       "p95_ms", "throughput_per_s", "pairs"};
    const char *stage = json_string_value(json_object_get(event, "stage"));
    json_t *m = message_of(job->id, "running", stage ? stage : "running", seq);
    json_t *metrics = json_object();

    for (size_t i = 0; i < TW_COUNT_OF(keys); i++)
        if (json_object_get(event, keys[i]))
            (void)json_object_set(metrics, keys[i], json_object_get(event, keys[i]));
    set_parts(m, metrics, json_object(),
              json_number_value(json_object_get(event, "confidence")));
    return m;
}

static struct tw_ws_message *wire(json_t *json)
{
    tw_auto_free char *text = tw_json_dump(json, JSON_COMPACT);
    struct tw_ws_message *m = tw_ws_message_new(text, strlen(text));

    json_decref(json);
    return m;
}

/* ---- telling the clients ---- */

static bool wanted(const struct subscription *s, const struct stream_item *it)
{
    struct tw_actor a = {
        .person = "", .roles = 1u << TW_VIEWER, .environments = s->environments};

    if (*s->id && !tw_streq(s->id, it->id))
        return false;
    return tw_gate_check(&a, TW_MAY_READ, it->environment, NULL, NULL) == 0;
}

static void deliver(struct subscription *s, struct tw_ws *c, const struct stream_item *it)
{
    if (it->seq <= s->sent || !wanted(s, it))
        return;
    s->sent = it->seq;
    tw_ws_send(c, it->message, !it->last);
    if (it->last && *s->id)
        tw_ws_close(c, 1000, "the simulation has ended");
}

/* One message on its way to every client. */
struct telling {
    struct stream_item item;
    char *environment; /* owned */
};

static void tell_one(void *arg, struct tw_ws *c, void *mine)
{
    const struct telling *t = arg;

    deliver(mine, c, &t->item);
}

static void telling_free(void *arg)
{
    struct telling *t = arg;

    tw_ws_message_unref(t->item.message);
    free(t->environment);
    free(t);
}

static void item_clear(struct stream_item *it)
{
    tw_ws_message_unref(it->message);
    free((char *)(uintptr_t)it->environment);
    *it = (struct stream_item){0};
}

/* Makes the message with the next number, keeps it, and sends it on its way in that order. */
static void
publish(struct tw_api *api, const char *id, const char *environment, bool last,
        json_t *(*make)(const void *what, const struct tw_job *job, int64_t seq),
        const void *what, const struct tw_job *job)
{
    struct telling *t = tw_alloc(sizeof(*t));
    struct stream_item *slot;

    (void)pthread_mutex_lock(&api->stream_lock);
    t->item.seq = ++api->seq;
    api_copy_id(t->item.id, id);
    t->item.last = last;
    t->item.message = wire(make(what, job, t->item.seq));
    t->environment = environment ? strdup(environment) : NULL;
    t->item.environment = t->environment;
    slot = &api->ring[api->ring_at++ % STREAM_RING];
    item_clear(slot);
    *slot = t->item;
    slot->environment = environment ? strdup(environment) : NULL;
    tw_ws_message_ref(slot->message);
    tw_ws_visit(api->hub, tell_one, true, t, telling_free);
    (void)pthread_mutex_unlock(&api->stream_lock);
}

static json_t *make_event(const void *what, const struct tw_job *job, int64_t seq)
{
    return event_message(job, what, seq);
}

static json_t *make_state(const void *what, const struct tw_job *job, int64_t seq)
{
    (void)job;
    return state_message(what, seq);
}

void api_stream_event(struct tw_api *api, const struct tw_job *job, const json_t *event)
{
    publish(api, job->id, job->environment, false, make_event, event, job);
}

static json_t *make_drift(const void *what, const struct tw_job *job, int64_t seq)
{
    json_t *m = message_of(job->id, "drift", "drift", seq);

    set_parts(m, json_object(), json_object(), 0);
    (void)json_object_set_new(m, "event", json_string("drift"));
    (void)json_object_set_new(m, "environment", tw_json_text(job->environment));
    (void)json_object_set_new(m, "target", tw_json_text(job->target));
    (void)json_object_set(m, "drift", (json_t *)(uintptr_t)what);
    return m;
}

void api_stream_drift(struct tw_api *api, const char *id, const char *environment,
                      const char *target, const json_t *drift)
{
    struct tw_job job = {.id = id, .environment = environment, .target = target};

    publish(api, id, environment, false, make_drift, drift, &job);
}

static bool is_last(const char *status)
{
    return tw_streq(status, "success") || tw_streq(status, "failed") ||
           tw_streq(status, "cancelled");
}

void api_stream_state(struct tw_api *api, const char *text)
{
    json_auto_t *body = json_loads(text, 0, NULL);
    const char *id = json_string_value(json_object_get(body, "id"));

    if (id)
        publish(api, id, json_string_value(json_object_get(body, "environment")),
                is_last(json_string_value(json_object_get(body, "status"))), make_state,
                body, NULL);
}

void api_stream_done(struct tw_api *api)
{
    for (size_t i = 0; i < STREAM_RING; i++)
        item_clear(&api->ring[i]);
}

/* ---- a client that comes ---- */

/* false: something of what it wants has left the ring already. */
static bool replay(struct subscription *s, struct tw_ws *c)
{
    struct tw_api *api = s->api;
    bool whole = true;

    (void)pthread_mutex_lock(&api->stream_lock);
    for (size_t n = 0; n < STREAM_RING; n++) {
        const struct stream_item *it = &api->ring[(api->ring_at + n) % STREAM_RING];

        if (n == 0 && it->seq > s->after + 1)
            whole = false;
        if (it->message && it->seq > s->after)
            deliver(s, c, it);
    }
    (void)pthread_mutex_unlock(&api->stream_lock);
    return whole;
}

/* How it stands, for a client that wants one simulation: its first message. */
static void send_state(struct subscription *s, struct tw_ws *c)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_store *store = tw_store_pool_take(s->api->pool, NULL);
    struct tw_store_simulation row;
    struct stream_item it = {0};
    json_auto_t *body = NULL;

    /* The number is taken before the state is read: what is published in between comes after it. */
    (void)pthread_mutex_lock(&s->api->stream_lock);
    it.seq = s->api->seq;
    (void)pthread_mutex_unlock(&s->api->stream_lock);
    if (store && tw_store_find(store, a, s->id, &row, NULL) == 0)
        body = json_loads(row.body, 0, NULL);
    tw_store_pool_give(s->api->pool, store);
    if (!body)
        return;
    api_copy_id(it.id, s->id);
    it.environment = row.environment;
    it.last = is_last(row.status);
    it.message = wire(state_message(body, it.seq));
    s->sent = it.seq - 1;
    deliver(s, c, &it);
    tw_ws_message_unref(it.message);
}

void api_ws_opened(void *arg, struct tw_ws *c, void *mine)
{
    struct subscription *s = mine;
    int64_t before = s->after;

    (void)arg;
    if (s->resume)
        (void)replay(s, c);
    if (*s->id && s->sent <= before)
        send_state(s, c);
}

void api_ws_closed(void *arg, struct tw_ws *c, void *mine)
{
    struct subscription *s = mine;

    (void)arg, (void)c;
    free(s->environments);
    free(s);
}

static int check_id(struct api_call *c, const char *id, struct tw_err *err)
{
    struct tw_store_simulation row;
    struct tw_store *s;
    int r;

    if (!tw_id_valid(id))
        return tw_fail(err, -EINVAL,
                       "id '%s': expected the 26 characters of a simulation", id);
    s = tw_store_pool_take(c->api->pool, err);
    r = s ? tw_store_find(s, c->arena, id, &row, err) : -EIO;
    tw_store_pool_give(c->api->pool, s);
    return r < 0 ? r : api_may(c, row.environment, row.type, err);
}

int api_stream(struct api_call *c, struct tw_err *err)
{
    const char *id = tw_http_query(c->http, "id"),
               *after = tw_http_query(c->http, "after");
    const char *protocols = tw_http_header(c->http, "Sec-WebSocket-Protocol");
    struct subscription *s;
    int64_t from = 0;
    int r = id ? check_id(c, id, err) : 0;

    if (r == 0 && after && (tw_parse_int64(after, &from, NULL) < 0 || from < 0))
        r = tw_fail(err, -EINVAL, "after '%s': expected the 'seq' of a message", after);
    if (r < 0)
        return r;
    s = tw_alloc(sizeof(*s));
    s->api = c->api;
    api_copy_id(s->id, id ? id : "");
    s->resume = after != NULL;
    s->after = s->sent = from;
    if (!after) {
        (void)pthread_mutex_lock(&c->api->stream_lock);
        s->after = s->sent = c->api->seq;
        (void)pthread_mutex_unlock(&c->api->stream_lock);
    }
    s->environments = c->actor.environments ? strdup(c->actor.environments) : NULL;
    r = tw_ws_accept(c->api->hub, c->http,
                     protocols && strstr(protocols, "twin.v1") ? "twin.v1" : NULL, s,
                     err);
    if (r == 0) {
        (void)__atomic_add_fetch(&c->api->answers[1], 1, __ATOMIC_RELAXED);
        return 0;
    }
    free(s->environments);
    free(s);
    if (r == -EPROTO) {
        tw_http_add_header(c->http, "Upgrade", "websocket");
        api_answer_status(c, 426, "upgrade_required", err, NULL);
        return 0;
    }
    return r;
}
