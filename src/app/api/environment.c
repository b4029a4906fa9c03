/* Environments: what can be twinned, snapshots on demand and by schedule, drift, metrics over time. */
#include "api_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DRIFT_SHOWN   8 /* differences that an alert names */
#define SYNC_PRIORITY 5 /* before simulations: they need what it brings */

/* ---- the declarations, read again when their files change ---- */

static void stamp_of(const char *state_dir, int64_t ret_stamp[6])
{
    static const char *const names[] = {"declared.json", "environments.json"};

    for (size_t i = 0; i < TW_COUNT_OF(names); i++) {
        tw_auto_free char *path = tw_strf("%s/%s", state_dir, names[i]);
        struct stat st = {0};

        (void)stat(path, &st);
        ret_stamp[3 * i] = (int64_t)st.st_ino;
        ret_stamp[3 * i + 1] =
            (int64_t)st.st_mtim.tv_sec * TW_SEC_NS + st.st_mtim.tv_nsec;
        ret_stamp[3 * i + 2] = (int64_t)st.st_size;
    }
}

static int refresh(struct tw_api *api, struct tw_err *err)
{
    int64_t stamp[6];
    struct tw_env_list list = {0};
    struct tw_arena *a;
    int r;

    stamp_of(api->o->state_dir, stamp);
    if (api->env_arena && memcmp(stamp, api->env_stamp, sizeof(stamp)) == 0)
        return 0;
    a = tw_arena_new();
    r = tw_env_load(a, api->o->state_dir, &list, err);
    if (r < 0) {
        tw_arena_free(a);
        return r;
    }
    tw_arena_free(api->env_arena);
    api->env_arena = a;
    api->env = list;
    memcpy(api->env_stamp, stamp, sizeof(stamp));
    return 0;
}

static struct tw_target copy_target(struct tw_arena *a, const struct tw_target *t)
{
    struct tw_target own = {.environment = tw_arena_strdup(a, t->environment),
                            .name = tw_arena_strdup(a, t->name),
                            .type = tw_arena_strdup(a, t->type),
                            .tier = t->tier,
                            .data = t->data,
                            .memory_bytes = t->memory_bytes,
                            .cpus = t->cpus};

    return own; /* where its data is, is nobody's business here */
}

int api_env_find(struct tw_api *api, struct tw_arena *a, const char *environment,
                 const char *name, struct tw_target *ret, struct tw_err *err)
{
    struct tw_target found;
    int r;

    (void)pthread_mutex_lock(&api->env_lock);
    r = refresh(api, err);
    if (r == 0)
        r = tw_env_find(&api->env, environment, name, &found, err);
    if (r == 0)
        *ret = copy_target(a, &found);
    (void)pthread_mutex_unlock(&api->env_lock);
    return r;
}

static int all_targets(struct tw_api *api, struct tw_arena *a, struct tw_env_list *ret,
                       struct tw_err *err)
{
    int r;

    *ret = (struct tw_env_list){0};
    (void)pthread_mutex_lock(&api->env_lock);
    r = refresh(api, err);
    for (size_t i = 0; i < api->env.targets.count && r == 0; i++)
        TW_PUSH(a, &ret->targets, copy_target(a, &api->env.targets.items[i]));
    (void)pthread_mutex_unlock(&api->env_lock);
    return r;
}

/* ---- the list ---- */

/* The newest change that was seen, which later snapshots without one do not hide. */
static void set_last_drift(struct tw_store *s, struct tw_arena *a,
                           const struct tw_target *t, json_t *json)
{
    struct tw_store_snapshots last = {0};
    const struct tw_store_snapshot *n;

    (void)tw_store_drift_list(s, a, t->environment, t->name, 1, &last, NULL);
    n = last.list.count ? &last.list.items[0] : NULL;
    (void)json_object_set_new(json, "drifted_at",
                              tw_json_text(n ? tw_iso_time(a, n->taken_wall_ns) : NULL));
    (void)json_object_set_new(json, "last_drift",
                              n ? json_loads(n->drift, 0, NULL) : json_null());
}

