/* The path that a target is part of: who it calls and who calls it. Neighbours that are targets
 * themselves are cloned beside it in each arm, at the addresses that the configurations name; the
 * others are stood in for, and the report says so. All targets of a host share a network in their
 * arm, as they do at home. */
#include "run_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define START_NS     (30 * TW_SEC_NS)
#define PEER_ADDRESS "10.213.0.20"

struct run_entry run_entry(const struct run *r)
{
    /* the last front found is the farthest one */
    for (size_t i = r->peer_count; i-- > 0;)
        if (r->peers[i].front)
            return (struct run_entry){r->peers[i].of.kind, &r->peers[i].snapshot};
    return (struct run_entry){r->kind, &r->snapshot};
}

/* ---- who is whose neighbour ---- */

static bool is_local(const char *address)
{
    return tw_starts_with(address, "127.") || tw_streq(address, "::1") ||
           tw_streq(address, "localhost") || *address == '/';
}

/* Does a neighbour's address lead to this endpoint of a target of this host? */
static bool leads_to(const struct tw_neighbour *n, const struct tw_endpoint *e)
{
    const char *where = n->resolved ? n->resolved : n->address;

    if (!where)
        return false;
    if (e->port == 0)
        return *where == '/' && tw_streq(where, e->address);
    if (n->port != e->port)
        return false;
    if (tw_endpoint_is_any(e->address))
        return is_local(where);
    return strstr(where, e->address) || (is_local(where) && is_local(e->address));
}

static bool calls(const struct tw_snapshot *who, const struct tw_snapshot *whom)
{
    for (size_t i = 0; i < who->neighbours.count; i++)
        for (size_t k = 0; k < whom->endpoints.count; k++)
            if (leads_to(&who->neighbours.items[i], &whom->endpoints.items[k]))
                return true;
    return false;
}

static const struct tw_snapshot *member(const struct run *r, size_t i)
{
    return i == 0 ? &r->snapshot : &r->peers[i - 1].snapshot;
}

const struct tw_snapshot *run_member_snapshot(const struct run *r, size_t i)
{
    return member(r, i);
}

const struct tw_target *run_member_target(const struct run *r, size_t i)
{
    return i == 0 ? &r->target : &r->peers[i - 1].of.target;
}

int run_member_find(const struct run *r, const char *name)
{
    for (size_t i = 0; i <= r->peer_count; i++)
        if (tw_streq(run_member_target(r, i)->name, name))
            return (int)i;
    return -1;
}

const struct tw_neighbour *run_member_calls(const struct run *r, size_t caller, size_t callee)
{
    const struct tw_snapshot *who = member(r, caller), *whom = member(r, callee);

    for (size_t i = 0; i < who->neighbours.count; i++)
        for (size_t k = 0; k < whom->endpoints.count; k++)
            if (leads_to(&who->neighbours.items[i], &whom->endpoints.items[k]))
                return &who->neighbours.items[i];
    return NULL;
}

/* Is this neighbour one of the clones? */
static bool is_cloned(const struct run *r, const struct tw_neighbour *n)
{
    for (size_t i = 0; i <= r->peer_count; i++)
        for (size_t k = 0; k < member(r, i)->endpoints.count; k++)
            if (leads_to(n, &member(r, i)->endpoints.items[k]))
                return true;
    return false;
}

/* ---- finding the members ---- */

struct candidate {
    struct tw_target target;
    struct tw_snapshot snapshot;
    bool known, taken;
};

static void differ(struct run *r, const char *title, const char *evidence)
{
    tw_issue_add(r->arena, &r->differences, TW_INFO, TW_PROCEED, "twin.path", title,
                 evidence, NULL);
}

