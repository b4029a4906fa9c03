/* Services in containers of a private Engine, changed on clones made of their image. One Engine and one
 * image for all: PostgreSQL and nginx of this host with what they are linked to, so that nothing is pulled. */
#include "live.h"
#include "tw/docker.h"

static char top[] = "/tmp/twin-inside-XXXXXX";
static char host[96], *state_dir;
static struct tw_docker *d;
static struct tw_err err;

static void sh(const char *line)
{
    const char *argv[] = {"sh", "-ec", line, NULL};
    struct live_answer got = {0};

    (void)live_child(argv, NULL, (unsigned)-1, (unsigned)-1, &got);
    cr_assert_eq(got.exit_code, 0, "%s: %s%s", line, got.out, got.err);
    live_answer_done(&got);
}

/* Programs with their libraries; the entrypoint makes a cluster the first time. */
static const char image_script[] =
    "r=%s/image; bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1); mkdir -p $r/usr/bin "
    "$r/usr/lib64 $r/usr/sbin "
    "$r/tmp $r/etc/nginx $r/run $r/var/log/nginx $r/var/lib/nginx $r/proc $r/dev $r/sys "
    "$r/data; chmod 1777 $r/tmp $r/data $r/run; "
    "for n in bin sbin lib lib64; do ln -s usr/$n $r/$n; done; "
    "for p in $bin/postgres $bin/initdb $bin/pg_controldata $(ls $bin/../lib/*.so) "
    "/usr/sbin/nginx /bin/dash; do "
    "echo $p; ldd $p 2>/dev/null | grep -o '/[^ ]*' || true; done | sort -u | while read "
    "f; do "
    "t=$r$(readlink -f $(dirname $f))/$(basename $f); mkdir -p $(dirname $t); cp -L $f "
    "$t; done; "
    "mkdir -p $r/usr/share; cp -r /usr/share/postgresql $r/usr/share/; "
    "cp -r --parents /usr/share/zoneinfo/UTC /usr/share/zoneinfo/Etc $r 2>/dev/null || "
    "true; ln -s dash $r/usr/bin/sh; "
    "printf "
    "'root:x:0:0::/:/bin/sh\\npostgres:x:999:999::/:/bin/sh\\nnobody:x:65534:65534::/:/"
    "bin/sh\\n' >$r/etc/passwd; "
    "printf 'root:x:0:\\npostgres:x:999:\\nnogroup:x:65534:\\n' >$r/etc/group; "
    "printf 'user nobody nogroup; worker_processes 1; pid /run/nginx.pid; error_log "
    "/var/log/nginx/error.log;"
    "\\nevents { worker_connections 64; }\\nhttp { access_log off; server { listen 80; "
    "location / { return 200 ok; } } }\\n' "
    ">$r/etc/nginx/nginx.conf; "
    "printf '#!/bin/sh\\nset -e\\n[ -f /data/pg/PG_VERSION ] || { %%s/initdb -D /data/pg "
    "-A trust -N >/dev/null; "
    "echo \"max_connections = 20\" >>/data/pg/postgresql.conf; }\\nexec %%s/postgres -D "
    "/data/pg "
    "-c unix_socket_directories= -c shared_buffers=16MB -c listen_addresses=*\\n' $bin "
    "$bin >$r/start-db; "
    "chmod 755 $r/start-db; tar -C $r -cf %s/image.tar .; rm -rf $r";

static void make_image(void)
{
    tw_auto_free char *script = tw_strf(image_script, top, top);
    tw_auto_free char *tar = tw_strf("%s/image.tar", top);

    sh(script);
    cr_assert_eq(tw_docker_image_import(
                     d, tar, "inside:1",
                     (const char *const[]){"ENV PATH=/usr/sbin:/usr/bin", NULL}, &err),
                 0, "%s", err.text);
    (void)unlink(tar);
}

static void start(const char *name, const char *body)
{
    json_auto_t *json = json_loads(body, 0, NULL);
    tw_auto_free char *made = NULL;

    cr_assert_not_null(json, "%s", body);
    cr_assert_eq(tw_docker_container_create(d, name, json, &made, &err), 0, "%s",
                 err.text);
    cr_assert_eq(tw_docker_container_start(d, name, &err), 0, "%s", err.text);
}

static void await_file(const char *container, const char *path)
{
    struct tw_docker_exec exec = {
        .argv = (const char *const[]){"/usr/bin/sh", "-c", path, NULL}, .timeout_s = 20};
    int status = 1;

    for (int64_t end = tw_now_ns() + 60 * TW_SEC_NS; tw_now_ns() < end && status != 0;) {
        tw_auto_buf out = {0};

        tw_buf_init(&out, 4096);
        if (tw_docker_exec(d, container, &exec, &out, NULL, &status, NULL) < 0)
            status = 1;
        tw_sleep_ns(50 * TW_MSEC_NS);
    }
    cr_assert_eq(status, 0, "'%s' is not ready", container);
}

