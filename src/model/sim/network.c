#include "sim/sim_internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* At one moment: first what ends, then what begins. */
enum { PRIORITY_END, PRIORITY_ARRIVE };

struct job {
    double born_s;    /* arrival at the network, before any wait for a token */
    double arrived_s; /* at the station it is in */
    double need_s;    /* FCFS: service; PS: virtual time at which it is done */
    int source;       /* -1: none */
    int station;
};

/* Numbers of jobs, first in, first out. */
struct fifo {
    int64_t *items;
    size_t head, count, room;
};

struct station {
    struct tw_sim_station spec;
    struct fifo waiting; /* FCFS */
    int64_t *sharing;    /* PS: jobs by need_s, the next to finish last */
    size_t sharing_count, sharing_room;
    double virtual_s, seen_s; /* PS: virtual time, and when it was brought up to date */
    int64_t epoch;            /* PS: only the completion set last is true */
    int busy;
    int64_t present, arrivals, done;
    double busy_s, jobs_s, since_s, changed_s;
    struct tw_hist *sojourn;
    double *next; /* probabilities, by station */
    size_t next_count;
};

struct source {
    struct tw_sim_source spec;
    int64_t arrivals, done, errors;
    struct tw_hist *latency;
};

struct pool {
    int free_tokens;
    double timeout_s;
    struct fifo waiting;
};

struct sim_network {
    TW_ARRAY(struct station) stations;
    TW_ARRAY(struct source) sources;
    TW_ARRAY(struct pool) pools;
    struct job *jobs;
    int64_t *unused; /* numbers of jobs that may be given out again */
    size_t job_count, job_room, unused_count;
};

/* ---- small containers ---- */

static void fifo_push(struct fifo *f, int64_t item)
{
    if (f->count == f->room) {
        size_t room = f->room ? 2 * f->room : 16;
        int64_t *items = tw_realloc_array(NULL, room, sizeof *items);

        for (size_t i = 0; i < f->count; i++)
            items[i] = f->items[(f->head + i) % f->room];
        free(f->items);
        *f = (struct fifo){.items = items, .count = f->count, .room = room};
    }
    f->items[(f->head + f->count++) % f->room] = item;
}

static int64_t fifo_pop(struct fifo *f)
{
    int64_t item = f->items[f->head];

    assert(f->count > 0);
    f->head = (f->head + 1) % f->room;
    f->count--;
    return item;
}

static int64_t job_new(struct sim_network *n, const struct job *job)
{
    int64_t number;

    if (n->unused_count > 0) {
        number = n->unused[--n->unused_count];
    } else {
        if (n->job_count == n->job_room) {
            n->job_room = n->job_room ? 2 * n->job_room : 64;
            n->jobs = tw_realloc_array(n->jobs, n->job_room, sizeof *n->jobs);
            n->unused = tw_realloc_array(n->unused, n->job_room, sizeof *n->unused);
        }
        number = (int64_t)n->job_count++;
    }
    n->jobs[number] = *job;
    return number;
}

static void job_free(struct sim_network *n, int64_t number)
{
    n->unused[n->unused_count++] = number;
}

/* The arrays of a network grow by one: they are few and made before the run. */
#define APPEND(array, ...)                                                               \
    do {                                                                                 \
        (array)->items = tw_realloc_array((array)->items, (array)->count + 1,            \
                                          sizeof *(array)->items);                       \
        (array)->items[(array)->count++] = (__VA_ARGS__);                                \
    } while (0)

/* ---- life ---- */

struct sim_network *sim_network_new(void)
{
    return tw_alloc(sizeof(struct sim_network));
}

void sim_network_free(struct sim_network *n)
{
    for (size_t i = 0; i < n->stations.count; i++) {
        free(n->stations.items[i].waiting.items);
        free(n->stations.items[i].sharing);
        free(n->stations.items[i].next);
        tw_hist_free(n->stations.items[i].sojourn);
    }
    for (size_t i = 0; i < n->sources.count; i++)
        tw_hist_free(n->sources.items[i].latency);
    for (size_t i = 0; i < n->pools.count; i++)
        free(n->pools.items[i].waiting.items);
    free(n->stations.items);
    free(n->sources.items);
    free(n->pools.items);
    free(n->jobs);
    free(n->unused);
    free(n);
}

