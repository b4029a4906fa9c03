/* Supervisor and init of a native sandbox.
 *
 * They share a page (the board) and a socket. A request goes over the socket, with
 * descriptors beside it, and is answered there. How a process ended is written on the
 * board and announced by a counter that the supervisor can poll: nothing is queued, so
 * nobody has to be waited for. */
#ifndef NATIVE_INTERNAL_H
#define NATIVE_INTERNAL_H

#include "sandbox_internal.h"

#include <stdatomic.h>

#define NATIVE_SLOTS       256
#define NATIVE_REQUEST_MAX ((size_t)128 * 1024)
#define NATIVE_FDS_MAX     64
#define NATIVE_ARGS_MAX    8192

enum native_state { NATIVE_FREE, NATIVE_RUNNING, NATIVE_ENDED };
struct native_slot {
    _Atomic uint32_t state; /* (set) by both; a futex */
    int status;             /* (set) by init before NATIVE_ENDED */
    int pid;                /* init's own */
    int error; /* (set) by the child that could not become the program: errno */
};
struct native_board {
    struct tw_err err; /* why init gave up */
    struct native_slot slots[NATIVE_SLOTS];
};

enum native_op { NATIVE_GO, NATIVE_START, NATIVE_SIGNAL };
/* Followed by argc + envc strings and the working directory, each with its NUL. */
struct native_request {
    uint32_t op, slot;
    int32_t signal;
    uint32_t argc, envc, size;
    bool has_stdio[3]; /* in the order of the descriptors, before the others */
    uint32_t fd_count; /* others */
    int64_t nofile, nofile_hard;
};
/* Beside 0 and a negative errno: init has a user namespace of its own and waits for its maps. */
#define NATIVE_WANTS_MAPS 1
struct native_reply {
    int32_t result;
};

/* What init needs, prepared by the supervisor; the memory is init's own copy of the
 * supervisor's. */
struct native_plan {
    const struct tw_priv_cgroup *cgroup;
    const struct tw_filter *filter; /* NULL: none */
    const char *hostname, *empty_dir, *trusted_dir;
    struct tw_link links[TW_SANDBOX_LINKS];
    size_t link_count;
    const char *const *lo; /* addresses */
    size_t lo_count;
    int netns; /* to enter instead of a new one; -1: none */
    bool as_root;
    const struct tw_root_row *rows;
    size_t row_count;
    unsigned uid, gid;
    int control, events;
    struct native_board *board; /* shared */
};
int native_init(void *plan);

/* The rows of the root: fixed ones, then the mounts of the spec. names: those of
 * more_addresses that are no addresses. */
struct native_rows {
    TW_ARRAY(struct tw_root_row) list;
};
/* as_root: /etc/passwd knows the host's system users, whose numbers are those inside. */
void native_rows_make(struct tw_arena *a, const struct tw_sandbox_spec *spec, bool link,
                      struct native_rows *ret);
bool native_is_address(const char *text);
#endif
