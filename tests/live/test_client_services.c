/* Clients tried for real: one nginx and one Redis play both arms, by ports of their own. */
#include "load_service.h"

#include "tw/client.h"

static struct service service;
static struct tw_arena *arena;

static void open_arena(void)
{
    arena = tw_arena_new();
}

static void close_all(void)
{
    service_stop(&service);
    tw_arena_free(arena);
}

TestSuite(client_services, .init = open_arena, .fini = close_all, .timeout = 60);

/* The answers of all cases, the arms being two ports of this host. */
static void try_both(const struct tw_clients *cases, int before, int after,
                     double deadline_s, struct tw_client_answers ret[TW_ARM_COUNT])
{
    struct tw_client_session_spec spec = {
        .plain = true,
        .way = {{.address = "127.0.0.1", .port = before},
                {.address = "127.0.0.1", .port = after}}};
    struct tw_client_session *session;
    struct tw_err err = {0};

    cr_assert_eq(tw_client_open(&spec, &session, &err), 0, "%s", err.text);
    cr_assert_eq(tw_client_try(session, arena, cases, deadline_s, false, ret, &err), 0,
                 "%s", err.text);
    tw_client_close(session);
}

static void expect(const struct tw_client_answers ret[TW_ARM_COUNT], size_t i,
                   enum tw_client_end before, enum tw_client_end after)
{
    const enum tw_client_end wanted[] = {before, after};

    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        const struct tw_client_answer *w = &ret[arm].list.items[i];

        cr_expect_eq(w->end, wanted[arm], "case %zu, %s: %s, %s", i, tw_arm_names[arm],
                     tw_client_end_names[w->end], w->words ? w->words : "no words");
    }
}

static void add(struct tw_clients *cases, struct tw_client c)
{
    TW_PUSH(arena, &cases->list, c);
}

Test(client_services, redis_tells_who_may_enter_and_write)
{
    tw_auto_free char *command = NULL;
    struct tw_client_answers got[TW_ARM_COUNT];
    struct tw_clients cases = {0};
    int port, nobody;

    if (access("/usr/bin/redis-server", X_OK) != 0)
        cr_skip_test("needs redis-server");
    service_dir(&service);
    port = service_port();
    nobody = service_port();
    command = tw_strf("/usr/bin/redis-server --port %d --bind 127.0.0.1 --save '' "
                      "--requirepass secret",
                      port);
    service_start(&service, command);
    service_wait(&service, port);
    add(&cases, (struct tw_client){.protocol = "redis", .password = "secret"});
    add(&cases, (struct tw_client){.protocol = "redis", .origin = "stranger"});
    add(&cases, (struct tw_client){.protocol = "redis", .password = "wrong"});
    add(&cases, (struct tw_client){.protocol = "tcp", .source = "127.0.0.9"});
    try_both(&cases, port, nobody, 10, got);
    expect(got, 0, TW_CLIENT_SERVED, TW_CLIENT_NO_WAY);
    expect(got, 1, TW_CLIENT_DENIED, TW_CLIENT_NO_WAY);
    expect(got, 2, TW_CLIENT_DENIED, TW_CLIENT_NO_WAY);
    expect(got, 3, TW_CLIENT_SERVED, TW_CLIENT_NO_WAY);
    cr_expect_str_eq(got[0].list.items[1].code, "NOAUTH");
    cr_expect_str_eq(got[0].list.items[2].code, "WRONGPASS");
    cr_expect(got[0].list.items[0].replies.items[1].ok, "it wrote");
}

static void start_nginx(int plain, int narrow, int modern, int old)
{
    tw_auto_free char *conf = tw_strf(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;\n"
        "events {}\nhttp { access_log off; client_body_temp_path b; proxy_temp_path p;\n"
        "fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n"
        "server { listen 127.0.0.1:%d; location / { return 200 all; } }\n"
        "server { listen 127.0.0.1:%d; large_client_header_buffers 2 1k;\n"
        "  client_header_buffer_size 1k; location / { return 200 all; }\n"
        "  location /gone { return 404; } }\n"
        "server { listen 127.0.0.1:%d ssl; ssl_protocols TLSv1.3; location / { return "
        "200; } }\n"
        "server { listen 127.0.0.1:%d ssl; ssl_protocols TLSv1.2; location / { return "
        "200; } }\n"
        "ssl_certificate c.pem; ssl_certificate_key k.pem; }\n",
        plain, narrow, modern, old);
    tw_auto_free char *make = tw_strf(
        "cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
        "-days 3 -keyout k.pem -out c.pem -subj /CN=shop.test -addext "
        "subjectAltName=DNS:shop.test 2>/dev/null",
        service.dir);
    tw_auto_free char *command = NULL;

    service_write(&service, "nginx.conf", conf);
    cr_assert_eq(system(make), 0);
    command = tw_strf("/usr/sbin/nginx -p %s/ -c nginx.conf -e stderr", service.dir);
    service_start(&service, command);
    service_wait(&service, plain);
}

Test(client_services, nginx_tells_headers_tls_and_names)
{
    struct tw_client_answers got[TW_ARM_COUNT];
    struct tw_clients web = {0}, tls = {0};
    int port[4];
    char *ca;

    if (access("/usr/sbin/nginx", X_OK) != 0 || geteuid() != 0)
        cr_skip_test("needs nginx and root");
    service_dir(&service);
    for (size_t i = 0; i < TW_COUNT_OF(port); i++)
        port[i] = service_port();
    start_nginx(port[0], port[1], port[2], port[3]);
    ca = tw_arena_printf(arena, "%s/c.pem", service.dir);

    add(&web, (struct tw_client){.protocol = "http", .path = "/"});
    add(&web, (struct tw_client){.protocol = "http", .path = "/", .header_bytes = 3000});
    add(&web, (struct tw_client){.protocol = "http", .path = "/gone"});
    try_both(&web, port[0], port[1], 10, got);
    for (size_t i = 0; i < web.list.count; i++)
        expect(got, i, TW_CLIENT_SERVED, TW_CLIENT_SERVED);
    cr_expect(got[1].list.items[0].replies.items[0].ok);
    cr_expect_str_eq(got[1].list.items[1].replies.items[0].code, "400");
    cr_expect_str_eq(got[0].list.items[2].replies.items[0].code, "200");
    cr_expect_str_eq(got[1].list.items[2].replies.items[0].code, "404");

    add(&tls, (struct tw_client){.protocol = "tls", .tls_max = "1.2"});
    add(&tls, (struct tw_client){.protocol = "tls", .tls_min = "TLSv1.3"});
    add(&tls,
        (struct tw_client){.protocol = "tls", .ca_file = ca, .server_name = "shop.test"});
    add(&tls, (struct tw_client){
                  .protocol = "tls", .ca_file = ca, .server_name = "other.test"});
    try_both(&tls, port[3], port[2], 10, got);
    expect(got, 0, TW_CLIENT_SERVED, TW_CLIENT_NO_TLS);
    expect(got, 1, TW_CLIENT_NO_TLS, TW_CLIENT_SERVED);
    expect(got, 2, TW_CLIENT_SERVED, TW_CLIENT_SERVED);
    expect(got, 3, TW_CLIENT_NO_TLS, TW_CLIENT_NO_TLS);
    cr_expect_str_eq(got[0].list.items[2].tls_version, "TLSv1.2");
    cr_expect_str_eq(got[0].list.items[2].names, "shop.test");
}
