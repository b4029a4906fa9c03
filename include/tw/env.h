/* Finds targets and takes their snapshots, secrets redacted. One file per source.
 *
 * Errors  -ENOENT unknown target (nearest named), -EINVAL a declaration that lacks something
 *         (which), -EEXIST already there, -ENOTUNIQ in several environments (named)
 * Owns    results live in the arena given
 * Where   <state>/environments.json, written as a whole; declarations of twin.yaml come first. Passwords of
 *         connection strings in environments.secrets.json beside it, of the owner alone: whoever may not
 *         read that gets them redacted */
#ifndef TW_ENV_H
#define TW_ENV_H

#include "tw/spec.h"

struct tw_env_list {
    TW_ARRAY(struct tw_target) targets;
};
int tw_env_load(struct tw_arena *a, const char *state_dir, struct tw_env_list *ret,
                struct tw_err *err);
/* Does the declaration say enough? tw_env_add asks it too. */
int tw_env_check(const struct tw_target *target, struct tw_err *err);
int tw_env_add(const char *state_dir, const struct tw_target *target, struct tw_err *err);
int tw_env_remove(const char *state_dir, const char *environment, const char *name,
                  struct tw_err *err);
/* environment NULL: the only one with that target. Where a Compose project is declared as shop, its
 * services are the targets shop/web, …: that the service is there shows when it is looked at. */
int tw_env_find(const struct tw_env_list *list, const char *environment, const char *name,
                struct tw_target *ret, struct tw_err *err);
/* The target as it is now: dispatches to its kind, adds host limits, hashes. Host memory and cpus
 * of a local target are read where the declaration does not say. */
int tw_env_snapshot(struct tw_arena *a, const struct tw_target *target,
                    struct tw_snapshot *ret, struct tw_err *err);
/* May this target's data be cloned at all? The data mode is the permission; -EINVAL says how to give
 * it. */
int tw_env_check_clone(const struct tw_target *target, struct tw_err *err);

/* The way into a container: what serves in it, as a target of its own kind. */
struct tw_docker_container;
struct tw_env_way {
    struct tw_target target;  /* type is that of the service; with its secrets: never stored */
    const struct tw_docker_container *container; /* as the Engine inspects it */
    const char *engine;       /* "unix:///run/docker.sock" */
    bool by_files;            /* its kind looks at files and processes where it stands; else it is asked
                                 over its own loopback */
    bool begun_by_words;      /* the container's own words begin it, and it may have written over them */
    int pid;                  /* of the process that serves */
    unsigned uid, gid;        /* of it, inside */
    const char *program;      /* of it, inside */
};
/* Of a container, or of the first one of a service of Compose. -ENOENT: it does not run. */
int tw_env_enter(struct tw_arena *a, const struct tw_target *target, struct tw_env_way *ret,
                 struct tw_err *err);

/* Between two snapshots as JSON: [{"kind", "name", "before", "after"}], empty: none. New reference. */
json_t *tw_env_drift(const json_t *before, const json_t *after);
/* In words, at most so many: "work_mem: '4096' is now '8192'; …". owned: free() */
char *tw_env_drift_text(const json_t *drift, size_t most);
/* Passwords that still stand in the declarations themselves are taken out of them: before another user reads
 * them, at the start of a daemon. */
int tw_env_settle(const char *state_dir, struct tw_err *err);
/* The targets that a declaration stands for: a Compose project its services, asked of the Engine now; any
 * other itself. */
int tw_env_targets(struct tw_arena *a, const struct tw_target *target, struct tw_env_list *ret,
                   struct tw_err *err);
/* The declarations of twin.yaml, which come before those added by command; replaces the ones declared by
 * it before. */
int tw_env_declare(const char *state_dir, const struct tw_env_list *list, struct tw_err *err);

/* ---- following: what changes at targets between two snapshots, told as it happens ----
 * Files and their directories by inotify, what runs by the pulse of its kind (one session that stays
 * open, a question a second), rule sets by the kernel's own monitor, containers by the Engine's events.
 * A thread for each session; callbacks come one at a time. */

/* Paths that the newest snapshot names; none: nothing is stored of the target. */
struct tw_follow_known {
    TW_ARRAY(const char *) paths;
    bool stored;
};
struct tw_follow_options {
    const char *state_dir;
    double metrics_s;        /* between two readings of counters; 0: 60 */
    const volatile bool *cancel;
    void (*known)(void *arg, struct tw_arena *a, const struct tw_target *t,
                  struct tw_follow_known *ret);
    /* Something is not as it was: look at it. what: where that was seen. */
    void (*touched)(void *arg, const struct tw_target *t, const char *what);
    void (*metric)(void *arg, const struct tw_target *t, const char *name, double value);
    /* Its changes are followed (problem NULL), or not, because. */
    void (*state)(void *arg, const struct tw_target *t, const char *problem);
    void *arg;
};
/* Until *cancel; declarations are read again when they change. Its threads end with the process, which is
 * expected to end then. */
int tw_env_follow(const struct tw_follow_options *options, struct tw_err *err);

#endif
