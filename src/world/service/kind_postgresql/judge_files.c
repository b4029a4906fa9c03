/* Found without starting anything: what overrides the change, what it takes away
 * silently, and arithmetic against limits. */
#include "kind_pg_internal.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* ---- silent dangers: nothing fails, something is gone ---- */

enum danger_test { IS_OFF, IS_ON };
static const struct danger {
    const char *name;
    enum danger_test test;
    enum tw_severity severity;
    enum tw_verdict at_least;
    const char *code, *title, *evidence, *remedy;
} dangers[] = {
    {"fsync", IS_OFF, TW_CRITICAL, TW_BLOCK, "durability.fsync",
     "fsync=off: a crash of the host corrupts the database",
     "without fsync the order of writes is not kept; after a power cut data files and "
     "WAL do not "
     "fit together",
     "keep fsync=on; for faster commits consider synchronous_commit=off, which loses the "
     "last "
     "moments and corrupts nothing"},
    {"full_page_writes", IS_OFF, TW_CRITICAL, TW_BLOCK, "durability.full_page_writes",
     "full_page_writes=off: a page half written at a crash stays broken",
     "pages are 8 kB and disks write less at once; only the page image in WAL repairs a "
     "torn one",
     "keep full_page_writes=on; wal_compression=on makes the images smaller"},
    {"synchronous_commit", IS_OFF, TW_MEDIUM, TW_REVIEW, "durability.window",
     "synchronous_commit=off: the last commits before a crash are lost",
     "a commit answers before its WAL is flushed; up to three times wal_writer_delay of "
     "commits "
     "(0.6 s by default) are gone after a crash, without corruption",
     "set it per role or transaction where the loss is acceptable, or accept it "
     "knowingly"},
    {"autovacuum", IS_OFF, TW_HIGH, TW_REVIEW, "maintenance.autovacuum",
     "autovacuum=off: dead rows are never reclaimed, tables grow until wraparound",
     "with autovacuum off only an explicit VACUUM removes dead rows and freezes old ones",
     "keep it on and tune cost limits instead"},
    {"track_counts", IS_OFF, TW_HIGH, TW_REVIEW, "maintenance.autovacuum",
     "track_counts=off: autovacuum does not know what to do any more",
     "autovacuum works from the statistics that this setting turns off", "keep it on"},
    {"default_transaction_read_only", IS_ON, TW_CRITICAL, TW_BLOCK, "write.read_only",
     "default_transaction_read_only=on: every write of an ordinary session fails",
     "ERROR: cannot execute UPDATE in a read-only transaction",
     "set it for the roles that only read"},
    {"zero_damaged_pages", IS_ON, TW_CRITICAL, TW_BLOCK, "durability.zero_damaged_pages",
     "zero_damaged_pages=on: damaged pages are emptied instead of reported",
     "rows on a page whose checksum fails are lost for good",
     "restore from a backup instead"},
    {"ignore_checksum_failure", IS_ON, TW_HIGH, TW_REVIEW, "durability.checksums",
     "ignore_checksum_failure=on: damaged pages are read as if they were whole",
     "corruption spreads from a page whose checksum fails, into answers and backups",
     "set it for the one session that rescues data"},
    {"data_sync_retry", IS_ON, TW_HIGH, TW_REVIEW, "durability.sync_retry",
     "data_sync_retry=on: after a failed flush data may be lost without a word",
     "on Linux a second fsync succeeds although the pages of the first were thrown away",
     "keep it off: the server then recovers from WAL"},
    {"restart_after_crash", IS_OFF, TW_MEDIUM, TW_REVIEW, "availability.restart",
     "restart_after_crash=off: one crashed session ends the whole server",
     "after a backend dies the postmaster ends instead of starting anew",
     "keep it on, unless a cluster manager decides instead"},
};

static bool danger_holds(const struct danger *d, const char *value)
{
    bool on;

    if (kind_pg_read_bool(value, &on) < 0)
        return false;
    return d->test == IS_ON ? on : !on;
}

/* Effective value: the last of the files, else what the snapshot knows as default. */
static const char *effective(const struct kind_pg_conf *conf, const struct tw_snapshot *s,
                             const char *name)
{
    const struct kind_pg_entry *e = kind_pg_conf_last(conf, name);
    const struct tw_setting *known = tw_snapshot_setting(s, name);

    if (e)
        return e->value;
    return known ? known->boot_value : NULL;
}

