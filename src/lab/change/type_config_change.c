/* config_change: settings of a service, its files; written its own way, judged by it. */
#include "tw/change.h"

static int kind_of(const struct tw_snapshot *s, const struct tw_service_kind **ret,
                   struct tw_err *err)
{
    *ret = tw_service_kind_find(s->type, NULL);
    return *ret
               ? 0
               : tw_fail_at(
                     err, -EINVAL, "/target",
                     "target '%s' is of type '%s', whose configuration cannot be changed",
                     s->target, s->type);
}

static int validate(struct tw_arena *a, const struct tw_snapshot *s,
                    const struct tw_request *r, struct tw_issues *issues,
                    struct tw_err *err)
{
    const struct tw_service_kind *kind;
    int rc = kind_of(s, &kind, err);

    if (rc == 0 && r->sql.count)
        rc = tw_fail_at(
            err, -EINVAL, "/change/sql",
            "a config_change takes settings and files; SQL other than ALTER SYSTEM "
            "is a schema_change");
    return rc < 0 ? rc : kind->validate(a, s, r, issues, err);
}

static int plan(struct tw_arena *a, const struct tw_snapshot *s,
                const struct tw_request *r, struct tw_plan *ret, struct tw_err *err)
{
    const struct tw_service_kind *kind;
    int rc = kind_of(s, &kind, err);

    return rc < 0 ? rc : kind->plan(a, s, r, ret, err);
}

extern const struct tw_change_type change_type_config_change;
const struct tw_change_type change_type_config_change = {
    .name = "config_change",
    .summary = "settings and files of a service",
    .validate = validate,
    .plan = plan,
};
