/* What room gate keeps: tokens, approvals, the audit chain, alerts, and repeats of requests. */
#include "store_internal.h"

#include <string.h>

/* ---- tokens ---- */

#define TOKEN_COLUMNS                                                                    \
    "id, hash, person, roles, environments, types, note, automaton, created_by,"         \
    " created_ns, expires_ns, revoked_ns, used_ns"

static struct tw_store_token read_token(struct tw_arena *a, sqlite3_stmt *q)
{
    struct tw_store_token t = {.id = store_text(a, q, 0),
                               .person = store_text(a, q, 2),
                               .roles = store_text(a, q, 3),
                               .environments = store_text(a, q, 4),
                               .types = store_text(a, q, 5),
                               .note = store_text(a, q, 6),
                               .automaton = sqlite3_column_int(q, 7) != 0,
                               .created_by = store_text(a, q, 8),
                               .created_wall_ns = sqlite3_column_int64(q, 9),
                               .expires_wall_ns = sqlite3_column_int64(q, 10),
                               .revoked_wall_ns = sqlite3_column_int64(q, 11),
                               .used_wall_ns = sqlite3_column_int64(q, 12)};

    if (sqlite3_column_bytes(q, 1) == (int)sizeof(t.hash))
        memcpy(t.hash, sqlite3_column_blob(q, 1), sizeof(t.hash));
    return t;
}

int tw_store_token_put(struct tw_store *s, const struct tw_store_token *t,
                       struct tw_err *err)
{
    return store_run(s, err, "storing a token",
                     "INSERT OR REPLACE INTO token (" TOKEN_COLUMNS ") VALUES"
                     " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                     "thtttttitiiii", t->id, t->hash, t->person, t->roles,
                     t->environments, t->types, t->note, (int64_t)t->automaton,
                     t->created_by, t->created_wall_ns, t->expires_wall_ns,
                     t->revoked_wall_ns, t->used_wall_ns);
}

int tw_store_token_get(struct tw_store *s, struct tw_arena *a, const char *id,
                       struct tw_store_token *ret, struct tw_err *err)
{
    store_auto_stmt *q = NULL;
    int r = store_query(s, err, &q, "SELECT " TOKEN_COLUMNS " FROM token WHERE id = ?1",
                        "t", id);

    if (r == 0)
        r = store_next(s, q, "reading a token", err);
    if (r == 1)
        *ret = read_token(a, q);
    return r == 0 ? tw_fail(err, -ENOENT, "there is no token '%s'", id) : r < 0 ? r : 0;
}

int tw_store_token_list(struct tw_store *s, struct tw_arena *a,
                        struct tw_store_tokens *ret, struct tw_err *err)
{
    struct tw_store_tokens all = {0};
    store_auto_stmt *q = NULL;
    int r = store_query(s, err, &q,
                        "SELECT " TOKEN_COLUMNS " FROM token ORDER BY created_ns", "");

    while (r >= 0 && (r = store_next(s, q, "listing tokens", err)) == 1)
        TW_PUSH(a, &all.list, read_token(a, q));
    if (r == 0)
        *ret = all;
    return r;
}

/* ---- approvals ---- */

#define APPROVAL_COLUMNS                                                                 \
    "id, simulation, plan_sha256, environment, type, target, requester, state, "         \
    "approver,"                                                                          \
    " comment, risk_score, created_ns, expires_ns, decided_ns"

static struct tw_store_approval read_approval(struct tw_arena *a, sqlite3_stmt *q)
{
    return (struct tw_store_approval){.id = store_text(a, q, 0),
                                      .simulation = store_text(a, q, 1),
                                      .plan_sha256 = store_text(a, q, 2),
                                      .environment = store_text(a, q, 3),
                                      .type = store_text(a, q, 4),
                                      .target = store_text(a, q, 5),
                                      .requester = store_text(a, q, 6),
                                      .state = store_text(a, q, 7),
                                      .approver = store_text(a, q, 8),
                                      .comment = store_text(a, q, 9),
                                      .risk_score = store_real(q, 10),
                                      .created_wall_ns = sqlite3_column_int64(q, 11),
                                      .expires_wall_ns = sqlite3_column_int64(q, 12),
                                      .decided_wall_ns = sqlite3_column_int64(q, 13)};
}

