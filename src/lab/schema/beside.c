/* Each statement beside a transaction that stays open: how long it waits, and how long everybody else
 * waits behind it. It is given up after a while: what is asked is whether it waits at all, and who
 * then stands in the queue; how long that lasts is up to whoever forgot to commit. */
#include "schema_internal.h"

#include <math.h>
#include <string.h>

#define DRAIN_NS (30 * TW_MSEC_NS)

struct beside {
    struct tw_arena *a;
    const struct tw_schema_spec *spec;
    struct tw_ddl *rows;
    double patience_s;
    struct schema_session session, opener;
    struct schema_watch *watch;
    int turn; /* each pass is seen on its own */
    bool
        spoilt; /* a statement that commits by itself went half way: nothing after it makes sense */
};

/* A run of statements that ends with no transaction open. */
struct unit {
    size_t from, to;
    bool alone;
};

static const struct tw_pg_statement *statement_of(const struct beside *b, size_t i)
{
    return &b->spec->script->list.items[i];
}

static int plain(struct beside *b, struct schema_session *s, const char *sql,
                 struct schema_outcome *ret, struct tw_err *err)
{
    return schema_exec(s, b->a, sql, tw_now_ns() + (int64_t)(b->spec->statement_s * 1e9),
                       b->spec->cancel, ret, err);
}

/* ---- the transaction that stays open ---- */

static const char *first_column(struct beside *b, const char *relation)
{
    struct tw_pg_rows rows;
    const char *sql = tw_arena_printf(
        b->a,
        "SELECT pg_catalog.quote_ident(attname) FROM pg_catalog.pg_attribute WHERE "
        "attrelid = %s::pg_catalog.regclass AND attnum > 0 AND NOT attisdropped AND "
        "attgenerated = '' AND attidentity <> 'a' ORDER BY attnum LIMIT 1",
        tw_pg_quote_literal(b->a, relation));

    if (tw_pg_query(b->opener.pg, b->a, sql, 0, NULL, &rows, NULL) < 0 || rows.rows == 0)
        return NULL;
    return tw_pg_cell(&rows, 0, 0);
}

/* Written: a row really is, where that can be done; else the lock that a writer has, and an id. */
static int open_writer(struct beside *b, const char *relation, struct tw_err *err)
{
    const char *column = first_column(b, relation);
    struct schema_outcome o = {.failed = true};
    int r = 0;

    if (column)
        r = plain(
            b, &b->opener,
            tw_arena_printf(b->a,
                            "BEGIN; UPDATE %s SET %s = %s WHERE ctid = (SELECT ctid "
                            "FROM %s LIMIT 1)",
                            relation, column, column, relation),
            &o, err);
    if (r == 0 && o.failed)
        r = plain(b, &b->opener, "ROLLBACK", &o, err);
    else if (r == 0)
        return 0;
    if (r == 0)
        r = plain(b, &b->opener,
                  tw_arena_printf(b->a,
                                  "BEGIN; LOCK TABLE %s IN ROW EXCLUSIVE MODE; SELECT "
                                  "pg_catalog.txid_current()",
                                  relation),
                  &o, err);
    return r;
}

static int open_reader(struct beside *b, const char *relation, struct tw_err *err)
{
    struct schema_outcome o;

    return plain(b, &b->opener,
                 tw_arena_printf(b->a, "BEGIN; SELECT 1 FROM %s LIMIT 1", relation), &o,
                 err);
}

static const struct opening {
    const char *words;
    int (*open)(struct beside *b, const char *relation, struct tw_err *err);
} openings[] = {{"has read", open_reader}, {"has written", open_writer}};

/* ---- one unit beside one of them ---- */

/* The statement of the unit with the strongest lock tells on which table it matters. */
static const struct tw_ddl *strongest(const struct beside *b, const struct unit *u)
{
    const struct tw_ddl *most = NULL;

    for (size_t i = u->from; i <= u->to; i++) {
        const struct tw_ddl *d = &b->rows[i];

        if (d->mode && !d->error &&
            tw_lock_mode_find(d->mode) >= TW_LOCK_SHARE_UPDATE_EXCLUSIVE &&
            (!most || tw_lock_mode_find(d->mode) > tw_lock_mode_find(most->mode)))
            most = d;
    }
    return most;
}

static int wait_beside(struct beside *b, size_t i, struct tw_ddl_beside *ret,
                       struct tw_err *err)
{
    struct schema_outcome o;
    struct schema_seen seen;
    double lasted_s;
    bool waits;
    int r;

    schema_watch_turn(b->watch, b->turn, b->session.pid);
    r = schema_exec(&b->session, b->a, statement_of(b, i)->text,
                    tw_now_ns() + (int64_t)(b->patience_s * 1e9), b->spec->cancel, &o,
                    err);
    if (r < 0)
        return r;
    schema_watch_turn(b->watch, -1, 0);
    schema_watch_get(b->watch, b->a, b->turn, &seen);
    ret->waited_s = 0;
    ret->got_through = !o.failed;
    ret->gave_up = o.failed && !tw_streq(o.sqlstate, "57014") ? o.words : NULL;
    for (size_t k = 0; k < seen.locks.count; k++)
        ret->waited_s = fmax(ret->waited_s, seen.locks.items[k].waited_s);
    /* It waited as long as it was let; where it ran, how long it ran is no wait. */
    lasted_s = tw_seconds(o.end_ns - o.begin_ns);
    /* the watcher's last look may have come when it was cancelled already */
    waits = seen.waits_now || ret->waited_s > lasted_s / 2;
    if (o.failed && waits)
        ret->waited_s = lasted_s;
    ret->got_through |= o.failed && !ret->gave_up && !waits;
    ret->queued = seen.queued;
    ret->longest_wait_s = seen.longest_s;
    return 0;
}

