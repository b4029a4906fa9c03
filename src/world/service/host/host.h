/* What a host tells of a service that is no PostgreSQL: its process, its systemd unit, its files.
 * Shared by the kinds of this room.
 *
 * Process  read from /proc; those of other namespaces (twins among them) are not looked at
 * Unit     systemd's own files, read in its order: fragment, then drop-ins; systemd is not asked
 * Words    what a service writes, made into findings by rows
 * Source   proc(5), systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5) */
#ifndef SERVICE_HOST_H
#define SERVICE_HOST_H

#include "tw/service.h"

#include <glob.h>
#include <sys/types.h>

/* ---- processes ---- */

struct host_process {
    pid_t pid;
    const char *exe, *cwd;
    TW_ARRAY(const char *) argv, env;      /* as started, where it did not rewrite them */
    bool told;                             /* argv, env and cwd are its supervisor's words */
    unsigned uid, gid;
    const char *user;                      /* NULL: the uid has no name here */
    int64_t nofile;                        /* soft limit of open files; 0 unknown */
    const char *unit;                      /* of its control group; NULL: none */
    TW_ARRAY(struct tw_endpoint) listens;  /* protocol "tcp" */
    int connections;                       /* established, to what it listens on */
};
struct host_processes {
    TW_ARRAY(struct host_process) list;
};
/* -ESRCH: gone, or of another namespace. */
int host_process_read(struct tw_arena *a, pid_t pid, struct host_process *ret,
                      struct tw_err *err);
/* Its number here, of what calls itself so where the target stands (in a container); 0: none. */
pid_t host_process_called(struct tw_arena *a, pid_t number);
/* Does the target stand elsewhere than on this host (tw_service_stand_at)? */
bool host_is_away(void);
/* The process that stands there; false on this host. */
bool host_process_home(struct tw_arena *a, struct host_process *ret);
bool host_is_program(const char *path);
/* All whose program has this name ("redis-server"), without children of one another. */
void host_process_find(struct tw_arena *a, const char *program, struct host_processes *ret);
/* The one that listens there (port 0: none); false when nobody of this namespace does. */
bool host_process_listening(struct tw_arena *a, int port, struct host_process *ret);

/* Every listening socket of TCP in that network namespace; -1: in ours. */
struct host_endpoints {
    TW_ARRAY(struct tw_endpoint) list;
};
void host_listeners(struct tw_arena *a, int netns, struct host_endpoints *ret);
/* Does anybody listen there (port 0: anywhere), in that network namespace? */
bool host_netns_listens(int netns, int port);

/* ---- how it was begun ---- */

#define HOST_COMMAND "/.twin-command" /* in a clone: directory, words, an empty line, environment */
struct host_command {
    const char *cwd; /* NULL: "/" */
    TW_ARRAY(const char *) argv, env;
};
int host_command_keep(struct tw_arena *a, const char *root, const struct host_command *c,
                      unsigned uid, unsigned gid, struct tw_err *err);
/* Of the process of a container that we stand in; nothing on this host, where units and files tell. */
int host_command_keep_home(struct tw_arena *a, const char *root, unsigned uid, unsigned gid,
                           struct tw_err *err);
/* Of the target itself where root is "", as kept in a clone elsewhere. */
void host_command_of(struct tw_arena *a, const char *root, struct host_command *ret);
/* All empty where nothing was kept. */
void host_command_kept(struct tw_arena *a, const char *root, struct host_command *ret);

/* ---- units ---- */

struct host_unit {
    const char *name;                      /* "redis-server.service" */
    TW_ARRAY(const char *) files;          /* fragment first, drop-ins after it */
    TW_ARRAY(const char *) argv, env;      /* of ExecStart; Environment */
    const char *reload, *cwd, *user, *group; /* NULL: not given */
    int kill_signal;                       /* 0: not given */
    int stop_signal;                       /* that ExecStop sends before it; 0: none */
    double stop_timeout_s;                 /* 90 when not given, INFINITY for none */
    int64_t nofile;                        /* soft; 0: not given */
    bool notify, forking;                  /* Type= */
};
/* root is put before every path: "" for the target itself. False: there is no such unit. */
bool host_unit_read(struct tw_arena *a, const char *root, const char *name,
                    struct host_unit *ret);
