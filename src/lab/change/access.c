/* A security change of a service: its access rules, its roles, its passwords and lists of users, its TLS. The
 * kind makes it as it makes any setting or file; what is tried of it is who comes in. */
#include "change_internal.h"

#include "tw/pg.h"
#include "tw/redact.h"

#include <fnmatch.h>
#include <string.h>

/* ---- settings that are about who comes in, and how it is encrypted ---- */

static const struct {
    const char *kind, *names; /* patterns, each with blanks around it */
} settings[] = {
    {"postgresql", " ssl ssl_* listen_addresses port password_encryption authentication_timeout krb_* gss_* "
                   "db_user_namespace row_security hba_file ident_file unix_socket_* scram_iterations "},
    {"redis", " requirepass masterauth masteruser user aclfile acl-* bind protected-mode port tls-* "
              "rename-command unixsocketperm enable-*-command* "},
    {"pgbouncer", " auth_* client_tls_* server_tls_* listen_addr listen_port admin_users stats_users "
                  "unix_socket_* users.* "},
    {"nginx", " *ssl_* *auth_* *allow *deny *satisfy *listen *server_tokens *autoindex *add_header "
              "*proxy_ssl* *valid_referers "},
    {"haproxy", " *bind* *ssl-* *tune.ssl* *acl* *http-request* *tcp-request* *user* *stats* *ca-base *crt-base "},
};

static bool fits(const char *patterns, const char *name)
{
    tw_auto_free char *copy = strdup(patterns);
    char *rest = copy;

    for (char *one; rest && (one = strsep(&rest, " "));)
        if (*one && fnmatch(one, name, 0) == 0)
            return true;
    return false;
}

static bool is_about_access(const char *kind, const char *name)
{
    for (size_t i = 0; i < TW_COUNT_OF(settings); i++)
        if (tw_streq(settings[i].kind, kind))
            return fits(settings[i].names, name);
    return false;
}

static bool is_access_file(const struct tw_snapshot *s, const char *path)
{
    static const char *const names[] = {"*.htpasswd", "*htpasswd", "*.acl", "*userlist.txt", "*users.txt",
                                        "*.crt",      "*.pem",     "*.key"};

    if (!path)
        return false;
    if (tw_streq(path, s->hba_file) || tw_streq(path, s->ident_file))
        return true;
    for (size_t i = 0; i < TW_COUNT_OF(names); i++)
        if (fnmatch(names[i], path, 0) == 0)
            return true;
    return false;
}

bool tw_change_is_access(const struct tw_snapshot *s, const struct tw_plan *plan)
{
    for (size_t i = 0; i < plan->steps.count; i++) {
        const struct tw_plan_step *step = &plan->steps.items[i];
        bool setting = step->kind == TW_STEP_SETTING, file = step->path && !setting;

        if (setting ? !is_about_access(s->type, step->name)
                    : file && !is_access_file(s, step->path))
            return false;
    }
    return true;
}

/* ---- actions, for a service that has rules ---- */

static const struct {
    const char *name;
    size_t offset;
} keys[] = {
#define KEY(member) {#member, offsetof(struct change_hba_action, member)}
    KEY(action),   KEY(rule), KEY(with),   KEY(before), KEY(position), KEY(line), KEY(type),
    KEY(database), KEY(user), KEY(source), KEY(method), KEY(options),
#undef KEY
};

struct actions {
    TW_ARRAY(struct change_hba_action) list;
};

static const char **key_at(struct change_hba_action *k, const char *name)
{
    for (size_t i = 0; i < TW_COUNT_OF(keys); i++)
        if (tw_streq(keys[i].name, name))
            return (const char **)(void *)((char *)k + keys[i].offset);
    return NULL;
}

static bool has_actions(const struct tw_request *r)
{
    for (size_t i = 0; i < r->settings.count; i++)
        if (tw_streq(r->settings.items[i].name, "action"))
            return true;
    return false;
}

