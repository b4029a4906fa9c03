/* JSON as we read and write it: strict in, unknown as null out. */
#include "tw/spec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "spec_internal.h"

json_t *tw_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* Unicode 15, table 3-7. */
size_t tw_utf8_sequence(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    static const struct {
        unsigned char first, last, second_low, second_high, length;
    } rows[] = {
        {0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2},
        {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
        {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        if (s[0] < rows[i].first || s[0] > rows[i].last)
            continue;
        if (rows[i].length > 1 &&
            (s[1] < rows[i].second_low || s[1] > rows[i].second_high))
            return 0;
        for (size_t k = 2; k < rows[i].length; k++)
            if ((s[k] & 0xc0) != 0x80)
                return 0;
        return rows[i].length;
    }
    return 0;
}

json_t *tw_json_text(const char *text)
{
    json_t *json = text ? json_string(text) : json_null();
    struct tw_buf b;

    if (json)
        return json;
    tw_buf_init(&b, strlen(text) * 3 + 1);
    while (*text) {
        size_t n = tw_utf8_sequence(text);

        tw_buf_add(&b, n ? text : "\xef\xbf\xbd", n ? n : 3);
        text += n ? n : 1;
    }
    json = json_string(tw_buf_text(&b));
    tw_buf_done(&b);
    return json;
}

json_t *tw_estimate_to_json(const struct tw_estimate *e)
{
    return spec_write(&spec_estimate, e, false);
}

char *tw_json_dump(const json_t *json, size_t flags)
{
    char *text = json_dumps(json, flags | JSON_REAL_PRECISION(15) | JSON_ENCODE_ANY);

    return text ? text : tw_strf("null");
}

void tw_json_sha256(const json_t *json, char ret_hex[65])
{
    tw_auto_free char *text = tw_json_dump(json, JSON_COMPACT | JSON_SORT_KEYS);

    tw_sha256_hex(text, strlen(text), ret_hex);
}

static char *joined(const char *const *names, size_t n)
{
    struct tw_buf b;

    tw_buf_init(&b, 700);
    for (size_t i = 0; i < n; i++)
        tw_buf_printf(&b, "%s'%s'", i ? ", " : "", names[i]);
    return tw_buf_take(&b);
}

int tw_json_known_keys(const json_t *object, const char *pointer,
                       const char *const *names, size_t n, struct tw_err *err)
{
    const char *key, *near;
    json_t *value;

    json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
        tw_auto(tw_arena) *a = NULL;
        tw_auto_free char *known = NULL;

        if (tw_name_index(key, names, n) >= 0)
            continue;
        a = tw_arena_new();
        near = tw_nearest(key, names, n);
        if (near)
            return tw_fail_at(err, -EINVAL, tw_json_pointer(a, pointer, key),
                              "unknown key '%s'; did you mean '%s'?", key, near);
        known = joined(names, n);
        return tw_fail_at(err, -EINVAL, tw_json_pointer(a, pointer, key),
                          "unknown key '%s'; known are %s", key, known);
    }
    return 0;
}

/* jansson recurses as deep as the text says, up to a limit of its own: ours is looked at first. */
static int check_depth(const char *text, size_t len, struct tw_err *err)
{
    int depth = 0, line = 1;
    size_t line_start = 0;
    bool quoted = false;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (c == '\n') {
            line++;
            line_start = i + 1;
        }
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            if (++depth > TW_JSON_MAX_DEPTH)
                return tw_fail(err, -EINVAL,
                               "line %d, column %zu: nested deeper than %d levels", line,
                               i - line_start + 1, TW_JSON_MAX_DEPTH);
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return 0;
}

int tw_json_parse(const char *text, size_t len, json_t **ret_json, struct tw_err *err)
{
    json_error_t where;
    json_t *json;
    int r;

    if (len > TW_JSON_MAX_BYTES)
        return tw_fail(err, -EFBIG, "%zu bytes of JSON; at most %zu are read", len,
                       (size_t)TW_JSON_MAX_BYTES);
    r = check_depth(text, len, err);
    if (r < 0)
        return r;
    json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    if (!json)
        return tw_fail(err, -EINVAL, "line %d, column %d: %s", where.line, where.column,
                       where.text);
    *ret_json = json;
    return 0;
}
