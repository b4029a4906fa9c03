/* The nouns that travel between rooms, as plain structs with one JSON form.
 *
 * Units   named in the field; *_ns monotonic nanoseconds, *_wall_ns since 1970, *_s seconds
 * Shapes  TW_ARRAY(T): items points to count elements, in the noun's arena
 * Errors  tw_*_from_json: -EINVAL with the JSON Pointer, what was expected and the nearest key
 * Owns    every string and array of a noun lives in the arena it was made with; a struct that
 *         carries its own arena says "owned: tw_X_free"
 * Unknown is NaN, NULL or an absent key, never 0 */
#ifndef TW_SPEC_H
#define TW_SPEC_H

#include "tw/base.h"

#include <jansson.h>

#define TW_SCHEMA 1

/* ---- enums, each with a table of names: tw_<enum>_names[] ---- */

enum tw_tier { TW_TIER_DEV, TW_TIER_STAGING, TW_TIER_PRODUCTION, TW_TIER_COUNT };
enum tw_data_mode { TW_DATA_LIKENESS, TW_DATA_CLONE, TW_DATA_EMPTY, TW_DATA_COUNT };
enum tw_status {
    TW_CREATED,
    TW_QUEUED,
    TW_RUNNING,
    TW_SUCCESS,
    TW_FAILED,
    TW_CANCELLED,
    TW_STATUS_COUNT
};
enum tw_severity {
    TW_INFO,
    TW_LOW,
    TW_MEDIUM,
    TW_HIGH,
    TW_CRITICAL,
    TW_SEVERITY_COUNT
};
enum tw_verdict { TW_PROCEED, TW_REVIEW, TW_BLOCK, TW_VERDICT_COUNT };
enum tw_arm { TW_BASELINE, TW_CANDIDATE, TW_ARM_COUNT };
extern const char *const tw_tier_names[TW_TIER_COUNT];           /* dev staging production */
extern const char *const tw_data_mode_names[TW_DATA_COUNT];      /* likeness clone empty */
extern const char *const tw_status_names[TW_STATUS_COUNT];       /* created … cancelled */
extern const char *const tw_severity_names[TW_SEVERITY_COUNT];   /* info low … critical */
extern const char *const tw_verdict_names[TW_VERDICT_COUNT];     /* proceed review block */
extern const char *const tw_arm_names[TW_ARM_COUNT];             /* baseline candidate */

/* ---- numbers with their uncertainty ---- */

/* value in [low, high] with probability level; from n observations; NaN where unknown. */
struct tw_estimate {
    double value, low, high;
    double level; /* 0..1 */
    int64_t n;
    const char *method; /* static text: "pair median, confidence sequence" */
};
extern const struct tw_estimate tw_unknown; /* all NaN, n 0 */

/* ---- environment and target ---- */

struct tw_target {
    const char *environment, *name, *type; /* type: a row of service/list.h: "postgresql" */
    enum tw_tier tier;
    enum tw_data_mode data;
    const char *data_dir, *dsn, *file, *config, *project, *container; /* NULL: not given */
    int64_t memory_bytes; /* of the host the target runs on; 0: not known */
    double cpus;          /* of that host; 0: not known */
};
json_t *tw_target_to_json(const struct tw_target *t); /* new reference */
int tw_target_from_json(struct tw_arena *a, const json_t *json, struct tw_target *ret_target,
                        struct tw_err *err);

/* ---- clients: who connects, as seen or as given; each is tried against both arms ---- */

struct tw_client {
    const char *name;       /* for findings: "app@shop from 10.0.3.7"; NULL: made from the rest */
    const char *protocol;   /* "postgresql" "http" "redis" "tcp" "tls"; NULL: the service's own */
    const char *source;     /* address it comes from; NULL: one of the twin network */
    const char *address;    /* where it connects; NULL: where the service listens today */
    int port;               /* 0: the service's own */
    const char *user, *password, *database; /* password: of a clone, never of production */
    const char *sslmode;    /* "disable" … "verify-full"; for http: NULL or "require" is https */
    const char *tls_min, *tls_max, *ciphers, *server_name, *ca_file; /* NULL: its own defaults */
    const char *method, *path, *host;       /* http */
    int http_version;       /* 1 or 2; 0: 1 */
    int64_t header_bytes, body_bytes;       /* largest it sends beside the rest; 0: none */
    int64_t reply_header_bytes, reply_bytes; /* largest a stand-in behind the service answers it */
    TW_ARRAY(const char *) send; /* statements, commands or bytes, one after the other */
    const char *expect;     /* what the last answer has to contain; NULL: what the baseline says */
    const char *options;    /* startup options (postgresql); NULL */
    bool prepared;          /* it prepares its statements by name */
    double think_s;         /* pause between two sends; also how long it stays idle */
    int count;              /* as many of it at once; 0: 1 */
    const char *origin;     /* "given" "statistics" "log" "configuration": where it was learned */
};
json_t *tw_client_to_json(const struct tw_client *c); /* new reference */
void tw_client_from_json(struct tw_arena *a, const json_t *json, struct tw_client *ret);
/* "user=app dbname=shop sslmode=verify-full tls_max=1.2 source=10.0.3.7": keys as above, values
 * with blanks in single quotes, send= again for each. Errors as tw_request_from_json. */
int tw_client_from_text(struct tw_arena *a, const char *text, struct tw_client *ret,
                        struct tw_err *err);

/* ---- change request (docs/USER_GUIDE.md "Changes") ---- */

struct tw_setting_change {
    const char *name;
    const char *value;   /* as the user wrote it; NULL means RESET to the default */
    const char *pointer; /* JSON Pointer or "--set": where it came from, for errors */
};
struct tw_file_change {
    const char *path;    /* NULL: a fragment, appended as the last include */
    const char *content; /* whole text */
    const char *origin;  /* how the user named it: "new.conf", for findings */
    bool append;         /* append to the file at path instead of replacing it */
};
/* A deployment: what has to hold of a version, and whether it is taken back again. The version itself
 * stands in the settings: image, tag, command, entrypoint, user, cwd, env, env.NAME. */
