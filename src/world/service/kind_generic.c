/* Any process or unit with a TCP port: started as its unit or its process says, with the files that
 * its command line names, ready when it listens where it listens today. What its settings mean is not
 * known: changes are files, its environment ("env.PORT"), its command, and limits of its unit. */
#include "host/host.h"

#include "tw/io.h"
#include "tw/redact.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TREE_MAX (INT64_C(512) << 20) /* of a program's own directory */
#define ENV      "env."

/* ---- where it is ---- */

struct place {
    const char *host, *protocol, *path;
    int port;
};

/* "http://host:port/path", "tcp://host:port", "host:port", ":port". */
static int parse_place(struct tw_arena *a, const char *text, struct place *ret,
                       struct tw_err *err)
{
    struct place p = {.host = "127.0.0.1", .protocol = "tcp", .path = "/"};
    const char *slash, *colon, *scheme = strstr(text, "://");

    if (scheme) {
        p.protocol = tw_arena_strndup(a, text, (size_t)(scheme - text));
        text = scheme + 3;
    }
    slash = text + strcspn(text, "/");
    colon = memrchr(text, ':', (size_t)(slash - text));
    if (*slash)
        p.path = tw_arena_strdup(a, slash);
    p.port = colon ? atoi(colon + 1) : tw_streq(p.protocol, "http") ? 80 : 0;
    if ((colon ? colon : slash) > text)
        p.host = tw_arena_strndup(a, text, (size_t)((colon ? colon : slash) - text));
    if (p.port <= 0 || p.port > 65535)
        return tw_fail(err, -EINVAL,
                       "dsn '%s': 'http://host:port/path' or 'host:port' was expected",
                       text);
    *ret = p;
    return 0;
}

static int check_declaration(const struct tw_target *t, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct host_unit u;
    struct place p;

    if (t->dsn)
        return parse_place(a, t->dsn, &p, err);
    if (t->config || host_unit_read(a, "", t->name, &u))
        return 0;
    return tw_fail(
        err, -EINVAL,
        "target '%s' is no unit of this host: give --dsn http://host:port/path where it "
        "listens, or --config FILE that its command line names",
        t->name);
}

struct found {
    struct host_process process;
    struct host_unit unit;
    bool has_process, has_unit;
};

static bool runs_command(const struct host_process *p, const struct host_unit *u)
{
    return p->argv.count && u->argv.count &&
           tw_streq(strrchr(p->exe, '/'), strrchr(u->argv.items[0], '/'));
}

/* By its unit, by its port, by its file. */
static void find(struct tw_arena *a, const struct tw_target *t, struct found *ret)
{
    struct place p = {0};
    struct host_processes all = {0};

    *ret = (struct found){0};
    ret->has_unit = host_unit_read(a, "", t->name, &ret->unit) && ret->unit.argv.count;
    if (t->dsn && parse_place(a, t->dsn, &p, NULL) == 0)
        ret->has_process = host_process_listening(a, p.port, &ret->process);
    if (!ret->has_process && ret->has_unit && strchr(ret->unit.argv.items[0], '/'))
        host_process_find(a, strrchr(ret->unit.argv.items[0], '/') + 1, &all);
    for (size_t i = 0; i < all.list.count && !ret->has_process; i++) {
        ret->process = all.list.items[i];
        ret->has_process =
            tw_streq(ret->process.unit, ret->unit.name) ||
            (!ret->process.unit && runs_command(&ret->process, &ret->unit));
    }
    if (ret->has_process && ret->process.unit && !ret->has_unit)
        ret->has_unit =
            host_unit_read(a, "", ret->process.unit, &ret->unit) && ret->unit.argv.count;
}

/* ---- the snapshot ---- */

static const char *whole_path(struct tw_arena *a, const char *cwd, const char *word)
{
    char real[PATH_MAX];
    const char *path =
        *word == '/' || !cwd ? word : tw_arena_printf(a, "%s/%s", cwd, word);
    struct stat st;

    return *path == '/' && realpath(path, real) && stat(real, &st) == 0 &&
                   S_ISREG(st.st_mode)
               ? tw_arena_strdup(a, real)
               : NULL;
}

