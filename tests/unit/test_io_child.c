#include "tw/io.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SAME      .uid = (unsigned)-1, .gid = (unsigned)-1

Test(io_child, both_outputs_and_the_status_come_back)
{
    struct tw_child c = {.argv = ARGV("sh", "-c", "echo out; echo err >&2; exit 7"),
                         SAME};
    struct tw_child_result r;

    cr_assert(tw_child_run(&c, &r, NULL) == 0);
    cr_expect_str_eq(tw_buf_text(&r.out), "out\n");
    cr_expect_str_eq(tw_buf_text(&r.err), "err\n");
    cr_expect(r.status == 7);
    tw_child_result_done(&r);
}

Test(io_child, input_and_environment_and_directory_are_given)
{
    struct tw_child c = {.argv = ARGV("sh", "-c", "cat; echo $A; pwd"),
                         .env = ARGV("A=b"),
                         .cwd = "/",
                         .input = "text\n",
                         SAME};
    struct tw_child_result r;

    cr_assert(tw_child_run(&c, &r, NULL) == 0);
    cr_expect_str_eq(tw_buf_text(&r.out), "text\nb\n/\n");
    tw_child_result_done(&r);
}

Test(io_child, a_missing_program_is_an_error_that_names_it)
{
    struct tw_child c = {.argv = ARGV("no-such-program-anywhere"), SAME};
    struct tw_child_result r;
    struct tw_err err = {0};

    cr_expect(tw_child_run(&c, &r, &err) == -ENOENT);
    cr_expect(strstr(err.text, "no-such-program-anywhere"), "%s", err.text);
}

Test(io_child, a_child_past_its_deadline_is_killed_with_its_children)
{
    struct tw_child c = {.argv = ARGV("sh", "-c", "sleep 60 & sleep 60"),
                         .deadline_ns = tw_now_ns() + 50 * TW_MSEC_NS,
                         SAME};
    struct tw_child_result r;
    int64_t begin = tw_now_ns();

    cr_expect(tw_child_run(&c, &r, NULL) == -ETIMEDOUT);
    cr_expect(tw_now_ns() - begin < 5 * TW_SEC_NS);
}

Test(io_child, a_grandchild_that_keeps_the_pipe_does_not_hold_us)
{
    struct tw_child c = {.argv = ARGV("sh", "-c", "echo done; sleep 3 &"), SAME};
    struct tw_child_result r;
    int64_t begin = tw_now_ns();

    cr_assert(tw_child_run(&c, &r, NULL) == 0);
    cr_expect_str_eq(tw_buf_text(&r.out), "done\n");
    cr_expect(tw_now_ns() - begin < 2 * TW_SEC_NS);
    tw_child_result_done(&r);
}

Test(io_child, output_past_the_maximum_is_dropped_and_said_so)
{
    struct tw_child c = {.argv =
                             ARGV("sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x"),
                         .max_output = 1000,
                         SAME};
    struct tw_child_result r;

    cr_assert(tw_child_run(&c, &r, NULL) == 0);
    cr_expect(r.out.len == 1000 && r.out.overflow && r.status == 0);
    tw_child_result_done(&r);
}

Test(io_child, a_signal_is_a_status)
{
    struct tw_child c = {.argv = ARGV("sh", "-c", "kill -TERM $$"), SAME};
    struct tw_child_result r;

    cr_assert(tw_child_run(&c, &r, NULL) == 0);
    cr_expect(r.status == 128 + 15);
    tw_child_result_done(&r);
}

Test(io_child, privileges_are_dropped_with_all_groups)
{
    struct tw_child c = {
        .argv = ARGV("sh", "-c", "id -u; id -G"), .uid = 65534, .gid = 65534};
    struct tw_child_result r;

    if (geteuid() != 0)
        cr_skip_test("needs root");
    cr_assert(tw_child_run(&c, &r, NULL) == 0);
    cr_expect_str_eq(tw_buf_text(&r.out), "65534\n65534\n");
    tw_child_result_done(&r);
}
