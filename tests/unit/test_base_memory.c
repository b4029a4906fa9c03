#include "tw/base.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

Test(base_memory, an_arena_gives_zeroed_aligned_memory_of_any_size)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    for (size_t size = 0; size < 100000; size = size * 2 + 1) {
        unsigned char *p = tw_arena_alloc(a, size);

        cr_assert(p != NULL && (uintptr_t)p % 16 == 0);
        for (size_t i = 0; i < size; i++)
            cr_assert(p[i] == 0);
        memset(p, 0xff, size);
    }
}

Test(base_memory, an_array_grows_and_keeps_what_it_had)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct {
        TW_ARRAY(int) list;
    } numbers = {0};

    for (int i = 0; i < 1000; i++)
        TW_PUSH(a, &numbers.list, i);
    cr_assert(numbers.list.count == 1000);
    for (int i = 0; i < 1000; i++)
        cr_assert(numbers.list.items[i] == i);
}

Test(base_memory, texts_are_copied_or_stay_nothing)
{
    tw_auto(tw_arena) *a = tw_arena_new();

    cr_expect(tw_arena_strdup(a, NULL) == NULL);
    cr_expect_str_eq(tw_arena_strndup(a, "abcdef", 3), "abc");
    cr_expect_str_eq(tw_arena_strndup(a, "ab", 30), "ab");
    cr_expect_str_eq(tw_arena_printf(a, "%d-%s", 5, "x"), "5-x");
}

Test(base_memory, a_buffer_stops_at_the_maximum_it_was_born_with)
{
    struct tw_buf b;

    tw_buf_init(&b, 10);
    cr_expect_str_eq(tw_buf_text(&b), "");
    tw_buf_puts(&b, "12345");
    tw_buf_printf(&b, "%s", "6789abc");
    cr_expect(b.overflow && b.len == 10);
    cr_expect_str_eq(tw_buf_text(&b), "123456789a");
    tw_buf_puts(&b, "x");
    cr_expect(b.len == 10);
    tw_buf_clear(&b);
    cr_expect(!b.overflow && b.len == 0);
    cr_expect_str_eq(tw_buf_text(&b), "");
    tw_buf_done(&b);
}

Test(base_memory, a_taken_buffer_is_never_nothing)
{
    struct tw_buf b;
    char *text;

    tw_buf_init(&b, 10);
    text = tw_buf_take(&b);
    cr_expect_str_eq(text, "");
    free(text);
    tw_buf_puts(&b, "x");
    text = tw_buf_take(&b);
    cr_expect_str_eq(text, "x");
    cr_expect(b.data == NULL && b.len == 0);
    free(text);
}

Test(base_memory, bytes_may_be_anything)
{
    struct tw_buf b;

    tw_buf_init(&b, 100);
    tw_buf_add(&b, "a\0b", 3);
    cr_expect(b.len == 3 && memcmp(b.data, "a\0b", 4) == 0);
    tw_buf_done(&b);
}
