#include "cmd_internal.h"

#include "tw/env.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int need_name(const struct cmd_args *args, struct tw_err *err)
{
    return args->rest.count == 2
               ? 0
               : tw_fail(err, -EINVAL, "twin env %s needs the name of one target",
                         args->rest.items[0]);
}

static int enum_of(const char *option, const char *word, const char *const *names,
                   size_t n, int otherwise, struct tw_err *err)
{
    int i = word ? tw_name_index(word, names, n) : otherwise;
    const char *near = i < 0 ? tw_nearest(word, names, n) : NULL;

    return i >= 0 ? i
                  : tw_fail_at(err, -EINVAL, option, "%s '%s'%s%s%s", option, word,
                               near ? "; did you mean '" : " is not known",
                               near ? near : "", near ? "'?" : "");
}

/* What a declaration stands for is asked before it is kept: a project that is not there is a mistake. */
static int look_for_targets(struct cmd_args *args, const struct tw_target *t,
                            struct tw_env_list *ret, struct tw_err *err)
{
    return t->project || t->container ? tw_env_targets(args->arena, t, ret, err) : 0;
}

static int add(struct cmd_args *args, struct tw_err *err)
{
    struct tw_target t = {.environment =
                              args->environment ? args->environment : "default",
                          .type = args->type,
                          .data_dir = args->data_dir,
                          .config = args->config,
                          .file = args->files.count ? args->files.items[0] : NULL,
                          .project = args->project,
                          .container = args->container,
                          .dsn = args->dsn,
                          .cpus = args->cpus};
    struct tw_env_list parts = {0};
    int tier, data;
    int r = need_name(args, err);

    if (r < 0)
        return r;
    t.name = args->rest.items[1];
    tier = enum_of("--tier", args->tier, tw_tier_names, TW_TIER_COUNT, TW_TIER_DEV, err);
    data = enum_of("--data", args->data, tw_data_mode_names, TW_DATA_COUNT,
                   TW_DATA_LIKENESS, err);
    if (tier < 0 || data < 0)
        return -EINVAL;
    t.tier = (enum tw_tier)tier;
    t.data = (enum tw_data_mode)data;
    if (args->memory)
        r = tw_parse_bytes(args->memory, &t.memory_bytes, err);
    if (r == 0)
        r = tw_env_check(&t, err);
    if (r == 0)
        r = look_for_targets(args, &t, &parts, err);
    if (r == 0)
        r = tw_env_add(args->state_dir, &t, err);
    if (r == 0)
        printf("target '%s' added to environment '%s'\n", t.name, t.environment);
    for (size_t i = 0; i < parts.targets.count && r == 0; i++)
        if (!tw_streq(parts.targets.items[i].name, t.name))
            printf("  %s\n", parts.targets.items[i].name);
    return r;
}

static int list(struct cmd_args *args, struct tw_err *err)
{
    struct tw_env_list all;
    json_auto_t *json = json_array();
    int r = tw_env_load(args->arena, args->state_dir, &all, err);

    if (r < 0)
        return r;
    if (cmd_is_json(args)) {
        for (size_t i = 0; i < all.targets.count; i++)
            (void)json_array_append_new(json, tw_target_to_json(&all.targets.items[i]));
        return cmd_write_json(args, json, err);
    }
    if (!all.targets.count)
        puts("no targets yet; twin env add NAME --type postgresql --data clone "
             "--data-dir DIR");
    else
        printf("%-20s %-12s %-10s %-11s %-9s %s\n", "TARGET", "ENVIRONMENT", "TIER",
               "TYPE", "DATA", "WHERE");
    for (size_t i = 0; i < all.targets.count; i++) {
        const struct tw_target *t = &all.targets.items[i];

        printf("%-20s %-12s %-10s %-11s %-9s %s\n", t->name, t->environment,
               tw_tier_names[t->tier], t->type, tw_data_mode_names[t->data],
               t->data_dir    ? t->data_dir
               : t->config    ? t->config
               : t->project   ? t->project
               : t->container ? t->container
               : t->dsn       ? t->dsn
               : t->file      ? t->file
                              : "this host");
    }
    return 0;
}

