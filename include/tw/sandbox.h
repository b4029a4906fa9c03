/* Builds, enters, bounds and removes an isolated twin. One file per backend: "native" is namespaces
 * and cgroups, "docker" a container of an Engine on this host. Every step is named
 * (sandbox.cgroup.made, sandbox.init.started, …).
 *
 * Units   bytes, cores, nanoseconds
 * Errors  -EPERM/-ENOSYS what this kernel or user may not (text says what is needed),
 *         -ETIMEDOUT, -ECHILD the init of the sandbox died, -EBUSY it is frozen (start, signal),
 *         -ENOTSUP what this backend has not
 * Owns    a sandbox owns its processes, cgroups and links; closing it kills and removes them all
 * Source  docs/internals/sandbox.md; bubblewrap, nsjail for the order of steps */
#ifndef TW_SANDBOX_H
#define TW_SANDBOX_H

#include "tw/priv.h"
#include "tw/spec.h"

#define TW_SANDBOX_LINKS 4
struct tw_sandbox_link {      /* eth0, eth1 … in their order */
    int network;              /* see tw/priv.h: nothing passes between networks */
    const char *address;      /* IPv4 in the twin network, "10.213.0.2" */
    TW_ARRAY(const char *) more; /* further addresses of it, reached by all in that network */
};
struct tw_sandbox_host {      /* a line of /etc/hosts inside */
    const char *name, *address;
};
struct tw_sandbox_mount {
    const char *from; /* path on the host as the supervisor sees it */
    const char *to;   /* absolute path inside; parents are made */
    bool writable;
};
/* For backend "docker": of what the container is made. Whatever `like` has, it gets no network but our
 * links, none of the mounts of `like` (what it needs is in mounts of the spec), no devices, no namespace
 * of the host, and only the capabilities that a container may safely have; what was left out is told by
 * tw_sandbox_missing(). Nothing is pulled. */
struct tw_docker_container;
struct tw_sandbox_container {
    const char *engine;    /* "unix:///run/docker.sock"; NULL: as DOCKER_HOST says, else the usual one */
    const char *image;     /* id ("sha256:…") or reference that this Engine has; NULL: that of like */
    /* The target: capabilities, sysctls, limits of files, read-only root, working directory, user and
     * environment. With another image, what its own image had brought is replaced by what the new one
     * brings. Borrowed until the sandbox is open; NULL: as the image alone is. */
    const struct tw_docker_container *like;
    TW_ARRAY(const char *) argv; /* of tw_sandbox_boot(); empty: that of like, else the image's own */
    TW_ARRAY(const char *) env;  /* "NAME=VALUE", beside and before those of image and like */
    bool own_user;         /* processes are those of like or the image, not uid and gid of the spec */
};
struct tw_sandbox_spec {
    const char *backend;      /* "native" (also NULL), "docker" */
    const struct tw_sandbox_container *container; /* for "docker" */
    const char *id;           /* simulation id: label of everything made */
    const char *name;         /* "baseline", "candidate", "client": short, [a-z0-9-] */
    unsigned uid, gid;        /* of the processes inside; never 0 */
    bool as_root;             /* uid is 0 inside, and uid + 1 … are 1 …: for services that begin as
                                 root and give it up (only as root; uid begins a range of 65536). In a
                                 container numbers are the same inside and outside */
    const char *user_name;    /* for the synthetic /etc/passwd; as_root: the host's system users too */
    const char *hostname;
    int64_t memory_bytes;     /* 0: no limit */
    double cpus;              /* quota; 0: none */
    const char *cpuset;       /* "0" or "0-1"; NULL: any */
    int64_t cpu_weight;       /* v1 shares (2..262144); 0: default */
    int pids_max;             /* 0: default 4096 */
    int64_t shm_bytes, tmp_bytes; /* sizes of /dev/shm and /tmp; 0: default; a container: its own /tmp */
    const struct tw_sandbox *beside; /* shares the network of this one, as two services of one host do;
                                        NULL: a network of its own. Only as root; links are the other's */
    TW_ARRAY(struct tw_sandbox_link) links; /* none: lo only; at most TW_SANDBOX_LINKS */
    TW_ARRAY(const char *) more_addresses; /* what the service binds to: on eth0, without a link on
                                              lo; a name among them means the sandbox itself */
    TW_ARRAY(struct tw_sandbox_host) hosts; /* names and where they are */
    TW_ARRAY(struct tw_sandbox_mount) mounts; /* beside the fixed ones: /usr, /proc, /dev, /etc … */
    bool seccomp;             /* default policy of policies/; true except in tests */
};
struct tw_sandbox;
/* Row of list.h, or NULL; nearest (may be NULL) gets the nearest name. */
const char *tw_sandbox_backend_find(const char *name, const char **nearest);
int tw_sandbox_open(struct tw_priv *priv, const struct tw_sandbox_spec *spec,
                    struct tw_sandbox **ret_box, struct tw_err *err); /* owned: tw_sandbox_close */
