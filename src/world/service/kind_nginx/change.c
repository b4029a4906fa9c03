/* Settings and files of a change: named as people name them, checked by asking the program itself
 * about the one directive, written where the directive stands. */
#include "kind_nginx_internal.h"

#include "tw/io.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ASK_NS (10 * TW_SEC_NS)

/* ---- names: "http.server:shop.example.listen" ---- */

static const char *const block_names[] = {
    "main", "events", "http", "server", "location", "upstream",    "stream",
    "mail", "if",     "map",  "geo",    "types",    "limit_except"};

struct wanted {
    const char *directive;
    TW_ARRAY(const char *) path; /* outermost first */
};

static bool begins_block(const char *s)
{
    for (size_t i = 0; i < TW_COUNT_OF(block_names); i++) {
        size_t n = strlen(block_names[i]);

        if (strncmp(s, block_names[i], n) == 0 && strchr(".:#", s[n]))
            return true;
    }
    return false;
}

/* A dot ends a part only where the name of a block, or the directive itself, follows: labels such
 * as "shop.example" have dots of their own. */
static struct wanted split_name(struct tw_arena *a, const char *name)
{
    struct wanted w = {.directive = name};
    const char *last = strrchr(name, '.'), *begin = name;

    if (!last || !begins_block(name))
        return w;
    w.directive = last + 1;
    for (const char *s = name; s <= last; s++) {
        if (*s != '.' || (s != last && !begins_block(s + 1)))
            continue;
        TW_PUSH(a, &w.path, tw_arena_strndup(a, begin, (size_t)(s - begin)));
        begin = s + 1;
    }
    return w;
}

static bool has_label(const struct nginx_conf *c, int index, const char *label)
{
    const struct nginx_directive *d = &c->list.items[index];

    if (nginx_has_arg(d, label))
        return true;
    for (size_t i = 0; nginx_is(d, "server") && i < c->list.count; i++)
        if (c->list.items[i].parent == index &&
            (nginx_is(&c->list.items[i], "server_name") ||
             nginx_is(&c->list.items[i], "listen")) &&
            nginx_has_arg(&c->list.items[i], label))
            return true;
    return false;
}

static bool is_nth(const struct nginx_conf *c, int index, int nth)
{
    for (int i = 0; i <= index; i++)
        nth -= c->list.items[i].block &&
               nginx_is(&c->list.items[i], c->list.items[index].name);
    return nth == 0;
}

/* "server", "server:shop", "server#2" */
static bool block_is(const struct nginx_conf *c, int index, const char *part)
{
    size_t n = strcspn(part, ":#");

    if (index < 0)
        return tw_streq(part, "main");
    if (strlen(c->list.items[index].name) != n ||
        strncmp(c->list.items[index].name, part, n) != 0)
        return false;
    return part[n] == '\0'  ? true
           : part[n] == ':' ? has_label(c, index, part + n + 1)
                            : is_nth(c, index, atoi(part + n + 1));
}

static bool stands_in(const struct nginx_conf *c, int block, const struct wanted *w)
{
    for (size_t i = w->path.count; i-- > 0;) {
        if (!block_is(c, block, w->path.items[i]))
            return false;
        if (block >= 0)
            block = c->list.items[block].parent;
    }
    return true;
}

static int depth_of(const struct nginx_conf *c, int index)
{
    int depth = 0;

    for (; index >= 0; index = c->list.items[index].parent)
        depth++;
    return depth;
}

/* ---- the program asked about one directive ---- */

enum context { IN_MAIN, IN_EVENTS, IN_HTTP, IN_SERVER, IN_LOCATION, CONTEXT_COUNT };
static const char *const context_names[CONTEXT_COUNT] = {"main", "events", "http",
                                                         "server", "location"};

static const char *scratch_conf(struct tw_arena *a, const char *dir, enum context in,
                                const char *modules, const char *line)
{
    const char *at[CONTEXT_COUNT] = {"", "", "", "", ""};

    at[in] = line;
    return tw_arena_printf(
        a,
        "%spid %s/pid; error_log stderr; lock_file %s/lock; events { %s }\n"
        "http { access_log off; client_body_temp_path %s/b; proxy_temp_path %s/p; "
        "fastcgi_temp_path %s/f; uwsgi_temp_path %s/u; scgi_temp_path %s/s; %s\n"
        "server { listen unix:%s/l; %s\nlocation / { %s }\n} }\n%s\n",
        modules, dir, dir, at[IN_EVENTS], dir, dir, dir, dir, dir, at[IN_HTTP], dir,
        at[IN_SERVER], at[IN_LOCATION], at[IN_MAIN]);
}

