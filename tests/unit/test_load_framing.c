/* Answers byte by byte: a server of our own says what it is told to, a generator listens. */
#include "load/load_internal.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct row {
    const char *says; /* the answer to "/0", "/1" … or the n-th command */
    const char *code; /* NULL: it is an answer */
    int status;
    bool closes;
};
static struct tw_arena *arena;
static pid_t server;
static int port;

static void open_arena(void)
{
    arena = tw_arena_new();
}

static void end_server(void)
{
    if (server > 0) {
        (void)kill(server, SIGKILL);
        (void)waitpid(server, NULL, 0);
    }
    tw_arena_free(arena);
}

TestSuite(load_framing, .init = open_arena, .fini = end_server, .timeout = 60);

static void say_bytes(int fd, const char *text)
{
    for (; *text; text++)
        if (send(fd, text, 1, MSG_NOSIGNAL) != 1)
            return;
}

/* One connection after the other; a request ends with an empty line, or is one line. */
static void __attribute__((noreturn))
serve(int door, const struct row *rows, const char *end)
{
    for (;;) {
        int fd = accept(door, NULL, NULL), on = 1;
        char request[4096] = "";
        size_t len = 0;

        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        while (len + 1 < sizeof request && recv(fd, request + len, 1, 0) == 1) {
            const char *slash = strchr(request, '/');
            const struct row *row;

            request[++len] = '\0';
            if (!tw_ends_with(request, end) && !tw_ends_with(request, "PING\r\n"))
                continue;
            row = slash ? &rows[atoi(slash + 1)] : NULL;
            say_bytes(fd, row ? row->says : "+PONG\r\n");
            len = 0;
            request[0] = '\0';
            if (row && row->closes)
                break;
        }
        (void)close(fd);
    }
}

static void start_server(const struct row *rows, const char *end)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int door = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert(bind(door, (void *)&at, len) == 0 && listen(door, 16) == 0);
    cr_assert(getsockname(door, (void *)&at, &len) == 0);
    port = ntohs(at.sin_port);
    server = fork();
    if (server == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(door, rows, end);
    }
    (void)close(door);
}

static void check(const char *driver, const struct row *rows, size_t count,
                  const char *request, const char *end)
{
    struct tw_load_mix mix = {.driver = driver};
    struct tw_load_spec at = {0};
    struct load_answer *answers;
    struct tw_err err = {0};

    start_server(rows, end);
    at.conninfo[TW_BASELINE] = tw_arena_printf(arena, "address=127.0.0.1 port=%d", port);
    for (size_t i = 0; i < count; i++) {
        struct tw_load_item *item = load_mix_add(arena, &mix, "r", "", 1);

        item->statements.items[0].sql = tw_arena_printf(arena, request, i);
    }
    cr_assert(load_probe(arena, &at, &mix, &answers, &err) == 0, "%s", err.text);
    for (size_t i = 0; i < count; i++) {
        cr_expect((answers[i].event == LOAD_ANSWERED) == !rows[i].code, "%s %zu: %s %s",
                  driver, i, answers[i].code, answers[i].text);
        if (rows[i].code)
            cr_expect_str_eq(answers[i].code, rows[i].code, "%s %zu: %s %s", driver, i,
                             answers[i].code, answers[i].text);
        cr_expect_eq(answers[i].status, rows[i].status, "%s %zu: %d", driver, i,
                     answers[i].status);
        if (!rows[i].code)
            cr_expect_str_eq(answers[i].reply, rows[i].says, "%s %zu", driver, i);
    }
}

Test(load_framing, answers_of_http_come_in_any_pieces)
{
    static const struct row rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", NULL, 200, false},
        {"HTTP/1.1 204 No Content\r\n\r\n", NULL, 204, false},
        {"HTTP/1.1 200 OK\r\ncontent-LENGTH:0\r\n\r\n", NULL, 200, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         "5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n",
         NULL, 200, false},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
         NULL, 200, false},
        {"HTTP/1.0 200 OK\r\n\r\nup to the end", NULL, 200, true},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", NULL, 200,
         true},
        {"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nwait", "503", 503, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "closed", 200, true},
        {"SSH-2.0-OpenSSH_9.2\r\n\r\n", "protocol", 0, true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NULL, 200,
         false},
    };

    check("http", rows, TW_COUNT_OF(rows), "GET /%zu", "\r\n\r\n");
}

Test(load_framing, answers_of_redis_come_in_any_pieces)
{
    static const struct row rows[] = {
        {"+OK\r\n", NULL, 0, false},
        {"$5\r\nhe\r\no\r\n", NULL, 0, false},
        {"$-1\r\n", NULL, 0, false},
        {"$0\r\n\r\n", NULL, 0, false},
        {"*3\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n$-1\r\n", NULL, 0, false},
        {"*-1\r\n", NULL, 0, false},
        {"-OOM command not allowed\r\n", "OOM", 0, false},
        {"*2\r\n+QUEUED\r\n-WRONGTYPE no\r\n", "WRONGTYPE", 0, false},
        {":12\r\n", NULL, 0, false},
        {"HTTP/1.1 400 Bad\r\n", "protocol", 0, true},
    };

    check("redis", rows, TW_COUNT_OF(rows), "GET /%zu/", "/\r\n");
}
