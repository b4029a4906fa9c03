/* What the files of schema share: sessions, the watcher of locks, the load beside, the catalog. */
#ifndef SCHEMA_INTERNAL_H
#define SCHEMA_INTERNAL_H

#include "tw/schema.h"

#include <pthread.h>

/* ---- a session of one's own, whose statements can be waited for and cancelled ---- */

struct schema_outcome {
    int64_t begin_ns, end_ns;
    bool failed;
    char sqlstate[6];
    const char *words; /* of the server, without literals; NULL: none */
    double rows;       /* touched; NaN: not told */
};
struct schema_session {
    struct tw_pg *pg; /* owned */
    int pid;          /* of the server process */
};
int schema_session_open(struct tw_twin *twin, const char *database, struct schema_session *ret,
                        struct tw_err *err);
void schema_session_close(struct schema_session *s);
bool schema_in_transaction(const struct schema_session *s);
/* Cancelled at deadline_ns, or when *cancel; the server then says so. -ECONNRESET: it went away. */
int schema_exec(struct schema_session *s, struct tw_arena *a, const char *sql, int64_t deadline_ns,
                const volatile bool *cancel, struct schema_outcome *ret, struct tw_err *err);
bool schema_begin(struct schema_session *s, const char *sql); /* sent, not waited for */

/* ---- the catalog: files, indexes, columns without statistics ---- */

struct schema_relation {
    unsigned oid, table; /* table: of an index, else itself */
    const char *name;    /* "public.orders", quoted where SQL wants it */
    const char *schema, *bare; /* as they are */
    char kind;           /* of pg_class: r p m i I t S v … */
    unsigned file;
    double bytes, rows;
    bool invalid;
    int triggers, columns;
};
struct schema_column {
    unsigned relation;
    int number;
    const char *name; /* "public.orders.customer" */
};
struct schema_catalog {
    TW_ARRAY(struct schema_relation) relations;
    TW_ARRAY(struct schema_column) unanalysed;
};
int schema_catalog_read(struct tw_arena *a, struct tw_pg *pg, struct schema_catalog *ret,
                        struct tw_err *err);
const struct schema_relation *schema_catalog_find(const struct schema_catalog *c, unsigned oid);
bool schema_is_index(const struct schema_relation *r);

/* ---- who holds and who waits, looked at every few milliseconds by a thread ---- */

struct schema_lock {
    unsigned relation;
    enum tw_lock_mode mode;
    double waited_s; /* longest that it was seen waiting; 0: never seen */
};
struct schema_seen {
    TW_ARRAY(struct schema_lock) locks;
    int queued;
    double longest_s; /* NaN none */
    const char *queued_text;
    bool waits_now;   /* at the last look the statement itself waited for a lock */
};
struct schema_watch;
int schema_watch_open(struct tw_twin *twin, const char *database, size_t statements,
                      struct schema_watch **ret, struct tw_err *err); /* owned: _close */
/* From now on what is seen of this server process belongs to this statement; -1: to none. */
void schema_watch_turn(struct schema_watch *w, int statement, int pid);
/* What was seen so far: copied, texts into a. */
void schema_watch_get(struct schema_watch *w, struct tw_arena *a, int statement,
                      struct schema_seen *ret);
void schema_watch_close(struct schema_watch *w); /* NULL is fine */

/* ---- the load beside, slot after slot in a thread ---- */

struct schema_backdrop;
struct schema_backdrop *schema_backdrop_start(const struct tw_schema_spec *spec); /* owned: _stop */
void schema_backdrop_stop(struct schema_backdrop *b); /* waits for the last slot; NULL is fine */
/* Of what was sent in slots that overlap; valid after _end. NaN: none. */
void schema_backdrop_end(struct schema_backdrop *b);
double schema_backdrop_p95_ms(const struct schema_backdrop *b, int64_t from_ns, int64_t to_ns);

/* ---- which requests a lock stops ---- */

struct schema_touch {       /* one table of one item of the mix */
    const char *schema, *name;
    double share;           /* of the requests */
    bool writes;
};
struct schema_touches {
    TW_ARRAY(struct schema_touch) list;
};
void schema_touches_of(struct tw_arena *a, const struct tw_load_mix *mix,
                       struct schema_touches *ret);
/* Share of the requests that a lock of this mode on this table stops; of rows (0..1) where only rows
 * are locked. */
double schema_share_stopped(const struct schema_touches *t, const struct schema_relation *table,
                            enum tw_lock_mode mode, double rows);
bool schema_is_written(const struct schema_touches *t, const struct schema_relation *table);

#endif
