/* Mounts of this process: the pool's image, overlays of clones, and taking them away
 * again. */
#include "priv_internal.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the pool, mounted once per process and state directory, however many handles use
 * it ---- */

static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pool_mount {
    dev_t device; /* of the state directory */
    ino_t inode;
    pid_t owner; /* a fork starts with no mount of its own */
    unsigned users;
} pools[16];

static struct pool_mount *find_pool(const char *state_dir)
{
    struct pool_mount *fresh = NULL;
    struct stat st;

    if (stat(state_dir, &st) < 0)
        return NULL;
    for (size_t i = 0; i < TW_COUNT_OF(pools); i++) {
        struct pool_mount *m = &pools[i];

        if (m->users > 0 && m->owner != getpid())
            m->users = 0;
        if (m->users > 0 && m->device == st.st_dev && m->inode == st.st_ino)
            return m;
        if (m->users == 0)
            fresh = m;
    }
    if (fresh)
        *fresh = (struct pool_mount){
            .device = st.st_dev, .inode = st.st_ino, .owner = getpid()};
    return fresh;
}

/* nosuid, nodev: what a target's tree contains is data to us. discard gives freed blocks
 * back to the sparse image. */
static int mount_image(const char *state_dir, struct tw_err *err)
{
    tw_auto_free char *image = tw_strf("%s/pool.img", state_dir);
    tw_auto_free char *dir = tw_strf("%s/pool", state_dir);
    tw_auto_close int loop = -1;
    char device[32];
    struct stat st;
    int r;

    /* a kernel reads a file system as it stands: never one that somebody else has written */
    if (lstat(image, &st) == 0 && (st.st_uid != geteuid() || !S_ISREG(st.st_mode)))
        return tw_fail(err, -EPERM, "'%s' was made by another user: put it aside", image);
    r = priv_loop_open(image, &loop, device, err);
    if (r < 0)
        return r;
    /* the open descriptor keeps the device until the mount does */
    if (mount(device, dir, "xfs", MS_NOATIME | MS_NOSUID | MS_NODEV, "discard") < 0)
        return tw_fail_errno(err, errno, "mounting '%s' on '%s'", image, dir);
    return 0;
}

int priv_pool_hold(const struct priv_ground *ground, struct tw_err *err)
{
    struct pool_mount *m;
    int r = 0;

    (void)pthread_mutex_lock(&pools_lock);
    m = find_pool(ground->state_dir);
    if (!m)
        r = tw_fail(err, -EMFILE, "too many pools are mounted by this process");
    else if (m->users == 0)
        r = mount_image(ground->state_dir, err);
    if (r == 0)
        m->users++;
    (void)pthread_mutex_unlock(&pools_lock);
    return r;
}

void priv_pool_release(const struct priv_ground *ground)
{
    tw_auto_free char *dir = tw_strf("%s/pool", ground->state_dir);
    struct pool_mount *m;

    (void)pthread_mutex_lock(&pools_lock);
    m = find_pool(ground->state_dir);
    if (m && m->users > 0 && --m->users == 0 && umount2(dir, 0) < 0)
        (void)umount2(dir, MNT_DETACH);
    (void)pthread_mutex_unlock(&pools_lock);
}

int tw_priv_pool_mount(struct tw_priv *p, int64_t size_bytes, struct tw_err *err)
{
    tw_auto_free char *image = tw_strf("%s/pool.img", p->state_dir);
    struct priv_ground ground = priv_ground_of(p);
    int r = 0;

    if (!p->mounts)
        return tw_fail(err, -EPERM,
                       "this process may not mount: run as root with CAP_SYS_ADMIN");
    if (access(image, F_OK) < 0)
        r = priv_image_make(p, image, size_bytes, err);
    if (r == 0)
        r = priv_pool_hold(&ground, err);
    if (r == 0)
        tw_step("priv.pool.mounted");
    return r;
}

void tw_priv_pool_unmount(struct tw_priv *p)
{
    struct priv_ground ground = priv_ground_of(p);

    priv_pool_release(&ground);
    tw_step("priv.pool.unmounted");
}

int tw_priv_pool_disk(struct tw_priv *p, enum tw_disk disk, struct tw_err *err)
{
    tw_auto_free char *image = tw_strf("%s/pool.img", p->state_dir);

    if (!p->mounts)
        return tw_fail(err, -EPERM, "this process has no image mounted");
    return priv_loop_disk(image, disk, err);
}

double tw_priv_pool_writes(struct tw_priv *p)
{
    tw_auto_free char *image = tw_strf("%s/pool.img", p->state_dir);

    return p->mounts ? priv_loop_writes(image) : NAN;
}

