/* For machines: health, readiness, figures in Prometheus' text form, the description of the routes. */
#include "api_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int api_healthz(struct api_call *c, struct tw_err *err)
{
    (void)err;
    api_answer_text(c, 200, "text/plain; charset=utf-8", "ok\n");
    return 0;
}

/* Ready: what was accepted before is taken up, and the store answers. */
int api_readyz(struct api_call *c, struct tw_err *err)
{
    int64_t counts[TW_STATUS_COUNT];
    struct tw_store *s = tw_store_pool_take(c->api->pool, err);
    int r = s ? tw_store_counts(s, counts, err) : -EIO;

    tw_store_pool_give(c->api->pool, s);
    if (r == 0 && !__atomic_load_n(&c->api->ready, __ATOMIC_ACQUIRE))
        r = tw_fail(err, -EBUSY, "the daemon is starting");
    if (r == 0)
        api_answer_text(c, 200, "text/plain; charset=utf-8", "ready\n");
    return r;
}

struct figure {
    const char *name, *kind, *help, *labels; /* labels: "status=\"2xx\"", or "" */
    double value;
};

static void add(struct tw_buf *b, const struct figure *f, const char **last)
{
    if (!tw_streq(*last, f->name))
        tw_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name,
                      f->kind);
    *last = f->name;
    tw_buf_printf(b, "%s%s%s%s %.15g\n", f->name, *f->labels ? "{" : "", f->labels,
                  *f->labels ? "}" : "", f->value);
}

static double resident_bytes(void)
{
    tw_auto_free char *text = NULL;
    char *at;

    if (tw_read_file(-1, "/proc/self/statm", 256, &text, NULL, NULL) < 0)
        return 0;
    (void)strtod(text, &at);
    return strtod(at, NULL) * (double)sysconf(_SC_PAGESIZE);
}

static void add_answers(struct tw_buf *b, struct tw_api *api, const char **last)
{
    for (int i = 1; i < 6; i++) {
        tw_auto_free char *labels = tw_strf("status=\"%dxx\"", i);

        add(b,
            &(struct figure){"twin_http_answers_total", "counter", "Answers by status.",
                             labels,
                             (double)__atomic_load_n(&api->answers[i], __ATOMIC_RELAXED)},
            last);
    }
}

static void add_simulations(struct tw_buf *b, const int64_t counts[TW_STATUS_COUNT],
                            const char **last)
{
    for (int i = 0; i < TW_STATUS_COUNT; i++) {
        tw_auto_free char *labels = tw_strf("status=\"%s\"", tw_status_names[i]);

        add(b,
            &(struct figure){"twin_simulations", "gauge", "Simulations kept, by status.",
                             labels, (double)counts[i]},
            last);
    }
}

int api_metrics(struct api_call *c, struct tw_err *err)
{
    struct tw_api *api = c->api;
    struct tw_ws_counts ws = tw_ws_hub_counts(api->hub);
    struct tw_store_pool_counts writes = tw_store_pool_counts(api->pool);
    struct tw_queue_counts queue = tw_queue_counts(api->queue);
    int64_t counts[TW_STATUS_COUNT], pending = 0, dead = 0;
    const char *last = NULL;
    tw_auto_buf b = {0};
    struct tw_store *s = tw_store_pool_take(api->pool, err);
    int r = s ? tw_store_counts(s, counts, err) : -EIO;

    if (r == 0)
        r = tw_store_alert_counts(s, &pending, &dead, err);
    tw_store_pool_give(api->pool, s);
    if (r < 0)
        return r;
    const struct figure rows[] = {
        {"twin_up_seconds", "gauge", "Seconds since the start.", "",
         tw_seconds(tw_now_ns() - api->begun_ns)},
        {"twin_http_requests_total", "counter", "Requests begun.", "",
         (double)tw_http_count(api->http)},
        {"twin_websocket_clients", "gauge", "Clients of the live stream.", "",
         (double)ws.clients},
        {"twin_websocket_messages_total", "counter", "Messages sent to them.", "",
         (double)ws.sent},
        {"twin_websocket_shed_total", "counter",
         "Live messages left out for slow clients.", "", (double)ws.shed},
        {"twin_websocket_stuck_total", "counter", "Clients dropped that did not read.",
         "", (double)ws.stuck},
        {"twin_queue_waiting", "gauge", "Simulations that wait for a worker.", "",
         (double)queue.waiting},
        {"twin_queue_running", "gauge", "Workers.", "", (double)queue.running},
        {"twin_warm_targets", "gauge", "Targets whose twins stand ready.", "",
         (double)queue.warm},
        {"twin_warm_used_total", "counter", "Simulations that were given such twins.", "",
         (double)queue.warmed},
        {"twin_store_writes_total", "counter", "Works of the writer.", "",
         (double)writes.works},
        {"twin_store_commits_total", "counter", "Commits they were made in.", "",
         (double)writes.commits},
        {"twin_store_failures_total", "counter", "Works that failed.", "",
         (double)writes.failed},
        {"twin_alerts_pending", "gauge", "Alerts not sent yet.", "", (double)pending},
        {"twin_alerts_dead", "gauge", "Alerts given up.", "", (double)dead},
        {"twin_resident_bytes", "gauge", "Memory of the daemon.", "", resident_bytes()},
    };
    tw_buf_init(&b, 65536);
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        add(&b, &rows[i], &last);
    add_answers(&b, api, &last);
    add_simulations(&b, counts, &last);
    api_answer_text(c, 200, "text/plain; version=0.0.4; charset=utf-8", tw_buf_text(&b));
    return 0;
}

int api_openapi(struct api_call *c, struct tw_err *err)
{
    (void)err;
    api_answer_json(c, 200, tw_api_openapi());
    return 0;
}
