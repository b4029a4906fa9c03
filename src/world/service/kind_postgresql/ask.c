/* What a server is asked, by SQL alone: one question a function. */
#include "kind_pg_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int64_t kind_pg_whole(const char *text)
{
    return text ? strtoll(text, NULL, 10) : 0;
}

static double real(const char *text)
{
    return text ? strtod(text, NULL) : NAN;
}

static int ask_settings(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                        struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r = tw_pg_query(
        pg, a,
        "SELECT " OURS "name, setting, unit, vartype, context, source, sourcefile, "
        "sourceline, boot_val, min_val, max_val, array_to_string(enumvals, ','), "
        "pending_restart FROM pg_settings ORDER BY name",
        0, NULL, &rows, err);

    for (int i = 0; r == 0 && i < rows.rows; i++) {
        bool quoted;
        struct tw_setting one = {.name = CELL(0),
                                 .value = tw_redact_value(NULL, a, CELL(0), CELL(1)),
                                 .unit = CELL(2),
                                 .type = CELL(3),
                                 .context = CELL(4),
                                 .source = CELL(5),
                                 .file = CELL(6),
                                 .line = (int)kind_pg_whole(CELL(7)),
                                 .boot_value = CELL(8),
                                 .min = CELL(9),
                                 .max = CELL(10),
                                 .enum_values = CELL(11),
                                 .list = kind_pg_is_list(CELL(0), &quoted),
                                 .pending_restart = tw_streq(CELL(12), "t")};

        TW_PUSH(a, &s->settings, one);
    }
    return r;
}

static int ask_identity(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                        struct tw_err *err)
{
    struct tw_pg_rows rows;
    int i = 0;
    int r = tw_pg_query(
        pg, a,
        "SELECT " OURS "current_setting('server_version'), "
        "current_setting('server_version_num'), "
        "current_setting('data_directory'), current_setting('config_file'), "
        "current_setting('hba_file'), current_setting('ident_file'), "
        "current_setting('port'), (SELECT system_identifier FROM pg_control_system()), "
        "(SELECT catalog_version_no FROM pg_control_system()), "
        "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') - "
        "1",
        0, NULL, &rows, err);

    if (r == -EACCES)
        return tw_wrap(err, r,
                       "the role may not see where the cluster is; GRANT pg_monitor, "
                       "pg_read_all_settings TO it");
    if (r < 0)
        return r;
    s->version = CELL(0);
    s->version_num = (int)kind_pg_whole(CELL(1));
    s->data_dir = CELL(2);
    s->config_file = CELL(3);
    s->hba_file = CELL(4);
    s->ident_file = CELL(5);
    s->port = (int)kind_pg_whole(CELL(6));
    s->system_identifier = CELL(7);
    s->catalog_version = kind_pg_whole(CELL(8));
    s->connections_used = (int)kind_pg_whole(CELL(9));
    return 0;
}

/* Of our own entrance nothing is told: it is in clones only. */
int kind_pg_ask_hba(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                    struct tw_err *err)
{
    struct tw_pg_rows rows;
    const char *file = s->version_num >= 160000 ? "file_name" : "NULL::text";
    const char *sql = tw_arena_printf(
        a,
        "SELECT " OURS "line_number, %s, type, array_to_string(database, ','), "
        "array_to_string(user_name, ','), address || coalesce('/' || netmask, ''), "
        "auth_method, error FROM pg_hba_file_rules",
        file);
    int r = tw_pg_query(pg, a, sql, 0, NULL, &rows, err);

    if (r == -EACCES || (r < 0 && s->version_num < 100000))
        return 0; /* only a superuser may look: the file itself is cloned in any case */
    for (int i = 0; r == 0 && i < rows.rows; i++) {
        struct tw_hba_rule rule = {.line = (int)kind_pg_whole(CELL(0)),
                                   .file = CELL(1) ? CELL(1) : s->hba_file,
                                   .type = CELL(2),
                                   .databases = CELL(3),
                                   .users = CELL(4),
                                   .address = CELL(5),
                                   .method = CELL(6),
                                   .error = CELL(7)};

        if (!tw_streq(rule.users, KIND_PG_ROLE))
            TW_PUSH(a, &s->hba, rule);
    }
    return r;
}

int kind_pg_ask_databases(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                          struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r =
        tw_pg_query(pg, a,
                    "SELECT " OURS "datname FROM pg_database WHERE datallowconn AND NOT "
                    "datistemplate ORDER BY pg_database_size(oid) DESC",
                    0, NULL, &rows, err);

    for (int i = 0; r == 0 && i < rows.rows; i++)
        TW_PUSH(a, &s->databases, CELL(0));
    if (r == 0)
        r = tw_pg_query(pg, a,
                        "SELECT " OURS
                        "pg_tablespace_location(oid) FROM pg_tablespace WHERE "
                        "pg_tablespace_location(oid) <> ''",
                        0, NULL, &rows, err);
    for (int i = 0; r == 0 && i < rows.rows; i++)
        TW_PUSH(a, &s->tablespaces, CELL(0));
    return r;
}