static json_t *service_to_json(struct tw_api *api, struct tw_store *s, struct tw_arena *a,
                               const struct tw_target *t)
{
    struct tw_store_snapshots last = {0};
    const struct tw_store_snapshot *n;
    json_t *drift;
    json_t *json = api_follow_state(api, t->environment, t->name);

    (void)json_object_set_new(json, "name", tw_json_text(t->name));
    (void)json_object_set_new(json, "type", tw_json_text(t->type));
    (void)json_object_set_new(json, "data", tw_json_text(tw_data_mode_names[t->data]));
    (void)tw_store_snapshot_heads(s, a, t->environment, t->name, 1, &last, NULL);
    n = last.list.count ? &last.list.items[0] : NULL;
    drift = n && n->drift ? json_loads(n->drift, 0, NULL) : NULL;
    set_last_drift(s, a, t, json);
    (void)json_object_set_new(json, "synced_at",
                              tw_json_text(n ? tw_iso_time(a, n->taken_wall_ns) : NULL));
    (void)json_object_set_new(json, "snapshot_sha256",
                              tw_json_text(n ? n->sha256 : NULL));
    (void)json_object_set_new(json, "drift",
                              drift ? drift
                              : n   ? json_array()
                                    : json_null());
    return json;
}

static json_t *environment_of(json_t *items, const struct tw_target *t)
{
    json_t *item;
    size_t i;

    json_array_foreach (items, i, item)
        if (tw_streq(json_string_value(json_object_get(item, "name")), t->environment))
            return item;
    item = json_pack("{s:s, s:s, s:s, s:[]}", "id", t->environment, "name",
                     t->environment, "tier", tw_tier_names[t->tier], "services");
    (void)json_array_append_new(items, item);
    return item;
}

int api_environment_list(struct api_call *c, struct tw_err *err)
{
    json_t *items = json_array();
    struct tw_env_list all;
    struct tw_store *s = tw_store_pool_take(c->api->pool, err);
    int r = s ? all_targets(c->api, c->arena, &all, err) : -EIO;

    for (size_t i = 0; r == 0 && i < all.targets.count; i++) {
        const struct tw_target *t = &all.targets.items[i];

        if (tw_gate_check(&c->actor, TW_MAY_READ, t->environment, NULL, NULL) == 0)
            (void)json_array_append_new(
                json_object_get(environment_of(items, t), "services"),
                service_to_json(c->api, s, c->arena, t));
    }
    tw_store_pool_give(c->api->pool, s);
    if (r < 0)
        json_decref(items);
    else
        api_answer_json(c, 200, api_items(items, NULL));
    return r;
}

/* ---- syncing ---- */

/* One request may sync several targets: the last to end answers. */
struct group {
    struct api_call *call; /* NULL: nobody waits */
    int left, failed;
    json_t *results;
    char *error;
};
struct syncing {
    struct syncing *next;
    char id[TW_ID_LEN + 1];
    struct group *group; /* NULL: by schedule */
};
static pthread_mutex_t syncs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct syncing *syncs;

static void remember(const char *id, struct group *g)
{
    struct syncing *s = tw_alloc(sizeof(*s));

    api_copy_id(s->id, id);
    s->group = g;
    (void)pthread_mutex_lock(&syncs_lock);
    s->next = syncs;
    syncs = s;
    (void)pthread_mutex_unlock(&syncs_lock);
}

static struct group *group_of(const char *id)
{
    struct group *g = NULL;

    (void)pthread_mutex_lock(&syncs_lock);
    for (struct syncing **at = &syncs, *s; (s = *at); at = &s->next)
        if (tw_streq(s->id, id)) {
            g = s->group;
            *at = s->next;
            free(s);
            break;
        }
    (void)pthread_mutex_unlock(&syncs_lock);
    return g;
}

