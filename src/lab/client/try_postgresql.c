/* A PostgreSQL client: logs in as its role would, sends what it sends, rests as it rests. */
#include "client_internal.h"

#include <ctype.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define COMMIT_NS      (2 * TW_SEC_NS) /* a commit that takes longer waits for somebody */
#define ENOUGH_REST_NS (500 * TW_MSEC_NS)
#define MOST_PARAMS    64

const char *const client_timeouts[] = {
    "idle_session_timeout", "idle_in_transaction_session_timeout",
    "statement_timeout",    "transaction_timeout",
    "max_connections",      "superuser_reserved_connections",
    "reserved_connections"};
const size_t client_timeout_count = TW_COUNT_OF(client_timeouts);

/* ---- words ---- */

/* "connection to server at …, port 5432 failed: FATAL:  no entry": what stands after the prefix,
 * in one line. libpq tells each of its attempts; the server's own refusal is worth most. */
static const char *login_words(struct client_try *t, const char *text)
{
    static const char *const marks[] = {"FATAL:", "certificate", "SSL", "failed: "};
    const char *from = text;
    char *line;

    for (size_t i = 0; i < TW_COUNT_OF(marks); i++) {
        const char *at = strstr(text, marks[i]);

        if (!at)
            continue;
        from = at + (i == TW_COUNT_OF(marks) - 1 ? strlen(marks[i]) : 0);
        while (i == 1 && from > text && from[-1] != ':' && from[-1] != '\n')
            from--;
        break;
    }
    from += strspn(from, " ");
    line = tw_arena_strndup(t->arena, from, strcspn(from, "\n"));
    for (char *c = line; *c; c++)
        if (c[0] == ' ' && c[1] == ' ')
            memmove(c, c + 1, strlen(c));
    return line;
}

