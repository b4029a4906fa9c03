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

static int contract_open(const struct tw_sandbox_spec *spec, struct tw_sandbox **ret, struct tw_err *why)
{
    static const struct tw_sandbox_mount base[] = {{"/usr", "/usr", false},
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
    struct tw_child child = {.argv = argv, .uid = (unsigned)-1, .gid = (unsigned)-1, .deadline_ns = 0};
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
    tw_auto_free char *script = tw_strf(
        "set -e; r=%s.image; mkdir -p $r/usr $r/tmp $r/etc $r/proc $r/dev $r/sys; chmod 1777 $r/tmp; "
        "for n in bin sbin lib lib32 lib64; do ln -s usr/$n $r/$n; done; "
        "printf 'root:x:0:0::/:/bin/sh\\npostgres:x:23456:23456::/:/bin/sh\\nn:x:65534:65534::/:/bin/sh\\n' "
        ">$r/etc/passwd; tar -C $r -cf %s .; rm -rf $r",
        dir, tar);

    run("making an image", (const char *const[]){"sh", "-c", script, NULL});
    cr_assert(tw_docker_image_import(
                  d, tar, "contract:1",
                  (const char *const[]){"ENTRYPOINT [\"sh\",\"-c\"]", "CMD [\"echo $GREETING; exit 3\"]",
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
