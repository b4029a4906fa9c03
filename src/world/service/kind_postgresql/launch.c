/* How a cluster stands in a sandbox, how it is started there, and how it is entered. */
#include "kind_pg_internal.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- layout ---- */

static bool covered(const struct tw_layout *l, const char *path)
{
    for (size_t i = 0; i < l->paths.count; i++) {
        size_t n = strlen(l->paths.items[i]);

        if (strncmp(l->paths.items[i], path, n) == 0 &&
            (path[n] == '/' || path[n] == '\0'))
            return true;
    }
    return false;
}

static void add_path(struct tw_arena *a, struct tw_layout *l, const char *root,
                     const char *path)
{
    tw_auto_free char *host = tw_strf("%s%s", root, path);

    if (!covered(l, path) && access(host, F_OK) == 0)
        TW_PUSH(a, &l->paths, path);
}

static const char *parent(struct tw_arena *a, const char *path)
{
    return tw_arena_printf(a, "%.*s", (int)(strrchr(path, '/') - path), path);
}

/* Where a linked pg_wal leads in the clone; the link itself came with the copy. */
const char *kind_pg_wal_link(struct tw_arena *a, const char *root, const char *data_dir)
{
    tw_auto_free char *link = tw_strf("%s%s/pg_wal", root, data_dir);
    char to[4096];
    ssize_t n = readlink(link, to, sizeof(to) - 1);

    return n > 0 ? tw_arena_strndup(a, to, (size_t)n) : NULL;
}

/* Addresses that listen_addresses names one by one have to exist inside for the start to
 * be the same as at the target. */
static void add_addresses(struct tw_arena *a, const struct tw_snapshot *s,
                          struct tw_layout *l)
{
    const struct tw_setting *listen = tw_snapshot_setting(s, "listen_addresses");
    char *text = listen ? tw_arena_strdup(a, listen->value) : NULL;

    for (char *word; text && (word = strsep(&text, ", '\""));)
        if (*word && strspn(word, "0123456789.") == strlen(word) &&
            !tw_streq(word, "0.0.0.0"))
            TW_PUSH(a, &l->addresses, word);
}

int kind_pg_layout(struct tw_arena *a, const struct tw_snapshot *s,
                   const struct tw_plan *plan, const char *root, struct tw_layout *ret,
                   struct tw_err *err)
{
    struct tw_layout l = {.runtime_dir = KIND_PG_RUNTIME, .shm_bytes = 0};
    struct kind_pg_outside outside;
    const char *wal = kind_pg_wal_link(a, root, s->data_dir);

    TW_PUSH(a, &l.paths, s->data_dir);
    for (size_t i = 0; i < s->tablespaces.count; i++)
        add_path(a, &l, root, s->tablespaces.items[i]);
    if (wal)
        add_path(a, &l, root, wal);
    for (size_t i = 0; i < s->files.count; i++)
        if (!covered(&l, s->files.items[i].path))
            add_path(a, &l, root, parent(a, s->files.items[i].path));
    kind_pg_outside_files(a, s, plan, &outside);
    for (size_t i = 0; i < outside.paths.count; i++)
        add_path(a, &l, root, outside.paths.items[i]);
    for (size_t i = 0; i < outside.dirs.count; i++)
        add_path(a, &l, root, outside.dirs.items[i]);
    for (size_t i = 0; i < l.paths.count; i++) {
        if (!tw_starts_with(l.paths.items[i], "/usr/") &&
            !tw_streq(l.paths.items[i], "/etc"))
            continue;
        return tw_fail(
            err, -EINVAL,
            "the target keeps files of its own in '%s', which a sandbox shows as the "
            "host's; move them to a directory of their own",
            l.paths.items[i]);
    }
    add_addresses(a, s, &l);
    *ret = l;
    return 0;
}

/* ---- start ---- */

static void push(struct tw_arena *a, struct tw_launch *l, const char *arg)
{
    TW_PUSH(a, &l->argv, arg);
}

static void option(struct tw_arena *a, struct tw_launch *l, const char *set)
{
    push(a, l, "-c");
    push(a, l, set);
}

/* The target's own command line beside what its files say. */
static void own_options(struct tw_arena *a, const struct tw_snapshot *s,
                        struct tw_launch *l)
{
    static const char *const ours[] = {"config_file", "data_directory", "hba_file",
                                       "ident_file"};
    const char *own = tw_arena_printf(a, "%s/postgresql.conf", s->data_dir);

