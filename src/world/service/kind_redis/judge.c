/* What Redis says when it starts and while it serves, and what its files mean before it is started:
 * silent dangers, lines that come to nothing. */
#include "kind_redis_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- words ---- */

#define FORCES TW_CRITICAL, TW_BLOCK
#define ASKS   TW_HIGH, TW_REVIEW
static const struct host_words start_words[] = {
    {"FATAL CONFIG FILE ERROR", "start.value", FORCES,
     "the server does not take its configuration", "correct the line that it names"},
    {"Bad directive or wrong number of arguments", "start.unknown_setting", FORCES,
     "the server does not know a setting", "check the spelling and the number of values"},
    {"more than * databases", "start.databases", FORCES,
     "the data lies in databases that are not there any more",
     "keep as many databases as there is data in"},
    {"Data file was created with a Redis server configured to handle more than",
     "start.databases", FORCES, "the data lies in databases that are not there any more",
     "keep as many databases as there is data in"},
    {"Could not create server TCP listening socket", "start.listen", FORCES,
     "an address or port cannot be used",
     "use an address that this host has, and a free port"},
    {"Failed listening on port", "start.listen", FORCES, "a port cannot be used",
     "use an address that this host has, and a free port"},
    {"opening Unix socket", "start.listen", FORCES, "its socket cannot be made",
     "make the directory, writable for the server"},
    {"Failed to configure TLS", "start.tls", FORCES, "certificate or key cannot be used",
     "put both where the server's user may read them"},
    {"Can't open the append-only", "start.data", FORCES,
     "the append only log cannot be opened",
     "make its directory writable for the server's user"},
    {"Bad file format reading the append only file", "start.data", FORCES,
     "the append only log is damaged",
     "redis-check-aof --fix on a copy of it, then decide which data to keep"},
    {"Wrong signature trying to load DB", "start.data", FORCES, "the dump is no dump",
     "restore it from a backup"},
    {"Fatal error loading the DB", "start.data", FORCES, "the data cannot be loaded",
     "use the version that wrote it, or restore it"},
    {"Can't handle RDB format version", "start.version", FORCES,
     "the data was written by a later version", "use that version"},
    {"ACL errors", "start.acl", FORCES, "the rules for users cannot be read",
     "correct the rule that it names"},
    {"Error in applying operation", "start.acl", FORCES,
     "a rule for users cannot be read", "correct the rule that it names"},
    {"WARNING: You specified a maxmemory value that is less than 1MB", "memory.unit",
     ASKS, "maxmemory is less than 1 MB: the unit was forgotten",
     "write the unit: 100mb"},
    {"maxclients has been reduced", "clients.lowered", ASKS,
     "fewer clients than configured: the limit of open files is too low",
     "raise LimitNOFILE of the unit to maxclients + 32"},
    {"Warning: Could not create server TCP listening socket", "start.listen_partial",
     ASKS, "the server does not listen on every address that is asked for",
     "use addresses that this host has"},
};
static const struct host_words log_words[] = {
    {"No space left on device", "disk.full", FORCES, "the disk is full",
     "free or add space before the change"},
    {"Background saving error", "durability.save_fails", FORCES,
     "saving fails, and then every write is refused (MISCONF)",
     "make room for a second dump beside the first, and memory for the fork"},
    {"Error writing to the AOF file", "durability.save_fails", FORCES,
     "the append only log cannot be written, and then every write is refused",
     "free or add space"},
    {"Can't save in background: fork", "memory.fork", FORCES,
     "there is not memory enough to fork for saving",
     "vm.overcommit_memory=1, or a smaller maxmemory"},
    {"Asynchronous AOF fsync is taking too long", "io.fsync_slow", ASKS,
     "the disk is too slow for the log that is kept now",
     "a faster disk, or appendfsync everysec"},
    {"Error accepting a client connection", "clients.refused", FORCES,
     "clients are not accepted any more", "raise LimitNOFILE and maxclients"},
    {"for overcoming of output buffer limits", "clients.dropped", ASKS,
     "clients are dropped because they read too slowly",
     "a larger client-output-buffer-limit"},
    {"MASTER aborted replication", "replication.broken", ASKS,
     "the master refuses this replica", "look at masterauth and the master's own log"},
    {"Out Of Memory allocating", "memory.out", FORCES, "it dies for lack of memory",
     "maxmemory below the memory that there is"},
};

