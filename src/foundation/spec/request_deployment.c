/* The keys of a deployment: checks of the new version, with what is expected of each. */
#include "spec_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WITHIN_S      5.0
#define WITHIN_MOST_S 60.0
#define CHECKS_MOST   64

struct place {
    struct tw_arena *a;
    struct tw_err *err;
};

/* ---- what may be expected ---- */

enum form { ONE_STATUS, PAIRS, JSON_PAIRS, TEXTS, NUMBER };
static const struct expectation {
    const char *key, *of, *kinds; /* kinds of check that have it */
    enum form form;
    const char *expected;
} expectations[] = {
    {"status", "status", " http ", ONE_STATUS, "200 or [200, 204]"},
    {"headers", "header", " http ", PAIRS, "{\"content-type\": \"application/json\"}"},
    {"contains", "contains", " http tcp sql command ", TEXTS, "a text or several"},
    {"lacks", "lacks", " http tcp sql command ", TEXTS, "a text or several"},
    {"json", "json", " http command ", JSON_PAIRS, "{\"/items/0/price\": 12.5}"},
    {"rows", "rows", " sql ", NUMBER, "a number"},
    {"value", "value", " sql ", TEXTS, "the first value of the first row as a text"},
    {"exit_code", "exit_code", " command ", NUMBER, "a number"},
};

static bool listed(const char *words, const char *word)
{
    tw_auto_free char *padded = tw_strf(" %s ", word);

    return strstr(words, padded) != NULL;
}

static const char *scalar(struct tw_arena *a, const json_t *json)
{
    tw_auto_free char *text = NULL;

    if (json_is_string(json))
        return tw_arena_strdup(a, json_string_value(json));
    if (json_is_object(json) || json_is_array(json))
        return NULL;
    text = tw_json_dump(json, JSON_COMPACT | JSON_ENCODE_ANY);
    return tw_arena_strdup(a, text);
}

static int expect_wrong(const struct place *p, const struct expectation *e,
                        const json_t *json, const char *at)
{
    return tw_fail_at(p->err, -EINVAL, at, "'%s' is %s; expected %s", e->key,
                      spec_type_name(json), e->expected);
}

static int read_status(const struct place *p, const struct expectation *e,
                       const json_t *json, const char *at, struct tw_smoke *to)
{
    tw_auto_buf all = {0};
    size_t n = json_is_array(json) ? json_array_size(json) : 1;

    tw_buf_init(&all, 512);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(json) ? json_array_get(json, i) : json;
        json_int_t status = json_integer_value(one);

        if (!json_is_integer(one) || status < 100 || status > 599)
            return expect_wrong(p, e, one, at);
        tw_buf_printf(&all, "%s%d", i ? " " : "", (int)status);
    }
    if (!n)
        return expect_wrong(p, e, json, at);
    TW_PUSH(p->a, &to->expect,
            (struct tw_smoke_expectation){e->of, NULL,
                                          tw_arena_strdup(p->a, tw_buf_text(&all))});
    return 0;
}

static int read_pairs(const struct place *p, const struct expectation *e,
                      const json_t *json, const char *at, struct tw_smoke *to)
{
    const char *key;
    json_t *value;

    if (!json_is_object(json))
        return expect_wrong(p, e, json, at);
    json_object_foreach ((json_t *)(uintptr_t)json, key, value) {
        tw_auto_free char *text =
            tw_json_dump(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
        const char *here = tw_json_pointer(p->a, at, key);

        if (e->form == PAIRS && !json_is_string(value))
            return tw_fail_at(p->err, -EINVAL, here, "header '%s' is %s; expected a text",
                              key, spec_type_name(value));
        if (e->form == JSON_PAIRS && *key && *key != '/')
            return tw_fail_at(p->err, -EINVAL, here,
                              "'%s' is no JSON Pointer; it begins with '/'", key);
        TW_PUSH(p->a, &to->expect,
                (struct tw_smoke_expectation){e->of, tw_arena_strdup(p->a, key),
                                              e->form == PAIRS
                                                  ? scalar(p->a, value)
                                                  : tw_arena_strdup(p->a, text)});
    }
    return 0;
}

static int read_texts(const struct place *p, const struct expectation *e,
                      const json_t *json, const char *at, struct tw_smoke *to)
{
    size_t n = json_is_array(json) ? json_array_size(json) : 1;

    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(json) ? json_array_get(json, i) : json;
        const char *text =
            e->form == NUMBER && !json_is_integer(one) ? NULL : scalar(p->a, one);

        if (!text)
            return expect_wrong(p, e, one, at);
        TW_PUSH(p->a, &to->expect, (struct tw_smoke_expectation){e->of, NULL, text});
    }
    return 0;
}

