/* Simulations: created, queued, run in worker processes, answered when they end. */
#include "api_internal.h"

#include "tw/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ATTEMPTS 2

/* ---- the request ---- */

static int priority_of(const struct tw_request *q, enum tw_tier tier)
{
    static const char *const levels[] = {"low", "medium", "high", "critical"};
    int i = tw_name_index(q->risk_level, levels, TW_COUNT_OF(levels));

    return 1 + (i >= 0 ? i : (int)tier);
}

/* Names of files would be read by the daemon, with its rights: over the network only what needs none. */
static int check_files(const struct tw_request *q, struct tw_err *err)
{
    static const char *const mixes[] = {"select-only", "tpcb", "simple-update"};

    if (q->profile)
        return tw_fail_at(
            err, -EINVAL, "/profile",
            "a profile is a file of this host, which only the command line reads; "
            "give 'load_scenario'");
    for (size_t i = 0; i < q->mixes.count; i++) {
        tw_auto_free char *name =
            strndup(q->mixes.items[i], strcspn(q->mixes.items[i], "@"));

        if (tw_name_index(name, mixes, TW_COUNT_OF(mixes)) < 0)
            return tw_fail_at(
                err, -EINVAL, "/mixes",
                "the mix '%s' is not built in, and scripts are files of this host, "
                "which only the command line reads; expected select-only, tpcb or "
                "simple-update",
                name);
    }
    return 0;
}

int api_read_request(struct api_call *c, struct tw_arena *a, struct tw_request *ret,
                     struct tw_target *ret_target, struct tw_err *err)
{
    int r = tw_request_from_json(a, c->body, ret, err);

    if (r == 0)
        r = check_files(ret, err);
    if (r < 0)
        return r;
    if (!json_object_get(c->body, "duration_hours") &&
        !json_object_get(json_object_get(c->body, "change_request"), "duration_hours"))
        ret->hours = c->api->o->default_hours;
    ret->keep = false; /* nobody sits there to look inside */
    if (!ret->environment && c->api->o->default_environment)
        r = api_env_find(c->api, a, NULL, ret->target, ret_target, NULL);
    if (!ret->environment && r == -ENOTUNIQ)
        ret->environment = c->api->o->default_environment;
    r = api_env_find(c->api, a, ret->environment, ret->target, ret_target, err);
    if (r < 0) {
        if (err) {
            err->code = -EINVAL;
            memcpy(err->pointer, "/target", sizeof("/target"));
        }
        return -EINVAL;
    }
    ret->environment = ret_target->environment;
    return api_may(c, ret->environment, ret->type, err);
}

/* ---- creating ---- */

/* What stands until the writer is done. */
struct making {
    struct tw_simulation *sim; /* owned */
    int priority;
    char id[TW_ID_LEN + 1];
    const char *target, *type, *environment;
};

static json_t *what_of(const struct tw_simulation *sim, struct tw_arena *a)
{
    return json_pack("{s:o, s:o, s:o}", "type", tw_json_text(sim->request.type), "target",
                     tw_json_text(sim->request.target), "change",
                     tw_json_text(tw_request_summary(a, &sim->request)));
}

static int stored_body(struct api_call *c, struct tw_store *s, const char *id,
                       struct tw_err *err)
{
    struct tw_store_simulation row;
    int r = tw_store_find(s, c->arena, id, &row, err);

    if (r == 0)
        c->answer = row.body;
    return r;
}

static int make_work(struct api_call *c, struct tw_store *s, struct tw_err *err)
{
    struct making *m = c->data;
    int r = tw_store_put(s, m->sim, err);

    if (r == 0)
        r = tw_store_own(s, m->id, c->actor.person, m->priority, err);
    if (r == 0)
        r = api_audit(c, s, m->id, "ok", what_of(m->sim, c->arena), err);
    if (r == 0)
        r = stored_body(c, s, m->id, err);
    if (r == 0) {
        c->repeat.simulation = m->id;
        c->answer_status = c->route->status;
    }
    return r;
}

static struct making *make(struct api_call *c, enum tw_status status, struct tw_err *err)
{
    struct making *m = tw_arena_alloc(c->arena, sizeof(*m));
    struct tw_simulation *sim = tw_simulation_new();

