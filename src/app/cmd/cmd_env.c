#include "remote.h"

#include "tw/env.h"
#include "tw/redact.h"
#include "tw/store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int need_name(const struct cmd_args *args, struct tw_err *err)
{
    return args->rest.count == 2
               ? 0
               : tw_fail(err, -EINVAL, "twin env %s needs the name of one target",
                         args->rest.items[0]);
}

/* What a declaration stands for is asked before it is kept: a project that is not there is a mistake. */
static int look_for_targets(struct cmd_args *args, const struct tw_target *t,
                            struct tw_env_list *ret, struct tw_err *err)
{
    return t->project || t->container ? tw_env_targets(args->arena, t, ret, err) : 0;
}

/* It may be made later, or be a slip of the pen. */
static void tell_what_is_missing(const struct tw_target *t)
{
    const char *const paths[] = {t->data_dir, t->config, t->file};

    for (size_t i = 0; i < TW_COUNT_OF(paths); i++)
        if (paths[i] && access(paths[i], F_OK) < 0)
            printf("  note: '%s' cannot be seen now: %s\n", paths[i], strerror(errno));
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
                          .tier = TW_TIER_DEV,
                          .data = TW_DATA_LIKENESS,
                          .cpus = args->cpus};
    struct tw_env_list parts = {0};
    int r = need_name(args, err);

    if (r < 0)
        return r;
    t.name = args->rest.items[1];
    if (args->tier)
        t.tier = (enum tw_tier)tw_name_index(args->tier, tw_tier_names, TW_TIER_COUNT);
    if (args->data)
        t.data = (enum tw_data_mode)tw_name_index(args->data, tw_data_mode_names,
                                                  TW_DATA_COUNT);
    if (args->memory)
        r = tw_parse_bytes(args->memory, &t.memory_bytes, err);
    if (r == 0)
        r = tw_env_check(&t, err);
    if (r == 0)
        r = look_for_targets(args, &t, &parts, err);
    if (r == 0)
        r = tw_env_add(args->state_dir, &t, err);
    if (r == 0) {
        printf("target '%s' added to environment '%s'\n", t.name, t.environment);
        tell_what_is_missing(&t);
    }
    for (size_t i = 0; i < parts.targets.count && r == 0; i++)
        if (!tw_streq(parts.targets.items[i].name, t.name))
            printf("  %s\n", parts.targets.items[i].name);
    return r;
}

/* ---- at a daemon ---- */

static const char *text_at(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));

    return text ? text : "";
}

static int list_there(struct cmd_args *args, struct tw_err *err)
{
    json_auto_t *json = NULL;
    json_t *environment, *service;
    size_t i, k;
    int r = cmd_ask(args, "GET", "/api/v1/environments", NULL, &json, err);

    if (r < 0 || cmd_is_json(args))
        return r < 0 ? r : cmd_write_json(args, json_object_get(json, "items"), err);
    printf("%-20s %-12s %-10s %-11s %-9s %-9s %s\n", "TARGET", "ENVIRONMENT", "TIER",
           "TYPE", "DATA", "FOLLOWED", "SYNCED");
    json_array_foreach (json_object_get(json, "items"), i, environment)
        json_array_foreach (json_object_get(environment, "services"), k, service)
            printf("%-20s %-12s %-10s %-11s %-9s %-9s %s\n", text_at(service, "name"),
                   text_at(environment, "name"), text_at(environment, "tier"),
                   text_at(service, "type"), text_at(service, "data"),
                   json_is_true(json_object_get(service, "followed")) ? "yes" : "no",
                   text_at(service, "synced_at"));
    return 0;
}

/* What is kept of one target; also what the daemon knows of its changes. */
static int show_there(struct cmd_args *args, struct tw_err *err)
{
    json_auto_t *json = NULL;
    json_t *environment, *service;
    size_t i, k;
    int r = need_name(args, err);

    if (r == 0)
        r = cmd_ask(args, "GET", "/api/v1/environments", NULL, &json, err);
    if (r < 0)
        return r;
    json_array_foreach (json_object_get(json, "items"), i, environment)
        json_array_foreach (json_object_get(environment, "services"), k, service) {
            tw_auto_free char *words = NULL;

            if (!tw_streq(text_at(service, "name"), args->rest.items[1]) ||
                (args->environment &&
                 !tw_streq(text_at(environment, "name"), args->environment)))
                continue;
            if (cmd_is_json(args))
                return cmd_write_json(args, service, err);
            words = tw_env_drift_text(json_object_get(service, "last_drift"), 8);
            printf("%s: %s in %s, synced %s\n", text_at(service, "name"),
                   text_at(service, "type"), text_at(environment, "name"),
                   *text_at(service, "synced_at") ? text_at(service, "synced_at")
                                                  : "never");
            printf("  followed  %s%s\n",
                   json_is_true(json_object_get(service, "followed")) ? "yes" : "no",
                   text_at(service, "not_followed_because"));
            if (*words)
                printf("  changed   %s  %s\n", text_at(service, "drifted_at"), words);
            return 0;
        }
    return tw_fail(err, -ENOENT,
                   "the daemon knows no target '%s'; twin env list --server",
                   args->rest.items[1]);
}

