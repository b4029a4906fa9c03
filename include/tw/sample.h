/* Reads counters of a twin: cgroup and the service's own statistics. One file per source.
 *
 * Units   as named; counters are totals since the twin began
 * Errors  a source that cannot be read leaves NaN
 * Source  docs/internals/load.md "Counters"; cgroups(7); PostgreSQL documentation, chapter 28 */
#ifndef TW_SAMPLE_H
#define TW_SAMPLE_H

#include "tw/twin.h"

struct tw_counters {
    int64_t at_ns;
    struct tw_usage usage;
    double cpu_unasked_s;                 /* CPU of the group before the service was asked */
    double wal_bytes;                     /* pg_current_wal_insert_lsn() - 0/0 */
    double commits, rollbacks, blocks_read, blocks_hit, temp_bytes, deadlocks; /* all databases */
    double checkpoints_timed, checkpoints_requested, checkpoint_write_s, checkpoint_sync_s;
    double wal_records, wal_fpi, wal_syncs, wal_sync_s; /* pg_stat_wal, from 14 on */
    double dead_rows;
    double foreign_busy_s;                /* busy time of the cores of the twin, all processes */
};
struct tw_sampler;
int tw_sampler_open(struct tw_twin *twin, struct tw_sampler **ret, struct tw_err *err);
void tw_sampler_close(struct tw_sampler *s);
/* full: the service's statistics too (one round trip); else only cgroup files. */
int tw_sampler_read(struct tw_sampler *s, bool full, struct tw_counters *ret,
                    struct tw_err *err);
/* Puts the difference of two readings into the slot. */
void tw_sample_slot(const struct tw_counters *before, const struct tw_counters *after,
                    struct tw_slot *slot);
/* Wait events of active sessions, sampled now: adds to counts. For the bottleneck. */
struct tw_wait {
    const char *event;   /* "LWLock:WALWrite", "Lock:transactionid", "CPU" for none */
    const char *statement; /* normalised; NULL */
    int64_t count;
};
struct tw_waits {
    TW_ARRAY(struct tw_wait) list;
};
int tw_sampler_waits(struct tw_sampler *s, struct tw_arena *a, struct tw_waits *waits,
                     struct tw_err *err);
double tw_sampler_cost_s(const struct tw_sampler *s); /* CPU seconds it used itself */
#endif
