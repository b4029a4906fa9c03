/* The load that was recorded of a target, as the profile of a day or a week: means of five minutes by the time of
 * day, and by the weekday too once a whole week is there. Times are UTC, as they were recorded. */
#include "predict/predict_internal.h"

#include <math.h>
#include <string.h>

#define DAY_SLOTS  288 /* of five minutes */
#define SLOT_NS    (300 * TW_SEC_NS)
#define HOUR_SLOTS 12
#define HOUR_LEAST 6 /* slots that an hour needs to be known */
#define WEEK_DAYS  7
#define WEEK_SLOTS (WEEK_DAYS * DAY_SLOTS)
#define WEEK_LEAST (WEEK_SLOTS * 9 / 10)

struct means {
    double sum[WEEK_SLOTS];
    int n[WEEK_SLOTS];
    double day_sum[DAY_SLOTS];
    int day_n[DAY_SLOTS];
    int filled; /* slots of the week with anything in them */
};

static void add(struct means *m, const struct tw_recorded *p)
{
    int64_t slot = p->at_wall_ns / SLOT_NS % WEEK_SLOTS;

    if (!(p->rate_per_s >= 0) || p->at_wall_ns < 0)
        return;
    m->filled += m->n[slot] == 0;
    m->sum[slot] += p->rate_per_s;
    m->n[slot]++;
    m->day_sum[slot % DAY_SLOTS] += p->rate_per_s;
    m->day_n[slot % DAY_SLOTS]++;
}

/* The mean over an hour of the day; NaN: too little of it is there. */
static double hour_mean(const struct means *m, int hour)
{
    double sum = 0;
    int n = 0;

    for (int i = hour * HOUR_SLOTS; i < (hour + 1) * HOUR_SLOTS; i++)
        if (m->day_n[i]) {
            sum += m->day_sum[i] / m->day_n[i];
            n++;
        }
    return n >= HOUR_LEAST ? sum / n : NAN;
}

static double rate_at(const struct means *m, int64_t slot, bool weekly)
{
    int64_t week = slot % WEEK_SLOTS, day = slot % DAY_SLOTS;

    if (weekly && m->n[week])
        return m->sum[week] / m->n[week];
    return m->day_n[day] ? m->day_sum[day] / m->day_n[day]
                         : hour_mean(m, (int)(day / HOUR_SLOTS));
}

/* Slots from here to there have to be known by their hours. */
static int missing_hours(const struct means *m, int64_t from, int64_t count)
{
    bool seen[24] = {false};
    int missing = 0;

    for (int64_t i = from; i < from + count; i++) {
        int hour = (int)(i % DAY_SLOTS / HOUR_SLOTS);

        missing += !seen[hour] && isnan(hour_mean(m, hour));
        seen[hour] = true;
    }
    return missing;
}

static int busiest_hour(const struct means *m)
{
    int best = 0;

    for (int h = 1; h < 24; h++)
        if (!(hour_mean(m, best) >= hour_mean(m, h)) && !isnan(hour_mean(m, h)))
            best = h;
    return best;
}

/* From midnight, as the other scenarios; what is shorter than a day stands around its busiest hour. */
static int64_t first_slot(const struct means *m, int64_t begin_wall_ns, double hours)
{
    int64_t midnight = begin_wall_ns / SLOT_NS / DAY_SLOTS * DAY_SLOTS % WEEK_SLOTS;
    double from = hours < 24 ? busiest_hour(m) + 0.5 - hours / 2 : 0;

    return midnight + (int64_t)(fmod(from + 24, 24) * HOUR_SLOTS);
}

static double recorded_hours(const struct means *m)
{
    int n = 0;

    for (int i = 0; i < WEEK_SLOTS; i++)
        n += m->n[i] > 0;
    return (double)n / HOUR_SLOTS;
}

static int check_enough(const struct means *m, int64_t from, double hours,
                        struct tw_err *err)
{
    int64_t count = (int64_t)fmin(ceil(hours * HOUR_SLOTS), DAY_SLOTS);
    int missing = missing_hours(m, from, count);

    if (!missing)
        return 0;
    return tw_fail_at(
        err, -EINVAL, "/load_scenario",
        "scenario 'recorded': %.1f h of the target's load are recorded and %d of the "
        "%.0f h that are needed (each hour of the day once) are missing; it is recorded "
        "while the daemon runs (twin serve); until then take diurnal, or --profile",
        recorded_hours(m), missing, fmin(ceil(hours), 24));
}

int tw_profile_recorded(struct tw_arena *a, const struct tw_recorded *points, size_t n,
                        int64_t begin_wall_ns, double hours,
                        struct tw_recorded_profile *ret, struct tw_err *err)
{
    struct means *m = tw_arena_alloc(a, sizeof(*m));
    struct tw_recorded_profile p = {0};
    tw_auto_buf csv = {0};
    int64_t from;
    int r;

    for (size_t i = 0; i < n; i++)
        add(m, &points[i]);
    from = first_slot(m, begin_wall_ns, hours);
    r = check_enough(m, from, hours, err);
    if (r < 0)
        return r;
    p.weekly = m->filled >= WEEK_LEAST;
    p.recorded_hours = recorded_hours(m);
    tw_buf_init(&csv, 1 << 20);
    for (int64_t i = 0; (double)i < ceil(hours * HOUR_SLOTS); i++) {
        double rate = rate_at(m, from + i, p.weekly);

        p.peak_per_s = fmax(p.peak_per_s, rate);
        tw_buf_printf(&csv, "%.6f,%.6f\n", (double)i / HOUR_SLOTS, rate);
    }
    if (!(p.peak_per_s > 0))
        return tw_fail_at(
            err, -EINVAL, "/load_scenario",
            "scenario 'recorded': nothing was asked of the target in the %.1f "
            "h that are recorded",
            p.recorded_hours);
    p.csv = tw_arena_strdup(a, tw_buf_text(&csv));
    *ret = p;
    return 0;
}
