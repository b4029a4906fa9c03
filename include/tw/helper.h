/* The privileged helper (`twin sandboxd`): the only one that makes namespaces, cgroups and mounts and
 * reaches the Docker socket for the daemon. It takes a fixed set of verbs on a Unix socket, starts
 * workers, bounds them, ends them and clears up after them. Its client knows simulations, not privilege.
 *
 * Verbs   work (verb of a worker, id, the job in sealed memory, a pipe for what it tells), hand (a further
 *         job for a worker that waits for one), stop, kill, ping
 * Cut     whoever speaks to it chooses which simulation runs, never a program, an environment variable,
 *         a path or a policy: docs/decisions/0004-the-helper-starts-workers.md
 * Errors  -ECONNRESET the helper is gone; -EPROTO somebody else answers
 * Owns    a worker lives no longer than the connection that asked for it, and than the helper
 * Steps   helper.ready, helper.asked, helper.started, helper.ended, helper.buried */
#ifndef TW_HELPER_H
#define TW_HELPER_H

#include "tw/base.h"

#include <sys/types.h>

#define TW_HELPER_SOCKET "/run/twin/sandboxd.sock"

/* ---- who may, and where: at the start, by root ---- */

struct tw_owner {
    unsigned uid, gid;
};
/* The account the daemon runs as: name, or "twin" (NULL), or where there is none of that name a number
 * that nobody has. Not root: oneself. */
int tw_helper_account(const char *name, struct tw_owner *ret, struct tw_err *err);
/* Gives the daemon its part of the state directory (the history, the audit key, which may be elsewhere)
 * and keeps the rest of it from the daemon: it may make files there, but remove and rename its own only.
 * Only as root; else nothing is to be done. */
int tw_helper_share(const char *state_dir, const char *audit_key, const struct tw_owner *daemon,
                    struct tw_err *err);
/* The calling process sees from now on only the programs' own files, the configuration, its state
 * directory and `also` (NULL: none), each in its place. -EPERM where this host does not let us. */
int tw_helper_narrow(const char *state_dir, const char *also, struct tw_err *err);

/* ---- the helper ---- */

struct tw_helper_options {
    const char *state_dir, *policy_path; /* given to every worker */
    const char *program;                 /* of the workers; NULL: this one */
    const char *const *verbs;            /* what a worker may be asked for; NULL-terminated */
    const char *const *waiting;          /* those of them that are given a further job later; NULL: none */
    const char *socket_path;             /* made, mode 0660, of the account's group; or NULL … */
    int connection;                      /* … and this one, taken: the helper ends with it */
    struct tw_owner daemon;              /* who may connect, beside root */
    int max_workers;
    int64_t memory_bytes;                /* what one worker may use at most; 0: no bound */
    int tick_ms;                         /* -1: none */
    void (*ready)(void *arg);
    void (*tick)(void *arg);
    void *arg;
};
/* Serves until TERM or INT, or until its one connection ends. */
int tw_helper_serve(const struct tw_helper_options *options, struct tw_err *err);

/* ---- its client: one thread sends and reads ---- */

struct tw_helper;
/* Waits until the helper answers. */
int tw_helper_connect(const char *socket_path, struct tw_helper **ret, struct tw_err *err);
int tw_helper_adopt(int connection, struct tw_helper **ret, struct tw_err *err); /* taken */
/* Starts a helper of this client alone, which ends with it and is waited for: program with argv
 * (NULL-terminated), the connection its descriptor 3. */
int tw_helper_start(const char *program, const char *const *argv, struct tw_helper **ret,
                    struct tw_err *err);
void tw_helper_free(struct tw_helper *h); /* its workers are killed. NULL is fine */
int tw_helper_fd(const struct tw_helper *h); /* readable: tw_helper_next() has something, or it is gone */
/* What a worker is to do. number: the caller's own, not 0, of no other that runs. input is sealed memory
 * (tw_helper_input), output the writing end of a pipe; both borrowed. */
struct tw_helper_job {
    uint32_t number;
    const char *verb, *id;
    int input, output;
};
int tw_helper_work(struct tw_helper *h, const struct tw_helper_job *job, struct tw_err *err);
/* A further job for a worker that waits for one. If it has ended, tw_helper_next() tells that alone. */
int tw_helper_hand(struct tw_helper *h, uint32_t number, int input, struct tw_err *err);
int tw_helper_stop(struct tw_helper *h, uint32_t number, bool kill, struct tw_err *err);
struct tw_helper_end {
    uint32_t number;
    int status;        /* as waitpid() tells */
    int code;          /* < 0: it was not started, and text says why */
    char text[184];
};
/* 1: *ret is filled; 0: nothing more for now; negative: the helper is gone. */
int tw_helper_next(struct tw_helper *h, struct tw_helper_end *ret);
int tw_helper_input(const void *data, size_t len); /* owned descriptor, or a negative errno */

/* ---- in a worker that waits: the descriptor by which its job comes, readable when it is there ---- */
#define TW_HELPER_HAND_FD 3
int tw_helper_taken(void); /* owned descriptor of the job; -EAGAIN: none yet; -ECONNRESET: none will come */
#endif
