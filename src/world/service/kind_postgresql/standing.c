/* What may run out, and how far it is: asked of the target and of its twins. */
#include "kind_pg_internal.h"
#include "service/service_internal.h"

#include <fcntl.h>
#include <fts.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static double real(const char *text)
{
    return text ? strtod(text, NULL) : NAN;
}

/* ---- counters with an end ---- */

/* Used and limit in the values that the sequence hands out, turned round where it counts
 * down. A column that it fills (owned, identity, or by its default) may end before it:
 * serial columns that were made bigint only by half are the usual case. */
static const char sequences_sql[] =
    "SELECT " OURS "quote_ident(n.nspname) || '.' || quote_ident(c.relname), "
    "sign(q.seqincrement) * coalesce(pg_sequence_last_value(q.seqrelid), q.seqstart - "
    "q.seqincrement), "
    "CASE WHEN q.seqincrement > 0 THEN least(q.seqmax, coalesce(col.most, q.seqmax)) "
    "ELSE "
    "-q.seqmin END - abs(q.seqincrement) + 1, "
    "CASE WHEN q.seqcycle AND coalesce(col.most, q.seqmax) >= q.seqmax THEN 'begins "
    "again' END, "
    "format_type(q.seqtypid, NULL) || coalesce(' for a column of ' || col.type, '') "
    "FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON "
    "n.oid = "
    "c.relnamespace LEFT JOIN LATERAL (SELECT min(CASE t.atttypid WHEN 'int2'::regtype "
    "THEN "
    "32767 WHEN 'int4'::regtype THEN 2147483647 ELSE 9223372036854775807 END) AS most, "
    "min(format_type(t.atttypid, NULL)) AS type FROM pg_attribute t WHERE EXISTS (SELECT "
    "FROM "
    "pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND "
    "d.refclassid = "
    "'pg_class'::regclass AND d.refobjid = t.attrelid AND d.refobjsubid = t.attnum AND "
    "d.deptype "
    "IN ('a', 'i')) OR EXISTS (SELECT FROM pg_depend d JOIN pg_attrdef f ON d.classid = "
    "'pg_attrdef'::regclass AND d.objid = f.oid WHERE d.refclassid = "
    "'pg_class'::regclass AND "
    "d.refobjid = c.oid AND f.adrelid = t.attrelid AND f.adnum = t.attnum)) col ON true "
    "WHERE c.relpersistence <> 't' AND has_sequence_privilege(q.seqrelid, 'SELECT, "
    "USAGE') "
    "ORDER BY 2 DESC LIMIT 500";

static int ask_sequences(struct tw_pg *pg, struct tw_arena *a, struct tw_standing *s,
                         struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r = tw_pg_query(pg, a, sequences_sql, 0, NULL, &rows, err);

    for (int i = 0; r == 0 && i < rows.rows; i++) {
        struct tw_counter one = {.kind = "sequence",
                                 .name = CELL(0),
                                 .used = real(CELL(1)),
                                 .limit = real(CELL(2)),
                                 .per_s = NAN,
                                 .per_request = NAN,
                                 .cycles = CELL(3),
                                 .source = CELL(4)};

        TW_PUSH(a, &s->counters, one);
    }
    return r;
}

#define LAST_IDS     2147483648.0
#define KEPT_FROM_14 3e6 /* ids that are left when writes stop */
#define KEPT_BEFORE  1e6

static void add_age(struct tw_arena *a, struct tw_standing *s, const char *kind,
                    const char *database, double age, int version)
{
    double kept = version >= 140000 ? KEPT_FROM_14 : KEPT_BEFORE;
    struct tw_counter one = {.kind = kind,
                             .name = database,
                             .used = age,
                             .limit = LAST_IDS - kept,
                             .per_s = NAN,
                             .per_request = NAN,
                             .source = "pg_database"};

    TW_PUSH(a, &s->counters, one);
}

static int ask_databases(struct tw_pg *pg, struct tw_arena *a, struct tw_standing *s,
                         struct tw_err *err)
{
    struct tw_pg_rows rows;
    double oldest[2] = {-1, -1};
    const char *of[2] = {NULL, NULL};
    int r = tw_pg_query(
        pg, a,
        "SELECT " OURS "datname, age(datfrozenxid), mxid_age(datminmxid), datconnlimit, "
        "(SELECT count(*) FROM pg_stat_activity s WHERE s.datid = d.oid AND "
        "s.backend_type = "
        "'client backend' AND s.pid <> pg_backend_pid()) FROM pg_database d",
        0, NULL, &rows, err);

