/* The truth that predictions are held against: two real twins of a target, one changed,
 * loaded in turns for long. Shares the doors of pool, twin and load with the program,
 * nothing of the room that measures for it (trial) nor of the rooms that predict.
 *
 * usage: accuracy --state DIR --target T --program TWIN --set NAME=VALUE … --mix M …
 *                 [--seconds N] [--repetitions N] [--seed N]
 * prints one JSON object. Order of each repetition: blocks A B B A over 0.3 and 0.7 of
 * the smaller capacity and closed loop; both slots of a pair send the same requests at
 * the same times. */
#include "tw/change.h"
#include "tw/env.h"
#include "tw/inject.h"
#include "tw/load.h"
#include "tw/num.h"
#include "tw/pool.h"
#include "tw/sample.h"
#include "tw/twin.h"

#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOT_NS     TW_SEC_NS /* the shortest that is called truth */
#define START_NS    (60 * TW_SEC_NS)
#define CONNECTIONS 8
#define WARM_STEPS  10
#define WARM_LEVEL  0.04 /* a climb of less a step is none */
#define LAG_LEAST_S 1e-3
#define LOADS       3
#define REPETITIONS 8
#define CLOSED      (LOADS - 1)
#define LEVEL       0.90 /* of the intervals printed */

static const double levels[LOADS] = {0.3, 0.7, NAN};

struct options {
    const char *state, *target, *program;
    TW_ARRAY(const char *) sets, mixes;
    double seconds;
    int repetitions;
    int64_t seed;
};

/* One pair: the same load on both arms. */
struct pair {
    int repetition, load;
    bool dropped;
    struct tw_slot slot[TW_ARM_COUNT];
};
struct pairs {
    TW_ARRAY(struct pair) list;
};

struct truth {
    struct tw_arena *a;
    const struct options *o;
    char id[TW_ID_LEN + 1];
    struct tw_target target;
    const struct tw_service_kind *kind;
    struct tw_snapshot snapshot;
    struct tw_request request;
    struct tw_plan plan;
    struct tw_priv *priv;
    struct tw_pool *pool;
    struct tw_seed *seed;
    struct tw_clone *clone[TW_ARM_COUNT];
    struct tw_twin *twin[TW_ARM_COUNT];
    struct tw_sampler *sampler[TW_ARM_COUNT];
    struct tw_sandbox *client;
    struct tw_load *load;
    struct tw_load_mix mix;
    unsigned uid, gid;
    const char *twin_cpus, *load_cpus;
    double cpus, capacity[TW_ARM_COUNT];
    int connections;
    bool can_freeze;
    struct tw_rng rng;
    struct pairs pairs;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
    stopped = sig;
}

/* ---- the target and its clones ---- */

static int find_target(struct truth *t, struct tw_err *err)
{
    struct tw_env_list all;
    struct tw_issues issues = {0};
    int r = tw_env_load(t->a, t->o->state, &all, err);

    if (r == 0)
        r = tw_env_find(&all, NULL, t->o->target, &t->target, err);
    if (r == 0)
        r = tw_env_check_clone(&t->target, err);
    if (r == 0)
        r = tw_env_snapshot(t->a, &t->target, &t->snapshot, err);
    if (r < 0)
        return r;
    t->kind = tw_service_kind_find(t->target.type, NULL);
    tw_request_init(&t->request);
    t->request.type = "config_change";
    t->request.target = t->o->target;
    t->request.environment = t->target.environment;
    for (size_t i = 0; i < t->o->sets.count && r == 0; i++)
        r = tw_change_parse_set(t->a, t->o->sets.items[i], &t->request, err);
    return r < 0
               ? r
               : tw_change_plan(t->a, &t->snapshot, &t->request, &t->plan, &issues, err);
}

