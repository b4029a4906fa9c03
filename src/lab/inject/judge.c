/* Reload and restart, judged by the service itself on its own files. */
#include "tw/inject.h"

#include <math.h>
#include <string.h>

/* A reload has no end that can be waited for: its words are there when the log has been
 * quiet for a moment after the first of them. */
#define RELOAD_QUIET_NS (40 * TW_MSEC_NS)
#define RELOAD_MOST_NS  (400 * TW_MSEC_NS)
/* A kind that knows its last word waits for that, however slow the machine. */
#define RELOAD_TOLD_NS  (5 * TW_SEC_NS)
#define RELOAD_AGAIN_NS (150 * TW_MSEC_NS)

struct judging {
    struct tw_arena *a;
    struct tw_twin *twin;
    const struct tw_service_kind *kind;
    const struct tw_plan *plan;
    int64_t deadline_ns;
    struct tw_judged *out;
};

static size_t log_length(struct tw_twin *twin)
{
    const char *log = tw_twin_access(twin)->log;

    return log ? strlen(log) : 0;
}

/* A signal that comes while the service is still arranging itself may be lost: where it has gone quiet
 * (it may have said other things, of servers that do not answer) without the last word, it is given
 * again. */
static void wait_for_last_word(struct judging *j, size_t from)
{
    int64_t begun = tw_now_ns(), quiet_since = begun;
    size_t seen = from;

    while (!j->kind->reload_ended(tw_twin_access(j->twin), from) &&
           tw_twin_running(j->twin) && tw_now_ns() - begun < RELOAD_TOLD_NS) {
        bool quiet = log_length(j->twin) == seen;

        if (quiet && tw_now_ns() - quiet_since > RELOAD_AGAIN_NS)
            (void)tw_twin_reload(j->twin, NULL);
        if (!quiet || tw_now_ns() - quiet_since > RELOAD_AGAIN_NS)
            quiet_since = tw_now_ns();
        seen = log_length(j->twin);
        tw_sleep_ns(5 * TW_MSEC_NS);
    }
}

static void wait_for_quiet(struct judging *j, size_t from)
{
    int64_t begun = tw_now_ns(), quiet_since = begun;
    size_t seen = from;

    while (tw_now_ns() - begun < RELOAD_MOST_NS) {
        size_t now = log_length(j->twin);

        if (now != seen) {
            seen = now;
            quiet_since = tw_now_ns();
        }
        if (seen != from && tw_now_ns() - quiet_since > RELOAD_QUIET_NS)
            return;
        tw_sleep_ns(5 * TW_MSEC_NS);
    }
}

static int start(struct judging *j, const struct tw_plan *plan, struct tw_issues *issues,
                 bool *ret_ready, double *ret_seconds, struct tw_err *err)
{
    struct tw_started started;
    int r = tw_twin_start(j->twin, TW_START_PURE, j->deadline_ns, &started, err);

    if (r < 0)
        return r;
    *ret_ready = started.ready;
    *ret_seconds = started.ready ? started.seconds : NAN;
    if (started.timed_out) {
        tw_issue_add(j->a, issues, TW_CRITICAL, TW_BLOCK, "start.hangs",
                     "the service neither serves nor ends",
                     tw_arena_printf(j->a, "not ready after %.1f s", started.seconds),
                     "look at its log for what it waits for");
        return 0;
    }
    j->kind->judge_start(j->a, tw_twin_access(j->twin), started.log_from, plan,
                         started.ready, started.wait_status, issues);
    return 0;
}

/* "file:12" and "file:13": a change that adds a line moves those behind it. */
static const char *after_line_number(const char *begin, const char *at)
{
    const char *end = at + strspn(at, "0123456789");

    return at > begin && at[-1] == ':' && strchr("] \n", *end) ? end : at;
}

static bool same_but_lines(const char *a, const char *b)
{
    const char *x = a, *y = b;

    if (!a || !b)
        return a == b;
    while (*x && *y) {
        x = after_line_number(a, x);
        y = after_line_number(b, y);
        if (*x != *y)
            return false;
        x += *x != '\0';
        y += *y != '\0';
    }
    return *x == *y;
}

/* What it said before the change too is no news. */
static void drop_known(struct tw_issues *issues, const struct tw_issues *known)
{
    size_t kept = 0;

    for (size_t i = 0; i < issues->list.count; i++) {
        bool old = false;

        for (size_t k = 0; k < known->list.count && !old; k++)
            old = same_but_lines(known->list.items[k].evidence,
                                 issues->list.items[i].evidence);
        if (!old)
            issues->list.items[kept++] = issues->list.items[i];
    }
    issues->list.count = kept;
}

static bool is_told(const struct tw_issues *told, const struct tw_issue *one)
{
    for (size_t i = 0; i < told->list.count; i++)
        if (tw_streq(told->list.items[i].code, one->code) &&
            tw_streq(told->list.items[i].evidence, one->evidence))
            return true;
    return false;
}

/* What a reload showed already is not told again of the restart. */
static void append(struct judging *j, const struct tw_issues *from)
{
    for (size_t i = 0; i < from->list.count; i++)
        if (!is_told(&j->out->issues, &from->list.items[i]))
            TW_PUSH(j->a, &j->out->issues.list, from->list.items[i]);
}

