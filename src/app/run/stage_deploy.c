/* Stage: a deployment. The container as it runs today twice, and as it would run, side by side with what is
 * behind them; then the way back. */
#include "run_deployment.h"

#include "tw/io.h"

#include <math.h>
#include <string.h>

#define STOP_S      1.5
#define ASK_LEAST_S 1.0
#define ASK_MOST_S  2.5
#define GRACE_S     10.0

bool run_is_deployment(const struct run *r)
{
    return tw_streq(r->sims[0]->request.type, "deployment");
}

/* ---- what is asked ---- */

static void add_ask(struct deployment *d, struct tw_deploy_spec *s, const char *path,
                    const char *host)
{
    struct tw_ask ask = {.method = "GET", .path = path, .within_s = 2};
    TW_ARRAY(struct tw_http_field) headers = {0};

    for (size_t i = 0; i < s->asks.list.count; i++)
        if (tw_streq(s->asks.list.items[i].path, path))
            return;
    if (host)
        TW_PUSH(d->a, &headers, (struct tw_http_field){"Host", host});
    ask.headers.items = headers.items;
    ask.headers.count = headers.count;
    TW_PUSH(d->a, &s->asks.list, ask);
}

static void add_asks(struct deployment *d, struct tw_deploy_spec *s)
{
    const struct tw_snapshot *snapshot = &d->r->snapshot;

    for (size_t i = 0; i < snapshot->requests.count; i++)
        if (tw_streq(snapshot->requests.items[i].method, "GET") &&
            snapshot->requests.items[i].status < 500)
            add_ask(d, s, snapshot->requests.items[i].path,
                    snapshot->requests.items[i].host);
    for (size_t i = 0; i < d->smoke.list.count; i++) {
        const struct tw_smoke *c = &d->smoke.list.items[i];

        if (tw_streq(c->kind, "http") && tw_streq(c->method, "GET") && !c->port)
            add_ask(d, s, c->what, NULL);
    }
}

static int read_smoke(struct deployment *d, struct tw_err *err)
{
    const struct tw_plan *plan = &d->r->v.sim->plan;
    json_auto_t *list = json_array();

    for (size_t i = 0; i < plan->steps.count; i++)
        if (plan->steps.items[i].kind == TW_STEP_SMOKE)
            json_array_append_new(list, json_loads(plan->steps.items[i].value, 0, NULL));
    return tw_smokes_from_json(d->a, list, "/smoke", &d->smoke, err);
}

/* ---- the experiment ---- */

static const char *tag_of(struct tw_arena *a, const char *image)
{
    const char *slash = strrchr(image, '/'), *colon = strrchr(slash ? slash : image, ':');

    return colon ? tw_arena_strdup(a, colon + 1) : NULL;
}

static const char *variable(const struct tw_sandbox_container *made,
                            const struct tw_docker_container *c, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < made->env.count; i++)
        if (strncmp(made->env.items[i], name, len) == 0 && made->env.items[i][len] == '=')
            return made->env.items[i] + len + 1;
    for (size_t i = 0; i < c->env.count; i++)
        if (tw_streq(c->env.items[i].name, name))
            return c->env.items[i].value;
    return NULL;
}

static void new_health(struct deployment *d, struct tw_instance_spec *to)
{
    const json_t *test =
        json_object_get(json_object_get(deployment_image(d), "Healthcheck"), "Test");
    const char *stop = deployment_change(d, "stop_signal");
    const char *own =
        json_string_value(json_object_get(deployment_image(d), "StopSignal"));
    size_t i;
    json_t *word;

    if (stop || own)
        to->stop_signal = deployment_signal(stop ? stop : own);
    if (!json_array_size(test))
        return;
    to->health.count = 0;
    to->health.items = NULL;
    json_array_foreach (test, i, word)
        TW_PUSH(d->a, &to->health, tw_arena_strdup(d->a, json_string_value(word)));
}