/* The seed that 'twin env sync' or a run has made: its owner is that of the services. */
static int find_seed(struct truth *t, struct tw_err *err)
{
    tw_auto_free char *data = NULL;
    struct stat st;
    int r = tw_pool_open(t->priv, &t->pool, err);

    if (r == 0)
        r = tw_pool_seed_find(t->pool, t->kind->seed_key(t->a, &t->snapshot), &t->seed,
                              err);
    if (r < 0)
        return tw_wrap(err, r, "the seed of '%s' (twin env sync makes it)", t->o->target);
    data = tw_strf("%s%s", tw_seed_root(t->seed), t->snapshot.data_dir);
    if (stat(data, &st) < 0)
        return tw_fail_errno(err, errno, "'%s'", data);
    t->uid = st.st_uid;
    t->gid = st.st_gid;
    return 0;
}

/* As the program shares cores: the last one sends, the others serve. */
static void share_cores(struct truth *t)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    t->cpus = fmax(1, fmin(t->snapshot.cpus, (double)(cores - 1)));
    if (cores < 2)
        return;
    t->twin_cpus = cores == 2 ? "0" : tw_arena_printf(t->a, "0-%ld", cores - 2);
    t->load_cpus = tw_arena_printf(t->a, "%ld", cores - 1);
}

static int make_twin(struct truth *t, enum tw_arm arm, struct tw_err *err)
{
    const struct tw_plan *plan = arm == TW_CANDIDATE ? &t->plan : NULL;
    int64_t host = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    struct tw_issues issues = {0};
    struct tw_twin_spec spec = {
        .id = t->id,
        .name = tw_arm_names[arm],
        .arm = arm,
        .kind = t->kind,
        .snapshot = &t->snapshot,
        .plan = plan,
        .uid = t->uid,
        .gid = t->gid,
        .memory_bytes = t->snapshot.memory_bytes < host ? t->snapshot.memory_bytes : host,
        .cpus = t->cpus,
        .cpuset = t->twin_cpus};
    int r = tw_pool_clone(t->pool, t->seed, tw_arm_names[arm], &t->clone[arm], err);

    if (r == 0)
        r = t->kind->refresh(t->a, &t->target, &t->snapshot, plan,
                             tw_clone_root(t->clone[arm]), t->uid, t->gid, &issues, err);
    if (r < 0)
        return r;
    spec.clone_root = tw_clone_root(t->clone[arm]);
    r = tw_twin_open(t->priv, &spec, &t->twin[arm], err);
    if (r == 0 && arm == TW_CANDIDATE)
        r = tw_inject(t->a, t->twin[arm], &t->plan, &issues, err);
    return r;
}

static int start_twins(struct truth *t, struct tw_err *err)
{
    struct tw_started started;
    int r = 0;

    for (int arm = 0; arm < TW_ARM_COUNT && r == 0; arm++)
        r = make_twin(t, (enum tw_arm)arm, err);
    for (int arm = 0; arm < TW_ARM_COUNT && r == 0; arm++) {
        r = tw_twin_start(t->twin[arm], TW_START_LOAD, tw_now_ns() + START_NS, &started,
                          err);
        if (r == 0 && !started.ready)
            return tw_fail(err, -EIO, "the %s does not start", tw_arm_names[arm]);
    }
    return r < 0 ? r
                 : t->kind->complete(t->a, tw_twin_access(t->twin[TW_BASELINE]),
                                     &t->snapshot, err);
}

/* ---- the load ---- */

static int make_mix(struct truth *t, struct tw_err *err)
{
    const char *database =
        t->snapshot.tables.count ? t->snapshot.tables.items[0].database : NULL;
    struct tw_service_limits limits;
    struct tw_pg *pg;
    int r = tw_twin_connect(t->twin[TW_BASELINE], database, &pg, err);

    if (r < 0)
        return r;
    r = tw_load_mix_make(t->a, &t->snapshot, t->o->mixes.items, t->o->mixes.count, pg,
                         &t->mix, err);
    tw_pg_close(pg);
    t->connections = CONNECTIONS;
    for (int arm = 0; arm < TW_ARM_COUNT && r == 0; arm++) {
        double room;

        r = t->kind->limits(t->a, tw_twin_access(t->twin[arm]), &limits, err);
        room = limits.max_connections - limits.reserved_connections - 1;
        if (r == 0 && room >= 1 && room < t->connections)
            t->connections = (int)room;
    }
    return r;
}