static bool is_of_system(const char *path)
{
    return tw_starts_with(path, "/usr/") || tw_starts_with(path, "/bin/") ||
           tw_starts_with(path, "/lib");
}

/* A directory of its own, not one that all share. */
static void take_tree(struct tw_arena *a, struct tw_snapshot *s, const char *dir)
{
    static const char *const shared[] = {"/",    "/etc", "/root", "/home", "/tmp",
                                         "/var", "/run", "/opt",  "/srv",  "/usr"};

    if (!dir || *dir != '/' || tw_name_index(dir, shared, TW_COUNT_OF(shared)) >= 0 ||
        is_of_system(dir) || tw_starts_with(dir, "/etc/") ||
        host_tree_bytes(dir) > TREE_MAX)
        return;
    for (size_t i = 0; i < s->trees.count; i++)
        if (tw_streq(s->trees.items[i], dir))
            return;
    TW_PUSH(a, &s->trees, dir);
}

/* Programs and scripts outside of the system bring the directory they stand in; text is kept. */
static void take_file(struct tw_arena *a, struct tw_snapshot *s, const char *path)
{
    if (is_of_system(path))
        return;
    (void)host_add_file(a, path, s, NULL);
    take_tree(a, s, host_parent(a, path));
}

static void take_words(struct tw_arena *a, const struct found *f, struct tw_snapshot *s)
{
    const char *const *words =
        f->has_process ? f->process.argv.items : f->unit.argv.items;
    size_t n = f->has_process ? f->process.argv.count : f->unit.argv.count;
    const char *cwd = f->has_process ? f->process.cwd : f->unit.cwd;
    const char *command = "";

    take_tree(a, s, cwd);
    for (size_t i = 0; i < n; i++) {
        const char *equals = strchr(words[i], '=');
        const char *path = whole_path(a, cwd, words[i]);

        if (!path && equals)
            path = whole_path(a, cwd, equals + 1);
        if (path)
            take_file(a, s, path);
        command = tw_arena_printf(a, "%s%s%s", command, i ? " " : "", words[i]);
    }
    TW_PUSH(a, &s->settings,
            (struct tw_setting){.name = "command",
                                .value = tw_redact_text(NULL, a, command),
                                .type = "string",
                                .context = "postmaster",
                                .source = "command line"});
}

static void take_env(struct tw_arena *a, const struct found *f, struct tw_snapshot *s)
{
    const char *const *env = f->has_process ? f->process.env.items : f->unit.env.items;
    size_t n = f->has_process ? f->process.env.count : f->unit.env.count;

    for (size_t i = 0; i < n; i++) {
        const char *equals = strchr(env[i], '=');
        const char *name =
            equals ? tw_arena_printf(a, ENV "%.*s", (int)(equals - env[i]), env[i])
                   : NULL;

        if (name)
            TW_PUSH(
                a, &s->settings,
                (struct tw_setting){
                    .name = name,
                    .value = equals[1] ? tw_redact_value(NULL, a, name, equals + 1) : "",
                    .type = "string",
                    .context = "postmaster",
                    .source = "environment"});
    }
}

/* ---- whom it calls, as its words and its environment name them ---- */

static void add_neighbour(struct tw_arena *a, struct tw_snapshot *s, const char *protocol,
                          const char *host, const char *port)
{
    struct tw_neighbour n = {.protocol = protocol, .address = host, .port = atoi(port)};

    if (n.port <= 0 || n.port > 65535 || !*host)
        return;
    if (tw_streq(host, "localhost") || strspn(host, "0123456789.") == strlen(host))
        n.resolved = tw_streq(host, "localhost") ? "127.0.0.1" : host;
    for (size_t i = 0; i < s->neighbours.count; i++)
        if (s->neighbours.items[i].port == n.port &&
            tw_streq(s->neighbours.items[i].address, host))
            return;
    TW_PUSH(a, &s->neighbours, n);
}

