/* A deployment: where its instances stand: clones of volumes, addresses, names. */
#include "run_deployment.h"

#include "tw/io.h"

#include <ctype.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define VOLUME_BYTES  ((int64_t)2 << 30)
#define VOLUME_AGE_NS (24 * 3600 * TW_SEC_NS)

const char *deployment_address(struct tw_arena *a, int last)
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
        tw_instance_wait(i, tw_now_ns() + (int64_t)(DEPLOYMENT_START_S * 1e9)))
        tw_instance_stop(i, DEPLOYMENT_START_S, &stopped);
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
int deployment_add_volumes(struct deployment *d, const struct tw_docker_container *of,
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

int deployment_signal(const char *text)
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

void deployment_fill_spec(struct deployment *d, const struct tw_docker_container *c,
                          const struct tw_sandbox_container *made, const char *name,
                          int network, const char *at, struct tw_instance_spec *ret)
{
    struct tw_sandbox_link link = {.network = network, .address = at};

    *ret = (struct tw_instance_spec){.boot = true,
                                     .address = at,
                                     .port = port_of(d, c),
                                     .cwd = c->cwd && *c->cwd ? c->cwd : NULL,
                                     .stop_signal = deployment_signal(c->stop_signal)};
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
