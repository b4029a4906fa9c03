/* The first copy of a target's data: consistent by construction, never a copy of files
 * that change. A stopped or crashed cluster is copied from its files, a running one by
 * pg_basebackup, else by the low-level backup functions. */
#include "kind_pg_internal.h"

#include "tw/io.h"

#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKUP_NS (3600 * TW_SEC_NS)

const char *kind_pg_seed_key(struct tw_arena *a, const struct tw_snapshot *s)
{
    char *what = tw_arena_printf(a, "2/%s/%s/%s/%lld/%d/%s", s->environment, s->target,
                                 s->system_identifier, (long long)s->catalog_version,
                                 s->version_num / 10000, s->data_dir);
    char hex[65];

    tw_sha256_hex(what, strlen(what), hex);
    return tw_arena_printf(a, "pg-%.20s", hex);
}

struct filling {
    struct tw_arena *a;
    const struct tw_target *target;
    const struct tw_snapshot *snapshot;
    const struct kind_pg_place *place;
    const char *root;
    unsigned uid, gid;
    struct tw_issues *differences;
};

static void differs(const struct filling *f, const char *title, const char *why)
{
    tw_issue_add(f->a, f->differences, TW_INFO, TW_PROCEED, "twin.data", title, why,
                 NULL);
}

/* ---- from files ---- */

/* Files of a running server, and what must not be taken along: slots keep WAL. */
static bool skip_runtime(void *arg, const char *relative)
{
    static const char *const names[] = {"postmaster.pid", "postmaster.opts",
                                        "pg_replslot/"};

    (void)arg;
    for (size_t i = 0; i < TW_COUNT_OF(names); i++)
        if (tw_streq(relative, names[i]) ||
            (tw_ends_with(names[i], "/") && tw_starts_with(relative, names[i])))
            return true;
    return false;
}

static bool skip_for_backup(void *arg, const char *relative)
{
    return skip_runtime(arg, relative) || tw_starts_with(relative, "pg_wal/") ||
           tw_streq(relative, "backup_label") || strstr(relative, "pgsql_tmp");
}

static int copy(const struct filling *f, const char *path, tw_copy_skip_fn *skip,
                struct tw_err *err)
{
    tw_auto_free char *to = tw_strf("%s%s", f->root, path);
    tw_auto_free char *parent = tw_strf("%.*s", (int)(strrchr(to, '/') - to), to);
    int64_t bytes;
    int r = tw_make_dirs(parent, 0755, err);

    return r < 0 ? r : tw_copy_tree(path, to, f->uid, f->gid, skip, NULL, &bytes, err);
}

static int copy_parts(const struct filling *f, tw_copy_skip_fn *skip, struct tw_err *err)
{
    int r = copy(f, f->place->data_dir, skip, err);

    for (size_t i = 0; i < f->place->tablespaces.count && r == 0; i++)
        r = copy(f, f->place->tablespaces.items[i], skip, err);
    if (r == 0 && f->place->wal_dir)
        r = copy(f, f->place->wal_dir, NULL, err);
    return r;
}

static char *control_bytes(const struct filling *f, size_t *ret_len)
{
    tw_auto_free char *path = tw_strf("%s/global/pg_control", f->place->data_dir);
    char *text = NULL;

    (void)tw_read_file(AT_FDCWD, path, 1 << 16, &text, ret_len, NULL);
    return text;
}

/* Equal before and after, and still nobody there: nothing was written in between. */
static int fill_from_files(const struct filling *f, struct tw_err *err)
{
    size_t before_len = 0, after_len = 0;
    tw_auto_free char *before = control_bytes(f, &before_len);
    tw_auto_free char *after = NULL;
    tw_auto_free char *pid = tw_strf("%s/postmaster.pid", f->place->data_dir);
    int r = copy_parts(f, skip_runtime, err);

    if (r < 0)
        return r;
    after = control_bytes(f, &after_len);
    if (!before || !after || before_len != after_len ||
        memcmp(before, after, before_len) != 0 ||
        (f->place->state == KIND_PG_STOPPED && access(pid, F_OK) == 0))
        return tw_fail(
            err, -ESTALE,
            "the cluster '%s' was started while it was copied; run again, it is then "
            "taken as a running one",
            f->place->data_dir);
    if (f->place->state == KIND_PG_CRASHED)
        differs(
            f, "the data is a crash image",
            "the source was not shut down cleanly; its twin went through crash recovery");
    return 0;
}

