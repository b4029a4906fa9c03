/* Shared by the files of the kind "postgresql".
 *
 * Place   where a cluster is and in what state: read from its own files, nothing is asked
 *         of it
 * Conf    postgresql.conf and what it includes, in the order in which the server reads it
 * Source  PostgreSQL documentation, chapters 20 "Server Configuration", 26 "Backup and Restore" */
#ifndef KIND_PG_INTERNAL_H
#define KIND_PG_INTERNAL_H

#include "tw/pg.h"
#include "tw/redact.h"
#include "service/host/host.h"

#define KIND_PG_ROLE    "twin_scratch" /* our superuser, in clones only */
#define KIND_PG_RUNTIME "/tw"          /* inside a sandbox: private socket, hba of ours */
#define KIND_PG_DOOR    1              /* our entrance's port, whatever the change makes theirs */

enum kind_pg_state { KIND_PG_STOPPED, KIND_PG_RUNNING, KIND_PG_CRASHED, KIND_PG_ELSEWHERE };
extern const char
    *const kind_pg_state_names[4]; /* stopped running crashed elsewhere: snapshot.how */

struct kind_pg_place {
    const char *data_dir, *config_file; /* absolute, without links at the end */
    int major;
    const char *bin_dir; /* of that major version */
    unsigned uid, gid;
    const char *owner; /* NULL: the uid has no name here */
    enum kind_pg_state state;
    int port;                        /* of postmaster.pid; 0 unknown */
    const char *socket_dir, *listen; /* NULL unknown */
    const char *wal_dir;             /* where a linked pg_wal leads; NULL: not linked */
    TW_ARRAY(const char *) tablespaces;
    TW_ARRAY(const char *) options; /* of postmaster.opts, beside -D and config_file */
};
int kind_pg_find(struct tw_arena *a, const char *data_dir, struct kind_pg_place *ret,
                 struct tw_err *err);
/* The server behind a connection is not of this host (or of a container of it): asked once settings and
 * port are in the snapshot. */
bool kind_pg_is_elsewhere(struct tw_pg *pg, const struct tw_snapshot *s);
int kind_pg_find_elsewhere(struct tw_arena *a, const struct tw_snapshot *s,
                           struct kind_pg_place *ret, struct tw_err *err);
/* Files, size and tablespaces of such a one; its files as they are now, into a clone. */
int kind_pg_ask_elsewhere(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                          struct tw_err *err);
int kind_pg_refresh_elsewhere(struct tw_arena *a, const struct tw_target *t,
                              const struct tw_snapshot *s, const struct tw_plan *plan,
                              const char *root, unsigned uid, unsigned gid,
                              struct tw_issues *differences, struct tw_err *err);
/* The data directory is complete when the server answers for itself too. */
int kind_pg_bin_dir(struct tw_arena *a, int major, const char **ret, struct tw_err *err);
/* A program of bin_dir run as the owner of the cluster, in the C locale: its standard
 * output. */
int kind_pg_program(struct tw_arena *a, const struct kind_pg_place *place,
                    const char *const *argv, const char **ret_out, struct tw_err *err);

/* ---- configuration files ---- */

struct kind_pg_entry {
    const char *name, *value, *file; /* file: as the server names it, without root */
    int line;
};
struct kind_pg_conf {
    TW_ARRAY(struct kind_pg_entry)
    entries;                      /* in reading order: the last of a name holds */
    TW_ARRAY(const char *) files; /* every file read, the main one first */
    const char *problem;          /* first thing that could not be read; NULL */
};
/* root is put before every path ("" for the target itself); auto.conf of data_dir is read
 * last. */
void kind_pg_conf_read(struct tw_arena *a, const char *root, const char *config_file,
                       const char *data_dir, struct kind_pg_conf *ret);
const struct kind_pg_entry *kind_pg_conf_last(const struct kind_pg_conf *conf,
                                              const char *name);
/* Rewrites values in place, line by line, so that line numbers stay true. value(arg,
 * name) gives the new value or NULL to leave the line. */
typedef const char *kind_pg_rewrite_fn(void *arg, const char *name);
char *kind_pg_conf_rewrite(struct tw_arena *a, const char *text,
                           kind_pg_rewrite_fn *value, void *arg);
