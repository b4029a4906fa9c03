/* The worker's side of the queue: one job from standard input, lines of JSON to standard output. */
#include "run_internal.h"

#include "tw/helper.h"

#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JOB_MAX ((size_t)16 << 20)
#define TELL_NS (100 * TW_MSEC_NS) /* events at most this often, but each stage at once */

bool run_write_line(json_t *json)
{
    tw_auto_free char *text = tw_json_dump(json, JSON_COMPACT);
    tw_auto_free char *line = tw_strf("%s\n", text);
    size_t len = strlen(line), at = 0;

    json_decref(json);
    while (at < len) {
        ssize_t n = write(STDOUT_FILENO, line + at, len - at);

        if (n < 0 && errno != EINTR)
            return false;
        at += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* ---- events ---- */

struct telling {
    const char *stage;
    int64_t told_ns;
};

static json_t *arms(const double values[TW_ARM_COUNT])
{
    return json_pack("{s:o, s:o}", "baseline", tw_json_real(values[TW_BASELINE]),
                     "candidate", tw_json_real(values[TW_CANDIDATE]));
}

static void tell(void *arg, const struct tw_run_event *e)
{
    struct telling *t = arg;
    int64_t now = tw_now_ns();

    if (t->stage == e->stage && now - t->told_ns < TELL_NS)
        return;
    t->stage = e->stage;
    t->told_ns = now;
    (void)run_write_line(json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o}", "event", "progress",
        "stage", e->stage, "done", tw_json_real(e->done), "elapsed_s",
        tw_json_real(e->elapsed_s), "left_s", tw_json_real(e->left_s), "p50_ms",
        arms(e->p50_ms), "p95_ms", arms(e->p95_ms), "throughput_per_s",
        arms(e->throughput_per_s), "pairs", e->pairs, "confidence",
        tw_json_real(isnan(e->confidence) ? 0 : e->confidence)));
}

/* ---- the job ---- */

static int read_job_from(int fd, json_t **ret, struct tw_err *err)
{
    tw_auto_buf text = {0};
    char part[65536];
    ssize_t n;

    tw_buf_init(&text, JOB_MAX);
    while ((n = read(fd, part, sizeof(part))) > 0)
        tw_buf_add(&text, part, (size_t)n);
    return tw_json_parse(tw_buf_text(&text), text.len, ret, err);
}

static const char *text_of(const json_t *job, const char *key)
{
    return json_string_value(json_object_get(job, key));
}

/* ---- the verbs ---- */

static json_t *do_run(const struct tw_run_options *options, struct tw_simulation *sim)
{
    struct tw_err err = {0};
    int r = tw_run(options, sim, &err);

    return json_pack("{s:s, s:b, s:o}", "event", "result", "refused", r < 0, "body",
                     tw_simulation_to_json(sim));
}

static json_t *do_sync(const struct tw_run_options *options, struct tw_simulation *sim)
{
    struct tw_err err = {0};
    int r = tw_run_sync(options, sim, &err);

    if (r < 0)
        return json_pack("{s:s, s:b, s:{s:i, s:s}}", "event", "result", "refused", 1,
                         "body", "code", r, "error", err.text);
    return json_pack("{s:s, s:b, s:{s:o, s:o}}", "event", "result", "refused", 0, "body",
                     "snapshot", tw_snapshot_to_json(&sim->snapshot), "seconds",
                     tw_json_real(sim->elapsed_s));
}

/* The snapshot alone: what scheduled looks at production take, with no copy of its data. */
static json_t *do_look(const struct tw_run_options *options, struct tw_simulation *sim)
{
    struct tw_env_list list;
    struct tw_target target;
    struct tw_snapshot snapshot;
    struct tw_err err = {0};
    int r = tw_env_load(sim->arena, options->state_dir, &list, &err);

    if (r == 0)
        r = tw_env_find(&list, sim->request.environment, sim->request.target, &target,
                        &err);
    if (r == 0)
        r = tw_env_snapshot(sim->arena, &target, &snapshot, &err);
    if (r < 0)
        return json_pack("{s:s, s:b, s:{s:i, s:s}}", "event", "result", "refused", 1,
                         "body", "code", r, "error", err.text);
    return json_pack("{s:s, s:b, s:{s:o}}", "event", "result", "refused", 0, "body",
                     "snapshot", tw_snapshot_to_json(&snapshot));
}

/* ---- a run that begins before its change is known ---- */

#define LOOK_MS 250 /* between two looks whether it is cancelled */

struct waiting {
    const volatile bool *cancel;
    json_t *job; /* owned */
};

static bool is_handed(void *arg)
{
    const struct waiting *w = arg;
    struct pollfd at = {.fd = TW_HELPER_HAND_FD, .events = POLLIN};

    return *w->cancel || poll(&at, 1, 0) > 0;
}

