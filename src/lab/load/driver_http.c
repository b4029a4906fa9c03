/* HTTP/1.1: kept connections or a new one for each request, one request outstanding on each.
 *
 * As clients do: a kept connection that the server closed is opened again when it is needed,
 * and a request that met the closing is sent once more where its method allows that. The time
 * of all this is the request's. Only a connection with strict set tells every closing. */
#include "http_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#define HEAD_MAX ((size_t)1 << 20)

struct message {
    struct load_template head, body;
    const char *bytes; /* the whole request, where nothing in it varies */
    size_t len;
    const struct http_request *request;
};
struct target {
    struct load_endpoint endpoint; /* first: stream_conn.c */
    struct message *messages;      /* by number of the statement */
};
enum part {
    HEAD,
    COUNTED, /* left bytes of the body */
    CHUNK_SIZE,
    CHUNK_DATA,
    CHUNK_END, /* the line end after the data */
    TRAILER,
    UNTIL_CLOSE, /* the body ends with the connection */
    COMPLETE
};
struct session {
    struct load_stream stream; /* first: stream_conn.c */
    struct tw_buf head, request;
    const char **parameters;
    enum part part;
    int64_t left;
    bool closes; /* the server, after this answer */
    bool begun;  /* something of the answer is here */
    bool retried, line_used;
    int64_t served; /* on this connection */
    char reason[64];
    struct http_words words;
};

/* ---- requests made ready ---- */

static void puts_template(struct tw_buf *b, const struct load_template *t)
{
    for (size_t i = 0; i < t->pieces.count; i++) {
        const struct load_piece *p = &t->pieces.items[i];

        if (!p->text) {
            tw_buf_printf(b, "$%zu", p->parameter + 1);
            continue;
        }
        for (size_t n = 0; n < p->len; n++) {
            tw_buf_add(b, &p->text[n], 1);
            if (p->text[n] == '$')
                tw_buf_puts(b, "$");
        }
    }
}

static bool has_header(const struct http_request *q, const char *name)
{
    for (size_t i = 0; i < q->headers.count; i++)
        if (!strcmp(q->headers.items[i].name, name))
            return true;
    return false;
}

/* The head up to Content-Length, which depends on what is drawn. */
static void write_head(const struct http_request *q, const struct load_endpoint *e,
                       struct tw_buf *b)
{
    const char *host = q->host ? q->host : e->host ? e->host : e->address;

    tw_buf_printf(b, "%s ", q->method);
    puts_template(b, &q->path);
    tw_buf_printf(b, " HTTP/1.1\r\nHost: %s\r\n", host[0] == '/' ? "localhost" : host);
    if (!has_header(q, "user-agent"))
        tw_buf_puts(b, "User-Agent: twin\r\n");
    if (!has_header(q, "accept"))
        tw_buf_puts(b, "Accept: */*\r\n");
    if (e->keepalive == 0)
        tw_buf_puts(b, "Connection: close\r\n");
    for (size_t i = 0; i < q->headers.count; i++) {
        tw_buf_printf(b, "%s: ", q->headers.items[i].name);
        puts_template(b, &q->headers.items[i].value);
        tw_buf_puts(b, "\r\n");
    }
}

static bool sends_length(const struct http_request *q)
{
    return q->has_body || !strcmp(q->method, "POST") || !strcmp(q->method, "PUT") ||
           !strcmp(q->method, "PATCH");
}

static void render(const struct message *m, const char *const *parameters,
                   struct tw_buf *to)
{
    load_template_render(&m->head, parameters, to);
    if (sends_length(m->request))
        tw_buf_printf(to, "Content-Length: %zu\r\n",
                      load_template_length(&m->body, parameters));
    tw_buf_puts(to, "\r\n");
    load_template_render(&m->body, parameters, to);
}

static int ready_message(struct tw_arena *a, const struct tw_load_statement *s,
                         const struct load_endpoint *e, struct message *m,
                         struct tw_err *err)
{
    struct http_request *q = tw_arena_alloc(a, sizeof *q);
    tw_auto_buf b = {0};
    int r = http_request_read(a, s, q, err);

