/* For the terminal: the decision first, then why, then everything that it rests on. */
#include "report_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_COLUMNS 100
#define LEAST_COLUMNS   60
#define MOST_COLUMNS    140
#define INDENT          2
#define MAX_TEXT        ((size_t)4 << 20)

/* Written in UTF-8 with colours as wished; made ASCII at the end where that is all there is. */
struct sheet {
    struct tw_buf b;
    bool colour;
    size_t columns;
};

/* ---- lines ---- */

static const char *const codes[REPORT_TONE_COUNT] = {
    [REPORT_PLAIN] = "0", [REPORT_GOOD] = "32", [REPORT_WARN] = "33",
    [REPORT_BAD] = "31",  [REPORT_MUTED] = "2",
};
static const char *const badge_codes[REPORT_TONE_COUNT] = {
    [REPORT_PLAIN] = "7",     [REPORT_GOOD] = "1;30;42", [REPORT_WARN] = "1;30;43",
    [REPORT_BAD] = "1;97;41", [REPORT_MUTED] = "2",
};

/* Characters, as a terminal shows them one cell each. */
static size_t cells(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void code(struct sheet *s, const char *sequence, const char *text, size_t len)
{
    bool on = s->colour && len > 0 && !tw_streq(sequence, "0");

    if (on)
        tw_buf_printf(&s->b, "\033[%sm", sequence);
    tw_buf_add(&s->b, text, len);
    if (on)
        tw_buf_puts(&s->b, "\033[0m");
}

static void put(struct sheet *s, enum report_tone tone, const char *text)
{
    code(s, codes[tone], text, strlen(text));
}

static void spaces(struct sheet *s, size_t n)
{
    for (; n > 0; n--)
        tw_buf_puts(&s->b, " ");
}

static void end_line(struct sheet *s)
{
    while (s->b.len > 0 && s->b.data[s->b.len - 1] == ' ')
        s->b.data[--s->b.len] = '\0';
    tw_buf_puts(&s->b, "\n");
}

static void heading(struct sheet *s, const char *text)
{
    end_line(s);
    code(s, "1", text, strlen(text));
    end_line(s);
}

/* Bytes of text that fit into so many cells: up to the last space, else as many as fit. */
static size_t fitting(const char *text, size_t room)
{
    size_t n = 0, at = 0, space = 0;

    for (; text[at] && text[at] != '\n'; at++) {
        bool begins = ((unsigned char)text[at] & 0xc0) != 0x80;

        if (begins && n == room)
            return space ? space : at;
        if (text[at] == ' ' && at > 0)
            space = at;
        n += begins;
    }
    return at;
}

/* text from the cell where the line stands, wrapped to the same column. */
static void wrapped(struct sheet *s, size_t column, enum report_tone tone,
                    const char *text)
{
    size_t room = s->columns > column + 20 ? s->columns - column : 20;

    for (;;) {
        size_t n = fitting(text, room);

        code(s, codes[tone], text, n);
        end_line(s);
        text += n;
        text += *text == '\n' ? 1 : strspn(text, " ");
        if (!*text)
            return;
        spaces(s, column);
    }
}

static void paragraph(struct sheet *s, size_t indent, enum report_tone tone,
                      const char *text)
{
    if (!*text)
        return;
    spaces(s, indent);
    wrapped(s, indent, tone, text);
}

static void item(struct sheet *s, size_t indent, const char *mark, enum report_tone tone,
                 const char *text)
{
    if (!*text)
        return;
    spaces(s, indent);
    put(s, tone, mark);
    spaces(s, 1);
    wrapped(s, indent + cells(mark) + 1, REPORT_PLAIN, text);
}

static void facts(struct sheet *s, const struct report_facts *f)
{
    size_t widest = 0;

    for (size_t i = 0; i < f->list.count; i++)
        if (cells(f->list.items[i].label) > widest)
            widest = cells(f->list.items[i].label);
    for (size_t i = 0; i < f->list.count; i++) {
        spaces(s, INDENT);
        put(s, REPORT_MUTED, f->list.items[i].label);
        spaces(s, widest - cells(f->list.items[i].label) + 2);
        wrapped(s, INDENT + widest + 2, REPORT_PLAIN, f->list.items[i].text);
    }
}

/* Neighbours of one tone share their colour codes. */
struct run {
    enum report_tone tone;
    struct tw_buf b;
};

static void run_begin(struct run *run)
{
    run->tone = REPORT_PLAIN;
    tw_buf_init(&run->b, 4096);
}

static void run_end(struct sheet *s, struct run *run)
{
    put(s, run->tone, tw_buf_text(&run->b));
    tw_buf_done(&run->b);
}

static void run_add(struct sheet *s, struct run *run, enum report_tone tone,
                    const char *text)
{
    if (tone != run->tone && run->b.len) {
        put(s, run->tone, tw_buf_text(&run->b));
        tw_buf_clear(&run->b);
    }
    run->tone = tone;
    tw_buf_puts(&run->b, text);
}

/* ---- tables: as wide as their cells; columns that do not fit are left out ---- */

#define MAX_COLUMNS 8

struct cell {
    const char *text;
    enum report_tone tone;
};
struct row {
    struct cell cells[MAX_COLUMNS];
};
struct table {
    const char *const *titles;
    const bool *right;   /* aligned right */
    const int *priority; /* the highest is left out first; 0 never */
    size_t columns;
    TW_ARRAY(struct row) rows;
};

static void measure(const struct table *t, size_t *widths)
{
    for (size_t c = 0; c < t->columns; c++) {
        widths[c] = cells(t->titles[c]);
        for (size_t r = 0; r < t->rows.count; r++)
            if (cells(t->rows.items[r].cells[c].text) > widths[c])
                widths[c] = cells(t->rows.items[r].cells[c].text);
    }
}

static void leave_out(const struct table *t, size_t room, const size_t *widths,
                      bool *shown)
{
    for (;;) {
        size_t all = 0, worst = 0;

        for (size_t c = 0; c < t->columns; c++) {
            all += shown[c] ? widths[c] + 2 : 0;
            if (shown[c] && t->priority[c] > 0 &&
                (t->priority[worst] == 0 || !shown[worst] ||
                 t->priority[c] > t->priority[worst]))
                worst = c;
        }
        if (all <= room || t->priority[worst] == 0 || !shown[worst])
            return;
        shown[worst] = false;
    }
}

static void table_row(struct sheet *s, const struct table *t, const struct cell *row,
                      const size_t *widths, const bool *shown)
{
    spaces(s, INDENT);
    for (size_t c = 0; c < t->columns; c++) {
        size_t pad = widths[c] - cells(row[c].text);

        if (!shown[c])
            continue;
        spaces(s, t->right[c] ? pad : 0);
        put(s, row[c].tone, row[c].text);
        spaces(s, (t->right[c] ? 0 : pad) + 2);
    }
    end_line(s);
}

static void table(struct sheet *s, const struct table *t)
{
    struct cell head[MAX_COLUMNS] = {{"", REPORT_PLAIN}};
    size_t widths[MAX_COLUMNS];
    bool shown[MAX_COLUMNS];

    measure(t, widths);
    for (size_t c = 0; c < t->columns; c++) {
        head[c] = (struct cell){t->titles[c], REPORT_MUTED};
        shown[c] = widths[c] > 0;
    }
    leave_out(t, s->columns - INDENT, widths, shown);
    table_row(s, t, head, widths, shown);
    for (size_t r = 0; r < t->rows.count; r++)
        table_row(s, t, t->rows.items[r].cells, widths, shown);
}

static void metrics(struct sheet *s, struct tw_arena *a, const struct report_metric *list,
                    size_t n)
{
    static const char *const titles[] = {"",         "before",  "after", "change",
                                         "interval", "verdict", "noise"};
    static const bool right[] = {false, true, true, true, false, false, true};
    static const int priority[] = {0, 0, 0, 0, 1, 0, 2};
    struct table t = {titles, right, priority, TW_COUNT_OF(titles), {0}};

    for (size_t i = 0; i < n; i++) {
        const struct report_metric *m = &list[i];

        TW_PUSH(a, &t.rows,
                (struct row){{{m->label, REPORT_PLAIN},
                              {m->before, REPORT_PLAIN},
                              {m->after, REPORT_PLAIN},
                              {m->change, m->tone},
                              {m->interval, REPORT_MUTED},
                              {m->verdict, m->tone},
                              {m->noise, REPORT_MUTED}}});
    }
    table(s, &t);
}

/* ---- the day ---- */

#define DAY_LABEL 12
#define DAY_RANGE 24

static const char *const blocks[] = {"\xe2\x96\x81", "\xe2\x96\x82", "\xe2\x96\x83",
                                     "\xe2\x96\x84", "\xe2\x96\x85", "\xe2\x96\x86",
                                     "\xe2\x96\x87", "\xe2\x96\x88"};

struct scale {
    double low, high;
    bool logarithmic;
};

static void widen(struct scale *scale, const double *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (isnan(values[i]))
            continue;
        scale->low = fmin(scale->low, values[i]);
        scale->high = fmax(scale->high, values[i]);
    }
    scale->logarithmic = scale->low > 0 && scale->high > 20 * scale->low;
}

