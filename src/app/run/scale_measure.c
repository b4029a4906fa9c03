/* What one and few instances tell: closed loops for the CPU that a request needs at each station, and
 * open ones for its latency. Rates under a quota of CPU depend on where in its period a slot begins,
 * CPU seconds per request do not; so capacities are made from these (docs/internals/scaling.md). */
#include "run_scale.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNIT_LEAST_S 0.30
#define UNIT_MOST_S  4.0
#define SOAK_FROM_S  1.0  /* longer slots come after a soak: what a quota saved up is spent */
#define SOAK_S       0.3
#define EACH         4    /* clients of a closed loop for each instance: enough to keep it busy */
#define EACH_LIFTED  16
#define SETTLE_S     3.0  /* all that is begun is answered: CPU and answers are of the same requests */
#define TURNS        2    /* slots of each experiment */
#define OPEN_REQUESTS 25.0 /* of an open slot at least … */
#define OPEN_MOST    1.5  /* … within so many units */
#define OPEN_LEAST   0.7
#define SATURATED    0.85
#define SHRINK       0.6  /* of what the shared station used: it is the limit then, surely */
#define LEAST_ERROR  0.01

static const double levels[] = {0.35, 0.6, 0.85};

/* ---- slots ---- */

static void freeze_other(struct run *r, enum tw_arm arm)
{
    for (int a = 0; a < TW_ARM_COUNT; a++) {
        struct tw_sandbox *boxes[RUN_BOXES];
        size_t n = run_peer_boxes(r, (enum tw_arm)a, boxes, RUN_BOXES);
        bool frozen = (enum tw_arm)a != arm;

        (void)tw_sandbox_freeze(tw_twin_sandbox(run_twin_of(r, (enum tw_arm)a)), frozen, NULL);
        for (size_t i = 0; i < n; i++)
            (void)tw_sandbox_freeze(boxes[i], frozen, NULL);
    }
}

static void thaw_all(struct run *r)
{
    for (int a = 0; a < TW_ARM_COUNT; a++) {
        struct tw_sandbox *boxes[RUN_BOXES];
        size_t n = run_peer_boxes(r, (enum tw_arm)a, boxes, RUN_BOXES);

        (void)tw_sandbox_freeze(tw_twin_sandbox(run_twin_of(r, (enum tw_arm)a)), false, NULL);
        for (size_t i = 0; i < n; i++)
            (void)tw_sandbox_freeze(boxes[i], false, NULL);
    }
}

static double cpu_of(struct tw_sandbox *box)
{
    struct tw_usage u;

    return box && tw_sandbox_usage(box, &u, NULL) == 0 ? u.cpu_s : NAN;
}

/* CPU used so far at each station: the instances together are the first. */
static void read_cpu(const struct run *r, enum tw_arm arm, double ret[SCALE_STATIONS])
{
    struct tw_sandbox *boxes[SCALE_INSTANCES];
    size_t n = run_scale_boxes(r, arm, boxes, SCALE_INSTANCES);

    ret[0] = cpu_of(tw_twin_sandbox(run_twin_of(r, arm)));
    for (size_t i = 0; i < n; i++)
        ret[0] += cpu_of(boxes[i]);
    for (size_t i = 0; i < r->peer_count; i++)
        ret[1 + i] = r->peers[i].arms[arm].twin
                         ? cpu_of(tw_twin_sandbox(r->peers[i].arms[arm].twin))
                         : NAN;
}

/* Seconds that the cores of an arm had nothing to do, since the host started. */
static double idle_s(const struct run *r)
{
    tw_auto_free char *text = NULL;
    double all = 0;

    if (tw_read_file(AT_FDCWD, "/proc/stat", 1 << 20, &text, NULL, NULL) < 0)
        return NAN;
    for (int cpu = 0; cpu < (int)r->v.scale->room; cpu++) {
        tw_auto_free char *name = tw_strf("\ncpu%d ", cpu);
        const char *line = strstr(text, name);
        unsigned long long busy[3], idle, wait;

        if (!line || sscanf(line + strlen(name), "%llu %llu %llu %llu %llu", &busy[0], &busy[1],
                            &busy[2], &idle, &wait) != 5)
            return NAN;
        all += (double)(idle + wait) / (double)sysconf(_SC_CLK_TCK);
    }
    return all;
}

struct order {
    enum tw_arm arm;
    double rate_per_s, seconds, level;
    int clients; /* 0: all */
    uint64_t seed;
};

