#include "tw/base.h"

#include <criterion/criterion.h>
#include <string.h>

Test(base_text, the_nearest_name_is_found_without_case_and_only_when_near)
{
    static const char *const names[] = {"work_mem", "maintenance_work_mem",
                                        "max_connections", "jit", "shared_buffers"};
    static const struct {
        const char *word, *nearest;
    } rows[] = {
        {"work_men", "work_mem"},
        {"WORK_MEM", "work_mem"},
        {"max_conections", "max_connections"},
        {"shared_bufers", "shared_buffers"},
        {"git", "jit"},
        {"completely_different", NULL},
        {"", NULL},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        const char *near = tw_nearest(rows[i].word, names, TW_COUNT_OF(names));

        cr_expect(tw_streq(near, rows[i].nearest), "%s: %s", rows[i].word,
                  near ? near : "none");
    }
}

Test(base_text, a_word_longer_than_anything_known_is_near_to_nothing)
{
    char word[4096];
    static const char *const names[] = {"a"};

    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    cr_expect(tw_nearest(word, names, 1) == NULL);
}

Test(base_text, no_text_equals_only_no_text)
{
    cr_expect(tw_streq(NULL, NULL) && tw_streq("a", "a"));
    cr_expect(!tw_streq(NULL, "") && !tw_streq("", NULL) && !tw_streq("a", "b"));
}

Test(base_text, beginnings_and_ends)
{
    cr_expect(tw_starts_with("abc", "ab") && tw_starts_with("abc", ""));
    cr_expect(!tw_starts_with("ab", "abc"));
    cr_expect(tw_ends_with("abc", "bc") && tw_ends_with("abc", ""));
    cr_expect(!tw_ends_with("bc", "abc"));
}

Test(base_text, names_have_an_index)
{
    static const char *const names[] = {"a", NULL, "c"};

    cr_expect(tw_name_index("c", names, 3) == 2);
    cr_expect(tw_name_index("b", names, 3) == -1);
    cr_expect(tw_name_index(NULL, names, 3) == -1);
}

Test(base_text, the_hash_is_that_of_the_standard)
{
    char hex[65];

    tw_sha256_hex("abc", 3, hex); /* FIPS 180-2, B.1 */
    cr_expect_str_eq(hex,
                     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

Test(base_text, ids_are_valid_different_and_sort_by_age)
{
    char first[TW_ID_LEN + 1], second[TW_ID_LEN + 1];

    tw_id_make(first);
    tw_sleep_ns(2 * TW_MSEC_NS);
    tw_id_make(second);
    cr_expect(tw_id_valid(first) && tw_id_valid(second));
    cr_expect(strcmp(first, second) < 0);
    cr_expect(!tw_id_valid("") && !tw_id_valid("../../etc/passwd0000000000") &&
              !tw_id_valid("ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
}
