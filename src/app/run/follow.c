/* The worker's verb "follow": a process of its own, as long as the daemon lives, that tells what changes at the
 * targets. Each line of its output is one event; what is done about it is the daemon's. */
#include "run_internal.h"

#include "tw/store.h"

#include <string.h>

struct following {
    struct tw_store *store;
};

static json_t *event_of(const char *event, const struct tw_target *t)
{
    return json_pack("{s:s, s:s, s:s}", "event", event, "environment", t->environment,
                     "target", t->name);
}

static void tell_touched(void *arg, const struct tw_target *t, const char *what)
{
    json_t *json = event_of("touched", t);

    (void)arg;
    (void)json_object_set_new(json, "what", tw_json_text(what));
    (void)run_write_line(json);
}

static void tell_metric(void *arg, const struct tw_target *t, const char *name,
                        double value)
{
    json_t *json = event_of("metric", t);

    (void)arg;
    (void)json_object_set_new(json, "metric", tw_json_text(name));
    (void)json_object_set_new(json, "value", tw_json_real(value));
    (void)run_write_line(json);
}

static void tell_state(void *arg, const struct tw_target *t, const char *problem)
{
    json_t *json = event_of("following", t);

    (void)arg;
    (void)json_object_set_new(json, "problem", tw_json_text(problem));
    (void)run_write_line(json);
}

/* ---- what the newest snapshot names ---- */

static void add_path(struct tw_arena *a, struct tw_follow_known *k, const json_t *path)
{
    if (json_string_value(path))
        TW_PUSH(a, &k->paths, tw_arena_strdup(a, json_string_value(path)));
}

static void add_paths(struct tw_arena *a, struct tw_follow_known *k, const json_t *list,
                      const char *key)
{
    json_t *item;
    size_t i;

    json_array_foreach (list, i, item)
        add_path(a, k, key ? json_object_get(item, key) : item);
}

static void known(void *arg, struct tw_arena *a, const struct tw_target *t,
                  struct tw_follow_known *ret)
{
    struct following *f = arg;
    tw_auto(tw_arena) *own = tw_arena_new(); /* snapshots are large */
    struct tw_store_snapshots last = {0};
    json_auto_t *body = NULL;

    if (tw_store_snapshot_list(f->store, own, t->environment, t->name, 1, &last, NULL) <
            0 ||
        !last.list.count)
        return;
    body = json_loads(last.list.items[0].body, 0, NULL);
    ret->stored = true;
    add_paths(a, ret, json_object_get(body, "files"), "path");
    add_paths(a, ret, json_object_get(body, "certificates"), "path");
    add_paths(a, ret, json_object_get(body, "trees"), NULL);
}

/* ---- the verb ---- */

static double metrics_s(const struct tw_simulation *sim)
{
    json_auto_t *more =
        sim->request.metadata ? json_loads(sim->request.metadata, 0, NULL) : NULL;

    return json_number_value(json_object_get(more, "metrics_s"));
}

json_t *run_follow(const struct tw_run_options *options, struct tw_simulation *sim)
{
    struct following f = {0};
    struct tw_follow_options o = {.state_dir = options->state_dir,
                                  .metrics_s = metrics_s(sim),
                                  .cancel = options->cancel,
                                  .known = known,
                                  .touched = tell_touched,
                                  .metric = tell_metric,
                                  .state = tell_state,
                                  .arg = &f};
    struct tw_err err = {0};
    int r = tw_store_open(options->state_dir, &f.store, &err);

    if (r == 0)
        r = tw_env_follow(&o, &err);
    if (f.store)
        tw_store_close(f.store);
    return json_pack("{s:s, s:b, s:{s:i, s:o}}", "event", "result", "refused", r < 0,
                     "body", "code", r, "error", tw_json_text(r < 0 ? err.text : NULL));
}
