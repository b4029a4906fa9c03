/* HTTP against a real nginx: answers, failures, TLS, time-outs, many connections. */
#include "load_service.h"

#include <math.h>

static struct service nginx;
static struct tw_arena *arena;
static struct tw_load *load;
static int port, tls_port;

/* The directory is the prefix, so that nothing of the system's nginx is touched. */
static void open_nginx(void)
{
    tw_auto_free char *conf = NULL, *command = NULL;

    if (access("/usr/sbin/nginx", X_OK) != 0 || geteuid() != 0)
        cr_skip_test("needs nginx and root");
    arena = tw_arena_new();
    service_dir(&nginx);
    port = service_port();
    do
        tls_port = service_port();
    while (tls_port == port);
    conf =
        tw_strf("daemon off; master_process off; pid nginx.pid; error_log error.log;\n"
                "events { worker_connections 400; }\n"
                "http {\n"
                "  access_log off; keepalive_timeout 2s; keepalive_requests 100;\n"
                "  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;\n"
                "  uwsgi_temp_path t4; scgi_temp_path t5;\n"
                "  server {\n"
                "    listen 127.0.0.1:%d; listen 127.0.0.1:%d ssl http2;\n"
                "    ssl_certificate cert.pem; ssl_certificate_key key.pem;\n"
                "    location = / { return 200 \"front\\n\"; }\n"
                "    location /big { alias big; }\n"
                "    location /busy { return 503 \"<h1>no room</h1> come back\"; }\n"
                "    location /shut { return 444; }\n"
                "    location /old { return 301 /new; }\n"
                "    location /post { client_max_body_size 1k; return 204; }\n"
                "    location /host { return 200 $host; }\n"
                "  }\n"
                "}\n",
                port, tls_port);
    service_write(&nginx, "nginx.conf", conf);
    command = tw_strf("cd %s && head -c 300000 /dev/urandom >big && "
                      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
                      "-nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost "
                      "2>/dev/null",
                      nginx.dir);
    cr_assert(system(command) == 0);
    free(tw_take_ptr(&command));
    command = tw_strf("/usr/sbin/nginx -p %s -c nginx.conf -e error.log", nginx.dir);
    service_start(&nginx, command);
    service_wait(&nginx, port);
}

static void close_nginx(void)
{
    tw_load_close(load);
    service_stop(&nginx);
    tw_arena_free(arena);
}

TestSuite(load_http, .init = open_nginx, .fini = close_nginx, .timeout = 60);

static struct tw_load_item item_of(const char *sent, int expect)
{
    struct tw_load_item item = {.name = sent, .weight = 1};
    struct tw_load_statement statement = {.sql = sent, .expect = expect};

    TW_PUSH(arena, &item.statements, statement);
    return item;
}

static const char *endpoint(int to, const char *more)
{
    return tw_arena_printf(arena, "address=127.0.0.1 port=%d %s", to, more);
}

/* One item after the other, closed loop for a moment: what was done, refused, and said. */
static struct tw_slot send_one(const char *driver, const char *where, const char *sent,
                               int expect, struct tw_load_failures *failures)
{
    struct tw_load_mix *mix = tw_arena_alloc(arena, sizeof *mix);
    struct tw_load_spec spec = {.mix = mix, .conninfo = {where, NULL}, .connections = 4};
    struct tw_slot slot;

    mix->driver = driver;
    TW_PUSH(arena, &mix->items, item_of(sent, expect));
    slot = service_try(&spec, 50 * TW_MSEC_NS, arena, &load, failures);
    cr_expect_eq(slot.sent, slot.done + slot.errors + slot.late, "%s %s", driver, sent);
    return slot;
}

Test(load_http, answers_are_told_from_failures)
{
    static const struct {
        const char *sent;
        int expect;
        const char *code, *text; /* NULL: it is an answer */
    } rows[] = {
        {"GET /", 0, NULL, NULL},
        {"GET /", 200, NULL, NULL},
        {"GET /big", 200, NULL, NULL},
        {"HEAD /big", 200, NULL, NULL},
        {"GET /old", 0, NULL, NULL},
        {"GET /old", 200, "301", "Moved Permanently"},
        {"GET /none", 0, "404", "Not Found"},
        {"GET /none", 404, NULL, NULL},
        {"GET /busy", 0, "503", "no room come back"},
        {"GET /shut", 0, "closed", "closed by the server without an answer"},
        {"POST /post\n\nbody", 204, NULL, NULL},
        {"GET /host\nHost: shop.example", 200, NULL, NULL},
    };
    static const char *const drivers[] = {"http", "http", "http", "http2", "http2"};
    const char *where[] = {endpoint(port, "device=lo source=127.0.0.7"),
                           endpoint(port, "keepalive=0"), endpoint(tls_port, "tls=1"),
                           endpoint(tls_port, "tls=1 streams=3"),
                           endpoint(tls_port, "tls=1 streams=1")};

    for (size_t d = 0; d < TW_COUNT_OF(drivers); d++)
        for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
            struct tw_load_failures f;
            struct tw_slot slot =
                send_one(drivers[d], where[d], rows[i].sent, rows[i].expect, &f);

            if (!rows[i].code) {
                cr_expect(slot.done > 0 && slot.errors == 0,
                          "%s %s: %ld done, %ld errors, %s %s", where[d], rows[i].sent,
                          (long)slot.done, (long)slot.errors,
                          f.list.count ? f.list.items[0].code : "",
                          f.list.count ? f.list.items[0].text : "");
            } else {
                const struct tw_load_failure *one = service_failure(&f, rows[i].code);

                cr_expect(one && strstr(one->text, rows[i].text), "%s %s: %s %s",
                          where[d], rows[i].sent,
                          f.list.count ? f.list.items[0].code : "",
                          f.list.count ? f.list.items[0].text : "no failure");
                cr_expect_eq(slot.done, 0);
            }
            service_slot_free(&slot);
        }
}

