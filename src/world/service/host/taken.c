/* Ports that a change asks for and somebody else of this host has: a twin has a network of its own, where
 * every port is free. */
#include "host.h"

#include <string.h>

static bool is_v6(const char *address)
{
    return address && strchr(address, ':');
}

/* Would the kernel refuse the second of the two? A socket at :: takes both families. */
static bool collide(const struct tw_endpoint *a, const struct tw_endpoint *b)
{
    bool both = tw_streq(a->address, "::") || tw_streq(b->address, "::");

    if (a->port != b->port || (!both && is_v6(a->address) != is_v6(b->address)))
        return false;
    return tw_endpoint_is_any(a->address) || tw_endpoint_is_any(b->address) || tw_streq(a->address, b->address);
}

static bool listens(const struct host_endpoints *list, const struct tw_endpoint *e)
{
    for (size_t i = 0; i < list->list.count; i++)
        if (list->list.items[i].port == e->port)
            return true;
    return false;
}

static const char *who(struct tw_arena *a, const struct tw_endpoint *e)
{
    struct host_process p = {0};

    if (!host_process_listening(a, e->port, &p))
        return tw_arena_printf(a, "%s:%d", e->address, e->port);
    return tw_arena_printf(a, "%s (process %d) at %s:%d", p.exe ? p.exe : "somebody", (int)p.pid, e->address,
                           e->port);
}

void tw_service_ports_taken(struct tw_arena *a, int before_netns, int after_netns,
                            struct tw_service_taken *ret)
{
    struct host_endpoints before = {0}, after = {0}, here = {0};

    if (before_netns < 0 || after_netns < 0)
        return;
    host_listeners(a, before_netns, &before);
    host_listeners(a, after_netns, &after);
    host_listeners(a, -1, &here);
    for (size_t i = 0; i < before.list.count && !ret->home; i++)
        ret->home = listens(&here, &before.list.items[i]);
    for (size_t i = 0; i < after.list.count; i++)
        for (size_t k = 0; k < here.list.count; k++)
            if (!listens(&before, &after.list.items[i]) && collide(&after.list.items[i], &here.list.items[k])) {
                struct tw_service_port one = {after.list.items[i].port, who(a, &here.list.items[k])};

                TW_PUSH(a, &ret->list, one);
                break;
            }
}
