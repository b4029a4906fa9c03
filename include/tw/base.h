/* What the language lacks: errors, cleanup, arenas, buffers, text, files, clock, names, steps.
 *
 * Units   times int64_t nanoseconds of CLOCK_MONOTONIC unless a name says otherwise
 * Errors  0 or a negative errno; the text stands in struct tw_err, held by the caller
 * Owns    what an arena hands out lives as long as the arena; everything else says so
 * Memory  the small bookkeeping allocations end the program when memory is gone
 * Source  error convention after libcrun; named steps are ours */
#ifndef TW_BASE_H
#define TW_BASE_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TW_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define TW_COUNT_OF(array)   (sizeof(array) / sizeof((array)[0]))
#define TW_SEC_NS            INT64_C(1000000000)
#define TW_MSEC_NS           INT64_C(1000000)

/* ---- errors ---- */

/* Fixed size, no pointers: may be written to a pipe as it is. code is a negative errno.
 * pointer is the JSON Pointer of the offending field of a request, or "". */
struct tw_err {
    int code;
    char pointer[128];
    char text[1024];
};

/* Fills err (may be NULL) and returns code. */
int tw_fail(struct tw_err *err, int code, const char *fmt, ...) TW_PRINTF(3, 4);
/* As tw_fail, for the field of a request that pointer names. */
int tw_fail_at(struct tw_err *err, int code, const char *pointer, const char *fmt, ...)
    TW_PRINTF(4, 5);
/* As tw_fail with the errno's own text appended: "…: No such file or directory". */
int tw_fail_errno(struct tw_err *err, int errnum, const char *fmt, ...) TW_PRINTF(3, 4);
/* Puts "context: " before the text that err already has; returns code. */
int tw_wrap(struct tw_err *err, int code, const char *fmt, ...) TW_PRINTF(3, 4);

/* ---- cleanup ---- */

void tw_close_p(int *fd);
void tw_free_p(void *pointer_to_pointer);
#define tw_auto_close __attribute__((cleanup(tw_close_p)))
#define tw_auto_free  __attribute__((cleanup(tw_free_p)))
/* tw_auto(tw_arena) *a: calls tw_arena_free(a) at the end of the scope. A room that wants this
 * for its type writes TW_AUTO_DEFINE(tw_thing) in its door. */
#define TW_AUTO_DEFINE(name)                                                             \
    static inline void name##_auto_p(struct name **p)                                    \
    {                                                                                    \
        name##_free(*p);                                                                 \
    }
#define tw_auto(name) __attribute__((cleanup(name##_auto_p))) struct name
#define tw_take_ptr(p)                                                                   \
    ({                                                                                   \
        __typeof__(*(p)) tw_taken_ = *(p);                                               \
        *(p) = NULL;                                                                     \
        tw_taken_;                                                                       \
    })
static inline int tw_take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/* Allocation that does not fail (the program ends with exit code 1 and a message). */
void *tw_alloc(size_t size); /* zeroed, owned: free() */
void *tw_realloc_array(void *p, size_t count, size_t size);

/* ---- arena: many small things with one end ---- */

struct tw_arena;
struct tw_arena *tw_arena_new(void); /* owned: tw_arena_free */
void tw_arena_free(struct tw_arena *a);
TW_AUTO_DEFINE(tw_arena)
void *tw_arena_alloc(struct tw_arena *a, size_t size); /* zeroed, borrowed from a */
char *tw_arena_strdup(struct tw_arena *a, const char *s); /* NULL gives NULL */
char *tw_arena_strndup(struct tw_arena *a, const char *s, size_t n);
char *tw_arena_printf(struct tw_arena *a, const char *fmt, ...) TW_PRINTF(2, 3);
/* What from handed out lives on as long as into; from is taken. For threads, which have one each. */
void tw_arena_adopt(struct tw_arena *into, struct tw_arena *from);
/* An array of one type that grows inside an arena: items points to count elements.
 * TW_PUSH(arena, array, element) appends; element may be a compound literal in parentheses.
 * An array grown by doubling leaves its old copies in the arena: fine for reading once. */
void *tw_arena_grow(struct tw_arena *a, void *items, size_t count, size_t size);
#define TW_ARRAY(...)                                                                    \
    struct {                                                                             \
        __VA_ARGS__ *items;                                                              \
        size_t count;                                                                    \
    }
#define TW_PUSH(arena, array, ...)                                                       \
    do {                                                                                 \
        (array)->items = tw_arena_grow((arena), (array)->items, (array)->count,          \
                                       sizeof(*(array)->items));                         \
        (array)->items[(array)->count++] = (__VA_ARGS__);                                \
    } while (0)

/* ---- buffer: text or bytes that grow up to a maximum given at birth ---- */

