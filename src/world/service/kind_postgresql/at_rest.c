/* A stopped cluster, by its files and programs: what it does not tell so is unknown. */
#include "kind_pg_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One line of postgres --describe-config: name, context, group, type, boot, min, max,
 * texts. */
static void take_description(struct tw_arena *a, char *line, struct tw_snapshot *s)
{
    static const char *const types[][2] = {{"BOOLEAN", "bool"},
                                           {"INTEGER", "integer"},
                                           {"REAL", "real"},
                                           {"ENUM", "enum"},
                                           {"STRING", "string"}};
    char *field[8] = {0};
    struct tw_setting one = {0};
    bool quoted;

    for (size_t i = 0; i < TW_COUNT_OF(field) && line; i++)
        field[i] = strsep(&line, "\t");
    if (!field[6])
        return;
    one.name = tw_arena_strdup(a, field[0]);
    one.context = tw_arena_strdup(a, field[1]);
    for (size_t i = 0; i < TW_COUNT_OF(types); i++)
        if (tw_streq(field[3], types[i][0]))
            one.type = types[i][1];
    /* The fifth column is what the variable holds before the defaults are set: no
     * default. */
    one.min = *field[5] ? tw_arena_strdup(a, field[5]) : NULL;
    one.max = *field[6] ? tw_arena_strdup(a, field[6]) : NULL;
    one.unit = kind_pg_unit_of(one.name);
    one.source = "default";
    one.list = kind_pg_is_list(one.name, &quoted);
    TW_PUSH(a, &s->settings, one);
}

/* The value of a file in the unit in which the server would show it. */
static const char *shown_value(struct tw_arena *a, const struct tw_setting *s,
                               const char *value)
{
    double number;
    bool on;

    if (tw_streq(s->type, "bool") && kind_pg_read_bool(value, &on) == 0)
        return on ? "on" : "off";
    if ((tw_streq(s->type, "integer") || tw_streq(s->type, "real")) &&
        kind_pg_read_number(s, value, &number, NULL) == 0)
        return tw_arena_printf(a, "%.15g", number);
    return tw_redact_value(NULL, a, s->name, value);
}

static void take_entry(struct tw_arena *a, const struct kind_pg_entry *e,
                       struct tw_snapshot *s, const char *source)
{
    for (size_t i = 0; i < s->settings.count; i++) {
        struct tw_setting *one = &s->settings.items[i];

        if (strcasecmp(one->name, e->name) != 0)
            continue;
        one->value = shown_value(a, one, e->value);
        one->source = source;
        one->file = e->file;
        one->line = e->line;
        return;
    }
    TW_PUSH(a, &s->settings,
            (struct tw_setting){.name = e->name,
                                .value = tw_redact_value(NULL, a, e->name, e->value),
                                .type = "string",
                                .context = strchr(e->name, '.') ? "user" : "internal",
                                .source = source,
                                .file = e->file,
                                .line = e->line});
}

/* "name=value" after -c, as it was started the last time. */
static void take_options(struct tw_arena *a, const struct kind_pg_place *p,
                         struct tw_snapshot *s)
{
    for (size_t i = 0; i < p->options.count; i++) {
        const char *option = p->options.items[i];
        size_t n = strcspn(option, "=");
        struct kind_pg_entry e = {.name = tw_arena_strndup(a, option, n),
                                  .value = option[n] ? option + n + 1 : ""};

        take_entry(a, &e, s, "command line");
    }
}

static const char *control_value(struct tw_arena *a, const char *out, const char *label)
{
    const char *at = strstr(out, label);

    if (!at)
        return NULL;
    at += strlen(label);
    at += strspn(at, " ");
    return tw_arena_strndup(a, at, strcspn(at, "\n"));
}

static const char *path_setting(const struct kind_pg_conf *conf, const char *name,
                                const char *otherwise)
{
    const struct kind_pg_entry *e = kind_pg_conf_last(conf, name);

    return e && *e->value == '/' ? e->value : otherwise;
}

int kind_pg_read_stopped(struct tw_arena *a, const struct kind_pg_place *p,
                         struct tw_snapshot *s, struct tw_err *err)
{
    const char *version[] = {tw_arena_printf(a, "%s/postgres", p->bin_dir), "--version",
                             NULL};
    const char *describe[] = {version[0], "--describe-config", NULL};
    const char *control[] = {tw_arena_printf(a, "%s/pg_controldata", p->bin_dir), "-D",
                             p->data_dir, NULL};
    struct kind_pg_conf conf;
    const char *out, *beside;
    int r = kind_pg_program(a, p, version, &out, err);

    if (r < 0)
        return r;
    out += strcspn(out, "0123456789");
    s->version = tw_arena_strndup(a, out, strcspn(out, "\n"));
    s->version_num =
        p->major * 10000 + (strchr(out, '.') ? atoi(strchr(out, '.') + 1) : 0);
    r = kind_pg_program(a, p, control, &out, err);
    if (r < 0)
        return r;
    s->system_identifier = control_value(a, out, "Database system identifier:");
    s->catalog_version = kind_pg_whole(control_value(a, out, "Catalog version number:"));
    r = kind_pg_program(a, p, describe, &out, err);
    if (r < 0)
        return r;
    for (char *text = tw_arena_strdup(a, out), *line; (line = strsep(&text, "\n"));)
        take_description(a, line, s);
    kind_pg_conf_read(a, "", p->config_file, p->data_dir, &conf);
    for (size_t i = 0; i < conf.entries.count; i++)
        take_entry(a, &conf.entries.items[i], s, "configuration file");
    take_options(a, p, s);
    s->data_dir = p->data_dir;
    s->config_file = p->config_file;
    beside = tw_arena_printf(
        a, "%.*s", (int)(strrchr(p->config_file, '/') - p->config_file), p->config_file);
    s->hba_file =
        path_setting(&conf, "hba_file", tw_arena_printf(a, "%s/pg_hba.conf", beside));
    s->ident_file =
        path_setting(&conf, "ident_file", tw_arena_printf(a, "%s/pg_ident.conf", beside));
    s->port = kind_pg_conf_last(&conf, "port")
                  ? atoi(kind_pg_conf_last(&conf, "port")->value)
                  : 5432;
    for (size_t i = 0; i < p->tablespaces.count; i++)
        TW_PUSH(a, &s->tablespaces, p->tablespaces.items[i]);
    s->connections_used = -1;
    s->rate_per_s = s->commit_share = s->max_slot_lag_bytes = NAN;
    return 0;
}
