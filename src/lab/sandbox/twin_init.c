/* The init of a container: a static program of its own (build/twin-init), so that it runs in any image.
 * The Engine starts it in the place of the image's entrypoint, as pid 1 or by the side of one; it finds
 * its supervisor by the socket that stands beside it and serves as the init of a native sandbox does.
 * It ends with its supervisor, and with pid 1 ends everything inside. */
#include "init_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_to(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof at.sun_path)
        return -1;
    memcpy(at.sun_path, path, strlen(path) + 1);
    /* above the standard three */
    if (fd >= 0 && fd < 3)
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0 ? fd : -1;
}

/* The first message: go, with the board and the counter of events beside it. */
static int receive_board(struct init_loop *in)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct init_request go;
    struct iovec part = {&go, sizeof go};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
    struct cmsghdr *head;
    int fds[2];

    if (recvmsg(in->control, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof go ||
        go.op != INIT_GO)
        return -1;
    head = CMSG_FIRSTHDR(&message);
    if (!head || head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(sizeof fds))
        return -1;
    memcpy(fds, CMSG_DATA(head), sizeof fds);
    in->board =
        mmap(NULL, sizeof *in->board, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    in->events = fcntl(fds[1], F_DUPFD_CLOEXEC, 3);
    return in->board == MAP_FAILED || in->events < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct init_loop in = {0};
    struct init_reply ready = {0};

    if (argc != 2)
        return 2;
    /* nobody inside reads its memory, and what is left behind by a process comes to it */
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)umask(022);
    in.control = connect_to(argv[1]);
    if (in.control < 0 || receive_board(&in) < 0 ||
        init_keep_two(in.control, in.events) < 0 || init_prepare(&in) < 0)
        return 1;
    if (send(in.control, &ready, sizeof ready, MSG_NOSIGNAL) == (ssize_t)sizeof ready)
        init_serve(&in);
    return 0;
}