static int read_expectation(const struct place *p, const struct expectation *e,
                            const json_t *json, const char *at, struct tw_smoke *to)
{
    if (!listed(e->kinds, to->kind))
        return tw_fail_at(p->err, -EINVAL, at,
                          "a check of kind '%s' has no '%s'; that is for%.*s", to->kind,
                          e->key, (int)strlen(e->kinds) - 1, e->kinds);
    switch (e->form) {
    case ONE_STATUS:
        return read_status(p, e, json, at, to);
    case PAIRS:
    case JSON_PAIRS:
        return read_pairs(p, e, json, at, to);
    default:
        return read_texts(p, e, json, at, to);
    }
}

static int read_expect(const struct place *p, const json_t *json, const char *at,
                       struct tw_smoke *to)
{
    const char *names[TW_COUNT_OF(expectations)];
    int r;

    if (!json)
        return 0;
    if (!json_is_object(json))
        return tw_fail_at(p->err, -EINVAL, at,
                          "'expect' is %s; expected an object, {\"status\": 200}",
                          spec_type_name(json));
    for (size_t i = 0; i < TW_COUNT_OF(expectations); i++)
        names[i] = expectations[i].key;
    r = tw_json_known_keys(json, at, names, TW_COUNT_OF(names), p->err);
    for (size_t i = 0; i < TW_COUNT_OF(expectations) && r == 0; i++) {
        const json_t *value = json_object_get(json, expectations[i].key);

        if (value)
            r = read_expectation(p, &expectations[i], value,
                                 tw_json_pointer(p->a, at, expectations[i].key), to);
    }
    return r;
}

/* ---- one check ---- */

static const char *const kinds[] = {"http", "tcp", "sql", "command"};
/* Keys beside kind, name, within, on and expect. */
static const struct text_key {
    const char *key, *kinds;
    size_t offset;
} text_keys[] = {
    {"method", " http ", offsetof(struct tw_smoke, method)},
    {"body", " http ", offsetof(struct tw_smoke, body)},
    {"send", " tcp ", offsetof(struct tw_smoke, send)},
    {"dsn", " sql ", offsetof(struct tw_smoke, dsn)},
    {"on", " http tcp sql command ", offsetof(struct tw_smoke, on)},
    {"name", " http tcp sql command ", offsetof(struct tw_smoke, name)},
};
static const char *const all_keys[] = {"http",   "tcp",  "sql",     "command", "name",
                                       "method", "body", "headers", "port",    "send",
                                       "dsn",    "on",   "within",  "expect"};

static int read_kind(const struct place *p, const json_t *json, const char *at,
                     struct tw_smoke *to)
{
    for (size_t i = 0; i < TW_COUNT_OF(kinds); i++) {
        if (!json_object_get(json, kinds[i]))
            continue;
        if (to->kind)
            return tw_fail_at(p->err, -EINVAL, tw_json_pointer(p->a, at, kinds[i]),
                              "a check is either '%s' or '%s'; make two of it", to->kind,
                              kinds[i]);
        to->kind = kinds[i];
    }
    return to->kind
               ? 0
               : tw_fail_at(p->err, -EINVAL, at,
                            "what is checked? expected one of \"http\": \"/path\", "
                            "\"tcp\": PORT, \"sql\": \"SELECT …\", \"command\": […]");
}

static int read_command(const struct place *p, const json_t *json, const char *at,
                        struct tw_smoke *to)
{
    static const char *const shell[] = {"/bin/sh", "-c"};
    json_t *word;
    size_t i;

