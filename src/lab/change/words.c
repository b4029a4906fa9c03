/* What a user brings on a command line, made into a request: --set, --file, sweeps. */
#include "tw/change.h"
#include "tw/pg.h"

#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FILE_MAX  ((size_t)1 << 20)
#define SWEEP_MAX 64

static void add_setting(struct tw_arena *a, struct tw_request *r, const char *name,
                        const char *value)
{
    struct tw_setting_change c = {tw_arena_strdup(a, name), value, "--set"};

    TW_PUSH(a, &r->settings, c);
}

static bool is_statement(const char *text)
{
    text += strspn(text, " \t\n");
    return strncasecmp(text, "alter ", 6) == 0 || strncasecmp(text, "set ", 4) == 0 ||
           strncasecmp(text, "reset ", 6) == 0;
}

static int parse_statement(struct tw_arena *a, const char *text, struct tw_request *r,
                           struct tw_err *err)
{
    struct tw_pg_assignments found;
    int rc = tw_pg_parse_assignments(a, text, &found, err);

    for (size_t i = 0; i < found.list.count && rc == 0; i++)
        add_setting(a, r, found.list.items[i].name, found.list.items[i].value);
    return rc;
}

/* NAME=VALUE: everything after the first '=' is the value; quotes around it as in the
 * server's own files may stand, and "=" with nothing after it is the empty value. */
static int parse_pair(struct tw_arena *a, const char *text, struct tw_request *r,
                      struct tw_err *err)
{
    size_t n = strcspn(text, "=");
    size_t len;
    char *name, *value;

    while (n && isspace((unsigned char)text[n - 1]))
        n--;
    if (n == 0 || !strchr(text, '='))
        return tw_fail_at(err, -EINVAL, "--set",
                          "'%s': expected NAME=VALUE or ALTER SYSTEM SET NAME = VALUE",
                          text);
    name = tw_arena_strndup(a, text, n);
    value = tw_arena_strdup(a, strchr(text, '=') + 1);
    value += strspn(value, " \t");
    len = strlen(value);
    while (len && isspace((unsigned char)value[len - 1]))
        value[--len] = '\0';
    if (len >= 2 && value[0] == '\'' && value[len - 1] == '\'') {
        value[len - 1] = '\0';
        value++;
    }
    add_setting(a, r, name, value);
    return 0;
}

int tw_change_parse_set(struct tw_arena *a, const char *text, struct tw_request *r,
                        struct tw_err *err)
{
    int rc = is_statement(text) ? parse_statement(a, text, r, err)
                                : parse_pair(a, text, r, err);

    if (rc < 0 && err && !err->pointer[0])
        (void)tw_fail_at(err, rc, "--set", "'%s': %s", text,
                         tw_arena_strdup(a, err->text));
    return rc;
}

int tw_change_parse_file(struct tw_arena *a, const char *text, struct tw_request *r,
                         struct tw_err *err)
{
    const char *equal = strchr(text, '=');
    const char *from = equal ? equal + 1 : text;
    tw_auto_free char *content = NULL;
    struct tw_file_change f = {.origin = tw_arena_strdup(a, from)};
    size_t len;
    int rc = tw_read_file(AT_FDCWD, from, FILE_MAX, &content, &len, err);

    if (rc < 0)
        return tw_wrap(err, -EINVAL, "--file");
    if (strlen(content) != len)
        return tw_fail_at(err, -EINVAL, "--file", "'%s' is not a text file", from);
    if (equal)
        f.path = tw_arena_strndup(a, text, (size_t)(equal - text));
    f.content = tw_arena_strdup(a, content);
    TW_PUSH(a, &r->files, f);
    return 0;
}

int tw_change_parse_script(struct tw_arena *a, const char *path, struct tw_request *r,
                           struct tw_err *err)
{
    tw_auto_free char *content = NULL;
    size_t len;
    int rc = tw_read_file(AT_FDCWD, path, FILE_MAX, &content, &len, err);