static void enqueue(struct tw_api *api, const struct tw_target *t, bool data, bool soon,
                    struct group *g)
{
    tw_auto(tw_simulation) *sim = tw_simulation_new();
    json_auto_t *json = NULL;
    tw_auto_free char *body = NULL;
    struct tw_job job = {.verb = data && t->data == TW_DATA_CLONE ? "sync" : "look",
                         .priority = SYNC_PRIORITY,
                         .aside = soon,
                         .environment = t->environment,
                         .target = t->name,
                         .type = t->type};

    tw_id_make(sim->id);
    sim->request.type = "config_change";
    sim->request.target = t->name;
    sim->request.environment = t->environment;
    sim->created_wall_ns = tw_wall_ns();
    json = tw_simulation_to_json(sim);
    body = tw_json_dump(json, JSON_COMPACT);
    job.id = sim->id;
    job.simulation = body;
    remember(sim->id, g);
    tw_queue_add(api->queue, &job);
}

/* Looks that were asked for by a change: one at a time of each target. */
struct looking {
    struct looking *next;
    char *environment, *target;
    bool under_way, again;
};
static struct looking *looks; /* under syncs_lock; they stay */

static struct looking *look_of(const char *environment, const char *target)
{
    struct looking *l = looks;

    while (l && !(tw_streq(l->target, target) && tw_streq(l->environment, environment)))
        l = l->next;
    return l;
}

/* true: begin one now. */
static bool look_wanted(const char *environment, const char *target)
{
    struct looking *l;
    bool begin;

    (void)pthread_mutex_lock(&syncs_lock);
    l = look_of(environment, target);
    if (!l) {
        l = tw_alloc(sizeof(*l));
        l->environment = strdup(environment);
        l->target = strdup(target);
        l->next = looks;
        looks = l;
    }
    begin = !l->under_way;
    l->again |= !begin;
    l->under_way = true;
    (void)pthread_mutex_unlock(&syncs_lock);
    return begin;
}

/* What was asked for while it was under way is begun. */
static void look_over(struct tw_api *api, const struct tw_job *job)
{
    bool again = false;
    struct looking *l;

    if (!job->aside)
        return;
    (void)pthread_mutex_lock(&syncs_lock);
    l = look_of(job->environment, job->target);
    if (l) {
        again = l->again;
        l->again = false;
        l->under_way = false;
    }
    (void)pthread_mutex_unlock(&syncs_lock);
    if (again)
        api_look(api, job->environment, job->target);
}

void api_look(struct tw_api *api, const char *environment, const char *target)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_target t;

    if (api_env_find(api, a, environment, target, &t, NULL) == 0 &&
        look_wanted(environment, target))
        enqueue(api, &t, false, true, NULL);
}

/* ---- what came of one ---- */

static const char *const metric_names[] = {
    "data_bytes",         "memory_bytes",    "cpus",
    "rate_per_s",         "commit_share",    "connections_used",
    "max_slot_lag_bytes", "peak_connections"};
/* What a sync did to production, of each one. */
static const char *const cost_names[][2] = {{"statements", "sync_statements"},
                                            {"bytes", "sync_bytes"},
                                            {"seconds", "sync_seconds"}};

struct synced {
    struct tw_api *api;
    struct group *group;
    char *environment, *target, *why;
    json_t *snapshot, *drift; /* NULL: none */
    double seconds;
    char id[TW_ID_LEN + 1];
};

static int keep_points(struct tw_store *s, const struct synced *y, int64_t now,
                       struct tw_err *err)
{
    int r = 0;

    for (size_t i = 0; i < TW_COUNT_OF(metric_names) && r == 0; i++) {
        const json_t *value = json_object_get(y->snapshot, metric_names[i]);
        struct tw_store_point p = {.environment = y->environment,
                                   .target = y->target,
                                   .metric = metric_names[i],
                                   .at_wall_ns = now,
                                   .value = json_number_value(value)};

        if (json_is_number(value))
            r = tw_store_point_add(s, &p, err);
    }
    for (size_t i = 0; i < TW_COUNT_OF(cost_names) && r == 0; i++) {
        const json_t *value =
            json_object_get(json_object_get(y->snapshot, "cost"), cost_names[i][0]);
        struct tw_store_point p = {.environment = y->environment,
                                   .target = y->target,
                                   .metric = cost_names[i][1],
                                   .at_wall_ns = now,
                                   .value = json_number_value(value)};

        r = tw_store_point_add(s, &p, err);
    }
    return r;
}

