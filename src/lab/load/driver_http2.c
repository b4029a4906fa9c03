/* HTTP/2 by nghttp2: over TLS (ALPN "h2") or in clear text with prior knowledge.
 *
 * A connection of the generator has one request outstanding; so here it is a stream's place,
 * and as many as the endpoint's streams= says share a socket. The first of such a group shows
 * the socket to the generator (the watcher); what happens to the others is told by others().
 * A server that says GOAWAY is left as clients do: what it took is waited for, the next
 * request goes over a new connection. */
#include "http_internal.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define WINDOW (1 << 24)
#define FIELDS 64

struct member;
struct session {
    struct load_stream stream;
    struct load_fault fault;
    nghttp2_session *ng;
    struct group *group;
    size_t members;  /* that belong to it */
    size_t requests; /* under way */
    int64_t served;
    bool draining, dead;
    struct session *next; /* of those draining */
};
struct group {
    struct target *target;
    struct session *current, *draining;
    struct load_conn **conns; /* by place; NULL: closed */
};
struct member {
    struct load_conn *conn;
    struct group *group;
    struct session *session; /* NULL: none yet, or it is gone */
    int32_t stream;          /* 0: none */
    bool waiting;            /* a request, for the session to come up */
    bool begun, retried;
    const char **parameters;
    struct tw_buf body;
    size_t body_sent;
    struct http_words words;
};
struct told {
    struct load_conn *conn;
    enum load_event event;
};
struct target {
    struct load_endpoint endpoint;
    const struct load_program *program;
    struct http_request *requests; /* by number of the statement */
    struct group **groups;
    size_t group_count;
    struct told *queue;
    size_t queue_head, queue_count, queue_room;
    nghttp2_session_callbacks *callbacks;
};

static void tell(struct target *t, struct load_conn *c, enum load_event event)
{
    if (t->queue_count == t->queue_room) {
        t->queue_room = 2 * t->queue_room + 64;
        t->queue = tw_realloc_array(t->queue, t->queue_room, sizeof *t->queue);
    }
    t->queue[t->queue_count++] = (struct told){c, event};
}

/* ---- the watcher ---- */

static void show(struct group *g)
{
    const struct session *s = g->current;
    struct load_conn *w = g->conns[0];
    unsigned events;
    int fd;

    if (!w)
        return;
    fd = s && s->stream.step != LOAD_STREAM_CLOSED ? s->stream.fd : -1;
    events = fd >= 0 ? load_stream_events(&s->stream) : 0;
    if (fd == w->fd && events == w->events && !w->renewed)
        return;
    w->fd = fd;
    w->events = events;
    tell(g->target, w, LOAD_NOTHING);
}

/* ---- sessions ---- */

static void leave(struct member *m)
{
    struct session *s = m->session;

    if (!s)
        return;
    if (m->stream > 0) {
        (void)nghttp2_session_set_stream_user_data(s->ng, m->stream, NULL);
        s->requests--;
    }
    m->stream = 0;
    m->session = NULL;
    s->members--;
}

static void end_session(struct session *s)
{
    struct group *g = s->group;

    if (g->current == s)
        g->current = NULL;
    for (struct session **at = &g->draining; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            break;
        }
    load_stream_close(&s->stream, s->dead);
    tw_buf_done(&s->stream.out);
    nghttp2_session_del(s->ng);
    free(s);
    show(g);
}

static int open_session(struct group *g, struct load_fault *fault)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}};
    struct session *s = tw_alloc(sizeof *s);
    int r;

    s->group = g;
    s->stream.fd = -1;
    r = load_stream_open(&s->stream, &g->target->endpoint, &s->fault);
    if (r >= 0 && nghttp2_session_client_new(&s->ng, g->target->callbacks, s) != 0)
        r = -ENOMEM;
    if (r < 0) {
        *fault = s->fault;
        end_session(s);
        return r;
    }
    (void)nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, settings,
                                  TW_COUNT_OF(settings));
    (void)nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0, WINDOW);
    g->current = s;
    if (g->conns[0])
        g->conns[0]->renewed = true;
    return 0;
}

static void drain_session(struct session *s)
{
    struct group *g = s->group;

    if (s->draining)
        return;
    s->draining = true;
    if (g->current == s)
        g->current = NULL;
    s->next = g->draining;
    g->draining = s;
    if (g->conns[0])
        g->conns[0]->renewed = true;
}

