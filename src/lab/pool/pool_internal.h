/* What the files of pool share.
 *
 * <state>/pool is the image's mount, or a plain directory where nothing is mounted:
 *   seeds/<key>/{root/,meta}      building/<id>-<key>/ and <key>.lock
 *   clones/<id>-<name>/{upper/,work/,m/}    old/<name>: seeds put aside while clones use
 * them */
#ifndef POOL_INTERNAL_H
#define POOL_INTERNAL_H

#include "tw/pool.h"

#include <pthread.h>

enum pool_method {
    POOL_OVERLAY_IMAGE,  /* overlay, lower and upper on the image */
    POOL_OVERLAY_NATIVE, /* overlay on a state directory that shares blocks */
    POOL_REFLINK_COPY,   /* a copy that shares blocks */
    POOL_PLAIN_COPY,
    POOL_METHOD_COUNT
};
struct tw_pool {
    struct tw_priv *priv;
    char *dir;
    enum pool_method method;
    bool mounted;
    char *why;            /* why not a better method; NULL */
    char *cost;           /* owned; NULL */
    pthread_mutex_t lock; /* clones */
    struct tw_clone *clones;
};
struct tw_seed {
    struct tw_pool *pool;
    char *key, *name, *root, *meta; /* name: relative to the pool */
    int dir;  /* held with a shared flock while it is used, an exclusive one on lock while
                 built */
    int lock; /* -1: not being built */
    int64_t token, taken_wall_ns;
};
struct tw_clone {
    struct tw_pool *pool;
    struct tw_clone *next;
    char *name, *dir, *root;
    int seed; /* keeps the seed's lock */
    int64_t token;
    bool mounted;
};

void pool_method_set(struct tw_pool *pool, enum pool_method method, const char *why);
bool pool_name_valid(const char *name);
#endif
