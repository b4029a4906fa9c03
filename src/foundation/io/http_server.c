/* HTTP served by libmicrohttpd: threads of its own, handlers that may answer later. */
#include "http_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEFAULT_BODY        ((size_t)1 << 20)
#define DEFAULT_CONNECTIONS 4096
#define DEFAULT_TIMEOUT_S   30
#define POOL_BYTES          ((size_t)16 << 10) /* of a connection: bounds its headers too */
#define DISCARD_FACTOR      4 /* bodies this many times too large are hung up on */

/* ---- a request ---- */

static struct http_request *request_new(struct tw_http_server *s, const char *target,
                                        struct MHD_Connection *connection)
{
    struct http_request *r = tw_alloc(sizeof *r);

    r->server = s;
    r->connection = connection;
    r->pub.arena = tw_arena_new();
    r->pub.target = tw_arena_strdup(r->pub.arena, target);
    r->pub.begun_ns = tw_now_ns();
    tw_id_make(r->pub.id);
    tw_buf_init(&r->body, s->max_body);
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)__atomic_add_fetch(&s->begun, 1, __ATOMIC_RELAXED);
    return r;
}

static void request_free(struct http_request *r)
{
    if (r->abandon)
        r->abandon(r->abandon_arg);
    if (r->response)
        MHD_destroy_response(r->response);
    tw_buf_done(&r->body);
    tw_arena_free(r->pub.arena);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

static void *on_target(void *arg, const char *target, struct MHD_Connection *connection)
{
    return request_new(arg, target, connection);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **mine,
                         enum MHD_RequestTerminationCode why)
{
    (void)arg, (void)connection, (void)why;
    if (*mine)
        request_free(*mine);
    *mine = NULL;
}

const char *tw_http_header(const struct tw_http_request *r, const char *name)
{
    const struct http_request *own = (const struct http_request *)r;

    return MHD_lookup_connection_value(own->connection, MHD_HEADER_KIND, name);
}

const char *tw_http_query(const struct tw_http_request *r, const char *name)
{
    for (size_t i = 0; i < r->query_count; i++)
        if (tw_streq(r->query[i].name, name))
            return r->query[i].value;
    return NULL;
}

static void read_peer(struct http_request *r)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const unsigned char six[16] = {[15] = 1};
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *peer = info ? info->client_addr : NULL;
    char text[INET6_ADDRSTRLEN] = "unknown";
    unsigned char *to = r->pub.address;

    if (peer && peer->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)peer;

        memcpy(to, mapped, sizeof(mapped));
        memcpy(to + 12, &in->sin_addr, 4);
        (void)inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
    } else if (peer && peer->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)peer;

        memcpy(to, &in->sin6_addr, 16);
        (void)inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof(text));
    }
    r->pub.peer = tw_arena_strdup(r->pub.arena, text);
    r->pub.loopback =
        memcmp(to, six, 16) == 0 || (memcmp(to, mapped, 12) == 0 && to[12] == 127);
    r->pub.tls =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_PROTOCOL) != NULL;
}

/* ---- answers ---- */

void tw_http_add_header(struct tw_http_request *pub, const char *name, const char *value)
{
    struct http_request *r = (struct http_request *)pub;
    struct tw_http_pair pair = {tw_arena_strdup(pub->arena, name),
                                tw_arena_strdup(pub->arena, value)};

    TW_PUSH(pub->arena, &r->headers, pair);
}

static struct MHD_Response *make_response(struct http_request *r, const char *media_type,
                                          char *body, size_t len)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        body ? len : 0, body ? body : (char[]){""},
        body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);

    if (!response)
        abort(); /* out of memory */
    if (media_type)
        (void)MHD_add_response_header(response, "Content-Type", media_type);
    (void)MHD_add_response_header(response, "X-Request-Id", r->pub.id);
    for (size_t i = 0; i < r->headers.count; i++)
        (void)MHD_add_response_header(response, r->headers.items[i].name,
                                      r->headers.items[i].value);
    return response;
}

static void keep(struct tw_http_server *s, int change)
{
    (void)pthread_mutex_lock(&s->lock);
    s->kept = change > 0 ? s->kept + 1 : s->kept - 1;
    if (!s->kept)
        (void)pthread_cond_broadcast(&s->none_kept);
    (void)pthread_mutex_unlock(&s->lock);
}

