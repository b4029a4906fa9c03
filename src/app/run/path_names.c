/* Names that the target looks up get no answer, a late one or a wrong one: by the page that it shares with us.
 * What runs has looked most of them up long ago, so a further clone is started under them as well: that is the
 * next restart. */
#include "run_path.h"

#include <stdatomic.h>
#include <string.h>

#define LATER_S 0.5 /* that a start takes longer by, and somebody notices */

static bool asked_of(const struct run *r, struct tw_network_request *ret)
{
    const struct tw_plan *plan = &r->v.sim->plan;

    *ret = (struct tw_network_request){0};
    for (size_t i = 0; run_is_path(r) && i < plan->steps.count; i++)
        if (tw_streq(plan->steps.items[i].name, "dns"))
            return tw_network_request_take(r->v.sim->arena, "dns", plan->steps.items[i].value, NULL, ret, NULL) == 0;
    return false;
}

bool run_is_names(const struct run *r)
{
    struct tw_network_request unused;

    return asked_of(r, &unused);
}

static struct tw_twin_page *page_of(const struct run *r, enum run_role role)
{
    return r->members[role].twin ? tw_twin_page(r->members[role].twin) : NULL;
}

void run_names_begin(struct run *r, enum run_role role)
{
    struct tw_twin_page *page = page_of(r, role);
    struct tw_network_request n;

    if (!page || !asked_of(r, &n))
        return;
    if (n.names_address)
        memcpy(page->dns_address, n.names_address, strnlen(n.names_address, sizeof page->dns_address - 1));
    atomic_store(&page->dns_late_ns, (int64_t)(n.names_late_s * (double)TW_SEC_NS));
    atomic_store(&page->dns_failure, n.names == TW_NAMES_NONE);
}

static int64_t met(const struct tw_twin_page *page)
{
    return page ? atomic_load(&page->names_refused) + atomic_load(&page->names_changed) : 0;
}

/* ---- at the next start ---- */

static const char *own_words(struct run *r)
{
    struct run_member *m = &r->members[RUN_JUDGE];
    struct tw_issues said = {0};

    r->kind->judge_start(r->v.sim->arena, tw_twin_access(m->twin), m->started.log_from, &r->v.sim->plan, false,
                         m->started.wait_status, &said);
    return said.list.count ? said.list.items[0].evidence : "it says nothing";
}

static void judge_start(struct run *r)
{
    const struct run_member *m = &r->members[RUN_JUDGE], *base = &r->members[RUN_BASELINE];
    struct tw_network_request n;
    double longer = m->started.seconds - base->started.seconds;
    struct tw_arena *a = r->v.sim->arena;

    (void)asked_of(r, &n);
    if (!m->started.ready) {
        r->v.judged.restarted = false;
        (void)tw_issue_add(a, &r->v.issues, TW_CRITICAL, TW_BLOCK, "path.names_start",
                           "what runs goes on; it does not start again while names fare so", own_words(r),
                           "addresses in place of names, or names that are looked up when they are needed");
        return;
    }
    if (n.names == TW_NAMES_WRONG && met(page_of(r, RUN_JUDGE)))
        (void)tw_issue_add(a, &r->v.issues, TW_HIGH, TW_REVIEW, "path.names_start",
                           tw_arena_printf(a, "after its next start it calls %s instead", n.names_address),
                           tw_arena_printf(a, "%lld names looked up on the way; who answers there is not known",
                                           (long long)met(page_of(r, RUN_JUDGE))),
                           "let the name service tell the address that is meant");
    if (longer > LATER_S)
        (void)tw_issue_add(a, &r->v.issues, TW_HIGH, TW_REVIEW, "path.names_start",
                           tw_arena_printf(a, "its next start takes %s longer", tw_show_seconds(a, longer)),
                           tw_arena_printf(a, "%lld names looked up on the way", (long long)met(page_of(r, RUN_JUDGE))),
                           "a cache of names on the host, or addresses in place of names");
}

void path_judge_names(struct run *r, struct run_path *p)
{
    struct tw_arena *a = r->v.sim->arena;
    struct tw_twin_page *page = page_of(r, RUN_CANDIDATE);

    p->from = r->target.name;
    p->to = "its name service";
    (void)tw_issue_add(a, &r->v.issues, TW_INFO, TW_PROCEED, "path.made",
                       tw_arena_printf(a, "%s: %s", r->target.name, tw_network_request_text(a, &p->asked)),
                       "as the C library of its processes is told; who asks a name server himself is not met", NULL);
    if (!page || atomic_load(&page->loaded) == 0) {
        (void)tw_issue_add(a, &r->v.issues, TW_HIGH, TW_REVIEW, "path.not_crossed",
                           "how names fare could not be told to the service",
                           "it does not load our library: linked statically, or drops LD_PRELOAD", NULL);
        return;
    }
    judge_start(r);
    run_names_begin(r, RUN_CANDIDATE);
}

/* ---- while it runs ---- */

void path_judge_names_met(struct run *r)
{
    struct run_path *p = r->v.path;
    const struct tw_twin_page *page = page_of(r, RUN_CANDIDATE), *start = page_of(r, RUN_JUDGE);
    struct tw_arena *a = r->v.sim->arena;

    if (!p || !p->asked.names || p->names_told || !page)
        return;
    p->names_told = true;
    (void)tw_issue_add(a, &r->v.issues, TW_INFO, TW_PROCEED, "path.names",
                       met(page)    ? "names were looked up under the load, and fared as asked"
                       : met(start) ? "names are looked up when it starts, not under this load"
                                    : "no name was looked up, at its start or under this load",
                       tw_arena_printf(a, "%lld lookups under the load, %lld at a start", (long long)met(page),
                                       (long long)met(start)),
                       NULL);
}