struct tw_smoke_expectation {
    const char *of;      /* a row of tw_smoke_expectations: "status" "header" "contains" "json" … */
    const char *name;    /* of the header, JSON Pointer; NULL */
    const char *value;   /* json: as JSON; status: one or several, "200 204" */
};
struct tw_smoke {
    const char *name;    /* "GET /health" where none is given */
    const char *kind;    /* "http" "tcp" "sql" "command" */
    const char *what;    /* path, address, statement; NULL: argv */
    TW_ARRAY(const char *) argv;
    const char *on;      /* another service of its environment; NULL: the target */
    const char *method, *body, *send, *dsn;
    TW_ARRAY(struct tw_http_field {
        const char *name, *value;
    }) headers;
    int port;            /* 0: the one that the image tells */
    double within_s;     /* the answer has to be there by then */
    TW_ARRAY(struct tw_smoke_expectation) expect;
    const char *pointer; /* where it came from, for errors */
    const char *json;    /* as it was given */
};
struct tw_smokes {
    TW_ARRAY(struct tw_smoke) list;
};
struct tw_deployment_request {
    struct tw_smokes smoke;
    bool no_rollback;    /* it is not rolled back: the request says "rollback": false */
};
/* A list of checks, or {"smoke": [...]}; unknown keys and expectations are errors with their place. */
int tw_smokes_from_json(struct tw_arena *a, const json_t *json, const char *pointer,
                        struct tw_smokes *ret, struct tw_err *err);

/* What has to hold: "p99=50ms", "errors=0.1%". */
struct tw_objective {
    const char *metric;  /* "p50" "p95" "p99": seconds; "errors": share of the requests */
    double limit;
};
/* Of a change of type scaling, beside what stands in its settings. */
struct tw_scaling_request {
    TW_ARRAY(struct tw_objective) objectives;
    int measured_instances;  /* real instances to run at most; 0: 2 */
};
/* "p99=50ms" into an objective. -EINVAL with pointer. */
int tw_objective_parse(struct tw_arena *a, const char *text, const char *pointer,
                       struct tw_objective *ret, struct tw_err *err);
/* A scaling change as its settings say: each 0 or NaN where it stays as it is. */
struct tw_scaling {
    int instances;
    double cpus;             /* of one instance; NaN */
    int64_t memory_bytes;    /* of one instance */
    int pool;                /* connections that one instance opens to what is behind it */
    int measured_instances;
    TW_ARRAY(struct tw_objective) objectives;
};
/* ---- faults: something bad done on purpose to both arms alike while they are loaded ---- */

struct tw_fault {
    const char *kind;      /* "latency": a row of src/lab/fault/list.h */
    const char *strength;  /* as written, "20ms"; NULL: the kind's own */
    double begin_s;        /* after its schedule begins */
    double duration_s;     /* NaN: the kind's own */
    const char *on;        /* "in" "out": one direction of the link; NULL: both */
    int schedule;          /* those of one number run together, the numbers in turn; 0 first */
};
struct tw_faults {
    TW_ARRAY(struct tw_fault) list;
};
/* "latency=20ms@2s+3s/in,loss=1%@3s": KIND[=STRENGTH][@BEGIN][+DURATION][/ON], several joined by ','
 * run together. Whether there is such a kind and strength is checked by room fault. */
int tw_faults_from_text(struct tw_arena *a, const char *text, struct tw_faults *faults,
                        struct tw_err *err);
/* The next schedule of a list as it would be written; *at goes on behind it; NULL: no more. */
char *tw_faults_text(struct tw_arena *a, const struct tw_faults *faults, size_t *at);
/* "20ms" "3s" "1m" "2h" "30d" "1y", a number alone is seconds. */
int tw_parse_seconds(const char *text, double *ret_seconds, struct tw_err *err);

struct tw_request {
    const char *type, *target, *environment; /* environment NULL: find it */
    struct tw_scaling_request scaling;
    TW_ARRAY(struct tw_setting_change) settings;
    TW_ARRAY(struct tw_file_change) files;
    TW_ARRAY(const char *) sql;  /* statements, or whole scripts */
    const char *database;      /* of the SQL; NULL: the main one */
    TW_ARRAY(struct tw_client) clients; /* beside those that the snapshot tells */
    int connections;           /* peak of clients at once; 0: as the snapshot tells */
    double hours;              /* horizon */
    const char *scenario;      /* "diurnal" by default */
    const char *profile;       /* path of a CSV "hour,rate_per_s", or NULL */
    double rate_per_s;         /* peak of the scenario; NaN: from statistics or capacity */
    const char *risk_level;    /* low medium high critical, or NULL: by tier */
    const char *engine;        /* "map" (default) or "full" */
    uint64_t seed;             /* 0: drawn, and recorded */
    double budget_s;           /* measuring budget; NaN: by policy */
    TW_ARRAY(const char *) mixes; /* load: "select-only", "tpcb", path of a pgbench script; empty:
                                     the target's own mix */
    bool scan;                 /* security: what listens and who reaches it, too */
    struct tw_deployment_request deployment;
    bool refresh_data;         /* take a new seed whatever its age */
    bool keep;                 /* leave the twins standing */
    struct tw_faults faults;
    const char *metadata;      /* any JSON object as text, given back; NULL */
};
/* From the body of create/run (the change itself, or {"change_request": …}); unknown and duplicate
 * keys are errors. Defaults are filled in. */
int tw_request_from_json(struct tw_arena *a, const json_t *json, struct tw_request *ret_request,
                         struct tw_err *err);