/* Said at every start, by a healthy server too. */
static const char *const usual[] = {"Redis version=",
                                    "Configuration loaded",
                                    "monotonic clock",
                                    "oO0OoO0OoO0Oo",
                                    "Server initialized",
                                    "Running mode=",
                                    "WARNING Memory overcommit",
                                    "WARNING: The TCP backlog",
                                    "WARNING you have Transparent Huge Pages",
                                    "Increased maximum number of open files"};

/* "1234:M 23 Nov 2026 18:10:49.534 # words": what differs from run to run goes. */
static const char *clean(struct tw_arena *a, const char *line)
{
    const char *p = line + strspn(line, "0123456789");
    const char *level;

    (void)a;
    if (p == line || *p != ':')
        return isspace((unsigned char)*line) ? NULL : line;
    level = strpbrk(p, "#*");
    line = level && level[1] == ' ' ? level + 2 : line;
    for (size_t i = 0; i < TW_COUNT_OF(usual); i++)
        if (tw_starts_with(line, usual[i]))
            return NULL;
    return line;
}

void kind_redis_judge_start(struct tw_arena *a, const struct tw_access *access,
                            size_t log_from, const struct tw_plan *plan, bool started,
                            int wait_status, struct tw_issues *issues)
{
    if (!started) {
        host_judge_dead(a, access, log_from, clean, start_words, TW_COUNT_OF(start_words),
                        wait_status, issues);
        return;
    }
    host_words_judge(a, access->log, log_from, clean, start_words,
                     TW_COUNT_OF(start_words), issues);
    kind_redis_judge_state(a, access, plan, issues);
}

void kind_redis_judge_reload(struct tw_arena *a, const struct tw_access *access,
                             size_t log_from, const struct tw_plan *plan,
                             struct tw_issues *issues)
{
    const char *refused = kind_redis_refused(a, access);

    if (refused)
        tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "reload.rejected",
                     "the running server does not take this change", refused,
                     "use a value that it takes while it runs, or restart it");
    host_words_judge(a, access->log, log_from, clean, start_words,
                     TW_COUNT_OF(start_words), issues);
    kind_redis_judge_state(a, access, plan, issues);
}

void kind_redis_judge_log(struct tw_arena *a, const struct tw_access *access,
                          size_t log_from, struct tw_issues *issues)
{
    host_words_judge(a, access->log, log_from, clean, log_words, TW_COUNT_OF(log_words),
                     issues);
}

/* ---- files ---- */

struct reading {
    struct tw_arena *a;
    const struct tw_access *x;
    const struct tw_plan *plan;
    struct redis_conf conf;
    struct tw_issues *issues;
};

static const char *before(const struct reading *r, const char *name)
{
    const struct tw_setting *one = tw_snapshot_setting(r->x->snapshot, name);

    return one && one->value ? one->value : "";
}

/* What holds after a restart: the last line, else the program's own default. */
static const char *after(const struct reading *r, const char *name)
{
    const struct tw_setting *one = tw_snapshot_setting(r->x->snapshot, name);

    return redis_conf_value(r->a, &r->conf, name,
                            one && one->boot_value ? one->boot_value : "");
}

static bool keeps(const char *save, const char *appendonly)
{
    return *save || strcasecmp(appendonly, "yes") == 0;
}

static void judge_persistence(const struct reading *r)
{
    bool kept = keeps(before(r, "save"), before(r, "appendonly"));
    bool log_before = strcasecmp(before(r, "appendonly"), "yes") == 0;
    bool log_after = strcasecmp(after(r, "appendonly"), "yes") == 0;

    if (kept && !keeps(after(r, "save"), after(r, "appendonly")))
        tw_issue_add(
            r->a, r->issues, TW_CRITICAL, TW_BLOCK, "durability.none",
            "nothing is written to disk any more: a restart loses everything",
            "no save line and appendonly no; before: save and append only log were not "
            "both off",
            "keep a save line or appendonly yes");
    else if (log_before && !log_after)
        tw_issue_add(
            r->a, r->issues, TW_HIGH, TW_REVIEW, "durability.window",
            "without the append only log everything since the last dump is lost at a "
            "crash",
            tw_arena_printf(r->a, "appendonly no; dumps by: save %s", after(r, "save")),
            "keep appendonly yes where each write counts");
}