static int fill_sides(struct deployment *d, struct tw_deploy_spec *s, struct tw_err *err)
{
    static const struct {
        const char *name;
        int network, last;
    } places[] = {[TW_SIDE_OLD] = {"baseline", 0, DEPLOYMENT_ADDRESS_FIRST},
                  [TW_SIDE_AGAIN] = {"again", 0, DEPLOYMENT_ADDRESS_FIRST + 1},
                  [TW_SIDE_NEW] = {"candidate", 1, DEPLOYMENT_ADDRESS_FIRST},
                  [TW_SIDE_COUNT] = {"back", 1, DEPLOYMENT_ADDRESS_FIRST + 1}};
    int rc = 0;

    for (int i = 0; i <= TW_SIDE_COUNT && rc == 0; i++) {
        struct tw_instance_spec *to = i < TW_SIDE_COUNT ? &s->sides[i] : &s->back;

        if (i != TW_SIDE_NEW)
            d->made[i] = (struct tw_sandbox_container){.like = &d->like};
        d->made[i].engine = d->r->target.dsn;
        d->made[i].own_user = true;
        deployment_fill_spec(d, i == TW_SIDE_NEW ? &d->changed : &d->like, &d->made[i],
                             places[i].name, places[i].network,
                             deployment_address(d->a, places[i].last), to);
        if (i == TW_SIDE_COUNT) /* what the new one left behind */
            memcpy(&to->box.mounts, &s->sides[TW_SIDE_NEW].box.mounts,
                   sizeof(to->box.mounts));
        else
            rc = deployment_add_volumes(d, &d->like, places[i].name, NULL, to, err);
    }
    new_health(d, &s->sides[TW_SIDE_NEW]);
    return rc;
}

static void fill_experiment(struct deployment *d, struct tw_deploy_spec *s)
{
    struct run *r = d->r;

    s->priv = r->priv;
    s->smoke = &d->smoke;
    s->image_before = d->like.image;
    s->image_after = d->image_name;
    s->names_before[0] = d->like.image;
    s->names_before[1] = tag_of(d->a, d->like.image);
    s->names_before[2] = variable(&d->made[TW_SIDE_OLD], &d->like, "VERSION");
    s->names_after[0] = d->image_name;
    s->names_after[1] = tag_of(d->a, d->image_name);
    s->names_after[2] = variable(&d->made[TW_SIDE_NEW], &d->changed, "VERSION");
    s->rollback = r->v.sim->plan.rollback;
    s->start_s = DEPLOYMENT_START_S;
    s->stop_s = STOP_S;
    s->seconds_least = ASK_LEAST_S;
    s->seconds_most = fmax(ASK_MOST_S, r->v.sim->plan.most_s);
    s->memory_limit_bytes = (double)r->snapshot.memory_bytes;
    s->rate_per_s = isnan(r->v.sim->plan.rate_per_s) ? r->snapshot.rate_per_s
                                                     : r->v.sim->plan.rate_per_s;
    s->grace_s = isnan(d->like.stop_grace_s) ? GRACE_S : d->like.stop_grace_s;
    s->seed = r->v.sim->request.seed;
    s->cut = d->neighbour_count ? deployment_cut : NULL;
    s->begin = d->neighbour_count ? deployment_start_neighbours : NULL;
    s->arg = d;
    s->cancel = r->options->cancel;
    add_asks(d, s);
}

static void note(struct deployment *d, const char *text)
{
    (void)tw_issue_add(d->a, &d->r->differences, TW_INFO, TW_PROCEED, "twin.deployment",
                       text, NULL, NULL);
}

