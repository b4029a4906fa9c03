/* The header screen and the server's patience, by raw bytes: each row a class of mistakes. */
#include "tw/io.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void answer_later(void *arg)
{
    struct tw_http_request *r = arg;
    char *text = tw_strf("%s %s", r->method, r->path);

    tw_http_answer(r, 200, "text/plain", text, strlen(text));
}

static void *later(void *arg)
{
    answer_later(arg);
    return NULL;
}

/* "/later" is answered by another thread, perhaps before the handler has returned. */
static void handle(void *arg, struct tw_http_request *r)
{
    pthread_t thread;

    (void)arg;
    if (!tw_streq(r->path, "/later")) {
        answer_later(r);
        return;
    }
    cr_assert_eq(pthread_create(&thread, NULL, later, r), 0);
    (void)pthread_detach(thread);
}

static struct tw_http_server *serve(void)
{
    struct tw_http_options o = {
        .listen = "127.0.0.1:0", .handler = handle, .max_body = 1000};
    struct tw_http_server *s = NULL;
    struct tw_err err = {0};

    cr_assert_eq(tw_http_open(&o, &s, &err), 0, "%s", err.text);
    return s;
}

static int connect_to(const struct tw_http_server *s)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)tw_http_port(s)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

/* Status of the first answer to these bytes; 0: hung up without one. */
static int status_of(const struct tw_http_server *s, const char *bytes, size_t len,
                     char *text, size_t room)
{
    int fd = connect_to(s), status = 0;
    size_t at = 0;
    ssize_t n;

    (void)!write(fd, bytes, len);
    while (at + 1 < room && (n = read(fd, text + at, room - 1 - at)) > 0) {
        at += (size_t)n;
        text[at] = '\0';
        if (strstr(text, "\r\n\r\n"))
            break;
    }
    text[at] = '\0';
    if (at > 12 && tw_starts_with(text, "HTTP/1.1 "))
        status = atoi(text + 9);
    (void)close(fd);
    return status;
}

#define H "Host: a\r\n"
#define ROW(name, status, bytes)                                                         \
    {                                                                                    \
        name, status, bytes, sizeof(bytes) - 1                                           \
    }