static int tell_drift(struct tw_store *s, const struct synced *y, struct tw_err *err)
{
    tw_auto_free char *summary =
        tw_strf("'%s' in '%s' has changed", y->target, y->environment);
    tw_auto_free char *text = tw_env_drift_text(y->drift, DRIFT_SHOWN);
    struct tw_alert al = {.kind = "drift",
                          .severity = "warning",
                          .summary = summary,
                          .description = text,
                          .environment = y->environment,
                          .target = y->target};

    return json_array_size(y->drift) ? tw_alert_raise(s, &y->api->o->hooks, &al, err) : 0;
}

static int audit_sync(struct tw_store *s, const struct synced *y, struct tw_err *err)
{
    struct tw_actor daemon = {.person = "daemon", .source = "daemon"};
    const json_t *cost = json_object_get(y->snapshot, "cost");
    json_auto_t *detail =
        json_pack("{s:O?, s:I, s:o}", "cost", cost, "drift",
                  (json_int_t)json_array_size(y->drift), "error", tw_json_text(y->why));
    tw_auto_free char *text = tw_json_dump(detail, JSON_COMPACT | JSON_SORT_KEYS);
    tw_auto_free char *object = tw_strf("%s/%s", y->environment, y->target);
    struct tw_audit_entry e = {.action = "environment.synced",
                               .object = object,
                               .result = y->snapshot ? "ok" : "failed",
                               .detail = text};

    return tw_audit_add(y->api->audit, s, &daemon, &e, err);
}

/* Nothing was different: the next one without a difference takes its place. */
static bool is_plain(const char *drift)
{
    return tw_streq(drift, "[]");
}

static int synced_work(void *arg, struct tw_store *s, struct tw_err *err)
{
    struct synced *y = arg;
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto_free char *body = NULL, *drift = NULL;
    struct tw_store_snapshots last = {0};
    struct tw_store_snapshot n = {.environment = y->environment,
                                  .target = y->target,
                                  .taken_wall_ns = tw_wall_ns()};
    int r = y->snapshot
                ? tw_store_snapshot_list(s, a, y->environment, y->target, 1, &last, err)
                : audit_sync(s, y, err);

    if (r < 0 || !y->snapshot)
        return r;
    if (last.list.count) {
        json_auto_t *before = json_loads(last.list.items[0].body, 0, NULL);

        y->drift = tw_env_drift(before, y->snapshot);
    }
    body = tw_json_dump(y->snapshot, JSON_COMPACT);
    drift = y->drift ? tw_json_dump(y->drift, JSON_COMPACT) : NULL;
    n.body = body;
    n.drift = drift;
    n.sha256 = json_string_value(json_object_get(y->snapshot, "sha256"));
    n.sha256 = n.sha256 ? n.sha256 : "";
    r = tw_store_snapshot_add(s, &n, err);
    if (r == 0 && last.list.count && is_plain(drift) &&
        is_plain(last.list.items[0].drift))
        r = tw_store_snapshot_remove(s, y->environment, y->target,
                                     last.list.items[0].taken_wall_ns, err);
    if (r == 0)
        r = keep_points(s, y, n.taken_wall_ns, err);
    if (r == 0)
        r = audit_sync(s, y, err);
    return r == 0 ? tell_drift(s, y, err) : r;
}

static void group_end(struct group *g)
{
    struct api_call *c = g->call;
    json_t *json =
        json_pack("{s:s, s:o, s:o}", "status", g->failed ? "failed" : "success", "error",
                  tw_json_text(g->error), "syncs", g->results);

    if (c)
        api_answer_json(c, 200, json);
    else
        json_decref(json);
    free(g->error);
    free(g);
}

