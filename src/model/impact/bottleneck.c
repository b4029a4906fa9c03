#include "impact_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* From this share of its allotment on, waits for anything else are mostly waits for the
 * CPU in disguise: a session that holds a lock is not running either. */
#define CPU_FULL      0.75
#define CPU_SATURATED 0.90
#define WAIT_MATTERS  0.05 /* smaller shares are no row */
#define POOL_MATTERS  0.60 /* share of the connections that clients may have */
/* Spilling goes through the page cache, written and read once: about a gigabyte a second.
 */
#define SPILL_BYTES_PER_S 1e9
#define SPILL_MATTERS     0.15 /* share of a request's time */
#define HOT_STATEMENT     0.60 /* share of the time of all statements, of at least three */
#define SCAN_STATEMENT    0.40
#define SCAN_RETURNS      0.05 /* share of the table's rows */
#define SCAN_ROWS         1000
/* One may have been due anyway; and pages written for the first time are whole in any
 * case. */
#define CHECKPOINTS_MATTER 2
#define FULL_PAGES_MATTER  0.5

/* ---- classes of wait events: the first that matches ---- */

enum class {
    WAIT_WAL,
    WAIT_LOCKS,
    WAIT_TEMP,
    WAIT_IO,
    WAIT_BUFFERS,
    WAIT_INTERNAL,
    WAIT_COUNT
};
static const struct {
    const char *prefix;
    enum class class;
} wait_events[] = {
    {"LWLock:WAL", WAIT_WAL},
    {"IO:WAL", WAIT_WAL},
    {"IPC:SyncRep", WAIT_WAL},
    {"Lock:", WAIT_LOCKS},
    {"IO:BufFile", WAIT_TEMP},
    {"IPC:BufFile", WAIT_TEMP},
    {"IO:", WAIT_IO},
    {"LWLock:BufferIO", WAIT_IO},
    {"IPC:BufferIO", WAIT_IO},
    {"LWLock:Buffer", WAIT_BUFFERS},
    {"BufferPin:", WAIT_BUFFERS},
    {"LWLock:", WAIT_INTERNAL},
};
static const struct {
    const char *resource, *what;
} wait_classes[WAIT_COUNT] = {
    [WAIT_WAL] = {"wal_flush", "writing and flushing WAL"},
    [WAIT_LOCKS] = {"locks", "locks of other transactions"},
    [WAIT_TEMP] = {"temp_files", "temporary files"},
    [WAIT_IO] = {"io", "reads and writes of data files"},
    [WAIT_BUFFERS] = {"buffer_locks", "pages that others hold"},
    [WAIT_INTERNAL] = {"internal_locks", "locks inside the server"},
};

struct row {
    const char *resource, *evidence;
    const char *wait_event; /* NULL: none */
    double score;
};
struct rows {
    TW_ARRAY(struct row) list;
};

struct waits {
    double share[WAIT_COUNT]; /* of the active samples */
    const char *event[WAIT_COUNT];
    double event_share[WAIT_COUNT];
    double cpu, active;
};

static bool idle_event(const char *event)
{
    return tw_starts_with(event, "Client:") || tw_starts_with(event, "Activity:") ||
           tw_starts_with(event, "Timeout:");
}

static void add_wait(struct waits *w, const struct tw_impact_wait *wait)
{
    if (!wait->event || idle_event(wait->event))
        return;
    w->active += wait->share;
    if (tw_streq(wait->event, "CPU"))
        w->cpu += wait->share;
    for (size_t k = 0; k < TW_COUNT_OF(wait_events); k++) {
        enum class c = wait_events[k].class;

        if (!tw_starts_with(wait->event, wait_events[k].prefix))
            continue;
        w->share[c] += wait->share;
        if (wait->share > w->event_share[c]) {
            w->event_share[c] = wait->share;
            w->event[c] = wait->event;
        }
        return;
    }
}

static struct waits sum_waits(const struct tw_impact_facts *f, enum tw_arm arm)
{
    struct waits w = {0};

    for (size_t i = 0; i < f->waits[arm].count; i++)
        add_wait(&w, &f->waits[arm].items[i]);
    for (int c = 0; c < WAIT_COUNT && w.active > 0; c++)
        w.share[c] /= w.active;
    if (w.active > 0)
        w.cpu /= w.active;
    return w;
}

/* ---- statements ---- */

static double after_weight(const struct tw_statement_effect *s, enum tw_arm arm)
{
    double times = arm == TW_CANDIDATE ? s->after_ms / s->before_ms : 1;

    return isnan(s->share) ? 0 : s->share * (times > 0 && isfinite(times) ? times : 1);
}

