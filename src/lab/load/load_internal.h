/* What the files of this room share: mixes made ready to be sent, connections, the wire
 * between a load and its generator. */
#ifndef LOAD_INTERNAL_H
#define LOAD_INTERNAL_H

#include "list.h"
#include "tw/load.h"

/* ---- expressions of \set ---- */
struct load_value {
    bool real;
    int64_t i;
    double d;
};
static inline double load_value_real(const struct load_value *v)
{
    return v->real ? v->d : (double)v->i;
}
struct load_expression;
/* names: the variables set before this one; the last of equal names counts. */
int load_expression_compile(struct tw_arena *a, const char *text,
                            const char *const *names, size_t count,
                            struct load_expression **ret, struct tw_err *err);
/* NULL when it went well, else what was wrong ("division by zero"): static text. */
const char *load_expression_eval(const struct load_expression *e,
                                 const struct load_value *variables, struct tw_rng *rng,
                                 struct load_value *ret);
/* Is it one call of random*() with constant arguments? Then the variable can be drawn
 * without interpreting: fills kind, low, high and shape. */
bool load_expression_simple(const struct load_expression *e,
                            struct tw_load_variable *ret);
/* The distributions behind both. Whole numbers in [low, high]. */
int64_t load_draw_uniform(struct tw_rng *rng, int64_t low, int64_t high);
int64_t load_draw_zipf(struct tw_rng *rng, int64_t low, int64_t high, double exponent);
int64_t load_draw_gauss(struct tw_rng *rng, int64_t low, int64_t high, double width);
int64_t load_draw_exponential(struct tw_rng *rng, int64_t low, int64_t high, double cut);
#define LOAD_ZIPF_MIN  1.001
#define LOAD_ZIPF_MAX  1000.0
#define LOAD_GAUSS_MIN 2.0

/* ---- pgbench scripts ---- */
struct load_constant { /* known before the first request: "scale" */
    const char *name;
    int64_t value;
};
int load_script_parse(struct tw_arena *a, const char *name, const char *text,
                      const struct load_constant *constants, size_t count,
                      struct tw_load_item *ret, struct tw_err *err);

/* ---- a mix made ready ---- */
struct load_statement {
    const char *name; /* of the prepared statement */
    size_t number;    /* among all statements of the mix */
    bool sync; /* a Sync follows: outside BEGIN … END each statement is a transaction */
    bool empty; /* nothing to send: a \sleep at the end of a script */
    int64_t think_ns;
};
struct load_variable {
    struct load_expression *expression; /* TW_VAR_EXPRESSION */
    const double *cumulative;           /* TW_VAR_PICK with weights, else NULL */
    size_t leader; /* variable whose index is drawn for this one too; itself: none */
};
struct load_item {
    struct load_statement *statements;
    struct load_variable *variables;
};
struct load_program {
    const struct tw_load_mix *mix; /* borrowed */
    struct load_item *items;
    double *cumulative; /* of the weights, last is 1 */
    size_t max_variables, max_parameters, statement_count;
    bool pipeline; /* some item has several statements */
};
int load_program_new(struct tw_arena *a, const struct tw_load_mix *mix,
                     struct load_program **ret, struct tw_err *err);
size_t load_program_pick(const struct load_program *p, struct tw_rng *rng);
/* The values of one request: texts[v] is what is sent for variable v. */
#define LOAD_TEXT_MAX 32
struct load_draw {
    struct load_value *values;
    const char **texts;
    char (*room)[LOAD_TEXT_MAX];
};
void load_draw_init(struct tw_arena *a, const struct load_program *p,
                    struct load_draw *ret);
/* NULL, or why not: static text. */
const char *load_draw_item(const struct load_program *p, size_t item, struct tw_rng *rng,
                           struct load_draw *d);
/* Fills the parameters $1 … of a statement from the values drawn; returns how many. */
int load_draw_parameters(const struct tw_load_statement *s, const struct load_draw *d,
                         const char **ret);

