/* A stand-in for what a service calls and that is not cloned: it answers each path with the
 * status, the size and the delay that was recorded, and says in every answer that it is none
 * of the real ones. Also TCP that echoes, or listens and says nothing.
 *
 * The plan (argument, or descriptor 3):
 *   {"listen": [{"address": "10.0.3.7:8080", "protocol": "http" | "echo" | "silent"}],
 *    "paths":  [{"method": "GET", "host": "api", "path": "/x", "status": 200, "bytes": 1234,
 *                "header_bytes": 400, "latency_s": 0.012}]}
 * method and host may be missing: any; "path": "*" is the answer to what nothing else fits.
 * Without one that is 200 with a line that says so. */
#include "http_internal.h"
#include "load_internal.h"
#include "stream_internal.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define PLAN_FD     3
#define PLAN_MAX    ((size_t)16 << 20)
#define REQUEST_MAX ((size_t)1 << 20)
#define EVENTS      64
#define FILL        ((size_t)64 << 10)

enum protocol { HTTP, ECHO, SILENT };
static const char *const protocol_names[] = {"http", "echo", "silent"};

struct path {
    const char *method, *host, *path; /* method, host NULL: any */
    int status;
    int64_t bytes, header_bytes, latency_ns;
};
struct peer {
    int fd;
    enum protocol protocol;
    bool listens;
    struct tw_buf in, out; /* out: what is not sent yet, … */
    size_t sent;
    int64_t fill_left; /* … and that much filling after it */
    int64_t due_ns;    /* of an answer that is held back; 0: none */
    const struct path *answer;
    int64_t skip; /* of a request's body */
    bool head, closes;
    unsigned events;
    struct peer *next, **prev; /* those with an answer held back */
};
struct standin {
    int epoll;
    TW_ARRAY(struct path) paths;
    struct peer *held;
    struct path unknown;
};

static volatile sig_atomic_t told_to_end;

static void hear_end(int signal_number)
{
    (void)signal_number;
    told_to_end = 1;
}

/* ---- the plan ---- */

static const char *text_of(struct tw_arena *a, const json_t *o, const char *key)
{
    return tw_arena_strdup(a, json_string_value(json_object_get(o, key)));
}

static int64_t whole_of(const json_t *o, const char *key, int64_t otherwise)
{
    const json_t *v = json_object_get(o, key);

    return json_is_number(v) ? (int64_t)json_number_value(v) : otherwise;
}

static void read_paths(struct tw_arena *a, struct standin *s, const json_t *paths)
{
    size_t i;
    json_t *row;

    json_array_foreach (paths, i, row) {
        double latency = json_number_value(json_object_get(row, "latency_s"));
        struct path p = {.method = text_of(a, row, "method"),
                         .host = text_of(a, row, "host"),
                         .path = text_of(a, row, "path"),
                         .status = (int)whole_of(row, "status", 200),
                         .bytes = whole_of(row, "bytes", 0),
                         .header_bytes = whole_of(row, "header_bytes", 0),
                         .latency_ns = latency > 0 ? (int64_t)(latency * 1e9) : 0};

        if (p.path && p.status >= 200 && p.status < 1000 && p.bytes >= 0)
            TW_PUSH(a, &s->paths, p);
    }
}

static bool read_address(const char *text, struct load_address *ret)
{
    const char *colon = strrchr(text, ':');
    tw_auto_free char *host = NULL;
    int64_t port;

    if (!colon || tw_parse_int64(colon + 1, &port, NULL) < 0 || port < 1 || port > 65535)
        return false;
    host = strndup(text[0] == '[' ? text + 1 : text,
                   (size_t)(colon - text) - (text[0] == '[' ? 2 : 0));
    *ret = (struct load_address){.len = sizeof ret->u.v4};
    ret->u.v4.sin_port = htons((uint16_t)port);
    ret->u.v4.sin_family = AF_INET;
    if (inet_pton(AF_INET, *host ? host : "0.0.0.0", &ret->u.v4.sin_addr) == 1)
        return true;
    *ret = (struct load_address){.len = sizeof ret->u.v6};
    ret->u.v6.sin6_port = htons((uint16_t)port);
    ret->u.v6.sin6_family = AF_INET6;
    return inet_pton(AF_INET6, host, &ret->u.v6.sin6_addr) == 1;
}