    for (int i = 0; r == 0 && i < rows.rows; i++) {
        struct tw_counter one = {.kind = "connections",
                                 .name = CELL(0),
                                 .used = real(CELL(4)),
                                 .limit = real(CELL(3)),
                                 .per_s = NAN,
                                 .per_request = NAN,
                                 .source = "CONNECTION LIMIT of the database"};

        for (int k = 0; k < 2; k++)
            if (real(CELL(1 + k)) > oldest[k]) {
                oldest[k] = real(CELL(1 + k));
                of[k] = CELL(0);
            }
        if (one.limit >= 0)
            TW_PUSH(a, &s->counters, one);
    }
    if (of[0])
        add_age(a, s, "xid", of[0], oldest[0], tw_pg_version(pg));
    if (of[1])
        add_age(a, s, "mxid", of[1], oldest[1], tw_pg_version(pg));
    return r;
}

static int ask_roles(struct tw_pg *pg, struct tw_arena *a, struct tw_standing *s,
                     struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r = tw_pg_query(
        pg, a,
        "SELECT " OURS
        "rolname, rolcanlogin, rolsuper, rolconnlimit, (SELECT count(*) FROM "
        "pg_stat_activity s WHERE s.usesysid = r.oid AND s.backend_type = 'client "
        "backend' AND "
        "s.pid <> pg_backend_pid()), CASE WHEN rolvaliduntil < 'infinity' THEN "
        "(extract(epoch FROM rolvaliduntil) * 1000000)::bigint END FROM pg_roles r WHERE "
        "rolcanlogin AND rolname <> '" KIND_PG_ROLE "' ORDER BY 1 LIMIT 1000",
        0, NULL, &rows, err);

    for (int i = 0; r == 0 && i < rows.rows; i++) {
        struct tw_role one = {.name = CELL(0),
                              .login = tw_streq(CELL(1), "t"),
                              .superuser = tw_streq(CELL(2), "t"),
                              .connection_limit = (int)kind_pg_whole(CELL(3)),
                              .connections_used = (int)kind_pg_whole(CELL(4)),
                              .valid_until_wall_ns = kind_pg_whole(CELL(5)) * 1000};

        TW_PUSH(a, &s->roles, one);
    }
    return r;
}

/* Those of the target are dropped in a seed: what a twin has, the change made. One that reserves no WAL yet
 * keeps none. */
static int ask_slots(struct tw_pg *pg, struct tw_arena *a, struct tw_standing *s, struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r = tw_pg_query(pg, a,
                        "SELECT " OURS "slot_name, active, coalesce(plugin, slot_type) FROM "
                        "pg_replication_slots WHERE restart_lsn IS NOT NULL AND NOT temporary",
                        0, NULL, &rows, err);

    for (int i = 0; r == 0 && i < rows.rows; i++)
        TW_PUSH(a, &s->counters,
                (struct tw_counter){.kind = "slot",
                                    .name = CELL(0),
                                    .used = 0,
                                    .limit = NAN,
                                    .per_s = NAN,
                                    .per_request = NAN,
                                    .cycles = tw_streq(CELL(1), "t") ? "its consumer takes it" : NULL,
                                    .source = CELL(2)});
    return r;
}

int kind_pg_ask_counters(struct tw_pg *pg, struct tw_arena *a, struct tw_standing *ret,
                         struct tw_err *err)
{
    int r = ask_sequences(pg, a, ret, err);

    if (r == 0)
        r = ask_databases(pg, a, ret, err);
    if (r == 0)
        r = ask_roles(pg, a, ret, err);
    return r;
}

/* ---- what holds something back: of the target only ---- */

/* Each row a counter: kind, name, used, what keeps it from being a failure, source. A
 * session that was used only in the beginning of its life may be one that nobody closes. */
