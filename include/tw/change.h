/* One file per change type: validates a request against a snapshot and makes the plan. The words a
 * user may bring (--set, ALTER SYSTEM, a fragment, JSON) become one tw_request here.
 *
 * Errors  -EINVAL with JSON Pointer or option and what was expected
 * Owns    results live in the arena given */
#ifndef TW_CHANGE_H
#define TW_CHANGE_H

#include "tw/service.h"
#include "tw/spec.h"

struct tw_change_type {
    const char *name, *summary;
    bool rules; /* of packets, where the target is a packet filter: judged as sets of them, no service is
                   cloned and no load is run */
    bool path; /* made in the network between services: nothing to write, to reload or to restart */
    bool live; /* made while the service runs: there is nothing to reload or to restart */
    bool sized; /* only what each instance may use, and how many there are: nothing to judge by files */
    int (*validate)(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                    struct tw_issues *issues, struct tw_err *err);
    int (*plan)(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                struct tw_plan *ret, struct tw_err *err);
};
extern const struct tw_change_type *const tw_change_types[];
extern const size_t tw_change_type_count;
const struct tw_change_type *tw_change_type_find(const char *name, const char **nearest);

/* "NAME=VALUE" or "ALTER SYSTEM SET …" from the command line into the request. */
int tw_change_parse_set(struct tw_arena *a, const char *text, struct tw_request *r,
                        struct tw_err *err);
/* "F" or "PATH=F": reads F; text is what stands in it. */
int tw_change_parse_file(struct tw_arena *a, const char *text, struct tw_request *r,
                         struct tw_err *err);
/* A migration script: read, one element of request.sql. */
int tw_change_parse_script(struct tw_arena *a, const char *path, struct tw_request *r,
                           struct tw_err *err);
/* A sweep "work_mem=4MB..64MB" (steps of two, or of "..+N"): several requests from one. Returns 0
 * and one copy of r for each value; a request without sweep gives itself. */
struct tw_requests {
    TW_ARRAY(struct tw_request) list;
};
int tw_change_sweep(struct tw_arena *a, const struct tw_request *r, struct tw_requests *ret,
                    struct tw_err *err);
/* Validates by the type's row and makes the plan; sha256 filled in. */
int tw_change_plan(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                   struct tw_plan *ret, struct tw_issues *issues, struct tw_err *err);
/* Every step of the plan is about who comes in and how it is encrypted: nothing in it changes how
 * what is let in is served. */
bool tw_change_is_access(const struct tw_snapshot *s, const struct tw_plan *plan);
#endif
