/* The table of faults, what their strengths mean, and their life. */
#include "fault_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define POINTER(name) &fault_kind_##name,
const struct tw_fault_kind *const tw_fault_kinds[] = {TW_FAULT_LIST(POINTER)};
const size_t tw_fault_kind_count = TW_COUNT_OF(tw_fault_kinds);
#define LONGEST_S 60

const struct tw_fault_kind *tw_fault_kind_find(const char *name, const char **nearest)
{
    const char *names[TW_COUNT_OF(tw_fault_kinds)];

    for (size_t i = 0; i < tw_fault_kind_count; i++) {
        names[i] = tw_fault_kinds[i]->name;
        if (tw_streq(names[i], name))
            return tw_fault_kinds[i];
    }
    if (nearest)
        *nearest = name ? tw_nearest(name, names, tw_fault_kind_count) : NULL;
    return NULL;
}

/* ---- strengths ---- */

const char *const tw_fault_moments[] = {"day_end", "month_end", "year_end", "certificate",
                                        "password"};
const size_t tw_fault_moment_count = TW_COUNT_OF(tw_fault_moments);

struct unit {
    const char *name;
    double factor;
};

static int parse_number(const char *text, const struct unit *units, size_t n, double *ret)
{
    char *rest;
    double value = strtod(text, &rest);

    if (rest == text || !isfinite(value))
        return -EINVAL;
    rest += strspn(rest, " ");
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(rest, units[i].name) == 0) {
            *ret = value * units[i].factor;
            return 0;
        }
    return -EINVAL;
}

static int parse_share(const char *text, double *ret)
{
    static const struct unit units[] = {{"", 1}, {"%", 0.01}};

    return parse_number(text, units, TW_COUNT_OF(units), ret);
}

static int parse_bits(const char *text, double *ret)
{
    static const struct unit units[] = {{"bit", 1},    {"kbit", 1e3}, {"mbit", 1e6},
                                        {"gbit", 1e9}, {"kbps", 8e3}, {"mbps", 8e6}};

    return parse_number(text, units, TW_COUNT_OF(units), ret);
}

static int parse_bytes(const char *text, double *ret)
{
    int64_t bytes;
    int r = tw_parse_bytes(text, &bytes, NULL);

    if (r == 0)
        *ret = (double)bytes;
    return r;
}

static int parse_times(const char *text, double *ret)
{
    static const struct unit units[] = {{"", 1}, {"x", 1}, {"times", 1}};

    return parse_number(text, units, TW_COUNT_OF(units), ret);
}

/* "20" could be meant as milliseconds or as seconds: the unit has to be said. */
static int parse_time(const char *text, double *ret)
{
    return text[strspn(text, "0123456789.+-eE ")] ? tw_parse_seconds(text, ret, NULL)
                                                  : -EINVAL;
}

static int parse_clock(const char *text, double *ret)
{
    int moment = tw_name_index(text, tw_fault_moments, tw_fault_moment_count);

    if (moment < 0)
        return parse_time(text, ret);
    *ret = TW_FAULT_MOMENT + moment;
    return 0;
}

static const struct {
    int (*parse)(const char *text, double *ret);
    const char *expected;
} units[TW_FAULT_UNIT_COUNT] = {
    [TW_FAULT_TIME] = {parse_time, "a time with its unit, '20ms'"},
    [TW_FAULT_SHARE] = {parse_share, "a share, '1%' or '0.01'"},
    [TW_FAULT_BITS] = {parse_bits, "bits a second, '50mbit'"},
    [TW_FAULT_BYTES] = {parse_bytes, "bytes a second, '5MB'"},
    [TW_FAULT_TIMES] = {parse_times, "how many times, '3x'"},
    [TW_FAULT_CLOCK] =
        {parse_clock,
         "a time, '400d', or day_end, month_end, year_end, certificate, password"},
};

int tw_fault_strength(const struct tw_fault_kind *kind, const char *text, double *ret,
                      struct tw_err *err)
{
    double value = 0;

    if (kind->unit == TW_FAULT_NONE && text)
        return tw_fail(err, -EINVAL, "'%s' has no strength, but is given '%s'", kind->name,
                       text);
    if (kind->unit == TW_FAULT_NONE) {
        *ret = 0;
        return 0;
    }
    text = text ? text : kind->standard;
    if (units[kind->unit].parse(text, &value) < 0)
        return tw_fail(err, -EINVAL, "'%s' is no strength of '%s'; expected %s", text,
                       kind->name, units[kind->unit].expected);
    if (!(value >= kind->low && value <= kind->high) && value < TW_FAULT_MOMENT)
        return tw_fail(err, -EINVAL, "'%s=%s' is out of range; expected %g to %g (%s)",
                       kind->name, text, kind->low, kind->high,
                       units[kind->unit].expected);
    *ret = value;
    return 0;
}

static int fail_field(size_t i, const char *field, int r, const struct tw_err *why,
                      struct tw_err *err)
{
    tw_auto_free char *pointer = tw_strf("/faults/%zu/%s", i, field);

    return tw_fail_at(err, r, pointer, "%s", why->text);
}

