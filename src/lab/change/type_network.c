/* network: the path between two services, or to the clients of one, gets other properties: latency, jitter, loss,
 * bandwidth, MTU, idle time-outs, a partition. */
#include "tw/change.h"

static int read_path(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                     struct tw_network_request *ret, struct tw_err *err)
{
    const struct tw_service_kind *kind = tw_service_kind_find(s->type, NULL);
    int rc = 0;

    *ret = (struct tw_network_request){0};
    if (!kind || tw_streq(s->type, "firewall"))
        return tw_fail_at(err, -EINVAL, "/target",
                          "target '%s' is of type '%s'; a network change wants a service, whose path to others "
                          "changes",
                          s->target, s->type);
    if (r->files.count || r->sql.count)
        return tw_fail_at(err, -EINVAL, "/change", "a network change takes properties of a path, no files and "
                                                   "no SQL");
    for (size_t i = 0; i < r->settings.count && rc == 0; i++)
        rc = tw_network_request_take(a, r->settings.items[i].name, r->settings.items[i].value,
                                     r->settings.items[i].pointer, ret, err);
    if (rc == 0)
        rc = tw_network_request_check(ret, err);
    if (rc == 0 && (tw_streq(ret->to, s->target) || tw_streq(ret->from, s->target)) &&
        tw_streq(ret->to, ret->from ? ret->from : s->target))
        rc = tw_fail_at(err, -EINVAL, "/change/to", "the path leads from '%s' to itself; whom does it talk to?",
                        s->target);
    return rc;
}

static int validate(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                    struct tw_issues *issues, struct tw_err *err)
{
    struct tw_network_request path;

    (void)issues;
    return read_path(a, s, r, &path, err);
}

static int plan(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r, struct tw_plan *ret,
                struct tw_err *err)
{
    struct tw_network_request path;
    int rc = read_path(a, s, r, &path, err);

    for (size_t i = 0; i < r->settings.count && rc == 0; i++)
        TW_PUSH(a, &ret->steps,
                (struct tw_plan_step){.kind = TW_STEP_PATH,
                                      .name = r->settings.items[i].name,
                                      .value = r->settings.items[i].value,
                                      .origin = r->settings.items[i].pointer});
    return rc;
}

extern const struct tw_change_type change_type_network;
const struct tw_change_type change_type_network = {
    .name = "network",
    .summary = "the path between services: latency, jitter, loss, bandwidth, MTU, partition",
    .path = true,
    .validate = validate,
    .plan = plan,
};
