/* Containers and Compose projects, asked of the Docker Engine: GETs only. What is a secret is replaced
 * before anything is kept: by the name of its variable, by shape, and wherever its exact value stands. */
#include "env_internal.h"
#include "tw/docker.h"
#include "tw/redact.h"

#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROJECT_LABEL "com.docker.compose.project"
/* An Engine asked for statistics twice within two seconds answers a second later: what is not read by
 * then stays unknown. */
#define USE_WITHIN_NS (3 * TW_SEC_NS)

struct look {
    struct tw_arena *a;
    struct tw_docker *d;
    struct tw_redact *secrets;
    int asked; /* calls of the Engine */
    int64_t begun_ns;
};

/* ---- declarations ---- */

static int check_declaration(const struct tw_target *t, struct tw_err *err)
{
    if (!t->project == !t->container)
        return tw_fail(err, -EINVAL,
                       "target '%s' needs either --project (of Compose) or --container",
                       t->name);
    if (t->project && strchr(t->name, '/'))
        return tw_fail(
            err, -EINVAL,
            "target '%s': the name of a project has no '/', that stands before its "
            "services",
            t->name);
    if (t->data_dir || t->config || t->file)
        return tw_fail(
            err, -EINVAL,
            "target '%s': a container is found by the Engine; --data-dir, --config and "
            "--file are for services of this host",
            t->name);
    return 0;
}

/* "web" of "shop/web"; NULL: the whole project. */
static const char *service_of(const struct tw_target *t)
{
    const char *slash = t->project ? strchr(t->name, '/') : NULL;

    return slash ? slash + 1 : NULL;
}

static int open_engine(const struct tw_target *t, struct tw_docker **ret,
                       struct tw_err *err)
{
    struct tw_docker_options options = {.host = t->dsn};

    return tw_docker_open(&options, ret, err);
}

/* ---- which containers ---- */

struct found {
    TW_ARRAY(struct tw_docker_container) list;
};

static int inspect(struct look *k, const char *id, struct found *found,
                   struct tw_err *err)
{
    json_auto_t *json = NULL;
    struct tw_docker_container c;
    int r = tw_docker_container_inspect(k->d, id, &json, err);

    k->asked++;
    if (r == 0)
        r = tw_docker_container_read(k->a, json, &c, err);
    if (r == 0)
        TW_PUSH(k->a, &found->list, c);
    return r;
}

/* By service and number: the same order at every look. */
static int by_place(const void *left, const void *right)
{
    const struct tw_docker_container *a = left, *b = right;
    int r = strcmp(a->service ? a->service : "", b->service ? b->service : "");
    long na = a->number ? strtol(a->number, NULL, 10) : 0;
    long nb = b->number ? strtol(b->number, NULL, 10) : 0;

    if (r)
        return r;
    return na != nb ? (na < nb ? -1 : 1) : strcmp(a->name, b->name);
}

/* A one-off (`compose run`) is no replica. */
static bool is_one_off(const json_t *labels)
{
    const char *text =
        json_string_value(json_object_get(labels, "com.docker.compose.oneoff"));

    return text && strcasecmp(text, "true") == 0;
}

static int no_project(struct look *k, const struct tw_target *t, struct tw_err *err)
{
    json_auto_t *json = NULL;
    struct tw_buf names;
    size_t i;
    json_t *item;
    int r = tw_docker_containers(k->d, true, PROJECT_LABEL, &json, err);

    if (r < 0)
        return r;
    tw_buf_init(&names, 512);
    json_array_foreach (json, i, item) {
        const char *name = json_string_value(
            json_object_get(json_object_get(item, "Labels"), PROJECT_LABEL));
        tw_auto_free char *quoted = tw_strf("'%s'", name ? name : "");

        if (name && !strstr(tw_buf_text(&names), quoted))
            tw_buf_printf(&names, "%s%s", names.len ? ", " : "", quoted);
    }
    r = tw_fail(
        err, -ENOENT,
        "the Engine at '%s' has no containers of a Compose project '%s'; there %s%s",
        tw_docker_host(k->d), t->project, names.len ? "is " : "is none at all",
        tw_buf_text(&names));
    tw_buf_done(&names);
    return r;
}

