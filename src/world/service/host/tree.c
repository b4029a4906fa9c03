/* Files of a target, put into trees of its twins. */
#include "host.h"

#include "tw/redact.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fts.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FILE_MAX ((size_t)8 << 20)

/* ---- paths ---- */

const char *host_path(struct tw_arena *a, const char *path)
{
    return tw_starts_with(path, "/var/run/") ? tw_arena_printf(a, "/run/%s", path + 9)
                                             : path;
}

const char *host_parent(struct tw_arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash > path ? tw_arena_strndup(a, path, (size_t)(slash - path))
                                 : "/";
}

int64_t host_tree_bytes(const char *path)
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

/* ---- at the target ---- */

int host_add_file(struct tw_arena *a, const char *path, struct tw_snapshot *s,
                  struct tw_err *err)
{
    tw_auto_free char *text = NULL;
    struct stat st;
    int r;

    for (size_t i = 0; i < s->files.count; i++)
        if (tw_streq(s->files.items[i].path, path))
            return 0;
    r = tw_read_file(AT_FDCWD, path, FILE_MAX, &text, NULL, err);
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

void host_count_disk(struct tw_arena *a, const char *path, struct tw_snapshot *s)
{
    struct statvfs fs;

    if (statvfs(path, &fs) < 0)
        return;
    TW_PUSH(a, &s->counters,
            (struct tw_counter){
                .kind = "disk",
                .name = tw_arena_strdup(a, path),
                .used = (double)(fs.f_blocks - fs.f_bfree) * (double)fs.f_frsize,
                .limit = (double)(fs.f_blocks - fs.f_bfree + fs.f_bavail) *
                         (double)fs.f_frsize,
                .per_s = __builtin_nan(""),
                .per_request = __builtin_nan(""),
                .source = "statvfs"});
}

/* ---- into a tree ---- */

static int make_parents(const char *root, const char *path, unsigned uid, unsigned gid,
                        struct tw_err *err)
{
    for (const char *s = strchr(path + 1, '/'); s; s = strchr(s + 1, '/')) {
        tw_auto_free char *dir = tw_strf("%s%.*s", root, (int)(s - path), path);

        if (mkdir(dir, 0755) == 0) {
            if (geteuid() == 0 && chown(dir, uid, gid) < 0)
                return tw_fail_errno(err, errno, "chown '%s'", dir);
        } else if (errno != EEXIST) {
            return tw_fail_errno(err, errno, "mkdir '%s'", dir);
        }
    }
    return 0;
}

static int put_bytes(const char *root, const char *path, const char *text, size_t len,
                     unsigned mode, unsigned uid, unsigned gid, struct tw_err *err)
{
    tw_auto_free char *host = tw_strf("%s%s", root, path);
    int r = make_parents(root, path, uid, gid, err);

    if (r == 0)
        r = tw_write_file(host, text, len, mode, err);
    if (r == 0 && geteuid() == 0 && lchown(host, uid, gid) < 0)
        r = tw_fail_errno(err, errno, "chown '%s'", host);
    return r;
}

int host_put_file(const char *root, const char *path, const char *text, unsigned mode,
                  unsigned uid, unsigned gid, struct tw_err *err)
{
    return put_bytes(root, path, text, strlen(text), mode, uid, gid, err);
}

int host_copy_file(const char *root, const char *path, unsigned uid, unsigned gid,
                   struct tw_err *err)
{
    tw_auto_free char *text = NULL;
    struct stat st;
    size_t len = 0;
    int r;