/* ---- pg_basebackup ---- */

static int chown_tree(const char *path, unsigned uid, unsigned gid, struct tw_err *err)
{
    char *paths[] = {(char *)path, NULL};
    FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    int r = 0;

    if (!fts)
        return tw_fail_errno(err, errno, "'%s'", path);
    for (FTSENT *e; r == 0 && (e = fts_read(fts));) {
        if (e->fts_info == FTS_DP)
            continue;
        if (lchown(e->fts_accpath, uid, gid) < 0)
            r = tw_fail_errno(err, errno, "chown '%s'", e->fts_path);
    }
    (void)fts_close(fts);
    return r;
}

/* pg_basebackup runs as the owner of the cluster (peer authentication), so the
 * directories it writes into are its own until it has ended. */
static int prepare_dir(const struct filling *f, const char *path, struct tw_err *err)
{
    tw_auto_free char *to = tw_strf("%s%s", f->root, path);
    tw_auto_free char *parent = tw_strf("%.*s", (int)(strrchr(to, '/') - to), to);
    int r = tw_make_dirs(parent, 0755, err);

    if (r == 0)
        r = tw_make_dirs(to, 0700, err);
    if (r == 0 && geteuid() == 0 && chown(to, f->place->uid, f->place->gid) < 0)
        r = tw_fail_errno(err, errno, "chown '%s'", to);
    return r;
}

static int open_path_for_owner(const struct filling *f, struct tw_err *err)
{
    const char *own = NULL;

    /* The directories above the seed have to let the owner through, from the state directory on: it
     * and what is below it are ours. What is above is not: where that is closed, pg_basebackup
     * cannot write, and the files are copied by root instead. */
    for (const char *s = f->root; (s = strstr(s, "/pool/")); s++)
        own = s;
    for (const char *s = own; s; s = strchr(s + 1, '/')) {
        tw_auto_free char *dir = tw_strf("%.*s", (int)(s - f->root), f->root);
        struct stat st;

        if (stat(dir, &st) == 0 && !(st.st_mode & 0001) && st.st_uid == geteuid() &&
            chmod(dir, (st.st_mode & 07777) | 0011) < 0)
            return tw_fail_errno(err, errno, "chmod '%s'", dir);
    }
    return chmod(f->root, 0711) < 0 ? tw_fail_errno(err, errno, "chmod '%s'", f->root)
                                    : 0;
}

static int relink_tablespaces(const struct filling *f, struct tw_err *err)
{
    tw_auto_free char *base = tw_strf("%s%s/pg_tblspc", f->root, f->place->data_dir);
    char *paths[] = {base, NULL};
    FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    int r = 0;

    if (!fts)
        return 0;
    for (FTSENT *e; r == 0 && (e = fts_read(fts));) {
        char to[PATH_MAX];
        ssize_t n = e->fts_info == FTS_SL || e->fts_info == FTS_SLNONE
                        ? readlink(e->fts_accpath, to, sizeof(to) - 1)
                        : -1;

        if (n < 0)
            continue;
        to[n] = '\0';
        if (!tw_starts_with(to, f->root))
            continue;
        if (unlink(e->fts_accpath) < 0 ||
            symlink(to + strlen(f->root), e->fts_accpath) < 0)
            r = tw_fail_errno(err, errno, "link '%s'", e->fts_accpath);
    }
    (void)fts_close(fts);
    return r;
}

static int run_basebackup(const struct filling *f, const char *conninfo,
                          struct tw_err *err)
{
    struct tw_arena *a = f->a;
    const char *plain, *password;
    TW_ARRAY(const char *) argv = {0}, env = {0};
    struct tw_child child = {.uid = (unsigned)-1,
                             .gid = (unsigned)-1,
                             .cwd = "/",
                             .deadline_ns = tw_now_ns() + BACKUP_NS};
    struct tw_child_result res = {0};
    bool gentle = f->target->tier == TW_TIER_PRODUCTION;
    int r = tw_pg_split_password(a, conninfo, &plain, &password, err);