    if (json_is_string(json)) {
        for (i = 0; i < TW_COUNT_OF(shell); i++)
            TW_PUSH(p->a, &to->argv, shell[i]);
        to->what = tw_arena_strdup(p->a, json_string_value(json));
        TW_PUSH(p->a, &to->argv, to->what);
        return 0;
    }
    json_array_foreach (json, i, word) {
        if (!json_is_string(word))
            return tw_fail_at(p->err, -EINVAL, tw_arena_printf(p->a, "%s/%zu", at, i),
                              "a word of a command is %s; expected a text",
                              spec_type_name(word));
        TW_PUSH(p->a, &to->argv, tw_arena_strdup(p->a, json_string_value(word)));
        to->what = tw_arena_printf(p->a, "%s%s%s", to->what ? to->what : "",
                                   to->what ? " " : "", json_string_value(word));
    }
    return to->argv.count
               ? 0
               : tw_fail_at(p->err, -EINVAL, at,
                            "'command' is %s; expected a text for the shell or "
                            "an array of words",
                            spec_type_name(json));
}

static int read_what(const struct place *p, const json_t *json, const char *at,
                     struct tw_smoke *to)
{
    const json_t *what = json_object_get(json, to->kind);
    const char *here = tw_json_pointer(p->a, at, to->kind);

    if (tw_streq(to->kind, "command"))
        return read_command(p, what, here, to);
    to->what = tw_streq(to->kind, "tcp") && json_is_integer(what) ? scalar(p->a, what)
               : json_is_string(what)                             ? scalar(p->a, what)
                                                                  : NULL;
    if (!to->what || !*to->what)
        return tw_fail_at(p->err, -EINVAL, here, "'%s' is %s; expected %s", to->kind,
                          to->what ? "empty" : spec_type_name(what),
                          tw_streq(to->kind, "http")  ? "a path, \"/health\""
                          : tw_streq(to->kind, "tcp") ? "a port or \"HOST:PORT\""
                                                      : "a statement");
    if (tw_streq(to->kind, "http") && *to->what != '/')
        return tw_fail_at(p->err, -EINVAL, here,
                          "'%s': expected a path that begins with '/'; the clone has "
                          "no other address than its own",
                          to->what);
    return 0;
}

static int read_words(const struct place *p, const json_t *json, const char *at,
                      struct tw_smoke *to)
{
    for (size_t i = 0; i < TW_COUNT_OF(text_keys); i++) {
        const struct text_key *k = &text_keys[i];
        const json_t *value = json_object_get(json, k->key);
        const char *here = tw_json_pointer(p->a, at, k->key);

        if (!value)
            continue;
        if (!listed(k->kinds, to->kind))
            return tw_fail_at(p->err, -EINVAL, here,
                              "a check of kind '%s' has no '%s'; that is for%.*s",
                              to->kind, k->key, (int)strlen(k->kinds) - 1, k->kinds);
        if (!json_is_string(value))
            return tw_fail_at(p->err, -EINVAL, here, "'%s' is %s; expected a text",
                              k->key, spec_type_name(value));
        *(const char **)(void *)((char *)to + k->offset) = scalar(p->a, value);
    }
    return 0;
}

static int read_headers(const struct place *p, const json_t *json, const char *at,
                        struct tw_smoke *to)
{
    const char *key;
    json_t *value;

    if (json && !json_is_object(json))
        return tw_fail_at(p->err, -EINVAL, at, "'headers' is %s; expected an object",
                          spec_type_name(json));
    json_object_foreach ((json_t *)(uintptr_t)json, key, value) {
        if (!json_is_string(value) || strpbrk(key, " :\r\n") ||
            strpbrk(json_string_value(value), "\r\n"))
            return tw_fail_at(p->err, -EINVAL, tw_json_pointer(p->a, at, key),
                              "header '%s': expected a name without blanks and a text of "
                              "one line",
                              key);
        TW_PUSH(p->a, &to->headers,
                (struct tw_http_field){tw_arena_strdup(p->a, key), scalar(p->a, value)});
    }
    return 0;
}

/* "2s", "500ms" or a number of seconds. */
static int read_within(const struct place *p, const json_t *json, const char *at,
                       struct tw_smoke *to)
{
    double value = json_number_value(json);
    char *end = NULL;

    to->within_s = WITHIN_S;
    if (!json)
        return 0;
    if (json_is_string(json)) {
        value = strtod(json_string_value(json), &end);
        value = tw_streq(end, "ms")           ? value / 1000
                : tw_streq(end, "s") || !*end ? value
                                              : NAN;
    }
    if (!(value > 0 && value <= WITHIN_MOST_S))
        return tw_fail_at(
            p->err, -EINVAL, at,
            "'within': expected \"500ms\", \"2s\" or a number of seconds, at "
            "most %g",
            WITHIN_MOST_S);
    to->within_s = value;
    return 0;
}

