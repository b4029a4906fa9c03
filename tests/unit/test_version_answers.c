#include "tw/version.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct tw_arena *arena;
static struct tw_answers *w;
static struct tw_differences found;

static void begin(void)
{
    arena = tw_arena_new();
    w = tw_answers_new();
}

static void end(void)
{
    tw_answers_free(w);
    tw_arena_free(arena);
}

TestSuite(version_answers, .init = begin, .fini = end);

#define ASKED (INT64_C(1700000000) * TW_SEC_NS)

static void answer(enum tw_side side, int status, const char *type, const char *body)
{
    const struct tw_http_field headers[] = {{"Content-Type", type},
                                            {"Cache-Control", "no-store"}};
    struct tw_reply r = {.status = status,
                         .why = status ? NULL : "connection reset",
                         .body = body,
                         .len = body ? strlen(body) : 0,
                         .asked_wall_ns = ASKED};

    r.headers.items = headers;
    r.headers.count = 2;
    tw_answers_add(w, side, 0, &r);
}

static void compare(void)
{
    tw_answers_compare(arena, w, &found);
}

static int count(enum tw_difference_kind kind, const char *where)
{
    int n = 0;

    for (size_t i = 0; i < found.list.count; i++)
        n += found.list.items[i].kind == kind &&
             tw_streq(found.list.items[i].where, where);
    return n;
}

static void same_for_all(const char *old, const char *now)
{
    for (int i = 0; i < 20; i++) {
        answer(TW_SIDE_OLD, 200, "application/json", old);
        answer(TW_SIDE_AGAIN, 200, "application/json", old);
        answer(TW_SIDE_NEW, 200, "application/json", now);
    }
    compare();
}

Test(version_answers, one_kind_of_difference_each)
{
    static const struct {
        const char *old, *now;
        enum tw_difference_kind kind;
        const char *where;
    } rows[] = {
        {"{\"a\":1,\"price\":2}", "{\"a\":1}", TW_DIFFERS_MISSING, "/price"},
        {"{\"a\":1}", "{\"a\":1,\"b\":2}", TW_DIFFERS_NEW, "/b"},
        {"{\"a\":1}", "{\"a\":\"1\"}", TW_DIFFERS_TYPE, "/a"},
        {"{\"a\":12.5}", "{\"a\":12.4}", TW_DIFFERS_VALUE, "/a"},
        {"{\"l\":[{\"a\":1},{\"a\":2}]}", "{\"l\":[{\"a\":2},{\"a\":1}]}",
         TW_DIFFERS_ORDER, "/l"},
        {"{\"l\":[{\"a\":1},{\"a\":2}]}", "{\"l\":[{},{}]}", TW_DIFFERS_MISSING,
         "/l/*/a"},
        {"{\"l\":[1]}", "{\"l\":[]}", TW_DIFFERS_EMPTY, "/l"},
        {"{\"t\":\"2023-11-14T22:13Z\"}", "{\"t\":\"2023-11-15T00:13Z\"}",
         TW_DIFFERS_TIME, "/t"},
        {"{\"t\":\"2023-11-14T22:13Z\"}", "{\"t\":\"2023-11-15T00:13+02:00\"}",
         TW_DIFFERS_FORMAT, "/t"},
        {"{\"a\":\"lamp\"}", "{\"a\":\"desk\"}", TW_DIFFERS_FORMAT, "/a"},
        {"{\"a\":1}", "", TW_DIFFERS_EMPTY, NULL},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        same_for_all(rows[i].old, rows[i].now);
        cr_expect(count(rows[i].kind, rows[i].where) == 1 && found.list.count == 1,
                  "%s -> %s: %zu differences, the first of kind %d at %s", rows[i].old,
                  rows[i].now, found.list.count,
                  found.list.count ? (int)found.list.items[0].kind : -1,
                  found.list.count ? found.list.items[0].where : "");
        tw_answers_free(w);
        w = tw_answers_new();
    }
}

Test(version_answers, counters_identifiers_and_times_are_learned)
{
    for (int i = 0; i < 40; i++)
        for (int side = 0; side < TW_SIDE_COUNT; side++) {
            tw_auto_free char *body =
                tw_strf("{\"n\":%d,\"id\":\"%08x-%04x\",\"host\":\"h%d\",\"at\":\"2023-"
                        "11-14T22:%02d:%02dZ\"}",
                        100 * side + i, 77777 * (i + 1) * (side + 3), i * 31 + side,
                        side * 7 + 1, 13 + i / 30, (i * 7 + side) % 60);

            answer((enum tw_side)side, 200, "application/json", body);
        }
    compare();
    cr_expect(found.list.count == 0, "%d at %s: %s, %s", (int)found.list.items[0].kind,
              found.list.items[0].where, found.list.items[0].before,
              found.list.items[0].after);
    cr_expect(found.volatile_parts > 0);
}

