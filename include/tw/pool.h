/* Seeds and clones of data, copy on write. A seed is a tree <seed>/root/<absolute path at the
 * target>; a clone is an overlay of it with an upper of its own, mounted in this process's mount
 * namespace. Kept on a sparse loop-mounted XFS (or the state directory itself when it has reflinks).
 *
 * Units   bytes
 * Errors  -ENOSPC with the bytes needed and free; -EBUSY another process is building this seed
 * Owns    seeds stay until they are replaced or removed; clones go with tw_pool_clone_remove,
 *         with the pool's close, or with reap
 * Source  docs/internals/sandbox.md "The pool" */
#ifndef TW_POOL_H
#define TW_POOL_H

#include "tw/priv.h"

struct tw_pool;
struct tw_seed;
struct tw_clone;
/* How clones are made here: "overlay on reflink XFS", "plain copy" …; cost is one sentence. */
int tw_pool_open(struct tw_priv *priv, struct tw_pool **ret_pool, struct tw_err *err);
void tw_pool_close(struct tw_pool *pool);
/* For whoever measures alone on this host, and puts it back. -ENODEV where clones stand on the host's own
 * file system. */
int tw_pool_disk(struct tw_pool *pool, enum tw_disk disk, struct tw_err *err);
double tw_pool_writes(struct tw_pool *pool); /* write requests so far; NaN unknown */
const char *tw_pool_method(const struct tw_pool *pool);
const char *tw_pool_cost(const struct tw_pool *pool); /* NULL: none worth telling */
int64_t tw_pool_free_bytes(const struct tw_pool *pool);

/* key: [a-z0-9-]. 0 and a seed, or -ENOENT. */
int tw_pool_seed_find(struct tw_pool *pool, const char *key, struct tw_seed **ret_seed,
                      struct tw_err *err);
/* An empty tree to fill at tw_seed_root(); committed it replaces the seed of that key as a whole.
 * Refuses when need_bytes do not fit (host's free space below the image counts too). */
int tw_pool_seed_begin(struct tw_pool *pool, const char *key, int64_t need_bytes,
                       struct tw_seed **ret_seed, struct tw_err *err);
/* meta: JSON text kept with the seed. Synced. */
int tw_pool_seed_commit(struct tw_seed *seed, const char *meta, struct tw_err *err);
const char *tw_seed_root(const struct tw_seed *seed); /* borrowed: a path in this namespace */
const char *tw_seed_meta(const struct tw_seed *seed); /* borrowed, "" while building */
int64_t tw_seed_taken_wall_ns(const struct tw_seed *seed);
void tw_seed_free(struct tw_seed *seed); /* aborts an uncommitted one */
TW_AUTO_DEFINE(tw_seed)
int tw_pool_seed_remove(struct tw_pool *pool, const char *key, struct tw_err *err);

int tw_pool_clone(struct tw_pool *pool, const struct tw_seed *seed, const char *name,
                  struct tw_clone **ret_clone, struct tw_err *err);
const char *tw_clone_root(const struct tw_clone *clone); /* merged tree, writable */
int tw_pool_clone_remove(struct tw_clone *clone, struct tw_err *err); /* taken */
#endif
