/* Reads and writes structs by their tables of fields. */
#include "spec_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXACT_INT (INT64_C(1) << 53) /* above it a double no longer holds every integer */

/* Every TW_ARRAY has this form. */
struct any_array {
    void *items;
    size_t count;
};
struct texts {
    TW_ARRAY(const char *) list;
};

static const struct spec_field estimate_fields[] = {
    {.key = "value", .kind = SPEC_REAL, SPEC_AT(tw_estimate, value)},
    {.key = "low", .kind = SPEC_REAL, SPEC_AT(tw_estimate, low)},
    {.key = "high", .kind = SPEC_REAL, SPEC_AT(tw_estimate, high)},
    {.key = "level", .kind = SPEC_REAL, SPEC_AT(tw_estimate, level)},
    {.key = "n", .kind = SPEC_INT64, SPEC_AT(tw_estimate, n)},
    {.key = "method", .kind = SPEC_TEXT, SPEC_AT(tw_estimate, method)},
};
const struct spec_shape spec_estimate = SPEC_SHAPE(tw_estimate, estimate_fields);

char *tw_json_pointer(struct tw_arena *a, const char *pointer, const char *key)
{
    tw_auto_buf b = {0};

    tw_buf_init(&b, strlen(pointer) + 2 * strlen(key) + 2);
    tw_buf_printf(&b, "%s/", pointer);
    for (; *key; key++) {
        if (*key == '~' || *key == '/')
            tw_buf_puts(&b, *key == '~' ? "~0" : "~1");
        else
            tw_buf_add(&b, key, 1);
    }
    return tw_arena_strdup(a, tw_buf_text(&b));
}

const char *spec_type_name(const json_t *json)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a text",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a number",  [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };

    return json ? names[json_typeof(json)] : "nothing";
}

/* ---- unknown ---- */

void spec_blank(const struct spec_shape *shape, void *to)
{
    for (size_t i = 0; i < shape->count; i++) {
        const struct spec_field *f = &shape->fields[i];
        char *at = (char *)to + f->offset;

        if ((f->kind == SPEC_REAL || f->kind == SPEC_CORES) &&
            !(f->flags & SPEC_ZERO_UNKNOWN))
            *(double *)(void *)at = NAN;
        else if (f->kind == SPEC_INT && (f->flags & SPEC_MINUS_UNKNOWN))
            *(int *)(void *)at = -1;
        else if (f->kind == SPEC_OBJECT)
            spec_blank(f->shape, at);
    }
}

/* ---- writing ---- */

static json_t *write_int(const struct spec_field *f, int64_t value)
{
    if ((value == 0 && (f->flags & SPEC_ZERO_UNKNOWN)) ||
        (value == -1 && (f->flags & SPEC_MINUS_UNKNOWN)))
        return json_null();
    return json_integer(value);
}

static json_t *write_uint64(const struct spec_field *f, uint64_t value)
{
    tw_auto_free char *text = NULL;

    if (value <= (uint64_t)EXACT_INT)
        return write_int(f, (int64_t)value);
    text = tw_strf("%" PRIu64, value);
    return json_string(text);
}

static double six_digits(double value)
{
    double unit;

    if (value == 0 || !isfinite(value))
        return value;
    unit = pow(10, floor(log10(fabs(value))) - 5);
    return unit >= 1 ? round(value / unit) * unit : round(value / unit) / round(1 / unit);
}

static json_t *write_real(const struct spec_field *f, double value)
{
    if (value == 0 && (f->flags & SPEC_ZERO_UNKNOWN))
        return json_null();
    if (f->scale != 0)
        value *= f->scale;
    return tw_json_real(f->flags & SPEC_SHORT ? six_digits(value) : value);
}

static json_t *write_time(int64_t wall_ns)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    return wall_ns ? tw_json_text(tw_iso_time(a, wall_ns)) : json_null();
}

static json_t *write_texts(const struct texts *texts)
{
    json_t *list = json_array();

    for (size_t i = 0; i < texts->list.count; i++)
        json_array_append_new(list, tw_json_text(texts->list.items[i]));
    return list;
}