static int find(struct cmd_args *args, struct tw_target *ret, struct tw_err *err)
{
    struct tw_env_list all;
    int r = need_name(args, err);

    if (r == 0)
        r = tw_env_load(args->arena, args->state_dir, &all, err);
    if (r == 0)
        r = tw_env_find(&all, args->environment, args->rest.items[1], ret, err);
    return r;
}

static void print_line(const char *what, const char *text)
{
    if (text)
        printf("  %-9s %s\n", what, text);
}

static void print_lists(const struct tw_container *c)
{
    for (size_t i = 0; i < c->environment.count; i++)
        printf("  %-9s %s=%s\n", i ? "" : "env", c->environment.items[i].name,
               c->environment.items[i].value ? c->environment.items[i].value : "");
    for (size_t i = 0; i < c->mounts.count; i++) {
        const struct tw_mount *m = &c->mounts.items[i];

        printf("  %-9s %s%s%s on %s%s\n", i ? "" : "mounts", m->type,
               m->name || m->source ? " " : "",
               m->name     ? m->name
               : m->source ? m->source
                           : "",
               m->destination, m->writable ? "" : ", read only");
    }
    for (size_t i = 0; i < c->networks.count; i++)
        printf("  %-9s %s %s\n", i ? "" : "networks", c->networks.items[i].network,
               c->networks.items[i].address ? c->networks.items[i].address : "");
    for (size_t i = 0; i < c->ports.count; i++)
        printf("  %-9s %s\n", i ? "" : "ports", c->ports.items[i]);
    for (size_t i = 0; i < c->not_cloned.count; i++)
        printf("  %-9s it %s\n", i ? "" : "no clone", c->not_cloned.items[i]);
}

static void print_container(struct cmd_args *args, const struct tw_container *c)
{
    struct tw_arena *a = args->arena;

    printf("%s: %s%s%s, %s\n", c->name, c->status, c->health ? ", " : "",
           c->health ? c->health : "", c->image);
    print_line("image", c->digest ? c->digest : c->image_id);
    print_line("command", c->command);
    printf("  limits    %s, %s%s\n",
           c->memory_bytes ? tw_show_bytes(a, (double)c->memory_bytes)
                           : "no memory limit",
           isnan(c->cpus) ? "no CPU limit" : tw_arena_printf(a, "%g cores", c->cpus),
           c->pids ? tw_arena_printf(a, ", %lld processes", (long long)c->pids) : "");
    if (!isnan(c->cpu_s))
        printf("  use       %s of memory, %s of CPU since %s\n",
               tw_show_bytes(a, c->memory_used_bytes), tw_show_seconds(a, c->cpu_s),
               c->started_at);
    print_line("restart", c->restart);
    print_line("health", c->health_check);
    print_lists(c);
}

static void print_containers(struct cmd_args *args, const struct tw_snapshot *s)
{
    printf("%s: %s%s%s\n", s->target, s->version ? s->version : "",
           s->version ? ", " : "", s->how);
    for (size_t i = 0; i < s->containers.count; i++)
        print_container(args, &s->containers.items[i]);
    printf("  it cost   %d calls of the Engine, %s\n", s->cost.statements,
           tw_show_seconds(args->arena, s->cost.seconds));
}

static void print_snapshot(struct cmd_args *args, const struct tw_snapshot *s)
{
    if (s->containers.count) {
        print_containers(args, s);
        return;
    }
    printf("%s: %s %s, %s\n", s->target, s->type, s->version, s->how);
    if (s->data_dir)
        printf("  data      %s in %s\n",
               tw_show_bytes(args->arena, (double)s->data_bytes), s->data_dir);
    printf("  config    %s, %zu files\n", s->config_file, s->files.count);
    printf("  host      %s, %g cores\n",
           tw_show_bytes(args->arena, (double)s->memory_bytes), s->cpus);
    printf("  known     %zu settings, %zu hba rules, %zu tables, %zu statements\n",
           s->settings.count, s->hba.count, s->tables.count, s->statements.count);
    printf("  it cost   %d statements, %s, %s\n", s->cost.statements,
           tw_show_bytes(args->arena, (double)s->cost.bytes),
           tw_show_seconds(args->arena, s->cost.seconds));
}

