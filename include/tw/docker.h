/* The Docker Engine API, one function per call; nothing that knows about twins.
 *
 * Units   time-outs in seconds, 0: that of the connection; sizes in bytes
 * Shapes  answers are the Engine's own JSON (new reference), of the type promised; what the program
 *         reasons about is read into structs, unknown as NaN, NULL, -1 as the fields say
 * Errors  the Engine's own words, after what was asked of whom. -ENOENT no such thing, -EINVAL it refuses
 *         the request, -EBUSY in conflict (a name that is taken, a container that runs), -EACCES,
 *         -ECONNREFUSED no Engine, -ETIMEDOUT, -EPROTO an answer that is no answer (garbage, half of
 *         it), -EPROTONOSUPPORT too old or too new, -EIO it failed itself
 * Owns    one connection per handle, used by one thread at a time; streams take one of their own
 * Source  docs.docker.com/reference/api/engine, versions 1.40 to 1.47 ([how](docs/internals/docker.md)) */
#ifndef TW_DOCKER_H
#define TW_DOCKER_H

#include "tw/base.h"

#include <jansson.h>

/* ---- connection ---- */

struct tw_docker_options {
    const char *host;      /* unix:///run/x.sock, tcp://h:2376; NULL: DOCKER_HOST, else the usual socket */
    const char *cert_path; /* directory of ca.pem, cert.pem, key.pem; NULL: DOCKER_CERT_PATH; TLS where
                              it is given or DOCKER_TLS_VERIFY is set */
    double timeout_s;      /* of a call that does not wait by its nature; 0: 60 */
};
struct tw_docker;
/* Connects, asks for the version and settles on the newest that both sides speak. options may be NULL. */
int tw_docker_open(const struct tw_docker_options *options, struct tw_docker **ret, struct tw_err *err);
void tw_docker_free(struct tw_docker *d);
TW_AUTO_DEFINE(tw_docker)
void tw_docker_set_timeout(struct tw_docker *d, double timeout_s); /* from now on */
const char *tw_docker_api(const struct tw_docker *d);    /* "1.41" */
const char *tw_docker_engine(const struct tw_docker *d); /* "20.10.24+dfsg1" */
const char *tw_docker_host(const struct tw_docker *d);   /* as it was found */

int tw_docker_ping(struct tw_docker *d, struct tw_err *err);
int tw_docker_version(struct tw_docker *d, json_t **ret, struct tw_err *err);
int tw_docker_info(struct tw_docker *d, json_t **ret, struct tw_err *err);

/* ---- containers; id is an id or a name ---- */

/* label "key" or "key=value", NULL: all. stopped: also those that do not run. An array. */
int tw_docker_containers(struct tw_docker *d, bool stopped, const char *label, json_t **ret,
                         struct tw_err *err);
int tw_docker_container_inspect(struct tw_docker *d, const char *id, json_t **ret, struct tw_err *err);
/* The name is the caller's: whoever dies before the answer finds the container again by it. */
int tw_docker_container_create(struct tw_docker *d, const char *name, const json_t *body,
                               char **ret_id, struct tw_err *err); /* owned: free() */
int tw_docker_container_start(struct tw_docker *d, const char *id, struct tw_err *err);
/* Its stop signal, after grace_s a kill. */
int tw_docker_container_stop(struct tw_docker *d, const char *id, int grace_s, struct tw_err *err);
int tw_docker_container_kill(struct tw_docker *d, const char *id, const char *signal,
                             struct tw_err *err);
int tw_docker_container_wait(struct tw_docker *d, const char *id, double timeout_s, int *ret_status,
                             struct tw_err *err);
/* Running or not, with its anonymous volumes. One that is not there is fine. */
int tw_docker_container_remove(struct tw_docker *d, const char *id, struct tw_err *err);
/* What it printed, the last tail lines (-1: all); out gets its standard output, errors its standard error
 * (NULL: both into out, in order). */
