/* What the files of api share: a call on its way from the route table to its answer. */
#ifndef API_INTERNAL_H
#define API_INTERNAL_H

#include "tw/api.h"
#include "tw/decide.h"
#include "tw/env.h"

#include <pthread.h>

#define API_VERSION   "1.0.0"
#define API_MAX_LIMIT 200

struct api_call;
enum api_flags {
    API_BODY = 1,      /* takes a JSON body */
    API_OPTIONAL = 2,  /* which may be missing */
    API_KEY = 4,       /* takes an Idempotency-Key */
    API_SOCKET = 8,    /* a WebSocket */
    API_OPEN = 16,     /* for everybody, whatever the permission says */
};
struct api_param {
    const char *name, *in, *type, *text; /* in: "query" or "header" */
};
struct api_route {
    const char *method, *path, *name, *summary; /* name: operationId, and the action of audit entries */
    enum tw_permission permission;
    unsigned flags;
    /* Answers (now or later) and returns 0, or gives a negative errno with err filled. */
    int (*handle)(struct api_call *c, struct tw_err *err);
    const char *takes, *gives; /* schemas; NULL: none */
    int status;                /* of success */
    const char *params;        /* names of the rows of api_params[], between blanks */
    const char *more;          /* a sentence more for the documents; NULL */
};
extern const struct api_route api_routes[];
extern const size_t api_route_count;
extern const struct api_param api_params[];
extern const size_t api_param_count;

/* One property of a schema, for /openapi.json. */
struct api_property {
    const char *schema, *name, *type, *text; /* type: "string", "number", "Simulation", "[string]", "text?" */
};
extern const struct api_property api_properties[];
extern const size_t api_property_count;

/* A client that waits for the end of a simulation. */
struct waiter {
    struct waiter *next;
    char id[TW_ID_LEN + 1];
    struct api_call *call;
    int64_t deadline_ns; /* 0: none */
};

#define STREAM_RING 2048
struct stream_item {
    int64_t seq;
    char id[TW_ID_LEN + 1];
    const char *environment; /* interned in the ring's own copy: owned */
    struct tw_ws_message *message;
    bool last;               /* of its simulation */
};

struct tw_api {
    const struct tw_api_options *o;
    struct tw_arena *arena;
    struct tw_http_server *http;
    struct tw_ws_hub *hub;
    struct tw_store_pool *pool;
    struct tw_audit *audit;
    struct tw_lockout *lockout;
    struct tw_queue *queue;
    struct tw_policy policy;
    unsigned anonymous_roles;
    char *cert, *key;
    int64_t begun_ns;
    bool closing, ready, stopping; /* atomic, atomic, under lock */
    int inflight;                  /* atomic */
    uint64_t answers[6];           /* atomic: by hundreds of the status */

    pthread_mutex_t lock; /* of waiters, stopping */
    pthread_cond_t tick;
    struct waiter *waiters;
    pthread_t ticker, sender;
    bool ticking, sending;

    pthread_mutex_t env_lock; /* of the declarations as last read */
    struct tw_arena *env_arena;
    struct tw_env_list env;
    int64_t env_stamp[6];

    pthread_mutex_t follow_lock; /* of what follow.c keeps */
    struct api_followed *followed;
    int64_t follow_next_ns; /* when it is started (again); 0: it runs */

    pthread_mutex_t stream_lock;
    int64_t seq;
    struct stream_item ring[STREAM_RING];
    size_t ring_at;
};

struct api_call {
    struct tw_api *api;
    struct tw_http_request *http;
    struct tw_arena *arena; /* the request's */
    const struct api_route *route;
    const char *id;         /* what stands for {id} in the path */
    struct tw_actor actor;
    json_t *body;           /* owned */
    bool asynchronous;      /* Prefer: respond-async */
    double wait_s;          /* Prefer: wait; NAN: as long as it takes */
    const char *key, *key_sha256;
    /* What the writer does and what follows: see api_write(). */
    int (*work)(struct api_call *c, struct tw_store *s, struct tw_err *err);
    void (*done)(struct api_call *c);
    void *data;
    struct tw_store_key repeat; /* found: the answer was given before */
    bool repeated;
    const char *answer;     /* text of a body, for done() */
    int answer_status;
    const char *about;      /* environment, for the log */
};

/* ---- call.c ---- */
void api_handle(void *arg, struct tw_http_request *r);
char *api_server_problem(void *arg, int status, const char *code, const char *text,
                         const char **ret_media_type);
/* Each answers and ends the call: c is gone afterwards. json is taken, text copied. */
void api_answer_json(struct api_call *c, int status, json_t *json);
void api_answer_text(struct api_call *c, int status, const char *media_type, const char *text);
void api_answer_problem(struct api_call *c, int code, const struct tw_err *err);
/* For answers whose status no errno stands for. */
void api_answer_status(struct api_call *c, int status, const char *code, const struct tw_err *err,
                       json_t *more);
/* Hands c->work to the writer; after the commit c->done answers, or the problem is answered. An
 * Idempotency-Key is looked up first, then c->repeated and done() has the stored answer to give. */
int api_write(struct api_call *c, int (*work)(struct api_call *, struct tw_store *, struct tw_err *),
              void (*done)(struct api_call *), void *data);
/* May this call's actor do what its route is for, there? Refusals are audited. */
int api_may(struct api_call *c, const char *environment, const char *type, struct tw_err *err);
int api_audit(struct api_call *c, struct tw_store *s, const char *object, const char *result,
              json_t *detail, struct tw_err *err); /* detail is taken; NULL: none */
