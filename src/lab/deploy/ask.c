/* The same requests to all sides in turn, by several sessions at once. */
#include "deploy_internal.h"

#include "tw/num.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SESSIONS  4
#define WITHIN_S  2.0
#define PAUSE_NS  (TW_MSEC_NS / 2)
#define SAMPLE_NS (20 * TW_MSEC_NS)
#define AGAIN_S   0.6
#define WARM_S                                                                           \
    0.3 /* connections of pools, caches: whoever was asked before has them already */
#define BACK_LEAST 40 /* answers of the old version that its return is compared with */

struct session {
    struct deploy *d;
    struct tw_rng rng;
    int schedstat; /* of its thread; -1: not there */
    struct tw_wire lines[TW_SIDE_COUNT];
};

static void keep_time(struct deploy *d, struct deploy_times *t,
                      const struct tw_reply replies[TW_SIDE_COUNT])
{
    bool all = true;

    for (int side = 0; side < TW_SIDE_COUNT; side++) {
        bool failed = replies[side].status == 0 || replies[side].status >= 500;

        t->failed[side] += failed;
        all &= replies[side].status != 0;
        TW_PUSH(d->a, &t->all[side], failed ? INFINITY : replies[side].seconds);
    }
    for (int side = 0; side < TW_SIDE_COUNT && all; side++)
        TW_PUSH(d->a, &t->of[side], replies[side].seconds);
}

static void keep_round(struct deploy *d, size_t ask,
                       const struct tw_reply replies[TW_SIDE_COUNT])
{
    (void)pthread_mutex_lock(&d->lock);
    for (int side = 0; side < TW_SIDE_COUNT; side++) {
        d->asked[side]++;
        tw_answers_add(d->answers, (enum tw_side)side, (int)ask, &replies[side]);
        if (side != TW_SIDE_NEW && d->times[ask].all[side].count < BACK_LEAST)
            tw_answers_add(d->back_answers, (enum tw_side)side, (int)ask, &replies[side]);
    }
    keep_time(d, &d->times[ask], replies);
    keep_time(d, &d->total, replies);
    (void)pthread_mutex_unlock(&d->lock);
}

/* How long this thread was ready to run and was not let, so far: its own wait for a core is no latency of
 * what it asks. 0 where the kernel does not tell. */
static double waited_s(int schedstat)
{
    char text[96];
    ssize_t n = schedstat >= 0 ? pread(schedstat, text, sizeof(text) - 1, 0) : 0;
    unsigned long long ran, waited = 0;

    text[n > 0 ? n : 0] = '\0';
    return n > 0 && sscanf(text, "%llu %llu", &ran, &waited) == 2 ? 1e-9 * (double)waited
                                                                  : 0;
}

/* Who is asked first is drawn anew each time. */
static void one_round(struct session *s, size_t ask, bool broken[TW_SIDE_COUNT])
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_reply replies[TW_SIDE_COUNT];
    struct tw_ask what = s->d->asks.list.items[ask];

    unsigned first = (unsigned)tw_rng_below(&s->rng, TW_SIDE_COUNT);
    unsigned step = 1 + (unsigned)tw_rng_below(&s->rng, TW_SIDE_COUNT - 1);

    what.within_s = WITHIN_S;
    for (unsigned i = 0; i < TW_SIDE_COUNT; i++) {
        unsigned side = (first + i * step) % TW_SIDE_COUNT;
        double waited;

        waited = waited_s(s->schedstat);
        tw_wire_ask(&s->lines[side], a, &what, &replies[side]);
        waited = waited_s(s->schedstat) - waited;
        replies[side].seconds = fmax(1e-6, replies[side].seconds - waited);
        broken[side] |= replies[side].status == 0 || replies[side].status >= 500;
    }
    keep_round(s->d, ask, replies);
}

static bool goes_on(const struct deploy *d)
{
    return tw_now_ns() < d->until_ns && !(d->spec->cancel && *d->spec->cancel);
}

static void *session_main(void *arg)
{
    struct session *s = arg;
    struct deploy *d = s->d;
    tw_auto_close int schedstat =
        open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);

    s->schedstat = schedstat;
    while (goes_on(d)) {
        bool broken[TW_SIDE_COUNT] = {false};
        size_t ask = 0;

        for (; ask < d->asks.list.count && goes_on(d); ask++) {
            one_round(s, ask, broken);
            tw_sleep_ns(PAUSE_NS);
        }
        if (ask < d->asks.list.count)
            break; /* not a whole session */
        (void)pthread_mutex_lock(&d->lock);
        d->sessions++;
        for (int side = 0; side < TW_SIDE_COUNT; side++)
            d->broken[side] += broken[side];
        (void)pthread_mutex_unlock(&d->lock);
    }
    return NULL;
}

static void sample(struct deploy *d)
{
    double bytes[TW_SIDE_COUNT];

    for (int side = 0; side < TW_SIDE_COUNT; side++)
        bytes[side] = tw_instance_memory(d->side[side]);
    (void)pthread_mutex_lock(&d->lock);
    for (int side = 0; side < TW_SIDE_COUNT; side++) {
        if (isnan(bytes[side]))
            continue;
        TW_PUSH(d->a, &d->memory[side].requests, (double)d->asked[side]);
        TW_PUSH(d->a, &d->memory[side].bytes, bytes[side]);
    }
    (void)pthread_mutex_unlock(&d->lock);
}

