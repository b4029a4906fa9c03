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
    const char *sql;         /* what is sent, with $1 … ($$ is a dollar, but for postgresql), in the
                                notation of the driver: postgresql SQL; http "METHOD /path", then
                                header lines, an empty line and the body, lines ended by \n; redis a
                                command in words, "quoted" where they hold blanks; tcp the bytes
                                (\n \r \t \\ \xHH in both), NULL or "": connect only */
    int expect;              /* http: the status that is an answer; 0: any below 400. tcp: 1: closing
                                without a word is an answer */
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
    const char *driver;      /* a row of lab/load/list.h: "postgresql" (or NULL) "http" "http2" "redis"
                                "tcp" */
    const char *description; /* "8 statements of pg_stat_statements, 96 % of total time" */
    const char *source;      /* "pg_stat_statements" "table statistics" "script" "built-in"
                                "requests" (of logs and statistics) "sampled keys" "nothing known" */
    const char *database;
    double coverage;         /* 0..1; NaN where nothing is known */
    TW_ARRAY(struct tw_load_item) items;
    TW_ARRAY(const char *) missing; /* statements not reproduced and why */
};
/* Is it a built-in mix, or a file that is there ("file.sql@3" with weight)? -EINVAL: neither. What is in
 * a file is read when the twins stand. */
int tw_load_mix_there(struct tw_arena *a, const char *spec, struct tw_err *err);
/* pg: a connection to the baseline twin. mixes: "select-only", "tpcb", "simple-update", paths of
 * pgbench scripts ("file.sql@3" with weight), or none: the target's own mix, from
 * pg_stat_statements of the snapshot, else guessed from the table statistics. */
int tw_load_mix_make(struct tw_arena *a, const struct tw_snapshot *s, const char *const *mixes,
                     size_t mix_count, struct tw_pg *pg, struct tw_load_mix *ret,
                     struct tw_err *err);
/* rows, blocks and mean time per call of each item on this twin against the source (within 25 %):
 * lowers coverage by the part that differs and fills missing for those that do. */
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
    /* As seen from where the generator runs. postgresql: a connection string, with "prepare=0"
     * where a pooler cannot keep prepared statements. Others: "address=10.213.0.2 port=8080
     * device=eth0 source=10.213.0.10 tls=1 …", the table in docs/internals/load.md. */
    const char *conninfo[TW_ARM_COUNT];
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
    const char *code, *text; /* code: SQLSTATE, HTTP status, first word of a Redis error, name of an
                                errno, "tls" "timeout" "closed" "protocol" "draw" */
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

/* ---- other services than PostgreSQL ---- */

/* A mix for driver. mixes: files with one request per line ("GET /path@3", "SET key:$id x",
 * docs/internals/load.md); none: the requests that the snapshot tells; else what is known: GET / of
 * every server name, GET and SET on keys of the baseline, a connection. at tells where the baseline
 * twin is reached (conninfo, box, program; its mix and connections are not read): every request is
 * tried there once, and what it answers is what is expected from then on. */
int tw_load_mix_make_at(struct tw_arena *a, const struct tw_snapshot *s, const char *driver,
                        const char *const *mixes, size_t mix_count,
                        const struct tw_load_spec *at, struct tw_load_mix *ret,
                        struct tw_err *err);

/* Many clients at once, connections that are kept idle, and an idle ladder: connections used once,
 * left alone for each rung's time, and used again. */
enum tw_load_rung_result {
    TW_RUNG_NOT_TRIED, /* longer than the bound */
    TW_RUNG_WORKED,
    TW_RUNG_CLOSED,    /* while it was idle: after closed_s */
    TW_RUNG_FAILED,    /* the second use failed: code and text */
};
extern const char *const tw_load_rung_names[];
struct tw_load_rung {
    double idle_s;
    enum tw_load_rung_result result;
    double closed_s;         /* NaN: was not closed */
    const char *code, *text; /* NULL: nothing was said */
};
struct tw_load_connections_order {
    enum tw_arm arm;
    int clients;             /* at once, each sends again when answered */
    int idle;                /* kept open beside them and not used */
    double hold_s;           /* how long */
    const double *rungs_s;   /* ascending; may be NULL */
    size_t rung_count;
    double bound_s;          /* real seconds that the ladder may take */
    uint64_t seed;
};
struct tw_load_connections {
    int asked, opened;       /* connections of clients, idle and ladder together */
    int idle_closed;         /* of the idle ones, when the hold ended */
    double open_s;           /* until the last of those that opened */
    int64_t done, errors, late;
    double throughput_per_s, p50_s, p95_s, p99_s; /* of the clients; NaN */
    TW_ARRAY(struct tw_load_rung) rungs;
    struct tw_load_failures failures;
};
/* spec->connections is not read. -ECONNREFUSED: not one connection could be opened. */
int tw_load_connections(struct tw_arena *a, const struct tw_load_spec *spec,
                        const struct tw_load_connections_order *order,
                        struct tw_load_connections *ret, struct tw_err *err);

/* ---- a stand-in for what a service calls and that is not cloned ---- */

/* The plan of a stand-in for these neighbours, as JSON for `twin _standin`: what the requests of the
 * snapshot tell of status, size and time behind the service. addresses: "10.0.3.7:8080", one for
 * each neighbour. */
char *tw_load_standin_plan(struct tw_arena *a, const struct tw_snapshot *s,
                           const char *const *addresses, const char *const *protocols,
                           size_t count);
/* main() of the stand-in: the plan as its argument, or on fd 3. It answers until it is told to end
 * (SIGTERM) or its parent is gone, and says "ready" on stdout when it listens. */
int tw_load_standin_main(int argc, char **argv);

/* main() of the generator process: reads orders from fd 3. Returns an exit code. */
int tw_load_generator_main(int argc, char **argv);
#endif