/* Rates since the statistics began; a minute is the least that says something. */
static int ask_load(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                    struct tw_err *err)
{
    struct tw_pg_rows rows;
    int i = 0;
    int r = tw_pg_query(
        pg, a,
        "SELECT " OURS
        "sum(xact_commit + xact_rollback) / nullif(extract(epoch FROM now() - "
        "coalesce(min(stats_reset), pg_postmaster_start_time())), 0), "
        "sum(xact_commit)::float8 / nullif(sum(xact_commit + xact_rollback), 0), "
        "extract(epoch FROM now() - coalesce(min(stats_reset), "
        "pg_postmaster_start_time())), "
        "sum(xact_commit + xact_rollback), "
        "(SELECT max(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN "
        "pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)) FROM "
        "pg_replication_slots) FROM pg_stat_database WHERE datname IS NOT NULL AND "
        "datname NOT "
        "LIKE 'template%'",
        0, NULL, &rows, err);

    if (r < 0)
        return r;
    s->rate_per_s = real(CELL(2)) >= 60 && real(CELL(3)) >= 1000 ? real(CELL(0)) : NAN;
    s->commit_share = real(CELL(1));
    s->max_slot_lag_bytes = CELL(4) ? real(CELL(4)) : 0;
    return 0;
}

int kind_pg_ask_tables(struct tw_pg *pg, struct tw_arena *a, const char *database,
                       struct tw_snapshot *s, struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r = tw_pg_query(
        pg, a,
        "SELECT " OURS "s.schemaname, s.relname, pg_relation_size(s.relid), "
        "pg_indexes_size(s.relid), c.reltuples::bigint, s.seq_scan, s.seq_tup_read, "
        "coalesce(s.idx_scan, 0), s.n_tup_ins, s.n_tup_upd, s.n_tup_hot_upd, "
        "s.n_tup_del, "
        "s.n_dead_tup FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid "
        "ORDER BY 3 DESC LIMIT 200",
        0, NULL, &rows, err);

    for (int i = 0; r == 0 && i < rows.rows; i++) {
        struct tw_table t = {.database = database,
                             .schema = CELL(0),
                             .name = CELL(1),
                             .bytes = kind_pg_whole(CELL(2)),
                             .index_bytes = kind_pg_whole(CELL(3)),
                             .rows = kind_pg_whole(CELL(4)),
                             .seq_scans = kind_pg_whole(CELL(5)),
                             .seq_rows = kind_pg_whole(CELL(6)),
                             .idx_scans = kind_pg_whole(CELL(7)),
                             .inserts = kind_pg_whole(CELL(8)),
                             .updates = kind_pg_whole(CELL(9)),
                             .hot_updates = kind_pg_whole(CELL(10)),
                             .deletes = kind_pg_whole(CELL(11)),
                             .dead_rows = kind_pg_whole(CELL(12))};

        TW_PUSH(a, &s->tables, t);
    }
    if (r == 0)
        r = tw_pg_query(pg, a,
                        "SELECT " OURS "extname || ' ' || extversion FROM pg_extension",
                        0, NULL, &rows, err);
    for (int i = 0; r == 0 && i < rows.rows; i++)
        TW_PUSH(a, &s->extensions, CELL(0));
    return r;
}

static bool has_extension(const struct tw_snapshot *s, const char *name)
{
    for (size_t i = 0; i < s->extensions.count; i++)
        if (tw_starts_with(s->extensions.items[i], name))
            return true;
    return false;
}

int kind_pg_ask_statements(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                           struct tw_err *err)
{
    struct tw_pg_rows rows;
    const char *exec = s->version_num >= 130000 ? "exec_" : "";
    const char *sql;
    int r;

    if (!has_extension(s, "pg_stat_statements"))
        return 0;
    sql = tw_arena_printf(
        a,
        "SELECT " OURS
        "d.datname, r.rolname, s.query, s.queryid, s.calls, s.total_%stime, "
        "s.mean_%stime, s.rows::float8 / nullif(s.calls, 0), (s.shared_blks_hit + "
        "s.shared_blks_read)::float8 / nullif(s.calls, 0) FROM pg_stat_statements s LEFT "
        "JOIN "
        "pg_database d ON d.oid = s.dbid LEFT JOIN pg_roles r ON r.oid = s.userid WHERE "
        "s.calls > 0 AND s.query IS NOT NULL AND s.query NOT LIKE '%%/*twin*/%%' AND "
        "r.rolname "
        "IS DISTINCT FROM '" KIND_PG_ROLE "' ORDER BY s.total_%stime DESC LIMIT 200",
        exec, exec, exec);
    r = tw_pg_query(pg, a, sql, 0, NULL, &rows, err);
    if (tw_streq(tw_pg_sqlstate(pg),
                 "55000")) /* made but not preloaded: there is nothing */
        return 0;
    for (int i = 0; r == 0 && i < rows.rows; i++) {
        struct tw_statement one = {.database = CELL(0),
                                   .user = CELL(1),
                                   .text = tw_pg_normalize(a, CELL(2)),
                                   .query_id = kind_pg_whole(CELL(3)),
                                   .calls = kind_pg_whole(CELL(4)),
                                   .total_ms = real(CELL(5)),
                                   .mean_ms = real(CELL(6)),
                                   .rows_per_call = real(CELL(7)),
                                   .blocks_per_call = real(CELL(8))};

        TW_PUSH(a, &s->statements, one);
    }
    return r;
}