    if (api_read_request(c, sim->arena, &sim->request, &sim->target, err) < 0) {
        tw_simulation_free(sim);
        return NULL;
    }
    tw_id_make(sim->id);
    memcpy(m->id, sim->id, sizeof(m->id));
    sim->status = status;
    sim->created_wall_ns = tw_wall_ns();
    m->sim = sim;
    m->priority = priority_of(&sim->request, sim->target.tier);
    m->target = tw_arena_strdup(c->arena, sim->request.target);
    m->type = tw_arena_strdup(c->arena, sim->request.type);
    m->environment = tw_arena_strdup(c->arena, sim->target.environment);
    return m;
}

/* The writer may fail before work: the simulation is freed by whoever comes last, done or problem. It
 * belongs to the arena's end otherwise, so it is freed right after the work. */
static int create_work(struct api_call *c, struct tw_store *s, struct tw_err *err)
{
    struct making *m = c->data;
    int r = make_work(c, s, err);

    tw_simulation_free(m->sim);
    m->sim = NULL;
    return r;
}

static void add_location(struct api_call *c, const char *id)
{
    tw_http_add_header(c->http, "Location",
                       tw_arena_printf(c->arena, "/api/v1/simulation/%s", id));
}

static void create_done(struct api_call *c)
{
    struct making *m = c->data;

    tw_simulation_free(m->sim); /* a repeat: never stored */
    add_location(c, c->repeated ? c->repeat.simulation : m->id);
    if (!c->repeated)
        api_stream_state(c->api, c->answer);
    api_answer_text(c, c->repeated ? c->repeat.status : c->route->status, NULL,
                    c->repeated ? c->repeat.answer : c->answer);
}

int api_simulation_create(struct api_call *c, struct tw_err *err)
{
    struct making *m = make(c, TW_CREATED, err);

    return m ? api_write(c, create_work, create_done, m) : err->code;
}

/* ---- waiting for the end ---- */

void api_waiter_add(struct tw_api *api, const char *id, struct api_call *c)
{
    struct waiter *w = tw_alloc(sizeof(*w));

    api_copy_id(w->id, id);
    w->call = c;
    if (!isnan(c->wait_s))
        w->deadline_ns = tw_now_ns() + (int64_t)(c->wait_s * 1e9) + 1;
    (void)pthread_mutex_lock(&api->lock);
    w->next = api->waiters;
    api->waiters = w;
    (void)pthread_mutex_unlock(&api->lock);
}

/* Takes those out of the list that fit. */
static struct waiter *take_waiters(struct tw_api *api, const char *id, int64_t now_ns,
                                   bool all)
{
    struct waiter *taken = NULL;

    (void)pthread_mutex_lock(&api->lock);
    for (struct waiter **at = &api->waiters, *w; (w = *at);) {
        bool due = now_ns && w->deadline_ns && now_ns >= w->deadline_ns;

        if (!all && !due && !(id && tw_streq(w->id, id))) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->next = taken;
        taken = w;
    }
    (void)pthread_mutex_unlock(&api->lock);
    return taken;
}

static bool is_final(const char *status)
{
    return tw_streq(status, "success") || tw_streq(status, "failed") ||
           tw_streq(status, "cancelled");
}

/* Bad input that only the worker could see: the service itself says that the value is invalid. */
static bool answer_refused(struct api_call *c, const json_t *body)
{
    const json_t *problem = json_object_get(body, "problem");
    struct tw_err err = {.code =
                             (int)json_integer_value(json_object_get(problem, "code"))};
    const char *text = json_string_value(json_object_get(body, "error"));
    const char *pointer = json_string_value(json_object_get(problem, "pointer"));

    if (!json_is_true(json_object_get(problem, "refused")))
        return false;
    (void)tw_fail_at(&err, err.code, pointer ? pointer : "", "%s",
                     text ? text : "refused");
    api_answer_status(c, 422, "invalid", &err,
                      json_pack("{s:O?}", "id", json_object_get(body, "id")));
    return true;
}