static const char *const holders_sql[] = {
    "SELECT " OURS
    "'slot', slot_name, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN "
    "pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn), CASE WHEN "
    "active "
    "THEN 'its consumer takes it' END, coalesce(plugin, slot_type) FROM "
    "pg_replication_slots "
    "WHERE restart_lsn IS NOT NULL",
    "SELECT " OURS
    "'xmin', 'slot ' || slot_name, greatest(age(xmin), age(catalog_xmin)), NULL, "
    "'pg_replication_slots' FROM pg_replication_slots WHERE NOT active AND "
    "coalesce(xmin, "
    "catalog_xmin) IS NOT NULL",
    "SELECT " OURS
    "'xmin', 'prepared transaction ' || left(gid, 40), age(transaction), NULL, "
    "'pg_prepared_xacts' FROM pg_prepared_xacts",
    "SELECT " OURS "'session', coalesce(usename, ''), extract(epoch FROM now() - "
    "backend_start), NULL, 'pg_stat_activity' FROM pg_stat_activity WHERE backend_type = "
    "'client backend' AND pid <> pg_backend_pid() AND state IN ('idle', 'idle in "
    "transaction') "
    "AND state_change - backend_start < (now() - backend_start) * 0.1 ORDER BY "
    "backend_start "
    "LIMIT 500",
    "SELECT " OURS "'wal_ahead', 'pg_wal', count(*) FILTER (WHERE name > "
    "pg_walfile_name(w.here)) * min(size) + min(size) - mod(pg_wal_lsn_diff(w.here, '0/0'), "
    "min(size)), NULL, 'pg_ls_waldir' FROM pg_ls_waldir(), (SELECT CASE WHEN NOT "
    "pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END AS here) w WHERE name ~ "
    "'^[0-9A-F]{24}$' AND w.here IS NOT NULL GROUP BY w.here",
    "SELECT " OURS
    "'archive', current_setting('archive_command'), failed_count, CASE WHEN "
    "last_failed_time > coalesce(last_archived_time, '-infinity') THEN NULL ELSE "
    "'segments are "
    "taken' END, 'pg_stat_archiver' FROM pg_stat_archiver WHERE "
    "current_setting('archive_mode') "
    "<> 'off'",
    "SELECT " OURS "'wal', 'pg_wal', sum(size), NULL, 'pg_ls_waldir' FROM pg_ls_waldir()",
};

int kind_pg_ask_holders(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                        struct tw_err *err)
{
    int r = 0;

    for (size_t k = 0; k < TW_COUNT_OF(holders_sql) && r == 0; k++) {
        struct tw_pg_rows rows;

        r = tw_pg_query(pg, a, holders_sql[k], 0, NULL, &rows, err);
        for (int i = 0; r == 0 && i < rows.rows; i++)
            TW_PUSH(a, &s->counters,
                    (struct tw_counter){.kind = CELL(0),
                                        .name = CELL(1),
                                        .used = real(CELL(2)),
                                        .limit = NAN,
                                        .per_s = NAN,
                                        .per_request = NAN,
                                        .cycles = CELL(3),
                                        .source = CELL(4)});
        if (r == -EACCES) /* what the role may not see is not known */
            r = 0;
    }
    return r;
}

/* ---- file systems ---- */

static void add_file_system(struct tw_arena *a, struct tw_snapshot *s, dev_t seen[],
                            const char *holds, const char *path)
{
    struct statvfs v;
    struct stat st;
    double block;
    size_t n = 0;

    if (!path || stat(path, &st) < 0 || statvfs(path, &v) < 0)
        return;
    for (size_t i = 0; i < s->counters.count; i++) {
        struct tw_counter *c = &s->counters.items[i];

        if (!tw_streq(c->kind, "disk") && !tw_streq(c->kind, "inodes"))
            continue;
        if (seen[n / 2] == st.st_dev)
            c->source = tw_arena_printf(a, "%s, %s", c->source, holds);
        n++;
    }
    for (size_t i = 0; i < n / 2; i++)
        if (seen[i] == st.st_dev)
            return;
    seen[n / 2] = st.st_dev;
    block = (double)v.f_frsize;
    TW_PUSH(a, &s->counters,
            (struct tw_counter){.kind = "disk",
                                .name = tw_arena_strdup(a, path),
                                .used = block * (double)(v.f_blocks - v.f_bavail),
                                .limit = block * (double)v.f_blocks,
                                .per_s = NAN,
                                .per_request = NAN,
                                .source = holds});
    /* A file system without a fixed table of inodes says 0. */
    TW_PUSH(a, &s->counters,
            (struct tw_counter){.kind = "inodes",
                                .name = tw_arena_strdup(a, path),
                                .used = v.f_files ? (double)(v.f_files - v.f_favail)
                                                  : (double)NAN,
                                .limit = v.f_files ? (double)v.f_files : (double)NAN,
                                .per_s = NAN,
                                .per_request = NAN,
                                .source = holds});
}