/* Modules that the target loads know directives of their own. */
static const char *modules_of(struct tw_arena *a, const struct nginx_conf *c)
{
    const char *text = "";

    for (size_t i = 0; i < c->list.count; i++)
        if (nginx_is(&c->list.items[i], "load_module"))
            text = tw_arena_printf(a, "%sload_module %s;\n", text,
                                   nginx_values(a, &c->list.items[i]));
    return text;
}

/* In a configuration of its own, in a directory of its own: nothing of the target is touched. The
 * text is what nginx says, "" when it takes the line. */
static int ask(struct tw_arena *a, const char *program, const char *modules,
               enum context in, const char *line, const char **ret_text,
               struct tw_err *err)
{
    char *dir = tw_arena_printf(a, "%s/twin-nginx-XXXXXX", tw_child_tmp());
    const char *path, *text = "";
    int status = 0, r;

    if (!mkdtemp(dir))
        return tw_fail_errno(err, errno, "making a directory in %s", tw_child_tmp());
    path = tw_arena_printf(a, "%s/nginx.conf", dir);
    text = scratch_conf(a, dir, in, modules, line);
    r = tw_write_file(path, text, strlen(text), 0600, err);
    if (r == 0) {
        const char *argv[] = {program, "-t", "-q", "-p", dir, "-c", path, NULL};

        r = service_ask_program(a, argv, ASK_NS, &text, &status, err);
    }
    (void)tw_remove_tree(dir, NULL);
    if (r == 0)
        *ret_text = status == 0 ? "" : text;
    return r;
}

/* Its own words, without our file's name. */
static const char *its_words(struct tw_arena *a, const char *text)
{
    const char *at = strstr(text, "[emerg] ");
    const char *end;

    if (!at)
        return NULL;
    at += strlen("[emerg] ");
    if (isdigit((unsigned char)*at) && strstr(at, ": "))
        at = strstr(at, ": ") + 2;
    end = strstr(at, tw_arena_printf(a, " in %s/twin-nginx-", tw_child_tmp()));
    return tw_arena_strndup(a, at, end ? (size_t)(end - at) : strcspn(at, "\n"));
}

/* Where in that program's own text a name of this form stands: what is nowhere in it, it cannot
 * know. */
static const char *nearest_directive(struct tw_arena *a, const char *program,
                                     const char *name)
{
    tw_auto_free char *text = NULL;
    size_t len = 0;
    TW_ARRAY(const char *) names = {0};

    if (tw_read_file(AT_FDCWD, program, 64 << 20, &text, &len, NULL) < 0)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        size_t n = strspn(text + i, "abcdefghijklmnopqrstuvwxyz0123456789_");

        if (n > 3 && n < 64 && text[i + n] == '\0' && (i == 0 || text[i - 1] == '\0') &&
            islower((unsigned char)text[i]) && (strchr(text + i, '_') || n > 4))
            TW_PUSH(a, &names, tw_arena_strdup(a, text + i));
        i += n;
    }
    return tw_nearest(name, names.items, names.count);
}

static bool says_unknown(const char *text)
{
    return strstr(text, "unknown directive") != NULL;
}

static bool says_elsewhere(const char *text)
{
    return strstr(text, "directive is not allowed here") != NULL;
}

/* ---- where a setting goes ---- */

static int ambiguous(struct tw_arena *a, const struct nginx_conf *c,
                     const struct wanted *w, int depth, struct tw_err *err)
{
    const char *text = "";

    for (size_t i = 0; i < c->list.count; i++) {
        const struct nginx_directive *d = &c->list.items[i];

        if (nginx_is(d, w->directive) && stands_in(c, d->parent, w) &&
            depth_of(c, d->parent) == depth)
            text = tw_arena_printf(a, "%s%s'%s.%s' (%s line %d)", text, *text ? ", " : "",
                                   nginx_context(a, c, d->parent), d->name, d->file,
                                   d->line);
    }
    return tw_fail(
        err, -EINVAL,
        "directive '%s' stands in several places, say which: %s; or give the file",
        w->directive, text);
}

