/* Files of the target below another root: under the same absolute paths, with their links, modes
 * and owners; and what of it a sandbox has to show. */
#include "service_internal.h"

#include "tw/io.h"

#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TREE_MAX_BYTES ((int64_t)256 << 20)
#define TREE_MAX_FILES 20000
#define LINKS_MAX      32
#define TEXT_MAX       ((size_t)16 << 20)
#define SYSTEM_IDS     1000
#define NOBODY         65534

/* ---- texts and paths ---- */

void service_add_once(struct tw_arena *a, void *texts, const char *text)
{
    struct service_texts *t = texts;

    for (size_t i = 0; i < t->list.count; i++)
        if (tw_streq(t->list.items[i], text))
            return;
    TW_PUSH(a, &t->list, text);
}

const char *service_path(struct tw_arena *a, const char *dir, const char *path)
{
    char *all =
        *path == '/' ? tw_arena_strdup(a, path) : tw_arena_printf(a, "%s/%s", dir, path);
    char *out = tw_arena_alloc(a, strlen(all) + 2), *end = out;

    for (char *part; (part = strsep(&all, "/"));) {
        if (!*part || tw_streq(part, "."))
            continue;
        if (tw_streq(part, "..")) {
            while (end > out && *--end != '/')
                ;
            *end = '\0';
            continue;
        }
        *end++ = '/';
        end = stpcpy(end, part);
    }
    if (end == out)
        strcpy(out, "/");
    return tw_starts_with(out, "/var/run/") ? out + strlen("/var") : out;
}

const char *service_parent(struct tw_arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == path ? "/" : tw_arena_strndup(a, path, (size_t)(slash - path));
}

/* ---- one file below a root, links resolved there ---- */

static int open_in(const char *root, const char *path, int flags)
{
    tw_auto_close int dir = -1;
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
                           .mode = flags & O_CREAT ? 0644 : 0,
                           .resolve = RESOLVE_IN_ROOT};
    long fd;

    if (!*root)
        return open(path, flags | O_CLOEXEC, 0644);
    dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -1;
    fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
    return (int)fd;
}

int service_read_in(const char *root, const char *path, size_t max, char **ret_text,
                    struct tw_err *err)
{
    tw_auto_close int fd = open_in(root, path, O_RDONLY | O_NONBLOCK);
    struct stat st;
    tw_auto_free char *text = NULL;
    size_t len = 0;

    if (fd < 0 || fstat(fd, &st) < 0)
        return tw_fail_errno(err, errno, "'%s'", path);
    if (!S_ISREG(st.st_mode))
        return tw_fail(err, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL, "'%s' is no file",
                       path);
    if ((size_t)st.st_size > max)
        return tw_fail(err, -EFBIG, "'%s' is larger than %zu bytes", path, max);
    text = tw_alloc((size_t)st.st_size + 1);
    while (len < (size_t)st.st_size) {
        ssize_t n = read(fd, text + len, (size_t)st.st_size - len);

        if (n < 0)
            return tw_fail_errno(err, errno, "'%s'", path);
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *ret_text = tw_take_ptr(&text);
    return 0;
}

bool service_exists_in(const char *root, const char *path)
{
    tw_auto_close int fd = open_in(root, path, O_PATH);

    return fd >= 0;
}

static int make_parents_in(const char *root, const char *path, struct tw_err *err)
{
    for (const char *s = strchr(path + 1, '/'); s; s = strchr(s + 1, '/')) {
        tw_auto_free char *dir = tw_strf("%s%.*s", root, (int)(s - path), path);
        tw_auto_free char *above = tw_strf("%.*s", (int)(strrchr(dir, '/') - dir), dir);
        struct stat st;

        if (mkdir(dir, 0755) < 0) {
            if (errno != EEXIST)
                return tw_fail_errno(err, errno, "mkdir '%s'", dir);
        } else if (stat(above, &st) == 0 && geteuid() == 0) {
            (void)!chown(dir, st.st_uid, st.st_gid);
        }
    }
    return 0;
}

int service_write_in(const char *root, const char *path, const char *text,
                     struct tw_err *err)
{
    bool there = service_exists_in(root, path);
    int r = there ? 0 : make_parents_in(root, path, err);
    tw_auto_close int fd = r < 0 ? -1 : open_in(root, path, O_WRONLY | O_TRUNC | O_CREAT);
    tw_auto_free char *above =
        tw_strf("%s%.*s", root, (int)(strrchr(path, '/') - path), path);
    size_t len = strlen(text);
    struct stat st;

