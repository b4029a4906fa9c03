/* The handle: state directory, mount namespace, journal. */
#include "priv_internal.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* A container shows /proc/sys read-only; what is set there is of network namespaces of our own. */
static void open_sysctls(void)
{
    struct statvfs fs;

    if (statvfs("/proc/sys", &fs) == 0 && (fs.f_flag & ST_RDONLY))
        (void)mount(NULL, "/proc/sys", NULL,
                    MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

/* Keyed by the process, so that a fork of one that has a namespace gets one of its own:
 * mounts have to die with whoever made them. */
bool priv_own_mounts(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static pid_t owner;
    bool own;

    (void)pthread_mutex_lock(&lock);
    if (owner != getpid() && unshare(CLONE_NEWNS) == 0 &&
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0) {
        owner = getpid();
        open_sysctls();
    }
    own = owner == getpid();
    (void)pthread_mutex_unlock(&lock);
    return own;
}

struct priv_ground priv_ground_of(const struct tw_priv *p)
{
    return (struct priv_ground){
        .state_dir = p->state_dir, .id = p->id, .mounts = p->mounts};
}

/* The directories below the state directory that this room needs: the journals are nobody
 * else's business, the others are passed through by services of other users. */
static int make_state(const char *state_dir, char **ret_path, struct tw_err *err)
{
    static const struct {
        const char *name;
        unsigned mode;
    } dirs[] = {{"run", 0700}, {"empty", 0711}, {"pool", 0711}};
    int r = tw_make_dirs(state_dir, 0711, err);

    if (r < 0)
        return tw_wrap(err, r, "preparing the state directory");
    *ret_path = realpath(state_dir, NULL);
    if (!*ret_path)
        return tw_fail_errno(err, errno, "resolving '%s'", state_dir);
    for (size_t i = 0; i < TW_COUNT_OF(dirs); i++) {
        tw_auto_free char *dir = tw_strf("%s/%s", *ret_path, dirs[i].name);

        if (mkdir(dir, dirs[i].mode) < 0 && errno != EEXIST)
            return tw_fail_errno(err, errno, "creating directory '%s'", dir);
    }
    return 0;
}

int tw_priv_open(const char *state_dir, const char *id, struct tw_priv **ret_priv,
                 struct tw_err *err)
{
    struct tw_priv *p;
    int removed, r;

    if (!tw_id_valid(id))
        return tw_fail(err, -EINVAL, "'%s' is no id: expected %d characters of [a-z0-9]",
                       id, TW_ID_LEN);

    p = tw_alloc(sizeof *p);
    p->journal_fd = p->bridge_fd = -1;
    p->root = geteuid() == 0;
    p->id = tw_strf("%s", id);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_mutex_init(&p->net_lock, NULL);
    p->mounts = p->root && priv_own_mounts();
    r = make_state(state_dir, &p->state_dir, err);
    if (r == 0) {
        /* what cannot be removed now keeps its journal and is tried again by every start
         */
        (void)tw_priv_reap(p->state_dir, &removed, NULL);
        r = priv_journal_open(p, err);
    }
    if (r == 0)
        r = priv_spawner_open(p, err);
    if (r < 0) {
        tw_priv_close(p);
        return r;
    }
    *ret_priv = p;
    return 0;
}

void tw_priv_close(struct tw_priv *p)
{
    if (!p)
        return;
    if (p->journal_fd >= 0)
        priv_journal_close(p);
    priv_spawner_close(p);
    priv_net_close(p);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_mutex_destroy(&p->net_lock);
    free(p->records);
    free(p->journal_path);
    free(p->state_dir);
    free(p->id);
    free(p);
}

bool tw_priv_is_root(const struct tw_priv *p)
{
    return p->root;
}

bool tw_priv_can_mount(const struct tw_priv *p)
{
    return p->mounts;
}

const char *tw_priv_state_dir(const struct tw_priv *p)
{
    return p->state_dir;
}

const char *tw_priv_id(const struct tw_priv *p)
{
    return p->id;
}
