/* The keys of twin.yaml, one row each. */
#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_BYTES ((size_t)1 << 20)

enum kind { TEXT, NUMBER, WHOLE };
static const struct row {
    const char *path; /* JSON Pointer in the file; TWIN_SECTION_KEY in the environment */
    enum kind kind;
    size_t offset;
    double least, most, otherwise;
    const char *text; /* default of a text */
} rows[] = {
#define AT(member) offsetof(struct cmd_config, member)
    {"/simulation/default_duration_hours", NUMBER, AT(api.default_hours), 0.01, 720, 24,
     NULL},
    {"/simulation/max_parallel_simulations", WHOLE, AT(api.max_parallel), 1, 256, 10,
     NULL},
    {"/simulation/timeout_minutes", NUMBER, AT(api.timeout_minutes), 0.01, 1440, 30,
     NULL},
    {"/environment/sync_interval_minutes", NUMBER, AT(api.sync_minutes), 0, 10080, 15,
     NULL},
    {"/environment/metrics_interval_seconds", NUMBER, AT(api.metrics_s), 1, 3600, 60,
     NULL},
    {"/environment/metrics_retention_days", NUMBER, AT(api.retention_days), 1, 3660, 30,
     NULL},
    {"/prediction/confidence_threshold", NUMBER, AT(confidence_threshold), 0, 1, 0.85,
     NULL},
    {"/prediction/failure_detection_sensitivity", NUMBER, AT(failure_sensitivity), 0, 1,
     0.7, NULL},
    {"/performance/acceleration_factor", NUMBER, AT(acceleration_factor), 1, 1e9, 10000,
     NULL},
    {"/performance/max_memory_gb", NUMBER, AT(max_memory_gb), 0.1, 65536, 16, NULL},
    {"/performance/cpu_cores", NUMBER, AT(cpu_cores), 0.1, 4096, 8, NULL},
    {"/performance/warm_minutes", NUMBER, AT(api.warm_minutes), 0, 1440, 10, NULL},
    {"/server/listen", TEXT, AT(api.listen), 0, 0, 0, "127.0.0.1:8090"},
    {"/server/tls_cert", TEXT, AT(api.cert_file), 0, 0, 0, NULL},
    {"/server/tls_key", TEXT, AT(api.key_file), 0, 0, 0, NULL},
    {"/server/anonymous", TEXT, AT(api.anonymous), 0, 0, 0, "operator"},
    {"/server/default_environment", TEXT, AT(api.default_environment), 0, 0, 0, NULL},
    {"/server/user", TEXT, AT(user), 0, 0, 0, NULL},
    {"/sandbox/helper_socket", TEXT, AT(helper_socket), 0, 0, 0, NULL},
    {"/store/audit_key", TEXT, AT(api.audit_key), 0, 0, 0, NULL},
    {"/policy/file", TEXT, AT(api.policy_path), 0, 0, 0, NULL},
    {"/approval/expires_hours", NUMBER, AT(api.approval_hours), 0.01, 8760, 72, NULL},
};
/* Sections and lists beside the rows. */
static const char *const containers[] = {"",
                                         "/simulation",
                                         "/environment",
                                         "/prediction",
                                         "/performance",
                                         "/server",
                                         "/server/names",
                                         "/server/plain_networks",
                                         "/sandbox",
                                         "/store",
                                         "/policy",
                                         "/approval",
                                         "/alerts",
                                         "/alerts/allow",
                                         "/alerts/webhooks",
                                         "/environments"};
static const char *const hook_keys[] = {"name",   "url",         "form",
                                        "secret", "secret_file", "kinds"};

struct reading {
    struct tw_arena *a;
    struct cmd_config *c;
    const struct tw_yaml *yaml;
    const char *origin;
    struct tw_err *err;
};
typedef const struct tw_yaml_entry entry_t;

static int fail_at(const struct reading *rd, entry_t *e, const char *text)
{
    return tw_fail(rd->err, -EINVAL, "%s, line %d, column %d: %s", rd->origin, e->line,
                   e->column, text);
}

static int unknown_key(const struct reading *rd, entry_t *e)
{
    const char *names[TW_COUNT_OF(rows) + TW_COUNT_OF(containers)];
    tw_auto_free char *text = NULL;
    const char *near;
    size_t n = 0;

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        names[n++] = rows[i].path;
    for (size_t i = 0; i < TW_COUNT_OF(containers); i++)
        names[n++] = containers[i];
    near = tw_nearest(e->pointer, names, n);
    text =
        tw_strf("unknown key '%s'%s%s%s", e->pointer + 1, near ? "; did you mean '" : "",
                near ? near + 1 : "", near ? "'?" : "");
    return fail_at(rd, e, text);
}