/* ---- disciplines ---- */

static void enter(struct tw_sim *s, int station, int64_t number);
static void leave(struct tw_sim *s, int64_t number);

/* Brings the time averages up to now; to be called before anything changes. */
static void account(struct tw_sim *s, struct station *st)
{
    st->busy_s += st->busy * (s->now_s - st->changed_s);
    st->jobs_s += (double)st->present * (s->now_s - st->changed_s);
    st->changed_s = s->now_s;
}

static void finish(struct tw_sim *s, int64_t number)
{
    struct job *job = &s->network->jobs[number];
    struct station *st = &s->network->stations.items[job->station];

    st->present--;
    st->done++;
    tw_hist_record(st->sojourn, (int64_t)((s->now_s - job->arrived_s) * 1e9));
    leave(s, number);
}

static void delay_done(struct tw_sim *s, void *arg, int64_t number)
{
    struct station *st = &s->network->stations.items[s->network->jobs[number].station];

    (void)arg;
    account(s, st);
    st->busy--;
    finish(s, number);
}

static void delay_enter(struct tw_sim *s, struct station *st, int64_t number)
{
    st->busy++;
    tw_sim_at(s, s->now_s + s->network->jobs[number].need_s, PRIORITY_END, delay_done,
              NULL, number);
}

static void fcfs_done(struct tw_sim *s, void *arg, int64_t number)
{
    struct station *st = &s->network->stations.items[s->network->jobs[number].station];

    (void)arg;
    account(s, st);
    if (st->waiting.count > 0) {
        int64_t next = fifo_pop(&st->waiting);

        tw_sim_at(s, s->now_s + s->network->jobs[next].need_s, PRIORITY_END, fcfs_done,
                  NULL, next);
    } else {
        st->busy--;
    }
    finish(s, number);
}

static void fcfs_enter(struct tw_sim *s, struct station *st, int64_t number)
{
    if (st->busy == st->spec.servers) {
        fifo_push(&st->waiting, number);
        return;
    }
    st->busy++;
    tw_sim_at(s, s->now_s + s->network->jobs[number].need_s, PRIORITY_END, fcfs_done,
              NULL, number);
}

static double ps_speed(const struct station *st)
{
    return fmin(1, (double)st->spec.servers / (double)st->sharing_count);
}

static void ps_update(struct tw_sim *s, struct station *st)
{
    if (st->sharing_count > 0)
        st->virtual_s += (s->now_s - st->seen_s) * ps_speed(st);
    st->seen_s = s->now_s;
}

static void ps_done(struct tw_sim *s, void *arg, int64_t epoch);

static void ps_expect(struct tw_sim *s, struct station *st)
{
    const struct job *next;
    double left_s;

    st->epoch++;
    st->busy =
        (int)(st->sharing_count < (size_t)st->spec.servers ? st->sharing_count
                                                           : (size_t)st->spec.servers);
    if (st->sharing_count == 0)
        return;
    next = &s->network->jobs[st->sharing[st->sharing_count - 1]];
    left_s = fmax(0, next->need_s - st->virtual_s) / ps_speed(st);
    /* The station's number rather than its address: the array may still grow. */
    tw_sim_at(s, s->now_s + left_s, PRIORITY_END, ps_done, NULL,
              st->epoch * (int64_t)s->network->stations.count +
                  (st - s->network->stations.items));
}

static void ps_done(struct tw_sim *s, void *arg, int64_t epoch_and_station)
{
    int64_t stations = (int64_t)s->network->stations.count;
    struct station *st = &s->network->stations.items[epoch_and_station % stations];
    int64_t number;

    (void)arg;
    if (epoch_and_station / stations != st->epoch)
        return; /* overtaken by an arrival */
    account(s, st);
    ps_update(s, st);
    number = st->sharing[--st->sharing_count];
    st->virtual_s = s->network->jobs[number].need_s; /* exactly, rounding aside */
    ps_expect(s, st);
    finish(s, number);
}

