/* The table of change types, and what is the same for all: defaults of the plan, its
 * hash. */
#include "tw/change.h"

#include "list.h"

#include <math.h>
#include <string.h>

#define DECLARE(type) extern const struct tw_change_type change_type_##type;
TW_CHANGE_LIST(DECLARE)
#define POINTER(type) &change_type_##type,
const struct tw_change_type *const tw_change_types[] = {TW_CHANGE_LIST(POINTER)};
const size_t tw_change_type_count = TW_COUNT_OF(tw_change_types);

const struct tw_change_type *tw_change_type_find(const char *name, const char **nearest)
{
    const char *names[TW_COUNT_OF(tw_change_types)];

    for (size_t i = 0; i < tw_change_type_count; i++) {
        names[i] = tw_change_types[i]->name;
        if (tw_streq(names[i], name))
            return tw_change_types[i];
    }
    if (nearest)
        *nearest = name ? tw_nearest(name, names, tw_change_type_count) : NULL;
    return NULL;
}

static void fill_plan(struct tw_arena *a, const struct tw_snapshot *s,
                      const struct tw_request *r, struct tw_plan *plan)
{
    *plan = (struct tw_plan){
        .type = r->type,
        .target = s->target,
        .environment = s->environment,
        .hours = r->hours,
        .scenario = r->scenario,
        .profile = r->profile,
        .engine = r->engine,
        .rate_per_s = r->rate_per_s,
        .seed = r->seed,
        .budget_s = r->budget_s,
        .most_s = r->budget_s,
        .min_pairs = 10,
        .min_requests = 5000,
        .risk_level = r->risk_level,
        .twin_memory_bytes = s->memory_bytes,
        .twin_cpus = s->cpus,
    };
    for (size_t i = 0; i < r->mixes.count; i++)
        TW_PUSH(a, &plan->mixes, r->mixes.items[i]);
    for (size_t i = 0; i < r->clients.count; i++)
        TW_PUSH(a, &plan->clients, r->clients.items[i]);
    for (size_t i = 0; i < r->faults.list.count; i++)
        TW_PUSH(a, &plan->faults.list, r->faults.list.items[i]);
    plan->connections = r->connections;
    plan->scan = r->scan;
}

/* What an approval binds is what will be done: not when, not how long it may take, not
 * the seed. */
static void hash(struct tw_plan *plan)
{
    static const char *const passing[] = {"sha256", "seed"};
    json_auto_t *json = tw_plan_to_json(plan);
    tw_auto_free char *text = NULL;

    for (size_t i = 0; i < TW_COUNT_OF(passing); i++)
        (void)json_object_del(json, passing[i]);
    text = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(15));
    tw_sha256_hex(text, strlen(text), plan->sha256);
}

static int unknown_type(const char *name, struct tw_err *err)
{
    const char *nearest = NULL;
    tw_auto_buf all = {0};

    (void)tw_change_type_find(name, &nearest);
    tw_buf_init(&all, 4096);
    for (size_t i = 0; i < tw_change_type_count; i++)
        tw_buf_printf(&all, "%s%s", i ? ", " : "", tw_change_types[i]->name);
    return tw_fail_at(
        err, -EINVAL, "/type", "unknown change type '%s'; expected one of %s%s%s%s",
        name ? name : "", tw_buf_text(&all), nearest ? "; did you mean '" : "",
        nearest ? nearest : "", nearest ? "'?" : "");
}

int tw_change_plan(struct tw_arena *a, const struct tw_snapshot *s,
                   const struct tw_request *r, struct tw_plan *ret,
                   struct tw_issues *issues, struct tw_err *err)
{
    const struct tw_change_type *type = tw_change_type_find(r->type, NULL);
    struct tw_plan plan;
    int rc;

    if (!type)
        return unknown_type(r->type, err);
    fill_plan(a, s, r, &plan);
    rc = type->validate(a, s, r, issues, err);
    if (rc == 0)
        rc = type->plan(a, s, r, &plan, err);
    if (rc < 0)
        return rc;
    hash(&plan);
    *ret = plan;
    tw_step("change.plan.made");
    return 0;
}
