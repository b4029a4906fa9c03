/* The fixed verbs that need privilege: pool, overlay, cgroup, net, spawn, signal, reap. In process
 * for root's command line; later over the helper's socket. The only caller of mount, setns, clone3.
 *
 * Intent  before anything is made outside the process, a line is written to the journal
 *         <state>/run/<id>.journal, which stays locked (fcntl) while its owner lives; reap undoes
 *         every journal whose lock is free, in reverse, and every start reaps first
 * Mounts  tw_priv_open() gives the process a mount namespace of its own, so mounts die with it
 * Errors  negative errno; texts say what is needed and what to do
 * Steps   priv.journal.opened, pool.image.made, pool.mounted, … each intent has its step */
#ifndef TW_PRIV_H
#define TW_PRIV_H

#include "tw/base.h"

struct tw_priv;
/* state_dir is made when missing. id labels what is made. Reaps first what dead runs left. */
int tw_priv_open(const char *state_dir, const char *id, struct tw_priv **ret_priv,
                 struct tw_err *err); /* owned: tw_priv_close */
/* Undoes what is still recorded, removes the journal. NULL is fine. */
void tw_priv_close(struct tw_priv *p);
bool tw_priv_is_root(const struct tw_priv *p);
const char *tw_priv_state_dir(const struct tw_priv *p); /* borrowed */

/* Removes what dead runs left below state_dir. ret_removed counts things removed. */
int tw_priv_reap(const char *state_dir, int *ret_removed, struct tw_err *err);

/* What this host can do, a row each, for doctor and for reports. */
struct tw_capability {
    const char *name;    /* "cgroup", "overlay", "loop", "reflink", "netns", "seccomp", "netem" … */
    bool available, needed;
    const char *detail;  /* what is used: "cgroup v1 (cpu, memory, …) with v2 beside it" */
    const char *fix;     /* the command that mends it; NULL */
};
struct tw_capabilities {
    TW_ARRAY(struct tw_capability) list;
};
int tw_priv_probe(struct tw_arena *a, const char *state_dir, struct tw_capabilities *ret,
                  struct tw_err *err);
#endif
