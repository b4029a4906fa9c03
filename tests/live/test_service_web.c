/* nginx and HAProxy of Debian's packages in sandboxes: what they say of changes that break and of
 * changes that do not, at a start, at a reload, and while they serve. */
#include "tw/inject.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define UID_BASE 1900000000U
#define START_NS (40 * TW_SEC_NS)
#define UPSTREAM 18099

struct bench {
    char top[32];
    char id[TW_ID_LEN + 1];
    struct tw_arena *a;
    struct tw_priv *priv;
    const struct tw_service_kind *kind;
    struct tw_target target;
    struct tw_snapshot snapshot;
    const char *clone;
    struct tw_twin *twin;
    pid_t keeper;
    int alive;
};
static struct tw_err err;

/* A failed assertion ends a test where it stands: the directory goes in any case, and with the death
 * of the test its sandboxes. */
static void keep(struct bench *b)
{
    int ends[2];
    char byte;

    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    b->keeper = fork();
    if (b->keeper == 0) {
        (void)setsid();
        (void)close(ends[1]);
        while (read(ends[0], &byte, 1) > 0)
            ;
        (void)tw_remove_tree(b->top, NULL);
        _exit(0);
    }
    (void)close(ends[0]);
    b->alive = ends[1];
}

static void put(const struct bench *b, const char *name, const char *text)
{
    tw_auto_free char *path = tw_strf("%s/%s", b->top, name);

    cr_assert_eq(tw_write_file(path, text, strlen(text), 0644, &err), 0, "%s", err.text);
}

static void sh(const char *fmt, ...) TW_PRINTF(1, 2);
static void sh(const char *fmt, ...)
{
    tw_auto_free char *line = NULL;
    va_list ap;

    va_start(ap, fmt);
    cr_assert(vasprintf(&line, fmt, ap) > 0);
    va_end(ap);
    cr_assert_eq(system(line), 0, "%s", line);
}

static void begin(struct bench *b, const char *kind)
{
    if (geteuid() != 0)
        cr_skip_test("needs root");
    *b = (struct bench){.top = "/tmp/twin-web-XXXXXX", .a = tw_arena_new()};
    cr_assert(mkdtemp(b->top));
    cr_assert_eq(chmod(b->top, 0755), 0);
    keep(b);
    sh("cd %s && mkdir state clone conf run logs html && chmod 755 conf run logs html && "
       "echo hello >html/index.html",
       b->top);
    tw_id_make(b->id);
    b->kind = tw_service_kind_find(kind, NULL);
    cr_assert(b->kind);
    b->target = (struct tw_target){.environment = "test", .name = "web", .type = kind};
}

static void copy_again(struct bench *b, const struct tw_plan *plan)
{
    struct tw_issues differences = {0};

    cr_assert_eq(b->kind->refresh(b->a, &b->target, &b->snapshot, plan, b->clone,
                                  UID_BASE, UID_BASE, &differences, &err),
                 0, "%s", err.text);
}

static void open_twin(struct bench *b, const char *config)
{
    const char *state = tw_arena_printf(b->a, "%s/state", b->top);
    struct tw_issues differences = {0};
    struct tw_twin_spec spec;

    b->target.config = tw_arena_printf(b->a, "%s/conf/%s", b->top, config);
    b->clone = tw_arena_printf(b->a, "%s/clone", b->top);
    tw_snapshot_init(&b->snapshot);
    cr_assert_eq(b->kind->snapshot(b->a, &b->target, &b->snapshot, &err), 0, "%s",
                 err.text);
    b->snapshot.environment = "test";
    b->snapshot.target = "web";
    cr_assert_eq(b->kind->seed_fill(b->a, &b->target, &b->snapshot, b->clone, UID_BASE,
                                    UID_BASE, &differences, &err),
                 0, "%s", err.text);
    cr_assert_eq(tw_priv_open(state, b->id, &b->priv, &err), 0, "%s", err.text);
    spec = (struct tw_twin_spec){.id = b->id,
                                 .name = "candidate",
                                 .arm = TW_CANDIDATE,
                                 .kind = b->kind,
                                 .snapshot = &b->snapshot,
                                 .clone_root = b->clone,
                                 .uid = UID_BASE,
                                 .gid = UID_BASE,
                                 .memory_bytes = 512 << 20};
    cr_assert_eq(tw_twin_open(b->priv, &spec, &b->twin, &err), 0, "%s", err.text);
}

