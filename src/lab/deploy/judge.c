/* What was seen, said as findings: a row for each kind of difference, a function for each thing that is
 * measured. */
#include "deploy_internal.h"

#include "tw/num.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define LOG_BYTES    900
#define SLOW_START_S 1.0 /* more than twice as long, and by so much */
#define SLOW_START   2.0
#define FLOOD        3.0 /* times as much log, and so many bytes more for each request */
#define FLOOD_BYTES  40
#define SLOW_STOP_S  1.0
#define SHOWN        6

static struct tw_issue *tell(struct deploy *d, enum tw_severity severity,
                             enum tw_verdict at_least, const char *code,
                             const char *title, const char *evidence, const char *remedy)
{
    return tw_issue_add(d->a, d->issues, severity, at_least, code, title, evidence,
                        remedy);
}

/* ---- answers ---- */

static const struct kind {
    const char *word, *code, *title, *remedy;
    enum tw_severity severity;
    enum tw_verdict at_least;
} kinds[TW_DIFFERS_COUNT] = {
    [TW_DIFFERS_STATUS] = {"status", "deploy.status",
                           "requests are answered with another status",
                           "read the new version's log of these requests before users do",
                           TW_HIGH, TW_BLOCK},
    [TW_DIFFERS_TYPE_OF_BODY] = {"content type", "deploy.content_type",
                                 "the content type of an answer is another",
                                 "clients choose their parser by it: send what they know",
                                 TW_HIGH, TW_REVIEW},
    [TW_DIFFERS_HEADER] = {"header", "deploy.header",
                           "a header is gone or says something else",
                           "caches and browsers act on headers: was that meant?",
                           TW_MEDIUM, TW_REVIEW},
    [TW_DIFFERS_MISSING] = {"field missing", "deploy.field_missing",
                            "a field of the answer is gone",
                            "keep the field until no client reads it", TW_HIGH,
                            TW_REVIEW},
    [TW_DIFFERS_NEW] = {"field new", "deploy.field_new", "a field was added", NULL,
                        TW_INFO, TW_PROCEED},
    [TW_DIFFERS_TYPE] = {"field type", "deploy.field_type",
                         "a field of the answer has another type",
                         "give the new form a new name; clients read the old one",
                         TW_HIGH, TW_REVIEW},
    [TW_DIFFERS_FORMAT] = {"format", "deploy.format",
                           "a value of the answer has another form",
                           "clients parse the old form: was that meant?", TW_HIGH,
                           TW_REVIEW},
    [TW_DIFFERS_TIME] =
        {"time", "deploy.time", "times in the answers are shifted",
         "compare the time zone (TZ, of the database session) of both versions", TW_HIGH,
         TW_REVIEW},
    [TW_DIFFERS_VALUE] = {"value", "deploy.value", "a value that stood still is another",
                          "was that meant? the same data gives another answer", TW_MEDIUM,
                          TW_REVIEW},
    [TW_DIFFERS_TEXT] = {"text", "deploy.text", "the wording of an answer is another",
                         NULL, TW_INFO, TW_PROCEED},
    [TW_DIFFERS_ORDER] = {"order", "deploy.order",
                          "a list has other elements or another order", NULL, TW_LOW,
                          TW_PROCEED},
    [TW_DIFFERS_EMPTY] = {"empty", "deploy.empty",
                          "an answer or a list is empty, or no longer",
                          "was that meant? the same data gives another answer", TW_HIGH,
                          TW_REVIEW},
};

static const char *quoted(struct tw_arena *a, const char *text)
{
    return text ? tw_arena_printf(a, "'%s'", text) : "nothing";
}

static const char *describe(struct deploy *d, const struct tw_difference *one)
{
    const char *endpoint = deploy_endpoint(d, one->request);
    const char *what =
        isnan(one->shift_s)
            ? tw_arena_printf(d->a, "%s before, %s now", quoted(d->a, one->before),
                              quoted(d->a, one->after))
            : tw_arena_printf(d->a, "%+.6g hours", one->shift_s / 3600);

    return tw_arena_printf(
        d->a, "%s%s%s: %s (in %lld of %lld answers before, in %lld of %lld now)",
        endpoint ? endpoint : "all requests", one->where ? ", " : "",
        one->where ? one->where : "", what, (long long)one->had_before,
        (long long)one->of_before, (long long)one->had_after, (long long)one->of_after);
}

