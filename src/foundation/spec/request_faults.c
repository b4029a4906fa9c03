/* Faults as users write them: on the command line KIND[=STRENGTH][@BEGIN][+DURATION][/ON], in JSON an
 * object with the same words; and what they did, as it stands in a body. */
#include "spec_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_MOST 64
#define GRAMMAR     "KIND[=STRENGTH][@BEGIN][+DURATION][/ON], as 'latency=20ms@2s+3s'"

/* ---- times ---- */

int tw_parse_seconds(const char *text, double *ret_seconds, struct tw_err *err)
{
    static const struct {
        const char *name;
        double s;
    } units[] = {{"", 1},  {"s", 1},    {"ms", 1e-3},  {"us", 1e-6},    {"m", 60},
                 {"min", 60}, {"h", 3600}, {"d", 86400}, {"y", 365 * 86400}};
    char *rest;
    double value = strtod(text, &rest);

    if (rest != text && isfinite(value))
        for (size_t i = 0; i < TW_COUNT_OF(units); i++)
            if (tw_streq(rest, units[i].name)) {
                *ret_seconds = value * units[i].s;
                return 0;
            }
    return tw_fail(err, -EINVAL,
                   "'%s' is not a time; expected a number with us, ms, s, m, h, d or y", text);
}

/* A time that may not be below zero. */
static int parse_span(const char *text, const char *what, double *ret, struct tw_err *err)
{
    double value;
    int r = tw_parse_seconds(text, &value, err);

    if (r == 0 && !(value >= 0 && value <= 3600))
        r = tw_fail(err, -EINVAL, "'%s' is out of range; expected 0 to 1h", text);
    if (r == 0)
        *ret = value;
    return r < 0 ? tw_wrap(err, r, "%s of a fault", what) : 0;
}

/* ---- the words of one ---- */

/* The parts behind the kind, each with the sign that begins it. */
struct parts {
    const char *strength, *begin, *duration, *on;
};

static const char **part_of(struct parts *p, char sign)
{
    switch (sign) {
    case '=':
        return &p->strength;
    case '@':
        return &p->begin;
    case '+':
        return &p->duration;
    default:
        return &p->on;
    }
}

static int cut(char *word, struct parts *ret, struct tw_err *err)
{
    static const char signs[] = "=@+/";
    char *at = word + strcspn(word, signs);

    *ret = (struct parts){0};
    while (*at) {
        char sign = *at;
        const char **part = part_of(ret, sign);

        *at++ = '\0';
        if (*part)
            return tw_fail(err, -EINVAL, "'%c' stands twice in a fault; expected " GRAMMAR,
                           sign);
        *part = at;
        at += strcspn(at, sign == '=' ? "@+/" : signs);
        if (at == *part)
            return tw_fail(err, -EINVAL, "nothing stands behind '%c' in a fault; expected " GRAMMAR,
                           sign);
    }
    return *word ? 0 : tw_fail(err, -EINVAL, "a fault has no kind; expected " GRAMMAR);
}

static int check_on(const char *on, const char *pointer, struct tw_err *err)
{
    return !on || tw_streq(on, "in") || tw_streq(on, "out")
               ? 0
               : tw_fail_at(err, -EINVAL, pointer,
                            "a fault is on '%s'; expected 'in' or 'out', one direction of the "
                            "link; without it both",
                            on);
}

static int read_word(struct tw_arena *a, char *word, struct tw_fault *ret,
                     struct tw_err *err)
{
    struct tw_fault f = {.duration_s = NAN};
    struct parts p;
    int r = cut(word, &p, err);

    if (r == 0 && p.begin)
        r = parse_span(p.begin, "the begin", &f.begin_s, err);
    if (r == 0 && p.duration)
        r = parse_span(p.duration, "the duration", &f.duration_s, err);
    if (r == 0)
        r = check_on(p.on, "", err);
    if (r < 0)
        return r;
    f.kind = tw_arena_strdup(a, word);
    f.strength = p.strength ? tw_arena_strdup(a, p.strength) : NULL;
    f.on = p.on ? tw_arena_strdup(a, p.on) : NULL;
    *ret = f;
    return 0;
}

static int next_schedule(const struct tw_faults *faults)
{
    return faults->list.count ? faults->list.items[faults->list.count - 1].schedule + 1 : 0;
}

int tw_faults_from_text(struct tw_arena *a, const char *text, struct tw_faults *faults,
                        struct tw_err *err)
{
    tw_auto_free char *copy = tw_strf("%s", text);
    int schedule = next_schedule(faults), r = 0;

