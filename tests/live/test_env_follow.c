/* Changes at real targets, seen by the daemon within seconds: the checks are in follow_daemon.py. */
#include "live.h"

#include <unistd.h>

Test(env_follow, changes_are_told_with_what_was_before_and_cost_next_to_nothing,
     .timeout = 110)
{
    char top[] = "/var/tmp/twin-follow-XXXXXX";
    struct live_answer got = {0};

    if (geteuid() != 0)
        cr_skip_test("needs root: a network namespace, a cluster's owner");
    cr_assert(mkdtemp(top));
    (void)live_child((const char *const[]){"/usr/bin/unshare", "-n", "/usr/bin/python3",
                                           "tests/live/follow_daemon.py", "build/twin",
                                           top, NULL},
                     NULL, (unsigned)-1, (unsigned)-1, &got);
    cr_expect_eq(got.exit_code, 0, "%s%s", got.out, got.err);
    live_answer_done(&got);
    (void)tw_remove_tree(top, NULL);
}
