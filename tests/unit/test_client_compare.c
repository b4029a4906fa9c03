#include "client/client_internal.h"

#include <criterion/criterion.h>
#include <string.h>

struct bench {
    struct tw_arena *a;
    struct tw_clients cases;
    struct tw_client_answers answers[TW_ARM_COUNT];
    struct tw_snapshot snapshot;
    struct tw_client_compared out;
};

static struct bench *new_bench(void)
{
    struct tw_arena *a = tw_arena_new();
    struct bench *b = tw_arena_alloc(a, sizeof *b);

    b->a = a;
    tw_snapshot_init(&b->snapshot);
    return b;
}

static struct tw_client_answer *add(struct bench *b, const char *origin,
                                    struct tw_client_answer before,
                                    struct tw_client_answer after)
{
    struct tw_client c = {
        .name = "app@shop", .user = "app", .origin = origin, .think_s = 2};

    TW_PUSH(b->a, &b->cases.list, c);
    TW_PUSH(b->a, &b->answers[TW_BASELINE].list, before);
    TW_PUSH(b->a, &b->answers[TW_CANDIDATE].list, after);
    return &b->answers[TW_CANDIDATE].list.items[b->cases.list.count - 1];
}

static void compare(struct bench *b, int peak, bool sure)
{
    struct tw_client_question q = {&b->snapshot, peak};

    tw_client_compare(b->a, &b->cases, b->answers, &q, sure, &b->out);
}

static const struct tw_issue *issue(const struct bench *b, const char *code)
{
    for (size_t i = 0; i < b->out.issues.list.count; i++)
        if (tw_streq(b->out.issues.list.items[i].code, code))
            return &b->out.issues.list.items[i];
    return NULL;
}

static const struct tw_client_answer served = {.end = TW_CLIENT_SERVED};

Test(client_compare, what_ends_otherwise_than_before_has_its_code)
{
    static const struct {
        enum tw_client_end end;
        const char *code;
    } rows[] = {{TW_CLIENT_NO_WAY, "client.refused"},
                {TW_CLIENT_DENIED, "client.refused"},
                {TW_CLIENT_NO_TLS, "client.tls"},
                {TW_CLIENT_HUNG, "client.hangs"},
                {TW_CLIENT_CUT, "client.error"}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct bench *b = new_bench();

        add(b, "given", served,
            (struct tw_client_answer){.end = rows[i].end, .words = "no entry"});
        compare(b, 0, false);
        cr_assert_eq(b->out.issues.list.count, 1, "%s", rows[i].code);
        cr_assert_not_null(issue(b, rows[i].code), "%s", rows[i].code);
        cr_assert_eq(issue(b, rows[i].code)->at_least, TW_BLOCK);
        cr_assert(strstr(issue(b, rows[i].code)->evidence, "app@shop: no entry"));
    }
}

Test(client_compare, what_failed_before_is_not_the_changes)
{
    struct bench *b = new_bench();
    struct tw_client_answer denied = {.end = TW_CLIENT_DENIED};

    add(b, "given", denied, denied);
    add(b, "given", served, (struct tw_client_answer){.end = TW_CLIENT_UNTRIED});
    compare(b, 0, false);
    cr_assert_eq(b->out.issues.list.count, 0);
}

Test(client_compare, many_hit_alike_are_one_finding)
{
    struct bench *b = new_bench();

    for (int i = 0; i < 9; i++) {
        add(b, "configuration", served,
            (struct tw_client_answer){.end = TW_CLIENT_DENIED,
                                      .words = tw_arena_printf(b->a, "no %d", i)});
    }
    compare(b, 0, false);
    cr_assert_eq(b->out.issues.list.count, 1);
    cr_assert(strstr(b->out.issues.list.items[0].evidence, "and 5 more"));
    cr_assert_eq(b->out.issues.list.items[0].at_least, TW_BLOCK, "nobody is left");
}

Test(client_compare, one_of_several_that_nobody_was_seen_to_use_is_a_review)
{
    struct bench *b = new_bench();

    add(b, "configuration", served, served);
    add(b, "configuration", served, (struct tw_client_answer){.end = TW_CLIENT_DENIED});
    compare(b, 0, false);
    cr_assert_eq(issue(b, "client.refused")->at_least, TW_REVIEW);
}

Test(client_compare, strangers_let_in_now_block_and_being_kept_out_is_no_loss)
{
    struct bench *b = new_bench();

    add(b, CLIENT_STRANGER, (struct tw_client_answer){.end = TW_CLIENT_DENIED},
        (struct tw_client_answer){
            .end = TW_CLIENT_SERVED, .superuser = true, .reads_files = true});
    add(b, CLIENT_STRANGER, served, (struct tw_client_answer){.end = TW_CLIENT_DENIED});
    compare(b, 0, false);
    cr_assert_eq(b->out.issues.list.count, 1);
    cr_assert_eq(issue(b, "access.anonymous")->at_least, TW_BLOCK);
    cr_assert(strstr(issue(b, "access.anonymous")->evidence, "reads the server's files"));
}