/* After a resume the connection's own thread may free r at any moment: nothing touches it then. */
static void give(struct http_request *r, int status, struct MHD_Response *response)
{
    struct tw_http_server *s = r->server;
    struct MHD_Connection *connection = r->connection;
    bool was_suspended;

    (void)pthread_mutex_lock(&r->lock);
    r->response = response;
    r->status = status;
    r->answered = true;
    was_suspended = r->suspended;
    (void)pthread_mutex_unlock(&r->lock);
    if (was_suspended) {
        MHD_resume_connection(connection);
        keep(s, -1);
    }
}

void tw_http_answer(struct tw_http_request *pub, int status, const char *media_type,
                    char *body, size_t len)
{
    struct http_request *r = (struct http_request *)pub;

    give(r, status, make_response(r, media_type, body, len));
}

void http_give_upgrade(struct http_request *r, struct MHD_Response *response,
                       void (*abandon)(void *arg), void *arg)
{
    r->abandon = abandon;
    r->abandon_arg = arg;
    for (size_t i = 0; i < r->headers.count; i++)
        (void)MHD_add_response_header(response, r->headers.items[i].name,
                                      r->headers.items[i].value);
    give(r, MHD_HTTP_SWITCHING_PROTOCOLS, response);
}

static enum MHD_Result queue(struct http_request *r)
{
    return MHD_queue_response(r->connection, (unsigned)r->status, r->response);
}

static enum MHD_Result refuse(struct http_request *r)
{
    struct tw_http_server *s = r->server;
    const char *media_type = "text/plain; charset=utf-8";
    char *text = s->problem ? s->problem(s->arg, r->refused_status, r->refused_code,
                                         r->refused_text, &media_type)
                            : tw_strf("%s\n", r->refused_text);

    tw_http_add_header(&r->pub, "Connection", "close");
    tw_http_answer(&r->pub, r->refused_status, media_type, text, strlen(text));
    return queue(r);
}

static enum MHD_Result handle(struct http_request *r)
{
    bool answered;

    r->handled = true;
    r->pub.body = r->body.len ? tw_buf_text(&r->body) : NULL;
    r->pub.body_len = r->body.len;
    r->server->handler(r->server->arg, &r->pub);
    (void)pthread_mutex_lock(&r->lock);
    answered = r->answered;
    if (!answered) {
        r->suspended = true;
        keep(r->server, +1);
        MHD_suspend_connection(r->connection);
    }
    (void)pthread_mutex_unlock(&r->lock);
    return answered ? queue(r) : MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection,
                                  const char *url, const char *method,
                                  const char *version, const char *upload,
                                  size_t *upload_size, void **mine)
{
    struct http_request *r = *mine;

    (void)arg, (void)connection, (void)url;
    if (!r->screened) {
        r->screened = true;
        r->pub.method = tw_arena_strdup(r->pub.arena, method);
        read_peer(r);
        return http_screen(r, method, version) ? MHD_YES : refuse(r);
    }
    if (*upload_size) {
        if (r->body.len + *upload_size > r->server->max_body)
            r->discarded += *upload_size;
        else
            tw_buf_add(&r->body, upload, *upload_size);
        *upload_size = 0;
        return r->discarded > DISCARD_FACTOR * r->server->max_body ? MHD_NO : MHD_YES;
    }
    if (r->discarded && !r->handled) {
        r->handled = true;
        r->refused_status = 413;
        r->refused_code = "body_too_large";
        r->refused_text = "the body is larger than this server takes";
        return refuse(r);
    }
    return r->handled ? queue(r) : handle(r);
}

/* ---- the server ---- */

static int split_listen(const char *listen, char **ret_host, char **ret_port,
                        struct tw_err *err)
{
    const char *colon = strrchr(listen, ':');
    size_t len = colon ? (size_t)(colon - listen) : 0;
    bool bracket = len > 2 && listen[0] == '[' && listen[len - 1] == ']';

    if (!colon || !colon[1])
        return tw_fail(err, -EINVAL, "'%s': expected ADDRESS:PORT, as 127.0.0.1:8090",
                       listen);
    *ret_host = bracket ? strndup(listen + 1, len - 2) : strndup(listen, len);
    *ret_port = strdup(colon + 1);
    return 0;
}

static int open_socket(const struct addrinfo *at)
{
    static const int on = 1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), errnum;

    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, 1024) == 0)
        return fd;
    errnum = errno;
    (void)close(fd);
    return -errnum;
}

