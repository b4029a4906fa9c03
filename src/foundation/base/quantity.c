/* Quantities as people write and read them. */
#include "tw/base.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    double factor;
};

static const struct unit byte_units[] = {
    {"", 1},         {"B", 1},       {"kB", 0x1p10},  {"K", 0x1p10},   {"KiB", 0x1p10},
    {"MB", 0x1p20},  {"M", 0x1p20},  {"MiB", 0x1p20}, {"GB", 0x1p30},  {"G", 0x1p30},
    {"GiB", 0x1p30}, {"TB", 0x1p40}, {"T", 0x1p40},   {"TiB", 0x1p40},
};
static const struct unit core_units[] = {
    {"", 1}, {"core", 1}, {"cores", 1}, {"cpu", 1}, {"cpus", 1}, {"m", 1e-3},
};

static int parse_unit(const char *text, const struct unit *units, size_t n,
                      const char *what, double *ret_value, struct tw_err *err)
{
    char *rest;
    double value = strtod(text, &rest);

    if (rest == text || !isfinite(value))
        return tw_fail(err, -EINVAL, "'%s' is not a number%s", text, what);
    rest += strspn(rest, " ");
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(rest, units[i].name) == 0) {
            *ret_value = value * units[i].factor;
            return 0;
        }
    }
    return tw_fail(err, -EINVAL, "'%s' has the unit '%s'; expected a number%s", text,
                   rest, what);
}

int tw_parse_bytes(const char *text, int64_t *ret_bytes, struct tw_err *err)
{
    double value;
    int r = parse_unit(text, byte_units, TW_COUNT_OF(byte_units),
                       " with B, kB, MB, GB or TB", &value, err);

    if (r < 0)
        return r;
    if (value < 0 || value > 9e18)
        return tw_fail(err, -EINVAL, "'%s' is out of range", text);
    *ret_bytes = (int64_t)value;
    return 0;
}

int tw_parse_cores(const char *text, double *ret_cores, struct tw_err *err)
{
    double value;
    int r = parse_unit(text, core_units, TW_COUNT_OF(core_units),
                       " of cores ('2', '500m')", &value, err);

    if (r < 0)
        return r;
    if (value <= 0 || value > 1e5)
        return tw_fail(err, -EINVAL, "'%s' is out of range", text);
    *ret_cores = value;
    return 0;
}

int tw_parse_int64(const char *text, int64_t *ret_value, struct tw_err *err)
{
    char *rest;
    long long value;

    errno = 0;
    value = strtoll(text, &rest, 10);
    if (rest == text || *rest || errno)
        return tw_fail(err, -EINVAL, "'%s' is not a whole number", text);
    *ret_value = value;
    return 0;
}

int tw_parse_double(const char *text, double *ret_value, struct tw_err *err)
{
    char *rest;
    double value = strtod(text, &rest);

    if (rest == text || *rest || !isfinite(value))
        return tw_fail(err, -EINVAL, "'%s' is not a number", text);
    *ret_value = value;
    return 0;
}

char *tw_show_bytes(struct tw_arena *a, double bytes)
{
    static const char *const names[] = {"B", "kB", "MB", "GB", "TB"};
    size_t i = 0;

    if (isnan(bytes))
        return tw_arena_strdup(a, "unknown");
    while (fabs(bytes) >= 1024 && i + 1 < TW_COUNT_OF(names)) {
        bytes /= 1024;
        i++;
    }
    return tw_arena_printf(
        a, bytes == floor(bytes) || fabs(bytes) >= 100 ? "%.0f %s" : "%.1f %s", bytes,
        names[i]);
}

char *tw_show_seconds(struct tw_arena *a, double seconds)
{
    static const struct {
        double from, divide;
        const char *name;
    } rows[] = {{172800, 86400, "days"}, {5400, 3600, "h"},       {120, 60, "min"},
                {0.9995, 1, "s"},        {0.9995e-3, 1e-3, "ms"}, {0, 1e-6, "µs"}};

    if (isnan(seconds))
        return tw_arena_strdup(a, "unknown");
    for (size_t i = 0;; i++)
        if (fabs(seconds) >= rows[i].from)
            return tw_arena_printf(a, "%.3g %s", seconds / rows[i].divide, rows[i].name);
}

char *tw_show_count(struct tw_arena *a, double n)
{
    char digits[64];
    char *out;
    size_t len, sign, k = 0;

    if (isnan(n))
        return tw_arena_strdup(a, "unknown");
    len = (size_t)snprintf(digits, sizeof digits, "%.0f", n);
    sign = digits[0] == '-';
    out = tw_arena_alloc(a, len * 2);
    for (size_t i = 0; i < len; i++) {
        if (i > sign && (len - i) % 3 == 0)
            out[k++] = ',';
        out[k++] = digits[i];
    }
    return out;
}
