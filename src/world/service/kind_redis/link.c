/* One connection to a Redis server: its protocol, and nothing of what is said in it. */
#include "kind_redis_internal.h"

#include <fcntl.h>
#include <math.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_NS   (10 * TW_SEC_NS)
#define REPLY_MAX   ((int64_t)64 << 20)
#define REPLY_DEPTH 8
#define INPUT_BYTES 65536

struct redis_link {
    int fd; /* owned */
    int64_t deadline_ns;
    char input[INPUT_BYTES];
    size_t at, end;
};

/* ---- addresses ---- */

static const char *unescape(struct tw_arena *a, const char *text, size_t n)
{
    char *out = tw_arena_alloc(a, n + 1);
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        char hex[3] = {0};

        if (text[i] == '%' && i + 2 < n) {
            memcpy(hex, text + i + 1, 2);
            out[len++] = (char)strtol(hex, NULL, 16);
            i += 2;
        } else {
            out[len++] = text[i];
        }
    }
    return out;
}

static void take_login(struct tw_arena *a, const char *text, size_t n,
                       struct redis_where *ret)
{
    const char *colon = memchr(text, ':', n);
    size_t user = colon ? (size_t)(colon - text) : n;

    if (user)
        ret->user = unescape(a, text, user);
    if (colon)
        ret->password = unescape(a, colon + 1, n - user - 1);
}

int redis_parse_address(struct tw_arena *a, const char *text, struct redis_where *ret,
                        struct tw_err *err)
{
    struct redis_where w = {.host = "127.0.0.1", .port = KIND_REDIS_PORT};
    const char *at, *colon;
    size_t n;

    if (tw_starts_with(text, "rediss://"))
        return tw_fail(
            err, -EINVAL,
            "dsn '%s': the target is entered without TLS; give its plain port or its "
            "Unix socket (unix:///run/redis/redis.sock)",
            tw_redact_text(NULL, a, text));
    if (tw_starts_with(text, "unix://") || *text == '/') {
        *ret = (struct redis_where){
            .socket = tw_arena_strdup(a, *text == '/' ? text : text + 7)};
        return 0;
    }
    if (tw_starts_with(text, "redis://"))
        text += 8;
    n = strcspn(text, "/?");
    if ((at = memrchr(text, '@', n))) {
        take_login(a, text, (size_t)(at - text), &w);
        n -= (size_t)(at + 1 - text);
        text = at + 1;
    }
    colon = *text == '[' ? memchr(text, ']', n) : text;
    colon = colon ? memchr(colon, ':', n - (size_t)(colon - text)) : NULL;
    if (n && colon != text)
        w.host = tw_arena_strndup(a, text + (*text == '['),
                                  (colon ? (size_t)(colon - text) : n) -
                                      2 * (size_t)(*text == '['));
    if (colon)
        w.port = atoi(colon + 1);
    if (w.port <= 0 || w.port > 65535)
        return tw_fail(
            err, -EINVAL,
            "dsn: 'redis://[user:password@]host:port' or 'unix:///path' was expected");
    *ret = w;
    return 0;
}

/* ---- bytes ---- */

static int wait_for(struct redis_link *l, short what, struct tw_err *err)
{
    for (;;) {
        int64_t left = l->deadline_ns - tw_now_ns();
        struct pollfd p = {l->fd, what, 0};
        int r = left > 0 ? poll(&p, 1, (int)(left / TW_MSEC_NS) + 1) : 0;

        if (r > 0)
            return 0;
        if (r < 0 && errno == EINTR)
            continue;
        return r < 0 ? tw_fail_errno(err, errno, "redis: poll")
                     : tw_fail(err, -ETIMEDOUT, "redis: no answer in time");
    }
}

static int fill(struct redis_link *l, struct tw_err *err)
{
    for (;;) {
        ssize_t n = recv(l->fd, l->input, sizeof(l->input), MSG_DONTWAIT);

        if (n > 0) {
            l->at = 0;
            l->end = (size_t)n;
            return 0;
        }
        if (n == 0)
            return tw_fail(err, -ECONNRESET, "redis: the server closed the connection");
        if (errno != EAGAIN && errno != EINTR)
            return tw_fail_errno(err, errno, "redis: receiving");
        if (wait_for(l, POLLIN, err) < 0)
            return -ETIMEDOUT;
    }
}

