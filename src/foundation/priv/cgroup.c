/* One control group per sandbox: made and bounded through libcgroup, entered, killed and
 * removed by ourselves. A process enters v1 groups by writing "0" to their tasks files
 * itself: for a foreign pid the kernel takes a global lock, measured 9.5 ms instead of
 * 0.2 ms. Into a v2 group it is born (CLONE_INTO_CGROUP). */
#include "cgroup_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <libcgroup.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PERIOD_US 100000

/* libcgroup keeps its tables in static variables. */
static pthread_mutex_t library = PTHREAD_MUTEX_INITIALIZER;

/* ---- limits as rows ---- */

static char *show_memory(const struct tw_limits *l, bool v2)
{
    if (l->memory_bytes > 0)
        return tw_strf("%lld", (long long)l->memory_bytes);
    return tw_strf(v2 ? "max" : "-1");
}

static char *show_swap(const struct tw_limits *l, bool v2)
{
    if (v2)
        return tw_strf(l->memory_bytes > 0 ? "0" : "max");
    return show_memory(l, v2); /* v1 counts memory and swap together */
}

static char *show_quota(const struct tw_limits *l, bool v2)
{
    tw_auto_free char *quota = tw_strf("%lld", (long long)(l->cpus * PERIOD_US + 0.5));

    if (v2)
        return tw_strf("%s %d", l->cpus > 0 ? quota : "max", PERIOD_US);
    return tw_strf("%s", l->cpus > 0 ? quota : "-1");
}

static char *show_period(const struct tw_limits *l, bool v2)
{
    (void)l;
    return v2 ? NULL : tw_strf("%d", PERIOD_US);
}

/* The conversion that runc and systemd use: 2..262144 onto 1..10000. */
static char *show_weight(const struct tw_limits *l, bool v2)
{
    if (l->cpu_weight <= 0)
        return NULL;
    return tw_strf("%lld", (long long)(v2 ? 1 + (l->cpu_weight - 2) * 9999 / 262142
                                          : l->cpu_weight));
}

static char *show_cpuset(const struct tw_limits *l, bool v2)
{
    (void)v2;
    return l->cpuset ? tw_strf("%s", l->cpuset) : NULL;
}

static char *show_pids(const struct tw_limits *l, bool v2)
{
    (void)v2;
    return l->pids_max > 0 ? tw_strf("%lld", (long long)l->pids_max) : NULL;
}

enum { AT_BIRTH = 1, AGAIN = 2, OPTIONAL = 4 }; /* AGAIN: may be changed later */

static const struct limit_row {
    const char *controller, *v1_file, *v2_file;
    char *(*show)(const struct tw_limits *l, bool v2); /* NULL: not to be set */
    unsigned when;
} limit_rows[] = {
    {"memory", "memory.limit_in_bytes", "memory.max", show_memory, AT_BIRTH | AGAIN},
    /* absent where the kernel counts no swap */
    {"memory", "memory.memsw.limit_in_bytes", "memory.swap.max", show_swap,
     OPTIONAL | AGAIN},
    {"cpu", "cpu.cfs_period_us", NULL, show_period, AT_BIRTH},
    {"cpu", "cpu.cfs_quota_us", "cpu.max", show_quota, AT_BIRTH | AGAIN},
    {"cpu", "cpu.shares", "cpu.weight", show_weight, AT_BIRTH},
    {"cpuset", "cpuset.cpus", "cpuset.cpus", show_cpuset, AT_BIRTH},
    {"pids", "pids.max", "pids.max", show_pids, AT_BIRTH},
};

/* What each controller is wanted for: bounding, or only counting. */
static bool want_memory(const struct tw_limits *l)
{
    return l->memory_bytes > 0;
}
static bool want_cpu(const struct tw_limits *l)
{
    return l->cpus > 0 || l->cpu_weight > 0;
}
static bool want_cpuset(const struct tw_limits *l)
{
    return l->cpuset != NULL;
}
static bool want_pids(const struct tw_limits *l)
{
    return l->pids_max > 0;
}
static bool want_never(const struct tw_limits *l)
{
    (void)l;
    return false;
}

