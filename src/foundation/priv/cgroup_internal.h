/* What the files about control groups share. */
#ifndef CGROUP_INTERNAL_H
#define CGROUP_INTERNAL_H

#include "priv_internal.h"

#define CGROUP_SOURCES 16

struct tw_priv_cgroup {
    struct tw_priv *priv;
    char *path; /* relative to each mount */
    int64_t token;
    bool foreign; /* an Engine made it, among its own: what stands above it is not ours */
    bool v2; /* limits and counters are those of v2 */
    bool ours[PRIV_CGROUP_HIERARCHIES];
    int dirs[PRIV_CGROUP_HIERARCHIES];  /* -1: not in this hierarchy */
    int joins[PRIV_CGROUP_HIERARCHIES]; /* files that a process enters by */
    int unified;                        /* borrowed from dirs */
    const char *used[8];                /* controllers */
    size_t used_count;
    const char *missing[8];
    size_t missing_count;
    int counters[CGROUP_SOURCES]; /* -2: not opened yet, -1: not here */
};

/* Directory of the group in the hierarchy of a controller ("" for v2), or -1. */
int cgroup_dir_of(const struct tw_priv_cgroup *g, const char *controller);
void cgroup_counters_init(struct tw_priv_cgroup *g);
void cgroup_counters_close(struct tw_priv_cgroup *g);
#endif