    if (stat(path, &st) < 0)
        return errno == ENOENT ? 0 : tw_fail_errno(err, errno, "'%s'", path);
    r = tw_read_file(AT_FDCWD, path, FILE_MAX, &text, &len, err); /* a program is no text */
    /* In a clone all belongs to one user, who has to be able to read what the group could. */
    return r < 0 ? r
                 : put_bytes(root, path, text, len, (st.st_mode & 07777) | 0400, uid, gid, err);
}

int host_make_dir(const char *root, const char *path, const struct tw_snapshot *s,
                  unsigned uid, unsigned gid, struct tw_err *err)
{
    tw_auto_free char *inside = tw_strf("%s/x", path);
    tw_auto_free char *host = tw_strf("%s%s", root, path);
    struct stat st;
    int r;

    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return 0;
    r = make_parents(root, inside, uid, gid, err);
    if (r < 0)
        return r;
    if (geteuid() == 0 && chown(host, st.st_uid == s->owner_uid ? uid : 0,
                                st.st_gid == s->owner_gid ? gid : 0) < 0)
        return tw_fail_errno(err, errno, "chown '%s'", host);
    if (chmod(host, st.st_mode & 07777) < 0)
        return tw_fail_errno(err, errno, "chmod '%s'", host);
    return 0;
}

const char *host_text(struct tw_arena *a, const char *root, const char *path)
{
    tw_auto_free char *host = tw_strf("%s%s", root, path);
    tw_auto_free char *text = NULL;

    if (tw_read_file(AT_FDCWD, host, FILE_MAX, &text, NULL, NULL) < 0)
        return "";
    return tw_arena_strdup(a, text);
}

int host_owner(const struct tw_access *access, unsigned *ret_uid, unsigned *ret_gid,
               struct tw_err *err)
{
    struct stat st;

    if (stat(access->runtime, &st) < 0)
        return tw_fail_errno(err, errno, "'%s'", access->runtime);
    *ret_uid = st.st_uid;
    *ret_gid = st.st_gid;
    return 0;
}

/* ---- layout ---- */

static bool covered(const struct tw_layout *l, const char *path)
{
    for (size_t i = 0; i < l->paths.count; i++) {
        size_t n = strlen(l->paths.items[i]);

        if (strncmp(l->paths.items[i], path, n) == 0 && (path[n] == '/' || !path[n]))
            return true;
    }
    return false;
}

/* Shown as the host's own inside, or made there: only single files of ours can stand in them. */
static bool is_fixed(const char *path)
{
    static const char *const fixed[] = {"/",     "/etc", "/usr", "/lib", "/bin", "/sbin",
                                        "/proc", "/dev", "/run", "/tmp", "/sys", "/var"};

    return tw_name_index(path, fixed, TW_COUNT_OF(fixed)) >= 0 ||
           tw_starts_with(path, "/usr/") || tw_starts_with(path, "/lib/");
}

void host_layout_add(struct tw_arena *a, struct tw_layout *l, const char *root,
                     const char *path)
{
    tw_auto_free char *host = tw_strf("%s%s", root, path);
    const char *parent;
    struct stat st;

    if (*path != '/' || covered(l, path) || stat(host, &st) < 0)
        return;
    parent = host_parent(a, path);
    if (S_ISREG(st.st_mode) && !is_fixed(parent))
        path = parent;
    if (!covered(l, path) && !is_fixed(path))
        TW_PUSH(a, &l->paths, tw_arena_strdup(a, path));
}

bool host_is_wildcard(const char *address)
{
    return tw_streq(address, "*") || tw_streq(address, "0.0.0.0") ||
           tw_streq(address, "::");
}

bool host_is_loopback(const char *address)
{
    return tw_starts_with(address, "127.") || tw_streq(address, "::1") ||
           tw_streq(address, "localhost") || *address == '/';
}

void host_layout_address(struct tw_arena *a, struct tw_layout *l, const char *address)
{
    if (!*address || host_is_wildcard(address) || tw_streq(address, "::1") ||
        tw_streq(address, "127.0.0.1") || tw_streq(address, "localhost"))
        return;
    for (size_t i = 0; i < l->addresses.count; i++)
        if (tw_streq(l->addresses.items[i], address))
            return;
    TW_PUSH(a, &l->addresses, tw_arena_strdup(a, address));
}

static bool has_address(const char *address)
{
    struct ifaddrs *all = NULL;
    bool found = false;

    if (getifaddrs(&all) < 0)
        return false;
    for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN] = "";

        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET)
            (void)inet_ntop(AF_INET,
                            &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, text,
                            sizeof(text));
        else if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET6)
            (void)inet_ntop(AF_INET6,
                            &((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr,
                            text, sizeof(text));
        found = tw_streq(text, address);
    }
    freeifaddrs(all);
    return found;
}

void host_layout_found(struct tw_arena *a, struct tw_layout *l, const char *addresses)
{
    char *rest = tw_arena_strdup(a, addresses);

    for (char *word; rest && (word = strsep(&rest, " ,\t"));) {
        word += *word == '-';
        if (*word && has_address(word))
            host_layout_address(a, l, word);
    }
}

/* ---- requests ---- */

static const char *value_shown(const char *value)
{
    return value ? value : "RESET";
}

