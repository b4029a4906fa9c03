/* Where a cluster is and in what state, by its own files: PG_VERSION, postmaster.pid,
 * postmaster.opts, pg_control, Debian's /etc/postgresql. */
#include "kind_pg_internal.h"

#include "tw/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const kind_pg_state_names[4] = {"stopped", "running", "crashed", "elsewhere"};

/* Where distributions put the binaries of a major version; %d is the version. */
static const char *const bin_patterns[] = {"/usr/lib/postgresql/%d/bin",
                                           "/usr/pgsql-%d/bin", "/usr/local/pgsql/bin",
                                           "/usr/libexec/postgresql%d", "/usr/bin"};

static bool serves_major(const char *postgres, int major)
{
    const char *argv[] = {postgres, "--version", NULL};
    struct tw_child child = {.argv = argv, .uid = (unsigned)-1, .gid = (unsigned)-1};
    struct tw_child_result res = {0};
    const char *digits;
    bool same;

    if (tw_child_run(&child, &res, NULL) < 0)
        return false;
    digits = strpbrk(tw_buf_text(&res.out), "0123456789");
    same = digits && atoi(digits) == major;
    tw_child_result_done(&res);
    return same;
}

int kind_pg_bin_dir(struct tw_arena *a, int major, const char **ret, struct tw_err *err)
{
    for (size_t i = 0; i < TW_COUNT_OF(bin_patterns); i++) {
        bool versioned = strstr(bin_patterns[i], "%d");
        tw_auto_buf dir = {0};
        char *postgres;

        tw_buf_init(&dir, PATH_MAX);
        if (versioned) {
            size_t n = strcspn(bin_patterns[i], "%");

            tw_buf_add(&dir, bin_patterns[i], n);
            tw_buf_printf(&dir, "%d%s", major, bin_patterns[i] + n + 2);
        } else {
            tw_buf_puts(&dir, bin_patterns[i]);
        }
        postgres = tw_arena_printf(a, "%s/postgres", tw_buf_text(&dir));
        if (access(postgres, X_OK) < 0 || (!versioned && !serves_major(postgres, major)))
            continue;
        *ret = tw_arena_strdup(a, tw_buf_text(&dir));
        return 0;
    }
    return tw_fail(err, -ENOENT,
                   "no PostgreSQL %d binaries on this host; the twin runs the same major "
                   "version: apt-get install postgresql-%d",
                   major, major);
}

static const char *owner_name(struct tw_arena *a, unsigned uid)
{
    struct passwd pw, *found = NULL;
    char text[4096];

    if (getpwuid_r(uid, &pw, text, sizeof(text), &found) != 0 || !found)
        return NULL;
    return tw_arena_strdup(a, pw.pw_name);
}

static char *line_of(struct tw_arena *a, const char *text, int number)
{
    for (int i = 1; i < number && text; i++) {
        text = strchr(text, '\n');
        text = text ? text + 1 : NULL;
    }
    return text ? tw_arena_strndup(a, text, strcspn(text, "\n")) : NULL;
}

/* A pid may have been given to another process since: the cwd of a postmaster is its data
 * directory. */
static bool is_postmaster_of(pid_t pid, const char *data_dir)
{
    tw_auto_free char *link = tw_strf("/proc/%d/cwd", (int)pid);
    char cwd[PATH_MAX];
    ssize_t n;

    if (pid <= 1 || (kill(pid, 0) < 0 && errno == ESRCH))
        return false;
    n = readlink(link, cwd, sizeof(cwd) - 1);
    if (n < 0)
        return errno == EACCES; /* not ours to look at: it lives, so it counts */
    cwd[n] = '\0';
    return tw_streq(cwd, data_dir);
}