/* Share of the samples of all sessions that work: it counts the time that a statement
 * took under the load, whatever its part of the requests. NaN: sessions were not looked
 * at. */
static double sampled_share(const struct tw_impact_facts *f, enum tw_arm arm,
                            const char *text)
{
    double own = 0, all = 0;

    for (size_t i = 0; i < f->waits[arm].count; i++) {
        const struct tw_impact_wait *w = &f->waits[arm].items[i];

        if (!w->statement || !w->event || idle_event(w->event))
            continue;
        all += w->share;
        own += tw_streq(w->statement, text) ? w->share : 0;
    }
    return all > 0 ? own / all : NAN;
}

static const struct tw_statement_effect *
hottest_sampled(const struct tw_impact_facts *f, enum tw_arm arm, double *ret_share)
{
    const struct tw_statement_effect *hot = NULL;
    double most = 0;

    for (size_t i = 0; i < f->statements.count; i++) {
        double share = sampled_share(f, arm, f->statements.items[i].text);

        if (share > most) {
            most = share;
            hot = &f->statements.items[i];
        }
    }
    *ret_share = most;
    return hot;
}

static const struct tw_statement_effect *
hottest_by_weight(const struct tw_impact_facts *f, enum tw_arm arm, double *ret_share)
{
    const struct tw_statement_effect *hot = NULL;
    double most = 0, sum = 0;

    for (size_t i = 0; i < f->statements.count; i++) {
        double weight = after_weight(&f->statements.items[i], arm);

        sum += weight;
        if (weight > most) {
            most = weight;
            hot = &f->statements.items[i];
        }
    }
    *ret_share = hot ? most / fmax(sum, 1e-300) : NAN;
    return hot;
}

static const struct tw_statement_effect *hottest(const struct tw_impact_facts *f,
                                                 enum tw_arm arm, double *ret_share)
{
    const struct tw_statement_effect *hot = hottest_sampled(f, arm, ret_share);

    return hot ? hot : hottest_by_weight(f, arm, ret_share);
}

static const char *plan_of(const struct tw_statement_effect *s, enum tw_arm arm)
{
    return arm == TW_CANDIDATE && s->plan_after ? s->plan_after : s->plan_before;
}

/* The table that a plan line scans from end to end, or NULL. */
static const struct tw_table *scanned_table(const struct tw_impact_facts *f,
                                            const char *plan)
{
    static const char scan[] = "Seq Scan on ";
    const char *at = plan ? strstr(plan, scan) : NULL;
    const struct tw_table *found = NULL;

    if (!at)
        return NULL;
    at += sizeof scan - 1;
    for (size_t i = 0; i < f->snapshot->tables.count; i++) {
        const struct tw_table *t = &f->snapshot->tables.items[i];
        const char *dot = strchr(at, '.'), *name = at;
        size_t len = strlen(t->name);

        if (dot && strcspn(at, " ") > (size_t)(dot - at))
            name = dot + 1;
        if (strncmp(name, t->name, len) == 0 && !isalnum((unsigned char)name[len]) &&
            name[len] != '_')
            found = t;
    }
    return found;
}

static bool filters(const char *sql)
{
    return sql && strcasestr(sql, "where") != NULL;
}

/* ---- rows ---- */

static void add(struct impact *i, struct rows *rows, const char *resource, double score,
                const char *wait_event, const char *evidence)
{
    if (score > 0)
        TW_PUSH(i->arena, &rows->list,
                (struct row){resource, evidence, wait_event, score});
}

static double cpu_share(const struct tw_impact_facts *f, const struct waits *w,
                        enum tw_arm arm)
{
    return !isnan(f->cpu_share[arm]) ? f->cpu_share[arm] : w->active > 0 ? w->cpu : NAN;
}

static void add_cpu(struct impact *i, struct rows *rows, double cpu, enum tw_arm arm)
{
    double throttled = i->facts->throttled_share[arm];
    const char *evidence;

    if (isnan(cpu))
        return;
    evidence = tw_arena_printf(i->arena, "%.0f %% of its CPU is used at the highest load",
                               cpu * 100);
    if (throttled > 0.01)
        evidence = tw_arena_printf(
            i->arena, "%s, and it is held back by its quota %.0f %% of the time",
            evidence, throttled * 100);
    add(i, rows, "cpu", fmin(cpu / CPU_SATURATED, 1), NULL, evidence);
}

