/* WebSocket on the server's upgrade: wslay speaks the protocol, one epoll thread serves all clients,
 * none of which can hold up another. */
#include "http_internal.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wslay/wslay.h>

#define DEFAULT_CLIENTS  4096
#define DEFAULT_QUEUE    64
#define DEFAULT_RECEIVED ((size_t)64 << 10)
#define DEFAULT_STUCK_NS (10 * TW_SEC_NS)
#define DEFAULT_PING_NS  (20 * TW_SEC_NS)
#define SILENT_PINGS     3 /* pings without any answer: gone */
#define CLOSING_NS       (2 * TW_SEC_NS)
#define SEND_BUFFER                                                                      \
    (32 << 10) /* what the kernel may keep for a client that does not read */
#define TICK_MS 250

/* A whole frame, made once for all clients: what a server sends is not masked, so it is the same for each. */
struct tw_ws_message {
    unsigned refs; /* atomic */
    size_t len;
    unsigned char frame[];
};

struct slot {
    struct tw_ws_message *message;
    bool live;
};

struct tw_ws {
    struct tw_ws_hub *hub;
    struct tw_ws *next, **link; /* in the hub's list */
    struct MHD_UpgradeResponseHandle *upgraded;
    wslay_event_context_ptr wslay;
    void *mine;
    char *early; /* bytes that came with the handshake */
    size_t early_len, early_at;
    struct slot *queue; /* a ring */
    unsigned first, count;
    size_t head_sent; /* bytes of the first one that are on their way: it is finished before anything else */
    int fd;
    bool opened, dead, wants_out, broken;
    int64_t progress_ns, heard_ns, pinged_ns, closing_ns;
};

struct visit {
    struct visit *next;
    tw_ws_visit_fn *fn;
    void (*done)(void *arg);
    void *arg;
    struct tw_ws *arrival; /* a new client, when fn is NULL */
    bool each;
};

struct tw_ws_hub {
    struct tw_ws_options o;
    struct tw_ws *clients, *graves;
    int epoll_fd, event_fd;
    pthread_t thread;
    bool running, stopping; /* stopping under lock */
    pthread_mutex_t lock;   /* of the visits */
    struct visit *visits, **visits_end;
    uint64_t client_count, sent, shed, stuck; /* atomic */
};

static void count_up(uint64_t *counter, int64_t by)
{
    (void)__atomic_add_fetch(counter, (uint64_t)by, __ATOMIC_RELAXED);
}

/* ---- messages ---- */

struct tw_ws_message *tw_ws_message_new(const char *text, size_t len)
{
    size_t bytes = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8; /* of its length: RFC 6455 §5.2 */
    struct tw_ws_message *m = tw_alloc(sizeof(*m) + 2 + bytes + len);

    m->refs = 1;
    m->len = 2 + bytes + len;
    m->frame[0] = 0x80 | WSLAY_TEXT_FRAME;
    m->frame[1] = (unsigned char)(bytes == 0 ? len : bytes == 2 ? 126 : 127);
    for (size_t i = 0; i < bytes; i++)
        m->frame[2 + i] = (unsigned char)(len >> 8 * (bytes - 1 - i));
    if (len) /* an empty message may have no text at all */
        memcpy(m->frame + 2 + bytes, text, len);
    return m;
}

void tw_ws_message_ref(struct tw_ws_message *m)
{
    (void)__atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
}

void tw_ws_message_unref(struct tw_ws_message *m)
{
    if (m && __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) == 0)
        free(m);
}

/* ---- a client ---- */

static struct slot *slot_at(struct tw_ws *c, unsigned i)
{
    return &c->queue[(c->first + i) % c->hub->o.queue];
}

static void queue_drop(struct tw_ws *c, unsigned i)
{
    tw_ws_message_unref(slot_at(c, i)->message);
    for (; i + 1 < c->count; i++)
        *slot_at(c, i) = *slot_at(c, i + 1);
    c->count--;
}