    if (r < 0)
        return r;
    TW_PUSH(a, &argv, tw_arena_printf(a, "%s/pg_basebackup", f->place->bin_dir));
    TW_PUSH(a, &argv, "-D");
    TW_PUSH(a, &argv, tw_arena_printf(a, "%s%s", f->root, f->place->data_dir));
    TW_PUSH(a, &argv, "-d");
    TW_PUSH(a, &argv, plain);
    TW_PUSH(a, &argv, "-w");
    TW_PUSH(a, &argv, "-X");
    TW_PUSH(a, &argv, "stream");
    TW_PUSH(a, &argv,
            "--no-sync"); /* the seed is synced as a whole when it is committed */
    TW_PUSH(a, &argv, gentle ? "--checkpoint=spread" : "--checkpoint=fast");
    for (size_t i = 0; i < f->place->tablespaces.count; i++) {
        const char *from = f->place->tablespaces.items[i];

        TW_PUSH(a, &argv,
                tw_arena_printf(a, "--tablespace-mapping=%s=%s%s", from, f->root, from));
    }
    TW_PUSH(a, &argv, NULL);
    TW_PUSH(a, &env, "LC_ALL=C");
    TW_PUSH(a, &env, "PATH=/usr/bin:/bin");
    if (password)
        TW_PUSH(a, &env, tw_arena_printf(a, "PGPASSWORD=%s", password));
    TW_PUSH(a, &env, NULL);
    child.argv = argv.items;
    child.env = env.items;
    if (geteuid() == 0) {
        child.uid = f->place->uid;
        child.gid = f->place->gid;
    }
    r = tw_child_run(&child, &res, err);
    if (r < 0)
        return r;
    if (res.status != 0)
        r = tw_fail(err, -EACCES, "%.*s", (int)strcspn(tw_buf_text(&res.err), "\n"),
                    tw_buf_text(&res.err));
    tw_child_result_done(&res);
    return r;
}

static int fill_by_basebackup(const struct filling *f, const char *conninfo,
                              struct tw_err *err)
{
    int r = open_path_for_owner(f, err);

    if (r == 0)
        r = prepare_dir(f, f->place->data_dir, err);
    for (size_t i = 0; i < f->place->tablespaces.count && r == 0; i++)
        r = prepare_dir(f, f->place->tablespaces.items[i], err);
    if (r == 0)
        r = run_basebackup(f, conninfo, err);
    if (r == 0)
        r = relink_tablespaces(f, err);
    if (r == 0 && geteuid() == 0)
        r = chown_tree(f->root, f->uid, f->gid, err);
    if (r == 0 && f->place->wal_dir)
        differs(f, "pg_wal lies in the data directory of the twin, not behind a link",
                "a base backup brings it there; the twin has one volume in any case");
    return r;
}

/* ---- backup functions and a copy in between ---- */

struct backup_names {
    const char *start, *stop;
};

static struct backup_names names_of(int version_num)
{
    if (version_num >= 150000)
        return (struct backup_names){
            "SELECT /*twin*/ pg_walfile_name(pg_backup_start('twin', true))",
            "SELECT /*twin*/ labelfile, spcmapfile FROM pg_backup_stop(false)"};
    return (struct backup_names){
        "SELECT /*twin*/ pg_walfile_name(pg_start_backup('twin', true, false))",
        "SELECT /*twin*/ labelfile, spcmapfile FROM pg_stop_backup(false, false)"};
}

static int copy_wal(const struct filling *f, const char *first_segment,
                    struct tw_err *err)
{
    const char *wal = f->place->wal_dir
                          ? f->place->wal_dir
                          : tw_arena_printf(f->a, "%s/pg_wal", f->place->data_dir);
    tw_auto_free char *first = tw_strf("%s%s/%s", f->root, wal, first_segment);
    int r = copy(f, wal, NULL, err);

    if (r == 0 && access(first, F_OK) < 0)
        r = tw_fail(
            err, -ESTALE,
            "the WAL since the start of the backup is gone already; raise wal_keep_size "
            "or allow the role REPLICATION");
    return r;
}

static int fill_by_functions(const struct filling *f, struct tw_pg *pg,
                             struct tw_err *err)
{
    struct backup_names names = names_of(f->snapshot->version_num);
    struct tw_pg_rows rows;
    const char *first, *label = NULL;
    int r = tw_pg_exec(pg, "SET statement_timeout = 0", err);

    if (r == 0)
        r = tw_pg_query(pg, f->a, names.start, 0, NULL, &rows, err);
    if (r < 0)
        return r;
    first = tw_pg_cell(&rows, 0, 0);
    r = copy(f, f->place->data_dir, skip_for_backup, err);
    for (size_t i = 0; i < f->place->tablespaces.count && r == 0; i++)
        r = copy(f, f->place->tablespaces.items[i], skip_for_backup, err);
    if (tw_pg_query(pg, f->a, names.stop, 0, NULL, &rows, r == 0 ? err : NULL) < 0)
        return r < 0 ? r : -EPROTO;
    if (r == 0) {
        label = tw_pg_cell(&rows, 0, 0);
        r = copy_wal(f, first, err);
    }
    if (r < 0)
        return r;
    return host_put_file(f->root,
                         tw_arena_printf(f->a, "%s/backup_label", f->place->data_dir),
                         label, 0600, f->uid, f->gid, err);
}

