/* pgbouncer.ini, what a session keeps, and the arithmetic of pools and descriptors. */
#include "world/service/kind_pgbouncer/kind_pgb_internal.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

Test(service_pgbouncer, sections_and_includes_are_read_in_order)
{
    char dir[] = "/tmp/twin-pgb-XXXXXX";
    tw_auto(tw_arena) *a = tw_arena_new();
    struct pgb_ini ini;

    cr_assert(mkdtemp(dir));
    cr_assert_eq(
        host_put_file(dir, "/p.ini",
                      "; note\n[databases]\nshop = host=10.0.0.1 port=5433\n[pgbouncer]\n"
                      "pool_mode = session\n%include /more.ini\n",
                      0600, getuid(), getgid(), NULL),
        0);
    cr_assert_eq(host_put_file(dir, "/more.ini",
                               "pool_mode=transaction\n[users]\napp = x=1\n", 0600,
                               getuid(), getgid(), NULL),
                 0);
    pgb_ini_read(a, dir, "/p.ini", &ini);
    cr_assert_eq(ini.files.count, 2);
    cr_assert_str_eq(pgb_ini_value(&ini, "pool_mode", ""), "transaction");
    cr_assert_str_eq(pgb_ini_last(&ini, "pool_mode")->file, "/more.ini");
    cr_assert_str_eq(pgb_ini_value(&ini, "databases.shop", ""),
                     "host=10.0.0.1 port=5433");
    cr_assert_str_eq(pgb_ini_value(&ini, "users.app", ""), "x=1");
    (void)tw_remove_tree(dir, NULL);
}

Test(service_pgbouncer, a_value_is_set_in_its_section)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const char *text = "[databases]\nshop = host=a\n[pgbouncer]\npool_mode=session\n";

    cr_assert_str_eq(
        pgb_ini_set(a, text, "pool_mode", "transaction"),
        "[databases]\nshop = host=a\n[pgbouncer]\npool_mode = transaction\n");
    cr_assert_str_eq(
        pgb_ini_set(a, text, "databases.new", "host=b"),
        "[databases]\nshop = host=a\nnew = host=b\n[pgbouncer]\npool_mode=session\n");
    cr_assert_str_eq(pgb_ini_set(a, text, "databases.shop", NULL),
                     "[databases]\n[pgbouncer]\npool_mode=session\n");
    cr_assert_str_eq(pgb_ini_set(a, "", "users.app", "pool_mode=session"),
                     "[users]\napp = pool_mode=session\n");
}

Test(service_pgbouncer, words_of_a_connection_are_found)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    const char *line = "host=10.0.0.1 port = 5433 password='a b' pool_size=7";

    cr_assert_str_eq(pgb_word(a, line, "port"), "5433");
    cr_assert_str_eq(pgb_word(a, line, "password"), "a b");
    cr_assert_str_eq(pgb_word(a, line, "pool_size"), "7");
    cr_assert_null(pgb_word(a, line, "user"));
}

