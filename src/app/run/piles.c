/* What the change lets pile up: told by what the arms are bound to do, whether or not it fills anything
 * within the horizon. */
#include "run_internal.h"

#include <math.h>
#include <string.h>

#define FEW_ROWS   1000.0  /* dead rows in less than that disturb nobody */
#define MUCH_DEAD  1.0     /* dead rows for each live one before a vacuum begins: 0.2 is usual */
#define RARELY_S   21600.0 /* between two looks: 60 is usual */

static bool is_neglected(const struct tw_reclaimed *t)
{
    return t->rows >= FEW_ROWS && (t->threshold_rows > FEW_ROWS + MUCH_DEAD * t->rows ||
                                   t->naptime_s > RARELY_S);
}

bool run_pile_is_new(const struct tw_reclaimed *was, const struct tw_reclaimed *now)
{
    return is_neglected(now) && !is_neglected(was);
}

static const struct tw_standing *last(const struct run *r, enum tw_arm arm)
{
    const struct run_standing *both = r->v.standing[arm];

    return both[1].known ? &both[1].of : both[0].known ? &both[0].of : NULL;
}

static const char *waits_for(struct tw_arena *a, const struct tw_reclaimed *t)
{
    if (isinf(t->threshold_rows))
        return tw_arena_printf(a, "'%s' (%s rows): no vacuum ever begins by itself", t->name,
                               tw_show_count(a, t->rows));
    return t->naptime_s > RARELY_S
               ? tw_arena_printf(a, "a vacuum is thought of every %s only (autovacuum_naptime)",
                                 tw_show_seconds(a, t->naptime_s))
               : tw_arena_printf(a, "'%s' has %s rows, and a vacuum begins at %s dead ones", t->name,
                                 tw_show_count(a, t->rows), tw_show_count(a, t->threshold_rows));
}

static bool is_told(const struct run *r, const char *code)
{
    for (size_t i = 0; i < r->v.judged.issues.list.count; i++)
        if (tw_streq(r->v.judged.issues.list.items[i].code, code))
            return true;
    return false;
}

static void tell_vacuum(struct run *r, const struct tw_standing *was, const struct tw_standing *now)
{
    const struct tw_reclaimed *worst = NULL;

    for (size_t i = 0; i < now->tables.count; i++)
        for (size_t k = 0; k < was->tables.count; k++)
            if (tw_streq(now->tables.items[i].name, was->tables.items[k].name) &&
                run_pile_is_new(&was->tables.items[k], &now->tables.items[i]) &&
                (!worst || now->tables.items[i].rows > worst->rows))
                worst = &now->tables.items[i];
    if (!worst || is_told(r, "maintenance.autovacuum"))
        return;
    tw_issue_add(r->v.sim->arena, &r->v.issues, TW_HIGH, TW_REVIEW, "maintenance.autovacuum",
                 "dead rows pile up before a vacuum comes: tables and indexes grow, and slow down",
                 waits_for(r->v.sim->arena, worst),
                 "threshold and scale factor so that a fifth of the rows is enough, naptime of minutes");
}

static void tell_slots(struct run *r, const struct tw_standing *was, const struct tw_standing *now)
{
    struct tw_arena *a = r->v.sim->arena;

    for (size_t i = 0; i < now->counters.count; i++) {
        const struct tw_counter *c = &now->counters.items[i];
        bool old = c->cycles || !tw_streq(c->kind, "slot");

        for (size_t k = 0; k < was->counters.count && !old; k++)
            old = tw_streq(was->counters.items[k].kind, "slot") &&
                  tw_streq(was->counters.items[k].name, c->name);
        if (old)
            continue;
        tw_issue_add(a, &r->v.issues, TW_HIGH, TW_REVIEW, "wal.slot_unused",
                     "a replication slot is made and has no consumer: WAL is kept for it until the disk "
                     "is full",
                     tw_arena_printf(a, "slot '%s' (%s); %s", c->name, c->source,
                                     isinf(now->journal_held_bytes)
                                         ? "max_slot_wal_keep_size does not bound it"
                                         : tw_arena_printf(a, "max_slot_wal_keep_size lets it keep %s",
                                                           tw_show_bytes(a, now->journal_held_bytes))),
                     "make it when its consumer is there, and set max_slot_wal_keep_size");
    }
}

/* wal_keep_size is no bound but a promise: so much will stand there. */
static void tell_journal(struct run *r, const struct tw_standing *was, const struct tw_standing *now)
{
    struct tw_arena *a = r->v.sim->arena;

    for (size_t i = 0; i < r->snapshot.counters.count; i++) {
        const struct tw_counter *c = &r->snapshot.counters.items[i];
        double room = c->limit - c->used;

        if (!tw_streq(c->kind, "disk") || !c->source || !strstr(c->source, "wal") ||
            !(now->journal_least_bytes > room) || !(now->journal_least_bytes > was->journal_least_bytes))
            continue;
        tw_issue_add(a, &r->v.issues, TW_CRITICAL, TW_REVIEW, "disk.wal_room",
                     "more WAL is to be kept than its file system has room for",
                     tw_arena_printf(a, "wal_keep_size asks for %s, '%s' has %s left",
                                     tw_show_bytes(a, now->journal_least_bytes), c->name,
                                     tw_show_bytes(a, room)),
                     "keep less, or a replication slot with max_slot_wal_keep_size");
    }
}

void run_tell_piles(struct run *r)
{
    const struct tw_standing *was = last(r, TW_BASELINE), *now = last(r, TW_CANDIDATE);

    if (!was || !now)
        return;
    tell_vacuum(r, was, now);
    tell_slots(r, was, now);
    tell_journal(r, was, now);
}
