#include "sim/sim_internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* ---- one server, Lindley 1952: F(n) = max(a(n), F(n-1)) + S(n) ---- */

struct lindley {
    double free_s; /* when the server is free */
};

static void *lindley_make(const struct tw_sim_queue_spec *spec)
{
    (void)spec;
    return tw_alloc(sizeof(struct lindley));
}

static void lindley_serve(struct tw_sim_queue *q, size_t n)
{
    struct lindley *l = q->state;
    double free_s = l->free_s, delay_s = q->spec.delay_s;

    assert(q->out == 0);
    for (size_t i = 0; i < n; i++) {
        double at = q->arrival_s[i];

        free_s = (free_s > at ? free_s : at) + q->need_s[i];
        q->latency_s[i] = free_s - at + delay_s;
    }
    l->free_s = free_s;
    sim_queue_out_all(q, n);
}

/* What arrived is already recorded. */
static void fcfs_until(struct tw_sim_queue *q, double time_s)
{
    (void)q;
    (void)time_s;
}

static double lindley_backlog(const struct tw_sim_queue *q)
{
    const struct lindley *l = q->state;

    return fmax(0, l->free_s - q->now_s) / q->service_s;
}

static void lindley_backlog_set(struct tw_sim_queue *q, double requests)
{
    struct lindley *l = q->state;

    l->free_s = q->now_s + requests * q->service_s;
}

static void lindley_restart(struct tw_sim_queue *q)
{
    *(struct lindley *)q->state = (struct lindley){0};
}

const struct sim_kernel sim_kernel_lindley = {
    .name = "lindley",
    .make = lindley_make,
    .destroy = free,
    .serve = lindley_serve,
    .until = fcfs_until,
    .backlog = lindley_backlog,
    .backlog_set = lindley_backlog_set,
    .restart = lindley_restart,
};

/* ---- several servers and a pool of tokens, Kiefer & Wolfowitz 1955 ----
 * server_s: when each server is free, ascending; token_s: when each token is back, a
 * ring, ascending from head. Both take the first and put the new time where it belongs.
 */

struct tokens {
    int servers, pool;
    size_t head;
    double *server_s, *token_s;
};

static void *tokens_make(const struct tw_sim_queue_spec *spec)
{
    struct tokens *t = tw_alloc(sizeof *t);

    t->servers = spec->servers;
    t->pool = spec->pool;
    t->server_s = tw_alloc((size_t)t->servers * sizeof *t->server_s);
    t->token_s = tw_alloc((size_t)(t->pool ? t->pool : 1) * sizeof *t->token_s);
    return t;
}

static void tokens_destroy(void *state)
{
    struct tokens *t = state;

    free(t->server_s);
    free(t->token_s);
    free(t);
}

static inline void server_put(double *server_s, int servers, double free_s)
{
    int i = 0;

    for (; i + 1 < servers && server_s[i + 1] < free_s; i++)
        server_s[i] = server_s[i + 1];
    server_s[i] = free_s;
}

/* The token at the head was taken; its place becomes the tail. */
static inline void token_put(struct tokens *t, double back_s)
{
    size_t pool = (size_t)t->pool, at = t->head;

    t->head = at + 1 == pool ? 0 : at + 1;
    while (at != t->head) {
        size_t previous = at == 0 ? pool - 1 : at - 1;

        if (t->token_s[previous] <= back_s)
            break;
        t->token_s[at] = t->token_s[previous];
        at = previous;
    }
    t->token_s[at] = back_s;
}

static void tokens_serve(struct tw_sim_queue *q, size_t n)
{
    struct tokens *t = q->state;
    double delay_s = q->spec.delay_s, timeout_s = q->spec.timeout_s;
    bool pooled = t->pool > 0;

    assert(q->out == 0);
    for (size_t i = 0; i < n; i++) {
        double at = q->arrival_s[i], start_s = at;

        if (pooled && t->token_s[t->head] > at) {
            start_s = t->token_s[t->head];
            q->tally.queued++;
            if (start_s - at > timeout_s) { /* never for NaN */
                q->tally.errors++;
                q->latency_s[i] = timeout_s;
                continue;
            }
        }
        start_s = (t->server_s[0] > start_s ? t->server_s[0] : start_s) + q->need_s[i];
        server_put(t->server_s, t->servers, start_s);
        start_s += delay_s;
        if (pooled)
            token_put(t, start_s);
        q->latency_s[i] = start_s - at;
    }
    sim_queue_out_all(q, n);
}

static double tokens_backlog(const struct tw_sim_queue *q)
{
    const struct tokens *t = q->state;
    double work_s = 0;

    for (int i = 0; i < t->servers; i++)
        work_s += fmax(0, t->server_s[i] - q->now_s);
    return work_s / q->service_s;
}

static void tokens_backlog_set(struct tw_sim_queue *q, double requests)
{
    struct tokens *t = q->state;
    double each_s = q->service_s / t->servers;

    for (int i = 0; i < t->servers; i++)
        t->server_s[i] = q->now_s + requests * each_s;
    t->head = 0;
    for (int i = 0; i < t->pool; i++)
        t->token_s[i] = q->now_s + fmax(0, requests - t->pool + i + 1) * each_s +
                        (requests > 0 ? q->spec.delay_s : 0);
}

static void tokens_restart(struct tw_sim_queue *q)
{
    struct tokens *t = q->state;

    t->head = 0;
    for (int i = 0; i < t->servers; i++)
        t->server_s[i] = 0;
    for (int i = 0; i < t->pool; i++)
        t->token_s[i] = 0;
}

const struct sim_kernel sim_kernel_tokens = {
    .name = "kiefer-wolfowitz with tokens",
    .make = tokens_make,
    .destroy = tokens_destroy,
    .serve = tokens_serve,
    .until = fcfs_until,
    .backlog = tokens_backlog,
    .backlog_set = tokens_backlog_set,
    .restart = tokens_restart,
};