/* "postgresql://user:word@host:5432/shop": what stands between the last @ and the path. */
static void url_in(struct tw_arena *a, struct tw_snapshot *s, const char *text)
{
    const char *mark = strstr(text, "://"), *from, *end, *at, *colon, *scheme;

    if (!mark)
        return;
    for (scheme = mark; scheme > text && (isalnum((unsigned char)scheme[-1]) ||
                                          strchr("+.-", scheme[-1]));)
        scheme--;
    from = mark + 3;
    end = from + strcspn(from, "/?# \t");
    at = memrchr(from, '@', (size_t)(end - from));
    from = at ? at + 1 : from;
    colon = memrchr(from, ':', (size_t)(end - from));
    if (colon)
        add_neighbour(a, s,
                      tw_arena_strndup(a, scheme, (size_t)(mark - scheme)),
                      tw_arena_strndup(a, from, (size_t)(colon - from)),
                      tw_arena_strndup(a, colon + 1, (size_t)(end - colon - 1)));
}

/* "host=db port=5432 dbname=shop", as libpq takes it. */
static void conninfo_in(struct tw_arena *a, struct tw_snapshot *s, const char *text)
{
    const char *host = strstr(text, "host="), *port = strstr(text, "port=");

    if (!host || strchr(text, '/') == host + 5)
        return;
    host += strlen("host=");
    add_neighbour(a, s, "postgresql", tw_arena_strndup(a, host, strcspn(host, " \t'")),
                  port ? port + strlen("port=") : "5432");
}

static void take_neighbours(struct tw_arena *a, const struct found *f, struct tw_snapshot *s)
{
    const char *const *words =
        f->has_process ? f->process.argv.items : f->unit.argv.items;
    size_t n = f->has_process ? f->process.argv.count : f->unit.argv.count;
    const char *const *env = f->has_process ? f->process.env.items : f->unit.env.items;
    size_t m = f->has_process ? f->process.env.count : f->unit.env.count;

    for (size_t i = 0; i < n + m; i++) {
        const char *text = i < n ? words[i] : env[i - n];

        url_in(a, s, text);
        conninfo_in(a, s, text);
    }
}

static int snapshot(struct tw_arena *a, const struct tw_target *t,
                    struct tw_snapshot *ret, struct tw_err *err)
{
    struct place p = {0};
    struct found f;
    int r;

    tw_snapshot_init(ret);
    find(a, t, &f);
    if (!f.has_process && !f.has_unit)
        return tw_fail(
            err, -ENOENT,
            "target '%s': neither a unit of that name nor a process that listens there; "
            "start it, or name it after its unit",
            t->name);
    if (t->dsn && (r = parse_place(a, t->dsn, &p, err)) < 0)
        return r;
    r = host_describe(a, f.has_process ? &f.process : NULL, f.has_unit ? &f.unit : NULL,
                      ret, err);
    take_words(a, &f, ret);
    take_env(a, &f, ret);
    take_neighbours(a, &f, ret);
    if (t->config)
        take_file(a, ret, t->config);
    ret->program = f.has_process ? f.process.exe : f.unit.argv.items[0];
    ret->config_file = t->config          ? t->config
                       : ret->files.count ? ret->files.items[0].path
                                          : ret->program;
    ret->data_dir = t->data_dir;
    ret->data_bytes = t->data_dir ? host_tree_bytes(t->data_dir) : 0;
    ret->version = "of unknown version";
    if (p.port && ret->endpoints.count == 0)
        TW_PUSH(a, &ret->endpoints,
                (struct tw_endpoint){.address = p.host, .port = p.port});
    for (size_t i = 0; i < ret->endpoints.count; i++)
        ret->endpoints.items[i].protocol = p.port ? p.protocol : "tcp";
    ret->port = p.port ? p.port : ret->endpoints.count ? ret->endpoints.items[0].port : 0;
    ret->how = f.has_process ? "running" : "stopped";
    return r < 0 || ret->port ? r
                              : tw_fail(err, -ENODATA,
                                        "where target '%s' listens is not known while it "
                                        "does not run: start it, "
                                        "or give --dsn host:port",
                                        t->name);
}

/* ---- request and plan ---- */

static bool is_known(const char *name)
{
    return host_unit_is_setting(name) || tw_starts_with(name, ENV) ||
           tw_streq(name, "command");
}

