/* What changed between two snapshots of a target: settings, access rules, files, versions. What only
 * moves with use (sizes, rates, statistics) is no drift. Texts of snapshots are redacted before they are
 * compared, so that what is shown of them carries no secret. */
#include "tw/env.h"

#include <stdlib.h>
#include <string.h>

#define LINES_MAX   4000 /* of a file, for naming the lines */
#define SHOWN_LINES 6
#define SHOWN_BYTES 400

/* Lists of a snapshot whose elements are told apart by a key: what of an element counts. */
static const struct {
    const char *list, *key, *value; /* value NULL: all of it but what moves */
} lists[] = {
    {"settings", "name", "value"},
    {"roles", "name", NULL},
    {"certificates", "path", "not_after"},
    {"containers", "name", "definition"},
};
static const char *const scalars[] = {
    "version",  "system_identifier", "data_dir", "config_file",
    "hba_file", "memory_bytes",      "cpus",     "how"};
static const char *const moves[] = {"connections_used"};

static json_t *add(json_t *drift, const char *where, const char *name, json_t *before,
                   json_t *after)
{
    json_t *row = json_pack("{s:s, s:o, s:o, s:o}", "kind", where, "name",
                            tw_json_text(name), "before", before ? before : json_null(),
                            "after", after ? after : json_null());

    (void)json_array_append_new(drift, row);
    return row;
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

/* New reference, NULL: there is none. */
static json_t *value_of(const json_t *item, const char *value)
{
    json_t *copy;

    if (!item)
        return NULL;
    if (value)
        return json_incref(json_object_get(item, value));
    copy = json_copy((json_t *)(uintptr_t)item);
    for (size_t i = 0; i < TW_COUNT_OF(moves); i++)
        (void)json_object_del(copy, moves[i]);
    return copy;
}

static void compare_list(json_t *drift, size_t row, const json_t *before,
                         const json_t *after)
{
    const char *key = lists[row].key, *value = lists[row].value;
    json_t *item;
    size_t i;

    json_array_foreach (after, i, item) {
        const char *name = json_string_value(json_object_get(item, key));
        json_t *old = value_of(find(before, key, name), value);
        json_t *new = value_of(item, value);

        if (same(old, new)) {
            json_decref(old);
            json_decref(new);
        } else {
            (void)add(drift, lists[row].list, name, old, new);
        }
    }
    json_array_foreach (before, i, item) {
        const char *name = json_string_value(json_object_get(item, key));

        if (!find(after, key, name))
            (void)add(drift, lists[row].list, name, value_of(item, value), NULL);
    }
}

/* ---- files: the lines that differ ---- */

struct text {
    const char *lines[LINES_MAX];
    size_t lengths[LINES_MAX];
    size_t count;
};

static void split(const char *text, struct text *ret)
{
    ret->count = 0;
    for (const char *at = text; at && *at && ret->count < LINES_MAX;) {
        size_t n = strcspn(at, "\n");

        ret->lines[ret->count] = at;
        ret->lengths[ret->count++] = n;
        at += n + (at[n] == '\n');
    }
}

static bool line_equal(const struct text *a, size_t i, const struct text *b, size_t k)
{
    return a->lengths[i] == b->lengths[k] &&
           memcmp(a->lines[i], b->lines[k], a->lengths[i]) == 0;
}

static bool has_line(const struct text *in, size_t from, size_t to, const struct text *of,
                     size_t line)
{
    for (size_t i = from; i < to; i++)
        if (line_equal(in, i, of, line))
            return true;
    return false;
}

/* Lines of this part that the other's does not have; NULL: none. */
static json_t *only_here(const struct text *here, const struct text *there, size_t head,
                         size_t here_to, size_t there_to)
{
    tw_auto_buf out = {0};
    size_t shown = 0, more = 0;

    tw_buf_init(&out, SHOWN_BYTES);
    for (size_t i = head; i < here_to; i++) {
        if (has_line(there, head, there_to, here, i))
            continue;
        if (shown == SHOWN_LINES) {
            more++;
            continue;
        }
        tw_buf_printf(&out, "%s%.*s", shown++ ? "\n" : "", (int)here->lengths[i],
                      here->lines[i]);
    }
    if (!shown)
        return NULL;
    if (more || out.overflow) {
        tw_auto_free char *text = tw_strf("%s …", tw_buf_text(&out));

        return tw_json_text(text);
    }
    return tw_json_text(tw_buf_text(&out));
}

/* A listing of the kernel's rules carries counters, times left and the hour it was made at. */
static char *without_counts(const char *text)
{
    static const char *const moving[] = {" packets ", " bytes ", " expires ", " ["};
    struct tw_buf out;

    tw_buf_init(&out, (size_t)64 << 20);
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, "\n");
        const char *end = at + n;

        for (const char *c = at; c < end && *at != '#';) {
            size_t word = 0;

            for (size_t i = 0; i < TW_COUNT_OF(moving) && !word; i++)
                if (tw_starts_with(c, moving[i]))
                    word = strlen(moving[i]);
            if (word && c[word] >= '0' && c[word] <= '9')
                c += word + strcspn(c + word, " \n],}");
            else
                tw_buf_add(&out, c++, 1);
        }
        if (*at != '#')
            tw_buf_puts(&out, "\n");
        at = end + (*end == '\n');
    }
    return tw_buf_take(&out);
}

