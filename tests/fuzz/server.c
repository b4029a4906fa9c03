/* The server of room io, in this process, spoken to over real sockets. What it answers does not matter; that it
 * still answers a sound request afterwards does. */
#include "fuzz.h"

#include "tw/io.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define QUIET_MS    2 /* a request that is not whole: nobody waits for its rest */

static struct tw_http_server *server;
static struct tw_ws_hub *hub;

static void handle(void *arg, struct tw_http_request *r)
{
    size_t len = r->body ? r->body_len : 1;
    char *echo;

    (void)arg;
    if (tw_streq(r->path, "/ws") && tw_ws_accept(hub, r, NULL, NULL, NULL) == 0)
        return;
    echo = tw_alloc(len + 1); /* a body may hold NUL */
    memcpy(echo, r->body ? r->body : "-", len);
    tw_http_answer(r, 200, "text/plain", echo, len);
}

static void received(void *arg, struct tw_ws *c, const char *text, size_t len)
{
    struct tw_ws_message *m = tw_ws_message_new(text, len < 64 ? len : 64);

    (void)arg;
    tw_ws_send(c, m, false);
    tw_ws_message_unref(m);
}

static void opened(void *arg, struct tw_ws *c, void *mine)
{
    (void)arg, (void)c, (void)mine;
}

static void closed(void *arg, struct tw_ws *c, void *mine)
{
    (void)arg, (void)c, (void)mine;
}

int fuzz_server_open(void)
{
    struct tw_ws_options ws = {.opened = opened, .received = received, .closed = closed};
    struct tw_http_options http = {
        .listen = "127.0.0.1:0", .max_body = 65536, .threads = 1, .handler = handle};
    struct tw_err err;

    if (server)
        return 0;
    if (tw_ws_hub_open(&ws, &hub, &err) < 0 || tw_http_open(&http, &server, &err) < 0) {
        (void)fprintf(stderr, "fuzz: %s\n", err.text);
        return -1;
    }
    return 0;
}

void fuzz_server_close(void)
{
    if (!server)
        return;
    tw_http_quiesce(server);
    tw_ws_hub_stop(hub);
    tw_http_close(server);
    tw_ws_hub_close(hub);
    server = NULL;
    hub = NULL;
}

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)tw_http_port(server)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct linger gone = {1,
                          0}; /* thousands of closed connections would fill the table */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &gone, sizeof gone);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)(const void *)&to, sizeof to) < 0) {
        perror("fuzz: the server takes no connection");
        abort();
    }
    return fd;
}

static ssize_t answer(int fd, char *to, size_t room, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, ms) > 0 ? read(fd, to, room) : -1;
}

/* Within the patience, or it hangs. */
static void still_serves(int fd)
{
    static const char sound[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    char got[4096];

    if (write(fd, sound, sizeof(sound) - 1) < 0 ||
        answer(fd, got, sizeof(got), PATIENCE_MS) < 12 ||
        memcmp(got + 9, "200", 3) != 0) {
        (void)fprintf(stderr, "fuzz: the server does not answer any more\n");
        abort();
    }
}

static void now_and_then(void)
{
    static unsigned n;
    int fd;

    if (++n % 64)
        return;
    fd = dial();
    still_serves(fd);
    (void)close(fd);
}

void fuzz_http(struct tw_arena *a, const char *data, size_t len)
{
    tw_auto_close int fd = dial();
    char got[4096];

    (void)a;
    (void)!write(fd, data, len);
    (void)answer(fd, got, sizeof(got), QUIET_MS);
    now_and_then();
}

/* Seeds are written with the handshake left out. */
void fuzz_websocket(struct tw_arena *a, const char *data, size_t len)
{
    static const char hello[] = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: "
                                "Upgrade\r\nUpgrade: websocket\r\n"
                                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                                "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    tw_auto_close int fd = dial();
    char got[4096];

    (void)a;
    if (write(fd, hello, sizeof(hello) - 1) < 0 ||
        answer(fd, got, sizeof(got), PATIENCE_MS) < 12 || memcmp(got + 9, "101", 3) != 0)
        abort();
    (void)!write(fd, data, len);
    (void)answer(fd, got, sizeof(got), QUIET_MS);
    now_and_then();
}
