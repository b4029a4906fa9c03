/* History in SQLite (WAL, synchronous=FULL): schema, migrations, one file per noun.
 *
 * Errors  -ENOENT no such simulation (nearest id named), -EIO what SQLite says
 * Owns    texts live in the arena given */
#ifndef TW_STORE_H
#define TW_STORE_H

#include "tw/spec.h"

struct tw_store;
int tw_store_open(const char *state_dir, struct tw_store **ret, struct tw_err *err);
void tw_store_close(struct tw_store *s);
/* The whole body as JSON, replaced; durable when it returns. */
int tw_store_put(struct tw_store *s, const struct tw_simulation *sim, struct tw_err *err);
/* A prefix of the id is enough when it is unique. */
int tw_store_get(struct tw_store *s, struct tw_arena *a, const char *id, const char **ret_json,
                 struct tw_err *err);
int tw_store_remove(struct tw_store *s, const char *id, struct tw_err *err);
struct tw_store_row {
    const char *id, *status, *decision, *type, *target, *summary, *environment;
    double risk_score;
    int64_t created_wall_ns;
};
struct tw_store_rows {
    TW_ARRAY(struct tw_store_row) list;
};
int tw_store_list(struct tw_store *s, struct tw_arena *a, const char *target, int limit,
                  struct tw_store_rows *ret, struct tw_err *err);

/* ---- what the daemon keeps beside the body ---- */

/* A simulation by its whole id; -ENOENT. etag changes with every change of the body. */
struct tw_store_simulation {
    const char *id, *status, *decision, *environment, *target, *type, *requester, *body;
    int64_t created_wall_ns, updated_wall_ns;
    int priority, attempts;
};
int tw_store_find(struct tw_store *s, struct tw_arena *a, const char *id,
                  struct tw_store_simulation *ret, struct tw_err *err);
/* Who asked for it, and how urgent it is (higher is sooner). */
int tw_store_own(struct tw_store *s, const char *id, const char *requester, int priority,
                 struct tw_err *err);
/* One more attempt at running it. */
int tw_store_attempt(struct tw_store *s, const char *id, struct tw_err *err);
/* Those that were accepted and have not ended: queued and running, most urgent and oldest first. */
struct tw_store_simulations {
    TW_ARRAY(struct tw_store_simulation) list;
};
int tw_store_unfinished(struct tw_store *s, struct tw_arena *a, struct tw_store_simulations *ret,
                        struct tw_err *err);
/* The newest successful ones of a target, body "". environment NULL: any. */
int tw_store_answers(struct tw_store *s, struct tw_arena *a, const char *environment,
                     const char *target, int limit, struct tw_store_simulations *ret,
                     struct tw_err *err);
struct tw_store_filter {
    const char *target, *environment, *status, *decision, *type; /* NULL: any */
    int64_t before_wall_ns; /* with before_id: the last row of the page before; 0: from the newest */
    const char *before_id;
    int limit;
};
int tw_store_page(struct tw_store *s, struct tw_arena *a, const struct tw_store_filter *f,
                  struct tw_store_rows *ret, struct tw_err *err);
/* How many have each status, by enum tw_status. */
int tw_store_counts(struct tw_store *s, int64_t ret_counts[TW_STATUS_COUNT], struct tw_err *err);
/* What really happened; replaces an earlier one. */
int tw_store_outcome_put(struct tw_store *s, const char *id, const char *by, const char *body,
                         struct tw_err *err);
int tw_store_outcome_get(struct tw_store *s, struct tw_arena *a, const char *id,
                         const char **ret_body, struct tw_err *err); /* NULL: none */

/* ---- repeats: the answer that an Idempotency-Key stands for ---- */

struct tw_store_key {
    const char *subject, *key, *request_sha256, *simulation; /* simulation NULL: none */
    int status;         /* of the answer; 0: not given yet */
    const char *answer; /* NULL: not given yet */
};
/* -ENOENT no such key. */
int tw_store_key_get(struct tw_store *s, struct tw_arena *a, const char *subject, const char *key,
                     struct tw_store_key *ret, struct tw_err *err);
int tw_store_key_put(struct tw_store *s, const struct tw_store_key *k, struct tw_err *err);

/* ---- tokens, approvals, audit entries, alerts ---- */

struct tw_store_token {
    const char *id, *person, *roles, *environments, *types, *note, *created_by; /* lists: "a,b" */
    unsigned char hash[32];
    bool automaton;
    int64_t created_wall_ns, expires_wall_ns, revoked_wall_ns, used_wall_ns; /* 0: never */
};
struct tw_store_tokens {
    TW_ARRAY(struct tw_store_token) list;
};
int tw_store_token_put(struct tw_store *s, const struct tw_store_token *t, struct tw_err *err);
int tw_store_token_get(struct tw_store *s, struct tw_arena *a, const char *id,
                       struct tw_store_token *ret, struct tw_err *err);
int tw_store_token_list(struct tw_store *s, struct tw_arena *a, struct tw_store_tokens *ret,
                        struct tw_err *err);

struct tw_store_approval {
    const char *id, *simulation, *plan_sha256, *environment, *type, *target, *requester, *state,
        *approver, *comment; /* state: pending approved rejected expired */
    double risk_score;
    int64_t created_wall_ns, expires_wall_ns, decided_wall_ns;
};
struct tw_store_approvals {
    TW_ARRAY(struct tw_store_approval) list;
};
int tw_store_approval_put(struct tw_store *s, const struct tw_store_approval *p,
                          struct tw_err *err);
int tw_store_approval_get(struct tw_store *s, struct tw_arena *a, const char *id,
                          struct tw_store_approval *ret, struct tw_err *err);