int tw_docker_container_logs(struct tw_docker *d, const char *id, int tail, struct tw_buf *out,
                             struct tw_buf *errors, struct tw_err *err);
int tw_docker_container_stats(struct tw_docker *d, const char *id, json_t **ret, struct tw_err *err);
int tw_docker_container_top(struct tw_docker *d, const char *id, json_t **ret, struct tw_err *err);
int tw_docker_container_changes(struct tw_docker *d, const char *id, json_t **ret, struct tw_err *err);

struct tw_docker_exec {
    const char *const *argv; /* NULL-terminated */
    const char *const *env;  /* NULL: none beside the container's */
    const char *user;        /* NULL: the container's */
    const char *cwd;
    double timeout_s;
};
/* ret_status: its exit status; a command that fails is a result. */
int tw_docker_exec(struct tw_docker *d, const char *id, const struct tw_docker_exec *exec,
                   struct tw_buf *out, struct tw_buf *errors, int *ret_status, struct tw_err *err);
/* The same, begun and left to itself. */
int tw_docker_exec_detached(struct tw_docker *d, const char *id, const struct tw_docker_exec *exec,
                            struct tw_err *err);

/* ---- images ---- */

int tw_docker_images(struct tw_docker *d, const char *reference, json_t **ret, struct tw_err *err);
int tw_docker_image_inspect(struct tw_docker *d, const char *image, json_t **ret, struct tw_err *err);
/* From a tar (plain or compressed) that file names: import makes one layer of a file system, changes are
 * lines as in a Dockerfile (NULL-terminated, may be NULL); load takes what `docker save` wrote. */
int tw_docker_image_import(struct tw_docker *d, const char *file, const char *tag,
                           const char *const *changes, struct tw_err *err);
int tw_docker_image_load(struct tw_docker *d, const char *file, struct tw_err *err);
int tw_docker_image_remove(struct tw_docker *d, const char *image, struct tw_err *err); /* missing: fine */

/* ---- networks and volumes ---- */

int tw_docker_networks(struct tw_docker *d, const char *label, json_t **ret, struct tw_err *err);
int tw_docker_network_inspect(struct tw_docker *d, const char *id, json_t **ret, struct tw_err *err);
int tw_docker_network_create(struct tw_docker *d, const json_t *body, char **ret_id,
                             struct tw_err *err);
int tw_docker_network_connect(struct tw_docker *d, const char *id, const json_t *body,
                              struct tw_err *err);
int tw_docker_network_remove(struct tw_docker *d, const char *id, struct tw_err *err); /* missing: fine */
int tw_docker_volumes(struct tw_docker *d, const char *label, json_t **ret, struct tw_err *err);
int tw_docker_volume_inspect(struct tw_docker *d, const char *name, json_t **ret, struct tw_err *err);
int tw_docker_volume_create(struct tw_docker *d, const json_t *body, struct tw_err *err);
int tw_docker_volume_remove(struct tw_docker *d, const char *name, struct tw_err *err); /* missing: fine */

/* ---- files in and out, as an uncompressed tar ---- */

struct tw_docker_entry {
    const char *path;    /* within the directory given, without "/" first and without ".." */
    const char *data;    /* NULL: a directory, or a link */
    size_t len;
    const char *link_to; /* NULL: no symbolic link */
    unsigned mode, uid, gid;
};
struct tw_docker_entries {
    TW_ARRAY(struct tw_docker_entry) list;
};
/* dir has to be there. Only into a container that was created and never started (-EBUSY): what runs could
 * put a link in the way. */
int tw_docker_archive_put(struct tw_docker *d, const char *id, const char *dir,
                          const struct tw_docker_entries *entries, struct tw_err *err);
/* Regular files, directories and links at path, at most max bytes (-EFBIG); paths begin with path's last
 * name. Not of a container that runs something hostile. */
int tw_docker_archive_get(struct tw_docker *d, struct tw_arena *a, const char *id, const char *path,
                          size_t max, struct tw_docker_entries *ret, struct tw_err *err);