json_t *tw_request_to_json(const struct tw_request *r);
void tw_request_init(struct tw_request *r); /* the defaults */
/* In one line what changes: "max_connections = 500, shared_buffers = 2GB, new.conf". */
char *tw_request_summary(struct tw_arena *a, const struct tw_request *r);

/* ---- a path between two services, as a network change wants it ---- */

/* What becomes of the route: no way at all ("network is unreachable" at once), a gateway that does not answer
 * ("no route to host" after seconds), answers that find no way back (nothing is ever heard). */
#define TW_ETHERNET_MTU 1500
enum tw_network_route { TW_ROUTE_KEPT, TW_ROUTE_NONE, TW_ROUTE_DEAD_GATEWAY, TW_ROUTE_ONE_WAY, TW_ROUTE_COUNT };
/* What becomes of names that the target looks up: no answer, an answer later by so much, another address. */
enum tw_network_names { TW_NAMES_KEPT, TW_NAMES_NONE, TW_NAMES_LATE, TW_NAMES_WRONG };

struct tw_network_request {
    const char *from, *to;  /* targets, or an address and port; from NULL: the target itself; to NULL: its
                               clients */
    double latency_s;       /* that each round trip gets longer by; 0 none, as all below */
    double jitter_s;        /* of a round trip, at most the latency */
    double loss;            /* share of packets, each way */
    double bandwidth_bps;   /* bits per second, each way */
    int mtu;
    double idle_timeout_s;  /* something on the path forgets connections at rest for so long */
    bool partition;         /* nothing passes */
    int mtu_blackhole;      /* longer packets vanish, and nobody is told; the ends know mtu, else 1500 */
    enum tw_network_route route;
    enum tw_network_names names;
    double names_late_s;
    const char *names_address;
};
/* One key of "change" into it. -EINVAL with the pointer: what the key wants, or the nearest one. */
int tw_network_request_take(struct tw_arena *a, const char *key, const char *value, const char *pointer,
                            struct tw_network_request *ret, struct tw_err *err);
/* Something of it is about a link: all but names. */
bool tw_network_request_is_linked(const struct tw_network_request *n);
/* All of it: at least one property, jitter within the latency. */
int tw_network_request_check(const struct tw_network_request *n, struct tw_err *err);
/* "20 ms longer round trips, 1 % of the packets lost". */
const char *tw_network_request_text(struct tw_arena *a, const struct tw_network_request *n);

/* ---- snapshot: what sync stored of a target ---- */

