/* The configuration languages of nginx and HAProxy: cases are folders of tests/data. */
#include "world/service/kind_haproxy/kind_haproxy_internal.h"
#include "world/service/kind_nginx/kind_nginx_internal.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *read_case(const char *topic, const char *name, const char *file)
{
    tw_auto_free char *path = tw_strf("tests/data/%s/%s/%s", topic, name, file);
    char *text = NULL;

    cr_assert(tw_read_file(AT_FDCWD, path, 1 << 20, &text, NULL, NULL) == 0, "%s", path);
    return text;
}

static void show_nginx(struct tw_arena *a, const char *text, struct tw_buf *out)
{
    struct nginx_conf c;

    nginx_conf_text(a, "", "/etc/nginx/nginx.conf", text, &c);
    for (size_t i = 0; i < c.list.count; i++) {
        const struct nginx_directive *d = &c.list.items[i];

        tw_buf_printf(out, "%d %s %s", d->line, nginx_context(a, &c, d->parent), d->name);
        for (size_t k = 0; k < d->args.count; k++)
            tw_buf_printf(out, " [%s]", d->args.items[k]);
        tw_buf_puts(out, d->block ? " {}\n" : "\n");
    }
}

static void show_haproxy(struct tw_arena *a, const char *text, struct tw_buf *out)
{
    struct haproxy_conf c;

    haproxy_conf_text(a, "/etc/haproxy/haproxy.cfg", text, &c);
    for (size_t i = 0; i < c.list.count; i++) {
        const struct haproxy_line *l = &c.list.items[i];

        tw_buf_printf(out, "%d %s", l->line,
                      haproxy_section(a, &c, l->section < 0 ? (int)i : l->section));
        for (size_t k = 0; l->section >= 0 && k < l->words.count; k++)
            tw_buf_printf(out, " [%s]", l->words.items[k]);
        tw_buf_puts(out, "\n");
    }
}

static void expect_cases(const char *topic,
                         void (*show)(struct tw_arena *, const char *, struct tw_buf *))
{
    tw_auto_free char *path = tw_strf("tests/data/%s", topic);
    DIR *dir = opendir(path);
    int count = 0;

    cr_assert(dir != NULL, "run the tests from the top of the tree");
    for (struct dirent *e; (e = readdir(dir));) {
        tw_auto(tw_arena) *a = tw_arena_new();
        tw_auto_buf out = {0};

        if (e->d_name[0] == '.')
            continue;
        tw_auto_free char *input = read_case(topic, e->d_name, "input");
        tw_auto_free char *expect = read_case(topic, e->d_name, "expect");

        tw_buf_init(&out, 1 << 20);
        show(a, input, &out);
        cr_expect_str_eq(tw_buf_text(&out), expect, "%s:\n%s", e->d_name,
                         tw_buf_text(&out));
        count++;
    }
    (void)closedir(dir);
    cr_expect(count > 0);
}

Test(service_web_conf, nginx_is_read_as_nginx_reads_it)
{
    expect_cases("nginx_conf", show_nginx);
}

Test(service_web_conf, haproxy_is_read_as_haproxy_reads_it)
{
    expect_cases("haproxy_conf", show_haproxy);
}

static void put(const char *dir, const char *name, const char *text)
{
    tw_auto_free char *path = tw_strf("%s/%s", dir, name);

    cr_assert(tw_write_file(path, text, strlen(text), 0644, NULL) == 0);
}

Test(service_web_conf,
     includes_are_followed_in_order_nested_and_through_links_inside_the_root)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    char root[] = "/tmp/twin-unit-XXXXXX";
    tw_auto_free char *conf = NULL;
    struct nginx_conf c;

    cr_assert(mkdtemp(root));
    conf = tw_strf("%s/etc/nginx/sites", root);
    cr_assert(tw_make_dirs(conf, 0755, NULL) == 0);
    put(root, "etc/nginx/nginx.conf",
        "http { include sites/*; include gone.conf; include x?; }");
    put(root, "etc/nginx/sites/b", "server { include /etc/nginx/inner; }");
    put(root, "etc/nginx/inner", "listen 81;");
    put(root, "etc/nginx/real", "gzip on;");
    tw_auto_free char *link = tw_strf("%s/etc/nginx/sites/a", root);
    cr_assert(symlink("/etc/nginx/real", link) == 0);
    nginx_conf_read(a, root, "/etc/nginx/nginx.conf", &c);
    cr_assert_eq(c.files.count, 4U);
    cr_expect_str_eq(c.files.items[1], "/etc/nginx/sites/a");
    cr_expect_str_eq(c.files.items[3], "/etc/nginx/inner");
    cr_assert_eq(c.missing.count, 1U);
    cr_expect_str_eq(c.missing.items[0].path, "/etc/nginx/gone.conf");
    cr_expect(nginx_child(&c, 0, "gzip") != NULL);
    (void)tw_remove_tree(root, NULL);
}