    if (!tw_streq(own, s->config_file))
        option(a, l, tw_arena_printf(a, "config_file=%s", s->config_file));
    for (size_t i = 0; i < s->settings.count; i++) {
        const struct tw_setting *one = &s->settings.items[i];

        if (!tw_streq(one->source, "command line") ||
            tw_name_index(one->name, ours, TW_COUNT_OF(ours)) >= 0)
            continue;
        option(a, l,
               tw_arena_printf(a, "%s=%s%s", one->name, one->value,
                               one->unit && *one->unit >= 'A' ? one->unit : ""));
    }
}

static bool logs_to_stderr(const struct tw_snapshot *s)
{
    const struct tw_setting *dest = tw_snapshot_setting(s, "log_destination");

    return !dest || !dest->value || strstr(dest->value, "stderr");
}

/* Our entrance: a private socket and one line before the target's own rules; and one for the same role of
 * ours from where the clients of a twin stand, where a load has to come over the network. */
#define CLIENTS_LINE "host all " KIND_PG_ROLE " 10.213.0.10/32 trust\n"

static int write_hba(struct tw_arena *a, const struct tw_access *x, const char *who,
                     struct tw_err *err)
{
    tw_auto_free char *theirs = tw_strf("%s%s", x->root, x->snapshot->hba_file);
    tw_auto_free char *data = tw_strf("%s%s", x->root, x->snapshot->data_dir);
    tw_auto_free char *text = NULL;
    struct stat st;
    int r = tw_read_file(AT_FDCWD, theirs, 4 << 20, &text, NULL, err);

    if (r < 0)
        return tw_wrap(err, r, "the clone's hba file");
    if (stat(data, &st) < 0)
        return tw_fail_errno(err, errno, "'%s'", data);
    return host_put_file(
        x->runtime, "/hba.conf",
        tw_arena_printf(a, "local all %s trust\n" CLIENTS_LINE "%s", who, text), 0600,
        st.st_uid, st.st_gid, err);
}

/* ---- a standby ---- */

bool kind_pg_is_standby(const struct tw_access *x)
{
    tw_auto_free char *signal = tw_strf("%s%s/standby.signal", x->root, x->snapshot->data_dir);

    return access(signal, F_OK) == 0;
}

/* What the primary had: a standby with less does not start, and pg_control keeps it. It has to be kept
 * when the seed is promoted for a moment. */
static int primary_options(struct tw_arena *a, const struct tw_access *x, const char *bin,
                           struct tw_launch *l, struct tw_err *err)
{
    static const char *const names[] = {"max_connections", "max_worker_processes",
                                        "max_wal_senders", "max_prepared_xacts",
                                        "max_locks_per_xact"};
    static const char *const settings[] = {"max_connections", "max_worker_processes",
                                           "max_wal_senders", "max_prepared_transactions",
                                           "max_locks_per_transaction"};
    const char *dir = tw_arena_printf(a, "%s%s", x->root, x->snapshot->data_dir), *out = NULL;
    const char *argv[] = {tw_arena_printf(a, "%s/pg_controldata", bin), "-D", dir, NULL};
    /* as ourselves: the way to a clone is closed to its owner */
    const struct kind_pg_place place = {.uid = geteuid(), .gid = getegid()};
    int r = kind_pg_program(a, &place, argv, &out, err);

    for (size_t i = 0; r == 0 && i < TW_COUNT_OF(names); i++) {
        const char *at = strstr(out, tw_arena_printf(a, "\n%s setting:", names[i]));

        if (at)
            option(a, l, tw_arena_printf(a, "%s=%d", settings[i], atoi(strchr(at, ':') + 1)));
    }
    option(a, l, "hot_standby=on");
    return r;
}

/* For faults of its link: reached over it whatever it listens on; what it listens on stays. */
static void link_options(struct tw_arena *a, const struct tw_access *x, struct tw_launch *l)
{
    const char *own = x->listens ? x->listens : "localhost";

    if (!strchr(own, '*') && !strstr(own, "0.0.0.0"))
        option(a, l, tw_arena_printf(a, "listen_addresses=%s%s%s", own, *own ? "," : "",
                                     x->listens_too));
}