static int send_all(struct redis_link *l, const char *data, size_t len,
                    struct tw_err *err)
{
    while (len) {
        ssize_t n = send(l->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            data += n;
            len -= (size_t)n;
        } else if (errno != EAGAIN && errno != EINTR) {
            return tw_fail_errno(err, errno, "redis: sending");
        } else if (wait_for(l, POLLOUT, err) < 0) {
            return -ETIMEDOUT;
        }
    }
    return 0;
}

static int read_line(struct redis_link *l, struct tw_buf *line, struct tw_err *err)
{
    tw_buf_clear(line);
    for (;;) {
        const char *newline;
        size_t n;

        if (l->at == l->end && fill(l, err) < 0)
            return -EIO;
        newline = memchr(l->input + l->at, '\n', l->end - l->at);
        n = newline ? (size_t)(newline - l->input) + 1 - l->at : l->end - l->at;
        tw_buf_add(line, l->input + l->at, n);
        l->at += n;
        if (line->overflow)
            return tw_fail(err, -EPROTO, "redis: a line without an end");
        if (newline)
            break;
    }
    while (line->len && strchr("\r\n", line->data[line->len - 1]))
        line->data[--line->len] = '\0';
    return 0;
}

static int read_bytes(struct redis_link *l, char *to, size_t len, struct tw_err *err)
{
    while (len) {
        size_t n = l->end - l->at < len ? l->end - l->at : len;

        if (n == 0) {
            if (fill(l, err) < 0)
                return -EIO;
            continue;
        }
        memcpy(to, l->input + l->at, n);
        l->at += n;
        to += n;
        len -= n;
    }
    return 0;
}

/* ---- replies ---- */

static int read_reply(struct redis_link *l, struct tw_arena *a, int depth,
                      struct redis_reply *ret, struct tw_err *err);

static int read_text(struct redis_link *l, struct tw_arena *a, int64_t len,
                     struct redis_reply *ret, struct tw_err *err)
{
    char end[2], *text;
    int r;

    if (len < 0)
        return 0;
    text = tw_arena_alloc(a, (size_t)len + 1);
    r = read_bytes(l, text, (size_t)len, err);
    if (r == 0)
        r = read_bytes(l, end, 2, err);
    ret->type = REDIS_TEXT;
    ret->text = text;
    ret->len = (size_t)len;
    return r;
}

static int read_list(struct redis_link *l, struct tw_arena *a, int64_t n, int depth,
                     struct redis_reply *ret, struct tw_err *err)
{
    int r = 0;

    if (n < 0)
        return 0;
    ret->type = REDIS_LIST;
    ret->list.items = tw_arena_alloc(a, ((size_t)n + 1) * sizeof(*ret->list.items));
    for (int64_t i = 0; i < n && r == 0; i++)
        r = read_reply(l, a, depth + 1, &ret->list.items[i], err);
    ret->list.count = (size_t)n;
    return r;
}

static int read_reply(struct redis_link *l, struct tw_arena *a, int depth,
                      struct redis_reply *ret, struct tw_err *err)
{
    tw_auto_buf line = {0};
    const char *text;
    int64_t n;
    int r;

    tw_buf_init(&line, 1 << 20);
    *ret = (struct redis_reply){.type = REDIS_NIL, .text = ""};
    if ((r = read_line(l, &line, err)) < 0)
        return r;
    text = line.len ? line.data + 1 : "";
    n = strtoll(text, NULL, 10);
    if (n > REPLY_MAX || depth > REPLY_DEPTH)
        return tw_fail(err, -EPROTO, "redis: a reply of %lld parts", (long long)n);
    switch (line.len ? line.data[0] : 0) {
    case '+':
    case '-':
        ret->type = line.data[0] == '+' ? REDIS_STATUS : REDIS_ERROR;
        ret->text = tw_arena_strdup(a, text);
        ret->len = strlen(ret->text);
        return 0;
    case ':':
        ret->type = REDIS_INTEGER;
        ret->integer = n;
        return 0;
    case '$':
        return read_text(l, a, n, ret, err);
    case '*':
        return read_list(l, a, n, depth, ret, err);
    default:
        return tw_fail(err, -EPROTO, "what answers there does not speak Redis: '%.40s'",
                       tw_buf_text(&line));
    }
}

