#include "world/service/service_internal.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void count(struct tw_arena *a, const char *text, const char *format, size_t max,
                  struct tw_snapshot *s)
{
    char path[] = "/tmp/twin-unit-XXXXXX";
    int fd = mkstemp(path);
    struct service_access_log log = {path, format, "shop"};

    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    tw_snapshot_init(s);
    service_access_log_count(a, &log, 1, max, s);
    (void)close(fd);
    (void)unlink(path);
}

Test(service_accesslog, requests_are_counted_by_kind_without_addresses_and_queries)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_snapshot s;

    count(a,
          "10.0.0.1 - bob [1/Jan] \"GET /a?user=bob HTTP/1.1\" 200 100 \"-\" \"x\"\n"
          "10.0.0.2 - - [1/Jan] \"GET /a?user=eve HTTP/1.1\" 200 300 \"-\" \"x\"\n"
          "10.0.0.2 - - [1/Jan] \"POST /b HTTP/1.1\" 404 5 \"-\" \"x\"\n"
          "nonsense\n",
          NULL, 1 << 20, &s);
    cr_assert_eq(s.requests.count, 2U);
    cr_expect_str_eq(s.requests.items[0].path, "/a");
    cr_expect_eq(s.requests.items[0].count, 2);
    cr_expect_float_eq(s.requests.items[0].bytes, 200, 1e-9);
    cr_expect(isnan(s.requests.items[0].mean_s));
    cr_expect_str_eq(s.requests.items[1].method, "POST");
    cr_expect_eq(s.requests.items[1].status, 404);
    cr_expect_str_eq(s.requests.items[1].host, "shop");
}

Test(service_accesslog, a_format_of_its_own_tells_times)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_snapshot s;

    count(a, "0.250 0.200 GET /x 200 api\n0.750 - GET /x 200 api\n",
          "$request_time $upstream_response_time $request_method ${uri} $status $host",
          1 << 20, &s);
    cr_assert_eq(s.requests.count, 1U);
    cr_expect_float_eq(s.requests.items[0].mean_s, 0.5, 1e-9);
    cr_expect_float_eq(s.requests.items[0].upstream_s, 0.2, 1e-9);
    cr_expect_str_eq(s.requests.items[0].host, "api");
}

Test(service_accesslog, only_whole_lines_of_the_tail_count)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_snapshot s;

    count(a, "GET /first 200\nGET /second 200\n", "$request_method $uri $status", 20, &s);
    cr_assert_eq(s.requests.count, 1U);
    cr_expect_str_eq(s.requests.items[0].path, "/second");
    cr_expect_eq(s.cost.bytes, 20);
}
