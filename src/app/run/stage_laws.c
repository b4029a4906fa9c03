/* Stages: what may run out of either arm, before and after the load, and when it does. */
#include "run_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ARCHIVE_OUTSIDE                                                                  \
    0.5 /* that a command fails at home too, which names what is outside a twin */
#define PAGES_TARGET 2.0 /* checkpoints' worth of WAL that stand at most, about */

/* ---- readings ---- */

static double log_bytes(struct tw_twin *twin)
{
    tw_auto_free char *path = tw_strf("%s/log", tw_twin_runtime_dir(twin));
    struct stat st;

    return stat(path, &st) == 0 ? (double)st.st_size : (double)NAN;
}

/* What an arm cannot tell is not known; that is no reason to end a run. */
static void read_arm(struct run *r, enum tw_arm arm, struct tw_arena *a, bool after)
{
    struct tw_twin *twin =
        r->members[arm == TW_BASELINE ? RUN_BASELINE : RUN_CANDIDATE].twin;
    struct run_standing *s = &r->v.standing[arm][after];
    struct tw_err why = {0};

    *s = (struct run_standing){.log_bytes = log_bytes(twin)};
    tw_standing_init(&s->of);
    s->known = r->kind->standing &&
               r->kind->standing(a, tw_twin_access(twin), after, &s->of, &why) == 0;
    if (r->kind->certificates && !after)
        r->kind->certificates(a, tw_twin_access(twin), &s->certificates);
    if (why.code)
        tw_log(TW_LOG_DEBUG, "what may run out of the %s: %s", tw_arm_names[arm],
               why.text);
}

static int read_before(struct run *r, enum tw_arm arm, struct tw_arena *a,
                       struct tw_err *err)
{
    (void)err;
    read_arm(r, arm, a, false);
    return 0;
}

static int read_after(struct run *r, enum tw_arm arm, struct tw_arena *a,
                      struct tw_err *err)
{
    (void)err;
    read_arm(r, arm, a, true);
    return 0;
}

int run_standing(struct run *r, struct tw_err *err)
{
    memset(r->v.standing, 0, sizeof(r->v.standing));
    return r->members[RUN_CANDIDATE].started.ready ? run_each_arm(r, read_before, err)
                                                   : 0;
}

void run_standing_after(struct run *r)
{
    if (!r->v.trial.candidate_stopped)
        (void)run_each_arm(r, read_after, NULL);
}

/* ---- one arm put together ---- */

struct standing {
    struct run *r;
    struct tw_arena *a;
    enum tw_arm arm;
    const struct tw_standing *before, *after; /* after: before where there is none */
    double requests;                          /* between the two; 0: none */
    struct tw_predict_limits *limits;
};

static const struct tw_counter *counter_of(const struct tw_counter *list, size_t n,
                                           const char *kind, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (tw_streq(list[i].kind, kind) && (!name || tw_streq(list[i].name, name)))
            return &list[i];
    return NULL;
}

static const struct tw_counter *at_target(const struct standing *s, const char *kind,
                                          const char *name)
{
    return counter_of(s->r->snapshot.counters.items, s->r->snapshot.counters.count, kind,
                      name);
}

static struct tw_estimate each(const struct standing *s, double amount, double events,
                               double size_cv)
{
    return amount > 0 ? tw_predict_rate(amount, events, s->requests, size_cv)
                      : tw_unknown;
}

static struct tw_inflow inflow(const char *what, struct tw_estimate per_request)
{
    return (struct tw_inflow){.what = what,
                              .per_request = per_request,
                              .per_s = tw_unknown,
                              .ceiling = NAN,
                              .probability = 1};
}

/* ---- counters with an end ---- */

static const struct {
    const char *counter, *law, *kind, *unit, *what, *end;
} counted[] = {
    {"sequence", "sequence", NULL, "values", "values taken", "nextval() fails"},
    {"xid", "xid", "xid", "ids", "transaction ids", "writes are refused"},
    {"mxid", "xid", "mxid", "ids", "multixacts", "row locks are refused"},
    {"connections", "connections", NULL, "connections", "connections",
     "logins are refused"},
};