static void talk(struct deploy *d, struct session *sessions, double seconds)
{
    pthread_t threads[SESSIONS];
    bool runs[SESSIONS];

    d->until_ns = tw_now_ns() + (int64_t)(seconds * 1e9);
    for (int i = 0; i < SESSIONS; i++)
        runs[i] = pthread_create(&threads[i], NULL, session_main, &sessions[i]) == 0;
    while (tw_now_ns() < d->until_ns) {
        sample(d);
        tw_sleep_ns(SAMPLE_NS);
    }
    for (int i = 0; i < SESSIONS; i++)
        if (runs[i])
            (void)pthread_join(threads[i], NULL);
    sample(d);
}

/* ---- effects ---- */

static const struct quantile {
    const char *metric;
    double q, margin, unnoticed_ms;
} quantiles[] = {{"p50_ms", 0.5, 0.25, 1}, {"p95_ms", 0.95, 0.5, 2}};

static bool weigh(struct deploy *d, size_t i, struct tw_effect *ret)
{
    const struct quantile *k = &quantiles[i];
    const struct deploy_times *t = &d->total;
    size_t from = d->weighed_from, n = t->of[TW_SIDE_OLD].count - from;
    tw_auto_free double *copy = tw_alloc((n + 1) * sizeof(double));
    double noise = NAN, margin;
    struct tw_estimate ratio = tw_version_ratio(
        t->of[TW_SIDE_OLD].items + from, t->of[TW_SIDE_AGAIN].items + from,
        t->of[TW_SIDE_NEW].items + from, n, k->q, d->spec->seed + i, &noise);

    *ret = (struct tw_effect){
        .metric = k->metric, .unit = "ms", .ratio = ratio, .noise_floor = noise};
    if (n)
        memcpy(copy, t->of[TW_SIDE_OLD].items + from, n * sizeof(double));
    ret->before = 1000 * tw_quantile(copy, n, k->q);
    ret->after = ret->before * ratio.value;
    ret->tail_share = k->unnoticed_ms / ret->before;
    margin = fmax(k->margin, ret->tail_share);
    ret->verdict = ratio.low > 1 + fmax(0.05, noise)    ? "worse"
                   : ratio.high < 1 - fmax(0.05, noise) ? "better"
                   : ratio.high <= 1 + margin           ? "equivalent"
                                                        : "inconclusive";
    return ratio.high <= 1 + margin || ratio.low > 1 + margin;
}

static bool is_certain(struct deploy *d, bool *ret_slower)
{
    struct tw_effect e;
    bool certain = true;

    *ret_slower = false;
    for (size_t i = 0; i < TW_COUNT_OF(quantiles); i++) {
        certain &= weigh(d, i, &e);
        *ret_slower |= e.ratio.low > 1 + fmax(quantiles[i].margin, e.tail_share);
    }
    return certain;
}

/* Where it seems slower, the requests of a second time alone decide: a moment's trouble of what is behind
 * one of them is no property of a version. */
static void measure(struct deploy *d, struct session sessions[SESSIONS])
{
    int64_t begun = tw_now_ns();
    bool slower, confirmed = false;
    double next = d->spec->seconds_least;

    talk(d, sessions, WARM_S);
    d->weighed_from = d->total.of[TW_SIDE_OLD].count;
    for (;;) {
        talk(d, sessions, next);
        d->ret->decided = is_certain(d, &slower);
        next = AGAIN_S;
        if (slower && !confirmed) {
            confirmed = true;
            d->weighed_from = d->total.of[TW_SIDE_OLD].count;
            next = d->spec->seconds_least;
        } else if (d->ret->decided ||
                   tw_seconds(tw_now_ns() - begun) >= d->spec->seconds_most) {
            break;
        }
    }
    d->ret->seconds = tw_seconds(tw_now_ns() - begun);
}

void deploy_ask(struct deploy *d)
{
    struct session sessions[SESSIONS];

    d->times = tw_arena_alloc(d->a, d->asks.list.count * sizeof(*d->times));
    for (int i = 0; i < SESSIONS; i++) {
        sessions[i] = (struct session){.d = d};
        tw_rng_seed(&sessions[i].rng, d->spec->seed, (uint64_t)i);
        for (int side = 0; side < TW_SIDE_COUNT; side++)
            tw_wire_init(&sessions[i].lines[side], tw_instance_site(d->side[side]), 0);
    }
    for (int side = 0; side < TW_SIDE_COUNT; side++)
        d->log_from[side] = tw_instance_log_bytes(d->side[side]);
    measure(d, sessions);
    for (int i = 0; i < SESSIONS; i++)
        for (int side = 0; side < TW_SIDE_COUNT; side++)
            tw_wire_done(&sessions[i].lines[side]);
    for (size_t i = 0; i < TW_COUNT_OF(quantiles); i++) {
        struct tw_effect e;

        (void)weigh(d, i, &e);
        TW_PUSH(d->a, &d->ret->effects, e);
        d->ret->noise = i ? d->ret->noise : e.noise_floor;
    }
    d->ret->rounds = (int)(d->total.of[TW_SIDE_OLD].count - d->weighed_from);
    d->ret->requests = d->asked[TW_SIDE_NEW];
    for (int side = 0; side < TW_SIDE_COUNT; side++)
        d->leak[side] =
            tw_version_leak(d->memory[side].requests.items, d->memory[side].bytes.items,
                            d->memory[side].bytes.count);
    tw_step("deploy.asked");
}