static const char *text_of(const struct tw_snapshot *s, const char *name)
{
    const struct tw_setting *one = tw_snapshot_setting(s, name);

    return one ? one->value : NULL;
}

/* What its stderr is, as the kernel knows it: a file, or nothing that fills a disk of its own. */
static const char *stderr_file(struct tw_arena *a, const struct tw_snapshot *s)
{
    tw_auto_free char *pid_file = tw_strf("%s/postmaster.pid", s->data_dir), *text = NULL;
    tw_auto_free char *link = NULL;
    char to[4096];
    ssize_t n;

    if (tw_read_file(AT_FDCWD, pid_file, 4096, &text, NULL, NULL) < 0)
        return NULL;
    link = tw_strf("/proc/%d/fd/2", atoi(text));
    n = readlink(link, to, sizeof(to) - 1);
    return n > 0 && *to == '/' && !tw_starts_with(to, "/dev/")
               ? tw_arena_strndup(a, to, (size_t)n)
               : NULL;
}

/* Where its messages end up: the collector's directory, else what it was started with. */
static const char *log_place(struct tw_arena *a, const struct tw_snapshot *s)
{
    const char *dir = text_of(s, "log_directory");

    if (!tw_streq(text_of(s, "logging_collector"), "on") || !dir)
        return stderr_file(a, s);
    return *dir == '/' ? dir : tw_arena_printf(a, "%s/%s", s->data_dir, dir);
}

void kind_pg_file_systems(struct tw_arena *a, struct tw_snapshot *s)
{
    dev_t seen[64];
    const char *wal = tw_arena_printf(a, "%s/pg_wal", s->data_dir);

    add_file_system(a, s, seen, "data", s->data_dir);
    add_file_system(a, s, seen, "wal", wal);
    add_file_system(a, s, seen, "log", log_place(a, s));
    for (size_t i = 0; i < s->tablespaces.count && i < 60; i++)
        add_file_system(a, s, seen, "tablespace", s->tablespaces.items[i]);
}

/* ---- a twin ---- */

/* Bytes of a row with its share of the indexes; what vacuum may spend, by the settings that
 * hold for autovacuum or, where these are -1, for vacuum. The table's own storage
 * parameters win. */
static const char tables_sql[] =
    "WITH o AS (SELECT c.oid, (SELECT jsonb_object_agg(option_name, option_value) FROM "
    "pg_options_to_table(c.reloptions)) AS p FROM pg_class c WHERE c.relkind IN ('r', "
    "'m')), "
    "s AS (SELECT current_setting('autovacuum')::bool AND "
    "current_setting('track_counts')::bool "
    "AS on, current_setting('autovacuum_vacuum_threshold')::float8 AS base, "
    "current_setting('autovacuum_vacuum_scale_factor')::float8 AS scale, (SELECT "
    "setting::float8 "
    "FROM pg_settings WHERE name = 'autovacuum_naptime') AS nap, (SELECT setting::float8 "
    "FROM "
    "pg_settings WHERE name = 'autovacuum_vacuum_cost_delay') AS delay, (SELECT "
    "setting::float8 "
    "FROM pg_settings WHERE name = 'vacuum_cost_delay') AS vdelay, "
    "nullif(current_setting('autovacuum_vacuum_cost_limit')::float8, -1) AS lim, "
    "current_setting('vacuum_cost_limit')::float8 AS vlim) "
    "SELECT " OURS "quote_ident(t.schemaname) || '.' || quote_ident(t.relname), "
    "greatest(t.n_live_tup, c.reltuples, 0), t.n_dead_tup, pg_relation_size(c.oid) / "
    "8192.0, "
    "pg_indexes_size(c.oid) / 8192.0, "
    "CASE WHEN s.on AND coalesce((o.p->>'autovacuum_enabled')::bool, true) THEN "
    "coalesce((o.p->>'autovacuum_vacuum_threshold')::float8, s.base) + "
    "coalesce((o.p->>'autovacuum_vacuum_scale_factor')::float8, s.scale) * "
    "greatest(c.reltuples, "
    "0) END, s.nap, "
    "CASE WHEN coalesce((o.p->>'autovacuum_vacuum_cost_delay')::float8, nullif(s.delay, "
    "-1), "
    "s.vdelay) > 0 THEN coalesce((o.p->>'autovacuum_vacuum_cost_limit')::float8, s.lim, "
    "s.vlim) "
    "/ coalesce((o.p->>'autovacuum_vacuum_cost_delay')::float8, nullif(s.delay, -1), "
    "s.vdelay) * "
    "1000 END, "
    "t.n_tup_ins - t.n_tup_del, pg_total_relation_size(c.oid)::float8 / "
    "nullif(greatest(t.n_live_tup, c.reltuples, 0) + t.n_dead_tup, 0) "
    "FROM pg_stat_user_tables t JOIN pg_class c ON c.oid = t.relid JOIN o ON o.oid = "
    "c.oid, s "
    "ORDER BY 4 DESC LIMIT 1000";