/* ---- plain values ---- */

static int set_row(const struct row *row, struct tw_arena *a, const char *value,
                   void *base, struct tw_err *err)
{
    void *field = (char *)base + row->offset;
    double number;

    if (row->kind == TEXT) {
        *(const char **)field = tw_arena_strdup(a, value);
        return 0;
    }
    if (tw_parse_double(value, &number, NULL) < 0 || !(number >= row->least) ||
        !(number <= row->most) || (row->kind == WHOLE && number != (double)(int)number))
        return tw_fail(err, -EINVAL, "%s '%s': expected %s, %g to %g", row->path + 1,
                       value, row->kind == WHOLE ? "a whole number" : "a number",
                       row->least, row->most);
    if (row->kind == WHOLE)
        *(int *)field = (int)number;
    else
        *(double *)field = number;
    return 0;
}

static void set_defaults(struct cmd_config *c)
{
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        void *field = (char *)c + rows[i].offset;

        if (rows[i].kind == TEXT)
            *(const char **)field = rows[i].text;
        else if (rows[i].kind == WHOLE)
            *(int *)field = (int)rows[i].otherwise;
        else
            *(double *)field = rows[i].otherwise;
    }
}

/* ---- lists ---- */

/* "/alerts/webhooks/0/url" below "/alerts/webhooks" is element 0, key "url". NULL: not below. */
static const char *element_of(const char *pointer, const char *list, long *ret_index)
{
    size_t n = strlen(list);
    char *end;

    if (strncmp(pointer, list, n) != 0 || pointer[n] != '/')
        return NULL;
    *ret_index = strtol(pointer + n + 1, &end, 10);
    return *end == '/' ? end + 1 : "";
}

static int add_network(const struct reading *rd, entry_t *e, struct tw_net *ret)
{
    struct tw_err why;

    if (tw_net_parse(e->value, ret->address, &ret->bits, &why) < 0)
        return fail_at(rd, e, why.text);
    return 0;
}

static int read_secret(const struct reading *rd, entry_t *e, struct tw_hook *h)
{
    tw_auto_free char *text = NULL;
    struct tw_err why;

    if (tw_read_file(AT_FDCWD, e->value, 4096, &text, NULL, &why) < 0)
        return fail_at(rd, e, why.text);
    h->secret = tw_arena_strndup(rd->a, text, strcspn(text, "\r\n"));
    return 0;
}

static int read_hook(const struct reading *rd, entry_t *e, long index, const char *key)
{
    struct tw_hooks *hooks = &rd->c->api.hooks;
    struct tw_hook *h;
    int form;

    while ((long)hooks->list.count <= index)
        TW_PUSH(rd->a, &hooks->list, (struct tw_hook){0});
    h = &hooks->list.items[index];
    switch (tw_name_index(key, hook_keys, TW_COUNT_OF(hook_keys))) {
    case 0:
        h->name = e->value;
        return 0;
    case 1:
        h->url = e->value;
        return 0;
    case 2:
        form = tw_name_index(e->value, tw_hook_form_names, TW_HOOK_COUNT);
        h->form = (enum tw_hook_form)form;
        return form < 0
                   ? fail_at(rd, e, "expected plain, slack, alertmanager or pagerduty")
                   : 0;
    case 3:
        h->secret = e->value;
        return 0;
    case 4:
        return read_secret(rd, e, h);
    case 5:
        h->kinds = e->value;
        return 0;
    default:
        return unknown_key(rd, e);
    }
}

static int read_list(const struct reading *rd, entry_t *e, bool *ret_known)
{
    struct tw_api_options *o = &rd->c->api;
    struct tw_net net;
    const char *key;
    long index;
    int r;

    *ret_known = true;
    key = element_of(e->pointer, "/alerts/webhooks", &index);
    if (key)
        return *key ? read_hook(rd, e, index, key) : 0;
    if (element_of(e->pointer, "/server/names", &index)) {
        TW_PUSH(rd->a, &o->names, e->value);
        return 0;
    }
    if (element_of(e->pointer, "/server/plain_networks", &index)) {
        r = add_network(rd, e, &net);
        if (r == 0)
            TW_PUSH(rd->a, &o->plain_networks, net);
        return r;
    }
    if (element_of(e->pointer, "/alerts/allow", &index)) {
        r = add_network(rd, e, &net);
        if (r == 0)
            TW_PUSH(rd->a, &o->hooks.allow, net);
        return r;
    }
    *ret_known = element_of(e->pointer, "/environments", &index) != NULL;
    return 0;
}