/* The unit whose ExecStart runs program; config (NULL: any) has to be among its arguments. */
bool host_unit_running(struct tw_arena *a, const char *program, const char *config,
                       struct host_unit *ret);
/* "LimitNOFILE" and the like: settings of the unit, beside those of the service. Nearest: NULL or
 * the name meant. */
bool host_unit_is_setting(const char *name);
/* For people: a setting of the unit, or an edit of the configuration file ("name value" with the
 * separator and the end of its lines); and reload or restart, after check where there is one (NULL). */
const char *host_tell_setting(struct tw_arena *a, const struct tw_snapshot *s, const char *name,
                              const char *value, const char *separator, const char *end);
const char *host_tell_effect(struct tw_arena *a, const struct tw_snapshot *s, const char *check,
                             const char *reload, bool restart);
/* Writes one of them into a drop-in of ours below root. */
int host_unit_set(struct tw_arena *a, const char *root, const char *unit, const char *name,
                  const char *value, unsigned uid, unsigned gid, struct tw_err *err);
/* What process and unit tell of a service, into its snapshot; both may be NULL. */
int host_describe(struct tw_arena *a, const struct host_process *p, const struct host_unit *u,
                  struct tw_snapshot *s, struct tw_err *err);
/* Limits, stop signal as the files below access->root have it now. */
void host_launch_limits(struct tw_arena *a, const struct tw_access *access,
                        struct tw_launch *launch);

/* ---- files ---- */

/* "/var/run/x" is "/run/x". */
const char *host_path(struct tw_arena *a, const char *path);
const char *host_parent(struct tw_arena *a, const char *path);
int64_t host_tree_bytes(const char *path);
int host_add_file(struct tw_arena *a, const char *path, struct tw_snapshot *s,
                  struct tw_err *err); /* -ENOENT is told */
int host_put_file(const char *root, const char *path, const char *text, unsigned mode,
                  unsigned uid, unsigned gid, struct tw_err *err);
/* As it is at the target now. What belongs to the target's user belongs to the clone's. Missing is
 * fine. */
int host_copy_file(const char *root, const char *path, unsigned uid, unsigned gid,
                   struct tw_err *err);
/* Empty, where the target has one. */
int host_make_dir(const char *root, const char *path, const struct tw_snapshot *s,
                  unsigned uid, unsigned gid, struct tw_err *err);
/* Text below root; "" when there is none. */
const char *host_text(struct tw_arena *a, const char *root, const char *path);
/* What a start needs beside the files of the configuration: settings that name it, as rows. */
enum host_outside_kind { HOST_FILE, HOST_DIRECTORY, HOST_PARENT };
struct host_outside {
    const char *setting; /* in any case of letters; its value counts where it is an absolute path */
    enum host_outside_kind what;
};
struct host_things {
    TW_ARRAY(const char *) files, dirs;
};
/* Of the snapshot, and of what the plan (NULL: none) sets or writes into files. */
void host_things_find(struct tw_arena *a, const struct host_outside *rows, size_t n,
                      const struct tw_snapshot *s, const struct tw_plan *plan,
                      struct host_things *ret);
/* As they are at the target now, with the files of the snapshot: into a tree. */
int host_things_copy(const struct host_things *things, const struct tw_snapshot *s,
                     const char *root, unsigned uid, unsigned gid, struct tw_err *err);
/* The same of a layout; units of systemd are of the host and stay out. */
void host_things_layout(struct tw_arena *a, const struct host_things *things,
                        const struct tw_snapshot *s, const char *root, struct tw_layout *l);