static int run_unit(struct beside *b, const struct unit *u, struct tw_ddl_beside *ret,
                    size_t *ret_at, struct tw_err *err)
{
    struct schema_outcome o;
    bool wrap = !u->alone && !tw_streq(statement_of(b, u->from)->node, "TransactionStmt");
    int r = wrap ? plain(b, &b->session, "BEGIN", &o, err) : 0;

    for (size_t i = u->from; i <= u->to && r == 0; i++) {
        bool ends = i == u->to && i > u->from; /* its COMMIT: not here */

        if (ends)
            break;
        *ret_at = i;
        if (!ret) {
            r = plain(b, &b->session, statement_of(b, i)->text, &o, err);
        } else {
            r = wait_beside(b, i, ret, err);
            if (r == 0 && (!ret->got_through || ret->waited_s > 0))
                break;
        }
    }
    if (r == 0 && schema_in_transaction(&b->session))
        r = plain(b, &b->session, ret ? "ROLLBACK" : "COMMIT", &o, err);
    return r;
}

/* An index is opened by opening its table. */
static const char *table_of(struct beside *b, const char *relation)
{
    struct tw_pg_rows rows;
    const char *sql = tw_arena_printf(
        b->a,
        "SELECT indrelid::pg_catalog.regclass FROM pg_catalog.pg_index WHERE indexrelid "
        "= %s::pg_catalog.regclass",
        tw_pg_quote_literal(b->a, relation));

    if (tw_pg_query(b->opener.pg, b->a, sql, 0, NULL, &rows, NULL) < 0 || rows.rows == 0)
        return relation;
    return tw_pg_cell(&rows, 0, 0);
}

static int try_beside(struct beside *b, const struct unit *u, const struct tw_ddl *main,
                      const struct opening *opening, struct tw_err *err)
{
    struct tw_ddl_beside one = {.transaction = opening->words,
                                .relation = table_of(b, main->relation),
                                .longest_wait_s = NAN};
    struct schema_outcome o;
    size_t at = u->from;
    int r = opening->open(b, one.relation, err);

    b->turn++;
    if (r == 0)
        r = run_unit(b, u, &one, &at, err);
    if (r < 0)
        return r;
    TW_PUSH(b->a, &b->rows[main - b->rows].beside, one);
    r = plain(b, &b->opener, "ROLLBACK", &o, err);
    tw_sleep_ns(DRAIN_NS);
    return r;
}

static bool next_unit(const struct beside *b, size_t from, struct unit *ret)
{
    size_t n = b->spec->script->list.count;

    if (from >= n)
        return false;
    *ret = (struct unit){from, from, statement_of(b, from)->alone};
    if (!tw_streq(statement_of(b, from)->node, "TransactionStmt"))
        return true;
    for (ret->to = from + 1; ret->to < n - 1; ret->to++)
        if (tw_streq(statement_of(b, ret->to)->node, "TransactionStmt"))
            break;
    ret->to = ret->to < n ? ret->to : n - 1;
    return true;
}

/* What commits by itself is tried once, beside a writer: it cannot be taken back. */
static int try_unit(struct beside *b, const struct unit *u, struct tw_err *err)
{
    const struct tw_ddl *main = strongest(b, u);
    size_t at;
    int r = 0;

    for (size_t k = u->alone ? 1 : 0; main && k < TW_COUNT_OF(openings) && r == 0; k++)
        r = try_beside(b, u, main, &openings[k], err);
    b->spoilt = main && u->alone;
    if (r == 0 && !b->spoilt && u->to + 1 < b->spec->script->list.count)
        r = run_unit(b, u, NULL, &at, err);
    return r;
}

int tw_schema_beside(struct tw_arena *a, const struct tw_schema_spec *spec,
                     struct tw_ddl *statements, double patience_s, struct tw_err *err)
{
    struct beside b = {
        .a = a, .spec = spec, .rows = statements, .patience_s = patience_s, .turn = -1};
    struct schema_backdrop *backdrop = NULL;
    struct unit u;
    int r = schema_session_open(spec->twin, spec->database, &b.session, err);

    if (r == 0)
        r = schema_session_open(spec->twin, spec->database, &b.opener, err);
    if (r == 0)
        r = schema_watch_open(spec->twin, spec->database,
                              TW_COUNT_OF(openings) * spec->script->list.count, &b.watch,
                              err);
    if (r == 0)
        backdrop = schema_backdrop_start(spec);
    for (size_t i = 0; r == 0 && !b.spoilt && next_unit(&b, i, &u); i = u.to + 1) {
        if (statements[u.to].error)
            break;
        r = try_unit(&b, &u, err);
    }
    schema_session_close(&b.opener);
    schema_backdrop_stop(backdrop);
    schema_watch_close(b.watch);
    schema_session_close(&b.session);
    if (r == 0)
        tw_step("schema.beside.done");
    return r;
}