/* What production has had days for: the tables and indexes in buffers and page cache. */
static int prewarm(struct truth *t, enum tw_arm arm, struct tw_err *err)
{
    static const char sql[] =
        "SELECT sum(pg_prewarm(c.oid::regclass)) FROM pg_class c JOIN pg_namespace n"
        " ON n.oid = c.relnamespace WHERE relkind IN ('r', 'i')"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')";
    struct tw_pg *pg;
    double pages;
    int r = tw_twin_connect(t->twin[arm], t->mix.database, &pg, err);

    if (r < 0)
        return r;
    r = tw_pg_double(pg, sql, &pages, err);
    tw_pg_close(pg);
    return r < 0 ? tw_wrap(err, r, "reading the tables in (extension pg_prewarm)") : 0;
}

static int open_load(struct truth *t, struct tw_err *err)
{
    struct tw_sandbox_spec box = {.id = t->id,
                                  .name = "client",
                                  .uid = t->uid,
                                  .gid = t->gid,
                                  .user_name = "twin",
                                  .hostname = "client",
                                  .cpuset = t->load_cpus,
                                  .cpu_weight = 262144,
                                  .tmp_bytes = 16 << 20,
                                  .shm_bytes = 64 << 20,
                                  .seccomp = true};
    struct tw_sandbox_mount mounts[] = {
        {tw_twin_runtime_dir(t->twin[TW_BASELINE]), "/tw/baseline", true},
        {tw_twin_runtime_dir(t->twin[TW_CANDIDATE]), "/tw/candidate", true},
        {t->o->program, "/tw/twin", false}};
    struct tw_load_spec spec = {.mix = &t->mix,
                                .connections = t->connections,
                                .program = "/tw/twin",
                                .cpuset = t->load_cpus};
    int r;

    for (size_t i = 0; i < TW_COUNT_OF(mounts); i++)
        TW_PUSH(t->a, &box.mounts, mounts[i]);
    r = tw_sandbox_open(t->priv, &box, &t->client, err);
    if (r < 0)
        return r;
    spec.box = t->client;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        spec.conninfo[arm] = tw_arena_printf(
            t->a, "%s dbname='%s'",
            tw_twin_conninfo_at(t->twin[arm], t->a,
                                tw_arena_printf(t->a, "/tw/%s", tw_arm_names[arm])),
            t->mix.database);
    r = tw_load_open(&spec, &t->load, err);
    for (int arm = 0; arm < TW_ARM_COUNT && r == 0; arm++)
        r = prewarm(t, (enum tw_arm)arm, err);
    for (int arm = 0; arm < TW_ARM_COUNT && r == 0; arm++)
        r = tw_sampler_open(t->twin[arm], &t->sampler[arm], err);
    return r;
}

/* ---- slots ---- */

static double rate_of(const struct tw_slot *s)
{
    return (double)s->done / tw_seconds(s->length_ns);
}

/* The arm whose turn it is not stands still, where this host can do that. */
static void focus(struct truth *t, int arm)
{
    if (t->can_freeze &&
        tw_sandbox_freeze(tw_twin_sandbox(t->twin[!arm]), true, NULL) < 0)
        t->can_freeze = false;
    (void)tw_sandbox_freeze(tw_twin_sandbox(t->twin[arm]), false, NULL);
}

