/* Who may come in, and the path between two services: changed on real services, and everything gone afterwards. */
#include "live.h"

static const char web_conf[] = "user www-data;\nworker_processes 1;\npid %1$s/web/nginx.pid;\n"
                               "error_log %1$s/web/error.log;\n"
                               "events { worker_connections 512; }\n"
                               "http { access_log off; server { listen 18095; "
                               "root %1$s/web/www; location / { } } }\n";
static const char lb_conf[] =
    "global\n    maxconn 500\n"
    "defaults\n    mode http\n    timeout connect 2s\n    timeout client 10s\n    timeout server 10s\n"
    "frontend front\n    bind :18094\n    default_backend app\n"
    "backend app\n    server s1 127.0.0.1:18095\n";

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

    strcpy(l.top, "/var/tmp/twin-network-XXXXXX"); /* a sandbox has a /tmp of its own */
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

static double mean_of(const struct live_answer *got, const char *when)
{
    const json_t *impact = json_object_get(got->json, "predicted_impact");
    const json_t *mean = json_object_get(json_object_get(impact, "performance"), "mean_ms");

    return json_number_value(json_object_get(mean, when));
}

/* The path is longer in the candidate's arm only, and by what was asked for. */
Test(run_network, a_longer_path_is_measured_at_the_front, .init = open_path, .fini = close_path)
{
    struct live_answer got;

    live_twin(&l, &got, "run", "--type", "network", "--target", "lb", "--set", "to=web", "--set", "latency=40ms",
              "--rate", "50", "-o", "json", "-q");
    cr_assert(got.json, "%s", got.err);
    cr_expect(got.exit_code == 3 || got.exit_code == 4, "%d: %s", got.exit_code, got.err);
    cr_expect(live_issue(&got, "path.made"), "%s", got.out);
    cr_expect(!live_issue(&got, "path.timeout"), "%s", got.out);
    if (!live_issue(&got, "path.not_crossed"))
        cr_expect(mean_of(&got, "after") > 35, "%s", got.out);
    live_answer_done(&got);
}

/* Arithmetic needs no load: time-outs of the other end, and what cannot be meant is refused. */
Test(run_network, time_outs_and_mistakes_are_told, .init = open_path, .fini = close_path)
{
    static const struct {
        const char *set;
        int exit_code;
        const char *code; /* of an issue; NULL: bad input */
    } rows[] = {{"partition=true", 3, "path.timeout"},
                {"idle_timeout=24h", 0, "path.idle"},
                {"latency=20", 2, NULL},
                {"latancy=20ms", 2, NULL}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct live_answer got;

        live_twin(&l, &got, "run", "--type", "network", "--target", "lb", "--set", "to=web", "--set", rows[i].set, "-o",
                  "json", "-q");
        cr_expect_eq(got.exit_code, rows[i].exit_code, "%s: %d: %s%s", rows[i].set, got.exit_code, got.out, got.err);
        if (rows[i].code)
            cr_expect(live_issue(&got, rows[i].code), "%s: %s", rows[i].set, got.out);
        live_answer_done(&got);
    }
}