/* How far the target is counts, not its clone; where it was not asked, the clone before the load. A clone
 * that came to the end under the load took for its answered requests what was left, and no more. */
static void add_counter(const struct standing *s, const struct tw_counter *now,
                        size_t row)
{
    const struct tw_counter *home = at_target(s, now->kind, now->name);
    const struct tw_counter *was = counter_of(
        s->before->counters.items, s->before->counters.count, now->kind, now->name);
    double end = now->limit > 0 ? now->limit : INFINITY;
    double grown = was ? fmin(now->used, end) - was->used : NAN;
    struct tw_stock stock = {.law = counted[row].law,
                             .kind = counted[row].kind,
                             .name = now->name,
                             .unit = counted[row].unit,
                             .used = home  ? home->used
                                     : was ? was->used
                                           : now->used,
                             .limit = now->limit,
                             .cycles = now->cycles,
                             .end = counted[row].end,
                             .because = now->source};
    struct tw_estimate per = each(s, grown, grown, 0);

    if (!isnan(per.value))
        TW_PUSH(s->a, &stock.inflows, inflow(counted[row].what, per));
    TW_PUSH(s->a, &s->limits->stocks, stock);
}

static void add_counters(const struct standing *s)
{
    for (size_t i = 0; i < s->after->counters.count; i++)
        for (size_t row = 0; row < TW_COUNT_OF(counted); row++)
            if (tw_streq(s->after->counters.items[i].kind, counted[row].counter))
                add_counter(s, &s->after->counters.items[i], row);
}

/* ---- sessions that nobody closes ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* role NULL: of all together. */
static struct tw_estimate leak_of(const struct standing *s, const char *role)
{
    size_t n = 0, all = s->r->snapshot.counters.count;
    tw_auto_free double *begun = tw_realloc_array(NULL, all + 1, sizeof(double));

    for (size_t i = 0; i < all; i++) {
        const struct tw_counter *c = &s->r->snapshot.counters.items[i];

        if (tw_streq(c->kind, "session") && (!role || tw_streq(c->name, role)))
            begun[n++] = -c->used;
    }
    qsort(begun, n, sizeof(double), ascending);
    return tw_predict_leak(begun, n, 0);
}

static void add_leak(const struct standing *s)
{
    struct tw_estimate leak = leak_of(s, NULL);

    if (leak.n == 0)
        return;
    s->limits->connection_growth_per_s = leak.value;
    s->limits->connection_growth_low = leak.low;
    s->limits->connection_growth_high = leak.high;
}

/* ---- roles, certificates ---- */

static const struct tw_role *role_at_target(const struct standing *s, const char *name)
{
    for (size_t i = 0; i < s->r->snapshot.roles.count; i++)
        if (tw_streq(s->r->snapshot.roles.items[i].name, name))
            return &s->r->snapshot.roles.items[i];
    return NULL;
}

static void add_roles(const struct standing *s)
{
    for (size_t i = 0; i < s->after->roles.count; i++) {
        const struct tw_role *role = &s->after->roles.items[i];
        const struct tw_role *home = role_at_target(s, role->name);
        struct tw_stock stock = {
            .law = "connections",
            .name = tw_arena_printf(s->a, "role %s", role->name),
            .unit = "connections",
            .used = home && home->connections_used > 0 ? home->connections_used : 0,
            .limit = role->connection_limit,
            .end = "its logins are refused",
            .because = "CONNECTION LIMIT of the role"};
        struct tw_expiry ends = {.what = "password of role",
                                 .name = role->name,
                                 .until_wall_ns = role->valid_until_wall_ns};

        struct tw_inflow in = inflow("sessions that nobody closes", tw_unknown);

        in.per_s = leak_of(s, role->name);
        TW_PUSH(s->a, &stock.inflows, in);
        if (role->connection_limit >= 0 && !role->superuser && stock.used > 0)
            TW_PUSH(s->a, &s->limits->stocks, stock);
        if (role->login && role->valid_until_wall_ns)
            TW_PUSH(s->a, &s->limits->expiries, ends);
    }
}

