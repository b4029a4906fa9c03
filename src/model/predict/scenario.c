#include "predict/predict_internal.h"

#include <math.h>
#include <string.h>

/* ---- shapes: share of the peak at an hour of the day ---- */

/* Night at 15 % of the peak, a broad hill around 14 h; the mean is 0.511 of the peak, so
 * that a day with a peak of 1,000 requests/s has 44 million. */
static double diurnal(double hour)
{
    double hill = (1 + cos(2 * M_PI * (hour - 14) / 24)) / 2;

    return 0.15 + 0.85 * hill * sqrt(hill);
}

static double steady(double hour)
{
    (void)hour;
    return 1;
}

/* Half the peak outside, two hours up from 9 h, the peak from 11 h to 17 h, two hours
 * down. */
static double peak_traffic(double hour)
{
    double ramp = fmin((hour - 9) / 2, (19 - hour) / 2);

    return 0.5 + 0.5 * fmin(fmax(ramp, 0), 1);
}

/* A day at 40 % of the diurnal one; at 14 h a crowd arrives within five minutes and
 * leaves with a half-life of half an hour. */
static double flash_crowd(double hour)
{
    double base = 0.4 * diurnal(hour), since = hour - 14, crowd;

    if (since < 0)
        return base;
    crowd = fmin(1, since * 12) * exp2(-2 * fmax(0, since - 1.0 / 12));
    return base + (1 - base) * crowd;
}

static const struct {
    const char *name;
    double (*share)(double hour);
} shapes[] = {
    {"steady", steady},
    {"diurnal", diurnal},
    {"peak_traffic", peak_traffic},
    {"flash_crowd", flash_crowd},
};
const char *const tw_scenario_names[] = {"steady", "diurnal", "peak_traffic",
                                         "flash_crowd"};
const size_t tw_scenario_count = TW_COUNT_OF(tw_scenario_names);
_Static_assert(TW_COUNT_OF(shapes) == TW_COUNT_OF(tw_scenario_names),
               "one name per shape");

/* ---- bins: five minutes up to two days, then what makes 720 of them ---- */

#define BIN_H       (1.0 / 12)
#define BINS_LONG   720
#define BINS_SHORT  12 /* at least */
#define BIN_SAMPLES 12 /* of the shape, for the mean over a bin */

static size_t bin_count(double hours)
{
    double n = ceil(hours / BIN_H - 1e-9);

    return (size_t)fmin(fmax(n, BINS_SHORT), BINS_LONG);
}

static void bins_make(struct tw_arena *a, struct tw_profile *p, double hours)
{
    p->bins.count = bin_count(hours);
    p->bins.items = tw_arena_alloc(a, p->bins.count * sizeof *p->bins.items);
    for (size_t i = 0; i < p->bins.count; i++) {
        p->bins.items[i].hours = hours / (double)p->bins.count;
        p->bins.items[i].from_h = hours * (double)i / (double)p->bins.count;
    }
}

typedef double rate_fn(const void *arg, double hour);

static void bins_fill(struct tw_profile *p, rate_fn *rate, const void *arg)
{
    p->peak_per_s = 0;
    for (size_t i = 0; i < p->bins.count; i++) {
        double sum = 0;

        for (int k = 0; k < BIN_SAMPLES; k++)
            sum += rate(arg, p->bins.items[i].from_h +
                                 p->bins.items[i].hours * (k + 0.5) / BIN_SAMPLES);
        p->bins.items[i].rate_per_s = sum / BIN_SAMPLES;
        p->peak_per_s = fmax(p->peak_per_s, p->bins.items[i].rate_per_s);
    }
}

struct shape_at {
    double (*share)(double hour);
    double peak_per_s, begin_h;
};

static double shape_rate(const void *arg, double hour)
{
    const struct shape_at *s = arg;

    return s->peak_per_s * s->share(fmod(s->begin_h + hour, 24));
}

/* A horizon shorter than a day is the part of the day around the peak. */
static int from_shape(struct tw_arena *a, const char *scenario, double peak_per_s,
                      double hours, struct tw_profile *p, struct tw_err *err)
{
    int i = tw_name_index(scenario, tw_scenario_names, tw_scenario_count);
    struct shape_at at = {.peak_per_s = peak_per_s,
                          .begin_h = hours < 24 ? 14 - hours / 2 : 0};

    if (i < 0) {
        const char *near = tw_nearest(scenario, tw_scenario_names, tw_scenario_count);

        return tw_fail_at(err, -EINVAL, "/load_scenario",
                          "unknown scenario '%s'%s%s%s, expected "
                          "steady, diurnal, peak_traffic, flash_crowd, recorded or a profile",
                          scenario, near ? ", did you mean '" : "", near ? near : "",
                          near ? "'" : "");
    }
    if (!(peak_per_s > 0 && isfinite(peak_per_s)))
        return tw_fail(err, -EINVAL,
                       "the peak rate of scenario '%s' is %g, expected requests "
                       "per second above 0",
                       scenario, peak_per_s);
    at.begin_h = at.begin_h < 0 ? at.begin_h + 24 : at.begin_h;
    at.share = shapes[i].share;
    p->name = shapes[i].name;
    bins_make(a, p, hours);
    bins_fill(p, shape_rate, &at);
    return 0;
}

