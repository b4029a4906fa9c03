/* SQL that was run: what it does to those who use its tables, made into findings and failures.
 *
 * While a lock is waited for and held, requests that need the table arrive and wait, each on a
 * connection of its own: blocked = rate * (waited + held); the server is out of connections after
 * free / rate seconds, where that is sooner than the lock is given back. */
#include "impact_internal.h"

#include <math.h>
#include <string.h>

/* That connections run out, where the target's rate is known, and where it is only assumed. */
#define KNOWN   0.95
#define ASSUMED 0.5

bool impact_ran_sql(const struct tw_impact_facts *f)
{
    return f->schema && f->schema->statements.count > 0;
}

static double shut_s(const struct tw_ddl *d)
{
    return d->waited_s + d->held_s;
}

static const char *seconds(struct impact *i, double s)
{
    return tw_show_seconds(i->arena, s);
}

/* ---- evidence ---- */

static const char *lock_text(struct impact *i, const struct tw_ddl *d)
{
    const char *queue =
        d->queued > 0
            ? tw_arena_printf(
                  i->arena, "; %d session%s of the load waited behind it, the longest %s",
                  d->queued, d->queued == 1 ? "" : "s", seconds(i, d->longest_wait_s))
            : "";

    return tw_arena_printf(
        i->arena,
        "%s\n%s on %s: waited %s for it, held it %s%s; at %.4g requests/s that it stops, "
        "%.4g wait",
        d->text, d->mode, d->relation, seconds(i, d->waited_s), seconds(i, d->held_s),
        queue, d->blocked_per_s, d->blocked_requests);
}

static const struct tw_ddl_safer *safer_of(const struct tw_schema *s, size_t of)
{
    for (size_t i = 0; i < s->safer.count; i++)
        if (s->safer.items[i].of == (int)of && s->safer.items[i].steps.count)
            return &s->safer.items[i];
    return NULL;
}

static const char *remedy(struct impact *i, size_t of, const char *otherwise)
{
    const struct tw_ddl_safer *safer = safer_of(i->facts->schema, of);
    const struct tw_ddl *last;

    if (!safer)
        return otherwise;
    last = &safer->steps.items[safer->steps.count - 1];
    if (last->error)
        return otherwise;
    return tw_arena_printf(i->arena, "%s: tried, its tables were shut for %s at most%s%s",
                           safer->what, seconds(i, safer->stopped_s),
                           safer->note ? "; " : "", safer->note ? safer->note : "");
}

/* ---- one statement ---- */

static void tell_error(struct impact *i, const struct tw_ddl *d)
{
    tw_issue_add(i->arena, &i->ret->issues, TW_CRITICAL, TW_BLOCK, "schema.error",
                 "a statement fails",
                 tw_arena_printf(i->arena, "line %d: %s\n%s", d->line, d->text, d->error),
                 "correct it; what comes after it was not run");
}

static void tell_lock(struct impact *i, size_t of, const struct tw_ddl *d)
{
    const struct tw_impact_facts *f = i->facts;
    bool many = d->blocked_requests >= f->schema_blocked_review;
    enum tw_verdict verdict = !many                                  ? TW_PROCEED
                              : shut_s(d) >= f->schema_hold_block_s  ? TW_BLOCK
                              : shut_s(d) >= f->schema_hold_review_s ? TW_REVIEW
                                                                     : TW_PROCEED;

    if (verdict == TW_PROCEED)
        return;
    tw_issue_add(i->arena, &i->ret->issues, verdict == TW_BLOCK ? TW_CRITICAL : TW_HIGH,
                 verdict, "schema.locks_out",
                 tw_arena_printf(i->arena, "%s of %s are stopped for %s", d->blocks,
                                 d->relation, seconds(i, shut_s(d))),
                 lock_text(i, d), remedy(i, of, "run it when nobody needs the table"));
}

static void tell_rewrite(struct impact *i, size_t of, const struct tw_ddl *d)
{
    if (!(d->rewritten_bytes > 0))
        return;
    tw_issue_add(
        i->arena, &i->ret->issues, TW_MEDIUM, TW_PROCEED, "schema.rewrite",
        tw_arena_printf(i->arena, "%s is written anew",
                        tw_show_bytes(i->arena, d->rewritten_bytes)),
        tw_arena_printf(i->arena, "%s\nfiles replaced: %s, WAL: %s", d->text,
                        tw_show_bytes(i->arena, d->rewritten_bytes),
                        tw_show_bytes(i->arena, d->wal_bytes)),
        remedy(i, of,
               "have as much space free as the table takes, for its files and for "
               "the WAL that standbys and archives get"));
}