static void add_certificates(const struct standing *s)
{
    const struct tw_certificates *all = &s->r->v.standing[s->arm][0].certificates;

    for (size_t i = 0; i < all->list.count; i++) {
        const struct tw_certificate *c = &all->list.items[i];
        struct tw_expiry ends = {.what = "certificate",
                                 .name =
                                     tw_arena_printf(s->a, "%s (%s)", c->path,
                                                     c->used_by ? c->used_by : "unused"),
                                 .from_wall_ns = c->not_before_wall_ns,
                                 .until_wall_ns = c->not_after_wall_ns};

        if (c->not_after_wall_ns)
            TW_PUSH(s->a, &s->limits->expiries, ends);
    }
}

/* ---- file systems ---- */

/* What a row takes is told by a table that has some: one that just grew has pages ahead of its rows. */
#define ROWS_TELL 1000.0
static double row_bytes(const struct tw_reclaimed *was, const struct tw_reclaimed *now)
{
    return was->rows >= ROWS_TELL && was->row_bytes > 0
               ? fmin(was->row_bytes, now->row_bytes)
               : now->row_bytes;
}

/* Until a vacuum looks again, as many times the work of the trial; 0 unknown. */
static double looks_s(const struct standing *s, const struct tw_reclaimed *t)
{
    const struct tw_forecast *f = &s->r->v.sim->impact.forecast[s->arm];
    double rate = s->r->v.has_forecast[s->arm] ? f->throughput_per_s.value : 0;

    return s->requests > 0 && t->naptime_s > 0 && rate > 0
               ? rate * t->naptime_s / s->requests
               : 0;
}

/* Rows that stay, and rows that are dead until something reclaims them. */
static void add_rows(const struct standing *s, struct tw_stock *disk)
{
    double bytes = 0, events = 0, dead = 0, dead_events = 0, most = 0;
    struct tw_inflow in;

    for (size_t i = 0; i < s->after->tables.count; i++) {
        const struct tw_reclaimed *t = &s->after->tables.items[i];
        const struct tw_reclaimed *was = NULL;
        double added, died;

        for (size_t k = 0; k < s->before->tables.count && !was; k++)
            if (tw_streq(s->before->tables.items[k].name, t->name))
                was = &s->before->tables.items[k];
        if (!was || !(t->row_bytes > 0))
            continue;
        added = t->added_rows - was->added_rows;
        died = t->dead_rows - was->dead_rows;
        bytes += added * row_bytes(was, t);
        events += fabs(added);
        if (died <= 0)
            continue;
        dead += died * row_bytes(was, t);
        dead_events += died;
        most += (t->threshold_rows + died * looks_s(s, t)) * row_bytes(was, t);
    }
    TW_PUSH(s->a, &disk->inflows, inflow("rows", each(s, bytes, events, 0.1)));
    in = inflow("dead rows", each(s, dead, dead_events, 0.1));
    in.ceiling = most;
    TW_PUSH(s->a, &disk->inflows, in);
}

static double temp_per_request(const struct standing *s)
{
    const struct tw_counters *from = &s->r->v.trial.before[s->arm],
                             *to = &s->r->v.trial.after[s->arm];
    double bytes = to->temp_bytes - from->temp_bytes;

    return s->requests > 0 && bytes > 0 ? bytes / s->requests : 0;
}

/* Temporary files live as long as their statement: as many as are at work at once. */
static void add_temp(const struct standing *s, struct tw_stock *disk)
{
    const struct tw_forecast *f = &s->r->v.sim->impact.forecast[s->arm];
    struct tw_inflow in = inflow("temporary files", tw_unknown);

    if (!s->r->v.has_forecast[s->arm] || !(f->connections.value > 0))
        return;
    in.fixed = temp_per_request(s) * f->connections.value;
    TW_PUSH(s->a, &disk->inflows, in);
}

/* ---- WAL ---- */

static bool is_outside(const char *command)
{
    const char *at = command;

    while ((at = strpbrk(at, "/:@")))
        if (tw_starts_with(at, "/bin/") || tw_starts_with(at, "/usr/bin/"))
            at++;
        else
            return true;
    return false;
}

/* It may fail for what a twin lacks, or only be slow. */
static bool is_uncertain(const struct tw_standing *s)
{
    return is_outside(s->archive_command) ||
           (!(s->archive_failed > 0) && isfinite(s->archive_waits_s));
}