/* What nghttp2 has to send goes out in one piece. */
static int send_frames(struct session *s)
{
    static struct tw_buf frames;
    const uint8_t *data;
    ssize_t n;

    if (frames.max == 0)
        tw_buf_init(&frames, LOAD_STREAM_OUT_MAX);
    if (s->stream.step != LOAD_STREAM_OPEN)
        return 0;
    tw_buf_clear(&frames);
    while ((n = nghttp2_session_mem_send(s->ng, &data)) > 0)
        tw_buf_add(&frames, data, (size_t)n);
    if (n < 0) {
        load_fault_set(&s->fault, "protocol", nghttp2_strerror((int)n));
        return (int)n;
    }
    return frames.len ? load_stream_write(&s->stream, frames.data, frames.len) : 0;
}

/* ---- requests ---- */

static struct http_request *request_of(const struct load_conn *c)
{
    const struct target *t = c->target;

    return &t->requests[t->program->items[c->item].statements[c->statement].number];
}

static nghttp2_nv field(const char *name, const char *value, size_t len)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = len};
}

static ssize_t give_body(nghttp2_session *ng, int32_t stream, uint8_t *to, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct member *m = source->ptr;
    size_t n = m->body.len - m->body_sent;

    (void)ng, (void)stream, (void)arg;
    n = n < room ? n : room;
    if (n)
        memcpy(to, m->body.data + m->body_sent, n);
    m->body_sent += n;
    if (m->body_sent == m->body.len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static int submit(struct member *m)
{
    struct load_conn *c = m->conn;
    const struct target *t = c->target;
    const struct http_request *q = request_of(c);
    const struct load_endpoint *e = &t->endpoint;
    const char *host = q->host ? q->host : e->host ? e->host : e->address;
    nghttp2_data_provider body = {.source.ptr = m, .read_callback = give_body};
    nghttp2_nv fields[FIELDS];
    tw_auto_buf values = {0};
    size_t n = 0, at = 0, len;
    char length[24];
    int32_t id;

    tw_buf_init(&values, (size_t)16 << 20);
    (void)load_draw_parameters(
        &t->program->mix->items.items[c->item].statements.items[c->statement], &c->draw,
        m->parameters);
    load_template_render(&q->path, m->parameters, &values);
    for (size_t i = 0; i < q->headers.count; i++)
        load_template_render(&q->headers.items[i].value, m->parameters, &values);
    tw_buf_add(&values, "", 1); /* it is there, whatever its length */
    tw_buf_clear(&m->body);
    m->body_sent = 0;
    load_template_render(&q->body, m->parameters, &m->body);

    fields[n++] = field(":method", q->method, strlen(q->method));
    fields[n++] = field(":scheme", e->tls ? "https" : "http", e->tls ? 5 : 4);
    fields[n++] = field(":authority", host, strlen(host));
    at = load_template_length(&q->path, m->parameters);
    fields[n++] = field(":path", values.data, at);
    fields[n++] = field("user-agent", "twin", 4);
    if (q->has_body) {
        (void)snprintf(length, sizeof length, "%zu", m->body.len);
        fields[n++] = field("content-length", length, strlen(length));
    }
    for (size_t i = 0; i < q->headers.count && n < FIELDS; i++, at += len) {
        len = load_template_length(&q->headers.items[i].value, m->parameters);
        fields[n++] = field(q->headers.items[i].name, values.data + at, len);
    }
    id = nghttp2_submit_request(m->session->ng, NULL, fields, n,
                                q->has_body ? &body : NULL, m);
    if (id < 0)
        return id;
    m->stream = id;
    m->session->requests++;
    m->begun = false;
    m->words = (struct http_words){0};
    c->status = 0;
    return 0;
}

static void fail(struct member *m, const struct load_fault *fault)
{
    leave(m);
    m->waiting = false;
    m->conn->fault = *fault;
    m->conn->state = LOAD_CLOSED;
    tell(m->group->target, m->conn, LOAD_LOST);
}

static bool may_retry(const struct member *m, bool untouched)
{
    return !m->conn->strict && !m->retried &&
           (untouched || (!m->begun && request_of(m->conn)->idempotent));
}

/* Sends the request of a member, over a new connection where there is none. */
static void request(struct member *m)
{
    struct group *g = m->group;
    struct load_fault fault = {0};

    if (m->session && m->session->draining)
        leave(m);
    if (!m->session) {
        if (!g->current && open_session(g, &fault) < 0) {
            fail(m, &fault);
            return;
        }
        m->session = g->current;
        m->session->members++;
    }
    m->conn->state = LOAD_BUSY;
    m->waiting = m->session->stream.step != LOAD_STREAM_OPEN;
    if (!m->waiting && submit(m) < 0) {
        load_fault_set(&fault, "protocol", "the connection takes no more requests");
        fail(m, &fault);
    }
}

static enum load_event begin(struct member *m)
{
    struct load_conn *c = m->conn;
    const struct target *t = c->target;
    int64_t think = t->program->items[c->item].statements[c->statement].think_ns;

    m->retried = false;
    if (think > 0)
        return load_conn_pause(c, tw_now_ns() + think);
    request(m);
    return LOAD_NOTHING;
}

/* ---- what nghttp2 tells ---- */

static int hear_header(nghttp2_session *ng, const nghttp2_frame *frame,
                       const uint8_t *name, size_t name_len, const uint8_t *value,
                       size_t value_len, uint8_t flags, void *arg)
{
    struct member *m = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);

    (void)flags, (void)arg;
    if (!m)
        return 0;
    m->begun = true;
    if (name_len == 7 && !memcmp(name, ":status", 7) && value_len == 3)
        m->conn->status =
            (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
    return 0;
}

static int hear_data(nghttp2_session *ng, uint8_t flags, int32_t stream,
                     const uint8_t *data, size_t len, void *arg)
{
    struct member *m = nghttp2_session_get_stream_user_data(ng, stream);

    (void)flags, (void)arg;
    if (!m)
        return 0;
    if (m->words.len + 2 < sizeof m->words.text)
        http_words_add(&m->words, (const char *)data, len);
    if (m->conn->reply)
        tw_buf_add(m->conn->reply, data, len);
    return 0;
}

static int hear_close(nghttp2_session *ng, int32_t stream, uint32_t error, void *arg)
{
    struct member *m = nghttp2_session_get_stream_user_data(ng, stream);
    struct session *s = arg;
    struct load_conn *c;

    if (!m || m->stream != stream)
        return 0;
    c = m->conn;
    m->stream = 0;
    s->requests--;
    s->served++;
    if (error == NGHTTP2_REFUSED_STREAM && may_retry(m, true)) {
        m->retried = true;
        drain_session(s);
        request(m);
        return 0;
    }
    c->state = LOAD_IDLE;
    if (error != NGHTTP2_NO_ERROR || c->status == 0) {
        tw_auto_free char *why = tw_strf("closed by the server without an answer: %s",
                                         nghttp2_http2_strerror(error));

        load_fault_set(&c->fault, "closed", why);
        tell(m->group->target, c, LOAD_REFUSED);
    } else if (!http_expected(request_of(c)->expect, c->status)) {
        http_fault(&c->fault, c->status, NULL, &m->words);
        tell(m->group->target, c, LOAD_REFUSED);
    } else {
        tell(m->group->target, c, LOAD_ANSWERED);
    }
    return 0;
}

static int hear_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    (void)ng;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        load_fault_set(&((struct session *)arg)->fault, "closed",
                       "closed by the server while idle");
        drain_session(arg);
    }
    return 0;
}