Test(client_compare, a_known_client_let_in_is_only_told)
{
    struct bench *b = new_bench();

    add(b, "given", (struct tw_client_answer){.end = TW_CLIENT_DENIED}, served);
    compare(b, 0, false);
    cr_assert_eq(issue(b, "client.admitted")->at_least, TW_PROCEED);
}

static struct tw_client_answer with_reply(struct bench *b, bool ok, bool data_fault,
                                          const char *code)
{
    struct tw_client_answer w = served;

    TW_PUSH(b->a, &w.replies,
            (struct tw_client_reply){.sent = "UPDATE t SET x = $1",
                                     .ok = ok,
                                     .data_fault = data_fault,
                                     .code = code,
                                     .complete = true});
    return w;
}

Test(client_compare, a_refused_statement_counts_where_it_worked)
{
    static const struct {
        bool ok, fault;
        const char *code;
        int issues;
    } rows[] = {{true, false, NULL, 1},      /* worked */
                {false, true, "23502", 1},   /* only our missing values were refused */
                {false, false, "42501", 0}}; /* was refused before */

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        struct bench *b = new_bench();

        add(b, "configuration", with_reply(b, rows[i].ok, rows[i].fault, rows[i].code),
            with_reply(b, false, false, "25006"));
        compare(b, 0, false);
        cr_assert_eq(b->out.issues.list.count, (size_t)rows[i].issues, "row %zu", i);
    }
}

static struct tw_client_answer with_setting(struct bench *b, const char *name,
                                            const char *value)
{
    struct tw_client_answer w = served;

    TW_PUSH(b->a, &w.settings,
            (struct tw_setting){.name = name,
                                .value = value,
                                .unit = strstr(name, "timeout") ? "ms" : ""});
    return w;
}

Test(client_compare, a_rest_longer_than_its_time_out_is_tried_again)
{
    static const struct {
        const char *before, *after;
        size_t doubtful;
    } rows[] = {{"0", "1000", 1}, {"0", "600000", 0}, {"1000", "1000", 0}, {"0", "0", 0}};

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        static const char name[] = "idle_in_transaction_session_timeout";
        struct bench *b = new_bench();

        add(b, "configuration", with_setting(b, name, rows[i].before),
            with_setting(b, name, rows[i].after));
        compare(b, 0, false);
        cr_assert_eq(b->out.doubtful.list.count, rows[i].doubtful, "row %zu", i);
        cr_assert_eq(b->out.issues.list.count, 0);
    }
}

Test(client_compare, more_at_once_than_fit_are_tried_and_counted)
{
    struct bench *b = new_bench();

    add(b, "configuration", with_setting(b, "max_connections", "100"),
        with_setting(b, "max_connections", "10"));
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        TW_PUSH(b->a, &b->answers[arm].list.items[0].settings,
                (struct tw_setting){"superuser_reserved_connections", "3", "", NULL, NULL,
                                    NULL, NULL, 0, NULL, NULL, NULL, NULL, false, false});
    compare(b, 20, false);
    cr_assert_eq(b->out.doubtful.list.count, 1);
    cr_assert_eq(b->out.doubtful.list.items[0].count, 20);

    b->cases.list.items[0].count = 20;
    b->answers[TW_BASELINE].list.items[0].reached = 20;
    b->answers[TW_CANDIDATE].list.items[0].reached = 7;
    b->answers[TW_CANDIDATE].list.items[0].end = TW_CLIENT_DENIED;
    compare(b, 20, true);
    cr_assert_eq(issue(b, "client.refused")->at_least, TW_BLOCK);
    cr_assert(strstr(issue(b, "client.refused")->evidence, "7 get in, 20 did before"));
}

Test(client_compare, an_expired_certificate_is_told_for_those_who_verify)
{
    struct bench *b = new_bench();
    struct tw_client_answer w = served, old;

    w.tls_version = "TLSv1.3";
    w.subject = w.issuer = "CN=db";
    w.not_before_wall_ns = 1;
    w.not_after_wall_ns = tw_wall_ns() + 3600 * TW_SEC_NS;
    old = w;
    old.not_after_wall_ns = tw_wall_ns() - 3600 * TW_SEC_NS;
    add(b, "configuration", w, old);
    compare(b, 0, false);
    cr_assert_eq(issue(b, "client.tls")->at_least, TW_BLOCK);
}

Test(client_compare, a_login_taken_from_an_answer_blocks)
{
    struct bench *b = new_bench();
    struct tw_client_answer before = with_reply(b, false, false, "401"),
                            after = with_reply(b, true, false, "200");

    add(b, "log", before, after);
    compare(b, 0, false);
    cr_assert_eq(issue(b, "client.admitted")->at_least, TW_BLOCK);
}