/* Attempts failed and none succeeded, or a finished segment was left lying. */
static bool takes_nothing(const struct tw_standing *s)
{
    return s->archive_command && !(s->archived > 0) &&
           (s->archive_failed > 0 || s->archive_waits_s > 0);
}

static const char *what_it_did(struct tw_arena *a, const struct tw_standing *s)
{
    if (s->archive_failed > 0)
        return tw_arena_printf(a, "archive_command '%s': %.0f attempts failed in the twin, %.0f "
                                  "segments were taken",
                               s->archive_command, s->archive_failed, s->archived);
    return isinf(s->archive_waits_s)
               ? "archive_mode is on, and neither archive_command nor archive_library is set"
               : tw_arena_printf(a, "'%s' neither took a finished segment nor refused it within %.0f s",
                                 s->archive_command, s->archive_waits_s);
}

/* Probability that no archive takes it: seen in the twin where the change brings the command, else as it
 * is at home, whose own command does nothing in a twin. */
static double archive_fails(const struct standing *s, const char **ret_why)
{
    const struct tw_standing *base = &s->r->v.standing[TW_BASELINE][0].of;
    const struct tw_counter *home = at_target(s, "archive", NULL);
    bool own = s->arm == TW_CANDIDATE && s->after->archive_command &&
               !tw_streq(s->after->archive_command, base->archive_command);

    if (!own) {
        if (!s->after->archive_command || !home || home->cycles)
            return 0;
        *ret_why = tw_arena_printf(
            s->a,
            "at the target the archive fails already: %.0f attempts, the last one too",
            home->used);
        return 1;
    }
    if (!takes_nothing(s->after))
        return 0;
    *ret_why = what_it_did(s->a, s->after);
    return is_uncertain(s->after) ? ARCHIVE_OUTSIDE : 1;
}

/* Those of the target, and those that the change made in the twin. */
static double held_by_slots(const struct standing *s, const char **ret_why)
{
    size_t home = s->r->snapshot.counters.count;
    double lag = NAN;

    for (size_t i = 0; i < home + s->after->counters.count; i++) {
        const struct tw_counter *c =
            i < home ? &s->r->snapshot.counters.items[i] : &s->after->counters.items[i - home];

        if (!tw_streq(c->kind, "slot") || c->cycles || (lag >= c->used))
            continue;
        lag = c->used;
        *ret_why = tw_arena_printf(s->a, "slot '%s' has no consumer and keeps %s",
                                   c->name, tw_show_bytes(s->a, lag));
    }
    return lag;
}

/* Kept without an end, WAL takes whole segments: what is left of the present one and those made ahead
 * come first, and what does not make a whole one does not help. */
static double whole_segments(const struct standing *s, const struct tw_stock *disk)
{
    const struct tw_counter *ahead = at_target(s, "wal_ahead", NULL);
    double segment = s->after->journal_segment_bytes, room = disk->limit - disk->used;

    if (!ahead || isnan(ahead->used) || !(segment > 0))
        return 0;
    return fmod(room, segment) - ahead->used;
}

/* Bytes of WAL that stand at most when nothing holds it: max_wal_size, or what two checkpoints apart by
 * time write. */
static double most_wal(const struct standing *s)
{
    const struct tw_service_limits *l = &s->r->v.limits[s->arm];
    const struct tw_forecast *f = &s->r->v.sim->impact.forecast[s->arm];
    double busiest = 0, by_time;

    for (size_t i = 0; i < f->bins.count; i++)
        if (f->bins.items[i].wal_bytes_per_s > busiest)
            busiest = f->bins.items[i].wal_bytes_per_s;
    by_time = l->checkpoint_s > 0 ? PAGES_TARGET * l->checkpoint_s * busiest : INFINITY;
    return fmax(fmin(l->max_wal_bytes, by_time), fmax(s->after->journal_least_bytes, 0));
}