static int send_words(struct redis_link *l, const char *const *words, size_t n,
                      struct tw_err *err)
{
    tw_auto_buf out = {0};

    tw_buf_init(&out, 1 << 20);
    tw_buf_printf(&out, "*%zu\r\n", n);
    for (size_t i = 0; i < n; i++)
        tw_buf_printf(&out, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
    if (out.overflow)
        return tw_fail(err, -E2BIG, "redis: a command of more than 1 MB");
    return send_all(l, out.data, out.len, err);
}

int redis_ask_words(struct redis_link *l, struct tw_arena *a, const char *const *words,
                    size_t n, struct redis_reply *ret, struct tw_err *err)
{
    int r;

    l->deadline_ns = tw_now_ns() + ANSWER_NS;
    r = send_words(l, words, n, err);
    return r < 0 ? r : read_reply(l, a, 0, ret, err);
}

/* ---- connecting ---- */

static int connect_socket(struct redis_link *l, const struct sockaddr *address,
                          socklen_t len)
{
    int wrong = 0;
    socklen_t size = sizeof(wrong);

    if (connect(l->fd, address, len) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return -errno;
    if (wait_for(l, POLLOUT, NULL) < 0)
        return -ETIMEDOUT;
    return getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &wrong, &size) < 0 ? -errno : -wrong;
}

static int open_socket(struct redis_link *l, int family)
{
    tw_close_p(&l->fd);
    l->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return l->fd < 0 ? -errno : 0;
}

static int connect_path(struct redis_link *l, const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int r = open_socket(l, AF_UNIX);

    if (strlen(path) >= sizeof(un.sun_path))
        return -ENAMETOOLONG;
    memcpy(un.sun_path, path, strlen(path) + 1);
    return r < 0 ? r : connect_socket(l, (struct sockaddr *)&un, sizeof(un));
}

static int connect_tcp(struct redis_link *l, const char *host, int port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    tw_auto_free char *service = tw_strf("%d", port);
    int r = -EHOSTUNREACH;

    if (getaddrinfo(host, service, &hints, &found) != 0)
        return r;
    for (struct addrinfo *i = found; i && r < 0; i = i->ai_next) {
        r = open_socket(l, i->ai_family);
        if (r == 0)
            r = connect_socket(l, i->ai_addr, i->ai_addrlen);
    }
    freeaddrinfo(found);
    return r;
}

static int log_in(struct redis_link *l, const struct redis_where *w, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct redis_reply reply;
    int r;

    if (!w->password)
        return 0;
    r = w->user ? REDIS_ASK(l, a, &reply, err, "AUTH", w->user, w->password)
                : REDIS_ASK(l, a, &reply, err, "AUTH", w->password);
    if (r == 0 && reply.type == REDIS_ERROR && !strstr(reply.text, "no password is set"))
        r = tw_fail(err, -EACCES, "the server says: %s", reply.text);
    return r;
}

int redis_link_open(const struct redis_where *where, int64_t deadline_ns,
                    struct redis_link **ret, struct tw_err *err)
{
    tw_auto(redis_link) *l = tw_alloc(sizeof(*l));
    int r;

