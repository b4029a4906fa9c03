/* Sends work at intended times and records when it was answered. The generator is a process of its
 * own in a client sandbox; it holds the connections to both arms and is told slot by slot.
 *
 * Units   nanoseconds, requests per second
 * Shapes  a mix is a list of items; one item is one request (a transaction of statements)
 * Errors  -EINVAL bad script (file and line), -ECONNREFUSED, -ETIMEDOUT target gone silent,
 *         -EPIPE the generator died
 * Owns    a load owns its generator; mixes live in the arena
 * Source  latency from the intended start: G. Tene, wrk2 README; pgbench script language */
#ifndef TW_LOAD_H
#define TW_LOAD_H

#include "tw/num.h"
#include "tw/pg.h"
#include "tw/sandbox.h"
#include "tw/spec.h"

/* ---- what is sent ---- */
struct tw_load_variable {    /* drawn anew for every request */
    const char *name;
    enum {
        TW_VAR_UNIFORM,      /* whole number in [low, high] */
        TW_VAR_ZIPF,         /* exponent in shape */
        TW_VAR_GAUSS,
        TW_VAR_EXPONENTIAL,
        TW_VAR_PICK,         /* one of values, by weights */
        TW_VAR_EXPRESSION,   /* \set name expression */
    } kind;
    int64_t low, high;
    double shape;
    TW_ARRAY(const char *) values;
    TW_ARRAY(double) weights;
    const char *expression;  /* TW_VAR_EXPRESSION: the text. TW_VAR_PICK: NULL, or the name of a row
                                source: variables of one item with equal names and counts draw the
                                same index, so that (a, b) is a row that exists */
};
struct tw_load_statement {
    const char *sql;         /* with $1 … */
    TW_ARRAY(int) variables; /* index of the variable for $1, $2 … */
    double think_ms;         /* \sleep before it */
};
struct tw_load_item {
    const char *name;        /* "select by primary key of pgbench_accounts" */
    const char *text;        /* normalised SQL for reports */
    double weight;           /* share of requests */
    double source_share;     /* share of the source's total time; NaN */
    double source_mean_ms, source_rows, source_blocks; /* per call at the source; NaN unknown */
    bool writes;
    TW_ARRAY(struct tw_load_variable) variables;
    TW_ARRAY(struct tw_load_statement) statements; /* sent in one pipeline; more than one: BEGIN/END
                                                      stand among them as the script says */
};
struct tw_load_mix {
    const char *description; /* "8 statements of pg_stat_statements, 96 % of total time" */
    const char *source;      /* "pg_stat_statements" "table statistics" "script" "built-in" */
    const char *database;
    double coverage;         /* 0..1; NaN where nothing is known */
    TW_ARRAY(struct tw_load_item) items;
    TW_ARRAY(const char *) missing; /* statements not reproduced and why */
};
/* pg: a connection to the baseline twin. mixes: "select-only", "tpcb", "simple-update", paths of
 * pgbench scripts ("file.sql@3" with weight), or none: the target's own mix, from
 * pg_stat_statements of the snapshot, else guessed from the table statistics. */
int tw_load_mix_make(struct tw_arena *a, const struct tw_snapshot *s, const char *const *mixes,
                     size_t mix_count, struct tw_pg *pg, struct tw_load_mix *ret,
                     struct tw_err *err);
/* rows, blocks and mean time per call of each item on this twin against the source (within 25 %):
 * lowers coverage and fills missing for those that differ. */
int tw_load_mix_check(struct tw_arena *a, struct tw_load_mix *mix, struct tw_pg *pg,
                      struct tw_err *err);
/* One line per plan and its total cost, for every item and statement: EXPLAIN, generic values.
 * full (may be NULL) gets the whole plan texts, literals redacted. */
struct tw_load_plan {
    size_t item, statement;
    const char *line, *full; /* "Index Scan using pgbench_accounts_pkey on pgbench_accounts" */
    const char *shape;       /* node types and relations, nothing else: equal plans compare equal */
    double cost, rows;
    bool jit, parallel;
};
struct tw_load_plans {
    TW_ARRAY(struct tw_load_plan) list;
};
int tw_load_explain(struct tw_arena *a, const struct tw_load_mix *mix, struct tw_pg *pg,
                    struct tw_load_plans *ret, struct tw_err *err);
/* Runs each item a few times and gives the mean seconds per item (deadline per statement): for
 * plans turned bad, where a load would finish nothing. NaN: not finished by the deadline. */
int tw_load_try(struct tw_arena *a, const struct tw_load_mix *mix, struct tw_pg *pg, int times,
                double statement_timeout_s, double **ret_seconds, struct tw_err *err);

/* ---- sending it ---- */
struct tw_load;
struct tw_load_spec {
    const struct tw_load_mix *mix;
    const char *conninfo[TW_ARM_COUNT]; /* as seen from where the generator runs */
    int connections;                    /* per arm, at most */
    struct tw_sandbox *box;             /* client sandbox; NULL: a plain child (tests, bench) */
    const char *program;                /* the twin binary as seen there: runs "_generator" */
    const char *cpuset;                 /* NULL: any */
};
int tw_load_open(const struct tw_load_spec *spec, struct tw_load **ret, struct tw_err *err);
void tw_load_close(struct tw_load *load); /* owned by the caller of open; NULL is fine */
struct tw_load_order {
    enum tw_arm arm;
    double rate_per_s;    /* NaN: closed loop with clients connections */
    int clients;          /* connections to use; 0: all */
    int64_t length_ns;
    uint64_t seed;        /* both slots of a pair get the same one */
    bool keep_starts;
    double settle_s;      /* wait for late answers at the end at most; then cancelled and counted
                             as at least the slot */
};
/* Sends, waits, fills what the generator knows of the slot (the rest stays NaN). The latency
 * histogram is new (owned by the caller: tw_hist_free). */
int tw_load_slot(struct tw_load *load, const struct tw_load_order *order, struct tw_slot *ret,
                 struct tw_err *err);
/* Has the sessions of an arm tell the server their counts, which else lag by a second and more; each
 * does it with a transaction of its own (ret_transactions, may be NULL). Nothing before version 15. */
int tw_load_flush(struct tw_load *load, enum tw_arm arm, int *ret_transactions,
                  struct tw_err *err);
/* What the server said to failed requests since the last call: "53300 sorry, too many clients
 * already", with counts; one line each, most frequent first. */
struct tw_load_failure {
    const char *sqlstate, *text;
    int64_t count;
    enum tw_arm arm;
};
struct tw_load_failures {
    TW_ARRAY(struct tw_load_failure) list;
};
int tw_load_failures(struct tw_load *load, struct tw_arena *a, struct tw_load_failures *ret,
                     struct tw_err *err);
/* Mean seconds per item and arm since the start: (items x TW_ARM_COUNT), borrowed; NaN none. */
const double *tw_load_item_means(struct tw_load *load);

/* main() of the generator process: reads orders from fd 3. Returns an exit code. */
int tw_load_generator_main(int argc, char **argv);
#endif
