/* One page that needs nothing from outside: no script, no font, no image; light, dark and paper. */
#include "report_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char style_sheet[] =
    ":root{color-scheme:light dark;--bg:#f4f5f7;--card:#fff;--ink:#16191d;--soft:#5d6673;"
    "--line:#e3e6ea;--code:#f4f5f7;--good:#127a3c;--warn:#a45a00;--bad:#b3261e;--base:#"
    "7a8594;"
    "--cand:#2457d6;--tint:#eef1f5}"
    "@media(prefers-color-scheme:dark){:root{--bg:#0e1116;--card:#171b22;--ink:#e8eaee;"
    "--soft:#9aa4b2;--line:#2a303a;--code:#10141a;--good:#55c983;--warn:#f0ae4b;--bad:#"
    "ff7b72;"
    "--base:#8d98a8;--cand:#7aa5ff;--tint:#1d222b}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 "
    "system-ui,-apple-system,"
    "\"Segoe UI\",Roboto,\"Helvetica Neue\",sans-serif;font-variant-numeric:tabular-nums}"
    "main,header>div,footer{max-width:1080px;margin:0 auto;padding:0 24px}"
    "header{background:var(--card);border-bottom:1px solid var(--line);"
    "border-top:6px solid var(--tone);padding:28px 0 26px}"
    "header>div{display:flex;gap:32px;align-items:center;justify-content:space-between}"
    ".good{--tone:var(--good)}.warn{--tone:var(--warn)}.bad{--tone:var(--bad)}"
    ".plain{--tone:var(--ink)}.muted{--tone:var(--soft)}"
    ".badge{display:inline-block;background:var(--tone);color:var(--card);font-weight:"
    "700;"
    "letter-spacing:.08em;border-radius:6px;padding:3px 12px;font-size:14px}"
    "h1{font-size:25px;line-height:1.3;margin:12px 0 "
    "8px;font-weight:650;text-wrap:balance;"
    "overflow-wrap:anywhere}"
    ".change{font:600 15px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;"
    "margin-left:10px;overflow-wrap:anywhere}"
    ".where{color:var(--soft);margin:0}"
    "header ul{margin:10px 0 0;padding-left:18px;color:var(--soft)}"
    ".dial{flex:0 0 190px;text-align:center}.dial svg{width:190px;display:block}"
    ".dial .number{font-size:38px;font-weight:700;fill:var(--tone)}"
    ".dial .of{font-size:12px;fill:var(--soft)}"
    "section{background:var(--card);border:1px solid var(--line);border-radius:12px;"
    "padding:20px 24px;margin:20px 0;break-inside:avoid}"
    "h2{font-size:17px;margin:0 0 12px;font-weight:650}"
    ".two{columns:400px 2;column-gap:20px;margin:20px 0 0}"
    ".two section{display:inline-block;width:100%;margin:0 0 20px}"
    ".two+section{margin-top:0}"
    ".scroll{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%}"
    "th{font-weight:500;color:var(--soft);font-size:13px;text-align:left;white-space:"
    "nowrap}"
    "td,th{padding:7px 12px 7px 0;border-bottom:1px solid "
    "var(--line);vertical-align:middle}"
    "tbody tr:last-child td,tbody tr:last-child th{border-bottom:0}"
    "tbody th{color:var(--ink);font-size:15px}"
    ".num{text-align:right;white-space:nowrap}"
    ".tone{color:var(--tone);font-weight:600}"
    ".small{color:var(--soft);font-size:13px}"
    ".interval{width:260px;height:24px;display:block}"
    ".axis,.grid{stroke:var(--line);stroke-width:1}"
    ".same{stroke:var(--soft);stroke-width:1.5;stroke-dasharray:2 3}"
    ".span{fill:var(--tone);opacity:.28}.point{fill:var(--tone)}"
    ".day{width:100%;height:auto;display:block}"
    ".day path{fill:none;stroke-width:2.4;stroke-linejoin:round}"
    ".day line.base,.day line.cand{stroke-width:3}"
    ".base{stroke:var(--base)}.cand{stroke:var(--cand)}"
    ".day path.base{stroke-width:6;opacity:.5}" /* seen also where the other lies upon it */
    ".day path.area{fill:var(--tint);stroke:var(--base);stroke-width:1}"
    ".tick{font-size:12px;fill:var(--soft)}.title{font-size:13px;font-weight:600;fill:"
    "var(--ink)}"
    ".overload{fill:var(--bad);opacity:.1}"
    ".failure{stroke:var(--bad);stroke-width:1.6;stroke-dasharray:5 4}"
    ".failure-text{font-size:12px;font-weight:600;fill:var(--bad)}"
    ".finding{border-left:4px solid var(--tone);padding:2px 0 2px 14px;margin:0 0 18px}"
    ".finding:last-child{margin-bottom:0}"
    ".finding h3{font-size:15px;margin:0;font-weight:650}"
    ".finding p{margin:6px 0 0}"
    "pre{background:var(--code);border:1px solid "
    "var(--line);border-radius:8px;padding:10px 12px;"
    "margin:8px 0 0;white-space:pre-wrap;overflow-wrap:anywhere;"
    "font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}"
    "code{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:6px 18px;margin:0}"
    "dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}"
    "ul{margin:0;padding-left:18px}li{margin:3px 0}"
    ".bar{height:8px;border-radius:4px;background:var(--cand);min-width:2px}"
    ".bar.less{background:var(--good)}"
    "details summary{cursor:pointer;font-weight:650;font-size:17px}"
    "details[open] summary{margin-bottom:12px}"
    "footer{color:var(--soft);font-size:13px;padding-bottom:40px}"
    "@media(max-width:720px){header>div{flex-direction:column;align-items:flex-start}"
    ".dial{flex:none}dl{grid-template-columns:1fr}dt{margin-top:6px}}"
    "@media "
    "print{:root{--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--code:#fff;"
    "--good:#127a3c;--warn:#a45a00;--bad:#b3261e;--base:#7a8594;--cand:#2457d6;--tint:#"
    "f0f0f0}"
    "body{font-size:12px}section{border-radius:0;margin:12px 0}"
    ".badge,.bar,.span,.point{print-color-adjust:exact;-webkit-print-color-adjust:exact}"
    "}";

