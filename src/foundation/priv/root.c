/* The root of a sandbox: rows applied one after the other to a fresh tmpfs, which then
 * becomes the root. Runs in a spawned child: no allocation.
 *
 * Every path inside is resolved below the descriptor of the new root (openat2 with
 * RESOLVE_IN_ROOT, no magic links), since a bound tree may hold links of its owner's
 * making; a row can therefore not land on the host, whatever is bound before it. */
#include "priv_internal.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of the new mount interface; the headers of libc and kernel exclude each other. */
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

static int open_how(int dirfd, const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve};
    int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);

    return fd < 0 ? -errno : fd;
}

static int open_inside(int root, const char *path, uint64_t flags)
{
    return open_how(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/* Copies the first len bytes of a path; too long ones were refused by the kernel already.
 */
static bool cut(char *to, size_t room, const char *path, size_t len)
{
    if (len >= room)
        return false;
    memcpy(to, path, len);
    to[len] = '\0';
    return true;
}

/* The directory that path is in, parents made when missing, and the name in it. Each part
 * is looked up from the root anew, so that links above it lead to where they lead inside.
 */
static int open_parent(int root, const char *path, const char **ret_name)
{
    int dir = open_inside(root, "/", O_PATH | O_DIRECTORY);
    char part[4096];

    for (size_t at = strspn(path, "/"); dir >= 0;) {
        size_t end = at + strcspn(path + at, "/"), next = end + strspn(path + end, "/");
        int below;

        *ret_name = path + at;
        if (!path[next])
            break;
        if (!cut(part, sizeof part, path, end)) {
            (void)close(dir);
            return -ENAMETOOLONG;
        }
        below = open_inside(root, part, O_PATH | O_DIRECTORY);
        if (below == -ENOENT)
            below = mkdirat(dir, part + at, 0755) < 0
                        ? -errno
                        : open_inside(root, part, O_PATH | O_DIRECTORY);
        (void)close(dir);
        dir = below;
        at = next;
    }
    return dir;
}

/* An O_PATH descriptor of where something is to be mounted; made when missing. */
static int open_target(int root, const char *path, bool directory)
{
    const char *name;
    int fd, r, parent;

    fd = open_inside(root, path, O_PATH);
    if (fd != -ENOENT)
        return fd;
    parent = open_parent(root, path, &name);
    if (parent < 0)
        return parent;
    r = directory ? mkdirat(parent, name, 0755)
                  : mknodat(parent, name, S_IFREG | 0644, 0);
    r = r < 0 && errno != EEXIST ? -errno : 0;
    (void)close(parent);
    return r < 0 ? r : open_inside(root, path, O_PATH);
}

static int set_attributes(int tree, bool writable, bool exec)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};

    if (!writable)
        attributes.attr_set |= MOUNT_ATTR_RDONLY;
    if (!exec)
        attributes.attr_set |= MOUNT_ATTR_NOEXEC;
    return mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
                         sizeof attributes) < 0
               ? -errno
               : 0;
}

/* ---- one function per kind of row ---- */

struct build {
    int root;
    const char *trusted_dir;
};
typedef int row_fn(const struct build *b, const struct tw_root_row *row);

static int make_dir(const struct build *b, const struct tw_root_row *row)
{
    const char *name;
    int parent = open_parent(b->root, row->to, &name), r;

    if (parent < 0)
        return parent;
    r = mkdirat(parent, name, row->mode) < 0 && errno != EEXIST ? -errno : 0;
    if (r == 0 && fchmodat(parent, name, row->mode, 0) < 0)
        r = -errno;
    (void)close(parent);
    return r;
}

static int make_text(const struct build *b, const struct tw_root_row *row)
{
    size_t len = strlen(row->from);
    const char *name;
    int parent = open_parent(b->root, row->to, &name), fd, r = 0;

    if (parent < 0)
        return parent;
    fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, row->from, len) != (ssize_t)len || fchmod(fd, row->mode) < 0)
        r = errno ? -errno : -EIO;
    if (fd >= 0)
        (void)close(fd);
    (void)close(parent);
    return r;
}

static int make_link(const struct build *b, const struct tw_root_row *row)
{
    const char *name;
    int parent = open_parent(b->root, row->to, &name), r;

    if (parent < 0)
        return parent;
    r = symlinkat(row->from, parent, name) < 0 ? -errno : 0;
    (void)close(parent);
    return r;
}

/* The state directory holds trees whose owners were other users: no link in them is
 * followed. */
static int open_source(const struct build *b, const char *path)
{
    size_t len = strlen(b->trusted_dir);
    bool ours = strncmp(path, b->trusted_dir, len) == 0 && path[len] == '/';

    return open_how(AT_FDCWD, path, O_PATH,
                    ours ? RESOLVE_NO_SYMLINKS : RESOLVE_NO_MAGICLINKS);
}

