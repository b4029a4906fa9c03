/* Stage: the mix, what is sent to both arms. */
#include "run_internal.h"

#define LEAST_COVERAGE 0.1

static const char *main_database(const struct tw_snapshot *s)
{
    if (s->tables.count)
        return s->tables.items[0].database;
    return s->databases.count ? s->databases.items[0] : "postgres";
}

const char *run_main_database(const struct run *r)
{
    return main_database(&r->snapshot);
}

static int make_mix(struct run *r, const struct tw_snapshot *s, struct tw_pg *pg,
                    struct tw_err *err)
{
    const struct tw_plan *plan = &r->v.sim->plan;
    int rc = tw_load_mix_make(r->arena, s, plan->mixes.items, plan->mixes.count, pg,
                              &r->mix, err);

    if (rc == 0 && tw_streq(r->mix.source, "pg_stat_statements"))
        rc = tw_load_mix_check(r->arena, &r->mix, pg, err);
    return rc;
}

/* The target's statements, unless next to none of their time could be reproduced: then
 * what its table statistics suggest is nearer to it. */
static int find_mix(struct run *r, const struct tw_snapshot *s, struct tw_pg *pg,
                    struct tw_err *err)
{
    struct tw_snapshot without = *s;
    int rc = make_mix(r, s, pg, err);

    if (rc < 0 || !(r->mix.coverage < LEAST_COVERAGE) || !s->statements.count)
        return rc;
    without.statements.count = 0;
    return make_mix(r, &without, pg, err);
}

static int sql_mix(struct run *r, struct tw_err *err)
{
    struct run_store store = run_store(r);
    const char *database = store.snapshot ? main_database(store.snapshot) : NULL;
    struct tw_pg *pg = NULL;
    int rc;

    if (!database)
        return tw_fail(err, -ENODATA,
                       "what stands behind it is no target: declare it, to have it cloned "
                       "beside it");
    rc = tw_twin_connect(store.twins[TW_BASELINE], database, &pg, err);
    if (rc < 0)
        return tw_wrap(err, rc, "entering the baseline");
    rc = find_mix(r, store.snapshot, pg, err);
    if (rc == 0 && run_is_pooled(r))
        rc = run_pool_user(r, pg, err);
    tw_pg_close(pg);
    return rc;
}

/* Without SQL: as the logs and statistics of the target tell, tried on the baseline. */
static int other_mix(struct run *r, struct tw_err *err)
{
    const struct tw_plan *plan = &r->v.sim->plan;
    struct tw_load_spec at = {.program = RUN_CLIENT_PROGRAM};
    int rc = run_client_open(r, err);

    if (rc < 0)
        return rc;
    at.box = r->v.client;
    at.conninfo[TW_BASELINE] = run_conninfo(r, r->arena, TW_BASELINE);
    if (!at.conninfo[TW_BASELINE])
        return tw_fail(err, -ENODATA, "it listens nowhere");
    return tw_load_mix_make_at(r->arena, run_entry(r).snapshot, run_driver(r),
                               plan->mixes.items, plan->mixes.count, &at, &r->mix, err);
}

int run_mix(struct run *r, struct tw_err *err)
{
    struct tw_err why = {0};
    int rc;

    if (r->has_mix || r->no_mix) {
        r->v.not_measured = r->no_mix;
        return 0;
    }
    rc = run_entry(r).kind->conninfo || run_is_pooled(r) ? sql_mix(r, &why)
                                                         : other_mix(r, &why);
    if (rc == -ENODATA) {
        r->no_mix = tw_arena_printf(
            r->arena,
            "there is nothing to load, so only start, files and arithmetic are "
            "judged: %s",
            run_entry(r).kind->conninfo ? "the databases are empty" : why.text);
        r->v.not_measured = r->no_mix;
        return 0;
    }
    r->has_mix = rc == 0;
    if (rc < 0 && err)
        *err = why;
    return rc < 0 ? tw_wrap(err, rc, "finding the load") : 0;
}