/* Without what acts on the world outside; each change is told. */
char *kind_pg_conf_harmless(struct tw_arena *a, const char *text, struct tw_issues *differences);
/* Sets (value) or removes (NULL) one name, as ALTER SYSTEM does with its own file. */
char *kind_pg_conf_set(struct tw_arena *a, const char *text, const char *name,
                       const char *value);

/* ---- settings ---- */

/* What PostgreSQL says of its settings, for servers that cannot be asked: units are
 * stable. */
const char *kind_pg_unit_of(const char *name);            /* NULL: none */
bool kind_pg_is_list(const char *name, bool *ret_quoted); /* GUC_LIST_INPUT, _QUOTE */
/* A value as the server would read it, in the setting's own unit. -EINVAL with the
 * server's kind of words; ret may be NULL. */
int kind_pg_read_number(const struct tw_setting *s, const char *value, double *ret,
                        struct tw_err *err);
int kind_pg_read_bool(const char *value, bool *ret);
int kind_pg_check_value(const struct tw_setting *s, const char *value,
                        struct tw_err *err);
/* bytes of a memory setting's value; NaN when it has none. */
double kind_pg_bytes(const struct tw_setting *s, const char *value);

/* ---- what a server is asked ---- */

#define KIND_PG_CONNECT_NS (5 * TW_SEC_NS)
/* So that our own questions are known among the target's statements, and left out. */
#define OURS         "/*twin*/ "
#define CELL(column) tw_pg_cell(&rows, i, column)
int64_t kind_pg_whole(const char *text); /* NULL is 0 */
/* Identity, settings, access rules, databases, rates: of the cluster, in any database. */
int kind_pg_ask_server(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                       struct tw_err *err);
int kind_pg_ask_databases(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                          struct tw_err *err);
/* Of the database that pg is connected to. */
int kind_pg_ask_tables(struct tw_pg *pg, struct tw_arena *a, const char *database,
                       struct tw_snapshot *s, struct tw_err *err);
int kind_pg_ask_statements(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                           struct tw_err *err);
/* Counters with an end (sequences, transaction ids, limits of databases), and roles: of the target
 * or of a twin. */
int kind_pg_ask_counters(struct tw_pg *pg, struct tw_arena *a, struct tw_standing *ret,
                         struct tw_err *err);
/* What only the target has: slots, sessions that are never used again, what holds back a vacuum. */
int kind_pg_ask_holders(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                        struct tw_err *err);
/* File systems of data, WAL, log and tablespaces: bytes and inodes. */
void kind_pg_file_systems(struct tw_arena *a, struct tw_snapshot *s);
int kind_pg_ask_hba(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                    struct tw_err *err);
/* From the settings of the snapshot. */
void kind_pg_endpoints(struct tw_arena *a, struct tw_snapshot *s);
int kind_pg_read_stopped(struct tw_arena *a, const struct kind_pg_place *p,
                         struct tw_snapshot *s, struct tw_err *err);

/* ---- parts of the row ---- */

int kind_pg_pulse(const struct tw_target *t, bool counters, void **session,
                  struct tw_pulse *ret, struct tw_err *err);
void kind_pg_pulse_end(void *session);
/* A session at the target; place from the target's files, or of its socket's owner. */
int kind_pg_reach(struct tw_arena *a, const struct tw_target *t, struct tw_pg **ret,
                  struct tw_err *err);
int kind_pg_snapshot(struct tw_arena *a, const struct tw_target *t,
                     struct tw_snapshot *ret, struct tw_err *err);
/* A session at the target: as the owner of the cluster where the socket asks for that. */
int kind_pg_connect(struct tw_arena *a, const struct tw_target *t,
                    const struct kind_pg_place *place, const char *database,
                    struct tw_pg **ret, const char **ret_conninfo, struct tw_err *err);
int kind_pg_validate(struct tw_arena *a, const struct tw_snapshot *s,
                     const struct tw_request *r, struct tw_issues *issues,
                     struct tw_err *err);
