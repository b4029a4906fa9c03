/* docker-compose.yml on a private Engine, with images made from Debian packages: the checks are in
 * compose.py, which is a client like any other. */
#include "live.h"

#define WITHIN_NS (540 * TW_SEC_NS)

static int shell(const char *line, int64_t within_ns, struct tw_child_result *ret)
{
    struct tw_child child = {.argv = (const char *const[]){"/bin/bash", "-c", line, NULL},
                             .uid = (unsigned)-1,
                             .gid = (unsigned)-1,
                             .deadline_ns = tw_now_ns() + within_ns,
                             .max_output = 1 << 20};

    return tw_child_run(&child, ret, NULL);
}

Test(compose, demo_project_answers_the_requests_of_the_specification, .timeout = 600)
{
    char top[] = "/tmp/twin-compose-XXXXXX";
    tw_auto_free char *use = NULL, *stop = NULL;
    struct tw_child_result result = {0}, ended = {0};
    int r;

    if (access("/usr/bin/docker-compose", X_OK) != 0 || access("/usr/bin/mmdebstrap", X_OK) != 0)
        cr_skip_test("needs the Docker Engine: scripts/install-deps --docker");
    cr_assert(mkdtemp(top));
    use = tw_strf("eval \"$(scripts/dockerd start %s/e)\" && sandbox-images/build digital-twin "
                  "postgresql web && /usr/bin/python3 tests/live/compose.py %s/e",
                  top, top);
    stop = tw_strf("scripts/dockerd stop %s/e; rm -rf %s", top, top);
    r = shell(use, WITHIN_NS, &result);
    cr_expect_eq(shell(stop, 50 * TW_SEC_NS, &ended), 0);
    cr_expect_eq(r, 0, "not done in time");
    cr_expect_eq(result.status, 0, "%s%s", tw_buf_text(&result.out), tw_buf_text(&result.err));
    tw_child_result_done(&result);
    tw_child_result_done(&ended);
}
