/* The daemon: opened in the order in which its parts need each other, closed in the reverse. */
#include "api_internal.h"

#include "tw/helper.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define TICK_MS        100
#define FORGET_S       3600.0
#define MAX_WS         4096
#define ALERTS_AT_ONCE 16

/* ---- may it listen there? ---- */

static int count_tokens(struct tw_api *api, int *ret, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_store_tokens all;
    struct tw_store *s = tw_store_pool_take(api->pool, err);
    int r = s ? tw_store_token_list(s, a, &all, err) : -EIO;

    tw_store_pool_give(api->pool, s);
    *ret = 0;
    for (size_t i = 0; r == 0 && i < all.list.count; i++)
        *ret += !all.list.items[i].revoked_wall_ns &&
                all.list.items[i].expires_wall_ns > tw_wall_ns();
    return r;
}

static bool is_loopback(const char *listen)
{
    return tw_starts_with(listen, "127.") || tw_starts_with(listen, "[::1]:");
}

static int check_exposure(struct tw_api *api, struct tw_err *err)
{
    const struct tw_api_options *o = api->o;
    const char *colon = strrchr(o->listen, ':');
    int tokens, r;

    if (!colon || colon == o->listen || colon[1 + strspn(colon + 1, "0123456789")] ||
        !colon[1])
        return tw_fail(err, -EINVAL,
                       "listening on '%s': expected ADDRESS:PORT, as in 127.0.0.1:8090",
                       o->listen);
    if (is_loopback(o->listen))
        return 0;
    if (!api->cert && !o->plain_networks.count)
        return tw_fail(
            err, -EINVAL,
            "listening on '%s', which others can reach, needs TLS and tokens; either "
            "listen on 127.0.0.1:8090, or make a certificate: openssl req -x509 -newkey "
            "ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=digital-twin "
            "-keyout twin.key -out twin.crt; give it as server.tls_cert and "
            "server.tls_key, and make a token: twin token create --person NAME --roles "
            "admin",
            o->listen);
    if (!api->cert)
        return 0; /* peers outside these networks need a token, and are told so */
    r = count_tokens(api, &tokens, err);
    if (r == 0 && !tokens)
        r = tw_fail(
            err, -EINVAL,
            "listening on '%s' needs a token to let anybody in; make one: twin token "
            "create --person NAME --roles admin --state-dir %s",
            o->listen, o->state_dir);
    return r;
}

/* ---- what happens by the clock ---- */

static int forget_work(void *arg, struct tw_store *s, struct tw_err *err)
{
    const struct tw_api *api = arg;

    return tw_store_forget(
        s, tw_wall_ns() - (int64_t)(api->o->retention_days * 86400 * (double)TW_SEC_NS),
        err);
}

static void forget_old(struct tw_api *api, int64_t now_ns)
{
    static int64_t last_ns;

    if (last_ns && tw_seconds(now_ns - last_ns) < FORGET_S)
        return;
    last_ns = now_ns;
    tw_store_pool_write(api->pool, forget_work, NULL, api);
}

static bool wait_tick(struct tw_api *api, int ms)
{
    struct timespec until;
    bool stopping;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)ms * TW_MSEC_NS;
    until.tv_sec += until.tv_nsec / TW_SEC_NS;
    until.tv_nsec %= TW_SEC_NS;
    (void)pthread_mutex_lock(&api->lock);
    if (!api->stopping)
        (void)pthread_cond_timedwait(&api->tick, &api->lock, &until);
    stopping = api->stopping;
    (void)pthread_mutex_unlock(&api->lock);
    return !stopping;
}

static void *ticker_main(void *arg)
{
    struct tw_api *api = arg;
    int64_t marked = 0;

    while (wait_tick(api, TICK_MS)) {
        int64_t now = tw_now_ns();

        api_waiters_tick(api, now, false);
        if (now - marked < TW_SEC_NS)
            continue;
        marked = now;
        (void)tw_audit_mark(api->audit, NULL);
        api_sync_tick(api, now);
        api_follow_tick(api, now);
        forget_old(api, now);
    }
    return NULL;
}

struct sent {
    const struct tw_store_alert *alert;
};

static int sent_work(void *arg, struct tw_store *s, struct tw_err *err)
{
    return tw_store_alert_update(s, ((struct sent *)arg)->alert, err);
}

