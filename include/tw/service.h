/* One file (or folder) per kind of service: recognising it, its settings, how it starts, judges and
 * counts. A kind knows the service, not sandboxes: it describes processes (struct tw_launch) and
 * works on trees and connections that it is given. A further kind is a further row of list.h.
 *
 * Units   named in the fields
 * Errors  -EINVAL bad value in a request (with JSON Pointer, what this very server says, nearest
 *         name), -ENOENT no such cluster or binaries, -EACCES no permission (with the GRANT or line
 *         that mends it), -ESTALE source not consistent
 * Owns    results live in the arena given
 * Source  the manuals of each service; what is asked of a kind: docs/USER_GUIDE.md "Targets" */
#ifndef TW_SERVICE_H
#define TW_SERVICE_H

#include "tw/spec.h"

struct tw_pg;

/* What a process of the service looks like: given to a sandbox. */
struct tw_launch {
    TW_ARRAY(const char *) argv, env; /* NULL-terminated too */
    const char *cwd;
    int stop_signal;        /* clean stop: SIGINT for PostgreSQL ("fast") */
    int reload_signal;      /* 0: this service cannot be reloaded */
    int64_t nofile, nofile_hard; /* limit of open files; 0: inherited */
    bool asks_stderr;       /* TW_START_ASK: what it prints on stderr counts too ("nginx -t") */
};
struct tw_host_name {
    const char *name, *address;
};
/* How the target's tree stands in the sandbox: each path is a directory (or file) of the clone's
 * root, bound at the same absolute path inside. */
struct tw_layout {
    TW_ARRAY(const char *) paths;
    const char *runtime_dir; /* inside: where the private socket and our hba file are: "/tw" */
    int64_t shm_bytes;
    TW_ARRAY(const char *) addresses; /* addresses the service binds to: on lo, and where there
                                         is a link on that instead of lo unless they are 127.* */
    TW_ARRAY(const char *) logs;      /* absolute paths of its logs beside stderr: what is new in them
                                         is read into access->log as well */
    TW_ARRAY(struct tw_host_name) hosts; /* names that it resolves: what /etc/hosts tells inside */
    bool as_root;                     /* begins as root of its sandbox and gives it up itself
                                         (nginx, HAProxy): numbers of users inside are those at the
                                         target, files of the clone are owned by uid + these */
};
enum tw_start_mode {
    TW_START_PURE,   /* the target's own files, nothing of ours: what is judged */
    TW_START_LOAD,   /* with our entrance: private socket, our first hba line */
    TW_START_SETTLE, /* the seed's first start: our entrance, no fsync, nothing goes out */
    TW_START_ASK,    /* not a start: the program prints what it would need, and ends */
};
/* A twin as a kind may touch it. */
struct tw_access {
    const struct tw_snapshot *snapshot;
    int netns;               /* descriptor of its network namespace; -1: none known */
    const char *root;        /* the clone's tree on this host: root + absolute path */
    const char *runtime;     /* host path of layout.runtime_dir: sockets, log, hba */
    const char *entrance;    /* a short path of the same directory, for sessions of this process */
    const char *log;         /* its stderr and layout.logs so far, as they were read: text, borrowed */
    const char *asked;       /* what TW_START_ASK printed; NULL: not asked */
    int64_t oom_kills;       /* in its cgroup so far; -1 unknown */
    int64_t memory_limit_bytes;
    enum tw_arm arm;
    const char *listens_too; /* address that a service under load is reached at beside its own; NULL */
    const char *listens;     /* where it listens by its settings (listen_addresses); NULL unknown */
};
/* What a running service says of its own bounds; NaN where it says nothing. */
struct tw_service_limits {
    double checkpoint_s, max_wal_bytes;
    double max_connections, reserved_connections;
    double shared_memory_bytes;  /* as it computes it itself */
    double sort_memory_bytes;    /* one sort or hash of one session may take this much */
    double written_pages;        /* pages of the tables that the target writes to */
};
/* What a session of a twin gets for one question; both arms are asked the same, in the same order. */
struct tw_answer {
    const char *question, *words; /* the answer, or why there is none */
    bool failed;
    /* When the other arm answers otherwise: */
    enum tw_answer_rule { TW_ANSWER_SAME, TW_ANSWER_WORKS, TW_ANSWER_HOLDS, TW_ANSWER_REFUSED,
                           TW_ANSWER_COUNT } rule; /* a count that is worse when it grows */
    const char *code, *title, *remedy;
    enum tw_severity severity;
    enum tw_verdict at_least;
};
struct tw_answers {
    TW_ARRAY(struct tw_answer) list;
};
enum tw_ready { TW_NOT_YET, TW_READY, TW_REFUSED };
/* What a service holds, counted: "keys in db0" 648. Compared across a restart. */
struct tw_holding {
    const char *what;
    double count;
};
struct tw_holdings {
    TW_ARRAY(struct tw_holding) list;
};
struct tw_certificates {
    TW_ARRAY(struct tw_certificate) list;
};
/* A table whose dead rows something has to reclaim; as for one process that writes it. */
struct tw_reclaimed {
    const char *name;
    double rows, dead_rows, heap_pages, index_pages;
    double added_rows;          /* since its statistics began, removed ones taken off */
    double row_bytes;           /* with its share of the indexes */
    double threshold_rows;      /* dead rows at which reclaiming begins; infinite: never */
    double naptime_s, cost_per_s; /* cost units a second that it may spend; infinite: any */
};
/* What may run out and how far it is, as the service tells it. Readings before and after known work
 * say how much each request takes. NaN and NULL: it does not tell. */