static void compare_file(json_t *drift, const char *path, const char *old_text,
                         const char *new_text)
{
    struct text *old = tw_alloc(sizeof(*old)), *new = tw_alloc(sizeof(*new));
    size_t head = 0, tail = 0;
    json_t *row;

    split(old_text, old);
    split(new_text, new);
    while (head < old->count && head < new->count &&line_equal(old, head, new, head))
        head++;
    while (tail < old->count - head &&
           tail < new->count - head &&line_equal(old, old->count - 1 - tail, new,
                                                 new->count - 1 - tail))
        tail++;
    row = add(drift, "files", path,
              only_here(old, new, head, old->count - tail, new->count - tail),
              only_here(new, old, head, new->count - tail, old->count - tail));
    (void)json_object_set_new(row, "line", json_integer((json_int_t)head + 1));
    free(old);
    free(new);
}

static const char *text_of(const json_t *file)
{
    return json_string_value(json_object_get(file, "text"));
}

static void compare_texts(json_t *drift, const char *path, const char *old_text,
                          const char *new_text)
{
    tw_auto_free char *old = NULL, *new = NULL;

    if (*path == '/') {
        compare_file(drift, path, old_text, new_text);
        return;
    }
    old = without_counts(old_text ? old_text : "");
    new = without_counts(new_text ? new_text : "");
    if (!tw_streq(old, new))
        compare_file(drift, path, old, new);
}

static void compare_files(json_t *drift, const json_t *before, const json_t *after)
{
    json_t *item;
    size_t i;

    json_array_foreach (after, i, item) {
        const char *path = json_string_value(json_object_get(item, "path"));
        const json_t *old = find(before, "path", path);

        if (!old)
            (void)add(drift, "files", path, NULL, json_string("a new file"));
        else if (!tw_streq(text_of(old), text_of(item)))
            compare_texts(drift, path, text_of(old), text_of(item));
        else if (!same(json_object_get(old, "mode"), json_object_get(item, "mode")))
            (void)add(drift, "modes", path, json_incref(json_object_get(old, "mode")),
                      json_incref(json_object_get(item, "mode")));
    }
    json_array_foreach (before, i, item) {
        const char *path = json_string_value(json_object_get(item, "path"));

        if (!find(after, "path", path))
            (void)add(drift, "files", path, json_string("it was there"), NULL);
    }
}

/* ---- access rules, told apart by what they say ---- */

