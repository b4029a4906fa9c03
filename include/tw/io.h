/* Bytes in and out: child processes, trees of files, YAML (libfyaml), HTTP server (libmicrohttpd) and
 * client (libcurl), WebSocket (wslay).
 *
 * Units   deadlines in nanoseconds of the monotonic clock
 * Errors  -ETIMEDOUT (the child was killed), -ENOENT no such program; a child that fails is a result */
#ifndef TW_IO_H
#define TW_IO_H

#include "tw/base.h"

struct tw_child {
    const char *const *argv;   /* NULL-terminated; argv[0] looked up in PATH */
    const char *const *env;    /* NULL: the parent's */
    unsigned uid, gid;         /* (unsigned)-1: unchanged; supplementary groups are dropped */
    const char *cwd;
    const char *input;         /* to its stdin; NULL: /dev/null */
    int64_t deadline_ns;       /* 0: a minute from now */
    size_t max_output;         /* 0: 1 MiB */
};
struct tw_child_result {
    int status;                /* exit status 0..255, or 128 + signal */
    struct tw_buf out, err;    /* done by the caller: tw_child_result_done */
};
int tw_child_run(const struct tw_child *child, struct tw_child_result *ret, struct tw_err *err);
void tw_child_result_done(struct tw_child_result *r);
/* For the calling thread: somebody else runs them from now on (in a container, say); NULL: this host. */
struct tw_child_elsewhere {
    int (*run)(void *arg, const struct tw_child *child, struct tw_child_result *ret, struct tw_err *err);
    /* One that goes on while it is asked: what it prints goes to out; it ends with end() at the latest. */
    int (*begin)(void *arg, const struct tw_child *child, int out, int *ret_handle, struct tw_err *err);
    bool (*runs)(void *arg, int handle);
    void (*end)(void *arg, int handle);
    void *arg;
    const char *tmp; /* a directory of the same name there and here, for what is handed over */
};
void tw_child_elsewhere(const struct tw_child_elsewhere *who); /* borrowed until the next call */
const struct tw_child_elsewhere *tw_child_where(void);         /* NULL: this host */
const char *tw_child_tmp(void);                                /* "/tmp", or theirs */

/* ---- trees of files ---- */

/* Copies a tree: reflinks where it can, keeps modes, times, links and holes; owner -> uid/gid when
 * uid != (unsigned)-1. skip(arg, relative path) true leaves an entry out; may be NULL. */
typedef bool tw_copy_skip_fn(void *arg, const char *relative);
int tw_copy_tree(const char *from, const char *to, unsigned uid, unsigned gid,
                  tw_copy_skip_fn *skip, void *arg, int64_t *ret_bytes, struct tw_err *err);

/* ---- YAML: read strictly into a flat list of (path, value, line, column) ----
 * Duplicate keys, aliases and merge keys are errors. Paths are JSON Pointers. */
struct tw_yaml_entry {
    const char *pointer, *value; /* value NULL: a container */
    int line, column;
    int children;                /* of a container */
    bool quoted;
};
struct tw_yaml {
    TW_ARRAY(struct tw_yaml_entry) list;
};
int tw_yaml_read(struct tw_arena *a, const char *text, const char *origin, struct tw_yaml *ret,
                 struct tw_err *err);

/* ---- HTTP server ----
 * Strict: what two readers could understand differently is refused before any handler sees it
 * (docs/internals/io.md). A handler may answer before it returns or later, from any thread: meanwhile
 * the connection is suspended and holds no thread. */

#define TW_HTTP_MAX_QUERY 16
struct tw_http_pair {
    const char *name, *value;
};
struct tw_http_request {
    struct tw_arena *arena; /* lives until the answer is given */
    const char *method, *path; /* path: decoded, "/" first, no empty, "." or ".." segment */
    const char *target;     /* as it was sent: path and query */
    const char *body;       /* NUL-terminated; NULL: none */
    size_t body_len;
    const char *peer;       /* numeric address */
    bool loopback, tls;     /* peer is this host */
    unsigned char address[16]; /* IPv6, or IPv4 mapped into it */
    size_t query_count;
    struct tw_http_pair query[TW_HTTP_MAX_QUERY];
    char id[TW_ID_LEN + 1]; /* of this request: the log, X-Request-Id */
    int64_t begun_ns;
    void *mine;             /* for the handler */
};
/* NULL: not there. Names of headers regardless of case. Borrowed until the answer. */
const char *tw_http_header(const struct tw_http_request *r, const char *name);
const char *tw_http_query(const struct tw_http_request *r, const char *name);
/* A header of the answer to come; both are copied. */
void tw_http_add_header(struct tw_http_request *r, const char *name, const char *value);
/* Gives the answer; body (owned, free()) is taken; r is gone afterwards unless this runs inside the
 * handler. media_type NULL: no body. */
void tw_http_answer(struct tw_http_request *r, int status, const char *media_type, char *body,
                    size_t len);

typedef void tw_http_handler_fn(void *arg, struct tw_http_request *r);
/* The server answers something itself (malformed, too large …): text is one sentence. Fills body and
 * media type as every error has them. Returns owned text. */
typedef char *tw_http_problem_fn(void *arg, int status, const char *code, const char *text,
                                 const char **ret_media_type);
struct tw_http_options {
    const char *listen;      /* "127.0.0.1:8090", "[::1]:8090"; port 0: any free one */
    const char *cert, *key;  /* PEM texts; NULL: plain */
    size_t max_body;         /* 0: 1 MiB */
    unsigned threads;        /* 0: 2 */
    unsigned max_connections;/* 0: 4096 */
    unsigned timeout_s;      /* idle or slow connections; 0: 30 */
    tw_http_handler_fn *handler;
    tw_http_problem_fn *problem; /* NULL: plain text */
    void *arg;
};
struct tw_http_server;
int tw_http_open(const struct tw_http_options *options, struct tw_http_server **ret,
                 struct tw_err *err);