/* Webhooks may be slow: they have a thread of their own. */
static void send_due(struct tw_api *api)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_store_alerts due = {0};
    struct tw_store *s = tw_store_pool_take(api->pool, NULL);

    if (s)
        (void)tw_store_alert_due(s, a, tw_wall_ns(), ALERTS_AT_ONCE, &due, NULL);
    tw_store_pool_give(api->pool, s);
    for (size_t i = 0; i < due.list.count; i++) {
        struct sent sent = {&due.list.items[i]};

        tw_alert_send(&api->o->hooks, a, &due.list.items[i]);
        if (tw_streq(due.list.items[i].state, "dead"))
            tw_log(TW_LOG_ERROR, "alert=%lld hook=%s given up: %s",
                   (long long)due.list.items[i].id, due.list.items[i].hook,
                   due.list.items[i].error);
        (void)tw_store_pool_write_wait(api->pool, sent_work, &sent, NULL);
    }
}

static void *sender_main(void *arg)
{
    struct tw_api *api = arg;

    while (wait_tick(api, 1000))
        send_due(api);
    return NULL;
}

/* ---- opening ---- */

static int read_pem(const char *path, char **ret, struct tw_err *err)
{
    return path ? tw_read_file(AT_FDCWD, path, 1 << 20, ret, NULL, err) : 0;
}

/* Roles are words of gate, which the policy's reader does not know. */
static int check_approvers(const struct tw_policy *p, struct tw_err *err)
{
    for (size_t i = 0; i < p->cases.count; i++) {
        const char *list = p->cases.items[i].approvers;
        tw_auto_free char *plain = list ? api_without_blanks(list) : NULL;
        unsigned roles;
        int r = plain ? tw_gate_roles_parse(plain, &roles, err) : 0;

        if (r < 0)
            return tw_wrap(err, r, "policy '%s', approvers of case %zu", p->origin,
                           i + 1);
    }
    return 0;
}

static int read_config(struct tw_api *api, struct tw_err *err)
{
    const struct tw_api_options *o = api->o;
    unsigned roles = 0;
    int r = tw_policy_load(api->arena, o->policy_path, &api->policy, err);

    if (r == 0)
        r = check_approvers(&api->policy, err);
    if (r == 0 && !tw_streq(o->anonymous, "none"))
        r = tw_gate_roles_parse(o->anonymous, &roles, err);
    if (r == 0 && (roles & ~((1u << TW_VIEWER) | (1u << TW_OPERATOR))))
        r = tw_fail(err, -EINVAL,
                    "server.anonymous '%s': expected operator, viewer or none",
                    o->anonymous);
    if (r == 0 && !o->cert_file != !o->key_file)
        r = tw_fail(err, -EINVAL, "server.tls_cert and server.tls_key belong together");
    if (r == 0)
        r = read_pem(o->cert_file, &api->cert, err);
    if (r == 0)
        r = read_pem(o->key_file, &api->key, err);
    api->anonymous_roles = roles;
    return r;
}

/* As many descriptors as this process may have: each client is one. */
static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int start_threads(struct tw_api *api, struct tw_err *err)
{
    api->ticking = pthread_create(&api->ticker, NULL, ticker_main, api) == 0;
    api->sending = pthread_create(&api->sender, NULL, sender_main, api) == 0;
    return api->ticking && api->sending
               ? 0
               : tw_fail(err, -EAGAIN, "the threads of the daemon could not be started");
}

static void queue_lost(void *arg)
{
    const struct tw_api *api = arg;

    if (api->o->lost)
        api->o->lost(api->o->arg);
}

static int open_parts(struct tw_api *api, struct tw_err *err)
{
    const struct tw_api_options *o = api->o;
    struct tw_queue_options queue = {.helper = o->helper,
                                     .reconnect = o->reconnect,
                                     .memory_bytes = o->memory_bytes,
                                     .cores = o->cores,
                                     .lost = queue_lost,
                                     .max_parallel = o->max_parallel,
                                     .timeout_s = o->timeout_minutes * 60,
                                     .warm_s = o->warm_minutes * 60,
                                     .started = api_job_started,
                                     .event = api_job_event,
                                     .ended = api_job_ended,
                                     .arg = api};
    struct tw_ws_options ws = {.max_clients = MAX_WS,
                               .opened = api_ws_opened,
                               .closed = api_ws_closed,
                               .arg = api};
    struct tw_http_options http = {.listen = o->listen,
                                   .max_connections = MAX_WS + 4096,
                                   .handler = api_handle,
                                   .problem = api_server_problem,
                                   .arg = api};
    int r = read_config(api, err);

    if (r == 0 && o->settle)
        r = o->settle(o->arg, err);
    if (r == 0)
        r = tw_store_pool_open(o->state_dir, &api->pool, err);
    if (r == 0)
        r = tw_audit_open(o->state_dir, o->audit_key, &api->audit, err);
    if (r == 0)
        r = tw_ws_hub_open(&ws, &api->hub, err);
    if (r == 0)
        r = tw_queue_open(&queue, &api->queue,
                          err); /* takes the helper, also when it fails */
    else
        tw_helper_free(o->helper);
    http.cert = api->cert;
    http.key = api->key;
    if (r == 0)
        r = check_exposure(api, err);
    if (r == 0)
        r = tw_http_open(&http, &api->http, err);
    if (r == 0)
        r = start_threads(api, err);
    return r < 0 ? r : api_resume(api, err);
}