Test(service_web_conf, a_listen_line_is_an_address_a_port_and_a_protocol)
{
    static const struct {
        char listen[40], protocol[8], address[20];
        int port;
    } rows[] = {{"80", "http", "0.0.0.0", 80},
                {"*:8080", "http", "0.0.0.0", 8080},
                {"127.0.0.1", "http", "127.0.0.1", 80},
                {"[::]:443 ssl http2", "https", "::", 443},
                {"unix:/run/x.sock", "http", "/run/x.sock", 0}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct nginx_conf c;
        struct service_needs n = {0};

        nginx_conf_text(
            a, "", "/x/y.conf",
            tw_arena_printf(a, "http { server { listen %s; } }", rows[i].listen), &c);
        nginx_endpoints(a, &c, &n);
        cr_assert_eq(n.endpoints.count, 1U, "%s", rows[i].listen);
        cr_expect_str_eq(n.endpoints.items[0].protocol, rows[i].protocol, "%s",
                         rows[i].listen);
        cr_expect_str_eq(n.endpoints.items[0].address, rows[i].address, "%s",
                         rows[i].listen);
        cr_expect_eq(n.endpoints.items[0].port, rows[i].port, "%s", rows[i].listen);
    }
}

Test(service_web_conf,
     neighbours_are_servers_of_upstreams_and_addresses_that_are_passed_to)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_snapshot s = {.config_file = "/x/y.conf"};
    struct nginx_conf c;
    struct service_needs n = {0};

    nginx_conf_text(
        a, "", "/x/y.conf",
        "http { upstream app { server 10.0.0.1:8000 weight=2; server b.example; }\n"
        "server { location / { proxy_pass http://app; }\n"
        "location /x { proxy_pass https://c.example/y; }\n"
        "location /v { proxy_pass http://$host; }\n"
        "location /f { fastcgi_pass unix:/run/php.sock; } } }",
        &c);
    nginx_needs(a, &c, &s, &n);
    cr_assert_eq(n.neighbours.count, 4U);
    cr_expect_str_eq(n.neighbours.items[0].address, "10.0.0.1");
    cr_expect_eq(n.neighbours.items[0].port, 8000);
    cr_expect_str_eq(n.neighbours.items[1].address, "b.example");
    cr_expect_str_eq(n.neighbours.items[2].address, "c.example");
    cr_expect_eq(n.neighbours.items[2].port, 443);
    cr_expect_str_eq(n.neighbours.items[3].address, "/run/php.sock");
}

Test(service_web_conf, a_setting_is_found_by_its_context_and_ambiguity_is_told)
{
    static const struct {
        char name[48];
        int result, line;
        char says[40];
    } rows[] = {
        {"gzip", 0, 2, ""},
        {"http.gzip", 0, 2, ""},
        {"http.server:a.example.listen", 0, 3, ""},
        {"server#2.listen", 0, 4, ""},
        {"listen", -EINVAL, 0, "several places"},
        {"http.server:c.listen", -EINVAL, 0, "no block"},
        {"location:/x.gzip", 0, 4, ""},
    };
    tw_auto(tw_arena) *a = tw_arena_new();
    struct nginx_conf c;

    nginx_conf_text(
        a, "", "/x/y.conf",
        "events { }\nhttp { gzip on;\nserver { server_name a.example; listen 80; }\n"
        "server { listen 81; location /x { gzip off; } } }",
        &c);
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct nginx_spot spot;
        struct tw_err err = {0};
        int r = nginx_find_spot(a, &c, "/nonexistent", rows[i].name, &spot, &err);

        cr_expect_eq(r, rows[i].result, "%s: %s", rows[i].name, err.text);
        if (r == 0)
            cr_expect_eq(c.list.items[spot.directive].line, rows[i].line, "%s",
                         rows[i].name);
        else
            cr_expect(strstr(err.text, rows[i].says) != NULL, "%s: %s", rows[i].name,
                      err.text);
    }
}