    if (r < 0)
        return r;
    tw_buf_init(&b, LOAD_STREAM_OUT_MAX);
    m->request = q;
    m->body = q->body;
    write_head(q, e, &b);
    load_template_compile(a, tw_buf_text(&b), b.len, q->parameters, &m->head);
    if (m->head.parameters || m->body.parameters)
        return 0;
    tw_buf_clear(&b);
    render(m, NULL, &b);
    m->len = b.len;
    m->bytes = load_bytes_copy(a, tw_buf_text(&b), b.len);
    return 0;
}

static int http_aim(struct tw_arena *a, const struct load_program *p,
                    const char *endpoint, void **ret_target, struct tw_err *err)
{
    struct target *t = tw_arena_alloc(a, sizeof *t);
    int r = load_endpoint_parse(a, endpoint, &t->endpoint, err);

    if (r < 0)
        return r;
    t->endpoint.alpn = "\x08http/1.1";
    r = load_endpoint_ready(a, &t->endpoint, err);
    t->messages = tw_arena_alloc(a, (p->statement_count + 1) * sizeof *t->messages);
    for (size_t i = 0; i < p->mix->items.count && r >= 0; i++) {
        const struct tw_load_item *item = &p->mix->items.items[i];

        for (size_t n = 0; n < item->statements.count && r >= 0; n++)
            r = ready_message(a, &item->statements.items[n], &t->endpoint,
                              &t->messages[p->items[i].statements[n].number], err);
    }
    *ret_target = t;
    return r;
}

/* ---- answers ---- */

static bool header_is(const char *line, size_t len, const char *name, const char **ret)
{
    size_t n = strlen(name);

    if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
        return false;
    for (line += n + 1; *line == ' ' || *line == '\t';)
        line++;
    *ret = line;
    return true;
}

static void read_answer_header(struct session *s, const char *line, size_t len)
{
    const char *value;

    switch (tolower((unsigned char)*line)) {
    case 'c':
        if (header_is(line, len, "content-length", &value) && s->part != CHUNK_SIZE) {
            s->part = COUNTED;
            s->left = strtoll(value, NULL, 10);
        } else if (header_is(line, len, "connection", &value) &&
                   !strncasecmp(value, "close", 5)) {
            s->closes = true;
        }
        break;
    case 't':
        if (header_is(line, len, "transfer-encoding", &value) &&
            !strncasecmp(value, "chunked", 7))
            s->part = CHUNK_SIZE;
        break;
    default:
        break;
    }
}

/* A head without its empty line, NUL-terminated or followed by other bytes. */
static bool read_head(struct load_conn *c, const struct message *m, const char *head,
                      size_t len)
{
    const char *at = head, *end = head + len, *line_end;
    struct session *s = c->own;
    size_t n;

    if (len < 12 || memcmp(head, "HTTP/1.", 7) != 0)
        return false;
    c->status = 0;
    for (int i = 9; i < 12; i++)
        c->status = c->status * 10 + (head[i] - '0');
    if (c->status < 100 || c->status > 999)
        return false;
    s->closes = head[7] == '0';
    s->part = UNTIL_CLOSE;
    s->left = 0;
    for (bool first = true; at < end; first = false) {
        line_end = memchr(at, '\r', (size_t)(end - at));
        line_end = line_end ? line_end : end;
        n = (size_t)(line_end - at);
        if (first) {
            size_t room = n > 13 ? n - 13 : 0;

            room = room < sizeof s->reason - 1 ? room : sizeof s->reason - 1;
            memcpy(s->reason, at + 13, room);
            s->reason[room] = '\0';
        } else if (n > 0) {
            read_answer_header(s, at, n);
        }
        at = line_end + 2;
    }
    if (c->status < 200 && c->status != 101)
        s->part = HEAD; /* the real one follows */
    else if (m->request->head || c->status == 204 || c->status == 304 ||
             (s->part == COUNTED && s->left == 0))
        s->part = COMPLETE;
    s->closes |= s->part == UNTIL_CLOSE;
    return s->left >= 0;
}

