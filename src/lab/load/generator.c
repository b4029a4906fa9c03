/* The process that sends. It holds the connections to both arms, is told slot by slot
 * what to do, and answers with what it saw.
 *
 * A request is due at its intended start. An idle connection takes the next one that is
 * due; when all are busy it waits, and its latency counts from the intended start all the
 * same. The process sleeps until shortly before a start and looks at its sockets without
 * sleeping for the rest: how long before, it learns from how late it was woken. */
#include "generator_internal.h"

#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define WIRE_FD         3
#define EVENTS          64
#define OPEN_NS         (10 * TW_SEC_NS)
#define OPEN_LATER_NS   (3 * TW_SEC_NS) /* at least, of an arm that opens beside one that did */
#define REOPEN_NS       (100 * TW_MSEC_NS) /* a connection that was lost is tried again */
#define CANCEL_NS       (2 * TW_SEC_NS)
#define MARGIN_MOST_NS  INT64_C(100000)
#define MARGIN_FIRST_NS INT64_C(50000)
#define MARGIN_STEP_NS  INT64_C(1000)
#define MARGIN_QUANTILE 60

/* ---- drivers ---- */

const struct load_driver *load_driver_find(const char *name)
{
#define ROW(driver) &load_driver_##driver,
    static const struct load_driver *const drivers[] = {TW_LOAD_LIST(ROW)};
#undef ROW

    for (size_t i = 0; i < TW_COUNT_OF(drivers); i++)
        if (tw_streq(drivers[i]->name, name))
            return drivers[i];
    return NULL;
}

/* ---- failures ---- */

static void count_failure(struct load_generator *g, enum tw_arm arm, const char *code,
                          const char *text)
{
    struct load_failed *f;

    for (size_t i = 0; i < g->failure_count; i++) {
        f = &g->failures[i];
        if (f->arm == arm && !strcmp(f->fault.code, code) &&
            !strcmp(f->fault.text, text)) {
            f->count++;
            return;
        }
    }
    if (g->failure_count == FAILURES) {
        g->failures[FAILURES - 1].count++; /* more kinds than anybody reads */
        return;
    }
    f = &g->failures[g->failure_count++];
    *f = (struct load_failed){.arm = arm, .count = 1};
    load_fault_set(&f->fault, code, text);
}

static void conn_failure(struct load_generator *g, const struct load_arm *arm,
                         const struct load_conn *c)
{
    count_failure(g, (enum tw_arm)(arm - g->arms), c->fault.code, c->fault.text);
}

/* ---- connections ---- */

/* Tells the kernel what the driver waits for. While a connection is being made libpq may
 * close its socket and open another with the same number, so there nothing is taken for
 * granted. */
static void watch(struct load_arm *arm, struct load_conn *c)
{
    struct epoll_event e = {.events = c->events, .data.ptr = c};

    if (c->fd < 0) {
        c->watched_fd = -1;
        return;
    }
    if (c->fd == c->watched_fd && c->events == c->watched_events && !c->renewed &&
        c->state != LOAD_OPENING)
        return;
    c->renewed = false;
    if (epoll_ctl(arm->epoll, EPOLL_CTL_MOD, c->fd, &e) != 0)
        (void)epoll_ctl(arm->epoll, EPOLL_CTL_ADD, c->fd, &e);
    c->watched_fd = c->fd;
    c->watched_events = c->events;
}

static void shut(struct load_generator *g, struct load_conn *c)
{
    if (c->watched_fd >= 0 && c->own)
        c->watched_fd = -1; /* closing takes it out of the epoll set */
    g->driver->close(c);
}

static void open_conn(struct load_generator *g, struct load_arm *arm, struct load_conn *c)
{
    g->driver->open(c, g->program);
    if (c->state == LOAD_CLOSED) {
        conn_failure(g, arm, c);
        shut(g, c);
        c->wake_ns = tw_now_ns() + REOPEN_NS;
        return;
    }
    watch(arm, c);
}