struct tw_setting {
    const char *name, *value; /* value as the service shows it, in unit; secrets redacted */
    const char *unit;         /* "8kB", "ms", NULL */
    const char *type;         /* bool integer real enum string */
    const char *context;      /* postmaster sighup superuser user internal backend */
    const char *source, *file;
    int line;                 /* 0: not from a file */
    const char *boot_value, *min, *max; /* NULL where there is none */
    const char *enum_values;  /* comma-separated, NULL for others */
    bool list;                /* GUC_LIST_INPUT: elements are split and quoted one by one */
    bool pending_restart;
};
struct tw_file {
    const char *path;         /* absolute, as the target names it */
    const char *text;         /* redacted */
    unsigned mode;
};
struct tw_hba_rule {
    int line;
    const char *file, *type, *databases, *users, *address, *method, *error; /* NULL: none */
};
struct tw_table {             /* one per user table, by size */
    const char *database, *schema, *name;
    int64_t bytes, index_bytes, rows;
    int64_t seq_scans, seq_rows, idx_scans, inserts, updates, hot_updates, deletes, dead_rows;
};
struct tw_statement {         /* one per row of pg_stat_statements, by total time */
    const char *database, *user, *text; /* normalised: no literals */
    int64_t query_id, calls;
    double total_ms, mean_ms, rows_per_call, blocks_per_call;
};
struct tw_endpoint {          /* where a service is reached */
    const char *protocol;     /* "postgresql" "http" "https" "redis" "tcp" */
    const char *address;      /* "0.0.0.0", "::", "127.0.0.1", "/run/x.sock" */
    int port;                 /* 0: a socket */
    const char *name;         /* server_name, frontend, database; NULL */
};
/* Of every interface: "0.0.0.0", "::", "*" or none said. */
bool tw_endpoint_is_any(const char *address);
struct tw_neighbour {         /* what it calls itself: an upstream, a server, a database */
    const char *protocol, *name, *address; /* address: a name or a number as configured */
    int port;
    const char *resolved;     /* addresses at the time of the snapshot, comma-separated; NULL: none */
    bool reachable;           /* it took a connection then */
};
struct tw_sample_request {    /* one kind of request as its log or statistics tell */
    const char *method, *path, *host; /* redis: method is the command */
    int status;               /* 0 unknown */
    int64_t count;
    double bytes, request_bytes, mean_s; /* NaN unknown */
    double upstream_s, upstream_bytes;   /* of what it calls; NaN */
};
struct tw_certificate {
    const char *path, *key_path;  /* absolute, at the target; key NULL: none named */
    const char *used_by;          /* "ssl_cert_file", "server shop:443" */
    const char *subject, *issuer, *names; /* names: comma-separated */
    int64_t not_before_wall_ns, not_after_wall_ns; /* 0 unknown */
    int bits;                     /* 0 unknown */
    const char *key_type;         /* "RSA" "EC" "ED25519" */
    const char *problem;          /* NULL: none */
};
struct tw_role {                  /* of the service: who may log in */
    const char *name;
    bool login, superuser;
    int connection_limit;         /* -1: none */
    int connections_used;         /* at the time of the snapshot; -1 unknown */
    int64_t valid_until_wall_ns;  /* 0: for ever */
};
/* A counter with an end: sequence, transaction ids, inodes, file descriptors. */
struct tw_counter {
    const char *kind;             /* "sequence" "xid" "mxid" "inodes" "disk" "files" "log" … */
    const char *name;             /* which one: "public.orders_id_seq", "/var/lib/postgresql" */
    double used, limit;           /* in units of its kind; NaN unknown */
    double per_s;                 /* growth seen at the target; NaN unknown */
    double per_request;           /* growth for each request; NaN unknown */
    const char *cycles;           /* what happens at the end, when not a failure; NULL */
    const char *source;           /* where it was read */
};
/* A container as the Engine describes it; texts redacted, NULL where there is none. */
struct tw_named {
    const char *name, *value;
};
struct tw_mount {
    const char *type, *name, *source, *destination; /* "volume" "bind" "tmpfs" */
    bool writable;
};
struct tw_attachment {
    const char *network, *address;
    TW_ARRAY(const char *) aliases;
};
struct tw_container {
    const char *name, *service;   /* service: of its Compose project; NULL */
    /* -- how it is defined -- */
    const char *image, *image_id, *digest; /* digest: of a registry; NULL: it never was in one */
    const char *command, *user, *cwd, *restart, *stop_signal, *health_check, *network_mode;
    double stop_grace_s;          /* NaN: the Engine's ten seconds */
    double cpus;                  /* NaN: no limit */
    int64_t memory_bytes, pids;   /* 0: no limit */
    int64_t shm_bytes;
    bool read_only;
    TW_ARRAY(struct tw_named) environment, labels;
    TW_ARRAY(struct tw_mount) mounts;
    TW_ARRAY(struct tw_attachment) networks;
    TW_ARRAY(const char *) ports; /* "80/tcp", "0.0.0.0:8080->80/tcp" */
    TW_ARRAY(const char *) not_cloned; /* what a clone is never given: "is privileged" */
    /* -- how it is now -- */
    const char *id, *status, *health, *started_at;
    int restarts, exit_status;    /* -1 unknown */
    bool oom_killed;
    double cpu_s, throttled_s, memory_used_bytes, processes; /* since it started; NaN unknown */
    double received_bytes, sent_bytes, read_bytes, written_bytes;
};
struct tw_snapshot {
    char sha256[65];          /* of the canonical JSON without taken_at */
    int64_t taken_wall_ns;
    const char *target, *environment, *type;
    const char *version;      /* "15.18 (Debian 15.18-0+deb12u1)" */
    int version_num;          /* 150018; 0 unknown */
    const char *how;          /* "stopped", "running", "crashed": how it was found */
    const char *system_identifier;
    int64_t catalog_version;
    const char *data_dir;     /* absolute, at the target */
    const char *config_file, *hba_file, *ident_file;
    int64_t data_bytes;       /* of the data directory, tablespaces and pg_wal */
    unsigned owner_uid, owner_gid;
    const char *owner_name;
    int64_t memory_bytes;     /* of the target's host or its cgroup limit; 0 unknown */
    double cpus;
    int port;
    const char *socket_dir;   /* NULL: none */
    TW_ARRAY(struct tw_setting) settings;
    TW_ARRAY(struct tw_file) files;
    TW_ARRAY(struct tw_hba_rule) hba;
    TW_ARRAY(const char *) extensions; /* "pg_stat_statements 1.10" */
    TW_ARRAY(const char *) databases;
    TW_ARRAY(const char *) tablespaces; /* absolute locations */
    TW_ARRAY(struct tw_table) tables;
    TW_ARRAY(struct tw_statement) statements;
    double rate_per_s;        /* transactions per second since the statistics were reset; NaN */
    double commit_share;      /* commits / (commits + rollbacks); NaN */
    int connections_used;     /* at the time of the snapshot; -1 unknown */
    double max_slot_lag_bytes; /* WAL kept by slots; NaN unknown, 0 none */
    int peak_connections;     /* most clients at once that were seen; -1 unknown */
    int64_t nofile;           /* limit of open files of its process; 0 unknown */
    double stop_timeout_s;    /* its supervisor kills it after that; NaN unknown */
    int stop_signal;          /* that its supervisor sends; 0: the kind's own */
    const char *unit, *program; /* systemd unit; path of the program; NULL unknown */
    TW_ARRAY(struct tw_endpoint) endpoints;
    TW_ARRAY(struct tw_neighbour) neighbours;
    TW_ARRAY(struct tw_sample_request) requests; /* by count */
    TW_ARRAY(struct tw_client) clients;
    TW_ARRAY(struct tw_certificate) certificates;
    TW_ARRAY(struct tw_role) roles;
    TW_ARRAY(struct tw_counter) counters;
    TW_ARRAY(struct tw_container) containers; /* of a service its replicas */
    TW_ARRAY(const char *) trees; /* files and directories beside the configuration that belong to it */
    struct {                  /* what the sync did to production */
        int statements;
        int64_t bytes;
        double seconds;
    } cost;
};
void tw_snapshot_init(struct tw_snapshot *s); /* everything unknown */
json_t *tw_snapshot_to_json(const struct tw_snapshot *s);
/* What was written by it, read again; what is missing is unknown. */
void tw_snapshot_from_json(struct tw_arena *a, const json_t *json, struct tw_snapshot *ret);
/* Borrowed, or NULL. */
const struct tw_setting *tw_snapshot_setting(const struct tw_snapshot *s, const char *name);

/* ---- issues: findings with evidence ---- */

struct tw_issue {
    enum tw_severity severity;
    const char *code;      /* "start.failed", "plan.flip": a row of docs/FINDINGS.md */
    const char *title;     /* one sentence */
    const char *evidence;  /* the service's own words, a measurement, a computation */
    const char *remedy;    /* what to do */
    const char *reproduce; /* command that shows it again; NULL */
    /* What the finding means for the decision, whatever its severity. */
    enum tw_verdict at_least; /* TW_PROCEED: says nothing; TW_BLOCK: forces a block */
    double probability;    /* that it is true: 1 for a service's own refusal */
};
struct tw_issues {
    TW_ARRAY(struct tw_issue) list;
};
/* Appends; all texts are copied into the arena. */
struct tw_issue *tw_issue_add(struct tw_arena *a, struct tw_issues *issues,
                              enum tw_severity severity, enum tw_verdict at_least,
                              const char *code, const char *title, const char *evidence,
                              const char *remedy);