/* Room for one more: the oldest live message goes; false: there is none. */
static bool queue_shed(struct tw_ws *c)
{
    for (unsigned i = c->head_sent ? 1 : 0; i < c->count; i++)
        if (slot_at(c, i)->live) {
            queue_drop(c, i);
            count_up(&c->hub->shed, 1);
            return true;
        }
    return false;
}

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags,
                       void *arg)
{
    struct tw_ws *c = arg;
    ssize_t n;

    (void)flags;
    if (c->early_at < c->early_len) {
        size_t part = c->early_len - c->early_at < len ? c->early_len - c->early_at : len;

        memcpy(buf, c->early + c->early_at, part);
        c->early_at += part;
        return (ssize_t)part;
    }
    do
        n = recv(c->fd, buf, len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        c->heard_ns = tw_now_ns();
        return n;
    }
    c->broken |= n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
    wslay_event_set_error(ctx,
                          c->broken ? WSLAY_ERR_CALLBACK_FAILURE : WSLAY_ERR_WOULDBLOCK);
    return -1;
}

/* Bytes that the socket took; -1: none now, or it is broken. */
static ssize_t put(struct tw_ws *c, const void *data, size_t len)
{
    ssize_t n;

    do
        n = send(c->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        c->progress_ns = tw_now_ns();
    else
        c->broken |= errno != EAGAIN && errno != EWOULDBLOCK;
    return n > 0 ? n : -1;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len,
                       int flags, void *arg)
{
    struct tw_ws *c = arg;
    ssize_t n = put(c, data, len);

    (void)flags;
    if (n < 0)
        wslay_event_set_error(ctx, c->broken ? WSLAY_ERR_CALLBACK_FAILURE
                                             : WSLAY_ERR_WOULDBLOCK);
    return n;
}

static void on_message(wslay_event_context_ptr ctx,
                       const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
    struct tw_ws *c = arg;

    (void)ctx;
    if (wslay_is_ctrl_frame(m->opcode))
        return;
    if (m->opcode != WSLAY_TEXT_FRAME)
        tw_ws_close(c, WSLAY_CODE_UNSUPPORTED_DATA, "only text messages are understood");
    else if (c->hub->o.received)
        c->hub->o.received(c->hub->o.arg, c, (const char *)m->msg, m->msg_length);
}

static void watch(struct tw_ws *c, bool out)
{
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0u), .data.ptr = c};

    if (out == c->wants_out)
        return;
    c->wants_out = out;
    (void)epoll_ctl(c->hub->epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

/* The first message, or what is left of it. false: the socket is full. */
static bool put_head(struct tw_ws *c)
{
    struct tw_ws_message *m = slot_at(c, 0)->message;
    ssize_t n = put(c, m->frame + c->head_sent, m->len - c->head_sent);

    c->head_sent += n > 0 ? (size_t)n : 0;
    if (c->head_sent < m->len)
        return n > 0 && put_head(c);
    tw_ws_message_unref(m);
    c->head_sent = 0;
    c->first = (c->first + 1) % c->hub->o.queue;
    c->count--;
    count_up(&c->hub->sent, 1);
    return true;
}

/* As much as the socket takes. Control frames are wslay's, and go between two messages. */
static void pump(struct tw_ws *c)
{
    while (!c->broken) {
        if (!c->head_sent && wslay_event_want_write(c->wslay)) {
            c->broken |= wslay_event_send(c->wslay) != 0;
            if (wslay_event_want_write(c->wslay))
                break; /* the socket is full */
        }
        if (!c->count || (c->closing_ns && !c->head_sent) || !put_head(c))
            break;
    }
    watch(c, !c->broken && ((c->count && !c->closing_ns) || c->head_sent ||
                            wslay_event_want_write(c->wslay)));
}

void tw_ws_send(struct tw_ws *c, struct tw_ws_message *m, bool live)
{
    if (c->dead || c->broken || c->closing_ns)
        return;
    if (!c->count)
        c->progress_ns = tw_now_ns(); /* from now on something waits */
    if (c->count == c->hub->o.queue && !queue_shed(c)) {
        count_up(&c->hub->stuck, 1);
        tw_ws_close(c, 1013, "too far behind");
        return;
    }
    tw_ws_message_ref(m);
    *slot_at(c, c->count++) = (struct slot){m, live};
    pump(c);
}

void tw_ws_close(struct tw_ws *c, int code, const char *reason)
{
    if (c->closing_ns)
        return;
    c->closing_ns = tw_now_ns();
    (void)wslay_event_queue_close(c->wslay, (uint16_t)code, (const uint8_t *)reason,
                                  strlen(reason));
    pump(c);
}

static void bury(struct tw_ws *c)
{
    struct tw_ws_hub *h = c->hub;

    if (c->dead)
        return;
    c->dead = true;
    (void)epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    c->next = h->graves;
    h->graves = c;
    count_up(&h->client_count, -1);
}

static void ws_free(struct tw_ws *c)
{
    if (c->hub->o.closed)
        c->hub->o.closed(c->hub->o.arg, c, c->mine);
    while (c->count)
        queue_drop(c, c->count - 1);
    if (c->wslay)
        wslay_event_context_free(c->wslay);
    if (c->upgraded)
        (void)MHD_upgrade_action(c->upgraded, MHD_UPGRADE_ACTION_CLOSE);
    free(c->early);
    free(c->queue);
    free(c);
}

/* Not before the events of a round are done: one of them may still point to it. */
static void clear_graves(struct tw_ws_hub *h)
{
    while (h->graves) {
        struct tw_ws *c = h->graves;

        h->graves = c->next;
        ws_free(c);
    }
}

static bool is_over(const struct tw_ws *c)
{
    return c->broken ||
           (!wslay_event_want_read(c->wslay) && !wslay_event_want_write(c->wslay)) ||
           (wslay_event_get_close_sent(c->wslay) &&
            wslay_event_get_close_received(c->wslay) &&
            !wslay_event_want_write(c->wslay));
}

static void serve(struct tw_ws *c, unsigned events)
{
    if (c->dead)
        return;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        if (wslay_event_recv(c->wslay) != 0)
            c->broken = true;
    }
    pump(c);
    if (is_over(c))
        bury(c);
}