static int started_work(void *arg, struct tw_store *s, struct tw_err *err)
{
    struct tw_api *api = arg;
    struct tw_actor daemon = {.person = "daemon", .source = "daemon"};
    struct tw_audit_entry e = {
        .action = "daemon.start", .object = api->o->listen, .result = "ok"};

    return tw_audit_add(api->audit, s, &daemon, &e, err);
}

int tw_api_open(const struct tw_api_options *options, struct tw_api **ret,
                struct tw_err *err)
{
    struct tw_api *api = tw_alloc(sizeof *api);
    int r;

    api->o = options;
    api->arena = tw_arena_new();
    api->begun_ns = tw_now_ns();
    api->seq = tw_wall_ns() / TW_MSEC_NS; /* above every number of an earlier start */
    api->lockout = tw_lockout_new();
    (void)pthread_mutex_init(&api->lock, NULL);
    (void)pthread_cond_init(&api->tick, NULL);
    (void)pthread_mutex_init(&api->env_lock, NULL);
    (void)pthread_mutex_init(&api->stream_lock, NULL);
    (void)pthread_mutex_init(&api->follow_lock, NULL);
    raise_descriptors();
    r = open_parts(api, err);
    if (r == 0)
        r = tw_store_pool_write_wait(api->pool, started_work, api, err);
    if (r < 0) {
        tw_api_close(api);
        return r;
    }
    __atomic_store_n(&api->ready, true, __ATOMIC_RELEASE);
    *ret = api;
    return 0;
}

int tw_api_port(const struct tw_api *api)
{
    return tw_http_port(api->http);
}

/* ---- closing ---- */

static void stop_threads(struct tw_api *api)
{
    (void)pthread_mutex_lock(&api->lock);
    api->stopping = true;
    (void)pthread_cond_broadcast(&api->tick);
    (void)pthread_mutex_unlock(&api->lock);
    if (api->ticking)
        (void)pthread_join(api->ticker, NULL);
    if (api->sending)
        (void)pthread_join(api->sender, NULL);
}

static int nothing_work(void *arg, struct tw_store *s, struct tw_err *err)
{
    (void)arg, (void)s, (void)err;
    return 0;
}

void tw_api_close(struct tw_api *api)
{
    if (!api)
        return;
    __atomic_store_n(&api->closing, true, __ATOMIC_RELEASE);
    if (api->http)
        tw_http_quiesce(api->http);
    while (__atomic_load_n(&api->inflight, __ATOMIC_ACQUIRE) > 0)
        tw_sleep_ns(TW_MSEC_NS);
    stop_threads(api);
    if (api->pool) /* what calls handed over may still give the queue something to do */
        (void)tw_store_pool_write_wait(api->pool, nothing_work, NULL, NULL);
    tw_queue_close(api->queue);
    tw_store_pool_close(api->pool); /* what was handed over is written and answered */
    api_waiters_tick(api, tw_now_ns(), true);
    tw_ws_hub_stop(api->hub);
    tw_http_close(api->http);
    tw_ws_hub_close(api->hub);
    if (api->audit)
        (void)tw_audit_mark(api->audit, NULL);
    tw_audit_close(api->audit);
    api_stream_done(api);
    api_follow_done(api);
    tw_lockout_free(api->lockout);
    tw_arena_free(api->env_arena);
    tw_arena_free(api->arena);
    (void)pthread_mutex_destroy(&api->lock);
    (void)pthread_cond_destroy(&api->tick);
    (void)pthread_mutex_destroy(&api->env_lock);
    (void)pthread_mutex_destroy(&api->stream_lock);
    (void)pthread_mutex_destroy(&api->follow_lock);
    free(api->cert);
    free(api->key);
    free(api);
}