    if (r < 0)
        return r;
    if (fd < 0)
        return tw_fail_errno(err, errno, "'%s'", path);
    if (!there && geteuid() == 0 && stat(above, &st) == 0)
        (void)!fchown(fd, st.st_uid, st.st_gid);
    while (len) {
        ssize_t n = write(fd, text, len);

        if (n < 0)
            return tw_fail_errno(err, errno, "writing '%s'", path);
        text += n;
        len -= (size_t)n;
    }
    return 0;
}

/* ---- copying ---- */

struct copying {
    struct tw_arena *a;
    const struct service_tree *t;
    struct tw_issues *differences;
    int64_t bytes;
    int files;
    bool bounded;               /* of a tree: stops at its bounds */
    struct service_texts later; /* where links of a tree lead */
};

static int give_owner(const struct copying *c, const char *host, const struct stat *st,
                      struct tw_err *err)
{
    unsigned uid = c->t->uid, gid = c->t->gid;

    if (geteuid() != 0)
        return 0;
    if (c->t->as_root) {
        uid += st->st_uid < 65534 ? st->st_uid : 65534;
        gid += st->st_gid < 65534 ? st->st_gid : 65534;
    }
    return lchown(host, uid, gid) < 0 ? tw_fail_errno(err, errno, "chown '%s'", host) : 0;
}

static int copy_dir(const struct copying *c, const char *path, const struct stat *st,
                    struct tw_err *err)
{
    tw_auto_free char *host = tw_strf("%s%s", c->t->root, path);
    int r;

    if (mkdir(host, 0755) < 0 && errno != EEXIST)
        return tw_fail_errno(err, errno, "mkdir '%s'", host);
    r = give_owner(c, host, st, err);
    if (r == 0 && chmod(host, st->st_mode & 07777) < 0)
        r = tw_fail_errno(err, errno, "chmod '%s'", host);
    return r;
}

static int copy_link(const struct copying *c, const char *path, const struct stat *st,
                     char to[static PATH_MAX], struct tw_err *err)
{
    tw_auto_free char *host = tw_strf("%s%s", c->t->root, path);
    ssize_t n = readlink(path, to, PATH_MAX - 1);

    if (n < 0)
        return tw_fail_errno(err, errno, "'%s'", path);
    to[n] = '\0';
    if (symlink(to, host) < 0 && errno != EEXIST)
        return tw_fail_errno(err, errno, "link '%s'", host);
    return give_owner(c, host, st, err);
}

/* Beside it first: a file that is bound or open in a twin keeps what it was. */
static int copy_file(struct copying *c, const char *path, const struct stat *st,
                     struct tw_err *err)
{
    tw_auto_free char *host = tw_strf("%s%s", c->t->root, path);
    tw_auto_close int from = -1, to = -1;
    off_t left = st->st_size;
    int r;

    if (!S_ISREG(st->st_mode))
        return 0;
    from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (from < 0)
        return tw_fail_errno(err, errno, "'%s'", path);
    (void)unlink(host);
    to = open(host, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to < 0)
        return tw_fail_errno(err, errno, "'%s'", host);
    while (left > 0) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)left, 0);
        char block[65536];

        if (n < 0) { /* not across these file systems */
            n = read(from, block, sizeof block);
            if (n > 0 && write(to, block, (size_t)n) != n)
                n = -1;
        }
        if (n < 0)
            return tw_fail_errno(err, errno, "copying '%s'", path);
        if (n == 0)
            break;
        left -= n;
    }
    c->bytes += st->st_size;
    c->files++;
    r = give_owner(c, host, st, err);
    if (r == 0 && fchmod(to, st->st_mode & 07777) < 0)
        r = tw_fail_errno(err, errno, "chmod '%s'", host);
    return r;
}

