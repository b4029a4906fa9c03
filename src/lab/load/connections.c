/* Many connections at once, idle ones, and an idle ladder: how long may a connection rest and
 * still work? Both ends of the wire.
 *
 * Connections are strict here: what a client would mend in silence is told. */
#include "generator_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_USE_NS (5 * TW_SEC_NS)
#define ANSWER_NS    (5 * TW_SEC_NS)
#define ALL_MAX      100000

const char *const tw_load_rung_names[] = {"not tried", "worked", "closed", "failed"};

/* ---- in the generator ---- */

struct rung {
    double idle_s;
    struct load_conn *conn;
    int64_t since_ns; /* idle since */
    bool tried, used; /* within the bound; the second use is under way or over */
    enum tw_load_rung_result result;
    double closed_s;
};
struct ladder {
    struct rung *rungs;
    size_t count;
    int64_t bound_ns;
};

static void first_uses(struct load_generator *g, struct load_slot *s, struct ladder *l)
{
    int64_t deadline = tw_now_ns() + FIRST_USE_NS;
    size_t busy = 0;

    for (size_t i = 0; i < l->count; i++)
        if (l->rungs[i].tried && l->rungs[i].conn->state == LOAD_IDLE)
            load_generator_use(g, s, l->rungs[i].conn,
                               load_program_pick(g->program, &s->rng), tw_now_ns());
    do {
        busy = 0;
        for (size_t i = 0; i < l->count; i++)
            busy += l->rungs[i].conn->requested;
        if (busy > 0)
            load_generator_wait(
                g, s, load_generator_wake(g, s, 0, g->connections, deadline), false);
    } while (busy > 0 && tw_now_ns() < deadline);
    for (size_t i = 0; i < l->count; i++)
        l->rungs[i].since_ns = tw_now_ns();
}

/* What became of a connection; true: it is settled. */
static bool settle(struct rung *r)
{
    const struct load_conn *c = r->conn;

    if (!r->used && c->state == LOAD_CLOSED) {
        r->result = TW_RUNG_CLOSED;
        r->closed_s = c->lost_ns > r->since_ns ? tw_seconds(c->lost_ns - r->since_ns) : 0;
        return true;
    }
    if (!r->used || c->requested)
        return false;
    r->result = c->last == LOAD_ANSWERED ? TW_RUNG_WORKED : TW_RUNG_FAILED;
    return true;
}

static void second_use(struct load_generator *g, struct load_slot *s, struct rung *r,
                       int64_t now_ns)
{
    r->used = true;
    r->conn->fault = (struct load_fault){0};
    load_generator_use(g, s, r->conn, load_program_pick(g->program, &s->rng), now_ns);
}

static void climb(struct load_generator *g, struct load_slot *s, struct ladder *l)
{
    int64_t begin = tw_now_ns(), end = begin + l->bound_ns + ANSWER_NS, now, next;
    bool open = true;

    while (open && (now = tw_now_ns()) < end) {
        open = false;
        next = end;
        for (size_t i = 0; i < l->count; i++) {
            struct rung *r = &l->rungs[i];
            int64_t due = r->since_ns + (int64_t)(r->idle_s * 1e9);

            if (!r->tried || r->result != TW_RUNG_NOT_TRIED || settle(r))
                continue;
            if (!r->used && due <= now)
                second_use(g, s, r, now);
            if (!r->used && due < next)
                next = due;
            open = true;
        }
        if (open)
            load_generator_wait(g, s, load_generator_wake(g, s, 0, g->connections, next),
                                false);
    }
    for (size_t i = 0; i < l->count; i++) {
        struct rung *r = &l->rungs[i];

        if (!r->tried || r->result != TW_RUNG_NOT_TRIED || settle(r))
            continue;
        r->result = TW_RUNG_FAILED;
        r->conn->requested = false;
        load_fault_set(&r->conn->fault, "timeout", "no answer after it was idle");
    }
}