/* ---- pieces ---- */

static void element(struct tw_buf *b, const char *name, const char *class,
                    const char *text)
{
    if (!*text)
        return;
    tw_buf_printf(b, "<%s%s%s%s>", name, *class ? " class=\"" : "", class,
                  *class ? "\"" : "");
    report_xml(b, text);
    tw_buf_printf(b, "</%s>", name);
}

static void open_section(struct tw_buf *b, const char *title)
{
    tw_buf_puts(b, "<section>");
    element(b, "h2", "", title);
}

static void facts(struct tw_buf *b, const struct report_facts *f)
{
    tw_buf_puts(b, "<dl>");
    for (size_t i = 0; i < f->list.count; i++) {
        element(b, "dt", "", f->list.items[i].label);
        element(b, "dd", "", f->list.items[i].text);
    }
    tw_buf_puts(b, "</dl>");
}

static void facts_section(struct tw_buf *b, const char *title,
                          const struct report_facts *f)
{
    if (f->list.count == 0)
        return;
    open_section(b, title);
    facts(b, f);
    tw_buf_puts(b, "</section>\n");
}

static void list(struct tw_buf *b, const struct report_texts *t)
{
    tw_buf_puts(b, "<ul>");
    for (size_t i = 0; i < t->list.count; i++)
        element(b, "li", "", t->list.items[i]);
    tw_buf_puts(b, "</ul>");
}

