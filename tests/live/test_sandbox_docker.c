/* Containers of a private Engine: the contract, and what only this backend has. One Engine for all of it;
 * the image is a tree of links, its programs are this host's, mounted as a clone would be. */
#define CONTRACT(name) static void name(void)
#define CONTRACT_TURNS 2
#include "sandbox_contract.h"
#include "tw/docker.h"
#include "tw/io.h"

static char dir[] = "/tmp/twin-engine-XXXXXX";
static char host[64];
static struct tw_docker *d;

static int contract_open(const struct tw_sandbox_spec *spec, struct tw_sandbox **ret,
                         struct tw_err *why)
{
    static const struct tw_sandbox_mount base[] = {
        {"/usr", "/usr", false},
        {"/etc/alternatives", "/etc/alternatives", false},
        {"/etc/ld.so.cache", "/etc/ld.so.cache", false}};
    struct tw_sandbox_container c = {.engine = host, .image = "contract:1"};
    struct tw_sandbox_mount all[8];
    struct tw_sandbox_spec own = *spec;
    size_t n = 0;

    for (size_t i = 0; i < TW_COUNT_OF(base); i++)
        all[n++] = base[i];
    for (size_t i = 0; i < spec->mounts.count; i++)
        all[n++] = spec->mounts.items[i];
    if (spec->container)
        c = *spec->container;
    c.engine = host;
    own.backend = "docker";
    own.container = &c;
    own.mounts.items = all;
    own.mounts.count = n;
    return tw_sandbox_open(priv, &own, ret, why);
}

static void run(const char *what, const char *const *argv)
{
    struct tw_child child = {
        .argv = argv, .uid = (unsigned)-1, .gid = (unsigned)-1, .deadline_ns = 0};
    struct tw_child_result result;

    cr_assert(tw_child_run(&child, &result, &err) == 0, "%s: %s", what, err.text);
    cr_assert(result.status == 0, "%s: %s", what, tw_buf_text(&result.err));
    tw_child_result_done(&result);
}

static void engine(const char *verb)
{
    run(verb, (const char *const[]){"scripts/dockerd", verb, dir, NULL});
}

static void make_image(void)
{
    tw_auto_free char *tar = tw_strf("%s.tar", dir);
    tw_auto_free char *script =
        tw_strf("set -e; r=%s.image; mkdir -p $r/usr $r/tmp $r/etc $r/proc $r/dev "
                "$r/sys; chmod 1777 $r/tmp; "
                "for n in bin sbin lib lib32 lib64; do ln -s usr/$n $r/$n; done; "
                "printf "
                "'root:x:0:0::/:/bin/sh\\npostgres:x:23456:23456::/:/bin/"
                "sh\\nn:x:65534:65534::/:/bin/sh\\n' "
                ">$r/etc/passwd; tar -C $r -cf %s .; rm -rf $r",
                dir, tar);

    run("making an image", (const char *const[]){"sh", "-c", script, NULL});
    cr_assert(tw_docker_image_import(
                  d, tar, "contract:1",
                  (const char *const[]){
                      "ENTRYPOINT [\"sh\",\"-c\"]", "CMD [\"echo $GREETING; exit 3\"]",
                      "ENV GREETING=hello", "ENV PATH=/usr/bin:/bin", NULL},
                  &err) == 0,
              "%s", err.text);
    (void)unlink(tar);
}

static void set_up(void)
{
    struct tw_docker_options options = {.host = host};

    if (geteuid() != 0)
        cr_skip_test("needs root");
    if (access("/usr/sbin/dockerd", X_OK) != 0)
        cr_skip_test("needs the Docker Engine: scripts/install-deps --docker");
    cr_assert(mkdtemp(dir) && mkdtemp(state));
    engine("start");
    (void)snprintf(host, sizeof host, "unix://%s/s.sock", dir);
    cr_assert(tw_docker_open(&options, &d, &err) == 0, "%s", err.text);
    make_image();
}

static void tear_down(void)
{
    tw_priv_close(priv); /* of a test that stopped in the middle */
    tw_docker_free(d);
    if (host[0])
        engine("stop");
    cr_expect_eq(tw_remove_tree(state, &err), 0, "%s", err.text);
}
TestSuite(sandbox_docker, .init = set_up, .fini = tear_down, .timeout = 170);

static void begin_run(void)
{
    tw_id_make(id);
    cr_assert_eq(tw_priv_open(state, id, &priv, &err), 0, "%s", err.text);
}

static void end_run(void)
{
    tw_priv_close(tw_take_ptr(&priv));
}

static size_t containers_left(void)
{
    json_auto_t *list = NULL;

    cr_assert(tw_docker_containers(d, true, NULL, &list, &err) == 0, "%s", err.text);
    return json_array_size(list);
}

#define ROW(name) {#name, name},
static const struct {
    const char *name;
    void (*check)(void);
} contract[] = {CONTRACT_LIST(ROW)};

Test(sandbox_docker, it_keeps_the_contract)
{
    begin_run();
    for (size_t i = 0; i < TW_COUNT_OF(contract); i++) {
        int64_t begun = tw_now_ns();

        contract[i].check();
        cr_log_info("%s: %.2f s", contract[i].name, tw_seconds(tw_now_ns() - begun));
    }
    end_run();
    cr_expect_eq(containers_left(), 0);
}

/* ---- its own entrypoint ---- */

static struct tw_sandbox *open_like(struct tw_sandbox_container *c, const char *name)
{
    struct tw_sandbox_spec spec = spec_of(name);