static void twin(struct live_answer *got, const char *const *args)
{
    const char *argv[24] = {"build/twin"};
    size_t n = 1;

    while (*args)
        argv[n++] = *args++;
    (void)live_child(argv, NULL, (unsigned)-1, (unsigned)-1, got);
}
#define TWIN(got, ...) twin(got, (const char *const[]){__VA_ARGS__, NULL})

static size_t containers(void)
{
    json_auto_t *list = NULL;

    cr_assert_eq(tw_docker_containers(d, true, NULL, &list, &err), 0, "%s", err.text);
    return json_array_size(list);
}

static void set_up(void)
{
    struct tw_docker_options options = {.host = host};
    tw_auto_free char *line = NULL;

    if (geteuid() != 0)
        cr_skip_test("needs root");
    if (access("/usr/sbin/dockerd", X_OK) != 0 || access("/usr/sbin/nginx", X_OK) != 0)
        cr_skip_test("needs the Docker Engine and nginx: scripts/install-deps --docker");
    cr_assert_not_null(mkdtemp(top));
    (void)chmod(top, 0755);
    state_dir = tw_strf("%s/state", top);
    (void)setenv("TWIN_STATE_DIR", state_dir, 1);
    line = tw_strf("scripts/dockerd start %s/e", top);
    (void)snprintf(host, sizeof host, "unix://%s/e/s.sock", top);
    sh(line);
    cr_assert_eq(tw_docker_open(&options, &d, &err), 0, "%s", err.text);
    make_image();
}

static void tear_down(void)
{
    tw_auto_free char *line = tw_strf("scripts/dockerd stop %s/e", top);

    tw_docker_free(d);
    if (host[0]) {
        sh(line);
        cr_expect_eq(tw_remove_tree(top, &err), 0, "%s", err.text);
    }
    free(state_dir);
}
TestSuite(run_container, .init = set_up, .fini = tear_down, .timeout = 170);

static void expect_codes(const struct live_answer *got, int code, const char *part)
{
    cr_expect_eq(got->exit_code, code, "exit %d: %s%s", got->exit_code, got->err,
                 got->out);
    cr_expect(!part || (got->out && strstr(got->out, part)), "'%s' is not in %s%s", part,
              got->out, got->err);
}

Test(run_container, changes_are_judged_on_clones_of_the_image)
{
    struct live_answer got;

    start(
        "web",
        "{\"Image\":\"inside:1\",\"Cmd\":[\"/usr/sbin/nginx\",\"-g\",\"daemon off;\"]}");
    start("db", "{\"Image\":\"inside:1\",\"User\":\"999:999\",\"Cmd\":[\"/"
                "start-db\"],\"HostConfig\":{\"Memory\":536870912}}");
    await_file("db", "read x </data/pg/postmaster.pid && while read y; do case $y in "
                     "ready*) exit 0;; esac; done "
                     "</data/pg/postmaster.pid; exit 1");
    await_file("web", "test -s /run/nginx.pid");
    TWIN(&got, "env", "add", "web", "--type", "docker", "--container", "web", "--dsn",
         host);
    live_answer_done(&got);
    TWIN(&got, "env", "add", "db", "--type", "docker", "--container", "db", "--dsn", host,
         "--data", "clone");
    live_answer_done(&got);

    TWIN(&got, "run", "--target", "web", "--set", "worker_connections=1", "-o", "json");
    expect_codes(&got, 3, "worker_connections are not enough");
    live_answer_done(&got);
    TWIN(&got, "run", "--target", "web", "--set", "no_such=1", "-o", "json");
    expect_codes(&got, 2, "no_such");
    live_answer_done(&got);
    TWIN(&got, "run", "--target", "db", "--set", "shared_preload_libraries=nope", "-o",
         "json");
    expect_codes(&got, 3, "could not access file");
    live_answer_done(&got);
    TWIN(&got, "run", "--target", "db", "--set", "work_mem=5MB", "--budget", "0.6", "-o",
         "json");
    cr_expect(got.exit_code == 0 || got.exit_code == 4, "exit %d: %s", got.exit_code,
              got.err);
    cr_expect(got.json &&
                  json_object_get(json_object_get(got.json, "measured"), "requests"),
              "%s", got.out);
    live_answer_done(&got);

    TWIN(&got, "run", "--target", "web", "--set", "keepalive_timeout=5", "--backend",
         "native");
    expect_codes(&got, 2, NULL);
    live_answer_done(&got);
    cr_expect_eq(containers(), 2, "only the targets are left");
}
