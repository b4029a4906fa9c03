/* Configuration files put into a tree: as they are at the target now, made harmless, with
 * the owner and mode rules of the server. */
#include "kind_pg_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* Commands and connections by which a cluster acts on the world outside. In a clone they
 * become a success that does nothing; a value in the change itself is applied after this
 * and runs as it is. */
static const struct {
    const char *name, *harmless;
} outward[] = {
    {"archive_command", "/bin/true"},         {"archive_library", ""},
    {"archive_cleanup_command", "/bin/true"}, {"restore_command", "/bin/true"},
    {"recovery_end_command", "/bin/true"},    {"primary_conninfo", ""},
    {"ssl_passphrase_command", ""},
};

struct harmless {
    struct tw_arena *a;
    struct tw_issues *differences;
};

static const char *make_harmless(void *arg, const char *name)
{
    struct harmless *h = arg;

    for (size_t i = 0; i < TW_COUNT_OF(outward); i++) {
        if (strcasecmp(name, outward[i].name) != 0)
            continue;
        tw_issue_add(
            h->a, h->differences, TW_INFO, TW_PROCEED, "twin.harmless",
            tw_arena_printf(h->a, "%s is '%s' in the twin", name, outward[i].harmless),
            "a clone must not reach what the target reaches", NULL);
        return outward[i].harmless;
    }
    return NULL;
}

char *kind_pg_conf_harmless(struct tw_arena *a, const char *text,
                            struct tw_issues *differences)
{
    struct harmless h = {a, differences};

    return kind_pg_conf_rewrite(a, text, make_harmless, &h);
}

/* The server takes a key of its own user with 0600 or less, of root with 0640 or less. In
 * a clone all belongs to its user, so a key of root that was fine has to stay fine, and
 * one that was not must stay refused. */
static unsigned clone_mode(const struct stat *st, unsigned owner_uid)
{
    unsigned mode = st->st_mode & 07777;

    if (st->st_uid != owner_uid && (mode & 0027) == 0)
        mode &= ~0077U;
    return mode;
}

static int copy_file(struct tw_arena *a, const char *path, const struct tw_snapshot *s,
                     const char *root, unsigned uid, unsigned gid, bool conf,
                     struct tw_issues *differences, struct tw_err *err)
{
    tw_auto_free char *text = NULL;
    struct stat st;
    int r;

    if (stat(path, &st) < 0)
        return errno == ENOENT ? 0 : tw_fail_errno(err, errno, "'%s'", path);
    r = tw_read_file(AT_FDCWD, path, 4 << 20, &text, NULL, err);
    if (r < 0)
        return r;
    return host_put_file(root, path,
                         conf ? kind_pg_conf_harmless(a, text, differences) : text,
                         clone_mode(&st, s->owner_uid), uid, gid, err);
}

/* Settings that name what a start needs outside the data directory. */
static const struct {
    const char *name;
    enum { NEEDS_FILE, NEEDS_DIR, NEEDS_DIRS, NEEDS_PARENT } what;
} outside_settings[] = {
    {"ssl_cert_file", NEEDS_FILE},       {"ssl_key_file", NEEDS_FILE},
    {"ssl_ca_file", NEEDS_FILE},         {"ssl_crl_file", NEEDS_FILE},
    {"ssl_dh_params_file", NEEDS_FILE},  {"krb_server_keyfile", NEEDS_FILE},
    {"log_directory", NEEDS_DIR},        {"unix_socket_directories", NEEDS_DIRS},
    {"external_pid_file", NEEDS_PARENT}, {"stats_temp_directory", NEEDS_DIR},
};

#define ADD_ONCE(array, path)                                                            \
    do {                                                                                 \
        bool there_ = false;                                                             \
        for (size_t i_ = 0; i_ < (array)->count; i_++)                                   \
            there_ |= tw_streq((array)->items[i_], (path));                              \
        if (!there_)                                                                     \
            TW_PUSH(a, (array), (path));                                                 \
    } while (0)

static void add_outside(struct tw_arena *a, const struct tw_snapshot *s, const char *name,
                        const char *value, struct kind_pg_outside *ret)
{
    const char *below = tw_arena_printf(a, "%s/", s->data_dir);
    char *text, *path;
    size_t row = 0;

    while (row < TW_COUNT_OF(outside_settings) &&
           !tw_streq(outside_settings[row].name, name))
        row++;
    if (row == TW_COUNT_OF(outside_settings) || !value)
        return;
    text = tw_arena_strdup(a, value);
    while (
        (path = strsep(&text, outside_settings[row].what == NEEDS_DIRS ? ", \"" : ""))) {
        if (*path != '/' || tw_starts_with(path, below))
            continue;
        if (outside_settings[row].what == NEEDS_PARENT)
            *strrchr(path, '/') = '\0';
        if (outside_settings[row].what == NEEDS_FILE)
            ADD_ONCE(&ret->paths, path);
        else if (*path)
            ADD_ONCE(&ret->dirs, path);
    }
}