static int validate(struct tw_arena *a, const struct tw_snapshot *s,
                    const struct tw_request *r, struct tw_issues *issues,
                    struct tw_err *err)
{
    int rc = host_check_request(a, s, r, err);

    (void)issues;
    for (size_t i = 0; i < r->settings.count && rc == 0; i++)
        if (!is_known(r->settings.items[i].name))
            rc = tw_fail_at(
                err, -EINVAL, r->settings.items[i].pointer,
                "setting '%s': of a service of any kind only 'env.NAME', 'command', "
                "'LimitNOFILE' and the like can be set; for its files use --file "
                "PATH=FILE",
                r->settings.items[i].name);
    return rc;
}

static int plan(struct tw_arena *a, const struct tw_snapshot *s,
                const struct tw_request *r, struct tw_plan *ret, struct tw_err *err)
{
    for (size_t i = 0; i < r->settings.count; i++)
        TW_PUSH(a, &ret->steps,
                (struct tw_plan_step){.kind = TW_STEP_SETTING,
                                      .name = r->settings.items[i].name,
                                      .value = r->settings.items[i].value,
                                      .origin = r->settings.items[i].pointer});
    ret->needs_restart = true;
    return host_plan_files(a, s, r, NULL, ret, err);
}

/* ---- trees ---- */

static const char *seed_key(struct tw_arena *a, const struct tw_snapshot *s)
{
    char *what = tw_arena_printf(a, "%s/%s/%s", s->environment, s->target, s->program);
    char hex[65];

    tw_sha256_hex(what, strlen(what), hex);
    return tw_arena_printf(a, "generic-%.20s", hex);
}

/* As it is now, whatever stood there. */
static int copy_tree(const char *root, const char *path, unsigned uid, unsigned gid,
                     struct tw_err *err)
{
    tw_auto_free char *to = tw_strf("%s%s", root, path);
    int64_t bytes;
    int r;

    if (access(path, F_OK) < 0)
        return 0;
    r = tw_remove_tree(to, err);
    return r < 0 ? r : tw_copy_tree(path, to, uid, gid, NULL, NULL, &bytes, err);
}

static int keep_command(struct tw_arena *a, const struct found *f, const char *root,
                        unsigned uid, unsigned gid, struct tw_err *err)
{
    const char *const *argv =
        f->has_process ? f->process.argv.items : f->unit.argv.items;
    const char *const *env = f->has_process ? f->process.env.items : f->unit.env.items;
    size_t words = f->has_process ? f->process.argv.count : f->unit.argv.count;
    size_t lines = f->has_process ? f->process.env.count : f->unit.env.count;
    struct host_command c = {.cwd = f->has_process ? f->process.cwd : f->unit.cwd};

    for (size_t i = 0; i < words; i++) {
        /* What it is called by may be relative; what it is, is known. */
        bool known = i == 0 && f->has_process && !f->process.told;

        TW_PUSH(a, &c.argv, known ? f->process.exe : argv[i]);
    }
    for (size_t i = 0; i < lines; i++)
        TW_PUSH(a, &c.env, env[i]);
    return host_command_keep(a, root, &c, uid, gid, err);
}

static int refresh(struct tw_arena *a, const struct tw_target *t,
                   const struct tw_snapshot *s, const struct tw_plan *p, const char *root,
                   unsigned uid, unsigned gid, struct tw_issues *differences,
                   struct tw_err *err)
{
    struct found f;
    int r = 0;

    (void)p;
    (void)differences;
    for (size_t i = 0; i < s->trees.count && r == 0; i++)
        r = copy_tree(root, s->trees.items[i], uid, gid, err);
    for (size_t i = 0; i < s->files.count && r == 0; i++)
        r = host_copy_file(root, s->files.items[i].path, uid, gid, err);
    if (r < 0)
        return r;
    find(a, t, &f);
    if (!f.has_process && !f.has_unit)
        return tw_fail(err, -ESRCH, "target '%s' is gone", t->name);
    return keep_command(a, &f, root, uid, gid, err);
}

