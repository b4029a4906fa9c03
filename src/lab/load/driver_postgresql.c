/* PostgreSQL: statements prepared once per connection, one request outstanding on each,
 * the statements of a request in one pipeline.
 *
 * A mix of single statements does without pipeline mode: it saves a result per request.
 */
#include "load_internal.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum phase { CONNECTING, PREPARING, SERVING };
struct target {
    const char *conninfo;
    bool prepare;
    struct tw_pg_way way;
};
struct session {
    PGconn *pg;
    enum phase phase;
    size_t prepared;  /* PREPARING: answers so far */
    bool *unprepared; /* by number of the statement: could not be prepared */
    int syncs;        /* Sync answers still to come */
    bool pipeline, failed, tidying;
    const char **parameters;
};

/* ---- failures ---- */

static void keep_text(char *to, size_t room, const char *from, bool hide_quoted)
{
    bool hidden = false;
    size_t n = 0;

    for (; *from && *from != '\n' && n + 1 < room; from++) {
        if (hide_quoted && *from == '"') {
            to[n++] = '"';
            hidden = !hidden;
        } else if (!hidden) {
            to[n++] = *from;
        }
    }
    to[n] = '\0';
}

/* Data exceptions (class 22) quote the value itself; it is hidden. */
static void note_failure(struct load_conn *c, const char *sqlstate, const char *text)
{
    struct session *s = c->own;

    if (s->failed)
        return; /* the first says why, the others follow from it */
    s->failed = true;
    keep_text(c->fault.code, sizeof c->fault.code, sqlstate, false);
    keep_text(c->fault.text, sizeof c->fault.text, text, tw_starts_with(sqlstate, "22"));
}

static void note_result(struct load_conn *c, const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

    note_failure(c, state ? state : "08006", text ? text : PQresultErrorMessage(res));
}

/* What a server says to an idle session before it ends it reaches us as a notice. */
static void hear_notice(void *arg, const PGresult *res)
{
    if (tw_streq(PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED), "FATAL"))
        note_result(arg, res);
}

/* libpq keeps the SQLSTATE of a refused login to itself, but verbose messages carry it:
 * "connection to server … failed: FATAL:  53300: sorry, too many clients already". */
static void note_connection(struct load_conn *c)
{
    struct session *s = c->own;
    const char *message = s->pg ? PQerrorMessage(s->pg) : "out of memory", *at;

    at = strstr(message, "FATAL:  ");
    if (at && strlen(at) > 15 && at[13] == ':') {
        tw_auto_free char *state = strndup(at + 8, 5);

        note_failure(c, state, at + 15);
    } else {
        note_failure(c, "08006", message);
    }
}

static enum load_event lost(struct load_conn *c)
{
    note_connection(c);
    c->state = LOAD_CLOSED;
    return LOAD_LOST;
}

/* ---- opening ---- */

static void pg_close(struct load_conn *c)
{
    struct session *s = c->own;

    c->state = LOAD_CLOSED;
    c->fd = -1;
    if (!s)
        return;
    PQfinish(s->pg);
    free(s->unprepared);
    free(s->parameters);
    free(s);
    c->own = NULL;
}

/* Words of the connection string that are ours and not libpq's: they are taken out of it. "prepare=0":
 * statements are sent unnamed each time, which a pooler can hand to any server connection. "device="
 * and "source=": by which link and from which address it leaves. */
static const char *take_word(struct tw_arena *a, char *conninfo, const char *word)
{
    size_t n = strlen(word);

    for (char *at = conninfo; (at = strstr(at, word)) != NULL; at += n) {
        size_t len = strcspn(at, " ");
        const char *value;

        if (at != conninfo && at[-1] != ' ')
            continue;
        value = tw_arena_strndup(a, at + n, len - n);
        memset(at, ' ', len);
        return value;
    }
    return NULL;
}

