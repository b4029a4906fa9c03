/* A path that begins at a pooler: SQL is made for the server behind it, and sent through it. */
#include "run_internal.h"

#include <string.h>

bool run_is_pooled(const struct run *r)
{
    struct run_entry e = run_entry(r);

    return !e.kind->conninfo && tw_streq(e.kind->driver, "postgresql");
}

struct run_store run_store(const struct run *r)
{
    if (r->kind->conninfo)
        return (struct run_store){
            {run_twin_of(r, TW_BASELINE), run_twin_of(r, TW_CANDIDATE)}, &r->snapshot};
    for (size_t i = 0; i < r->peer_count; i++)
        if (r->peers[i].of.kind->conninfo)
            return (struct run_store){{r->peers[i].arms[TW_BASELINE].twin,
                                       r->peers[i].arms[TW_CANDIDATE].twin},
                                      &r->peers[i].snapshot};
    return (struct run_store){{NULL}, NULL};
}

/* As a pooler calls this database of the server: its own name for it, or the one that "*" passes on. */
static const char *alias_of(const struct tw_snapshot *pooler, const char *database)
{
    const char *other = NULL;

    for (size_t i = 0; i < pooler->databases.count; i++) {
        const char *name = pooler->databases.items[i];

        if (tw_streq(name, database) || tw_streq(name, "*"))
            return database;
        other = other ? other : name;
    }
    return other ? other : database;
}

/* Somebody who enters it today, given or seen; else the role that owns most of the database. */
int run_pool_user(struct run *r, struct tw_pg *pg, struct tw_err *err)
{
    const struct tw_snapshot *s = run_entry(r).snapshot;
    struct tw_pg_rows rows;
    int rc;

    for (size_t i = 0; i < r->v.sim->plan.clients.count && !r->pool_user; i++)
        r->pool_user = r->v.sim->plan.clients.items[i].user;
    for (size_t i = 0; i < s->clients.count && !r->pool_user; i++)
        r->pool_user = s->clients.items[i].user;
    if (r->pool_user)
        return 0;
    rc = tw_pg_query(pg, r->arena,
                     "SELECT rolname FROM pg_authid r WHERE rolcanlogin AND rolpassword IS NOT "
                     "NULL ORDER BY (SELECT count(*) FROM pg_class c WHERE c.relowner = r.oid AND "
                     "relkind IN ('r', 'p')) DESC, rolsuper, rolname LIMIT 1",
                     0, NULL, &rows, err);
    if (rc < 0)
        return rc;
    if (!rows.rows)
        return tw_fail(err, -ENODATA, "no role behind the pooler has a password");
    r->pool_user = tw_pg_cell(&rows, 0, 0);
    return 0;
}

const char *run_pool_conninfo(struct run *r, struct tw_arena *a, enum tw_arm arm,
                              const char *address, int port)
{
    const struct tw_snapshot *s = run_entry(r).snapshot;

    if (!r->pool_user)
        return NULL;
    return tw_arena_printf(
        a,
        "host=%s port=%d device=eth%d dbname='%s' user='%s' password='%s' prepare=0 "
        "connect_timeout=10",
        address, port, (int)arm, alias_of(s, r->mix.database), r->pool_user,
        tw_service_clone_password(a, s, r->pool_user));
}
