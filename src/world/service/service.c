/* The table of kinds, from list.h. */
#include "tw/service.h"

#include "list.h"

#define DECLARE(kind) extern const struct tw_service_kind kind_##kind;
TW_SERVICE_LIST(DECLARE)
#define POINTER(kind) &kind_##kind,
const struct tw_service_kind *const tw_service_kinds[] = {TW_SERVICE_LIST(POINTER)};
const size_t tw_service_kind_count = TW_COUNT_OF(tw_service_kinds);

const struct tw_service_kind *tw_service_kind_find(const char *name, const char **nearest)
{
    const char *names[TW_COUNT_OF(tw_service_kinds)];

    for (size_t i = 0; i < tw_service_kind_count; i++) {
        names[i] = tw_service_kinds[i]->name;
        if (tw_streq(names[i], name))
            return tw_service_kinds[i];
    }
    if (nearest)
        *nearest = name ? tw_nearest(name, names, tw_service_kind_count) : NULL;
    return NULL;
}