static int pg_aim(struct tw_arena *a, const struct load_program *p, const char *endpoint,
                  void **ret_target, struct tw_err *err)
{
    struct target *t = tw_arena_alloc(a, sizeof *t);
    char *conninfo = tw_arena_strdup(a, endpoint);

    (void)p, (void)err;
    t->prepare = !tw_streq(take_word(a, conninfo, "prepare="), "0");
    t->way.device = take_word(a, conninfo, "device=");
    t->way.source = take_word(a, conninfo, "source=");
    t->conninfo = conninfo;
    *ret_target = t;
    return 0;
}

static void pg_open(struct load_conn *c, const struct load_program *p)
{
    const struct target *t = c->target;
    struct session *s = tw_alloc(sizeof *s);

    c->own = s;
    s->unprepared = tw_alloc(p->statement_count * sizeof *s->unprepared);
    s->parameters = tw_alloc((p->max_parameters + 1) * sizeof *s->parameters);
    tw_pg_leave_by(&t->way);
    s->pg = PQconnectStart(t->conninfo);
    tw_pg_leave_by(NULL);
    (void)PQsetErrorVerbosity(s->pg, PQERRORS_VERBOSE);
    (void)PQsetNoticeReceiver(s->pg, hear_notice, c);
    c->fd = PQstatus(s->pg) == CONNECTION_BAD ? -1 : PQsocket(s->pg);
    c->events = EPOLLOUT;
    c->state = LOAD_OPENING;
    if (c->fd < 0)
        (void)lost(c);
}

static bool prepare_all(struct session *s, const struct load_program *p,
                        const struct target *t)
{
    if (PQsetnonblocking(s->pg, 1) != 0 || !PQenterPipelineMode(s->pg))
        return false;
    s->phase = PREPARING;
    if (!t->prepare) {
        memset(s->unprepared, true, p->statement_count * sizeof *s->unprepared);
        s->prepared = p->statement_count;
        return true;
    }
    for (size_t i = 0; i < p->mix->items.count; i++)
        for (size_t n = 0; n < p->mix->items.items[i].statements.count; n++) {
            const struct load_statement *st = &p->items[i].statements[n];
            const char *sql = p->mix->items.items[i].statements.items[n].sql;

            if (st->empty) {
                s->prepared++;
                continue;
            }
            /* A Sync after each, so that one that fails takes no other with it. */
            if (!PQsendPrepare(s->pg, st->name, sql, 0, NULL) || !PQpipelineSync(s->pg))
                return false;
        }
    return true;
}

static void watch_writes(struct load_conn *c)
{
    struct session *s = c->own;

    c->events = EPOLLIN | (PQflush(s->pg) == 1 ? (unsigned)EPOLLOUT : 0);
}

static enum load_event preparing(struct load_conn *c, const struct load_program *p);

static enum load_event connecting(struct load_conn *c, const struct load_program *p)
{
    struct session *s = c->own;
    PostgresPollingStatusType state;

    tw_pg_leave_by(&((const struct target *)c->target)->way);
    state = PQconnectPoll(s->pg);
    tw_pg_leave_by(NULL);
    switch (state) {
    case PGRES_POLLING_READING:
        c->events = EPOLLIN;
        break;
    case PGRES_POLLING_WRITING:
        c->events = EPOLLOUT;
        break;
    case PGRES_POLLING_OK:
        if (!prepare_all(s, p, c->target))
            return lost(c);
        watch_writes(c);
        if (s->prepared == p->statement_count) {
            c->fd = PQsocket(s->pg);
            return preparing(c, p);
        }
        break;
    default:
        return lost(c);
    }
    c->fd = PQsocket(s->pg);
    return LOAD_NOTHING;
}

/* The number of the statement whose answer comes next. */
static size_t next_prepared(const struct load_program *p, size_t answers)
{
    for (size_t i = 0; i < p->mix->items.count; i++)
        for (size_t n = 0; n < p->mix->items.items[i].statements.count; n++) {
            const struct load_statement *st = &p->items[i].statements[n];

            if (!st->empty && answers-- == 0)
                return st->number;
        }
    return 0;
}

static enum load_event preparing(struct load_conn *c, const struct load_program *p)
{
    struct session *s = c->own;
    size_t empty = 0, all = p->statement_count;

