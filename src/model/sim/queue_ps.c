#include "sim/sim_internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Processor sharing in virtual time: every job in service has received the same since it
 * came, so the next to finish is the one with the smallest V(arrival) + S, and V runs at
 * min(1, c/k). Tokens are held through the constant delay; they come back in the order in
 * which service ended, so a ring keeps them. */

struct sharing_job {
    double done_at; /* virtual */
    double came_s;  /* arrival, before any wait for a token */
    uint8_t mark;
};
struct waiting_job {
    double came_s, need_s;
    uint8_t mark;
};

struct sharing {
    size_t tokens; /* SIZE_MAX: no bound */
    size_t jobs_room, jobs_count;
    struct sharing_job *jobs; /* by done_at, the next to finish last */
    double *slow;             /* by number of jobs: real seconds per virtual second */
    double *speed;            /* its inverse */
    double virtual_s, seen_s;
    double *back_s; /* tokens in the delay: ring of jobs_room */
    size_t back_head, back_count;
    struct waiting_job *wait; /* ring of a power of two */
    size_t wait_head, wait_count, wait_room;
};

static void rooms_fill(struct sharing *p, size_t from, int servers)
{
    for (size_t k = from; k <= p->jobs_room; k++) {
        p->slow[k] = k <= (size_t)servers ? 1 : (double)k / servers;
        p->speed[k] = 1 / p->slow[k];
    }
}

static void *ps_make(const struct tw_sim_queue_spec *spec)
{
    struct sharing *p = tw_alloc(sizeof *p);

    p->tokens = spec->pool > 0 ? (size_t)spec->pool : SIZE_MAX;
    p->jobs_room = spec->pool > 0 ? (size_t)spec->pool : 64;
    p->jobs = tw_realloc_array(NULL, p->jobs_room + 1, sizeof *p->jobs);
    p->slow = tw_realloc_array(NULL, p->jobs_room + 1, sizeof *p->slow);
    p->speed = tw_realloc_array(NULL, p->jobs_room + 1, sizeof *p->speed);
    p->back_s = tw_realloc_array(NULL, p->jobs_room + 1, sizeof *p->back_s);
    rooms_fill(p, 0, spec->servers);
    p->wait_room = 64;
    p->wait = tw_realloc_array(NULL, p->wait_room, sizeof *p->wait);
    return p;
}

static void ps_destroy(void *state)
{
    struct sharing *p = state;

    free(p->jobs);
    free(p->slow);
    free(p->speed);
    free(p->back_s);
    free(p->wait);
    free(p);
}

/* Only without a bound on the pool. */
static void jobs_grow(struct sharing *p, int servers)
{
    size_t from = p->jobs_room + 1;

    p->jobs_room *= 2;
    p->jobs = tw_realloc_array(p->jobs, p->jobs_room + 1, sizeof *p->jobs);
    p->slow = tw_realloc_array(p->slow, p->jobs_room + 1, sizeof *p->slow);
    p->speed = tw_realloc_array(p->speed, p->jobs_room + 1, sizeof *p->speed);
    rooms_fill(p, from, servers);
}

static void wait_push(struct sharing *p, double came_s, double need_s, uint8_t mark)
{
    if (p->wait_count == p->wait_room) {
        struct waiting_job *more = tw_realloc_array(NULL, 2 * p->wait_room, sizeof *more);
        size_t straight = p->wait_room - p->wait_head;

        memcpy(more, p->wait + p->wait_head, straight * sizeof *more);
        memcpy(more + straight, p->wait, p->wait_head * sizeof *more);
        free(p->wait);
        p->wait = more;
        p->wait_head = 0;
        p->wait_room *= 2;
    }
    p->wait[(p->wait_head + p->wait_count++) & (p->wait_room - 1)] =
        (struct waiting_job){came_s, need_s, mark};
}

/* The clock of the station stands at the moment of admission. Few jobs: step from the
 * end; many: look for the place first. */
static inline void admit(struct tw_sim_queue *q, struct sharing *p, double came_s,
                         double need_s, uint8_t mark)
{
    double done_at = p->virtual_s + need_s;
    size_t i = p->jobs_count, low = 0;

    if (i == p->jobs_room)
        jobs_grow(p, q->spec.servers);
    if (i > 32) {
        for (size_t high = i; low < high;) {
            size_t middle = (low + high) / 2;

            if (p->jobs[middle].done_at > done_at)
                low = middle + 1;
            else
                high = middle;
        }
        memmove(p->jobs + low + 1, p->jobs + low, (i - low) * sizeof *p->jobs);
        i = low;
    } else {
        for (; i > 0 && p->jobs[i - 1].done_at <= done_at; i--)
            p->jobs[i] = p->jobs[i - 1];
    }
    p->jobs[i] = (struct sharing_job){done_at, came_s, mark};
    p->jobs_count++;
}

static bool admit_waiting(struct tw_sim_queue *q, struct sharing *p)
{
    while (p->wait_count > 0) {
        struct waiting_job next = p->wait[p->wait_head];

        p->wait_head = (p->wait_head + 1) & (p->wait_room - 1);
        p->wait_count--;
        if (p->seen_s - next.came_s > q->spec.timeout_s) { /* never for NaN */
            q->tally.errors++;
            sim_queue_out(q, q->spec.timeout_s, next.mark);
            continue;
        }
        admit(q, p, next.came_s, next.need_s, next.mark);
        return true;
    }
    return false;
}

