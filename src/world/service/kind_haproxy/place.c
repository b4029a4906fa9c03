/* How HAProxy stands in a sandbox, how it is started there, when it serves. */
#include "kind_haproxy_internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What systemd gives as the hard limit: HAProxy computes its own connections from it where nothing
 * else tells. */
#define NOFILE_HARD 524288
#define PID_FILE    "haproxy.pid"
#define OURS        "twin.cfg"

/* ---- the tree ---- */

const char *haproxy_seed_key(struct tw_arena *a, const struct tw_snapshot *s)
{
    char *what =
        tw_arena_printf(a, "%s/%s/%s", s->environment, s->target, s->config_file);
    char hex[65];

    tw_sha256_hex(what, strlen(what), hex);
    return tw_arena_printf(a, "haproxy-%.20s", hex);
}

static bool runs_as_root(const struct tw_snapshot *s)
{
    return s->owner_uid == 0;
}

static int copy(struct tw_arena *a, const struct tw_snapshot *s,
                const struct tw_plan *plan, const char *root, unsigned uid, unsigned gid,
                struct tw_issues *differences, struct tw_err *err)
{
    struct service_tree t = {root, uid, gid, runs_as_root(s)};
    struct service_needs n;
    int r;

    haproxy_needs_of(a, "", s, plan, &n);
    r = service_needs_copy(a, &t, &n, differences, err);
    for (size_t i = 0; i < s->files.count && r == 0; i++) /* its unit among them */
        if (strstr(s->files.items[i].path, "/systemd/system/"))
            r = host_copy_file(root, s->files.items[i].path, uid, gid, err);
    return r;
}

int haproxy_seed_fill(struct tw_arena *a, const struct tw_target *t,
                      const struct tw_snapshot *s, const char *seed_root, unsigned uid,
                      unsigned gid, struct tw_issues *differences, struct tw_err *err)
{
    (void)t;
    return copy(a, s, NULL, seed_root, uid, gid, differences, err);
}

int haproxy_refresh(struct tw_arena *a, const struct tw_target *t,
                    const struct tw_snapshot *s, const struct tw_plan *plan,
                    const char *root, unsigned uid, unsigned gid,
                    struct tw_issues *differences, struct tw_err *err)
{
    int r = copy(a, s, plan, root, uid, gid, differences, err);

    (void)t;
    return r < 0 ? r : host_command_keep_home(a, root, uid, gid, err);
}

int haproxy_layout(struct tw_arena *a, const struct tw_snapshot *s,
                   const struct tw_plan *plan, const char *root, struct tw_layout *ret,
                   struct tw_err *err)
{
    struct tw_layout l = {.runtime_dir = KIND_HAPROXY_RUNTIME,
                          .as_root = runs_as_root(s)};
    struct service_needs n;
    int r;

    haproxy_needs_of(a, root, s, plan, &n);
    service_neighbours_look(a, &n, false);
    r = service_needs_layout(a, root, &n, &l, err);
    if (r == 0)
        *ret = l;
    return r;
}

/* ---- start ---- */

/* A socket that tells what it counts, and changes of its servers in words. */
static int write_ours(struct tw_arena *a, const struct tw_access *x, struct tw_err *err)
{
    static const char text[] =
        "global\n"
        "    stats socket " KIND_HAPROXY_RUNTIME "/stats.sock mode 666 level "
        "user\n"
        "    log stdout format raw local0 notice notice\n";
    unsigned uid, gid;
    int r = host_owner(x, &uid, &gid, err);

    (void)a;
    return r < 0 ? r : host_put_file(x->runtime, "/" OURS, text, 0644, uid, gid, err);
}

static void push_files(struct tw_arena *a, const struct tw_snapshot *s,
                       struct tw_launch *l)
{
    size_t before = l->argv.count;

    for (size_t i = 0; i < s->settings.count; i++) {
        if (!tw_streq(s->settings.items[i].name, "command.-f"))
            continue;
        TW_PUSH(a, &l->argv, "-f");
        TW_PUSH(a, &l->argv, s->settings.items[i].value);
    }
    if (l->argv.count == before) {
        TW_PUSH(a, &l->argv, "-f");
        TW_PUSH(a, &l->argv, s->config_file);
    }
}

/* What a configuration in a container takes from there; a master that was reloaded has words of its own. */
static void push_environment(struct tw_arena *a, const char *root, struct tw_launch *l)
{
    struct host_command begun;

    host_command_kept(a, root, &begun);
    for (size_t i = 0; i < begun.env.count; i++)
        if (!tw_starts_with(begun.env.items[i], "PATH=") &&
            !tw_starts_with(begun.env.items[i], "HAPROXY_"))
            TW_PUSH(a, &l->env, begun.env.items[i]);
}

int haproxy_launch(struct tw_arena *a, const struct tw_access *access,
                   enum tw_start_mode mode, struct tw_launch *ret, struct tw_err *err)
{
    static const char *const served[] = {"-W", "-db", "-p",
                                         KIND_HAPROXY_RUNTIME "/" PID_FILE};
    const struct tw_snapshot *s = access->snapshot;
    tw_auto_free char *pid = tw_strf("%s/" PID_FILE, access->runtime);
    struct tw_launch l = {.stop_signal = SIGTERM,
                          .reload_signal = SIGUSR2,
                          .nofile_hard = NOFILE_HARD,
                          .cwd = "/",
                          .asks_stderr = true};
    int r = 0;

    if (!s->program)
        return tw_fail(err, -ENOENT, "the program of haproxy is not known");
    TW_PUSH(a, &l.argv, s->program);
    if (mode == TW_START_ASK) {
        TW_PUSH(a, &l.argv, "-c");
    } else {
        (void)unlink(pid);
        for (size_t i = 0; i < TW_COUNT_OF(served); i++)
            TW_PUSH(a, &l.argv, served[i]);
    }
    push_files(a, s, &l);
    if (mode == TW_START_LOAD) {
        TW_PUSH(a, &l.argv, "-f");
        TW_PUSH(a, &l.argv, KIND_HAPROXY_RUNTIME "/" OURS);
        r = write_ours(a, access, err);
    }
    TW_PUSH(a, &l.argv, NULL);
    TW_PUSH(a, &l.env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
    push_environment(a, access->root, &l);
    TW_PUSH(a, &l.env, NULL);
    host_launch_limits(a, access, &l);
    if (r == 0)
        *ret = l;
    return r;
}

/* The master writes its pid when all its sockets are bound; a signal before it has forked its worker
 * would be lost, and it says when it has (since 2.5). */
enum tw_ready haproxy_ready(const struct tw_access *access)
{
    tw_auto_free char *path = tw_strf("%s/" PID_FILE, access->runtime);
    tw_auto_free char *log = tw_strf("%s/log", access->runtime);
    tw_auto_free char *pid = NULL;
    tw_auto_free char *said = NULL;
    tw_auto_free char *mark = NULL;
    const char *at;

    if (tw_read_file(AT_FDCWD, path, 64, &pid, NULL, NULL) < 0 || atoi(pid) <= 0)
        return TW_NOT_YET;
    if (access->snapshot->version_num < 20500)
        return TW_READY;
    if (tw_read_file(AT_FDCWD, log, 64 << 20, &said, NULL, NULL) < 0)
        return TW_NOT_YET;
    mark = tw_strf("(%d) : Loading success", atoi(pid));
    at = strstr(said, mark);
    return at ? TW_READY : TW_NOT_YET;
}
