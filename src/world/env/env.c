/* Declared targets, and their snapshots. */
#include "env_internal.h"
#include "tw/service.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct env_source *const sources[] = {&env_source_docker};

static const struct env_source *source_of(const char *type)
{
    for (size_t i = 0; i < TW_COUNT_OF(sources); i++)
        if (tw_streq(sources[i]->name, type))
            return sources[i];
    return NULL;
}

/* ---- declarations: one JSON file, written as a whole ---- */

/* Those of twin.yaml, rewritten by each start of the daemon, and those added by command. */
enum origin { DECLARED, ADDED, ORIGIN_COUNT };

static char *file_of(const char *state_dir, enum origin origin)
{
    static const char *const names[ORIGIN_COUNT] = {"declared.json", "environments.json"};

    return tw_strf("%s/%s", state_dir, names[origin]);
}

static char *secrets_of(const char *state_dir, enum origin origin)
{
    static const char *const names[ORIGIN_COUNT] = {"declared.secrets.json",
                                                    "environments.secrets.json"};

    return tw_strf("%s/%s", state_dir, names[origin]);
}

static int load_file(struct tw_arena *a, const char *state_dir, enum origin origin,
                     struct tw_env_list *ret, struct tw_err *err)
{
    tw_auto_free char *path = file_of(state_dir, origin);
    tw_auto_free char *secrets = secrets_of(state_dir, origin);
    tw_auto_free char *text = NULL;
    json_auto_t *json = NULL;
    size_t i, from = ret->targets.count;
    json_t *item;
    size_t len;
    int r = tw_read_file(AT_FDCWD, path, 8 << 20, &text, &len, err);

    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = tw_json_parse(text, len, &json, err);
    if (r < 0)
        return tw_wrap(err, r, "environments of '%s'", path);
    json_array_foreach (json, i, item) {
        struct tw_target t;

        r = tw_target_from_json(a, item, &t, err);
        if (r < 0)
            return tw_wrap(err, r, "environments of '%s', entry %zu", path, i + 1);
        TW_PUSH(a, &ret->targets, t);
    }
    env_secrets_join(a, secrets, ret, from);
    return 0;
}

int tw_env_load(struct tw_arena *a, const char *state_dir, struct tw_env_list *ret,
                struct tw_err *err)
{
    struct tw_env_list all = {0};
    int r = 0;

    for (int origin = 0; origin < ORIGIN_COUNT && r == 0; origin++)
        r = load_file(a, state_dir, (enum origin)origin, &all, err);
    if (r == 0)
        *ret = all;
    return r;
}

static int save(const char *state_dir, enum origin origin, const struct tw_env_list *list,
                struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    tw_auto_free char *path = file_of(state_dir, origin);
    tw_auto_free char *secrets = secrets_of(state_dir, origin);
    tw_auto_free char *text = NULL;
    json_auto_t *json = json_array();
    struct tw_env_list shown = {0};
    int r = tw_make_dirs(state_dir, 0750, err);

    if (r == 0)
        r = env_secrets_part(a, secrets, list, &shown, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < shown.targets.count; i++)
        (void)json_array_append_new(json, tw_target_to_json(&shown.targets.items[i]));
    text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    /* for the group that the daemon's state directory gives its files, too */
    return tw_write_file(path, text, strlen(text), 0640, err);
}

/* A name stands in commands and in routes; a slash within it is for parts of a project. */
static int check_name(const char *what, const char *name, struct tw_err *err)
{
    bool odd = !name || !*name || strchr("-/", *name) || strlen(name) > 200;

    for (const char *c = name; !odd && *c; c++)
        odd = (unsigned char)*c <= ' ' || *c == 127 || strchr("\\'\"?#&%", *c);
    return odd ? tw_fail(err, -EINVAL,
                         "'%s' cannot be the name of %s: expected letters, digits, '-', "
                         "'_', '.' or '/', a letter or digit first",
                         name ? name : "", what)
               : 0;
}

