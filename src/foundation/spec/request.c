/* Change requests as users send them: read strictly, with the place of every mistake. */
#include "spec_internal.h"

#include <math.h>
#include <string.h>

#define MAX_HOURS 720.0 /* 30 days */

/* What is being read: where results go, and which place of the body is looked at. */
struct reading {
    struct tw_arena *a;
    struct tw_request *r;
    struct tw_err *err;
};
typedef int part_fn(const struct reading *rd, const json_t *json, const char *pointer);

static const struct spec_field scalar_fields[] = {
    {.key = "type", .kind = SPEC_TEXT, .flags = SPEC_REQUIRED, SPEC_AT(tw_request, type)},
    {.key = "target",
     .kind = SPEC_TEXT,
     .flags = SPEC_REQUIRED,
     SPEC_AT(tw_request, target)},
    {.key = "environment", .kind = SPEC_TEXT, SPEC_AT(tw_request, environment)},
    {.key = "duration_hours", .kind = SPEC_REAL, SPEC_AT(tw_request, hours)},
    {.key = "load_scenario", .kind = SPEC_TEXT, SPEC_AT(tw_request, scenario)},
    {.key = "profile", .kind = SPEC_TEXT, SPEC_AT(tw_request, profile)},
    {.key = "rate_per_s", .kind = SPEC_REAL, SPEC_AT(tw_request, rate_per_s)},
    {.key = "risk_level", .kind = SPEC_TEXT, SPEC_AT(tw_request, risk_level)},
    {.key = "engine", .kind = SPEC_TEXT, SPEC_AT(tw_request, engine)},
    {.key = "seed",
     .kind = SPEC_UINT64,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_request, seed)},
    {.key = "budget_seconds", .kind = SPEC_REAL, SPEC_AT(tw_request, budget_s)},
    {.key = "mixes", .kind = SPEC_TEXTS, SPEC_AT(tw_request, mixes)},
    {.key = "connections",
     .kind = SPEC_INT,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_request, connections)},
    {.key = "refresh_data", .kind = SPEC_BOOL, SPEC_AT(tw_request, refresh_data)},
    {.key = "keep", .kind = SPEC_BOOL, SPEC_AT(tw_request, keep)},
};
static const struct spec_shape scalars = SPEC_SHAPE(tw_request, scalar_fields);

/* What may stand around {"change_request": …}: the inner one wins. */
static const struct spec_field outer_fields[] = {
    {.key = "environment", .kind = SPEC_TEXT, SPEC_AT(tw_request, environment)},
    {.key = "duration_hours", .kind = SPEC_REAL, SPEC_AT(tw_request, hours)},
    {.key = "load_scenario", .kind = SPEC_TEXT, SPEC_AT(tw_request, scenario)},
    {.key = "risk_level", .kind = SPEC_TEXT, SPEC_AT(tw_request, risk_level)},
};
static const struct spec_shape outer = SPEC_SHAPE(tw_request, outer_fields);

static const char *const risk_levels[] = {"low", "medium", "high", "critical"};
static const char *const engines[] = {"map", "full"};

void tw_request_init(struct tw_request *r)
{
    *r = (struct tw_request){.hours = 24,
                             .scenario = "diurnal",
                             .rate_per_s = NAN,
                             .engine = "map",
                             .budget_s = NAN};
}

/* ---- values of settings ---- */

/* An element of a list as the service's own list syntax writes it: quoted where it has to be. */
static void add_element(struct tw_buf *b, const char *text)
{
    if (*text && !strpbrk(text, ", \"\t\n'")) {
        tw_buf_puts(b, text);
        return;
    }
    tw_buf_puts(b, "\"");
    for (; *text; text++)
        tw_buf_printf(b, *text == '"' ? "\"%c" : "%c", *text);
    tw_buf_puts(b, "\"");
}

static const char *scalar_text(struct tw_arena *a, const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_STRING:
        return tw_arena_strdup(a, json_string_value(json));
    case JSON_INTEGER:
        return tw_arena_printf(a, "%lld", (long long)json_integer_value(json));
    case JSON_REAL:
        return tw_arena_printf(a, "%.15g", json_real_value(json));
    case JSON_TRUE:
        return "on";
    case JSON_FALSE:
        return "off";
    default:
        return NULL;
    }
}

