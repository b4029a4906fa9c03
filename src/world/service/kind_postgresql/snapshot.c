/* A snapshot: from a running server by SQL alone, from a stopped one by its files and
 * programs. */
#include "kind_pg_internal.h"

#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <math.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECT_NS (5 * TW_SEC_NS)
/* So that our own questions are known among the target's statements, and left out. */
#define OURS "/*twin*/ "

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
    r = tw_pg_open(tw_buf_text(&full), uid, tw_now_ns() + CONNECT_NS, ret, err);
    if (r < 0)
        return tw_wrap(err, r, "connecting to target '%s'", t->name);
    if (ret_conninfo)
        *ret_conninfo = tw_arena_strdup(a, tw_buf_text(&full));
    return tw_pg_exec(*ret, "SET statement_timeout = '10s'; SET lock_timeout = '1s'",
                      err);
}

/* ---- by SQL ---- */

static int64_t whole(const char *text)
{
    return text ? strtoll(text, NULL, 10) : 0;
}

static double real(const char *text)
{
    return text ? strtod(text, NULL) : NAN;
}

#define CELL(column) tw_pg_cell(&rows, i, column)

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
                                 .line = (int)whole(CELL(7)),
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
    s->version_num = (int)whole(CELL(1));
    s->data_dir = CELL(2);
    s->config_file = CELL(3);
    s->hba_file = CELL(4);
    s->ident_file = CELL(5);
    s->port = (int)whole(CELL(6));
    s->system_identifier = CELL(7);
    s->catalog_version = whole(CELL(8));
    s->connections_used = (int)whole(CELL(9));
    return 0;
}

static int ask_hba(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
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
        struct tw_hba_rule rule = {.line = (int)whole(CELL(0)),
                                   .file = CELL(1) ? CELL(1) : s->hba_file,
                                   .type = CELL(2),
                                   .databases = CELL(3),
                                   .users = CELL(4),
                                   .address = CELL(5),
                                   .method = CELL(6),
                                   .error = CELL(7)};

        TW_PUSH(a, &s->hba, rule);
    }
    return r;
}

static int ask_databases(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
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

static int ask_tables(struct tw_pg *pg, struct tw_arena *a, const char *database,
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
                             .bytes = whole(CELL(2)),
                             .index_bytes = whole(CELL(3)),
                             .rows = whole(CELL(4)),
                             .seq_scans = whole(CELL(5)),
                             .seq_rows = whole(CELL(6)),
                             .idx_scans = whole(CELL(7)),
                             .inserts = whole(CELL(8)),
                             .updates = whole(CELL(9)),
                             .hot_updates = whole(CELL(10)),
                             .deletes = whole(CELL(11)),
                             .dead_rows = whole(CELL(12))};

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

static int ask_statements(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
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
                                   .query_id = whole(CELL(3)),
                                   .calls = whole(CELL(4)),
                                   .total_ms = real(CELL(5)),
                                   .mean_ms = real(CELL(6)),
                                   .rows_per_call = real(CELL(7)),
                                   .blocks_per_call = real(CELL(8))};

        TW_PUSH(a, &s->statements, one);
    }
    return r;
}

