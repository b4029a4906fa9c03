/* Without root: less, and the report says what. */
#include "live.h"

static void as_owner(struct live *l, struct live_answer *ret, const char *line)
{
    tw_auto_free char *full =
        tw_strf("export TWIN_STATE_DIR=%s/own; %s/twin %s", l->top, l->top, line);

    (void)live_child((const char *const[]){"/bin/sh", "-c", full, NULL}, NULL, l->uid,
                     l->gid, ret);
}

Test(run_rootless, the_same_answers_with_less_around_them, .timeout = 100)
{
    struct live l;
    struct live_answer got;
    tw_auto_free char *copy = NULL;

    live_open(&l, 24414, 1, NULL);
    /* The owner may not be able to reach the build directory. */
    copy = tw_strf("cp build/twin %s/twin && chmod 755 %s/twin", l.top, l.top);
    cr_assert_eq(live_child((const char *const[]){"/bin/sh", "-c", copy, NULL}, NULL,
                            (unsigned)-1, (unsigned)-1, NULL),
                 0);
    as_owner(
        &l, &got,
        "env add pg --type postgresql --data clone --data-dir $TWIN_STATE_DIR/../data");
    cr_expect_eq(got.exit_code, 0, "%s", got.err);
    live_answer_done(&got);
    as_owner(&l, &got, "run --target pg --set shared_preload_libraries=nosuch -o json");
    cr_expect_eq(got.exit_code, 3, "exit %d: %s", got.exit_code, got.err);
    cr_expect(live_issue(&got, "start.library"), "%s", got.out);
    live_answer_done(&got);
    as_owner(&l, &got,
             "run --target pg --set work_mem=5MB --mix select-only --budget 0.8 -o text");
    cr_expect(got.exit_code == 0 || got.exit_code == 4, "exit %d: %s", got.exit_code,
              got.err);
    cr_expect(strstr(got.out, "no memory limit"), "%s", got.out);
    cr_expect(strstr(got.out, "plain copy"), "%s", got.out);
    live_answer_done(&got);
    live_close(&l);
}
