/* Laws of what fills, expires or is never reclaimed, on days made by hand. */
#include "tw/predict.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define UNKNOWN_LIMITS                                                                   \
    .memory_limit_bytes = NAN, .memory_other_bytes = NAN, .shared_memory_bytes = NAN,    \
    .max_connections = NAN, .reserved_connections = NAN, .connections_used = NAN,        \
    .connection_growth_per_s = NAN, .disk_free_bytes = NAN, .growth_bytes_per_s = NAN,   \
    .wal_kept_bytes_per_s = NAN, .max_wal_bytes = NAN

/* 24 hours; by night (the first half) a tenth of the rate. */
static struct tw_forecast day(struct tw_arena *a, double rate)
{
    struct tw_forecast f = {.wal_bytes = tw_unknown,
                            .memory_bytes = tw_unknown,
                            .connections = tw_unknown,
                            .throughput_per_s = tw_unknown};

    for (int i = 0; i < 24; i++)
        TW_PUSH(a, &f.bins,
                (struct tw_bin){.from_h = i,
                                .hours = 1,
                                .throughput_per_s = i < 12 ? rate / 10 : rate,
                                .wal_bytes_per_s = (i < 12 ? rate / 10 : rate) * 100});
    f.throughput_per_s.value = 0.55 * rate;
    return f;
}

static struct tw_estimate exactly(double value)
{
    return (struct tw_estimate){value, NAN, NAN, NAN, 1, NULL};
}

static struct tw_stock stock(struct tw_arena *a, const char *law, double used, double limit,
                             double per_request)
{
    struct tw_stock s = {.law = law, .name = "it", .used = used, .limit = limit};

    TW_PUSH(a, &s.inflows,
            (struct tw_inflow){.per_request = exactly(per_request),
                               .per_s = tw_unknown,
                               .ceiling = NAN,
                               .probability = 1});
    return s;
}

static struct tw_failures judge(struct tw_arena *a, const struct tw_forecast *f,
                                const struct tw_predict_limits *l)
{
    struct tw_failures found = {0};

    tw_predict_failures(a, f, NULL, l, 24, 0.3, &found);
    return found;
}

static const struct tw_failure *find(const struct tw_failures *list, const char *kind)
{
    for (size_t i = 0; i < list->list.count; i++)
        if (tw_streq(list->list.items[i].kind, kind))
            return &list->list.items[i];
    return NULL;
}

static const struct tw_looked *looked(const struct tw_failures *list, const char *kind)
{
    for (size_t i = 0; i < list->looked.count; i++)
        if (tw_streq(list->looked.items[i].kind, kind))
            return &list->looked.items[i];
    return NULL;
}

Test(predict_laws, a_stock_fills_with_the_load_of_the_day_not_in_a_straight_line)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_forecast f = day(a, 10);
    struct tw_predict_limits l = {UNKNOWN_LIMITS};
    struct tw_failures found;

    /* 12 h at 1/s and 3 h at 10/s; the mean rate would say 7.6 h */
    TW_PUSH(a, &l.stocks, stock(a, "sequence", 1000, 1000 + 3600 * (12 + 30), 1));
    found = judge(a, &f, &l);
    cr_assert(find(&found, "sequence"));
    cr_assert_float_eq(find(&found, "sequence")->at_hours, 15, 1e-3);
    cr_assert(find(&found, "sequence")->low < 15 && find(&found, "sequence")->high > 15);
    cr_assert(find(&found, "sequence")->probability > 0.99);
}

Test(predict_laws, never_within_the_horizon_is_an_answer_with_its_margin)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_forecast f = day(a, 10);
    struct tw_predict_limits l = {UNKNOWN_LIMITS};
    struct tw_failures found;
    const char *text;

    TW_PUSH(a, &l.stocks, stock(a, "sequence", 0, 3600 * 132 * 10.0, 1));
    TW_PUSH(a, &l.stocks, stock(a, "files", 10, 1024, NAN));
    found = judge(a, &f, &l);
    cr_assert_eq(found.list.count, 0);
    cr_assert_float_eq(looked(&found, "sequence")->at_hours, 240, 1e-2);
    cr_assert(isinf(looked(&found, "files")->at_hours));
    text = tw_predict_looked(a, &found, 24);
    cr_assert(text && strstr(text, "sequence") && strstr(text, "10 days"), "%s", text);
}