static void ps_enter(struct tw_sim *s, struct station *st, int64_t number)
{
    struct job *jobs = s->network->jobs;
    size_t i = st->sharing_count;

    if (st->sharing_count == st->sharing_room) {
        st->sharing_room = st->sharing_room ? 2 * st->sharing_room : 16;
        st->sharing =
            tw_realloc_array(st->sharing, st->sharing_room, sizeof *st->sharing);
    }
    ps_update(s, st);
    jobs[number].need_s += st->virtual_s;
    for (; i > 0 && jobs[st->sharing[i - 1]].need_s <= jobs[number].need_s; i--)
        st->sharing[i] = st->sharing[i - 1];
    st->sharing[i] = number;
    st->sharing_count++;
    ps_expect(s, st);
}

const char *const tw_sim_discipline_names[TW_SIM_DISCIPLINE_COUNT] = {
    [TW_SIM_FCFS] = "first come, first served",
    [TW_SIM_PS] = "processor sharing",
    [TW_SIM_DELAY] = "delay",
};
static void (*const enters[TW_SIM_DISCIPLINE_COUNT])(struct tw_sim *, struct station *,
                                                     int64_t) = {
    [TW_SIM_FCFS] = fcfs_enter,
    [TW_SIM_PS] = ps_enter,
    [TW_SIM_DELAY] = delay_enter,
};

/* ---- the way of a job ---- */

static void enter(struct tw_sim *s, int station, int64_t number)
{
    struct station *st = &s->network->stations.items[station];
    struct job *job = &s->network->jobs[number];

    account(s, st);
    job->station = station;
    job->arrived_s = s->now_s;
    job->need_s = tw_sim_draw(&st->spec.service, &s->rng);
    st->arrivals++;
    st->present++;
    enters[st->spec.discipline](s, st, number);
}

static void begin(struct tw_sim *s, int64_t number)
{
    enter(s, s->network->sources.items[s->network->jobs[number].source].spec.station,
          number);
}

/* Hands free tokens to those who wait, sending away who waited too long. */
static void pool_serve(struct tw_sim *s, struct pool *pool)
{
    while (pool->free_tokens > 0 && pool->waiting.count > 0) {
        int64_t number = fifo_pop(&pool->waiting);
        const struct job *job = &s->network->jobs[number];

        if (s->now_s - job->born_s > pool->timeout_s) { /* never for NaN */
            s->network->sources.items[job->source].errors++;
            job_free(s->network, number);
            continue;
        }
        pool->free_tokens--;
        begin(s, number);
    }
}

static int route(struct tw_sim *s, const struct station *st)
{
    double left;

    if (st->next_count == 0)
        return -1;
    left = tw_rng_uniform(&s->rng);
    for (size_t i = 0; i < st->next_count; i++) {
        left -= st->next[i];
        if (left < 0)
            return (int)i;
    }
    return -1;
}

static void leave(struct tw_sim *s, int64_t number)
{
    struct sim_network *n = s->network;
    int next = route(s, &n->stations.items[n->jobs[number].station]);
    struct job job = n->jobs[number];

    if (next >= 0) {
        enter(s, next, number);
        return;
    }
    job_free(n, number);
    if (job.source >= 0) {
        struct source *source = &n->sources.items[job.source];

        source->done++;
        tw_hist_record(source->latency, (int64_t)((s->now_s - job.born_s) * 1e9));
        if (source->spec.pool >= 0) {
            n->pools.items[source->spec.pool].free_tokens++;
            pool_serve(s, &n->pools.items[source->spec.pool]);
        }
    }
}