static bool is_full(const struct copying *c, const struct stat *st)
{
    return c->bounded &&
           (c->files >= TREE_MAX_FILES || c->bytes + st->st_size > TREE_MAX_BYTES);
}

static void tell_left_out(struct copying *c, const char *path, int left)
{
    tw_issue_add(
        c->a, c->differences, TW_INFO, TW_PROCEED, "twin.data",
        tw_arena_printf(c->a, "%d files of '%s' are not in the twin", left, path),
        "a tree is copied up to 256 MB and 20,000 files; a request for one of the rest "
        "is answered 404 by both twins",
        NULL);
}

static int copy_tree(struct copying *c, const char *path, struct tw_err *err)
{
    char *paths[] = {(char *)path, NULL};
    FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    char to[PATH_MAX];
    int r = 0, left = 0;

    if (!fts)
        return tw_fail_errno(err, errno, "'%s'", path);
    for (FTSENT *e; r == 0 && (e = fts_read(fts));) {
        if (e->fts_info == FTS_D)
            r = copy_dir(c, e->fts_path, e->fts_statp, err);
        else if (e->fts_info == FTS_SL || e->fts_info == FTS_SLNONE) {
            r = copy_link(c, e->fts_path, e->fts_statp, to, err);
            service_add_once(c->a, &c->later,
                             service_path(c->a, service_parent(c->a, e->fts_path), to));
        } else if (e->fts_info == FTS_F && is_full(c, e->fts_statp))
            left++;
        else if (e->fts_info == FTS_F)
            r = copy_file(c, e->fts_path, e->fts_statp, err);
    }
    (void)fts_close(fts);
    if (left)
        tell_left_out(c, path, left);
    return r;
}

enum how { WHOLE, EMPTY };

/* Component by component: each directory with its mode and owner, each link as it is, and then where
 * it leads. What is not there at the target is not there in the twin. */
static int place(struct copying *c, const char *path, enum how how, int depth,
                 struct tw_err *err)
{
    char to[PATH_MAX];