static int ask_server(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                      struct tw_err *err)
{
    int r = ask_identity(pg, a, s, err);

    if (r == 0)
        r = ask_settings(pg, a, s, err);
    if (r == 0)
        r = ask_hba(pg, a, s, err);
    if (r == 0)
        r = ask_databases(pg, a, s, err);
    if (r == 0)
        r = ask_load(pg, a, s, err);
    return r;
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

static int ask_running(struct tw_arena *a, const struct tw_target *t,
                       const struct kind_pg_place *place, struct tw_snapshot *s,
                       struct tw_err *err)
{
    const char *own = t->dsn ? tw_pg_conninfo_value(a, t->dsn, "dbname") : NULL;
    struct tw_pg *pg = NULL;
    const char *database;
    int r = kind_pg_connect(a, t, place, NULL, &pg, NULL, err);

    if (r == 0)
        r = ask_server(pg, a, s, err);
    database = main_database(a, t, s);
    if (r == 0 && !tw_streq(database, own ? own : "postgres")) {
        add_cost(s, pg);
        tw_pg_close(pg);
        pg = NULL;
        r = kind_pg_connect(a, t, place, database, &pg, NULL, err);
    }
    if (r == 0)
        r = ask_tables(pg, a, database, s, err);
    if (r == 0)
        r = ask_statements(pg, a, s, err);
    if (pg)
        add_cost(s, pg);
    tw_pg_close(pg);
    return r;
}

/* ---- by files ---- */

/* One line of postgres --describe-config: name, context, group, type, boot, min, max,
 * texts. */
static void take_description(struct tw_arena *a, char *line, struct tw_snapshot *s)
{
    static const char *const types[][2] = {{"BOOLEAN", "bool"},
                                           {"INTEGER", "integer"},
                                           {"REAL", "real"},
                                           {"ENUM", "enum"},
                                           {"STRING", "string"}};
    char *field[8] = {0};
    struct tw_setting one = {0};
    bool quoted;

    for (size_t i = 0; i < TW_COUNT_OF(field) && line; i++)
        field[i] = strsep(&line, "\t");
    if (!field[6])
        return;
    one.name = tw_arena_strdup(a, field[0]);
    one.context = tw_arena_strdup(a, field[1]);
    for (size_t i = 0; i < TW_COUNT_OF(types); i++)
        if (tw_streq(field[3], types[i][0]))
            one.type = types[i][1];
    /* The fifth column is what the variable holds before the defaults are set: no
     * default. */
    one.min = *field[5] ? tw_arena_strdup(a, field[5]) : NULL;
    one.max = *field[6] ? tw_arena_strdup(a, field[6]) : NULL;
    one.unit = kind_pg_unit_of(one.name);
    one.source = "default";
    one.list = kind_pg_is_list(one.name, &quoted);
    TW_PUSH(a, &s->settings, one);
}

/* The value of a file in the unit in which the server would show it. */
static const char *shown_value(struct tw_arena *a, const struct tw_setting *s,
                               const char *value)
{
    double number;
    bool on;

    if (tw_streq(s->type, "bool") && kind_pg_read_bool(value, &on) == 0)
        return on ? "on" : "off";
    if ((tw_streq(s->type, "integer") || tw_streq(s->type, "real")) &&
        kind_pg_read_number(s, value, &number, NULL) == 0)
        return tw_arena_printf(a, "%.15g", number);
    return tw_redact_value(NULL, a, s->name, value);
}

static void take_entry(struct tw_arena *a, const struct kind_pg_entry *e,
                       struct tw_snapshot *s, const char *source)
{
    for (size_t i = 0; i < s->settings.count; i++) {
        struct tw_setting *one = &s->settings.items[i];

        if (strcasecmp(one->name, e->name) != 0)
            continue;
        one->value = shown_value(a, one, e->value);
        one->source = source;
        one->file = e->file;
        one->line = e->line;
        return;
    }
    TW_PUSH(a, &s->settings,
            (struct tw_setting){.name = e->name,
                                .value = tw_redact_value(NULL, a, e->name, e->value),
                                .type = "string",
                                .context = strchr(e->name, '.') ? "user" : "internal",
                                .source = source,
                                .file = e->file,
                                .line = e->line});
}

/* "name=value" after -c, as it was started the last time. */
static void take_options(struct tw_arena *a, const struct kind_pg_place *p,
                         struct tw_snapshot *s)
{
    for (size_t i = 0; i < p->options.count; i++) {
        const char *option = p->options.items[i];
        size_t n = strcspn(option, "=");
        struct kind_pg_entry e = {.name = tw_arena_strndup(a, option, n),
                                  .value = option[n] ? option + n + 1 : ""};

        take_entry(a, &e, s, "command line");
    }
}

static const char *control_value(struct tw_arena *a, const char *out, const char *label)
{
    const char *at = strstr(out, label);

    if (!at)
        return NULL;
    at += strlen(label);
    at += strspn(at, " ");
    return tw_arena_strndup(a, at, strcspn(at, "\n"));
}

static const char *path_setting(const struct kind_pg_conf *conf, const char *name,
                                const char *otherwise)
{
    const struct kind_pg_entry *e = kind_pg_conf_last(conf, name);

    return e && *e->value == '/' ? e->value : otherwise;
}

static int read_stopped(struct tw_arena *a, const struct kind_pg_place *p,
                        struct tw_snapshot *s, struct tw_err *err)
{
    const char *version[] = {tw_arena_printf(a, "%s/postgres", p->bin_dir), "--version",
                             NULL};
    const char *describe[] = {version[0], "--describe-config", NULL};
    const char *control[] = {tw_arena_printf(a, "%s/pg_controldata", p->bin_dir), "-D",
                             p->data_dir, NULL};
    struct kind_pg_conf conf;
    const char *out, *beside;
    int r = kind_pg_program(a, p, version, &out, err);

    if (r < 0)
        return r;
    out += strcspn(out, "0123456789");
    s->version = tw_arena_strndup(a, out, strcspn(out, "\n"));
    s->version_num =
        p->major * 10000 + (strchr(out, '.') ? atoi(strchr(out, '.') + 1) : 0);
    r = kind_pg_program(a, p, control, &out, err);
    if (r < 0)
        return r;
    s->system_identifier = control_value(a, out, "Database system identifier:");
    s->catalog_version = whole(control_value(a, out, "Catalog version number:"));
    r = kind_pg_program(a, p, describe, &out, err);
    if (r < 0)
        return r;
    for (char *text = tw_arena_strdup(a, out), *line; (line = strsep(&text, "\n"));)
        take_description(a, line, s);
    kind_pg_conf_read(a, "", p->config_file, p->data_dir, &conf);
    for (size_t i = 0; i < conf.entries.count; i++)
        take_entry(a, &conf.entries.items[i], s, "configuration file");
    take_options(a, p, s);
    s->data_dir = p->data_dir;
    s->config_file = p->config_file;
    beside = tw_arena_printf(
        a, "%.*s", (int)(strrchr(p->config_file, '/') - p->config_file), p->config_file);
    s->hba_file =
        path_setting(&conf, "hba_file", tw_arena_printf(a, "%s/pg_hba.conf", beside));
    s->ident_file =
        path_setting(&conf, "ident_file", tw_arena_printf(a, "%s/pg_ident.conf", beside));
    s->port = kind_pg_conf_last(&conf, "port")
                  ? atoi(kind_pg_conf_last(&conf, "port")->value)
                  : 5432;
    for (size_t i = 0; i < p->tablespaces.count; i++)
        TW_PUSH(a, &s->tablespaces, p->tablespaces.items[i]);
    s->connections_used = -1;
    s->rate_per_s = s->commit_share = s->max_slot_lag_bytes = NAN;
    return 0;
}

/* ---- both ---- */

static int64_t tree_bytes(const char *path)
{
    char *paths[] = {(char *)path, NULL};
    FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    int64_t bytes = 0;

    if (!fts)
        return 0;
    for (FTSENT *e; (e = fts_read(fts));)
        if (e->fts_info == FTS_F)
            bytes += (int64_t)e->fts_statp->st_blocks * 512;
    (void)fts_close(fts);
    return bytes;
}

static int add_file(struct tw_arena *a, const char *path, struct tw_snapshot *s,
                    struct tw_err *err)
{
    tw_auto_free char *text = NULL;
    struct stat st;
    int r = tw_read_file(AT_FDCWD, path, 4 << 20, &text, NULL, err);

    if (r < 0)
        return r;
    if (stat(path, &st) < 0)
        return tw_fail_errno(err, errno, "'%s'", path);
    TW_PUSH(a, &s->files,
            (struct tw_file){.path = tw_arena_strdup(a, path),
                             .text = tw_redact_text(NULL, a, text),
                             .mode = st.st_mode & 07777});
    return 0;
}

static int add_files(struct tw_arena *a, struct tw_snapshot *s, struct tw_err *err)
{
    struct kind_pg_conf conf;
    int r = 0;

    kind_pg_conf_read(a, "", s->config_file, s->data_dir, &conf);
    if (conf.problem)
        return tw_fail(err, -EIO, "configuration of the target: %s", conf.problem);
    for (size_t i = 0; i < conf.files.count && r == 0; i++)
        r = add_file(a, conf.files.items[i], s, err);
    if (r == 0)
        r = add_file(a, s->hba_file, s, err);
    if (r == 0 && access(s->ident_file, F_OK) == 0)
        r = add_file(a, s->ident_file, s, err);
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
            "the server behind the dsn of '%s' has data_directory '%s', which is "
            "not on this host; only local clusters can be cloned",
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

static int find_place(struct tw_arena *a, const struct tw_target *t,
                      struct kind_pg_place *place, struct tw_snapshot *s,
                      struct tw_err *err)
{
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
    r = kind_pg_find(a, s->data_dir, place, err);
    if (r == 0)
        place->state = KIND_PG_RUNNING;
    return r < 0 ? tw_wrap(err, r, "the server's own data_directory") : 0;
}

int kind_pg_snapshot(struct tw_arena *a, const struct tw_target *t,
                     struct tw_snapshot *ret, struct tw_err *err)
{
    struct kind_pg_place place;
    struct tw_snapshot s = {.connections_used = -1};
    int64_t begun = tw_now_ns();
    int r = find_place(a, t, &place, &s, err);

    if (r < 0)
        return r;
    if (place.state == KIND_PG_RUNNING && !s.version)
        r = ask_running(a, t, &place, &s, err);
    else if (place.state != KIND_PG_RUNNING)
        r = read_stopped(a, &place, &s, err);
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
    s.data_bytes = tree_bytes(place.data_dir);
    if (place.wal_dir)
        s.data_bytes += tree_bytes(place.wal_dir);
    for (size_t i = 0; i < s.tablespaces.count; i++)
        s.data_bytes += tree_bytes(s.tablespaces.items[i]);
    r = add_files(a, &s, err);
    if (r < 0)
        return r;
    s.cost.seconds = tw_seconds(tw_now_ns() - begun);
    *ret = s;
    return 0;
}

/* ---- from a twin ---- */

static int open_twin(struct tw_arena *a, const struct tw_access *x, const char *database,
                     struct tw_pg **ret, struct tw_err *err)
{
    const char *info = tw_arena_printf(
        a, "%s dbname='%s'", kind_pg_conninfo(a, x->snapshot, x->entrance), database);

    return tw_pg_open(info, (unsigned)-1, tw_now_ns() + CONNECT_NS, ret, err);
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
    r = ask_databases(pg, a, s, err);
    tw_pg_close(pg);
    database = s->databases.count ? s->databases.items[0] : "postgres";
    if (r == 0)
        r = open_twin(a, access, database, &pg, err);
    if (r < 0)
        return r;
    r = ask_tables(pg, a, database, s, err);
    if (r == 0)
        r = ask_statements(pg, a, s, err);
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
        *ret = whole(CELL(0));
        if (whole(CELL(1)) == 0 || tw_now_ns() > deadline_ns)
            break;
        tw_sleep_ns(2 * TW_MSEC_NS);
    }
    tw_pg_close(pg);
    return r == 0 && rows.rows != 1 ? tw_fail(err, -ENODATA, "no database '%s'", database)
                                    : r;
}