static int attach(int tree, int target)
{
    return move_mount(tree, "", target, "",
                      MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0
               ? -errno
               : 0;
}

static int bind(const struct build *b, const struct tw_root_row *row)
{
    tw_auto_close int source = open_source(b, row->from);
    tw_auto_close int tree = -1, target = -1;
    struct stat st;
    int r;

    if (source < 0)
        return tw_take_fd(&source);
    tree = open_tree(source, "",
                     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    if (tree < 0 || fstat(source, &st) < 0)
        return -errno;
    /* a device is bound to be used: everything else loses its devices */
    r = S_ISCHR(st.st_mode) ? 0 : set_attributes(tree, row->writable, row->exec);
    if (r < 0)
        return r;
    target = open_target(b->root, row->to, S_ISDIR(st.st_mode));
    return target < 0 ? tw_take_fd(&target) : attach(tree, target);
}

/* A mount by path: through the descriptor, whose name in /proc cannot be redirected. */
static int mount_at(const struct build *b, const struct tw_root_row *row,
                    const char *type, unsigned long flags, const char *options)
{
    tw_auto_close int target = open_target(b->root, row->to, true);
    char path[64];

    if (target < 0)
        return tw_take_fd(&target);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", target);
    return mount(type, path, type, flags, options) < 0 ? -errno : 0;
}

static int mount_tmpfs(const struct build *b, const struct tw_root_row *row)
{
    char options[128];

    /* without an owner it is root's, whom a user namespace of one line does not know by
     * name */
    if (row->uid)
        (void)snprintf(options, sizeof options, "size=%lld,mode=%o,uid=%u,gid=%u",
                       (long long)row->bytes, row->mode, row->uid, row->gid);
    else
        (void)snprintf(options, sizeof options, "size=%lld,mode=%o",
                       (long long)row->bytes, row->mode);
    return mount_at(b, row, "tmpfs", MS_NOSUID | MS_NODEV | (row->exec ? 0 : MS_NOEXEC),
                    options);
}

static int mount_proc(const struct build *b, const struct tw_root_row *row)
{
    return mount_at(b, row, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

/* What is there already, bound onto itself without the right to write. */
static int make_readonly(const struct build *b, const struct tw_root_row *row)
{
    tw_auto_close int target = open_inside(b->root, row->to, O_PATH);
    tw_auto_close int tree = -1;
    int r;

    if (target < 0)
        return tw_take_fd(&target);
    tree = open_tree(target, "",
                     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    if (tree < 0)
        return -errno;
    r = set_attributes(tree, false, false);
    return r < 0 ? r : attach(tree, target);
}

/* Nothing to be seen there: an empty directory, or the device that is empty. */
static int mask(const struct build *b, const struct tw_root_row *row)
{
    tw_auto_close int target = open_inside(b->root, row->to, O_PATH);
    tw_auto_close int tree = -1;
    struct stat st;

    if (target < 0)
        return tw_take_fd(&target);
    if (fstat(target, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return mount_at(b, row, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
                        "size=4k,mode=555");
    tree = open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    return tree < 0 ? -errno : attach(tree, target);
}

static row_fn *const kinds[TW_ROOT_KIND_COUNT] = {
    [TW_ROOT_DIR] = make_dir,           [TW_ROOT_TEXT] = make_text,
    [TW_ROOT_LINK] = make_link,         [TW_ROOT_BIND] = bind,
    [TW_ROOT_TMPFS] = mount_tmpfs,      [TW_ROOT_PROC] = mount_proc,
    [TW_ROOT_READONLY] = make_readonly, [TW_ROOT_MASK] = mask,
};

static int apply(const struct build *b, const struct tw_root_row *rows, size_t count,
                 struct tw_err *err)
{
    for (size_t i = 0; i < count; i++) {
        int r;

        errno = 0;
        r = kinds[rows[i].kind](b, &rows[i]);
        if (r < 0 && !(rows[i].optional && (r == -ENOENT || r == -EEXIST)))
            return tw_fail_errno(err, -r, "placing '%s' in the sandbox%s%s%s", rows[i].to,
                                 rows[i].kind == TW_ROOT_BIND ? " from '" : "",
                                 rows[i].kind == TW_ROOT_BIND ? rows[i].from : "",
                                 rows[i].kind == TW_ROOT_BIND ? "'" : "");
    }
    return 0;
}

int tw_priv_root_enter(const char *empty_dir, const char *trusted_dir,
                       const struct tw_root_row *rows, size_t count, struct tw_err *err)
{
    struct build b = {.root = -1, .trusted_dir = trusted_dir};
    int r;

    (void)umask(0022);
    /* in a namespace made by somebody with more rights the mounts came as slaves or
     * shared */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return tw_fail_errno(err, errno, "making the sandbox's mounts private");
    if (mount("twin", empty_dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=4m,mode=755") < 0)
        return tw_fail_errno(err, errno, "mounting the sandbox's root on '%s'",
                             empty_dir);
    b.root = open(empty_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (b.root < 0)
        return tw_fail_errno(err, errno, "opening '%s'", empty_dir);

    r = apply(&b, rows, count, err);
    if (r < 0)
        return r;
    /* the old root ends on top of the new one, and is taken off it */
    if (fchdir(b.root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
        umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return tw_fail_errno(err, errno, "entering the sandbox's root");
    (void)close(b.root);
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV,
              NULL) < 0)
        return tw_fail_errno(err, errno, "making the sandbox's root read-only");
    return 0;
}
