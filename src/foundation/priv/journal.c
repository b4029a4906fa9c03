/* The journal: what was made, written down before it was made.
 *
 * A line is "<token> <kind> <value>\n"; "<token> -\n" says that the thing is gone. A line
 * without its end was cut by death, and what it announces was never begun. The file is
 * locked with a POSIX record lock, which no child inherits and which the kernel drops
 * with the process: a journal that can be locked belongs to a dead run. The same lock is
 * dropped when the process closes any descriptor of the file, so our own journals are
 * never opened a second time (see mine). */
#include "priv_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOURNAL_SUFFIX ".journal"
#define JOURNAL_MAX    ((size_t)16 * 1024 * 1024)

/* Journals that this process holds. */
static pthread_mutex_t mine_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    dev_t device;
    ino_t inode;
} mine[64];
static size_t mine_count;

static bool is_mine(const struct stat *st)
{
    bool found = false;

    for (size_t i = 0; i < mine_count && !found; i++)
        found = mine[i].device == st->st_dev && mine[i].inode == st->st_ino;
    return found;
}

static void forget_mine(const struct stat *st)
{
    (void)pthread_mutex_lock(&mine_lock);
    for (size_t i = 0; i < mine_count; i++) {
        if (mine[i].device == st->st_dev && mine[i].inode == st->st_ino) {
            mine[i] = mine[--mine_count];
            break;
        }
    }
    (void)pthread_mutex_unlock(&mine_lock);
}

static int lock_file(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_SETLK, &lock) < 0 ? -errno : 0;
}

/* A reaper may lock and remove the file between our creating and our locking it: then
 * again; and so long as it takes somebody of that id, just killed, to be gone. */
static int create_locked(const char *path, int *ret_fd, struct tw_err *err)
{
    struct stat st;
    int r = 0;

    for (int tries = 0; tries < 2000; tries++) {
        tw_auto_close int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        if (fd < 0)
            return tw_fail_errno(err, errno, "creating journal '%s'", path);
        r = lock_file(fd);
        if (r == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0) {
            if (mine_count == TW_COUNT_OF(mine))
                return tw_fail(err, -EMFILE, "this process has %zu journals open already",
                               mine_count);
            mine[mine_count].device = st.st_dev;
            mine[mine_count++].inode = st.st_ino;
            *ret_fd = tw_take_fd(&fd);
            return 0;
        }
        tw_sleep_ns(TW_MSEC_NS);
    }
    return tw_fail(err, -EBUSY,
                   "journal '%s' is held by another process: is this id in use?", path);
}

int priv_journal_open(struct tw_priv *p, struct tw_err *err)
{
    struct stat st;
    int r;

    p->journal_path = tw_strf("%s/run/%s" JOURNAL_SUFFIX, p->state_dir, p->id);
    (void)pthread_mutex_lock(&mine_lock);
    if (stat(p->journal_path, &st) == 0 && is_mine(&st))
        r = tw_fail(err, -EBUSY, "id '%s' is already in use by this process", p->id);
    else
        r = create_locked(p->journal_path, &p->journal_fd, err);
    (void)pthread_mutex_unlock(&mine_lock);
    if (r == 0)
        tw_step("priv.journal.opened");
    return r;
}

static int append(struct tw_priv *p, const char *line, struct tw_err *err)
{
    size_t len = strlen(line);
    ssize_t n;

    do
        n = write(p->journal_fd, line, len);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)len)
        return 0;
    return tw_fail_errno(err, n < 0 ? errno : ENOSPC, "writing journal '%s'",
                         p->journal_path);
}

