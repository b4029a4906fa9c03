/* Packets with descriptors. */
#include "helper_internal.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
    struct cmsghdr header; /* for its alignment */
    char room[CMSG_SPACE(2 * sizeof(int))];
};

int helper_send(int fd, const void *packet, size_t len, const int *fds, size_t count)
{
    struct iovec io = {(void *)(uintptr_t)packet, len};
    union control control = {0};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
    ssize_t n;

    if (count) {
        struct cmsghdr *c;

        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(count * sizeof(int));
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    do
        n = sendmsg(fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EMSGSIZE;
}

/* All that came is taken, so that none stays open; more than two were never asked for, and the kernel
 * closes what finds no room. */
static size_t take_fds(struct msghdr *m, int fds[2])
{
    size_t n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < here; i++) {
            int one;

            memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(one));
            if (n < 2)
                fds[n++] = one;
            else
                (void)close(one);
        }
    }
    return n;
}

ssize_t helper_receive(int fd, void *packet, size_t size, int fds[2], size_t *ret_count,
                       bool wait)
{
    struct iovec io = {packet, size};
    union control control = {0};
    struct msghdr m = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    ssize_t n;

    do
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    while (n < 0 && errno == EINTR);
    *ret_count = n < 0 ? 0 : take_fds(&m, fds);
    if (n < 0)
        return -errno;
    /* cut short: of a length that nobody expects */
    return m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? (ssize_t)size + 1 : n;
}
