/* The daemon and its helper, killed: the checks are in kill_daemon.py, of which `make kills` runs 300. */
#include "live.h"

Test(kill_daemon, leaves_nobody_behind_and_loses_nothing_accepted, .timeout = 110)
{
    char top[] = "/tmp/twin-kill-XXXXXX";
    struct live_answer got = {0};

    cr_assert(mkdtemp(top));
    (void)live_child((const char *const[]){"/usr/bin/python3",
                                           "tests/live/kill_daemon.py", "build/twin", top,
                                           "14", "11", NULL},
                     NULL, (unsigned)-1, (unsigned)-1, &got);
    cr_expect_eq(got.exit_code, 0, "%s%s", got.out, got.err);
    live_answer_done(&got);
    (void)tw_remove_tree(top, NULL);
}