static void add_wal(const struct standing *s, struct tw_stock *disk)
{
    const struct tw_counter *home = at_target(s, "wal", NULL);
    double now = home ? home->used : s->before->journal_bytes, lag;
    struct tw_inflow in = inflow("WAL", tw_unknown);

    in.wal = 1;
    in.probability = archive_fails(s, &disk->because);
    if (in.probability > 0) {
        in.what = "WAL that no archive takes";
        in.grain = s->after->journal_segment_bytes;
        in.fixed = whole_segments(s, disk);
    } else {
        in.probability = 1;
        lag = held_by_slots(s, &disk->because);
        if (!isnan(lag)) {
            in.what = "WAL that a slot keeps";
            in.grain = s->after->journal_segment_bytes;
            in.ceiling = s->after->journal_held_bytes - lag;
            in.fixed = isinf(in.ceiling) ? whole_segments(s, disk) : 0;
        } else
            in.ceiling = fmax(0, most_wal(s) - (now > 0 ? now : 0));
    }
    if (isinf(in.ceiling))
        in.ceiling = NAN;
    TW_PUSH(s->a, &disk->inflows, in);
}

static void add_log(const struct standing *s, struct tw_stock *disk)
{
    double grown =
        s->r->v.standing[s->arm][1].log_bytes - s->r->v.standing[s->arm][0].log_bytes;

    if (s->after == s->before)
        return;
    TW_PUSH(s->a, &disk->inflows, inflow("log", each(s, grown, grown / 100, 1)));
}

static const struct {
    const char *holds;
    void (*add)(const struct standing *s, struct tw_stock *disk);
} writers[] = {
    {"data", add_rows}, {"data", add_temp}, {"wal", add_wal}, {"log", add_log}};

static void add_disk(const struct standing *s, const struct tw_counter *c)
{
    struct tw_stock disk = {.law = "disk",
                            .kind = "disk_full",
                            .name = c->name,
                            .unit = "bytes",
                            .used = c->used,
                            .limit = c->limit,
                            .end = "no space left on device"};

    for (size_t i = 0; i < TW_COUNT_OF(writers); i++)
        if (c->source && strstr(c->source, writers[i].holds))
            writers[i].add(s, &disk);
    TW_PUSH(s->a, &s->limits->stocks, disk);
}

/* Files that the work makes and leaves; a segment of WAL and a gigabyte of a table are files too. */
static void add_inodes(const struct standing *s, const struct tw_counter *c)
{
    double grown = s->after->files - s->before->files;
    const char *why = NULL;
    struct tw_inflow wal = inflow("segments of WAL", tw_unknown);
    struct tw_stock inodes = {.law = "disk",
                              .kind = "inodes",
                              .name = c->name,
                              .unit = "inodes",
                              .used = c->used,
                              .limit = c->limit,
                              .end = "no space left on device, with bytes left"};

    if (strstr(c->source, "data"))
        TW_PUSH(s->a, &inodes.inflows, inflow("files", each(s, grown, grown, 0)));
    wal.probability = archive_fails(s, &why);
    wal.wal = wal.probability > 0 && s->after->journal_segment_bytes > 0
                  ? 1 / s->after->journal_segment_bytes
                  : 0;
    if (wal.wal > 0 && strstr(c->source, "wal"))
        TW_PUSH(s->a, &inodes.inflows, wal);
    TW_PUSH(s->a, &s->limits->stocks, inodes);
}

static void add_file_systems(const struct standing *s)
{
    for (size_t i = 0; i < s->r->snapshot.counters.count; i++) {
        const struct tw_counter *c = &s->r->snapshot.counters.items[i];

        if (tw_streq(c->kind, "disk"))
            add_disk(s, c);
        else if (tw_streq(c->kind, "inodes") && c->limit > 0 && c->source)
            add_inodes(s, c);
    }
}

/* ---- dead rows, vacuum ---- */

