/* Who is tried: given, known from the snapshot, and strangers. */
#include "client_internal.h"

#include <math.h>
#include <string.h>

const char *tw_client_name(struct tw_arena *a, const struct tw_client *c)
{
    tw_auto_buf b = {0};

    if (c->name)
        return c->name;
    tw_buf_init(&b, 4096);
    tw_buf_puts(&b, c->user ? c->user : c->protocol ? c->protocol : "a client");
    if (c->database)
        tw_buf_printf(&b, "@%s", c->database);
    if (c->path || c->host)
        tw_buf_printf(&b, " %s%s", c->host ? c->host : "", c->path ? c->path : "");
    if (c->address && *c->address == '/')
        tw_buf_puts(&b, " over the local socket");
    else if (c->source)
        tw_buf_printf(&b, " from %s", c->source);
    if (c->sslmode)
        tw_buf_printf(&b, ", sslmode %s", c->sslmode);
    if (c->tls_max)
        tw_buf_printf(&b, ", TLS up to %s", c->tls_max);
    return tw_arena_strdup(a, tw_buf_text(&b));
}

static bool is_same(const struct tw_client *x, const struct tw_client *y)
{
    const char *const *pairs[][2] = {
        {&x->protocol, &y->protocol}, {&x->source, &y->source},
        {&x->address, &y->address},   {&x->user, &y->user},
        {&x->database, &y->database}, {&x->sslmode, &y->sslmode},
        {&x->tls_max, &y->tls_max},   {&x->path, &y->path},
        {&x->host, &y->host},         {&x->method, &y->method},
        {&x->password, &y->password}};

    for (size_t i = 0; i < TW_COUNT_OF(pairs); i++)
        if (!tw_streq(*pairs[i][0], *pairs[i][1]))
            return false;
    return x->port == y->port && x->http_version == y->http_version &&
           x->header_bytes == y->header_bytes && x->body_bytes == y->body_bytes;
}

void client_add(struct tw_arena *a, struct tw_clients *to, const struct tw_client *c)
{
    size_t own = 0;

    for (size_t i = 0; i < to->list.count; i++) {
        own += !tw_streq(to->list.items[i].origin, "given");
        if (is_same(&to->list.items[i], c))
            return;
    }
    if (own < CLIENT_MOST_CASES || tw_streq(c->origin, "given"))
        TW_PUSH(a, &to->list, *c);
}

/* What a given client leaves open, the service's own kind fills in. */
static void add_given(struct tw_arena *a, const struct tw_snapshot *s,
                      const struct tw_service_kind *kind, const struct tw_client *given,
                      struct tw_clients *to)
{
    struct tw_client c = *given;

    if (!c.protocol)
        c.protocol = kind->protocol;
    if (tw_streq(c.protocol, "postgresql") && c.user && !c.password)
        c.password = tw_service_clone_password(a, s, c.user);
    c.name = tw_client_name(a, &c);
    client_add(a, to, &c);
}

/* ---- any kind of service: its endpoints, and what its log tells of requests ---- */

static bool is_wildcard(const char *address)
{
    return !address || tw_streq(address, "*") || tw_streq(address, "0.0.0.0") ||
           tw_streq(address, "::") || tw_streq(address, "[::]");
}

static void add_endpoint(struct tw_arena *a, const struct tw_endpoint *e,
                         struct tw_clients *to)
{
    bool https = tw_streq(e->protocol, "https");
    struct tw_client c = {.protocol = https ? "http" : e->protocol,
                          .address = is_wildcard(e->address) ? NULL : e->address,
                          .port = e->port,
                          .sslmode = https ? "require" : NULL,
                          .host = https || tw_streq(e->protocol, "http") ? e->name : NULL,
                          .origin = "configuration"};

    if (e->port == 0 || tw_streq(e->protocol, "postgresql"))
        return; /* a socket, or a kind that knows its clients better */
    client_add(a, to, &c);
}

static const struct tw_endpoint *web_endpoint(const struct tw_snapshot *s)
{
    for (size_t i = 0; i < s->endpoints.count; i++)
        if (s->endpoints.items[i].protocol &&
            tw_starts_with(s->endpoints.items[i].protocol, "http"))
            return &s->endpoints.items[i];
    return NULL;
}

static void add_request(struct tw_arena *a, const struct tw_snapshot *s,
                        const struct tw_sample_request *q, struct tw_clients *to)
{
    const struct tw_endpoint *e = web_endpoint(s);
    struct tw_client c = {
        .protocol = "http",
        .address = e && !is_wildcard(e->address) ? e->address : NULL,
        .port = e ? e->port : 0,
        .sslmode = e && tw_streq(e->protocol, "https") ? "require" : NULL,
        .method = q->method,
        .path = q->path,
        .host = q->host ? q->host
                : e     ? e->name
                        : NULL,
        .body_bytes = q->request_bytes > 0 && !tw_streq(q->method, "GET")
                          ? (int64_t)q->request_bytes
                          : 0,
        .origin = "log"};

    if (e && q->path)
        client_add(a, to, &c);
}

static void add_general(struct tw_arena *a, const struct tw_snapshot *s,
                        struct tw_clients *to)
{
    for (size_t i = 0; i < s->endpoints.count; i++)
        add_endpoint(a, &s->endpoints.items[i], to);
    for (size_t i = 0; i < s->requests.count; i++)
        add_request(a, s, &s->requests.items[i], to);
}

/* ---- all ---- */

void tw_client_cases(struct tw_arena *a, const struct tw_snapshot *s,
                     const struct tw_service_kind *kind, const struct tw_plan *plan,
                     struct tw_clients *ret)
{
    *ret = (struct tw_clients){0};
    for (size_t i = 0; i < plan->clients.count; i++)
        add_given(a, s, kind, &plan->clients.items[i], ret);
    if (tw_streq(kind->protocol, "postgresql"))
        client_cases_postgresql(a, s, plan, ret);
    for (size_t i = 0; i < s->clients.count; i++)
        add_given(a, s, kind, &s->clients.items[i], ret);
    add_general(a, s, ret);
    for (size_t i = 0; i < ret->list.count; i++)
        ret->list.items[i].name = tw_client_name(a, &ret->list.items[i]);
}

void tw_client_sources_of(struct tw_arena *a, const struct tw_clients *cases,
                          struct tw_client_sources *ret)
{
    for (size_t i = 0; i < cases->list.count; i++) {
        const char *source = cases->list.items[i].source;
        bool known = !source;

        for (size_t k = 0; k < ret->list.count && !known; k++)
            known = tw_streq(ret->list.items[k], source);
        if (!known)
            TW_PUSH(a, &ret->list, source);
    }
}