/* ---- plan ---- */

enum tw_step_kind {
    TW_STEP_SETTING,  /* name, value (NULL: RESET): the service's own way of setting it */
    TW_STEP_FILE,     /* path, value = content: replaces */
    TW_STEP_APPEND,   /* path, value = content: appends */
    TW_STEP_FRAGMENT, /* value = content: the last include of the main configuration */
    TW_STEP_SQL,      /* value = statement */
    TW_STEP_RULE,     /* name = action, value = its keys as JSON: one change of a rule set */
    TW_STEP_VERSION,  /* name = "image" "command" "env.NAME" …, value (NULL: taken away): of a container */
    TW_STEP_SMOKE,    /* value = a check of it, as JSON */
    TW_STEP_PATH,     /* name = key, value: a property of a path; made in the network, not at the service */
    TW_STEP_KIND_COUNT
};
extern const char *const tw_step_kind_names[TW_STEP_KIND_COUNT];
struct tw_plan_step {
    enum tw_step_kind kind;
    const char *name, *path, *value, *origin; /* NULL where the kind has none */
};
struct tw_plan {
    char sha256[65]; /* of the canonical JSON: what an approval binds */
    const char *type, *target, *environment;
    TW_ARRAY(struct tw_plan_step) steps;
    const char *database;      /* in which steps of SQL run; NULL: the main one */
    bool needs_restart;        /* by the context of the settings */
    int64_t twin_memory_bytes; /* limit of one twin; 0: none can be set */
    double twin_cpus;
    double hours;
    const char *scenario, *profile, *engine;
    double rate_per_s;         /* NaN: from statistics or capacity */
    uint64_t seed;
    double budget_s;           /* what measuring aims at … */
    double most_s;             /* … and how long it may go on while the answer is not certain */
    int min_pairs;             /* slot pairs at least: 10 */
    int64_t min_requests;      /* per arm at least: 5,000 */
    TW_ARRAY(const char *) mixes;
    TW_ARRAY(struct tw_client) clients; /* given by the request */
    int connections;           /* of the load at most; 0: as the snapshot tells */
    const char *risk_level;
    struct tw_faults faults;   /* of the request, then of the policy */
    bool scan;                 /* of a security change: what listens and who reaches it */
    bool rollback;             /* of a deployment: taken back again, and what it left behind read */
    struct tw_scaling scaling; /* of a scaling change */
};
json_t *tw_plan_to_json(const struct tw_plan *p);

/* ---- series: what was measured, slot by slot ---- */

/* Log-linear histogram of latencies, 3 significant digits: see tw/num.h. */
struct tw_hist;

/* One slot: one arm under one load for one short time. NaN where not measured. */
struct tw_slot {
    enum tw_arm arm;
    int pair;               /* both slots of a pair carry the same number; -1: none (probe) */
    double level;           /* share of the smaller capacity offered, 0..1; NaN closed loop */
    int clients;            /* connections used */
    int64_t start_ns, length_ns;
    double offered_per_s;   /* NaN closed loop */
    int64_t sent, done, errors, late; /* late: not answered when the slot ended */
    double p50_s, p95_s, p99_s, mean_s, max_s; /* of the latency from the intended start */
    double lag99_s;         /* dispatch lag of the generator */
    double generator_cpu_s; /* CPU of the generator, this slot */
    double cpu_s;           /* CPU of the twin's cgroup, this slot */
    double throttled_s;
    double starved_s;       /* something of the twin could run and nothing of it did, for others had its
                             * cores; NaN: this host does not tell */
    double wal_bytes, read_bytes, write_bytes, temp_bytes; /* this slot */
    double memory_bytes, anon_bytes; /* at its end */
    double foreign_cpu_s;   /* busy time of the twin's cores that was not the twin's */
    uint64_t seed;
    struct tw_hist *latency; /* owned by the trial */
    const int64_t *starts_ns; /* intended starts relative to start_ns, ascending; NULL: not kept */
    size_t start_count;
    bool dropped;           /* its pair was gated out */
    const char *why_dropped;
};

/* ---- model: what calib learned of one arm ---- */

#define TW_MODEL_LEVELS 8
#define TW_MODEL_SAMPLES 4096
struct tw_model {
    int level_count;                       /* (set) all by calib */
    double rate_per_s[TW_MODEL_LEVELS];    /* offered at each level, ascending */
    double demand_s[TW_MODEL_LEVELS];      /* CPU seconds per request at each level: s(lambda) */
    double q_measured[TW_MODEL_LEVELS][3]; /* p50 p95 p99 in seconds at each level, isotonic */
    double residual[TW_MODEL_LEVELS][3];   /* log(measured/simulated) at each level */
    double capacity_per_s;                 /* mu: saturated throughput */
    double capacity_low, capacity_high;    /* 90 % */
    int servers;                           /* cores the twin may use */
    int pool;                              /* connections: tokens of the processor sharing queue */
    bool processor_sharing;                /* PS, else FCFS, whichever fitted */
    double delay_s;                        /* D: offset outside the CPU (flush, network) */
    double stall;                          /* >= 1: time lost off-CPU at saturation */
    double timeout_s;                      /* NaN: none */
    int sample_count;                      /* S: service requirement / mean, ascending */
    float sample[TW_MODEL_SAMPLES];
    double wal_per_request_bytes;          /* w0, without full-page images; NaN */
    double wal_pages;                      /* P: pages of the updated set; NaN */
    double wal_touches_per_request;        /* of those pages, each first touch an image; NaN */
    double memory_base_bytes, memory_per_connection_bytes; /* NaN unknown */
    double temp_bytes_per_request;         /* NaN */
    double read_bytes_per_request, write_bytes_per_request;
    double drift;                          /* sd of log p50 between the halves of the run */
    int64_t requests;                      /* it was learned from */
};

