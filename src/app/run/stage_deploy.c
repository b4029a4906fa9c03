/* Stage: a deployment. The container as it runs today twice, and as it would run, side by side with what is
 * behind them; then the way back. */
#include "run_internal.h"

#include "tw/deploy.h"
#include "tw/docker.h"
#include "tw/io.h"

#include <ctype.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_S       20.0
#define STOP_S        1.5
#define ASK_LEAST_S   1.0
#define ASK_MOST_S    2.5
#define GRACE_S       10.0
#define NEIGHBOURS    6
#define NETWORKS      2
#define VOLUME_BYTES  ((int64_t)2 << 30)
#define VOLUME_AGE_NS (24 * 3600 * TW_SEC_NS)
#define ADDRESS_FIRST 2  /* of the target; .3 for the second of its network */
#define ADDRESS_NEXT  20 /* of who is beside it */

/* What is behind it, one instance in each network. */
struct neighbour {
    struct tw_docker_container of;
    const char *address;
    struct tw_instance_spec spec[NETWORKS];
    struct tw_instance *instance[NETWORKS];
};
struct deployment {
    struct run *r;
    struct tw_arena *a;
    struct tw_docker *engine;
    struct tw_docker_container like, changed; /* today's; with the changes in it */
    struct tw_sandbox_container made[TW_SIDE_COUNT + 1], beside[NEIGHBOURS];
    struct neighbour neighbours[NEIGHBOURS];
    size_t neighbour_count;
    json_t *image; /* of the new version, as the Engine describes it */
    const char *image_name, *dir;
    int64_t dir_token;
    bool copied, emptied;
    TW_ARRAY(struct tw_clone *) clones; /* of volumes, owned */
    struct tw_smokes smoke;
    struct tw_deployed seen;
};

bool run_is_deployment(const struct run *r)
{
    return tw_streq(r->sims[0]->request.type, "deployment");
}

static const char *change_of(const struct deployment *d, const char *name)
{
    const struct tw_plan *plan = &d->r->v.sim->plan;

    for (size_t i = 0; i < plan->steps.count; i++)
        if (plan->steps.items[i].kind == TW_STEP_VERSION &&
            tw_streq(plan->steps.items[i].name, name))
            return plan->steps.items[i].value;
    return NULL;
}

/* ---- today's container, and the image that is to come ---- */

static int inspect(struct deployment *d, const char *id, struct tw_docker_container *to,
                   struct tw_err *err)
{
    json_auto_t *json = NULL;
    int rc = tw_docker_container_inspect(d->engine, id, &json, err);

    return rc < 0 ? rc : tw_docker_container_read(d->a, json, to, err);
}

/* "registry:5000/web:1@sha256:…" and "2" give "registry:5000/web:2". */
static const char *with_tag(struct tw_arena *a, const char *image, const char *tag)
{
    char *base = tw_arena_strndup(a, image, strcspn(image, "@"));
    char *slash = strrchr(base, '/'), *colon = strrchr(slash ? slash : base, ':');

    if (colon)
        *colon = '\0';
    return tw_arena_printf(a, "%s:%s", base, tag);
}

static int find_image(struct deployment *d, struct tw_err *err)
{
    const char *image = change_of(d, "image"), *tag = change_of(d, "tag");
    int rc;

    d->image_name = tag ? with_tag(d->a, d->like.image, tag)
                        : tw_arena_strdup(d->a, image ? image : d->like.image_id);
    rc = tw_docker_image_inspect(d->engine, d->image_name, &d->image, err);
    if (rc == -ENOENT)
        return tw_fail_at(
            err, rc, "/change/image",
            "the Engine at '%s' has no image '%s'; nothing is pulled: docker "
            "pull %s",
            tw_docker_host(d->engine), d->image_name, d->image_name);
    if (!image && !tag)
        d->image_name = d->like.image;
    return rc;
}

static const json_t *image_config(const struct deployment *d)
{
    return json_object_get(d->image, "Config");
}

/* ---- the changes ---- */

static void set_variable(struct deployment *d, const char *name, const char *value)
{
    struct tw_docker_container *c = &d->changed;
    size_t kept = 0;

    for (size_t i = 0; i < c->env.count; i++)
        if (!tw_streq(c->env.items[i].name, name))
            c->env.items[kept++] = c->env.items[i];
    c->env.count = kept;
    if (value)
        TW_PUSH(d->a, &d->made[TW_SIDE_NEW].env,
                tw_arena_printf(d->a, "%s=%s", name, value));
}

