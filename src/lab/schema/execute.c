/* A script run on a twin, statement by statement, each in a transaction of its own unless the script
 * says otherwise: what it locks is asked of its own session before that ends, so that the lock of a
 * statement that takes a millisecond is known as surely as that of one that takes an hour. */
#include "schema_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the load looks like without any statement. */
#define BEFORE_NS (360 * TW_MSEC_NS)
#define AFTER_NS  (20 * TW_MSEC_NS)
#define RETRIES   20
#define PAUSE_NS  (50 * TW_MSEC_NS)
/* How long the transaction stays open beside which a retried statement has to get through. */
#define OPEN_S 0.5
/* DML that touches fewer rows than this locks no one out. */
#define MANY_ROWS 1000

struct written {
    double wal, temp; /* bytes since the server began; NaN unknown */
    int64_t at_ns;
};
struct step {                     /* one statement, as it went */
    int64_t begin_ns, release_ns; /* release: its transaction has ended */
    double own_s;                 /* spent asking, between the two */
    struct schema_outcome outcome;
    TW_ARRAY(struct schema_lock) held; /* as its own session told */
    bool ran;
};
struct execution {
    struct tw_arena *a;
    const struct tw_schema_spec *spec;
    struct tw_schema_ran *ret;
    struct schema_session session, look, opener;
    struct schema_watch *watch;
    struct schema_backdrop *backdrop;
    struct schema_catalog first, last;
    struct schema_touches touches;
    struct step *steps;
    struct written quiet; /* per second, while only the load writes */
    int64_t before_from_ns, before_to_ns;
    size_t transaction; /* index of the first statement of the one that is open */
};

static const struct tw_pg_statement *statement_of(const struct execution *x, size_t i)
{
    return &x->spec->script->list.items[i];
}

/* ---- what is written ---- */

static struct written written_now(struct execution *x)
{
    struct written w = {NAN, NAN, tw_now_ns()};
    struct tw_pg_rows rows;

    if (tw_pg_query(x->look.pg, x->a,
                    "SELECT pg_catalog.pg_current_wal_insert_lsn() - '0/0', "
                    "(SELECT sum(temp_bytes) FROM pg_catalog.pg_stat_database)",
                    0, NULL, &rows, NULL) < 0)
        return w;
    w.wal = strtod(tw_pg_cell(&rows, 0, 0), NULL);
    w.temp = strtod(tw_pg_cell(&rows, 0, 1), NULL);
    return w;
}

static double beyond(double from, double to, double quiet_per_s, double seconds)
{
    return fmax(0, to - from - quiet_per_s * seconds);
}

static void note_written(struct execution *x, struct tw_ddl *d,
                         const struct written *from)
{
    struct written to = written_now(x);
    double seconds = tw_seconds(to.at_ns - from->at_ns);

    d->wal_bytes = beyond(from->wal, to.wal, x->quiet.wal, seconds);
    d->temp_bytes = beyond(from->temp, to.temp, x->quiet.temp, seconds);
}

/* ---- locks, as the session itself tells ---- */

static void ask_locks(struct execution *x, struct step *s)
{
    struct tw_pg_rows rows;
    int64_t begun = tw_now_ns();

    if (tw_pg_query(x->session.pg, x->a,
                    "SELECT relation::pg_catalog.int8, mode FROM pg_catalog.pg_locks "
                    "WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'relation' "
                    "AND granted AND relation >= 16384",
                    0, NULL, &rows, NULL) == 0)
        for (int i = 0; i < rows.rows; i++) {
            struct schema_lock one = {
                (unsigned)strtoul(tw_pg_cell(&rows, i, 0), NULL, 10),
                tw_lock_mode_find(tw_pg_cell(&rows, i, 1)), 0};

            TW_PUSH(x->a, &s->held, one);
        }
    s->own_s += tw_seconds(tw_now_ns() - begun);
}

/* ---- running ---- */

static int plain(struct execution *x, const char *sql, struct tw_err *err)
{
    struct schema_outcome unused;

    return schema_exec(&x->session, x->a, sql, tw_now_ns() + 60 * TW_SEC_NS, NULL,
                       &unused, err);
}