/* ---- forecast: the horizon as simulated for one arm ---- */

struct tw_bin {             /* one time bin of the horizon */
    double from_h, hours;
    double rate_per_s;      /* offered */
    double utilisation;     /* 0.. ; over 1 is overload */
    double p50_s, p95_s, p99_s; /* NaN: not predictable here (why in forecast.notes) */
    double throughput_per_s, errors_per_s, cpu_cores, wal_bytes_per_s, memory_bytes,
        connections, backlog;
};
struct tw_forecast {
    TW_ARRAY(struct tw_bin) bins;
    double requests;            /* simulated or represented */
    int64_t histogram_count;    /* requests that the histogram of the day adds up to */
    struct tw_estimate p50_s, p95_s, p99_s, throughput_per_s, cpu_cores, wal_bytes, memory_bytes,
        connections, errors;    /* over the whole horizon */
    double engine_seconds;      /* CPU time that the engine needed */
    double acceleration;        /* horizon / engine_seconds */
    const char *engine;         /* "map" or "full" */
    TW_ARRAY(const char *) notes;
};

/* ---- schema change: each statement as it ran on a clone under load ---- */

struct tw_ddl_lock {
    const char *relation;       /* "public.orders" */
    const char *mode;           /* "ACCESS EXCLUSIVE" */
    double waited_s;            /* until it was granted */
    double held_s;              /* from then to the end of its transaction */
};
struct tw_ddl_beside {          /* the statement beside a transaction that stays open */
    const char *transaction;    /* "has read", "has written" */
    const char *relation;       /* which table */
    double waited_s;            /* until it got through, or was given up */
    bool got_through;
    const char *gave_up;        /* in whose words; NULL */
    int queued;                 /* sessions of the load behind it, at most at once */
    double longest_wait_s;      /* of one of them; NaN none */
};
struct tw_ddl {
    const char *text;
    int line;                   /* of the script */
    const char *relation, *mode; /* its lock that stands in most people's way; NULL: none */
    const char *blocks;         /* "reads and writes" "writes" … "nothing" of that table */
    double waited_s, held_s;    /* of that lock */
    double seconds;             /* of the statement */
    int queued;                 /* sessions of the load behind it, at most at once */
    double longest_wait_s;      /* of one of them; NaN none */
    const char *queued_text;    /* the statement that waited longest; NULL */
    double p95_before_ms, p95_during_ms; /* of the load; NaN unknown */
    double blocked_per_s;       /* requests of the target that the lock stops; NaN unknown */
    double blocked_requests;    /* (computed) while it waits and holds */
    double rewritten_bytes;     /* of files replaced */
    double built_bytes;         /* of files new */
    double wal_bytes, temp_bytes; /* without what the load writes beside it; NaN unknown */
    double rows;                /* touched; NaN: not told */
    const char *error;          /* the server's words; NULL */
    TW_ARRAY(struct tw_ddl_lock) locks; /* of tables of the user, strongest first */
    TW_ARRAY(struct tw_ddl_beside) beside;
};
struct tw_ddl_safer {           /* another way to the same end, run on a clone of its own */
    int of;                     /* index of the statement */
    const char *what, *note;    /* in a sentence; note NULL */
    double stopped_s, stopped_before_s; /* longest time that the load's tables are shut, this way and as given */
    TW_ARRAY(struct tw_ddl) steps;
};
struct tw_schema {
    const char *database;
    double rate_per_s;          /* of the load beside the statements */
    double target_rate_per_s;   /* what blocked_per_s is taken from; NaN unknown */
    bool rate_assumed;          /* nobody said it: that of the load beside */
    TW_ARRAY(struct tw_ddl) statements;
    TW_ARRAY(struct tw_ddl_safer) safer;
    TW_ARRAY(const char *) unanalysed; /* columns that lost their statistics */
    TW_ARRAY(const char *) unused;  /* new indexes that no statement of the load uses */
    TW_ARRAY(const char *) used;    /* those that one does */
    TW_ARRAY(const char *) invalid; /* indexes left behind broken */
};

/* ---- scaling: what a size carries ---- */

/* Where a request spends what it needs: the instances, what they share. */
struct tw_scale_station {
    const char *name;           /* "web", "postgresql-primary", "lb" */
    bool replicated;            /* one for each instance; else shared by all */
    struct tw_estimate demand_s; /* CPU seconds of a request here */
    double demand_full_s;       /* the same where this is the limit: measured; NaN: it was not */
    double cores;               /* that it has (one instance of it); NaN: not known */
    double capacity_per_s;      /* it alone, one instance; NaN */
};
struct tw_scale_point {
    int instances;
    struct tw_estimate capacity_per_s;
    const char *limit;          /* the station that is the limit */
    double utilisation;         /* of the limit, at the peak of the load */
    double p50_s, p95_s, p99_s; /* at that peak; NaN: not known there */
    double holds_per_s;         /* largest load at which the objective holds; NaN: none given */
    bool holds;                 /* at the peak of the load */
    bool measured;              /* it really ran */
};
/* What gives out next when the load or the number of instances grows. */
struct tw_scale_next {
    const char *what;           /* "connections of postgresql-primary" */
    double at_instances;        /* NaN: not a matter of instances */
    double at_per_s;            /* NaN: not a matter of load */
    const char *evidence;
};
struct tw_scale {
    int instances[TW_ARM_COUNT];      /* before and after; 0: this is no scaling change */
    int measured[TW_ARM_COUNT];       /* instances that really ran */
    double cpus[TW_ARM_COUNT];        /* of one instance; NaN: not limited */
    int64_t memory_bytes[TW_ARM_COUNT];
    const char *balancer;             /* the target in front of them; NULL: none */
    double peak_per_s;                /* of the load that is judged */
    int clients;                      /* of a closed loop for each instance: what capacities are for */
    double contention;                /* what a second instance costs each: 0: nothing */
    bool modelled[TW_ARM_COUNT];      /* bigger than what this host could run */
    int smallest;                     /* instances that hold the objective; 0: none does */
    const char *smallest_why;
    double breaks_at_per_s, breaks_at_hours; /* the objective, with the change; NaN */
    TW_ARRAY(struct tw_objective) objectives;
    TW_ARRAY(struct tw_scale_station) stations;
    TW_ARRAY(struct tw_scale_point) points;
    TW_ARRAY(struct tw_scale_next) next;
};

