/* How much longer a request takes over the new path: a few pairs of slots, each as long as the path asks for. The
 * trial's own slots are cut for a service that answers at once; over a path of many milliseconds they end before
 * enough has come back. */
#include "run_path.h"

#include <math.h>
#include <string.h>

#define PAIRS       3
#define LEVEL       0.75 /* that the median lies between the least and the most of three: 1 - 2 / 2^3 */
#define SLOT_S      0.12
#define SLOT_MOST_S 0.4
#define TRIPS       4.0
#define RATE_LEAST  100.0
#define RATE_MOST   1000.0
#define SAME        0.05

enum figure { P50, P95, P99, MEAN, FIGURES };
static const struct row {
    const char *metric;
    size_t offset;
} rows[FIGURES] = {{"p50_ms", offsetof(struct tw_slot, p50_s)},
                   {"p95_ms", offsetof(struct tw_slot, p95_s)},
                   {"p99_ms", offsetof(struct tw_slot, p99_s)},
                   {"mean_ms", offsetof(struct tw_slot, mean_s)}};

struct pairs {
    double ms[FIGURES][TW_ARM_COUNT][PAIRS];
    int count;
};

static int run_slot(struct run *r, enum tw_arm arm, double rate, int pair, struct pairs *to, struct tw_err *err)
{
    const struct tw_network_request *n = &r->v.path->asked;
    double length = fmin(fmax(SLOT_S, TRIPS * n->latency_s), SLOT_MOST_S);
    struct tw_load_order order = {.arm = arm,
                                  .rate_per_s = rate,
                                  .length_ns = (int64_t)(length * (double)TW_SEC_NS),
                                  .seed = 17 + (uint64_t)pair,
                                  .settle_s = fmin(2 * n->latency_s + 0.1, 1)};
    struct tw_slot slot = {0};
    int rc = tw_load_slot(r->v.load, &order, &slot, err);

    if (rc < 0)
        return rc;
    for (int f = 0; f < FIGURES; f++)
        to->ms[f][arm][pair] =
            slot.done > 0 ? 1e3 * *(const double *)(const void *)((const char *)&slot + rows[f].offset) : NAN;
    tw_hist_free(slot.latency);
    return 0;
}

/* ---- as effects ---- */

static double middle(const double *x)
{
    return fmax(fmin(x[0], x[1]), fmin(fmax(x[0], x[1]), x[2]));
}

static struct tw_effect effect_of(const struct pairs *p, int f)
{
    struct tw_effect e = {.metric = rows[f].metric,
                          .unit = "ms",
                          .before = middle(p->ms[f][TW_BASELINE]),
                          .after = middle(p->ms[f][TW_CANDIDATE]),
                          .noise_floor = NAN};
    double ratios[PAIRS];

    for (int i = 0; i < PAIRS; i++)
        ratios[i] = p->ms[f][TW_CANDIDATE][i] / p->ms[f][TW_BASELINE][i];
    e.ratio = (struct tw_estimate){middle(ratios),
                                   fmin(ratios[0], fmin(ratios[1], ratios[2])),
                                   fmax(ratios[0], fmax(ratios[1], ratios[2])),
                                   LEVEL,
                                   PAIRS,
                                   "least and most of pairs of slots as long as the path asks for"};
    e.verdict = e.ratio.low > 1 + SAME                               ? "worse"
                : e.ratio.high < 1 - SAME                            ? "better"
                : e.ratio.low >= 1 - SAME && e.ratio.high <= 1 + SAME ? "equivalent"
                                                                     : "inconclusive";
    return e;
}

/* Where the trial knows it with an interval, that stands. */
static void put(struct run *r, const struct tw_effect *e)
{
    for (size_t i = 0; i < r->v.trial.effects.count; i++) {
        struct tw_effect *had = &r->v.trial.effects.items[i];

        if (!tw_streq(had->metric, e->metric))
            continue;
        if (!isfinite(had->ratio.low) || !isfinite(had->ratio.high) || isnan(had->after))
            *had = *e;
        return;
    }
    TW_PUSH(r->v.sim->arena, &r->v.trial.effects, *e);
}

static bool is_whole(const struct pairs *p)
{
    for (int f = 0; f < FIGURES; f++)
        for (int arm = 0; arm < TW_ARM_COUNT; arm++)
            for (int i = 0; i < PAIRS; i++)
                if (!(p->ms[f][arm][i] > 0))
                    return false;
    return true;
}

void path_measure(struct run *r, double rate_per_s)
{
    double rate = fmin(fmax(rate_per_s, RATE_LEAST), RATE_MOST);
    struct pairs p = {.count = 0};
    struct tw_err why = {0};
    int64_t begun = tw_now_ns();
    int rc = 0;

    for (int i = 0; i < PAIRS && rc == 0; i++)
        for (int k = 0; k < TW_ARM_COUNT && rc == 0; k++)
            rc = run_slot(r, (enum tw_arm)((i + k) % TW_ARM_COUNT), rate, i, &p, &why);
    run_stage_time(r, "path pairs", tw_seconds(tw_now_ns() - begun));
    if (rc < 0)
        tw_log(TW_LOG_WARNING, "how much longer requests take over the path was not measured: %s", why.text);
    if (rc < 0 || !is_whole(&p))
        return;
    for (int f = 0; f < FIGURES; f++) {
        struct tw_effect e = effect_of(&p, f);

        put(r, &e);
        /* what every pair shows by far needs no more of them */
        if (f == P50 && e.ratio.low > 1 + 2 * r->policy.margin_p50 * r->policy.margin_block)
            r->v.trial.decided = true;
    }
}