static const char *block(const struct scale *scale, double value)
{
    double low = scale->logarithmic ? log(scale->low) : 0;
    double high = scale->logarithmic ? log(scale->high) : scale->high;
    double at = scale->logarithmic ? log(value) : value;
    double share = high > low ? (at - low) / (high - low) : 0;
    long i = lround(share * (double)(TW_COUNT_OF(blocks) - 1));

    return blocks[i < 0                            ? 0
                  : i >= (long)TW_COUNT_OF(blocks) ? (long)TW_COUNT_OF(blocks) - 1
                                                   : i];
}

static size_t plot_width(const struct sheet *s)
{
    size_t room = s->columns - INDENT - DAY_LABEL - DAY_RANGE;

    return room > 72 ? 72 : room;
}

/* The highest value of the bins that a cell stands for; marks where the arm is overloaded. */
static void curve(struct sheet *s, const struct report_day *day, const char *label,
                  const double *values, const double *overload, const struct scale *scale,
                  enum report_tone tone, const char *range)
{
    size_t width = plot_width(s);
    struct run run;

    run_begin(&run);
    spaces(s, INDENT);
    put(s, REPORT_MUTED, label);
    spaces(s, DAY_LABEL > cells(label) ? DAY_LABEL - cells(label) : 1);
    for (size_t c = 0; c < width; c++) {
        size_t from = c * day->bins / width, to = (c + 1) * day->bins / width;
        double most = NAN;
        bool over = false;

        for (size_t i = from; i < day->bins && (i == from || i < to); i++) {
            most = isnan(most) ? values[i] : fmax(most, values[i]);
            over |= overload && overload[i] > 0;
        }
        run_add(s, &run, over ? REPORT_BAD : tone,
                !isnan(most) ? block(scale, most)
                : over       ? "!"
                             : "\xc2\xb7");
    }
    run_end(s, &run);
    spaces(s, 2);
    put(s, REPORT_MUTED, range);
    end_line(s);
}

