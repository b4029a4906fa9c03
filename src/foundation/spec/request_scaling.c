/* What only scaling has: objectives of a request, sizes of a plan, what each size carries. */
#include "spec_internal.h"

#include <math.h>
#include <string.h>

#define MOST_MEASURED 64

/* ---- objectives: "p99=50ms", "errors=0.1%" ---- */

static const struct metric {
    const char *name;
    bool share;
} metrics[] = {{"p50", false}, {"p95", false}, {"p99", false}, {"errors", true}};

static const struct {
    const char *name;
    double factor;
    bool share;
} units[] = {{"us", 1e-6, false}, {"ms", 1e-3, false}, {"s", 1, false},
             {"%", 0.01, true},   {"", 1, true}};

static const struct metric *metric_find(const char *name)
{
    for (size_t i = 0; i < TW_COUNT_OF(metrics); i++)
        if (tw_streq(metrics[i].name, name))
            return &metrics[i];
    return NULL;
}

static int parse_limit(const struct metric *m, const char *text, const char *pointer,
                       double *ret, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    size_t digits = strspn(text, "0123456789.");
    const char *unit = text + digits + strspn(text + digits, " ");
    double value;

    if (tw_parse_double(tw_arena_strndup(a, text, digits), &value, NULL) == 0)
        for (size_t i = 0; i < TW_COUNT_OF(units); i++)
            if (m->share == units[i].share && tw_streq(units[i].name, unit)) {
                *ret = value * units[i].factor;
                if (*ret > 0 && (!m->share || *ret < 1))
                    return 0;
            }
    return tw_fail_at(err, -EINVAL, pointer, "objective %s '%s': expected %s", m->name,
                      text,
                      m->share ? "a share above 0 and below 1, '0.1%' or '0.001'"
                               : "a time above 0 with its unit, '50ms' or '0.2s'");
}

static int make_objective(struct tw_arena *a, const char *name, const char *limit,
                          const char *pointer, struct tw_objective *ret, struct tw_err *err)
{
    const struct metric *m = metric_find(name);

    if (!m)
        return tw_fail_at(err, -EINVAL, pointer,
                          "objective '%s' is not known: expected p50, p95, p99 or errors",
                          name);
    ret->metric = m->name;
    (void)a;
    return parse_limit(m, limit, pointer, &ret->limit, err);
}

int tw_objective_parse(struct tw_arena *a, const char *text, const char *pointer,
                       struct tw_objective *ret, struct tw_err *err)
{
    const char *equals = strchr(text, '=');

    if (!equals)
        return tw_fail_at(err, -EINVAL, pointer,
                          "objective '%s': expected METRIC=LIMIT, 'p99=50ms' or "
                          "'errors=0.1%%'",
                          text);
    return make_objective(a, tw_arena_strndup(a, text, (size_t)(equals - text)), equals + 1,
                          pointer, ret, err);
}

static int read_objectives(struct tw_arena *a, const json_t *json, const char *pointer,
                           struct tw_scaling_request *to, struct tw_err *err)
{
    const char *key;
    json_t *value;

    if (!json_is_object(json))
        return tw_fail_at(err, -EINVAL, pointer,
                          "'slo' is %s; expected {\"p99\": \"50ms\", \"errors\": "
                          "\"0.1%%\"}",
                          spec_type_name(json));
    json_object_foreach ((json_t *)(uintptr_t)json, key, value) {
        const char *at = tw_json_pointer(a, pointer, key);
        const char *text = json_is_number(value)
                               ? tw_arena_printf(a, "%.15g", json_number_value(value))
                               : json_string_value(value);
        struct tw_objective one;
        int r = make_objective(a, key, text ? text : "", at, &one, err);

        if (r < 0)
            return r;
        TW_PUSH(a, &to->objectives, one);
    }
    return 0;
}

static int read_measured(const json_t *json, const char *pointer,
                         struct tw_scaling_request *to, struct tw_err *err)
{
    json_int_t n = json_integer_value(json);