static void group_add(struct group *g, struct synced *y)
{
    json_t *row = json_pack("{s:s, s:s, s:s, s:o, s:o, s:O?, s:O?, s:O?, s:O?}",
                            "environment", y->environment, "target", y->target, "status",
                            y->snapshot ? "success" : "failed", "error",
                            tw_json_text(y->why), "seconds", tw_json_real(y->seconds),
                            "sha256", json_object_get(y->snapshot, "sha256"), "taken_at",
                            json_object_get(y->snapshot, "taken_at"), "cost",
                            json_object_get(y->snapshot, "cost"), "drift", y->drift);

    (void)json_array_append_new(g->results, row);
    if (!y->snapshot) {
        g->failed++;
        if (!g->error)
            g->error = tw_strf("'%s': %s", y->target, y->why);
    }
    if (--g->left == 0)
        group_end(g);
}

static void synced_done(void *arg, int result, const struct tw_err *err)
{
    struct synced *y = arg;

    if (result < 0) {
        tw_log(TW_LOG_ERROR, "a snapshot of '%s' could not be kept: %s", y->target,
               err->text);
        free(y->why);
        y->why = strdup(err->text);
        json_decref(y->snapshot);
        y->snapshot = NULL;
    }
    if (json_array_size(y->drift))
        api_stream_drift(y->api, y->id, y->environment, y->target, y->drift);
    if (y->group)
        group_add(y->group, y); /* groups are only touched on the writer's thread */
    json_decref(y->snapshot);
    json_decref(y->drift);
    free(y->environment);
    free(y->target);
    free(y->why);
    free(y);
}

void api_sync_ended(struct tw_api *api, const struct tw_job_end *end)
{
    struct synced *y = tw_alloc(sizeof(*y));
    const char *why =
        end->why ? end->why : json_string_value(json_object_get(end->body, "error"));
    json_t *snapshot = json_object_get(end->body, "snapshot");

    *y = (struct synced){.api = api,
                         .group = group_of(end->job->id),
                         .environment = strdup(end->job->environment),
                         .target = strdup(end->job->target),
                         .snapshot = snapshot ? json_deep_copy(snapshot) : NULL,
                         .why =
                             snapshot ? NULL : strdup(why ? why : "it gave no snapshot"),
                         .seconds = end->seconds};
    api_copy_id(y->id, end->job->id);
    tw_store_pool_write(api->pool, synced_work, synced_done, y);
    look_over(api, end->job);
}

/* ---- on demand ---- */

static int sync_work(struct api_call *c, struct tw_store *s, struct tw_err *err)
{
    return api_audit(c, s, api_text(c, "target") ? api_text(c, "target") : "all", "ok",
                     NULL, err);
}

static void sync_done(struct api_call *c)
{
    const struct tw_env_list *chosen = c->data;
    struct tw_api *api = c->api;
    struct tw_env_list own = {0};
    tw_auto(tw_arena) *a = tw_arena_new();
    struct group *g = tw_alloc(sizeof(*g));

    for (size_t i = 0; i < chosen->targets.count; i++)
        TW_PUSH(a, &own.targets, copy_target(a, &chosen->targets.items[i]));
    *g = (struct group){.left = (int)own.targets.count, .results = json_array()};
    if (c->asynchronous) {
        tw_http_add_header(c->http, "Preference-Applied", "respond-async");
        api_answer_json(c, 202,
                        json_pack("{s:s, s:s, s:i}", "status", "running", "error",
                                  "the sync is still running; ask for "
                                  "/api/v1/environments later",
                                  "targets", g->left));
    } else {
        g->call = c; /* gone when the last one has ended */
    }
    for (size_t i = 0; i < own.targets.count; i++)
        enqueue(api, &own.targets.items[i], true, false, g);
}