int tw_priv_intend(struct tw_priv *p, enum tw_intent kind, const char *value,
                   int64_t *ret_token, struct tw_err *err)
{
    tw_auto_free char *line = NULL;
    int r;

    if (strchr(value, '\n'))
        return tw_fail(err, -EINVAL, "'%s' has a line break in it", value);
    (void)pthread_mutex_lock(&p->lock);
    line =
        tw_strf("%" PRId64 " %s %s\n", p->last_token + 1, priv_intent_names[kind], value);
    r = append(p, line, err);
    if (r == 0) {
        p->records =
            tw_realloc_array(p->records, p->record_count + 1, sizeof *p->records);
        p->records[p->record_count++] = (struct priv_record){
            .token = ++p->last_token, .kind = kind, .value = tw_strf("%s", value)};
        *ret_token = p->last_token;
    }
    (void)pthread_mutex_unlock(&p->lock);
    return r;
}

void tw_priv_settled(struct tw_priv *p, int64_t token)
{
    tw_auto_free char *line = tw_strf("%" PRId64 " -\n", token);

    (void)pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->record_count; i++) {
        if (p->records[i].token != token)
            continue;
        /* a settlement that cannot be written only makes reap look once more */
        (void)append(p, line, NULL);
        free(p->records[i].value);
        memmove(&p->records[i], &p->records[i + 1],
                (p->record_count - i - 1) * sizeof *p->records);
        p->record_count--;
        break;
    }
    (void)pthread_mutex_unlock(&p->lock);
}

/* Undoes in reverse. All are tried, the first failure is returned. */
static int undo_all(const struct priv_ground *ground, const struct priv_record *records,
                    size_t count, int *removed, struct tw_err *err)
{
    int first = 0;

    for (size_t i = count; i-- > 0;) {
        int r = priv_undo(ground, &records[i], first == 0 ? err : NULL);

        if (r > 0)
            (*removed)++;
        if (r < 0 && first == 0)
            first = r;
        tw_step("priv.reap.undone");
    }
    return first;
}

void priv_journal_close(struct tw_priv *p)
{
    struct priv_ground ground = priv_ground_of(p);
    int removed = 0, r;
    struct stat st;
    bool known;

    r = undo_all(&ground, p->records, p->record_count, &removed, NULL);
    for (size_t i = 0; i < p->record_count; i++)
        free(p->records[i].value);
    p->record_count = 0;
    known = fstat(p->journal_fd, &st) == 0;
    /* what could not be undone keeps its journal, for reap */
    if (r == 0)
        (void)unlink(p->journal_path);
    (void)close(tw_take_fd(&p->journal_fd));
    if (known)
        forget_mine(&st);
    tw_step("priv.journal.closed");
}

/* ---- reading what a dead run wrote ---- */

struct records {
    struct priv_record *items;
    size_t count;
};

static void records_done(struct records *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].value);
    free(list->items);
}

static void settle(struct records *list, int64_t token)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].token == token) {
            free(list->items[i].value);
            memmove(&list->items[i], &list->items[i + 1],
                    (list->count - i - 1) * sizeof *list->items);
            list->count--;
            return;
        }
    }
}

