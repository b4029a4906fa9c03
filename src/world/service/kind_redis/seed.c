/* The first copy of the data, and the configuration as it is now. Nothing is written at the target
 * and, where its files tell the whole truth, nothing is asked of it either. */
#include "kind_redis_internal.h"

#include "tw/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DUMP_NS   (3600 * TW_SEC_NS)
#define AOF_TRIES 4

const char *kind_redis_seed_key(struct tw_arena *a, const struct tw_snapshot *s)
{
    char *what = tw_arena_printf(a, "%s/%s/%s/%s/%d", s->environment, s->target,
                                 s->config_file, s->data_dir, s->version_num / 10000);
    char hex[65];

    tw_sha256_hex(what, strlen(what), hex);
    return tw_arena_printf(a, "redis-%.20s", hex);
}

struct filling {
    struct tw_arena *a;
    const struct tw_target *target;
    const struct tw_snapshot *snapshot;
    const char *root, *rdb, *aof_dir, *aof_file; /* names in the data directory */
    unsigned uid, gid;
    bool aof;
    struct tw_issues *differences;
};

static const char *setting(const struct tw_snapshot *s, const char *name,
                           const char *fallback)
{
    const struct tw_setting *one = tw_snapshot_setting(s, name);

    return one && one->value && *one->value ? one->value : fallback;
}

/* ---- files ---- */

static bool skip_others(void *arg, const char *relative)
{
    const struct filling *f = arg;
    size_t n = strcspn(relative, "/");

    return !(strncmp(relative, f->rdb, n) == 0 && !f->rdb[n]) &&
           !(strncmp(relative, f->aof_dir, n) == 0 && !f->aof_dir[n]) &&
           !(strncmp(relative, f->aof_file, n) == 0 && !f->aof_file[n]);
}

static int copy_files(struct filling *f, struct tw_err *err)
{
    tw_auto_free char *to = tw_strf("%s%s", f->root, f->snapshot->data_dir);
    int64_t bytes;
    int r =
        host_make_dir(f->root, f->snapshot->data_dir, f->snapshot, f->uid, f->gid, err);

    return r < 0 ? r
                 : tw_copy_tree(f->snapshot->data_dir, to, f->uid, f->gid, skip_others, f,
                                &bytes, err);
}

static const char *manifest(const struct filling *f, const char *root)
{
    return host_text(f->a, root,
                     tw_arena_printf(f->a, "%s/%s/%s.manifest", f->snapshot->data_dir,
                                     f->aof_dir, f->aof_file));
}

/* The log only grows; what it consists of changes when it is rewritten, and then the list of its
 * parts does. A half-written end is what a crash leaves too: the server cuts it off. */
static int copy_log(struct filling *f, struct tw_err *err)
{
    for (int i = 0; i < AOF_TRIES; i++) {
        const char *before = manifest(f, "");
        int r = copy_files(f, err);

        if (r < 0 && r != -ENOENT)
            return r;
        if (r == 0 && tw_streq(before, manifest(f, "")) &&
            tw_streq(before, manifest(f, f->root)))
            return 0;
    }
    return tw_fail(
        err, -ESTALE,
        "the append only log of '%s' was rewritten each time it was copied; run again",
        f->snapshot->data_dir);
}

/* ---- a dump of what it has in memory ---- */

/* The file holds what the memory holds: nothing was written since, nothing is being saved. */
static bool file_is_current(struct filling *f, struct redis_link *link)
{
    tw_auto_free char *path = tw_strf("%s/%s", f->snapshot->data_dir, f->rdb);
    struct redis_reply info;

    return REDIS_ASK(link, f->a, &info, NULL, "INFO", "persistence") == 0 &&
           info.type == REDIS_TEXT &&
           redis_info_number(info.text, "rdb_changes_since_last_save") == 0 &&
           redis_info_number(info.text, "rdb_bgsave_in_progress") == 0 &&
           redis_info_number(info.text, "loading") == 0 &&
           tw_streq(redis_info(f->a, info.text, "rdb_last_bgsave_status"), "ok") &&
           access(path, R_OK) == 0;
}

static int dump(struct filling *f, struct redis_link *link, struct tw_err *err)
{
    tw_auto_free char *path = tw_strf("%s%s/%s", f->root, f->snapshot->data_dir, f->rdb);
    tw_auto_close int fd = -1;
    int64_t bytes = 0;
    int r;

    (void)unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0)
        return tw_fail_errno(err, errno, "'%s'", path);
    r = redis_link_dump(link, fd, tw_now_ns() + DUMP_NS, &bytes, err);
    if (r == 0 && geteuid() == 0 && fchown(fd, f->uid, f->gid) < 0)
        r = tw_fail_errno(err, errno, "chown '%s'", path);
    if (r < 0)
        return tw_wrap(err, r, "taking a dump of target '%s'", f->target->name);
    tw_issue_add(
        f->a, f->differences, TW_INFO, TW_PROCEED, "twin.data",
        "the data is a dump as of now, not what the target's file holds",
        tw_arena_printf(f->a,
                        "%s by SYNC, as a replica gets it; the server forked once "
                        "for it",
                        tw_show_bytes(f->a, (double)bytes)),
        NULL);
    return 0;
}

static int fill_running(struct filling *f, struct tw_err *err)
{
    tw_auto(redis_link) *link = NULL;
    int r = kind_redis_connect(f->a, f->target, f->snapshot, &link, err);

    if (r < 0)
        return r;
    if (f->aof)
        return copy_log(f, err);
    if (file_is_current(f, link)) {
        r = copy_files(f, err);
        /* Still current: it was the same file all the time. */
        if (r < 0 || file_is_current(f, link))
            return r;
    }
    r = copy_files(f, err);
    return r < 0 ? r : dump(f, link, err);
}