static const char *object_of(struct tw_arena *a, const char *pointer)
{
    const char *slash = pointer ? strrchr(pointer, '/') : NULL;

    return slash ? tw_arena_strndup(a, pointer, (size_t)(slash - pointer)) : pointer;
}

/* The keys of an object belong together; on a command line a name that repeats begins the next. */
static void read_actions(struct tw_arena *a, const struct tw_request *r, struct actions *ret,
                         struct tw_request *rest)
{
    rest->settings = (__typeof__(rest->settings)){0};
    for (size_t i = 0; i < r->settings.count; i++) {
        const struct tw_setting_change *c = &r->settings.items[i];
        struct change_hba_action *last = ret->list.count ? &ret->list.items[ret->list.count - 1] : NULL;
        const char *object = object_of(a, c->pointer), **at;
        struct change_hba_action empty = {.pointer = object};

        if (!key_at(&empty, c->name)) {
            TW_PUSH(a, &rest->settings, *c);
            continue;
        }
        if (!last || !tw_streq(last->pointer, object) || *key_at(last, c->name)) {
            TW_PUSH(a, &ret->list, empty);
            last = &ret->list.items[ret->list.count - 1];
        }
        at = key_at(last, c->name);
        *at = c->value ? c->value : "";
    }
    /* the reader of requests knows this key by itself */
    for (size_t i = 0; i < ret->list.count; i++)
        if (!ret->list.items[i].database)
            ret->list.items[i].database = r->database;
}

static const char *hba_text(const struct tw_snapshot *s)
{
    for (size_t i = 0; i < s->files.count; i++)
        if (tw_streq(s->files.items[i].path, s->hba_file))
            return s->files.items[i].text;
    return NULL;
}

static int edit_rules(struct tw_arena *a, const struct tw_snapshot *s, const struct actions *actions,
                      struct tw_request *r, struct tw_issues *issues, struct tw_err *err)
{
    const char *text = s->hba_file ? hba_text(s) : NULL, *told;
    int rc = 0;

    if (!tw_streq(s->type, "postgresql"))
        return tw_fail_at(err, -EINVAL, actions->list.items[0].pointer,
                          "target '%s' is of type '%s', whose access rules are settings and files; actions "
                          "are for rule sets and for pg_hba.conf",
                          s->target, s->type);
    if (!text)
        return tw_fail(err, -EINVAL, "the access rules of '%s' were not read; give the whole file: "
                                     "--file pg_hba.conf=NEW",
                       s->target);
    if (strstr(text, TW_REDACTED))
        return tw_fail(err, -EINVAL, "'%s' has secrets in it, which a snapshot does not keep; give the whole "
                                     "file: --file pg_hba.conf=NEW",
                       s->hba_file);
    for (size_t i = 0; i < actions->list.count && rc == 0; i++) {
        rc = actions->list.items[i].action
                 ? change_hba_edit(a, text, &actions->list.items[i], &text, &told, err)
                 : tw_fail_at(err, -EINVAL, actions->list.items[i].pointer,
                              "what is to be done? expected \"action\": add_rule, remove_rule, replace_rule "
                              "or move_rule");
        if (rc == 0 && issues)
            (void)tw_issue_add(a, issues, TW_INFO, TW_PROCEED, "access.rule",
                               "the access rule as it is made, and its place", told, NULL);
    }
    if (rc == 0)
        TW_PUSH(a, &r->files,
                (struct tw_file_change){.path = s->hba_file, .content = text, .origin = "pg_hba.conf.new"});
    return rc;
}

/* ---- roles and their rights ---- */

