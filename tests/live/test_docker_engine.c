/* The Engine API against a real Engine of Debian: a private one, started for this and ended after it. */
#include "tw/docker.h"
#include "tw/env.h"
#include "tw/io.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/twin-engine-XXXXXX";
static struct tw_docker *d;
static struct tw_arena *arena;
static struct tw_err err;

static void engine(const char *verb)
{
    const char *argv[] = {"scripts/dockerd", verb, dir, NULL};
    struct tw_child child = {
        .argv = argv, .uid = (unsigned)-1, .gid = (unsigned)-1, .deadline_ns = 0};
    struct tw_child_result result;

    cr_assert(tw_child_run(&child, &result, &err) == 0, "%s", err.text);
    cr_assert(result.status == 0, "%s: %s", verb, tw_buf_text(&result.err));
    tw_child_result_done(&result);
}

/* One static program under many names: the smallest image there is. */
static const char *make_image(void)
{
    const char *root = tw_arena_printf(arena, "%s.image", dir);
    const char *tar = tw_arena_printf(arena, "%s.tar", dir);
    const char *script = tw_arena_printf(
        arena,
        "set -e; mkdir -p %s/bin %s/tmp %s/etc; cp /bin/busybox %s/bin/; cd %s/bin; for "
        "n in sh "
        "sleep cat true ls env; do ln -s busybox $n; done; tar -C %s -cf %s .; rm -rf %s",
        root, root, root, root, root, root, tar, root);
    const char *argv[] = {"sh", "-c", script, NULL};
    struct tw_child child = {.argv = argv, .uid = (unsigned)-1, .gid = (unsigned)-1};
    struct tw_child_result result;

    cr_assert(tw_child_run(&child, &result, &err) == 0 && result.status == 0, "%s %s",
              err.text, tw_buf_text(&result.err));
    tw_child_result_done(&result);
    return tar;
}

static void open_engine(void)
{
    struct tw_docker_options options = {0};
    const char *tar;

    if (geteuid() != 0)
        cr_skip_test("needs root");
    if (access("/usr/sbin/dockerd", X_OK) != 0 || access("/bin/busybox", X_OK) != 0)
        cr_skip_test("needs the Docker Engine: scripts/install-deps --docker");
    arena = tw_arena_new();
    cr_assert(mkdtemp(dir) != NULL);
    engine("start");
    options.host = tw_arena_printf(arena, "unix://%s/s.sock", dir);
    cr_assert(tw_docker_open(&options, &d, &err) == 0, "%s", err.text);
    tar = make_image();
    cr_assert(tw_docker_image_import(
                  d, tar, "tiny:1",
                  (const char *const[]){"CMD [\"sleep\",\"1000\"]", NULL}, &err) == 0,
              "%s", err.text);
    (void)unlink(tar);
}

static void close_engine(void)
{
    tw_docker_free(d);
    if (arena)
        engine("stop");
    tw_arena_free(arena);
}

TestSuite(docker_engine, .init = open_engine, .fini = close_engine, .timeout = 110);

static json_t *body(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);

    cr_assert(json != NULL, "%s", text);
    return json;
}

static void create(const char *name, const char *text)
{
    json_auto_t *json = body(text);
    tw_auto_free char *id = NULL;

    cr_assert(tw_docker_container_create(d, name, json, &id, &err) == 0, "%s", err.text);
}

static void wait_running(const char *name)
{
    for (int64_t end = tw_now_ns() + 20 * TW_SEC_NS; tw_now_ns() < end;) {
        json_auto_t *json = NULL;

        cr_assert(tw_docker_container_inspect(d, name, &json, &err) == 0, "%s", err.text);
        if (json_is_true(json_object_get(json_object_get(json, "State"), "Running")))
            return;
        tw_sleep_ns(20 * TW_MSEC_NS);
    }
    cr_assert(false, "'%s' does not run", name);
}

