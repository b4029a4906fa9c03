/* Sessions whose statements are waited for with a deadline, and cancelled when it has come. */
#include "schema_internal.h"

#include "tw/redact.h"

#include <libpq-fe.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS   20
#define CANCEL_NS (10 * TW_SEC_NS) /* how long a cancelled statement may take to end */

int schema_session_open(struct tw_twin *twin, const char *database,
                        struct schema_session *ret, struct tw_err *err)
{
    int r = tw_twin_connect(twin, database, &ret->pg, err);

    if (r < 0)
        return tw_wrap(err, r, "entering database '%s'", database);
    ret->pid = PQbackendPID(tw_pg_raw(ret->pg));
    return 0;
}

void schema_session_close(struct schema_session *s)
{
    tw_pg_close(s->pg);
    *s = (struct schema_session){0};
}

bool schema_in_transaction(const struct schema_session *s)
{
    PGTransactionStatusType t = PQtransactionStatus(tw_pg_raw(s->pg));

    return t == PQTRANS_INTRANS || t == PQTRANS_INERROR;
}

bool schema_begin(struct schema_session *s, const char *sql)
{
    return PQsendQuery(tw_pg_raw(s->pg), sql) == 1;
}

static void ask_to_stop(PGconn *conn)
{
    PGcancel *c = PQgetCancel(conn);
    char why[256];

    if (c)
        (void)PQcancel(c, why, sizeof why);
    PQfreeCancel(c);
}

static void keep_result(struct tw_arena *a, const PGresult *res,
                        struct schema_outcome *ret)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
    const char *rows = PQcmdTuples((PGresult *)(uintptr_t)res);

    if (state && !ret->failed) {
        ret->failed = true;
        memcpy(ret->sqlstate, state, strnlen(state, 5));
        ret->words = tw_redact_literals(
            a, tw_arena_printf(a, "%s (SQLSTATE %s)%s%s", text ? text : "no text", state,
                               hint ? "; " : "", hint ? hint : ""));
    }
    if (*rows)
        ret->rows = strtod(rows, NULL);
}

int schema_exec(struct schema_session *s, struct tw_arena *a, const char *sql,
                int64_t deadline_ns, const volatile bool *cancel,
                struct schema_outcome *ret, struct tw_err *err)
{
    PGconn *conn = tw_pg_raw(s->pg);
    struct pollfd p = {.fd = PQsocket(conn), .events = POLLIN};
    int64_t stopped_ns = 0;
    PGresult *res;

    *ret = (struct schema_outcome){.begin_ns = tw_now_ns(), .rows = NAN};
    if (!PQsendQuery(conn, sql))
        return tw_fail(err, -ECONNRESET, "the twin went away before '%.60s'", sql);
    for (;;) {
        if (!PQconsumeInput(conn))
            return tw_fail(err, -ECONNRESET, "the twin went away during '%.60s'", sql);
        while (!PQisBusy(conn)) {
            if (!(res = PQgetResult(conn))) {
                ret->end_ns = tw_now_ns();
                return 0;
            }
            keep_result(a, res, ret);
            PQclear(res);
        }
        if (!stopped_ns && (tw_now_ns() > deadline_ns || (cancel && *cancel))) {
            ask_to_stop(conn);
            stopped_ns = tw_now_ns();
        }
        if (stopped_ns && tw_now_ns() - stopped_ns > CANCEL_NS)
            return tw_fail(err, -ETIMEDOUT, "'%.60s' does not let itself be cancelled",
                           sql);
        (void)poll(&p, 1, LOOK_MS);
    }
}
