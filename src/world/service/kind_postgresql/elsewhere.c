/* A cluster of another host or of a container: all that is known of it comes over the connection.
 * Its data by pg_basebackup; its configuration by pg_read_file where the role may, else as the
 * backup brought it, else from pg_settings.
 *
 * Source  PostgreSQL documentation 9.27.9 "Generic File Access Functions", 20.1.2 "include_dir" */
#include "kind_pg_internal.h"

#include <fcntl.h>
#include <math.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_TEXT "4194304"

/* ---- here or elsewhere ---- */

/* The server that answers is the one whose postmaster.pid lies here: same port, started at the same
 * moment. A path alone may well be that of another cluster with the same layout. */
static bool started_here(struct tw_pg *pg, const struct tw_snapshot *s)
{
    tw_auto_free char *path = tw_strf("%s/postmaster.pid", s->data_dir);
    tw_auto_free char *text = NULL;
    double there, began;
    const char *line;

    if (tw_read_file(AT_FDCWD, path, 64 * 1024, &text, NULL, NULL) < 0)
        return false;
    line = text;
    for (int i = 0; i < 2 && line; i++) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    if (!line || tw_pg_double(pg, "SELECT " OURS "extract(epoch FROM pg_postmaster_start_time())",
                              &began, NULL) < 0)
        return false;
    there = strtod(line, NULL);
    line = strchr(line, '\n');
    return fabs(there - began) <= 5 && line && atoi(line + 1) == s->port;
}

bool kind_pg_is_elsewhere(struct tw_pg *pg, const struct tw_snapshot *s)
{
    tw_auto_free char *version = tw_strf("%s/PG_VERSION", s->data_dir);

    if (access(version, F_OK) < 0 && errno != EACCES)
        return true;
    /* not ours to look at: the search of it says so, and as whom to come again */
    return access(version, R_OK) == 0 && !started_here(pg, s);
}

int kind_pg_find_elsewhere(struct tw_arena *a, const struct tw_snapshot *s,
                           struct kind_pg_place *ret, struct tw_err *err)
{
    struct kind_pg_place p = {.state = KIND_PG_ELSEWHERE,
                              .data_dir = s->data_dir,
                              .config_file = s->config_file,
                              .major = s->version_num / 10000,
                              .uid = 65534,
                              .gid = 65534,
                              .port = s->port,
                              .listen = "*"};
    const struct passwd *pw = getpwnam("postgres");
    int r = kind_pg_bin_dir(a, p.major, &p.bin_dir, err);

    if (r < 0)
        return r;
    if (pw && pw->pw_uid != 0) {
        p.uid = pw->pw_uid;
        p.gid = pw->pw_gid;
    }
    p.owner = "postgres";
    for (size_t i = 0; i < s->tablespaces.count; i++)
        TW_PUSH(a, &p.tablespaces, s->tablespaces.items[i]);
    *ret = p;
    return 0;
}

/* ---- its files ---- */

struct remote_file {
    const char *path, *text; /* text NULL: the role may not read it, or it is not there */
    bool conf;
};
struct remote_files {
    TW_ARRAY(struct remote_file) list;
    TW_ARRAY(const char *) dirs; /* include_dir */
    bool refused;
};

static const char *ask_file(struct tw_pg *pg, struct tw_arena *a, const char *path, bool *refused)
{
    static const char sql[] =
        "SELECT " OURS "pg_read_file($1, 0, " FILE_MAX_TEXT ", true)";
    struct tw_pg_rows rows;
    int r = tw_pg_query(pg, a, sql, 1, &path, &rows, NULL);

    if (r < 0)
        *refused |= tw_streq(tw_pg_sqlstate(pg), "42501");
    return r < 0 || rows.rows == 0 ? NULL : tw_pg_cell(&rows, 0, 0);
}

static void add_path(struct tw_arena *a, struct remote_files *f, const char *path, bool conf)
{
    for (size_t i = 0; i < f->list.count; i++)
        if (tw_streq(f->list.items[i].path, path))
            return;
    TW_PUSH(a, &f->list, (struct remote_file){.path = path, .conf = conf});
}

/* 'name' "name" name, from the directory of the file that says it. */
static const char *included(struct tw_arena *a, const char *from, const char *word)
{
    const char *at = word + strspn(word, " \t='\"");
    char *name = tw_arena_strndup(a, at, strcspn(at, "'\"\r\n#"));

    for (size_t n = strlen(name); n && strchr(" \t", name[n - 1]); n--)
        name[n - 1] = '\0';
    if (!*name)
        return NULL;
    return *name == '/' ? name
                        : tw_arena_printf(a, "%.*s/%s", (int)(strrchr(from, '/') - from), from, name);
}