static json_t *write_list(const struct spec_shape *shape, const struct any_array *array,
                          bool brief)
{
    json_t *list = json_array();

    for (size_t i = 0; i < array->count; i++)
        json_array_append_new(
            list, spec_write(shape, (const char *)array->items + i * shape->size, brief));
    return list;
}

static json_t *write_map(const struct spec_shape *shape, const struct any_array *array,
                         bool brief)
{
    const struct spec_shape rest = {shape->fields + 1, shape->count - 1, shape->size};
    json_t *map = json_object();

    for (size_t i = 0; i < array->count; i++) {
        const char *item = (const char *)array->items + i * shape->size;
        const char *key =
            *(const char *const *)(const void *)(item + shape->fields[0].offset);

        json_object_set_new(map, key ? key : "", spec_write(&rest, item, brief));
    }
    return map;
}

static json_t *write_field(const struct spec_field *f, const void *at, bool brief)
{
    switch (f->kind) {
    case SPEC_TEXT:
        return tw_json_text(*(const char *const *)at);
    case SPEC_CHARS:
        return tw_json_text(*(const char *)at ? at : NULL);
    case SPEC_REAL:
    case SPEC_CORES:
        return write_real(f, *(const double *)at);
    case SPEC_INT:
        return write_int(f, *(const int *)at);
    case SPEC_UINT:
        return write_int(f, *(const unsigned *)at);
    case SPEC_INT64:
    case SPEC_BYTES:
        return write_int(f, *(const int64_t *)at);
    case SPEC_UINT64:
        return write_uint64(f, *(const uint64_t *)at);
    case SPEC_BOOL:
        return json_boolean(*(const bool *)at);
    case SPEC_NAME:
        assert(*(const unsigned *)at < f->size);
        return json_string(f->names[*(const unsigned *)at]);
    case SPEC_TIME:
        return write_time(*(const int64_t *)at);
    case SPEC_TEXTS:
        return write_texts(at);
    case SPEC_OBJECT:
        return spec_write(f->shape, at, brief);
    case SPEC_LIST:
        return write_list(f->shape, at, brief);
    case SPEC_MAP:
        return write_map(f->shape, at, brief);
    }
    return json_null();
}

static bool says_nothing(const json_t *json)
{
    return json_is_null(json) || json_is_false(json) ||
           (json_is_array(json) && json_array_size(json) == 0) ||
           (json_is_object(json) && json_object_size(json) == 0);
}

json_t *spec_write(const struct spec_shape *shape, const void *from, bool brief)
{
    json_t *json = json_object();

    for (size_t i = 0; i < shape->count; i++) {
        const struct spec_field *f = &shape->fields[i];
        json_t *value = write_field(f, (const char *)from + f->offset, brief);

        if (brief && says_nothing(value))
            json_decref(value);
        else
            json_object_set_new(json, f->key, value);
    }
    return json;
}

json_t *spec_write_list(const struct spec_shape *shape, const void *array)
{
    return write_list(shape, array, true);
}

/* ---- reading ----
 * A reader returns NULL, or what it expected. */

static const char *read_text(const struct spec_field *f, struct tw_arena *a,
                             const json_t *json, void *at)
{
    (void)f;
    if (!json_is_string(json))
        return "a text";
    *(const char **)at = tw_arena_strdup(a, json_string_value(json));
    return NULL;
}

static const char *read_chars(const struct spec_field *f, struct tw_arena *a,
                              const json_t *json, void *at)
{
    (void)a;
    if (!json_is_string(json) || json_string_length(json) >= f->size)
        return "a short text";
    memcpy(at, json_string_value(json), json_string_length(json) + 1);
    return NULL;
}

static const char *read_real(const struct spec_field *f, struct tw_arena *a,
                             const json_t *json, void *at)
{
    (void)a;
    if (!json_is_number(json))
        return "a number";
    *(double *)at = json_number_value(json) / (f->scale != 0 ? f->scale : 1);
    return NULL;
}

static const char *read_int64(const struct spec_field *f, struct tw_arena *a,
                              const json_t *json, void *at)
{
    (void)f, (void)a;
    if (!json_is_integer(json))
        return "a whole number";
    *(int64_t *)at = json_integer_value(json);
    return NULL;
}

