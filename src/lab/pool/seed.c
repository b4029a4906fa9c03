/* Seeds: trees that clones are made of. One is built aside and takes its place whole. */
#include "pool_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define META_MAX ((size_t)64 << 20)

static struct tw_seed *seed_new(struct tw_pool *pool, const char *key, char *name)
{
    struct tw_seed *seed = tw_alloc(sizeof *seed);

    seed->pool = pool;
    seed->key = tw_strf("%s", key);
    seed->name = name;
    seed->root = tw_strf("%s/%s/root", pool->dir, name);
    seed->meta = tw_strf("%s", "");
    seed->dir = seed->lock = -1;
    return seed;
}

static int check_key(const char *key, struct tw_err *err)
{
    return pool_name_valid(key)
               ? 0
               : tw_fail(
                     err, -EINVAL,
                     "'%s' is no key of a seed: expected 1 to 64 characters of [a-z0-9-]",
                     key);
}

/* Holding the directory with a shared lock keeps it from being removed; that the name
 * still leads to it is looked at afterwards. */
static int hold(struct tw_seed *seed, const char *path)
{
    for (int tries = 0; tries < 16; tries++) {
        tw_auto_close int dir =
            open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat held, named;

        if (dir < 0 || flock(dir, LOCK_SH) < 0 || fstat(dir, &held) < 0)
            return -errno;
        if (stat(path, &named) == 0 && named.st_ino == held.st_ino &&
            named.st_dev == held.st_dev) {
            seed->dir = tw_take_fd(&dir);
            return 0;
        }
    }
    return -EBUSY;
}

static int read_meta(struct tw_seed *seed, struct tw_err *err)
{
    struct stat st;
    char *meta;
    int r = tw_read_file(seed->dir, "meta", META_MAX, &meta, NULL, err);

    if (r < 0)
        return r;
    free(seed->meta);
    seed->meta = meta;
    if (fstatat(seed->dir, "meta", &st, 0) == 0)
        seed->taken_wall_ns = (int64_t)st.st_mtim.tv_sec * TW_SEC_NS + st.st_mtim.tv_nsec;
    return 0;
}

int tw_pool_seed_find(struct tw_pool *pool, const char *key, struct tw_seed **ret_seed,
                      struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("%s/seeds/%s", pool->dir, key);
    tw_auto(tw_seed) *seed = NULL;
    int r = check_key(key, err);

    if (r < 0)
        return r;
    seed = seed_new(pool, key, tw_strf("seeds/%s", key));
    r = hold(seed, path);
    if (r == -ENOENT)
        return tw_fail(err, r, "there is no seed '%s'", key);
    if (r < 0)
        return tw_fail_errno(err, -r, "opening seed '%s'", key);
    r = read_meta(seed, err);
    if (r < 0)
        return tw_wrap(err, r, "opening seed '%s'", key);
    *ret_seed = tw_take_ptr(&seed);
    return 0;
}

