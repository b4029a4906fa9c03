/* Shared by the kinds whose configuration is a language of its own (nginx, HAProxy): trees copied
 * below the same absolute paths with their links and owners, certificates, names, access logs.
 * Processes, units and words of logs: host/host.h.
 *
 * Paths   absolute, as the target names them; root ("" for the target itself) is put before them
 * Owns    results live in the arena given */
#ifndef SERVICE_INTERNAL_H
#define SERVICE_INTERNAL_H

#include "service/host/host.h"
#include "tw/redact.h"

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
    TW_ARRAY(const char *) logs;          /* that tell of failures */
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
bool service_is_own_address(const char *address); /* of this host */
/* Where a change binds to what this host does not have, the twin must not have it either: endpoints
 * from that index on keep what is its own. */
void service_endpoints_keep_own(struct service_needs *n, size_t from);
/* "a,b" or NULL; ret_slow: nobody answered in time. */
const char *service_resolve(struct tw_arena *a, const char *name, bool *ret_slow);
bool service_reachable(const char *address, int port);
/* "10.0.0.1:80" "[::1]:80" "name:80" "name": port 0 where none is given. */
void service_split_port(struct tw_arena *a, const char *text, const char **ret_host,
                        int *ret_port);
/* Resolves, tries to connect where probe is set. */
void service_neighbours_look(struct tw_arena *a, struct service_needs *n, bool probe);

/* A path of the clone that the user knows by another name (a fragment's) gets that name back. */
const char *service_users_words(struct tw_arena *a, const struct tw_plan *plan,
                                const char *text);

/* ---- listens.c ---- */

/* Bound to this host alone before, to others now; and what listened and does not any more. */
void service_listens_judge(struct tw_arena *a, const struct service_needs *now,
                           const struct service_needs *before, struct tw_issues *issues);

/* ---- accesslog.c ---- */

/* format: nginx's log_format (NULL: combined; $_ is left out, $request_ms and $upstream_ms are
 * milliseconds); the tail of at most max bytes of each path is counted. */
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

/* ---- lists of servers ---- */

/* The text of one file with further servers beside the one on port; ret_today: as many as are there. */
typedef const char *service_spread_fn(struct tw_arena *a, const char *text, int port, const int *ports,
                                      size_t n, int *ret_today);
/* The first file that has such a list: of the clone where x is given, else of the snapshot. */
bool service_spread(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_access *x,
                    service_spread_fn *spread, int port, const int *ports, size_t n, int *ret_today,
                    const char **ret_path, const char **ret_text);

#endif
