/* A scaling change: limits of each instance, further instances behind the balancer that stands in
 * front of the target. They stand in the arm's network as services of one host do, each at a port of
 * its own, and the balancer's list of servers names them. */
#include "run_scale.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START_NS      (30 * TW_SEC_NS)
#define FEW           2 /* instances that run, where nobody asks for more */
#define LEAST_LIMIT   0.01
#define FIRST_PORT    20000

bool run_is_scaling(const struct run *r)
{
    const struct tw_change_type *type = tw_change_type_find(r->v.sim->plan.type, NULL);

    return type && type->sized;
}

/* ---- sizes ---- */

static int64_t least(int64_t a, int64_t b)
{
    return a > 0 && (b <= 0 || a < b) ? a : b;
}

static void size_arm(struct run *r, struct run_scale *s, enum tw_arm arm)
{
    int64_t host = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    int64_t memory = r->snapshot.memory_bytes;

    s->cores[arm] = r->snapshot.cpus > 0 ? r->snapshot.cpus : NAN;
    if (arm == TW_CANDIDATE && !isnan(s->change->cpus))
        s->cores[arm] = s->change->cpus;
    if (arm == TW_CANDIDATE && s->change->memory_bytes)
        memory = s->change->memory_bytes;
    s->given[arm] = isnan(s->cores[arm]) ? s->room : fmin(s->cores[arm], s->room);
    s->memory[arm] = least(memory, host);
    s->smaller[arm] = s->cores[arm] > s->room || memory > host;
    s->asked[arm] = s->running[arm] = 1;
    s->effective[arm] = 1;
}

void run_scale_begin(struct run *r)
{
    struct run_scale *s = r->v.scale;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (s || !run_is_scaling(r))
        return;
    s = r->v.scale = tw_alloc(sizeof *s);
    s->change = &r->v.sim->plan.scaling;
    s->room = cores > 1 ? (double)(cores - 1) : 1;
    s->shared = -1;
    s->connections_free = s->connections_most = NAN;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        size_arm(r, s, (enum tw_arm)arm);
}

int64_t run_scale_memory(const struct run *r, enum tw_arm arm, int64_t otherwise)
{
    return r->v.scale ? r->v.scale->memory[arm] : otherwise;
}

/* A quota only where it is less than the cores that an arm has anyway. */
double run_scale_quota(const struct run *r, enum tw_arm arm, double otherwise)
{
    const struct run_scale *s = r->v.scale;

    if (!s)
        return otherwise;
    return s->given[arm] < s->room ? s->given[arm] : 0;
}

double run_scale_cores(const struct run *r, enum tw_arm arm)
{
    return r->v.scale ? r->v.scale->given[arm] : r->cpus;
}

double scale_cores_of_peer(const struct run *r, const struct run_peer *p)
{
    (void)r;
    return p->snapshot.cpus > 0 ? p->snapshot.cpus : INFINITY;
}

double run_scale_peer_quota(const struct run *r, const struct run_peer *p)
{
    double cores = r->v.scale ? scale_cores_of_peer(r, p) : INFINITY;

    return r->v.scale && cores < r->v.scale->room ? cores : 0;
}

/* ---- the balancer ---- */

static struct run_peer *find_balancer(struct run *r, int *ret_today)
{
    for (size_t i = 0; i < r->peer_count; i++) {
        struct run_peer *p = &r->peers[i];
        const char *text, *path;

        if (p->front && p->of.kind->spread &&
            p->of.kind->spread(r->arena, &p->snapshot, NULL, r->snapshot.port, NULL, 0,
                               ret_today, &path, &text))
            return p;
    }
    return NULL;
}

static bool is_used(const struct run *r, int port)
{
    for (size_t i = 0; i <= r->peer_count; i++) {
        const struct tw_snapshot *s = i ? &r->peers[i - 1].snapshot : &r->snapshot;

        for (size_t k = 0; k < s->endpoints.count; k++)
            if (s->endpoints.items[k].port == port)
                return true;
        for (size_t k = 0; k < s->neighbours.count; k++)
            if (s->neighbours.items[k].port == port)
                return true;
    }
    return false;
}

static void choose_ports(const struct run *r, struct run_scale *s)
{
    int port = FIRST_PORT;

    s->ports[0] = r->snapshot.port;
    for (int i = 1; i < SCALE_INSTANCES; i++) {
        do
            port++;
        while (is_used(r, port));
        s->ports[i] = port;
    }
}

/* The front of an arm, before it starts: its list names the instances that run there. */
int run_scale_front(struct run *r, const struct run_peer *p, enum tw_arm arm, struct tw_err *err)
{
    struct run_scale *s = r->v.scale;
    struct tw_twin *twin = p->arms[arm].twin;
    struct tw_issues unused = {0};
    struct tw_plan plan = {.type = "scaling"};
    struct tw_plan_step step = {.kind = TW_STEP_FILE, .origin = "further instances"};
    int today;

    if (!s || s->balancer != p)
        return 0;
    if (!p->of.kind->spread(r->arena, &p->snapshot, tw_twin_access(twin), s->ports[0], s->ports,
                            (size_t)s->running[arm], &today, &step.path, &step.value))
        return 0;
    TW_PUSH(r->arena, &plan.steps, step);
    return tw_inject(r->arena, twin, &plan, &unused, err);
}