static int check_duplicates(const struct tw_request *r, struct tw_err *err)
{
    for (size_t i = 0; i < r->settings.count; i++)
        for (size_t j = 0; j < i; j++)
            if (tw_streq(r->settings.items[i].name, r->settings.items[j].name) &&
                !tw_streq(r->settings.items[i].value, r->settings.items[j].value))
                return tw_fail_at(err, -EINVAL, r->settings.items[i].pointer,
                                  "setting '%s' is given twice: '%s' and '%s'",
                                  r->settings.items[i].name,
                                  value_shown(r->settings.items[j].value),
                                  value_shown(r->settings.items[i].value));
    return 0;
}

/* By its whole path, or by its name where only one file has it. */
static const char *file_meant(const struct tw_snapshot *s, const char *path)
{
    const char *found = NULL;

    for (size_t i = 0; i < s->files.count; i++) {
        const char *known = s->files.items[i].path;

        if (tw_streq(known, path))
            return known;
        if (*path != '/' && tw_streq(strrchr(known, '/') + 1, path))
            found = known;
    }
    return found;
}

/* A new file may stand beside a known one: what includes it decides whether it is read. */
static bool stands_beside(struct tw_arena *a, const struct tw_snapshot *s,
                          const char *path)
{
    for (size_t i = 0; *path == '/' && i < s->files.count; i++)
        if (tw_starts_with(
                path, tw_arena_printf(a, "%s/", host_parent(a, s->files.items[i].path))))
            return true;
    return false;
}

int host_check_request(struct tw_arena *a, const struct tw_snapshot *s,
                       const struct tw_request *r, struct tw_err *err)
{
    int rc = check_duplicates(r, err);

    for (size_t i = 0; i < r->files.count && rc == 0; i++) {
        const char *path = r->files.items[i].path;

        if (!path || file_meant(s, path))
            continue;
        if (strstr(path, "/../") || !stands_beside(a, s, path))
            rc = tw_fail(
                err, -EINVAL,
                "file '%s' does not belong to the target; its configuration is '%s' "
                "and what that includes",
                path, s->config_file ? s->config_file : "not known");
    }
    return rc;
}

int host_plan_files(struct tw_arena *a, const struct tw_snapshot *s,
                    const struct tw_request *r, const char *fragment,
                    struct tw_plan *plan, struct tw_err *err)
{
    if (r->settings.count + r->files.count == 0)
        return tw_fail_at(
            err, -EINVAL, "/change",
            "nothing to change: give settings (--set NAME=VALUE) or a file");
    for (size_t i = 0; i < r->files.count; i++) {
        const struct tw_file_change *f = &r->files.items[i];
        struct tw_plan_step step = {.kind = f->append ? TW_STEP_APPEND : TW_STEP_FILE,
                                    .value = f->content,
                                    .origin = f->origin};

        if (!f->path && !fragment)
            return tw_fail(
                err, -EINVAL,
                "a file of this kind needs the path it has at the target: --file "
                "PATH=FILE");
        step.path = !f->path ? fragment : file_meant(s, f->path);
        if (!step.path)
            step.path = f->path;
        if (!f->path)
            step.kind = TW_STEP_APPEND;
        TW_PUSH(a, &plan->steps, step);
    }
    return 0;
}

int host_apply_file(struct tw_arena *a, const struct tw_access *access,
                    const struct tw_plan_step *step, struct tw_err *err)
{
    const char *old =
        step->kind == TW_STEP_APPEND ? host_text(a, access->root, step->path) : "";
    const char *gap = *old && !tw_ends_with(old, "\n") ? "\n" : "";
    tw_auto_free char *host = tw_strf("%s%s", access->root, step->path);
    unsigned uid = 0, gid = 0;
    struct stat st;
    unsigned mode = stat(host, &st) == 0 ? st.st_mode & 07777 : 0644;
    int r;

    if (step->kind != TW_STEP_APPEND && step->kind != TW_STEP_FILE)
        return tw_fail(err, -EINVAL, "a change of this service has no step of kind '%s'",
                       tw_step_kind_names[step->kind]);
    r = host_owner(access, &uid, &gid, err);
    return r < 0 ? r
                 : host_put_file(access->root, step->path,
                                 tw_arena_printf(a, "%s%s%s", old, gap, step->value),
                                 mode, uid, gid, err);
}