static int slot(struct run *r, const struct order *o, struct tw_slot *ret,
                double cpu[SCALE_STATIONS], struct tw_err *err)
{
    const struct tw_load_order order = {.arm = o->arm,
                                        .rate_per_s = o->rate_per_s,
                                        .clients = o->clients,
                                        .length_ns = (int64_t)(o->seconds * 1e9),
                                        .seed = o->seed,
                                        .keep_starts = !isnan(o->rate_per_s),
                                        .settle_s = SETTLE_S};
    double before[SCALE_STATIONS];
    int rc;

    if (r->options->cancel && *r->options->cancel)
        return tw_fail(err, -ECANCELED, "measuring was cancelled");
    *ret = (struct tw_slot){.arm = o->arm,
                            .pair = -1,
                            .level = o->level,
                            .offered_per_s = o->rate_per_s,
                            .throttled_s = NAN,
                            .starved_s = NAN,
                            .wal_bytes = NAN,
                            .read_bytes = NAN,
                            .write_bytes = NAN,
                            .temp_bytes = NAN,
                            .memory_bytes = NAN,
                            .anon_bytes = NAN,
                            .foreign_cpu_s = NAN};
    read_cpu(r, o->arm, before);
    rc = tw_load_slot(r->v.load, &order, ret, err);
    if (rc < 0)
        return rc;
    read_cpu(r, o->arm, cpu);
    for (size_t i = 0; i < SCALE_STATIONS; i++)
        cpu[i] = i <= r->peer_count ? cpu[i] - before[i] : NAN;
    ret->arm = o->arm;
    ret->level = o->level;
    ret->offered_per_s = o->rate_per_s;
    ret->cpu_s = cpu[0];
    if (!ret->clients)
        ret->clients = run_connections(r);
    tw_log(TW_LOG_DEBUG, "slot of the %s: %.2f s, offered %.5g, answered %lld, failed %lld, late %lld, cpu %.3f s",
           tw_arm_names[o->arm], o->seconds, o->rate_per_s, (long long)ret->done,
           (long long)ret->errors, (long long)ret->late, cpu[0]);
    return 0;
}

static void slot_done(struct tw_slot *s)
{
    tw_hist_free(s->latency);
    free((void *)(uintptr_t)s->starts_ns);
}

/* From the first request to the last answer: at the end of a slot all that is under way may be nearly
 * done or hardly begun, and is a good part of a short one. */
static void remember(struct scale_seen *seen, const struct tw_slot *s, double seconds,
                     const double cpu[SCALE_STATIONS])
{
    int k = seen->slots;

    if (k == SCALE_SLOTS || s->done <= 0)
        return;
    seen->seconds[k] = seconds;
    seen->rate_per_s[k] = (double)s->done / seconds;
    for (size_t i = 0; i < SCALE_STATIONS; i++) {
        seen->cpu_s[i][k] = cpu[i];
        seen->demand_s[i][k] = cpu[i] / (double)s->done;
    }
    seen->slots++;
}

static void keep(struct run *r, struct tw_slot *s, int pair)
{
    struct tw_measured *m = &r->v.trial.measured;

    s->pair = pair;
    m->requests[s->arm] += pair >= 0 ? s->done : 0;
    m->answered[s->arm] += s->done;
    m->seconds += tw_seconds(s->length_ns);
    TW_PUSH(r->v.sim->arena, &r->v.trial.slots, *s);
}

static int clients_for(const struct run *r, enum scale_experiment which, enum tw_arm arm)
{
    const struct run_scale *s = r->v.scale;
    int each = which >= SCALE_LIFTED ? EACH_LIFTED : s->running[arm] > 2 ? SCALE_EACH : EACH;
    int n = each * s->running[arm], most = run_connections(r);

    return n > most ? most : n;
}