static void take_table(struct tw_arena *a, const struct tw_pg_rows *got, int i,
                       struct tw_standing *s)
{
    const struct tw_pg_rows rows = *got;
    struct tw_reclaimed t = {.name = CELL(0),
                             .rows = real(CELL(1)),
                             .dead_rows = real(CELL(2)),
                             .heap_pages = real(CELL(3)),
                             .index_pages = real(CELL(4)),
                             .added_rows = real(CELL(8)),
                             .row_bytes = real(CELL(9)),
                             .threshold_rows = CELL(5) ? real(CELL(5)) : INFINITY,
                             .naptime_s = real(CELL(6)),
                             .cost_per_s = CELL(7) ? real(CELL(7)) : INFINITY};

    TW_PUSH(a, &s->tables, t);
    s->pages += t.heap_pages + t.index_pages;
    s->pages_per_s = fmin(s->pages_per_s, t.cost_per_s / 22);
}

static int ask_tables(struct tw_pg *pg, struct tw_arena *a, struct tw_standing *s,
                      struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r = tw_pg_query(pg, a, tables_sql, 0, NULL, &rows, err);

    if (r < 0)
        return r;
    s->pages = 0;
    s->pages_per_s = INFINITY;
    for (int i = 0; i < rows.rows; i++)
        take_table(a, &rows, i, s);
    return 0;
}

/* From 13 on slots can be bounded; the setting is asked for so that older ones answer too. */
static const char journal_sql[] =
    "SELECT " OURS "(SELECT sum(size) FROM pg_ls_waldir()), "
    "pg_size_bytes(coalesce(current_setting('wal_keep_size', true), '0')), "
    "coalesce((SELECT nullif(setting::float8, -1) * 1048576 FROM pg_settings WHERE name "
    "= "
    "'max_slot_wal_keep_size'), 'infinity'), "
    "(SELECT setting::float8 * CASE unit WHEN '8kB' THEN 8192 ELSE 1 END FROM "
    "pg_settings WHERE "
    "name = 'wal_segment_size'), archived_count, failed_count, "
    "CASE WHEN current_setting('archive_mode') <> 'off' THEN coalesce(nullif("
    "current_setting('archive_library', true), ''), current_setting('archive_command')) "
    "END, "
    "current_setting('autovacuum_freeze_max_age'), "
    "current_setting('autovacuum_multixact_freeze_max_age') FROM pg_stat_archiver";

static int ask_journal(struct tw_pg *pg, struct tw_arena *a, struct tw_standing *s,
                       struct tw_err *err)
{
    struct tw_pg_rows rows;
    int i = 0;
    int r = tw_pg_query(pg, a, journal_sql, 0, NULL, &rows, err);

    if (r < 0 || rows.rows != 1)
        return r;
    s->journal_bytes = real(CELL(0));
    s->journal_least_bytes = real(CELL(1));
    s->journal_held_bytes = real(CELL(2));
    s->journal_segment_bytes = real(CELL(3));
    s->archived = real(CELL(4));
    s->archive_failed = real(CELL(5));
    s->archive_command = CELL(6);
    s->forced_at[0] = real(CELL(7));
    s->forced_at[1] = real(CELL(8));
    return 0;
}

/* Files of the databases, temporary ones too. */
static double count_files(const struct tw_access *x)
{
    tw_auto_free char *base = tw_strf("%s%s/base", x->root, x->snapshot->data_dir);
    char *paths[] = {base, NULL};
    FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
    double n = 0;

    if (!fts)
        return NAN;
    for (FTSENT *e; (e = fts_read(fts));)
        n += e->fts_info == FTS_NSOK || e->fts_info == FTS_F || e->fts_info == FTS_D;
    (void)fts_close(fts);
    return n;
}

