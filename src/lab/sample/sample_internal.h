/* What the files of this room share. */
#ifndef SAMPLE_INTERNAL_H
#define SAMPLE_INTERNAL_H

#include "list.h"
#include "tw/sample.h"

/* A place where counters come from. open leaves *ret_state NULL where there is nothing
 * for it at this twin; what read cannot tell stays NaN. */
struct sample_source {
    const char *name;
    bool asks; /* asks the service itself: only for a full reading */
    void (*open)(struct tw_twin *twin, void **ret_state);
    void (*read)(void *state, struct tw_counters *ret);
    int (*waits)(void *state, struct tw_arena *a, struct tw_waits *waits,
                 struct tw_err *err); /* NULL: knows none */
    void (*close)(void *state);
};
#define TW_SAMPLE_DECLARE(name) extern const struct sample_source sample_source_##name;
TW_SAMPLE_LIST(TW_SAMPLE_DECLARE)
#undef TW_SAMPLE_DECLARE

/* Of the processor time that /proc/stat (text) counts, what the cores of a list ("0-1,3")
 * spent busy, in seconds; NaN when none of them is there. NULL: all. */
double sample_busy_s(const char *text, const char *cores);
/* The statement that reads all counters in one row, for a server version (150018); -1
 * columns never: one column per row of the table in source_postgresql.c. */
char *sample_postgresql_sql(struct tw_arena *a, int version);
/* Puts the row of that statement into place. */
void sample_postgresql_row(const struct tw_pg_rows *rows, int version,
                           struct tw_counters *ret);
void sample_blank(struct tw_counters *ret);
#endif
