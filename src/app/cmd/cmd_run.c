#include "remote.h"

#include "tw/change.h"
#include "tw/predict.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BODY_MAX ((size_t)8 << 20)

/* ---- the request, from a body or from options ---- */

static char *read_stdin(struct tw_err *err)
{
    tw_auto_buf text = {0};
    char part[65536];
    ssize_t n;

    tw_buf_init(&text, BODY_MAX);
    while ((n = read(STDIN_FILENO, part, sizeof(part))) > 0)
        tw_buf_add(&text, part, (size_t)n);
    if (n < 0 || text.overflow) {
        (void)tw_fail(err, -EINVAL, "standard input: %s",
                      n < 0 ? strerror(errno) : "more than 8 MiB");
        return NULL;
    }
    return tw_buf_take(&text);
}

static int read_body(struct cmd_args *args, const char *path, struct tw_request *ret,
                     struct tw_err *err)
{
    tw_auto_free char *text = NULL;
    json_auto_t *json = NULL;
    int r;

    if (tw_streq(path, "-")) {
        text = read_stdin(err);
        if (!text)
            return -EINVAL;
    } else if (tw_read_file(AT_FDCWD, path, BODY_MAX, &text, NULL, err) < 0) {
        return tw_wrap(err, -EINVAL, "the change");
    }
    r = tw_json_parse(text, strlen(text), &json, err);
    if (r == 0)
        r = tw_request_from_json(args->arena, json, ret, err);
    return r < 0 ? tw_wrap(err, -EINVAL, "%s",
                           tw_streq(path, "-") ? "standard input" : path)
                 : 0;
}

static int check_words(const struct cmd_args *args, struct tw_err *err)
{
    const char *names[64] = {TW_SCENARIO_RECORDED};
    size_t n = 1;
    int r;

    for (size_t i = 0; i < tw_scenario_count && n < TW_COUNT_OF(names); i++)
        names[n++] = tw_scenario_names[i];
    r = cmd_check_word("--scenario", args->scenario, names, n, err);
    if (r == 0 && !isnan(args->hours) && !(args->hours > 0 && args->hours <= 720))
        r = tw_fail_at(err, -EINVAL, "--hours",
                       "--hours %g: expected more than 0, up to 720", args->hours);
    return r;
}

static int read_smoke(struct cmd_args *args, struct tw_request *q, struct tw_err *err)
{
    tw_auto_free char *text = NULL;
    json_auto_t *json = NULL;
    size_t len = 0;
    int r;

    if (!args->smoke)
        return 0;
    r = tw_read_file(AT_FDCWD, args->smoke, 1 << 20, &text, &len, err);
    if (r == 0)
        r = tw_json_parse(text, len, &json, err);
    if (r == 0)
        r = tw_smokes_from_json(args->arena, json, "", &q->deployment.smoke, err);
    return r < 0 ? tw_wrap(err, -EINVAL, "--smoke '%s'", args->smoke) : 0;
}

/* ":2" is a tag of today's image. */
static void read_image(struct cmd_args *args, struct tw_request *q)
{
    const char *image = args->image;
    bool tag = image && *image == ':';
    struct tw_setting_change c = {tag ? "tag" : "image", tag ? image + 1 : image,
                                  "--image"};

    if (image)
        TW_PUSH(args->arena, &q->settings, c);
    q->deployment.no_rollback |= args->no_rollback;
}

static int fill_scaling(struct cmd_args *args, struct tw_request *q, struct tw_err *err)
{
    int r = 0;

    if ((args->slos.count || args->measured_instances) && !tw_streq(q->type, "scaling"))
        return tw_fail_at(err, -EINVAL, "--slo",
                          "--slo and --measured-instances belong to --type scaling");
    for (size_t i = 0; i < args->slos.count && r == 0; i++) {
        struct tw_objective one;

        r = tw_objective_parse(args->arena, args->slos.items[i], "--slo", &one, err);
        if (r == 0)
            TW_PUSH(args->arena, &q->scaling.objectives, one);
    }
    if (args->measured_instances)
        q->scaling.measured_instances = (int)args->measured_instances;
    return r;
}