/* ---- what is sent, with holes for the parameters (template.c) ---- */
struct load_piece {
    const char *text; /* NULL: parameter */
    size_t len, parameter;
};
struct load_template {
    TW_ARRAY(struct load_piece) pieces;
    size_t fixed;   /* bytes of text in all pieces */
    bool parameters; /* some piece is one */
};
/* "$1" … are parameters, of which there are so many; "$$" is a dollar, any other stands for
 * itself. */
void load_template_compile(struct tw_arena *a, const char *text, size_t len,
                           size_t parameters, struct load_template *ret);
size_t load_template_length(const struct load_template *t, const char *const *parameters);
void load_template_render(const struct load_template *t, const char *const *parameters,
                          struct tw_buf *to);
char *load_bytes_copy(struct tw_arena *a, const void *bytes, size_t len); /* and a NUL */
/* Resolves \n \r \t \0 \" \\ \xHH; returns how many bytes ret holds (a NUL more). */
char *load_unescape(struct tw_arena *a, const char *text, size_t len, size_t *ret_len);
/* Doubles the dollars of a text that has no parameters. */
char *load_template_quote(struct tw_arena *a, const char *text);

/* ---- where an arm is (endpoint.c) ---- */
struct ssl_ctx_st;
struct ssl_session_st;
struct load_endpoint {
    const char *address, *device, *source, *host, *server_name, *user, *password;
    const char *ca_file, *tls_min, *tls_max, *ciphers, *alpn;
    int64_t port, db, streams;
    int64_t keepalive; /* -1: not said, as the protocol is used mostly */
    bool tls, verify, resume;
    struct load_address *to, *from; /* as the kernel wants them; from may be NULL */
    struct ssl_ctx_st *context;     /* made by load_endpoint_ready */
    struct ssl_session_st *session; /* of the last handshake, to be used again */
};
/* "name=value" words, a value with blanks in 'quotes'. -EINVAL names what is wrong. */
int load_endpoint_parse(struct tw_arena *a, const char *text, struct load_endpoint *ret,
                        struct tw_err *err);
/* Finds addresses and loads certificates: blocks, so it is done before the first slot. */
int load_endpoint_ready(struct tw_arena *a, struct load_endpoint *e, struct tw_err *err);

/* ---- what went wrong ---- */
struct load_fault {
    char code[16]; /* as in struct tw_load_failure */
    char text[240];
};
/* Cuts what is too long; text ends at the first line's end. */
void load_fault_set(struct load_fault *f, const char *code, const char *text);
void load_fault_errno(struct load_fault *f, int errnum, const char *doing);

/* ---- a stream of bytes, encrypted or not (stream.c); nothing blocks ---- */
struct ssl_st;
struct load_stream {
    const struct load_endpoint *endpoint;
    int fd; /* -1: closed */
    enum { LOAD_STREAM_CLOSED, LOAD_STREAM_CONNECTING, LOAD_STREAM_SHAKING, LOAD_STREAM_OPEN } step;
    struct ssl_st *tls;
    struct tw_buf out; /* what could not be sent yet, from sent on */
    size_t sent;
    bool tls_wants_write;
    struct load_fault *fault; /* borrowed: where failures are told */
};
#define LOAD_STREAM_OUT_MAX ((size_t)256 << 20)
/* All return 0 or more, or a negative errno with the fault set. */
int load_stream_open(struct load_stream *s, const struct load_endpoint *e,
                     struct load_fault *fault);
int load_stream_advance(struct load_stream *s); /* 1: open, 0: not yet */
int load_stream_write(struct load_stream *s, const void *data, size_t len);
int load_stream_flush(struct load_stream *s); /* 1: all is sent */
/* Bytes read; 0: the other end closed; -EAGAIN: nothing there now (no fault is set). */
ssize_t load_stream_read(struct load_stream *s, void *to, size_t room);
/* Did TLS agree on this protocol? */
bool load_stream_speaks(const struct load_stream *s, const char *protocol);
unsigned load_stream_events(const struct load_stream *s);
/* reset: no TIME_WAIT stays behind. */
void load_stream_close(struct load_stream *s, bool reset);
/* One buffer for all: there is one thread, and nobody keeps bytes in it. */
#define LOAD_SCRATCH ((size_t)128 << 10)
extern char load_scratch[LOAD_SCRATCH];

