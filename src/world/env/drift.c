/* What changed between two snapshots of a target: settings, access rules, files, versions. What only
 * moves with use (sizes, rates, statistics) is no drift. */
#include "tw/env.h"

#include <string.h>

/* Lists of a snapshot whose elements are told apart by a key: what of an element counts. */
static const struct {
    const char *list, *key, *value;
} lists[] = {
    {"settings", "name", "value"},
    {"files", "path", "text"},
    {"roles", "name", NULL},
    {"certificates", "path", "not_after"},
    {"containers", "name", "definition"},
};
static const char *const scalars[] = {
    "version",  "system_identifier", "data_dir", "config_file",
    "hba_file", "memory_bytes",      "cpus",     "how"};

static void add(json_t *drift, const char *where, const char *name, const json_t *before,
                const json_t *after, bool shown)
{
    json_t *row = json_pack("{s:s, s:o}", "kind", where, "name", tw_json_text(name));

    if (shown) {
        (void)json_object_set(row, "before",
                              before ? (json_t *)(uintptr_t)before : json_null());
        (void)json_object_set(row, "after",
                              after ? (json_t *)(uintptr_t)after : json_null());
    }
    (void)json_array_append_new(drift, row);
}

static const json_t *find(const json_t *list, const char *key, const char *name)
{
    json_t *item;
    size_t i;

    json_array_foreach (list, i, item)
        if (tw_streq(json_string_value(json_object_get(item, key)), name))
            return item;
    return NULL;
}

static bool same(const json_t *a, const json_t *b)
{
    return (!a && !b) || (a && b && json_equal(a, b));
}

static const json_t *value_of(const json_t *item, const char *value)
{
    return value ? json_object_get(item, value) : item;
}

/* Texts of files are long: that they differ is enough. */
static void compare_list(json_t *drift, size_t row, const json_t *before,
                         const json_t *after)
{
    bool shown = !tw_streq(lists[row].list, "files");
    const char *key = lists[row].key, *value = lists[row].value;
    json_t *item;
    size_t i;

    json_array_foreach (after, i, item) {
        const char *name = json_string_value(json_object_get(item, key));
        const json_t *old = find(before, key, name);

        if (!old || !same(value_of(old, value), value_of(item, value)))
            add(drift, lists[row].list, name, old ? value_of(old, value) : NULL,
                value_of(item, value), shown);
    }
    json_array_foreach (before, i, item) {
        const char *name = json_string_value(json_object_get(item, key));

        if (!find(after, key, name))
            add(drift, lists[row].list, name, value_of(item, value), NULL, shown);
    }
}

json_t *tw_env_drift(const json_t *before, const json_t *after)
{
    json_t *drift = json_array();

    for (size_t i = 0; i < TW_COUNT_OF(scalars); i++) {
        const json_t *old = json_object_get(before, scalars[i]);
        const json_t *new = json_object_get(after, scalars[i]);

        if (!same(old, new))
            add(drift, "target", scalars[i], old, new, true);
    }
    for (size_t i = 0; i < TW_COUNT_OF(lists); i++)
        compare_list(drift, i, json_object_get(before, lists[i].list),
                     json_object_get(after, lists[i].list));
    if (!same(json_object_get(before, "hba"), json_object_get(after, "hba")))
        add(drift, "access", "hba", NULL, NULL, false);
    return drift;
}