static const struct controller_row {
    const char *name, *missing;
    bool (*wanted)(const struct tw_limits *l);
} controller_rows[] = {
    {"memory", "no memory limit: no memory controller may be used here", want_memory},
    {"cpu", "no CPU limit: no cpu controller may be used here", want_cpu},
    {"cpuset", "not bound to its CPUs: no cpuset controller may be used here",
     want_cpuset},
    {"pids", "no limit of processes: no pids controller may be used here", want_pids},
    {"cpuacct", NULL, want_never},
    {"blkio", NULL, want_never},
    {"io", NULL, want_never},
    {"freezer", NULL, want_never},
};

static const struct controller_row *find_controller(const char *name)
{
    for (size_t i = 0; i < TW_COUNT_OF(controller_rows); i++)
        if (tw_streq(controller_rows[i].name, name))
            return &controller_rows[i];
    return NULL;
}

/* ---- small files ---- */

static int write_at(int dirfd, const char *name, const char *text)
{
    tw_auto_close int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(text);

    if (fd < 0)
        return -errno;
    return write(fd, text, len) == (ssize_t)len ? 0 : -errno;
}

static char *read_at(int dirfd, const char *name)
{
    char *text = NULL;

    if (tw_read_file(dirfd, name, 65536, &text, NULL, NULL) < 0)
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return text;
}

/* ---- the way down to our group ---- */

/* A v1 cpuset is born empty and takes no process before it has CPUs and memory nodes. */
static void inherit_cpuset(int parent, int child)
{
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};

    for (size_t i = 0; i < TW_COUNT_OF(files); i++) {
        tw_auto_free char *have = read_at(child, files[i]),
                          *give = read_at(parent, files[i]);

        if (have && !have[0] && give)
            (void)write_at(child, files[i], give);
    }
}

/* One by one: a controller that cannot be had must not keep the others away. */
static void enable_controllers(int dir)
{
    static const char *const all[] = {"+cpu", "+memory", "+pids", "+io", "+cpuset"};

    for (size_t i = 0; i < TW_COUNT_OF(all); i++)
        (void)write_at(dir, "cgroup.subtree_control", all[i]);
}

/* A weight counts among neighbours only: without it above, the groups of a twin together
 * would be worth one process of the host, and a slot would measure who else is at work.
 * While nothing is measured they are worth no more than that: others work too, our own
 * supervisor among them. */
static void set_weight(int dir, bool high)
{
    (void)write_at(dir, "cpu.shares", high ? "262144" : "1024");
    (void)write_at(dir, "cpu.weight", high ? "10000" : "100");
}