static int find_project(struct look *k, const struct tw_target *t, struct found *found,
                        struct tw_err *err)
{
    tw_auto_free char *label = tw_strf(PROJECT_LABEL "=%s", t->project);
    json_auto_t *json = NULL;
    size_t i;
    json_t *item;
    int r = tw_docker_containers(k->d, true, label, &json, err);

    k->asked++;
    json_array_foreach (json, i, item) {
        const char *id = json_string_value(json_object_get(item, "Id"));

        if (r < 0 || !id || is_one_off(json_object_get(item, "Labels")))
            continue;
        r = inspect(k, id, found, err);
        if (r == -ENOENT) /* gone between the two */
            r = 0;
    }
    if (r == 0 && !found->list.count)
        r = no_project(k, t, err);
    if (r == 0)
        qsort(found->list.items, found->list.count, sizeof(*found->list.items), by_place);
    return r;
}

static int narrow(const struct tw_target *t, const char *service, struct found *found,
                  struct tw_err *err)
{
    const char *names[64];
    const char *near;
    size_t kept = 0, n = 0;

    for (size_t i = 0; i < found->list.count; i++) {
        const struct tw_docker_container *c = &found->list.items[i];

        if (n < TW_COUNT_OF(names) && c->service)
            names[n++] = c->service;
        if (tw_streq(c->service, service))
            found->list.items[kept++] = *c;
    }
    near = kept ? NULL : tw_nearest(service, names, n);
    found->list.count = kept;
    return kept ? 0
                : tw_fail(err, -ENOENT, "Compose project '%s' has no service '%s'%s%s%s",
                          t->project, service, near ? "; did you mean '" : "",
                          near ? near : "", near ? "'?" : "");
}

static int find(struct look *k, const struct tw_target *t, struct found *found,
                struct tw_err *err)
{
    const char *service = service_of(t);
    int r = t->project ? find_project(k, t, found, err)
                       : inspect(k, t->container, found, err);

    return r == 0 && service ? narrow(t, service, found, err) : r;
}

static int targets(struct tw_arena *a, const struct tw_target *t, struct tw_env_list *ret,
                   struct tw_err *err)
{
    tw_auto(tw_docker) *d = NULL;
    struct look k = {.a = a};
    struct found found = {0};
    const char *last = NULL;
    int r = open_engine(t, &d, err);

    k.d = d;
    if (r == 0)
        r = find(&k, t, &found, err);
    if (r == 0 && !t->project)
        TW_PUSH(a, &ret->targets, *t);
    for (size_t i = 0; i < found.list.count && r == 0 && t->project; i++) {
        const char *service = found.list.items[i].service;
        struct tw_target part = *t;

        if (!service || tw_streq(service, last))
            continue;
        last = service;
        part.name = tw_arena_printf(a, "%s/%s", t->name, service);
        TW_PUSH(a, &ret->targets, part);
    }
    return r;
}

/* ---- secrets ---- */

/* user:PASSWORD@host of a URL. */
static void learn_url(struct tw_redact *secrets, const char *value)
{
    const char *scheme = strstr(value, "://");
    const char *end = scheme ? scheme + 3 + strcspn(scheme + 3, "/ ") : NULL;
    const char *at = end ? memrchr(scheme + 3, '@', (size_t)(end - scheme - 3)) : NULL;
    const char *colon = at ? memchr(scheme + 3, ':', (size_t)(at - scheme - 3)) : NULL;

    if (colon) {
        tw_auto_free char *password = tw_strf("%.*s", (int)(at - colon - 1), colon + 1);

        tw_redact_learn(secrets, password);
    }
}

static void learn(struct tw_redact *secrets, const struct tw_docker_pair *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!pairs[i].value)
            continue;
        if (tw_redact_is_secret_key(pairs[i].name))
            tw_redact_learn(secrets, pairs[i].value);
        learn_url(secrets, pairs[i].value);
    }
}

static const char *hide(const struct look *k, const char *text)
{
    return text ? tw_redact_text(k->secrets, k->a, text) : NULL;
}