static void push_idle(struct load_generator *g, struct load_slot *s, struct load_conn *c)
{
    if ((size_t)(c - s->arm->conns) >= s->clients)
        return;
    g->idle[(g->idle_head + g->idle_count++) % g->connections] = c;
}

static struct load_conn *pop_idle(struct load_generator *g)
{
    struct load_conn *c = g->idle[g->idle_head];

    g->idle_head = (g->idle_head + 1) % g->connections;
    g->idle_count--;
    return c;
}

/* An idle connection that broke must not be given out. */
static void forget_idle(struct load_generator *g, const struct load_conn *c)
{
    size_t n = g->idle_count;

    for (size_t i = 0; i < n; i++) {
        struct load_conn *other = pop_idle(g);

        if (other != c)
            g->idle[(g->idle_head + g->idle_count++) % g->connections] = other;
    }
}

/* ---- requests ---- */

static void end_request(struct load_slot *s, struct load_conn *c, int64_t now_ns)
{
    c->requested = false;
    s->outstanding--;
    s->last_answer_ns = now_ns;
}

static void answered(struct load_generator *g, struct load_slot *s, struct load_conn *c,
                     int64_t now_ns)
{
    if (!c->requested)
        return;
    tw_hist_record(g->latency, now_ns - c->intended_ns);
    s->arm->item_seconds[c->item] += tw_seconds(now_ns - c->sent_ns);
    s->arm->item_counts[c->item]++;
    s->result.done++;
    end_request(s, c, now_ns);
}

static void refused(struct load_generator *g, struct load_slot *s, struct load_conn *c,
                    int64_t now_ns)
{
    if (!c->requested)
        return;
    conn_failure(g, s->arm, c);
    s->result.errors++;
    end_request(s, c, now_ns);
}

static void handle_one(struct load_generator *g, struct load_slot *s, struct load_conn *c,
                       enum load_event event, int64_t now_ns)
{
    if (event != LOAD_NOTHING)
        c->last = event;
    switch (event) {
    case LOAD_NOTHING:
        break;
    case LOAD_PAUSED:
        s->resting++;
        break;
    case LOAD_ANSWERED:
        answered(g, s, c, now_ns);
        break;
    case LOAD_REFUSED:
        c->cancelled = false; /* it has met its request */
        refused(g, s, c, now_ns);
        break;
    case LOAD_OPENED:
        g->opened_ns = now_ns;
        break;
    case LOAD_RESTED:
        break;
    case LOAD_LOST:
        if (c->requested)
            refused(g, s, c, now_ns);
        else if (!c->cancelled) /* else it ended what it was asked to end */
            conn_failure(g, s->arm, c);
        c->cancelled = false;
        forget_idle(g, c);
        shut(g, c);
        c->lost_ns = now_ns;
        c->wake_ns = now_ns + REOPEN_NS;
        s->resting++;
        break;
    }
    if (c->state == LOAD_IDLE && event != LOAD_NOTHING) {
        c->idle_ns = now_ns;
        push_idle(g, s, c);
    }
    watch(s->arm, c);
}

/* What a driver says of one connection, and of those that share its socket. */
static void handle(struct load_generator *g, struct load_slot *s, struct load_conn *c,
                   enum load_event event, int64_t now_ns)
{
    handle_one(g, s, c, event, now_ns);
    while (g->driver->others && (c = g->driver->others(s->arm->target, &event)) != NULL)
        handle_one(g, s, c, event, now_ns);
}

/* The parameters are drawn in the order of the intended starts, so that both slots of a
 * pair send the same requests. */