static int try_parents(const struct priv_cgroup_mount *m, const char *path)
{
    tw_auto_free char *parts = tw_strf("%s", path);
    tw_auto_close int dir = open(m->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *save;
    bool ours = false, made;

    if (dir < 0)
        return -errno;
    for (char *part = strtok_r(parts, "/", &save); part;
         part = strtok_r(NULL, "/", &save)) {
        tw_auto_close int next = -1;

        if (m->unified)
            enable_controllers(dir);
        made = mkdirat(dir, part, 0755) == 0;
        if (!made && errno != EEXIST)
            return -errno;
        next = openat(dir, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (next < 0)
            return -errno;
        if (!m->unified && strstr(m->controllers, "cpuset"))
            inherit_cpuset(dir, next);
        ours |= tw_streq(part, "twin");
        /* one that stands may be that of somebody who measures just now */
        if (ours && made)
            set_weight(next, false);
        (void)close(dir);
        dir = tw_take_fd(&next);
    }
    if (m->unified)
        enable_controllers(dir);
    return tw_take_fd(&dir);
}

/* Opens <mount>/<path>, each part made when missing, prepared so that a group can be
 * below it. A run that ends takes the empty one of all runs away, perhaps between two
 * steps of ours: then again. */
static int open_parents(const struct priv_cgroup_mount *m, const char *path)
{
    int dir = -ENOENT;

    for (int tries = 0; tries < 100 && (dir == -ENOENT || dir == -ENODEV); tries++)
        dir = try_parents(m, path);
    return dir;
}

/* ---- making ---- */

static void add_missing(struct tw_priv_cgroup *g, const char *text)
{
    if (g->missing_count < TW_COUNT_OF(g->missing))
        g->missing[g->missing_count++] = text;
}

static bool has_controller(const struct tw_priv_cgroup *g, const char *name)
{
    for (size_t i = 0; i < g->used_count; i++)
        if (tw_streq(g->used[i], name))
            return true;
    return false;
}

static void use_controllers(struct tw_priv_cgroup *g, const char *list,
                            const char *separators, const struct tw_limits *limits)
{
    tw_auto_free char *copy = tw_strf("%s", list);
    char *save;

    for (char *name = strtok_r(copy, separators, &save); name;
         name = strtok_r(NULL, separators, &save)) {
        const struct controller_row *row = find_controller(name);

        /* each hierarchy costs a directory and a move: cpuset only where it is asked for,
         * the freezer only where no v2 group can freeze */
        if (!row || has_controller(g, name) || g->used_count == TW_COUNT_OF(g->used) ||
            (tw_streq(name, "cpuset") && !limits->cpuset) ||
            (tw_streq(name, "freezer") && priv_cgroup_find("")))
            continue;
        g->used[g->used_count++] = row->name;
    }
}

/* Finds out, by making the parents, which hierarchies let us. */
static void prepare(struct tw_priv_cgroup *g, const char *parents,
                    const struct tw_limits *limits)
{
    const struct priv_cgroup_layout *l = priv_cgroup_layout();

    for (size_t i = 0; i < l->count; i++) {
        size_t before = g->used_count;

        if (!l->mounts[i].unified)
            use_controllers(g, l->mounts[i].controllers, ",", limits);
        if (!l->mounts[i].unified && g->used_count == before)
            continue;

        tw_auto_close int dir = open_parents(&l->mounts[i], parents);

        if (dir < 0) {
            g->used_count = before;
            continue;
        }
        g->ours[i] = true;
        if (l->mounts[i].unified) {
            tw_auto_free char *enabled = read_at(dir, "cgroup.subtree_control");

            g->v2 = l->mode == PRIV_CGROUP_V2;
            if (g->v2)
                use_controllers(g, enabled ? enabled : "", " ", limits);
        }
    }
    for (size_t i = 0; i < TW_COUNT_OF(controller_rows); i++)
        if (controller_rows[i].wanted(limits) &&
            !has_controller(g, controller_rows[i].name))
            add_missing(g, controller_rows[i].missing);
}

static int add_values(struct cgroup_controller *c, const char *controller, bool v2,
                      const struct tw_limits *limits)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < TW_COUNT_OF(limit_rows); i++) {
        const struct limit_row *row = &limit_rows[i];
        const char *file = v2 ? row->v2_file : row->v1_file;
        tw_auto_free char *value = NULL;

        if (!(row->when & AT_BIRTH) || !file || !tw_streq(row->controller, controller))
            continue;
        value = row->show(limits, v2);
        if (value)
            r = cgroup_add_value_string(c, file, value);
    }
    return r;
}

static int library_error(int code, const char *group, struct tw_err *err)
{
    int errnum = code == ECGOTHER ? cgroup_get_last_errno() : EINVAL;

    return tw_fail(err, -errnum, "making cgroup '%s': %s", group,
                   code == ECGOTHER ? strerror(errnum) : cgroup_strerror(code));
}

static int create_in_library(struct tw_priv_cgroup *g, const struct tw_limits *limits,
                             struct tw_err *err)
{
    static bool ready;
    struct cgroup *group;
    int r = 0;

    if (g->used_count == 0)
        return 0;
    if (!ready)
        r = cgroup_init();
    if (r != 0)
        return library_error(r, g->path, err);
    ready = true;
    group = cgroup_new_cgroup(g->path);
    if (!group)
        return tw_fail(err, -ENOMEM, "making cgroup '%s': out of memory", g->path);
    for (size_t i = 0; r == 0 && i < g->used_count; i++) {
        struct cgroup_controller *c = cgroup_add_controller(group, g->used[i]);

        r = c ? add_values(c, g->used[i], g->v2, limits) : ECGINVAL;
    }
    if (r == 0)
        r = cgroup_create_cgroup(group, 1);
    cgroup_free(&group);
    return r != 0 ? library_error(r, g->path, err) : 0;
}

