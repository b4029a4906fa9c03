/* What a web application can be asked: what is known of it, what its pages link to, usual places. */
#include "tw/deploy.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#define ENDPOINTS_MOST 24
#define WITHIN_S       2.0

static const char *const usual[] = {"/",        "/health",  "/healthz", "/ready",
                                    "/status",  "/version", "/api",     "/openapi.json",
                                    "/metrics", "/login"};

struct finding {
    struct tw_arena *a;
    struct tw_wire line;
    struct tw_asks *ret;
    TW_ARRAY(const char *) queue;
};

static bool is_known(const struct finding *f, const char *path)
{
    for (size_t i = 0; i < f->queue.count; i++)
        if (tw_streq(f->queue.items[i], path))
            return true;
    return false;
}

static void enqueue(struct finding *f, const char *path, size_t len)
{
    const char *own = tw_arena_strndup(f->a, path, len);

    if (len && *path == '/' && !(len > 1 && path[1] == '/') && len < 200 &&
        !strpbrk(own, " \"'<>{}") && f->queue.count < 4 * ENDPOINTS_MOST &&
        !is_known(f, own))
        TW_PUSH(f->a, &f->queue, own);
}

/* href=/x, href="/x", src='/x', action=… of a page. */
static void links_of_page(struct finding *f, const char *body)
{
    static const char *const names[] = {"href=", "src="};

    for (size_t i = 0; i < TW_COUNT_OF(names); i++)
        for (const char *at = body; (at = strcasestr(at, names[i]));) {
            at += strlen(names[i]);
            at += *at == '"' || *at == '\'';
            enqueue(f, at, strcspn(at, "\"' >#\n"));
        }
}

/* Paths without parameters of an OpenAPI document, and texts that are paths of this host. */
static void links_of_json(struct finding *f, const json_t *json, int depth)
{
    const char *key;
    json_t *value;
    size_t i;

    if (depth > 4)
        return;
    if (json_is_string(json))
        enqueue(f, json_string_value(json), strlen(json_string_value(json)));
    json_object_foreach ((json_t *)(uintptr_t)json, key, value) {
        if (*key == '/' && json_object_get(value, "get"))
            enqueue(f, key, strlen(key));
        links_of_json(f, value, depth + 1);
    }
    if (json_is_array(json))
        json_array_foreach (json, i, value)
            links_of_json(f, value, depth + 1);
}

static void visit(struct finding *f, const char *path)
{
    struct tw_ask ask = {.method = "GET", .path = path, .within_s = WITHIN_S};
    struct tw_reply reply;
    json_t *json;

    tw_wire_ask(&f->line, f->a, &ask, &reply);
    if (reply.status == 0 || reply.status == 404 || reply.status == 405)
        return;
    TW_PUSH(f->a, &f->ret->list, ask);
    json = reply.len ? json_loadb(reply.body, reply.len, 0, NULL) : NULL;
    if (json)
        links_of_json(f, json, 0);
    else if (reply.len)
        links_of_page(f, reply.body);
    json_decref(json);
}

void tw_deploy_endpoints(struct tw_arena *a, struct tw_instance *i,
                         const struct tw_asks *given, struct tw_asks *ret)
{
    struct finding f = {.a = a, .ret = ret};
    size_t from;

    for (size_t k = 0; k < given->list.count && k < ENDPOINTS_MOST; k++) {
        TW_PUSH(a, &ret->list, given->list.items[k]);
        if (tw_streq(given->list.items[k].method, "GET"))
            TW_PUSH(a, &f.queue, given->list.items[k].path);
    }
    if (!tw_instance_site(i)->port)
        return;
    from = f.queue.count;
    tw_wire_init(&f.line, tw_instance_site(i), 0);
    for (size_t k = 0; k < TW_COUNT_OF(usual); k++)
        enqueue(&f, usual[k], strlen(usual[k]));
    for (size_t k = from; k < f.queue.count && ret->list.count < ENDPOINTS_MOST; k++)
        visit(&f, f.queue.items[k]);
    tw_wire_done(&f.line);
}