/* How much of what was answered is gone after a power cut, by appendfsync. */
static const struct {
    const char *value;
    int rank;
    enum tw_severity severity;
    const char *loses;
} syncs[] = {{"always", 2, TW_INFO, "nothing"},
             {"everysec", 1, TW_MEDIUM, "up to two seconds of writes"},
             {"no", 0, TW_HIGH,
              "whatever the kernel has not written yet: up to 30 seconds of writes"}};

static size_t sync_of(const char *value)
{
    size_t i = 0;

    while (i + 1 < TW_COUNT_OF(syncs) && strcasecmp(syncs[i].value, value) != 0)
        i++;
    return i;
}

static void judge_sync(const struct reading *r)
{
    size_t was = sync_of(before(r, "appendfsync")), is = sync_of(after(r, "appendfsync"));

    if (strcasecmp(after(r, "appendonly"), "yes") != 0 ||
        syncs[is].rank >= syncs[was].rank)
        return;
    tw_issue_add(r->a, r->issues, syncs[is].severity, TW_REVIEW, "durability.window",
                 tw_arena_printf(r->a, "appendfsync %s: a power cut loses %s",
                                 syncs[is].value, syncs[is].loses),
                 tw_arena_printf(r->a, "appendfsync %s now, %s after the change",
                                 syncs[was].value, syncs[is].value),
                 "keep appendfsync everysec at least");
}

static void judge_stop_writes(const struct reading *r)
{
    if (strcasecmp(before(r, "stop-writes-on-bgsave-error"), "yes") != 0 ||
        strcasecmp(after(r, "stop-writes-on-bgsave-error"), "no") != 0)
        return;
    tw_issue_add(r->a, r->issues, TW_HIGH, TW_REVIEW, "durability.silent",
                 "a failing save is not noticed any more",
                 "stop-writes-on-bgsave-error no: writes go on while no dump succeeds",
                 "keep it on, or watch rdb_last_bgsave_status");
}

/* appendonly yes over data that only the dump has: the server then reads the log alone, which is
 * not there, and starts empty. */
static void judge_ignored_dump(const struct reading *r)
{
    const char *dir = after(r, "dir");
    const char *log_dir = after(r, "appenddirname"), *log = after(r, "appendfilename");
    tw_auto_free char *dump = NULL, *old = NULL, *list = NULL;
    struct stat st;

    if (*dir != '/')
        dir = r->x->snapshot->data_dir;
    dump = tw_strf("%s%s/%s", r->x->root, dir, after(r, "dbfilename"));
    old = tw_strf("%s%s/%s", r->x->root, dir, log);
    list = tw_strf("%s%s/%s/%s.manifest", r->x->root, dir, log_dir, log);
    if (strcasecmp(after(r, "appendonly"), "yes") != 0 || stat(dump, &st) < 0 ||
        !st.st_size || access(list, F_OK) == 0 || access(old, F_OK) == 0)
        return;
    tw_issue_add(r->a, r->issues, TW_CRITICAL, TW_BLOCK, "restart.data_ignored",
                 "the next start ignores the dump and begins empty",
                 tw_arena_printf(
                     r->a,
                     "appendonly yes, no %s/%s.manifest, and %s of %s/%s that is "
                     "not read; the shutdown after it overwrites the dump with nothing",
                     log_dir, log, tw_show_bytes(r->a, (double)st.st_size), dir,
                     after(r, "dbfilename")),
                 "first CONFIG SET appendonly yes on the running server, wait until "
                 "aof_rewrite_in_progress is 0, then CONFIG REWRITE");
}