static void judge_dangers(struct tw_arena *a, const struct kind_pg_conf *conf,
                          const struct tw_snapshot *s, struct tw_issues *issues)
{
    for (size_t i = 0; i < TW_COUNT_OF(dangers); i++) {
        const struct danger *d = &dangers[i];
        const char *now = effective(conf, s, d->name);
        const struct tw_setting *before = tw_snapshot_setting(s, d->name);

        if (!now || !danger_holds(d, now) ||
            (before && before->value && danger_holds(d, before->value)))
            continue;
        tw_issue_add(a, issues, d->severity, d->at_least, d->code, d->title, d->evidence,
                     d->remedy);
    }
}

/* ---- lines that come to nothing ---- */

static bool same_value(const struct tw_setting *known, const char *a, const char *b)
{
    double x, y;
    bool p, q;

    if (tw_streq(a, b))
        return true;
    if (!known || !a || !b)
        return false;
    if (tw_streq(known->type, "bool"))
        return kind_pg_read_bool(a, &p) == 0 && kind_pg_read_bool(b, &q) == 0 && p == q;
    return known->unit && kind_pg_read_number(known, a, &x, NULL) == 0 &&
           kind_pg_read_number(known, b, &y, NULL) == 0 && x == y;
}

static void judge_overridden(struct tw_arena *a, const struct tw_access *x,
                             const struct tw_plan_step *step,
                             const struct kind_pg_conf *conf, struct tw_issues *issues)
{
    for (size_t i = 0; i < conf->entries.count; i++) {
        const struct kind_pg_entry *e = &conf->entries.items[i];
        const struct kind_pg_entry *last = kind_pg_conf_last(conf, e->name);
        const struct tw_setting *known = tw_snapshot_setting(x->snapshot, e->name);

        if (!tw_streq(e->file, step->path) || last == e ||
            same_value(known, e->value, last->value))
            continue;
        tw_issue_add(
            a, issues, TW_MEDIUM, TW_REVIEW, "change.overridden",
            tw_arena_printf(a, "%s line %d (%s) has no effect: a later line overrides it",
                            step->origin ? step->origin : step->path, e->line, e->name),
            tw_arena_printf(a, "%s = '%s' in %s line %d is read after it", last->name,
                            tw_redact_value(NULL, a, last->name, last->value),
                            tw_streq(last->file, step->path) && step->origin
                                ? step->origin
                                : last->file,
                            last->line),
            tw_ends_with(last->file, "postgresql.auto.conf")
                ? tw_arena_printf(
                      a,
                      "ALTER SYSTEM RESET %s; first, or make the change with ALTER "
                      "SYSTEM",
                      e->name)
                : "remove one of the two lines");
    }
}

/* A command line option of the server wins over every file. */
static void judge_command_line(struct tw_arena *a, const struct tw_snapshot *s,
                               const char *name, struct tw_issues *issues)
{
    const struct tw_setting *known = tw_snapshot_setting(s, name);

    if (!known || !tw_streq(known->source, "command line"))
        return;
    tw_issue_add(
        a, issues, TW_MEDIUM, TW_REVIEW, "change.overridden",
        tw_arena_printf(a, "%s is fixed on the server's command line", name),
        tw_arena_printf(a, "the server runs with -c %s=%s, which wins over every file",
                        name, known->value),
        "change the unit or script that starts it");
}

/* Changed earlier and still waiting: the restart that this change needs brings them too.
 */
static void judge_pending(struct tw_arena *a, const struct tw_snapshot *s,
                          const struct tw_plan *plan, struct tw_issues *issues)
{
    tw_auto_buf names = {0};

    tw_buf_init(&names, 16384);
    for (size_t i = 0; i < s->settings.count; i++)
        if (s->settings.items[i].pending_restart)
            tw_buf_printf(&names, "%s%s (now %s)", names.len ? ", " : "",
                          s->settings.items[i].name, s->settings.items[i].value);
    if (!names.len || !plan->needs_restart)
        return;
    tw_issue_add(
        a, issues, TW_MEDIUM, TW_PROCEED, "restart.pending",
        "the restart also brings earlier changes that still wait for one",
        tw_arena_printf(a, "pending_restart in pg_settings: %s; both twins run with them",
                        tw_buf_text(&names)),
        "see whether these are meant to come now");
}

