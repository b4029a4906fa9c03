/* One clone, entered: a service started, judged, reloaded, restarted and stopped in its sandbox.
 * A room beside those of the style guide: inject, load, sample and trial all need a running service
 * and none of them is about running one.
 *
 * Errors  what the service does wrong is a result, not an error; an error is ours
 * Owns    a twin owns its sandbox; the clone is borrowed until tw_twin_close */
#ifndef TW_TWIN_H
#define TW_TWIN_H

#include "tw/pg.h"
#include "tw/pool.h"
#include "tw/sandbox.h"
#include "tw/service.h"
#include "tw/twin_page.h"

struct tw_twin;
struct tw_twin_spec {
    const char *id, *name;            /* simulation id, "baseline" … */
    enum tw_arm arm;
    const struct tw_service_kind *kind;
    const struct tw_snapshot *snapshot;
    const char *clone_root;
    const struct tw_plan *plan;       /* for files its values name; NULL */
    unsigned uid, gid;
    int64_t memory_bytes;
    double cpus;
    const char *cpuset;
    const char *address;              /* in the twin network; NULL: no link */
    int network;                      /* of its arm */
    const struct tw_sandbox *beside;  /* shares the network of that one; then no address; NULL */
    const char *backend;              /* of its sandbox; NULL: native */
    const struct tw_sandbox_container *container; /* what it is made of there; NULL */
    const void *preload;              /* library that its processes load (tw_fault_preload); NULL */
    size_t preload_len;
    const char *listens_too;          /* address that it is reached at beside its own, for faults of its
                                         link; NULL */
    TW_ARRAY(struct tw_sandbox_host) hosts; /* names of neighbours in that network */
};
int tw_twin_open(struct tw_priv *priv, const struct tw_twin_spec *spec, struct tw_twin **ret,
                 struct tw_err *err); /* owned: tw_twin_close */
/* Would it be the same, had it been opened for this plan? Its sandbox shows what the plan names, and what is
 * read of the settings at its opening stays. */
bool tw_twin_serves(const struct tw_twin *t, const struct tw_plan *plan);
void tw_twin_close(struct tw_twin *t);

struct tw_started {
    bool ready;           /* it serves */
    bool timed_out;       /* neither ready nor gone by the deadline */
    int wait_status;      /* when it ended */
    double seconds;       /* until ready or gone */
    size_t log_from;      /* offset in the log at which this start began */
};
int tw_twin_start(struct tw_twin *t, enum tw_start_mode mode, int64_t deadline_ns,
                  struct tw_started *ret, struct tw_err *err);
/* Begin and finish apart, so that several twins start at once. */
int tw_twin_start_begin(struct tw_twin *t, enum tw_start_mode mode, struct tw_err *err);
int tw_twin_start_finish(struct tw_twin *t, int64_t deadline_ns, struct tw_started *ret,
                         struct tw_err *err);
/* Runs the service's own program once (TW_START_ASK); access->asked is what it printed. */
int tw_twin_ask(struct tw_twin *t, int64_t deadline_ns, struct tw_err *err);
int tw_twin_reload(struct tw_twin *t, struct tw_err *err);
/* Clean stop as its supervisor would; ret_seconds may be NULL. Killed at the deadline. */
int tw_twin_stop(struct tw_twin *t, int64_t deadline_ns, double *ret_seconds,
                 struct tw_err *err);
/* SIGKILL to the service, as if it had crashed; it may be started again. */
int tw_twin_kill(struct tw_twin *t, struct tw_err *err);
bool tw_twin_running(struct tw_twin *t);
int tw_twin_port(const struct tw_twin *t); /* of a service that has one port; 0 unknown */
/* Shared with the library in its processes; NULL: opened without. Borrowed. */
struct tw_twin_page *tw_twin_page(struct tw_twin *t);
/* Fills log (read anew) and paths. Borrowed until the next call. */
const struct tw_access *tw_twin_access(struct tw_twin *t);
struct tw_sandbox *tw_twin_sandbox(struct tw_twin *t);
/* As the scratch superuser over the private socket; database NULL: "postgres". -EOPNOTSUPP: the kind is
 * no PostgreSQL. */
int tw_twin_connect(struct tw_twin *t, const char *database, struct tw_pg **ret,
                    struct tw_err *err);
/* How a client that sees the runtime directory at dir reaches it: conninfo without dbname; NULL for a
 * kind that is no PostgreSQL. */
const char *tw_twin_conninfo_at(struct tw_twin *t, struct tw_arena *a, const char *dir);
const char *tw_twin_runtime_dir(struct tw_twin *t); /* host path of its private socket */
enum tw_arm tw_twin_arm(const struct tw_twin *t);
const struct tw_service_kind *tw_twin_kind(const struct tw_twin *t);

/* Brings a fresh seed to rest: a twin on the seed itself (spec->clone_root is its root) is started,
 * recovered, made harmless and stopped cleanly. */
int tw_twin_settle(struct tw_priv *priv, const struct tw_twin_spec *spec, struct tw_arena *a,
                   struct tw_issues *differences, struct tw_err *err);
#endif
