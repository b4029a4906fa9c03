/* redis.conf as the server reads it, addresses, answers of INFO, words of units. */
#include "world/service/kind_redis/kind_redis_internal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static struct redis_conf conf_of(struct tw_arena *a, const char *text)
{
    struct redis_conf conf;
    char dir[] = "/tmp/twin-redis-conf-XXXXXX";

    cr_assert(mkdtemp(dir));
    cr_assert_eq(host_put_file(dir, "/redis.conf", text, 0600, getuid(), getgid(), NULL),
                 0);
    redis_conf_read(a, dir, "/redis.conf", &conf);
    (void)tw_remove_tree(dir, NULL);
    return conf;
}

Test(service_redis, quotes_and_escapes_are_read_as_the_server_reads_them)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct redis_conf conf =
        conf_of(a, "# requirepass no\nrequirepass \"a \\\"b\\\" \\x41\"\n"
                   "RENAME-command KEYS ''\n");

    cr_assert_str_eq(redis_conf_value(a, &conf, "requirepass", ""), "a \"b\" A");
    cr_assert_null(redis_conf_command(&conf, "keys"));
    cr_assert_str_eq(redis_conf_command(&conf, "GET"), "GET");
}

Test(service_redis, save_lines_add_up_until_an_empty_one)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct redis_conf conf =
        conf_of(a, "save 1 1\nsave \"\"\nsave 3600 1\nsave 60 100\n");

    cr_assert_str_eq(redis_conf_value(a, &conf, "save", ""), "3600 1 60 100");
}

Test(service_redis, the_old_name_of_a_setting_is_the_same_setting)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct redis_conf conf = conf_of(a, "slaveof 10.0.0.1 6379\n");

    cr_assert_str_eq(redis_conf_value(a, &conf, "replicaof", ""), "10.0.0.1 6379");
}

Test(service_redis, an_include_that_is_not_there_is_a_problem)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct redis_conf conf = conf_of(a, "port 1\ninclude /nowhere/x.conf\n");

    cr_assert(conf.problem && strstr(conf.problem, "/nowhere/x.conf"));
}

Test(service_redis, a_setting_is_written_once_and_where_it_stood)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    cr_assert_str_eq(
        redis_conf_set(a, "port 1\nhz 10\nsave 1 1\nsave 2 2\n", "save", "3600 1"),
        "port 1\nhz 10\nsave 3600 1\n");
    cr_assert_str_eq(redis_conf_set(a, "port 1\n", "save", ""), "port 1\nsave \"\"\n");
    cr_assert_str_eq(redis_conf_set(a, "hz 10\nport 1", "hz", NULL), "port 1\n");
    cr_assert_str_eq(redis_conf_set(a, "user app on >x\n", "user", "ops on >y"),
                     "user app on >x\nuser ops on >y\n");
    cr_assert_str_eq(redis_conf_set(a, "", "requirepass", "a b"),
                     "requirepass \"a b\"\n");
}

Test(service_redis, addresses_are_taken_as_people_write_them)
{
    static const struct {
        const char *text, *host, *user, *password, *socket;
        int port;
    } rows[] = {
        {"redis://app:p%40ss@10.0.0.7:6380/2", "10.0.0.7", "app", "p@ss", NULL, 6380},
        {"redis://:secret@h", "h", NULL, "secret", NULL, 6379},
        {"redis://[::1]:7000", "::1", NULL, NULL, NULL, 7000},
        {"cache.local:7001", "cache.local", NULL, NULL, NULL, 7001},
        {"unix:///run/r.sock", NULL, NULL, NULL, "/run/r.sock", 0}};
    tw_auto(tw_arena) *a = tw_arena_new();

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct redis_where w = {0};

        cr_assert_eq(redis_parse_address(a, rows[i].text, &w, NULL), 0, "%s",
                     rows[i].text);
        cr_assert(tw_streq(w.host, rows[i].host), "%s: host %s", rows[i].text, w.host);
        cr_assert(tw_streq(w.user, rows[i].user), "%s: user %s", rows[i].text, w.user);
        cr_assert(tw_streq(w.password, rows[i].password), "%s", rows[i].text);
        cr_assert(tw_streq(w.socket, rows[i].socket), "%s", rows[i].text);
        cr_assert_eq(w.port, rows[i].port, "%s: port %d", rows[i].text, w.port);
    }
    cr_assert_eq(redis_parse_address(a, "rediss://h", &(struct redis_where){0}, NULL),
                 -EINVAL);
    cr_assert_eq(redis_parse_address(a, "h:99999", &(struct redis_where){0}, NULL),
                 -EINVAL);
}