static void a_container_lives_and_is_removed(void)
{
    static const char *const argv[] = {
        "sh", "-c", "echo $A; cat /etc/a.conf; echo no >&2; exit 7", NULL};
    static const char *const env[] = {"A=b c", NULL};
    struct tw_docker_entry e = {.path = "a.conf",
                                .data = "x = 1\n",
                                .len = 6,
                                .mode = 0640,
                                .uid = 12,
                                .gid = 13};
    struct tw_docker_entries files = {{&e, 1}}, back = {0};
    struct tw_docker_exec exec = {.argv = argv, .env = env};
    json_auto_t *top = NULL, *changes = NULL, *json = NULL;
    struct tw_docker_container c;
    tw_auto_buf out = {0}, errors = {0}, log = {0};
    int status = -1;

    tw_buf_init(&out, 1000);
    tw_buf_init(&errors, 1000);
    tw_buf_init(&log, 1000);
    create("one",
           "{\"Image\":\"tiny:1\",\"Cmd\":[\"sh\",\"-c\",\"echo hello; echo world >&2; "
           "exec sleep "
           "1000\"],\"HostConfig\":{\"Memory\":33554432,\"NanoCpus\":500000000}}");
    cr_expect(tw_docker_archive_put(d, "one", "/etc", &files, &err) == 0, "%s", err.text);
    cr_expect(
        tw_docker_archive_get(d, arena, "one", "/etc/a.conf", 1 << 20, &back, &err) == 0,
        "%s", err.text);
    cr_expect(back.list.count == 1 && back.list.items[0].uid == 12 &&
              back.list.items[0].len == 6);
    cr_expect(tw_docker_container_start(d, "one", &err) == 0, "%s", err.text);
    cr_expect(tw_docker_container_start(d, "one", &err) == 0, "started twice: %s",
              err.text);
    wait_running("one");
    cr_expect(tw_docker_archive_put(d, "one", "/etc", &files, &err) == -EBUSY);
    cr_expect(tw_docker_exec(d, "one", &exec, &out, &errors, &status, &err) == 0, "%s",
              err.text);
    cr_expect(status == 7, "%d", status);
    cr_expect_str_eq(tw_buf_text(&out), "b c\nx = 1\n");
    cr_expect_str_eq(tw_buf_text(&errors), "no\n");
    /* What it prints comes to the log by way of the Engine, a moment later. */
    for (int64_t end = tw_now_ns() + 20 * TW_SEC_NS; tw_now_ns() < end;) {
        tw_buf_clear(&log);
        tw_buf_clear(&errors);
        cr_assert(tw_docker_container_logs(d, "one", -1, &log, &errors, &err) == 0, "%s",
                  err.text);
        if (log.len && errors.len)
            break;
    }
    cr_expect_str_eq(tw_buf_text(&log), "hello\n");
    cr_expect_str_eq(tw_buf_text(&errors), "world\n");
    cr_expect(tw_docker_container_top(d, "one", &top, &err) == 0, "%s", err.text);
    cr_expect(tw_docker_container_changes(d, "one", &changes, &err) == 0, "%s", err.text);
    cr_expect(json_array_size(changes) > 0);
    cr_assert(tw_docker_container_inspect(d, "one", &json, &err) == 0);
    cr_assert(tw_docker_container_read(arena, json, &c, &err) == 0, "%s", err.text);
    cr_expect(c.memory_bytes == 33554432 && c.cpus == 0.5 && c.pid > 0);
    cr_expect(tw_docker_container_kill(d, "one", "SIGKILL", &err) == 0, "%s", err.text);
    cr_expect(tw_docker_container_wait(d, "one", 20, &status, &err) == 0 &&
              status == 137);
    cr_expect(tw_docker_container_remove(d, "one", &err) == 0, "%s", err.text);
    cr_expect(tw_docker_container_remove(d, "one", &err) == 0, "removed twice: %s",
              err.text);
    cr_expect(tw_docker_container_inspect(d, "one", &json, &err) == -ENOENT);
}

static void the_words_of_the_engine_are_kept(void)
{
    json_auto_t *none = body("{\"Image\":\"no-such-image:9\"}");
    json_auto_t *little = body("{\"Image\":\"tiny:1\",\"HostConfig\":{\"Memory\":1}}");
    tw_auto_free char *id = NULL;

    cr_expect(tw_docker_container_create(d, "two", none, &id, &err) == -ENOENT);
    cr_expect(strstr(err.text, "No such image") != NULL, "%s", err.text);
    cr_expect(tw_docker_container_create(d, "two", little, &id, &err) == -EINVAL);
    cr_expect(strstr(err.text, "emory limit") != NULL, "%s", err.text);
    create("two", "{\"Image\":\"tiny:1\",\"Cmd\":[\"/bin/nope\"]}");
    cr_expect(tw_docker_container_create(d, "two", none, &id, &err) < 0);
    cr_expect(tw_docker_container_start(d, "two", &err) == -EINVAL, "%s", err.text);
    cr_expect(strstr(err.text, "/bin/nope") != NULL, "%s", err.text);
    cr_expect(tw_docker_container_remove(d, "two", &err) == 0);
    cr_expect(tw_docker_image_load(d, "/bin/busybox", &err) < 0);
}

static bool on_event(void *arg, const json_t *event)
{
    int *seen = arg;

    if (tw_streq(json_string_value(json_object_get(event, "Type")), "network"))
        ++*seen;
    return true;
}

