/* Settings and files of a change: named by section and keyword, checked by asking the program about
 * the one line, written where the line stands. */
#include "kind_haproxy_internal.h"

#include "tw/io.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ASK_NS (10 * TW_SEC_NS)

/* ---- names: "backend:app.timeout server" ---- */

/* Keywords that stand many times in a section: with the first word of their value they are one. */
static const char *const repeated[] = {
    "option",       "server",    "bind",  "acl",           "use_backend",
    "http-request", "stats",     "log",   "http-response", "tcp-request",
    "no",           "errorfile", "stick", "use-server",    "timeout"};

struct wanted {
    const char *section; /* "global" "backend:app"; NULL: any */
    TW_ARRAY(const char *) words;
    const char *keyword;
};

static bool is_of(struct tw_arena *a, const struct haproxy_conf *c, size_t index,
                  const char *section)
{
    const struct haproxy_line *l = &c->list.items[index];

    return l->section < 0 && (tw_streq(haproxy_section(a, c, (int)index), section) ||
                              tw_streq(haproxy_word(l, 0), section));
}

/* The longest label of a section that the name begins with: names have dots too. */
static const char *section_of(struct tw_arena *a, const struct haproxy_conf *c,
                              const char *name)
{
    const char *best = NULL;

    for (size_t i = 0; i < c->list.count; i++) {
        const char *labels[] = {haproxy_section(a, c, (int)i),
                                haproxy_word(&c->list.items[i], 0)};

        for (size_t k = 0; k < 2 && c->list.items[i].section < 0; k++) {
            size_t n = strlen(labels[k]);

            if (strncmp(name, labels[k], n) == 0 && name[n] == '.' &&
                (!best || strlen(best) < n))
                best = labels[k];
        }
    }
    return best;
}

static int split_name(struct tw_arena *a, const struct haproxy_conf *c, const char *name,
                      struct wanted *ret, struct tw_err *err)
{
    static const char *const kinds[] = {"global", "defaults", "frontend", "backend",
                                        "listen"};
    struct wanted w = {.section = section_of(a, c, name), .keyword = name};
    char *rest;

    for (size_t i = 0; i < TW_COUNT_OF(kinds) && !w.section; i++) {
        size_t n = strlen(kinds[i]);

        if (strncmp(name, kinds[i], n) == 0 && (name[n] == '.' || name[n] == ':'))
            return tw_fail(err, -EINVAL, "no section is '%.*s' in the configuration",
                           (int)strcspn(name, "."), name);
    }
    if (w.section)
        w.keyword = name + strlen(w.section) + 1;
    rest = tw_arena_strdup(a, w.keyword);
    for (char *word; (word = strsep(&rest, " "));)
        if (*word)
            TW_PUSH(a, &w.words, word);
    if (!w.words.count)
        return tw_fail(err, -EINVAL, "'%s' names no keyword", name);
    *ret = w;
    return 0;
}

static bool is_line(struct tw_arena *a, const struct haproxy_conf *c, size_t index,
                    const struct wanted *w)
{
    const struct haproxy_line *l = &c->list.items[index];

    if (l->section < 0 || l->words.count < w->words.count ||
        (w->section && !is_of(a, c, (size_t)l->section, w->section)))
        return false;
    for (size_t i = 0; i < w->words.count; i++)
        if (!tw_streq(l->words.items[i], w->words.items[i]))
            return false;
    return true;
}

static int ambiguous(struct tw_arena *a, const struct haproxy_conf *c,
                     const struct wanted *w, struct tw_err *err)
{
    const char *text = "";

    for (size_t i = 0; i < c->list.count; i++)
        if (is_line(a, c, i, w))
            text =
                tw_arena_printf(a, "%s%s'%s.%s' (%s line %d)", text, *text ? ", " : "",
                                haproxy_section(a, c, c->list.items[i].section),
                                w->keyword, c->list.items[i].file, c->list.items[i].line);
    return tw_fail(err, -EINVAL,
                   "'%s' stands in several places, say which: %s; or give the file",
                   w->keyword, text);
}

static int only_section(struct tw_arena *a, const struct haproxy_conf *c,
                        const struct wanted *w, int *ret, struct tw_err *err)
{
    int count = 0;

    if (!w->section)
        return tw_fail(err, -EINVAL,
                       "'%s' is not set anywhere; say in which section: 'global.%s', "
                       "'defaults.%s', 'backend:NAME.%s'",
                       w->keyword, w->keyword, w->keyword, w->keyword);
    for (size_t i = 0; i < c->list.count; i++)
        if (is_of(a, c, i, w->section)) {
            *ret = (int)i;
            count++;
        }
    return count == 1 ? 0
                      : tw_fail(err, -EINVAL,
                                "%d sections are '%s'; say which by its name: '%s:NAME'",
                                count, w->section, w->section);
}

int haproxy_find_spot(struct tw_arena *a, const struct haproxy_conf *c, const char *name,
                      struct haproxy_spot *ret, struct tw_err *err)
{
    struct haproxy_spot spot = {.line = -1, .section = -1};
    struct wanted w = {0};
    int count = 0, r = split_name(a, c, name, &w, err);