/* Under a name that nothing has; what is aside already stays where it is. */
static int put_aside(const char *state_dir, const char *path, struct tw_err *err)
{
    tw_auto_free char *old = tw_strf("%s/pool/old", state_dir);
    const char *name = strrchr(path, '/');

    if (tw_starts_with(path, old))
        return 0;
    if (mkdir(old, 0711) < 0 && errno != EEXIST)
        return tw_fail_errno(err, errno, "creating directory '%s'", old);
    for (int n = 0; n < 1000; n++) {
        tw_auto_free char *there = tw_strf("%s%s-%d", old, name, n);

        if (renameat2(AT_FDCWD, path, AT_FDCWD, there, RENAME_NOREPLACE) == 0)
            return 1;
        if (errno != EEXIST)
            break;
    }
    return tw_fail_errno(err, errno, "putting '%s' aside", path);
}

/* As priv_undo. */
int priv_pool_discard(const char *state_dir, const char *relative, struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("%s/pool/%s", state_dir, relative);
    tw_auto_close int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r;

    if (dir < 0)
        return errno == ENOENT ? 0 : tw_fail_errno(err, errno, "removing '%s'", path);
    if (flock(dir, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return put_aside(state_dir, path, err);
    r = priv_unmount_below(path, err);
    if (r == 0)
        r = tw_remove_tree(path, err);
    return r < 0 ? r : 1;
}

int tw_priv_pool_discard(struct tw_priv *p, const char *relative, struct tw_err *err)
{
    int r = priv_pool_discard(p->state_dir, relative, err);

    return r < 0 ? r : 0;
}

/* ---- overlays ---- */

/* In the option text of an overlay, ',' ends an option, ':' a lower directory. */
static void add_escaped(struct tw_buf *b, const char *option, const char *path)
{
    tw_buf_puts(b, option);
    for (; *path; path++) {
        if (strchr(":,\\", *path))
            tw_buf_puts(b, "\\");
        tw_buf_add(b, path, 1);
    }
}

int tw_priv_overlay_mount(struct tw_priv *p, const char *lower, const char *upper,
                          const char *work, const char *merged, struct tw_err *err)
{
    /* with redirect_dir a directory of the seed can be renamed as in any other file
     * system; older kernels and odd configurations refuse it, and then renaming one gives
     * EXDEV */
    static const char *const extras[] = {",redirect_dir=on,index=off,metacopy=off", ""};
    int r = -EPERM;

    if (!p->mounts)
        return tw_fail(err, r,
                       "this process may not mount: run as root with CAP_SYS_ADMIN");
    for (size_t i = 0; i < TW_COUNT_OF(extras); i++) {
        tw_auto_buf options = {0};

        tw_buf_init(&options, 4095);
        add_escaped(&options, "lowerdir=", lower);
        add_escaped(&options, ",upperdir=", upper);
        add_escaped(&options, ",workdir=", work);
        tw_buf_puts(&options, extras[i]);
        if (options.overflow)
            return tw_fail(err, -ENAMETOOLONG, "the paths of overlay '%s' are too long",
                           merged);
        if (mount("overlay", merged, "overlay", MS_NOATIME | MS_NOSUID | MS_NODEV,
                  tw_buf_text(&options)) == 0) {
            tw_step("priv.overlay.mounted");
            return 0;
        }
        r = -errno;
        if (r != -EINVAL)
            break;
    }
    return tw_fail_errno(err, -r, "mounting an overlay on '%s'", merged);
}

int tw_priv_unmount(struct tw_priv *p, const char *path, struct tw_err *err)
{
    if (!p->mounts)
        return 0;
    if (umount2(path, UMOUNT_NOFOLLOW) < 0 &&
        (errno != EBUSY || umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0) &&
        errno != EINVAL && errno != ENOENT)
        return tw_fail_errno(err, errno, "unmounting '%s'", path);
    tw_step("priv.unmounted");
    return 0;
}

/* The fifth field of a line of mountinfo, its octal escapes resolved in place. */
static char *mount_point(char *line)
{
    char *from = line, *to, *start;

    for (int field = 0; field < 4 && from; field++)
        from = strchr(from + (field > 0), ' ');
    if (!from)
        return NULL;
    start = to = ++from;
    while (*from && *from != ' ') {
        if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
            *to++ = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
    return start;
}

/* Newest last in mountinfo, so one pass may uncover what an inner mount hid: repeat until
 * none. */
int priv_unmount_below(const char *path, struct tw_err *err)
{
    size_t len = strlen(path);
    bool again = true;

    for (int pass = 0; again && pass < 16; pass++) {
        tw_auto_free char *text = NULL;
        char *next;
        int r = tw_read_file(AT_FDCWD, "/proc/self/mountinfo", (size_t)64 << 20, &text,
                             NULL, err);

        if (r < 0)
            return r;
        again = false;
        for (char *line = text; *line; line = next) {
            char *end = line + strcspn(line, "\n"), *point;

            next = *end ? end + 1 : end;
            *end = '\0';
            point = mount_point(line);
            if (!point || strncmp(point, path, len) != 0 ||
                (point[len] && point[len] != '/'))
                continue;
            if (umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
                again = true;
            else if (errno != EINVAL)
                return tw_fail_errno(err, errno, "unmounting '%s'", point);
        }
    }
    return 0;
}
