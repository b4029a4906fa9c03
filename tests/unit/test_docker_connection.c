/* Asking: a stub of an Engine on a socket answers as it is told, well and badly. */
#include "docker/docker_internal.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define VERSION                                                                          \
    "{\"Version\":\"20.10\",\"ApiVersion\":\"1.41\",\"MinAPIVersion\":\"1.12\"}"

static char dir[] = "/tmp/twin-docker-XXXXXX";
static char host[64];
static pid_t stub = -1;

/* Reads one request, as far as its head goes. False: the other side is gone. */
static bool take_request(int fd)
{
    char head[8192];
    size_t have = 0;

    while (have < sizeof(head) - 1) {
        ssize_t n = read(fd, head + have, 1);

        if (n <= 0)
            return false;
        have += (size_t)n;
        head[have] = 0;
        if (tw_ends_with(head, "\r\n\r\n"))
            return true;
    }
    return false;
}

static void answer(int fd, const char *bytes)
{
    size_t len = strlen(bytes);

    while (len) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        bytes += n;
        len -= (size_t)n;
    }
}

/* The version first, then what the test wants; NULL: nothing, for ever. One that begins
 * with '!' is closed after it. */
static void serve(int listener, const char *first, const char *then)
{
    bool version = true;

    for (;;) {
        int fd = accept(listener, NULL, NULL);

        while (fd >= 0 && take_request(fd)) {
            const char *bytes = version && first ? first : then;

            version = false;
            if (!bytes)
                for (;;)
                    (void)pause();
            answer(fd, bytes + (*bytes == '!'));
            if (*bytes == '!')
                break;
        }
        (void)close(fd);
    }
}

static void start_stub(const char *first, const char *then)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);

    cr_assert(mkdtemp(dir) != NULL);
    (void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/s", dir);
    (void)snprintf(host, sizeof(host), "unix://%s/s", dir);
    cr_assert(bind(listener, (const struct sockaddr *)&at, sizeof(at)) == 0);
    cr_assert(listen(listener, 16) == 0);
    stub = fork();
    if (stub == 0) {
        serve(listener, first, then);
        _exit(0);
    }
    (void)close(listener);
}

static void stop_stub(void)
{
    if (stub > 0) {
        (void)kill(stub, SIGKILL);
        (void)waitpid(stub, NULL, 0);
        (void)tw_remove_tree(dir, NULL);
    }
}

TestSuite(docker_connection, .fini = stop_stub, .timeout = 60);

static char *say(const char *status, const char *body)
{
    return tw_strf(
        "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
        "\r\n%s",
        status, strlen(body), body);
}

/* What inspecting a container gives when the Engine answers so. */
static int inspect(const char *then, struct tw_err *err)
{
    tw_auto_free char *version = say("200 OK", VERSION);
    struct tw_docker_options options = {.host = host, .timeout_s = 5};
    tw_auto(tw_docker) *d = NULL;
    json_auto_t *json = NULL;
    int r;

    start_stub(version, then);
    options.timeout_s = then ? 20 : 0.3;
    r = tw_docker_open(&options, &d, err);
    cr_assert(r == 0 || !then, "%s", err->text);
    return r < 0 ? r : tw_docker_container_inspect(d, "web", &json, err);
}

Test(docker_connection, an_answer_is_an_object)
{
    tw_auto_free char *then = say("200 OK", "{\"Id\":\"x\"}");
    struct tw_err err = {0};

    cr_expect(inspect(then, &err) == 0, "%s", err.text);
}

Test(docker_connection, the_words_of_the_engine_are_kept)
{
    tw_auto_free char *then = say("500 Internal Server Error",
                                  "{\"message\":\"could not find bridge docker0\"}");
    struct tw_err err = {0};

    cr_expect(inspect(then, &err) == -EIO);
    cr_expect(strstr(err.text, "container 'web'") && strstr(err.text, "bridge docker0"),
              "%s", err.text);
}

Test(docker_connection, an_error_without_json_is_quoted)
{
    tw_auto_free char *then = say("503 Busy", "upstream is gone\nsecond line");
    struct tw_err err = {0};

    cr_expect(inspect(then, &err) == -EBUSY);
    cr_expect(strstr(err.text, "upstream is gone") && !strstr(err.text, "second"), "%s",
              err.text);
}

Test(docker_connection, nothing_there_is_not_found)
{
    tw_auto_free char *then =
        say("404 Not Found", "{\"message\":\"No such container: web\"}");
    struct tw_err err = {0};

    cr_expect(inspect(then, &err) == -ENOENT);
}

Test(docker_connection, garbage_is_told_from_an_answer)
{
    struct tw_err err = {0};

    cr_expect(inspect("!\x01\x02 what is this\n", &err) == -EPROTO, "%s", err.text);
}

