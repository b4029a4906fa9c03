#include "tw/base.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct seen {
    int count;
    char last[64];
};

static void on_step(void *arg, const char *step, int64_t now_ns)
{
    struct seen *seen = arg;

    cr_expect(now_ns > 0);
    seen->count++;
    strncpy(seen->last, step, sizeof seen->last - 1);
}

Test(base_clock, steps_reach_every_observer_until_it_is_forgotten)
{
    struct seen one = {0}, two = {0};

    tw_step_observe(on_step, &one);
    tw_step_observe(on_step, &two);
    tw_step("room.thing.done");
    tw_step_forget(on_step, &one);
    tw_step("room.other.done");
    tw_step_forget(on_step, &two);
    tw_step("room.third.done");
    cr_expect(one.count == 1 && two.count == 2);
    cr_expect_str_eq(one.last, "room.thing.done");
    cr_expect_str_eq(two.last, "room.other.done");
}

Test(base_clock, a_named_step_kills_the_process_when_it_is_asked_to, .signal = SIGKILL)
{
    cr_assert(setenv("TWIN_KILL_AT", "room.thing.done:2", 1) == 0);
    tw_step("room.thing.done");
    tw_step("room.other.done");
    tw_step("room.thing.done");
    cr_assert_fail("still alive");
}

Test(base_clock, times_are_written_by_the_standard)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    cr_expect_str_eq(tw_iso_time(a, 0), "1970-01-01T00:00:00Z");
    cr_expect_str_eq(tw_iso_time(a, INT64_C(1767225600) * TW_SEC_NS),
                     "2026-01-01T00:00:00Z");
}

Test(base_clock, time_goes_forward_and_sleeping_takes_at_least_what_was_asked)
{
    int64_t begin = tw_now_ns();

    tw_sleep_ns(5 * TW_MSEC_NS);
    cr_expect(tw_now_ns() - begin >= 5 * TW_MSEC_NS);
    cr_expect(tw_wall_ns() > INT64_C(1600000000) * TW_SEC_NS);
    cr_expect(tw_seconds(TW_SEC_NS) == 1.0);
}