static void day_axis(struct sheet *s, const struct report_day *day)
{
    size_t width = plot_width(s), column = 0;

    spaces(s, INDENT + DAY_LABEL);
    for (int quarter = 0; quarter <= 4; quarter++) {
        tw_auto_free char *text = tw_strf("%.3g h", day->hours * quarter / 4);
        size_t at = width * (size_t)quarter / 4, n = cells(text);

        if (quarter == 4)
            at = width - n;
        if (at < column)
            continue;
        spaces(s, at - column);
        put(s, REPORT_MUTED, text);
        column = at + n;
    }
    end_line(s);
}

static void day_failures(struct sheet *s, const struct report_view *v)
{
    size_t width = plot_width(s);
    tw_auto_free bool *marked = tw_alloc(width * sizeof *marked);
    bool any = false;

    for (size_t i = 0; i < v->failures.count; i++) {
        double share = v->failures.items[i].at_hours / v->day.hours;

        if (!(share >= 0 && share <= 1))
            continue;
        marked[share >= 1 ? width - 1 : (size_t)(share * (double)width)] = true;
        any = true;
    }
    if (!any)
        return;
    spaces(s, INDENT);
    put(s, REPORT_MUTED, "failures");
    spaces(s, DAY_LABEL - 8);
    for (size_t c = 0; c < width; c++)
        put(s, marked[c] ? REPORT_BAD : REPORT_PLAIN, marked[c] ? "\xe2\x96\xb2" : " ");
    end_line(s);
}