static void read_pid_file(struct tw_arena *a, struct kind_pg_place *p)
{
    tw_auto_free char *path = tw_strf("%s/postmaster.pid", p->data_dir);
    tw_auto_free char *text = NULL;
    const char *port;

    if (tw_read_file(AT_FDCWD, path, 64 * 1024, &text, NULL, NULL) < 0)
        return;
    if (!is_postmaster_of(atoi(text), p->data_dir)) {
        p->state = KIND_PG_CRASHED;
        return;
    }
    p->state = KIND_PG_RUNNING;
    port = line_of(a, text, 4);
    p->port = port ? atoi(port) : 0;
    p->socket_dir = line_of(a, text, 5);
    if (p->socket_dir && !*p->socket_dir)
        p->socket_dir = NULL;
    p->listen = line_of(a, text, 6);
}

/* postmaster.opts: one line, the program and then each argument in double quotes. */
static void read_opts(struct tw_arena *a, struct kind_pg_place *p)
{
    tw_auto_free char *path = tw_strf("%s/postmaster.opts", p->data_dir);
    tw_auto_free char *text = NULL;
    TW_ARRAY(const char *) args = {0};

    if (tw_read_file(AT_FDCWD, path, 64 * 1024, &text, NULL, NULL) < 0)
        return;
    for (char *s = strchr(text, '"'); s; s = strchr(s + 1, '"')) {
        char *end = strchr(s + 1, '"');

        if (!end)
            break;
        TW_PUSH(a, &args, tw_arena_strndup(a, s + 1, (size_t)(end - s - 1)));
        s = end;
    }
    for (size_t i = 0; i < args.count; i++) {
        const char *arg = args.items[i];

        if (tw_streq(arg, "-D")) {
            i++;
        } else if (tw_streq(arg, "-c") && i + 1 < args.count) {
            const char *set = args.items[++i];

            if (tw_starts_with(set, "config_file="))
                p->config_file = set + strlen("config_file=");
            else
                TW_PUSH(a, &p->options, set);
        }
    }
}

/* Debian keeps the files of cluster V/C in /etc/postgresql/V/C, and says there which data
 * directory they belong to. */
static const char *debian_config(struct tw_arena *a, const char *data_dir)
{
    const char *found = NULL;
    glob_t g;

    if (glob("/etc/postgresql/*/*/postgresql.conf", 0, NULL, &g) != 0)
        return NULL;
    for (size_t i = 0; i < g.gl_pathc && !found; i++) {
        struct kind_pg_conf conf;
        const struct kind_pg_entry *e;

        kind_pg_conf_read(a, "", g.gl_pathv[i], NULL, &conf);
        e = kind_pg_conf_last(&conf, "data_directory");
        if (e && tw_streq(e->value, data_dir))
            found = tw_arena_strdup(a, g.gl_pathv[i]);
    }
    globfree(&g);
    return found;
}

static int find_config(struct tw_arena *a, struct kind_pg_place *p, struct tw_err *err)
{
    const char *own = tw_arena_printf(a, "%s/postgresql.conf", p->data_dir);

    if (p->config_file && access(p->config_file, F_OK) == 0)
        return 0;
    p->config_file = access(own, F_OK) == 0 ? own : debian_config(a, p->data_dir);
    if (!p->config_file)
        return tw_fail(
            err, -ENOENT,
            "no postgresql.conf: neither in '%s' nor under /etc/postgresql with "
            "that data_directory",
            p->data_dir);
    return 0;
}

static void find_links(struct tw_arena *a, struct kind_pg_place *p)
{
    const char *base = tw_arena_printf(a, "%s/pg_tblspc", p->data_dir);
    const char *wal = tw_arena_printf(a, "%s/pg_wal", p->data_dir);
    char real[PATH_MAX];
    struct stat st;
    DIR *dir;

    if (lstat(wal, &st) == 0 && S_ISLNK(st.st_mode) && realpath(wal, real))
        p->wal_dir = tw_arena_strdup(a, real);
    dir = opendir(base);
    if (!dir)
        return;
    for (struct dirent *d; (d = readdir(dir));) {
        const char *link = tw_arena_printf(a, "%s/%s", base, d->d_name);
        ssize_t n = readlink(link, real, sizeof(real) - 1);

        if (n <= 0)
            continue;
        real[n] = '\0';
        TW_PUSH(a, &p->tablespaces, tw_arena_strdup(a, real));
    }
    (void)closedir(dir);
}