struct tw_standing {
    TW_ARRAY(struct tw_counter) counters;
    TW_ARRAY(struct tw_role) roles;
    TW_ARRAY(struct tw_reclaimed) tables;
    double files;                    /* of its data: what takes inodes */
    double journal_bytes;            /* of the journal (WAL) that stands on disk */
    double journal_least_bytes;      /* that is kept whatever is written */
    double journal_held_bytes;       /* a holder (slot) keeps no more than this; infinite: all */
    double journal_segment_bytes;
    double archived, archive_failed; /* segments taken, attempts that failed */
    double archive_waits_s;          /* a finished segment was neither taken nor refused for so long; infinite:
                                        nothing is there to take it */
    const char *archive_command;     /* NULL: nothing is archived */
    double forced_at[2];             /* age of transaction ids, multixacts, at which a vacuum is forced */
    double pages, pages_per_s;       /* that it reads, and how fast it may */
};
void tw_standing_init(struct tw_standing *s); /* everything unknown */
/* What a running target tells at next to no cost, asked again and again over one session that stays open. */
struct tw_pulse {
    char stamp[65];         /* differs after settings took effect or it was started anew; "": not told */
    /* Since its counters began; NaN: not told, or not asked. */
    double requests, rollbacks, wal_bytes, temp_bytes, read_blocks;
    double connections;     /* now, without this session */
    int own_requests;       /* of requests, how many were this session's */
    int statements;         /* what the session has cost since it began */
    int64_t bytes;
    double seconds;
};
/* A program that this kind needs on this host: for doctor, and for errors that say how to get it. */
struct tw_service_program {
    const char *name;       /* "nginx" */
    const char *paths;      /* where it is looked for, colon-separated; a '*' matches versions */
    const char *package;    /* of Debian */
};
/* The newest that there is, or NULL. */
const char *tw_service_program_find(struct tw_arena *a, const struct tw_service_program *program);

/* A callback that may be NULL says so; then that part of the sequence is left out. */
struct tw_service_kind {
    const char *name, *summary;
    const char *driver;     /* of room load: "postgresql" "http" "redis" "tcp" */
    const char *protocol;   /* of its clients: see struct tw_client */
    const struct tw_service_program *programs; /* ends with a NULL name; the first is the service */
    bool holds_data;        /* data is cloned: its permission is asked for */
    bool superuser_entrance; /* has conninfo: our own sessions enter as superuser */

    /* -- where it is -- */
    /* Does this declaration say enough? Paths are absolute already. */
    int (*check_declaration)(const struct tw_target *t, struct tw_err *err);