static bool is_harmless(const struct tw_difference *one)
{
    /* a header that came; what fails less than before */
    if (one->kind == TW_DIFFERS_HEADER)
        return !one->before;
    return one->kind == TW_DIFFERS_STATUS && one->request >= 0 && one->after &&
           one->after[0] == '2' && one->before && one->before[0] != '2';
}

/* One finding for all differences of a kind. */
static void tell_kind(struct deploy *d, const struct tw_differences *all, int kind,
                      const char *prefix)
{
    const struct kind *k = &kinds[kind];
    tw_auto_buf lines = {0};
    int n = 0;
    bool harmless = true;

    tw_buf_init(&lines, 8192);
    for (size_t i = 0; i < all->list.count; i++) {
        const struct tw_difference *one = &all->list.items[i];

        if ((int)one->kind != kind)
            continue;
        harmless &= is_harmless(one);
        if (n++ < SHOWN)
            tw_buf_printf(&lines, "%s%s", lines.len ? "\n" : "", describe(d, one));
    }
    if (n > SHOWN)
        tw_buf_printf(&lines, "\nand %d more", n - SHOWN);
    if (n)
        (void)tell(d, harmless ? TW_INFO : k->severity,
                   harmless ? TW_PROCEED : k->at_least, k->code,
                   tw_arena_printf(d->a, "%s%s", prefix, k->title), tw_buf_text(&lines),
                   harmless ? NULL : k->remedy);
}

static void keep_differences(struct deploy *d)
{
    struct tw_deployment *of = &d->ret->of;

    for (size_t i = 0; i < d->differences.list.count; i++) {
        const struct tw_difference *one = &d->differences.list.items[i];
        struct tw_answer_difference kept = {
            .kind = kinds[one->kind].word,
            .endpoint = deploy_endpoint(d, one->request),
            .where = one->where,
            .before = one->before,
            .after = isnan(one->shift_s)
                         ? one->after
                         : tw_arena_printf(d->a, "%+.6g hours", one->shift_s / 3600),
            .had_before = one->had_before,
            .of_before = one->of_before,
            .had_after = one->had_after,
            .of_after = one->of_after};

        TW_PUSH(d->a, &of->differences, kept);
    }
    of->requests = d->asked[TW_SIDE_NEW];
    of->volatile_parts = d->differences.volatile_parts;
}

/* An error that a few requests in a hundred meet is told with its bounds. */
static void judge_answers(struct deploy *d)
{
    double low;

    keep_differences(d);
    for (int kind = 0; kind < TW_DIFFERS_COUNT; kind++)
        tell_kind(d, &d->differences, kind, "");
    tw_share_bounds(0, d->asked[TW_SIDE_NEW], 0.9, &low, &d->ret->of.unseen_share);
}

/* ---- start, checks, health ---- */

static void judge_start(struct deploy *d)
{
    struct tw_instance *now = d->side[TW_SIDE_NEW];
    const struct tw_deployment *of = &d->ret->of;

    if (!d->ret->new_started) {
        const char *tail =
            now ? tw_instance_log_ends(now, d->a, LOG_BYTES) : "it cannot be started";
        int status = now ? tw_instance_exit(now) : -1;

        (void)tell(d, TW_CRITICAL, TW_BLOCK, "deploy.start",
                   status >= 0 ? tw_arena_printf(d->a,
                                                 "the new version ends with status %d "
                                                 "instead of serving",
                                                 status)
                               : tw_arena_printf(
                                     d->a, "the new version does not answer within %g s",
                                     d->spec->start_s),
                   *tail         ? tail
                   : d->no_start ? d->no_start
                                 : "it printed nothing",
                   "mend what it says and simulate again; today's version serves");
        return;
    }
    if (of->start_after_s > SLOW_START * of->start_before_s &&
        of->start_after_s > of->start_before_s + SLOW_START_S)
        (void)tell(
            d, TW_MEDIUM, TW_REVIEW, "deploy.start_slow",
            tw_arena_printf(d->a, "it takes %.1f s until it answers, %.1f s before",
                            of->start_after_s, of->start_before_s),
            "a restart is an outage of that length; an orchestrator may give up first",
            "lengthen the start period of health checks, or deploy with a second "
            "instance beside");
}

