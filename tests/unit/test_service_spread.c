/* Balancers' lists of servers, read and written as an operator would. */
#include "service/kind_haproxy/kind_haproxy_internal.h"
#include "service/kind_nginx/kind_nginx_internal.h"

#include <criterion/criterion.h>

static const int ports[] = {8080, 20001, 20002};

Test(service_spread, haproxy_servers_are_counted_and_replaced_in_their_section_alone)
{
    static const char conf[] = "global\n    maxconn 10\n"
                               "backend app\n    balance leastconn\n"
                               "    server s1 127.0.0.1:8080 check weight 3\n"
                               "    server s2 127.0.0.1:8081 check\n"
                               "backend other\n    server s1 10.0.0.7:9000\n";
    tw_auto(tw_arena) *a = tw_arena_new();
    int today;
    const char *text = haproxy_spread_text(a, conf, 8080, ports, 3, &today);

    cr_expect_eq(today, 2);
    cr_expect_str_eq(text, "global\n    maxconn 10\n"
                           "backend app\n    balance leastconn\n"
                           "    server s1 127.0.0.1:8080 check weight 3\n"
                           "    server s1-2 127.0.0.1:20001 check weight 3\n"
                           "    server s1-3 127.0.0.1:20002 check weight 3\n"
                           "backend other\n    server s1 10.0.0.7:9000\n");
}

Test(service_spread, haproxy_without_that_port_is_left_as_it_is)
{
    static const char conf[] = "backend app\n    server s1 127.0.0.1:8081 check\n"
                               "    server-template t 3 127.0.0.1:8080\n";
    tw_auto(tw_arena) *a = tw_arena_new();
    int today;

    cr_expect_str_eq(haproxy_spread_text(a, conf, 8080, ports, 3, &today), conf);
    cr_expect_eq(today, 0);
}

Test(service_spread, nginx_upstreams_keep_their_other_words)
{
    static const char conf[] =
        "http {\n# upstream old { server 127.0.0.1:8080; }\n"
        "  upstream app {\n    least_conn;\n    server 127.0.0.1:8080 weight=2;\n    keepalive 8;\n"
        "  }\n  server { listen 80; location / { proxy_pass http://app; } }\n}\n";
    tw_auto(tw_arena) *a = tw_arena_new();
    int today;
    const char *text = nginx_spread_text(a, conf, 8080, ports, 2, &today);

    cr_expect_eq(today, 1);
    cr_expect(strstr(text, "# upstream old { server 127.0.0.1:8080; }"));
    cr_expect(strstr(text, "server 127.0.0.1:8080 weight=2;\n    server 127.0.0.1:20001 weight=2;"),
              "%s", text);
    cr_expect(strstr(text, "least_conn;") && strstr(text, "keepalive 8;"));
    cr_expect(strstr(text, "proxy_pass http://app;"));
}

Test(service_spread, nginx_in_front_of_somebody_else_does_not_lead_there)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    int today;

    (void)nginx_spread_text(a, "upstream app { server 127.0.0.1:9000; }", 8080, ports, 2, &today);
    cr_expect_eq(today, 0);
    (void)nginx_spread_text(a, "upstream app { server 127.0.0.1:9000; ", 9000, ports, 2, &today);
    cr_expect_eq(today, 0, "a block without an end is none");
}