static int open_group(struct tw_priv_cgroup *g, struct tw_err *err)
{
    const struct priv_cgroup_layout *l = priv_cgroup_layout();

    for (size_t i = 0; i < l->count; i++) {
        tw_auto_free char *dir = tw_strf("%s/%s", l->mounts[i].path, g->path);

        if (!g->ours[i])
            continue;
        /* the library makes the groups of controllers; a v2 group without any is made
         * here */
        if (l->mounts[i].unified && mkdir(dir, 0755) < 0 && errno != EEXIST)
            return tw_fail_errno(err, errno, "making cgroup '%s'", dir);
        g->dirs[i] = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (g->dirs[i] < 0)
            return tw_fail_errno(err, errno, "opening cgroup '%s'", dir);
        if (has_controller(g, "cpuset") && strstr(l->mounts[i].controllers, "cpuset")) {
            tw_auto_close int parent = openat(g->dirs[i], "..", O_RDONLY | O_CLOEXEC);

            inherit_cpuset(parent, g->dirs[i]);
        }
        g->joins[i] = openat(g->dirs[i], l->mounts[i].unified ? "cgroup.procs" : "tasks",
                             O_WRONLY | O_CLOEXEC);
        if (l->mounts[i].unified)
            g->unified = g->dirs[i];
    }
    return 0;
}

int cgroup_dir_of(const struct tw_priv_cgroup *g, const char *controller)
{
    const struct priv_cgroup_layout *l = priv_cgroup_layout();
    const struct priv_cgroup_mount *m = priv_cgroup_find(g->v2 ? "" : controller);

    return m ? g->dirs[m - l->mounts] : -1;
}

/* All are tried; the first failure is returned. */
static int write_limits(struct tw_priv_cgroup *g, const struct tw_limits *limits,
                        unsigned when, struct tw_err *err)
{
    int first = 0;

    for (size_t i = 0; i < TW_COUNT_OF(limit_rows); i++) {
        const struct limit_row *row = &limit_rows[i];
        const char *file = g->v2 ? row->v2_file : row->v1_file;
        tw_auto_free char *value = NULL;
        int r;

        if (!(row->when & when) || !file || !has_controller(g, row->controller))
            continue;
        value = row->show(limits, g->v2);
        r = value ? write_at(cgroup_dir_of(g, row->controller), file, value) : 0;
        if (r < 0 && first == 0 && !(row->when & OPTIONAL))
            first = tw_fail_errno(err, -r, "writing '%s' to '%s' of cgroup '%s'", value,
                                  file, g->path);
    }
    return first;
}

/* The group of the run, below which its sandboxes have theirs, stays as long as the
 * handle: so it is made once, and nobody can take the parents away while a group is being
 * made. */
static int intend_parents(struct tw_priv *p, const char *parents, struct tw_err *err)
{
    int r = 0;

    if (!p->group_intended)
        r = tw_priv_intend(p, TW_INTENT_CGROUP, parents, &p->group_token, err);
    if (r == 0)
        p->group_intended = true;
    return r;
}

static int make_group(struct tw_priv_cgroup *g, const char *parents,
                      const struct tw_limits *limits, struct tw_err *err)
{
    int r = intend_parents(g->priv, parents, err);

    if (r == 0)
        r = tw_priv_intend(g->priv, TW_INTENT_CGROUP, g->path, &g->token, err);
    if (r < 0)
        return r;
    prepare(g, parents, limits);
    r = create_in_library(g, limits, err);
    return r < 0 ? r : open_group(g, err);
}

static void close_fds(struct tw_priv_cgroup *g)
{
    for (size_t i = 0; i < PRIV_CGROUP_HIERARCHIES; i++) {
        tw_close_p(&g->dirs[i]);
        tw_close_p(&g->joins[i]);
    }
    cgroup_counters_close(g);
}

int tw_priv_cgroup_open(struct tw_priv *p, const char *name,
                        const struct tw_limits *limits, struct tw_priv_cgroup **ret,
                        struct tw_err *err)
{
    const struct priv_cgroup_layout *l = priv_cgroup_layout();
    tw_auto_free char *parents = tw_strf("%s/%s", l->base ? l->base : "twin", p->id);
    struct tw_priv_cgroup *g = tw_alloc(sizeof *g);
    int r;