static void dispatch(struct load_generator *g, struct load_slot *s, int64_t intended_ns,
                     int64_t now_ns)
{
    struct load_conn *c = pop_idle(g);
    const char *why;

    c->item = load_program_pick(g->program, &s->rng);
    why = load_draw_item(g->program, c->item, &s->rng, &c->draw);
    s->result.sent++;
    if (why) {
        count_failure(g, s->order.arm, "draw", why);
        s->result.errors++;
        push_idle(g, s, c);
        return;
    }
    c->intended_ns = intended_ns;
    c->sent_ns = now_ns;
    c->requested = true;
    s->outstanding++;
    if (!s->closed_loop)
        tw_hist_record(g->lag,
                       now_ns - (intended_ns > c->idle_ns ? intended_ns : c->idle_ns));
    handle(g, s, c, g->driver->send(c, g->program, now_ns), now_ns);
}

void load_generator_use(struct load_generator *g, struct load_slot *s,
                        struct load_conn *c, size_t item, int64_t now_ns)
{
    const char *why;

    c->item = item;
    c->last = LOAD_NOTHING;
    why = load_draw_item(g->program, item, &s->rng, &c->draw);
    if (why) {
        load_fault_set(&c->fault, "draw", why);
        c->last = LOAD_REFUSED;
        return;
    }
    c->intended_ns = c->sent_ns = now_ns;
    c->requested = true;
    s->outstanding++;
    handle(g, s, c, g->driver->send(c, g->program, now_ns), now_ns);
}

int64_t load_generator_wake(struct load_generator *g, struct load_slot *s, size_t first,
                            size_t n, int64_t next_ns)
{
    int64_t now = tw_now_ns();

    for (size_t i = first; i < first + n; i++) {
        struct load_conn *c = &s->arm->conns[i];

        if (c->state == LOAD_THINKING && c->wake_ns <= now)
            handle(g, s, c, g->driver->resume(c, g->program, now), now);
        if (c->state == LOAD_THINKING && c->wake_ns < next_ns)
            next_ns = c->wake_ns;
    }
    return next_ns;
}

static void dispatch_due(struct load_generator *g, struct load_slot *s)
{
    while (g->idle_count > 0) {
        int64_t now = tw_now_ns();

        if (s->closed_loop) {
            if (now >= s->end_ns)
                return;
            dispatch(g, s, now, now);
        } else {
            if (s->next == s->start_count || s->begin_ns + g->starts[s->next] > now)
                return;
            dispatch(g, s, s->begin_ns + g->starts[s->next++], now);
        }
    }
}

/* Connections that sleep inside a request, and lost ones to be opened again. */
static void look_after(struct load_generator *g, struct load_slot *s, int64_t now_ns,
                       int64_t *ret_next_ns)
{
    size_t resting = 0;

    for (size_t i = 0; i < s->clients && s->resting > 0; i++) {
        struct load_conn *c = &s->arm->conns[i];

        if (c->state == LOAD_THINKING && c->wake_ns <= now_ns)
            handle(g, s, c, g->driver->resume(c, g->program, now_ns), now_ns);
        if (c->state == LOAD_CLOSED && c->wake_ns <= now_ns) {
            open_conn(g, s->arm, c);
            handle(g, s, c, LOAD_NOTHING, now_ns); /* it may be up already */
        }
        if (c->state == LOAD_THINKING || c->state == LOAD_CLOSED) {
            resting++;
            if (c->wake_ns < *ret_next_ns)
                *ret_next_ns = c->wake_ns;
        }
    }
    s->resting = resting;
}

/* ---- waiting ---- */

/* Follows a quantile by small steps, whatever the outliers: late wake-ups push it up,
 * early ones down. Waking earlier would burn CPU of the client for a few microseconds of
 * latency. */
static void learn_lateness(struct load_generator *g, int64_t late_ns)
{
    g->margin_ns += late_ns > g->margin_ns
                        ? MARGIN_STEP_NS * MARGIN_QUANTILE / 100
                        : -MARGIN_STEP_NS * (100 - MARGIN_QUANTILE) / 100;
    if (g->margin_ns > MARGIN_MOST_NS)
        g->margin_ns = MARGIN_MOST_NS;
    if (g->margin_ns < 0)
        g->margin_ns = 0;
}

