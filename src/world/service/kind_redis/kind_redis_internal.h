/* Shared by the files of the kind "redis".
 *
 * Link    one connection, one command at a time, RESP2
 * Conf    redis.conf and what it includes, in the order in which the server reads it
 * Scratch a server of the same program, without data, without network: it is asked what settings
 *         there are, of what type, and whether it takes a value; nothing of that is known here
 * Source  redis.io "RESP protocol spec", "ACL", "Redis persistence"; redis.conf of 7.0 */
#ifndef KIND_REDIS_INTERNAL_H
#define KIND_REDIS_INTERNAL_H

#include "../host/host.h"

#include "tw/redact.h"

#define KIND_REDIS_PORT   6379
#define KIND_REDIS_USER   "twin_scratch" /* of ours, in clones only */
#define KIND_REDIS_SOCKET "redis.sock"   /* in the runtime directory */
#define KIND_REDIS_ACL    60000          /* version from which there are users */

/* ---- link ---- */

enum redis_type { REDIS_NIL, REDIS_STATUS, REDIS_ERROR, REDIS_INTEGER, REDIS_TEXT, REDIS_LIST };
struct redis_reply {
    enum redis_type type;
    const char *text;    /* NUL-terminated; of an error without the '-' */
    size_t len;
    int64_t integer;
    TW_ARRAY(struct redis_reply) list;
};
struct redis_where {
    const char *socket;  /* path; NULL: by host and port */
    const char *host;
    int port;
    const char *user, *password; /* NULL: none */
};
struct redis_link;
/* Connects and logs in. -ECONNREFUSED, -ETIMEDOUT, -EACCES with the server's words. */
int redis_link_open(const struct redis_where *where, int64_t deadline_ns,
                    struct redis_link **ret, struct tw_err *err); /* owned: redis_link_free */
void redis_link_free(struct redis_link *l);
TW_AUTO_DEFINE(redis_link)
/* An error of the server is a reply, not an error. */
int redis_ask_words(struct redis_link *l, struct tw_arena *a, const char *const *words, size_t n,
                    struct redis_reply *ret, struct tw_err *err);
#define REDIS_ASK(l, a, ret, err, ...)                                                   \
    redis_ask_words(l, a, (const char *const[]){__VA_ARGS__},                            \
                    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), ret, err)
/* "redis://user:password@host:port/0", "unix:///path", "host:port", "/path". -EINVAL. */
int redis_parse_address(struct tw_arena *a, const char *text, struct redis_where *ret,
                        struct tw_err *err);
/* The answer of SYNC, written to fd: an RDB file as of now. */
int redis_link_dump(struct redis_link *l, int fd, int64_t deadline_ns, int64_t *ret_bytes,
                    struct tw_err *err);
/* "name:value" of INFO; NULL: not told. */
const char *redis_info(struct tw_arena *a, const char *info, const char *name);
double redis_info_number(const char *info, const char *name); /* NaN */

/* ---- configuration ---- */

struct redis_line {
    const char *name, *value, *file; /* value: arguments as written; file without root */
    TW_ARRAY(const char *) args;     /* unquoted */
    int line;
};
struct redis_conf {
    TW_ARRAY(struct redis_line) lines;
    TW_ARRAY(const char *) files;    /* the main one first */
    const char *problem;             /* first file that could not be read; NULL */
};
void redis_conf_read(struct tw_arena *a, const char *root, const char *path,
                     struct redis_conf *ret);
/* The last line of that name, whose value holds; NULL. */
const struct redis_line *redis_conf_last(const struct redis_conf *conf, const char *name);
/* Its arguments with one space between; fallback when there is none. "save" lines add up. */
const char *redis_conf_value(struct tw_arena *a, const struct redis_conf *conf,
                             const char *name, const char *fallback);
/* What a command is called: rename-command; NULL when it was taken away. */
const char *redis_conf_command(const struct redis_conf *conf, const char *command);
/* Sets (value) or removes (NULL) a name in the text of one file. */
char *redis_conf_set(struct tw_arena *a, const char *text, const char *name,
                     const char *value);
/* Takes several arguments: its value is not quoted as one. */
bool redis_conf_is_list(const char *name);
/* Only in files, unknown to CONFIG GET. */
bool redis_conf_is_file_only(const char *name);

/* ---- scratch ---- */

struct redis_scratch;
int redis_scratch_open(struct tw_arena *a, const char *program, unsigned uid, unsigned gid,
                       struct redis_scratch **ret, struct tw_err *err);
