/* Queries whose results are text cells in an arena. */
#include "pg_internal.h"

#include <stdio.h>
#include <string.h>

static int server_error(struct tw_pg *pg, const PGresult *res, struct tw_err *err)
{
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *text = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;

    (void)snprintf(pg->sqlstate, sizeof(pg->sqlstate), "%s", state ? state : "");
    if (!state)
        return tw_fail(err, -ECONNRESET, "the connection to the server is gone");
    return tw_fail(err, tw_streq(state, "42501") ? -EACCES : -EPROTO, "%s (SQLSTATE %s)",
                   text ? text : "no text", state);
}

const char *tw_pg_cell(const struct tw_pg_rows *r, int row, int column)
{
    return r->cells[row * r->columns + column];
}

static void copy_rows(struct tw_pg *pg, struct tw_arena *a, const PGresult *res,
                      struct tw_pg_rows *ret)
{
    ret->rows = PQntuples(res);
    ret->columns = PQnfields(res);
    ret->cells =
        tw_arena_alloc(a, (size_t)(ret->rows * ret->columns + 1) * sizeof(char *));
    for (int i = 0; i < ret->rows; i++) {
        for (int j = 0; j < ret->columns; j++) {
            if (PQgetisnull(res, i, j))
                continue;
            pg->bytes += PQgetlength(res, i, j);
            ret->cells[i * ret->columns + j] = tw_arena_strdup(a, PQgetvalue(res, i, j));
        }
    }
}

int tw_pg_query(struct tw_pg *pg, struct tw_arena *a, const char *sql, int count,
                const char *const *params, struct tw_pg_rows *ret, struct tw_err *err)
{
    PGresult *res = count
                        ? PQexecParams(pg->conn, sql, count, NULL, params, NULL, NULL, 0)
                        : PQexec(pg->conn, sql);
    ExecStatusType status = PQresultStatus(res);
    int r = 0;

    pg->statements++;
    pg->sqlstate[0] = '\0';
    if (status == PGRES_TUPLES_OK)
        copy_rows(pg, a, res, ret);
    else if (status == PGRES_COMMAND_OK)
        *ret = (struct tw_pg_rows){0};
    else
        r = server_error(pg, res, err);
    PQclear(res);
    return r;
}

int tw_pg_exec(struct tw_pg *pg, const char *sql, struct tw_err *err)
{
    PGresult *res = PQexec(pg->conn, sql);
    ExecStatusType status = PQresultStatus(res);
    int r = 0;

    pg->statements++;
    pg->sqlstate[0] = '\0';
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        r = server_error(pg, res, err);
    PQclear(res);
    return r;
}

int tw_pg_double(struct tw_pg *pg, const char *sql, double *ret, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_pg_rows rows;
    int r = tw_pg_query(pg, a, sql, 0, NULL, &rows, err);

    if (r < 0)
        return r;
    if (rows.rows < 1 || rows.columns < 1 || !tw_pg_cell(&rows, 0, 0))
        return tw_fail(err, -ENODATA, "no row from: %s", sql);
    return tw_parse_double(tw_pg_cell(&rows, 0, 0), ret, err);
}

/* Identifiers and literals without a connection: standard_conforming_strings is on by
 * default and a backslash makes it an escape string, so both are safe anywhere. */
static char *quote(struct tw_arena *a, const char *s, char q, const char *prefix)
{
    tw_auto_buf out = {0};

    tw_buf_init(&out, 1 << 20);
    tw_buf_printf(&out, "%s%c", prefix, q);
    for (; *s; s++) {
        if (*s == q || (*prefix && *s == '\\'))
            tw_buf_add(&out, s, 1);
        tw_buf_add(&out, s, 1);
    }
    tw_buf_add(&out, &q, 1);
    return tw_arena_strdup(a, tw_buf_text(&out));
}

char *tw_pg_quote_ident(struct tw_arena *a, const char *s)
{
    bool plain = *s && (*s == '_' || (*s >= 'a' && *s <= 'z'));

    for (const char *c = s; *c && plain; c++)
        plain = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_';
    return plain ? tw_arena_strdup(a, s) : quote(a, s, '"', "");
}

char *tw_pg_quote_literal(struct tw_arena *a, const char *s)
{
    return quote(a, s, '\'', strchr(s, '\\') ? "E" : "");
}
