/* A request on its way: host, route, who asks, role, body, handler; and the answers. */
#include "api_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define JSON_TYPE    "application/json"
#define PROBLEM_TYPE "application/problem+json"
#define MAX_KEY      128

/* ---- answers ---- */

static void log_answer(const struct api_call *c, int status)
{
    bool changes = c->route && c->route->permission != TW_MAY_READ;
    enum tw_log_level level = status >= 500 ? TW_LOG_ERROR : TW_LOG_INFO;
    const char *parent = tw_http_header(c->http, "traceparent");

    (void)__atomic_add_fetch(&c->api->answers[status / 100 % 6], 1, __ATOMIC_RELAXED);
    if (status < 400 && !changes)
        return;
    tw_log(level, "request=%s method=%s path=%s status=%d ms=%.1f actor=%s source=%s%s%s",
           c->http->id, c->http->method, c->http->path, status,
           1e3 * tw_seconds(tw_now_ns() - c->http->begun_ns),
           c->actor.person ? c->actor.person : "-", c->http->peer,
           parent ? " traceparent=" : "", parent && strlen(parent) == 55 ? parent : "");
}

static void answer(struct api_call *c, int status, const char *media_type, char *text)
{
    log_answer(c, status);
    json_decref(c->body);
    c->body = NULL;
    tw_http_answer(c->http, status, media_type, text, strlen(text));
}

void api_answer_json(struct api_call *c, int status, json_t *json)
{
    char *text = tw_json_dump(json, JSON_COMPACT);

    json_decref(json);
    answer(c, status, status >= 400 ? PROBLEM_TYPE : JSON_TYPE, text);
}

void api_answer_text(struct api_call *c, int status, const char *media_type,
                     const char *text)
{
    answer(c, status, media_type ? media_type : JSON_TYPE, strdup(text));
}

void api_answer_status(struct api_call *c, int status, const char *code,
                       const struct tw_err *err, json_t *more)
{
    json_t *json = api_problem(status, code, err->text, err->pointer, c->http->id);

    if (more)
        (void)json_object_update_missing(json, more);
    json_decref(more);
    api_answer_json(c, status, json);
}

void api_answer_problem(struct api_call *c, int code, const struct tw_err *err)
{
    struct api_status s = api_status_of(code);
    struct tw_err plain = {0};

    if (!err->text[0])
        (void)tw_fail(&plain, code, "%s", strerror(-code));
    if (s.status == 503)
        tw_http_add_header(c->http, "Retry-After", "2");
    api_answer_status(c, s.status, s.code, err->text[0] ? err : &plain, NULL);
}

char *api_server_problem(void *arg, int status, const char *code, const char *text,
                         const char **ret_media_type)
{
    struct tw_api *api = arg;
    json_auto_t *json = api_problem(status, code, text, NULL, NULL);

    (void)__atomic_add_fetch(&api->answers[status / 100 % 6], 1, __ATOMIC_RELAXED);
    *ret_media_type = PROBLEM_TYPE;
    return tw_json_dump(json, JSON_COMPACT);
}

/* ---- audit ---- */

