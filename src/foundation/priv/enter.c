/* Into namespaces that somebody else made: mounts and links for a container that stands ready and waits.
 * Its Engine is never asked for a mount of the host, so that no request to it can name one. */
#include "priv_internal.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MS_PRIVATE
#define MS_PRIVATE (1 << 18)
#endif

struct entering {
    const struct tw_priv_bind *binds;
    int *trees; /* detached copies, one per bind */
    size_t count;
    const char *trusted; /* below it a source may have no links on its way */
    int pidfd, result;
    struct tw_err *err;
};

static int tree_of(int dirfd, const char *path, unsigned flags)
{
    return (int)syscall(SYS_open_tree, dirfd, path,
                        OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
}

static int set_attributes(int tree, uint64_t set, uint64_t clear, unsigned flags)
{
    struct mount_attr attr = {
        .attr_set = set, .attr_clr = clear, .propagation = MS_PRIVATE};

    return (int)syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | flags, &attr,
                        sizeof attr);
}

/* What a target's tree contains is data to us: never a device or a program with the rights of another. */
static int take_tree(struct entering *e, size_t i)
{
    const struct tw_priv_bind *b = &e->binds[i];
    struct open_how how = {
        .flags = O_PATH | O_CLOEXEC,
        .resolve = tw_starts_with(b->from, e->trusted) ? RESOLVE_NO_SYMLINKS : 0};
    tw_auto_close int source =
        (int)syscall(SYS_openat2, AT_FDCWD, b->from, &how, sizeof how);

    if (source < 0)
        return tw_fail_errno(e->err, errno, "'%s', which should stand on '%s'", b->from,
                             b->to);
    e->trees[i] = tree_of(source, "", AT_EMPTY_PATH | AT_RECURSIVE);
    if (e->trees[i] < 0 || set_attributes(e->trees[i],
                                          MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                              (b->writable ? 0 : MOUNT_ATTR_RDONLY),
                                          0, AT_RECURSIVE) < 0)
        return tw_fail_errno(e->err, errno, "taking '%s' for '%s'", b->from, b->to);
    return 0;
}

/* ---- inside ---- */

static int make_point(const char *path, bool directory)
{
    tw_auto_free char *at = tw_strf("%s", path);
    struct stat st;

    if (stat(path, &st) == 0)
        return 0;
    for (char *slash = strchr(at + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(at, 0755) < 0 && errno != EEXIST && errno != EROFS)
            return -errno;
        *slash = '/';
    }
    if (directory)
        return mkdir(at, 0755) < 0 && errno != EEXIST ? -errno : 0;

    tw_auto_close int fd =
        open(at, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);

    return fd < 0 ? -errno : 0;
}

/* A root that is read-only inside is so by its mount: a copy of that mount takes what has to be made. */
static int make_below(const char *path, bool directory)
{
    tw_auto_close int root = -1, real = -1;
    int r;

    r = make_point(path, directory);
    if (r != -EROFS)
        return r;
    real = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    root = tree_of(AT_FDCWD, "/", 0);
    if (real < 0 || root < 0 || set_attributes(root, 0, MOUNT_ATTR_RDONLY, 0) < 0 ||
        fchdir(root) < 0 || chroot(".") < 0)
        return -EROFS;
    r = make_point(path, directory);
    return fchdir(real) < 0 || chroot(".") < 0 ? -errno : r;
}

static int place_tree(const struct entering *e, size_t i)
{
    const struct tw_priv_bind *b = &e->binds[i];
    struct stat st;
    int r = fstat(e->trees[i], &st) < 0 ? -errno : make_below(b->to, S_ISDIR(st.st_mode));

    if (r == 0 && syscall(SYS_move_mount, e->trees[i], "", AT_FDCWD, b->to,
                          MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) < 0)
        r = -errno;
    return r < 0
               ? tw_fail_errno(e->err, -r, "putting '%s' on '%s' inside", b->from, b->to)
               : 0;
}