    g->priv = p;
    g->unified = -1;
    g->path = tw_strf("%s/%s", parents, name);
    for (size_t i = 0; i < PRIV_CGROUP_HIERARCHIES; i++)
        g->dirs[i] = g->joins[i] = -1;
    cgroup_counters_init(g);

    (void)pthread_mutex_lock(&library);
    r = make_group(g, parents, limits, err);
    (void)pthread_mutex_unlock(&library);
    if (r == 0)
        r = write_limits(g, limits, OPTIONAL, err);
    if (r < 0) {
        tw_priv_cgroup_close(g);
        return r;
    }
    tw_step("priv.cgroup.made");
    *ret = g;
    return 0;
}

void tw_priv_cgroup_close(struct tw_priv_cgroup *g)
{
    if (!g)
        return;
    close_fds(g);
    /* a group that does not go keeps its record, so that close and reap try again */
    if (g->token && priv_cgroup_remove(g->path, NULL) >= 0)
        tw_priv_settled(g->priv, g->token);
    tw_step("priv.cgroup.removed");
    free(g->path);
    free(g);
}

int tw_priv_cgroup_fd(const struct tw_priv_cgroup *g)
{
    return g->unified;
}

size_t tw_priv_cgroup_missing(const struct tw_priv_cgroup *g,
                              const char *const **ret_texts)
{
    *ret_texts = g->missing;
    return g->missing_count;
}

int tw_priv_cgroup_limit(struct tw_priv_cgroup *g, int64_t memory_bytes, double cpus,
                         struct tw_err *err)
{
    struct tw_limits limits = {.memory_bytes = memory_bytes, .cpus = cpus};

    if ((memory_bytes > 0 && !has_controller(g, "memory")) ||
        (cpus > 0 && !has_controller(g, "cpu")))
        return tw_fail(err, -ENOTSUP, "this host gives cgroup '%s' no limits", g->path);
    /* v1 keeps memory <= memory + swap: on the way up the second has to go first, so the
     * rows are written twice and only the second round has to hold */
    (void)write_limits(g, &limits, AGAIN, NULL);
    return write_limits(g, &limits, AGAIN, err);
}

/* The whole disk where the file system lies on a part of one: parts cannot be bounded. */
static int device_of(const char *path, unsigned *ret_major, unsigned *ret_minor)
{
    tw_auto_free char *part = NULL, *dir = NULL, *text = NULL;
    struct stat st;

    if (stat(path, &st) < 0)
        return -errno;
    *ret_major = major(st.st_dev);
    *ret_minor = minor(st.st_dev);
    part = tw_strf("/sys/dev/block/%u:%u/partition", *ret_major, *ret_minor);
    dir = tw_strf("/sys/dev/block/%u:%u/../dev", *ret_major, *ret_minor);
    if (access(part, F_OK) == 0 &&
        tw_read_file(AT_FDCWD, dir, 64, &text, NULL, NULL) == 0)
        (void)sscanf(text, "%u:%u", ret_major, ret_minor);
    return *ret_major ? 0 : -ENOTBLK;
}

int tw_priv_cgroup_io(struct tw_priv_cgroup *g, const char *path, int64_t bytes_per_s,
                      struct tw_err *err)
{
    static const char *const v1_files[] = {"blkio.throttle.read_bps_device",
                                           "blkio.throttle.write_bps_device"};
    unsigned big, small;
    tw_auto_free char *line = NULL;
    int r = device_of(path, &big, &small), dir = cgroup_dir_of(g, g->v2 ? "io" : "blkio");

    if (r < 0 || dir < 0)
        return tw_fail(err, -ENOTSUP,
                       r < 0 ? "'%s' lies on no device that can be bounded"
                             : "this host bounds no devices for '%s' (controller blkio or io)",
                       path);
    if (g->v2) {
        line = bytes_per_s ? tw_strf("%u:%u rbps=%lld wbps=%lld", big, small,
                                     (long long)bytes_per_s, (long long)bytes_per_s)
                           : tw_strf("%u:%u rbps=max wbps=max", big, small);
        r = write_at(dir, "io.max", line);
    } else {
        line = tw_strf("%u:%u %lld", big, small, (long long)bytes_per_s);
        for (size_t i = 0; i < TW_COUNT_OF(v1_files) && r == 0; i++)
            r = write_at(dir, v1_files[i], line);
    }
    return r < 0 ? tw_fail_errno(err, -r, "bounding device %u:%u of cgroup '%s'", big, small,
                                 g->path)
                 : 0;
}

