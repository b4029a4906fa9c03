/* A sampler: every source of list.h that this twin has, read together. */
#include "sample_internal.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#define ROW(name) &sample_source_##name,
static const struct sample_source *const sources[] = {TW_SAMPLE_LIST(ROW)};
#undef ROW

struct tw_sampler {
    void *states[TW_COUNT_OF(sources)]; /* NULL: not at this twin */
    struct tw_sandbox *box;             /* borrowed */
    double cost_s;
};

static double thread_cpu_s(void)
{
    struct timespec t = {0};

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int tw_sampler_open(struct tw_twin *twin, struct tw_sampler **ret, struct tw_err *err)
{
    struct tw_sampler *s = tw_alloc(sizeof *s);
    double begun = thread_cpu_s();

    (void)err;
    s->box = tw_twin_sandbox(twin);
    for (size_t i = 0; i < TW_COUNT_OF(sources); i++)
        sources[i]->open(twin, &s->states[i]);
    s->cost_s = thread_cpu_s() - begun;
    *ret = s;
    return 0;
}

void tw_sampler_close(struct tw_sampler *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < TW_COUNT_OF(sources); i++)
        if (s->states[i])
            sources[i]->close(s->states[i]);
    free(s);
}

void sample_blank(struct tw_counters *ret)
{
    *ret = (struct tw_counters){
        .usage = {.cpu_s = NAN,
                  .throttled_s = NAN,
                  .memory_bytes = NAN,
                  .memory_peak_bytes = NAN,
                  .anon_bytes = NAN,
                  .file_bytes = NAN,
                  .shmem_bytes = NAN,
                  .read_bytes = NAN,
                  .write_bytes = NAN,
                  .cpu_pressure_s = NAN,
                  .cpu_starved_s = NAN,
                  .io_pressure_s = NAN,
                  .memory_pressure_s = NAN},
        .cpu_unasked_s = NAN,
        .wal_bytes = NAN,
        .commits = NAN,
        .rollbacks = NAN,
        .blocks_read = NAN,
        .blocks_hit = NAN,
        .temp_bytes = NAN,
        .deadlocks = NAN,
        .checkpoints_timed = NAN,
        .checkpoints_requested = NAN,
        .checkpoint_write_s = NAN,
        .checkpoint_sync_s = NAN,
        .wal_records = NAN,
        .wal_fpi = NAN,
        .wal_syncs = NAN,
        .wal_sync_s = NAN,
        .dead_rows = NAN,
        .foreign_busy_s = NAN,
    };
}

int tw_sampler_read(struct tw_sampler *s, bool full, struct tw_counters *ret,
                    struct tw_err *err)
{
    double begun = thread_cpu_s();
    struct tw_usage before;

    (void)err;
    sample_blank(ret);
    ret->at_ns = tw_now_ns();
    before = ret->usage;
    if (full && s->box)
        (void)tw_sandbox_usage(s->box, &before, NULL);
    for (size_t i = 0; i < TW_COUNT_OF(sources); i++)
        if (s->states[i] && (full || !sources[i]->asks))
            sources[i]->read(s->states[i], ret);
    ret->cpu_unasked_s = full ? before.cpu_s : ret->usage.cpu_s;
    s->cost_s += thread_cpu_s() - begun;
    return 0;
}

int tw_sampler_waits(struct tw_sampler *s, struct tw_arena *a, struct tw_waits *waits,
                     struct tw_err *err)
{
    double begun = thread_cpu_s();
    int r = -ENODATA;

    for (size_t i = 0; i < TW_COUNT_OF(sources) && r == -ENODATA; i++)
        if (s->states[i] && sources[i]->waits)
            r = sources[i]->waits(s->states[i], a, waits, err);
    s->cost_s += thread_cpu_s() - begun;
    return r == -ENODATA ? tw_fail(err, r, "no source tells what this twin waits for")
                         : r;
}

double tw_sampler_cost_s(const struct tw_sampler *s)
{
    return s->cost_s;
}

/* What its own limit withheld is the service's own; the rest went to others. The readings lie a little
 * outside the slot: its share of the time between them is its share of this. */
static double starved(const struct tw_counters *before, const struct tw_counters *after,
                      double slot_s)
{
    double waited = after->usage.cpu_starved_s - before->usage.cpu_starved_s;
    double throttled = after->usage.throttled_s - before->usage.throttled_s;
    double share = slot_s / tw_seconds(after->at_ns - before->at_ns);

    return isnan(waited) ? NAN
                         : fmin(fmax(waited - (throttled > 0 ? throttled : 0), 0) * share,
                                slot_s);
}

void tw_sample_slot(const struct tw_counters *before, const struct tw_counters *after,
                    struct tw_slot *slot)
{
    double busy = after->foreign_busy_s - before->foreign_busy_s;

    /* Asking the service costs it CPU too: before a slot it is read after the asking,
     * after a slot before it. */
    slot->cpu_s = after->cpu_unasked_s - before->usage.cpu_s;
    slot->throttled_s = after->usage.throttled_s - before->usage.throttled_s;
    slot->starved_s = starved(before, after, tw_seconds(slot->length_ns));
    slot->wal_bytes = after->wal_bytes - before->wal_bytes;
    slot->read_bytes = after->usage.read_bytes - before->usage.read_bytes;
    slot->write_bytes = after->usage.write_bytes - before->usage.write_bytes;
    slot->temp_bytes = after->temp_bytes - before->temp_bytes;
    slot->memory_bytes = after->usage.memory_bytes;
    slot->anon_bytes = after->usage.anon_bytes;
    /* The two clocks tick differently, so a quiet core can come out a little below
     * nothing. */
    slot->foreign_cpu_s =
        isnan(busy) || isnan(slot->cpu_s) ? NAN : fmax(0, busy - slot->cpu_s);
}
