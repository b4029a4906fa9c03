/* The server's own words made into findings: what it says when it starts, when it
 * reloads, when it dies. Rows of patterns only choose a name and a remedy for what it
 * said; anything it dies of is a finding, known pattern or not. */
#include "kind_pg_internal.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* ---- the log, taken apart ---- */

struct entry {
    const char *severity, *message, *detail, *hint;
};
struct entries {
    TW_ARRAY(struct entry) list;
};

static const char *const severities[] = {"PANIC",   "FATAL", "ERROR",
                                         "WARNING", "LOG",   "NOTICE"};
static const char *const continued[] = {"DETAIL", "HINT"};

/* "<prefix>WORD:  text": whatever log_line_prefix says before it. */
static const char *after_word(const char *line, const char *word)
{
    tw_auto_free char *mark = tw_strf("%s:  ", word);
    const char *at = strstr(line, mark);

    return at ? at + strlen(mark) : NULL;
}

static void take_log_line(struct tw_arena *a, const char *line, struct entries *ret)
{
    const char *text;

    for (size_t i = 0; i < TW_COUNT_OF(severities); i++) {
        if (!(text = after_word(line, severities[i])))
            continue;
        TW_PUSH(a, &ret->list, (struct entry){severities[i], text, NULL, NULL});
        return;
    }
    if (!ret->list.count)
        return;
    for (size_t i = 0; i < TW_COUNT_OF(continued); i++) {
        struct entry *last = &ret->list.items[ret->list.count - 1];

        if (!(text = after_word(line, continued[i])))
            continue;
        *(i ? &last->hint : &last->detail) = text;
    }
}

static struct entries read_log(struct tw_arena *a, const struct tw_access *x, size_t from)
{
    struct entries e = {0};
    const char *log = x->log ? x->log : "";
    char *text = tw_arena_strdup(a, strlen(log) > from ? log + from : "");

    for (char *line; (line = strsep(&text, "\n"));)
        take_log_line(a, line, &e);
    return e;
}

/* "twin-change-1.conf" is our name for what the user calls new.conf. */
static const char *users_words(struct tw_arena *a, const struct tw_plan *plan,
                               const char *text)
{
    tw_auto_buf out = {0};

    for (size_t i = 0; plan && i < plan->steps.count; i++) {
        const struct tw_plan_step *step = &plan->steps.items[i];
        const char *at = step->path && step->origin ? strstr(text, step->path) : NULL;

        if (!at || step->kind != TW_STEP_FRAGMENT)
            continue;
        tw_buf_init(&out, 64 * 1024);
        tw_buf_add(&out, text, (size_t)(at - text));
        tw_buf_puts(&out, step->origin);
        tw_buf_puts(&out, at + strlen(step->path));
        text = tw_arena_strdup(a, tw_buf_text(&out));
        tw_buf_done(&out);
    }
    return tw_redact_text(NULL, a, text);
}

static const char *show(struct tw_arena *a, const struct tw_plan *plan,
                        const struct entry *e)
{
    char *text = tw_arena_printf(a, "%s: %s%s%s%s%s", e->severity, e->message,
                                 e->detail ? " DETAIL: " : "", e->detail ? e->detail : "",
                                 e->hint ? " HINT: " : "", e->hint ? e->hint : "");

    return users_words(a, plan, text);
}

/* ---- names and remedies ---- */