/* A JSON array of words, or one text for the shell's kind of splitting at blanks. */
static void add_words(struct deployment *d, const char *text, void *to)
{
    __typeof__(d->made[0].argv) *argv = to;
    json_auto_t *json = *text == '[' ? json_loads(text, 0, NULL) : NULL;
    size_t i;
    json_t *word;

    json_array_foreach (json, i, word)
        if (json_is_string(word))
            TW_PUSH(d->a, argv, tw_arena_strdup(d->a, json_string_value(word)));
    while (!json && *(text += strspn(text, " \t"))) {
        size_t n = strcspn(text, " \t");

        TW_PUSH(d->a, argv, tw_arena_strndup(d->a, text, n));
        text += n;
    }
}

static void change_words(struct deployment *d)
{
    const char *command = change_of(d, "command"),
               *entrypoint = change_of(d, "entrypoint");
    const json_t *own = json_object_get(image_config(d), "Entrypoint");
    struct tw_sandbox_container *to = &d->made[TW_SIDE_NEW];
    size_t i;
    json_t *word;

    if (!command && !entrypoint)
        return;
    if (entrypoint)
        add_words(d, entrypoint, &to->argv);
    else
        json_array_foreach (own, i, word)
            TW_PUSH(d->a, &to->argv, tw_arena_strdup(d->a, json_string_value(word)));
    if (command)
        add_words(d, command, &to->argv);
}

static void apply_changes(struct deployment *d)
{
    const struct tw_plan *plan = &d->r->v.sim->plan;
    struct tw_docker_pair *env =
        tw_arena_alloc(d->a, (d->like.env.count + 1) * sizeof(*env));

    d->changed = d->like;
    for (size_t i = 0; i < d->like.env.count; i++)
        env[i] = d->like.env.items[i];
    d->changed.env.items = env;
    d->made[TW_SIDE_NEW].like = &d->changed;
    if (change_of(d, "image") || change_of(d, "tag"))
        d->made[TW_SIDE_NEW].image = d->image_name;
    for (size_t i = 0; i < plan->steps.count; i++) {
        const struct tw_plan_step *s = &plan->steps.items[i];

        if (s->kind == TW_STEP_VERSION && tw_starts_with(s->name, "env."))
            set_variable(d, s->name + strlen("env."), s->value);
    }
    change_words(d);
    if (change_of(d, "user"))
        d->changed.user = change_of(d, "user");
    if (change_of(d, "cwd"))
        d->changed.cwd = change_of(d, "cwd");
}

/* ---- places: data, addresses, names ---- */

static const char *address(struct tw_arena *a, int last)
{
    return tw_arena_printf(a, "10.213.0.%d", last);
}

/* A directory of its own, empty, as the volume's is owned. */
static int empty_volume(struct deployment *d, const char *source, const char *to,
                        struct tw_err *err)
{
    struct stat st;
    int rc;

    if (stat(source, &st) < 0 || !S_ISDIR(st.st_mode))
        return 0;
    d->emptied = true;
    rc = tw_make_dirs(to, 0700, err);
    if (rc == 0 &&
        (chown(to, st.st_uid, st.st_gid) < 0 || chmod(to, st.st_mode & 07777) < 0))
        rc = tw_fail_errno(err, errno, "'%s'", to);
    return rc;
}

static const char *const *
sources_of(struct deployment *d, const struct tw_docker_container *of, size_t *ret_count)
{
    TW_ARRAY(const char *) list = {0};

    for (size_t i = 0; i < of->mounts.count; i++)
        if (of->mounts.items[i].source && !tw_streq(of->mounts.items[i].type, "tmpfs"))
            TW_PUSH(d->a, &list, of->mounts.items[i].source);
    *ret_count = list.count;
    return list.items;
}

/* It is started on them once and stopped as its engine would, so that no clone has to recover. One that
 * does not start alone is left as it was found. */