/* ---- who connects ---- */

static void add_seen_client(struct tw_arena *a, const struct tw_pg_rows *rows, int i,
                            struct tw_snapshot *s)
{
    const char *version = tw_pg_cell(rows, i, 3);
    double idle_s = real(tw_pg_cell(rows, i, 5)), open_s = real(tw_pg_cell(rows, i, 6));
    struct tw_client c = {.protocol = "postgresql",
                          .user = tw_pg_cell(rows, i, 0),
                          .database = tw_pg_cell(rows, i, 1),
                          .source = tw_pg_cell(rows, i, 2),
                          .sslmode = version ? "require" : NULL,
                          .tls_max =
                              version && !tw_streq(version, "TLSv1.3") ? version : NULL,
                          .count = (int)kind_pg_whole(tw_pg_cell(rows, i, 4)),
                          .think_s = idle_s > 0 ? idle_s : 0,
                          .origin = "statistics"};

    if (!c.source)
        c.address = s->socket_dir ? s->socket_dir : "/";
    TW_PUSH(a, &s->clients, c);
    if (!(open_s > 0))
        return;
    /* It was seen at rest with a transaction open: it does that. */
    c.think_s = open_s;
    TW_PUSH(a, &c.send, "BEGIN");
    TW_PUSH(a, &c.send, "SELECT 1");
    TW_PUSH(a, &c.send, "COMMIT");
    TW_PUSH(a, &s->clients, c);
}

/* Those who are there at this moment; what GSSAPI authenticated cannot be tried elsewhere. */
static int ask_clients(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                       struct tw_err *err)
{
    struct tw_pg_rows rows;
    const char *gss = s->version_num >= 120000
                          ? "AND NOT EXISTS (SELECT FROM pg_stat_gssapi g WHERE g.pid = "
                            "a.pid AND g.gss_authenticated)"
                          : "";
    const char *sql = tw_arena_printf(
        a,
        "SELECT " OURS
        "a.usename, CASE backend_type WHEN 'walsender' THEN 'replication' ELSE a.datname "
        "END, host(a.client_addr), t.version, count(*), "
        "max(extract(epoch FROM clock_timestamp() - a.state_change)) FILTER (WHERE "
        "a.state = 'idle'), "
        "max(extract(epoch FROM clock_timestamp() - a.state_change)) FILTER (WHERE "
        "a.state LIKE 'idle in transaction%%') FROM pg_stat_activity a LEFT JOIN "
        "pg_stat_ssl t ON t.pid = a.pid AND t.ssl WHERE backend_type IN "
        "('client backend', 'walsender') AND a.pid <> pg_backend_pid() AND a.usename IS "
        "NOT NULL %s GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC LIMIT 32",
        gss);
    int r = tw_pg_query(pg, a, sql, 0, NULL, &rows, err);

    for (int i = 0; r == 0 && i < rows.rows; i++)
        add_seen_client(a, &rows, i, s);
    return r;
}

/* Where it listens: listen_addresses, each with the port. */
void kind_pg_endpoints(struct tw_arena *a, struct tw_snapshot *s)
{
    const struct tw_setting *listen = tw_snapshot_setting(s, "listen_addresses");
    char *text = listen ? tw_arena_strdup(a, listen->value) : NULL;

    for (char *word; text && (word = strsep(&text, ", '\""));)
        if (*word)
            TW_PUSH(a, &s->endpoints,
                    (struct tw_endpoint){
                        .protocol = "postgresql",
                        .address = tw_streq(word, "localhost") ? "127.0.0.1" : word,
                        .port = s->port});
}

int kind_pg_ask_server(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                       struct tw_err *err)
{
    int r = ask_identity(pg, a, s, err);

    if (r == 0)
        r = ask_settings(pg, a, s, err);
    if (r == 0)
        r = kind_pg_ask_hba(pg, a, s, err);
    if (r == 0)
        r = kind_pg_ask_databases(pg, a, s, err);
    if (r == 0)
        r = ask_load(pg, a, s, err);
    if (r == 0)
        r = ask_clients(pg, a, s, err);
    return r;
}
