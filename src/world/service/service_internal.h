/* Shared by the kinds of service: processes and units of this host, trees copied below the same
 * absolute paths, certificates, names, words of logs, access logs.
 *
 * Paths   absolute, as the target names them; root ("" for the target itself) is put before them
 * Owns    results live in the arena given */
#ifndef SERVICE_INTERNAL_H
#define SERVICE_INTERNAL_H

#include "tw/redact.h"
#include "tw/service.h"

/* ---- process.c: what runs here, and what supervises it ---- */

struct service_process {
    int pid;
    const char *program; /* of /proc/PID/exe */
    TW_ARRAY(const char *) argv;
    const char *cwd, *owner;
    unsigned uid, gid;
    int64_t nofile, open_files; /* soft limit; -1 unknown */
    const char *unit;           /* "nginx.service"; NULL: none */
};
struct service_processes {
    TW_ARRAY(struct service_process) list;
};
/* First processes of that program (a worker's parent is the same program) in our own mount
 * namespace: what runs in containers is not of this host's files. */
void service_processes_find(struct tw_arena *a, const char *name, struct service_processes *ret);
const char *service_argument(const struct service_process *p, const char *option);

struct service_unit {
    const char *name, *path, *type, *user, *exec_start, *exec_stop, *kill_mode;
    const char *environment; /* Environment= lines, joined */
    double stop_timeout_s;   /* 90 where the unit says nothing */
    int stop_signal;         /* what ends it first; 0: SIGTERM by default */
    int64_t nofile;          /* 0: not said */
};
/* From the unit's files and drop-ins: systemd need not run. */
bool service_unit_read(struct tw_arena *a, const char *name, struct service_unit *ret);
int service_signal_number(const char *name); /* "SIGQUIT" "QUIT" "3"; 0 unknown */
/* A program run as we are, with stdout and stderr in one text. */
int service_ask_program(struct tw_arena *a, const char *const *argv, int64_t within_ns,
                        const char **ret_text, int *ret_status, struct tw_err *err);

/* ---- tree.c: files of the target in another root ---- */

/* Reads and writes resolve links inside root. */
int service_read_in(const char *root, const char *path, size_t max, char **ret_text,
                    struct tw_err *err); /* owned: free() */
/* In place, so that owner, mode and what is bound stay; made (0644, owner of its directory) where
 * it is not there. */
int service_write_in(const char *root, const char *path, const char *text, struct tw_err *err);
bool service_exists_in(const char *root, const char *path);

/* What a configuration needs beside itself. */
struct service_needs {
    TW_ARRAY(const char *) files;         /* configuration text */
    TW_ARRAY(const char *) named;         /* other files: keys, pages, lists */
    TW_ARRAY(const char *) trees;         /* copied whole, within bounds: document roots */
    TW_ARRAY(const char *) dirs;          /* only have to be there: logs, state, sockets */
    TW_ARRAY(const char *) users, groups; /* have to have their names */
    TW_ARRAY(struct tw_neighbour) neighbours;
    TW_ARRAY(struct tw_endpoint) endpoints;
};
#define SERVICE_ADD_ONCE(a, array, text) service_add_once((a), (void *)(array), (text))
struct service_texts {
    TW_ARRAY(const char *) list;
};
void service_add_once(struct tw_arena *a, void *texts, const char *text);
/* Absolute, without "//", "/./" and "/x/..", /var/run as /run. */
const char *service_path(struct tw_arena *a, const char *dir, const char *path);
const char *service_parent(struct tw_arena *a, const char *path);

struct service_tree {
    const char *root;
    unsigned uid, gid;
    bool as_root; /* owners are kept: uid + theirs; else all is uid's */
};
int service_needs_copy(struct tw_arena *a, const struct service_tree *t,
                       const struct service_needs *n, struct tw_issues *differences,
                       struct tw_err *err);
int service_needs_layout(struct tw_arena *a, const char *root, const struct service_needs *n,
                         struct tw_layout *ret, struct tw_err *err);
void service_needs_join(struct tw_arena *a, struct service_needs *into,
                        const struct service_needs *from);

/* ---- certificate.c ---- */

/* key_path NULL: the key stands in the same file. What cannot be read is its problem. */
void service_certificate_read(struct tw_arena *a, const char *root, const char *path,
                              const char *key_path, const char *used_by,
                              struct tw_certificate *ret);
/* What is certain of it now: past, not yet valid, key of another one. Told once for each file. */
void service_certificates_judge(struct tw_arena *a, const struct tw_certificates *now,
                                const struct tw_snapshot *before, struct tw_issues *issues);

/* ---- names.c: names and addresses ---- */

bool service_is_address(const char *text); /* a number: IPv4 or IPv6 */
/* "a,b" or NULL; ret_slow: nobody answered in time. */
const char *service_resolve(struct tw_arena *a, const char *name, bool *ret_slow);
bool service_reachable(const char *address, int port);
/* "10.0.0.1:80" "[::1]:80" "name:80" "name": port 0 where none is given. */
void service_split_port(struct tw_arena *a, const char *text, const char **ret_host,
                        int *ret_port);
/* Resolves, tries to connect where probe is set. */
void service_neighbours_look(struct tw_arena *a, struct service_needs *n, bool probe);

/* ---- words.c: what a log says ---- */

struct service_word {
    const char *text;   /* part of the message */
    const char *code;
    enum tw_severity severity;
    enum tw_verdict verdict;
    const char *title, *remedy;
};
/* The row whose text stands in message; several parts may be joined by '*'. NULL: none. */
const struct service_word *service_word_find(const struct service_word *rows, size_t n,
                                             const char *message);
struct service_line {
    const char *level;   /* "emerg" "ALERT" */
    const char *message; /* redacted */
};
struct service_lines {
    TW_ARRAY(struct service_line) list;
};
/* One finding for each row of the table, with how often and the first of its lines. */
void service_words_count(struct tw_arena *a, const struct service_lines *lines,
                         const struct service_word *rows, size_t n, struct tw_issues *issues);
/* A path of the clone that the user knows by another name (a fragment's) gets that name back. */
const char *service_users_words(struct tw_arena *a, const struct tw_plan *plan,
                                const char *text);
const char *service_how_it_ended(struct tw_arena *a, int wait_status);

/* ---- accesslog.c ---- */

/* format: nginx's log_format; the tail of at most max bytes of each path is counted. */
struct service_access_log {
    const char *path, *format, *host;
};
void service_access_log_count(struct tw_arena *a, const struct service_access_log *logs, size_t n,
                              size_t max, struct tw_snapshot *s);

/* ---- steps that write files, for kinds that change text ---- */

int service_apply_text(struct tw_arena *a, const struct tw_access *x,
                       const struct tw_plan_step *step, struct tw_err *err);
/* A path of the request: absolute, else below dir; has to lie in a directory of the target. */
int service_check_files(struct tw_arena *a, const struct tw_snapshot *s,
                        const struct tw_request *r, struct tw_err *err);
const char *service_request_path(struct tw_arena *a, const struct tw_snapshot *s,
                                 const char *path);

#endif
