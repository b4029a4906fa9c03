/* For tickets and merge requests: GitHub's Markdown, long parts folded. */
#include "report_internal.h"

#include <math.h>
#include <string.h>

static const char *const marks[REPORT_TONE_COUNT] = {
    [REPORT_PLAIN] = "",
    [REPORT_GOOD] = "\xf0\x9f\x9f\xa2 ", /* green circle */
    [REPORT_WARN] = "\xf0\x9f\x9f\xa1 ",
    [REPORT_BAD] = "\xf0\x9f\x94\xb4 ",
    [REPORT_MUTED] = "",
};

/* Nothing in a text of ours or of a server means anything to Markdown. */
static void text(struct tw_buf *b, const char *s)
{
    for (; *s; s++) {
        if (strchr("\\`*_{}[]<>#|~@", *s))
            tw_buf_puts(b, "\\");
        tw_buf_add(b, *s == '\n' ? " " : s, 1);
    }
}

/* A block of code, fenced by more backticks than it has itself. */
static void block(struct tw_buf *b, const char *indent, const char *language,
                  const char *s)
{
    size_t run = 0, most = 2;

    for (const char *p = s; *p; p++) {
        run = *p == '`' ? run + 1 : 0;
        most = run > most ? run : most;
    }
    tw_buf_puts(b, indent);
    for (size_t i = 0; i <= most; i++)
        tw_buf_puts(b, "`");
    tw_buf_printf(b, "%s\n%s", language, indent);
    for (; *s; s++) {
        tw_buf_add(b, s, 1);
        if (*s == '\n')
            tw_buf_puts(b, indent);
    }
    tw_buf_printf(b, "\n%s", indent);
    for (size_t i = 0; i <= most; i++)
        tw_buf_puts(b, "`");
    tw_buf_puts(b, "\n");
}

static void metrics(struct tw_buf *b, const char *title, const struct report_metric *list,
                    size_t n)
{
    if (n == 0)
        return;
    tw_buf_printf(b,
                  "\n### %s\n\n| | before | after | change | interval | verdict |\n"
                  "| --- | ---: | ---: | ---: | --- | --- |\n",
                  title);
    for (size_t i = 0; i < n; i++) {
        const struct report_metric *m = &list[i];
        const char *const cells[] = {m->before, m->after, m->change, m->interval};

        tw_buf_puts(b, "| ");
        text(b, m->label);
        for (size_t c = 0; c < TW_COUNT_OF(cells); c++) {
            tw_buf_puts(b, " | ");
            text(b, cells[c]);
        }
        tw_buf_printf(b, " | %s", marks[m->tone]);
        text(b, m->verdict);
        tw_buf_puts(b, " |\n");
    }
}

static void facts(struct tw_buf *b, const char *title, const struct report_facts *f)
{
    if (f->list.count == 0)
        return;
    tw_buf_printf(b, "\n### %s\n\n", title);
    for (size_t i = 0; i < f->list.count; i++) {
        tw_buf_puts(b, "- **");
        text(b, f->list.items[i].label);
        tw_buf_puts(b, "**: ");
        text(b, f->list.items[i].text);
        tw_buf_puts(b, "\n");
    }
}

static void texts(struct tw_buf *b, const char *title, const struct report_texts *t)
{
    if (t->list.count == 0)
        return;
    tw_buf_printf(b, "\n### %s\n\n", title);
    for (size_t i = 0; i < t->list.count; i++) {
        tw_buf_puts(b, "- ");
        text(b, t->list.items[i]);
        tw_buf_puts(b, "\n");
    }
}

static void head(struct tw_buf *b, const struct report_view *v)
{
    tw_buf_printf(b, "## %s%s: ", marks[v->tone], v->word);
    text(b, *v->change ? v->change : "nothing changes");
    tw_buf_puts(b, "\n\n");
    text(b, v->where);
    tw_buf_puts(b, ", ");
    text(b, v->horizon);
    if (!isnan(v->risk)) {
        tw_buf_puts(b, ", risk **");
        text(b, v->risk_text);
        tw_buf_puts(b, "**");
    }
    tw_buf_puts(b, "\n\n**");
    text(b, *v->sentence ? v->sentence : v->plain);
    tw_buf_puts(b, "**\n");
    for (size_t i = 0; i < v->also.list.count; i++) {
        tw_buf_puts(b, i ? "- " : "\n- ");
        text(b, v->also.list.items[i]);
        tw_buf_puts(b, "\n");
    }
}

static void issues(struct tw_buf *b, const struct report_view *v)
{
    if (v->issues.count)
        tw_buf_puts(b, "\n### Findings\n\n");
    for (size_t i = 0; i < v->issues.count; i++) {
        const struct report_issue *issue = &v->issues.items[i];

        tw_buf_printf(b, "- %s**", marks[issue->tone]);
        text(b, issue->title);
        tw_buf_printf(b, "** (%s, `%s`", tw_severity_names[issue->severity], issue->code);
        if (issue->file && issue->line) {
            tw_buf_puts(b, ", ");
            text(b, issue->file);
            tw_buf_printf(b, " line %d", issue->line);
        }
        tw_buf_puts(b, ")\n");
        if (*issue->quote)
            block(b, "  ", "", issue->quote);
        if (*issue->remedy) {
            tw_buf_puts(b, "  Remedy: ");
            text(b, issue->remedy);
            tw_buf_puts(b, "\n");
        }
        if (*issue->reproduce)
            block(b, "  ", "sh", issue->reproduce);
    }
}