/* ---- driving a session ---- */

/* The connection is gone: idle members find another when they need it, busy ones too where
 * their method allows it. */
static void lose_session(struct session *s)
{
    struct group *g = s->group;
    struct load_fault fault = s->fault;

    s->dead = true;
    drain_session(s);
    for (int64_t i = 0; i < g->target->endpoint.streams; i++) {
        struct member *m = g->conns[i] ? g->conns[i]->own : NULL;
        bool busy;

        if (!m || m->session != s)
            continue;
        busy = m->stream > 0;
        leave(m);
        if (busy && s->served > 0 && may_retry(m, false)) {
            m->retried = true;
            request(m);
        } else if (busy || m->waiting || m->conn->state == LOAD_OPENING ||
                   m->conn->strict) {
            fail(m, &fault);
        }
    }
    end_session(s);
}

/* The connection is up: who waited is served. */
static void welcome(struct session *s)
{
    struct group *g = s->group;

    for (int64_t i = 0; i < g->target->endpoint.streams; i++) {
        struct member *m = g->conns[i] ? g->conns[i]->own : NULL;

        if (!m || m->session != s)
            continue;
        if (m->waiting) {
            request(m);
        } else if (m->conn->state == LOAD_OPENING) {
            m->conn->state = LOAD_IDLE;
            tell(g->target, m->conn, LOAD_OPENED);
        }
    }
}

