/* What addresses a sandbox has, and where. */
#include "native_internal.h"

#include <string.h>

/* Those that a service binds to and that are neither the link's nor there anyway. */
static bool is_own_address(const char *text)
{
    return native_is_address(text) && !tw_starts_with(text, "127.") &&
           !tw_streq(text, "::1") && !tw_streq(text, "0.0.0.0") &&
           !tw_streq(text, "::") && !tw_priv_net_contains(text);
}

struct addresses {
    TW_ARRAY(const char *) list;
};

static void own_addresses(struct tw_arena *a, const struct tw_sandbox_spec *spec,
                          struct addresses *ret)
{
    for (size_t i = 0; i < spec->more_addresses.count; i++)
        if (is_own_address(spec->more_addresses.items[i]))
            TW_PUSH(a, &ret->list, spec->more_addresses.items[i]);
}

/* What a service binds to stands where others can reach it: on the first link, if there is one. */
void sandbox_plan_net(struct tw_arena *a, const struct tw_sandbox_spec *spec, bool linked,
                      struct sandbox_net *ret)
{
    struct addresses own = {0};

    own_addresses(a, spec, &own);
    if (!linked) {
        *ret = (struct sandbox_net){.lo = own.list.items, .lo_count = own.list.count};
        return;
    }
    *ret = (struct sandbox_net){.link_count = spec->links.count};
    for (size_t i = 0; i < spec->links.count; i++) {
        const struct tw_sandbox_link *link = &spec->links.items[i];
        struct addresses more = {0};

        for (size_t k = 0; k < link->more.count; k++)
            TW_PUSH(a, &more.list, link->more.items[k]);
        for (size_t k = 0; i == 0 && k < own.list.count; k++)
            TW_PUSH(a, &more.list, own.list.items[k]);
        ret->links[i] = (struct tw_link){link->network, link->address, more.list.items,
                                         more.list.count};
    }
}
