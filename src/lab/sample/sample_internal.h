/* Shared by the sources of room sample. */
#ifndef SAMPLE_INTERNAL_H
#define SAMPLE_INTERNAL_H

#include "tw/pg.h"
#include "tw/sample.h"

struct tw_sampler {
    struct tw_twin *twin; /* borrowed */
    struct tw_pg *pg;     /* owned; NULL: not yet needed, or refused */
    bool no_pg;           /* it was refused once: not asked again */
    int stat_fd;          /* /proc/stat, owned */
    double cost_s;
};

/* A source fills its own fields and leaves the others alone; what it cannot read stays NaN. */
struct sample_source {
    const char *name;
    bool full; /* costs a round trip: only in full readings */
    int (*read)(struct tw_sampler *s, struct tw_counters *c, struct tw_err *err);
};

/* The session of the sampler: open once, kept. NULL with err when the service refuses. */
struct tw_pg *sample_session(struct tw_sampler *s, struct tw_err *err);

#endif