static int load_options(struct tw_arena *a, const struct tw_access *x, const char *bin,
                        enum tw_start_mode mode, struct tw_launch *l, struct tw_err *err)
{
    bool settle = mode == TW_START_SETTLE;
    int r = write_hba(a, x, settle ? "all" : KIND_PG_ROLE, err);

    if (r < 0)
        return r;
    option(a, l, "hba_file=" KIND_PG_RUNTIME "/hba.conf");
    option(a, l, "unix_socket_directories=" KIND_PG_RUNTIME);
    option(a, l, "logging_collector=off");
    option(a, l, "log_destination=stderr");
    option(a, l, "lc_messages=C");
    if (x->listens_too && !settle)
        link_options(a, x, l);
    if (!settle)
        return 0;
    option(a, l, "fsync=off");
    option(a, l, "listen_addresses=");
    option(a, l, "archive_mode=off");
    option(a, l, "max_logical_replication_workers=0");
    option(a, l, "autovacuum=off");
    return kind_pg_is_standby(x) ? primary_options(a, x, bin, l, err) : 0;
}

static void judge_options(struct tw_arena *a, const struct tw_access *x,
                          struct tw_launch *l)
{
    /* So that its words can be read; whatever the change says of it is still checked by
     * the server when it reads its files. */
    option(a, l, "lc_messages=C");
    if (!logs_to_stderr(x->snapshot))
        option(a, l, "log_destination=stderr");
}

int kind_pg_launch(struct tw_arena *a, const struct tw_access *access,
                   enum tw_start_mode mode, struct tw_launch *ret, struct tw_err *err)
{
    const struct tw_snapshot *s = access->snapshot;
    struct tw_launch l = {
        .stop_signal = SIGINT, .reload_signal = SIGHUP, .cwd = s->data_dir};
    const char *bin;
    int r = 0;

    /* that of the target itself, where the sandbox is made of its image */
    if (s->program) {
        push(a, &l, s->program);
    } else {
        r = kind_pg_bin_dir(a, s->version_num / 10000, &bin, err);
        if (r < 0)
            return r;
        push(a, &l, tw_arena_printf(a, "%s/postgres", bin));
    }
    push(a, &l, "-D");
    push(a, &l, s->data_dir);
    own_options(a, s, &l);
    if (mode == TW_START_LOAD || mode == TW_START_SETTLE)
        r = load_options(a, access, bin, mode, &l, err);
    else
        judge_options(a, access, &l);
    if (mode == TW_START_ASK) {
        if (s->version_num < 150000)
            return tw_fail(err, -ENODATA,
                           "PostgreSQL before 15 does not tell the memory it needs");
        push(a, &l, "-C");
        push(a, &l, "shared_memory_size");
    }
    if (r < 0)
        return r;
    push(a, &l, NULL);
    TW_PUSH(a, &l.env, "PATH=/usr/bin:/bin");
    TW_PUSH(a, &l.env, "LC_ALL=C.UTF-8");
    TW_PUSH(a, &l.env, NULL);
    *ret = l;
    return 0;
}

/* One line of postmaster.pid, from 1 on; NULL: not there yet. */
static const char *pid_line(const char *text, int n)
{
    const char *line = text;

    for (int i = 1; i < n && line; i++) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return line;
}

/* Our entrance keeps its name, whatever port the change gives to the others. */
static void open_door(const struct tw_access *x, const char *pid_text)
{
    const char *port = pid_line(pid_text, 4);
    tw_auto_free char *name = NULL, *door = NULL, *real = NULL;

    if (!port)
        return;
    name = tw_strf(".s.PGSQL.%d", atoi(port));
    real = tw_strf("%s/%s", x->runtime, name);
    door = tw_strf("%s/.s.PGSQL.%d", x->runtime, KIND_PG_DOOR);
    if (access(real, F_OK) < 0 || atoi(port) == KIND_PG_DOOR)
        return;
    (void)unlink(door);
    if (symlink(name, door) < 0)
        tw_log(TW_LOG_DEBUG, "link '%s': %s", door, strerror(errno));
}

/* The eighth line of postmaster.pid is the server's own word: "starting", "ready",
 * "standby". */
enum tw_ready kind_pg_ready(const struct tw_access *access)
{
    tw_auto_free char *path =
        tw_strf("%s%s/postmaster.pid", access->root, access->snapshot->data_dir);
    char text[1024];
    tw_auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    const char *line;