Test(service_pgbouncer, what_needs_a_session_is_known)
{
    static const struct {
        const char *sql, *what;
    } rows[] = {{"SET search_path = app", "SET"},
                {"set local work_mem = '1MB'", NULL},
                {"SET TRANSACTION READ ONLY", NULL},
                {"PREPARE x AS SELECT 1", "PREPARE"},
                {"LISTEN jobs", "LISTEN"},
                {"SELECT pg_advisory_lock(1)", "advisory locks of a session"},
                {"SELECT pg_advisory_xact_lock(1)", NULL},
                {"DECLARE c CURSOR FOR SELECT 1", NULL},
                {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", "cursors WITH HOLD"},
                {"CREATE TEMP TABLE t (a int)", "temporary tables"},
                {"SELECT 1", NULL}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        cr_assert(tw_streq(pgb_needs_session(rows[i].sql), rows[i].what), "%s: %s",
                  rows[i].sql, pgb_needs_session(rows[i].sql));
}

Test(service_pgbouncer, its_own_arithmetic_of_descriptors_is_read)
{
    struct pgb_files f = {0};

    cr_assert(pgb_read_files(
        "x LOG kernel file descriptor limit: 40 (hard: 40); max_client_conn: "
        "500, max expected fd use: 552\n",
        &f));
    cr_assert_eq(f.limit, 40);
    cr_assert_eq(f.expected, 552);
    cr_assert_eq(f.clients, 500);
    cr_assert_not(pgb_read_files("nothing", &f));
}

Test(service_pgbouncer, busy_servers_follow_little)
{
    cr_assert_float_eq(pgb_busy_servers(200, 0.05), 10, 1e-9);
}

static void put(const char *dir, const char *name, const char *text)
{
    cr_assert_eq(host_put_file(dir, name, text, 0600, getuid(), getgid(), NULL), 0);
}

Test(service_pgbouncer, no_secret_of_the_target_stays_in_a_clone)
{
    char dir[] = "/tmp/twin-pgb-XXXXXX";
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_snapshot s;
    const char *list, *ini, *own;

    cr_assert(mkdtemp(dir));
    tw_snapshot_init(&s);
    s.config_file = "/p.ini";
    put(dir, "/p.ini",
        "[databases]\nshop = host=10.0.0.1 user=app password='my secret' port=5433\n"
        "[pgbouncer]\nauth_file = /users.txt\n");
    put(dir, "/users.txt",
        "\"app\" \"my secret\"\n; note\n\"o\"\"x\" \"md50123456789abcdef0123456789abcdef\"\n"
        "\"none\" \"\"\n");
    cr_assert_eq(pgb_own_secrets(a, dir, &s, getuid(), getgid(), NULL), 0);
    list = host_text(a, dir, "/users.txt");
    ini = host_text(a, dir, "/p.ini");
    own = tw_service_clone_password(a, &s, "app");
    cr_expect_not(strstr(list, "secret") || strstr(ini, "secret"));
    cr_expect_not(strstr(list, "0123456789abcdef"));
    cr_expect(strstr(list, tw_arena_printf(a, "\"app\" \"%s\"\n; note\n", own)), "%s", list);
    cr_expect(strstr(list, "\"o\"\"x\" \"md5"), "an md5 sum stays one: %s", list);
    cr_expect(strstr(list, "\"none\" \"\"\n"), "who has none gets none: %s", list);
    cr_expect(strstr(ini, tw_arena_printf(a, "user=app password=%s port=5433\n", own)), "%s",
              ini);
    (void)tw_remove_tree(dir, NULL);
}

/* ---- what its files mean for clients ---- */

struct judged {
    struct tw_arena *a;
    char dir[64];
    struct tw_snapshot s;
    struct tw_plan plan;
    struct tw_issues issues;
};

static void put_at(const char *root, const char *path, const char *text)
{
    cr_assert_eq(host_put_file(root, path, text, 0600, getuid(), getgid(), NULL), 0);
}

static void begin(struct judged *j)
{
    *j = (struct judged){.a = tw_arena_new(), .dir = "/tmp/twin-pgb-XXXXXX"};
    tw_snapshot_init(&j->s);
    j->s.config_file = "/p.ini";
    cr_assert(mkdtemp(j->dir));
}

static void has(struct judged *j, const char *name, const char *value)
{
    TW_PUSH(j->a, &j->s.settings,
            ((struct tw_setting){.name = name, .value = value, .boot_value = value}));
}

/* The only finding with this code; NULL: none. */
static const struct tw_issue *judge(struct judged *j, const char *ini, const char *code)
{
    struct tw_access x = {.snapshot = &j->s, .root = j->dir};

    j->issues.list.count = 0;
    put_at(j->dir, "/p.ini", ini);
    kind_pgb_judge_files(j->a, &x, &j->plan, &j->issues);
    for (size_t i = 0; i < j->issues.list.count; i++)
        if (tw_streq(j->issues.list.items[i].code, code))
            return &j->issues.list.items[i];
    return NULL;
}

static void end(struct judged *j)
{
    (void)tw_remove_tree(j->dir, NULL);
    tw_arena_free(j->a);
}

Test(service_pgbouncer, a_client_that_rests_longer_than_it_may_is_told)
{
    struct judged j;
    const struct tw_issue *one;

    begin(&j);
    has(&j, "client_idle_timeout", "0");
    has(&j, "idle_transaction_timeout", "0");
    cr_expect_null(judge(&j, "[pgbouncer]\nclient_idle_timeout=3600\n", "client.error"));
    cr_assert_not_null(one = judge(&j, "[pgbouncer]\nclient_idle_timeout=5\n", "client.error"));
    cr_expect_eq(one->at_least, TW_REVIEW);
    TW_PUSH(j.a, &j.plan.clients, ((struct tw_client){.name = "app", .think_s = 7}));
    cr_assert_not_null(one = judge(&j, "[pgbouncer]\nclient_idle_timeout=5\n", "client.error"));
    cr_expect_eq(one->at_least, TW_BLOCK);
    cr_expect_null(judge(&j, "[pgbouncer]\nidle_transaction_timeout=5\n", "client.error"));
    end(&j);
}

Test(service_pgbouncer, a_session_that_is_not_reset_leaks)
{
    struct judged j;

    begin(&j);
    has(&j, "pool_mode", "session");
    has(&j, "server_reset_query", "DISCARD ALL");
    cr_expect_not_null(judge(&j, "[pgbouncer]\nserver_reset_query=\n", "pool.session_state"));
    cr_expect_null(judge(&j, "[pgbouncer]\nserver_reset_query=DISCARD ALL\n", "pool.session_state"));
    end(&j);
    begin(&j);
    has(&j, "pool_mode", "transaction");
    has(&j, "server_reset_query", "DISCARD ALL");
    cr_expect_null(judge(&j, "[pgbouncer]\nserver_reset_query=\n", "pool.session_state"));
    end(&j);
}

Test(service_pgbouncer, who_has_another_password_is_told)
{
    struct judged j;
    tw_auto_free char *list = NULL;
    const struct tw_issue *one;

    begin(&j);
    put_at(j.dir, "/users", "\"app\" \"old\"\n\"report\" \"same\"\n");
    list = tw_strf("%s/users", j.dir);
    has(&j, "auth_file", list);
    TW_PUSH(j.a, &j.plan.steps,
            ((struct tw_plan_step){.kind = TW_STEP_FILE,
                                   .path = list,
                                   .value = "\"report\" \"same\"\n\"app\" \"new\"\n"}));
    cr_assert_not_null(one = judge(&j, "[pgbouncer]\n", "access.login"));
    cr_expect_not_null(strstr(one->title, "'app'"));
    cr_expect_eq(one->at_least, TW_REVIEW);
    j.plan.steps.items[0].value = "\"app\" \"old\"\n\"report\" \"same\"\n\"new\" \"one\"\n";
    cr_expect_null(judge(&j, "[pgbouncer]\n", "access.login"));
    end(&j);
}