static void answer_current(struct api_call *c, const char *id)
{
    struct tw_err err = {0};
    struct tw_store *s = tw_store_pool_take(c->api->pool, &err);
    struct tw_store_simulation row;
    int r = s ? tw_store_find(s, c->arena, id, &row, &err) : -EIO;

    tw_store_pool_give(c->api->pool, s);
    if (r < 0) {
        api_answer_problem(c, r, &err);
        return;
    }
    add_location(c, id);
    if (c->asynchronous || !isnan(c->wait_s))
        tw_http_add_header(c->http, "Preference-Applied",
                           c->asynchronous ? "respond-async" : "wait");
    if (is_final(row.status)) {
        json_auto_t *body = json_loads(row.body, 0, NULL);

        if (answer_refused(c, body))
            return;
    }
    api_answer_text(c, is_final(row.status) ? 200 : 202, NULL, row.body);
}

void api_waiters_tick(struct tw_api *api, int64_t now_ns, bool closing)
{
    for (struct waiter *w = take_waiters(api, NULL, now_ns, closing), *next; w;
         w = next) {
        next = w->next;
        if (closing) {
            struct tw_err err;

            (void)tw_fail(
                &err, -ESHUTDOWN,
                "the daemon is ending; the simulation '%s' is taken up by its next "
                "start: ask for /api/v1/simulation/%s then",
                w->id, w->id);
            api_answer_problem(w->call, -ESHUTDOWN, &err);
        } else {
            answer_current(w->call, w->id);
        }
        free(w);
    }
}

/* ---- running ---- */

/* The newest that was synced; without one a service of no size is assumed. */
static int64_t memory_of(struct tw_api *api, const char *body, const char *environment,
                         const char *target)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_store *s = tw_store_pool_take(api->pool, NULL);
    struct tw_store_snapshots last = {0};
    json_auto_t *simulation = json_loads(body, 0, NULL), *snapshot = NULL;

    if (s && environment && target)
        (void)tw_store_snapshot_list(s, a, environment, target, 1, &last, NULL);
    tw_store_pool_give(api->pool, s);
    if (last.list.count)
        snapshot = json_loads(last.list.items[0].body, 0, NULL);
    return tw_run_memory(snapshot, simulation);
}

static void enqueue(struct tw_api *api, const char *id, int priority, const char *body,
                    const char *environment, const char *target, const char *type)
{
    struct tw_job job = {.id = id,
                         .verb = "run",
                         .priority = priority,
                         .simulation = body,
                         .environment = environment,
                         .target = target,
                         .type = type,
                         .plain = tw_streq(type, "config_change"),
                         .memory_bytes = memory_of(api, body, environment, target)};

    tw_queue_add(api->queue, &job);
}

/* The simulation is accepted (or was, before): now the client waits, or doesn't. */
static void attach(struct api_call *c, const char *id)
{
    if (c->asynchronous || c->wait_s == 0) {
        answer_current(c, id);
        return;
    }
    api_waiter_add(c->api, id, c);
}

/* A repeat: it may have ended long ago. The waiter is there before the state is looked at, so that an
 * end in between is not missed. */
static void attach_again(struct api_call *c, const char *id)
{
    struct tw_err err = {0};
    struct tw_store *s = tw_store_pool_take(c->api->pool, &err);
    struct tw_store_simulation row = {0};
    int r = s ? tw_store_find(s, c->arena, id, &row, &err) : -EIO;

    tw_store_pool_give(c->api->pool, s);
    if (r < 0 || is_final(row.status) || c->asynchronous)
        answer_current(c, id);
    else
        attach(c, id);
}

static void run_done(struct api_call *c)
{
    struct making *m = c->data;
    struct tw_api *api = c->api;
    struct making own = *m;
    tw_auto_free char *body = NULL, *environment = NULL, *target = NULL, *type = NULL;

    tw_simulation_free(m->sim);
    if (c->repeated) {
        attach_again(c, c->repeat.simulation);
        return;
    }
    /* c may be gone as soon as it waits. */
    body = strdup(c->answer);
    environment = strdup(m->environment);
    target = strdup(m->target);
    type = strdup(m->type);
    api_stream_state(api, body);
    attach(c, own.id);
    enqueue(api, own.id, own.priority, body, environment, target, type);
}

/* ---- one that was created before ---- */

struct starting {
    const char *id;
    struct tw_store_simulation row;
    bool begins;
};

static int restatus(struct tw_store *s, struct tw_arena *a, const char *id,
                    enum tw_status status, const char **ret_body, struct tw_err *err)
{
    struct tw_store_simulation row = {0};
    struct tw_simulation *sim = NULL;
    int r = tw_store_find(s, a, id, &row, err);