    for (char *at = copy, *word; r == 0 && (word = strsep(&at, ","));) {
        struct tw_fault f;

        r = faults->list.count == FAULTS_MOST
                ? tw_fail(err, -E2BIG, "more than %d faults", FAULTS_MOST)
                : read_word(a, word, &f, err);
        if (r < 0)
            break;
        f.schedule = schedule;
        TW_PUSH(a, &faults->list, f);
    }
    if (r < 0 && err && !err->pointer[0])
        (void)tw_fail_at(err, r, "/faults", "--fault '%s': %s", text,
                         tw_arena_strdup(a, err->text));
    return r;
}

char *tw_faults_text(struct tw_arena *a, const struct tw_faults *faults, size_t *at)
{
    tw_auto_buf b = {0};
    int schedule;

    if (*at >= faults->list.count)
        return NULL;
    tw_buf_init(&b, 65536);
    schedule = faults->list.items[*at].schedule;
    for (; *at < faults->list.count && faults->list.items[*at].schedule == schedule; ++*at) {
        const struct tw_fault *f = &faults->list.items[*at];

        tw_buf_printf(&b, "%s%s", b.len ? "," : "", f->kind);
        if (f->strength)
            tw_buf_printf(&b, "=%s", f->strength);
        if (f->begin_s > 0)
            tw_buf_printf(&b, "@%gs", f->begin_s);
        if (!isnan(f->duration_s))
            tw_buf_printf(&b, "+%gs", f->duration_s);
        if (f->on)
            tw_buf_printf(&b, "/%s", f->on);
    }
    return tw_arena_strdup(a, tw_buf_text(&b));
}

/* ---- JSON ---- */

static const struct spec_field fault_fields[] = {
    {.key = "kind", .kind = SPEC_TEXT, SPEC_AT(tw_fault, kind)},
    {.key = "strength", .kind = SPEC_TEXT, SPEC_AT(tw_fault, strength)},
    {.key = "begin", .kind = SPEC_REAL, SPEC_AT(tw_fault, begin_s)},
    {.key = "duration", .kind = SPEC_REAL, SPEC_AT(tw_fault, duration_s)},
    {.key = "on", .kind = SPEC_TEXT, SPEC_AT(tw_fault, on)},
    {.key = "schedule", .kind = SPEC_INT, SPEC_AT(tw_fault, schedule)},
};
const struct spec_shape spec_fault = SPEC_SHAPE(tw_fault, fault_fields);

/* A number or a text with its unit. */
static int read_span(struct tw_arena *a, const json_t *json, const char *pointer,
                     const char *key, double *ret, struct tw_err *err)
{
    const json_t *value = json_object_get(json, key);
    tw_auto_free char *number =
        json_is_number(value) ? tw_strf("%.15g", json_number_value(value)) : NULL;
    struct tw_err why;
    int r;

    if (!value || json_is_null(value))
        return 0;
    pointer = tw_json_pointer(a, pointer, key);
    if (!number && !json_is_string(value))
        return tw_fail_at(err, -EINVAL, pointer, "'%s' is %s; expected seconds, or \"500ms\"",
                          key, spec_type_name(value));
    r = parse_span(number ? number : json_string_value(value), key, ret, &why);
    return r < 0 ? tw_fail_at(err, r, pointer, "%s", why.text) : 0;
}

static int read_text(struct tw_arena *a, const json_t *json, const char *pointer,
                     const char *key, const char **ret, struct tw_err *err)
{
    const json_t *value = json_object_get(json, key);

    if (!value || json_is_null(value))
        return 0;
    if (json_is_number(value)) {
        *ret = tw_arena_printf(a, "%.15g", json_number_value(value));
        return 0;
    }
    if (!json_is_string(value))
        return tw_fail_at(err, -EINVAL, tw_json_pointer(a, pointer, key),
                          "'%s' is %s; expected a text", key, spec_type_name(value));
    *ret = tw_arena_strdup(a, json_string_value(value));
    return 0;
}

static int read_one(struct tw_arena *a, const json_t *json, const char *pointer,
                    struct tw_fault *ret, struct tw_err *err)
{
    static const char *const keys[] = {"kind", "strength", "begin",
                                       "duration", "on", "schedule"};
    const json_t *schedule = json_object_get(json, "schedule");
    struct tw_fault f = {.duration_s = NAN, .schedule = ret->schedule};
    int r = tw_json_known_keys(json, pointer, keys, TW_COUNT_OF(keys), err);