/* The groups above g that are ours: <id>, and "twin" itself. */
static void raise_parents(const struct tw_priv_cgroup *g, size_t i)
{
    static const char *const above[] = {"..", "../.."};
    const struct priv_cgroup_layout *l = priv_cgroup_layout();
    size_t n = g->foreign ? 0 : tw_streq(l->base, "twin") ? 2 : 1;

    for (size_t k = 0; k < n; k++) {
        tw_auto_close int dir =
            openat(g->dirs[i], above[k], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (dir >= 0)
            set_weight(dir, true);
    }
}

int tw_priv_cgroup_pin(struct tw_priv_cgroup *g, const char *cpuset, struct tw_err *err)
{
    const struct priv_cgroup_layout *l = priv_cgroup_layout();

    for (size_t i = 0; i < l->count; i++)
        if (g->ours[i])
            raise_parents(g, i);

    for (size_t i = 0; i < l->count; i++) {
        bool has = l->mounts[i].unified
                       ? g->v2
                       : strstr(l->mounts[i].controllers, "cpuset") != NULL;

        if (!g->ours[i] || !has || !has_controller(g, "cpuset"))
            continue;
        if (write_at(g->dirs[i], "cpuset.cpus", cpuset) < 0)
            return tw_fail_errno(err, errno, "cores '%s' of cgroup '%s'", cpuset,
                                 g->path);
        return 0;
    }
    return tw_fail(err, -ENOTSUP, "this host gives cgroup '%s' no cpuset", g->path);
}

/* ---- in the child ---- */

/* Already there by birth? /proc/self/cgroup names the v2 group in its line "0::". */
static bool born_into(const char *group)
{
    tw_auto_close int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    char text[4096], *line;
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;

    if (n < 0)
        return false;
    text[n] = '\0';
    line = strstr(text, "0::");
    if (!line)
        return false;
    line[strcspn(line, "\n")] = '\0';
    return strstr(line, group) != NULL;
}

int tw_priv_cgroup_enter(const struct tw_priv_cgroup *g, struct tw_err *err)
{
    const struct priv_cgroup_layout *l = priv_cgroup_layout();

    for (size_t i = 0; i < l->count; i++) {
        if (g->joins[i] < 0 || (l->mounts[i].unified && born_into(g->path)))
            continue;
        if (write(g->joins[i], "0", 1) != 1)
            return tw_fail_errno(err, errno, "entering cgroup '%s' of '%s'", g->path,
                                 l->mounts[i].path);
    }
    return 0;
}

int tw_priv_cgroup_join(const struct tw_priv_cgroup *g, struct tw_err *err)
{
    int r = tw_priv_cgroup_enter(g, err);

    if (r < 0)
        return r;
    /* only now: the view begins where its maker stands */
    if (unshare(CLONE_NEWCGROUP) < 0 && errno != EINVAL)
        return tw_fail_errno(err, errno, "making cgroup '%s' the root of its view",
                             g->path);
    return 0;
}

/* ---- freezing ---- */

/* v2 first: what it froze can still be killed. Waits until the kernel says so. */
static int wait_for(int dir, const char *file, const char *text)
{
    int64_t deadline = tw_now_ns() + 2 * TW_SEC_NS;

    for (;;) {
        tw_auto_free char *now = NULL;

        if (tw_read_file(dir, file, 4096, &now, NULL, NULL) == 0 && strstr(now, text))
            return 0;
        if (tw_now_ns() > deadline)
            return -ETIMEDOUT;
        tw_sleep_ns(TW_MSEC_NS / 10);
    }
}

int tw_priv_cgroup_freeze(struct tw_priv_cgroup *g, bool frozen, struct tw_err *err)
{
    const struct {
        int dir;
        const char *file, *text, *state_file, *state;
    } ways[] = {
        {g->unified, "cgroup.freeze", frozen ? "1" : "0", "cgroup.events",
         frozen ? "frozen 1" : "frozen 0"},
        {g->v2 ? -1 : cgroup_dir_of(g, "freezer"), "freezer.state",
         frozen ? "FROZEN" : "THAWED", "freezer.state", frozen ? "FROZEN" : "THAWED"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(ways); i++) {
        int r = ways[i].dir >= 0 ? write_at(ways[i].dir, ways[i].file, ways[i].text)
                                 : -ENOENT;

        if (r == -ENOENT)
            continue;
        if (r == 0)
            r = wait_for(ways[i].dir, ways[i].state_file, ways[i].state);
        if (r < 0)
            return tw_fail_errno(err, -r, "%s cgroup '%s'",
                                 frozen ? "freezing" : "thawing", g->path);
        return 0;
    }
    return tw_fail(err, -ENOTSUP, "this host gives cgroup '%s' no freezer", g->path);
}

/* ---- removing, also what a dead run left ---- */

static void kill_members(int dir)
{
    tw_auto_free char *text = NULL;
    char *save;

    if (tw_read_file(dir, "cgroup.procs", (size_t)1 << 20, &text, NULL, NULL) < 0)
        return;
    for (char *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        long pid = strtol(line, NULL, 10);

        if (pid > 1 && (pid_t)pid != getpid())
            (void)kill((pid_t)pid, SIGKILL);
    }
}

/* v2 kills all at once; v1 one by one, and what is frozen dies only when it thaws. */
static void stop_members(int dir)
{
    if (write_at(dir, "cgroup.kill", "1") < 0)
        kill_members(dir);
    (void)write_at(dir, "freezer.state", "THAWED");
}

/* Groups below it (a service may have been given some) go first. */
static int remove_dir(int parent, const char *name)
{
    tw_auto_close int dir =
        openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int64_t deadline = tw_now_ns() + 5 * TW_SEC_NS;
    struct dirent *entry;
    DIR *list;
    int r = 0;

    if (dir < 0)
        return errno == ENOENT ? 0 : -errno;
    list = fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 3));
    while (list && r == 0 && (entry = readdir(list)))
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            r = remove_dir(dir, entry->d_name) < 0 ? -EBUSY : 0;
    if (list)
        (void)closedir(list);

    for (;;) {
        if (unlinkat(parent, name, AT_REMOVEDIR) == 0)
            return 1;
        if (errno == ENOENT)
            return 0;
        if (errno != EBUSY || tw_now_ns() > deadline)
            return -errno;
        stop_members(dir);
        tw_sleep_ns(TW_MSEC_NS / 4);
    }
}

