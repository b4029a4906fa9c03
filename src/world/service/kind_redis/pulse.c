/* Between two snapshots: one connection that stays open. What CONFIG SET changes stands in no file. */
#include "kind_redis_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct session {
    struct redis_link *link;
    int statements, counted;
    int64_t bytes;
    double seconds;
};

static int64_t bytes_of(const struct redis_reply *r)
{
    int64_t sum = (int64_t)r->len;

    for (size_t i = 0; i < r->list.count; i++)
        sum += bytes_of(&r->list.items[i]);
    return sum;
}

static int ask(struct session *s, struct tw_arena *a, const char *const *words, size_t n,
               struct redis_reply *ret, struct tw_err *err)
{
    int64_t begun = tw_now_ns();
    int r = redis_ask_words(s->link, a, words, n, ret, err);

    s->seconds += tw_seconds(tw_now_ns() - begun);
    s->statements++;
    if (r == 0)
        s->bytes += bytes_of(ret);
    if (r == 0 && ret->type == REDIS_ERROR)
        r = tw_fail(err, -EACCES, "'%s': %s", words[0], ret->text);
    return r;
}

static void hash(const struct redis_reply *settings, const char *run_id, char ret[65])
{
    tw_auto_buf all = {0};

    tw_buf_init(&all, 1 << 20);
    tw_buf_printf(&all, "%s\n", run_id ? run_id : "");
    for (size_t i = 0; i < settings->list.count; i++)
        tw_buf_printf(&all, "%s\n",
                      settings->list.items[i].text ? settings->list.items[i].text : "");
    tw_sha256_hex(tw_buf_text(&all), all.len, ret);
}

static int beat(struct session *s, struct tw_arena *a, bool counters,
                struct tw_pulse *ret, struct tw_err *err)
{
    static const char *const config[] = {"CONFIG", "GET", "*"}, *const info[] = {"INFO"};
    struct tw_pulse p = {.requests = NAN,
                         .rollbacks = NAN,
                         .wal_bytes = NAN,
                         .temp_bytes = NAN,
                         .read_blocks = NAN,
                         .connections = NAN};
    struct redis_reply settings, told;
    int r = ask(s, a, config, TW_COUNT_OF(config), &settings, err);

    if (r == 0)
        r = ask(s, a, info, TW_COUNT_OF(info), &told, err);
    if (r < 0)
        return r;
    hash(&settings, redis_info(a, told.text, "run_id"), p.stamp);
    p.statements = s->statements;
    p.bytes = s->bytes;
    p.seconds = s->seconds;
    if (counters) {
        p.requests = redis_info_number(told.text, "total_commands_processed");
        p.connections = redis_info_number(told.text, "connected_clients") - 1;
        p.own_requests = s->statements - s->counted;
        s->counted = s->statements;
    }
    *ret = p;
    return 0;
}

int kind_redis_pulse(const struct tw_target *t, bool counters, void **session,
                     struct tw_pulse *ret, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_snapshot known = {.config_file = t->config};
    struct session *s = *session;
    struct redis_link *link = NULL;
    int r = 0;

    if (!s) {
        r = kind_redis_connect(a, t, &known, &link, err);
        if (r < 0)
            return r;
        s = tw_alloc(sizeof *s);
        s->link = link;
        *session = s;
    }
    r = beat(s, a, counters, ret, err);
    if (r < 0) {
        kind_redis_pulse_end(s);
        *session = NULL;
    }
    return r;
}

void kind_redis_pulse_end(void *session)
{
    struct session *s = session;

    if (s)
        redis_link_free(s->link);
    free(s);
}
