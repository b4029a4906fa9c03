/* Clients as they are: who connects to a service, each tried against both arms. A process of our
 * own in the clients' sandbox tries them all at once, each with a deadline, and tells what became
 * of each; the answers of the arms, compared, are findings.
 *
 * Units   seconds in fields *_s; deadlines nanoseconds, monotonic
 * Shapes  one try is (client, arm); answers come in the order of the tries
 * Errors  what a service does to a client is an answer, not an error. -EPIPE the process died,
 *         -ETIMEDOUT it has gone silent, -EBADMSG it makes no sense
 * Owns    texts live in the arena given; a session owns its process
 * Source  docs/internals/client.md */
#ifndef TW_CLIENT_H
#define TW_CLIENT_H

#include "tw/sandbox.h"
#include "tw/service.h"
#include "tw/spec.h"

/* ---- who is tried ---- */

struct tw_clients {
    TW_ARRAY(struct tw_client) list;
};
/* Given ones first, then those that the snapshot tells, then strangers (origin "stranger"). */
void tw_client_cases(struct tw_arena *a, const struct tw_snapshot *s,
                     const struct tw_service_kind *kind, const struct tw_plan *plan,
                     struct tw_clients *ret);
/* Source addresses of the cases, each once: the clients' sandbox has to hold them. */
struct tw_client_sources {
    TW_ARRAY(const char *) list;
};
void tw_client_sources_of(struct tw_arena *a, const struct tw_clients *cases,
                          struct tw_client_sources *ret);
/* "app@shop from 10.0.3.7, sslmode require" */
const char *tw_client_name(struct tw_arena *a, const struct tw_client *c);

/* ---- trying them ---- */

enum tw_client_end {
    TW_CLIENT_SERVED,    /* all it sent was answered; replies tell how */
    TW_CLIENT_NO_WAY,    /* no connection: nobody listens, no route */
    TW_CLIENT_NO_TLS,    /* the handshake or the certificate failed */
    TW_CLIENT_DENIED,    /* the service itself refused it before it could send */
    TW_CLIENT_HUNG,      /* no answer by the deadline */
    TW_CLIENT_CUT,       /* the service closed the connection while it was in use or at rest */
    TW_CLIENT_UNTRIED,   /* we could not: words say why */
    TW_CLIENT_END_COUNT
};
extern const char *const tw_client_end_names[TW_CLIENT_END_COUNT];

struct tw_client_reply {      /* to one thing that was sent */
    const char *sent;         /* statement, command, "GET /path" */
    bool ok;
    bool data_fault;          /* refused for the values we sent, which are not the client's */
    const char *code, *words; /* SQLSTATE, HTTP status; the service's words. NULL none */
    double bytes;             /* of the body; NaN */
    bool complete;            /* all of the body came */
};
struct tw_client_answer {
    enum tw_client_end end;
    const char *at;           /* "connect" "tls" "login" "send" "rest" "commit": where it ended */
    const char *code, *words; /* NULL: none */
    const char *tls_version, *cipher;             /* NULL: no TLS */
    const char *subject, *issuer, *names;         /* of the certificate; names comma-separated */
    int64_t not_before_wall_ns, not_after_wall_ns; /* 0 unknown */
    const char *waits_for;    /* what a hung one waits for, as the service tells: "SyncRep" */
    bool superuser, reads_files; /* what it could do there */
    int reached;              /* of tw_client.count: how many were in at once */
    double seconds;
    TW_ARRAY(struct tw_client_reply) replies;
    TW_ARRAY(struct tw_setting) settings; /* as its own session shows them: time-outs */
};
struct tw_client_answers {
    TW_ARRAY(struct tw_client_answer) list;
};
/* How an arm is reached. */
struct tw_client_way {
    const char *address;      /* of the service, as seen by the clients */
    int port;                 /* 0: the case's own */
    const char *device;       /* "eth0": the link that leads there; NULL: any */
    const char *socket_dir;   /* PostgreSQL: its private sockets as seen there; NULL: none */
};
/* Where clients stand: on the network of the twins, in a box that has a link to both; and, those of
 * the target's own host (loopback, local socket), inside the twin that they try. */
struct tw_client_session_spec {
    struct tw_sandbox *box;   /* on the network; NULL: none, their cases are not tried */
    struct tw_sandbox *inside[TW_ARM_COUNT]; /* NULL: none */
    const char *program;      /* the twin binary on this host: runs "_client" */
    bool plain;               /* no boxes: a child of this process tries all of them (tests) */
    struct tw_client_way way[TW_ARM_COUNT];        /* over the network */
    struct tw_client_way inside_way[TW_ARM_COUNT]; /* from inside */
};
struct tw_client_session;
int tw_client_open(const struct tw_client_session_spec *spec, struct tw_client_session **ret,
                   struct tw_err *err); /* owned: tw_client_close */
void tw_client_close(struct tw_client_session *s);
/* This client stands inside, not on the network. */
bool tw_client_is_inside(const struct tw_client *c);
/* All cases on both arms at once, each within deadline_s. whole: rests are rested and as many come at
 * once as the case says; else both are left to arithmetic. ret[arm] has an answer for each case. */
int tw_client_try(struct tw_client_session *s, struct tw_arena *a, const struct tw_clients *cases,
                  double deadline_s, bool whole, struct tw_client_answers ret[TW_ARM_COUNT],
                  struct tw_err *err);

/* ---- what it means ---- */

/* What worked before and fails now, what is let in now and was not; doubtful gets what only a longer
 * try can tell (time-outs against rests, many at once): try these again, whole, and compare again
 * with sure set. */
struct tw_client_compared {
    struct tw_issues issues;
    struct tw_clients doubtful;
    int tried, worked_before; /* cases; strangers work for nobody */
};
struct tw_client_question {
    const struct tw_snapshot *snapshot;
    int peak;                 /* clients at once, as seen or given; 0 unknown */
};
void tw_client_compare(struct tw_arena *a, const struct tw_clients *cases,
                       const struct tw_client_answers answers[TW_ARM_COUNT],
                       const struct tw_client_question *question, bool sure,
                       struct tw_client_compared *ret);
/* main() of the process: reads tries from fd 3. Returns an exit code. */
int tw_client_main(int argc, char **argv);
#endif