static const char *join(const struct look *k, const char *const *words, size_t n)
{
    struct tw_buf b;
    const char *text;

    if (!n)
        return NULL;
    tw_buf_init(&b, 1 << 16);
    for (size_t i = 0; i < n; i++)
        tw_buf_printf(&b, "%s%s", i ? " " : "", words[i]);
    text = hide(k, tw_buf_text(&b));
    tw_buf_done(&b);
    return text;
}

/* ---- what is kept of a container ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tw_named *)a)->name, ((const struct tw_named *)b)->name);
}

static void keep_pairs(const struct look *k, const struct tw_docker_pair *pairs, size_t n,
                       void *to)
{
    __typeof__(((struct tw_container *)0)->environment) *list = to;

    for (size_t i = 0; i < n; i++)
        TW_PUSH(
            k->a, list,
            ((struct tw_named){.name = pairs[i].name,
                               .value = pairs[i].value ? tw_redact_value(k->secrets, k->a,
                                                                         pairs[i].name,
                                                                         pairs[i].value)
                                                       : NULL}));
    if (list->count)
        qsort(list->items, list->count, sizeof(*list->items), by_name);
}

static void keep_places(const struct look *k, const struct tw_docker_container *c,
                        struct tw_container *to)
{
    for (size_t i = 0; i < c->mounts.count; i++) {
        const struct tw_docker_mount *m = &c->mounts.items[i];

        TW_PUSH(k->a, &to->mounts,
                ((struct tw_mount){m->type, m->name, m->source, m->destination,
                                   m->writable}));
    }
    for (size_t i = 0; i < c->networks.count; i++) {
        const struct tw_docker_link *n = &c->networks.items[i];
        struct tw_attachment at = {.network = n->network, .address = n->address};

        for (size_t j = 0; j < n->aliases.count; j++)
            TW_PUSH(k->a, &at.aliases, n->aliases.items[j]);
        TW_PUSH(k->a, &to->networks, at);
    }
    for (size_t i = 0; i < c->ports.count; i++) {
        const struct tw_docker_port *p = &c->ports.items[i];

        TW_PUSH(k->a, &to->ports,
                p->host_port ? tw_arena_printf(k->a, "%s:%d->%d/%s", p->host_address,
                                               p->host_port, p->port, p->protocol)
                             : tw_arena_printf(k->a, "%d/%s", p->port, p->protocol));
    }
}

static const char *restart_words(const struct look *k,
                                 const struct tw_docker_container *c)
{
    if (!c->restart_policy || tw_streq(c->restart_policy, "no"))
        return NULL;
    return c->restart_max > 0
               ? tw_arena_printf(k->a, "%s:%d", c->restart_policy, c->restart_max)
               : c->restart_policy;
}

static const char *check_words(const struct look *k, const struct tw_docker_container *c)
{
    const char *test = join(k, c->health_test.items, c->health_test.count);

    if (!test || tw_streq(test, "NONE"))
        return NULL;
    return isnan(c->health_interval_s)
               ? test
               : tw_arena_printf(k->a, "%s, every %g s", test, c->health_interval_s);
}

/* The digest under which a registry knows the image. */
static const char *digest_of(struct look *k, const char *image_id)
{
    json_auto_t *json = NULL;
    const char *text;

    k->asked++;
    if (tw_docker_image_inspect(k->d, image_id, &json, NULL) < 0)
        return NULL; /* removed while it runs */
    text = json_string_value(json_array_get(json_object_get(json, "RepoDigests"), 0));
    return tw_arena_strdup(k->a, text);
}

static void keep_use(struct look *k, const struct tw_docker_container *c,
                     struct tw_container *to)
{
    json_auto_t *json = NULL;
    struct tw_docker_stats s;

    to->cpu_s = to->throttled_s = to->memory_used_bytes = to->processes = NAN;
    to->received_bytes = to->sent_bytes = to->read_bytes = to->written_bytes = NAN;
    if (!tw_streq(c->status, "running") || tw_now_ns() - k->begun_ns > USE_WITHIN_NS)
        return;
    k->asked++;
    /* One that has just ended has none. */
    if (tw_docker_container_stats(k->d, c->id, &json, NULL) < 0 ||
        tw_docker_stats_read(json, &s, NULL) < 0)
        return;
    to->cpu_s = s.cpu_s;
    to->throttled_s = s.throttled_s;
    to->memory_used_bytes = s.memory_bytes;
    to->processes = s.pids;
    to->received_bytes = s.received_bytes;
    to->sent_bytes = s.sent_bytes;
    to->read_bytes = s.read_bytes;
    to->written_bytes = s.written_bytes;
}

