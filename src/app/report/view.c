/* A simulation as every writer tells it. */
#include "report_internal.h"
#include "tw/redact.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the head ---- */

static const struct head {
    const char *word, *plain;
    enum report_tone tone;
} verdict_heads[TW_VERDICT_COUNT] = {
    {"PROCEED", "The change may proceed", REPORT_GOOD},
    {"REVIEW", "The change wants a person's review", REPORT_WARN},
    {"BLOCK", "The change must not be made", REPORT_BAD},
};
static const struct head status_heads[TW_STATUS_COUNT] = {
    [TW_CREATED] = {"PLANNED", "The change has been checked and planned, not simulated",
                    REPORT_PLAIN},
    [TW_QUEUED] = {"WAITING", "The simulation waits for its turn", REPORT_PLAIN},
    [TW_RUNNING] = {"RUNNING", "The simulation is still running", REPORT_PLAIN},
    [TW_SUCCESS] = {"NO ANSWER", "The simulation has no impact", REPORT_BAD},
    [TW_FAILED] = {"NO ANSWER", "The simulation could not be done", REPORT_BAD},
    [TW_CANCELLED] = {"CANCELLED", "The simulation was cancelled", REPORT_PLAIN},
};

/* A reason as a sentence: capital, full stop. */
static const char *sentence(struct tw_arena *a, const char *text)
{
    char *s = tw_arena_printf(a, "%s.", report_clean(a, text));
    size_t n = strlen(s);

    if (n > 1 && strchr(".!?", s[n - 2]))
        s[n - 1] = '\0';
    /* a name like "p95" or "work_mem" keeps its letters */
    if (islower((unsigned char)s[0]) && (isalpha((unsigned char)s[1]) || s[1] == ' ') &&
        strcspn(s, "_=.") >= strcspn(s, " "))
        s[0] = (char)toupper((unsigned char)s[0]);
    return s;
}

static void add_head(struct report_view *v)
{
    const struct tw_simulation *s = v->s;
    bool answered = s->status == TW_SUCCESS && s->has_impact;
    const struct head *head =
        answered ? &verdict_heads[s->decision.verdict] : &status_heads[s->status];

    v->word = head->word;
    v->plain = head->plain;
    v->tone = head->tone;
    v->sentence = s->error ? sentence(v->a, s->error) : "";
    if (answered) {
        v->sentence =
            s->decision.reasons.count ? sentence(v->a, s->decision.reasons.items[0]) : "";
        for (size_t i = 1; i < s->decision.reasons.count; i++)
            TW_PUSH(v->a, &v->also.list, sentence(v->a, s->decision.reasons.items[i]));
    }
}

static void add_where(struct report_view *v)
{
    const struct tw_simulation *s = v->s;
    const char *environment =
        s->target.environment ? s->target.environment : s->request.environment;
    const char *target = s->request.target ? s->request.target : s->target.name;
    const char *scenario = s->plan.scenario ? s->plan.scenario : s->request.scenario;

    v->change = report_clean(v->a, tw_request_summary(v->a, &s->request));
    v->where = environment
                   ? tw_arena_printf(v->a, "%s in %s (%s)", report_clean(v->a, target),
                                     report_clean(v->a, environment),
                                     tw_tier_names[s->target.tier])
                   : report_clean(v->a, target);
    v->horizon =
        tw_arena_printf(v->a, "%g h, %s", s->request.hours, report_clean(v->a, scenario));
    v->risk = s->has_impact ? s->impact.risk_score : NAN;
    v->risk_text =
        isnan(v->risk)
            ? ""
            : tw_arena_printf(v->a, "%.0f of 100, %s", v->risk,
                              s->impact.risk_level ? s->impact.risk_level : "unknown");
}

/* One line: what is quoted at length stands in the findings. */
static const char *short_text(struct tw_arena *a, const char *text)
{
    char *line = tw_arena_strdup(a, report_clean(a, text));
    size_t n = 0;

    for (; line[n] && (n < 160 || ((unsigned char)line[n] & 0xc0) == 0x80); n++)
        if (line[n] == '\n')
            line[n] = ' ';
    return line[n] ? tw_arena_printf(a, "%.*s\xe2\x80\xa6", (int)n, line) : line;
}