static int lock_building(struct tw_seed *seed, struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("%s/building/%s.lock", seed->pool->dir, seed->key);

    seed->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (seed->lock < 0)
        return tw_fail_errno(err, errno, "creating '%s'", path);
    if (flock(seed->lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    tw_close_p(&seed->lock);
    seed->lock = -1;
    return tw_fail(err, -EBUSY,
                   "another run is taking the data for '%s': try again when it is done",
                   seed->key);
}

static int check_room(const struct tw_pool *pool, const char *key, int64_t need_bytes,
                      struct tw_err *err)
{
    int64_t free_bytes = tw_pool_free_bytes(pool);
    tw_auto(tw_arena) *a = NULL;

    if (need_bytes <= free_bytes)
        return 0;
    a = tw_arena_new();
    return tw_fail(
        err, -ENOSPC,
        "a copy for '%s' needs %s (%lld bytes), %s (%lld bytes) are free below '%s': "
        "make room there or use another --state-dir",
        key, tw_show_bytes(a, (double)need_bytes), (long long)need_bytes,
        tw_show_bytes(a, (double)free_bytes), (long long)free_bytes,
        tw_priv_state_dir(pool->priv));
}

int tw_pool_seed_begin(struct tw_pool *pool, const char *key, int64_t need_bytes,
                       struct tw_seed **ret_seed, struct tw_err *err)
{
    tw_auto(tw_seed) *seed = NULL;
    int r = check_key(key, err);

    if (r == 0)
        r = check_room(pool, key, need_bytes, err);
    if (r < 0)
        return r;
    seed = seed_new(pool, key, tw_strf("building/%s-%s", tw_priv_id(pool->priv), key));
    r = lock_building(seed, err);
    if (r < 0)
        return r;
    r = tw_priv_intend(pool->priv, TW_INTENT_POOL_TREE, seed->name, &seed->token, err);
    if (r < 0)
        return r;
    /* of an earlier try under this id, which could not be removed then */
    (void)tw_priv_pool_discard(pool->priv, seed->name, NULL);
    r = tw_make_dirs(seed->root, 0755, err);
    if (r < 0)
        return r;
    tw_step("pool.seed.begun");
    *ret_seed = tw_take_ptr(&seed);
    return 0;
}

static int sync_all(const char *path, struct tw_err *err)
{
    tw_auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || syncfs(fd) < 0)
        return tw_fail_errno(err, errno, "writing '%s' to disk", path);
    return 0;
}

/* What the name led to before comes to stand where the new one was built, and goes from
 * there. */
static int take_place(struct tw_seed *seed, const char *built, const char *place,
                      struct tw_err *err)
{
    if (renameat2(AT_FDCWD, built, AT_FDCWD, place, RENAME_EXCHANGE) == 0) {
        tw_step("pool.seed.exchanged");
        return tw_priv_pool_discard(seed->pool->priv, seed->name, err);
    }
    if (errno == ENOENT && rename(built, place) == 0)
        return 0;
    /* a file system without exchange: there is a moment without a seed */
    if (errno == EINVAL) {
        tw_auto_free char *old =
            tw_strf("old/%s-%s", tw_priv_id(seed->pool->priv), seed->key);
        tw_auto_free char *aside = tw_strf("%s/%s", seed->pool->dir, old);

        if (rename(place, aside) == 0 && rename(built, place) == 0)
            return tw_priv_pool_discard(seed->pool->priv, old, err);
    }
    return tw_fail_errno(err, errno, "putting seed '%s' in its place", seed->key);
}

int tw_pool_seed_commit(struct tw_seed *seed, const char *meta, struct tw_err *err)
{
    struct tw_pool *pool = seed->pool;
    tw_auto_free char *built = tw_strf("%s/%s", pool->dir, seed->name);
    tw_auto_free char *place = tw_strf("%s/seeds/%s", pool->dir, seed->key);
    tw_auto_free char *meta_path = tw_strf("%s/meta", built);
    int r = tw_write_file(meta_path, meta, strlen(meta), 0600, err);

    if (r == 0)
        r = sync_all(built, err);
    if (r == 0)
        r = hold(seed, built) < 0 ? tw_fail(err, -EIO, "opening '%s'", built) : 0;
    if (r == 0)
        r = read_meta(seed, err);
    if (r == 0)
        r = take_place(seed, built, place, err);
    if (r == 0)
        r = sync_all(pool->dir, err);
    if (r < 0)
        return r;

    tw_priv_settled(pool->priv, seed->token);
    tw_close_p(&seed->lock);
    seed->lock = -1;
    seed->token = 0;
    free(seed->name);
    free(seed->root);
    seed->name = tw_strf("seeds/%s", seed->key);
    seed->root = tw_strf("%s/root", place);
    tw_step("pool.seed.committed");
    return 0;
}

const char *tw_seed_root(const struct tw_seed *seed)
{
    return seed->root;
}

const char *tw_seed_meta(const struct tw_seed *seed)
{
    return seed->meta;
}

int64_t tw_seed_taken_wall_ns(const struct tw_seed *seed)
{
    return seed->taken_wall_ns;
}

void tw_seed_free(struct tw_seed *seed)
{
    if (!seed)
        return;
    tw_close_p(&seed->dir);
    if (seed->token && tw_priv_pool_discard(seed->pool->priv, seed->name, NULL) == 0)
        tw_priv_settled(seed->pool->priv, seed->token);
    tw_close_p(&seed->lock);
    free(seed->key);
    free(seed->name);
    free(seed->root);
    free(seed->meta);
    free(seed);
}

int tw_pool_seed_remove(struct tw_pool *pool, const char *key, struct tw_err *err)
{
    tw_auto_free char *place = tw_strf("%s/seeds/%s", pool->dir, key);
    tw_auto_free char *aside =
        tw_strf("building/%s-%s-removed", tw_priv_id(pool->priv), key);
    tw_auto_free char *path = tw_strf("%s/%s", pool->dir, aside);
    int64_t token;
    int r = check_key(key, err);

    if (r == 0)
        r = tw_priv_intend(pool->priv, TW_INTENT_POOL_TREE, aside, &token, err);
    if (r < 0)
        return r;
    /* away in one step: a seed is there whole or not at all */
    if (rename(place, path) < 0)
        r = errno == ENOENT ? tw_fail(err, -ENOENT, "there is no seed '%s'", key)
                            : tw_fail_errno(err, errno, "removing seed '%s'", key);
    else
        r = tw_priv_pool_discard(pool->priv, aside, err);
    if (r == 0 || r == -ENOENT)
        tw_priv_settled(pool->priv, token);
    return r;
}
