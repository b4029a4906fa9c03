/* Roles are rows: what each may. Everything else is denied. */
#include "tw/gate.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const tw_gate_role_names[TW_GATE_ROLE_COUNT] = {"viewer", "operator",
                                                            "approver", "admin"};
const char *const tw_permission_names[TW_PERMISSION_COUNT] = {
    "read", "simulate", "sync", "approve", "audit", "administer"};

#define MAY(p) (1u << TW_MAY_##p)
static const unsigned allowed[TW_GATE_ROLE_COUNT] = {
    [TW_VIEWER] = MAY(READ),
    [TW_OPERATOR] = MAY(READ) | MAY(SIMULATE) | MAY(SYNC),
    [TW_APPROVER] = MAY(READ) | MAY(APPROVE) | MAY(AUDIT),
    [TW_ADMIN] = MAY(READ) | MAY(SIMULATE) | MAY(SYNC) | MAY(APPROVE) | MAY(AUDIT) |
                 MAY(ADMINISTER),
};

bool tw_gate_role_allows(enum tw_gate_role role, enum tw_permission permission)
{
    return allowed[role] & (1u << permission);
}

/* "a,b" has the word; NULL has every one. */
static bool listed(const char *list, const char *word)
{
    size_t len = word ? strlen(word) : 0;

    if (!list || !word)
        return true;
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");

        if (n == len && strncmp(at, word, n) == 0)
            return true;
        at += n + (at[n] == ',');
    }
    return false;
}

static int fail_role(const struct tw_actor *a, enum tw_permission permission,
                     struct tw_err *err)
{
    tw_auto_buf able = {0};

    tw_buf_init(&able, 256);
    for (int role = 0; role < TW_GATE_ROLE_COUNT; role++)
        if (tw_gate_role_allows((enum tw_gate_role)role, permission))
            tw_buf_printf(&able, "%s'%s'", able.len ? " or " : "",
                          tw_gate_role_names[role]);
    return tw_fail(err, -EACCES, "'%s' may not %s: this needs the role %s", a->person,
                   tw_permission_names[permission], tw_buf_text(&able));
}

int tw_gate_check(const struct tw_actor *a, enum tw_permission permission,
                  const char *environment, const char *type, struct tw_err *err)
{
    bool able = false;

    for (int role = 0; role < TW_GATE_ROLE_COUNT; role++)
        able |= (a->roles & (1u << role)) &&
                tw_gate_role_allows((enum tw_gate_role)role, permission);
    if (!able)
        return fail_role(a, permission, err);
    if (!listed(a->environments, environment))
        return tw_fail(
            err, -EACCES,
            "'%s' has a token for the environments '%s', which '%s' is not among",
            a->person, a->environments, environment);
    if (!listed(a->types, type))
        return tw_fail(
            err, -EACCES,
            "'%s' has a token for changes of the types '%s', which '%s' is not among",
            a->person, a->types, type);
    if (permission == TW_MAY_APPROVE && a->automaton)
        return tw_fail(err, -EACCES,
                       "'%s' is an automaton: approvals are given by people", a->person);
    return 0;
}

int tw_gate_roles_parse(const char *text, unsigned *ret_roles, struct tw_err *err)
{
    unsigned roles = 0;

    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ",");
        tw_auto_free char *word = strndup(at, n);
        int i = tw_name_index(word, tw_gate_role_names, TW_GATE_ROLE_COUNT);

        if (i < 0)
            return tw_fail(err, -EINVAL,
                           "role '%s': expected viewer, operator, approver or admin",
                           word);
        roles |= 1u << i;
        at += n + (at[n] == ',');
    }
    if (!roles)
        return tw_fail(err, -EINVAL,
                       "a token needs a role: viewer, operator, approver or admin");
    *ret_roles = roles;
    return 0;
}

char *tw_gate_roles_text(struct tw_arena *a, unsigned roles)
{
    char *text = tw_arena_strdup(a, "");

    for (int role = 0; role < TW_GATE_ROLE_COUNT; role++)
        if (roles & (1u << role))
            text = tw_arena_printf(a, "%s%s%s", text, *text ? "," : "",
                                   tw_gate_role_names[role]);
    return text;
}

struct tw_actor tw_gate_local_actor(struct tw_arena *a)
{
    const char *sudo = geteuid() == 0 ? getenv("SUDO_USER") : NULL;
    const struct passwd *pw = getpwuid(getuid());

    return (struct tw_actor){.person =
                                 sudo && *sudo ? tw_arena_strdup(a, sudo)
                                 : pw          ? tw_arena_strdup(a, pw->pw_name)
                                      : tw_arena_printf(a, "uid-%u", (unsigned)getuid()),
                             .roles = (1u << TW_GATE_ROLE_COUNT) - 1,
                             .source = "command line"};
}
