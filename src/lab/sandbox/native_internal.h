/* A native sandbox: what its init is told, and the rows of its root. */
#ifndef NATIVE_INTERNAL_H
#define NATIVE_INTERNAL_H

#include "init_internal.h"

/* What init needs, prepared by the supervisor; the memory is init's own copy of the
 * supervisor's. */
struct native_plan {
    const struct tw_priv_cgroup *cgroup;
    const struct tw_filter *filter; /* NULL: none */
    const char *hostname, *empty_dir, *trusted_dir;
    struct sandbox_net net;
    int netns; /* to enter instead of a new one; -1: none */
    bool as_root;
    const struct tw_root_row *rows;
    size_t row_count;
    unsigned uid, gid;
    int control, events;
    struct init_board *board; /* shared */
};
int native_init(void *plan);

/* The rows of the root: fixed ones, then the mounts of the spec. names: those of
 * more_addresses that are no addresses. */
struct native_rows {
    TW_ARRAY(struct tw_root_row) list;
};
/* as_root: /etc/passwd knows the host's system users, whose numbers are those inside. */
void native_rows_make(struct tw_arena *a, const struct tw_sandbox_spec *spec, bool link,
                      struct native_rows *ret);
bool native_is_address(const char *text);
#endif
