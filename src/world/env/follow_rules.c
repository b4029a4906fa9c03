/* The packet filter's own monitor: the kernel tells members of this group of every committed change. */
#include "env_internal.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

int env_rules_open(void)
{
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};
    int group = NFNLGRP_NFTABLES;
    tw_auto_close int fd =
        socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);

    if (fd < 0 || bind(fd, (const struct sockaddr *)(const void *)&self, sizeof self) < 0)
        return -errno;
    if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
        return -errno;
    return tw_take_fd(&fd);
}

/* What it was is told by the rule set itself; that messages were lost (ENOBUFS) means a change too. */
bool env_rules_read(int fd)
{
    char part[16384];
    bool any = false;
    ssize_t n;

    while ((n = recv(fd, part, sizeof(part), MSG_DONTWAIT)) > 0 ||
           (n < 0 && errno == ENOBUFS))
        any = true;
    return any;
}
