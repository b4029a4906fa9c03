/* Shared by the stages of room run: one struct that every stage reads and fills. */
#ifndef RUN_INTERNAL_H
#define RUN_INTERNAL_H

#include "tw/calib.h"
#include "tw/change.h"
#include "tw/decide.h"
#include "tw/env.h"
#include "tw/impact.h"
#include "tw/inject.h"
#include "tw/load.h"
#include "tw/pool.h"
#include "tw/predict.h"
#include "tw/run.h"
#include "tw/sample.h"
#include "tw/schema.h"
#include "tw/store.h"
#include "tw/trial.h"
#include "tw/twin.h"

#include <pthread.h>

/* The twins of a run: the two arms that are loaded, and one that is judged on its own
 * files. */
enum run_role { RUN_BASELINE, RUN_CANDIDATE, RUN_JUDGE, RUN_ROLE_COUNT };
extern const char *const run_role_names[RUN_ROLE_COUNT];

/* In the twin network of each arm; a role's number is its network's. */
#define RUN_TWIN_ADDRESS   "10.213.0.2"
#define RUN_CLIENT_ADDRESS "10.213.0.10"
/* Why nothing is measured, where the judge found it. */
#define RUN_NO_RESTART "the service does not start again with the change"
#define RUN_CLIENT_PROGRAM "/tw/twin" /* this program, as the clients' sandbox sees it */

/* What a twin is made from. */
struct run_source {
    struct tw_target target;
    const struct tw_service_kind *kind;
    struct tw_snapshot *snapshot; /* borrowed */
    struct tw_seed *seed;         /* owned by whoever asked for it */
    unsigned uid, gid;
};
struct run_member {
    struct tw_clone *clone; /* owned */
    struct tw_twin *twin;   /* owned */
    struct tw_started started;
};

#define RUN_RESAMPLES 10
/* prediction.failure_detection_sensitivity: a failure is told from probability 1 - this
 * on. */
#define RUN_FAILURE_SENSITIVITY 0.7

/* What may run out of an arm, at one moment. */
struct run_standing {
    bool known;
    struct tw_standing of;
    double log_bytes;
    struct tw_certificates certificates;
};

struct tw_deployed;
/* What belongs to one variant: reset before the next. */
struct run_variant {
    struct tw_simulation *sim; /* borrowed */
    struct tw_issues issues;   /* of the sim's arena */
    struct tw_judged judged;
    bool judge_joined;
    struct tw_service_limits limits[TW_ARM_COUNT];
    struct tw_load_plans plans[TW_ARM_COUNT];
    double *tries[TW_ARM_COUNT]; /* seconds per item; NULL: not tried */
    bool plans_worse;            /* clearly: no load is needed to know */
    struct tw_answers answers[TW_ARM_COUNT];
    const char *entry_refused;   /* what the candidate says to the session that the load begins with */
    const char *plans_fail;      /* what the candidate says to a statement that has a plan today */
    TW_ARRAY(struct tw_statement_effect) statements;
    struct tw_schema schema; /* statements 0: no SQL was run */
    const char *safer;       /* the best form that was tried, in a sentence; NULL */
    bool schema_lasting;     /* it may have changed what writes cost */
    struct tw_load *load;
    struct tw_sandbox *client;
    struct tw_deployed *deployed; /* of a deployment; NULL: it is none */
    struct run_path *path;   /* of a change of the path (stage_network.c); NULL: it is none */
    struct rules *rules;     /* of a change of rules (run_rules.h); NULL: it is none */
    struct tw_scale scale_answer; /* instances 0: none */
    struct run_scale *scale; /* of a scaling change (run_scale.h); NULL: it is none */
    struct run_clients *clients; /* while they are tried; NULL: not */
    int clients_tried, clients_worked; /* how many, and how many of them are served today */
    /* Requests as the arms count them, now and the time before; -1 unknown. */
    int64_t counted[TW_ARM_COUNT], counted_before[TW_ARM_COUNT];
    bool cleared;
    bool without_disk; /* flushes waited for no disk in what was measured, in either arm */
    size_t log_from[TW_ARM_COUNT]; /* of the arms' logs, when the load began */
    struct tw_trial_result trial;
    bool measured;
    const char *not_measured; /* why, when it was not */
    struct tw_model model[TW_ARM_COUNT];
    struct tw_model *resampled[TW_ARM_COUNT];
    int resampled_count[TW_ARM_COUNT];
    bool has_model[TW_ARM_COUNT], has_forecast[TW_ARM_COUNT];
    double peak_per_s;
    bool peak_assumed;
    struct tw_profile profile;
    TW_ARRAY(struct tw_fault_effect) faults; /* the matrix */
    struct run_standing standing[TW_ARM_COUNT][2]; /* before and after the load */
    struct tw_failures failures[TW_ARM_COUNT];
};

