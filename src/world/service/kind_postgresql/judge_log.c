/* What the server says while it serves. Every row is something that it does not say when all is well:
 * said by the candidate and not by the baseline under the same load, it is the change's. */
#include "kind_pg_internal.h"

#include <string.h>

static const struct row {
    const char *text; /* part of what the server says */
    enum tw_severity severity;
    enum tw_verdict at_least;
    const char *code, *title, *remedy;
} rows[] = {
    {"checkpoints are occurring too frequently", TW_HIGH, TW_REVIEW, "wal.checkpoints",
     "WAL forces checkpoints one after the other",
     "raise max_wal_size; every checkpoint makes the pages after it be written whole"},
    {"out of shared memory", TW_CRITICAL, TW_BLOCK, "locks.exhausted",
     "the table of locks is full", "raise max_locks_per_transaction"},
    {"out of memory", TW_CRITICAL, TW_BLOCK, "memory.exhausted",
     "the server finds no memory", "lower work_mem or the number of sessions"},
    {"No space left on device", TW_CRITICAL, TW_BLOCK, "disk.full",
     "the server finds no space on its disk", "free or add space"},
    {"archive command failed", TW_HIGH, TW_REVIEW, "archive.failing",
     "archiving fails, and WAL is kept until it does not",
     "correct archive_command; try it by hand as the server's user"},
    {"archiving is not configured", TW_HIGH, TW_REVIEW, "archive.failing",
     "archiving is on and nothing takes the WAL, which is kept until something does",
     "set archive_command or what archive_library needs, or archive_mode=off"},
    {"remaining connection slots are reserved", TW_CRITICAL, TW_BLOCK,
     "connections.exhausted", "sessions are turned away", "raise max_connections"},
    {"too many clients already", TW_CRITICAL, TW_BLOCK, "connections.exhausted",
     "sessions are turned away", "raise max_connections"},
    {"out of file descriptors", TW_HIGH, TW_REVIEW, "files.exhausted",
     "the server runs out of open files", "raise its limit of open files"},
    {"was terminated by signal", TW_CRITICAL, TW_BLOCK, "crash.under_load",
     "a process of the server dies under load", "see the words before it in the log"},
    {"could not fork", TW_CRITICAL, TW_BLOCK, "connections.exhausted",
     "the server cannot start processes for sessions", "raise its limit of processes"},
    {"worker took too long to start", TW_MEDIUM, TW_REVIEW, "workers.exhausted",
     "background workers do not start in time", "see max_worker_processes"},
};

static const char *line_of(struct tw_arena *a, const char *log, const char *at)
{
    const char *begin = at;

    while (begin > log && begin[-1] != '\n')
        begin--;
    return tw_redact_text(NULL, a, tw_arena_strndup(a, begin, strcspn(begin, "\n")));
}

void kind_pg_judge_log(struct tw_arena *a, const struct tw_access *access,
                       size_t log_from, struct tw_issues *issues)
{
    const char *log = access->log ? access->log : "";

    if (strlen(log) < log_from)
        return;
    log += log_from;
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        const char *at = strstr(log, rows[i].text);
        int times = 0;

        for (const char *c = at; c; c = strstr(c + 1, rows[i].text))
            times++;
        if (times)
            tw_issue_add(a, issues, rows[i].severity, rows[i].at_least, rows[i].code,
                         rows[i].title,
                         tw_arena_printf(
                             a, "%s%s", line_of(a, log, at),
                             times > 1 ? tw_arena_printf(a, " (%d times)", times) : ""),
                         rows[i].remedy);
    }
}
