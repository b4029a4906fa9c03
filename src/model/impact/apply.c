#include "impact_internal.h"

#include <math.h>
#include <string.h>

static const char *quoted(struct tw_arena *a, const char *text, size_t len)
{
    tw_auto_buf b = {0};

    tw_buf_init(&b, 1 << 16);
    tw_buf_puts(&b, "'");
    for (size_t i = 0; i < len; i++)
        tw_buf_puts(&b, text[i] == '\'' ? "''" : (char[]){text[i], 0});
    tw_buf_puts(&b, "'");
    return tw_arena_strdup(a, tw_buf_text(&b));
}

/* One element of a list as a user writes it: blanks and its own quotes belong to the
 * list. */
static const char *element(struct tw_arena *a, const char *from, size_t len)
{
    while (len && (*from == ' ' || *from == '\'' || *from == '"')) {
        from++;
        len--;
    }
    while (len && (from[len - 1] == ' ' || from[len - 1] == '\'' || from[len - 1] == '"'))
        len--;
    return quoted(a, from, len);
}

/* ALTER SYSTEM takes a list element by element: quoted as a whole it is one library of a
 * strange name. */
static const char *quoted_value(struct tw_arena *a, const char *value, bool list)
{
    const char *all = NULL;

    if (!list)
        return quoted(a, value, strlen(value));
    for (const char *at = value;; at++) {
        size_t len = strcspn(at, ",");
        const char *one = element(a, at, len);

        all = all ? tw_arena_printf(a, "%s, %s", all, one) : one;
        at += len;
        if (!*at)
            return all;
    }
}

static const char *alter(struct tw_arena *a, const char *name, const char *value,
                         bool list)
{
    if (!value)
        return tw_arena_printf(a, "ALTER SYSTEM RESET %s;", name);
    return tw_arena_printf(a, "ALTER SYSTEM SET %s = %s;", name,
                           quoted_value(a, value, list));
}

/* Debian runs clusters as units of their own; elsewhere pg_ctl always works. */
static const char *restart_command(struct tw_arena *a, const struct tw_snapshot *s)
{
    static const char debian[] = "/etc/postgresql/";
    const char *config = s->config_file;

    if (config && tw_starts_with(config, debian)) {
        const char *version = config + sizeof debian - 1;
        size_t v = strcspn(version, "/");
        const char *cluster = version + v + (version[v] == '/');
        size_t c = strcspn(cluster, "/");

        return tw_arena_printf(a, "systemctl restart postgresql@%.*s-%.*s", (int)v,
                               version, (int)c, cluster);
    }
    return tw_arena_printf(a, "pg_ctl restart -m fast -D %s",
                           s->data_dir ? s->data_dir : "\"$PGDATA\"");
}

static void push(struct impact *i, bool undo, const char *command)
{
    if (undo)
        TW_PUSH(i->arena, &i->ret->apply.undo, command);
    else
        TW_PUSH(i->arena, &i->ret->apply.commands, command);
}

static void setting_commands(struct impact *i, const struct tw_plan_step *step)
{
    const struct tw_setting *old = tw_snapshot_setting(i->facts->snapshot, step->name);
    bool list = old && old->list;
    /* ALTER SYSTEM writes postgresql.auto.conf: what stood there before is set again, and
     * what stood elsewhere comes back by itself. */
    bool was_there = old && old->file && tw_ends_with(old->file, "postgresql.auto.conf");

    push(i, false, alter(i->arena, step->name, step->value, list));
    push(i, true, alter(i->arena, step->name, was_there ? old->value : NULL, list));
}

static void file_commands(struct impact *i, const struct tw_plan_step *step)
{
    struct tw_arena *a = i->arena;
    const char *path = step->path ? step->path : i->facts->snapshot->config_file;
    const char *from = step->origin ? step->origin : "the new content";
    bool replaces = step->kind == TW_STEP_FILE;

    path = path ? path : "postgresql.conf";
    push(i, false, tw_arena_printf(a, "cp -p %s %s.before", path, path));
    push(i, false,
         replaces ? tw_arena_printf(a, "cp %s %s", from, path)
                  : tw_arena_printf(a, "cat %s >> %s", from, path));
    push(i, true, tw_arena_printf(a, "cp -p %s.before %s", path, path));
}