int kind_redis_seed_fill(struct tw_arena *a, const struct tw_target *t,
                         const struct tw_snapshot *s, const char *seed_root, unsigned uid,
                         unsigned gid, struct tw_issues *differences, struct tw_err *err)
{
    struct filling f = {a,
                        t,
                        s,
                        seed_root,
                        setting(s, "dbfilename", "dump.rdb"),
                        setting(s, "appenddirname", "appendonlydir"),
                        setting(s, "appendfilename", "appendonly.aof"),
                        uid,
                        gid,
                        tw_streq(setting(s, "appendonly", "no"), "yes"),
                        differences};
    int r;

    if (tw_streq(s->how, "running"))
        r = fill_running(&f, err);
    else
        r = f.aof ? copy_log(&f, err) : copy_files(&f, err);
    return r < 0
               ? r
               : kind_redis_refresh(a, t, s, NULL, seed_root, uid, gid, differences, err);
}

/* ---- configuration ---- */

/* Settings that name what a start needs beside the data. */
static const struct host_outside outside[] = {
    {"aclfile", HOST_FILE},
    {"tls-cert-file", HOST_FILE},
    {"tls-key-file", HOST_FILE},
    {"tls-ca-cert-file", HOST_FILE},
    {"tls-dh-params-file", HOST_FILE},
    {"tls-client-cert-file", HOST_FILE},
    {"tls-client-key-file", HOST_FILE},
    {"tls-ca-cert-dir", HOST_DIRECTORY},
    {"dir", HOST_DIRECTORY},
    {"logfile", HOST_PARENT},
    {"pidfile", HOST_PARENT},
    {"unixsocket", HOST_PARENT},
};

/* Our user among those of an ACL file, where the command line may name none. */
static int add_user(struct tw_arena *a, const char *root, const char *path, unsigned uid,
                    unsigned gid, struct tw_err *err)
{
    const char *text = host_text(a, root, path);

    if (!*text || strstr(text, "user " KIND_REDIS_USER " "))
        return 0;
    return host_put_file(
        root, path,
        tw_arena_printf(a, "%s%suser " KIND_REDIS_USER " on nopass ~* &* +@all\n", text,
                        tw_ends_with(text, "\n") ? "" : "\n"),
        0640, uid, gid, err);
}

/* Started without a file: one is made of what it runs with and is not the default. */
static int make_config(struct tw_arena *a, const struct tw_target *t,
                       const struct tw_snapshot *s, const char *root, unsigned uid,
                       unsigned gid, struct tw_err *err)
{
    tw_auto(redis_link) *link = NULL;
    struct redis_reply all;
    const char *text = "";
    int r = kind_redis_connect(a, t, s, &link, err);

    if (r == 0)
        r = REDIS_ASK(link, a, &all, err, "CONFIG", "GET", "*");
    for (size_t i = 0; r == 0 && i + 1 < all.list.count; i += 2) {
        const char *name = all.list.items[i].text, *value = all.list.items[i + 1].text;
        const struct tw_setting *known = tw_snapshot_setting(s, name);

        if (known && !tw_streq(value, known->boot_value) && !tw_streq(name, "daemonize"))
            text = redis_conf_set(a, text, name, value);
    }
    return r < 0 ? r : host_put_file(root, s->config_file, text, 0640, uid, gid, err);
}

int kind_redis_refresh(struct tw_arena *a, const struct tw_target *t,
                       const struct tw_snapshot *s, const struct tw_plan *plan,
                       const char *root, unsigned uid, unsigned gid,
                       struct tw_issues *differences, struct tw_err *err)
{
    const char *acl = setting(s, "aclfile", "");
    struct host_things things;
    int r;

    host_things_find(a, outside, TW_COUNT_OF(outside), s, plan, &things);
    r = host_things_copy(&things, s, root, uid, gid, err);
    if (r == 0 && access(s->config_file, F_OK) < 0)
        r = make_config(a, t, s, root, uid, gid, err);
    if (r == 0)
        r = host_command_keep_home(a, root, uid, gid, err);
    if (r == 0 && *acl == '/')
        r = add_user(a, root, acl, uid, gid, err);
    if (r == 0 && differences && s->neighbours.count)
        tw_issue_add(a, differences, TW_INFO, TW_PROCEED, "twin.harmless",
                     "the twin is a replica without its master",
                     tw_arena_printf(a, "'%s' is not reachable from a twin",
                                     s->neighbours.items[0].address),
                     NULL);
    return r;
}

int kind_redis_layout(struct tw_arena *a, const struct tw_snapshot *s,
                      const struct tw_plan *plan, const char *root, struct tw_layout *ret,
                      struct tw_err *err)
{
    struct tw_layout l = {.runtime_dir = "/tw"};
    struct host_things things;

    (void)err;
    host_things_find(a, outside, TW_COUNT_OF(outside), s, plan, &things);
    host_layout_add(a, &l, root, s->data_dir);
    host_layout_add(a, &l, root, s->config_file);
    host_things_layout(a, &things, s, root, &l);
    for (size_t i = 0; i < s->endpoints.count; i++)
        if (*s->endpoints.items[i].address != '/')
            host_layout_address(a, &l, s->endpoints.items[i].address);
    for (size_t i = 0; plan && i < plan->steps.count; i++)
        if (tw_streq(plan->steps.items[i].name, "bind"))
            host_layout_found(a, &l, plan->steps.items[i].value);
    *ret = l;
    return 0;
}
