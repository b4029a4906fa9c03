/* The grammar of faults, their strengths and schedules; the table. */
#include "tw/fault.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct tw_fault one(struct tw_arena *a, const char *text)
{
    struct tw_faults f = {0};
    struct tw_err err = {0};

    cr_assert_eq(tw_faults_from_text(a, text, &f, &err), 0, "%s: %s", text, err.text);
    cr_assert_eq(f.list.count, 1);
    return f.list.items[0];
}

Test(fault_fault, a_fault_is_read_with_all_its_parts)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_fault f = one(a, "latency=20ms@2s+3s/in");

    cr_expect_str_eq(f.kind, "latency");
    cr_expect_str_eq(f.strength, "20ms");
    cr_expect_float_eq(f.begin_s, 2, 1e-9);
    cr_expect_float_eq(f.duration_s, 3, 1e-9);
    cr_expect_str_eq(f.on, "in");
}

Test(fault_fault, what_is_left_out_is_the_kinds_own)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_fault f = one(a, "partition");

    cr_expect_null(f.strength);
    cr_expect_null(f.on);
    cr_expect(isnan(f.duration_s));
    cr_expect_float_eq(f.begin_s, 0, 1e-9);
}

Test(fault_fault, mistakes_say_what_was_expected)
{
    static const struct {
        char text[40], word[40];
    } rows[] = {{"latency=", "behind '='"},         {"=20ms", "no kind"},
                {"loss=1%@x", "begin"},             {"loss@1@2", "twice"},
                {"loss+2h", "out of range"},        {"loss/up", "'in' or 'out'"},
                {"latency=1ms,", "no kind"}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_faults f = {0};
        struct tw_err err = {0};

        cr_expect_lt(tw_faults_from_text(a, rows[i].text, &f, &err), 0, "%s", rows[i].text);
        cr_expect(strstr(err.text, rows[i].word), "%s: %s", rows[i].text, err.text);
    }
}

Test(fault_fault, a_text_comes_back_as_it_was_written)
{
    static const char text[] = "latency=20ms@2s+3s/in,loss=1%@3s,partition";
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_faults f = {0};
    size_t at = 0;

    cr_assert_eq(tw_faults_from_text(a, text, &f, NULL), 0);
    cr_expect_str_eq(tw_faults_text(a, &f, &at), text);
    cr_expect_eq(at, 3);
}

Test(fault_fault, every_kind_takes_its_own_standard)
{
    for (size_t i = 0; i < tw_fault_kind_count; i++) {
        const struct tw_fault_kind *k = tw_fault_kinds[i];
        double strength = NAN;

        cr_expect_eq(tw_fault_strength(k, NULL, &strength, NULL), 0, "%s", k->name);
        cr_expect(k->begin && k->end && k->check && k->summary && k->duration_s > 0, "%s",
                  k->name);
        cr_expect_eq(tw_fault_kind_find(k->name, NULL), k);
    }
}

Test(fault_fault, strengths_have_units_and_ranges)
{
    static const struct {
        char kind[24], text[16];
        double value; /* NaN: refused */
    } rows[] = {{"latency", "20ms", 0.02},     {"latency", "20", NAN},
                {"latency", "quick", NAN},     {"loss", "1%", 0.01},
                {"loss", "101%", NAN},         {"bandwidth", "50mbit", 50e6},
                {"io_throttle", "5MB", 5242880}, {"overload", "3x", 3},
                {"partition", "1%", NAN},      {"clock_shift", "400d", 400.0 * 86400}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        double got = NAN;
        int r = tw_fault_strength(tw_fault_kind_find(rows[i].kind, NULL), rows[i].text, &got,
                                  NULL);

        cr_expect_eq(r < 0, isnan(rows[i].value), "%s=%s", rows[i].kind, rows[i].text);
        if (r == 0)
            cr_expect_float_eq(got, rows[i].value, 1e-6);
    }
}

Test(fault_fault, an_unknown_kind_names_the_nearest_and_its_place)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_faults f = {0};
    struct tw_err err = {0};

    cr_assert_eq(tw_faults_from_text(a, "latencey=1ms", &f, NULL), 0);
    cr_expect_lt(tw_fault_check(&f, &err), 0);
    cr_expect(strstr(err.text, "'latency'"), "%s", err.text);
    cr_expect_str_eq(err.pointer, "/faults/0/kind");
}

Test(fault_fault, events_of_a_schedule_stand_in_order_of_time)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_faults f = {0};
    struct tw_fault_schedule s;
    size_t next = 0;

    cr_assert_eq(tw_faults_from_text(a, "loss=1%@1s+1s,latency=1ms@0s+1s", &f, NULL), 0);
    cr_assert_eq(tw_faults_from_text(a, "overload=3x+2s", &f, NULL), 0);
    tw_fault_schedule(a, &f, 0, &s, &next);
    cr_assert_eq(next, 2);
    cr_assert_eq(s.events.count, 4);
    cr_expect_eq(s.events.items[0].fault, 1);
    cr_expect(!s.events.items[1].begins); /* at the same second an end comes first */
    cr_expect(s.events.items[2].begins);
    cr_expect_float_eq(s.end_s, 2, 1e-9);
    cr_expect(s.link && !s.page);
    tw_fault_schedule(a, &f, next, &s, &next);
    cr_expect_float_eq(s.load_times, 3, 1e-9);
}
