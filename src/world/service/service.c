/* The table of kinds, from list.h. */
#include "tw/service.h"

#include "host/host.h"
#include "list.h"

#include <glob.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

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

/* Versions in a path compare as numbers: "/usr/lib/x/9/bin" is older than ".../15/bin". */
static const char *newest_of(struct tw_arena *a, const char *pattern)
{
    const char *best = NULL;
    glob_t found;

    if (glob(pattern, 0, NULL, &found) != 0)
        return NULL;
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (host_is_program(found.gl_pathv[i]) &&
            (!best || strverscmp(found.gl_pathv[i], best) > 0))
            best = found.gl_pathv[i];
    best = tw_arena_strdup(a, best);
    globfree(&found);
    return best;
}

const char *tw_service_program_find(struct tw_arena *a,
                                    const struct tw_service_program *program)
{
    tw_auto_free char *paths = strdup(program->paths);
    char *rest = paths;
    const char *path, *found = NULL;

    while (!found && (path = strsep(&rest, ":")))
        found = newest_of(a, path);
    return found;
}

const char *tw_service_clone_password(struct tw_arena *a, const struct tw_snapshot *s,
                                      const char *role)
{
    char *what = tw_arena_printf(a, "twin clone/%s", role);
    char hex[65];

    (void)s; /* the same at a server and at a pooler before it, which know nothing of each other */
    tw_sha256_hex(what, strlen(what), hex);
    return tw_arena_printf(a, "twin-%.32s", hex);
}

void tw_standing_init(struct tw_standing *s)
{
    *s = (struct tw_standing){
        .files = NAN,
        .journal_bytes = NAN,
        .journal_least_bytes = NAN,
        .journal_held_bytes = NAN,
        .journal_segment_bytes = NAN,
        .archived = NAN,
        .archive_failed = NAN,
        .archive_waits_s = NAN,
        .forced_at = {NAN, NAN},
        .pages = NAN,
        .pages_per_s = NAN,
    };
}