static int fill_options(struct cmd_args *args, struct tw_request *q, struct tw_err *err)
{
    const struct {
        const char *from;
        const char **to;
    } texts[] = {{args->target, &q->target},
                 {args->environment, &q->environment},
                 {args->scenario, &q->scenario},
                 {args->profile, &q->profile},
                 {args->risk_level, &q->risk_level},
                 {args->engine, &q->engine},
                 {args->type, &q->type}};
    int r = 0;

    for (size_t i = 0; i < TW_COUNT_OF(texts); i++)
        if (texts[i].from)
            *texts[i].to = texts[i].from;
    q->hours = isnan(args->hours) ? q->hours : args->hours;
    q->rate_per_s = isnan(args->rate) ? q->rate_per_s : args->rate;
    q->budget_s = isnan(args->budget) ? q->budget_s : args->budget;
    q->seed = args->seed ? (uint64_t)args->seed : q->seed;
    q->keep |= args->keep;
    q->refresh_data |= args->refresh_data;
    q->scan |= args->scan;
    q->connections = args->connections ? (int)args->connections : q->connections;
    for (size_t i = 0; i < args->clients.count && r == 0; i++) {
        struct tw_client client;

        r = tw_client_from_text(args->arena, args->clients.items[i], &client, err);
        if (r == 0)
            TW_PUSH(args->arena, &q->clients, client);
    }
    for (size_t i = 0; i < args->faults.count && r == 0; i++)
        r = tw_faults_from_text(args->arena, args->faults.items[i], &q->faults, err);
    for (size_t i = 0; i < args->mixes.count; i++)
        TW_PUSH(args->arena, &q->mixes, args->mixes.items[i]);
    for (size_t i = 0; i < args->sets.count && r == 0; i++)
        r = tw_change_parse_set(args->arena, args->sets.items[i], q, err);
    for (size_t i = 0; i < args->files.count && r == 0; i++)
        r = tw_change_parse_file(args->arena, args->files.items[i], q, err);
    for (size_t i = 0; i < args->sql.count; i++)
        TW_PUSH(args->arena, &q->sql, args->sql.items[i]);
    for (size_t i = 0; i < args->sql_files.count && r == 0; i++)
        r = tw_change_parse_script(args->arena, args->sql_files.items[i], q, err);
    if (args->database)
        q->database = args->database;
    read_image(args, q);
    if (r == 0)
        r = read_smoke(args, q, err);
    return r == 0 ? fill_scaling(args, q, err) : r;
}

/* A variable of its environment is a container's, as an image is. */
static bool is_deployment(const struct cmd_args *args)
{
    bool variable = false;

    for (size_t i = 0; i < args->sets.count; i++)
        variable |= tw_starts_with(args->sets.items[i], "env.");
    return args->image || args->smoke || args->no_rollback || variable;
}

int cmd_request(struct cmd_args *args, struct tw_request *q, struct tw_err *err)
{
    int r = check_words(args, err);

    tw_request_init(q);
    q->type = args->sql.count + args->sql_files.count ? "schema_change"
              : is_deployment(args)                   ? "deployment"
                                                      : "config_change";
    if (r == 0 && args->rest.count == 1)
        r = read_body(args, args->rest.items[0], q, err);
    if (r == 0)
        r = fill_options(args, q, err);
    if (r == 0 && !q->target)
        r = tw_fail_at(
            err, -EINVAL, "/target",
            "which target? give --target T, or a change with \"target\"; twin env list "
            "shows what there is");
    return r;
}

/* ---- the answer ---- */

static int exit_of(const struct tw_simulation *s)
{
    static const int exits[TW_VERDICT_COUNT] = {CMD_PROCEED, CMD_REVIEW, CMD_BLOCK};

    if (s->status == TW_SUCCESS)
        return exits[s->decision.verdict];
    return s->problem.code ? cmd_exit_code(s->problem.code) : CMD_NO_ANSWER;
}

/* Of several variants the most serious answer. */
static int worst_exit(struct tw_simulation *const *sims, size_t n)
{
    static const int order[] = {CMD_PROCEED, CMD_REVIEW, CMD_BLOCK, CMD_BAD_INPUT,
                                CMD_NO_ANSWER};
    int worst = 0;

    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < (int)TW_COUNT_OF(order); k++)
            if (order[k] == exit_of(sims[i]) && k > worst)
                worst = k;
    return order[worst];
}

static int print_plan(struct cmd_args *args, struct tw_simulation *const *sims, size_t n,
                      struct tw_err *err)
{
    json_auto_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(list, tw_plan_to_json(&sims[i]->plan));
    return cmd_write_json(args, n == 1 ? json_array_get(list, 0) : list, err);
}

/* The twins stand until Ctrl-C. */
static void wait_with_twins(void *arg, const char *where)
{
    (void)arg;
    cmd_progress_end();
    fprintf(stderr,
            "the twins stand; enter them with\n%sand press Ctrl-C to remove them\n",
            where);
    while (!cmd_cancelled)
        tw_sleep_ns(100 * TW_MSEC_NS);
    cmd_cancelled = false;
    cmd_signal = 0;
    cmd_catch_signals();
}

