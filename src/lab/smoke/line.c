/* HTTP/1.1 over one connection. */
#include "tw/smoke.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX ((size_t)4 << 20)
#define HEAD_MAX ((size_t)64 << 10)

/* ---- connecting ---- */

struct dial {
    const struct tw_site *site;
    int port, fd, error;
};

static int dial(void *arg)
{
    struct dial *d = arg;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)d->port)};
    int one = 1;

    d->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (d->fd < 0 || inet_pton(AF_INET, d->site->address, &at.sin_addr) != 1) {
        d->error = d->fd < 0 ? errno : EINVAL;
        return 0;
    }
    (void)setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    d->error = connect(d->fd, (struct sockaddr *)&at, sizeof(at)) < 0 ? errno : 0;
    return 0;
}

static bool wait_for(int fd, short events, int64_t deadline_ns)
{
    int64_t left = deadline_ns - tw_now_ns();
    struct pollfd p = {fd, events, 0};

    return left > 0 && poll(&p, 1, (int)(left / TW_MSEC_NS) + 1) > 0;
}

const char *tw_wire_connect(struct tw_wire *l, int64_t deadline_ns)
{
    struct dial d = {.site = l->site, .port = l->port, .fd = -1};
    socklen_t len = sizeof(d.error);

    if (l->site->netns >= 0) {
        if (tw_priv_netns_run(l->site->priv, l->site->netns, dial, &d, NULL) < 0)
            d.error = d.error ? d.error : EPERM;
    } else {
        (void)dial(&d);
    }
    l->fd = d.fd;
    l->used = false;
    l->opened++;
    if (d.error == EINPROGRESS) {
        if (!wait_for(l->fd, POLLOUT, deadline_ns))
            return "no connection in time";
        (void)getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &d.error, &len);
    }
    return d.error == 0              ? NULL
           : d.error == ECONNREFUSED ? "nobody listens"
                                     : "no connection";
}

void tw_wire_init(struct tw_wire *l, const struct tw_site *site, int port)
{
    *l = (struct tw_wire){.site = site, .port = port ? port : site->port, .fd = -1};
}

void tw_wire_done(struct tw_wire *l)
{
    tw_close_p(&l->fd);
}

/* ---- sending and receiving ---- */

static bool send_all(int fd, const char *data, size_t len, int64_t deadline_ns)
{
    while (len) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN && wait_for(fd, POLLOUT, deadline_ns))
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

struct incoming {
    int fd;
    int64_t deadline_ns;
    struct tw_buf data;
    size_t at; /* read so far */
    bool ended;
    const char *why;
};

/* More bytes into data; false: there are none. */
static bool more(struct incoming *in)
{
    char part[16384];
    ssize_t n;

    if (in->ended || in->why)
        return false;
    while ((n = recv(in->fd, part, sizeof(part), 0)) < 0 && errno == EAGAIN)
        if (!wait_for(in->fd, POLLIN, in->deadline_ns)) {
            in->why = "no answer in time";
            return false;
        }
    in->ended = n == 0;
    if (n < 0)
        in->why = "connection reset";
    if (n <= 0)
        return false;
    tw_buf_add(&in->data, part, (size_t)n);
    if (in->data.overflow)
        in->why = "more than 4 MB";
    return !in->why;
}

static bool need(struct incoming *in, size_t end)
{
    while (in->data.len < end)
        if (!more(in))
            return false;
    return true;
}

/* The line at in->at, without its end; NULL: none whole. */
static char *next_line(struct incoming *in, struct tw_arena *a)
{
    for (;;) {
        const char *from = in->data.len ? in->data.data + in->at : "";
        const char *end = memchr(from, '\n', in->data.len - in->at);
        size_t n;

        if (end) {
            n = (size_t)(end - from);
            in->at += n + 1;
            return tw_arena_strndup(a, from, n && from[n - 1] == '\r' ? n - 1 : n);
        }
        if (in->data.len - in->at > HEAD_MAX || !more(in))
            return NULL;
    }
}

struct framing {
    int64_t length; /* -1: none told */
    bool chunked, closes;
};

static bool read_head(struct incoming *in, struct tw_arena *a, struct tw_reply *ret,
                      struct framing *f)
{
    TW_ARRAY(struct tw_http_field) fields = {0};
    char *line = next_line(in, a);

    *f = (struct framing){.length = -1};
    if (!line || strncmp(line, "HTTP/1.", 7) != 0 || strlen(line) < 12)
        return false;
    ret->status = atoi(line + 9);
    f->closes = line[7] == '0';
    while ((line = next_line(in, a)) && *line) {
        char *value = strchr(line, ':');

        if (!value)
            continue;
        *value++ = '\0';
        value += strspn(value, " \t");
        TW_PUSH(a, &fields, (struct tw_http_field){line, value});
        if (strcasecmp(line, "content-length") == 0)
            f->length = strtoll(value, NULL, 10);
        if (strcasecmp(line, "transfer-encoding") == 0)
            f->chunked = strcasestr(value, "chunked") != NULL;
        if (strcasecmp(line, "connection") == 0 && strcasestr(value, "close"))
            f->closes = true;
    }
    ret->headers.items = fields.items;
    ret->headers.count = fields.count;
    return line != NULL;
}