    c->image = "contract:1";
    spec.container = c;
    return open_box(&spec);
}

static void the_entrypoint_is_pid_1(void)
{
    const char *argv[] = {"sh", "-c",
                          "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done"};
    struct tw_sandbox_container plain = {0}, own = {.argv = {argv, 3}};
    struct tw_sandbox *box = open_like(&plain, "plain");
    struct pollfd fd = {tw_sandbox_event_fd(box), POLLIN, 0};
    char text[16] = "";
    int out[2], handle, beside, status;

    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    cr_assert_eq(tw_sandbox_boot(box, out[1], -1, &handle, &err), 0, "%s", err.text);
    cr_expect_eq(poll(&fd, 1, 20000), 1);
    cr_expect_eq(finish(box, handle), 3 << 8);
    cr_expect_gt(read(out[0], text, sizeof text - 1), 0);
    cr_expect_str_eq(text, "hello\n");
    tw_sandbox_close(box);

    box = open_like(&own, "own");
    cr_assert_eq(tw_sandbox_boot(box, out[1], -1, &handle, &err), 0, "%s", err.text);
    memset(text, 0, sizeof text);
    cr_expect_eq(read(out[0], text, 3), 3); /* it heeds signals from now on */
    cr_expect_eq(tw_sandbox_boot(box, out[1], -1, &beside, &err), -EALREADY);
    beside = start(box, "grep -q trap /proc/1/cmdline && exit 7", -1);
    cr_expect_eq(finish(box, beside), 7 << 8);
    cr_expect_eq(tw_sandbox_wait(box, handle, 0, &status, &err), -ETIMEDOUT);
    cr_expect_eq(tw_sandbox_signal(box, handle, SIGTERM, &err), 0, "%s", err.text);
    cr_expect_eq(finish(box, handle), 5 << 8);
    tw_sandbox_close(box);
    (void)close(out[0]);
    (void)close(out[1]);
}

/* ---- dying ---- */

static void create_foreign(const char *name, const char *label_state)
{
    json_auto_t *body = json_pack("{s:s, s:{s:s, s:s}}", "Image", "contract:1", "Labels",
                                  "digital-twin.id", "00000000000000000000000000",
                                  "digital-twin.state", label_state);
    tw_auto_free char *made = NULL;

    cr_assert_eq(tw_docker_container_create(d, name, body, &made, &err), 0, "%s",
                 err.text);
}

/* A client killed in the middle leaves its container; the next to come removes it, and nobody else's. */
static void a_killed_client_is_cleaned_up_after(void)
{
    int ready[2], removed = 0, status;
    char one = 0;
    pid_t pid;

    create_foreign("twin-of-somebody-else", "/var/lib/other");
    cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        struct tw_sandbox_spec spec = spec_of("orphan");
        struct tw_sandbox *box;

        tw_id_make(id);
        if (tw_priv_open(state, id, &priv, &err) == 0 &&
            contract_open(&spec, &box, &err) == 0)
            (void)!write(ready[1], "1", 1);
        for (;;)
            (void)pause();
    }
    (void)close(ready[1]);
    cr_expect_eq(read(ready[0], &one, 1), 1);
    cr_expect_eq(containers_left(), 2);
    cr_expect_eq(tw_sandbox_reap(state, &removed, &err), 0, "%s", err.text);
    cr_expect_eq(removed, 0, "of one that lives");
    (void)kill(pid, SIGKILL);
    cr_expect_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(tw_priv_reap(state, &removed, &err), 0, "%s", err.text);
    removed = 0;
    cr_expect_eq(tw_sandbox_reap(state, &removed, &err), 0, "%s", err.text);
    cr_expect_eq(removed, 1);
    cr_expect_eq(containers_left(), 1);
    cr_expect_eq(tw_docker_container_remove(d, "twin-of-somebody-else", &err), 0);
    (void)close(ready[0]);
}

/* An Engine that does not answer keeps nothing alive. */
static void a_twin_dies_while_the_engine_is_away(void)
{
    tw_auto_free char *path = tw_strf("%s/pid", dir), *text = NULL;
    struct tw_sandbox_spec spec = spec_of("lonely");
    struct tw_sandbox *box;
    tw_auto_free char *inside = NULL;
    int removed = 0;
    pid_t pid;

    begin_run();
    box = open_box(&spec);
    inside = tw_strf("/proc/self/fd/%d", tw_sandbox_netns(box));
    cr_expect_eq(access(inside, F_OK), 0);
    cr_assert_eq(tw_read_file(AT_FDCWD, path, 64, &text, NULL, &err), 0, "%s", err.text);
    pid = (pid_t)atoi(text);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    tw_sandbox_close(box);
    cr_expect_not(group_left());
    (void)kill(pid, SIGCONT);
    end_run();
    /* it may be at the removal that it was asked for before */
    for (int64_t end = tw_now_ns() + 20 * TW_SEC_NS;
         tw_now_ns() < end && containers_left();)
        cr_expect_eq(tw_sandbox_reap(state, &removed, &err), 0, "%s", err.text);
    cr_expect_eq(containers_left(), 0);
}

Test(sandbox_docker, it_boots_dies_and_is_cleaned_up_after)
{
    begin_run();
    the_entrypoint_is_pid_1();
    end_run();
    cr_expect_eq(containers_left(), 0);
    a_killed_client_is_cleaned_up_after();
    a_twin_dies_while_the_engine_is_away();
}
