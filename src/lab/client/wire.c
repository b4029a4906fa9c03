/* Messages between a session and its process: one JSON document each way, its length before it. */
#include "client_internal.h"

#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- bytes ---- */

static int put_all(int fd, const void *data, size_t len, int64_t deadline_ns)
{
    size_t sent = 0;

    while (sent < len) {
        ssize_t n =
            send(fd, (const char *)data + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0)
            sent += (size_t)n;
        else if (errno != EAGAIN && errno != EINTR)
            return -EPIPE;
        else if (!client_poll(fd, POLLOUT, deadline_ns))
            return -ETIMEDOUT;
    }
    return 0;
}

static int get_all(int fd, void *to, size_t len, int64_t deadline_ns)
{
    size_t got = 0;

    while (got < len) {
        ssize_t n = recv(fd, (char *)to + got, len - got, MSG_DONTWAIT);

        if (n > 0)
            got += (size_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return -EPIPE;
        else if (!client_poll(fd, POLLIN, deadline_ns))
            return -ETIMEDOUT;
    }
    return 0;
}

int client_send(int fd, const char *text, int64_t deadline_ns)
{
    uint64_t len = strlen(text);
    int r = put_all(fd, &len, sizeof len, deadline_ns);

    return r < 0 ? r : put_all(fd, text, len, deadline_ns);
}

int client_receive(int fd, struct tw_buf *ret, int64_t deadline_ns)
{
    tw_auto_free char *text = NULL;
    uint64_t len;
    int r = get_all(fd, &len, sizeof len, deadline_ns);

    if (r < 0)
        return r;
    if (len > CLIENT_WIRE_MAX)
        return -EBADMSG;
    text = tw_alloc(len + 1);
    r = get_all(fd, text, len, deadline_ns);
    if (r < 0)
        return r;
    tw_buf_clear(ret);
    tw_buf_add(ret, text, len);
    return 0;
}

/* ---- orders ---- */

static json_t *way_json(const struct tw_client_way *w, bool tried)
{
    json_t *json = json_object();

    (void)json_object_set_new(json, "tried", json_boolean(tried));
    (void)json_object_set_new(json, "address", tw_json_text(w->address));
    (void)json_object_set_new(json, "port", json_integer(w->port));
    (void)json_object_set_new(json, "device", tw_json_text(w->device));
    (void)json_object_set_new(json, "socket_dir", tw_json_text(w->socket_dir));
    return json;
}

static const char *text_of(struct tw_arena *a, const json_t *json, const char *key)
{
    return tw_arena_strdup(a, json_string_value(json_object_get(json, key)));
}

char *client_order_write(const struct client_order *o)
{
    json_auto_t *json = json_object();
    json_t *cases = json_array(), *ways = json_array(), *ca = json_array();

    for (size_t i = 0; i < o->cases.list.count; i++) {
        (void)json_array_append_new(cases, tw_client_to_json(&o->cases.list.items[i]));
        (void)json_array_append_new(
            ca, tw_json_text(i < o->ca.count ? o->ca.items[i] : NULL));
    }
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        (void)json_array_append_new(ways, way_json(&o->way[arm], o->arms[arm]));
    (void)json_object_set_new(json, "cases", cases);
    (void)json_object_set_new(json, "ca", ca);
    (void)json_object_set_new(json, "ways", ways);
    (void)json_object_set_new(json, "deadline_s", json_real(o->deadline_s));
    (void)json_object_set_new(json, "whole", json_boolean(o->whole));
    return tw_json_dump(json, JSON_COMPACT);
}

int client_order_read(struct tw_arena *a, const char *text, size_t len,
                      struct client_order *ret)
{
    json_auto_t *json = json_loadb(text, len, 0, NULL);
    const json_t *cases = json_object_get(json, "cases"),
                 *ca = json_object_get(json, "ca"), *ways = json_object_get(json, "ways");
    struct client_order o = {.deadline_s =
                                 json_number_value(json_object_get(json, "deadline_s")),
                             .whole = json_is_true(json_object_get(json, "whole"))};
    json_t *item;
    size_t i;

    if (!json_is_array(cases) || json_array_size(ways) != TW_ARM_COUNT)
        return -EBADMSG;
    json_array_foreach (cases, i, item) {
        struct tw_client c;

        tw_client_from_json(a, item, &c);
        TW_PUSH(a, &o.cases.list, c);
        TW_PUSH(a, &o.ca, tw_arena_strdup(a, json_string_value(json_array_get(ca, i))));
    }
    json_array_foreach (ways, i, item) {
        o.arms[i] = json_is_true(json_object_get(item, "tried"));
        o.way[i] = (struct tw_client_way){
            .address = text_of(a, item, "address"),
            .port = (int)json_integer_value(json_object_get(item, "port")),
            .device = text_of(a, item, "device"),
            .socket_dir = text_of(a, item, "socket_dir")};
    }
    *ret = o;
    return 0;
}

/* ---- answers ---- */

#define TEXT(key)                                                                        \
    {                                                                                    \
#key, offsetof(struct tw_client_answer, key)                                     \
    }
static const struct {
    const char *key;
    size_t offset;
} answer_texts[] = {TEXT(at),          TEXT(code),   TEXT(words),
                    TEXT(tls_version), TEXT(cipher), TEXT(subject),
                    TEXT(issuer),      TEXT(names),  TEXT(waits_for)};
#undef TEXT

static json_t *reply_json(const struct tw_client_reply *r)
{
    json_t *json = json_object();

    (void)json_object_set_new(json, "sent", tw_json_text(r->sent));
    (void)json_object_set_new(json, "ok", json_boolean(r->ok));
    (void)json_object_set_new(json, "data_fault", json_boolean(r->data_fault));
    (void)json_object_set_new(json, "code", tw_json_text(r->code));
    (void)json_object_set_new(json, "words", tw_json_text(r->words));
    (void)json_object_set_new(json, "bytes", tw_json_real(r->bytes));
    (void)json_object_set_new(json, "complete", json_boolean(r->complete));
    return json;
}

static json_t *setting_json(const struct tw_setting *s)
{
    json_t *json = json_object();

    (void)json_object_set_new(json, "name", tw_json_text(s->name));
    (void)json_object_set_new(json, "value", tw_json_text(s->value));
    (void)json_object_set_new(json, "unit", tw_json_text(s->unit));
    return json;
}

json_t *client_answer_write(const struct tw_client_answer *w)
{
    json_t *json = json_object(), *replies = json_array(), *settings = json_array();

    for (size_t i = 0; i < TW_COUNT_OF(answer_texts); i++)
        (void)json_object_set_new(
            json, answer_texts[i].key,
            tw_json_text(
                *(const char *const *)((const char *)w + answer_texts[i].offset)));
    (void)json_object_set_new(json, "end", tw_json_text(tw_client_end_names[w->end]));
    (void)json_object_set_new(json, "not_before", json_integer(w->not_before_wall_ns));
    (void)json_object_set_new(json, "not_after", json_integer(w->not_after_wall_ns));
    (void)json_object_set_new(json, "superuser", json_boolean(w->superuser));
    (void)json_object_set_new(json, "reads_files", json_boolean(w->reads_files));
    (void)json_object_set_new(json, "reached", json_integer(w->reached));
    (void)json_object_set_new(json, "seconds", json_real(w->seconds));
    for (size_t i = 0; i < w->replies.count; i++)
        (void)json_array_append_new(replies, reply_json(&w->replies.items[i]));
    for (size_t i = 0; i < w->settings.count; i++)
        (void)json_array_append_new(settings, setting_json(&w->settings.items[i]));
    (void)json_object_set_new(json, "replies", replies);
    (void)json_object_set_new(json, "settings", settings);
    return json;
}

static void read_reply(struct tw_arena *a, const json_t *json, struct tw_client_answer *w)
{
    const json_t *bytes = json_object_get(json, "bytes");
    struct tw_client_reply r = {
        .sent = text_of(a, json, "sent"),
        .ok = json_is_true(json_object_get(json, "ok")),
        .data_fault = json_is_true(json_object_get(json, "data_fault")),
        .code = text_of(a, json, "code"),
        .words = text_of(a, json, "words"),
        .bytes = json_is_number(bytes) ? json_number_value(bytes) : NAN,
        .complete = json_is_true(json_object_get(json, "complete"))};

    TW_PUSH(a, &w->replies, r);
}

void client_answer_read(struct tw_arena *a, const json_t *json,
                        struct tw_client_answer *ret)
{
    struct tw_client_answer w = {.end = TW_CLIENT_UNTRIED};
    int end = tw_name_index(json_string_value(json_object_get(json, "end")),
                            tw_client_end_names, TW_CLIENT_END_COUNT);
    json_t *item;
    size_t i;

    for (i = 0; i < TW_COUNT_OF(answer_texts); i++)
        *(const char **)((char *)&w + answer_texts[i].offset) =
            text_of(a, json, answer_texts[i].key);
    if (end >= 0)
        w.end = (enum tw_client_end)end;
    w.not_before_wall_ns = json_integer_value(json_object_get(json, "not_before"));
    w.not_after_wall_ns = json_integer_value(json_object_get(json, "not_after"));
    w.superuser = json_is_true(json_object_get(json, "superuser"));
    w.reads_files = json_is_true(json_object_get(json, "reads_files"));
    w.reached = (int)json_integer_value(json_object_get(json, "reached"));
    w.seconds = json_number_value(json_object_get(json, "seconds"));
    json_array_foreach (json_object_get(json, "replies"), i, item)
        read_reply(a, item, &w);
    json_array_foreach (json_object_get(json, "settings"), i, item)
        TW_PUSH(a, &w.settings,
                (struct tw_setting){.name = text_of(a, item, "name"),
                                    .value = text_of(a, item, "value"),
                                    .unit = text_of(a, item, "unit")});
    *ret = w;
}
