/* Opening the pool: which way of sharing blocks this host gives, and what is left of
 * older runs. */
#include "pool_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LEAST_IMAGE_BYTES (INT64_C(1) << 30)
#define KEEP_FREE_BYTES                                                                  \
    (INT64_C(64) << 20) /* below the image: a full disk ends all twins */

static const struct {
    const char *name, *cost;
} methods[POOL_METHOD_COUNT] = {
    [POOL_OVERLAY_IMAGE] = {"overlay on reflink XFS", NULL},
    [POOL_OVERLAY_NATIVE] = {"overlay on the state directory's own reflinks", NULL},
    [POOL_REFLINK_COPY] = {"reflink copy",
                           "each clone makes every file anew, sharing its blocks"},
    [POOL_PLAIN_COPY] = {"plain copy",
                         "each clone copies all data: it takes that time and that space"},
};

void pool_method_set(struct tw_pool *pool, enum pool_method method, const char *why)
{
    pool->method = method;
    free(pool->why);
    free(pool->cost);
    pool->why = why ? tw_strf("%s", why) : NULL;
    pool->cost = NULL;
    if (methods[method].cost)
        pool->cost = tw_strf("%s%s%s%s", methods[method].cost, why ? " (" : "",
                             why ? why : "", why ? ")" : "");
}

bool pool_name_valid(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* Does a file system share blocks? Tried on two files without names. */
static bool shares_blocks(const char *dir)
{
    tw_auto_close int from = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    tw_auto_close int to = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    static const char block[4096] = {1};

    return from >= 0 && to >= 0 && write(from, block, sizeof block) == sizeof block &&
           ioctl(to, FICLONE, from) == 0;
}

static int64_t free_bytes_of(const char *path)
{
    struct statvfs vfs;

    return statvfs(path, &vfs) < 0 ? 0 : (int64_t)vfs.f_bavail * (int64_t)vfs.f_frsize;
}

/* ---- choosing the method ---- */

static int open_image(struct tw_pool *pool, struct tw_err *err)
{
    const char *state = tw_priv_state_dir(pool->priv);
    int64_t size = free_bytes_of(state) / 5 * 4;
    struct tw_err why = {0};
    int r;

    if (size < LEAST_IMAGE_BYTES)
        size = LEAST_IMAGE_BYTES;
    r = tw_priv_pool_mount(pool->priv, size & ~INT64_C(0xfffff), &why);
    if (r == -ENOSPC)
        return tw_fail(err, r, "%s", why.text);
    pool->mounted = r == 0;
    pool_method_set(pool, r == 0 ? POOL_OVERLAY_IMAGE : POOL_PLAIN_COPY,
                    r == 0 ? NULL : why.text);
    return 0;
}

static int choose(struct tw_pool *pool, struct tw_err *err)
{
    const char *state = tw_priv_state_dir(pool->priv);
    tw_auto_free char *image = tw_strf("%s/pool.img", state);
    bool shares = shares_blocks(state);

    if (!tw_priv_can_mount(pool->priv)) {
        pool_method_set(pool, shares ? POOL_REFLINK_COPY : POOL_PLAIN_COPY,
                        "mounting needs root");
        return 0;
    }
    if (shares && access(image, F_OK) < 0) {
        pool_method_set(pool, POOL_OVERLAY_NATIVE, NULL);
        return 0;
    }
    return open_image(pool, err);
}

/* ---- what no journal speaks of any more: after a loss of power the journals may be gone
 * ---- */

static bool is_orphan(const struct tw_pool *pool, const char *name)
{
    char id[TW_ID_LEN + 1];
    tw_auto_free char *journal = NULL;

    if (strlen(name) <= TW_ID_LEN || name[TW_ID_LEN] != '-')
        return false;
    memcpy(id, name, TW_ID_LEN);
    id[TW_ID_LEN] = '\0';
    journal = tw_strf("%s/run/%s.journal", tw_priv_state_dir(pool->priv), id);
    return tw_id_valid(id) && access(journal, F_OK) < 0;
}

static void sweep(struct tw_pool *pool, const char *folder)
{
    tw_auto_free char *path = tw_strf("%s/%s", pool->dir, folder);
    DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        tw_auto_free char *relative = tw_strf("%s/%s", folder, entry->d_name);

        if (is_orphan(pool, entry->d_name))
            (void)tw_priv_pool_discard(pool->priv, relative, NULL);
    }
    if (dir)
        (void)closedir(dir);
}