static const char *list_text(struct tw_arena *a, const json_t *list)
{
    const char *text = "";
    struct tw_buf b;
    json_t *item;
    size_t i;

    tw_buf_init(&b, TW_JSON_MAX_BYTES);
    json_array_foreach (list, i, item) {
        text = scalar_text(a, item);
        if (!text)
            break;
        tw_buf_puts(&b, i ? ", " : "");
        add_element(&b, text);
    }
    if (text)
        text = tw_arena_strdup(a, tw_buf_text(&b));
    tw_buf_done(&b);
    return text;
}

/* An object as value means something to some change types ("env", "latency_to"): kept as JSON. */
static const char *object_text(struct tw_arena *a, const json_t *json)
{
    tw_auto_free char *text = tw_json_dump(json, JSON_COMPACT);

    return tw_arena_strdup(a, text);
}

static int read_setting(const struct reading *rd, const char *name, const json_t *json,
                        const char *pointer)
{
    struct tw_setting_change change = {.name = tw_arena_strdup(rd->a, name),
                                       .pointer = pointer};
    bool config = tw_streq(rd->r->type, "config_change");
    bool words = tw_streq(rd->r->type, "deployment"); /* of a command: none is joined */

    if (json_is_array(json) && !words)
        change.value = list_text(rd->a, json);
    else if (json_is_object(json) || json_is_array(json))
        change.value = config ? NULL : object_text(rd->a, json);
    else
        change.value = scalar_text(rd->a, json);
    if (!change.value && !json_is_null(json))
        return tw_fail_at(
            rd->err, -EINVAL, pointer,
            "the value of '%s' is %s; expected a text, a number, true, false, "
            "null for the default, or an array of these",
            name, spec_type_name(json));
    TW_PUSH(rd->a, &rd->r->settings, change);
    return 0;
}

/* ---- files, fragments, statements ---- */

static const char *const file_keys[] = {"content", "append", "origin"};

static int check_content(const struct reading *rd, const json_t *json,
                         const char *pointer)
{
    const char *key;
    json_t *value;
    int r = tw_json_known_keys(json, pointer, file_keys, TW_COUNT_OF(file_keys), rd->err);

    if (r < 0)
        return r;
    json_object_foreach ((json_t *)(uintptr_t)json, key, value)
        if (!json_is_string(value))
            return tw_fail_at(rd->err, -EINVAL, tw_json_pointer(rd->a, pointer, key),
                              "'%s' is %s; expected a text", key, spec_type_name(value));
    return 0;
}

static int read_file(const struct reading *rd, const char *path, const json_t *json,
                     const char *pointer)
{
    const json_t *content = json_object_get(json, "content");
    const json_t *append = json_object_get(json, "append");
    const json_t *origin = json_object_get(json, "origin");
    int r;

    if (!json_is_object(json))
        return tw_fail_at(rd->err, -EINVAL, pointer,
                          "file '%s' is %s; expected {\"content\": …} or {\"append\": …}",
                          path, spec_type_name(json));
    r = check_content(rd, json, pointer);
    if (r < 0)
        return r;
    if (!content == !append)
        return tw_fail_at(
            rd->err, -EINVAL, pointer,
            "file '%s' needs exactly one of 'content' (replaces it) and 'append'", path);
    TW_PUSH(
        rd->a, &rd->r->files,
        (struct tw_file_change){
            .path = tw_arena_strdup(rd->a, path),
            .content =
                tw_arena_strdup(rd->a, json_string_value(append ? append : content)),
            .origin = tw_arena_strdup(rd->a, origin ? json_string_value(origin) : path),
            .append = append != NULL});
    return 0;
}