static void keep(struct look *k, const struct tw_docker_container *c,
                 struct tw_snapshot *s)
{
    struct tw_docker_words dangers = {0};
    struct tw_container to = {
        .name = c->name,
        .service = c->service,
        .image = c->image,
        .image_id = c->image_id,
        .digest = digest_of(k, c->image_id),
        .command = join(k, c->argv.items, c->argv.count),
        .user = c->user,
        .cwd = c->cwd,
        .restart = restart_words(k, c),
        .stop_signal = c->stop_signal,
        .health_check = check_words(k, c),
        .network_mode = c->network_mode,
        .stop_grace_s = c->stop_grace_s,
        .cpus = isfinite(c->cpus) ? c->cpus : NAN,
        .memory_bytes = c->memory_bytes,
        .pids = c->pids > 0 ? c->pids : 0,
        .shm_bytes = c->shm_bytes,
        .read_only = c->read_only,
        .id = c->id,
        .status = c->status,
        .health = c->health,
        .started_at = c->started_at,
        .restarts = c->restarts,
        .exit_status = c->exit_status,
        .oom_killed = c->oom_killed,
    };

    keep_pairs(k, c->env.items, c->env.count, &to.environment);
    keep_pairs(k, c->labels.items, c->labels.count, &to.labels);
    keep_places(k, c, &to);
    keep_use(k, c, &to);
    tw_docker_container_dangers(k->a, c, &dangers);
    for (size_t i = 0; i < dangers.list.count; i++)
        TW_PUSH(k->a, &to.not_cloned, dangers.list.items[i]);
    TW_PUSH(k->a, &s->containers, to);
}

/* Where it is reached on its networks. */
static void keep_endpoints(struct tw_arena *a, const struct tw_docker_container *c,
                           struct tw_snapshot *s)
{
    for (size_t i = 0; i < c->ports.count; i++)
        for (size_t n = 0; n < c->networks.count; n++)
            if (c->networks.items[n].address)
                TW_PUSH(a, &s->endpoints,
                        ((struct tw_endpoint){.protocol = c->ports.items[i].protocol,
                                              .address = c->networks.items[n].address,
                                              .port = c->ports.items[i].port,
                                              .name = c->name}));
}

/* What all of them share stands in the snapshot itself; a limit is that of one instance. */
static void summarize(struct look *k, const struct found *found, bool alone,
                      struct tw_snapshot *s)
{
    const struct tw_docker_container *first = &found->list.items[0];
    size_t running = 0;

    for (size_t i = 0; i < found->list.count; i++)
        running += tw_streq(found->list.items[i].status, "running");
    s->how = running == found->list.count ? "running"
             : running                    ? "running in part"
                                          : "stopped";
    if (!alone)
        return;
    s->version = tw_arena_printf(k->a, "%s (%.19s)", first->image, first->image_id);
    s->memory_bytes = first->memory_bytes;
    s->cpus = isfinite(first->cpus) ? first->cpus : 0;
    s->stop_timeout_s = first->stop_grace_s;
}

/* The limits of the Engine's host where a container has none of its own. */
static void fill_from_host(struct look *k, struct tw_snapshot *s)
{
    json_auto_t *json = NULL;

    if (s->memory_bytes && s->cpus > 0)
        return;
    k->asked++;
    if (tw_docker_info(k->d, &json, NULL) < 0)
        return;
    if (!s->memory_bytes)
        s->memory_bytes = json_integer_value(json_object_get(json, "MemTotal"));
    if (!(s->cpus > 0))
        s->cpus = json_number_value(json_object_get(json, "NCPU"));
}

static int snapshot(struct tw_arena *a, const struct tw_target *t,
                    struct tw_snapshot *ret, struct tw_err *err)
{
    tw_auto(tw_docker) *d = NULL;
    tw_auto(tw_redact) *secrets = tw_redact_new();
    struct look k = {.a = a, .secrets = secrets, .asked = 1, .begun_ns = tw_now_ns()};
    struct found found = {0};
    int r = open_engine(t, &d, err);