static int sync_there(struct cmd_args *args, struct tw_err *err)
{
    json_auto_t *json = NULL;
    json_t *row;
    size_t i;
    int r = need_name(args, err);

    if (r == 0)
        r = cmd_ask(args, "POST", "/api/v1/environments/sync",
                    json_pack("{s:s, s:s*}", "target", args->rest.items[1], "environment",
                              args->environment),
                    &json, err);
    if (r < 0)
        return r;
    if (cmd_is_json(args))
        return cmd_write_json(args, json, err);
    json_array_foreach (json_object_get(json, "syncs"), i, row) {
        const json_t *cost = json_object_get(row, "cost");

        printf("%s: %s%s%s\n", text_at(row, "target"), text_at(row, "status"),
               *text_at(row, "error") ? ", " : "", text_at(row, "error"));
        if (cost)
            printf("  it cost   %lld statements, %s, %s\n",
                   (long long)json_integer_value(json_object_get(cost, "statements")),
                   tw_show_bytes(args->arena,
                                 json_number_value(json_object_get(cost, "bytes"))),
                   tw_show_seconds(args->arena,
                                   json_number_value(json_object_get(cost, "seconds"))));
    }
    return tw_streq(text_at(json, "status"), "success") ? 0 : CMD_NO_ANSWER;
}