    if (r == 0)
        r = tw_simulation_from_json(row.body, &sim, err);
    if (r == 0) {
        sim->status = status;
        r = tw_store_put(s, sim, err);
    }
    tw_simulation_free(sim);
    if (r == 0)
        r = tw_store_find(s, a, id, &row, err);
    if (r == 0 && ret_body)
        *ret_body = row.body;
    return r;
}

static int start_work(struct api_call *c, struct tw_store *s, struct tw_err *err)
{
    struct starting *st = c->data;
    int r = tw_store_find(s, c->arena, st->id, &st->row, err);

    if (r < 0)
        return r;
    st->begins = tw_streq(st->row.status, "created");
    c->repeat.simulation = st->id;
    if (st->begins)
        r = restatus(s, c->arena, st->id, TW_QUEUED, &c->answer, err);
    if (r == 0 && st->begins)
        r = api_audit(c, s, st->id, "ok", NULL, err);
    return r;
}

static void start_done(struct api_call *c)
{
    struct starting *st = c->data;
    struct tw_api *api = c->api;
    struct tw_arena *a;
    struct tw_store_simulation row = st->row;
    const char *body;

    if (c->repeated || is_final(row.status)) {
        answer_current(c, st->id);
        return;
    }
    a = tw_arena_new(); /* c may be gone as soon as it waits */
    row.id = tw_arena_strdup(a, row.id);
    row.environment = tw_arena_strdup(a, row.environment);
    row.target = tw_arena_strdup(a, row.target);
    row.type = tw_arena_strdup(a, row.type);
    body = tw_arena_strdup(a, c->answer);
    if (st->begins) {
        api_stream_state(api, body);
        attach(c, row.id);
        enqueue(api, row.id, row.priority, body, row.environment, row.target, row.type);
    } else {
        attach(c, row.id);
    }
    tw_arena_free(a);
}

static int run_created(struct api_call *c, struct tw_err *err)
{
    static const char *const keys[] = {"id"};
    struct starting *st = tw_arena_alloc(c->arena, sizeof(*st));
    struct tw_store *s;
    int r = api_known(c, keys, TW_COUNT_OF(keys), err);

    st->id = api_text(c, "id");
    if (r == 0 && (!st->id || !tw_id_valid(st->id)))
        r = tw_fail_at(err, -EINVAL, "/id",
                       "expected the id that create gave: 26 characters");
    if (r < 0)
        return r;
    st->id = tw_arena_strdup(c->arena, st->id);
    s = tw_store_pool_take(c->api->pool, err);
    r = s ? tw_store_find(s, c->arena, st->id, &st->row, err) : -EIO;
    tw_store_pool_give(c->api->pool, s);
    if (r == 0)
        r = api_may(c, st->row.environment, st->row.type, err);
    return r < 0 ? r : api_write(c, start_work, start_done, st);
}

int api_simulation_run(struct api_call *c, struct tw_err *err)
{
    struct making *m;

    if (json_object_get(c->body, "id"))
        return run_created(c, err);
    m = make(c, TW_QUEUED, err);
    return m ? api_write(c, create_work, run_done, m) : err->code;
}

/* ---- what the queue tells ---- */

struct change {
    struct tw_api *api;
    char id[TW_ID_LEN + 1];
    enum tw_status status;
    char *body;     /* of the answer, after the work */
    json_t *result; /* of the worker; NULL: none */
    char *why;
    bool refused, cancelled, timed_out, attempt;
};

static void change_free(struct change *ch)
{
    json_decref(ch->result);
    free(ch->body);
    free(ch->why);
    free(ch);
}

static struct change *change_new(struct tw_api *api, const char *id)
{
    struct change *ch = tw_alloc(sizeof(*ch));

    ch->api = api;
    api_copy_id(ch->id, id);
    return ch;
}

static int started_work(void *arg, struct tw_store *s, struct tw_err *err)
{
    struct change *ch = arg;
    tw_auto(tw_arena) *a = tw_arena_new();
    const char *body = NULL;
    int r = restatus(s, a, ch->id, TW_RUNNING, &body, err);

    if (r == 0)
        r = tw_store_attempt(s, ch->id, err);
    if (r == 0)
        ch->body = strdup(body);
    return r;
}

