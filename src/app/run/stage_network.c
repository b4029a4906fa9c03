/* Stages of a change of the path between two services, or between one and its clients: found, shaped in the
 * candidate's arm only, and with the load still open the values looked for from which on it breaks. */
#include "run_path.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CROSSING_REQUESTS    100
#define CROSSING_SHARE       0.05
#define COSTLY_BELOW_S       5e-4
#define NEXT_TO_NO_DELAY_S   1e-6
#define NEXT_TO_NO_LOSS      1e-9
#define NEXT_TO_NO_BOUND_BPS 1e11

bool run_is_path(const struct run *r)
{
    const struct tw_change_type *type = tw_change_type_find(r->v.sim->plan.type, NULL);

    return type && type->path;
}

bool run_needs(const struct run *r, enum run_role role)
{
    return role != RUN_JUDGE || run_is_names(r) || !(run_is_path(r) || run_is_scaling(r));
}

bool path_is_cut(const struct tw_network_request *n)
{
    return n->partition || n->route;
}

bool run_is_path_to_clients(const struct run *r)
{
    return r->v.path && r->v.path->clients;
}

bool run_is_path_computed(const struct run *r)
{
    const struct tw_network_request *n = r->v.path ? &r->v.path->asked : NULL;

    struct tw_network_request rest;

    if (!n || !(n->idle_timeout_s > 0) || n->names)
        return false;
    rest = *n;
    rest.idle_timeout_s = 0;
    return !tw_network_request_is_linked(&rest);
}

/* ---- whom it is between ---- */

static const char *callees(struct run *r, size_t caller)
{
    const struct tw_snapshot *s = run_member_snapshot(r, caller);
    const char *all = NULL;

    for (size_t i = 0; i < s->neighbours.count; i++) {
        const struct tw_neighbour *n = &s->neighbours.items[i];
        const char *one = tw_arena_printf(r->arena, "%s%s%s:%d", n->name ? n->name : "", n->name ? " at " : "",
                                          n->address ? n->address : "?", n->port);

        all = all ? tw_arena_printf(r->arena, "%s, %s", all, one) : one;
    }
    return all ? all : "nobody";
}

static int between_members(struct run *r, struct run_path *p, size_t from, size_t to, struct tw_err *err)
{
    const struct tw_neighbour *n = run_member_calls(r, from, to);

    if (!n && run_member_calls(r, to, from)) {
        size_t other = from;

        from = to;
        to = other;
        n = run_member_calls(r, from, to);
    }
    p->caller = run_member_snapshot(r, from);
    p->callee = run_member_snapshot(r, to);
    p->from = run_member_target(r, from)->name;
    p->to = run_member_target(r, to)->name;
    if (!n)
        return tw_fail(err, -ENOENT, "'%s' does not call '%s' as far as its configuration tells: it calls %s",
                       p->from, p->to, callees(r, from));
    if (n->port <= 0)
        return tw_fail(err, -EOPNOTSUPP,
                       "'%s' calls '%s' over a socket of one host: there is no path between them to change",
                       p->from, p->to);
    p->link = "lo"; /* members of an arm share a network, as targets of one host do */
    p->port = n->port;
    return 0;
}

static bool names(const struct tw_neighbour *n, const char *to)
{
    const char *ends[] = {n->address, n->resolved, n->name};

    for (size_t i = 0; i < TW_COUNT_OF(ends); i++) {
        tw_auto_free char *with_port = tw_strf("%s:%d", ends[i] ? ends[i] : "", n->port);

        if (tw_streq(ends[i], to) || tw_streq(with_port, to))
            return true;
    }
    return false;
}

/* Somebody who is no target: stood in for, on the host itself or on the link. */
static int to_neighbour(struct run *r, struct run_path *p, size_t from, const char *to, struct tw_err *err)
{
    const struct tw_snapshot *s = run_member_snapshot(r, from);

    p->caller = s;
    p->from = run_member_target(r, from)->name;
    p->to = to;
    for (size_t i = 0; i < s->neighbours.count; i++) {
        const struct tw_neighbour *n = &s->neighbours.items[i];
        const char *where = n->resolved ? n->resolved : n->address;
        unsigned char bytes[16];

        if (!names(n, to) || n->port <= 0 || !where)
            continue;
        where = tw_arena_strndup(r->arena, where, strcspn(where, ", "));
        p->port = n->port;
        p->link = tw_starts_with(where, "127.") || tw_streq(where, "::1") ? "lo" : "eth0";
        if (tw_streq(p->link, "eth0") &&
            inet_pton(strchr(where, ':') ? AF_INET6 : AF_INET, where, bytes) == 1)
            p->peer = where;
        return 0;
    }
    return tw_fail(err, -ENOENT,
                   "'%s' is no target of environment '%s' that is on the path of '%s', and '%s' does not call it: "
                   "it calls %s",
                   to, r->target.environment, r->target.name, p->from, callees(r, from));
}