    for (const char *s = path + 1; s; s = strchr(s, '/') ? strchr(s, '/') + 1 : NULL) {
        size_t n = strchr(s, '/') ? (size_t)(strchr(s, '/') - path) : strlen(path);
        const char *part = tw_arena_strndup(c->a, path, n);
        bool last = path[n] == '\0';
        struct stat st;
        int r;

        if (lstat(part, &st) < 0)
            return 0;
        if (S_ISLNK(st.st_mode)) {
            r = depth < LINKS_MAX ? copy_link(c, part, &st, to, err) : 0;
            if (r < 0 || depth >= LINKS_MAX)
                return r;
            return place(c,
                         service_path(c->a, service_parent(c->a, part),
                                      tw_arena_printf(c->a, "%s%s", to, path + n)),
                         how, depth + 1, err);
        }
        if (S_ISDIR(st.st_mode) && last && how == WHOLE)
            r = copy_tree(c, part, err);
        else
            r = S_ISDIR(st.st_mode) ? copy_dir(c, part, &st, err)
                                    : copy_file(c, part, &st, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- what a sandbox shows as the host's, or makes itself ---- */

static const char *const not_ours[] = {"/usr", "/proc", "/sys", "/dev",
                                       "/bin", "/sbin", "/lib", "/lib64"};
/* Directories of everybody: what a service has there is taken one by one. */
static const char *const broad[] = {"/",     "/etc", "/usr/local", "/tmp",    "/var/tmp",
                                    "/root", "/var", "/var/lib",   "/opt",    "/srv",
                                    "/home", "/mnt", "/run",       "/var/log"};

static bool is_broad(const char *path)
{
    return tw_name_index(path, broad, TW_COUNT_OF(broad)) >= 0 ||
           (tw_starts_with(path, "/home/") && !strchr(path + strlen("/home/"), '/'));
}

static bool is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static bool is_hosts(const char *path)
{
    if (is_below(path, "/usr/local"))
        return false;
    for (size_t i = 0; i < TW_COUNT_OF(not_ours); i++)
        if (is_below(path, not_ours[i]))
            return true;
    return tw_streq(path, "/");
}

/* ---- names of users ---- */

static void add_lines(const char *file, const struct service_texts *names,
                      struct tw_buf *out)
{
    tw_auto_free char *text = NULL;
    char *rest;

    if (tw_read_file(AT_FDCWD, file, 4 << 20, &text, NULL, NULL) < 0)
        return;
    rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        size_t n = strcspn(line, ":");

        for (size_t i = 0; i < names->list.count; i++)
            if (strlen(names->list.items[i]) == n &&
                strncmp(names->list.items[i], line, n) == 0)
                tw_buf_printf(out, "%s\n", line);
    }
}

/* A sandbox knows the accounts of the system; a person's, or one made for the service, it does not. */
static bool has_other_account(const struct service_needs *n)
{
    for (size_t i = 0; i < n->users.count; i++) {
        const struct passwd *pw = getpwnam(n->users.items[i]);

        if (pw && pw->pw_uid >= SYSTEM_IDS && pw->pw_uid != NOBODY)
            return true;
    }
    return false;
}

/* Those that the configuration names, as the target has them; no other, and no password. */
static int put_names(struct copying *c, const char *file,
                     const struct service_texts *names, struct tw_err *err)
{
    tw_auto_free char *host = tw_strf("%s%s", c->t->root, file);
    tw_auto_free char *dir = tw_strf("%s/etc", c->t->root);
    tw_auto_buf text = {0};
    int r = tw_make_dirs(dir, 0755, err);

    if (r < 0)
        return r;
    tw_buf_init(&text, 1 << 16);
    add_lines(file, names, &text);
    return tw_write_file(host, tw_buf_text(&text), text.len, 0644, err);
}

/* ---- needs ---- */

static int copy_all(struct copying *c, const void *texts, enum how how, bool bounded,
                    struct tw_err *err)
{
    const struct service_texts *t = texts;
    int r = 0;

    for (size_t i = 0; i < t->list.count && r == 0; i++) {
        c->bounded = bounded;
        c->bytes = c->files = 0;
        if (!is_hosts(t->list.items[i]))
            r = place(c, t->list.items[i], is_broad(t->list.items[i]) ? EMPTY : how, 0,
                      err);
    }
    return r;
}

int service_needs_copy(struct tw_arena *a, const struct service_tree *t,
                       const struct service_needs *n, struct tw_issues *differences,
                       struct tw_err *err)
{
    struct copying c = {.a = a, .t = t, .differences = differences};
    struct service_texts users = {0}, groups = {0};
    int r = copy_all(&c, &n->trees, WHOLE, true, err);

    if (r == 0)
        r = copy_all(&c, &c.later, EMPTY, false, err);
    if (r == 0)
        r = copy_all(&c, &n->dirs, EMPTY, false, err);
    if (r == 0)
        r = copy_all(&c, &n->files, EMPTY, false, err);
    if (r == 0)
        r = copy_all(&c, &n->named, EMPTY, false, err);
    for (size_t i = 0; i < n->users.count; i++)
        service_add_once(a, &users, n->users.items[i]);
    for (size_t i = 0; i < n->groups.count; i++)
        service_add_once(a, &groups, n->groups.items[i]);
    if (r == 0 && t->as_root && has_other_account(n)) {
        service_add_once(a, &users, "root");
        service_add_once(a, &users, "nobody");
        service_add_once(a, &groups, "root");
        service_add_once(a, &groups, "nogroup");
        r = put_names(&c, "/etc/passwd", &users, err);
        if (r == 0)
            r = put_names(&c, "/etc/group", &groups, err);
    }
    return r;
}

static bool is_covered(const struct tw_layout *l, const char *path)
{
    for (size_t i = 0; i < l->paths.count; i++)
        if (is_below(path, l->paths.items[i]))
            return true;
    return false;
}

static bool is_dir_in(const char *root, const char *path)
{
    tw_auto_free char *host = tw_strf("%s%s", root, path);
    struct stat st;

    return lstat(host, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_link_in(const char *root, const char *path, char to[static PATH_MAX])
{
    tw_auto_free char *host = tw_strf("%s%s", root, path);
    ssize_t n = readlink(host, to, PATH_MAX - 1);

    if (n < 0)
        return false;
    to[n] = '\0';
    return true;
}

/* The directory that holds path is bound, so that what is written beside it is seen; a few are too
 * large for that, where the file itself is. */
static void show(struct tw_arena *a, const char *root, const char *path,
                 struct tw_layout *l)
{
    static const char *const shared[] = {"/", "/etc", "/usr/local", "/tmp"};
    const char *dir = is_dir_in(root, path) ? path : service_parent(a, path);

    if (tw_name_index(dir, shared, TW_COUNT_OF(shared)) >= 0)
        dir = path;
    if (!is_hosts(dir) && !is_covered(l, dir) && service_exists_in(root, dir) &&
        tw_name_index(dir, shared, TW_COUNT_OF(shared)) < 0)
        TW_PUSH(a, &l->paths, dir);
}

/* A path and every place that its links lead through. */
static void show_through_links(struct tw_arena *a, const char *root, const char *path,
                               struct tw_layout *l, int depth)
{
    char to[PATH_MAX];

    for (const char *s = strchr(path + 1, '/');; s = strchr(s + 1, '/')) {
        size_t n = s ? (size_t)(s - path) : strlen(path);
        const char *part = tw_arena_strndup(a, path, n);

        if (is_link_in(root, part, to)) {
            show(a, root, part, l);
            if (depth < LINKS_MAX)
                show_through_links(a, root,
                                   service_path(a, service_parent(a, part),
                                                tw_arena_printf(a, "%s%s", to, path + n)),
                                   l, depth + 1);
            return;
        }
        if (!s)
            break;
    }
    show(a, root, path, l);
}

static void show_all(struct tw_arena *a, const char *root, const void *texts,
                     struct tw_layout *l)
{
    const struct service_texts *t = texts;

    for (size_t i = 0; i < t->list.count; i++)
        show_through_links(a, root, t->list.items[i], l, 0);
}

static void add_hosts(struct tw_arena *a, const struct service_needs *n,
                      struct tw_layout *l)
{
    for (size_t i = 0; i < n->neighbours.count; i++) {
        const struct tw_neighbour *b = &n->neighbours.items[i];
        struct tw_host_name host = {.name = b->address};

        if (!b->resolved || !b->address || service_is_address(b->address))
            continue;
        for (char *rest = tw_arena_strdup(a, b->resolved), *one;
             (one = strsep(&rest, ","));) {
            host.address = one;
            TW_PUSH(a, &l->hosts, host);
        }
    }
    for (size_t i = 0; i < n->endpoints.count; i++) {
        const char *address = n->endpoints.items[i].address;

        if (address && service_is_address(address) && !tw_streq(address, "0.0.0.0") &&
            !tw_streq(address, "::"))
            SERVICE_ADD_ONCE(a, &l->addresses, address);
    }
}

/* Parents before what lies in them: a bind over another hides it. */
static int by_length(const void *x, const void *y)
{
    const char *a = *(const char *const *)x, *b = *(const char *const *)y;

    return strcmp(a, b);
}

int service_needs_layout(struct tw_arena *a, const char *root,
                         const struct service_needs *n, struct tw_layout *ret,
                         struct tw_err *err)
{
    struct tw_layout l = *ret;
    size_t kept = 0;

    (void)err;
    show_all(a, root, &n->trees, &l);
    show_all(a, root, &n->dirs, &l);
    show_all(a, root, &n->files, &l);
    show_all(a, root, &n->named, &l);
    if (l.as_root) {
        if (service_exists_in(root, "/etc/passwd"))
            TW_PUSH(a, &l.paths, "/etc/passwd");
        if (service_exists_in(root, "/etc/group"))
            TW_PUSH(a, &l.paths, "/etc/group");
    }
    if (l.paths.count)
        qsort(l.paths.items, l.paths.count, sizeof *l.paths.items, by_length);
    for (size_t i = 0; i < l.paths.count; i++)
        if (kept == 0 || !is_below(l.paths.items[i], l.paths.items[kept - 1]))
            l.paths.items[kept++] = l.paths.items[i];
    l.paths.count = kept;
    add_hosts(a, n, &l);
    *ret = l;
    return 0;
}

static void join(struct tw_arena *a, void *into, const void *from)
{
    const struct service_texts *t = from;

    for (size_t i = 0; i < t->list.count; i++)
        service_add_once(a, into, t->list.items[i]);
}

void service_needs_join(struct tw_arena *a, struct service_needs *into,
                        const struct service_needs *from)
{
    join(a, &into->files, &from->files);
    join(a, &into->named, &from->named);
    join(a, &into->trees, &from->trees);
    join(a, &into->dirs, &from->dirs);
    join(a, &into->logs, &from->logs);
    join(a, &into->users, &from->users);
    join(a, &into->groups, &from->groups);
    for (size_t i = 0; i < from->neighbours.count; i++)
        TW_PUSH(a, &into->neighbours, from->neighbours.items[i]);
    for (size_t i = 0; i < from->endpoints.count; i++)
        TW_PUSH(a, &into->endpoints, from->endpoints.items[i]);
}

/* ---- steps that write files ---- */

static char *current(const struct tw_access *x, const char *path)
{
    char *text = NULL;

    return service_read_in(x->root, path, TEXT_MAX, &text, NULL) < 0 ? strdup("") : text;
}

int service_apply_text(struct tw_arena *a, const struct tw_access *x,
                       const struct tw_plan_step *step, struct tw_err *err)
{
    tw_auto_free char *old = current(x, step->path);
    const char *text = step->value;

    if (step->kind == TW_STEP_APPEND)
        text = tw_arena_printf(a, "%s%s%s", old,
                               *old && !tw_ends_with(old, "\n") ? "\n" : "", step->value);
    return service_write_in(x->root, step->path, text, err);
}

/* Bare names are those of the configuration's directory. */
const char *service_request_path(struct tw_arena *a, const struct tw_snapshot *s,
                                 const char *path)
{
    return service_path(a, service_parent(a, s->config_file), path);
}

static bool belongs_to(struct tw_arena *a, const struct tw_snapshot *s, const char *path)
{
    if (is_below(path, service_parent(a, s->config_file)))
        return true;
    for (size_t i = 0; i < s->files.count; i++)
        if (is_below(path, service_parent(a, s->files.items[i].path)))
            return true;
    for (size_t i = 0; i < s->trees.count; i++)
        if (is_below(path, s->trees.items[i]) ||
            tw_streq(service_parent(a, s->trees.items[i]), service_parent(a, path)))
            return true;
    return false;
}

int service_check_files(struct tw_arena *a, const struct tw_snapshot *s,
                        const struct tw_request *r, struct tw_err *err)
{
    for (size_t i = 0; i < r->files.count; i++) {
        const char *given = r->files.items[i].path;
        const char *path = given ? service_request_path(a, s, given) : NULL;

        if (!path)
            continue;
        if (strstr(given, "/../") || tw_starts_with(given, "../"))
            return tw_fail(err, -EINVAL, "file '%s': a path without '..' was expected",
                           given);
        if (is_hosts(path))
            return tw_fail(
                err, -EINVAL,
                "file '%s' lies where a sandbox shows the host's own; files that a "
                "change may replace lie in directories of the service",
                path);
        if (!belongs_to(a, s, path))
            return tw_fail(
                err, -EINVAL,
                "file '%s' does not belong to the target; its configuration is '%s' "
                "and what that names",
                path, s->config_file);
    }
    return 0;
}

/* ---- lists of servers ---- */

bool service_spread(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_access *x,
                    service_spread_fn *spread, int port, const int *ports, size_t n, int *ret_today,
                    const char **ret_path, const char **ret_text)
{
    for (size_t i = 0; i < s->files.count; i++) {
        const char *path = s->files.items[i].path;
        const char *text = x ? host_text(a, x->root, path) : s->files.items[i].text;

        *ret_text = text ? spread(a, text, port, ports, n, ret_today) : NULL;
        *ret_path = path;
        if (*ret_text && *ret_today)
            return true;
    }
    return false;
}
