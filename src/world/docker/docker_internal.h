/* What the files of room docker share: one way to ask, one way to fail.
 *
 * Owns    strings of a handle live as long as it does */
#ifndef DOCKER_INTERNAL_H
#define DOCKER_INTERNAL_H

#include "tw/docker.h"
#include "tw/io.h"
#include "tw/spec.h"

#define DOCKER_OLDEST     40 /* minor numbers of API version 1 */
#define DOCKER_NEWEST     47
#define DOCKER_TIMEOUT_S  60.0
#define DOCKER_MAX_ANSWER TW_JSON_MAX_BYTES

struct docker_place {
    char *host;    /* as given */
    char *url;     /* "http://engine", "https://h:2376" */
    char *socket;  /* NULL: TCP */
    char *ca, *cert, *key;
};
struct tw_docker {
    struct docker_place at;
    struct tw_link *link;
    double timeout_s;
    char *api, *engine;
};

struct docker_ask {
    const char *method;
    char *path;               /* after the version, taken: "/containers/json?all=1" */
    const char *what;         /* for errors: "container"; with subject: "container 'web'" */
    const char *subject;
    const json_t *body;       /* borrowed; NULL: none */
    const char *media_type;   /* of what send_part gives */
    size_t (*send_part)(void *arg, char *to, size_t room);
    size_t send_len;
    bool (*take_part)(void *arg, const char *data, size_t len);
    void *arg;
    double timeout_s;
    size_t max_answer;
    bool gone_is_fine;        /* 404 and "removal already in progress" are success */
    bool plain;               /* path without version */
};
/* ret may be NULL: the answer, if any, is not looked at. An empty answer with ret is -EPROTO. */
int docker_ask(struct tw_docker *d, struct docker_ask ask, json_t **ret, struct tw_err *err);
/* The same, and the answer has to be of this type. */
int docker_ask_for(struct tw_docker *d, struct docker_ask ask, json_type type, json_t **ret,
                   struct tw_err *err);
/* As bytes. out is done by the caller, also after a failure. */
int docker_ask_raw(struct tw_docker *d, struct docker_ask ask, struct tw_buf *out, struct tw_err *err);
/* Percent-encoded for a path or a query; owned: free(). */
char *docker_escape(const char *text);
/* "filters=%7B…%7D" of one filter; value NULL: "" . owned: free(). */
char *docker_filter(const char *name, const char *value);
/* tw_strf with every %s escaped. */
char *docker_path(const char *fmt, ...) TW_PRINTF(1, 2);

int docker_place_find(const struct tw_docker_options *options, struct docker_place *ret,
                      struct tw_err *err);
void docker_place_done(struct docker_place *p);
/* "1.41", "1.12" of the Engine -> the minor number to speak. */
int docker_negotiate(const char *newest, const char *oldest, int *ret_minor, struct tw_err *err);
/* The negative errno of a status, 0 for a success. */
int docker_status(int status);

/* The stream of a container without a terminal: frames of 8 bytes and a payload, cut anywhere. */
struct docker_demux {
    unsigned char head[8];
    size_t have;              /* bytes of head */
    size_t left;              /* of the payload */
    bool raw;                 /* a terminal: no frames */
    struct tw_buf *out, *errors;
    bool broken;
};
void docker_demux_init(struct docker_demux *x, bool raw, struct tw_buf *out, struct tw_buf *errors);
bool docker_demux_take(void *demux, const char *data, size_t len); /* a take_part */
int docker_demux_end(const struct docker_demux *x, struct tw_err *err);

/* A stream of JSON objects one after the other, cut anywhere. */
struct docker_objects {
    struct tw_buf pending;
    bool (*on_object)(void *arg, const json_t *object);
    void *arg;
    bool broken, ended;       /* ended: on_object said so */
    size_t seen;              /* of pending, looked at */
    int depth;
    bool text, escaped;
};
void docker_objects_init(struct docker_objects *o, bool (*on_object)(void *arg, const json_t *object),
                         void *arg);
void docker_objects_done(struct docker_objects *o);
bool docker_objects_take(void *objects, const char *data, size_t len); /* a take_part */

/* A tar in memory from entries, and the entries of one. */
int docker_tar_write(const struct tw_docker_entries *entries, struct tw_buf *out, struct tw_err *err);
int docker_tar_read(struct tw_arena *a, const char *data, size_t len, struct tw_docker_entries *ret,
                    struct tw_err *err);
#endif