/* Batches show after a while what they do to others; all of them would show no more. */
static const char *shortened(struct execution *x, const char *sql)
{
    static const char loop[] = "WHILE low IS NOT NULL LOOP";
    const char *at = strstr(sql, loop);

    if (!(x->spec->batches_s > 0) || !tw_starts_with(sql, TW_SCHEMA_BATCHES) || !at)
        return sql;
    return tw_arena_printf(x->a,
                           "%.*sWHILE low IS NOT NULL AND clock_timestamp() < "
                           "statement_timestamp() + interval '%g s' LOOP%s",
                           (int)(at - sql), sql, x->spec->batches_s, at + strlen(loop));
}

static int send(struct execution *x, size_t i, struct step *s, struct tw_err *err)
{
    return schema_exec(&x->session, x->a, shortened(x, statement_of(x, i)->text),
                       tw_now_ns() + (int64_t)(x->spec->statement_s * 1e9),
                       x->spec->cancel, &s->outcome, err);
}

static bool gave_up(const struct step *s)
{
    return s->outcome.failed && tw_streq(s->outcome.sqlstate, "55P03");
}

/* Inside of a transaction, ours or the script's, its locks can be asked before they go. */
static int run_once(struct execution *x, size_t i, struct step *s, struct tw_err *err)
{
    bool wrap = !schema_in_transaction(&x->session) && !statement_of(x, i)->alone &&
                !tw_streq(statement_of(x, i)->node, "TransactionStmt");
    int r = wrap ? plain(x, "BEGIN", err) : 0;

    if (r < 0)
        return r;
    s->begin_ns = tw_now_ns();
    s->own_s = 0;
    s->held.count = 0;
    schema_watch_turn(x->watch, (int)i, x->session.pid);
    r = send(x, i, s, err);
    if (r == 0 && !s->outcome.failed && schema_in_transaction(&x->session))
        ask_locks(x, s);
    if (r == 0 && wrap)
        r = plain(x, s->outcome.failed ? "ROLLBACK" : "COMMIT", err);
    s->ran = true;
    return r;
}

static int run_statement(struct execution *x, size_t i, struct tw_err *err)
{
    struct step *s = &x->steps[i];
    int r = run_once(x, i, s, err);

    while (r == 0 && x->spec->retry && gave_up(s) && x->ret->tries < RETRIES &&
           !schema_in_transaction(&x->session)) {
        x->ret->tries++;
        schema_watch_turn(x->watch, -1, 0);
        tw_sleep_ns(PAUSE_NS);
        r = run_once(x, i, s, err);
    }
    return r;
}

/* All statements of the transaction that has just ended gave their locks back now. */
static void release(struct execution *x, size_t last)
{
    int64_t now = tw_now_ns();

    for (size_t k = x->transaction; k <= last; k++)
        x->steps[k].release_ns = now;
    x->transaction = last + 1;
}

static int run_one(struct execution *x, size_t i, bool *ret_stop, struct tw_err *err)
{
    struct tw_ddl *d = &x->ret->statements.items[i];
    struct step *s = &x->steps[i];
    struct written from = written_now(x);
    int r = run_statement(x, i, err);

    if (r < 0)
        return r;
    d->seconds = tw_seconds(s->outcome.end_ns - s->outcome.begin_ns);
    d->rows = s->outcome.rows;
    if (s->outcome.failed) {
        d->error = s->outcome.words;
        *ret_stop = true;
        if (schema_in_transaction(&x->session))
            (void)plain(x, "ROLLBACK", NULL);
    }
    if (!schema_in_transaction(&x->session)) {
        release(x, i);
        schema_watch_turn(x->watch, -1, 0);
        (void)tw_pg_exec(x->session.pg, "SELECT pg_catalog.pg_stat_force_next_flush()",
                         NULL);
    }
    note_written(x, d, &from);
    return 0;
}

/* ---- what it left: files replaced and made ---- */

static bool is_hidden(const struct schema_relation *r)
{
    return r->kind == 'v';
}

