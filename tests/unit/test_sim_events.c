#include "tw/sim.h"

#include <criterion/criterion.h>
#include <math.h>

struct seen {
    int64_t order[64];
    size_t n;
};

static void note(struct tw_sim *s, void *arg, int64_t number)
{
    struct seen *seen = arg;

    (void)s;
    seen->order[seen->n++] = number;
}

Test(sim_events, ties_break_by_time_priority_insertion)
{
    tw_auto(tw_sim) *s = tw_sim_new(1, 0);
    struct seen seen = {.n = 0};
    static const int64_t want[] = {5, 2, 4, 1, 3, 6};

    tw_sim_at(s, 2, 1, note, &seen, 1);
    tw_sim_at(s, 2, 0, note, &seen, 2);
    tw_sim_at(s, 2, 1, note, &seen, 3);
    tw_sim_at(s, 2, 0, note, &seen, 4);
    tw_sim_at(s, 1, 7, note, &seen, 5);
    tw_sim_at(s, 3, 0, note, &seen, 6);
    tw_sim_until(s, 3);
    cr_assert_eq(seen.n, 6);
    cr_assert_arr_eq(seen.order, want, sizeof want);
}

Test(sim_events, the_clock_stops_where_told)
{
    tw_auto(tw_sim) *s = tw_sim_new(1, 0);
    struct seen seen = {.n = 0};

    tw_sim_at(s, 5, 0, note, &seen, 1);
    tw_sim_until(s, 4.5);
    cr_assert(seen.n == 0 && tw_sim_now(s) == 4.5);
    tw_sim_until(s, 5);
    cr_assert(seen.n == 1 && tw_sim_now(s) == 5);
    tw_sim_free(NULL);
}

static void chain(struct tw_sim *s, void *arg, int64_t number)
{
    note(s, arg, number);
    if (number < 40)
        tw_sim_at(s, tw_sim_now(s), 0, chain, arg, number + 1);
}

Test(sim_events, events_made_by_events_run_at_the_same_moment)
{
    tw_auto(tw_sim) *s = tw_sim_new(1, 0);
    struct seen seen = {.n = 0};

    tw_sim_at(s, 1, 0, chain, &seen, 1);
    tw_sim_until(s, 1);
    cr_assert_eq(seen.n, 40);
}

Test(sim_events, thousands_come_out_in_order)
{
    tw_auto(tw_sim) *s = tw_sim_new(1, 0);
    struct tw_rng rng;
    struct seen seen = {.n = 0};

    tw_rng_seed(&rng, 1, 0);
    for (int64_t i = 0; i < 60; i++)
        tw_sim_at(s, floor(tw_rng_uniform(&rng) * 10), 0, note, &seen, i);
    tw_sim_until(s, 4);
    tw_sim_until(s, 10);
    cr_assert_eq(seen.n, 60);
}

static void replica(void *arg, int index, uint64_t seed, double *ret)
{
    (void)arg;
    ret[0] = index;
    ret[1] = (double)(seed >> 12);
}

Test(sim_events, a_replication_depends_on_its_index_only)
{
    struct tw_estimate few[2], again[2];

    tw_sim_replicate(replica, NULL, 5, 3, 2, few);
    tw_sim_replicate(replica, NULL, 5, 3, 2, again);
    cr_assert_eq(few[0].value, 1);
    cr_assert_eq(few[1].value, again[1].value);
    cr_assert(few[0].low < 1 && few[0].high > 1 && few[0].n == 3);
}