static void follow_includes(struct tw_arena *a, struct remote_files *f, const char *from,
                            const char *text)
{
    for (const char *line = text; line; line = strchr(line, '\n')) {
        static const char *const words[] = {"include_dir", "include_if_exists", "include"};
        const char *path;
        size_t i = 0;

        line += strspn(line, " \t\n");
        while (i < TW_COUNT_OF(words) && (strncasecmp(line, words[i], strlen(words[i])) != 0 ||
                                          !strchr(" \t='", line[strlen(words[i])])))
            i++;
        if (i == TW_COUNT_OF(words))
            continue;
        path = included(a, from, line + strlen(words[i]));
        if (path && i == 0)
            TW_PUSH(a, &f->dirs, path);
        else if (path)
            add_path(a, f, path, true);
    }
}

static void list_dir(struct tw_pg *pg, struct tw_arena *a, struct remote_files *f, const char *dir)
{
    struct tw_pg_rows rows;

    if (tw_pg_query(pg, a,
                    "SELECT " OURS "n FROM pg_ls_dir($1, true, false) n WHERE n LIKE '%.conf' "
                    "AND n NOT LIKE '.%' ORDER BY 1",
                    1, &dir, &rows, NULL) < 0)
        return;
    for (int i = 0; i < rows.rows; i++)
        add_path(a, f, tw_arena_printf(a, "%s/%s", dir, CELL(0)), true);
}

/* The list grows while it is read: what a file includes comes behind it. */
static void read_files(struct tw_pg *pg, struct tw_arena *a, const struct tw_snapshot *s,
                       struct remote_files *ret)
{
    size_t dirs = 0;

    add_path(a, ret, s->config_file, true);
    add_path(a, ret, tw_arena_printf(a, "%s/postgresql.auto.conf", s->data_dir), true);
    for (size_t i = 0; i < s->settings.count; i++)
        if (s->settings.items[i].file && *s->settings.items[i].file == '/')
            add_path(a, ret, s->settings.items[i].file, true);
    add_path(a, ret, s->hba_file, false);
    add_path(a, ret, s->ident_file, false);
    for (size_t i = 0; i < ret->list.count && i < 256; i++) {
        const char *path = ret->list.items[i].path;
        const char *text = ask_file(pg, a, path, &ret->refused);

        ret->list.items[i].text = text;
        if (text && ret->list.items[i].conf)
            follow_includes(a, ret, path, text);
        for (; dirs < ret->dirs.count; dirs++)
            list_dir(pg, a, ret, ret->dirs.items[dirs]);
    }
}

int kind_pg_ask_elsewhere(struct tw_pg *pg, struct tw_arena *a, struct tw_snapshot *s,
                          struct tw_err *err)
{
    struct remote_files files = {0};
    struct tw_pg_rows rows;
    int i = 0, r;

    read_files(pg, a, s, &files);
    for (size_t k = 0; k < files.list.count; k++)
        if (files.list.items[k].text)
            TW_PUSH(a, &s->files,
                    (struct tw_file){.path = files.list.items[k].path,
                                     .text = tw_redact_text(NULL, a, files.list.items[k].text),
                                     .mode = 0600});
    r = tw_pg_query(pg, a,
                    "SELECT " OURS "sum(pg_database_size(oid)), (SELECT "
                    "string_agg(pg_tablespace_location(oid), E'\\n') FROM pg_tablespace WHERE "
                    "pg_tablespace_location(oid) <> '') FROM pg_database",
                    0, NULL, &rows, err);
    if (r < 0)
        return tw_wrap(err, r, "the size of the databases; GRANT pg_monitor TO the role");
    s->data_bytes = kind_pg_whole(CELL(0));
    s->tablespaces.count = 0;
    for (char *all = CELL(1) ? tw_arena_strdup(a, CELL(1)) : NULL, *one;
         all && (one = strsep(&all, "\n"));)
        TW_PUSH(a, &s->tablespaces, one);
    return 0;
}

/* ---- into a clone ---- */

struct placing {
    struct tw_arena *a;
    const struct tw_snapshot *s;
    const char *root;
    unsigned uid, gid;
    struct tw_issues *differences;
};

static int place_text(const struct placing *p, const char *path, const char *text, bool conf,
                      struct tw_err *err)
{
    return host_put_file(p->root, path,
                         conf ? kind_pg_conf_harmless(p->a, text, p->differences) : text,
                         0600, p->uid, p->gid, err);
}

