/* Sources of targets that are no single service of this host: one file each.
 *
 * Owns    results live in the arena given */
#ifndef ENV_INTERNAL_H
#define ENV_INTERNAL_H

#include "tw/env.h"

struct env_source {
    const char *name; /* the type of its targets: "docker" */
    int (*check_declaration)(const struct tw_target *t, struct tw_err *err);
    int (*targets)(struct tw_arena *a, const struct tw_target *t, struct tw_env_list *ret,
                   struct tw_err *err);
    int (*snapshot)(struct tw_arena *a, const struct tw_target *t, struct tw_snapshot *ret,
                    struct tw_err *err);
};
extern const struct env_source env_source_docker;
#endif
