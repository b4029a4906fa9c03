/* The pool's image: a sparse file with an XFS that can share blocks. Made beside its name
 * and renamed, so that an image is whole or absent. */
#include "priv_internal.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

const char *priv_mkfs_path(void)
{
    static const char *const places[] = {"/usr/sbin/mkfs.xfs", "/sbin/mkfs.xfs",
                                         "/usr/local/sbin/mkfs.xfs", "/usr/bin/mkfs.xfs"};

    for (size_t i = 0; i < TW_COUNT_OF(places); i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

bool priv_reflinks(const char *dir)
{
    tw_auto_close int from = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    tw_auto_close int to = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    static const char block[4096] = {1};

    return from >= 0 && to >= 0 && write(from, block, sizeof block) == sizeof block &&
           ioctl(to, FICLONE, from) == 0;
}

#define TOOL_FD 3

/* Its output goes into a file without a name, to be quoted when it fails. The file that
 * it works on is its descriptor TOOL_FD: should we die meanwhile, it cannot make anew
 * what reap has removed. */
static int run_tool(char *const *argv, int file, struct tw_err *err)
{
    tw_auto_close int out = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    posix_spawn_file_actions_t actions;
    char said[512] = "";
    int status, r;
    ssize_t n;
    pid_t pid;

    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, out >= 0 ? out : 0, 1);
    (void)posix_spawn_file_actions_adddup2(&actions, out >= 0 ? out : 0, 2);
    (void)posix_spawn_file_actions_adddup2(&actions, file, TOOL_FD);
    r = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (r != 0)
        return tw_fail_errno(err, r, "starting '%s'", argv[0]);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return tw_fail_errno(err, errno, "waiting for '%s'", argv[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    n = out >= 0 ? pread(out, said, sizeof said - 1, 0) : 0;
    said[n > 0 ? n : 0] = '\0';
    said[strcspn(said, "\n")] = '\0';
    return tw_fail(err, -EIO, "'%s' failed: %s", argv[0], said);
}

static int make_file_system(const char *fresh, int64_t size_bytes, struct tw_err *err)
{
    tw_auto_close int fd = open(fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const char *mkfs = priv_mkfs_path();
    /* -K: nothing to discard in a sparse file; a small log, as it is written out whole */
    char *argv[] = {(char *)(uintptr_t)mkfs,
                    "-q",
                    "-f",
                    "-K",
                    "-m",
                    "crc=1,reflink=1",
                    "-l",
                    "size=64m",
                    "/proc/self/fd/3",
                    NULL};

    if (!mkfs)
        return tw_fail(err, -ENOENT,
                       "'mkfs.xfs' is not installed: apt-get install xfsprogs");
    if (fd < 0)
        return tw_fail_errno(err, errno, "creating '%s'", fresh);
    if (ftruncate(fd, size_bytes) < 0)
        return tw_fail_errno(err, errno, "making '%s' %lld bytes long", fresh,
                             (long long)size_bytes);
    return run_tool(argv, fd, err);
}

/* Two processes may come at once: the first to link its image wins. */
int priv_image_make(struct tw_priv *p, const char *image, int64_t size_bytes,
                    struct tw_err *err)
{
    tw_auto_free char *name = tw_strf("pool.img.%s", p->id);
    tw_auto_free char *fresh = tw_strf("%s/%s", p->state_dir, name);
    int64_t token;
    int r = tw_priv_intend(p, TW_INTENT_FILE, name, &token, err);

    if (r < 0)
        return r;
    r = make_file_system(fresh, size_bytes, err);
    if (r == 0) {
        tw_step("priv.image.made");
        if (link(fresh, image) < 0 && errno != EEXIST)
            r = tw_fail_errno(err, errno, "naming '%s'", image);
    }
    (void)unlink(fresh);
    tw_priv_settled(p, token);
    return r;
}