static void judge_smoke(struct deploy *d)
{
    for (size_t i = 0; i < d->ret->of.smoke.count; i++) {
        const struct tw_smoke_outcome *s = &d->ret->of.smoke.items[i];

        if (s->after)
            continue;
        (void)tell(d, s->before ? TW_CRITICAL : TW_MEDIUM,
                   s->before ? TW_BLOCK : TW_REVIEW,
                   s->before ? "deploy.smoke" : "deploy.smoke_before",
                   tw_arena_printf(d->a, "check '%s' fails%s", s->name,
                                   s->before ? "" : ", but with today's version too"),
                   s->words_after,
                   s->before ? "the new version does not do what it has to"
                             : "mend the check, or what it looks for in the clone");
    }
}

static bool fails_requests(const struct deploy *d)
{
    for (size_t i = 0; i < d->differences.list.count; i++)
        if (d->differences.list.items[i].kind == TW_DIFFERS_STATUS &&
            !is_harmless(&d->differences.list.items[i]))
            return true;
    return false;
}

static void judge_health(struct deploy *d)
{
    if (d->healthy[TW_SIDE_NEW] == 0 && d->healthy[TW_SIDE_OLD] != 0)
        (void)tell(d, TW_CRITICAL, TW_BLOCK, "deploy.unhealthy",
                   "the health check of the new version fails", "that of today's passes",
                   "an engine or orchestrator would take it out of service");
    if (d->healthy[TW_SIDE_NEW] == 1 && fails_requests(d))
        (void)tell(d, TW_HIGH, TW_REVIEW, "deploy.health_blind",
                   "requests fail while the health check stays green",
                   "see deploy.status; nothing would take it out of service",
                   "let the check do what users do, what it needs behind it included");
    else if (d->cut_tried && d->cut_seen[TW_SIDE_OLD] && !d->cut_seen[TW_SIDE_NEW])
        (void)tell(
            d, TW_HIGH, TW_REVIEW, "deploy.health_blind",
            "the health check stays green while the services behind it are away",
            "with the services behind them stopped for a moment today's check fails "
            "and the new one passes",
            "let the check ask what the service needs");
}

/* ---- memory, log, stop ---- */

static double last_of(const struct deploy_samples *s)
{
    return s->bytes.count ? s->bytes.items[s->bytes.count - 1] : NAN;
}

static void judge_memory(struct deploy *d)
{
    struct tw_deployment *of = &d->ret->of;
    const struct tw_leak *now = &d->leak[TW_SIDE_NEW];
    double limit = d->spec->memory_limit_bytes, free_bytes, hours;
    const char *until = "";

    of->leak_before = d->leak[TW_SIDE_OLD].per_request;
    of->leak_after = now->per_request;
    of->memory_before_bytes = last_of(&d->memory[TW_SIDE_OLD]);
    of->memory_after_bytes = last_of(&d->memory[TW_SIDE_NEW]);
    if (!tw_version_leaks(&d->leak[TW_SIDE_OLD], now))
        return;
    free_bytes = limit - of->memory_after_bytes;
    hours = free_bytes / now->per_request.value / d->spec->rate_per_s / 3600;
    if (isfinite(hours) && hours > 0)
        until = tw_arena_printf(
            d->a, "; at %g requests per second the limit of %s is reached after %.1f h",
            d->spec->rate_per_s, tw_show_bytes(d->a, limit), hours);
    (void)tell(
        d, TW_HIGH, TW_REVIEW, "deploy.leak",
        tw_arena_printf(d->a, "each request keeps about %s of memory",
                        tw_show_bytes(d->a, now->per_request.value)),
        tw_arena_printf(d->a,
                        "slope %.0f to %.0f bytes for each request (90 %%), %s grown in "
                        "%lld requests; before %.0f to %.0f%s",
                        now->per_request.low, now->per_request.high,
                        tw_show_bytes(d->a, now->grown_bytes),
                        (long long)d->asked[TW_SIDE_NEW], of->leak_before.low,
                        of->leak_before.high, until),
        "look for what is kept for each request; a restart now and then hides it");
}

