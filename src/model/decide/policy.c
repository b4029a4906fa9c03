/* Policies: read from YAML by a table, narrowed to a request by their cases. */
#include "decide_internal.h"
#include "tw/io.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES ((size_t)1 << 20)

/* Numbers of a policy: where they stand in the file and in the struct. */
enum number { SHARE, REAL, INT, INT64 };
static const struct field {
    const char *path;
    enum number kind;
    size_t offset;
    double least, most;
} fields[] = {
#define AT(member) offsetof(struct tw_policy, member)
    {"/margins/throughput", SHARE, AT(margin_throughput), 0, 1},
    {"/margins/p50", SHARE, AT(margin_p50), 0, 100},
    {"/margins/p95", SHARE, AT(margin_p95), 0, 100},
    {"/margins/p99", SHARE, AT(margin_p99), 0, 100},
    {"/margins/tail_ms", REAL, AT(margin_tail_ms), 0, 1e6},
    {"/margins/effect", SHARE, AT(margin_effect), 0, 1},
    {"/margins/errors", SHARE, AT(margin_errors), 0, 1},
    {"/margins/block", REAL, AT(margin_block), 1, 100},
    {"/confidence_threshold", SHARE, AT(confidence_threshold), 0, 1},
    {"/failure_review", SHARE, AT(failure_review), 0, 1},
    {"/failure_block", SHARE, AT(failure_block), 0, 1},
    {"/schema/hold_review_ms", REAL, AT(hold_review_ms), 0, 86400e3},
    {"/schema/hold_block_ms", REAL, AT(hold_block_ms), 0, 86400e3},
    {"/schema/blocked_review", REAL, AT(blocked_review), 0, 1e12},
    {"/measure/budget_seconds", REAL, AT(budget_s), 0.1, 86400},
    {"/measure/most_seconds", REAL, AT(most_s), 0.1, 86400},
    {"/measure/min_pairs", INT, AT(min_pairs), 2, 10000},
    {"/measure/min_requests", INT64, AT(min_requests), 0, 1e9},
};
/* What may stand in the file besides: containers and texts. */
static const char *const other_paths[] = {"/name",    "/summary", "/margins", "/schema",
                                          "/measure", "/rules",   "/cases"};
static const char *const case_words[] = {
    "/tier",    "/type",      "/risk_level", "/settings", "/simulation",
    "/because", "/approvers", "/margins",    "/schema",   "/measure"};
static const char *const simulation_words[] = {"required", "exempt"};
static const char *const rule_words[] = {"/code", "/at_least"};
static const char *const risk_levels[] = {"low", "medium", "high", "critical"};

struct reading {
    struct tw_arena *a;
    struct tw_policy *policy;
    const char *origin;
    struct tw_err *err;
};
typedef const struct tw_yaml_entry entry_t;

static int fail_at(const struct reading *rd, entry_t *e, const char *text)
{
    return tw_fail(rd->err, -EINVAL, "%s, line %d, column %d: %s", rd->origin, e->line,
                   e->column, text);
}

/* "10 %", "0.1". The text after a share's number says whether it is one of a hundred. */
static int read_number(const struct reading *rd, entry_t *e, const struct field *f,
                       double *ret_value)
{
    char *rest = NULL;
    double value = e->value ? strtod(e->value, &rest) : NAN;

    if (rest && rest != e->value) {
        rest += strspn(rest, " ");
        if (f->kind == SHARE && *rest == '%') {
            value /= 100;
            rest++;
        }
    }
    if (!rest || rest == e->value || *rest || !isfinite(value))
        return fail_at(rd, e,
                       f->kind == SHARE ? "expected a share, '10 %' or '0.1'"
                                        : "expected a number");
    if (value < f->least || value > f->most)
        return fail_at(
            rd, e,
            tw_arena_printf(rd->a, "expected a number from %g to %g", f->least, f->most));
    *ret_value = value;
    return 0;
}

