/* Asks a running clone: HTTP requests over connections that are kept, and smoke checks (HTTP, TCP, SQL,
 * commands) with what is expected of each.
 *
 * Units   seconds; deadlines nanoseconds, monotonic
 * Errors  what the service does is a result; an error is ours
 * Owns    texts live in the arena given
 * Source  HTTP/1.1: RFC 9112 */
#ifndef TW_SMOKE_H
#define TW_SMOKE_H

#include "tw/priv.h"
#include "tw/version.h"

/* Where it is. A connection is made inside its network namespace and then used from anywhere. */
struct tw_site {
    struct tw_priv *priv;
    int netns;               /* -1: this one */
    const char *address;     /* of it in there */
    int port;                /* 0: none known */
    struct {
        const struct tw_http_field *items; /* name and address of who is beside it */
        size_t count;
    } hosts;
    /* Runs a command inside; ret_status: exit status. NULL: cannot. */
    int (*run)(void *arg, const char *const *argv, int64_t deadline_ns, struct tw_buf *out,
               int *ret_status, struct tw_err *err);
    void *arg;
};

/* ---- one request ---- */

struct tw_ask {
    const char *method, *path, *body; /* body NULL: none */
    struct {
        const struct tw_http_field *items;
        size_t count;
    } headers;
    double within_s;
};
/* A connection, opened when it is needed and again when the other side closed it. */
struct tw_wire {
    const struct tw_site *site;
    int port, fd;            /* fd -1: not open */
    bool used;               /* a request was answered on it */
    int64_t opened;          /* so many times */
};
void tw_wire_init(struct tw_wire *l, const struct tw_site *site, int port);
void tw_wire_done(struct tw_wire *l);
/* Opens it now: NULL, or why not. Borrowed, static. */
const char *tw_wire_connect(struct tw_wire *l, int64_t deadline_ns);
/* ret lives in a; status 0 and why where no whole answer came. */
void tw_wire_ask(struct tw_wire *l, struct tw_arena *a, const struct tw_ask *ask, struct tw_reply *ret);

/* ---- checks ---- */

struct tw_smoke_result {
    bool passed;
    const char *words;       /* what was otherwise than expected; NULL: nothing */
    double seconds;
};
void tw_smoke_try(const struct tw_smoke *check, const struct tw_site *site, struct tw_arena *a,
                  struct tw_smoke_result *ret);
/* Does a reply hold what the check expects? words tells what not. */
bool tw_smoke_holds(struct tw_arena *a, const struct tw_smoke *check, const struct tw_reply *r,
                    const char **ret_words);
#endif