static const char *read_int(const struct spec_field *f, struct tw_arena *a,
                            const json_t *json, void *at)
{
    int64_t value, least = f->kind == SPEC_UINT ? 0 : INT32_MIN;
    int64_t most = f->kind == SPEC_UINT ? UINT32_MAX : INT32_MAX;

    if (read_int64(f, a, json, &value) || value < least || value > most)
        return "a whole number";
    if (f->kind == SPEC_UINT)
        *(unsigned *)at = (unsigned)value;
    else
        *(int *)at = (int)value;
    return NULL;
}

static const char *read_uint64(const struct spec_field *f, struct tw_arena *a,
                               const json_t *json, void *at)
{
    const char *text = json_string_value(json);
    char *end;

    (void)f, (void)a;
    if (json_is_integer(json) && json_integer_value(json) >= 0) {
        *(uint64_t *)at = (uint64_t)json_integer_value(json);
        return NULL;
    }
    if (!text || !*text || strspn(text, "0123456789") != strlen(text))
        return "a whole number of 0 or more";
    errno = 0;
    *(uint64_t *)at = strtoull(text, &end, 10);
    return errno ? "a number under 2^64" : NULL;
}

static const char *read_bool(const struct spec_field *f, struct tw_arena *a,
                             const json_t *json, void *at)
{
    (void)f, (void)a;
    if (!json_is_boolean(json))
        return "true or false";
    *(bool *)at = json_is_true(json);
    return NULL;
}

static const char *read_name(const struct spec_field *f, struct tw_arena *a,
                             const json_t *json, void *at)
{
    int index = json_is_string(json)
                    ? tw_name_index(json_string_value(json), f->names, f->size)
                    : -1;
    struct tw_buf b;
    const char *expected;

    if (index >= 0) {
        *(unsigned *)at = (unsigned)index;
        return NULL;
    }
    tw_buf_init(&b, 500);
    for (size_t i = 0; i < f->size; i++)
        tw_buf_printf(&b, "%s'%s'", i ? ", " : "one of ", f->names[i]);
    expected = tw_arena_strdup(a, tw_buf_text(&b));
    tw_buf_done(&b);
    return expected;
}

static const char *read_time(const struct spec_field *f, struct tw_arena *a,
                             const json_t *json, void *at)
{
    const char *text = json_string_value(json), *end;
    struct tm tm = {0};

    (void)f, (void)a;
    end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (!end)
        return "a time like '2026-01-31T12:00:00Z'";
    *(int64_t *)at = (int64_t)timegm(&tm) * TW_SEC_NS;
    return NULL;
}

static const char *read_bytes(const struct spec_field *f, struct tw_arena *a,
                              const json_t *json, void *at)
{
    if (json_is_string(json) && tw_parse_bytes(json_string_value(json), at, NULL) == 0)
        return NULL;
    return read_int64(f, a, json, at) || *(int64_t *)at < 0
               ? "bytes, or a text like '16GB'"
               : NULL;
}

static const char *read_cores(const struct spec_field *f, struct tw_arena *a,
                              const json_t *json, void *at)
{
    if (json_is_string(json) && tw_parse_cores(json_string_value(json), at, NULL) == 0)
        return NULL;
    return read_real(f, a, json, at) || *(double *)at < 0 ? "a number of cores, or '500m'"
                                                          : NULL;
}

static const char *read_texts(const struct spec_field *f, struct tw_arena *a,
                              const json_t *json, void *at)
{
    struct texts *texts = at;
    json_t *item;
    size_t i;

    (void)f;
    if (!json_is_array(json))
        return "an array of texts";
    json_array_foreach (json, i, item) {
        if (!json_is_string(item))
            return "an array of texts";
        TW_PUSH(a, &texts->list, tw_arena_strdup(a, json_string_value(item)));
    }
    return NULL;
}

static const char *read_object(const struct spec_field *f, struct tw_arena *a,
                               const json_t *json, void *at)
{
    if (!json_is_object(json))
        return "an object";
    spec_read(f->shape, a, json, at);
    return NULL;
}

