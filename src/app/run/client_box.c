/* The clients' sandbox, and how the arms are reached from it. */
#include "run_internal.h"

#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define LEAST_CONNECTIONS 8
#define MOST_CONNECTIONS  64
#define MOST_GIVEN        2000 /* of those that somebody asks for by number */

const char *run_own_program(struct run *r)
{
    char path[PATH_MAX];
    ssize_t n;

    if (r->options->program)
        return r->options->program;
    n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    return n > 0 ? tw_arena_strndup(r->arena, path, (size_t)n) : NULL;
}

void run_client_source(struct run *r, const char *address)
{
    if (!address || tw_starts_with(address, "127.") || tw_streq(address, "::1"))
        return; /* no link: these stand inside the twins */
    for (size_t i = 0; i < r->sources.list.count; i++)
        if (tw_streq(r->sources.list.items[i], address))
            return;
    TW_PUSH(r->arena, &r->sources.list, address);
}

/* Clients connect from where they are at home; their addresses stand on the link of either
 * network. */
static void add_links(struct run *r, struct tw_sandbox_spec *spec)
{
    for (size_t i = 0; i < r->v.sim->plan.clients.count; i++)
        run_client_source(r, r->v.sim->plan.clients.items[i].source);
    for (size_t i = 0; i < r->snapshot.clients.count; i++)
        run_client_source(r, r->snapshot.clients.items[i].source);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        struct tw_sandbox_link link = {.network = arm, .address = RUN_CLIENT_ADDRESS};

        for (size_t i = 0; i < r->sources.list.count; i++)
            TW_PUSH(r->arena, &link.more, r->sources.list.items[i]);
        TW_PUSH(r->arena, &spec->links, link);
    }
}

int run_client_open(struct run *r, struct tw_err *err)
{
    struct tw_sandbox_spec spec = {.id = r->id,
                                   .name = "client",
                                   .uid = r->uid ? r->uid : RUN_NOBODY,
                                   .gid = r->gid ? r->gid : RUN_NOBODY,
                                   .user_name = "twin",
                                   .hostname = "client",
                                   .cpuset = r->generator_cpus,
                                   .cpu_weight = 262144,
                                   .tmp_bytes = 16 << 20,
                                   .shm_bytes = 64 << 20,
                                   .seccomp = true};
    struct tw_sandbox_mount mounts[] = {
        {tw_twin_runtime_dir(run_twin_of(r, TW_BASELINE)), "/tw/baseline", true},
        {tw_twin_runtime_dir(run_twin_of(r, TW_CANDIDATE)), "/tw/candidate", true},
        {run_own_program(r), RUN_CLIENT_PROGRAM, false}};

    if (r->v.client)
        return 0;
    for (size_t i = 0; i < TW_COUNT_OF(mounts); i++)
        TW_PUSH(r->arena, &spec.mounts, mounts[i]);
    if (tw_priv_is_root(r->priv))
        add_links(r, &spec);
    return tw_sandbox_open(r->priv, &spec, &r->v.client, err);
}

/* ---- where the service is ---- */

static bool is_anywhere(const char *address)
{
    return !address || tw_streq(address, "0.0.0.0") || tw_streq(address, "::") ||
           tw_streq(address, "*") || !*address;
}

const struct tw_endpoint *run_endpoint(const struct run *r)
{
    struct run_entry entry = run_entry(r);
    const char *wanted = entry.kind->protocol;

    for (size_t i = 0; i < entry.snapshot->endpoints.count; i++) {
        const struct tw_endpoint *e = &entry.snapshot->endpoints.items[i];

        /* what only its own host reaches is no client's; "https" is an "http" too, and all are "tcp" */
        if (e->port > 0 &&
            (!e->protocol || tw_streq(wanted, "tcp") || tw_starts_with(e->protocol, wanted)) &&
            !tw_starts_with(e->address ? e->address : "", "127."))
            return e;
    }
    return NULL;
}

const char *run_driver(const struct run *r)
{
    const struct tw_endpoint *e = run_endpoint(r);
    const char *own = run_entry(r).kind->driver;

    return tw_streq(own, "tcp") && e && e->protocol && tw_starts_with(e->protocol, "http") ? "http"
                                                                                           : own;
}

/* An endpoint on the link: the twin's own address, or the very one that the service binds to. */
static const char *linked(struct tw_arena *a, enum tw_arm arm,
                          const struct tw_endpoint *e)
{
    bool tls = tw_streq(e->protocol, "https");

    return tw_arena_printf(a, "address=%s port=%d device=eth%d%s%s%s",
                           is_anywhere(e->address) ? RUN_TWIN_ADDRESS : e->address,
                           e->port, (int)arm, tls ? " tls=1" : "",
                           e->name ? (tls ? " server_name=" : " host=") : "",
                           e->name ? e->name : "");
}

/* Our own role again, but over the link that everybody else comes by. */
static const char *over_network(struct run *r, struct tw_arena *a, enum tw_arm arm,
                                const struct tw_endpoint *e)
{
    const char *own = tw_twin_conninfo_at(run_twin_of(r, arm), a, "/tw");

    return tw_arena_printf(a, "host=%s port=%d device=eth%d dbname='%s' user='%s' connect_timeout=10",
                           !e || is_anywhere(e->address) ? RUN_TWIN_ADDRESS : e->address,
                           e ? e->port : r->snapshot.port, (int)arm, r->mix.database,
                           tw_pg_conninfo_value(a, own, "user"));
}

const char *run_conninfo(struct run *r, struct tw_arena *a, enum tw_arm arm)
{
    const struct tw_endpoint *e = run_endpoint(r);

    if (run_entry(r).kind->conninfo && run_is_path_to_clients(r))
        return over_network(r, a, arm, e);
    if (run_entry(r).kind->conninfo)
        return tw_arena_printf(
            a, "%s dbname='%s'",
            tw_twin_conninfo_at(run_twin_of(r, arm), a,
                                tw_arena_printf(a, "/tw/%s", tw_arm_names[arm])),
            r->mix.database);
    if (e && run_is_pooled(r))
        return run_pool_conninfo(r, a, arm,
                                 is_anywhere(e->address) ? RUN_TWIN_ADDRESS : e->address,
                                 e->port);
    return e ? linked(a, arm, e) : NULL;
}

/* As many as somebody asks for; else as many as the target has in use, within what both arms
 * allow beside the reserved ones. */
int run_connections(const struct run *r)
{
    int asked = r->v.sim->plan.connections;
    int seen = r->snapshot.peak_connections > r->snapshot.connections_used
                   ? r->snapshot.peak_connections
                   : r->snapshot.connections_used;
    double n = asked > 0 ? fmin(asked, MOST_GIVEN)
                         : fmax(LEAST_CONNECTIONS, fmin(MOST_CONNECTIONS, seen));
    double room;

    if (asked <= 0 && seen <= 0 && run_is_path(r))
        n = MOST_CONNECTIONS; /* else what is said of the path would be said of our few connections */
    room = r->v.limits[TW_BASELINE].max_connections -
           r->v.limits[TW_BASELINE].reserved_connections;
    return (int)(room > 1 ? fmin(n, room - 1) : n);
}