/* ---- arithmetic ---- */

static void judge_memory(struct tw_arena *a, const struct tw_access *x,
                         struct tw_issues *issues)
{
    const char *text = x->asked ? x->asked + strspn(x->asked, " \n") : "";
    double need = *text >= '0' && *text <= '9' ? strtod(text, NULL) * 1048576 : NAN;
    double has = (double)x->snapshot->memory_bytes;
    double limit = (double)x->memory_limit_bytes;

    if (isnan(need))
        return;
    if (has > 0 && need > has)
        tw_issue_add(
            a, issues, TW_CRITICAL, TW_BLOCK, "memory.exceeds_target",
            "the shared memory asked for is more than the target's host has",
            tw_arena_printf(a, "postgres -C shared_memory_size says %s, the host has %s",
                            tw_show_bytes(a, need), tw_show_bytes(a, has)),
            "ask for less, or for a larger host");
    else if (has > 0 && need > 0.75 * has)
        tw_issue_add(
            a, issues, TW_HIGH, TW_REVIEW, "memory.tight",
            "shared memory leaves less than a quarter of the host for everything else",
            tw_arena_printf(a,
                            "postgres -C shared_memory_size says %s of %s; pages are "
                            "taken as they are touched, so this fails under load, not "
                            "at start",
                            tw_show_bytes(a, need), tw_show_bytes(a, has)),
            "about a quarter of the memory is usual for shared_buffers");
    else if (limit > 0 && need > limit)
        tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "not_verifiable_here",
                     "the twin's host is too small for this value",
                     tw_arena_printf(a, "%s asked for, %s is what a twin can have here",
                                     tw_show_bytes(a, need), tw_show_bytes(a, limit)),
                     "run the twin on a host of the target's size");
}

/* Of one sort, hash, vacuum or session: settings with such names. */
static const char *const memory_of_one[] = {"_mem", "_buffers"};

static void judge_one_process(struct tw_arena *a, const struct tw_access *x,
                              const struct kind_pg_conf *conf, struct tw_issues *issues)
{
    double has = (double)x->snapshot->memory_bytes;

    for (size_t i = 0; i < x->snapshot->settings.count && has > 0; i++) {
        const struct tw_setting *s = &x->snapshot->settings.items[i];
        const char *value = effective(conf, x->snapshot, s->name);
        bool memory = false;

        for (size_t k = 0; k < TW_COUNT_OF(memory_of_one); k++)
            memory |= tw_ends_with(s->name, memory_of_one[k]);
        if (!memory || !s->unit || !value || tw_streq(s->name, "shared_buffers") ||
            !(kind_pg_bytes(s, value) > has) || (s->value && kind_pg_bytes(s, s->value) > has))
            continue;
        tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "memory.tight",
                     "one process alone may take more memory than the host has",
                     tw_arena_printf(a, "%s=%s, the host has %s", s->name, value,
                                     tw_show_bytes(a, has)),
                     "a share of the memory that all who take it at once fit in");
    }
}

/* ---- who may enter ---- */

/* To connect a process has to be allowed to write to the socket. */
static void judge_socket(struct tw_arena *a, const struct tw_access *x,
                         const struct kind_pg_conf *conf, struct tw_issues *issues)
{
    const struct kind_pg_entry *e = kind_pg_conf_last(conf, "unix_socket_permissions");
    const struct tw_setting *known = tw_snapshot_setting(x->snapshot, "unix_socket_permissions");
    long was = known && known->value ? strtol(known->value, NULL, 8) : 0777;
    long is = e ? strtol(e->value, NULL, 8) : was;

    if (!(was & ~is & 0022))
        return;
    tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "client.refused",
                 was & ~is & 0002 ? "processes of other users no longer reach the local socket"
                                  : "processes of its group no longer reach the local socket",
                 tw_arena_printf(a, "unix_socket_permissions %04lo now, %04lo after the change", was, is),
                 "see as which users its clients on this host run, or have them use TCP");
}