Test(io_http, what_could_be_read_in_two_ways_is_refused)
{
    static const struct {
        const char *name;
        int status; /* 400: any refusal, or hung up */
        const char *bytes;
        size_t len;
    } rows[] = {
        ROW("plain", 200, "GET /a HTTP/1.1\r\n" H "\r\n"),
        ROW("body", 200, "POST /a HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nab"),
        ROW("chunked", 200,
            "POST /a HTTP/1.1\r\n" H
            "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
        ROW("answered later", 200, "GET /later HTTP/1.1\r\n" H "\r\n"),
        ROW("no host", 400, "GET /a HTTP/1.1\r\n\r\n"),
        ROW("two hosts", 400, "GET /a HTTP/1.1\r\n" H "Host: b\r\n\r\n"),
        ROW("host with a path", 400, "GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        ROW("two lengths", 400,
            "POST /a HTTP/1.1\r\n" H "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
        ROW("the same length twice", 400,
            "POST /a HTTP/1.1\r\n" H "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab"),
        ROW("length with a sign", 400,
            "POST /a HTTP/1.1\r\n" H "Content-Length: +2\r\n\r\nab"),
        ROW("length in hex", 400,
            "POST /a HTTP/1.1\r\n" H "Content-Length: 0x2\r\n\r\nab"),
        ROW("length as a list", 400,
            "POST /a HTTP/1.1\r\n" H "Content-Length: 2, 2\r\n\r\nab"),
        ROW("length out of range", 400,
            "POST /a HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\nab"),
        ROW("length beside coding", 400,
            "POST /a HTTP/1.1\r\n" H
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ROW("two codings", 400,
            "POST /a HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: "
            "chunked\r\n\r\n0\r\n\r\n"),
        ROW("a coding that is not known", 400,
            "POST /a HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ROW("a coding in disguise", 400,
            "POST /a HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ROW("a coding in HTTP/1.0", 400,
            "POST /a HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ROW("blank before the colon", 400, "GET /a HTTP/1.1\r\n" H "X : b\r\n\r\n"),
        ROW("no colon", 400, "GET /a HTTP/1.1\r\n" H "Xb\r\n\r\n"),
        ROW("an underscore in a name", 400,
            "GET /a HTTP/1.1\r\n" H "Content_Length: 2\r\n\r\n"),
        ROW("a control character in a value", 400,
            "GET /a HTTP/1.1\r\n" H "X: a\001b\r\n\r\n"),
        ROW("a body of GET", 400, "GET /a HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nab"),
        ROW("dot segments", 400, "GET /a/../b HTTP/1.1\r\n" H "\r\n"),
        ROW("escaped dot segments", 400, "GET /a/%2e%2e/b HTTP/1.1\r\n" H "\r\n"),
        ROW("an escaped slash", 400, "GET /a%2fb HTTP/1.1\r\n" H "\r\n"),
        ROW("an escaped NUL", 400, "GET /a%00b HTTP/1.1\r\n" H "\r\n"),
        ROW("a broken escape", 400, "GET /a%4 HTTP/1.1\r\n" H "\r\n"),
        ROW("an empty segment", 400, "GET //a HTTP/1.1\r\n" H "\r\n"),
        ROW("an absolute target", 400, "GET http://a/b HTTP/1.1\r\n" H "\r\n"),
        ROW("a parameter twice", 400, "GET /a?x=1&x=2 HTTP/1.1\r\n" H "\r\n"),
        ROW("a version that is none", 400, "GET /a HTTP/9.9\r\n" H "\r\n"),
        ROW("an unknown expectation", 400, "POST /a HTTP/1.1\r\n" H "Expect: x\r\n\r\n"),
        ROW("a body too large", 413,
            "POST /a HTTP/1.1\r\n" H "Content-Length: 1001\r\n\r\n"),
    };
    struct tw_http_server *s = serve();
    char text[4096];

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        int got = status_of(s, rows[i].bytes, rows[i].len, text, sizeof(text));

        if (rows[i].status == 400)
            cr_expect(got == 0 || (got >= 400 && got < 600), "%s: answered %d",
                      rows[i].name, got);
        else
            cr_expect_eq(got, rows[i].status, "%s: answered %d: %s", rows[i].name, got,
                         text);
    }
    tw_http_close(s);
}

Test(io_http, mutated_requests_never_break_the_server)
{
    static const char seed[] =
        "POST /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
        "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\nhello";
    struct tw_http_server *s = serve();
    unsigned state = 1;
    char text[4096];

    for (int i = 0; i < 1500; i++) {
        char bytes[sizeof(seed)];
        size_t len = sizeof(seed) - 1;

        memcpy(bytes, seed, sizeof(seed));
        for (int k = 0; k <= i % 4; k++) {
            state = state * 1103515245u + 12345u;
            bytes[(state >> 8) % len] = (char)(state >> 16);
        }
        int fd = connect_to(s);

        (void)!write(fd, bytes, len - (state >> 20) % 4);
        (void)shutdown(fd, SHUT_WR);
        (void)close(fd);
    }
    cr_expect_eq(status_of(s, "GET /a HTTP/1.1\r\n" H "\r\n", 28, text, sizeof(text)),
                 200);
    tw_http_close(s);
}

Test(io_http, networks_contain_their_addresses_only)
{
    static const struct {
        const char *net, *address;
        bool in;
    } rows[] = {{"10.0.0.0/8", "10.1.2.3", true},
                {"10.0.0.0/8", "11.1.2.3", false},
                {"192.168.1.0/25", "192.168.1.128", false},
                {"::1", "::1", true},
                {"fe80::/10", "febf::1", true},
                {"fe80::/10", "fec0::1", false},
                {"0.0.0.0/0", "::1", false},
                {"127.0.0.1", "::ffff:127.0.0.1", true}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        unsigned char net[16] = {0}, address[16] = {0};
        int bits, unused;

        cr_assert_eq(tw_net_parse(rows[i].net, net, &bits, NULL), 0);
        cr_assert_eq(tw_net_parse(rows[i].address, address, &unused, NULL), 0);
        cr_expect_eq(tw_net_contains(net, bits, address), rows[i].in, "%s in %s",
                     rows[i].address, rows[i].net);
    }
}