static int sleep_on(struct load_generator *g, int epoll, struct epoll_event *events,
                    int64_t ns)
{
    struct timespec t = {.tv_sec = ns / TW_SEC_NS, .tv_nsec = ns % TW_SEC_NS};
    int n;

    if (!g->coarse_waits) {
        n = epoll_pwait2(epoll, events, EVENTS, &t, NULL);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n;
        g->coarse_waits = true;
    }
    return epoll_wait(epoll, events, EVENTS,
                      (int)(ns / TW_MSEC_NS)); /* the rest is spun */
}

/* Waits for sockets until until_ns at most; precise: to be back before it rather than
 * after. */
static int wait_events(struct load_generator *g, int epoll, struct epoll_event *events,
                       int64_t until_ns, bool precise)
{
    int64_t now = tw_now_ns(), target = until_ns - (precise ? g->margin_ns : 0);
    int n;

    if (target <= now)
        return epoll_wait(epoll, events, EVENTS, 0);
    n = sleep_on(g, epoll, events, target - now);
    if (n == 0 && precise && !g->coarse_waits)
        learn_lateness(g, tw_now_ns() - target);
    return n;
}

void load_generator_wait(struct load_generator *g, struct load_slot *s, int64_t until_ns,
                         bool precise)
{
    struct epoll_event events[EVENTS];
    int n = wait_events(g, s->arm->epoll, events, until_ns, precise);
    int64_t now;

    if (n <= 0)
        return;
    now = tw_now_ns(); /* when they had arrived, however long handling them takes */
    for (int i = 0; i < n; i++) {
        struct load_conn *c = events[i].data.ptr;

        if (c->state != LOAD_CLOSED)
            handle(g, s, c, g->driver->ready(c, g->program, now), now);
    }
}

/* ---- opening ---- */

size_t load_generator_count(const struct load_arm *arm, size_t n, enum load_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += arm->conns[i].state == state;
    return count;
}

/* Opens what is closed among the first n connections, all at once. */
void load_generator_open(struct load_generator *g, struct load_arm *arm, size_t n,
                         int64_t deadline_ns)
{
    struct load_slot s = {.arm = arm, .clients = 0};

    for (size_t i = 0; i < n; i++)
        if (arm->conns[i].state == LOAD_CLOSED)
            open_conn(g, arm, &arm->conns[i]);
    while (load_generator_count(arm, n, LOAD_OPENING) > 0 && tw_now_ns() < deadline_ns)
        load_generator_wait(g, &s, deadline_ns, false);
    for (size_t i = 0; i < n; i++)
        if (arm->conns[i].state == LOAD_OPENING) {
            count_failure(g, (enum tw_arm)(arm - g->arms), "timeout",
                          "no answer while connecting");
            shut(g, &arm->conns[i]);
        }
    /* What was told of connections is told before a slot counts them. */
    handle(g, &s, &arm->conns[0], LOAD_NOTHING, tw_now_ns());
}

/* ---- a slot ---- */

static int prepare_starts(struct load_generator *g, struct load_slot *s)
{
    double expected = s->order.rate_per_s * tw_seconds(s->order.length_ns);
    size_t room = (size_t)(expected + 10 * sqrt(expected) + 64);
    struct tw_rng rng;

    if (!(expected >= 0 && expected < 1e8))
        return -EINVAL;
    if (room > g->starts_room) {
        g->starts = tw_realloc_array(g->starts, room, sizeof *g->starts);
        g->starts_room = room;
    }
    tw_rng_seed(&rng, s->order.seed, 1);
    s->start_count =
        tw_poisson_starts(&rng, s->order.rate_per_s, s->order.length_ns, g->starts, room);
    return 0;
}

static bool finished(const struct load_slot *s, int64_t now_ns)
{
    if (now_ns >= s->settle_end_ns)
        return true;
    return now_ns >= s->end_ns && s->outstanding == 0 &&
           (s->closed_loop || s->next == s->start_count);
}