static int count_at(const struct nginx_conf *c, const struct wanted *w, int depth,
                    int *ret_index)
{
    int count = 0;

    for (size_t i = 0; i < c->list.count; i++) {
        const struct nginx_directive *d = &c->list.items[i];

        if (d->block || !nginx_is(d, w->directive) || !stands_in(c, d->parent, w) ||
            depth_of(c, d->parent) != depth)
            continue;
        *ret_index = (int)i;
        count++;
    }
    return count;
}

static int named_block(struct tw_arena *a, const struct nginx_conf *c,
                       const struct wanted *w, int *ret_block, struct tw_err *err)
{
    int count = 0;

    if (tw_streq(w->path.items[w->path.count - 1], "main")) {
        *ret_block = -1;
        return 0;
    }
    for (size_t i = 0; i < c->list.count; i++) {
        if (!c->list.items[i].block || !stands_in(c, (int)i, w))
            continue;
        *ret_block = (int)i;
        count++;
    }
    if (count == 1)
        return 0;
    return tw_fail(err, -EINVAL, "%s block is '%s' in the configuration%s",
                   count ? "more than one" : "no", w->path.items[w->path.count - 1],
                   count ? tw_arena_printf(a, "; say which, as '%s:NAME' or '%s#1'",
                                           w->path.items[w->path.count - 1],
                                           w->path.items[w->path.count - 1])
                         : "");
}

/* Asked of the program, outermost first, whether the directive may stand there. */
static int allowed_block(struct tw_arena *a, const struct nginx_conf *c,
                         const char *program, const struct wanted *w, int *ret_block,
                         struct tw_err *err)
{
    const char *line = tw_arena_printf(a, "%s 1;", w->directive);
    const char *text = "";

    for (int in = IN_MAIN; in <= IN_HTTP; in++) {
        const struct nginx_directive *block =
            in == IN_MAIN ? NULL : nginx_child(c, -1, context_names[in]);
        int r = ask(a, program, modules_of(a, c), (enum context)in, line, &text, err);

        if (r < 0)
            return r;
        if (says_unknown(text)) {
            const char *near = nearest_directive(a, program, w->directive);

            return tw_fail(err, -EINVAL, "unknown directive \"%s\"%s%s%s", w->directive,
                           near ? "; did you mean \"" : "", near ? near : "",
                           near ? "\"?" : "");
        }
        if (says_elsewhere(text) || (in != IN_MAIN && !block))
            continue;
        *ret_block = block ? (int)(block - c->list.items) : -1;
        return 0;
    }
    return tw_fail(err, -EINVAL,
                   "directive '%s' belongs in a server or a location; say which: "
                   "'http.server:NAME.%s'",
                   w->directive, w->directive);
}

int nginx_find_spot(struct tw_arena *a, const struct nginx_conf *c, const char *program,
                    const char *name, struct nginx_spot *ret, struct tw_err *err)
{
    struct wanted w = split_name(a, name);
    struct nginx_spot spot = {.directive = -1, .block = -1, .name = w.directive};
    int count = 0, r;

    for (int depth = 0; depth < 16 && !count; depth++) {
        count = count_at(c, &w, depth, &spot.directive);
        if (count > 1)
            return ambiguous(a, c, &w, depth, err);
    }
    if (count == 1) {
        spot.block = c->list.items[spot.directive].parent;
        *ret = spot;
        return 0;
    }
    r = w.path.count ? named_block(a, c, &w, &spot.block, err)
                     : allowed_block(a, c, program, &w, &spot.block, err);
    if (r == 0)
        *ret = spot;
    return r;
}

/* ---- validate ---- */

static bool is_one_value(const char *value)
{
    char quote = 0;

    for (; *value; value++) {
        if (*value == '\\' && value[1])
            value++;
        else if (quote)
            quote = *value == quote ? 0 : quote;
        else if (*value == '"' || *value == '\'')
            quote = *value;
        else if (strchr(";{}\n", *value) && !(*value == '{' && value[-1] == '$'))
            return false;
    }
    return !quote;
}

/* What it says of the value by itself; that a file is missing here or a name does not resolve is
 * for the twin to find. */
static bool is_about_value(const char *words)
{
    static const char *const rows[] = {
        "unknown directive", "not allowed here",  "invalid number of arguments",
        "invalid value",     "invalid parameter", "invalid number",
        "must be",           "directive invalid", "value must",
        "it must be"};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (strstr(words, rows[i]))
            return true;
    return false;
}