void redis_scratch_free(struct redis_scratch *s);
TW_AUTO_DEFINE(redis_scratch)
/* Every setting of this program with its default, type, range, words and context. */
int redis_scratch_settings(struct redis_scratch *s, struct tw_arena *a, struct tw_snapshot *ret,
                           struct tw_err *err);
const char *redis_scratch_version(struct redis_scratch *s, struct tw_arena *a); /* NULL unknown */
/* NULL: it takes the value; else its own words. ret_normal (may be NULL): as it shows it. */
const char *redis_scratch_refuses(struct redis_scratch *s, struct tw_arena *a,
                                  const struct tw_setting *setting, const char *value,
                                  const char **ret_normal);
/* Means something on the very host only (addresses, paths, certificates): no scratch can tell. */
bool redis_is_of_host(const char *name);

/* ---- parts of the row ---- */

int kind_redis_pulse(const struct tw_target *t, bool counters, void **session,
                     struct tw_pulse *ret, struct tw_err *err);
void kind_redis_pulse_end(void *session);
int kind_redis_snapshot(struct tw_arena *a, const struct tw_target *t, struct tw_snapshot *ret,
                        struct tw_err *err);
/* A session at the running target. */
int kind_redis_connect(struct tw_arena *a, const struct tw_target *t,
                       const struct tw_snapshot *s, struct redis_link **ret,
                       struct tw_err *err);
/* Keys, memory and the like, as INFO tells them. */
void kind_redis_take_info(struct tw_arena *a, const char *info, struct tw_snapshot *s);
int kind_redis_complete(struct tw_arena *a, const struct tw_access *access,
                        struct tw_snapshot *s, struct tw_err *err);
int kind_redis_validate(struct tw_arena *a, const struct tw_snapshot *s,
                        const struct tw_request *r, struct tw_issues *issues,
                        struct tw_err *err);
int kind_redis_plan(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                    struct tw_plan *plan, struct tw_err *err);
const char *kind_redis_seed_key(struct tw_arena *a, const struct tw_snapshot *s);
int kind_redis_seed_fill(struct tw_arena *a, const struct tw_target *t,
                         const struct tw_snapshot *s, const char *seed_root, unsigned uid,
                         unsigned gid, struct tw_issues *differences, struct tw_err *err);
int kind_redis_refresh(struct tw_arena *a, const struct tw_target *t,
                       const struct tw_snapshot *s, const struct tw_plan *plan,
                       const char *root, unsigned uid, unsigned gid,
                       struct tw_issues *differences, struct tw_err *err);
int kind_redis_layout(struct tw_arena *a, const struct tw_snapshot *s,
                      const struct tw_plan *plan, const char *root, struct tw_layout *ret,
                      struct tw_err *err);
int kind_redis_launch(struct tw_arena *a, const struct tw_access *access,
                      enum tw_start_mode mode, struct tw_launch *ret, struct tw_err *err);
enum tw_ready kind_redis_ready(const struct tw_access *access);
int kind_redis_enter(struct tw_arena *a, const struct tw_access *access,
                     struct redis_link **ret, struct tw_err *err);
int kind_redis_apply(struct tw_arena *a, const struct tw_access *access,
                     const struct tw_plan_step *step, struct tw_err *err);
int kind_redis_reload(struct tw_arena *a, const struct tw_access *access, struct tw_err *err);
/* What CONFIG SET refused of the last change; NULL: nothing. */
const char *kind_redis_refused(struct tw_arena *a, const struct tw_access *access);
int kind_redis_limits(struct tw_arena *a, const struct tw_access *access,
                      struct tw_service_limits *ret, struct tw_err *err);
int kind_redis_requests(struct tw_arena *a, const struct tw_access *access,
                        const char *database, int64_t deadline_ns, int64_t *ret,
                        struct tw_err *err);
int kind_redis_holdings(struct tw_arena *a, const struct tw_access *access,
                        struct tw_holdings *ret, struct tw_err *err);
void kind_redis_judge_start(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                            const struct tw_plan *plan, bool started, int wait_status,
                            struct tw_issues *issues);
void kind_redis_judge_reload(struct tw_arena *a, const struct tw_access *access,
                             size_t log_from, const struct tw_plan *plan,
                             struct tw_issues *issues);
void kind_redis_judge_files(struct tw_arena *a, const struct tw_access *access,
                            const struct tw_plan *plan, struct tw_issues *issues);
void kind_redis_judge_log(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                          struct tw_issues *issues);
/* What a running twin tells of itself, against what the target tells: plan may be NULL. */
void kind_redis_judge_state(struct tw_arena *a, const struct tw_access *access,
                            const struct tw_plan *plan, struct tw_issues *issues);

#endif
