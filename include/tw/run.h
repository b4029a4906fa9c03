/* The sequence from change to decision: stages, progress, time-outs, cancelling, tearing down.
 *
 * Errors  negative errno is "no answer" or bad input: see the exit codes of cmd. A change that
 *         breaks the service is a success with bad news
 * Owns    the simulation is the caller's and carries everything found, also when it failed
 * Steps   run.<stage>.begun and run.<stage>.done for every stage of the table in run.c */
#ifndef TW_RUN_H
#define TW_RUN_H

#include "tw/spec.h"

/* What happens while it runs. */
struct tw_run_event {
    const char *id, *stage;  /* stage: a row of the table in run.c */
    double done;             /* 0..1 of the whole, by the budget */
    double elapsed_s, left_s;
    double p50_ms[TW_ARM_COUNT], p95_ms[TW_ARM_COUNT], throughput_per_s[TW_ARM_COUNT];
    double confidence;
    int pairs;
};
struct tw_run_options {
    const char *state_dir, *policy_path, *backend; /* NULL: default */
    const char *data;        /* "clone": permission for this run; NULL: as declared */
    const char *program;     /* this program's own path, for the load generator; NULL: found */
    void (*event)(void *arg, const struct tw_run_event *e);
    void *arg;
    const volatile bool *cancel;
    /* Called with the twins standing where the request says keep; they go when it returns. where: how
     * to enter them, a line each. */
    void (*kept)(void *arg, const char *where);
    bool dry_run;            /* validate and plan, nothing else */
    bool no_history;         /* the caller keeps it */
};
/* Fills sim (status, error, impact, decision …) from sim->request; returns 0 also for a simulation
 * that failed (status and error tell); negative only for bad input (-EINVAL family, nothing was
 * cloned). */
int tw_run(const struct tw_run_options *options, struct tw_simulation *sim, struct tw_err *err);
/* Several variants of one target, sharing the seed and the baseline. The first owns what they
 * share: free them together. */
int tw_run_sweep(const struct tw_run_options *options, struct tw_simulation **sims, size_t n,
                 struct tw_err *err);
/* Takes a snapshot of sim->request.target and brings a seed of its data to rest, so that the next
 * run begins at once. Errors as tw_run; sim gets target, snapshot, stages. */
int tw_run_sync(const struct tw_run_options *options, struct tw_simulation *sim,
                struct tw_err *err);

/* The same, begun before the change is known: twins of place->request.target are made ready, then waits for
 * the simulation and runs it. What stands ready is used where it is exactly what the run would make for
 * itself now; else the run is one like any other. */
struct tw_run_next {
    bool (*hurry)(void *arg); /* it is there already, or none will come */
    int (*wait)(void *arg, struct tw_err *err); /* -ECANCELED: none will come */
    int (*read)(void *arg, struct tw_simulation **ret, struct tw_err *err); /* owned; a new one each time */
    void *arg;
};
/* *ret: owned, NULL where none came; it shares place's memory, which is freed after it. Errors as tw_run, and
 * negative too when nothing could be made ready, before anything was waited for. */
int tw_run_standby(const struct tw_run_options *options, struct tw_simulation *place,
                   const struct tw_run_next *next, struct tw_simulation **ret, struct tw_err *err);

/* ---- several at once, each in a process of its own (docs/internals/api.md) ----
 * A crash costs one simulation. A worker is this program, started by the privileged helper as
 * `twin _worker VERB STATE_DIR [POLICY]`: its job comes on standard input, events and the result go out
 * as lines of JSON. */

/* The worker's side; argv begins with the verb. Returns its exit code. */
int tw_worker_main(int argc, char **argv, const volatile bool *cancel);
const char *const *tw_worker_verbs(void); /* NULL-terminated */
const char *const *tw_worker_waiting(void); /* those that are given their job later */

/* Bytes that its twins may take together, by the newest snapshot (NULL: none yet) and the change. */
int64_t tw_run_memory(const json_t *snapshot, const json_t *simulation);

struct tw_helper;
struct tw_queue;
struct tw_job {
    const char *id;         /* of the simulation, or of a sync */
    const char *verb;       /* "run", "sync", "look" (the snapshot alone), "follow" */
    bool aside;             /* light: starts at once, beside the max_parallel others */
    bool endless;           /* no time-out: it ends with the queue */
    bool plain;             /* twins that stand ready may serve it (tw_run_standby) */
    int priority;           /* higher is sooner; equal ones by arrival */
    const char *simulation; /* its body as JSON */
    const char *environment, *target, *type; /* for whoever is told */
    int64_t memory_bytes;   /* its twins may take together; 0: not known */
};
/* How a job ended. body NULL: none came (crash, time-out while clearing …), why tells. */
struct tw_job_end {
    const struct tw_job *job;
    const json_t *body;
    bool refused;           /* bad input: nothing was cloned; the body's "problem" names the field */
    bool cancelled, timed_out;
    const char *why;        /* NULL: the body says all */
    double seconds;
};
struct tw_queue_options {
    struct tw_helper *helper; /* starts the workers; taken */
    const char *reconnect;  /* the helper's socket, to go back to when it was restarted; NULL: none */
    int max_parallel;       /* 0: 10 */
    int cores;              /* that twins may keep busy; 0: all of this host */
    int64_t memory_bytes;   /* of all together; 0: no bound. A job that is larger than all of it runs alone */
    double timeout_s;       /* 0: 30 minutes */
    double warm_s;          /* twins of a target stand ready so long after its last simulation; 0: none do */
    /* All on the queue's thread. */
    void (*started)(void *arg, const struct tw_job *job);
    void (*event)(void *arg, const struct tw_job *job, const json_t *event);
    void (*ended)(void *arg, const struct tw_job_end *end);
    void (*lost)(void *arg);  /* the helper is gone and there is no way back */
    void *arg;
};
int tw_queue_open(const struct tw_queue_options *options, struct tw_queue **ret,
                  struct tw_err *err);
/* Running workers are told to stop and waited for. ended() is not called for simulations that have not
 * ended: the next start takes them up. NULL is fine. */
void tw_queue_close(struct tw_queue *q);
void tw_queue_add(struct tw_queue *q, const struct tw_job *job); /* copied */
/* false: it is not here (any more). */
bool tw_queue_cancel(struct tw_queue *q, const char *id);
struct tw_queue_counts {
    int waiting, running;
    int warm;               /* targets whose twins stand ready */
    int64_t warmed;         /* simulations that began with such */
};
struct tw_queue_counts tw_queue_counts(struct tw_queue *q);

const char *tw_state_dir_default(struct tw_arena *a); /* TWIN_STATE_DIR, /var/lib/twin, XDG */
#endif