static int wait_for_job(void *arg, struct tw_err *err)
{
    struct waiting *w = arg;
    struct pollfd at = {.fd = TW_HELPER_HAND_FD, .events = POLLIN};
    tw_auto_close int fd = -1;

    (void)run_write_line(json_pack("{s:s}", "event", "ready"));
    tw_step("run.standby.ready");
    while ((fd = tw_helper_taken()) == -EAGAIN && !*w->cancel)
        (void)poll(&at, 1, LOOK_MS);
    if (fd < 0)
        return tw_fail(err, -ECANCELED, "nothing was to be simulated");
    (void)run_write_line(json_pack("{s:s}", "event", "taken"));
    return read_job_from(fd, &w->job, err);
}

static int read_simulation(void *arg, struct tw_simulation **ret, struct tw_err *err)
{
    const struct waiting *w = arg;

    return tw_simulation_from_json(text_of(w->job, "simulation"), ret, err);
}

static json_t *do_warm(const struct tw_run_options *options, struct tw_simulation *place)
{
    struct waiting w = {.cancel = options->cancel};
    struct tw_run_next next = {is_handed, wait_for_job, read_simulation, &w};
    tw_auto(tw_simulation) *sim = NULL;
    struct tw_err err = {0};
    json_t *answer;
    int r;

    place->request.type = "config_change";
    r = tw_run_standby(options, place, &next, &sim, &err);
    answer = sim ? json_pack("{s:s, s:b, s:o}", "event", "result", "refused", r < 0, "body",
                             tw_simulation_to_json(sim))
                 : json_pack("{s:s, s:s}", "event", "cold", "why", err.text);
    json_decref(w.job);
    return answer;
}

static const struct {
    const char *name;
    json_t *(*run)(const struct tw_run_options *options, struct tw_simulation *sim);
} verbs[] = {
    {"run", do_run}, {"sync", do_sync}, {"look", do_look}, {"follow", run_follow},
    {"warm", do_warm}};

/* Only a run has a change; of the others the body names where they go. */
static int read_place(const char *body, struct tw_simulation **ret, struct tw_err *err)
{
    static const char *const keys[] = {"target", "environment"};
    struct tw_simulation *sim = tw_simulation_new();
    const char **const to[] = {&sim->request.target, &sim->request.environment};
    json_auto_t *json = NULL;
    const json_t *metadata;
    const char *id;
    int r = body ? tw_json_parse(body, strlen(body), &json, err)
                 : tw_fail(err, -EINVAL, "the job has no 'simulation'");

    for (size_t i = 0; i < TW_COUNT_OF(keys); i++)
        *to[i] = tw_arena_strdup(sim->arena, text_of(json, keys[i]));
    id = text_of(json, "id"); /* what is made for it carries it */
    if (id && tw_id_valid(id))
        memcpy(sim->id, id, sizeof(sim->id));
    metadata = json_object_get(json, "metadata");
    if (json_is_object(metadata)) {
        tw_auto_free char *text = tw_json_dump(metadata, JSON_COMPACT);

        sim->request.metadata = tw_arena_strdup(sim->arena, text);
    }
    *ret = sim;
    return r;
}

/* Verb, state directory and policy come from whoever started it and are stronger than the job, which
 * was written by somebody with fewer rights. */
int tw_worker_main(int argc, char **argv, const volatile bool *cancel)
{
    tw_auto(tw_simulation) *sim = NULL;
    struct telling telling = {0};
    json_auto_t *job = NULL;
    struct tw_err err = {0};
    int r = read_job_from(STDIN_FILENO, &job, &err);
    struct tw_run_options options = {.state_dir = argc > 1 ? argv[1] : NULL,
                                     .policy_path = argc > 2 ? argv[2] : NULL,
                                     .event = tell,
                                     .arg = &telling,
                                     .cancel = cancel,
                                     .no_history = true};

    if (r == 0)
        r = argc > 0 && tw_streq(argv[0], "run")
                ? tw_simulation_from_json(text_of(job, "simulation"), &sim, &err)
                : read_place(text_of(job, "simulation"), &sim, &err);
    for (size_t i = 0; i < TW_COUNT_OF(verbs) && r == 0; i++)
        if (argc > 0 && tw_streq(verbs[i].name, argv[0]))
            return run_write_line(verbs[i].run(&options, sim)) ? 0 : 1;
    tw_log(TW_LOG_ERROR, "worker: %s",
           r < 0 ? err.text : "the job has no verb that is known");
    return 1;
}

const char *const *tw_worker_verbs(void)
{
    static const char *names[TW_COUNT_OF(verbs) + 1];

    for (size_t i = 0; i < TW_COUNT_OF(verbs); i++)
        names[i] = verbs[i].name;
    return names;
}

const char *const *tw_worker_waiting(void)
{
    static const char *const names[] = {"warm", NULL};

    return names;
}