Test(service_web_conf, a_setting_of_haproxy_is_found_by_section_and_keyword)
{
    static const struct {
        char name[48];
        int result, line;
    } rows[] = {{"global.maxconn", 0, 2},
                {"defaults.timeout client", 0, 5},
                {"timeout server", 0, 6},
                {"maxconn", -EINVAL, 0},
                {"backend:app.v1.server s1", 0, 8},
                {"backend:app.v1.balance", 0, -1},
                {"backend:none.balance", -EINVAL, 0}};
    tw_auto(tw_arena) *a = tw_arena_new();
    struct haproxy_conf c;

    haproxy_conf_text(a, "/x.cfg",
                      "global\n maxconn 10\ndefaults\n maxconn 5\n timeout client 1s\n"
                      " timeout server 1s\nbackend app.v1\n server s1 1.2.3.4:80\n",
                      &c);
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct haproxy_spot spot;
        struct tw_err err = {0};
        int r = haproxy_find_spot(a, &c, rows[i].name, &spot, &err);

        cr_expect_eq(r, rows[i].result, "%s: %s", rows[i].name, err.text);
        if (r == 0)
            cr_expect_eq(spot.line < 0 ? -1 : c.list.items[spot.line].line, rows[i].line,
                         "%s", rows[i].name);
    }
}

Test(service_web_conf, times_of_haproxy_are_milliseconds_unless_a_unit_says_otherwise)
{
    cr_expect_float_eq(haproxy_seconds("5000"), 5, 1e-9);
    cr_expect_float_eq(haproxy_seconds("100ms"), 0.1, 1e-9);
    cr_expect_float_eq(haproxy_seconds("2m"), 120, 1e-9);
    cr_expect(isnan(haproxy_seconds("soon")));
}

Test(service_web_conf, counters_of_haproxy_tell_of_one_server_that_has_all_the_work)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct haproxy_stats stats;
    struct tw_issues issues = {0};

    haproxy_read_stats(
        a,
        "# pxname,svname,qcur,qmax,scur,smax,slim,stot,econ,wretr,status,weight,act\n"
        "web,FRONTEND,,,3,10,10,200,,,OPEN,,\n"
        "app,s1,0,0,0,5,,0,0,0,UP,1,1\n"
        "app,s2,0,0,0,5,,200,0,0,UP,1,1\n"
        "app,BACKEND,0,4,0,5,20,200,0,0,UP,2,2\n",
        &stats);
    cr_assert_eq(stats.list.count, 4U);
    haproxy_judge_stats(a, &stats, &issues);
    cr_assert_eq(issues.list.count, 3U);
    cr_expect_str_eq(issues.list.items[0].code, "limit.connections");
    cr_expect_str_eq(issues.list.items[1].code, "balance.skewed");
    cr_expect_str_eq(issues.list.items[2].code, "queue.waits");
}

static size_t lost_lines(const char *location, bool stood)
{
    static const char around[] = "http { add_header A 1; add_header B 2; server { location / { %s } } }";
    tw_auto(tw_arena) *a = tw_arena_new();
    struct nginx_conf before, now;
    struct tw_issues issues = {0};
    int block = -1;

    nginx_conf_text(a, "", "/etc/nginx/nginx.conf", tw_arena_printf(a, around, stood ? location : ""), &before);
    nginx_conf_text(a, "", "/etc/nginx/nginx.conf", tw_arena_printf(a, around, location), &now);
    for (size_t i = 0; i < now.list.count; i++)
        if (nginx_is(&now.list.items[i], "location"))
            block = (int)i;
    nginx_judge_inherited(a, &before, block, &now, block, &issues);
    return issues.list.count;
}

/* One header more in a block ends those around it, unless they are said again or were ended before. */
Test(service_web_conf, a_header_of_its_own_ends_the_inherited_ones)
{
    cr_expect_eq(lost_lines("add_header C 3;", false), 1);
    cr_expect_eq(lost_lines("add_header a 1; add_header b 2; add_header C 3;", false), 0);
    cr_expect_eq(lost_lines("add_header C 3;", true), 0);
    cr_expect_eq(lost_lines("proxy_set_header C 3;", false), 0);
}
