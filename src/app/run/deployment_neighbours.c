/* A deployment: who is behind it, cloned once for each side. */
#include "run_deployment.h"

#include <ctype.h>
#include <string.h>

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
int deployment_find_neighbours(struct deployment *d, struct tw_err *err)
{
    json_auto_t *list = NULL;
    TW_ARRAY(struct tw_docker_container) all = {0};
    size_t i, before = (size_t)-1;
    json_t *item;
    int rc = tw_docker_containers(d->engine, false, NULL, &list, err);

    json_array_foreach (list, i, item) {
        struct tw_docker_container c;

        if (rc == 0 &&
            deployment_inspect(d, json_string_value(json_object_get(item, "Id")), &c,
                               NULL) == 0 &&
            !tw_starts_with(c.name, "twin-"))
            TW_PUSH(d->a, &all, c);
    }
    while (rc == 0 && before != d->neighbour_count) {
        before = d->neighbour_count;
        for (i = 0; i < all.count && d->neighbour_count < DEPLOYMENT_NEIGHBOURS; i++) {
            struct neighbour *n = &d->neighbours[d->neighbour_count];

            if (is_taken(d, &all.items[i]) || !is_needed_by_any(d, &all.items[i]))
                continue;
            n->of = all.items[i];
            n->address = deployment_address(d->a, DEPLOYMENT_ADDRESS_NEXT +
                                                      (int)d->neighbour_count++);
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
    if (b->result == 0 &&
        !tw_instance_wait(*to, tw_now_ns() + (int64_t)(DEPLOYMENT_START_S * 1e9)))
        b->result = tw_fail(&b->err, -ENOEXEC, "the clone of '%s' does not serve: %s",
                            b->n->of.name, tw_instance_log_ends(*to, a, 300));
    return NULL;
}

int deployment_fill_neighbours(struct deployment *d, struct tw_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < d->neighbour_count && rc == 0; i++) {
        struct neighbour *one = &d->neighbours[i];

        d->beside[i] = (struct tw_sandbox_container){
            .engine = d->r->target.dsn, .like = &one->of, .own_user = true};
        for (int network = 0; network < DEPLOYMENT_NETWORKS && rc == 0; network++) {
            const char *name = tw_arena_printf(d->a, "beside%zu-%d", i, network);

            deployment_fill_spec(d, &one->of, &d->beside[i], name, network, one->address,
                                 &one->spec[network]);
            rc = deployment_add_volumes(d, &one->of, name, &one->spec[network],
                                        &one->spec[network], err);
        }
    }
    return rc;
}

int deployment_start_neighbours(void *arg, struct tw_err *err)
{
    struct deployment *d = arg;
    struct beginning all[DEPLOYMENT_NEIGHBOURS * DEPLOYMENT_NETWORKS];
    size_t n = 0;
    int rc = 0;

    for (size_t i = 0; i < d->neighbour_count; i++)
        for (int network = 0; network < DEPLOYMENT_NETWORKS; network++)
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

void deployment_cut(void *arg, bool away)
{
    struct deployment *d = arg;

    for (size_t i = 0; i < d->neighbour_count; i++)
        for (int network = 0; network < DEPLOYMENT_NETWORKS; network++)
            (void)tw_sandbox_freeze(tw_instance_box(d->neighbours[i].instance[network]),
                                    away, NULL);
}