Test(docker_connection, an_answer_without_json_is_told)
{
    tw_auto_free char *then = say("200 OK", "<html>proxy</html>");
    struct tw_err err = {0};

    cr_expect(inspect(then, &err) == -EPROTO, "%s", err.text);
}

Test(docker_connection, an_answer_of_another_type_is_told)
{
    tw_auto_free char *then = say("200 OK", "[1]");
    struct tw_err err = {0};

    cr_expect(inspect(then, &err) == -EPROTO, "%s", err.text);
}

Test(docker_connection, half_a_body_is_no_answer)
{
    struct tw_err err = {0};

    cr_expect(inspect("!HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n{\"Id\":\"x\"}",
                      &err) == -EPROTO,
              "%s", err.text);
}

Test(docker_connection, half_a_chunk_is_no_answer)
{
    struct tw_err err = {0};

    cr_expect(
        inspect("!HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"Id\"",
                &err) == -EPROTO,
        "%s", err.text);
}

Test(docker_connection, an_engine_that_hangs_up_is_told)
{
    struct tw_err err = {0};

    cr_expect(inspect("!", &err) == -EPROTO, "%s", err.text);
}

Test(docker_connection, an_engine_that_never_answers_is_left)
{
    struct tw_err err = {0};

    cr_expect(inspect(NULL, &err) == -ETIMEDOUT, "%s", err.text);
}

Test(docker_connection, no_socket_says_what_to_look_at)
{
    struct tw_docker_options options = {.host = "unix:///tmp/there-is-no/engine.sock"};
    tw_auto(tw_docker) *d = NULL;
    struct tw_err err = {0};

    cr_expect(tw_docker_open(&options, &d, &err) == -ECONNREFUSED);
    cr_expect(strstr(err.text, "DOCKER_HOST") != NULL, "%s", err.text);
}

Test(docker_connection, versions_are_negotiated)
{
    static const struct {
        char newest[16], oldest[16];
        int result, minor;
    } table[] = {{"1.41", "1.12", 0, 41},
                 {"1.40", "1.12", 0, 40},
                 {"1.47", "1.24", 0, DOCKER_NEWEST},
                 {"1.52", "1.44", 0, DOCKER_NEWEST},
                 {"1.52", "", 0, DOCKER_NEWEST},
                 {"1.39", "1.12", -EPROTONOSUPPORT, 0},
                 {"1.60", "1.48", -EPROTONOSUPPORT, 0},
                 {"2.0", "1.48", -EPROTO, 0},
                 {"1.4x", "1.12", -EPROTO, 0},
                 {"", "", -EPROTO, 0}};

    for (size_t i = 0; i < TW_COUNT_OF(table); i++) {
        int minor = 0;

        cr_expect(docker_negotiate(table[i].newest, table[i].oldest, &minor, NULL) ==
                      table[i].result,
                  "%s", table[i].newest);
        cr_expect(minor == table[i].minor, "%s: %d", table[i].newest, minor);
    }
}

Test(docker_connection, hosts_are_read_or_refused)
{
    static const struct {
        char host[48], url[48];
    } table[] = {{"unix:///run/x.sock", "http://engine"},
                 {"tcp://10.0.0.1:2375", "http://10.0.0.1:2375"},
                 {"tcp://engine.example", "http://engine.example:2375"},
                 {"tcp://[::1]:2375/", "http://[::1]:2375"},
                 {"unix://relative", ""},
                 {"ssh://root@host", ""},
                 {"tcp://", ""},
                 {"tcp://user@host:1", ""},
                 {"npipe:////./pipe", ""}};

    (void)unsetenv("DOCKER_TLS_VERIFY");
    for (size_t i = 0; i < TW_COUNT_OF(table); i++) {
        struct docker_place p;
        struct tw_err err = {0};
        int r = docker_place_find(&(struct tw_docker_options){.host = table[i].host}, &p,
                                  &err);

        cr_expect((r == 0) == (*table[i].url != 0), "%s: %s", table[i].host, err.text);
        if (r == 0)
            cr_expect_str_eq(p.url, table[i].url);
        docker_place_done(&p);
    }
}

Test(docker_connection, certificates_that_are_missing_are_named)
{
    struct docker_place p;
    struct tw_err err = {0};
    int r = docker_place_find(
        &(struct tw_docker_options){.host = "tcp://h:2376", .cert_path = "/there-is-no"},
        &p, &err);

    cr_expect(r == -ENOENT && strstr(err.text, "ca.pem"), "%s", err.text);
    docker_place_done(&p);
}

Test(docker_connection, names_cannot_leave_their_place_in_a_path)
{
    tw_auto_free char *path = docker_path("/containers/%s/stop?t=%d", "../a?b&c/ü", 3);

    cr_expect_str_eq(path, "/containers/..%2Fa%3Fb%26c%2F%C3%BC/stop?t=3");
}