/* ---- peers ---- */

static void watch_peer(struct standin *s, struct peer *p, unsigned events)
{
    struct epoll_event e = {.events = events, .data.ptr = p};

    if (events == p->events)
        return;
    (void)epoll_ctl(s->epoll, p->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, p->fd, &e);
    p->events = events;
}

static struct peer *add_peer(struct standin *s, int fd, enum protocol protocol)
{
    struct peer *p = tw_alloc(sizeof *p);

    p->fd = fd;
    p->protocol = protocol;
    tw_buf_init(&p->in, REQUEST_MAX);
    tw_buf_init(&p->out, REQUEST_MAX);
    watch_peer(s, p, EPOLLIN);
    return p;
}

static void release(struct peer *p)
{
    if (p->due_ns == 0)
        return;
    *p->prev = p->next;
    if (p->next)
        p->next->prev = p->prev;
    p->due_ns = 0;
}

static void hold_back(struct standin *s, struct peer *p, int64_t due_ns)
{
    p->due_ns = due_ns;
    p->next = s->held;
    p->prev = &s->held;
    if (p->next)
        p->next->prev = &p->next;
    s->held = p;
}

static void end_peer(struct peer *p)
{
    release(p);
    (void)close(p->fd);
    tw_buf_done(&p->in);
    tw_buf_done(&p->out);
    free(p);
}

static int listen_at(struct standin *s, const char *address, enum protocol protocol)
{
    struct load_address at;
    int on = 1, fd;

    if (!read_address(address, &at)) {
        (void)fprintf(stderr, "twin _standin: '%s' is no address:port\n", address);
        return -EINVAL;
    }
    fd = socket(at.u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, &at.u.any, at.len) != 0 || listen(fd, SOMAXCONN) != 0) {
        (void)fprintf(stderr, "twin _standin: listening at %s: %s\n", address,
                      strerror(errno));
        return -errno;
    }
    add_peer(s, fd, protocol)->listens = true;
    return 0;
}