static int check_one(const struct tw_fault *f, size_t i, struct tw_err *err)
{
    const char *nearest = NULL;
    const struct tw_fault_kind *kind = tw_fault_kind_find(f->kind, &nearest);
    struct tw_err why = {0};
    double strength, duration = isnan(f->duration_s) ? 0 : f->duration_s;
    int r;

    if (!kind) {
        r = nearest ? tw_fail(&why, -EINVAL, "there is no fault '%s'; did you mean '%s'?",
                              f->kind, nearest)
                    : tw_fail(&why, -EINVAL,
                              "there is no fault '%s'; docs/USER_GUIDE.md lists them all", f->kind);
        return fail_field(i, "kind", r, &why, err);
    }
    r = tw_fault_strength(kind, f->strength, &strength, &why);
    if (r < 0)
        return fail_field(i, "strength", r, &why, err);
    if (f->on && !kind->link) {
        r = tw_fail(&why, -EINVAL, "'%s' has no direction; 'in' and 'out' are those of a link",
                    kind->name);
        return fail_field(i, "on", r, &why, err);
    }
    if (f->begin_s + duration > LONGEST_S) {
        r = tw_fail(&why, -EINVAL, "'%s' ends after %g s; expected %d s at most", kind->name,
                    f->begin_s + duration, LONGEST_S);
        return fail_field(i, "duration", r, &why, err);
    }
    return 0;
}

int tw_fault_check(const struct tw_faults *faults, struct tw_err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < faults->list.count; i++)
        r = check_one(&faults->list.items[i], i, err);
    return r;
}

/* ---- schedules ---- */

static bool earlier(const struct tw_fault_event *a, const struct tw_fault_event *b)
{
    return a->at_s != b->at_s ? a->at_s < b->at_s : !a->begins && b->begins;
}

static void add_event(struct tw_arena *a, struct tw_fault_schedule *s,
                      struct tw_fault_event e)
{
    size_t i;

    TW_PUSH(a, &s->events, e);
    for (i = s->events.count - 1; i > 0 && earlier(&e, &s->events.items[i - 1]); i--)
        s->events.items[i] = s->events.items[i - 1];
    s->events.items[i] = e;
}

void tw_fault_schedule(struct tw_arena *a, const struct tw_faults *faults, size_t first,
                       struct tw_fault_schedule *ret, size_t *ret_next)
{
    struct tw_fault_schedule s = {.outage = false};
    size_t i = first;

    for (; i < faults->list.count &&
           faults->list.items[i].schedule == faults->list.items[first].schedule;
         i++) {
        const struct tw_fault *f = &faults->list.items[i];
        const struct tw_fault_kind *kind = tw_fault_kind_find(f->kind, NULL);
        double duration = kind && isnan(f->duration_s) ? kind->duration_s : f->duration_s;
        double times = 0;

        if (!kind)
            continue;
        s.link |= kind->link;
        s.page |= kind->page;
        s.counted |= kind->counted;
        s.outage |= kind->outage;
        if (kind->load && tw_fault_strength(kind, f->strength, &times, NULL) == 0)
            s.load_times = fmax(s.load_times, times);
        s.end_s = fmax(s.end_s, f->begin_s + duration);
        add_event(a, &s, (struct tw_fault_event){f->begin_s, i, true});
        add_event(a, &s, (struct tw_fault_event){f->begin_s + duration, i, false});
    }
    *ret = s;
    *ret_next = i;
}

/* ---- one that runs ---- */

int tw_fault_begin(const struct tw_fault_place *place, const struct tw_fault *fault,
                   struct tw_fault_run **ret, struct tw_err *err)
{
    const struct tw_fault_kind *kind = tw_fault_kind_find(fault->kind, NULL);
    struct tw_fault_run *f;
    double strength;
    int r;

    if (!kind)
        return tw_fail(err, -EINVAL, "there is no fault '%s'", fault->kind);
    r = tw_fault_strength(kind, fault->strength, &strength, err);
    if (r < 0)
        return r;
    f = tw_alloc(sizeof *f);
    *f = (struct tw_fault_run){
        .kind = kind, .fault = *fault, .strength = strength, .place = *place, .how = ""};
    r = kind->begin(f, err);
    if (r < 0) {
        (void)tw_fault_end(f, NULL);
        return tw_wrap(err, r, "fault '%s'", kind->name);
    }
    tw_step("fault.begun");
    *ret = f;
    return 0;
}

int tw_fault_end(struct tw_fault_run *f, struct tw_err *err)
{
    const char *name;
    int r;

    if (!f)
        return 0;
    name = f->kind->name;
    r = f->kind->end(f, err);
    if (r == 0)
        r = f->kind->check(f, err);
    free(f->sessions);
    free(f->sockets);
    free(f);
    tw_step("fault.ended");
    return r < 0 ? tw_wrap(err, r, "the end of fault '%s'", name) : 0;
}

const char *tw_fault_how(const struct tw_fault_run *f)
{
    return f->how;
}

void tw_fault_refused(const struct tw_fault_run *f, int *ret_asked, int *ret_refused,
                      const char **ret_words)
{
    *ret_asked = f->asked;
    *ret_refused = f->refused;
    *ret_words = f->words[0] ? f->words : NULL;
}
