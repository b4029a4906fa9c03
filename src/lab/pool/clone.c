/* Clones: an overlay of a seed with an upper directory of its own, on the same file
 * system, so that copying a file up shares its blocks. Where nothing can be mounted, a
 * copy. */
#include "pool_internal.h"

#include "tw/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEAST_FREE_BYTES (INT64_C(64) << 20)

static int make_layers(struct tw_clone *clone, struct tw_err *err)
{
    static const struct {
        const char *name;
        unsigned mode;
    } parts[] = {{"upper", 0755}, {"work", 0700}, {"m", 0755}};

    if (mkdir(clone->dir, 0711) < 0)
        return tw_fail_errno(err, errno, "creating directory '%s'", clone->dir);
    for (size_t i = 0; i < TW_COUNT_OF(parts); i++) {
        tw_auto_free char *path = tw_strf("%s/%s", clone->dir, parts[i].name);

        if (mkdir(path, parts[i].mode) < 0)
            return tw_fail_errno(err, errno, "creating directory '%s'", path);
    }
    tw_step("pool.clone.layered");
    return 0;
}

/* The seed is named by its descriptor: by the time of the mount its name may lead to a
 * newer one. */
static int mount_layers(struct tw_clone *clone, struct tw_err *err)
{
    tw_auto_free char *lower = tw_strf("/proc/self/fd/%d/root", clone->seed);
    tw_auto_free char *upper = tw_strf("%s/upper", clone->dir);
    tw_auto_free char *work = tw_strf("%s/work", clone->dir);
    int r =
        tw_priv_overlay_mount(clone->pool->priv, lower, upper, work, clone->root, err);

    clone->mounted = r == 0;
    return r;
}

static int copy_layers(struct tw_clone *clone, struct tw_err *err)
{
    tw_auto_free char *from = tw_strf("/proc/self/fd/%d/root", clone->seed);
    int64_t bytes;

    return tw_copy_tree(from, clone->root, (unsigned)-1, (unsigned)-1, NULL, NULL, &bytes,
                        err);
}

/* A host may know overlays and still refuse this one: from then on clones are copies. */
static int fill(struct tw_clone *clone, struct tw_err *err)
{
    struct tw_pool *pool = clone->pool;
    struct tw_err why = {0};

    if (pool->method <= POOL_OVERLAY_NATIVE) {
        if (mount_layers(clone, &why) == 0)
            return 0;
        pool_method_set(pool, POOL_REFLINK_COPY, why.text);
    }
    return copy_layers(clone, err);
}

static void clone_free(struct tw_clone *clone)
{
    tw_close_p(&clone->seed);
    free(clone->name);
    free(clone->dir);
    free(clone->root);
    free(clone);
}

/* A full disk below the image ends its file system, and with it every twin on it. */
static int check_room(const struct tw_pool *pool, const char *name, struct tw_err *err)
{
    int64_t free_bytes = tw_pool_free_bytes(pool);

    if (free_bytes >= LEAST_FREE_BYTES)
        return 0;
    return tw_fail(
        err, -ENOSPC,
        "clone '%s' needs at least %lld bytes for what it will write, %lld are free "
        "below '%s': make room there or use another --state-dir",
        name, (long long)LEAST_FREE_BYTES, (long long)free_bytes,
        tw_priv_state_dir(pool->priv));
}

int tw_pool_clone(struct tw_pool *pool, const struct tw_seed *seed, const char *name,
                  struct tw_clone **ret_clone, struct tw_err *err)
{
    struct tw_clone *clone;
    int r;

    if (!pool_name_valid(name))
        return tw_fail(err, -EINVAL, "'%s' is no name of a clone: expected [a-z0-9-]",
                       name);
    if (seed->dir < 0)
        return tw_fail(err, -EINVAL, "seed '%s' is not committed yet", seed->key);
    r = check_room(pool, name, err);
    if (r < 0)
        return r;
    clone = tw_alloc(sizeof *clone);
    clone->pool = pool;
    clone->name = tw_strf("clones/%s-%s", tw_priv_id(pool->priv), name);
    clone->dir = tw_strf("%s/%s", pool->dir, clone->name);
    clone->root = tw_strf("%s/m", clone->dir);
    clone->seed = fcntl(seed->dir, F_DUPFD_CLOEXEC, 3); /* shares the lock */

    (void)pthread_mutex_lock(&pool->lock);
    clone->next = pool->clones;
    pool->clones = clone;
    (void)pthread_mutex_unlock(&pool->lock);

    r = tw_priv_intend(pool->priv, TW_INTENT_POOL_TREE, clone->name, &clone->token, err);
    if (r == 0)
        r = make_layers(clone, err);
    if (r == 0)
        r = fill(clone, err);
    if (r < 0) {
        (void)tw_pool_clone_remove(clone, NULL);
        return tw_wrap(err, r, "cloning seed '%s' as '%s'", seed->key, name);
    }
    tw_step("pool.clone.made");
    *ret_clone = clone;
    return 0;
}

const char *tw_clone_root(const struct tw_clone *clone)
{
    return clone->root;
}

static void forget(struct tw_clone *clone)
{
    (void)pthread_mutex_lock(&clone->pool->lock);
    for (struct tw_clone **p = &clone->pool->clones; *p; p = &(*p)->next) {
        if (*p == clone) {
            *p = clone->next;
            break;
        }
    }
    (void)pthread_mutex_unlock(&clone->pool->lock);
}

int tw_pool_clone_remove(struct tw_clone *clone, struct tw_err *err)
{
    struct tw_priv *priv = clone->pool->priv;
    int r = clone->mounted ? tw_priv_unmount(priv, clone->root, err) : 0;

    if (r == 0)
        r = tw_remove_tree(clone->dir, err);
    /* what stays keeps its record, for close and reap */
    if (r == 0)
        tw_priv_settled(priv, clone->token);
    forget(clone);
    clone_free(clone);
    tw_step("pool.clone.removed");
    return r;
}