static void networks_volumes_and_events(void)
{
    json_auto_t *net =
        body("{\"Name\":\"n1\",\"Internal\":true,\"Labels\":{\"mine\":\"1\"}}");
    json_auto_t *vol = body("{\"Name\":\"v1\",\"Labels\":{\"mine\":\"1\"}}");
    json_auto_t *nets = NULL, *vols = NULL, *images = NULL, *info = NULL;
    tw_auto_free char *id = NULL,
                      *since = tw_strf("%lld", (long long)(tw_wall_ns() / TW_SEC_NS));
    tw_auto_free char *until = NULL;
    int seen = 0;

    cr_expect(tw_docker_network_create(d, net, &id, &err) == 0, "%s", err.text);
    cr_expect(tw_docker_networks(d, "mine=1", &nets, &err) == 0 &&
              json_array_size(nets) == 1);
    cr_expect(tw_docker_volume_create(d, vol, &err) == 0, "%s", err.text);
    cr_expect(tw_docker_volumes(d, "mine", &vols, &err) == 0 &&
              json_array_size(vols) == 1);
    cr_expect(tw_docker_images(d, "tiny:1", &images, &err) == 0 &&
              json_array_size(images) == 1);
    cr_expect(tw_docker_info(d, &info, &err) == 0 && tw_docker_ping(d, &err) == 0);
    cr_expect(tw_docker_network_remove(d, "n1", &err) == 0, "%s", err.text);
    cr_expect(tw_docker_network_remove(d, "n1", &err) == 0, "removed twice: %s",
              err.text);
    cr_expect(tw_docker_volume_remove(d, "v1", &err) == 0, "%s", err.text);
    until = tw_strf("%lld", (long long)(tw_wall_ns() / TW_SEC_NS + 1));
    cr_expect(tw_docker_events(d, since, until, NULL, 30, on_event, &seen, &err) == 0,
              "%s", err.text);
    cr_expect(seen >= 2, "%d", seen);
}

/* A project of two services, two replicas of one; the secret of one in the command of another. */
static void run_project(int64_t memory_bytes)
{
    static const struct {
        char name[12], service[4], number[2];
    } rows[] = {
        {"shop_web_1", "web", "1"}, {"shop_web_2", "web", "2"}, {"shop_db_1", "db", "1"}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto_free char *text =
            tw_strf("{\"Image\":\"tiny:1\",\"Cmd\":[\"sleep\",\"1000\"],\"Env\":[\"DB_"
                    "PASSWORD=k3pt-hidden\","
                    "\"URL=postgres://u:als0-hidden@db/x\",\"MODE=live\",\"NOTE=with "
                    "k3pt-hidden in it\"],"
                    "\"HostConfig\":{\"Memory\":%lld},\"Labels\":{\"com.docker.compose."
                    "project\":\"shop\","
                    "\"com.docker.compose.service\":\"%s\",\"com.docker.compose."
                    "container-number\":\"%s\","
                    "\"note\":\"als0-hidden\"}}",
                    (long long)memory_bytes, rows[i].service, rows[i].number);

        cr_assert(tw_docker_container_remove(d, rows[i].name, &err) == 0, "%s", err.text);
        create(rows[i].name, text);
        cr_assert(tw_docker_container_start(d, rows[i].name, &err) == 0, "%s", err.text);
    }
}

static void an_environment_is_found_and_kept_without_its_secrets(void)
{
    struct tw_target shop = {.environment = "live",
                             .name = "shop",
                             .type = "docker",
                             .project = "shop",
                             .dsn = tw_docker_host(d)};
    struct tw_target web = shop, none = shop;
    struct tw_target one = {.environment = "live", .name = "one", .type = "docker"};
    struct tw_env_list parts = {0};
    struct tw_snapshot s, later;
    json_auto_t *before = NULL, *after = NULL, *drift = NULL;
    tw_auto_free char *text = NULL;

    run_project(32 << 20);
    web.name = "shop/web";
    none.project = "shap";
    one.dsn = shop.dsn;
    cr_assert(tw_env_targets(arena, &shop, &parts, &err) == 0, "%s", err.text);
    cr_assert(parts.targets.count == 2);
    cr_expect_str_eq(parts.targets.items[0].name, "shop/db");
    cr_expect_str_eq(parts.targets.items[1].name, "shop/web");
    cr_expect(tw_env_targets(arena, &none, &parts, &err) == -ENOENT &&
                  strstr(err.text, "'shop'"),
              "%s", err.text);
    cr_assert(tw_env_snapshot(arena, &web, &s, &err) == 0, "%s", err.text);
    cr_assert(s.containers.count == 2);
    cr_expect_str_eq(s.containers.items[1].name, "shop_web_2");
    cr_expect_str_eq(s.how, "running");
    cr_expect(s.memory_bytes == 32 << 20 && s.cpus > 0);
    cr_expect(s.containers.items[0].memory_used_bytes > 0);
    before = tw_snapshot_to_json(&s);
    text = json_dumps(before, 0);
    cr_expect(!strstr(text, "k3pt-hidden") && !strstr(text, "als0-hidden"), "%s", text);
    cr_expect(strstr(text, "MODE") && strstr(text, "live"));
    run_project(48 << 20);
    one.container = "shop_web_1";
    cr_assert(tw_env_snapshot(arena, &one, &later, &err) == 0, "%s", err.text);
    cr_assert(later.containers.count == 1);
    after = tw_snapshot_to_json(&later);
    drift = tw_env_drift(before, after);
    /* Its limit; and that the other replica was not looked at. */
    cr_expect(json_array_size(drift) >= 2, "%zu", json_array_size(drift));
}

Test(docker_engine, a_real_engine_is_asked_and_answers)
{
    a_container_lives_and_is_removed();
    the_words_of_the_engine_are_kept();
    networks_volumes_and_events();
    an_environment_is_found_and_kept_without_its_secrets();
}
