#include "tw/predict.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* A flat day of 24 bins. */
static struct tw_forecast flat(struct tw_arena *a, double rate, double capacity)
{
    struct tw_forecast f = {
        .wal_bytes = tw_unknown, .memory_bytes = tw_unknown, .connections = tw_unknown};

    for (int i = 0; i < 24; i++)
        TW_PUSH(a, &f.bins,
                (struct tw_bin){.from_h = i,
                                .hours = 1,
                                .rate_per_s = rate,
                                .utilisation = rate / capacity,
                                .memory_bytes = 2e8,
                                .connections = 10});
    f.bins.items[12].rate_per_s = 1.5 * rate;
    f.bins.items[12].connections = 20;
    f.bins.items[12].memory_bytes = 3e8;
    f.connections.value = 20;
    f.memory_bytes.value = 3e8;
    f.wal_bytes.value = 1e9;
    return f;
}

static struct tw_model model(double capacity)
{
    return (struct tw_model){.capacity_per_s = capacity,
                             .capacity_low = 0.9 * capacity,
                             .capacity_high = 1.1 * capacity,
                             .servers = 1,
                             .timeout_s = NAN,
                             .memory_base_bytes = 1e8,
                             .memory_per_connection_bytes = 1e7};
}

static const struct tw_predict_limits nothing = {
    .memory_limit_bytes = NAN,
    .memory_other_bytes = NAN,
    .shared_memory_bytes = NAN,
    .max_connections = NAN,
    .reserved_connections = NAN,
    .connections_used = NAN,
    .connection_growth_per_s = NAN,
    .disk_free_bytes = NAN,
    .growth_bytes_per_s = NAN,
    .wal_kept_bytes_per_s = NAN,
    .max_wal_bytes = NAN};

static const struct tw_failure *find(const struct tw_failures *list, const char *kind)
{
    for (size_t i = 0; i < list->list.count; i++)
        if (tw_streq(list->list.items[i].kind, kind))
            return &list->list.items[i];
    return NULL;
}

static struct tw_failures judge(struct tw_arena *a, const struct tw_forecast *f,
                                const struct tw_model *m,
                                const struct tw_predict_limits *l)
{
    struct tw_failures found = {0};

    tw_predict_failures(a, f, m, l, 24, 0.3, &found);
    for (size_t i = 0; i < found.list.count; i++)
        cr_assert(found.list.items[i].evidence && found.list.items[i].probability >= 0.3);
    return found;
}

Test(predict_failures, unknown_limits_give_no_failure)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_forecast f = flat(a, 100, 1000);
    struct tw_model m = model(1000);

    cr_assert_eq(judge(a, &f, &m, &nothing).list.count, 0);
}

Test(predict_failures, overload_has_its_hour_and_its_probability)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_forecast f = flat(a, 100, 120);
    struct tw_model over = model(120), near = model(150), far = model(300);
    struct tw_failures found = judge(a, &f, &over, &nothing);
    const struct tw_failure *o = find(&found, "overload");

    cr_assert(o && o->at_hours == 12 && o->probability > 0.99);
    found = judge(a, &f, &near, &nothing);
    o = find(&found, "overload");
    cr_assert(o && fabs(o->probability - 0.5) < 0.01 && strstr(o->evidence, "150"));
    found = judge(a, &f, &far, &nothing);
    cr_assert_null(find(&found, "overload"));
}

Test(predict_failures, connections_in_use_leak_or_needed)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_forecast f = flat(a, 100, 1000);
    struct tw_model m = model(1000);
    struct tw_predict_limits l = nothing;
    struct tw_failures found;
    const struct tw_failure *c;

    l.max_connections = 100;
    l.reserved_connections = 3;
    l.connections_used = 37;
    found = judge(a, &f, &m, &l);
    cr_assert_null(find(&found, "connections"));

    l.connection_growth_per_s = 10.0 / 3600;
    found = judge(a, &f, &m, &l);
    c = find(&found, "connections");
    cr_assert(c);
    cr_assert_float_eq(c->at_hours, 6, 1e-9);

    l.connections_used = 98;
    found = judge(a, &f, &m, &l);
    cr_assert_eq(find(&found, "connections")->at_hours, 0);

    l.connections_used = NAN;
    l.connection_growth_per_s = NAN;
    l.max_connections = 15;
    found = judge(a, &f, &m, &l);
    cr_assert_eq(find(&found, "connections")->at_hours, 12);
}

Test(predict_failures, memory_counts_shared_other_and_connections)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_forecast f = flat(a, 100, 1000);
    struct tw_model m = model(1000);
    struct tw_predict_limits l = nothing;
    struct tw_failures found;

    l.memory_limit_bytes = 1e9;
    l.shared_memory_bytes = 6e8;
    found = judge(a, &f, &m, &l);
    cr_assert_null(find(&found, "oom"));
    l.memory_other_bytes = 2.5e8; /* 0.6 + 0.25 + 0.2 at hour 12, 0.1 before */
    found = judge(a, &f, &m, &l);
    cr_assert(find(&found, "oom") && find(&found, "oom")->at_hours == 12);
    l.memory_other_bytes = 2e8; /* 0.1 is left, a connection per hour takes 0.01 of it */
    l.memory_limit_bytes = 1.1e9;
    l.connection_growth_per_s = 1.0 / 3600;
    found = judge(a, &f, &m, &l);
    cr_assert_float_eq(find(&found, "oom")->at_hours, 12, 1e-9);
    l.shared_memory_bytes = 2e9;
    found = judge(a, &f, &m, &l);
    cr_assert_eq(find(&found, "oom")->at_hours, 0);
}

Test(predict_failures, disk_fills_by_growth_and_kept_wal)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_forecast f = flat(a, 100, 1000);
    struct tw_model m = model(1000);
    struct tw_predict_limits l = nothing;
    struct tw_failures found;

    l.disk_free_bytes = 10e9;
    l.growth_bytes_per_s = 5e8 / 3600;
    l.wal_kept_bytes_per_s = 4e8 / 3600;
    l.max_wal_bytes = 1e9;
    found = judge(a, &f, &m, &l);
    cr_assert_float_eq(find(&found, "disk_full")->at_hours, 10, 1e-9);
    l.wal_kept_bytes_per_s = l.growth_bytes_per_s = 0;
    found = judge(a, &f, &m, &l);
    cr_assert_null(find(&found, "disk_full"));
    l.disk_free_bytes = 5e8; /* max_wal_size alone is too much */
    found = judge(a, &f, &m, &l);
    cr_assert_float_eq(find(&found, "disk_full")->at_hours, 12, 1e-9);
}

Test(predict_failures, below_the_threshold_nothing_is_told)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_forecast f = flat(a, 100, 1000);
    struct tw_model m = model(150);
    struct tw_failures found = {0};

    tw_predict_failures(a, &f, &m, &nothing, 24, 0.6, &found);
    cr_assert_null(find(&found, "overload"));
}