static inline void back_pop(struct sharing *p)
{
    p->back_head = p->back_head + 1 == p->jobs_room ? 0 : p->back_head + 1;
    p->back_count--;
}

static inline void back_push(struct sharing *p, double back_s)
{
    size_t at = p->back_head + p->back_count++;

    p->back_s[at >= p->jobs_room ? at - p->jobs_room : at] = back_s;
}

/* The first job finishes at time_s. */
static inline void complete(struct tw_sim_queue *q, struct sharing *p, double time_s)
{
    const struct sharing_job *job = &p->jobs[--p->jobs_count];
    double delay_s = q->spec.delay_s;

    p->virtual_s = job->done_at;
    p->seen_s = time_s;
    sim_queue_out(q, time_s + delay_s - job->came_s, job->mark);
    if (p->tokens == SIZE_MAX)
        return;
    if (delay_s > 0)
        back_push(p, time_s + delay_s);
    else if (p->wait_count > 0)
        admit_waiting(q, p);
}

static inline double next_done(const struct sharing *p)
{
    if (p->jobs_count == 0)
        return INFINITY;
    return p->seen_s +
           (p->jobs[p->jobs_count - 1].done_at - p->virtual_s) * p->slow[p->jobs_count];
}

/* The slow way, while somebody waits for a token: tokens coming back are events too. */
static void until_while_waiting(struct tw_sim_queue *q, struct sharing *p, double time_s)
{
    while (p->wait_count > 0) {
        double done_s = next_done(p);
        double back_s = p->back_count ? p->back_s[p->back_head] : INFINITY;

        if (fmin(done_s, back_s) > time_s || (isinf(done_s) && isinf(back_s)))
            return;
        if (done_s <= back_s) {
            complete(q, p, done_s);
            continue;
        }
        p->virtual_s += (back_s - p->seen_s) * p->speed[p->jobs_count];
        p->seen_s = back_s;
        back_pop(p);
        admit_waiting(q, p);
    }
}

static inline void run_until(struct tw_sim_queue *q, struct sharing *p, double time_s)
{
    if (p->wait_count > 0)
        until_while_waiting(q, p, time_s);
    for (double done_s = next_done(p); done_s <= time_s && p->jobs_count > 0;
         done_s = next_done(p))
        complete(q, p, done_s);
    if (isinf(time_s))
        return;
    p->virtual_s += (time_s - p->seen_s) * p->speed[p->jobs_count];
    p->seen_s = time_s;
}

static inline bool token_free(struct sharing *p, double time_s)
{
    if (p->wait_count > 0)
        return false;
    if (p->jobs_count + p->back_count < p->tokens)
        return true;
    while (p->back_count > 0 && p->back_s[p->back_head] <= time_s)
        back_pop(p);
    return p->jobs_count + p->back_count < p->tokens;
}

static void ps_serve(struct tw_sim_queue *q, size_t n)
{
    struct sharing *p = q->state;

    for (size_t i = 0; i < n; i++) {
        double at = q->arrival_s[i];

        run_until(q, p, at);
        if (token_free(p, at)) {
            admit(q, p, at, q->need_s[i], q->mark[i]);
        } else {
            q->tally.queued++;
            wait_push(p, at, q->need_s[i], q->mark[i]);
        }
    }
}

static void ps_until(struct tw_sim_queue *q, double time_s)
{
    struct sharing *p = q->state;

    run_until(q, p, time_s);
    if (p->jobs_count == 0)
        p->virtual_s = 0; /* keeps its digits over long horizons */
}

static double ps_backlog(const struct tw_sim_queue *q)
{
    const struct sharing *p = q->state;

    return (double)(p->jobs_count + p->wait_count);
}

/* Those in service count as requests already; the rest waits, having come evenly until
 * now. */
static void ps_backlog_set(struct tw_sim_queue *q, double requests)
{
    struct sharing *p = q->state;
    size_t n = (size_t)requests;

    p->jobs_count = p->wait_count = p->back_count = 0;
    p->virtual_s = 0;
    p->seen_s = q->now_s;
    for (size_t i = 0; i < n; i++) {
        double came_s = q->now_s - (isfinite(q->gap_s) ? (double)(n - i) * q->gap_s : 0);

        if (p->jobs_count < p->tokens)
            admit(q, p, came_s, sim_queue_need(q), 0);
        else
            wait_push(p, came_s, sim_queue_need(q), 0);
    }
}

static void ps_restart(struct tw_sim_queue *q)
{
    struct sharing *p = q->state;

    p->jobs_count = p->wait_count = p->back_count = 0;
    p->virtual_s = p->seen_s = 0;
}

const struct sim_kernel sim_kernel_ps = {
    .name = "processor sharing",
    .make = ps_make,
    .destroy = ps_destroy,
    .serve = ps_serve,
    .until = ps_until,
    .backlog = ps_backlog,
    .backlog_set = ps_backlog_set,
    .restart = ps_restart,
};