static void commands(struct tw_buf *b, const char *title, const struct report_texts *t)
{
    if (t->list.count == 0)
        return;
    element(b, "p", "small", title);
    tw_buf_puts(b, "<pre>");
    for (size_t i = 0; i < t->list.count; i++) {
        tw_buf_puts(b, i ? "\n" : "");
        report_xml(b, t->list.items[i]);
    }
    tw_buf_puts(b, "</pre>");
}

/* ---- head ---- */

/* A half circle of radius 80 around (95, 95), from share a to share b. */
static void arc(struct tw_buf *b, double from, double to, const char *colour,
                double opacity)
{
    double a0 = M_PI * (1 - from), a1 = M_PI * (1 - to);

    tw_buf_printf(b,
                  "<path d=\"M%.1f %.1f A80 80 0 0 1 %.1f %.1f\" fill=\"none\" "
                  "stroke=\"var(--%s)\" stroke-width=\"14\" opacity=\"%g\"/>",
                  95 + 80 * cos(a0), 95 - 80 * sin(a0), 95 + 80 * cos(a1),
                  95 - 80 * sin(a1), colour, opacity);
}

static void dial(struct tw_buf *b, const struct report_view *v)
{
    double angle = M_PI * (1 - v->risk / 100);

    tw_buf_puts(b, "<div class=\"dial\"><svg viewBox=\"0 0 190 112\" role=\"img\" "
                   "aria-label=\"risk ");
    report_xml(b, v->risk_text);
    tw_buf_puts(b, "\">");
    arc(b, 0, 0.495, "good", 0.32);
    arc(b, 0.505, 0.795, "warn", 0.32);
    arc(b, 0.805, 1, "bad", 0.32);
    tw_buf_printf(
        b,
        "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"9\" fill=\"var(--tone)\" "
        "stroke=\"var(--card)\" stroke-width=\"3\"/>"
        "<text class=\"number\" x=\"95\" y=\"88\" text-anchor=\"middle\">%.0f</text>"
        "<text class=\"of\" x=\"95\" y=\"106\" text-anchor=\"middle\">risk, ",
        95 + 80 * cos(angle), 95 - 80 * sin(angle), v->risk);
    report_xml(b, v->s->impact.risk_level ? v->s->impact.risk_level : "of 100");
    tw_buf_puts(b, "</text></svg></div>");
}

static void head(struct tw_buf *b, const struct report_view *v)
{
    tw_buf_printf(b, "<header class=\"%s\"><div><div>", report_tone_names[v->tone]);
    element(b, "span", "badge", v->word);
    element(b, "span", "change", *v->change ? v->change : "nothing changes");
    element(b, "h1", "", *v->sentence ? v->sentence : v->plain);
    tw_buf_puts(b, "<p class=\"where\">");
    report_xml(b, v->where);
    tw_buf_puts(b, " \xc2\xb7 ");
    report_xml(b, v->horizon);
    tw_buf_puts(b, "</p>");
    if (v->also.list.count)
        list(b, &v->also);
    tw_buf_puts(b, "</div>");
    if (!isnan(v->risk))
        dial(b, v);
    tw_buf_puts(b, "</div></header>\n<main>\n");
}

/* ---- figures ---- */

/* How far the axis reaches to both sides: a nice factor that holds every interval, at most 100. */
static double span_of(const struct report_metric *list, size_t n)
{
    static const double spans[] = {1.1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100};
    double most = 1;
    size_t i = 0;

    for (size_t k = 0; k < n; k++) {
        const double values[] = {list[k].ratio, list[k].low, list[k].high};

        for (size_t j = 0; j < TW_COUNT_OF(values); j++)
            if (isfinite(values[j]) && values[j] > 0)
                most = fmax(most, fmax(values[j], 1 / values[j]));
    }
    while (i + 1 < TW_COUNT_OF(spans) && spans[i] < most)
        i++;
    return spans[i];
}

