/* One file per disturbance of a running twin: a start, an end, and a check that it ended. What is shaped,
 * limited or preloaded belongs to the twin and dies with it, whatever happens to us.
 *
 * Units   seconds, shares 0..1, bits and bytes per second, times; as each row of the table says
 * Shapes  faults of one schedule run together, at their own times
 * Errors  -EINVAL no such kind or strength (what was expected); -EOPNOTSUPP, -ENOTSUP, -EPERM this host or
 *         service has no way to do it (why); -EBUSY it did not end (what still stands)
 * Owns    a fault that runs owns what it made until tw_fault_end
 * Source  docs/internals/fault.md */
#ifndef TW_FAULT_H
#define TW_FAULT_H

#include "tw/twin.h"

enum tw_fault_unit {
    TW_FAULT_NONE,   /* it has no strength */
    TW_FAULT_TIME,   /* "20ms" */
    TW_FAULT_SHARE,  /* "1%", "0.01" */
    TW_FAULT_BITS,   /* a second: "50mbit" */
    TW_FAULT_BYTES,  /* a second: "5MB" */
    TW_FAULT_TIMES,  /* "3", "3x" */
    TW_FAULT_CLOCK,  /* "400d", "-1h", or one of tw_fault_moments */
    TW_FAULT_UNIT_COUNT
};
/* Moments that a clock is put to: just before the end of a day, month or year; just behind the expiry of
 * the first certificate, the first password. */
extern const char *const tw_fault_moments[];
extern const size_t tw_fault_moment_count;

struct tw_fault_run;
struct tw_fault_kind {
    const char *name, *summary;
    enum tw_fault_unit unit;
    double low, high;      /* of the strength */
    const char *standard;  /* strength without one; NULL: unit NONE */
    double duration_s;     /* without one */
    bool link;             /* about the network: needs clients behind a link */
    bool page;             /* needs the twin opened with tw_fault_preload() */
    bool counted;          /* its page counts how often the service met it */
    bool outage;           /* nothing is answered meanwhile: what counts is what comes after */
    bool load;             /* is done by the load itself: begin and end do nothing */
    int (*begin)(struct tw_fault_run *f, struct tw_err *err);
    int (*end)(struct tw_fault_run *f, struct tw_err *err);
    int (*check)(struct tw_fault_run *f, struct tw_err *err); /* 0: it ended */
};
extern const struct tw_fault_kind *const tw_fault_kinds[];
extern const size_t tw_fault_kind_count;
/* Borrowed, or NULL; nearest (may be NULL) gets the nearest name. */
const struct tw_fault_kind *tw_fault_kind_find(const char *name, const char **nearest);

/* The number that a strength means; moments of a clock are told by index: 1e12 + index. */
#define TW_FAULT_MOMENT 1e12
int tw_fault_strength(const struct tw_fault_kind *kind, const char *text, double *ret,
                      struct tw_err *err);
/* All of a request: kinds, strengths, directions; the pointer is that of the field. */
int tw_fault_check(const struct tw_faults *faults, struct tw_err *err);

/* Events of one schedule (faults of one number, from first on): begins and ends in order of time; ends
 * before begins at the same time. */
struct tw_fault_event {
    double at_s;
    size_t fault; /* index in the list */
    bool begins;
};
struct tw_fault_schedule {
    TW_ARRAY(struct tw_fault_event) events;
    double end_s;          /* of the last */
    double load_times;     /* overload: the rate is so many times the capacity; 0: none */
    bool link, page, counted, outage;
};
void tw_fault_schedule(struct tw_arena *a, const struct tw_faults *faults, size_t first,
                       struct tw_fault_schedule *ret, size_t *ret_next);

/* ---- one that runs ---- */

struct tw_fault_place {
    struct tw_priv *priv;
    struct tw_twin *twin;
    int64_t memory_bytes;  /* its limits, to come back to; 0: none */
    double cpus;           /* 0: all cores */
    const struct tw_snapshot *snapshot; /* certificates and roles for a clock */
    double connections;    /* that exhaustion is a share of; the same for both arms */
    const char *address;   /* where its service listens, for those that are no PostgreSQL */
    int port;
};
int tw_fault_begin(const struct tw_fault_place *place, const struct tw_fault *fault,
                   struct tw_fault_run **ret, struct tw_err *err); /* owned: tw_fault_end */
/* Ends it and checks that it did. The run is taken. NULL is fine. */
int tw_fault_end(struct tw_fault_run *f, struct tw_err *err);
const char *tw_fault_how(const struct tw_fault_run *f); /* borrowed; lives as long as the program */
/* Sessions that it asked for itself and that were refused, and with what words (borrowed); 0, 0, NULL. */
void tw_fault_refused(const struct tw_fault_run *f, int *ret_asked, int *ret_refused,
                      const char **ret_words);

/* The library that a twin is opened with when a fault needs it (struct tw_twin_spec). */
void tw_fault_preload(const void **ret_bytes, size_t *ret_len);
#endif
