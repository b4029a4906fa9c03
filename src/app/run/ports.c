/* Stage: ports that the change asks for. In a twin every one is free, on this host they need not be. */
#include "run_internal.h"

#include "tw/service.h"

static int netns_of(const struct run *r, enum run_role role)
{
    struct tw_twin *twin = r->members[role].twin;
    struct tw_sandbox *box = twin ? tw_twin_sandbox(twin) : NULL;

    return box ? tw_sandbox_netns(box) : -1;
}

int run_ports(struct run *r, struct tw_err *err)
{
    struct tw_arena *a = r->v.sim->arena;
    struct tw_service_taken taken = {0};
    bool here;

    (void)err;
    if (!r->members[RUN_CANDIDATE].started.ready || r->inside.is || !tw_priv_is_root(r->priv))
        return 0;
    tw_service_ports_taken(a, netns_of(r, RUN_BASELINE), netns_of(r, RUN_CANDIDATE), &taken);
    here = taken.home;
    for (size_t i = 0; i < taken.list.count; i++)
        (void)tw_issue_add(
            a, &r->v.issues, here ? TW_CRITICAL : TW_HIGH, here ? TW_BLOCK : TW_REVIEW, "start.listen",
            tw_arena_printf(a, "port %d, which the change listens on, is taken on this host", taken.list.items[i].port),
            tw_arena_printf(a, "%s%s", taken.list.items[i].by,
                            here ? "" : "; the target itself is not seen to run on this host just now"),
            "use a free port, or stop who has it first");
    return 0;
}
