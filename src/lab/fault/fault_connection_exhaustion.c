/* Somebody opens sessions and keeps them: so large a share of what the unchanged service allows, the
 * same number for both arms. */
#include "fault_internal.h"

#include <arpa/inet.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_MS 1000
#define REFUSALS   5 /* in a row: it is full */

static void note(struct tw_fault_run *f, const char *words)
{
    f->refused++;
    if (!f->words[0])
        memcpy(f->words, words, strnlen(words, sizeof f->words - 1));
}

static int open_session(struct tw_fault_run *f, struct tw_err *why)
{
    return tw_twin_connect(f->place.twin, NULL, &f->sessions[f->open], why);
}

static int dial(void *arg)
{
    struct tw_fault_run *f = arg;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->place.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;
    struct pollfd p = {fd, POLLOUT, 0};
    socklen_t len = sizeof error;

    (void)inet_pton(AF_INET, f->place.address, &to.sin_addr);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        error = errno;
    else if (poll(&p, 1, CONNECT_MS) != 1)
        error = ETIMEDOUT;
    else
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error) {
        (void)close(fd);
        return -error;
    }
    f->sockets[f->open] = fd;
    return 0;
}

static int open_socket(struct tw_fault_run *f, struct tw_err *why)
{
    int r = tw_priv_netns_run(f->place.priv, tw_sandbox_netns(tw_twin_sandbox(f->place.twin)),
                              dial, f, why);

    return r < 0 ? tw_fail(why, r, "%s", strerror(-r)) : 0;
}

static int begin(struct tw_fault_run *f, struct tw_err *err)
{
    bool sql = tw_twin_kind(f->place.twin)->conninfo != NULL;
    int wanted = (int)lround(f->strength * f->place.connections), full = 0;

    if (!(f->place.connections > 0) || (!sql && (!f->place.address || f->place.port <= 0)))
        return tw_fail(err, -ENOTSUP, "it is not known how many connections it allows, or where");
    f->sessions = tw_alloc((size_t)wanted * sizeof *f->sessions + 1);
    f->sockets = tw_alloc((size_t)wanted * sizeof *f->sockets + 1);
    while (f->asked < wanted && full < REFUSALS) {
        struct tw_err why = {0};
        int r = sql ? open_session(f, &why) : open_socket(f, &why);

        f->asked++;
        full = r < 0 ? full + 1 : 0;
        if (r < 0)
            note(f, why.text);
        else
            f->open++;
    }
    f->how = sql ? "sessions of our own, kept open" : "connections of our own, kept open";
    return 0;
}

static int end(struct tw_fault_run *f, struct tw_err *err)
{
    bool sql = tw_twin_kind(f->place.twin)->conninfo != NULL;

    (void)err;
    while (f->open > 0) {
        f->open--;
        if (sql)
            tw_pg_close(f->sessions[f->open]);
        else
            (void)close(f->sockets[f->open]);
    }
    return 0;
}

static int check(struct tw_fault_run *f, struct tw_err *err)
{
    (void)err;
    return f->open == 0 ? 0 : -EBUSY;
}

const struct tw_fault_kind fault_kind_connection_exhaustion = {
    .name = "connection_exhaustion",
    .summary = "so much of the connections that the unchanged service allows are taken",
    .unit = TW_FAULT_SHARE,
    .low = 0.01,
    .high = 10,
    .standard = "90%",
    .duration_s = 0.5,
    .begin = begin,
    .end = end,
    .check = check,
};