    if (n <= 0)
        return TW_NOT_YET;
    text[n] = '\0';
    line = pid_line(text, 8);
    if (!line || (!tw_starts_with(line, "ready") && !tw_starts_with(line, "standby")))
        return TW_NOT_YET;
    open_door(access, text);
    return TW_READY;
}

const char *kind_pg_conninfo(struct tw_arena *a, const struct tw_snapshot *s,
                             const char *dir)
{
    (void)s;
    return tw_arena_printf(
        a, "host='%s' port=%d user=" KIND_PG_ROLE " application_name=twin", dir,
        KIND_PG_DOOR);
}

/* ---- settle ---- */

static const struct {
    const char *sql, *difference; /* difference: told when it touched something */
} harmless_sql[] = {
    {"SELECT 'SELECT pg_drop_replication_slot(' || quote_literal(slot_name) || ')' FROM "
     "pg_replication_slots",
     "replication slots are dropped in the twin; the WAL they keep is only computed"},
    {"SELECT 'UPDATE pg_subscription SET subenabled = false WHERE oid = ' || oid FROM "
     "pg_subscription WHERE subenabled",
     "subscriptions are disabled in the twin"},
};

static int run_found(struct tw_arena *a, struct tw_pg *pg, size_t which,
                     struct tw_issues *differences, struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r = tw_pg_query(pg, a, harmless_sql[which].sql, 0, NULL, &rows, err);

    for (int i = 0; r == 0 && i < rows.rows; i++)
        r = tw_pg_exec(pg, tw_pg_cell(&rows, i, 0), err);
    if (r == 0 && rows.rows)
        tw_issue_add(a, differences, TW_INFO, TW_PROCEED, "twin.harmless",
                     harmless_sql[which].difference,
                     "a clone must not act on what is outside", NULL);
    return r;
}

/* Prepared transactions are of one database each, and end only from there. */
static int end_prepared(struct tw_arena *a, const struct tw_access *x, struct tw_pg *pg,
                        struct tw_issues *differences, struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r = tw_pg_query(pg, a,
                        "SELECT database, 'ROLLBACK PREPARED ' || quote_literal(gid) FROM "
                        "pg_prepared_xacts ORDER BY 1",
                        0, NULL, &rows, err);

    for (int i = 0; r == 0 && i < rows.rows; i++) {
        struct tw_pg *own = NULL;
        const char *conninfo = tw_arena_printf(
            a, "%s dbname='%s'", kind_pg_conninfo(a, x->snapshot, x->entrance), CELL(0));

        r = tw_pg_open(conninfo, (unsigned)-1, tw_now_ns() + 10 * TW_SEC_NS, &own, err);
        if (r == 0)
            r = tw_pg_exec(own, CELL(1), err);
        tw_pg_close(own);
    }
    if (r == 0 && rows.rows)
        tw_issue_add(a, differences, TW_INFO, TW_PROCEED, "twin.harmless",
                     "prepared transactions are rolled back in the twin",
                     "a clone must not act on what is outside", NULL);
    return r;
}

/* A role that has a password keeps having one, of the same kind and of ours: who may log in from
 * where, until when and how is then as at the target, and the secret is not. */
static int own_passwords(struct tw_arena *a, struct tw_pg *pg,
                         const struct tw_snapshot *s, struct tw_issues *differences,
                         struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r =
        tw_pg_query(pg, a,
                    "SELECT rolname, CASE WHEN rolpassword LIKE 'md5%' THEN 'md5' ELSE "
                    "'scram-sha-256' END FROM pg_authid WHERE rolpassword IS NOT NULL",
                    0, NULL, &rows, err);

    for (int i = 0; r == 0 && i < rows.rows; i++)
        r = tw_pg_exec(
            pg,
            tw_arena_printf(
                a, "SET password_encryption = '%s'; ALTER ROLE %s PASSWORD %s", CELL(1),
                tw_pg_quote_ident(a, CELL(0)),
                tw_pg_quote_literal(a, tw_service_clone_password(a, s, CELL(0)))),
            err);
    if (r == 0 && rows.rows)
        tw_issue_add(a, differences, TW_INFO, TW_PROCEED, "twin.harmless",
                     "role passwords are others in the twin",
                     "of the same kind, so that logins can be tried without the secrets",
                     NULL);
    return r;
}

