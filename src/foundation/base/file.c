#include "tw/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int tw_read_file(int dirfd, const char *path, size_t max, char **ret_text,
                 size_t *ret_len, struct tw_err *err)
{
    tw_auto_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    tw_auto_buf b = {0};
    char block[65536];
    ssize_t n;

    tw_buf_init(&b, max);
    if (fd < 0)
        return tw_fail_errno(err, errno, "reading '%s'", path);
    while ((n = read(fd, block, sizeof block)) > 0) {
        tw_buf_add(&b, block, (size_t)n);
        if (b.overflow)
            return tw_fail(err, -EFBIG, "'%s' is larger than %zu bytes", path, max);
    }
    if (n < 0)
        return tw_fail_errno(err, errno, "reading '%s'", path);
    if (ret_len)
        *ret_len = b.len;
    *ret_text = tw_buf_take(&b);
    return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

int tw_write_file(const char *path, const void *data, size_t len, unsigned mode,
                  struct tw_err *err)
{
    tw_auto_free char *fresh = tw_strf("%s.tmp.%d", path, (int)gettid()); /* threads, too */
    tw_auto_close int fd = -1;
    int r;

    /* of a process killed at it, or put there by somebody else: never written through */
    (void)unlink(fresh);
    fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return tw_fail_errno(err, errno, "creating '%s'", fresh);
    r = write_all(fd, data, len);
    if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(fresh, path) < 0))
        r = -errno;
    if (r < 0) {
        (void)unlink(fresh);
        return tw_fail_errno(err, -r, "writing '%s'", path);
    }
    return 0;
}

int tw_make_dirs(const char *path, unsigned mode, struct tw_err *err)
{
    tw_auto_free char *part = tw_strf("%s", path);

    for (char *slash = part + 1;; slash++) {
        if (*slash != '/' && *slash != '\0')
            continue;
        char kept = *slash;

        *slash = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return tw_fail_errno(err, errno, "creating directory '%s'", part);
        *slash = kept;
        if (!kept)
            return 0;
    }
}

static int remove_at(int dirfd, const char *name, dev_t device)
{
    struct stat st;
    struct dirent *entry;
    DIR *dir;
    int fd, r = 0;

    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISDIR(st.st_mode))
        return unlinkat(dirfd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
    if (st.st_dev != device)
        return -EXDEV;

    fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    dir = fdopendir(fd);
    if (!dir) {
        r = -errno;
        (void)close(fd);
        return r;
    }
    while (r == 0 && (entry = readdir(dir)))
        if (!tw_streq(entry->d_name, ".") && !tw_streq(entry->d_name, ".."))
            r = remove_at(fd, entry->d_name, device);
    (void)closedir(dir);
    if (r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        r = -errno;
    return r;
}

int tw_remove_tree(const char *path, struct tw_err *err)
{
    struct stat st;
    int r;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : tw_fail_errno(err, errno, "removing '%s'", path);
    r = remove_at(AT_FDCWD, path, st.st_dev);
    if (r == -EXDEV)
        return tw_fail(err, r, "'%s' has another file system mounted in it", path);
    return r < 0 ? tw_fail_errno(err, -r, "removing '%s'", path) : 0;
}