/* With the group of a run goes the one of all runs, when it was the last. */
static void remove_base(int mount, const char *group)
{
    const char *base = priv_cgroup_layout()->base, *slash = strrchr(group, '/');

    if (base && slash && strlen(base) == (size_t)(slash - group) &&
        strncmp(base, group, strlen(base)) == 0)
        (void)unlinkat(mount, base, AT_REMOVEDIR);
}

/* Members are stopped everywhere first: one that is frozen in one hierarchy keeps its
 * group in all the others. */
static void stop_everywhere(const struct priv_cgroup_layout *l, const char *group)
{
    for (size_t i = 0; i < l->count; i++) {
        tw_auto_free char *path = tw_strf("%s/%s", l->mounts[i].path, group);
        tw_auto_close int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (dir >= 0)
            stop_members(dir);
    }
}

int priv_cgroup_remove(const char *group, struct tw_err *err)
{
    const struct priv_cgroup_layout *l = priv_cgroup_layout();
    int removed = 0;

    stop_everywhere(l, group);
    for (size_t i = 0; i < l->count + l->other_count; i++) {
        const char *path = i < l->count ? l->mounts[i].path : l->others[i - l->count];
        tw_auto_close int mount = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = mount >= 0 ? remove_dir(mount, group) : 0;

        if (r < 0)
            return tw_fail_errno(err, -r, "removing cgroup '%s' of '%s'", group, path);
        removed |= r;
        if (mount >= 0)
            remove_base(mount, group);
    }
    return removed;
}

/* ---- a group that an Engine makes ---- */