static int show(struct cmd_args *args, struct tw_err *err)
{
    struct tw_target t;
    struct tw_snapshot s;
    json_auto_t *json = NULL;
    int r = find(args, &t, err);

    if (r == 0)
        r = tw_env_snapshot(args->arena, &t, &s, err);
    if (r < 0)
        return r;
    if (cmd_is_json(args)) {
        json = tw_snapshot_to_json(&s);
        return cmd_write_json(args, json, err);
    }
    print_snapshot(args, &s);
    return 0;
}

static int sync_target(struct cmd_args *args, struct tw_err *err)
{
    struct tw_run_options options = {
        .state_dir = args->state_dir, .data = args->data, .cancel = &cmd_cancelled};
    struct tw_simulation *sim = tw_simulation_new();
    int r = need_name(args, err);

    if (r == 0) {
        cmd_catch_signals();
        tw_id_make(sim->id);
        tw_request_init(&sim->request);
        sim->request.target = args->rest.items[1];
        sim->request.environment = args->environment;
        sim->request.refresh_data = args->refresh_data;
        r = tw_run_sync(&options, sim, err);
    }
    if (r == 0) {
        print_snapshot(args, &sim->snapshot);
        printf("  ready     clones are taken from a seed of it, made in %s\n",
               tw_show_seconds(args->arena, sim->elapsed_s));
    }
    tw_simulation_free(sim);
    return r;
}

static int rm(struct cmd_args *args, struct tw_err *err)
{
    int r = need_name(args, err);

    if (r == 0)
        r = tw_env_remove(args->state_dir, args->environment, args->rest.items[1], err);
    if (r == 0)
        printf("target '%s' removed\n", args->rest.items[1]);
    return r;
}

static const struct {
    const char *name;
    int (*run)(struct cmd_args *args, struct tw_err *err);
} verbs[] = {
    {"add", add}, {"list", list}, {"show", show}, {"sync", sync_target}, {"rm", rm}};

static int run(struct cmd_args *args, struct tw_err *err)
{
    const char *names[TW_COUNT_OF(verbs)];
    const char *near;

    if (!args->rest.count)
        return list(args, err);
    for (size_t i = 0; i < TW_COUNT_OF(verbs); i++) {
        names[i] = verbs[i].name;
        if (tw_streq(verbs[i].name, args->rest.items[0]))
            return verbs[i].run(args, err);
    }
    near = tw_nearest(args->rest.items[0], names, TW_COUNT_OF(verbs));
    return tw_fail(err, -EINVAL,
                   "twin env '%s': expected add, list, show, sync or rm%s%s%s",
                   args->rest.items[0], near ? "; did you mean '" : "", near ? near : "",
                   near ? "'?" : "");
}

extern const struct cmd cmd_env;
const struct cmd cmd_env = {
    .name = "env",
    .usage = "env add|list|show|sync|rm [NAME] [options]",
    .summary = "the targets: declare, look at, take their data",
    .options = " env type tier data data-dir dsn config file project container memory "
               "cpus refresh-data output out ",
    .examples = "examples\n"
                "  twin env add pg-main --type postgresql --data clone --data-dir "
                "/var/lib/postgresql/15/main\n"
                "  twin env add pg-app --type postgresql --data clone --dsn "
                "'host=/run/postgresql dbname=app' --tier production\n"
                "  twin env add shop --type docker --project shop\n"
                "  twin env show shop/web\n"
                "  twin env sync pg-main\n",
    .run = run,
};