int tw_store_approval_put(struct tw_store *s, const struct tw_store_approval *p,
                          struct tw_err *err)
{
    return store_run(s, err, "storing an approval",
                     "INSERT OR REPLACE INTO approval (" APPROVAL_COLUMNS ") VALUES"
                     " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
                     "ttttttttttriii", p->id, p->simulation, p->plan_sha256,
                     p->environment, p->type, p->target, p->requester, p->state,
                     p->approver, p->comment, p->risk_score, p->created_wall_ns,
                     p->expires_wall_ns, p->decided_wall_ns);
}

int tw_store_approval_get(struct tw_store *s, struct tw_arena *a, const char *id,
                          struct tw_store_approval *ret, struct tw_err *err)
{
    store_auto_stmt *q = NULL;
    int r = store_query(
        s, err, &q, "SELECT " APPROVAL_COLUMNS " FROM approval WHERE id = ?1", "t", id);

    if (r == 0)
        r = store_next(s, q, "reading an approval", err);
    if (r == 1)
        *ret = read_approval(a, q);
    return r == 0  ? tw_fail(err, -ENOENT, "there is no approval '%s'", id)
           : r < 0 ? r
                   : 0;
}

int tw_store_approval_list(struct tw_store *s, struct tw_arena *a, const char *state,
                           const char *before_id, int limit,
                           struct tw_store_approvals *ret, struct tw_err *err)
{
    struct tw_store_approvals all = {0};
    store_auto_stmt *q = NULL;
    int r = store_query(s, err, &q,
                        "SELECT " APPROVAL_COLUMNS " FROM approval"
                        " WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR id < ?2)"
                        " ORDER BY id DESC LIMIT ?3",
                        "tti", state, before_id, (int64_t)limit);

    while (r >= 0 && (r = store_next(s, q, "listing approvals", err)) == 1)
        TW_PUSH(a, &all.list, read_approval(a, q));
    if (r == 0)
        *ret = all;
    return r;
}

/* ---- the audit chain ---- */

#define AUDIT_COLUMNS "seq, at_ns, actor, action, object, result, source, detail, mac"

static struct tw_store_audit read_audit(struct tw_arena *a, sqlite3_stmt *q)
{
    struct tw_store_audit e = {.seq = sqlite3_column_int64(q, 0),
                               .at_wall_ns = sqlite3_column_int64(q, 1),
                               .actor = store_text(a, q, 2),
                               .action = store_text(a, q, 3),
                               .object = store_text(a, q, 4),
                               .result = store_text(a, q, 5),
                               .source = store_text(a, q, 6),
                               .detail = store_text(a, q, 7)};

    if (sqlite3_column_bytes(q, 8) == (int)sizeof(e.mac))
        memcpy(e.mac, sqlite3_column_blob(q, 8), sizeof(e.mac));
    return e;
}

int tw_store_audit_add(struct tw_store *s, const struct tw_store_audit *e,
                       struct tw_err *err)
{
    return store_run(s, err, "storing an audit entry",
                     "INSERT INTO audit (" AUDIT_COLUMNS ") VALUES"
                     " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                     "iitttttth", e->seq, e->at_wall_ns, e->actor, e->action, e->object,
                     e->result, e->source, e->detail, e->mac);
}

int tw_store_audit_last(struct tw_store *s, struct tw_arena *a,
                        struct tw_store_audit *ret, struct tw_err *err)
{
    store_auto_stmt *q = NULL;
    int r = store_query(
        s, err, &q, "SELECT " AUDIT_COLUMNS " FROM audit ORDER BY seq DESC LIMIT 1", "");

    if (r == 0)
        r = store_next(s, q, "reading the audit chain", err);
    if (r >= 0)
        *ret = r ? read_audit(a, q) : (struct tw_store_audit){0};
    return r < 0 ? r : 0;
}

int tw_store_audit_list(struct tw_store *s, struct tw_arena *a, int64_t after,
                        int64_t before, int limit, struct tw_store_audits *ret,
                        struct tw_err *err)
{
    struct tw_store_audits all = {0};
    store_auto_stmt *q = NULL;
    int r = store_query(s, err, &q,
                        before ? "SELECT " AUDIT_COLUMNS " FROM audit WHERE seq < ?2"
                                 " ORDER BY seq DESC LIMIT ?3"
                               : "SELECT " AUDIT_COLUMNS " FROM audit WHERE seq > ?1"
                                 " ORDER BY seq LIMIT ?3",
                        "iii", after, before, (int64_t)limit);

