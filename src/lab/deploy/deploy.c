/* The experiment: start, check, ask, take away what is behind, stop, take back. */
#include "deploy_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HEALTH_S     3.0
#define CUT_S        0.6
#define BACK_ANSWERS 12
#define LOG_BYTES    900

const char *deploy_endpoint(const struct deploy *d, int request)
{
    const struct tw_ask *k;

    if (request < 0)
        return NULL;
    k = &d->asks.list.items[request];
    return tw_arena_printf(d->a, "%s %s", k->method, k->path);
}

static void lap(struct deploy *d, const char *name)
{
    int64_t now = tw_now_ns();

    TW_PUSH(d->a, &d->ret->stages,
            (struct tw_stage_time){name, tw_seconds(now - d->lap_ns)});
    d->lap_ns = now;
}

/* ---- starting, all at once ---- */

struct starting {
    struct tw_priv *priv;
    const struct tw_instance_spec *spec;
    struct tw_instance **to;
    double patience_s;
    void *(*main)(void *);
    pthread_t thread;
    bool threaded;
    struct tw_err err;
    int result;
};

static void *open_main(void *arg)
{
    struct starting *s = arg;

    s->result = tw_instance_open(s->priv, s->spec, s->to, &s->err);
    return NULL;
}

static void *start_main(void *arg)
{
    struct starting *s = arg;

    s->result = tw_instance_start(*s->to, &s->err);
    if (s->result == 0)
        (void)tw_instance_wait(*s->to, tw_now_ns() + (int64_t)(s->patience_s * 1e9));
    return NULL;
}

static void begin_each(struct starting *all, size_t n, void *(*main)(void *))
{
    for (size_t i = 0; i < n; i++) {
        all[i].main = main;
        all[i].threaded = pthread_create(&all[i].thread, NULL, main, &all[i]) == 0;
    }
}

/* A program that is not there is the new version's fault, not ours. */
static int end_each(struct deploy *d, struct starting *all, size_t n, struct tw_err *err)
{
    int r = 0;

    for (size_t i = 0; i < n; i++) {
        if (all[i].threaded)
            (void)pthread_join(all[i].thread, NULL);
        else
            (void)all[i].main(&all[i]);
        if (all[i].result < 0 && i == TW_SIDE_NEW)
            d->no_start = tw_arena_strdup(d->a, all[i].err.text);
        if (all[i].result < 0 && r == 0 && !(i == TW_SIDE_NEW && d->side[i])) {
            r = all[i].result;
            if (err)
                *err = all[i].err;
        }
    }
    return r;
}

/* They are made while what is behind them begins; then they start all at once. */
static int start_all(struct deploy *d, struct tw_err *err)
{
    const struct tw_deploy_spec *s = d->spec;
    struct starting all[TW_SIDE_COUNT];
    int r = 0, opened;

    for (size_t i = 0; i < TW_SIDE_COUNT; i++)
        all[i] = (struct starting){.priv = s->priv,
                                   .spec = &s->sides[i],
                                   .to = &d->side[i],
                                   .patience_s = s->start_s};
    begin_each(all, TW_SIDE_COUNT, open_main);
    if (s->begin)
        r = s->begin(s->arg, err);
    opened = end_each(d, all, TW_SIDE_COUNT, r < 0 ? NULL : err);
    r = r < 0 ? r : opened;
    if (r < 0)
        return r;
    lap(d, "open");
    begin_each(all, TW_SIDE_COUNT, start_main);
    r = end_each(d, all, TW_SIDE_COUNT, err);
    tw_step("deploy.started");
    return r;
}

/* ---- checks ---- */

static struct tw_smoke_result check(struct deploy *d, const struct tw_smoke *c,
                                    struct tw_instance *i)
{
    struct tw_smoke_result result;

    tw_smoke_try(c, tw_instance_site(i), d->a, &result);
    return result;
}

static void run_smoke(struct deploy *d)
{
    const struct tw_smokes *all = d->spec->smoke;

    for (size_t i = 0; all && i < all->list.count; i++) {
        const struct tw_smoke *c = &all->list.items[i];
        struct tw_smoke_result before = check(d, c, d->side[TW_SIDE_OLD]),
                               after = check(d, c, d->side[TW_SIDE_NEW]);

        TW_PUSH(d->a, &d->ret->of.smoke,
                (struct tw_smoke_outcome){c->name, c->kind, before.passed, after.passed,
                                          before.words, after.words, before.seconds,
                                          after.seconds});
    }
}

/* ---- what is behind them, away for a moment ---- */

static bool tells_health(const char *path)
{
    static const char *const words[] = {"health", "ready", "live", "status", "ping"};

    for (size_t i = 0; i < TW_COUNT_OF(words); i++)
        if (strstr(path, words[i]))
            return true;
    return false;
}