/* All sources are taken where we are, then all are placed where it is. */
static void *enter_main(void *arg)
{
    struct entering *e = arg;
    int r = 0;

    for (size_t i = 0; i < e->count && r == 0; i++)
        r = take_tree(e, i);
    if (r == 0 && (unshare(CLONE_FS) < 0 || setns(e->pidfd, CLONE_NEWNS) < 0))
        r = tw_fail_errno(e->err, errno, "entering the mounts of a container");
    for (size_t i = 0; i < e->count && r == 0; i++)
        r = place_tree(e, i);
    for (size_t i = 0; i < e->count; i++)
        tw_close_p(&e->trees[i]);
    e->result = r;
    return NULL;
}

int tw_priv_mount_into(struct tw_priv *p, int pidfd, const struct tw_priv_bind *binds,
                       size_t count, struct tw_err *err)
{
    struct entering e = {.binds = binds,
                         .count = count,
                         .trusted = p->state_dir,
                         .pidfd = pidfd,
                         .err = err};
    pthread_t thread;
    int r;

    if (count == 0)
        return 0;
    if (!p->root)
        return tw_fail(err, -EPERM, "mounts for a container need root: run it with sudo");
    e.trees = tw_alloc(count * sizeof *e.trees);
    for (size_t i = 0; i < count; i++)
        e.trees[i] = -1;
    r = pthread_create(&thread, NULL, enter_main, &e);
    if (r != 0)
        r = tw_fail_errno(err, r, "starting a thread for the mounts of a container");
    else
        (void)pthread_join(thread, NULL);
    free(e.trees);
    if (r == 0)
        r = e.result;
    if (r == 0)
        tw_step("priv.mounts.placed");
    return r;
}

/* ---- looking around ---- */

struct visiting {
    int (*fn)(void *arg);
    void *arg;
    const struct tw_priv_bind *tmp;
    int pidfd, result;
    struct tw_err *err;
};

static int put(int tree, const char *place)
{
    return (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, place,
                        MOVE_MOUNT_F_EMPTY_PATH);
}

/* A copy of its mounts, so that nothing we do to them shows there. */
static int see_as_it_does(const struct visiting *v)
{
    tw_auto_close int proc = tree_of(AT_FDCWD, "/proc", AT_RECURSIVE), root = -1;
    tw_auto_close int tmp = v->tmp ? tree_of(AT_FDCWD, v->tmp->from, 0) : -1;

    if (proc < 0 ||
        (v->tmp && (tmp < 0 || set_attributes(tmp, MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID,
                                              0, 0) < 0)) ||
        unshare(CLONE_FS) < 0 || setns(v->pidfd, CLONE_NEWNS | CLONE_NEWNET) < 0 ||
        unshare(CLONE_NEWNS) < 0)
        return -errno;
    root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 ||
        set_attributes(root,
                       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID |
                           MOUNT_ATTR_NODEV,
                       0, AT_RECURSIVE) < 0 ||
        put(proc, "/proc") < 0 || (tmp >= 0 && put(tmp, v->tmp->to) < 0) || chdir("/") < 0)
        return -errno;
    return 0;
}

static void *visit_main(void *arg)
{
    struct visiting *v = arg;

    v->result = see_as_it_does(v);
    v->result = v->result < 0
                    ? tw_fail_errno(v->err, -v->result, "looking into a container")
                    : v->fn(v->arg);
    return NULL;
}

int tw_priv_visit(int pidfd, const struct tw_priv_bind *tmp, int (*fn)(void *arg),
                  void *arg, struct tw_err *err)
{
    struct visiting v = {.fn = fn, .arg = arg, .tmp = tmp, .pidfd = pidfd, .err = err};
    pthread_t thread;
    int r = pthread_create(&thread, NULL, visit_main, &v);

    if (r != 0)
        return tw_fail_errno(err, r, "starting a thread to look into a container");
    (void)pthread_join(thread, NULL);
    return v.result;
}