static void started_done(void *arg, int result, const struct tw_err *err)
{
    struct change *ch = arg;

    if (result < 0)
        tw_log(TW_LOG_ERROR, "simulation=%s: %s", ch->id, err->text);
    else
        api_stream_state(ch->api, ch->body);
    change_free(ch);
}

void api_job_started(void *arg, const struct tw_job *job)
{
    struct tw_api *api = arg;

    if (tw_streq(job->verb, "run"))
        tw_store_pool_write(api->pool, started_work, started_done,
                            change_new(api, job->id));
}

void api_job_event(void *arg, const struct tw_job *job, const json_t *event)
{
    if (tw_streq(job->verb, "run"))
        api_stream_event(arg, job, event);
    else if (tw_streq(job->verb, "follow"))
        api_follow_event(arg, event);
}

/* The simulation as it ended: what the worker gave, or what was stored with the reason why there is no
 * more. */
static int ended_simulation(struct change *ch, const struct tw_store_simulation *row,
                            struct tw_simulation **ret, struct tw_err *err)
{
    tw_auto_free char *text = ch->result ? tw_json_dump(ch->result, JSON_COMPACT) : NULL;
    struct tw_simulation *sim = NULL;
    int r = text ? tw_simulation_from_json(text, &sim, err) : -ENODATA;

    if (r < 0)
        r = tw_simulation_from_json(row->body, &sim, err);
    if (r < 0)
        return r;
    sim->created_wall_ns = row->created_wall_ns;
    if (sim->status != TW_SUCCESS && sim->status != TW_FAILED &&
        sim->status != TW_CANCELLED)
        sim->status = TW_FAILED;
    if (ch->timed_out)
        sim->status = TW_FAILED;
    else if (ch->cancelled && sim->status != TW_SUCCESS)
        sim->status = TW_CANCELLED;
    if (ch->why)
        sim->error = tw_arena_strdup(sim->arena, ch->why);
    if (!sim->ended_wall_ns)
        sim->ended_wall_ns = tw_wall_ns();
    *ret = sim;
    return 0;
}

static int tell_about(struct tw_api *api, struct tw_store *s,
                      const struct tw_simulation *sim, struct tw_err *err)
{
    tw_auto_free char *summary = NULL;
    const struct tw_issue *worst =
        sim->impact.issues.list.count ? &sim->impact.issues.list.items[0] : NULL;
    struct tw_alert al = {.environment = sim->target.environment,
                          .target = sim->request.target,
                          .simulation = sim->id,
                          .severity = "warning"};

    if (sim->status == TW_FAILED) {
        al.kind = "failed";
        summary = tw_strf("the simulation of a change of '%s' could not be done",
                          sim->request.target);
        al.description = sim->error;
    } else if (sim->status == TW_SUCCESS && sim->decision.verdict == TW_BLOCK) {
        al.kind = "risk";
        al.severity = "critical";
        summary = tw_strf("a change of '%s' is blocked, risk %.0f", sim->request.target,
                          sim->impact.risk_score);
        al.description = worst ? worst->title : NULL;
    } else {
        return 0;
    }
    al.summary = summary;
    return tw_alert_raise(s, &api->o->hooks, &al, err);
}

static int audit_end(struct tw_api *api, struct tw_store *s,
                     const struct tw_simulation *sim, struct tw_err *err)
{
    static const char *const results[TW_STATUS_COUNT] = {
        [TW_SUCCESS] = "ok", [TW_FAILED] = "failed", [TW_CANCELLED] = "cancelled"};
    struct tw_actor daemon = {.person = "daemon", .source = "daemon"};
    bool ok = sim->status == TW_SUCCESS;
    json_auto_t *detail =
        json_pack("{s:s?, s:o, s:o, s:s?}", "decision",
                  ok ? tw_verdict_names[sim->decision.verdict] : NULL, "risk_score",
                  tw_json_real(sim->has_impact ? sim->impact.risk_score : NAN), "error",
                  tw_json_text(sim->error), "plan_sha256",
                  *sim->plan.sha256 ? sim->plan.sha256 : NULL);
    tw_auto_free char *text = tw_json_dump(detail, JSON_COMPACT | JSON_SORT_KEYS);
    struct tw_audit_entry e = {.action = "simulation.end",
                               .object = sim->id,
                               .result = results[sim->status],
                               .detail = text};

    return tw_audit_add(api->audit, s, &daemon, &e, err);
}