/* Kills everything inside, waits for the init, removes cgroups. NULL is fine. Links die later. */
void tw_sandbox_close(struct tw_sandbox *box);

const char *tw_sandbox_backend(const struct tw_sandbox *box); /* its name */
/* Removes the containers of dead runs below state_dir, by label; those of others are left alone. Removes
 * nothing that tw_priv_reap() does: call that too. ret_removed is added to. */
int tw_sandbox_reap(const char *state_dir, int *ret_removed, struct tw_err *err);

/* One process inside, started by the sandbox's init. fds[i] becomes fd 3+i inside. */
struct tw_process_spec {
    const char *const *argv;  /* NULL-terminated; argv[0] absolute */
    const char *const *env;   /* NULL-terminated; NULL: a minimal one */
    const char *cwd;          /* NULL: "/" */
    int stdin_fd, stdout_fd, stderr_fd; /* -1: /dev/null */
    const int *fds;
    int fd_count;
    int64_t nofile, nofile_hard; /* RLIMIT_NOFILE; 0: inherited; hard 0: the same */
};
/* ret_handle names the process to the functions below. It is not a pid of this namespace. */
int tw_sandbox_start(struct tw_sandbox *box, const struct tw_process_spec *spec,
                     int *ret_handle, struct tw_err *err);
int tw_sandbox_signal(struct tw_sandbox *box, int handle, int signal, struct tw_err *err);
/* 0 and the wait status when it has ended, -ETIMEDOUT when it has not by deadline_ns
 * (0: look only). */
int tw_sandbox_wait(struct tw_sandbox *box, int handle, int64_t deadline_ns, int *ret_status,
                    struct tw_err *err);
/* Readable when a process inside ended: for poll loops. Borrowed. */
int tw_sandbox_event_fd(const struct tw_sandbox *box);

/* Docker: its own entrypoint begins to run as pid 1, as at home; once. The container stood ready before,
 * with its links and mounts, so that the time until it serves is the service's own. Descriptors become
 * its stdout and stderr (-1: /dev/null). Signals to the handle reach pid 1 (which the kernel shields from
 * those it does not handle, as at home); its wait status is exit code << 8, 128 + n for signal n. Further
 * processes may be started beside it; all end with it. */
int tw_sandbox_boot(struct tw_sandbox *box, int stdout_fd, int stderr_fd, int *ret_handle,
                    struct tw_err *err);

/* Stops and resumes all processes inside (freezer); their clocks stop. */
int tw_sandbox_freeze(struct tw_sandbox *box, bool frozen, struct tw_err *err);

/* Counters of its cgroup (struct tw_usage in priv.h); cheap: descriptors stay open. */
int tw_sandbox_usage(struct tw_sandbox *box, struct tw_usage *ret_usage, struct tw_err *err);
int tw_sandbox_limit(struct tw_sandbox *box, int64_t memory_bytes, double cpus,
                     struct tw_err *err); /* changes limits while it runs */

/* The device below path, read and written so many bytes a second each; 0: as fast as it is. -ENOTSUP
 * where this host or backend has no such limit. */
int tw_sandbox_io(struct tw_sandbox *box, const char *path, int64_t bytes_per_s,
                  struct tw_err *err);

/* It is measured from now on: on these cores, before everybody else on this host. -ENOTSUP where it
 * was opened without a cpuset. */
int tw_sandbox_pin(struct tw_sandbox *box, const char *cpuset, struct tw_err *err);

/* Descriptor of its network namespace, for sockets of ours inside it; -1 none. Borrowed. */
int tw_sandbox_netns(const struct tw_sandbox *box);

/* What could not be had on this host ("no limits without root"), for twin_differences. */
size_t tw_sandbox_missing(const struct tw_sandbox *box, const char *const **ret_texts);
#endif