static int seed_fill(struct tw_arena *a, const struct tw_target *t,
                     const struct tw_snapshot *s, const char *seed_root, unsigned uid,
                     unsigned gid, struct tw_issues *differences, struct tw_err *err)
{
    int r = s->data_dir ? host_make_dir(seed_root, s->data_dir, s, uid, gid, err) : 0;

    if (r == 0 && s->data_dir)
        r = copy_tree(seed_root, s->data_dir, uid, gid, err);
    if (r == 0 && s->data_dir && tw_streq(s->how, "running"))
        tw_issue_add(
            a, differences, TW_LOW, TW_PROCEED, "twin.data",
            "the data was copied while the service ran",
            "a copy of files that change need not fit together; the kind of service is "
            "not known, and so is no better way",
            NULL);
    return r < 0 ? r : refresh(a, t, s, NULL, seed_root, uid, gid, differences, err);
}

static int layout(struct tw_arena *a, const struct tw_snapshot *s,
                  const struct tw_plan *p, const char *root, struct tw_layout *ret,
                  struct tw_err *err)
{
    struct tw_layout l = {.runtime_dir = "/tw"};

    (void)p;
    (void)err;
    if (s->data_dir)
        host_layout_add(a, &l, root, s->data_dir);
    for (size_t i = 0; i < s->trees.count; i++)
        host_layout_add(a, &l, root, s->trees.items[i]);
    for (size_t i = 0; i < s->files.count; i++)
        if (!strstr(s->files.items[i].path, "/systemd/"))
            host_layout_add(a, &l, root, s->files.items[i].path);
    for (size_t i = 0; i < s->endpoints.count; i++)
        host_layout_address(a, &l, s->endpoints.items[i].address);
    *ret = l;
    return 0;
}

/* ---- start and change ---- */

static bool there(const char *root, const char *path)
{
    tw_auto_free char *host = tw_strf("%s%s", root, path);

    return access(host, F_OK) == 0;
}

static int launch(struct tw_arena *a, const struct tw_access *x, enum tw_start_mode mode,
                  struct tw_launch *ret, struct tw_err *err)
{
    struct tw_launch l = {.stop_signal = SIGTERM};
    struct host_command c;

    if (mode == TW_START_ASK)
        return tw_fail(err, -ENODATA, "a service of unknown kind cannot check itself");
    host_command_kept(a, x->root, &c);
    l.cwd = c.cwd ? c.cwd : "/";
    if (!is_of_system(l.cwd) && !there(x->root, l.cwd))
        l.cwd = "/";
    for (size_t i = 0; i < c.argv.count; i++)
        TW_PUSH(a, &l.argv, c.argv.items[i]);
    for (size_t i = 0; i < c.env.count; i++)
        TW_PUSH(a, &l.env, c.env.items[i]);
    if (l.argv.count == 0)
        return tw_fail(err, -ENODATA, "the command of target '%s' is not known",
                       x->snapshot->target);
    TW_PUSH(a, &l.argv, NULL);
    TW_PUSH(a, &l.env, NULL);
    host_launch_limits(a, x, &l);
    *ret = l;
    return 0;
}

/* It listens: whether where it should is judged afterwards, so that one that moved is not waited for. */
static enum tw_ready ready(const struct tw_access *x)
{
    return host_netns_listens(x->netns, 0) ? TW_READY : TW_NOT_YET;
}

/* Replaces or adds "NAME=value" behind the empty line; NULL takes it away. */
static const char *with_env(struct tw_arena *a, const char *text, const char *name,
                            const char *value)
{
    const char *mark = tw_arena_printf(a, "%s=", name);
    char *rest = tw_arena_strdup(a, text);
    const char *out = "";
    bool words = true;

    for (char *line; (line = strsep(&rest, "\n")) && (rest || *line);) {
        words = words && *line;
        if (words || !tw_starts_with(line, mark))
            out = tw_arena_printf(a, "%s%s\n", out, line);
    }
    return value ? tw_arena_printf(a, "%s%s%s\n", out, mark, value) : out;
}

