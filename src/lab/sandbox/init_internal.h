/* Supervisor and init of a sandbox.
 *
 * They share a page (the board) and a socket. A request goes over the socket, with
 * descriptors beside it, and is answered there. How a process ended is written on the
 * board and announced by a counter that the supervisor can poll: nothing is queued, so
 * nobody has to be waited for. The init of a native sandbox is a copy of the supervisor, that of a
 * container a static program (twin_init.c); both serve by init_loop.c, and the supervisor's side of
 * either is channel.c. */
#ifndef INIT_INTERNAL_H
#define INIT_INTERNAL_H

#include "sandbox_internal.h"

#include <stdatomic.h>

#define INIT_SLOTS       256
#define INIT_REQUEST_MAX ((size_t)128 * 1024)
#define INIT_FDS_MAX     64
#define INIT_ARGS_MAX    8192

enum init_state { INIT_FREE, INIT_RUNNING, INIT_ENDED };
struct init_slot {
    _Atomic uint32_t state; /* (set) by both; a futex */
    int status;             /* (set) by init before INIT_ENDED */
    int pid;                /* init's own */
    int error; /* (set) by the child that could not become the program: errno */
};
struct init_board {
    struct tw_err err; /* why init gave up */
    struct init_slot slots[INIT_SLOTS];
};

enum init_op { INIT_GO, INIT_START, INIT_SIGNAL, INIT_BOOT }; /* BOOT: it becomes the program itself */
/* Followed by argc + envc strings and the working directory, each with its NUL. */
struct init_request {
    uint32_t op, slot;
    int32_t signal;
    uint32_t argc, envc, size;
    bool has_stdio[3]; /* in the order of the descriptors, before the others */
    uint32_t fd_count; /* others */
    int64_t nofile, nofile_hard;
};
/* Beside 0 and a negative errno: init has a user namespace of its own and waits for its maps. */
#define INIT_WANTS_MAPS 1
struct init_reply {
    int32_t result;
};

/* ---- the side of init (init_loop.c) ---- */

/* Blocks signals, makes room for requests. */
struct init_inbox;
struct init_loop {
    int control, events; /* (set) */
    struct init_board *board; /* (set) */
    int children;
    struct init_inbox *inbox;
};
int init_prepare(struct init_loop *in);
/* Serves until the supervisor has gone. */
void init_serve(struct init_loop *in);
/* Of what is open, the standard three become /dev/null and these two stay. */
int init_keep_two(int one, int other);

/* ---- the side of the supervisor (channel.c) ---- */

struct channel {
    char *name;               /* of the sandbox, for errors; owned */
    struct init_board *board; /* owned mapping */
    int board_fd;             /* of it; -1: anonymous */
    int control, events, poll_fd; /* owned; poll_fd: events and pidfd in one */
    int pidfd;                /* of init; owned; -1: none */
    bool frozen;
    uint32_t generation[INIT_SLOTS]; /* a handle is generation * slots + slot */
    bool used[INIT_SLOTS];
};
void channel_init(struct channel *c, const char *name);
void channel_done(struct channel *c);
/* Counter and board; shared: the board can be sent to another program. */
int channel_make(struct channel *c, bool shared, struct tw_err *err);
int channel_watch(struct channel *c, struct tw_err *err); /* from now on pidfd is set */
int channel_await(struct channel *c, int32_t *ret_result, struct tw_err *err);
int channel_go(struct channel *c, struct tw_err *err);
int channel_start(struct channel *c, const struct tw_process_spec *spec, int *ret_handle,
                  struct tw_err *err);
int channel_signal(struct channel *c, int handle, int signal, struct tw_err *err);
int channel_wait(struct channel *c, int handle, int64_t deadline_ns, int *ret_status,
                 struct tw_err *err);
/* Init becomes the program; 0 when it has. */
int channel_boot(struct channel *c, const struct tw_process_spec *spec, struct tw_err *err);
int channel_check_awake(const struct channel *c, struct tw_err *err);
/* "pid starttime" in the journal, so that a reaper ends what its supervisor could not. */
int channel_record(struct tw_priv *priv, pid_t pid, int64_t *ret_token, struct tw_err *err);
#endif