static void add_tables(const struct standing *s)
{
    for (size_t i = 0; i < s->after->tables.count; i++) {
        const struct tw_reclaimed *t = &s->after->tables.items[i], *was = t;
        struct tw_vacuumed v = {.name = t->name,
                                .rows = t->rows,
                                .heap_pages = t->heap_pages,
                                .index_pages = t->index_pages,
                                .threshold_rows = t->threshold_rows,
                                .naptime_s = t->naptime_s,
                                .cost_per_s = t->cost_per_s,
                                .dead_per_s = tw_unknown};

        for (size_t k = 0; k < s->before->tables.count; k++)
            if (tw_streq(s->before->tables.items[k].name, t->name))
                was = &s->before->tables.items[k];
        v.dead_rows = was->dead_rows;
        v.dead_per_request =
            each(s, t->dead_rows - was->dead_rows, t->dead_rows - was->dead_rows, 0);
        TW_PUSH(s->a, &s->limits->tables, v);
    }
}

static void add_vacuum(const struct standing *s)
{
    struct tw_predict_limits *l = s->limits;

    memcpy(l->freeze_max_age, s->after->forced_at, sizeof(l->freeze_max_age));
    l->vacuum_pages_per_s = s->after->pages_per_s;
    l->table_pages = s->after->pages;
    for (size_t i = 0; i < s->r->snapshot.counters.count; i++) {
        const struct tw_counter *c = &s->r->snapshot.counters.items[i];

        if (!tw_streq(c->kind, "xmin") || !(c->used > l->xmin_holder_age))
            continue;
        l->xmin_holder = c->name;
        l->xmin_holder_age = c->used;
    }
}

/* ---- the laws ---- */

static double known_or_nan(int n)
{
    return n >= 0 ? (double)n : (double)NAN;
}

static struct tw_predict_limits limits_of(const struct run *r, enum tw_arm arm)
{
    const struct tw_service_limits *l = &r->v.limits[arm];

    return (struct tw_predict_limits){
        .memory_limit_bytes =
            r->snapshot.memory_bytes > 0 ? (double)r->snapshot.memory_bytes : (double)NAN,
        .memory_other_bytes = l->sort_memory_bytes,
        .shared_memory_bytes = l->shared_memory_bytes,
        .max_connections = l->max_connections > 0 ? l->max_connections : (double)NAN,
        .reserved_connections = l->reserved_connections,
        .connections_used = known_or_nan(r->snapshot.connections_used),
        .connections_asked = r->v.sim->plan.connections,
        .connection_growth_per_s = NAN,
        .disk_free_bytes = NAN, /* file by file system, as stocks */
        .growth_bytes_per_s = NAN,
        .wal_kept_bytes_per_s = NAN,
        .max_wal_bytes = l->max_wal_bytes,
        .now_wall_ns =
            r->v.sim->started_wall_ns, /* hour 0 of the horizon, as of all figures */
    };
}

/* Failed ones took nothing, or not all of it. */
static double requests_done(const struct run *r, enum tw_arm arm)
{
    double done = 0;

    for (size_t i = 0; i < r->v.trial.slots.count; i++)
        if (r->v.trial.slots.items[i].arm == arm)
            done += (double)r->v.trial.slots.items[i].done;
    return done;
}

static void gather(struct run *r, enum tw_arm arm, struct tw_arena *a,
                   struct tw_predict_limits *limits)
{
    const struct run_standing *both = r->v.standing[arm];
    struct standing s = {.r = r,
                         .a = a,
                         .arm = arm,
                         .before = &both[0].of,
                         .after = both[1].known ? &both[1].of : &both[0].of,
                         .requests =
                             both[1].known && r->v.measured ? requests_done(r, arm) : 0,
                         .limits = limits};

    add_certificates(&s);
    if (!both[0].known)
        return;
    add_counters(&s);
    add_roles(&s);
    add_file_systems(&s);
    add_tables(&s);
    add_vacuum(&s);
    add_leak(&s);
    if (r->v.measured)
        limits->memory_growth_per_request =
            tw_predict_memory_growth(r->v.trial.slots.items, r->v.trial.slots.count, arm);
}

/* Where too little was measured for a model, what is asked for at a known rate still is: served as offered,
 * WAL by the mean. A profile of the user's own is left to the model. */
static bool as_offered(const struct run *r, enum tw_arm arm, struct tw_arena *a,
                       struct tw_forecast *ret)
{
    const struct tw_plan *p = &r->v.sim->plan;
    double done = requests_done(r, arm);
    double wal = r->v.trial.after[arm].wal_bytes - r->v.trial.before[arm].wal_bytes;
    struct tw_profile profile;