/* New words between the directory and the environment, at blanks. */
static const char *with_command(struct tw_arena *a, const char *text, const char *value)
{
    size_t dir = strcspn(text, "\n");
    const char *env = strstr(text, "\n\n");
    char *rest = tw_arena_strdup(a, value);
    const char *out = tw_arena_printf(a, "%.*s\n", (int)dir, text);

    for (char *word; (word = strsep(&rest, " "));)
        if (*word)
            out = tw_arena_printf(a, "%s%s\n", out, word);
    return tw_arena_printf(a, "%s%s", out, env ? env + 1 : "\n");
}

static int apply(struct tw_arena *a, const struct tw_access *x,
                 const struct tw_plan_step *step, struct tw_err *err)
{
    const char *text = host_text(a, x->root, HOST_COMMAND);
    unsigned uid = 0, gid = 0;
    int r = host_owner(x, &uid, &gid, err);

    if (r < 0)
        return r;
    if (step->kind != TW_STEP_SETTING)
        return host_apply_file(a, x, step, err);
    if (host_unit_is_setting(step->name))
        return host_unit_set(a, x->root, x->snapshot->unit, step->name, step->value, uid,
                             gid, err);
    text = tw_starts_with(step->name, ENV)
               ? with_env(a, text, step->name + strlen(ENV), step->value)
               : with_command(a, text, step->value ? step->value : "");
    return host_put_file(x->root, HOST_COMMAND, text, 0600, uid, gid, err);
}

/* ---- at another port ---- */

static bool is_number_at(const char *text, const char *at, size_t len)
{
    bool before = at == text || !strchr("0123456789.", at[-1]);

    return before && !strchr("0123456789.", at[len] ? at[len] : ' ');
}

/* The number wherever it stands alone, "--port=8080", "PORT=8080", "127.0.0.1:8080"; count grows. */
static const char *with_number(struct tw_arena *a, const char *text, const char *from,
                               const char *to, int *count)
{
    size_t len = strlen(from);
    struct tw_buf b;
    const char *out;

    tw_buf_init(&b, (size_t)64 << 20);
    for (const char *at; (at = strstr(text, from)); text = at + len) {
        bool alone = is_number_at(text, at, len);

        tw_buf_add(&b, text, (size_t)(at - text));
        tw_buf_puts(&b, alone ? to : from);
        *count += alone;
    }
    tw_buf_puts(&b, text);
    out = tw_arena_strdup(a, tw_buf_text(&b));
    tw_buf_done(&b);
    return out;
}

static int move_port(struct tw_arena *a, const struct tw_access *x, int from, int to,
                     struct tw_err *err)
{
    const char *was = tw_arena_printf(a, "%d", from), *is = tw_arena_printf(a, "%d", to);
    const struct tw_snapshot *s = x->snapshot;
    unsigned uid = 0, gid = 0;
    int count = 0, r = host_owner(x, &uid, &gid, err);
    const char *text;

    if (r < 0)
        return r;
    text = with_number(a, host_text(a, x->root, HOST_COMMAND), was, is, &count);
    r = host_put_file(x->root, HOST_COMMAND, text, 0600, uid, gid, err);
    for (size_t i = 0; i < s->files.count && r == 0 && !count; i++) {
        text = with_number(a, host_text(a, x->root, s->files.items[i].path), was, is, &count);
        if (count)
            r = host_put_file(x->root, s->files.items[i].path, text, s->files.items[i].mode, uid,
                              gid, err);
    }
    if (r < 0 || count)
        return r;
    return tw_fail(err, -ENODATA,
                   "port %d of '%s' stands neither in its command line nor in its environment or "
                   "files, so a second one cannot stand beside it",
                   from, s->target);
}

/* ---- judged ---- */

/* Words that mean the same whoever says them: of the C library's errors. */
static const struct host_words words[] = {
    {"Address already in use", "start.listen", TW_CRITICAL, TW_BLOCK, "its port is taken",
     "use a free port"},
    {"Cannot assign requested address", "start.listen", TW_CRITICAL, TW_BLOCK,
     "an address cannot be used", "use an address that this host has"},
    {"Too many open files", "clients.refused", TW_CRITICAL, TW_BLOCK,
     "no file descriptor is left", "a larger LimitNOFILE"},
    {"No space left on device", "disk.full", TW_CRITICAL, TW_BLOCK, "the disk is full",
     "free or add space"},
    {"Cannot allocate memory", "memory.out", TW_CRITICAL, TW_BLOCK,
     "there is not memory enough", "ask for less, or give more"},
    {"Out of memory", "memory.out", TW_CRITICAL, TW_BLOCK, "there is not memory enough",
     "ask for less, or give more"},
    {"OutOfMemoryError", "memory.out", TW_CRITICAL, TW_BLOCK,
     "there is not memory enough", "a larger heap"},
    {"Permission denied", "access.files", TW_HIGH, TW_REVIEW,
     "it may not read or write a file", "correct owner or mode"},
};

