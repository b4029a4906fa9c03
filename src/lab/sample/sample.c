/* The table of sources, and what a difference of two readings says of a slot. */
#include "sample_internal.h"

#include "list.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define DECLARE(source) extern const struct sample_source source_##source;
TW_SAMPLE_LIST(DECLARE)
#define POINTER(source) &source_##source,
static const struct sample_source *const sources[] = {TW_SAMPLE_LIST(POINTER)};

static double own_cpu_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int tw_sampler_open(struct tw_twin *twin, struct tw_sampler **ret, struct tw_err *err)
{
    struct tw_sampler *s = tw_alloc(sizeof(*s));

    s->twin = twin;
    s->stat_fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    if (!sample_session(s, err)) {
        tw_sampler_close(s);
        return -ECONNREFUSED;
    }
    *ret = s;
    return 0;
}

void tw_sampler_close(struct tw_sampler *s)
{
    if (!s)
        return;
    tw_pg_close(s->pg);
    tw_close_p(&s->stat_fd);
    free(s);
}

double tw_sampler_cost_s(const struct tw_sampler *s)
{
    return s->cost_s;
}

static void nothing_known(struct tw_counters *c)
{
    double *const fields[] = {&c->wal_bytes,
                              &c->commits,
                              &c->rollbacks,
                              &c->blocks_read,
                              &c->blocks_hit,
                              &c->temp_bytes,
                              &c->deadlocks,
                              &c->checkpoints_timed,
                              &c->checkpoints_requested,
                              &c->checkpoint_write_s,
                              &c->checkpoint_sync_s,
                              &c->wal_records,
                              &c->wal_fpi,
                              &c->wal_syncs,
                              &c->wal_sync_s,
                              &c->dead_rows,
                              &c->foreign_busy_s};

    *c = (struct tw_counters){0};
    for (size_t i = 0; i < TW_COUNT_OF(fields); i++)
        *fields[i] = NAN;
}

int tw_sampler_read(struct tw_sampler *s, bool full, struct tw_counters *ret,
                    struct tw_err *err)
{
    double begun = own_cpu_s();
    int r = 0;

    nothing_known(ret);
    ret->at_ns = tw_now_ns();
    for (size_t i = 0; i < TW_COUNT_OF(sources) && r == 0; i++)
        if (full || !sources[i]->full)
            r = sources[i]->read(s, ret, err);
    s->cost_s += own_cpu_s() - begun;
    return r;
}

void tw_sample_slot(const struct tw_counters *before, const struct tw_counters *after,
                    struct tw_slot *slot)
{
    const struct tw_usage *b = &before->usage, *a = &after->usage;

    slot->cpu_s = a->cpu_s - b->cpu_s;
    slot->throttled_s = a->throttled_s - b->throttled_s;
    slot->read_bytes = a->read_bytes - b->read_bytes;
    slot->write_bytes = a->write_bytes - b->write_bytes;
    slot->memory_bytes = a->memory_bytes;
    slot->anon_bytes = a->anon_bytes;
    slot->wal_bytes = after->wal_bytes - before->wal_bytes;
    slot->temp_bytes = after->temp_bytes - before->temp_bytes;
    slot->foreign_cpu_s = after->foreign_busy_s - before->foreign_busy_s - slot->cpu_s;
}