/* ---- a user's own profile: lines of "hour,rate_per_s" ---- */

struct csv {
    TW_ARRAY(struct csv_row { double hour, rate_per_s; }) rows;
};

/* A line's rate holds until the next line's hour, the last one's to the end. */
static double csv_rate(const void *arg, double hour)
{
    const struct csv *csv = arg;
    size_t low = 0, high = csv->rows.count;

    while (low + 1 < high) {
        size_t middle = (low + high) / 2;

        if (csv->rows.items[middle].hour <= hour)
            low = middle;
        else
            high = middle;
    }
    return csv->rows.items[low].rate_per_s;
}

static char *trimmed(struct tw_arena *a, const char *s, size_t n)
{
    while (n > 0 && (*s == ' ' || *s == '\t')) {
        s++;
        n--;
    }
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\r'))
        n--;
    return tw_arena_strndup(a, s, n);
}

static int csv_row(struct tw_arena *a, struct csv *csv, const char *line, int number,
                   struct tw_err *err)
{
    const char *comma = strchr(line, ',');
    struct csv_row row;

    if (!comma ||
        tw_parse_double(trimmed(a, line, (size_t)(comma - line)), &row.hour, NULL) < 0 ||
        tw_parse_double(trimmed(a, comma + 1, strlen(comma + 1)), &row.rate_per_s, NULL) <
            0)
        return tw_fail_at(err, -EINVAL, "/profile",
                          "profile line %d '%.60s': expected 'hour,rate_per_s'", number,
                          line);
    if (!(row.hour >= 0 && isfinite(row.hour)) ||
        !(row.rate_per_s >= 0 && isfinite(row.rate_per_s)))
        return tw_fail_at(err, -EINVAL, "/profile",
                          "profile line %d '%.60s': hour and rate have to be at least 0",
                          number, line);
    if (csv->rows.count == 0 && row.hour > 0)
        return tw_fail_at(err, -EINVAL, "/profile",
                          "profile line %d: the first hour is %g, expected 0", number,
                          row.hour);
    if (csv->rows.count > 0 && row.hour <= csv->rows.items[csv->rows.count - 1].hour)
        return tw_fail_at(err, -EINVAL, "/profile",
                          "profile line %d: hour %g does not come after hour %g", number,
                          row.hour, csv->rows.items[csv->rows.count - 1].hour);
    TW_PUSH(a, &csv->rows, row);
    return 0;
}

static bool is_header(const char *line)
{
    return tw_starts_with(line, "hour");
}

static int from_csv(struct tw_arena *a, const char *text, double hours,
                    struct tw_profile *p, struct tw_err *err)
{
    struct csv csv = {0};
    int number = 0;

    for (const char *at = text; *at; number++) {
        size_t length = strcspn(at, "\n");
        const char *line = trimmed(a, at, length);
        int r = 0;

        at += length + (at[length] == '\n');
        if (line[0] != '\0' && line[0] != '#' &&
            !(is_header(line) && csv.rows.count == 0))
            r = csv_row(a, &csv, line, number + 1, err);
        if (r < 0)
            return r;
    }
    if (csv.rows.count == 0)
        return tw_fail_at(err, -EINVAL, "/profile",
                          "the profile has no line: expected lines of 'hour,rate_per_s'");
    p->name = "profile";
    bins_make(a, p, hours);
    bins_fill(p, csv_rate, &csv);
    if (!(p->peak_per_s > 0))
        return tw_fail_at(err, -EINVAL, "/profile",
                          "the profile's rate is 0 over the whole horizon of %g h",
                          hours);
    return 0;
}

#define HOURS_MAX (30.0 * 24)

int tw_profile_make(struct tw_arena *a, const char *scenario, double peak_per_s,
                    double hours, const char *csv, struct tw_profile *ret_profile,
                    struct tw_err *err)
{
    struct tw_profile p = {0};
    int r;

    if (!(hours > 0 && hours <= HOURS_MAX))
        return tw_fail_at(err, -EINVAL, "/duration_hours",
                          "the horizon is %g h, expected more than 0 and at most %g",
                          hours, HOURS_MAX);
    r = csv ? from_csv(a, csv, hours, &p, err)
            : from_shape(a, scenario, peak_per_s, hours, &p, err);
    if (r == 0)
        *ret_profile = p;
    return r;
}