    while (r >= 0 && (r = store_next(s, q, "reading the audit chain", err)) == 1)
        TW_PUSH(a, &all.list, read_audit(a, q));
    if (r == 0)
        *ret = all;
    return r;
}

/* ---- alerts ---- */

int tw_store_alert_add(struct tw_store *s, const struct tw_store_alert *al,
                       struct tw_err *err)
{
    return store_run(
        s, err, "storing an alert",
        "INSERT INTO alert (created_ns, next_ns, hook, kind, body, state, attempts)"
        " VALUES (?1, ?2, ?3, ?4, ?5, 'pending', 0)",
        "iittt", al->created_wall_ns, al->next_wall_ns, al->hook, al->kind, al->body);
}

int tw_store_alert_update(struct tw_store *s, const struct tw_store_alert *al,
                          struct tw_err *err)
{
    return store_run(
        s, err, "storing an alert",
        "UPDATE alert SET next_ns = ?2, state = ?3, error = ?4, attempts = ?5"
        " WHERE id = ?1",
        "iitti", al->id, al->next_wall_ns, al->state, al->error, (int64_t)al->attempts);
}

int tw_store_alert_due(struct tw_store *s, struct tw_arena *a, int64_t now, int limit,
                       struct tw_store_alerts *ret, struct tw_err *err)
{
    struct tw_store_alerts all = {0};
    store_auto_stmt *q = NULL;
    int r = store_query(
        s, err, &q,
        "SELECT id, created_ns, next_ns, hook, kind, body, attempts FROM alert"
        " WHERE state = 'pending' AND next_ns <= ?1 ORDER BY next_ns LIMIT ?2",
        "ii", now, (int64_t)limit);

    while (r >= 0 && (r = store_next(s, q, "reading alerts", err)) == 1)
        TW_PUSH(a, &all.list,
                (struct tw_store_alert){.id = sqlite3_column_int64(q, 0),
                                        .created_wall_ns = sqlite3_column_int64(q, 1),
                                        .next_wall_ns = sqlite3_column_int64(q, 2),
                                        .hook = store_text(a, q, 3),
                                        .kind = store_text(a, q, 4),
                                        .body = store_text(a, q, 5),
                                        .state = "pending",
                                        .attempts = sqlite3_column_int(q, 6)});
    if (r == 0)
        *ret = all;
    return r;
}

int tw_store_alert_counts(struct tw_store *s, int64_t *ret_pending, int64_t *ret_dead,
                          struct tw_err *err)
{
    store_auto_stmt *q = NULL;
    int r = store_query(s, err, &q,
                        "SELECT count(*) FILTER (WHERE state = 'pending'),"
                        " count(*) FILTER (WHERE state = 'dead') FROM alert",
                        "");

    if (r == 0)
        r = store_next(s, q, "counting alerts", err);
    if (r < 0)
        return r;
    *ret_pending = sqlite3_column_int64(q, 0);
    *ret_dead = sqlite3_column_int64(q, 1);
    return 0;
}

/* ---- repeats ---- */

int tw_store_key_get(struct tw_store *s, struct tw_arena *a, const char *subject,
                     const char *key, struct tw_store_key *ret, struct tw_err *err)
{
    store_auto_stmt *q = NULL;
    int r = store_query(s, err, &q,
                        "SELECT request_sha256, simulation, status, answer FROM repeat"
                        " WHERE subject = ?1 AND key = ?2",
                        "tt", subject, key);

    if (r == 0)
        r = store_next(s, q, "reading a repeat", err);
    if (r == 1)
        *ret = (struct tw_store_key){.subject = subject,
                                     .key = key,
                                     .request_sha256 = store_text(a, q, 0),
                                     .simulation = store_text(a, q, 1),
                                     .status = sqlite3_column_int(q, 2),
                                     .answer = store_text(a, q, 3)};
    return r == 0 ? tw_fail(err, -ENOENT, "this key was not used yet") : r < 0 ? r : 0;
}

int tw_store_key_put(struct tw_store *s, const struct tw_store_key *k, struct tw_err *err)
{
    return store_run(
        s, err, "storing a repeat",
        "INSERT OR REPLACE INTO repeat (subject, key, request_sha256, simulation,"
        " status, answer, created_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        "ttttiti", k->subject, k->key, k->request_sha256, k->simulation,
        (int64_t)k->status, k->answer, tw_wall_ns());
}
