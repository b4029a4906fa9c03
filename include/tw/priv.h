/* The fixed verbs that need privilege: pool, overlay, cgroup, net, spawn, root, confine, reap. In
 * process for root's command line and for the workers of a daemon's helper (room helper). The only
 * caller of mount, setns, clone3.
 *
 * Intent  before anything is made outside the process, a line is written to the journal
 *         <state>/run/<id>.journal, which stays locked (fcntl) while its owner lives; reap undoes
 *         every journal whose lock is free, in reverse, and every start reaps first
 * Mounts  tw_priv_open() gives the process a mount namespace of its own, so mounts die with it: call
 *         it before threads are made
 * Threads every verb may be called from any thread; the children are those of a thread that lives as
 *         long as the handle, since the death signal follows the thread
 * Errors  negative errno; texts say what is needed and what to do
 * Steps   priv.journal.opened, priv.image.made, priv.pool.mounted, … each intent has its step
 * Source  docs/internals/sandbox.md */
#ifndef TW_PRIV_H
#define TW_PRIV_H

#include "tw/base.h"

#include <sys/types.h>

struct tw_priv;
/* state_dir is made when missing. id labels what is made. Reaps first what dead runs
 * left; what cannot be removed then stays recorded, and tw_priv_reap() tells why. */
int tw_priv_open(const char *state_dir, const char *id, struct tw_priv **ret_priv,
                 struct tw_err *err); /* owned: tw_priv_close */
/* Undoes what is still recorded, removes the journal. NULL is fine. */
void tw_priv_close(struct tw_priv *p);
bool tw_priv_is_root(const struct tw_priv *p);
bool tw_priv_can_mount(const struct tw_priv *p); /* it has a mount namespace of its own */
const char *
tw_priv_state_dir(const struct tw_priv *p);      /* borrowed; absolute, without links */
const char *tw_priv_id(const struct tw_priv *p); /* borrowed */

/* Removes what dead runs left below state_dir. ret_removed counts things removed. */
int tw_priv_reap(const char *state_dir, int *ret_removed, struct tw_err *err);

/* ---- intents: written before a thing is made, settled after it is gone ----
 * Mounts and links need none: they only ever stand in namespaces that die with their maker. */

enum tw_intent {
    TW_INTENT_FILE,      /* path relative to the state directory, the id in it */
    TW_INTENT_TREE,      /* the same, with all below it */
    TW_INTENT_POOL_TREE, /* a tree, path relative to the pool, the id in it */
    TW_INTENT_CGROUP,    /* path of a group below each hierarchy, the id in it */
    TW_INTENT_PROCESS,   /* "pid starttime" as in /proc/pid/stat */
    TW_INTENT_COUNT
};
int tw_priv_intend(struct tw_priv *p, enum tw_intent kind, const char *value,
                   int64_t *ret_token, struct tw_err *err);
void tw_priv_settled(struct tw_priv *p, int64_t token); /* 0 is fine */

/* ---- pool and overlay ---- */

/* <state>/pool becomes a mount of the sparse image <state>/pool.img, an XFS with
 * reflinks, made with size_bytes when it is missing. Joins a loop device that the image
 * already has. Counted: each needs its tw_priv_pool_unmount. -ENODEV, -ENOENT, -EPERM
 * when this host cannot. */
int tw_priv_pool_mount(struct tw_priv *p, int64_t size_bytes, struct tw_err *err);
void tw_priv_pool_unmount(struct tw_priv *p);
/* What a write to the image is, for all that use it: one at a time may change it. */
enum tw_disk {
    TW_DISK_SHARED, /* of the host's file system: a flush waits for whatever anybody here has written */
    TW_DISK_OWN,    /* of a disk of its own: a write is done when the disk has it, a flush waits no more */
    TW_DISK_MEMORY, /* of the host's memory: a flush waits for nobody's disk */
    TW_DISK_COUNT
};
int tw_priv_pool_disk(struct tw_priv *p, enum tw_disk disk, struct tw_err *err);
double tw_priv_pool_writes(struct tw_priv *p); /* done so far, by all that use it; NaN unknown */
/* Removes a tree, path relative to the pool. One that somebody holds with flock() (a seed
 * below clones that live) is put aside as <pool>/old/<name> instead, for a later start.
 */