static void add_waits(struct impact *i, struct rows *rows, const struct waits *w,
                      double cpu)
{
    double left = isnan(cpu) ? 1 : fmin(1, fmax(0, (1 - cpu) / (1 - CPU_FULL)));

    for (int c = 0; c < WAIT_COUNT; c++) {
        if (w->share[c] < WAIT_MATTERS)
            continue;
        add(i, rows, wait_classes[c].resource, w->share[c] * left, w->event[c],
            tw_arena_printf(i->arena,
                            "active sessions wait for %s %.0f %% of the time, mostly %s",
                            wait_classes[c].what, w->share[c] * 100, w->event[c]));
    }
}

static double max_connections(const struct tw_impact_facts *f, enum tw_arm arm)
{
    const struct tw_setting *today = tw_snapshot_setting(f->snapshot, "max_connections");
    const char *text = today ? today->value : NULL;
    double value;

    for (size_t k = 0; arm == TW_CANDIDATE && k < f->plan->steps.count; k++)
        if (tw_streq(f->plan->steps.items[k].name, "max_connections"))
            text = f->plan->steps.items[k].value;
    return text && tw_parse_double(text, &value, NULL) == 0 ? value : NAN;
}

static void add_connections(struct impact *i, struct rows *rows, enum tw_arm arm)
{
    const struct tw_forecast *f = i->facts->forecast[arm];
    double most = max_connections(i->facts, arm);
    double left = most - fmax(i->facts->reserved_connections[arm], 0);
    double used = f ? f->connections.value / left : NAN;

    if (used >= POOL_MATTERS)
        add(i, rows, "connections", fmin(used, 1), NULL,
            tw_arena_printf(
                i->arena,
                "%.0f of the %.0f connections that max_connections = %.0f leaves to "
                "clients are used at the peak",
                f->connections.value, left, most));
    for (size_t k = 0; k < i->ret->failures.count; k++)
        if (tw_streq(i->ret->failures.items[k].kind, "connections"))
            add(i, rows, "connections", i->ret->failures.items[k].probability, NULL,
                i->ret->failures.items[k].evidence);
}

/* ---- causes: what makes the resource busy, where one thing does ---- */

static double request_s(const struct tw_impact_facts *f, enum tw_arm arm)
{
    const struct tw_model *m = f->model[arm];

    if (m && m->level_count > 0)
        return m->demand_s[m->level_count - 1];
    /* Requests too slow for a model: what the closed loop used for each. */
    return impact_measured(f) ? f->cpu_share[arm] * fmax(f->plan->twin_cpus, 1) /
                                    f->measured->capacity_per_s[arm]
                              : NAN;
}

/* Two witnesses: the bytes, counted once however often they are merged, and the sessions
 * seen at it. The second holds on a full CPU too, for most of it is the kernel's own work
 * on the page cache. */
static void add_spill(struct impact *i, struct rows *rows, double base, enum tw_arm arm,
                      const struct waits *waits)
{
    double bytes = i->facts->temp_bytes_per_request[arm];
    double counted = 2 * bytes / SPILL_BYTES_PER_S / request_s(i->facts, arm);
    double share = fmin(fmax(counted, waits->share[WAIT_TEMP]), 1);

    if (bytes > 0 && share >= SPILL_MATTERS)
        add(i, rows, "temp_files", base + 0.3 * share, "IO:BufFileWrite",
            tw_arena_printf(
                i->arena,
                "each request spills %.3g kB to temporary files, about %.0f %% of its "
                "time",
                bytes / 1024, share * 100));
}

static void add_scan(struct impact *i, struct rows *rows, double base, enum tw_arm arm,
                     const struct tw_statement_effect *hot, double share)
{
    const struct tw_table *t = scanned_table(i->facts, plan_of(hot, arm));

    if (share < SCAN_STATEMENT || !t || t->rows < SCAN_ROWS || !filters(hot->text) ||
        !(hot->rows <= SCAN_RETURNS * (double)t->rows))
        return;
    add(i, rows, "missing_index", base + 0.2 * share, NULL,
        tw_arena_printf(
            i->arena,
            "%s reads all %lld rows of %s to return %.3g, in %.0f %% of the time",
            plan_of(hot, arm), (long long)t->rows, t->name, hot->rows, share * 100));
}

/* A checkpoint begun because WAL ran full, again and again, makes each page that is
 * written after it go into the WAL as a whole. */
static void add_checkpoints(struct impact *i, struct rows *rows, double base,
                            enum tw_arm arm)
{
    double forced = i->facts->forced_checkpoints[arm],
           pages = i->facts->full_page_share[arm];

