/* The watcher: a session of its own that looks at the lock table every few milliseconds. */
#include "schema_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A look costs some tenths of a millisecond of the twin's own time: at first they follow closely, for
 * short statements, then at a pace that costs little. */
#define CLOSELY_NS (30 * TW_MSEC_NS)
#define PACE_NS    (4 * TW_MSEC_NS)
#define COST_SHARE 12 /* the pause is at least so many times what a look took */
#define IDLE_NS    (TW_MSEC_NS / 2)

struct schema_watch {
    struct tw_pg *pg;
    pthread_t thread;
    pthread_mutex_t lock; /* of all that follows */
    bool running, stop;
    int turn, pid;
    int64_t turn_ns;
    struct tw_arena *a;
    struct schema_seen *seen;
    size_t count;
};

static const char look_text[] =
    "PREPARE twin_watch(int) AS "
    "SELECT 'l', l.relation::pg_catalog.int8, l.mode, l.granted, %s, NULL FROM "
    "pg_catalog.pg_locks l WHERE l.pid = $1 AND l.locktype = 'relation' AND l.relation "
    ">= "
    "16384 UNION ALL SELECT 'o', 0, l.mode, false, %s, NULL FROM pg_catalog.pg_locks l "
    "WHERE l.pid = $1 AND NOT l.granted AND l.locktype <> 'relation' UNION ALL "
    "SELECT 'w', l.pid, l.mode, false, %s, a.query FROM pg_catalog.pg_locks l JOIN "
    "pg_catalog.pg_stat_activity a ON a.pid = l.pid WHERE NOT l.granted AND l.pid <> $1 "
    "AND $1 = ANY (pg_catalog.pg_blocking_pids(l.pid))";

static struct schema_lock *lock_of(struct schema_watch *w, struct schema_seen *s,
                                   unsigned relation, enum tw_lock_mode mode)
{
    for (size_t i = 0; i < s->locks.count; i++)
        if (s->locks.items[i].relation == relation && s->locks.items[i].mode == mode)
            return &s->locks.items[i];
    TW_PUSH(w->a, &s->locks, (struct schema_lock){relation, mode, 0});
    return &s->locks.items[s->locks.count - 1];
}

static void see(struct schema_watch *w, struct schema_seen *s,
                const struct tw_pg_rows *rows)
{
    int queued = 0;

    s->waits_now = false;
    for (int i = 0; i < rows->rows; i++) {
        const char *kind = tw_pg_cell(rows, i, 0), *wait = tw_pg_cell(rows, i, 4);
        double waited = wait ? strtod(wait, NULL) : NAN;
        bool granted = tw_streq(tw_pg_cell(rows, i, 3), "t");

        s->waits_now |= *kind != 'w' && !granted;
        if (*kind == 'l') {
            struct schema_lock *l =
                lock_of(w, s, (unsigned)strtoul(tw_pg_cell(rows, i, 1), NULL, 10),
                        tw_lock_mode_find(tw_pg_cell(rows, i, 2)));

            if (!granted)
                l->waited_s = fmax(l->waited_s, waited);
        } else if (*kind == 'w') {
            queued++;
            if (isnan(s->longest_s) || waited > s->longest_s) {
                s->longest_s = fmax(waited, 0);
                s->queued_text = tw_arena_strdup(w->a, tw_pg_cell(rows, i, 5));
            }
        }
    }
    s->queued = queued > s->queued ? queued : s->queued;
}

/* One look; what was seen belongs to the statement whose turn it was when it began. */
static int look(struct schema_watch *w)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_pg_rows rows;
    int turn, pid, r;

    (void)pthread_mutex_lock(&w->lock);
    turn = w->turn;
    pid = w->pid;
    (void)pthread_mutex_unlock(&w->lock);
    if (turn < 0)
        return 0;
    r = tw_pg_query(w->pg, a, tw_arena_printf(a, "EXECUTE twin_watch(%d)", pid), 0, NULL,
                    &rows, NULL);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&w->lock);
    if (w->turn == turn)
        see(w, &w->seen[turn], &rows);
    (void)pthread_mutex_unlock(&w->lock);
    return 1;
}

static void *watch_main(void *arg)
{
    struct schema_watch *w = arg;

    for (;;) {
        int64_t begun = tw_now_ns(), pause, since;
        int r = look(w);
        bool stop;

        (void)pthread_mutex_lock(&w->lock);
        stop = w->stop;
        since = begun - w->turn_ns;
        (void)pthread_mutex_unlock(&w->lock);
        if (stop || r < 0)
            return NULL;
        pause = COST_SHARE * (tw_now_ns() - begun);
        tw_sleep_ns(r == 0               ? IDLE_NS
                    : since < CLOSELY_NS ? IDLE_NS / 2
                    : pause > PACE_NS    ? pause
                                         : PACE_NS);
    }
}

int schema_watch_open(struct tw_twin *twin, const char *database, size_t statements,
                      struct schema_watch **ret, struct tw_err *err)
{
    struct schema_watch *w = tw_alloc(sizeof *w);
    const char *since;
    tw_auto_free char *sql = NULL;
    int r;

    w->a = tw_arena_new();
    w->count = statements;
    w->turn = -1;
    w->seen = tw_alloc((statements + 1) * sizeof *w->seen);
    for (size_t i = 0; i < statements; i++)
        w->seen[i].longest_s = NAN;
    (void)pthread_mutex_init(&w->lock, NULL);
    r = tw_twin_connect(twin, database, &w->pg, err);
    if (r == 0) {
        since = tw_pg_version(w->pg) >= 140000
                    ? "extract(epoch FROM pg_catalog.clock_timestamp() - l.waitstart)"
                    : "NULL::float8";
        sql = tw_strf(look_text, since, since, since);
        r = tw_pg_exec(w->pg, sql, err);
    }
    if (r == 0 && pthread_create(&w->thread, NULL, watch_main, w) != 0)
        r = tw_fail(err, -EAGAIN, "starting a thread");
    if (r < 0) {
        schema_watch_close(w);
        return tw_wrap(err, r, "watching locks");
    }
    w->running = true;
    *ret = w;
    return 0;
}

void schema_watch_turn(struct schema_watch *w, int statement, int pid)
{
    (void)pthread_mutex_lock(&w->lock);
    w->turn = statement;
    w->pid = pid;
    w->turn_ns = tw_now_ns();
    (void)pthread_mutex_unlock(&w->lock);
}

void schema_watch_get(struct schema_watch *w, struct tw_arena *a, int statement,
                      struct schema_seen *ret)
{
    const struct schema_seen *s = &w->seen[statement];

    (void)pthread_mutex_lock(&w->lock);
    *ret = *s;
    ret->locks.items = NULL;
    ret->locks.count = 0;
    for (size_t i = 0; i < s->locks.count; i++)
        TW_PUSH(a, &ret->locks, s->locks.items[i]);
    ret->queued_text = tw_arena_strdup(a, s->queued_text);
    (void)pthread_mutex_unlock(&w->lock);
}

void schema_watch_close(struct schema_watch *w)
{
    if (!w)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->stop = true;
    (void)pthread_mutex_unlock(&w->lock);
    if (w->running)
        (void)pthread_join(w->thread, NULL);
    tw_pg_close(w->pg);
    (void)pthread_mutex_destroy(&w->lock);
    tw_arena_free(w->a);
    free(w->seen);
    free(w);
}