/* ---- environments: services become targets ---- */

static const struct {
    const char *key;
    size_t offset;
} target_texts[] = {
    {"name", offsetof(struct tw_target, name)},
    {"type", offsetof(struct tw_target, type)},
    {"data_dir", offsetof(struct tw_target, data_dir)},
    {"dsn", offsetof(struct tw_target, dsn)},
    {"file", offsetof(struct tw_target, file)},
    {"config", offsetof(struct tw_target, config)},
    {"project", offsetof(struct tw_target, project)},
    {"container", offsetof(struct tw_target, container)},
};

static entry_t *entry_at(const struct reading *rd, const char *pointer)
{
    for (size_t i = 0; i < rd->yaml->list.count; i++)
        if (tw_streq(rd->yaml->list.items[i].pointer, pointer))
            return &rd->yaml->list.items[i];
    return NULL;
}

static const char *value_at(const struct reading *rd, const char *base, const char *key)
{
    tw_auto_free char *pointer = tw_strf("%s/%s", base, key);
    entry_t *e = entry_at(rd, pointer);

    return e ? e->value : NULL;
}

static int enum_at(const struct reading *rd, const char *base, const char *key,
                   const char *const *names, size_t n, int otherwise)
{
    tw_auto_free char *pointer = tw_strf("%s/%s", base, key);
    entry_t *e = entry_at(rd, pointer);
    int i = e ? tw_name_index(e->value, names, n) : otherwise;

    if (i < 0)
        (void)fail_at(rd, e, "this value is not known here");
    return i;
}

static int read_service(const struct reading *rd, const char *base, struct tw_target *t)
{
    const char *memory = value_at(rd, base, "memory"), *cpus = value_at(rd, base, "cpus");
    int data =
        enum_at(rd, base, "data", tw_data_mode_names, TW_DATA_COUNT, TW_DATA_LIKENESS);

    for (size_t i = 0; i < TW_COUNT_OF(target_texts); i++)
        *(const char **)(void *)((char *)t + target_texts[i].offset) =
            value_at(rd, base, target_texts[i].key);
    if (data < 0)
        return -EINVAL;
    t->data = (enum tw_data_mode)data;
    if (!t->name)
        return fail_at(rd, entry_at(rd, base), "a service needs a name");
    if (memory && tw_parse_bytes(memory, &t->memory_bytes, rd->err) < 0)
        return -EINVAL;
    if (cpus && tw_parse_cores(cpus, &t->cpus, rd->err) < 0)
        return -EINVAL;
    return 0;
}

static bool known_service_key(const char *key)
{
    static const char *const more[] = {"data", "memory", "cpus"};

    for (size_t i = 0; i < TW_COUNT_OF(target_texts); i++)
        if (tw_streq(target_texts[i].key, key))
            return true;
    return tw_name_index(key, more, TW_COUNT_OF(more)) >= 0;
}

/* Every entry below an environment is one that is read. */
static int check_environment_keys(const struct reading *rd, const char *base)
{
    static const char *const keys[] = {"name", "tier", "services"};
    size_t n = strlen(base);

    for (size_t i = 0; i < rd->yaml->list.count; i++) {
        entry_t *e = &rd->yaml->list.items[i];
        const char *rest = e->pointer + n, *slash;

        if (strncmp(e->pointer, base, n) != 0 || *rest != '/')
            continue;
        rest++;
        if (tw_name_index(rest, keys, TW_COUNT_OF(keys)) >= 0)
            continue;
        slash = tw_starts_with(rest, "services/") ? strchr(rest + 9, '/') : NULL;
        if (!tw_starts_with(rest, "services/") ||
            (slash && !known_service_key(slash + 1)))
            return unknown_key(rd, e);
    }
    return 0;
}