Test(predict_laws, what_begins_again_is_no_failure)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_forecast f = day(a, 10);
    struct tw_predict_limits l = {UNKNOWN_LIMITS};
    struct tw_stock s = stock(a, "sequence", 0, 100, 1);
    struct tw_failures found;

    s.cycles = "begins again";
    TW_PUSH(a, &l.stocks, s);
    found = judge(a, &f, &l);
    cr_assert_eq(found.list.count + found.looked.count, 0);
}

Test(predict_laws, the_uncertainty_of_a_rate_is_that_of_the_time)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_forecast f = day(a, 10);
    struct tw_predict_limits l = {UNKNOWN_LIMITS};
    struct tw_stock s = stock(a, "sequence", 0, 3600 * 132, 1); /* just at the end */
    struct tw_failures found;

    s.inflows.items[0].per_request = tw_predict_rate(100, 100, 100, 0);
    cr_assert_float_eq(s.inflows.items[0].per_request.low, exp(-0.16449), 1e-4);
    TW_PUSH(a, &l.stocks, s);
    found = judge(a, &f, &l);
    cr_assert_float_eq(find(&found, "sequence")->probability, 0.5, 1e-6);
}

Test(predict_laws, disk_takes_wal_up_to_its_ceiling_or_without_end)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_forecast f = day(a, 10);
    struct tw_predict_limits l = {UNKNOWN_LIMITS};
    struct tw_stock s = {.law = "disk", .kind = "disk_full", .name = "/d", .unit = "bytes", .used = 0,
                         .limit = 3600 * 100 * (12 + 10.0)};
    struct tw_failures found;

    TW_PUSH(a, &s.inflows,
            (struct tw_inflow){.what = "WAL",
                               .per_request = tw_unknown,
                               .per_s = tw_unknown,
                               .wal = 1,
                               .ceiling = 3600 * 100,
                               .probability = 1});
    TW_PUSH(a, &l.stocks, s);
    found = judge(a, &f, &l);
    cr_assert_null(find(&found, "disk_full"));
    l.stocks.items[0].inflows.items[0].ceiling = NAN;
    found = judge(a, &f, &l);
    cr_assert_float_eq(find(&found, "disk_full")->at_hours, 13, 1e-3);
    l.stocks.items[0].inflows.items[0].probability = 0.4; /* that nothing takes it */
    found = judge(a, &f, &l);
    cr_assert_float_eq(find(&found, "disk_full")->probability, 0.4, 1e-6);
}

Test(predict_laws, expiry_is_by_the_clock_with_nothing_measured)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    int64_t now = INT64_C(1700000000) * TW_SEC_NS;
    struct tw_predict_limits l = {UNKNOWN_LIMITS, .now_wall_ns = now};
    struct tw_expiry soon = {"password of role", "app", 0, now + 6 * 3600 * TW_SEC_NS};
    struct tw_expiry late = {"certificate", "/c", 0, now + 600 * 3600 * TW_SEC_NS};
    struct tw_expiry past = {"certificate", "/d", 0, now - 3600 * TW_SEC_NS};
    struct tw_failures found = {0};

    TW_PUSH(a, &l.expiries, late);
    found = judge(a, NULL, &l);
    cr_assert_eq(found.list.count, 0);
    cr_assert_float_eq(looked(&found, "expiry")->at_hours, 600, 1e-6);
    TW_PUSH(a, &l.expiries, soon);
    found = judge(a, NULL, &l);
    cr_assert_float_eq(find(&found, "expiry")->at_hours, 6, 1e-6);
    TW_PUSH(a, &l.expiries, past);
    found = judge(a, NULL, &l);
    cr_assert_eq(found.list.count, 2);
    cr_assert(strstr(found.list.items[1].evidence, "expired at"));
}

Test(predict_laws, old_ids_are_made_young_in_time_unless_something_holds_them)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_forecast f = day(a, 1000);
    struct tw_predict_limits l = {UNKNOWN_LIMITS,
                                  .freeze_max_age = {2e8, 4e8},
                                  .vacuum_pages_per_s = 1000,
                                  .table_pages = 1e5};
    struct tw_stock s = stock(a, "xid", 2.14e9, 2144483648.0, 1);
    struct tw_failures found;

    s.kind = "xid";
    TW_PUSH(a, &l.stocks, s);
    found = judge(a, &f, &l);
    cr_assert_null(find(&found, "xid"));
    l.xmin_holder = "slot gone";
    l.xmin_holder_age = 2.14e9;
    found = judge(a, &f, &l);
    cr_assert(find(&found, "xid") && find(&found, "xid")->at_hours < 24);
    l.xmin_holder = NULL;
    l.vacuum_pages_per_s = 0.01; /* throttled: 1e7 s, in which 5.5e9 ids are taken */
    found = judge(a, &f, &l);
    cr_assert(find(&found, "xid"));
}