static int list(struct cmd_args *args, struct tw_err *err)
{
    struct tw_env_list all;
    json_auto_t *json = json_array();
    int r;

    if (cmd_server(args))
        return list_there(args, err);
    r = tw_env_load(args->arena, args->state_dir, &all, err);
    if (r < 0)
        return r;
    if (cmd_is_json(args)) {
        for (size_t i = 0; i < all.targets.count; i++)
            (void)json_array_append_new(json, tw_target_to_json(&all.targets.items[i]));
        tw_redact_json(NULL, json);
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
               : t->dsn       ? tw_redact_text(NULL, args->arena, t->dsn)
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

struct count {
    size_t of;
    const char *name;
};

/* "27 settings, 3 tables": what there is none of is left out. */
static void print_counts(const char *what, const struct count *counts, size_t n)
{
    const char *before = "";

    printf("  %-9s ", what);
    for (size_t i = 0; i < n; i++) {
        if (!counts[i].of)
            continue;
        printf("%s%zu %s", before, counts[i].of, counts[i].name);
        before = ", ";
    }
    puts(*before ? "" : "nothing");
}

static void print_cost(struct cmd_args *args, const struct tw_snapshot *s)
{
    printf("  it cost   ");
    if (s->cost.statements)
        printf("%d statements, ", s->cost.statements);
    if (s->cost.bytes)
        printf("%s, ", tw_show_bytes(args->arena, (double)s->cost.bytes));
    puts(tw_show_seconds(args->arena, s->cost.seconds));
}

static void print_snapshot(struct cmd_args *args, const struct tw_snapshot *s)
{
    const struct count counts[] = {{s->settings.count, "settings"},
                                   {s->hba.count, "access rules"},
                                   {s->tables.count, "tables"},
                                   {s->statements.count, "statements"}};

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
    print_counts("known", counts, TW_COUNT_OF(counts));
    print_cost(args, s);
}

/* What the target is now against what was stored of it last, and the newest change that was stored. */
static void print_drift(struct cmd_args *args, const struct tw_target *t,
                        const struct tw_snapshot *now)
{
    struct tw_store_snapshots last = {0}, drifted = {0};
    json_auto_t *json = tw_snapshot_to_json(now), *before = NULL, *drift = NULL;
    struct tw_store *store = NULL;

    if (tw_store_open(args->state_dir, &store, NULL) < 0)
        return;
    (void)tw_store_snapshot_list(store, args->arena, t->environment, t->name, 1, &last,
                                 NULL);
    (void)tw_store_drift_list(store, args->arena, t->environment, t->name, 1, &drifted,
                              NULL);
    tw_store_close(store);
    if (drifted.list.count) {
        const struct tw_store_snapshot *d = &drifted.list.items[0];
        json_auto_t *seen = json_loads(d->drift, 0, NULL);
        tw_auto_free char *words = tw_env_drift_text(seen, 8);

        printf("  changed   %s  %s\n", tw_iso_time(args->arena, d->taken_wall_ns), words);
    }
    if (!last.list.count)
        return;
    before = json_loads(last.list.items[0].body, 0, NULL);
    drift = tw_env_drift(before, json);
    if (json_array_size(drift)) {
        tw_auto_free char *words = tw_env_drift_text(drift, 8);

        printf("  drift     since %s  %s\n",
               tw_iso_time(args->arena, last.list.items[0].taken_wall_ns), words);
    }
}

static int show(struct cmd_args *args, struct tw_err *err)
{
    struct tw_target t;
    struct tw_snapshot s;
    json_auto_t *json = NULL;
    int r;

    if (cmd_server(args))
        return show_there(args, err);
    r = find(args, &t, err);

    if (r == 0)
        r = tw_env_snapshot(args->arena, &t, &s, err);
    if (r < 0)
        return r;
    if (cmd_is_json(args)) {
        json = tw_snapshot_to_json(&s);
        return cmd_write_json(args, json, err);
    }
    print_snapshot(args, &s);
    print_drift(args, &t, &s);
    return 0;
}

/* ---- metrics ---- */

static int metrics_here(struct cmd_args *args, double from, double step, json_t **ret,
                        struct tw_err *err)
{
    struct tw_store_points points = {0};
    struct tw_store *store = NULL;
    struct tw_target t;
    int r = find(args, &t, err);

    if (r == 0)
        r = tw_store_open(args->state_dir, &store, err);
    if (r == 0)
        r = tw_store_point_list(store, args->arena, t.environment, t.name, args->metric,
                                (int64_t)(from * 1e9), tw_wall_ns() + 1,
                                (int64_t)(step * 1e9), &points, err);
    if (store)
        tw_store_close(store);
    if (r < 0)
        return r;
    *ret = json_pack("{s:s, s:[]}", "environment", t.environment, "points");
    for (size_t i = 0; i < points.list.count; i++) {
        const struct tw_store_point *p = &points.list.items[i];

        (void)json_array_append_new(
            json_object_get(*ret, "points"),
            json_pack("{s:s, s:s, s:s, s:o, s:I}", "target", p->target, "metric",
                      p->metric, "at", tw_iso_time(args->arena, p->at_wall_ns), "value",
                      tw_json_real(p->value), "n", (json_int_t)p->n));
    }
    return 0;
}

static int metrics_there(struct cmd_args *args, double from, double step, json_t **ret,
                         struct tw_err *err)
{
    const char *environment = args->environment ? args->environment : "default";

    return cmd_ask(
        args, "GET",
        tw_arena_printf(args->arena,
                        "/api/v1/environments/%s/metrics?target=%s&from=%.3f&step=%g%s%s",
                        environment, args->rest.items[1], from, step,
                        args->metric ? "&metric=" : "", args->metric ? args->metric : ""),
        NULL, ret, err);
}

static int metrics(struct cmd_args *args, struct tw_err *err)
{
    double hours = isnan(args->hours) ? 24 : args->hours;
    double step = isnan(args->step) ? 3600 : args->step;
    double from = (double)tw_wall_ns() / 1e9 - hours * 3600;
    json_auto_t *json = NULL;
    json_t *p;
    size_t i;
    int r = need_name(args, err);

    if (r == 0 && (!(hours > 0 && hours <= 87600) || !(step >= 1 && step <= 1e7)))
        r = tw_fail(err, -EINVAL,
                    "--hours %g --step %g: expected more than 0 hours and steps of 1 "
                    "second or more",
                    hours, step);
    if (r == 0)
        r = cmd_server(args) ? metrics_there(args, from, step, &json, err)
                             : metrics_here(args, from, step, &json, err);
    if (r < 0 || cmd_is_json(args))
        return r < 0 ? r : cmd_write_json(args, json, err);
    if (!json_array_size(json_object_get(json, "points")))
        printf("nothing is kept of '%s' in these %g hours; the daemon records it: twin "
               "serve\n",
               args->rest.items[1], hours);
    json_array_foreach (json_object_get(json, "points"), i, p)
        printf("%-21s %-26s %.6g\n", text_at(p, "at"), text_at(p, "metric"),
               json_number_value(json_object_get(p, "value")));
    return 0;
}

static int sync_target(struct cmd_args *args, struct tw_err *err)
{
    struct tw_run_options options = {
        .state_dir = args->state_dir, .data = args->data, .cancel = &cmd_cancelled};
    struct tw_simulation *sim;
    int r = need_name(args, err);

    if (cmd_server(args))
        return sync_there(args, err);
    sim = tw_simulation_new();
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
} verbs[] = {{"add", add},          {"list", list},       {"show", show},
             {"sync", sync_target}, {"metrics", metrics}, {"rm", rm}};

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
                   "twin env '%s': expected add, list, show, sync, metrics or rm%s%s%s",
                   args->rest.items[0], near ? "; did you mean '" : "", near ? near : "",
                   near ? "'?" : "");
}

extern const struct cmd cmd_env;
const struct cmd cmd_env = {
    .name = "env",
    .most_words = 2,
    .usage = "env add|list|show|sync|metrics|rm [NAME] [options]",
    .summary = "the targets: declare, look at, take their data",
    .options = " env type tier data data-dir dsn config file project container memory "
               "cpus refresh-data metric hours step output out server token-file ",
    .examples = "examples\n"
                "  twin env add pg-main --type postgresql --data clone --data-dir "
                "/var/lib/postgresql/15/main\n"
                "  twin env add pg-app --type postgresql --data clone --dsn "
                "'host=/run/postgresql dbname=app' --tier production\n"
                "  twin env add shop --type docker --project shop\n"
                "  twin env show shop/web\n"
                "  twin env sync pg-main\n"
                "  twin env metrics pg-main --metric load_per_s --hours 48 --step 3600\n",
    .run = run,
};
