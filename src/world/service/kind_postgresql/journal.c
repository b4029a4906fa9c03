/* The journal's segments of a clone, as a server has them that has run for days: the next ones are there,
 * wholly written, and share no block with the seed. Without that a clone's flush waits for the making of
 * a segment, and for the file system's own log at the first write to each block: that is how clones are
 * made, not how the service serves, and it is a hundred times the time of a flush. */
#include "kind_pg_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* struct ControlFileData of all versions that we know: where the last checkpoint stands, its timeline. */
#define CONTROL_CHECKPOINT 32
#define CONTROL_TIMELINE   48
#define LEAST_SEGMENT      (INT64_C(1) << 20)
#define MOST_SEGMENT       (INT64_C(1) << 30)
#define CHUNK              (1 << 20)
/* What min_wal_size keeps by default: five segments, with the one that is written to. */
#define MOST_BYTES (INT64_C(80) << 20)

struct journal {
    int dir;
    uint32_t timeline;
    uint64_t first; /* the segment of the last checkpoint */
    struct stat like;
};

static const char *segment_name(struct tw_arena *a, const struct journal *j, uint64_t number)
{
    uint64_t each = (UINT64_C(1) << 32) / (uint64_t)j->like.st_size;

    return tw_arena_printf(a, "%08X%08X%08X", j->timeline, (unsigned)(number / each),
                           (unsigned)(number % each));
}

static bool is_segment_size(int64_t bytes)
{
    return bytes >= LEAST_SEGMENT && bytes <= MOST_SEGMENT && (bytes & (bytes - 1)) == 0;
}

/* Any file whose name is that of a segment tells how long they are and whose. */
static bool find_like(struct journal *j, const char *path)
{
    DIR *dir = opendir(path);
    bool found = false;

    for (struct dirent *e; dir && !found && (e = readdir(dir));)
        found = strlen(e->d_name) == 24 && strspn(e->d_name, "0123456789ABCDEF") == 24 &&
                fstatat(j->dir, e->d_name, &j->like, AT_SYMLINK_NOFOLLOW) == 0 &&
                S_ISREG(j->like.st_mode) && is_segment_size(j->like.st_size);
    if (dir)
        (void)closedir(dir);
    return found;
}

static int read_control(const char *root, const char *data_dir, struct journal *j,
                        struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("%s%s/global/pg_control", root, data_dir);
    tw_auto_free char *text = NULL;
    uint64_t checkpoint;
    size_t len = 0;
    int r = tw_read_file(AT_FDCWD, path, 65536, &text, &len, err);

    if (r < 0)
        return r;
    if (len < CONTROL_TIMELINE + sizeof j->timeline)
        return tw_fail(err, -EBADMSG, "'%s' is too short", path);
    memcpy(&checkpoint, text + CONTROL_CHECKPOINT, sizeof checkpoint);
    memcpy(&j->timeline, text + CONTROL_TIMELINE, sizeof j->timeline);
    j->first = checkpoint / (uint64_t)j->like.st_size;
    return 0;
}

static int fill(int fd, int64_t bytes, const volatile bool *stop)
{
    tw_auto_free char *zeros = tw_alloc(CHUNK);

    for (int64_t at = 0; at < bytes && !*stop; at += CHUNK)
        if (pwrite(fd, zeros, CHUNK, at) != CHUNK)
            return -EIO;
    return *stop ? -ECANCELED : fsync(fd) < 0 ? -errno : 0;
}

/* Under a name of its own until it is whole: the server may want that segment meanwhile. */
static int make_segment(const struct journal *j, const char *name, const volatile bool *stop)
{
    static const char own[] = "twin.segment";
    tw_auto_close int fd = openat(j->dir, own, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                                  j->like.st_mode & 0777);
    int r;

    if (fd < 0)
        return -errno;
    r = fchown(fd, j->like.st_uid, j->like.st_gid) < 0 ? -errno : fill(fd, j->like.st_size, stop);
    if (r < 0 || renameat2(j->dir, own, j->dir, name, RENAME_NOREPLACE) < 0)
        (void)unlinkat(j->dir, own, 0);
    return r;
}

static int own_segment(const struct journal *j, const char *name, const volatile bool *stop)
{
    tw_auto_close int fd = openat(j->dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return errno == ENOENT ? make_segment(j, name, stop) : -errno;
    if (fallocate(fd, FALLOC_FL_UNSHARE_RANGE, 0, j->like.st_size) < 0)
        return errno == EOPNOTSUPP ? 0 : -errno; /* nothing is shared there */
    return fdatasync(fd) < 0 ? -errno : 0;
}

int kind_pg_season(const struct tw_snapshot *s, const char *root, const volatile bool *stop,
                   struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const char *linked = kind_pg_wal_link(a, root, s->data_dir);
    const char *path = linked ? tw_arena_printf(a, "%s%s", root, linked)
                              : tw_arena_printf(a, "%s%s/pg_wal", root, s->data_dir);
    tw_auto_close int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct journal j = {.dir = dir};
    int64_t done = 0;
    int r;

    if (dir < 0)
        return tw_fail_errno(err, errno, "opening '%s'", path);
    if (!find_like(&j, path))
        return 0;
    r = read_control(root, s->data_dir, &j, err);
    for (uint64_t n = j.first; r == 0 && done < MOST_BYTES && !*stop; n++) {
        r = own_segment(&j, segment_name(a, &j, n), stop);
        done += j.like.st_size;
    }
    return r < 0 ? tw_fail_errno(err, -r, "the journal of the clone at '%s'", path) : 0;
}
