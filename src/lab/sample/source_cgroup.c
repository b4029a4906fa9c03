/* CPU, memory and I/O of the twin, from its cgroup. */
#include "sample_internal.h"

static int read_usage(struct tw_sampler *s, struct tw_counters *c, struct tw_err *err)
{
    return tw_sandbox_usage(tw_twin_sandbox(s->twin), &c->usage, err);
}

extern const struct sample_source source_cgroup;
const struct sample_source source_cgroup = {.name = "cgroup", .read = read_usage};
