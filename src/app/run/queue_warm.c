/* Twins that stand ready for the next simulation of a target, while it is one of the latest ones: a worker
 * (verb "warm") makes them, stops them and waits; the next simulation of its target is given to it instead of
 * to a new worker. Each serves one simulation and ends with it, as every worker does. They are made when
 * nothing else is to be done, take memory within the bound of all, and are let go when it is needed or when
 * nobody asked for their target for a while. */
#include "queue_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool queue_is_warm(const struct entry *e)
{
    return tw_streq(e->job.verb, "warm");
}

static bool is_of(const struct queue_recent *r, const struct tw_job *job)
{
    return tw_streq(r->target, job->target) && tw_streq(r->environment, job->environment);
}

static void forget(struct queue_recent *r)
{
    free(r->environment);
    free(r->target);
    *r = (struct queue_recent){0};
}

static struct queue_recent *recent_of(struct tw_queue *q, const struct tw_job *job)
{
    for (size_t i = 0; i < TW_COUNT_OF(q->recent); i++)
        if (q->recent[i].target && is_of(&q->recent[i], job))
            return &q->recent[i];
    return NULL;
}

static struct entry *warm_of(const struct tw_queue *q, const struct tw_job *job)
{
    for (struct entry *e = q->active; e; e = e->next)
        if (queue_is_warm(e) && !e->ended && !e->let_go && !e->told_ns &&
            tw_streq(e->job.target, job->target) &&
            tw_streq(e->job.environment, job->environment))
            return e;
    return NULL;
}

static struct queue_recent *oldest(struct tw_queue *q)
{
    struct queue_recent *old = &q->recent[0];

    for (size_t i = 1; i < TW_COUNT_OF(q->recent); i++)
        if (!q->recent[i].target || q->recent[i].last_ns < old->last_ns)
            old = &q->recent[i];
    return old;
}

void queue_warm_note(struct tw_queue *q, const struct tw_job *job)
{
    struct queue_recent *r = recent_of(q, job);

    if (!job->plain || !job->target || !job->environment || !(q->o.warm_s > 0))
        return;
    if (!r) {
        r = oldest(q);
        forget(r);
        r->target = strdup(job->target);
        r->environment = strdup(job->environment);
    }
    r->memory_bytes = job->memory_bytes;
    r->last_ns = tw_now_ns();
    r->hopeless = false;
}

/* ---- giving it a simulation ---- */

/* The entry of the simulation goes on with the worker of the other, which is no more. */
static void take_over(struct tw_queue *q, struct entry *e, struct entry *warm)
{
    queue_unlink(q, warm);
    e->number = warm->number;
    e->out = tw_take_fd(&warm->out);
    tw_buf_clear(&e->line);
    e->begun_ns = tw_now_ns();
    e->handed = true;
    (void)pthread_mutex_lock(&q->lock);
    queue_uncount(q, warm);
    q->warmed++;
    (void)pthread_mutex_unlock(&q->lock);
    queue_entry_free(warm);
}

/* What it told while it waited is of no simulation. */
static void pour_away(const struct entry *warm)
{
    char part[4096];

    while (read(warm->out, part, sizeof(part)) > 0)
        continue;
}

bool queue_warm_hand(struct tw_queue *q, struct entry *e)
{
    struct entry *warm = e->job.plain && !e->cold ? warm_of(q, &e->job) : NULL;
    tw_auto_close int in = warm ? queue_input(&e->job) : -1;

    if (in < 0)
        return false;
    pour_away(warm);
    if (tw_helper_hand(q->helper, warm->number, in, NULL) < 0)
        return false;
    take_over(q, e, warm);
    return true;
}

/* ---- making them, and letting them go ---- */

static void begin(struct tw_queue *q, const struct queue_recent *r)
{
    char id[TW_ID_LEN + 1];
    tw_auto_free char *body = NULL;
    json_auto_t *place = NULL;
    struct tw_job job = {.verb = "warm",
                         .endless = true,
                         .environment = r->environment,
                         .target = r->target,
                         .memory_bytes = r->memory_bytes};
    struct entry *e;

    tw_id_make(id);
    place = json_pack("{s:s, s:s, s:s}", "id", id, "environment", r->environment, "target",
                      r->target);
    body = tw_json_dump(place, JSON_COMPACT);
    job.id = id;
    job.simulation = body;
    e = queue_entry_new(&job);
    if (queue_start_worker(q, e, NULL) < 0) {
        queue_entry_free(e);
        return;
    }
    (void)pthread_mutex_lock(&q->lock);
    e->next = q->active;
    q->active = e;
    q->memory_bytes += job.memory_bytes;
    (void)pthread_mutex_unlock(&q->lock);
}

static bool is_old(const struct tw_queue *q, const struct queue_recent *r)
{
    return !r || tw_seconds(tw_now_ns() - r->last_ns) > q->o.warm_s;
}

static bool has_room(struct tw_queue *q, const struct queue_recent *r)
{
    bool room;

    (void)pthread_mutex_lock(&q->lock);
    room = !q->waiting && !q->counts.running &&
           (!q->o.memory_bytes || q->memory_bytes + r->memory_bytes <= q->o.memory_bytes);
    (void)pthread_mutex_unlock(&q->lock);
    return room;
}

void queue_warm_tick(struct tw_queue *q)
{
    for (struct entry *e = q->active; e; e = e->next)
        if (queue_is_warm(e))
            e->let_go |= is_old(q, recent_of(q, &e->job));
    for (size_t i = 0; i < TW_COUNT_OF(q->recent) && q->helper; i++) {
        const struct queue_recent *r = &q->recent[i];
        const struct tw_job place = {.environment = r->environment, .target = r->target};

        if (r->target && !r->hopeless && !is_old(q, r) && !warm_of(q, &place) &&
            has_room(q, r))
            begin(q, r);
    }
}

/* Under lock. The one that nobody asked for the longest. */
void queue_warm_cool(struct tw_queue *q)
{
    struct entry *last = NULL;
    int64_t last_ns = INT64_MAX;

    for (struct entry *e = q->active; e; e = e->next) {
        const struct queue_recent *r = recent_of(q, &e->job);

        if (!queue_is_warm(e) || e->let_go || (r && r->last_ns >= last_ns))
            continue;
        last = e;
        last_ns = r ? r->last_ns : 0;
    }
    if (last)
        last->let_go = true;
}

void queue_warm_ended(struct tw_queue *q, struct entry *e)
{
    struct queue_recent *r = recent_of(q, &e->job);

    if (r && !e->let_go && !e->told_ns)
        r->hopeless = true; /* of itself: another one would end as it did */
    (void)pthread_mutex_lock(&q->lock);
    queue_uncount(q, e);
    (void)pthread_mutex_unlock(&q->lock);
    queue_entry_free(e);
}

int queue_warm_count(struct tw_queue *q)
{
    int n = 0;

    for (const struct entry *e = q->active; e; e = e->next)
        n += queue_is_warm(e) && e->heard;
    return n;
}

int64_t queue_warm_bytes(const struct tw_queue *q, const struct tw_job *job)
{
    const struct entry *warm = job->plain ? warm_of(q, job) : NULL;

    return warm ? warm->job.memory_bytes : 0;
}

void queue_warm_done(struct tw_queue *q)
{
    for (size_t i = 0; i < TW_COUNT_OF(q->recent); i++)
        forget(&q->recent[i]);
}
