/* What the files of spec share: a noun's JSON form as a table of fields, read and written by the
 * same rows, so that reading is the inverse of writing by construction.
 *
 * Shapes  a shape lists the fields of one struct; SPEC_LIST and SPEC_MAP are TW_ARRAYs of it
 * Unknown NaN, NULL, and 0 or -1 where a flag says so, are null */
#ifndef SPEC_INTERNAL_H
#define SPEC_INTERNAL_H

#include "tw/spec.h"

enum spec_kind {
    SPEC_TEXT,   /* const char * */
    SPEC_CHARS,  /* char[size] */
    SPEC_REAL,   /* double; in JSON times scale */
    SPEC_INT,    /* int */
    SPEC_UINT,   /* unsigned */
    SPEC_INT64,  /* int64_t */
    SPEC_UINT64, /* over 2^53 as text, which other readers would round */
    SPEC_BOOL,   /* bool */
    SPEC_NAME,   /* an enum by its table of names, size of them */
    SPEC_TIME,   /* int64_t nanoseconds since 1970, in JSON "2026-01-31T12:00:00Z" */
    SPEC_BYTES,  /* int64_t; a number or "4GB" is read */
    SPEC_CORES,  /* double; a number or "500m" is read */
    SPEC_TEXTS,  /* TW_ARRAY(const char *) */
    SPEC_OBJECT, /* a struct in place, by shape */
    SPEC_LIST,   /* TW_ARRAY of shape */
    SPEC_MAP,    /* the same as an object; the first field of the shape is the key */
};
enum spec_flag {
    SPEC_ZERO_UNKNOWN = 1,
    SPEC_MINUS_UNKNOWN = 2,
    SPEC_REQUIRED = 4, /* strict reading fails without it */
    SPEC_SHORT = 8,    /* six digits are enough: there are thousands of these in a body */
};
struct spec_shape;
struct spec_field {
    const char *key;
    enum spec_kind kind;
    unsigned flags;
    size_t offset, size;
    double scale; /* 0: 1 */
    const char *const *names;
    const struct spec_shape *shape;
};
struct spec_shape {
    const struct spec_field *fields;
    size_t count, size; /* of fields; of the struct */
};

#define SPEC_AT(type, member) .offset = offsetof(struct type, member)
#define SPEC_SHAPE(type, table)                                                          \
    {                                                                                    \
        .fields = (table), .count = TW_COUNT_OF(table), .size = sizeof(struct type)      \
    }

/* Everything unknown. */
void spec_blank(const struct spec_shape *shape, void *to);
/* New reference. brief: unknown fields are left out rather than null. */
json_t *spec_write(const struct spec_shape *shape, const void *from, bool brief);
json_t *spec_write_list(const struct spec_shape *shape, const void *array); /* brief */
/* Lenient, for bodies of our own: what is missing or of another type stays unknown. */
void spec_read(const struct spec_shape *shape, struct tw_arena *a, const json_t *json, void *to);
/* Strict, for bodies of users: keys outside the shape and extra are errors, so are other types.
 * Members that the object does not mention stay as they are. */
int spec_read_strict(const struct spec_shape *shape, struct tw_arena *a, const json_t *json,
                     const char *pointer, const char *const *extra, size_t extra_count,
                     void *to, struct tw_err *err);

/* pointer + "/" + key, escaped by RFC 6901. */
const char *spec_type_name(const json_t *json); /* "a text", "an array" … */

extern const struct spec_shape spec_snapshot_summary; /* as it stands in a simulation */
extern const struct spec_shape spec_plan;
extern const struct spec_shape spec_client;
extern const struct spec_shape spec_estimate;
extern const struct spec_shape spec_scaling; /* as a plan has it */
extern const struct spec_shape spec_scale;   /* as an impact has it */

/* The keys of a request that only scaling has: the last part of pointer names which. */
int spec_scaling_read(struct tw_arena *a, const json_t *json, const char *pointer,
                      struct tw_scaling_request *to, struct tw_err *err);
void spec_scaling_write(const struct tw_scaling_request *r, json_t *json);
extern const struct spec_shape spec_deployment;
extern const struct spec_shape spec_endpoint_experience;
extern const struct spec_shape spec_fault, spec_fault_effect;
int spec_read_faults(struct tw_arena *a, const json_t *json, const char *pointer,
                     struct tw_faults *ret, struct tw_err *err);

/* The keys of a deployment into the request's JSON. */
void spec_write_deployment(const struct tw_deployment_request *d, json_t *request);

#endif