static void look_at(struct run *r, struct candidate *c, const struct tw_target *t)
{
    const struct tw_service_kind *kind = tw_service_kind_find(t->type, NULL);
    struct tw_err why = {0};

    c->target = *t;
    if (!kind)
        return;
    if (kind->holds_data && t->data != TW_DATA_CLONE) {
        differ(r, tw_arena_printf(r->arena, "'%s' is not cloned beside it", t->name),
               "its data may not be taken (--data clone is the permission)");
        return;
    }
    c->known = tw_env_snapshot(r->arena, t, &c->snapshot, &why) == 0;
    if (!c->known)
        differ(r, tw_arena_printf(r->arena, "'%s' is not cloned beside it", t->name),
               tw_arena_strdup(r->arena, why.text));
}

static void take(struct run *r, struct candidate *c, bool front)
{
    struct run_peer *p = &r->peers[r->peer_count++];

    *p = (struct run_peer){.snapshot = c->snapshot, .front = front};
    p->of = (struct run_source){.target = c->target,
                                .kind = tw_service_kind_find(c->target.type, NULL),
                                .snapshot = &p->snapshot};
    run_choose_uid(r, &p->of);
    c->taken = true;
}

/* One round: whoever a member calls, or who calls the main target or a front of it; more
 * rounds follow while there is somebody new. */
static bool widen(struct run *r, struct candidate *all, size_t n)
{
    for (size_t i = 0; i < n && r->peer_count < RUN_PEERS; i++) {
        struct candidate *c = &all[i];
        bool called = false, caller = false;

        if (!c->known || c->taken)
            continue;
        for (size_t k = 0; k <= r->peer_count; k++) {
            bool leads = k == 0 || r->peers[k - 1].front;

            called |= calls(member(r, k), &c->snapshot);
            caller |= leads && calls(&c->snapshot, member(r, k));
        }
        if (!called && !caller)
            continue;
        take(r, c, caller && !called);
        return true;
    }
    return false;
}

static void find_members(struct run *r)
{
    struct candidate *all;
    size_t n = 0;

    if (r->peer_count || r->targets.targets.count < 2)
        return;
    all = tw_arena_alloc(r->arena, r->targets.targets.count * sizeof *all);
    for (size_t i = 0; i < r->targets.targets.count; i++) {
        const struct tw_target *t = &r->targets.targets.items[i];

        if (tw_streq(t->environment, r->target.environment) &&
            !tw_streq(t->name, r->target.name))
            look_at(r, &all[n++], t);
    }
    while (widen(r, all, n))
        ;
}

/* ---- stand-ins ---- */

struct standing {
    TW_ARRAY(const char *) addresses, protocols, own; /* own: those a link has to hold */
};

static void stand_for(struct run *r, const struct tw_neighbour *n, struct standing *local,
                      struct standing *far)
{
    const char *where = n->resolved ? n->resolved : n->address;
    struct standing *s;
    const char *one, *at;

    if (!where || !*where || *where == '/' || n->port <= 0)
        return;
    one = tw_arena_strndup(r->arena, where, strcspn(where, ", "));
    if (tw_streq(one, "localhost"))
        one = "127.0.0.1";
    if (!strpbrk(one, ".:") || strspn(one, "0123456789abcdefABCDEF.:") != strlen(one))
        return; /* a name that nothing resolves: the service says so itself */
    s = is_local(one) ? local : far;
    at = tw_arena_printf(r->arena, strchr(one, ':') ? "[%s]:%d" : "%s:%d", one, n->port);
    for (size_t i = 0; i < s->addresses.count; i++)
        if (tw_streq(s->addresses.items[i], at))
            return;
    TW_PUSH(r->arena, &s->addresses, at);
    TW_PUSH(r->arena, &s->protocols, n->protocol ? n->protocol : "tcp");
    TW_PUSH(r->arena, &s->own, one);
    differ(
        r,
        tw_arena_printf(r->arena, "%s at %s is stood in for",
                        n->name ? n->name : "a neighbour", at),
        "it answers with the status, size and time that the log tells, or with nothing; "
        "declare it as a target to have it cloned");
}