static void settle(struct deployment *d, const struct tw_seed *seed,
                   const struct tw_docker_container *of,
                   const struct tw_instance_spec *like)
{
    struct tw_instance_spec spec = *like;
    struct tw_instance *i = NULL;
    struct tw_stopped stopped;
    size_t at = 0;

    spec.box.name = "seed";
    memset(&spec.box.mounts, 0, sizeof(spec.box.mounts));
    for (size_t k = 0; k < of->mounts.count; k++) {
        const struct tw_docker_mount *m = &of->mounts.items[k];

        if (m->source && !tw_streq(m->type, "tmpfs"))
            TW_PUSH(d->a, &spec.box.mounts,
                    (struct tw_sandbox_mount){
                        tw_arena_printf(d->a, "%s/%zu", tw_seed_root(seed), at++),
                        m->destination, m->writable});
    }
    if (tw_instance_open(d->r->priv, &spec, &i, NULL) < 0)
        return;
    if (tw_instance_start(i, NULL) == 0 &&
        tw_instance_wait(i, tw_now_ns() + (int64_t)(START_S * 1e9)))
        tw_instance_stop(i, START_S, &stopped);
    tw_instance_close(i);
}

/* What the volumes of a container held, once for all clones of it and for runs to come. */
static int take_volumes(struct deployment *d, const struct tw_docker_container *of,
                        const char *key, const struct tw_instance_spec *rests,
                        struct tw_seed **ret, struct tw_err *err)
{
    size_t n;
    const char *const *sources = sources_of(d, of, &n);
    int64_t bytes = 0;
    int rc = tw_pool_seed_begin(d->r->pool, key, VOLUME_BYTES, ret, err);

    for (size_t i = 0; i < n && rc == 0; i++) {
        const char *to = tw_arena_printf(d->a, "%s/%zu", tw_seed_root(*ret), i);
        struct stat st;

        if (stat(sources[i], &st) < 0 || !S_ISDIR(st.st_mode))
            continue;
        rc = tw_copy_tree(sources[i], to, (unsigned)-1, (unsigned)-1, NULL, NULL, &bytes,
                          err);
    }
    if (rc == 0 && rests)
        settle(d, *ret, of, rests);
    return rc < 0 ? tw_wrap(err, rc, "the volumes of '%s'", of->name)
                  : tw_pool_seed_commit(*ret, "{}", err);
}

static int clone_volumes(struct deployment *d, const struct tw_docker_container *of,
                         const char *place, const struct tw_instance_spec *rests,
                         const char **ret_root, struct tw_err *err)
{
    const char *name = tw_arena_printf(d->a, "%s %s", tw_docker_host(d->engine), of->id);
    char digest[65];
    const char *key;
    tw_auto(tw_seed) *seed = NULL;
    struct tw_clone *clone = NULL;
    int rc;

    tw_sha256_hex(name, strlen(name), digest);
    key = tw_arena_printf(d->a, "volumes-%.24s", digest);
    rc = d->r->pool ? 0 : tw_pool_open(d->r->priv, &d->r->pool, err);
    if (rc == 0)
        rc = tw_pool_seed_find(d->r->pool, key, &seed, err);
    if (rc == 0 && (d->r->v.sim->request.refresh_data ||
                    tw_wall_ns() - tw_seed_taken_wall_ns(seed) > VOLUME_AGE_NS)) {
        tw_seed_free(seed);
        seed = NULL;
        rc = -ENOENT;
    }
    if (rc == -ENOENT)
        rc = take_volumes(d, of, key, rests, &seed, err);
    if (rc == 0)
        rc = tw_pool_clone(d->r->pool, seed, place, &clone, err);
    if (rc < 0)
        return rc;
    d->copied = true;
    TW_PUSH(d->a, &d->clones, clone);
    *ret_root = tw_clone_root(clone);
    return 0;
}

/* rests: how it is brought to rest first; NULL: it is not. */
static int add_volumes(struct deployment *d, const struct tw_docker_container *of,
                       const char *place, const struct tw_instance_spec *rests,
                       struct tw_instance_spec *to, struct tw_err *err)
{
    bool may = d->r->target.data == TW_DATA_CLONE;
    const char *root = tw_arena_printf(d->a, "%s/%s", d->dir, place);
    size_t n, at = 0;
    int rc = 0;

    (void)sources_of(d, of, &n);
    if (n && may)
        rc = clone_volumes(d, of, place, rests, &root, err);
    for (size_t i = 0; i < of->mounts.count && rc == 0; i++) {
        const struct tw_docker_mount *m = &of->mounts.items[i];
        const char *from;

        if (!m->source || tw_streq(m->type, "tmpfs"))
            continue;
        from = tw_arena_printf(d->a, "%s/%zu", root, at++);
        if (!may)
            rc = empty_volume(d, m->source, from, err);
        if (rc == 0 && access(from, F_OK) == 0)
            TW_PUSH(d->a, &to->box.mounts,
                    (struct tw_sandbox_mount){from, m->destination, m->writable});
    }
    return rc;
}