int kind_pg_plan(struct tw_arena *a, const struct tw_snapshot *s,
                 const struct tw_request *r, struct tw_plan *plan, struct tw_err *err);
bool kind_pg_is_standby(const struct tw_access *x); /* of the clone: standby.signal */
const char *kind_pg_seed_key(struct tw_arena *a, const struct tw_snapshot *s);
int kind_pg_seed_fill(struct tw_arena *a, const struct tw_target *t,
                      const struct tw_snapshot *s, const char *seed_root, unsigned uid,
                      unsigned gid, struct tw_issues *differences, struct tw_err *err);
int kind_pg_refresh(struct tw_arena *a, const struct tw_target *t,
                    const struct tw_snapshot *s, const struct tw_plan *plan,
                    const char *root, unsigned uid, unsigned gid,
                    struct tw_issues *differences, struct tw_err *err);
int kind_pg_settle(struct tw_arena *a, const struct tw_access *access,
                   struct tw_issues *differences, struct tw_err *err);
int kind_pg_complete(struct tw_arena *a, const struct tw_access *access,
                     struct tw_snapshot *s, struct tw_err *err);
int kind_pg_answers(struct tw_arena *a, struct tw_pg *pg, struct tw_answers *ret,
                    struct tw_err *err);
int kind_pg_limits(struct tw_arena *a, const struct tw_access *access,
                   struct tw_service_limits *ret, struct tw_err *err);
int kind_pg_standing(struct tw_arena *a, const struct tw_access *access, bool probe,
                     struct tw_standing *ret, struct tw_err *err);
void kind_pg_certificates(struct tw_arena *a, const struct tw_access *access,
                          struct tw_certificates *ret);
int kind_pg_requests(struct tw_arena *a, const struct tw_access *access,
                     const char *database, int64_t deadline_ns, int64_t *ret,
                     struct tw_err *err);
const char *kind_pg_conninfo(struct tw_arena *a, const struct tw_snapshot *s,
                             const char *dir);
const char *kind_pg_wal_link(struct tw_arena *a, const char *root,
                             const char *data_dir); /* NULL: not linked */
int kind_pg_season(const struct tw_snapshot *s, const char *root, const volatile bool *stop,
                   struct tw_err *err);
int kind_pg_layout(struct tw_arena *a, const struct tw_snapshot *s,
                   const struct tw_plan *plan, const char *root, struct tw_layout *ret,
                   struct tw_err *err);
int kind_pg_launch(struct tw_arena *a, const struct tw_access *access,
                   enum tw_start_mode mode, struct tw_launch *ret, struct tw_err *err);
enum tw_ready kind_pg_ready(const struct tw_access *access);
int kind_pg_apply(struct tw_arena *a, const struct tw_access *access,
                  const struct tw_plan_step *step, struct tw_err *err);
void kind_pg_judge_start(struct tw_arena *a, const struct tw_access *access,
                         size_t log_from, const struct tw_plan *plan, bool started,
                         int wait_status, struct tw_issues *issues);
void kind_pg_judge_reload(struct tw_arena *a, const struct tw_access *access,
                          size_t log_from, const struct tw_plan *plan,
                          struct tw_issues *issues);
void kind_pg_judge_log(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                       struct tw_issues *issues);
void kind_pg_judge_files(struct tw_arena *a, const struct tw_access *access,
                         const struct tw_plan *plan, struct tw_issues *issues);

/* Where a file of the change stands at the target: "postgresql.conf", "pg_hba.conf" and
 * the like by their usual names, else absolute, else below the data directory. */
const char *kind_pg_path_of(struct tw_arena *a, const struct tw_snapshot *s,
                            const char *path);
/* The n-th fragment's file inside, and how the user calls it. */
const char *kind_pg_fragment_path(struct tw_arena *a, const struct tw_snapshot *s, int n);
/* What the settings of a snapshot and a plan name outside the data directory: files
 * (keys, certificates), and directories (sockets, log) that only have to be there. */
struct kind_pg_outside {
    TW_ARRAY(const char *) paths, dirs;
};
void kind_pg_outside_files(struct tw_arena *a, const struct tw_snapshot *s,
                           const struct tw_plan *plan, struct kind_pg_outside *ret);

#endif
