/* Our own paths as the Engine knows them. It reads a bind's source on the host; where we are in a
 * container of it ourselves, that is another place. */
#include "box_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The mount whose place in this container is the longest beginning of path. */
static const json_t *mount_above(const json_t *self, const char *path)
{
    const json_t *best = NULL, *one;
    size_t longest = 0, i;

    json_array_foreach(json_object_get(self, "Mounts"), i, one)
    {
        const char *at = json_string_value(json_object_get(one, "Destination"));
        size_t n = at ? strlen(at) : 0;

        if (n > longest && strncmp(path, at, n) == 0 && (path[n] == '/' || path[n] == '\0')) {
            longest = n;
            best = one;
        }
    }
    return best;
}

const char *box_engine_path(struct tw_arena *a, struct tw_docker *engine, const char *path)
{
    json_auto_t *self = NULL;
    const json_t *mount;
    const char *source;
    char name[256] = "";

    /* A container's host name is its id, unless somebody chose another. */
    if (access("/.dockerenv", F_OK) < 0 || gethostname(name, sizeof(name) - 1) < 0 ||
        tw_docker_container_inspect(engine, name, &self, NULL) < 0)
        return path;
    mount = mount_above(self, path);
    source = mount ? json_string_value(json_object_get(mount, "Source")) : NULL;
    return source ? tw_arena_printf(a, "%s%s", source,
                                    path + strlen(json_string_value(
                                               json_object_get(mount, "Destination"))))
                  : path;
}