static int context_of(const struct nginx_conf *c, int block)
{
    const char *name = block < 0 ? "main" : c->list.items[block].name;

    if (nginx_around(c, block, "stream") >= 0 || nginx_around(c, block, "mail") >= 0)
        return -1;
    return tw_name_index(name, context_names, CONTEXT_COUNT);
}

static int check_setting(struct tw_arena *a, const struct nginx_conf *c,
                         const struct tw_snapshot *s,
                         const struct tw_setting_change *change, struct tw_err *err)
{
    struct nginx_spot spot;
    struct tw_err why = {0};
    const char *text, *words;
    int r = nginx_find_spot(a, c, s->program, change->name, &spot, &why);
    int in;

    if (r < 0)
        return tw_fail_at(err, r, change->pointer, "%s", why.text);
    if (!change->value)
        return spot.directive >= 0
                   ? 0
                   : tw_fail_at(err, -EINVAL, change->pointer,
                                "directive '%s' is not set anywhere: nothing to reset",
                                change->name);
    if (!is_one_value(change->value))
        return tw_fail_at(
            err, -EINVAL, change->pointer,
            "the value of '%s' has to be what stands between the name and ';'; for "
            "blocks give a file",
            change->name);
    in = context_of(c, spot.block);
    if (in < 0)
        return 0;
    r = ask(a, s->program, modules_of(a, c), (enum context)in,
            tw_arena_printf(a, "%s %s;", spot.name, change->value), &text, err);
    words = r == 0 ? its_words(a, text) : NULL;
    if (r == 0 && words && is_about_value(words))
        return strstr(words, spot.name)
                   ? tw_fail_at(err, -EINVAL, change->pointer, "%s", words)
                   : tw_fail_at(err, -EINVAL, change->pointer, "%s: %s", change->name,
                                words);
    return r;
}

int nginx_validate(struct tw_arena *a, const struct tw_snapshot *s,
                   const struct tw_request *r, struct tw_issues *issues,
                   struct tw_err *err)
{
    struct nginx_conf c;
    int rc = service_check_files(a, s, r, err);

    (void)issues;
    nginx_conf_read(a, "", s->config_file, &c);
    for (size_t i = 0; i < r->settings.count && rc == 0; i++)
        if (!host_unit_is_setting(r->settings.items[i].name))
            rc = check_setting(a, &c, s, &r->settings.items[i], err);
    return rc;
}

/* ---- plan ---- */

/* Where a fragment goes: beside what an include with a pattern takes in, in the block that its
 * directives belong to; else beside the main file, which then includes it. */
static const char *fragment_path(struct tw_arena *a, const struct nginx_conf *c,
                                 const struct tw_snapshot *s, const char *text, int n)
{
    const char *dir = service_parent(a, s->config_file);
    struct nginx_conf fragment;
    bool stream = false;

    nginx_conf_text(a, "", s->config_file, text, &fragment);
    stream = fragment.list.count && nginx_child(c, -1, "stream") &&
             !nginx_child(c, -1, "http");
    for (size_t i = 0; i < c->list.count; i++) {
        const struct nginx_directive *d = &c->list.items[i];
        const char *pattern = nginx_arg(d, 0);
        const char *slash = pattern ? strrchr(pattern, '/') : NULL;

        if (!nginx_is(d, "include") || !slash || !tw_ends_with(pattern, "*.conf") ||
            strpbrk(pattern, "*?[") < slash ||
            !tw_streq(nginx_parent_name(c, d), stream ? "stream" : "http"))
            continue;
        return tw_arena_printf(a, "%s/zz-twin-change-%d.conf",
                               service_parent(a, service_path(a, dir, pattern)), n + 1);
    }
    return tw_arena_printf(a, "%s/twin-change-%d.conf", dir, n + 1);
}

static void plan_file(struct tw_arena *a, const struct nginx_conf *c,
                      const struct tw_snapshot *s, const struct tw_file_change *f,
                      int *fragments, struct tw_plan *plan)
{
    struct tw_plan_step step = {.kind = !f->path    ? TW_STEP_FRAGMENT
                                        : f->append ? TW_STEP_APPEND
                                                    : TW_STEP_FILE,
                                .value = f->content,
                                .origin = f->origin};

    step.path = f->path ? service_request_path(a, s, f->path)
                        : fragment_path(a, c, s, f->content, (*fragments)++);
    TW_PUSH(a, &plan->steps, step);
}