int tw_env_check(const struct tw_target *t, struct tw_err *err)
{
    static const struct {
        const char *option;
        size_t offset;
    } paths[] = {{"--data-dir", offsetof(struct tw_target, data_dir)},
                 {"--config", offsetof(struct tw_target, config)},
                 {"--file", offsetof(struct tw_target, file)}};
    const struct env_source *source = source_of(t->type);
    const struct tw_service_kind *kind;
    const char *nearest = NULL;
    int r = check_name("a target", t->name, err);

    if (r == 0 && t->environment)
        r = check_name("an environment", t->environment, err);
    if (r < 0)
        return r;
    if (source)
        return source->check_declaration(t, err);
    if (!t->type)
        return tw_fail(err, -EINVAL,
                       "target '%s' needs a type, for example --type postgresql",
                       t->name);
    kind = tw_service_kind_find(t->type, &nearest);
    if (!kind)
        return tw_fail(err, -EINVAL, "unknown type '%s'%s%s%s", t->type,
                       nearest ? "; did you mean '" : "", nearest ? nearest : "",
                       nearest ? "'?" : "");
    for (size_t i = 0; i < TW_COUNT_OF(paths); i++) {
        const char *path =
            *(const char *const *)(const void *)((const char *)t + paths[i].offset);

        if (path && *path != '/')
            return tw_fail(err, -EINVAL, "%s '%s': an absolute path was expected",
                           paths[i].option, path);
    }
    return kind->check_declaration(t, err);
}

int tw_env_add(const char *state_dir, const struct tw_target *target, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_env_list list = {0}, added = {0};
    int r = tw_env_check(target, err);

    if (r == 0)
        r = tw_env_load(a, state_dir, &list, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < list.targets.count; i++)
        if (tw_streq(list.targets.items[i].name, target->name) &&
            tw_streq(list.targets.items[i].environment, target->environment))
            return tw_fail(
                err, -EEXIST,
                "target '%s' is already in environment '%s'; remove it first: twin "
                "env rm %s",
                target->name, target->environment, target->name);
    r = load_file(a, state_dir, ADDED, &added, err);
    if (r < 0)
        return r;
    TW_PUSH(a, &added.targets, *target);
    return save(state_dir, ADDED, &added, err);
}

int tw_env_declare(const char *state_dir, const struct tw_env_list *list,
                   struct tw_err *err)
{
    for (size_t i = 0; i < list->targets.count; i++) {
        const struct tw_target *t = &list->targets.items[i];
        int r = tw_env_check(t, err);

        if (r < 0)
            return r;
        for (size_t k = 0; k < i; k++)
            if (tw_streq(list->targets.items[k].name, t->name) &&
                tw_streq(list->targets.items[k].environment, t->environment))
                return tw_fail(err, -EEXIST, "target '%s' is twice in environment '%s'",
                               t->name, t->environment);
    }
    return save(state_dir, DECLARED, list, err);
}

int tw_env_settle(const char *state_dir, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_env_list added = {0};
    int r = load_file(a, state_dir, ADDED, &added, err);

    return r < 0 || !added.targets.count ? r : save(state_dir, ADDED, &added, err);
}

int tw_env_remove(const char *state_dir, const char *environment, const char *name,
                  struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_env_list all = {0}, list = {0}, kept = {0};
    struct tw_target found;
    int r = tw_env_load(a, state_dir, &all, err);

    if (r == 0)
        r = tw_env_find(&all, environment, name, &found, err);
    if (r == 0)
        r = load_file(a, state_dir, ADDED, &list, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < list.targets.count; i++)
        if (!tw_streq(list.targets.items[i].name, found.name) ||
            !tw_streq(list.targets.items[i].environment, found.environment))
            TW_PUSH(a, &kept.targets, list.targets.items[i]);
    if (kept.targets.count == list.targets.count)
        return tw_fail(
            err, -EINVAL,
            "target '%s' is declared in twin.yaml: take it out there and start the "
            "daemon again",
            name);
    return save(state_dir, ADDED, &kept, err);
}

static int not_found(const struct tw_env_list *list, const char *environment,
                     const char *name, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const char **names = tw_arena_alloc(a, (list->targets.count + 1) * sizeof(*names));
    const char *near;

    if (!list->targets.count)
        return tw_fail(
            err, -ENOENT,
            "unknown target '%s': there is none yet; add one: twin env add %s --type "
            "postgresql --data clone --data-dir DIR",
            name, name);
    for (size_t i = 0; i < list->targets.count; i++)
        names[i] = list->targets.items[i].name;
    near = tw_nearest(name, names, list->targets.count);
    return tw_fail(err, -ENOENT, "unknown target '%s'%s%s%s%s%s%s", name,
                   environment ? " in environment '" : "", environment ? environment : "",
                   environment ? "'" : "", near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "; twin env list shows what there is");
}

/* By its name, or as a part of it: shop/web of the Compose project shop. */
static bool is_called(const struct tw_target *t, const char *name)
{
    size_t len = strlen(t->name);

    return tw_streq(t->name, name) ||
           (t->project && source_of(t->type) && strncmp(t->name, name, len) == 0 &&
            name[len] == '/' && name[len + 1]);
}

int tw_env_find(const struct tw_env_list *list, const char *environment, const char *name,
                struct tw_target *ret, struct tw_err *err)
{
    const struct tw_target *found = NULL;