    for (size_t i = 0; i < p->mix->items.count; i++)
        for (size_t n = 0; n < p->mix->items.items[i].statements.count; n++)
            empty += p->items[i].statements[n].empty;
    while (s->prepared < all) {
        PGresult *res;

        if (PQisBusy(s->pg))
            return LOAD_NOTHING;
        res = PQgetResult(s->pg);
        if (!res && PQstatus(s->pg) == CONNECTION_BAD)
            return lost(c);
        if (PQresultStatus(res) == PGRES_PIPELINE_SYNC)
            s->prepared++;
        else if (res && PQresultStatus(res) != PGRES_COMMAND_OK)
            s->unprepared[next_prepared(p, s->prepared - empty)] = true;
        PQclear(res);
    }
    s->pipeline = p->pipeline;
    if (!s->pipeline && !PQexitPipelineMode(s->pg))
        return lost(c);
    s->phase = SERVING;
    c->state = LOAD_IDLE;
    return LOAD_OPENED;
}

/* ---- requests ---- */

static bool send_statement(struct load_conn *c, const struct load_program *p, size_t n)
{
    struct session *s = c->own;
    const struct tw_load_statement *from =
        &p->mix->items.items[c->item].statements.items[n];
    const struct load_statement *st = &p->items[c->item].statements[n];
    int count = load_draw_parameters(from, &c->draw, s->parameters);

    /* What could not be prepared is sent as it is: the server says again what is wrong.
     */
    if (s->unprepared[st->number])
        return PQsendQueryParams(s->pg, from->sql, count, NULL, s->parameters, NULL, NULL,
                                 0);
    return PQsendQueryPrepared(s->pg, st->name, count, s->parameters, NULL, NULL, 0);
}

/* Sends up to the next pause. */
static enum load_event send_batch(struct load_conn *c, const struct load_program *p)
{
    const struct tw_load_item *item = &p->mix->items.items[c->item];
    const struct load_statement *st = p->items[c->item].statements;
    struct session *s = c->own;
    size_t first = c->statement, n = first, count = item->statements.count;
    bool sent = false;

    for (; n < count && (n == first || st[n].think_ns == 0); n++) {
        bool last = n + 1 == count || st[n + 1].think_ns > 0;

        if (st[n].empty)
            continue;
        if (!send_statement(c, p, n))
            return lost(c);
        sent = true;
        if (!s->pipeline || !(st[n].sync || last))
            continue;
        if (!PQpipelineSync(s->pg))
            return lost(c);
        s->syncs++;
    }
    c->statement = n;
    c->state = sent ? LOAD_BUSY : LOAD_IDLE;
    if (sent)
        watch_writes(c);
    return sent ? LOAD_NOTHING : LOAD_ANSWERED;
}

static enum load_event pause_before(struct load_conn *c, const struct load_program *p,
                                    int64_t now_ns)
{
    return load_conn_pause(c,
                           now_ns + p->items[c->item].statements[c->statement].think_ns);
}

static enum load_event pg_send(struct load_conn *c, const struct load_program *p,
                               int64_t now_ns)
{
    struct session *s = c->own;

    c->statement = 0;
    s->failed = false;
    if (p->items[c->item].statements[0].think_ns > 0)
        return pause_before(c, p, now_ns);
    return send_batch(c, p);
}

static enum load_event pg_resume(struct load_conn *c, const struct load_program *p,
                                 int64_t now_ns)
{
    (void)now_ns;
    return send_batch(c, p);
}

/* A statement of ours between requests. */
static bool send_own(struct load_conn *c, const char *sql)
{
    struct session *s = c->own;

    s->tidying = true;
    c->state = LOAD_BUSY;
    if (!PQsendQueryParams(s->pg, sql, 0, NULL, NULL, NULL, NULL, 0) ||
        (s->pipeline && !PQpipelineSync(s->pg)))
        return false;
    s->syncs = s->pipeline;
    watch_writes(c);
    return true;
}

/* A transaction left open by a failure, or by the script, would be a trap for the next
 * request. */