static void the_day(struct sheet *s, const struct report_view *v)
{
    static const enum report_tone tones[TW_ARM_COUNT] = {REPORT_PLAIN, REPORT_PLAIN};
    const struct report_day *day = &v->day;
    struct scale rate = {INFINITY, 0, false}, p95 = rate, busy = {INFINITY, 1, false};

    if (day->bins == 0)
        return;
    heading(s, "The time simulated");
    widen(&rate, day->rate, day->bins);
    rate.logarithmic = false;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        widen(&p95, day->p95[arm].values, day->bins);
        widen(&busy, day->busy[arm].values, day->bins);
    }
    busy.logarithmic = false;
    curve(s, day, "load", day->rate, NULL, &rate, REPORT_MUTED, day->rate_range);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        curve(s, day, day->p95[arm].label, day->p95[arm].values, day->overload[arm], &p95,
              arm == TW_CANDIDATE ? v->tone : tones[arm], day->p95[arm].range);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        curve(s, day, day->busy[arm].label, day->busy[arm].values, day->overload[arm],
              &busy, arm == TW_CANDIDATE ? v->tone : tones[arm], day->busy[arm].range);
    day_failures(s, v);
    day_axis(s, day);
}

/* ---- sections ---- */

static void risk_bar(struct sheet *s, double risk, enum report_tone tone)
{
    enum { WIDTH = 20 };
    int full = (int)lround(risk / 100 * WIDTH);
    struct run run;

    run_begin(&run);
    for (int i = 0; i < WIDTH; i++)
        run_add(s, &run, i < full ? tone : REPORT_MUTED,
                i < full ? "\xe2\x96\x88" : "\xe2\x96\x91");
    run_end(s, &run);
    spaces(s, 1);
}

static void head(struct sheet *s, const struct report_view *v)
{
    tw_auto_free char *badge = tw_strf(s->colour ? " %s " : "[%s]", v->word);
    size_t column = cells(badge) + 2;

    code(s, badge_codes[v->tone], badge, strlen(badge));
    spaces(s, 2);
    wrapped(s, column, REPORT_PLAIN, *v->change ? v->change : "nothing changes");
    spaces(s, column);
    wrapped(s, column, REPORT_MUTED,
            tw_arena_printf(v->a, "%s \xc2\xb7 %s", v->where, v->horizon));
    if (!isnan(v->risk)) {
        spaces(s, column);
        risk_bar(s, v->risk, v->tone);
        put(s, REPORT_MUTED, "risk ");
        put(s, v->tone, v->risk_text);
        end_line(s);
    }
    if (*v->sentence) {
        end_line(s);
        wrapped(s, 0, v->tone, v->sentence);
    }
    for (size_t i = 0; i < v->also.list.count; i++)
        item(s, INDENT, "\xc2\xb7", REPORT_MUTED, v->also.list.items[i]);
}

