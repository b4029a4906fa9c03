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

struct tw_twin;
struct tw_twin_spec {
    const char *id, *name;            /* simulation id, "baseline" … */
    enum tw_arm arm;
    const struct tw_service_kind *kind;
    const struct tw_snapshot *snapshot;
    const char *clone_root;
    unsigned uid, gid;
    int64_t memory_bytes;
    double cpus;
    const char *cpuset;
    const char *address;              /* NULL: no link */
};
int tw_twin_open(struct tw_priv *priv, const struct tw_twin_spec *spec, struct tw_twin **ret,
                 struct tw_err *err); /* owned: tw_twin_close */
void tw_twin_close(struct tw_twin *t);

struct tw_started {
    bool ready;           /* it serves */
    bool timed_out;       /* neither ready nor gone by the deadline */
    int wait_status;      /* when it ended */
    double seconds;       /* until ready or gone */
    size_t log_from;      /* offset in the log at which this start began */
};
int tw_twin_start(struct tw_twin *t, enum tw_start_mode mode, bool settling, int64_t deadline_ns,
                  struct tw_started *ret, struct tw_err *err);
/* Begin and finish apart, so that several twins start at once. */
int tw_twin_start_begin(struct tw_twin *t, enum tw_start_mode mode, bool settling,
                        struct tw_err *err);
int tw_twin_start_finish(struct tw_twin *t, int64_t deadline_ns, struct tw_started *ret,
                         struct tw_err *err);
int tw_twin_reload(struct tw_twin *t, struct tw_err *err);
/* Clean stop as its supervisor would; ret_seconds may be NULL. Killed at the deadline. */
int tw_twin_stop(struct tw_twin *t, int64_t deadline_ns, double *ret_seconds,
                 struct tw_err *err);
bool tw_twin_running(struct tw_twin *t);
/* Fills log (read anew) and paths. Borrowed until the next call. */
const struct tw_access *tw_twin_access(struct tw_twin *t);
struct tw_sandbox *tw_twin_sandbox(struct tw_twin *t);
/* As the scratch superuser over the private socket; database NULL: "postgres". */
int tw_twin_connect(struct tw_twin *t, const char *database, struct tw_pg **ret,
                    struct tw_err *err);
/* How the load reaches it from the client sandbox: conninfo without dbname. Borrowed. */
const char *tw_twin_client_conninfo(struct tw_twin *t);
const char *tw_twin_runtime_dir(struct tw_twin *t); /* host path of its private socket */
enum tw_arm tw_twin_arm(const struct tw_twin *t);
#endif