static bool tidy(struct load_conn *c)
{
    struct session *s = c->own;

    return PQtransactionStatus(s->pg) == PQTRANS_IDLE || send_own(c, "ROLLBACK");
}

static bool pg_flush(struct load_conn *c)
{
    struct session *s = c->own;

    if (PQserverVersion(s->pg) < 150000)
        return false; /* there sessions tell what they did whenever they fall idle */
    return send_own(c, "SELECT pg_stat_force_next_flush()");
}

static enum load_event finish(struct load_conn *c, const struct load_program *p,
                              int64_t now_ns)
{
    struct session *s = c->own;
    bool failed = s->failed;

    s->failed = false;
    if (s->tidying) {
        s->tidying = false;
        c->state = LOAD_IDLE;
        return LOAD_RESTED;
    }
    if (!failed && c->statement < p->mix->items.items[c->item].statements.count)
        return pause_before(c, p, now_ns);
    c->state = LOAD_IDLE;
    if (!tidy(c))
        return lost(c);
    return failed ? LOAD_REFUSED : LOAD_ANSWERED;
}

/* The last words of a connection that is gone. */
static enum load_event drain_lost(struct load_conn *c)
{
    struct session *s = c->own;
    PGresult *res;

    for (int i = 0; i < 1000 && (res = PQgetResult(s->pg)) != NULL; i++) {
        if (PQresultStatus(res) == PGRES_FATAL_ERROR)
            note_result(c, res);
        PQclear(res);
    }
    return lost(c);
}

static enum load_event serving(struct load_conn *c, const struct load_program *p,
                               int64_t now_ns)
{
    struct session *s = c->own;

    while (!PQisBusy(s->pg)) {
        PGresult *res = PQgetResult(s->pg);
        ExecStatusType status = PQresultStatus(res);

        if (!res && PQstatus(s->pg) == CONNECTION_BAD)
            return lost(c);
        if (!res && !s->pipeline)
            return c->state == LOAD_BUSY ? finish(c, p, now_ns) : LOAD_NOTHING;
        if (!res && s->syncs == 0)
            return LOAD_NOTHING;
        if (res && status == PGRES_FATAL_ERROR && !s->tidying)
            note_result(c, res); /* libpq calls "no result" by the same name */
        PQclear(res);
        if (status == PGRES_PIPELINE_SYNC && --s->syncs == 0)
            return finish(c, p, now_ns);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT)
            return lost(c);
    }
    return LOAD_NOTHING;
}

static enum load_event pg_ready(struct load_conn *c, const struct load_program *p,
                                int64_t now_ns)
{
    struct session *s = c->own;

    if (s->phase == CONNECTING)
        return connecting(c, p);
    if (!PQconsumeInput(s->pg))
        return drain_lost(c);
    if (c->events & EPOLLOUT)
        watch_writes(c);
    return s->phase == PREPARING ? preparing(c, p) : serving(c, p, now_ns);
}

static void pg_cancel(struct load_conn *conns, size_t n)
{
    char why[256];

    for (size_t i = 0; i < n; i++) {
        struct session *s = conns[i].own;
        PGcancel *cancel = conns[i].state == LOAD_BUSY && s ? PQgetCancel(s->pg) : NULL;

        if (!cancel)
            continue;
        tw_pg_leave_by(&((const struct target *)conns[i].target)->way);
        (void)PQcancel(cancel, why, sizeof why);
        tw_pg_leave_by(NULL);
        PQfreeCancel(cancel);
    }
}

/* A pooler has to find the server of a session for it, and PgBouncer 1.18 and 1.19 die of many that
 * come while requests end (pgbouncer#822, #801). */
static bool pg_may_cancel(const void *target)
{
    return ((const struct target *)target)->prepare;
}

const struct load_driver load_driver_postgresql = {
    .name = "postgresql",
    .aim = pg_aim,
    .open = pg_open,
    .send = pg_send,
    .ready = pg_ready,
    .resume = pg_resume,
    .flush = pg_flush,
    .cancel = pg_cancel,
    .may_cancel = pg_may_cancel,
    .close = pg_close,
};