    for (size_t i = 0; i < list->targets.count; i++) {
        const struct tw_target *t = &list->targets.items[i];

        if (!is_called(t, name) ||
            (environment && !tw_streq(t->environment, environment)))
            continue;
        if (found)
            return tw_fail(err, -ENOTUNIQ,
                           "target '%s' is in environments '%s' and '%s'; say which with "
                           "--env",
                           name, found->environment, t->environment);
        found = t;
    }
    if (!found)
        return not_found(list, environment, name, err);
    *ret = *found;
    if (strlen(name) > strlen(found->name))
        ret->name = name;
    return 0;
}

int tw_env_targets(struct tw_arena *a, const struct tw_target *target,
                   struct tw_env_list *ret, struct tw_err *err)
{
    const struct env_source *source = source_of(target->type);

    if (source)
        return source->targets(a, target, ret, err);
    TW_PUSH(a, &ret->targets, *target);
    return 0;
}

/* ---- permission ---- */

int tw_env_check_clone(const struct tw_target *target, struct tw_err *err)
{
    if (target->data == TW_DATA_CLONE)
        return 0;
    return tw_fail(
        err, -EINVAL,
        "target '%s' allows '%s' data only, and that is not available for its type; "
        "cloning real data is a permission of its own: twin env add … --data clone, "
        "or --data clone for this run",
        target->name, tw_data_mode_names[target->data]);
}

/* ---- snapshot ---- */

/* Both limit files say "no limit" in their own way: "max", or a number near 2^63. */
static int64_t cgroup_limit(const char *path)
{
    tw_auto_free char *text = NULL;
    int64_t bytes;

    if (tw_read_file(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
        return 0;
    bytes = strtoll(text, NULL, 10);
    return bytes > 0 && bytes < INT64_C(1) << 60 ? bytes : 0;
}

static void host_limits(const struct tw_target *t, struct tw_snapshot *s)
{
    int64_t limit = cgroup_limit("/sys/fs/cgroup/memory.max");

    if (!tw_streq(s->how, "elsewhere")) { /* there it is not known: 0 */
        s->memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
        if (limit && limit < s->memory_bytes)
            s->memory_bytes = limit;
        s->cpus = (double)sysconf(_SC_NPROCESSORS_ONLN);
    }
    if (t->memory_bytes)
        s->memory_bytes = t->memory_bytes;
    if (t->cpus > 0)
        s->cpus = t->cpus;
}

/* Of the snapshot without what differs between two looks at the same thing. */
static void hash(struct tw_snapshot *s)
{
    static const char *const passing[] = {"taken_at", "sha256", "cost", "age_s"};
    json_auto_t *json = tw_snapshot_to_json(s);
    tw_auto_free char *text = NULL;
    json_t *container;
    size_t k;

    for (size_t i = 0; i < TW_COUNT_OF(passing); i++)
        (void)json_object_del(json, passing[i]);
    json_array_foreach (json_object_get(json, "containers"), k, container)
        (void)json_object_del(container, "state");
    text = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(15));
    tw_sha256_hex(text, strlen(text), s->sha256);
}

static void seal(const struct tw_target *target, struct tw_snapshot *s)
{
    s->target = target->name;
    s->environment = target->environment;
    s->type = target->type;
    s->taken_wall_ns = tw_wall_ns();
}

static int snapshot_of_source(struct tw_arena *a, const struct env_source *source,
                              const struct tw_target *target, struct tw_snapshot *ret,
                              struct tw_err *err)
{
    struct tw_snapshot s;
    int r;

    tw_snapshot_init(&s);
    r = source->snapshot(a, target, &s, err);
    if (r < 0)
        return r;
    seal(target, &s);
    hash(&s);
    *ret = s;
    tw_step("env.snapshot.taken");
    return 0;
}

int tw_env_snapshot(struct tw_arena *a, const struct tw_target *target,
                    struct tw_snapshot *ret, struct tw_err *err)
{
    const struct tw_service_kind *kind = tw_service_kind_find(target->type, NULL);
    const struct env_source *source = source_of(target->type);
    int64_t begun = tw_now_ns();
    struct tw_snapshot s;
    int r;

    if (source)
        return snapshot_of_source(a, source, target, ret, err);
    tw_snapshot_init(&s);
    if (!kind)
        return tw_fail(err, -EINVAL, "target '%s' has the unknown type '%s'",
                       target->name, target->type);
    r = kind->snapshot(a, target, &s, err);
    if (r < 0)
        return r;
    s.cost.seconds = tw_seconds(tw_now_ns() - begun);
    seal(target, &s);
    host_limits(target, &s);
    hash(&s);
    *ret = s;
    tw_step("env.snapshot.taken");
    return 0;
}