static bool read_chunks(struct incoming *in, struct tw_arena *a, struct tw_buf *body)
{
    for (;;) {
        char *line = next_line(in, a);
        size_t size = line ? strtoul(line, NULL, 16) : 0;

        if (!line || !isxdigit((unsigned char)*line) || size > BODY_MAX)
            return false;
        if (size == 0)
            break;
        if (!need(in, in->at + size + 2))
            return false;
        tw_buf_add(body, in->data.data + in->at, size);
        in->at += size + 2;
    }
    for (char *line; (line = next_line(in, a));)
        if (!*line)
            return true;
    return false;
}

static bool has_no_body(const struct tw_ask *ask, int status)
{
    return tw_streq(ask->method, "HEAD") || status == 204 || status == 304 ||
           (status >= 100 && status < 200);
}

static bool read_body(struct incoming *in, struct tw_arena *a, const struct framing *f,
                      struct tw_buf *body)
{
    if (f->chunked)
        return read_chunks(in, a, body);
    if (f->length >= 0) {
        if ((uint64_t)f->length > BODY_MAX || !need(in, in->at + (size_t)f->length))
            return false;
        tw_buf_add(body, in->data.data + in->at, (size_t)f->length);
        in->at += (size_t)f->length;
        return true;
    }
    while (more(in))
        ;
    tw_buf_add(body, in->data.data + in->at, in->data.len - in->at);
    return in->ended;
}

static bool receive(struct tw_wire *l, struct tw_arena *a, const struct tw_ask *ask,
                    int64_t deadline_ns, struct tw_reply *ret)
{
    struct incoming in = {.fd = l->fd, .deadline_ns = deadline_ns};
    tw_auto_buf body = {0};
    struct framing f;
    bool whole;

    tw_buf_init(&in.data, BODY_MAX + HEAD_MAX);
    tw_buf_init(&body, BODY_MAX);
    whole = read_head(&in, a, ret, &f);
    if (whole && !has_no_body(ask, ret->status))
        whole = read_body(&in, a, &f, &body);
    if (whole) {
        ret->body = tw_arena_strndup(a, tw_buf_text(&body), body.len);
        ret->len = body.len;
    } else {
        ret->why = in.why             ? in.why
                   : in.data.len == 0 ? "connection closed without an answer"
                   : ret->status == 0 ? "an answer that is no HTTP"
                                      : "half an answer";
        ret->status = 0;
    }
    if (!whole || f.closes || in.at < in.data.len)
        tw_wire_done(l);
    tw_buf_done(&in.data);
    return whole;
}

/* ---- one request ---- */

static void write_request(const struct tw_wire *l, const struct tw_ask *ask,
                          struct tw_buf *to)
{
    bool host = false;

    tw_buf_printf(to, "%s %s HTTP/1.1\r\n", ask->method ? ask->method : "GET", ask->path);
    for (size_t i = 0; i < ask->headers.count; i++) {
        host |= strcasecmp(ask->headers.items[i].name, "host") == 0;
        tw_buf_printf(to, "%s: %s\r\n", ask->headers.items[i].name,
                      ask->headers.items[i].value);
    }
    if (!host)
        tw_buf_printf(to, "Host: localhost:%d\r\n", l->port);
    if (ask->body)
        tw_buf_printf(to, "Content-Length: %zu\r\n", strlen(ask->body));
    tw_buf_printf(to, "\r\n%s", ask->body ? ask->body : "");
}

void tw_wire_ask(struct tw_wire *l, struct tw_arena *a, const struct tw_ask *ask,
                 struct tw_reply *ret)
{
    int64_t begun = tw_now_ns(), deadline = begun + (int64_t)(ask->within_s * 1e9);
    tw_auto_buf request = {0};

    *ret = (struct tw_reply){.asked_wall_ns = tw_wall_ns()};
    tw_buf_init(&request, BODY_MAX);
    write_request(l, ask, &request);
    /* A kept connection may have been closed since: then once more on a new one. */
    for (int attempt = 0; attempt < 2; attempt++) {
        bool kept = l->fd >= 0 && l->used;
        const char *why = l->fd < 0 ? tw_wire_connect(l, deadline) : NULL;

        ret->why = why;
        if (!why && !send_all(l->fd, request.data, request.len, deadline))
            ret->why = "connection reset";
        else if (!why && receive(l, a, ask, deadline, ret))
            break;
        tw_wire_done(l);
        if (!kept || tw_now_ns() > deadline)
            break;
    }
    l->used = true;
    ret->seconds = tw_seconds(tw_now_ns() - begun);
}
