/* How nginx stands in a sandbox, how it is started there, when it serves. */
#include "kind_nginx_internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Root at the target may raise its own limit, which root of a sandbox may not. */
#define NOFILE_HARD (1 << 20)

/* ---- the tree ---- */

const char *nginx_seed_key(struct tw_arena *a, const struct tw_snapshot *s)
{
    char *what =
        tw_arena_printf(a, "%s/%s/%s", s->environment, s->target, s->config_file);
    char hex[65];

    tw_sha256_hex(what, strlen(what), hex);
    return tw_arena_printf(a, "nginx-%.20s", hex);
}

static bool runs_as_root(const struct tw_snapshot *s)
{
    return s->owner_uid == 0;
}

/* In the foreground, whatever it says of itself: what supervises it here is the sandbox. */
static int stay_in_front(struct tw_arena *a, const struct tw_snapshot *s,
                         const char *root, struct tw_issues *differences,
                         struct tw_err *err)
{
    struct nginx_conf c;
    const struct nginx_directive *d;
    tw_auto_free char *text = NULL;
    int r;

    nginx_conf_read(a, root, s->config_file, &c);
    d = nginx_child(&c, -1, "daemon");
    if (!d || !nginx_has_arg(d, "on"))
        return 0;
    r = service_read_in(root, d->file, 4 << 20, &text, err);
    if (r < 0)
        return r;
    tw_issue_add(a, differences, TW_INFO, TW_PROCEED, "twin.harmless",
                 "daemon is 'off' in the twin", "a sandbox watches the process itself",
                 NULL);
    return service_write_in(
        root, d->file,
        tw_arena_printf(a, "%.*sdaemon off;%s", (int)d->from, text, text + d->to), err);
}

static int copy(struct tw_arena *a, const struct tw_snapshot *s,
                const struct tw_plan *plan, const char *root, unsigned uid, unsigned gid,
                struct tw_issues *differences, struct tw_err *err)
{
    struct service_tree t = {root, uid, gid, runs_as_root(s)};
    struct service_needs n;
    int r;

    nginx_needs_of(a, "", s, plan, &n);
    r = service_needs_copy(a, &t, &n, differences, err);
    for (size_t i = 0; i < s->files.count && r == 0; i++) /* its unit among them */
        if (tw_starts_with(s->files.items[i].path, "/etc/systemd/") ||
            strstr(s->files.items[i].path, "/systemd/system/"))
            r = host_copy_file(root, s->files.items[i].path, uid, gid, err);
    return r < 0 ? r : stay_in_front(a, s, root, differences, err);
}

int nginx_seed_fill(struct tw_arena *a, const struct tw_target *t,
                    const struct tw_snapshot *s, const char *seed_root, unsigned uid,
                    unsigned gid, struct tw_issues *differences, struct tw_err *err)
{
    (void)t;
    return copy(a, s, NULL, seed_root, uid, gid, differences, err);
}

int nginx_refresh(struct tw_arena *a, const struct tw_target *t,
                  const struct tw_snapshot *s, const struct tw_plan *plan,
                  const char *root, unsigned uid, unsigned gid,
                  struct tw_issues *differences, struct tw_err *err)
{
    (void)t;
    return copy(a, s, plan, root, uid, gid, differences, err);
}

int nginx_layout(struct tw_arena *a, const struct tw_snapshot *s,
                 const struct tw_plan *plan, const char *root, struct tw_layout *ret,
                 struct tw_err *err)
{
    struct tw_layout l = {.runtime_dir = KIND_NGINX_RUNTIME, .as_root = runs_as_root(s)};
    struct service_needs n;
    int r;

    nginx_needs_of(a, root, s, plan, &n);
    service_neighbours_look(a, &n, false);
    for (size_t i = 0; i < n.logs.count; i++)
        TW_PUSH(a, &l.logs, n.logs.items[i]);
    r = service_needs_layout(a, root, &n, &l, err);
    if (r == 0)
        *ret = l;
    return r;
}

