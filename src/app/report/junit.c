/* One test case per check, so that CI shows what keeps a change from proceeding. */
#include "report_internal.h"

#include <math.h>
#include <string.h>

static void attribute(struct tw_buf *b, const char *name, const char *value)
{
    tw_buf_printf(b, " %s=\"", name);
    for (; *value; value++) {
        const char one[2] = {*value == '\n' ? ' ' : *value, '\0'};

        report_xml(b, one);
    }
    tw_buf_puts(b, "\"");
}

static void test_case(struct tw_buf *b, const struct report_check *c)
{
    tw_auto_free char *group = tw_strf("twin.%s", c->group);

    tw_buf_puts(b, "    <testcase");
    attribute(b, "classname", group);
    attribute(b, "name", c->name);
    if (!c->failed) {
        tw_buf_puts(b, ">");
        if (*c->detail) {
            tw_buf_puts(b, "<system-out>");
            report_xml(b, c->detail);
            tw_buf_puts(b, "</system-out>");
        }
        tw_buf_puts(b, "</testcase>\n");
        return;
    }
    tw_buf_puts(b, ">\n      <failure");
    attribute(b, "type", c->group);
    attribute(b, "message", c->message);
    tw_buf_puts(b, ">");
    report_xml(b, c->detail);
    tw_buf_puts(b, "</failure>\n    </testcase>\n");
}

static void counts(struct tw_buf *b, const struct report_view *v)
{
    size_t failed = 0;

    for (size_t i = 0; i < v->checks.count; i++)
        failed += v->checks.items[i].failed;
    tw_buf_printf(b, " tests=\"%zu\" failures=\"%zu\" errors=\"0\" time=\"%.3f\"",
                  v->checks.count, failed, isnan(v->s->elapsed_s) ? 0 : v->s->elapsed_s);
}

static void property(struct tw_buf *b, const char *name, const char *value)
{
    tw_buf_puts(b, "      <property");
    attribute(b, "name", name);
    attribute(b, "value", value);
    tw_buf_puts(b, "/>\n");
}

int report_write_junit(const struct tw_simulation *s, const struct tw_report_style *style,
                       struct tw_buf *out, struct tw_err *err)
{
    report_auto_view *v = report_view_new(s);
    const char *name = tw_arena_printf(v->a, "twin: %s on %s", v->change, v->where);

    (void)style, (void)err;
    tw_buf_puts(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites");
    counts(out, v);
    tw_buf_puts(out, ">\n  <testsuite");
    attribute(out, "name", name);
    counts(out, v);
    if (s->started_wall_ns)
        attribute(out, "timestamp", tw_iso_time(v->a, s->started_wall_ns));
    tw_buf_puts(out, ">\n    <properties>\n");
    property(out, "simulation", s->id);
    property(out, "decision", v->word);
    property(out, "risk", v->risk_text);
    property(out, "horizon", v->horizon);
    tw_buf_puts(out, "    </properties>\n");
    for (size_t i = 0; i < v->checks.count; i++)
        test_case(out, &v->checks.items[i]);
    tw_buf_puts(out, "  </testsuite>\n</testsuites>\n");
    return 0;
}