static int open_as(struct tw_arena *a, const struct tw_access *x, const char *name,
                   struct tw_pg **ret, struct tw_err *err)
{
    const char *conninfo = tw_arena_printf(
        a, "host='%s' port=%d user='%s' dbname=postgres application_name=twin",
        x->entrance, KIND_PG_DOOR, name);
    double super = 0;
    int r = tw_pg_open(conninfo, (unsigned)-1, tw_now_ns() + 10 * TW_SEC_NS, ret, err);

    if (r < 0)
        return r;
    if (tw_pg_double(*ret, "SELECT current_setting('is_superuser')::bool::int", &super,
                     err) == 0 &&
        super != 0)
        return 0;
    tw_pg_close(*ret);
    return tw_fail(err, -EACCES, "role '%s' is no superuser of the cluster", name);
}

/* The superuser need not be called as its owner is: containers give it the name of the application. */
static int open_as_superuser(struct tw_arena *a, const struct tw_access *x,
                             struct tw_pg **ret, struct tw_err *err)
{
    TW_ARRAY(const char *) names = {0};
    int r = -EACCES;

    TW_PUSH(a, &names, x->snapshot->owner_name);
    TW_PUSH(a, &names, "postgres");
    for (size_t i = 0; i < x->snapshot->roles.count; i++)
        if (x->snapshot->roles.items[i].superuser)
            TW_PUSH(a, &names, x->snapshot->roles.items[i].name);
    TW_PUSH(a, &names, KIND_PG_ROLE);
    for (size_t i = 0; i < names.count; i++) {
        r = open_as(a, x, names.items[i], ret, err);
        if (r == 0)
            return 0;
    }
    return tw_wrap(err, r, "entering the seed");
}

/* Nothing can be written to a standby: for what is ours it is a primary while it is settled. */
static int promote(struct tw_pg *pg, struct tw_err *err)
{
    double done = 0;
    int r = tw_pg_double(pg, "SELECT pg_promote(true, 300)::int", &done, err);

    return r < 0       ? tw_wrap(err, r, "promoting the clone of a standby")
           : done == 0 ? tw_fail(err, -ETIMEDOUT, "the clone of a standby was not promoted in 300 s")
                       : 0;
}

/* Its next start is one of a standby again, with all of its WAL replayed and none to come. */
static int demote(struct tw_arena *a, const struct tw_access *x, struct tw_issues *differences,
                  struct tw_err *err)
{
    tw_auto_free char *data = tw_strf("%s%s", x->root, x->snapshot->data_dir);
    struct stat st;

    if (stat(data, &st) < 0)
        return tw_fail_errno(err, errno, "'%s'", data);
    tw_issue_add(a, differences, TW_INFO, TW_PROCEED, "twin.standby",
                 "nothing is replayed in the twin of a standby",
                 "its primary is not there: conflicts with replay and lag are judged by rules only",
                 NULL);
    return host_put_file(x->root,
                         tw_arena_printf(a, "%s/standby.signal", x->snapshot->data_dir),
                         "", 0600, st.st_uid, st.st_gid, err);
}

int kind_pg_settle(struct tw_arena *a, const struct tw_access *access,
                   struct tw_issues *differences, struct tw_err *err)
{
    struct tw_pg *pg;
    bool standby = kind_pg_is_standby(access);
    int r = open_as_superuser(a, access, &pg, err);

    if (r < 0)
        return r;
    if (standby)
        r = promote(pg, err);
    if (r == 0)
        r = tw_pg_exec(pg,
                       "DROP ROLE IF EXISTS " KIND_PG_ROLE "; CREATE ROLE " KIND_PG_ROLE
                       " SUPERUSER LOGIN",
                       err);
    if (r == 0)
        r = end_prepared(a, access, pg, differences, err);
    for (size_t i = 0; i < TW_COUNT_OF(harmless_sql) && r == 0; i++)
        r = run_found(a, pg, i, differences, err);
    if (r == 0)
        r = own_passwords(a, pg, access->snapshot, differences, err);
    if (r == 0)
        r = tw_pg_exec(pg, "CHECKPOINT", err);
    tw_pg_close(pg);
    return r == 0 && standby ? demote(a, access, differences, err) : r;
}