Test(version_answers, one_error_in_fifty_is_found_and_one_in_all_is_not)
{
    for (int i = 0; i < 600; i++) {
        answer(TW_SIDE_OLD, 200, "text/plain", "ok");
        answer(TW_SIDE_AGAIN, i == 7 ? 500 : 200, "text/plain", "ok");
        answer(TW_SIDE_NEW, i % 50 == 0 ? 500 : 200, "text/plain", "ok");
    }
    compare();
    cr_expect(count(TW_DIFFERS_STATUS, NULL) >= 1);
    tw_answers_free(w);
    w = tw_answers_new();
    for (int i = 0; i < 600; i++) {
        answer(TW_SIDE_OLD, 200, "text/plain", "ok");
        answer(TW_SIDE_AGAIN, 200, "text/plain", "ok");
        answer(TW_SIDE_NEW, i == 9 ? 0 : 200, "text/plain", "ok");
    }
    compare();
    cr_expect(found.list.count == 0);
}

Test(version_answers, the_names_of_the_versions_are_no_difference)
{
    tw_answers_names(w, TW_SIDE_OLD, "1.4");
    tw_answers_names(w, TW_SIDE_NEW, "2.0");
    for (int i = 0; i < 20; i++) {
        answer(TW_SIDE_OLD, 200, "text/plain", "shop 1.4");
        answer(TW_SIDE_AGAIN, 200, "text/plain", "shop 1.4");
        answer(TW_SIDE_NEW, 200, "text/plain", "shop 2.0");
    }
    compare();
    cr_expect(found.list.count == 0);
}

Test(version_answers, content_type_is_told_as_such)
{
    for (int i = 0; i < 20; i++) {
        answer(TW_SIDE_OLD, 200, "application/json", "{}");
        answer(TW_SIDE_AGAIN, 200, "application/json", "{}");
        answer(TW_SIDE_NEW, 200, "text/plain", "{}");
    }
    compare();
    cr_expect(count(TW_DIFFERS_TYPE_OF_BODY, "content-type") == 1 &&
              found.list.count == 1);
}

Test(version_share, chances_and_bounds_are_exact)
{
    double low, high;

    cr_expect_float_eq(tw_share_chance(0, 10, 5, 5), 1.0 / 3003, 1e-9); /* 1 / C(15, 5) */
    cr_expect_float_eq(tw_share_chance(0, 10, 0, 5), 1, 1e-9);
    tw_share_bounds(0, 100, 0.9, &low, &high);
    cr_expect(low == 0);
    cr_expect_float_eq(high, 1 - pow(0.05, 1.0 / 100), 1e-6);
    tw_share_bounds(100, 100, 0.9, &low, &high);
    cr_expect_float_eq(low, pow(0.05, 1.0 / 100), 1e-6);
    cr_expect(tw_share_requests(0.02, 0.95) == 149);
}

Test(version_times, a_leak_goes_on_and_a_cache_does_not)
{
    double requests[60], flat[60], leak[60], cache[60];
    struct tw_leak old, now, filled;

    for (int i = 0; i < 60; i++) {
        requests[i] = 20.0 * i;
        flat[i] = 8e6 + 4096 * (i % 3);
        leak[i] = 8e6 + 1024 * requests[i] + 4096 * (i % 3);
        cache[i] = 8e6 + fmin(2e6, 8000 * requests[i]) + 4096 * (i % 3);
    }
    old = tw_version_leak(requests, flat, 60);
    now = tw_version_leak(requests, leak, 60);
    filled = tw_version_leak(requests, cache, 60);
    cr_expect(tw_version_leaks(&old, &now));
    cr_expect_float_eq(now.per_request.value, 1024, 20);
    cr_expect(!tw_version_leaks(&old, &filled));
    cr_expect(!tw_version_leaks(&old, &old));
}

Test(version_times, slower_shows_and_equal_does_not)
{
    double old[400], again[400], now[400], noise;
    struct tw_estimate e;

    for (int i = 0; i < 400; i++) {
        old[i] = 0.010 + 0.001 * (i % 7);
        again[i] = 0.010 + 0.001 * ((i + 3) % 7);
        now[i] = old[i] + 0.020;
    }
    e = tw_version_ratio(old, again, now, 400, 0.95, 1, &noise);
    cr_expect(e.low > 1.5 && noise < 0.1);
    e = tw_version_ratio(old, again, again, 400, 0.95, 1, &noise);
    cr_expect(e.low > 0.85 && e.high < 1.15);
    cr_expect(isnan(tw_version_ratio(old, again, now, 5, 0.5, 1, &noise).value));
    cr_expect_float_eq(tw_apdex((double[]){1, 3, 9}, 3, 1), 0.5, 1e-9);
}