/* Its own check fails, or one of its health pages answers otherwise than it did. */
static bool notices(struct deploy *d, enum tw_side side)
{
    struct tw_instance *i = d->side[side];
    tw_auto(tw_arena) *a = tw_arena_new();
    bool seen = tw_instance_health(i, a, CUT_S, NULL) == 0;

    for (size_t k = 0; k < d->asks.list.count && !seen; k++) {
        struct tw_ask ask = d->asks.list.items[k];
        struct tw_wire line;
        struct tw_reply reply;

        if (!tells_health(ask.path))
            continue;
        ask.within_s = CUT_S;
        tw_wire_init(&line, tw_instance_site(i), 0);
        tw_wire_ask(&line, a, &ask, &reply);
        tw_wire_done(&line);
        seen = reply.status == 0 || reply.status >= 500;
    }
    return seen;
}

static void *notice_main(void *arg)
{
    struct deploy *d = arg;

    d->cut_seen[TW_SIDE_NEW] = notices(d, TW_SIDE_NEW);
    return NULL;
}

static void try_cut(struct deploy *d)
{
    const struct tw_deploy_spec *s = d->spec;
    pthread_t thread;
    bool beside;

    for (int side = 0; side < TW_SIDE_COUNT; side++)
        d->healthy[side] = tw_instance_health(d->side[side], d->a, HEALTH_S, NULL);
    if (!s->cut)
        return;
    s->cut(s->arg, true);
    d->cut_tried = true;
    beside = pthread_create(&thread, NULL, notice_main, d) == 0;
    d->cut_seen[TW_SIDE_OLD] = notices(d, TW_SIDE_OLD);
    if (beside)
        (void)pthread_join(thread, NULL);
    else
        (void)notice_main(d);
    s->cut(s->arg, false);
}

/* ---- stopping ---- */

struct stopping {
    struct tw_instance *i;
    double patience_s;
    struct tw_stopped *to;
};

static void *stop_main(void *arg)
{
    struct stopping *s = arg;

    tw_instance_stop(s->i, s->patience_s, s->to);
    return NULL;
}

/* Old and new at once: what the host is busy with hits both. */
static void stop_both(struct deploy *d)
{
    static const enum tw_side sides[] = {TW_SIDE_AGAIN, TW_SIDE_NEW};
    struct stopping all[TW_COUNT_OF(sides)];
    pthread_t thread;
    bool beside;

    for (size_t k = 0; k < TW_COUNT_OF(sides); k++)
        all[k] =
            (struct stopping){d->side[sides[k]], d->spec->stop_s, &d->stopped[sides[k]]};
    beside = pthread_create(&thread, NULL, stop_main, &all[0]) == 0;
    if (!beside)
        (void)stop_main(&all[0]);
    (void)stop_main(&all[1]);
    if (beside)
        (void)pthread_join(thread, NULL);
    tw_step("deploy.stopped");
}

/* ---- back ---- */

static const char *failed_check(struct deploy *d)
{
    const struct tw_smokes *all = d->spec->smoke;

    for (size_t i = 0; all && i < all->list.count; i++) {
        struct tw_smoke_result now;

        if (!d->ret->of.smoke.items[i].before)
            continue;
        now = check(d, &all->list.items[i], d->back);
        if (!now.passed)
            return tw_arena_printf(d->a, "%s: %s", all->list.items[i].name, now.words);
    }
    return NULL;
}

static void ask_back(struct deploy *d)
{
    struct tw_wire line;

    tw_wire_init(&line, tw_instance_site(d->back), 0);
    for (int n = 0; n < BACK_ANSWERS; n++)
        for (size_t k = 0; k < d->asks.list.count; k++) {
            tw_auto(tw_arena) *a = tw_arena_new();
            struct tw_ask ask = d->asks.list.items[k];
            struct tw_reply reply;

            ask.within_s = 1;
            tw_wire_ask(&line, a, &ask, &reply);
            tw_answers_add(d->back_answers, TW_SIDE_NEW, (int)k, &reply);
        }
    tw_wire_done(&line);
}

static int take_back(struct deploy *d, struct tw_err *err)
{
    struct tw_differences differences = {0};
    const char *no_start = NULL, *no_smoke = NULL;
    int64_t begun = tw_now_ns();
    int r = tw_instance_start(d->back, err);

    if (r < 0)
        return tw_wrap(err, r, "taking the deployment back");
    if (tw_instance_wait(d->back, begun + (int64_t)(d->spec->start_s * 1e9))) {
        d->ret->of.rollback_s = tw_instance_start_s(d->back);
        no_smoke = failed_check(d);
        ask_back(d);
        tw_answers_compare(d->a, d->back_answers, &differences);
    } else {
        no_start = tw_arena_printf(d->a, "%s: %s",
                                   tw_instance_exit(d->back) >= 0
                                       ? tw_arena_printf(d->a, "it ended with status %d",
                                                         tw_instance_exit(d->back))
                                       : "it does not answer",
                                   tw_instance_log_ends(d->back, d->a, LOG_BYTES));
    }
    deploy_judge_back(d, no_start, no_smoke, &differences);
    tw_step("deploy.back");
    return 0;
}