static void tell_differences(struct deployment *d)
{
    if (d->emptied)
        note(d,
             "volumes are empty: data is not cloned without permission (--data clone)");
    if (d->copied)
        note(d, "volumes hold the files as they stood while the containers ran, at most "
                "a day "
                "old");
    for (size_t i = 0; i < d->neighbour_count; i++)
        note(d, tw_arena_printf(d->a, "'%s' stands beside it as a clone of its own",
                                d->neighbours[i].of.name));
    note(
        d,
        "nothing outside is reachable: what it calls there fails in both versions alike");
}

static int make_dir(struct deployment *d, struct tw_err *err)
{
    const char *relative = tw_arena_printf(d->a, "deploy/%s", d->r->id);
    int rc = tw_priv_intend(d->r->priv, TW_INTENT_TREE, relative, &d->dir_token, err);

    d->dir = tw_arena_printf(d->a, "%s/%s", tw_priv_state_dir(d->r->priv), relative);
    return rc < 0 ? rc : tw_make_dirs(d->dir, 0755, err);
}

static int try_deployment(struct deployment *d, struct tw_err *err)
{
    struct tw_deploy_spec spec = {0};
    const char *id = d->r->snapshot.containers.items[0].id;
    struct tw_docker_options options = {.host = d->r->target.dsn};
    int64_t begun;
    int rc = tw_docker_open(&options, &d->engine, err);

    rc = rc < 0 ? rc : deployment_inspect(d, id, &d->like, err);
    rc = rc < 0 ? rc : deployment_find_image(d, err);
    rc = rc < 0 ? rc : read_smoke(d, err);
    rc = rc < 0 ? rc : make_dir(d, err);
    rc = rc < 0 ? rc : deployment_find_neighbours(d, err);
    if (rc < 0)
        return rc;
    deployment_apply(d);
    begun = tw_now_ns();
    rc = deployment_fill_neighbours(d, err);
    rc = rc < 0 ? rc : fill_sides(d, &spec, err);
    run_stage_time(d->r, "deploy: volumes", tw_seconds(tw_now_ns() - begun));
    if (rc < 0)
        return rc;
    fill_experiment(d, &spec);
    tell_differences(d);
    rc = tw_deploy_try(d->a, &spec, &d->seen, &d->r->v.issues, err);
    for (size_t i = 0; i < d->seen.stages.count; i++)
        run_stage_time(d->r,
                       tw_arena_printf(d->a, "deploy: %s", d->seen.stages.items[i].name),
                       d->seen.stages.items[i].seconds);
    if (rc == 0 && !d->seen.old_started)
        rc = tw_fail(err, -ENOEXEC,
                     "today's version does not serve in the clone, so nothing can be "
                     "compared with it: %s",
                     d->seen.no_start);
    return rc;
}

static void *close_main(void *arg)
{
    tw_instance_close(arg);
    return NULL;
}

/* All at once: each waits for the Engine. */
static void close_neighbours(struct deployment *d)
{
    pthread_t threads[DEPLOYMENT_NEIGHBOURS][DEPLOYMENT_NETWORKS];
    bool threaded[DEPLOYMENT_NEIGHBOURS][DEPLOYMENT_NETWORKS];

    for (size_t i = 0; i < d->neighbour_count; i++)
        for (int network = 0; network < DEPLOYMENT_NETWORKS; network++)
            threaded[i][network] =
                pthread_create(&threads[i][network], NULL, close_main,
                               d->neighbours[i].instance[network]) == 0;
    for (size_t i = 0; i < d->neighbour_count; i++)
        for (int network = 0; network < DEPLOYMENT_NETWORKS; network++)
            if (threaded[i][network])
                (void)pthread_join(threads[i][network], NULL);
            else
                tw_instance_close(d->neighbours[i].instance[network]);
}

static void clean(struct deployment *d)
{
    close_neighbours(d);
    for (size_t i = 0; i < d->clones.count; i++)
        (void)tw_pool_clone_remove(d->clones.items[i], NULL);
    if (d->dir)
        (void)tw_remove_tree(d->dir, NULL);
    tw_priv_settled(d->r->priv, d->dir_token);
    json_decref(d->image);
    tw_docker_free(d->engine);
}

