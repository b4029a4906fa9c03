/* How each kind of thing is undone: one row per kind. Every undo may be run on a thing
 * that was never made, was half made, or is gone already, and touches only what carries
 * the id. */
#include "priv_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef int undo_fn(const struct priv_ground *ground, const char *value,
                    struct tw_err *err);

/* Below the state directory, nothing that climbs out of it, and with the id in its last
 * part. */
static bool is_ours(const struct priv_ground *ground, const char *relative)
{
    const char *base = strrchr(relative, '/');

    return relative[0] != '/' && !strstr(relative, "..") &&
           strstr(base ? base : relative, ground->id);
}

static int refuse(const char *value, struct tw_err *err)
{
    return tw_fail(err, -EPERM, "'%s' does not carry the id of its journal: left alone",
                   value);
}

static int undo_file(const struct priv_ground *ground, const char *value,
                     struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("%s/%s", ground->state_dir, value);

    if (!is_ours(ground, value))
        return refuse(value, err);
    if (unlink(path) == 0)
        return 1;
    return errno == ENOENT ? 0 : tw_fail_errno(err, errno, "removing '%s'", path);
}

static int undo_tree(const struct priv_ground *ground, const char *value,
                     struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("%s/%s", ground->state_dir, value);
    struct stat st;
    int r;

    if (!is_ours(ground, value))
        return refuse(value, err);
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : tw_fail_errno(err, errno, "removing '%s'", path);
    r = priv_unmount_below(path, err);
    if (r == 0)
        r = tw_remove_tree(path, err);
    return r < 0 ? r : 1;
}

/* Where the pool is an image, it has to be mounted to be cleaned. */
static int undo_pool_tree(const struct priv_ground *ground, const char *value,
                          struct tw_err *err)
{
    tw_auto_free char *image = tw_strf("%s/pool.img", ground->state_dir);
    bool held = false;
    int r = 0;

    if (!is_ours(ground, value))
        return refuse(value, err);
    if (access(image, F_OK) == 0) {
        if (!ground->mounts)
            return tw_fail(err, -EPERM, "'%s' lies in '%s', which only root can mount",
                           value, image);
        r = priv_pool_hold(ground, err);
        held = r == 0;
    }
    if (r == 0)
        r = priv_pool_discard(ground->state_dir, value, err);
    if (held)
        priv_pool_release(ground);
    return r;
}

static int undo_cgroup(const struct priv_ground *ground, const char *value,
                       struct tw_err *err)
{
    if (!strstr(value, ground->id) || strstr(value, ".."))
        return refuse(value, err);
    return priv_cgroup_remove(value, err);
}

static int undo_process(const struct priv_ground *ground, const char *value,
                        struct tw_err *err)
{
    char *rest;
    long pid = strtol(value, &rest, 10);
    long long started = strtoll(rest, NULL, 10);
    int fd, r = 1;

    (void)ground;
    if (pid <= 1 || priv_start_time((pid_t)pid) != started)
        return 0;
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return errno == ESRCH ? 0 : tw_fail_errno(err, errno, "opening process %ld", pid);
    /* the number may have passed to another one between the look and the open */
    if (priv_start_time((pid_t)pid) != started)
        r = 0;
    else if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0)
        r = errno == ESRCH ? 0 : tw_fail_errno(err, errno, "killing process %ld", pid);
    (void)close(fd);
    return r;
}

/* one row per kind: constant, name in the journal, undo */
#define KINDS(X)                                                                         \
    X(TW_INTENT_FILE, "file", undo_file)                                                 \
    X(TW_INTENT_TREE, "tree", undo_tree)                                                 \
    X(TW_INTENT_POOL_TREE, "pool_tree", undo_pool_tree)                                  \
    X(TW_INTENT_CGROUP, "cgroup", undo_cgroup)                                           \
    X(TW_INTENT_PROCESS, "process", undo_process)
#define NAME(kind, name, undo) [kind] = (name),
#define UNDO(kind, name, undo) [kind] = (undo),

const char *const priv_intent_names[TW_INTENT_COUNT] = {KINDS(NAME)};
static undo_fn *const undos[TW_INTENT_COUNT] = {KINDS(UNDO)};

int priv_undo(const struct priv_ground *ground, const struct priv_record *record,
              struct tw_err *err)
{
    return undos[record->kind](ground, record->value, err);
}