static int start_standin(struct run *r, enum tw_arm arm, const struct standing *s,
                         bool far, struct tw_err *err)
{
    struct run_standin *to = &r->standins[arm][far];
    const char *plan =
        tw_load_standin_plan(r->arena, run_entry(r).snapshot, s->addresses.items,
                             s->protocols.items, s->addresses.count);
    const char *argv[] = {RUN_CLIENT_PROGRAM, "_standin", plan, NULL};
    struct tw_sandbox_spec spec = {
        .id = r->id,
        .name =
            tw_arena_printf(r->arena, "%s-%s", far ? "far" : "near", tw_arm_names[arm]),
        .uid = r->uid ? r->uid : RUN_NOBODY,
        .gid = r->gid ? r->gid : RUN_NOBODY,
        .user_name = "twin",
        .hostname = "standin",
        .cpuset = r->all_cpus,
        .cpu_weight = 262144,
        .tmp_bytes = 1 << 20,
        .shm_bytes = 1 << 20,
        .seccomp = true};
    struct tw_sandbox_mount mount = {run_own_program(r), RUN_CLIENT_PROGRAM, false};
    struct tw_sandbox_link link = {.network = (int)arm, .address = PEER_ADDRESS};
    struct tw_process_spec p = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    int rc;

    if (!s->addresses.count || to->box || !tw_priv_is_root(r->priv))
        return 0;
    TW_PUSH(r->arena, &spec.mounts, mount);
    if (far) {
        for (size_t i = 0; i < s->own.count; i++)
            TW_PUSH(r->arena, &link.more, s->own.items[i]);
        TW_PUSH(r->arena, &spec.links, link);
    } else {
        spec.beside = tw_twin_sandbox(run_twin_of(r, arm));
    }
    rc = tw_sandbox_open(r->priv, &spec, &to->box, err);
    if (rc == 0)
        rc = tw_sandbox_start(to->box, &p, &to->handle, err);
    return rc < 0 ? tw_wrap(err, rc, "a stand-in for neighbours") : 0;
}

static int stand_in(struct run *r, struct tw_err *err)
{
    struct standing local = {0}, far = {0};
    int rc = 0;

    for (size_t i = 0; i <= r->peer_count; i++)
        for (size_t k = 0; k < member(r, i)->neighbours.count; k++)
            if (!is_cloned(r, &member(r, i)->neighbours.items[k]))
                stand_for(r, &member(r, i)->neighbours.items[k], &local, &far);
    for (int arm = 0; arm < TW_ARM_COUNT && rc == 0; arm++) {
        rc = start_standin(r, (enum tw_arm)arm, &local, false, err);
        if (rc == 0)
            rc = start_standin(r, (enum tw_arm)arm, &far, true, err);
    }
    return rc;
}

/* ---- clones of neighbours ---- */

static int open_peer(struct run *r, struct run_peer *p, size_t number, enum tw_arm arm,
                     struct tw_err *err)
{
    struct run_member *m = &p->arms[arm];
    const char *name = tw_arena_printf(r->arena, "peer%zu-%s", number, tw_arm_names[arm]);
    struct tw_twin_spec spec = {
        .id = r->id,
        .name = name,
        .arm = arm,
        .kind = p->of.kind,
        .snapshot = &p->snapshot,
        .uid = p->of.uid,
        .gid = p->of.gid,
        .memory_bytes = r->memory_bytes,
        .cpus = run_scale_peer_quota(r, p),
        .cpuset = r->all_cpus,
        .beside = tw_priv_is_root(r->priv) ? tw_twin_sandbox(run_twin_of(r, arm)) : NULL};
    struct tw_issues known = {0};
    int rc = tw_pool_clone(r->pool, p->of.seed, name, &m->clone, err);

