/* Raw TCP: connects, says something where there is something to say, waits for the first bytes
 * of an answer. A connection for each request, unless keepalive=1.
 *
 * Connections end by a reset: thousands of them would else stay behind in TIME_WAIT and use up
 * the ports of the client. */
#include "load_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct target {
    struct load_endpoint endpoint; /* first: stream_conn.c */
    struct load_template *says;    /* by number of the statement */
};
struct session {
    struct load_stream stream; /* first: stream_conn.c */
    struct tw_buf request;
    const char **parameters;
};

static int tcp_aim(struct tw_arena *a, const struct load_program *p, const char *endpoint,
                   void **ret_target, struct tw_err *err)
{
    struct target *t = tw_arena_alloc(a, sizeof *t);
    int r = load_endpoint_parse(a, endpoint, &t->endpoint, err);

    if (r >= 0)
        r = load_endpoint_ready(a, &t->endpoint, err);
    if (r < 0)
        return r;
    t->says = tw_arena_alloc(a, (p->statement_count + 1) * sizeof *t->says);
    for (size_t i = 0; i < p->mix->items.count; i++)
        for (size_t n = 0; n < p->mix->items.items[i].statements.count; n++) {
            const struct tw_load_statement *st =
                &p->mix->items.items[i].statements.items[n];
            size_t len = st->sql ? strlen(st->sql) : 0;
            char *bytes = load_unescape(a, st->sql ? st->sql : "", len, &len);

            load_template_compile(a, bytes, len, st->variables.count,
                                  &t->says[p->items[i].statements[n].number]);
        }
    *ret_target = t;
    return 0;
}

/* ---- connections ---- */

static bool kept(const struct load_conn *c)
{
    const struct target *t = c->target;

    return t->endpoint.keepalive == 1 || c->strict;
}

static void rest(struct load_conn *c)
{
    struct session *s = c->own;

    if (!kept(c))
        load_stream_close(&s->stream, true);
    c->state = LOAD_IDLE;
    load_conn_show(c);
}

static void tcp_close(struct load_conn *c)
{
    struct session *s = c->own;

    if (s) {
        tw_buf_done(&s->request);
        free(s->parameters);
    }
    load_conn_end(c, true);
}

static void tcp_open(struct load_conn *c, const struct load_program *p)
{
    struct session *s = tw_alloc(sizeof *s);

    c->own = s;
    s->stream.fd = -1;
    s->parameters = tw_alloc((p->max_parameters + 1) * sizeof *s->parameters);
    tw_buf_init(&s->request, LOAD_STREAM_OUT_MAX);
    c->state = LOAD_OPENING;
    if (load_conn_connect(c) < 0)
        (void)load_conn_lost(c);
}

/* ---- requests ---- */

static const struct tw_load_statement *statement_of(const struct load_conn *c,
                                                    const struct load_program *p)
{
    return &p->mix->items.items[c->item].statements.items[c->statement];
}

static enum load_event begin(struct load_conn *c, const struct load_program *p,
                             int64_t now_ns);

static enum load_event finish(struct load_conn *c, const struct load_program *p,
                              int64_t now_ns)
{
    if (++c->statement < p->mix->items.items[c->item].statements.count)
        return begin(c, p, now_ns);
    rest(c);
    return LOAD_ANSWERED;
}

/* The connection is there. */
static enum load_event say(struct load_conn *c, const struct load_program *p,
                           int64_t now_ns)
{
    const struct target *t = c->target;
    const struct load_template *says =
        &t->says[p->items[c->item].statements[c->statement].number];
    struct session *s = c->own;

    if (says->pieces.count == 0)
        return finish(c, p, now_ns);
    tw_buf_clear(&s->request);
    (void)load_draw_parameters(statement_of(c, p), &c->draw, s->parameters);
    load_template_render(says, s->parameters, &s->request);
    if (load_stream_write(&s->stream, s->request.data, s->request.len) < 0)
        return load_conn_lost(c);
    load_conn_show(c);
    return LOAD_NOTHING;
}

static enum load_event say_or_connect(struct load_conn *c, const struct load_program *p,
                                      int64_t now_ns)
{
    struct session *s = c->own;

    c->state = LOAD_BUSY;
    if (s->stream.step == LOAD_STREAM_OPEN)
        return say(c, p, now_ns);
    return load_conn_connect(c) < 0 ? load_conn_lost(c) : LOAD_NOTHING;
}

static enum load_event begin(struct load_conn *c, const struct load_program *p,
                             int64_t now_ns)
{
    int64_t think = p->items[c->item].statements[c->statement].think_ns;

    if (think == 0)
        return say_or_connect(c, p, now_ns);
    return load_conn_pause(c, now_ns + think);
}

static enum load_event tcp_send(struct load_conn *c, const struct load_program *p,
                                int64_t now_ns)
{
    c->statement = 0;
    return begin(c, p, now_ns);
}

static enum load_event tcp_resume(struct load_conn *c, const struct load_program *p,
                                  int64_t now_ns)
{
    return say_or_connect(c, p, now_ns);
}

static enum load_event closed(struct load_conn *c, const struct load_program *p,
                              int64_t now_ns)
{
    struct session *s = c->own;

    if (c->state != LOAD_BUSY) {
        load_fault_set(&c->fault, "closed", "closed by the server while idle");
        if (c->strict)
            return load_conn_lost(c);
        load_stream_close(&s->stream, true);
        load_conn_show(c);
        return LOAD_NOTHING;
    }
    if (statement_of(c, p)->expect == 1) {
        load_stream_close(&s->stream, true);
        return finish(c, p, now_ns);
    }
    load_fault_set(&c->fault, "closed", "closed by the server without an answer");
    return load_conn_lost(c);
}

static enum load_event listen_for_bytes(struct load_conn *c, const struct load_program *p,
                                        int64_t now_ns)
{
    struct session *s = c->own;
    bool any = false;
    ssize_t n;

    while ((n = load_stream_read(&s->stream, load_scratch, LOAD_SCRATCH)) > 0) {
        any = true;
        if (c->reply)
            tw_buf_add(c->reply, load_scratch, (size_t)n);
    }
    if (any && c->state == LOAD_BUSY)
        return finish(c, p, now_ns); /* an end after it is heard when it is used again */
    if (n == 0)
        return closed(c, p, now_ns);
    if (n < 0 && n != -EAGAIN)
        return load_conn_lost(c);
    load_conn_show(c);
    return LOAD_NOTHING;
}

static enum load_event tcp_ready(struct load_conn *c, const struct load_program *p,
                                 int64_t now_ns)
{
    struct session *s = c->own;
    int r;

    if (s->stream.step == LOAD_STREAM_CLOSED)
        return LOAD_NOTHING;
    if (s->stream.step == LOAD_STREAM_OPEN) {
        if (s->stream.out.len > 0 && load_stream_flush(&s->stream) < 0)
            tw_buf_clear(&s->stream.out);
        return listen_for_bytes(c, p, now_ns);
    }
    r = load_stream_advance(&s->stream);
    if (r < 0)
        return load_conn_lost(c);
    if (r > 0 && c->state == LOAD_OPENING) {
        rest(c);
        return LOAD_OPENED;
    }
    load_conn_show(c);
    return r > 0 ? say(c, p, now_ns) : LOAD_NOTHING;
}

const struct load_driver load_driver_tcp = {
    .name = "tcp",
    .aim = tcp_aim,
    .open = tcp_open,
    .send = tcp_send,
    .ready = tcp_ready,
    .resume = tcp_resume,
    .abandon = load_conn_abandon,
    .close = tcp_close,
};