/* state NULL: any; newest first, from before the id given (NULL: from the newest). */
int tw_store_approval_list(struct tw_store *s, struct tw_arena *a, const char *state,
                           const char *before_id, int limit, struct tw_store_approvals *ret,
                           struct tw_err *err);

struct tw_store_audit {
    int64_t seq, at_wall_ns;
    const char *actor, *action, *object, *result, *source, *detail; /* detail: JSON */
    unsigned char mac[32];
};
struct tw_store_audits {
    TW_ARRAY(struct tw_store_audit) list;
};
int tw_store_audit_add(struct tw_store *s, const struct tw_store_audit *e, struct tw_err *err);
/* The last one; seq 0: none yet. */
int tw_store_audit_last(struct tw_store *s, struct tw_arena *a, struct tw_store_audit *ret,
                        struct tw_err *err);
/* before 0: ascending from the entry after `after`; else descending from the one before `before`. */
int tw_store_audit_list(struct tw_store *s, struct tw_arena *a, int64_t after, int64_t before,
                        int limit, struct tw_store_audits *ret, struct tw_err *err);

struct tw_store_alert {
    int64_t id, created_wall_ns, next_wall_ns; /* next: of the next try */
    const char *hook, *kind, *body, *state, *error; /* state: pending sent dead */
    int attempts;
};
struct tw_store_alerts {
    TW_ARRAY(struct tw_store_alert) list;
};
int tw_store_alert_add(struct tw_store *s, const struct tw_store_alert *al, struct tw_err *err);
int tw_store_alert_update(struct tw_store *s, const struct tw_store_alert *al, struct tw_err *err);
/* Pending ones that are due. */
int tw_store_alert_due(struct tw_store *s, struct tw_arena *a, int64_t now_wall_ns, int limit,
                       struct tw_store_alerts *ret, struct tw_err *err);
int tw_store_alert_counts(struct tw_store *s, int64_t *ret_pending, int64_t *ret_dead,
                          struct tw_err *err);

/* ---- environments: snapshots and metrics ---- */

struct tw_store_snapshot {
    const char *sha256, *environment, *target, *body, *drift; /* drift: JSON, NULL: none */
    int64_t taken_wall_ns;
};
struct tw_store_snapshots {
    TW_ARRAY(struct tw_store_snapshot) list;
};
int tw_store_snapshot_add(struct tw_store *s, const struct tw_store_snapshot *n,
                          struct tw_err *err);
/* Newest first. */
int tw_store_snapshot_list(struct tw_store *s, struct tw_arena *a, const char *environment,
                           const char *target, int limit, struct tw_store_snapshots *ret,
                           struct tw_err *err);
/* The same without their bodies. */
int tw_store_snapshot_heads(struct tw_store *s, struct tw_arena *a, const char *environment,
                            const char *target, int limit, struct tw_store_snapshots *ret,
                            struct tw_err *err);
/* Those that differed from the one before, newest first, without their bodies. */
int tw_store_drift_list(struct tw_store *s, struct tw_arena *a, const char *environment,
                        const char *target, int limit, struct tw_store_snapshots *ret,
                        struct tw_err *err);
int tw_store_snapshot_remove(struct tw_store *s, const char *environment, const char *target,
                             int64_t taken_wall_ns, struct tw_err *err);
struct tw_store_point {
    const char *environment, *target, *metric;
    int64_t at_wall_ns;
    double value;
    int64_t n; /* of how many points it is the mean */
};
struct tw_store_points {
    TW_ARRAY(struct tw_store_point) list;
};
int tw_store_point_add(struct tw_store *s, const struct tw_store_point *p, struct tw_err *err);
/* Means over steps of step_ns; target and metric NULL: any. Ascending. */
int tw_store_point_list(struct tw_store *s, struct tw_arena *a, const char *environment,
                        const char *target, const char *metric, int64_t from_wall_ns,
                        int64_t to_wall_ns, int64_t step_ns, struct tw_store_points *ret,
                        struct tw_err *err);
/* Points, repeats and sent alerts from before that time go. */
int tw_store_forget(struct tw_store *s, int64_t before_wall_ns, struct tw_err *err);

/* ---- transactions ---- */

int tw_store_begin(struct tw_store *s, struct tw_err *err);
int tw_store_commit(struct tw_store *s, struct tw_err *err);
void tw_store_rollback(struct tw_store *s);

/* Readers for several threads, and one writer thread: what is handed to it while it waits for the disk
 * is committed together (group commit), each work whole or not at all. */
struct tw_store_pool;
int tw_store_pool_open(const char *state_dir, struct tw_store_pool **ret, struct tw_err *err);
/* Work that was handed over is done first. NULL is fine. */
void tw_store_pool_close(struct tw_store_pool *p);
struct tw_store *tw_store_pool_take(struct tw_store_pool *p, struct tw_err *err); /* NULL: err */
void tw_store_pool_give(struct tw_store_pool *p, struct tw_store *s);
typedef int tw_store_work_fn(void *arg, struct tw_store *s, struct tw_err *err);
/* On the writer's thread, after the commit; err->text tells a failure. */
typedef void tw_store_done_fn(void *arg, int result, const struct tw_err *err);
void tw_store_pool_write(struct tw_store_pool *p, tw_store_work_fn *work, tw_store_done_fn *done,
                         void *arg);
/* The same, waited for. */
int tw_store_pool_write_wait(struct tw_store_pool *p, tw_store_work_fn *work, void *arg,
                             struct tw_err *err);
struct tw_store_pool_counts {
    uint64_t works, commits, failed;
};
struct tw_store_pool_counts tw_store_pool_counts(struct tw_store_pool *p);
#endif