int api_audit(struct api_call *c, struct tw_store *s, const char *object,
              const char *result, json_t *detail, struct tw_err *err)
{
    tw_auto_free char *text = NULL;
    struct tw_audit_entry e = {
        .action = c->route->name, .object = object, .result = result};

    if (!detail)
        detail = json_object();
    (void)json_object_set_new(detail, "request", json_string(c->http->id));
    if (c->actor.token)
        (void)json_object_set_new(detail, "token", json_string(c->actor.token));
    text = tw_json_dump(detail, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(detail);
    e.detail = text;
    return tw_audit_add(c->api->audit, s, &c->actor, &e, err);
}

/* A refusal is audited though the call is answered at once: what it needs is copied. */
struct refusal {
    struct tw_api *api;
    char *person, *source, *action, *object, *detail;
};

static int refusal_work(void *arg, struct tw_store *s, struct tw_err *err)
{
    const struct refusal *f = arg;
    struct tw_actor actor = {.person = f->person, .source = f->source};
    struct tw_audit_entry e = {.action = f->action,
                               .object = f->object,
                               .result = "refused",
                               .detail = f->detail};

    return tw_audit_add(f->api->audit, s, &actor, &e, err);
}

static void refusal_done(void *arg, int result, const struct tw_err *err)
{
    struct refusal *f = arg;

    if (result < 0)
        tw_log(TW_LOG_ERROR, "a refusal could not be audited: %s", err->text);
    free(f->person);
    free(f->source);
    free(f->action);
    free(f->object);
    free(f->detail);
    free(f);
}

static void audit_refusal(const struct api_call *c, const struct tw_err *err)
{
    json_auto_t *detail =
        json_pack("{s:o, s:s}", "why", tw_json_text(err->text), "request", c->http->id);
    struct refusal *f = tw_alloc(sizeof(*f));

    *f = (struct refusal){.api = c->api,
                          .person =
                              strdup(c->actor.person ? c->actor.person : "anonymous"),
                          .source = strdup(c->http->peer),
                          .action = strdup(c->route ? c->route->name : "authenticate"),
                          .object = strdup(c->id ? c->id : c->http->path),
                          .detail = tw_json_dump(detail, JSON_COMPACT | JSON_SORT_KEYS)};
    tw_store_pool_write(c->api->pool, refusal_work, refusal_done, f);
}

int api_may(struct api_call *c, const char *environment, const char *type,
            struct tw_err *err)
{
    int r = tw_gate_check(&c->actor, c->route->permission, environment, type, err);

    if (r < 0)
        audit_refusal(c, err);
    return r;
}

/* ---- who asks ---- */

static bool plain_allowed(const struct api_call *c)
{
    const struct tw_http_request *r = c->http;

    if (r->loopback)
        return true;
    for (size_t i = 0; i < c->api->o->plain_networks.count; i++) {
        const struct tw_net *n = &c->api->o->plain_networks.items[i];

        if (tw_net_contains(n->address, n->bits, r->address))
            return true;
    }
    return false;
}

/* "Authorization: Bearer …", or for a browser's WebSocket, which cannot set it, the subprotocol
 * "bearer.<token>". Never in the URL. */
static const char *bearer_of(const struct api_call *c)
{
    const char *header = tw_http_header(c->http, "Authorization");
    const char *protocols = tw_http_header(c->http, "Sec-WebSocket-Protocol");
    const char *at = protocols ? strstr(protocols, "bearer.") : NULL;

    if (header && strncasecmp(header, "Bearer ", 7) == 0)
        return header + 7 + strspn(header + 7, " ");
    if (header)
        return header; /* some other scheme: a wrong token */
    if (at && (c->route->flags & API_SOCKET))
        return tw_arena_strndup(c->arena, at + 7, strcspn(at + 7, ", "));
    return NULL;
}

static bool refuse_locked(struct api_call *c)
{
    int left = tw_lockout_left_s(c->api->lockout, c->http->address);
    struct tw_err err;

    if (!left)
        return false;
    tw_http_add_header(c->http, "Retry-After", tw_arena_printf(c->arena, "%d", left));
    (void)tw_fail(&err, -EACCES, "too many wrong tokens came from '%s'; wait %d s",
                  c->http->peer, left);
    api_answer_status(c, 429, "locked_out", &err, NULL);
    return true;
}

static void refuse_token(struct api_call *c, const struct tw_err *err)
{
    tw_http_add_header(c->http, "WWW-Authenticate", "Bearer realm=\"digital-twin\"");
    api_answer_status(c, 401, "unauthenticated", err, NULL);
}

static bool check_token(struct api_call *c, const char *secret)
{
    struct tw_err err = {0};
    struct tw_store *s = tw_store_pool_take(c->api->pool, &err);
    int r = s ? tw_gate_token_check(s, c->arena, secret, &c->actor, &err) : -EIO;

    tw_store_pool_give(c->api->pool, s);
    c->actor.source = c->http->peer;
    if (r == 0)
        return true;
    if (!s) {
        api_answer_problem(c, r, &err);
        return false;
    }
    tw_lockout_failed(c->api->lockout, c->http->address);
    c->actor.person = "unknown";
    audit_refusal(c, &err);
    refuse_token(c, &err);
    return false;
}

/* false: answered. */
static bool authenticate(struct api_call *c)
{
    const char *secret = bearer_of(c);
    struct tw_err err;

    c->actor = (struct tw_actor){.person = "anonymous", .source = c->http->peer};
    if (c->route->flags & API_OPEN)
        return true;
    if (secret)
        return !refuse_locked(c) && check_token(c, secret);
    if (!c->http->tls && plain_allowed(c) && c->api->anonymous_roles) {
        c->actor.roles = c->api->anonymous_roles;
        return true;
    }
    (void)tw_fail(
        &err, -EACCES,
        "a token is needed: 'Authorization: Bearer twn_…'; an administrator makes one "
        "with: twin token create --person NAME --roles operator");
    refuse_token(c, &err);
    return false;
}

/* ---- host and origin ---- */

static bool known_host(const struct tw_api *api, const char *text)
{
    static const char *const always[] = {"localhost", "digital-twin", "127.0.0.1", "::1"};
    const char *end = *text == '[' ? strchrnul(text, ']') : strchrnul(text, ':');
    size_t skip = *text == '[';
    tw_auto_free char *name = strndup(text + skip, (size_t)(end - text) - skip);

    for (size_t i = 0; i < TW_COUNT_OF(always); i++)
        if (strcasecmp(name, always[i]) == 0)
            return true;
    for (size_t i = 0; i < api->o->names.count; i++)
        if (strcasecmp(name, api->o->names.items[i]) == 0)
            return true;
    return tw_starts_with(name, "127.") && name[strspn(name, "0123456789.")] == '\0';
}

/* A page of somebody else's in the user's browser, or a name that was bound anew to this address. */
static bool check_host(struct api_call *c)
{
    const char *host = tw_http_header(c->http, "Host");
    const char *origin = tw_http_header(c->http, "Origin");
    const char *scheme = origin ? strstr(origin, "://") : NULL;
    struct tw_err err;

    if (host && !known_host(c->api, host)) {
        (void)tw_fail(&err, -EACCES,
                      "the host name '%s' is not served here; add it to server.names",
                      host);
        api_answer_status(c, 421, "unknown_host", &err, NULL);
        return false;
    }
    if (origin && (!scheme || !known_host(c->api, scheme + 3))) {
        (void)tw_fail(&err, -EACCES, "requests from pages of '%s' are not taken", origin);
        api_answer_status(c, 403, "foreign_origin", &err, NULL);
        return false;
    }
    return true;
}

/* ---- routes ---- */

/* The path fits the pattern, which has at most one {id}, a whole segment. */
static bool fits(struct tw_arena *a, const char *pattern, const char *path,
                 const char **ret_id)
{
    const char *hole = strchr(pattern, '{');
    size_t before = hole ? (size_t)(hole - pattern) : strlen(pattern), n;

    if (strncmp(pattern, path, before) != 0)
        return false;
    if (!hole)
        return path[before] == '\0';
    n = strcspn(path + before, "/");
    if (!n || strcmp(path + before + n, strchr(hole, '}') + 1) != 0)
        return false;
    *ret_id = tw_arena_strndup(a, path + before, n);
    return true;
}

static void refuse_path(struct api_call *c, const char *allowed)
{
    const char **names = tw_arena_alloc(c->arena, api_route_count * sizeof(*names));
    struct tw_err err;
    const char *near;

    if (*allowed) {
        tw_http_add_header(c->http, "Allow", allowed);
        (void)tw_fail(&err, -EINVAL, "'%s' is not for %s; it takes %s", c->http->path,
                      c->http->method, allowed);
        api_answer_status(c, 405, "method_not_allowed", &err, NULL);
        return;
    }
    for (size_t i = 0; i < api_route_count; i++)
        names[i] = api_routes[i].path;
    near = tw_nearest(c->http->path, names, api_route_count);
    (void)tw_fail(&err, -ENOENT, "there is no '%s' here%s%s%s", c->http->path,
                  near ? "; did you mean '" : "; /openapi.json lists what there is",
                  near ? near : "", near ? "'?" : "");
    api_answer_status(c, 404, "not_found", &err, NULL);
}

/* A path that is written out goes before one with a hole: "create" is no id. */
static bool is_literal(const char *path)
{
    for (size_t i = 0; i < api_route_count; i++)
        if (tw_streq(api_routes[i].path, path))
            return true;
    return false;
}

static bool find_route(struct api_call *c)
{
    const char *method = tw_streq(c->http->method, "HEAD") ? "GET" : c->http->method;
    bool literal = is_literal(c->http->path);
    const char *allowed = "";

    for (size_t i = 0; i < api_route_count; i++) {
        const struct api_route *route = &api_routes[i];

        if (literal ? !tw_streq(route->path, c->http->path)
                    : !fits(c->arena, route->path, c->http->path, &c->id))
            continue;
        if (tw_streq(route->method, method)) {
            c->route = route;
            return true;
        }
        allowed = tw_arena_printf(c->arena, "%s%s%s", allowed, *allowed ? ", " : "",
                                  route->method);
        c->id = NULL;
    }
    refuse_path(c, allowed);
    return false;
}

/* Parameters of the query that the route does not know are mistakes. */
static int check_query(struct api_call *c, struct tw_err *err)
{
    for (size_t i = 0; i < c->http->query_count; i++) {
        tw_auto_free char *padded = tw_strf(" %s ", c->http->query[i].name);

        if (!strstr(c->route->params ? c->route->params : "", padded))
            return tw_fail(err, -EINVAL, "unknown parameter '%s'; '%s' takes%s",
                           c->http->query[i].name, c->route->path,
                           c->route->params ? c->route->params : " none");
    }
    return 0;
}

/* ---- headers and body ---- */

static int read_prefer(struct api_call *c, struct tw_err *err)
{
    const char *text = tw_http_header(c->http, "Prefer");
    const char *wait = text ? strcasestr(text, "wait=") : NULL;

    c->wait_s = NAN;
    if (!text)
        return 0;
    c->asynchronous = strcasestr(text, "respond-async") != NULL;
    if (!wait)
        return 0;
    c->wait_s = strtod(wait + 5, NULL);
    if (!(c->wait_s >= 0 && c->wait_s <= 86400))
        return tw_fail(err, -EINVAL, "'Prefer: wait=' takes seconds, 0 to 86400");
    return 0;
}

static int read_key(struct api_call *c, struct tw_err *err)
{
    const char *key = tw_http_header(c->http, "Idempotency-Key");
    char sha[65];

    if (!key || !(c->route->flags & API_KEY))
        return 0;
    if (!*key || strlen(key) > MAX_KEY)
        return tw_fail(err, -EINVAL, "'Idempotency-Key' has 1 to %d characters", MAX_KEY);
    tw_sha256_hex(c->http->body ? c->http->body : "", c->http->body_len, sha);
    c->key = tw_arena_printf(c->arena, "%s %s", c->route->name, key);
    c->key_sha256 = tw_arena_strdup(c->arena, sha);
    return 0;
}

static bool is_json_type(const char *type)
{
    size_t n = type ? strcspn(type, "; ") : 0;

    return n == strlen(JSON_TYPE) && strncasecmp(type, JSON_TYPE, n) == 0;
}

/* false: answered. */
static bool read_body(struct api_call *c)
{
    struct tw_err err = {0};

    if (!(c->route->flags & API_BODY) ||
        (!c->http->body && (c->route->flags & API_OPTIONAL)))
        return true;
    if (!is_json_type(tw_http_header(c->http, "Content-Type"))) {
        (void)tw_fail(&err, -EINVAL,
                      "'%s' takes a body of JSON, with 'Content-Type: application/json'",
                      c->route->path);
        api_answer_status(c, 415, "unsupported_media_type", &err, NULL);
        return false;
    }
    if (tw_json_parse(c->http->body ? c->http->body : "", c->http->body_len, &c->body,
                      &err) == 0)
        return true;
    (void)tw_wrap(&err, err.code, "the body is no valid JSON");
    api_answer_status(c, 400, "malformed_json", &err, NULL);
    return false;
}

const char *api_text(const struct api_call *c, const char *key)
{
    return json_string_value(json_object_get(c->body, key));
}

int api_known(const struct api_call *c, const char *const *names, size_t n,
              struct tw_err *err)
{
    if (c->body && !json_is_object(c->body))
        return tw_fail_at(err, -EINVAL, "", "the body has to be an object");
    return c->body ? tw_json_known_keys(c->body, "", names, n, err) : 0;
}

/* ---- the way of a call ---- */

static void add_headers(struct tw_http_request *r)
{
    static const struct tw_http_pair rows[] = {
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
        {"Cache-Control", "no-store"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        tw_http_add_header(r, rows[i].name, rows[i].value);
}

static void go(struct api_call *c)
{
    struct tw_err err = {0};
    int r;

    if (!check_host(c) || !find_route(c) || !authenticate(c))
        return;
    r = c->route->flags & API_OPEN ? 0 : api_may(c, NULL, NULL, &err);
    if (r == 0)
        r = check_query(c, &err);
    if (r == 0)
        r = read_prefer(c, &err);
    if (r == 0)
        r = read_key(c, &err);
    if (r == 0 && !read_body(c))
        return;
    if (r == 0)
        r = c->route->handle(c, &err);
    if (r < 0)
        api_answer_problem(c, r, &err);
}

void api_handle(void *arg, struct tw_http_request *r)
{
    struct tw_api *api = arg;
    struct api_call *c = tw_arena_alloc(r->arena, sizeof(*c));

    *c = (struct api_call){.api = api, .http = r, .arena = r->arena};
    add_headers(r);
    (void)__atomic_add_fetch(&api->inflight, 1, __ATOMIC_ACQ_REL);
    if (__atomic_load_n(&api->closing, __ATOMIC_ACQUIRE)) {
        struct tw_err err;

        tw_http_add_header(r, "Connection", "close");
        (void)tw_fail(&err, -ESHUTDOWN, "the daemon is ending; try again shortly");
        api_answer_problem(c, -ESHUTDOWN, &err);
    } else {
        go(c);
    }
    (void)__atomic_sub_fetch(&api->inflight, 1, __ATOMIC_ACQ_REL);
}

/* ---- writing ---- */

static int find_repeat(struct api_call *c, struct tw_store *s, struct tw_err *err)
{
    int r;

    if (!c->key)
        return 0;
    r = tw_store_key_get(s, c->arena, c->actor.person, c->key, &c->repeat, NULL);
    if (r == -ENOENT)
        return 0;
    if (r == 0 && !tw_streq(c->repeat.request_sha256, c->key_sha256))
        return tw_fail(
            err, -EINVAL,
            "this Idempotency-Key came before with another body; use a new one");
    c->repeated = r == 0;
    return r;
}

static int write_work(void *arg, struct tw_store *s, struct tw_err *err)
{
    struct api_call *c = arg;
    struct tw_store_key key = {
        .subject = c->actor.person, .key = c->key, .request_sha256 = c->key_sha256};
    int r = find_repeat(c, s, err);

    if (r < 0 || c->repeated)
        return r;
    r = c->work(c, s, err);
    if (r < 0 || !c->key)
        return r;
    key.simulation = c->repeat.simulation;
    key.answer = c->answer;
    key.status = c->answer_status;
    return tw_store_key_put(s, &key, err);
}

static void write_done(void *arg, int result, const struct tw_err *err)
{
    struct api_call *c = arg;

    if (result >= 0)
        c->done(c);
    else
        api_answer_problem(c, result, err);
}

int api_write(struct api_call *c,
              int (*work)(struct api_call *, struct tw_store *, struct tw_err *),
              void (*done)(struct api_call *), void *data)
{
    c->work = work;
    c->done = done;
    c->data = data;
    tw_store_pool_write(c->api->pool, write_work, write_done, c);
    return 0;
}

/* ---- lists ---- */

int api_page(struct api_call *c, int *ret_limit, struct tw_err *err)
{
    const char *text = tw_http_query(c->http, "limit");
    int64_t limit = 50;

    if (text &&
        (tw_parse_int64(text, &limit, NULL) < 0 || limit < 1 || limit > API_MAX_LIMIT))
        return tw_fail(err, -EINVAL, "limit '%s': expected 1 to %d", text, API_MAX_LIMIT);
    *ret_limit = (int)limit;
    return 0;
}

json_t *api_items(json_t *items, const char *next_cursor)
{
    return json_pack("{s:o, s:s?}", "items", items, "next_cursor", next_cursor);
}
