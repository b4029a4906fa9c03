/* Stages: the pool opened, the seed found or made, clones taken from it. */
#include "run_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATA_MAX_AGE_H 24.0
/* Room for what three twins write while they run, beside the data itself. */
#define WORK_ROOM ((int64_t)512 << 20)

/* One range of uids per target: a seed is owned by the same numbers on every run, and no
 * two targets share one. Without root there is only oneself. */
void run_choose_uid(const struct run *r, struct run_source *of)
{
    tw_auto_free char *name = tw_strf("%s/%s", of->target.environment, of->target.name);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    if (r->inside.is && tw_streq(r->inside.backend, "docker") &&
        tw_streq(of->target.name, r->target.name)) {
        of->uid = of->snapshot->owner_uid; /* numbers in a container are those of its image */
        of->gid = of->snapshot->owner_gid;
    } else if (tw_priv_is_root(r->priv)) {
        unsigned base = 2000000U + 65536U * (unsigned)(hash % 8000);

        of->uid = base + of->snapshot->owner_uid % 65536U;
        of->gid = base + of->snapshot->owner_gid % 65536U;
    } else {
        of->uid = geteuid();
        of->gid = getegid();
    }
}

static void choose_uid(struct run *r)
{
    struct run_source of = run_main_source(r);

    run_choose_uid(r, &of);
    r->uid = of.uid;
    r->gid = of.gid;
}

int run_pool(struct run *r, struct tw_err *err)
{
    int rc = r->priv ? 0 : tw_priv_open(r->state_dir, r->id, &r->priv, err);

    if (rc == 0 && !r->pool)
        rc = tw_pool_open(r->priv, &r->pool, err);
    if (rc < 0)
        return rc;
    choose_uid(r);
    if (tw_pool_cost(r->pool))
        tw_issue_add(
            r->arena, &r->differences, TW_INFO, TW_PROCEED, "twin.data",
            tw_arena_printf(r->arena, "clones are made by %s", tw_pool_method(r->pool)),
            tw_pool_cost(r->pool), NULL);
    return 0;
}

/* ---- kept with a seed as JSON: what it is not, and what its server said when it was
 * taken ---- */

static char *meta_text(const struct run_source *of, const struct tw_issues *list)
{
    json_auto_t *meta = json_object();
    json_t *items = json_array();

    for (size_t i = 0; i < list->list.count; i++)
        (void)json_array_append_new(
            items, json_pack("{s:s, s:s?}", "title", list->list.items[i].title,
                             "evidence", list->list.items[i].evidence));
    (void)json_object_set_new(meta, "differences", items);
    (void)json_object_set_new(meta, "snapshot", tw_snapshot_to_json(of->snapshot));
    return json_dumps(meta, JSON_COMPACT | JSON_REAL_PRECISION(15));
}

/* A server at rest tells neither its tables nor its statements: those of the seed's time
 * stand in. */
static void take_statistics(struct run *r, const json_t *json)
{
    struct tw_snapshot then;

    if (!json || r->snapshot.databases.count)
        return;
    tw_snapshot_from_json(r->arena, json, &then);
    memcpy(&r->snapshot.databases, &then.databases, sizeof(then.databases));
    memcpy(&r->snapshot.tables, &then.tables, sizeof(then.tables));
    memcpy(&r->snapshot.statements, &then.statements, sizeof(then.statements));
    memcpy(&r->snapshot.extensions, &then.extensions, sizeof(then.extensions));
    r->snapshot.rate_per_s = then.rate_per_s;
    r->snapshot.commit_share = then.commit_share;
}

static void take_meta(struct run *r, const char *text)
{
    json_auto_t *meta = json_loads(text, 0, NULL);
    size_t i;
    json_t *item;

    json_array_foreach (json_object_get(meta, "differences"), i, item)
        tw_issue_add(r->arena, &r->differences, TW_INFO, TW_PROCEED, "twin.data",
                     json_string_value(json_object_get(item, "title")),
                     json_string_value(json_object_get(item, "evidence")), NULL);
    take_statistics(r, json_object_get(meta, "snapshot"));
}

/* ---- the seed ---- */

/* Taking from the target happens where it is. */
struct filling {
    struct run *run;
    struct run_source *of;
    struct tw_issues *differences;
    const char *root;
    struct tw_err *err;
};

static int fill(void *arg)
{
    struct filling *f = arg;

    return f->of->kind->seed_fill(f->run->arena, &f->of->target, f->of->snapshot,
                                  f->root, f->of->uid, f->of->gid, f->differences, f->err);
}

static int fill_seed(struct run *r, struct run_source *of, struct tw_issues *differences,
                     struct tw_err *err)
{
    tw_auto_close int fd = -1;
    struct filling f = {r, of, differences, tw_seed_root(of->seed), err};

    if (of->snapshot != &r->snapshot)
        return fill(&f);
    f.root = run_path_at_target(r, f.root, &fd);
    return run_at_target(r, fill, &f, err);
}

