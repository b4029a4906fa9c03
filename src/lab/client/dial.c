/* Connecting from a given source over a given link. */
#include "client_internal.h"

#include "tw/pg.h"

#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

bool client_poll(int fd, short events, int64_t deadline_ns)
{
    struct pollfd p = {.fd = fd, .events = events};

    for (;;) {
        int64_t left = deadline_ns - tw_now_ns();
        struct timespec t = {left / TW_SEC_NS, left % TW_SEC_NS};
        int n;

        if (left <= 0)
            return false;
        n = ppoll(&p, 1, &t, NULL);
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
    }
}

/* The socket's own end: which link it leaves by, and from which address. */
static struct tw_pg_way way_of(const struct client_try *t)
{
    return (struct tw_pg_way){t->way.device, t->client.source};
}

static int leave_from(const struct client_try *t, int fd, int family)
{
    const struct tw_pg_way way = way_of(t);

    return tw_pg_leave(&way, fd, family);
}

/* ---- for libpq, which makes its sockets itself ---- */

void client_dial_for_library(const struct client_try *t)
{
    static __thread struct tw_pg_way way;

    way = t ? way_of(t) : (struct tw_pg_way){0};
    tw_pg_leave_by(t ? &way : NULL);
}

/* ---- for everybody else ---- */

int client_port(const struct client_try *t)
{
    const struct client_protocol *p = client_protocol_find(t->client.protocol);

    if (t->way.port)
        return t->way.port;
    return t->client.port ? t->client.port : p ? p->port : 0;
}

static int finish(struct client_try *t, int fd)
{
    int e = 0;
    socklen_t len = sizeof e;

    if (!client_poll(fd, POLLOUT, t->deadline_ns)) {
        client_end(t, TW_CLIENT_HUNG, "connect", NULL, "no answer to the connection");
        return -ETIMEDOUT;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0)
        e = errno;
    if (!e)
        return 0;
    client_end(t, TW_CLIENT_NO_WAY, "connect", NULL, strerror(e));
    return -e;
}

int client_dial(struct client_try *t, int *ret_fd)
{
    const char *address = t->client.address ? t->client.address : t->way.address;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST};
    tw_auto_free char *port = tw_strf("%d", client_port(t));
    tw_auto_close int fd = -1;
    struct addrinfo *to = NULL;
    int r;

    if (!address || getaddrinfo(address, port, &hints, &to) != 0) {
        client_end(
            t, TW_CLIENT_UNTRIED, "connect", NULL,
            tw_arena_printf(t->arena, "'%s' is no address", address ? address : ""));
        return -EINVAL;
    }
    fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    r = fd < 0 ? -errno : leave_from(t, fd, to->ai_family);
    if (r < 0)
        client_end(t, TW_CLIENT_UNTRIED, "connect", NULL,
                   tw_arena_printf(t->arena, "from '%s': %s",
                                   t->client.source ? t->client.source : "here",
                                   strerror(-r)));
    else if (syscall(SYS_connect, fd, to->ai_addr, to->ai_addrlen) < 0 &&
             errno != EINPROGRESS) {
        r = -errno;
        client_end(t, TW_CLIENT_NO_WAY, "connect", NULL, strerror(-r));
    }
    freeaddrinfo(to);
    if (r == 0)
        r = finish(t, fd);
    if (r == 0)
        *ret_fd = tw_take_fd(&fd);
    return r;
}
