/* Targets that answer while they run: the pulse of a service, the events of an Engine. A thread each, so that
 * one that hangs holds up no other. */
#include "env_internal.h"

#include "tw/docker.h"

#include <math.h>
#include <string.h>

#define BEAT_S      2.0
#define RETRY_S     5.0
#define RETRY_MAX_S 60.0
#define EVENTS_S    5.0 /* one request of the Engine's events */

/* ---- a pulse ---- */

/* A counter's growth as a rate; NaN when it is not told, or began anew. */
static double rate(double before, double now, double seconds)
{
    return now >= before && seconds > 0 ? (now - before) / seconds : NAN;
}

static void tell_counters(struct followed *one, const struct tw_pulse *before,
                          const struct tw_pulse *now, double seconds)
{
    double requests = rate(before->requests + now->own_requests, now->requests, seconds);
    const struct {
        const char *name;
        double value;
    } rows[] = {
        /* what is told late may make our own share look larger than the whole */
        {"load_per_s",
         isnan(requests) && now->requests >= before->requests ? 0 : requests},
        {"rollbacks_per_s", rate(before->rollbacks, now->rollbacks, seconds)},
        {"wal_bytes_per_s", rate(before->wal_bytes, now->wal_bytes, seconds)},
        {"temp_bytes_per_s", rate(before->temp_bytes, now->temp_bytes, seconds)},
        {"blocks_read_per_s", rate(before->read_blocks, now->read_blocks, seconds)},
        {"connections", now->connections},
        {"follow_statements_per_s", rate(before->statements, now->statements, seconds)},
        {"follow_bytes_per_s", rate((double)before->bytes, (double)now->bytes, seconds)},
        {"follow_share", rate(before->seconds, now->seconds, seconds)},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (!isnan(rows[i].value))
            env_follow_metric(one, rows[i].name, rows[i].value);
}

struct beating {
    void *session;
    struct tw_pulse counted; /* when the counters were read last */
    int64_t counted_ns;      /* 0: not in this session */
    char stamp[65];          /* "": none yet */
    bool lost;               /* told that it does not answer */
    double retry_s;
};

static void beat_failed(struct followed *one, struct beating *b, const struct tw_err *why)
{
    if (!b->lost) {
        env_follow_state(one, why->text);
        if (*b->stamp) /* it answered before: that it does not now is a change */
            env_follow_touched(one, "it does not answer");
    }
    b->lost = true;
    b->counted_ns = 0;
    (void)env_follow_wait(one, b->retry_s);
    b->retry_s = fmin(2 * b->retry_s, RETRY_MAX_S);
}

static void beat(struct followed *one, struct beating *b, double metrics_s)
{
    int64_t now = tw_now_ns();
    bool counters = !b->counted_ns || tw_seconds(now - b->counted_ns) >= metrics_s;
    struct tw_pulse p;
    struct tw_err why = {0};

    if (one->kind->pulse(&one->t, counters, &b->session, &p, &why) < 0) {
        beat_failed(one, b, &why);
        return;
    }
    if (b->lost)
        env_follow_state(one, NULL);
    b->lost = false;
    b->retry_s = RETRY_S;
    if (*b->stamp && !tw_streq(b->stamp, p.stamp))
        env_follow_touched(one, "its settings");
    memcpy(b->stamp, p.stamp, sizeof(b->stamp));
    if (counters) {
        if (b->counted_ns)
            tell_counters(one, &b->counted, &p, tw_seconds(now - b->counted_ns));
        b->counted = p;
        b->counted_ns = now;
    }
    (void)env_follow_wait(one, BEAT_S);
}

void *env_follow_pulse(void *arg)
{
    struct followed *one = arg;
    struct beating b = {.retry_s = RETRY_S};
    double metrics_s = env_follow_metrics_s(one);

    while (!env_follow_ended(one))
        beat(one, &b, metrics_s);
    one->kind->pulse_end(b.session);
    return NULL;
}

/* ---- an Engine ---- */

static bool is_ours(const struct tw_target *t, const json_t *event)
{
    const json_t *actor = json_object_get(event, "Actor");
    const json_t *names = json_object_get(actor, "Attributes");
    const char *project =
        json_string_value(json_object_get(names, "com.docker.compose.project"));
    const char *name = json_string_value(json_object_get(names, "name"));
    const char *id = json_string_value(json_object_get(actor, "ID"));

    if (t->project)
        return tw_streq(project, t->project);
    return t->container &&
           (tw_streq(name, t->container) || (id && tw_starts_with(id, t->container)));
}

/* What is only done inside a container, or only looked at, changes nothing of it. */
static bool matters(const char *action)
{
    static const char *const rows[] = {"create", "start",  "die",     "destroy",
                                       "update", "rename", "pause",   "unpause",
                                       "oom",    "kill",   "connect", "disconnect"};

    return tw_name_index(action, rows, TW_COUNT_OF(rows)) >= 0;
}

static bool take_event(void *arg, const json_t *event)
{
    struct followed *one = arg;
    const char *action = json_string_value(json_object_get(event, "Action"));

    if (action && matters(action) && is_ours(&one->t, event)) {
        tw_auto_free char *what = tw_strf("the Engine: %s", action);

        env_follow_touched(one, what);
    }
    return !env_follow_ended(one);
}

/* From a little before the last request ended, so that nothing falls between two of them. */
static int listen_once(struct followed *one, struct tw_docker *d, int64_t *since,
                       struct tw_err *err)
{
    tw_auto_free char *from = tw_strf("%lld", (long long)(*since / TW_SEC_NS));

    *since = tw_wall_ns();
    return tw_docker_events(d, from, NULL, NULL, EVENTS_S, take_event, one, err);
}

void *env_follow_engine(void *arg)
{
    struct followed *one = arg;
    int64_t since = tw_wall_ns();
    bool lost = false;

    while (!env_follow_ended(one)) {
        tw_auto(tw_docker) *d = NULL;
        struct tw_err why = {0};
        int r = tw_docker_open(NULL, &d, &why);

        if (r == 0 && lost)
            env_follow_state(one, NULL);
        lost = lost && r < 0;
        while (r == 0 && !env_follow_ended(one))
            r = listen_once(one, d, &since, &why);
        if (r < 0 && !lost)
            env_follow_state(one, why.text);
        lost |= r < 0;
        (void)env_follow_wait(one, RETRY_S);
    }
    return NULL;
}