static int run_slot(struct truth *t, int arm, double rate_per_s, uint64_t seed,
                    struct tw_slot *ret, struct tw_err *err)
{
    struct tw_load_order order = {.arm = (enum tw_arm)arm,
                                  .rate_per_s = rate_per_s,
                                  .length_ns = SLOT_NS,
                                  .seed = seed,
                                  .settle_s = 0.3};
    struct tw_counters before, after;
    int r;

    if (stopped)
        return tw_fail(err, -ECANCELED, "interrupted");
    focus(t, arm);
    r = tw_sampler_read(t->sampler[arm], true, &before, err);
    if (r == 0)
        r = tw_load_slot(t->load, &order, ret, err);
    if (r < 0)
        return r;
    r = tw_sampler_read(t->sampler[arm], true, &after, err);
    tw_sample_slot(&before, &after, ret);
    ret->arm = (enum tw_arm)arm;
    return r;
}

/* Closed loop by turns until neither arm climbs any more: this gives the capacities too.
 */
static int warm_up(struct truth *t, struct tw_err *err)
{
    double last[TW_ARM_COUNT] = {0, 0};
    bool climbs = true;
    int r = 0;

    for (int step = 0; step < WARM_STEPS && climbs && r == 0; step++) {
        uint64_t seed = tw_rng_u64(&t->rng);

        climbs = step < 2;
        for (int arm = 0; arm < TW_ARM_COUNT && r == 0; arm++) {
            struct tw_slot slot = {0};

            r = run_slot(t, arm, NAN, seed, &slot, err);
            if (r < 0)
                break;
            climbs |= rate_of(&slot) > last[arm] * (1 + WARM_LEVEL);
            last[arm] = rate_of(&slot);
            t->capacity[arm] = step < 2 ? last[arm] : (t->capacity[arm] + last[arm]) / 2;
            tw_hist_free(slot.latency);
        }
    }
    if (r == 0 && !(t->capacity[TW_BASELINE] > 0 && t->capacity[TW_CANDIDATE] > 0))
        return tw_fail(err, -ENODATA, "nothing was answered in the warm-up");
    return r;
}

static int run_pair(struct truth *t, int repetition, int load, int first,
                    struct tw_err *err)
{
    struct pair p = {.repetition = repetition, .load = load};
    double rate =
        levels[load] * fmin(t->capacity[TW_BASELINE], t->capacity[TW_CANDIDATE]);
    uint64_t seed = tw_rng_u64(&t->rng);
    int r = 0;

    for (int k = 0; k < TW_ARM_COUNT && r == 0; k++) {
        int arm = k == 0 ? first : !first;

        r = run_slot(t, arm, rate, seed, &p.slot[arm], err);
        if (r < 0)
            break;
        p.dropped |= p.slot[arm].lag99_s > fmax(LAG_LEAST_S, p.slot[arm].p50_s / 2);
    }
    if (r == 0)
        TW_PUSH(t->a, &t->pairs.list, p);
    return r;
}

/* Both arms at the beginning of a checkpoint interval: how many pages go into the WAL as
 * a whole depends on what was written since, and the warm-up was not the same for both.
 */
static int begin_interval(struct truth *t, struct tw_err *err)
{
    int r = 0;

    for (int arm = 0; arm < TW_ARM_COUNT && r == 0; arm++) {
        struct tw_pg *pg;

        focus(t, arm);
        r = tw_twin_connect(t->twin[arm], t->mix.database, &pg, err);
        if (r < 0)
            break;
        r = tw_pg_exec(pg, "CHECKPOINT", err);
        tw_pg_close(pg);
    }
    return r;
}

static int run_block(struct truth *t, int repetition, int load, struct tw_err *err)
{
    int first = (int)tw_rng_below(&t->rng, 2);
    int r = run_pair(t, repetition, load, first, err);

    return r < 0 ? r : run_pair(t, repetition, load, !first, err);
}

/* The open levels by turns, then the closed loop, in which the arms do not get equally
 * far. */