struct pattern {
    const char *text; /* part of what the server says */
    const char *code, *remedy;
};
static const struct pattern patterns[] = {
    {"anonymous shared memory", "start.memory",
     "ask for less shared memory (shared_buffers, max_connections, huge_pages), or for a "
     "larger "
     "host"},
    {"could not resize shared memory", "start.memory",
     "enlarge /dev/shm, or ask for less"},
    {"could not access file", "start.library",
     "install the library on the server, or check its spelling"},
    {"could not load library", "start.library",
     "install a build of it for this major version"},
    {"certificate file", "start.tls", "put the certificate there before the change"},
    {"private key file", "start.tls",
     "put the key there, owned by the server's user with mode 0600, or by root with "
     "0640"},
    {"SSL", "start.tls", "use versions and options of TLS that fit together"},
    {"cipher list", "start.tls", "use names of ciphers that this OpenSSL knows"},
    {"root certificate", "start.tls", "put the certificate there before the change"},
    {"could not load pg_hba.conf", "start.hba",
     "correct the line; pg_hba_file_rules shows it"},
    {"pg_ident.conf", "start.hba", "correct the line; pg_ident_file_mappings shows it"},
    {"pg_hba.conf", "start.hba", "correct the line; pg_hba_file_rules shows it"},
    {"could not create any TCP/IP sockets", "start.listen",
     "use an address that this host has, and a port that is free"},
    {"could not create any Unix-domain sockets", "start.listen",
     "make the directory, writable for the server"},
    {"could not create lock file", "start.listen",
     "make the directory, writable for the server"},
    {"not supported by this build", "start.value", "use a value that this build knows"},
    {"outside the valid range", "start.value", "use a value within the range"},
    {"invalid value for parameter", "start.value", "use a value that the server takes"},
    {"unrecognized configuration parameter", "start.unknown_setting",
     "check the spelling"},
    {"syntax error in file", "start.syntax", "correct the line"},
    {"incompatible with server", "start.version",
     "use binaries of the data's major version, or pg_upgrade"},
    {"insufficient parameter settings", "start.standby",
     "raise the setting on the standby first, then on the primary"},
    {"requires wal_level", "start.wal_level", "change wal_level together with it"},
    {"when wal_level is", "start.wal_level", "change wal_level together with it"},
    {"logical replication slot", "start.wal_level",
     "keep wal_level=logical, or drop the slot first"},
    {"physical replication slot", "start.wal_level",
     "keep wal_level=replica, or drop the slot first"},
    {"replication slots", "start.slots",
     "keep max_replication_slots at least as large as the slots that exist, or drop them"},
    {"could not open configuration file", "start.file",
     "put the file there before the change, readable for the server's user"},
    {"could not open configuration directory", "start.file",
     "make the directory before the change, readable for the server's user"},
    {"backup_label", "start.data", "take the file away, or restore the backup that it is of"},
    {"restore_command", "start.recovery",
     "set restore_command together with it, or take the signal file away"},
    {"recovery target", "start.recovery", "use one target, which the WAL at hand reaches"},
    {"could not bind", "start.listen", "use an address that this host has"},
    {"group \"", "start.user", "make the group first"},
    {"has group or world access", "start.permission", "chmod 0700, or 0750"},
    {"invalid permissions", "start.permission", "chmod 0700, or 0750"},
    {"ermission denied", "start.permission", "let the server's user read and write it"},
    {"must be less than", "start.value", "choose both so that one stays below the other"},
    {"must be greater than", "start.value", "choose both so that one stays above the other"},
    {"could not open log file", "start.log",
     "make the directory, writable for the server"},
    {"No space left", "start.disk", "free or add space"},
};

static const struct pattern *pattern_of(const char *message)
{
    for (size_t i = 0; i < TW_COUNT_OF(patterns); i++)
        if (strstr(message, patterns[i].text))
            return &patterns[i];
    return NULL;
}

/* ---- how a start went ---- */

/* Complaints that the server writes as LOG and then dies of. */
static bool is_complaint(const struct entry *e)
{
    return !tw_streq(e->severity, "NOTICE") && !tw_streq(e->severity, "WARNING") &&
           (!tw_streq(e->severity, "LOG") || pattern_of(e->message) ||
            strstr(e->message, "contains errors") || strstr(e->message, "was not reloaded") || strstr(e->message, "could not "));
}

/* Said on every start. */
static const char *const routine[] = {"starting PostgreSQL", "listening on", "database system",
                                      "redirecting log", "shutting down", "checkpoint ",
                                      "received SIGHUP", "parameter \""};

/* The last it writes before it gives up (all, or what was changed) is why, whatever severity that has. */
static bool leads_to_the_end(const struct entries *log, size_t i)
{
    const struct entry *next = i + 1 < log->list.count ? &log->list.items[i + 1] : NULL;

    if (!next || (!tw_streq(next->severity, "FATAL") && !tw_streq(next->severity, "PANIC") &&
                  !strstr(next->message, "was not reloaded")))
        return false;
    for (size_t k = 0; k < TW_COUNT_OF(routine); k++)
        if (tw_starts_with(log->list.items[i].message, routine[k]))
            return false;
    return true;
}

/* Which line of the change sets that name, for words in which the server gives no line.
 */
static const char *line_in_change(struct tw_arena *a, const struct tw_plan *plan,
                                  const char *message)
{
    const char *quote = strstr(message, "parameter \"");
    const char *name;

    if (!quote || !plan)
        return NULL;
    quote += strlen("parameter \"");
    name = tw_arena_strndup(a, quote, strcspn(quote, "\""));
    for (size_t i = 0; i < plan->steps.count; i++) {
        const struct tw_plan_step *step = &plan->steps.items[i];
        struct tw_pg_assignments lines;

        if (step->kind == TW_STEP_SETTING || !step->value ||
            tw_pg_parse_assignments(a, step->value, &lines, NULL) < 0)
            continue;
        for (size_t j = lines.list.count; j-- > 0;)
            if (tw_streq(lines.list.items[j].name, name))
                return tw_arena_printf(
                    a, "%s line %d: ", step->origin ? step->origin : step->path,
                    lines.list.items[j].line);
    }
    return NULL;
}