/* A fragment becomes a file beside the configuration and its last include. */
static void fragment_commands(struct impact *i, const struct tw_plan_step *step)
{
    struct tw_arena *a = i->arena;
    const char *config = i->facts->snapshot->config_file;
    const char *from = step->origin ? step->origin : "the fragment";
    const char *name = strrchr(from, '/') ? strrchr(from, '/') + 1 : from;
    const char *slash = config ? strrchr(config, '/') : NULL;
    const char *dir = slash ? tw_arena_strndup(a, config, (size_t)(slash - config)) : ".";

    config = config ? config : "postgresql.conf";
    push(i, false, tw_arena_printf(a, "cp %s %s/", from, dir));
    push(i, false, tw_arena_printf(a, "echo \"include '%s'\" >> %s", name, config));
    push(i, true, tw_arena_printf(a, "sed -i \"/^include '%s'$/d\" %s", name, config));
    push(i, true, tw_arena_printf(a, "rm %s/%s", dir, name));
}

static void step_commands(struct impact *i, const struct tw_plan_step *step)
{
    switch (step->kind) {
    case TW_STEP_SETTING:
        setting_commands(i, step);
        break;
    case TW_STEP_FILE:
    case TW_STEP_APPEND:
        file_commands(i, step);
        break;
    case TW_STEP_FRAGMENT:
        fragment_commands(i, step);
        break;
    case TW_STEP_SQL:
        push(i, false, step->value);
        break;
    case TW_STEP_PATH: /* in the network, by whoever keeps it */
    case TW_STEP_RULE: /* commands of their own, made with the rule */
    case TW_STEP_VERSION: /* so are those of a container */
    case TW_STEP_SMOKE:
    case TW_STEP_KIND_COUNT:
        break;
    }
}

/* SQL takes no reload; of what it leaves, a new index is known to go away again. */
static void sql_apply(struct impact *i)
{
    const struct tw_schema *s = i->facts->schema;

    i->ret->apply = (struct tw_apply){.how = "sql", .cold_s = NAN};
    for (size_t k = 0; k < i->facts->plan->steps.count; k++)
        push(i, false,
             tw_arena_printf(i->arena, "%s;", i->facts->plan->steps.items[k].value));
    for (size_t k = 0; s && k < s->used.count + s->unused.count; k++)
        push(i, true,
             tw_arena_printf(i->arena, "DROP INDEX CONCURRENTLY %s;",
                             k < s->used.count ? s->used.items[k]
                                               : s->unused.items[k - s->used.count]));
}

void impact_apply(struct impact *i)
{
    const struct tw_impact_facts *f = i->facts;
    struct tw_apply *apply = &i->ret->apply;
    bool restart = f->plan->needs_restart;
    const char *last =
        restart ? restart_command(i->arena, f->snapshot) : "SELECT pg_reload_conf();";

    if (impact_ran_sql(f) ||
        (f->plan->steps.count && f->plan->steps.items[0].kind == TW_STEP_SQL)) {
        sql_apply(i);
        return;
    }
    if (f->plan->steps.count && f->plan->steps.items[0].kind == TW_STEP_PATH) {
        *apply = (struct tw_apply){.how = "network", .cold_s = NAN};
        return;
    }
    *apply =
        (struct tw_apply){.how = f->plan->steps.count == 0 ? "none"
                                 : restart                 ? "restart"
                                                           : "reload",
                          .cold_s = restart ? f->cold_s : NAN,
                          .sessions_dropped = restart ? f->sessions : 0,
                          .outage_s = restart ? f->stop_s + f->start_s[TW_CANDIDATE] : 0};
    for (size_t k = 0; k < f->plan->steps.count; k++)
        step_commands(i, &f->plan->steps.items[k]);
    if (f->plan->steps.count == 0)
        return;
    push(i, false, last);
    push(i, true, last);
}