    k.d = d;
    if (r == 0)
        r = find(&k, t, &found, err);
    if (r < 0)
        return r;
    /* What one knows is a secret may stand in the command of another. */
    for (size_t i = 0; i < found.list.count; i++) {
        learn(secrets, found.list.items[i].env.items, found.list.items[i].env.count);
        learn(secrets, found.list.items[i].labels.items,
              found.list.items[i].labels.count);
    }
    for (size_t i = 0; i < found.list.count; i++) {
        keep(&k, &found.list.items[i], ret);
        keep_endpoints(a, &found.list.items[i], ret);
    }
    summarize(&k, &found, service_of(t) || t->container, ret);
    fill_from_host(&k, ret);
    ret->cost.statements = k.asked;
    ret->cost.seconds = tw_seconds(tw_now_ns() - k.begun_ns);
    return 0;
}

/* ---- the way in ---- */

static void enter_postgresql(struct look *k, const struct tw_docker_container *c,
                             struct tw_env_way *way);
static void enter_redis(struct look *k, const struct tw_docker_container *c,
                        struct tw_env_way *way);
static void enter_pgbouncer(struct look *k, const struct tw_docker_container *c,
                            struct tw_env_way *way);
static void enter_any(struct look *k, const struct tw_docker_container *c,
                      struct tw_env_way *way);

/* What a program is to us, and how its kind is led to it (NULL: it finds the only one there). All others
 * are of a kind that only listens. */
static const struct service_row {
    const char *program, *kind;
    bool by_files;       /* looked at from inside */
    bool begun_by_words; /* what it shows as its command line is not what it was begun with */
    void (*lead)(struct look *k, const struct tw_docker_container *c, struct tw_env_way *way);
} services[] = {
    {"postgres", "postgresql", false, false, enter_postgresql},
    {"nginx", "nginx", true, false, NULL},
    {"haproxy", "haproxy", true, false, NULL},
    {"redis-server", "redis", true, true, enter_redis},
    /* what the link redis-server leads to in Debian's packages */
    {"redis-check-rdb", "redis", true, true, enter_redis},
    {"pgbouncer", "pgbouncer", true, false, enter_pgbouncer},
};
static const struct service_row any_service = {NULL, "generic", true, true, enter_any};

static const char *variable(const struct tw_docker_container *c, const char *name)
{
    for (size_t i = 0; name && i < c->env.count; i++)
        if (tw_streq(c->env.items[i].name, name))
            return c->env.items[i].value;
    return NULL;
}

static const char *program_of(struct tw_arena *a, int pid)
{
    tw_auto_free char *link = tw_strf("/proc/%d/exe", pid);
    char path[4096];
    ssize_t n = readlink(link, path, sizeof path - 1);

    return n > 0 ? tw_arena_strndup(a, path, (size_t)n) : NULL;
}

static const char *name_of(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;

    return slash ? slash + 1 : path;
}

#define FAMILY_MAX 64