static void metric_row(struct tw_buf *b, const struct report_metric *m, double span)
{
    tw_buf_printf(b, "<tr class=\"%s\">", report_tone_names[m->tone]);
    tw_buf_puts(b, "<th scope=\"row\">");
    report_xml(b, m->label);
    tw_buf_puts(b, "</th>");
    element(b, "td", "num", m->before);
    element(b, "td", "num", m->after);
    element(b, "td", "num tone", m->change);
    tw_buf_puts(b, "<td>");
    if (isfinite(m->ratio))
        report_svg_interval(b, m, span);
    tw_buf_puts(b, "</td><td><span class=\"tone\">");
    report_xml(b, m->verdict);
    tw_buf_puts(b, "</span>");
    if (*m->interval) {
        tw_buf_puts(b, "<br>");
        element(b, "span", "small", m->interval);
    }
    tw_buf_puts(b, "</td>");
    tw_buf_puts(b, "<td class=\"num small\">");
    report_xml(b, m->noise);
    tw_buf_puts(b, "</td></tr>\n");
}

static void metrics(struct tw_buf *b, struct tw_arena *a, const char *title,
                    const struct report_metric *items, size_t n)
{
    double span = span_of(items, n);
    const char *edge = span < 2 ? tw_arena_printf(a, "%.0f %%", (span - 1) * 100)
                                : tw_arena_printf(a, "%g times", span);

    if (n == 0)
        return;
    open_section(b, title);
    tw_buf_printf(
        b,
        "<div class=\"scroll\"><table><thead><tr><th></th><th class=\"num\">before</th>"
        "<th class=\"num\">after</th><th class=\"num\">change</th>"
        "<th>less \xe2\x86\x90 the same \xe2\x86\x92 more (axis to %s)</th>"
        "<th>verdict, interval</th><th class=\"num\">noise</th></tr></thead><tbody>\n",
        edge);
    for (size_t i = 0; i < n; i++)
        metric_row(b, &items[i], span);
    tw_buf_puts(b, "</tbody></table></div></section>\n");
}

static bool is_overloaded(const struct report_day *day)
{
    bool any = false;

    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        for (size_t i = 0; i < day->bins; i++)
            any |= day->overload[arm][i] > 0;
    return any;
}

static void the_day(struct tw_buf *b, const struct report_view *v)
{
    if (v->day.bins == 0)
        return;
    open_section(b, "The time simulated");
    report_svg_day(b, v);
    if (is_overloaded(&v->day))
        tw_buf_puts(
            b, "<p class=\"small\">Tinted: more is asked than can be done, the queue "
               "grows.</p>");
    if (v->notes.list.count)
        list(b, &v->notes);
    tw_buf_puts(b, "</section>\n");
}

/* ---- findings, statements, failures ---- */

static void finding(struct tw_buf *b, const struct report_issue *issue)
{
    tw_buf_printf(b, "<div class=\"finding %s\"><h3>", report_tone_names[issue->tone]);
    report_xml(b, issue->title);
    tw_buf_puts(b, "</h3><span class=\"small\"><span class=\"tone\">");
    report_xml(b, tw_severity_names[issue->severity]);
    tw_buf_puts(b, "</span> \xc2\xb7 ");
    element(b, "code", "", issue->code);
    if (issue->file && issue->line) {
        tw_buf_puts(b, " \xc2\xb7 ");
        report_xml(b, issue->file);
        tw_buf_printf(b, " line %d", issue->line);
    }
    tw_buf_puts(b, "</span>");
    element(b, "pre", "", issue->quote);
    if (*issue->remedy) {
        tw_buf_puts(b, "<p><strong>Remedy:</strong> ");
        report_xml(b, issue->remedy);
        tw_buf_puts(b, "</p>");
    }
    element(b, "pre", "", issue->reproduce);
    tw_buf_puts(b, "</div>\n");
}

static void findings(struct tw_buf *b, const struct report_view *v)
{
    if (v->issues.count == 0)
        return;
    open_section(b, "Findings");
    for (size_t i = 0; i < v->issues.count; i++)
        finding(b, &v->issues.items[i]);
    tw_buf_puts(b, "</section>\n");
}

