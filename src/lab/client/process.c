/* The process that connects: it takes cases over its wire, tries each on both arms in a thread of
 * its own, and tells what became of them. */
#include "client_internal.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_AT_ONCE 512
#define STACK_BYTES  ((size_t)512 << 10)

const char *const tw_client_end_names[TW_CLIENT_END_COUNT] = {
    "served", "no_way", "no_tls", "denied", "hung", "cut", "untried"};

const struct client_protocol *client_protocol_find(const char *name)
{
#define DECLARE(protocol) extern const struct client_protocol client_protocol_##protocol;
    CLIENT_PROTOCOL_LIST(DECLARE)
#define ROW(protocol) &client_protocol_##protocol,
    static const struct client_protocol *const protocols[] = {CLIENT_PROTOCOL_LIST(ROW)};

    for (size_t i = 0; i < TW_COUNT_OF(protocols); i++)
        if (tw_streq(protocols[i]->name, name))
            return protocols[i];
    return NULL;
}

/* ---- one try ---- */

void client_end(struct client_try *t, enum tw_client_end end, const char *at,
                const char *code, const char *words)
{
    t->answer.end = end;
    t->answer.at = at;
    t->answer.code = tw_arena_strdup(t->arena, code);
    t->answer.words = tw_arena_strdup(t->arena, words);
}

struct tw_client_reply *client_reply(struct client_try *t, const char *sent)
{
    TW_PUSH(t->arena, &t->answer.replies,
            (struct tw_client_reply){
                .sent = tw_arena_strdup(t->arena, sent), .bytes = NAN, .complete = true});
    return &t->answer.replies.items[t->answer.replies.count - 1];
}

static void arrive(struct client_try *t)
{
    if (!t->hold || t->held)
        return;
    t->held = true;
    (void)pthread_mutex_lock(&t->hold->lock);
    t->hold->arrived++;
    (void)pthread_cond_broadcast(&t->hold->changed);
    (void)pthread_mutex_unlock(&t->hold->lock);
}

void client_wait_for_others(struct client_try *t)
{
    struct client_hold *h = t->hold;
    struct timespec until = {t->deadline_ns / TW_SEC_NS, t->deadline_ns % TW_SEC_NS};
    int r = 0;

    if (!h)
        return;
    arrive(t);
    (void)pthread_mutex_lock(&h->lock);
    while (h->arrived < h->total && r == 0)
        r = pthread_cond_clockwait(&h->changed, &h->lock, CLOCK_MONOTONIC, &until);
    (void)pthread_mutex_unlock(&h->lock);
}

static void *try_main(void *arg)
{
    struct client_try *t = arg;
    const struct client_protocol *p = client_protocol_find(t->client.protocol);
    int64_t begun = tw_now_ns();

    if (p)
        p->run(t);
    else
        client_end(t, TW_CLIENT_UNTRIED, "connect", NULL,
                   tw_arena_printf(t->arena, "no client of ours speaks '%s'",
                                   t->client.protocol ? t->client.protocol : ""));
    t->answer.seconds = tw_seconds(tw_now_ns() - begun);
    arrive(t);
    return NULL;
}

/* ---- all of an order ---- */

struct crowd { /* one case on one arm: as many of it as it says */
    struct client_try *tries;
    pthread_t *threads;
    bool *running;
    int count;
    struct client_hold hold;
};

/* A file that anybody here may open by its path, whatever the sandbox shows. */
static const char *path_of(struct tw_arena *a, const char *text)
{
    int fd = text ? memfd_create("ca", 0) : -1;

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return NULL;
    return tw_arena_printf(a, "/proc/self/fd/%d", fd);
}