static int reload(struct judging *j, struct tw_err *err)
{
    size_t from = log_length(j->twin);
    size_t before = j->out->issues.list.count;
    int r = tw_twin_reload(j->twin, err);

    if (r < 0)
        return r;
    if (j->kind->reload_ended)
        wait_for_last_word(j, from);
    else
        wait_for_quiet(j, from);
    j->kind->judge_reload(j->a, tw_twin_access(j->twin), from, j->plan, &j->out->issues);
    j->out->reloaded = j->out->issues.list.count == before && tw_twin_running(j->twin);
    if (!tw_twin_running(j->twin))
        tw_issue_add(j->a, &j->out->issues, TW_CRITICAL, TW_BLOCK, "reload.dies",
                     "the service dies of the reload", "its processes are gone after it",
                     "do not reload; correct the change first");
    tw_step("inject.reload.judged");
    return 0;
}

/* Serves now, dies at the next restart: nobody would see it until then. Told before what
 * it dies of. */
static void tell_latent(struct judging *j, const struct tw_issues *found)
{
    const struct tw_issue *last = &found->list.items[found->list.count - 1];

    tw_issue_add(j->a, &j->out->issues, TW_CRITICAL, TW_BLOCK, "restart.latent",
                 "the service goes on after a reload and dies at its next restart",
                 last->evidence, last->remedy);
}

/* What the service holds, before and after the restart that its change brings: nobody looks for data
 * that is gone until it is needed. */
static void count_holdings(struct judging *j, struct tw_holdings *ret)
{
    *ret = (struct tw_holdings){0};
    if (j->kind->holdings && tw_twin_running(j->twin) &&
        j->kind->holdings(j->a, tw_twin_access(j->twin), ret, NULL) < 0)
        *ret = (struct tw_holdings){0};
}

static double held(const struct tw_holdings *h, const char *what)
{
    for (size_t i = 0; i < h->list.count; i++)
        if (tw_streq(h->list.items[i].what, what))
            return h->list.items[i].count;
    return 0;
}

static void tell_losses(struct judging *j, const struct tw_holdings *before,
                        const struct tw_holdings *after)
{
    for (size_t i = 0; i < before->list.count; i++) {
        const struct tw_holding *b = &before->list.items[i];
        double now = held(after, b->what);

        if (now >= b->count)
            continue;
        tw_issue_add(j->a, &j->out->issues, TW_CRITICAL, TW_BLOCK, "restart.data_lost",
                     "data is gone after a restart with the change",
                     tw_arena_printf(j->a, "%s: %.0f before the restart, %.0f after it",
                                     b->what, b->count, now),
                     "do not restart with it; see what the service loads its data from");
    }
}

static int restart(struct judging *j, const struct tw_issues *known, struct tw_err *err)
{
    struct tw_issues found = {0};
    struct tw_holdings before, after;
    bool survives = tw_twin_running(j->twin);
    int r = 0;

    j->out->stop_s = NAN;
    count_holdings(j, &before);
    if (survives)
        r = tw_twin_stop(j->twin, j->deadline_ns, &j->out->stop_s, err);
    tw_step("inject.stop.judged");
    if (r == 0 && tw_twin_ask(j->twin, j->deadline_ns, NULL) < 0)
        tw_log(TW_LOG_DEBUG, "the service does not tell what it would need");
    if (r == 0) {
        j->kind->judge_files(j->a, tw_twin_access(j->twin), j->plan, &j->out->issues);
        r = start(j, j->plan, &found, &j->out->restarted, &j->out->restart_s, err);
    }
    if (r < 0)
        return r;
    drop_known(&found, known);
    if (!j->out->restarted && survives && !j->plan->needs_restart && found.list.count)
        tell_latent(j, &found);
    append(j, &found);
    if (j->out->restarted) {
        count_holdings(j, &after);
        tell_losses(j, &before, &after);
    }
    tw_step("inject.restart.judged");
    return 0;
}

int tw_inject_judge_begin(struct tw_arena *a, struct tw_twin *twin, int64_t deadline_ns,
                          struct tw_judge_begun *ret, struct tw_err *err)
{
    struct judging j = {.a = a, .twin = twin, .kind = tw_twin_kind(twin), .deadline_ns = deadline_ns};
    struct tw_judge_begun begun = {.start_s = NAN};
    int r = start(&j, NULL, &begun.known, &begun.started, &begun.start_s, err);

    if (r < 0)
        return tw_wrap(err, r, "starting the unchanged service");
    tw_step("inject.baseline.judged");
    *ret = begun;
    return 0;
}

int tw_inject_judge(struct tw_arena *a, struct tw_twin *twin, const struct tw_plan *plan,
                    const struct tw_judge_begun *begun, int64_t deadline_ns, struct tw_judged *ret,
                    struct tw_err *err)
{
    struct tw_judged judged = {.start_s = NAN, .stop_s = NAN, .restart_s = NAN};
    struct judging j = {a, twin, tw_twin_kind(twin), plan, deadline_ns, &judged};
    struct tw_judge_begun own;
    int r = begun ? 0 : tw_inject_judge_begin(a, twin, deadline_ns, &own, err);

    if (r < 0)
        return r;
    begun = begun ? begun : &own;
    judged.baseline_started = begun->started;
    judged.start_s = begun->start_s;
    if (!judged.baseline_started) {
        judged.issues = begun->known;
        *ret = judged;
        return 0;
    }
    r = tw_inject(a, twin, plan, &judged.issues, err);
    if (r == 0)
        r = reload(&j, err);
    if (r == 0)
        r = restart(&j, &begun->known, err);
    if (r < 0)
        return tw_wrap(err, r, "judging the change");
    *ret = judged;
    return 0;
}
