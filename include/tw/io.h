/* Bytes in and out: child processes, trees of files, YAML (libfyaml); later HTTP and WebSocket.
 *
 * Units   deadlines in nanoseconds of the monotonic clock
 * Errors  -ETIMEDOUT (the child was killed), -ENOENT no such program; a child that fails is a result */
#ifndef TW_IO_H
#define TW_IO_H

#include "tw/base.h"

struct tw_child {
    const char *const *argv;   /* NULL-terminated; argv[0] looked up in PATH */
    const char *const *env;    /* NULL: the parent's */
    unsigned uid, gid;         /* (unsigned)-1: unchanged; supplementary groups are dropped */
    const char *cwd;
    const char *input;         /* to its stdin; NULL: /dev/null */
    int64_t deadline_ns;       /* 0: a minute from now */
    size_t max_output;         /* 0: 1 MiB */
};
struct tw_child_result {
    int status;                /* exit status 0..255, or 128 + signal */
    struct tw_buf out, err;    /* done by the caller: tw_child_result_done */
};
int tw_child_run(const struct tw_child *child, struct tw_child_result *ret, struct tw_err *err);
void tw_child_result_done(struct tw_child_result *r);

/* ---- trees of files ---- */

/* Copies a tree: reflinks where it can, keeps modes, times, links and holes; owner -> uid/gid when
 * uid != (unsigned)-1. skip(arg, relative path) true leaves an entry out; may be NULL. */
typedef bool tw_copy_skip_fn(void *arg, const char *relative);
int tw_copy_tree(const char *from, const char *to, unsigned uid, unsigned gid,
                  tw_copy_skip_fn *skip, void *arg, int64_t *ret_bytes, struct tw_err *err);

/* ---- YAML: read strictly into a flat list of (path, value, line, column) ----
 * Duplicate keys, aliases and merge keys are errors. Paths are JSON Pointers. */
struct tw_yaml_entry {
    const char *pointer, *value; /* value NULL: a container */
    int line, column;
    int children;                /* of a container */
    bool quoted;
};
struct tw_yaml {
    TW_ARRAY(struct tw_yaml_entry) list;
};
int tw_yaml_read(struct tw_arena *a, const char *text, const char *origin, struct tw_yaml *ret,
                 struct tw_err *err);
#endif