static int read_files(const struct reading *rd, const json_t *json, const char *pointer)
{
    const char *path;
    json_t *value;
    int r = 0;

    if (!json_is_object(json))
        return tw_fail_at(rd->err, -EINVAL, pointer,
                          "'files' is %s; expected {\"PATH\": {\"content\": …}}",
                          spec_type_name(json));
    json_object_foreach ((json_t *)(uintptr_t)json, path, value) {
        if (path[0] != '/')
            return tw_fail_at(rd->err, -EINVAL, tw_json_pointer(rd->a, pointer, path),
                              "'%s' is not an absolute path", path);
        r = read_file(rd, path, value, tw_json_pointer(rd->a, pointer, path));
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_fragment(const struct reading *rd, const json_t *json,
                         const char *pointer, const char *name)
{
    const json_t *content =
        json_is_object(json) ? json_object_get(json, "content") : json;
    const json_t *origin = json_object_get(json, "origin");
    int r = json_is_object(json) ? check_content(rd, json, pointer) : 0;

    if (r < 0)
        return r;
    if (!json_is_string(content))
        return tw_fail_at(rd->err, -EINVAL, pointer,
                          "a fragment is a text or {\"content\": …, \"origin\": …}");
    TW_PUSH(
        rd->a, &rd->r->files,
        (struct tw_file_change){
            .content = tw_arena_strdup(rd->a, json_string_value(content)),
            .origin = tw_arena_strdup(rd->a, origin ? json_string_value(origin) : name)});
    return 0;
}

static int read_fragments(const struct reading *rd, const json_t *json,
                          const char *pointer)
{
    json_t *item;
    size_t i;
    int r;

    if (!json_is_array(json))
        return tw_fail_at(rd->err, -EINVAL, pointer,
                          "'fragments' is %s; expected an array", spec_type_name(json));
    json_array_foreach (json, i, item) {
        const char *at = tw_arena_printf(rd->a, "%s/%zu", pointer, i);

        r = read_fragment(rd, item, at, tw_arena_printf(rd->a, "fragment %zu", i + 1));
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_sql(const struct reading *rd, const json_t *json, const char *pointer)
{
    json_t *item;
    size_t i;

    if (json_is_string(json)) {
        TW_PUSH(rd->a, &rd->r->sql, tw_arena_strdup(rd->a, json_string_value(json)));
        return 0;
    }
    if (!json_is_array(json))
        return tw_fail_at(rd->err, -EINVAL, pointer,
                          "'sql' is %s; expected an array of statements",
                          spec_type_name(json));
    json_array_foreach (json, i, item) {
        if (!json_is_string(item))
            return tw_fail_at(rd->err, -EINVAL,
                              tw_arena_printf(rd->a, "%s/%zu", pointer, i),
                              "a statement is %s; expected a text", spec_type_name(item));
        TW_PUSH(rd->a, &rd->r->sql, tw_arena_strdup(rd->a, json_string_value(item)));
    }
    return 0;
}

static int read_database(const struct reading *rd, const json_t *json,
                         const char *pointer)
{
    if (!json_is_string(json))
        return tw_fail_at(rd->err, -EINVAL, pointer,
                          "'database' is %s; expected the name of one",
                          spec_type_name(json));
    rd->r->database = tw_arena_strdup(rd->a, json_string_value(json));
    return 0;
}

static int read_clients(const struct reading *rd, const json_t *json, const char *pointer)
{
    json_t *item;
    size_t i;

    if (!json_is_array(json))
        return tw_fail_at(rd->err, -EINVAL, pointer,
                          "'clients' is %s; expected an array of who connects, "
                          "[{\"user\": \"app\", \"database\": \"shop\"}]",
                          spec_type_name(json));
    json_array_foreach (json, i, item) {
        struct tw_client client = {.origin = "given"};
        int r = spec_read_strict(&spec_client, rd->a, item,
                                 tw_arena_printf(rd->a, "%s/%zu", pointer, i), NULL, 0,
                                 &client, rd->err);

        if (r < 0)
            return r;
        TW_PUSH(rd->a, &rd->r->clients, client);
    }
    return 0;
}

static int read_faults(const struct reading *rd, const json_t *json, const char *pointer)
{
    return spec_read_faults(rd->a, json, pointer, &rd->r->faults, rd->err);
}

/* ---- the change itself ---- */

static part_fn read_change, read_changes, read_metadata, read_scan, read_smoke,
    read_rollback, read_scaling;

/* Keys of a request that are more than a value; only_type NULL: of every type. */
static const struct part {
    const char *key, *only_type;
    part_fn *read;
    bool in_change; /* also inside "change" */
} parts[] = {
    {"change", NULL, read_change, false},
    {"changes", NULL, read_changes, false},
    {"files", NULL, read_files, true},
    {"fragments", NULL, read_fragments, true},
    {"sql", NULL, read_sql, true},
    {"database", "schema_change or security", read_database, true},
    {"clients", NULL, read_clients, false},
    {"faults", NULL, read_faults, false},
    {"metadata", NULL, read_metadata, false},
    {"security_scan", "security", read_scan, false},
    {"smoke", "deployment", read_smoke, false},
    {"rollback", "deployment", read_rollback, false},
    {"slo", "scaling", read_scaling, false},
    {"measured_instances", "scaling", read_scaling, false},
};

static const struct part *part_find(const char *key)
{
    for (size_t i = 0; i < TW_COUNT_OF(parts); i++)
        if (tw_streq(parts[i].key, key))
            return &parts[i];
    return NULL;
}

static int read_change(const struct reading *rd, const json_t *json, const char *pointer)
{
    const char *key;
    json_t *value;
    int r;

    if (!json_is_object(json))
        return tw_fail_at(rd->err, -EINVAL, pointer,
                          "'change' is %s; expected an object of what changes, "
                          "{\"work_mem\": \"64MB\"}",
                          spec_type_name(json));
    json_object_foreach ((json_t *)(uintptr_t)json, key, value) {
        const struct part *part = part_find(key);
        const char *at = tw_json_pointer(rd->a, pointer, key);

        r = part && part->in_change ? part->read(rd, value, at)
                                    : read_setting(rd, key, value, at);
        if (r < 0)
            return r;
    }
    return 0;
}

/* One of several changes; it may repeat type and target, which have to be those of the request. */
static int read_one_of(const struct reading *rd, const json_t *json, const char *pointer)
{
    static const char *const known[] = {"type",  "target",    "change",
                                        "files", "fragments", "sql"};
    const char *const same[] = {rd->r->type, rd->r->target};
    int r;

    if (!json_is_object(json))
        return tw_fail_at(rd->err, -EINVAL, pointer, "a change is %s; expected an object",
                          spec_type_name(json));
    r = tw_json_known_keys(json, pointer, known, TW_COUNT_OF(known), rd->err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < TW_COUNT_OF(known); i++) {
        const json_t *value = json_object_get(json, known[i]);
        const char *at = tw_json_pointer(rd->a, pointer, known[i]);

        if (!value)
            continue;
        if (i < TW_COUNT_OF(same) && !tw_streq(json_string_value(value), same[i]))
            return tw_fail_at(
                rd->err, -EINVAL, at,
                "the changes of one request share its %s, '%s'; send another "
                "request for a different one",
                known[i], same[i]);
        if (i >= TW_COUNT_OF(same) && (r = part_find(known[i])->read(rd, value, at)) < 0)
            return r;
    }
    return 0;
}

static int read_changes(const struct reading *rd, const json_t *json, const char *pointer)
{
    json_t *item;
    size_t i;
    int r;

    if (!json_is_array(json) || json_array_size(json) == 0)
        return tw_fail_at(rd->err, -EINVAL, pointer,
                          "'changes' is %s; expected an array of at least one change",
                          json_is_array(json) ? "empty" : spec_type_name(json));
    json_array_foreach (json, i, item) {
        r = read_one_of(rd, item, tw_arena_printf(rd->a, "%s/%zu", pointer, i));
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_metadata(const struct reading *rd, const json_t *json,
                         const char *pointer)
{
    if (!json_is_object(json))
        return tw_fail_at(rd->err, -EINVAL, pointer,
                          "'metadata' is %s; expected an object", spec_type_name(json));
    rd->r->metadata = object_text(rd->a, json);
    return 0;
}

static int read_smoke(const struct reading *rd, const json_t *json, const char *pointer)
{
    return tw_smokes_from_json(rd->a, json, pointer, &rd->r->deployment.smoke, rd->err);
}

static int read_rollback(const struct reading *rd, const json_t *json,
                         const char *pointer)
{
    if (!json_is_boolean(json))
        return tw_fail_at(rd->err, -EINVAL, pointer,
                          "'rollback' is %s; expected true or false",
                          spec_type_name(json));
    rd->r->deployment.no_rollback = json_is_false(json);
    return 0;
}

static int read_scaling(const struct reading *rd, const json_t *json, const char *pointer)
{
    return spec_scaling_read(rd->a, json, pointer, &rd->r->scaling, rd->err);
}

static int read_scan(const struct reading *rd, const json_t *json, const char *pointer)
{
    if (!json_is_boolean(json))
        return tw_fail_at(rd->err, -EINVAL, pointer,
                          "'security_scan' is %s; expected true or false",
                          spec_type_name(json));
    rd->r->scan = json_is_true(json);
    return 0;
}

/* ---- ranges ---- */

static int check_word(const struct reading *rd, const char *pointer, const char *key,
                      const char *word, const char *const *words, size_t n)
{
    const char *near;

    if (!word || tw_name_index(word, words, n) >= 0)
        return 0;
    near = tw_nearest(word, words, n);
    return tw_fail_at(rd->err, -EINVAL, tw_json_pointer(rd->a, pointer, key),
                      "%s '%s' is not known; did you mean '%s'?", key, word,
                      near ? near : words[0]);
}

static int check_scalars(const struct reading *rd, const char *pointer)
{
    const struct {
        const char *key;
        double value, most;
        const char *expected;
    } rows[] = {
        {"duration_hours", rd->r->hours, MAX_HOURS,
         "more than 0 and at most 720 (30 days)"},
        {"rate_per_s", rd->r->rate_per_s, 1e9, "more than 0 requests per second"},
        {"budget_seconds", rd->r->budget_s, 86400,
         "more than 0 and at most 86400 seconds"},
    };
    int r;

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (rows[i].value <= 0 || rows[i].value > rows[i].most)
            return tw_fail_at(rd->err, -EINVAL,
                              tw_json_pointer(rd->a, pointer, rows[i].key),
                              "'%s' is %.15g; expected %s", rows[i].key, rows[i].value,
                              rows[i].expected);
    r = check_word(rd, pointer, "risk_level", rd->r->risk_level, risk_levels,
                   TW_COUNT_OF(risk_levels));
    return r < 0 ? r
                 : check_word(rd, pointer, "engine", rd->r->engine, engines,
                              TW_COUNT_OF(engines));
}

/* ---- the body ---- */

static int read_parts(const struct reading *rd, const json_t *json, const char *pointer)
{
    int r;

    for (size_t i = 0; i < TW_COUNT_OF(parts); i++) {
        const json_t *value = json_object_get(json, parts[i].key);
        const char *at = tw_json_pointer(rd->a, pointer, parts[i].key);

        if (!value || (json_is_null(value) && parts[i].read != read_change))
            continue;
        if (parts[i].only_type && !strstr(parts[i].only_type, rd->r->type))
            return tw_fail_at(rd->err, -EINVAL, at,
                              "'%s' belongs to changes of type '%s', not '%s'",
                              parts[i].key, parts[i].only_type, rd->r->type);
        r = parts[i].read(rd, value, at);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check_something(const struct reading *rd, const json_t *json,
                           const char *pointer)
{
    const struct tw_request *r = rd->r;
    const char *at = tw_json_pointer(rd->a, pointer, "change");

    if (json_object_get(json, "change") && json_object_get(json, "changes"))
        return tw_fail_at(rd->err, -EINVAL, tw_json_pointer(rd->a, pointer, "changes"),
                          "either 'change' or 'changes', not both");
    if (r->settings.count || r->files.count || r->sql.count)
        return 0;
    return tw_fail_at(rd->err, -EINVAL, at, "nothing changes; expected %s",
                      json_object_get(json, "change")
                          ? "at least one setting, {\"work_mem\": \"64MB\"}"
                          : "'change', {\"work_mem\": \"64MB\"}, 'files' or 'sql'");
}

static int read_body(const struct reading *rd, const json_t *json, const char *pointer)
{
    const char *names[TW_COUNT_OF(parts)];
    int r;

    for (size_t i = 0; i < TW_COUNT_OF(parts); i++)
        names[i] = parts[i].key;
    r = spec_read_strict(&scalars, rd->a, json, pointer, names, TW_COUNT_OF(names), rd->r,
                         rd->err);
    if (r < 0)
        return r;
    r = check_scalars(rd, pointer);
    if (r < 0)
        return r;
    r = read_parts(rd, json, pointer);
    return r < 0 ? r : check_something(rd, json, pointer);
}

int tw_request_from_json(struct tw_arena *a, const json_t *json,
                         struct tw_request *ret_request, struct tw_err *err)
{
    static const char *const extra[] = {"change_request", "metadata"};
    const json_t *inner = json_object_get(json, "change_request"), *metadata;
    struct tw_request request;
    const struct reading rd = {a, &request, err};
    int r;

    tw_request_init(&request);
    if (!inner) {
        r = read_body(&rd, json, "");
    } else {
        r = spec_read_strict(&outer, a, json, "", extra, TW_COUNT_OF(extra), &request,
                             err);
        if (r == 0)
            r = check_scalars(&rd, "");
        metadata = json_object_get(json, "metadata");
        if (r == 0 && metadata && !json_is_null(metadata))
            r = read_metadata(&rd, metadata, "/metadata");
        if (r == 0)
            r = read_body(&rd, inner, "/change_request");
    }
    if (r < 0)
        return r;
    *ret_request = request;
    return 0;
}

/* ---- out ---- */

/* Puts value under name into the part of the last group; the same name twice needs a further group,
 * as an object has each name once and order matters. */
static void place(json_t *groups, const char *part, const char *name, json_t *value)
{
    json_t *group = json_array_get(groups, json_array_size(groups) - 1);

    if (json_object_get(json_object_get(group, part), name)) {
        group = json_object();
        json_array_append_new(groups, group);
    }
    if (!json_object_get(group, part))
        json_object_set_new(group, part, json_object());
    json_object_set_new(json_object_get(group, part), name, value);
}

static json_t *file_to_json(const struct tw_file_change *f)
{
    json_t *file = json_object();

    json_object_set_new(file, f->append ? "append" : "content", tw_json_text(f->content));
    if (f->origin && !tw_streq(f->origin, f->path))
        json_object_set_new(file, "origin", tw_json_text(f->origin));
    return file;
}

json_t *tw_request_to_json(const struct tw_request *r)
{
    json_t *json = spec_write(&scalars, r, true), *groups = json_pack("[{}]");
    json_t *fragments = json_array(), *sql = json_array(), *metadata;

    for (size_t i = 0; i < r->settings.count; i++)
        place(groups, "change", r->settings.items[i].name,
              tw_json_text(r->settings.items[i].value));
    for (size_t i = 0; i < r->files.count; i++) {
        const struct tw_file_change *f = &r->files.items[i];

        if (f->path)
            place(groups, "files", f->path, file_to_json(f));
        else
            json_array_append_new(fragments, file_to_json(f));
    }
    for (size_t i = 0; i < r->sql.count; i++)
        json_array_append_new(sql, tw_json_text(r->sql.items[i]));

    if (json_array_size(groups) > 1)
        json_object_set(json, "changes", groups);
    else
        json_object_update(json, json_array_get(groups, 0));
    json_decref(groups);
    if (json_array_size(fragments))
        json_object_set(json, "fragments", fragments);
    json_decref(fragments);
    if (json_array_size(sql))
        json_object_set(json, "sql", sql);
    json_decref(sql);
    if (r->database)
        json_object_set_new(json, "database", tw_json_text(r->database));
    if (r->scan)
        json_object_set_new(json, "security_scan", json_true());
    spec_write_deployment(&r->deployment, json);
    spec_scaling_write(&r->scaling, json);
    if (r->clients.count)
        json_object_set_new(json, "clients", spec_write_list(&spec_client, &r->clients));
    if (r->faults.list.count)
        json_object_set_new(json, "faults", spec_write_list(&spec_fault, &r->faults.list));
    metadata = r->metadata ? json_loads(r->metadata, 0, NULL) : NULL;
    if (metadata)
        json_object_set_new(json, "metadata", metadata);
    return json;
}

char *tw_request_summary(struct tw_arena *a, const struct tw_request *r)
{
    struct tw_buf b;
    char *text;

    tw_buf_init(&b, 4096);
    for (size_t i = 0; i < r->settings.count; i++) {
        const struct tw_setting_change *s = &r->settings.items[i];

        tw_buf_printf(&b, s->value ? "%s%s = %s" : "%sRESET %s%s", b.len ? ", " : "",
                      s->name, s->value ? s->value : "");
    }
    for (size_t i = 0; i < r->files.count; i++) {
        const struct tw_file_change *f = &r->files.items[i];
        const char *name = f->origin ? f->origin : f->path ? f->path : "a fragment";

        if (f->path && f->origin && !tw_streq(f->path, f->origin))
            tw_buf_printf(&b, "%s%s as %s", b.len ? ", " : "", name, f->path);
        else
            tw_buf_printf(&b, "%s%s", b.len ? ", " : "", name);
    }
    for (size_t i = 0; i < r->sql.count; i++)
        tw_buf_printf(&b, "%s%.80s", b.len ? "; " : "", r->sql.items[i]);
    text = tw_arena_strdup(a, tw_buf_text(&b));
    tw_buf_done(&b);
    return text;
}