    if (!r->v.measured || !(done > 0) || p->profile || !(p->rate_per_s > 0) ||
        tw_profile_make(a, p->scenario, p->rate_per_s, p->hours, NULL, &profile, NULL) <
            0)
        return false;
    *ret = (struct tw_forecast){.throughput_per_s = tw_unknown,
                                .wal_bytes = tw_unknown,
                                .memory_bytes = tw_unknown,
                                .connections = tw_unknown};
    ret->throughput_per_s.value = 0;
    for (size_t i = 0; i < profile.bins.count; i++) {
        struct tw_bin bin = {.from_h = profile.bins.items[i].from_h,
                             .hours = profile.bins.items[i].hours,
                             .throughput_per_s = profile.bins.items[i].rate_per_s};

        bin.wal_bytes_per_s = wal / done * bin.throughput_per_s;
        ret->throughput_per_s.value += bin.throughput_per_s * bin.hours / p->hours;
        TW_PUSH(a, &ret->bins, bin);
    }
    return true;
}

static int judge_arm(struct run *r, enum tw_arm arm, struct tw_arena *a,
                     struct tw_err *err)
{
    struct tw_simulation *sim = r->v.sim;
    struct tw_predict_limits limits = limits_of(r, arm);
    struct tw_forecast *f = &sim->impact.forecast[arm], offered;
    bool has = r->v.has_forecast[arm];
    bool known = has || as_offered(r, arm, a, &offered);
    const char *looked;

    (void)err;
    memset(&r->v.failures[arm], 0, sizeof(r->v.failures[arm]));
    gather(r, arm, a, &limits);
    tw_predict_failures(a,
                        has     ? f
                        : known ? &offered
                                : NULL,
                        has ? &r->v.model[arm] : NULL, &limits, sim->plan.hours,
                        1 - RUN_FAILURE_SENSITIVITY, &r->v.failures[arm]);
    looked = tw_predict_looked(a, &r->v.failures[arm], sim->plan.hours);
    if (has && looked)
        TW_PUSH(a, &f->notes, looked);
    return 0;
}

/* The server says of some of it itself, while it is loaded. */
static bool is_said(const struct run *r, const char *code)
{
    for (size_t i = 0; i < r->v.issues.list.count; i++)
        if (tw_streq(r->v.issues.list.items[i].code, code))
            return true;
    return false;
}

/* Whether or not the disk is full within the horizon: a backup chain is broken at once. */
static void tell_archive(struct run *r)
{
    const struct tw_standing *now = &r->v.standing[TW_CANDIDATE][1].of;
    const struct tw_standing *was = &r->v.standing[TW_BASELINE][1].of;
    struct tw_arena *a = r->v.sim->arena;

    if (!r->v.standing[TW_CANDIDATE][1].known || !takes_nothing(now) ||
        tw_streq(now->archive_command, was->archive_command) ||
        (!(now->archive_failed > 0) && is_said(r, "archive.failing")))
        return;
    tw_issue_add(
        a, &r->v.issues, is_uncertain(now) ? TW_MEDIUM : TW_HIGH, TW_REVIEW, "archive.failing",
        "no segment of the WAL is archived with the change",
        tw_arena_printf(a, "%s%s", what_it_did(a, now),
                        is_outside(now->archive_command) ? "; it names what a twin does not reach"
                                                         : ""),
        "try the command as the server's user; until it succeeds all WAL is kept, and no "
        "backup can be brought up to date");
}

/* A candidate that does not serve has nothing that runs out. */
int run_laws(struct run *r, struct tw_err *err)
{
    int rc;

    /* What is made while the service runs was not there before the load, and may need none: the arms
     * stand until a load has ended. */
    if (run_is_live(r) && !r->v.standing[TW_CANDIDATE][1].known &&
        r->members[RUN_CANDIDATE].started.ready && !r->clearing && !r->v.cleared)
        run_standing_after(r);
    rc = r->members[RUN_CANDIDATE].started.ready ? run_each_arm(r, judge_arm, err) : 0;

    if (rc == 0) {
        tell_archive(r);
        run_tell_piles(r);
    }
    return rc;
}
