/* scaling: more or fewer instances, other limits of each, another pool. */
#include "tw/change.h"

#include <math.h>
#include <string.h>

#define MOST_INSTANCES 10000
#define MOST_POOL      100000

static int whole(const struct tw_setting_change *c, int64_t most, int *ret, struct tw_err *err)
{
    int64_t n;

    if (tw_parse_int64(c->value, &n, NULL) < 0 || n < 1 || n > most)
        return tw_fail_at(err, -EINVAL, c->pointer, "%s '%s': expected a number from 1 to %lld",
                          c->name, c->value, (long long)most);
    *ret = (int)n;
    return 0;
}

static int read_instances(const struct tw_setting_change *c, struct tw_scaling *to,
                          struct tw_err *err)
{
    return whole(c, MOST_INSTANCES, &to->instances, err);
}

static int read_pool(const struct tw_setting_change *c, struct tw_scaling *to,
                     struct tw_err *err)
{
    return whole(c, MOST_POOL, &to->pool, err);
}

static int read_cpu(const struct tw_setting_change *c, struct tw_scaling *to,
                    struct tw_err *err)
{
    struct tw_err why;

    return tw_parse_cores(c->value, &to->cpus, &why) == 0 && to->cpus >= 0.01
               ? 0
               : tw_fail_at(err, -EINVAL, c->pointer,
                            "cpu '%s': expected cores of one instance, '2 cores', '0.5' or "
                            "'500m', from 10m on",
                            c->value);
}

static int read_memory(const struct tw_setting_change *c, struct tw_scaling *to,
                       struct tw_err *err)
{
    struct tw_err why;

    return tw_parse_bytes(c->value, &to->memory_bytes, &why) == 0 &&
                   to->memory_bytes >= (int64_t)4 << 20
               ? 0
               : tw_fail_at(err, -EINVAL, c->pointer,
                            "memory '%s': expected bytes of one instance, '512MB' or '4GB', "
                            "from 4MB on",
                            c->value);
}

static const struct key {
    const char *name;
    int (*read)(const struct tw_setting_change *c, struct tw_scaling *to, struct tw_err *err);
} keys[] = {{"instances", read_instances},
            {"cpu", read_cpu},
            {"memory", read_memory},
            {"pool", read_pool}};

static int read_key(const struct tw_setting_change *c, struct tw_scaling *to,
                    struct tw_err *err)
{
    const char *names[TW_COUNT_OF(keys)];
    const char *near;

    for (size_t i = 0; i < TW_COUNT_OF(keys); i++) {
        names[i] = keys[i].name;
        if (!tw_streq(keys[i].name, c->name))
            continue;
        return c->value ? keys[i].read(c, to, err)
                        : tw_fail_at(err, -EINVAL, c->pointer,
                                     "%s is null; expected the size to have", c->name);
    }
    near = tw_nearest(c->name, names, TW_COUNT_OF(keys));
    return tw_fail_at(err, -EINVAL, c->pointer,
                      "a scaling has no '%s'%s%s%s (expected instances, cpu, memory or pool)",
                      c->name, near ? "; did you mean '" : "", near ? near : "",
                      near ? "'?" : "");
}

static int read_all(struct tw_arena *a, const struct tw_request *r, struct tw_scaling *ret,
                    struct tw_err *err)
{
    int rc = 0;

    *ret = (struct tw_scaling){.cpus = NAN,
                               .measured_instances = r->scaling.measured_instances};
    for (size_t i = 0; i < r->settings.count && rc == 0; i++)
        rc = read_key(&r->settings.items[i], ret, err);
    for (size_t i = 0; i < r->scaling.objectives.count; i++)
        TW_PUSH(a, &ret->objectives, r->scaling.objectives.items[i]);
    return rc;
}

static int validate(struct tw_arena *a, const struct tw_snapshot *s,
                    const struct tw_request *r, struct tw_issues *issues,
                    struct tw_err *err)
{
    (void)a;
    (void)issues;
    if (tw_streq(s->type, "firewall"))
        return tw_fail_at(err, -EINVAL, "/target",
                          "target '%s' is a set of rules, which has no size", s->target);
    if (r->files.count + r->sql.count > 0)
        return tw_fail_at(err, -EINVAL, "/change",
                          "a scaling takes instances, cpu, memory and pool; files and SQL "
                          "are changes of their own");
    if (r->settings.count == 0)
        return tw_fail_at(err, -EINVAL, "/change",
                          "nothing is scaled: expected instances, cpu, memory or pool");
    return 0;
}

/* Where an instance's pool stands in its environment, as most applications have it. */
static const struct tw_setting *pool_setting(const struct tw_snapshot *s)
{
    int64_t n;

    for (size_t i = 0; i < s->settings.count; i++) {
        const struct tw_setting *one = &s->settings.items[i];

        if ((strcasestr(one->name, "pool") && tw_starts_with(one->name, "env.")) &&
            one->value && tw_parse_int64(one->value, &n, NULL) == 0 && n > 0)
            return one;
    }
    return tw_snapshot_setting(s, "default_pool_size");
}

static int plan(struct tw_arena *a, const struct tw_snapshot *s,
                const struct tw_request *r, struct tw_plan *ret, struct tw_err *err)
{
    const struct tw_setting *pool = pool_setting(s);
    int64_t today;
    int rc = read_all(a, r, &ret->scaling, err);

    if (rc < 0)
        return rc;
    if (ret->scaling.memory_bytes)
        ret->twin_memory_bytes = ret->scaling.memory_bytes;
    if (!isnan(ret->scaling.cpus))
        ret->twin_cpus = ret->scaling.cpus;
    ret->needs_restart = true;
    if (!pool)
        return 0;
    if (ret->scaling.pool) {
        TW_PUSH(a, &ret->steps,
                (struct tw_plan_step){.kind = TW_STEP_SETTING,
                                      .name = pool->name,
                                      .value = tw_arena_printf(a, "%d", ret->scaling.pool),
                                      .origin = "/change/pool"});
    } else if (tw_parse_int64(pool->value ? pool->value : "", &today, NULL) == 0) {
        ret->scaling.pool = (int)today;
    }
    return 0;
}

extern const struct tw_change_type change_type_scaling;
const struct tw_change_type change_type_scaling = {
    .name = "scaling",
    .summary = "more or fewer instances, other limits of each, another pool",
    .sized = true,
    .validate = validate,
    .plan = plan,
};
