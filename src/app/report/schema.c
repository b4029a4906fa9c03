/* A schema change as a table: a row for each statement, then its safer form. */
#include "report_internal.h"

#include <math.h>
#include <string.h>

const char *const report_ddl_titles[REPORT_DDL_COLUMNS] = {
    "lock", "on", "waited", "held", "queued", "rewritten", "WAL", "statement"};

const char *report_ddl_cell(const struct report_ddl *d, int column)
{
    const char *const cells[REPORT_DDL_COLUMNS] = {d->lock, d->relation, d->waited,
                                                   d->held, d->queued,   d->rewritten,
                                                   d->wal,  d->text};

    return cells[column];
}

/* One line, of bounded length: a table is no place for a script. */
static const char *short_text(struct tw_arena *a, const char *sql)
{
    enum { MOST = 36 };
    char *text = tw_arena_strdup(a, report_clean(a, sql));
    size_t n = strlen(text);

    for (char *c = text; *c; c++)
        if (*c == '\n')
            *c = ' ';
    if (n <= MOST)
        return text;
    n = MOST;
    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    return tw_arena_printf(a, "%.*s\xe2\x80\xa6", (int)n, text);
}

static const char *lasted(struct tw_arena *a, const struct tw_ddl *d, double s)
{
    return d->relation && isfinite(s) ? tw_show_seconds(a, s) : "";
}

static const char *queue(struct tw_arena *a, const struct tw_ddl *d)
{
    if (d->queued <= 0)
        return d->relation ? "0" : "";
    return tw_arena_printf(a, "%d, %s", d->queued, tw_show_seconds(a, d->longest_wait_s));
}

static enum report_tone tone_of(const struct report_view *v, const struct tw_ddl *d)
{
    if (d->error)
        return REPORT_BAD;
    for (size_t i = 0; i < v->issues.count; i++)
        if (v->issues.items[i].forces && d->text &&
            tw_starts_with(v->issues.items[i].code, "schema.") &&
            strstr(v->issues.items[i].evidence, report_clean(v->a, d->text)))
            return v->issues.items[i].severity >= TW_CRITICAL ? REPORT_BAD : REPORT_WARN;
    return REPORT_PLAIN;
}

static struct report_ddl row_of(const struct report_view *v, const struct tw_ddl *d)
{
    struct tw_arena *a = v->a;
    double files = d->rewritten_bytes;

    return (struct report_ddl){
        .text = short_text(a, d->text),
        .lock = d->mode ? d->mode : "none",
        .relation = report_clean(a, d->relation),
        .waited = lasted(a, d, d->waited_s),
        .held = lasted(a, d, d->held_s),
        .queued = queue(a, d),
        .rewritten = files > 0 ? tw_show_bytes(a, files) : "",
        .wal = d->wal_bytes > 0 ? tw_show_bytes(a, d->wal_bytes) : "",
        .ran = isfinite(d->seconds) ? tw_show_seconds(a, d->seconds) : "not run",
        .tone = tone_of(v, d)};
}

static void add_beside(struct report_view *v, const struct tw_ddl *d)
{
    for (size_t i = 0; i < d->beside.count; i++) {
        const struct tw_ddl_beside *b = &d->beside.items[i];
        const char *label = tw_arena_printf(v->a, "a transaction %s %s", b->transaction,
                                            report_clean(v->a, b->relation));

        report_fact(
            v->a, &v->ddl_beside, label,
            b->got_through
                ? tw_arena_printf(v->a, "%s: it gets through", short_text(v->a, d->text))
                : tw_arena_printf(
                      v->a,
                      "%s: it waits as long as that is open (tried for %s), %d "
                      "session%s of the load behind it",
                      short_text(v->a, d->text), tw_show_seconds(v->a, b->waited_s),
                      b->queued, b->queued == 1 ? "" : "s"));
    }
}

static void add_safer(struct report_view *v, const struct tw_ddl_safer *s)
{
    for (size_t i = 0; i < s->steps.count; i++)
        TW_PUSH(v->a, &v->safer_ddl, row_of(v, &s->steps.items[i]));
    TW_PUSH(v->a, &v->safer_forms.list,
            tw_arena_printf(v->a, "%s: shut for %s at most, %s as given%s%s", s->what,
                            tw_show_seconds(v->a, s->stopped_s),
                            tw_show_seconds(v->a, s->stopped_before_s),
                            s->note ? "; " : "", s->note ? s->note : ""));
    for (size_t i = 0; i < s->steps.count; i++)
        TW_PUSH(v->a, &v->safer_forms.list,
                tw_arena_printf(v->a, "%s;", report_clean(v->a, s->steps.items[i].text)));
}

void report_view_schema(struct report_view *v)
{
    const struct tw_schema *s = &v->s->impact.schema;

    for (size_t i = 0; v->s->has_impact && i < s->statements.count; i++) {
        TW_PUSH(v->a, &v->ddl, row_of(v, &s->statements.items[i]));
        add_beside(v, &s->statements.items[i]);
    }
    for (size_t i = 0; v->s->has_impact && i < s->safer.count; i++)
        add_safer(v, &s->safer.items[i]);
}