static void set_field(struct tw_policy *p, const struct field *f, double value)
{
    char *at = (char *)p + f->offset;

    if (f->kind == INT)
        *(int *)(void *)at = (int)value;
    else if (f->kind == INT64)
        *(int64_t *)(void *)at = (int64_t)value;
    else
        *(double *)(void *)at = value;
}

static int field_index(const char *path)
{
    for (size_t i = 0; i < TW_COUNT_OF(fields); i++)
        if (tw_streq(fields[i].path, path))
            return (int)i;
    return -1;
}

static int fail_unknown(const struct reading *rd, entry_t *e, const char *path,
                        const char *const *others, size_t n)
{
    const char *known[TW_COUNT_OF(fields) + TW_COUNT_OF(other_paths)], *near;
    size_t count = 0;

    for (size_t i = 0; i < TW_COUNT_OF(fields); i++)
        known[count++] = fields[i].path;
    for (size_t i = 0; i < n; i++)
        known[count++] = others[i];
    near = tw_nearest(path, known, count);
    return fail_at(rd, e,
                   near ? tw_arena_printf(rd->a, "unknown key '%s'; did you mean '%s'?",
                                          path + 1, near + 1)
                        : tw_arena_printf(rd->a, "unknown key '%s'", path + 1));
}

/* The last item of a list, added when the file has come to the next one. */
#define ITEM(rd, list, index, type)                                                      \
    ({                                                                                   \
        if ((index) >= (list)->count)                                                    \
            TW_PUSH((rd)->a, (list), (type){0});                                         \
        &(list)->items[(list)->count - 1];                                               \
    })

static int read_rule(const struct reading *rd, entry_t *e, size_t index, const char *rest)
{
    struct tw_policy_rule *rule =
        ITEM(rd, &rd->policy->rules, index, struct tw_policy_rule);
    int verdict;

    if (!*rest)
        return e->value ? fail_at(rd, e, "expected {code: …, at_least: …}") : 0;
    if (!e->value || tw_name_index(rest, rule_words, TW_COUNT_OF(rule_words)) < 0)
        return fail_unknown(rd, e, rest, rule_words, TW_COUNT_OF(rule_words));
    if (tw_streq(rest, "/code")) {
        rule->code = e->value;
        return 0;
    }
    verdict = tw_name_index(e->value, tw_verdict_names, TW_VERDICT_COUNT);
    if (verdict < 0)
        return fail_at(rd, e, "expected 'proceed', 'review' or 'block'");
    rule->at_least = (enum tw_verdict)verdict;
    return 0;
}