int tw_priv_cgroup_intend(struct tw_priv *p, const char *leaf, char **ret_parent,
                          int64_t *ret_token, struct tw_err *err)
{
    const struct priv_cgroup_layout *l = priv_cgroup_layout();
    tw_auto_free char *parents = tw_strf("%s/%s", l->base ? l->base : "twin", p->id);
    tw_auto_free char *path = leaf ? tw_strf("%s/%s", parents, leaf) : NULL;
    int r;

    (void)pthread_mutex_lock(&library);
    r = intend_parents(p, parents, err);
    (void)pthread_mutex_unlock(&library);
    if (r == 0 && path)
        r = tw_priv_intend(p, TW_INTENT_CGROUP, path, ret_token, err);
    if (r == 0 && ret_parent)
        *ret_parent = tw_strf("/%s", parents);
    return r;
}

/* The path of a line "4:cpu,cpuacct:/a/b" or "0::/a/b" that belongs to this mount. */
static char *path_in(const char *lines, const struct priv_cgroup_mount *m)
{
    tw_auto_free char *first =
        tw_strf("%.*s", (int)strcspn(m->controllers, ","), m->controllers);

    for (const char *line = lines; *line;
         line += strcspn(line, "\n"), line += *line == '\n') {
        const char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;

        if (!path)
            continue;
        tw_auto_free char *names = tw_strf(",%.*s,", (int)(path - list - 1), list + 1);
        tw_auto_free char *wanted = tw_strf(",%s,", first);

        if (strstr(names, wanted))
            return tw_strf("%.*s", (int)strcspn(path + 1, "\n"), path + 1);
    }
    return NULL;
}

static void adopt_in(struct tw_priv_cgroup *g, size_t i, const char *lines)
{
    const struct priv_cgroup_layout *l = priv_cgroup_layout();
    const struct priv_cgroup_mount *m = &l->mounts[i];
    tw_auto_free char *path = path_in(lines, m), *dir = NULL;
    struct tw_limits all = {.cpuset = "0"};

    /* the root is everybody's: a process that stands there has no group of its own */
    if (!path || tw_streq(path, "/"))
        return;
    dir = tw_strf("%s%s", m->path, path);
    g->dirs[i] = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g->ours[i] = g->dirs[i] >= 0;
    if (!g->ours[i])
        return;
    if (!g->path)
        g->path = tw_strf("%s", path + 1);
    if (!m->unified) {
        use_controllers(g, m->controllers, ",", &all);
        return;
    }
    g->unified = g->dirs[i];
    g->v2 = l->mode == PRIV_CGROUP_V2;
    if (g->v2) {
        tw_auto_free char *has = read_at(g->dirs[i], "cgroup.controllers");

        use_controllers(g, has ? has : "", " ", &all);
    }
}

int tw_priv_cgroup_adopt(struct tw_priv *p, pid_t pid, int64_t token,
                         const struct tw_limits *limits, struct tw_priv_cgroup **ret,
                         struct tw_err *err)
{
    const struct priv_cgroup_layout *l = priv_cgroup_layout();
    tw_auto_free char *file = tw_strf("/proc/%d/cgroup", (int)pid), *lines = NULL;
    struct tw_priv_cgroup *g;
    int r = tw_read_file(AT_FDCWD, file, 65536, &lines, NULL, err);

    if (r < 0)
        return r;
    g = tw_alloc(sizeof *g);
    g->priv = p;
    g->token = token;
    g->foreign = token == 0;
    g->unified = -1;
    for (size_t i = 0; i < PRIV_CGROUP_HIERARCHIES; i++)
        g->dirs[i] = g->joins[i] = -1;
    cgroup_counters_init(g);
    for (size_t i = 0; i < l->count; i++)
        adopt_in(g, i, lines);
    if (!g->path)
        r = tw_fail(err, -ENOTSUP, "process %d stands in no control group of its own",
                    (int)pid);
    for (size_t i = 0; i < TW_COUNT_OF(controller_rows) && r == 0; i++)
        if (controller_rows[i].wanted(limits) &&
            !has_controller(g, controller_rows[i].name))
            add_missing(g, controller_rows[i].missing);
    /* twice, as when limits are changed */
    if (r == 0)
        (void)write_limits(g, limits, AT_BIRTH | AGAIN | OPTIONAL, NULL);
    if (r == 0)
        r = write_limits(g, limits, AT_BIRTH | AGAIN | OPTIONAL, err);
    if (r < 0) {
        g->token = 0;
        tw_priv_cgroup_close(g);
        return r;
    }
    *ret = g;
    return 0;
}