static int run_all(struct cmd_args *args, struct tw_simulation **sims, size_t n,
                   struct tw_err *err)
{
    struct tw_run_options options = {.state_dir = args->state_dir,
                                     .policy_path = args->policy,
                                     .backend = args->backend,
                                     .data = args->data,
                                     .kept = wait_with_twins,
                                     .dry_run = args->dry_run,
                                     .cancel = &cmd_cancelled};
    int r;

    cmd_catch_signals();
    cmd_progress_begin(args, &options);
    r = tw_run_sweep(&options, sims, n, err);
    cmd_progress_end();
    if (r < 0)
        return r;
    if (args->dry_run && sims[0]->status == TW_RUNNING)
        return print_plan(args, sims, n, err);
    for (size_t i = 0; i < n; i++)
        if (sims[i]->status != TW_SUCCESS)
            fprintf(stderr, "twin: %s\n", sims[i]->error);
    r = cmd_write_reports(args, sims, n, err);
    return r < 0 ? r : worst_exit(sims, n);
}

/* ---- by a daemon ---- */

static int run_there(struct cmd_args *args, struct tw_simulation **sims, size_t n,
                     struct tw_err *err)
{
    int r =
        args->dry_run || args->keep
            ? tw_fail(err, -EINVAL, "--dry-run and --keep are for runs without a daemon")
            : 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        json_auto_t *json = NULL;
        tw_auto_free char *text = NULL;

        r = cmd_ask(args, "POST", "/api/v1/simulation/run",
                    tw_request_to_json(&sims[i]->request), &json, err);
        if (r < 0)
            break;
        text = tw_json_dump(json, JSON_COMPACT);
        tw_simulation_free(sims[i]);
        sims[i] = NULL;
        r = tw_simulation_from_json(text, &sims[i], err);
    }
    for (size_t i = 0; i < n && r == 0; i++)
        if (sims[i]->status != TW_SUCCESS)
            fprintf(stderr, "twin: %s\n", sims[i]->error ? sims[i]->error : "no answer");
    if (r == 0)
        r = cmd_write_reports(args, sims, n, err);
    return r < 0 ? r : worst_exit(sims, n);
}

static int run(struct cmd_args *args, struct tw_err *err)
{
    struct tw_request request;
    struct tw_requests variants;
    struct tw_simulation **sims;
    int r = cmd_request(args, &request, err);

    if (r == 0 && args->format && !tw_report_format_find(args->format, err))
        r = -EINVAL;
    if (r == 0)
        r = tw_change_sweep(args->arena, &request, &variants, err);
    if (r < 0)
        return r;
    sims =
        tw_arena_alloc(args->arena, variants.list.count * sizeof(struct tw_simulation *));
    for (size_t i = 0; i < variants.list.count; i++) {
        sims[i] = tw_simulation_new();
        tw_id_make(sims[i]->id);
        sims[i]->request = variants.list.items[i];
    }
    r = cmd_server(args) ? run_there(args, sims, variants.list.count, err)
                         : run_all(args, sims, variants.list.count, err);
    for (size_t i = 0; i < variants.list.count; i++)
        tw_simulation_free(sims[i]);
    return r;
}

extern const struct cmd cmd_run;
const struct cmd cmd_run = {
    .name = "run",
    .most_words = 1,
    .usage =
        "run [change.json|-] [--target T --set NAME=VALUE …|--sql STATEMENT …] [options]",
    .summary = "simulate a change and decide: proceed, review or block",
    .options =
        " target env set slo measured-instances file sql sql-file image smoke "
        "no-rollback database hours "
        "scenario profile rate "
        "client connections mix fault risk-level engine "
        "seed budget server token-file "
        "policy type backend data scan refresh-data dry-run keep output out color quiet ",
    .examples =
        "examples\n"
        "  twin run --target pg-demo --set max_connections=500 --set shared_buffers=2GB\n"
        "  twin run --target pg-demo --set 'ALTER SYSTEM SET work_mem = ''64MB'''\n"
        "  twin run --target pg-demo --set work_mem=4MB..64MB\n"
        "  twin run --target pg-demo --sql 'CREATE INDEX ON orders (customer)'\n"
        "  twin run --target pg-demo --sql-file migration.sql --database shop\n"
        "  twin run --target shop/web --image web:2 --smoke checks.json\n"
        "  twin run --target pg-demo --file new.conf --hours 72 -o html --out "
        "report.html\n"
        "  twin run --type scaling --target web --set instances=10 --set cpu=500m "
        "--slo p99=50ms\n"
        "  twin run change.json -o json\n",
    .run = run,
};
