/* Two versions of a service, the old one run twice: their answers to the same requests, times, memory,
 * logs, starts and stops compared, with the noise of old against old taken off. Pure.
 *
 * Units   seconds, bytes; offsets of times in answers in seconds
 * Shapes  an answer is one of a side to request 0 … n-1; sides are old, the old one again, new
 * Errors  none: what cannot be told is not claimed
 * Owns    what is found lives in the arena given; answers are copied as far as needed
 * Source  exact test of two shares: R. A. Fisher 1922; bounds of a share: Clopper, Pearson 1934; slope:
 *         Sen 1968; docs/internals/version.md */
#ifndef TW_VERSION_H
#define TW_VERSION_H

#include "tw/spec.h"

enum tw_side { TW_SIDE_OLD, TW_SIDE_AGAIN, TW_SIDE_NEW, TW_SIDE_COUNT };

/* ---- answers ---- */

struct tw_reply {
    int status;              /* 0: none came */
    const char *why;         /* then */
    struct {
        const struct tw_http_field *items;
        size_t count;
    } headers;
    const char *body;        /* NULL: none */
    size_t len;
    int64_t asked_wall_ns;   /* times in an answer are told by their distance from this */
    double seconds;          /* until the last byte */
};
/* How much one kind of difference means. */
enum tw_difference_kind {
    TW_DIFFERS_STATUS,       /* another status */
    TW_DIFFERS_TYPE_OF_BODY, /* Content-Type */
    TW_DIFFERS_HEADER,       /* a header gone, or with another value */
    TW_DIFFERS_MISSING,      /* a field gone */
    TW_DIFFERS_NEW,          /* a field that was not there */
    TW_DIFFERS_TYPE,         /* a field of another type */
    TW_DIFFERS_FORMAT,       /* a text of another form: a time with another zone */
    TW_DIFFERS_TIME,         /* a time shifted */
    TW_DIFFERS_VALUE,        /* a number or a truth value that stood still and now is another */
    TW_DIFFERS_TEXT,         /* wording */
    TW_DIFFERS_ORDER,        /* the same elements in another order */
    TW_DIFFERS_EMPTY,        /* no body where there was one, or the other way round */
    TW_DIFFERS_COUNT
};
struct tw_difference {
    enum tw_difference_kind kind;
    int request;
    const char *where;       /* "/items/N/price", N any, header; NULL: the answer as a whole */
    const char *before, *after; /* what stood there, shortened; NULL: nothing */
    int64_t had_before, of_before, had_after, of_after; /* answers with what tells them apart */
    double chance;           /* that versions without difference show as much */
    double shift_s;          /* of a time; NaN */
};
struct tw_differences {
    TW_ARRAY(struct tw_difference) list;
    int64_t asked;           /* answers of the new version that were looked at */
    int volatile_parts;      /* parts that differ from old to old too, and were taken off */
};
struct tw_answers;
struct tw_answers *tw_answers_new(void); /* owned: tw_answers_free */
void tw_answers_free(struct tw_answers *w);
TW_AUTO_DEFINE(tw_answers)
void tw_answers_add(struct tw_answers *w, enum tw_side side, int request, const struct tw_reply *reply);
/* What of each version is its name ("1.2", "web:2"): a text that only tells it is no difference. */
void tw_answers_names(struct tw_answers *w, enum tw_side side, const char *name);
void tw_answers_compare(struct tw_arena *a, const struct tw_answers *w, struct tw_differences *ret);

/* ---- shares ---- */

/* Chance that two equal shares show k of n and l of m, or further apart, l being the larger share. */
double tw_share_chance(int64_t k, int64_t n, int64_t l, int64_t m);
/* Bounds of the share of which k of n were seen, each side with probability (1 - level) / 2. */
void tw_share_bounds(int64_t k, int64_t n, double level, double *ret_low, double *ret_high);
/* As many requests show an error of this share at least once with this probability. */
int64_t tw_share_requests(double share, double probability);

/* ---- times ---- */

/* Quantile q of new over that of both runs of old, paired by index (one request each at about the same time);
 * 90 %. noise: |log| of old over again. NaN where there are fewer than 20. */
struct tw_estimate tw_version_ratio(const double *old, const double *again, const double *now, size_t n,
                                    double q, uint64_t seed, double *ret_noise);
/* 1 satisfied, 0.5 to four times the objective, 0 beyond or failed (infinite). */
double tw_apdex(const double *seconds, size_t n, double objective_s);

/* ---- memory ---- */

struct tw_leak {
    struct tw_estimate per_request; /* bytes, 90 % */
    double late;             /* lower bound of the slope of the second half: it goes on */
    double grown_bytes;      /* from the first tenth to the last */
};
/* bytes of memory after so many requests. */
struct tw_leak tw_version_leak(const double *requests, const double *bytes, size_t n);
bool tw_version_leaks(const struct tw_leak *old, const struct tw_leak *now);
#endif
