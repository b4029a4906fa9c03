/* Every request of a mix tried once on the baseline: what it answers is what may be expected
 * later, and for Redis what its keys are. Both ends of the wire. */
#include "generator_internal.h"

#include <string.h>

#define EACH_NS   (3 * TW_SEC_NS)
#define ALL_NS    (10 * TW_SEC_NS)
#define REPLY_MAX ((size_t)8 << 20)

/* ---- in the generator ---- */

static void probe_item(struct load_generator *g, struct load_slot *s, size_t item,
                       int64_t deadline_ns, struct tw_buf *answer)
{
    struct load_conn *c = &s->arm->conns[0];
    tw_auto_buf reply = {0};

    tw_buf_init(&reply, REPLY_MAX);
    c->reply = &reply;
    c->status = 0;
    c->last = LOAD_NOTHING;
    c->fault = (struct load_fault){0};
    load_generator_open(g, s->arm, 1, deadline_ns);
    if (c->state == LOAD_IDLE)
        load_generator_use(g, s, c, item, tw_now_ns());
    else
        c->last = LOAD_LOST;
    while (c->requested && tw_now_ns() < deadline_ns)
        load_generator_wait(g, s, load_generator_wake(g, s, 0, 1, deadline_ns), false);
    if (c->requested) { /* nobody waits for it any more */
        c->requested = false;
        c->last = LOAD_NOTHING;
        g->driver->close(c);
        c->watched_fd = -1;
    }
    c->reply = NULL;
    load_put_int(answer, c->last);
    load_put_int(answer, c->status);
    load_put_text(answer, c->fault.code);
    load_put_text(answer, c->fault.text);
    load_put_bytes(answer, reply.data, reply.len);
}

int load_generator_probe(struct load_generator *g)
{
    struct load_slot s = {.arm = &g->arms[TW_BASELINE]};
    int64_t end = tw_now_ns() + ALL_NS, one;
    tw_auto_buf b = {0};

    tw_buf_init(&b, LOAD_MSG_MAX);
    tw_rng_seed(&s.rng, 1, 2);
    for (size_t i = 0; i < g->mix.items.count; i++) {
        one = tw_now_ns() + EACH_NS;
        probe_item(g, &s, i, one < end ? one : end, &b);
    }
    g->failure_count = 0;
    return load_message_send(g->wire, LOAD_MSG_RESULT, &b, 0);
}

/* ---- at the caller's ---- */

static void read_answer(struct tw_arena *a, struct load_reader *r,
                        struct load_answer *ret)
{
    const char *reply;

    ret->event = (enum load_event)load_get_int(r);
    ret->status = (int)load_get_int(r);
    ret->code = load_get_text(r, a);
    ret->text = load_get_text(r, a);
    reply = load_get_bytes(r, &ret->reply_len);
    ret->reply = load_bytes_copy(a, reply, ret->reply_len);
}

int load_probe(struct tw_arena *a, const struct tw_load_spec *at,
               const struct tw_load_mix *mix, struct load_answer **ret,
               struct tw_err *err)
{
    struct tw_load_spec spec = *at;
    const struct tw_buf nothing = {0};
    struct load_answer *answers;
    struct load_reader reader;
    struct tw_load *load;
    int r;

    spec.mix = mix;
    spec.connections = 1;
    spec.conninfo[TW_CANDIDATE] = NULL;
    r = tw_load_open(&spec, &load, err);
    if (r < 0)
        return r;
    r = load_ask(load, LOAD_MSG_PROBE, &nothing, tw_now_ns() + 2 * ALL_NS, &reader, err);
    answers = tw_arena_alloc(a, (mix->items.count + 1) * sizeof *answers);
    for (size_t i = 0; i < mix->items.count && r >= 0; i++)
        read_answer(a, &reader, &answers[i]);
    if (r >= 0 && reader.bad)
        r = tw_fail(err, -EBADMSG, "the load generator gave half an answer");
    tw_load_close(load);
    *ret = answers;
    return r < 0 ? r : 0;
}