static json_t *rule_text(const json_t *rule)
{
    static const char *const keys[] = {"type", "databases", "users", "address", "method"};
    tw_auto_buf out = {0};

    tw_buf_init(&out, SHOWN_BYTES);
    for (size_t i = 0; i < TW_COUNT_OF(keys); i++) {
        const char *word = json_string_value(json_object_get(rule, keys[i]));

        if (word)
            tw_buf_printf(&out, "%s%s", out.len ? " " : "", word);
    }
    return tw_json_text(tw_buf_text(&out));
}

static bool has_rule(const json_t *list, const json_t *text)
{
    json_t *item;
    size_t i;

    json_array_foreach (list, i, item) {
        json_auto_t *other = rule_text(item);

        if (json_equal(other, text))
            return true;
    }
    return false;
}

static size_t rules_only_in(json_t *drift, const json_t *here, const json_t *there,
                            bool is_new)
{
    size_t i, n = 0;
    json_t *item;

    json_array_foreach (here, i, item) {
        json_t *text = rule_text(item);

        if (has_rule(there, text))
            json_decref(text);
        else {
            (void)add(drift, "access", "hba", is_new ? NULL : text, is_new ? text : NULL);
            n++;
        }
    }
    return n;
}

/* Whose line alone has moved is the same rule; that their order is another is told when nothing else is. */
static json_t *without_lines(const json_t *rules)
{
    json_t *list = json_array(), *item;
    size_t i;

    json_array_foreach (rules, i, item)
        (void)json_array_append_new(list, rule_text(item));
    return list;
}

static void compare_access(json_t *drift, const json_t *before, const json_t *after)
{
    json_auto_t *old = without_lines(before), *new = without_lines(after);

    if (json_equal(old, new))
        return;
    if (rules_only_in(drift, before, after, false) +
            rules_only_in(drift, after, before, true) ==
        0)
        (void)add(drift, "access", "hba", json_string("the same rules"),
                  json_string("in another order"));
}

json_t *tw_env_drift(const json_t *before, const json_t *after)
{
    json_t *drift = json_array();

    for (size_t i = 0; i < TW_COUNT_OF(scalars); i++) {
        json_t *old = json_object_get(before, scalars[i]);
        json_t *new = json_object_get(after, scalars[i]);

        if (!same(old, new))
            (void)add(drift, "target", scalars[i], json_incref(old), json_incref(new));
    }
    for (size_t i = 0; i < TW_COUNT_OF(lists); i++)
        compare_list(drift, i, json_object_get(before, lists[i].list),
                     json_object_get(after, lists[i].list));
    compare_access(drift, json_object_get(before, "hba"), json_object_get(after, "hba"));
    compare_files(drift, json_object_get(before, "files"),
                  json_object_get(after, "files"));
    return drift;
}

/* ---- in words ---- */

static void put_value(struct tw_buf *out, const json_t *value)
{
    tw_auto_free char *text = json_is_string(value)
                                  ? strdup(json_string_value(value))
                                  : tw_json_dump(value, JSON_COMPACT | JSON_ENCODE_ANY);

    tw_buf_printf(out, "'%.160s'", text ? text : "");
}

static void put_row(struct tw_buf *out, const json_t *row)
{
    const json_t *before = json_object_get(row, "before");
    const json_t *after = json_object_get(row, "after");
    const char *name = json_string_value(json_object_get(row, "name"));

    tw_buf_printf(out, "%s: ", name ? name : "?");
    if (json_is_null(before) || !before) {
        put_value(out, after);
        tw_buf_puts(out, " is new");
    } else if (json_is_null(after) || !after) {
        put_value(out, before);
        tw_buf_puts(out, " is gone");
    } else {
        put_value(out, before);
        tw_buf_puts(out, " is now ");
        put_value(out, after);
    }
}

char *tw_env_drift_text(const json_t *drift, size_t most)
{
    size_t n = json_array_size(drift);
    struct tw_buf out;

    tw_buf_init(&out, 8192);
    for (size_t i = 0; i < n && i < most; i++) {
        if (i)
            tw_buf_puts(&out, "; ");
        put_row(&out, json_array_get(drift, i));
    }
    if (n > most)
        tw_buf_printf(&out, "; and %zu more", n - most);
    return tw_buf_take(&out);
}
