#include "app/run/run_internal.h"

#include <criterion/criterion.h>
#include <math.h>

static const struct {
    double rows, threshold, naptime_s;
    bool neglected;
} cases[] = {
    {500000, 100050, 60, false},   {500000, 500050, 60, false}, {500000, 2e9, 60, true},
    {500000, INFINITY, 60, true},  {10, INFINITY, 60, false},   {10, 52, 60, false},
    {500000, 100050, 3600, false}, {500000, 100050, 2e6, true},
};

Test(run_piles, a_vacuum_that_never_comes_is_news_only_where_it_came)
{
    const struct tw_reclaimed usual = {.rows = 500000, .threshold_rows = 100050, .naptime_s = 60};

    for (size_t i = 0; i < TW_COUNT_OF(cases); i++) {
        struct tw_reclaimed t = {.rows = cases[i].rows,
                                 .threshold_rows = cases[i].threshold,
                                 .naptime_s = cases[i].naptime_s};

        cr_expect_eq(run_pile_is_new(&usual, &t), cases[i].neglected, "%zu", i);
        cr_expect_not(run_pile_is_new(&t, &t), "%zu", i);
    }
}
