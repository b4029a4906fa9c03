/* What endpoint.c and stream.c share: addresses as the kernel wants them. */
#ifndef LOAD_STREAM_INTERNAL_H
#define LOAD_STREAM_INTERNAL_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct load_address {
    socklen_t len;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } u;
};
#endif