/* ---- events ---- */

/* Those between two times (seconds since 1970, fractions as "1.000000001"; NULL: now); until NULL: as they
 * come until on_event says false or timeout_s passes (then 0). event is borrowed. label as above. */
typedef bool tw_docker_event_fn(void *arg, const json_t *event);
int tw_docker_events(struct tw_docker *d, const char *since, const char *until, const char *label,
                     double timeout_s, tw_docker_event_fn *on_event, void *arg, struct tw_err *err);

/* ---- what a container is, read from its inspection ---- */

struct tw_docker_pair {
    const char *name, *value; /* value NULL: a name alone */
};
struct tw_docker_mount {
    const char *type;         /* "volume" "bind" "tmpfs" */
    const char *name, *source, *destination, *driver; /* NULL where there is none */
    bool writable;
};
struct tw_docker_link {       /* one network that it is on */
    const char *network, *address, *gateway;
    TW_ARRAY(const char *) aliases;
};
struct tw_docker_port {
    int port;
    const char *protocol;     /* "tcp" */
    const char *host_address; /* NULL: not published */
    int host_port;            /* 0: not published */
};
struct tw_docker_ulimit {
    const char *name;         /* "nofile" */
    int64_t soft, hard;
};
struct tw_docker_container {
    const char *id, *name;    /* name without its "/" */
    const char *image, *image_id; /* as it was asked for; "sha256:…" of what runs */
    const char *project, *service, *number; /* of Compose; NULL */
    const char *status;       /* "running", "exited" … */
    const char *health;       /* "healthy" …; NULL: no check */
    const char *started_at, *created_at;
    int pid, exit_status;     /* 0, and -1: not known */
    bool oom_killed;
    int restarts;             /* -1 unknown */
    TW_ARRAY(const char *) argv, cap_add, cap_drop, security;
    TW_ARRAY(struct tw_docker_pair) env, labels, sysctls;
    const char *user, *cwd, *hostname, *stop_signal; /* NULL: the image's or Engine's default */
    double stop_grace_s;      /* NaN: ten seconds */
    TW_ARRAY(struct tw_docker_mount) mounts;
    TW_ARRAY(struct tw_docker_link) networks;
    TW_ARRAY(struct tw_docker_port) ports;
    int64_t memory_bytes, swap_bytes, shm_bytes, pids; /* 0: no limit; pids -1 too */
    double cpus;              /* infinite: no limit */
    int64_t cpu_shares;       /* 0: default */
    const char *cpuset;
    const char *restart_policy;
    int restart_max;
    TW_ARRAY(const char *) health_test; /* "CMD" … , "NONE"; empty: none */
    double health_interval_s, health_timeout_s, health_start_s; /* NaN: the Engine's */
    int health_retries;       /* 0: the Engine's */
    const char *network_mode, *pid_mode, *ipc_mode, *user_mode, *log_driver;
    bool privileged, read_only, tty, init;
    TW_ARRAY(struct tw_docker_ulimit) ulimits;
    TW_ARRAY(const char *) devices; /* paths on the host */
};
int tw_docker_container_read(struct tw_arena *a, const json_t *inspected,
                             struct tw_docker_container *ret, struct tw_err *err);
/* What of it a clone must never be given, in words: "is privileged", "mounts the Engine's socket". */
struct tw_docker_words {
    TW_ARRAY(const char *) list;
};
void tw_docker_container_dangers(struct tw_arena *a, const struct tw_docker_container *c,
                                 struct tw_docker_words *ret);

struct tw_docker_stats {      /* since the container started; NaN unknown */
    double cpu_s, throttled_s, user_share; /* user_share of cpu_s */
    double memory_bytes;      /* without the page cache that would go first */
    double memory_limit_bytes, memory_max_bytes;
    double received_bytes, sent_bytes, read_bytes, written_bytes;
    double pids;
};
int tw_docker_stats_read(const json_t *stats, struct tw_docker_stats *ret, struct tw_err *err);
#endif