/* ---- the whole ---- */

static void *close_main(void *arg)
{
    tw_instance_close(arg);
    return NULL;
}

/* All at once: each waits for its kernel or Engine. */
static void close_all(struct deploy *d)
{
    struct tw_instance *all[] = {d->side[TW_SIDE_OLD], d->side[TW_SIDE_AGAIN],
                                 d->side[TW_SIDE_NEW], d->back};
    pthread_t threads[TW_COUNT_OF(all)];
    bool threaded[TW_COUNT_OF(all)];

    for (size_t i = 0; i < TW_COUNT_OF(all); i++)
        threaded[i] = pthread_create(&threads[i], NULL, close_main, all[i]) == 0;
    for (size_t i = 0; i < TW_COUNT_OF(all); i++)
        if (threaded[i])
            (void)pthread_join(threads[i], NULL);
        else
            tw_instance_close(all[i]);
    tw_answers_free(d->answers);
    tw_answers_free(d->back_answers);
    (void)pthread_mutex_destroy(&d->lock);
}

static void name_versions(struct deploy *d)
{
    const struct tw_deploy_spec *s = d->spec;

    for (size_t i = 0; i < TW_COUNT_OF(s->names_before); i++) {
        tw_answers_names(d->answers, TW_SIDE_OLD, s->names_before[i]);
        tw_answers_names(d->answers, TW_SIDE_NEW, s->names_after[i]);
    }
}

static int try_both(struct deploy *d, struct tw_err *err)
{
    const struct tw_deploy_spec *s = d->spec;
    struct starting back = {.priv = s->priv, .spec = &s->back, .to = &d->back};
    int r = 0;

    run_smoke(d);
    lap(d, "smoke");
    tw_deploy_endpoints(d->a, d->side[TW_SIDE_OLD], &s->asks, &d->asks);
    name_versions(d);
    lap(d, "endpoints");
    if (d->asks.list.count)
        deploy_ask(d);
    lap(d, "ask");
    tw_answers_compare(d->a, d->answers, &d->differences);
    lap(d, "compare");
    if (s->rollback) /* nothing is measured any more: it is made beside the rest */
        begin_each(&back, 1, open_main);
    try_cut(d);
    lap(d, "health");
    stop_both(d);
    lap(d, "stop");
    deploy_judge(d);
    if (s->rollback)
        r = end_each(d, &back, 1, err);
    if (s->rollback && r == 0)
        r = take_back(d, err);
    lap(d, "rollback");
    return r;
}

int tw_deploy_try(struct tw_arena *a, const struct tw_deploy_spec *spec,
                  struct tw_deployed *ret, struct tw_issues *issues, struct tw_err *err)
{
    struct deploy d = {.a = a,
                       .spec = spec,
                       .ret = ret,
                       .issues = issues,
                       .answers = tw_answers_new(),
                       .back_answers = tw_answers_new()};
    int r;

    *ret = (struct tw_deployed){.apdex = {NAN, NAN}, .failed = {NAN, NAN}, .noise = NAN};
    ret->of = (struct tw_deployment){.image_before = spec->image_before,
                                     .image_after = spec->image_after,
                                     .stop_before_s = NAN,
                                     .stop_after_s = NAN,
                                     .exit_before = -1,
                                     .exit_after = -1,
                                     .leak_before = tw_unknown,
                                     .leak_after = tw_unknown,
                                     .memory_before_bytes = NAN,
                                     .memory_after_bytes = NAN,
                                     .log_before_bytes = NAN,
                                     .log_after_bytes = NAN,
                                     .unseen_share = NAN,
                                     .objective_ms = NAN,
                                     .over_before = NAN,
                                     .over_after = NAN,
                                     .broken_before = NAN,
                                     .broken_after = NAN,
                                     .rollback = "not tried",
                                     .rollback_s = NAN};
    (void)pthread_mutex_init(&d.lock, NULL);
    d.lap_ns = tw_now_ns();
    r = start_all(&d, err);
    lap(&d, "start");
    if (r == 0) {
        struct tw_instance *old = d.side[TW_SIDE_OLD];

        ret->old_started = !isnan(tw_instance_start_s(old)) &&
                           !isnan(tw_instance_start_s(d.side[TW_SIDE_AGAIN]));
        ret->new_started = !isnan(tw_instance_start_s(d.side[TW_SIDE_NEW]));
        ret->of.start_before_s =
            fmax(tw_instance_start_s(old), tw_instance_start_s(d.side[TW_SIDE_AGAIN]));
        ret->of.start_after_s = tw_instance_start_s(d.side[TW_SIDE_NEW]);
        if (!ret->old_started)
            ret->no_start = tw_instance_log_ends(old, a, LOG_BYTES);
        else if (!ret->new_started)
            deploy_judge(&d);
        else
            r = try_both(&d, err);
    }
    d.lap_ns = tw_now_ns();
    close_all(&d);
    lap(&d, "close");
    return r;
}