/* ---- deployment: the old and the new version of a container side by side ---- */

struct tw_endpoint_experience { /* what users of it notice; NaN unknown */
    const char *endpoint;       /* "GET /item" */
    int64_t requests;           /* to each version */
    double p50_before_ms, p50_after_ms, p95_before_ms, p95_after_ms;
    double apdex_before, apdex_after, over_before, over_after, failed_before, failed_after;
};
struct tw_smoke_outcome {
    const char *name, *kind;
    bool before, after;         /* passed */
    const char *words_before, *words_after; /* what was otherwise than expected; NULL */
    double before_s, after_s;
};
struct tw_answer_difference {
    const char *kind;           /* "field missing" "header" "status" … */
    const char *endpoint, *where, *before, *after; /* NULL: none */
    int64_t had_before, of_before, had_after, of_after;
};
struct tw_deployment {
    const char *image_before, *image_after;
    double start_before_s, start_after_s; /* until it answers; NaN: it did not */
    const char *stop_signal;
    double stop_before_s, stop_after_s; /* NaN: not by itself */
    int exit_before, exit_after;        /* status, 128 + signal; -1 unknown */
    double memory_before_bytes, memory_after_bytes;
    struct tw_estimate leak_before, leak_after; /* bytes for each request */
    double log_before_bytes, log_after_bytes;   /* for each request */
    int64_t requests;           /* whose answers were compared */
    double unseen_share;        /* an error of a larger share would have shown, with 95 % */
    double objective_ms;        /* of the Apdex: today's 95th percentile unless given */
    double over_before, over_after, broken_before, broken_after; /* shares: of requests, of sessions */
    int volatile_parts;         /* of the answers, taken off: they differ from old to old */
    TW_ARRAY(struct tw_endpoint_experience) endpoints;
    TW_ARRAY(struct tw_smoke_outcome) smoke;
    TW_ARRAY(struct tw_answer_difference) differences;
    const char *rollback;       /* "restored" "not restored" "not tried" */
    double rollback_s;          /* until the old version answered again */
};

/* ---- impact (docs/internals/trial.md "Impact") ---- */

struct tw_effect {              /* one metric before and after */
    const char *metric;         /* "p95_ms": a row of impact's table */
    const char *unit;           /* "ms", "per s", "bytes", "cores" */
    double before, after;
    struct tw_estimate ratio;   /* candidate / baseline; NaN unknown */
    bool higher_is_better;
    const char *verdict;        /* "better" "worse" "equivalent" "inconclusive" "at least N times" */
    double noise_floor;         /* |log ratio| that baseline against baseline shows; NaN */
    double tail_share;          /* milliseconds that nobody notices (the policy's for a tail), as a share of
                                   what was measured before; 0: none */
};
struct tw_failure {
    const char *kind;           /* "start", "oom", "disk_full", "overload", "connections", … */
    double at_hours, low, high; /* NaN: not a time (at start: 0) */
    double probability;         /* within the horizon */
    const char *evidence;
    double before;              /* probability without the change; 0: not foreseen then */
    bool from_finding;          /* a finding tells it, whose own verdict stands */
};
struct tw_risk_part {
    const char *name;
    double points;              /* 0..100 */
    const char *why;
};
struct tw_bottleneck {
    const char *resource;       /* "cpu" "wal_flush" "locks" "temp_files" "connections" "io" … */
    const char *statement;      /* normalised; NULL */
    double statement_share;     /* of total time, 0..1; NaN */
    const char *plan_node, *wait_event; /* NULL */
    double saturates_at_per_s;  /* NaN */
    double headroom;            /* saturates_at / peak rate; NaN */
    const char *next;           /* the resource after it; NULL */
    const char *evidence;
};
struct tw_cost {
    double before_per_day, after_per_day, benefit_per_day; /* NaN: no rates given */
    const char *currency, *basis;
};
struct tw_apply {
    const char *how;            /* "reload" "restart" "none" */
    double outage_s;            /* NaN unknown */
    int sessions_dropped;       /* -1 unknown */
    double cold_s;              /* time until level again after a restart; NaN */
    TW_ARRAY(const char *) commands, undo;
};
struct tw_statement_effect {    /* one statement of the mix, both arms */
    const char *text;
    double share;               /* of total time before */
    double before_ms, after_ms, rows;
    const char *plan_before, *plan_after; /* one line each: "Index Scan using …" */
    double cost_before, cost_after;
    bool plan_changed, plan_worse;
};
/* What a schedule of faults did to one arm. NaN: not measured. */
struct tw_fault_arm {
    double sent, answered, failed; /* requests from its begin until the last was answered or given up */
    double availability;        /* answered / sent */
    double p50_ms, p95_ms;      /* of the same */
    double before_p95_ms, after_p95_ms;
    double recovery_s;          /* after the last fault ended until it serves as before; infinite: it did not */
    double goodput;             /* answered per second afterwards / before */
    bool survived;
    const char *words;          /* what it said to requests that failed; NULL */
};
struct tw_fault_effect {
    const char *fault;          /* as it would be written: "latency=20ms+1s" */
    const char *how;            /* by what it was done: "held by twin through NFQUEUE"; NULL */
    const char *verdict;        /* "holds" "lost" "slower" "never held" "better" "not tried" */
    const char *why;            /* in a sentence */
    double seconds;             /* that the row took */
    struct tw_fault_arm arms[TW_ARM_COUNT];
};
struct tw_impact {
    double risk_score;          /* 0..100; < 50 proceed, 50..79 review, >= 80 block */
    const char *risk_level;     /* low medium high critical */
    TW_ARRAY(struct tw_risk_part) risk_parts;
    struct tw_issues issues;
    TW_ARRAY(struct tw_effect) performance, resources;
    double apdex_before, apdex_after, failed_before, failed_after; /* NaN unknown */
    TW_ARRAY(struct tw_failure) failures;
    struct tw_bottleneck bottleneck;
    struct tw_cost cost;
    double confidence;          /* 0..1 that the decision is right */
    bool calibrated;            /* from the coverage table */
    int64_t calibrated_n;
    const char *confidence_why;
    struct tw_apply apply;
    struct tw_forecast forecast[TW_ARM_COUNT];
    TW_ARRAY(struct tw_statement_effect) statements;
    TW_ARRAY(const char *) twin_differences;
    const char *safer;          /* a safer value that was tried; NULL */
    struct tw_schema schema;    /* statements 0: no SQL was run */
    struct tw_scale scale;      /* instances 0: no scaling change */
    struct tw_deployment deployment; /* image_after NULL: there was none */
    TW_ARRAY(struct tw_fault_effect) faults; /* the matrix change × fault, a row each */
};