/* What the log tells, as a snapshot has it. */
static void log_row(struct tw_snapshot *s, const char *method, const char *path,
                    int status, int64_t count)
{
    struct tw_sample_request r = {.method = method,
                                  .path = path,
                                  .status = status,
                                  .count = count,
                                  .bytes = NAN,
                                  .request_bytes = 600,
                                  .mean_s = NAN,
                                  .upstream_s = NAN,
                                  .upstream_bytes = NAN};

    TW_PUSH(arena, &s->requests, r);
}

Test(load_http, a_mix_is_what_the_log_tells_and_the_baseline_serves)
{
    struct tw_snapshot s;
    struct tw_load_mix mix;
    struct tw_load_spec spec = {.conninfo = {endpoint(port, ""), endpoint(port, "")},
                                .connections = 4};
    struct tw_load_order order = {.rate_per_s = 400, .length_ns = TW_SEC_NS, .seed = 2};
    struct tw_err err = {0};
    struct tw_slot a, b;

    tw_snapshot_init(&s);
    cr_assert(tw_load_mix_make_at(arena, &s, "http", NULL, 0, &spec, &mix, &err) == 0,
              "%s", err.text);
    cr_expect_str_eq(mix.source, "nothing known");
    cr_expect_eq(mix.items.count, 1);

    log_row(&s, "GET", "/", 200, 700);
    log_row(&s, "GET", "/", 304, 100);
    log_row(&s, "POST", "/post", 204, 50);
    log_row(&s, "GET", "/none", 200, 100);
    log_row(&s, "GET", "/busy", 200, 50);
    cr_assert(tw_load_mix_make_at(arena, &s, "http", NULL, 0, &spec, &mix, &err) == 0,
              "%s", err.text);
    cr_expect_eq(mix.items.count, 3, "%zu items", mix.items.count);
    cr_expect_float_eq(mix.coverage, 0.85, 1e-9, "%f", mix.coverage);
    cr_expect_eq(mix.missing.count, 2);
    cr_expect_float_eq(mix.items.items[0].weight, 800.0 / 950, 1e-9);

    spec.mix = &mix;
    cr_assert(tw_load_open(&spec, &load, &err) == 0, "%s", err.text);
    a = service_slot(load, order);
    order.arm = TW_CANDIDATE;
    b = service_slot(load, order);
    cr_expect(fabs((double)a.sent - 400) < 5 * 20, "%ld of 400", (long)a.sent);
    cr_expect_eq(a.sent, b.sent, "both arms get the same requests");
    cr_expect_eq(a.done, a.sent);
    cr_expect_eq(b.done, b.sent);
    service_slot_free(&a);
    service_slot_free(&b);
}

/* keepalive_timeout is 2 s, and there is room for 400 connections in all. */
Test(load_http, idle_time_outs_and_too_many_connections_are_found)
{
    struct tw_load_mix mix = {.driver = "http"};
    struct tw_load_spec spec = {.mix = &mix, .conninfo = {endpoint(port, ""), NULL}};
    const double rungs[] = {0.3, 8, 600};
    struct tw_load_connections_order order = {.clients = 20,
                                              .idle = 20,
                                              .hold_s = 0.2,
                                              .rungs_s = rungs,
                                              .rung_count = 3,
                                              .bound_s = 10};
    struct tw_load_connections many;
    struct tw_err err = {0};

    TW_PUSH(arena, &mix.items, item_of("GET /", 200));
    for (int i = 0; i < 3; i++) { /* a pause of the machine is a rest as well */
        cr_assert(tw_load_connections(arena, &spec, &order, &many, &err) == 0, "%s",
                  err.text);
        if (many.rungs.items[0].result == TW_RUNG_WORKED)
            break;
    }
    cr_expect_eq(many.opened, 43);
    cr_expect(many.done > 0);
    cr_assert_eq(many.rungs.count, 3);
    cr_expect_eq(many.rungs.items[0].result, TW_RUNG_WORKED);
    cr_expect_eq(many.rungs.items[1].result, TW_RUNG_CLOSED);
    cr_expect(many.rungs.items[1].closed_s > 1 && many.rungs.items[1].closed_s < 8, "%f",
              many.rungs.items[1].closed_s);
    cr_expect_str_eq(many.rungs.items[1].code, "closed");
    cr_expect_eq(many.rungs.items[2].result, TW_RUNG_NOT_TRIED);

    order = (struct tw_load_connections_order){.clients = 600, .hold_s = 0.3};
    cr_assert(tw_load_connections(arena, &spec, &order, &many, &err) == 0, "%s",
              err.text);
    cr_expect(many.failures.list.count > 0 && many.errors + many.late > 0,
              "%d opened, %ld done, %ld errors", many.opened, (long)many.done,
              (long)many.errors);
}