static int run_repetition(struct truth *t, int repetition, struct tw_err *err)
{
    int blocks = (int)ceil(t->o->seconds / tw_seconds(SLOT_NS) / 2);
    int r;

    tw_rng_seed(&t->rng, (uint64_t)t->o->seed, (uint64_t)repetition);
    r = warm_up(t, err);
    if (r == 0)
        r = begin_interval(t, err);
    for (int b = 0; b < blocks; b++)
        for (int load = 0; load < CLOSED && r == 0; load++)
            r = run_block(t, repetition, load, err);
    for (int b = 0; b < blocks && r == 0; b++)
        r = run_block(t, repetition, CLOSED, err);
    return r;
}

/* ---- what they say ---- */

static double slot_cpu(const struct tw_slot *s)
{
    return s->done > 0 ? s->cpu_s / (double)s->done : NAN;
}

static double slot_wal(const struct tw_slot *s)
{
    return s->done > 0 ? s->wal_bytes / (double)s->done : NAN;
}

static double slot_p50(const struct tw_slot *s)
{
    return s->p50_s;
}

static double slot_p95(const struct tw_slot *s)
{
    return s->p95_s;
}

static double slot_p99(const struct tw_slot *s)
{
    return s->p99_s;
}

static double slot_anon(const struct tw_slot *s)
{
    return s->anon_bytes;
}

static const struct metric {
    const char *name;
    double (*of)(const struct tw_slot *s);
    bool closed;
    double quantile; /* NaN: no histogram has it */
    double scale;    /* to the unit of the name */
} metrics[] = {
    {"throughput_per_s", rate_of, true, NAN, 1},
    {"p50_ms", slot_p50, false, 0.50, 1e3},
    {"p95_ms", slot_p95, false, 0.95, 1e3},
    {"p99_ms", slot_p99, false, 0.99, 1e3},
    {"cpu_ms_per_request", slot_cpu, false, NAN, 1e3},
    {"wal_bytes_per_request", slot_wal, false, NAN, 1},
    {"anon_bytes", slot_anon, true, NAN, 1},
};

static bool counts(const struct pair *p, const struct metric *m, int repetition)
{
    return !p->dropped && (repetition < 0 || p->repetition == repetition) &&
           m->closed == (p->load == CLOSED);
}

/* All requests of one arm at one level, one quantile. */
static double pooled(const struct truth *t, const struct metric *m, int repetition,
                     int load, int arm)
{
    tw_auto(tw_hist) *all = tw_hist_new();

    for (size_t i = 0; i < t->pairs.list.count; i++) {
        const struct pair *p = &t->pairs.list.items[i];

        if (p->load == load && counts(p, m, repetition))
            tw_hist_merge(all, p->slot[arm].latency);
    }
    return tw_hist_quantile(all, m->quantile);
}

/* The mean over the open levels of the log ratio of pooled quantiles. */
static double pooled_log(const struct truth *t, const struct metric *m, int repetition)
{
    double sum = 0;
    int n = 0;

    if (isnan(m->quantile))
        return NAN;
    for (int load = 0; load < CLOSED; load++) {
        double ratio = pooled(t, m, repetition, load, TW_CANDIDATE) /
                       pooled(t, m, repetition, load, TW_BASELINE);

        if (ratio > 0) {
            sum += log(ratio);
            n++;
        }
    }
    return n ? sum / n : NAN;
}

/* Distribution-free interval of the median: the k-th smallest and largest of n (David and
 * Nagaraja 2003, 7.1); the ends, where n is too small for the level. */
static size_t median_rank(size_t n)
{
    double below = pow(0.5, (double)n), p = below;
    size_t k = 0;

    while (k + 1 < (n + 1) / 2 &&
           2 * (below + p * (double)(n - k) / (double)(k + 1)) <= 1 - LEVEL) {
        p *= (double)(n - k) / (double)(k + 1);
        below += p;
        k++;
    }
    return k;
}