#define ARCHIVE_NS (4 * TW_SEC_NS)
#define LOOK_NS    (5 * TW_MSEC_NS)

/* A segment is finished now instead of some time later; what becomes of it is known when
 * either count moves. Nothing by the deadline leaves both as they are, and says how long it waited; where
 * nothing is named to take it there is nothing to wait for. */
static int probe_archive(struct tw_pg *pg, struct tw_arena *a, struct tw_standing *s,
                         struct tw_err *err)
{
    int64_t begun = tw_now_ns(), deadline = begun + ARCHIVE_NS;
    double archived = s->archived, failed = s->archive_failed;
    int r = 0;

    if (!s->archive_command || archived + failed > 0)
        return 0;
    if (!*s->archive_command) {
        s->archive_waits_s = INFINITY;
        return 0;
    }
    r = tw_pg_exec(pg, "CREATE TABLE pg_temp.twin_probe () USING heap; SELECT pg_switch_wal()", err);
    while (r == 0 && s->archived == archived && s->archive_failed == failed &&
           tw_now_ns() < deadline) {
        tw_sleep_ns(LOOK_NS);
        r = ask_journal(pg, a, s, err);
    }
    if (r == 0 && s->archived == archived && s->archive_failed == failed)
        s->archive_waits_s = tw_seconds(tw_now_ns() - begun);
    return r;
}

static const char *main_database(const struct tw_snapshot *s)
{
    return s->tables.count && s->tables.items[0].database ? s->tables.items[0].database
           : s->databases.count                           ? s->databases.items[0]
                                                          : "postgres";
}

int kind_pg_standing(struct tw_arena *a, const struct tw_access *access, bool probe,
                     struct tw_standing *ret, struct tw_err *err)
{
    const char *info = tw_arena_printf(
        a, "%s dbname='%s'", kind_pg_conninfo(a, access->snapshot, access->entrance),
        main_database(access->snapshot));
    struct tw_standing s;
    struct tw_pg *pg;
    int r;

    tw_standing_init(&s);
    r = tw_pg_open(info, (unsigned)-1, tw_now_ns() + KIND_PG_CONNECT_NS, &pg, err);
    if (r < 0)
        return r;
    r = tw_pg_exec(pg, "SET jit = off", err);
    if (r == 0)
        r = kind_pg_ask_counters(pg, a, &s, err);
    if (r == 0)
        r = ask_tables(pg, a, &s, err);
    if (r == 0)
        r = ask_slots(pg, a, &s, err);
    if (r == 0)
        r = ask_journal(pg, a, &s, err);
    if (r == 0 && probe && !kind_pg_is_standby(access))
        r = probe_archive(pg, a, &s, err);
    tw_pg_close(pg);
    s.files = count_files(access);
    if (r == 0)
        *ret = s;
    return r;
}

/* ---- certificates ---- */

/* As the clone's own files say, with the change in them; a relative path is below the data directory. */
void kind_pg_certificates(struct tw_arena *a, const struct tw_access *access,
                          struct tw_certificates *ret)
{
    static const struct {
        const char *name, *otherwise;
    } files[] = {{"ssl_cert_file", "server.crt"}, {"ssl_ca_file", NULL}};
    const struct tw_snapshot *s = access->snapshot;
    const struct kind_pg_entry *on;
    struct kind_pg_conf conf;
    bool ssl = false;

    kind_pg_conf_read(a, access->root, s->config_file, s->data_dir, &conf);
    on = kind_pg_conf_last(&conf, "ssl");
    if (!on || kind_pg_read_bool(on->value, &ssl) < 0 || !ssl)
        return;
    for (size_t i = 0; i < TW_COUNT_OF(files); i++) {
        const struct kind_pg_entry *e = kind_pg_conf_last(&conf, files[i].name);
        const char *path = e && *e->value ? e->value : files[i].otherwise;
        struct tw_certificate one;

        if (!path)
            continue;
        path = *path == '/' ? path : tw_arena_printf(a, "%s/%s", s->data_dir, path);
        service_certificate_read(a, access->root, path, NULL, files[i].name, &one);
        TW_PUSH(a, &ret->list, one);
    }
}