static void add_files(const struct schema_catalog *was, const struct schema_catalog *is,
                      struct tw_ddl *d)
{
    for (size_t i = 0; i < is->relations.count; i++) {
        const struct schema_relation *now = &is->relations.items[i];
        const struct schema_relation *old = schema_catalog_find(was, now->oid);

        if (now->file == 0 || is_hidden(now) || (old && old->file == now->file))
            continue;
        if (old)
            d->rewritten_bytes += now->bytes;
        else
            d->built_bytes += now->bytes;
    }
}

/* Within a transaction of several statements nobody else sees what one of them did: it belongs to the
 * one that took longest. */
static struct tw_ddl *heaviest(struct execution *x, size_t from, size_t to)
{
    struct tw_ddl *most = &x->ret->statements.items[to];

    for (size_t i = from; i <= to; i++)
        if (x->ret->statements.items[i].seconds > most->seconds)
            most = &x->ret->statements.items[i];
    return most;
}

static int note_files(struct execution *x, size_t from, size_t to, struct tw_err *err)
{
    struct schema_catalog now;
    int r;

    if (schema_in_transaction(&x->session))
        return 0;
    r = schema_catalog_read(x->a, x->look.pg, &now, err);
    if (r == 0)
        add_files(&x->last, &now, heaviest(x, from, to));
    if (r == 0)
        x->last = now;
    return r;
}

/* ---- locks made into figures ---- */

static const struct schema_relation *relation_of(const struct execution *x, unsigned oid)
{
    return schema_catalog_find(&x->first, oid);
}

/* Share of the table's rows that a statement touched. */
static double rows_share(const struct tw_ddl *d, const struct schema_relation *table)
{
    if (!(d->rows >= MANY_ROWS) || !(table->rows > 0))
        return 0;
    return fmin(1, d->rows / table->rows);
}

/* Of several locks the statement is known by the one that stops most requests; of equals by the
 * strongest, of these by that of the table. */
static bool matters_more(const struct tw_ddl *d, double requests, enum tw_lock_mode mode,
                         bool index)
{
    enum tw_lock_mode best = tw_lock_mode_find(d->mode);

    if (!d->relation || requests != d->blocked_requests)
        return !d->relation || requests > d->blocked_requests;
    return mode > best || (mode == best && !index);
}

static void add_lock(struct execution *x, size_t i, const struct schema_lock *l,
                     double waited_s)
{
    struct tw_ddl *d = &x->ret->statements.items[i];
    const struct step *s = &x->steps[i];
    const struct schema_relation *rel = relation_of(x, l->relation);
    const struct schema_relation *table = rel ? relation_of(x, rel->table) : NULL;
    struct tw_ddl_lock one = {.mode = tw_lock_mode_names[l->mode], .waited_s = waited_s};
    double stopped;

    if (!table || rel->kind == 't' || l->mode <= TW_LOCK_ROW_SHARE)
        return;
    one.relation = rel->name;
    one.held_s = fmax(0, tw_seconds(s->release_ns - s->begin_ns) - s->own_s - waited_s);
    TW_PUSH(x->a, &d->locks, one);
    stopped = schema_share_stopped(&x->touches, table, l->mode, rows_share(d, table)) *
              (isnan(x->spec->target_rate_per_s) ? x->spec->rate_per_s
                                                 : x->spec->target_rate_per_s);
    if (!matters_more(d, stopped * (one.waited_s + one.held_s), l->mode,
                      schema_is_index(rel)))
        return;
    d->relation = rel->name;
    d->mode = one.mode;
    d->blocks = l->mode == TW_LOCK_ROW_EXCLUSIVE && rows_share(d, table) > 0
                    ? "writes of the rows it touches"
                    : tw_lock_mode_blocks(l->mode);
    d->waited_s = one.waited_s;
    d->held_s = one.held_s;
    d->blocked_per_s = stopped;
    d->blocked_requests = stopped * (one.waited_s + one.held_s);
}

static bool was_held(const struct execution *x, size_t i, const struct schema_lock *l)
{
    for (size_t k = i; k-- > 0 && x->steps[k].release_ns == x->steps[i].release_ns;)
        for (size_t n = 0; n < x->steps[k].held.count; n++)
            if (x->steps[k].held.items[n].relation == l->relation &&
                x->steps[k].held.items[n].mode == l->mode)
                return true;
    return false;
}