static const struct tw_ddl_beside *worst_beside(const struct tw_ddl *d)
{
    const struct tw_ddl_beside *worst = NULL;

    for (size_t k = 0; k < d->beside.count; k++)
        if (!d->beside.items[k].got_through && d->beside.items[k].queued > 0 &&
            (!worst || d->beside.items[k].queued > worst->queued))
            worst = &d->beside.items[k];
    return worst;
}

static const char *out_after(struct impact *i, const struct tw_ddl *d)
{
    double after = i->facts->connections_free / d->blocked_per_s;

    if (!(d->blocked_per_s > 0) || !(after > 0))
        return "";
    return tw_arena_printf(
        i->arena,
        "; at %.4g requests/s that it stops, the %.0f free connections "
        "are taken after %s",
        d->blocked_per_s, i->facts->connections_free, seconds(i, after));
}

static void tell_queue(struct impact *i, size_t of, const struct tw_ddl *d)
{
    const struct tw_ddl_beside *b = worst_beside(d);

    if (!b)
        return;
    tw_issue_add(
        i->arena, &i->ret->issues, TW_LOW, TW_PROCEED, "schema.lock_queue",
        "while a transaction is open on the table it waits, and everybody behind it",
        tw_arena_printf(
            i->arena,
            "%s\nbeside a transaction that %s %s: it waited all of the %s it was "
            "given%s%s, %d sessions of the load behind it%s",
            d->text, b->transaction, b->relation, seconds(i, b->waited_s),
            b->gave_up ? ", until " : "", b->gave_up ? b->gave_up : "", b->queued,
            out_after(i, d)),
        remedy(i, of, "SET lock_timeout before it, and try it again when it gives up"));
}

static void add_failure(struct impact *i, const struct tw_ddl *d)
{
    double after = i->facts->connections_free / d->blocked_per_s;

    if (!(d->blocked_per_s > 0) || !(after >= 0) || after >= shut_s(d))
        return;
    TW_PUSH(i->arena, &i->ret->failures,
            (struct tw_failure){
                .kind = "lock_queue",
                .at_hours = after / 3600,
                .low = after / 3600,
                .high = shut_s(d) / 3600,
                .probability = i->facts->schema->rate_assumed ? ASSUMED : KNOWN,
                .evidence =
                    tw_arena_printf(i->arena,
                                    "%s holds %s on %s for %s; %.4g requests/s wait, "
                                    "each on a connection, and "
                                    "%.0f are free",
                                    d->text, d->mode, d->relation, seconds(i, d->held_s),
                                    d->blocked_per_s, i->facts->connections_free)});
}

/* ---- what the script left ---- */

static void tell_list(struct impact *i, enum tw_severity severity,
                      enum tw_verdict verdict, const char *code, const char *title,
                      const char *const *names, size_t n, const char *what_to_do)
{
    tw_auto_buf b = {0};

    if (n == 0)
        return;
    tw_buf_init(&b, 8192);
    for (size_t k = 0; k < n; k++)
        tw_buf_printf(&b, "%s%s", k ? ", " : "", names[k]);
    tw_issue_add(i->arena, &i->ret->issues, severity, verdict, code, title,
                 tw_buf_text(&b), what_to_do);
}

static void tell_left(struct impact *i, const struct tw_schema *s)
{
    tell_list(i, TW_HIGH, TW_REVIEW, "schema.index_invalid",
              "an index is left behind that no query uses and every write maintains",
              s->invalid.items, s->invalid.count,
              "DROP INDEX CONCURRENTLY it, and build it anew");
    tell_list(
        i, TW_LOW, TW_PROCEED, "schema.statistics",
        "columns have no statistics afterwards: the planner guesses until autovacuum "
        "comes by",
        s->unanalysed.items, s->unanalysed.count, "ANALYZE the table right after it");
    tell_list(i, TW_INFO, TW_PROCEED, "schema.index_unused",
              "no statement of the load uses the new index", s->unused.items,
              s->unused.count,
              "look at EXPLAIN of the statement it is for; every write pays for it");
}

void impact_schema(struct impact *i)
{
    const struct tw_schema *s = i->facts->schema;

    if (!impact_ran_sql(i->facts))
        return;
    i->ret->schema = *s;
    for (size_t k = 0; k < s->statements.count; k++) {
        const struct tw_ddl *d = &s->statements.items[k];

        if (d->error)
            tell_error(i, d);
        if (!d->relation)
            continue;
        tell_lock(i, k, d);
        tell_rewrite(i, k, d);
        tell_queue(i, k, d);
        add_failure(i, d);
    }
    tell_left(i, s);
}