/* Of an image: {"8080/tcp": {}}. */
static int exposed_port(const json_t *image)
{
    const char *key;
    json_t *value;

    json_object_foreach (
        json_object_get(json_object_get(image, "Config"), "ExposedPorts"), key, value)
        if (tw_ends_with(key, "/tcp"))
            return atoi(key);
    return 0;
}

/* An internal network publishes no port: then the image tells which are meant. */
static int port_of(struct deployment *d, const struct tw_docker_container *c)
{
    json_auto_t *image = NULL;

    for (size_t i = 0; i < c->ports.count; i++)
        if (tw_streq(c->ports.items[i].protocol, "tcp"))
            return c->ports.items[i].port;
    (void)tw_docker_image_inspect(d->engine, c->image_id, &image, NULL);
    return exposed_port(image);
}

static int signal_of(const char *text)
{
    const char *name = text && strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;

    if (!name)
        return 0;
    if (isdigit((unsigned char)*name))
        return atoi(name);
    for (int i = 1; i < NSIG; i++)
        if (sigabbrev_np(i) && strcasecmp(sigabbrev_np(i), name) == 0)
            return i;
    return 0;
}

static void add_names(struct deployment *d, const struct tw_docker_container *c,
                      const char *at, struct tw_instance_spec *to)
{
    const char *own[] = {c->service, c->name};

    for (size_t n = 0; n < c->networks.count; n++)
        for (size_t i = 0; i < c->networks.items[n].aliases.count; i++)
            TW_PUSH(d->a, &to->box.hosts,
                    (struct tw_sandbox_host){c->networks.items[n].aliases.items[i], at});
    for (size_t i = 0; i < TW_COUNT_OF(own); i++)
        if (own[i])
            TW_PUSH(d->a, &to->box.hosts, (struct tw_sandbox_host){own[i], at});
}

static void fill_spec(struct deployment *d, const struct tw_docker_container *c,
                      const struct tw_sandbox_container *made, const char *name,
                      int network, const char *at, struct tw_instance_spec *ret)
{
    struct tw_sandbox_link link = {.network = network, .address = at};

    *ret = (struct tw_instance_spec){.boot = true,
                                     .address = at,
                                     .port = port_of(d, c),
                                     .cwd = c->cwd && *c->cwd ? c->cwd : NULL,
                                     .stop_signal = signal_of(c->stop_signal)};
    ret->box = (struct tw_sandbox_spec){.backend = "docker",
                                        .container = made,
                                        .id = d->r->id,
                                        .name = name,
                                        .uid = 65534,
                                        .gid = 65534,
                                        .user_name = "twin",
                                        .hostname = c->hostname,
                                        .memory_bytes = c->memory_bytes,
                                        .cpus = isfinite(c->cpus) ? c->cpus : 0,
                                        .pids_max = c->pids > 0 ? (int)c->pids : 0,
                                        .seccomp = true};
    TW_PUSH(d->a, &ret->box.links, link);
    for (size_t i = 0; i < c->health_test.count; i++)
        TW_PUSH(d->a, &ret->health, c->health_test.items[i]);
    for (size_t i = 0; i < made->env.count; i++)
        TW_PUSH(d->a, &ret->env, made->env.items[i]);
    for (size_t i = 0; i < c->env.count; i++)
        TW_PUSH(d->a, &ret->env,
                tw_arena_printf(d->a, "%s=%s", c->env.items[i].name,
                                c->env.items[i].value ? c->env.items[i].value : ""));
    for (size_t i = 0; i < d->neighbour_count; i++)
        add_names(d, &d->neighbours[i].of, d->neighbours[i].address, ret);
    for (size_t i = 0; i < ret->box.hosts.count; i++)
        TW_PUSH(d->a, &ret->hosts,
                (struct tw_http_field){ret->box.hosts.items[i].name,
                                       ret->box.hosts.items[i].address});
}

/* ---- who is behind it ---- */

/* The name as a word of its own: "db" of "host=db", not of "dbname". */
static bool speaks_of(const char *text, const char *name)
{
    size_t len = name ? strlen(name) : 0;

    for (const char *at = text; len && at && (at = strstr(at, name)); at++)
        if ((at == text || !isalnum((unsigned char)at[-1])) &&
            !isalnum((unsigned char)at[len]) && at[len] != '_')
            return true;
    return false;
}

static bool is_named(const struct tw_docker_container *c, const char *name)
{
    for (size_t i = 0; i < c->env.count; i++)
        if (speaks_of(c->env.items[i].value, name))
            return true;
    for (size_t i = 0; i < c->argv.count; i++)
        if (speaks_of(c->argv.items[i], name))
            return true;
    return false;
}