static int by_points(const void *one, const void *two)
{
    double a = ((const struct tw_risk_part *)one)->points;
    double b = ((const struct tw_risk_part *)two)->points;

    return (a < b) - (a > b);
}

static void add_risk_parts(struct report_view *v)
{
    const struct tw_impact *i = &v->s->impact;

    /* What forces a verdict without adding to the score is told among the reasons
     * already. */
    for (size_t k = 0; k < i->risk_parts.count; k++)
        if (fabs(i->risk_parts.items[k].points) >= 0.5)
            TW_PUSH(v->a, &v->risk_parts,
                    (struct tw_risk_part){report_clean(v->a, i->risk_parts.items[k].name),
                                          i->risk_parts.items[k].points,
                                          short_text(v->a, i->risk_parts.items[k].why)});
    if (v->risk_parts.count)
        qsort(v->risk_parts.items, v->risk_parts.count, sizeof *v->risk_parts.items,
              by_points);
}

/* ---- issues ---- */

static enum report_tone tone_of_severity(enum tw_severity severity)
{
    static const enum report_tone tones[TW_SEVERITY_COUNT] = {
        REPORT_MUTED, REPORT_MUTED, REPORT_WARN, REPORT_BAD, REPORT_BAD};

    return tones[severity];
}

/* As a whole word, so that "work_mem" is not found in "maintenance_work_mem". */
static const char *find_word(const char *text, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = text; (at = strstr(at, word)); at++)
        if ((at == text || !(isalnum((unsigned char)at[-1]) || at[-1] == '_')) &&
            !(isalnum((unsigned char)at[n]) || at[n] == '_'))
            return at;
    return NULL;
}

static bool mentions(const struct report_issue *issue, const char *word)
{
    return find_word(issue->title, word) || find_word(issue->evidence, word);
}

/* The word that begins a line of a file of settings; 0 long when it is a comment or
 * empty. */