int tw_priv_pool_discard(struct tw_priv *p, const char *relative, struct tw_err *err);
int tw_priv_overlay_mount(struct tw_priv *p, const char *lower, const char *upper,
                          const char *work, const char *merged, struct tw_err *err);
/* Also where something still has files open (then it ends when they close). Not mounted
 * is fine. */
int tw_priv_unmount(struct tw_priv *p, const char *path, struct tw_err *err);

/* Mounts for somebody else's namespace: each source, with all below it, comes to stand on its place in the
 * mounts of the process pidfd, which is root of nothing of ours. Places are made when missing; links on
 * their way lead within its root. */
struct tw_priv_bind {
    const char *from, *to; /* absolute; from as we see it, to as it does */
    bool writable;
};
int tw_priv_mount_into(struct tw_priv *p, int pidfd, const struct tw_priv_bind *binds, size_t count,
                       struct tw_err *err);
/* Runs fn in a thread that sees what the process pidfd sees: its files and its network, the files read-only
 * and none of them a program (so nothing of them is ever run or loaded), and this host's /proc, by whose
 * /proc/self/fd/N what is open here is reached. tmp, a directory of ours on a place that is there, may be
 * written to (NULL: nothing may). Waits for it. fn is not called when the thread could not get there. Root only. */
int tw_priv_visit(int pidfd, const struct tw_priv_bind *tmp, int (*fn)(void *arg), void *arg,
                  struct tw_err *err);
/* Is the run of that id alive, this process's own included? */
bool tw_priv_run_lives(const char *state_dir, const char *id);

/* ---- cgroup: one group <ours>/<id>/<name> in every hierarchy ---- */

struct tw_limits {
    int64_t memory_bytes; /* 0: none; swap is never allowed on top */
    double cpus;          /* quota; 0: none */
    const char *cpuset;   /* NULL: any */
    int64_t cpu_weight;   /* v1 shares 2..262144, converted for v2; 0: default */
    int64_t pids_max;     /* 0: none */
};
/* Counters of a group. NaN where this host cannot tell, and -1 for the two counts. */
struct tw_usage {
    double cpu_s, throttled_s, memory_bytes, memory_peak_bytes, anon_bytes, file_bytes,
        shmem_bytes, read_bytes, write_bytes, cpu_pressure_s, io_pressure_s,
        memory_pressure_s;
    double cpu_starved_s; /* some of it could run and none of it did (PSI, "full"); with several cores
                           * their mean, weighted by how busy they were; throttling is in it */
    int64_t oom_kills, pids;
};
struct tw_priv_cgroup;
/* What this host cannot bound is no error: it is listed by tw_priv_cgroup_missing(). */
int tw_priv_cgroup_open(struct tw_priv *p, const char *name,
                        const struct tw_limits *limits, struct tw_priv_cgroup **ret,
                        struct tw_err *err);
/* The group that an Engine makes for a container below that of the run: written down before it is made.
 * ret_parent is what the Engine is told; owned: free(). */
int tw_priv_cgroup_intend(struct tw_priv *p, const char *leaf, char **ret_parent, int64_t *ret_token,
                          struct tw_err *err);
/* The group that a process stands in already, with these limits from now on. token: of its intent; 0 where
 * it is not below ours, and then its neighbours are the Engine's own. */
int tw_priv_cgroup_adopt(struct tw_priv *p, pid_t pid, int64_t token, const struct tw_limits *limits,
                         struct tw_priv_cgroup **ret, struct tw_err *err);
/* Kills what is inside, removes the group. NULL is fine. */
void tw_priv_cgroup_close(struct tw_priv_cgroup *g);
int tw_priv_cgroup_fd(const struct tw_priv_cgroup *g); /* for tw_spawn; -1: none */
/* The calling process enters and sees the group as the root of all (a fresh child of
 * tw_priv_spawn; allocates nothing). */