/* ---- running: the ways in order, and what would mend it when none is open ---- */

static int refuse(const struct filling *f, const char *conninfo, const char *basebackup,
                  const char *functions, struct tw_err *err)
{
    const char *user = tw_pg_conninfo_value(f->a, conninfo, "user");

    return tw_fail(
        err, -EACCES,
        "the running cluster '%s' cannot be taken consistently: pg_basebackup said "
        "'%s', pg_backup_start said '%s'. Allow one of them: ALTER ROLE %s "
        "REPLICATION and the pg_hba.conf line 'local replication %s peer' with a free "
        "max_wal_senders; or GRANT EXECUTE ON FUNCTION pg_backup_start, "
        "pg_backup_stop TO %s and run as root; or stop the cluster",
        f->place->data_dir, basebackup, functions, user ? user : "ROLE",
        user ? user : "ROLE", user ? user : "ROLE");
}

static void clear_root(const struct filling *f)
{
    (void)tw_remove_tree(f->root, NULL);
    (void)mkdir(f->root, 0755);
}

static int fill_running(const struct filling *f, struct tw_err *err)
{
    struct tw_pg *pg;
    const char *conninfo;
    struct tw_err backup = {0}, functions = {0};
    int r = kind_pg_connect(f->a, f->target, f->place, NULL, &pg, &conninfo, err);

    if (r < 0)
        return r;
    r = fill_by_basebackup(f, conninfo, &backup);
    if (r == -EACCES) {
        tw_log(TW_LOG_DEBUG, "pg_basebackup: %s; trying the backup functions",
               backup.text);
        clear_root(f);
        r = fill_by_functions(f, pg, &functions);
        if (r == -EACCES || r == -EPROTO)
            r = refuse(f, conninfo, backup.text, functions.text, err);
        else if (r < 0)
            tw_fail(err, r, "%s", functions.text);
    } else if (r < 0) {
        tw_fail(err, r, "%s", backup.text);
    }
    tw_pg_close(pg);
    return r;
}

/* Its files cannot be reached: there is one way. */
static int fill_elsewhere(const struct filling *f, struct tw_err *err)
{
    struct tw_pg *pg;
    const char *conninfo, *user;
    struct tw_err backup = {0};
    int r = kind_pg_connect(f->a, f->target, f->place, NULL, &pg, &conninfo, err);

    if (r < 0)
        return r;
    tw_pg_close(pg);
    r = fill_by_basebackup(f, conninfo, &backup);
    if (r == 0)
        return 0;
    user = tw_pg_conninfo_value(f->a, conninfo, "user");
    return tw_fail(
        err, r,
        "the cluster behind the dsn of '%s' is not on this host and cannot be taken by "
        "pg_basebackup, which said '%s'; it needs ALTER ROLE %s REPLICATION, a line "
        "'host replication %s ADDRESS scram-sha-256' in pg_hba.conf for this host, and "
        "a free max_wal_senders",
        f->target->name, backup.text, user ? user : "ROLE", user ? user : "ROLE");
}

int kind_pg_seed_fill(struct tw_arena *a, const struct tw_target *t,
                      const struct tw_snapshot *s, const char *seed_root, unsigned uid,
                      unsigned gid, struct tw_issues *differences, struct tw_err *err)
{
    struct kind_pg_place place;
    struct filling f = {a, t, s, &place, seed_root, uid, gid, differences};
    bool elsewhere = tw_streq(s->how, kind_pg_state_names[KIND_PG_ELSEWHERE]);
    int r = elsewhere ? kind_pg_find_elsewhere(a, s, &place, err)
                      : kind_pg_find(a, s->data_dir, &place, err);

    if (r < 0)
        return r;
    r = elsewhere                        ? fill_elsewhere(&f, err)
        : place.state == KIND_PG_RUNNING ? fill_running(&f, err)
                                         : fill_from_files(&f, err);
    if (r == 0)
        r = kind_pg_refresh(a, t, s, NULL, seed_root, uid, gid, differences, err);
    return r;
}