/* ---- connections and drivers ---- */
enum load_state { LOAD_CLOSED, LOAD_OPENING, LOAD_IDLE, LOAD_BUSY, LOAD_THINKING };
enum load_event {
    LOAD_NOTHING,  /* go on waiting */
    LOAD_OPENED,   /* may take requests */
    LOAD_ANSWERED, /* the request is done */
    LOAD_REFUSED, /* the request failed, the connection lives (state says when it is idle)
                   */
    LOAD_RESTED,  /* was tidying up after a refusal, now idle */
    LOAD_PAUSED,  /* a \sleep: call resume at wake_ns */
    LOAD_LOST,    /* the connection is gone, and the request with it */
};
struct load_conn {
    enum load_state state;
    int fd;           /* (driver) what to watch, -1: nothing */
    unsigned events;  /* (driver) EPOLLIN | EPOLLOUT */
    int64_t wake_ns;  /* thinking: when to resume; closed: when to reopen */
    struct load_fault fault; /* (driver) the last failure */
    struct load_draw draw;
    size_t item, statement;
    int64_t intended_ns, sent_ns, idle_ns;
    bool requested; /* a request that counts is under way */
    bool cancelled; /* (generator) the server was asked to end it and has not said that it did */
    enum load_event last; /* (generator) what happened to it last, … */
    int64_t lost_ns;      /* … and when it was lost */
    const void *target;   /* (generator) what aim() made of the arm's endpoint */
    size_t index;         /* (generator) its place in the arm */
    bool strict; /* (generator) a connection closed by the server is a loss, never opened again in
                    silence */
    bool renewed; /* (driver) fd is another one than before, whatever its number */
    struct tw_buf *reply; /* (generator) the answer is kept here; NULL: it is not */
    int status;           /* (driver) http: of the last answer */
    int watched_fd; /* (generator) */
    unsigned watched_events;
    void *own; /* (driver) */
};
/* Rests until then: a driver's answer to a think time. */
static inline enum load_event load_conn_pause(struct load_conn *c, int64_t wake_ns)
{
    c->state = LOAD_THINKING;
    c->wake_ns = wake_ns;
    return LOAD_PAUSED;
}
/* ---- connections of drivers with a stream each (stream_conn.c) ----
 * Their c->own begins with a struct load_stream, their c->target with a struct load_endpoint. */
void load_conn_show(struct load_conn *c); /* tells the generator what to watch */
enum load_event load_conn_lost(struct load_conn *c); /* the fault is set already */
int load_conn_connect(struct load_conn *c); /* anew; negative errno with the fault set */
void load_conn_abandon(struct load_conn *c);
void load_conn_end(struct load_conn *c, bool reset); /* frees c->own, which may be NULL */

/* A protocol. Nothing here blocks. Times come from the generator. */
struct load_driver {
    const char *name;
    /* Once per arm, may block: the endpoint read, requests made ready. */
    int (*aim)(struct tw_arena *a, const struct load_program *p, const char *endpoint,
               void **ret_target, struct tw_err *err);
    void (*open)(struct load_conn *c, const struct load_program *p);
    /* Sends the request of c->item with the values of c->draw. */
    enum load_event (*send)(struct load_conn *c, const struct load_program *p,
                            int64_t now_ns);
    enum load_event (*ready)(struct load_conn *c, const struct load_program *p,
                             int64_t now_ns); /* its fd is */
    enum load_event (*resume)(struct load_conn *c, const struct load_program *p,
                              int64_t now_ns);
    /* What happened to other connections by the last call (streams that share a socket);
     * NULL: nothing more. May be NULL. */
    struct load_conn *(*others)(const void *target, enum load_event *ret);
    /* Gives up the request of a busy connection at once, which is idle then. May be NULL:
     * then cancel is there. */
    void (*abandon)(struct load_conn *c);
    /* Has an idle session tell its counts; false: it need not, or cannot. LOAD_RESTED
     * follows. May be NULL. */
    bool (*flush)(struct load_conn *c);
    /* Asks for the requests of these connections to be given up; may block (it runs in a
     * process of its own). */
    void (*cancel)(struct load_conn *conns, size_t n);
    /* May requests be cancelled there? Else their connections are closed. NULL: they may. */
    bool (*may_cancel)(const void *target);
    void (*close)(struct load_conn *c);
};
#define TW_LOAD_DECLARE(name) extern const struct load_driver load_driver_##name;
TW_LOAD_LIST(TW_LOAD_DECLARE)
#undef TW_LOAD_DECLARE
/* Borrowed, or NULL. */
const struct load_driver *load_driver_find(const char *name);