static int check_sql(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                     struct tw_plan *plan, struct tw_err *err)
{
    static const char *const about[] = {
        "CreateRoleStmt", "AlterRoleStmt",   "AlterRoleSetStmt", "DropRoleStmt",          "GrantStmt",
        "GrantRoleStmt",  "AlterOwnerStmt",  "CreatePolicyStmt", "AlterPolicyStmt",       "ReassignOwnedStmt",
        "DropOwnedStmt",  "AlterDatabaseSetStmt", "AlterDefaultPrivilegesStmt"};

    if (!r->sql.count)
        return 0;
    if (!tw_streq(s->type, "postgresql") || r->settings.count || r->files.count)
        return tw_fail_at(err, -EINVAL, "/change/sql",
                          "statements about roles are for PostgreSQL and a request of their own, beside no "
                          "settings and files");
    for (size_t i = 0; i < r->sql.count; i++) {
        const char *pointer = tw_arena_printf(a, "/change/sql/%zu", i);
        struct tw_pg_script script;
        struct tw_err why = {0};
        int rc = tw_pg_split(a, r->sql.items[i], &script, &why);

        if (rc < 0)
            return tw_fail_at(err, rc, pointer, "%s", why.text);
        for (size_t k = 0; k < script.list.count; k++) {
            const struct tw_pg_statement *one = &script.list.items[k];

            if (tw_name_index(one->node, about, TW_COUNT_OF(about)) < 0)
                return tw_fail_at(err, -EINVAL, pointer,
                                  "'%.60s' is not about roles and rights: that is a schema_change", one->text);
            if (plan)
                TW_PUSH(a, &plan->steps,
                        (struct tw_plan_step){.kind = TW_STEP_SQL,
                                              .value = one->text,
                                              .origin = tw_arena_printf(a, "%s line %d", pointer, one->line)});
        }
    }
    return 0;
}

/* ---- the two callbacks ---- */

static int check_names(const struct tw_snapshot *s, const struct tw_request *r, struct tw_err *err)
{
    for (size_t i = 0; i < r->settings.count; i++)
        if (!is_about_access(s->type, r->settings.items[i].name))
            return tw_fail_at(err, -EINVAL, r->settings.items[i].pointer,
                              "'%s' of %s is not about who comes in or how it is encrypted: that is a "
                              "config_change",
                              r->settings.items[i].name, s->type);
    return 0;
}

/* As the kind knows it: actions have become a file. */
static int as_kind(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                   struct tw_issues *issues, struct tw_request *ret, const struct tw_service_kind **ret_kind,
                   struct tw_err *err)
{
    struct actions actions = {0};
    int rc = 0;

    *ret_kind = tw_service_kind_find(s->type, NULL);
    *ret = *r;
    ret->files = (__typeof__(ret->files)){0};
    for (size_t i = 0; i < r->files.count; i++)
        TW_PUSH(a, &ret->files, r->files.items[i]);
    if (!*ret_kind)
        return tw_fail_at(err, -EINVAL, "/target", "target '%s' is of type '%s', which has no access rules",
                          s->target, s->type);
    if (!r->settings.count && !r->files.count && !r->sql.count)
        return tw_fail_at(err, -EINVAL, "/change",
                          "nothing changes; expected a rule, settings, a file or statements about roles");
    if (has_actions(r)) {
        read_actions(a, r, &actions, ret);
        rc = edit_rules(a, s, &actions, ret, issues, err);
    }
    return rc < 0 ? rc : check_names(s, ret, err);
}

int change_access_validate(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                           struct tw_issues *issues, struct tw_err *err)
{
    const struct tw_service_kind *kind;
    struct tw_request own;
    int rc = as_kind(a, s, r, issues, &own, &kind, err);

    if (rc == 0)
        rc = check_sql(a, s, &own, NULL, err);
    if (rc == 0 && own.settings.count + own.files.count)
        rc = kind->validate(a, s, &own, issues, err);
    return rc;
}

int change_access_plan(struct tw_arena *a, const struct tw_snapshot *s, const struct tw_request *r,
                       struct tw_plan *ret, struct tw_err *err)
{
    const struct tw_service_kind *kind;
    struct tw_request own;
    int rc = as_kind(a, s, r, NULL, &own, &kind, err);

    if (rc == 0 && own.settings.count + own.files.count)
        rc = kind->plan(a, s, &own, ret, err);
    ret->database = r->database;
    return rc < 0 ? rc : check_sql(a, s, &own, ret, err);
}