static void arrive(struct tw_sim *s, void *arg, int64_t source_number)
{
    struct sim_network *n = s->network;
    struct source *source = &n->sources.items[source_number];
    int64_t number =
        job_new(n, &(struct job){.born_s = s->now_s, .source = (int)source_number});

    (void)arg;
    source->arrivals++;
    tw_sim_at(s, s->now_s + tw_rng_exp(&s->rng, 1 / source->spec.rate_per_s),
              PRIORITY_ARRIVE, arrive, NULL, source_number);
    if (source->spec.pool < 0) {
        begin(s, number);
        return;
    }
    fifo_push(&n->pools.items[source->spec.pool].waiting, number);
    pool_serve(s, &n->pools.items[source->spec.pool]);
}

/* ---- making it ---- */

int tw_sim_station_add(struct tw_sim *s, const struct tw_sim_station *station)
{
    struct sim_network *n = s->network;

    assert(station->servers > 0 || station->discipline == TW_SIM_DELAY);
    assert(s->heap.count == 0); /* numbers in events count stations */
    APPEND(&n->stations, (struct station){.spec = *station, .sojourn = tw_hist_new()});
    return (int)n->stations.count - 1;
}

void tw_sim_route(struct tw_sim *s, int from, int to, double probability)
{
    struct station *st = &s->network->stations.items[from];
    size_t count = s->network->stations.count;

    assert((size_t)from < count && (size_t)to < count && probability >= 0 &&
           probability <= 1);
    if (st->next_count < count) {
        st->next = tw_realloc_array(st->next, count, sizeof *st->next);
        for (size_t i = st->next_count; i < count; i++)
            st->next[i] = 0;
        st->next_count = count;
    }
    st->next[to] = probability;
}

int tw_sim_pool_add(struct tw_sim *s, int tokens, double timeout_s)
{
    assert(tokens > 0);
    APPEND(&s->network->pools,
           (struct pool){.free_tokens = tokens, .timeout_s = timeout_s});
    return (int)s->network->pools.count - 1;
}

int tw_sim_source_add(struct tw_sim *s, const struct tw_sim_source *source)
{
    struct sim_network *n = s->network;
    int number = (int)n->sources.count;

    assert(source->rate_per_s > 0 && (size_t)source->station < n->stations.count);
    APPEND(&n->sources, (struct source){.spec = *source, .latency = tw_hist_new()});
    tw_sim_at(s, s->now_s + tw_rng_exp(&s->rng, 1 / source->rate_per_s), PRIORITY_ARRIVE,
              arrive, NULL, number);
    return number;
}

void tw_sim_jobs_put(struct tw_sim *s, int station, int count)
{
    for (int i = 0; i < count; i++)
        enter(s, station,
              job_new(s->network, &(struct job){.born_s = s->now_s, .source = -1}));
}

/* ---- what was counted ---- */

void tw_sim_forget(struct tw_sim *s)
{
    for (size_t i = 0; i < s->network->stations.count; i++) {
        struct station *st = &s->network->stations.items[i];

        st->arrivals = st->done = 0;
        st->busy_s = st->jobs_s = 0;
        st->since_s = st->changed_s = s->now_s;
        tw_hist_clear(st->sojourn);
    }
    for (size_t i = 0; i < s->network->sources.count; i++) {
        struct source *source = &s->network->sources.items[i];

        source->arrivals = source->done = source->errors = 0;
        tw_hist_clear(source->latency);
    }
}

struct tw_sim_station_stats tw_sim_station_stats(const struct tw_sim *s, int station)
{
    const struct station *st = &s->network->stations.items[station];
    double span_s = s->now_s - st->since_s, open_s = s->now_s - st->changed_s;

    return (struct tw_sim_station_stats){
        .arrivals = st->arrivals,
        .done = st->done,
        .busy = (st->busy_s + st->busy * open_s) / span_s,
        .jobs = (st->jobs_s + (double)st->present * open_s) / span_s,
        .sojourn = st->sojourn,
    };
}

struct tw_sim_source_stats tw_sim_source_stats(const struct tw_sim *s, int source)
{
    const struct source *so = &s->network->sources.items[source];

    return (struct tw_sim_source_stats){so->arrivals, so->done, so->errors, so->latency};
}