static void risk_parts(struct sheet *s, const struct report_view *v)
{
    size_t widest = 0;

    if (v->risk_parts.count == 0)
        return;
    heading(s, "Risk, in parts");
    for (size_t i = 0; i < v->risk_parts.count; i++)
        if (cells(v->risk_parts.items[i].name) > widest)
            widest = cells(v->risk_parts.items[i].name);
    for (size_t i = 0; i < v->risk_parts.count; i++) {
        const struct tw_risk_part *part = &v->risk_parts.items[i];

        spaces(s, INDENT);
        tw_buf_printf(&s->b, "%+4.0f  %s", part->points, part->name);
        spaces(s, widest - cells(part->name) + 2);
        wrapped(s, INDENT + 8 + widest, REPORT_MUTED, part->why);
    }
}

static void issues(struct sheet *s, const struct report_view *v)
{
    static const char *const marks[REPORT_TONE_COUNT] = {[REPORT_PLAIN] = "\xc2\xb7",
                                                         [REPORT_GOOD] = "\xc2\xb7",
                                                         [REPORT_WARN] = "\xe2\x96\xb2",
                                                         [REPORT_BAD] = "\xe2\x97\x8f",
                                                         [REPORT_MUTED] = "\xc2\xb7"};

    if (v->issues.count == 0)
        return;
    heading(s, "Findings");
    for (size_t i = 0; i < v->issues.count; i++) {
        const struct report_issue *issue = &v->issues.items[i];
        tw_auto_free char *place = issue->file && issue->line
                                       ? tw_strf("%s line %d", issue->file, issue->line)
                                       : NULL;

        item(s, INDENT, marks[issue->tone], issue->tone, issue->title);
        spaces(s, INDENT + 2);
        put(s, issue->tone, tw_severity_names[issue->severity]);
        put(s, REPORT_MUTED, "  ");
        put(s, REPORT_MUTED, issue->code);
        if (place) {
            put(s, REPORT_MUTED, "  ");
            put(s, REPORT_MUTED, place);
        }
        end_line(s);
        if (*issue->quote)
            item(s, INDENT + 2, "\xe2\x94\x82", issue->tone, issue->quote);
        if (*issue->remedy)
            item(s, INDENT + 2, "\xe2\x86\x92", REPORT_GOOD, issue->remedy);
        if (*issue->reproduce)
            item(s, INDENT + 2, "$", REPORT_MUTED, issue->reproduce);
    }
}

static void figures(struct sheet *s, const struct report_view *v)
{
    if (v->performance.count) {
        heading(s, "Before and after");
        metrics(s, v->a, v->performance.items, v->performance.count);
    }
    facts(s, &v->experience);
    if (v->resources.count) {
        heading(s, "Resources");
        metrics(s, v->a, v->resources.items, v->resources.count);
    }
}

static void ddl_table(struct sheet *s, struct tw_arena *a, const struct report_ddl *list,
                      size_t n)
{
    static const bool right[] = {false, false, true, true, true, true, true, false};
    static const int priority[] = {0, 2, 0, 0, 0, 3, 4, 1};
    struct table t = {report_ddl_titles, right, priority, REPORT_DDL_COLUMNS, {0}};

    for (size_t i = 0; i < n; i++) {
        struct row row;

        for (int c = 0; c < REPORT_DDL_COLUMNS; c++)
            row.cells[c] =
                (struct cell){report_ddl_cell(&list[i], c), c == 3 ? list[i].tone
                                                                   : REPORT_PLAIN};
        TW_PUSH(a, &t.rows, row);
    }
    table(s, &t);
}

static void schema(struct sheet *s, const struct report_view *v)
{
    if (v->ddl.count == 0)
        return;
    heading(s, "Statements, as they ran under load");
    ddl_table(s, v->a, v->ddl.items, v->ddl.count);
    facts(s, &v->ddl_beside);
    if (v->safer_ddl.count == 0)
        return;
    heading(s, "A safer form, tried");
    ddl_table(s, v->a, v->safer_ddl.items, v->safer_ddl.count);
    for (size_t i = 0; i < v->safer_forms.list.count; i++)
        item(s, INDENT, "\xc2\xb7", REPORT_MUTED, v->safer_forms.list.items[i]);
}