/* ---- the wire: length-prefixed messages over one stream socket ---- */
enum load_message { LOAD_MSG_HELLO = 1, LOAD_MSG_READY, LOAD_MSG_ORDER, LOAD_MSG_RESULT,
                    LOAD_MSG_PROBE, LOAD_MSG_CONNECTIONS };
#define LOAD_MSG_MAX ((size_t)64 * 1024 * 1024)
int load_message_send(int fd, enum load_message type, const struct tw_buf *payload,
                      int64_t deadline_ns);
/* payload is overwritten. -EPIPE: the other end is gone, -ETIMEDOUT. deadline_ns 0: for
 * ever. */
int load_message_receive(int fd, enum load_message *ret_type, struct tw_buf *payload,
                         int64_t deadline_ns);
struct load_reader {
    const char *at, *end;
    bool bad; /* ran out of bytes */
};
void load_put_int(struct tw_buf *b, int64_t value);
void load_put_real(struct tw_buf *b, double value);
void load_put_text(struct tw_buf *b, const char *text); /* may be NULL */
void load_put_bytes(struct tw_buf *b, const void *data, size_t len);
int64_t load_get_int(struct load_reader *r);
double load_get_real(struct load_reader *r);
const char *load_get_text(struct load_reader *r, struct tw_arena *a);
const void *load_get_bytes(struct load_reader *r, size_t *ret_len); /* borrowed */
void load_put_mix(struct tw_buf *b, const struct tw_load_mix *mix);
int load_get_mix(struct load_reader *r, struct tw_arena *a, struct tw_load_mix *ret);

/* What a generator says of a slot, in front of histogram, starts, items and failures. */
struct load_result {
    int64_t start_ns, length_ns, sent, done, errors, late;
    double lag99_s, cpu_s;
};

/* ---- making mixes ---- */
/* A connection to a database of the server behind pg: pg itself where it is there
 * already. Close it with load_database_close. */
int load_database_open(struct tw_pg *pg, const char *database, struct tw_pg **ret,
                       struct tw_err *err);
void load_database_close(struct tw_pg *pg, struct tw_pg *opened);

struct load_column { /* one column as the twin's catalogue knows it */
    const char *schema, *table, *name, *type;
    char category; /* pg_type.typcategory: N number, S text, D date or time, … */
    bool integer, unique, leads_index, indexed, fixed; /* fixed: no value may be given */
    int key_position; /* in the primary key, else in a unique one: 1 …; 0: not in it */
    int key_width;    /* columns of that key */
    double rows, pages, distinct, correlation; /* rows, pages: of the table */
    bool bounds_read;
    double low, high; /* integers that lead an index, once asked for; NaN unknown */
};
struct load_columns {
    TW_ARRAY(struct load_column) list;
};
struct load_relation {
    const char *schema, *name,
        *alias; /* schema (then: what is visible), alias may be NULL */
};
int load_columns_read(struct tw_arena *a, struct tw_pg *pg,
                      const struct load_relation *relations, size_t count,
                      struct load_columns *ret, struct tw_err *err);
char *load_table_name(struct tw_arena *a, const struct load_column *c); /* quoted */
/* Integers without gaps: any number between low and high is in the table. Reads the
 * bounds. */
bool load_column_dense(struct tw_arena *a, struct tw_pg *pg, struct load_column *c);
/* "schema.table TABLESAMPLE …": about LOAD_SAMPLE rows from all over the table, once
 * "LIMIT LOAD_SAMPLE" is put at the end of the query and "AND" the ret_filter. */