int kind_pg_program(struct tw_arena *a, const struct kind_pg_place *place,
                    const char *const *argv, const char **ret_out, struct tw_err *err)
{
    static const char *const env[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};
    bool drop = geteuid() == 0;
    struct tw_child child = {.argv = argv,
                             .env = env,
                             .uid = drop ? place->uid : (unsigned)-1,
                             .gid = drop ? place->gid : (unsigned)-1,
                             .cwd = "/",
                             .max_output = 8 << 20};
    struct tw_child_result res = {0};
    int r = tw_child_run(&child, &res, err);

    if (r < 0)
        return r;
    if (res.status != 0)
        r = tw_fail(err, -EIO, "%s: %s", argv[0],
                    res.err.len ? tw_buf_text(&res.err) : "failed and said nothing");
    else
        *ret_out = tw_arena_strdup(a, tw_buf_text(&res.out));
    tw_child_result_done(&res);
    return r;
}

static int control_state(struct tw_arena *a, struct kind_pg_place *p, struct tw_err *err)
{
    const char *argv[] = {tw_arena_printf(a, "%s/pg_controldata", p->bin_dir), "-D",
                          p->data_dir, NULL};
    const char *out, *at;
    int r = kind_pg_program(a, p, argv, &out, err);

    if (r < 0)
        return tw_wrap(err, r, "reading pg_control of '%s'", p->data_dir);
    at = strstr(out, "Database cluster state:");
    at = at ? at + strlen("Database cluster state:") : "";
    at += strspn(at, " ");
    p->state = tw_starts_with(at, "shut down") &&
                       !tw_starts_with(at, "shut down in rec") &&
                       !tw_starts_with(at, "shutting")
                   ? KIND_PG_STOPPED
                   : KIND_PG_CRASHED;
    if (tw_starts_with(at, "shut down in recovery")) /* a standby, cleanly stopped */
        p->state = KIND_PG_STOPPED;
    return 0;
}

int kind_pg_find(struct tw_arena *a, const char *data_dir, struct kind_pg_place *ret,
                 struct tw_err *err)
{
    struct kind_pg_place p = {.state = KIND_PG_STOPPED};
    tw_auto_free char *version = NULL;
    tw_auto_free char *path = tw_strf("%s/PG_VERSION", data_dir);
    char real[PATH_MAX];
    struct stat st;
    int r;

    if (!realpath(data_dir, real) || stat(real, &st) < 0)
        return tw_fail_errno(err, errno, "data directory '%s'", data_dir);
    r = tw_read_file(AT_FDCWD, path, 64, &version, NULL, err);
    if (r == -EACCES || r == -EPERM)
        return tw_fail(
            err, -EACCES,
            "data directory '%s' is not readable for this user; run as root or as "
            "its owner '%s'",
            data_dir, owner_name(a, st.st_uid));
    if (r < 0)
        return tw_fail(err, -ENOENT,
                       "'%s' is not a PostgreSQL data directory: it has no PG_VERSION",
                       data_dir);
    p.data_dir = tw_arena_strdup(a, real);
    p.major = atoi(version);
    p.uid = st.st_uid;
    p.gid = st.st_gid;
    p.owner = owner_name(a, p.uid);
    r = kind_pg_bin_dir(a, p.major, &p.bin_dir, err);
    if (r < 0)
        return r;
    read_opts(a, &p);
    r = find_config(a, &p, err);
    if (r < 0)
        return r;
    read_pid_file(a, &p);
    find_links(a, &p);
    if (p.state == KIND_PG_STOPPED)
        r = control_state(a, &p, err);
    if (r < 0)
        return r;
    *ret = p;
    return 0;
}