static bool is_needed(const struct tw_docker_container *by,
                      const struct tw_docker_container *c)
{
    if (is_named(by, c->service) || is_named(by, c->name))
        return true;
    for (size_t n = 0; n < c->networks.count; n++) {
        if (is_named(by, c->networks.items[n].address))
            return true;
        for (size_t i = 0; i < c->networks.items[n].aliases.count; i++)
            if (is_named(by, c->networks.items[n].aliases.items[i]))
                return true;
    }
    return false;
}

static bool is_taken(const struct deployment *d, const struct tw_docker_container *c)
{
    for (size_t i = 0; i < d->neighbour_count; i++)
        if (tw_streq(d->neighbours[i].of.id, c->id) ||
            (c->service && tw_streq(d->neighbours[i].of.service, c->service)))
            return true;
    return tw_streq(c->id, d->like.id) ||
           (c->service && tw_streq(c->service, d->like.service));
}

static bool is_needed_by_any(const struct deployment *d,
                             const struct tw_docker_container *c)
{
    bool needed = is_needed(&d->like, c);

    for (size_t i = 0; i < d->neighbour_count; i++)
        needed |= is_needed(&d->neighbours[i].of, c);
    return needed;
}

/* Containers that it names, and those that these name. */
static int find_neighbours(struct deployment *d, struct tw_err *err)
{
    json_auto_t *list = NULL;
    TW_ARRAY(struct tw_docker_container) all = {0};
    size_t i, before = (size_t)-1;
    json_t *item;
    int rc = tw_docker_containers(d->engine, false, NULL, &list, err);

    json_array_foreach (list, i, item) {
        struct tw_docker_container c;

        if (rc == 0 &&
            inspect(d, json_string_value(json_object_get(item, "Id")), &c, NULL) == 0 &&
            !tw_starts_with(c.name, "twin-"))
            TW_PUSH(d->a, &all, c);
    }
    while (rc == 0 && before != d->neighbour_count) {
        before = d->neighbour_count;
        for (i = 0; i < all.count && d->neighbour_count < NEIGHBOURS; i++) {
            struct neighbour *n = &d->neighbours[d->neighbour_count];

            if (is_taken(d, &all.items[i]) || !is_needed_by_any(d, &all.items[i]))
                continue;
            n->of = all.items[i];
            n->address = address(d->a, ADDRESS_NEXT + (int)d->neighbour_count++);
        }
    }
    return rc;
}

struct beginning {
    struct deployment *d;
    struct neighbour *n;
    int network;
    pthread_t thread;
    bool threaded;
    struct tw_err err;
    int result;
};

static void *begin_neighbour(void *arg)
{
    struct beginning *b = arg;
    struct tw_instance **to = &b->n->instance[b->network];
    tw_auto(tw_arena) *a = tw_arena_new(); /* a thread's own */

    b->result = tw_instance_open(b->d->r->priv, &b->n->spec[b->network], to, &b->err);
    if (b->result == 0)
        b->result = tw_instance_start(*to, &b->err);
    if (b->result == 0 && !tw_instance_wait(*to, tw_now_ns() + (int64_t)(START_S * 1e9)))
        b->result = tw_fail(&b->err, -ENOEXEC, "the clone of '%s' does not serve: %s",
                            b->n->of.name, tw_instance_log_ends(*to, a, 300));
    return NULL;
}

static int fill_neighbours(struct deployment *d, struct tw_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < d->neighbour_count && rc == 0; i++) {
        struct neighbour *one = &d->neighbours[i];

        d->beside[i] = (struct tw_sandbox_container){
            .engine = d->r->target.dsn, .like = &one->of, .own_user = true};
        for (int network = 0; network < NETWORKS && rc == 0; network++) {
            const char *name = tw_arena_printf(d->a, "beside%zu-%d", i, network);

            fill_spec(d, &one->of, &d->beside[i], name, network, one->address,
                      &one->spec[network]);
            rc = add_volumes(d, &one->of, name, &one->spec[network], &one->spec[network],
                             err);
        }
    }
    return rc;
}

