/* A twin asked: what its target at rest could not tell, its bounds, what it counted. */
#include "kind_pg_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int open_twin(struct tw_arena *a, const struct tw_access *x, const char *database,
                     struct tw_pg **ret, struct tw_err *err)
{
    const char *info = tw_arena_printf(
        a, "%s dbname='%s'", kind_pg_conninfo(a, x->snapshot, x->entrance), database);

    return tw_pg_open(info, (unsigned)-1, tw_now_ns() + KIND_PG_CONNECT_NS, ret, err);
}

static int add_roles(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                     struct tw_err *err)
{
    struct tw_standing now;
    int r;

    tw_standing_init(&now);
    r = kind_pg_ask_counters(pg, a, &now, err);
    for (size_t i = 0; r == 0 && i < now.roles.count; i++)
        TW_PUSH(a, &s->roles, now.roles.items[i]);
    return r;
}

int kind_pg_complete(struct tw_arena *a, const struct tw_access *access,
                     struct tw_snapshot *s, struct tw_err *err)
{
    struct tw_pg *pg;
    const char *database;
    int r;

    if (s->databases.count)
        return 0;
    r = open_twin(a, access, "postgres", &pg, err);
    if (r < 0)
        return r;
    r = kind_pg_ask_databases(pg, a, s, err);
    if (r == 0)
        r = add_roles(pg, a, s, err);
    if (r == 0)
        r = kind_pg_ask_hba(pg, a, s, err);
    tw_pg_close(pg);
    database = s->databases.count ? s->databases.items[0] : "postgres";
    if (r == 0)
        r = open_twin(a, access, database, &pg, err);
    if (r < 0)
        return r;
    r = kind_pg_ask_tables(pg, a, database, s, err);
    if (r == 0)
        r = kind_pg_ask_statements(pg, a, s, err);
    tw_pg_close(pg);
    return r;
}

static double written_pages(const struct tw_snapshot *s)
{
    double bytes = 0;

    for (size_t i = 0; i < s->tables.count; i++) {
        const struct tw_table *t = &s->tables.items[i];

        if (t->inserts + t->updates + t->deletes > 0)
            bytes += (double)(t->bytes + t->index_bytes);
    }
    return bytes > 0 ? bytes / 8192 : NAN;
}

/* Names in pg_settings and where the value, in bytes or seconds, goes. */
int kind_pg_limits(struct tw_arena *a, const struct tw_access *access,
                   struct tw_service_limits *ret, struct tw_err *err)
{
    static const struct {
        const char *name;
        size_t offset;
        bool plain; /* a count: no unit */
    } wanted[] = {
        {"checkpoint_timeout", offsetof(struct tw_service_limits, checkpoint_s), true},
        {"max_wal_size", offsetof(struct tw_service_limits, max_wal_bytes), false},
        {"max_connections", offsetof(struct tw_service_limits, max_connections), true},
        {"superuser_reserved_connections",
         offsetof(struct tw_service_limits, reserved_connections), true},
        {"shared_memory_size", offsetof(struct tw_service_limits, shared_memory_bytes),
         false},
        {"work_mem", offsetof(struct tw_service_limits, sort_memory_bytes), false},
    };
    struct tw_service_limits l;
    struct tw_pg_rows rows;
    struct tw_pg *pg;
    int r = open_twin(a, access, "postgres", &pg, err);

    if (r < 0)
        return r;
    r = tw_pg_query(pg, a, "SELECT " OURS "name, setting, unit FROM pg_settings", 0, NULL,
                    &rows, err);
    tw_pg_close(pg);
    if (r < 0)
        return r;
    l = (struct tw_service_limits){
        NAN, NAN, NAN, NAN, NAN, NAN, written_pages(access->snapshot)};
    for (int i = 0; i < rows.rows; i++) {
        for (size_t k = 0; k < TW_COUNT_OF(wanted); k++) {
            struct tw_setting one = {.name = CELL(0), .unit = CELL(2), .type = "real"};

            if (!tw_streq(CELL(0), wanted[k].name))
                continue;
            *(double *)((char *)&l + wanted[k].offset) =
                wanted[k].plain ? strtod(CELL(1), NULL) : kind_pg_bytes(&one, CELL(1));
        }
    }
    *ret = l;
    return 0;
}

/* A backend hands its counts over when it has been idle for a second, or ends. */
int kind_pg_requests(struct tw_arena *a, const struct tw_access *access,
                     const char *database, int64_t deadline_ns, int64_t *ret,
                     struct tw_err *err)
{
    const char *params[] = {database};
    struct tw_pg_rows rows;
    struct tw_pg *pg = NULL;
    int i = 0;
    int r = open_twin(a, access, "postgres", &pg, err);

    while (r == 0) {
        r = tw_pg_query(
            pg, a,
            "SELECT " OURS "xact_commit + xact_rollback, (SELECT count(*) FROM "
            "pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() AND "
            "backend_type = 'client backend') FROM pg_stat_database WHERE datname = "
            "$1",
            1, params, &rows, err);
        if (r < 0 || rows.rows != 1)
            break;
        *ret = kind_pg_whole(CELL(0));
        if (kind_pg_whole(CELL(1)) == 0 || tw_now_ns() > deadline_ns)
            break;
        tw_sleep_ns(2 * TW_MSEC_NS);
    }
    tw_pg_close(pg);
    return r == 0 && rows.rows != 1 ? tw_fail(err, -ENODATA, "no database '%s'", database)
                                    : r;
}
