/* Shared by the files of the kind "pgbouncer".
 *
 * Ini     pgbouncer.ini and what it includes; names of settings are "default_pool_size" of the section
 *         [pgbouncer], "databases.shop", "users.app"
 * Console the database "pgbouncer" of the pooler itself: SHOW CONFIG, POOLS, STATS, CLIENTS
 * Source  pgbouncer.org: config, usage; pgbouncer 1.18 sources for the words of its log */
#ifndef KIND_PGB_INTERNAL_H
#define KIND_PGB_INTERNAL_H

#include "../host/host.h"

#include "tw/pg.h"
#include "tw/redact.h"

struct pgb_entry {
    const char *name, *value, *file; /* name: "databases.shop"; file without root */
    int line;
};
struct pgb_ini {
    TW_ARRAY(struct pgb_entry) entries; /* in reading order: the last of a name holds */
    TW_ARRAY(const char *) files;       /* the main one first */
    const char *problem;
};
void pgb_ini_read(struct tw_arena *a, const char *root, const char *path, struct pgb_ini *ret);
const struct pgb_entry *pgb_ini_last(const struct pgb_ini *ini, const char *name);
const char *pgb_ini_value(const struct pgb_ini *ini, const char *name, const char *fallback);
/* Sets (value) or removes (NULL) a name in the text of one file; section is made where it is not. */
char *pgb_ini_set(struct tw_arena *a, const char *text, const char *name, const char *value);
/* "databases.shop": of a section beside [pgbouncer]. */
bool pgb_is_entry(const char *name);
/* host= and the like of a line of [databases]; NULL. */
const char *pgb_word(struct tw_arena *a, const char *connstr, const char *key);

/* Secrets in the tree at root become those of clones. */
/* The secret of a line of auth_file, and whose; NULL: it is no such line. */
const char *pgb_list_entry(struct tw_arena *a, const char *line, const char **ret_user);
int pgb_own_secrets(struct tw_arena *a, const char *root, const struct tw_snapshot *s, unsigned uid,
                    unsigned gid, struct tw_err *err);

int kind_pgb_snapshot(struct tw_arena *a, const struct tw_target *t, struct tw_snapshot *ret,
                      struct tw_err *err);
int kind_pgb_validate(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                      struct tw_issues *issues, struct tw_err *err);
int kind_pgb_plan(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                  struct tw_plan *plan, struct tw_err *err);
const char *kind_pgb_seed_key(struct tw_arena *a, const struct tw_snapshot *s);
int kind_pgb_seed_fill(struct tw_arena *a, const struct tw_target *t, const struct tw_snapshot *s,
                       const char *seed_root, unsigned uid, unsigned gid,
                       struct tw_issues *differences, struct tw_err *err);
int kind_pgb_refresh(struct tw_arena *a, const struct tw_target *t, const struct tw_snapshot *s,
                     const struct tw_plan *plan, const char *root, unsigned uid, unsigned gid,
                     struct tw_issues *differences, struct tw_err *err);
int kind_pgb_layout(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_plan *plan,
                    const char *root, struct tw_layout *ret, struct tw_err *err);
int kind_pgb_launch(struct tw_arena *a, const struct tw_access *access, enum tw_start_mode mode,
                    struct tw_launch *ret, struct tw_err *err);
enum tw_ready kind_pgb_ready(const struct tw_access *access);
int kind_pgb_apply(struct tw_arena *a, const struct tw_access *access,
                   const struct tw_plan_step *step, struct tw_err *err);
int kind_pgb_limits(struct tw_arena *a, const struct tw_access *access,
                    struct tw_service_limits *ret, struct tw_err *err);
void kind_pgb_judge_start(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                          const struct tw_plan *plan, bool started, int wait_status,
                          struct tw_issues *issues);
void kind_pgb_judge_reload(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                           const struct tw_plan *plan, struct tw_issues *issues);
void kind_pgb_judge_files(struct tw_arena *a, const struct tw_access *access,
                          const struct tw_plan *plan, struct tw_issues *issues);
void kind_pgb_judge_log(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                        struct tw_issues *issues);

/* ---- pure arithmetic, of what is measured and set ---- */

/* Servers that transactions of this rate and mean length keep busy: L = lambda W (Little 1961). */
double pgb_busy_servers(double transactions_per_s, double mean_s);
/* What a client sends that needs the session it was sent in ("SET search_path"); NULL: nothing. */
const char *pgb_needs_session(const char *sql);
/* "max_client_conn: 500, max expected fd use: 552" and the limit, of its own words. False: not said. */
struct pgb_files {
    double limit, hard, clients, expected;
};
bool pgb_read_files(const char *log, struct pgb_files *ret);

#endif
