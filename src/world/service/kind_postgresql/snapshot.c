/* A snapshot: the target found, reached and asked; or, at rest, read. */
#include "kind_pg_internal.h"

#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reaching the target ---- */

static bool is_local_socket(struct tw_arena *a, const char *conninfo)
{
    const char *host = tw_pg_conninfo_value(a, conninfo, "host");

    return !tw_pg_conninfo_value(a, conninfo, "hostaddr") && (!host || *host == '/');
}

static char *socket_conninfo(struct tw_arena *a, const struct kind_pg_place *p)
{
    const char *host = p->socket_dir                            ? p->socket_dir
                       : tw_streq(p->listen, "*") || !p->listen ? "localhost"
                                                                : p->listen;

    return tw_arena_printf(a, "host='%s' port=%d", host, p->port);
}

int kind_pg_connect(struct tw_arena *a, const struct tw_target *t,
                    const struct kind_pg_place *place, const char *database,
                    struct tw_pg **ret, const char **ret_conninfo, struct tw_err *err)
{
    const char *base = t->dsn ? t->dsn : socket_conninfo(a, place);
    bool named = tw_pg_conninfo_value(a, base, "user");
    bool as_owner = place && place->owner && is_local_socket(a, base) && !named;
    unsigned uid = as_owner && geteuid() == 0 ? place->uid : (unsigned)-1;
    tw_auto_buf full = {0};
    int r;

    tw_buf_init(&full, 64 * 1024);
    /* A URI cannot be appended to: take it apart first. */
    if (strstr(base, "://")) {
        const char *plain, *password;

        r = tw_pg_split_password(a, base, &plain, &password, err);
        if (r < 0)
            return r;
        base = password ? tw_arena_printf(a, "%s password='%s'", plain, password) : plain;
    }
    tw_buf_puts(&full, base);
    if (as_owner)
        tw_buf_printf(&full, " user='%s'", place->owner);
    if (database || !tw_pg_conninfo_value(a, base, "dbname"))
        tw_buf_printf(&full, " dbname='%s'", database ? database : "postgres");
    tw_buf_puts(&full, " application_name=twin connect_timeout=5");
    r = tw_pg_open(tw_buf_text(&full), uid, tw_now_ns() + KIND_PG_CONNECT_NS, ret, err);
    if (r < 0)
        return tw_wrap(err, r, "connecting to target '%s'", t->name);
    if (ret_conninfo)
        *ret_conninfo = tw_arena_strdup(a, tw_buf_text(&full));
    /* Questions over the catalogue look dear to the planner and are not: compiling them is. */
    return tw_pg_exec(
        *ret, "SET statement_timeout = '10s'; SET lock_timeout = '1s'; SET jit = off",
        err);
}

/* The database of the connection string, else the largest. */
static const char *main_database(struct tw_arena *a, const struct tw_target *t,
                                 const struct tw_snapshot *s)
{
    const char *named = t->dsn ? tw_pg_conninfo_value(a, t->dsn, "dbname") : NULL;

    return named ? named : s->databases.count ? s->databases.items[0] : "postgres";
}

static void add_cost(struct tw_snapshot *s, const struct tw_pg *pg)
{
    int statements;
    int64_t bytes;

    tw_pg_cost(pg, &statements, &bytes);
    s->cost.statements += statements;
    s->cost.bytes += bytes;
}

/* How far the target itself is: its clone is of a moment ago. */
static int ask_standing(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                        struct tw_err *err)
{
    struct tw_standing now;
    int r;

    tw_standing_init(&now);
    r = kind_pg_ask_counters(pg, a, &now, err);
    for (size_t i = 0; r == 0 && i < now.counters.count; i++)
        TW_PUSH(a, &s->counters, now.counters.items[i]);
    for (size_t i = 0; r == 0 && i < now.roles.count; i++)
        TW_PUSH(a, &s->roles, now.roles.items[i]);
    return r;
}