static void judge_log(struct deploy *d)
{
    struct tw_deployment *of = &d->ret->of;
    double per[TW_SIDE_COUNT];

    for (int side = 0; side < TW_SIDE_COUNT; side++)
        per[side] = (double)(tw_instance_log_bytes(d->side[side]) - d->log_from[side]) /
                    fmax(1, (double)d->asked[side]);
    of->log_before_bytes = per[TW_SIDE_OLD];
    of->log_after_bytes = per[TW_SIDE_NEW];
    if (per[TW_SIDE_NEW] > FLOOD * per[TW_SIDE_OLD] &&
        per[TW_SIDE_NEW] > per[TW_SIDE_OLD] + FLOOD_BYTES)
        (void)tell(d, TW_MEDIUM, TW_REVIEW, "deploy.log_flood",
                   tw_arena_printf(d->a,
                                   "it logs %.0f bytes for each request, %.0f before",
                                   per[TW_SIDE_NEW], per[TW_SIDE_OLD]),
                   tw_arena_printf(d->a, "'%s'",
                                   tw_instance_log_ends(d->side[TW_SIDE_NEW], d->a, 160)),
                   "lower the log level, or make sure that logs are rotated");
}

static void judge_stop(struct deploy *d)
{
    struct tw_deployment *of = &d->ret->of;
    const struct tw_stopped *old = &d->stopped[TW_SIDE_AGAIN],
                            *now = &d->stopped[TW_SIDE_NEW];
    int signal = d->spec->sides[TW_SIDE_NEW].stop_signal;
    const char *name = sigabbrev_np(signal ? signal : SIGTERM);

    of->stop_signal = tw_arena_printf(d->a, "SIG%s", name ? name : "?");
    of->stop_before_s = old->seconds;
    of->stop_after_s = now->seconds;
    of->exit_before = old->exit_status;
    of->exit_after = now->exit_status;
    if (isnan(now->seconds) && !isnan(old->seconds))
        (void)tell(
            d, TW_HIGH, TW_REVIEW, "deploy.stop",
            tw_arena_printf(d->a, "it does not end on %s", of->stop_signal),
            tw_arena_printf(d->a,
                            "still there after %g s, today's version ended after "
                            "%.2f s; the engine kills it after %g s, with whatever "
                            "it is doing",
                            d->spec->stop_s, old->seconds, d->spec->grace_s),
            "handle the signal, or exec the program so that it gets it");
    else if (now->seconds > old->seconds + SLOW_STOP_S && now->seconds > 2 * old->seconds)
        (void)tell(d, TW_MEDIUM, TW_REVIEW, "deploy.stop",
                   tw_arena_printf(d->a, "it takes %.1f s to end, %.1f s before",
                                   now->seconds, old->seconds),
                   "each deployment and restart waits for it", "see what it waits for");
    if (now->exit_status != old->exit_status && old->exit_status == 0 &&
        !isnan(now->seconds))
        (void)tell(d, TW_MEDIUM, TW_REVIEW, "deploy.exit",
                   tw_arena_printf(d->a,
                                   "stopped on purpose it ends with status %d, 0 before",
                                   now->exit_status),
                   "restart policies and orchestrators take that for a crash",
                   "end with 0 when asked to end");
}

/* ---- what users notice ---- */

static double share_over(const double *x, size_t n, double objective_s)
{
    size_t over = 0;

    for (size_t i = 0; i < n; i++)
        over += x[i] > objective_s;
    return n ? (double)over / (double)n : NAN;
}

/* Of those that were answered. */
static double quantile_ms(const double *x, size_t n, double q)
{
    tw_auto_free double *answered = tw_alloc((n + 1) * sizeof(double));
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i]))
            answered[count++] = x[i];
    return count ? 1000 * tw_quantile(answered, count, q) : NAN;
}

