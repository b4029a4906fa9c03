/* Redis: a real server, its errors, its keys, its time-outs. */
#include "load_service.h"

#include <math.h>

static struct service redis;
static struct tw_arena *arena;
static struct tw_load *load;
static const char *where;
static int port;

static void open_redis(void)
{
    tw_auto_free char *command = NULL;

    if (access("/usr/bin/redis-server", X_OK) != 0)
        cr_skip_test("needs redis-server");
    arena = tw_arena_new();
    service_dir(&redis);
    port = service_port();
    command = tw_strf("/usr/bin/redis-server --port %d --bind 127.0.0.1 --save '' "
                      "--maxclients 40 --databases 4",
                      port);
    service_start(&redis, command);
    service_wait(&redis, port);
    where = tw_arena_printf(arena, "address=127.0.0.1 port=%d", port);
}

static void close_redis(void)
{
    tw_load_close(load);
    service_stop(&redis);
    tw_arena_free(arena);
}

TestSuite(load_redis, .init = open_redis, .fini = close_redis, .timeout = 60);

static void add(struct tw_load_mix *mix, const char *sent)
{
    struct tw_load_item item = {.name = sent, .weight = 1};
    struct tw_load_statement statement = {.sql = sent};

    TW_PUSH(arena, &item.statements, statement);
    TW_PUSH(arena, &mix->items, item);
}

/* One connection, one command at a time, through a mix of its own. */
static struct tw_slot say(const char *sent, struct tw_load_failures *failures)
{
    struct tw_load_mix mix = {.driver = "redis"};
    struct tw_load_spec spec = {.mix = &mix, .conninfo = {where, NULL}, .connections = 1};

    add(&mix, sent);
    return service_try(&spec, 5 * TW_MSEC_NS, arena, &load, failures);
}

Test(load_redis, errors_go_by_their_first_word)
{
    static const struct {
        const char *sent, *code;
    } rows[] = {
        {"SET key \"a value\"", NULL},
        {"LPUSH list 1", NULL},
        {"LPUSH key 1", "WRONGTYPE"},
        {"NOSUCH thing", "ERR"},
        {"LRANGE list 0 -1", NULL},
        {"EVAL \"return {1,{2,3},{},false}\" 0", NULL},
        {"CONFIG SET maxmemory 1", NULL},
        {"SET other x", "OOM"},
        {"GET key", NULL},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_load_failures f;
        struct tw_slot slot = say(rows[i].sent, &f);
        const char *code = f.list.count ? f.list.items[0].code : NULL;

        cr_expect(tw_streq(code, rows[i].code), "%s: %s %s", rows[i].sent,
                  code ? code : "no failure", code ? f.list.items[0].text : "");
        cr_expect((slot.done > 0) == !rows[i].code, "%s: %ld done", rows[i].sent,
                  (long)slot.done);
        service_slot_free(&slot);
    }
}

