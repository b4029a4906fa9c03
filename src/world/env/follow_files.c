/* Configuration files and the directories that they stand in, by inotify: the directory is watched, since an
 * editor and a package manager put a new file in the place of the old one. */
#include "env_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define EVENTS                                                                           \
    (IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM |    \
     IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF)

struct watch {
    int wd;
    struct followed *one;
    char *dir, *name; /* owned */
};
struct env_files {
    int fd;
    struct watch *list;
    size_t count;
};

struct env_files *env_files_new(void)
{
    struct env_files *w = tw_alloc(sizeof *w);

    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return w;
}

void env_files_free(struct env_files *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->count; i++) {
        free(w->list[i].dir);
        free(w->list[i].name);
    }
    free(w->list);
    tw_close_p(&w->fd);
    free(w);
}

int env_files_fd(const struct env_files *w)
{
    return w->fd;
}

static int add_one(struct env_files *w, struct followed *one, const char *path,
                   struct tw_err *err)
{
    const char *slash = strrchr(path, '/');
    tw_auto_free char *dir = NULL;
    int wd;

    if (!slash)
        return tw_fail(err, -EINVAL, "'%s' is no path", path);
    dir = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
    wd = inotify_add_watch(w->fd, dir, EVENTS | IN_ONLYDIR | IN_MASK_ADD);
    if (wd < 0)
        return tw_fail_errno(err, errno, "'%s' cannot be watched", dir);
    w->list = tw_realloc_array(w->list, w->count + 1, sizeof(*w->list));
    w->list[w->count++] = (struct watch){wd, one, tw_take_ptr(&dir), strdup(slash + 1)};
    return 0;
}

int env_files_add(struct env_files *w, struct followed *one, struct tw_err *err)
{
    int watched = 0, r = 0;

    for (size_t i = 0; i < one->known.paths.count; i++) {
        const char *path = one->known.paths.items[i];
        char real[PATH_MAX];
        struct tw_err why;

        if (*path != '/')
            continue; /* what a program said, not a file */
        if (add_one(w, one, path, &why) == 0)
            watched++;
        else if (r == 0 && err)
            *err = why, r = why.code;
        /* What a link leads to is edited in its own place. */
        if (realpath(path, real) && !tw_streq(real, path))
            (void)add_one(w, one, real, NULL);
    }
    return watched ? 0 : r;
}

/* A new file beside those that are read counts when it is named like them: it may be included. */
static bool concerns(const struct watch *w, const char *name)
{
    const char *own = strrchr(w->name, '.'), *dot = strrchr(name, '.');

    return tw_streq(w->name, name) ||
           (own && dot && own != w->name && dot != name && tw_streq(own, dot)) ||
           /* sites-enabled and conf.d of some: names without any ending */
           (!own && !dot && tw_ends_with(w->dir, "-enabled"));
}

static bool take(struct env_files *w, const struct inotify_event *e)
{
    bool gone = e->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF);

    for (size_t i = 0; i < w->count; i++) {
        struct watch *one = &w->list[i];
        tw_auto_free char *what = NULL;

        if (one->wd != e->wd && !(e->mask & IN_Q_OVERFLOW))
            continue;
        if (!gone && e->len && !concerns(one, e->name))
            continue;
        if (!gone && !e->len && !(e->mask & IN_Q_OVERFLOW))
            continue; /* the directory's own times */
        what = tw_strf("%s%s%s", one->dir, e->len ? "/" : "", e->len ? e->name : "");
        env_follow_touched(one->one, what);
    }
    return gone;
}

bool env_files_read(struct env_files *w)
{
    char part[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool gone = false;
    ssize_t n;

    while ((n = read(w->fd, part, sizeof(part))) > 0)
        for (const char *at = part; at < part + n;) {
            const struct inotify_event *e = (const void *)at;

            gone |= take(w, e);
            at += sizeof(*e) + e->len;
        }
    return gone;
}
