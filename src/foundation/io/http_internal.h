/* What the files of io that serve HTTP share: the only ones that know libmicrohttpd. */
#ifndef HTTP_INTERNAL_H
#define HTTP_INTERNAL_H

#include "tw/io.h"

#include <microhttpd.h>
#include <pthread.h>

struct tw_http_server {
    struct MHD_Daemon *daemon;
    tw_http_handler_fn *handler;
    tw_http_problem_fn *problem;
    void *arg;
    size_t max_body;
    int listen_fd, port;
    uint64_t begun;        /* atomic */
    pthread_mutex_t lock;  /* of kept */
    pthread_cond_t none_kept;
    size_t kept;           /* requests whose handler has not answered yet */
};

/* A request from its first line to its end. lock orders the handler's return against an answer that
 * another thread gives at the same moment. */
struct http_request {
    struct tw_http_request pub; /* first: handlers hold a pointer to it */
    struct tw_http_server *server;
    struct MHD_Connection *connection;
    struct tw_buf body;
    size_t discarded;
    const char *refused_code, *refused_text; /* the screen's; NULL: none */
    int refused_status;
    bool screened, handled;
    pthread_mutex_t lock;
    bool in_handler, suspended, answered;
    struct MHD_Response *response;
    void (*abandon)(void *arg); /* the socket was never handed over; NULL: it was, or nobody waits for it */
    void *abandon_arg;
    int status;
    TW_ARRAY(struct tw_http_pair) headers;
};

/* Why a request is refused before any handler sees it; true: it may pass. */
bool http_screen(struct http_request *r, const char *method, const char *version);
/* The answer is 101: response (taken) hands the socket over; abandon(arg): the client was gone before. */
void http_give_upgrade(struct http_request *r, struct MHD_Response *response,
                       void (*abandon)(void *arg), void *arg);
/* Target into path and query. */
bool http_read_target(struct http_request *r);

#endif