/* ---- start ---- */

static const char *pid_path(struct tw_arena *a, const struct tw_snapshot *s,
                            const struct nginx_conf *c)
{
    const char *path = nginx_arg(nginx_child(c, -1, "pid"), 0);
    const char *prefix = nginx_build(s, "prefix");

    if (!path)
        path = nginx_build(s, "pid-path");
    return path ? service_path(a, prefix ? prefix : "/", path) : NULL;
}

/* The pid file of a start before this one would be taken for this one's. */
static void note_pid_file(struct tw_arena *a, const struct tw_access *x,
                          const struct nginx_conf *c)
{
    tw_auto_free char *note = tw_strf("%s/pid-file", x->runtime);
    const char *path = pid_path(a, x->snapshot, c);
    tw_auto_free char *host = tw_strf("%s%s", x->root, path ? path : "/none");

    (void)unlink(host);
    (void)unlink(note);
    if (path)
        (void)tw_write_file(note, host, strlen(host), 0600, NULL);
}

/* In the foreground; with the notices that tell when a reload has ended where it is judged, with the
 * warnings (idle connections that are closed to make room) where it is measured. Its own logs stay
 * beside ours: only one that nobody configured has to be named. */
static const char *ours(struct tw_arena *a, const struct tw_snapshot *s,
                        const struct nginx_conf *c, enum tw_start_mode mode)
{
    const char *built = nginx_build(s, "error-log-path");
    const char *text = tw_arena_printf(a, "%s error_log stderr %s;",
                                       nginx_child(c, -1, "daemon") ? "" : "daemon off;",
                                       mode == TW_START_PURE ? "notice" : "warn");

    return nginx_child(c, -1, "error_log") || !built || *built != '/'
               ? text
               : tw_arena_printf(a, "%s error_log %s;", text, built);
}

int nginx_launch(struct tw_arena *a, const struct tw_access *access,
                 enum tw_start_mode mode, struct tw_launch *ret, struct tw_err *err)
{
    const struct tw_snapshot *s = access->snapshot;
    struct tw_launch l = {
        .stop_signal = SIGTERM, .reload_signal = SIGHUP, .cwd = "/", .asks_stderr = true};
    const char *prefix = nginx_build(s, "prefix");
    const char *words[] = {s->program, "-c", s->config_file, "-p", prefix ? prefix : "/"};
    struct nginx_conf c;

    if (!s->program)
        return tw_fail(err, -ENOENT, "the program of nginx is not known");
    nginx_conf_read(a, access->root, s->config_file, &c);
    for (size_t i = 0; i < TW_COUNT_OF(words); i++)
        TW_PUSH(a, &l.argv, words[i]);
    if (mode == TW_START_ASK) {
        TW_PUSH(a, &l.argv, "-t");
    } else {
        note_pid_file(a, access, &c);
        TW_PUSH(a, &l.argv, "-g");
        TW_PUSH(a, &l.argv, ours(a, s, &c, mode));
    }
    TW_PUSH(a, &l.argv, NULL);
    TW_PUSH(a, &l.env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
    TW_PUSH(a, &l.env, NULL);
    host_launch_limits(a, access, &l);
    *ret = l;
    return 0;
}

/* nginx writes its pid when all its sockets listen, and before its workers begin: a connection
 * from then on is queued, and answered. */
enum tw_ready nginx_ready(const struct tw_access *access)
{
    tw_auto_free char *note = tw_strf("%s/pid-file", access->runtime);
    tw_auto_free char *path = NULL;
    tw_auto_free char *text = NULL;

    if (tw_read_file(AT_FDCWD, note, 4096, &path, NULL, NULL) < 0 ||
        tw_read_file(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
        return TW_NOT_YET;
    return atoi(text) > 0 ? TW_READY : TW_NOT_YET;
}