static int ask_running(struct tw_arena *a, const struct tw_target *t,
                       const struct kind_pg_place *place, struct tw_snapshot *s,
                       struct tw_err *err)
{
    const char *own = t->dsn ? tw_pg_conninfo_value(a, t->dsn, "dbname") : NULL;
    struct tw_pg *pg = NULL;
    const char *database;
    int r = kind_pg_connect(a, t, place, NULL, &pg, NULL, err);

    if (r == 0)
        r = kind_pg_ask_server(pg, a, s, err);
    if (r == 0)
        r = kind_pg_ask_holders(pg, a, s, err);
    database = main_database(a, t, s);
    if (r == 0 && !tw_streq(database, own ? own : "postgres")) {
        add_cost(s, pg);
        tw_pg_close(pg);
        pg = NULL;
        r = kind_pg_connect(a, t, place, database, &pg, NULL, err);
    }
    if (r == 0)
        r = kind_pg_ask_tables(pg, a, database, s, err);
    if (r == 0)
        r = kind_pg_ask_statements(pg, a, s, err);
    if (r == 0)
        r = ask_standing(pg, a, s, err);
    if (pg)
        add_cost(s, pg);
    tw_pg_close(pg);
    return r;
}

/* ---- both ---- */

static int add_files(struct tw_arena *a, struct tw_snapshot *s, struct tw_err *err)
{
    struct kind_pg_conf conf;
    int r = 0;

    kind_pg_conf_read(a, "", s->config_file, s->data_dir, &conf);
    if (conf.problem)
        return tw_fail(err, -EIO, "configuration of the target: %s", conf.problem);
    for (size_t i = 0; i < conf.files.count && r == 0; i++)
        r = host_add_file(a, conf.files.items[i], s, err);
    if (r == 0)
        r = host_add_file(a, s->hba_file, s, err);
    if (r == 0 && access(s->ident_file, F_OK) == 0)
        r = host_add_file(a, s->ident_file, s, err);
    return r;
}

/* With both given, they have to mean the same cluster. */
static int check_agreement(const struct tw_target *t, const struct kind_pg_place *p,
                           const struct tw_snapshot *s, struct tw_err *err)
{
    char real_dir[PATH_MAX];

    if (!realpath(s->data_dir, real_dir))
        return tw_fail(
            err, -EINVAL,
            "the server behind the dsn of '%s' has data_directory '%s', which is not on "
            "this host; add the target with --dsn alone: it is then taken by "
            "pg_basebackup",
            t->name, s->data_dir);
    if (!tw_streq(real_dir, p->data_dir))
        return tw_fail(err, -EINVAL,
                       "data_dir and dsn of '%s' are two clusters: '%s' and '%s'",
                       t->name, p->data_dir, real_dir);
    return 0;
}

static void owner_of_socket(struct tw_arena *a, const char *dsn,
                            struct kind_pg_place *place)
{
    const char *host = tw_pg_conninfo_value(a, dsn, "host");
    const char *port = tw_pg_conninfo_value(a, dsn, "port");
    const char *path = tw_arena_printf(
        a, "%s/.s.PGSQL.%s", host ? host : "/var/run/postgresql", port ? port : "5432");
    struct passwd pw, *found = NULL;
    char text[4096];
    struct stat st;

    if (!is_local_socket(a, dsn) || stat(path, &st) < 0)
        return;
    if (getpwuid_r(st.st_uid, &pw, text, sizeof(text), &found) == 0 && found) {
        place->uid = st.st_uid;
        place->owner = tw_arena_strdup(a, pw.pw_name);
    }
}

/* The server has told where it is: on another host it is asked for what else files would tell. */
static int ask_elsewhere(struct tw_arena *a, const struct tw_target *t,
                         struct kind_pg_place *place, struct tw_snapshot *s, bool *ret,
                         struct tw_err *err)
{
    struct tw_pg *pg;
    int r = kind_pg_connect(a, t, place, NULL, &pg, NULL, err);