static int make_seed(struct run *r, struct run_source *of, const char *key,
                     struct tw_err *err)
{
    struct tw_issues differences = {0};
    struct tw_twin_spec spec = {.id = r->id,
                                .name = "seed",
                                .arm = TW_BASELINE,
                                .kind = of->kind,
                                .snapshot = of->snapshot,
                                .uid = of->uid,
                                .gid = of->gid};
    tw_auto_free char *meta = NULL;
    int rc = tw_pool_seed_begin(r->pool, key, of->snapshot->data_bytes + WORK_ROOM,
                                &of->seed, err);

    if (rc < 0)
        return rc;
    tw_step("run.seed.filling");
    if (of->snapshot == &r->snapshot)
        run_twin_made_of(r, &spec);
    rc = fill_seed(r, of, &differences, err);
    if (rc < 0)
        return tw_wrap(err, rc, "taking the data of '%s'", of->target.name);
    tw_step("run.seed.filled");
    spec.clone_root = tw_seed_root(of->seed);
    rc = tw_twin_settle(r->priv, &spec, r->arena, &differences, err);
    if (rc < 0)
        return rc;
    meta = meta_text(of, &differences);
    return tw_pool_seed_commit(of->seed, meta, err);
}

int run_take_seed(struct run *r, struct run_source *of, struct tw_err *err)
{
    const char *key = of->kind->seed_key(r->arena, of->snapshot);
    int rc = tw_pool_seed_find(r->pool, key, &of->seed, err);
    double age_h;

    if (rc == 0) {
        age_h = (double)(tw_wall_ns() - tw_seed_taken_wall_ns(of->seed)) / 3600e9;
        if (r->sims[0]->request.refresh_data || age_h > DATA_MAX_AGE_H) {
            tw_seed_free(of->seed);
            of->seed = NULL;
            rc = -ENOENT;
        }
    }
    return rc == -ENOENT ? make_seed(r, of, key, err) : rc;
}

int run_seed(struct run *r, struct tw_err *err)
{
    struct run_source of = run_main_source(r);
    int rc = r->seed ? 0 : run_take_seed(r, &of, err);
    double age_h;

    if (!r->seed)
        r->seed = of.seed;
    if (rc < 0)
        return rc;
    take_meta(r, tw_seed_meta(r->seed));
    age_h = (double)(tw_wall_ns() - tw_seed_taken_wall_ns(r->seed)) / 3600e9;
    tw_issue_add(
        r->arena, &r->differences, TW_INFO, TW_PROCEED, "twin.data",
        tw_arena_printf(r->arena, "its data is %s old",
                        age_h < 1 / 60.0 ? "less than a minute"
                                         : tw_show_seconds(r->arena, age_h * 3600)),
        "settings are taken anew on every run, data on --refresh-data or after a day",
        NULL);
    return 0;
}

/* Is it still the one that a run which begins now would take? */
bool run_seed_holds(struct run *r)
{
    struct tw_seed *newest = NULL;
    const char *key = r->kind->seed_key(r->arena, &r->snapshot);
    bool same = tw_pool_seed_find(r->pool, key, &newest, NULL) == 0 &&
                tw_seed_taken_wall_ns(newest) == tw_seed_taken_wall_ns(r->seed);

    tw_seed_free(newest);
    return same;
}

/* ---- clones ---- */

struct refreshing {
    struct run *run;
    enum run_role role;
    const char *root;
    struct tw_err *err;
};

static int refresh(void *arg)
{
    struct refreshing *f = arg;
    struct run *r = f->run;
    struct tw_issues known = {0};

    return r->kind->refresh(r->arena, &r->target, &r->snapshot,
                            f->role == RUN_BASELINE ? NULL : &r->v.sim->plan,
                            f->root, r->uid, r->gid, f->role == RUN_BASELINE ? &r->differences : &known, f->err);
}

static int take_clone(struct run *r, enum run_role role, struct tw_err *err)
{
    struct run_member *m = &r->members[role];
    tw_auto_close int fd = -1;
    struct refreshing f = {r, role, NULL, err};
    int rc;

    if (m->clone)
        return 0;
    rc = tw_pool_clone(r->pool, r->seed, run_role_names[role], &m->clone, err);
    if (rc == 0) {
        f.root = run_path_at_target(r, tw_clone_root(m->clone), &fd);
        rc = run_at_target(r, refresh, &f, err);
    }
    return rc < 0 ? tw_wrap(err, rc, "cloning the %s", run_role_names[role]) : 0;
}

/* The clones were taken before there was a plan: files that it names outside the data are brought too. */
int run_clone_again(struct run *r, enum run_role role, struct tw_err *err)
{
    tw_auto_close int fd = -1;
    struct refreshing f = {r, role, NULL, err};

    f.root = run_path_at_target(r, tw_clone_root(r->members[role].clone), &fd);
    return run_at_target(r, refresh, &f, err);
}

int run_clone(struct run *r, struct tw_err *err)
{
    int rc = 0;

    for (int role = 0; role < RUN_ROLE_COUNT && rc == 0; role++)
        if (run_needs(r, (enum run_role)role))
            rc = take_clone(r, (enum run_role)role, err);
    return rc;
}