/* A target that the main one calls, or that calls it: cloned beside it in each arm. */
#define RUN_PEERS 16
struct run_peer {
    struct run_source of;
    struct tw_snapshot snapshot;
    bool front; /* calls the main target, directly or by others */
    struct run_member arms[TW_ARM_COUNT];
    size_t log_from[TW_ARM_COUNT];
};
/* Stand-ins for those that are no targets: at addresses of this host, and elsewhere. */
struct run_standin {
    struct tw_sandbox *box; /* owned */
    int handle;
};

/* One arm's files being read into the page cache. */
struct run_warm {
    const char *path, *root;
    const struct tw_service_kind *kind;  /* borrowed, as the snapshot */
    const struct tw_snapshot *snapshot;
    bool read; /* it may be read whole */
    pthread_t thread;
    bool running;
    volatile bool stop, done;
    volatile int64_t bytes;
    bool cut_short; /* the load began before all of it was read */
};

/* Who clients are where the service of a container is root. */
#define RUN_NOBODY 65534

/* Twins that stand ready before there is a change (standby.c). */
struct tw_standby {
    struct tw_judge_begun judge;
    const struct tw_run_next *next;
    json_t *target, *snapshot;    /* owned: of which they are */
};

struct run {
    const struct tw_run_options *options;
    struct tw_simulation **sims; /* borrowed */
    size_t sim_count, current;
    struct tw_sources {
        TW_ARRAY(const char *) list;
    } sources; /* addresses that clients come from */
    char id[TW_ID_LEN + 1]; /* of the first: labels everything made */
    struct tw_arena *arena; /* of the first simulation: what the variants share */
    const char *state_dir;
    int64_t begun_ns;
    const char *stage;
    double stage_done; /* 0..1 of the whole, when it began */

    struct tw_target target;
    struct run_inside {           /* the target serves in a container: see inside.c */
        struct tw_target declared; /* as somebody declared it: what is told and kept */
        struct tw_env_way way;
        struct tw_sandbox_container container;
        const char *backend;      /* of the twins; NULL: the default */
        int netns, pidfd;         /* of the container; owned */
        struct tw_sandbox *asked; /* of its image, where its programs are asked; owned; NULL: none yet */
        const char *tmp;          /* on this host: where asked and whoever looks around there hand over files */
        bool is;
    } inside;
    const struct tw_service_kind *kind;
    struct tw_policy policy;
    struct tw_snapshot snapshot;
    struct tw_priv *priv; /* owned, and so are the next four */
    struct tw_pool *pool;
    struct tw_seed *seed;
    struct run_member members[RUN_ROLE_COUNT];
    unsigned uid, gid;            /* of the twins' processes */
    struct tw_issues differences; /* what the twins are not */
    struct tw_load_mix mix;
    bool has_mix;
    const char *pool_user; /* as whom the load enters a pooler; NULL: not needed */
    const char *no_mix;
    struct tw_env_list targets;
    struct run_peer peers[RUN_PEERS];
    size_t peer_count;
    struct run_standin standins[TW_ARM_COUNT][2];
    /* cpusets: while a twin boots, in its slots, of the generator; NULL: any */
    const char *all_cpus, *twin_cpus, *generator_cpus;
    double cpus;                            /* that a twin may use */
    TW_ARRAY(const char *) missing; /* what a sandbox could not be given here */
    int64_t memory_bytes;                   /* limit of one twin */

    const char *load_csv; /* recorded of the target; NULL: the scenario is another */

    struct run_variant v;

    struct run_warm warm[RUN_ROLE_COUNT]; /* baseline and candidate only */
    const struct tw_standby *standby; /* borrowed: its twins are this run's; NULL: it made its own */

    pthread_t judge_thread;
    bool judge_running;
    pthread_t clear_thread;
    bool clearing;
    bool flushes_free; /* flushes of the arms end at once */
    int measuring; /* the lock of this host's measuring; 0: not held */
    enum tw_disk disk; /* what a write of the pool is just now */
    struct tw_arena *judge_arena; /* owned: the thread's own */
    struct tw_err judge_err;
    int judge_result;
};