static void statements(struct tw_buf *b, const struct report_view *v)
{
    if (v->statements.count == 0)
        return;
    open_section(b, "Statements whose plan changed");
    for (size_t i = 0; i < v->statements.count; i++) {
        const struct report_statement *s = &v->statements.items[i];

        tw_buf_printf(b, "<div class=\"finding %s\">", report_tone_names[s->tone]);
        element(b, "span", "small", s->share);
        element(b, "pre", "", s->text);
        tw_buf_puts(b, "<table><tbody><tr><th scope=\"row\">before</th>");
        element(b, "td", "num", s->before);
        element(b, "td", "", s->plan_before);
        tw_buf_puts(b, "</tr><tr><th scope=\"row\">after</th>");
        element(b, "td", "num tone", s->after);
        element(b, "td", "", s->plan_after);
        tw_buf_puts(b, "</tr></tbody></table></div>\n");
    }
    tw_buf_puts(b, "</section>\n");
}

static void failures(struct tw_buf *b, const struct report_view *v)
{
    if (!v->s->has_impact)
        return;
    open_section(b, "Failures to come");
    if (v->failures.count == 0) {
        tw_buf_puts(
            b, "<p class=\"small\">None foreseen within the horizon.</p></section>\n");
        return;
    }
    tw_buf_puts(
        b, "<div class=\"scroll\"><table><thead><tr><th>what</th><th>when</th>"
           "<th class=\"num\">probability</th><th>evidence</th></tr></thead><tbody>");
    for (size_t i = 0; i < v->failures.count; i++) {
        const struct report_failure *f = &v->failures.items[i];

        tw_buf_printf(b, "<tr class=\"%s\"><th scope=\"row\"><span class=\"tone\">",
                      report_tone_names[f->tone]);
        report_xml(b, f->kind);
        tw_buf_puts(b, "</span></th>");
        element(b, "td", "", f->when);
        element(b, "td", "num", f->probability);
        tw_buf_puts(b, "<td>");
        report_xml(b, f->evidence);
        tw_buf_puts(b, "</td></tr>\n");
    }
    tw_buf_puts(b, "</tbody></table></div></section>\n");
}

/* ---- statements of a schema change ---- */

static void ddl_table(struct tw_buf *b, const struct report_ddl *rows, size_t n)
{
    tw_buf_puts(b, "<div class=\"scroll\"><table><thead><tr>");
    for (int c = 0; c < REPORT_DDL_COLUMNS; c++)
        element(b, "th", "", report_ddl_titles[c]);
    tw_buf_puts(b, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < n; i++) {
        tw_buf_printf(b, "<tr class=\"%s\">", report_tone_names[rows[i].tone]);
        for (int c = 0; c < REPORT_DDL_COLUMNS; c++)
            element(b, "td", c >= 2 && c <= 6 ? "num" : "", report_ddl_cell(&rows[i], c));
        tw_buf_puts(b, "</tr>\n");
    }
    tw_buf_puts(b, "</tbody></table></div>\n");
}

static void schema(struct tw_buf *b, const struct report_view *v)
{
    if (v->ddl.count == 0)
        return;
    open_section(b, "Statements, as they ran under load");
    ddl_table(b, v->ddl.items, v->ddl.count);
    facts(b, &v->ddl_beside);
    tw_buf_puts(b, "</section>\n");
    if (v->safer_ddl.count == 0)
        return;
    open_section(b, "A safer form, tried");
    ddl_table(b, v->safer_ddl.items, v->safer_ddl.count);
    list(b, &v->safer_forms);
    tw_buf_puts(b, "</section>\n");
}

/* ---- beside ---- */

static void applying(struct tw_buf *b, const struct report_view *v)
{
    if (v->apply.list.count == 0 && v->commands.list.count == 0)
        return;
    open_section(b, "Applying it");
    facts(b, &v->apply);
    commands(b, "to make the change", &v->commands);
    commands(b, "to undo it", &v->undo);
    tw_buf_puts(b, "</section>\n");
}

