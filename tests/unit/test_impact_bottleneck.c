#include "impact/impact_internal.h"

#include <criterion/criterion.h>
#include <math.h>

#define WAITS 4
#define NAMES 8

/* What a planted case shows, and what has to be named. */
struct planted {
    char name[48];
    double cpu, throttled, temp_bytes, demand_s, connections;
    struct {
        char event[24];
        double share;
        char statement[24];
    } waits[WAITS];
    struct {
        char text[40], plan[40];
        double share, rows;
    } statements[WAITS];
    char resource[16], next[16];
    double forced, full_pages;
};
static const struct planted cases[] = {
    {"point selects on one core",
     0.97,
     0,
     0,
     0.2e-3,
     20,
     {{"CPU", 0.9, ""}, {"LWLock:BufferMapping", 0.1, ""}},
     {{"SELECT a WHERE", "Index Scan using p on t", 1, 1}},
     "cpu",
     "buffer_locks",
     0,
     0},
    {"cpu quota",
     0.99,
     0.4,
     0,
     0.2e-3,
     20,
     {{"CPU", 1, ""}},
     {{"", "", 0, 0}},
     "cpu",
     "",
     0,
     0},
    {"commits on a slow disk",
     0.35,
     0,
     0,
     0.3e-3,
     20,
     {{"LWLock:WALWrite", 0.7, ""}, {"IO:WALSync", 0.1, ""}, {"CPU", 0.2, ""}},
     {{"", "", 0, 0}},
     "wal_flush",
     "cpu",
     0,
     0},
    {"one hot row",
     0.4,
     0,
     0,
     0.3e-3,
     20,
     {{"Lock:transactionid", 0.6, ""}, {"Lock:tuple", 0.25, ""}, {"CPU", 0.15, ""}},
     {{"", "", 0, 0}},
     "locks",
     "cpu",
     0,
     0},
    {"a set larger than memory",
     0.3,
     0,
     0,
     0.3e-3,
     20,
     {{"IO:DataFileRead", 0.8, ""}, {"CPU", 0.2, ""}},
     {{"", "", 0, 0}},
     "io",
     "cpu",
     0,
     0},
    {"sorts that spill",
     0.95,
     0,
     4e6,
     10e-3,
     20,
     {{"CPU", 0.9, ""}, {"IO:BufFileWrite", 0.1, ""}},
     {{"SELECT ORDER BY", "Sort", 1, 1000}},
     "temp_files",
     "cpu",
     0,
     0},
    {"no index on the filtered column",
     0.98,
     0,
     0,
     20e-3,
     20,
     {{"CPU", 1, ""}},
     {{"SELECT b WHERE c = $1", "Seq Scan on big", 0.9, 3},
      {"SELECT", "Index Scan", 0.1, 1}},
     "missing_index",
     "cpu",
     0,
     0},
    {"one hot statement of four",
     0.98,
     0,
     0,
     1e-3,
     20,
     {{"CPU", 1, ""}},
     {{"SELECT sum", "Aggregate", 0.8, 1},
      {"SELECT 1", "Index Scan", 0.1, 1},
      {"SELECT 2", "Index Scan", 0.05, 1},
      {"SELECT 3", "Index Scan", 0.05, 1}},
     "statement",
     "cpu",
     0,
     0},
    {"connections nearly used up",
     0.3,
     0,
     0,
     0.3e-3,
     99,
     {{"CPU", 1, ""}},
     {{"", "", 0, 0}},
     "connections",
     "cpu",
     0,
     0},
    {"a rare statement that takes the time",
     0.98,
     0,
     0,
     1e-3,
     20,
     {{"CPU", 0.85, "SELECT sum"}, {"CPU", 0.15, "SELECT 1"}},
     {{"SELECT 1", "Index Scan", 0.5, 1},
      {"SELECT 2", "Index Scan", 0.4, 1},
      {"SELECT sum", "Aggregate", 0.1, 1}},
     "statement",
     "cpu",
     0,
     0},
    {"sorts merged many times over",
     0.97,
     0,
     2e6,
     40e-3,
     20,
     {{"CPU", 0.6, ""}, {"IO:BufFileWrite", 0.25, ""}, {"IO:BufFileRead", 0.15, ""}},
     {{"SELECT ORDER BY", "Sort", 1, 1000}},
     "temp_files",
     "cpu",
     0,
     0},
    {"WAL that runs full",
     0.9,
     0,
     0,
     0.3e-3,
     20,
     {{"CPU", 0.9, ""}, {"LWLock:WALWrite", 0.1, ""}},
     {{"UPDATE", "Index Scan", 1, 1}},
     "checkpoints",
     "cpu",
     3,
     0.9},
    {"one checkpoint that was due",
     0.9,
     0,
     0,
     0.3e-3,
     20,
     {{"CPU", 1, ""}},
     {{"UPDATE", "Index Scan", 1, 1}},
     "cpu",
     "",
     1,
     0.9},
    {"a count over all rows is no missing index",
     0.98,
     0,
     0,
     20e-3,
     20,
     {{"CPU", 1, ""}},
     {{"SELECT count(*) FROM big", "Seq Scan on big", 1, 1}},
     "cpu",
     "",
     0,
     0},
};

