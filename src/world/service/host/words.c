/* What a service writes, made into findings by rows of words. */
#include "host.h"

#include "tw/redact.h"

#include <string.h>
#include <sys/wait.h>

static bool says(const char *line, const char *text)
{
    const char *star = strchr(text, '*');
    tw_auto_free char *head = star ? strndup(text, (size_t)(star - text)) : NULL;
    const char *at;

    if (!star)
        return strstr(line, text) != NULL;
    at = strstr(line, head);
    return at && strstr(at + strlen(head), star + 1);
}

const struct host_words *host_words_find(const char *line, const struct host_words *rows,
                                         size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (says(line, rows[i].text))
            return &rows[i];
    return NULL;
}

struct heard {
    const char *line;
    int count;
};

static const char *evidence(struct tw_arena *a, const struct heard *h)
{
    const char *line = tw_redact_text(NULL, a, h->line);

    return h->count == 1
               ? line
               : tw_arena_printf(a, "%s (and %d more lines like it)", line, h->count - 1);
}

static void hear(struct tw_arena *a, const char *text, host_clean_fn *clean,
                 const struct host_words *rows, size_t n, struct heard *heard)
{
    char *rest = tw_arena_strdup(a, text);

    for (char *line; (line = strsep(&rest, "\n"));) {
        const char *said = *line ? clean(a, line) : NULL;
        const struct host_words *row = said ? host_words_find(said, rows, n) : NULL;

        if (!row || !row->code)
            continue;
        if (!heard[row - rows].count++)
            heard[row - rows].line = said;
    }
}

void host_words_judge(struct tw_arena *a, const char *log, size_t from,
                      host_clean_fn *clean, const struct host_words *rows, size_t n,
                      struct tw_issues *issues)
{
    struct heard *heard = tw_arena_alloc(a, (n + 1) * sizeof(*heard));

    if (!log || strlen(log) <= from)
        return;
    hear(a, log + from, clean, rows, n, heard);
    for (size_t i = 0; i < n; i++)
        if (heard[i].count)
            tw_issue_add(a, issues, rows[i].severity, rows[i].at_least, rows[i].code,
                         rows[i].title, evidence(a, &heard[i]), rows[i].remedy);
}

const char *host_log_from(const struct tw_access *access, size_t from)
{
    return access->log && strlen(access->log) > from ? access->log + from : "";
}

#define MOST_COMPLAINTS 6

const char *host_complaints(struct tw_arena *a, const char *log, host_clean_fn *clean,
                            const char *level)
{
    tw_auto_buf out = {0};
    char *rest = tw_arena_strdup(a, log);
    int shown = 0;

    tw_buf_init(&out, 16384);
    for (char *line; (line = strsep(&rest, "\n")) && shown < MOST_COMPLAINTS;) {
        const char *said = *line ? clean(a, line) : NULL;

        if (!said || !tw_starts_with(said, level) || strstr(tw_buf_text(&out), said))
            continue; /* standard error and a log say the same line twice */
        tw_buf_printf(&out, "%s%s", out.len ? "\n" : "", said);
        shown++;
    }
    return tw_redact_text(NULL, a, tw_buf_text(&out));
}

const char *host_how_it_ended(struct tw_arena *a, int status)
{
    if (WIFSIGNALED(status))
        return tw_arena_printf(a, "it was ended by signal %d (%s)", WTERMSIG(status),
                               strsignal(WTERMSIG(status)));
    return tw_arena_printf(a, "it ended with exit status %d",
                           WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

#define LAST_LINES 4

/* The last words of one that died, oldest first. */
static const char *last_words(struct tw_arena *a, const char *text, host_clean_fn *clean)
{
    const char *last[LAST_LINES] = {0};
    char *rest = tw_arena_strdup(a, text);
    tw_auto_buf out = {0};
    size_t n = 0;

    for (char *line; (line = strsep(&rest, "\n"));) {
        const char *said = *line ? clean(a, line) : NULL;

        if (said)
            last[n++ % LAST_LINES] = said;
    }
    tw_buf_init(&out, 16384);
    for (size_t i = n > LAST_LINES ? n - LAST_LINES : 0; i < n; i++)
        tw_buf_printf(&out, "%s%s", out.len ? "\n" : "", last[i % LAST_LINES]);
    return tw_redact_text(NULL, a, tw_buf_text(&out));
}

void host_judge_dead(struct tw_arena *a, const struct tw_access *access, size_t log_from,
                     host_clean_fn *clean, const struct host_words *rows, size_t n,
                     int wait_status, struct tw_issues *issues)
{
    const char *text = host_log_from(access, log_from);
    struct heard *heard = tw_arena_alloc(a, (n + 1) * sizeof(*heard));
    const char *words = last_words(a, text, clean);
    size_t row = 0;

    if (access->oom_kills > 0) {
        tw_issue_add(
            a, issues, TW_CRITICAL, TW_BLOCK, "start.oom",
            "the service is killed for lack of memory while it starts",
            tw_arena_printf(a, "the kernel killed %lld processes at a limit of %s",
                            (long long)access->oom_kills,
                            tw_show_bytes(a, (double)access->memory_limit_bytes)),
            "ask for less memory, or raise the limit");
        return;
    }
    hear(a, text, clean, rows, n, heard);
    while (row < n && !(heard[row].count && tw_starts_with(rows[row].code, "start.")))
        row++;
    tw_issue_add(a, issues, TW_CRITICAL, TW_BLOCK,
                 row < n ? rows[row].code : "start.failed",
                 "the service does not start with this change",
                 *words ? words : host_how_it_ended(a, wait_status),
                 row < n ? rows[row].remedy : "correct what the service names");
}
