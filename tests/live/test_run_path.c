/* A path: a change at a web server, judged through the load balancer in front of it. */
#include "live.h"

static const char web_conf[] = "user www-data;\nworker_processes 1;\npid %1$s/web/nginx.pid;\n"
                               "error_log %1$s/web/error.log;\n"
                               "events { worker_connections 512; }\n"
                               "http { access_log %1$s/web/access.log; server { listen 18088; "
                               "root %1$s/web/www; location / { } } }\n";
static const char lb_conf[] =
    "global\n    maxconn 500\n    log stdout format raw local0\n"
    "defaults\n    mode http\n    timeout connect 2s\n    timeout client 10s\n"
    "    timeout server 10s\n    log global\n"
    "frontend front\n    bind :18080\n    default_backend app\n"
    "backend app\n    server s1 127.0.0.1:18088 check\n";

static struct live l;

static void write_text(const char *name, const char *text)
{
    tw_auto_free char *path = tw_strf("%s/%s", l.top, name);

    cr_assert_eq(tw_write_file(path, text, strlen(text), 0644, NULL), 0, "%s", path);
}

static void add(const char *name, const char *type, const char *config)
{
    tw_auto_free char *path = tw_strf("%s/%s", l.top, config);
    struct live_answer got;

    live_twin(&l, &got, "env", "add", name, "--type", type, "--config", path);
    cr_assert_eq(got.exit_code, 0, "%s", got.err);
    live_answer_done(&got);
}

static void open_path(void)
{
    tw_auto_free char *web = NULL, *dir = NULL;

    /* not below /tmp: a sandbox has one of its own there */
    strcpy(l.top, "/var/tmp/twin-path-XXXXXX");
    cr_assert(mkdtemp(l.top));
    cr_assert_eq(chmod(l.top, 0755), 0);
    tw_buf_init(&l.ids, 1 << 20);
    l.state = tw_strf("%s/state", l.top);
    l.data = tw_strf("%s", l.top);
    dir = tw_strf("mkdir -p %s/web/www %s/lb", l.top, l.top);
    cr_assert_eq(system(dir), 0);
    web = tw_strf(web_conf, l.top);
    write_text("web/nginx.conf", web);
    write_text("web/www/index.html", "hello\n");
    write_text("lb/haproxy.cfg", lb_conf);
    add("web", "nginx", "web/nginx.conf");
    add("lb", "haproxy", "lb/haproxy.cfg");
}

static void close_path(void)
{
    tw_buf_done(&l.ids);
    (void)tw_remove_tree(l.top, NULL);
    free(l.state);
    free(l.data);
}

/* Neighbours are cloned with the target, load comes in at the front, and what another hop says
 * of the change is among the findings. */
Test(run_path, a_change_is_judged_at_the_front_and_at_every_hop, .init = open_path,
     .fini = close_path)
{
    struct live_answer got;
    bool of_neighbour = false;
    json_t *issue;
    size_t i;

    live_twin(&l, &got, "run", "--target", "web", "--set", "events.worker_connections=16",
              "--connections", "50", "-o", "json", "-q");
    cr_expect_eq(got.exit_code, 3, "%d: %s%s", got.exit_code, got.out, got.err);
    cr_expect(live_issue(&got, "limit.connections"), "%s", got.out);
    cr_expect(live_issue(&got, "load.errors"), "%s", got.out);
    json_array_foreach (
        json_object_get(json_object_get(got.json, "predicted_impact"), "issues"), i, issue)
        of_neighbour |= strstr(live_text(issue, "title"), "neighbour 'lb'") != NULL;
    cr_expect(of_neighbour, "%s", got.out);
    live_answer_done(&got);
    cr_expect_eq(live_leftovers(&l), 0);
}
