/* Copying a tree: shared blocks where the file system can, else only what is not a hole. */
#include "tw/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK ((size_t)64 << 20)
#define DEPTH 64

/* A file with several names that was met before. */
struct linked {
    dev_t device;
    ino_t inode;
    char *path; /* relative to the copy's root */
};
struct copy {
    unsigned uid, gid;
    tw_copy_skip_fn *skip;
    void *arg;
    int to_root; /* for links */
    bool no_reflink;
    struct linked *links;
    size_t link_count;
    int64_t bytes;
    struct tw_err *err;
};

static int fail(struct copy *c, int errnum, const char *relative)
{
    if (errnum == ENOSPC || errnum == EDQUOT)
        return tw_fail(
            c->err, -ENOSPC,
            "no room for '%s': %lld bytes were copied before it; make room or use "
            "another --state-dir",
            relative, (long long)c->bytes);
    return tw_fail_errno(c->err, errnum, "copying '%s'", relative);
}

/* ---- contents ---- */

/* From SEEK_DATA to the next hole. copy_file_range is not to be had between some file systems, and
 * sendfile then moves the same bytes inside the kernel too. */
static int copy_range(int from, int to, off_t start, off_t end)
{
    while (start < end) {
        size_t want = (size_t)(end - start) < CHUNK ? (size_t)(end - start) : CHUNK;
        off_t in = start, out = start;
        ssize_t n = copy_file_range(from, &in, to, &out, want, 0);

        if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP ||
                      errno == ENOSYS)) {
            if (lseek(to, start, SEEK_SET) < 0)
                return -errno;
            in = start;
            n = sendfile(to, from, &in, want);
        }
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return 0; /* it became shorter meanwhile */
        start += n > 0 ? n : 0;
    }
    return 0;
}

static int copy_data(struct copy *c, int from, int to, const struct stat *st)
{
    off_t at = 0;
    int r = 0;

    if (!c->no_reflink) {
        if (ioctl(to, FICLONE, from) == 0)
            return 0;
        if (errno == ENOSPC)
            return -ENOSPC;
        c->no_reflink = errno == EXDEV || errno == EOPNOTSUPP || errno == ENOTTY;
    }
    while (r == 0 && at < st->st_size) {
        off_t data = lseek(from, at, SEEK_DATA), hole;

        if (data < 0 && errno == ENXIO)
            break; /* a hole up to the end */
        data = data < 0 ? at : data;
        hole = lseek(from, data, SEEK_HOLE);
        at = hole < 0 ? st->st_size : hole;
        r = copy_range(from, to, data, at);
    }
    if (r == 0 && ftruncate(to, st->st_size) < 0)
        r = -errno;
    return r;
}

/* ---- attributes: owner before mode, since a change of owner clears set-id bits ---- */

static int set_attributes(const struct copy *c, int fd, const struct stat *st)
{
    struct timespec times[2] = {st->st_atim, st->st_mtim};
    uid_t uid = c->uid == (unsigned)-1 ? st->st_uid : c->uid;
    gid_t gid = c->uid == (unsigned)-1 ? st->st_gid : c->gid;

    /* without root the copy is the caller's */
    if (fchown(fd, uid, gid) < 0 && errno != EPERM)
        return -errno;
    return fchmod(fd, st->st_mode & 07777) < 0 || futimens(fd, times) < 0 ? -errno : 0;
}

/* ---- one function per kind of entry ---- */

struct place {
    int from, to;         /* directories */
    const char *name;     /* in both */
    const char *relative; /* for messages, links and the skip function */
    const struct stat *st;
};