static int make_folders(struct tw_pool *pool, struct tw_err *err)
{
    static const char *const folders[] = {"seeds", "building", "clones", "old"};

    for (size_t i = 0; i < TW_COUNT_OF(folders); i++) {
        tw_auto_free char *path = tw_strf("%s/%s", pool->dir, folders[i]);

        if (mkdir(path, 0711) < 0 && errno != EEXIST)
            return tw_fail_errno(err, errno, "creating directory '%s'", path);
    }
    for (size_t i = 1; i < TW_COUNT_OF(folders); i++)
        sweep(pool, folders[i]);
    return 0;
}

int tw_pool_open(struct tw_priv *priv, struct tw_pool **ret_pool, struct tw_err *err)
{
    struct tw_pool *pool = tw_alloc(sizeof *pool);
    int r;

    pool->priv = priv;
    pool->dir = tw_strf("%s/pool", tw_priv_state_dir(priv));
    (void)pthread_mutex_init(&pool->lock, NULL);
    r = choose(pool, err);
    if (r == 0)
        r = make_folders(pool, err);
    if (r < 0) {
        tw_pool_close(pool);
        return tw_wrap(err, r, "opening the pool");
    }
    tw_step("pool.opened");
    *ret_pool = pool;
    return 0;
}

int tw_pool_disk(struct tw_pool *pool, enum tw_disk disk, struct tw_err *err)
{
    return pool->mounted ? tw_priv_pool_disk(pool->priv, disk, err)
                         : tw_fail(err, -ENODEV, "clones are on the host's own file system");
}

double tw_pool_writes(struct tw_pool *pool)
{
    return pool->mounted ? tw_priv_pool_writes(pool->priv) : NAN;
}

void tw_pool_close(struct tw_pool *pool)
{
    if (!pool)
        return;
    while (pool->clones)
        (void)tw_pool_clone_remove(pool->clones, NULL);
    if (pool->mounted)
        tw_priv_pool_unmount(pool->priv);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool->why);
    free(pool->cost);
    free(pool->dir);
    free(pool);
}

const char *tw_pool_method(const struct tw_pool *pool)
{
    return methods[pool->method].name;
}

const char *tw_pool_cost(const struct tw_pool *pool)
{
    return pool->cost;
}

/* On an image two things can run out: its own blocks, and those of the disk below, of
 * which the image has some already that its file system does not use. */
int64_t tw_pool_free_bytes(const struct tw_pool *pool)
{
    const char *state = tw_priv_state_dir(pool->priv);
    tw_auto_free char *image = tw_strf("%s/pool.img", state);
    int64_t own = free_bytes_of(pool->dir), host, spare;
    struct statvfs vfs;
    struct stat st;

    if (pool->method != POOL_OVERLAY_IMAGE)
        return own > KEEP_FREE_BYTES ? own - KEEP_FREE_BYTES : 0;
    host = free_bytes_of(state) - KEEP_FREE_BYTES;
    if (stat(image, &st) == 0 && statvfs(pool->dir, &vfs) == 0) {
        spare = (int64_t)st.st_blocks * 512 -
                (int64_t)(vfs.f_blocks - vfs.f_bfree) * (int64_t)vfs.f_frsize;
        host += spare > 0 ? spare : 0;
    }
    host = host > 0 ? host : 0;
    return own < host ? own : host;
}