int run_deploy(struct run *r, struct tw_err *err)
{
    struct deployment *d = tw_arena_alloc(r->v.sim->arena, sizeof(*d));
    int64_t begun;
    int rc = r->priv ? 0 : tw_priv_open(r->state_dir, r->id, &r->priv, err);

    if (rc < 0)
        return rc;
    *d = (struct deployment){.r = r, .a = r->v.sim->arena};
    rc = try_deployment(d, err);
    begun = tw_now_ns();
    clean(d);
    run_stage_time(r, "deploy: cleaned", tw_seconds(tw_now_ns() - begun));
    r->v.deployed = &d->seen;
    return rc;
}

/* ---- into the impact ---- */

void run_deploy_facts(struct run *r, struct tw_impact_facts *f)
{
    const struct tw_deployed *seen = r->v.deployed;
    struct tw_measured *m = &r->v.sim->measured;

    for (size_t i = 0; i < seen->effects.count; i++)
        TW_PUSH(r->v.sim->arena, &f->effects, seen->effects.items[i]);
    for (size_t i = 0; i < r->differences.list.count; i++)
        TW_PUSH(r->v.sim->arena, &f->twin_differences,
                r->differences.list.items[i].title);
    f->decided = seen->decided;
    m->pairs = seen->rounds;
    m->requests[TW_BASELINE] = m->requests[TW_CANDIDATE] = seen->requests;
    m->answered[TW_BASELINE] = m->answered[TW_CANDIDATE] = seen->requests;
    m->seconds = seen->seconds;
    m->noise_floor = seen->noise;
    m->stopped_because = seen->decided ? "decided" : "budget";
    m->mix = "requests as recorded, of checks, and what its pages link to";
    m->mix_coverage = m->generator_share = NAN;
    m->capacity_per_s[TW_BASELINE] = m->capacity_per_s[TW_CANDIDATE] = NAN;
}

bool run_deploy_serves(const struct run *r)
{
    return r->v.deployed && r->v.deployed->new_started;
}

void run_deploy_told(struct run *r)
{
    const struct tw_deployed *seen = r->v.deployed;
    struct tw_impact *impact = &r->v.sim->impact;
    struct tw_arena *a = r->v.sim->arena;
    const struct tw_container *c = &r->snapshot.containers.items[0];
    const char *project = r->target.project;

    impact->deployment = seen->of;
    impact->apdex_before = seen->apdex[0];
    impact->apdex_after = seen->apdex[1];
    impact->failed_before = seen->failed[0];
    impact->failed_after = seen->failed[1];
    impact->apply =
        (struct tw_apply){.how = "replace",
                          .outage_s = seen->of.stop_before_s + seen->of.start_after_s,
                          .sessions_dropped = -1,
                          .cold_s = NAN};
    if (project && c->service) {
        TW_PUSH(a, &impact->apply.commands,
                tw_arena_printf(
                    a, "docker compose -p %s up -d --no-deps %s   # with image %s",
                    project, c->service, seen->of.image_after));
        TW_PUSH(a, &impact->apply.undo,
                tw_arena_printf(
                    a, "docker compose -p %s up -d --no-deps %s   # with image %s",
                    project, c->service, seen->of.image_before));
    } else {
        TW_PUSH(a, &impact->apply.commands,
                tw_arena_printf(a, "docker stop %s && docker rename %s %s-before",
                                c->name, c->name, c->name));
        TW_PUSH(a, &impact->apply.commands,
                tw_arena_printf(a, "docker run -d --name %s … %s", c->name,
                                seen->of.image_after));
        TW_PUSH(a, &impact->apply.undo,
                tw_arena_printf(a,
                                "docker rm -f %s && docker rename %s-before %s && docker "
                                "start %s",
                                c->name, c->name, c->name, c->name));
    }
}