int api_environment_sync(struct api_call *c, struct tw_err *err)
{
    static const char *const keys[] = {"environment", "target"};
    const char *environment = api_text(c, "environment"), *name = api_text(c, "target");
    struct tw_env_list *chosen = tw_arena_alloc(c->arena, sizeof(*chosen));
    struct tw_env_list all;
    struct tw_target one;
    int r = api_known(c, keys, TW_COUNT_OF(keys), err);

    if (r == 0 && name)
        r = api_env_find(c->api, c->arena, environment, name, &one, err);
    if (r == 0)
        r = all_targets(c->api, c->arena, &all, err);
    for (size_t i = 0; r == 0 && i < all.targets.count; i++) {
        const struct tw_target *t = &all.targets.items[i];

        if ((environment && !tw_streq(t->environment, environment)) ||
            (name &&
             (!tw_streq(t->name, name) || !tw_streq(t->environment, one.environment))))
            continue;
        r = api_may(c, t->environment, NULL, err);
        TW_PUSH(c->arena, &chosen->targets, *t);
    }
    if (r == 0 && !chosen->targets.count)
        r = tw_fail_at(err, -EINVAL, environment ? "/environment" : "",
                       "there is no target to sync%s%s%s; twin env add declares one",
                       environment ? " in environment '" : "",
                       environment ? environment : "", environment ? "'" : "");
    return r < 0 ? r : api_write(c, sync_work, sync_done, chosen);
}

/* By schedule: a look, without the data. */
void api_sync_tick(struct tw_api *api, int64_t now_ns)
{
    static int64_t last_ns;
    tw_auto(tw_arena) *a = NULL;
    struct tw_env_list all;

    if (!(api->o->sync_minutes > 0))
        return;
    if (!last_ns)
        last_ns = now_ns; /* the first one an interval after the start */
    if (tw_seconds(now_ns - last_ns) < 60 * api->o->sync_minutes)
        return;
    last_ns = now_ns;
    a = tw_arena_new();
    if (all_targets(api, a, &all, NULL) < 0)
        return;
    for (size_t i = 0; i < all.targets.count; i++)
        enqueue(api, &all.targets.items[i], false, false, NULL);
}

/* ---- metrics ---- */

static int read_time(struct api_call *c, const char *name, int64_t otherwise,
                     int64_t *ret, struct tw_err *err)
{
    const char *text = tw_http_query(c->http, name);
    double seconds;

    *ret = otherwise;
    if (!text)
        return 0;
    if (tw_parse_double(text, &seconds, NULL) < 0 || !(fabs(seconds) < 9e9))
        return tw_fail(err, -EINVAL, "%s '%s': expected seconds since 1970", name, text);
    *ret = (int64_t)(seconds * 1e9);
    return 0;
}

int api_environment_metrics(struct api_call *c, struct tw_err *err)
{
    int64_t now = tw_wall_ns(), from, to, step;
    struct tw_store_points points = {0};
    const char *metric = tw_http_query(c->http, "metric");
    json_t *series;
    struct tw_store *s;
    int r = api_may(c, c->id, NULL, err);

    if (r == 0)
        r = read_time(c, "from", now - 24 * 3600 * TW_SEC_NS, &from, err);
    if (r == 0)
        r = read_time(c, "to", now + 1, &to, err);
    if (r == 0)
        r = read_time(c, "step", 60 * TW_SEC_NS, &step, err);
    if (r == 0 && (from >= to || step < TW_SEC_NS))
        r = tw_fail(err, -EINVAL,
                    "'from' has to be before 'to', and 'step' at least 1 second");
    if (r < 0)
        return r;
    s = tw_store_pool_take(c->api->pool, err);
    r = s ? tw_store_point_list(s, c->arena, c->id, tw_http_query(c->http, "target"),
                                metric, from, to, step, &points, err)
          : -EIO;
    tw_store_pool_give(c->api->pool, s);
    if (r < 0)
        return r;
    series = json_array();
    for (size_t i = 0; i < points.list.count; i++) {
        const struct tw_store_point *p = &points.list.items[i];

        (void)json_array_append_new(
            series, json_pack("{s:s, s:s, s:s, s:o, s:I}", "target", p->target, "metric",
                              p->metric, "at", tw_iso_time(c->arena, p->at_wall_ns),
                              "value", tw_json_real(p->value), "n", (json_int_t)p->n));
    }
    api_answer_json(c, 200,
                    json_pack("{s:s, s:o}", "environment", c->id, "points", series));
    return 0;
}