#define LOAD_SAMPLE       1000
#define LOAD_SAMPLE_PAGES 100.0  /* enough for keys … */
#define LOAD_SORT_PAGES   1000.0 /* … and for where a range ends */
char *load_sample_from(struct tw_arena *a, const struct load_column *c, double pages,
                       const char **ret_filter);
/* Rows of the columns named, as texts, none of them NULL. */
int load_sample_rows(struct tw_arena *a, struct tw_pg *pg,
                     const struct load_column *const *columns, size_t count,
                     struct tw_pg_rows *ret, struct tw_err *err);
/* A variable per key column, drawn together: columns are those of one table. */
int load_key_variables(struct tw_arena *a, struct tw_pg *pg,
                       struct load_column *const *columns, size_t count,
                       struct tw_load_item *item, struct tw_err *err);
struct tw_load_item load_item_new(void); /* weight 0, the source's figures unknown */

/* The database in which the target spends its time: statements, else tables decide. NULL.
 */
const char *load_main_database(const struct tw_snapshot *s);
/* ---- a statement read (query.c) ---- */
enum load_role { /* of a parameter, in order of what it tells */
                 LOAD_ROLE_OTHER,
                 LOAD_ROLE_EQUAL, /* column = $1 */
                 LOAD_ROLE_IN,    /* column IN ($1, …) */
                 LOAD_ROLE_ANY,   /* column = ANY ($1) */
                 LOAD_ROLE_LOW,   /* column BETWEEN $1 AND … */
                 LOAD_ROLE_HIGH,
                 LOAD_ROLE_GREATER, /* column > $1, >= */
                 LOAD_ROLE_LESS,
                 LOAD_ROLE_LIKE,
                 LOAD_ROLE_LIMIT,
                 LOAD_ROLE_OFFSET,
                 LOAD_ROLE_INSERT, /* a value of a new row */
                 LOAD_ROLE_ASSIGN, /* SET column = $1 */
                 LOAD_ROLE_ADD,    /* + $1, - $1 */
                 LOAD_ROLE_SCALE,  /* * $1, / $1, % $1 */
                 LOAD_ROLE_AGE,    /* column > now() - $1 */
                 LOAD_ROLE_COUNT
};
struct load_use {
    int parameter;
    enum load_role role;
    const char *qualifier, *column; /* NULL: none named */
    int position;                   /* LOAD_ROLE_INSERT without column list: 0 … */
};
struct load_query {
    const char *kind; /* node of the parse tree: "SelectStmt" */
    bool writes, into, upsert, aggregates, limited;
    TW_ARRAY(struct load_relation) relations;
    TW_ARRAY(struct load_use) uses; /* at most one per parameter */
    TW_ARRAY(const char *) functions;
};
/* -EINVAL: it cannot be parsed (err says why). */
int load_query_read(struct tw_arena *a, const char *sql, struct load_query *ret,
                    struct tw_err *err);

/* ---- values for the parameters of a statement (values.c) ---- */
struct load_values {
    struct tw_arena *a;
    struct tw_pg *pg;
    struct load_columns columns; /* of all tables that the statements name */
    TW_ARRAY(struct load_sampled {
        const char *key;
        struct tw_pg_rows rows;
    })
    samples;
};
/* Adds a variable per parameter to item, and its one statement. -ENODATA with the reason
 * in err where a parameter has a type or place for which no value is known. */
int load_values_fill(struct load_values *v, const struct load_query *q, const char *sql,
                     const struct tw_statement *s, struct tw_load_item *item,
                     struct tw_err *err);

/* Both leave ret->items empty where there is nothing to make them from. */
int load_mix_from_statements(struct tw_arena *a, const struct tw_snapshot *s,
                             struct tw_pg *pg, struct tw_load_mix *ret,
                             struct tw_err *err);
int load_mix_guess(struct tw_arena *a, const struct tw_snapshot *s, struct tw_pg *pg,
                   struct tw_load_mix *ret, struct tw_err *err);
