#include "cmd_internal.h"

#include "tw/env.h"

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
        r = tw_env_add(args->state_dir, &t, err);
    if (r == 0)
        printf("target '%s' added to environment '%s'\n", t.name, t.environment);
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
               t->data_dir ? t->data_dir
               : t->config ? t->config
               : t->dsn    ? t->dsn
               : t->file   ? t->file
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

static void print_snapshot(struct cmd_args *args, const struct tw_snapshot *s)
{
    printf("%s: %s %s, %s\n", s->target, s->type, s->version, s->how);
    if (s->data_dir)
        printf("  data      %s in %s\n", tw_show_bytes(args->arena, (double)s->data_bytes),
               s->data_dir);
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
    .options = " env type tier data data-dir dsn config file memory cpus refresh-data output out ",
    .examples = "examples\n"
                "  twin env add pg-main --type postgresql --data clone --data-dir "
                "/var/lib/postgresql/15/main\n"
                "  twin env add pg-app --type postgresql --data clone --dsn "
                "'host=/run/postgresql dbname=app' --tier production\n"
                "  twin env sync pg-main\n",
    .run = run,
};