/* Seen by the watcher and told by the session itself are one list. */
static void note_locks(struct execution *x, size_t i)
{
    struct step *s = &x->steps[i];
    struct tw_ddl *d = &x->ret->statements.items[i];
    struct schema_seen seen;

    schema_watch_get(x->watch, x->a, (int)i, &seen);
    d->queued = seen.queued;
    d->longest_wait_s = seen.longest_s;
    d->queued_text = seen.queued_text;
    for (size_t k = 0; k < s->held.count; k++) {
        struct schema_lock *l = &s->held.items[k];

        for (size_t n = 0; n < seen.locks.count; n++)
            if (seen.locks.items[n].relation == l->relation &&
                seen.locks.items[n].mode == l->mode)
                l->waited_s = seen.locks.items[n].waited_s;
        if (!was_held(x, i, l))
            add_lock(x, i, l, l->waited_s);
    }
    /* The word that ends a transaction takes none of the locks that it gives back. */
    if (tw_streq(statement_of(x, i)->node, "TransactionStmt"))
        return;
    for (size_t n = 0; n < seen.locks.count && s->held.count == 0; n++)
        add_lock(x, i, &seen.locks.items[n], seen.locks.items[n].waited_s);
}

static int stronger(const void *a, const void *b)
{
    const struct tw_ddl_lock *l = a, *r = b;

    return (int)tw_lock_mode_find(r->mode) - (int)tw_lock_mode_find(l->mode);
}

static void finish(struct execution *x)
{
    for (size_t i = 0; i < x->ret->statements.count; i++) {
        struct tw_ddl *d = &x->ret->statements.items[i];

        if (!x->steps[i].ran)
            continue;
        note_locks(x, i);
        if (d->locks.count)
            qsort(d->locks.items, d->locks.count, sizeof *d->locks.items, stronger);
        d->p95_before_ms =
            schema_backdrop_p95_ms(x->backdrop, x->before_from_ns, x->before_to_ns);
        d->p95_during_ms = schema_backdrop_p95_ms(x->backdrop, x->steps[i].begin_ns,
                                                  x->steps[i].release_ns);
    }
}

/* ---- what is different afterwards ---- */

/* A column that was analysed before, or the expression of a new index. What is new has nothing to
 * lose. */
static bool has_lost(const struct schema_catalog *was, const struct schema_catalog *is,
                     const struct schema_column *c)
{
    const struct schema_relation *old = schema_catalog_find(was, c->relation);
    const struct schema_relation *now = schema_catalog_find(is, c->relation);

    if (!old || old->columns < c->number)
        return !old && now && schema_is_index(now);
    for (size_t i = 0; i < was->unanalysed.count; i++)
        if (was->unanalysed.items[i].relation == c->relation &&
            was->unanalysed.items[i].number == c->number)
            return false;
    return true;
}

static bool is_written(const struct execution *x, const struct schema_catalog *c,
                       const struct schema_relation *r)
{
    const struct schema_relation *table = schema_catalog_find(c, r->table);

    return table && schema_is_written(&x->touches, table);
}

static void compare(struct execution *x)
{
    const struct schema_catalog *was = &x->first, *is = &x->last;

    for (size_t i = 0; i < is->relations.count; i++) {
        const struct schema_relation *now = &is->relations.items[i];
        const struct schema_relation *old = schema_catalog_find(was, now->oid);
        bool written = is_written(x, is, now);

        if (schema_is_index(now) && !old && now->invalid)
            TW_PUSH(x->a, &x->ret->invalid, now->name);
        else if (schema_is_index(now) && !old && schema_catalog_find(was, now->table))
            TW_PUSH(x->a, &x->ret->created, now->name);
        if (written && old && old->triggers != now->triggers)
            x->ret->lasting = true;
    }
    for (size_t i = 0; i < is->unanalysed.count; i++)
        if (has_lost(was, is, &is->unanalysed.items[i]))
            TW_PUSH(x->a, &x->ret->unanalysed, is->unanalysed.items[i].name);
}

/* ---- the whole ---- */