static int to_clients(struct run *r, struct run_path *p, struct tw_err *err)
{
    const struct tw_endpoint *e = run_endpoint(r);

    p->clients = true;
    p->callee = run_entry(r).snapshot;
    p->from = "its clients";
    p->to = run_entry(r).snapshot->target;
    p->link = "eth0";
    p->port = e ? e->port : r->snapshot.port;
    p->port_here = true;
    if (!e && !run_entry(r).kind->conninfo)
        return tw_fail(err, -ENOENT, "'%s' takes no connections from the network: there is no path to its clients",
                       p->to);
    return p->port > 0 ? 0 : tw_fail(err, -ENOENT, "where the clients of '%s' connect is not known", p->to);
}

static int find_path(struct run *r, struct run_path *p, struct tw_err *err)
{
    int from = p->asked.from ? run_member_find(r, p->asked.from) : 0, to;

    if (from < 0)
        return tw_fail(err, -ENOENT, "'%s' is no target that is on the path of '%s'", p->asked.from,
                       r->target.name);
    if (!p->asked.to && from == 0)
        return to_clients(r, p, err);
    if (tw_streq(p->asked.to, "clients"))
        return to_clients(r, p, err);
    to = p->asked.to ? run_member_find(r, p->asked.to) : 0;
    return to >= 0 ? between_members(r, p, (size_t)from, (size_t)to, err)
                   : to_neighbour(r, p, (size_t)from, p->asked.to, err);
}

/* ---- shaped ---- */

int path_shape(struct run_path *p, const struct tw_network_request *n, struct tw_err *err)
{
    static const enum tw_shape_route routes[TW_ROUTE_COUNT] = {[TW_ROUTE_NONE] = TW_SHAPE_ROUTE_NONE,
                                                               [TW_ROUTE_DEAD_GATEWAY] = TW_SHAPE_ROUTE_DEAD};
    /* what a round trip gets longer by is added half on the way there and half on the way back */
    struct tw_shape_values v = {.delay_s = n->latency_s / 2,
                                      .jitter_s = n->jitter_s / 2,
                                      .loss = n->loss,
                                      .rate_bps = n->bandwidth_bps,
                                      .longest = n->mtu_blackhole};
    int rc = 0;

    for (int way = 0; way < TW_SHAPE_WAYS && rc == 0; way++) {
        /* answers are what comes in, to clients what goes out */
        bool answers = (way == TW_SHAPE_IN) != p->port_here;

        v.cut = n->partition || (n->route == TW_ROUTE_ONE_WAY && answers);
        rc = tw_priv_shape_set(p->shape[TW_CANDIDATE], (enum tw_shape_way)way, &v, err);
    }
    return rc < 0 ? rc : tw_priv_shape_route(p->shape[TW_CANDIDATE], routes[n->route], err);
}

/* What shaping itself costs is most where packets are held for hardly any time, one by one: there it hits both
 * arms, packets of the baseline go the same way. Held longer they go on by many at once, at next to no cost, and
 * a baseline that held its own for nothing would be the slower one (measured: half the throughput). */
static int shape_baseline(struct run_path *p, struct tw_err *err)
{
    const struct tw_network_request *n = &p->asked;
    const struct tw_shape_values v = {.delay_s = n->latency_s > 0 ? NEXT_TO_NO_DELAY_S : 0,
                                      .loss = n->loss > 0 ? NEXT_TO_NO_LOSS : 0,
                                      .rate_bps = n->bandwidth_bps > 0 ? NEXT_TO_NO_BOUND_BPS : 0};
    int rc = 0;

    p->in_both = n->latency_s > 0 && n->latency_s < COSTLY_BELOW_S;
    for (int way = 0; way < TW_SHAPE_WAYS && rc == 0 && p->in_both; way++)
        rc = tw_priv_shape_set(p->shape[TW_BASELINE], (enum tw_shape_way)way, &v, err);
    return rc;
}

/* What the ends think; 0: as it is. A black hole hides behind what they think, and the loopback between members
 * would take 64 kB at once: both arms then send what an Ethernet takes. */