struct tw_buf {
    char *data; /* always NUL-terminated once something was added, else NULL */
    size_t len, room, max;
    bool overflow; /* something did not fit and was dropped; len <= max */
};
void tw_buf_init(struct tw_buf *b, size_t max);
void tw_buf_done(struct tw_buf *b);
void tw_buf_clear(struct tw_buf *b);
void tw_buf_add(struct tw_buf *b, const void *data, size_t len);
void tw_buf_puts(struct tw_buf *b, const char *s);
void tw_buf_printf(struct tw_buf *b, const char *fmt, ...) TW_PRINTF(2, 3);
char *tw_buf_take(struct tw_buf *b); /* owned: free(); never NULL */
const char *tw_buf_text(const struct tw_buf *b); /* borrowed, "" when empty */
/* Always written with "= {0}": a return before tw_buf_init() cleans up too. */
#define tw_auto_buf __attribute__((cleanup(tw_buf_done))) struct tw_buf

/* ---- text ---- */

char *tw_strf(const char *fmt, ...) TW_PRINTF(1, 2); /* owned: free() */
bool tw_streq(const char *a, const char *b);         /* NULL equals only NULL */
bool tw_starts_with(const char *s, const char *prefix);
bool tw_ends_with(const char *s, const char *suffix);
/* The entry of names (n of them) nearest to word by edit distance, or NULL when none is near
 * (distance over a third of the word's length). For "did you mean". Borrowed. */
const char *tw_nearest(const char *word, const char *const *names, size_t n);

/* ---- quantities as people write them ---- */

/* "4GB", "512MB", "64kB", "100" -> bytes, binary, as PostgreSQL and Docker read them. -EINVAL. */
int tw_parse_bytes(const char *text, int64_t *ret_bytes, struct tw_err *err);
/* "2 cores", "2", "500m" -> cores. */
int tw_parse_cores(const char *text, double *ret_cores, struct tw_err *err);
int tw_parse_int64(const char *text, int64_t *ret_value, struct tw_err *err);
int tw_parse_double(const char *text, double *ret_value, struct tw_err *err);
/* Into the arena: "1.5 GB", "850 µs", "24 h", "12,345". NaN gives "unknown". */
char *tw_show_bytes(struct tw_arena *a, double bytes);
char *tw_show_seconds(struct tw_arena *a, double seconds);
char *tw_show_count(struct tw_arena *a, double n);

/* ---- files ---- */

/* The whole file, NUL-terminated, at most max bytes (else -EFBIG). owned: free(). dirfd may be
 * AT_FDCWD. ret_len may be NULL. */
int tw_read_file(int dirfd, const char *path, size_t max, char **ret_text, size_t *ret_len,
                 struct tw_err *err);
/* Writes a new file beside it and renames: a reader sees the old or the new one. */
int tw_write_file(const char *path, const void *data, size_t len, unsigned mode,
                  struct tw_err *err);
/* mkdir -p. */
int tw_make_dirs(const char *path, unsigned mode, struct tw_err *err);
/* rm -rf below and including path, never crossing into another file system, never following
 * links. A missing path is fine. */
int tw_remove_tree(const char *path, struct tw_err *err);

/* ---- clock and log ---- */

int64_t tw_now_ns(void);                  /* CLOCK_MONOTONIC */
int64_t tw_wall_ns(void);                 /* CLOCK_REALTIME since 1970 */
void tw_sleep_ns(int64_t ns);
char *tw_iso_time(struct tw_arena *a, int64_t wall_ns); /* 2026-01-31T12:00:00Z */
double tw_seconds(int64_t ns);

enum tw_log_level { TW_LOG_ERROR, TW_LOG_WARNING, TW_LOG_INFO, TW_LOG_DEBUG };
void tw_log_level_set(enum tw_log_level level); /* TWIN_LOG=debug does the same */
/* To stderr. Rooms return errors; only run, api and cmd log. */
void tw_log(enum tw_log_level level, const char *fmt, ...) TW_PRINTF(2, 3);

/* ---- ids and names ---- */

#define TW_ID_LEN 26
/* 26 characters of [a-z0-9], the first ten of them the time, so that ids sort by age. */
void tw_id_make(char ret_id[TW_ID_LEN + 1]);
bool tw_id_valid(const char *id);

/* SHA-256 of data as 64 hex digits. */
void tw_sha256_hex(const void *data, size_t len, char ret_hex[65]);

/* Enum <-> name by a table of names indexed by the enum. Returns -1 when unknown. */
int tw_name_index(const char *name, const char *const *names, size_t n);

/* ---- named steps ----
 * Everything that is made outside the process, and every stage of a run, announces itself with a
 * name of the form room.thing.done ("sandbox.cgroup.made"). Progress, undo, kill tests and reports
 * use the same names. tw_step() tells the observers, in the order they were added, and, where
 * TWIN_KILL_AT names this step (with ":N" the N-th time it is passed), kills the process with
 * SIGKILL: this is how tests prove that nothing is left behind. */
typedef void tw_step_fn(void *arg, const char *step, int64_t now_ns);
void tw_step(const char *step);
void tw_step_observe(tw_step_fn *fn, void *arg);
void tw_step_forget(tw_step_fn *fn, void *arg);

#endif