static void faults(struct sheet *s, const struct report_view *v)
{
    const struct tw_impact *m = &v->s->impact;

    if (m->faults.count == 0)
        return;
    heading(s, "Change \xc3\x97 fault");
    for (size_t i = 0; i < m->faults.count; i++) {
        const struct tw_fault_effect *f = &m->faults.items[i];
        bool bad = tw_streq(f->verdict, "lost") || tw_streq(f->verdict, "slower");
        tw_auto_free char *line = tw_strf("%s: %s", f->fault, f->verdict);

        item(s, INDENT, "\xc2\xb7", bad ? REPORT_BAD : REPORT_MUTED, line);
        paragraph(s, INDENT + 2, REPORT_MUTED, report_clean(v->a, f->why));
    }
}

static void failures(struct sheet *s, const struct report_view *v)
{
    if (!v->s->has_impact)
        return;
    heading(s, "Failures to come");
    if (v->failures.count == 0)
        paragraph(s, INDENT, REPORT_MUTED, "none foreseen within the horizon");
    for (size_t i = 0; i < v->failures.count; i++) {
        const struct report_failure *f = &v->failures.items[i];
        tw_auto_free char *text =
            tw_strf("%s %s, probability %s", f->kind, f->when, f->probability);

        item(s, INDENT, "\xe2\x96\xb2", f->tone, text);
        paragraph(s, INDENT + 2, REPORT_MUTED, f->evidence);
    }
}

static void statements(struct sheet *s, const struct report_view *v)
{
    if (v->statements.count == 0)
        return;
    heading(s, "Statements whose plan changed");
    for (size_t i = 0; i < v->statements.count; i++) {
        const struct report_statement *t = &v->statements.items[i];
        tw_auto_free char *before = tw_strf("before %s  %s", t->before, t->plan_before);
        tw_auto_free char *after = tw_strf("after  %s  %s", t->after, t->plan_after);

        item(s, INDENT, "\xc2\xb7", t->tone, t->text);
        paragraph(s, INDENT + 2, REPORT_MUTED, t->share);
        paragraph(s, INDENT + 2, REPORT_PLAIN, before);
        paragraph(s, INDENT + 2, t->tone, after);
    }
}

static void applying(struct sheet *s, const struct report_view *v)
{
    if (v->apply.list.count == 0 && v->commands.list.count == 0)
        return;
    heading(s, "Applying it");
    facts(s, &v->apply);
    for (size_t i = 0; i < v->commands.list.count; i++)
        item(s, INDENT, "$", REPORT_MUTED, v->commands.list.items[i]);
    if (v->undo.list.count)
        paragraph(s, INDENT, REPORT_MUTED, "and to undo it");
    for (size_t i = 0; i < v->undo.list.count; i++)
        item(s, INDENT, "$", REPORT_MUTED, v->undo.list.items[i]);
}

static void titled_facts(struct sheet *s, const char *title, const struct report_facts *f)
{
    if (f->list.count == 0)
        return;
    heading(s, title);
    facts(s, f);
}

static void titled_texts(struct sheet *s, const char *title, const struct report_texts *t)
{
    if (t->list.count == 0)
        return;
    heading(s, title);
    for (size_t i = 0; i < t->list.count; i++)
        item(s, INDENT, "\xc2\xb7", REPORT_MUTED, t->list.items[i]);
}

static void foot(struct sheet *s, const struct report_view *v)
{
    end_line(s);
    if (*v->as_of) {
        put(s, REPORT_MUTED, "data as of ");
        wrapped(s, 11, REPORT_MUTED, v->as_of);
    }
    if (*v->s->id) {
        put(s, REPORT_MUTED, "simulation ");
        put(s, REPORT_MUTED, v->s->id);
        end_line(s);
    }
}

