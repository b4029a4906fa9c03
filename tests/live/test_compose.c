/* docker-compose.yml on a private Engine, with images made from Debian packages: the checks are in
 * compose.py, which is a client like any other. */
#include "live.h"

#define WITHIN_NS (800 * TW_SEC_NS)

Test(compose, demo_project_answers_the_requests_of_the_specification, .timeout = 900)
{
    char top[] = "/tmp/twin-compose-XXXXXX";
    tw_auto_free char *line = NULL;
    struct tw_child child = {.uid = (unsigned)-1,
                             .gid = (unsigned)-1,
                             .deadline_ns = tw_now_ns() + WITHIN_NS,
                             .max_output = 1 << 20};
    struct tw_child_result result = {0};
    struct tw_err err = {0};

    if (access("/usr/bin/docker-compose", X_OK) != 0 || access("/usr/bin/mmdebstrap", X_OK) != 0)
        cr_skip_test("needs the Docker Engine: scripts/install-deps --docker");
    cr_assert(mkdtemp(top));
    line = tw_strf("trap 'scripts/dockerd stop %s/e' EXIT; eval \"$(scripts/dockerd start %s/e)\" && "
                   "sandbox-images/build digital-twin postgresql web && /usr/bin/python3 "
                   "tests/live/compose.py %s/e",
                   top, top, top);
    child.argv = (const char *const[]){"/bin/bash", "-c", line, NULL};
    cr_assert_eq(tw_child_run(&child, &result, &err), 0, "%s", err.text);
    cr_expect_eq(result.status, 0, "%s%s", tw_buf_text(&result.out), tw_buf_text(&result.err));
    tw_child_result_done(&result);
    (void)tw_remove_tree(top, NULL);
}