static json_t *metric_json(const struct truth *t, const struct metric *m, int repetition)
{
    tw_auto_free double *logs =
        tw_realloc_array(NULL, t->pairs.list.count + 1, sizeof *logs);
    double sum[TW_ARM_COUNT] = {0, 0}, median, whole = pooled_log(t, m, repetition);
    size_t n = 0, k;

    for (size_t i = 0; i < t->pairs.list.count; i++) {
        const struct pair *p = &t->pairs.list.items[i];
        double b = m->of(&p->slot[TW_BASELINE]), c = m->of(&p->slot[TW_CANDIDATE]);

        if (!counts(p, m, repetition) || !(b > 0) || !(c > 0))
            continue;
        logs[n++] = log(c / b);
        sum[TW_BASELINE] += b * m->scale;
        sum[TW_CANDIDATE] += c * m->scale;
    }
    if (n == 0)
        return json_null();
    tw_sort(logs, n);
    k = median_rank(n);
    median = n % 2 ? logs[n / 2] : (logs[n / 2 - 1] + logs[n / 2]) / 2;
    /* The same estimands as the report's: pooled for the p50, pair median for the rest.
     */
    return json_pack(
        "{s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:I}", "before",
        sum[TW_BASELINE] / (double)n, "after", sum[TW_CANDIDATE] / (double)n, "ratio",
        tw_json_real(exp(m->quantile == 0.5 && !isnan(whole) ? whole : median)),
        "pair_median", tw_json_real(exp(median)), "pooled", tw_json_real(exp(whole)),
        "low", tw_json_real(exp(logs[k])), "high", tw_json_real(exp(logs[n - 1 - k])),
        "n", (json_int_t)n);
}

static json_t *metrics_json(const struct truth *t, int repetition)
{
    json_t *all = json_object();

    for (size_t i = 0; i < TW_COUNT_OF(metrics); i++)
        (void)json_object_set_new(all, metrics[i].name,
                                  metric_json(t, &metrics[i], repetition));
    return all;
}

static int print_truth(const struct truth *t)
{
    json_auto_t *top = json_object();
    json_t *each = json_array();
    int dropped = 0;
    double foreign = 0, busy = 0, load[3] = {NAN, NAN, NAN};

    for (size_t i = 0; i < t->pairs.list.count; i++) {
        const struct pair *p = &t->pairs.list.items[i];

        dropped += p->dropped;
        for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
            foreign += isnan(p->slot[arm].foreign_cpu_s) ? 0 : p->slot[arm].foreign_cpu_s;
            busy += tw_seconds(p->slot[arm].length_ns);
        }
    }
    (void)getloadavg(load, 3);
    for (int r = 0; r < t->o->repetitions; r++)
        (void)json_array_append_new(each, metrics_json(t, r));
    (void)json_object_set_new(top, "merged", metrics_json(t, -1));
    (void)json_object_set_new(top, "repetitions", each);
    (void)json_object_set_new(top, "capacity_per_s",
                              json_pack("{s:f, s:f}", "baseline",
                                        t->capacity[TW_BASELINE], "candidate",
                                        t->capacity[TW_CANDIDATE]));
    (void)json_object_set_new(top, "seed", json_integer(t->o->seed));
    (void)json_object_set_new(top, "seconds_per_level_and_arm",
                              tw_json_real(t->o->seconds));
    (void)json_object_set_new(top, "slot_seconds", tw_json_real(tw_seconds(SLOT_NS)));
    (void)json_object_set_new(top, "pairs",
                              json_integer((json_int_t)t->pairs.list.count));
    (void)json_object_set_new(top, "pairs_dropped", json_integer(dropped));
    (void)json_object_set_new(top, "frozen", json_boolean(t->can_freeze));
    (void)json_object_set_new(top, "foreign_cpu_share", tw_json_real(foreign / busy));
    (void)json_object_set_new(top, "load_average", tw_json_real(load[0]));
    return json_dumpf(top, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) == 0 &&
                   putchar('\n') != EOF
               ? 0
               : -EIO;
}