static int read_case_word(const struct reading *rd, entry_t *e, struct tw_policy_case *c,
                          const char *word)
{
    static const struct {
        const char *word;
        size_t offset;
        const char *const *names;
        size_t n;
        const char *expected;
    } rows[] = {
        {"/tier", offsetof(struct tw_policy_case, tier), tw_tier_names, TW_TIER_COUNT,
         "expected 'dev', 'staging' or 'production'"},
        {"/type", offsetof(struct tw_policy_case, type), NULL, 0,
         "expected a change type"},
        {"/risk_level", offsetof(struct tw_policy_case, risk_level), risk_levels,
         TW_COUNT_OF(risk_levels), "expected 'low', 'medium', 'high' or 'critical'"},
        {"/settings", offsetof(struct tw_policy_case, settings), NULL, 0,
         "expected names between commas, which may end in '*'"},
        {"/simulation", offsetof(struct tw_policy_case, simulation), simulation_words,
         TW_COUNT_OF(simulation_words), "expected 'required' or 'exempt'"},
        {"/because", offsetof(struct tw_policy_case, because), NULL, 0,
         "expected a sentence"},
        {"/approvers", offsetof(struct tw_policy_case, approvers), NULL, 0,
         "expected roles between commas: 'approver, admin'"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        if (!tw_streq(rows[i].word, word))
            continue;
        if (!e->value ||
            (rows[i].names && tw_name_index(e->value, rows[i].names, rows[i].n) < 0))
            return fail_at(rd, e, rows[i].expected);
        *(const char **)(void *)((char *)c + rows[i].offset) = e->value;
        return 0;
    }
    return e->value ? fail_at(rd, e, "expected a mapping") : 0;
}

static int read_case(const struct reading *rd, entry_t *e, size_t index, const char *rest)
{
    struct tw_policy_case *c = ITEM(rd, &rd->policy->cases, index, struct tw_policy_case);
    int field = field_index(rest), r;
    double value;

    if (!*rest)
        return e->value ? fail_at(rd, e, "expected a mapping") : 0;
    if (field < 0 && tw_name_index(rest, case_words, TW_COUNT_OF(case_words)) >= 0)
        return read_case_word(rd, e, c, rest);
    if (field < 0)
        return fail_unknown(rd, e, rest, case_words, TW_COUNT_OF(case_words));
    r = read_number(rd, e, &fields[field], &value);
    if (r < 0)
        return r;
    c->set.items = tw_arena_grow(rd->a, c->set.items, c->set.count, sizeof *c->set.items);
    c->set.items[c->set.count].field = field;
    c->set.items[c->set.count++].value = value;
    return 0;
}

/* "/rules/3/code" under "/rules/": index 3, rest "/code". */
static bool in_list(const char *pointer, const char *list, size_t *ret_index,
                    const char **ret_rest)
{
    char *end;

    if (!tw_starts_with(pointer, list))
        return false;
    *ret_index = strtoul(pointer + strlen(list), &end, 10);
    *ret_rest = end;
    return end != pointer + strlen(list);
}

static int read_entry(const struct reading *rd, entry_t *e)
{
    int field = field_index(e->pointer), r;
    const char *rest;
    size_t index;
    double value;

    if (field >= 0) {
        r = read_number(rd, e, &fields[field], &value);
        if (r == 0)
            set_field(rd->policy, &fields[field], value);
        return r;
    }
    if (in_list(e->pointer, "/rules/", &index, &rest))
        return read_rule(rd, e, index, rest);
    if (in_list(e->pointer, "/cases/", &index, &rest))
        return read_case(rd, e, index, rest);
    if (tw_streq(e->pointer, "/name"))
        rd->policy->name = e->value;
    else if (tw_streq(e->pointer, "/summary"))
        rd->policy->summary = e->value;
    else if (*e->pointer &&
             tw_name_index(e->pointer, other_paths, TW_COUNT_OF(other_paths)) < 0)
        return fail_unknown(rd, e, e->pointer, other_paths, TW_COUNT_OF(other_paths));
    return 0;
}

/* An exemption says why; a case by settings is about being simulated and approved alone, since the
 * figures are those of a request as a whole. */
static int check_case(const struct reading *rd, const struct tw_policy_case *c, size_t i)
{
    if (tw_streq(c->simulation, "exempt") && !c->because)
        return tw_fail(rd->err, -EINVAL,
                       "%s: case %zu exempts from simulation; say why in 'because'",
                       rd->origin, i + 1);
    if (c->settings && c->set.count)
        return tw_fail(
            rd->err, -EINVAL,
            "%s: case %zu is chosen by 'settings', which go with 'simulation' and "
            "'approvers' only",
            rd->origin, i + 1);
    return 0;
}

static int read_policy(const struct reading *rd, const char *text)
{
    struct tw_yaml yaml = {0};
    int r = tw_yaml_read(rd->a, text, rd->origin, &yaml, rd->err);

    for (size_t i = 0; r == 0 && i < yaml.list.count; i++)
        r = read_entry(rd, &yaml.list.items[i]);
    for (size_t i = 0; r == 0 && i < rd->policy->rules.count; i++)
        if (!rd->policy->rules.items[i].code)
            r = tw_fail(rd->err, -EINVAL, "%s: rule %zu has no code", rd->origin, i + 1);
    for (size_t i = 0; r == 0 && i < rd->policy->cases.count; i++)
        r = check_case(rd, &rd->policy->cases.items[i], i);
    return r;
}

/* A policy of a user says only what is different: the built-in one comes first, its rules and cases
 * are replaced where the user's has some. */
int tw_policy_load(struct tw_arena *a, const char *path, struct tw_policy *ret,
                   struct tw_err *err)
{
    struct tw_policy policy = {.origin = "built in"}, own;
    const struct reading rd = {a, &policy, "policies/default.yaml", err};
    const struct reading own_rd = {a, &own, path, err};
    tw_auto_free char *text = NULL;
    int r = read_policy(&rd, decide_builtin_policy());

    if (r == 0 && path) {
        r = tw_read_file(AT_FDCWD, path, MAX_BYTES, &text, NULL, err);
        if (r < 0)
            return tw_wrap(err, r, "reading the policy");
        own = policy;
        own.origin = tw_arena_strdup(a, path);
        own.name = own.origin;
        own.summary = NULL;
        own.rules.count = own.cases.count = 0;
        own.rules.items = NULL;
        own.cases.items = NULL;
        r = read_policy(&own_rd, text);
        if (r == 0 && own.rules.count == 0)
            own.rules = policy.rules;
        if (r == 0 && own.cases.count == 0)
            own.cases = policy.cases;
        policy = own;
    }
    if (r == 0)
        *ret = policy;
    return r;
}

static bool fits(const char *wanted, const char *found)
{
    return !wanted || tw_streq(wanted, found);
}

static bool fits_place(const struct tw_policy_case *c, enum tw_tier tier,
                       const char *type, const char *risk_level)
{
    static const char *const by_tier[TW_TIER_COUNT] = {"low", "medium", "high"};

    return fits(c->tier, tw_tier_names[tier]) && fits(c->type, type) &&
           fits(c->risk_level, risk_level ? risk_level : by_tier[tier]);
}

/* "log_*, cluster_name" */
static bool is_listed(const char *list, const char *name)
{
    size_t n;

    for (; *list; list += n) {
        list += strspn(list, ", ");
        n = strcspn(list, ", ");
        if (n && (list[n - 1] == '*' ? strncmp(list, name, n - 1) == 0
                                     : strlen(name) == n && strncmp(list, name, n) == 0))
            return true;
    }
    return false;
}

/* Nothing but settings, and each of them listed: what is not known to be harmless is not. */
static bool fits_settings(const struct tw_policy_case *c, const struct tw_request *r)
{
    if (!c->settings)
        return true;
    if (!r->settings.count || r->files.count || r->sql.count)
        return false;
    for (size_t i = 0; i < r->settings.count; i++)
        if (!is_listed(c->settings, r->settings.items[i].name))
            return false;
    return true;
}

struct tw_requirement tw_policy_require(const struct tw_policy *p, enum tw_tier tier,
                                        const struct tw_request *request)
{
    struct tw_requirement ret = {.simulation = true,
                                 .because = "no policy exempts it from being simulated",
                                 .approvers = "approver, admin"};

    for (size_t i = 0; i < p->cases.count; i++) {
        const struct tw_policy_case *c = &p->cases.items[i];

        if (!fits_place(c, tier, request->type, request->risk_level) ||
            !fits_settings(c, request))
            continue;
        if (c->approvers)
            ret.approvers = c->approvers;
        if (!c->simulation)
            continue;
        ret.simulation = tw_streq(c->simulation, "required");
        ret.because = c->because ? c->because : "the policy requires it";
    }
    return ret;
}

void tw_policy_narrow(struct tw_policy *p, enum tw_tier tier, const char *type,
                      const char *risk_level)
{
    for (size_t i = 0; i < p->cases.count; i++) {
        const struct tw_policy_case *c = &p->cases.items[i];

        if (!fits_place(c, tier, type, risk_level))
            continue;
        for (size_t k = 0; k < c->set.count; k++)
            set_field(p, &fields[c->set.items[k].field], c->set.items[k].value);
    }
}
