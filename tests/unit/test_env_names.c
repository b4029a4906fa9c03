#include "tw/env.h"

#include <criterion/criterion.h>
#include <string.h>

Test(env_names, a_name_is_one_word_that_a_command_and_a_route_can_carry)
{
    static const struct {
        char name[24];
        bool fine;
    } rows[] = {{"pg-main", true}, {"shop/web", true},  {"db_2.eu", true},
                {"größe", true},   {"", false},         {"two words", false},
                {"-x", false},     {"/x", false},       {"a?b", false},
                {"a#b", false},    {"tab\there", false}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct tw_target t = {.name = rows[i].name,
                              .environment = "e",
                              .type = "postgresql",
                              .dsn = "host=x"};
        struct tw_err err = {0};
        int r = tw_env_check(&t, &err);

        cr_expect_eq(r == 0, rows[i].fine, "'%s': %s", rows[i].name, err.text);
        t.name = "x";
        t.environment = rows[i].name;
        r = tw_env_check(&t, &err);
        cr_expect_eq(r == 0, rows[i].fine, "environment '%s': %s", rows[i].name,
                     err.text);
    }
}