    if (rc < 0)
        return tw_wrap(err, -EINVAL, "--sql-file");
    if (strlen(content) != len)
        return tw_fail_at(err, -EINVAL, "--sql-file", "'%s' is not a text file", path);
    TW_PUSH(a, &r->sql, tw_arena_strdup(a, content));
    return 0;
}

/* ---- sweeps: 4MB..64MB doubles, 10..50..+10 goes on by ten ---- */

struct sweep {
    double from, to, step; /* step NaN: doubles */
    const char *unit;
};

static bool read_number(const char *text, double *ret, const char **ret_unit)
{
    char *end;

    *ret = strtod(text, &end);
    *ret_unit = end;
    return end != text;
}

static bool parse_sweep(struct tw_arena *a, const char *value, struct sweep *ret)
{
    const char *dots = value ? strstr(value, "..") : NULL;
    const char *more, *low_unit, *high_unit, *step_unit;
    char *low, *high;

    if (!dots)
        return false;
    low = tw_arena_strndup(a, value, (size_t)(dots - value));
    more = strstr(dots + 2, "..+");
    high = more ? tw_arena_strndup(a, dots + 2, (size_t)(more - dots - 2))
                : tw_arena_strdup(a, dots + 2);
    if (!read_number(low, &ret->from, &low_unit) ||
        !read_number(high, &ret->to, &high_unit))
        return false;
    ret->unit = *high_unit ? high_unit : low_unit;
    ret->step = NAN;
    if (more && !read_number(more + 3, &ret->step, &step_unit))
        return false;
    return !*low_unit || tw_streq(low_unit, ret->unit);
}

static void one_value(struct tw_arena *a, const struct tw_request *r, size_t which,
                      const char *value, struct tw_requests *ret)
{
    struct tw_request copy = *r;

    copy.settings.items = NULL;
    copy.settings.count = 0;
    for (size_t i = 0; i < r->settings.count; i++) {
        struct tw_setting_change c = r->settings.items[i];

        if (i == which)
            c.value = value;
        TW_PUSH(a, &copy.settings, c);
    }
    TW_PUSH(a, &ret->list, copy);
}

static int expand(struct tw_arena *a, const struct tw_request *r, size_t which,
                  const struct sweep *s, struct tw_requests *ret, struct tw_err *err)
{
    const char *text = r->settings.items[which].value;

    if (s->from <= 0 || s->to < s->from || (!isnan(s->step) && s->step <= 0))
        return tw_fail_at(
            err, -EINVAL, "--set",
            "'%s': expected LOW..HIGH or LOW..HIGH..+STEP with LOW above zero and "
            "below HIGH",
            text);
    for (double v = s->from; v <= s->to * (1 + 1e-9);
         v = isnan(s->step) ? 2 * v : v + s->step) {
        if (ret->list.count >= SWEEP_MAX)
            return tw_fail_at(err, -EINVAL, "--set", "'%s': more than %d values", text,
                              SWEEP_MAX);
        one_value(a, r, which, tw_arena_printf(a, "%.15g%s", v, s->unit), ret);
    }
    return 0;
}

int tw_change_sweep(struct tw_arena *a, const struct tw_request *r,
                    struct tw_requests *ret, struct tw_err *err)
{
    struct sweep sweep, found = {0};
    size_t which = r->settings.count;

    *ret = (struct tw_requests){0};
    for (size_t i = 0; i < r->settings.count; i++) {
        if (!parse_sweep(a, r->settings.items[i].value, &sweep))
            continue;
        if (which < r->settings.count)
            return tw_fail_at(err, -EINVAL, "--set",
                              "only one setting can be swept at once");
        which = i;
        found = sweep;
    }
    if (which < r->settings.count)
        return expand(a, r, which, &found, ret, err);
    TW_PUSH(a, &ret->list, *r);
    return 0;
}
