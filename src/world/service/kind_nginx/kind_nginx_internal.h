/* Shared by the files of the kind "nginx".
 *
 * Conf     its configuration as a flat list with parents, in the order in which nginx reads it;
 *          every directive knows where its text stands, so that a change touches nothing else
 * Build    what "nginx -V" says: settings "build.prefix", "build.pid-path" of the snapshot
 * Source   nginx documentation: "Alphabetical index of directives", "Command-line parameters",
 *          "Controlling nginx" */
#ifndef KIND_NGINX_INTERNAL_H
#define KIND_NGINX_INTERNAL_H

#include "service/service_internal.h"

#define KIND_NGINX_RUNTIME "/tw"

struct nginx_directive {
    const char *name;
    TW_ARRAY(const char *) args;
    const char *file;
    int line;
    int parent;        /* index; -1: main */
    bool block;
    size_t from, to;   /* its text in the file: from the name to after ';' or '}' */
    size_t body;       /* block: after '{' */
};
struct nginx_missing {
    const char *path, *file;
    int line;
};
struct nginx_conf {
    TW_ARRAY(struct nginx_directive) list;
    TW_ARRAY(const char *) files;            /* every file read, the main one first */
    TW_ARRAY(struct nginx_missing) missing;  /* includes that lead nowhere */
    const char *problem;                     /* first thing that could not be read; NULL */
};
void nginx_conf_read(struct tw_arena *a, const char *root, const char *path,
                     struct nginx_conf *ret);
/* A text alone, as a file of that name in a directory of that name. */
void nginx_conf_text(struct tw_arena *a, const char *root, const char *path, const char *text,
                     struct nginx_conf *ret);
/* First child of parent with that name, or NULL. */
const struct nginx_directive *nginx_child(const struct nginx_conf *c, int parent,
                                          const char *name);
/* As inherited: own child, else that of the blocks around. */
const struct nginx_directive *nginx_effective(const struct nginx_conf *c, int parent,
                                              const char *name);
bool nginx_is(const struct nginx_directive *d, const char *name);
const char *nginx_arg(const struct nginx_directive *d, size_t i); /* NULL: there is none */
bool nginx_has_arg(const struct nginx_directive *d, const char *arg);
/* The block of that name that holds index (itself included); -1: none. */
int nginx_around(const struct nginx_conf *c, int index, const char *name);
const char *nginx_parent_name(const struct nginx_conf *c, const struct nginx_directive *d);
/* "http.server:shop.location:/api" */
const char *nginx_context(struct tw_arena *a, const struct nginx_conf *c, int index);
const char *nginx_values(struct tw_arena *a, const struct nginx_directive *d);

/* ---- means.c: what a configuration names ---- */

struct nginx_paths {
    const char *prefix, *conf_dir;
};
const char *nginx_build(const struct tw_snapshot *s, const char *name); /* NULL: not known */
void nginx_needs(struct tw_arena *a, const struct nginx_conf *c, const struct tw_snapshot *s,
                 struct service_needs *ret);
/* Of the tree below root and of what the plan brings (may be NULL). */
void nginx_needs_of(struct tw_arena *a, const char *root, const struct tw_snapshot *s,
                    const struct tw_plan *plan, struct service_needs *ret);
void nginx_certificates(struct tw_arena *a, const char *root, const struct nginx_conf *c,
                        const struct tw_snapshot *s, struct tw_certificates *ret);
void nginx_settings(struct tw_arena *a, const struct nginx_conf *c, struct tw_snapshot *s);
/* Listens of one server block. */
void nginx_endpoints(struct tw_arena *a, const struct nginx_conf *c, struct service_needs *ret);

/* ---- parts of the row ---- */

int nginx_snapshot(struct tw_arena *a, const struct tw_target *t, struct tw_snapshot *ret,
                   struct tw_err *err);
int nginx_validate(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                   struct tw_issues *issues, struct tw_err *err);
int nginx_plan(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
               struct tw_plan *plan, struct tw_err *err);
int nginx_apply(struct tw_arena *a, const struct tw_access *access,
                const struct tw_plan_step *step, struct tw_err *err);
/* Where the setting would be written: index of the directive, or -1 and the block to put it in
 * (-1: main). -EINVAL: ambiguous, or nowhere to put it. */
struct nginx_spot {
    int directive, block;
    const char *name; /* without its context */
};
int nginx_find_spot(struct tw_arena *a, const struct nginx_conf *c, const char *program,
                    const char *name, struct nginx_spot *ret, struct tw_err *err);
const char *nginx_seed_key(struct tw_arena *a, const struct tw_snapshot *s);
int nginx_seed_fill(struct tw_arena *a, const struct tw_target *t, const struct tw_snapshot *s,
                    const char *seed_root, unsigned uid, unsigned gid,
                    struct tw_issues *differences, struct tw_err *err);
int nginx_refresh(struct tw_arena *a, const struct tw_target *t, const struct tw_snapshot *s,
                  const struct tw_plan *plan, const char *root, unsigned uid, unsigned gid,
                  struct tw_issues *differences, struct tw_err *err);
int nginx_layout(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_plan *plan,
                 const char *root, struct tw_layout *ret, struct tw_err *err);
int nginx_launch(struct tw_arena *a, const struct tw_access *access, enum tw_start_mode mode,
                 struct tw_launch *ret, struct tw_err *err);
enum tw_ready nginx_ready(const struct tw_access *access);
void nginx_judge_start(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                       const struct tw_plan *plan, bool started, int wait_status,
                       struct tw_issues *issues);
void nginx_judge_reload(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                        const struct tw_plan *plan, struct tw_issues *issues);
bool nginx_reload_ended(const struct tw_access *access, size_t log_from);
void nginx_judge_files(struct tw_arena *a, const struct tw_access *access,
                       const struct tw_plan *plan, struct tw_issues *issues);
/* judge_inherit.c. old: the block as it stood before; -1: it did not. */
void nginx_judge_inherited(struct tw_arena *a, const struct nginx_conf *before, int old,
                           const struct nginx_conf *now, int block, struct tw_issues *issues);
void nginx_judge_log(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                     struct tw_issues *issues);
void nginx_judge_certificates(struct tw_arena *a, const struct tw_access *access,
                              struct tw_certificates *ret);

/* See struct tw_service_kind; the text alone: n 0 only counts. */
bool nginx_spread(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_access *x, int port,
                const int *ports, size_t n, int *ret_today, const char **ret_path,
                const char **ret_text);
const char *nginx_spread_text(struct tw_arena *a, const char *text, int port, const int *ports,
                            size_t n, int *ret_today);

#endif
