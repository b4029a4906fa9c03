/* What logs say, made into findings by tables. */
#include "service_internal.h"

#include <string.h>
#include <sys/wait.h>

/* Parts joined by '*' have to stand in that order. */
static bool matches(const char *message, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "*");
        const char *at = memmem(message, strlen(message), text, n);

        if (!at)
            return false;
        message = at + n;
        text += n + (text[n] == '*');
    }
    return true;
}

const struct service_word *service_word_find(const struct service_word *rows, size_t n,
                                             const char *message)
{
    for (size_t i = 0; i < n; i++)
        if (matches(message, rows[i].text))
            return &rows[i];
    return NULL;
}

void service_words_count(struct tw_arena *a, const struct service_lines *lines,
                         const struct service_word *rows, size_t n, struct tw_issues *issues)
{
    for (size_t k = 0; k < n; k++) {
        const char *first = NULL;
        int count = 0;

        for (size_t i = 0; i < lines->list.count; i++) {
            const struct service_line *l = &lines->list.items[i];

            if (service_word_find(rows, n, l->message) != &rows[k])
                continue;
            if (!first)
                first = tw_arena_printf(a, "[%s] %s", l->level, l->message);
            count++;
        }
        if (count)
            tw_issue_add(a, issues, rows[k].severity, rows[k].verdict, rows[k].code,
                         rows[k].title,
                         tw_arena_printf(a, "%s (%d such %s in its log)", first, count,
                                         count == 1 ? "line" : "lines"),
                         rows[k].remedy);
    }
}

const char *service_users_words(struct tw_arena *a, const struct tw_plan *plan,
                                const char *text)
{
    for (size_t i = 0; plan && i < plan->steps.count; i++) {
        const struct tw_plan_step *step = &plan->steps.items[i];
        const char *at = step->path && step->origin ? strstr(text, step->path) : NULL;

        if (at && step->kind == TW_STEP_FRAGMENT)
            text = tw_arena_printf(a, "%.*s%s%s", (int)(at - text), text, step->origin,
                                   at + strlen(step->path));
    }
    return text;
}

const char *service_how_it_ended(struct tw_arena *a, int status)
{
    if (WIFSIGNALED(status))
        return tw_arena_printf(a, "it was ended by signal %d (%s) and wrote nothing",
                               WTERMSIG(status), strsignal(WTERMSIG(status)));
    return tw_arena_printf(a, "it ended with exit status %d and wrote nothing",
                           WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}
