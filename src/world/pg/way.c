/* By which link and from which address connections of libpq leave. */
#include "tw/pg.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static __thread const struct tw_pg_way *current;

void tw_pg_leave_by(const struct tw_pg_way *way)
{
    current = way;
}

int tw_pg_leave(const struct tw_pg_way *way, int fd, int family)
{
    const struct addrinfo hints = {
        .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *from = NULL;
    int r = 0;

    if (way->device && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, way->device,
                                  (socklen_t)strlen(way->device) + 1) < 0)
        return -errno;
    if (!way->source)
        return 0;
    if (getaddrinfo(way->source, NULL, &hints, &from) != 0)
        return -EAFNOSUPPORT;
    if (bind(fd, from->ai_addr, from->ai_addrlen) < 0)
        r = -errno;
    freeaddrinfo(from);
    return r;
}

/* libpq's calls of connect() come here, since a program's own functions go before those of the
 * libraries; all others are passed on. */
int connect(int fd, __CONST_SOCKADDR_ARG to, socklen_t len)
{
    const struct sockaddr *address = to.__sockaddr__;
    int r = 0;

    if (current && (address->sa_family == AF_INET || address->sa_family == AF_INET6))
        r = tw_pg_leave(current, fd, address->sa_family);
    if (r < 0) {
        errno = -r;
        return -1;
    }
    return (int)syscall(SYS_connect, fd, address, len);
}