static int port_of(int fd)
{
    struct sockaddr_storage own;
    socklen_t len = sizeof(own);

    if (getsockname(fd, (struct sockaddr *)&own, &len) < 0)
        return -1;
    return ntohs(own.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&own)->sin6_port
                                           : ((struct sockaddr_in *)&own)->sin_port);
}

static int listen_on(struct tw_http_server *s, const char *where, struct tw_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV},
                    *at = NULL;
    tw_auto_free char *host = NULL, *port = NULL;
    int r = split_listen(where, &host, &port, err);

    if (r < 0)
        return r;
    r = getaddrinfo(*host ? host : NULL, port, &hints, &at);
    if (r)
        return tw_fail(err, -EINVAL, "'%s': expected a numeric ADDRESS:PORT: %s", where,
                       gai_strerror(r));
    s->listen_fd = open_socket(at);
    freeaddrinfo(at);
    if (s->listen_fd < 0)
        return tw_fail_errno(err, -s->listen_fd, "listening on '%s'", where);
    s->port = port_of(s->listen_fd);
    return 0;
}

static void on_log(void *arg, const char *fmt, va_list ap)
{
    /* What clients do wrong is no news; what the library finds wrong with us shows in answers. */
    (void)arg, (void)fmt, (void)ap;
}

static struct MHD_Daemon *start(struct tw_http_server *s, const struct tw_http_options *o)
{
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG | (o->cert ? MHD_USE_TLS : 0);
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)o->cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)o->key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0,
         (void *)(uintptr_t) "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_"
                             "PRECEDENCE"},
        {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    unsigned connections = o->max_connections ? o->max_connections : DEFAULT_CONNECTIONS;

    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, s->listen_fd, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_THREAD_POOL_SIZE, o->threads ? o->threads : 2u,
        MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        connections - connections / 16, MHD_OPTION_CONNECTION_TIMEOUT,
        o->timeout_s ? o->timeout_s : (unsigned)DEFAULT_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_BYTES, MHD_OPTION_URI_LOG_CALLBACK,
        on_target, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_ARRAY,
        o->cert ? tls : none, MHD_OPTION_END);
}

int tw_http_open(const struct tw_http_options *o, struct tw_http_server **ret,
                 struct tw_err *err)
{
    struct tw_http_server *s = tw_alloc(sizeof *s);
    int r;

    s->handler = o->handler;
    s->problem = o->problem;
    s->arg = o->arg;
    s->max_body = o->max_body ? o->max_body : DEFAULT_BODY;
    s->listen_fd = -1;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->none_kept, NULL);
    r = listen_on(s, o->listen, err);
    if (r == 0) {
        s->daemon = start(s, o);
        if (!s->daemon)
            r = tw_fail(err, -EIO, "the HTTP server could not start on '%s'%s", o->listen,
                        o->cert ? "; do certificate and key fit together?" : "");
    }
    if (r < 0) {
        tw_http_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

int tw_http_port(const struct tw_http_server *s)
{
    return s->port;
}

uint64_t tw_http_count(const struct tw_http_server *s)
{
    return __atomic_load_n(&s->begun, __ATOMIC_RELAXED);
}

void tw_http_quiesce(struct tw_http_server *s)
{
    if (s->listen_fd >= 0 && s->daemon &&
        MHD_quiesce_daemon(s->daemon) != MHD_INVALID_SOCKET) {
        (void)shutdown(s->listen_fd, SHUT_RDWR);
    }
}

/* libmicrohttpd 0.9.75 answers a malformed request that it meets while it stops with a response it does
 * not have (MHD_queue_response() says yes when daemon->shutdown is set): connections are given a moment
 * to end before. */
static void wait_for_clients(struct tw_http_server *s)
{
    for (int i = 0; i < 100; i++) {
        const union MHD_DaemonInfo *info =
            MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

        if (!info || info->num_connections == 0)
            return;
        tw_sleep_ns(10 * TW_MSEC_NS);
    }
}

void tw_http_close(struct tw_http_server *s)
{
    if (!s)
        return;
    (void)pthread_mutex_lock(&s->lock);
    while (s->kept)
        (void)pthread_cond_wait(&s->none_kept, &s->lock);
    (void)pthread_mutex_unlock(&s->lock);
    if (s->daemon) {
        tw_http_quiesce(s);
        wait_for_clients(s);
        MHD_stop_daemon(s->daemon);
    }
    tw_close_p(&s->listen_fd);
    (void)pthread_cond_destroy(&s->none_kept);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}