static int ended_work(void *arg, struct tw_store *s, struct tw_err *err)
{
    struct change *ch = arg;
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_store_simulation row;
    struct tw_store_approval approval;
    struct tw_simulation *sim = NULL;
    int r = tw_store_find(s, a, ch->id, &row, err);

    if (r == 0)
        r = ended_simulation(ch, &row, &sim, err);
    if (r == 0 && sim->status == TW_SUCCESS && sim->decision.verdict == TW_REVIEW) {
        r = tw_gate_approval_open(s, a, sim, row.requester ? row.requester : "anonymous",
                                  ch->api->o->approval_hours, &approval, err);
        if (r == 0)
            sim->approval_id = tw_arena_strdup(sim->arena, approval.id);
    }
    if (r == 0)
        r = tw_store_put(s, sim, err);
    if (r == 0)
        r = audit_end(ch->api, s, sim, err);
    if (r == 0)
        r = tell_about(ch->api, s, sim, err);
    if (r == 0)
        r = tw_store_find(s, a, ch->id, &row, err);
    if (r == 0)
        ch->body = strdup(row.body);
    tw_simulation_free(sim);
    return r;
}

static void ended_done(void *arg, int result, const struct tw_err *err)
{
    struct change *ch = arg;
    struct tw_api *api = ch->api;

    if (result < 0)
        tw_log(TW_LOG_ERROR, "simulation=%s could not be kept: %s", ch->id, err->text);
    else
        api_stream_state(api, ch->body);
    for (struct waiter *w = take_waiters(api, ch->id, 0, false), *next; w; w = next) {
        next = w->next;
        if (result < 0)
            api_answer_problem(w->call, result, err);
        else if (!ch->refused || !answer_refused(w->call, ch->result))
            answer_current(w->call, ch->id);
        free(w);
    }
    change_free(ch);
}

void api_job_ended(void *arg, const struct tw_job_end *end)
{
    struct tw_api *api = arg;
    struct change *ch;

    if (tw_streq(end->job->verb, "follow")) {
        api_follow_ended(api, end);
        return;
    }
    if (!tw_streq(end->job->verb, "run")) {
        api_sync_ended(api, end);
        return;
    }
    ch = change_new(api, end->job->id);
    ch->result = end->body ? json_deep_copy(end->body) : NULL;
    ch->why = end->why ? strdup(end->why) : NULL;
    ch->refused = end->refused;
    ch->cancelled = end->cancelled;
    ch->timed_out = end->timed_out;
    if (end->refused && ch->result)
        (void)json_object_set_new(json_object_get(ch->result, "problem"), "refused",
                                  json_true());
    if (end->timed_out && !ch->why)
        ch->why =
            tw_strf("it was stopped after %.0f minutes (simulation.timeout_minutes)",
                    api->o->timeout_minutes);
    tw_store_pool_write(api->pool, ended_work, ended_done, ch);
}

/* ---- after a start ---- */

int api_resume(struct tw_api *api, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_store_simulations all = {0};
    struct tw_store *s = tw_store_pool_take(api->pool, err);
    int r = s ? tw_store_unfinished(s, a, &all, err) : -EIO;

    tw_store_pool_give(api->pool, s);
    for (size_t i = 0; i < all.list.count && r == 0; i++) {
        const struct tw_store_simulation *row = &all.list.items[i];
        struct change *ch;

        if (row->attempts < MAX_ATTEMPTS) {
            enqueue(api, row->id, row->priority, row->body, row->environment, row->target,
                    row->type);
            continue;
        }
        ch = change_new(api, row->id);
        ch->why = tw_strf(
            "the daemon ended %d times while it ran; run it again when it is known "
            "why",
            row->attempts);
        tw_store_pool_write(api->pool, ended_work, ended_done, ch);
    }
    if (r == 0 && all.list.count)
        tw_log(TW_LOG_INFO, "%zu simulations that were accepted before are taken up",
               all.list.count);
    return r;
}

/* ---- reading ---- */