static void judge_users(struct deploy *d)
{
    struct tw_deployment *of = &d->ret->of;
    const struct deploy_times *t = &d->total;
    double objective = quantile_ms(t->all[0].items, t->all[0].count, 0.95) / 1000;

    if (isnan(objective))
        return;
    of->objective_ms = 1000 * objective;
    for (int after = 0; after < 2; after++) {
        int side = after ? TW_SIDE_NEW : TW_SIDE_OLD;
        double over = share_over(t->all[side].items, t->all[side].count, objective);
        double broken = d->sessions ? (double)d->broken[side] / (double)d->sessions : NAN;

        d->ret->apdex[after] =
            tw_apdex(t->all[side].items, t->all[side].count, objective);
        d->ret->failed[after] =
            (double)t->failed[side] / fmax(1, (double)t->all[side].count);
        *(after ? &of->over_after : &of->over_before) = over;
        *(after ? &of->broken_after : &of->broken_before) = broken;
    }
    for (size_t i = 0; i < d->asks.list.count; i++) {
        const struct deploy_times *own = &d->times[i];
        const double *x[2] = {own->all[TW_SIDE_OLD].items, own->all[TW_SIDE_NEW].items};
        size_t n = own->all[TW_SIDE_OLD].count;
        struct tw_endpoint_experience e = {
            .endpoint = deploy_endpoint(d, (int)i),
            .requests = (int64_t)n,
            .p50_before_ms = quantile_ms(x[0], n, 0.5),
            .p50_after_ms = quantile_ms(x[1], n, 0.5),
            .p95_before_ms = quantile_ms(x[0], n, 0.95),
            .p95_after_ms = quantile_ms(x[1], n, 0.95),
            .apdex_before = tw_apdex(x[0], n, objective),
            .apdex_after = tw_apdex(x[1], n, objective),
            .over_before = share_over(x[0], n, objective),
            .over_after = share_over(x[1], n, objective),
            .failed_before = (double)own->failed[TW_SIDE_OLD] / fmax(1, (double)n),
            .failed_after = (double)own->failed[TW_SIDE_NEW] / fmax(1, (double)n)};

        TW_PUSH(d->a, &of->endpoints, e);
    }
}

static void judge_times(struct deploy *d)
{
    for (size_t i = 0; i < d->ret->effects.count; i++) {
        const struct tw_effect *e = &d->ret->effects.items[i];
        double margin = fmax(i ? 0.5 : 0.25, e->tail_share);

        if (e->ratio.low > 1 + margin && !(e->noise_floor > log(e->ratio.low) / 2))
            (void)tell(d, TW_HIGH, TW_REVIEW, "deploy.slower",
                       tw_arena_printf(d->a, "%s of its answers is %.1f ms, %.1f before",
                                       i ? "the 95th percentile" : "the median", e->after,
                                       e->before),
                       tw_arena_printf(d->a,
                                       "%.2f to %.2f times as long (90 %%, %lld rounds); "
                                       "old against old differs by %.0f %%",
                                       e->ratio.low, e->ratio.high, (long long)e->ratio.n,
                                       100 * (exp(e->noise_floor) - 1)),
                       "see user_experience for the endpoints that it hits");
    }
}

void deploy_judge(struct deploy *d)
{
    judge_start(d);
    if (!d->ret->new_started)
        return;
    judge_smoke(d);
    judge_answers(d);
    judge_health(d);
    judge_times(d);
    judge_memory(d);
    judge_log(d);
    judge_stop(d);
    judge_users(d);
}

/* ---- back ---- */

void deploy_judge_back(struct deploy *d, const char *no_start, const char *no_smoke,
                       const struct tw_differences *differences)
{
    const char *why = no_start ? no_start : no_smoke;
    size_t i = 0;

    /* What only moved on while the new version ran is no loss. */
    for (; i < differences->list.count && !why; i++) {
        enum tw_verdict at_least = kinds[differences->list.items[i].kind].at_least;

        if (at_least >= TW_REVIEW && !is_harmless(&differences->list.items[i]) &&
            differences->list.items[i].kind != TW_DIFFERS_VALUE)
            why = describe(d, &differences->list.items[i]);
    }
    d->ret->of.rollback = why ? "not restored" : "restored";
    if (!why)
        return;
    (void)tell(
        d, TW_CRITICAL, TW_BLOCK, "deploy.rollback",
        no_start ? "taken back, today's version does not start on what the new one left "
                   "behind"
                 : "taken back, today's version does not answer as before",
        why,
        "make the new version write what the old one reads, for as long as a way back is "
        "wanted; or take a copy of the data before");
}