/* ---- the hub's thread ---- */

static int arrive(struct tw_ws *c)
{
    static const struct wslay_event_callbacks callbacks = {.recv_callback = on_recv,
                                                           .send_callback = on_send,
                                                           .on_msg_recv_callback =
                                                               on_message};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    struct tw_ws_hub *h = c->hub;
    int size = SEND_BUFFER, on = 1;

    c->queue = tw_alloc(h->o.queue * sizeof(*c->queue));
    c->progress_ns = c->heard_ns = c->pinged_ns = tw_now_ns();
    (void)fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
    (void)setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (wslay_event_context_server_init(&c->wslay, &callbacks, c) != 0 ||
        epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, c->fd, &e) < 0)
        return -ENOMEM;
    wslay_event_config_set_max_recv_msg_length(c->wslay, h->o.max_received);
    c->next = h->clients;
    if (c->next)
        c->next->link = &c->next;
    c->link = &h->clients;
    h->clients = c;
    return 0;
}

static void welcome(struct tw_ws *c)
{
    struct tw_ws_hub *h = c->hub;

    if (arrive(c) < 0) {
        count_up(&h->client_count, -1);
        ws_free(c);
        return;
    }
    c->opened = true;
    if (h->o.opened)
        h->o.opened(h->o.arg, c, c->mine);
    serve(c, EPOLLIN); /* what came with the handshake */
}

static void run_visit(struct tw_ws_hub *h, struct visit *v)
{
    if (v->arrival)
        welcome(v->arrival);
    else if (!v->each)
        v->fn(v->arg, NULL, NULL);
    else
        for (struct tw_ws *c = h->clients, *next; c; c = next) {
            next = c->next;
            v->fn(v->arg, c, c->mine);
            if (is_over(c))
                bury(c);
        }
    if (v->done)
        v->done(v->arg);
    free(v);
}

static struct visit *take_visits(struct tw_ws_hub *h, bool *ret_stopping)
{
    struct visit *first;
    uint64_t count;

    (void)!read(h->event_fd, &count, sizeof(count));
    (void)pthread_mutex_lock(&h->lock);
    first = h->visits;
    h->visits = NULL;
    h->visits_end = &h->visits;
    *ret_stopping = h->stopping;
    (void)pthread_mutex_unlock(&h->lock);
    return first;
}

static void look_after(struct tw_ws *c, int64_t now)
{
    bool waits = c->count || wslay_event_want_write(c->wslay);
    struct wslay_event_msg ping = {.opcode = WSLAY_PING};

    if (c->closing_ns) {
        if (now - c->closing_ns > CLOSING_NS)
            bury(c);
        return;
    }
    if ((waits && now - c->progress_ns > c->hub->o.stuck_ns) ||
        now - c->heard_ns > SILENT_PINGS * c->hub->o.ping_ns) {
        count_up(&c->hub->stuck, 1);
        bury(c);
        return;
    }
    if (now - c->pinged_ns > c->hub->o.ping_ns) {
        c->pinged_ns = now;
        (void)wslay_event_queue_msg(c->wslay, &ping);
        pump(c);
    }
}