static void end(struct bench *b)
{
    tw_twin_close(b->twin);
    tw_priv_close(b->priv);
    (void)close(b->alive);
    (void)waitpid(b->keeper, NULL, 0);
    tw_arena_free(b->a);
}

/* ---- changes judged ---- */

static const char *codes(struct bench *b, const struct tw_issues *issues)
{
    const char *text = " ";

    for (size_t i = 0; i < issues->list.count; i++)
        text = tw_arena_printf(b->a, "%s%s ", text, issues->list.items[i].code);
    return text;
}

static const char *evidence(struct bench *b, const struct tw_issues *issues)
{
    const char *text = "";

    for (size_t i = 0; i < issues->list.count; i++)
        text = tw_arena_printf(b->a, "%s\n  %s: %s", text, issues->list.items[i].code,
                               issues->list.items[i].evidence);
    return text;
}

struct change {
    const char *set, *value; /* a setting */
    const char *file, *text; /* or a file below conf/ */
    const char *expect;      /* codes, each of them; NULL: none at all */
    const char *says;        /* in some evidence; NULL */
    bool refused;            /* bad input: says what */
};

static void plan_change(struct bench *b, const struct change *c, struct tw_plan *plan,
                        int *ret)
{
    struct tw_request r;
    struct tw_issues issues = {0};

    tw_request_init(&r);
    if (c->set)
        TW_PUSH(b->a, &r.settings, (struct tw_setting_change){c->set, c->value, "--set"});
    else
        TW_PUSH(b->a, &r.files,
                (struct tw_file_change){
                    .path = c->file, .content = c->text, .origin = "new"});
    err = (struct tw_err){0};
    *ret = b->kind->validate(b->a, &b->snapshot, &r, &issues, &err);
    if (*ret == 0)
        cr_assert_eq(b->kind->plan(b->a, &b->snapshot, &r, plan, &err), 0, "%s",
                     err.text);
}

static void expect_judged(struct bench *b, const struct change *c)
{
    const char *name = c->set ? c->set : c->file ? c->file : "fragment";
    struct tw_plan plan = {0};
    struct tw_judged judged;
    const char *found;
    int r;

    plan_change(b, c, &plan, &r);
    if (c->refused) {
        cr_expect(r == -EINVAL && strstr(err.text, c->says), "%s: %s", name, err.text);
        return;
    }
    cr_assert_eq(r, 0, "%s: %s", name, err.text);
    cr_assert_eq(tw_twin_stop(b->twin, tw_now_ns() + START_NS, NULL, &err), 0, "%s",
                 err.text);
    sh("rm -rf %s/clone%s/conf/conf.d", b->top, b->top); /* what the change before left */
    copy_again(b, &plan);
    r = tw_inject_judge(b->a, b->twin, &plan, NULL, tw_now_ns() + START_NS, &judged, &err);
    cr_assert_eq(r, 0, "%s: %s", name, err.text);
    cr_assert(judged.baseline_started, "%s:%s", name, evidence(b, &judged.issues));
    found = codes(b, &judged.issues);
    if (!c->expect)
        cr_expect_eq(judged.issues.list.count, 0U, "%s:%s", name,
                     evidence(b, &judged.issues));
    for (char *rest = tw_arena_strdup(b->a, c->expect ? c->expect : ""), *one;
         (one = strsep(&rest, " "));) {
        tw_auto_free char *word = tw_strf(" %s ", one);

        cr_expect(!*one || strstr(found, word), "%s: %s expected:%s", name, one,
                  evidence(b, &judged.issues));
    }
    if (c->says)
        cr_expect(strstr(evidence(b, &judged.issues), c->says), "%s: '%s' expected:%s",
                  name, c->says, evidence(b, &judged.issues));
    if (!c->expect)
        cr_expect(judged.restarted && judged.reloaded && judged.stop_s < 20, "%s", name);
}

/* ---- inside the twin's network ---- */

static int enter(int netns)
{
    int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    cr_assert(back >= 0 && setns(netns, CLONE_NEWNET) == 0);
    return back;
}

static int dial(int netns, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval wait = {20, 0};
    int back = enter(netns), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert(setns(back, CLONE_NEWNET) == 0);
    (void)close(back);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    cr_assert_eq(connect(fd, (const void *)&to, sizeof to), 0, "port %d", port);
    return fd;
}

