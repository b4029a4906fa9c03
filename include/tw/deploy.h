/* Two versions of a container side by side: started, asked the same, measured, stopped, taken back.
 * The old version runs twice, which is the noise that differences have to stand out of.
 *
 * Units   seconds, bytes
 * Shapes  sides as in tw/version.h; a fourth instance is the old version on what the new one left behind
 * Errors  what a version does is a result; an error is ours
 * Owns    instances own their sandboxes; texts live in the arena given
 * Steps   deploy.started, deploy.asked, deploy.stopped, deploy.back */
#ifndef TW_DEPLOY_H
#define TW_DEPLOY_H

#include "tw/sandbox.h"
#include "tw/smoke.h"

/* ---- one instance ---- */

struct tw_instance_spec {
    struct tw_sandbox_spec box;
    bool boot;                    /* a container's own entrypoint; else argv is started */
    TW_ARRAY(const char *) argv, env; /* env also of commands that are run beside it */
    const char *cwd;
    const char *address;          /* where it is asked, in its own network */
    int port;                     /* 0: none is known; then any that listens */
    TW_ARRAY(const char *) health; /* "CMD" words, "CMD-SHELL" text; empty: none */
    int stop_signal;
    TW_ARRAY(struct tw_http_field) hosts; /* who is beside it */
};
struct tw_instance;
int tw_instance_open(struct tw_priv *priv, const struct tw_instance_spec *spec,
                     struct tw_instance **ret, struct tw_err *err); /* owned: tw_instance_close */
void tw_instance_close(struct tw_instance *i); /* NULL is fine */
int tw_instance_start(struct tw_instance *i, struct tw_err *err);
/* Until it answers: an HTTP answer or, of another protocol, a listening port and a passing check. */
bool tw_instance_wait(struct tw_instance *i, int64_t deadline_ns);
bool tw_instance_running(struct tw_instance *i);
/* Its own check: 1 healthy, 0 not, -1 it has none. words: what it printed; may be NULL. */
int tw_instance_health(struct tw_instance *i, struct tw_arena *a, double within_s, const char **ret_words);
struct tw_stopped {
    double seconds;               /* NaN: not by itself within the patience, then killed */
    int exit_status;              /* 128 + signal; -1 unknown */
};
void tw_instance_stop(struct tw_instance *i, double patience_s, struct tw_stopped *ret);
double tw_instance_start_s(const struct tw_instance *i); /* NaN: it does not answer */
int tw_instance_exit(const struct tw_instance *i);       /* as in tw_stopped; -1: it runs */
double tw_instance_memory(struct tw_instance *i);        /* bytes of its own; NaN */
int64_t tw_instance_log_bytes(const struct tw_instance *i);
/* What it printed; of more than most bytes the begin and the end. */
const char *tw_instance_log_ends(struct tw_instance *i, struct tw_arena *a, size_t most);
const struct tw_site *tw_instance_site(const struct tw_instance *i);
struct tw_sandbox *tw_instance_box(struct tw_instance *i);

/* ---- side by side ---- */

struct tw_asks {
    TW_ARRAY(struct tw_ask) list;
};
/* What of this instance answers: paths given first, then what its pages link to and usual ones. */
void tw_deploy_endpoints(struct tw_arena *a, struct tw_instance *i, const struct tw_asks *given,
                         struct tw_asks *ret);

struct tw_deploy_spec {
    struct tw_priv *priv;
    struct tw_instance_spec sides[TW_SIDE_COUNT], back;
    const struct tw_smokes *smoke;
    struct tw_asks asks;          /* recorded ones and those of checks; the rest is found */
    const char *image_before, *image_after;
    const char *names_before[4], *names_after[4]; /* what the versions are called; NULL ends */
    bool rollback;
    double start_s, stop_s;       /* patience */
    double seconds_least, seconds_most; /* of asking */
    double memory_limit_bytes, rate_per_s; /* of the target; NaN unknown */
    double grace_s;               /* after which the target's own engine kills */
    uint64_t seed;
    /* Begins what is behind them, while they are made and before they start; NULL: nothing is. */
    int (*begin)(void *arg, struct tw_err *err);
    /* Takes the services behind them away, and gives them back; NULL: there are none. */
    void (*cut)(void *arg, bool away);
    void *arg;
    const volatile bool *cancel;
};
struct tw_deployed {
    struct tw_deployment of;
    TW_ARRAY(struct tw_effect) effects;
    bool old_started, new_started, decided;
    const char *no_start;         /* why the old one does not */
    TW_ARRAY(struct tw_stage_time) stages; /* where the time went */
    int rounds;
    int64_t requests;
    double seconds;
    double apdex[2], failed[2];   /* before and after */
    double noise;
};
/* issues: what was found, with what it means for the decision. */
int tw_deploy_try(struct tw_arena *a, const struct tw_deploy_spec *spec, struct tw_deployed *ret,
                  struct tw_issues *issues, struct tw_err *err);
#endif