    if (!json_is_integer(json) || n < 1 || n > MOST_MEASURED)
        return tw_fail_at(err, -EINVAL, pointer,
                          "'measured_instances': expected 1 to %d real instances at most",
                          MOST_MEASURED);
    to->measured_instances = (int)n;
    return 0;
}

int spec_scaling_read(struct tw_arena *a, const json_t *json, const char *pointer,
                      struct tw_scaling_request *to, struct tw_err *err)
{
    return tw_ends_with(pointer, "/slo") ? read_objectives(a, json, pointer, to, err)
                                         : read_measured(json, pointer, to, err);
}

void spec_scaling_write(const struct tw_scaling_request *r, json_t *json)
{
    json_t *slo = json_object();

    for (size_t i = 0; i < r->objectives.count; i++) {
        const struct tw_objective *o = &r->objectives.items[i];
        bool share = tw_streq(o->metric, "errors");
        tw_auto_free char *text =
            tw_strf(share ? "%.12g" : "%.12gms", share ? o->limit : o->limit * 1e3);

        json_object_set_new(slo, o->metric, tw_json_text(text));
    }
    if (json_object_size(slo))
        json_object_set(json, "slo", slo);
    json_decref(slo);
    if (r->measured_instances)
        json_object_set_new(json, "measured_instances",
                            json_integer(r->measured_instances));
}

/* ---- of a plan ---- */

static const struct spec_field objective_fields[] = {
    {.key = "metric", .kind = SPEC_TEXT, SPEC_AT(tw_objective, metric)},
    {.key = "limit", .kind = SPEC_REAL, SPEC_AT(tw_objective, limit)},
};
static const struct spec_shape objective = SPEC_SHAPE(tw_objective, objective_fields);

static const struct spec_field scaling_fields[] = {
    {.key = "instances",
     .kind = SPEC_INT,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_scaling, instances)},
    {.key = "cpus", .kind = SPEC_REAL, SPEC_AT(tw_scaling, cpus)},
    {.key = "memory_bytes",
     .kind = SPEC_INT64,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_scaling, memory_bytes)},
    {.key = "pool", .kind = SPEC_INT, .flags = SPEC_ZERO_UNKNOWN, SPEC_AT(tw_scaling, pool)},
    {.key = "measured_instances",
     .kind = SPEC_INT,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_scaling, measured_instances)},
    {.key = "objectives",
     .kind = SPEC_LIST,
     SPEC_AT(tw_scaling, objectives),
     .shape = &objective},
};
const struct spec_shape spec_scaling = SPEC_SHAPE(tw_scaling, scaling_fields);

/* ---- of an impact ---- */

static const struct spec_field station_fields[] = {
    {.key = "name", .kind = SPEC_TEXT, SPEC_AT(tw_scale_station, name)},
    {.key = "replicated", .kind = SPEC_BOOL, SPEC_AT(tw_scale_station, replicated)},
    {.key = "demand_s",
     .kind = SPEC_OBJECT,
     SPEC_AT(tw_scale_station, demand_s),
     .shape = &spec_estimate},
    {.key = "demand_full_s", .kind = SPEC_REAL, SPEC_AT(tw_scale_station, demand_full_s)},
    {.key = "cores", .kind = SPEC_REAL, SPEC_AT(tw_scale_station, cores)},
    {.key = "capacity_per_s", .kind = SPEC_REAL, SPEC_AT(tw_scale_station, capacity_per_s)},
};
static const struct spec_shape station = SPEC_SHAPE(tw_scale_station, station_fields);