static void send_requests(struct load_generator *g, struct load_slot *s)
{
    int64_t now, next;
    bool precise;

    for (;;) {
        dispatch_due(g, s);
        now = tw_now_ns();
        if (finished(s, now))
            return;
        next = now < s->end_ns ? s->end_ns : s->settle_end_ns;
        if (s->resting > 0)
            look_after(g, s, now, &next);
        precise = !s->closed_loop && g->idle_count > 0 && s->next < s->start_count &&
                  s->begin_ns + g->starts[s->next] <= next;
        if (precise)
            next = s->begin_ns + g->starts[s->next];
        if (s->closed_loop && g->idle_count > 0 && now < s->end_ns)
            next = now; /* a failed draw, or one just opened: go on at once */
        load_generator_wait(g, s, next, precise);
    }
}

static void record_late(struct load_generator *g, struct load_slot *s,
                        int64_t intended_ns, int64_t now_ns)
{
    int64_t waited = now_ns - intended_ns;

    tw_hist_record(g->latency, waited > s->order.length_ns ? waited : s->order.length_ns);
    s->result.late++;
}

/* Asking to cancel blocks while the server does not answer, so another process does it.
 */
static pid_t start_cancel(struct load_generator *g, struct load_slot *s)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    g->driver->cancel(s->arm->conns, s->clients);
    _exit(0);
}

static void end_cancel(pid_t pid)
{
    if (pid <= 0)
        return;
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Where that needs nothing of the server. */
static void abandon(struct load_generator *g, struct load_slot *s, size_t n)
{
    for (size_t i = 0; i < n && g->driver->abandon; i++) {
        struct load_conn *c = &s->arm->conns[i];

        if (c->state == LOAD_BUSY || c->state == LOAD_THINKING) {
            g->driver->abandon(c);
            watch(s->arm, c);
        }
    }
}

/* A cancellation names a session, not a request: one still under way when its request has answered
 * after all would hit the next one, which nobody gave up. */
static void shut_cancelled(struct load_generator *g, struct load_slot *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct load_conn *c = &s->arm->conns[i];

        if (c->cancelled && c->state != LOAD_CLOSED)
            shut(g, c);
        c->cancelled = false;
    }
}

/* What is not answered by now is given up and counted as at least the slot. */
static void give_up(struct load_generator *g, struct load_slot *s)
{
    int64_t now = tw_now_ns(), deadline = now + CANCEL_NS;
    size_t n = s->clients;
    pid_t pid;

    for (; s->next < s->start_count; s->next++) {
        record_late(g, s, s->begin_ns + g->starts[s->next], now);
        s->result.sent++;
    }
    for (size_t i = 0; i < n; i++)
        if (s->arm->conns[i].requested) {
            record_late(g, s, s->arm->conns[i].intended_ns, now);
            end_request(s, &s->arm->conns[i], now);
        }
    abandon(g, s, n);
    if (load_generator_count(s->arm, n, LOAD_BUSY) > 0 &&
        (!g->driver->may_cancel || g->driver->may_cancel(s->arm->target))) {
        for (size_t i = 0; i < n; i++)
            s->arm->conns[i].cancelled = s->arm->conns[i].state == LOAD_BUSY;
        pid = start_cancel(g, s);
        while (load_generator_count(s->arm, n, LOAD_BUSY) > 0 && tw_now_ns() < deadline)
            load_generator_wait(g, s, deadline, false);
        end_cancel(pid);
    }
    for (size_t i = 0; i < n; i++)
        if (s->arm->conns[i].state == LOAD_BUSY ||
            s->arm->conns[i].state == LOAD_THINKING)
            shut(g, &s->arm->conns[i]);
    shut_cancelled(g, s, n);
}