static int mtu_of(const struct tw_network_request *n, enum tw_arm arm)
{
    int today = n->mtu_blackhole ? TW_ETHERNET_MTU : 0;

    return arm == TW_CANDIDATE && n->mtu ? n->mtu : today;
}

static int shape(struct run *r, struct run_path *p, struct tw_err *err)
{
    int rc = 0;

    for (int arm = 0; arm < TW_ARM_COUNT && rc == 0; arm++) {
        struct tw_shape_spec spec = {.netns = tw_sandbox_netns(tw_twin_sandbox(run_twin_of(r, (enum tw_arm)arm))),
                                     .link = p->link,
                                     .peer = p->peer,
                                     .port = p->port,
                                     .port_here = p->port_here};

        rc = tw_priv_shape_open(r->priv, &spec, &p->shape[arm], err);
    }
    for (int arm = 0; arm < TW_ARM_COUNT && rc == 0; arm++)
        if (mtu_of(&p->asked, (enum tw_arm)arm))
            rc = tw_priv_shape_mtu(p->shape[arm], mtu_of(&p->asked, (enum tw_arm)arm), err);
    if (rc == 0)
        rc = path_shape(p, &p->asked, err);
    if (rc == 0)
        rc = shape_baseline(p, err);
    if (rc == 0)
        p->how = tw_arena_strdup(r->v.sim->arena, tw_priv_shape_how(p->shape[TW_CANDIDATE], TW_SHAPE_OUT));
    return rc < 0 ? tw_wrap(err, rc, "the path from %s to %s", p->from, p->to) : 0;
}

static void tell_path(struct run *r, const struct run_path *p)
{
    struct tw_arena *a = r->v.sim->arena;

    (void)tw_issue_add(a, &r->v.issues, TW_INFO, TW_PROCEED, "path.made",
                       tw_arena_printf(a, "the path from %s to %s: %s", p->from, p->to,
                                       tw_network_request_text(a, &p->asked)),
                       tw_arena_printf(a, "TCP port %d over %s of the candidate's network%s%s%s%s", p->port, p->link,
                                       p->peer ? ", address " : "", p->peer ? p->peer : "",
                                       *p->how ? "; " : "", p->how),
                       NULL);
    (void)tw_issue_add(a, &r->differences, TW_INFO, TW_PROCEED, "twin.path",
                       "the path between its members is that of one host, on which what the change adds is laid: what "
                       "the network takes today is in neither arm",
                       p->in_both ? "what shaping itself costs is in both" : NULL, NULL);
}

/* Known before any load: what is cut serves nobody. */
static void judge_cut(struct run *r, const struct run_path *p)
{
    static const char *const met[TW_ROUTE_COUNT] = {
        [TW_ROUTE_KEPT] =
            "packets are dropped: who connects waits until his own time-out",
        [TW_ROUTE_NONE] = "\"network is unreachable\" at once to new connections; those "
                          "that stand wait for their time-out",
        [TW_ROUTE_DEAD_GATEWAY] =
            "\"no route to host\" about 3 s after each attempt: no gateway answers",
        [TW_ROUTE_ONE_WAY] = "what is sent arrives, no answer ever does: who connects "
                             "waits until his own time-out"};
    struct tw_arena *a = r->v.sim->arena;

    if (path_is_cut(&p->asked))
        (void)tw_issue_add(a, &r->v.issues, TW_CRITICAL, TW_BLOCK, "path.cut",
                           tw_arena_printf(a, "nothing comes through between %s and %s", p->from, p->to),
                           met[p->asked.route],
                           "a way for both directions: a route, a gateway that answers, a source that is answered");
}

int run_network(struct run *r, struct tw_err *err)
{
    const struct tw_plan *plan = &r->v.sim->plan;
    struct run_path *p;
    int rc = 0;

    if (!run_is_path(r) || !r->members[RUN_CANDIDATE].started.ready)
        return 0;
    if (!tw_priv_is_root(r->priv))
        return tw_fail(err, -EPERM, "a path between services is shaped as root only: run it with sudo");
    p = tw_arena_alloc(r->v.sim->arena, sizeof *p);
    for (size_t i = 0; i < plan->steps.count && rc == 0; i++)
        rc = tw_network_request_take(r->v.sim->arena, plan->steps.items[i].name, plan->steps.items[i].value,
                                     plan->steps.items[i].origin, &p->asked, err);
    r->v.path = p;
    if (rc == 0 && p->asked.names)
        path_judge_names(r, p);
    if (rc < 0 || !tw_network_request_is_linked(&p->asked))
        return rc;
    rc = find_path(r, p, err);
    if (rc == 0)
        rc = shape(r, p, err);
    if (rc < 0)
        return rc;
    tell_path(r, p);
    judge_cut(r, p);
    path_judge_timeouts(r, p);
    if (run_is_path_computed(r) && !r->v.not_measured)
        r->v.not_measured = "the change concerns connections at rest, which a load has none of";
    tw_step("run.path.shaped");
    return 0;
}