    if (r < 0)
        return r;
    spot.keyword = w.keyword;
    for (size_t i = 0; i < c->list.count; i++)
        if (is_line(a, c, i, &w)) {
            spot.line = (int)i;
            spot.section = c->list.items[i].section;
            count++;
        }
    if (count > 1)
        return ambiguous(a, c, &w, err);
    if (count == 0)
        r = only_section(a, c, &w, &spot.section, err);
    if (r == 0)
        *ret = spot;
    return r;
}

/* "option=forwardfor" is "option forwardfor=". */
static int find_with_value(struct tw_arena *a, const struct haproxy_conf *c,
                           const char *name, const char *value, struct haproxy_spot *ret,
                           const char **ret_text, struct tw_err *err)
{
    const char *section = section_of(a, c, name);
    const char *keyword = section ? name + strlen(section) + 1 : name;
    const char *first = value ? tw_arena_strndup(a, value, strcspn(value, " ")) : "";
    int r;

    if (value && *value && tw_name_index(keyword, repeated, TW_COUNT_OF(repeated)) >= 0) {
        name = tw_arena_printf(a, "%s %s", name, first);
        value += strlen(first);
        value += strspn(value, " ");
    }
    r = haproxy_find_spot(a, c, name, ret, err);
    if (r == 0)
        *ret_text =
            value ? tw_arena_printf(a, "%s%s%s", ret->keyword, *value ? " " : "", value)
                  : NULL;
    return r;
}

/* ---- the program asked about one line ---- */

static int ask(struct tw_arena *a, const char *program, const char *section,
               const char *line, const char **ret_text, struct tw_err *err)
{
    char *path = tw_arena_printf(a, "%s/twin-haproxy-XXXXXX", tw_child_tmp());
    int fd = mkstemp(path);
    const char *argv[] = {program, "-c", "-f", path, NULL};
    const char *text = tw_arena_printf(
        a, "%s%s\n %s\n", section,
        tw_streq(section, "global") || tw_streq(section, "defaults") ? "" : " x", line);
    int r;

    if (fd < 0)
        return tw_fail_errno(err, errno, "making a file in %s", tw_child_tmp());
    (void)close(fd);
    r = tw_write_file(path, text, strlen(text), 0600, err);
    if (r == 0)
        r = service_ask_program(a, argv, ASK_NS, ret_text, NULL, err);
    (void)unlink(path);
    return r;
}

/* What it says of our line, the second; what depends on the host or on other lines is left to the
 * twin. */
static const char *its_words(struct tw_arena *a, const char *text)
{
    static const char *const elsewhere[] = {"unable to",   "No such file", "resolve",
                                            "cannot find", "failed to",    "no such",
                                            "cannot open", "not found",    "can't open"};
    const char *at = strstr(text, "[ALERT]"), *end;

    for (; at; at = strstr(at + 1, "[ALERT]")) {
        const char *place = strstr(at, ":2]");
        bool other = false;

        end = at + strcspn(at, "\n");
        if (!place || place > end)
            continue;
        place += strlen(":2]");
        place += strspn(place, " :");
        place = tw_arena_strndup(a, place, (size_t)(end - place));
        for (size_t i = 0; i < TW_COUNT_OF(elsewhere); i++)
            other |= strstr(place, elsewhere[i]) != NULL;
        if (!other)
            return place;
    }
    return NULL;
}

/* ---- validate, plan ---- */

/* A keyword that neither of the general sections knows is a slip of the pen, and haproxy says what
 * may have been meant. */
static const char *unknown_words(struct tw_arena *a, const char *program,
                                 const struct tw_setting_change *change)
{
    static const char *const sections[] = {"defaults", "global"};
    const char *words = NULL, *text;

    for (size_t i = 0; i < TW_COUNT_OF(sections); i++) {
        const char *line =
            tw_arena_printf(a, "%s %s", change->name, change->value ? change->value : "");
        const char *said = ask(a, program, sections[i], line, &text, NULL) < 0
                               ? NULL
                               : its_words(a, text);

        if (!said || !strstr(said, "unknown keyword"))
            return NULL;
        if (!words || strstr(said, "did you mean"))
            words = said;
    }
    return words;
}

static int check_setting(struct tw_arena *a, const struct haproxy_conf *c,
                         const struct tw_snapshot *s,
                         const struct tw_setting_change *change, struct tw_err *err)
{
    struct haproxy_spot spot;
    struct tw_err why = {0};
    const char *line, *text, *words;
    int r = find_with_value(a, c, change->name, change->value, &spot, &line, &why);

    if (r < 0) {
        words =
            section_of(a, c, change->name) ? NULL : unknown_words(a, s->program, change);
        return tw_fail_at(err, r, change->pointer, "%s", words ? words : why.text);
    }
    if (!line)
        return spot.line >= 0
                   ? 0
                   : tw_fail_at(err, -EINVAL, change->pointer,
                                "'%s' is not set: nothing to reset", change->name);
    if (strchr(line, '\n'))
        return tw_fail_at(err, -EINVAL, change->pointer,
                          "the value of '%s' has to be one line; for more give a file",
                          change->name);
    r = ask(a, s->program, haproxy_word(&c->list.items[spot.section], 0), line, &text,
            err);
    words = r == 0 ? its_words(a, text) : NULL;
    return words ? tw_fail_at(err, -EINVAL, change->pointer, "%s", words) : r;
}