/* limit and cursor of a list. cursor: what api_cursor() gave, in parts. */
int api_page(struct api_call *c, int *ret_limit, struct tw_err *err);
json_t *api_items(json_t *items, const char *next_cursor);
const char *api_text(const struct api_call *c, const char *key); /* of the body; NULL: none */
/* Only these keys. */
int api_known(const struct api_call *c, const char *const *names, size_t n, struct tw_err *err);

/* What is no id gives the empty one. */
static inline void api_copy_id(char to[TW_ID_LEN + 1], const char *id)
{
    for (int i = 0; i <= TW_ID_LEN; i++)
        to[i] = id && tw_id_valid(id) ? id[i] : '\0';
}

/* ---- problem.c ---- */
struct api_status {
    int status;
    const char *code, *title;
};
struct api_status api_status_of(int code);
const char *api_title_of(int status);
json_t *api_problem(int status, const char *code, const char *text, const char *pointer,
                    const char *request_id);

/* ---- simulation.c ---- */
void api_job_started(void *arg, const struct tw_job *job);
void api_job_ended(void *arg, const struct tw_job_end *end);
void api_job_event(void *arg, const struct tw_job *job, const json_t *event);
/* Those that were accepted before the last end of the daemon. */
int api_resume(struct tw_api *api, struct tw_err *err);
void api_waiters_tick(struct tw_api *api, int64_t now_ns, bool closing);
void api_waiter_add(struct tw_api *api, const char *id, struct api_call *c);
/* Request of the body, its target found: environment and tier filled in. */
int api_read_request(struct api_call *c, struct tw_arena *a, struct tw_request *ret,
                     struct tw_target *ret_target, struct tw_err *err);

/* ---- environment.c ---- */
int api_env_find(struct tw_api *api, struct tw_arena *a, const char *environment, const char *name,
                 struct tw_target *ret, struct tw_err *err);
void api_sync_ended(struct tw_api *api, const struct tw_job_end *end);
void api_sync_tick(struct tw_api *api, int64_t now_ns);
/* A look at one target, soon; what is asked while one is under way is done once more after it. */
void api_look(struct tw_api *api, const char *environment, const char *target);

/* ---- follow.c ---- */
void api_follow_tick(struct tw_api *api, int64_t now_ns);
void api_follow_event(struct tw_api *api, const json_t *event);
void api_follow_ended(struct tw_api *api, const struct tw_job_end *end);
/* {"followed": true|false|null, "not_followed_because"}; new reference. */
json_t *api_follow_state(struct tw_api *api, const char *environment, const char *target);
void api_follow_done(struct tw_api *api);

/* ---- gate.c ---- */
char *api_without_blanks(const char *list); /* "a, b" -> "a,b"; owned */

/* ---- stream.c ---- */
void api_stream_event(struct tw_api *api, const struct tw_job *job, const json_t *event);
/* The state of a body as a message: created, queued, final. */
void api_stream_state(struct tw_api *api, const char *body);
/* A target is not as it was: to all who may see its environment. */
void api_stream_drift(struct tw_api *api, const char *id, const char *environment,
                      const char *target, const json_t *drift);
void api_stream_done(struct tw_api *api);
void api_ws_opened(void *arg, struct tw_ws *c, void *mine);
void api_ws_closed(void *arg, struct tw_ws *c, void *mine);

/* ---- handlers, one per route ---- */
#define API_HANDLER(name) int name(struct api_call *c, struct tw_err *err)
API_HANDLER(api_simulation_create);
API_HANDLER(api_simulation_run);
API_HANDLER(api_simulation_get);
API_HANDLER(api_simulation_list);
API_HANDLER(api_simulation_cancel);
API_HANDLER(api_simulation_report);
API_HANDLER(api_outcome_put);
API_HANDLER(api_outcome_get);
API_HANDLER(api_environment_list);
API_HANDLER(api_environment_sync);
API_HANDLER(api_environment_metrics);
API_HANDLER(api_predict_impact);
API_HANDLER(api_predict_performance);
API_HANDLER(api_predict_failures);
API_HANDLER(api_approval_list);
API_HANDLER(api_approval_get);
API_HANDLER(api_approval_decide);
API_HANDLER(api_audit_list);
API_HANDLER(api_audit_verify);
API_HANDLER(api_policy_list);
API_HANDLER(api_policy_check);
API_HANDLER(api_token_list);
API_HANDLER(api_token_create);
API_HANDLER(api_token_revoke);
API_HANDLER(api_healthz);
API_HANDLER(api_readyz);
API_HANDLER(api_metrics);
API_HANDLER(api_openapi);
API_HANDLER(api_stream);

/* ---- effect.c: log ratios of a metric, with the ends of their 90 % intervals ---- */
struct api_effect {
    double value, low, high; /* low, high NaN: not known */
};
double api_effect_sd(const struct api_effect *e);
/* Two of them differ by more than their noise explains. */
bool api_effects_disagree(const struct api_effect *runs, size_t n);
struct api_effect api_effect_pool(const struct api_effect *runs, size_t n); /* n at least 1 */
/* What really happened, as a multiple of what was simulated: real = slope x told, logs of n effects that were
 * measured after their changes had been made. 1 where nothing is known. */
double api_effect_slope(const double *told, const double *real, size_t n);
struct api_effect api_effect_scale(struct api_effect e, double slope);
/* What is expected of it, since it was measured with noise. */
struct api_effect api_effect_told(struct api_effect e);

#endif
