/* Clients: who connects and how, one shape for requests and snapshots. */
#include "spec_internal.h"

#include <stdlib.h>
#include <string.h>

#define TEXT(member)                                                                     \
    {                                                                                    \
        .key = #member, .kind = SPEC_TEXT, SPEC_AT(tw_client, member)                    \
    }
#define BYTES(member)                                                                    \
    {                                                                                    \
        .key = #member, .kind = SPEC_BYTES, .flags = SPEC_ZERO_UNKNOWN,                  \
        SPEC_AT(tw_client, member)                                                       \
    }
#define COUNT(member)                                                                    \
    {                                                                                    \
        .key = #member, .kind = SPEC_INT, .flags = SPEC_ZERO_UNKNOWN,                    \
        SPEC_AT(tw_client, member)                                                       \
    }

static const struct spec_field client_fields[] = {
    TEXT(name),
    TEXT(protocol),
    TEXT(source),
    TEXT(address),
    COUNT(port),
    TEXT(user),
    TEXT(password),
    TEXT(database),
    TEXT(sslmode),
    TEXT(tls_min),
    TEXT(tls_max),
    TEXT(ciphers),
    TEXT(server_name),
    TEXT(ca_file),
    TEXT(method),
    TEXT(path),
    TEXT(host),
    COUNT(http_version),
    BYTES(header_bytes),
    BYTES(body_bytes),
    BYTES(reply_header_bytes),
    BYTES(reply_bytes),
    {.key = "send", .kind = SPEC_TEXTS, SPEC_AT(tw_client, send)},
    TEXT(expect),
    TEXT(options),
    {.key = "prepared", .kind = SPEC_BOOL, SPEC_AT(tw_client, prepared)},
    {.key = "think_s",
     .kind = SPEC_REAL,
     .flags = SPEC_ZERO_UNKNOWN,
     SPEC_AT(tw_client, think_s)},
    COUNT(count),
    TEXT(origin),
};
const struct spec_shape spec_client = SPEC_SHAPE(tw_client, client_fields);

json_t *tw_client_to_json(const struct tw_client *c)
{
    return spec_write(&spec_client, c, true);
}

void tw_client_from_json(struct tw_arena *a, const json_t *json, struct tw_client *ret)
{
    *ret = (struct tw_client){0};
    spec_read(&spec_client, a, json, ret);
}

/* ---- as words of a command line ---- */

static const char *usual_name(const char *key)
{
    static const char *const others[][2] = {{"dbname", "database"},
                                            {"hostaddr", "address"},
                                            {"ssl_min_protocol_version", "tls_min"},
                                            {"ssl_max_protocol_version", "tls_max"},
                                            {"sslrootcert", "ca_file"}};

    for (size_t i = 0; i < TW_COUNT_OF(others); i++)
        if (tw_streq(others[i][0], key))
            return others[i][1];
    return key;
}

/* One value, quoted or not; at moves behind it. NULL: the quote is not closed. */
static char *take_value(struct tw_arena *a, const char **at)
{
    tw_auto_buf value = {0};
    const char *s = *at;
    bool quoted = *s == '\'';

    tw_buf_init(&value, 1 << 20);
    for (s += quoted; *s && (quoted ? *s != '\'' : *s != ' '); s++) {
        if (quoted && *s == '\\' && s[1])
            s++;
        tw_buf_add(&value, s, 1);
    }
    if (quoted && *s != '\'')
        return NULL;
    *at = s + quoted;
    return tw_arena_strdup(a, tw_buf_text(&value));
}

static enum spec_kind kind_of(const char *key)
{
    for (size_t i = 0; i < TW_COUNT_OF(client_fields); i++)
        if (tw_streq(client_fields[i].key, key))
            return client_fields[i].kind;
    return SPEC_TEXT;
}

static json_t *as_json(const char *key, const char *value)
{
    char *end;
    double number = strtod(value, &end);
    enum spec_kind kind = kind_of(key);

    if (kind == SPEC_BOOL)
        return json_boolean(!strchr("n0f", *value) || !*value);
    if (kind == SPEC_INT && *value && !*end)
        return json_integer((json_int_t)number);
    if (kind == SPEC_REAL && *value && !*end)
        return json_real(number);
    return tw_json_text(value);
}

static void put(json_t *into, const char *key, const char *value)
{
    json_t *list = json_object_get(into, key);

    if (kind_of(key) != SPEC_TEXTS) {
        (void)json_object_set_new(into, key, as_json(key, value));
        return;
    }
    if (!list) {
        list = json_array();
        (void)json_object_set_new(into, key, list);
    }
    (void)json_array_append_new(list, tw_json_text(value));
}

int tw_client_from_text(struct tw_arena *a, const char *text, struct tw_client *ret,
                        struct tw_err *err)
{
    struct tw_client client = {.origin = "given"};
    json_auto_t *json = json_object();
    const char *at = text;
    int r;

    while (*(at += strspn(at, " "))) {
        size_t n = strcspn(at, "= ");
        const char *key = usual_name(tw_arena_strndup(a, at, n));
        const char *value;

        if (at[n] != '=' || n == 0)
            return tw_fail_at(err, -EINVAL, "--client",
                              "client '%s': expected KEY=VALUE words, as in "
                              "'user=app dbname=shop sslmode=require'",
                              text);
        at += n + 1;
        value = take_value(a, &at);
        if (!value)
            return tw_fail_at(err, -EINVAL, "--client",
                              "client '%s': the quote of %s is not closed", text, key);
        put(json, key, value);
    }
    r = spec_read_strict(&spec_client, a, json, "--client", NULL, 0, &client, err);
    if (r == 0)
        *ret = client;
    return r;
}
