/* The charts of the HTML report: inline SVG, coloured by the classes of its style sheet. */
#include "report_internal.h"

#include <math.h>
#include <string.h>

/* ---- one effect with its interval, on a logarithmic axis around "the same" ---- */

#define INTERVAL_WIDTH  260.0
#define INTERVAL_HEIGHT 24.0

static double place(double ratio, double span)
{
    double at = log(ratio) / log(span);

    return INTERVAL_WIDTH / 2 * (1 + 0.92 * fmin(fmax(at, -1), 1));
}

/* A value beyond the axis is an arrow at its end. */
static void point(struct tw_buf *b, double ratio, double span)
{
    double x = place(ratio, span);

    if (ratio <= span && ratio >= 1 / span)
        tw_buf_printf(b, "<circle class=\"point\" cx=\"%.1f\" cy=\"12\" r=\"5\"/>", x);
    else
        tw_buf_printf(b, "<path class=\"point\" d=\"M%.1f 5 l%d 7 l%d 7 Z\"/>", x,
                      ratio > 1 ? 9 : -9, ratio > 1 ? -9 : 9);
}

void report_svg_interval(struct tw_buf *b, const struct report_metric *m, double span)
{
    /* an end that nobody knows is the end of the axis */
    double low = m->low > 0 ? m->low : 1 / span,
           high = isfinite(m->high) ? m->high : span;
    bool known = m->low > 0 || isfinite(m->high);
    double from = place(low, span), to = place(high, span);

    tw_buf_printf(
        b, "<svg class=\"interval %s\" viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"",
        report_tone_names[m->tone], INTERVAL_WIDTH, INTERVAL_HEIGHT);
    report_xml(b, m->change);
    tw_buf_puts(b, *m->interval ? ", interval " : "");
    report_xml(b, m->interval);
    tw_buf_printf(b,
                  "\"><line class=\"axis\" x1=\"8\" x2=\"%g\" y1=\"12\" y2=\"12\"/>"
                  "<line class=\"same\" x1=\"%g\" x2=\"%g\" y1=\"1\" y2=\"23\"/>",
                  INTERVAL_WIDTH - 8, INTERVAL_WIDTH / 2, INTERVAL_WIDTH / 2);
    if (known && to >= from)
        tw_buf_printf(
            b,
            "<rect class=\"span\" x=\"%.1f\" y=\"7\" width=\"%.1f\" height=\"10\" "
            "rx=\"5\"/>",
            from, fmax(to - from, 2));
    if (isfinite(m->ratio) && m->ratio > 0)
        point(b, m->ratio, span);
    tw_buf_puts(b, "</svg>");
}

/* ---- the day ---- */

#define LEFT        76.0
#define WIDTH       1000.0
#define RIGHT       16.0
#define P95_TOP     34.0
#define P95_HEIGHT  190.0
#define BUSY_TOP    272.0
#define BUSY_HEIGHT 90.0
#define LOAD_TOP    410.0
#define LOAD_HEIGHT 46.0
#define HEIGHT      490.0
#define MOST_BUSY   2.0

struct panel {
    double top, height, low, high;
    bool logarithmic;
};

static double x_of(const struct report_view *v, double hours)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * hours / v->day.hours;
}

static double y_of(const struct panel *p, double value)
{
    double low = p->logarithmic ? log(p->low) : p->low;
    double high = p->logarithmic ? log(p->high) : p->high;
    double share = ((p->logarithmic ? log(value) : value) - low) / (high - low);

    return p->top + p->height * (1 - fmin(fmax(share, 0), 1));
}

static void range_of(const double *values, size_t n, double *low, double *high)
{
    for (size_t i = 0; i < n; i++) {
        if (isnan(values[i]) || values[i] <= 0)
            continue;
        *low = fmin(*low, values[i]);
        *high = fmax(*high, values[i]);
    }
}

/* 1, 2 or 5 times a power of ten, not under value. */
static double nice(double value)
{
    double power = pow(10, floor(log10(value))), share = value / power;

    return power * (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10);
}

static double bin_middle(const struct report_day *day, size_t i)
{
    double end = i + 1 < day->bins ? day->from_h[i + 1] : day->hours;

    return (day->from_h[i] + end) / 2;
}