int tw_priv_cgroup_join(const struct tw_priv_cgroup *g, struct tw_err *err);
/* The same, the view of the groups unchanged. */
int tw_priv_cgroup_enter(const struct tw_priv_cgroup *g, struct tw_err *err);
int tw_priv_cgroup_freeze(struct tw_priv_cgroup *g, bool frozen, struct tw_err *err);
int tw_priv_cgroup_limit(struct tw_priv_cgroup *g, int64_t memory_bytes, double cpus,
                         struct tw_err *err);
/* The device that path lies on, read and written so many bytes a second each; 0: no limit. */
int tw_priv_cgroup_io(struct tw_priv_cgroup *g, const char *path, int64_t bytes_per_s,
                      struct tw_err *err);
/* It is measured from now on: on these cores (only for a group made with a cpuset), and its weight
 * counts above it too. */
int tw_priv_cgroup_pin(struct tw_priv_cgroup *g, const char *cpuset, struct tw_err *err);
void tw_priv_cgroup_usage(struct tw_priv_cgroup *g, struct tw_usage *ret);
size_t tw_priv_cgroup_missing(const struct tw_priv_cgroup *g,
                              const char *const **ret_texts);

/* ---- spawn: a child in fresh namespaces, running a function of ours ---- */

struct tw_spawn {
    uint64_t namespaces; /* CLONE_NEW…; CLONE_NEWUSER maps uid, gid to the caller's own */
    int cgroup_fd;       /* born into this v2 group; -1: none */
    unsigned uid, gid;
    /* Runs in a copy of this process in which no other thread exists: may neither
     * allocate nor lock. Its result is the exit status. */
    int (*main)(void *arg);
    void *arg;
};
int tw_priv_spawn(struct tw_priv *p, const struct tw_spawn *spawn, pid_t *ret_pid,
                  int *ret_pidfd, struct tw_err *err);
/* SIGKILL and wait until it is gone; pidfd is taken. */
void tw_priv_kill(struct tw_priv *p, int pidfd);

/* ---- root: in a spawned child. Nothing here allocates. ---- */

enum tw_root_kind {
    TW_ROOT_DIR,   /* mode */
    TW_ROOT_TEXT,  /* file with the text of from */
    TW_ROOT_LINK,  /* symbolic link to from */
    TW_ROOT_BIND,  /* from of the host, with what is mounted below it */
    TW_ROOT_TMPFS, /* bytes, mode, owned by uid and gid of the row */
    TW_ROOT_PROC,
    TW_ROOT_READONLY, /* what is there already, from now on read-only */
    TW_ROOT_MASK,     /* what is there already, from now on empty */
    TW_ROOT_KIND_COUNT
};
struct tw_root_row {
    enum tw_root_kind kind;
    const char
        *to; /* absolute, inside; parents are made, links never lead out of the root */
    const char *from;
    unsigned mode, uid, gid;
    int64_t bytes;
    bool writable, optional, exec; /* optional: left out when from is missing */
};
/* Builds the rows on a fresh tmpfs over empty_dir, in their order, and makes it the root.
 * A bind source below trusted_dir may not contain a symbolic link. */
int tw_priv_root_enter(const char *empty_dir, const char *trusted_dir,
                       const struct tw_root_row *rows, size_t count, struct tw_err *err);

/* ---- net: veth pairs into bridges that stand in a namespace of their own ---- */

/* Networks of twins: a bridge each; nothing passes from one to another. */
#define TW_NETWORKS 4
struct tw_link {
    int network;         /* 0 … TW_NETWORKS - 1 */
    const char *address; /* IPv4, one of the twin network's /24 */
    const char *const *more; /* further addresses of this link, v4 and v6 */
    size_t more_count;
};
/* ethN in the network namespace of pid, its other end in the bridge of that network. Dies with
 * that namespace. */
