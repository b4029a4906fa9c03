#include "tw/report.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HOSTILE "<script>alert(1)</script> \033[2J ]]> | `x` password=geheim"

static const struct tw_report_style plain = {.columns = 80};
static const struct tw_report_style rich = {
    .colour = true, .unicode = true, .columns = 100};

/* Everything that comes from outside is hostile. */
static struct tw_simulation *simulation(void)
{
    struct tw_simulation *s = tw_simulation_new();
    struct tw_arena *a = s->arena;
    struct tw_issue *issue;

    tw_id_make(s->id);
    s->status = TW_SUCCESS;
    s->has_impact = true;
    s->request.type = "config_change";
    s->request.target = "pg" HOSTILE;
    TW_PUSH(a, &s->request.settings,
            (struct tw_setting_change){.name = "work_mem", .value = HOSTILE});
    TW_PUSH(a, &s->request.files,
            (struct tw_file_change){.content = "# x\njit = off\nwork_mem = 1\n",
                                    .origin = "new.conf"});
    s->decision.verdict = TW_REVIEW;
    TW_PUSH(a, &s->decision.reasons, "p95 may be higher by up to 63 % " HOSTILE);
    s->impact.risk_score = 59;
    s->impact.risk_level = "high";
    TW_PUSH(a, &s->impact.risk_parts, (struct tw_risk_part){"p95", 59, HOSTILE});
    issue = tw_issue_add(a, &s->impact.issues, TW_HIGH, TW_REVIEW, "x.work_mem",
                         "work_mem is odd " HOSTILE, HOSTILE, HOSTILE);
    issue->reproduce = HOSTILE;
    TW_PUSH(a, &s->impact.performance,
            (struct tw_effect){.metric = "p95_ms",
                               .unit = "ms",
                               .before = 1,
                               .after = 1.4,
                               .ratio = {1.4, 0.9, 1.63, 0.95, 12, "pairs"},
                               .verdict = "inconclusive",
                               .noise_floor = 0.02});
    TW_PUSH(a, &s->impact.failures,
            (struct tw_failure){HOSTILE, 5, 4, 6, 0.9, HOSTILE, 0, false});
    TW_PUSH(a, &s->impact.statements,
            (struct tw_statement_effect){.text = "SELECT 'geheim' " HOSTILE,
                                         .plan_before = HOSTILE,
                                         .plan_after = HOSTILE,
                                         .plan_changed = true});
    TW_PUSH(a, &s->impact.twin_differences, HOSTILE);
    TW_PUSH(a, &s->impact.apply.commands, "ALTER SYSTEM SET work_mem = '1'");
    s->impact.bottleneck.resource = HOSTILE;
    s->impact.safer = HOSTILE;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        for (int k = 0; k < 24; k++)
            TW_PUSH(a, &s->impact.forecast[arm].bins,
                    (struct tw_bin){.from_h = k,
                                    .hours = 1,
                                    .rate_per_s = 100 + k,
                                    .utilisation = k == 20 ? 1.5 : 0.5,
                                    .p95_s = k == 20 ? NAN : 0.001 * (k + 1)});
    return s;
}

static char *written(const char *format, const struct tw_simulation *s,
                     const struct tw_report_style *style)
{
    const struct tw_report_format *f = tw_report_format_find(format, NULL);
    struct tw_buf b;

    cr_assert(f != NULL, "%s", format);
    tw_buf_init(&b, 1 << 22);
    cr_assert(f->write(s, style, &b, NULL) == 0);
    return tw_buf_take(&b);
}

Test(report_report, formats_are_found_by_name_and_mistakes_name_the_nearest)
{
    struct tw_err err = {0};

    cr_expect(tw_report_format_count == 6);
    cr_expect_str_eq(tw_report_format_find("junit", NULL)->media_type, "application/xml");
    cr_expect(tw_report_format_find("htlm", &err) == NULL);
    cr_expect(err.code == -EINVAL && strstr(err.text, "'html'"), "%s", err.text);
    cr_expect(tw_report_format_find("pdf-with-charts", &err) == NULL);
    cr_expect(strstr(err.text, "expected text, json"), "%s", err.text);
}

Test(report_report, no_secret_and_no_escape_sequence_is_in_any_format)
{
    tw_auto(tw_simulation) *s = simulation();

    for (size_t i = 0; i < tw_report_format_count; i++) {
        tw_auto_free char *text = written(tw_report_formats[i]->name, s, &plain);

        cr_expect(!strstr(text, "geheim"), "%s", tw_report_formats[i]->name);
        cr_expect(!strchr(text, '\033'), "%s", tw_report_formats[i]->name);
    }
}

Test(report_report, every_format_writes_every_status)
{
    for (int status = 0; status < TW_STATUS_COUNT; status++) {
        tw_auto(tw_simulation) *s = tw_simulation_new();

        s->status = (enum tw_status)status;
        s->error = status == TW_FAILED ? "no room" : NULL;
        for (size_t i = 0; i < tw_report_format_count; i++) {
            tw_auto_free char *text = written(tw_report_formats[i]->name, s, &rich);

            cr_expect(*text != '\0');
        }
    }
}

Test(report_report, the_text_begins_with_the_decision_and_its_reason)
{
    tw_auto(tw_simulation) *s = simulation();
    tw_auto_free char *text = written("text", s, &plain);

    cr_expect(tw_starts_with(text, "[REVIEW]  work_mem ="), "%.80s", text);
    cr_expect(strstr(text, "\n\np95 may be higher by up to 63 %"));
    cr_expect(strstr(text, "new.conf line 3"));
}

