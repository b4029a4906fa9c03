/* The model against the kernel: random rule sets, real packets. A small share of what
 * build/obj/bench/bench_flow does. */
#include "flow_kernel.h"

#include <criterion/criterion.h>

Test(flow_kernel, model_and_kernel_agree)
{
    const char *seed_text = getenv("TWIN_TEST_SEED");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : 7;
    struct kernel k;
    struct kernel_count c = {0};
    struct tw_err err = {0};

    cr_assert_eq(kernel_open(&k), 0, "%s", k.failure);
    for (unsigned i = 0; i < 12; i++) {
        struct gen g;

        gen_begin(&g, seed, i, i % 4 > 1, i % 4 == 3);
        if (g.xtables)
            gen_xt(&g);
        else
            gen_nft(&g);
        cr_assert_eq(kernel_pairs(&k, &g, KERNEL_BATCH, &c, &err), 0, "seed %llu, rule set %u: %s\n%s",
                     (unsigned long long)seed, i, err.text, g.out.data);
        tw_buf_done(&g.out);
    }
    cr_assert_eq(c.mismatches, 0, "seed %llu: %llu of %llu: %s", (unsigned long long)seed,
                 (unsigned long long)c.mismatches, (unsigned long long)c.pairs, c.first_mismatch);
    cr_assert(c.accepted > 0 && c.accepted < c.pairs);
}