/* Stages: see the tables in run.c. -EINVAL and its kin in an input stage are bad input.
 */
int run_target(struct run *r, struct tw_err *err);
int run_snapshot(struct run *r, struct tw_err *err);
int run_plan(struct run *r, struct tw_err *err);
int run_recorded(struct run *r, struct tw_err *err); /* of a plan that wants it */
int run_check_profile(struct run *r, struct tw_err *err); /* before anything is cloned */
/* The target of a container: from here on its service is the target. */
int run_enter(struct run *r, struct tw_err *err);
void run_inside_done(struct run *r);
/* Where the target is: in the network of its container, else here. */
int run_at_target(struct run *r, int (*fn)(void *arg), void *arg, struct tw_err *err);
/* How a directory of ours is called there; ret_fd keeps it, owned (-1: nothing to keep). */
const char *run_path_at_target(struct run *r, const char *dir, int *ret_fd);
/* What a twin of the target is made of. */
void run_twin_made_of(const struct run *r, struct tw_twin_spec *spec);
struct run_source run_main_source(struct run *r);
void run_choose_uid(const struct run *r, struct run_source *of);
/* Finds the seed, or makes it. */
int run_take_seed(struct run *r, struct run_source *of, struct tw_err *err);
int run_pool(struct run *r, struct tw_err *err);
int run_seed(struct run *r, struct tw_err *err);
int run_clone(struct run *r, struct tw_err *err);
int run_sandbox(struct run *r, struct tw_err *err);
int run_start(struct run *r, struct tw_err *err);
/* The path that the target is part of: clones of its neighbours, stand-ins for the rest. */
int run_peers(struct run *r, struct tw_err *err);
/* Those in front of the target, once it serves. */
int run_fronts(struct run *r, struct tw_err *err);
/* Sandboxes of one arm beside the target's: they stand still when it does. */
#define RUN_BOXES (RUN_PEERS + 2 + 64)
size_t run_peer_boxes(const struct run *r, enum tw_arm arm, struct tw_sandbox **ret, size_t room);
void run_peers_pin(struct run *r, const char *cpus);
void run_peers_done(struct run *r);
/* What the neighbours logged since the load began, both arms compared. */
void run_peers_note(struct run *r);
void run_peers_judge(struct run *r);
/* Where the load enters: the main target, or the one in front of all others. */
struct run_entry {
    const struct tw_service_kind *kind;
    const struct tw_snapshot *snapshot;
};
struct run_entry run_entry(const struct run *r);
/* What answers SQL: the target itself, or what stands behind a pooler. twins NULL: nothing does. */
struct run_store {
    struct tw_twin *twins[TW_ARM_COUNT];
    const struct tw_snapshot *snapshot;
};
struct run_store run_store(const struct run *r);
bool run_is_pooled(const struct run *r); /* the load enters a pooler */
int run_pool_user(struct run *r, struct tw_pg *pg, struct tw_err *err);
const char *run_pool_conninfo(struct run *r, struct tw_arena *a, enum tw_arm arm, const char *address,
                              int port);
int run_mix(struct run *r, struct tw_err *err);
/* SQL of a change that is made while the service runs: on the candidate under load, beside open
 * transactions and in a safer form on a third twin. Nothing for other types. */
int run_schema(struct run *r, struct tw_err *err);
/* With the plans known: new indexes in use or not; and is there anything left that a trial would show?
 * If not, not_measured says why. */
void run_schema_plans(struct run *r);
bool run_is_live(const struct run *r); /* made while the service runs: nothing to reload or restart */
/* A fresh clone of the seed in place of this twin, started with our entrance. */
int run_renew(struct run *r, enum run_role role, struct tw_err *err);
const char *run_main_database(const struct run *r);
void run_told(struct run *r); /* how the change is made at the target, in its kind's own words */
const char *run_own_program(struct run *r);
/* A change of the path between services: shaped in the candidate's arm, its bounds looked for, taken away. */
bool run_is_path(const struct run *r);
bool run_is_path_to_clients(const struct run *r); /* the load has to come over the network */
bool run_is_path_computed(const struct run *r);   /* it concerns connections at rest alone: no load shows it */
bool run_is_names(const struct run *r);           /* names that the target looks up fare otherwise */
void run_names_begin(struct run *r, enum run_role role); /* from now on in that twin */
int run_network(struct run *r, struct tw_err *err);
void run_network_search(struct run *r); /* with the load still open */
void run_network_done(struct run *r);
bool run_needs(const struct run *r, enum run_role role); /* this change needs that twin */
/* Members of the path by number: 0 is the target, others its peers. -1: no such one. */
int run_member_find(const struct run *r, const char *name);
const struct tw_snapshot *run_member_snapshot(const struct run *r, size_t i);
const struct tw_target *run_member_target(const struct run *r, size_t i);
/* How caller names callee in its configuration; NULL: it does not call it. */
const struct tw_neighbour *run_member_calls(const struct run *r, size_t caller, size_t callee);
/* A change of sizes: limits of the arms' instances, further instances behind their balancer, what one
 * and few of them tell of many. All of them do nothing for other changes. */