static bool is_everyone(const char *address)
{
    return address &&
           (tw_starts_with(address, "0.0.0.0/0") || tw_starts_with(address, "::/0") ||
            tw_streq(address, "all") || tw_starts_with(address, "0.0.0.0/0.0.0.0"));
}

/* However they are set out; what follows a # is no word. */
static bool same_words(const char *a, const char *b)
{
    for (;;) {
        size_t n, m;

        a += strspn(a, " \t\r");
        b += strspn(b, " \t\r");
        n = strcspn(a, " \t\r\n#");
        m = strcspn(b, " \t\r\n#");
        if (n != m || strncmp(a, b, n) != 0)
            return false;
        if (n == 0)
            return true;
        a += n;
        b += m;
    }
}

/* The same words in a line of the target's own file: open already, and so no news. */
static bool was_open(const struct tw_snapshot *s, const char *line)
{
    for (size_t i = 0; i < s->files.count; i++) {
        if (!tw_streq(s->files.items[i].path, s->hba_file))
            continue;
        for (const char *at = s->files.items[i].text; at; at = strchr(at, '\n')) {
            at += *at == '\n';
            if (same_words(at, line))
                return true;
        }
    }
    return false;
}

static bool is_loopback(const char *address)
{
    return tw_starts_with(address, "127.") || tw_starts_with(address, "::1") ||
           tw_streq(address, "localhost") || tw_streq(address, "samehost");
}

/* Method password sends it as it is; what goes over the network without TLS can be read there. */
static void judge_clear_password(struct tw_arena *a, char *const *word, const char *line, int number,
                                 const char *file, struct tw_issues *issues)
{
    bool clear = tw_streq(word[4], "password") || tw_streq(word[5], "password");

    if (!clear || tw_streq(word[0], "hostssl") || tw_streq(word[0], "hostgssenc") ||
        is_loopback(word[3]))
        return;
    tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "exposure.clear_password",
                 "passwords go over the network as they are",
                 tw_arena_printf(a, "%s line %d: %s", file, number, line),
                 "scram-sha-256, which never sends one; or hostssl at least");
}

/* Everybody on earth, a network, or who is on the host anyway: the smaller the circle, the less it
 * forces. */
static void judge_trust(struct tw_arena *a, char *const *word, bool local, const char *line, int number,
                        const char *file, struct tw_issues *issues)
{
    bool trust = tw_streq(word[local ? 3 : 4], "trust") || (!local && tw_streq(word[5], "trust"));
    bool everyone = !local && is_everyone(word[3]);

    if (trust)
        tw_issue_add(a, issues, everyone ? TW_CRITICAL : TW_HIGH, everyone ? TW_BLOCK : TW_REVIEW,
                     "exposure.trust",
                     everyone ? "anyone who reaches the port is let in without a password"
                     : local  ? "whoever is on the host is let in without a password"
                              : "whoever is in a network is let in without a password",
                     tw_arena_printf(a, "%s line %d: %s", file, number, line),
                     "use scram-sha-256, and the networks that the clients are in");
}

static void judge_hba_line(struct tw_arena *a, const struct tw_access *x, char *line,
                           int number, const char *file, struct tw_issues *issues)
{
    char *word[6] = {0};
    char *copy = tw_arena_strdup(a, line);
    bool local;

    for (size_t i = 0; i < TW_COUNT_OF(word) && copy;) {
        char *w = strsep(&copy, " \t");

        if (*w)
            word[i++] = w;
    }
    local = tw_streq(word[0], "local");
    if (!word[local ? 3 : 4] || (!local && !tw_starts_with(word[0], "host")) ||
        was_open(x->snapshot, line))
        return;
    judge_trust(a, word, local, line, number, file, issues);
    if (!local)
        judge_clear_password(a, word, line, number, file, issues);
}

static void judge_hba(struct tw_arena *a, const struct tw_access *x,
                      const struct tw_plan *plan, struct tw_issues *issues)
{
    bool touched = false;
    tw_auto_free char *path = tw_strf("%s%s", x->root, x->snapshot->hba_file);
    tw_auto_free char *text = NULL;
    char *rest;
    int number = 0;

    for (size_t i = 0; i < plan->steps.count; i++)
        touched |= tw_streq(plan->steps.items[i].path, x->snapshot->hba_file);
    if (!touched || tw_read_file(AT_FDCWD, path, 4 << 20, &text, NULL, NULL) < 0)
        return;
    rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        number++;
        line[strcspn(line, "#")] = '\0';
        judge_hba_line(a, x, line, number, x->snapshot->hba_file, issues);
    }
}