static double cpu_seconds(void)
{
    struct rusage u;

    (void)getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

int load_generator_slot(struct load_generator *g, struct load_slot *s)
{
    double cpu;
    int r;

    s->arm = &g->arms[s->order.arm];
    s->closed_loop = isnan(s->order.rate_per_s);
    s->clients = g->connections;
    if (s->order.clients > 0 && (size_t)s->order.clients < g->connections)
        s->clients = (size_t)s->order.clients;
    if (!s->arm->conninfo)
        return -ENOTCONN;
    r = s->closed_loop ? 0 : prepare_starts(g, s);
    if (r < 0)
        return r;
    tw_rng_seed(&s->rng, s->order.seed, 2);
    tw_hist_clear(g->latency);
    tw_hist_clear(g->lag);
    load_generator_open(g, s->arm, s->clients, tw_now_ns() + TW_SEC_NS);

    cpu = cpu_seconds();
    s->begin_ns = s->last_answer_ns = tw_now_ns();
    s->end_ns = s->begin_ns + s->order.length_ns;
    s->settle_end_ns = s->end_ns + (int64_t)(fmax(s->order.settle_s, 0) * 1e9);
    g->idle_head = g->idle_count = 0;
    for (size_t i = 0; i < s->clients; i++) {
        struct load_conn *c = &s->arm->conns[i];

        c->idle_ns = s->begin_ns;
        if (c->state == LOAD_IDLE)
            push_idle(g, s, c);
        s->resting += c->state == LOAD_CLOSED;
    }
    send_requests(g, s);
    give_up(g, s);

    s->result.start_ns = s->begin_ns;
    s->result.length_ns = s->order.length_ns;
    if (s->closed_loop && s->last_answer_ns > s->end_ns)
        s->result.length_ns = s->last_answer_ns - s->begin_ns;
    s->result.lag99_s = tw_hist_quantile(g->lag, 0.99);
    s->result.cpu_s = cpu_seconds() - cpu;
    return 0;
}

/* An order without length: the sessions tell the server what they did. */
static int flush_arm(struct load_generator *g, struct load_slot *s)
{
    int64_t deadline = tw_now_ns() + TW_SEC_NS;

    s->arm = &g->arms[s->order.arm];
    if (!s->arm->conninfo)
        return -ENOTCONN;
    for (size_t i = 0; i < g->connections; i++) {
        struct load_conn *c = &s->arm->conns[i];

        if (c->state == LOAD_IDLE && g->driver->flush && g->driver->flush(c)) {
            watch(s->arm, c);
            s->result.sent++;
        }
    }
    while (load_generator_count(s->arm, g->connections, LOAD_BUSY) > 0 &&
           tw_now_ns() < deadline)
        load_generator_wait(g, s, deadline, false);
    for (size_t i = 0; i < g->connections; i++)
        if (s->arm->conns[i].state == LOAD_BUSY)
            shut(g, &s->arm->conns[i]);
    tw_hist_clear(g->latency);
    return 0;
}

/* ---- the wire ---- */

void load_generator_put_failures(struct load_generator *g, struct tw_buf *b)
{
    load_put_int(b, (int64_t)g->failure_count);
    for (size_t i = 0; i < g->failure_count; i++) {
        load_put_int(b, g->failures[i].arm);
        load_put_text(b, g->failures[i].fault.code);
        load_put_text(b, g->failures[i].fault.text);
        load_put_int(b, g->failures[i].count);
    }
    g->failure_count = 0;
}

static int send_result(struct load_generator *g, const struct load_slot *s, int code)
{
    tw_auto_free void *flat = tw_alloc(TW_HIST_FLAT_MAX);
    size_t len = tw_hist_encode(g->latency, flat, TW_HIST_FLAT_MAX);
    size_t starts = s->order.keep_starts ? s->start_count : 0;
    size_t items = g->mix.items.count;
    tw_auto_buf b = {0};

    tw_buf_init(&b, LOAD_MSG_MAX);
    load_put_int(&b, code);
    tw_buf_add(&b, &s->result, sizeof s->result);
    load_put_bytes(&b, flat, len);
    load_put_bytes(&b, g->starts, starts * sizeof *g->starts);
    for (size_t a = 0; a < TW_ARM_COUNT; a++) {
        load_put_bytes(&b, g->arms[a].item_seconds, items * sizeof(double));
        load_put_bytes(&b, g->arms[a].item_counts, items * sizeof(int64_t));
    }
    load_generator_put_failures(g, &b);
    return load_message_send(g->wire, LOAD_MSG_RESULT, &b, 0);
}

static int obey(struct load_generator *g, struct tw_buf *payload)
{
    struct load_reader r = {.at = payload->data, .end = payload->data + payload->len};
    struct load_slot s = {.order.arm = (enum tw_arm)load_get_int(&r)};

    s.order.rate_per_s = load_get_real(&r);
    s.order.clients = (int)load_get_int(&r);
    s.order.length_ns = load_get_int(&r);
    s.order.seed = (uint64_t)load_get_int(&r);
    s.order.keep_starts = load_get_int(&r) != 0;
    s.order.settle_s = load_get_real(&r);
    if (r.bad || s.order.arm >= TW_ARM_COUNT || s.order.length_ns < 0)
        return send_result(g, &s, -EINVAL);
    return send_result(
        g, &s, s.order.length_ns == 0 ? flush_arm(g, &s) : load_generator_slot(g, &s));
}

static void pin(const char *cpuset)
{
    cpu_set_t set;
    const char *at = cpuset;
    char *end;

    CPU_ZERO(&set);
    while (at && *at) {
        long low = strtol(at, &end, 10), high = low;

        if (end == at)
            return;
        if (*end == '-')
            high = strtol(end + 1, &end, 10);
        for (; low >= 0 && low <= high && low < CPU_SETSIZE; low++)
            CPU_SET((size_t)low, &set);
        at = *end == ',' ? end + 1 : end;
        if (*end != ',' && *end != '\0')
            return;
    }
    if (cpuset)
        (void)sched_setaffinity(0, sizeof set, &set);
}

/* Connections of both arms begin at once: what one has taken tells how long the other may need. */
static int64_t later_patience(int64_t taken_ns)
{
    int64_t enough = 10 * taken_ns > OPEN_LATER_NS ? 10 * taken_ns : OPEN_LATER_NS;

    return enough < OPEN_NS ? enough : OPEN_NS;
}

static int open_arms(struct load_generator *g, struct tw_err *err)
{
    int64_t patience_ns = OPEN_NS;
    size_t open = 0;
    int code;

    for (size_t a = 0; a < TW_ARM_COUNT; a++) {
        struct load_arm *arm = &g->arms[a];

        arm->epoll = epoll_create1(EPOLL_CLOEXEC);
        arm->conns = tw_arena_alloc(g->arena, g->connections * sizeof *arm->conns);
        arm->item_seconds = tw_arena_alloc(g->arena, g->mix.items.count * sizeof(double));
        arm->item_counts = tw_arena_alloc(g->arena, g->mix.items.count * sizeof(int64_t));
        if (arm->epoll < 0)
            return tw_fail_errno(err, errno, "epoll");
        code = arm->conninfo ? g->driver->aim(g->arena, g->program, arm->conninfo,
                                              &arm->target, err)
                             : 0;
        if (code < 0)
            return code;
        for (size_t i = 0; i < g->connections; i++) {
            arm->conns[i].fd = arm->conns[i].watched_fd = -1;
            arm->conns[i].index = i;
            arm->conns[i].target = arm->target;
            load_draw_init(g->arena, g->program, &arm->conns[i].draw);
            if (arm->conninfo)
                open_conn(g, arm, &arm->conns[i]); /* all of both arms begin at once */
        }
    }
    for (size_t a = 0; a < TW_ARM_COUNT; a++) {
        int64_t asked = tw_now_ns();

        if (!g->arms[a].conninfo)
            continue;
        load_generator_open(g, &g->arms[a], g->connections, asked + patience_ns);
        patience_ns = later_patience(tw_now_ns() - asked);
        open = load_generator_count(&g->arms[a], g->connections, LOAD_IDLE);
        if (open == 0)
            return tw_fail(
                err, -ECONNREFUSED, "no connection to the %s: %s %s", tw_arm_names[a],
                g->failure_count ? g->failures[g->failure_count - 1].fault.code : "",
                g->failure_count ? g->failures[g->failure_count - 1].fault.text : "");
    }
    return 0;
}

static int set_up(struct load_generator *g, struct tw_buf *payload, struct tw_err *err)
{
    struct load_reader r = {.at = payload->data, .end = payload->data + payload->len};
    const char *driver = load_get_text(&r, g->arena);
    int code;

    g->connections = (size_t)load_get_int(&r);
    pin(load_get_text(&r, g->arena));
    for (size_t a = 0; a < TW_ARM_COUNT; a++)
        g->arms[a].conninfo = load_get_text(&r, g->arena);
    code = load_get_mix(&r, g->arena, &g->mix);
    g->driver = load_driver_find(driver);
    if (code < 0 || !g->driver || g->connections == 0 || g->connections > 100000)
        return tw_fail(err, -EBADMSG, "the generator does not understand its orders");
    code = load_program_new(g->arena, &g->mix, &g->program, err);
    if (code < 0)
        return code;
    g->idle = tw_arena_alloc(g->arena, g->connections * sizeof(struct load_conn *));
    g->latency = tw_hist_new();
    g->lag = tw_hist_new();
    g->margin_ns = MARGIN_FIRST_NS;
    return open_arms(g, err);
}

static int answer_hello(struct load_generator *g, struct tw_buf *payload)
{
    int64_t begin_ns = tw_now_ns();
    struct tw_err err = {0};
    int code = set_up(g, payload, &err);
    tw_auto_buf b = {0};

    tw_buf_init(&b, LOAD_MSG_MAX);
    load_put_int(&b, code);
    load_put_text(&b, err.text);
    for (size_t a = 0; a < TW_ARM_COUNT; a++)
        load_put_int(&b, code < 0 ? 0
                                  : (int64_t)load_generator_count(
                                        &g->arms[a], g->connections, LOAD_IDLE));
    load_put_real(&b, tw_seconds(g->opened_ns - begin_ns));
    load_generator_put_failures(g, &b);
    return load_message_send(g->wire, LOAD_MSG_READY, &b, 0);
}

static int do_as_told(struct load_generator *g, enum load_message type,
                      struct tw_buf *payload)
{
    if (!g->program)
        return type == LOAD_MSG_HELLO ? answer_hello(g, payload) : -EBADMSG;
    switch (type) {
    case LOAD_MSG_ORDER:
        return obey(g, payload);
    case LOAD_MSG_PROBE:
        return load_generator_probe(g);
    case LOAD_MSG_CONNECTIONS:
        return load_generator_connections(g, payload);
    default:
        return -EBADMSG;
    }
}

static void tear_down(struct load_generator *g)
{
    for (size_t a = 0; a < TW_ARM_COUNT; a++) {
        for (size_t i = 0; g->arms[a].conns && i < g->connections; i++)
            g->driver->close(&g->arms[a].conns[i]);
        if (g->arms[a].epoll > 0)
            (void)close(g->arms[a].epoll);
    }
    tw_hist_free(g->latency);
    tw_hist_free(g->lag);
    free(g->starts);
    tw_arena_free(g->arena);
}

/* As many connections as may be. */
static void raise_files(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

int tw_load_generator_main(int argc, char **argv)
{
    struct load_generator g = {.wire = WIRE_FD, .arena = tw_arena_new()};
    enum load_message type = 0;
    tw_auto_buf payload = {0};
    int r;

    (void)argc, (void)argv;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_TIMERSLACK, 1);
    raise_files();
    tw_buf_init(&payload, LOAD_MSG_MAX);
    do {
        r = load_message_receive(g.wire, &type, &payload, 0);
        if (r >= 0)
            r = do_as_told(&g, type, &payload);
    } while (r >= 0);
    tear_down(&g);
    return r == -EPIPE ? 0 : 1; /* the load was closed: as it should be */
}
