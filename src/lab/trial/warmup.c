#include "trial_internal.h"

#include <math.h>
#include <string.h>

/* A step this much faster than the one before, in the median of the window, is still
 * warming up. Three steps of a level service differ by a few percent either way. */
#define CLIMB_PER_STEP 0.04
/* A step counts as level from this share of the level on. */
#define LEVEL_SHARE 0.95
#define FAR_SLOWER  10.0

int trial_warmup_window(const struct trial_warmup *w)
{
    int usable = w->steps > w->from ? w->steps - w->from : w->steps;

    return usable < WARMUP_WINDOW ? usable : WARMUP_WINDOW;
}

static double window_median(const struct trial_warmup *w, enum tw_arm arm)
{
    double x[WARMUP_WINDOW];
    int n = trial_warmup_window(w);

    memcpy(x, w->rate[arm] + w->steps - n, (size_t)n * sizeof *x);
    return tw_median(x, (size_t)n);
}

bool trial_warmup_far_apart(const struct trial_warmup *w, int step)
{
    double a = w->rate[TW_BASELINE][step], b = w->rate[TW_CANDIDATE][step];

    return fmin(a, b) * FAR_SLOWER < fmax(a, b);
}

/* Two steps in which one arm is slower by far settle what warming up could still change.
 */
static bool settled(const struct trial_warmup *w)
{
    return w->steps - w->from >= 2 && trial_warmup_far_apart(w, w->steps - 1) &&
           trial_warmup_far_apart(w, w->steps - 2);
}

static bool arm_level(const struct trial_warmup *w, enum tw_arm arm)
{
    const double at[WARMUP_WINDOW] = {0, 1, 2};
    struct tw_line line =
        tw_theil_sen(at, w->rate[arm] + w->steps - WARMUP_WINDOW, WARMUP_WINDOW);
    double level = window_median(w, arm);

    return level <= 0 || line.slope <= CLIMB_PER_STEP * level;
}

bool trial_warmup_level(const struct trial_warmup *w)
{
    if (settled(w))
        return true;
    if (w->steps - w->from < WARMUP_WINDOW)
        return false;
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        if (!arm_level(w, (enum tw_arm)arm))
            return false;
    return true;
}

double trial_warmup_capacity(const struct trial_warmup *w, enum tw_arm arm)
{
    return w->steps ? window_median(w, arm) : NAN;
}

double trial_warmup_cold_s(const struct trial_warmup *w, enum tw_arm arm)
{
    double level = trial_warmup_capacity(w, arm);
    int step = 0;

    if (w->steps == 0)
        return NAN;
    while (step < w->steps && w->rate[arm][step] < LEVEL_SHARE * level)
        step++;
    return step ? tw_seconds(w->spent_ns[arm][step - 1]) : 0;
}

double trial_warmup_cold_ratio(const struct trial_warmup *w, enum tw_arm arm)
{
    double level = trial_warmup_capacity(w, arm);

    return w->steps && level > 0 ? w->rate[arm][0] / level : NAN;
}