static void blank(struct execution *x)
{
    size_t n = x->spec->script->list.count;

    x->steps = tw_arena_alloc(x->a, (n + 1) * sizeof *x->steps);
    for (size_t i = 0; i < n; i++) {
        const struct tw_pg_statement *s = statement_of(x, i);

        TW_PUSH(x->a, &x->ret->statements,
                (struct tw_ddl){.text = s->text,
                                .line = s->line,
                                .blocks = tw_lock_mode_blocks(TW_LOCK_NONE),
                                .waited_s = 0,
                                .held_s = 0,
                                .seconds = NAN,
                                .longest_wait_s = NAN,
                                .p95_before_ms = NAN,
                                .p95_during_ms = NAN,
                                .wal_bytes = NAN,
                                .temp_bytes = NAN,
                                .rows = NAN});
    }
}

static int open_all(struct execution *x, struct tw_err *err)
{
    const struct tw_schema_spec *spec = x->spec;
    int r = schema_session_open(spec->twin, spec->database, &x->session, err);

    if (r == 0)
        r = schema_session_open(spec->twin, spec->database, &x->look, err);
    if (r == 0 && spec->open_on)
        r = schema_session_open(spec->twin, spec->database, &x->opener, err);
    if (r == 0)
        r = schema_watch_open(spec->twin, spec->database, spec->script->list.count,
                              &x->watch, err);
    if (r == 0)
        r = schema_catalog_read(x->a, x->look.pg, &x->first, err);
    x->last = x->first;
    return r;
}

static void close_all(struct execution *x)
{
    schema_backdrop_stop(x->backdrop);
    schema_watch_close(x->watch);
    schema_session_close(&x->session);
    schema_session_close(&x->look);
    schema_session_close(&x->opener);
}

static void look_before(struct execution *x)
{
    struct written from, to;
    double seconds;

    x->backdrop = schema_backdrop_start(x->spec);
    x->before_from_ns = tw_now_ns();
    from = written_now(x);
    if (x->spec->load)
        tw_sleep_ns(BEFORE_NS);
    to = written_now(x);
    x->before_to_ns = tw_now_ns();
    seconds = tw_seconds(to.at_ns - from.at_ns);
    x->quiet = (struct written){(to.wal - from.wal) / seconds,
                                (to.temp - from.temp) / seconds, 0};
    if (!x->spec->load)
        x->quiet.wal = x->quiet.temp = 0;
}

static void open_transaction(struct execution *x)
{
    if (x->spec->open_on)
        (void)schema_begin(&x->opener,
                           tw_arena_printf(x->a,
                                           "BEGIN; SELECT 1 FROM %s LIMIT 1; SELECT "
                                           "pg_catalog.pg_sleep(%g); COMMIT",
                                           x->spec->open_on, OPEN_S));
}

static int run_script(struct execution *x, struct tw_err *err)
{
    bool stop = false;
    size_t from = 0;
    int r = 0;

    for (size_t i = 0; i < x->spec->script->list.count && r == 0 && !stop; i++) {
        if (x->spec->cancel && *x->spec->cancel)
            return tw_fail(err, -ECANCELED, "cancelled before statement %zu", i + 1);
        r = run_one(x, i, &stop, err);
        if (r == 0)
            r = note_files(x, from, i, err);
        if (!schema_in_transaction(&x->session))
            from = i + 1;
        tw_step("schema.statement.ran");
    }
    if (r == 0 && schema_in_transaction(&x->session)) {
        r = plain(x, "ROLLBACK", err);
        release(x, x->spec->script->list.count - 1);
    }
    schema_watch_turn(x->watch, -1, 0);
    return r;
}

int tw_schema_run(struct tw_arena *a, const struct tw_schema_spec *spec,
                  struct tw_schema_ran *ret, struct tw_err *err)
{
    struct execution x = {.a = a, .spec = spec, .ret = ret};
    int r;

    *ret = (struct tw_schema_ran){0};
    blank(&x);
    schema_touches_of(a, spec->mix, &x.touches);
    r = open_all(&x, err);
    if (r == 0) {
        look_before(&x);
        open_transaction(&x);
        r = run_script(&x, err);
        if (r == 0 && spec->load)
            tw_sleep_ns(AFTER_NS);
        schema_backdrop_end(x.backdrop);
    }
    if (r == 0) {
        finish(&x);
        compare(&x);
    }
    close_all(&x);
    return r;
}