    /* -- at the target -- */
    int (*snapshot)(struct tw_arena *a, const struct tw_target *t, struct tw_snapshot *ret,
                    struct tw_err *err);
    /* Is it as it was, and how busy? *session is made when NULL, kept by the caller, and gone (NULL) after a
     * failure. NULL: its files tell all that is told between two snapshots. */
    int (*pulse)(const struct tw_target *t, bool counters, void **session, struct tw_pulse *ret,
                 struct tw_err *err);
    void (*pulse_end)(void *session);
    /* Checks the settings of the request against what this very service says; completes values.
     * A mistake is -EINVAL; what is doubtful but valid becomes an issue. */
    int (*validate)(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                    struct tw_issues *issues, struct tw_err *err);
    /* Steps of the plan; needs_restart by the context of the settings. */
    int (*plan)(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                struct tw_plan *plan, struct tw_err *err);

    /* -- the seed: filled from the target, then settled in a sandbox -- */
    const char *(*seed_key)(struct tw_arena *a, const struct tw_snapshot *s);
    /* uid, gid: owner of the copies. Adds to differences what the seed is not. */
    int (*seed_fill)(struct tw_arena *a, const struct tw_target *t, const struct tw_snapshot *s,
                     const char *seed_root, unsigned uid, unsigned gid,
                     struct tw_issues *differences, struct tw_err *err);
    /* Configuration as it is at the target now, into a tree (seed or clone), made harmless; with
     * the files that the plan's own values name (plan may be NULL). */
    int (*refresh)(struct tw_arena *a, const struct tw_target *t, const struct tw_snapshot *s,
                   const struct tw_plan *plan, const char *root, unsigned uid, unsigned gid,
                   struct tw_issues *differences, struct tw_err *err);
    /* The seed serves (TW_START_SETTLE): makes our scratch role, drops what could act outside.
     * NULL: a seed needs no start. */
    int (*settle)(struct tw_arena *a, const struct tw_access *access,
                  struct tw_issues *differences, struct tw_err *err);
    /* How our own sessions reach a twin whose runtime directory stands at dir: conninfo without
     * a database. NULL: it is no PostgreSQL. */
    const char *(*conninfo)(struct tw_arena *a, const struct tw_snapshot *s, const char *dir);

    /* What a target at rest could not tell (databases, tables, statements), asked of its baseline
     * twin; nothing where it was running. NULL: nothing to ask. */
    int (*complete)(struct tw_arena *a, const struct tw_access *access, struct tw_snapshot *s,
                    struct tw_err *err);