static int connect_session(struct session *s)
{
    int r = load_stream_advance(&s->stream);

    if (r <= 0)
        return r;
    if (s->stream.tls && !load_stream_speaks(&s->stream, "h2")) {
        load_fault_set(&s->fault, "protocol", "the server does not offer HTTP/2");
        return -EPROTO;
    }
    welcome(s);
    return 0;
}

static int receive_frames(struct session *s)
{
    for (;;) {
        ssize_t n = load_stream_read(&s->stream, load_scratch, LOAD_SCRATCH), taken;

        if (n == -EAGAIN)
            return 0;
        if (n == 0)
            load_fault_set(&s->fault, "closed", "closed by the server");
        if (n <= 0)
            return n < 0 ? (int)n : -ECONNRESET;
        taken = nghttp2_session_mem_recv(s->ng, (const uint8_t *)load_scratch, (size_t)n);
        if (taken < 0) {
            load_fault_set(&s->fault, "protocol", "the answer is not HTTP/2");
            return -EPROTO;
        }
        if (!s->stream.tls && (size_t)n < LOAD_SCRATCH)
            return 0;
    }
}

static void drive(struct session *s)
{
    struct group *g = s->group;
    int r = 0;

    if (s->stream.step != LOAD_STREAM_OPEN)
        r = connect_session(s);
    else if (s->stream.out.len > 0)
        r = load_stream_flush(&s->stream);
    if (r >= 0 && s->stream.step == LOAD_STREAM_OPEN)
        r = receive_frames(s);
    if (r >= 0)
        r = send_frames(s);
    if (r < 0)
        lose_session(s);
    else if (s->draining && s->requests == 0) {
        s->dead = true;
        lose_session(s); /* its idle members go elsewhere */
    }
    if (g->current && g->current != s && send_frames(g->current) < 0)
        lose_session(g->current); /* what moved over there */
    show(g);
}

/* ---- connections of the generator ---- */

