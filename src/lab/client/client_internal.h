/* Shared by the files of room client.
 *
 * Try     one client on one arm, in a thread of its own with an arena of its own
 * Wire    one JSON document each way, its length before it; both ends are the same program
 * Stream  a connected socket, with TLS or without, every call bounded by the try's deadline */
#ifndef CLIENT_INTERNAL_H
#define CLIENT_INTERNAL_H

#include "tw/client.h"

#include "list.h"

#include <pthread.h>
#include <sys/socket.h>

#define CLIENT_WIRE_FD  3
#define CLIENT_WIRE_MAX ((size_t)16 << 20)
#define CLIENT_STRANGER "stranger" /* origin: nobody knows it and it has no password */
#define CLIENT_OUTSIDER "outsider" /* origin: a known role, from where no client is */

/* Several of one client at once: none leaves before all are in, or have failed. */
struct client_hold {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int total, arrived;
};
struct client_try {
    struct tw_client client;
    struct tw_client_way way;
    const char *ca_path;    /* of client.ca_file, readable here; NULL: none given */
    int64_t deadline_ns;
    bool whole;             /* rests are rested, not only computed */
    struct client_hold *hold; /* NULL: alone */
    bool held;
    const char *last_words; /* that the service said unasked; NULL */
    struct tw_arena *arena; /* owned */
    struct tw_client_answer answer;
};
struct client_protocol {
    const char *name;
    int port;               /* where such a service usually is */
    void (*run)(struct client_try *t);
};
const struct client_protocol *client_protocol_find(const char *name);

/* Ends a try; words may be NULL. */
void client_end(struct client_try *t, enum tw_client_end end, const char *at, const char *code,
                const char *words);
struct tw_client_reply *client_reply(struct client_try *t, const char *sent);
/* In, and waiting for the others of the same client. */
void client_wait_for_others(struct client_try *t);
int client_port(const struct client_try *t);
/* Waits for events of fd until the deadline; false: it passed. */
bool client_poll(int fd, short events, int64_t deadline_ns);

/* ---- dial.c ---- */

/* A connected, non-blocking socket; or the try has ended and the result is negative. */
int client_dial(struct client_try *t, int *ret_fd);
/* libpq makes its own sockets: while a try is set, each connect() of this thread comes from the
 * try's source and device. NULL: none. */
void client_dial_for_library(const struct client_try *t);

/* ---- stream.c: bytes, with TLS or without ---- */

struct client_stream {
    int fd;    /* owned */
    void *ssl; /* owned: SSL; NULL: plain */
    void *context;
};
/* Dials, and shakes hands where the client wants TLS; alpn (may be NULL) as "h2". A failure has
 * ended the try. */
int client_stream_open(struct client_try *t, bool tls, const char *alpn,
                       struct client_stream *ret);
void client_stream_close(struct client_stream *s);
int client_stream_write(struct client_try *t, struct client_stream *s, const void *data,
                        size_t len);
/* Bytes read; 0 at the end; -ETIMEDOUT, -ECONNRESET. */
ssize_t client_stream_read(struct client_try *t, struct client_stream *s, void *to, size_t room);
bool client_wants_tls(const struct tw_client *c);
bool client_verifies(const struct tw_client *c);
/* What the certificate of an OpenSSL session says, into the answer. */
void client_note_tls(struct client_try *t, void *ssl);
/* "1.2" or "TLSv1.2" as "TLSv1.2"; NULL stays. */
const char *client_tls_name(struct tw_arena *a, const char *version);

/* ---- wire.c ---- */

struct client_order {
    struct tw_clients cases;
    TW_ARRAY(const char *) ca; /* text of each case's ca_file; NULL none */
    struct tw_client_way way[TW_ARM_COUNT];
    bool arms[TW_ARM_COUNT]; /* that are tried from here */
    double deadline_s;
    bool whole;
};
int client_send(int fd, const char *text, int64_t deadline_ns);
int client_receive(int fd, struct tw_buf *ret, int64_t deadline_ns);
char *client_order_write(const struct client_order *o); /* owned: free() */
int client_order_read(struct tw_arena *a, const char *text, size_t len, struct client_order *ret);
json_t *client_answer_write(const struct tw_client_answer *answer);
void client_answer_read(struct tw_arena *a, const json_t *json, struct tw_client_answer *ret);

/* ---- cases_*.c ---- */

/* How many cases a run tries at most, beside those given. */
#define CLIENT_MOST_CASES 28
void client_add(struct tw_arena *a, struct tw_clients *to, const struct tw_client *c);
void client_cases_postgresql(struct tw_arena *a, const struct tw_snapshot *s,
                             const struct tw_plan *plan, struct tw_clients *to);
/* One address of a network in pg_hba's words ("10.0.0.0/8", "10.0.0.0/255.0.0.0", "all"); NULL:
 * not one that can be told. */
const char *client_address_in(struct tw_arena *a, const char *network);

/* The time-outs that a session shows and a client can run into. */
extern const char *const client_timeouts[];
extern const size_t client_timeout_count;
double client_setting_s(const struct tw_client_answer *answer, const char *name); /* NaN none */

#endif
