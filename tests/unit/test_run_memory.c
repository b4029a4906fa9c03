/* What a simulation is admitted by. */
#include "tw/run.h"

#include <criterion/criterion.h>

static double gib(const char *snapshot, const char *change)
{
    json_auto_t *n = snapshot ? json_loads(snapshot, 0, NULL) : NULL;
    json_auto_t *sim =
        json_pack("{s:{s:o}}", "request", "change", json_loads(change, 0, NULL));

    return (double)tw_run_memory(n, sim) / (double)(1 << 30);
}

static const char pg[] =
    "{\"type\": \"postgresql\", \"memory_bytes\": 8589934592,"
    " \"settings\": [{\"name\": \"shared_buffers\", \"value\": \"1GB\"}]}";

Test(run_memory, both_arms_and_the_judged_clone_count_with_their_own_settings)
{
    cr_expect_float_eq(gib(pg, "{}"), 3 * 1.25, 1e-9);
    cr_expect_float_eq(gib(pg, "{\"shared_buffers\": \"2GB\"}"), 1.25 + 2 * 2.25, 1e-9);
    cr_expect_float_eq(gib(pg, "{\"shared_buffers\": \"262144\"}"), 1.25 + 2 * 2.25,
                       1e-9);
}

Test(run_memory, no_twin_takes_more_than_its_target_has)
{
    cr_expect_float_eq(gib(pg, "{\"shared_buffers\": \"64GB\"}"), 1.25 + 2 * 8, 1e-9);
}

Test(run_memory, without_a_snapshot_a_small_service_is_assumed)
{
    cr_expect_float_eq(gib(NULL, "{}"), 0.75, 1e-9);
}