static void write_sheet(struct sheet *s, const struct report_view *v)
{
    head(s, v);
    titled_facts(s, "The plan", &v->plan);
    issues(s, v);
    schema(s, v);
    if (v->scale.list.count)
        heading(s, "What each size carries");
    facts(s, &v->scale);
    faults(s, v);
    figures(s, v);
    statements(s, v);
    the_day(s, v);
    failures(s, v);
    if (v->safer && v->ddl.count == 0) {
        heading(s, "A safer value, tried");
        paragraph(s, INDENT, REPORT_GOOD, v->safer);
    }
    titled_facts(s, "Bottleneck", &v->bottleneck);
    applying(s, v);
    titled_facts(s, "Cost", &v->cost);
    risk_parts(s, v);
    titled_facts(s, "How sure", &v->confidence);
    titled_texts(s, "About the prediction", &v->notes);
    titled_texts(s, "What the twin is not", &v->differences);
    titled_facts(s, "How it was measured", &v->measured);
    foot(s, v);
}

/* ---- ASCII ---- */

static const struct fold {
    const char *from, *to;
} folds[] = {
    {"\xe2\x96\x81", "_"},  {"\xe2\x96\x82", "."},  {"\xe2\x96\x83", "-"},
    {"\xe2\x96\x84", ":"},  {"\xe2\x96\x85", "="},  {"\xe2\x96\x86", "+"},
    {"\xe2\x96\x87", "*"},  {"\xe2\x96\x88", "#"},  {"\xe2\x96\x91", "."},
    {"\xe2\x96\xb2", "^"},  {"\xe2\x97\x8f", "*"},  {"\xe2\x94\x82", "|"},
    {"\xe2\x86\x92", ">"},  {"\xe2\x88\x92", "-"},  {"\xe2\x80\xa6", "..."},
    {"\xc2\xb7", "-"},      {"\xc2\xb1", "+-"},     {"\xc2\xb5", "u"},
    {"\xe2\x80\x9c", "\""}, {"\xe2\x80\x9d", "\""}, {"\xe2\x80\x98", "'"},
    {"\xe2\x80\x99", "'"},  {"\xe2\x80\x93", "-"},  {"\xe2\x80\x94", "-"},
    {"\xc3\x97", "x"},      {"\xe2\x89\xa5", ">"},  {"\xe2\x89\xa4", "<="},
};

/* The bytes of text that were folded; what is not known becomes '?'. */
static size_t fold(struct tw_buf *out, const char *text)
{
    size_t n = 1;

    if ((unsigned char)*text < 0x80) {
        tw_buf_add(out, text, 1);
        return 1;
    }
    for (size_t i = 0; i < TW_COUNT_OF(folds); i++) {
        if (tw_starts_with(text, folds[i].from)) {
            tw_buf_puts(out, folds[i].to);
            return strlen(folds[i].from);
        }
    }
    while (((unsigned char)text[n] & 0xc0) == 0x80)
        n++;
    tw_buf_puts(out, "?");
    return n;
}

int report_write_text(const struct tw_simulation *s, const struct tw_report_style *style,
                      struct tw_buf *out, struct tw_err *err)
{
    report_auto_view *v = report_view_new(s);
    int columns = style->columns ? style->columns : DEFAULT_COLUMNS;
    struct sheet sheet = {.colour = style->colour};

    (void)err;
    columns = columns < LEAST_COLUMNS ? LEAST_COLUMNS : columns;
    sheet.columns = (size_t)(columns > MOST_COLUMNS ? MOST_COLUMNS : columns);
    tw_buf_init(&sheet.b, MAX_TEXT);
    write_sheet(&sheet, v);
    if (style->unicode)
        tw_buf_add(out, tw_buf_text(&sheet.b), sheet.b.len);
    else
        for (const char *p = tw_buf_text(&sheet.b); *p;)
            p += fold(out, p);
    tw_buf_done(&sheet.b);
    return 0;
}