static void accept_all(struct standin *s, const struct peer *door)
{
    int fd;

    while ((fd = accept4(door->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        (void)add_peer(s, fd, door->protocol);
}

/* ---- answering ---- */

/* Sends what is due; false: the peer is gone. */
static bool send_out(struct standin *s, struct peer *p)
{
    static char fill[FILL];
    ssize_t n = 0;

    if (!fill[0])
        memset(fill, '.', sizeof fill);
    while (p->sent < p->out.len || p->fill_left > 0) {
        bool filling = p->sent == p->out.len;
        const char *from = filling ? fill : p->out.data + p->sent;
        size_t len = filling
                         ? (p->fill_left < (int64_t)FILL ? (size_t)p->fill_left : FILL)
                         : p->out.len - p->sent;

        n = send(p->fd, from, len,
                 MSG_NOSIGNAL | (!filling && p->fill_left ? MSG_MORE : 0));
        if (n < 0)
            break;
        if (filling)
            p->fill_left -= n;
        else
            p->sent += (size_t)n;
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return false;
    if (p->sent == p->out.len && p->fill_left == 0) {
        tw_buf_clear(&p->out);
        p->sent = 0;
        watch_peer(s, p, EPOLLIN);
        return true;
    }
    watch_peer(s, p, EPOLLIN | EPOLLOUT);
    return true;
}

static bool fits(const struct path *p, const char *method, const char *host,
                 const char *path)
{
    return (!p->method || !strcmp(p->method, method)) &&
           (!p->host || (host && !strcasecmp(p->host, host))) && !strcmp(p->path, path);
}

/* As asked, then without the query, then what stands for all. */
static const struct path *find_answer(const struct standin *s, const char *method,
                                      const char *host, char *path)
{
    for (int attempt = 0; attempt < 3; attempt++) {
        char *query = strchr(path, '?');

        for (size_t i = 0; i < s->paths.count; i++)
            if (fits(&s->paths.items[i], method, host, attempt == 2 ? "*" : path))
                return &s->paths.items[i];
        if (attempt == 0 && query)
            *query = '\0';
    }
    return &s->unknown;
}

static void put_answer(struct peer *p, const struct path *a)
{
    static const char unknown[] = "stand-in: nothing is recorded for this path\n";
    bool recorded = a->path != NULL;
    int64_t bytes = recorded ? a->bytes : (int64_t)sizeof unknown - 1;
    size_t before = p->out.len;

    tw_buf_printf(&p->out, "HTTP/1.1 %d %s\r\nX-Twin: stand-in%s\r\n", a->status,
                  http_reason(a->status), recorded ? "" : "; not recorded");
    if (a->status != 204 && a->status != 304)
        tw_buf_printf(&p->out, "Content-Type: text/plain\r\nContent-Length: %lld\r\n",
                      (long long)bytes);
    if (p->closes)
        tw_buf_puts(&p->out, "Connection: close\r\n");
    if (a->status >= 300 && a->status < 400 && a->status != 304)
        tw_buf_puts(&p->out, "Location: /\r\n");
    /* "X-Fill: " and its line end are 10 bytes, the empty line two. */
    if (a->header_bytes > (int64_t)(p->out.len - before) + 12) {
        tw_buf_puts(&p->out, "X-Fill: ");
        for (int64_t n = a->header_bytes - (int64_t)(p->out.len - before) - 4; n > 0; n--)
            tw_buf_add(&p->out, "x", 1);
        tw_buf_puts(&p->out, "\r\n");
    }
    tw_buf_puts(&p->out, "\r\n");
    if (p->head || a->status == 204 || a->status == 304)
        return;
    if (recorded)
        p->fill_left = bytes;
    else
        tw_buf_add(&p->out, unknown, (size_t)bytes);
}

static bool answer_now(struct standin *s, struct peer *p)
{
    put_answer(p, p->answer);
    p->answer = NULL;
    return send_out(s, p);
}

/* ---- requests ---- */

/* The value of a header, cut in place; NULL: not there. */
static char *header_of(char *head, const char *name)
{
    size_t n = strlen(name);

    for (char *line = strchr(head, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, n) != 0 || line[n] != ':')
            continue;
        line += n + 1;
        line += strspn(line, " \t");
        return strndup(line, strcspn(line, "\r\n"));
    }
    return NULL;
}

/* A chunked body that is wholly here, by its length; -1: not yet. */
static int64_t chunked_length(const char *body, size_t len)
{
    const char *at = body, *end = body + len, *line;

    while (at < end && (line = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        long size = strtol(at, NULL, 16);

        at = line + 1;
        if (size <= 0) {
            line = memchr(at, '\n', (size_t)(end - at));
            return line ? line + 1 - body : -1;
        }
        if (size > end - at)
            return -1;
        at += size + 2;
    }
    return -1;
}

static void cut_in(struct peer *p, size_t n)
{
    n = n < p->in.len ? n : p->in.len;
    memmove(p->in.data, p->in.data + n, p->in.len - n + 1);
    p->in.len -= n;
}

/* Reads the next request where it is wholly here. 1: it is answered or held back, 0: not yet,
 * -1: end the connection. */
static int take_request(struct standin *s, struct peer *p)
{
    tw_auto_free char *length = NULL, *coding = NULL, *host = NULL, *connection = NULL,
                      *expect = NULL, *method = NULL, *path = NULL;
    char *end = p->in.len ? memmem(p->in.data, p->in.len, "\r\n\r\n", 4) : NULL;
    size_t head_len, body_len;
    int64_t body = 0;
    char version = '1';

    if (!end)
        return p->in.overflow ? -1 : 0;
    head_len = (size_t)(end + 4 - p->in.data);
    body_len = p->in.len - head_len;
    end[2] = '\0';
    length = header_of(p->in.data, "content-length");
    coding = header_of(p->in.data, "transfer-encoding");
    host = header_of(p->in.data, "host");
    connection = header_of(p->in.data, "connection");
    expect = header_of(p->in.data, "expect");
    end[2] = '\r';
    if (sscanf(p->in.data, "%m[^ \r\n] %m[^ \r\n] HTTP/1.%c", &method, &path, &version) !=
        3)
        return -1;
    if (coding && strcasestr(coding, "chunked")) {
        body = chunked_length(p->in.data + head_len, body_len);
    } else if (length) {
        body = strtoll(length, NULL, 10);
    }
    if (body < 0) {
        if (expect && body_len == 0)
            (void)send(p->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL);
        return p->in.overflow ? -1 : 0;
    }
    if (expect && body > 0 && body_len == 0)
        (void)send(p->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL);
    p->head = !strcmp(method, "HEAD");
    p->closes = connection ? strcasestr(connection, "close") != NULL : version == '0';
    if (connection && strcasestr(connection, "keep-alive"))
        p->closes = false;
    if (host)
        host[strcspn(host, ":")] = '\0';
    p->answer = find_answer(s, method, host, path);
    cut_in(p, head_len + (size_t)(body < (int64_t)body_len ? body : (int64_t)body_len));
    p->skip = body > (int64_t)body_len ? body - (int64_t)body_len : 0;
    return 1;
}

/* Goes on with what has come, as far as it goes; false: the connection ends. */
static bool go_on_http(struct standin *s, struct peer *p)
{
    while (p->due_ns == 0 && p->out.len == 0 && p->fill_left == 0) {
        int r;

        if (p->closes)
            return false;
        if (p->skip > 0) {
            size_t n = (int64_t)p->in.len < p->skip ? p->in.len : (size_t)p->skip;

            cut_in(p, n);
            p->skip -= (int64_t)n;
            if (p->skip > 0)
                return true;
        }
        if (!p->answer) {
            r = take_request(s, p);
            if (r <= 0)
                return r == 0;
            if (p->skip > 0)
                continue; /* the body first */
        }
        if (p->answer->latency_ns > 0)
            hold_back(s, p, tw_now_ns() + p->answer->latency_ns);
        else if (!answer_now(s, p))
            return false;
    }
    return true;
}

static bool read_peer(struct standin *s, struct peer *p)
{
    ssize_t n = recv(p->fd, load_scratch, LOAD_SCRATCH, 0);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false; /* whoever leaves wants no answer */
    switch (p->protocol) {
    case HTTP:
        tw_buf_add(&p->in, load_scratch, (size_t)n);
        return go_on_http(s, p);
    case ECHO:
        tw_buf_add(&p->out, load_scratch, (size_t)n);
        return !p->out.overflow && send_out(s, p);
    case SILENT:
        break;
    }
    return true;
}

static void serve_peer(struct standin *s, struct peer *p, unsigned events)
{
    bool lives = !(events & EPOLLERR);

    if (lives && events & EPOLLOUT)
        lives = send_out(s, p) && (p->protocol != HTTP || go_on_http(s, p));
    if (lives && events & (EPOLLIN | EPOLLHUP))
        lives = read_peer(s, p);
    if (!lives)
        end_peer(p);
}

/* Answers that are due now; milliseconds to the next, -1: none. */
static int serve_held(struct standin *s)
{
    int64_t now = tw_now_ns(), next = INT64_MAX;

    for (struct peer *p = s->held, *after; p; p = after) {
        after = p->next;
        if (p->due_ns > now) {
            next = p->due_ns < next ? p->due_ns : next;
            continue;
        }
        release(p);
        if (!answer_now(s, p) || !go_on_http(s, p))
            end_peer(p);
        else if (p->due_ns > 0 && p->due_ns < next)
            next = p->due_ns;
    }
    return next == INT64_MAX ? -1 : (int)((next - now) / TW_MSEC_NS) + 1;
}

static void serve(struct standin *s)
{
    struct epoll_event events[EVENTS];

    while (!told_to_end) {
        int n = epoll_wait(s->epoll, events, EVENTS, serve_held(s));

        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;

            if (p->listens)
                accept_all(s, p);
            else
                serve_peer(s, p, events[i].events);
        }
    }
}

/* ---- beginning ---- */

static int listen_to_all(struct standin *s, const json_t *doors)
{
    size_t i;
    json_t *row;

    if (json_array_size(doors) == 0) {
        (void)fprintf(stderr, "twin _standin: the plan has nothing to \"listen\" at\n");
        return -EINVAL;
    }
    json_array_foreach (doors, i, row) {
        const char *address = json_string_value(json_object_get(row, "address"));
        const char *name = json_string_value(json_object_get(row, "protocol"));
        int protocol = name ? tw_name_index(name, protocol_names, 3) : HTTP;
        int r = address && protocol >= 0 ? listen_at(s, address, (enum protocol)protocol)
                                         : -EINVAL;

        if (r < 0)
            return r;
    }
    return 0;
}

static json_t *read_plan(int argc, char **argv)
{
    json_error_t why;
    json_t *plan =
        argc > 1 ? json_loads(argv[1], 0, &why) : json_loadfd(PLAN_FD, 0, &why);

    if (!plan)
        (void)fprintf(stderr, "twin _standin: the plan is no JSON: %s (line %d)\n",
                      why.text, why.line);
    return plan;
}

int tw_load_standin_main(int argc, char **argv)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    json_auto_t *plan = read_plan(argc, argv);
    struct standin s = {.epoll = epoll_create1(EPOLL_CLOEXEC),
                        .unknown = {.status = 200}};
    struct sigaction end = {.sa_handler = hear_end}; /* interrupts epoll_wait */
    struct rlimit files;

    if (!plan)
        return 2;
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)sigaction(SIGTERM, &end, NULL);
    (void)sigaction(SIGINT, &end, NULL);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    read_paths(a, &s, json_object_get(plan, "paths"));
    if (listen_to_all(&s, json_object_get(plan, "listen")) < 0)
        return 1;
    (void)printf("ready\n");
    (void)fflush(stdout);
    serve(&s);
    (void)close(s.epoll);
    return 0;
}

/* ---- making a plan ---- */

static void put_number(json_t *row, const char *key, double value)
{
    if (!isnan(value))
        (void)json_object_set_new(row, key, json_real(value));
}

/* What the service gives on is what it was given: bytes and seconds of the upstream where they
 * are known, else its own, which then are too many rather than too few. */
static json_t *path_row(const struct tw_sample_request *r)
{
    json_t *row = json_object();
    double bytes = isnan(r->upstream_bytes) ? r->bytes : r->upstream_bytes;

    (void)json_object_set_new(row, "method", json_string(r->method));
    (void)json_object_set_new(row, "path", json_string(r->path));
    (void)json_object_set_new(row, "status", json_integer(r->status ? r->status : 200));
    if (!isnan(bytes))
        (void)json_object_set_new(row, "bytes", json_integer((json_int_t)bytes));
    put_number(row, "latency_s", isnan(r->upstream_s) ? r->mean_s : r->upstream_s);
    return row;
}

char *tw_load_standin_plan(struct tw_arena *a, const struct tw_snapshot *s,
                           const char *const *addresses, const char *const *protocols,
                           size_t count)
{
    json_auto_t *plan = json_object();
    json_t *doors = json_array(), *paths = json_array();
    tw_auto_free char *text = NULL;

    for (size_t i = 0; i < count; i++) {
        const char *known = protocols[i] ? protocols[i] : "silent";
        bool named = tw_name_index(known, protocol_names, 3) >= 0;

        (void)json_array_append_new(doors,
                                    json_pack("{s:s,s:s}", "address", addresses[i],
                                              "protocol", named ? known : "silent"));
    }
    for (size_t i = 0; i < s->requests.count; i++) {
        const struct tw_sample_request *r = &s->requests.items[i];

        /* 502 and 504 are the service's own words about its upstream. */
        if (r->path && r->path[0] == '/' && r->method && r->status != 502 &&
            r->status != 504)
            (void)json_array_append_new(paths, path_row(r));
    }
    (void)json_object_set_new(plan, "listen", doors);
    (void)json_object_set_new(plan, "paths", paths);
    text = json_dumps(plan, JSON_COMPACT);
    return tw_arena_strdup(a, text);
}