static void begin_crowd(struct crowd *c, const struct tw_client *client,
                        const struct tw_client_way *way, const char *ca_path,
                        const struct client_order *o, int64_t deadline_ns)
{
    pthread_attr_t attr;

    c->count = o->whole && client->count > 1 ? client->count : 1;
    if (c->count > MOST_AT_ONCE)
        c->count = MOST_AT_ONCE;
    c->tries = tw_alloc((size_t)c->count * sizeof *c->tries);
    c->threads = tw_alloc((size_t)c->count * sizeof *c->threads);
    c->running = tw_alloc((size_t)c->count * sizeof *c->running);
    c->hold = (struct client_hold){.lock = PTHREAD_MUTEX_INITIALIZER,
                                   .changed = PTHREAD_COND_INITIALIZER,
                                   .total = c->count};
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    for (int i = 0; i < c->count; i++) {
        struct client_try *t = &c->tries[i];

        *t = (struct client_try){.client = *client,
                                 .way = *way,
                                 .ca_path = ca_path,
                                 .deadline_ns = deadline_ns,
                                 .whole = o->whole,
                                 .hold = c->count > 1 ? &c->hold : NULL,
                                 .arena = tw_arena_new()};
        c->running[i] = pthread_create(&c->threads[i], &attr, try_main, t) == 0;
        if (!c->running[i])
            (void)try_main(t);
    }
    (void)pthread_attr_destroy(&attr);
}

/* The answer of all: of the first that was not served, if there is one. */
static json_t *end_crowd(struct crowd *c)
{
    struct tw_client_answer *told = NULL;
    int reached = 0;
    json_t *json;

    for (int i = 0; i < c->count; i++) {
        if (c->running[i])
            (void)pthread_join(c->threads[i], NULL);
        reached += c->tries[i].answer.end == TW_CLIENT_SERVED;
        if (!told && c->tries[i].answer.end != TW_CLIENT_SERVED)
            told = &c->tries[i].answer;
    }
    if (c->count == 0)
        return json_null(); /* this arm is tried from elsewhere */
    if (!told)
        told = &c->tries[0].answer;
    told->reached = reached;
    json = client_answer_write(told);
    for (int i = 0; i < c->count; i++)
        tw_arena_free(c->tries[i].arena);
    free(c->tries);
    free(c->threads);
    free(c->running);
    return json;
}

static char *carry_out(struct tw_arena *a, const struct client_order *o)
{
    size_t n = o->cases.list.count;
    struct crowd *crowds = tw_alloc((n * TW_ARM_COUNT + 1) * sizeof *crowds);
    int64_t deadline = tw_now_ns() + (int64_t)(o->deadline_s * 1e9);
    json_auto_t *json = json_array();

    for (size_t i = 0; i < n; i++) {
        const char *ca = path_of(a, o->ca.items[i]);

        for (int arm = 0; arm < TW_ARM_COUNT; arm++)
            if (o->arms[arm])
                begin_crowd(&crowds[i * TW_ARM_COUNT + (size_t)arm],
                            &o->cases.list.items[i], &o->way[arm], ca, o, deadline);
    }
    for (size_t i = 0; i < n * TW_ARM_COUNT; i++)
        (void)json_array_append_new(json, end_crowd(&crowds[i]));
    free(crowds);
    return tw_json_dump(json, JSON_COMPACT);
}

int tw_client_main(int argc, char **argv)
{
    tw_auto_buf text = {0};
    int r;

    (void)argc, (void)argv;
    (void)signal(SIGPIPE, SIG_IGN);
    /* Nothing of whoever runs this may answer for a client. */
    (void)setenv("HOME", "/nonexistent", 1);
    tw_buf_init(&text, CLIENT_WIRE_MAX);
    do {
        tw_auto(tw_arena) *a = tw_arena_new();
        tw_auto_free char *answer = NULL;
        struct client_order o;

        r = client_receive(CLIENT_WIRE_FD, &text, INT64_MAX);
        if (r == 0)
            r = client_order_read(a, tw_buf_text(&text), text.len, &o);
        if (r == 0)
            answer = carry_out(a, &o);
        if (r == 0)
            r = client_send(CLIENT_WIRE_FD, answer, INT64_MAX);
    } while (r == 0);
    return r == -EPIPE ? 0 : 1; /* the session was closed: as it should be */
}