static void *hub_main(void *arg)
{
    struct tw_ws_hub *h = arg;
    struct epoll_event events[128];
    int64_t looked = tw_now_ns();
    bool stopping = false;

    while (!stopping) {
        int n = epoll_wait(h->epoll_fd, events, TW_COUNT_OF(events), TICK_MS);
        int64_t now = tw_now_ns();

        for (int i = 0; i < n; i++)
            if (events[i].data.ptr)
                serve(events[i].data.ptr, events[i].events);
        for (struct visit *v = take_visits(h, &stopping), *next; v; v = next) {
            next = v->next;
            run_visit(h, v);
        }
        if (now - looked >= TICK_MS * TW_MSEC_NS) {
            looked = now;
            for (struct tw_ws *c = h->clients, *next; c; c = next) {
                next = c->next;
                look_after(c, now);
            }
        }
        clear_graves(h);
    }
    while (h->clients) {
        tw_ws_close(h->clients, 1001, "the server is going away");
        bury(h->clients);
    }
    clear_graves(h);
    return NULL;
}

static void post(struct tw_ws_hub *h, struct visit v)
{
    static const uint64_t one = 1;
    struct visit *own = tw_alloc(sizeof(*own));
    bool stopping;

    *own = v;
    (void)pthread_mutex_lock(&h->lock);
    stopping = h->stopping;
    if (!stopping) {
        *h->visits_end = own;
        h->visits_end = &own->next;
    }
    (void)pthread_mutex_unlock(&h->lock);
    if (!stopping) {
        (void)!write(h->event_fd, &one, sizeof(one));
        return;
    }
    if (v.arrival) {
        count_up(&h->client_count, -1);
        ws_free(v.arrival);
    } else if (v.done) {
        v.done(v.arg);
    }
    free(own);
}

void tw_ws_visit(struct tw_ws_hub *h, tw_ws_visit_fn *fn, bool each, void *arg,
                 void (*done)(void *))
{
    post(h, (struct visit){.fn = fn, .each = each, .arg = arg, .done = done});
}

/* ---- opening and closing the hub ---- */

int tw_ws_hub_open(const struct tw_ws_options *options, struct tw_ws_hub **ret,
                   struct tw_err *err)
{
    struct tw_ws_hub *h = tw_alloc(sizeof *h);
    struct tw_ws_options *o = &h->o;
    struct epoll_event e = {.events = EPOLLIN};

    *o = *options;
    o->max_clients = o->max_clients ? o->max_clients : DEFAULT_CLIENTS;
    o->queue = o->queue ? o->queue : DEFAULT_QUEUE;
    o->max_received = o->max_received ? o->max_received : DEFAULT_RECEIVED;
    o->stuck_ns = o->stuck_ns ? o->stuck_ns : DEFAULT_STUCK_NS;
    o->ping_ns = o->ping_ns ? o->ping_ns : DEFAULT_PING_NS;
    h->visits_end = &h->visits;
    (void)pthread_mutex_init(&h->lock, NULL);
    h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    h->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->epoll_fd < 0 || h->event_fd < 0 ||
        epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, h->event_fd, &e) < 0 ||
        pthread_create(&h->thread, NULL, hub_main, h) != 0) {
        int r = tw_fail_errno(err, errno, "starting the WebSocket thread");

        h->stopping = true;
        tw_ws_hub_close(h);
        return r;
    }
    h->running = true;
    *ret = h;
    return 0;
}

void tw_ws_hub_stop(struct tw_ws_hub *h)
{
    static const uint64_t one = 1;

    if (!h || !h->running)
        return;
    (void)pthread_mutex_lock(&h->lock);
    h->stopping = true;
    (void)pthread_mutex_unlock(&h->lock);
    (void)!write(h->event_fd, &one, sizeof(one));
    (void)pthread_join(h->thread, NULL);
    h->running = false;
}

void tw_ws_hub_close(struct tw_ws_hub *h)
{
    if (!h)
        return;
    tw_ws_hub_stop(h);
    tw_close_p(&h->epoll_fd);
    tw_close_p(&h->event_fd);
    (void)pthread_mutex_destroy(&h->lock);
    free(h);
}