    if (r < 0)
        return r;
    *ret = kind_pg_is_elsewhere(pg, s);
    if (*ret)
        r = kind_pg_ask_elsewhere(pg, a, s, err);
    add_cost(s, pg);
    tw_pg_close(pg);
    return r == 0 && *ret ? kind_pg_find_elsewhere(a, s, place, err) : r;
}

int kind_pg_reach(struct tw_arena *a, const struct tw_target *t, struct tw_pg **ret,
                  struct tw_err *err)
{
    struct kind_pg_place place = {.state = KIND_PG_RUNNING};
    int r = 0;

    if (t->data_dir)
        r = kind_pg_find(a, t->data_dir, &place, err);
    else
        owner_of_socket(a, t->dsn, &place);
    if (r == 0 && place.state != KIND_PG_RUNNING)
        r = tw_fail(err, -ECONNREFUSED, "target '%s' does not run", t->name);
    return r < 0 ? r : kind_pg_connect(a, t, &place, NULL, ret, NULL, err);
}

static int find_place(struct tw_arena *a, const struct tw_target *t,
                      struct kind_pg_place *place, struct tw_snapshot *s,
                      struct tw_err *err)
{
    bool elsewhere = false;
    int r;

    if (t->data_dir)
        return kind_pg_find(a, t->data_dir, place, err);
    if (!t->dsn)
        return tw_fail(
            err, -EINVAL,
            "target '%s' has neither data_dir nor dsn; add it again with --data-dir "
            "or --dsn",
            t->name);
    /* The server tells where it is; until then the owner is who owns its socket. */
    *place = (struct kind_pg_place){.state = KIND_PG_RUNNING};
    owner_of_socket(a, t->dsn, place);
    r = ask_running(a, t, place, s, err);
    if (r < 0)
        return r;
    r = ask_elsewhere(a, t, place, s, &elsewhere, err);
    if (r < 0 || elsewhere)
        return r;
    r = kind_pg_find(a, s->data_dir, place, err);
    if (r == 0)
        place->state = KIND_PG_RUNNING;
    return r < 0 ? tw_wrap(err, r, "the server's own data_directory") : 0;
}

static int look_at_files(struct tw_arena *a, const struct kind_pg_place *place,
                         struct tw_snapshot *s, struct tw_err *err)
{
    s->data_bytes = host_tree_bytes(place->data_dir);
    if (place->wal_dir)
        s->data_bytes += host_tree_bytes(place->wal_dir);
    for (size_t i = 0; i < s->tablespaces.count; i++)
        s->data_bytes += host_tree_bytes(s->tablespaces.items[i]);
    kind_pg_file_systems(a, s);
    return add_files(a, s, err);
}

int kind_pg_snapshot(struct tw_arena *a, const struct tw_target *t,
                     struct tw_snapshot *ret, struct tw_err *err)
{
    struct kind_pg_place place;
    struct tw_snapshot s = {.connections_used = -1};
    int r = find_place(a, t, &place, &s, err);

    if (r < 0)
        return r;
    if (place.state == KIND_PG_RUNNING && !s.version)
        r = ask_running(a, t, &place, &s, err);
    else if (place.state == KIND_PG_STOPPED || place.state == KIND_PG_CRASHED)
        r = kind_pg_read_stopped(a, &place, &s, err);
    if (r == 0 && place.state == KIND_PG_RUNNING)
        r = check_agreement(t, &place, &s, err);
    if (r < 0)
        return r;
    s.how = kind_pg_state_names[place.state];
    s.data_dir = place.data_dir;
    s.owner_uid = place.uid;
    s.owner_gid = place.gid;
    s.owner_name = place.owner ? place.owner : "postgres";
    s.socket_dir = place.socket_dir;
    kind_pg_endpoints(a, &s);
    if (place.state != KIND_PG_ELSEWHERE)
        r = look_at_files(a, &place, &s, err);
    if (r < 0)
        return r;
    *ret = s;
    return 0;
}