/* A closed slot, from the state in which a saturated service is for good. */
static int closed(struct run *r, enum scale_experiment which, enum tw_arm arm, double seconds,
                  bool keep_it, struct tw_err *err)
{
    struct order o = {arm, NAN, SOAK_S, NAN, clients_for(r, which, arm), 11 + (uint64_t)which};
    double cpu[SCALE_STATIONS];
    struct tw_slot s;
    struct scale_seen *seen = &r->v.scale->seen[which];
    double idle, took;
    int64_t begun;
    int rc = 0;

    freeze_other(r, arm);
    if (seconds >= SOAK_FROM_S)
        rc = slot(r, &o, &s, cpu, err);
    if (rc == 0 && seconds >= SOAK_FROM_S)
        slot_done(&s);
    o.seconds = seconds;
    o.seed += 100 + (uint64_t)r->v.scale->seen[which].slots;
    begun = tw_now_ns();
    idle = idle_s(r);
    if (rc == 0)
        rc = slot(r, &o, &s, cpu, err);
    if (rc < 0)
        return rc;
    took = tw_seconds(tw_now_ns() - begun);
    if (seen->slots < SCALE_SLOTS)
        seen->idle[seen->slots] = (idle_s(r) - idle) / took;
    remember(seen, &s, took, cpu);
    if (keep_it)
        keep(r, &s, -1);
    else
        slot_done(&s);
    return 0;
}

/* ---- what the slots say ---- */

static double median_of(const double *x, int n)
{
    double copy[SCALE_SLOTS] = {0};

    memcpy(copy, x, (size_t)n * sizeof *copy);
    return n ? tw_median(copy, (size_t)n) : NAN;
}

static double demand_of(const struct scale_seen *seen, size_t station, double *ret_error)
{
    double logs[SCALE_SLOTS] = {0};
    int n = seen->slots;

    for (int k = 0; k < n; k++)
        logs[k] = log(seen->demand_s[station][k]);
    if (ret_error)
        *ret_error = fmax(LEAST_ERROR, n > 1 ? tw_sd(logs, (size_t)n) / sqrt(n) : 0.05);
    return median_of(seen->demand_s[station], n);
}

static double used_of(const struct scale_seen *seen, size_t station)
{
    double shares[SCALE_SLOTS] = {0};

    for (int k = 0; k < seen->slots; k++)
        shares[k] = seen->cpu_s[station][k] / seen->seconds[k];
    return median_of(shares, seen->slots);
}

static double rate_of(const struct scale_seen *seen)
{
    return median_of(seen->rate_per_s, seen->slots);
}

/* Rates of slots that are long against the period of a quota and came after a soak. */
double scale_rate(const struct run_scale *s)
{
    const struct scale_seen *few = &s->seen[SCALE_FEW];

    return few->slots && few->seconds[0] >= SOAK_FROM_S ? rate_of(few) : NAN;
}

/* ---- the limit moved to what they share ---- */

/* The shared station that is to be the limit next: the one that serves least, where it is known what it
 * has; not the balancer, whose work is little and whose limit nobody sets. */
static int weakest(const struct run *r)
{
    const struct run_scale *s = r->v.scale;
    double least_rate = INFINITY;
    int found = -1;

    for (size_t i = 0; i < r->peer_count; i++) {
        double cores = scale_cores_of_peer(r, &r->peers[i]);
        double demand = demand_of(&s->seen[SCALE_LIFTED], 1 + i, NULL);

        if (r->peers[i].front || !(demand > 1e-6) || !(cores / demand < least_rate))
            continue;
        least_rate = cores / demand;
        found = (int)i;
    }
    return found;
}

static int limit_peer(struct run *r, int peer, double cores, struct tw_err *err)
{
    struct run_peer *p = &r->peers[peer];

    return tw_sandbox_limit(tw_twin_sandbox(p->arms[TW_CANDIDATE].twin), r->memory_bytes, cores,
                            err);
}

/* Instances without their limit bring more to what they share than they ever will; then that gets less
 * than it used, and is the limit: what a request needs of it when it is, is seen and not assumed. */
static int move_limit(struct run *r, double seconds, struct tw_err *err)
{
    struct run_scale *s = r->v.scale;
    int rc = scale_limit(r, TW_CANDIDATE, INFINITY, err);
    double cores;

    for (int k = 0; k < TURNS && rc == 0; k++)
        rc = closed(r, SCALE_LIFTED, TW_CANDIDATE, seconds / TURNS, false, err);
    s->shared = rc == 0 ? weakest(r) : -1;
    if (rc == 0 && s->shared >= 0) {
        cores = SHRINK * used_of(&s->seen[SCALE_LIFTED], 1 + (size_t)s->shared);
        cores = fmin(cores, scale_cores_of_peer(r, &r->peers[s->shared]));
        rc = cores >= 0.02 ? limit_peer(r, s->shared, cores, err) : -ENODATA;
        for (int k = 0; k < TURNS && rc == 0; k++)
            rc = closed(r, SCALE_SHARED, TW_CANDIDATE, seconds, false, err);
        (void)limit_peer(r, s->shared, run_scale_peer_quota(r, &r->peers[s->shared]), NULL);
        if (rc == -ENODATA) {
            s->shared = -1;
            rc = 0;
        }
    }
    (void)scale_limit(r, TW_CANDIDATE, s->given[TW_CANDIDATE], NULL);
    return rc;
}

