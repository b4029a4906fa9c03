#include "tw/store.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char dir[] = "/tmp/twin-pool-XXXXXX";

static void make_dir(void)
{
    cr_assert(mkdtemp(dir) != NULL);
}

static void drop_dir(void)
{
    (void)tw_remove_tree(dir, NULL);
}

TestSuite(store_pool, .init = make_dir, .fini = drop_dir);

struct work {
    char metric[16];
    bool fails;
    int done, *left;
};

static int add(void *arg, struct tw_store *s, struct tw_err *err)
{
    const struct work *w = arg;
    struct tw_store_point p = {.environment = "e",
                               .target = "t",
                               .metric = w->metric,
                               .at_wall_ns = 1,
                               .value = 1};
    int r = tw_store_point_add(s, &p, err);

    return r == 0 && w->fails ? tw_fail(err, -EINVAL, "it was to fail") : r;
}

static void done(void *arg, int result, const struct tw_err *err)
{
    struct work *w = arg;

    (void)err;
    w->done = result < 0 ? -1 : 1;
}

Test(store_pool, a_work_that_fails_leaves_nothing_and_harms_no_other)
{
    struct tw_store_pool *p = NULL;
    struct tw_store_points points;
    struct work works[100] = {0};
    struct tw_store *s;
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_err err = {0};

    cr_assert_eq(tw_store_pool_open(dir, &p, &err), 0, "%s", err.text);
    for (int i = 0; i < 100; i++) {
        tw_auto_free char *name = tw_strf("m%d", i);

        memcpy(works[i].metric, name, strlen(name) + 1);
        works[i].fails = i % 3 == 0;
        tw_store_pool_write(p, add, done, &works[i]);
    }
    cr_expect_eq(tw_store_pool_write_wait(p, add, &(struct work){.metric = "last"}, &err),
                 0);
    for (int i = 0; i < 100; i++)
        cr_expect_eq(works[i].done, works[i].fails ? -1 : 1, "work %d", i);
    s = tw_store_pool_take(p, &err);
    cr_assert_eq(tw_store_point_list(s, a, "e", NULL, NULL, 0, 10, 1, &points, &err), 0);
    cr_expect_eq(points.list.count, 100 - 34 + 1);
    cr_expect_leq(tw_store_pool_counts(p).commits, tw_store_pool_counts(p).works);
    tw_store_pool_give(p, s);
    tw_store_pool_close(p);
}
