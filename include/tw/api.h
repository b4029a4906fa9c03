/* Routes and the live stream over run, store, gate and report: the daemon behind `twin serve`.
 *
 * Errors  -EINVAL what the configuration lacks (and how to get it), -EADDRINUSE, -EACCES
 * Owns    the texts of the options are borrowed until tw_api_close()
 * Source  docs/internals/api.md; the table is in src/app/api/routes.c, docs/API_DOCUMENTATION.md is made from it */
#ifndef TW_API_H
#define TW_API_H

#include "tw/gate.h"
#include "tw/run.h"

struct tw_api_options {
    const char *state_dir, *listen; /* "127.0.0.1:8090"; port 0: any free one */
    const char *cert_file, *key_file; /* PEM; NULL: plain HTTP */
    TW_ARRAY(const char *) names;   /* allowed in Host, beside localhost and digital-twin */
    TW_ARRAY(struct tw_net) plain_networks; /* served without TLS, beside loopback */
    const char *anonymous;          /* role without a token there: "operator", "viewer", "none" */
    const char *policy_path, *audit_key, *default_environment; /* NULL: default */
    struct tw_hooks hooks;
    int max_parallel;
    double timeout_minutes, default_hours, approval_hours, sync_minutes, retention_days;
    double warm_minutes;            /* twins of a target stand ready so long after its last simulation; 0: none */
    int64_t memory_bytes;           /* of all simulations at once; 0: no bound */
    int cores;                      /* that they may keep busy; 0: all */
    struct tw_helper *helper;       /* taken by tw_api_open() */
    const char *reconnect;          /* its socket, where it is not ours alone */
    /* Called when what only root may read was read, and before there are threads, files and sockets:
     * gives privileges up. NULL: nothing to give up. */
    int (*settle)(void *arg, struct tw_err *err);
    void (*lost)(void *arg);        /* the helper is gone for good: the daemon has to end */
    void *arg;
    double metrics_s;               /* between two readings of a followed target's counters */
};
struct tw_api;
int tw_api_open(const struct tw_api_options *options, struct tw_api **ret, struct tw_err *err);
int tw_api_port(const struct tw_api *api);
/* Ends quickly and cleanly: waiting clients get 503, workers stop and their simulations are taken up by
 * the next start. NULL is fine. */
void tw_api_close(struct tw_api *api);
json_t *tw_api_openapi(void);                /* new reference */
void tw_api_markdown(struct tw_buf *out);    /* docs/API_DOCUMENTATION.md */
#endif