static void ddl_table(struct tw_buf *b, const char *title, const struct report_ddl *list,
                      size_t n)
{
    tw_buf_printf(b, "\n### %s\n\n|", title);
    for (int c = 0; c < REPORT_DDL_COLUMNS; c++)
        tw_buf_printf(b, " %s |", report_ddl_titles[c]);
    tw_buf_puts(b, "\n| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n");
    for (size_t i = 0; i < n; i++) {
        tw_buf_printf(b, "| %s", marks[list[i].tone]);
        for (int c = 0; c < REPORT_DDL_COLUMNS; c++) {
            tw_buf_puts(b, c ? " | " : "");
            text(b, report_ddl_cell(&list[i], c));
        }
        tw_buf_puts(b, " |\n");
    }
}

static void schema(struct tw_buf *b, const struct report_view *v)
{
    if (v->ddl.count == 0)
        return;
    ddl_table(b, "Statements, as they ran under load", v->ddl.items, v->ddl.count);
    facts(b, "Beside an open transaction", &v->ddl_beside);
    if (v->safer_ddl.count == 0)
        return;
    ddl_table(b, "A safer form, tried", v->safer_ddl.items, v->safer_ddl.count);
    tw_buf_puts(b, "\n");
    for (size_t i = 0; i < v->safer_forms.list.count; i++)
        block(b, "", "sql", v->safer_forms.list.items[i]);
}

static void failures(struct tw_buf *b, const struct report_view *v)
{
    if (!v->s->has_impact)
        return;
    tw_buf_puts(b, "\n### Failures to come\n\n");
    if (v->failures.count == 0)
        tw_buf_puts(b, "None foreseen within the horizon.\n");
    else
        tw_buf_puts(
            b, "| what | when | probability | evidence |\n| --- | --- | ---: | --- |\n");
    for (size_t i = 0; i < v->failures.count; i++) {
        const struct report_failure *f = &v->failures.items[i];
        const char *const cells[] = {f->kind, f->when, f->probability, f->evidence};

        for (size_t c = 0; c < TW_COUNT_OF(cells); c++) {
            tw_buf_puts(b, "| ");
            text(b, cells[c]);
            tw_buf_puts(b, " ");
        }
        tw_buf_puts(b, "|\n");
    }
}

static void statements(struct tw_buf *b, const struct report_view *v)
{
    if (v->statements.count)
        tw_buf_puts(b, "\n### Statements whose plan changed\n");
    for (size_t i = 0; i < v->statements.count; i++) {
        const struct report_statement *s = &v->statements.items[i];

        tw_buf_puts(b, "\n");
        block(b, "", "sql", s->text);
        tw_buf_puts(b, "- before, ");
        text(b, s->before);
        tw_buf_puts(b, ": ");
        text(b, s->plan_before);
        tw_buf_printf(b, "\n- %safter, ", marks[s->tone]);
        text(b, s->after);
        tw_buf_puts(b, ": ");
        text(b, s->plan_after);
        tw_buf_puts(b, "\n");
    }
}

static void commands(struct tw_buf *b, const char *title, const struct report_texts *t)
{
    struct tw_buf lines;

    if (t->list.count == 0)
        return;
    tw_buf_init(&lines, 1 << 16);
    for (size_t i = 0; i < t->list.count; i++)
        tw_buf_printf(&lines, "%s%s", i ? "\n" : "", t->list.items[i]);
    tw_buf_printf(b, "\n%s\n\n", title);
    block(b, "", "", tw_buf_text(&lines));
    tw_buf_done(&lines);
}

int report_write_markdown(const struct tw_simulation *s,
                          const struct tw_report_style *style, struct tw_buf *out,
                          struct tw_err *err)
{
    report_auto_view *v = report_view_new(s);

    (void)style, (void)err;
    head(out, v);
    facts(out, "The plan", &v->plan);
    issues(out, v);
    schema(out, v);
    if (v->scale.list.count)
        facts(out, "What each size carries", &v->scale);
    metrics(out, "Before and after", v->performance.items, v->performance.count);
    metrics(out, "Resources", v->resources.items, v->resources.count);
    statements(out, v);
    failures(out, v);
    if (v->safer && v->ddl.count == 0) {
        tw_buf_puts(out, "\n### A safer value, tried\n\n");
        text(out, v->safer);
        tw_buf_puts(out, "\n");
    }
    facts(out, "Bottleneck", &v->bottleneck);
    facts(out, "Applying it", &v->apply);
    commands(out, "To make the change:", &v->commands);
    commands(out, "To undo it:", &v->undo);
    facts(out, "How sure", &v->confidence);
    tw_buf_puts(
        out,
        "\n<details><summary>What the twin is not, and how it was measured</summary>\n");
    facts(out, "What users notice", &v->experience);
    facts(out, "Cost", &v->cost);
    texts(out, "About the prediction", &v->notes);
    texts(out, "What the twin is not", &v->differences);
    facts(out, "How it was measured", &v->measured);
    tw_buf_puts(out, "\n</details>\n");
    if (*v->as_of) {
        tw_buf_puts(out, "\nData as of ");
        text(out, v->as_of);
        tw_buf_puts(out, "\n");
    }
    return 0;
}