static int read_port(const struct place *p, const json_t *json, const char *at,
                     struct tw_smoke *to)
{
    json_int_t port = json_integer_value(json);

    if (json && (!json_is_integer(json) || port < 1 || port > 65535))
        return tw_fail_at(p->err, -EINVAL, at, "'port': expected 1 to 65535");
    to->port = (int)port;
    return 0;
}

static void fill(const struct place *p, const json_t *json, struct tw_smoke *to)
{
    tw_auto_free char *text = tw_json_dump(json, JSON_COMPACT);

    to->json = tw_arena_strdup(p->a, text);
    if (tw_streq(to->kind, "http") && !to->method)
        to->method = to->body ? "POST" : "GET";
    if (!to->name)
        to->name = tw_arena_printf(p->a, "%s %.60s", to->method ? to->method : to->kind,
                                   to->what);
    if (tw_streq(to->kind, "http") && !json_object_get(json, "expect"))
        TW_PUSH(p->a, &to->expect, (struct tw_smoke_expectation){"status", NULL, "200"});
    if (tw_streq(to->kind, "command") &&
        !json_object_get(json_object_get(json, "expect"), "exit_code"))
        TW_PUSH(p->a, &to->expect, (struct tw_smoke_expectation){"exit_code", NULL, "0"});
}

static int read_check(const struct place *p, const json_t *json, const char *at,
                      struct tw_smoke *to)
{
    int r;

    *to = (struct tw_smoke){.pointer = at};
    if (!json_is_object(json))
        return tw_fail_at(p->err, -EINVAL, at,
                          "a check is %s; expected an object, {\"http\": \"/health\"}",
                          spec_type_name(json));
    r = tw_json_known_keys(json, at, all_keys, TW_COUNT_OF(all_keys), p->err);
    r = r < 0 ? r : read_kind(p, json, at, to);
    r = r < 0 ? r : read_what(p, json, at, to);
    r = r < 0 ? r : read_words(p, json, at, to);
    r = r < 0 ? r
              : read_headers(p, json_object_get(json, "headers"),
                             tw_json_pointer(p->a, at, "headers"), to);
    r = r < 0 ? r
              : read_port(p, json_object_get(json, "port"),
                          tw_json_pointer(p->a, at, "port"), to);
    r = r < 0 ? r
              : read_within(p, json_object_get(json, "within"),
                            tw_json_pointer(p->a, at, "within"), to);
    r = r < 0 ? r
              : read_expect(p, json_object_get(json, "expect"),
                            tw_json_pointer(p->a, at, "expect"), to);
    if (r == 0)
        fill(p, json, to);
    return r;
}

int tw_smokes_from_json(struct tw_arena *a, const json_t *json, const char *pointer,
                        struct tw_smokes *ret, struct tw_err *err)
{
    static const char *const only[] = {"smoke"};
    const struct place p = {a, err};
    const json_t *list = json;
    json_t *item;
    size_t i;
    int r = 0;

    if (json_is_object(json)) {
        r = tw_json_known_keys(json, pointer, only, 1, err);
        list = json_object_get(json, "smoke");
        pointer = tw_json_pointer(a, pointer, "smoke");
    }
    if (r < 0)
        return r;
    if (!json_is_array(list) || json_array_size(list) > CHECKS_MOST)
        return tw_fail_at(err, -EINVAL, pointer,
                          "'smoke' is %s; expected an array of at most %d checks",
                          json_is_array(list) ? "too long" : spec_type_name(list),
                          CHECKS_MOST);
    json_array_foreach (list, i, item) {
        struct tw_smoke check;

        r = read_check(&p, item, tw_arena_printf(a, "%s/%zu", pointer, i), &check);
        if (r < 0)
            return r;
        TW_PUSH(a, &ret->list, check);
    }
    return 0;
}

void spec_write_deployment(const struct tw_deployment_request *d, json_t *request)
{
    json_t *list;

    if (d->no_rollback)
        json_object_set_new(request, "rollback", json_false());
    if (!d->smoke.list.count)
        return;
    list = json_array();
    for (size_t i = 0; i < d->smoke.list.count; i++)
        json_array_append_new(list, json_loads(d->smoke.list.items[i].json, 0, NULL));
    json_object_set_new(request, "smoke", list);
}