/* A line through the middles of the bins, broken where a value is unknown. */
static void line(struct tw_buf *b, const struct report_view *v, const struct panel *p,
                 const double *values, const char *class)
{
    bool drawing = false;

    tw_buf_printf(b, "<path class=\"%s\" d=\"", class);
    for (size_t i = 0; i < v->day.bins; i++) {
        if (isnan(values[i]) || (p->logarithmic && values[i] <= 0)) {
            drawing = false;
            continue;
        }
        tw_buf_printf(b, "%s%.1f %.1f", drawing ? " L" : " M",
                      x_of(v, bin_middle(&v->day, i)), y_of(p, values[i]));
        drawing = true;
    }
    tw_buf_puts(b, "\"/>");
}

static void area(struct tw_buf *b, const struct report_view *v, const struct panel *p,
                 const double *values)
{
    tw_buf_printf(b, "<path class=\"area\" d=\"M%.1f %.1f", x_of(v, 0),
                  p->top + p->height);
    for (size_t i = 0; i < v->day.bins; i++) {
        double end = i + 1 < v->day.bins ? v->day.from_h[i + 1] : v->day.hours;
        double y = isnan(values[i]) ? p->top + p->height : y_of(p, values[i]);

        tw_buf_printf(b, " L%.1f %.1f L%.1f %.1f", x_of(v, v->day.from_h[i]), y,
                      x_of(v, end), y);
    }
    tw_buf_printf(b, " L%.1f %.1f Z\"/>", x_of(v, v->day.hours), p->top + p->height);
}

static void grid_line(struct tw_buf *b, const struct panel *p, double value,
                      const char *label)
{
    double y = y_of(p, value);

    tw_buf_printf(b,
                  "<line class=\"grid\" x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\"/>"
                  "<text class=\"tick\" x=\"%g\" y=\"%.1f\" text-anchor=\"end\">",
                  LEFT, WIDTH - RIGHT, y, y, LEFT - 8, y + 4);
    report_xml(b, label);
    tw_buf_puts(b, "</text>");
}

static void grid(struct tw_buf *b, const struct report_view *v, const struct panel *p,
                 const char *unit)
{
    if (p->logarithmic) {
        for (double at = p->low; at <= p->high * 1.001; at *= 10)
            grid_line(b, p, at, report_value(v->a, at, unit));
        return;
    }
    double step = nice(p->high / 5);

    for (double at = 0; at <= p->high * 1.001; at += step)
        grid_line(b, p, at, at > 0 ? report_value(v->a, at, unit) : "0");
}

static void title(struct tw_buf *b, double y, const char *text)
{
    tw_buf_printf(b, "<text class=\"title\" x=\"%g\" y=\"%g\">%s</text>", LEFT, y, text);
}

static void legend(struct tw_buf *b, const struct report_view *v)
{
    static const char *const classes[TW_ARM_COUNT] = {"base", "cand"};
    static const double at[TW_ARM_COUNT] = {WIDTH - 470, WIDTH - 240};

    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        tw_buf_printf(b,
                      "<line class=\"%s\" x1=\"%g\" x2=\"%g\" y1=\"14\" y2=\"14\"/>"
                      "<text class=\"tick\" x=\"%g\" y=\"18\">",
                      classes[arm], at[arm], at[arm] + 26, at[arm] + 34);
        report_xml(b, arm == TW_BASELINE ? "before, " : "after, ");
        report_xml(b, v->day.p95[arm].range);
        tw_buf_puts(b, "</text>");
    }
}

static void hours_axis(struct tw_buf *b, const struct report_view *v)
{
    double step = v->day.hours / 4;

    for (int i = 0; i <= 4; i++) {
        double x = x_of(v, step * i);

        tw_buf_printf(
            b,
            "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%g\" y2=\"%g\"/>"
            "<text class=\"tick\" x=\"%.1f\" y=\"%g\" text-anchor=\"%s\">%.3g h</text>",
            x, x, P95_TOP, LOAD_TOP + LOAD_HEIGHT, x, LOAD_TOP + LOAD_HEIGHT + 20,
            i == 0   ? "start"
            : i == 4 ? "end"
                     : "middle",
            step * i);
    }
}

