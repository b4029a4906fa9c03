#include "trial_internal.h"

#include <assert.h>
#include <math.h>

#define SHORTEST_NS (50 * TW_MSEC_NS)
#define LONGEST_NS  (2 * TW_SEC_NS)
/* Short ones side by side meet the same weather; more of them rather than longer ones. */
#define LONGEST_CLOSED (100 * TW_MSEC_NS)
/* Quantiles of a slot want some 200 requests on average over the levels. */
#define REQUESTS_PER_SLOT 200.0
/* Time to settle of a queue is s / (1 - sqrt(rho))^2. Both arms begin empty and calibration
 * replays the slot from empty, so that five of them are enough for a ratio. */
#define SETTLINGS 5.0
#define WRITES_SD    3.0
#define WRITES_SHARE 0.10
/* The slots that are due take at most this share of the budget: the rest is for going on.
 */
#define SHARE_OF_BUDGET 0.5
/* Fewer requests than this in an open slot say nothing about a quantile. */
#define REQUESTS_USEFUL 5.0
/* Target rates within these shares of the capacity are measured as they are. */
#define TARGET_LOWEST  0.10
#define TARGET_HIGHEST 0.60

static const double default_levels[TRIAL_LEVELS] = {0.30, 0.55, 0.80};
/* The middle level first, then where tails show. */
static const int level_order[] = {1, 2, 0};
/* Whatever is still undecided is so at the levels that are judged. */
static const int further_order[] = {1, 0};

/* The target's own rate takes the place of the level nearest to it. */
static void put_target_level(struct trial_schedule *s, double target_rate_per_s)
{
    double level = target_rate_per_s / s->capacity_per_s;
    int nearest = 0;

    if (!(level >= TARGET_LOWEST && level <= TARGET_HIGHEST))
        return;
    for (int i = 1; i < TRIAL_LEVELS; i++)
        if (fabs(s->level[i] - level) < fabs(s->level[nearest] - level))
            nearest = i;
    s->level[nearest] = level;
}

static int64_t clamp_ns(double seconds, int64_t least, int64_t most)
{
    double ns = seconds * (double)TW_SEC_NS;

    if (!(ns > (double)least))
        return least;
    return ns < (double)most ? (int64_t)ns : most;
}

static void set_lengths(struct trial_schedule *s, const struct trial_schedule_spec *spec)
{
    double service = 1 / s->capacity_per_s, mean_level = tw_mean(s->level, TRIAL_LEVELS);
    int64_t most = clamp_ns(SHARE_OF_BUDGET * spec->budget_s / (2.0 * s->open_min),
                            SHORTEST_NS, LONGEST_NS);

    for (int i = 0; i < TRIAL_LEVELS; i++) {
        double slack = 1 - sqrt(s->level[i]);
        double settle = SETTLINGS * service / (slack * slack);
        double filled = REQUESTS_PER_SLOT * service / mean_level;

        s->length_ns[i] = clamp_ns(fmax(settle, filled), SHORTEST_NS, most);
    }
    s->closed_ns = clamp_ns(REQUESTS_PER_SLOT * service, SHORTEST_NS,
                            most < LONGEST_CLOSED ? most : LONGEST_CLOSED);
    s->closed_least_ns = s->closed_ns;
    s->open_useful =
        tw_seconds(s->length_ns[1]) * s->level[1] * s->capacity_per_s >= REQUESTS_USEFUL;
}

/* The warm-up's level steps and one closed block count as pairs too; every level gets a
 * block. */
static int open_pairs_due(int min_pairs)
{
    int due = (min_pairs - 3) / 2 * 2;

    return due > 2 * TRIAL_LEVELS ? due : 2 * TRIAL_LEVELS;
}

/* The slower arm answers next to nothing in a slot at its own pace: then one block at a
 * load that the faster one carries with ease shows "at least so many times slower". */
static void swamp(struct trial_schedule *s, double faster_per_s)
{
    double rate = default_levels[0] * faster_per_s;

    if (s->open_useful || rate * tw_seconds(SHORTEST_NS) < REQUESTS_USEFUL)
        return;
    s->swamped = s->open_useful = true;
    s->open_min = 2;
    for (int i = 0; i < TRIAL_LEVELS; i++) {
        s->level[i] = rate / s->capacity_per_s;
        s->length_ns[i] = SHORTEST_NS;
    }
}

void trial_schedule_init(struct trial_schedule *s, const struct trial_schedule_spec *spec)
{
    const double *c = spec->capacity_per_s;

    assert(c[TW_BASELINE] > 0 && c[TW_CANDIDATE] > 0);
    *s = (struct trial_schedule){
        .capacity_per_s = fmin(c[TW_BASELINE], c[TW_CANDIDATE]),
        .open_min = open_pairs_due(spec->min_pairs),
        .next_pair = spec->next_pair,
    };
    for (int i = 0; i < TRIAL_LEVELS; i++)
        s->level[i] = default_levels[i];
    put_target_level(s, spec->target_rate_per_s);
    set_lengths(s, spec);
    swamp(s, fmax(c[TW_BASELINE], c[TW_CANDIDATE]));
    tw_rng_seed(&s->rng, spec->seed, 1);
}

/* ABBA: a block of two pairs begins with either arm at random; its second pair is the
 * mirror. */
static enum tw_arm first_of_pair(struct trial_schedule *s, bool closed, int count)
{
    if (count % 2 == 0)
        s->first[closed] = (enum tw_arm)tw_rng_below(&s->rng, TW_ARM_COUNT);
    else
        s->first[closed] = s->first[closed] == TW_BASELINE ? TW_CANDIDATE : TW_BASELINE;
    return s->first[closed];
}

void trial_schedule_next(struct trial_schedule *s, bool closed, struct trial_order *ret)
{
    int *count = closed ? &s->closed_pairs : &s->open_pairs;
    int level = *count < s->open_min ? level_order[*count / 2 % TRIAL_LEVELS]
                                     : further_order[*count / 2 % 2];

    *ret = (struct trial_order){
        .pair = s->next_pair++,
        .closed = closed,
        .level = closed ? NAN : s->level[level],
        .rate_per_s = closed ? NAN : s->level[level] * s->capacity_per_s,
        .first = first_of_pair(s, closed, *count),
        .length_ns = closed ? s->closed_ns : s->length_ns[level],
        .seed = tw_rng_u64(&s->rng),
    };
    ++*count;
}

/* Were every request nothing but a wait for the disk, a tenth more of writes would be a tenth less of
 * throughput: the margin. Counts of writes scatter as Poisson's at least; half a count each keeps the
 * logarithm where one arm writes nothing. */
bool trial_writes_differ(const struct trial_writes *w)
{
    const double *n = w->writes, *of = w->requests;
    double ratio, se;

    if (!(of[TW_BASELINE] > 0 && of[TW_CANDIDATE] > 0))
        return false;
    ratio = log((n[TW_CANDIDATE] + 0.5) / of[TW_CANDIDATE]) -
            log((n[TW_BASELINE] + 0.5) / of[TW_BASELINE]);
    se = sqrt(1 / (n[TW_CANDIDATE] + 0.5) + 1 / (n[TW_BASELINE] + 0.5));
    return fabs(ratio) - WRITES_SD * se > log(1 + WRITES_SHARE);
}

void trial_schedule_want(struct trial_schedule *s, int64_t missing_requests)
{
    s->closed_ns = clamp_ns((double)missing_requests / (2 * s->capacity_per_s),
                            s->closed_least_ns, LONGEST_CLOSED);
}