/* Bytes taken, or -1: no HTTP. */
static ssize_t take_head(struct load_conn *c, const struct message *m, const char *data,
                         size_t len)
{
    struct session *s = c->own;
    size_t before = s->head.len, from;
    const char *end;
    ssize_t taken;

    if (before == 0) {
        end = memmem(data, len, "\r\n\r\n", 4);
        if (end)
            return read_head(c, m, data, (size_t)(end - data)) ? end + 4 - data : -1;
    }
    tw_buf_add(&s->head, data, len);
    if (s->head.overflow)
        return -1;
    from = before > 3 ? before - 3 : 0;
    end = memmem(s->head.data + from, s->head.len - from, "\r\n\r\n", 4);
    if (!end)
        return (ssize_t)len;
    taken = end + 4 - s->head.data - (ssize_t)before;
    if (!read_head(c, m, s->head.data, (size_t)(end - s->head.data)))
        return -1;
    tw_buf_clear(&s->head);
    return taken;
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The line of a chunk's size, which may come in pieces; -1: no such line. */
static ssize_t take_size(struct session *s, const char *data, size_t len)
{
    size_t i;

    for (i = 0; i < len && data[i] != '\n'; i++) {
        int digit = digit_of(data[i]);

        if (s->line_used)
            continue; /* an extension */
        if (digit < 0)
            s->line_used = true;
        else if (s->left > INT64_MAX >> 5)
            return -1;
        else
            s->left = s->left << 4 | digit;
    }
    if (i == len)
        return (ssize_t)len;
    s->line_used = false;
    s->part = s->left > 0 ? CHUNK_DATA : TRAILER;
    return (ssize_t)i + 1;
}

/* Lines up to an empty one. */
static ssize_t take_trailer(struct session *s, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n') {
            if (!s->line_used) {
                s->part = COMPLETE;
                return (ssize_t)i + 1;
            }
            s->line_used = false;
        } else if (data[i] != '\r') {
            s->line_used = true;
        }
    }
    return (ssize_t)len;
}

static ssize_t take_body(struct session *s, const char *data, size_t len, enum part then)
{
    size_t n = s->part != UNTIL_CLOSE && (int64_t)len > s->left ? (size_t)s->left : len;

    if (s->words.len + 2 < sizeof s->words.text)
        http_words_add(&s->words, data, n);
    s->left -= s->part == UNTIL_CLOSE ? 0 : (int64_t)n;
    if (s->part != UNTIL_CLOSE && s->left == 0)
        s->part = then;
    return (ssize_t)n;
}

static ssize_t take_part(struct load_conn *c, const struct message *m, const char *data,
                         size_t len)
{
    struct session *s = c->own;
    const char *end;

    switch (s->part) {
    case HEAD:
        return take_head(c, m, data, len);
    case CHUNK_SIZE:
        return take_size(s, data, len);
    case CHUNK_DATA:
        return take_body(s, data, len, CHUNK_END);
    case CHUNK_END:
        end = memchr(data, '\n', len);
        if (end)
            s->part = CHUNK_SIZE;
        return end ? end + 1 - data : (ssize_t)len;
    case TRAILER:
        return take_trailer(s, data, len);
    case COUNTED:
    case UNTIL_CLOSE:
        return take_body(s, data, len, COMPLETE);
    case COMPLETE:
        break;
    }
    return (ssize_t)len;
}