static int status_of(int netns, int port, const char *path, const char *header)
{
    tw_auto_close int fd = dial(netns, port);
    tw_auto_free char *ask = tw_strf(
        "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", path, header);
    char text[64] = "";
    ssize_t n, got = 0;

    (void)!write(fd, ask, strlen(ask));
    while (got < 12 && (n = recv(fd, text + got, sizeof text - 1 - (size_t)got, 0)) > 0)
        got += n;
    return got >= 12 ? atoi(text + 9) : 0;
}

static void answer(int fd)
{
    char text[4096];
    tw_auto_free char *large = tw_alloc(7001);
    ssize_t n = recv(fd, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    memset(large, 'x', 7000);
    if (strstr(text, "/slow") || strstr(text, "/hold"))
        (void)poll(NULL, 0, 30000);
    else
        (void)dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: %s\r\n\r\nok",
                      strstr(text, "/big") ? large : "y");
}

/* What stands behind: one child for each connection, all gone with the test. */
static pid_t start_upstream(int netns)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(UPSTREAM),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, back = enter(netns), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pid_t pid;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    cr_assert_eq(bind(fd, (const void *)&at, sizeof at), 0);
    cr_assert_eq(listen(fd, 100), 0);
    cr_assert(setns(back, CLONE_NEWNET) == 0);
    (void)close(back);
    pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGCHLD, SIG_IGN);
        for (;;) {
            int client = accept(fd, NULL, NULL);

            if (client >= 0 && fork() == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                answer(client);
                _exit(0);
            }
            (void)close(client);
        }
    }
    (void)close(fd);
    return pid;
}

static void serve(struct bench *b, enum tw_start_mode mode, size_t *ret_from)
{
    struct tw_started started;

    cr_assert_eq(tw_twin_start(b->twin, mode, tw_now_ns() + START_NS, &started, &err), 0,
                 "%s", err.text);
    cr_assert(started.ready, "%s", tw_twin_access(b->twin)->log);
    *ret_from = started.log_from;
}

/* Until its log says all of them: nginx writes at once, a slow machine later. */
static void expect_logged(struct bench *b, size_t from, const char *expect)
{
    int64_t deadline = tw_now_ns() + 20 * TW_SEC_NS;
    const char *missing = "";

    do {
        struct tw_issues issues = {0};
        const char *found;

        b->kind->judge_log(b->a, tw_twin_access(b->twin), from, &issues);
        found = codes(b, &issues);
        missing = NULL;
        for (char *rest = tw_arena_strdup(b->a, expect), *one;
             (one = strsep(&rest, " "));)
            if (!strstr(found, tw_arena_printf(b->a, " %s ", one)))
                missing = one;
        if (missing)
            tw_sleep_ns(50 * TW_MSEC_NS);
    } while (missing && tw_now_ns() < deadline);
    cr_expect_null(missing, "%s is not found in\n%s", missing,
                   tw_twin_access(b->twin)->log);
}

/* ---- nginx ---- */

static const char nginx_base[] =
    "user www-data;\nworker_processes 1;\npid %1$s/run/nginx.pid;\n"
    "error_log %1$s/logs/error.log;\nevents { worker_connections 64; }\n"
    "http {\n access_log %1$s/logs/access.log;\n client_body_temp_path %1$s/run/b;\n"
    " limit_req_zone $server_port zone=one:1m rate=1r/m;\n"
    " include %1$s/conf/conf.d/*.conf;\n"
    " server {\n  listen 127.0.0.1:18090;\n  root %1$s/html;\n"
    "  location /private { deny all; }\n"
    "  location /cycle { rewrite ^(.*)$ /cycle$1; }\n"
    "  location /big { proxy_pass http://127.0.0.1:18099; proxy_buffer_size 4k; }\n"
    "  location /slow { proxy_pass http://127.0.0.1:18099; proxy_read_timeout 100ms; }\n"
    "  location /hold { proxy_pass http://127.0.0.1:18099; }\n"
    "  location /refused { proxy_pass http://127.0.0.1:18098; }\n"
    "  location /limited { limit_req zone=one; }\n"
    "  location /body { client_max_body_size 1k; }\n"
    " }\n}\n";