    l->fd = -1;
    l->deadline_ns = deadline_ns;
    r = where->socket ? connect_path(l, where->socket)
                      : connect_tcp(l, where->host, where->port);
    if (r < 0 && where->socket)
        return tw_fail_errno(err, -r, "redis at '%s'", where->socket);
    if (r < 0)
        return tw_fail_errno(err, -r, "redis at %s port %d", where->host, where->port);
    r = log_in(l, where, err);
    if (r == 0)
        *ret = tw_take_ptr(&l);
    return r;
}

void redis_link_free(struct redis_link *l)
{
    if (!l)
        return;
    tw_close_p(&l->fd);
    free(l);
}

/* ---- a dump as of now, as a replica gets it ---- */

#define MARK_LEN 40

struct dump {
    struct redis_link *l;
    int fd;
    int64_t bytes;
    char tail[MARK_LEN]; /* held back: it may be the mark of the end */
    size_t tail_len;
};

static int put(struct dump *d, const char *data, size_t n, struct tw_err *err)
{
    while (n) {
        ssize_t w = write(d->fd, data, n);

        if (w < 0 && errno != EINTR)
            return tw_fail_errno(err, errno, "writing the dump");
        if (w > 0) {
            data += w;
            n -= (size_t)w;
            d->bytes += w;
        }
    }
    return 0;
}

/* Everything but the last 40 bytes seen so far goes out. */
static int put_before_mark(struct dump *d, const char *data, size_t n, struct tw_err *err)
{
    char both[2 * MARK_LEN];
    size_t out;
    int r = 0;

    if (n >= MARK_LEN) {
        r = put(d, d->tail, d->tail_len, err);
        if (r == 0)
            r = put(d, data, n - MARK_LEN, err);
        memcpy(d->tail, data + n - MARK_LEN, MARK_LEN);
        d->tail_len = MARK_LEN;
        return r;
    }
    memcpy(both, d->tail, d->tail_len);
    memcpy(both + d->tail_len, data, n);
    out = d->tail_len + n > MARK_LEN ? d->tail_len + n - MARK_LEN : 0;
    r = put(d, both, out, err);
    d->tail_len = d->tail_len + n - out;
    memcpy(d->tail, both + out, d->tail_len);
    return r;
}

static int take_until_mark(struct dump *d, const char *mark, struct tw_err *err)
{
    struct redis_link *l = d->l;
    int r = 0;

    while (r == 0 && (d->tail_len < MARK_LEN || memcmp(d->tail, mark, MARK_LEN) != 0)) {
        if (l->at == l->end)
            r = fill(l, err);
        if (r == 0)
            r = put_before_mark(d, l->input + l->at, l->end - l->at, err);
        l->at = l->end;
    }
    return r;
}

static int take_bytes(struct dump *d, int64_t left, struct tw_err *err)
{
    struct redis_link *l = d->l;
    int r = 0;

    while (r == 0 && left > 0) {
        size_t n = l->end - l->at;

        if (n == 0) {
            r = fill(l, err);
            continue;
        }
        if ((int64_t)n > left)
            n = (size_t)left;
        r = put(d, l->input + l->at, n, err);
        l->at += n;
        left -= (int64_t)n;
    }
    return r;
}

/* Empty lines are sent while the server prepares; then "$<bytes>" or "$EOF:<40 bytes>". */
int redis_link_dump(struct redis_link *l, int fd, int64_t deadline_ns, int64_t *ret_bytes,
                    struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct dump d = {.l = l, .fd = fd};
    tw_auto_buf line = {0};
    struct redis_reply reply;
    int r = REDIS_ASK(l, a, &reply, err, "REPLCONF", "capa", "eof");

    if (r == 0) /* an old server does not know it, and sends all the same */
        r = REDIS_ASK(l, a, &reply, err, "REPLCONF", "rdb-only", "1");
    tw_buf_init(&line, 4096);
    l->deadline_ns = deadline_ns;
    if (r == 0)
        r = send_words(l, (const char *const[]){"SYNC"}, 1, err);
    do {
        if (r == 0)
            r = read_line(l, &line, err);
    } while (r == 0 && line.len == 0);
    if (r < 0)
        return r;
    if (*line.data != '$')
        return tw_fail(err, -EACCES, "the server gives no dump: %s", line.data);
    r = tw_starts_with(line.data, "$EOF:") && line.len == 5 + MARK_LEN
            ? take_until_mark(&d, line.data + 5, err)
            : take_bytes(&d, strtoll(line.data + 1, NULL, 10), err);
    *ret_bytes = d.bytes;
    return r;
}

/* ---- INFO ---- */

const char *redis_info(struct tw_arena *a, const char *info, const char *name)
{
    size_t n = strlen(name);

    for (const char *at = info; at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
        if (strncmp(at, name, n) == 0 && at[n] == ':')
            return tw_arena_strndup(a, at + n + 1, strcspn(at + n + 1, "\r\n"));
    return NULL;
}

double redis_info_number(const char *info, const char *name)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const char *text = redis_info(a, info, name);
    double value;

    return text && tw_parse_double(text, &value, NULL) == 0 ? value : NAN;
}