static void run_ladder(struct load_generator *g, struct load_slot *s, struct ladder *l,
                       struct tw_buf *b)
{
    if (l->count > 0) {
        load_generator_open(g, s->arm, g->connections, tw_now_ns() + FIRST_USE_NS);
        first_uses(g, s, l);
        climb(g, s, l);
    }
    for (size_t i = 0; i < l->count; i++) {
        const struct rung *r = &l->rungs[i];
        bool told = r->result == TW_RUNG_CLOSED || r->result == TW_RUNG_FAILED;

        load_put_real(b, r->idle_s);
        load_put_int(b, r->result);
        load_put_real(b, r->closed_s);
        load_put_text(b, told ? r->conn->fault.code : NULL);
        load_put_text(b, told ? r->conn->fault.text : NULL);
    }
}

static void put_outcome(struct load_generator *g, const struct load_slot *s, int code,
                        size_t first_idle, size_t idle, struct tw_buf *b)
{
    tw_auto_free void *flat = tw_alloc(TW_HIST_FLAT_MAX);
    size_t len = tw_hist_encode(g->latency, flat, TW_HIST_FLAT_MAX), closed = 0;

    for (size_t i = first_idle; i < first_idle + idle; i++)
        closed += s->arm->conns[i].state == LOAD_CLOSED && s->arm->conns[i].lost_ns > 0;
    load_put_int(b, code);
    load_put_int(b, (int64_t)closed);
    tw_buf_add(b, &s->result, sizeof s->result);
    load_put_bytes(b, flat, len);
}

int load_generator_connections(struct load_generator *g, struct tw_buf *payload)
{
    struct load_reader r = {.at = payload->data, .end = payload->data + payload->len};
    struct load_slot s = {.order.arm = (enum tw_arm)load_get_int(&r)};
    size_t clients, idle, len;
    const char *rungs;
    struct ladder ladder = {0};
    tw_auto_buf b = {0};
    int code = 0;

    clients = (size_t)load_get_int(&r);
    idle = (size_t)load_get_int(&r);
    s.order.length_ns = load_get_int(&r);
    s.order.seed = (uint64_t)load_get_int(&r);
    ladder.bound_ns = load_get_int(&r);
    rungs = load_get_bytes(&r, &len);
    ladder.count = len / sizeof(double);
    if (r.bad || s.order.arm >= TW_ARM_COUNT || clients > g->connections ||
        idle + ladder.count > g->connections - clients)
        return -EBADMSG;
    s.arm = &g->arms[s.order.arm];
    s.order.rate_per_s = NAN;
    s.order.clients = (int)clients;
    s.order.settle_s = 1;
    for (size_t i = 0; i < g->connections; i++)
        s.arm->conns[i].strict = true;
    ladder.rungs = tw_arena_alloc(g->arena, (ladder.count + 1) * sizeof *ladder.rungs);
    for (size_t i = 0; i < ladder.count; i++) {
        struct rung *rung = &ladder.rungs[i];

        memcpy(&rung->idle_s, rungs + i * sizeof(double), sizeof(double));
        rung->conn = &s.arm->conns[clients + idle + i];
        rung->tried = rung->idle_s * 1e9 <= (double)ladder.bound_ns;
        rung->closed_s = NAN;
    }

    if (clients > 0 && s.order.length_ns > 0)
        code = load_generator_slot(g, &s);
    tw_buf_init(&b, LOAD_MSG_MAX);
    put_outcome(g, &s, code, clients, idle, &b);
    s.clients = 0;
    run_ladder(g, &s, &ladder, &b);
    load_generator_put_failures(g, &b);
    return load_message_send(g->wire, LOAD_MSG_RESULT, &b, 0);
}

/* ---- at the caller's ---- */

static void read_rungs(struct tw_arena *a, struct load_reader *r, size_t count,
                       struct tw_load_connections *ret)
{
    for (size_t i = 0; i < count; i++) {
        struct tw_load_rung rung = {.idle_s = load_get_real(r)};

        rung.result = (enum tw_load_rung_result)load_get_int(r);
        rung.closed_s = load_get_real(r);
        rung.code = load_get_text(r, a);
        rung.text = load_get_text(r, a);
        TW_PUSH(a, &ret->rungs, rung);
    }
}

