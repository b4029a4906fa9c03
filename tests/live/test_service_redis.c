/* A Redis at rest, with data in two databases: what breaks it is found, by the service's own words. */
#include "live.h"

static int sh(const char *top, const char *line)
{
    tw_auto_free char *whole = tw_strf("cd %s && { %s; }", top, line);
    struct live_answer got = {0};
    int status = live_child((const char *const[]){"/bin/bash", "-c", whole, NULL}, NULL,
                            (unsigned)-1, (unsigned)-1, &got);

    if (status)
        cr_log_info("%s\n%s%s", whole, got.out, got.err);
    live_answer_done(&got);
    return status;
}

/* It is started once to make its dump, and ends by itself: nothing is left running. */
static const char make_data[] =
    "mkdir data state && printf 'port 0\\nunixsocket %s/data/s\\ndir %s/data\\nsave 3600 "
    "1\\n"
    "databases 4\\n' $PWD $PWD > redis.conf && chown -R redis: . && chmod 755 . && "
    "(setpriv --reuid redis --regid redis --clear-groups redis-server $PWD/redis.conf "
    ">log 2>&1 &) && "
    "for i in {1..400}; do redis-cli -s data/s ping 2>/dev/null | grep -q PONG && break; "
    "sleep 0.05; "
    "done; redis-cli -s data/s eval \"for i=1,648 do "
    "redis.call('SET','k'..i,string.rep('x',4000)) end\" 0 && redis-cli -s data/s -n 3 "
    "set a b && "
    "{ redis-cli -s data/s shutdown save; for i in {1..400}; do [ -S data/s ] || exit 0; "
    "sleep 0.05; "
    "done; exit 1; }";

static const struct {
    const char *set, *code;
    int exit_code;
} rows[] = {{"maxmemory=1mb", "memory.maxmemory", 3},
            {"databases=2", "start.databases", 3},
            {"appendonly=yes", "restart.data_lost", 3},
            {"maxmemory=10xb", NULL, 2},
            {"maxmemry=1gb", NULL, 2}};

Test(service_redis, what_breaks_it_is_found_at_rest, .timeout = 110)
{
    char top[] = "/tmp/twin-live-redis-XXXXXX";
    struct live l = {0};
    struct live_answer got;
    tw_auto_free char *config = NULL;

    cr_assert(geteuid() == 0 && mkdtemp(top), "needs root");
    l.state = tw_strf("%s/state", top);
    tw_buf_init(&l.ids, 65536);
    config = tw_strf("%s/redis.conf", top);
    if (sh(top, make_data) != 0)
        cr_expect_fail("redis-server does not make its data");
    live_twin(&l, &got, "env", "add", "cache", "--type", "redis", "--data", "clone",
              "--config", config);
    cr_expect_eq(got.exit_code, 0, "%s", got.err);
    live_answer_done(&got);
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        live_twin(&l, &got, "run", "--target", "cache", "--set", rows[i].set, "-o",
                  "json");
        cr_expect_eq(got.exit_code, rows[i].exit_code, "%s: exit %d: %s", rows[i].set,
                     got.exit_code, got.err);
        cr_expect(!rows[i].code || live_issue(&got, rows[i].code), "%s: no %s in %s",
                  rows[i].set, rows[i].code, got.out);
        live_answer_done(&got);
    }
    cr_expect_eq(live_leftovers(&l), 0);
    (void)tw_remove_tree(top, NULL);
    tw_buf_done(&l.ids);
    free(l.state);
}
