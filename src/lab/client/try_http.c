/* An HTTP client: one request as large as it sends them, the whole answer read. */
#include "client_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ANSWER_MAX ((size_t)256 << 20)
#define HEAD_MAX   ((size_t)1 << 20)

struct answer {
    struct client_try *t;
    struct client_stream *s;
    struct tw_buf in; /* head and what came of the body with it */
    size_t body_at;   /* in it */
    int status;
    int64_t length; /* -1: until the end */
    bool chunked, complete;
    double bytes;
};

static const char *host_of(struct client_try *t)
{
    const struct tw_client *c = &t->client;

    return c->host          ? c->host
           : c->server_name ? c->server_name
           : c->address     ? c->address
                            : t->way.address;
}

static void fill(struct tw_buf *b, int64_t n)
{
    char part[4096];

    memset(part, 'x', sizeof part);
    for (; n > 0; n -= (int64_t)sizeof part)
        tw_buf_add(b, part, n < (int64_t)sizeof part ? (size_t)n : sizeof part);
}

static void put_request(struct client_try *t, struct tw_buf *b)
{
    const struct tw_client *c = &t->client;

    tw_buf_printf(b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: twin\r\nAccept: */*\r\n",
                  c->method       ? c->method
                  : c->body_bytes ? "POST"
                                  : "GET",
                  c->path ? c->path : "/", host_of(t));
    for (size_t i = 0; i < c->send.count;
         i++) /* further header lines, as it sends them */
        tw_buf_printf(b, "%s\r\n", c->send.items[i]);
    if (c->header_bytes > 0) {
        tw_buf_puts(b, "Cookie: twin=");
        fill(b, c->header_bytes);
        tw_buf_puts(b, "\r\n");
    }
    if (c->body_bytes > 0)
        tw_buf_printf(b, "Content-Length: %lld\r\n", (long long)c->body_bytes);
    tw_buf_puts(b, "Connection: close\r\n\r\n");
    fill(b, c->body_bytes);
}

/* ---- reading ---- */

static const char *header(const struct answer *w, const char *name)
{
    size_t n = strlen(name);
    const char *head = w->in.data;

    while ((head = strstr(head, "\r\n"))) {
        head += 2;
        if (strncasecmp(head, name, n) == 0 && head[n] == ':')
            return head + n + 1 + strspn(head + n + 1, " ");
    }
    return NULL;
}

static int read_head(struct answer *w)
{
    const char *end, *text;
    char part[16384];

    while (!(end = w->in.data ? strstr(w->in.data, "\r\n\r\n") : NULL)) {
        ssize_t n = client_stream_read(w->t, w->s, part, sizeof part);

        if (n <= 0 || w->in.overflow)
            return n < 0 ? (int)n : -ECONNRESET;
        tw_buf_add(&w->in, part, (size_t)n);
    }
    w->body_at = (size_t)(end - w->in.data) + 4;
    text = strchr(w->in.data, ' ');
    w->status = text ? atoi(text) : 0;
    w->in.data[w->body_at - 2] = '\0'; /* headers are looked for before it */
    text = header(w, "Content-Length");
    w->length = text ? atoll(text) : -1;
    text = header(w, "Transfer-Encoding");
    w->chunked = text && strncasecmp(text, "chunked", 7) == 0;
    return 0;
}

static bool has_no_body(const struct answer *w)
{
    return tw_streq(w->t->client.method, "HEAD") || w->status == 204 || w->status == 304;
}

/* Everything up to its end; of a chunked body the last five bytes tell that it is whole. */
static int read_body(struct answer *w)
{
    char part[65536], last[5] = {0};
    size_t have = w->in.len - w->body_at;
    ssize_t n = 0;

    w->bytes = (double)have;
    if (have >= sizeof last)
        memcpy(last, w->in.data + w->in.len - sizeof last, sizeof last);
    while (!has_no_body(w) && (w->length < 0 || w->bytes < (double)w->length)) {
        if (w->chunked && memcmp(last, "0\r\n\r\n", sizeof last) == 0)
            break;
        n = client_stream_read(w->t, w->s, part, sizeof part);
        if (n <= 0)
            break;
        w->bytes += (double)n;
        for (size_t i = (size_t)n < sizeof last ? 0 : (size_t)n - sizeof last;
             i < (size_t)n; i++) {
            memmove(last, last + 1, sizeof last - 1);
            last[sizeof last - 1] = part[i];
        }
    }
    w->complete = has_no_body(w)   ? true
                  : w->chunked     ? memcmp(last, "0\r\n\r\n", sizeof last) == 0
                  : w->length >= 0 ? w->bytes >= (double)w->length
                                   : n == 0;
    return n == -ETIMEDOUT ? (int)n : 0;
}

/* ---- the whole ---- */

static const char *first_line(struct client_try *t, const struct answer *w)
{
    return tw_arena_strndup(t->arena, w->in.data, strcspn(w->in.data, "\r\n"));
}

static void judge(struct client_try *t, struct answer *w, struct tw_client_reply *reply)
{
    reply->code = tw_arena_printf(t->arena, "%d", w->status);
    reply->words = first_line(t, w);
    reply->bytes = w->bytes;
    reply->complete = w->complete;
    reply->ok = w->status >= 100 && w->status < 400 && w->complete;
    if (!w->complete)
        reply->words = tw_arena_printf(t->arena, "%s, and the body ends after %.0f bytes",
                                       reply->words, w->bytes);
    if (t->client.expect &&
        (w->status == 0 || !strstr(w->in.data + w->body_at, t->client.expect)) &&
        !tw_streq(t->client.expect, reply->code)) {
        reply->ok = false;
        reply->words =
            tw_arena_printf(t->arena, "%s, without '%s'", reply->words, t->client.expect);
    }
}

static void talk(struct client_try *t, struct client_stream *s)
{
    struct answer w = {.t = t, .s = s};
    struct tw_client_reply *reply;
    tw_auto_buf request = {0};
    int sent, r;

    tw_buf_init(&request, ANSWER_MAX);
    put_request(t, &request);
    reply = client_reply(t, tw_arena_printf(t->arena, "%s %s",
                                            t->client.method ? t->client.method : "GET",
                                            t->client.path ? t->client.path : "/"));
    tw_buf_init(&w.in, HEAD_MAX);
    sent = client_stream_write(t, s, request.data, request.len);
    r = read_head(&w); /* a service that stops reading may still say why */
    if (r == 0)
        r = read_body(&w);
    if (w.status) {
        t->answer.end = TW_CLIENT_SERVED;
        judge(t, &w, reply);
    }
    if (r == -ETIMEDOUT)
        client_end(t, TW_CLIENT_HUNG, "send", NULL,
                   w.status ? "the answer does not end" : "no answer");
    else if (r < 0)
        client_end(t, TW_CLIENT_CUT, "send", NULL,
                   sent < 0 ? "the connection was closed while the request was sent"
                            : "the connection was closed without an answer");
    client_wait_for_others(t);
    tw_buf_done(&w.in);
}

static void run(struct client_try *t)
{
    struct client_stream s;
    bool second = t->client.http_version == 2;

    if (client_stream_open(t, client_wants_tls(&t->client), second ? "h2" : NULL, &s) < 0)
        return;
    if (second)
        t->answer.end =
            TW_CLIENT_SERVED; /* its protocol was agreed on: what version 2 needs */
    else
        talk(t, &s);
    client_stream_close(&s);
}

extern const struct client_protocol client_protocol_http;
const struct client_protocol client_protocol_http = {
    .name = "http", .port = 80, .run = run};