Test(report_report, the_text_keeps_its_width_and_is_ascii_when_asked)
{
    tw_auto(tw_simulation) *s = simulation();
    const int widths[] = {60, 80, 120};

    for (size_t i = 0; i < TW_COUNT_OF(widths); i++) {
        const struct tw_report_style style = {.columns = widths[i]};
        tw_auto_free char *text = written("text", s, &style);
        size_t column = 0;

        for (const char *p = text; *p; p++) {
            column = *p == '\n' ? 0 : column + 1;
            cr_assert((unsigned char)*p < 0x80, "byte %d", *p);
            cr_assert(column <= (size_t)widths[i], "%d: %.*s", widths[i], (int)column,
                      p - column + 1);
        }
    }
}

Test(report_report, colour_is_there_only_when_asked_for)
{
    tw_auto(tw_simulation) *s = simulation();
    const struct tw_report_style unicode = {.unicode = true};
    tw_auto_free char *with = written("text", s, &rich);
    tw_auto_free char *without = written("text", s, &unicode);

    cr_expect(strstr(with, "\033["));
    cr_expect(!strstr(without, "\033"));
    cr_expect(strstr(without, "\xe2\x96\x88")); /* a full block */
}

Test(report_report, json_is_the_contract)
{
    tw_auto(tw_simulation) *s = simulation();
    tw_auto_free char *text = written("json", s, &plain);
    json_t *json = NULL;

    cr_assert(tw_json_parse(text, strlen(text), &json, NULL) == 0);
    cr_expect_str_eq(json_string_value(json_object_get(json, "decision")), "review");
    json_decref(json);
}

Test(report_report, html_is_self_contained_and_escaped)
{
    tw_auto(tw_simulation) *s = simulation();
    tw_auto_free char *text = written("html", s, &plain);
    static const char *const forbidden[] = {"<script", "http://", "https://", "url(",
                                            "@import", "<img",    "<iframe",  " onload"};

    for (size_t i = 0; i < TW_COUNT_OF(forbidden); i++)
        cr_expect(!strstr(text, forbidden[i]), "%s", forbidden[i]);
    cr_expect(strstr(text, "default-src 'none'"));
    cr_expect(strstr(text, "&lt;script&gt;"));
    cr_expect(strstr(text, "<svg class=\"day\""));
    cr_expect(!strstr(text, "nan") && !strstr(text, "inf\""));
}

Test(report_report, junit_has_a_failure_for_each_thing_that_forces_the_decision)
{
    tw_auto(tw_simulation) *s = simulation();
    tw_auto_free char *text = written("junit", s, &plain);
    size_t cases = 0, failures = 0;
    char expected[64];

    for (const char *p = text; (p = strstr(p, "<testcase ")); p++)
        cases++;
    for (const char *p = text; (p = strstr(p, "<failure ")); p++)
        failures++;
    (void)snprintf(expected, sizeof expected, "tests=\"%zu\" failures=\"%zu\"", cases,
                   failures);
    cr_expect(strstr(text, expected), "%s", expected);
    cr_expect(failures == 3, "%zu", failures); /* decision, finding, p95 */
    cr_expect(!strstr(text, "<script"));
}

Test(report_report, junit_of_a_change_that_may_proceed_has_no_failure)
{
    tw_auto(tw_simulation) *s = simulation();

    s->decision.verdict = TW_PROCEED;
    s->impact.risk_parts.count = 0;
    s->impact.issues.list.items[0].at_least = TW_PROCEED;
    tw_auto_free char *text = written("junit", s, &plain);

    cr_expect(!strstr(text, "<failure"));
}

Test(report_report, sarif_points_at_the_line_of_the_changed_file)
{
    tw_auto(tw_simulation) *s = simulation();
    tw_auto_free char *text = written("sarif", s, &plain);
    json_t *json = NULL, *run, *result, *place;

    cr_assert(tw_json_parse(text, strlen(text), &json, NULL) == 0);
    run = json_array_get(json_object_get(json, "runs"), 0);
    result = json_array_get(json_object_get(run, "results"), 0);
    place = json_object_get(json_array_get(json_object_get(result, "locations"), 0),
                            "physicalLocation");
    cr_expect_str_eq(json_string_value(json_object_get(json, "version")), "2.1.0");
    cr_expect_str_eq(json_string_value(json_object_get(
                         json_object_get(place, "artifactLocation"), "uri")),
                     "new.conf");
    cr_expect(json_integer_value(
                  json_object_get(json_object_get(place, "region"), "startLine")) == 3);
    cr_expect_str_eq(json_string_value(json_object_get(result, "level")), "error");
    json_decref(json);
}

Test(report_report, markdown_cannot_be_broken_out_of)
{
    tw_auto(tw_simulation) *s = simulation();
    tw_auto_free char *text = written("markdown", s, &plain);

    cr_expect(tw_starts_with(text, "## \xf0\x9f\x9f\xa1 REVIEW"), "%.60s", text);
    cr_expect(!strstr(text, "\n<script"));
    cr_expect(strstr(text, "\\<script\\>"));
}

Test(report_report, a_failed_simulation_says_what_to_do_and_is_no_verdict)
{
    tw_auto(tw_simulation) *s = tw_simulation_new();

    s->status = TW_FAILED;
    s->error = "the unchanged baseline did not start; look at its log";
    tw_auto_free char *text = written("text", s, &plain);

    cr_expect(tw_starts_with(text, "[NO ANSWER]"));
    cr_expect(strstr(text, "The unchanged baseline did not start; look at its log."));
    cr_expect(!strstr(text, "PROCEED"));
}