bool run_is_scaling(const struct run *r);
void run_scale_begin(struct run *r);
int64_t run_scale_memory(const struct run *r, enum tw_arm arm, int64_t otherwise);
double run_scale_quota(const struct run *r, enum tw_arm arm, double otherwise);
double run_scale_cores(const struct run *r, enum tw_arm arm); /* that an instance runs with */
double run_scale_peer_quota(const struct run *r, const struct run_peer *p);
int run_scale_front(struct run *r, const struct run_peer *p, enum tw_arm arm, struct tw_err *err);
int run_ports(struct run *r, struct tw_err *err);
int run_scale_instances(struct run *r, struct tw_err *err); /* a stage */
int run_scale_answer(struct run *r, struct tw_err *err);    /* a stage */
bool run_scale_is_own(const struct run *r); /* measured by run_scale_trial, not in pairs */
int run_scale_trial(struct run *r, struct tw_err *err);
void run_scale_after(struct run *r);        /* demands and kills, while the arms still stand */
void run_scale_calibrate(struct run *r, enum tw_arm arm);
const struct tw_profile *run_scale_profile(struct run *r, struct tw_arena *a, enum tw_arm arm);
void run_scale_forecast(const struct run *r, enum tw_arm arm, struct tw_forecast *f);
double run_scale_effective(const struct run *r, enum tw_arm arm);
bool run_scale_is_wide(const struct run *r);
size_t run_scale_boxes(const struct run *r, enum tw_arm arm, struct tw_sandbox **ret, size_t room);
void run_scale_pin(struct run *r, const char *cpus);
void run_scale_judge(struct run *r);
void run_scale_facts(struct run *r, struct tw_impact_facts *f);
void run_scale_done(struct run *r);
/* A change of rules: both rule sets loaded; compared and judged; real packets sent at both. */
bool run_is_rules(const struct run *r);
int run_rules(struct run *r, struct tw_err *err);
int run_flows(struct run *r, struct tw_err *err);
int run_packets(struct run *r, struct tw_err *err);
void run_rules_facts(struct run *r, struct tw_impact_facts *f);
void run_rules_done(struct run *r);
/* A change of who comes in to a service, and of nothing else. */
bool run_is_access(const struct run *r);
int run_access(struct run *r, struct tw_err *err);
int run_scan(struct run *r, struct tw_err *err); /* security_scan of a service, on its clones */
/* A deployment: both versions side by side, and back. */
bool run_is_deployment(const struct run *r);
int run_deploy(struct run *r, struct tw_err *err);
void run_deploy_facts(struct run *r, struct tw_impact_facts *f);
void run_deploy_told(struct run *r);
bool run_deploy_serves(const struct run *r); /* it is one, and the new version answers */
int run_clients(struct run *r, struct tw_err *err);
/* What the change lets pile up (piles.c): a table that no vacuum comes to, WAL that nobody takes. */
void run_tell_piles(struct run *r);
bool run_pile_is_new(const struct tw_reclaimed *was, const struct tw_reclaimed *now);
/* Questions about sessions (answers.c). */
void run_answers_ask(struct run *r, enum tw_arm arm, struct tw_arena *a, struct tw_pg *pg);
bool run_answer_is_worse(const struct tw_answer *before, const struct tw_answer *after);
void run_answers_tell(struct run *r);
int run_plans(struct run *r, struct tw_err *err);
int run_judge(struct run *r, struct tw_err *err);
int run_trial(struct run *r, struct tw_err *err);
/* Faults on both arms alike, behind the trial; nothing without any. */
bool run_has_faults(const struct run *r);
int run_faults(struct run *r, struct tw_err *err);
int run_calibrate(struct run *r, struct tw_err *err);
int run_predict(struct run *r, struct tw_err *err);
/* What may run out, read of both arms before the load and (run_standing_after) behind it. */
int run_standing(struct run *r, struct tw_err *err);
void run_standing_after(struct run *r);
/* The laws: when does what run out, with what was measured or without. */
int run_laws(struct run *r, struct tw_err *err);
int run_impact(struct run *r, struct tw_err *err);
int run_decide(struct run *r, struct tw_err *err);

