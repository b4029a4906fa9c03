#include "world/service/kind_postgresql/kind_pg_internal.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static const struct tw_setting buffers = {.name = "shared_buffers",
                                          .unit = "8kB",
                                          .type = "integer",
                                          .min = "16",
                                          .max = "1073741823"};
static const struct tw_setting timeout = {.name = "checkpoint_timeout",
                                          .unit = "s",
                                          .type = "integer",
                                          .min = "30",
                                          .max = "86400"};
static const struct tw_setting plain = {
    .name = "max_connections", .type = "integer", .min = "1", .max = "262143"};
static const struct tw_setting flag = {.name = "fsync", .type = "bool"};
static const struct tw_setting level = {.name = "synchronous_commit",
                                        .type = "enum",
                                        .enum_values =
                                            "local,remote_write,remote_apply,on,off"};

Test(service_settings, values_are_read_as_the_server_reads_them)
{
    static const struct {
        const struct tw_setting *s;
        const char *value;
        double want;
    } rows[] = {{&buffers, "2GB", 262144},   {&buffers, "16384", 16384},
                {&buffers, "128 MB", 16384}, {&timeout, "5min", 300},
                {&timeout, "90000ms", 90},   {&plain, "0x64", 100},
                {&plain, "1e2", 100},        {&timeout, "1.5min", 90}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        double number = NAN;

        cr_expect_eq(kind_pg_read_number(rows[i].s, rows[i].value, &number, NULL), 0,
                     "%s", rows[i].value);
        cr_expect_float_eq(number, rows[i].want, 1e-9, "%s", rows[i].value);
    }
}

Test(service_settings, what_the_server_refuses_is_refused_with_its_words)
{
    static const struct {
        const struct tw_setting *s;
        const char *value, *words;
    } rows[] = {{&timeout, "5mins", "\"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\""},
                {&timeout, "5MB", "valid units"},
                {&buffers, "2gb", "\"B\", \"kB\", \"MB\", \"GB\", and \"TB\""},
                {&plain, "300000", "300000 is outside the valid range"},
                {&plain, "10MB", "has no unit"},
                {&plain, "many", "whole number"},
                {&flag, "maybe", "Boolean"},
                {&level, "never", "available values"}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_err err = {0};

        cr_expect_eq(kind_pg_check_value(rows[i].s, rows[i].value, &err), -EINVAL, "%s",
                     rows[i].value);
        cr_expect(strstr(err.text, rows[i].words), "%s: %s", rows[i].value, err.text);
    }
}

Test(service_settings, booleans_and_enums_in_every_spelling)
{
    static const char *const flags[] = {"on", "OFF", "t", "yes", "0", "tru"};
    static const char *const levels[] = {"on", "Remote_Apply", "local", "true", "0"};

    for (size_t i = 0; i < TW_COUNT_OF(flags); i++)
        cr_expect_eq(kind_pg_check_value(&flag, flags[i], NULL), 0, "%s", flags[i]);
    for (size_t i = 0; i < TW_COUNT_OF(levels); i++)
        cr_expect_eq(kind_pg_check_value(&level, levels[i], NULL), 0, "%s", levels[i]);
}

Test(service_settings, units_and_lists_are_known_for_a_server_at_rest)
{
    bool quoted;

    cr_expect_str_eq(kind_pg_unit_of("shared_buffers"), "8kB");
    cr_expect_str_eq(kind_pg_unit_of("Checkpoint_Timeout"), "s");
    cr_expect_null(kind_pg_unit_of("max_connections"));
    cr_expect(kind_pg_is_list("shared_preload_libraries", &quoted) && quoted);
    cr_expect(kind_pg_is_list("listen_addresses", &quoted) && !quoted);
    cr_expect_not(kind_pg_is_list("work_mem", &quoted));
}