/* ---- the whole ---- */

static double unit_s(const struct run *r)
{
    return fmin(fmax(r->v.sim->plan.budget_s / 10, UNIT_LEAST_S), UNIT_MOST_S);
}

int scale_measure(struct run *r, struct tw_err *err)
{
    struct run_scale *s = r->v.scale;
    double seconds = unit_s(r);
    int rc = 0;

    s->clients = run_connections(r);
    for (int k = 0; k < TURNS && rc == 0; k++) {
        rc = closed(r, SCALE_ONE, TW_BASELINE, seconds, s->own, err);
        if (rc == 0)
            rc = closed(r, SCALE_FEW, TW_CANDIDATE, seconds, s->own, err);
    }
    if (rc == 0 && r->peer_count && s->own)
        rc = move_limit(r, seconds, err);
    return rc;
}

static int open_pair(struct run *r, int pair, double level, const double capacity[TW_ARM_COUNT],
                     struct tw_err *err)
{
    int rc = 0;

    for (int k = 0; k < TW_ARM_COUNT && rc == 0; k++) {
        enum tw_arm arm = (enum tw_arm)((k + pair) % TW_ARM_COUNT);
        double rate = level * capacity[arm];
        double length = fmin(fmax(OPEN_LEAST * unit_s(r), OPEN_REQUESTS / rate),
                             OPEN_MOST * unit_s(r));
        struct order o = {arm, rate, length, level, 0, 1000 + (uint64_t)pair};
        double cpu[SCALE_STATIONS];
        struct tw_slot s;

        freeze_other(r, arm);
        rc = slot(r, &o, &s, cpu, err);
        if (rc == 0)
            keep(r, &s, pair);
    }
    return rc;
}

bool run_scale_is_own(const struct run *r)
{
    return r->v.scale && r->v.scale->own;
}

int run_scale_trial(struct run *r, struct tw_err *err)
{
    struct run_scale *s = r->v.scale;
    struct tw_measured *m = &r->v.trial.measured;
    int64_t begun = tw_now_ns();
    double capacity[TW_ARM_COUNT];
    struct tw_slot warm;
    double cpu[SCALE_STATIONS];
    int rc = 0, pair = 0;

    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        r->v.trial.memory_base_bytes[arm] = r->v.trial.memory_per_connection_bytes[arm] =
            r->v.trial.cold_s[arm] = NAN;
    m->noise_floor = m->generator_share = NAN;
    for (int arm = 0; arm < TW_ARM_COUNT && rc == 0; arm++) {
        struct order o = {(enum tw_arm)arm, NAN, unit_s(r), NAN, EACH * s->running[arm], 5};

        freeze_other(r, (enum tw_arm)arm);
        rc = slot(r, &o, &warm, cpu, err);
        if (rc == 0)
            slot_done(&warm);
    }
    if (rc == 0)
        rc = scale_measure(r, err);
    if (rc == 0)
        scale_model(r);
    for (int arm = 0; arm < TW_ARM_COUNT && rc == 0; arm++) {
        capacity[arm] = scale_capacity_now(r, (enum tw_arm)arm);
        m->capacity_per_s[arm] = rate_of(&s->seen[arm == TW_BASELINE ? SCALE_ONE : SCALE_FEW]);
    }
    if (rc == 0 && !(capacity[TW_BASELINE] > 0 && capacity[TW_CANDIDATE] > 0))
        rc = tw_fail(err, -ENODATA, "no request of the load was answered");
    for (size_t i = 0; i < TURNS * TW_COUNT_OF(levels) && rc == 0; i++)
        rc = open_pair(r, pair++, levels[i % TW_COUNT_OF(levels)], capacity, err);
    thaw_all(r);
    m->pairs = pair;
    m->seconds = tw_seconds(tw_now_ns() - begun);
    m->stopped_because = "one and few instances were measured";
    (void)tw_load_failures(r->v.load, r->v.sim->arena, &r->v.trial.failures, NULL);
    return rc;
}

/* ---- demands into a model ---- */

