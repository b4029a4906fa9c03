/* Connections that the kernel tracks are told, each with its first packet's addresses. */
#include "tw/filter.h"

#include "live.h"

#include <arpa/inet.h>
#include <sched.h>
#include <sys/socket.h>

Test(filter_tracked, a_connection_is_told_as_it_was_begun)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    struct tw_filter_connections all;
    struct tw_err err = {0};
    int one, two;
    bool found = false;

    if (geteuid() != 0)
        cr_skip_test("needs root: a network namespace of its own");
    cr_assert_eq(unshare(CLONE_NEWNET), 0);
    cr_assert_eq(system("ip link set lo up && nft 'add table inet t; "
                        "add chain inet t c { type filter hook input priority 0 ; }; "
                        "add rule inet t c ct state new accept'"),
                 0);
    one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    two = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(one, (const struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(one, 1), 0);
    cr_assert_eq(getsockname(one, (struct sockaddr *)&at, &len), 0);
    cr_assert_eq(connect(two, (const struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(tw_filter_tracked(a, 100, &all, &err), 0, "%s", err.text);
    for (size_t i = 0; i < all.list.count; i++)
        found |= all.list.items[i].proto == 6 && all.list.items[i].port == ntohs(at.sin_port) &&
                 tw_streq(all.list.items[i].from, "127.0.0.1") && tw_streq(all.list.items[i].to, "127.0.0.1");
    cr_expect(found, "%zu connections", all.list.count);
    close(one);
    close(two);
}
