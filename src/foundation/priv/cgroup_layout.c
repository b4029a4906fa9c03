/* Where this host has its control groups: v1, v2, or v1 with an empty v2 beside it
 * ("hybrid", whose v2 group still gives pressure, freeze, kill and birth into a group).
 */
#include "priv_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct priv_cgroup_layout layout;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Those of v1 that we bound or read by; the rest is left alone. */
static const char *const v1_controllers[] = {"cpu",   "cpuacct", "cpuset", "memory",
                                             "blkio", "pids",    "freezer"};

static bool lists(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = list; (at = strstr(at, name)); at += len)
        if ((at == list || at[-1] == ',') && (at[len] == '\0' || at[len] == ','))
            return true;
    return false;
}

const struct priv_cgroup_mount *priv_cgroup_find(const char *controller)
{
    const struct priv_cgroup_layout *l = priv_cgroup_layout();

    for (size_t i = 0; i < l->count; i++) {
        const struct priv_cgroup_mount *m = &l->mounts[i];

        if (controller[0] ? !m->unified && lists(m->controllers, controller) : m->unified)
            return m;
    }
    return NULL;
}

/* Of the super options, those that are controllers we use. */
static char *our_controllers(const char *options)
{
    tw_auto_buf b = {0};

    tw_buf_init(&b, 256);
    for (size_t i = 0; i < TW_COUNT_OF(v1_controllers); i++)
        if (lists(options, v1_controllers[i]))
            tw_buf_printf(&b, "%s%s", b.len ? "," : "", v1_controllers[i]);
    return tw_buf_take(&b);
}

/* "36 25 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory" */
static void read_mount(char *line, bool root)
{
    char *dash = strstr(line, " - "), *save, *point = line, *type, *options;
    bool unified;

    for (int field = 0; point && field < 4; field++)
        point = strchr(point + (field > 0), ' ');
    if (!dash || !point || layout.count == TW_COUNT_OF(layout.mounts))
        return;
    type = strtok_r(dash + 3, " ", &save);
    (void)strtok_r(NULL, " ", &save);
    options = strtok_r(NULL, " ", &save);
    unified = tw_streq(type, "cgroup2");
    /* without root only a delegated part of v2 can be ours */
    if (!options || (!unified && (!root || !tw_streq(type, "cgroup"))))
        return;

    point++;
    point[strcspn(point, " ")] = '\0';
    char *controllers = our_controllers(unified ? "" : options);

    if ((!unified && !controllers[0]) || access(point, F_OK) < 0) {
        if (layout.other_count < TW_COUNT_OF(layout.others) && access(point, F_OK) == 0)
            layout.others[layout.other_count++] = tw_strf("%s", point);
        free(controllers);
        return;
    }
    for (size_t i = 0; i < layout.count; i++) {
        if (layout.mounts[i].unified == unified &&
            tw_streq(layout.mounts[i].controllers, controllers)) {
            free(controllers); /* mounted twice */
            return;
        }
    }
    layout.mounts[layout.count++] = (struct priv_cgroup_mount){
        .path = tw_strf("%s", point), .controllers = controllers, .unified = unified};
}

static char *own_group(void)
{
    tw_auto_free char *text = NULL;
    char *path;

    if (tw_read_file(AT_FDCWD, "/proc/self/cgroup", 65536, &text, NULL, NULL) < 0)
        return tw_strf("twin");
    path = strstr(text, "0::/");
    if (!path)
        return tw_strf("twin");
    path += strlen("0::/");
    path[strcspn(path, "\n")] = '\0';
    return tw_strf("%s%stwin", path, path[0] ? "/" : "");
}

static void detect(void)
{
    tw_auto_free char *text = NULL;
    bool root = geteuid() == 0;
    size_t v1 = 0, v2 = 0;
    char *save;

    if (tw_read_file(AT_FDCWD, "/proc/self/mountinfo", (size_t)16 << 20, &text, NULL,
                     NULL) < 0)
        return;
    for (char *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        if (strstr(line, " - cgroup"))
            read_mount(line, root);
    for (size_t i = 0; i < layout.count; i++)
        *(layout.mounts[i].unified ? &v2 : &v1) += 1;
    layout.mode = v1 ? (v2 ? PRIV_CGROUP_HYBRID : PRIV_CGROUP_V1)
                     : (v2 ? PRIV_CGROUP_V2 : PRIV_CGROUP_NONE);
    layout.base = root ? tw_strf("twin") : own_group();
}

const struct priv_cgroup_layout *priv_cgroup_layout(void)
{
    (void)pthread_once(&once, detect);
    return &layout;
}