static int copy_regular(struct copy *c, const struct place *p)
{
    tw_auto_close int from = openat(p->from, p->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    tw_auto_close int to = -1;
    int r;

    if (from < 0)
        return errno == ENOENT ? 0 : -errno;
    to = openat(p->to, p->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0)
        return -errno;
    r = copy_data(c, from, to, p->st);
    if (r == 0) {
        int64_t held = (int64_t)p->st->st_blocks * 512;

        c->bytes += held < p->st->st_size ? held : p->st->st_size;
        r = set_attributes(c, to, p->st);
    }
    return r;
}

static int copy_symlink(struct copy *c, const struct place *p)
{
    char target[4096];
    ssize_t n = readlinkat(p->from, p->name, target, sizeof target - 1);
    struct timespec times[2] = {p->st->st_atim, p->st->st_mtim};
    bool keep = c->uid == (unsigned)-1;

    if (n < 0)
        return errno == ENOENT ? 0 : -errno;
    target[n] = '\0';
    if (symlinkat(target, p->to, p->name) < 0)
        return -errno;
    if (fchownat(p->to, p->name, keep ? p->st->st_uid : c->uid,
                 keep ? p->st->st_gid : c->gid, AT_SYMLINK_NOFOLLOW) < 0 &&
        errno != EPERM)
        return -errno;
    return utimensat(p->to, p->name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int copy_fifo(struct copy *c, const struct place *p)
{
    (void)c;
    return mkfifoat(p->to, p->name, p->st->st_mode & 07777) < 0 ? -errno : 0;
}

/* True when the file is there under another name already, and now under this one. */
static bool link_again(struct copy *c, const struct place *p, int *ret)
{
    if (p->st->st_nlink < 2 || S_ISDIR(p->st->st_mode))
        return false;
    for (size_t i = 0; i < c->link_count; i++) {
        if (c->links[i].inode != p->st->st_ino || c->links[i].device != p->st->st_dev)
            continue;
        *ret = linkat(c->to_root, c->links[i].path, p->to, p->name, 0) < 0 ? -errno : 0;
        return true;
    }
    c->links = tw_realloc_array(c->links, c->link_count + 1, sizeof *c->links);
    c->links[c->link_count++] = (struct linked){.device = p->st->st_dev,
                                                .inode = p->st->st_ino,
                                                .path = tw_strf("%s", p->relative)};
    return false;
}

static int copy_dir(struct copy *c, int from, int to, const char *relative, int depth);

static int copy_subdir(struct copy *c, const struct place *p, int depth)
{
    tw_auto_close int from =
        openat(p->from, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    tw_auto_close int to = -1;
    int r;

    if (from < 0)
        return errno == ENOENT ? 0 : fail(c, errno, p->relative);
    if (mkdirat(p->to, p->name, 0700) < 0 && errno != EEXIST)
        return fail(c, errno, p->relative);
    to = openat(p->to, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (to < 0)
        return fail(c, errno, p->relative);
    r = copy_dir(c, from, to, p->relative, depth + 1);
    if (r == 0 && set_attributes(c, to, p->st) < 0)
        r = fail(c, errno, p->relative);
    return r;
}

/* Sockets and devices mean something only where they are: left out. What vanishes between the look
 * and the open was a temporary file of a source that is copied between backup marks. */
static int copy_entry(struct copy *c, const struct place *p, int depth)
{
    int r = 0;

    if (S_ISDIR(p->st->st_mode))
        return copy_subdir(c, p, depth);
    if (link_again(c, p, &r))
        ;
    else if (S_ISREG(p->st->st_mode))
        r = copy_regular(c, p);
    else if (S_ISLNK(p->st->st_mode))
        r = copy_symlink(c, p);
    else if (S_ISFIFO(p->st->st_mode))
        r = copy_fifo(c, p);
    return r < 0 ? fail(c, -r, p->relative) : 0;
}

static int copy_dir(struct copy *c, int from, int to, const char *relative, int depth)
{
    DIR *dir = fdopendir(fcntl(from, F_DUPFD_CLOEXEC, 3));
    struct dirent *entry;
    int r = 0;

    if (!dir)
        return fail(c, errno, relative);
    if (depth > DEPTH)
        r = fail(c, ELOOP, relative);
    while (r == 0 && (entry = readdir(dir))) {
        struct stat st;
        tw_auto_free char *path = NULL;

        if (tw_streq(entry->d_name, ".") || tw_streq(entry->d_name, ".."))
            continue;
        path = tw_strf("%s%s%s", relative, relative[0] ? "/" : "", entry->d_name);
        if (c->skip && c->skip(c->arg, path))
            continue;
        if (fstatat(from, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            r = errno == ENOENT ? 0 : fail(c, errno, path);
            continue;
        }
        struct place p = {from, to, entry->d_name, path, &st};

        r = copy_entry(c, &p, depth);
    }
    (void)closedir(dir);
    return r;
}

int tw_copy_tree(const char *from, const char *to, unsigned uid, unsigned gid,
                 tw_copy_skip_fn *skip, void *arg, int64_t *ret_bytes, struct tw_err *err)
{
    struct copy c = {
        .uid = uid, .gid = gid, .skip = skip, .arg = arg, .to_root = -1, .err = err};
    tw_auto_close int in = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    tw_auto_close int out = -1;
    struct stat st;
    int r;

    if (in < 0 || fstat(in, &st) < 0)
        return tw_fail_errno(err, errno, "copying '%s'", from);
    r = tw_make_dirs(to, 0755, err);
    if (r < 0)
        return r;
    out = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out < 0)
        return tw_fail_errno(err, errno, "opening '%s'", to);
    c.to_root = out;
    r = copy_dir(&c, in, out, "", 0);
    if (r == 0 && set_attributes(&c, out, &st) < 0)
        r = tw_fail_errno(err, errno, "copying '%s'", from);
    for (size_t i = 0; i < c.link_count; i++)
        free(c.links[i].path);
    free(c.links);
    if (r == 0)
        *ret_bytes = c.bytes;
    return r;
}