/* Where its log goes is not tried in a twin, so it is looked at. */
static void judge_log_file(const struct reading *r)
{
    const char *path = host_path(r->a, after(r, "logfile"));
    tw_auto_free char *dir =
        *path == '/' ? tw_strf("%s%s", r->x->root, host_parent(r->a, path)) : NULL;
    struct stat st;

    if (!dir || tw_streq(after(r, "logfile"), before(r, "logfile")) ||
        stat(dir, &st) == 0)
        return;
    tw_issue_add(r->a, r->issues, TW_CRITICAL, TW_BLOCK, "start.log",
                 "the server does not start: its log cannot be written",
                 tw_arena_printf(r->a, "logfile %s: the target has no directory '%s'",
                                 path, host_parent(r->a, path)),
                 "make the directory, writable for the server");
}

static void judge_overridden(const struct reading *r)
{
    for (size_t i = 0; i < r->plan->steps.count; i++) {
        const struct tw_plan_step *step = &r->plan->steps.items[i];
        const struct redis_line *last =
            step->kind == TW_STEP_SETTING && !redis_conf_is_file_only(step->name)
                ? redis_conf_last(&r->conf, step->name)
                : NULL;

        if (!last || tw_streq(last->file, r->x->snapshot->config_file))
            continue;
        tw_issue_add(
            r->a, r->issues, TW_MEDIUM, TW_REVIEW, "change.overridden",
            tw_arena_printf(r->a,
                            "%s has no effect: a file that is included overrides it",
                            step->name),
            tw_arena_printf(r->a, "%s %s in %s line %d is read after it", last->name,
                            tw_redact_value(NULL, r->a, last->name, last->value),
                            last->file, last->line),
            "change it there");
    }
}

/* Set while it runs and never written to the file: the restart of this change takes it back. */
static void judge_pending(const struct reading *r)
{
    const struct tw_snapshot *s = r->x->snapshot;
    tw_auto_buf names = {0};

    tw_buf_init(&names, 16384);
    for (size_t i = 0; i < s->settings.count; i++)
        if (s->settings.items[i].pending_restart)
            tw_buf_printf(&names, "%s%s (now %s)", names.len ? ", " : "",
                          s->settings.items[i].name, s->settings.items[i].value);
    if (!names.len || !r->plan->needs_restart)
        return;
    tw_issue_add(
        r->a, r->issues, TW_MEDIUM, TW_PROCEED, "restart.pending",
        "the restart takes back what was set on the running server only",
        tw_arena_printf(r->a, "differs from the file: %s; both twins run with the file",
                        tw_buf_text(&names)),
        "CONFIG REWRITE first, if it is meant to stay");
}

/* ---- arithmetic: is there room for a second dump? ---- */

static double room_of(const struct tw_snapshot *s)
{
    for (size_t i = 0; i < s->counters.count; i++)
        if (tw_streq(s->counters.items[i].kind, "disk"))
            return s->counters.items[i].limit - s->counters.items[i].used;
    return NAN;
}

static void judge_room(const struct reading *r)
{
    double room = room_of(r->x->snapshot), need = (double)r->x->snapshot->data_bytes;
    bool more = (*after(r, "save") && strcmp(after(r, "save"), before(r, "save")) != 0) ||
                (strcasecmp(after(r, "appendonly"), "yes") == 0 &&
                 strcasecmp(before(r, "appendonly"), "yes") != 0);

    if (!more || isnan(room) || room >= need)
        return;
    tw_issue_add(
        r->a, r->issues, TW_CRITICAL, TW_BLOCK, "disk.dump_room",
        "a new dump does not fit beside the old one: saving fails, then every write is "
        "refused (MISCONF)",
        tw_arena_printf(r->a, "%s free in %s, the data takes %s",
                        tw_show_bytes(r->a, room), r->x->snapshot->data_dir,
                        tw_show_bytes(r->a, need)),
        "make room first");
}

static void (*const file_checks[])(const struct reading *) = {
    judge_persistence, judge_sync,       judge_stop_writes, judge_ignored_dump,
    judge_log_file,    judge_overridden, judge_pending,     judge_room};

void kind_redis_judge_files(struct tw_arena *a, const struct tw_access *access,
                            const struct tw_plan *plan, struct tw_issues *issues)
{
    struct reading r = {.a = a, .x = access, .plan = plan, .issues = issues};

    redis_conf_read(a, access->root, access->snapshot->config_file, &r.conf);
    for (size_t i = 0; i < TW_COUNT_OF(file_checks); i++)
        file_checks[i](&r);
}