static enum tw_client_end login_end(const char *words)
{
    static const struct {
        const char *mark;
        enum tw_client_end end;
    } rows[] = {{"FATAL:", TW_CLIENT_DENIED},
                {"SSL", TW_CLIENT_NO_TLS},
                {"ertificate", TW_CLIENT_NO_TLS},
                {"authentication", TW_CLIENT_DENIED},
                {"password", TW_CLIENT_DENIED},
                {"Cannot assign requested address", TW_CLIENT_UNTRIED},
                {"Address family", TW_CLIENT_UNTRIED},
                {"could not translate host name", TW_CLIENT_UNTRIED},
                {"refused", TW_CLIENT_NO_WAY},
                {"unreachable", TW_CLIENT_NO_WAY},
                {"No such file", TW_CLIENT_NO_WAY},
                {"No route", TW_CLIENT_NO_WAY}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (strstr(words, rows[i].mark))
            return rows[i].end;
    return TW_CLIENT_DENIED;
}

/* ---- connecting ---- */

struct words {
    const char *key[32], *value[32];
    int count;
};

static void say(struct words *w, const char *key, const char *value)
{
    if (!value)
        return;
    w->key[w->count] = key;
    w->value[w->count++] = value;
}

static bool is_socket(const struct tw_client *c)
{
    return c->address && *c->address == '/';
}

static bool is_replication(const struct tw_client *c)
{
    return tw_streq(c->database, "replication");
}

static void connection_words(struct client_try *t, struct words *w)
{
    const struct tw_client *c = &t->client;
    struct tw_arena *a = t->arena;

    if (is_socket(c)) {
        say(w, "host", t->way.socket_dir ? t->way.socket_dir : c->address);
    } else {
        say(w, "hostaddr", c->address ? c->address : t->way.address);
        say(w, "host", c->server_name);
    }
    say(w, "port", tw_arena_printf(a, "%d", client_port(t)));
    say(w, "user", c->user);
    say(w, "password", c->password ? c->password : "");
    say(w, "passfile", "/nonexistent");
    if (is_replication(c))
        say(w, "replication", "true");
    else
        say(w, "dbname", c->database ? c->database : c->user);
    say(w, "sslmode", c->sslmode ? c->sslmode : "prefer");
    say(w, "sslrootcert", t->ca_path);
    say(w, "ssl_min_protocol_version", client_tls_name(a, c->tls_min));
    say(w, "ssl_max_protocol_version", client_tls_name(a, c->tls_max));
    say(w, "gssencmode", "disable");
    say(w, "options", c->options);
    say(w, "application_name", "twin_client");
}

static PGconn *log_in(struct client_try *t)
{
    struct words w = {0};
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    PGconn *conn;

    connection_words(t, &w);
    w.key[w.count] = NULL;
    conn = PQconnectStartParams(w.key, w.value, 0);
    while (conn && PQstatus(conn) != CONNECTION_BAD && state != PGRES_POLLING_OK &&
           state != PGRES_POLLING_FAILED) {
        if (!client_poll(PQsocket(conn),
                         state == PGRES_POLLING_READING ? POLLIN : POLLOUT,
                         t->deadline_ns)) {
            client_end(t, TW_CLIENT_HUNG, "login", NULL, "no answer to the login");
            PQfinish(conn);
            return NULL;
        }
        state = PQconnectPoll(conn);
    }
    return conn;
}

static PGconn *open_session(struct client_try *t)
{
    PGconn *conn = log_in(t);
    const char *words;
    enum tw_client_end end;

    if (!conn)
        return NULL;
    if (PQsslInUse(conn))
        client_note_tls(t, PQsslStruct(conn, "OpenSSL"));
    if (PQstatus(conn) == CONNECTION_OK) {
        (void)PQsetnonblocking(conn, 1);
        return conn;
    }
    words = login_words(t, PQerrorMessage(conn));
    end = login_end(words);
    client_end(t, end, end == TW_CLIENT_NO_TLS ? "tls" : "login", NULL, words);
    PQfinish(conn);
    return NULL;
}

/* ---- sending ---- */

/* A session that is ended at rest is told why, and nobody asked. */
static void take_notice(void *arg, const char *message)
{
    struct client_try *t = arg;

    if (strstr(message, "FATAL:"))
        t->last_words = login_words(t, message);
}

static bool flushed(PGconn *conn, int64_t deadline_ns)
{
    int r;

    while ((r = PQflush(conn)) == 1)
        if (!client_poll(PQsocket(conn), POLLOUT, deadline_ns))
            return false;
    return r == 0;
}

/* The last result of what was sent; NULL: none by the deadline (the connection may still live). */
static PGresult *answer_of(PGconn *conn, int64_t deadline_ns)
{
    PGresult *last = NULL, *one;

    if (!flushed(conn, deadline_ns))
        return NULL;
    for (;;) {
        while (PQisBusy(conn)) {
            if (!client_poll(PQsocket(conn), POLLIN, deadline_ns)) {
                PQclear(last);
                return NULL;
            }
            if (!PQconsumeInput(conn))
                break;
        }
        one = PQgetResult(conn);
        if (!one)
            return last;
        if (last && PQresultStatus(last) == PGRES_FATAL_ERROR) {
            PQclear(one); /* the first error tells most */
            continue;
        }
        PQclear(last);
        last = one;
    }
}

static PGresult *ask(PGconn *conn, const char *sql, int64_t deadline_ns)
{
    return PQsendQuery(conn, sql) ? answer_of(conn, deadline_ns) : NULL;
}

static bool has_failed(const PGresult *res)
{
    ExecStatusType s = PQresultStatus(res);

    return s == PGRES_FATAL_ERROR || s == PGRES_BAD_RESPONSE;
}

static bool do_quietly(struct client_try *t, PGconn *conn, const char *sql)
{
    PGresult *res = ask(conn, sql, t->deadline_ns);
    bool ok = res && !has_failed(res);

    PQclear(res);
    return ok;
}

/* The values are ours, and none: what a service has against those, it has not against the client. */
static bool is_data_fault(const char *state)
{
    return state && (tw_starts_with(state, "22") || tw_starts_with(state, "23"));
}

static void note_result(struct client_try *t, struct tw_client_reply *reply, PGconn *conn,
                        const PGresult *res)
{
    const char *words = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *code = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;

    reply->ok = res && !has_failed(res);
    reply->complete = res != NULL;
    reply->code = tw_arena_strdup(t->arena, code);
    reply->words = tw_arena_strdup(t->arena, words);
    reply->data_fault = !reply->ok && is_data_fault(code);
    if (!res)
        reply->words = "no answer";
    else if (!reply->ok && !words)
        reply->words = login_words(t, PQerrorMessage(conn));
}

/* ---- what it waits for ---- */

/* A second session of the same role may see what the first one waits for. */
static const char *wait_of(struct client_try *t, int pid)
{
    struct client_try other = *t;
    PGconn *conn;
    PGresult *res = NULL;
    const char *event = NULL;
    tw_auto_free char *sql = tw_strf(
        "SELECT wait_event FROM pg_stat_activity WHERE pid = %d AND state = 'active'",
        pid);

    other.deadline_ns = tw_now_ns() + TW_SEC_NS;
    other.answer = (struct tw_client_answer){0};
    conn = log_in(&other);
    if (conn && PQstatus(conn) == CONNECTION_OK)
        res = ask(conn, sql, other.deadline_ns);
    if (res && PQntuples(res) == 1 && !PQgetisnull(res, 0, 0))
        event = tw_arena_strdup(t->arena, PQgetvalue(res, 0, 0));
    PQclear(res);
    PQfinish(conn);
    return event;
}

static void hung(struct client_try *t, PGconn *conn, const char *at, const char *what)
{
    PGcancel *cancel = PQgetCancel(conn);
    char words[256];

    t->answer.waits_for = wait_of(t, PQbackendPID(conn));
    client_end(t, TW_CLIENT_HUNG, at, NULL,
               t->answer.waits_for
                   ? tw_arena_printf(t->arena, "%s does not end; it waits for %s", what,
                                     t->answer.waits_for)
                   : tw_arena_printf(t->arena, "%s does not end", what));
    if (cancel)
        (void)PQcancel(cancel, words, sizeof words);
    PQfreeCancel(cancel);
}

/* Cut off: by the service's own words, which came before, if it said any. */
static bool is_cut(struct client_try *t, PGconn *conn, const char *at)
{
    if (PQstatus(conn) != CONNECTION_BAD)
        return false;
    client_end(t, TW_CLIENT_CUT, at, NULL,
               t->last_words ? t->last_words : login_words(t, PQerrorMessage(conn)));
    return true;
}

/* ---- what its session is ---- */

static bool look_around(struct client_try *t, PGconn *conn)
{
    static const char sql[] =
        "SELECT name, setting, unit FROM pg_settings WHERE name IN ("
        "'idle_session_timeout', 'idle_in_transaction_session_timeout', "
        "'statement_timeout', 'transaction_timeout', 'max_connections', "
        "'superuser_reserved_connections', 'reserved_connections')";
    const char *super = PQparameterStatus(conn, "is_superuser");
    PGresult *res = ask(conn, sql, t->deadline_ns);

    t->answer.superuser = tw_streq(super, "on");
    for (int i = 0; res && i < PQntuples(res); i++)
        TW_PUSH(t->arena, &t->answer.settings,
                (struct tw_setting){
                    .name = tw_arena_strdup(t->arena, PQgetvalue(res, i, 0)),
                    .value = tw_arena_strdup(t->arena, PQgetvalue(res, i, 1)),
                    .unit = tw_arena_strdup(t->arena, PQgetvalue(res, i, 2))});
    PQclear(res);
    if (is_cut(t, conn, "send"))
        return false;
    if (tw_streq(t->client.origin, CLIENT_STRANGER))
        t->answer.reads_files =
            do_quietly(t, conn, "SELECT length(pg_read_file('PG_VERSION'))");
    return true;
}

/* ---- its statements ---- */

static int parameters_of(const char *sql)
{
    int most = 0;

    for (const char *c = sql; (c = strchr(c, '$')); c++)
        if (isdigit((unsigned char)c[1]) && atoi(c + 1) > most)
            most = atoi(c + 1);
    return most > MOST_PARAMS ? -1 : most;
}

static bool is_two_phase(const char *sql)
{
    return strncasecmp(sql, "PREPARE TRANSACTION", 19) == 0;
}

/* Prepared and undone: the twins go on without it. */
static void try_two_phase(struct client_try *t, PGconn *conn, const char *sql)
{
    struct tw_client_reply *reply = client_reply(t, sql);
    tw_auto_free char *name = tw_strf("twin_%d", PQbackendPID(conn));
    tw_auto_free char *prepare = tw_strf("PREPARE TRANSACTION '%s'", name);
    tw_auto_free char *undo = tw_strf("ROLLBACK PREPARED '%s'", name);
    PGresult *res;

    (void)do_quietly(t, conn, "BEGIN");
    (void)do_quietly(t, conn, "SELECT txid_current()");
    res = ask(conn, prepare, t->deadline_ns);
    note_result(t, reply, conn, res);
    (void)do_quietly(t, conn, reply->ok ? undo : "ROLLBACK");
    PQclear(res);
}

static PGresult *run_with_nothing(struct client_try *t, PGconn *conn, const char *sql,
                                  int n)
{
    static const char *const nothing[MOST_PARAMS];
    PGresult *res;

    if (!PQsendPrepare(conn, "", sql, 0, NULL))
        return NULL;
    res = answer_of(conn, t->deadline_ns);
    if (!res || has_failed(res))
        return res;
    PQclear(res);
    return PQsendQueryPrepared(conn, "", n, nothing, NULL, NULL, 0)
               ? answer_of(conn, t->deadline_ns)
               : NULL;
}

/* A statement as its role sent it before, values left out, in a transaction that is undone. */
static bool try_known(struct client_try *t, PGconn *conn, const char *sql)
{
    int n = parameters_of(sql);
    struct tw_client_reply *reply;
    PGresult *res;

    if (is_two_phase(sql)) {
        try_two_phase(t, conn, sql);
        return !is_cut(t, conn, "send");
    }
    if (n < 0 || !do_quietly(t, conn, "BEGIN"))
        return !is_cut(t, conn, "send");
    reply = client_reply(t, sql);
    res = n ? run_with_nothing(t, conn, sql, n) : ask(conn, sql, t->deadline_ns);
    note_result(t, reply, conn, res);
    if (!res && PQstatus(conn) == CONNECTION_OK)
        hung(t, conn, "send", sql);
    PQclear(res);
    if (t->answer.end == TW_CLIENT_HUNG || is_cut(t, conn, "send"))
        return false;
    (void)do_quietly(t, conn, "ROLLBACK");
    return true;
}

/* A given statement: as it stands, one after the other in one session, by name where the client
 * prepares. */
static bool try_given(struct client_try *t, PGconn *conn, const char *sql)
{
    struct tw_client_reply *reply = client_reply(t, sql);
    PGresult *res = NULL;

    if (t->client.prepared && PQsendPrepare(conn, "twin", sql, 0, NULL)) {
        res = answer_of(conn, t->deadline_ns);
        if (res && !has_failed(res) &&
            PQsendQueryPrepared(conn, "twin", 0, NULL, NULL, NULL, 0)) {
            PQclear(res);
            res = answer_of(conn, t->deadline_ns);
        }
    } else {
        res = ask(conn, sql, t->deadline_ns);
    }
    note_result(t, reply, conn, res);
    if (!res && PQstatus(conn) == CONNECTION_OK)
        hung(t, conn, "send", sql);
    PQclear(res);
    return t->answer.end != TW_CLIENT_HUNG && !is_cut(t, conn, "send");
}

/* ---- resting ---- */

/* Rests as long as there is time for it; something to read meanwhile is the end of the session. */
static bool rest(struct client_try *t, PGconn *conn, const char *at)
{
    int64_t wanted = tw_now_ns() + (int64_t)(t->client.think_s * 1e9);
    int64_t most = t->deadline_ns - ENOUGH_REST_NS;

    if (!client_poll(PQsocket(conn), POLLIN, wanted < most ? wanted : most))
        return true;
    while (PQconsumeInput(conn) && !PQisBusy(conn) && PQstatus(conn) == CONNECTION_OK &&
           client_poll(PQsocket(conn), POLLIN, tw_now_ns() + 50 * TW_MSEC_NS))
        ;
    if (PQstatus(conn) == CONNECTION_OK)
        return true;
    return !is_cut(t, conn, at);
}

/* One that opens its transactions itself rests in them, others between them. */
static bool try_rests(struct client_try *t, PGconn *conn)
{
    const struct tw_client *c = &t->client;
    bool open = c->send.count && strncasecmp(c->send.items[0], "BEGIN", 5) == 0;

    if (!t->whole || !(c->think_s > 0))
        return true;
    if (c->send.count > 1 && tw_streq(c->origin, "given"))
        return true; /* between its sends it has rested already */
    if (open && !do_quietly(t, conn, "BEGIN"))
        return !is_cut(t, conn, "rest");
    if (!rest(t, conn, "rest"))
        return false;
    (void)do_quietly(t, conn, open ? "ROLLBACK" : "SELECT 1");
    return !is_cut(t, conn, "rest");
}

/* ---- committing ---- */

/* A commit of something: one that waits for a standby that is not there says nothing at all. */
static bool try_commit(struct client_try *t, PGconn *conn)
{
    int64_t deadline = tw_now_ns() + COMMIT_NS;
    struct tw_client_reply *reply;
    PGresult *res;

    if (!do_quietly(t, conn, "BEGIN") ||
        !do_quietly(t, conn, "SELECT pg_logical_emit_message(true, 'twin', '')")) {
        (void)do_quietly(t, conn, "ROLLBACK");
        return !is_cut(t, conn,
                       "commit"); /* it may not write: it has nothing to commit */
    }
    reply = client_reply(t, "COMMIT");
    res = ask(conn, "COMMIT", deadline < t->deadline_ns ? deadline : t->deadline_ns);
    note_result(t, reply, conn, res);
    if (!res && PQstatus(conn) == CONNECTION_OK)
        hung(t, conn, "commit", "COMMIT");
    PQclear(res);
    return t->answer.end != TW_CLIENT_HUNG && !is_cut(t, conn, "commit");
}

/* ---- all of it ---- */

static void replicate(struct client_try *t, PGconn *conn)
{
    struct tw_client_reply *reply = client_reply(t, "IDENTIFY_SYSTEM");
    PGresult *res = ask(conn, "IDENTIFY_SYSTEM", t->deadline_ns);

    note_result(t, reply, conn, res);
    PQclear(res);
    client_wait_for_others(t);
}

static bool send_all(struct client_try *t, PGconn *conn)
{
    bool given = tw_streq(t->client.origin, "given");

    for (size_t i = 0; i < t->client.send.count; i++) {
        if (given && i && t->whole && t->client.think_s > 0 && !rest(t, conn, "rest"))
            return false;
        if (!(given ? try_given : try_known)(t, conn, t->client.send.items[i]))
            return false;
    }
    return true;
}

static void serve(struct client_try *t, PGconn *conn)
{
    if (is_replication(&t->client)) {
        replicate(t, conn);
        return;
    }
    if (!look_around(t, conn))
        return;
    client_wait_for_others(t);
    if (tw_streq(t->client.origin, CLIENT_STRANGER) ||
        tw_streq(t->client.origin, CLIENT_OUTSIDER))
        return;
    if (send_all(t, conn) && try_commit(t, conn))
        (void)try_rests(t, conn);
}

static void run(struct client_try *t)
{
    PGconn *conn;

    client_dial_for_library(t);
    conn = open_session(t);
    if (conn) {
        (void)PQsetNoticeProcessor(conn, take_notice, t);
        t->answer.end = TW_CLIENT_SERVED;
        serve(t, conn);
        PQfinish(conn);
    }
    client_dial_for_library(NULL);
}

extern const struct client_protocol client_protocol_postgresql;
const struct client_protocol client_protocol_postgresql = {
    .name = "postgresql", .port = 5432, .run = run};