struct tw_twin *run_twin_of(const struct run *r, enum tw_arm arm);
/* The sandbox of the clients: a link into each arm's network ("eth0" baseline, "eth1" candidate) with
 * every source address of the known clients; once for a variant. Closed by run_clear_begin. */
int run_client_open(struct run *r, struct tw_err *err);
void run_client_source(struct run *r, const char *address);
/* How the generator reaches an arm from there. */
const char *run_conninfo(struct run *r, struct tw_arena *a, enum tw_arm arm);
/* Where clients reach the service today: the first endpoint that its protocol fits; NULL none. */
const struct tw_endpoint *run_endpoint(const struct run *r);
/* By what it is loaded: its kind's, or HTTP where any process is known to speak it. */
const char *run_driver(const struct run *r);
/* Connections of the load for each arm. */
int run_connections(const struct run *r);

/* fn for both arms at once, each with an arena of its own that the simulation takes over. */
typedef int run_arm_fn(struct run *r, enum tw_arm arm, struct tw_arena *a, struct tw_err *err);
int run_each_arm(struct run *r, run_arm_fn *fn, struct tw_err *err);

/* One arm counts its requests: into counted; what stood there becomes counted_before. */
int run_count(struct run *r, enum tw_arm arm, struct tw_arena *a, struct tw_err *err);

/* The judge's thread ended and its findings taken over; fine to call twice. */
int run_judge_join(struct run *r, struct tw_err *err);
/* Page cache of the arms, filled beside the boot; end(wait) gives it a little longer, then stops. */
void run_warm_begin(struct run *r);
void run_warm_end(struct run *r, bool wait);
void run_warm_finish(struct run *r, const struct tw_run_next *next); /* until next is in a hurry */
/* ---- standby.c: made before the change is known ---- */
struct tw_standby;
/* -EOPNOTSUPP: this target is made anew for each change. */
int run_standby_make(struct run *r, struct tw_standby *ret, struct tw_err *err);
/* Are they what this run would make for itself? The target, its snapshot and its plan are known. */
bool run_standby_fits(struct run *r, const struct tw_standby *s);
int run_standby_take(struct run *r, const struct tw_standby *s, struct tw_err *err);
void run_standby_done(struct tw_standby *s);
/* their parts */
int run_standby_start(struct run *r, struct tw_standby *ret, struct tw_err *err);
int run_standby_freeze(struct run *r, bool frozen, struct tw_err *err);
int run_clone_again(struct run *r, enum run_role role, struct tw_err *err);
bool run_seed_holds(struct run *r);
void run_variant_done(struct run *r);
/* One at a time measures: two at once would measure each other. Waits; -ECANCELED. */
int run_measuring_begin(struct run *r, struct tw_err *err);
/* What a write of a clone is from now on, until the measuring ends. */
bool run_measuring_disk(struct run *r, enum tw_disk disk);
/* What the arms have asked of a disk so far, in requests of about 8 kB; NaN: it is the disk's own. */
double run_measuring_writes(const struct run *r);
void run_measuring_end(struct run *r);
/* Who connects, tried by a thread of its own; end waits for it. Fine to end twice. */
int run_clients_begin(struct run *r, struct tw_err *err);
void run_clients_end(struct run *r);
/* Closes the load, counts what the arms counted, and takes away what no later stage needs, in a thread
 * of its own beside calibration and prediction; end waits for it. Fine to end twice. */
void run_clear_begin(struct run *r);
void run_clear_end(struct run *r);
/* The candidate serves and so there is something to measure. */
bool run_can_measure(const struct run *r);
void run_add_issues(struct run *r, const struct tw_issues *from);
void run_stage_time(struct run *r, const char *name, double seconds);
/* Normalised text of one statement of the mix, for reports. */
const char *run_statement_text(struct run *r, size_t item, size_t statement);
void run_tell(struct run *r, const struct tw_trial_progress *p);
/* Core seconds of this thread: what an engine cost. */
double run_thread_cpu_s(void);

/* ---- worker.c ---- */
bool run_write_line(json_t *json); /* taken */
/* The verb "follow": tells changes of targets until it is cancelled. */
json_t *run_follow(const struct tw_run_options *options, struct tw_simulation *sim);

#endif