/* What the running server has from its files, as one file. */
static char *conf_of_settings(struct tw_arena *a, struct tw_pg *pg, struct tw_err *err)
{
    tw_auto_buf text = {0};
    struct tw_pg_rows rows;

    tw_buf_init(&text, 1 << 20);
    if (tw_pg_query(pg, a,
                    "SELECT " OURS "name, current_setting(name) FROM pg_settings WHERE source = "
                    "'configuration file' AND name NOT IN ('config_file', 'data_directory')",
                    0, NULL, &rows, err) < 0)
        return NULL;
    for (int i = 0; i < rows.rows; i++)
        tw_buf_printf(&text, "%s = %s\n", CELL(0), tw_pg_quote_literal(a, CELL(1)));
    return tw_arena_strdup(a, tw_buf_text(&text));
}

/* What the role may not read is as old as the backup, or not there at all. */
static int place_unread(const struct placing *p, struct tw_pg *pg, const struct remote_file *f,
                        struct tw_err *err)
{
    tw_auto_free char *host = tw_strf("%s%s", p->root, f->path);
    tw_auto_free char *text = NULL;
    char *made;

    if (tw_read_file(AT_FDCWD, host, 4 << 20, &text, NULL, NULL) == 0)
        return place_text(p, f->path, text, f->conf, err);
    if (tw_streq(f->path, p->s->hba_file))
        return tw_fail(err, -EACCES,
                       "'%s' is outside the data directory and the role may not read it: GRANT "
                       "pg_read_server_files TO it; GRANT EXECUTE ON FUNCTION pg_read_file(text, "
                       "bigint, bigint, boolean) TO it",
                       f->path);
    if (!tw_streq(f->path, p->s->config_file))
        return 0;
    made = conf_of_settings(p->a, pg, err);
    if (!made)
        return -EACCES;
    tw_issue_add(p->a, p->differences, TW_INFO, TW_PROCEED, "twin.configuration",
                 "postgresql.conf of the twin is made from pg_settings",
                 "the role may not read the file: values are the same, their lines and comments "
                 "are not",
                 NULL);
    return place_text(p, f->path, made, true, err);
}

static int place_dir(const struct placing *p, const char *path, struct tw_err *err)
{
    tw_auto_free char *host = tw_strf("%s%s", p->root, path);
    int r = tw_make_dirs(host, 0755, err);

    if (r == 0 && geteuid() == 0 && chown(host, p->uid, p->gid) < 0)
        r = tw_fail_errno(err, errno, "chown '%s'", host);
    return r;
}

/* Keys and certificates beside the data: a clone has them when the role may read them. */
static int place_outside(const struct placing *p, struct tw_pg *pg,
                         const struct kind_pg_outside *outside, struct tw_err *err)
{
    bool refused = false;
    int r = 0;

    for (size_t i = 0; i < outside->paths.count && r == 0; i++) {
        const char *path = outside->paths.items[i];
        const char *text = ask_file(pg, p->a, path, &refused);

        if (text)
            r = place_text(p, path, text, false, err);
        else
            tw_issue_add(p->a, p->differences, TW_LOW, TW_PROCEED, "twin.configuration",
                         tw_arena_printf(p->a, "'%s' is not in the twin", path),
                         "it lies on the server's host and could not be read over the connection",
                         NULL);
    }
    for (size_t i = 0; i < outside->dirs.count && r == 0; i++)
        r = place_dir(p, outside->dirs.items[i], err);
    return r;
}

int kind_pg_refresh_elsewhere(struct tw_arena *a, const struct tw_target *t,
                              const struct tw_snapshot *s, const struct tw_plan *plan,
                              const char *root, unsigned uid, unsigned gid,
                              struct tw_issues *differences, struct tw_err *err)
{
    struct placing p = {a, s, root, uid, gid, differences};
    struct kind_pg_place place;
    struct kind_pg_outside outside;
    struct remote_files files = {0};
    struct tw_pg *pg = NULL;
    int r = kind_pg_find_elsewhere(a, s, &place, err);

    if (r == 0)
        r = kind_pg_connect(a, t, &place, NULL, &pg, NULL, err);
    if (r < 0)
        return r;
    read_files(pg, a, s, &files);
    for (size_t i = 0; i < files.dirs.count && r == 0; i++)
        r = place_dir(&p, files.dirs.items[i], err);
    for (size_t i = 0; i < files.list.count && r == 0; i++) {
        const struct remote_file *f = &files.list.items[i];

        r = f->text ? place_text(&p, f->path, f->text, f->conf, err)
                    : place_unread(&p, pg, f, err);
    }
    kind_pg_outside_files(a, s, plan, &outside);
    if (r == 0)
        r = place_outside(&p, pg, &outside, err);
    tw_pg_close(pg);
    return r;
}