int tw_priv_link_make(struct tw_priv *p, pid_t pid, int network, int number,
                      struct tw_err *err);
/* The namespace of the bridges; borrowed; -1 before the first link. */
int tw_priv_bridge_fd(const struct tw_priv *p);
/* In the child: from now on in that network namespace, which is configured already. */
int tw_priv_net_enter(int netns, struct tw_err *err);
/* In the child: lo up with these addresses, ethN up with those of link N. Whatever else is looked for
 * on the links too, so that a partner may have any address. Allocates nothing. */
int tw_priv_net_configure(const struct tw_link *links, size_t link_count,
                          const char *const *lo, size_t lo_count, struct tw_err *err);
bool tw_priv_net_contains(const char *address); /* it is one of the twin network */
/* A network namespace of its own with nothing in it; it dies with its last descriptor. Root only. */
int tw_priv_netns_new(struct tw_priv *p, int *ret_netns, struct tw_err *err);
/* Runs fn in a thread of its own that stands in that namespace, and so does every program that fn
 * starts; waits for it. fn is not called when the thread could not get there. */
int tw_priv_netns_run(struct tw_priv *p, int netns, int (*fn)(void *arg), void *arg,
                      struct tw_err *err);

/* ---- shape: what a link does to the packets that pass it ----
 * Everything stands in the network namespace of the link (of the twin, never of the host) and dies with
 * it; what holds packets is a process of ours that dies with us. The way is chosen by what this kernel
 * has (docs/internals/fault.md). Root only. */

enum tw_shape_way { TW_SHAPE_OUT, TW_SHAPE_IN, TW_SHAPE_WAYS }; /* as seen from inside */
struct tw_shape_values { /* of one direction; all zero: as without */
    double delay_s;
    double jitter_s;     /* uniform, delay ± jitter, at most the delay */
    double loss, reorder; /* share of packets that are lost, that overtake those delayed */
    double rate_bps;     /* bits per second; 0: no bound */
    int longest;         /* bytes: longer packets vanish; 0: none do */
    bool cut;            /* nothing passes */
};
struct tw_shape_spec {
    int netns;           /* borrowed until closed */
    const char *link;    /* "eth0" */
    const char *peer;    /* only what goes to and comes from this address, v4 or v6; NULL: everything */
    int port;            /* only TCP to and from this port; 0: everything. On lo, where both ends stand in one
                            namespace, OUT is what goes to it and IN what comes from it */
    bool port_here;      /* the port is of this side: others connect to it */
};
struct tw_shape;
int tw_priv_shape_open(struct tw_priv *p, const struct tw_shape_spec *spec, struct tw_shape **ret,
                       struct tw_err *err); /* owned: tw_priv_shape_close */
/* May be called again and again; the new values hold for packets that come from now on. -EOPNOTSUPP: this
 * kernel has no way to do that (the text says what is missing). */
int tw_priv_shape_set(struct tw_shape *s, enum tw_shape_way way, const struct tw_shape_values *v,
                      struct tw_err *err);
int tw_priv_shape_mtu(struct tw_shape *s, int mtu, struct tw_err *err); /* 0: what it was */
/* How what leaves by this shape is routed: as always, nowhere (ENETUNREACH), by a gateway that does not answer
 * (EHOSTUNREACH when the kernel has asked for it in vain). Rules of routing of our own, taken away with it. */