static size_t setting_of_line(const char *line, const char **ret_word)
{
    line += strspn(line, " \t");
    *ret_word = line;
    return strspn(line,
                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
}

/* "new.conf line 3" in the evidence. */
static int line_said(struct report_view *v, const struct report_issue *issue,
                     const char *file)
{
    const char *words = tw_arena_printf(v->a, "%s line ", file);
    const char *at = strstr(issue->evidence, words);

    return at ? (int)strtol(at + strlen(words), NULL, 10) : 0;
}

/* Which line of a changed file an issue is about: the one it says, or the last that sets
 * what it mentions. */
static void place_in_file(struct report_view *v, struct report_issue *issue,
                          const struct tw_file_change *f)
{
    const char *file = f->origin ? f->origin : f->path, *word, *next;
    int said = file ? line_said(v, issue, file) : 0, line = 1;

    for (const char *p = f->content ? f->content : ""; *p; p = next, line++) {
        size_t n = setting_of_line(p, &word);
        const char *name = tw_arena_strndup(v->a, word, n);

        next = p + strcspn(p, "\n");
        next += *next == '\n';
        if (said > 0 ? line != said : n < 3 || !mentions(issue, name))
            continue;
        issue->file = file;
        issue->line = line;
        issue->setting = n ? name : NULL;
    }
}

static void place(struct report_view *v, struct report_issue *issue)
{
    const struct tw_request *r = &v->s->request;

    for (size_t i = 0; i < r->files.count; i++)
        place_in_file(v, issue, &r->files.items[i]);
    for (size_t i = 0; !issue->file && i < r->settings.count; i++)
        if (mentions(issue, r->settings.items[i].name))
            issue->setting = report_clean(v->a, r->settings.items[i].name);
    if (!issue->file && !issue->setting && r->files.count == 1)
        issue->file =
            r->files.items[0].origin ? r->files.items[0].origin : r->files.items[0].path;
}

/* A stable order: what keeps the change from proceeding, then by severity, then as found.
 */
static bool worse(const struct report_issue *a, const struct report_issue *b)
{
    if (a->forces != b->forces)
        return a->forces;
    return a->severity > b->severity;
}

static bool has_risk_part(const struct report_view *v, const char *name)
{
    for (size_t i = 0; i < v->s->impact.risk_parts.count; i++)
        if (tw_streq(v->s->impact.risk_parts.items[i].name, name))
            return true;
    return false;
}

/* A start, a restart and a reload often fail with the same words: a reader gets them
 * once. */
static void quote_once(struct report_view *v)
{
    for (size_t i = 0; i < v->issues.count; i++) {
        struct report_issue *issue = &v->issues.items[i];

        issue->quote = issue->evidence;
        for (size_t k = 0; k < i; k++)
            if (*issue->evidence &&
                tw_streq(v->issues.items[k].evidence, issue->evidence))
                issue->quote = "(the same words as above)";
    }
}

static void add_issues(struct report_view *v)
{
    const struct tw_issues *issues = &v->s->impact.issues;

    for (size_t i = 0; i < issues->list.count; i++) {
        const struct tw_issue *from = &issues->list.items[i];
        struct report_issue issue = {
            .severity = from->severity,
            .tone = tone_of_severity(from->severity),
            .code = report_clean(v->a, from->code),
            .title = sentence(v->a, from->title),
            .evidence = report_clean(v->a, from->evidence),
            .remedy = report_clean(v->a, from->remedy),
            .reproduce = report_clean(v->a, from->reproduce),
            .forces = from->at_least > TW_PROCEED ||
                      (from->code && has_risk_part(v, from->code)),
        };
        size_t at = v->issues.count;

        place(v, &issue);
        TW_PUSH(v->a, &v->issues, issue);
        for (; at > 0 && worse(&issue, &v->issues.items[at - 1]); at--)
            v->issues.items[at] = v->issues.items[at - 1];
        v->issues.items[at] = issue;
    }
    quote_once(v);
}

/* The sentence says where, when it is that of a finding that has a place. */
static void place_sentence(struct report_view *v)
{
    for (size_t i = 0; i < v->issues.count; i++) {
        const struct report_issue *issue = &v->issues.items[i];

        if (!issue->line || !tw_streq(issue->title, v->sentence))
            continue;
        v->sentence =
            tw_arena_printf(v->a, "%.*s: %s line %d.", (int)strlen(v->sentence) - 1,
                            v->sentence, report_clean(v->a, issue->file), issue->line);
        return;
    }
}

/* ---- figures ---- */

static const struct {
    const char *metric, *label;
} labels[] = {
    {"throughput_per_s", "throughput"},
    {"p50_ms", "latency p50"},
    {"p95_ms", "latency p95"},
    {"p99_ms", "latency p99"},
    {"mean_ms", "latency mean"},
    {"errors_share", "failed requests"},
    {"cpu_ms_per_request", "CPU per request"},
    {"wal_bytes_per_request", "WAL per request"},
    {"temp_bytes_per_request", "temporary files per request"},
    {"read_bytes_per_request", "read per request"},
    {"write_bytes_per_request", "written per request"},
    {"cpu_cores", "CPU"},
    {"memory_bytes", "memory"},
    {"disk_bytes", "disk"},
    {"wal_bytes", "WAL"},
    {"wal_bytes_per_day", "WAL per day"},
    {"temp_bytes_per_day", "temporary files per day"},
    {"served_per_s", "served, whole time"},
    {"connections", "connections"},
};

static const char *label_of(struct tw_arena *a, const char *metric)
{
    char *label;

    for (size_t i = 0; i < TW_COUNT_OF(labels); i++)
        if (tw_streq(labels[i].metric, metric))
            return labels[i].label;
    label = tw_arena_strdup(a, report_clean(a, metric));
    for (char *p = label; *p; p++)
        if (*p == '_')
            *p = ' ';
    return label;
}

static enum report_tone tone_of_verdict(const char *verdict)
{
    static const struct {
        const char *begin;
        enum report_tone tone;
    } rows[] = {{"better", REPORT_GOOD},
                {"worse", REPORT_BAD},
                {"at least", REPORT_BAD},
                {"inconclusive", REPORT_WARN},
                {"equivalent", REPORT_MUTED}};

    for (size_t i = 0; verdict && i < TW_COUNT_OF(rows); i++)
        if (tw_starts_with(verdict, rows[i].begin))
            return rows[i].tone;
    return REPORT_PLAIN;
}

static struct report_metric metric_of(struct report_view *v, const struct tw_effect *e)
{
    struct tw_arena *a = v->a;
    /* what was still running when its slot ended is known to have taken that long, not
     * how long */
    bool at_least = e->verdict && tw_starts_with(e->verdict, "at least");
    bool same =
        isnan(e->ratio.value) && e->before == e->after; /* 0 and 0 have no ratio */
    const char *change = report_change(a, same ? 1 : e->ratio.value);

    return (struct report_metric){
        .name = report_clean(a, e->metric),
        .label = label_of(a, e->metric ? e->metric : "unknown"),
        .before = report_value(a, e->before, e->unit),
        .after = report_value(a, e->after, e->unit),
        .change = at_least ? tw_arena_printf(a, "\xe2\x89\xa5 %s", change) : change,
        .interval = report_interval(a, e->ratio.low, e->ratio.high),
        .verdict = at_least ? "worse" : report_clean(a, e->verdict),
        .noise = isnan(e->noise_floor) ? ""
                                       : tw_arena_printf(a, "\xc2\xb1%.1f %%",
                                                         (exp(e->noise_floor) - 1) * 100),
        .tone = tone_of_verdict(e->verdict),
        .ratio = e->ratio.value,
        .low = e->ratio.low,
        .high = e->ratio.high,
    };
}

static void add_metrics(struct report_view *v)
{
    const struct tw_impact *i = &v->s->impact;

    for (size_t k = 0; k < i->performance.count; k++)
        TW_PUSH(v->a, &v->performance, metric_of(v, &i->performance.items[k]));
    for (size_t k = 0; k < i->resources.count; k++)
        TW_PUSH(v->a, &v->resources, metric_of(v, &i->resources.items[k]));
}

static void add_failures(struct report_view *v)
{
    const struct tw_impact *i = &v->s->impact;

    for (size_t k = 0; k < i->failures.count; k++) {
        const struct tw_failure *f = &i->failures.items[k];
        const char *kind = report_clean(v->a, f->kind ? f->kind : "unknown");
        const char *part = tw_arena_printf(v->a, "failure.%s", kind);
        bool forces = has_risk_part(v, part) ||
                      (f->from_finding && v->s->decision.verdict > TW_PROCEED);

        TW_PUSH(v->a, &v->failures,
                (struct report_failure){
                    .kind = kind,
                    .when = report_when(v->a, f->at_hours, f->low, f->high),
                    .probability = tw_arena_printf(v->a, "%.0f %%", f->probability * 100),
                    .evidence = f->from_finding ? "told by a finding above"
                                                : report_clean(v->a, f->evidence),
                    .tone = forces ? REPORT_BAD : REPORT_WARN,
                    .at_hours = f->at_hours,
                    .forces = forces});
    }
}

static void add_statements(struct report_view *v)
{
    const struct tw_impact *i = &v->s->impact;

    for (size_t k = 0; k < i->statements.count; k++) {
        const struct tw_statement_effect *e = &i->statements.items[k];
        struct tw_arena *a = v->a;

        if (!e->plan_changed && !e->plan_worse)
            continue;
        TW_PUSH(a, &v->statements,
                (struct report_statement){
                    .text = report_clean(a, tw_redact_literals(a, e->text)),
                    .share = isnan(e->share) ? ""
                                             : tw_arena_printf(a, "%.0f %% of the time",
                                                               e->share * 100),
                    .before = report_value(a, e->before_ms, "ms"),
                    .after = report_value(a, e->after_ms, "ms"),
                    .plan_before = report_clean(a, tw_redact_literals(a, e->plan_before)),
                    .plan_after = report_clean(a, tw_redact_literals(a, e->plan_after)),
                    .tone = e->plan_worse ? REPORT_BAD : REPORT_WARN});
    }
}

/* ---- checks ---- */

static void check(struct report_view *v, const char *group, const char *name, bool failed,
                  const char *message, const char *detail)
{
    TW_PUSH(v->a, &v->checks,
            (struct report_check){group, name, failed ? message : "", detail, failed});
}

static const char *metric_text(struct tw_arena *a, const struct report_metric *m)
{
    return tw_arena_printf(a, "%s: %s before, %s after, %s%s%s, %s", m->label, m->before,
                           m->after, m->change, *m->interval ? ", interval " : "",
                           m->interval, *m->verdict ? m->verdict : "not judged");
}

/* The name a policy gives a metric: "p95_ms" is "p95". */
static bool metric_forces(const struct report_view *v, const struct report_metric *m)
{
    return has_risk_part(v, tw_arena_strndup(v->a, m->name, strcspn(m->name, "_")));
}

void report_view_checks(struct report_view *v)
{
    bool answered = v->s->status == TW_SUCCESS && v->s->has_impact;
    bool proceed = answered && v->s->decision.verdict == TW_PROCEED;

    check(v, "decision",
          answered ? "the change may proceed" : "the simulation has an answer", !proceed,
          tw_arena_printf(v->a, "%s: %s", v->word, v->sentence), v->sentence);
    if (!answered)
        return;
    for (size_t i = 0; i < v->issues.count; i++) {
        const struct report_issue *issue = &v->issues.items[i];

        check(v, "findings", tw_arena_printf(v->a, "%s: %s", issue->code, issue->title),
              issue->forces, issue->title,
              tw_arena_printf(v->a, "%s%s%s", issue->evidence, *issue->remedy ? "\n" : "",
                              issue->remedy));
    }
    for (size_t i = 0; i < v->performance.count; i++) {
        const struct report_metric *m = &v->performance.items[i];
        const char *text = metric_text(v->a, m);

        check(v, "performance",
              tw_arena_printf(v->a, "%s stays inside its margin", m->label),
              metric_forces(v, m), text, text);
    }
    for (size_t i = 0; i < v->failures.count; i++) {
        const struct report_failure *f = &v->failures.items[i];

        check(v, "failures",
              tw_arena_printf(v->a, "no failure within the horizon: %s", f->kind),
              f->forces,
              tw_arena_printf(v->a, "%s, probability %s", f->when, f->probability),
              f->evidence);
    }
    for (size_t i = 0; i < v->statements.count; i++) {
        const struct report_statement *s = &v->statements.items[i];

        check(v, "plans",
              tw_arena_printf(v->a, "the plan stays as good: %.200s", s->text),
              s->tone == REPORT_BAD, "the plan turned bad",
              tw_arena_printf(v->a, "before: %s (%s)\nafter: %s (%s)", s->plan_before,
                              s->before, s->plan_after, s->after));
    }
    for (size_t i = 0; i < v->confidence.list.count; i++)
        if (tw_streq(v->confidence.list.items[i].label, "confidence"))
            check(v, "confidence", "the answer is sure enough",
                  has_risk_part(v, "confidence"), v->confidence.list.items[i].text,
                  v->confidence.list.items[i].text);
}

/* ---- the whole ---- */

struct report_view *report_view_new(const struct tw_simulation *s)
{
    struct report_view *v = tw_alloc(sizeof *v);

    v->a = tw_arena_new();
    v->s = s;
    add_head(v);
    add_where(v);
    if (s->has_impact) {
        add_risk_parts(v);
        add_issues(v);
        place_sentence(v);
        add_metrics(v);
        add_failures(v);
        add_statements(v);
        report_view_day(v);
    }
    report_view_facts(v);
    report_view_schema(v);
    report_view_deployment(v);
    report_view_scale(v);
    report_view_checks(v);
    return v;
}

void report_view_free(struct report_view *v)
{
    if (!v)
        return;
    tw_arena_free(v->a);
    free(v);
}