    if (r == 0)
        r = read_text(a, json, pointer, "kind", &f.kind, err);
    if (r == 0 && !f.kind)
        r = tw_fail_at(err, -EINVAL, tw_json_pointer(a, pointer, "kind"),
                       "a fault has no 'kind'; expected {\"kind\": \"latency\", \"strength\": "
                       "\"20ms\", \"begin\": 0, \"duration\": 1}");
    if (r == 0)
        r = read_text(a, json, pointer, "strength", &f.strength, err);
    if (r == 0)
        r = read_text(a, json, pointer, "on", &f.on, err);
    if (r == 0)
        r = check_on(f.on, tw_json_pointer(a, pointer, "on"), err);
    if (r == 0)
        r = read_span(a, json, pointer, "begin", &f.begin_s, err);
    if (r == 0)
        r = read_span(a, json, pointer, "duration", &f.duration_s, err);
    if (r == 0 && schedule && !json_is_integer(schedule))
        r = tw_fail_at(err, -EINVAL, tw_json_pointer(a, pointer, "schedule"),
                       "'schedule' is %s; expected a number: faults with the same one run "
                       "together",
                       spec_type_name(schedule));
    if (r == 0 && schedule)
        f.schedule = (int)json_integer_value(schedule);
    if (r == 0)
        *ret = f;
    return r;
}

static void push_in_order(struct tw_arena *a, struct tw_faults *to, struct tw_fault f)
{
    size_t i;

    TW_PUSH(a, &to->list, f);
    for (i = to->list.count - 1; i > 0 && to->list.items[i - 1].schedule > f.schedule; i--)
        to->list.items[i] = to->list.items[i - 1];
    to->list.items[i] = f;
}

int spec_read_faults(struct tw_arena *a, const json_t *json, const char *pointer,
                     struct tw_faults *ret, struct tw_err *err)
{
    json_t *item;
    size_t i;

    if (!json_is_array(json) || json_array_size(json) > FAULTS_MOST)
        return tw_fail_at(err, -EINVAL, pointer,
                          "'faults' is %s; expected an array of at most %d, [{\"kind\": "
                          "\"latency\", \"strength\": \"20ms\"}] or [\"latency=20ms\"]",
                          spec_type_name(json), FAULTS_MOST);
    json_array_foreach (json, i, item) {
        const char *at = tw_arena_printf(a, "%s/%zu", pointer, i);
        struct tw_fault f = {.schedule = next_schedule(ret)};
        struct tw_err why = {0};
        int r;

        if (json_is_string(item)) {
            r = tw_faults_from_text(a, json_string_value(item), ret, &why);
            if (r < 0)
                return tw_fail_at(err, r, at, "%s", why.text);
            continue;
        }
        if (!json_is_object(item))
            return tw_fail_at(err, -EINVAL, at, "a fault is %s; expected an object or a text",
                              spec_type_name(item));
        r = read_one(a, item, at, &f, err);
        if (r < 0)
            return r;
        push_in_order(a, ret, f);
    }
    return 0;
}

/* ---- what they did ---- */

#define REAL(member)                                                                     \
    {                                                                                    \
        .key = #member, .kind = SPEC_REAL, SPEC_AT(tw_fault_arm, member)                 \
    }
static const struct spec_field arm_fields[] = {
    REAL(sent),
    REAL(answered),
    REAL(failed),
    REAL(availability),
    REAL(p50_ms),
    REAL(p95_ms),
    REAL(before_p95_ms),
    REAL(after_p95_ms),
    {.key = "recovery_seconds", .kind = SPEC_REAL, SPEC_AT(tw_fault_arm, recovery_s)},
    REAL(goodput),
    {.key = "survived", .kind = SPEC_BOOL, SPEC_AT(tw_fault_arm, survived)},
    {.key = "words", .kind = SPEC_TEXT, SPEC_AT(tw_fault_arm, words)},
};
static const struct spec_shape arm_shape = SPEC_SHAPE(tw_fault_arm, arm_fields);

static const struct spec_field effect_fields[] = {
    {.key = "fault", .kind = SPEC_TEXT, SPEC_AT(tw_fault_effect, fault)},
    {.key = "how", .kind = SPEC_TEXT, SPEC_AT(tw_fault_effect, how)},
    {.key = "verdict", .kind = SPEC_TEXT, SPEC_AT(tw_fault_effect, verdict)},
    {.key = "why", .kind = SPEC_TEXT, SPEC_AT(tw_fault_effect, why)},
    {.key = "seconds", .kind = SPEC_REAL, SPEC_AT(tw_fault_effect, seconds)},
    {.key = "before",
     .kind = SPEC_OBJECT,
     SPEC_AT(tw_fault_effect, arms[TW_BASELINE]),
     .shape = &arm_shape},
    {.key = "after",
     .kind = SPEC_OBJECT,
     SPEC_AT(tw_fault_effect, arms[TW_CANDIDATE]),
     .shape = &arm_shape},
};
const struct spec_shape spec_fault_effect = SPEC_SHAPE(tw_fault_effect, effect_fields);
