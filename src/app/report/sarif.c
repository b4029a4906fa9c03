/* Findings for code scanning: SARIF 2.1.0, at the line of the changed file they are about. */
#include "report_internal.h"

#include <stdlib.h>
#include <string.h>

#define SCHEMA "https://json.schemastore.org/sarif-2.1.0.json"

static const char *level_of(enum tw_severity severity)
{
    static const char *const levels[TW_SEVERITY_COUNT] = {"note", "note", "warning",
                                                          "error", "error"};

    return levels[severity];
}

static json_t *message(const char *text)
{
    return json_pack("{s:o}", "text", tw_json_text(text));
}

static json_t *location(const struct report_view *v, const struct report_issue *issue)
{
    json_t *at = json_object();

    if (issue->file) {
        json_t *place = json_pack("{s:{s:o}}", "artifactLocation", "uri",
                                  tw_json_text(report_clean(v->a, issue->file)));

        if (issue->line)
            json_object_set_new(place, "region",
                                json_pack("{s:i}", "startLine", issue->line));
        json_object_set_new(at, "physicalLocation", place);
    }
    json_object_set_new(
        at, "logicalLocations",
        json_pack("[{s:o,s:s}]", "fullyQualifiedName",
                  tw_json_text(issue->setting ? tw_arena_printf(v->a, "%s/%s", v->where,
                                                                issue->setting)
                                              : v->where),
                  "kind", "member"));
    return at;
}

/* Stable across runs: nothing measured is in it. */
static const char *fingerprint(const struct report_view *v,
                               const struct report_issue *issue)
{
    const char *text = tw_arena_printf(v->a, "%s\n%s\n%s\n%s", issue->code,
                                       v->s->request.target ? v->s->request.target : "",
                                       issue->file ? issue->file : "",
                                       issue->setting ? issue->setting : "");
    char *hex = tw_arena_alloc(v->a, 65);

    tw_sha256_hex(text, strlen(text), hex);
    return hex;
}

static json_t *result(const struct report_view *v, const struct report_issue *issue)
{
    const char *text = tw_arena_printf(v->a, "%s%s%s%s%s", issue->title,
                                       *issue->evidence ? "\n" : "", issue->evidence,
                                       *issue->remedy ? "\nRemedy: " : "", issue->remedy);

    return json_pack("{s:o, s:s, s:o, s:[o], s:{s:s}, s:{s:b}}", "ruleId",
                     tw_json_text(issue->code), "level", level_of(issue->severity),
                     "message", message(text), "locations", location(v, issue),
                     "partialFingerprints", "twin/v1", fingerprint(v, issue),
                     "properties", "forcesDecision", issue->forces);
}

static json_t *rules(const struct report_view *v)
{
    json_t *list = json_array();

    for (size_t i = 0; i < v->issues.count; i++) {
        const struct report_issue *issue = &v->issues.items[i];
        bool seen = false;

        for (size_t k = 0; k < i; k++)
            seen |= tw_streq(v->issues.items[k].code, issue->code);
        if (!seen)
            json_array_append_new(list,
                                  json_pack("{s:o, s:o, s:{s:s}}", "id",
                                            tw_json_text(issue->code), "shortDescription",
                                            message(issue->title), "defaultConfiguration",
                                            "level", level_of(issue->severity)));
    }
    return list;
}

int report_write_sarif(const struct tw_simulation *s, const struct tw_report_style *style,
                       struct tw_buf *out, struct tw_err *err)
{
    report_auto_view *v = report_view_new(s);
    const char *decision = s->status == TW_SUCCESS ? tw_verdict_names[s->decision.verdict]
                                                   : tw_status_names[s->status];
    json_t *results = json_array(), *log;
    char *text;

    (void)style, (void)err;
    for (size_t i = 0; i < v->issues.count; i++)
        json_array_append_new(results, result(v, &v->issues.items[i]));
    log = json_pack(
        "{s:s, s:s, s:[{s:{s:{s:s, s:o}}, s:o, s:[{s:b, s:[{s:s, s:o}]}], "
        "s:{s:s, s:o, s:s}}]}",
        "$schema", SCHEMA, "version", "2.1.0", "runs", "tool", "driver", "name", "twin",
        "rules", rules(v), "results", results, "invocations", "executionSuccessful",
        s->status == TW_SUCCESS, "toolExecutionNotifications", "level",
        v->tone == REPORT_GOOD  ? "note"
        : v->tone == REPORT_BAD ? "error"
                                : "warning",
        "message", message(tw_arena_printf(v->a, "%s: %s", v->word, v->sentence)),
        "properties", "decision", decision, "riskScore", tw_json_real(v->risk),
        "simulation", s->id);
    text = tw_json_dump(log, JSON_INDENT(2));
    json_decref(log);
    tw_buf_puts(out, text);
    tw_buf_puts(out, "\n");
    free(text);
    return 0;
}