enum tw_shape_route { TW_SHAPE_ROUTE_KEPT, TW_SHAPE_ROUTE_NONE, TW_SHAPE_ROUTE_DEAD };
int tw_priv_shape_route(struct tw_shape *s, enum tw_shape_route route, struct tw_err *err);
/* Which mechanism does it: "held by twin (NFQUEUE)", "netem", "token bucket", "rule"; "" none. Borrowed. */
const char *tw_priv_shape_how(const struct tw_shape *s, enum tw_shape_way way);
/* Counted where packets are held by us; NaN and -1 elsewhere. */
struct tw_shape_seen {
    int64_t packets, bytes, lost, full; /* full: dropped as more waited than a router keeps */
    int64_t too_long, longest;          /* vanished, as longer than asked; bytes of the longest that came */
    double held_s, late_s, latest_s;    /* means: between coming and going; and of that what was not asked */
};
void tw_priv_shape_seen(const struct tw_shape *s, enum tw_shape_way way, struct tw_shape_seen *ret);
/* Takes all away; packets that wait are let go first. 0, or -EBUSY with what still stands. s is taken. */
int tw_priv_shape_close(struct tw_shape *s, struct tw_err *err);
/* What of shaping stands in a namespace: rules, disciplines, mirrors. 0 when nothing is left. */
int tw_priv_shape_left(struct tw_priv *p, int netns, const char *link, struct tw_err *err);

/* ---- confine: in the child, for good. Nothing here allocates but tw_priv_filter. ----
 */

struct tw_filter; /* a compiled seccomp program */
/* root_inside: for a process that tw_priv_confine_root() made, which may chroot. Borrowed, for ever. */
int tw_priv_filter(bool root_inside, const struct tw_filter **ret, struct tw_err *err);
/* The same as a profile for an Engine: JSON text; owned: free(). */
char *tw_priv_filter_profile(bool root_inside);
/* Session of its own, uid and gid, no groups, no capability in any of the five sets, no
 * new privileges, the filter (NULL: none), death with the parent. */
int tw_priv_confine(unsigned uid, unsigned gid, const struct tw_filter *filter,
                    struct tw_err *err);
/* The other way for a service that begins as root and gives it up itself: first a user namespace
 * (its owner is told to write the maps, see tw_priv_map_users), then uid 0 of it with the few
 * capabilities of a container's root over its own 65536 ids; none over network, mounts or processes
 * outside. The namespaces it stands in belong to the host, so that it is root of nothing else. */
int tw_priv_own_users(struct tw_err *err);
int tw_priv_confine_root(const struct tw_filter *filter, struct tw_err *err);
/* In the supervisor: 0 … TW_USER_RANGE - 1 inside are base + … outside. */
#define TW_USER_RANGE 65536
int tw_priv_map_users(pid_t pid, unsigned base, struct tw_err *err);

/* ---- this program's own processes give up what they do not need, for good ---- */

enum tw_own_filter {
    TW_FILTER_DAEMON, /* HTTP, JSON, store: starts no program and no process, makes nothing executable */
    TW_FILTER_HELPER, /* and its workers: what makes sandboxes, and nothing of the kernel beside it */
    TW_OWN_FILTER_COUNT
};
int tw_priv_own_filter(enum tw_own_filter which, const struct tw_filter **ret, struct tw_err *err);
/* The calling process becomes uid and gid (where it is root), without groups and capabilities, low
 * ports excepted, without a way back, in the filter. Before threads are made. */
int tw_priv_settle(unsigned uid, unsigned gid, bool low_ports, enum tw_own_filter which,
                   struct tw_err *err);
/* The calling process stays who it is and keeps the capabilities that sandboxes are made with; those
 * it starts have no more. Before threads are made. */
int tw_priv_bound(struct tw_err *err);

/* Gives back the memory that a child shares with its parent and will not use: what lies
 * neither on the calling stack nor in a file or shared mapping is gone afterwards. */
void tw_priv_drop_memory(void);

/* ---- probe ---- */

/* What this host can do, a row each, for doctor and for reports. */
struct tw_capability {
    const char
        *name; /* "cgroup", "overlay", "loop", "reflink", "netns", "seccomp", "netem" … */
    bool available, needed;
    const char *detail; /* what is used: "cgroup v1 (cpu, memory, …) with v2 beside it" */
    const char *fix;    /* the command that mends it; NULL */
};
struct tw_capabilities {
    TW_ARRAY(struct tw_capability) list;
};
int tw_priv_probe(struct tw_arena *a, const char *state_dir, struct tw_capabilities *ret,
                  struct tw_err *err);
#endif