struct tw_load_variable *load_variable_add(struct tw_arena *a, struct tw_load_item *item,
                                           const char *name);
struct tw_load_statement *load_statement_add(struct tw_arena *a,
                                             struct tw_load_item *item, const char *sql);

/* ---- mixes of other services (mix_at.c) ---- */
struct load_answer;
struct load_mix_kind {
    const char *driver, *words; /* words: what a file for it holds */
    /* Both leave mix->items empty where there is nothing to make them from. known: from the
     * requests of the snapshot; guess: from what the baseline itself shows. */
    int (*known)(struct tw_arena *a, const struct tw_snapshot *s,
                 const struct tw_load_spec *at, struct tw_load_mix *mix,
                 struct tw_err *err);
    int (*guess)(struct tw_arena *a, const struct tw_snapshot *s,
                 const struct tw_load_spec *at, struct tw_load_mix *mix,
                 struct tw_err *err);
    /* After every item was tried on the baseline. recorded: what the source tells of the
     * item, 0 unknown. Returns why the item cannot be used, or NULL; ret_told: NULL, or what
     * is different and yet used. */
    const char *(*judge)(struct tw_arena *a, struct tw_load_item *item,
                         const struct load_answer *answer, int recorded,
                         const char **ret_told);
    bool escapes; /* in a file, \\n and the like are resolved while reading */
};
#define LOAD_MIX_KINDS(X) X(http) X(redis) X(tcp)
#define LOAD_MIX_DECLARE(name) extern const struct load_mix_kind load_mix_##name;
LOAD_MIX_KINDS(LOAD_MIX_DECLARE)
#undef LOAD_MIX_DECLARE
/* One request per line: a name, its text in the driver's notation, variables by name. */
int load_mix_file(struct tw_arena *a, const char *name, const char *text, bool escapes,
                  struct tw_load_mix *mix, struct tw_err *err);
void load_mix_level(struct tw_load_mix *mix); /* weights become shares */
/* An item of one statement without parameters. */
struct tw_load_item *load_mix_add(struct tw_arena *a, struct tw_load_mix *mix,
                                  const char *name, const char *sent, double weight);

/* ---- looking at statements ---- */
/* Prepares a statement under a name of its own. ret_types may be NULL: OIDs of the
 * parameters. */
int load_prepare(struct tw_arena *a, struct tw_pg *pg, const char *sql,
                 const char **ret_name, unsigned **ret_types, int *ret_count,
                 struct tw_err *err);
void load_unprepare(struct tw_pg *pg, const char *name);
/* "EXPLAIN (options) EXECUTE name('…', …)". */
char *load_explain_text(struct tw_arena *a, const char *options, const char *name,
                        const char *const *parameters, int count);
/* Is it one that EXPLAIN takes? */
bool load_explainable(const char *sql);
/* The first word, in lower case, of a statement: comments and blanks skipped. */
void load_first_word(const char *sql, char *ret, size_t room);

/* ---- a load's side of the wire, for its own orders ---- */
/* Sends a message and waits for the answer, which is borrowed until the next. */
int load_ask(struct tw_load *load, enum load_message type, const struct tw_buf *payload,
             int64_t deadline_ns, struct load_reader *ret, struct tw_err *err);
/* Adds the failures that an answer ends with to those not fetched yet. */
void load_keep_failures(struct tw_load *load, struct load_reader *r);
/* Connections of an arm that opened with the load, and how long that took. */
int load_opened(const struct tw_load *load, enum tw_arm arm, double *ret_seconds);

/* ---- every request of a mix tried once, on the baseline (probe.c) ---- */
struct load_answer {
    enum load_event event; /* LOAD_NOTHING: no answer in time */
    int status;            /* http */
    const char *code, *text;
    const char *reply;     /* as it came, NUL-terminated */
    size_t reply_len;
};
/* at: conninfo of the baseline, box, program. ret: one per item of the mix. */
int load_probe(struct tw_arena *a, const struct tw_load_spec *at,
               const struct tw_load_mix *mix, struct load_answer **ret,
               struct tw_err *err);

#endif
