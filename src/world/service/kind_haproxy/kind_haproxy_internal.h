/* Shared by the files of the kind "haproxy".
 *
 * Conf     its configuration: sections and lines of words, in the order of the files
 * Stats    in a measured twin a socket of ours tells what it counts; the judged start has none
 * Source   HAProxy documentation: "Configuration Manual", "Management Guide" */
#ifndef KIND_HAPROXY_INTERNAL_H
#define KIND_HAPROXY_INTERNAL_H

#include "service/service_internal.h"

#define KIND_HAPROXY_RUNTIME "/tw"

struct haproxy_line {
    TW_ARRAY(const char *) words; /* the first is the keyword; of a section: its kind, its name */
    const char *file;
    int line, section;            /* index of its section's line; -1: of a section itself */
    size_t from, to;              /* the line in its file, without the line's end */
    bool ended;                   /* by a line feed */
};
struct haproxy_conf {
    TW_ARRAY(struct haproxy_line) list;
    TW_ARRAY(const char *) files;
    const char *problem;          /* NULL: all could be read */
};
/* path: a file, or a directory whose *.cfg are read in their order. */
void haproxy_conf_read(struct tw_arena *a, const char *root, const char *const *paths, size_t n,
                       struct haproxy_conf *ret);
void haproxy_conf_text(struct tw_arena *a, const char *path, const char *text,
                       struct haproxy_conf *ret);
/* The files that the target's command line names (settings "command.-f"). */
void haproxy_conf_of(struct tw_arena *a, const char *root, const struct tw_snapshot *s,
                     struct haproxy_conf *ret);
const char *haproxy_word(const struct haproxy_line *l, size_t i); /* NULL: there is none */
bool haproxy_is(const struct haproxy_line *l, const char *first, const char *second);
/* What stands behind that word; NULL: it is not there. */
const char *haproxy_after(const struct haproxy_line *l, const char *word);
/* "backend:app", "global" */
const char *haproxy_section(struct tw_arena *a, const struct haproxy_conf *c, int section);
bool haproxy_is_proxy(const struct haproxy_line *section); /* frontend, backend, listen */
/* Own line of that section, else that of the defaults before it. */
const struct haproxy_line *haproxy_effective(const struct haproxy_conf *c, int section,
                                             const char *first, const char *second);
const char *haproxy_text(struct tw_arena *a, const struct haproxy_line *l, size_t from);
/* "100ms" "5s" "5000": seconds; NaN. */
double haproxy_seconds(const char *text);

/* ---- means.c ---- */

void haproxy_needs(struct tw_arena *a, const char *root, const struct haproxy_conf *c,
                   const struct tw_snapshot *s, struct service_needs *ret);
void haproxy_needs_of(struct tw_arena *a, const char *root, const struct tw_snapshot *s,
                      const struct tw_plan *plan, struct service_needs *ret);
void haproxy_certificates(struct tw_arena *a, const char *root, const struct haproxy_conf *c,
                          struct tw_certificates *ret);
void haproxy_settings(struct tw_arena *a, const struct haproxy_conf *c, struct tw_snapshot *s);

/* ---- stats.c: what it counts ---- */

struct haproxy_stat {
    const char *proxy, *server, *status, *mode;
    int weight;
    bool is_server, is_backend, is_frontend, active;
    double sessions, total, queued_most, sessions_most, limit, denied, errors_connect,
        errors_reply, retries, redispatched, replies_5xx;
};
struct haproxy_stats {
    TW_ARRAY(struct haproxy_stat) list;
};
/* "show stat" of the socket at that path; -ENOENT: nobody there. */
int haproxy_ask(const char *socket, const char *command, size_t max, char **ret_text,
                struct tw_err *err); /* owned: free() */
void haproxy_read_stats(struct tw_arena *a, const char *csv, struct haproxy_stats *ret);
void haproxy_judge_stats(struct tw_arena *a, const struct haproxy_stats *stats,
                         struct tw_issues *issues);

/* ---- parts of the row ---- */

int haproxy_snapshot(struct tw_arena *a, const struct tw_target *t, struct tw_snapshot *ret,
                     struct tw_err *err);
int haproxy_validate(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                     struct tw_issues *issues, struct tw_err *err);
int haproxy_plan(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                 struct tw_plan *plan, struct tw_err *err);
int haproxy_apply(struct tw_arena *a, const struct tw_access *access,
                  const struct tw_plan_step *step, struct tw_err *err);
struct haproxy_spot {
    int line, section;     /* line -1: to be added to the section */
    const char *keyword;   /* "timeout server" */
};
int haproxy_find_spot(struct tw_arena *a, const struct haproxy_conf *c, const char *name,
                      struct haproxy_spot *ret, struct tw_err *err);
const char *haproxy_seed_key(struct tw_arena *a, const struct tw_snapshot *s);
int haproxy_seed_fill(struct tw_arena *a, const struct tw_target *t, const struct tw_snapshot *s,
                      const char *seed_root, unsigned uid, unsigned gid,
                      struct tw_issues *differences, struct tw_err *err);
int haproxy_refresh(struct tw_arena *a, const struct tw_target *t, const struct tw_snapshot *s,
                    const struct tw_plan *plan, const char *root, unsigned uid, unsigned gid,
                    struct tw_issues *differences, struct tw_err *err);
int haproxy_layout(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_plan *plan,
                   const char *root, struct tw_layout *ret, struct tw_err *err);
int haproxy_launch(struct tw_arena *a, const struct tw_access *access, enum tw_start_mode mode,
                   struct tw_launch *ret, struct tw_err *err);
enum tw_ready haproxy_ready(const struct tw_access *access);
void haproxy_judge_start(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                         const struct tw_plan *plan, bool started, int wait_status,
                         struct tw_issues *issues);
void haproxy_judge_reload(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                          const struct tw_plan *plan, struct tw_issues *issues);
bool haproxy_reload_ended(const struct tw_access *access, size_t log_from);
void haproxy_judge_files(struct tw_arena *a, const struct tw_access *access,
                         const struct tw_plan *plan, struct tw_issues *issues);
void haproxy_judge_log(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                       struct tw_issues *issues);
void haproxy_judge_certificates(struct tw_arena *a, const struct tw_access *access,
                                struct tw_certificates *ret);

/* See struct tw_service_kind; the text alone: n 0 only counts. */
bool haproxy_spread(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_access *x, int port,
                const int *ports, size_t n, int *ret_today, const char **ret_path,
                const char **ret_text);
const char *haproxy_spread_text(struct tw_arena *a, const char *text, int port, const int *ports,
                            size_t n, int *ret_today);

#endif