/* The first of a process and its children whose program we know: what stands before it only began it. */
static int find_service(struct tw_arena *a, int first, const struct service_row **ret_row)
{
    int queue[FAMILY_MAX] = {first};
    size_t n = 1;

    for (size_t i = 0; i < n; i++) {
        tw_auto_free char *path =
            tw_strf("/proc/%d/task/%d/children", queue[i], queue[i]);
        tw_auto_free char *text = NULL;
        const char *name = name_of(program_of(a, queue[i]));
        char *save;

        for (size_t k = 0; k < TW_COUNT_OF(services); k++) {
            if (tw_streq(name, services[k].program)) {
                *ret_row = &services[k];
                return queue[i];
            }
        }
        if (tw_read_file(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0)
            continue;
        for (char *word = strtok_r(text, " \n", &save); word && n < FAMILY_MAX;
             word = strtok_r(NULL, " \n", &save))
            queue[n++] = atoi(word);
    }
    *ret_row = &any_service;
    return first;
}

/* "'it''s'" of a connection string. */
static const char *quoted(struct tw_arena *a, const char *value)
{
    struct tw_buf b;
    const char *text;

    tw_buf_init(&b, 4096);
    for (; *value; value++)
        tw_buf_printf(&b, "%s%c", *value == '\'' || *value == '\\' ? "\\" : "", *value);
    text = tw_arena_printf(a, "'%s'", tw_buf_text(&b));
    tw_buf_done(&b);
    return text;
}

/* From inside, over its own loopback; by variables of the usual images. */
static void enter_postgresql(struct look *k, const struct tw_docker_container *c,
                             struct tw_env_way *way)
{
    const char *user = variable(c, "POSTGRES_USER");
    const char *password = variable(c, "POSTGRES_PASSWORD");
    const char *database = variable(c, "POSTGRES_DB");
    const char *text = tw_arena_printf(k->a, "host=127.0.0.1 port=5432 user=%s",
                                       quoted(k->a, user ? user : "postgres"));

    if (password)
        text = tw_arena_printf(k->a, "%s password=%s", text, quoted(k->a, password));
    if (database || user)
        text = tw_arena_printf(k->a, "%s dbname=%s", text,
                               quoted(k->a, database ? database : user));
    way->target.dsn = text;
}

/* Its words, as it was begun or as it shows them now. */
struct words {
    TW_ARRAY(const char *) list;
};

static void words_of_process(struct tw_arena *a, int pid, struct words *ret)
{
    tw_auto_free char *path = tw_strf("/proc/%d/cmdline", pid);
    tw_auto_free char *text = NULL;
    size_t len = 0;

    *ret = (struct words){0};
    if (tw_read_file(AT_FDCWD, path, 1 << 20, &text, &len, NULL) < 0)
        return;
    for (size_t at = 0; at < len; at += strlen(text + at) + 1)
        TW_PUSH(a, &ret->list, tw_arena_strdup(a, text + at));
}

static const char *whole_path(struct tw_arena *a, const char *cwd, const char *path)
{
    return *path == '/' ? path : tw_arena_printf(a, "%s/%s", cwd ? cwd : "", path);
}

/* pgbouncer [-options] FILE */
static void enter_pgbouncer(struct look *k, const struct tw_docker_container *c,
                            struct tw_env_way *way)
{
    tw_auto_free char *link = tw_strf("/proc/%d/cwd", way->pid);
    char cwd[4096];
    ssize_t n = readlink(link, cwd, sizeof cwd - 1);
    struct words words;

    (void)c;
    words_of_process(k->a, way->pid, &words);
    cwd[n > 0 ? n : 0] = '\0';
    for (size_t i = words.list.count; i-- > 1 && !way->target.config;)
        if (words.list.items[i][0] != '-')
            way->target.config = whole_path(k->a, cwd, words.list.items[i]);
    if (!way->target.config)
        way->target.config = "/etc/pgbouncer/pgbouncer.ini";
}

static const char *escaped(struct tw_arena *a, const char *text)
{
    const char *out = "";

    for (; *text; text++)
        out = tw_arena_printf(a, isalnum((unsigned char)*text) ? "%s%c" : "%s%%%02X", out,
                              (unsigned char)*text);
    return out;
}

/* "redis-server 127.0.0.1:6379": it shows where it listens. redis-server [FILE] [--options] began it. */
static void enter_redis(struct look *k, const struct tw_docker_container *c,
                        struct tw_env_way *way)
{
    struct words shown;
    const char *title, *colon, *password = NULL;
    size_t at = 0;

    words_of_process(k->a, way->pid, &shown);
    title = shown.list.count ? shown.list.items[0] : "";
    colon = strrchr(title, ':');
    while (at < c->argv.count && !tw_streq(name_of(c->argv.items[at]), "redis-server"))
        at++;
    if (at + 1 < c->argv.count && c->argv.items[at + 1][0] != '-')
        way->target.config = whole_path(k->a, c->cwd, c->argv.items[at + 1]);
    for (size_t i = at; i + 1 < c->argv.count; i++)
        if (tw_streq(c->argv.items[i], "--requirepass"))
            password = c->argv.items[i + 1];
    way->target.dsn =
        tw_arena_printf(k->a, "redis://%s%s%s127.0.0.1:%d", password ? ":" : "",
                        password ? escaped(k->a, password) : "", password ? "@" : "",
                        colon && atoi(colon + 1) > 0 ? atoi(colon + 1) : 6379);
}

/* Where it serves: what others are told to come to first. */
static const char *place_of(struct tw_arena *a, const struct tw_docker_container *c)
{
    static const int web[] = {80, 8080, 8000, 3000, 5000, 8888};

    for (size_t i = 0; i < c->ports.count; i++) {
        const struct tw_docker_port *p = &c->ports.items[i];
        bool http = false;

        for (size_t k = 0; k < TW_COUNT_OF(web); k++)
            http = http || p->port == web[k];
        if (tw_streq(p->protocol, "tcp"))
            return tw_arena_printf(a, "%s127.0.0.1:%d%s", http ? "http://" : "", p->port,
                                   http ? "/" : "");
    }
    return NULL;
}

/* What it keeps beside its image: the first of its mounts that it may write to. */
static const char *data_of(const struct tw_docker_container *c)
{
    for (size_t i = 0; i < c->mounts.count; i++)
        if (c->mounts.items[i].writable && !tw_streq(c->mounts.items[i].type, "tmpfs"))
            return c->mounts.items[i].destination;
    return NULL;
}

static void enter_any(struct look *k, const struct tw_docker_container *c,
                      struct tw_env_way *way)
{
    way->target.data_dir = data_of(c);
    way->target.dsn = place_of(k->a, c);
}

static void own_by(struct tw_env_way *way)
{
    tw_auto_free char *path = tw_strf("/proc/%d", way->pid);
    struct stat st;

    if (stat(path, &st) == 0) {
        way->uid = st.st_uid;
        way->gid = st.st_gid;
    }
}

static int enter(struct look *k, const struct tw_target *t,
                 const struct tw_docker_container *c, struct tw_env_way *ret,
                 struct tw_err *err)
{
    struct tw_env_way way = {.target = *t,
                             .container = c,
                             .engine = tw_arena_strdup(k->a, tw_docker_host(k->d))};
    const struct service_row *row;

    if (!tw_streq(c->status, "running") || c->pid <= 1)
        return tw_fail(
            err, -ENOENT,
            "container '%s' of target '%s' does not run (it is '%s'): start it", c->name,
            t->name, c->status);
    way.pid = find_service(k->a, c->pid, &row);
    way.program = program_of(k->a, way.pid);
    way.by_files = row->by_files;
    way.begun_by_words = row->begun_by_words;
    way.target.type = row->kind;
    way.target.dsn = NULL; /* was the Engine's */
    if (row->lead)
        row->lead(k, c, &way);
    if (row == &any_service && !way.target.dsn)
        return tw_fail(err, -EOPNOTSUPP,
                       "container '%s' of target '%s' says of no TCP port that it serves there "
                       "(EXPOSE): what it does under load cannot be seen",
                       c->name, t->name);
    way.target.project = way.target.container = NULL;
    /* its process is on this host, so what is not limited is this host's */
    way.target.memory_bytes =
        c->memory_bytes ? c->memory_bytes
                        : (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    way.target.cpus = isfinite(c->cpus) ? c->cpus : (double)sysconf(_SC_NPROCESSORS_ONLN);
    own_by(&way);
    *ret = way;
    return 0;
}

int tw_env_enter(struct tw_arena *a, const struct tw_target *target,
                 struct tw_env_way *ret, struct tw_err *err)
{
    tw_auto(tw_docker) *d = NULL;
    struct look k = {.a = a};
    struct found found = {0};
    struct tw_docker_container *c;
    int r;

    if (target->project && !service_of(target))
        return tw_fail(
            err, -EINVAL,
            "target '%s' is a whole Compose project: name one of its services, '%s/…'",
            target->name, target->name);
    r = open_engine(target, &d, err);
    k.d = d;
    if (r == 0)
        r = find(&k, target, &found, err);
    if (r < 0)
        return r;
    c = tw_arena_alloc(a, sizeof *c);
    *c = found.list.items[0];
    return enter(&k, target, c, ret, err);
}

const struct env_source env_source_docker = {.name = "docker",
                                             .check_declaration = check_declaration,
                                             .targets = targets,
                                             .snapshot = snapshot};