    if (rc == 0)
        rc = p->of.kind->refresh(r->arena, &p->of.target, &p->snapshot, NULL,
                                 tw_clone_root(m->clone), p->of.uid, p->of.gid,
                                 arm == TW_BASELINE ? &r->differences : &known, err);
    if (rc == 0) {
        spec.clone_root = tw_clone_root(m->clone);
        rc = tw_twin_open(r->priv, &spec, &m->twin, err);
    }
    if (rc == 0)
        rc = run_scale_front(r, p, arm, err);
    return rc < 0 ? rc : tw_twin_start_begin(m->twin, TW_START_LOAD, err);
}

static int await_peer(struct run *r, struct run_peer *p, enum tw_arm arm,
                      struct tw_err *err)
{
    struct run_member *m = &p->arms[arm];
    struct tw_issues said = {0};
    int rc = tw_twin_start_finish(m->twin, tw_now_ns() + START_NS, &m->started, err);

    if (rc == 0 && m->started.ready && arm == TW_BASELINE && p->of.kind->complete)
        return p->of.kind->complete(r->arena, tw_twin_access(m->twin), &p->snapshot, err);
    if (rc < 0 || m->started.ready)
        return rc;
    p->of.kind->judge_start(r->arena, tw_twin_access(m->twin), m->started.log_from, NULL,
                            false, m->started.wait_status, &said);
    return tw_fail(err, -EIO, "the neighbour '%s' does not start in a twin: %s",
                   p->of.target.name,
                   said.list.count ? said.list.items[0].evidence : "it says nothing");
}

/* Whoever is called is there before whoever calls: a load balancer that finds nobody at its first
 * look takes seconds until it looks again. */
static int start_peers(struct run *r, bool fronts, struct tw_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < r->peer_count && rc == 0; i++) {
        if (r->peers[i].front != fronts || r->peers[i].arms[TW_BASELINE].twin)
            continue;
        for (int arm = 0; arm < TW_ARM_COUNT && rc == 0; arm++)
            rc = open_peer(r, &r->peers[i], i, (enum tw_arm)arm, err);
        for (int arm = 0; arm < TW_ARM_COUNT && rc == 0; arm++)
            rc = await_peer(r, &r->peers[i], (enum tw_arm)arm, err);
    }
    return rc < 0 ? tw_wrap(err, rc, "the path of '%s'", r->target.name) : 0;
}

size_t run_peer_boxes(const struct run *r, enum tw_arm arm, struct tw_sandbox **ret,
                      size_t room)
{
    size_t n = 0;

    for (size_t i = 0; i < r->peer_count && n < room; i++)
        if (r->peers[i].arms[arm].twin)
            ret[n++] = tw_twin_sandbox(r->peers[i].arms[arm].twin);
    for (size_t far = 0; far < 2 && n < room; far++)
        if (r->standins[arm][far].box)
            ret[n++] = r->standins[arm][far].box;
    return n + run_scale_boxes(r, arm, ret + n, room - n);
}

static bool is_counted(const struct tw_snapshot *s, const char *kind, const char *name)
{
    for (size_t i = 0; i < s->counters.count; i++)
        if (tw_streq(s->counters.items[i].kind, kind) && tw_streq(s->counters.items[i].name, name))
            return true;
    return false;
}

static double setting_of(const struct tw_snapshot *s, const char *name)
{
    const struct tw_setting *one = tw_snapshot_setting(s, name);
    const char *value = !one ? NULL : one->value ? one->value : one->boot_value;

    return value ? atof(value) : (double)NAN;
}

/* What a server takes is told to those who call it: their own host may not be able to read it. */
static void tell_limits(struct run *r)
{
    for (size_t i = 0; i < r->peer_count; i++) {
        const struct tw_neighbour *n = run_member_calls(r, 0, i + 1);
        const struct tw_snapshot *s = &r->peers[i].snapshot;
        double reserved = setting_of(s, "superuser_reserved_connections");
        double most = setting_of(s, "max_connections") - (reserved > 0 ? reserved : 0);

        if (!n || !r->peers[i].of.kind->conninfo || !(most > 0) ||
            is_counted(&r->snapshot, "server connections", n->name))
            continue;
        TW_PUSH(r->arena, &r->snapshot.counters,
                (struct tw_counter){.kind = "server connections",
                                    .name = n->name,
                                    .used = NAN,
                                    .limit = most,
                                    .per_s = NAN,
                                    .per_request = NAN,
                                    .source = "max_connections of the server"});
    }
}