    if (forced >= CHECKPOINTS_MATTER && pages >= FULL_PAGES_MATTER)
        add(i, rows, "checkpoints", base + 0.2 * pages, NULL,
            tw_arena_printf(
                i->arena,
                "%.0f checkpoints were forced while it was measured, because WAL "
                "reached max_wal_size; %.0f %% of the WAL is pages written as a "
                "whole after a checkpoint",
                forced, pages * 100));
}

static void add_causes(struct impact *i, struct rows *rows, enum tw_arm arm,
                       const struct waits *waits, const struct tw_statement_effect *hot,
                       double share)
{
    /* Busy because of something else: these are named only where nothing more exact is
     * known. */
    static const char *const caused[] = {"cpu", "io", "temp_files", "wal_flush"};
    const struct row *top = NULL;

    for (size_t k = 0; k < rows->list.count; k++)
        if (!top || rows->list.items[k].score > top->score)
            top = &rows->list.items[k];
    if (!top || tw_name_index(top->resource, caused, TW_COUNT_OF(caused)) < 0)
        return;
    double base = top->score;

    add_spill(i, rows, base, arm, waits);
    add_checkpoints(i, rows, base, arm);
    if (!hot)
        return;
    add_scan(i, rows, base, arm, hot, share);
    if (share >= HOT_STATEMENT && i->facts->statements.count >= 3)
        add(i, rows, "statement", base + 0.1 * share, NULL,
            tw_arena_printf(i->arena, "one statement takes %.0f %% of the time",
                            share * 100));
}

/* ---- the answer ---- */

static int by_score(const void *pa, const void *pb)
{
    const struct row *a = pa, *b = pb;

    if (a->score != b->score)
        return a->score < b->score ? 1 : -1;
    return strcmp(a->resource, b->resource);
}

static const char *next_resource(const struct rows *rows)
{
    for (size_t k = 1; k < rows->list.count; k++)
        if (!tw_streq(rows->list.items[k].resource, rows->list.items[0].resource))
            return rows->list.items[k].resource;
    return NULL;
}

static double capacity(const struct tw_impact_facts *f, enum tw_arm arm)
{
    if (f->model[arm])
        return f->model[arm]->capacity_per_s;
    return impact_measured(f) ? f->measured->capacity_per_s[arm] : NAN;
}

static const char *statement_wait(const struct tw_impact_facts *f, enum tw_arm arm,
                                  const char *text)
{
    const struct tw_impact_wait *most = NULL;

    for (size_t k = 0; k < f->waits[arm].count; k++) {
        const struct tw_impact_wait *w = &f->waits[arm].items[k];

        if (w->event && !idle_event(w->event) && tw_streq(w->statement, text) &&
            (!most || w->share > most->share))
            most = w;
    }
    return most ? most->event : NULL;
}

/* The arm after the change where it was looked at, else today's. */
static enum tw_arm arm_to_judge(const struct tw_impact_facts *f)
{
    bool known = f->waits[TW_CANDIDATE].count > 0 || !isnan(f->cpu_share[TW_CANDIDATE]) ||
                 f->model[TW_CANDIDATE];

    return known && f->candidate_started ? TW_CANDIDATE : TW_BASELINE;
}

void impact_bottleneck(struct impact *i)
{
    const struct tw_impact_facts *f = i->facts;
    enum tw_arm arm = arm_to_judge(f);
    struct waits waits = sum_waits(f, arm);
    double cpu = cpu_share(f, &waits, arm), share;
    const struct tw_statement_effect *hot = hottest(f, arm, &share);
    struct tw_bottleneck *b = &i->ret->bottleneck;
    struct rows rows = {0};

    *b = (struct tw_bottleneck){.statement_share = share,
                                .saturates_at_per_s = capacity(f, arm)};
    b->headroom = b->saturates_at_per_s / f->peak_rate_per_s;
    if (hot) {
        b->statement = hot->text;
        b->plan_node = plan_of(hot, arm);
        b->wait_event = statement_wait(f, arm, hot->text);
    }
    add_cpu(i, &rows, cpu, arm);
    add_waits(i, &rows, &waits, cpu);
    add_connections(i, &rows, arm);
    add_causes(i, &rows, arm, &waits, hot, share);
    if (rows.list.count == 0)
        return;
    qsort(rows.list.items, rows.list.count, sizeof *rows.list.items, by_score);
    b->resource = rows.list.items[0].resource;
    b->evidence = rows.list.items[0].evidence;
    b->next = next_resource(&rows);
    if (rows.list.items[0].wait_event)
        b->wait_event = rows.list.items[0].wait_event;
}