static const struct spec_field point_fields[] = {
    {.key = "instances", .kind = SPEC_INT, SPEC_AT(tw_scale_point, instances)},
    {.key = "capacity_per_s",
     .kind = SPEC_OBJECT,
     SPEC_AT(tw_scale_point, capacity_per_s),
     .shape = &spec_estimate},
    {.key = "limit", .kind = SPEC_TEXT, SPEC_AT(tw_scale_point, limit)},
    {.key = "utilisation", .kind = SPEC_REAL, SPEC_AT(tw_scale_point, utilisation)},
    {.key = "p50_ms", .kind = SPEC_REAL, .scale = 1e3, SPEC_AT(tw_scale_point, p50_s)},
    {.key = "p95_ms", .kind = SPEC_REAL, .scale = 1e3, SPEC_AT(tw_scale_point, p95_s)},
    {.key = "p99_ms", .kind = SPEC_REAL, .scale = 1e3, SPEC_AT(tw_scale_point, p99_s)},
    {.key = "holds_per_s", .kind = SPEC_REAL, SPEC_AT(tw_scale_point, holds_per_s)},
    {.key = "holds", .kind = SPEC_BOOL, SPEC_AT(tw_scale_point, holds)},
    {.key = "measured", .kind = SPEC_BOOL, SPEC_AT(tw_scale_point, measured)},
};
static const struct spec_shape point = SPEC_SHAPE(tw_scale_point, point_fields);

static const struct spec_field next_fields[] = {
    {.key = "what", .kind = SPEC_TEXT, SPEC_AT(tw_scale_next, what)},
    {.key = "at_instances", .kind = SPEC_REAL, SPEC_AT(tw_scale_next, at_instances)},
    {.key = "at_per_s", .kind = SPEC_REAL, SPEC_AT(tw_scale_next, at_per_s)},
    {.key = "evidence", .kind = SPEC_TEXT, SPEC_AT(tw_scale_next, evidence)},
};
static const struct spec_shape next = SPEC_SHAPE(tw_scale_next, next_fields);

#define BOTH(key_, kind_, flags_, member)                                                \
    {.key = key_ "_before",                                                              \
     .kind = (kind_),                                                                    \
     .flags = (flags_),                                                                  \
     SPEC_AT(tw_scale, member[TW_BASELINE])},                                            \
    {                                                                                    \
        .key = key_ "_after", .kind = (kind_), .flags = (flags_),                        \
        SPEC_AT(tw_scale, member[TW_CANDIDATE])                                          \
    }
static const struct spec_field scale_fields[] = {
    BOTH("instances", SPEC_INT, SPEC_ZERO_UNKNOWN, instances),
    BOTH("measured", SPEC_INT, SPEC_ZERO_UNKNOWN, measured),
    BOTH("cpus", SPEC_REAL, 0, cpus),
    BOTH("memory_bytes", SPEC_INT64, SPEC_ZERO_UNKNOWN, memory_bytes),
    BOTH("modelled", SPEC_BOOL, 0, modelled),
    {.key = "balancer", .kind = SPEC_TEXT, SPEC_AT(tw_scale, balancer)},
    {.key = "peak_per_s", .kind = SPEC_REAL, SPEC_AT(tw_scale, peak_per_s)},
    {.key = "clients", .kind = SPEC_INT, .flags = SPEC_ZERO_UNKNOWN, SPEC_AT(tw_scale, clients)},
    {.key = "contention", .kind = SPEC_REAL, SPEC_AT(tw_scale, contention)},
    {.key = "smallest", .kind = SPEC_INT, .flags = SPEC_ZERO_UNKNOWN, SPEC_AT(tw_scale, smallest)},
    {.key = "smallest_why", .kind = SPEC_TEXT, SPEC_AT(tw_scale, smallest_why)},
    {.key = "breaks_at_per_s", .kind = SPEC_REAL, SPEC_AT(tw_scale, breaks_at_per_s)},
    {.key = "breaks_at_hours", .kind = SPEC_REAL, SPEC_AT(tw_scale, breaks_at_hours)},
    {.key = "objectives", .kind = SPEC_LIST, SPEC_AT(tw_scale, objectives), .shape = &objective},
    {.key = "stations", .kind = SPEC_LIST, SPEC_AT(tw_scale, stations), .shape = &station},
    {.key = "points", .kind = SPEC_LIST, SPEC_AT(tw_scale, points), .shape = &point},
    {.key = "next", .kind = SPEC_LIST, SPEC_AT(tw_scale, next), .shape = &next},
};
const struct spec_shape spec_scale = SPEC_SHAPE(tw_scale, scale_fields);
