/* Ports that somebody of this host has. */
#include "world/service/host/host.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static int listen_somewhere(int *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, 1) == 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static bool is_listed(const struct host_endpoints *all, int port)
{
    for (size_t i = 0; i < all->list.count; i++)
        if (all->list.items[i].port == port && tw_streq(all->list.items[i].address, "127.0.0.1"))
            return true;
    return false;
}

Test(service_taken, who_listens_is_seen_until_he_stops)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct host_endpoints during = {0}, after = {0};
    int port, fd = listen_somewhere(&port);

    host_listeners(a, -1, &during);
    (void)close(fd);
    host_listeners(a, -1, &after);
    cr_expect(is_listed(&during, port));
    cr_expect(!is_listed(&after, port));
}

/* What was listened at before is the service's own, and says that it runs here. */
Test(service_taken, a_port_of_before_is_not_taken)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto_close int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    struct tw_service_taken same = {0}, unknown = {0};
    int port, fd = listen_somewhere(&port);

    tw_service_ports_taken(a, netns, netns, &same);
    tw_service_ports_taken(a, -1, netns, &unknown);
    (void)close(fd);
    cr_expect_eq(same.list.count, 0);
    cr_expect(same.home);
    cr_expect(unknown.list.count == 0 && !unknown.home);
}
