/* security: rules of a packet filter added, removed, replaced or moved, or a whole rule-set file; of a service
 * its access rules, roles and TLS (access.c). */
#include "change_internal.h"

#include <string.h>

#define FILTER "firewall"

/* ---- the keys of one change, those of each action ---- */

static const char *const keys[] = {"action",  "port",   "source",  "protocol",
                                   "verdict", "chain",  "handle",  "rule",
                                   "with",    "before", "position"};
static const struct action {
    const char *name, *takes, *needs; /* needs: any one of them; NULL: nothing */
} actions[] = {
    {"add_rule", " port source protocol verdict chain rule position ", NULL},
    {"remove_rule", " port source protocol verdict chain rule handle ",
     " port source protocol rule handle "},
    {"replace_rule", " chain rule handle with ", " rule handle "},
    {"move_rule", " chain rule handle before position ", " rule handle "},
};

static const struct action *action_find(const char *name)
{
    for (size_t i = 0; i < TW_COUNT_OF(actions); i++)
        if (tw_streq(actions[i].name, name))
            return &actions[i];
    return NULL;
}

static bool listed(const char *words, const char *word)
{
    tw_auto_free char *padded = tw_strf(" %s ", word);

    return strstr(words, padded) != NULL;
}

/* One change is what stands in one object; on a command line a name that repeats begins the next. */
struct one {
    const struct tw_setting_change *of[TW_COUNT_OF(keys)];
    size_t object; /* length of the pointer to its object */
    const char *pointer;
};
struct ones {
    TW_ARRAY(struct one) list;
};

static size_t object_len(const char *pointer)
{
    const char *slash = pointer ? strrchr(pointer, '/') : NULL;

    return slash ? (size_t)(slash - pointer) : 0;
}

static bool same_object(const struct one *o, const char *pointer)
{
    return o->object == object_len(pointer) &&
           (!o->object || strncmp(o->pointer, pointer, o->object) == 0);
}

static int take(struct tw_arena *a, struct ones *all, const struct tw_setting_change *c,
                struct tw_err *err)
{
    int k = tw_name_index(c->name, keys, TW_COUNT_OF(keys));
    const char *near = k < 0 ? tw_nearest(c->name, keys, TW_COUNT_OF(keys)) : NULL;
    struct one *last = all->list.count ? &all->list.items[all->list.count - 1] : NULL;

    if (k < 0)
        return tw_fail_at(
            err, -EINVAL, c->pointer,
            "a rule has no '%s'%s%s%s (expected action, port, source, protocol, "
            "verdict, chain, handle, rule, with, before or position)",
            c->name, near ? "; did you mean '" : "", near ? near : "", near ? "'" : "");
    if (!last || !same_object(last, c->pointer) || last->of[k]) {
        TW_PUSH(a, &all->list,
                (struct one){.object = object_len(c->pointer), .pointer = c->pointer});
        last = &all->list.items[all->list.count - 1];
    }
    last->of[k] = c;
    return 0;
}

/* ---- values ---- */

static int check_number(const struct tw_setting_change *c, int64_t least, int64_t most,
                        struct tw_err *err)
{
    int64_t n;

    if (c &&
        (tw_parse_int64(c->value ? c->value : "", &n, NULL) < 0 || n < least || n > most))
        return tw_fail_at(err, -EINVAL, c->pointer, "%s '%s': expected %lld to %lld",
                          c->name, c->value ? c->value : "null", (long long)least,
                          (long long)most);
    return 0;
}

static int check_word(const struct tw_setting_change *c, const char *const *words,
                      size_t n, const char *expected, struct tw_err *err)
{
    if (c && tw_name_index(c->value ? c->value : "", words, n) < 0)
        return tw_fail_at(err, -EINVAL, c->pointer, "%s '%s': expected %s", c->name,
                          c->value ? c->value : "null", expected);
    return 0;
}

/* A rule is one statement: nothing that ends it, opens a block or reads a file. */
static int check_rule(const struct tw_setting_change *c, struct tw_err *err)
{
    if (!c)
        return 0;
    if (!c->value || !*c->value)
        return tw_fail_at(err, -EINVAL, c->pointer,
                          "%s is empty: expected a rule as the tool lists it", c->name);
    if (strpbrk(c->value, ";\n\\#`") || strstr(c->value, "include"))
        return tw_fail_at(
            err, -EINVAL, c->pointer,
            "%s '%.80s': expected one rule, without ';', comments, 'include' or "
            "line ends",
            c->name, c->value);
    return 0;
}

