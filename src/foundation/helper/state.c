/* Who the daemon is, which files are its own, and what it gets to see. */
#include "helper_internal.h"

#include "tw/priv.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCOUNT   "twin"
#define OTHERWISE 61873u /* of the numbers that systemd gives to accounts of the moment */
#define SHARED                                                                           \
    03771 /* sticky: only its own is the daemon's to remove; group from the directory */

int tw_helper_account(const char *name, struct tw_owner *ret, struct tw_err *err)
{
    const struct passwd *pw;

    if (geteuid() != 0) {
        *ret = (struct tw_owner){geteuid(), getegid()};
        return 0;
    }
    pw = getpwnam(name ? name : ACCOUNT);
    if (pw && pw->pw_uid == 0)
        return tw_fail(err, -EINVAL, "the daemon cannot run as '%s': that is root",
                       pw->pw_name);
    if (pw) {
        *ret = (struct tw_owner){pw->pw_uid, pw->pw_gid};
        return 0;
    }
    if (name)
        return tw_fail(err, -ENOENT,
                       "there is no user '%s'; make it: useradd --system "
                       "--no-create-home --shell /usr/sbin/nologin %s",
                       name, name);
    pw = getpwuid(OTHERWISE);
    if (pw || getgrgid(OTHERWISE))
        return tw_fail(err, -EEXIST,
                       "the daemon needs a user of its own; make it: useradd "
                       "--system --no-create-home --shell /usr/sbin/nologin " ACCOUNT);
    *ret = (struct tw_owner){OTHERWISE, OTHERWISE};
    return 0;
}

/* ---- files ---- */

/* Of the state directory: what the daemon reads and writes, and what it may only read. Those that are
 * made here are there before the daemon could put something else in their place. */
static const struct share_row {
    const char *name;
    unsigned mode;
    bool owned;       /* by the daemon; else by root, its group reads */
    const char *text; /* of a file to be made; NULL: left out */
} rows[] = {
    {"twin.db", 0600, true, NULL},
    {"twin.db-wal", 0600, true, NULL},
    {"twin.db-shm", 0600, true, NULL},
    {"audit.key", 0600, true, NULL},
    {"audit.key.head", 0600, true, NULL},
    {"declared.json", 0640, false, "[]\n"},
    {"environments.json", 0640, false, "[]\n"},
    {"declared.secrets.json", 0600, false, "{}\n"},
    {"environments.secrets.json", 0600, false, "{}\n"},
    {"measuring.lock", 0600, false, ""},
    {"sandboxd.lock", 0600, false, ""},
};

/* Nothing that is a link to somebody else's file is given away. */
static int own(int dir, const char *name, unsigned uid, unsigned gid, unsigned mode,
               unsigned daemon, struct tw_err *err)
{
    tw_auto_close int fd =
        openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0)
        return errno == ENOENT ? 0 : tw_fail_errno(err, errno, "'%s'", name);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink > 1 ||
        (st.st_uid != 0 && (st.st_uid != daemon || uid != daemon)))
        return tw_fail(
            err, -EPERM,
            "'%s' in the state directory is not what it should be: a plain file of "
            "one name, of %s; put it aside",
            name, uid ? "root's or the daemon's user" : "root's");
    return fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0
               ? tw_fail_errno(err, errno, "giving '%s' to its owner", name)
               : 0;
}

static int make_file(int dir, const struct share_row *row, struct tw_err *err)
{
    tw_auto_close int fd = openat(
        dir, row->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    size_t len = strlen(row->text);

    if (fd < 0)
        return errno == EEXIST ? 0 : tw_fail_errno(err, errno, "making '%s'", row->name);
    return write(fd, row->text, len) == (ssize_t)len
               ? 0
               : tw_fail_errno(err, errno ? errno : ENOSPC, "writing '%s'", row->name);
}

/* A key elsewhere, named in the configuration, is the daemon's as well. Its directory stays as it is. */
static int share_key(const char *path, const struct tw_owner *daemon, struct tw_err *err)
{
    tw_auto_free char *head = tw_strf("%s.head", path);
    int r = own(AT_FDCWD, path, daemon->uid, daemon->gid, 0600, daemon->uid, err);

    return r < 0 ? r
                 : own(AT_FDCWD, head, daemon->uid, daemon->gid, 0600, daemon->uid, err);
}

int tw_helper_share(const char *state_dir, const char *audit_key,
                    const struct tw_owner *daemon, struct tw_err *err)
{
    tw_auto_close int dir = -1;
    int r = tw_make_dirs(state_dir, 0711, err);

    if (r < 0 || geteuid() != 0)
        return r;
    dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fchown(dir, 0, daemon->gid) < 0 || fchmod(dir, SHARED) < 0)
        return tw_fail_errno(err, errno, "preparing the state directory '%s'", state_dir);
    for (size_t i = 0; i < TW_COUNT_OF(rows) && r == 0; i++) {
        const struct share_row *row = &rows[i];

        if (row->text)
            r = make_file(dir, row, err);
        if (r == 0)
            r = own(dir, row->name, row->owned ? daemon->uid : 0, daemon->gid, row->mode,
                    daemon->uid, err);
    }
    return r < 0 || !audit_key ? r : share_key(audit_key, daemon, err);
}

/* ---- what it sees ---- */

int tw_helper_narrow(const char *state_dir, const char *also, struct tw_err *err)
{
    static const struct tw_root_row fixed[] = {
        {.kind = TW_ROOT_BIND, .to = "/usr", .from = "/usr", .exec = true},
        {.kind = TW_ROOT_BIND,
         .to = "/lib",
         .from = "/lib",
         .exec = true,
         .optional = true},
        {.kind = TW_ROOT_BIND,
         .to = "/lib64",
         .from = "/lib64",
         .exec = true,
         .optional = true},
        {.kind = TW_ROOT_BIND, .to = "/etc", .from = "/etc"},
        {.kind = TW_ROOT_BIND, .to = "/dev/null", .from = "/dev/null", .writable = true},
        {.kind = TW_ROOT_BIND, .to = "/dev/urandom", .from = "/dev/urandom"},
        {.kind = TW_ROOT_PROC, .to = "/proc"},
        {.kind = TW_ROOT_TMPFS, .to = "/tmp", .bytes = (int64_t)64 << 20, .mode = 01777},
        {.kind = TW_ROOT_BIND,
         .to = "/run/systemd/resolve",
         .from = "/run/systemd/resolve",
         .optional = true},
    };
    struct tw_root_row list[TW_COUNT_OF(fixed) + 2];
    tw_auto_free char *real = realpath(state_dir, NULL), *empty = NULL;
    tw_auto_free char *other = also ? realpath(also, NULL) : NULL;
    size_t n = TW_COUNT_OF(fixed);

    if (!real)
        return tw_fail_errno(err, errno, "'%s'", state_dir);
    empty = tw_strf("%s/empty", real);
    memcpy(list, fixed, sizeof(fixed));
    list[n++] = (struct tw_root_row){
        .kind = TW_ROOT_BIND, .to = real, .from = real, .writable = true};
    if (other && !tw_streq(other, real))
        list[n++] = (struct tw_root_row){
            .kind = TW_ROOT_BIND, .to = other, .from = other, .writable = true};
    if (unshare(CLONE_NEWNS) < 0)
        return tw_fail_errno(err, errno, "a view of the files of its own");
    return tw_priv_root_enter(empty, "/nonexistent", list, n, err);
}