    /* -- in a sandbox -- */
    /* Puts on the disk of a clone what a service has there that has run for days, so that load does not
     * meet the making of it; while it boots, in a thread, until stop. NULL: nothing. */
    int (*season)(const struct tw_snapshot *s, const char *root, const volatile bool *stop,
                  struct tw_err *err);
    int (*layout)(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_plan *plan,
                  const char *root, struct tw_layout *ret, struct tw_err *err);
    /* Writes what the mode needs (hba) below access->runtime and describes the process. */
    int (*launch)(struct tw_arena *a, const struct tw_access *access, enum tw_start_mode mode,
                  struct tw_launch *ret, struct tw_err *err);
    enum tw_ready (*ready)(const struct tw_access *access);
    /* Where a signal is not how it is done. NULL: launch.reload_signal, or not at all. */
    int (*reload)(struct tw_arena *a, const struct tw_access *access, struct tw_err *err);
    /* NULL: it says nothing of its bounds. */
    int (*limits)(struct tw_arena *a, const struct tw_access *access,
                  struct tw_service_limits *ret, struct tw_err *err);
    /* What sessions get for an answer and may do, over a session of ours. NULL: nothing is asked. */
    int (*answers)(struct tw_arena *a, struct tw_pg *pg, struct tw_answers *ret, struct tw_err *err);
    /* What may run out, as it stands now. probe: what a twin would only show later is provoked (a
     * segment of the journal is archived). NULL: it tells nothing. */
    int (*standing)(struct tw_arena *a, const struct tw_access *access, bool probe,
                    struct tw_standing *ret, struct tw_err *err);
    /* Requests that the service itself counted in this database since it began; sessions that have
     * ended are counted whole. Waits until deadline_ns for open ones to end. NULL: not counted. */
    int (*requests)(struct tw_arena *a, const struct tw_access *access, const char *database,
                    int64_t deadline_ns, int64_t *ret, struct tw_err *err);
    /* Applies one step of a plan to the files (the service is stopped or about to reload). */
    int (*apply)(struct tw_arena *a, const struct tw_access *access,
                 const struct tw_plan_step *step, struct tw_err *err);
    /* What a person types at the target to make one setting (value NULL: to take it away), and to have it
     * hold. NULL: as PostgreSQL, ALTER SYSTEM. */
    const char *(*tell_setting)(struct tw_arena *a, const struct tw_snapshot *s, const char *name,
                                const char *value);
    const char *(*tell_effect)(struct tw_arena *a, const struct tw_snapshot *s, bool restart);
    /* The log since offset log_from, and the state of files, made into findings: after a start
     * (started tells how it went) or after a reload. */
    void (*judge_start)(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                        const struct tw_plan *plan, bool started, int wait_status,
                        struct tw_issues *issues);
    void (*judge_reload)(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                         const struct tw_plan *plan, struct tw_issues *issues);
    /* Has it said, since log_from, all that it says of a reload? NULL, or false: its words are
     * waited for until its log has been quiet for a moment. */
    bool (*reload_ended)(const struct tw_access *access, size_t log_from);
    /* Found without starting: arithmetic against limits, silent dangers, overridden lines. */
    void (*judge_files)(struct tw_arena *a, const struct tw_access *access,
                        const struct tw_plan *plan, struct tw_issues *issues);
    /* What the log says since log_from that means something while it serves: dropped connections,
     * limits reached, disk full. What both arms say is not the change's. NULL: its log says nothing. */
    void (*judge_log)(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                      struct tw_issues *issues);
    /* What it holds now, for a comparison across a restart. NULL: it holds nothing. */
    int (*holdings)(struct tw_arena *a, const struct tw_access *access, struct tw_holdings *ret,
                    struct tw_err *err);
    /* How it spreads requests for what listens at this port: false where it does not. ret_today: over
     * how many servers; with access and n > 0 also the file at ret_path, ret_text with those servers
     * replaced by n at these ports, as its operator would write them. NULL: it balances nothing. */
    bool (*spread)(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_access *access,
                   int port, const int *ports, size_t n, int *ret_today, const char **ret_path,
                   const char **ret_text);
    /* Has a clone that is not started yet listen at another port, wherever its own words name it.
     * -ENODATA: they do not. NULL: there cannot be two of it in one network. */
    int (*move_port)(struct tw_arena *a, const struct tw_access *access, int from, int to,
                     struct tw_err *err);
    /* Certificates that the configuration below access->root names. NULL: none known. */
    void (*certificates)(struct tw_arena *a, const struct tw_access *access,
                         struct tw_certificates *ret);
};
/* The password that a role has in clones, whatever it has at the target: never one of production. */
const char *tw_service_clone_password(struct tw_arena *a, const struct tw_snapshot *s,
                                      const char *role);
/* For the calling thread: "this host" is where that process stands (0: here again), whose processes are the
 * host's own then. start: how its supervisor begins that process, where that is better known than what it
 * shows of itself (NULL); borrowed. */
struct tw_service_start {
    TW_ARRAY(const char *) argv, env;
    const char *cwd; /* NULL: "/" */
};
void tw_service_stand_at(int pid, const struct tw_service_start *start);

/* ---- ports ---- */

struct tw_service_port {
    int port;       /* TCP */
    const char *by; /* who has it on this host, "/usr/bin/x (process 7) at 127.0.0.1:80" */
};
struct tw_service_taken {
    TW_ARRAY(struct tw_service_port) list;
    bool home; /* a port of before is listened at here: the service seems to run on this host */
};
/* Ports listened at in the network namespace after and not in before, at addresses where somebody of this
 * host's own network listens already. Nothing where a namespace is -1. */
void tw_service_ports_taken(struct tw_arena *a, int before_netns, int after_netns,
                            struct tw_service_taken *ret);
extern const struct tw_service_kind *const tw_service_kinds[];
extern const size_t tw_service_kind_count;
/* Borrowed, or NULL; nearest (may be NULL) gets the nearest name. */
const struct tw_service_kind *tw_service_kind_find(const char *name, const char **nearest);
#endif