/* The owner of the clone: of its runtime directory. */
int host_owner(const struct tw_access *access, unsigned *ret_uid, unsigned *ret_gid,
               struct tw_err *err);
/* Adds what is there below root and not covered yet; a file of /etc itself stays a file. */
void host_layout_add(struct tw_arena *a, struct tw_layout *l, const char *root,
                     const char *path);
/* An address that has to exist inside for the same start: neither loopback nor a wildcard. */
void host_layout_address(struct tw_arena *a, struct tw_layout *l, const char *address);
/* Of addresses (blanks or commas between) those that this host has: what a change may bind to. */
void host_layout_found(struct tw_arena *a, struct tw_layout *l, const char *addresses);
bool host_is_loopback(const char *address);
bool host_is_wildcard(const char *address);
/* Steps of one file; -EINVAL for SQL. */
int host_apply_file(struct tw_arena *a, const struct tw_access *access,
                    const struct tw_plan_step *step, struct tw_err *err);
/* Settings given twice, files that do not belong to the target. */
int host_check_request(struct tw_arena *a, const struct tw_snapshot *s,
                       const struct tw_request *r, struct tw_err *err);
/* Steps of the files of a request; settings are the kind's. A fragment becomes fragment (NULL: it
 * is refused). */
int host_plan_files(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                    const char *fragment, struct tw_plan *plan, struct tw_err *err);
/* used and size of the file system below path, as a counter "disk". */
void host_count_disk(struct tw_arena *a, const char *path, struct tw_snapshot *s);

/* ---- scratch: the target's program, asked beside the target ---- */

struct host_scratch {
    const char *dir;     /* of its own, in the arena; its working directory */
    unsigned uid, gid;   /* never 0 on this host */
    pid_t pid;           /* 0: does not run here */
    const struct tw_child_elsewhere *there; /* who runs it where the target is; NULL: nobody */
    int handle;
};
int host_scratch_open(struct tw_arena *a, unsigned uid, unsigned gid, struct host_scratch *ret,
                      struct tw_err *err); /* owned: host_scratch_close */
int host_scratch_start(struct host_scratch *s, const char *const *argv, struct tw_err *err);
bool host_scratch_runs(struct host_scratch *s);
const char *host_scratch_log(struct tw_arena *a, const struct host_scratch *s);
void host_scratch_close(struct host_scratch *s);

/* ---- words ---- */

struct host_words {
    const char *text;       /* part of what it says; "a*b": both, in this order */
    const char *code;
    enum tw_severity severity;
    enum tw_verdict at_least;
    const char *title, *remedy;
};
const struct host_words *host_words_find(const char *line, const struct host_words *rows,
                                         size_t n);
/* clean(arena, line) takes time stamp and pid away, so that two runs say the same; NULL from it: the
 * line says nothing. One finding for each row, with the first line that says it and how often. */
typedef const char *host_clean_fn(struct tw_arena *a, const char *line);
void host_words_judge(struct tw_arena *a, const char *log, size_t from, host_clean_fn *clean,
                      const struct host_words *rows, size_t n, struct tw_issues *issues);
/* What it said from there on; "" when nothing. */
const char *host_log_from(const struct tw_access *access, size_t from);
/* Different lines that clean() leaves and that begin with level, the first few, redacted; "" when there
 * are none. */
const char *host_complaints(struct tw_arena *a, const char *log, host_clean_fn *clean,
                            const char *level);
/* How a process ended, in words. */
const char *host_how_it_ended(struct tw_arena *a, int wait_status);
/* Died at start: the first known row's words, else the last lines. */
void host_judge_dead(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                     host_clean_fn *clean, const struct host_words *rows, size_t n,
                     int wait_status, struct tw_issues *issues);

/* ---- pattern.c ---- */
int host_glob(const char *pattern, glob_t *ret); /* as glob(); a pattern of any length */

#endif