Test(service_redis, info_is_taken_into_counters_and_commands)
{
    static const char info[] = "# Memory\r\nused_memory:1000\r\nmaxmemory:4000\r\n"
                               "cmdstat_get:calls=7,usec=70,usec_per_call=10.00,x\r\n"
                               "cmdstat_set:calls=9,usec=9,usec_per_call=1.00,x\r\n"
                               "db0:keys=648,expires=3,avg_ttl=0\r\n";
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_snapshot s;

    tw_snapshot_init(&s);
    kind_redis_take_info(a, info, &s);
    cr_assert_eq(s.requests.count, 2);
    cr_assert_str_eq(s.requests.items[0].method, "set");
    cr_assert_float_eq(s.requests.items[1].mean_s, 1e-5, 1e-12);
    cr_assert_eq(s.counters.items[0].used, 648);
    cr_assert_eq(s.counters.items[1].used, 3);
    cr_assert_eq(s.counters.items[2].limit, 4000);
    cr_assert_eq(redis_info_number(info, "used_memory"), 1000);
    cr_assert(isnan(redis_info_number(info, "nothing")));
}

Test(service_redis, units_are_read_with_their_drop_ins)
{
    char dir[] = "/tmp/twin-unit-XXXXXX";
    tw_auto(tw_arena) *a = tw_arena_new();
    struct host_unit u;

    cr_assert(mkdtemp(dir));
    cr_assert_eq(
        host_put_file(dir, "/lib/systemd/system/x.service",
                      "[Unit]\nExecStart=/no\n[Service]\nExecStart=-/usr/bin/x 'a b' \\\n"
                      "  --c\nKillSignal=SIGINT\nTimeoutStopSec=1min 30s\n"
                      "LimitNOFILE=1024:4096\nType=notify\n",
                      0644, getuid(), getgid(), NULL),
        0);
    cr_assert_eq(host_unit_set(a, dir, "x.service", "LimitNOFILE", "100", getuid(),
                               getgid(), NULL),
                 0);
    cr_assert(host_unit_read(a, dir, "x", &u));
    cr_assert_eq(u.argv.count, 3);
    cr_assert_str_eq(u.argv.items[1], "a b");
    cr_assert_str_eq(u.argv.items[2], "--c");
    cr_assert_eq(u.kill_signal, 2);
    cr_assert_float_eq(u.stop_timeout_s, 90, 1e-9);
    cr_assert_eq(u.nofile, 100);
    cr_assert(u.notify);
    cr_assert(host_unit_is_setting("unit.LimitNOFILE"));
    cr_assert_not(host_unit_is_setting("ExecStart"));
    (void)tw_remove_tree(dir, NULL);
}

static const char *as_it_is(struct tw_arena *a, const char *line)
{
    (void)a;
    return line;
}

Test(service_redis, words_make_one_finding_a_row_and_count)
{
    static const struct host_words rows[] = {
        {"prepared*not exist", "pool.prepared", TW_HIGH, TW_REVIEW, "t", "r"},
        {"never said", "x", TW_HIGH, TW_REVIEW, "t", "r"}};
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_issues issues = {0};

    host_words_judge(a,
                     "skip prepared x does not exist\nprepared a does not exist\nother\n"
                     "prepared b does not exist\n",
                     31, as_it_is, rows, 2, &issues);
    cr_assert_eq(issues.list.count, 1);
    cr_assert_str_eq(issues.list.items[0].evidence,
                     "prepared a does not exist (and 1 more lines like it)");
}