/* Where demand is more than the arm can do. */
static void overloads(struct tw_buf *b, const struct report_view *v, enum tw_arm arm)
{
    const struct report_day *day = &v->day;

    for (size_t i = 0; i < day->bins; i++) {
        size_t from = i;

        if (!(day->overload[arm][i] > 0))
            continue;
        while (i + 1 < day->bins && day->overload[arm][i + 1] > 0)
            i++;
        double end = i + 1 < day->bins ? day->from_h[i + 1] : day->hours;

        tw_buf_printf(b,
                      "<rect class=\"overload\" x=\"%.1f\" y=\"%g\" width=\"%.1f\" "
                      "height=\"%g\"><title>overload, %s</title></rect>",
                      x_of(v, day->from_h[from]), P95_TOP,
                      x_of(v, end) - x_of(v, day->from_h[from]),
                      BUSY_TOP + BUSY_HEIGHT - P95_TOP,
                      arm == TW_BASELINE ? "before" : "after");
    }
}

static void failure_marks(struct tw_buf *b, const struct report_view *v)
{
    for (size_t i = 0; i < v->failures.count; i++) {
        const struct report_failure *f = &v->failures.items[i];
        double x = x_of(v, f->at_hours);
        bool late = f->at_hours > v->day.hours * 0.8;

        if (!(f->at_hours >= 0 && f->at_hours <= v->day.hours))
            continue;
        tw_buf_printf(
            b,
            "<line class=\"failure\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%g\" y2=\"%g\"/>"
            "<text class=\"failure-text\" x=\"%.1f\" y=\"%g\" text-anchor=\"%s\">",
            x, x, P95_TOP - 4, LOAD_TOP + LOAD_HEIGHT, x + (late ? -6 : 6),
            P95_TOP + 12 + 16 * (double)(i % 3), late ? "end" : "start");
        report_xml(b, f->kind);
        tw_buf_puts(b, ", ");
        report_xml(b, f->probability);
        tw_buf_puts(b, "</text>");
    }
}

static struct panel p95_panel(const struct report_view *v)
{
    struct panel p = {P95_TOP, P95_HEIGHT, INFINITY, 0, false};

    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        range_of(v->day.p95[arm].values, v->day.bins, &p.low, &p.high);
    if (!(p.high > 0))
        p.low = p.high = 1e-3;
    p.logarithmic = p.high > 20 * p.low;
    p.low = p.logarithmic ? pow(10, floor(log10(p.low))) : 0;
    p.high = p.logarithmic ? pow(10, ceil(log10(p.high))) : p.high * 1.08;
    return p;
}

void report_svg_day(struct tw_buf *b, const struct report_view *v)
{
    struct panel p95 = p95_panel(v), busy = {BUSY_TOP, BUSY_HEIGHT, 0, 1, false};
    struct panel load = {LOAD_TOP, LOAD_HEIGHT, 0, 0, false};
    double unused = INFINITY;

    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        range_of(v->day.busy[arm].values, v->day.bins, &unused, &busy.high);
    busy.high = fmin(busy.high, MOST_BUSY); /* beyond it the curve runs along the top */
    range_of(v->day.rate, v->day.bins, &unused, &load.high);
    load.high = load.high > 0 ? load.high * 1.05 : 1;

    tw_buf_printf(
        b,
        "<svg class=\"day\" viewBox=\"0 0 %g %g\" role=\"img\" "
        "aria-label=\"The time simulated: latency p95, share of capacity in use and "
        "load, before and after the change\">",
        WIDTH, HEIGHT);
    overloads(b, v, TW_BASELINE);
    overloads(b, v, TW_CANDIDATE);
    hours_axis(b, v);
    title(b, 18, "latency p95");
    grid(b, v, &p95, "s");
    legend(b, v);
    line(b, v, &p95, v->day.p95[TW_BASELINE].values, "base");
    line(b, v, &p95, v->day.p95[TW_CANDIDATE].values, "cand");
    title(b, BUSY_TOP - 12, "share of the capacity in use");
    grid_line(b, &busy, 0, "0");
    grid_line(b, &busy, 1, "100 %");
    if (busy.high >= MOST_BUSY)
        grid_line(b, &busy, MOST_BUSY, "\xe2\x89\xa5 200 %");
    line(b, v, &busy, v->day.busy[TW_BASELINE].values, "base");
    line(b, v, &busy, v->day.busy[TW_CANDIDATE].values, "cand");
    title(b, LOAD_TOP - 12, "load");
    area(b, v, &load, v->day.rate);
    grid_line(b, &load, load.high / 1.05, report_value(v->a, load.high / 1.05, "per s"));
    failure_marks(b, v);
    tw_buf_puts(b, "</svg>");
}