int tw_http_port(const struct tw_http_server *s);
/* No new connections; those that stand are still served. */
void tw_http_quiesce(struct tw_http_server *s);
/* Waits until every request that a handler kept is answered, then closes. Clients of a hub are closed
 * before (tw_ws_hub_stop). NULL is fine. */
void tw_http_close(struct tw_http_server *s);
uint64_t tw_http_count(const struct tw_http_server *s); /* requests begun */

/* ---- WebSocket: on the server's upgrade, all clients on one thread of the hub ----
 * Each client has a bounded queue of shared messages. A client that does not read loses the oldest
 * live messages first, then, without progress for the deadline, its connection. */

struct tw_ws_hub;
struct tw_ws; /* one client; valid in callbacks and until closed() */
struct tw_ws_message; /* counted, shared by the clients it is sent to */
struct tw_ws_options {
    unsigned max_clients;    /* 0: 4096 */
    unsigned queue;          /* messages; 0: 64 */
    size_t max_received;     /* bytes of one message; 0: 64 KiB */
    int64_t stuck_ns;        /* 0: 10 s without progress */
    int64_t ping_ns;         /* 0: 20 s */
    /* On the hub's thread. */
    void (*opened)(void *arg, struct tw_ws *c, void *mine);
    void (*received)(void *arg, struct tw_ws *c, const char *text, size_t len);
    void (*closed)(void *arg, struct tw_ws *c, void *mine); /* also frees mine */
    void *arg;
};
struct tw_ws_counts {
    uint64_t clients, sent, shed, stuck; /* shed: live messages left out; stuck: clients dropped */
};
int tw_ws_hub_open(const struct tw_ws_options *options, struct tw_ws_hub **ret,
                   struct tw_err *err);
void tw_ws_hub_stop(struct tw_ws_hub *h);  /* every client closed, no new ones */
void tw_ws_hub_close(struct tw_ws_hub *h); /* stopped, and after tw_http_close; NULL is fine */
struct tw_ws_counts tw_ws_hub_counts(const struct tw_ws_hub *h);
/* Answers r with 101 and hands it to the hub, or fails: -EPROTO (what the handshake lacks), -EBUSY too
 * many clients; then r is still to be answered. subprotocol NULL: none. */
int tw_ws_accept(struct tw_ws_hub *h, struct tw_http_request *r, const char *subprotocol, void *mine,
                 struct tw_err *err);
struct tw_ws_message *tw_ws_message_new(const char *text, size_t len); /* owned: _unref */
void tw_ws_message_ref(struct tw_ws_message *m);
void tw_ws_message_unref(struct tw_ws_message *m);
/* live: may be left out when the client is behind. On the hub's thread only. */
void tw_ws_send(struct tw_ws *c, struct tw_ws_message *m, bool live);
void tw_ws_close(struct tw_ws *c, int code, const char *reason);
/* Runs fn on the hub's thread, in order of the calls; from any thread. each: for every client (c), else
 * once with c NULL. done is called after it, to free arg. */
typedef void tw_ws_visit_fn(void *arg, struct tw_ws *c, void *mine);
void tw_ws_visit(struct tw_ws_hub *h, tw_ws_visit_fn *fn, bool each, void *arg, void (*done)(void *));

/* ---- HTTP client ---- */

/* Keeps its connection from one request to the next; used by one thread at a time. */
struct tw_link;
struct tw_link *tw_link_new(void); /* owned: tw_link_free; NULL: no memory */
void tw_link_free(struct tw_link *l);
TW_AUTO_DEFINE(tw_link)

struct tw_fetch {
    const char *method, *url;
    const struct tw_http_pair *headers;
    size_t header_count;
    const char *body;        /* NULL: none */
    size_t body_len;
    const char *unix_socket; /* NULL: TCP */
    const char *ca_file;     /* NULL: the system's */
    const char *cert_file, *key_file; /* who we are, PEM; NULL: nobody */
    struct tw_link *link;    /* borrowed; NULL: a connection for this request alone */
    double timeout_s;        /* 0: 30 */
    size_t max_answer;       /* 0: 1 MiB */
    /* The body piece by piece instead: bytes written to to (0: the end), or (size_t)-1 to give up.
     * body_len 0: not known before. NULL: body. */
    size_t (*send_part)(void *arg, char *to, size_t room);
    /* The answer as it comes instead of into body, unless its status is an error; false ends the
     * request, which then counts as done. NULL: body. */
    bool (*take_part)(void *arg, const char *data, size_t len);
    /* Asked with the address that is about to be connected to, after names were resolved and for each
     * try: false refuses it. NULL: all. */
    bool (*may_connect)(void *arg, const unsigned char address[16], int port);
    void *arg;
};
struct tw_fetched {
    int status;
    struct tw_buf body;      /* done by the caller */
};
/* Redirects are never followed; only http and https. -EHOSTUNREACH, -ECONNREFUSED, -ETIMEDOUT, -EACCES
 * (may_connect said no), -EPROTO (also half an answer), -EFBIG, -ECANCELED (send_part gave up). */
int tw_fetch(const struct tw_fetch *f, struct tw_fetched *ret, struct tw_err *err);
/* "10.0.0.0/8", "::1", "192.168.1.7" -> 16 bytes and the length of the prefix in bits of them. */
int tw_net_parse(const char *text, unsigned char ret_address[16], int *ret_bits, struct tw_err *err);
bool tw_net_contains(const unsigned char net[16], int bits, const unsigned char address[16]);
#endif