static int find(struct api_call *c, struct tw_store_simulation *ret, struct tw_err *err)
{
    struct tw_store *s;
    int r;

    if (!tw_id_valid(c->id))
        return tw_fail(err, -ENOENT,
                       "there is no simulation '%s'; an id has 26 characters", c->id);
    s = tw_store_pool_take(c->api->pool, err);
    r = s ? tw_store_find(s, c->arena, c->id, ret, err) : -EIO;
    tw_store_pool_give(c->api->pool, s);
    return r < 0 ? r : api_may(c, ret->environment, ret->type, err);
}

static bool etag_fits(const char *header, const char *etag)
{
    return header && (tw_streq(header, "*") || strstr(header, etag));
}

int api_simulation_get(struct api_call *c, struct tw_err *err)
{
    struct tw_store_simulation row;
    const char *etag;
    int r = find(c, &row, err);

    if (r < 0)
        return r;
    etag = tw_arena_printf(c->arena, "\"%llx\"", (unsigned long long)row.updated_wall_ns);
    tw_http_add_header(c->http, "ETag", etag);
    if (etag_fits(tw_http_header(c->http, "If-None-Match"), etag))
        api_answer_text(c, 304, NULL, "");
    else
        api_answer_text(c, 200, NULL, row.body);
    return 0;
}

int api_simulation_report(struct api_call *c, struct tw_err *err)
{
    static const struct tw_report_style style = {.unicode = true};
    const char *name = tw_http_query(c->http, "format");
    const struct tw_report_format *format =
        tw_report_format_find(name ? name : "html", err);
    struct tw_store_simulation row;
    struct tw_simulation *sim = NULL;
    tw_auto_buf out = {0};
    int r = format ? find(c, &row, err) : -EINVAL;

    if (r == 0)
        r = tw_simulation_from_json(row.body, &sim, err);
    tw_buf_init(&out, (size_t)64 << 20);
    if (r == 0)
        r = format->write(sim, &style, &out, err);
    tw_simulation_free(sim);
    if (r < 0)
        return r;
    tw_http_add_header(c->http, "Content-Disposition", "inline");
    api_answer_text(c, 200, format->media_type, tw_buf_text(&out));
    return 0;
}

/* "time.id" of the last row. */
static int read_cursor(struct api_call *c, struct tw_store_filter *f, struct tw_err *err)
{
    const char *text = tw_http_query(c->http, "cursor");
    char *end;

    if (!text)
        return 0;
    f->before_wall_ns = (int64_t)strtoll(text, &end, 16);
    if (*end != '.' || !tw_id_valid(end + 1))
        return tw_fail(err, -EINVAL,
                       "cursor '%s': expected the 'next_cursor' of the page before",
                       text);
    f->before_id = end + 1;
    return 0;
}

static json_t *row_to_json(struct tw_arena *a, const struct tw_store_row *r)
{
    return json_pack("{s:s, s:s, s:s?, s:o, s:o, s:s?, s:o, s:o, s:s}", "id", r->id,
                     "status", r->status, "decision", r->decision, "type",
                     tw_json_text(r->type), "target", tw_json_text(r->target),
                     "environment", r->environment, "summary", tw_json_text(r->summary),
                     "risk_score", tw_json_real(r->risk_score), "created_at",
                     tw_iso_time(a, r->created_wall_ns));
}

int api_simulation_list(struct api_call *c, struct tw_err *err)
{
    struct tw_store_filter f = {.target = tw_http_query(c->http, "target"),
                                .environment = tw_http_query(c->http, "environment"),
                                .status = tw_http_query(c->http, "status"),
                                .decision = tw_http_query(c->http, "decision"),
                                .type = tw_http_query(c->http, "type")};
    json_t *items = NULL;
    struct tw_store_rows rows = {0};
    struct tw_store *s = NULL;
    const char *next = NULL;
    int limit, r = api_page(c, &limit, err);

    if (r == 0)
        r = read_cursor(c, &f, err);
    if (r == 0 && f.status &&
        tw_name_index(f.status, tw_status_names, TW_STATUS_COUNT) < 0)
        r = tw_fail(err, -EINVAL,
                    "status '%s': expected created, queued, running, success, "
                    "failed or cancelled",
                    f.status);
    if (r < 0)
        return r;
    f.limit = limit + 1;
    s = tw_store_pool_take(c->api->pool, err);
    r = s ? tw_store_page(s, c->arena, &f, &rows, err) : -EIO;
    tw_store_pool_give(c->api->pool, s);
    if (r < 0)
        return r;
    items = json_array();
    for (size_t i = 0; i < rows.list.count && i < (size_t)limit; i++)
        if (tw_gate_check(&c->actor, TW_MAY_READ, rows.list.items[i].environment,
                          rows.list.items[i].type, NULL) == 0)
            (void)json_array_append_new(items,
                                        row_to_json(c->arena, &rows.list.items[i]));
    if (rows.list.count > (size_t)limit)
        next = tw_arena_printf(
            c->arena, "%llx.%s",
            (unsigned long long)rows.list.items[limit - 1].created_wall_ns,
            rows.list.items[limit - 1].id);
    api_answer_json(c, 200, api_items(items, next));
    return 0;
}