/* ---- a standby ---- */

#define DEFAULT_DELAY_MS 30000 /* PostgreSQL's own: a cluster at rest does not tell it */

struct replay {
    double delay_ms; /* -1: replay waits for ever */
    bool feedback;
};

static struct replay replay_of(const struct tw_snapshot *s, const char *delay, const char *feedback)
{
    const struct tw_setting *known = tw_snapshot_setting(s, "max_standby_streaming_delay");
    struct replay r = {.delay_ms = NAN};

    if (!known || !delay || kind_pg_read_number(known, delay, &r.delay_ms, NULL) < 0)
        r.delay_ms = NAN;
    if (!feedback || kind_pg_read_bool(feedback, &r.feedback) < 0)
        r.feedback = false;
    return r;
}

static const char *before(const struct tw_setting *s)
{
    return !s ? NULL : s->value ? s->value : s->boot_value;
}

/* Without feedback the primary removes rows that a query here still sees; replay then waits for the
 * query this long and cancels it. Which queries are longer, the statistics of the target tell. */
static void judge_standby(struct tw_arena *a, const struct tw_access *x,
                          const struct kind_pg_conf *conf, struct tw_issues *issues)
{
    const struct tw_snapshot *s = x->snapshot;
    const struct tw_setting *delay = tw_snapshot_setting(s, "max_standby_streaming_delay");
    const struct tw_setting *feedback = tw_snapshot_setting(s, "hot_standby_feedback");
    struct replay was, now;
    double longest_ms = 0;

    if (!kind_pg_is_standby(x))
        return;
    was = replay_of(s, before(delay), before(feedback));
    if (isnan(was.delay_ms))
        was.delay_ms = DEFAULT_DELAY_MS;
    now = replay_of(s, effective(conf, s, "max_standby_streaming_delay"),
                    effective(conf, s, "hot_standby_feedback"));
    if (now.feedback || !(now.delay_ms >= 0) ||
        !(was.feedback || was.delay_ms < 0 || was.delay_ms > now.delay_ms))
        return;
    for (size_t i = 0; i < s->statements.count; i++)
        longest_ms = fmax(longest_ms, s->statements.items[i].mean_ms);
    if (longest_ms > 0 && longest_ms < now.delay_ms)
        return;
    tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "replica.conflicts",
                 "queries on this standby are cancelled when their rows are removed on the primary",
                 tw_arena_printf(a,
                                 "max_standby_streaming_delay=%g ms and hot_standby_feedback=off: "
                                 "ERROR: canceling statement due to conflict with recovery, for "
                                 "each query that is longer; %s",
                                 now.delay_ms,
                                 longest_ms > 0
                                     ? tw_arena_printf(a, "the longest of its statements takes %g "
                                                          "ms on average", longest_ms)
                                     : "how long its queries are is not known here"),
                 "hot_standby_feedback=on, or a delay longer than the longest query");
}

void kind_pg_judge_files(struct tw_arena *a, const struct tw_access *access,
                         const struct tw_plan *plan, struct tw_issues *issues)
{
    struct kind_pg_conf conf;

    kind_pg_conf_read(a, access->root, access->snapshot->config_file,
                      access->snapshot->data_dir, &conf);
    judge_dangers(a, &conf, access->snapshot, issues);
    for (size_t i = 0; i < plan->steps.count; i++) {
        const struct tw_plan_step *step = &plan->steps.items[i];

        if (step->kind == TW_STEP_SETTING)
            judge_command_line(a, access->snapshot, step->name, issues);
        else
            judge_overridden(a, access, step, &conf, issues);
    }
    judge_pending(a, access->snapshot, plan, issues);
    judge_memory(a, access, issues);
    judge_one_process(a, access, &conf, issues);
    judge_socket(a, access, &conf, issues);
    judge_hba(a, access, plan, issues);
    judge_standby(a, access, &conf, issues);
}