static int check_name(const struct tw_setting_change *c, struct tw_err *err)
{
    static const char fine[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./ ";

    if (c && (!c->value || !*c->value || c->value[strspn(c->value, fine)]))
        return tw_fail_at(err, -EINVAL, c->pointer,
                          "chain '%s': expected its name, or family, table and name",
                          c->value ? c->value : "null");
    return 0;
}

static int check_source(const struct tw_setting_change *c, struct tw_err *err)
{
    static const char fine[] = "0123456789abcdefABCDEF.:/-";

    if (c && (!c->value || !*c->value || c->value[strspn(c->value, fine)]))
        return tw_fail_at(
            err, -EINVAL, c->pointer,
            "source '%s': expected an address, a prefix or a range, say 10.0.0.0/8",
            c->value ? c->value : "null");
    return 0;
}

enum key {
    ACTION,
    PORT,
    SOURCE,
    PROTOCOL,
    VERDICT,
    CHAIN,
    HANDLE,
    RULE,
    WITH,
    BEFORE,
    POSITION
};

static int check_values(const struct one *o, struct tw_err *err)
{
    static const char *const verdicts[] = {"accept", "drop", "reject"},
                             *const protocols[] = {"tcp",     "udp",  "sctp",   "dccp",
                                                   "udplite", "icmp", "icmpv6", "gre",
                                                   "esp",     "ah"};
    int r = check_number(o->of[PORT], 0, 65535, err);

    r = r < 0 ? r : check_number(o->of[HANDLE], 1, INT64_C(1) << 40, err);
    r = r < 0 ? r : check_number(o->of[POSITION], 1, 1000000, err);
    r = r < 0 ? r
              : check_word(o->of[VERDICT], verdicts, TW_COUNT_OF(verdicts),
                           "accept, drop or reject", err);
    r = r < 0 ? r
              : check_word(o->of[PROTOCOL], protocols, TW_COUNT_OF(protocols),
                           "tcp, udp, icmp, icmpv6, sctp, dccp, udplite, gre, esp or ah",
                           err);
    r = r < 0 ? r : check_source(o->of[SOURCE], err);
    r = r < 0 ? r : check_name(o->of[CHAIN], err);
    r = r < 0 ? r : check_rule(o->of[RULE], err);
    r = r < 0 ? r : check_rule(o->of[WITH], err);
    return r < 0 ? r : check_rule(o->of[BEFORE], err);
}

static bool has_any(const struct one *o, const char *words)
{
    for (size_t k = 0; k < TW_COUNT_OF(keys); k++)
        if (o->of[k] && listed(words, keys[k]))
            return true;
    return false;
}

static const char *parent(struct tw_arena *a, const struct one *o)
{
    return o->object ? tw_arena_strndup(a, o->pointer, o->object) : o->pointer;
}

static int check_one(struct tw_arena *a, const struct one *o, struct tw_err *err)
{
    const char *names[TW_COUNT_OF(actions)], *near, *word;
    const struct action *action;

    if (!o->of[ACTION])
        return tw_fail_at(
            err, -EINVAL, parent(a, o),
            "what is to be done? expected \"action\": add_rule, remove_rule, "
            "replace_rule or move_rule");
    word = o->of[ACTION]->value ? o->of[ACTION]->value : "null";
    action = action_find(word);
    for (size_t i = 0; i < TW_COUNT_OF(actions); i++)
        names[i] = actions[i].name;
    near = tw_nearest(word, names, TW_COUNT_OF(names));
    if (!action)
        return tw_fail_at(err, -EINVAL, o->of[ACTION]->pointer,
                          "action '%s': expected add_rule, remove_rule, replace_rule or "
                          "move_rule%s%s%s",
                          word, near ? "; did you mean '" : "", near ? near : "",
                          near ? "'?" : "");
    for (size_t k = 1; k < TW_COUNT_OF(keys); k++)
        if (o->of[k] && !listed(action->takes, keys[k]))
            return tw_fail_at(err, -EINVAL, o->of[k]->pointer,
                              "%s takes no '%s'; it takes%s", action->name, keys[k],
                              action->takes);
    if (action->needs && !has_any(o, action->needs))
        return tw_fail_at(err, -EINVAL, parent(a, o),
                          "%s needs to know which rule: give one of%s", action->name,
                          action->needs);
    if (tw_streq(action->name, "replace_rule") && !o->of[WITH])
        return tw_fail_at(err, -EINVAL, parent(a, o),
                          "replace_rule needs the new rule as 'with'");
    if (tw_streq(action->name, "move_rule") && !o->of[BEFORE] && !o->of[POSITION])
        return tw_fail_at(
            err, -EINVAL, parent(a, o),
            "move_rule needs a place: 'before' (a rule) or 'position' (1 is first)");
    return check_values(o, err);
}

/* ---- files ---- */

static const struct tw_file *file_of(const struct tw_snapshot *s, const char *path)
{
    for (size_t i = 0; i < s->files.count; i++)
        if (!path || tw_streq(s->files.items[i].path, path))
            return &s->files.items[i];
    return NULL;
}

/* Each include of a new rule set has to be one of today's: it would be read with our rights. */
static int check_includes(struct tw_arena *a, const struct tw_snapshot *s,
                          const struct tw_file_change *f, struct tw_err *err)
{
    const struct tw_file *today = file_of(s, f->path);
    const char *at = f->content;

    while ((at = strstr(at, "include"))) {
        const char *line = at;

        while (line > f->content && (line[-1] == ' ' || line[-1] == '\t'))
            line--;
        if (line == f->content || strchr("\n;{", line[-1])) {
            const char *text = tw_arena_strndup(a, at, strcspn(at, "\n;"));

            if (!today || !strstr(today->text, text))
                return tw_fail_at(
                    err, -EINVAL, "/files",
                    "'%s': a new rule set may only include what today's does; put "
                    "the included rules in its place",
                    text);
        }
        at += strlen("include");
    }
    return 0;
}

static int check_files(struct tw_arena *a, const struct tw_snapshot *s,
                       const struct tw_request *r, struct tw_err *err)
{
    int code = 0;

    for (size_t i = 0; i < r->files.count && code == 0; i++) {
        const struct tw_file_change *f = &r->files.items[i];

        if (f->path && !file_of(s, f->path))
            return tw_fail_at(err, -EINVAL, "/files",
                              "'%s' is no file of target '%s'; it has '%s'", f->path,
                              s->target, s->files.items[0].path);
        if (f->append && !f->path)
            return tw_fail_at(err, -EINVAL, "/files", "what is appended needs a path");
        code = check_includes(a, s, f, err);
    }
    return code;
}

/* ---- the two callbacks ---- */

static int read_all(struct tw_arena *a, const struct tw_snapshot *s,
                    const struct tw_request *r, struct ones *ret, struct tw_err *err)
{
    int code = 0;

    *ret = (struct ones){0};
    if (!r->settings.count && !r->files.count)
        return tw_fail_at(err, -EINVAL, "/change",
                          "nothing changes; expected a rule, {\"action\": \"add_rule\", "
                          "\"port\": 443}, or a rule-set file (--file F)");
    if (r->sql.count)
        return tw_fail_at(err, -EINVAL, "/change/sql", "a rule set takes no SQL");
    for (size_t i = 0; i < r->settings.count && code == 0; i++)
        code = take(a, ret, &r->settings.items[i], err);
    for (size_t i = 0; i < ret->list.count && code == 0; i++)
        code = check_one(a, &ret->list.items[i], err);
    return code < 0 ? code : check_files(a, s, r, err);
}

static int validate(struct tw_arena *a, const struct tw_snapshot *s,
                    const struct tw_request *r, struct tw_issues *issues,
                    struct tw_err *err)
{
    struct ones all;

    if (!tw_streq(s->type, FILTER))
        return change_access_validate(a, s, r, issues, err);
    return read_all(a, s, r, &all, err);
}

static const char *as_json(struct tw_arena *a, const struct one *o)
{
    json_auto_t *json = json_object();
    tw_auto_free char *text = NULL;

    for (size_t k = 1; k < TW_COUNT_OF(keys); k++)
        if (o->of[k])
            (void)json_object_set_new(json, keys[k], json_string(o->of[k]->value));
    text = tw_json_dump(json, JSON_COMPACT);
    return tw_arena_strdup(a, text);
}

static int plan(struct tw_arena *a, const struct tw_snapshot *s,
                const struct tw_request *r, struct tw_plan *ret, struct tw_err *err)
{
    struct ones all;
    int code;

    if (!tw_streq(s->type, FILTER))
        return change_access_plan(a, s, r, ret, err);
    code = read_all(a, s, r, &all, err);
    if (code < 0)
        return code;
    for (size_t i = 0; i < r->files.count; i++) {
        const struct tw_file_change *f = &r->files.items[i];

        TW_PUSH(a, &ret->steps,
                (struct tw_plan_step){.kind = f->append ? TW_STEP_APPEND : TW_STEP_FILE,
                                      .path = f->path ? f->path : file_of(s, NULL)->path,
                                      .value = f->content,
                                      .origin = f->origin});
    }
    for (size_t i = 0; i < all.list.count; i++)
        TW_PUSH(a, &ret->steps,
                (struct tw_plan_step){.kind = TW_STEP_RULE,
                                      .name = all.list.items[i].of[ACTION]->value,
                                      .value = as_json(a, &all.list.items[i]),
                                      .origin = parent(a, &all.list.items[i])});
    return 0;
}

extern const struct tw_change_type change_type_security;
const struct tw_change_type change_type_security = {
    .name = "security",
    .summary =
        "rules of a packet filter; access rules, roles and TLS of a service",
    .rules = true,
    .validate = validate,
    .plan = plan,
};