static int start_neighbours(void *arg, struct tw_err *err)
{
    struct deployment *d = arg;
    struct beginning all[NEIGHBOURS * NETWORKS];
    size_t n = 0;
    int rc = 0;

    for (size_t i = 0; i < d->neighbour_count; i++)
        for (int network = 0; network < NETWORKS; network++)
            all[n++] =
                (struct beginning){.d = d, .n = &d->neighbours[i], .network = network};
    for (size_t i = 0; i < n; i++)
        all[i].threaded =
            pthread_create(&all[i].thread, NULL, begin_neighbour, &all[i]) == 0;
    for (size_t i = 0; i < n; i++)
        if (all[i].threaded)
            (void)pthread_join(all[i].thread, NULL);
        else
            (void)begin_neighbour(&all[i]);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (all[i].result < 0) {
            rc = all[i].result;
            *err = all[i].err;
        }
    return rc < 0 ? tw_wrap(err, rc, "what is behind the target") : 0;
}

static void cut(void *arg, bool away)
{
    struct deployment *d = arg;

    for (size_t i = 0; i < d->neighbour_count; i++)
        for (int network = 0; network < NETWORKS; network++)
            (void)tw_sandbox_freeze(tw_instance_box(d->neighbours[i].instance[network]),
                                    away, NULL);
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
        json_object_get(json_object_get(image_config(d), "Healthcheck"), "Test");
    const char *stop = change_of(d, "stop_signal");
    const char *own = json_string_value(json_object_get(image_config(d), "StopSignal"));
    size_t i;
    json_t *word;

    if (stop || own)
        to->stop_signal = signal_of(stop ? stop : own);
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
    } places[] = {[TW_SIDE_OLD] = {"baseline", 0, ADDRESS_FIRST},
                  [TW_SIDE_AGAIN] = {"again", 0, ADDRESS_FIRST + 1},
                  [TW_SIDE_NEW] = {"candidate", 1, ADDRESS_FIRST},
                  [TW_SIDE_COUNT] = {"back", 1, ADDRESS_FIRST + 1}};
    int rc = 0;

    for (int i = 0; i <= TW_SIDE_COUNT && rc == 0; i++) {
        struct tw_instance_spec *to = i < TW_SIDE_COUNT ? &s->sides[i] : &s->back;

        if (i != TW_SIDE_NEW)
            d->made[i] = (struct tw_sandbox_container){.like = &d->like};
        d->made[i].engine = d->r->target.dsn;
        d->made[i].own_user = true;
        fill_spec(d, i == TW_SIDE_NEW ? &d->changed : &d->like, &d->made[i],
                  places[i].name, places[i].network, address(d->a, places[i].last), to);
        if (i == TW_SIDE_COUNT) /* what the new one left behind */
            memcpy(&to->box.mounts, &s->sides[TW_SIDE_NEW].box.mounts,
                   sizeof(to->box.mounts));
        else
            rc = add_volumes(d, &d->like, places[i].name, NULL, to, err);
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
    s->start_s = START_S;
    s->stop_s = STOP_S;
    s->seconds_least = ASK_LEAST_S;
    s->seconds_most = fmax(ASK_MOST_S, r->v.sim->plan.most_s);
    s->memory_limit_bytes = (double)r->snapshot.memory_bytes;
    s->rate_per_s = isnan(r->v.sim->plan.rate_per_s) ? r->snapshot.rate_per_s
                                                     : r->v.sim->plan.rate_per_s;
    s->grace_s = isnan(d->like.stop_grace_s) ? GRACE_S : d->like.stop_grace_s;
    s->seed = r->v.sim->request.seed;
    s->cut = d->neighbour_count ? cut : NULL;
    s->begin = d->neighbour_count ? start_neighbours : NULL;
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

    rc = rc < 0 ? rc : inspect(d, id, &d->like, err);
    rc = rc < 0 ? rc : find_image(d, err);
    rc = rc < 0 ? rc : read_smoke(d, err);
    rc = rc < 0 ? rc : make_dir(d, err);
    rc = rc < 0 ? rc : find_neighbours(d, err);
    if (rc < 0)
        return rc;
    apply_changes(d);
    begun = tw_now_ns();
    rc = fill_neighbours(d, err);
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
    pthread_t threads[NEIGHBOURS][NETWORKS];
    bool threaded[NEIGHBOURS][NETWORKS];

    for (size_t i = 0; i < d->neighbour_count; i++)
        for (int network = 0; network < NETWORKS; network++)
            threaded[i][network] =
                pthread_create(&threads[i][network], NULL, close_main,
                               d->neighbours[i].instance[network]) == 0;
    for (size_t i = 0; i < d->neighbour_count; i++)
        for (int network = 0; network < NETWORKS; network++)
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