Test(load_redis, a_mix_is_made_from_keys_and_statistics_and_sent)
{
    struct tw_snapshot s;
    struct tw_load_mix mix;
    struct tw_load_spec spec = {.conninfo = {where, where}, .connections = 4};
    struct tw_load_order order = {.rate_per_s = 500, .length_ns = TW_SEC_NS, .seed = 3};
    struct tw_sample_request calls[] = {{.method = "get", .count = 700},
                                        {.method = "hgetall", .count = 200},
                                        {.method = "zcard", .count = 60},
                                        {.method = "evalsha", .count = 40},
                                        {.method = "config|get", .count = 999}};
    struct tw_load_failures f;
    struct tw_err err = {0};
    struct tw_slot slot;

    slot = say("EVAL \"for i=1,50 do redis.call('SET','k '..i..'$1',string.rep('y',i)) "
               "redis.call('HSET','h'..i,'f',i) end return 1\" 0",
               &f);
    service_slot_free(&slot);
    tw_snapshot_init(&s);

    cr_assert(tw_load_mix_make_at(arena, &s, "redis", NULL, 0, &spec, &mix, &err) == 0,
              "%s", err.text);
    cr_expect_eq(mix.items.count, 3, "%zu items",
                 mix.items.count); /* GET, HGETALL, SET */
    cr_expect_str_eq(mix.source, "sampled keys");

    for (size_t i = 0; i < TW_COUNT_OF(calls); i++)
        TW_PUSH(arena, &s.requests, calls[i]);
    cr_assert(tw_load_mix_make_at(arena, &s, "redis", NULL, 0, &spec, &mix, &err) == 0,
              "%s", err.text);
    cr_expect_eq(mix.items.count, 2, "%zu items: %s", mix.items.count, mix.description);
    cr_expect_float_eq(mix.coverage, 0.9, 1e-9, "%f", mix.coverage);
    cr_expect_eq(mix.missing.count, 2); /* zcard: no such key; evalsha: what of? */

    spec.mix = &mix;
    cr_assert(tw_load_open(&spec, &load, &err) == 0, "%s", err.text);
    slot = service_slot(load, order);
    cr_expect(slot.done > 300 && slot.done == slot.sent, "%ld of %ld", (long)slot.done,
              (long)slot.sent);
    cr_assert(tw_load_failures(load, arena, &f, NULL) == 0);
    cr_expect_eq(f.list.count, 0, "%s", f.list.count ? f.list.items[0].text : "");
    service_slot_free(&slot);
}

Test(load_redis, connections_over_the_limit_and_idle_ones_are_told)
{
    struct tw_load_mix mix = {.driver = "redis"};
    struct tw_load_spec spec = {.mix = &mix, .conninfo = {where, NULL}};
    const double rungs[] = {0.2, 6, 60};
    struct tw_load_connections_order order = {.clients = 10,
                                              .idle = 5,
                                              .hold_s = 0.2,
                                              .rungs_s = rungs,
                                              .rung_count = 3,
                                              .bound_s = 7};
    struct tw_load_connections many;
    struct tw_load_failures f;
    struct tw_err err = {0};
    struct tw_slot slot = say("CONFIG SET timeout 2", &f);

    service_slot_free(&slot);
    add(&mix, "PING");
    for (int i = 0; i < 3; i++) { /* a pause of the machine is a rest as well */
        cr_assert(tw_load_connections(arena, &spec, &order, &many, &err) == 0, "%s",
                  err.text);
        if (many.rungs.items[0].result == TW_RUNG_WORKED)
            break;
    }
    cr_expect_eq(many.asked, 18);
    cr_expect_eq(many.opened, 18);
    cr_expect(many.done > 0 && many.errors == 0);
    cr_assert_eq(many.rungs.count, 3);
    cr_expect_eq(many.rungs.items[0].result, TW_RUNG_WORKED, "%s %s",
                 tw_load_rung_names[many.rungs.items[0].result],
                 many.rungs.items[0].text);
    cr_expect_eq(many.rungs.items[1].result, TW_RUNG_CLOSED, "%s",
                 tw_load_rung_names[many.rungs.items[1].result]);
    cr_expect(many.rungs.items[1].closed_s > 0.5 && many.rungs.items[1].closed_s < 6,
              "%f", many.rungs.items[1].closed_s);
    cr_expect_eq(many.rungs.items[2].result, TW_RUNG_NOT_TRIED);

    order = (struct tw_load_connections_order){.clients = 60, .hold_s = 0.2};
    cr_assert(tw_load_connections(arena, &spec, &order, &many, &err) == 0, "%s",
              err.text);
    cr_expect(many.opened >= 39 && many.opened <= 40, "%d opened", many.opened);
    cr_expect(service_failure(&many.failures, "ERR") != NULL, "%s",
              many.failures.list.count ? many.failures.list.items[0].text : "none");
}