static int http2_aim(struct tw_arena *a, const struct load_program *p,
                     const char *endpoint, void **ret_target, struct tw_err *err)
{
    struct target *t = tw_arena_alloc(a, sizeof *t);
    int r = load_endpoint_parse(a, endpoint, &t->endpoint, err);

    if (r < 0)
        return r;
    t->program = p;
    t->endpoint.alpn = "\x02h2";
    r = load_endpoint_ready(a, &t->endpoint, err);
    t->requests = tw_arena_alloc(a, (p->statement_count + 1) * sizeof *t->requests);
    for (size_t i = 0; i < p->mix->items.count && r >= 0; i++) {
        const struct tw_load_item *item = &p->mix->items.items[i];

        for (size_t n = 0; n < item->statements.count && r >= 0; n++)
            r = http_request_read(a, &item->statements.items[n],
                                  &t->requests[p->items[i].statements[n].number], err);
    }
    if (r < 0 || nghttp2_session_callbacks_new(&t->callbacks) != 0)
        return r < 0 ? r : -ENOMEM;
    nghttp2_session_callbacks_set_on_header_callback(t->callbacks, hear_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(t->callbacks, hear_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(t->callbacks, hear_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(t->callbacks, hear_frame);
    *ret_target = t;
    return 0;
}

static struct group *group_of(struct target *t, size_t index)
{
    size_t at = index / (size_t)t->endpoint.streams;

    while (t->group_count <= at) {
        struct group *g = tw_alloc(sizeof *g);

        g->target = t;
        g->conns = tw_alloc((size_t)t->endpoint.streams * sizeof(struct load_conn *));
        t->groups =
            tw_realloc_array(t->groups, t->group_count + 1, sizeof(struct group *));
        t->groups[t->group_count++] = g;
    }
    return t->groups[at];
}

static void http2_close(struct load_conn *c)
{
    struct member *m = c->own;
    struct session *s;

    c->state = LOAD_CLOSED;
    c->fd = -1;
    if (!m)
        return;
    s = m->session;
    if (s && m->stream > 0)
        (void)nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, m->stream,
                                        NGHTTP2_CANCEL);
    leave(m);
    m->group->conns[c->index % (size_t)m->group->target->endpoint.streams] = NULL;
    if (s && s->members == 0)
        end_session(s);
    else if (s)
        (void)send_frames(s);
    tw_buf_done(&m->body);
    free(m->parameters);
    free(m);
    c->own = NULL;
}

/* The place of the watcher comes first: where it found no connection, nobody does. */
static void http2_open(struct load_conn *c, const struct load_program *p)
{
    struct target *t = (struct target *)(uintptr_t)c->target;
    struct group *g = group_of(t, c->index);
    struct member *m = tw_alloc(sizeof *m);
    size_t place = c->index % (size_t)t->endpoint.streams;

    *m = (struct member){.conn = c, .group = g};
    m->parameters = tw_alloc((p->max_parameters + 1) * sizeof *m->parameters);
    tw_buf_init(&m->body, LOAD_STREAM_OUT_MAX);
    c->own = m;
    c->fd = -1;
    c->events = 0;
    g->conns[place] = c;
    if (!g->current && (place > 0 && !g->conns[0])) {
        load_fault_set(&c->fault, "closed", "the connection shared with others is gone");
        c->state = LOAD_CLOSED;
        return;
    }
    if (!g->current && open_session(g, &c->fault) < 0) {
        c->state = LOAD_CLOSED;
        return;
    }
    m->session = g->current;
    m->session->members++;
    c->state = g->current->stream.step == LOAD_STREAM_OPEN ? LOAD_IDLE : LOAD_OPENING;
    if (c->state == LOAD_IDLE)
        tell(t, c, LOAD_OPENED);
    show(g);
}

static void after_request(struct member *m)
{
    struct session *s = m->session;

    if (s && send_frames(s) < 0)
        lose_session(s);
    show(m->group);
}

static enum load_event http2_send(struct load_conn *c, const struct load_program *p,
                                  int64_t now_ns)
{
    struct member *m = c->own;
    enum load_event event;

    (void)p, (void)now_ns;
    c->statement = 0;
    event = begin(m);
    after_request(m);
    return event;
}

static enum load_event http2_resume(struct load_conn *c, const struct load_program *p,
                                    int64_t now_ns)
{
    struct member *m = c->own;

    (void)p, (void)now_ns;
    request(m);
    after_request(m);
    return LOAD_NOTHING;
}

static enum load_event http2_ready(struct load_conn *c, const struct load_program *p,
                                   int64_t now_ns)
{
    struct member *m = c->own;
    struct group *g = m->group;

    (void)p, (void)now_ns;
    for (struct session *s = g->draining, *next; s; s = next) {
        next = s->next;
        drive(s);
    }
    if (g->current)
        drive(g->current);
    return LOAD_NOTHING;
}

static struct load_conn *http2_others(const void *target, enum load_event *ret)
{
    struct target *t = (struct target *)(uintptr_t)target;

    while (t->queue_head < t->queue_count) {
        struct told told = t->queue[t->queue_head++];
        struct member *m = told.conn->own;
        struct load_conn *c = told.conn;

        if (!m)
            continue; /* closed meanwhile */
        if (told.event == LOAD_ANSWERED &&
            ++c->statement < t->program->mix->items.items[c->item].statements.count) {
            told.event = begin(m);
            after_request(m);
        }
        *ret = told.event;
        return c;
    }
    t->queue_head = t->queue_count = 0;
    return NULL;
}

static void http2_abandon(struct load_conn *c)
{
    struct member *m = c->own;
    struct session *s = m->session;

    if (s && m->stream > 0)
        (void)nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, m->stream,
                                        NGHTTP2_CANCEL);
    m->waiting = false;
    leave(m);
    if (s && s->members == 0)
        end_session(s);
    else if (s)
        (void)send_frames(s);
    c->state = LOAD_IDLE;
}

const struct load_driver load_driver_http2 = {
    .name = "http2",
    .aim = http2_aim,
    .open = http2_open,
    .send = http2_send,
    .ready = http2_ready,
    .resume = http2_resume,
    .others = http2_others,
    .abandon = http2_abandon,
    .close = http2_close,
};
