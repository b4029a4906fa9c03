#include "app/run/run_internal.h"

#include <criterion/criterion.h>

static const struct {
    enum tw_answer_rule rule;
    bool failed_before, failed_after;
    const char *before, *after;
    bool worse;
} cases[] = {
    {TW_ANSWER_SAME, false, false, "1", "31", true},
    {TW_ANSWER_SAME, false, false, "1", "1", false},
    {TW_ANSWER_SAME, false, true, "1", "out of range", true},
    {TW_ANSWER_SAME, true, false, "no such function", "1", false},
    {TW_ANSWER_WORKS, false, true, "", "denied", true},
    {TW_ANSWER_WORKS, true, true, "denied", "denied", false},
    {TW_ANSWER_HOLDS, false, false, "t", "f", true},
    {TW_ANSWER_HOLDS, false, false, "f", "f", false},
    {TW_ANSWER_HOLDS, false, false, "f", "t", false},
    {TW_ANSWER_HOLDS, false, true, "t", "gone", true},
    {TW_ANSWER_REFUSED, true, false, "violates", "", true},
    {TW_ANSWER_COUNT, false, false, "1", "2", true},
    {TW_ANSWER_COUNT, false, false, "2", "1", false},
    {TW_ANSWER_COUNT, false, false, "-1", "0", true},
    {TW_ANSWER_REFUSED, true, true, "violates", "read-only", false},
};

Test(run_answers, only_what_gets_worse_is_told)
{
    for (size_t i = 0; i < TW_COUNT_OF(cases); i++) {
        struct tw_answer b = {.rule = cases[i].rule,
                              .failed = cases[i].failed_before,
                              .words = cases[i].before};
        struct tw_answer n = {.rule = cases[i].rule,
                              .failed = cases[i].failed_after,
                              .words = cases[i].after};

        cr_assert_eq(run_answer_is_worse(&b, &n), cases[i].worse, "%zu", i);
    }
}