/* ---- further instances ---- */

static void at_port(struct run *r, struct scale_instance *i, int port)
{
    size_t n = r->snapshot.endpoints.count;
    struct tw_endpoint *ends = tw_arena_alloc(r->v.sim->arena, (n + 1) * sizeof *ends);

    i->snapshot = r->snapshot;
    for (size_t k = 0; k < n; k++) {
        ends[k] = r->snapshot.endpoints.items[k];
        if (ends[k].port == r->snapshot.port)
            ends[k].port = port;
    }
    i->snapshot.endpoints.items = ends;
    i->snapshot.port = port;
}

static int open_instance(struct run *r, enum tw_arm arm, int number, struct tw_err *err)
{
    struct run_scale *s = r->v.scale;
    struct scale_instance *i = &s->more[arm][number - 1];
    const struct tw_plan *plan = arm == TW_CANDIDATE ? &r->v.sim->plan : NULL;
    const char *name =
        tw_arena_printf(r->v.sim->arena, "more%d-%s", number, tw_arm_names[arm]);
    struct tw_twin_spec spec = {.id = r->id,
                                .name = name,
                                .arm = arm,
                                .kind = r->kind,
                                .snapshot = &i->snapshot,
                                .plan = plan,
                                .uid = r->uid,
                                .gid = r->gid,
                                .memory_bytes = s->memory[arm],
                                .cpus = run_scale_quota(r, arm, 0),
                                .cpuset = r->all_cpus,
                                .beside = tw_twin_sandbox(run_twin_of(r, arm))};
    struct tw_issues known = {0};
    int rc = tw_pool_clone(r->pool, r->seed, name, &i->member.clone, err);

    at_port(r, i, s->ports[number]);
    if (rc == 0)
        rc = r->kind->refresh(r->arena, &r->target, &r->snapshot, plan,
                              tw_clone_root(i->member.clone), r->uid, r->gid, &known, err);
    if (rc == 0) {
        spec.clone_root = tw_clone_root(i->member.clone);
        rc = tw_twin_open(r->priv, &spec, &i->member.twin, err);
    }
    s->more_count[arm] = rc == 0 ? number : s->more_count[arm];
    if (rc == 0 && plan)
        rc = tw_inject(r->v.sim->arena, i->member.twin, plan, &known, err);
    if (rc == 0)
        rc = r->kind->move_port(r->v.sim->arena, tw_twin_access(i->member.twin), s->ports[0],
                                s->ports[number], err);
    return rc < 0 ? rc : tw_twin_start_begin(i->member.twin, TW_START_LOAD, err);
}

static int await_instance(struct run *r, enum tw_arm arm, int number, struct tw_err *err)
{
    struct scale_instance *i = &r->v.scale->more[arm][number - 1];
    struct tw_issues said = {0};
    int rc = tw_twin_start_finish(i->member.twin, tw_now_ns() + START_NS, &i->member.started,
                                  err);

    if (rc < 0)
        return rc;
    /* waits until it listens at its own port: the network has others that do */
    r->kind->judge_start(r->v.sim->arena, tw_twin_access(i->member.twin),
                         i->member.started.log_from, NULL, i->member.started.ready,
                         i->member.started.wait_status, &said);
    for (size_t k = 0; k < said.list.count; k++)
        if (!i->member.started.ready || said.list.items[k].at_least == TW_BLOCK)
            return tw_fail(err, -EIO, "instance %d of the %s does not serve: %s: %s",
                           number + 1, tw_arm_names[arm], said.list.items[k].title,
                           said.list.items[k].evidence);
    return 0;
}

/* ---- how many run ---- */

static const char *why_alone(struct run *r, int today)
{
    struct run_scale *s = r->v.scale;

    if (!tw_priv_is_root(r->priv))
        return "further instances need a network of their own, and that root";
    if (!s->balancer)
        return "no balancer in front of it is a target: declare the one that spreads its "
               "requests (--type haproxy or nginx, with its servers in a list)";
    (void)today;
    if (!r->kind->move_port)
        return tw_arena_printf(r->arena, "a further '%s' cannot stand beside the first here",
                               r->kind->name);
    return NULL;
}