void kind_pg_outside_files(struct tw_arena *a, const struct tw_snapshot *s,
                           const struct tw_plan *plan, struct kind_pg_outside *ret)
{
    *ret = (struct kind_pg_outside){0};
    for (size_t i = 0; i < s->settings.count; i++)
        add_outside(a, s, s->settings.items[i].name, s->settings.items[i].value, ret);
    for (size_t i = 0; plan && i < plan->steps.count; i++) {
        const struct tw_plan_step *step = &plan->steps.items[i];
        struct tw_pg_assignments lines = {0};

        if (step->kind == TW_STEP_SETTING)
            add_outside(a, s, step->name, step->value, ret);
        else if (step->value)
            (void)tw_pg_parse_assignments(a, step->value, &lines, NULL);
        for (size_t j = 0; j < lines.list.count; j++)
            add_outside(a, s, lines.list.items[j].name, lines.list.items[j].value, ret);
    }
}

int kind_pg_refresh(struct tw_arena *a, const struct tw_target *t,
                    const struct tw_snapshot *s, const struct tw_plan *plan,
                    const char *root, unsigned uid, unsigned gid,
                    struct tw_issues *differences, struct tw_err *err)
{
    struct kind_pg_outside outside;
    int r = 0;

    if (tw_streq(s->how, kind_pg_state_names[KIND_PG_ELSEWHERE]))
        return kind_pg_refresh_elsewhere(a, t, s, plan, root, uid, gid, differences, err);
    for (size_t i = 0; i < s->files.count && r == 0; i++) {
        const char *path = s->files.items[i].path;
        bool conf = !tw_streq(path, s->hba_file) && !tw_streq(path, s->ident_file);

        r = copy_file(a, path, s, root, uid, gid, conf, differences, err);
    }
    kind_pg_outside_files(a, s, plan, &outside);
    for (size_t i = 0; i < outside.paths.count && r == 0; i++)
        r = copy_file(a, outside.paths.items[i], s, root, uid, gid, false, differences,
                      err);
    for (size_t i = 0; i < outside.dirs.count && r == 0; i++)
        /* empty, with the same rights: its server may write there exactly if the target's may */
        r = host_make_dir(root, outside.dirs.items[i], s, uid, gid, err);
    return r;
}

/* ---- a step of a plan, written the server's own way ---- */

static int rewrite(struct tw_arena *a, const struct tw_access *x, const char *path,
                   const char *text, struct tw_err *err)
{
    tw_auto_free char *dir = tw_strf("%s%s", x->root, x->snapshot->data_dir);
    tw_auto_free char *host = tw_strf("%s%s", x->root, path);
    struct stat owner, old;
    unsigned mode = 0600;

    (void)a;
    if (stat(dir, &owner) < 0)
        return tw_fail_errno(err, errno, "'%s'", dir);
    if (stat(host, &old) == 0)
        mode = old.st_mode & 07777;
    return host_put_file(x->root, path, text, mode, owner.st_uid, owner.st_gid, err);
}

static char *current(struct tw_arena *a, const struct tw_access *x, const char *path)
{
    tw_auto_free char *host = tw_strf("%s%s", x->root, path);
    tw_auto_free char *text = NULL;

    if (tw_read_file(AT_FDCWD, host, 4 << 20, &text, NULL, NULL) < 0)
        return tw_arena_strdup(a, "");
    return tw_arena_strdup(a, text);
}

static int apply_setting(struct tw_arena *a, const struct tw_access *x,
                         const struct tw_plan_step *step, struct tw_err *err)
{
    const char *path =
        tw_arena_printf(a, "%s/postgresql.auto.conf", x->snapshot->data_dir);

    return rewrite(a, x, path,
                   kind_pg_conf_set(a, current(a, x, path), step->name, step->value),
                   err);
}

static int apply_file(struct tw_arena *a, const struct tw_access *x,
                      const struct tw_plan_step *step, struct tw_err *err)
{
    return rewrite(a, x, step->path, step->value, err);
}

static const char *with_newline(struct tw_arena *a, const char *text)
{
    return *text && !tw_ends_with(text, "\n") ? tw_arena_printf(a, "%s\n", text) : text;
}

static int apply_append(struct tw_arena *a, const struct tw_access *x,
                        const struct tw_plan_step *step, struct tw_err *err)
{
    return rewrite(a, x, step->path,
                   tw_arena_printf(a, "%s%s", with_newline(a, current(a, x, step->path)),
                                   step->value),
                   err);
}

static int apply_fragment(struct tw_arena *a, const struct tw_access *x,
                          const struct tw_plan_step *step, struct tw_err *err)
{
    const char *main_file = x->snapshot->config_file;
    const char *text = with_newline(a, current(a, x, main_file));
    int r = rewrite(a, x, step->path, step->value, err);

    if (r < 0)
        return r;
    return rewrite(
        a, x, main_file,
        tw_arena_printf(a, "%sinclude '%s'\n", text, strrchr(step->path, '/') + 1), err);
}

static int (*const appliers[TW_STEP_KIND_COUNT])(struct tw_arena *a,
                                                 const struct tw_access *x,
                                                 const struct tw_plan_step *step,
                                                 struct tw_err *err) = {
    [TW_STEP_SETTING] = apply_setting,
    [TW_STEP_FILE] = apply_file,
    [TW_STEP_APPEND] = apply_append,
    [TW_STEP_FRAGMENT] = apply_fragment,
};

int kind_pg_apply(struct tw_arena *a, const struct tw_access *access,
                  const struct tw_plan_step *step, struct tw_err *err)
{
    if (!appliers[step->kind])
        return tw_fail(err, -EINVAL, "a configuration change has no step of kind '%s'",
                       tw_step_kind_names[step->kind]);
    return appliers[step->kind](a, access, step, err);
}