int nginx_plan(struct tw_arena *a, const struct tw_snapshot *s,
               const struct tw_request *r, struct tw_plan *plan, struct tw_err *err)
{
    struct nginx_conf c;
    int fragments = 0;

    if (r->settings.count + r->files.count == 0)
        return tw_fail_at(
            err, -EINVAL, "/change",
            "nothing to change: give settings (--set NAME=VALUE) or a file");
    nginx_conf_read(a, "", s->config_file, &c);
    for (size_t i = 0; i < r->settings.count; i++) {
        const struct tw_setting_change *one = &r->settings.items[i];
        struct tw_plan_step step = {.kind = TW_STEP_SETTING,
                                    .name = one->name,
                                    .value = one->value,
                                    .origin = one->pointer};

        if (host_unit_is_setting(one->name))
            plan->needs_restart = true;
        TW_PUSH(a, &plan->steps, step);
    }
    for (size_t i = 0; i < r->files.count; i++)
        plan_file(a, &c, s, &r->files.items[i], &fragments, plan);
    return 0;
}

/* ---- apply ---- */

/* Only the directive's own characters change, so that the line numbers of everything else stay. */
static int edit(struct tw_arena *a, const struct tw_access *x, const char *path,
                size_t from, size_t to, const char *text, struct tw_err *err)
{
    tw_auto_free char *old = NULL;
    int r = service_read_in(x->root, path, 4 << 20, &old, err);

    if (r < 0)
        return r;
    return service_write_in(
        x->root, path, tw_arena_printf(a, "%.*s%s%s", (int)from, old, text, old + to),
        err);
}

static int apply_setting(struct tw_arena *a, const struct tw_access *x,
                         const struct tw_plan_step *step, struct tw_err *err)
{
    const struct tw_snapshot *s = x->snapshot;
    struct nginx_conf c;
    struct nginx_spot spot;
    const struct nginx_directive *d;
    const char *text;
    unsigned uid, gid;
    int r;

    if (host_unit_is_setting(step->name)) {
        r = host_owner(x, &uid, &gid, err);
        return r < 0 ? r
                     : host_unit_set(a, x->root, s->unit, step->name, step->value, uid,
                                     gid, err);
    }
    nginx_conf_read(a, x->root, s->config_file, &c);
    r = nginx_find_spot(a, &c, s->program, step->name, &spot, err);
    if (r < 0)
        return r;
    text = step->value ? tw_arena_printf(a, "%s %s;", spot.name, step->value) : "";
    if (spot.directive >= 0) {
        d = &c.list.items[spot.directive];
        return edit(a, x, d->file, d->from, d->to, text, err);
    }
    if (spot.block < 0)
        return edit(a, x, s->config_file, 0, 0, tw_arena_printf(a, "%s ", text), err);
    d = &c.list.items[spot.block];
    return edit(a, x, d->file, d->body, d->body, tw_arena_printf(a, " %s", text), err);
}

static int apply_fragment(struct tw_arena *a, const struct tw_access *x,
                          const struct tw_plan_step *step, struct tw_err *err)
{
    struct nginx_conf c;
    const struct nginx_directive *http;
    int r = service_write_in(x->root, step->path, step->value, err);

    if (r < 0)
        return r;
    nginx_conf_read(a, x->root, x->snapshot->config_file, &c);
    for (size_t i = 0; i < c.files.count; i++)
        if (tw_streq(c.files.items[i], step->path))
            return 0;
    http = nginx_child(&c, -1, "http");
    if (!http)
        return tw_fail(err, -EINVAL,
                       "the configuration has no http block that could include '%s'",
                       step->origin ? step->origin : step->path);
    return edit(a, x, http->file, http->to - 1, http->to - 1,
                tw_arena_printf(a, " include %s; ", step->path), err);
}

int nginx_apply(struct tw_arena *a, const struct tw_access *access,
                const struct tw_plan_step *step, struct tw_err *err)
{
    static int (*const appliers[TW_STEP_KIND_COUNT])(
        struct tw_arena *, const struct tw_access *, const struct tw_plan_step *,
        struct tw_err *) = {
        [TW_STEP_SETTING] = apply_setting,
        [TW_STEP_FILE] = service_apply_text,
        [TW_STEP_APPEND] = service_apply_text,
        [TW_STEP_FRAGMENT] = apply_fragment,
    };

    if (!appliers[step->kind])
        return tw_fail(err, -EINVAL, "a configuration change has no step of kind '%s'",
                       tw_step_kind_names[step->kind]);
    return appliers[step->kind](a, access, step, err);
}