static int read_outcome(struct load_reader *r, struct tw_load_connections *ret,
                        struct tw_err *err)
{
    tw_auto(tw_hist) *latency = tw_hist_new();
    struct load_result result;
    const void *flat;
    size_t len;
    int code = (int)load_get_int(r);

    ret->idle_closed = (int)load_get_int(r);
    if (r->bad || (size_t)(r->end - r->at) < sizeof result)
        return tw_fail(err, -EBADMSG, "the load generator gave half an answer");
    memcpy(&result, r->at, sizeof result);
    r->at += sizeof result;
    flat = load_get_bytes(r, &len);
    if (len)
        (void)tw_hist_decode(latency, flat, len);
    ret->done = result.done;
    ret->errors = result.errors;
    ret->late = result.late;
    ret->throughput_per_s =
        result.length_ns > 0 ? (double)result.done / tw_seconds(result.length_ns) : NAN;
    ret->p50_s = tw_hist_quantile(latency, 0.5);
    ret->p95_s = tw_hist_quantile(latency, 0.95);
    ret->p99_s = tw_hist_quantile(latency, 0.99);
    return code < 0 ? tw_fail_errno(err, -code, "many connections at once") : 0;
}

static void put_order(const struct tw_load_connections_order *o, struct tw_buf *b)
{
    load_put_int(b, o->arm);
    load_put_int(b, o->clients);
    load_put_int(b, o->idle);
    load_put_int(b, (int64_t)(o->hold_s * 1e9));
    load_put_int(b, (int64_t)o->seed);
    load_put_int(b, (int64_t)(o->bound_s * 1e9));
    load_put_bytes(b, o->rungs_s, o->rung_count * sizeof *o->rungs_s);
}

static int ask_connections(struct tw_arena *a, struct tw_load *load,
                           const struct tw_load_connections_order *order,
                           struct tw_load_connections *ret, struct tw_err *err)
{
    int64_t patience = (int64_t)((order->hold_s + order->bound_s) * 1e9) + 60 * TW_SEC_NS;
    struct load_reader reader;
    tw_auto_buf b = {0};
    int r;

    tw_buf_init(&b, 1 << 20);
    put_order(order, &b);
    ret->opened = load_opened(load, order->arm, &ret->open_s);
    r = load_ask(load, LOAD_MSG_CONNECTIONS, &b, tw_now_ns() + patience, &reader, err);
    if (r >= 0)
        r = read_outcome(&reader, ret, err);
    if (r < 0)
        return r;
    read_rungs(a, &reader, order->rung_count, ret);
    load_keep_failures(load, &reader);
    return tw_load_failures(load, a, &ret->failures, err);
}

int tw_load_connections(struct tw_arena *a, const struct tw_load_spec *spec,
                        const struct tw_load_connections_order *order,
                        struct tw_load_connections *ret, struct tw_err *err)
{
    struct tw_load_connections outcome = {.asked = order->clients + order->idle +
                                                   (int)order->rung_count};
    struct tw_load_spec one = *spec;
    struct tw_load *load;
    int r;

    if (order->clients < 0 || order->idle < 0 || outcome.asked < 1 ||
        outcome.asked > ALL_MAX || !(order->hold_s >= 0 && order->bound_s >= 0))
        return tw_fail(err, -EINVAL,
                       "1..%d connections for a time that is known are needed", ALL_MAX);
    one.connections = outcome.asked;
    for (size_t i = 0; i < TW_ARM_COUNT; i++)
        one.conninfo[i] = i == order->arm ? spec->conninfo[i] : NULL;
    r = tw_load_open(&one, &load, err);
    if (r < 0)
        return r;
    r = ask_connections(a, load, order, &outcome, err);
    tw_load_close(load);
    if (r < 0)
        return r;
    *ret = outcome;
    return 0;
}