Test(impact_bottleneck, planted_causes_are_named)
{
    for (size_t c = 0; c < TW_COUNT_OF(cases); c++) {
        const struct planted *p = &cases[c];
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_plan plan = {.hours = 24};
        struct tw_snapshot s = {0};
        struct tw_model m = {
            .level_count = 1, .demand_s = {p->demand_s}, .capacity_per_s = 2000};
        struct tw_forecast f = {.connections = {p->connections, NAN, NAN, NAN, 1, NULL}};
        struct tw_impact ret = {0};
        struct tw_impact_facts facts = {.plan = &plan,
                                        .snapshot = &s,
                                        .candidate_started = true,
                                        .candidate_restarted = true,
                                        .peak_rate_per_s = 1000};
        struct impact i = {a, &facts, &ret};
        struct tw_table big = {.name = "big", .rows = 100000};
        struct tw_setting most = {.name = "max_connections", .value = "100"};

        TW_PUSH(a, &s.tables, big);
        TW_PUSH(a, &s.settings, most);
        facts.model[TW_CANDIDATE] = &m;
        facts.forecast[TW_CANDIDATE] = &f;
        facts.cpu_share[TW_CANDIDATE] = p->cpu;
        facts.throttled_share[TW_CANDIDATE] = p->throttled;
        facts.temp_bytes_per_request[TW_CANDIDATE] = p->temp_bytes;
        facts.forced_checkpoints[TW_CANDIDATE] = p->forced;
        facts.full_page_share[TW_CANDIDATE] = p->full_pages;
        for (int k = 0; k < WAITS; k++) {
            const struct tw_impact_wait wait = {
                p->waits[k].event,
                p->waits[k].statement[0] ? p->waits[k].statement : NULL,
                p->waits[k].share};
            const struct tw_statement_effect statement = {
                .text = p->statements[k].text,
                .share = p->statements[k].share,
                .before_ms = 1,
                .after_ms = 1,
                .rows = p->statements[k].rows,
                .plan_before = p->statements[k].plan,
                .plan_after = p->statements[k].plan};

            if (wait.share > 0)
                TW_PUSH(a, &facts.waits[TW_CANDIDATE], wait);
            if (statement.share > 0)
                TW_PUSH(a, &facts.statements, statement);
        }
        impact_bottleneck(&i);
        cr_expect_str_eq(ret.bottleneck.resource, p->resource, "%s: named %s (%s)",
                         p->name, ret.bottleneck.resource, ret.bottleneck.evidence);
        cr_expect_str_eq(ret.bottleneck.next ? ret.bottleneck.next : "", p->next,
                         "%s: next %s", p->name, ret.bottleneck.next);
        cr_expect_float_eq(ret.bottleneck.headroom, 2, 1e-9);
        cr_expect_not_null(ret.bottleneck.evidence);
    }
}

Test(impact_bottleneck, nothing_known_names_nothing)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_plan plan = {.hours = 24};
    struct tw_snapshot s = {0};
    struct tw_impact ret = {0};
    struct tw_impact_facts facts = {.plan = &plan,
                                    .snapshot = &s,
                                    .peak_rate_per_s = NAN,
                                    .cpu_share = {NAN, NAN},
                                    .throttled_share = {NAN, NAN},
                                    .temp_bytes_per_request = {NAN, NAN}};
    struct impact i = {a, &facts, &ret};

    impact_bottleneck(&i);
    cr_expect_null(ret.bottleneck.resource);
    cr_expect(isnan(ret.bottleneck.saturates_at_per_s));
}