static int read_environment(const struct reading *rd, const char *base)
{
    const char *name = value_at(rd, base, "name");
    int tier = enum_at(rd, base, "tier", tw_tier_names, TW_TIER_COUNT, TW_TIER_DEV);
    int r = tier < 0 ? -EINVAL : check_environment_keys(rd, base);

    if (r == 0 && !name)
        r = fail_at(rd, entry_at(rd, base), "an environment needs a name");
    for (int i = 0; r == 0; i++) {
        const char *service = tw_arena_printf(rd->a, "%s/services/%d", base, i);
        struct tw_target t = {.environment = name, .tier = (enum tw_tier)tier};

        if (!entry_at(rd, service))
            return 0;
        r = read_service(rd, service, &t);
        if (r == 0)
            TW_PUSH(rd->a, &rd->c->environments.targets, t);
    }
    return r;
}

static int read_environments(const struct reading *rd)
{
    int r = 0;

    for (int i = 0; r == 0; i++) {
        const char *base = tw_arena_printf(rd->a, "/environments/%d", i);

        if (!entry_at(rd, base))
            return 0;
        r = read_environment(rd, base);
    }
    return r;
}

/* ---- the whole ---- */

static int read_entry(const struct reading *rd, entry_t *e)
{
    struct tw_err why;
    bool known;
    int r;

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (tw_streq(rows[i].path, e->pointer)) {
            if (!e->value)
                return fail_at(rd, e, "expected a value");
            return set_row(&rows[i], rd->a, e->value, rd->c, &why) < 0
                       ? fail_at(rd, e, why.text)
                       : 0;
        }
    if (tw_name_index(e->pointer, containers, TW_COUNT_OF(containers)) >= 0)
        return 0;
    r = read_list(rd, e, &known);
    return r < 0 || known ? r : unknown_key(rd, e);
}

static int check_hooks(const struct reading *rd)
{
    const struct tw_hooks *h = &rd->c->api.hooks;

    for (size_t i = 0; i < h->list.count; i++)
        if (!h->list.items[i].name || !h->list.items[i].url)
            return tw_fail(rd->err, -EINVAL, "%s: webhook %zu needs a name and a url",
                           rd->origin, i + 1);
    return 0;
}

static int read_variables(struct tw_arena *a, struct cmd_config *c, struct tw_err *err)
{
    int r = 0;

    for (size_t i = 0; i < TW_COUNT_OF(rows) && r == 0; i++) {
        tw_auto_free char *name = tw_strf("TWIN%s", rows[i].path);
        const char *value;

        for (char *p = name; *p; p++)
            *p = (char)(*p == '/' ? '_' : *p >= 'a' && *p <= 'z' ? *p - 32 : *p);
        value = getenv(name);
        if (value && *value && (r = set_row(&rows[i], a, value, c, err)) < 0)
            return tw_wrap(err, r, "environment variable %s", name);
    }
    return r;
}

int cmd_config_read(struct tw_arena *a, const char *text, const char *origin,
                    struct cmd_config *ret, struct tw_err *err)
{
    struct tw_yaml yaml = {0};
    struct reading rd = {.a = a, .c = ret, .yaml = &yaml, .origin = origin, .err = err};
    int r;

    *ret = (struct cmd_config){.origin = origin};
    set_defaults(ret);
    r = text ? tw_yaml_read(a, text, origin, &yaml, err) : 0;
    for (size_t i = 0; i < yaml.list.count && r == 0; i++)
        r = read_entry(&rd, &yaml.list.items[i]);
    if (r == 0)
        r = read_environments(&rd);
    if (r == 0)
        r = check_hooks(&rd);
    if (r == 0)
        r = read_variables(a, ret, err);
    ret->api.cores = ret->cpu_cores < 1 ? 1 : (int)ret->cpu_cores;
    ret->api.memory_bytes = (int64_t)(ret->max_memory_gb * (double)(1 << 30));
    return r;
}

int cmd_config_load(struct tw_arena *a, const char *path, struct cmd_config *ret,
                    struct tw_err *err)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    const char *own = getenv("TWIN_CONFIG");
    tw_auto_free char *text = NULL;
    int r;

    path = path ? path : own && *own ? own : NULL;
    if (!path) {
        const char *places[] = {
            xdg && *xdg
                ? tw_arena_printf(a, "%s/twin/twin.yaml", xdg)
                : tw_arena_printf(a, "%s/.config/twin/twin.yaml", home ? home : "/root"),
            "/etc/twin/twin.yaml"};

        for (size_t i = 0; i < TW_COUNT_OF(places) && !path; i++)
            if (access(places[i], F_OK) == 0)
                path = places[i];
    }
    if (path) {
        r = tw_read_file(AT_FDCWD, path, MAX_BYTES, &text, NULL, err);
        if (r < 0)
            return r;
    }
    return cmd_config_read(a, text, path, ret, err);
}
