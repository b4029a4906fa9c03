/* Messages between a load and its generator: a type, a length, then values one after the
 * other. Both ends are the same program on the same machine, so numbers go as they are.
 */
#include "load_internal.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct head {
    uint64_t type, length;
};

static int wait_for(int fd, short events, int64_t deadline_ns)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left;
    int r;

    do {
        left = deadline_ns ? (deadline_ns - tw_now_ns()) / TW_MSEC_NS + 1 : -1;
        if (deadline_ns && left <= 0)
            return -ETIMEDOUT;
        r = poll(&p, 1, left > INT32_MAX ? INT32_MAX : (int)left);
    } while (r == 0 || (r < 0 && errno == EINTR));
    return r < 0 ? -errno : 0;
}

static int send_all(int fd, const void *data, size_t len, int64_t deadline_ns)
{
    const char *at = data;
    ssize_t n;
    int r;

    while (len > 0) {
        n = send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            at += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            r = wait_for(fd, POLLOUT, deadline_ns);
            if (r < 0)
                return r;
        } else if (errno != EINTR) {
            return errno == ECONNRESET ? -EPIPE : -errno;
        }
    }
    return 0;
}

static int receive_all(int fd, void *data, size_t len, int64_t deadline_ns)
{
    char *at = data;
    ssize_t n;
    int r;

    while (len > 0) {
        n = recv(fd, at, len, MSG_DONTWAIT);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (n == 0 || errno == ECONNRESET) {
            return -EPIPE;
        } else if (errno == EAGAIN) {
            r = wait_for(fd, POLLIN, deadline_ns);
            if (r < 0)
                return r;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

int load_message_send(int fd, enum load_message type, const struct tw_buf *payload,
                      int64_t deadline_ns)
{
    struct head head = {.type = type, .length = payload->len};
    int r;

    if (payload->overflow)
        return -EMSGSIZE;
    r = send_all(fd, &head, sizeof head, deadline_ns);
    return r < 0 ? r : send_all(fd, payload->data, payload->len, deadline_ns);
}

int load_message_receive(int fd, enum load_message *ret_type, struct tw_buf *payload,
                         int64_t deadline_ns)
{
    char chunk[16384];
    struct head head;
    int r = receive_all(fd, &head, sizeof head, deadline_ns);

    if (r < 0)
        return r;
    if (head.length > LOAD_MSG_MAX)
        return -EMSGSIZE;
    tw_buf_clear(payload);
    while (head.length > 0) {
        size_t n = head.length < sizeof chunk ? head.length : sizeof chunk;

        r = receive_all(fd, chunk, n, deadline_ns);
        if (r < 0)
            return r;
        tw_buf_add(payload, chunk, n);
        head.length -= n;
    }
    *ret_type = (enum load_message)head.type;
    return 0;
}

void load_put_bytes(struct tw_buf *b, const void *data, size_t len)
{
    load_put_int(b, (int64_t)len);
    if (len)
        tw_buf_add(b, data, len);
}

void load_put_int(struct tw_buf *b, int64_t value)
{
    tw_buf_add(b, &value, sizeof value);
}

void load_put_real(struct tw_buf *b, double value)
{
    tw_buf_add(b, &value, sizeof value);
}

void load_put_text(struct tw_buf *b, const char *text)
{
    if (text)
        load_put_bytes(b, text, strlen(text));
    else
        load_put_int(b, -1);
}

static void get(struct load_reader *r, void *to, size_t len)
{
    if (r->bad || (size_t)(r->end - r->at) < len) {
        r->bad = true;
        memset(to, 0, len);
        return;
    }
    memcpy(to, r->at, len);
    r->at += len;
}

int64_t load_get_int(struct load_reader *r)
{
    int64_t value;

    get(r, &value, sizeof value);
    return value;
}

double load_get_real(struct load_reader *r)
{
    double value;

    get(r, &value, sizeof value);
    return value;
}

const void *load_get_bytes(struct load_reader *r, size_t *ret_len)
{
    int64_t len = load_get_int(r);
    const char *at = r->at;

    *ret_len = 0;
    if (len < 0)
        return NULL;
    if (r->bad || len > r->end - r->at) {
        r->bad = true;
        return NULL;
    }
    r->at += len;
    *ret_len = (size_t)len;
    return at;
}

const char *load_get_text(struct load_reader *r, struct tw_arena *a)
{
    size_t len;
    const char *at = load_get_bytes(r, &len);

    return at ? tw_arena_strndup(a, at, len) : NULL;
}

/* ---- a mix: only what sending needs; texts for reports stay at home ---- */

static void put_variable(struct tw_buf *b, const struct tw_load_variable *v)
{
    load_put_text(b, v->name);
    load_put_int(b, v->kind);
    load_put_int(b, v->low);
    load_put_int(b, v->high);
    load_put_real(b, v->shape);
    load_put_text(b, v->expression);
    load_put_int(b, (int64_t)v->values.count);
    for (size_t i = 0; i < v->values.count; i++)
        load_put_text(b, v->values.items[i]);
    load_put_bytes(b, v->weights.items, v->weights.count * sizeof *v->weights.items);
}

static void put_statement(struct tw_buf *b, const struct tw_load_statement *s)
{
    load_put_text(b, s->sql);
    load_put_int(b, s->expect);
    load_put_real(b, s->think_ms);
    load_put_bytes(b, s->variables.items,
                   s->variables.count * sizeof *s->variables.items);
}

void load_put_mix(struct tw_buf *b, const struct tw_load_mix *mix)
{
    load_put_text(b, mix->database);
    load_put_int(b, (int64_t)mix->items.count);
    for (size_t i = 0; i < mix->items.count; i++) {
        const struct tw_load_item *item = &mix->items.items[i];

        load_put_text(b, item->name);
        load_put_real(b, item->weight);
        load_put_int(b, (int64_t)item->variables.count);
        for (size_t v = 0; v < item->variables.count; v++)
            put_variable(b, &item->variables.items[v]);
        load_put_int(b, (int64_t)item->statements.count);
        for (size_t s = 0; s < item->statements.count; s++)
            put_statement(b, &item->statements.items[s]);
    }
}

/* A count of things that each take at least eight bytes. */
static size_t get_count(struct load_reader *r)
{
    int64_t n = load_get_int(r);

    if (n < 0 || n > (r->end - r->at) / 8)
        r->bad = true;
    return r->bad ? 0 : (size_t)n;
}

static const void *get_array(struct load_reader *r, struct tw_arena *a, size_t size,
                             size_t *ret_count)
{
    size_t len;
    const void *from = load_get_bytes(r, &len);
    void *to = tw_arena_alloc(a, len + 1);

    if (len)
        memcpy(to, from, len);
    *ret_count = len / size;
    return to;
}

static void get_variable(struct load_reader *r, struct tw_arena *a,
                         struct tw_load_variable *v)
{
    size_t n;

    v->name = load_get_text(r, a);
    v->kind = (__typeof__(v->kind))load_get_int(r);
    v->low = load_get_int(r);
    v->high = load_get_int(r);
    v->shape = load_get_real(r);
    v->expression = load_get_text(r, a);
    n = get_count(r);
    v->values.items = tw_arena_alloc(a, (n + 1) * sizeof *v->values.items);
    for (v->values.count = 0; v->values.count < n; v->values.count++)
        v->values.items[v->values.count] = load_get_text(r, a);
    v->weights.items =
        (double *)get_array(r, a, sizeof *v->weights.items, &v->weights.count);
}

static void get_statement(struct load_reader *r, struct tw_arena *a,
                          struct tw_load_statement *s)
{
    s->sql = load_get_text(r, a);
    s->expect = (int)load_get_int(r);
    s->think_ms = load_get_real(r);
    s->variables.items =
        (int *)get_array(r, a, sizeof *s->variables.items, &s->variables.count);
}

int load_get_mix(struct load_reader *r, struct tw_arena *a, struct tw_load_mix *ret)
{
    struct tw_load_mix mix = {.database = load_get_text(r, a)};
    size_t items = get_count(r), n;

    for (size_t i = 0; i < items && !r->bad; i++) {
        struct tw_load_item item = {.name = load_get_text(r, a),
                                    .weight = load_get_real(r)};

        n = get_count(r);
        for (size_t v = 0; v < n && !r->bad; v++)
            get_variable(r, a, load_variable_add(a, &item, NULL));
        n = get_count(r);
        for (size_t s = 0; s < n && !r->bad; s++)
            get_statement(r, a, load_statement_add(a, &item, NULL));
        TW_PUSH(a, &mix.items, item);
    }
    *ret = mix;
    return r->bad ? -EBADMSG : 0;
}