static const char *read_list(const struct spec_field *f, struct tw_arena *a,
                             const json_t *json, void *at)
{
    struct any_array *array = at;

    if (!json_is_array(json))
        return "an array";
    array->count = json_array_size(json);
    array->items = tw_arena_alloc(a, array->count * f->shape->size);
    for (size_t i = 0; i < array->count; i++)
        spec_read(f->shape, a, json_array_get(json, i),
                  (char *)array->items + i * f->shape->size);
    return NULL;
}

static const char *read_map(const struct spec_field *f, struct tw_arena *a,
                            const json_t *json, void *at)
{
    const struct spec_shape rest = {f->shape->fields + 1, f->shape->count - 1,
                                    f->shape->size};
    struct any_array *array = at;
    const char *key;
    json_t *value;
    char *item;

    if (!json_is_object(json))
        return "an object";
    array->items = item = tw_arena_alloc(a, json_object_size(json) * f->shape->size);
    json_object_foreach ((json_t *)(uintptr_t)json, key, value) {
        spec_read(&rest, a, value, item);
        *(const char **)(void *)(item + f->shape->fields[0].offset) =
            tw_arena_strdup(a, key);
        item += f->shape->size;
        array->count++;
    }
    return NULL;
}

typedef const char *read_fn(const struct spec_field *f, struct tw_arena *a,
                            const json_t *json, void *at);
static read_fn *const readers[] = {
    [SPEC_TEXT] = read_text,     [SPEC_CHARS] = read_chars,   [SPEC_REAL] = read_real,
    [SPEC_INT] = read_int,       [SPEC_UINT] = read_int,      [SPEC_INT64] = read_int64,
    [SPEC_UINT64] = read_uint64, [SPEC_BOOL] = read_bool,     [SPEC_NAME] = read_name,
    [SPEC_TIME] = read_time,     [SPEC_BYTES] = read_bytes,   [SPEC_CORES] = read_cores,
    [SPEC_TEXTS] = read_texts,   [SPEC_OBJECT] = read_object, [SPEC_LIST] = read_list,
    [SPEC_MAP] = read_map,
};

void spec_read(const struct spec_shape *shape, struct tw_arena *a, const json_t *json,
               void *to)
{
    spec_blank(shape, to);
    for (size_t i = 0; i < shape->count; i++) {
        const struct spec_field *f = &shape->fields[i];
        const json_t *value = json_object_get(json, f->key);

        if (value && !json_is_null(value))
            (void)readers[f->kind](f, a, value, (char *)to + f->offset);
    }
}

int spec_read_strict(const struct spec_shape *shape, struct tw_arena *a,
                     const json_t *json, const char *pointer, const char *const *extra,
                     size_t extra_count, void *to, struct tw_err *err)
{
    size_t n = shape->count + extra_count;
    const char **known = tw_arena_alloc(a, n * sizeof *known);
    int r;

    if (!json_is_object(json))
        return tw_fail_at(err, -EINVAL, pointer, "expected an object, not %s",
                          spec_type_name(json));
    for (size_t i = 0; i < n; i++)
        known[i] = i < shape->count ? shape->fields[i].key : extra[i - shape->count];
    r = tw_json_known_keys(json, pointer, known, n, err);
    if (r < 0)
        return r;

    for (size_t i = 0; i < shape->count; i++) {
        const struct spec_field *f = &shape->fields[i];
        const json_t *value = json_object_get(json, f->key);
        const char *expected = NULL;

        if (value && !json_is_null(value))
            expected = readers[f->kind](f, a, value, (char *)to + f->offset);
        else if (f->flags & SPEC_REQUIRED)
            return tw_fail_at(err, -EINVAL, tw_json_pointer(a, pointer, f->key),
                              "'%s' is missing", f->key);
        if (expected && json_is_string(value))
            return tw_fail_at(err, -EINVAL, tw_json_pointer(a, pointer, f->key),
                              "'%s' is '%s'; expected %s", f->key,
                              json_string_value(value), expected);
        if (expected)
            return tw_fail_at(err, -EINVAL, tw_json_pointer(a, pointer, f->key),
                              "'%s' is %s; expected %s", f->key, spec_type_name(value),
                              expected);
    }
    return 0;
}
