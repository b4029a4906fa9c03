/* Where a service listens, before and with a change: ports that open to others, ports that go. */
#include "service_internal.h"

#include <string.h>

static bool is_of_this_host(const char *address)
{
    return *address == '/' || tw_streq(address, "localhost") || host_is_loopback(address);
}

static bool was_open(const struct service_needs *n, int port)
{
    for (size_t i = 0; i < n->endpoints.count; i++)
        if (n->endpoints.items[i].port == port &&
            !is_of_this_host(n->endpoints.items[i].address))
            return true;
    return false;
}

static bool was_there(const struct service_needs *n, int port)
{
    for (size_t i = 0; i < n->endpoints.count; i++)
        if (n->endpoints.items[i].port == port)
            return true;
    return false;
}

/* Each port once, whatever number of lines name it. */
static bool is_first(const struct service_needs *n, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (n->endpoints.items[i].port == n->endpoints.items[index].port)
            return false;
    return true;
}

void service_listens_judge(struct tw_arena *a, const struct service_needs *now,
                           const struct service_needs *before, struct tw_issues *issues)
{
    for (size_t i = 0; i < now->endpoints.count; i++) {
        const struct tw_endpoint *e = &now->endpoints.items[i];

        if (e->port && !is_of_this_host(e->address) && was_there(before, e->port) &&
            !was_open(before, e->port))
            tw_issue_add(
                a, issues, TW_HIGH, TW_REVIEW, "exposure.listen",
                "a port that only this host could reach is open to others",
                tw_arena_printf(a, "port %d listens on %s now", e->port, e->address),
                "bind it to 127.0.0.1, or see that a firewall keeps others out");
    }
    for (size_t i = 0; i < before->endpoints.count; i++) {
        const struct tw_endpoint *e = &before->endpoints.items[i];

        if (e->port && is_first(before, i) && !was_there(now, e->port))
            tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "listen.gone",
                         "nothing listens any more where clients connect today",
                         tw_arena_printf(a, "port %d (%s) is not served with the change",
                                         e->port, e->name ? e->name : e->protocol),
                         "see that nobody uses the port, or keep the line");
    }
}