static void choose_counts(struct run *r, struct run_scale *s)
{
    int today = 1, most = s->change->measured_instances ? s->change->measured_instances : FEW;

    s->balancer = find_balancer(r, &today);
    s->asked[TW_BASELINE] = s->balancer && today > 0 ? today : 1;
    s->asked[TW_CANDIDATE] =
        s->change->instances ? s->change->instances : s->asked[TW_BASELINE];
    /* pairs of short slots say little of an arm whose quota begins anew in each of them */
    s->own = run_scale_quota(r, TW_BASELINE, 0) > 0 || run_scale_quota(r, TW_CANDIDATE, 0) > 0 ||
             s->smaller[TW_BASELINE] || s->smaller[TW_CANDIDATE];
    if (s->asked[TW_CANDIDATE] == 1 && s->asked[TW_BASELINE] == 1)
        return;
    s->alone_because = why_alone(r, today);
    if (!s->alone_because)
        s->running[TW_CANDIDATE] = s->asked[TW_CANDIDATE] < most ? s->asked[TW_CANDIDATE] : most;
    s->own = true;
}

int run_scale_instances(struct run *r, struct tw_err *err)
{
    struct run_scale *s = r->v.scale;
    int rc = 0;

    if (!s || !r->members[RUN_CANDIDATE].started.ready)
        return 0;
    choose_ports(r, s);
    choose_counts(r, s);
    for (int i = 1; i < s->running[TW_CANDIDATE] && rc == 0; i++)
        rc = open_instance(r, TW_CANDIDATE, i, err);
    for (int i = 1; i < s->running[TW_CANDIDATE] && rc == 0; i++)
        rc = await_instance(r, TW_CANDIDATE, i, err);
    return rc < 0 ? tw_wrap(err, rc, "further instances of '%s'", r->target.name) : 0;
}

/* ---- their sandboxes ---- */

size_t run_scale_boxes(const struct run *r, enum tw_arm arm, struct tw_sandbox **ret, size_t room)
{
    const struct run_scale *s = r->v.scale;
    size_t n = 0;

    for (int i = 0; s && i < s->more_count[arm] && n < room; i++)
        ret[n++] = tw_twin_sandbox(s->more[arm][i].member.twin);
    return n;
}

int scale_limit(struct run *r, enum tw_arm arm, double cores, struct tw_err *err)
{
    struct tw_sandbox *boxes[SCALE_INSTANCES];
    size_t n = run_scale_boxes(r, arm, boxes, SCALE_INSTANCES - 1);
    double quota = cores < r->v.scale->room ? fmax(cores, LEAST_LIMIT) : 0;
    int rc = 0;

    boxes[n++] = tw_twin_sandbox(run_twin_of(r, arm));
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = tw_sandbox_limit(boxes[i], r->v.scale->memory[arm], quota, err);
    return rc;
}

void run_scale_pin(struct run *r, const char *cpus)
{
    const struct run_scale *s = r->v.scale;

    for (int arm = 0; s && arm < TW_ARM_COUNT; arm++)
        for (int i = 0; i < s->more_count[arm]; i++)
            (void)tw_sandbox_pin(tw_twin_sandbox(s->more[arm][i].member.twin), cpus, NULL);
}

/* More than an arm's own cores are limited to: then all of the host are theirs. */
bool run_scale_is_wide(const struct run *r)
{
    const struct run_scale *s = r->v.scale;
    double most = 0;

    for (int arm = 0; s && arm < TW_ARM_COUNT; arm++)
        most = fmax(most, s->given[arm] * s->running[arm]);
    return s && most > s->room;
}

void run_scale_done(struct run *r)
{
    struct run_scale *s = r->v.scale;

    for (int arm = 0; s && arm < TW_ARM_COUNT; arm++)
        for (int i = 0; i < SCALE_INSTANCES; i++) {
            struct run_member *m = &s->more[arm][i].member;

            tw_twin_close(m->twin);
            if (m->clone)
                (void)tw_pool_clone_remove(m->clone, NULL);
            *m = (struct run_member){0};
        }
    free(s);
    r->v.scale = NULL;
}

/* The candidate did not start: said by itself, as nobody else judges it. */
void run_scale_judge(struct run *r)
{
    struct run_member *m = &r->members[RUN_CANDIDATE];
    struct tw_issues known = {0}, found = {0};

    if (!m->started.ready) {
        r->kind->judge_start(r->v.sim->arena, tw_twin_access(m->twin), m->started.log_from,
                             &r->v.sim->plan, false, m->started.wait_status, &r->v.issues);
        return;
    }
    if (!r->kind->judge_files)
        return;
    r->kind->judge_files(r->v.sim->arena, tw_twin_access(run_twin_of(r, TW_BASELINE)),
                         &r->v.sim->plan, &known);
    r->kind->judge_files(r->v.sim->arena, tw_twin_access(m->twin), &r->v.sim->plan, &found);
    for (size_t i = 0; i < found.list.count; i++) {
        bool old = false;

        for (size_t k = 0; k < known.list.count; k++)
            old |= tw_streq(known.list.items[k].code, found.list.items[i].code) &&
                   tw_streq(known.list.items[k].evidence, found.list.items[i].evidence);
        if (!old)
            TW_PUSH(r->v.sim->arena, &r->v.issues.list, found.list.items[i]);
    }
}