/* ---- cancelling ---- */

static int cancel_work(struct api_call *c, struct tw_store *s, struct tw_err *err)
{
    struct tw_store_simulation row;
    int r = tw_store_find(s, c->arena, c->id, &row, err);

    if (r == 0 && tw_streq(row.status, "created"))
        r = restatus(s, c->arena, c->id, TW_CANCELLED, NULL, err);
    if (r == 0)
        r = api_audit(c, s, c->id, "ok", json_pack("{s:s}", "status", row.status), err);
    return r;
}

/* One that waits or runs ends soon: the answer is its state now, 202 until it has ended. */
static void cancel_done(struct api_call *c)
{
    (void)tw_queue_cancel(c->api->queue, c->id);
    c->asynchronous = false;
    answer_current(c, c->id);
}

int api_simulation_cancel(struct api_call *c, struct tw_err *err)
{
    struct tw_store_simulation row;
    int r = find(c, &row, err);

    return r < 0 ? r : api_write(c, cancel_work, cancel_done, NULL);
}

/* ---- what really happened ---- */

static int outcome_work(struct api_call *c, struct tw_store *s, struct tw_err *err)
{
    tw_auto_free char *text = tw_json_dump(c->body, JSON_COMPACT);
    int r = tw_store_outcome_put(s, c->id, c->actor.person, text, err);

    if (r == 0)
        r = api_audit(c, s, c->id, "ok", json_deep_copy(c->body), err);
    c->answer = tw_arena_strdup(c->arena, text);
    return r;
}

static void outcome_done(struct api_call *c)
{
    api_answer_json(
        c, 201, json_pack("{s:s, s:o}", "id", c->id, "outcome", json_deep_copy(c->body)));
}

int api_outcome_put(struct api_call *c, struct tw_err *err)
{
    static const char *const keys[] = {"applied",  "applied_at",  "success",
                                       "incident", "performance", "note"};
    struct tw_store_simulation row;
    int r = find(c, &row, err);

    if (r == 0)
        r = api_known(c, keys, TW_COUNT_OF(keys), err);
    if (r == 0 && !json_is_boolean(json_object_get(c->body, "applied")))
        r = tw_fail_at(err, -EINVAL, "/applied",
                       "expected true or false: was the change made?");
    if (r == 0 && !tw_streq(row.status, "success"))
        r = tw_fail(
            err, -EALREADY,
            "the simulation '%s' is %s: only one that predicted something is compared "
            "with what happened",
            c->id, row.status);
    return r < 0 ? r : api_write(c, outcome_work, outcome_done, NULL);
}

int api_outcome_get(struct api_call *c, struct tw_err *err)
{
    struct tw_store_simulation row;
    const char *body = NULL;
    struct tw_store *s;
    int r = find(c, &row, err);

    if (r < 0)
        return r;
    s = tw_store_pool_take(c->api->pool, err);
    r = s ? tw_store_outcome_get(s, c->arena, c->id, &body, err) : -EIO;
    tw_store_pool_give(c->api->pool, s);
    if (r == 0 && !body)
        r = tw_fail(err, -ENODATA, "nobody has told what came of the simulation '%s'",
                    c->id);
    if (r == 0)
        api_answer_json(
            c, 200,
            json_pack("{s:s, s:o}", "id", c->id, "outcome", json_loads(body, 0, NULL)));
    return r;
}
