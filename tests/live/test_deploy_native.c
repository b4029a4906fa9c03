/* Two versions side by side in native sandboxes: the small web application of sandbox-images, its faults by
 * its own switch. What is asserted are facts of answers, memory, log and stop; nothing of time. */
#include "tw/deploy.h"
#include "tw/io.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/var/tmp/twin-deploy-XXXXXX";
static struct tw_arena *arena;
static struct tw_priv *priv;
static struct tw_err err;

static void run(const char *const *argv)
{
    struct tw_child child = {.argv = argv, .uid = (unsigned)-1, .gid = (unsigned)-1};
    struct tw_child_result result;

    cr_assert(tw_child_run(&child, &result, &err) == 0 && result.status == 0, "%s: %s %s",
              argv[0], err.text, tw_buf_text(&result.err));
    tw_child_result_done(&result);
}

static void begin(void)
{
    char id[TW_ID_LEN + 1];

    if (geteuid() != 0)
        cr_skip_test("needs root");
    arena = tw_arena_new();
    cr_assert(mkdtemp(dir) != NULL && chmod(dir, 0755) == 0);
    run((const char *[]){"sandbox-images/web/compile",
                         tw_arena_printf(arena, "%s/bin", dir), NULL});
    tw_id_make(id);
    cr_assert(tw_priv_open(tw_arena_printf(arena, "%s/state", dir), id, &priv, &err) == 0,
              "%s", err.text);
}

static void end(void)
{
    if (!arena)
        return;
    tw_priv_close(priv);
    (void)tw_remove_tree(dir, NULL);
    tw_arena_free(arena);
}

TestSuite(deploy_native, .init = begin, .fini = end, .timeout = 110);

static void side(struct tw_instance_spec *s, const char *name, int network, int last,
                 const char *data, const char *bugs)
{
    const char *from = tw_arena_printf(arena, "%s/%s", dir, data);
    struct tw_sandbox_link link = {
        .network = network, .address = tw_arena_printf(arena, "10.213.0.%d", last)};

    *s = (struct tw_instance_spec){.address = link.address, .port = 8080};
    s->box = (struct tw_sandbox_spec){.id = tw_priv_id(priv),
                                      .name = name,
                                      .uid = 65534,
                                      .gid = 65534,
                                      .user_name = "twin",
                                      .hostname = "web",
                                      .shm_bytes = 8 << 20,
                                      .tmp_bytes = 8 << 20,
                                      .seccomp = true};
    TW_PUSH(arena, &s->box.links, link);
    cr_assert(tw_make_dirs(from, 0777, &err) == 0 && chmod(from, 0777) == 0);
    TW_PUSH(arena, &s->box.mounts,
            (struct tw_sandbox_mount){tw_arena_printf(arena, "%s/bin", dir), "/tw/bin",
                                      false});
    TW_PUSH(arena, &s->box.mounts, (struct tw_sandbox_mount){from, "/tw/data", true});
    TW_PUSH(arena, &s->argv, "/tw/bin/web");
    TW_PUSH(arena, &s->env, "STATE=/tw/data/state");
    TW_PUSH(arena, &s->env, tw_arena_printf(arena, "BUGS=%s", bugs));
}

static bool told(const struct tw_issues *issues, const char *code)
{
    for (size_t i = 0; i < issues->list.count; i++)
        if (tw_streq(issues->list.items[i].code, code))
            return true;
    return false;
}

static struct tw_deployed deploy(const char *place, const char *bugs, const char *checks,
                                 struct tw_issues *issues)
{
    struct tw_deploy_spec spec = {.priv = priv,
                                  .image_before = "web:1",
                                  .image_after = "web:2",
                                  .rollback = true,
                                  .start_s = 20,
                                  .stop_s = 3,
                                  .grace_s = 10,
                                  .seconds_least = 1,
                                  .seconds_most = 1,
                                  .memory_limit_bytes = 0.0 / 0.0,
                                  .rate_per_s = 0.0 / 0.0,
                                  .seed = 7};
    json_auto_t *json = json_loads(checks, 0, NULL);
    struct tw_smokes smoke = {0};
    struct tw_deployed seen;
    const char *data[] = {"old", "again", "new"};

    for (int i = 0; i < 3; i++)
        data[i] = tw_arena_printf(arena, "%s-%s", place, data[i]);
    cr_assert(tw_smokes_from_json(arena, json, "", &smoke, &err) == 0, "%s", err.text);
    side(&spec.sides[TW_SIDE_OLD], "baseline", 0, 2, data[0], "");
    side(&spec.sides[TW_SIDE_AGAIN], "again", 0, 3, data[1], "");
    side(&spec.sides[TW_SIDE_NEW], "candidate", 1, 2, data[2], bugs);
    side(&spec.back, "back", 1, 3, data[2], "");
    spec.smoke = &smoke;
    cr_assert(tw_deploy_try(arena, &spec, &seen, issues, &err) == 0, "%s", err.text);
    cr_assert(seen.old_started, "%s", seen.no_start);
    return seen;
}

#define CHECKS                                                                           \
    "[{\"http\":\"/items\",\"expect\":{\"json\":{\"/items/0/price\":12.5}}},"            \
    "{\"tcp\":8080},{\"command\":[\"/tw/bin/web\",\"--check\"]}]"

Test(deploy_native, faults_are_told_and_the_same_version_is_not_blamed)
{
    static const char *const codes[] = {"deploy.content_type", "deploy.header",
                                        "deploy.log_flood",    "deploy.stop",
                                        "deploy.rollback",     "deploy.leak"};
    struct tw_issues same = {0}, faulty = {0};
    struct tw_deployed seen = deploy("same", "greeting=3", CHECKS, &same);

    cr_expect(seen.new_started && seen.requests > 30, "%lld", (long long)seen.requests);
    cr_expect(tw_streq(seen.of.rollback, "restored"), "%s", seen.of.rollback);
    for (size_t i = 0; i < TW_COUNT_OF(codes); i++)
        cr_expect(!told(&same, codes[i]), "%s", codes[i]);
    cr_expect(!told(&same, "deploy.smoke") && !told(&same, "deploy.smoke_before"));
    cr_expect(seen.of.smoke.count == 3 && seen.of.exit_before == 0 &&
              seen.of.exit_after == 0);

    seen = deploy("faulty",
                  "content_type,header,log_flood=9,ignore_term,data_format,leak=262144",
                  CHECKS, &faulty);
    cr_expect(seen.new_started && tw_streq(seen.of.rollback, "not restored"));
    for (size_t i = 0; i < TW_COUNT_OF(codes); i++)
        cr_expect(told(&faulty, codes[i]), "%s", codes[i]);
}

Test(deploy_native, a_version_that_ends_at_once_is_told_in_its_words)
{
    struct tw_issues issues = {0};
    struct tw_deployed seen = deploy("gone", "no_such_fault", "[]", &issues);

    cr_expect(!seen.new_started);
    cr_assert(told(&issues, "deploy.start"));
    cr_expect(strstr(issues.list.items[0].evidence, "no_such_fault") != NULL, "%s",
              issues.list.items[0].evidence);
}