static const char *clean(struct tw_arena *a, const char *line)
{
    (void)a;
    return line;
}

#define PORT_NS (3 * TW_SEC_NS) /* one may come after the other */

static void judge_port(struct tw_arena *a, const struct tw_access *x, int port,
                       struct tw_issues *issues)
{
    int64_t until = tw_now_ns() + PORT_NS;

    while (!host_netns_listens(x->netns, port) && tw_now_ns() < until)
        tw_sleep_ns(20 * TW_MSEC_NS);
    if (!host_netns_listens(x->netns, port))
        tw_issue_add(a, issues, TW_CRITICAL, TW_BLOCK, "access.unreachable",
                     "it starts, and does not listen where its clients look for it",
                     tw_arena_printf(a, "nobody listens on port %d", port),
                     "keep the port, or move its clients first");
}

static void judge_start(struct tw_arena *a, const struct tw_access *x, size_t log_from,
                        const struct tw_plan *p, bool started, int wait_status,
                        struct tw_issues *issues)
{
    (void)p;
    if (started) {
        host_words_judge(a, x->log, log_from, clean, words, TW_COUNT_OF(words), issues);
        judge_port(a, x, x->snapshot->port, issues);
    } else
        host_judge_dead(a, x, log_from, clean, words, TW_COUNT_OF(words), wait_status,
                        issues);
}

static void judge_reload(struct tw_arena *a, const struct tw_access *x, size_t log_from,
                         const struct tw_plan *p, struct tw_issues *issues)
{
    (void)a;
    (void)x;
    (void)log_from;
    (void)p;
    (void)issues; /* it is not reloaded: what that would do is not known */
}

static void judge_files(struct tw_arena *a, const struct tw_access *x,
                        const struct tw_plan *p, struct tw_issues *issues)
{
    for (size_t i = 0; i < p->steps.count; i++)
        if (p->steps.items[i].kind != TW_STEP_SETTING &&
            *host_text(a, x->root, p->steps.items[i].path) == '\0')
            tw_issue_add(a, issues, TW_MEDIUM, TW_PROCEED, "change.empty",
                         "a file is empty after the change", p->steps.items[i].path,
                         "see whether that is meant");
}

static void judge_log(struct tw_arena *a, const struct tw_access *x, size_t log_from,
                      struct tw_issues *issues)
{
    host_words_judge(a, x->log, log_from, clean, words, TW_COUNT_OF(words), issues);
}

static const char *tell_setting(struct tw_arena *a, const struct tw_snapshot *s,
                                const char *name, const char *value)
{
    return host_tell_setting(a, s, name, value, "=", "");
}

static const char *tell_effect(struct tw_arena *a, const struct tw_snapshot *s,
                               bool restart)
{
    return host_tell_effect(a, s, NULL, NULL, restart);
}

extern const struct tw_service_kind kind_generic;
const struct tw_service_kind kind_generic = {
    .name = "generic",
    .summary = "any process or unit that listens on a TCP port",
    .driver = "tcp",
    .protocol = "tcp",
    .holds_data = true,
    .check_declaration = check_declaration,
    .snapshot = snapshot,
    .validate = validate,
    .plan = plan,
    .seed_key = seed_key,
    .seed_fill = seed_fill,
    .refresh = refresh,
    .layout = layout,
    .launch = launch,
    .ready = ready,
    .apply = apply,
    .move_port = move_port,
    .tell_setting = tell_setting,
    .tell_effect = tell_effect,
    .judge_start = judge_start,
    .judge_reload = judge_reload,
    .judge_files = judge_files,
    .judge_log = judge_log,
};
