/* The change as a person makes it at the target. */
#include "host.h"

#include <string.h>

const char *host_tell_setting(struct tw_arena *a, const struct tw_snapshot *s,
                              const char *name, const char *value, const char *separator,
                              const char *end)
{
    const char *file = s->config_file ? s->config_file : "its configuration";

    if (host_unit_is_setting(name))
        return tw_arena_printf(a, "systemctl edit %s   # [Service] %s=%s",
                               s->unit ? s->unit : "its unit", name, value ? value : "");
    if (!value)
        return tw_arena_printf(a, "editor %s   # without the line of %s", file, name);
    return tw_arena_printf(a, "editor %s   # %s%s%s%s", file, name, separator, value, end);
}

const char *host_tell_effect(struct tw_arena *a, const struct tw_snapshot *s,
                             const char *check, const char *reload, bool restart)
{
    const char *then =
        s->unit ? tw_arena_printf(a, "systemctl %s %s", restart ? "restart" : "reload", s->unit)
        : !restart && reload ? reload
                             : "# restart it as it is started today";

    return check && *then != '#' ? tw_arena_printf(a, "%s && %s", check, then) : then;
}
