/* What the files of priv share. */
#ifndef PRIV_INTERNAL_H
#define PRIV_INTERNAL_H

#include "tw/priv.h"

#include <pthread.h>

struct nl_sock;
/* net.c: connected to the network configuration of the namespace that we stand in; -EIO. */
int priv_route_socket(struct nl_sock **ret);

/* A thing that was made, or is about to be. */
struct priv_record {
    int64_t token; /* its number in the journal; ascending */
    enum tw_intent kind;
    char *value; /* owned */
};

/* Where undoing happens: a live handle, or the journal of a dead run. */
struct priv_ground {
    const char *state_dir, *id;
    bool mounts; /* this process has a mount namespace of its own */
};

struct priv_spawner;

struct tw_priv {
    char *state_dir, *id, *journal_path;
    bool root, mounts;

    pthread_mutex_t lock; /* the journal */
    int journal_fd;
    int64_t last_token;
    struct priv_record *records;
    size_t record_count;

    struct priv_spawner *spawner;

    bool group_intended; /* the control group of the run; under the library's lock */
    int64_t group_token;

    pthread_mutex_t net_lock; /* the bridges and their socket */
    struct nl_sock *net;
    int bridge_fd, bridge_index[TW_NETWORKS];
    unsigned links, shapes;
};

/* priv.c: a mount namespace for this process, once. False where that is not allowed. */
bool priv_own_mounts(void);
struct priv_ground priv_ground_of(const struct tw_priv *p);

/* journal.c */
int priv_journal_open(struct tw_priv *p, struct tw_err *err);
void priv_journal_close(struct tw_priv *p);

/* undo.c: 1 removed, 0 was not there, or a negative errno. */
int priv_undo(const struct priv_ground *ground, const struct priv_record *record,
              struct tw_err *err);
extern const char *const priv_intent_names[TW_INTENT_COUNT];

/* mount.c */
int priv_pool_hold(const struct priv_ground *ground,
                   struct tw_err *err); /* image must exist */
void priv_pool_release(const struct priv_ground *ground);
int priv_pool_discard(const char *state_dir, const char *relative, struct tw_err *err);
int priv_unmount_below(const char *path, struct tw_err *err);

/* loop.c: an open loop device of the image, joined or fresh; ret_path needs 32 bytes. */
int priv_loop_open(const char *image, int *ret_fd, char ret_path[32], struct tw_err *err);
int priv_loop_disk(const char *image, enum tw_disk disk, struct tw_err *err);
double priv_loop_writes(const char *image);

/* image.c */
int priv_image_make(struct tw_priv *p, const char *image, int64_t size_bytes,
                    struct tw_err *err);
const char *priv_mkfs_path(void);    /* borrowed, or NULL */
bool priv_reflinks(const char *dir); /* FICLONE works in it */

/* cgroup.c */
enum priv_cgroup_mode {
    PRIV_CGROUP_NONE,
    PRIV_CGROUP_V1,
    PRIV_CGROUP_HYBRID,
    PRIV_CGROUP_V2
};
#define PRIV_CGROUP_HIERARCHIES 16
struct priv_cgroup_mount {
    char *path;        /* where it is mounted */
    char *controllers; /* "cpu,cpuacct", or "" for the unified one */
    bool unified;
};
struct priv_cgroup_layout {
    enum priv_cgroup_mode mode;
    struct priv_cgroup_mount mounts[PRIV_CGROUP_HIERARCHIES];
    size_t count;
    char *others[PRIV_CGROUP_HIERARCHIES]; /* mounts that only an Engine makes groups in */
    size_t other_count;
    char *base; /* group below which ours are, relative to each mount: "twin" */
};
const struct priv_cgroup_layout *priv_cgroup_layout(void);
const struct priv_cgroup_mount *priv_cgroup_find(const char *controller);
int priv_cgroup_remove(const char *group, struct tw_err *err); /* as priv_undo */

/* spawn.c */
int priv_spawner_open(struct tw_priv *p, struct tw_err *err);
void priv_spawner_close(struct tw_priv *p);
/* Start time of a process as in /proc/pid/stat, or -1. */
int64_t priv_start_time(pid_t pid);

/* net.c */
void priv_net_close(struct tw_priv *p);
/* Runs fn in a thread with a network namespace of its own. */
int priv_in_new_netns(int (*fn)(void *arg), void *arg);
/* 0 when a qdisc of that kind can be added. In the caller's network namespace. */
int priv_net_try_qdisc(const char *kind);

/* seccomp.c */
struct tw_filter {
    unsigned short len;
    struct sock_filter *code;
};
enum priv_verdict { PRIV_ALLOW, PRIV_REFUSE };
struct priv_seccomp_group {
    const char *name;
    enum priv_verdict verdict;
    const char *const *calls; /* NULL-terminated */
};
extern const struct priv_seccomp_group priv_seccomp_groups[];
extern const size_t priv_seccomp_group_count;
int priv_filter_export(void *filter, struct tw_filter *ret); /* filter: a scmp_filter_ctx */
/* confine.c: for the calling thread and those it makes from now on. */
int priv_filter_load(const struct tw_filter *filter);
#endif