/* ---- the whole ---- */

static int make_truth(struct truth *t, struct tw_err *err)
{
    int r = find_target(t, err);

    if (r == 0)
        r = find_seed(t, err);
    if (r < 0)
        return r;
    share_cores(t);
    r = start_twins(t, err);
    if (r == 0)
        r = make_mix(t, err);
    if (r == 0)
        r = open_load(t, err);
    t->can_freeze = true;
    for (int i = 0; i < t->o->repetitions && r == 0; i++)
        r = run_repetition(t, i, err);
    return r < 0 ? r : print_truth(t);
}

static void take_down(struct truth *t)
{
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        if (t->twin[arm])
            (void)tw_sandbox_freeze(tw_twin_sandbox(t->twin[arm]), false, NULL);
    for (size_t i = 0; i < t->pairs.list.count; i++)
        for (int arm = 0; arm < TW_ARM_COUNT; arm++)
            tw_hist_free(t->pairs.list.items[i].slot[arm].latency);
    tw_load_close(t->load);
    tw_sandbox_close(t->client);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        tw_sampler_close(t->sampler[arm]);
        tw_twin_close(t->twin[arm]);
        if (t->clone[arm])
            (void)tw_pool_clone_remove(t->clone[arm], NULL);
    }
    tw_seed_free(t->seed);
    tw_pool_close(t->pool);
    tw_priv_close(t->priv);
}

static bool read_options(struct tw_arena *a, int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {{"state", required_argument, NULL, 's'},
                                          {"target", required_argument, NULL, 't'},
                                          {"program", required_argument, NULL, 'p'},
                                          {"set", required_argument, NULL, 'c'},
                                          {"mix", required_argument, NULL, 'm'},
                                          {"seconds", required_argument, NULL, 'n'},
                                          {"repetitions", required_argument, NULL, 'r'},
                                          {"seed", required_argument, NULL, 'e'},
                                          {0}};
    double repetitions;
    int c;

    *o = (struct options){.seconds = 30, .repetitions = 2, .seed = 7000001};
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 's':
            o->state = optarg;
            break;
        case 't':
            o->target = optarg;
            break;
        case 'p':
            o->program = optarg;
            break;
        case 'c':
            TW_PUSH(a, &o->sets, optarg);
            break;
        case 'm':
            TW_PUSH(a, &o->mixes, optarg);
            break;
        case 'n':
            if (tw_parse_double(optarg, &o->seconds, NULL) < 0 || !(o->seconds >= 2))
                return false;
            break;
        case 'r':
            if (tw_parse_double(optarg, &repetitions, NULL) < 0 ||
                !(repetitions >= 1 && repetitions <= REPETITIONS))
                return false;
            o->repetitions = (int)repetitions;
            break;
        case 'e':
            if (tw_parse_int64(optarg, &o->seed, NULL) < 0)
                return false;
            break;
        default:
            return false;
        }
    }
    return o->state && o->target && o->program && o->sets.count && o->mixes.count &&
           optind == argc;
}

int main(int argc, char **argv)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct options o;
    struct truth t = {.a = a, .o = &o};
    struct tw_err err = {0};
    int r;

    if (!read_options(a, argc, argv, &o)) {
        (void)fprintf(
            stderr,
            "usage: accuracy --state DIR --target T --program TWIN --set "
            "NAME=VALUE … --mix M … [--seconds N] [--repetitions N] [--seed N]\n");
        return 2;
    }
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
    (void)signal(SIGPIPE, SIG_IGN);
    tw_id_make(t.id);
    r = tw_priv_open(o.state, t.id, &t.priv, &err);
    if (r == 0)
        r = make_truth(&t, &err);
    take_down(&t);
    if (r < 0)
        (void)fprintf(stderr, "accuracy: %s\n", err.text);
    return r == 0 ? 0 : stopped ? 128 + stopped : 1;
}