static const char *join_complaints(struct tw_arena *a, const struct tw_plan *plan,
                                   const struct entries *log,
                                   const struct pattern **ret_kind)
{
    tw_auto_buf text = {0};
    int shown = 0;

    tw_buf_init(&text, 16 * 1024);
    *ret_kind = NULL;
    for (size_t i = 0; i < log->list.count; i++) {
        const struct entry *e = &log->list.items[i];
        const char *where;

        if (!is_complaint(e) && !leads_to_the_end(log, i))
            continue;
        if (!*ret_kind)
            *ret_kind = pattern_of(e->message);
        if (++shown > 6)
            break;
        where = line_in_change(a, plan, e->message);
        tw_buf_printf(&text, "%s%s%s", text.len ? "\n" : "", where ? where : "",
                      show(a, plan, e));
    }
    return tw_arena_strdup(a, tw_buf_text(&text));
}

static const char *how_it_ended(struct tw_arena *a, int status)
{
    if (WIFSIGNALED(status))
        return tw_arena_printf(a, "it was ended by signal %d (%s) and wrote nothing",
                               WTERMSIG(status), strsignal(WTERMSIG(status)));
    return tw_arena_printf(a, "it ended with exit status %d and wrote nothing",
                           WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

/* Before its log is set up the server writes plain lines: "postgres: … must be less than …". */
static const char *plain_words(struct tw_arena *a, const struct tw_access *x, size_t from,
                               const struct tw_plan *plan, const struct pattern **ret_kind)
{
    const char *log = x->log && strlen(x->log) > from ? x->log + from : "";
    char *text = tw_arena_strdup(a, log), *last = NULL;

    for (char *line; (line = strsep(&text, "\n"));)
        if (*line)
            last = line;
    if (!last)
        return "";
    *ret_kind = pattern_of(last);
    return users_words(a, plan, last);
}

static void judge_dead(struct tw_arena *a, const struct tw_access *x, size_t log_from,
                       const struct tw_plan *plan, const struct entries *log, int status,
                       struct tw_issues *issues)
{
    const struct pattern *kind;
    const char *words = join_complaints(a, plan, log, &kind);

    if (!*words)
        words = plain_words(a, x, log_from, plan, &kind);
    if (x->oom_kills > 0)
        tw_issue_add(a, issues, TW_CRITICAL, TW_BLOCK, "start.oom",
                     "the server is killed for lack of memory while it starts",
                     tw_arena_printf(a,
                                     "the kernel killed %lld processes at a limit of %s",
                                     (long long)x->oom_kills,
                                     tw_show_bytes(a, (double)x->memory_limit_bytes)),
                     "ask for less memory, or raise the limit");
    else
        tw_issue_add(a, issues, TW_CRITICAL, TW_BLOCK, kind ? kind->code : "start.failed",
                     "the server does not start with this change",
                     *words ? words : how_it_ended(a, status),
                     kind ? kind->remedy : "correct what the server names");
}

void kind_pg_judge_start(struct tw_arena *a, const struct tw_access *access,
                         size_t log_from, const struct tw_plan *plan, bool started,
                         int wait_status, struct tw_issues *issues)
{
    struct entries log = read_log(a, access, log_from);

    if (!started) {
        judge_dead(a, access, log_from, plan, &log, wait_status, issues);
        return;
    }
    for (size_t i = 0; i < log.list.count; i++) {
        const struct entry *e = &log.list.items[i];

        if (tw_streq(e->severity, "WARNING"))
            tw_issue_add(a, issues, TW_MEDIUM, TW_PROCEED, "start.warning",
                         "the server starts with a warning", show(a, plan, e),
                         "read what the server says before going on");
        else if (tw_streq(e->severity, "LOG") && strstr(e->message, "could not bind"))
            tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "start.listen_partial",
                         "the server does not listen on every address that is asked for",
                         show(a, plan, e), "use addresses that this host has");
    }
}

/* ---- how a reload went ---- */

static bool is_waiting_for_restart(const char *message)
{
    return strstr(message, "cannot be changed without restarting the server");
}

void kind_pg_judge_reload(struct tw_arena *a, const struct tw_access *access,
                          size_t log_from, const struct tw_plan *plan,
                          struct tw_issues *issues)
{
    struct entries log = read_log(a, access, log_from);
    struct entries bad = {0};
    const struct pattern *kind;
    const char *words;
    bool waits = false;

    for (size_t i = 0; i < log.list.count; i++) {
        const struct entry *e = &log.list.items[i];

        /* A parameter that waits for the restart is counted as an error by the server's
         * summary, and is none. */
        if (is_waiting_for_restart(e->message))
            waits = true;
        else if (strstr(e->message, "unaffected changes were applied") && waits &&
                 bad.list.count == 0)
            continue;
        else if (is_complaint(e) || leads_to_the_end(&log, i))
            TW_PUSH(a, &bad.list, *e);
    }
    if (bad.list.count == 0)
        return;
    words = join_complaints(a, plan, &bad, &kind);
    tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "reload.rejected",
                 "a reload does not take this change", words,
                 kind ? kind->remedy : "correct what the server names");
}
