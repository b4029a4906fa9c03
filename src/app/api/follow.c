/* Changes of targets between two syncs: a worker follows them as long as the daemon lives, what it tells is a
 * look at that target, a point of its metrics, or whether it can be followed at all. */
#include "api_internal.h"

#include <stdlib.h>
#include <string.h>

#define AGAIN_S                                                                          \
    5.0 /* after its end: it has crashed, or there is nothing to follow with */

/* What is known of a target's being followed; they stay until the end. */
struct api_followed {
    struct api_followed *next;
    char *environment, *target, *problem; /* problem NULL: it is */
};

static const char *text_of(const json_t *event, const char *key)
{
    return json_string_value(json_object_get(event, key));
}

/* ---- the worker ---- */

static void start(struct tw_api *api)
{
    tw_auto(tw_simulation) *sim = tw_simulation_new();
    tw_auto_free char *metadata = tw_strf("{\"metrics_s\": %.17g}", api->o->metrics_s);
    tw_auto_free char *body = NULL;
    json_auto_t *json = NULL;
    struct tw_job job = {.verb = "follow", .aside = true, .endless = true};

    tw_id_make(sim->id);
    sim->request.type = "config_change";
    sim->request.target = "all";
    sim->request.metadata = metadata;
    json = tw_simulation_to_json(sim);
    body = tw_json_dump(json, JSON_COMPACT);
    job.id = sim->id;
    job.simulation = body;
    tw_queue_add(api->queue, &job);
}

void api_follow_tick(struct tw_api *api, int64_t now_ns)
{
    bool begin;

    if (!(api->o->sync_minutes > 0))
        return;
    (void)pthread_mutex_lock(&api->follow_lock);
    begin = api->follow_next_ns >= 0 && now_ns >= api->follow_next_ns;
    if (begin)
        api->follow_next_ns = -1; /* it runs */
    (void)pthread_mutex_unlock(&api->follow_lock);
    if (begin)
        start(api);
}

void api_follow_ended(struct tw_api *api, const struct tw_job_end *end)
{
    const char *why = end->why ? end->why : text_of(end->body, "error");

    if (__atomic_load_n(&api->closing, __ATOMIC_ACQUIRE))
        return;
    tw_log(TW_LOG_WARNING, "changes of targets are not followed for %g s: %s", AGAIN_S,
           why ? why : "the worker ended");
    (void)pthread_mutex_lock(&api->follow_lock);
    api->follow_next_ns = tw_now_ns() + (int64_t)(AGAIN_S * (double)TW_SEC_NS);
    (void)pthread_mutex_unlock(&api->follow_lock);
}

/* ---- what it tells ---- */

struct point {
    char *environment, *target, *metric;
    double value;
    int64_t at_wall_ns;
};

static int point_work(void *arg, struct tw_store *s, struct tw_err *err)
{
    const struct point *p = arg;

    return tw_store_point_add(s,
                              &(struct tw_store_point){.environment = p->environment,
                                                       .target = p->target,
                                                       .metric = p->metric,
                                                       .at_wall_ns = p->at_wall_ns,
                                                       .value = p->value},
                              err);
}

static void point_done(void *arg, int result, const struct tw_err *err)
{
    struct point *p = arg;

    if (result < 0)
        tw_log(TW_LOG_ERROR, "a metric of '%s' could not be kept: %s", p->target,
               err->text);
    free(p->environment);
    free(p->target);
    free(p->metric);
    free(p);
}

static void take_metric(struct tw_api *api, const char *environment, const char *target,
                        const json_t *event)
{
    const char *metric = text_of(event, "metric");
    const json_t *value = json_object_get(event, "value");
    struct point *p;

    if (!metric || !json_is_number(value))
        return;
    p = tw_alloc(sizeof(*p));
    *p = (struct point){.environment = strdup(environment),
                        .target = strdup(target),
                        .metric = strdup(metric),
                        .value = json_number_value(value),
                        .at_wall_ns = tw_wall_ns()};
    tw_store_pool_write(api->pool, point_work, point_done, p);
}

static struct api_followed *find(struct tw_api *api, const char *environment,
                                 const char *target)
{
    struct api_followed *f = api->followed;

    while (f && !(tw_streq(f->target, target) && tw_streq(f->environment, environment)))
        f = f->next;
    return f;
}

static void take_state(struct tw_api *api, const char *environment, const char *target,
                       const json_t *event)
{
    const char *problem = text_of(event, "problem");
    struct api_followed *f;

    if (problem)
        tw_log(TW_LOG_WARNING, "changes of '%s' in '%s' are not followed: %s", target,
               environment, problem);
    (void)pthread_mutex_lock(&api->follow_lock);
    f = find(api, environment, target);
    if (!f) {
        f = tw_alloc(sizeof(*f));
        f->environment = strdup(environment);
        f->target = strdup(target);
        f->next = api->followed;
        api->followed = f;
    }
    free(f->problem);
    f->problem = problem ? strdup(problem) : NULL;
    (void)pthread_mutex_unlock(&api->follow_lock);
}

static void take_touched(struct tw_api *api, const char *environment, const char *target,
                         const json_t *event)
{
    const char *what = text_of(event, "what");

    tw_log(TW_LOG_INFO, "target=%s environment=%s touched: %s", target, environment,
           what ? what : "?");
    api_look(api, environment, target);
}

void api_follow_event(struct tw_api *api, const json_t *event)
{
    static const struct {
        const char *name;
        void (*take)(struct tw_api *api, const char *environment, const char *target,
                     const json_t *event);
    } rows[] = {
        {"touched", take_touched}, {"metric", take_metric}, {"following", take_state}};
    const char *environment = text_of(event, "environment"),
               *target = text_of(event, "target"), *name = text_of(event, "event");

    for (size_t i = 0; i < TW_COUNT_OF(rows) && environment && target; i++)
        if (tw_streq(rows[i].name, name))
            rows[i].take(api, environment, target, event);
}

/* ---- asked for ---- */

json_t *api_follow_state(struct tw_api *api, const char *environment, const char *target)
{
    const struct api_followed *f;
    json_t *json = json_object();

    (void)pthread_mutex_lock(&api->follow_lock);
    f = find(api, environment, target);
    (void)json_object_set_new(json, "followed",
                              f ? json_boolean(!f->problem) : json_null());
    (void)json_object_set_new(json, "not_followed_because",
                              tw_json_text(f ? f->problem : NULL));
    (void)pthread_mutex_unlock(&api->follow_lock);
    return json;
}

void api_follow_done(struct tw_api *api)
{
    for (struct api_followed *f = api->followed, *next; f; f = next) {
        next = f->next;
        free(f->environment);
        free(f->target);
        free(f->problem);
        free(f);
    }
    api->followed = NULL;
}
