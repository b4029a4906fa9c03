/* Who may, who approved, what was done, who is told: roles and tokens, approvals, the audit chain, alerts.
 *
 * Errors  -EACCES may not (the text names what is missing), -ENOENT, -EALREADY was decided before,
 *         -ESTALE expired or bound to another plan, -EBADMSG the audit chain does not hold
 * Owns    results live in the arena given
 * Threads functions that take a store are called inside a transaction of its one writer, or of a command;
 *         tw_lockout locks itself
 * Source  docs/internals/gate.md */
#ifndef TW_GATE_H
#define TW_GATE_H

#include "tw/io.h"
#include "tw/store.h"

/* ---- roles ---- */

enum tw_gate_role { TW_VIEWER, TW_OPERATOR, TW_APPROVER, TW_ADMIN, TW_GATE_ROLE_COUNT };
extern const char *const tw_gate_role_names[TW_GATE_ROLE_COUNT]; /* viewer operator approver admin */
enum tw_permission {
    TW_MAY_READ,
    TW_MAY_SIMULATE,
    TW_MAY_SYNC,
    TW_MAY_APPROVE,
    TW_MAY_AUDIT,
    TW_MAY_ADMINISTER,
    TW_PERMISSION_COUNT
};
extern const char *const tw_permission_names[TW_PERMISSION_COUNT];
struct tw_actor {
    const char *person;       /* tokens of one person are one person */
    const char *token;        /* its id; NULL: without */
    unsigned roles;           /* bits of enum tw_gate_role */
    const char *environments; /* "a,b"; NULL: all */
    const char *types;        /* of changes, the same */
    bool automaton;           /* never approves */
    const char *source;       /* address, or "command line" */
};
bool tw_gate_role_allows(enum tw_gate_role role, enum tw_permission permission);
/* environment, type NULL: not about one. -EACCES names the roles that would do. */
int tw_gate_check(const struct tw_actor *a, enum tw_permission permission, const char *environment,
                  const char *type, struct tw_err *err);
/* "operator,approver" -> bits. */
int tw_gate_roles_parse(const char *text, unsigned *ret_roles, struct tw_err *err);
char *tw_gate_roles_text(struct tw_arena *a, unsigned roles);
/* Whoever sits at this machine's command line: its user, with every role. */
struct tw_actor tw_gate_local_actor(struct tw_arena *a);

/* ---- tokens ---- */

struct tw_token_wish {
    const char *person, *roles, *environments, *types, *note; /* environments, types, note: NULL */
    bool automaton;
    double days; /* until it expires */
    const char *created_by;
};
/* secret: shown once, only its hash is kept. */
int tw_gate_token_make(struct tw_store *s, struct tw_arena *a, const struct tw_token_wish *w,
                       const char **ret_secret, struct tw_store_token *ret, struct tw_err *err);
int tw_gate_token_check(struct tw_store *s, struct tw_arena *a, const char *secret,
                        struct tw_actor *ret, struct tw_err *err);
int tw_gate_token_revoke(struct tw_store *s, struct tw_arena *a, const char *id,
                         struct tw_err *err);

/* Sources that guess tokens wait: 10 failures within a minute lock a source out for a minute. */
struct tw_lockout;
struct tw_lockout *tw_lockout_new(void); /* owned: tw_lockout_free */
void tw_lockout_free(struct tw_lockout *l);
int tw_lockout_left_s(struct tw_lockout *l, const unsigned char address[16]); /* 0: free */
void tw_lockout_failed(struct tw_lockout *l, const unsigned char address[16]);

/* ---- approvals ---- */

/* For a simulation whose decision is review. */
int tw_gate_approval_open(struct tw_store *s, struct tw_arena *a, const struct tw_simulation *sim,
                          const char *requester, double hours, struct tw_store_approval *ret,
                          struct tw_err *err);
/* plan_sha256 NULL: not named again by the approver. */
int tw_gate_approval_decide(struct tw_store *s, struct tw_arena *a, const char *id, bool approve,
                            const struct tw_actor *actor, const char *plan_sha256,
                            const char *comment, struct tw_store_approval *ret, struct tw_err *err);
/* As read: a pending one past its time is "expired". */
void tw_gate_approval_age(struct tw_store_approval *p);

/* ---- audit ---- */

struct tw_audit; /* the key, outside the store, and the head beside it */
/* path NULL: <state>/audit.key; made when missing. */
int tw_audit_open(const char *state_dir, const char *path, struct tw_audit **ret,
                  struct tw_err *err);
void tw_audit_close(struct tw_audit *au);
/* object "" and detail NULL where there is none. result: "ok", "refused", "failed". */
struct tw_audit_entry {
    const char *action, *object, *result, *detail;
};
int tw_audit_add(struct tw_audit *au, struct tw_store *s, const struct tw_actor *actor,
                 const struct tw_audit_entry *e, struct tw_err *err);
/* After the commit: the head is written beside the key, so that a shortened chain is seen. */
int tw_audit_mark(struct tw_audit *au, struct tw_err *err);
struct tw_audit_state {
    int64_t entries, first_seq, last_seq, bad_seq; /* bad_seq: the first that does not hold; 0: none */
    const char *what; /* what is wrong, or NULL */
};
/* -EBADMSG: ret tells. */
int tw_audit_verify(struct tw_audit *au, struct tw_store *s, struct tw_arena *a,
                    struct tw_audit_state *ret, struct tw_err *err);
json_t *tw_audit_to_json(struct tw_arena *a, const struct tw_store_audit *e);

/* ---- alerts ---- */

enum tw_hook_form { TW_HOOK_PLAIN, TW_HOOK_SLACK, TW_HOOK_ALERTMANAGER, TW_HOOK_PAGERDUTY, TW_HOOK_COUNT };
extern const char *const tw_hook_form_names[TW_HOOK_COUNT];
struct tw_hook {
    const char *name, *url, *secret; /* secret: signs plain ones; the routing key of PagerDuty */
    enum tw_hook_form form;
    const char *kinds; /* "risk,failed,drift"; NULL: all */
};
struct tw_net {
    unsigned char address[16];
    int bits;
};
struct tw_hooks {
    TW_ARRAY(struct tw_hook) list;
    TW_ARRAY(struct tw_net) allow; /* networks that are not public and may be called all the same */
};
struct tw_alert {
    const char *kind;     /* "risk" "failed" "drift" "threshold" */
    const char *severity; /* "info" "warning" "critical" */
    const char *summary, *description, *environment, *target, *simulation;
};
/* One for each hook that wants the kind. */
int tw_alert_raise(struct tw_store *s, const struct tw_hooks *h, const struct tw_alert *al,
                   struct tw_err *err);
/* Sends one; al is brought to what came of it: sent, pending with its next time, or dead. */
void tw_alert_send(const struct tw_hooks *h, struct tw_arena *a, struct tw_store_alert *al);
/* May a webhook go there? Public addresses, and what allow names. */
bool tw_alert_may_call(const struct tw_hooks *h, const unsigned char address[16]);
#endif