int run_peers(struct run *r, struct tw_err *err)
{
    int rc = 0;

    if (!r->snapshot.neighbours.count && r->targets.targets.count < 2)
        return 0;
    find_members(r);
    tell_limits(r);
    for (size_t i = 0; i < r->peer_count && rc == 0; i++)
        if (!r->peers[i].of.seed)
            rc = run_take_seed(r, &r->peers[i].of, err);
    if (rc == 0)
        rc = stand_in(r, err);
    return rc == 0 ? start_peers(r, false, err)
                   : tw_wrap(err, rc, "the path of '%s'", r->target.name);
}

int run_fronts(struct run *r, struct tw_err *err)
{
    return start_peers(r, true, err);
}

/* Members of an arm share its cores: one that ran where the generator does would have its arm look
 * slower, or faster, for as long as the scheduler leaves it there. */
void run_peers_pin(struct run *r, const char *cpus)
{
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        for (size_t i = 0; i < r->peer_count; i++)
            (void)tw_sandbox_pin(tw_twin_sandbox(r->peers[i].arms[arm].twin), cpus, NULL);
        for (int far = 0; far < 2; far++)
            if (r->standins[arm][far].box)
                (void)tw_sandbox_pin(r->standins[arm][far].box, cpus, NULL);
    }
}

void run_peers_done(struct run *r)
{
    for (size_t i = 0; i < r->peer_count; i++)
        for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
            struct run_member *m = &r->peers[i].arms[arm];

            tw_twin_close(m->twin);
            if (m->clone)
                (void)tw_pool_clone_remove(m->clone, NULL);
            *m = (struct run_member){0};
        }
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        for (int far = 0; far < 2; far++) {
            tw_sandbox_close(r->standins[arm][far].box);
            r->standins[arm][far] = (struct run_standin){0};
        }
}

/* ---- at every hop ---- */

void run_peers_note(struct run *r)
{
    for (size_t i = 0; i < r->peer_count; i++)
        for (int arm = 0; arm < TW_ARM_COUNT; arm++)
            if (r->peers[i].arms[arm].twin)
                r->peers[i].log_from[arm] =
                    strlen(tw_twin_access(r->peers[i].arms[arm].twin)->log);
}

static bool says(const struct tw_issues *list, const char *code)
{
    for (size_t i = 0; i < list->list.count; i++)
        if (tw_streq(list->list.items[i].code, code))
            return true;
    return false;
}

void run_peers_judge(struct run *r)
{
    struct tw_arena *a = r->v.sim->arena;

    for (size_t i = 0; i < r->peer_count; i++) {
        struct run_peer *p = &r->peers[i];
        struct tw_issues said[TW_ARM_COUNT] = {{{0}}};

        for (int arm = 0;
             arm < TW_ARM_COUNT && p->of.kind->judge_log && p->arms[arm].twin; arm++)
            p->of.kind->judge_log(a, tw_twin_access(p->arms[arm].twin), p->log_from[arm],
                                  &said[arm]);
        for (size_t k = 0; k < said[TW_CANDIDATE].list.count; k++) {
            struct tw_issue *one = &said[TW_CANDIDATE].list.items[k];

            if (says(&said[TW_BASELINE], one->code))
                continue;
            one->title = tw_arena_printf(a, "at its neighbour '%s': %s",
                                         p->of.target.name, one->title);
            TW_PUSH(a, &r->v.issues.list, *one);
        }
    }
}
