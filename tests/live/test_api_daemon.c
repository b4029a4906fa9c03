/* The daemon, used and killed: the checks are in api_daemon.py, which knows no sandbox. */
#include "live.h"

Test(api_daemon, answers_as_specified_and_loses_nothing_when_killed, .timeout = 110)
{
    char top[] = "/tmp/twin-api-XXXXXX";
    struct live_answer got = {0};

    cr_assert(mkdtemp(top));
    (void)live_child((const char *const[]){"/usr/bin/python3", "tests/live/api_daemon.py",
                                           "build/twin", top, NULL},
                     NULL, (unsigned)-1, (unsigned)-1, &got);
    cr_expect_eq(got.exit_code, 0, "%s%s", got.out, got.err);
    live_answer_done(&got);
    (void)tw_remove_tree(top, NULL);
}
