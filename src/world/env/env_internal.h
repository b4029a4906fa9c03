/* Sources of targets that are no single service of this host: one file each.
 *
 * Owns    results live in the arena given */
#ifndef ENV_INTERNAL_H
#define ENV_INTERNAL_H

#include "tw/env.h"
#include "tw/service.h"

#include <pthread.h>

struct env_source {
    const char *name; /* the type of its targets: "docker" */
    int (*check_declaration)(const struct tw_target *t, struct tw_err *err);
    int (*targets)(struct tw_arena *a, const struct tw_target *t, struct tw_env_list *ret,
                   struct tw_err *err);
    int (*snapshot)(struct tw_arena *a, const struct tw_target *t, struct tw_snapshot *ret,
                    struct tw_err *err);
};
extern const struct env_source env_source_docker;

/* ---- following; see follow.c ---- */

struct follow;
/* One target: owned by the list of its round, which lives until the declarations change. */
struct followed {
    struct follow *f;
    const struct tw_service_kind *kind; /* NULL: of a source */
    struct tw_target t;
    struct tw_arena *arena;             /* owned: of known, which is asked for again and again */
    struct tw_follow_known known;
    int64_t touched_ns, ask_known_ns; /* 0: not */
    char *what; /* owned */
    bool has_thread;
    pthread_t thread;
};
void env_follow_touched(struct followed *one, const char *what);
void env_follow_metric(struct followed *one, const char *name, double value);
void env_follow_state(struct followed *one, const char *problem);
double env_follow_metrics_s(const struct followed *one);
bool env_follow_ended(struct followed *one);
/* Waits so long; false: it is the end. */
bool env_follow_wait(struct followed *one, double seconds);

/* Thread bodies: a session's pulse, an Engine's events. */
void *env_follow_pulse(void *arg);
void *env_follow_engine(void *arg);

/* Files and directories: which targets a path is of. */
struct env_files;
struct env_files *env_files_new(void);
void env_files_free(struct env_files *w);
int env_files_fd(const struct env_files *w);
/* Watches the paths of one more target; problem in err when none could be. */
int env_files_add(struct env_files *w, struct followed *one, struct tw_err *err);
/* What has happened since, told through env_follow_touched. true: a directory went, watch anew. */
bool env_files_read(struct env_files *w);

/* Rule sets of this host: a socket that the kernel writes to; negative errno where it may not. */
int env_rules_open(void);
bool env_rules_read(int fd); /* something changed */
/* ---- secrets.c ---- */
/* Whole connection strings for those from this one on, where the file may be read. */
void env_secrets_join(struct tw_arena *a, const char *path, struct tw_env_list *list, size_t from);
/* Writes what is secret of them to path; ret_open: the list as everybody may see it. */
int env_secrets_part(struct tw_arena *a, const char *path, const struct tw_env_list *list,
                     struct tw_env_list *ret_open, struct tw_err *err);

#endif