static void log_seen(enum tw_arm arm, const struct tw_shape *s)
{
    for (int way = 0; way < TW_SHAPE_WAYS; way++) {
        struct tw_shape_seen seen;

        tw_priv_shape_seen(s, (enum tw_shape_way)way, &seen);
        tw_log(TW_LOG_DEBUG, "path, %s, %s: %lld packets, %lld lost, %lld too many; held %.3f ms, %.3f ms of it late",
               tw_arm_names[arm], way == TW_SHAPE_OUT ? "there" : "back", (long long)seen.packets,
               (long long)seen.lost, (long long)seen.full, 1e3 * seen.held_s, 1e3 * seen.late_s);
    }
}

/* Whether something was long enough to vanish decides what a black hole does to this load. */
static void judge_black_hole(struct run *r, const struct tw_shape *s)
{
    struct tw_arena *a = r->v.sim->arena;
    struct tw_shape_seen seen[TW_SHAPE_WAYS];
    int64_t vanished = 0, longest = 0;

    for (int way = 0; way < TW_SHAPE_WAYS; way++) {
        tw_priv_shape_seen(s, (enum tw_shape_way)way, &seen[way]);
        vanished += seen[way].too_long;
        longest = seen[way].longest > longest ? seen[way].longest : longest;
    }
    if (!r->v.path->asked.mtu_blackhole || seen[TW_SHAPE_OUT].packets < 0)
        return;
    (void)tw_issue_add(a, &r->v.issues, vanished ? TW_CRITICAL : TW_MEDIUM, vanished ? TW_BLOCK : TW_REVIEW,
                       "path.black_hole",
                       vanished ? "long packets vanish on the path, and those who sent them wait"
                                : "long packets vanish on the path; this load has none",
                       tw_arena_printf(a, "%lld of %lld packets were longer than %d bytes and never arrived; the longest "
                                          "had %lld",
                                       (long long)vanished,
                                       (long long)(seen[TW_SHAPE_OUT].packets + seen[TW_SHAPE_IN].packets),
                                       r->v.path->asked.mtu_blackhole, (long long)longest),
                       tw_arena_printf(a, "mtu=%d at both ends, or let ICMP \"packet too big\" through",
                                       r->v.path->asked.mtu_blackhole));
}

/* What never came by cannot have been slowed down: that it fares as before says nothing then. */
static void judge_crossing(struct run *r, const struct tw_shape *s)
{
    struct tw_arena *a = r->v.sim->arena;
    int64_t answered = r->v.sim->measured.answered[TW_CANDIDATE];
    struct tw_shape_seen seen;

    tw_priv_shape_seen(s, TW_SHAPE_OUT, &seen);
    if (seen.packets < 0 || answered < CROSSING_REQUESTS || (double)seen.packets > CROSSING_SHARE * (double)answered)
        return;
    (void)tw_issue_add(a, &r->v.issues, TW_HIGH, TW_REVIEW, "path.not_crossed",
                       tw_arena_printf(a, "the load hardly crosses the path from %s to %s", r->v.path->from,
                                       r->v.path->to),
                       tw_arena_printf(a, "%lld packets there for %lld requests; the first of the mix is answered %d",
                                       (long long)seen.packets, (long long)answered,
                                       r->mix.items.count && r->mix.items.items[0].statements.count
                                           ? r->mix.items.items[0].statements.items[0].expect
                                           : 0),
                       "give a load that does (--mix FILE): what was measured says nothing of the path");
}

void run_network_done(struct run *r)
{
    struct tw_err why = {0};

    path_judge_names_met(r);
    for (int arm = 0; r->v.path && arm < TW_ARM_COUNT; arm++) {
        if (r->v.path->shape[arm])
            log_seen((enum tw_arm)arm, r->v.path->shape[arm]);
        if (r->v.path->shape[arm] && arm == TW_CANDIDATE) {
            judge_crossing(r, r->v.path->shape[arm]);
            judge_black_hole(r, r->v.path->shape[arm]);
        }
        if (tw_priv_shape_close(r->v.path->shape[arm], &why) < 0)
            tw_log(TW_LOG_WARNING, "%s", why.text);
        r->v.path->shape[arm] = NULL;
    }
}
