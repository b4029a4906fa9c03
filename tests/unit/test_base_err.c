#include "tw/base.h"

#include <criterion/criterion.h>
#include <string.h>

Test(base_err, a_failure_returns_its_code_and_says_why)
{
    struct tw_err err = {0};

    cr_expect(tw_fail(&err, -EINVAL, "'%s' is odd", "x") == -EINVAL);
    cr_expect(err.code == -EINVAL);
    cr_expect_str_eq(err.text, "'x' is odd");
    cr_expect_str_eq(err.pointer, "");
}

Test(base_err, nobody_has_to_listen)
{
    cr_expect(tw_fail(NULL, -EIO, "x") == -EIO);
    cr_expect(tw_fail_at(NULL, -EIO, "/a", "x") == -EIO);
    cr_expect(tw_fail_errno(NULL, EIO, "x") == -EIO);
    cr_expect(tw_wrap(NULL, -EIO, "x") == -EIO);
}

Test(base_err, a_field_is_named_by_its_pointer_until_the_next_failure)
{
    struct tw_err err = {0};

    cr_expect(tw_fail_at(&err, -EINVAL, "/change/a", "wrong") == -EINVAL);
    cr_expect_str_eq(err.pointer, "/change/a");
    cr_expect(tw_wrap(&err, -EINVAL, "reading") == -EINVAL);
    cr_expect_str_eq(err.pointer, "/change/a");
    (void)tw_fail(&err, -EIO, "other");
    cr_expect_str_eq(err.pointer, "");
}

Test(base_err, the_errno_is_told_in_words)
{
    struct tw_err err = {0};

    cr_expect(tw_fail_errno(&err, ENOENT, "opening '%s'", "f") == -ENOENT);
    cr_expect_str_eq(err.text, "opening 'f': No such file or directory");
}

Test(base_err, contexts_go_before_the_text)
{
    struct tw_err err = {0};

    (void)tw_fail(&err, -EIO, "inner");
    cr_expect(tw_wrap(&err, -EIO, "middle %d", 1) == -EIO);
    (void)tw_wrap(&err, -EIO, "outer");
    cr_expect_str_eq(err.text, "outer: middle 1: inner");
}

Test(base_err, texts_longer_than_the_room_are_cut_not_overrun)
{
    struct tw_err err = {0};
    char text[4096];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)tw_fail_at(&err, -EIO, text, "%s", text);
    cr_expect(strlen(err.text) == sizeof err.text - 1);
    cr_expect(strlen(err.pointer) == sizeof err.pointer - 1);
    (void)tw_wrap(&err, -EIO, "%s", text);
    (void)tw_fail_errno(&err, EIO, "%s", text);
    cr_expect(strlen(err.text) == sizeof err.text - 1);
}