static void expect_changes(struct bench *b, const struct change *changes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        expect_judged(b, &changes[i]);
}

static const char *make_certificates(struct bench *b)
{
    sh("cd %s/conf && for n in a b; do openssl req -x509 -newkey ec -pkeyopt "
       "ec_paramgen_curve:P-256 -nodes -subj /CN=$n -days 3 -keyout $n.key -out $n.pem; "
       "done "
       ">/dev/null 2>&1 && openssl req -x509 -newkey rsa:1024 -nodes -subj /CN=s -days 3 "
       "-keyout "
       "s.key -out s.pem >/dev/null 2>&1 && cat s.pem s.key >small.pem && cat a.pem "
       "b.key "
       ">mixed.pem",
       b->top);
    return tw_arena_printf(b->a, "%s/conf", b->top);
}

#define TLS                                                                              \
    "server { listen 127.0.0.1:18443 ssl; ssl_certificate %s/%s; ssl_certificate_key "   \
    "%s/%s; }\n"

Test(service_web, nginx_says_what_a_change_does, .timeout = 110)
{
    struct bench b;
    const char *conf;
    size_t from;
    pid_t upstream;
    int held[50], netns;

    begin(&b, "nginx");
    conf = make_certificates(&b);
    sh("mkdir %s/conf/conf.d", b.top);
    put(&b, "conf/nginx.conf", tw_arena_printf(b.a, nginx_base, b.top));
    open_twin(&b, "nginx.conf");
    const struct change changes[] = {
        {.set = "worker_conections",
         .value = "1",
         .refused = true,
         .says = "worker_connections"},
        {.set = "gzip_comp_level",
         .value = "99",
         .refused = true,
         .says = "between 1 and 9"},
        {.set = "http.gzip_comp_level", .value = "4"},
        {.set = "worker_processes", .value = "auto"},
        {.set = "worker_rlimit_nofile", .value = "8192"},
        {.set = "worker_rlimit_nofile", .value = "20", .expect = "limit.files"},
        {.set = "http.server.listen",
         .value = "10.77.0.1:80",
         .expect = "start.listen restart.latent listen.gone reload.rejected"},
        {.text = "upstream u { server nosuch.invalid:80; }\n",
         .expect = "start.host reload.rejected restart.latent",
         .says = "host not found in upstream"},
        {.text = "gzip on\nserver_tokens off;\n",
         .expect = "start.syntax reload.rejected restart.latent",
         .says = "in new"},
        {.text = tw_arena_printf(b.a, TLS, conf, "a.pem", conf, "a.key")},
        {.text = tw_arena_printf(b.a, TLS, conf, "a.pem", conf, "b.key"),
         .expect = "start.tls",
         .says = "key values mismatch"},
        {.text = tw_arena_printf(b.a, TLS, conf, "s.pem", conf, "s.key"),
         .expect = "start.tls",
         .says = "ee key too small"},
        {.text = tw_arena_printf(b.a, TLS, conf, "none.pem", conf, "a.key"),
         .expect = "start.tls"},
        {.text = tw_arena_printf(b.a,
                                 "server { listen 127.0.0.1:18095; location /x { alias "
                                 "%s/html/; } }\n",
                                 b.top),
         .expect = "exposure.traversal"},
        {.set = "location:/private.deny",
         .value = "10.0.0.1",
         .expect = "exposure.access"},
    };
    expect_changes(&b, changes, TW_COUNT_OF(changes));

    cr_assert_eq(tw_twin_stop(b.twin, tw_now_ns() + START_NS, NULL, &err), 0);
    copy_again(&b, NULL);
    sh("rm -f %s/clone%s/conf/conf.d/*", b.top, b.top);
    serve(&b, TW_START_LOAD, &from);
    netns = tw_twin_access(b.twin)->netns;
    upstream = start_upstream(netns);
    cr_expect_eq(status_of(netns, 18090, "/index.html", ""), 200);
    cr_expect_eq(status_of(netns, 18090, "/cycle", ""), 500);
    cr_expect_eq(status_of(netns, 18090, "/big", ""), 502);
    cr_expect_eq(status_of(netns, 18090, "/slow", ""), 504);
    cr_expect_eq(status_of(netns, 18090, "/refused", ""), 502);
    (void)status_of(netns, 18090, "/limited", "");
    cr_expect_eq(status_of(netns, 18090, "/limited", ""), 503);
    cr_expect_eq(status_of(netns, 18090, "/body", "Content-Length: 4000\r\n"), 413);
    for (size_t i = 0; i < TW_COUNT_OF(held); i++) {
        held[i] = dial(netns, 18090); /* two connections each: one behind */
        (void)dprintf(held[i], "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    expect_logged(&b, from,
                  "redirect.cycle limit.reply_header upstream.timeout upstream.refused "
                  "limit.rate limit.body limit.connections");
    for (size_t i = 0; i < TW_COUNT_OF(held); i++)
        (void)close(held[i]);
    (void)kill(upstream, SIGKILL);
    (void)waitpid(upstream, NULL, 0);
    end(&b);
}

/* ---- HAProxy ---- */

static const char haproxy_base[] =
    "global\n    user haproxy\n    group haproxy\n    maxconn 200\n"
    "    log stdout format raw local0\n"
    "defaults\n    mode http\n    log global\n    option httplog\n    timeout connect "
    "2s\n"
    "    timeout client 20s\n    timeout server 20s\n    option redispatch\n"
    "frontend web\n    bind 127.0.0.1:18091\n    use_backend slow if { path_beg /slow }\n"
    "    use_backend gone if { path_beg /gone }\n    http-request deny if { path_beg "
    "/private }\n"
    "    default_backend app\n"
    "backend app\n    balance source\n    server s1 127.0.0.1:18099\n    server s2 "
    "127.0.0.1:18099\n"
    "backend slow\n    timeout server 100ms\n    server s1 127.0.0.1:18099\n"
    "backend gone\n    retries 0\n    server s1 127.0.0.1:18098\n";

Test(service_web, haproxy_says_what_a_change_does, .timeout = 110)
{
    static const struct change changes[] = {
        {.set = "maxcon", .value = "1", .refused = true, .says = "maxconn"},
        {.set = "defaults.timeout client",
         .value = "x",
         .refused = true,
         .says = "unexpected character"},
        {.set = "defaults.timeout client", .value = "60s"},
        {.set = "backend:app.balance", .value = "leastconn"},
        {.set = "defaults.option", .value = "forwardfor"},
        {.set = "frontend:web.default_backend",
         .value = "none",
         .expect = "start.reference reload.rejected restart.latent"},
        {.set = "backend:app.server s1",
         .value = "nosuch.invalid:80",
         .expect = "start.host reload.rejected restart.latent"},
        {.file = "haproxy.cfg",
         .text =
             "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n"
             "    timeout server 1s\nlisten x\n    bind 127.0.0.1:18091",
         .expect = "start.syntax reload.rejected restart.latent",
         .says = "Missing LF"},
        {.set = "frontend:web.bind 127.0.0.1:18091",
         .value = "ssl crt conf/mixed.pem",
         .expect = "start.tls reload.rejected restart.latent"},
        {.set = "defaults.option redispatch",
         .value = NULL,
         .expect = "upstream.unchecked"},
        {.set = "frontend:web.http-request deny",
         .value = NULL,
         .expect = "exposure.access"},
    };
    struct bench b;
    size_t from;
    pid_t upstream;
    int netns;

    begin(&b, "haproxy");
    (void)make_certificates(&b);
    put(&b, "conf/haproxy.cfg", haproxy_base);
    open_twin(&b, "haproxy.cfg");
    expect_changes(&b, changes, TW_COUNT_OF(changes));

    cr_assert_eq(tw_twin_stop(b.twin, tw_now_ns() + START_NS, NULL, &err), 0);
    copy_again(&b, NULL);
    serve(&b, TW_START_LOAD, &from);
    netns = tw_twin_access(b.twin)->netns;
    upstream = start_upstream(netns);
    for (int i = 0; i < 110; i++)
        cr_assert_eq(status_of(netns, 18091, "/x", ""), 200);
    cr_expect_eq(status_of(netns, 18091, "/slow", ""), 504);
    cr_expect_eq(status_of(netns, 18091, "/gone", ""), 503);
    cr_expect_eq(status_of(netns, 18091, "/private", ""), 403);
    expect_logged(&b, from,
                  "upstream.timeout upstream.refused request.denied balance.skewed");
    (void)kill(upstream, SIGKILL);
    (void)waitpid(upstream, NULL, 0);
    end(&b);
}