static bool take(struct load_conn *c, const struct message *m, const char *data,
                 size_t len)
{
    struct session *s = c->own;

    s->begun = true;
    if (c->reply)
        tw_buf_add(c->reply, data, len);
    while (len > 0 && s->part != COMPLETE) {
        ssize_t n = take_part(c, m, data, len);

        if (n < 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* ---- connections ---- */

static int connect_again(struct load_conn *c)
{
    struct session *s = c->own;

    s->served = 0;
    return load_conn_connect(c);
}

static void http_close(struct load_conn *c)
{
    struct session *s = c->own;

    if (s) {
        tw_buf_done(&s->head);
        tw_buf_done(&s->request);
        free(s->parameters);
    }
    load_conn_end(c, false);
}

static void http_open(struct load_conn *c, const struct load_program *p)
{
    struct session *s = tw_alloc(sizeof *s);

    c->own = s;
    s->stream.fd = -1;
    s->parameters = tw_alloc((p->max_parameters + 1) * sizeof *s->parameters);
    tw_buf_init(&s->head, HEAD_MAX);
    tw_buf_init(&s->request, LOAD_STREAM_OUT_MAX);
    c->state = LOAD_OPENING;
    if (connect_again(c) < 0)
        (void)load_conn_lost(c);
}

static const struct message *message_of(const struct load_conn *c,
                                        const struct load_program *p)
{
    const struct target *t = c->target;

    return &t->messages[p->items[c->item].statements[c->statement].number];
}

static enum load_event request_again(struct load_conn *c, const struct load_program *p);

static int write_request(struct load_conn *c, const struct load_program *p)
{
    const struct message *m = message_of(c, p);
    const struct tw_load_statement *from =
        &p->mix->items.items[c->item].statements.items[c->statement];
    struct session *s = c->own;

    if (m->bytes)
        return load_stream_write(&s->stream, m->bytes, m->len);
    tw_buf_clear(&s->request);
    (void)load_draw_parameters(from, &c->draw, s->parameters);
    render(m, s->parameters, &s->request);
    return load_stream_write(&s->stream, s->request.data, s->request.len);
}

/* The connection went while a request was on it. */
static enum load_event broken(struct load_conn *c, const struct load_program *p)
{
    struct session *s = c->own;

    if (s->begun || s->served == 0 || s->retried || c->strict ||
        !message_of(c, p)->request->idempotent)
        return load_conn_lost(c);
    s->retried = true;
    return request_again(c, p);
}

static enum load_event request(struct load_conn *c, const struct load_program *p)
{
    struct session *s = c->own;

    c->state = LOAD_BUSY;
    s->part = HEAD;
    s->begun = s->line_used = false;
    s->words = (struct http_words){0};
    tw_buf_clear(&s->head);
    if (s->stream.step == LOAD_STREAM_CLOSED && connect_again(c) < 0)
        return load_conn_lost(c);
    if (s->stream.step == LOAD_STREAM_OPEN && write_request(c, p) < 0)
        return broken(c, p);
    load_conn_show(c);
    return LOAD_NOTHING;
}

static enum load_event request_again(struct load_conn *c, const struct load_program *p)
{
    struct session *s = c->own;

    load_stream_close(&s->stream, true);
    return request(c, p);
}

static enum load_event pause_or_request(struct load_conn *c, const struct load_program *p,
                                        int64_t now_ns)
{
    struct session *s = c->own;
    int64_t think = p->items[c->item].statements[c->statement].think_ns;

    s->retried = false;
    if (think == 0)
        return request(c, p);
    return load_conn_pause(c, now_ns + think);
}

static enum load_event http_send(struct load_conn *c, const struct load_program *p,
                                 int64_t now_ns)
{
    c->statement = 0;
    return pause_or_request(c, p, now_ns);
}

static enum load_event http_resume(struct load_conn *c, const struct load_program *p,
                                   int64_t now_ns)
{
    (void)now_ns;
    return request(c, p);
}

static enum load_event finish(struct load_conn *c, const struct load_program *p,
                              int64_t now_ns)
{
    const struct message *m = message_of(c, p);
    const struct target *t = c->target;
    struct session *s = c->own;

    s->served++;
    if (s->closes || t->endpoint.keepalive == 0 || s->stream.out.len > 0)
        load_stream_close(&s->stream, t->endpoint.keepalive == 0);
    c->state = LOAD_IDLE;
    load_conn_show(c);
    if (!http_expected(m->request->expect, c->status)) {
        http_fault(&c->fault, c->status, s->reason, &s->words);
        return LOAD_REFUSED;
    }
    if (++c->statement < p->mix->items.items[c->item].statements.count)
        return pause_or_request(c, p, now_ns);
    return LOAD_ANSWERED;
}

static enum load_event ended(struct load_conn *c, const struct load_program *p,
                             int64_t now_ns)
{
    struct session *s = c->own;

    if (s->part == UNTIL_CLOSE) {
        s->part = COMPLETE;
        return finish(c, p, now_ns);
    }
    load_fault_set(&c->fault, "closed",
                   s->begun ? "closed by the server within an answer"
                            : "closed by the server without an answer");
    return broken(c, p);
}

static enum load_event listen_for_answer(struct load_conn *c,
                                         const struct load_program *p, int64_t now_ns)
{
    const struct message *m = message_of(c, p);
    struct session *s = c->own;

    for (;;) {
        ssize_t n = load_stream_read(&s->stream, load_scratch, LOAD_SCRATCH);

        if (n == -EAGAIN)
            break;
        if (n < 0)
            return broken(c, p);
        if (n == 0)
            return ended(c, p, now_ns);
        if (!take(c, m, load_scratch, (size_t)n)) {
            load_fault_set(&c->fault, "protocol", "the answer is not HTTP/1.1");
            return load_conn_lost(c);
        }
        if (s->part == COMPLETE)
            return finish(c, p, now_ns);
        if (!s->stream.tls && (size_t)n < LOAD_SCRATCH)
            break; /* there is no more, and epoll tells of what comes */
    }
    load_conn_show(c);
    return LOAD_NOTHING;
}

/* The server has something to say to a connection that asked nothing: a farewell. */
static enum load_event hear_farewell(struct load_conn *c)
{
    struct session *s = c->own;
    ssize_t n = load_stream_read(&s->stream, load_scratch, LOAD_SCRATCH - 1);

    if (n == -EAGAIN)
        return LOAD_NOTHING; /* tickets for a session, perhaps */
    if (n >= 0) {
        load_scratch[n] = '\0';
        load_fault_set(&c->fault, "closed",
                       n > 0 ? load_scratch : "closed by the server while idle");
    }
    if (c->strict)
        return load_conn_lost(c);
    load_stream_close(&s->stream, false);
    load_conn_show(c);
    return LOAD_NOTHING;
}

static enum load_event go_on_connecting(struct load_conn *c, const struct load_program *p)
{
    struct session *s = c->own;
    int r = load_stream_advance(&s->stream);

    if (r < 0)
        return load_conn_lost(c);
    if (r > 0 && c->state == LOAD_OPENING) {
        c->state = LOAD_IDLE;
        load_conn_show(c);
        return LOAD_OPENED;
    }
    if (r > 0 && write_request(c, p) < 0)
        return broken(c, p);
    load_conn_show(c);
    return LOAD_NOTHING;
}

static enum load_event http_ready(struct load_conn *c, const struct load_program *p,
                                  int64_t now_ns)
{
    struct session *s = c->own;

    if (s->stream.step == LOAD_STREAM_CLOSED)
        return LOAD_NOTHING;
    if (s->stream.step != LOAD_STREAM_OPEN)
        return go_on_connecting(c, p);
    if (c->state != LOAD_BUSY)
        return hear_farewell(c);
    if (s->stream.out.len > 0 && load_stream_flush(&s->stream) < 0)
        tw_buf_clear(&s->stream.out); /* why it listens no more may stand in its answer */
    return listen_for_answer(c, p, now_ns);
}

const struct load_driver load_driver_http = {
    .name = "http",
    .aim = http_aim,
    .open = http_open,
    .send = http_send,
    .ready = http_ready,
    .resume = http_resume,
    .abandon = load_conn_abandon,
    .close = http_close,
};
