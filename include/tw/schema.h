/* SQL run on a clone under load: which locks it takes and how long, who queues behind, what it writes;
 * the same beside a transaction that stays open; and a safer way to the same end, really tried.
 *
 * Units   seconds, bytes, requests per second
 * Shapes  one struct tw_ddl for each statement of the script, in its order
 * Errors  what the server says to a statement is a result (tw_ddl.error); an error is ours:
 *         -ECONNRESET the twin went away, -ECANCELED, -ENOENT no such database
 * Owns    results live in the arena given; twins and loads are borrowed
 * Source  docs/internals/schema.md; lock modes: PostgreSQL manual, 13.3.1 */
#ifndef TW_SCHEMA_H
#define TW_SCHEMA_H

#include "tw/load.h"
#include "tw/spec.h"
#include "tw/twin.h"

/* ---- lock modes of tables, by the manual's table of conflicts ---- */
enum tw_lock_mode {
    TW_LOCK_NONE,
    TW_LOCK_ACCESS_SHARE,
    TW_LOCK_ROW_SHARE,
    TW_LOCK_ROW_EXCLUSIVE,
    TW_LOCK_SHARE_UPDATE_EXCLUSIVE,
    TW_LOCK_SHARE,
    TW_LOCK_SHARE_ROW_EXCLUSIVE,
    TW_LOCK_EXCLUSIVE,
    TW_LOCK_ACCESS_EXCLUSIVE,
    TW_LOCK_MODE_COUNT
};
extern const char *const tw_lock_mode_names[TW_LOCK_MODE_COUNT]; /* "ACCESS EXCLUSIVE" */
enum tw_lock_mode tw_lock_mode_find(const char *name); /* "AccessExclusiveLock" too; NONE: unknown */
const char *tw_lock_mode_blocks(enum tw_lock_mode mode); /* "reads and writes" … "nothing" */

/* ---- a script on a twin ---- */
struct tw_schema_spec {
    struct tw_twin *twin;
    const char *database;
    const struct tw_pg_script *script;
    const struct tw_load_mix *mix;
    struct tw_load *load;     /* beside the statements; NULL: none */
    enum tw_arm arm;          /* of the load that goes to this twin */
    double rate_per_s;        /* of that load */
    double target_rate_per_s; /* what blocked requests are counted with; NaN unknown */
    double statement_s;       /* a statement that takes longer is cancelled */
    double batches_s;         /* batches of a safer form are ended after so long; 0: not at all */
    bool retry;               /* a statement that gives up by lock_timeout is tried again … */
    const char *open_on;      /* … beside a transaction that has read this table; NULL: none */
    const volatile bool *cancel;
};
struct tw_schema_ran {
    TW_ARRAY(struct tw_ddl) statements;
    TW_ARRAY(const char *) created;    /* indexes, "public.orders_customer_idx" */
    TW_ARRAY(const char *) invalid, unanalysed;
    bool lasting; /* what a write costs may have changed in a way that only load shows: triggers of a
                     table that the mix writes to */
    int tries;    /* of statements that gave up and were tried again */
};
int tw_schema_run(struct tw_arena *a, const struct tw_schema_spec *spec,
                  struct tw_schema_ran *ret, struct tw_err *err);
/* A rate that leaves the twin most of its time: a share of its capacity, or target_rate_per_s where
 * that is less. */
int tw_schema_rate(const struct tw_schema_spec *spec, double *ret_rate, struct tw_err *err);
/* Each statement that takes a lock, as statements tells, beside a transaction that has read, then one
 * that has written that table: for patience_s, then it is given up. Adds to statements[i].beside. The
 * twin is of no further use. */
int tw_schema_beside(struct tw_arena *a, const struct tw_schema_spec *spec,
                     struct tw_ddl *statements, double patience_s, struct tw_err *err);

/* ---- a safer way ---- */

#define TW_SCHEMA_BATCHES "DO $twin$" /* how batches begin */
struct tw_schema_form {
    int of;                 /* index of the statement */
    const char *what, *note;
    struct tw_pg_script script;
    bool retry;
};
struct tw_schema_forms {
    TW_ARRAY(struct tw_schema_form) list;
};
/* For every statement that shuts out reads or writes as statements (of script) tells. pg: a twin in the
 * state before the script: its keys and columns are asked. */
int tw_schema_safer(struct tw_arena *a, const struct tw_pg_script *script,
                    const struct tw_ddl *statements, struct tw_pg *pg,
                    struct tw_schema_forms *ret, struct tw_err *err);
#endif