struct tw_ws_counts tw_ws_hub_counts(const struct tw_ws_hub *h)
{
    return (struct tw_ws_counts){.clients =
                                     __atomic_load_n(&h->client_count, __ATOMIC_RELAXED),
                                 .sent = __atomic_load_n(&h->sent, __ATOMIC_RELAXED),
                                 .shed = __atomic_load_n(&h->shed, __ATOMIC_RELAXED),
                                 .stuck = __atomic_load_n(&h->stuck, __ATOMIC_RELAXED)};
}

/* ---- the handshake ---- */

/* Has the comma-separated header this word? */
static bool has_word(const char *header, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = header ? header : ""; *at;) {
        size_t n = strcspn(at, ",");
        size_t from = strspn(at, " \t"), to = n;

        while (to > from && (at[to - 1] == ' ' || at[to - 1] == '\t'))
            to--;
        if (to - from == len && strncasecmp(at + from, word, len) == 0)
            return true;
        at += n + (at[n] == ',');
    }
    return false;
}

/* 16 bytes in base64: 22 characters and "==". */
static bool good_key(const char *key)
{
    return key && strlen(key) == 24 &&
           strspn(key,
                  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") ==
               22 &&
           strcmp(key + 22, "==") == 0;
}

static int check_handshake(const struct tw_http_request *r, struct tw_err *err)
{
    const char *version = tw_http_header(r, "Sec-WebSocket-Version");

    if (!tw_streq(r->method, "GET") ||
        !has_word(tw_http_header(r, "Upgrade"), "websocket") ||
        !has_word(tw_http_header(r, "Connection"), "upgrade"))
        return tw_fail(err, -EPROTO,
                       "this address speaks WebSocket: GET with 'Upgrade: websocket'");
    if (!version || strcmp(version, "13") != 0)
        return tw_fail(err, -EPROTO, "only version 13 of WebSocket is spoken here");
    if (!good_key(tw_http_header(r, "Sec-WebSocket-Key")))
        return tw_fail(err, -EPROTO, "'Sec-WebSocket-Key' is not 16 bytes in base64");
    return 0;
}

static void accept_key(const char *key, unsigned char ret_text[32])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 §1.3 */
    tw_auto_free char *text = tw_strf("%s%s", key, guid);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    (void)EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL);
    (void)EVP_EncodeBlock(ret_text, digest, (int)len);
}

static void on_upgraded(void *arg, struct MHD_Connection *connection, void *mine,
                        const char *extra, size_t extra_len, MHD_socket fd,
                        struct MHD_UpgradeResponseHandle *upgraded)
{
    struct http_request *r = mine;
    struct tw_ws *c = arg;

    (void)connection;
    tw_arena_free(r->pub.arena); /* the request is kept until the connection ends */
    r->pub.arena = NULL;
    r->abandon = NULL;
    c->fd = fd;
    c->upgraded = upgraded;
    if (extra_len) {
        c->early = tw_alloc(extra_len);
        memcpy(c->early, extra, extra_len);
        c->early_len = extra_len;
    }
    post(c->hub, (struct visit){.arrival = c});
}

/* Gone between its request and our answer: else each of them would count as a client for ever. */
static void on_abandoned(void *arg)
{
    struct tw_ws *c = arg;

    count_up(&c->hub->client_count, -1);
    ws_free(c);
}

int tw_ws_accept(struct tw_ws_hub *h, struct tw_http_request *pub,
                 const char *subprotocol, void *mine, struct tw_err *err)
{
    struct MHD_Response *response;
    unsigned char key[32];
    struct tw_ws *c;
    int r = check_handshake(pub, err);

    if (r < 0)
        return r;
    if (__atomic_load_n(&h->client_count, __ATOMIC_RELAXED) >= h->o.max_clients ||
        h->stopping)
        return tw_fail(err, -EBUSY,
                       "%u clients are connected, which is the limit; try again later",
                       h->o.max_clients);
    count_up(&h->client_count, 1);
    c = tw_alloc(sizeof *c);
    c->hub = h;
    c->mine = mine;
    c->fd = -1;
    response = MHD_create_response_for_upgrade(on_upgraded, c);
    accept_key(tw_http_header(pub, "Sec-WebSocket-Key"), key);
    (void)MHD_add_response_header(response, "Upgrade", "websocket");
    (void)MHD_add_response_header(response, "Sec-WebSocket-Accept", (const char *)key);
    if (subprotocol)
        (void)MHD_add_response_header(response, "Sec-WebSocket-Protocol", subprotocol);
    http_give_upgrade((struct http_request *)pub, response, on_abandoned, c);
    return 0;
}