static void read_line(struct records *list, char *line)
{
    char *kind = strchr(line, ' '), *value;
    int64_t token;
    int index;

    if (!kind)
        return;
    *kind++ = '\0';
    if (tw_parse_int64(line, &token, NULL) < 0)
        return;
    if (tw_streq(kind, "-")) {
        settle(list, token);
        return;
    }
    value = strchr(kind, ' ');
    if (!value)
        return;
    *value++ = '\0';
    index = tw_name_index(kind, priv_intent_names, TW_INTENT_COUNT);
    if (index < 0)
        return;
    list->items = tw_realloc_array(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = (struct priv_record){
        .token = token, .kind = (enum tw_intent)index, .value = tw_strf("%s", value)};
}

static int read_records(int fd, struct records *list, struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("/proc/self/fd/%d", fd), *text = NULL;
    char *end;
    int r = tw_read_file(AT_FDCWD, path, JOURNAL_MAX, &text, NULL, err);

    if (r < 0)
        return r;
    for (char *line = text; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        read_line(list, line);
    }
    return 0;
}

/* Reading through /proc/self/fd opens the file a second time and closes it, which drops
 * the record lock: so a reaper holds an open-file-description lock beside it, and takes
 * that one first. */
static int lock_dead(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static int reap_journal(const struct priv_ground *ground, const char *path, int *removed,
                        struct tw_err *err)
{
    tw_auto_close int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct records list = {0};
    struct stat st;
    int r;

    if (fd < 0)
        return errno == ENOENT ? 0
                               : tw_fail_errno(err, errno, "opening journal '%s'", path);
    if (lock_dead(fd) < 0)
        return 0; /* its owner lives, or somebody else is reaping it */
    if (fstat(fd, &st) < 0 || st.st_nlink == 0)
        return 0; /* reaped while we waited */
    r = read_records(fd, &list, err);
    if (r == 0)
        r = undo_all(ground, list.items, list.count, removed, err);
    if (r == 0 && unlink(path) < 0 && errno != ENOENT)
        r = tw_fail_errno(err, errno, "removing journal '%s'", path);
    records_done(&list);
    if (r == 0)
        tw_step("priv.journal.reaped");
    return r;
}

static bool journal_name(const char *name, char ret_id[TW_ID_LEN + 1])
{
    if (strlen(name) != TW_ID_LEN + strlen(JOURNAL_SUFFIX) ||
        !tw_ends_with(name, JOURNAL_SUFFIX))
        return false;
    memcpy(ret_id, name, TW_ID_LEN);
    ret_id[TW_ID_LEN] = '\0';
    return tw_id_valid(ret_id);
}

/* The lock is held over the whole of it, so that no journal of this process is born
 * meanwhile. */
static int reap_dir(DIR *dir, const char *run_dir, struct priv_ground *ground,
                    int *removed, struct tw_err *err)
{
    char id[TW_ID_LEN + 1];
    struct dirent *entry;
    struct stat st;
    int first = 0, r;

    while ((entry = readdir(dir))) {
        if (!journal_name(entry->d_name, id) ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode) || is_mine(&st))
            continue;
        tw_auto_free char *path = tw_strf("%s/%s", run_dir, entry->d_name);

        ground->id = id;
        r = reap_journal(ground, path, removed, first == 0 ? err : NULL);
        if (r < 0 && first == 0)
            first = tw_wrap(err, r, "removing what run '%s' left", id);
    }
    return first;
}

int tw_priv_reap(const char *state_dir, int *ret_removed, struct tw_err *err)
{
    tw_auto_free char *real = realpath(state_dir, NULL);
    tw_auto_free char *run_dir = real ? tw_strf("%s/run", real) : NULL;
    struct priv_ground ground = {.state_dir = real,
                                 .mounts = geteuid() == 0 && priv_own_mounts()};
    int removed = 0, r;
    DIR *dir;

    dir = run_dir ? opendir(run_dir) : NULL;
    if (!dir && errno != ENOENT)
        return tw_fail_errno(err, errno, "reading '%s'", run_dir ? run_dir : state_dir);
    r = 0;
    if (dir) {
        (void)pthread_mutex_lock(&mine_lock);
        r = reap_dir(dir, run_dir, &ground, &removed, err);
        (void)pthread_mutex_unlock(&mine_lock);
        (void)closedir(dir);
    }
    if (r == 0)
        *ret_removed = removed;
    return r;
}

bool tw_priv_run_lives(const char *state_dir, const char *id)
{
    tw_auto_free char *path = tw_strf("%s/run/%s" JOURNAL_SUFFIX, state_dir, id);
    struct stat st;
    bool lives = false;

    if (!tw_id_valid(id))
        return false;
    (void)pthread_mutex_lock(&mine_lock);
    if (stat(path, &st) == 0) {
        tw_auto_close int fd = -1;

        if (is_mine(&st))
            lives = true;
        else if ((fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)) >= 0)
            lives = lock_dead(fd) < 0;
    }
    (void)pthread_mutex_unlock(&mine_lock);
    return lives;
}