static void risk_parts(struct tw_buf *b, const struct report_view *v)
{
    if (v->risk_parts.count == 0)
        return;
    open_section(b, "Risk, in parts");
    tw_buf_puts(b, "<table><tbody>");
    for (size_t i = 0; i < v->risk_parts.count; i++) {
        const struct tw_risk_part *part = &v->risk_parts.items[i];

        tw_buf_puts(b, "<tr><th scope=\"row\">");
        report_xml(b, part->name);
        tw_buf_printf(
            b,
            "</th><td class=\"num\">%+.0f</td><td style=\"width:170px\"><div "
            "class=\"%s%s\" style=\"width:%.0f%%\"></div></td><td class=\"small\">",
            part->points, fabs(part->points) >= 0.5 ? "bar" : "",
            part->points < 0 ? " less" : "", fmin(fabs(part->points), 100));
        report_xml(b, part->why);
        tw_buf_puts(b, "</td></tr>\n");
    }
    tw_buf_puts(b, "</tbody></table></section>\n");
}

static void folded(struct tw_buf *b, const char *title, const struct report_texts *t,
                   const struct report_facts *f)
{
    if ((!t || t->list.count == 0) && (!f || f->list.count == 0))
        return;
    tw_buf_printf(b, "<section><details open><summary>%s</summary>", title);
    if (t)
        list(b, t);
    if (f)
        facts(b, f);
    tw_buf_puts(b, "</details></section>\n");
}

static void foot(struct tw_buf *b, const struct report_view *v)
{
    tw_buf_puts(b, "</main>\n<footer>");
    if (*v->as_of) {
        tw_buf_puts(b, "Data as of ");
        report_xml(b, v->as_of);
        tw_buf_puts(b, ". ");
    }
    tw_buf_puts(b, "Simulation <code>");
    report_xml(b, v->s->id);
    tw_buf_puts(b, "</code>, by twin.</footer>\n");
}

static void body(struct tw_buf *b, const struct report_view *v)
{
    head(b, v);
    facts_section(b, "The plan", &v->plan);
    findings(b, v);
    schema(b, v);
    if (v->scale.list.count) {
        open_section(b, "What each size carries");
        facts(b, &v->scale);
        tw_buf_puts(b, "</section>\n");
    }
    metrics(b, v->a, "Before and after", v->performance.items, v->performance.count);
    the_day(b, v);
    statements(b, v);
    failures(b, v);
    metrics(b, v->a, "Resources", v->resources.items, v->resources.count);
    if (v->safer && v->ddl.count == 0) {
        open_section(b, "A safer value, tried");
        element(b, "p", "", v->safer);
        tw_buf_puts(b, "</section>\n");
    }
    tw_buf_puts(b, "<div class=\"two\">\n");
    facts_section(b, "Bottleneck", &v->bottleneck);
    applying(b, v);
    facts_section(b, "How sure", &v->confidence);
    facts_section(b, "What users notice", &v->experience);
    facts_section(b, "Cost", &v->cost);
    tw_buf_puts(b, "</div>\n");
    risk_parts(b, v);
    folded(b, "What the twin is not", &v->differences, NULL);
    folded(b, "How it was measured", NULL, &v->measured);
    foot(b, v);
}

int report_write_html(const struct tw_simulation *s, const struct tw_report_style *style,
                      struct tw_buf *out, struct tw_err *err)
{
    report_auto_view *v = report_view_new(s);

    (void)style, (void)err;
    tw_buf_puts(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
        "<link rel=\"icon\" href=\"data:,\"><title>");
    report_xml(out, v->word);
    tw_buf_puts(out, ": ");
    report_xml(out, v->change);
    tw_buf_printf(out, "</title><style>%s</style></head>\n<body>\n", style_sheet);
    body(out, v);
    tw_buf_puts(out, "</body></html>\n");
    return 0;
}