/* ---- decision ---- */

struct tw_decision {
    enum tw_verdict verdict;
    TW_ARRAY(const char *) reasons;
    const char *policy;         /* name of the policy that decided */
};

/* ---- what was measured ---- */

struct tw_stage_time {
    const char *name;           /* "clone", "boot", "warm-up", … */
    double seconds;
};
struct tw_measured {
    int pairs, pairs_dropped;
    int64_t requests[TW_ARM_COUNT];     /* answered in slot pairs that were kept */
    int64_t answered[TW_ARM_COUNT];     /* warm-up, probes and dropped slots included */
    int64_t transactions[TW_ARM_COUNT]; /* as pg_stat_database of the clones counts them: about
                                           answered, where a request is one transaction */
    double seconds;                     /* measuring */
    double noise_floor;                 /* sd of log p50 ratio, baseline against baseline; NaN */
    const char *stopped_because;        /* "decided" "budget" "failed at start" … */
    double capacity_per_s[TW_ARM_COUNT];
    const char *mix;                    /* what was sent, and from what it was taken */
    double mix_coverage;                /* share of the source's total time reproduced; NaN */
    double generator_share;             /* CPU of the generator / length; NaN */
    const char *host;                   /* "2 cores, 23 GB, cgroup v1, kernel 6.18" */
    TW_ARRAY(struct tw_stage_time) stages;
};

/* ---- the simulation: one body, as create, run, GET, -o json and the store have it ---- */

struct tw_simulation {
    struct tw_arena *arena;     /* owned */
    char id[TW_ID_LEN + 1];
    enum tw_status status;
    const char *error;          /* one sentence, NULL while there is none */
    struct tw_err problem;      /* code 0: none */
    const char *approval_id;    /* that a review waits for; NULL: none */
    struct tw_target target;
    struct tw_request request;
    struct tw_snapshot snapshot;
    struct tw_plan plan;
    struct tw_impact impact;
    bool has_impact;
    struct tw_decision decision;
    struct tw_measured measured;
    TW_ARRAY(struct tw_slot) slots; /* raw series, kept beside */
    int64_t created_wall_ns, started_wall_ns, ended_wall_ns;
    double elapsed_s;
};
struct tw_simulation *tw_simulation_new(void); /* owned: tw_simulation_free */
void tw_simulation_free(struct tw_simulation *s);
TW_AUTO_DEFINE(tw_simulation)
/* The contract of docs/API_DOCUMENTATION.md: new reference. Raw series stay out of it. */
json_t *tw_simulation_to_json(const struct tw_simulation *s);
/* Its inverse, so that a stored body can be rendered again. owned: tw_simulation_free */
int tw_simulation_from_json(const char *json, struct tw_simulation **ret, struct tw_err *err);

/* ---- helpers for JSON forms ---- */

/* NaN and infinities become null. */
json_t *tw_json_real(double value);
size_t tw_utf8_sequence(const char *text); /* length of the UTF-8 sequence that begins here; 0: none does */
json_t *tw_json_text(const char *text); /* NULL becomes null; invalid UTF-8 is replaced */
json_t *tw_estimate_to_json(const struct tw_estimate *e);
/* pointer + "/" + key, escaped as RFC 6901 wants. */
char *tw_json_pointer(struct tw_arena *a, const char *pointer, const char *key);
/* Fails with the nearest known key when object has a key that is not among names. */
int tw_json_known_keys(const json_t *object, const char *pointer, const char *const *names,
                       size_t n, struct tw_err *err);
/* Parses strictly: duplicate keys, depth and size are errors with line and column. */
#define TW_JSON_MAX_BYTES ((size_t)8 << 20)
#define TW_JSON_MAX_DEPTH 64
int tw_json_parse(const char *text, size_t len, json_t **ret_json, struct tw_err *err);
/* As text, reals with 15 digits; flags are jansson's (JSON_COMPACT, JSON_INDENT …). owned: free() */
char *tw_json_dump(const json_t *json, size_t flags);
/* SHA-256 of the canonical form: compact, keys sorted. */
void tw_json_sha256(const json_t *json, char ret_hex[65]);

#endif
