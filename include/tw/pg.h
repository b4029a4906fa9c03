/* PostgreSQL over libpq: connect, query, errors, SQL texts. Nothing that knows about twins.
 *
 * Units   deadlines in nanoseconds of the monotonic clock
 * Errors  -ECONNREFUSED nobody listens, -EACCES login refused, -ETIMEDOUT, -EPROTO the server said
 *         an error (SQLSTATE and text in err), -ENODATA no row
 * Owns    connections: tw_pg_close; result rows live in the arena given */
#ifndef TW_PG_H
#define TW_PG_H

#include "tw/base.h"

#include <jansson.h>

typedef struct pg_conn PGconn;

struct tw_pg; /* a connection */
/* as_uid: connect under this effective uid (peer authentication), or (unsigned)-1. */
int tw_pg_open(const char *conninfo, unsigned as_uid, int64_t deadline_ns, struct tw_pg **ret,
               struct tw_err *err); /* owned: tw_pg_close */
void tw_pg_close(struct tw_pg *pg);
PGconn *tw_pg_raw(struct tw_pg *pg); /* borrowed */
int tw_pg_version(struct tw_pg *pg); /* 150018 */

/* libpq has no way to name a link or a source address. What this thread connects by it from now on
 * leaves so (SO_BINDTODEVICE, bind); NULL: as the kernel likes. Borrowed until then. */
struct tw_pg_way {
    const char *device, *source; /* NULL: any */
};
void tw_pg_leave_by(const struct tw_pg_way *way);
/* The same for a socket of one's own. */
int tw_pg_leave(const struct tw_pg_way *way, int fd, int family);

struct tw_pg_rows {
    int rows, columns;
    const char **cells; /* row-major; NULL is SQL NULL */
};
const char *tw_pg_cell(const struct tw_pg_rows *r, int row, int column);
/* params: count text parameters; NULL when none. */
int tw_pg_query(struct tw_pg *pg, struct tw_arena *a, const char *sql, int count,
                const char *const *params, struct tw_pg_rows *ret, struct tw_err *err);
int tw_pg_exec(struct tw_pg *pg, const char *sql, struct tw_err *err);
int tw_pg_double(struct tw_pg *pg, const char *sql, double *ret, struct tw_err *err);
/* SQLSTATE of the last error, "" when none. */
const char *tw_pg_sqlstate(const struct tw_pg *pg);

/* Statements sent and bytes received over this connection: what a sync did to production. */
void tw_pg_cost(const struct tw_pg *pg, int *ret_statements, int64_t *ret_bytes);

/* The conninfo without its password (NULL: none), for programs whose command line all can read. */
int tw_pg_split_password(struct tw_arena *a, const char *conninfo, const char **ret_conninfo,
                         const char **ret_password, struct tw_err *err);
/* The value of one keyword of a conninfo, or NULL. */
const char *tw_pg_conninfo_value(struct tw_arena *a, const char *conninfo, const char *keyword);

/* What stands for a password in lists of users: "md5" and the sum. */
const char *tw_pg_md5_password(struct tw_arena *a, const char *password, const char *user);

char *tw_pg_quote_ident(struct tw_arena *a, const char *s);
char *tw_pg_quote_literal(struct tw_arena *a, const char *s);

/* ---- SQL texts (libpg_query) ---- */
/* "ALTER SYSTEM SET x = 1", "x = 1", "SET x TO 1", several lines: name/value pairs into the arena;
 * value NULL means RESET. -EINVAL with line and column. */
struct tw_pg_assignment {
    const char *name, *value;
    int line;
};
struct tw_pg_assignments {
    TW_ARRAY(struct tw_pg_assignment) list;
};
int tw_pg_parse_assignments(struct tw_arena *a, const char *text, struct tw_pg_assignments *ret,
                            struct tw_err *err);
/* Literals replaced by $n. The text itself, shortened, when it cannot be parsed. */
char *tw_pg_normalize(struct tw_arena *a, const char *sql);
/* A script as psql would run it: its statements in order. */
struct tw_pg_statement {
    const char *text;  /* without leading comments and the semicolon */
    const char *node;  /* of the parse tree: "AlterTableStmt" */
    int line;          /* of the script, from 1 */
    bool alone;        /* refused inside a transaction block, or commits by itself (VACUUM, DO …) */
};
struct tw_pg_script {
    TW_ARRAY(struct tw_pg_statement) list;
};
/* -EINVAL with line and column where PostgreSQL's own grammar says no, for commands of psql
 * ("\copy") and for COPY FROM STDIN, whose rows no statement carries. */
int tw_pg_split(struct tw_arena *a, const char *text, struct tw_pg_script *ret,
                struct tw_err *err);
/* The parse tree of the first statement, {"AlterTableStmt": {…}}: new reference, NULL when it cannot
 * be parsed. Nodes and locations as libpg_query gives them. */
json_t *tw_pg_tree(const char *sql);
/* The words of a statement, comments left out. */
struct tw_pg_token {
    size_t from, len;
    int depth; /* of parentheses around it */
    char kind; /* 'w' word, '"' quoted identifier, '\'' string, '0' number, else the character */
};
struct tw_pg_tokens {
    TW_ARRAY(struct tw_pg_token) list;
};
void tw_pg_tokens(struct tw_arena *a, const char *sql, struct tw_pg_tokens *ret);
bool tw_pg_token_is(const char *sql, const struct tw_pg_token *t, const char *word); /* any case */
/* Tables that a statement names, and whether it writes to them. */
struct tw_pg_relation {
    const char *schema, *name; /* schema NULL: by search_path */
    bool writes;
};
struct tw_pg_relations {
    TW_ARRAY(struct tw_pg_relation) list;
};
void tw_pg_relations(struct tw_arena *a, const char *sql, struct tw_pg_relations *ret);
#endif
