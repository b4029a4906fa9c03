/* Instances behind a balancer: one and two run, as many as asked for are computed. */
#include "path.h"

#include <signal.h>

#define WEB_PORT "21880"
#define LB_PORT  "21881"

static const char lb_conf[] = "global\n    maxconn 500\n    log stdout format raw local0\n"
                              "defaults\n    mode http\n    timeout connect 2s\n"
                              "    timeout client 10s\n    timeout server 10s\n"
                              "frontend front\n    bind :" LB_PORT "\n    default_backend app\n"
                              "backend app\n    balance leastconn\n"
                              "    server s1 127.0.0.1:" WEB_PORT " check\n";

static struct live l;
static pid_t web;

static void start_web(void)
{
    tw_auto_free char *compile = tw_strf("sandbox-images/web/compile %s/bin", l.top);
    tw_auto_free char *program = tw_strf("%s/bin/web", l.top);
    tw_auto_free char *dir = tw_strf("%s/bin", l.top);
    int64_t until = tw_now_ns() + 20 * TW_SEC_NS;

    cr_assert_eq(system(compile), 0);
    web = fork();
    if (web == 0) {
        char *argv[] = {program, NULL}, *env[] = {"PORT=" WEB_PORT, "WORK_US=1000", NULL};

        (void)!chdir(dir);
        (void)execve(program, argv, env);
        _exit(127);
    }
    while (system("curl -fs http://127.0.0.1:" WEB_PORT "/ >/dev/null") != 0 && tw_now_ns() < until)
        tw_sleep_ns(50 * TW_MSEC_NS);
}

static void open_world(void)
{
    struct live_answer got;

    path_dir_open(&l, "scale");
    path_write(&l, "haproxy.cfg", lb_conf);
    path_write(&l, "mix", "GET /\n");
    start_web();
    live_twin(&l, &got, "env", "add", "web", "--type", "generic", "--data", "clone", "--dsn",
              "http://127.0.0.1:" WEB_PORT "/", "--cpus", "0.2");
    cr_assert_eq(got.exit_code, 0, "%s", got.err);
    live_answer_done(&got);
    path_add(&l, "lb", "haproxy", "haproxy.cfg");
}

static void close_world(void)
{
    if (web > 0) {
        (void)kill(web, SIGKILL);
        (void)waitpid(web, NULL, 0);
    }
    path_dir_close(&l);
}

Test(run_scale, many_instances_are_computed_from_one_and_two_that_ran, .init = open_world,
     .fini = close_world)
{
    tw_auto_free char *mix = tw_strf("%s/mix", l.top);
    struct live_answer got;
    const json_t *scaling, *points, *four;

    live_twin(&l, &got, "run", "--type", "scaling", "--target", "web", "--set", "instances=4",
              "--mix", mix, "--connections", "32", "--rate", "50", "--slo", "errors=1%", "-o",
              "json", "-q");
    cr_assert(got.json, "%s%s", got.out, got.err);
    scaling = json_object_get(json_object_get(got.json, "predicted_impact"), "scaling");
    points = json_object_get(scaling, "points");
    four = json_array_get(points, 3);
    cr_expect_eq(json_integer_value(json_object_get(scaling, "instances_before")), 1);
    cr_expect_eq(json_integer_value(json_object_get(scaling, "instances_after")), 4);
    cr_expect_eq(json_integer_value(json_object_get(scaling, "measured_after")), 2, "%s", got.out);
    cr_expect_str_eq(live_text(scaling, "balancer"), "lb");
    cr_expect_str_eq(live_text(four, "limit"), "web");
    cr_expect(json_number_value(json_object_get(json_object_get(four, "capacity_per_s"), "value")) >
              2 * json_number_value(json_object_get(
                      json_object_get(json_array_get(points, 0), "capacity_per_s"), "value")));
    live_answer_done(&got);
    live_twin(&l, &got, "run", "--type", "scaling", "--target", "web", "--set", "instances=0", "-o",
              "json", "-q");
    cr_expect_eq(got.exit_code, 2, "%s", got.out);
    live_answer_done(&got);
    cr_expect_eq(live_leftovers(&l), 0);
}