static void station_fill(struct run *r, enum tw_arm arm, size_t i)
{
    struct run_scale *s = r->v.scale;
    enum scale_experiment from = arm == TW_BASELINE ? SCALE_ONE : SCALE_FEW;
    struct tw_size_station *to = &s->stations[arm][i];

    *to = (struct tw_size_station){
        .name = i ? r->peers[i - 1].of.target.name : r->target.name,
        .replicated = i == 0,
        .cores = i ? scale_cores_of_peer(r, &r->peers[i - 1]) : s->cores[arm],
        .demand_full_s = NAN};
    if (isnan(to->cores))
        to->cores = s->room;
    to->demand_s = demand_of(&s->seen[from], i, &to->error);
    if (s->shared >= 0 && i == 1 + (size_t)s->shared)
        to->demand_full_s = demand_of(&s->seen[SCALE_SHARED], i, NULL);
    if (!(to->demand_s > 0))
        to->demand_s = 0;
}

static bool is_saturated(const struct run *r, const struct scale_seen *seen, size_t i, int n,
                         double given)
{
    double has = i ? fmin(scale_cores_of_peer(r, &r->peers[i - 1]), r->v.scale->room) : given * n;

    return used_of(seen, i) >= SATURATED * has;
}

/* CPU was there for the asking and yet it went no faster: something else holds it (locks, a pool, too
 * few clients), and more CPU or more instances will not help. CPU that others of this host took says
 * nothing of that kind. */
static double other_limit(const struct run *r)
{
    const struct run_scale *s = r->v.scale;
    const struct scale_seen *seen = &s->seen[SCALE_LIFTED];
    double all = 0;

    if (!seen->slots)
        return NAN;
    for (size_t i = 0; i <= r->peer_count; i++) {
        if (is_saturated(r, seen, i, s->running[TW_CANDIDATE], s->room))
            return NAN;
        all += used_of(seen, i);
    }
    if (all >= SATURATED * s->room ||
        !(median_of(seen->idle, seen->slots) >= (1 - SATURATED) * s->room))
        return NAN;
    return rate_of(seen);
}

void scale_model(struct run *r)
{
    struct run_scale *s = r->v.scale;
    double share = 0, error = 0;

    s->station_count = 1 + r->peer_count;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        for (size_t i = 0; i < s->station_count; i++)
            station_fill(r, (enum tw_arm)arm, i);
    if (s->running[TW_CANDIDATE] > 1 &&
        fabs(s->given[TW_CANDIDATE] - s->given[TW_BASELINE]) < 1e-9)
        tw_size_contention(s->stations[TW_BASELINE][0].demand_s,
                           s->stations[TW_BASELINE][0].error,
                           s->stations[TW_CANDIDATE][0].demand_s,
                           s->stations[TW_CANDIDATE][0].error, &share, &error);
    share /= fmax(1, s->running[TW_CANDIDATE] - 1);
    error /= fmax(1, s->running[TW_CANDIDATE] - 1);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        /* demands of few have what they cost each other in them already */
        double with = 1 + share * (s->running[arm] - 1);

        s->stations[arm][0].demand_s /= with;
        s->model[arm] = (struct tw_size_model){.stations = s->stations[arm],
                                               .count = s->station_count,
                                               .contention = share,
                                               .contention_error = error,
                                               .other_per_s = other_limit(r),
                                               .clients = s->clients};
    }
    s->has_model = s->stations[TW_BASELINE][0].demand_s > 0 &&
                   s->stations[TW_CANDIDATE][0].demand_s > 0;
}

/* As many clients as fill so many instances: a closed loop of fewer would be the limit itself. */
double scale_capacity(const struct run_scale *s, enum tw_arm arm, int instances)
{
    struct tw_size_model m = s->model[arm];

    if (!s->has_model)
        return NAN;
    m.clients = scale_clients(instances);
    return tw_size_capacity(&m, instances, NULL);
}

/* What runs here: with the limits that this host could give, on the cores that all of an arm share. */
double scale_capacity_now(const struct run *r, enum tw_arm arm)
{
    const struct run_scale *s = r->v.scale;
    struct tw_size_station here[SCALE_STATIONS];
    struct tw_size_model m = s->model[arm];
    double all = 0;

    if (!s->has_model)
        return NAN;
    for (size_t i = 0; i < m.count; i++) {
        here[i] = m.stations[i];
        here[i].cores = i ? fmin(here[i].cores, s->room) : s->given[arm];
        all += here[i].demand_s;
    }
    m.stations = here;
    return fmin(tw_size_capacity(&m, s->running[arm], NULL),
                run_scale_is_wide(r) ? INFINITY : s->room / all);
}