static struct tw_vacuumed table(double cost_per_s)
{
    return (struct tw_vacuumed){.name = "public.t",
                                .rows = 1e5,
                                .heap_pages = 1640,
                                .index_pages = 300,
                                .dead_per_request = exactly(1),
                                .dead_per_s = tw_unknown,
                                .threshold_rows = 20050,
                                .naptime_s = 60,
                                .cost_per_s = cost_per_s};
}

Test(predict_laws, dead_rows_pile_up_where_a_vacuum_cannot_keep_up)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_forecast f = day(a, 100);
    struct tw_predict_limits l = {UNKNOWN_LIMITS};
    struct tw_failures found;

    TW_PUSH(a, &l.tables, table(1e5)); /* as autovacuum comes by default */
    found = judge(a, &f, &l);
    cr_assert_null(find(&found, "bloat"));
    l.tables.items[0] = table(10);
    found = judge(a, &f, &l);
    cr_assert(find(&found, "bloat"));
    cr_assert_float_eq(find(&found, "bloat")->at_hours, 1e5 / 55 / 3600, 1e-6);
    l.tables.items[0] = table(1e5);
    l.tables.items[0].threshold_rows = INFINITY;
    found = judge(a, &f, &l);
    cr_assert(find(&found, "bloat") && strstr(find(&found, "bloat")->evidence, "no vacuum"));
}

Test(predict_laws, a_leak_is_steady_and_a_pool_is_not)
{
    double leak[20], pool[20];
    struct tw_estimate e;

    for (int i = 0; i < 20; i++) {
        leak[i] = -3.0 * (20 - i) + (i % 3) * 0.7;
        pool[i] = -3600 + 0.1 * i;
    }
    e = tw_predict_leak(leak, 20, 0);
    cr_assert(e.n == 20 && fabs(e.value - 1.0 / 3) < 0.05 && e.low < e.value);
    cr_assert_eq(tw_predict_leak(pool, 20, 0).n, 0);
    cr_assert_eq(tw_predict_leak(leak, 4, 0).n, 0);
}

static void slots_fill(struct tw_slot *slots, size_t n, double (*bytes)(double requests))
{
    for (size_t i = 0; i < n; i++)
        slots[i] = (struct tw_slot){.arm = TW_CANDIDATE,
                                    .clients = 8,
                                    .done = 100,
                                    .anon_bytes = bytes(100.0 * (double)(i + 1))};
}
static double leaking(double requests)
{
    return 1e8 + 20000 * requests + (fmod(requests, 300) == 0 ? 3e4 : 0);
}
static double warming(double requests)
{
    return 1e8 + 3e7 * (1 - exp(-requests / 300));
}
static double noisy(double requests)
{
    return 1e8 + (fmod(requests, 200) == 0 ? 4e6 : -4e6);
}

Test(predict_laws, memory_that_levels_off_or_only_jumps_is_no_leak)
{
    struct tw_slot slots[30];
    struct tw_estimate e;

    slots_fill(slots, 30, leaking);
    e = tw_predict_memory_growth(slots, 30, TW_CANDIDATE);
    cr_assert(e.n == 30 && fabs(e.value - 20000) < 500 && e.low <= e.value);
    slots_fill(slots, 30, warming);
    cr_assert_eq(tw_predict_memory_growth(slots, 30, TW_CANDIDATE).n, 0);
    slots_fill(slots, 30, noisy);
    cr_assert_eq(tw_predict_memory_growth(slots, 30, TW_CANDIDATE).n, 0);
}

Test(predict_laws, pools_are_asked_for_at_once)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_predict_limits l = {UNKNOWN_LIMITS};
    struct tw_failures found;

    l.max_connections = 100;
    l.reserved_connections = 3;
    l.connections_asked = 97;
    found = judge(a, NULL, &l);
    cr_assert_null(find(&found, "connections"));
    l.connections_asked = 160; /* eight instances with pools of twenty */
    found = judge(a, NULL, &l);
    cr_assert(find(&found, "connections") && find(&found, "connections")->at_hours == 0);
    cr_assert(strstr(find(&found, "connections")->evidence, "160"));
}