int haproxy_validate(struct tw_arena *a, const struct tw_snapshot *s,
                     const struct tw_request *r, struct tw_issues *issues,
                     struct tw_err *err)
{
    struct haproxy_conf c;
    int rc = service_check_files(a, s, r, err);

    (void)issues;
    haproxy_conf_of(a, "", s, &c);
    for (size_t i = 0; i < r->settings.count && rc == 0; i++)
        if (!host_unit_is_setting(r->settings.items[i].name))
            rc = check_setting(a, &c, s, &r->settings.items[i], err);
    return rc;
}

int haproxy_plan(struct tw_arena *a, const struct tw_snapshot *s,
                 const struct tw_request *r, struct tw_plan *plan, struct tw_err *err)
{
    if (r->settings.count + r->files.count == 0)
        return tw_fail_at(
            err, -EINVAL, "/change",
            "nothing to change: give settings (--set NAME=VALUE) or a file");
    for (size_t i = 0; i < r->settings.count; i++) {
        const struct tw_setting_change *one = &r->settings.items[i];

        if (host_unit_is_setting(one->name))
            plan->needs_restart = true;
        TW_PUSH(a, &plan->steps,
                (struct tw_plan_step){.kind = TW_STEP_SETTING,
                                      .name = one->name,
                                      .value = one->value,
                                      .origin = one->pointer});
    }
    /* It has no include: a fragment is more sections at the end of its last file. */
    for (size_t i = 0; i < r->files.count; i++) {
        const struct tw_file_change *f = &r->files.items[i];
        struct haproxy_conf c;
        const char *path = f->path ? service_request_path(a, s, f->path) : NULL;

        haproxy_conf_of(a, "", s, &c);
        if (!path)
            path = c.files.count ? c.files.items[c.files.count - 1] : s->config_file;
        TW_PUSH(a, &plan->steps,
                (struct tw_plan_step){.kind = f->path && !f->append ? TW_STEP_FILE
                                                                    : TW_STEP_APPEND,
                                      .path = path,
                                      .value = f->content,
                                      .origin = f->origin});
    }
    return 0;
}

/* ---- apply ---- */

/* The end of the section's last line. */
static const struct haproxy_line *last_of(const struct haproxy_conf *c, int section)
{
    const struct haproxy_line *last = &c->list.items[section];

    for (size_t i = 0; i < c->list.count; i++)
        if (c->list.items[i].section == section &&
            tw_streq(c->list.items[i].file, last->file))
            last = &c->list.items[i];
    return last;
}

static int apply_setting(struct tw_arena *a, const struct tw_access *x,
                         const struct tw_plan_step *step, struct tw_err *err)
{
    const struct haproxy_line *l;
    tw_auto_free char *old = NULL;
    struct haproxy_conf c;
    struct haproxy_spot spot;
    const char *line;
    unsigned uid, gid;
    int r;

    if (host_unit_is_setting(step->name)) {
        r = host_owner(x, &uid, &gid, err);
        return r < 0 ? r
                     : host_unit_set(a, x->root, x->snapshot->unit, step->name,
                                     step->value, uid, gid, err);
    }
    haproxy_conf_of(a, x->root, x->snapshot, &c);
    r = find_with_value(a, &c, step->name, step->value, &spot, &line, err);
    if (r < 0)
        return r;
    l = spot.line >= 0 ? &c.list.items[spot.line] : last_of(&c, spot.section);
    r = service_read_in(x->root, l->file, 8 << 20, &old, err);
    if (r < 0)
        return r;
    return service_write_in(x->root, l->file,
                            spot.line >= 0
                                ? tw_arena_printf(a, "%.*s%s%s%s", (int)l->from, old,
                                                  line ? "    " : "", line ? line : "",
                                                  old + l->to)
                                : tw_arena_printf(a, "%.*s\n    %s%s", (int)l->to, old,
                                                  line ? line : "", old + l->to),
                            err);
}

int haproxy_apply(struct tw_arena *a, const struct tw_access *access,
                  const struct tw_plan_step *step, struct tw_err *err)
{
    static int (*const appliers[TW_STEP_KIND_COUNT])(
        struct tw_arena *, const struct tw_access *, const struct tw_plan_step *,
        struct tw_err *) = {
        [TW_STEP_SETTING] = apply_setting,
        [TW_STEP_FILE] = service_apply_text,
        [TW_STEP_APPEND] = service_apply_text,
    };

    if (!appliers[step->kind])
        return tw_fail(err, -EINVAL, "a configuration change has no step of kind '%s'",
                       tw_step_kind_names[step->kind]);
    return appliers[step->kind](a, access, step, err);
}
